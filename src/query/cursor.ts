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
import * as Recent from "../internal/recent.ts"
import * as aesGcm from "../crypto/internal/aesGcm.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A key is made with so many random bytes, and each cursor that it makes has the next number: no nonce is used twice. */
const seedBytes = 16
const numberBytes = 4
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const headBytes = seedBytes + numberBytes

/** So many cursors are made with one key, which is far from what wears it out, and says little of how many were made. */
const cursorsPerKey = 1 << 16

/** So many keys of other processes are kept ready: making one takes longer than opening a cursor. */
const mostKept = 64

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
 * Makes the cursors of a database of its salt. `perKey`: how many are made with one key, 65,536 unless it says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (salt: Uint8Array, perKey = cursorsPerKey): Cursors => {
  const kept = new Map<string, Key>()
  let own: { readonly seed: Uint8Array; readonly key: Key; made: number } | undefined

  const keyOf = Effect.fnUntraced(function* (seed: Uint8Array) {
    const name = Base64Url.encode(seed)
    const ready = kept.get(name)
    if (ready !== undefined) return ready
    const derived = hkdf(sha256, salt, seed, info, keyBytes + nonceBytes)
    const key: Key = {
      cipher: yield* aesGcm.make(derived.subarray(0, keyBytes)),
      nonce: derived.subarray(keyBytes)
    }
    for (const oldest of kept.keys()) {
      if (kept.size < mostKept) break
      kept.delete(oldest)
    }
    kept.set(name, key)
    return key
  })

  const renewed = Effect.gen(function* () {
    const seed = yield* (yield* Id.Generator).randomBytes(seedBytes)
    return (own = { seed, key: yield* keyOf(seed), made: 0 })
  })

  return {
    make: Effect.fnUntraced(function* (query, position) {
      const current = own !== undefined && own.made < perKey ? own : yield* renewed
      const { key, seed } = current
      const number = current.made++
      const { cipher, nonce } = key
      const sealed = yield* cipher.encrypt(numbered(nonce, number), padded(position), encoder.encode(query))
      const bytes = new Uint8Array(headBytes + sealed.length)
      bytes.set(seed)
      new DataView(bytes.buffer).setUint32(seedBytes, number)
      bytes.set(sealed, headBytes)
      return Base64Url.encode(bytes)
    }),
    read: Effect.fnUntraced(function* (query, cursor) {
      const decoded = Base64Url.decode(cursor)
      if (Result.isFailure(decoded) || decoded.success.length < headBytes + tagBytes) return undefined
      const bytes = decoded.success
      const { cipher, nonce } = yield* keyOf(bytes.subarray(0, seedBytes))
      const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(seedBytes)
      const opened = cipher.decrypt(numbered(nonce, number), bytes.subarray(headBytes), encoder.encode(query))
      return yield* Effect.match(opened, { onFailure: () => undefined, onSuccess: unpadded })
    })
  }
}

/**
 * Returns one text for all that a request says, whatever values it has, to bind its cursors to. Others are told apart: big integers from numbers, what is no number from what is
 * not there, sets and maps by what is in them.
 *
 * @category conversions
 * @since 0.1.0
 */
export const identityOf = (asked: ReadonlyArray<unknown>): string =>
  JSON.stringify(asked, (_, value: unknown) => {
    if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) {
      return { [typeof value]: String(value) }
    }
    return value instanceof Map || value instanceof Set ? { [value.constructor.name]: Array.from(value) } : value
  })

interface Key {
  readonly cipher: aesGcm.Cipher
  readonly nonce: Uint8Array
}

/** The nonce of a cursor: that of its key and its number, as of the records of TLS (RFC 8446, 5.3). */
const numbered = (nonce: Uint8Array, number: number): Uint8Array => {
  const made = nonce.slice()
  const end = new DataView(made.buffer, nonceBytes - numberBytes)
  end.setUint32(0, (end.getUint32(0) ^ number) >>> 0)
  return made
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
  /** The same, and the same again for the same position while it is remembered: for pages that show where they end. */
  readonly again: (query: string, position: string) => Effect.Effect<string, DbError.DbError>
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
  const fresh: PageCursors["make"] = (query, position) =>
    Effect.flatMap(cursors, (cursors) => cursors.make(query, position))
  const before = Recent.make<string>()
  return {
    make: fresh,
    again: (query, position) => {
      // Both are JSON, which has no such line.
      const end = `${query}\n${position}`
      const known = before.get(end)
      return known === undefined
        ? Effect.map(fresh(query, position), (cursor) => before.keep(end, cursor))
        : Effect.succeed(known)
    },
    read: Effect.fnUntraced(function* (query, cursor) {
      if (cursor === undefined) return undefined
      const position = yield* (yield* cursors).read(query, cursor)
      return position ?? (yield* invalid(["cursor"], "Expected the cursor of the page before, of the same request"))
    })
  }
}

/** ISO/IEC 7816-4: a byte 0x80 ends the text, zeros fill the block. */
const padded = (position: string): Uint8Array => {
  const text = encoder.encode(position)
  const bytes = new Uint8Array(Math.ceil((text.length + 1) / blockBytes) * blockBytes)
  bytes.set(text)
  bytes[text.length] = 0x80
  return bytes
}

const unpadded = (bytes: Uint8Array): string => decoder.decode(bytes.subarray(0, bytes.lastIndexOf(0x80)))
