import { assert, describe, it } from "@effect/vitest"
import { settling } from "./journalModel.ts"

describe("many random histories of a model", () => {
  it("every committed version once, in the order of its document, and nothing else", () => {
    for (let seed = 100_000; seed < 100_700; seed++) {
      const { problem } = settling(seed)
      if (problem !== undefined) assert.fail(`seed ${seed}: ${problem}`)
    }
  }, 600_000)
})
