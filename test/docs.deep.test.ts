import { execFileSync, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"
import { folder, write } from "./tooling/doctest.ts"

describe("examples in the documentation", () => {
  const examples = write()

  it("compile", () => {
    const compiler = fileURLToPath(new URL("../node_modules/.bin/tsc", import.meta.url))
    const { status, stdout } = spawnSync(compiler, ["-p", folder], { encoding: "utf8" })
    assert.strictEqual(status, 0, stdout)
  })

  for (const { at, file, output, runs } of examples) {
    if (!runs) continue
    it(`${at}, in a process of its own`, () => {
      const printed = execFileSync(process.execPath, ["--conditions=effect-s3db-source", "--no-warnings", file], {
        encoding: "utf8",
        cwd: new URL(".", import.meta.url)
      })
      if (output !== undefined) assert.strictEqual(printed.replaceAll("\r\n", "\n").trim(), output.trim())
    })
  }
})
