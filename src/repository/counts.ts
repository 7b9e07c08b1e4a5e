/**
 * How many documents a resource, and each value of some of its partitions, has, kept up with every write.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Catalog from "../Catalog.ts"
import type * as Document from "../Document.ts"
import type { Commit } from "../document/commits.ts"
import type { Documents } from "../document/documents.ts"
import * as Counter from "../kernel/Counter.ts"
import type * as Query from "../Query.ts"
import type { Keys } from "../query/keys.ts"
import { byKeys, type ListFailure, type Listing } from "../query/listing.ts"
import type { ProgressOptions, Recounted } from "../Repository.ts"
import * as DbError from "../DbError.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"

/**
 * The counters of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  /**
   * Counts writes that are done, or, within a transaction, are going to be. That they cannot be counted is no failure of
   * the writes: it is logged. Nothing is counted unless the catalog asks for it.
   */
  readonly count: (commits: ReadonlyArray<Commit<unknown>>) => Effect.Effect<void>
  /**
   * What the counters say. 1 GET for each shard. `InvalidInput`: a partition that is not counted, or bounds; `Unsupported`:
   * the current version of the resource counts nothing, so that nobody has counted.
   */
  readonly read: (within: Query.Within) => Effect.Effect<number, ListFailure>
  /** Counts anew, and sets the counters. */
  readonly recount: (onProgress: ProgressOptions["onProgress"]) => Effect.Effect<Recounted, ListFailure>
}

const total = ""

/** So many documents are read before the progress is told. */
const documentsPerProgress = 1000

/**
 * Makes the counters of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes }: Documents<A>,
  { keys, listing }: { readonly keys: Keys; readonly listing: Listing<A> }
): Counts => {
  const { database, fresh, invalid, name, settings, store } = context
  const lock = Semaphore.makeUnsafe(1)

  const counters = new Map<number, Counter.Counter>()
  /** Those of so many shards: how many there are, a newer version may have changed. */
  const counterOf = (shards: number): Counter.Counter => {
    const counter = counters.get(shards) ?? Counter.make(store, { resource: name, shards })
    counters.set(shards, counter)
    return counter
  }

  const declared = Effect.gen(function* () {
    yield* fresh
    const { counters: definition } = settings
    if (definition !== undefined) return { counter: counterOf(definition.shards), partitions: definition.partitions }
    const description = `the current version of ${name} counts nothing, so that its counters are not true any more: declare counters in the newest version, and run recount`
    return yield* new DbError.Incomplete({ index: "counters", description })
  })

  const labelOf = (partition: string, values: string) => `${partition}/${values}/`

  /** Everything that a version counts for. */
  const labels = (stored: Document.Stored | undefined, partitions: ReadonlyArray<string>): ReadonlyArray<string> => {
    if (stored === undefined) return []
    const now = database.upkeep(name)?.partitions ?? {}
    const owned = partitions.flatMap((partition) => {
      const build = Object.hasOwn(now, partition) ? now[partition]?.build : undefined
      const label = Catalog.labelOf(partition, build)
      const marker = Object.hasOwn(stored.markers, label) ? stored.markers[label] : undefined
      return marker === undefined ? [] : [labelOf(partition, marker.values)]
    })
    return [total, ...owned]
  }

  const addTo = (counts: Map<string, number>, label: string, by: number) => {
    const sum = (counts.get(label) ?? 0) + by
    if (sum === 0) counts.delete(label)
    else counts.set(label, sum)
  }

  let pending = new Map<string, number>()

  /** Writes that come while others are being counted are counted together, by the first of them. */
  const flush = (batch: Map<string, number>, shards: number) =>
    lock.withPermits(1)(
      Effect.suspend(() => {
        if (batch !== pending) return Effect.void
        pending = new Map()
        return counterOf(shards).add(batch)
      })
    )

  const warning = `the counters of ${name} may be wrong now: recount them`

  const count = (commits: ReadonlyArray<Commit<unknown>>) => {
    const counted = Effect.suspend(() => {
      const definition = settings.counters
      if (definition === undefined) return Effect.void
      const { partitions, shards } = definition
      // Who wrote without a look did not know yet that it is counted.
      const known = commits.filter(({ isKnown }) => isKnown)
      for (const { after, stored } of known) {
        for (const label of labels(stored, partitions)) addTo(pending, label, -1)
        for (const label of labels(after?.stored, partitions)) addTo(pending, label, 1)
      }
      const told = known.length < commits.length ? Effect.logWarning(warning) : Effect.void
      return Effect.andThen(told, pending.size === 0 ? Effect.void : flush(pending, shards))
    }).pipe(
      Effect.catch((error) => Effect.logWarning(warning, error)),
      // What is done has to be counted.
      Effect.uninterruptible
    )
    return Transaction.onCommit(counted)
  }

  const read: Counts["read"] = Effect.fnUntraced(function* ({ partition: label, values = {}, ...bounds }) {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined && transaction.listings !== "committed") {
      const description = "counters are not looked at again before the commit: use count"
      return yield* new StoreError.Unsupported({ feature: "estimatedCount in such a transaction", description })
    }
    const bound = Object.entries(bounds).find(([, value]) => value !== undefined)
    if (bound !== undefined) return yield* invalid([bound[0]], "Expected no bounds: they cannot be counted beforehand")
    const { counter, partitions: counted } = yield* declared
    if (label === undefined) {
      if (Object.keys(values).length > 0) return yield* invalid(["values"], "Expected a partition beside it")
      return yield* counter.read(total)
    }
    const partition = (yield* indexes.all).partitions.get(label)
    if (partition === undefined || !counted.includes(label)) {
      const names = counted.join(", ")
      return yield* invalid(["partition"], `Expected a partition that is counted: ${names === "" ? "none is" : names}`)
    }
    const selection = keys.select(partition, { values })
    if (Result.isFailure(selection)) return yield* invalid(selection.failure.path, selection.failure.message)
    const prefix = `${label}/${selection.success.prefix.slice(partition.prefix.length)}`
    const counts = yield* counter.readAll
    let sum = 0
    for (const [one, number] of counts) if (one.startsWith(prefix)) sum += number
    return sum
  })

  const recount = Effect.fnUntraced(function* (
    onProgress: NonNullable<ProgressOptions["onProgress"]> = () => Effect.void
  ) {
    const { counter, partitions } = yield* declared
    // Who does not know yet that it is to be counted does not count.
    yield* database.known(name)
    const before = yield* Effect.option(counter.read(total))
    const counts = new Map<string, number>()
    let unread = 0
    const told = Effect.suspend(() => onProgress({ done: counts.get(total) ?? 0 }))
    if (partitions.length === 0) {
      yield* Stream.runForEach(keys.pages(keys.whole), (hits) => {
        addTo(counts, total, byKeys(hits).length)
        return told
      })
    } else {
      yield* Stream.runForEach(listing.versions, (stored) => {
        // One that cannot be read is a document, of which nobody knows the partitions.
        if (Option.isNone(stored)) unread += 1
        const counted = Option.match(stored, { onNone: () => [total], onSome: (one) => labels(one, partitions) })
        for (const label of counted) addTo(counts, label, 1)
        return (counts.get(total) ?? 0) % documentsPerProgress === 0 ? told : Effect.void
      })
    }
    // A shard that cannot be read cannot be changed either.
    if (Option.isNone(before)) yield* counter.remove
    yield* counter.set(counts)
    return { before: Option.getOrElse(before, () => 0), after: counts.get(total) ?? 0, unread }
  })

  return { count, read, recount }
}
