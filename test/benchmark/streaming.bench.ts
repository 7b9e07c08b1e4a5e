/**
 * Whether documents stream through in constant memory, whatever their number: written by a sink into a folder, read by a
 * scan, exported as lines of JSON and as CSV, and filtered by a query.
 *
 * Each number of documents has a process of its own, which collects garbage every 5,000 documents and notes what is still
 * in use. The baseline is a tenth of the documents. More than 1.5 times and 16 MB over it is a failure.
 *
 * npm run bench -- streaming [--documents=100000] [--json]
 */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { countOf } from "./option.ts"
import type { Phase } from "./streamingProcess.ts"

const worker = fileURLToPath(new URL("./streamingProcess.ts", import.meta.url))

const run = (documents: number): Promise<ReadonlyArray<Phase>> =>
  new Promise((resolve, reject) => {
    const flags = ["--expose-gc", "--conditions=effect-s3db-source", "--no-warnings"]
    const child = spawn(process.execPath, [...flags, worker, String(documents)], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let printed = ""
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString()
    })
    child.on("error", reject)
    child.on("exit", (code) =>
      code === 0 ? resolve(JSON.parse(printed)) : reject(new Error(`${documents} documents: exit ${code}`))
    )
  })

const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MB`

export const report = async () => {
  const documents = countOf("documents", 100_000, 10)
  const few = await run(Math.floor(documents / 10))
  const many = await run(documents)
  const results = many.map((phase, i) => {
    const base = few[i]!
    const isConstant = phase.heap <= base.heap * 1.5 + 16 * 1_048_576
    return { ...phase, baseline: base.heap, ratio: phase.heap / base.heap, isConstant }
  })
  if (results.some(({ isConstant }) => !isConstant)) process.exitCode = 1
  const lines = results.map(
    ({ name, heap, baseline, ratio, perSecond, requests, isConstant }) =>
      `  ${name.padEnd(22)} ${megabytes(baseline).padStart(9)} ${megabytes(heap).padStart(9)} ${ratio.toFixed(2).padStart(6)}x ` +
      `${String(Math.round(perSecond)).padStart(9)}/s  ${Object.entries(requests)
        .map(([operation, count]) => `${count} ${operation}`)
        .join(", ")}${isConstant ? "" : "  NOT CONSTANT"}`
  )
  const heading = `  heap in use, at most: ${Math.floor(documents / 10)} documents, ${documents} documents, ratio`
  return { results, text: [heading, ...lines].join("\n") }
}
