/**
 * Finds transactions whose programs have come to a sudden end, and brings their documents to an end.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Capabilities, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Unique from "../Unique.ts"
import { settled } from "./documentObject.ts"

/**
 * The record of a transaction whose program has come to a sudden end.
 *
 * @category models
 * @since 0.1.0
 */
export interface Swept {
  readonly transaction: string
  readonly outcome: Transaction.Outcome
  /** The keys of the documents that had its intents. */
  readonly keys: ReadonlyArray<string>
  /** `false` in a dry run. */
  readonly repaired: boolean
}

/**
 * The options of `sweep`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SweepOptions {
  /** `true`, the default, only tells. */
  readonly dryRun?: boolean | undefined
  /**
   * How old a record has to be, in milliseconds by the store's clock. Default 15 minutes. It only spares transactions that
   * are under way: one that is aborted here runs again.
   */
  readonly graceMillis?: number | undefined
}

const documentKey = /^resource=([^/]+)\/data\/id=([^/]+)$/

/**
 * Finds the records of transactions that nobody has removed, aborts those that are pending, brings their documents to an end
 * and removes them. One LIST for each 1,000 records; for each 1 GET, 1 PUT if it is pending, the requests of its documents and
 * 1 DELETE.
 *
 * @category protocol
 * @since 0.1.0
 */
export const sweep = (
  store: ObjectStore["Service"],
  capabilities: Capabilities,
  { dryRun = true, graceMillis = 900_000 }: SweepOptions = {}
): Stream.Stream<Swept, StoreError.StoreError> => {
  const one = Effect.fnUntraced(function* (key: string): Effect.fn.Return<Swept | undefined, StoreError.StoreError> {
    const record = yield* Transaction.read(store, key)
    if (record === undefined) return undefined
    const { id: transaction, keys } = record
    if (dryRun) return { transaction, outcome: record.outcome, keys, repaired: false }
    // Nobody can commit it from now on.
    const outcome = record.outcome === "pending" ? yield* Transaction.decide(store, record, "aborted") : record.outcome
    if (outcome === "pending") return undefined
    const swept = { transaction, outcome, keys, repaired: true }
    for (const document of record.keys) {
      const match = documentKey.exec(document)
      if (match === null) continue
      const place = { store, capabilities, resource: decodeURIComponent(match[1]!) }
      yield* settled(place, document, decodeURIComponent(match[2]!))
    }
    yield* store.delete(key, { repeatable: true })
    return swept
  })
  return Stream.unwrap(
    Effect.map(Unique.storeTime(store), (now) =>
      listAll(store, { prefix: Transaction.prefix }).pipe(
        Stream.filter((entry) => now - (entry.lastModified ?? now) > graceMillis),
        Stream.mapEffect((entry) => one(entry.key)),
        Stream.filter((swept) => swept !== undefined)
      )
    )
  )
}
