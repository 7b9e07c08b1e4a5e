/**
 * Shows how the library is built: its floors from low to high with their files, which folder imports from which, and what
 * users cannot import. Or its longest functions.
 *
 * npm run house -- [--functions] [--json]
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { filesIn, floorOf, importsOf } from "./floors.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const src = join(root, "src")

export interface File {
  readonly file: string
  readonly lines: number
  /** Undefined for the barrel. */
  readonly floor: number | undefined
  /** Whether users can import it. */
  readonly isPublic: boolean
}

export interface Arrow {
  /** Folders of `src`; its own files are those of ".". */
  readonly from: string
  readonly to: string
  readonly imports: number
}

export interface House {
  /** From low to high. */
  readonly files: ReadonlyArray<File>
  readonly arrows: ReadonlyArray<Arrow>
}

const linesOf = (file: string): number => readFileSync(join(src, file), "utf8").split("\n").length - 1

const wingOf = (file: string): string => (file.includes("/") ? file.slice(0, file.indexOf("/")) : ".")

/** Asks Node, which knows the exports of the package. */
const isPublic = (file: string): boolean => {
  try {
    import.meta.resolve(`effect-s3db/${file.replace(/\.ts$/, "")}`)
    return true
  } catch {
    return false
  }
}

/** Reads the house from the source. */
export const house = (): House => {
  const all = filesIn(src)
  const counts = new Map<string, number>()
  for (const file of all.filter((file) => floorOf(file) !== undefined)) {
    for (const { imported } of importsOf(src, file)) {
      if (imported === undefined || wingOf(imported) === wingOf(file)) continue
      const arrow = `${wingOf(file)} ${wingOf(imported)}`
      counts.set(arrow, (counts.get(arrow) ?? 0) + 1)
    }
  }
  const files = all
    .map((file) => ({ file, lines: linesOf(file), floor: floorOf(file), isPublic: isPublic(file) }))
    .toSorted((a, b) => (a.floor ?? Infinity) - (b.floor ?? Infinity))
  const wings = [...new Set(files.map(({ file }) => wingOf(file)))]
  const arrows = [...counts]
    .map(([arrow, imports]) => ({ from: arrow.split(" ")[0]!, to: arrow.split(" ")[1]!, imports }))
    .toSorted((a, b) => wings.indexOf(a.from) - wings.indexOf(b.from) || b.imports - a.imports)
  return { files, arrows }
}

export interface LongFunction {
  readonly name: string
  /** With the line. */
  readonly at: string
  /** Without empty lines and comments. */
  readonly lines: number
}

interface Diagnostic {
  readonly message: string
  readonly filename: string
  readonly labels: ReadonlyArray<{
    readonly span: { readonly offset: number; readonly length: number; readonly line: number }
  }>
}

/** The longest functions, as the linter counts them. What is inside another one and has no name counts as its part. */
export const longestFunctions = (count: number): ReadonlyArray<LongFunction> => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-house-"))
  const config = join(folder, "oxlintrc.json")
  const rule = ["error", { max: 20, skipBlankLines: true, skipComments: true }]
  writeFileSync(
    config,
    JSON.stringify({ categories: { correctness: "off" }, rules: { "max-lines-per-function": rule } })
  )
  const linter = join(root, "node_modules/.bin/oxlint")
  const { stderr, stdout } = spawnSync(linter, ["-c", config, "-f", "json", "src"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28
  })
  rmSync(folder, { recursive: true, force: true })
  if (!stdout.startsWith("{")) throw new Error(`the linter failed: ${stdout}${stderr}`)
  const found = (JSON.parse(stdout) as { readonly diagnostics: ReadonlyArray<Diagnostic> }).diagnostics.map((one) => {
    const { length, line, offset } = one.labels[0]!.span
    // Offsets are those of bytes.
    const before = readFileSync(join(root, one.filename)).subarray(0, offset).toString("utf8").slice(-400)
    const lines = Number(/\((\d+)\)/.exec(one.message)?.[1])
    return { name: nameBefore(before), file: one.filename, line, lines, offset, end: offset + length }
  })
  return found
    .filter(
      (one) =>
        one.name !== undefined ||
        !found.some(
          (other) => other !== one && other.file === one.file && other.offset <= one.offset && other.end >= one.end
        )
    )
    .toSorted((a, b) => b.lines - a.lines)
    .slice(0, count)
    .map(({ file, line, lines, name = "(without a name)" }) => ({ name, at: `${file}:${line}`, lines }))
}

/** The name that a function is given right before it begins: by a declaration, as a method, or as a field. */
export const nameBefore = (text: string): string | undefined => {
  const wrapped = text.replace(/(?:[\w$]+\.)*[\w$]+(?:<[^<>]*>)?\((?:"[^"]*"\)\()?$/, "")
  return (
    /(?:const|let) ([\w$]+)(?::[^;]*?)? =\s*$/.exec(wrapped)?.[1] ??
    /([\w$]+): $/.exec(wrapped)?.[1] ??
    /(?:^|\n) *(?:readonly )?([\w$]+)$/.exec(text)?.[1] ??
    /function\*? ([\w$]+)$/.exec(text)?.[1]
  )
}

const show = ({ arrows, files }: House): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (const [floor, on] of Map.groupBy(files, ({ floor }) => floor)) {
    const lines = on.reduce((sum, one) => sum + one.lines, 0)
    out.push(`${floor === undefined ? "no floor" : `floor ${floor}`} (${on.length} files, ${lines} lines)`)
    for (const one of on) out.push(`  ${one.file.padEnd(40)} ${String(one.lines).padStart(5)}`)
  }
  out.push("", "imports from folder to folder")
  for (const [from, to] of Map.groupBy(arrows, ({ from }) => from)) {
    out.push(`  ${from.padEnd(12)} -> ${to.map((one) => `${one.to} ${one.imports}`).join(", ")}`)
  }
  const hidden = files.filter((one) => !one.isPublic)
  out.push("", `not importable from outside (${hidden.length} of ${files.length} files)`)
  for (const [wing, all] of Map.groupBy(hidden, ({ file }) => wingOf(file))) {
    const whole = files.filter(({ file }) => wingOf(file) === wing).length === all.length
    const names = all.map(({ file }) => file.replace(/\.ts$/, "").replace(/^[^/]+\//, ""))
    out.push(`  ${(whole && wing !== "." ? `${wing}, all of it` : wing).padEnd(22)} ${names.join(" ")}`)
  }
  const total = files.reduce((sum, one) => sum + one.lines, 0)
  out.push("", `${files.length} files, ${total} lines`)
  return out
}

const main = (): void => {
  const { values } = parseArgs({
    options: { functions: { type: "boolean", default: false }, json: { type: "boolean", default: false } }
  })
  if (!values.functions) {
    const found = house()
    console.log(values.json ? JSON.stringify(found, null, 2) : show(found).join("\n"))
    return
  }
  const found = longestFunctions(20)
  if (values.json) console.log(JSON.stringify(found, null, 2))
  else for (const { at, lines, name } of found) console.log(`${String(lines).padStart(5)}  ${name.padEnd(24)} ${at}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
