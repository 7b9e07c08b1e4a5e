/**
 * Write ids that prove who made a document: half of one is random, and half a digest by which whoever made the document knows it again.
 *
 * **Details**
 *
 * An insert of a fiber that has a `Signer` gets such a write id; that of each attempt is another, as the protocol needs it. The digest is over the
 * id and the time of creation, which a document keeps as long as it lives: one that is deleted and made again by somebody else is
 * not taken for the first, although it remembers its writes. It is known while the document remembers its first write, and not where a
 * replace has begun its versions anew without a look at it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import * as Document from "../Document.ts"
import { ambient } from "../internal/ambient.ts"
import { encodeBase64 } from "../internal/base64.ts"
import { sha256 } from "../internal/sha256.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as documentObject from "./documentObject.ts"

/**
 * In whose name the fiber inserts: a text that nobody else has. Default: nobody's.
 *
 * @category references
 * @since 0.1.0
 */
export const Signer: Context.Reference<string | undefined> = Context.Reference("effect-s3db/document/Signer", {
  defaultValue: (): string | undefined => undefined
})

const half = Id.writeIdLength / 2

const signatureOf = (signer: string, id: string, createdAt: number, random: string): string => {
  const digest = sha256(new TextEncoder().encode(JSON.stringify([signer, id, createdAt, random])))
  return encodeBase64(digest.subarray(0, 6)).replaceAll("+", "-").replaceAll("/", "_")
}

/**
 * Returns the write id of the first version of a document: the one that is given, or, for a signer, its half with a signature.
 *
 * @category constructors
 * @since 0.1.0
 */
export const signedUnsafe = (writeId: string, id: string, createdAt: number): string => {
  const signer = ambient(Signer)
  if (signer === undefined) return writeId
  const random = writeId.slice(0, half)
  return random + signatureOf(signer, id, createdAt, random)
}

/**
 * Tells whether the document with an id was made by a signer. 1 GET; a transaction that is about to change it may ask for 1 or 2 more.
 *
 * @category getters
 * @since 0.1.0
 */
export const isBy = Effect.fnUntraced(function* (
  place: documentObject.Place,
  id: string,
  signer: string
): Effect.fn.Return<boolean, StoreError.StoreError> {
  const key = Document.key(place.resource, id)
  if (Result.isFailure(key)) return false
  const slot = yield* documentObject.load(place, key.success, id)
  const { stored } = yield* documentObject.current(place, key.success, id, slot)
  if (stored === undefined) return false
  const { ancestors, createdAt, origin, writeId } = stored
  return [writeId, origin ?? writeId, ...ancestors].some((one) => {
    const random = one.slice(0, half)
    return one === random + signatureOf(signer, id, createdAt, random)
  })
})
