/**
 * A cache for the reads of resources: in memory, in Redis, in a folder, in a bucket, or in several of them.
 *
 * ```ts
 * import * as Cache from "effect-s3db/plugins/Cache"
 * import * as Database from "effect-s3db/Database"
 * import { Layer } from "effect"
 *
 * const Cached = Cache.layer({ tiers: [Cache.memory({ maxBytes: 32 * 1024 * 1024 })] }).pipe(Layer.provideMerge(Database.layer))
 * ```
 *
 * **Details**
 *
 * It stands below all interceptors, between the reads of the resources of a database and their documents (`ReadThrough`): guards look at
 * what it gives as they look at what the store gives, and what one user may see is never shown to another. Every way to write counts.
 *
 * A write of this process is seen by its reads at once. One of another process that has the cache open, too, is seen when it is
 * acknowledged and `staleness` has passed, as a rule at once where there are `peers`. One of a process that has not, or that came to a sudden
 * end between its commit and its acknowledgement, is seen after `timeToLive`.
 *
 * What is kept is the stored form of documents, in which secrets are sealed: nothing secret lies in a cache in plain. Within a
 * transaction the cache is neither read nor filled.
 *
 * Requests: to start 1 PUT, and 1 more for the backup of the catalog, the first time; a cached read none; 1 GET for each resource that is
 * read in each `staleness`, for all who read at the time; a write 1 PUT more, one for all at the same time, and 1 GET and 1 PUT more where
 * another process has written in between.
 *
 * @see `docs/guide/caching.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Redis } from "effect/persistence/Redis"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import * as Guard from "../Guard.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as sha256 from "../internal/sha256.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import * as ReadThrough from "../ReadThrough.ts"
import * as ResourceSelector from "../ResourceSelector.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type * as Blobs from "./cache/blobs.ts"
import * as Engine from "./cache/engine.ts"
import * as memoryTier from "./cache/memory.ts"
import * as objectsTier from "./cache/objects.ts"
import * as redisTier from "./cache/redis.ts"
import * as tier from "./cache/tier.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An option of a cache that cannot be. Nothing was written. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidCache extends ExpectedError<InvalidCache>("effect-s3db/plugins/Cache/InvalidCache")(
  "InvalidCache",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `the options of a cache, ${this.field}: ${this.problem}`
  }
}

export { TierFailed } from "./cache/tier.ts"

/**
 * The errors of building a cache. `TierFailed`: a tier could not be made, such as one in a folder that is none.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidCache | Plugin.InvalidPlugin | DbError.DbError | tier.TierFailed

// -----------------------------------------------------------------------------
// Tiers
// -----------------------------------------------------------------------------

/**
 * A place in which results are kept. One of one's own can be given to a cache by `fromTier`.
 *
 * @category models
 * @since 0.1.0
 */
export type Tier = tier.Tier

/**
 * The key of a result in a tier.
 *
 * @category models
 * @since 0.1.0
 */
export type Key = tier.Key

/**
 * A result as a tier keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = tier.Entry

/**
 * A tier to be made with a cache.
 *
 * @category models
 * @since 0.1.0
 */
export interface TierOf<out R = never> extends tier.TierOf<R> {
  /** What is wrong with its options. */
  readonly problem?: InvalidCache | undefined
}

/**
 * The way by which caches of several processes tell each other of writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface PeersOf<out R = never> {
  readonly make: (channel: string) => Effect.Effect<redisTier.Peers, never, R>
}

/**
 * Makes a tier of one's own one of a cache.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromTier = (own: Tier): TierOf => ({ make: () => Effect.succeed(own) })

const fiveMinutes = "5 minutes"

const millisOf = (input: Duration.Input | undefined, otherwise: Duration.Input): number =>
  millisecondsOf(input ?? otherwise)

type Check = readonly [field: string, isGood: boolean, expected: string]

const isCount = (count: number) => count === Number.POSITIVE_INFINITY || (Number.isSafeInteger(count) && count >= 1)
const isTime = (millis: number) => millis > 0

const problemOf = (checks: ReadonlyArray<Check>): InvalidCache | undefined => {
  const found = checks.find(([, isGood]) => !isGood)
  return found === undefined ? undefined : new InvalidCache({ field: found[0], problem: `Expected ${found[2]}` })
}

const aCount = "a whole number from 1"
const aTime = "a duration of more than nothing"
const aName = "1 to 50 letters, digits, - or _"

const isName = (name: string) => typeof name === "string" && /^[\w-]{1,50}$/.test(name)

/**
 * What a cache tells: a tier has failed three times in a row and is left alone for so long, and so on for each time that it fails after
 * that; it answers again; a resource, or all (`undefined`), was cleared from all tiers.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = Engine.TierEvent | { readonly _tag: "Cleared"; readonly resource: string | undefined }

/**
 * The options of a tier in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryOptions {
  /** Default: `"memory"`. */
  readonly name?: string | undefined
  /** Bytes of stored forms and keys, of which a process takes about three times as many. An entry that is larger is not kept. Default: 64 MiB. */
  readonly maxBytes?: number | undefined
  /**
   * In place of `maxBytes`: how much of the memory that the engine of JavaScript may take (`heap_size_limit` of Node) the entries may
   * take, more than 0 and at most 1, with all that they take beside their stored forms. Needs Node.
   */
  readonly maxShare?: number | undefined
  /** Default: 100,000. */
  readonly maxEntries?: number | undefined
  /** How long an entry stays, from when it was put here. Default: 5 minutes. */
  readonly timeToLive?: Duration.Input | undefined
  /** Which entry goes first to make room: the one that was not used for longest, `lru`, the default; or that is here for longest, `fifo`. */
  readonly eviction?: "lru" | "fifo" | undefined
}

/** So many bytes of a process an entry takes for each of its stored form. */
const heapFactor = 3

const v8: typeof import("node:v8") | undefined = globalThis.process?.getBuiltinModule?.("node:v8")

const bytesOf = (share: number): number =>
  Math.max(1, Math.floor(((v8?.getHeapStatistics().heap_size_limit ?? Number.NaN) * share) / heapFactor))

/**
 * Creates a tier in the memory of this process. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memory = (options: MemoryOptions = {}): TierOf => {
  const { eviction = "lru", maxEntries = 100_000, maxShare, name = "memory" } = options
  const maxBytes = options.maxBytes ?? (maxShare === undefined ? 64 * 1024 * 1024 : bytesOf(maxShare))
  const timeToLive = millisOf(options.timeToLive, fiveMinutes)
  return {
    make: () => Effect.sync(() => memoryTier.make({ eviction, maxBytes, maxEntries, name, timeToLive })),
    problem: problemOf([
      ["tiers.name", isName(name), aName],
      ["tiers.maxShare", maxShare === undefined || options.maxBytes === undefined, "one of maxShare and maxBytes"],
      ["tiers.maxShare", maxShare === undefined || (maxShare > 0 && maxShare <= 1), "a number above 0, at most 1"],
      [
        "tiers.maxShare",
        maxShare === undefined || !Number.isNaN(maxBytes),
        "maxBytes: nothing here says how much memory there is"
      ],
      ["tiers.maxBytes", isCount(maxBytes), aCount],
      ["tiers.maxEntries", isCount(maxEntries), aCount],
      ["tiers.timeToLive", isTime(timeToLive), aTime],
      ["tiers.eviction", eviction === "lru" || eviction === "fifo", "lru or fifo"]
    ])
  }
}

/**
 * The options of a tier in an object store.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectStoreOptions extends Blobs.Options {
  /** Default: `"store"`. */
  readonly name?: string | undefined
  /** What the keys begin with. Default: `"cache/"`. */
  readonly prefix?: string | undefined
  /** How long an entry stays, from when it was put here. Default: 1 hour. */
  readonly timeToLive?: Duration.Input | undefined
  /** More than that is removed by the next sweep, the oldest first. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** How often what is too old, or too much, is removed. Default: 5 minutes; `0`: never, since the bucket has rules of its own. */
  readonly sweepInterval?: Duration.Input | undefined
}

const objectsOf = (
  store: Effect.Effect<ObjectStore["Service"], tier.TierFailed, Scope.Scope>,
  { maxBytes = Number.POSITIVE_INFINITY, name = "store", prefix = "cache/", ...options }: ObjectStoreOptions
): TierOf => {
  const timeToLive = millisOf(options.timeToLive, "1 hour")
  const sweepInterval = millisOf(options.sweepInterval, fiveMinutes)
  const limits = { ...options, maxBytes, name, prefix, timeToLive, sweepInterval }
  return {
    make: (surroundings) => Effect.flatMap(store, (store) => objectsTier.make(store, limits, surroundings)),
    problem: problemOf([
      ["tiers.name", isName(name), aName],
      ["tiers.maxBytes", isCount(maxBytes), aCount],
      ["tiers.timeToLive", isTime(timeToLive), aTime],
      ["tiers.sweepInterval", sweepInterval >= 0, "a duration"]
    ])
  }
}

/**
 * Creates a tier in an object store, such as a bucket of S3, or a part of one (`PrefixedStore`). A look is 1 GET, a fill 1 PUT.
 *
 * @category constructors
 * @since 0.1.0
 */
export const objectStore = (store: ObjectStore["Service"], options: ObjectStoreOptions = {}): TierOf =>
  objectsOf(Effect.succeed(store), options)

/**
 * Creates a tier in a folder of this machine, for the cache alone. Entries survive the process, not a loss of power.
 *
 * @category constructors
 * @since 0.1.0
 */
export const folder = (path: string, options: ObjectStoreOptions = {}): TierOf => {
  const { name = "folder", prefix = "" } = options
  const opening = Effect.gen(function* () {
    // It needs Node, which the other tiers do not.
    const FileStore = yield* Effect.promise(() => import("../storage/FileStore.ts"))
    return yield* FileStore.make({ path, durability: "none" })
  }).pipe(
    Effect.mapError(({ message }) => new tier.TierFailed({ tier: name, operation: "open", description: message }))
  )
  return objectsOf(opening, { ...options, name, prefix })
}

/**
 * The options of a tier in Redis.
 *
 * @category models
 * @since 0.1.0
 */
export interface RedisOptions extends Blobs.Options {
  /** Default: `"redis"`. */
  readonly name?: string | undefined
  /** What the keys begin with. Default: `"cache/"`. */
  readonly prefix?: string | undefined
  /** How long an entry stays, from when it was put here. Default: 1 hour. */
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * Creates a tier in Redis, by Effect's `Redis` service: on Node `NodeRedis.layer` of `@effect/platform-node`, which needs the package `redis`.
 * A look is 1 GET, a fill 1 SET. How much Redis keeps is up to its `maxmemory` and `maxmemory-policy`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const redis = (options: RedisOptions = {}): TierOf<Redis> => {
  const { name = "redis", prefix = "cache/" } = options
  const timeToLive = millisOf(options.timeToLive, "1 hour")
  return {
    make: (surroundings) =>
      Effect.map(Redis, (redis) => redisTier.make(redis, { ...options, name, prefix, timeToLive }, surroundings)),
    problem: problemOf([
      ["tiers.name", isName(name), aName],
      ["tiers.timeToLive", isTime(timeToLive) && Number.isFinite(timeToLive), `${aTime}, and an end of it`]
    ])
  }
}

/**
 * Creates the way by which the caches of a database tell each other of writes by a channel of Redis. A write is 1 PUBLISH. That a message is
 * lost does no harm: `staleness` holds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const redisPeers: PeersOf<Redis> = {
  make: (channel) => Effect.map(Redis, (redis) => redisTier.peers(redis, channel))
}

// -----------------------------------------------------------------------------
// Modes
// -----------------------------------------------------------------------------

/**
 * Runs reads as if there were no cache: they neither ask nor fill it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bypass = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Engine.CurrentMode, "bypass")

/**
 * Runs reads that load anew, and keep what they have loaded in the place of what was kept.
 *
 * @category combinators
 * @since 0.1.0
 */
export const refresh = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Engine.CurrentMode, "refresh")

// -----------------------------------------------------------------------------
// Statistics
// -----------------------------------------------------------------------------

/**
 * What was counted of a tier.
 *
 * @category models
 * @since 0.1.0
 */
export interface TierStatistics {
  readonly name: string
  readonly hits: number
  readonly misses: number
  readonly fills: number
  readonly evictions: number
  /** Each is a miss, or no fill. */
  readonly errors: number
  /** Whether it is left out for a while, since it failed again and again: 1 second, then twice as long each time, 30 at most. */
  readonly isResting: boolean
  /** What there is now, where the tier knows. */
  readonly size: Option.Option<tier.Size>
}

/**
 * What was counted of the reads of a method.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadStatistics = Readonly<Engine.Counts>

/**
 * What was counted since the cache was opened, or reset.
 *
 * @category models
 * @since 0.1.0
 */
export interface Statistics {
  readonly tiers: ReadonlyArray<TierStatistics>
  /** Of all reads. */
  readonly total: ReadStatistics
  /** By resource and method, such as `reads.get("users")?.get("count")`. */
  readonly reads: ReadonlyMap<string, ReadonlyMap<string, ReadStatistics>>
  /** Writes that were recorded for other processes; those at the same time are one. */
  readonly invalidations: number
  /** How often the generations of a resource could not be read or written: its cache is left out then. */
  readonly generationErrors: number
  readonly peerErrors: number
  /** Resources with writes that could not be recorded for other processes yet. It is tried each second. */
  readonly owing: ReadonlyArray<string>
}

const sum = (reads: Engine.Tally["reads"]): ReadStatistics => {
  const total: Engine.Counts = { hits: 0, misses: 0, shared: 0, bypassed: 0, late: 0, oversized: 0 }
  for (const counts of [...reads.values()].flatMap((methods) => [...methods.values()])) {
    for (const name of Object.keys(total) as Array<keyof Engine.Counts>) total[name] += counts[name]
  }
  return total
}

/**
 * What warming a cache came to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Warmed<out E> {
  readonly done: number
  readonly failures: ReadonlyArray<E>
}

// -----------------------------------------------------------------------------
// Cache
// -----------------------------------------------------------------------------

/**
 * The cache of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Cache extends Context.Service<
  Cache,
  {
    /**
     * What happens to tiers, and what is cleared, in this process, from when the stream is drawn; also in `Plugin.events`, as
     * `plugin.cache.TierLeft` and the like. For observation.
     */
    readonly events: Stream.Stream<Event | Change.Lagged>
    readonly statistics: Effect.Effect<Statistics>
    readonly resetStatistics: Effect.Effect<void>
    /**
     * Forgets what was kept of a resource, or of some of its documents and all that they are a part of, in all processes within `staleness`:
     * for who has changed documents without this library. 1 PUT.
     */
    readonly invalidate: (
      resource: string,
      options?: { readonly ids?: ReadonlyArray<string> | undefined }
    ) => Effect.Effect<void>
    /**
     * Forgets what was kept of a resource, or of all that were read, and removes it from the tiers. `users` is not `users_archive`. 1 PUT for
     * each resource, and what the tiers need. `TierFailed`: entries are left in a tier, which no read takes.
     */
    readonly clear: (resource?: string) => Effect.Effect<void, tier.TierFailed>
    /**
     * Runs reads so that they are kept, 8 at a time by default: those that are there already are left as they are, unless `refresh` says
     * so. They run as the program's own (`Guard.trusted`). One that fails does not keep the others.
     */
    readonly warm: <Reading extends Effect.Effect<unknown, unknown, unknown>>(
      reads: Iterable<Reading>,
      options?: { readonly concurrency?: number | undefined; readonly refresh?: boolean | undefined }
    ) => Effect.Effect<Warmed<Effect.Error<Reading>>, never, Effect.Services<Reading>>
  }
>()("effect-s3db/plugins/Cache") {}

/**
 * How a way to read is cached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  /** How long a result counts, from when its loading began, in whichever tier it is. Default: that of the cache. */
  readonly timeToLive?: Duration.Input | undefined
  /** Results with a longer stored form are not kept. Default: 1 MiB. */
  readonly maxBytes?: number | undefined
  /** Of `query`, `scan` and `listIds`: results of more are not kept. Default: 1,000. */
  readonly maxItems?: number | undefined
  /** How often something has to be asked for before it is kept. Default: 1, at once. */
  readonly storeFrom?: number | undefined
}

/**
 * The options of a cache.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out R = never> extends Plugin.Options {
  /** The resources that are cached. Default: all but those of plugins. */
  readonly resources?: ResourceSelector.ResourceSelector | undefined
  /** From near to far: what one has not is looked for in the next. Default: one in memory. */
  readonly tiers?: ReadonlyArray<TierOf<R>> | undefined
  /** Tells other processes of writes. Default: they look for themselves, each `staleness`. */
  readonly peers?: PeersOf<R> | undefined
  /**
   * How old may be what this process knows of the writes of others. `0`: each read asks, which is 1 GET and sees every write that was
   * acknowledged before. Default: 5 seconds.
   */
  readonly staleness?: Duration.Input | undefined
  /** How long a result counts at most: the bound for writes of which nobody tells. Default: 5 minutes. */
  readonly timeToLive?: Duration.Input | undefined
  /**
   * By way to read: `false` for not at all, `true`, or how. By default all but `exists` and `scan` are cached.
   */
  readonly methods?: { readonly [M in ReadThrough.Method]?: boolean | Policy | undefined } | undefined
  /** Whether what is found in a tier is put in those before it. Default `true`. */
  readonly promote?: boolean | undefined
  /** How long a tier may take to answer. Default: 1 second. */
  readonly tierTimeout?: Duration.Input | undefined
}

const offByDefault: ReadonlySet<ReadThrough.Method> = new Set(["exists", "scan"])

const rulesOf = (
  methods: NonNullable<Options["methods"]>,
  timeToLive: number
): Result.Result<ReadonlyMap<ReadThrough.Method, Engine.Rule>, InvalidCache> => {
  const unknown = Object.keys(methods).find((name) => !ReadThrough.methods.some((method) => method === name))
  if (unknown !== undefined) {
    const problem = `Expected one of ${ReadThrough.methods.join(", ")}`
    return Result.fail(new InvalidCache({ field: `methods.${unknown}`, problem }))
  }
  const rules = new Map<ReadThrough.Method, Engine.Rule>()
  for (const method of ReadThrough.methods) {
    const given = methods[method] ?? !offByDefault.has(method)
    const policy: Policy = typeof given === "boolean" ? {} : given
    const { maxBytes = 1024 * 1024, maxItems = 1000, storeFrom = 1 } = policy
    const rule = {
      isEnabled: given !== false,
      timeToLive: Math.min(timeToLive, millisOf(policy.timeToLive, timeToLive)),
      maxBytes,
      maxItems,
      storeFrom
    }
    const problem = problemOf([
      [`methods.${method}.timeToLive`, isTime(rule.timeToLive), aTime],
      [`methods.${method}.maxBytes`, isCount(maxBytes), aCount],
      [`methods.${method}.maxItems`, isCount(maxItems), aCount],
      [`methods.${method}.storeFrom`, isCount(storeFrom), aCount]
    ])
    if (problem !== undefined) return Result.fail(problem)
    rules.set(method, rule)
  }
  return Result.succeed(rules)
}

/**
 * The plugin, for `Plugin.uninstall`: with `purge` it removes the generations of resources. What tiers have elsewhere ends by itself.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("cache", { version: 1 })

const encoder = new TextEncoder()

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

/**
 * Makes a cache that stands between reads and documents until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Cache.make")(function* <R = never>(
  options: Options<R> = {}
): Effect.fn.Return<Cache["Service"], LayerError, Database | Scope.Scope | R> {
  const { methods = {}, namespace, peers, promote = true, resources, tiers: given = [memory()] } = options
  const timeToLive = millisOf(options.timeToLive, fiveMinutes)
  const staleness = millisOf(options.staleness, "5 seconds")
  const tierTimeout = millisOf(options.tierTimeout, "1 second")
  if (given.some((one) => typeof one === "function")) {
    const expected = "Expected tiers: what was given is a function that makes one, so call it, as in Cache.memory()"
    return yield* new InvalidCache({ field: "tiers", problem: expected })
  }
  const problem =
    given.find((one) => one.problem !== undefined)?.problem ??
    problemOf([
      ["tiers", given.length > 0, "at least one"],
      ["timeToLive", isTime(timeToLive), aTime],
      ["staleness", staleness >= 0, "a duration"],
      ["tierTimeout", isTime(tierTimeout), aTime]
    ])
  if (problem !== undefined) return yield* problem
  const rules = yield* Effect.fromResult(rulesOf(methods, timeToLive))

  const database = yield* Database
  const self = yield* Plugin.open(plugin, { namespace })
  const salt = yield* database.salt
  const own = sha256.sha256(salt, encoder.encode(`cache ${self.slug}`))
  // Databases may share a tier.
  const root = `${self.slug}/db=${hexOf(own.subarray(0, 12))}/`
  const tiers = yield* Effect.forEach(given, (one) => one.make({ root }))
  if (new Set(tiers.map(({ name }) => name)).size < tiers.length) {
    return yield* new InvalidCache({
      field: "tiers.name",
      problem: "Expected another name: there are two tiers of this one"
    })
  }
  const engine = yield* Engine.make({
    store: database.store,
    cellKey: (resource) => `${self.prefix(resource)}generations`,
    root,
    salt: own,
    tiers,
    peers: peers === undefined ? undefined : yield* peers.make(`effect-s3db/${root}`),
    rules,
    staleness,
    tierTimeout,
    promotes: promote,
    onTier: (event) => self.publish(event)
  })
  const { readThrough } = engine
  yield* database.readThrough(ResourceSelector.toPredicate(resources), readThrough)

  const statistics = Effect.gen(function* () {
    const { generationErrors, invalidations, peerErrors, reads, tiers: counts } = engine.tally()
    const resting = new Set(yield* engine.resting)
    return {
      tiers: yield* Effect.forEach(tiers, ({ evictions, name, size }) =>
        Effect.map(Effect.all([evictions, size]), ([evictions, size]) => ({
          ...counts.get(name)!,
          name,
          evictions,
          isResting: resting.has(name),
          size
        }))
      ),
      total: sum(reads),
      reads: new Map(
        [...reads].map(([resource, methods]) => [
          resource,
          new Map([...methods].map(([method, counts]) => [method, { ...counts }]))
        ])
      ),
      invalidations,
      generationErrors,
      peerErrors,
      owing: engine.owing()
    }
  })

  yield* self.running({
    health: Effect.gen(function* (): Effect.fn.Return<PluginRegistry.Health> {
      const resting = yield* engine.resting
      const owing = engine.owing()
      const names = (yield* database.listResources).map(({ name }) => name)
      const strange = ResourceSelector.problemOf(resources, names)
      const detail = [
        ...(strange === undefined ? [] : [strange]),
        ...resting.map((name) => `tier ${name} fails`),
        ...owing.map((resource) => `writes of ${resource} are not recorded for other processes yet`)
      ].join("; ")
      return detail === "" ? { level: "up" } : { level: "degraded", detail }
    }),
    counters: Effect.map(statistics, ({ generationErrors, invalidations, peerErrors, tiers, total }) => ({
      ...total,
      invalidations,
      generationErrors,
      peerErrors,
      tierErrors: tiers.reduce((all, { errors }) => all + errors, 0),
      evictions: tiers.reduce((all, { evictions }) => all + evictions, 0)
    }))
  })

  const forget = (resource: string, written: ReadThrough.Written | typeof ReadThrough.everything) =>
    Effect.uninterruptible(
      Effect.suspend(() => {
        readThrough.forget(resource, written)
        return readThrough.told(resource)
      })
    )

  return {
    events: self.events,
    statistics,
    resetStatistics: Effect.sync(engine.reset),
    invalidate: Effect.fn("Cache.invalidate")(function* (resource, { ids } = {}) {
      yield* forget(resource, ids === undefined ? ReadThrough.everything : { ids, prefixes: undefined })
    }),
    clear: Effect.fn("Cache.clear")(function* (resource) {
      const known = resource === undefined ? [...engine.tally().reads.keys()] : [resource]
      for (const one of known) yield* forget(one, ReadThrough.everything)
      const failures: Array<tier.TierFailed> = []
      yield* Effect.forEach(
        tiers,
        (one) => Effect.catch(one.clear(resource), (error) => Effect.sync(() => failures.push(error))),
        {
          concurrency: "unbounded",
          discard: true
        }
      )
      if (failures[0] !== undefined) return yield* failures[0]
      yield* self.publish({ _tag: "Cleared", resource })
    }),
    warm: Effect.fn("Cache.warm")(function* <Reading extends Effect.Effect<unknown, unknown, unknown>>(
      reads: Iterable<Reading>,
      {
        concurrency = 8,
        refresh: isAnew = false
      }: { readonly concurrency?: number | undefined; readonly refresh?: boolean | undefined } = {}
    ) {
      // The same, said in the way in which it is run.
      const all = reads as Iterable<Effect.Effect<unknown, Effect.Error<Reading>, Effect.Services<Reading>>>
      const results = yield* Effect.forEach(
        all,
        (read) => Effect.result(Guard.trusted(isAnew ? refresh(read) : read)),
        { concurrency }
      )
      const failures = results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
      return { done: results.length - failures.length, failures }
    })
  }
})

/**
 * Opens the cache of a database: it stands between reads and documents as long as the layer is there.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R = never>(
  options: Options<R> = {}
): Layer.Layer<Cache, LayerError, Database | Exclude<R, Scope.Scope>> => Layer.effect(Cache, make(options))
