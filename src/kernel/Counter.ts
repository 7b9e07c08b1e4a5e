/**
 * Maintained counters of a resource: named counts in a few objects, so that a count takes a handful of GETs and not one
 * LIST for each 1,000 documents.
 *
 * **Details**
 *
 * Each count is the sum over shards, objects with the keys `resource=R/counter/shard=N`. A writer changes one of them,
 * chosen at random, by compare-and-set, so that writers rarely meet. The count in one shard may be negative: a document
 * can be counted in one and taken off in another.
 *
 * The body is JSON: `v`, the version of this format; `c`, the counts by label, without those that are 0; `w`, the ids of
 * the last writes, newest first. The ids tell whether a write whose answer was lost has landed, and make every version of
 * a shard another one: its ETag never comes back.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { percentEncode } from "../internal/text.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

/**
 * The number of shards, unless the options say otherwise: 8.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultShards = 8

/**
 * The most shards there can be: 64.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxShards = 64

/**
 * The number of write ids that a shard remembers. A write whose answer was lost is recognised until so many others have
 * been made to the same shard. After that a plain refusal is believed, and a lost answer is an error.
 *
 * @category constants
 * @since 0.1.0
 */
export const rememberedWrites = 64

/** How often a change is tried again when others were first: with the pauses, about a quarter of a minute. */
const maxRaces = 40

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Returns what all keys of the counters of a resource begin with.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (resource: string): string => `resource=${percentEncode(resource)}/counter/`

/**
 * The resource whose documents are counted, and the shards that its counts are spread over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly resource: string
  /**
   * 1 to 64. Default 8. All clients must say the same: shards above this number are neither read nor removed. Before it
   * is lowered, `remove` with the number as it was, and afterwards `set` what a recount says.
   */
  readonly shards?: number | undefined
}

/**
 * The counters of one resource. A label is any text; what it stands for is up to the caller. By convention `""` is the
 * total.
 *
 * Everything fails with `StoreError`: with what the store says, or with the reason `Corrupt` when a shard cannot be read.
 * `remove` takes such a shard away; afterwards `set` what a recount says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counter {
  /**
   * Adds to some counts, all of it or nothing. 1 GET and 1 PUT; no request when there are only zeros. When another writer
   * was first: 1 GET to see whether it has not landed all the same, a random pause, longer each time, and 1 GET and 1 PUT
   * on another shard.
   *
   * It counts exactly once, also when an answer was lost. When it cannot be told whether it has counted, it fails with
   * what the store said to the PUT: an error with the outcome `"unknown"`.
   * Recount then. Any other error: it has not counted. `PreconditionFailed` that is sure: others were first again and again.
   * `InvalidArgument`: a number, or what would come of it, is no safe integer.
   */
  readonly add: (deltas: ReadonlyMap<string, number>) => Effect.Effect<void, StoreError.StoreError>
  /**
   * One count, 0 for a label that is not known. Never below 0: if the sum is, because documents were taken off that had
   * not been counted, it is 0. 1 GET for each shard, all at the same time.
   */
  readonly read: (label: string) => Effect.Effect<number, StoreError.StoreError>
  /**
   * All counts above 0, by label. 1 GET for each shard, all at the same time.
   *
   * Shards are not read at one instant: what is added meanwhile is in the result or not.
   */
  readonly readAll: Effect.Effect<ReadonlyMap<string, number>, StoreError.StoreError>
  /**
   * Makes the counts these and no others, as a recount has found them: the first shard gets them, the others are emptied.
   * 1 GET for each shard, and 1 PUT for the first and for each that is not empty, all at the same time.
   *
   * What is added to a shard after it was rewritten is counted on top, whether or not the recount has seen it already.
   * What was added before is contained in the recount or lost. So a recount is exact when nobody writes meanwhile.
   *
   * Shards are rewritten one by one: until all of them are, and after a failure or a crash, the counts are neither the old
   * nor the new ones. Set them again then. `InvalidArgument`: a number is no safe integer; nothing has been changed.
   */
  readonly set: (counts: ReadonlyMap<string, number>) => Effect.Effect<void, StoreError.StoreError>
  /**
   * Removes all shards, so that all counts are 0. 1 request. What is added meanwhile may stay or be removed. After a
   * failure some shards may be left; remove them again.
   */
  readonly remove: Effect.Effect<void, StoreError.StoreError>
}

const Body = Schema.Struct({
  v: Schema.Literal(1),
  c: Schema.Record(Schema.String, Schema.Int),
  w: Schema.Array(Schema.String)
})

const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

type Counts = ReadonlyMap<string, number>

const none: Counts = new Map()

const format: CasCell.Format<Counts> = {
  remembered: rememberedWrites,
  // `Object.fromEntries` defines its members, so that a label like `__proto__` is one like any other.
  encode: (counts, writes) =>
    Effect.succeed(encoder.encode(JSON.stringify({ v: 1, c: Object.fromEntries(counts), w: writes }))),
  decode: (bytes) => {
    const body = decodeBody(decoder.decode(bytes))
    if (Result.isSuccess(body)) {
      return Effect.succeed({ value: new Map(Object.entries(body.success.c)), writes: body.success.w })
    }
    return Effect.fail(new StoreError.Corrupt({ description: "a shard of the counters cannot be read" }))
  }
}

const withoutZeros = (counts: ReadonlyMap<string, number>): ReadonlyMap<string, number> =>
  new Map([...counts].filter(([, count]) => count !== 0))

const sumOf = (all: Iterable<ReadonlyMap<string, number>>): ReadonlyMap<string, number> => {
  const sum = new Map<string, number>()
  for (const counts of all) {
    for (const [label, count] of counts) sum.set(label, (sum.get(label) ?? 0) + count)
  }
  return withoutZeros(sum)
}

// -----------------------------------------------------------------------------
// Counter
// -----------------------------------------------------------------------------

/**
 * Creates the counters of a resource on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when the number of shards is no whole number from 1 to 64.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], options: Options): Counter => {
  const { resource, shards = defaultShards } = options
  if (!Number.isInteger(shards) || shards < 1 || shards > maxShards) {
    throw new RangeError(`shards has to be a whole number from 1 to ${maxShards}, not ${shards}`)
  }
  const prefix = keyPrefix(resource)
  const cells = Array.from({ length: shards }, (_, shard) => CasCell.make(store, `${prefix}shard=${shard}`, format))

  const check = Effect.fnUntraced(function* (
    key: string,
    counts: ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    if ([...counts.values()].every(Number.isSafeInteger)) return
    const reason = new StoreError.InvalidArgument({ description: "a count is no safe integer", argument: "body" })
    return yield* new StoreError.StoreError({ operation: "put", key, reason })
  })

  /** Changes one shard once, also when an answer is lost. After a lost race the next attempt is made where `next` says. */
  const change = (
    first: CasCell.CasCell<Counts>,
    next: (cell: CasCell.CasCell<Counts>) => Effect.Effect<CasCell.CasCell<Counts>>,
    changed: (counts: Counts) => Counts
  ): Effect.Effect<void, StoreError.StoreError> => {
    let cell = first
    const attempt = Effect.fnUntraced(function* (last: CasCell.Lost<CasCell.Refusal<Counts>> | undefined) {
      if (last !== undefined) cell = yield* next(cell)
      const { key } = cell
      return yield* cell.attempt((before) => {
        const counts = changed(before ?? none)
        // Nothing is there, and nothing is to be there.
        return counts === (before ?? none) ? Effect.succeed(before) : Effect.as(check(key, counts), counts)
      })
    })
    return Effect.asVoid(CasCell.contend(attempt, { retries: maxRaces, exhausted: ({ error }) => Effect.fail(error) }))
  }

  const random = <X>(among: ReadonlyArray<X>): Effect.Effect<X> =>
    Effect.map(Random.nextIntBetween(0, among.length, { halfOpen: true }), (index) => among[index]!)

  const another = (cell: CasCell.CasCell<Counts>) =>
    shards === 1 ? Effect.succeed(cell) : random(cells.filter((one) => one !== cell))

  const add = Effect.fnUntraced(function* (given: Counts): Effect.fn.Return<void, StoreError.StoreError> {
    const deltas = withoutZeros(given)
    if (deltas.size === 0) return
    const cell = yield* random(cells)
    yield* check(cell.key, deltas)
    yield* change(cell, another, (counts) => sumOf([counts, deltas]))
  })

  const sums = Effect.map(
    Effect.forEach(cells, (cell) => cell.read, { concurrency: "unbounded" }),
    (all) => sumOf(all.map(({ value = none }) => value))
  )

  const set = Effect.fnUntraced(function* (
    given: ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    const counts = withoutZeros(given)
    yield* check(cells[0]!.key, counts)
    const rewrite = (cell: CasCell.CasCell<Counts>, shard: number) => {
      const wanted = shard === 0 ? counts : none
      return change(cell, Effect.succeed, (before) => (before.size === 0 && wanted.size === 0 ? before : wanted))
    }
    yield* Effect.forEach(cells, rewrite, { concurrency: "unbounded", discard: true })
  })

  return {
    add,
    read: (label) => Effect.map(sums, (sum) => Math.max(0, sum.get(label) ?? 0)),
    readAll: Effect.map(sums, (sum) => new Map([...sum].filter(([, count]) => count > 0))),
    set,
    remove: Effect.gen(function* () {
      const { failed } = yield* store.deleteMany(cells.map((cell) => cell.key))
      const [left] = failed
      if (left !== undefined) {
        return yield* new StoreError.StoreError({ operation: "deleteMany", key: left.key, reason: left.reason })
      }
    })
  }
}
