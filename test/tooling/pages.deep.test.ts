import { assert, describe, it } from "vitest"
import { problems } from "./made.ts"

describe("the pages", () => {
  it("are in the index, are what the source says, and lead to what is there", () =>
    assert.deepStrictEqual(problems(), []))
})
