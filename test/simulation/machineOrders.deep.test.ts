import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, explore, scenarios } from "./machineOrders.ts"

describe("machines in every order of requests", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(
      name,
      () =>
        Effect.gen(function* () {
          const outcome = yield* explore(scenario, { limit: 250 })
          assert.deepStrictEqual(outcome.violations, [])
          assert.isAbove(outcome.schedules, 2)
        }),
      300_000
    )
    it.effect(
      `${name}, where one crashes, and what was sent once arrives twice`,
      () =>
        Effect.gen(function* () {
          const outcome = yield* explore(scenario, { preemptions: 0, crashes: 1, isRepeated: true })
          assert.deepStrictEqual(outcome.violations, [])
          assert.isTrue(outcome.complete)
        }),
      300_000
    )
  }

  const caught = {
    "blind-events": "machine: two events that both are taken",
    "forgotten-events": "machine: the same event of two",
    "late-triggers": "machine: an event, and a trigger that is due",
    "late-pasts": "machine: two events while older transitions are put away"
  }
  it("has a scenario for each build that is broken", () => assert.sameMembers(Object.keys(breaks), Object.keys(caught)))
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(
      `catches a broken build: ${name}`,
      () =>
        Effect.gen(function* () {
          const isLate = name.startsWith("late-")
          const bounds = { preemptions: isLate ? 0 : 1, crashes: isLate ? 1 : 0 }
          const { violations } = yield* explore(scenarios[scenario]!, { ...bounds, break: breaks[name] })
          assert.isAbove(violations.length, 0)
        }),
      120_000
    )
  }
})
