import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Fenced from "effect-s3db/kernel/Fenced"
import * as Lease from "effect-s3db/kernel/Lease"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { type StoreError } from "effect-s3db/storage/StoreError"
import { memory } from "../fixture.ts"
import { byClock, removing, violations } from "./fencedOrders.ts"

const key = "plugin=p/cell"
const range = (length: number) => Array.from({ length }, (_, i) => i)
const numberOn = (store: Parameters<typeof Fenced.make>[0]) =>
  Fenced.make(store, { key, schema: Schema.Int, what: "a number" })
const up = (n = 0) => Effect.succeed(n + 1)

describe("Fenced", () => {
  it.effect("who holds a lower token is shut out from the moment that a higher one has claimed", () =>
    Effect.gen(function* () {
      const cell = numberOn(yield* memory)
      assert.isTrue(Option.isNone(yield* cell.read))
      const none = yield* cell.claim(0)
      assert.isTrue(Option.isNone(yield* none.read))
      assert.deepStrictEqual(yield* none.modify(up), Option.some(1))
      const first = yield* cell.claim(1)
      assert.deepStrictEqual(yield* first.modify(up), Option.some(2))
      const again = yield* cell.claim(1)
      assert.deepStrictEqual(yield* again.modify(up), Option.some(3))
      assert.deepStrictEqual(yield* first.modify(up), Option.some(4))
      const second = yield* cell.claim(7)
      assert.deepStrictEqual(
        [yield* second.read, second.found, none.found],
        [Option.some(4), Option.some(4), Option.none()]
      )
      for (const [token, use] of [
        [0, none.modify(up)],
        [0, none.read],
        [1, first.modify(up)],
        [1, first.read],
        [6, cell.claim(6)]
      ] as const) {
        const error = yield* Effect.flip(use as Effect.Effect<unknown, Lease.LeaseLost | StoreError>)
        assert.deepStrictEqual(
          [error._tag, error.key, error],
          ["LeaseLost", key, new Lease.LeaseLost({ key, token, seen: 7 })]
        )
      }
      assert.deepStrictEqual(yield* second.modify(up), Option.some(5))
      assert.deepStrictEqual(yield* cell.read, Option.some(5))
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter: requests, store } = InstrumentedStore.make(inner)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* requests.reset
        const result = yield* effect
        return [result, Object.fromEntries(Object.entries(yield* requests.counts).filter(([, n]) => n > 0))] as const
      })
      const cell = numberOn(store)
      assert.deepStrictEqual((yield* made(cell.claim(0)))[1], { get: 1 })
      const [mine, claiming] = yield* made(cell.claim(1))
      assert.deepStrictEqual(claiming, { get: 1, put: 1 })
      assert.deepStrictEqual((yield* made(cell.claim(1)))[1], { get: 1 })
      for (const _ of range(3)) assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { put: 1 })
      assert.deepStrictEqual((yield* made(mine.modify((n) => Effect.succeed(n))))[1], {})
      assert.deepStrictEqual((yield* made(Effect.exit(mine.modify(() => Effect.fail("no")))))[1], {})
      assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { get: 1, put: 1 })
      assert.deepStrictEqual((yield* made(mine.read))[1], { get: 1 })
      const other = yield* numberOn(inner).claim(1)
      yield* other.modify(up)
      assert.deepStrictEqual((yield* made(mine.modify(up)))[1], { get: 1, put: 2 })
      assert.deepStrictEqual(yield* cell.read, Option.some(6))
    })
  )

  it.effect("100 changes at once are 100 changes, also by four with one token", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const clients = yield* Effect.forEach(range(4), () => numberOn(store).claim(3))
      yield* Effect.forEach(range(100), (i) => clients[i % 4]!.modify(up), { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* numberOn(store).read, Option.some(100))
    })
  )

  it.effect(
    "a value that is none of the schema's is refused, and changes nothing; what cannot be read is an error",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const mine = yield* numberOn(store).claim(1)
        yield* mine.modify(up)
        const error = yield* Effect.flip(mine.modify(() => Effect.succeed(0.5)))
        assert.strictEqual(error._tag, "StoreError")
        assert.isTrue(error._tag === "StoreError" && error.reason._tag === "InvalidArgument")
        assert.notInclude(error.message, "0.5")
        assert.include(error.message, "a number")
        assert.deepStrictEqual(yield* mine.read, Option.some(1))
        const text = Fenced.make(store, { key, schema: Schema.String, what: "a text" })
        for (const use of [text.read, text.claim(2), (yield* numberOn(yield* memory).claim(1)).read]) {
          const exit = yield* Effect.exit(use as Effect.Effect<unknown, StoreError>)
          if (Exit.isFailure(exit)) assert.include(String(exit.cause), "Corrupt")
        }
        assert.strictEqual((yield* Effect.flip(text.read)).reason._tag, "Corrupt")
      })
  )

  describe("two processes, one of which stands still for longer than the lease", () => {
    it.effect("in every order of their requests no write of the one that was overtaken lands", () =>
      Effect.gen(function* () {
        const { endings, found } = yield* violations({ actors: ["a", "b"], preemptions: 2 })
        assert.deepStrictEqual(found, [])
        for (const ending of ["wrote wrote", "wrote none", "none wrote", "lost wrote", "wrote lost"]) {
          assert.isAbove(endings.get(ending) ?? 0, 0, ending)
        }
      })
    )

    it.effect("nor when one crashes at any request", () =>
      Effect.gen(function* () {
        const { endings, found } = yield* violations({ actors: ["a", "b"], crashes: 1, preemptions: 1 })
        assert.deepStrictEqual(found, [])
        assert.isAbove(endings.get("crashed wrote") ?? 0, 0)
      })
    )

    it.effect("broken: who only asks its own clock writes over the next", () =>
      Effect.gen(function* () {
        const { found } = yield* violations({ actors: ["a", "b"], way: byClock, isBroken: true })
        assert.isAbove(found.length, 0)
      })
    )

    it.effect("broken: a lease that is given up by removing it gives a token twice", () =>
      Effect.gen(function* () {
        const three = { actors: ["a", "b", "c"], silent: ["b"] }
        const broken = yield* violations({ ...three, preemptions: 2, through: removing, isBroken: true })
        assert.isAbove(broken.found.length, 0)
        const whole = yield* violations({ ...three, preemptions: 1 })
        assert.deepStrictEqual(whole.found, [])
      })
    )
  })
})
