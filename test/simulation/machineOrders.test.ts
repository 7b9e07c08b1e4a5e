import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, explore, scenarios } from "./machineOrders.ts"

// All of them, more orders of each, and those that crash, are in the deep test.
describe("machines in every order of requests", () => {
  it.effect("two events that both are taken", () =>
    Effect.gen(function* () {
      const outcome = yield* explore(scenarios["machine: two events that both are taken"]!, {
        preemptions: 1,
        limit: 4
      })
      assert.deepStrictEqual(outcome.violations, [])
      assert.isAbove(outcome.schedules, 2)
    })
  )

  const caught = {
    "blind-events": "machine: two events that both are taken",
    "forgotten-events": "machine: the same event of two"
  }
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        const { violations } = yield* explore(scenarios[scenario]!, { preemptions: 1, break: breaks[name] })
        assert.isAbove(violations.length, 0)
      })
    )
  }
})
