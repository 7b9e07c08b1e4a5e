import { assert, describe, it } from "vitest"
import { parts, partOf, report } from "./budgets.ts"

describe("budgets", () => {
  it("a test belongs to the part of its folder", () => {
    const names = ["Query.test.ts", "docs.test.ts", "docs.deep.test.ts", "kernel/X.test.ts", "new/deeper/X.test.ts"]
    assert.deepStrictEqual(
      names.map((name) => partOf(name).name),
      ["core", "docs", "docs", "kernel", "new"]
    )
  })

  it("a part is told once, with its budget, and loudly when it is over", () => {
    const lines = report([
      { file: "new/X.test.ts", seconds: 11, tests: 1 },
      { file: "query/a.test.ts", seconds: 1.26, tests: 3 },
      { file: "new/Y.test.ts", seconds: 12.5, tests: 2 },
      { file: "Query.deep.test.ts", seconds: 2, tests: 4 }
    ])
    const [core, query] = ["core", "query"].map((part) => parts.find(({ name }) => name === part)!)
    assert.deepStrictEqual(
      lines.map((line) => line.split(/ {2,}/).join(" | ")),
      [
        "part | seconds | budget | tests",
        `core | 2.0 | ${core!.deepSeconds} | 4`,
        `query | 1.3 | ${query!.seconds} | 3`,
        "new | 23.5 | 10 | 3",
        "!!! OVER BUDGET: new took 23.5 s of 10 s (new/Y.test.ts 12.5 s, new/X.test.ts 11.0 s)"
      ]
    )
  })
})
