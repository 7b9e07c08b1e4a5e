import { execFileSync } from "node:child_process"
import { assert, describe, it } from "vitest"
import { write } from "./tooling/doctest.ts"

describe("examples in the documentation", () => {
  const examples = write()

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
      if (output !== undefined) assert.strictEqual(printed.trim(), output.trim())
    })
  }
})
