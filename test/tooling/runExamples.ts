/**
 * Runs examples of the documentation one after the other in this process, and tells what each of them printed, on a line
 * of JSON. They share the library, whose modules keep nothing of what is done with them; in depth each has a process of its own.
 *
 * node --conditions=effect-s3db-source test/tooling/runExamples.ts <file>...
 */
import { pathToFileURL } from "node:url"

export interface Result {
  readonly file: string
  readonly printed: string
  /** Why it failed, with the stack. */
  readonly error?: string
}

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

for (const file of process.argv.slice(2)) {
  printed = ""
  error = undefined
  await import(pathToFileURL(file).href).catch(fail)
  const result: Result = { file, printed, ...(error === undefined ? {} : { error }) }
  write(`${JSON.stringify(result)}\n`)
}
