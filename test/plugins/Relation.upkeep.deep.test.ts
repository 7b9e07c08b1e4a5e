import { describe, it } from "@effect/vitest"
import { crashes, killed, mishaps } from "./library.ts"

describe("Relation, killed at each request", () => {
  for (const [title, write, after] of killed) {
    it.effect(`${title} comes to its end`, () => crashes(1, write, after), 600_000)
  }
})

// Each of them takes a while: some of the requests, of each mishap others.
describe("Relation, at requests of a cascade", () => {
  for (const [i, mishap] of mishaps.entries()) {
    for (const [title, write, after] of killed) {
      it.effect(`${title} comes to its end, ${mishap}`, () => crashes([7, 11, 13, 17][i]!, write, after, mishap))
    }
  }
})

describe("Relation, between clocks that differ by an hour and more", () => {
  for (const [first, second] of [
    [3_600_000, -3_600_000],
    [-3_600_000, 3_600_000]
  ] as const) {
    for (const [title, write, after] of killed) {
      const which = first > second ? "later" : "earlier"
      it.effect(`${title} comes to its end by who has the ${which} clock`, () =>
        crashes(19, write, after, "crash", { first, second })
      )
    }
  }
})
