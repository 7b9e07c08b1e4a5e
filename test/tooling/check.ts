/** Everything that can be said of the code without running it. */
import { spawnSync } from "node:child_process"
import { write } from "./doctest.ts"

const steps: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
  ["types", ["tsc", "-p", "tsconfig.json"]],
  ["examples", ["tsc", "-p", ".doctest"]],
  ["effect", ["effect-tsgo", "diagnostics", "--project", "tsconfig.json", "--severity", "error,warning"]],
  ["lint", ["oxlint", "--deny-warnings", "src", "test", "docs"]],
  ["format", ["oxfmt", "--check", "src", "test", "docs", "vitest.config.ts"]],
  ["imports", ["node", "test/tooling/floors.ts"]],
  ["docs", ["node", "test/tooling/docs.ts"]]
]

write()
let failed = 0
for (const [name, [command = "", ...args]] of steps) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" })
  if (status !== 0) {
    failed += 1
    process.stdout.write(`${stdout}${stderr}\n`)
  }
  console.log(`${status === 0 ? "ok  " : "FAIL"} ${name}`)
}
process.exitCode = failed === 0 ? 0 : 1
