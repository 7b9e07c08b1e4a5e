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
import type * as Document from "../Document.ts"
import type { Documents } from "../document/documents.ts"
import * as Counter from "../kernel/Counter.ts"
import type * as Portable from "../Portable.ts"
import type * as Query from "../Query.ts"
import type { Keys } from "../query/keys.ts"
import type { ListFailure, Listing } from "../query/listing.ts"
import type { Recounted } from "../Repository.ts"
import * as Transaction from "../Transaction.ts"

/**
 * A write: the version before and the one after, where there is one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly before: Document.Stored | undefined
  readonly after: Document.Stored | undefined
}

/**
 * The counters of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  /**
   * Counts writes that are done, or, within a transaction, are going to be. That they cannot be counted is no failure of
   * the writes: it is logged.
   */
  readonly count: (writes: ReadonlyArray<Write>) => Effect.Effect<void>
  /** What the counters say. 1 GET for each shard. `InvalidInput`: a partition that is not counted, or bounds. */
  readonly read: (within: Query.Within) => Effect.Effect<number, ListFailure>
  /** Counts anew, and sets the counters. */
  readonly recount: Effect.Effect<Recounted, ListFailure>
}

const total = ""

/**
 * Makes the counters of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  definition: Portable.Counters,
  { context, indexes }: Documents<A>,
  { keys, listing }: { readonly keys: Keys; readonly listing: Listing<A> }
): Counts => {
  const { invalid, name, store } = context
  const counter = Counter.make(store, { resource: name, shards: definition.shards })
  const lock = Semaphore.makeUnsafe(1)

  const labelOf = (partition: string, values: string) => `${partition}/${values}/`

  /** Everything that a version counts for. */
  const labels = (stored: Document.Stored | undefined): ReadonlyArray<string> => {
    if (stored === undefined) return []
    const owned = definition.partitions.flatMap((partition) => {
      const marker = Object.hasOwn(stored.markers, partition) ? stored.markers[partition] : undefined
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
  const flush = (batch: Map<string, number>) =>
    lock.withPermits(1)(
      Effect.suspend(() => {
        if (batch !== pending) return Effect.void
        pending = new Map()
        return counter.add(batch)
      })
    )

  const count = (writes: ReadonlyArray<Write>) => {
    const counted = Effect.suspend(() => {
      for (const { before, after } of writes) {
        for (const label of labels(before)) addTo(pending, label, -1)
        for (const label of labels(after)) addTo(pending, label, 1)
      }
      return pending.size === 0 ? Effect.void : flush(pending)
    }).pipe(
      Effect.catch((error) => Effect.logWarning(`the counters of ${name} may be wrong now: recount them`, error)),
      // What is done has to be counted.
      Effect.uninterruptible
    )
    return Transaction.onCommit(counted)
  }

  const read: Counts["read"] = Effect.fnUntraced(function* ({ partition: label, values = {}, ...bounds }) {
    const bound = Object.entries(bounds).find(([, value]) => value !== undefined)
    if (bound !== undefined) return yield* invalid([bound[0]], "Expected no bounds: they cannot be counted beforehand")
    if (label === undefined) {
      if (Object.keys(values).length > 0) return yield* invalid(["values"], "Expected a partition beside it")
      return yield* counter.read(total)
    }
    const partition = (yield* indexes.all).partitions.get(label)
    if (partition === undefined || !definition.partitions.includes(label)) {
      const names = definition.partitions.join(", ")
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

  const recount = Effect.gen(function* () {
    const before = yield* Effect.option(counter.read(total))
    const counts = new Map<string, number>()
    let unread = 0
    if (definition.partitions.length === 0) {
      yield* Stream.runForEach(keys.pages(keys.whole), (hits) => Effect.sync(() => addTo(counts, total, hits.length)))
    } else {
      yield* Stream.runForEach(listing.versions, (stored) =>
        Effect.sync(() => {
          // One that cannot be read is a document, of which nobody knows the partitions.
          if (Option.isNone(stored)) unread += 1
          for (const label of Option.match(stored, { onNone: () => [total], onSome: labels })) addTo(counts, label, 1)
        })
      )
    }
    // A shard that cannot be read cannot be changed either.
    if (Option.isNone(before)) yield* counter.remove
    yield* counter.set(counts)
    return { before: Option.getOrElse(before, () => 0), after: counts.get(total) ?? 0, unread }
  })

  return { count, read, recount }
}
