/** Replicas as tables of BigQuery, in tests. */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Redacted from "effect/Redacted"
import * as ReplicaBigQuery from "effect-s3db/plugins/ReplicaBigQuery"
import type * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as bigQueryServer from "./bigQueryServer.ts"
import { type Kind, plain, type Place } from "./replicaTables.ts"

const token = Effect.succeed(Redacted.make("t0ken"))

/** A target, and what answers it. */
export const opened = (options: Partial<ReplicaBigQuery.BigQueryOptions> = {}) =>
  Effect.gen(function* () {
    const server = yield* bigQueryServer.make
    const target = yield* ReplicaBigQuery.bigQuery({
      project: "my-project",
      dataset: "shop",
      credentials: token,
      ...options
    }).pipe(Effect.provideService(HttpClient.HttpClient, server.client))
    return { server, target }
  })

const place = Effect.gen(function* () {
  const { server, target } = yield* opened()
  const present = (all: ReadonlyArray<Record<string, unknown>>) =>
    all.map(({ s3db_deleted: _, ...row }): Record<string, unknown> => row)
  return {
    target,
    rows: (name) => Effect.map(server.ask(`SELECT * FROM "${name}" WHERE NOT s3db_deleted`), present),
    row: (name, id) =>
      Effect.map(server.ask(`SELECT * FROM "${name}" WHERE id = $id`, { id }), (all) => present(all)[0]),
    spoil: (name, id) => server.ask(`UPDATE "${name}" SET n = -1 WHERE id = $id`, { id }),
    strange: (name) => Effect.sync(() => server.tables.set(name, [{ name: "id", type: "INTEGER", mode: "NULLABLE" }]))
  } satisfies Place
})

const isBeyond = (json: unknown): boolean => {
  if (typeof json === "string") {
    return !json.isWellFormed() || /\d{39}/.test(json) || /^(?:0000|[-+]\d{6})-\d\d-\d\d/.test(json)
  }
  return (
    typeof json === "object" &&
    json !== null &&
    Object.entries(json).some(([name, one]) => !name.isWellFormed() || (typeof one !== "number" && isBeyond(one)))
  )
}

const readBack = (type: ReplicaTarget.Type, value: unknown): unknown => {
  if (value === undefined || value === null) return null
  switch (type._tag) {
    case "Timestamp":
      return value instanceof Date ? value.toISOString() : value
    case "Date":
      return value instanceof Date ? value.toISOString().slice(0, 10) : value
    case "Bytes":
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value
    case "Integer":
      return Number(value)
    case "Decimal":
      return plain(String(value))
    case "Json":
      return JSON.parse(String(value))
    case "List":
      return typeof value === "string" ? JSON.parse(value) : value
    default:
      return value
  }
}

export const kind: Kind = {
  open: place,
  steps: 2,
  takesName: { resource: (name) => /^[\w-]+$/.test(name), column: (name) => /^[A-Za-z_]\w*$/.test(name) },
  refuses: isBeyond,
  instead: (type, value) => {
    // An array is never NULL.
    if (type._tag === "List" && type.item._tag === "Double" && value === null) return []
    // The client of DuckDB drops a mark at the beginning of a text.
    return typeof value === "string" ? value.replace(/^\uFEFF/, "") : value
  },
  readBack
}
