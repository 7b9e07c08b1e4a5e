/**
 * Operations that have come into their documents, kept for a time: a log for each lane.
 *
 * **Details**
 *
 * An operation is put into the log of its lane after it has come into its document, and before it leaves the lane. Who does not know whether it
 * was put puts it again: a reader takes each number of a lane once. Those of a document are in their order, as they are met first: whoever puts one has all
 * before it at hand, or they are in the log already.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as AppendLog from "../../kernel/AppendLog.ts"
import type * as BlobCodec from "../../kernel/BlobCodec.ts"
import { listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import { Entry } from "./lanes.ts"

const Put = Schema.Struct({
  /** The name of the lane. */
  l: Schema.String,
  e: Entry
})

/**
 * An operation in a log.
 *
 * @category models
 * @since 0.1.0
 */
export type Put = typeof Put.Type

/**
 * What has come into documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Past {
  /** Puts operations of a lane, in their order. 2 PUT and 1 GET. */
  readonly put: (key: string, lane: string, entries: ReadonlyArray<Entry>) => Effect.Effect<void, StoreError.StoreError>
  /** The operations of a document that are kept, each once, those of a lane in their order. 1 GET for the log of each lane, and for each segment that may have some. */
  readonly of: (keys: ReadonlyArray<string>, id: string) => Effect.Effect<ReadonlyArray<Put>, StoreError.StoreError>
  /** The lanes that have a log. 1 LIST for each 1,000 segments. */
  readonly keys: Effect.Effect<ReadonlyArray<string>, StoreError.StoreError>
  /**
   * Removes segments of operations that were put before a time, after `leave` was told of them, and gives how many operations went. 1 GET, where nothing is that old; else 1 GET
   * for each segment, and what `leave` takes.
   */
  readonly retain: <E>(
    key: string,
    retention: { readonly before: number; readonly span: Duration.Input },
    leave: (puts: ReadonlyArray<Put>) => Effect.Effect<void, E>
  ) => Effect.Effect<number, E | StoreError.StoreError>
}

/** A log that loses its beginning while it is read is read again. */
const retries = 3

const isTrimmed = (error: AppendLog.Trimmed | StoreError.StoreError): error is AppendLog.Trimmed =>
  error._tag === "Trimmed"

const contended = (trimmed: AppendLog.Trimmed) =>
  new StoreError.StoreError({
    operation: "get",
    key: trimmed.key,
    reason: new StoreError.ConditionalRequestConflict({ description: "operations were removed again and again" })
  })

/**
 * Makes the past of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  prefix: string,
  compression: BlobCodec.Compression = "gzip"
): Past => {
  const folder = `${prefix}history/`
  const laneFolder = `${prefix}lane/`
  const logOf = (key: string) =>
    AppendLog.make(store, {
      prefix: `${folder}${key.slice(laneFolder.length)}`,
      schema: Put,
      compression,
      termsOf: ({ e: { i } }) => [i]
    })
  /** No log here has a lease. */
  const unfenced = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.catchIf(
      effect,
      (error): error is Extract<E, { readonly _tag: "LeaseLost" }> => isLeaseLost(error),
      Effect.die
    )

  return {
    put: Effect.fnUntraced(function* (key, lane, entries) {
      if (entries.length === 0) return
      const puts = entries.map((entry): Put => ({ l: lane, e: entry }))
      yield* Effect.catchTag(unfenced(logOf(key).append(puts)), "PositionConflict", Effect.die)
    }),
    of: Effect.fnUntraced(function* (keys, id) {
      const found = yield* Effect.forEach(
        keys,
        (key) =>
          Stream.runCollect(Stream.filter(logOf(key).read({ terms: [id] }), ({ value }) => value.e.i === id)).pipe(
            Effect.retry({ times: retries, while: isTrimmed }),
            Effect.catchIf(isTrimmed, (trimmed) => Effect.fail(contended(trimmed)))
          ),
        { concurrency: 8 }
      )
      return inOrder(found.flat().map(({ value }) => value))
    }),
    keys: Effect.map(Stream.runCollect(listAll(store, { prefix: folder, keysOnly: true })), (all) => [
      ...new Set(all.map(({ key }) => `${laneFolder}${key.slice(folder.length).split("/")[0]!}`))
    ]),
    retain: Effect.fnUntraced(function* (key, { before, span }, leave) {
      const log = logOf(key)
      const { first, next } = yield* log.status
      if (first === next) return 0
      const old: Array<Put> = []
      let to = first
      yield* log.read({ from: first }).pipe(
        Stream.takeWhile(({ at }) => at < before),
        Stream.runForEach(({ position, value }) =>
          Effect.sync(() => {
            old.push(value)
            to = position + 1
          })
        ),
        // Somebody else is doing it.
        Effect.catchIf(isTrimmed, () => Effect.sync(() => void (old.length = 0)))
      )
      if (old.length === 0) return 0
      yield* leave(old)
      const kept = yield* unfenced(log.retain({ before: to }))
      yield* unfenced(log.compact({ span }))
      return Math.max(0, kept - first)
    })
  }
}

const isLeaseLost = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "LeaseLost"

/**
 * Returns operations, each number of a lane once, those of a lane in their order.
 *
 * @category combinators
 * @since 0.1.0
 */
export const inOrder = (puts: ReadonlyArray<Put>): ReadonlyArray<Put> => {
  const byLane = new Map<string, Map<number, Put>>()
  for (const put of puts) {
    const of = byLane.get(put.l) ?? new Map<number, Put>()
    byLane.set(put.l, of)
    if (!of.has(put.e.s)) of.set(put.e.s, put)
  }
  return [...byLane.values()].flatMap((of) => [...of.values()].toSorted((a, b) => a.e.s - b.e.s))
}
