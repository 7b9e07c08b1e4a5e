import { describe, it } from "@effect/vitest"
import { crashes, killed } from "./library.ts"

describe("Relation, killed at each request", () => {
  for (const [title, write, after] of killed) {
    it.effect(`${title} comes to its end`, () => crashes(1, write, after), 600_000)
  }
})
