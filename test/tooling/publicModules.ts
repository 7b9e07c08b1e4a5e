/** The modules that users can import, as `exports` of `package.json` says, and `docs/modules.md`, the list of them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
/** Below the root. */
export const page = "docs/modules.md"

export interface Module {
  /** `crypto/Id`, as it is imported: `effect-s3db/crypto/Id`. */
  readonly name: string
  /** How its docstring begins. */
  readonly summary: string
}

/** Whether `exports` hides a module: a pattern that leads to null. */
const isHidden = (name: string, exports: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(exports).some(([pattern, target]) => {
    if (target !== null) return false
    const path = pattern.slice(2)
    return path.endsWith("*") ? name.startsWith(path.slice(0, -1)) : name === path
  })

const summaryOf = (text: string): string => {
  const doc = /^\/\*\*\n([^]*?)\n \*\//.exec(text)?.[1] ?? /^\/\*\* (.*?) \*\//.exec(text)?.[1] ?? ""
  const paragraph = doc
    .replaceAll(/^ \* ?/gm, "")
    .split(/\n\n|\n@/)[0]!
    .replaceAll("\n", " ")
  const sentences = paragraph.split(/(?<=[.:]\)?) (?=[\p{Lu}`])/u)
  // "Leases." says little by itself.
  const enough = sentences.findIndex((_, i) => sentences.slice(0, i + 1).join(" ").length >= 40)
  return sentences
    .slice(0, enough < 0 ? sentences.length : enough + 1)
    .join(" ")
    .replace(/:$/, ".")
}

export const publicModules = (): ReadonlyArray<Module> => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, unknown>>
  }
  return readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => name.slice(0, -3))
    .filter((name) => !isHidden(name, manifest.exports))
    .toSorted()
    .map((name) => ({ name, summary: summaryOf(readFileSync(join(root, "src", `${name}.ts`), "utf8")) }))
}

const folderOf = (name: string): string => (name.includes("/") ? name.slice(0, name.indexOf("/")) : "")

/** What the modules of a folder are for, in the order of the page. */
const folders: ReadonlyArray<readonly [string, string]> = [
  ["", "The database"],
  ["storage", "Stores"],
  ["schema", "Types of attributes"],
  ["encoding", "How documents are stored"],
  ["crypto", "Keys, passwords, ids"],
  ["plugins", "Plugins"],
  ["persistence", "Effect's ports"],
  ["cluster", "Effect's cluster"],
  ["http", "HTTP"],
  ["mcp", "The MCP server"],
  ["testing", "For tests"],
  ["kernel", "What plugins are built on"]
]

export const make = (modules: ReadonlyArray<Module> = publicModules()): string => {
  const known = new Set(folders.map(([folder]) => folder))
  const others = [...new Set(modules.map(({ name }) => folderOf(name)))].filter((folder) => !known.has(folder))
  const sections = [...folders, ...others.map((folder) => [folder, folder] as const)].flatMap(([folder, title]) => {
    const mine = modules.filter(({ name }) => folderOf(name) === folder)
    if (mine.length === 0) return []
    const rows = mine.map(
      ({ name, summary }) => `| [\`${name}\`](../src/${name}.ts) | ${summary.replaceAll("|", "\\|")} |`
    )
    return [`## ${title}`, "", "| module | |", "|---|---|", ...rows, ""]
  })
  return [
    "# Modules",
    "",
    "<!-- Made of the source by `npm run docs`: change the docstring at the top of the module, not this page. -->",
    "",
    "What can be imported, each as `effect-s3db/NAME`; `effect-s3db` itself has the core in one import. The docstrings of every export are in the source, which the package holds and editors show. " +
      "In a clone, `npm run docs` makes pages of them in `docs/reference`, which Git ignores: they say again what the source says.",
    "",
    ...sections,
    "Back to the [index](index.md)",
    ""
  ].join("\n")
}
