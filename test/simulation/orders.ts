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

export interface Extent {
  /** Of two clients' operations, in every order. */
  readonly orders: ReadonlyArray<string>
  /** The same on a store that ignores conditions on DELETE. */
  readonly unconditional: ReadonlyArray<string>
  /** The same on a store in a network, whose answers may be lost. */
  readonly remote: ReadonlyArray<string>
  /** The same where a client is interrupted, on such a store. */
  readonly interruptions: ReadonlyArray<string>
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
          assert.isAbove(schedules, 2)
        })
      )
    }
    for (const name of two(extent.unconditional)) {
      it.effect(`${name}, on a store that ignores conditions on DELETE`, () =>
        holds(name, { preemptions, profile: "rgw" }).pipe(Effect.asVoid)
      )
    }
    for (const name of two(extent.remote)) {
      it.effect(`${name}, on a store in a network`, () =>
        holds(name, { preemptions, remote: true }).pipe(Effect.asVoid)
      )
    }
  })

  describe("a client that is interrupted at any of its requests, before or after another", () => {
    for (const name of two(extent.interruptions)) {
      it.effect(name, () =>
        holds(name, { preemptions: extent.preemptionsOfCrashes, interruptions: 1, remote: true }).pipe(Effect.asVoid)
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
