/** How the ports of Effect fare, among the plugins of their database, and how what they have stored is removed. */
import { assert, describe, it } from "@effect/vitest"
import * as EffectMessageStorage from "effect/cluster/MessageStorage"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as EffectRunnerStorage from "effect/cluster/RunnerStorage"
import * as ShardId from "effect/cluster/ShardId"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Snowflake from "effect/cluster/Snowflake"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectKeyValueStore from "effect/persistence/KeyValueStore"
import * as EffectPersistence from "effect/persistence/Persistence"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import * as TestClock from "effect/testing/TestClock"
import * as MessageStorage from "effect-s3db/cluster/MessageStorage"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import { layerWith } from "effect-s3db/Database"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import * as Plugin from "effect-s3db/Plugin"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { keysOf, memory } from "../fixture.ts"

/** A database on a store that can be made to fail. */
const failing = Effect.gen(function* () {
  const { counter, store: inner } = InstrumentedStore.make(yield* memory)
  let isDown = false
  const reason = new Unavailable({ description: "the store is away", sent: false })
  const unless = <A>(operation: "get" | "put", effect: Effect.Effect<A, StoreError>) =>
    Effect.suspend(() => (isDown ? Effect.fail(new StoreError({ operation, reason })) : effect))
  const store: ObjectStore["Service"] = {
    ...inner,
    get: (...args) => unless("get", inner.get(...args)),
    put: (request) => unless("put", inner.put(request))
  }
  const database = layerWith({ catalogLease: 0 }).pipe(Layer.provide(Layer.succeed(ObjectStore, store)))
  return { counter, database, store: inner, down: (is: boolean) => Effect.sync(() => void (isDown = is)) }
})

const Ports = Layer.mergeAll(
  KeyValueStore.layer,
  Persistence.layerBacking,
  RateLimiter.layerStore,
  RunnerStorage.layer,
  MessageStorage.layer
).pipe(Layer.provide(ShardingConfig.layer()))

const one = Runner.make({ address: RunnerAddress.make("a", 1), groups: ["default"], weight: 1 })

/** Uses each of them once. */
const useAll = Effect.gen(function* () {
  const values = yield* EffectKeyValueStore.KeyValueStore
  const limits = yield* EffectRateLimiter.RateLimiterStore
  const runners = yield* EffectRunnerStorage.RunnerStorage
  const messages = yield* EffectMessageStorage.MessageStorage
  const { make } = yield* EffectPersistence.BackingPersistence
  yield* Effect.exit(Effect.flatMap(make("s"), ({ set }) => set("k", {}, undefined)))
  yield* Effect.exit(values.set("k", "v"))
  yield* Effect.exit(values.get("k"))
  yield* Effect.exit(limits.fixedWindow({ key: "k", tokens: 1, limit: 5, refillRate: Duration.seconds(1) }))
  yield* Effect.exit(runners.register(one, true))
  yield* Effect.exit(messages.repliesForUnfiltered([Snowflake.Snowflake("1")]))
})

const levels = Effect.map(Plugin.statuses, (all) =>
  Object.fromEntries(all.map(({ health, plugin }) => [plugin, health.level]))
)

describe("the ports of Effect among the plugins of a database", () => {
  it.effect("are there without a request, say when the store does not answer them, and go with their layers", () =>
    Effect.gen(function* () {
      const { counter, database, down } = yield* failing
      yield* Effect.gen(function* () {
        yield* counter.reset
        yield* Effect.gen(function* () {
          const all = yield* Plugin.statuses
          assert.sameDeepMembers(
            all.map(({ plugin, slug, state, version }) => [plugin, slug, state, version]),
            [
              ["key-value", "key-value", "running", 1],
              ["persistence", "persistence", "running", 1],
              ["rate-limiter", "rate-limiter", "running", 1],
              ["cluster-runners", "cluster", "running", 1],
              ["cluster-messages", "cluster", "running", 1]
            ]
          )
          yield* useAll
          const up = yield* levels
          assert.deepStrictEqual(new Set(Object.values(up)), new Set(["up"]))
          yield* down(true)
          yield* useAll
          const [values] = (yield* Plugin.statuses).filter(({ plugin }) => plugin === "key-value")
          assert.strictEqual(values!.health.level, "degraded")
          assert.include(values!.health.detail, "get failed: Unavailable: the store is away")
          assert.deepStrictEqual(values!.counters, { requests: 4, failed: 2 })
          assert.deepInclude(yield* levels, {
            "key-value": "degraded",
            persistence: "degraded",
            "rate-limiter": "degraded",
            "cluster-runners": "degraded",
            "cluster-messages": "degraded"
          })
          yield* down(false)
          yield* useAll
          assert.deepStrictEqual(yield* levels, up)
          // What is asked wrongly says nothing of the store.
          const store = yield* EffectKeyValueStore.KeyValueStore
          yield* Effect.exit(store.set("k".repeat(2000), "v"))
          assert.deepStrictEqual(yield* levels, up)
        }).pipe(Effect.provide(Ports))
        assert.deepStrictEqual(yield* Plugin.statuses, [])
      }).pipe(Effect.provide(database))
    })
  )

  it.effect("a runner that others may take for gone is down, until it refreshes or leaves", () =>
    Effect.gen(function* () {
      const { database } = yield* failing
      yield* Effect.gen(function* () {
        const runners = yield* EffectRunnerStorage.RunnerStorage
        yield* runners.register(one, true)
        yield* runners.acquire(one.address, [ShardId.make("default", 1)])
        yield* TestClock.adjust("34 seconds")
        assert.deepStrictEqual(yield* levels, { "cluster-runners": "up" })
        yield* TestClock.adjust("1 second")
        const [status] = yield* Plugin.statuses
        assert.strictEqual(status!.health.level, "down")
        assert.include(
          status!.health.detail,
          "runner a:1 has not refreshed its locks for 35s: others may have its shards"
        )
        yield* runners.refresh(one.address, [ShardId.make("default", 1)])
        assert.deepStrictEqual(yield* levels, { "cluster-runners": "up" })
        yield* runners.releaseAll(one.address)
        yield* runners.unregister(one.address)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* levels, { "cluster-runners": "up" })
      }).pipe(
        Effect.provide(RunnerStorage.layer.pipe(Layer.provideMerge(database), Layer.provide(ShardingConfig.layer())))
      )
    })
  )

  it.effect("what they have stored is removed by Plugin.uninstall, when none is open", () =>
    Effect.gen(function* () {
      const { database, store } = yield* failing
      yield* Effect.gen(function* () {
        yield* Effect.gen(function* () {
          yield* useAll
          for (const { plugin } of [KeyValueStore, Persistence, RateLimiter, RunnerStorage, MessageStorage]) {
            assert.strictEqual((yield* Effect.flip(Plugin.uninstall(plugin, { purge: true })))._tag, "PluginOpen")
          }
        }).pipe(Effect.provide(Ports))
        yield* Effect.gen(function* () {
          const other = yield* EffectKeyValueStore.KeyValueStore
          yield* other.set("k", "v")
        }).pipe(Effect.provide(KeyValueStore.layerWith({ name: "settings" })))
        assert.isNotEmpty(yield* keysOf(store, "plugin="))
        for (const { plugin } of [KeyValueStore, Persistence, RateLimiter, RunnerStorage, MessageStorage]) {
          yield* Plugin.uninstall(plugin, { purge: true })
        }
        assert.deepStrictEqual(yield* keysOf(store, "plugin="), ["plugin=settings/key=k"])
        // Under another name by that name.
        const removed = yield* Plugin.uninstall(Plugin.define("settings", { version: 1 }), { purge: true })
        assert.strictEqual(removed.objects, 1)
        assert.deepStrictEqual(yield* keysOf(store, "plugin="), [])
      }).pipe(Effect.provide(database))
    })
  )
})
