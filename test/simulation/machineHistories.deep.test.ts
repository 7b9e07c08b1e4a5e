import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { machineBreaks, run } from "./machineHistories.ts"

describe("histories of machines", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const one = yield* Effect.provide(run({ seed: 5, ops: 60 }), TestClock.layer(), { local: true })
      const two = yield* Effect.provide(run({ seed: 5, ops: 60 }), TestClock.layer(), { local: true })
      assert.isAbove(one.trace.length, 200)
      assert.deepStrictEqual(one.trace, two.trace)
    })
  )

  it.effect(
    "14 histories without a violation",
    () =>
      Effect.gen(function* () {
        let crashes = 0
        let unknown = 0
        for (let seed = 1; seed <= 14; seed++) {
          const report = yield* Effect.provide(run({ seed, ops: 90 }), TestClock.layer(), { local: true })
          assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
          crashes += report.crashes
          unknown += report.unknown
        }
        assert.isAbove(crashes, 4)
        assert.isAbove(unknown, 0)
      }),
    600_000
  )

  for (const [name, broken] of Object.entries(machineBreaks)) {
    it.effect(
      `catches a broken build: ${name}`,
      () =>
        Effect.gen(function* () {
          // Not each history meets each fault: from the first one on that does.
          let violations = 0
          for (let seed = 1; seed <= 20 && violations === 0; seed++) {
            const history = run({ seed, ops: 60, break: broken })
            violations = (yield* Effect.provide(history, TestClock.layer(), { local: true })).violations.length
          }
          assert.isAbove(violations, 0)
        }),
      300_000
    )
  }
})
