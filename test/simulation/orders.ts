/** The tests of serial.ts, of some scenarios or of all. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Bounds, explore, scenarios } from "./serial.ts"

const holds = Effect.fnUntraced(function* (name: string, bounds: Bounds) {
  const outcome = yield* explore(scenarios[name]!, bounds)
  assert.deepStrictEqual(outcome.violations, [])
  assert.isTrue(outcome.complete)
  return outcome
})

// That a deletion is read and then deleted is said of such stores in docs/design/write-path.md.
const apart = ["two deletions of what has to be there", "content and a deletion"]

export interface Extent {
  /** Of two clients' operations, in every order. */
  readonly orders: ReadonlyArray<string>
  /** The same on a store that ignores conditions on DELETE, where they hold there. */
  readonly unconditional: ReadonlyArray<string>
  readonly crashes: ReadonlyArray<string>
  readonly pauses: ReadonlyArray<string>
  /** How often a client is kept waiting. */
  readonly preemptions: number
  /** The same where a client also crashes. */
  readonly preemptionsOfCrashes: number
}

/** Registers the tests. */
export const orders = (extent: Extent): void => {
  const { preemptions } = extent
  const two = (names: ReadonlyArray<string>) => names.filter((name) => !name.includes("three"))

  describe("operations in every order of their requests", () => {
    for (const name of extent.orders) {
      it.effect(name, () =>
        Effect.gen(function* () {
          const { schedules } = yield* holds(name, { preemptions })
          assert.isAbove(schedules, 5)
        })
      )
    }
    for (const name of two(extent.unconditional).filter((name) => !apart.includes(name))) {
      it.effect(`${name}, on a store that ignores conditions on DELETE`, () =>
        holds(name, { preemptions, profile: "rgw" }).pipe(Effect.asVoid)
      )
    }
  })

  describe("a client that crashes at any of its requests, before or after another", () => {
    for (const name of two(extent.crashes)) {
      it.effect(name, () => holds(name, { preemptions: extent.preemptionsOfCrashes, crashes: 1 }).pipe(Effect.asVoid))
    }
  })

  describe("transactions whose client stands still until another has ended them", () => {
    for (const name of extent.pauses) {
      it.effect(name, () => holds(name, { preemptions: 2, pause: "11 seconds" }).pipe(Effect.asVoid))
    }
  })
}
