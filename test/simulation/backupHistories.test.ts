import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./backupHistories.ts"

describe("histories of backups", () => {
  it.effect("every backup is whole, and was there at one instant where it says so", () =>
    Effect.gen(function* () {
      let crashes = 0
      for (const seed of [2, 4]) {
        const report = yield* Effect.provide(run({ seed, ops: 24 }), TestClock.layer(), { local: true })
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        crashes += report.crashes
      }
      assert.isAbove(crashes, 0)
    })
  )
})
