import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { run } from "./queueHistories.ts"

describe("many histories of a queue", () => {
  it.live(
    "twenty-five without a violation",
    () =>
      Effect.gen(function* () {
        for (let seed = 5000; seed < 5025; seed++) {
          const { violations } = yield* Effect.provide(run({ seed, ops: 150 }), TestClock.layer(), { local: true })
          assert.deepStrictEqual(violations, [], `seed ${seed}`)
        }
      }),
    600_000
  )
})
