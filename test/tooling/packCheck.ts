/** Packs the library, installs it in an empty folder with its peers, and type-checks and runs the README's first example. */
import { execFileSync } from "node:child_process"
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { extract } from "./doctest.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly devDependencies: Readonly<Record<string, string>>
}
const example = extract().find(({ at, runs }) => at.startsWith("README.md") && runs)
if (example === undefined) throw new Error("the README has no example that runs")

const folder = mkdtempSync(join(tmpdir(), "effect-s3db-pack-"))
const run = (command: string, args: ReadonlyArray<string>, cwd = folder): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

try {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder], root)) as ReadonlyArray<{
    readonly filename: string
    readonly size: number
    readonly entryCount: number
    readonly files: ReadonlyArray<{ readonly path: string }>
  }>
  if (packed === undefined) throw new Error("npm pack made nothing")
  const paths = packed.files.map(({ path }) => path)
  for (const path of ["llms.txt", "docs/index.md", "docs/guide/errors.md", "docs/examples/demo.ts"]) {
    if (!paths.includes(path)) throw new Error(`${path} is not in the package`)
  }
  if (paths.some((path) => path.startsWith("docs/reference/"))) throw new Error("the reference is in the package")
  // In a clone npx runs what was built, and no installation makes it executable.
  accessSync(join(root, "dist/cli/main.js"), constants.X_OK)
  console.log(`${packed.filename}: ${packed.entryCount} files, ${Math.round(packed.size / 1024)} KB`)
  const version = (name: string) => `${name}@${manifest.devDependencies[name]}`
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }))
  run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    join(folder, packed.filename),
    ...["effect", "typescript", "@types/node"].map(version)
  ])
  const s3db = (...args: ReadonlyArray<string>) => run("node_modules/.bin/s3db", args).trim()
  const manifestVersion = (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string })
    .version
  if (s3db("--version") !== manifestVersion) throw new Error("s3db --version says something else")
  if (!s3db("--help").includes("aggregate")) throw new Error("s3db --help does not list its commands")
  console.log("s3db runs from the tarball")
  const shows = "import('effect-s3db/http/Admin').then(({ layer }) => console.log(typeof layer))"
  if (run(process.execPath, ["-e", shows]).trim() !== "function") throw new Error("the admin page cannot be imported")
  const assets = readFileSync(join(folder, "node_modules/effect-s3db/dist/http/internal/adminAssets.js"), "utf8")
  if (assets.includes("esbuild") || assets.length < 20_000) throw new Error("the admin page is not in the package")
  writeFileSync(join(folder, "example.ts"), `${example.code}\nexport {}\n`)
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2022",
        module: "NodeNext",
        strict: true,
        noEmit: true,
        exactOptionalPropertyTypes: true,
        // Effect's own declarations need DOM types otherwise.
        skipLibCheck: true,
        types: ["node"]
      },
      include: ["example.ts"]
    })
  )
  run("node_modules/.bin/tsc", ["-p", "."])
  const printed = run(process.execPath, ["--no-warnings", "example.ts"])
  if (example.output !== undefined && printed.trim() !== example.output.trim()) {
    throw new Error(`the example printed\n${printed}instead of\n${example.output}`)
  }
  console.log("the README's first example type-checks and runs from the tarball")
} finally {
  rmSync(folder, { recursive: true, force: true })
}
