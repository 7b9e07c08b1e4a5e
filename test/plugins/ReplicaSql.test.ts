import { assert, describe, it } from "@effect/vitest"
import { DatabaseSync } from "node:sqlite"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import { change, plain, simpleShape, suite } from "./replicaTables.ts"

const bytesOf = (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value)

/** A value as SQLite has it, in the JSON form. */
const fromSqlite = (type: ReplicaTarget.Type, value: unknown): unknown => {
  if (value === null) return null
  switch (type._tag) {
    case "Json":
    case "List":
      return JSON.parse(String(value))
    case "Boolean":
      return value === 1
    case "Bytes":
      return bytesOf(value)
    case "Decimal":
      return plain(String(value))
    default:
      return value
  }
}

const file = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-replica-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

describe("ReplicaSql on SQLite", () => {
  suite({
    open: Effect.gen(function* () {
      const filename = join(yield* file, "replica.db")
      const target = yield* ReplicaSql.sqlite({ filename })
      const database = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(filename)),
        (opened) => Effect.sync(() => opened.close())
      )
      return {
        target,
        ask: (sql) => Effect.sync(() => database.prepare(sql).all()),
        quote: (name) => `"${name.replaceAll('"', '""')}"`
      }
    }),
    refuses: (json) => {
      const text = JSON.stringify(json)
      return json === "NaN" || /\\ud[89a-f]/.test(text)
    },
    // It has no -0.
    instead: (type, value) => (type._tag === "Double" && value === 0 ? 0 : value),
    readBack: fromSqlite
  })

  it.effect("says what a file is that is none, and that it does not go away", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(ReplicaSql.sqlite({ filename: "/nowhere/at/all.db" }))
      assert.strictEqual(error._tag, "TargetError")
    }).pipe(Effect.scoped)
  )
})

/** A server of libSQL, as far as a replica asks it: batches of Hrana on a file of SQLite. */
const hrana = (database: DatabaseSync) => {
  type Condition =
    | { readonly type: "ok"; readonly step: number }
    | { readonly type: "not"; readonly cond: Condition }
    | { readonly type: "and"; readonly conds: ReadonlyArray<Condition> }
  interface Step {
    readonly condition?: Condition
    readonly stmt: { readonly sql: string; readonly args: ReadonlyArray<Record<string, string | number>> }
  }
  const valueOf = ({ base64, type, value }: Record<string, string | number>) =>
    type === "null"
      ? null
      : type === "integer"
        ? BigInt(value!)
        : type === "blob"
          ? Buffer.from(String(base64), "base64")
          : value!
  const cellOf = (value: unknown) =>
    value === null
      ? { type: "null" }
      : typeof value === "bigint"
        ? { type: "integer", value: String(value) }
        : typeof value === "number"
          ? { type: "float", value }
          : { type: "text", value: String(value) }
  return (body: {
    readonly requests: ReadonlyArray<{
      readonly type: string
      readonly batch?: { readonly steps: ReadonlyArray<Step> }
    }>
  }) => {
    const oks: Array<boolean> = []
    const results: Array<unknown> = []
    const errors: Array<unknown> = []
    const holds = (one: Condition): boolean =>
      one.type === "ok" ? oks[one.step] === true : one.type === "not" ? !holds(one.cond) : one.conds.every(holds)
    for (const { condition, stmt } of body.requests[0]!.batch!.steps) {
      const isRun = condition === undefined || holds(condition)
      let result: unknown = null
      let error: unknown = null
      if (isRun) {
        try {
          const statement = database.prepare(stmt.sql)
          statement.setReadBigInts(true)
          const rows = statement.all(...stmt.args.map(valueOf))
          const names = Object.keys(rows[0] ?? {})
          result = {
            cols: names.map((name) => ({ name })),
            rows: rows.map((row) => names.map((name) => cellOf(row[name]))),
            affected_row_count: 0
          }
        } catch (thrown) {
          const { errcode, message } = thrown as { readonly errcode: number; readonly message: string }
          error = {
            message: `SQLite error: ${message}`,
            code: (errcode & 0xff) === 19 ? "SQLITE_CONSTRAINT" : "SQLITE_ERROR"
          }
        }
      }
      oks.push(result !== null)
      results.push(result)
      errors.push(error)
    }
    if (database.isTransaction) database.exec("ROLLBACK")
    return {
      baton: null,
      base_url: null,
      results: [
        { type: "ok", response: { type: "batch", result: { step_results: results, step_errors: errors } } },
        { type: "ok", response: { type: "close" } }
      ]
    }
  }
}

describe("ReplicaSql on libSQL", () => {
  const opened = Effect.gen(function* () {
    const filename = join(yield* file, "replica.db")
    const database = yield* Effect.acquireRelease(
      Effect.sync(() => new DatabaseSync(filename)),
      (opened) => Effect.sync(() => opened.close())
    )
    const answer = hrana(database)
    const asked: Array<HttpClientRequest.HttpClientRequest> = []
    let lose = 0
    const client = HttpClient.make((request) =>
      Effect.gen(function* () {
        asked.push(request)
        const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : "{}"
        const json = answer(JSON.parse(text))
        const status = lose-- > 0 ? 502 : 200
        return HttpClientResponse.fromWeb(request, new Response(JSON.stringify(json), { status }))
      })
    )
    const target = yield* ReplicaSql.libsql({ url: "libsql://db.example.com/", token: Redacted.make("t0ken") }).pipe(
      Effect.provideService(HttpClient.HttpClient, client)
    )
    return {
      target,
      asked,
      lose: (times: number) => (lose = times),
      ask: (sql: string) => Effect.sync(() => database.prepare(sql).all()),
      quote: (name: string) => `"${name.replaceAll('"', '""')}"`
    }
  })
  suite({
    open: opened,
    every: 5,
    refuses: (json) =>
      /\\ud[89a-f]/.test(JSON.stringify(json)) || ["NaN", "Infinity", "-Infinity"].includes(String(json)),
    instead: (type, value) => (type._tag === "Double" && value === 0 ? 0 : value),
    readBack: fromSqlite
  })

  it.effect("is asked by one request for a batch, with its token; a lost answer does no harm", () =>
    Effect.gen(function* () {
      const { ask, asked, lose, target } = yield* opened
      const shape = simpleShape
      yield* target.run(yield* target.plan([shape]))
      const before = asked.length
      const batch = { shape, changes: [change("a", 1), change("b", 1)], isRepair: false }
      lose(1)
      assert.strictEqual((yield* Effect.flip(target.apply(batch))).problem, "Unavailable")
      yield* target.apply(batch)
      assert.strictEqual(asked.length, before + 2)
      assert.strictEqual(asked.at(-1)!.url, "https://db.example.com/v2/pipeline")
      assert.strictEqual(asked.at(-1)!.headers["authorization"], "Bearer t0ken")
      assert.strictEqual((yield* ask('SELECT * FROM "simple"')).length, 2)
    }).pipe(Effect.scoped)
  )
})
