import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { explored, forgetting } from "./segmentOrders.ts"

describe("Segments, two who commit and one who collects, in every order of their requests", () => {
  it.effect("no commit names what a collection takes", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* explored((store) => store, ["a", "b"]), 0)
    })
  )

  it.effect("the exploration finds a collector that does not raise the floor", () =>
    Effect.gen(function* () {
      assert.isAbove(yield* explored(forgetting, ["a", "b"]), 0)
    })
  )
})
