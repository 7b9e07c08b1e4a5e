/**
 * Replicas as tables of SQL: PostgreSQL, MySQL and MariaDB, SQLite, and libSQL (Turso) over HTTP.
 *
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
 * import * as Resource from "effect-s3db/Resource"
 * import { Layer, Redacted, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Warehouse extends Replicator.Service<Warehouse>()("app/Warehouse", {
 *   name: "warehouse",
 *   target: ReplicaSql.postgres(),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 *
 * const Replica = Warehouse.layer.pipe(Layer.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/shop") })))
 * ```
 *
 * **Details**
 *
 * A resource is a table: its primary key, a column for each field, and `s3db_version`. Each batch is one transaction. A row is written where its version is
 * smaller; a deletion removes it, and leaves its version in `s3db_replica_deletions`. `s3db_replica_locks` has a row for each table, so that of two
 * programs that write to one table one waits.
 *
 * Types are exact, or the document is refused: see the table in the guide. A field that is missing, and one that is `null`, is `NULL`.
 *
 * Tables and columns that are missing are made by the plan. Nothing is dropped, and no type is changed: what stands in the way is a problem of the plan.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import type * as Mysql from "mysql2/promise"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import * as Base64 from "effect/encoding/Base64"
import * as Plugin from "../Plugin.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import { problemsOfNames } from "./replicator/internal/plans.ts"
import * as sql from "./replicator/internal/sql.ts"
import { Misfit } from "./replicator/internal/values.ts"

type TargetError = ReplicaTarget.TargetError

/** Statements in one transaction, in their order, and the rows of each. */
interface Connection {
  readonly kind: string
  /** It is known when the database has answered. */
  readonly dialect: Effect.Effect<sql.Dialect, TargetError>
  readonly transaction: (
    statements: ReadonlyArray<sql.Statement>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<sql.Row>>, TargetError>
  /** One statement by itself: of those that change tables. */
  readonly execute: (statement: sql.Statement) => Effect.Effect<ReadonlyArray<sql.Row>, TargetError>
}

type Problem = TargetError["problem"]

/** Values are in quotes in messages of databases. */
const withoutValues = (message: string): string =>
  message
    .split(/[\r\n]/)[0]!
    .replace(/'[^']*'|"[^"]*"|“[^”]*”/g, "…")
    .slice(0, 300)

const failure = (target: string, problem: Problem, description: string) =>
  new ReplicaTarget.TargetError({ target, problem, description })

const textAt = (value: unknown, name: string): string | undefined => {
  const found: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined
  return typeof found === "string" ? found : undefined
}

// -----------------------------------------------------------------------------
// The target
// -----------------------------------------------------------------------------

const tableOf = ({ columns, name, primaryKey }: ReplicaTarget.Shape): sql.Table => ({ name, key: primaryKey, columns })

const planOf = Effect.fnUntraced(function* (
  { dialect: asked, execute }: Connection,
  shapes: ReadonlyArray<ReplicaTarget.Shape>
): Effect.fn.Return<ReplicaTarget.Plan, TargetError> {
  const dialect = yield* asked
  const steps: Array<ReplicaTarget.Step> = []
  const problems: Array<ReplicaTarget.Plan["problems"][number]> = []
  const columnsIn = Effect.fnUntraced(function* (table: string) {
    const rows = yield* execute(dialect.describe(table))
    return rows.map((row) => ({
      name: String(row["name"]),
      type: String(row["type"]).toLowerCase(),
      isKey: Number(row["is_key"]) === 1,
      others: Number(row["others"])
    }))
  })
  for (const { statement, table } of dialect.support) {
    if ((yield* columnsIn(table)).length === 0) {
      steps.push({ name: table, description: `create the table ${table}`, statement })
    }
  }
  for (const shape of shapes) {
    const table = tableOf(shape)
    const names = [shape.name, shape.primaryKey, ...shape.columns.map(({ name }) => name)]
    const wrong = problemsOfNames(
      shape,
      names.map((name) => [name, dialect.problemOfName(name)])
    )
    problems.push(...wrong)
    if (wrong.length > 0) continue
    const present = yield* columnsIn(shape.name)
    if (present.length === 0) {
      steps.push({ name: shape.name, description: `create the table ${shape.name}`, statement: dialect.create(table) })
      continue
    }
    // As the database has cut them, and does or does not tell them apart by case.
    const nameIn = (name: string) => dialect.quote(name).slice(1, -1).replaceAll("``", "`").replaceAll('""', '"')
    const isSame = (a: string, b: string) =>
      dialect.name === "postgres" ? a === b : a.toLowerCase() === b.toLowerCase()
    const find = (name: string) => present.find((one) => isSame(one.name, nameIn(name)))
    if (find(sql.versionColumn) === undefined) {
      problems.push({
        name: shape.name,
        problem: `there is a table of this name, which is no replica: it has no column ${sql.versionColumn}`
      })
      continue
    }
    if (find(shape.primaryKey)?.isKey !== true) {
      problems.push({ name: shape.name, problem: `${shape.primaryKey} is not the primary key of the table` })
    }
    if (present.some(({ others }) => others > 0)) {
      problems.push({
        name: shape.name,
        problem:
          "the table has another unique index: a row of another document would be taken for the one that is written"
      })
    }
    for (const column of shape.columns) {
      const found = find(column.name)
      if (found === undefined) {
        steps.push({
          name: shape.name,
          description: `add the column ${column.name} to ${shape.name}`,
          statement: dialect.add(shape.name, column)
        })
      } else if (!dialect.holds(column.type, found.type)) {
        problems.push({
          name: shape.name,
          problem: `the column ${column.name} is ${found.type}, and has to be ${dialect.typeOf(column.type)}`
        })
      }
    }
  }
  return { steps, problems }
})

const targetOf = (connection: Connection): ReplicaTarget.Target => {
  const { execute, kind, transaction } = connection
  return {
    kind,
    keeps: "state",
    plan: (shapes) => planOf(connection, shapes),
    run: ({ steps }) =>
      Effect.forEach(
        steps,
        ({ description, statement }) =>
          Effect.catch(execute({ sql: statement, values: [] }), (error) =>
            // Somebody else has done it meanwhile, or it cannot be done; the next plan tells.
            error.problem === "Unavailable"
              ? Effect.fail(error)
              : Effect.logWarning(`the replica on ${kind} could not ${description}: ${error.description}`)
          ),
        { discard: true }
      ),
    apply: Effect.fnUntraced(function* ({ changes, isRepair, shape }) {
      const dialect = yield* connection.dialect
      const table = tableOf(shape)
      const last = new Map(changes.map((change) => [change.id, change]))
      const rows: Array<sql.Bound> = []
      const gone: Array<{ readonly id: string; readonly version: number }> = []
      for (const { document, id, version } of last.values()) {
        if (document === undefined) gone.push({ id, version })
        else rows.push({ id, version, document })
      }
      const upserts = rows.length === 0 ? [] : dialect.upsert(table, rows, isRepair)
      if (upserts instanceof Misfit) return yield* failure(kind, "Refused", upserts.description)
      yield* transaction([
        dialect.lock(shape.name),
        ...upserts,
        ...(gone.length === 0 ? [] : dialect.bury(shape.name, gone)),
        ...dialect.settle(table, [...last.keys()])
      ])
    }),
    sweep: Effect.fnUntraced(function* (shape, version) {
      const dialect = yield* connection.dialect
      const [, counted] = yield* transaction([dialect.lock(shape.name), ...dialect.sweep(tableOf(shape), version)])
      return Number(counted?.[0]?.["n"] ?? 0)
    })
  }
}

// -----------------------------------------------------------------------------
// PostgreSQL
// -----------------------------------------------------------------------------

/** What says nothing of the values that were sent is waited out. */
const ofSqlState = (state: string): Problem => {
  if (state.startsWith("28")) return "Credentials"
  if (state.startsWith("42")) return "Schema"
  return ["22", "23", "54"].includes(state.slice(0, 2)) ? "Refused" : "Unavailable"
}

/** The SQLSTATE of what a client says, however deep it is. */
const sqlStateOf = (error: unknown, depth = 0): { readonly state: string; readonly message: string } | undefined => {
  if (typeof error !== "object" || error === null || depth > 5) return undefined
  const state = textAt(error, "code") ?? textAt(error, "sqlState")
  if (state !== undefined && /^[0-9A-Z]{5}$/.test(state)) return { state, message: textAt(error, "message") ?? "" }
  return sqlStateOf(Reflect.get(error, "reason"), depth + 1) ?? sqlStateOf(Reflect.get(error, "cause"), depth + 1)
}

const fromSqlError =
  (kind: string) =>
  (error: SqlError.SqlError): TargetError => {
    const found = sqlStateOf(error)
    if (found !== undefined) {
      return failure(kind, ofSqlState(found.state), `${found.state} ${withoutValues(found.message)}`)
    }
    return failure(kind, "Unavailable", `${error.reason._tag}: ${withoutValues(error.reason.message)}`)
  }

/**
 * Makes a target of a `SqlClient` that is connected to PostgreSQL, such as that of `@effect/sql-pg`. `schema`: where the tables are; by default where the
 * connection looks first. A batch is one statement for its rows and three for what was deleted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const postgres = ({ schema }: { readonly schema?: string | undefined } = {}): Effect.Effect<
  ReplicaTarget.Target,
  never,
  SqlClient.SqlClient
> =>
  Effect.map(SqlClient.SqlClient, (given) => {
    const client = given.withoutTransforms()
    const kind = "postgres"
    const execute = ({ sql, values }: sql.Statement) => client.unsafe<sql.Row>(sql, values)
    return targetOf({
      kind,
      dialect: Effect.succeed(sql.postgres(schema)),
      execute: (statement) => Effect.mapError(execute(statement), fromSqlError(kind)),
      transaction: (statements) =>
        client.withTransaction(Effect.forEach(statements, execute)).pipe(
          // A connection that is lost cannot take back what it has begun, which is a defect to the client.
          Effect.catchDefect((defect) => (SqlError.isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect))),
          Effect.mapError(fromSqlError(kind))
        )
    })
  })

// -----------------------------------------------------------------------------
// MySQL and MariaDB
// -----------------------------------------------------------------------------

/**
 * How MySQL is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface MysqlOptions {
  /** `mysql://user:password@host:3306/database`. */
  readonly url: Redacted.Redacted
  /** How long a connection may take, in milliseconds. Default: 10,000. */
  readonly connectTimeoutMillis?: number | undefined
}

const mysqlFailure =
  (kind: string) =>
  (error: unknown): TargetError => {
    const state = textAt(error, "sqlState") ?? ""
    const code = textAt(error, "code") ?? "failed"
    // Too large for the server, or for the row: no other time either.
    const isOfValues = ["22", "23"].includes(state.slice(0, 2)) || refusals.has(code)
    const problem = isOfValues ? "Refused" : ofSqlState(state)
    const message = error instanceof Error ? error.message : ""
    return failure(kind, problem, `${code} ${withoutValues(message)}`)
  }

const refusals = new Set([
  "ER_DATA_TOO_LONG",
  "ER_TRUNCATED_WRONG_VALUE",
  "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD",
  "ER_WARN_DATA_OUT_OF_RANGE",
  "WARN_DATA_TRUNCATED",
  "ER_INVALID_JSON_TEXT",
  "ER_CONSTRAINT_FAILED",
  "ER_NET_PACKET_TOO_LARGE",
  "ER_TOO_BIG_ROWSIZE",
  "ER_NO_DEFAULT_FOR_FIELD"
])

/** What every connection says first: nothing is cut, no time is moved. */
const mysqlSession =
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', transaction_isolation = 'READ-COMMITTED'"
const mariaSession = mysqlSession.replace("transaction_isolation", "tx_isolation")

/**
 * Makes a target of MySQL 8 or MariaDB 10.6 and later. It needs the package `mysql2`, and connects when it is asked first; one connection, which is made anew when
 * it breaks. A batch is one statement for each 256 rows, or fewer where there are many columns.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mysql = Effect.fn("ReplicaSql.mysql")(function* ({
  connectTimeoutMillis = 10_000,
  url
}: MysqlOptions): Effect.fn.Return<ReplicaTarget.Target, Plugin.DependencyMissing, Scope.Scope> {
  const kind = "mysql"
  const driver = yield* Plugin.dependency(
    { name: "replicator" },
    {
      package: "mysql2",
      range: "^3.24.0",
      load: () => import("mysql2/promise")
    }
  )
  const turn = Semaphore.makeUnsafe(1)
  const failing = mysqlFailure(kind)
  const asking = <A>(ask: () => Promise<A>) => Effect.tryPromise({ try: ask, catch: failing })
  let open: { readonly connection: Mysql.Connection; readonly dialect: sql.Dialect } | undefined

  const close = Effect.sync(() => {
    open?.connection.destroy()
    open = undefined
  })
  yield* Effect.addFinalizer(() => close)

  const connect = Effect.gen(function* () {
    const connection = yield* asking(() =>
      driver.createConnection({
        uri: Redacted.value(url),
        connectTimeout: connectTimeoutMillis,
        charset: "UTF8MB4_BIN",
        supportBigNumbers: true,
        bigNumberStrings: true,
        multipleStatements: false
      })
    )
    // What breaks while nobody asks is told when somebody does.
    connection.on("error", () => {})
    const begun = Effect.gen(function* () {
      const [rows] = yield* asking(() => connection.query<Array<Mysql.RowDataPacket>>("SELECT VERSION() AS v"))
      const isMaria = String(rows[0]?.["v"]).includes("MariaDB")
      yield* asking(() => connection.query(isMaria ? mariaSession : mysqlSession))
      return { connection, dialect: sql.mysql(isMaria ? "utf8mb4_nopad_bin" : "utf8mb4_0900_bin") }
    })
    return yield* Effect.onExit(begun, (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) connection.destroy()
      })
    )
  })

  const opened = Effect.suspend(() =>
    open === undefined ? Effect.tap(connect, (made) => Effect.sync(() => void (open = made))) : Effect.succeed(open)
  )

  const one = (connection: Mysql.Connection, { sql: text, values }: sql.Statement) =>
    Effect.map(
      asking(() =>
        // What is prepared is sent apart from its values, so that no mode of the server reads them otherwise.
        values.length === 0
          ? connection.query(text)
          : connection.execute(
              text,
              values.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value))
            )
      ),
      ([rows]) => (Array.isArray(rows) ? (rows as ReadonlyArray<sql.Row>) : [])
    )

  /** A connection on which something failed or was interrupted is not used again: nobody knows what is open on it. */
  const using = <A>(
    work: (connection: Mysql.Connection) => Effect.Effect<A, TargetError>
  ): Effect.Effect<A, TargetError> =>
    turn.withPermits(1)(
      Effect.flatMap(opened, ({ connection }) =>
        Effect.onExit(work(connection), (exit) => (Exit.isSuccess(exit) ? Effect.void : close))
      )
    )

  return targetOf({
    kind,
    dialect: turn.withPermits(1)(Effect.map(opened, ({ dialect }) => dialect)),
    execute: (statement) => using((connection) => one(connection, statement)),
    transaction: (statements) =>
      using((connection) =>
        Effect.gen(function* () {
          yield* one(connection, { sql: "START TRANSACTION", values: [] })
          const rows = yield* Effect.forEach(statements, (statement) => one(connection, statement))
          yield* one(connection, { sql: "COMMIT", values: [] })
          return rows
        })
      )
  })
})

// -----------------------------------------------------------------------------
// SQLite
// -----------------------------------------------------------------------------

const sqliteFailure =
  (kind: string) =>
  (error: unknown): TargetError => {
    const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "errcode") : undefined
    const message = error instanceof Error ? error.message : ""
    const primary = typeof code === "number" ? code & 0xff : undefined
    const problem = /^no such (table|column)|has no column|does not match any/.test(message)
      ? "Schema"
      : primary === 18 || primary === 19 || primary === 20
        ? "Refused"
        : "Unavailable"
    return failure(kind, problem, `${primary === undefined ? "" : `${primary} `}${withoutValues(message)}`)
  }

/**
 * Makes a target of a file of SQLite, by `node:sqlite`; `:memory:` is one that ends with the scope. The file is made where it is not. Others may read it
 * meanwhile (WAL).
 *
 * @category constructors
 * @since 0.1.0
 */
export const sqlite = Effect.fn("ReplicaSql.sqlite")(function* ({
  filename
}: {
  readonly filename: string
}): Effect.fn.Return<ReplicaTarget.Target, Plugin.DependencyMissing | TargetError, Scope.Scope> {
  const kind = "sqlite"
  const driver = yield* Plugin.dependency(
    { name: "replicator" },
    {
      package: "node:sqlite",
      range: ">=22.13.0",
      install: "use Node.js 22.13 or later",
      load: () => import("./replicator/internal/nodeSqlite.ts").then(({ load }) => load())
    }
  )
  const failing = sqliteFailure(kind)
  const database = yield* Effect.acquireRelease(
    Effect.try({ try: () => driver.open(filename), catch: failing }),
    (opened) => Effect.sync(() => opened.close())
  )
  return targetOf({
    kind,
    dialect: Effect.succeed(sql.sqlite),
    execute: (statement) => Effect.try({ try: () => database.run(statement), catch: failing }),
    transaction: (statements) => Effect.try({ try: () => database.transaction(statements), catch: failing })
  })
})

// -----------------------------------------------------------------------------
// libSQL
// -----------------------------------------------------------------------------

/**
 * How a server of libSQL is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface LibsqlOptions {
  /** `https://NAME.turso.io`, or `http://localhost:8080`. */
  readonly url: string
  readonly token?: Redacted.Redacted | undefined
}

const HranaValue = Schema.Struct({ type: Schema.String, value: Schema.optionalKey(Schema.Unknown) })
const HranaResult = Schema.Struct({
  cols: Schema.Array(Schema.Struct({ name: Schema.NullOr(Schema.String) })),
  rows: Schema.Array(Schema.Array(HranaValue))
})
const HranaFailure = Schema.Struct({ message: Schema.String, code: Schema.optionalKey(Schema.NullOr(Schema.String)) })
const HranaAnswer = Schema.Struct({
  results: Schema.Array(
    Schema.Struct({
      type: Schema.String,
      error: Schema.optionalKey(HranaFailure),
      response: Schema.optionalKey(
        Schema.Struct({
          type: Schema.String,
          result: Schema.optionalKey(
            Schema.Struct({
              step_results: Schema.Array(Schema.NullOr(HranaResult)),
              step_errors: Schema.Array(Schema.NullOr(HranaFailure))
            })
          )
        })
      )
    })
  )
})

const decodeAnswer = Schema.decodeUnknownResult(HranaAnswer)

const hranaValue = (value: sql.Value) => {
  if (value === null) return { type: "null" }
  if (typeof value === "string") return { type: "text", value }
  if (typeof value === "bigint") return { type: "integer", value: String(value) }
  if (typeof value === "number") return { type: "float", value }
  return { type: "blob", base64: Base64.encode(value) }
}

const libsqlFailure = (kind: string, { code, message }: typeof HranaFailure.Type): TargetError => {
  const known = code ?? ""
  const problem = /no such (table|column)|has no column|does not match any/.test(message)
    ? "Schema"
    : /^SQLITE_(CONSTRAINT|MISMATCH|TOOBIG)/.test(known)
      ? "Refused"
      : "Unavailable"
  return failure(kind, problem, `${known} ${withoutValues(message)}`.trim())
}

/**
 * Makes a target of libSQL over HTTP (Hrana 2 and 3, `POST /v2/pipeline`), such as Turso. A batch is one request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const libsql = ({
  token,
  url
}: LibsqlOptions): Effect.Effect<ReplicaTarget.Target, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const kind = "libsql"
    const endpoint = `${url.replace(/^libsql:/, "https:").replace(/\/$/, "")}/v2/pipeline`

    /** Each step runs where the one before has succeeded; the last takes all back where one has not. */
    const batch = Effect.fnUntraced(function* (
      statements: ReadonlyArray<sql.Statement>
    ): Effect.fn.Return<ReadonlyArray<ReadonlyArray<sql.Row>>, TargetError> {
      for (const { values } of statements) {
        // JSON has no such number.
        if (values.some((value) => typeof value === "number" && !Number.isFinite(value))) {
          return yield* failure(kind, "Refused", "Expected finite numbers")
        }
      }
      const whole = [{ sql: "BEGIN IMMEDIATE", values: [] }, ...statements, { sql: "COMMIT", values: [] }]
      const steps = whole.map(({ sql, values }, i) => ({
        ...(i === 0 ? {} : { condition: { type: "ok", step: i - 1 } }),
        stmt: { sql, args: values.map(hranaValue), want_rows: true }
      }))
      const end = {
        condition: {
          type: "and",
          conds: [
            { type: "ok", step: 0 },
            { type: "not", cond: { type: "ok", step: whole.length - 1 } }
          ]
        },
        stmt: { sql: "ROLLBACK", args: [], want_rows: false }
      }
      const request = HttpClientRequest.post(endpoint).pipe(
        HttpClientRequest.setBody(
          HttpBody.jsonUnsafe({
            baton: null,
            requests: [{ type: "batch", batch: { steps: [...steps, end] } }, { type: "close" }]
          })
        ),
        (one) => (token === undefined ? one : HttpClientRequest.bearerToken(one, token))
      )
      const response = yield* client
        .execute(request)
        .pipe(Effect.mapError((error) => failure(kind, "Unavailable", `${error.reason._tag}: no answer`)))
      if (response.status !== 200) {
        const isOfCredentials = response.status === 401 || response.status === 403
        const problem = response.status === 413 ? "Refused" : isOfCredentials ? "Credentials" : "Unavailable"
        return yield* failure(kind, problem, `the answer was ${response.status}`)
      }
      const answer = decodeAnswer(
        yield* Effect.mapError(response.json, () => failure(kind, "Unavailable", "the answer is no JSON"))
      )
      if (Result.isFailure(answer)) return yield* failure(kind, "Unavailable", "the answer is none of Hrana")
      const [first] = answer.success.results
      if (first?.error !== undefined) return yield* libsqlFailure(kind, first.error)
      const result = first?.response?.result
      if (result === undefined) return yield* failure(kind, "Unavailable", "the answer has no result")
      const wrong = result.step_errors.find((error) => error !== null)
      if (wrong !== null && wrong !== undefined) return yield* libsqlFailure(kind, wrong)
      if (result.step_results[whole.length - 1] == null) {
        return yield* failure(kind, "Unavailable", "the transaction was not committed")
      }
      return statements.map((_, i): ReadonlyArray<sql.Row> => {
        const found = result.step_results[i + 1]
        return (found?.rows ?? []).map((row) =>
          Object.fromEntries(row.map((cell, j) => [found?.cols[j]?.name ?? String(j), cell.value ?? null]))
        )
      })
    })

    return targetOf({
      kind,
      dialect: Effect.succeed(sql.sqlite),
      execute: (statement) => Effect.map(batch([statement]), ([rows = []]) => rows),
      transaction: batch
    })
  })
