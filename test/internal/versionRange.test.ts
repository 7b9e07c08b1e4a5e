import { assert, describe, it } from "@effect/vitest"
import { satisfies } from "../../src/internal/versionRange.ts"

const table: ReadonlyArray<readonly [range: string, fits: ReadonlyArray<string>, not: ReadonlyArray<string>]> = [
  ["^5.4.1", ["5.4.1", "5.10.0", "v5.4.2"], ["5.4.0", "6.0.0", "4.9.9"]],
  ["^0.10", ["0.10.0", "0.10.9"], ["0.11.0", "0.9.0", "1.0.0"]],
  ["^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]],
  ["^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]],
  ["^3", ["3.0.0", "3.99.1"], ["4.0.0", "2.9.9"]],
  ["~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]],
  ["~1.2", ["1.2.0"], ["1.3.0"]],
  ["~1", ["1.9.0"], ["2.0.0"]],
  [">=5", ["5.0.0", "17.2.0"], ["4.9.9"]],
  ["1.2.3", ["1.2.3"], ["1.2.4", "1.2.2"]],
  ["1.2", ["1.2.7"], ["1.3.0"]],
  ["1.x", ["1.2.7"], ["2.0.0"]],
  ["^4 || ^6", ["4.1.0", "6.0.0"], ["5.0.0"]],
  ["*", ["0.0.1"], []],
  ["", ["0.0.1"], []],
  // Nobody can tell.
  ["latest", ["0.0.1"], []],
  ["^1", ["unknown", "^2"], []]
]

describe("ranges of versions", () => {
  for (const [range, fits, not] of table) {
    it(`${range === "" ? "none" : range}`, () => {
      assert.deepStrictEqual(
        fits.filter((version) => !satisfies(version, range)),
        []
      )
      assert.deepStrictEqual(
        not.filter((version) => satisfies(version, range)),
        []
      )
    })
  }
})
