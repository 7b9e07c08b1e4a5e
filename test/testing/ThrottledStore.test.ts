/** Many clients on a store that takes so many requests a second for each part of its keys: the figures of docs/design/scale.md. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as BoundedStore from "effect-s3db/storage/BoundedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as ThrottledStore from "effect-s3db/testing/ThrottledStore"
import { drive, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const seconds = 2
const warmUp = 1

/** Lets time pass in small steps, between which all goes on that waits for no clock. */
const pass = Effect.fnUntraced(function* (duration: number) {
  for (let millis = 0; millis < duration * 1000; millis += 5) {
    yield* settled
    yield* TestClock.adjust(5)
  }
})

/** Has clients make requests, one after the other each, and tells what was done of each part in some seconds, and what failed. */
const load = Effect.fnUntraced(function* (
  throttled: ThrottledStore.ThrottledStore,
  clients: number,
  act: (client: number, n: number) => Effect.Effect<unknown, unknown>
) {
  const failures: Array<unknown> = []
  const course = { isOver: false, longest: 0 }
  const one = Effect.fnUntraced(function* (client: number) {
    for (let n = 0; !course.isOver; n++) {
      const begun = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(act(client, n))
      course.longest = Math.max(course.longest, (yield* Clock.currentTimeMillis) - begun)
      if (Exit.isFailure(exit)) failures.push(exit.cause)
    }
  })
  const fibers = yield* Effect.forEach(Array.from({ length: clients }), (_, client) =>
    Effect.forkChild(Pauses.byClock(one(client)))
  )
  yield* pass(warmUp)
  const before = yield* throttled.counts
  yield* pass(seconds)
  const after = yield* throttled.counts
  course.isOver = true
  // Who waits for the store goes on to its end.
  yield* drive(yield* Effect.forkChild(Effect.forEach(fibers, Fiber.join, { discard: true })), "100 millis")
  const parts = [...after].map(([part, { done, refused }]) => ({
    part,
    rate: (done - (before.get(part)?.done ?? 0)) / seconds,
    refused
  }))
  return { parts, failures, longest: course.longest }
})

const patient = (store: Store) => Effect.map(BoundedStore.make(store), (bounded) => RetryingStore.make(bounded))

describe("64 clients on a store with the limits of S3", () => {
  const cases = {
    writes: (store: Store, client: number, n: number) => store.put({ key: `data/${client}-${n}`, ifNoneMatch: "*" }),
    reads: (store: Store) => store.get("data/there")
  }
  for (const kind of ["writes", "reads"] as const) {
    it.effect(`${kind} reach the limit of a part, and none fails`, () =>
      Effect.gen(function* () {
        const inner = yield* memory
        yield* inner.put({ key: "data/there" })
        const throttled = yield* ThrottledStore.make(inner)
        const store = yield* patient(throttled.store)
        const told = yield* load(throttled, 64, (client, n): Effect.Effect<unknown, StoreError> =>
          cases[kind](store, client, n)
        )
        assert.deepStrictEqual(told.failures, [])
        const limit = ThrottledStore.s3Limits[kind]
        assert.isAtLeast(told.parts[0]!.rate, 0.9 * limit)
        // What was kept for a moment is spent once.
        assert.isAtMost(told.parts[0]!.rate, 1.1 * limit)
        assert.isAbove(told.parts[0]!.refused, 0)
        // Nobody starves: tried again for 30 seconds, each is done in a small part of them.
        assert.isBelow(told.longest, 10_000)
      }).pipe(Random.withSeed(kind))
    )
  }

  it.effect("two parts are two limits", () =>
    Effect.gen(function* () {
      const throttled = yield* ThrottledStore.make(yield* memory, { writes: 700 })
      const store = yield* patient(throttled.store)
      const { failures, parts } = yield* load(throttled, 64, (client, n) =>
        store.put({ key: `${client % 2}/${client}-${n}`, ifNoneMatch: "*" })
      )
      assert.deepStrictEqual(failures, [])
      assert.deepStrictEqual(parts.map(({ part }) => part).toSorted(), ["0/", "1/"])
      for (const { rate } of parts) assert.isAtLeast(rate, 0.9 * 700)
    }).pipe(Random.withSeed("two"))
  )

  it.effect("a latency without a limit: as many as there are clients to wait for it", () =>
    Effect.gen(function* () {
      const throttled = yield* ThrottledStore.make(yield* memory, { writes: 1e6, latencyMillis: 100 })
      const { parts } = yield* load(throttled, 64, (client, n) => throttled.store.put({ key: `d/${client}-${n}` }))
      assert.isAbove(parts[0]!.rate, 0.85 * 640)
      assert.isBelow(parts[0]!.rate, 1.15 * 640)
    }).pipe(Random.withSeed("latency"))
  )

  it.effect("without anything that tries again, what is refused fails", () =>
    Effect.gen(function* () {
      const throttled = yield* ThrottledStore.make(yield* memory, { writes: 10, burstMillis: 100 })
      const two = yield* Effect.forkChild(
        Effect.forEach([1, 2], (n) => Effect.result(throttled.store.put({ key: `d/${n}` })), { concurrency: 2 })
      )
      yield* TestClock.adjust("1 second")
      const results = yield* Fiber.join(two)
      const [refused] = results.filter(Result.isFailure)
      assert.strictEqual(results.filter(Result.isSuccess).length, 1)
      assert.deepStrictEqual(
        [refused?.failure.reason._tag, refused?.failure.outcome, refused?.failure.isRetryable],
        ["Throttled", "none", true]
      )
      assert.deepStrictEqual(yield* throttled.counts, new Map([["d/", { done: 1, refused: 1 }]]))
    })
  )
})

describe("documents on a store with limits", () => {
  const schema = Schema.Struct({ id: Schema.String, team: Schema.String })
  const partOf = (key: string) => key.split("id=")[0]!

  it.effect("64 clients insert documents with a marker each: the limit of the part that has most to do", () =>
    Effect.gen(function* () {
      const throttled = yield* ThrottledStore.make(yield* memory, { writes: 200, partOf })
      const store = yield* patient(throttled.store)
      const opening = yield* Effect.forkChild(
        Effect.flatMap(openOn(store), ({ open }) =>
          open("people", { schema, primaryKey: "id", partitions: { byTeam: ["team"] } })
        )
      )
      const people = yield* drive(opening)
      const { failures, parts } = yield* load(throttled, 64, (client, n) =>
        people.insert({ id: `${client}-${n}`, team: client % 2 === 0 ? "red" : "blue" })
      )
      assert.deepStrictEqual(failures, [])
      const rates = new Map(parts.map(({ part, rate }) => [part, rate]))
      // All documents are in one part, their markers in one for each team.
      assert.isAtLeast(rates.get("resource=people/data/")!, 0.9 * 200)
      for (const team of ["red", "blue"]) {
        const rate = rates.get(`resource=people/partition=byTeam/team=${team}/`)!
        assert.isAbove(rate, 0.3 * 200)
        assert.isBelow(rate, 0.7 * 200)
      }
    }).pipe(Random.withSeed("documents"))
  )
})
