import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./replicaHistories.ts"

const isolated = (seed: number, ops: number) => Effect.provide(run({ seed, ops }), TestClock.layer(), { local: true })

describe("histories of replicas", () => {
  it.effect("a table and another database: they end as their source", () =>
    Effect.gen(function* () {
      for (const seed of [1, 2]) {
        const { faults, violations } = yield* isolated(seed, 16)
        assert.deepStrictEqual(violations, [], `seed ${seed}`)
        assert.isAbove(faults["errorAfter"] ?? 0, 0)
      }
    })
  )
})
