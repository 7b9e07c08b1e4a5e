/** A PostgreSQL of this machine's own, for one test file: on a port of its own, in a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort } from "./redis.ts"

export const packages = ["postgresql"]

/** Debian has it beside the path, a folder for each version. */
const programOf = (name: string): string | undefined => {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root) ? readdirSync(root).toSorted((a, b) => Number(b) - Number(a)) : []
  const found = versions.map((version) => join(root, version, "bin", name)).find((path) => existsSync(path))
  if (found !== undefined) return found
  try {
    return execFileSync("which", [name], { encoding: "utf8" }).trim()
  } catch {
    return undefined
  }
}

export const isInstalled = (): boolean => programOf("initdb") !== undefined && programOf("postgres") !== undefined

/** It does not run as root. */
const user = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((one) => one.startsWith("postgres:") || one.startsWith("nobody:"))
  const [, , uid, gid] = line?.split(":") ?? []
  return { uid: Number(uid), gid: Number(gid) }
}

export interface Server {
  readonly url: string
  readonly port: number
  readonly start: () => Promise<void>
  /** As the death of the process, and of all that it has begun. */
  readonly kill: () => Promise<void>
  readonly close: () => Promise<void>
}

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export const until = async (what: string, isSo: () => boolean): Promise<void> => {
  const end = Date.now() + 60_000
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`${what} does not answer`)
    await sleep(50)
  }
}

export const make = async (): Promise<Server> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-postgres-"))
  const owner = user()
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid)
  chmodSync(folder, 0o700)
  const as = { ...owner, cwd: folder }
  const data = join(folder, "data")
  execFileSync(
    programOf("initdb")!,
    ["-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
    {
      ...as,
      stdio: "ignore"
    }
  )
  let server: ChildProcess | undefined
  const isReady = () => {
    try {
      execFileSync(
        programOf("psql") ?? "psql",
        ["-h", "127.0.0.1", "-p", String(port), "-U", "test", "postgres", "-c", "select 1"],
        {
          ...as,
          stdio: "ignore"
        }
      )
      return true
    } catch {
      return false
    }
  }
  const kill = async () => {
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    // What it has begun ends with the one that began it, as it finds out.
    if (server?.kill("SIGKILL") === true) await ended
    server = undefined
    for (let i = 0; i < 200 && existsSync(join(data, "postmaster.pid")) && isAlive(data); i++) await sleep(25)
    rmSync(join(data, "postmaster.pid"), { force: true })
  }
  return {
    url: `postgres://test@127.0.0.1:${port}/postgres`,
    port,
    start: async () => {
      server = spawn(
        programOf("postgres")!,
        ["-D", data, "-p", String(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=20"],
        { ...as, stdio: "ignore" }
      )
      await until("PostgreSQL", isReady)
    },
    kill,
    close: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    }
  }
}

/** Whether a process that was begun in the folder is left. */
const isAlive = (data: string): boolean => {
  try {
    return execFileSync("pgrep", ["-f", data], { encoding: "utf8" }).trim() !== ""
  } catch {
    return false
  }
}
