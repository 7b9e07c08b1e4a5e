/** Tests of replicas as tables of a real PostgreSQL and a real MariaDB: what they have to be like, and what becomes of them when the server is killed under load. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import mysql from "mysql2/promise"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SqlClient } from "effect/sql/SqlClient"
import { Database } from "effect-s3db/Database"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import { keysOf, memory, openOn } from "../fixture.ts"
import * as sql from "../../src/plugins/replicator/internal/sql.ts"
import { type Opened, type Place, placeOf, plain, suite } from "../plugins/replicaTables.ts"
import { sourceOf, Things } from "../plugins/replicas.ts"
import * as waiting from "../waiting.ts"
import { describeWithMariaDb, describeWithPostgres } from "./available.ts"
import * as mariadb from "./mariadb.ts"
import * as postgres from "./postgres.ts"

const bytesOf = (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value)

/** What a JSON text of any depth has, without the sign of zero. */
const unsigned = (value: unknown): unknown =>
  value === 0 ? 0 : value !== null && typeof value === "object" ? JSON.parse(JSON.stringify(value)) : value

/**
 * What is known of a server that dies: writes before, while it is away, and after; two replicas beside each other. `hasTables`: the server
 * is not killed before the table is there, since it would never be done with one that it was making.
 */
export const killed = (
  server: () => postgres.Server,
  opening: Effect.Effect<Opened | Place, unknown, Scope.Scope>,
  { hasTables = false }: { readonly hasTables?: boolean } = {}
) =>
  it.live("ends as the source, though the server is killed again and again under load, with two replicas at work", () =>
    Effect.gen(function* () {
      const open = Effect.map(opening, placeOf)
      const store = yield* memory
      const { database } = yield* openOn(store)
      const things = yield* Effect.provideService(Resource.make(Things.definition), Database, database)
      yield* database.journal.run(database.journaled, { firstPause: "20 millis" }).pipe(Effect.forkScoped)
      const start = (name: string, target: ReplicaTarget.Target) =>
        Replicator.make({
          name,
          target: Effect.succeed(target),
          batchSize: 40,
          firstPause: "20 millis",
          pause: "50 millis",
          longestTargetPause: "500 millis",
          resources: [Replicator.resource(Things, { as: "killed" })]
        }).pipe(Effect.provideService(Database, database), Effect.provideService(Things, things))
      const one = yield* open
      const other = yield* open
      const replicas = [yield* start("one", one.target), yield* start("other", other.target)]
      let n = 0
      const write = Effect.gen(function* () {
        const ids = Array.from({ length: 30 }, () => `${(n++ * 7919) % 400}`)
        yield* things.upsertMany(ids.map((id, i) => ({ id, n: n * 100 + i, text: `it's "${n}"` })))
        yield* things.deleteMany(ids.filter((_, i) => i % 5 === 0))
      })
      const allAreThere = Effect.gen(function* () {
        yield* waiting.until("all is in the journal", () =>
          Effect.map(keysOf(store, "journal/pending/"), (pending) => pending.length === 0)
        )
        for (const replica of replicas) yield* replica.caughtUp
      })
      if (hasTables) yield* Effect.andThen(write, allAreThere)
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 4; i++) yield* write
        yield* Effect.promise(() => server().kill())
        for (let i = 0; i < 2; i++) yield* write
        yield* Effect.promise(() => server().start())
      }
      yield* Effect.andThen(write, allAreThere)
      const last = yield* open
      const rows = yield* last.rows("killed")
      const source = yield* sourceOf(things)
      const replica = Object.fromEntries(
        rows.map((row) => [String(row["id"]), { id: row["id"], n: Number(row["n"]), text: row["text"] }])
      )
      assert.deepStrictEqual(replica, JSON.parse(JSON.stringify(source)))
      for (const { deadLetters } of replicas) assert.deepStrictEqual(yield* Stream.runCollect(deadLetters), [])
    }).pipe(Effect.scoped)
  )

export interface Extent {
  /** Whether servers are killed. */
  readonly areKilled: boolean
  /** Of the samples of values each so many-th one is tried. */
  readonly every: number
}

/** Registers them. */
export const replicasOnServers = ({ areKilled, every }: Extent): void => {
  describeWithPostgres("replicas on PostgreSQL", () => {
    let server: postgres.Server
    beforeAll(async () => {
      server = await postgres.make()
      await server.start()
    })
    afterAll(() => server.close())

    let schemas = 0
    const connected = Effect.suspend(() =>
      Effect.map(
        Layer.build(Layer.fresh(PgClient.layer({ url: Redacted.make(server.url), maxConnections: 2 }))),
        (context) => ({ context })
      )
    )
    const openIn = (schema: string): Effect.Effect<Opened, unknown, Scope.Scope> =>
      Effect.gen(function* () {
        const { context } = yield* connected
        const client = yield* Effect.provideContext(SqlClient, context)
        yield* client.unsafe(`CREATE SCHEMA IF NOT EXISTS ${schema}`)
        const target = yield* Effect.provideContext(ReplicaSql.postgres({ schema }), context)
        // Another client, past the target.
        const other = yield* connected
        const own = yield* Effect.provideContext(SqlClient, other.context)
        const ask = (text: string) =>
          Effect.orDie(
            own.withTransaction(
              Effect.andThen(
                own.unsafe(`SET LOCAL search_path TO ${schema}`),
                own.unsafe<Record<string, unknown>>(text)
              )
            )
          )
        return { target, ask, quote: sql.postgres().quote }
      })

    describe("the tables of PostgreSQL", () => {
      suite({
        every,
        open: Effect.suspend(() => openIn(`s${++schemas}`)),
        refuses: (json) => /\\u0000|\\ud[89a-f]/.test(JSON.stringify(json)),
        instead: (type, value) => (type._tag === "Json" || type._tag === "List" ? unsigned(value) : value),
        readBack: (type, value) => {
          if (value === null) return null
          switch (type._tag) {
            case "Timestamp":
              return isoOf(value)
            case "Date":
              return dayOf(value)
            case "Bytes":
              return bytesOf(value)
            case "Integer":
              return Number(value)
            case "Decimal":
              return plain(String(value))
            case "List":
              return unsigned(listOf(value))
            case "Json":
              return unsigned(value)
            default:
              return value
          }
        }
      })
      if (areKilled) killed(() => server, openIn("killed"))
    })
  })

  describeWithMariaDb("replicas on MariaDB", () => {
    let server: postgres.Server
    beforeAll(async () => {
      server = await mariadb.make()
      await server.start()
    }, 60_000)
    afterAll(() => server.close())

    let databases = 0
    const openIn = (name: string): Effect.Effect<Opened, unknown, Scope.Scope> =>
      Effect.gen(function* () {
        const urlOf = (database: string) => server.url.replace(/test$/, database)
        const asking = (database: string, text: string) =>
          Effect.acquireUseRelease(
            Effect.promise(() =>
              mysql.createConnection({
                uri: urlOf(database),
                supportBigNumbers: true,
                bigNumberStrings: true,
                dateStrings: true,
                charset: "UTF8MB4_BIN",
                jsonStrings: true
              })
            ),
            (connection) => Effect.promise(() => connection.query(text)),
            (connection) => Effect.sync(() => connection.destroy())
          ).pipe(
            Effect.map(([rows]) => (Array.isArray(rows) ? (rows as unknown as Array<Record<string, unknown>>) : []))
          )
        yield* asking("test", `CREATE DATABASE IF NOT EXISTS ${name}`)
        const target = yield* ReplicaSql.mysql({ url: Redacted.make(urlOf(name)) })
        return {
          target,
          ask: (text: string) => asking(name, text),
          quote: sql.mysql("utf8mb4_bin").quote
        }
      })

    describe("the tables of MariaDB", () => {
      suite({
        every,
        open: Effect.suspend(() => openIn(`test_${++databases}`)),
        refuses: (json) => {
          const text = JSON.stringify(json)
          return /\\ud[89a-f]/.test(text) || typeof json === "string"
        },
        instead: (type, value) => (type._tag === "Double" && value === 0 ? 0 : value),
        readBack: (type, value) => {
          if (value === null) return null
          switch (type._tag) {
            case "Timestamp":
              return `${String(value).replace(" ", "T")}Z`
            case "Json":
            case "List":
              return typeof value === "string" ? JSON.parse(value) : value
            case "Boolean":
              return Number(value) === 1
            case "Bytes":
              return bytesOf(value)
            case "Integer":
              return Number(value)
            case "Decimal":
              return plain(String(value))
            default:
              return value
          }
        }
      })
      if (areKilled) killed(() => server, openIn("test_killed"))
    })
  })
}

const isoOf = (value: unknown): unknown => (value instanceof Date ? value.toISOString() : value)
const dayOf = (value: unknown): unknown => (value instanceof Date ? value.toISOString().slice(0, 10) : value)
const listOf = (value: unknown): unknown =>
  Array.isArray(value) ? value.map((one: unknown) => (typeof one === "bigint" ? Number(one) : one)) : value
