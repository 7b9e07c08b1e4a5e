/** A few worker threads that hash passwords, so that the event loop goes on meanwhile. */
import { Worker } from "node:worker_threads"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Algorithm } from "../../internal/passwordText.ts"
import { passwordWorkerUrl } from "./passwordWorkerUrl.ts"

/** What a worker is sent. The password's bytes are handed over: the sender no longer has them. */
export type Job = Algorithm & {
  readonly password: Uint8Array<ArrayBuffer>
  readonly salt: Uint8Array
  /** Bytes of the digest; bcrypt always has 23. */
  readonly length: number
}

/** What a worker answers. */
export type Reply =
  | { readonly _tag: "Digest"; readonly digest: Uint8Array }
  | { readonly _tag: "Failure"; readonly description: string }

export interface Pool {
  /** The raw digest. Fails with a description of what happened to the worker. */
  readonly run: (job: Job) => Effect.Effect<Uint8Array, string>
}

interface Entry {
  readonly job: Job
  readonly resume: (result: Effect.Effect<Uint8Array, string>) => void
}

const zero = (bytes: Uint8Array): void => {
  // Bytes that were handed over have no length left.
  if (bytes.byteLength > 0) bytes.fill(0)
}

export const make = (options: {
  readonly threads: number
  readonly worker?: URL | undefined
}): Effect.Effect<Pool, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => open(options.threads, options.worker ?? passwordWorkerUrl)),
      (pool) => Effect.promise(pool.close)
    ),
    ({ run }) => ({ run })
  )

const open = (threads: number, url: URL): Pool & { readonly close: () => Promise<void> } => {
  /** In the order of their arrival. */
  const waiting = new Set<Entry>()
  const running = new Map<Worker, Entry>()
  const idle: Array<Worker> = []
  const ending = new Set<Promise<unknown>>()
  let closed = false

  const settle = (worker: Worker, result: Effect.Effect<Uint8Array, string>): void => {
    const entry = running.get(worker)
    running.delete(worker)
    entry?.resume(result)
  }

  const terminate = (worker: Worker): void => {
    const ended = worker.terminate().finally(() => ending.delete(ended))
    ending.add(ended)
  }

  const start = (): Worker => {
    // Nothing of the program's flags or environment is of use to the worker, and some flags keep it from starting.
    const worker = new Worker(url, { execArgv: [], env: {}, name: "effect-s3db password" })
    const lose = (description: string): void => {
      const at = idle.indexOf(worker)
      if (at !== -1) idle.splice(at, 1)
      settle(worker, Effect.fail(description))
      dispatch()
    }
    worker.on("message", (reply: Reply) => {
      // An answer that comes after its job was interrupted: the worker is being terminated.
      if (!running.has(worker)) return
      worker.unref()
      idle.push(worker)
      settle(worker, reply._tag === "Digest" ? Effect.succeed(reply.digest) : Effect.fail(reply.description))
      dispatch()
    })
    worker.on("error", (error: unknown) => lose(`the worker thread failed: ${String(error)}`))
    worker.on("exit", (code) => lose(`the worker thread ended with code ${code}`))
    return worker
  }

  /** Workers are started one by one, when a job finds none idle. */
  const dispatch = (): void => {
    for (const entry of waiting) {
      if (idle.length === 0 && running.size >= threads) return
      waiting.delete(entry)
      const worker = idle.pop() ?? tryStart(entry)
      if (worker === undefined) continue
      running.set(worker, entry)
      worker.ref()
      worker.postMessage(entry.job, [entry.job.password.buffer])
    }
  }

  const tryStart = (entry: Entry): Worker | undefined => {
    try {
      return start()
    } catch (error) {
      entry.resume(Effect.fail(`no worker thread could be started: ${String(error)}`))
      return undefined
    }
  }

  /** What becomes of a job whose fiber is interrupted: it leaves the queue, or takes its worker with it. */
  const abandon = (entry: Entry): void => {
    if (waiting.delete(entry)) return
    for (const [worker, current] of running) {
      if (current !== entry) continue
      running.delete(worker)
      // Nothing else stops a computation that may have hours to go.
      terminate(worker)
      dispatch()
      return
    }
  }

  const run = (job: Job): Effect.Effect<Uint8Array, string> =>
    Effect.callback<Uint8Array, string>((resume) => {
      if (closed) {
        resume(Effect.fail("the password hasher is closed"))
        return
      }
      const entry = { job, resume }
      waiting.add(entry)
      dispatch()
      return Effect.sync(() => abandon(entry))
    }).pipe(Effect.ensuring(Effect.sync(() => zero(job.password))))

  const close = async (): Promise<void> => {
    closed = true
    const entries = [...waiting, ...running.values()]
    for (const worker of [...idle, ...running.keys()]) terminate(worker)
    waiting.clear()
    running.clear()
    for (const { resume } of entries) resume(Effect.fail("the password hasher is closed"))
    await Promise.all(ending)
  }

  return { run, close }
}
