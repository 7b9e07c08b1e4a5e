/**
 * The docstrings of the library: every export has one, with a summary, `@since` and a known `@category`. The summary of a
 * function or effect opens with a verb: "Returns", "Creates", "Tells whether".
 *
 * node test/tooling/docs.ts [folder]
 */
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

/** Not looked at: what belongs to one folder, the program of the admin page, and the barrel. */
const skipped: ReadonlyArray<RegExp> = [/(^|\/)internal\//, /^http\/admin\//, /^index\.ts$/]

const categories = new Set([
  "models",
  "errors",
  "guards",
  "constructors",
  "services",
  "references",
  "layers",
  "combinators",
  "conversions",
  "constants",
  "keys",
  "getters",
  "schemas",
  "encoding",
  "protocol"
])

/** Openings of what describes a result, or a thing, where a function should say what it does. */
const nouns = new Set(["What", "Whether", "Who", "Which", "Where", "How", "The", "A", "An", "This", "Is", "As"])

export interface Violation {
  readonly file: string
  readonly line: number
  readonly problem: string
}

interface Export {
  readonly name: string
  readonly offset: number
  readonly isFunction: boolean
}

const declaration =
  /^export (?:declare )?(?:abstract )?(const|let|function\*?|class|interface|type|enum|namespace) +([\w$]+)/gm

/** Functions and effects, as they are declared in this library. */
const functionPatterns: ReadonlyArray<RegExp> = [
  /^export function/,
  /^export const [\w$]+ = (?:\(|<|function|dual\(|Effect\.|Stream\.)/,
  /^export const [\w$]+: (?:\(|<|Effect\.Effect<|Stream\.Stream<)/,
  // Several signatures.
  /^export const [\w$]+: \{ ?(?:\/\*\*.*?\*\/ ?)?(?:\(|<)/
]

const exportsOf = (text: string): ReadonlyArray<Export> => {
  const found: Array<Export> = []
  const seen = new Set<string>()
  for (const match of text.matchAll(declaration)) {
    const [, kind = "", name = ""] = match
    // Only the first of several signatures has a docstring.
    if (kind === "function" && seen.has(name)) continue
    seen.add(name)
    const declared = text.slice(match.index, match.index + 600).replace(/\s+/g, " ")
    found.push({ name, offset: match.index, isFunction: functionPatterns.some((pattern) => pattern.test(declared)) })
  }
  // Names that are no identifiers: `export { in_ as in }`.
  for (const block of text.matchAll(/^export \{([^}]*)\}(?! from)/gm)) {
    for (const one of block[1]!.matchAll(/([\w$]+) as ([\w$]+)/g)) {
      const offset = block.index + block[0].indexOf(block[1]!) + one.index
      const declared = new RegExp(`^(?:export )?const ${one[1]} = .{0,40}`, "m").exec(text)?.[0].replace(/\s+/g, " ")
      const isFunction =
        declared !== undefined && functionPatterns.some((pattern) => pattern.test(`export ${declared}`))
      found.push({ name: one[2]!, offset, isFunction })
    }
  }
  return found.toSorted((a, b) => a.offset - b.offset)
}

/** The docstring that ends right before an offset. */
const docBefore = (text: string, offset: number): string | undefined => {
  const before = text.slice(0, offset).replace(/(?:\n *\/\/[^\n]*)*\s*$/, "")
  if (!before.endsWith("*/")) return undefined
  const start = before.lastIndexOf("/**")
  if (start < 0 || before.slice(start, -2).includes("*/")) return undefined
  return before
    .slice(start + 3, -2)
    .split("\n")
    .map((line) => line.replace(/^ *\* ?/, "").trim())
    .join("\n")
    .trim()
}

const problemsOf = (doc: string | undefined, isFunction: boolean): ReadonlyArray<string> => {
  if (doc === undefined) return ["has no docstring"]
  const problems: Array<string> = []
  const summary = /^(?!@)[^\n]+/.exec(doc)?.[0]
  if (summary === undefined) problems.push("has no summary")
  else if (isFunction) {
    const opening = /^[\p{L}-]+/u.exec(summary)?.[0] ?? ""
    if (nouns.has(opening) || !/^\p{Lu}.*s$/u.test(opening)) {
      problems.push(`opens with ${JSON.stringify(opening === "" ? summary.slice(0, 10) : opening)}, which is no verb`)
    }
  }
  if (!/^@since \d+\.\d+\.\d+$/m.test(doc)) problems.push("has no @since")
  const category = /^@category (.+)$/m.exec(doc)?.[1]
  if (category === undefined) problems.push("has no @category")
  else if (!categories.has(category)) problems.push(`has the unknown category ${JSON.stringify(category)}`)
  return problems
}

export const check = (src: string): ReadonlyArray<Violation> => {
  const files = readdirSync(src, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts") && !skipped.some((pattern) => pattern.test(name)))
    .toSorted()
  return files.flatMap((file) => {
    const text = readFileSync(join(src, file), "utf8")
    return exportsOf(text).flatMap(({ name, offset, isFunction }) => {
      const line = text.slice(0, offset).split("\n").length
      return problemsOf(docBefore(text, offset), isFunction).map((problem) => ({
        file,
        line,
        problem: `${name} ${problem}`
      }))
    })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const src = resolve(process.argv[2] ?? fileURLToPath(new URL("../../src", import.meta.url)))
  const violations = check(src)
  for (const { file, line, problem } of violations) console.error(`src/${file}:${line}: ${problem}`)
  if (violations.length > 0) process.exitCode = 1
}
