import { describe, it } from "@effect/vitest"
import { histories } from "./histories.ts"

describe("simulation", () => {
  it.effect("fifty histories without a violation", () => histories(100, 50, 120))
})
