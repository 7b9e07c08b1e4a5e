import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { measure, median, ratio } from "./measure.ts"
import { page, saved } from "./page.ts"
import { digits, type Run, toText } from "./table.ts"

const run: Run = {
  benchmark: "sample",
  date: "2026-01-02",
  node: "v24.0.0",
  cores: 2,
  processor: "A processor",
  load: [0.5, 1.2],
  tables: [
    {
      title: "Microseconds",
      columns: ["", "best", "ratio"],
      rows: [
        ["put | get", "1.25", "0.50"],
        ["insert", "112", "12.5"]
      ]
    }
  ],
  notes: ["other 1.0.0 is not installed"],
  results: []
}

describe("the page of benchmarks", () => {
  it("has a section for each, with its tables, its machine and its notes", () => {
    const made = page([run, { ...run, benchmark: "text", tables: [], notes: [], text: "  a line" }])
    assert.strictEqual(
      made.slice(made.indexOf("## sample")),
      `## sample

Measured 2026-01-02, Node v24.0.0, 2 cores (A processor), load 0.5 before and 1.2 after.

**Microseconds**

|  | best | ratio |
|---|---:|---:|
| put \\| get | 1.25 | 0.50 |
| insert | 112 | 12.5 |

- other 1.0.0 is not installed

## text

Measured 2026-01-02, Node v24.0.0, 2 cores (A processor), load 0.5 before and 1.2 after.

\`\`\`text
  a line
\`\`\`
`
    )
  })

  it("is what the figures in the repository make", () => {
    assert.strictEqual(readFileSync(new URL("../../docs/benchmarks.md", import.meta.url), "utf8"), page(saved()))
  })

  it("a table as text", () => {
    assert.strictEqual(
      toText(run.tables[0]!),
      "Microseconds\n             best  ratio\n  put | get  1.25   0.50\n  insert      112   12.5"
    )
  })

  it("numbers have the digits that mean something", () => {
    assert.deepStrictEqual([1.234, 12.34, 123.4, Number.NaN].map(digits), ["1.23", "12.3", "123", "-"])
    assert.strictEqual(median([5, 1, 4, 2]), 2)
    assert.strictEqual(ratio(3, 2), 1.5)
    assert.isNaN(ratio(3, 0))
  })

  it("rounds are interleaved, in an order that changes; what prepares is not among them", async () => {
    const calls: Array<string> = []
    const one = (name: string) => ({ name, run: (times: number) => calls.push(`${name}${times}`) })
    const cases = [one("a"), { ...one("b"), prepare: () => calls.push("prepare") }, { ...one("c"), baseline: "b" }]
    const results = await measure(cases, 4, 2)
    assert.strictEqual(calls.join(" "), "a4 prepare b4 c4 a4 prepare b4 c4 prepare b4 c4 a4")
    assert.deepStrictEqual(
      results.map(({ baseline, name }) => [name, baseline]),
      [
        ["a", "a"],
        ["b", "a"],
        ["c", "b"]
      ]
    )
  })
})
