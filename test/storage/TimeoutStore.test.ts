import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as TimeoutStore from "effect-s3db/storage/TimeoutStore"
import { NoSuchKey, StoreError } from "effect-s3db/storage/StoreError"

const reason = new NoSuchKey({ description: "there is none" })

/** A store whose reads do what is asked, after what is written has been done. */
const over = Effect.fnUntraced(function* (head: Effect.Effect<void, StoreError>, options?: TimeoutStore.Options) {
  const { store } = yield* MemoryStore.make()
  yield* store.put({ key: "k" })
  return TimeoutStore.make({ ...store, head: (key) => Effect.andThen(head, store.head(key)) }, options)
})

/** The clock of a test, and how often it was asked to wake somebody. */
const counted = Effect.map(Clock.Clock, (clock) => {
  const state = { sleeps: 0, awake: 0 }
  const counting: Clock.Clock = Object.assign(Object.create(clock), {
    sleep: (duration: Parameters<typeof clock.sleep>[0]) =>
      Effect.suspend(() => {
        state.sleeps += 1
        state.awake += 1
        return Effect.ensuring(
          clock.sleep(duration),
          Effect.sync(() => {
            state.awake -= 1
          })
        )
      })
  })
  return { counting, state }
})

describe("TimeoutStore", () => {
  it.effect("each request has its own time, to the millisecond", () =>
    Effect.gen(function* () {
      const store = yield* over(Effect.never, { timeout: "1 second" })
      const ended: Array<string> = []
      for (const name of ["a", "b", "c"]) {
        const reading = store.head("k").pipe(
          Effect.flip,
          Effect.tap(({ outcome, reason }) => Effect.sync(() => ended.push(`${name} ${reason._tag} ${outcome}`)))
        )
        yield* Effect.forkChild(reading, { startImmediately: true })
        yield* TestClock.adjust("300 millis")
      }
      yield* TestClock.adjust("99 millis")
      assert.deepStrictEqual(ended, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(ended, ["a Timeout unknown"])
      yield* TestClock.adjust("299 millis")
      assert.strictEqual(ended.length, 1)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(ended.slice(1), ["b Timeout unknown"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(ended.slice(2), ["c Timeout unknown"])
    })
  )

  it.effect("one timer serves all requests, and none is left when they are over", () =>
    Effect.gen(function* () {
      const { counting, state } = yield* counted
      const gate = yield* Deferred.make<void>()
      const store = yield* over(Deferred.await(gate), { timeout: "1 second" })
      const reading = Effect.provideService(store.head("k"), Clock.Clock, counting)
      const all = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 500 }, () => reading),
          { concurrency: "unbounded" }
        ),
        { startImmediately: true }
      )
      assert.deepStrictEqual(state, { sleeps: 1, awake: 1 })
      yield* TestClock.adjust("999 millis")
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(all)).length, 500)
      // What follows at once finds the timer as it is.
      yield* reading
      assert.deepStrictEqual(state, { sleeps: 1, awake: 1 })
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
      assert.deepStrictEqual(state, { sleeps: 1, awake: 0 })
    })
  )

  it.effect("what is answered at once waits for no timer", () =>
    Effect.gen(function* () {
      const { counting, state } = yield* counted
      const { store } = yield* MemoryStore.make()
      const inner: typeof store = {
        ...store,
        delete: () => Effect.void,
        get: () => new StoreError({ operation: "get", reason })
      }
      const timely = TimeoutStore.make(inner)
      for (let i = 0; i < 3; i++) yield* Effect.provideService(timely.delete("k"), Clock.Clock, counting)
      yield* Effect.provideService(Effect.flip(timely.get("k")), Clock.Clock, counting)
      assert.strictEqual(state.sleeps, 0)
    })
  )

  it.effect("a request that is late is interrupted, and has ended before that is told", () =>
    Effect.gen(function* () {
      const steps: Array<string> = []
      const ending = Effect.andThen(
        Effect.sleep("5 seconds"),
        Effect.sync(() => steps.push("ended"))
      )
      const store = yield* over(
        Effect.onInterrupt(Effect.never, () => ending),
        { timeout: "1 second" }
      )
      const reading = yield* store
        .head("k")
        .pipe(Effect.ensuring(Effect.sync(() => steps.push("told"))), Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps, [])
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(reading)))
      assert.deepStrictEqual(steps, ["ended", "told"])
    })
  )

  it.effect("who gives up a request interrupts it, and waits for its end; those of others go on", () =>
    Effect.gen(function* () {
      const steps: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const interrupted = Effect.sync(() => steps.push("interrupted"))
      const store = yield* over(
        Effect.onInterrupt(Deferred.await(gate), () => interrupted),
        { timeout: "1 second" }
      )
      const one = yield* Effect.forkChild(store.head("k"), { startImmediately: true })
      const other = yield* Effect.forkChild(store.head("k"), { startImmediately: true })
      yield* Fiber.interrupt(one)
      assert.deepStrictEqual(steps, ["interrupted"])
      yield* TestClock.adjust("999 millis")
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(other)).size, 0)
      assert.deepStrictEqual(steps, ["interrupted"])
    })
  )

  it.effect("requests of programs with other clocks have other timers", () =>
    Effect.gen(function* () {
      const { counting } = yield* counted
      const store = yield* over(Effect.never, { timeout: "1 second" })
      const ours = yield* Effect.forkChild(Effect.flip(store.head("k")), { startImmediately: true })
      const still: Clock.Clock = Object.assign(Object.create(counting), { sleep: () => Effect.never })
      const theirs = yield* Effect.forkChild(Effect.provideService(store.head("k"), Clock.Clock, still), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(ours)).reason._tag, "Timeout")
      assert.isUndefined(theirs.pollUnsafe())
      yield* Fiber.interrupt(theirs)
    })
  )

  it.effect("a request sees what its program provides", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const seeing = Effect.map(Effect.currentSpan, ({ name }) => void names.push(name)).pipe(Effect.ignore)
      const store = yield* over(seeing)
      yield* Effect.withSpan(store.head("k"), "outer")
      assert.deepStrictEqual(names, ["outer"])
      const { location } = yield* Effect.provideService(ObjectStore, ObjectStore, store)
      assert.strictEqual(location, store.location)
    })
  )
})
