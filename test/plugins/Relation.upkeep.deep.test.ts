import { describe, it } from "@effect/vitest"
import { crashes, killed, mishaps } from "./library.ts"

describe("Relation, killed at each request", () => {
  for (const [title, write, after] of killed) {
    it.effect(`${title} comes to its end`, () => crashes(1, write, after), 600_000)
  }
})

// Each of them takes a while: every other request, and every third one.
describe("Relation, at requests of a cascade", () => {
  for (const mishap of mishaps) {
    for (const [title, write, after] of killed) {
      it.effect(`${title} comes to its end, ${mishap}`, () => crashes(2, write, after, mishap), 600_000)
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
      it.effect(
        `${title} comes to its end by who has the ${which} clock`,
        () => crashes(3, write, after, "crash", { first, second }),
        600_000
      )
    }
  }
})
