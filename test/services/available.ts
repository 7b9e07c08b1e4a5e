/** Tests that need a real server: they run when it answers, fail when it must, and are named when they are left out. */
import { appendFileSync, mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, it } from "@effect/vitest"
import { installCommand, missing } from "../runtimes/runtimes.ts"
import * as ceph from "./ceph.ts"
import * as chromium from "./chromium.ts"
import * as kafka from "./kafka.ts"
import * as mariadb from "./mariadb.ts"
import * as postgres from "./postgres.ts"
import * as nats from "./nats.ts"
import * as rabbitmq from "./rabbitmq.ts"
import * as redis from "./redis.ts"

export const required = process.env["S3DB_REQUIRE_SERVICES"] === "1"

/** Where the names of left out tests are collected, for the report at the end of the run. */
export const leftOutFile = fileURLToPath(new URL("../../.services/left-out", import.meta.url))

export const startCommand = "npm run services -- up --install"

export const gateway = { ...ceph.gateway, available: await ceph.answers() }

interface Service {
  readonly need: string
  readonly isAvailable: boolean
  readonly problem: string
}

const describeWith = ({ isAvailable, need, problem }: Service, name: string, tests: () => void): void => {
  if (isAvailable) return tests()
  if (required) {
    describe(name, () => {
      it(need, () => {
        throw new Error(problem)
      })
    })
    return
  }
  mkdirSync(dirname(leftOutFile), { recursive: true })
  appendFileSync(leftOutFile, `${name} (${need})\n`)
  describe.skip(name, () => {
    it(need, () => {})
  })
}

/** Registers tests that need the gateway. */
export const describeWithGateway = (name: string, tests: () => void): void => {
  const problem = `the gateway does not answer at ${gateway.endpoint}; start it with: ${startCommand}`
  describeWith({ need: "needs Ceph's gateway", isAvailable: gateway.available, problem }, name, tests)
}

/** Registers tests that start a Redis. */
export const describeWithRedis = (name: string, tests: () => void): void => {
  const problem = "redis-server is not installed; on Debian: apt-get install redis-server"
  describeWith({ need: "needs redis-server", isAvailable: redis.isInstalled(), problem }, name, tests)
}

/** Registers tests that start a PostgreSQL. */
export const describeWithPostgres = (name: string, tests: () => void): void => {
  const problem = `PostgreSQL is not installed; on Debian: ${startCommand}`
  describeWith({ need: "needs PostgreSQL", isAvailable: postgres.isInstalled(), problem }, name, tests)
}

/** Registers tests that start a MariaDB. */
export const describeWithMariaDb = (name: string, tests: () => void): void => {
  const problem = `MariaDB is not installed; on Debian: ${startCommand}`
  describeWith({ need: "needs MariaDB", isAvailable: mariadb.isInstalled(), problem }, name, tests)
}

/** Registers tests that start a RabbitMQ. */
export const describeWithRabbitMq = (name: string, tests: () => void): void => {
  const problem = "rabbitmq-server is not installed; on Debian: apt-get install rabbitmq-server"
  describeWith({ need: "needs rabbitmq-server", isAvailable: rabbitmq.isInstalled(), problem }, name, tests)
}

/** Registers tests that start a NATS. */
export const describeWithNats = (name: string, tests: () => void): void => {
  const problem = "nats-server is not installed; on Debian: apt-get install nats-server"
  describeWith({ need: "needs nats-server", isAvailable: nats.isInstalled(), problem }, name, tests)
}

/** Registers tests that start the broker of librdkafka. */
export const describeWithKafka = (name: string, tests: () => void): void => {
  const problem = "kcat is not installed; on Debian: apt-get install kcat"
  describeWith({ need: "needs kcat", isAvailable: kafka.isInstalled(), problem }, name, tests)
}

/** Registers tests that run programs on Bun, Deno and workerd. */
export const describeWithRuntimes = (name: string, tests: () => void): void => {
  const absent = missing()
  const problem = `${absent.join(", ")} is not installed: ${installCommand}`
  describeWith({ need: "needs Bun, Deno and workerd", isAvailable: absent.length === 0, problem }, name, tests)
}

/** Registers tests that start a browser. */
export const describeWithChromium = (name: string, tests: () => void): void => {
  const problem = `Chromium is not installed; on Debian: ${chromium.installCommand}`
  describeWith({ need: "needs Chromium", isAvailable: chromium.path() !== undefined, problem }, name, tests)
}
