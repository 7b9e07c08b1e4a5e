/** Replicas as tables: what is asked of PostgreSQL, MySQL, MariaDB and SQLite, as text and values. Nothing here sends anything. */
import * as Hex from "effect/encoding/Hex"
import type { JsonObject } from "../../../encoding/Json.ts"
import { valueAt } from "../../../internal/json.ts"
import { sha256 } from "../../../internal/sha256.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"
import { type Binding as AnyBinding, bind, jsonText, Misfit } from "./values.ts"

/** What is bound to a statement. */
export type Value = string | number | bigint | null | Uint8Array

export interface Statement {
  readonly sql: string
  readonly values: ReadonlyArray<Value>
}

export type Row = Readonly<Record<string, unknown>>

/** A column that is there. */
export interface Present {
  readonly name: string
  /** In lower case. */
  readonly type: string
  /** Whether it alone is the primary key. */
  readonly isKey: boolean
}

/** A table as it is to be. */
export interface Table {
  readonly name: string
  readonly key: string
  readonly columns: ReadonlyArray<ReplicaTarget.Column>
}

/** A document as it is bound. */
export interface Bound {
  readonly id: string
  readonly version: number
  readonly document: JsonObject
}

export type DialectName = "postgres" | "mysql" | "sqlite"

/** The version of each row. */
export const versionColumn = "s3db_version"
/** The versions at which documents were deleted. */
export const deletionsTable = "s3db_replica_deletions"
/** A row for each table, which who writes to it has to himself. */
export const locksTable = "s3db_replica_locks"

const ours = new Set([versionColumn, deletionsTable, locksTable])

export interface Dialect {
  readonly name: DialectName
  readonly quote: (name: string) => string
  /** Why a name cannot be one. */
  readonly problemOfName: (name: string) => string | undefined
  /** The statements without which no table of ours is written. */
  readonly support: ReadonlyArray<{ readonly table: string; readonly statement: string }>
  readonly typeOf: (type: ReplicaTarget.Type) => string
  readonly holds: (type: ReplicaTarget.Type, actual: string) => boolean
  /** Gives rows with `name`, `type`, `is_key` and, of other unique indexes, `others`. */
  readonly describe: (table: string) => Statement
  readonly create: (table: Table) => string
  readonly add: (table: string, column: ReplicaTarget.Column) => string
  readonly lock: (table: string) => Statement
  readonly upsert: (table: Table, rows: ReadonlyArray<Bound>, isRepair: boolean) => ReadonlyArray<Statement> | Misfit
  readonly bury: (
    table: string,
    rows: ReadonlyArray<{ readonly id: string; readonly version: number }>
  ) => ReadonlyArray<Statement>
  /** Removes rows that a deletion is later than, or as late as, then deletions that a row is later than. */
  readonly settle: (table: Table, ids: ReadonlyArray<string>) => ReadonlyArray<Statement>
  /** Counts, buries and removes what is older. The first gives `n`. */
  readonly sweep: (table: Table, version: number) => ReadonlyArray<Statement>
}

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

const pad = (value: number, length: number) => String(value).padStart(length, "0")

/** A moment as PostgreSQL reads it: years with more digits, and those before the first. */
const postgresTime = (millis: number): string => {
  const date = new Date(millis)
  const year = date.getUTCFullYear()
  const rest = date.toISOString().slice(-20, -1).replace("T", " ")
  return year > 0 ? `${pad(year, 4)}${rest}+00` : `${pad(1 - year, 4)}${rest}+00 BC`
}

const mysqlTime = (millis: number): string | undefined => {
  const year = new Date(millis).getUTCFullYear()
  return year < 1 || year > 9999 ? undefined : new Date(millis).toISOString().slice(0, -1).replace("T", " ")
}

/** How a dialect binds what is not the same in all. */
type Binding = Pick<AnyBinding<Value>, "double" | "integer" | "boolean" | "time" | "bytes" | "digits">

const binding = (own: Binding): AnyBinding<Value> => ({
  nothing: null,
  text: (value) => value,
  json: jsonText,
  list: jsonText,
  date: (value) => value,
  decimal: (value) => value,
  ...own
})

/** The values of a row: key, columns, version. */
const rowOf = (
  binding: AnyBinding<Value>,
  { columns }: Table,
  { document, id, version }: Bound
): ReadonlyArray<Value> | Misfit => {
  if (!id.isWellFormed()) return new Misfit("Expected well-formed text as an id")
  const values: Array<Value> = [id]
  for (const { path, type } of columns) {
    const value = bind(binding, type, valueAt(document, path))
    if (value instanceof Misfit) return new Misfit(`${path.join(".")}: ${value.description}`)
    values.push(value)
  }
  values.push(binding.integer(version))
  return values
}

// -----------------------------------------------------------------------------
// Names
// -----------------------------------------------------------------------------

const encoder = new TextEncoder()

/** A name that is too long is cut, and told from others by its hash. */
const fitting = (name: string, most: number, lengthOf: (text: string) => number): string => {
  if (lengthOf(name) <= most) return name
  const hash = Hex.encode(sha256(encoder.encode(name))).slice(0, 10)
  let cut = name
  while (lengthOf(cut) > most - hash.length - 1) cut = Array.from(cut).slice(0, -1).join("")
  return `${cut}_${hash}`
}

const bytesOf = (text: string) => encoder.encode(text).length

const problemOf = (name: string): string | undefined => {
  if (name === "" || name.includes("\0") || !name.isWellFormed()) return "Expected a name of well-formed text"
  return ours.has(name.toLowerCase()) ? `Expected another name: ${name} is the replica's own` : undefined
}

const allColumns = (dialect: Pick<Dialect, "quote">, { columns, key }: Table): ReadonlyArray<string> =>
  [key, ...columns.map(({ name }) => name), versionColumn].map(dialect.quote)

// -----------------------------------------------------------------------------
// PostgreSQL
// -----------------------------------------------------------------------------

const listTypes: Readonly<Record<string, string>> = {
  Text: "text[]",
  Double: "double precision[]",
  Integer: "bigint[]",
  Boolean: "boolean[]"
}

const postgresType = (type: ReplicaTarget.Type): string => {
  switch (type._tag) {
    case "Text":
      return "text"
    case "Json":
      return "jsonb"
    case "Double":
      return "double precision"
    case "Integer":
      return "bigint"
    case "Boolean":
      return "boolean"
    case "Timestamp":
      return "timestamp with time zone"
    case "Date":
      return "date"
    case "Bytes":
      return "bytea"
    case "Decimal":
      return "numeric"
    case "List":
      return listTypes[type.item._tag] ?? "jsonb"
  }
}

const postgresBinding = binding({
  double: (value) => (Object.is(value, -0) ? "-0" : String(value)),
  integer: String,
  boolean: String,
  time: postgresTime,
  bytes: (bytes) => `\\x${Hex.encode(bytes)}`,
  digits: undefined
})

/** Those that every table has. */
const postgresSystem = new Set(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])

/** `schema`: where the tables are; by default where the connection looks first. */
export const postgres = (schema?: string): Dialect => {
  const quoted = (name: string) => `"${fitting(name, 63, bytesOf).replaceAll('"', '""')}"`
  const table = (name: string) => (schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`)
  const deletions = table(deletionsTable)
  const locks = table(locksTable)
  const ids = (ids: ReadonlyArray<string>) => JSON.stringify(ids)
  const dialect: Dialect = {
    name: "postgres",
    quote: quoted,
    problemOfName: (name) =>
      problemOf(name) ??
      (postgresSystem.has(name) ? `Expected another name: ${name} is one that every table has` : undefined),
    support: [
      {
        table: deletionsTable,
        statement: `CREATE TABLE IF NOT EXISTS ${deletions} (replica text NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL, PRIMARY KEY (replica, id))`
      },
      {
        table: locksTable,
        statement: `CREATE TABLE IF NOT EXISTS ${locks} (replica text PRIMARY KEY, taken bigint NOT NULL)`
      }
    ],
    typeOf: postgresType,
    holds: (type, actual) => {
      const wanted = postgresType(type)
      if (actual === wanted) return true
      return (
        (wanted === "text" && actual === "character varying") ||
        (wanted === "jsonb" && actual === "json") ||
        (wanted === "bigint" && actual === "numeric")
      )
    },
    describe: (name) => ({
      sql: `SELECT a.attname AS "name", format_type(a.atttypid, a.atttypmod) AS "type", (EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum))::int AS is_key, 0 AS others FROM pg_attribute a WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped`,
      values: [table(name)]
    }),
    create: ({ columns, key, name }) =>
      `CREATE TABLE IF NOT EXISTS ${table(name)} (${[
        `${quoted(key)} text COLLATE "C" PRIMARY KEY`,
        ...columns.map((column) => `${quoted(column.name)} ${postgresType(column.type)}`),
        `${quoted(versionColumn)} bigint NOT NULL`
      ].join(", ")})`,
    add: (name, column) =>
      `ALTER TABLE ${table(name)} ADD COLUMN IF NOT EXISTS ${quoted(column.name)} ${postgresType(column.type)}`,
    lock: (name) => ({
      sql: `INSERT INTO ${locks} AS l (replica, taken) VALUES ($1, 1) ON CONFLICT (replica) DO UPDATE SET taken = l.taken + 1`,
      values: [table(name)]
    }),
    upsert: (of, rows, isRepair) => {
      const columns = allColumns(dialect, of)
      const types = ["text", ...of.columns.map(({ type }) => postgresType(type)), "bigint"]
      const records: Array<string> = []
      for (const row of rows) {
        const bound = rowOf(postgresBinding, of, row)
        if (bound instanceof Misfit) return bound
        const cells = bound.map((value, i) => {
          const type = of.columns[i - 1]?.type._tag
          // What is JSON already is not put into quotes again.
          const isJson = value !== null && (type === "Json" || type === "List")
          return `${JSON.stringify(String(i))}:${isJson ? String(value) : JSON.stringify(value)}`
        })
        records.push(`{${cells.join(",")}}`)
      }
      const sets = columns.slice(1).map((name) => `${name} = EXCLUDED.${name}`)
      const version = quoted(versionColumn)
      return [
        {
          sql:
            `INSERT INTO ${table(of.name)} AS t (${columns.join(", ")}) ` +
            `SELECT ${types.map((_, i) => `r."${i}"`).join(", ")} FROM json_to_recordset($1::text::json) AS r(${types
              .map((type, i) => `"${i}" ${type}`)
              .join(", ")}) ` +
            `ON CONFLICT (${columns[0]!}) DO UPDATE SET ${sets.join(", ")} WHERE t.${version} ${isRepair ? "<=" : "<"} EXCLUDED.${version}`,
          values: [`[${records.join(",")}]`]
        }
      ]
    },
    bury: (name, rows) => [
      {
        sql:
          `INSERT INTO ${deletions} AS d (replica, id, version) SELECT $1::text, r.id, r.version FROM json_to_recordset($2::text::json) AS r(id text, version bigint) ` +
          `ON CONFLICT (replica, id) DO UPDATE SET version = EXCLUDED.version WHERE d.version < EXCLUDED.version`,
        values: [table(name), JSON.stringify(rows)]
      }
    ],
    settle: ({ key, name }, all) => {
      const some = `(SELECT json_array_elements_text($2::text::json))`
      const version = quoted(versionColumn)
      return [
        {
          sql: `DELETE FROM ${table(name)} AS t USING ${deletions} AS d WHERE d.replica = $1 AND d.id IN ${some} AND t.${quoted(key)} = d.id AND d.version >= t.${version}`,
          values: [table(name), ids(all)]
        },
        {
          sql: `DELETE FROM ${deletions} AS d USING ${table(name)} AS t WHERE d.replica = $1 AND d.id IN ${some} AND t.${quoted(key)} = d.id`,
          values: [table(name), ids(all)]
        }
      ]
    },
    sweep: ({ key, name }, before) => {
      const older = `${quoted(versionColumn)} < $1::text::bigint`
      return [
        { sql: `SELECT count(*) AS n FROM ${table(name)} WHERE ${older}`, values: [String(before)] },
        {
          sql:
            `INSERT INTO ${deletions} AS d (replica, id, version) SELECT $2::text, ${quoted(key)}, $1::text::bigint FROM ${table(name)} WHERE ${older} ` +
            `ON CONFLICT (replica, id) DO UPDATE SET version = EXCLUDED.version WHERE d.version < EXCLUDED.version`,
          values: [String(before), table(name)]
        },
        { sql: `DELETE FROM ${table(name)} WHERE ${older}`, values: [String(before)] }
      ]
    }
  }
  return dialect
}

// -----------------------------------------------------------------------------
// MySQL and MariaDB
// -----------------------------------------------------------------------------

const mysqlScale = 30

const mysqlType = (type: ReplicaTarget.Type): string => {
  switch (type._tag) {
    case "Text":
      return "longtext"
    case "Json":
    case "List":
      return "json"
    case "Double":
      return "double"
    case "Integer":
      return "bigint"
    case "Boolean":
      return "tinyint(1)"
    case "Timestamp":
      return "datetime(3)"
    case "Date":
      return "date"
    case "Bytes":
      return "longblob"
    case "Decimal":
      return type.scale > mysqlScale ? "longtext" : `decimal(65,${type.scale})`
  }
}

const mysqlBinding = binding({
  double: (value) => (Number.isFinite(value) ? value : new Misfit("Expected a finite number, which MySQL can hold")),
  integer: String,
  boolean: (value) => (value ? 1 : 0),
  time: (millis) => mysqlTime(millis) ?? new Misfit("Expected a moment from year 1 to 9999, which MySQL can hold"),
  bytes: (bytes) => bytes,
  digits: [65, mysqlScale]
})

/** Statements of few lengths, since each is prepared by itself. */
const inRuns = <A>(rows: ReadonlyArray<A>, most: number): ReadonlyArray<ReadonlyArray<A>> => {
  const runs: Array<ReadonlyArray<A>> = []
  let from = 0
  for (let size = most; from < rows.length;) {
    if (rows.length - from >= size) {
      runs.push(rows.slice(from, from + size))
      from += size
    } else size = Math.max(1, Math.floor(size / 4))
  }
  return runs
}

const mostIdsAtOnce = 256

/** `noPad`: the collation in which texts that differ at all are different, which MySQL and MariaDB call by different names. */
export const mysql = (noPad: string): Dialect => {
  const quoted = (name: string) => `\`${fitting(name, 64, (text) => text.length).replaceAll("`", "``")}\``
  const deletions = quoted(deletionsTable)
  const locks = quoted(locksTable)
  const exact = `CHARACTER SET utf8mb4 COLLATE ${noPad}`
  const columnType = (type: ReplicaTarget.Type) => {
    const text = mysqlType(type)
    return text === "longtext" ? `${text} ${exact}` : text
  }
  const engine = `ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${noPad}`
  const marks = (count: number) => Array.from({ length: count }, () => "?").join(", ")
  const dialect: Dialect = {
    name: "mysql",
    quote: quoted,
    problemOfName: (name) =>
      problemOf(name) ??
      (name.endsWith(" ") || [...name].some((one) => one.length > 1)
        ? "Expected a name without a space at its end and characters beyond U+FFFF"
        : undefined),
    support: [
      {
        table: deletionsTable,
        statement: `CREATE TABLE IF NOT EXISTS ${deletions} (replica varchar(64) ${exact} NOT NULL, id varchar(640) ${exact} NOT NULL, version bigint NOT NULL, PRIMARY KEY (replica, id)) ${engine}`
      },
      {
        table: locksTable,
        statement: `CREATE TABLE IF NOT EXISTS ${locks} (replica varchar(64) ${exact} PRIMARY KEY, taken bigint NOT NULL) ${engine}`
      }
    ],
    typeOf: columnType,
    holds: (type, actual) => {
      const wanted = mysqlType(type)
      // MariaDB calls JSON what it is: text.
      return (
        actual === wanted ||
        (wanted === "json" && actual === "longtext") ||
        (wanted === "bigint" && actual.startsWith("bigint("))
      )
    },
    describe: (name) => ({
      sql: `SELECT c.COLUMN_NAME AS name, c.COLUMN_TYPE AS type, (c.COLUMN_KEY = 'PRI' AND 1 = (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.INDEX_NAME = 'PRIMARY')) AS is_key, (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.NON_UNIQUE = 0 AND s.INDEX_NAME <> 'PRIMARY') AS others FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ?`,
      values: [fitting(name, 64, (text) => text.length)]
    }),
    create: ({ columns, key, name }) =>
      `CREATE TABLE IF NOT EXISTS ${quoted(name)} (${[
        `${quoted(key)} varchar(640) ${exact} NOT NULL PRIMARY KEY`,
        ...columns.map((column) => `${quoted(column.name)} ${columnType(column.type)} NULL`),
        `${quoted(versionColumn)} bigint NOT NULL`
      ].join(", ")}) ${engine}`,
    add: (name, column) =>
      `ALTER TABLE ${quoted(name)} ADD COLUMN ${quoted(column.name)} ${columnType(column.type)} NULL`,
    lock: (name) => ({
      sql: `INSERT INTO ${locks} (replica, taken) VALUES (?, 1) ON DUPLICATE KEY UPDATE taken = taken + 1`,
      values: [fitting(name, 64, (text) => text.length)]
    }),
    upsert: (of, rows, isRepair) => {
      const columns = allColumns(dialect, of)
      const version = quoted(versionColumn)
      // The version comes last: what is set before it is seen by what comes after.
      const isNewer = `VALUES(${version}) ${isRepair ? ">=" : ">"} ${version}`
      const sets = columns.slice(1).map((name) => `${name} = IF(${isNewer}, VALUES(${name}), ${name})`)
      const bound: Array<ReadonlyArray<Value>> = []
      for (const row of rows) {
        const values = rowOf(mysqlBinding, of, row)
        if (values instanceof Misfit) return values
        bound.push(values)
      }
      const most = 4 ** Math.max(0, Math.floor(Math.log(Math.min(256, 20_000 / columns.length)) / Math.log(4)))
      return inRuns(bound, most).map((run) => ({
        sql: `INSERT INTO ${quoted(of.name)} (${columns.join(", ")}) VALUES ${run
          .map(() => `(${marks(columns.length)})`)
          .join(", ")} ON DUPLICATE KEY UPDATE ${sets.join(", ")}`,
        values: run.flat()
      }))
    },
    bury: (name, rows) =>
      inRuns(rows, mostIdsAtOnce).map((run) => ({
        sql: `INSERT INTO ${deletions} (replica, id, version) VALUES ${run
          .map(() => "(?, ?, ?)")
          .join(", ")} ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version))`,
        values: run.flatMap(({ id, version }) => [fitting(name, 64, (text) => text.length), id, String(version)])
      })),
    settle: ({ key, name }, all) =>
      inRuns(all, mostIdsAtOnce).flatMap((some) => {
        const on = `t.${quoted(key)} = d.id WHERE d.replica = ? AND d.id IN (${marks(some.length)})`
        const values = [fitting(name, 64, (text) => text.length), ...some]
        return [
          {
            sql: `DELETE t FROM ${deletions} d JOIN ${quoted(name)} t ON ${on} AND d.version >= t.${quoted(versionColumn)}`,
            values
          },
          { sql: `DELETE d FROM ${deletions} d JOIN ${quoted(name)} t ON ${on}`, values }
        ]
      }),
    sweep: ({ key, name }, before) => {
      const older = `${quoted(versionColumn)} < ?`
      return [
        { sql: `SELECT COUNT(*) AS n FROM ${quoted(name)} WHERE ${older}`, values: [String(before)] },
        {
          sql: `INSERT INTO ${deletions} (replica, id, version) SELECT ?, t.${quoted(key)}, ? FROM ${quoted(name)} t WHERE t.${older} ON DUPLICATE KEY UPDATE version = GREATEST(${deletions}.version, VALUES(version))`,
          values: [fitting(name, 64, (text) => text.length), String(before), String(before)]
        },
        { sql: `DELETE FROM ${quoted(name)} WHERE ${older}`, values: [String(before)] }
      ]
    }
  }
  return dialect
}

// -----------------------------------------------------------------------------
// SQLite
// -----------------------------------------------------------------------------

const sqliteType = (type: ReplicaTarget.Type): string => {
  switch (type._tag) {
    case "Double":
      return "REAL"
    case "Integer":
    case "Boolean":
      return "INTEGER"
    case "Bytes":
      return "BLOB"
    default:
      return "TEXT"
  }
}

const sqliteBinding = binding({
  double: (value) => (Number.isNaN(value) ? new Misfit("Expected a number, which NaN is not for SQLite") : value),
  integer: BigInt,
  boolean: (value) => (value ? 1n : 0n),
  time: (millis) => new Date(millis).toISOString(),
  bytes: (bytes) => bytes,
  digits: undefined
})

export const sqlite: Dialect = (() => {
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
  const deletions = quoted(deletionsTable)
  const locks = quoted(locksTable)
  const version = quoted(versionColumn)
  const some = "(SELECT value FROM json_each(?))"
  const dialect: Dialect = {
    name: "sqlite",
    quote: quoted,
    problemOfName: (name) =>
      problemOf(name) ??
      (name.toLowerCase().startsWith("sqlite_") ? "Expected a name that does not begin with sqlite_" : undefined),
    support: [
      {
        table: deletionsTable,
        statement: `CREATE TABLE IF NOT EXISTS ${deletions} (replica TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (replica, id)) WITHOUT ROWID`
      },
      {
        table: locksTable,
        statement: `CREATE TABLE IF NOT EXISTS ${locks} (replica TEXT PRIMARY KEY, taken INTEGER NOT NULL) WITHOUT ROWID`
      }
    ],
    typeOf: sqliteType,
    holds: (type, actual) => actual === sqliteType(type).toLowerCase(),
    describe: (name) => ({
      sql: `SELECT i.name AS name, i.type AS type, (i.pk = 1 AND 1 = (SELECT COUNT(*) FROM pragma_table_info(?) p WHERE p.pk > 0)) AS is_key, 0 AS others FROM pragma_table_info(?) i`,
      values: [name, name]
    }),
    create: ({ columns, key, name }) =>
      `CREATE TABLE IF NOT EXISTS ${quoted(name)} (${[
        `${quoted(key)} TEXT NOT NULL PRIMARY KEY`,
        ...columns.map((column) => `${quoted(column.name)} ${sqliteType(column.type)}`),
        `${version} INTEGER NOT NULL`
      ].join(", ")})`,
    add: (name, column) => `ALTER TABLE ${quoted(name)} ADD COLUMN ${quoted(column.name)} ${sqliteType(column.type)}`,
    lock: (name) => ({
      sql: `INSERT INTO ${locks} (replica, taken) VALUES (?, 1) ON CONFLICT (replica) DO UPDATE SET taken = taken + 1`,
      values: [name]
    }),
    upsert: (of, rows, isRepair) => {
      const columns = allColumns(dialect, of)
      const sets = columns.slice(1).map((name) => `${name} = excluded.${name}`)
      const sql = `INSERT INTO ${quoted(of.name)} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")}) ON CONFLICT (${columns[0]!}) DO UPDATE SET ${sets.join(", ")} WHERE ${quoted(of.name)}.${version} ${isRepair ? "<=" : "<"} excluded.${version}`
      const statements: Array<Statement> = []
      for (const row of rows) {
        const values = rowOf(sqliteBinding, of, row)
        if (values instanceof Misfit) return values
        statements.push({ sql, values })
      }
      return statements
    },
    bury: (name, rows) =>
      rows.map((row) => ({
        sql: `INSERT INTO ${deletions} (replica, id, version) VALUES (?, ?, ?) ON CONFLICT (replica, id) DO UPDATE SET version = max(version, excluded.version)`,
        values: [name, row.id, BigInt(row.version)]
      })),
    settle: ({ key, name }, all) => [
      {
        sql: `DELETE FROM ${quoted(name)} AS t WHERE t.${quoted(key)} IN ${some} AND EXISTS (SELECT 1 FROM ${deletions} d WHERE d.replica = ? AND d.id = t.${quoted(key)} AND d.version >= t.${version})`,
        values: [JSON.stringify(all), name]
      },
      {
        sql: `DELETE FROM ${deletions} AS d WHERE d.replica = ? AND d.id IN ${some} AND EXISTS (SELECT 1 FROM ${quoted(name)} t WHERE t.${quoted(key)} = d.id)`,
        values: [name, JSON.stringify(all)]
      }
    ],
    sweep: ({ key, name }, before) => [
      { sql: `SELECT COUNT(*) AS n FROM ${quoted(name)} WHERE ${version} < ?`, values: [BigInt(before)] },
      {
        sql: `INSERT INTO ${deletions} (replica, id, version) SELECT ?, ${quoted(key)}, ? FROM ${quoted(name)} WHERE ${version} < ? ON CONFLICT (replica, id) DO UPDATE SET version = max(version, excluded.version)`,
        values: [name, BigInt(before), BigInt(before)]
      },
      { sql: `DELETE FROM ${quoted(name)} WHERE ${version} < ?`, values: [BigInt(before)] }
    ]
  }
  return dialect
})()
