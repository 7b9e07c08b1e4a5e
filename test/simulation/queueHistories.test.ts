import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./queueHistories.ts"
import { breaks } from "./queueOrders.ts"

const isolated = (seed: number, ops: number, broken?: (typeof breaks)[string]) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of a queue", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* isolated(1, 40), yield* isolated(1, 40)]
      assert.isAbove(one.trace.length, 50)
      assert.deepStrictEqual(one.trace, two.trace)
    })
  )

  it.effect("two histories without a violation", () =>
    Effect.gen(function* () {
      for (let seed = 100; seed < 102; seed++) {
        assert.deepStrictEqual((yield* isolated(seed, 60)).violations, [], `seed ${seed}`)
      }
    })
  )

  // Each with a seed that shows it.
  const seeds: Readonly<Record<string, number>> = {
    "blind-queues": 1,
    "deleted-queues": 4,
    "forgotten-tokens": 2,
    "forgotten-ids": 1,
    "forgotten-claims": 1
  }
  for (const [name, broken] of Object.entries(breaks)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        assert.isAbove((yield* isolated(seeds[name]!, 150, broken)).violations.length, 0)
      })
    )
  }
})
