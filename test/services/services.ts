/**
 * The real servers that some tests need.
 *
 * npm run services -- up [--install] | down | status [--json]
 */
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as ceph from "./ceph.ts"
import * as mariadb from "./mariadb.ts"
import * as kafka from "./kafka.ts"
import * as nats from "./nats.ts"
import * as postgres from "./postgres.ts"
import * as rabbitmq from "./rabbitmq.ts"
import * as redis from "./redis.ts"

/** Servers of which a test that needs one starts its own, and their packages of Debian. */
const servers = [
  { name: "PostgreSQL", packages: postgres.packages, isInstalled: postgres.isInstalled },
  { name: "MariaDB", packages: mariadb.packages, isInstalled: mariadb.isInstalled },
  { name: "Redis", packages: ["redis-server"], isInstalled: redis.isInstalled },
  { name: "RabbitMQ", packages: ["rabbitmq-server"], isInstalled: rabbitmq.isInstalled },
  { name: "NATS", packages: ["nats-server"], isInstalled: nats.isInstalled },
  { name: "kcat", packages: ["kcat"], isInstalled: kafka.isInstalled }
]

const { accessKeyId, endpoint, port, secretAccessKey } = ceph.gateway
const usage = `usage: npm run services -- up [--install] | down | status   [--json]

up      starts Ceph's S3 gateway on port ${port}; --install installs it first, on Debian and as root, and the servers
        of which a test that needs one starts its own: ${servers.map(({ name }) => name).join(", ")}
down    ends it, and removes all that it holds
status  says whether it runs

Its access key is ${accessKeyId}, its secret key ${secretAccessKey}:
  S3DB_URL='${endpoint.replace("//", `//${accessKeyId}:${encodeURIComponent(secretAccessKey)}@`)}/bucket?createBucket=true'`
const home = join(fileURLToPath(new URL("../..", import.meta.url)), ".services")

const args = process.argv.slice(2)
const [command] = args.filter((arg) => !arg.startsWith("--"))
const unknown = args.filter((arg) => arg.startsWith("--") && arg !== "--json" && arg !== "--install")
const json = args.includes("--json")
const say = (line: string): void => {
  if (!json) console.log(line)
}

const allPackages = [...ceph.packages, ...servers.flatMap(({ packages }) => packages)]

const install = (): void => {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) {
    throw new Error(`--install needs root on Debian; elsewhere install ${allPackages.join(", ")} yourself`)
  }
  const packages = [
    ...(ceph.missingPrograms().length === 0 ? [] : ceph.packages),
    ...servers.flatMap(({ isInstalled, packages }) => (isInstalled() ? [] : packages))
  ]
  if (packages.length === 0) return
  say(`installing ${packages.join(", ")}`)
  const options = { stdio: ["ignore", "ignore", "pipe"] as ["ignore", "ignore", "pipe"] }
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  execFileSync("apt-get", ["update"], { ...options, env })
  execFileSync("apt-get", ["install", "-y", "--no-install-recommends", ...packages], { ...options, env })
}

const main = async (): Promise<number> => {
  if (args.includes("--help") || command === "help") {
    console.log(usage)
    return 0
  }
  if (unknown.length > 0) throw new Error(`unknown option ${unknown.join(", ")}\n${usage}`)
  switch (command) {
    case "up": {
      if (args.includes("--install")) install()
      const missing = ceph.missingPrograms()
      if (missing.length > 0) {
        throw new Error(
          `not installed: ${missing.join(", ")}\nInstall and start them with: npm run services -- up --install`
        )
      }
      await ceph.up(home, say)
      if (json) console.log(JSON.stringify({ ceph: await ceph.status(home) }))
      return 0
    }
    case "down":
      await ceph.down(home)
      say("everything is down, nothing is left")
      if (json) console.log(JSON.stringify({ ceph: await ceph.status(home) }))
      return 0
    case "status": {
      const status = await ceph.status(home)
      if (json) console.log(JSON.stringify({ ceph: status }))
      else {
        const parts = Object.entries(status.daemons).map(([name, alive]) => `${name} ${alive ? "running" : "stopped"}`)
        console.log(`ceph gateway: ${status.up ? `up at ${status.endpoint}` : "down"} (${parts.join(", ")})`)
      }
      return status.up ? 0 : 1
    }
    default:
      throw new Error(usage)
  }
}

main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error)
    if (json) console.log(JSON.stringify({ error: message }))
    else console.error(message)
    process.exitCode = 1
  }
)
