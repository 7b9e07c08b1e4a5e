import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Deadlines from "../../src/internal/deadlines.ts"

describe("deadlines that are equally far away", () => {
  it.effect("come one after the other, each once, but for those that are over", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const deadlines = Deadlines.make(1000)
      const seen: Array<string> = []
      const add = (name: string) => deadlines.add(clock, () => seen.push(name))
      const first = add("first")
      yield* TestClock.adjust("400 millis")
      const second = add("second")
      add("third")
      yield* TestClock.adjust("599 millis")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(seen, ["first"])
      deadlines.remove(first)
      deadlines.remove(second)
      yield* TestClock.adjust("400 millis")
      assert.deepStrictEqual(seen, ["first", "third"])
    })
  )

  it.effect("are looked after again after there were none, and where they are now", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let called = 0
      const deadlines = Deadlines.make(1000)
      deadlines.remove(deadlines.add(clock, () => (called += 1)))
      // Nobody is left, and no timer.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
      deadlines.add(clock, () => (called += 1))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(called, 1)
      const now = Deadlines.make(0)
      for (const expected of [2, 3]) {
        now.add(clock, () => (called += 1))
        assert.strictEqual(called, expected)
      }
    })
  )
})
