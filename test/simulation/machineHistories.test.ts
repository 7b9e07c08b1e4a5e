import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { machineBreaks, run } from "./machineHistories.ts"

const isolated = (seed: number, ops: number, broken?: string) =>
  Effect.provide(
    run({ seed, ops, break: broken === undefined ? undefined : machineBreaks[broken] }),
    TestClock.layer(),
    { local: true }
  )

describe("histories of machines", () => {
  it.effect("a history without a violation", () =>
    Effect.gen(function* () {
      const { crashes, violations } = yield* isolated(2, 20)
      assert.deepStrictEqual(violations, [])
      assert.isAbove(crashes, 0)
    })
  )

  // The others are in the deep test.
  it.effect("catches a broken build: hasty-actions", () =>
    Effect.gen(function* () {
      const { violations } = yield* isolated(2, 12, "hasty-actions")
      assert.isAbove(violations.length, 0)
    })
  )
})
