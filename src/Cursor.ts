/**
 * Cursors: where a page ended, as a text that a client hands back to get the next one. It is signed together with the
 * query that it belongs to, so that it fits no other.
 *
 * @since 0.1.0
 */
import { hmac } from "@noble/hashes/hmac.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Bytes of HMAC-SHA-256 that are kept: 96 bits, far beyond guessing through an API. */
const signatureBytes = 12

/**
 * Makes and reads the cursors of one database, by its salt.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cursors {
  /** `query`: everything that the result depends on, as canonical text. `position`: where the page ended. */
  readonly make: (query: string, position: string) => string
  /** The position, or `undefined` for a cursor that was not made for this query. */
  readonly read: (query: string, cursor: string) => string | undefined
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (salt: Uint8Array): Cursors => {
  const sign = (query: string, position: string): Uint8Array =>
    hmac(sha256, salt, encoder.encode(`cursor:${query.length}:${query}${position}`)).subarray(0, signatureBytes)
  return {
    make(query, position) {
      const text = encoder.encode(position)
      const bytes = new Uint8Array(signatureBytes + text.length)
      bytes.set(sign(query, position))
      bytes.set(text, signatureBytes)
      return Base64Url.encode(bytes)
    },
    read(query, cursor) {
      const bytes = Base64Url.decode(cursor)
      if (Result.isFailure(bytes) || bytes.success.length < signatureBytes) return undefined
      const position = decoder.decode(bytes.success.subarray(signatureBytes))
      const expected = sign(query, position)
      // All bytes are compared, whichever differ.
      let difference = 0
      for (let i = 0; i < signatureBytes; i++) difference |= expected[i]! ^ bytes.success[i]!
      return difference === 0 ? position : undefined
    }
  }
}
