import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explore, scenarios } from "./queueOrders.ts"

describe("queues in many orders of requests", () => {
  for (const profile of ["aws", "rgw"] as const) {
    for (const [name, scenario] of Object.entries(scenarios)) {
      it.effect(
        `${name}, on a store like ${profile}`,
        () =>
          Effect.gen(function* () {
            for (const bounds of [{}, { preemptions: Math.min(1, scenario.preemptions - 1), crashes: 1 }]) {
              const outcome = yield* explore(scenario, { ...bounds, profile })
              assert.deepStrictEqual(outcome.violations, [])
              assert.isTrue(outcome.complete)
            }
          }),
        600_000
      )
    }
  }
})
