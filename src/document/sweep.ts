/**
 * Finds transactions whose programs have come to a sudden end, and brings their documents to an end.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { percentDecode } from "../internal/text.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { type Capabilities, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import { reasonOf } from "./damage.ts"
import { settled } from "./documentObject.ts"

/**
 * The record of a transaction whose program has come to a sudden end, or an object in the place of one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Swept {
  /** Empty for a key that can be of none. */
  readonly transaction: string
  /** `undefined` where the record cannot be read. */
  readonly outcome: Transaction.Outcome | undefined
  /** The keys of the documents that had its intents. */
  readonly keys: ReadonlyArray<string>
  /** `false` in a dry run, and for what is only told. */
  readonly repaired: boolean
  /** Where the record lies. */
  readonly key: string
  /**
   * Why it is only told: the record, or one of its documents, cannot be read. It is left as it is, since documents may wait
   * for what it says.
   */
  readonly description?: string | undefined
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

/** Why something cannot be read is a value: it does not keep the others. */
const tolerated = <A>(
  reading: Effect.Effect<A, StoreError.StoreError>
): Effect.Effect<Result.Result<A, string>, StoreError.StoreError> =>
  reading.pipe(
    Effect.map((value): Result.Result<A, string> => Result.succeed(value)),
    Effect.catch((error) => {
      const damage = reasonOf(error)
      return damage === undefined ? Effect.fail(error) : Effect.succeed(Result.fail(damage.description))
    })
  )

/**
 * Finds the records of transactions that nobody has removed, aborts those that are pending, brings their documents to an end
 * and removes them. One LIST for each 1,000 records; for each 1 GET, 1 PUT if it is pending, the requests of its documents and
 * 1 DELETE. What cannot be read is told, and stays.
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
    const transaction = percentDecode(key.slice(Transaction.prefix.length)) ?? ""
    const swept = (found: Pick<Swept, "outcome" | "keys"> | undefined, description?: string): Swept => ({
      transaction,
      outcome: found?.outcome,
      keys: found?.keys ?? [],
      repaired: !dryRun && description === undefined,
      key,
      ...(description === undefined ? {} : { description })
    })
    if (transaction === "") return swept(undefined, "its key is that of no transaction: somebody else has put it there")
    const read = yield* tolerated(Transaction.read(store, key))
    if (Result.isFailure(read)) return swept(undefined, read.failure)
    const record = read.success
    if (record === undefined) return undefined
    const { keys } = record
    if (dryRun) return swept(record)
    // Nobody can commit it from now on.
    const outcome = record.outcome === "pending" ? yield* Transaction.decide(store, record, "aborted") : record.outcome
    if (outcome === "pending") return undefined
    let unread: string | undefined
    for (const document of keys) {
      const match = documentKey.exec(document)
      const resource = percentDecode(match?.[1] ?? "")
      const id = percentDecode(match?.[2] ?? "")
      if (match === null || resource === undefined || id === undefined) continue
      const ended = yield* tolerated(settled({ store, capabilities, resource }, document, id))
      if (Result.isFailure(ended)) unread ??= ended.failure
    }
    if (unread !== undefined) return swept({ outcome, keys }, unread)
    yield* store.delete(key, { repeatable: true })
    return swept({ outcome, keys })
  })
  return Stream.unwrap(
    Effect.map(StoreClock.now(store), (now) =>
      listAll(store, { prefix: Transaction.prefix }).pipe(
        Stream.filter((entry) => now - (entry.lastModified ?? now) > graceMillis),
        Stream.mapEffect((entry) => one(entry.key)),
        Stream.filter((swept) => swept !== undefined)
      )
    )
  )
}
