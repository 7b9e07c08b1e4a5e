import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"

type Store = ObjectStore["Service"]

const text = (value: string) => new TextEncoder().encode(value)
const read = (store: Store, key: string) =>
  store.get(key).pipe(
    Effect.map(({ body }) => new TextDecoder().decode(body)),
    Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed("absent"))
  )
const reasonOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect), (error) => `${error.reason._tag} ${error.outcome}`)

/** Lets virtual time pass until the effect is done. */
const inTime = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
  const fiber = yield* Effect.forkChild(effect)
  for (let step = 0; step < 2000 && fiber.pollUnsafe() === undefined; step++) yield* TestClock.adjust("50 millis")
  return yield* Fiber.join(fiber)
})

const setUp = Effect.fnUntraced(function* (options: Omit<FaultyStore.Options, "seed"> & { readonly seed?: number }) {
  const { store: inner } = yield* MemoryStore.make()
  const trace = FaultyStore.makeTrace()
  const { control, store } = FaultyStore.make(inner, { seed: 1, trace, ...options })
  return { inner, store, control, trace }
})

const everything: FaultyStore.Faults = {
  delay: { probability: 0.5, maxMillis: 40 },
  throttle: 0.1,
  errorBefore: 0.1,
  late: { probability: 0.1, maxMillis: 100 },
  duplicate: 0.1,
  errorAfter: 0.1
}

/** Every kind of request, many times, whatever comes of it. */
const exercise = (store: Store, rounds: number) =>
  Effect.forEach(
    Array.from({ length: rounds }, (_, round) => `k${round % 3}`),
    (key, round) =>
      Effect.all([
        Effect.result(store.put({ key, body: text(`${round}`), repeatable: true })),
        Effect.result(store.get(key)),
        Effect.result(store.head(key)),
        Effect.result(store.copy({ from: key, to: "copy" })),
        Effect.result(store.list({ prefix: "k" })),
        Effect.result(store.deleteMany(["copy", "other"], { repeatable: true })),
        Effect.result(store.delete(key))
      ])
  )

describe("FaultyStore", () => {
  it.effect("does nothing of its own without faults", () =>
    Effect.gen(function* () {
      const { control, inner, store, trace } = yield* setUp({})
      assert.strictEqual(store.location, inner.location)
      yield* store.put({ key: "k", body: text("1") })
      assert.strictEqual(yield* read(store, "k"), "1")
      assert.strictEqual(yield* reasonOf(store.get("absent")), "NoSuchKey none")
      assert.deepStrictEqual(yield* store.deleteMany([]), { deleted: [], failed: [] })
      yield* store.deleteMany(["k", "l"])
      yield* store.copy({ from: "k", to: "m" }).pipe(Effect.flip)
      assert.deepStrictEqual(trace.lines(), [
        'client 1 put "k": ok',
        'client 2 get "k": ok',
        'client 3 get "absent": NoSuchKey none',
        'client 4 deleteMany "k and 1 more": ok',
        'client 5 copy "k -> m": NoSuchKey none'
      ])
      assert.deepStrictEqual(yield* control.stats, {
        requests: 5,
        delay: 0,
        throttle: 0,
        errorBefore: 0,
        late: 0,
        duplicate: 0,
        errorAfter: 0,
        crash: 0
      })
    })
  )

  it.effect("the same seed gives the same trace, another one another", () =>
    Effect.gen(function* () {
      const run = Effect.fnUntraced(function* (seed: number) {
        const { store: inner } = yield* MemoryStore.make()
        const trace = FaultyStore.makeTrace()
        const clients = ["a", "b", "c"].map((client) =>
          FaultyStore.make(inner, { seed, client, faults: everything, trace })
        )
        yield* inTime(
          Effect.forEach(clients, ({ store }) => exercise(store, 10), { concurrency: "unbounded", discard: true })
        )
        // Else the late requests of this run would come between those of the next one.
        yield* inTime(Effect.forEach(clients, ({ control }) => control.settled, { discard: true }))
        const all = yield* Effect.forEach(clients, ({ control }) => control.stats)
        return { lines: trace.lines(), all }
      })
      const first = yield* run(7)
      assert.strictEqual(first.lines.length, 210)
      assert.deepStrictEqual(yield* run(7), first)
      assert.notDeepEqual((yield* run(8)).lines, first.lines)
      for (const stats of first.all) {
        for (const [kind, count] of Object.entries(stats)) assert.isTrue(kind === "crash" || count > 0, kind)
      }
    })
  )

  it.effect("a client meets the same faults whatever the other clients do, and whatever else can happen to it", () =>
    Effect.gen(function* () {
      const alone = yield* setUp({ client: "a", faults: everything })
      yield* inTime(exercise(alone.store, 5))
      const beside = yield* setUp({ client: "a", faults: everything })
      const other = FaultyStore.make(beside.inner, { seed: 1, client: "b", faults: everything })
      yield* inTime(Effect.all([exercise(other.store, 9), exercise(beside.store, 5)], { concurrency: 2 }))
      const faultsIn = (trace: FaultyStore.Trace) => trace.entries.map(({ faults }) => faults)
      assert.deepStrictEqual(faultsIn(beside.trace), faultsIn(alone.trace))

      const calmer = yield* setUp({ client: "a", faults: { ...everything, throttle: 0 } })
      yield* inTime(exercise(calmer.store, 5))
      const delaysIn = (trace: FaultyStore.Trace) =>
        trace.entries.map(({ faults }) => faults.find((fault) => fault.startsWith("delay")))
      assert.deepStrictEqual(delaysIn(calmer.trace), delaysIn(alone.trace))
    })
  )

  it.effect("faults come about as often as asked for", () =>
    Effect.gen(function* () {
      const { control, store } = yield* setUp({ faults: { throttle: 0.2, duplicate: 0.5 } })
      yield* Effect.forEach(Array.from({ length: 2000 }), () =>
        Effect.result(store.put({ key: "k", repeatable: true }))
      )
      const { duplicate, throttle } = yield* control.stats
      assert.isTrue(throttle > 340 && throttle < 460, `${throttle}`)
      assert.isTrue(duplicate > 700 && duplicate < 900, `${duplicate}`)
    })
  )

  it.effect("a delay takes time by the clock", () =>
    Effect.gen(function* () {
      const { inner, store, trace } = yield* setUp({ faults: { delay: { probability: 1, maxMillis: 1000 } } })
      const fiber = yield* Effect.forkChild(store.put({ key: "k", body: text("1") }))
      yield* TestClock.adjust(0)
      const [, millis] = (trace.entries[0]?.faults[0] ?? "").split(" ").map(Number)
      assert.isTrue(millis !== undefined && millis > 1 && millis <= 1000)
      yield* TestClock.adjust(millis! - 1)
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual(trace.entries[0]?.outcome, "pending")
      yield* TestClock.adjust(1)
      yield* Fiber.join(fiber)
      assert.strictEqual(yield* read(inner, "k"), "1")
    })
  )

  it.effect("a request that is given up ends as interrupted", () =>
    Effect.gen(function* () {
      const { store, trace } = yield* setUp({ faults: { delay: { probability: 1, maxMillis: 100_000 } } })
      const limited = TimeoutStore.make(store, { timeout: 1 })
      assert.strictEqual(yield* inTime(reasonOf(limited.put({ key: "k" }))), "Timeout unknown")
      assert.strictEqual(trace.entries[0]?.outcome, "interrupted")
    })
  )

  it.effect("throttled and refused requests are not carried out", () =>
    Effect.gen(function* () {
      const slow = yield* setUp({ faults: { throttle: 1, errorAfter: 1, duplicate: 1 } })
      assert.strictEqual(yield* reasonOf(slow.store.put({ key: "k", body: text("1") })), "Throttled none")
      assert.strictEqual(yield* read(slow.inner, "k"), "absent")

      const { inner, store } = yield* setUp({ faults: { errorBefore: 1 } })
      const seen = new Set<string>()
      for (let i = 0; i < 50; i++) seen.add(yield* reasonOf(store.put({ key: "k", body: text("1") })))
      assert.strictEqual(yield* read(inner, "k"), "absent")
      assert.deepStrictEqual([...seen].toSorted(), ["Timeout unknown", "Unavailable none", "Unavailable unknown"])
    })
  )

  it.effect("a lost answer leaves the effect behind", () =>
    Effect.gen(function* () {
      const { inner, store, trace } = yield* setUp({ faults: { errorAfter: 1 } })
      const error = yield* Effect.flip(store.put({ key: "k", body: text("1") }))
      assert.deepStrictEqual([error.operation, error.key, error.outcome], ["put", "k", "unknown"])
      assert.strictEqual(yield* read(inner, "k"), "1")
      // Also the answer that it was refused.
      assert.match(yield* reasonOf(store.put({ key: "k", body: text("2"), ifNoneMatch: "*" })), /unknown$/)
      assert.strictEqual(yield* read(inner, "k"), "1")
      assert.match(yield* reasonOf(store.get("k")), /unknown$/)
      assert.match(trace.lines()[2] ?? "", /^client 3 get "k" \[errorAfter\]: (Timeout|Unavailable) unknown$/)
    })
  )

  it.effect("a late request is carried out after the client has gone on", () =>
    Effect.gen(function* () {
      const { control, inner, store } = yield* setUp({ faults: { late: { probability: 1, maxMillis: 1000 } } })
      assert.match(yield* reasonOf(store.put({ key: "k", body: text("late") })), /unknown$/)
      assert.strictEqual(yield* read(inner, "k"), "absent")
      // Reads are not touched by it.
      assert.strictEqual(yield* read(store, "k"), "absent")
      yield* inner.put({ key: "k", body: text("early") })
      yield* control.crash
      yield* inTime(control.settled)
      assert.strictEqual(yield* read(inner, "k"), "late")
      yield* control.settled
    })
  )

  it.effect("a request that is carried out twice is answered the second time", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* setUp({ faults: { duplicate: 1 } })
      assert.strictEqual(
        yield* reasonOf(store.put({ key: "k", body: text("1"), ifNoneMatch: "*" })),
        "PreconditionFailed none"
      )
      assert.strictEqual(yield* read(inner, "k"), "1")
      assert.strictEqual(yield* read(store, "k"), "1")
      // Somebody else gets in between.
      const slow = yield* setUp({ faults: { duplicate: 1, delay: { probability: 1, maxMillis: 1000 } } })
      const fiber = yield* Effect.forkChild(slow.store.put({ key: "k", body: text("ours"), repeatable: true }))
      const seen: Array<string> = []
      while (fiber.pollUnsafe() === undefined) {
        yield* TestClock.adjust(1)
        const now = yield* read(slow.inner, "k")
        if (now !== seen.at(-1)) seen.push(now)
        if (now === "ours" && seen.length === 2) yield* slow.inner.put({ key: "k", body: text("theirs") })
      }
      assert.deepStrictEqual(seen, ["absent", "ours", "theirs", "ours"])
    })
  )

  it.effect("only what may be repeated is carried out twice", () =>
    Effect.gen(function* () {
      const { control, store } = yield* setUp({ faults: { duplicate: 1 } })
      const twice = Effect.map(control.stats, ({ duplicate }) => duplicate)
      const { etag } = yield* store.put({ key: "k" })
      yield* store.put({ key: "k", repeatable: false })
      yield* store.copy({ from: "k", to: "l" })
      yield* store.delete("l")
      yield* store.deleteMany(["l"])
      yield* store.list()
      assert.strictEqual(yield* twice, 0)
      yield* store.copy({ from: "k", to: "l", ifSourceMatch: etag })
      yield* store.delete("l", { repeatable: true })
      yield* store.deleteMany(["l"], { repeatable: true })
      assert.strictEqual(yield* reasonOf(store.delete("k", { ifMatch: "other" })), "PreconditionFailed none")
      yield* store.put({ key: "k", ifMatch: etag })
      assert.strictEqual(yield* twice, 5)
    })
  )

  it.effect("crashes before a request", () =>
    Effect.gen(function* () {
      const { control, inner, store, trace } = yield* setUp({ crashAt: 2 })
      const after: Array<string> = []
      const program = Effect.gen(function* () {
        yield* store.put({ key: "a" })
        yield* store.put({ key: "b" }).pipe(
          Effect.catch(() => Effect.sync(() => after.push("handled"))),
          Effect.retry({ times: 3 }),
          Effect.ignore
        )
        after.push("went on")
      }).pipe(Effect.ensuring(Effect.ignoreCause(store.delete("a"))))
      const exit = yield* Effect.exit(program)
      if (Exit.isSuccess(exit)) return assert.fail("expected a crash")
      const [reason] = exit.cause.reasons
      assert.isTrue(reason?._tag === "Die" && reason.defect instanceof FaultyStore.Crashed)
      assert.include(String(exit.cause), "the client client has crashed")
      assert.deepStrictEqual(after, [])
      assert.deepStrictEqual(
        (yield* inner.list()).entries.map(({ key }) => key),
        ["a"]
      )
      assert.deepStrictEqual(trace.lines(), [
        'client 1 put "a": ok',
        'client 2 put "b" [crash]: crashed',
        'client 3 delete "a" [crash]: crashed'
      ])
      assert.isTrue(yield* control.crashed)
      assert.strictEqual((yield* control.stats).crash, 2)
    })
  )

  it.effect("crashes after a request", () =>
    Effect.gen(function* () {
      const { control, inner, store, trace } = yield* setUp({ crashAt: 1, crashWhen: "after", faults: { throttle: 1 } })
      assert.isFalse(yield* control.crashed)
      const result = yield* FaultyStore.untilCrash(store.put({ key: "k", body: text("1") }))
      assert.isTrue(Option.isNone(result))
      assert.strictEqual(yield* read(inner, "k"), "1")
      assert.deepStrictEqual(trace.lines(), ['client 1 put "k" [crash after]: crashed'])
    })
  )

  it.effect("a crash takes the answers of requests under way", () =>
    Effect.gen(function* () {
      const { control, inner, store } = yield* setUp({ faults: { delay: { probability: 1, maxMillis: 100 } } })
      const fiber = yield* Effect.forkChild(FaultyStore.untilCrash(store.put({ key: "k", body: text("1") })))
      yield* TestClock.adjust(0)
      yield* control.crash
      assert.isTrue(Option.isNone(yield* inTime(Fiber.join(fiber))))
      assert.strictEqual(yield* read(inner, "k"), "1")
    })
  )

  it.effect("crashes in silence if asked to", () =>
    Effect.gen(function* () {
      const { store, trace } = yield* setUp({ crashAt: 1, crashAs: "silence" })
      const fiber = yield* Effect.forkChild(Effect.catchCause(store.put({ key: "k" }), () => Effect.void))
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(trace.entries[0]?.outcome, "interrupted")
    })
  )

  it.effect("untilCrash keeps values, failures and defects", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* FaultyStore.untilCrash(Effect.succeed(1)), Option.some(1))
      assert.strictEqual(yield* Effect.flip(FaultyStore.untilCrash(Effect.fail("no"))), "no")
      const exit = yield* Effect.exit(FaultyStore.untilCrash(Effect.die("bug")))
      assert.isTrue(Exit.hasDies(exit))
      const broken = FaultyStore.make(
        { ...(yield* setUp({})).inner, head: () => Effect.die("bug") },
        { seed: 1, trace: FaultyStore.makeTrace() }
      )
      assert.isTrue(Exit.hasDies(yield* Effect.exit(broken.store.head("k"))))
    })
  )

  it.effect("bulk deletes are one request for each 1,000 keys", () =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 2500 }, (_, index) => `k${index}`)
      const calm = yield* setUp({})
      assert.deepStrictEqual((yield* calm.store.deleteMany(keys)).deleted, keys)
      assert.strictEqual((yield* calm.control.stats).requests, 3)
      const crashing = yield* setUp({ crashAt: 2 })
      yield* Effect.forEach(["k0", "k1500"], (key) => crashing.inner.put({ key }))
      yield* FaultyStore.untilCrash(crashing.store.deleteMany(keys))
      assert.deepStrictEqual(
        (yield* crashing.inner.list()).entries.map(({ key }) => key),
        ["k1500"]
      )
      const slow = yield* setUp({ faults: { throttle: 1 } })
      assert.strictEqual(yield* reasonOf(slow.store.deleteMany(keys)), "Throttled none")
      let mixed = 0
      for (let seed = 0; seed < 10; seed++) {
        const { store } = yield* setUp({ seed, faults: { throttle: 0.5 } })
        const result = yield* Effect.result(store.deleteMany(keys))
        if (result._tag === "Failure") continue
        assert.strictEqual(result.success.deleted.length + result.success.failed.length, 2500)
        if (result.success.failed.length > 0) mixed += 1
      }
      assert.isTrue(mixed > 0)
    })
  )

  it.effect("the retrying store gets through", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* setUp({ faults: { throttle: 0.2, errorBefore: 0.2, errorAfter: 0.2 } })
      const retrying = RetryingStore.make(store)
      let etag = (yield* inTime(retrying.put({ key: "k", body: text("0"), ifNoneMatch: "*" }))).etag
      for (let i = 1; i <= 20; i++) {
        etag = (yield* inTime(retrying.put({ key: "k", body: text(`${i}`), ifMatch: etag }))).etag
      }
      assert.strictEqual(yield* read(inner, "k"), "20")
    }).pipe(Pauses.byClock)
  )

  it.effect("a client's clock can be wrong, and the store's stays right", () =>
    Effect.gen(function* () {
      const { inner, store } = yield* setUp({ faults: { delay: { probability: 1, maxMillis: 10 } } })
      yield* TestClock.adjust("1 minute")
      const times = Effect.all([
        Clock.currentTimeMillis,
        Clock.currentTimeNanos,
        Clock.monotonicTimeNanos,
        Clock.clockWith((clock) => Effect.sync(() => clock.monotonicTimeNanosUnsafe()))
      ])
      const ahead = FaultyStore.withClockSkew(5000)
      assert.deepStrictEqual(yield* times, [60_000, 60_000_000_000n, 60_000_000_000n, 60_000_000_000n])
      assert.deepStrictEqual(yield* ahead(times), [65_000, 65_000_000_000n, 60_000_000_000n, 60_000_000_000n])
      assert.strictEqual(yield* FaultyStore.withClockSkew(-60_001)(Clock.currentTimeMillis), -1)
      assert.strictEqual(yield* FaultyStore.withClockSkew(-7000)(ahead(Clock.currentTimeMillis)), 58_000)
      yield* inTime(ahead(store.put({ key: "k" })))
      assert.isTrue((yield* inner.head("k")).lastModified < 65_000)
      // Sleeping lasts as long as without it, and the test clock is within reach.
      const fiber = yield* Effect.forkChild(ahead(Effect.sleep("10 seconds")))
      yield* ahead(TestClock.adjust("9 seconds"))
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
    })
  )

  it.live("a skew of the live clock", () =>
    Effect.gen(function* () {
      const before = yield* Clock.currentTimeMillis
      const [millis, nanos] = yield* FaultyStore.withClockSkew(3_600_000)(
        Effect.tap(Effect.all([Clock.currentTimeMillis, Clock.currentTimeNanos]), () => Effect.sleep(1))
      )
      assert.isTrue(millis - before >= 3_600_000 && millis - before < 3_660_000)
      assert.isTrue(nanos / 1_000_000n - BigInt(before) >= 3_590_000n)
    })
  )

  it.effect("a layer", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const control = yield* FaultyStore.FaultControl
      assert.strictEqual(yield* reasonOf(store.put({ key: "k" })), "Throttled none")
      assert.strictEqual((yield* control.stats).throttle, 1)
    }).pipe(
      Effect.provide(
        FaultyStore.layer({ seed: 1, faults: { throttle: 1 } }).pipe(
          Layer.provide(
            Layer.effect(
              ObjectStore,
              Effect.map(MemoryStore.make(), ({ store }) => store)
            )
          )
        )
      )
    )
  )
})
