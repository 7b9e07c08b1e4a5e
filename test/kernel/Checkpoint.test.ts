import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Checkpoint from "effect-s3db/kernel/Checkpoint"
import type { LeaseLost } from "effect-s3db/kernel/Lease"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, memory } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const key = "plugin=p/checkpoint"
const range = (length: number) => Array.from({ length }, (_, i) => i)
const on = (store: Store, options?: Partial<Checkpoint.Options<number, number>>) =>
  Checkpoint.make(store, { key, schema: Schema.Int, what: "a position", order: Order.Number, ...options })
const there = (store: Store) => Effect.scoped(Effect.flatMap(on(store), ({ read }) => read))

/** Lets what waits for nothing go on, and so much time pass. */
const pass = (duration: Duration.Input) =>
  settled.pipe(Effect.andThen(TestClock.adjust(duration)), Effect.andThen(settled))

/** A store of which the requests are counted, and which can be cut off. */
const opened = Effect.gen(function* () {
  const inner = yield* memory
  let isDown = false
  const down = (operation: "get" | "put") =>
    new StoreError({ operation, key, reason: new Unavailable({ description: "down", sent: false }) })
  const { counter, store } = InstrumentedStore.make({
    ...inner,
    put: (request) => Effect.suspend(() => (isDown ? Effect.fail(down("put")) : inner.put(request))),
    get: (...args) => Effect.suspend(() => (isDown ? Effect.fail(down("get")) : inner.get(...args)))
  })
  const made = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    yield* counter.reset
    const result = yield* effect
    return [result, Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))] as const
  })
  return { inner, store, made, cut: (down: boolean) => Effect.sync(() => (isDown = down)) }
})

describe("Checkpoint", () => {
  it.effect("keeps a position for whoever goes on; requests", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const [first, opening] = yield* made(on(store))
      assert.deepStrictEqual(opening, { get: 1 })
      assert.deepStrictEqual(yield* first.position, Option.none())
      assert.deepStrictEqual(yield* made(first.commit(5)), [5, { put: 1 }])
      assert.deepStrictEqual(yield* made(first.commit(6)), [6, { put: 1 }])
      assert.deepStrictEqual(yield* made(first.read), [Option.some(6), { get: 1 }])
      assert.deepStrictEqual(yield* made(first.position), [Option.some(6), {}])
      const [second, claiming] = yield* made(on(store, { token: 3 }))
      assert.deepStrictEqual(claiming, { get: 1, put: 1 })
      assert.deepStrictEqual(yield* second.position, Option.some(6))
      assert.deepStrictEqual((yield* made(on(store, { token: 3 })))[1], { get: 1 })
    })
  )

  it.effect("never goes back in the order of its positions, and does without one", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const [a, b] = [yield* on(store), yield* on(store)]
      yield* a.commit(10)
      assert.deepStrictEqual(yield* made(a.commit(10)), [10, {}])
      assert.deepStrictEqual(yield* made(a.commit(9)), [10, {}])
      // Who does not know learns so.
      assert.deepStrictEqual((yield* made(b.commit(7)))[0], 10)
      assert.deepStrictEqual(yield* there(store), Option.some(10))
      assert.strictEqual(yield* b.commit(11), 11)
      assert.strictEqual(yield* a.commit(10), 10)
      assert.strictEqual(yield* a.commit(12), 12)
      const without = yield* on(store, { order: undefined })
      assert.strictEqual(yield* without.commit(1), 1)
      assert.deepStrictEqual(yield* there(store), Option.some(1))
    })
  )

  it.effect("with the token of a lease, who had it before is shut out", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const old = yield* on(store, { token: 1, every: 2 })
      yield* old.commit(5)
      yield* old.advance(6)
      const next = yield* on(store, { token: 2 })
      assert.deepStrictEqual(yield* next.position, Option.some(5))
      for (const use of [old.commit(7), old.flush, old.advance(8), on(store, { token: 1 }), on(store)]) {
        const error = yield* Effect.flip(use as Effect.Effect<unknown, LeaseLost | StoreError, Scope.Scope>)
        assert.deepStrictEqual([error._tag, "seen" in error && error.seen], ["LeaseLost", 2])
      }
      yield* next.commit(6)
      assert.deepStrictEqual(yield* next.read, Option.some(6))
    })
  )

  it.effect("what is advanced is written once for so many, or so long, and at the end", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const scope = yield* Scope.make()
      const point = yield* Scope.provide(on(store, { every: 10, within: "5 seconds" }), scope)
      const [, batches] = yield* made(Effect.forEach(range(35), (i) => point.advance(i)))
      assert.deepStrictEqual(batches, { put: 3 })
      assert.deepStrictEqual(yield* there(store), Option.some(29))
      assert.deepStrictEqual((yield* made(pass("4900 millis")))[1], {})
      assert.deepStrictEqual((yield* made(pass("200 millis")))[1], { put: 1 })
      assert.deepStrictEqual(yield* there(store), Option.some(34))
      // Nothing more, and nothing behind it.
      assert.deepStrictEqual((yield* made(pass("1 hour")))[1], {})
      assert.deepStrictEqual((yield* made(Effect.andThen(point.advance(20), pass("1 hour"))))[1], {})
      // An hour of one each 100 ms.
      const busy = Effect.forEach(range(600), (i) => Effect.andThen(point.advance(100 + i), pass("1 second")))
      const [, { put }] = yield* made(busy)
      assert.isAtMost(put ?? 0, 121)
      yield* point.advance(1000)
      assert.deepStrictEqual((yield* made(point.flush))[1], { put: 1 })
      assert.deepStrictEqual((yield* made(point.flush))[1], {})
      yield* point.advance(1001)
      assert.deepStrictEqual((yield* made(Scope.close(scope, Exit.void)))[1]["put"], 1)
      assert.deepStrictEqual(yield* there(store), Option.some(1001))
    })
  )

  it.effect("100 that commit at once make few writes, and the highest stays", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const point = yield* on(store)
      const slow = yield* on({
        ...store,
        put: (request) => Effect.andThen(Effect.sleep("1 second"), store.put(request))
      })
      const all = Effect.forEach(range(100), (i) => slow.commit((i * 37) % 100), { concurrency: "unbounded" })
      const [results, { put }] = yield* made(
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(all)
          yield* pass("1 minute")
          return yield* fiber.pollUnsafe()!
        })
      )
      assert.isAtMost(put ?? 0, 2)
      assert.isTrue(results.every((result, i) => result >= (i * 37) % 100))
      assert.deepStrictEqual(yield* point.read, Option.some(99))
    })
  )

  it.effect("what could not be written is written later; what is no position is refused and forgotten", () =>
    Effect.gen(function* () {
      const { cut, inner, store } = yield* opened
      const point = yield* on(store)
      yield* point.commit(1)
      yield* cut(true)
      assert.strictEqual((yield* Effect.flip(point.commit(2)))._tag, "StoreError")
      yield* point.advance(3)
      yield* pass("10 seconds")
      assert.deepStrictEqual(yield* there(inner), Option.some(1))
      yield* cut(false)
      yield* pass("2 seconds")
      assert.deepStrictEqual(yield* there(inner), Option.some(3))
      const error = yield* Effect.flip(point.commit(4.5))
      assert.isTrue(error._tag === "StoreError" && error.reason._tag === "InvalidArgument")
      assert.strictEqual(yield* point.commit(4), 4)
      assert.deepStrictEqual(yield* there(inner), Option.some(4))
    })
  )

  it.effect("options", () =>
    Effect.gen(function* () {
      const store = yield* memory
      for (const wrong of [
        { every: 0 },
        { every: 1.5 },
        { every: 1_000_001 },
        { within: "2 days" as const },
        { within: "soon" as Duration.Input }
      ]) {
        const exit = yield* Effect.exit(on(store, wrong))
        assert.include(String(Exit.isFailure(exit) && exit.cause), "RangeError", JSON.stringify(wrong))
      }
      yield* store.put({ key, body: new TextEncoder().encode("{}") })
      const error = yield* Effect.flip(on(store))
      assert.isTrue(error._tag === "StoreError" && error.reason._tag === "Corrupt")
    })
  )

  it.effect(
    "in every order of the requests of an old and a new holder, with crashes, it never goes back, and none of the old lands after the new began",
    () =>
      Effect.gen(function* () {
        const { control, store } = yield* MemoryStore.make()
        yield* Effect.scoped(Effect.flatMap(on(store), ({ commit }) => commit(1)))
        const schedule = Interleavings.make(store)
        const start = yield* control.snapshot
        const seen = new Set<string>()
        let began: number | undefined
        let acknowledged = 1
        const program = (name: string, token: number) =>
          Effect.gen(function* () {
            const point = yield* on(schedule.client(name), { token })
            const from = Option.getOrThrow(yield* point.position)
            if (token === 2) began = from
            for (const step of [1, 2]) {
              const position = from + step * token
              yield* point.commit(position)
              acknowledged = Math.max(acknowledged, position)
            }
            return "done" as const
          }).pipe(
            Effect.catchTag("LeaseLost", () => Effect.succeed("lost" as const)),
            Effect.scoped,
            Effect.provideService(Id.Generator, Id.seeded(token)),
            Random.withSeed(name)
          )
        const report = yield* schedule.explore({
          before: Effect.suspend(() => {
            began = undefined
            acknowledged = 1
            return control.restore(start)
          }),
          programs: { old: Effect.suspend(() => program("old", 1)), next: Effect.suspend(() => program("next", 2)) },
          preemptions: 3,
          crashes: 1,
          check: Effect.fnUntraced(function* ({ exits }) {
            const position = Option.getOrThrow(
              yield* there(store).pipe(Effect.catchTag("LeaseLost", () => readWith(store)))
            )
            assert.isAtLeast(position, acknowledged)
            // The new one goes on from what was there when it began: by twos.
            if (began !== undefined) assert.include([began, began + 2, began + 4], position)
            const ending = (name: string) => (Exit.isSuccess(exits[name]!) ? exits[name].value : "crashed")
            seen.add(`${ending("old")} ${ending("next")}`)
          })
        })
        assert.isTrue(report.complete)
        for (const ending of ["done done", "lost done", "crashed done", "done crashed"])
          assert.isTrue(seen.has(ending), ending)
      })
  )

  it.effect("a crash at any request leaves the position before or after", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      for (let at = 1; at <= 4; at++) {
        for (const when of ["before", "after"] as const) {
          const store = yield* memory
          const { store: dying } = crashing(store, at, when)
          yield* Effect.exit(
            Effect.scoped(
              Effect.gen(function* () {
                const point = yield* on(dying)
                for (const position of [1, 2, 3]) yield* point.commit(position)
              })
            )
          )
          seen.push(Option.getOrElse(yield* there(store), () => 0))
        }
      }
      assert.deepStrictEqual(seen, [0, 0, 0, 1, 1, 2, 2, 3])
    })
  )
})

/** The position, for one who has a higher token than any. */
const readWith = (store: Store) => Effect.scoped(Effect.flatMap(on(store, { token: 1000 }), ({ read }) => read))
