import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { journalBreaks, runJournal } from "./journal.ts"
import { exploreJournal, scenarios } from "./journalOrders.ts"

/** A history of its own, by a clock of its own. */
const isolated = (seed: number, ops: number, broken?: string) =>
  Effect.provide(
    runJournal({ seed, ops, break: broken === undefined ? undefined : journalBreaks[broken] }),
    TestClock.layer()
  )

describe("the journal of documents on a store that fails in every way", () => {
  it.effect("three histories: each version is in it once, in the order of its document, and nothing else", () =>
    Effect.gen(function* () {
      let journaled = 0
      for (let seed = 1; seed <= 3; seed++) {
        const report = yield* isolated(seed, 60)
        assert.deepStrictEqual(report.violations, [], `seed ${seed}`)
        journaled += report.journaled
      }
      assert.isAbove(journaled, 100)
    })
  )

  for (const broken of Object.keys(journalBreaks)) {
    it.effect(`caught: ${broken}`, () =>
      Effect.gen(function* () {
        assert.isNotEmpty((yield* isolated(1, 60, broken)).violations)
      })
    )
  }

  for (const [name, scenario] of Object.entries(scenarios)) {
    it.effect(`in many orders of their requests: ${name}, and a journaler`, () =>
      Effect.gen(function* () {
        const { journaled, problems, report } = yield* exploreJournal(scenario, {
          journalers: 1,
          preemptions: 1,
          limit: 25
        })
        assert.deepStrictEqual(problems, [])
        assert.isAbove(journaled, report.schedules)
      })
    )
  }
})
