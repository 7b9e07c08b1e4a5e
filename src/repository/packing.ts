/**
 * Copies of the documents of a resource, packed for reads of all of them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { isDamage } from "../document/damage.ts"
import type { Documents } from "../document/documents.ts"
import type { ReadFailure } from "../document/read.ts"
import type { JsonObject } from "../encoding/Json.ts"
import type { LeaseLost } from "../kernel/Lease.ts"
import type * as PackedObjects from "../kernel/PackedObjects.ts"
import type { Fields } from "../query/fields.ts"
import type { Packed } from "../query/packed.ts"
import * as StoreError from "../storage/StoreError.ts"

/**
 * What packs the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Packing {
  /**
   * Brings copies up to what is there: see `PackedObjects.compact`. `Unsupported`: the store lists in no order, which copies
   * cannot be without.
   */
  readonly pack: (
    copies: PackedObjects.PackedObjects,
    token: number | undefined
  ) => Effect.Effect<PackedObjects.Summary, LeaseLost | DbError.DbError | ReadFailure>
}

/** Written by a later release, or in a form that it knows. */
const isUnknownHere = (failure: ReadFailure): boolean =>
  failure instanceof StoreError.Unsupported ||
  (StoreError.isStoreError(failure) && failure.reason instanceof StoreError.Unsupported)

/**
 * Makes what packs the documents of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, reader }: Documents<A>,
  { fields, packed }: { readonly fields: Fields<A>; readonly packed: Packed }
): Packing => {
  /**
   * A version as conditions see it. What is no version, may yet be decided by a transaction, or cannot be read, is left to who reads it
   * by itself.
   */
  const read: PackedObjects.Packing<JsonObject, ReadFailure>["read"] = Effect.fnUntraced(function* (object) {
    const slot = Result.getOrUndefined(Document.fromObject(object))
    const id = Option.getOrUndefined(Document.idOf(context.name, object.key))
    if (id === undefined || slot?.stored === undefined || slot.intent !== undefined) return undefined
    return yield* reader.decode(id, slot.stored).pipe(
      Effect.map(fields.jsonOf),
      Effect.catchIf(
        (failure) => isDamage(failure) || isUnknownHere(failure),
        () => Effect.succeed(undefined)
      )
    )
  })

  return {
    pack: Effect.fnUntraced(function* (copies, token) {
      if (!context.capabilities.orderedList) {
        const description = "the store lists in no order: documents are read one by one"
        return yield* new StoreError.Unsupported({ feature: "segments", description })
      }
      return yield* copies.compact({ read, columns: packed.columnsOf, tag: yield* packed.tag }, { token })
    })
  }
}
