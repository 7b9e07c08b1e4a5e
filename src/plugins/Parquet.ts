/**
 * Documents as Parquet, for what reads columns: DuckDB, Spark, Athena, pandas. Everything is a stream: what is in memory is one group of
 * rows. `decode` reads such files, and those of other programs.
 *
 * ```ts
 * import * as Parquet from "effect-s3db/plugins/Parquet"
 * import * as Resource from "effect-s3db/Resource"
 * import * as FileSystem from "effect/FileSystem"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 *
 * const users = Resource.fromAttributes("users", { name: "string", address: { city: "string" } })
 *
 * const columns = Parquet.columnsOf(users)
 *
 * const program = Effect.gen(function* () {
 *   const files = yield* FileSystem.FileSystem
 *   const documents = Stream.make({ id: "u1", name: "Ana", address: { city: "Recife" } })
 *   yield* Stream.run(Parquet.encode(documents, { columns }), files.sink("users.parquet"))
 * })
 * ```
 *
 * **Details**
 *
 * It needs the package `hyparquet-writer`, which is loaded when the first bytes are asked for. Columns follow from the definition of a resource; all
 * of them may be null, and a field that is missing is null, since Parquet knows no difference.
 *
 * @since 0.1.0
 */
import type * as Writer from "hyparquet-writer"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "../encoding/Json.ts"
import * as Export from "../Export.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { isList, isObject, samePath } from "../internal/json.ts"
import { fieldTree } from "../internal/merge.ts"
import * as Plugin from "../Plugin.ts"
import * as Attributes from "../schema/Attributes.ts"
import type * as Columns from "./parquet/internal/columns.ts"
import * as Reading from "./parquet/internal/reading.ts"

// -----------------------------------------------------------------------------
// Columns
// -----------------------------------------------------------------------------

/**
 * What a column holds.
 *
 * - `Text`: text, such as strings, choices, ids, addresses, times of day
 * - `Json`: text in JSON of what has no type of its own: records, unions, points, options, items that may be null
 * - `Double`: numbers
 * - `Integer`: 64 bits, of fields that the schema says are integers. `-0` is `0` there
 * - `Boolean`
 * - `Timestamp`: moments in UTC, in milliseconds
 * - `Date`: days
 * - `Bytes`
 * - `Decimal`: exact, of 38 digits: `money`, `decimal` and `crypto`, and big integers with a scale of 0
 * - `List`: of arrays and vectors
 * - `Struct`: of nested objects
 *
 * @category models
 * @since 0.1.0
 */
export type Type = Columns.Type

/**
 * A column, called as its field.
 *
 * @category models
 * @since 0.1.0
 */
export interface Column extends Columns.Column {}

const simple = (tag: Exclude<Type["_tag"], "Decimal" | "List" | "Struct">): Type => ({ _tag: tag })

/** A decimal of Parquet has no more digits than engines read. */
const mostDigits = 38

const decimal = (scale: number): Type => (scale <= mostDigits ? { _tag: "Decimal", scale } : simple("Text"))

const kindOfChoice = (text: string): Type => {
  let values: unknown
  try {
    values = JSON.parse(text)
  } catch {
    return simple("Json")
  }
  const kinds = new Set(Array.isArray(values) ? values.map((value) => typeof value) : [])
  const [kind] = kinds
  if (kinds.size !== 1) return simple("Json")
  return kind === "string"
    ? simple("Text")
    : kind === "number"
      ? simple("Double")
      : simple(kind === "boolean" ? "Boolean" : "Json")
}

const texts = new Set([
  "string",
  "uuid",
  "ulid",
  "timeonly",
  "ip4",
  "ip6",
  "cidr",
  "mac",
  "color",
  "phone",
  "semver",
  "ean"
])

const typeOf = (codec: string, isInteger: boolean): Type => {
  if (texts.has(codec)) return simple("Text")
  const colon = codec.indexOf(":")
  const kind = colon < 0 ? codec : codec.slice(0, colon)
  const rest = codec.slice(colon + 1)
  switch (kind) {
    case "number":
      return simple(isInteger ? "Integer" : "Double")
    case "boolean":
      return simple("Boolean")
    case "date":
      return simple("Timestamp")
    case "dateonly":
      return simple("Date")
    case "bytes":
      return simple("Bytes")
    case "lat":
    case "lon":
      return simple("Double")
    case "money":
    case "decimal":
      return decimal(Number(rest))
    case "vector":
      return { _tag: "List", item: simple("Double") }
    case "array":
      return { _tag: "List", item: typeOf(rest, isInteger) }
    case "choice":
      return kindOfChoice(rest)
    default:
      return simple("Json")
  }
}

/**
 * Lists the columns of a resource: the primary key, then its fields in the order of the schema. Without secrets and passwords, which no
 * export has; an object that is secret in part has its other fields.
 *
 * @category getters
 * @since 0.1.0
 */
export const columnsOf = ({
  attributes,
  primaryKey,
  schema
}: {
  readonly primaryKey: string
  readonly attributes: ReadonlyArray<Attributes.Attribute>
  readonly schema: Attributes.DocumentSchema
}): ReadonlyArray<Column> => {
  const isAt = (paths: ReadonlyArray<Attributes.ValuePath>, path: ReadonlyArray<string>) =>
    paths.some((one) =>
      samePath(
        one.filter((part) => typeof part === "string"),
        path
      )
    )
  const integers = Attributes.payloadsOf(schema, "effect/schema/isInt").map(({ path }) => path)
  const bigIntegers = Attributes.bigIntegersOf(schema)
  const below = (path: ReadonlyArray<string>): ReadonlyArray<Column> =>
    attributes.flatMap((attribute): ReadonlyArray<Column> => {
      const name = attribute.path.at(-1)
      const isBelow = attribute.path.length === path.length + 1 && samePath(attribute.path.slice(0, -1), path)
      if (!isBelow || name === undefined || Attributes.isHidden(attribute.codec)) return []
      if (attribute.codec === "struct") {
        const fields = below(attribute.path)
        // A group of nothing is none in Parquet.
        return fields.length === 0 ? [] : [{ name, type: { _tag: "Struct", fields } }]
      }
      const isBig = attribute.codec === "string" && isAt(bigIntegers, attribute.path)
      return [{ name, type: isBig ? decimal(0) : typeOf(attribute.codec, isAt(integers, attribute.path)) }]
    })
  return [{ name: primaryKey, type: simple("Text") }, ...below([]).filter(({ name }) => name !== primaryKey)]
}

// -----------------------------------------------------------------------------
// Values
// -----------------------------------------------------------------------------

/**
 * A value that its column cannot hold: one of an older schema, or more digits than there are. Nothing of the file is of use then. It shows no values.
 *
 * @remedy Give the column another type (`Text` and `Json` hold anything), leave it out, or mend the document. Remove
 * the file: nothing of it is of use.
 * @category errors
 * @since 0.1.0
 */
export class Unfit extends ExpectedError<Unfit>("effect-s3db/plugins/Parquet/Unfit")(
  "Unfit",
  {
    /** The number of the document, from 1. */
    row: Schema.Int,
    path: Schema.Array(Schema.String),
    description: Schema.String
  },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `row ${this.row}: ${this.path.join(".")}: ${this.description}`
  }
}

/** What is wrong with a value, and where. */
interface Problem {
  readonly path: ReadonlyArray<string>
  /** `undefined`: a field that no column is for. */
  readonly description: string | undefined
}

class Refused {
  readonly problem: Problem
  constructor(path: ReadonlyArray<string>, description?: string) {
    this.problem = { path, description }
  }
}

type Cell =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | null
  | ReadonlyArray<Cell>
  | { readonly [name: string]: Cell }

const isRefused = (cell: Cell | Refused): cell is Refused => cell instanceof Refused

/** Gives the cell of a value, and counts about how many bytes it takes. */
type Convert = (value: Json | undefined) => Cell | Refused

const dayMillis = 86_400_000

const numbers: Readonly<Record<string, number>> = {
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  NaN: Number.NaN
}

/** A number as a multiple of `10 ** -scale`, if it is one. */
const unscaled = (value: Json, scale: number): bigint | undefined => {
  const text = typeof value === "number" ? String(value) : value
  const match = typeof text === "string" ? /^([+-]?)(\d+)(?:\.(\d*))?$/.exec(text) : null
  if (match === null) return undefined
  const [, sign, whole = "", part = ""] = match
  const digits = part.replace(/0+$/, "")
  if (digits.length > scale) return undefined
  const units = BigInt(whole + digits.padEnd(scale, "0"))
  if (units >= 10n ** BigInt(mostDigits)) return undefined
  return sign === "-" ? -units : units
}

const makeConvert = (
  type: Type,
  path: ReadonlyArray<string>,
  { count, isStrict }: { readonly count: (bytes: number) => void; readonly isStrict: boolean }
): Convert => {
  const unfit = (expected: string) => new Refused(path, `Expected ${expected}`)
  const filled =
    (bytes: number, convert: (value: Json) => Cell | Refused): Convert =>
    (value) => {
      if (value === undefined || value === null) return null
      count(bytes)
      return convert(value)
    }
  switch (type._tag) {
    case "Text":
    case "Json":
      return filled(8, (value) => {
        const isPlain = type._tag === "Text" && typeof value === "string"
        const text = isPlain ? value : stringifyExact(value, documentLevels)
        if (typeof text !== "string") return unfit("a JSON value")
        count(text.length)
        return text
      })
    case "Double":
      return filled(8, (value) => {
        const known = typeof value === "string" ? numbers[value] : value
        return typeof known === "number" ? known : unfit("a number")
      })
    case "Integer":
      return filled(8, (value) => (Number.isSafeInteger(value) ? BigInt(value as number) : unfit("an integer")))
    case "Boolean":
      return filled(1, (value) => (typeof value === "boolean" ? value : unfit("a boolean")))
    case "Timestamp":
      return filled(8, (value) => {
        const millis = typeof value === "string" ? Date.parse(value) : Number.NaN
        return Number.isNaN(millis) ? unfit("a moment") : BigInt(millis)
      })
    case "Date":
      return filled(4, (value) => {
        const isDay = typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value)
        const millis = isDay ? Date.parse(value) : Number.NaN
        return Number.isNaN(millis) ? unfit("a day") : Math.floor(millis / dayMillis)
      })
    case "Bytes":
      return filled(8, (value) => {
        const bytes = typeof value === "string" ? Result.getOrUndefined(Base64.decode(value)) : undefined
        if (bytes === undefined) return unfit("bytes in base 64")
        count(bytes.length)
        return bytes
      })
    case "Decimal":
      return filled(
        16,
        (value) =>
          unscaled(value, type.scale) ?? unfit(`a number of ${mostDigits} digits, ${type.scale} of them decimals`)
      )
    case "List": {
      const item = makeConvert(type.item, path, { count, isStrict })
      return filled(8, (value) => {
        if (!isList(value)) return unfit("a list")
        const cells: Array<Cell> = []
        for (const one of value) {
          const cell = item(one)
          if (isRefused(cell)) return cell
          cells.push(cell)
        }
        return cells
      })
    }
    case "Struct": {
      const convert = makeRow(type.fields, path, { count, isStrict })
      return filled(1, (value) => {
        if (!isObject(value)) return unfit("an object")
        const cells = convert(value)
        return cells instanceof Refused
          ? cells
          : Object.fromEntries(type.fields.map(({ name }, i): [string, Cell] => [name, cells[i] ?? null]))
      })
    }
  }
}

/** Gives the cells of an object, one for each column. */
const makeRow = (
  columns: ReadonlyArray<Column>,
  path: ReadonlyArray<string>,
  options: { readonly count: (bytes: number) => void; readonly isStrict: boolean }
) => {
  const known = new Set(columns.map(({ name }) => name))
  const converts = columns.map(({ name, type }) => makeConvert(type, [...path, name], options))
  return (document: JsonObject): ReadonlyArray<Cell> | Refused => {
    if (options.isStrict) {
      for (const name of Object.keys(document)) if (!known.has(name)) return new Refused([...path, name])
    }
    const cells: Array<Cell> = []
    for (const [i, { name }] of columns.entries()) {
      const cell = converts[i]!(Object.hasOwn(document, name) ? document[name] : undefined)
      if (isRefused(cell)) return cell
      cells.push(cell)
    }
    return cells
  }
}

// -----------------------------------------------------------------------------
// Files
// -----------------------------------------------------------------------------

/**
 * The form of Parquet files.
 *
 * - `columns`: `columnsOf(definition)`, or some of them
 * - `onExcessProperty`: what becomes of a document with a field that is in no column. `error`, the default, ends with `NoColumn`;
 *   `ignore` leaves the field out
 * - `rowsPerGroup`: of how many documents a group of rows is, which is what is in memory. Default: 10,000
 * - `bytesPerGroup`: a group ends earlier when its values take about so many bytes. Default: 16 MiB
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly columns: ReadonlyArray<Column>
  readonly onExcessProperty?: "error" | "ignore" | undefined
  readonly rowsPerGroup?: number | undefined
  readonly bytesPerGroup?: number | undefined
}

/**
 * The form of Parquet files, of which there are several: a file ends when it has so many bytes, after the group of rows at hand. Default of `bytesPerFile`: 64 MiB. A file is in memory as a whole.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilesOptions extends Options {
  readonly bytesPerFile?: number | undefined
}

/**
 * What the writing of Parquet fails with beside its documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type Failure = Unfit | Export.NoColumn | Plugin.DependencyMissing

const load = Plugin.dependency(
  { name: "Parquet" },
  { package: "hyparquet-writer", range: "^0.17.0", load: () => import("hyparquet-writer") }
)

const elementsOf = (name: string, type: Type): ReadonlyArray<Writer.SchemaElement> => {
  const field = { name, repetition_type: "OPTIONAL" } as const
  switch (type._tag) {
    case "Text":
    case "Json":
      return [{ ...field, type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } }]
    case "Double":
      return [{ ...field, type: "DOUBLE" }]
    case "Integer":
      return [{ ...field, type: "INT64" }]
    case "Boolean":
      return [{ ...field, type: "BOOLEAN" }]
    case "Timestamp":
      return [
        {
          ...field,
          type: "INT64",
          converted_type: "TIMESTAMP_MILLIS",
          logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MILLIS" }
        }
      ]
    case "Date":
      return [{ ...field, type: "INT32", converted_type: "DATE", logical_type: { type: "DATE" } }]
    case "Bytes":
      return [{ ...field, type: "BYTE_ARRAY" }]
    case "Decimal": {
      const form = { precision: mostDigits, scale: type.scale }
      return [
        {
          ...field,
          ...form,
          type: "FIXED_LEN_BYTE_ARRAY",
          type_length: 16,
          converted_type: "DECIMAL",
          logical_type: { type: "DECIMAL", ...form }
        }
      ]
    }
    case "List":
      return [
        { ...field, num_children: 1, converted_type: "LIST", logical_type: { type: "LIST" } },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        ...elementsOf("element", type.item)
      ]
    case "Struct":
      return [
        { ...field, num_children: type.fields.length },
        ...type.fields.flatMap((column) => elementsOf(column.name, column.type))
      ]
  }
}

/** One file at a time: its rows as they come, in groups. */
const makeFile = (
  { ByteWriter, ParquetWriter }: typeof Writer,
  { bytesPerGroup = 16_777_216, columns, onExcessProperty = "error", rowsPerGroup = 10_000 }: Options
) => {
  const schema = [
    { name: "schema", num_children: columns.length },
    ...columns.flatMap(({ name, type }) => elementsOf(name, type))
  ]
  let bytes = new ByteWriter()
  let file = new ParquetWriter({ writer: bytes, schema, createdBy: "effect-s3db" })
  let cells: Array<Array<Cell>> = columns.map(() => [])
  let size = 0
  const convert = makeRow(columns, [], { count: (more) => (size += more), isStrict: onExcessProperty === "error" })

  /** What has been written and not been taken. */
  const take = (): Uint8Array => {
    const taken = bytes.getBytes().slice()
    bytes.index = 0
    return taken
  }

  const group = (): void => {
    const rows = cells[0]?.length ?? 0
    if (rows === 0) return
    void file.write({ columnData: columns.map(({ name }, i) => ({ name, data: cells[i]! })), rowGroupSize: rows })
    cells = columns.map(() => [])
    size = 0
  }

  return {
    add(document: JsonObject): Problem | undefined {
      const row = convert(document)
      if (row instanceof Refused) return row.problem
      for (const [i, cell] of row.entries()) cells[i]!.push(cell)
      return undefined
    },
    isFull: () => (cells[0]?.length ?? 0) >= rowsPerGroup || size >= bytesPerGroup,
    /** Writes the rows at hand as a group. */
    group: (): Uint8Array => {
      group()
      return take()
    },
    /** Whether it has rows that no group has yet. */
    isBegun: () => (cells[0]?.length ?? 0) > 0,
    /** How many bytes the file has. */
    written: () => bytes.offset,
    /** Ends the file; the next row begins another one. */
    end(): Uint8Array {
      group()
      void file.finish()
      const last = take()
      bytes = new ByteWriter()
      file = new ParquetWriter({ writer: bytes, schema, createdBy: "effect-s3db" })
      return last
    }
  }
}

type File = ReturnType<typeof makeFile>

const refusal = ({ description, path }: Problem, row: number): Unfit | Export.NoColumn =>
  description === undefined ? new Export.NoColumn({ row, path }) : new Unfit({ row, path, description })

/** Runs documents through a file: what `full` gives when a group is full, and what `end` gives at last. */
const through = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  options: Options,
  full: (file: File) => ReadonlyArray<Uint8Array>,
  end: (file: File) => ReadonlyArray<Uint8Array>
): Stream.Stream<Uint8Array, E | Failure, R> =>
  Stream.unwrap(
    Effect.map(load, (writer) => {
      const begin = () => ({ file: makeFile(writer, options), rows: 0 })
      return Stream.mapAccumArrayEffect(
        documents,
        begin,
        (
          state,
          some
        ): Effect.Effect<readonly [ReturnType<typeof begin>, ReadonlyArray<Uint8Array>], Unfit | Export.NoColumn> => {
          const pieces: Array<Uint8Array> = []
          for (const document of some) {
            const problem = state.file.add(document)
            state.rows += 1
            if (problem !== undefined) return Effect.fail(refusal(problem, state.rows))
            if (state.file.isFull()) pieces.push(...full(state.file))
          }
          return Effect.succeed([state, pieces])
        },
        { onHalt: ({ file }) => end(file) }
      )
    })
  )

/**
 * Writes documents as one Parquet file, group by group. In memory are the rows of one group, and what the footer says of each group. An
 * empty stream gives a file with columns and no rows.
 *
 * Numbers that are not finite are kept; a lone surrogate, which UTF-8 cannot carry, becomes U+FFFD.
 *
 * Fails with `NoColumn`: a document has a field that is in no column; `Unfit`: a value that its column cannot hold; `DependencyMissing`: the package
 * is not there.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  options: Options
): Stream.Stream<Uint8Array, E | Failure, R> =>
  through(
    documents,
    options,
    (file) => [file.group()],
    (file) => [file.end()]
  )

/**
 * Writes documents as Parquet files of a size that engines read in parallel, for `Export.writeFiles`: each item is a whole file. Fails as
 * `encode`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const files = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  { bytesPerFile = 67_108_864, ...options }: FilesOptions
): Stream.Stream<Uint8Array, E | Failure, R> =>
  Stream.suspend(() => {
    let pieces: Array<Uint8Array> = []
    const whole = (file: File): Uint8Array => {
      pieces.push(file.end())
      const all = joined(pieces)
      pieces = []
      return all
    }
    let made = 0
    return through(
      documents,
      options,
      (file) => {
        pieces.push(file.group())
        if (file.written() < bytesPerFile) return []
        made += 1
        return [whole(file)]
      },
      // After a file that ended with the last document comes none without rows, but for one of no documents at all.
      (file) => (pieces.length > 0 || file.isBegun() || made === 0 ? [whole(file)] : [])
    )
  })

const joined = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/**
 * Where the bytes of a file are. `read` gives those from `start` up to `end`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<out E = never, out R = never> extends Reading.Source<E, R> {}

/**
 * A file that is no Parquet, or is damaged, cut off, encrypted, or compressed in a way that is not known here (known are Snappy, Gzip, Brotli,
 * and Zstandard where the platform has it). What was read before it stands. It shows no values.
 *
 * @remedy Get the file again, or have it written without encryption and with one of these compressions.
 * @category errors
 * @since 0.1.0
 */
export class Unreadable extends ExpectedError<Unreadable>("effect-s3db/plugins/Parquet/Unreadable")(
  "Unreadable",
  { description: Schema.String },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `this Parquet file cannot be read: ${this.description}`
  }
}

const loadReader = Plugin.dependency(
  { name: "Parquet" },
  { package: "hyparquet", range: "^1.33.0", load: () => import("hyparquet") }
)

/**
 * Reads the rows of a Parquet file, of whatever program, as documents of a resource in JSON, for `writeAllJson`: by the types of the file, in
 * the form of the fields. It needs the package `hyparquet`, which is loaded when the first document is asked for. In memory is one
 * group of rows.
 *
 * Decimals stay exact; moments are ISO text with all digits that the file has, of which a date keeps milliseconds; bytes are in base 64; text for a
 * field that holds JSON is read as JSON. A cell that is null is a field that is not there, unless the field has to be, and may be null.
 * `address.city` is a field of `address` where the resource has it. What fits no field is left as it is: the write refuses it, with its path.
 *
 * Fails with `Unreadable`, `DependencyMissing`, and what `read` of the source fails with. 2 reads of the source, and 1 for each group.
 *
 * @category encoding
 * @since 0.1.0
 */
export const decode = <E, R>(
  source: Source<E, R>,
  definition: {
    readonly primaryKey: string
    readonly attributes: ReadonlyArray<Attributes.Attribute>
    readonly schema: Attributes.DocumentSchema
  }
): Stream.Stream<JsonObject, E | Unreadable | Plugin.DependencyMissing, R> =>
  Stream.unwrap(
    Effect.map(loadReader, (reader) =>
      Reading.rows(reader, source, {
        columns: columnsOf(definition),
        tree: fieldTree(AST.toType(definition.schema.ast), "error"),
        refuse: (description) => new Unreadable({ description })
      })
    )
  )

// -----------------------------------------------------------------------------
// Engines
// -----------------------------------------------------------------------------

/**
 * A table over a folder of files.
 *
 * @category models
 * @since 0.1.0
 */
export interface Table {
  readonly columns: ReadonlyArray<Column>
  /** Such as `analytics.orders`. */
  readonly name: string
  /** Such as `s3://bucket/exports/orders/`. */
  readonly location: string
  /** Columns that stand in the names of folders, `day=2026-11-26/`, with their types of Athena. Default: none. */
  readonly partitionedBy?: Readonly<Record<string, string>> | undefined
}

const quoted = (name: string): string => `\`${name.replaceAll("`", "``")}\``

const athenaTypes = {
  Text: "string",
  Json: "string",
  Double: "double",
  Integer: "bigint",
  Boolean: "boolean",
  Timestamp: "timestamp",
  Date: "date",
  Bytes: "binary"
} as const

const athenaType = (type: Type): string => {
  switch (type._tag) {
    case "Decimal":
      return `decimal(${mostDigits},${type.scale})`
    case "List":
      return `array<${athenaType(type.item)}>`
    case "Struct":
      return `struct<${type.fields.map((field) => `${quoted(field.name)}:${athenaType(field.type)}`).join(",")}>`
    default:
      return athenaTypes[type._tag]
  }
}

/**
 * Writes the statement by which Athena, Hive and Spark SQL know a folder of Parquet files as a table. Names of columns are read there
 * without regard to case.
 *
 * @category conversions
 * @since 0.1.0
 */
export const athenaTable = ({ columns, location, name, partitionedBy = {} }: Table): string => {
  const listed = columns.map((column) => `  ${quoted(column.name)} ${athenaType(column.type)}`).join(",\n")
  const folders = Object.entries(partitionedBy).map(([folder, type]) => `${quoted(folder)} ${type}`)
  return [
    `CREATE EXTERNAL TABLE ${name.split(".").map(quoted).join(".")} (\n${listed}\n)`,
    ...(folders.length === 0 ? [] : [`PARTITIONED BY (${folders.join(", ")})`]),
    "STORED AS PARQUET",
    `LOCATION '${location.replaceAll("'", "''")}'`
  ].join("\n")
}
