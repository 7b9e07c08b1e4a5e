import { assert, describe, it } from "@effect/vitest"
import { type Break, type Outcome, run } from "./journalModel.ts"

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)

describe("random histories of a model", () => {
  for (const conditionalDelete of [true, false]) {
    it(`every committed version once, in order, and nothing else; conditional DELETE: ${conditionalDelete}`, () => {
      const sums = { committed: 0, dropped: 0, left: 0, crashes: 0, lost: 0 }
      for (const seed of range(1500, conditionalDelete ? 0 : 10_000)) {
        const outcome: Outcome = run({ seed, conditionalDelete, documents: 1 + (seed % 3), journalers: 1 + (seed % 2) })
        if (outcome.problem !== undefined) assert.fail(`seed ${seed}: ${outcome.problem}`)
        for (const name of Object.keys(sums) as Array<keyof typeof sums>) sums[name] += outcome[name]
      }
      if (process.env["JOURNAL_MODEL"] !== undefined) console.log(sums)
      // All of it happens.
      for (const [name, sum] of Object.entries(sums)) assert.isAbove(sum, 1000, name)
    })
  }

  const breaks: ReadonlyArray<Break> = [
    "entry after commit",
    "key put again",
    "removal before append",
    "append without condition",
    "one listing",
    "heads after the listing",
    "settled by clock",
    "committed by clock",
    "swept before append",
    "identity lost by abort",
    "begin without the log"
  ]
  for (const broken of breaks) {
    it(`caught: ${broken}`, () => {
      const caught = range(3000).find((seed) => run({ seed, breaks: broken }).problem !== undefined)
      if (process.env["JOURNAL_MODEL"] !== undefined) console.log(broken, caught)
      assert.isDefined(caught)
    })
  }
})
