import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./simulation.ts"

const isolated = (seed: number, ops: number) => Effect.provide(run({ seed, ops }), TestClock.layer())

describe("simulation", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const one = yield* isolated(1, 60)
      const two = yield* isolated(1, 60)
      assert.isAbove(one.trace.length, 100)
      assert.deepStrictEqual(one.trace, two.trace)
      const other = yield* isolated(2, 60)
      assert.notDeepEqual(one.trace, other.trace)
    })
  )

  it.effect("forty histories without a violation", () =>
    Effect.gen(function* () {
      let faults = 0
      for (let seed = 100; seed < 140; seed++) {
        const report = yield* isolated(seed, 120)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        for (const count of Object.values(report.faults)) faults += count
      }
      assert.isAbove(faults, 2000)
    })
  )
})
