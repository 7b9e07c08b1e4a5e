/** A NATS of this machine's own, with JetStream, for one test file: on a port of its own, with a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isListening } from "./ceph.ts"
import { freePort } from "./redis.ts"

export const isInstalled = (): boolean => {
  try {
    execFileSync("nats-server", ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

export interface Nats {
  readonly url: string
  readonly start: () => Promise<void>
  /** As `kill -9`. */
  readonly kill: () => Promise<void>
  readonly close: () => Promise<void>
}

export const make = async (): Promise<Nats> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-nats-"))
  let server: ChildProcess | undefined
  const kill = async () => {
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    if (server?.kill("SIGKILL") === true) await ended
    server = undefined
  }
  return {
    url: `nats://127.0.0.1:${port}`,
    start: async () => {
      server = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", folder], { stdio: "ignore" })
      for (let i = 0; i < 600 && !(await isListening(port)); i++)
        await new Promise((resolve) => setTimeout(resolve, 25))
    },
    kill,
    close: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
