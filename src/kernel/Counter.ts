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
import * as Id from "../crypto/Id.ts"
import { percentEncode } from "../internal/text.ts"
import type { ETag, ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Constants
// -----------------------------------------------------------------------------

/**
 * How many shards there are, unless the options say otherwise: 8.
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
 * How many write ids a shard remembers. A write whose answer was lost is recognised until so many others have been made
 * to the same shard. After that a plain refusal is believed, and a lost answer is an error.
 *
 * @category constants
 * @since 0.1.0
 */
export const rememberedWrites = 64

/** How often a change is tried again when others were first: with the pauses, more than half a minute. */
const maxRaces = 40

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What all keys of the counters of a resource begin with.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (resource: string): string => `resource=${percentEncode(resource)}/counter/`

/**
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
   * what the store said to the PUT: an error with the outcome `"unknown"`, or `PreconditionFailed` with `afterUnknown`.
   * Recount then. Any other error: it has not counted. `PreconditionFailed`: others were first again and again.
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

/** What was read from a shard, or that there is none: then it has no ETag, nor anything else. */
interface Shard {
  readonly etag: ETag | undefined
  readonly counts: ReadonlyMap<string, number>
  /** Newest first. */
  readonly writes: ReadonlyArray<string>
}

const absent: Shard = { etag: undefined, counts: new Map(), writes: [] }

const Body = Schema.Struct({
  v: Schema.Literal(1),
  c: Schema.Record(Schema.String, Schema.Int),
  w: Schema.Array(Schema.String)
})

const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))
const decoder = new TextDecoder()
const encoder = new TextEncoder()

/** `Object.fromEntries` defines its members, so that a label like `__proto__` is one like any other. */
const encodeBody = (counts: ReadonlyMap<string, number>, writes: ReadonlyArray<string>): Uint8Array =>
  encoder.encode(JSON.stringify({ v: 1, c: Object.fromEntries(counts), w: writes.slice(0, rememberedWrites) }))

const withoutZeros = (counts: ReadonlyMap<string, number>): ReadonlyMap<string, number> =>
  new Map([...counts].filter(([, count]) => count !== 0))

const sumOf = (all: Iterable<ReadonlyMap<string, number>>): ReadonlyMap<string, number> => {
  const sum = new Map<string, number>()
  for (const counts of all) {
    for (const [label, count] of counts) sum.set(label, (sum.get(label) ?? 0) + count)
  }
  return withoutZeros(sum)
}

/**
 * Whether the write of a version on top of `before` has not landed and never will, judged by a shard that does not
 * remember it: there is another version by now, and all writes since `before` are remembered.
 */
const isRuledOut = (before: Shard, now: Shard): boolean => {
  if (now.etag === undefined || now.etag === before.etag) return false
  const [replaced] = before.writes
  return replaced === undefined ? now.writes.length < rememberedWrites : now.writes.includes(replaced)
}

// -----------------------------------------------------------------------------
// Counter
// -----------------------------------------------------------------------------

/**
 * The counters of a resource on a store that honours conditional writes. No request.
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
  const keys = Array.from({ length: shards }, (_, shard) => `${prefix}shard=${shard}`)

  const load = Effect.fnUntraced(function* (key: string): Effect.fn.Return<Shard, StoreError.StoreError> {
    const found = yield* store
      .get(key)
      .pipe(Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined)))
    if (found === undefined) return absent
    const body = decodeBody(decoder.decode(found.body))
    if (Result.isSuccess(body)) {
      const { c: counts, w: writes } = body.success
      return { etag: found.etag, counts: new Map(Object.entries(counts)), writes }
    }
    const reason = new StoreError.Corrupt({ description: "a shard of the counters cannot be read" })
    return yield* new StoreError.StoreError({ operation: "get", key, reason })
  })

  const check = Effect.fnUntraced(function* (
    key: string,
    counts: ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    if ([...counts.values()].every(Number.isSafeInteger)) return
    const reason = new StoreError.InvalidArgument({ description: "a count is no safe integer", argument: "body" })
    return yield* new StoreError.StoreError({ operation: "put", key, reason })
  })

  /** Changes one shard once, also when an answer is lost. After a lost race the next attempt is made where `next` says. */
  const change = Effect.fnUntraced(function* (
    first: string,
    next: (key: string) => Effect.Effect<string>,
    changed: (counts: ReadonlyMap<string, number>) => ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    const writeId = yield* Id.writeId
    let key = first
    for (let races = 0; ; races++) {
      const before = yield* load(key)
      const counts = changed(before.counts)
      // Nothing is there, and nothing is to be there.
      if (counts === before.counts) return
      yield* check(key, counts)
      const condition = before.etag === undefined ? { ifNoneMatch: "*" as const } : { ifMatch: before.etag }
      const body = encodeBody(counts, [writeId, ...before.writes])
      const result = yield* Effect.result(store.put({ key, body, contentType: "application/json", ...condition }))
      if (Result.isSuccess(result)) return
      const error = result.failure
      const { reason } = error
      const isRefused =
        reason._tag === "PreconditionFailed" ||
        reason._tag === "NoSuchKey" ||
        reason._tag === "ConditionalRequestConflict"
      if (!isRefused && error.outcome === "none") return yield* error
      // A client library may have sent it twice: even a plain refusal may be that of the second, the first having landed.
      const now = yield* Effect.mapError(load(key), () => error)
      if (now.writes.includes(writeId)) return
      const isPlain = isRefused && !(reason._tag === "PreconditionFailed" && reason.afterUnknown === true)
      if (races >= maxRaces || !(isPlain || isRuledOut(before, now))) return yield* error
      yield* Effect.sleep(Math.min(2000, 20 * 1.6 ** races) * (yield* Random.next))
      key = yield* next(key)
    }
  })

  const random = (among: ReadonlyArray<string>): Effect.Effect<string> =>
    Effect.map(Random.nextIntBetween(0, among.length, { halfOpen: true }), (index) => among[index]!)

  const another = (key: string): Effect.Effect<string> =>
    shards === 1 ? Effect.succeed(key) : random(keys.filter((one) => one !== key))

  const add = Effect.fnUntraced(function* (
    given: ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    const deltas = withoutZeros(given)
    if (deltas.size === 0) return
    const key = yield* random(keys)
    yield* check(key, deltas)
    yield* change(key, another, (counts) => sumOf([counts, deltas]))
  })

  const sums = Effect.map(Effect.forEach(keys, load, { concurrency: "unbounded" }), (all) =>
    sumOf(all.map(({ counts }) => counts))
  )

  const set = Effect.fnUntraced(function* (
    given: ReadonlyMap<string, number>
  ): Effect.fn.Return<void, StoreError.StoreError> {
    const counts = withoutZeros(given)
    yield* check(keys[0]!, counts)
    const rewrite = (key: string, shard: number) => {
      const wanted = shard === 0 ? counts : absent.counts
      return change(key, Effect.succeed, (before) => (before.size === 0 && wanted.size === 0 ? before : wanted))
    }
    yield* Effect.forEach(keys, rewrite, { concurrency: "unbounded", discard: true })
  })

  return {
    add,
    read: (label) => Effect.map(sums, (sum) => Math.max(0, sum.get(label) ?? 0)),
    readAll: Effect.map(sums, (sum) => new Map([...sum].filter(([, count]) => count > 0))),
    set,
    remove: Effect.gen(function* () {
      const { failed } = yield* store.deleteMany(keys)
      const [left] = failed
      if (left !== undefined) {
        return yield* new StoreError.StoreError({ operation: "deleteMany", key: left.key, reason: left.reason })
      }
    })
  }
}
