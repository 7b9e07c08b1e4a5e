import { assert, describe, it } from "@effect/vitest"
import { breaks, settling } from "./journalModel.ts"

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)

describe("random histories of a model", () => {
  it("every committed version once, in the order of its document, and nothing else", () => {
    const sums = { committed: 0, dropped: 0, left: 0, crashes: 0, lost: 0 }
    for (const seed of range(50, 50_000)) {
      const outcome = settling(seed)
      if (outcome.problem !== undefined) assert.fail(`seed ${seed}: ${outcome.problem}`)
      for (const name of Object.keys(sums) as Array<keyof typeof sums>) sums[name] += outcome[name]
    }
    // All of it happens.
    for (const [name, sum] of Object.entries(sums)) assert.isAbove(sum, 50, name)
  })

  for (const [broken, seed] of Object.entries(breaks)) {
    it(`caught: ${broken}`, () => {
      const caught = range(30, seed).find((one) => settling(one, broken as keyof typeof breaks).problem !== undefined)
      assert.isDefined(caught)
    })
  }
})
