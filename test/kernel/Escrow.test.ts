/** Bounded counters: never below zero, nothing lost, and refused only where there is not enough. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Escrow from "effect-s3db/kernel/Escrow"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import { memory } from "../fixture.ts"
import { breaks, explore, key, scenarios } from "./escrowOrders.ts"

type Store = ObjectStore["Service"]
const range = (length: number) => Array.from({ length }, (_, i) => i)
const on = (store: Store, initial = 0, slots = 8) => Escrow.make(store, { key, initial, slots })

describe("Escrow", () => {
  it.effect("gives what is there, once, to many processes at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const processes = yield* Effect.forEach(range(4), () => on(store, 40))
      const taken = yield* Effect.forEach(range(50), (i) => Effect.result(processes[i % 4]!.take(1)), {
        concurrency: "unbounded"
      })
      assert.strictEqual(taken.filter(Result.isSuccess).length, 40)
      assert.strictEqual(yield* processes[0]!.value, 0)
      yield* Effect.forEach(processes, (one) => one.add(2), { concurrency: "unbounded" })
      assert.strictEqual(yield* processes[1]!.value, 8)
      // It lies in many slots, and is there for one.
      yield* (yield* on(store, 40)).take(8)
      const { asked, available } = (yield* Effect.flip(processes[2]!.take(1))) as Escrow.Insufficient
      assert.deepStrictEqual([asked, available], [1, 0])
    })
  )

  it.effect("is one write for all that a process wants at a time", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let puts = 0
      const store: Store = {
        ...inner,
        put: (request) => {
          puts += 1
          return inner.put(request)
        }
      }
      const escrow = yield* on(store, 10_000, 1)
      yield* Effect.forEach(range(1000), (i) => (i % 2 === 0 ? escrow.take(3) : escrow.add(1)), {
        concurrency: "unbounded"
      })
      assert.strictEqual(yield* escrow.value, 9000)
      assert.isAtMost(puts, 3)
    })
  )

  it.effect("refuses numbers that are none, and options that cannot be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const escrow = yield* on(store, 5)
      for (const wrong of [0, -1, 0.5, Number.NaN, 2 ** 60]) {
        assert.strictEqual((yield* Effect.flip(escrow.take(wrong)))._tag, "StoreError")
        assert.strictEqual((yield* Effect.flip(escrow.add(wrong)))._tag, "StoreError")
      }
      assert.strictEqual(yield* escrow.value, 5)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(on(store, -1))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(on(store, 0, 65))))
    })
  )

  it.effect("tells a slot that no counter has written as corrupt", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* on(store, 10, 1)).take(1)
      const slot = `${key}/slot=00`
      const there = JSON.parse(new TextDecoder().decode((yield* store.get(slot)).body))
      assert.deepStrictEqual(there.d, { rights: 9, out: [], in: [] })
      for (const damage of [
        { rights: -5 },
        { out: [[99, 7]] },
        { out: [[-1, 3]] },
        { in: [[1, -2]] },
        {
          out: [
            [1, 2],
            [1, 3]
          ]
        }
      ]) {
        const body = new TextEncoder().encode(JSON.stringify({ ...there, d: { ...there.d, ...damage } }))
        yield* store.put({ key: slot, body })
        const escrow = yield* on(store, 10, 1)
        for (const asked of [escrow.value, escrow.take(1), escrow.add(1)]) {
          const error = yield* Effect.flip(asked)
          assert.strictEqual(error._tag === "StoreError" && error.reason._tag, "Corrupt", JSON.stringify(damage))
        }
      }
    })
  )

  it.effect("refuses what is too much for a number alone, and takes from more than a number can tell", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const reasonOf = (error: Escrow.Insufficient | StoreError) =>
        error._tag === "StoreError" ? error.reason._tag : error._tag
      const one = yield* on(store, 10, 1)
      const beside = yield* Effect.forEach(
        [one.take(1), one.add(Number.MAX_SAFE_INTEGER), one.take(2)],
        (asked) => Effect.result(asked),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        beside.map((result) => (Result.isSuccess(result) ? "done" : reasonOf(result.failure))),
        ["done", "InvalidArgument", "done"]
      )
      assert.strictEqual(yield* one.value, 7)
      const full = Number.MAX_SAFE_INTEGER - 7
      yield* one.add(full)
      // Others have as much in slots of their own.
      const others = [yield* on(store, 10, 64), yield* on(store, 10, 64)]
      yield* Random.withSeed(
        Effect.forEach(others, (other) => other.add(full), { discard: true }),
        "apart"
      )
      assert.strictEqual(reasonOf(yield* Effect.flip(one.value)), "Unsupported")
      yield* others[0]!.take(Number.MAX_SAFE_INTEGER)
      yield* others[1]!.take(Number.MAX_SAFE_INTEGER)
      assert.strictEqual(yield* one.value, full - 7)
      yield* one.take(full - 7)
      assert.strictEqual(yield* one.value, 0)
    })
  )

  it.effect("takes once where an answer was lost", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let lose: "after" | "before" | undefined
      const lost = new StoreError({
        operation: "put",
        reason: new Timeout({ description: "no answer", afterMillis: 1 })
      })
      const store: Store = {
        ...inner,
        put: (request) => {
          const when = lose
          lose = undefined
          if (when === undefined) return inner.put(request)
          return when === "after" ? Effect.andThen(inner.put(request), Effect.fail(lost)) : Effect.fail(lost)
        }
      }
      const escrow = yield* on(store, 20, 1)
      let taken = 0
      let unsure = 0
      for (const when of ["after", "before", undefined, "after", "before"] as const) {
        lose = when
        const outcome = yield* Effect.result(escrow.take(2))
        if (Result.isSuccess(outcome)) taken += 2
        else unsure += 2
      }
      const value = yield* escrow.value
      assert.isAtMost(value, 20 - taken)
      assert.isAtLeast(value, 20 - taken - unsure)
      assert.isAtLeast(taken, 6)
    })
  )
})

describe("Escrow, in every order of requests", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 1, limit: 120 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isAbove(outcome.schedules, 2)
      })
    )
    it.effect(`${name}, where one crashes, and what was sent once arrives twice`, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 0, crashes: 1, isRepeated: true, limit: 120 })
        assert.deepStrictEqual(outcome.violations, [])
      })
    )
  }
  const caught = {
    "blind-slots": "escrow: two that take the last",
    "hasty-slots": "escrow: two that take the last",
    "forgotten-arrivals": "escrow: two that take what is spread",
    "forgotten-ways": "escrow: two that find enough in different slots"
  }
  it("has a scenario for each build that is broken", () => assert.sameMembers(Object.keys(breaks), Object.keys(caught)))
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        const { violations } = yield* explore(scenarios[scenario]!, { break: breaks[name], crashes: 1, limit: 2000 })
        assert.isAbove(violations.length, 0)
      })
    )
  }
})
