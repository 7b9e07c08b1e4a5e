/** The built library in a folder of its own, as it would be installed, and programs on it: bundled and run. */
import { execFile, execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build as esbuild } from "esbuild"
import { rolldown } from "rolldown"

const root = fileURLToPath(new URL("../..", import.meta.url))
const modules = join(root, "node_modules")

/** Builds the library into `node_modules/effect-s3db` of a new folder, whose other modules are those of this one. */
export const installed = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-built-"))
  const own = join(folder, "node_modules/effect-s3db")
  mkdirSync(own, { recursive: true })
  for (const name of readdirSync(modules)) {
    if (!name.startsWith(".")) symlinkSync(join(modules, name), join(folder, "node_modules", name))
  }
  copyFileSync(join(root, "package.json"), join(own, "package.json"))
  // The MCP server reads the guide.
  symlinkSync(join(root, "docs"), join(own, "docs"))
  const dist = join(own, "dist")
  const run = (command: string, args: ReadonlyArray<string>) =>
    execFileSync(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
  run(join(modules, ".bin/tsc"), ["-p", "tsconfig.build.json", "--outDir", dist])
  run(process.execPath, [join(root, "test/tooling/inlineWorker.ts"), dist])
  run(process.execPath, [join(root, "test/tooling/inlineAdmin.ts"), dist])
  return folder
}

/**
 * What makes one file of a program and all that it imports. esbuild takes the CommonJS form of the AWS SDK by itself, which
 * cannot `require` within an ES module; the guide says so.
 */
const mainFields = ["module", "main"]

/** By name. */
export const bundlers: Readonly<Record<string, (entry: string, file: string) => Promise<void>>> = {
  esbuild: async (entry, file) => {
    await esbuild({
      entryPoints: [entry],
      outfile: file,
      bundle: true,
      platform: "node",
      format: "esm",
      mainFields,
      logLevel: "error"
    })
  },
  "esbuild, minified": async (entry, file) => {
    await esbuild({
      entryPoints: [entry],
      outfile: file,
      bundle: true,
      minify: true,
      platform: "node",
      format: "esm",
      mainFields,
      logLevel: "error"
    })
  },
  rolldown: async (entry, file) => {
    const bundle = await rolldown({ input: entry, platform: "node", logLevel: "warn" })
    await bundle.write({ file, format: "esm", codeSplitting: false })
  },
  "rolldown, minified": async (entry, file) => {
    const bundle = await rolldown({ input: entry, platform: "node", logLevel: "warn" })
    await bundle.write({ file, format: "esm", codeSplitting: false, minify: true })
  }
}

/** Runs a file by itself: from its own folder, without this process's environment. */
export const run = (
  node: string,
  args: ReadonlyArray<string>,
  cwd: string,
  env: Readonly<Record<string, string>> = {}
): Promise<{ readonly stdout: string; readonly stderr: string }> =>
  new Promise((resolve) => {
    execFile(node, args, { cwd, env, encoding: "utf8" }, (_, stdout, stderr) => resolve({ stdout, stderr }))
  })
