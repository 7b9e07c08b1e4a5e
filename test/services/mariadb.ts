/** A MariaDB of this machine's own, for one test file: on a port of its own, in a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { type Server, until } from "./postgres.ts"
import { freePort } from "./redis.ts"

export const packages = ["mariadb-server"]

const isThere = (program: string): boolean => {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

export const isInstalled = (): boolean => isThere("mariadbd") && isThere("mariadb-admin")

export const make = async (): Promise<Server> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-mariadb-"))
  const user = userInfo().username
  const init = join(folder, "init.sql")
  writeFileSync(
    init,
    // It takes one statement of each line.
    "CREATE DATABASE IF NOT EXISTS test;\nCREATE USER IF NOT EXISTS 'test'@'%' IDENTIFIED BY 'test';\nGRANT ALL ON `test%`.* TO 'test'@'%';\n"
  )
  const data = join(folder, "data")
  const common = ["--no-defaults", `--datadir=${data}`, `--user=${user}`]
  execFileSync(
    "mariadb-install-db",
    [...common, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"],
    { stdio: "ignore" }
  )
  let server: ChildProcess | undefined
  const isReady = () => {
    try {
      const args = ["--no-defaults", "-h", "127.0.0.1", "-P", String(port), "-u", "test", "-ptest", "status"]
      execFileSync("mariadb-admin", args, { stdio: "ignore" })
      return true
    } catch {
      return false
    }
  }
  const kill = async () => {
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    if (server?.kill("SIGKILL") === true) await ended
    server = undefined
  }
  return {
    url: `mysql://test:test@127.0.0.1:${port}/test`,
    port,
    start: async () => {
      const args = [
        `--port=${port}`,
        "--bind-address=127.0.0.1",
        `--socket=${join(folder, "socket")}`,
        `--pid-file=${join(folder, "pid")}`,
        `--init-file=${init}`,
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=32M"
      ]
      server = spawn("mariadbd", [...common, ...args], { stdio: "ignore" })
      await until("MariaDB", isReady)
    },
    kill,
    close: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
    }
  }
}
