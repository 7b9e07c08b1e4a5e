/** The journal of documents: many orders of requests, on a folder, and between processes of which many are killed. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as FileStore from "effect-s3db/storage/FileStore"
import { newFolder } from "../kernel/contention.ts"
import { runJournal } from "./journal.ts"
import { exploreJournal, scenarios } from "./journalOrders.ts"
import { processes, suite } from "./journalStores.ts"

describe("the journal of documents", () => {
  it.effect(
    "eight histories on a store that fails in every way",
    () =>
      Effect.gen(function* () {
        for (let seed = 500; seed < 508; seed++) {
          const { violations } = yield* Effect.provide(runJournal({ seed, ops: 100 }), TestClock.layer())
          assert.deepStrictEqual(violations, [], `seed ${seed}`)
        }
      }),
    600_000
  )

  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(
      `${name}, a journaler, and a crash`,
      () =>
        Effect.gen(function* () {
          const { problems } = yield* exploreJournal(scenario, {
            journalers: 1,
            preemptions: 1,
            crashes: 1,
            limit: 600
          })
          assert.deepStrictEqual(problems, [])
        }),
      600_000
    )

    it.effect(
      `${name}, and two journalers`,
      () =>
        Effect.gen(function* () {
          const { problems } = yield* exploreJournal(scenario, { journalers: 2, preemptions: 1, limit: 400 })
          assert.deepStrictEqual(problems, [])
        }),
      600_000
    )
  }
})

suite(
  "a folder",
  Effect.suspend(() => FileStore.make({ path: newFolder(), durability: "none" })),
  25
)
processes(20)
