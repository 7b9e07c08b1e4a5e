/** A Redis of this machine's own, for one test file: on a port of its own, nothing on the disk. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isListening } from "./ceph.ts"

export const isInstalled = (): boolean => {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

export interface Redis {
  readonly url: string
  readonly start: () => Promise<void>
  /** As the death of the machine: nothing is left of what it had, unless it is durable. */
  readonly stop: () => Promise<void>
  readonly close: () => Promise<void>
}

/** `isDurable`: whatever it has answered is on the disk, and there after `stop` and `start`. */
export const make = async ({ isDurable = false } = {}): Promise<Redis> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-redis-"))
  let server: ChildProcess | undefined
  const stop = async () => {
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    if (server?.kill("SIGKILL") === true) await ended
    server = undefined
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    start: async () => {
      const keeping = isDurable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"]
      const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", ...keeping, "--dir", folder]
      server = spawn("redis-server", args, { stdio: "ignore" })
      for (let i = 0; i < 200 && !(await isListening(port)); i++)
        await new Promise((resolve) => setTimeout(resolve, 25))
    },
    stop,
    close: async () => {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
