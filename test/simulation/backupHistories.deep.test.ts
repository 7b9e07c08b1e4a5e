import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { type BackupBreak, backupBreaks, run } from "./backupHistories.ts"

const isolated = (seed: number, ops: number, broken?: BackupBreak) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of backups, in depth", () => {
  it.effect("twenty without a violation", () =>
    Effect.gen(function* () {
      let crashes = 0
      for (let seed = 1; seed <= 20; seed++) {
        const report = yield* isolated(seed, 60)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        crashes += report.crashes
      }
      assert.isAbove(crashes, 20)
    })
  )

  for (const [name, broken] of Object.entries(backupBreaks)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        let caught = 0
        for (let seed = 1; seed <= 20 && caught === 0; seed++) {
          caught += (yield* isolated(seed, 60, broken)).violations.length
        }
        assert.isAbove(caught, 0)
      })
    )
  }
})
