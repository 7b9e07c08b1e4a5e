/**
 * Takes the examples out of the documentation, so that they are type-checked and run.
 *
 * Every fence marked `ts` in the README, in `docs` and in the docstrings of `src` becomes a file in `.doctest`, which is
 * a project for the compiler. Fences marked `ts run` are run as well, and print what the next `text` fence says.
 * `ts no-check` is left alone.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
export const folder = join(root, ".doctest")

export interface Example {
  /** Where it stands, for messages. */
  readonly at: string
  readonly file: string
  readonly code: string
  readonly runs: boolean
  readonly output: string | undefined
}

const sources = (): ReadonlyArray<string> => [
  "README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    // The reference is made of the docstrings, whose examples are taken from the source.
    .filter((name) => name.endsWith(".md") && !/^reference[/\\]/.test(name))
    .map((name) => `docs/${name}`),
  ...readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name}`)
]

export const extract = (): ReadonlyArray<Example> => {
  const examples: Array<Example> = []
  for (const source of sources().toSorted()) {
    const text = readFileSync(join(root, source), "utf8")
    const lines = text.split("\n").map((line) => (source.endsWith(".ts") ? line.replace(/^ *\* ?/, "") : line))
    const fences: Array<{ readonly info: string; readonly line: number; readonly body: string }> = []
    for (let i = 0; i < lines.length; i++) {
      const info = /^```(.*)$/.exec(lines[i]!)?.[1]?.trim()
      if (info === undefined) continue
      const end = lines.indexOf("```", i + 1)
      if (end < 0) break
      fences.push({ info, line: i + 1, body: lines.slice(i + 1, end).join("\n") })
      i = end
    }
    fences.forEach((fence, i) => {
      if (!/^ts( run)?$/.test(fence.info)) return
      const next = fences[i + 1]
      examples.push({
        at: `${source}:${fence.line}`,
        file: join(folder, `${source.replace(/[^A-Za-z0-9]+/g, "-")}-${fence.line}.ts`),
        code: fence.body,
        runs: fence.info === "ts run",
        output: next?.info === "text" ? next.body : undefined
      })
    })
  }
  return examples
}

/** Writes what has changed and removes what is gone: somebody else may be at work in the folder. */
export const write = (): ReadonlyArray<Example> => {
  mkdirSync(folder, { recursive: true })
  const examples = extract()
  // A folder with a dot is in no project unless it says so itself. What an example declares need not be used.
  const project = { extends: "../tsconfig.json", compilerOptions: { noUnusedLocals: false }, include: ["**/*.ts"] }
  const files = new Map([
    [join(folder, "tsconfig.json"), JSON.stringify(project)],
    ...examples.map(({ file, code }) => [file, `${code}\nexport {}\n`] as const)
  ])
  for (const name of readdirSync(folder))
    if (!files.has(join(folder, name))) rmSync(join(folder, name), { recursive: true })
  for (const [file, text] of files) {
    if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeFileSync(file, text)
  }
  return examples
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(`${write().length} examples`)
