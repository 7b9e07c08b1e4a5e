/**
 * The floors of the library: an import never goes up, modules never import each other in a circle, and source files
 * import modules, not barrels.
 *
 * node test/tooling/floors.ts [folder]
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"

/** Low to high; the first pattern that fits a file decides. */
const floors: ReadonlyArray<readonly [RegExp, number]> = [
  // Small pure things.
  [/^internal\//, 0],
  // Ground: what is stored, and of which types; neither knows the other.
  [/^storage\//, 1],
  [/^schema\//, 1],
  [/^DbError\.ts$/, 2],
  [/^(crypto|encoding)\//, 3],
  [/^kernel\//, 4],
  // Formats: what lies in the bucket, and what is asked, as data.
  [/^(Document|Query|CurrentUser|WriteContext)\.ts$/, 5],
  [/^(Change|Content|History|Partition|Aggregation|Export|ReadThrough)\.ts$/, 6],
  [/^(Companion|Observation|Unique|Pipeline|PluginRegistry|ResourceSelector)\.ts$/, 7],
  [/^(Transaction|Catalog|Portable|Guard|Names)\.ts$/, 8],
  [/^document\/(damage|documentObject|journaling|sweep)\.ts$/, 9],
  [/^catalog\//, 9],
  [/^Database\.ts$/, 10],
  [/^(Definition|Differences|JournalConsumer)\.ts$/, 11],
  [/^(Repository|Wire)\.ts$/, 12],
  // The engine's wings.
  [/^document\//, 13],
  [/^query\//, 14],
  [/^repository\//, 15],
  [/^(Resource|Plugin)\.ts$/, 16],
  // What stands on all of it.
  [/^(plugins|persistence|cluster|migration)\//, 17],
  [/^testing\//, 18],
  [/^(http|cli|mcp)\//, 19]
]

/** Imports that go up on purpose, each with its reason. */
const allowed = new Map([
  // The probe needs names that nobody else uses.
  ["storage/CapabilityProbe.ts", /^crypto\/Id\.ts$/]
])

/** Modules that need Node. Everything else runs wherever Effect does. */
const needsNode =
  /^(storage\/(FileStore|S3Store)|storage\/internal\/(fileStore\w*|s3Sdk)|crypto\/(PasswordHasher|internal\/password(Pool|Worker|WorkerUrl))|plugins\/replicator\/internal\/nodeSqlite|testing\/.*|cli\/.*|http\/.*|mcp\/.*)\.ts$/

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^"'`;]*?from\s*"([^"]+)"|(?<!typeof )\bimport\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"/g

export interface Violation {
  readonly file: string
  readonly line: number
  readonly problem: string
}

/** The floor of a file; the barrel has none. */
export const floorOf = (file: string): number | undefined => floors.find(([pattern]) => pattern.test(file))?.[1]

/** The source files of a folder. */
export const filesIn = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => name.replaceAll("\\", "/"))
    .toSorted()

export interface Import {
  readonly line: number
  /** As it is written. */
  readonly target: string
  /** The file of the library that it means. */
  readonly imported: string | undefined
}

/** What a file imports, comments aside. */
export const importsOf = (src: string, file: string): ReadonlyArray<Import> => {
  const text = readFileSync(join(src, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, (comment) =>
    comment.replace(/[^\n]/g, " ")
  )
  return [...text.matchAll(importPattern)].map((match) => {
    const target = (match[1] ?? match[2] ?? match[3])!
    return {
      line: text.slice(0, match.index + match[0].indexOf(target)).split("\n").length,
      target,
      imported: target.startsWith(".")
        ? relative(src, resolve(src, dirname(file), target)).replaceAll("\\", "/")
        : undefined
    }
  })
}

export const check = (src: string): ReadonlyArray<Violation> => {
  const violations: Array<Violation> = []
  const graph = new Map<string, Array<string>>()
  for (const file of filesIn(src)) {
    const floor = floorOf(file)
    if (floor === undefined && file !== "index.ts") violations.push({ file, line: 1, problem: "belongs to no floor" })
    for (const { imported, line, target } of importsOf(src, file)) {
      const report = (problem: string) => violations.push({ file, line, problem })
      if (target === "effect" || target === "@effect/platform-node") report(`imports the barrel ${target}`)
      if (target.startsWith("node:") && !needsNode.test(file)) report(`imports ${target}, but has to run without Node`)
      if (imported === undefined) continue
      if (!existsSync(join(src, imported))) {
        report(`imports ${imported}, which does not exist`)
        continue
      }
      if (imported === "index.ts") report("imports the library's own barrel")
      graph.set(file, [...(graph.get(file) ?? []), imported])
      const below = floorOf(imported)
      if (floor === undefined || below === undefined || below <= floor || allowed.get(file)?.test(imported)) continue
      // What a folder keeps internal is on its floor.
      report(`imports ${imported}, which is on a higher floor`)
    }
  }
  return [...violations, ...circles(graph)]
}

const circles = (graph: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<Violation> => {
  const found: Array<Violation> = []
  const done = new Set<string>()
  const visit = (file: string, path: ReadonlyArray<string>): void => {
    if (path.includes(file)) {
      const circle = [...path.slice(path.indexOf(file)), file]
      found.push({ file, line: 1, problem: `imports itself: ${circle.join(" -> ")}` })
      return
    }
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const src = resolve(process.argv[2] ?? fileURLToPath(new URL("../../src", import.meta.url)))
  const violations = check(src)
  for (const { file, line, problem } of violations) console.error(`src/${file}:${line}: ${problem}`)
  if (violations.length > 0) process.exitCode = 1
}
