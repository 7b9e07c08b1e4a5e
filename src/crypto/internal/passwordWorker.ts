/**
 * The entry of a worker thread that hashes passwords, one at a time.
 *
 * It is loaded by its URL: as it is from the source, with what it imports inlined from the build. It imports nothing of
 * this library but types, and nothing in it needs more than its types taken away.
 */
import { parentPort } from "node:worker_threads"
import { argon2id, bcrypt } from "hash-wasm"
import type { Job, Reply } from "./passwordPool.ts"

const compute = (job: Job): Promise<Uint8Array> =>
  job._tag === "Bcrypt"
    ? bcrypt({ password: job.password, salt: job.salt, costFactor: job.cost, outputType: "binary" })
    : argon2id({
        password: job.password,
        salt: job.salt,
        memorySize: job.memory,
        iterations: job.passes,
        parallelism: job.parallelism,
        hashLength: job.length,
        outputType: "binary"
      })

parentPort?.on("message", (job: Job) => {
  const reply = (message: Reply) => {
    job.password.fill(0)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of Node, not a window
    parentPort?.postMessage(message)
  }
  compute(job).then(
    // bcrypt fills 24 bytes, of which its text form has only ever kept 23.
    (digest) => reply({ _tag: "Digest", digest: job._tag === "Bcrypt" ? digest.subarray(0, 23) : digest }),
    // The messages of hash-wasm and of the engine are fixed texts and limits, never input.
    (error: unknown) => reply({ _tag: "Failure", description: String(error) })
  )
})
