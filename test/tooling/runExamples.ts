/**
 * Runs examples of the documentation one after the other in this process, and tells what each of them printed, on a line
 * of JSON. Each has the library for itself, whose modules are evaluated anew; all else is loaded once.
 *
 * node --conditions=effect-s3db-source test/tooling/runExamples.ts <file>...
 */
import { registerHooks } from "node:module"
import { pathToFileURL } from "node:url"

export interface Result {
  readonly file: string
  readonly printed: string
  /** Why it failed, with the stack. */
  readonly error?: string
}

const library = new URL("../../src/", import.meta.url).href

// What an example imports of the library bears its number; the ending stays the last of the address.
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const [, number] = /\?example=(\d+)\.ts$/.exec(context.parentURL ?? "") ?? []
    if (number === undefined || !resolved.url.startsWith(library)) return resolved
    return { ...resolved, url: `${resolved.url}?example=${number}.ts` }
  }
})

const { stdout } = process
const write = stdout.write.bind(stdout)
const decoder = new TextDecoder()
let printed = ""
let error: string | undefined
const fail = (cause: unknown): void => {
  error ??= cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}
stdout.write = (chunk: string | Uint8Array) => {
  printed += typeof chunk === "string" ? chunk : decoder.decode(chunk)
  return true
}
process.on("uncaughtException", fail)

for (const [number, file] of process.argv.slice(2).entries()) {
  printed = ""
  error = undefined
  await import(`${pathToFileURL(file).href}?example=${number}.ts`).catch(fail)
  const result: Result = { file, printed, ...(error === undefined ? {} : { error }) }
  write(`${JSON.stringify(result)}\n`)
}
