/**
 * The reference in `docs/reference`, made of the docstrings by TypeDoc: one page for each public module.
 *
 * The project is compiled by TypeScript 7, which has no interface for such programs. TypeDoc has an own TypeScript, in `.reference`,
 * which Git ignores like the pages: exact versions, installed when they are not there, so that nothing else is disturbed.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { check, generatedPages } from "./links.ts"
import { publicModules } from "./publicModules.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const home = join(root, ".reference")
export const reference = join(root, "docs/reference")

const versions = { typedoc: "0.28.20", "typedoc-plugin-markdown": "4.14.1", typescript: "6.0.3" }

export const isInstalled = (): boolean =>
  Object.entries(versions).every(([name, version]) => {
    const manifest = join(home, "node_modules", name, "package.json")
    return (
      existsSync(manifest) && (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version === version
    )
  })

const install = (): void => {
  mkdirSync(home, { recursive: true })
  writeFileSync(join(home, "package.json"), JSON.stringify({ private: true, dependencies: versions }))
  const options = ["--ignore-scripts", "--no-audit", "--no-fund"]
  execFileSync("npm", ["install", ...options], { cwd: home, stdio: ["ignore", "ignore", "inherit"], timeout: 300_000 })
}

const options = (modules: ReadonlyArray<string>) => ({
  tsconfig: join(home, "tsconfig.json"),
  entryPoints: modules.map((name) => join(root, "src", `${name}.ts`)),
  basePath: join(root, "src"),
  out: reference,
  plugin: ["typedoc-plugin-markdown"],
  outputFileStrategy: "modules",
  entryFileName: "index.md",
  name: "effect-s3db",
  readme: "none",
  hideBreadcrumbs: true,
  hidePageHeader: true,
  useCodeBlocks: true,
  disableSources: true,
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  // `npm run check` has found what is wrong with the types.
  skipErrorChecking: true,
  validation: { notExported: false, invalidLink: true, invalidPath: true },
  treatWarningsAsErrors: true,
  logLevel: "Warn",
  blockTags: [
    "@category",
    "@since",
    "@remedy",
    "@example",
    "@param",
    "@returns",
    "@throws",
    "@default",
    "@deprecated",
    "@see"
  ]
})

/** Makes the pages anew, and gives the names of their modules. */
export const write = (): ReadonlyArray<string> => {
  if (!isInstalled()) install()
  const modules = publicModules().map(({ name }) => name)
  const project = {
    extends: "../tsconfig.json",
    compilerOptions: { plugins: [], noUnusedLocals: false },
    include: ["../src"]
  }
  writeFileSync(join(home, "tsconfig.json"), JSON.stringify(project))
  writeFileSync(join(home, "typedoc.json"), JSON.stringify(options(modules)))
  rmSync(reference, { recursive: true, force: true })
  const typedoc = join(home, "node_modules/typedoc/bin/typedoc")
  execFileSync(process.execPath, [typedoc, "--options", join(home, "typedoc.json")], { cwd: home, stdio: "inherit" })
  unlinkInherited()
  return modules
}

/** TypeDoc links members to those that they are inherited from, some of which its pages do not have as headings. */
const unlinkInherited = (): void => {
  for (const { file, line, target } of check(generatedPages())) {
    const lines = readFileSync(file, "utf8").split("\n")
    if (!/^#+ (Inherited from|Overrides|Implementation of)$/.test(lines[line - 3] ?? "")) continue
    lines[line - 1] = lines[line - 1]!.replace(new RegExp(`\\[([^\\]]+)\\]\\(${target}\\)`), "$1")
    writeFileSync(file, lines.join("\n"))
  }
}
