/**
 * Cursors: where a page ended, as a text that a client hands back to get the next one. It is encrypted, and bound to the
 * query that it belongs to: it shows nothing of the documents around it, and fits no other query.
 *
 * @since 0.1.0
 */
import { hkdf } from "@noble/hashes/hkdf.js"
import { sha256 } from "@noble/hashes/sha2.js"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import type * as DbError from "../DbError.ts"
import type { Context } from "../document/context.ts"
import * as aesGcm from "../crypto/internal/aesGcm.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Every cursor has a key of its own, made with so many random bytes: no number of cursors wears a key out. */
const seedBytes = 16
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** A position is filled up to a multiple of this, so that the length of a cursor tells little of what is in it. */
const blockBytes = 32

const info = encoder.encode("effect-s3db cursor 1")

/**
 * Makes and reads the cursors of one database, by its salt.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cursors {
  /** `query`: everything that the result depends on, as canonical text. `position`: where the page ended. */
  readonly make: (query: string, position: string) => Effect.Effect<string>
  /** The position, or `undefined` for a cursor that was not made for this query. */
  readonly read: (query: string, cursor: string) => Effect.Effect<string | undefined>
}

/**
 * Makes the cursors of a database of its salt.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (salt: Uint8Array): Cursors => {
  const cipherOf = Effect.fnUntraced(function* (seed: Uint8Array) {
    const derived = hkdf(sha256, salt, seed, info, keyBytes + nonceBytes)
    const cipher = yield* aesGcm.make(derived.subarray(0, keyBytes))
    return { cipher, nonce: derived.subarray(keyBytes) }
  })
  return {
    make: Effect.fnUntraced(function* (query, position) {
      const generator = yield* Id.Generator
      const seed = yield* generator.randomBytes(seedBytes)
      const { cipher, nonce } = yield* cipherOf(seed)
      const sealed = yield* cipher.encrypt(nonce, padded(encoder.encode(position)), encoder.encode(query))
      const bytes = new Uint8Array(seedBytes + sealed.length)
      bytes.set(seed)
      bytes.set(sealed, seedBytes)
      return Base64Url.encode(bytes)
    }),
    read: Effect.fnUntraced(function* (query, cursor) {
      const bytes = Base64Url.decode(cursor)
      if (Result.isFailure(bytes) || bytes.success.length < seedBytes + tagBytes) return undefined
      const { cipher, nonce } = yield* cipherOf(bytes.success.subarray(0, seedBytes))
      const opened = cipher.decrypt(nonce, bytes.success.subarray(seedBytes), encoder.encode(query))
      return yield* Effect.match(opened, { onFailure: () => undefined, onSuccess: unpadded })
    })
  }
}

/**
 * The cursors of an open resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface PageCursors {
  /** Makes the cursor of a page that ended at a position. No request, but for a database without a salt. */
  readonly make: (query: string, position: string) => Effect.Effect<string, DbError.DbError>
  /** The position of a cursor, `undefined` where there is none. `InvalidInput`: it is that of another request. */
  readonly read: (
    query: string,
    cursor: string | undefined
  ) => Effect.Effect<string | undefined, DbError.DbError | DbError.InvalidInput>
}

/**
 * Makes the cursors of a resource, which ask for the salt of the database when they are first used. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const forPages = ({ database, invalid }: Pick<Context<unknown>, "database" | "invalid">): PageCursors => {
  let made: Cursors | undefined
  const cursors = Effect.suspend(() =>
    made === undefined ? Effect.map(database.salt, (salt) => (made = make(salt))) : Effect.succeed(made)
  )
  return {
    make: (query, position) => Effect.flatMap(cursors, (cursors) => cursors.make(query, position)),
    read: Effect.fnUntraced(function* (query, cursor) {
      if (cursor === undefined) return undefined
      const position = yield* (yield* cursors).read(query, cursor)
      return position ?? (yield* invalid(["cursor"], "Expected the cursor of the page before, of the same request"))
    })
  }
}

/** ISO/IEC 7816-4: a byte 0x80 ends the text, zeros fill the block. */
const padded = (text: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(Math.ceil((text.length + 1) / blockBytes) * blockBytes)
  bytes.set(text)
  bytes[text.length] = 0x80
  return bytes
}

const unpadded = (bytes: Uint8Array): string => decoder.decode(bytes.subarray(0, bytes.lastIndexOf(0x80)))
