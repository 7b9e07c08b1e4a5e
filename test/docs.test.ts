import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { table } from "./guide.ts"
import { write } from "./tooling/doctest.ts"
import type { Result } from "./tooling/runExamples.ts"

describe("examples in the documentation", () => {
  const examples = write()

  it("the table of types says what is stored", () => {
    const page = readFileSync(new URL("../docs/guide/what-a-document-can-hold.md", import.meta.url), "utf8")
    const found = page.slice(page.indexOf("| schema | rule |"), page.indexOf("<!-- end of types -->")).trim()
    assert.strictEqual(found, table())
  })

  it("the tests that the threat page names exist", () => {
    const page = readFileSync(new URL("../docs/design/threats.md", import.meta.url), "utf8")
    const rows = [...page.matchAll(/^\| ([RWBL]\d+) \|(?:[^|]*\|){2} (.+?) \|$/gm)]
    assert.isAtLeast(rows.length, 25)
    const tests = readdirSync(new URL(".", import.meta.url), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".test.ts") && !name.startsWith("docs."))
      .map((name) => readFileSync(new URL(name, import.meta.url), "utf8").replaceAll("${name}", "text"))
      .join("\n")
    for (const [, id, shownBy] of rows) {
      if (shownBy !== "by design") assert.include(tests, shownBy!, id)
    }
  })

  it("are there", () => {
    assert.isTrue(examples.some((example) => example.at.startsWith("README.md") && example.runs))
  })

  const running = examples.filter((example) => example.runs)
  const runner = fileURLToPath(new URL("tooling/runExamples.ts", import.meta.url))
  const run = () =>
    new Promise<{ readonly lines: ReadonlyArray<string>; readonly end: string }>((resolve) => {
      const args = ["--conditions=effect-s3db-source", "--no-warnings", runner, ...running.map(({ file }) => file)]
      const options = { cwd: fileURLToPath(new URL(".", import.meta.url)), timeout: 280_000, maxBuffer: 2 ** 26 }
      execFile(process.execPath, args, options, (error, stdout, stderr) =>
        resolve({
          lines: stdout.split("\n").filter((line) => line !== ""),
          end: error === null ? "" : stderr || error.message
        })
      )
    })
  let outcome: ReturnType<typeof run> | undefined
  const results = () => (outcome ??= run())

  // Whoever comes first waits for all of them.
  const timeout = 300_000

  for (const { at, file, output } of running) {
    it(at, { timeout }, () =>
      results().then(({ end, lines }) => {
        const result = lines.map((line) => JSON.parse(line) as Result).find((one) => one.file === file)
        if (result === undefined) throw new Error(`it was not run to its end: ${end}`)
        if (result.error !== undefined) throw new Error(result.error)
        if (output !== undefined) assert.strictEqual(result.printed.replaceAll("\r\n", "\n").trim(), output.trim())
      })
    )
  }

  it("end by themselves", { timeout }, () => results().then(({ end }) => assert.strictEqual(end, "")))
})
