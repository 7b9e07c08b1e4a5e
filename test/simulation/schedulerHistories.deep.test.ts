import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./schedulerHistories.ts"

describe("many histories of schedulers", () => {
  it.effect("twenty without a violation", () =>
    Effect.gen(function* () {
      for (let seed = 5000; seed < 5020; seed++) {
        const { violations } = yield* Effect.provide(run({ seed, ops: 90 }), TestClock.layer(), { local: true })
        assert.deepStrictEqual(violations, [], `seed ${seed}`)
      }
    })
  )
})
