import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, explore, scenarios } from "./relationOrders.ts"

describe("relations in every order of requests", () => {
  // More orders are in the deep test.
  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 1, limit: 5 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isAbove(outcome.schedules, 2)
      })
    )
  }

  const caught = {
    "forgotten-notes": "relation: a parent is deleted by two",
    "blind-cascades": "relation: a parent is deleted, and a child moves to another"
  }
  it("has a scenario for each build that is broken", () => assert.sameMembers(Object.keys(breaks), Object.keys(caught)))
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        const crashes = name === "forgotten-notes" ? 1 : 0
        const { violations } = yield* explore(scenarios[scenario]!, { break: breaks[name], preemptions: 1, crashes })
        assert.isAbove(violations.length, 0)
      })
    )
  }
})
