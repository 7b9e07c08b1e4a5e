/** A log that many change at once, in every order of requests with two preemptions. */
import { describe, it } from "@effect/vitest"
import { atOnce, journalers, titleOf } from "./appendLogOrders.ts"

describe("AppendLog in depth", () => {
  it.effect("appends, compaction, retention and collection at once, in every order of requests", () => atOnce(2))

  for (const fenced of [true, false]) {
    for (const crashes of [0, 1]) {
      it.effect(`two who append what is pending, ${titleOf({ fenced, crashes })}`, () =>
        journalers({ fenced, crashes, preemptions: crashes > 0 ? 1 : 2 })
      )
    }
  }
})
