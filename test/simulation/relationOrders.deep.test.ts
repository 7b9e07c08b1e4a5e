import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explore, scenarios } from "./relationOrders.ts"

/** Of three processes there may be more orders. */
const limit = 300

describe("relations in every order of requests", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    const isOfTwo = Object.keys(scenario.programs).length === 2
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 1, limit })
        assert.deepStrictEqual(outcome.violations, [])
        if (isOfTwo) assert.isTrue(outcome.complete)
      })
    )

    it.effect(`${name}, where one crashes`, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 0, crashes: 1, limit })
        assert.deepStrictEqual(outcome.violations, [])
        if (isOfTwo) assert.isTrue(outcome.complete)
      })
    )
  }
})
