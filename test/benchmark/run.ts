/**
 * Runs a benchmark: npm run bench -- <name> [--json]. Without a name it lists them.
 *
 * A benchmark gives named cases, of which the first is the baseline. They are run in turn over several rounds, in
 * changing order; the best round of each is compared. The machine's noise makes times worth little, ratios more.
 */
import { readdirSync } from "node:fs"
import { cpus } from "node:os"
import { fileURLToPath } from "node:url"

export interface Case {
  readonly name: string
  /** Does the work so many times. */
  readonly run: (times: number) => Promise<unknown>
}

const folder = fileURLToPath(new URL(".", import.meta.url))
const names = readdirSync(folder).flatMap((file) => /^(.*)\.bench\.ts$/.exec(file)?.[1] ?? [])

const rounds = 9
const times = 2000

const measure = async (cases: ReadonlyArray<Case>) => {
  const best = new Map(cases.map(({ name }) => [name, Number.POSITIVE_INFINITY]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < cases.length; i++) {
      const { name, run } = cases[(i + round) % cases.length]!
      const start = performance.now()
      await run(times)
      best.set(name, Math.min(best.get(name)!, (performance.now() - start) / times))
    }
  }
  const baseline = best.get(cases[0]!.name)!
  return cases.map(({ name }) => ({
    name,
    microseconds: Number((best.get(name)! * 1000).toFixed(2)),
    ratio: Number((best.get(name)! / baseline).toFixed(2))
  }))
}

const [chosen] = process.argv.slice(2).filter((argument) => !argument.startsWith("--"))
if (chosen === undefined || !names.includes(chosen)) {
  console.log(`usage: npm run bench -- <name> [--json]\nbenchmarks: ${names.join(", ")}`)
  process.exitCode = chosen === undefined ? 0 : 1
} else {
  const { cases } = (await import(`./${chosen}.bench.ts`)) as { readonly cases: () => Promise<ReadonlyArray<Case>> }
  const results = await measure(await cases())
  if (process.argv.includes("--json"))
    console.log(JSON.stringify({ benchmark: chosen, node: process.version, results }))
  else {
    console.log(`${chosen}, Node ${process.version}, ${cpus().length} cores; best of ${rounds} rounds of ${times}`)
    for (const { microseconds, name, ratio } of results) {
      console.log(`  ${name.padEnd(44)} ${microseconds.toFixed(1).padStart(8)} µs  ${ratio.toFixed(2).padStart(6)}x`)
    }
  }
}
