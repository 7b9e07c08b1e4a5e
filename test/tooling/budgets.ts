/**
 * What the tests of each part of the library may take. A part that takes more is named at the end of a run, and fails
 * nothing: how fast a machine is decides no test. What is over its budget belongs in a deep test, or can be made faster.
 */

export interface Part {
  readonly name: string
  /** Folders of `test`; its own files are those of "". */
  readonly folders: ReadonlyArray<string>
  /** Seconds of its tests in `npm test` on two cores that are idle otherwise. */
  readonly seconds: number
  /** The same in `npm run test:deep`. */
  readonly deepSeconds: number
}

export const parts: ReadonlyArray<Part> = [
  { name: "core", folders: ["", "catalog", "document", "repository"], seconds: 75, deepSeconds: 90 },
  { name: "kernel", folders: ["kernel"], seconds: 55, deepSeconds: 60 },
  { name: "query", folders: ["query"], seconds: 12, deepSeconds: 30 },
  { name: "schema, encoding", folders: ["schema", "encoding", "types"], seconds: 8, deepSeconds: 30 },
  { name: "storage", folders: ["storage"], seconds: 50, deepSeconds: 300 },
  { name: "crypto", folders: ["crypto"], seconds: 6, deepSeconds: 30 },
  { name: "simulation", folders: ["simulation"], seconds: 38, deepSeconds: 600 },
  { name: "plugins", folders: ["plugins"], seconds: 80, deepSeconds: 300 },
  { name: "cluster", folders: ["cluster"], seconds: 8, deepSeconds: 120 },
  { name: "cli", folders: ["cli"], seconds: 60, deepSeconds: 120 },
  { name: "services", folders: ["services"], seconds: 50, deepSeconds: 400 },
  { name: "http", folders: ["http"], seconds: 30, deepSeconds: 240 },
  { name: "testing", folders: ["testing"], seconds: 10, deepSeconds: 30 },
  { name: "docs", folders: ["docs"], seconds: 16, deepSeconds: 90 },
  { name: "mcp", folders: ["mcp"], seconds: 16, deepSeconds: 60 },
  { name: "migration", folders: ["migration"], seconds: 10, deepSeconds: 30 },
  { name: "persistence", folders: ["persistence"], seconds: 10, deepSeconds: 30 },
  { name: "tooling", folders: ["tooling"], seconds: 10, deepSeconds: 30 }
]

/** For each folder that has no place above yet. */
const other = { seconds: 10, deepSeconds: 60 }

/** The part that a file of `test` belongs to. The examples of the documentation are tested at the top, as a part of its own. */
export const partOf = (file: string): Part => {
  const folder = file.startsWith("docs.") ? "docs" : file.includes("/") ? file.slice(0, file.indexOf("/")) : ""
  return parts.find(({ folders }) => folders.includes(folder)) ?? { name: folder, folders: [folder], ...other }
}

export interface Timing {
  /** Below `test`. */
  readonly file: string
  readonly seconds: number
  readonly tests: number
}

const isDeep = (file: string): boolean => file.endsWith(".deep.test.ts")

/** The table of a run, and each part that is over its budget with the files that take the most. */
export const report = (timings: ReadonlyArray<Timing>): ReadonlyArray<string> => {
  const byPart = Map.groupBy(timings, ({ file }) => partOf(file).name)
  const order = parts.map(({ name }) => name)
  const rows = [...byPart].toSorted(([a], [b]) => (order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99))
  const line = (name: string, seconds: string, budget: string, tests: string): string =>
    `${name.padEnd(18)}${seconds.padStart(9)}${budget.padStart(8)}${tests.padStart(7)}`
  const sum = (files: ReadonlyArray<Timing>, of: (one: Timing) => number) =>
    files.reduce((all, one) => all + of(one), 0)
  const table: Array<string> = []
  const over: Array<string> = []
  for (const [name, files] of rows) {
    const part = partOf(files[0]!.file)
    const budget =
      (files.some(({ file }) => !isDeep(file)) ? part.seconds : 0) +
      (files.some(({ file }) => isDeep(file)) ? part.deepSeconds : 0)
    const seconds = sum(files, (one) => one.seconds)
    table.push(line(name, seconds.toFixed(1), String(budget), String(sum(files, (one) => one.tests))))
    if (seconds <= budget) continue
    const slowest = files.toSorted((a, b) => b.seconds - a.seconds).slice(0, 3)
    const told = slowest.map(({ file, seconds }) => `${file} ${seconds.toFixed(1)} s`).join(", ")
    over.push(`!!! OVER BUDGET: ${name} took ${seconds.toFixed(1)} s of ${budget} s (${told})`)
  }
  return [line("part", "seconds", "budget", "tests"), ...table, ...over]
}
