import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as Counter from "effect-s3db/kernel/Counter"
import * as Id from "effect-s3db/crypto/Id"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore, PutRequest, PutResult } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import {
  AccessDenied,
  ConditionalRequestConflict,
  NoSuchKey,
  PreconditionFailed,
  type Reason,
  StoreError,
  Throttled,
  Timeout,
  Unavailable
} from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import { crashing, drive, keysOf, memory, moments } from "../fixture.ts"

type Store = ObjectStore["Service"]

const one = new Map([["", 1]])
const totalOn = (store: Store, shards = 8) => Counter.make(store, { resource: "r", shards }).read("")
const range = (length: number) => Array.from({ length }, (_, i) => i)
const text = (value: string) => new TextEncoder().encode(value)
const keyOf = (shard: number) => `resource=r/counter/shard=${shard}`
const entriesOf = (counts: ReadonlyMap<string, number>) =>
  [...counts].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))

const bodyAt = (store: Store, key: string) =>
  Effect.map(
    Effect.orDie(store.get(key)),
    ({ body }) => JSON.parse(new TextDecoder().decode(body)) as { c: Record<string, number>; w: Array<string> }
  )

/** Lets time pass until an effect is done. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.forkChild(Pauses.byClock(effect)), (fiber) => drive(fiber))

/** A store whose puts are made by `put`, which is told how many there were before. */
const puttingOn = (
  store: Store,
  put: (request: PutRequest, before: number) => Effect.Effect<PutResult, StoreError>
): Store => {
  let puts = 0
  return { ...store, put: (request) => Effect.suspend(() => put(request, puts++)) }
}

const failed = (reason: Reason, operation: "put" | "get" = "put") =>
  Effect.fail(new StoreError({ operation, key: "k", reason }))

const timeout = new Timeout({ description: "no answer", afterMillis: 1 })
const afterUnknown = new PreconditionFailed({ description: "refused", afterUnknown: true })
const refusal = new PreconditionFailed({ description: "refused" })

const reasonOf = <A, R>(effect: Effect.Effect<A, StoreError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("Counter", () => {
  it.effect("adds, takes off, reads", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const counter = Counter.make(store, { resource: "r" })
      assert.strictEqual(yield* counter.read(""), 0)
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), [])
      for (const country of ["BR", "PT", "BR", "DE"]) {
        yield* counter.add(new Map([["", 1]]).set(`country=${country}`, 1))
      }
      yield* counter.add(
        new Map([
          ["", -1],
          ["country=DE", -1],
          ["country=PT", 0],
          ["other", 5]
        ])
      )
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), [
        ["", 3],
        ["country=BR", 2],
        ["country=PT", 1],
        ["other", 5]
      ])
      assert.strictEqual(yield* counter.read("country=BR"), 2)
      assert.strictEqual(yield* counter.read("country=DE"), 0)
      assert.strictEqual(yield* counter.read("unknown"), 0)
    })
  )

  it.effect("the object: its key, no zeros, the newest write ids", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const counter = Counter.make(store, { resource: "a/b (é)", shards: 1 })
      for (const label of range(Counter.rememberedWrites + 6)) yield* counter.add(new Map([[`${label}`, 1]]))
      for (const label of range(Counter.rememberedWrites + 5)) yield* counter.add(new Map([[`${label}`, -1]]))
      const key = "resource=a%2Fb%20%28%C3%A9%29/counter/shard=0"
      assert.deepStrictEqual(yield* keysOf(store), [key])
      assert.strictEqual(Counter.keyPrefix("a/b (é)") + "shard=0", key)
      const { w, ...rest } = yield* bodyAt(store, key)
      assert.deepStrictEqual(rest, { v: 1, c: { [`${Counter.rememberedWrites + 5}`]: 1 } } as never)
      assert.strictEqual(new Set(w).size, Counter.rememberedWrites)
      yield* counter.add(one)
      assert.deepStrictEqual((yield* bodyAt(store, key)).w.slice(1), w.slice(0, -1))
      assert.strictEqual((yield* store.get(key)).contentType, "application/json")
    })
  )

  it.effect("shards of all numbers are used, and may be negative by themselves; the sum is never below 0", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const counter = Counter.make(store, { resource: "r", shards: 3 })
      yield* Effect.forEach(range(30), () => counter.add(one)).pipe(Random.withSeed("up"))
      yield* Effect.forEach(range(28), () => counter.add(new Map([["", -1]]))).pipe(Random.withSeed("down"))
      assert.deepStrictEqual(yield* keysOf(store), [0, 1, 2].map(keyOf))
      const counts = yield* Effect.forEach([0, 1, 2], (shard) => bodyAt(store, keyOf(shard)))
      assert.isTrue(
        counts.some(({ c }) => (c[""] ?? 0) < 0),
        JSON.stringify(counts.map(({ c }) => c))
      )
      assert.strictEqual(yield* counter.read(""), 2)
      yield* counter.add(new Map([["", -5]]))
      assert.strictEqual(yield* counter.read(""), 0)
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), [])
      // What is below 0 is kept, and only not shown.
      yield* counter.add(new Map([["", 4]]))
      assert.strictEqual(yield* counter.read(""), 1)
    })
  )

  it.effect("hostile labels are labels like any other", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const labels = [
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "",
        "0",
        "é",
        "e\u0301",
        "🎉",
        "\ud800",
        "\u0000",
        'a"b\\',
        "x".repeat(5000)
      ]
      const counter = Counter.make(store, { resource: "__proto__", shards: 2 })
      for (const [i, label] of labels.entries()) yield* counter.add(new Map([[label, i + 1]]))
      for (const [i, label] of labels.entries()) {
        yield* counter.add(new Map([[label, 1]]))
        assert.strictEqual(yield* counter.read(label), i + 2, label)
      }
      assert.strictEqual((yield* counter.readAll).size, labels.length)
      assert.strictEqual(yield* counter.read("valueOf"), 0)
      assert.strictEqual(yield* counter.read("isPrototypeOf"), 0)
      const counts = new Map(labels.map((label, i) => [label, i + 1]))
      yield* counter.set(counts)
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), entriesOf(counts))
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const counter = Counter.make(store, { resource: "r", shards: 5 })
      const made = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, StoreError>) {
        yield* requests.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))
      })
      assert.deepStrictEqual(yield* made(counter.set(new Map())), { get: 5 })
      for (const deltas of [
        [],
        [["", 0]],
        [
          ["a", 0],
          ["b", -0]
        ]
      ] as Array<Array<[string, number]>>) {
        assert.deepStrictEqual(yield* made(counter.add(new Map(deltas))), {})
      }
      assert.deepStrictEqual(yield* keysOf(inner), [])
      assert.deepStrictEqual(yield* made(counter.add(one)), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(counter.add(one)), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(counter.read("")), { get: 5 })
      assert.deepStrictEqual(yield* made(counter.readAll), { get: 5 })
      yield* Effect.forEach(range(50), () => counter.add(one)).pipe(Random.withSeed("all shards"))
      assert.deepStrictEqual(yield* made(counter.set(one)), { get: 5, put: 5 })
      assert.deepStrictEqual(yield* made(counter.set(one)), { get: 5, put: 1 })
      assert.deepStrictEqual(yield* made(counter.remove), { deleteMany: 1 })
      assert.deepStrictEqual(yield* keysOf(inner), [])
      // A lost race.
      const racing = puttingOn(store, (request, before) =>
        before === 0
          ? Effect.andThen(inner.put({ ...request, body: text('{"v":1,"c":{},"w":["x"]}') }), store.put(request))
          : store.put(request)
      )
      const add = Counter.make(racing, { resource: "r" }).add(one)
      assert.deepStrictEqual(yield* made(inTime(add)), { get: 3, put: 2 })
    })
  )

  it.effect("shards are read all at the same time", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const slow: Store = { ...store, get: (key) => Effect.andThen(Effect.sleep("1 second"), store.get(key)) }
      const reading = yield* Effect.forkChild(totalOn(slow, 64))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(reading), 0)
    })
  )

  it("the number of shards", () => {
    const store = {} as Store
    for (const shards of [0, 65, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => Counter.make(store, { resource: "r", shards }), RangeError)
    }
    for (const shards of [undefined, 1, 64]) Counter.make(store, { resource: "r", shards })
  })

  it.effect("what is no whole number is refused, and harms nothing", () =>
    Effect.gen(function* () {
      const { counter: requests, store } = InstrumentedStore.make(yield* memory)
      const counter = Counter.make(store, { resource: "r", shards: 1 })
      yield* counter.add(new Map([["", Number.MAX_SAFE_INTEGER]]))
      yield* requests.reset
      for (const count of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
        for (const change of [counter.add, counter.set]) {
          const reason = yield* reasonOf(change(new Map([["", count]])))
          assert.strictEqual(reason._tag, "InvalidArgument", `${count}`)
        }
      }
      assert.deepStrictEqual((yield* requests.counts).get, 0)
      assert.strictEqual((yield* reasonOf(counter.add(one)))._tag, "InvalidArgument")
      assert.strictEqual(yield* counter.read(""), Number.MAX_SAFE_INTEGER)
    })
  )

  it.effect("a map that the caller changes later is taken as it was", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const slow: Store = { ...store, get: (key) => Effect.andThen(Effect.sleep("1 second"), store.get(key)) }
      const deltas = new Map([["", 1]])
      const adding = yield* Effect.forkChild(Counter.make(slow, { resource: "r" }).add(deltas), {
        startImmediately: true
      })
      deltas.set("", 100)
      yield* drive(adding)
      assert.strictEqual(yield* totalOn(store), 1)
    })
  )

  it.effect("a corrupt shard is an error until it is removed", () =>
    Effect.gen(function* () {
      for (const body of [
        "",
        "{",
        "[]",
        "null",
        '{"v":2,"c":{},"w":[]}',
        '{"v":1,"c":{"":0.5},"w":[]}',
        '{"v":1,"c":{"":"1"},"w":[]}',
        '{"v":1,"c":{"":10000000000000000},"w":[]}',
        '{"v":1,"c":{}}',
        '{"v":1,"c":[1],"w":[]}',
        '{"v":1,"c":{},"w":[1]}'
      ]) {
        const store = yield* memory
        const counter = Counter.make(store, { resource: "r", shards: 1 })
        yield* store.put({ key: keyOf(0), body: text(body) })
        for (const use of [counter.add(one), counter.read(""), counter.readAll, counter.set(one)]) {
          const error = yield* Effect.flip(use as Effect.Effect<unknown, StoreError>)
          assert.strictEqual(error.reason._tag, "Corrupt", body)
          assert.strictEqual(error.key, keyOf(0))
        }
        assert.strictEqual(new TextDecoder().decode((yield* store.get(keyOf(0))).body), body)
        yield* counter.remove
        yield* counter.set(one)
        assert.strictEqual(yield* counter.read(""), 1)
      }
    })
  )

  it.effect("sets what a recount has found, and removes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const counter = Counter.make(store, { resource: "r", shards: 4 })
      const other = Counter.make(store, { resource: "other", shards: 4 })
      yield* other.add(one)
      yield* Effect.forEach(range(40), (i) => counter.add(new Map([[`${i % 3}`, 1]]))).pipe(Random.withSeed("set"))
      assert.strictEqual((yield* keysOf(store, Counter.keyPrefix("r"))).length, 4)
      const counts = new Map([
        ["", 7],
        ["0", 3],
        ["gone", 0]
      ])
      yield* counter.set(counts)
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), [
        ["", 7],
        ["0", 3]
      ])
      assert.deepStrictEqual((yield* bodyAt(store, keyOf(0))).c, { "": 7, "0": 3 })
      yield* counter.add(one)
      assert.strictEqual(yield* counter.read(""), 8)
      yield* counter.set(new Map())
      assert.deepStrictEqual(entriesOf(yield* counter.readAll), [])
      yield* counter.add(one)
      yield* counter.remove
      yield* counter.remove
      assert.strictEqual(yield* counter.read(""), 0)
      yield* counter.add(one)
      assert.strictEqual(yield* counter.read(""), 1)
      assert.strictEqual(yield* other.read(""), 1)
    })
  )

  it.effect("an add that has read a shard before it is set does not bring the old counts back", () =>
    Effect.gen(function* () {
      for (const shards of [1, 2]) {
        const store = yield* memory
        const plain = Counter.make(store, { resource: "r", shards })
        yield* Effect.forEach(range(20), () => plain.add(one)).pipe(Random.withSeed("old"))
        const overtaken = puttingOn(store, (request, before) =>
          before === 0 ? Effect.andThen(plain.set(new Map([["", 3]])), store.put(request)) : store.put(request)
        )
        yield* inTime(Counter.make(overtaken, { resource: "r", shards }).add(one))
        assert.strictEqual(yield* plain.read(""), 4)
      }
    })
  )

  it.effect("a set that meets adds is tried again on the same shard", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const plain = Counter.make(store, { resource: "r", shards: 1 })
      yield* plain.add(new Map([["", 5]]))
      const overtaken = puttingOn(store, (request, before) =>
        before < 3 ? Effect.andThen(plain.add(one), store.put(request)) : store.put(request)
      )
      yield* inTime(Counter.make(overtaken, { resource: "r", shards: 1 }).set(new Map([["", 2]])))
      assert.strictEqual(yield* plain.read(""), 2)
    })
  )

  it.effect("a shard that could not be removed is an error", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const denied = new AccessDenied({ description: "no" })
      const partial: Store = {
        ...store,
        deleteMany: (keys) => Effect.succeed({ deleted: keys.slice(1), failed: [{ key: keys[0]!, reason: denied }] })
      }
      const error = yield* Effect.flip(Counter.make(partial, { resource: "r" }).remove)
      assert.deepStrictEqual([error.operation, error.key, error.reason._tag], ["deleteMany", keyOf(0), "AccessDenied"])
    })
  )

  describe("many at once", () => {
    const delay = { probability: 1, maxMillis: 60 }
    for (const shards of [1, 8]) {
      it.effect(`200 adds on ${shards} shards`, () =>
        Effect.gen(function* () {
          const store = yield* memory
          const counter = Counter.make(store, { resource: "r", shards })
          const deltas = (i: number) => new Map([["", 1]]).set(`of ${i % 3}`, i)
          const all = Effect.forEach(range(200), (i) => counter.add(deltas(i)), { concurrency: "unbounded" })
          yield* inTime(Random.withSeed(all, "many"))
          assert.strictEqual(yield* counter.read(""), 200)
          let sum = 0
          for (const i of range(3)) sum += yield* counter.read(`of ${i}`)
          assert.strictEqual(sum, (200 * 199) / 2)
        })
      )

      it.effect(`200 adds by slow clients on ${shards} shards`, () =>
        Effect.gen(function* () {
          const store = yield* memory
          const faulty = FaultyStore.make(store, { seed: shards, faults: { delay } })
          const counter = Counter.make(faulty.store, { resource: "r", shards })
          const all = Effect.forEach(range(200), () => counter.add(one), { concurrency: "unbounded", discard: true })
          const fiber = yield* Effect.forkChild(Pauses.byClock(Random.withSeed(all, "slow")))
          yield* drive(fiber, "50 millis")
          assert.strictEqual(yield* totalOn(store, shards), 200)
        })
      )
    }

    it.effect("on a store that always refuses, it comes to an end", () =>
      Effect.gen(function* () {
        const { counter: requests, store } = InstrumentedStore.make(yield* memory)
        for (const reason of [
          refusal,
          new ConditionalRequestConflict({ description: "409" }),
          new NoSuchKey({ description: "404" })
        ]) {
          yield* requests.reset
          const refusing = puttingOn(store, () => failed(reason))
          const counter = Counter.make(refusing, { resource: "r" })
          assert.strictEqual(yield* reasonOf(inTime(counter.add(one))), reason)
          assert.strictEqual((yield* requests.counts).get, 82)
        }
        assert.strictEqual(yield* totalOn(store), 0)
      })
    )

    it.effect("the next attempt is on another shard", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const seen: Array<string> = []
        const refusing = puttingOn(store, ({ key }) =>
          Effect.andThen(
            Effect.sync(() => seen.push(key)),
            failed(refusal)
          )
        )
        yield* Effect.flip(inTime(Counter.make(refusing, { resource: "r", shards: 3 }).add(one)))
        assert.strictEqual(new Set(seen).size, 3)
        assert.isTrue(seen.every((key, i) => key !== seen[i + 1]))
      })
    )
  })

  describe("crashes", () => {
    it.effect("a crash at any request of an add leaves the count as before or after", () =>
      Effect.gen(function* () {
        for (const before of [0, 5]) {
          const outcomes: Array<string> = []
          for (let at = 1, finished = false; !finished; at++) {
            for (const when of moments) {
              const store = yield* memory
              if (before > 0) yield* Counter.make(store, { resource: "r", shards: 1 }).add(new Map([["", before]]))
              const client = crashing(store, at, when)
              const deltas = new Map([
                ["", 1],
                ["a", 2]
              ])
              const counter = Counter.make(client.store, { resource: "r", shards: 1 })
              finished = Exit.isSuccess(yield* Effect.exit(counter.add(deltas)))
              const other = Counter.make(store, { resource: "r", shards: 1 })
              outcomes.push(`${(yield* other.read("")) - before} ${yield* other.read("a")}`)
              // Whatever it has left behind, others go on.
              yield* other.add(one)
            }
          }
          assert.deepStrictEqual(outcomes, ["0 0", "0 0", "1 2"])
        }
      })
    )

    it.effect("after a crash at any request of a set it can be set again", () =>
      Effect.gen(function* () {
        for (let at = 1, finished = false; !finished; at++) {
          for (const when of moments) {
            const store = yield* memory
            const other = Counter.make(store, { resource: "r", shards: 3 })
            yield* Effect.forEach(range(20), () => other.add(one)).pipe(Random.withSeed("crash"))
            const counter = Counter.make(crashing(store, at, when).store, { resource: "r", shards: 3 })
            finished = Exit.isSuccess(yield* Effect.exit(counter.set(new Map([["", 3]]))))
            assert.isAtMost(yield* other.read(""), 23)
            yield* other.set(new Map([["", 3]]))
            assert.strictEqual(yield* other.read(""), 3)
          }
        }
      })
    )
  })

  describe("lost answers", () => {
    /** Adds as others would, so that so many writes are made. */
    const others = (store: Store, writes: number) => {
      const counter = Counter.make(store, { resource: "r", shards: 1 })
      return Effect.forEach(range(writes), () => counter.add(new Map([["others", 1]])), { discard: true })
    }
    const cases = [
      { name: "plain refusal", reason: refusal },
      { name: "refusal after an unknown outcome", reason: afterUnknown },
      { name: "timeout", reason: timeout },
      { name: "5xx", reason: new Unavailable({ description: "500", sent: true }) }
    ] as const

    for (const { name, reason } of cases) {
      for (const existing of [0, 3]) {
        it.effect(`${name}, ${existing} writes before`, () =>
          Effect.gen(function* () {
            /** What becomes of an add whose first PUT fails so, having landed or not, with writes of others behind it. */
            const addOn = Effect.fnUntraced(function* (landed: boolean, behind: number) {
              const store = yield* memory
              yield* others(store, existing)
              const faulty = puttingOn(store, (request, before) => {
                if (before > 0) return store.put(request)
                const carriedOut = landed ? Effect.asVoid(store.put(request)) : Effect.void
                return carriedOut.pipe(Effect.andThen(others(store, behind)), Effect.andThen(failed(reason)))
              })
              const { counter: requests, store: counted } = InstrumentedStore.make(faulty)
              const counter = Counter.make(counted, { resource: "r", shards: 1 })
              const result = yield* Effect.result(inTime(counter.add(one)))
              const { get, put } = yield* requests.counts
              assert.strictEqual(yield* counter.read("others"), existing + behind)
              const outcome = result._tag === "Failure" ? result.failure.reason : "ok"
              return { outcome, count: yield* counter.read(""), requests: `${get} ${put}` }
            })
            const isPlain = reason === refusal
            // Found by reading back, also below what others have written since.
            for (const behind of [0, 1, Counter.rememberedWrites - 1]) {
              assert.deepStrictEqual(yield* addOn(true, behind), { outcome: "ok", count: 1, requests: "2 1" })
            }
            // Another version took its place: it cannot have landed, and is made again.
            for (const behind of [1, Counter.rememberedWrites - 1]) {
              assert.deepStrictEqual(yield* addOn(false, behind), { outcome: "ok", count: 1, requests: "3 2" })
            }
            // The version that it was to replace is still there, and it may yet arrive.
            const still = yield* addOn(false, 0)
            assert.deepStrictEqual(
              still,
              isPlain ? { outcome: "ok", count: 1, requests: "3 2" } : { outcome: reason, count: 0, requests: "2 1" }
            )
            // Nobody remembers. A plain refusal is believed.
            for (const landed of [true, false]) {
              const { count, outcome } = yield* addOn(landed, Counter.rememberedWrites + 1)
              if (isPlain) assert.deepStrictEqual([outcome, count], ["ok", landed ? 2 : 1])
              else assert.deepStrictEqual([outcome, count], [reason, landed ? 1 : 0])
            }
          })
        )
      }
    }

    it.effect("removed meanwhile: after a lost answer neither can be told", () =>
      Effect.gen(function* () {
        for (const existing of [0, 3]) {
          for (const reason of [afterUnknown, timeout]) {
            const store = yield* memory
            yield* others(store, existing)
            const faulty = puttingOn(store, () => Effect.andThen(store.delete(keyOf(0)), failed(reason)))
            const counter = Counter.make(faulty, { resource: "r", shards: 1 })
            assert.strictEqual(yield* reasonOf(inTime(counter.add(one))), reason)
          }
        }
        const store = yield* memory
        yield* others(store, 3)
        const removing = puttingOn(store, (request, before) =>
          before === 0 ? Effect.andThen(store.delete(keyOf(0)), store.put(request)) : store.put(request)
        )
        const counter = Counter.make(removing, { resource: "r", shards: 1 })
        yield* inTime(counter.add(one))
        assert.deepStrictEqual(entriesOf(yield* counter.readAll), [["", 1]])
      })
    )

    it.effect("when reading back fails, it fails with what the store said to the write", () =>
      Effect.gen(function* () {
        for (const reason of [refusal, afterUnknown, timeout]) {
          const store = yield* memory
          let gets = 0
          const faulty: Store = {
            ...puttingOn(store, () => failed(reason)),
            get: (key) => Effect.suspend(() => (gets++ === 0 ? store.get(key) : failed(timeout, "get")))
          }
          const error = yield* Effect.flip(Counter.make(faulty, { resource: "r" }).add(one))
          // A refusal that nobody has looked after may be that of a second delivery.
          const expected = reason === refusal ? afterUnknown : reason
          assert.deepStrictEqual([error.operation, error.reason._tag], ["put", expected._tag])
          assert.deepStrictEqual(Reflect.get(error.reason, "afterUnknown"), Reflect.get(expected, "afterUnknown"))
        }
      })
    )

    it.effect("what was certainly not carried out fails at once", () =>
      Effect.gen(function* () {
        for (const reason of [
          new AccessDenied({ description: "no" }),
          new Throttled({ description: "503" }),
          new Unavailable({ description: "refused", sent: false })
        ]) {
          const { counter: requests, store } = InstrumentedStore.make(yield* memory)
          const denying = puttingOn(store, () => failed(reason))
          assert.strictEqual(yield* reasonOf(Counter.make(denying, { resource: "r" }).add(one)), reason)
          assert.strictEqual((yield* requests.counts).get, 1)
        }
      })
    )

    const faults: FaultyStore.Faults = {
      delay: { probability: 0.5, maxMillis: 400 },
      throttle: 0.03,
      errorBefore: 0.06,
      errorAfter: 0.1,
      duplicate: 0.05,
      late: { probability: 0.05, maxMillis: 8000 }
    }

    for (const kind of ["retrying", "retrying, late arrivals", "bare"] as const) {
      for (const shards of [1, 8]) {
        it.effect(`a store that fails in every way (${kind}, ${shards} shards)`, () =>
          Effect.gen(function* () {
            const seen = { added: 0, uncertain: 0, refused: 0 }
            for (const seed of range(10)) {
              const store = yield* memory
              const controls: Array<FaultyStore.FaultyStore["control"]> = []
              const sums = { certain: 0, possible: 0 }
              const work = (index: number) => {
                const faulty = FaultyStore.make(store, { seed, client: `c${index}`, faults })
                controls.push(faulty.control)
                const through =
                  kind === "bare"
                    ? faulty.store
                    : RetryingStore.make(faulty.store, {
                        retries: 4,
                        assumeLateArrivals: kind === "retrying, late arrivals"
                      })
                const counter = Counter.make(through, { resource: "r", shards })
                return Effect.forEach(range(12), (i) =>
                  Effect.match(counter.add(new Map([["", i + 1]]).set("adds", 1)), {
                    onSuccess: () => {
                      seen.added += 1
                      sums.certain += i + 1
                      sums.possible += i + 1
                    },
                    onFailure: ({ outcome, reason }) => {
                      const isUncertain =
                        outcome === "unknown" || (reason._tag === "PreconditionFailed" && reason.afterUnknown === true)
                      seen[isUncertain ? "uncertain" : "refused"] += 1
                      if (isUncertain) sums.possible += i + 1
                    }
                  })
                ).pipe(
                  Random.withSeed(`${seed}-${index}`),
                  Effect.provideService(Id.Generator, Id.seeded(seed * 10 + index))
                )
              }
              yield* inTime(Effect.forEach(range(5), work, { concurrency: "unbounded", discard: true }))
              yield* TestClock.adjust("1 hour")
              for (const control of controls) yield* control.settled
              const counter = Counter.make(store, { resource: "r", shards })
              const sum = yield* counter.read("")
              const label = `seed ${seed}: ${sum}, ${JSON.stringify(sums)}`
              assert.isAtLeast(sum, sums.certain, label)
              assert.isAtMost(sum, sums.possible, label)
            }
            assert.isAbove(seen.added, 250, JSON.stringify(seen))
            // With retries, hardly anything is left in doubt.
            if (kind === "retrying") assert.isAtMost(seen.uncertain + seen.refused, 6, JSON.stringify(seen))
          })
        )
      }
    }

    it.effect("lost answers alone leave an exact sum", () =>
      Effect.gen(function* () {
        for (const seed of range(10)) {
          const store = yield* memory
          const work = (index: number) => {
            const faulty = FaultyStore.make(store, {
              seed,
              client: `c${index}`,
              faults: { delay: { probability: 0.5, maxMillis: 300 }, errorAfter: 0.3, duplicate: 0.2 }
            })
            const retrying = RetryingStore.make(faulty.store, { retries: 20 })
            const counter = Counter.make(retrying, { resource: "r", shards: 2 })
            return Effect.forEach(range(10), () => counter.add(one)).pipe(Random.withSeed(`${seed}-${index}`))
          }
          yield* inTime(Effect.forEach(range(6), work, { concurrency: "unbounded", discard: true }))
          assert.strictEqual(yield* totalOn(store, 2), 60, `seed ${seed}`)
        }
      })
    )
  })
})
