import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { exploring } from "./cacheInterleavings.ts"

describe("Cache, races, deep", () => {
  it.effect("nothing old comes back in any order of requests of a reader and a writer, with two preemptions", () =>
    Effect.map(exploring({ preemptions: 2 }), ({ complete }) => assert.isTrue(complete))
  )

  it.effect("nor if one of them crashes at any request, once what it could not tell is too old", () =>
    Effect.map(exploring({ preemptions: 2, crashes: 1 }), ({ complete }) => assert.isTrue(complete))
  )
})
