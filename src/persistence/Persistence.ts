/**
 * Effect's `Persistence` on the store of a database: what `PersistedCache`, `RequestResolver.persisted` and the like keep their values
 * in, for all processes that share it.
 *
 * ```ts
 * import * as S3Persistence from "effect-s3db/persistence/Persistence"
 * import { Effect, Schema } from "effect"
 * import { Persistable, PersistedCache } from "effect/persistence"
 *
 * class Price extends Persistable.Class<{ payload: { id: string } }>()("Price", {
 *   primaryKey: ({ id }) => id,
 *   success: Schema.Finite
 * }) {}
 *
 * declare const load: (id: string) => Effect.Effect<number>
 *
 * const program = Effect.gen(function* () {
 *   const prices = yield* PersistedCache.make(({ id }: Price) => load(id), { storeId: "prices", timeToLive: () => "1 hour" })
 *   return yield* prices.get(new Price({ id: "a" }))
 * })
 *
 * const live = Effect.provide(Effect.scoped(program), S3Persistence.layer)
 * ```
 *
 * **Details**
 *
 * A value is one object, `plugin=persistence/prices/a`. When it expires is judged by the store's clock, so that processes whose clocks
 * differ agree on it.
 *
 * | operation | requests |
 * |---|---|
 * | `get`, `getMany` | 1 GET for each key |
 * | `set`, `setMany` | 1 PUT for each value |
 * | `remove` | 1 DELETE |
 * | `clear` | 1 LIST and 1 request for each 1,000 |
 * | the store's clock | 3 when a value with an expiry is first written or read, and 3 an hour |
 * | sweeping | 1 GET a day in each process; in one of them 1 PUT, 1 LIST for each 1,000 values, 1 GET for each, and 1 request for each that goes |
 *
 * **Gotchas**
 *
 * `setMany` is no transaction: when it fails, some of the values may be there.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EffectPersistence from "effect/persistence/Persistence"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Database } from "../Database.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import { registering } from "./internal/registering.ts"
import { sweeping } from "./internal/sweeping.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which values of a database a persistence has, and how long what has expired stays there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells it from others of the same database: what its keys begin with is `plugin=<name>/`. Default: `persistence`. */
  readonly name?: string | undefined
  /**
   * How often what has expired is removed, by one of the processes that share the database: 1 minute at least; `false`: never, and
   * `sweep` does it. It is not seen whether it is removed or not. Default: 1 day.
   */
  readonly sweepEvery?: Duration.Input | false | undefined
}

const Value = Schema.Record(Schema.String, Schema.Json)

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** A segment of a key for any text, the empty one as well. */
const segment = (text: string): string => (text === "" || text.startsWith("~") ? `~${text}` : text)

const valuesOf = Effect.fnUntraced(function* (store: ObjectStore["Service"], { name = "persistence" }: Options) {
  return PluginStore.make(store, { plugin: name, schema: Value, now: yield* StoreClock.kept(store) })
})

const failed = (what: string) => (cause: PluginStore.Failure) =>
  new EffectPersistence.PersistenceError({ message: `${what}: ${cause.message}`, cause })

/** As `JSON.stringify` has it, which is what others store: without members that are undefined. */
const asJson = (key: string, value: object): Effect.Effect<typeof Value.Type, EffectPersistence.PersistenceError> =>
  Effect.try({
    try: () => JSON.parse(JSON.stringify(value)) as typeof Value.Type,
    catch: (cause) =>
      new EffectPersistence.PersistenceError({
        message: `The value of ${JSON.stringify(key)} has no form as JSON`,
        cause
      })
  })

/**
 * Creates the port that Effect's `Persistence` stands on, on a store that honours conditional writes. Until the scope closes it
 * removes what has expired, as often as the options say.
 *
 * Dies with a `RangeError` when `sweepEvery` is less than a minute.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<EffectPersistence.BackingPersistence["Service"], never, Scope.Scope> {
  const values = yield* valuesOf(store, options)
  // No value is at a key of one segment.
  yield* sweeping(values, { every: options.sweepEvery ?? "1 day", turn: "swept", mark: {} })

  const backing = (storeId: string): EffectPersistence.BackingPersistenceStore => {
    const keyOf = (key: string) => [segment(storeId), segment(key)]
    const get = (key: string) =>
      Effect.map(values.get(keyOf(key)), (found): object | undefined => Option.getOrUndefined(found))

    const set = Effect.fnUntraced(function* (key: string, value: object, ttl: Duration.Duration | undefined) {
      const json = yield* asJson(key, value)
      yield* Effect.mapError(values.set(keyOf(key), json, { ttl }), failed(`Failed to set ${JSON.stringify(key)}`))
    })

    return {
      get: Effect.fn("Persistence.get")(function* (key) {
        return yield* Effect.mapError(get(key), failed(`Failed to get ${JSON.stringify(key)}`))
      }),
      getMany: Effect.fn("Persistence.getMany")(function* (keys) {
        const one = (key: string) =>
          // What cannot be read is as if it were not there, as in Effect's own: it is made anew.
          Effect.catchReason(get(key), "StoreError", "Corrupt", () => Effect.undefined)
        const found = yield* Effect.mapError(
          Effect.forEach(keys, one, { concurrency: 16 }),
          failed(`Failed to get ${keys.length} values`)
        )
        return found as Arr.NonEmptyArray<object | undefined>
      }),
      set: Effect.fn("Persistence.set")(set),
      setMany: Effect.fn("Persistence.setMany")(function* (entries) {
        yield* Effect.forEach(entries, ([key, value, ttl]) => set(key, value, ttl), { concurrency: 16, discard: true })
      }),
      remove: Effect.fn("Persistence.remove")(function* (key) {
        yield* Effect.mapError(values.remove(keyOf(key)), failed(`Failed to remove ${JSON.stringify(key)}`))
      }),
      clear: Effect.mapError(
        values.removeAll(segment(storeId)),
        failed(`Failed to clear ${JSON.stringify(storeId)}`)
      ).pipe(Effect.withSpan("Persistence.clear"), Effect.asVoid)
    }
  }

  return { make: (storeId) => Effect.sync(() => backing(storeId)) }
})

/**
 * Removes what has expired, and gives its number. 1 LIST for each 1,000 values, 1 GET for each, and 1 request for each that goes; 3
 * for the store's clock.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sweep = Effect.fn("Persistence.sweep")(function* (
  store: ObjectStore["Service"],
  options: Pick<Options, "name"> = {}
): Effect.fn.Return<number, StoreError> {
  return yield* (yield* valuesOf(store, options)).sweep
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The port as a plugin: `Plugin.statuses` has an entry for each of its layers, and `Plugin.uninstall` with `purge` removes what it has stored,
 * when none is open. What has another name is removed by that: `Plugin.define("settings", { version: 1 })`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("persistence", { version: 1 })

/**
 * Creates a layer of the port that Effect's `Persistence` stands on, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerBackingWith = (
  options: Options
): Layer.Layer<EffectPersistence.BackingPersistence, never, Database> =>
  Layer.effect(
    EffectPersistence.BackingPersistence,
    Effect.gen(function* () {
      const { running, store } = yield* registering(plugin, options.name ?? plugin.name)
      const made = yield* make(store, options)
      yield* running()
      return made
    })
  )

/**
 * The layer of the port that Effect's `Persistence` stands on.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerBacking: Layer.Layer<EffectPersistence.BackingPersistence, never, Database> = layerBackingWith({})

/**
 * Creates a layer of Effect's `Persistence` on a database, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<EffectPersistence.Persistence, never, Database> =>
  Layer.provide(EffectPersistence.layer, layerBackingWith(options))

/**
 * The layer of Effect's `Persistence` on a database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<EffectPersistence.Persistence, never, Database> = layerWith({})
