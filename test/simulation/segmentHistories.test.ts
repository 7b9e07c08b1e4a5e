import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run, type SegmentBreak, segmentBreaks } from "./segmentHistories.ts"

const isolated = (seed: number, ops: number, broken?: SegmentBreak) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of segments", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* isolated(1, 40), yield* isolated(1, 40)]
      assert.isAbove(one.trace.length, 100)
      assert.deepStrictEqual(one.trace, two.trace)
    })
  )

  it.effect("two histories without a violation", () =>
    Effect.gen(function* () {
      let crashes = 0
      for (let seed = 100; seed < 102; seed++) {
        const report = yield* isolated(seed, 80)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        crashes += report.crashes
      }
      assert.isAbove(crashes, 0)
    })
  )

  for (const [name, broken] of Object.entries(segmentBreaks)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        let caught = 0
        for (let seed = 1; seed <= 20 && caught === 0; seed++) {
          caught += (yield* isolated(seed, 120, broken)).violations.length
        }
        assert.isAbove(caught, 0)
      })
    )
  }
})
