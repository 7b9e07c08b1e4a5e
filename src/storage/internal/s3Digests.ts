/** The digests that S3 asks for: Node's own where there is one, else in JavaScript. All at once: a request waits for none. */
import { hmac } from "@noble/hashes/hmac.js"
import { md5 } from "@noble/hashes/legacy.js"
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js"
import { encodeBase64 } from "../../internal/base64.ts"

type NodeCrypto = typeof import("node:crypto")

/** HMAC-SHA256 with one key. */
export interface Mac {
  readonly bytes: (text: string) => Uint8Array
  readonly hex: (text: string) => string
}

export interface Digests {
  /** Text is hashed as UTF-8. */
  readonly sha256Hex: (data: string | Uint8Array) => string
  readonly sha256Base64: (data: Uint8Array) => string
  readonly md5Base64: (data: Uint8Array) => string
  readonly mac: (key: string | Uint8Array) => Mac
}

const bytesOf = (data: string | Uint8Array): Uint8Array => (typeof data === "string" ? utf8ToBytes(data) : data)

export const inJavaScript: Digests = {
  sha256Hex: (data) => bytesToHex(sha256(bytesOf(data))),
  sha256Base64: (data) => encodeBase64(sha256(data)),
  md5Base64: (data) => encodeBase64(md5(data)),
  mac: (key) => {
    // What the key alone makes of the hash is computed once.
    const keyed = hmac.create(sha256, bytesOf(key))
    const bytes = (text: string) => keyed.clone().update(utf8ToBytes(text)).digest()
    return { bytes, hex: (text) => bytesToHex(bytes(text)) }
  }
}

const ofNode = ({ createHmac, createSecretKey, hash }: NodeCrypto): Digests => ({
  sha256Hex: (data) => hash("sha256", data, "hex"),
  sha256Base64: (data) => hash("sha256", data, "base64"),
  md5Base64: (data) => hash("md5", data, "base64"),
  mac: (key) => {
    const secret = createSecretKey(bytesOf(key))
    const keyed = (text: string) => createHmac("sha256", secret).update(text)
    return { bytes: (text) => new Uint8Array(keyed(text).digest()), hex: (text) => keyed(text).digest("hex") }
  }
})

const node: NodeCrypto | undefined = globalThis.process?.getBuiltinModule?.("node:crypto")

/** Those of this runtime. */
export const digests: Digests = node?.hash === undefined ? inJavaScript : ofNode(node)
