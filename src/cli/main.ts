#!/usr/bin/env node
/**
 * The program `s3db`.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import * as module from "node:module"

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly version: string
}
const args = process.argv.slice(2)

// Who only asks for the version loads nothing.
if (args.length === 1 && (args[0] === "--version" || args[0] === "-v")) {
  process.stdout.write(`${manifest.version}\n`)
} else {
  // What was compiled once need not be again: most of the time of a short command.
  module.enableCompileCache?.()
  const { start } = await import("./internal/start.ts")
  start(manifest.version, args)
}
