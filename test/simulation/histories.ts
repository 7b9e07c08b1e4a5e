import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type { Break } from "./breaks.ts"
import { run } from "./simulation.ts"

/** A history of its own, by a clock of its own. */
export const isolated = (seed: number, ops: number, broken?: Break) =>
  Effect.provide(run({ seed, ops, break: broken }), TestClock.layer())

/** Runs so many histories, which have to be without a violation, but not without faults. */
export const histories = Effect.fnUntraced(function* (first: number, count: number, ops: number) {
  let faults = 0
  for (let seed = first; seed < first + count; seed++) {
    const report = yield* isolated(seed, ops)
    assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
    for (const found of Object.values(report.faults)) faults += found
  }
  assert.isAbove(faults, (count * ops * 5) / 12)
})
