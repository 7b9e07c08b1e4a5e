/** The programs in `docs/examples` print what their first comment says, and come to an end. */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const folder = new URL("../docs/examples/", import.meta.url)

/** What the lines after `Prints:` in the first comment of a program say. */
const expectedOf = (source: string): string => {
  const comment = /^\/\*\*\n([^]*?)\n \*\/\n/.exec(source)?.[1] ?? ""
  const [, printed] = comment.split("\n * Prints:\n")
  return printed?.replaceAll(/^ \* ?/gm, "") ?? "its first comment says what it prints, after a line `Prints:`"
}

const run = (file: string) =>
  new Promise<string>((resolve, reject) => {
    const args = ["--conditions=effect-s3db-source", "--no-warnings", file]
    execFile(process.execPath, args, { timeout: 590_000 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stderr}${stdout}`))
    )
  })

describe("programs in docs/examples", () => {
  const names = readdirSync(folder).filter((name) => name.endsWith(".ts"))

  it("are there", () => assert.include(names, "scheduler.ts"))

  // The demo reports how long it took; it is run by CI on every store.
  for (const name of names.filter((one) => one !== "demo.ts")) {
    const file = fileURLToPath(new URL(name, folder))
    it.concurrent(name, () =>
      run(file).then((printed) => assert.strictEqual(printed.trimEnd(), expectedOf(readFileSync(file, "utf8"))))
    )
  }
})
