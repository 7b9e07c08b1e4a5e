import { execFileSync, spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { table } from "./guide.ts"
import { folder, write } from "./tooling/doctest.ts"

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
      .filter((name) => name.endsWith(".test.ts") && name !== "docs.test.ts")
      .map((name) => readFileSync(new URL(name, import.meta.url), "utf8").replaceAll("${name}", "text"))
      .join("\n")
    for (const [, id, shownBy] of rows) {
      if (shownBy !== "by design") assert.include(tests, shownBy!, id)
    }
  })

  it("compile", () => {
    const compiler = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url))
    const { status, stdout } = spawnSync(compiler, ["-p", folder], { encoding: "utf8" })
    assert.strictEqual(status, 0, stdout)
  }, 60_000)

  it("are there", () => {
    assert.isTrue(examples.some((example) => example.at.startsWith("README.md") && example.runs))
  })

  for (const { at, file, output, runs } of examples) {
    if (!runs) continue
    it(at, () => {
      const printed = execFileSync(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", file], {
        encoding: "utf8",
        cwd: new URL(".", import.meta.url)
      })
      if (output !== undefined) assert.strictEqual(printed.replaceAll("\r\n", "\n").trim(), output.trim())
    })
  }
})
