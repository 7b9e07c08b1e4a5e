import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { breaks, run } from "./counterHistories.ts"

describe("histories of counters", () => {
  it.effect(
    "12 histories without a violation",
    () =>
      Effect.gen(function* () {
        for (let seed = 1; seed <= 12; seed++) {
          const report = yield* Effect.provide(run({ seed, ops: 150 }), TestClock.layer(), { local: true })
          assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        }
      }),
    300_000
  )

  for (const name of [
    "blind-lanes",
    "forgotten-marks",
    "torn-folds",
    "early-trims",
    "one-number",
    "blind-slots",
    "hasty-slots",
    "forgotten-arrivals"
  ]) {
    it.effect(
      `catches a broken build: ${name}`,
      () =>
        Effect.gen(function* () {
          let violations = 0
          for (let seed = 1; seed <= 12 && violations === 0; seed++) {
            const history = run({ seed, ops: 60, break: breaks[name] })
            violations = (yield* Effect.provide(history, TestClock.layer(), { local: true })).violations.length
          }
          assert.isAbove(violations, 0)
        }),
      120_000
    )
  }
})
