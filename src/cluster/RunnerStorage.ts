/**
 * The `RunnerStorage` of `effect/cluster` in a database: which runners there are, and which of them has which shards.
 *
 * ```ts
 * import * as S3RunnerStorage from "effect-s3db/cluster/RunnerStorage"
 * import { Layer } from "effect"
 * import { ShardingConfig } from "effect/cluster"
 *
 * const Runners = S3RunnerStorage.layer.pipe(Layer.provide(ShardingConfig.layer()))
 * ```
 *
 * **Details**
 *
 * One object, `plugin=cluster/runners`, has all runners, their machine ids, and who has which shards; it is changed by compare-and-set, so
 * a shard has one runner. What one process changes while a write of it is under way is written together. Each runner has an object beside
 * it, `plugin=cluster/alive/<address>`, that it writes again whenever it refreshes its locks.
 *
 * The shards of a runner may be taken when its object has not been written for `shardLockExpiration`. Both times are the store's: whoever
 * wants to take them writes its own object first. The clocks of the runners have no part in it. A runner that has been silent for so
 * long, and comes back, writes the common object before it goes on: either whoever is about to take its shards is refused, or it finds them
 * taken.
 *
 * | operation | requests |
 * |---|---|
 * | `register` | 2 PUT, 1 GET |
 * | `getRunners` | 1 GET, 1 LIST; 3 for the store's clock at first and each hour |
 * | `acquire`, any number of shards | 1 PUT, 1 GET; 1 PUT more when some are free; 1 LIST more when others have some |
 * | `refresh`, any number of shards | 1 PUT, 1 GET; 1 PUT more after a silence |
 * | `release`, `releaseAll`, `setRunnerHealth` | 1 GET, 1 PUT, those at once together |
 * | `unregister` | 1 LIST, 1 GET, 1 PUT; 1 DeleteObjects when there are objects of runners that are gone for a day |
 *
 * With the defaults of `effect/cluster`, locks refreshed every 10 seconds, that is 6 PUT and 6 GET a minute for each runner.
 *
 * **Gotchas**
 *
 * A runner that stands still for longer than `shardLockExpiration` finds out late that its shards are another's, as with locks in a table of
 * SQL. Messages may then be handled twice: entities have to bear that.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import * as ClusterError from "effect/cluster/ClusterError"
import * as EffectRunnerStorage from "effect/cluster/RunnerStorage"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as grouped from "../kernel/internal/grouped.ts"
import { keyPrefix } from "../kernel/PluginStore.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { registering } from "../persistence/internal/registering.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import { listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import { InvalidArgument, StoreError } from "../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which cluster it is, and when a silent runner is gone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells it from others of the same database: what its keys begin with is `plugin=<name>/`. Default: `cluster`. */
  readonly name?: string | undefined
}

/** As it is stored. Shards are held by an address, whether it is registered or not, as in Effect's own. */
const State = Schema.Struct({
  /** The machine id that was given last. */
  machines: Schema.Int,
  runners: Schema.Array(
    Schema.Struct({ address: Schema.String, runner: Schema.String, healthy: Schema.Boolean, machine: Schema.Int })
  ),
  held: Schema.Array(
    Schema.Struct({ address: Schema.String, shards: Schema.Array(Schema.String), returns: Schema.Int })
  )
})
type State = typeof State.Type
type Held = State["held"][number]

const none: State = { machines: 0, runners: [], held: [] }

/** The store may tell whole seconds. */
const slack = 1000

const day = 86_400_000

/** What a process knows of a runner that it is, or was. */
interface Own {
  /** Since before the last write of its object was asked for. */
  readonly silent: Effect.Effect<number>
  /** Whether others may be about to take its shards, from when it was silent. */
  readonly isDoubtful: boolean
}

// -----------------------------------------------------------------------------
// Changes
// -----------------------------------------------------------------------------

const heldBy = (state: State, address: string): Held =>
  state.held.find((one) => one.address === address) ?? { address, shards: [], returns: 0 }

const withHeld = (state: State, held: Held): State => {
  const others = state.held.filter(({ address }) => address !== held.address)
  return { ...state, held: held.shards.length === 0 ? others : [...others, held] }
}

const take = (
  state: State,
  address: string,
  wanted: ReadonlyArray<string>,
  isGone: (address: string) => boolean
): State => {
  const mine = new Set(heldBy(state, address).shards)
  const others = state.held.filter((one) => one.address !== address)
  const alive = new Set(others.filter((one) => !isGone(one.address)).flatMap(({ shards }) => shards))
  const taken = new Set(wanted.filter((shard) => !mine.has(shard) && !alive.has(shard)))
  if (taken.size === 0) return state
  const left = others
    .map((one) => ({ ...one, shards: one.shards.filter((shard) => !taken.has(shard)) }))
    .filter(({ shards }) => shards.length > 0)
  const { returns } = heldBy(state, address)
  return { ...state, held: [...left, { address, shards: [...mine, ...taken], returns }] }
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

interface Made {
  readonly storage: EffectRunnerStorage.RunnerStorage["Service"]
  /** Whether others may take one of the runners of this process for gone. */
  readonly health: Effect.Effect<PluginRegistry.Health>
}

const build = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  { name = "cluster" }: Options = {}
): Effect.fn.Return<Made, never, ShardingConfig.ShardingConfig | Scope.Scope> {
  const { shardLockExpiration } = yield* ShardingConfig.ShardingConfig
  const expiration = Option.match(Duration.fromInput(shardLockExpiration), {
    onNone: () => Number.NaN,
    onSome: Duration.toMillis
  })
  // Each answer would come too late to be believed, and any runner be gone for the others.
  if (!(expiration >= slack)) {
    const problem = `shardLockExpiration has to be a time from 1 second, not ${String(shardLockExpiration)}`
    return yield* Effect.die(new RangeError(problem))
  }
  const prefix = keyPrefix(name)
  const cell = CasCell.make(
    store,
    `${prefix}runners`,
    CasCell.schemaFormat(State, { what: "the runners of a cluster" })
  )
  const now = yield* StoreClock.kept(store)
  const own = new Map<string, Own>()

  type Change = (state: State) => Effect.Effect<State, StoreError>
  const submit = yield* grouped.make((_key: string, changes: ReadonlyArray<Change>) =>
    cell.modify((before) => {
      const changed = Effect.reduce(
        changes,
        () => before ?? none,
        (state, change) => change(state)
      )
      return Effect.map(changed, (state) => (state === none ? before : state))
    })
  )
  const change = (revise: Change) => submit("", revise)
  const state = Effect.map(cell.read, ({ value }) => value ?? none)

  // ---------------------------------------------------------------------------
  // Signs of life
  // ---------------------------------------------------------------------------

  const alivePrefix = `${prefix}alive/`

  /** Says that a runner is there. Whether it was silent for so long that its shards may be gone is known when the store has answered. */
  const beat = Effect.fnUntraced(function* (address: string) {
    const before = own.get(address)
    if (!address.isWellFormed()) return yield* invalidAddress
    const silent = yield* StoreClock.stopwatch
    yield* store.put({ key: alivePrefix + percentEncode(address), repeatable: true })
    const isDoubtful = before === undefined || before.isDoubtful || (yield* before.silent) >= expiration
    own.set(address, { silent, isDoubtful })
    return isDoubtful
  })

  /** Whether it took so long since then that others may be about to take its shards; if not, it is sure of what it has found. */
  const isLate = Effect.fnUntraced(function* (address: string) {
    const known = own.get(address)
    // It has left meanwhile.
    if (known === undefined) return true
    const isDoubtful = (yield* known.silent) >= expiration
    own.set(address, { ...known, isDoubtful })
    return isDoubtful
  })

  /** When each runner was last heard of, by the store's clock. Nobody is taken for gone where a store does not tell. */
  const signs = listAll(store, { prefix: alivePrefix }).pipe(
    Stream.runFold(
      () => new Map<string, number>(),
      (all, { key, lastModified }) => {
        const address = percentDecode(key.slice(alivePrefix.length))
        return address === undefined ? all : all.set(address, lastModified ?? Number.NaN)
      }
    )
  )

  const isGoneAt = (seen: ReadonlyMap<string, number>, time: number) => (address: string) => {
    const last = seen.get(address)
    return last === undefined || time - last > expiration + slack
  }

  /** Who is gone, judged by the time at which the store has taken down this runner's own sign. */
  const goneFor = (address: string) => Effect.map(signs, (seen) => isGoneAt(seen, seen.get(address) ?? -Infinity))

  const gone = Effect.gen(function* () {
    const seen = yield* signs
    // The store's clock, which goes on by this machine's, is behind after it stood still.
    const time = Math.max(yield* now, ...seen.values())
    return { seen, time, isGone: isGoneAt(seen, time) }
  })

  // ---------------------------------------------------------------------------
  // Members
  // ---------------------------------------------------------------------------

  /** Those of some shards that are held. */
  const among = (shards: ReadonlyArray<string>, held: Held) => {
    const mine = new Set(held.shards)
    return shards.filter((shard) => mine.has(shard))
  }

  const refresh = Effect.fn("RunnerStorage.refresh")(function* (address: string, shards: ReadonlyArray<string>) {
    for (;;) {
      const isDoubtful = yield* beat(address)
      if (shards.length === 0) return []
      let held = heldBy(none, address)
      if (isDoubtful) {
        yield* change((before) => {
          held = heldBy(before, address)
          const returned = { ...held, returns: held.returns + 1 }
          return Effect.succeed(held.shards.length === 0 ? before : withHeld(before, returned))
        })
      } else held = heldBy(yield* state, address)
      if (!(yield* isLate(address))) return among(shards, held)
    }
  })

  const acquire = Effect.fn("RunnerStorage.acquire")(function* (address: string, wanted: ReadonlyArray<string>) {
    yield* beat(address)
    let held = heldBy(none, address)
    yield* change(
      Effect.fnUntraced(function* (before) {
        const mine = new Set(heldBy(before, address).shards)
        const isOthers = before.held.some(
          (one) => one.address !== address && one.shards.some((id) => wanted.includes(id))
        )
        const isDoubtful = own.get(address)?.isDoubtful === true && mine.size > 0
        // Looked for anew whenever somebody else has written meanwhile.
        const isGone = isOthers ? yield* goneFor(address) : () => false
        const after = take(before, address, wanted, isGone)
        held = heldBy(after, address)
        return after === before && isDoubtful ? withHeld(before, { ...held, returns: held.returns + 1 }) : after
      })
    )
    // Who has asked for so long may have been taken for gone meanwhile.
    return (yield* isLate(address)) ? yield* refresh(address, wanted) : among(wanted, held)
  })

  const health = Effect.gen(function* () {
    for (const [address, { silent }] of own) {
      const millis = yield* silent
      if (millis < expiration) continue
      const time = Duration.format(Duration.millis(Math.floor(millis / 1000) * 1000))
      const detail = `runner ${address} has not refreshed its locks for ${time}: others may have its shards`
      return { level: "down" as const, detail }
    }
    return { level: "up" as const }
  })

  const storage = EffectRunnerStorage.makeEncoded({
    getRunners: Effect.gen(function* () {
      const [{ isGone }, { runners }] = yield* Effect.all([gone, state])
      return runners.filter(({ address }) => !isGone(address)).map(({ healthy, runner }) => [runner, healthy] as const)
    }).pipe(Effect.withSpan("RunnerStorage.getRunners"), named),

    register: (address, runner, healthy) =>
      Effect.gen(function* () {
        yield* beat(address)
        let machine = 0
        yield* change((before) => {
          const known = before.runners.find((one) => one.address === address)
          machine = known?.machine ?? before.machines + 1
          const others = before.runners.filter((one) => one !== known)
          const runners = [...others, { address, runner, healthy, machine }]
          return Effect.succeed({ ...before, machines: Math.max(before.machines, machine), runners })
        })
        return machine
      }).pipe(Effect.withSpan("RunnerStorage.register"), named),

    unregister: (address) =>
      Effect.gen(function* () {
        // It is silent from now on. Should it come back it is in doubt.
        own.delete(address)
        const { isGone, seen, time } = yield* gone
        let after = none
        yield* change((before) => {
          const runners = before.runners.filter((one) => one.address !== address && !isGone(one.address))
          after = runners.length === before.runners.length ? before : { ...before, runners }
          return Effect.succeed(after)
        })
        const isKnown = (one: string) => after.held.some((held) => held.address === one)
        // One that comes back just now must not lose its sign.
        const isOld = isGoneAt(seen, time - day)
        const left = [...seen.keys()].filter((one) => isOld(one) && !isKnown(one))
        if (left.length === 0) return
        const {
          failed: [first]
        } = yield* store.deleteMany(left.map((one) => alivePrefix + percentEncode(one)))
        if (first !== undefined) return yield* new StoreError({ operation: "deleteMany", ...first })
      }).pipe(Effect.withSpan("RunnerStorage.unregister"), named),

    setRunnerHealth: (address, healthy) =>
      change((before) => {
        const known = before.runners.find((one) => one.address === address)
        if (known === undefined || known.healthy === healthy) return Effect.succeed(before)
        const runners = before.runners.map((one) => (one === known ? { ...one, healthy } : one))
        return Effect.succeed({ ...before, runners })
      }).pipe(Effect.withSpan("RunnerStorage.setRunnerHealth"), named),

    acquire: (address, shards) => named(acquire(address, shards)),
    refresh: (address, shards) => named(refresh(address, shards)),

    release: (address, shard) =>
      change((before) => {
        const held = heldBy(before, address)
        if (!held.shards.includes(shard)) return Effect.succeed(before)
        return Effect.succeed(withHeld(before, { ...held, shards: held.shards.filter((one) => one !== shard) }))
      }).pipe(Effect.withSpan("RunnerStorage.release"), named),

    releaseAll: (address) =>
      change((before) => {
        const held = heldBy(before, address)
        return Effect.succeed(held.shards.length === 0 ? before : withHeld(before, { ...held, shards: [] }))
      }).pipe(Effect.withSpan("RunnerStorage.releaseAll"), named)
  })
  return { storage, health }
})

/**
 * Creates the storage on a store that honours conditional writes. No request.
 *
 * Dies with a `RangeError` when `shardLockExpiration` is less than a second, which is all that some stores tell of a time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  options?: Options
): Effect.Effect<EffectRunnerStorage.RunnerStorage["Service"], never, ShardingConfig.ShardingConfig | Scope.Scope> =>
  Effect.map(build(store, options), ({ storage }) => storage)

const invalidAddress = new StoreError({
  operation: "put",
  reason: new InvalidArgument({ description: "the address of a runner is no valid Unicode", argument: "key" })
})

/** What fails is what the cluster knows, with what the store says as its cause. */
const named = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A, ClusterError.PersistenceError> =>
  Effect.mapError(effect, (cause) => new ClusterError.PersistenceError({ cause }))

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
export const plugin: Plugin.Plugin = Plugin.define("cluster", { version: 1 })

/**
 * Creates a layer of the `RunnerStorage` of a cluster in a database, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: Options
): Layer.Layer<EffectRunnerStorage.RunnerStorage, never, Database | ShardingConfig.ShardingConfig> =>
  Layer.effect(
    EffectRunnerStorage.RunnerStorage,
    Effect.gen(function* () {
      const { running, store } = yield* registering(
        { name: "cluster-runners", version: plugin.version },
        options.name ?? plugin.name
      )
      const { health, storage } = yield* build(store, options)
      yield* running(health)
      return storage
    })
  )

/**
 * The layer of the `RunnerStorage` of a cluster in a database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<EffectRunnerStorage.RunnerStorage, never, Database | ShardingConfig.ShardingConfig> =
  layerWith({})
