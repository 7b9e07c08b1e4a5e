/**
 * What BigQuery answers, as far as a replica asks: its REST resources, and its statements, which are translated for DuckDB word by word and run there. It is no BigQuery.
 *
 * Source: BigQuery REST reference, `jobs.query`, `tables.get`, "Error messages".
 */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"

interface Field {
  readonly name: string
  readonly type: string
  readonly mode: string
}

interface Query {
  readonly query: string
  readonly queryParameters: ReadonlyArray<{
    readonly name: string
    readonly parameterValue: { readonly value: string }
  }>
}

export interface Said {
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
}

const types: Readonly<Record<string, string>> = {
  STRING: "VARCHAR",
  INT64: "BIGINT",
  FLOAT64: "DOUBLE",
  BOOL: "BOOLEAN",
  BYTES: "BLOB",
  // It has no exact number of so many digits, and its JSON has another form.
  BIGNUMERIC: "VARCHAR",
  JSON: "VARCHAR",
  "ARRAY<FLOAT64>": "DOUBLE[]"
}
const apiTypes: Readonly<Record<string, string>> = { INT64: "INTEGER", FLOAT64: "FLOAT", BOOL: "BOOLEAN" }

const typeOf = (type: string) => types[type] ?? type

/** A statement of ours for DuckDB. */
const translated = (sql: string): string =>
  sql
    .replace(/`[^`]*`\.`[^`]*`\.`([^`]*)`/g, '"$1"')
    .replace(/ CLUSTER BY `[^`]*`$/, "")
    .replace(
      /`([^`]*)` (ARRAY<FLOAT64>|[A-Z]+\d*)(?=[,)]| NOT NULL|$)/g,
      (_, name, type) => `"${name}" ${typeOf(type)}`
    )
    .replaceAll("`", '"')
    .replace("UNNEST(JSON_QUERY_ARRAY(@rows)) AS r", `(SELECT unnest(from_json($rows, '["JSON"]')) AS r)`)
    .replace(
      /ARRAY\(SELECT CAST\(e AS FLOAT64\) FROM UNNEST\(JSON_VALUE_ARRAY\(r, '\$\.(c\d+)'\)\) AS e WITH OFFSET AS o ORDER BY o\)/g,
      "CAST(json_extract_string(r, '$.$1[*]') AS DOUBLE[])"
    )
    .replace(/PARSE_JSON\((.*?), wide_number_mode=>'round'\)/g, "$1")
    .replaceAll("JSON_VALUE(", "json_extract_string(")
    .replaceAll("TIMESTAMP_MILLIS(", "epoch_ms(")
    .replaceAll("FROM_BASE64(", "from_base64(")
    .replace(/ AS (INT64|FLOAT64|BOOL|BIGNUMERIC)\)/g, (_, type: string) => ` AS ${typeOf(type)})`)
    .replaceAll("@version", "$version")

const failed = (status: number, reason: string, message: string): Said => ({
  status,
  body: { error: { code: status, message, errors: [{ reason, message, domain: "global" }] } }
})

export const make = Effect.gen(function* () {
  const connection: DuckDBConnection = yield* Effect.promise(() =>
    DuckDBInstance.create(":memory:", { threads: "1" }).then((instance) => instance.connect())
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => connection.closeSync()))
  const tables = new Map<string, Array<Field>>()
  const queries: Array<Query> = []
  const requests: Array<HttpClientRequest.HttpClientRequest> = []
  const self: {
    /** What is said in the place of what would be done. */
    says: ((request: HttpClientRequest.HttpClientRequest, n: number) => Said | undefined) | undefined
  } = { says: undefined }

  const ask = (sql: string, values: Record<string, string> = {}) =>
    Effect.promise(async () => (await connection.runAndReadAll(sql, values)).getRowObjectsJS())

  const noteFields = (sql: string) => {
    const name = /^(?:CREATE TABLE IF NOT EXISTS|ALTER TABLE) `[^`]*`\.`[^`]*`\.`([^`]*)`/.exec(sql)?.[1]
    if (name === undefined) return
    const known = tables.get(name) ?? []
    tables.set(name, known)
    const columns = sql.slice(sql.indexOf(`\`${name}\``) + name.length + 2).replace(/ CLUSTER BY.*$/, "")
    for (const [, column, array, plain] of columns.matchAll(/`([^`]*)` (?:ARRAY<(\w+)>|(\w+))/g)) {
      if (known.some((one) => one.name === column)) continue
      const type = array ?? plain!
      known.push({ name: column!, type: apiTypes[type] ?? type, mode: array === undefined ? "NULLABLE" : "REPEATED" })
    }
  }

  /** One script: DuckDB begins and ends its transactions as it says. */
  const run = async ({ query, queryParameters }: Query): Promise<Said> => {
    const given = new Map(queryParameters.map(({ name, parameterValue }) => [name, parameterValue.value]))
    let rows: ReadonlyArray<Record<string, unknown>> = []
    try {
      for (const statement of query.split(";\n")) {
        const text = translated(statement)
        const values = Object.fromEntries([...given].filter(([name]) => text.includes(`$${name}`)))
        const reader = await connection.runAndReadAll(text, values)
        rows = reader.getRowObjectsJson()
        noteFields(statement)
      }
    } catch (error) {
      await connection.run("ROLLBACK").catch(() => {})
      const message = String(error)
      if (/Table with name|Catalog Error/.test(message)) return failed(404, "notFound", "Not found: Table shop.x")
      if (/Binder Error/.test(message)) return failed(400, "invalidQuery", "Unrecognized name: x at [1:1]")
      if (/Conversion Error/.test(message)) return failed(400, "invalidQuery", "Bad double value: x")
      throw error
    }
    return {
      status: 200,
      body: {
        kind: "bigquery#queryResponse",
        jobComplete: true,
        jobReference: { projectId: "my-project", jobId: "job_1", location: "EU" },
        rows: rows.map((row) => ({ f: Object.values(row).map((v) => ({ v: v === null ? null : String(v) })) }))
      }
    }
  }

  const answer = (request: HttpClientRequest.HttpClientRequest): Effect.Effect<Said> =>
    Effect.suspend(() => {
      requests.push(request)
      const said = self.says?.(request, requests.length)
      if (said !== undefined) return Effect.succeed(said)
      const table = /\/datasets\/shop\/tables\/([^/]+)$/.exec(request.url)
      if (table !== null) {
        const fields = tables.get(decodeURIComponent(table[1]!))
        return Effect.succeed(
          fields === undefined
            ? failed(404, "notFound", "Not found: Table")
            : { status: 200, body: { kind: "bigquery#table", type: "TABLE", schema: { fields } } }
        )
      }
      const text = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : "{}"
      const query = JSON.parse(text) as Query
      queries.push(query)
      return Effect.promise(() => run(query))
    })

  const client = HttpClient.make((request) =>
    Effect.map(answer(request), ({ body, headers = {}, status }) =>
      HttpClientResponse.fromWeb(request, new Response(JSON.stringify(body), { status, headers }))
    )
  )
  return { client, ask, tables, queries, requests, self }
})
