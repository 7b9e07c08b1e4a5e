import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks, breaksOfVersions } from "./breaks.ts"
import { histories, isolated } from "./histories.ts"

describe("simulation", () => {
  it.effect("the same seed gives the same history", () =>
    Effect.gen(function* () {
      const one = yield* isolated(1, 40)
      const two = yield* isolated(1, 40)
      assert.isAbove(one.trace.length, 100)
      assert.deepStrictEqual(one.trace, two.trace)
      const other = yield* isolated(2, 40)
      assert.notDeepEqual(one.trace, other.trace)
    })
  )

  it.effect("three histories without a violation", () => histories(100, 3, 60))

  it.effect("keys that show what was there a while ago, and not what has come since, are caught", () =>
    Effect.gen(function* () {
      const found: Array<string> = []
      for (let seed = 1; seed < 9 && found.length === 0; seed++) {
        found.push(...(yield* isolated(seed, 120, breaks["remembered-keys"])).violations)
      }
      assert.include(found[0], "which was there all the time")
    })
  )

  for (const [name, broken] of Object.entries(breaksOfVersions)) {
    it.effect(`an older program that harms what only a newer one knows is caught: ${name}`, () =>
      Effect.gen(function* () {
        let caught = 0
        for (const seed of [4, 10, 13, 14]) {
          if (caught === 0) caught += (yield* isolated(seed, 200, broken)).violations.length
        }
        assert.isAbove(caught, 0)
      })
    )
  }
})
