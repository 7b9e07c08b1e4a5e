/** A log that many change at once, in every order of requests with two preemptions. */
import { describe, it } from "@effect/vitest"
import { atOnce } from "./appendLogOrders.ts"

describe("AppendLog in depth", () => {
  it.effect("appends, compaction, retention and collection at once, in every order of requests", () => atOnce(2))
})
