/** SHA-256 (FIPS 180-4) of bytes at once: Node's own where there is one, else in JavaScript. */
import { sha256 as inJavaScript } from "@noble/hashes/sha2.js"
import { lazy } from "./lazily.ts"

type NodeCrypto = typeof import("node:crypto")

type Digest = (...parts: ReadonlyArray<Uint8Array>) => Uint8Array

/** Node takes milliseconds to load its module. */
const digest = lazy((): Digest => {
  const node: NodeCrypto | undefined = globalThis.process?.getBuiltinModule?.("node:crypto")
  return node === undefined
    ? (...parts) => {
        const hash = inJavaScript.create()
        for (const part of parts) hash.update(part)
        return hash.digest()
      }
    : (...parts) => {
        const hash = node.createHash("sha256")
        for (const part of parts) hash.update(part)
        return new Uint8Array(hash.digest())
      }
})

/** The 32 bytes of the digest of some parts, one after the other. */
export const sha256: Digest = (...parts) => digest()(...parts)
