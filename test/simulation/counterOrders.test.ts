import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, explore, scenarios } from "./counterOrders.ts"

// More orders of all are in the deep test.
const some = ["counter: two folds", "counter: a fold, and operations that come late", "counter: two that apply"]

describe("counters in every order of requests", () => {
  for (const name of some) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenarios[name]!, { preemptions: 1 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isTrue(outcome.complete)
        assert.isAbove(outcome.schedules, 2)
      })
    )
  }

  it.effect("where one crashes, and what was sent once arrives twice", () =>
    Effect.gen(function* () {
      const outcome = yield* explore(scenarios[some[1]!]!, { preemptions: 0, crashes: 1, isRepeated: true })
      assert.deepStrictEqual(outcome.violations, [])
      assert.isTrue(outcome.complete)
    })
  )

  const caught = {
    "blind-lanes": "counter: two that add, the first in their lane",
    "forgotten-marks": "counter: two folds",
    "forgotten-refusals": "counter: two that take what is not there for both, and a fold",
    "torn-folds": "counter: two folds",
    "early-trims": "counter: two folds",
    "renumbered-lanes": "counter: a fold, and operations that come late",
    "one-number": "counter: a fold, and operations that come late"
  }
  it("has a scenario for each build that is broken", () => assert.sameMembers(Object.keys(breaks), Object.keys(caught)))
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        const { violations } = yield* explore(scenarios[scenario]!, { break: breaks[name], crashes: 1 })
        assert.isAbove(violations.length, 0)
      })
    )
  }
})
