/**
 * Replicas as tables of BigQuery: what is asked, as text and parameters. Nothing here sends anything.
 *
 * Sources: GoogleSQL for BigQuery, "DML syntax", "Multi-statement transactions", "JSON functions", "Conversion rules"; BigQuery, "Quotas and limits", "Table schemas".
 */
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { encodeBase64 } from "../../../internal/base64.ts"
import { valueAt } from "../../../internal/json.ts"
import { utf8Length } from "../../../internal/text.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"
import { bind, type Binding, jsonText, Misfit } from "./values.ts"

/** A row as it is sent: texts, which are cast column by column. */
export type Row = { readonly [name: string]: string | ReadonlyArray<string> }

export const versionColumn = "s3db_version"
export const deletedColumn = "s3db_deleted"

const ours: ReadonlySet<string> = new Set([versionColumn, deletedColumn])
const reserved = /^(_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier)/i
const mostDigits = 38

/** Why a name cannot be that of a column. */
export const problemOfColumn = (name: string): string | undefined => {
  if (!/^[A-Za-z_]\w{0,299}$/.test(name) || reserved.test(name)) {
    return "Expected 1 to 300 letters of A to Z, digits and _, without a digit at the beginning, that BigQuery has not reserved"
  }
  return ours.has(name.toLowerCase()) ? "Expected another name: this one is the replica's own" : undefined
}

/** Why a name cannot be that of a table: the one beside it has a longer name. */
export const problemOfTable = (name: string): string | undefined =>
  /^[\w-]{1,1000}$/.test(name) ? undefined : "Expected 1 to 1,000 letters of A to Z, digits, _ and -"

const isVector = (type: ReplicaTarget.Type): boolean => type._tag === "List" && type.item._tag === "Double"

/** The type of a column, as statements have it. */
export const typeOf = (type: ReplicaTarget.Type): string => {
  switch (type._tag) {
    case "Text":
      return "STRING"
    case "Double":
      return "FLOAT64"
    case "Integer":
      return "INT64"
    case "Boolean":
      return "BOOL"
    case "Timestamp":
      return "TIMESTAMP"
    case "Date":
      return "DATE"
    case "Bytes":
      return "BYTES"
    case "Decimal":
      return "BIGNUMERIC"
    case "Json":
      return "JSON"
    case "List":
      return isVector(type) ? "ARRAY<FLOAT64>" : "JSON"
  }
}

/** As the schema of a table tells them. */
const apiTypes: ReadonlyMap<string, string> = new Map([
  ["FLOAT", "FLOAT64"],
  ["INTEGER", "INT64"],
  ["BOOLEAN", "BOOL"]
])

/** The type of a column that is there, as statements have it. */
export const typeThere = (type: string, mode: string): string => {
  const one = apiTypes.get(type) ?? type
  return mode === "REPEATED" ? `ARRAY<${one}>` : one
}

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

const isWellFormed = (value: Json): boolean => {
  if (typeof value === "string") return value.isWellFormed()
  if (typeof value !== "object" || value === null) return true
  return Object.entries(value).every(([name, one]) => name.isWellFormed() && isWellFormed(one as Json))
}

const jsonOf = (value: Json): string | Misfit => {
  if (!isWellFormed(value)) return new Misfit("Expected well-formed text")
  return jsonText(value)
}

const doubleOf = (value: number): string => (Object.is(value, -0) ? "-0" : String(value))

const binding: Binding<string | ReadonlyArray<string> | undefined> = {
  nothing: undefined,
  text: (value) => value,
  json: jsonOf,
  list: (value, item) => {
    if (!Array.isArray(value) || item._tag !== "Double") return jsonOf(value)
    const all: Array<string> = []
    for (const one of value as ReadonlyArray<Json>) {
      const bound = one === null ? new Misfit("Expected no null in a list") : bind(binding, item, one)
      if (bound instanceof Misfit) return bound
      all.push(String(bound))
    }
    return all
  },
  double: doubleOf,
  integer: (value) => String(value),
  boolean: (value) => String(value),
  time: (millis) => {
    const year = new Date(millis).getUTCFullYear()
    return year >= 1 && year <= 9999
      ? String(millis)
      : new Misfit("Expected a moment from year 1 to 9999, which BigQuery can hold")
  },
  date: (value) => value,
  bytes: encodeBase64,
  decimal: (text, { scale, whole }) =>
    whole <= mostDigits && scale <= mostDigits
      ? text
      : new Misfit(`Expected ${mostDigits} digits at most before and after the point, which BigQuery can hold`),
  digits: undefined
}

/** A version of a document as a row. */
export const rowOf = (
  { columns }: ReplicaTarget.Shape,
  {
    document,
    id,
    version
  }: { readonly document: JsonObject | undefined; readonly id: string; readonly version: number }
): Row | Misfit => {
  if (!id.isWellFormed()) return new Misfit("Expected well-formed text as an id")
  const values: Array<readonly [string, string | ReadonlyArray<string>]> = [
    ["k", id],
    ["v", String(version)],
    ["d", String(document === undefined)]
  ]
  if (document === undefined) return Object.fromEntries(values)
  for (const [i, { path, type }] of columns.entries()) {
    const value = bind(binding, type, valueAt(document, path))
    if (value instanceof Misfit) return new Misfit(`${path.join(".")}: ${value.description}`)
    if (value !== undefined) values.push([`c${i}`, value])
  }
  return Object.fromEntries(values)
}

/** A request is 10 MB at most. */
export const mostBytes = 8_000_000

/** A row as text, and how long it is when it is sent: as text within JSON once more. */
export const textOf = (row: Row): { readonly text: string; readonly bytes: number } | Misfit => {
  const text = JSON.stringify(row)
  const bytes = utf8Length(JSON.stringify(text))
  return bytes > mostBytes ? new Misfit("Expected a document of 8 MB at most, as it is sent") : { text, bytes }
}

// -----------------------------------------------------------------------------
// Statements
// -----------------------------------------------------------------------------

/** A table of a dataset. */
export interface Table {
  readonly project: string
  readonly dataset: string
  readonly name: string
}

/** Names have no backtick: they were looked at. */
const quote = (name: string): string => `\`${name}\``

const quoted = ({ dataset, name, project }: Table): string => [project, dataset, name].map(quote).join(".")

/** Beside each table: what whoever writes changes, so that of two at a time one is sent away. */
export const lockOf = (table: Table): Table => ({ ...table, name: `${table.name}_s3db_lock` })

const castOf = (type: ReplicaTarget.Type, name: string): string => {
  const text = `JSON_VALUE(r, '$.${name}')`
  switch (type._tag) {
    case "Text":
      return text
    case "Timestamp":
      return `TIMESTAMP_MILLIS(CAST(${text} AS INT64))`
    case "Bytes":
      return `FROM_BASE64(${text})`
    case "Json":
      return `PARSE_JSON(${text}, wide_number_mode=>'round')`
    case "List":
      return isVector(type)
        ? `ARRAY(SELECT CAST(e AS FLOAT64) FROM UNNEST(JSON_VALUE_ARRAY(r, '$.${name}')) AS e WITH OFFSET AS o ORDER BY o)`
        : `PARSE_JSON(${text}, wide_number_mode=>'round')`
    default:
      return `CAST(${text} AS ${typeOf(type)})`
  }
}

/** All of them, or none, and alone: who meets another is sent away. Two that only insert would not meet by the table itself. */
const alone = (table: Table, statement: string): string =>
  [
    "BEGIN TRANSACTION",
    `UPDATE ${quoted(lockOf(table))} SET taken = taken + 1 WHERE TRUE`,
    statement,
    "COMMIT TRANSACTION"
  ].join(";\n")

export const create = (table: Table, { columns, primaryKey }: ReplicaTarget.Shape): string =>
  `CREATE TABLE IF NOT EXISTS ${quoted(table)} (${[
    `${quote(primaryKey)} STRING NOT NULL`,
    ...columns.map(({ name, type }) => `${quote(name)} ${typeOf(type)}`),
    `${quote(versionColumn)} INT64 NOT NULL`,
    `${quote(deletedColumn)} BOOL NOT NULL`
  ].join(", ")}) CLUSTER BY ${quote(primaryKey)}`

export const createLock = (table: Table): string =>
  `CREATE TABLE IF NOT EXISTS ${quoted(lockOf(table))} AS SELECT 0 AS taken`

export const add = (table: Table, { name, type }: ReplicaTarget.Column): string =>
  `ALTER TABLE ${quoted(table)} ADD COLUMN IF NOT EXISTS ${quote(name)} ${typeOf(type)}`

/** Takes `rows`, a text of JSON. */
export const merge = (table: Table, { columns, primaryKey }: ReplicaTarget.Shape, isRepair: boolean): string => {
  const targets = [...columns.map(({ name }) => name), versionColumn, deletedColumn]
  const sources = [...columns.map((_, i) => `s.c${i}`), "s.v", "s.d"]
  return alone(
    table,
    `MERGE INTO ${quoted(table)} AS t
USING (SELECT ${[
      "JSON_VALUE(r, '$.k') AS k",
      "CAST(JSON_VALUE(r, '$.v') AS INT64) AS v",
      "CAST(JSON_VALUE(r, '$.d') AS BOOL) AS d",
      ...columns.map(({ type }, i) => `${castOf(type, `c${i}`)} AS c${i}`)
    ].join(", ")} FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS r) AS s
ON t.${quote(primaryKey)} = s.k
WHEN MATCHED AND t.${quote(versionColumn)} ${isRepair ? "<=" : "<"} s.v THEN UPDATE SET ${targets
      .map((name, i) => `${quote(name)} = ${sources[i]}`)
      .join(", ")}
WHEN NOT MATCHED THEN INSERT (${[primaryKey, ...targets].map(quote).join(", ")}) VALUES (${["s.k", ...sources].join(", ")})`
  )
}

/** Of which there are older versions. Takes `version`. */
const older = `${quote(versionColumn)} < @version AND NOT ${quote(deletedColumn)}`

export const countOlder = (table: Table): string => `SELECT COUNT(*) AS n FROM ${quoted(table)} WHERE ${older}`

/** Leaves `version` as a guard. */
export const sweep = (table: Table, { columns }: ReplicaTarget.Shape): string =>
  alone(
    table,
    `UPDATE ${quoted(table)} SET ${[
      ...columns.map(({ name, type }) => `${quote(name)} = ${isVector(type) ? "[]" : "NULL"}`),
      `${quote(versionColumn)} = @version`,
      `${quote(deletedColumn)} = TRUE`
    ].join(", ")} WHERE ${older}`
  )
