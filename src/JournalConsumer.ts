/**
 * Consumers of the journal of a database, and what a new one begins with: the documents that are there, followed by the journal without a
 * gap.
 *
 * ```ts
 * import * as JournalConsumer from "effect-s3db/JournalConsumer"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * const program = Effect.gen(function* () {
 *   const orders = yield* Orders
 *   const totals = new Map<string, number>()
 *   const consumer = yield* JournalConsumer.make({ name: "totals", resources: ["orders"], start: "end" })
 *   yield* consumer.consume(
 *     (entries) =>
 *       Effect.gen(function* () {
 *         for (const { value } of entries) {
 *           if (value.kind === "delete") totals.delete(value.id)
 *           else totals.set(value.id, (yield* orders.fromImage(value, "after")).total)
 *         }
 *       }),
 *     JournalConsumer.snapshot(orders, (documents) =>
 *       Effect.sync(() => documents.forEach(({ id, value }) => totals.set(id, value.total)))
 *     )
 *   )
 * })
 * ```
 *
 * **Details**
 *
 * The end of the journal is noted before the snapshot begins. So whatever is not in it when it passes comes afterwards; what was written
 * while it ran may come in both: in the journal once more, from an older version of a document to the newest, at which it ends as the
 * document does.
 *
 * @see `docs/guide/journal.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Database } from "./Database.ts"
import type * as Document from "./Document.ts"
import * as Consumer from "./kernel/Consumer.ts"
import type * as Journal from "./kernel/Journal.ts"
import type * as Query from "./Query.ts"
import * as ResourceSelector from "./ResourceSelector.ts"

/**
 * A consumer of records of the journal.
 *
 * @category models
 * @since 0.1.0
 */
export type JournalConsumer = Consumer.Consumer<Journal.Record>

/**
 * Creates a consumer of the journal of the database. No request.
 *
 * Warns in the log, each time that it begins to consume, of names in `resources` that are those of no resource that is registered, with the
 * nearest that is; they may be registered later. Throws a `RangeError` as `Consumer.make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Consumer.JournalOptions
): Effect.fn.Return<JournalConsumer, never, Database> {
  const { journal, listResources, store } = yield* Database
  const { name, resources = "*" } = options
  const consumer = Consumer.journal(store, journal, options)
  const warnOfNames = Effect.flatMap(listResources, (all) => {
    const unknown = ResourceSelector.unknown(
      resources,
      all.map(({ name }) => name)
    )
    return unknown.length === 0
      ? Effect.void
      : Effect.logWarning(`the consumer ${name} is given nothing of some of its resources: ${unknown.join(", ")}`)
  })
  return {
    ...consumer,
    consume: (handle, consuming) => Effect.andThen(warnOfNames, consumer.consume(handle, consuming))
  }
})

/**
 * What `snapshot` reads: a repository, as far as it is needed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshotted<D, E, R = never> {
  readonly scanDocuments: (options?: Query.Concurrency & Query.OnCorrupt) => Stream.Stream<D, E, R>
}

/**
 * How a snapshot reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface SnapshotOptions extends Query.Concurrency, Query.OnCorrupt {
  /** The most documents that are given at once. 1 or more. Default: 100. */
  readonly batchSize?: number | undefined
}

/**
 * Makes the option `snapshot` of `consume` for a resource: the documents that are there are given to a handler, in batches, one after the
 * other. For several resources run one after the other in an effect of your own. With `start: "end"` what the journal had before is not read again.
 *
 * Requests of `scanDocuments`: 1 LIST for each 1,000, 1 GET for each document. It is read as by who consumes: interceptors that hide documents from
 * him hide them here; see `Guard.trusted`. One that did not come to its end begins anew, so a document may be given again, and one that
 * was given may be gone: what is built of them should begin empty.
 *
 * @category combinators
 * @since 0.1.0
 */
export const snapshot = <D extends Document.Document<unknown>, E, R, E2, R2>(
  repository: Snapshotted<D, E, R>,
  handle: (documents: ReadonlyArray<D>) => Effect.Effect<unknown, E2, R2>,
  { batchSize = 100, ...reading }: SnapshotOptions = {}
): { readonly snapshot: Effect.Effect<void, E | E2, R | R2> } => {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw new RangeError(`batchSize has to be a whole number from 1, not ${batchSize}`)
  }
  return {
    snapshot: repository.scanDocuments(reading).pipe(Stream.grouped(batchSize), Stream.runForEach(handle))
  }
}
