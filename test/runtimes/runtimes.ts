/**
 * Installs the runtimes beside Node that the library runs on into `.runtimes`, which Git ignores: node test/runtimes/runtimes.ts
 *
 * Exact versions, from the packages that hold the programs, without their scripts: about 350 MB, which is why they are no
 * dependencies.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

interface Runtime {
  readonly version: string
  /** The package that holds the program for a platform, and where in it. */
  readonly packages: Readonly<Record<string, string>>
  readonly program: string
}

const runtimes = {
  bun: {
    version: "1.4.5",
    packages: {
      "linux-x64": "@oven/bun-linux-x64",
      "linux-arm64": "@oven/bun-linux-aarch64",
      "darwin-x64": "@oven/bun-darwin-x64",
      "darwin-arm64": "@oven/bun-darwin-aarch64"
    },
    program: "bin/bun"
  },
  deno: {
    version: "2.9.6",
    packages: {
      "linux-x64": "@deno/linux-x64-glibc",
      "linux-arm64": "@deno/linux-arm64-glibc",
      "darwin-x64": "@deno/darwin-x64",
      "darwin-arm64": "@deno/darwin-arm64"
    },
    program: "deno"
  },
  workerd: {
    version: "1.20261117.1",
    packages: {
      "linux-x64": "@cloudflare/workerd-linux-64",
      "linux-arm64": "@cloudflare/workerd-linux-arm64",
      "darwin-x64": "@cloudflare/workerd-darwin-64",
      "darwin-arm64": "@cloudflare/workerd-darwin-arm64"
    },
    program: "bin/workerd"
  }
} satisfies Readonly<Record<string, Runtime>>

export type Name = keyof typeof runtimes

const home = join(fileURLToPath(new URL("../..", import.meta.url)), ".runtimes")

const packageOf = (name: Name): string => {
  const platform = `${process.platform}-${process.arch}`
  const packages: Readonly<Record<string, string>> = runtimes[name].packages
  const found = packages[platform]
  if (found === undefined) throw new Error(`${name} has no package for ${platform}`)
  return found
}

/** The program of a runtime, which may not be installed. */
export const programOf = (name: Name): string => join(home, "node_modules", packageOf(name), runtimes[name].program)

export const installCommand = "npm run runtimes"

const names: ReadonlyArray<Name> = ["bun", "deno", "workerd"]

/** Those that are not installed. */
export const missing = (): ReadonlyArray<Name> => names.filter((name) => !existsSync(programOf(name)))

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(home, { recursive: true })
  const dependencies = Object.fromEntries(names.map((name) => [packageOf(name), runtimes[name].version]))
  writeFileSync(join(home, "package.json"), JSON.stringify({ private: true, dependencies }))
  const options = ["--ignore-scripts", "--no-audit", "--no-fund"]
  execFileSync("npm", ["install", ...options], { cwd: home, stdio: ["ignore", "ignore", "inherit"], timeout: 300_000 })
  for (const name of names) console.log(`installed ${name} ${runtimes[name].version}`)
  if (missing().length > 0) throw new Error(`not there: ${missing().map(programOf).join(", ")}`)
}
