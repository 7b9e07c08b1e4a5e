import { describe, it } from "@effect/vitest"
import { histories } from "./histories.ts"

describe("simulation", () => {
  it.effect("a hundred histories without a violation", () => histories(100, 100, 120))
})
