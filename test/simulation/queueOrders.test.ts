import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, breaksOfRemovals, explore, scenarios } from "./queueOrders.ts"

// More orders of all are in the deep test.
const some = Object.entries(scenarios).filter(([name]) => !name.includes("collection"))

describe("queues in every order of requests", () => {
  for (const [name, scenario] of some) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 1 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isTrue(outcome.complete)
        assert.isAbove(outcome.schedules, 2)
      })
    )
  }

  for (const [name, scenario] of some) {
    it.effect(`${name}, where one crashes`, () =>
      Effect.gen(function* () {
        const outcome = yield* explore(scenario, { preemptions: 0, crashes: 1 })
        assert.deepStrictEqual(outcome.violations, [])
        assert.isTrue(outcome.complete)
      })
    )
  }

  const all = { ...breaks, ...breaksOfRemovals }
  const caught = {
    "blind-queues": "queue: two workers and an offer",
    "deleted-queues": "queue: a worker that stands still, and one that takes over",
    "forgotten-tokens": "queue: a worker that stands still, and one that takes over",
    "forgotten-ids": "queue: one message offered by two, and a worker",
    "forgotten-claims": "queue: two workers and an offer",
    "recounted-queues": "queue: a worker, and one that removes the queue and begins it anew"
  }
  it("has a scenario for each build that is broken", () => assert.sameMembers(Object.keys(all), Object.keys(caught)))
  for (const [name, scenario] of Object.entries(caught)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        const { violations } = yield* explore(scenarios[scenario]!, { break: all[name] })
        assert.isAbove(violations.length, 0)
      })
    )
  }
})
