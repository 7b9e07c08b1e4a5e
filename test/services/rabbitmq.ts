/** A RabbitMQ of this machine's own, for one test file: on ports of its own, with a folder of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isListening } from "./ceph.ts"
import { freePort } from "./redis.ts"

const folder = "/usr/lib/rabbitmq/lib"

/** The script itself, which needs no user of its own. */
const program = (): string | undefined => {
  if (!existsSync(folder)) return undefined
  const [found] = readdirSync(folder).filter((name) => name.startsWith("rabbitmq_server-"))
  return found === undefined ? undefined : join(folder, found, "sbin/rabbitmq-server")
}

export const isInstalled = (): boolean => program() !== undefined

export interface RabbitMq {
  readonly url: string
  readonly start: () => Promise<void>
  /** As `kill -9`. */
  readonly kill: () => Promise<void>
  readonly close: () => Promise<void>
}

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

export const make = async (): Promise<RabbitMq> => {
  const [port, distribution, epmd] = [await freePort(), await freePort(), await freePort()]
  const home = mkdtempSync(join(tmpdir(), "effect-s3db-rabbitmq-"))
  writeFileSync(join(home, "enabled_plugins"), "[].")
  writeFileSync(
    join(home, "rabbitmq.conf"),
    `listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = true\ndisk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 1GB\n`
  )
  const env = {
    ...process.env,
    HOME: home,
    ERL_EPMD_PORT: String(epmd),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: `s3db${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(home, "data"),
    RABBITMQ_LOG_BASE: join(home, "log"),
    RABBITMQ_LOGS: "-",
    RABBITMQ_CONFIG_FILE: join(home, "rabbitmq.conf"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(home, "enabled_plugins"),
    RABBITMQ_FEATURE_FLAGS_FILE: join(home, "feature_flags"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(home, "advanced.config"),
    RABBITMQ_CONF_ENV_FILE: join(home, "none")
  }
  let server: ChildProcess | undefined
  let output = ""
  const kill = async () => {
    const { exitCode, pid, signalCode } = server ?? {}
    if (server === undefined || pid === undefined || exitCode !== null || signalCode !== null) return
    const ended = new Promise((resolve) => server?.once("exit", resolve))
    // The script and what it has started are one group.
    process.kill(-pid, "SIGKILL")
    await ended
    server = undefined
  }
  return {
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    start: async () => {
      output = ""
      server = spawn(program()!, [], { env, detached: true, stdio: ["ignore", "pipe", "pipe"] })
      for (const stream of [server.stdout, server.stderr])
        stream?.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-20_000)))
      for (let i = 0; i < 2400; i++) {
        if (output.includes("Server startup complete") && (await isListening(port))) return
        if (server.exitCode !== null) throw new Error(`RabbitMQ does not start: ${output}`)
        await pause(50)
      }
      throw new Error(`RabbitMQ does not come up: ${output}`)
    },
    kill,
    close: async () => {
      await kill()
      try {
        execFileSync("epmd", ["-port", String(epmd), "-kill"], { env, stdio: "ignore" })
      } catch {
        // It is gone already.
      }
      rmSync(home, { recursive: true, force: true })
    }
  }
}
