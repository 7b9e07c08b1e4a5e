import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { breaks, run } from "./counterHistories.ts"

const isolated = (seed: number, ops: number, broken?: (typeof breaks)[string]) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of counters", () => {
  it.effect("a history without a violation", () =>
    Effect.gen(function* () {
      const { crashes, violations } = yield* isolated(100, 60)
      assert.deepStrictEqual(violations, [])
      assert.isAbove(crashes, 0)
    })
  )

  // Others are in the deep test; what begins anew is met by orders alone, since a lane is seldom empty here.
  for (const name of ["blind-lanes", "forgotten-marks"]) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        // Not each history meets each fault: from the first one on that does.
        let violations = 0
        for (let seed = 1; seed <= 12 && violations === 0; seed++) {
          violations = (yield* isolated(seed, 60, breaks[name])).violations.length
        }
        assert.isAbove(violations, 0)
      })
    )
  }
})
