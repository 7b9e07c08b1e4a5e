/**
 * Runs benchmarks: npm run bench -- <name>[,<name>...] [--json], a line of JSON for each. Without a name it lists them.
 *
 * A benchmark gives named cases, of which the first is the baseline, or a report of its own. The machine's noise makes
 * times worth little, ratios more.
 */
import { readdirSync } from "node:fs"
import { cpus } from "node:os"
import { fileURLToPath } from "node:url"
import { type Case, measure, rounds } from "./measure.ts"

/** What a benchmark's module exports: one of the two. */
interface Benchmark {
  readonly cases?: () => Promise<ReadonlyArray<Case>>
  readonly report?: () => Promise<{ readonly results: unknown; readonly text: string }>
}

const folder = fileURLToPath(new URL(".", import.meta.url))
const names = readdirSync(folder).flatMap((file) => /^(.*)\.bench\.ts$/.exec(file)?.[1] ?? [])

const times = 2000

const reportCases = async (cases: ReadonlyArray<Case>) => {
  const results = await measure(cases, times)
  const lines = results.map(
    ({ microseconds, name, ratio }) =>
      `  ${name.padEnd(44)} ${microseconds.toFixed(1).padStart(8)} µs  ${ratio.toFixed(2).padStart(6)}x`
  )
  return { results, text: lines.join("\n") }
}

const run = async (name: string) => {
  const { cases, report } = (await import(`./${name}.bench.ts`)) as Benchmark
  const { results, text } = cases === undefined ? await report!() : await reportCases(await cases())
  if (process.argv.includes("--json")) return JSON.stringify({ benchmark: name, node: process.version, results })
  const how = cases === undefined ? "" : `; best of ${rounds} rounds`
  return `${name}, Node ${process.version}, ${cpus().length} cores${how}\n${text}`
}

const chosen = process.argv
  .slice(2)
  .filter((argument) => !argument.startsWith("--"))
  .flatMap((argument) => argument.split(","))
if (chosen.length === 0 || !chosen.every((name) => names.includes(name))) {
  console.log(`usage: npm run bench -- <name>[,<name>...] [--json]\nbenchmarks: ${names.join(", ")}`)
  process.exitCode = chosen.length === 0 ? 0 : 1
} else for (const name of chosen) console.log(await run(name))
