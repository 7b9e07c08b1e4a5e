import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Pauses from "effect-s3db/testing/Pauses"
import { crashing, drive, memory, openNew } from "../fixture.ts"

type Store = ObjectStore["Service"]

const key = "plugin=p/sequence"
const range = (length: number) => Array.from({ length }, (_, i) => i)
const on = (store: Store, options?: Partial<Sequence.Options>) => Sequence.make(store, { key, ...options })
const take = (sequence: Sequence.Sequence, times: number) => Effect.forEach(range(times), () => sequence.next)
const reasonOf = (effect: Effect.Effect<unknown, StoreError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

describe("Sequence", () => {
  it.effect("numbers rise, and go on for whoever comes later", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* on(store)
      assert.strictEqual(yield* first.peek, 1)
      assert.deepStrictEqual(yield* take(first, 3), [1, 2, 3])
      const second = yield* on(store)
      assert.strictEqual(yield* second.peek, 4)
      assert.deepStrictEqual(yield* take(second, 2), [4, 5])
      // By blocks of one, a number that is asked for later is higher.
      assert.deepStrictEqual(yield* take(first, 1), [6])
      assert.deepStrictEqual(yield* first.nextBlock(10), { first: 7, step: 1, size: 10 })
      assert.deepStrictEqual(yield* take(second, 1), [17])
    })
  )

  it.effect("by blocks, steps and starts", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const options = { start: 1000, step: -5, block: 3 }
      const [a, b] = [yield* on(store, options), yield* on(store, options)]
      assert.strictEqual(yield* a.peek, 1000)
      assert.deepStrictEqual(yield* take(a, 2), [1000, 995])
      assert.deepStrictEqual(yield* take(b, 2), [985, 980])
      assert.deepStrictEqual(yield* take(a, 2), [990, 970])
      assert.deepStrictEqual(yield* a.nextBlock(), { first: 955, step: -5, size: 3 })
      assert.strictEqual(yield* b.peek, 940)
      // Who says another step would meet the numbers of the others.
      const other = yield* on(store, { ...options, step: 1 })
      assert.strictEqual(yield* reasonOf(other.next), "InvalidArgument")
      assert.strictEqual(yield* b.peek, 940)
    })
  )

  it.effect("goes on from elsewhere, and not back where numbers would be given twice", () =>
    Effect.gen(function* () {
      for (const step of [1, -1]) {
        const store = yield* memory
        const [a, b] = [yield* on(store, { step, start: 0, block: 10 }), yield* on(store, { step, start: 0 })]
        yield* take(a, 2)
        assert.strictEqual(yield* reasonOf(b.reset(9 * step)), "InvalidArgument")
        yield* b.reset(100 * step)
        assert.deepStrictEqual(yield* take(b, 2), [100 * step, 101 * step])
        // What another has reserved it gives out all the same.
        assert.deepStrictEqual(yield* take(a, 1), [2 * step])
        yield* a.reset(200 * step)
        assert.deepStrictEqual(yield* take(a, 1), [200 * step])
        yield* b.reset(5 * step, { canRepeat: true })
        assert.deepStrictEqual(yield* take(b, 1), [5 * step])
        assert.strictEqual(yield* reasonOf(b.reset(0.5)), "InvalidArgument")
        // With another step.
        const c = yield* on(store, { step: 7 * step })
        yield* c.reset(1000 * step)
        assert.deepStrictEqual(yield* take(c, 2), [1000 * step, 1007 * step])
        assert.strictEqual(yield* reasonOf(b.next), "InvalidArgument")
      }
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const made = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, StoreError>) {
        yield* requests.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))
      })
      const sequence = yield* on(store, { block: 50 })
      assert.deepStrictEqual(yield* made(sequence.next), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(take(sequence, 49)), {})
      assert.deepStrictEqual(yield* made(take(sequence, 50)), { put: 1 })
      assert.deepStrictEqual(yield* made(sequence.nextBlock(3)), { put: 1 })
      assert.deepStrictEqual(yield* made(sequence.peek), { get: 1 })
      yield* (yield* on(inner)).next
      assert.deepStrictEqual(yield* made(sequence.nextBlock(1)), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(sequence.reset(10_000)), { put: 1 })
      assert.deepStrictEqual(yield* made((yield* on(store)).reset(10_000)), { get: 1, put: 1 })
    })
  )

  it.effect("options, sizes, and the end of the numbers", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const wrong of [
        { start: 0.5 },
        { start: 2 ** 53 },
        { step: 0 },
        { step: 1.5 },
        { block: 0 },
        { block: 1_000_001 },
        { block: Number.NaN }
      ]) {
        const exit = yield* Effect.exit(on(store, wrong))
        assert.include(String(Exit.isFailure(exit) && exit.cause), "RangeError", JSON.stringify(wrong))
      }
      const sequence = yield* on(store, { start: Number.MAX_SAFE_INTEGER - 2 })
      for (const size of [0, 1.5, 2_000_000]) {
        assert.strictEqual(yield* reasonOf(sequence.nextBlock(size)), "InvalidArgument")
      }
      assert.deepStrictEqual(yield* take(sequence, 2), [Number.MAX_SAFE_INTEGER - 2, Number.MAX_SAFE_INTEGER - 1])
      assert.strictEqual(yield* reasonOf(sequence.next), "InvalidArgument")
      assert.strictEqual(yield* sequence.peek, Number.MAX_SAFE_INTEGER)
    })
  )

  it.effect("100 at once get 100 numbers, from one process and from several", () =>
    Effect.gen(function* () {
      for (const [clients, block] of [
        [1, 1],
        [5, 1],
        [5, 7]
      ] as const) {
        const store = yield* memory
        const sequences = yield* Effect.forEach(range(clients), () => on(store, { block }))
        const numbers = yield* Effect.forEach(range(100), (i) => sequences[i % clients]!.next, {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(numbers).size, 100)
        if (block === 1) assert.strictEqual(Math.max(...numbers), 100)
      }
    })
  )

  it.effect("on a store that fails in every way, and with interruptions, no number is given twice", () =>
    Effect.gen(function* () {
      for (const seed of range(8)) {
        const store = yield* memory
        const given: Array<number> = []
        const client = (index: number) =>
          Effect.gen(function* () {
            const faulty = FaultyStore.make(store, {
              seed,
              client: `c${index}`,
              faults: {
                delay: { probability: 0.5, maxMillis: 300 },
                throttle: 0.03,
                errorBefore: 0.06,
                errorAfter: 0.1,
                duplicate: 0.05,
                late: { probability: 0.05, maxMillis: 8000 }
              }
            })
            const sequence = yield* on(RetryingStore.make(faulty.store, { retries: 3 }), { block: 1 + (index % 3) })
            for (const _ of range(25)) {
              const asking = yield* Effect.forkChild(
                Effect.tap(sequence.next, (number) => Effect.sync(() => given.push(number)))
              )
              if ((yield* Random.next) < 0.2) yield* Effect.andThen(Effect.sleep("50 millis"), Fiber.interrupt(asking))
              yield* Fiber.await(asking)
            }
          }).pipe(
            Random.withSeed(`${seed}-${index}`),
            Effect.provideService(Id.Generator, Id.seeded(seed * 10 + index))
          )
        const all = Effect.forEach(range(5), client, { concurrency: "unbounded", discard: true })
        yield* drive(yield* Effect.forkChild(Pauses.byClock(all)))
        yield* TestClock.adjust("1 minute")
        assert.isAbove(given.length, 60)
        assert.strictEqual(new Set(given).size, given.length, `seed ${seed}`)
      }
    })
  )

  /** Runs three processes, whose write ids come from these seeds, in every order of their requests; how often a number came twice. */
  const explored = Effect.fnUntraced(function* (seeds: ReadonlyArray<number>) {
    const { control, store } = yield* MemoryStore.make()
    const schedule = Interleavings.make(store)
    const start = yield* control.snapshot
    let given: Array<number> = []
    const program = (index: number) =>
      Effect.gen(function* () {
        const sequence = yield* on(schedule.client(`c${index}`), { block: index < 2 ? 1 : 2 })
        for (const _ of range(2)) given.push(yield* sequence.next)
      }).pipe(Effect.provideService(Id.Generator, Id.seeded(seeds[index]!)), Random.withSeed(`${index}`))
    let twice = 0
    const report = yield* schedule.explore({
      before: Effect.andThen(
        Effect.sync(() => (given = [])),
        control.restore(start)
      ),
      programs: Object.fromEntries(range(3).map((index) => [`c${index}`, Effect.suspend(() => program(index))])),
      crashes: 1,
      check: ({ crashed }) =>
        Effect.sync(() => {
          if (new Set(given).size < given.length) twice += 1
          else if (crashed.length === 0) assert.sameMembers(given, [1, 2, 3, 4, 5, 6])
        })
    })
    assert.isTrue(report.complete)
    assert.isAbove(report.schedules, 100)
    return twice
  })

  it.effect("in every order of the requests of three, with a crash, no number is given twice", () =>
    Effect.map(explored([1, 2, 3]), (twice) => assert.strictEqual(twice, 0))
  )

  it.effect("broken: with write ids that two processes share, numbers are", () =>
    Effect.map(explored([1, 1, 3]), (twice) => assert.isAbove(twice, 0))
  )

  it.effect("a crash at any request leaves at most a hole of one block", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      for (let at = 1; at <= 3; at++) {
        for (const when of ["before", "after"] as const) {
          const store = yield* memory
          const dying = yield* on(crashing(store, at, when).store, { block: 5 })
          yield* Effect.exit(take(dying, 6))
          seen.push(yield* (yield* on(store)).next)
        }
      }
      assert.deepStrictEqual(seen, [1, 1, 1, 6, 6, 11])
    })
  )

  describe("ids", () => {
    it("have a prefix and zeros before the number, and grow", () => {
      const options = { prefix: "ORD-", padding: 4 }
      assert.deepStrictEqual(
        [1, 42, 9999, 10_000, 0, -7].map((number) => Sequence.idOf(number, options)),
        ["ORD-0001", "ORD-0042", "ORD-9999", "ORD-10000", "ORD-0000", "ORD--0007"]
      )
      assert.strictEqual(Sequence.idOf(12), "12")
      for (const padding of [-1, 21, 0.5]) assert.throws(() => Sequence.idOf(1, { padding }), RangeError)
    })

    it.effect("are the ids of a resource, where none is given", () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const sequence = yield* on(store, { block: 10 })
        const id = Schema.String.pipe(
          Schema.withConstructorDefault(Effect.orDie(Sequence.incremental(sequence, { prefix: "ORD-", padding: 4 })))
        )
        const orders = yield* open("orders", {
          schema: Schema.Struct({ id, n: Schema.Int }),
          primaryKey: "id"
        })
        const inserted = [
          yield* orders.insert({ n: 1 }),
          yield* orders.insert({ n: 2, id: "by hand" }),
          yield* orders.insert({ n: 3 })
        ]
        assert.deepStrictEqual(
          inserted.map((one) => one.id),
          ["ORD-0001", "by hand", "ORD-0002"]
        )
      })
    )
  })
})
