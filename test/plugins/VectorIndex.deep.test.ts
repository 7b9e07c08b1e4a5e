import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { history } from "./nearby.ts"

describe("histories of indexes of vectors", () => {
  it.effect("show no document that is gone, and miss none that is committed where it is asked for", () =>
    Effect.gen(function* () {
      for (let seed = 100; seed < 400; seed++) yield* Effect.scoped(history(seed))
    })
  )
})
