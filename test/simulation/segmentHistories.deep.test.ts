import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./segmentHistories.ts"

describe("histories of segments, in depth", () => {
  it.effect("forty without a violation", () =>
    Effect.gen(function* () {
      for (let seed = 1000; seed < 1040; seed++) {
        const { violations } = yield* Effect.provide(run({ seed, ops: 150 }), TestClock.layer(), { local: true })
        assert.deepStrictEqual(violations, [], `seed ${seed}`)
      }
    })
  )
})
