/**
 * Runs benchmarks: npm run bench -- <name>[,<name>...] [--json [FILE]]. Without a name it lists them. With `--json` what is measured is
 * JSON, one line for each; with a file it is printed as well as written there, next to what the file has of other benchmarks.
 *
 * A benchmark gives named cases, of which the first is the baseline, or a report of its own. The machine's noise makes
 * times worth little, ratios more.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { fileURLToPath } from "node:url"
import { type Case, measure, rounds } from "./measure.ts"
import { digits, type Run, type Table, toText } from "./table.ts"

interface Report {
  readonly results: unknown
  readonly text?: string
  readonly tables?: ReadonlyArray<Table>
  readonly notes?: ReadonlyArray<string>
}

/** What a benchmark's module exports: one of the two. */
interface Benchmark {
  readonly cases?: () => Promise<ReadonlyArray<Case>>
  readonly report?: () => Promise<Report>
}

const folder = fileURLToPath(new URL(".", import.meta.url))
const names = readdirSync(folder).flatMap((file) => /^(.*)\.bench\.ts$/.exec(file)?.[1] ?? [])

const times = 2000

const reportCases = async (cases: ReadonlyArray<Case>): Promise<Report> => {
  const results = await measure(cases, times)
  const rows = results.map(({ baseline, cpu, cpuRatio, name, ratio, wall }) => [
    name,
    digits(wall.best),
    digits(wall.median),
    name === baseline ? "" : digits(ratio),
    digits(cpu.best),
    digits(cpu.median),
    name === baseline ? "" : digits(cpuRatio)
  ])
  const baselines = [...new Set(results.map(({ baseline }) => baseline))]
  const title = `Microseconds of ${rounds} rounds, as time passes and of the processor; ratios to: ${baselines.join("; ")}`
  const columns = ["", "best", "median", "ratio of the best", "CPU best", "CPU median", "ratio of the medians"]
  return { results, tables: [{ title, columns, rows }] }
}

const run = async (name: string): Promise<Run> => {
  const before = loadavg()[0]!
  const { cases, report } = (await import(`./${name}.bench.ts`)) as Benchmark
  const {
    notes = [],
    results,
    tables = [],
    text
  } = cases === undefined ? await report!() : await reportCases(await cases())
  return {
    benchmark: name,
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    cores: cpus().length,
    processor: cpus()[0]?.model ?? "unknown",
    load: [Number(before.toFixed(1)), Number(loadavg()[0]!.toFixed(1))],
    tables,
    notes,
    ...(text === undefined ? {} : { text }),
    results
  }
}

const print = ({ benchmark, cores, load, node, notes, tables, text }: Run): string => {
  const head = `${benchmark}, Node ${node}, ${cores} cores, load ${load[0]} before and ${load[1]} after`
  return [head, ...(text === undefined ? [] : [text]), ...tables.map(toText), ...notes.map((note) => `  ${note}`)].join(
    "\n"
  )
}

const args = process.argv.slice(2)
const at = args.indexOf("--json")
const next = at === -1 ? undefined : args[at + 1]
const file =
  next === undefined || next.startsWith("--") || next.split(",").every((name) => names.includes(name))
    ? undefined
    : next
const chosen = args
  .filter((argument, i) => !argument.startsWith("--") && !(file !== undefined && i === at + 1))
  .flatMap((argument) => argument.split(","))

/** What other benchmarks have left in the file stays in it. */
const save = (path: string, made: Run): void => {
  const saved = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as ReadonlyArray<Run>) : []
  const runs = [...saved.filter(({ benchmark }) => benchmark !== made.benchmark), made]
  const sorted = runs.toSorted((a, b) => (a.benchmark < b.benchmark ? -1 : 1))
  writeFileSync(path, `[\n${sorted.map((one) => JSON.stringify(one)).join(",\n")}\n]\n`)
}

if (chosen.length === 0 || !chosen.every((name) => names.includes(name))) {
  console.log(`usage: npm run bench -- <name>[,<name>...] [--json [FILE]]\nbenchmarks: ${names.join(", ")}`)
  process.exitCode = chosen.length === 0 ? 0 : 1
} else {
  for (const name of chosen) {
    const made = await run(name)
    if (file !== undefined) save(file, made)
    console.log(at !== -1 && file === undefined ? JSON.stringify(made) : print(made))
  }
  // What cases have opened is open for as long as the program runs.
  process.exit()
}
