import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"

const inRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

// Within the repository, where its tests find Vitest.
mkdirSync(inRoot(".services"), { recursive: true })
const folder = mkdtempSync(inRoot(".services/summary-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const files = {
  "vitest.config.ts": `export default {
    test: { include: ["*.test.ts"], retry: 1, reporters: [[${JSON.stringify(inRoot("test/tooling/summary.ts"))}, { folder: "kept" }]] }
  }`,
  "some.test.ts": `
    import { describe, it } from "vitest"
    let tries = 0
    const failing = (text) => { throw new Error(text) }
    it("passes", () => {})
    it("fails", () => failing("always"))
    describe("one", () => it("wavers", () => { if (tries++ === 0) failing("the first time") }))
  `,
  "good.test.ts": `
    import { it } from "vitest"
    it("is good", () => {})
  `
}
for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)

const vitest = (...args: ReadonlyArray<string>) =>
  Effect.callback<string>((resume) => {
    const child = execFile(
      process.execPath,
      [inRoot("node_modules/vitest/vitest.mjs"), "run", ...args],
      { cwd: folder, env: { ...process.env, CI: "", VITEST: "" } },
      (_, output) => resume(Effect.succeed(output))
    )
    return Effect.sync(() => child.kill())
  })

const kept = (name: string) => {
  const file = join(folder, "kept", name)
  return existsSync(file) ? readFileSync(file, "utf8") : undefined
}

describe("the summary of a run", () => {
  it.live("what passes at its second try counts as passed, and is named with its first error, here and in a file", () =>
    Effect.gen(function* () {
      const output = yield* vitest("--mode", "deep")
      assert.match(output, /^3 passed, 1 failed, 0 skipped$/m)
      const tries = kept("second-tries-deep")!
      assert.match(tries, /^\nPassed at the second try\n  \S+some\.test\.ts > one > wavers: the first time\n +at /)
      assert.notMatch(tries, /fails|passes|is good/)
      assert.include(output, tries)
      const failures = kept("failures-deep")!
      assert.match(failures, /^\nFailed\n  \S+some\.test\.ts > fails: always\n/)
      assert.notMatch(failures, /wavers|passes|is good/)

      // The lists of the quick tests are others, and those of this run alone.
      for (const name of ["failures", "second-tries"]) writeFileSync(join(folder, "kept", name), "of the run before")
      const next = yield* vitest("good.test.ts")
      assert.match(next, /^1 passed, 0 failed, 0 skipped$/m)
      assert.notInclude(next, "second try")
      assert.deepStrictEqual([kept("failures"), kept("second-tries")], [undefined, undefined])
      assert.strictEqual(kept("failures-deep"), failures)
    })
  )
})
