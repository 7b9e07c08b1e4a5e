/**
 * What the journal shows of a resource's documents, as documents, through its interceptors.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Documents } from "../document/documents.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { isRecord } from "../internal/json.ts"
import type { Keys, Planned } from "../query/keys.ts"
import type { ImageRecord, ReadError } from "../Repository.ts"
import * as StoreError from "../storage/StoreError.ts"
import type { Operation } from "./operation.ts"
import type { Reading, Shown } from "./reading.ts"

/**
 * Images of a resource as callers get them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Images<A> {
  readonly read: (
    record: ImageRecord,
    side: "before" | "after"
  ) => Effect.Effect<Shown<A>, DbError.NotFound | DbError.InvalidInput | ReadError>
  /** The values of a partition that the document has in an image, where they are within what was asked for. */
  readonly within: (
    record: ImageRecord,
    side: "before" | "after",
    request: Planned
  ) => Effect.Effect<Option.Option<JsonObject>, DbError.NotFound | DbError.InvalidInput | ReadError>
}

/**
 * Makes the images of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes, reader }: Documents<A>,
  { keys, operation, reading }: { readonly keys: Keys; readonly operation: Operation; readonly reading: Reading<A> }
): Images<A> => {
  const { invalid, name } = context

  /** The image in a record, if it is one of this resource and whole. */
  const imageIn = Effect.fnUntraced(function* (record: ImageRecord, side: "before" | "after") {
    // Of a program without types.
    if (side !== "before" && side !== "after") return yield* invalid([], 'Expected "before" or "after"')
    if (!isRecord(record) || typeof record.id !== "string") {
      return yield* invalid([], "Expected a record of the journal, or an entry of the trail")
    }
    const { id, resource, truncated = [] } = record
    // Fields have short names in an image: those of another resource could be taken for these.
    if (resource !== name) {
      return yield* invalid(["resource"], `Expected a record of ${name}, not of ${JSON.stringify(resource)}`)
    }
    yield* context.key(id)
    const cut = truncated.filter((path) => path.startsWith(`${side}.`))
    if (cut.length > 0) {
      const message = `Expected a whole image: ${cut.join(", ")} did not fit into the trail; see its option maxImageBytes`
      return yield* invalid([side], message)
    }
    const image = record[side]
    if (image === undefined) return yield* new DbError.NotFound({ resource: name, id, image: side })
    const stored = Document.fromImage(image)
    if (Result.isSuccess(stored)) return { id, stored: stored.success }
    const description = `the image of document ${JSON.stringify(id)} ${side} the write cannot be read: ${stored.failure}`
    return yield* new StoreError.Corrupt({ description })
  })

  return {
    read: Effect.fnUntraced(function* (record, side) {
      const { id, stored } = yield* operation.named(imageIn(record, side))
      return yield* reading.get(id, () => reader.decode(id, stored))
    }),
    within: Effect.fnUntraced(function* (record, side, request) {
      const range = yield* operation.named(keys.rangeOf(request))
      const { partition } = range
      if (partition === undefined) return yield* invalid(["partition"], "Expected the name of a partition")
      const { id, stored } = yield* operation.named(imageIn(record, side))
      const decode = reader.decode(id, stored)
      // Who may not read the document is not told where it is.
      yield* reading.get(id, () => decode)
      const marker = yield* operation.named(Effect.flatMap(decode, (base) => indexes.markerIn(base, partition)))
      if (marker === undefined) return Option.none()
      const key = partition.key(id, marker)
      const isWithin = key.startsWith(range.prefix) && keys.isWithin(range, key)
      return isWithin ? Option.some(partition.valuesOf(marker.values)) : Option.none()
    })
  }
}
