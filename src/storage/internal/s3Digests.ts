/** The digests that S3 asks for. All at once: a request waits for none. */
import * as Effect from "effect/Effect"
import type { Digests } from "./digests.ts"

type NodeCrypto = typeof import("node:crypto")

const ofNode = ({ createHmac, createSecretKey, hash }: NodeCrypto): Digests => ({
  sha256Hex: (data) => hash("sha256", data, "hex"),
  sha256Base64: (data) => hash("sha256", data, "base64"),
  md5Hex: (data) => hash("md5", data, "hex"),
  md5Base64: (data) => hash("md5", data, "base64"),
  mac: (key) => {
    const secret = typeof key === "string" ? createSecretKey(key, "utf8") : createSecretKey(key)
    const keyed = (text: string) => createHmac("sha256", secret).update(text)
    return { bytes: (text) => new Uint8Array(keyed(text).digest()), hex: (text) => keyed(text).digest("hex") }
  }
})

/** Those of this runtime: Node's own where there are any, else in JavaScript, which is loaded then. */
export const digests: Effect.Effect<Digests> = Effect.suspend(() => {
  const node: NodeCrypto | undefined = globalThis.process?.getBuiltinModule?.("node:crypto")
  return node?.hash === undefined
    ? Effect.promise(() => import("./digestsInJavaScript.ts").then(({ inJavaScript }) => inJavaScript))
    : Effect.succeed(ofNode(node))
})
