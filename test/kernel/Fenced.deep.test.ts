/** What only the holder of a lease may write, in more orders of requests. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Case, violations } from "./fencedOrders.ts"

const all: Readonly<Record<string, Case>> = {
  "two processes": { actors: ["a", "b"] },
  "two processes, one of which crashes at any request": { actors: ["a", "b"], crashes: 1, preemptions: 2 },
  "three processes": { actors: ["a", "b", "c"], silent: ["b"], preemptions: 2 }
}

describe("Fenced in depth", () => {
  for (const [name, bounds] of Object.entries(all)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { endings, found } = yield* violations(bounds)
        assert.deepStrictEqual(found, [])
        assert.isAbove(endings.size, 2)
      })
    )
  }
})
