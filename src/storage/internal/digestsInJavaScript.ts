/** The digests that S3 asks for, in JavaScript: where there are none of Node. */
import { hmac } from "@noble/hashes/hmac.js"
import { md5 } from "@noble/hashes/legacy.js"
import { sha256 } from "@noble/hashes/sha2.js"
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js"
import { encodeBase64 } from "../../internal/base64.ts"
import type { Digests } from "./digests.ts"

const bytesOf = (data: string | Uint8Array): Uint8Array => (typeof data === "string" ? utf8ToBytes(data) : data)

export const inJavaScript: Digests = {
  sha256Hex: (data) => bytesToHex(sha256(bytesOf(data))),
  sha256Base64: (data) => encodeBase64(sha256(data)),
  md5Hex: (data) => bytesToHex(md5(data)),
  md5Base64: (data) => encodeBase64(md5(data)),
  mac: (key) => {
    // What the key alone makes of the hash is computed once.
    const keyed = hmac.create(sha256, bytesOf(key))
    const bytes = (text: string) => keyed.clone().update(utf8ToBytes(text)).digest()
    return { bytes, hex: (text) => bytesToHex(bytes(text)) }
  }
}
