/**
 * The memory of a program that holds documents in memory: 20,000 of nine fields, or those of --documents=20000, beside the
 * original where it is installed (`npm run bench:peers`). Each library has a process of its own. The pages that the system
 * keeps for a process depend on when garbage was collected: what is used after a collection says more.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { countOf } from "./option.ts"
import { load, type Name, title } from "./peers.ts"
import type { Memory, Resident } from "./residentProcess.ts"
import { digits } from "./table.ts"

const worker = fileURLToPath(new URL("./residentProcess.ts", import.meta.url))
const originals = ["s3db.js 16", "s3db.js 19", "s3db.js 21"] as const satisfies ReadonlyArray<Name>

const run = (library: string, documents: number): Promise<Resident> =>
  new Promise((resolve, reject) => {
    const flags = ["--expose-gc", "--conditions=effect-s3db-source", "--no-warnings"]
    execFile(process.execPath, [...flags, worker, library, String(documents)], (error, printed) =>
      error === null ? resolve(JSON.parse(printed.trimEnd().split("\n").at(-1)!)) : reject(error)
    )
  })

const megabytes = (bytes: number): string => digits(bytes / 1_048_576)

export const report = async () => {
  const documents = countOf("documents", 20_000)
  const libraries = [
    { library: "effect-s3db", name: "effect-s3db" },
    ...originals.flatMap((library) => (load(library) === undefined ? [] : [{ library, name: title(library) }]))
  ]
  const notes = originals.flatMap((library) =>
    load(library) === undefined ? [`${title(library)} is not installed: npm run bench:peers`] : []
  )
  const results: Array<{ readonly name: string; readonly measured: Resident }> = []
  for (const { library, name } of libraries) results.push({ name, measured: await run(library, documents) })
  const row = (what: string, of: (measured: Resident) => number, show: (value: number) => string) => [
    what,
    ...results.map(({ measured }) => show(of(measured))),
    ...results.slice(1).map(({ measured }) => digits(of(measured) / of(results[0]!.measured)))
  ]
  const more = (part: keyof Memory) => (measured: Resident) => measured.opened[part] - measured.bare[part]
  const each = (measured: Resident) => (measured.filled.used - measured.opened.used) / documents
  return {
    results,
    notes,
    tables: [
      {
        title: `Memory of a process with ${documents.toLocaleString("en-US")} documents; then the others' to ours: above 1, they take more`,
        columns: ["", ...results.map(({ name }) => name), ...results.slice(1).map(({ name }) => `ratio of ${name}`)],
        rows: [
          row("resident, MB", ({ filled }) => filled.resident, megabytes),
          row("used, MB", ({ filled }) => filled.used, megabytes),
          row("of it the library, with one resource, MB", more("used"), megabytes),
          row("a document, bytes", each, (value) => String(Math.round(value)))
        ]
      }
    ]
  }
}
