import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explore, scenarios } from "./counterOrders.ts"

describe("counters in every order of requests", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(
      name,
      () =>
        Effect.gen(function* () {
          const outcome = yield* explore(scenario, { limit: 250 })
          assert.deepStrictEqual(outcome.violations, [])
          assert.isAbove(outcome.schedules, 2)
        }),
      120_000
    )
    for (const isRepeated of [false, true]) {
      it.effect(
        `${name}, where one crashes${isRepeated ? ", and what was sent once arrives twice" : ""}`,
        () =>
          Effect.gen(function* () {
            const outcome = yield* explore(scenario, { preemptions: 0, crashes: 1, isRepeated })
            assert.deepStrictEqual(outcome.violations, [])
            assert.isTrue(outcome.complete)
          }),
        120_000
      )
    }
  }
})
