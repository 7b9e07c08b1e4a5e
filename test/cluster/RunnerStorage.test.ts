import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as EffectRunnerStorage from "effect/cluster/RunnerStorage"
import * as Runner from "effect/cluster/Runner"
import * as RunnerAddress from "effect/cluster/RunnerAddress"
import * as ShardId from "effect/cluster/ShardId"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as RunnerStorage from "effect-s3db/cluster/RunnerStorage"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]
type Storage = EffectRunnerStorage.RunnerStorage["Service"]

const address = (name: string) => RunnerAddress.make(name, 80)
const runner = (name: string) => Runner.make({ address: address(name), groups: ["default"], weight: 1 })
const shard = (id: number) => ShardId.make("default", id)
const range = (length: number) => Array.from({ length }, (_, i) => i)
const shards = (from: number, to: number) => range(to - from).map((i) => shard(from + i))
const ids = (found: Iterable<ShardId.ShardId>) => Array.from(found, ({ id }) => id).toSorted((a, b) => a - b)

const open = (store: Store, options?: RunnerStorage.Options) =>
  Effect.provide(RunnerStorage.make(store, options), ShardingConfig.layer())

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-cluster-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
).pipe(Effect.flatMap((path) => FileStore.make({ path, durability: "none" })))

/** What any storage does for one runner alone. */
const alone = (name: string, make: Effect.Effect<Storage, unknown, Scope.Scope>) =>
  describe(`RunnerStorage: ${name}`, () => {
    it.effect("runners are registered, are healthy or not, and leave", () =>
      Effect.gen(function* () {
        const storage = yield* make
        assert.deepStrictEqual(yield* storage.getRunners, [])
        const machines = [yield* storage.register(runner("a"), true), yield* storage.register(runner("b"), false)]
        assert.strictEqual(new Set(machines).size, 2)
        const found = yield* storage.getRunners
        assert.sameDeepMembers(
          found.map(([one, healthy]) => [one.address.host, healthy]),
          [
            ["a", true],
            ["b", false]
          ]
        )
        yield* storage.setRunnerHealth(address("b"), true)
        yield* storage.setRunnerHealth(address("none"), true)
        yield* storage.unregister(address("a"))
        yield* storage.unregister(address("a"))
        assert.deepStrictEqual(
          (yield* storage.getRunners).map(([one, healthy]) => [one.address.host, healthy]),
          [["b", true]]
        )
      })
    )

    it.effect("one takes shards, keeps them, and gives them back", () =>
      Effect.gen(function* () {
        const storage = yield* make
        yield* storage.register(runner("a"), true)
        assert.deepStrictEqual(yield* storage.acquire(address("a"), []), [])
        assert.deepStrictEqual(ids(yield* storage.acquire(address("a"), shards(1, 4))), [1, 2, 3])
        assert.deepStrictEqual(ids(yield* storage.refresh(address("a"), shards(1, 4))), [1, 2, 3])
        yield* storage.release(address("a"), shard(2))
        yield* storage.releaseAll(address("a"))
        assert.deepStrictEqual(ids(yield* storage.acquire(address("a"), shards(2, 5))), [2, 3, 4])
      })
    )
  })

alone("Effect's in memory", EffectRunnerStorage.makeMemory)
alone(
  "ours in memory",
  Effect.flatMap(memory, (store) => open(store))
)
alone(
  "ours in a folder",
  Effect.flatMap(folder, (store) => open(store))
)

describe("RunnerStorage between runners", () => {
  it.effect("a shard has one runner", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [a, b] = yield* Effect.all([open(store), open(store)])
      assert.deepStrictEqual(ids(yield* a.acquire(address("a"), shards(1, 4))), [1, 2, 3])
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(3, 6))), [4, 5])
      assert.deepStrictEqual(ids(yield* b.refresh(address("b"), shards(1, 6))), [4, 5])
      yield* a.release(address("a"), shard(3))
      yield* a.release(address("a"), shard(4))
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(3, 6))), [3, 4, 5])
      assert.deepStrictEqual(ids(yield* a.refresh(address("a"), shards(1, 6))), [1, 2])
      yield* a.releaseAll(address("a"))
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 6))), [1, 2, 3, 4, 5])
    })
  )

  it.effect("who is silent for the expiration loses its shards, and not before", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [a, b] = yield* Effect.all([open(store), open(store)])
      yield* a.register(runner("a"), true)
      yield* a.acquire(address("a"), shards(1, 3))
      yield* TestClock.adjust("34 seconds")
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 3))), [])
      yield* a.refresh(address("a"), [])
      yield* TestClock.adjust("34 seconds")
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 3))), [])
      assert.strictEqual((yield* b.getRunners).length, 1)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* b.getRunners).length, 0)
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 2))), [1])
      // What nobody took meanwhile is still its own.
      assert.deepStrictEqual(ids(yield* a.refresh(address("a"), shards(1, 3))), [2])
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 3))), [1])
      assert.strictEqual((yield* b.getRunners).length, 1)
    })
  )

  it.effect("a process that begins anew under the same address has what it had", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* open(store)
      const machine = yield* before.register(runner("a"), true)
      yield* before.acquire(address("a"), shards(1, 3))
      const after = yield* open(store)
      assert.strictEqual(yield* after.register(runner("a"), true), machine)
      assert.deepStrictEqual(ids(yield* after.refresh(address("a"), shards(1, 3))), [1, 2])
      assert.deepStrictEqual(ids(yield* after.acquire(address("a"), shards(1, 4))), [1, 2, 3])
    })
  )

  it.live("of ten runners that want the same 300 shards each shard goes to one", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const found = yield* Effect.forEach(
        range(10),
        (i) =>
          Effect.flatMap(open(store), (storage) =>
            Effect.andThen(
              storage.register(runner(`r${i}`), true),
              storage.acquire(address(`r${i}`), shards(1 + i * 20, 121 + i * 20))
            )
          ),
        { concurrency: "unbounded" }
      )
      const taken = found.flatMap((one) => ids(one))
      assert.deepStrictEqual(
        taken.toSorted((a, b) => a - b),
        range(300).map((i) => i + 1)
      )
    })
  )

  it.effect("clusters of other names are others; what is gone for a day leaves nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const a = yield* open(store)
      const other = yield* open(store, { name: "cluster-2" })
      yield* a.register(runner("a"), true)
      yield* a.acquire(address("a"), shards(1, 2))
      assert.deepStrictEqual(ids(yield* other.acquire(address("a"), shards(1, 2))), [1])
      yield* a.releaseAll(address("a"))
      yield* a.unregister(address("a"))
      assert.isTrue((yield* keysOf(store)).includes("plugin=cluster/alive/a%3A80"))
      yield* TestClock.adjust("25 hours")
      yield* a.register(runner("b"), true)
      yield* a.unregister(address("b"))
      assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/"), [
        "plugin=cluster/alive/b%3A80",
        "plugin=cluster/runners"
      ])
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
      const [a, b] = yield* Effect.all([open(store), open(store)])
      assert.deepStrictEqual(yield* made(a.register(runner("a"), true)), { put: 2, get: 1 })
      assert.deepStrictEqual(yield* made(a.acquire(address("a"), shards(1, 300))), { put: 2, get: 1 })
      assert.deepStrictEqual(yield* made(a.acquire(address("a"), shards(1, 300))), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* made(a.refresh(address("a"), shards(1, 300))), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* made(a.refresh(address("a"), [])), { put: 1 })
      assert.deepStrictEqual(yield* made(b.acquire(address("b"), shards(1, 301))), { put: 2, get: 1, list: 1 })
      assert.deepStrictEqual(yield* made(b.getRunners), { put: 1, head: 1, delete: 1, get: 1, list: 1 })
      assert.deepStrictEqual(yield* made(b.getRunners), { get: 1, list: 1 })
      assert.deepStrictEqual(yield* made(a.setRunnerHealth(address("a"), false)), { get: 1, put: 1 })
      const all = Effect.forEach(shards(1, 300), (id) => a.release(address("a"), id), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* made(all), { get: 1, put: 1 })
      yield* TestClock.adjust("36 seconds")
      yield* b.acquire(address("b"), shards(1, 2))
      yield* TestClock.adjust("36 seconds")
      assert.deepStrictEqual(yield* made(b.refresh(address("b"), shards(1, 2))), { put: 2, get: 1 })
      assert.deepStrictEqual(yield* made(b.refresh(address("b"), shards(1, 2))), { put: 1, get: 1 })
    })
  )

  it.effect("what the store says is the cause; what is damaged is not written over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const down = new StoreError({
        operation: "put",
        key: "k",
        reason: new Unavailable({ description: "down", sent: false })
      })
      const broken = yield* open({ ...store, put: () => Effect.fail(down) })
      const error = yield* Effect.flip(broken.acquire(address("a"), shards(1, 2)))
      assert.deepStrictEqual([error._tag, error.cause], ["PersistenceError", down])
      const storage = yield* open(store)
      const damaged = new TextEncoder().encode("{")
      yield* store.put({ key: "plugin=cluster/runners", body: damaged })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(storage.acquire(address("a"), shards(1, 2)))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(storage.getRunners)))
      assert.deepStrictEqual((yield* store.get("plugin=cluster/runners")).body, damaged)
    })
  )

  it.effect("who is answered so late that it may be taken for gone asks again, until it is sure", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let slow = 0
      const slowly = {
        ...store,
        get: (...args: Parameters<Store["get"]>) =>
          Effect.andThen(Effect.sleep(slow-- > 0 ? "40 seconds" : 0), store.get(...args))
      }
      const a = yield* open(slowly)
      yield* a.register(runner("a"), true)
      yield* a.acquire(address("a"), shards(1, 4))
      const b = yield* open(store)
      for (const ask of [a.refresh(address("a"), shards(1, 4)), a.acquire(address("a"), shards(1, 4))]) {
        slow = 1
        const asking = yield* Effect.forkChild(ask, { startImmediately: true })
        yield* TestClock.adjust("39 seconds")
        assert.isUndefined(asking.pollUnsafe())
        // Another has taken one of them while it waited.
        const [taken] = yield* b.acquire(address("b"), shards(1, 2))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(ids(yield* Fiber.join(asking)), [2, 3])
        assert.deepStrictEqual(ids([taken!]), [1])
        yield* b.release(address("b"), shard(1))
        yield* a.acquire(address("a"), shards(1, 4))
      }
    })
  )

  it.effect("who acquires what it has after a silence writes, so that nobody takes it at the same time", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const a = yield* open(store)
      yield* a.acquire(address("a"), shards(1, 4))
      yield* TestClock.adjust("36 seconds")
      yield* counter.reset
      assert.deepStrictEqual(ids(yield* a.acquire(address("a"), shards(1, 4))), [1, 2, 3])
      assert.strictEqual((yield* counter.counts).put, 2)
      yield* counter.reset
      yield* a.acquire(address("a"), shards(1, 4))
      assert.strictEqual((yield* counter.counts).put, 1)
    })
  )

  it.effect("nobody is gone where a store tells no times, and what is no sign of a runner is nobody", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const timeless: Store = {
        ...inner,
        list: (options) =>
          Effect.map(inner.list(options), (page) => ({
            ...page,
            entries: page.entries.map(({ lastModified: _, ...entry }) => entry)
          }))
      }
      yield* inner.put({ key: "plugin=cluster/alive/%zz", body: new Uint8Array() })
      const [a, b] = yield* Effect.all([open(timeless), open(timeless)])
      yield* a.register(runner("a"), true)
      yield* a.acquire(address("a"), shards(1, 3))
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(ids(yield* b.acquire(address("b"), shards(1, 4))), [3])
      assert.lengthOf(yield* b.getRunners, 1)
    })
  )

  it.effect("a sign that cannot be removed is told, and removed the next time", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let isDown = true
      const reason = new Unavailable({ description: "down", sent: true })
      const storage = yield* open({
        ...store,
        deleteMany: (keys, options) =>
          isDown
            ? Effect.succeed({ deleted: [], failed: [{ key: keys[0]!, reason }] })
            : store.deleteMany(keys, options)
      })
      yield* storage.register(runner("a"), true)
      yield* TestClock.adjust("25 hours")
      yield* storage.register(runner("b"), true)
      yield* storage.acquire(address("b"), shards(1, 2))
      const { cause } = yield* Effect.flip(storage.unregister(address("b")))
      assert.include(String(cause), "down")
      isDown = false
      yield* storage.unregister(address("b"))
      assert.deepStrictEqual(yield* keysOf(store, "plugin=cluster/alive/"), ["plugin=cluster/alive/b%3A80"])
    })
  )

  it.effect("in every order: who comes back from a silence and who takes its shards do not both have them", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const schedule = Interleavings.make(store)
      const before = yield* open(store)
      yield* before.acquire(address("a"), shards(1, 3))
      const start = yield* control.snapshot
      let a: Storage
      let b: Storage
      const report = yield* schedule.explore({
        before: Effect.gen(function* () {
          yield* control.restore(start)
          // Opened and heard of long ago; silent since.
          a = yield* open(schedule.client("a"))
          b = yield* open(schedule.client("b"))
          yield* TestClock.adjust("40 seconds")
        }),
        programs: {
          a: Effect.suspend(() => a.refresh(address("a"), shards(1, 3))),
          b: Effect.suspend(() => b.acquire(address("b"), shards(1, 3)))
        },
        check: ({ exits }) =>
          Effect.sync(() => {
            const [mine, theirs] = [exits["a"]!, exits["b"]!].map((exit) =>
              Exit.isSuccess(exit) ? ids(exit.value) : []
            )
            assert.deepStrictEqual([...mine!, ...theirs!].toSorted(), [1, 2])
          })
      })
      assert.isAbove(report.schedules, 5)
    })
  )
})
