import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
import * as TimeIndex from "effect-s3db/kernel/TimeIndex"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const prefix = "plugin=p/due/"
const day = 86_400_000
const range = (length: number) => Array.from({ length }, (_, i) => i)
const on = (store: Store) => TimeIndex.make(store, { prefix, payload: Schema.Int, what: "a number" })
const dueOn = (store: Store, now: number) => Stream.runCollect(on(store).due(now))
const idsOn = (store: Store, now: number) => Effect.map(dueOn(store, now), (all) => all.map(({ id }) => id))

/** Does what is due and removes it, as a worker does. */
const work = (store: Store, now: number, handled: (id: string) => void) => {
  const index = on(store)
  return Stream.runForEach(index.due(now), (entry) =>
    Effect.andThen(
      Effect.sync(() => handled(entry.id)),
      index.remove(entry)
    )
  )
}

describe("TimeIndex", () => {
  it.effect("gives what is due in the order of its times, from the first that a date can have to the last", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const index = on(store)
      const times = [
        -TimeIndex.maxTime,
        -62_198_755_200_000,
        -day - 1,
        -day,
        -1,
        0,
        1,
        999,
        1000,
        day - 1,
        day,
        1_582_934_400_000,
        253_402_300_799_999,
        253_402_300_800_000,
        TimeIndex.maxTime - 1,
        TimeIndex.maxTime
      ]
      const shuffled = times.toSorted((a, b) => ((a * 7919) % 104_729) - ((b * 7919) % 104_729))
      for (const [i, due] of shuffled.entries()) yield* index.add({ id: `${due}`, due, payload: i })
      for (const [i, now] of times.entries()) {
        const found = yield* dueOn(store, now)
        assert.deepStrictEqual(
          found.map(({ due }) => due),
          times.slice(0, i + 1)
        )
        assert.deepStrictEqual(
          found.map(({ id }) => id),
          times.slice(0, i + 1).map(String)
        )
      }
      assert.strictEqual(Option.getOrThrow(yield* index.first).due, -TimeIndex.maxTime)
    })
  )

  it.effect("an entry has its payload until it is removed, and is removed alone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const index = on(store)
      const hostile = ["a", "a/b", "..", "é", "e\u0301", "x=y", "%2F", " ", "🎉"]
      const entries = yield* Effect.forEach(hostile, (id, payload) => index.add({ id, due: 5, payload }))
      const again = yield* index.add({ id: "a", due: 5, payload: 100 })
      const third = yield* index.add({ id: "a", due: 5, payload: 100, revision: "w/1" })
      // The same entry.
      assert.deepStrictEqual(yield* index.add({ id: "a", due: 5, payload: 100, revision: "w/1" }), third)
      const found = yield* dueOn(store, 5)
      assert.sameDeepMembers(found, [...entries, again, third])
      for (const [i, entry] of entries.entries()) {
        assert.deepStrictEqual(yield* index.payload(entry), Option.some(i))
        yield* index.remove(entry)
        yield* index.remove(entry)
        assert.deepStrictEqual(yield* index.payload(entry), Option.none())
      }
      assert.sameDeepMembers(yield* dueOn(store, 5), [again, third])
      yield* index.removeMany([again, third])
      assert.deepStrictEqual(yield* keysOf(store), [])
      assert.deepStrictEqual(yield* index.first, Option.none())
    })
  )

  it.effect("requests: looking costs one, however much is due later, or was due and is done, in however long", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const made = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, StoreError>) {
        yield* requests.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))
      })
      const index = on(store)
      const now = 400 * day
      // A minute's work for each minute of an hour, 30 days ago.
      for (const minute of range(60)) {
        yield* index.add({ id: `${minute}`, due: now - 30 * day + minute * 60_000, payload: 0 })
      }
      yield* Effect.forEach(range(1500), (i) => index.add({ id: `later ${i}`, due: now + 1 + i, payload: 0 }))
      assert.deepStrictEqual(yield* made(Stream.runDrain(index.due(now - 31 * day))), { list: 1 })
      const outage = yield* dueOn(inner, now)
      assert.strictEqual(outage.length, 60)
      assert.deepStrictEqual(yield* made(Stream.runDrain(index.due(now))), { list: 1 })
      assert.deepStrictEqual(yield* made(index.removeMany(outage)), { deleteMany: 1 })
      assert.deepStrictEqual(yield* made(index.removeMany([])), {})
      assert.deepStrictEqual(yield* made(Stream.runDrain(index.due(now))), { list: 1 })
      assert.deepStrictEqual(yield* made(index.first), { list: 1 })
      const [first] = yield* dueOn(inner, now + 1)
      assert.deepStrictEqual(yield* made(index.payload(first!)), { get: 1 })
      assert.deepStrictEqual(yield* made(index.remove(first!)), { delete: 1 })
      assert.deepStrictEqual(yield* made(index.add({ id: "1", due: 1, payload: 0 })), { put: 1 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(index.due(now + 5000))), { list: 2 })
    })
  )

  it.effect("what is added late, for a time that others have worked through, is found", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const handled: Array<string> = []
      const index = on(store)
      for (const due of [10, 20, 30]) yield* index.add({ id: `${due}`, due, payload: 0 })
      yield* work(store, 1000, (id) => handled.push(id))
      yield* index.add({ id: "late", due: 15, payload: 0 })
      yield* work(store, 1000, (id) => handled.push(id))
      // The same id and time once more, while a slow worker removes what it has seen before.
      const [old] = [yield* index.add({ id: "x", due: 5, payload: 0 })]
      yield* index.add({ id: "x", due: 5, payload: 1 })
      yield* index.remove(old)
      yield* work(store, 1000, (id) => handled.push(id))
      assert.deepStrictEqual(handled, ["10", "20", "30", "late", "x"])
    })
  )

  it.effect("what has no stored form is refused, and nothing is added", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const index = on(store)
      for (const wrong of [
        { due: 0.5 },
        { due: Number.NaN },
        { due: Number.POSITIVE_INFINITY },
        { due: TimeIndex.maxTime + 1 },
        { due: -TimeIndex.maxTime - 1 },
        { id: "" },
        { id: "\ud800" },
        { revision: "" },
        { payload: 0.5 }
      ]) {
        const error = yield* Effect.flip(index.add({ id: "a", due: 1, payload: 1, ...wrong }))
        assert.strictEqual(error.reason._tag, "InvalidArgument", JSON.stringify(wrong))
      }
      assert.deepStrictEqual(yield* keysOf(store), [])
      assert.throws(() => TimeIndex.make(store, { prefix: "due", payload: Schema.Int, what: "a number" }), RangeError)
    })
  )

  it.effect("keys that are none of its own are passed over, damaged payloads are errors", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const index = on(store)
      for (const key of [
        "000",
        "999999999/99999999/a/b",
        "000000000/00000000/a",
        "100000000/00000001/%zz/b",
        "000000001/00000000/%61/b"
      ]) {
        yield* store.put({ key: prefix + key })
      }
      const entry = yield* index.add({ id: "a", due: 0, payload: 1 })
      assert.deepStrictEqual(yield* dueOn(store, TimeIndex.maxTime), [entry])
      const [key] = (yield* keysOf(store, prefix)).filter((one) => one.endsWith(entry.revision))
      yield* store.put({ key: key! })
      assert.strictEqual((yield* Effect.flip(index.payload(entry))).reason._tag, "Corrupt")
    })
  )

  it.effect("on a store that lists without order they are in order, whether it says so or not", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "express" })
      assert.notStrictEqual(store.capabilities?.orderedList, true)
      const index = on(store)
      for (const due of range(40)) yield* index.add({ id: `${due}`, due: ((due * 37) % 40) * day, payload: 0 })
      const found = yield* dueOn(store, 19 * day)
      assert.deepStrictEqual(
        found.map(({ due }) => due / day),
        range(20)
      )
    })
  )

  it.effect("three workers at once handle everything, and each exactly once where they claim it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const index = on(store)
      yield* Effect.forEach(range(50), (i) => index.add({ id: `${i}`, due: i, payload: i }), { concurrency: 10 })
      const handled: Array<string> = []
      const claims = CreateOnce.make(store, { schema: Schema.String, what: "a claim" })
      const worker = (name: string) =>
        Stream.runForEach(
          index.due(100),
          Effect.fnUntraced(function* (entry) {
            const claim = yield* claims.create(`plugin=p/claim/${entry.revision}`, name)
            if (claim._tag === "Created") handled.push(entry.id)
            yield* index.remove(entry)
          })
        )
      yield* Effect.forEach(["a", "b", "c"], worker, { concurrency: "unbounded" })
      assert.sameMembers(handled, range(50).map(String))
      assert.deepStrictEqual(yield* idsOn(store, 100), [])
    })
  )

  describe("in every order of requests", () => {
    /** How many entries nobody handled, and how many are left, when two work while a third adds, and another looks afterwards. */
    const missed = Effect.fnUntraced(function* (
      worker: (
        store: Store,
        handled: (id: string) => void,
        place: { mark: number }
      ) => Effect.Effect<unknown, StoreError>,
      crashes: number
    ) {
      const { control, store } = yield* MemoryStore.make()
      yield* on(store).add({ id: "there", due: 20, payload: 0 })
      const schedule = Interleavings.make(store)
      const start = yield* control.snapshot
      let handled = new Set<string>()
      let added: Array<string> = []
      let place = { mark: Number.NEGATIVE_INFINITY }
      const handle = (id: string) => handled.add(id)
      const adder = Effect.suspend(() => {
        const index = on(schedule.client("adder"))
        return Effect.forEach([10, 20, 30], (due) =>
          Effect.map(index.add({ id: `${due}`, due, payload: 0 }), ({ id }) => added.push(id))
        ).pipe(Effect.provideService(Id.Generator, Id.seeded(1)), Random.withSeed("adder"))
      })
      let lacking = 0
      const report = yield* schedule.explore({
        before: Effect.suspend(() => {
          handled = new Set()
          added = []
          place = { mark: Number.NEGATIVE_INFINITY }
          return control.restore(start)
        }),
        programs: {
          adder,
          one: Effect.suspend(() => worker(schedule.client("one"), handle, place)),
          two: Effect.suspend(() => worker(schedule.client("two"), handle, place))
        },
        crashes,
        check: Effect.fnUntraced(function* ({ crashed }) {
          yield* worker(store, handle, place)
          const wanted = crashed.includes("adder") ? added : ["10", "20", "30"]
          if (![...wanted, "there"].every((id) => handled.has(id))) lacking += 1
        })
      })
      assert.isTrue(report.complete)
      assert.isAbove(report.schedules, 100)
      return lacking
    })

    it.effect("nothing that was added is missed, whoever works, and whoever crashes", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* missed((store, handled) => work(store, 1000, handled), 1), 0)
      })
    )

    it.effect("broken: with a place that workers remember, what is added late is", () =>
      Effect.gen(function* () {
        const remembering = (store: Store, handled: (id: string) => void, place: { mark: number }) =>
          Stream.runForEach(
            Stream.filter(on(store).due(1000), ({ due }) => due > place.mark),
            (entry) =>
              Effect.andThen(
                Effect.sync(() => {
                  handled(entry.id)
                  place.mark = entry.due
                }),
                on(store).remove(entry)
              )
          )
        assert.isAbove(yield* missed(remembering, 0), 0)
      })
    )
  })

  it.effect("an answer that was lost, and a crash at any request: what was acknowledged is there", () =>
    Effect.gen(function* () {
      const timeout = new Timeout({ description: "no answer", afterMillis: 1 })
      const inner = yield* memory
      const losing: Store = {
        ...inner,
        put: (request) =>
          Effect.andThen(inner.put(request), new StoreError({ operation: "put", key: request.key, reason: timeout }))
      }
      assert.strictEqual(
        (yield* Effect.flip(on(losing).add({ id: "a", due: 1, payload: 1, revision: "r" }))).outcome,
        "unknown"
      )
      yield* on(inner).add({ id: "a", due: 1, payload: 1, revision: "r" })
      assert.deepStrictEqual(yield* idsOn(inner, 1), ["a"])
      for (let at = 1; at <= 8; at++) {
        for (const when of ["before", "after"] as const) {
          const store = yield* memory
          const handled: Array<string> = []
          const { store: dying } = crashing(store, at, when)
          const acknowledged: Array<string> = []
          const life = Effect.gen(function* () {
            for (const due of [1, 2, 3]) acknowledged.push((yield* on(dying).add({ id: `${due}`, due, payload: 0 })).id)
            yield* work(dying, 10, (id) => handled.push(id))
          })
          const exit = yield* Effect.exit(life)
          assert.strictEqual(Exit.isSuccess(exit), at === 8)
          yield* work(store, 10, (id) => handled.push(id))
          for (const id of acknowledged) assert.include(handled, id)
          assert.deepStrictEqual(yield* idsOn(store, 10), [])
        }
      }
    })
  )
})
