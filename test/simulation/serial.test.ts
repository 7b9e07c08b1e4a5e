import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks } from "./breaks.ts"
import { type Bounds, explore, scenarios } from "./serial.ts"

const holds = Effect.fnUntraced(function* (name: string, bounds: Bounds) {
  const outcome = yield* explore(scenarios[name]!, bounds)
  assert.deepStrictEqual(outcome.violations, [])
  assert.isTrue(outcome.complete)
  return outcome
})

describe("operations in every order of their requests", () => {
  for (const name of Object.keys(scenarios)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { schedules } = yield* holds(name, { preemptions: 1 })
        assert.isAbove(schedules, 5)
      })
    )
  }

  // That a deletion is read and then deleted is said of such stores in docs/design/write-path.md.
  const apart = ["two deletions of what has to be there", "content and a deletion"]
  for (const name of Object.keys(scenarios).filter((name) => !apart.includes(name) && !name.includes("three"))) {
    it.effect(`${name}, on a store that ignores conditions on DELETE`, () =>
      holds(name, { preemptions: 1, profile: "rgw" }).pipe(Effect.asVoid)
    )
  }
})

describe("a client that crashes at any of its requests, before or after another", () => {
  for (const name of Object.keys(scenarios).filter((name) => !name.includes("three"))) {
    it.effect(name, () => holds(name, { preemptions: 0, crashes: 1 }).pipe(Effect.asVoid))
  }
})

describe("transactions whose client stands still until another has ended them", () => {
  for (const name of ["a transfer and a sum", "a transfer and an update", "a transfer and a deletion"]) {
    it.effect(name, () => holds(name, { preemptions: 2, pause: "11 seconds" }).pipe(Effect.asVoid))
  }
})

describe("builds that are wrong are caught", () => {
  const caught: ReadonlyArray<readonly [keyof typeof breaks, string, Bounds]> = [
    ["late-markers", "two updates that move a document", { preemptions: 0, crashes: 1 }],
    ["no-write-id", "two inserts of one id", { preemptions: 0 }],
    ["blind-writes", "two updates that move a document", { preemptions: 1 }],
    ["blind-claims", "two inserts of one unique value", { preemptions: 1 }],
    ["blind-deletions", "two deletions of what has to be there", { preemptions: 1 }],
    ["blind-commits", "a transfer and an update", { preemptions: 2, pause: "11 seconds" }]
  ]
  for (const [name, scenario, bounds] of caught) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { violations } = yield* explore(scenarios[scenario]!, { ...bounds, break: breaks[name] })
        assert.isAbove(violations.length, 0)
      })
    )
  }
  it("all of them", () =>
    assert.sameMembers(
      caught.map(([name]) => name),
      Object.keys(breaks)
    ))
})
