/** What Effect's own layers do not promise: requests, processes, clocks, lost answers, and what is damaged. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as EffectKeyValueStore from "effect/persistence/KeyValueStore"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as StoreClock from "effect-s3db/kernel/StoreClock"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { isStoreError, PreconditionFailed, StoreError, Timeout, Unavailable } from "effect-s3db/storage/StoreError"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as Schema from "effect/Schema"
import { keysOf, memory } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const range = (length: number) => Array.from({ length }, (_, i) => i)

/** A store, and what was asked of it by an effect. */
const counted = Effect.map(memory, (inner) => {
  const { counter, store } = InstrumentedStore.make(inner)
  const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
    yield* counter.reset
    yield* effect
    return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
  })
  /** Lets go on what was begun, and the time pass for which it may pause. */
  const quiet = Effect.repeat(Effect.andThen(settled, TestClock.adjust("1 second")), { times: 30 })
  return { store, made, quiet }
})

/** The clock of a machine that is wrong by so much. */
const off =
  (millis: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Effect.clockWith(Effect.succeed), (clock) => {
      const wrong: Clock.Clock = Object.create(clock, {
        currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + millis },
        currentTimeMillis: { value: Effect.map(clock.currentTimeMillis, (now) => now + millis) }
      }) as Clock.Clock
      return Effect.provideService(effect, Clock.Clock, wrong)
    })

/** The store keeps its own time, whoever asks. */
const withOwnTime = (store: Store): Effect.Effect<Store> =>
  Effect.map(Effect.clockWith(Effect.succeed), (clock) => {
    const own = <A, E>(effect: Effect.Effect<A, E>) => Effect.provideService(effect, Clock.Clock, clock)
    return {
      ...store,
      put: (request) => own(store.put(request)),
      head: (key) => own(store.head(key)),
      get: (key, options) => own(store.get(key, options)),
      delete: (key, options) => own(store.delete(key, options)),
      list: (request) => own(store.list(request))
    }
  })

const limiter = (store: Store) =>
  Effect.provideServiceEffect(
    EffectRateLimiter.make,
    EffectRateLimiter.RateLimiterStore,
    RateLimiter.make(store, { sweepEvery: false })
  )

const backing = (store: Store) =>
  Effect.flatMap(Persistence.make(store, { sweepEvery: false }), (persistence) => persistence.make("s"))

const reasonOf = (error: unknown): string => (isStoreError(error) ? error.reason._tag : String(error))

describe("StoreClock.kept", () => {
  it.effect("is measured at first, each hour, and when the clock of the machine is set", () =>
    Effect.gen(function* () {
      const { made, store } = yield* counted
      const own = yield* withOwnTime(store)
      const now = yield* StoreClock.kept(own)
      const measuring = { put: 1, head: 1, delete: 1 }
      assert.deepStrictEqual(yield* made(now), measuring)
      assert.deepStrictEqual(yield* made(now), {})
      yield* TestClock.adjust("59 minutes")
      assert.deepStrictEqual(yield* made(now), {})
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* made(Effect.all([now, now], { concurrency: 2 })), measuring)
      const right = yield* now
      assert.deepStrictEqual(yield* made(off(3_600_000)(now)), measuring)
      assert.closeTo(yield* off(3_600_000)(now), right, 2000)
      assert.deepStrictEqual(yield* made(now), measuring)
    })
  )

  it.effect("fails as long as it cannot be measured", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let isDown = true
      const down = new StoreError({
        operation: "put",
        key: "k",
        reason: new Unavailable({ description: "down", sent: false })
      })
      const now = yield* StoreClock.kept({ ...store, put: (one) => (isDown ? Effect.fail(down) : store.put(one)) })
      assert.strictEqual(reasonOf(yield* Effect.flip(now)), "Unavailable")
      isDown = false
      yield* now
    })
  )
})

describe("KeyValueStore", () => {
  it.effect("requests", () =>
    Effect.gen(function* () {
      const { made, store } = yield* counted
      const values = KeyValueStore.make(store)
      assert.deepStrictEqual(yield* made(values.modify("k", (text) => text)), { get: 1 })
      assert.deepStrictEqual(yield* made(values.set("k", "1")), { put: 1 })
      assert.deepStrictEqual(yield* made(values.get("k")), { get: 1 })
      assert.deepStrictEqual(yield* made(values.getUint8Array("k")), { get: 1 })
      assert.deepStrictEqual(yield* made(values.has("k")), { head: 1 })
      assert.deepStrictEqual(yield* made(values.modify("k", (text) => `${text}!`)), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(values.remove("k")), { delete: 1 })
      for (const i of range(1001)) yield* values.set(`k${i}`, "")
      assert.deepStrictEqual(yield* made(values.size), { list: 2 })
      assert.deepStrictEqual(yield* made(values.keys), { list: 2 })
      assert.deepStrictEqual(yield* made(values.isEmpty), { list: 1 })
      assert.deepStrictEqual(yield* made(values.clearPrefix("k1")), { list: 1, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(values.clear), { list: 1, deleteMany: 1 })
    })
  )

  it.effect("of ten that modify a value at once none loses what another has written", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* KeyValueStore.make(store).set("n", "0")
      const one = () => KeyValueStore.make(store).modify("n", (text) => String(Number(text) + 1))
      const fiber = yield* Effect.forkChild(Effect.forEach(range(10), one, { concurrency: "unbounded" }))
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      assert.sameMembers(
        [...(yield* Fiber.join(fiber))] as Array<string>,
        range(10).map((i) => String(i + 1))
      )
    })
  )

  it.effect("stores of other names are others, and objects of others are no values", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [a, b] = [KeyValueStore.make(store), KeyValueStore.make(store, { name: "key-value-2" })]
      yield* a.set("k", "a")
      yield* b.set("k", "b")
      yield* store.put({ key: "plugin=key-value/key=%zz", body: new Uint8Array() })
      yield* store.put({ key: "plugin=key-value/other", body: new Uint8Array() })
      assert.deepStrictEqual(yield* a.keys, ["k"])
      yield* a.clear
      assert.strictEqual(yield* b.get("k"), "b")
      assert.deepStrictEqual(yield* keysOf(store), [
        "plugin=key-value-2/key=k",
        "plugin=key-value/key=%zz",
        "plugin=key-value/other"
      ])
    })
  )

  it.effect("what is damaged, of a later release, or no text is told, and changes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const values = KeyValueStore.make(store)
      const put = (text: string) => store.put({ key: "plugin=key-value/key=k", body: new TextEncoder().encode(text) })
      const causeOf = <A>(effect: Effect.Effect<A, EffectKeyValueStore.KeyValueStoreError>) =>
        Effect.map(Effect.flip(effect), ({ cause, key, method }) => [method, key, reasonOf(cause)])
      for (const [text, reason] of [
        ["", "Corrupt"],
        ["no head", "Corrupt"],
        ['{"v":2,"x":1}\n', "Unsupported"]
      ] as const) {
        yield* put(text)
        assert.deepStrictEqual(yield* causeOf(values.get("k")), ["get", "k", reason])
        assert.deepStrictEqual(yield* causeOf(values.modify("k", () => "x")), ["modify", "k", reason])
        assert.isTrue(yield* values.has("k"))
      }
      yield* values.set("k", "good")
      assert.deepStrictEqual(yield* causeOf(values.set("k", "\ud800")), ["set", "k", "InvalidArgument"])
      assert.deepStrictEqual(yield* causeOf(values.modify("k", () => "\ud800")), ["modify", "k", "InvalidArgument"])
      assert.strictEqual((yield* Effect.flip(values.set("\ud800", "x"))).method, "set")
      assert.deepStrictEqual(yield* causeOf(values.set("k".repeat(1024), "x")), ["set", "k".repeat(1024), "KeyTooLong"])
      assert.strictEqual(yield* values.get("k"), "good")
    })
  )

  it.effect("a modification whose answer is lost is made once", () =>
    Effect.gen(function* () {
      for (const reason of [
        new Timeout({ description: "no answer", afterMillis: 1 }),
        new PreconditionFailed({ description: "refused", afterUnknown: true })
      ]) {
        const store = yield* memory
        yield* KeyValueStore.make(store).set("k", "a")
        let puts = 0
        const faulty: Store = {
          ...store,
          put: (request) =>
            puts++ > 0
              ? store.put(request)
              : Effect.andThen(store.put(request), Effect.fail(new StoreError({ operation: "put", reason })))
        }
        assert.strictEqual(yield* KeyValueStore.make(faulty).modify("k", (text) => `${text}b`), "ab")
        assert.strictEqual(yield* KeyValueStore.make(store).get("k"), "ab")
      }
    })
  )
})

describe("Persistence", () => {
  it.effect("requests", () =>
    Effect.gen(function* () {
      const { made, store } = yield* counted
      const values = yield* backing(store)
      assert.deepStrictEqual(yield* made(values.set("a", {}, undefined)), { put: 1 })
      const measuring = { put: 2, head: 1, delete: 1 }
      assert.deepStrictEqual(yield* made(values.set("b", {}, Duration.hours(3))), measuring)
      assert.deepStrictEqual(yield* made(values.set("b", {}, Duration.hours(3))), { put: 1 })
      assert.deepStrictEqual(yield* made(values.get("b")), { get: 1 })
      assert.deepStrictEqual(yield* made(values.getMany(["a", "b", "c"])), { get: 3 })
      assert.deepStrictEqual(
        yield* made(
          values.setMany([
            ["a", {}, undefined],
            ["c", {}, Duration.hours(1)]
          ])
        ),
        { put: 2 }
      )
      assert.deepStrictEqual(yield* made(values.remove("a")), { delete: 1 })
      assert.deepStrictEqual(yield* made(values.clear), { list: 1, deleteMany: 1 })
    })
  )

  it.effect("processes whose clocks differ by a day agree on what has expired", () =>
    Effect.gen(function* () {
      const store = yield* Effect.flatMap(memory, withOwnTime)
      const fast = yield* backing(store)
      const slow = yield* backing(store)
      const day = 86_400_000
      yield* off(day)(fast.set("a", { n: 1 }, Duration.hours(1)))
      assert.deepStrictEqual(yield* off(-day)(slow.get("a")), { n: 1 })
      assert.deepStrictEqual(yield* off(day)(fast.get("a")), { n: 1 })
      yield* TestClock.adjust("1 hour")
      yield* TestClock.adjust("3 seconds")
      assert.isUndefined(yield* off(-day)(slow.get("a")))
      assert.isUndefined(yield* off(day)(fast.get("a")))
    })
  )

  it.effect("what has expired is swept by one of the processes, once in a while", () =>
    Effect.gen(function* () {
      const { made, quiet, store } = yield* counted
      const scope = yield* Scope.make()
      const opened = yield* Effect.forEach(range(3), () =>
        Scope.provide(Persistence.make(store, { sweepEvery: "1 hour" }), scope)
      )
      const values = yield* opened[0]!.make("s")
      yield* values.set("short", {}, Duration.minutes(1))
      yield* values.set("long", {}, Duration.days(9))
      yield* quiet
      yield* TestClock.adjust("2 minutes")
      assert.isTrue((yield* keysOf(store)).includes("plugin=persistence/s/short"))
      const requests = yield* made(Effect.andThen(TestClock.adjust("50 minutes"), quiet))
      assert.isUndefined(requests["list"])
      const { delete: deleted, list } = yield* made(Effect.andThen(TestClock.adjust("15 minutes"), quiet))
      assert.strictEqual(list, 1)
      assert.isAbove(deleted!, 0)
      assert.deepStrictEqual((yield* keysOf(store)).toSorted(), [
        "plugin=persistence/s/long",
        "plugin=persistence/swept"
      ])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* made(TestClock.adjust("10 hours")), {})
      assert.strictEqual(yield* Persistence.sweep(store), 1)
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Persistence.make(store, { sweepEvery: "1 second" }))))
    }).pipe(Pauses.byClock)
  )

  it.effect("a sweep that fails is made up for, and ends nothing", () =>
    Effect.gen(function* () {
      const { quiet, store: inner } = yield* counted
      let isDown = true
      const down = new StoreError({
        operation: "list",
        key: "k",
        reason: new Unavailable({ description: "down", sent: false })
      })
      const store: Store = { ...inner, get: (...args) => (isDown ? Effect.fail(down) : inner.get(...args)) }
      const values = yield* (yield* Persistence.make(store, { sweepEvery: "1 hour" })).make("s")
      yield* values.set("short", {}, Duration.minutes(1))
      yield* quiet
      yield* TestClock.adjust("2 minutes")
      isDown = false
      yield* TestClock.adjust("1 hour")
      yield* quiet
      assert.deepStrictEqual(yield* keysOf(inner), ["plugin=persistence/swept"])
    }).pipe(Pauses.byClock)
  )

  it.effect("what cannot be read is an error, and in batches not there; errors of the store are errors", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const values = yield* backing(store)
      yield* values.set("a", { n: 1, none: undefined }, undefined)
      yield* store.put({ key: "plugin=persistence/s/bad", body: new TextEncoder().encode("{") })
      yield* PluginStore.make(store, { plugin: "persistence", schema: Schema.Json }).set(["s", "number"], 1)
      assert.deepStrictEqual(yield* values.getMany(["bad", "a", "number"]), [undefined, { n: 1 }, undefined])
      assert.strictEqual(reasonOf((yield* Effect.flip(values.get("bad"))).cause), "Corrupt")
      const cyclic: { self?: object } = {}
      cyclic.self = cyclic
      for (const value of [cyclic, { n: 1n }]) {
        assert.include((yield* Effect.flip(values.set("a", value, undefined))).message, "JSON")
      }
      assert.strictEqual((yield* Effect.flip(values.get("\ud800")))._tag, "PersistenceError")
      assert.deepStrictEqual(yield* values.get("a"), { n: 1 })
      const down = new StoreError({
        operation: "get",
        key: "k",
        reason: new Unavailable({ description: "down", sent: false })
      })
      const broken = yield* backing({ ...store, get: () => Effect.fail(down), list: () => Effect.fail(down) })
      assert.strictEqual(reasonOf((yield* Effect.flip(broken.getMany(["a"]))).cause), "Unavailable")
      assert.strictEqual(reasonOf((yield* Effect.flip(broken.clear)).cause), "Unavailable")
    })
  )
})

describe("RateLimiter", () => {
  const one = { key: "k", limit: 3, window: "1 minute" } as const

  it.effect("requests", () =>
    Effect.gen(function* () {
      const { made, store } = yield* counted
      const [a, b] = yield* Effect.all([limiter(store), limiter(store)])
      const measuring = { put: 1, head: 1, delete: 1 }
      assert.deepStrictEqual(yield* made(a.consume(one)), { ...measuring, get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(a.consume(one)), { put: 1 })
      // The first of another process reads what is there.
      assert.deepStrictEqual(yield* made(b.consume(one)), { ...measuring, get: 1, put: 2 })
      // This one has to learn of it; after that a refusal is known to be one.
      assert.deepStrictEqual(yield* made(Effect.exit(a.consume(one))), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* made(Effect.exit(a.consume(one))), {})
      const atOnce = Effect.forEach(range(50), () => a.consume({ ...one, key: "many", limit: 100 }), {
        concurrency: "unbounded"
      })
      const { put } = yield* made(atOnce)
      assert.isAtMost(put!, 2)
      assert.deepStrictEqual(
        yield* made(
          a.adaptiveFeedback({ key: "k", epoch: 0, tokens: 1, status: 200, retryAfter: Duration.seconds(1) })
        ),
        {}
      )
    })
  )

  it.effect("processes whose clocks differ by an hour share a window", () =>
    Effect.gen(function* () {
      const store = yield* Effect.flatMap(memory, withOwnTime)
      const [a, b] = yield* Effect.all([limiter(store), limiter(store)])
      const taken = yield* Effect.forEach(range(6), (i) =>
        Effect.isSuccess(off(i % 2 === 0 ? 3_600_000 : -3_600_000)((i % 2 === 0 ? a : b).consume(one)))
      )
      assert.deepStrictEqual(taken, [true, true, true, false, false, false])
    })
  )

  it.effect("of what several processes take at once none is given twice", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const limiters = yield* Effect.forEach(range(4), () => limiter(store))
      const fiber = yield* Effect.forkChild(
        Effect.forEach(
          range(40),
          (i) => Effect.result(limiters[i % 4]!.consume({ ...one, limit: 25, window: "10 hours" })),
          { concurrency: "unbounded" }
        )
      )
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      const left = (yield* Fiber.join(fiber)).filter(Result.isSuccess).map(({ success }) => success.remaining)
      assert.deepStrictEqual(
        left.toSorted((x, y) => x - y),
        range(25)
      )
    })
  )

  it.effect("an answer that is lost takes a token once, and what is damaged is told", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let puts = 0
      const lost = new StoreError({ operation: "put", reason: new Timeout({ description: "lost", afterMillis: 1 }) })
      const faulty: Store = {
        ...store,
        put: (request) =>
          request.key.startsWith("plugin=") && puts++ === 1
            ? Effect.andThen(store.put(request), Effect.fail(lost))
            : store.put(request)
      }
      const { consume } = yield* limiter(faulty)
      assert.strictEqual((yield* consume(one)).remaining, 2)
      assert.strictEqual((yield* consume(one)).remaining, 1)
      assert.strictEqual((yield* consume(one)).remaining, 0)
      yield* store.put({ key: "plugin=rate-limiter/window/key=bad", body: new TextEncoder().encode("{}") })
      yield* PluginStore.make(store, { plugin: "rate-limiter", schema: Schema.Json }).set(["window", "odd"], "text")
      for (const key of ["bad", "\ud800"]) {
        const { reason } = yield* Effect.flip(consume({ ...one, key }))
        assert.strictEqual(reason._tag, "RateLimitStoreError")
      }
      // A value of another kind is none of a limit.
      yield* PluginStore.make(store, { plugin: "rate-limiter", schema: Schema.Json }).set(["window", "key=odd"], "text")
      yield* store.copy({ from: "plugin=rate-limiter/window/key%3Dodd", to: "plugin=rate-limiter/window/key=odd" })
      const { reason } = yield* Effect.flip(consume({ ...one, key: "odd" }))
      assert.include(reason.message, "what is there is no limit")
    })
  )

  it.effect("limits that are over are swept, and those that wait when it closes end with it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { consume } = yield* limiter(store)
      yield* consume(one)
      yield* consume({ ...one, algorithm: "token-bucket" })
      yield* consume({ ...one, key: "long", window: "3 days" })
      assert.strictEqual(yield* RateLimiter.sweep(store), 0)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* RateLimiter.sweep(store), 2)
      assert.deepStrictEqual(yield* keysOf(store), ["plugin=rate-limiter/window/key=long"])
      const scope = yield* Scope.make()
      const silent = yield* Scope.provide(
        RateLimiter.make({ ...store, get: () => Effect.never }, { sweepEvery: false }),
        scope
      )
      const ask = silent.fixedWindow({ key: "k", tokens: 1, refillRate: Duration.seconds(1), limit: 1 })
      const waiting = yield* Effect.forkChild(Effect.all([ask, ask], { concurrency: 2 }), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
    })
  )
})

describe("several processes on a folder", () => {
  it.live(
    "append to one value and share one limit",
    () =>
      Effect.gen(function* () {
        const path = mkdtempSync(join(tmpdir(), "effect-s3db-persistence-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(path, { recursive: true, force: true })))
        const store = yield* FileStore.make({ path, durability: "none" })
        const values = KeyValueStore.make(store)
        yield* values.set("log", "")
        const fixture = fileURLToPath(new URL("./fixtures/persistenceProcess.ts", import.meta.url))
        const launch = (name: string) =>
          new Promise<number>((resolve) => {
            const args = ["--conditions=effect-s3db-source", "--no-warnings", fixture, path, name, "15"]
            const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
            let told = ""
            child.stdout.on("data", (chunk: Buffer) => (told += chunk.toString("utf8")))
            child.on("close", () => resolve(Number(told)))
          })
        const taken = yield* Effect.promise(() => Promise.all(["a", "b"].map(launch)))
        assert.strictEqual(
          taken.reduce((sum, one) => sum + one, 0),
          25
        )
        const log = (yield* values.get("log"))!.split(",").slice(0, -1)
        assert.strictEqual(log.length, 30)
        for (const name of ["a", "b"]) {
          assert.deepStrictEqual(
            log.filter((entry) => entry.startsWith(name)),
            range(15).map((i) => `${name}${i}`)
          )
        }
      }),
    120_000
  )
})
