import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { breaks } from "./breaks.ts"
import { orders } from "./orders.ts"
import { type Bounds, explore, scenarios } from "./serial.ts"

// One of each kind: all of them, and more orders, are in the deep test.
const some = [
  "two inserts of one unique value",
  "a deletion and an insert of the id",
  "two transfers",
  "two documents that swap their unique values, and a look",
  "updates that keep their history",
  "content and a deletion",
  "a deletion and an insert, with a companion",
  "an update and a deletion, with a journal",
  "a discard and a replacement of a document that tells what it owned"
]

orders({
  orders: [...some, "a transfer, an update, and a sweep", "two transactions that list, and write what the other lists"],
  unconditional: ["an upsert and a deletion", "a discard and an insert of a document that tells nothing"],
  remote: ["a deletion with history and an insert"],
  interruptions: ["a deletion and an insert of the id"],
  crashes: [
    "two updates that move a document",
    "two transfers",
    "an update and a deletion, with a journal",
    "a discard and an insert of a document that tells nothing"
  ],
  pauses: ["a transfer and an update"],
  preemptions: 1,
  preemptionsOfCrashes: 0
})

describe("stores that differ", () => {
  for (const profile of ["r2", "rgw", "express"] as const) {
    it.effect(profile, () =>
      Effect.gen(function* () {
        for (const scenario of ["a deletion and an insert of the id", "two transfers"]) {
          const { schedules, violations } = yield* explore(scenarios[scenario]!, { preemptions: 1, limit: 2, profile })
          assert.isAbove(schedules, 0)
          assert.deepStrictEqual(violations, [])
        }
      })
    )
  }
})

/** What needs answers that are lost, or reads by keys alone: `npm run simulate` catches it. */
const bySimulation = ["guessed-deletions", "remembered-keys"]

describe("builds that are wrong are caught", () => {
  const caught: ReadonlyArray<readonly [keyof typeof breaks, string, Bounds]> = [
    ["late-markers", "two updates that move a document", { preemptions: 0, crashes: 1 }],
    ["late-companions", "two updates that move the keys of a companion", { preemptions: 0, crashes: 1 }],
    ["unnamed-companions", "two updates that move the keys of a companion", { preemptions: 0 }],
    ["late-entries", "an update and a deletion, with a journal", { preemptions: 0, crashes: 1 }],
    ["no-write-id", "two inserts of one id", { preemptions: 0 }],
    ["blind-writes", "two updates that move a document", { preemptions: 1 }],
    ["blind-claims", "two inserts of one unique value", { preemptions: 1 }],
    ["blind-deletions", "two deletions of what has to be there", { preemptions: 1 }],
    ["blind-commits", "a transfer and an update", { preemptions: 2, pause: "11 seconds" }],
    ["recreated-commits", "a transfer, an update, and a sweep", { preemptions: 2, pause: "11 seconds" }]
  ]
  for (const [name, scenario, bounds] of caught) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const { preemptions: _, ...rest } = scenarios[scenario]!
        const { violations } = yield* explore(rest, { ...bounds, break: breaks[name] })
        assert.isAbove(violations.length, 0)
      })
    )
  }
  it("all of them", () => assert.sameMembers([...caught.map(([name]) => name), ...bySimulation], Object.keys(breaks)))
})
