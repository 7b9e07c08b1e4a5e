/** Everything that can be said of the code without running it, two steps at a time. */
import { execFileSync, spawn } from "node:child_process"
import { write } from "./doctest.ts"

/** The compiler that finds errors of types and misuse of Effect in one pass. */
const compiler = (): string =>
  execFileSync("effect-tsgo", ["get-exe-path"], { encoding: "utf8" }).trim().split("\n").at(-1)!

/** What has been checked is remembered: a check after a small change takes seconds. */
const remembering = (name: string): ReadonlyArray<string> => [
  "--incremental",
  "--tsBuildInfoFile",
  `.check/${name}.tsbuildinfo`
]

/** The longest first. One checker does the whole work with less time of the processor than several that share it. */
const steps: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
  ["types, effect", [compiler(), "-p", "tsconfig.json", "--checkers", "1", ...remembering("types")]],
  // What only the writing of declaration files finds out.
  ["declarations", ["tsc", "-p", "tsconfig.build.json", "--noEmit", "--checkers", "1", ...remembering("declarations")]],
  ["admin page", ["tsc", "-p", "src/http/admin"]],
  ["examples", ["tsc", "-p", ".doctest", "--checkers", "1", ...remembering("examples")]],
  ["lint", ["oxlint", "--deny-warnings", "src", "test", "docs"]],
  ["format", ["oxfmt", "--check", "src", "test", "docs", "vitest.config.ts"]],
  ["imports", ["node", "test/tooling/floors.ts"]],
  ["docs", ["node", "test/tooling/docs.ts"]],
  ["pages", ["node", "test/tooling/made.ts"]]
]

interface Outcome {
  readonly failed: boolean
  readonly output: string
  readonly seconds: number
}

const run = ([command = "", ...args]: ReadonlyArray<string>): Promise<Outcome> =>
  new Promise((resolve) => {
    const start = performance.now()
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    const end = (failed: boolean) => resolve({ failed, output, seconds: (performance.now() - start) / 1000 })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text))
    }
    child.on("error", (error) => {
      output += String(error)
      end(true)
    })
    child.on("close", (code) => end(code !== 0))
  })

write()
const start = performance.now()
const outcomes = steps.map(() => Promise.withResolvers<Outcome>())
let next = 0
const worker = async (): Promise<void> => {
  while (next < steps.length) {
    const index = next++
    outcomes[index]!.resolve(await run(steps[index]![1]))
  }
}
void Promise.all([worker(), worker()])

// What is told has the order above, whatever ends first.
let failed = 0
for (const [index, [name]] of steps.entries()) {
  const outcome = await outcomes[index]!.promise
  if (outcome.failed) failed += 1
  if (outcome.failed) process.stdout.write(`${outcome.output}\n`)
  console.log(`${outcome.failed ? "FAIL" : "ok  "} ${name.padEnd(15)} ${outcome.seconds.toFixed(1).padStart(5)} s`)
}
console.log(`     ${"all".padEnd(15)} ${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s`)
process.exitCode = failed === 0 ? 0 : 1
