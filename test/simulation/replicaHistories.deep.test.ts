import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { type ReplicaBreak, replicaBreaks, run } from "./replicaHistories.ts"

const isolated = (seed: number, ops: number, broken?: ReplicaBreak) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer(), { local: true })

describe("histories of replicas, in depth", () => {
  it.effect("sixteen without a violation", () =>
    Effect.gen(function* () {
      let crashes = 0
      for (let seed = 1; seed <= 16; seed++) {
        const report = yield* isolated(seed, 100)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        crashes += report.crashes
      }
      assert.isAbove(crashes, 10)
    })
  )

  for (const [name, broken] of Object.entries(replicaBreaks)) {
    it.effect(`catches a broken build: ${name}`, () =>
      Effect.gen(function* () {
        let caught = 0
        for (let seed = 1; seed <= 20 && caught === 0; seed++) {
          caught += (yield* isolated(seed, 100, broken)).violations.length
        }
        assert.isAbove(caught, 0)
      })
    )
  }
})
