/** Rows of Parquet files as JSON, by what the file says of its columns, and then in the form of the fields they are for. */
import type * as Reader from "hyparquet"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isList, isObject } from "../../../internal/json.ts"
import type { FieldTree } from "../../../internal/merge.ts"
import type { Column, Type } from "./columns.ts"

// -----------------------------------------------------------------------------
// What the file says
// -----------------------------------------------------------------------------

/** What the reader gives in the place of its own `Date`, which keeps milliseconds alone. */
class Moment {
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

class Day {
  readonly days: number
  constructor(days: number) {
    this.days = days
  }
}

const second = 1_000_000_000n

const twoDigits = (value: number | bigint): string => String(value).padStart(2, "0")

/** The digits of a part of a second, as many as there are, and no fewer than milliseconds. */
const fraction = (nanos: bigint): string =>
  String(nanos)
    .padStart(9, "0")
    .replace(/0{1,6}$/, "")

const momentText = ({ nanos }: Moment): string => {
  const whole = nanos / second - (nanos % second < 0n ? 1n : 0n)
  const millis = Number(whole * 1000n)
  // No date is so far away: as it is.
  if (!(Math.abs(millis) <= 8.64e15)) return String(nanos)
  return new Date(millis).toISOString().replace(/\.000Z$/, `.${fraction(nanos - whole * second)}Z`)
}

const dayText = ({ days }: Day): string => new Date(days * 86_400_000).toISOString().replace(/T.*$/, "")

const timeText = (nanos: bigint): string => {
  const seconds = nanos / second
  const rest = nanos % second
  const clock = [seconds / 3600n, (seconds / 60n) % 60n, seconds % 60n].map(twoDigits).join(":")
  return rest === 0n ? clock : `${clock}.${fraction(rest)}`
}

const decimalText = (units: bigint, scale: number): string => {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, "0")
  const whole = digits.slice(0, digits.length - scale)
  const part = digits.slice(digits.length - scale)
  return `${units < 0n ? "-" : ""}${whole}${scale === 0 ? "" : `.${part}`}`
}

/** A number in two's complement, the highest byte first. */
const integerOf = (bytes: Uint8Array): bigint => {
  if (bytes.length === 0) return 0n
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${hex}`))
}

/** Ends the reading: what is there is not what the file says of it. */
class Refused extends Error {
  override readonly name = "Refused"
}

type FromCell = (cell: unknown) => Json

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const integerJson = (value: bigint): Json => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : String(value)
}

/** A value of which the schema of the file says no more, such as within a variant. */
const anything: FromCell = (cell) => {
  if (cell === null || cell === undefined) return null
  if (cell instanceof Moment) return momentText(cell)
  if (cell instanceof Day) return dayText(cell)
  if (cell instanceof Uint8Array) return Base64.encode(cell)
  if (ArrayBuffer.isView(cell) || Array.isArray(cell)) return Array.from(cell as unknown as Iterable<unknown>, anything)
  switch (typeof cell) {
    case "bigint":
      return integerJson(cell)
    case "number":
      return Number.isFinite(cell) ? cell : String(cell)
    case "string":
    case "boolean":
      return cell
    case "object":
      return Object.fromEntries(Object.entries(cell).map(([name, value]) => [name, anything(value)]))
    default:
      throw new Refused("it has values of a kind that is not known here")
  }
}

const isListLike = ({ children, element }: Reader.SchemaTree): boolean => {
  const [child] = children
  return (
    element.converted_type === "LIST" &&
    children.length === 1 &&
    child !== undefined &&
    child.children.length <= 1 &&
    child.element.repetition_type === "REPEATED"
  )
}

const isMapLike = ({ children, element }: Reader.SchemaTree): boolean =>
  element.converted_type === "MAP" && children.length === 1 && children[0]?.children.length === 2

const fromLeaf = (element: Reader.SchemaElement): FromCell => {
  const { converted_type: converted, logical_type: logical } = element
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") {
    const scale = element.scale ?? 0
    return (cell) => {
      const units =
        cell instanceof Uint8Array
          ? integerOf(cell)
          : typeof cell === "bigint"
            ? cell
            : typeof cell === "number"
              ? BigInt(cell)
              : undefined
      if (units === undefined) throw new Refused("it has a decimal that is none")
      return decimalText(units, scale)
    }
  }
  const perUnit =
    converted === "TIME_MILLIS"
      ? 1_000_000n
      : converted === "TIME_MICROS"
        ? 1000n
        : logical?.type === "TIME"
          ? logical.unit === "MILLIS"
            ? 1_000_000n
            : logical.unit === "MICROS"
              ? 1000n
              : 1n
          : undefined
  if (perUnit !== undefined) {
    return (cell) =>
      typeof cell === "bigint" || typeof cell === "number" ? timeText(BigInt(cell) * perUnit) : anything(cell)
  }
  return anything
}

const orNull =
  (convert: FromCell): FromCell =>
  (cell) =>
    cell === null || cell === undefined ? null : convert(cell)

const listed =
  (item: FromCell): FromCell =>
  (cell) => {
    if (!Array.isArray(cell) && !ArrayBuffer.isView(cell)) throw new Refused("it has a list that is none")
    return Array.from(cell as Iterable<unknown>, item)
  }

/** How the cells of a column are read. */
const fromColumn = (tree: Reader.SchemaTree): FromCell => {
  if (tree.element.name === "__proto__") throw new Refused("it has a column that no field can be called as")
  const isRepeated = tree.element.repetition_type === "REPEATED"
  const convert = ((): FromCell => {
    if (isListLike(tree)) {
      const [repeated] = tree.children
      const [inner] = repeated!.children
      return listed(orNull(inner === undefined ? fromLeaf(repeated!.element) : fromColumn(inner)))
    }
    if (isMapLike(tree)) {
      const value = fromColumn(tree.children[0]!.children[1]!)
      return (cell) =>
        Object.fromEntries(Object.entries(cell as object).map(([name, one]): [string, Json] => [name, value(one)]))
    }
    if (tree.element.logical_type?.type === "VARIANT") return anything
    if (tree.children.length > 0) {
      const fields = tree.children.map((child) => [child.element.name, fromColumn(child)] as const)
      return (cell) => {
        if (typeof cell !== "object" || cell === null) throw new Refused("it has a group that is none")
        const values = cell as Readonly<Record<string, unknown>>
        return Object.fromEntries(fields.map(([name, field]): [string, Json] => [name, field(values[name])]))
      }
    }
    return fromLeaf(tree.element)
  })()
  return orNull(isRepeated && !isListLike(tree) ? listed(orNull(convert)) : convert)
}

// -----------------------------------------------------------------------------
// What the fields are
// -----------------------------------------------------------------------------

/** `undefined`: the field is not there. */
type ToField = (value: Json) => Json | undefined

const midnight = /T00:00:00(?:\.0+)?Z$/

const parsed = (text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}

/** A value in the form of its field, as far as it can be; what cannot be is refused when it is written, with its path. */
export const toValue = (type: Type, tree: FieldTree | undefined): ((value: Json) => Json) => {
  switch (type._tag) {
    case "Text":
      return (value) => (typeof value === "number" || typeof value === "boolean" ? String(value) : value)
    case "Json":
      return (value) => (typeof value === "string" ? parsed(value) : value)
    case "Double":
    case "Integer":
      return (value) => {
        const number = typeof value === "string" && value.trim() !== "" ? Number(value) : Number.NaN
        // No digit is lost on the way.
        const isSame = Number.isFinite(number) && (!/^-?\d+$/.test(String(value)) || Number.isSafeInteger(number))
        return isSame ? number : value
      }
    case "Decimal":
      return (value) => (typeof value === "number" && Number.isFinite(value) ? plainText(value) : value)
    case "Date":
      return (value) => (typeof value === "string" && midnight.test(value) ? value.replace(midnight, "") : value)
    case "Timestamp":
      return (value) =>
        typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00:00.000Z` : value
    case "List": {
      const item = toValue(type.item, undefined)
      return (value) => (isList(value) ? value.map((one) => (one === null ? null : item(one))) : value)
    }
    case "Struct": {
      const convert = toObject(type.fields, tree)
      return (value) => (isObject(value) ? convert(value) : value)
    }
    default:
      return (value) => value
  }
}

/** A number without an exponent, which exact numbers do not have. */
const plainText = (value: number): Json => {
  const text = String(value)
  return text.includes("e") ? value : text
}

/** An empty cell is a field that is not there, unless it has to be, and may be null. */
const toField = (
  type: Type,
  field: { readonly optional: boolean; readonly nullable: boolean } | undefined,
  tree: FieldTree | undefined
): ToField => {
  const convert = toValue(type, tree)
  const empty = field !== undefined && !field.optional && field.nullable ? null : undefined
  return (value) => (value === null ? empty : convert(value))
}

const toObject = (
  columns: ReadonlyArray<Column>,
  tree: FieldTree | undefined
): ((object: JsonObject) => JsonObject) => {
  const fields = new Map(
    columns.map(({ name, type }) => {
      const field = tree?.fields.get(name)
      return [name, toField(type, field, field?.tree)] as const
    })
  )
  return (object) => {
    const found: Record<string, Json> = {}
    for (const [name, value] of Object.entries(object)) {
      const convert = fields.get(name)
      // What no field is for is refused when it is written, which an empty cell is no reason for.
      const made = convert === undefined ? (value === null ? undefined : value) : convert(value)
      if (made !== undefined) found[name] = made
    }
    return found
  }
}

/** `address.city` in a file without groups. */
const nested = (object: JsonObject, columns: ReadonlyArray<Column>): JsonObject => {
  const flat = Object.keys(object).filter((name) => name.includes("."))
  if (flat.length === 0) return object
  const isColumn = (path: ReadonlyArray<string>, among: ReadonlyArray<Column>): boolean => {
    const [first, ...rest] = path
    const column = among.find(({ name }) => name === first)
    if (column === undefined) return false
    return rest.length === 0 || (column.type._tag === "Struct" && isColumn(rest, column.type.fields))
  }
  const found: Record<string, Json> = {}
  for (const [name, value] of Object.entries(object)) {
    const path = name.split(".")
    if (path.length === 1 || !isColumn(path, columns)) {
      found[name] = value
      continue
    }
    if (value === null) continue
    let place = found
    for (const part of path.slice(0, -1)) {
      const there = place[part]
      const next: Record<string, Json> = there !== undefined && isObject(there) ? { ...there } : {}
      place[part] = next
      place = next
    }
    place[path.at(-1)!] = value
  }
  return found
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/** Where the bytes are. */
export interface Source<out E, out R> {
  readonly byteLength: number
  readonly read: (start: number, end: number) => Effect.Effect<Uint8Array, E, R>
}

type Zlib = typeof import("node:zlib")

const zlib: Zlib | undefined = globalThis.process?.getBuiltinModule?.("node:zlib")

/** Beside Snappy, which the reader knows: what the platform has. A page says how long it is, and is no longer. */
const compressors: Reader.Compressors =
  zlib === undefined
    ? {}
    : {
        GZIP: (bytes, length) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, length) }),
        BROTLI: (bytes, length) => zlib.brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, length) }),
        ZSTD: (bytes, length) => zlib.zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, length) })
      }

const parsers: Reader.ParquetParsers = {
  timestampFromMilliseconds: (millis) => new Moment(millis * 1_000_000n),
  timestampFromMicroseconds: (micros) => new Moment(micros * 1000n),
  timestampFromNanoseconds: (nanos) => new Moment(nanos),
  dateFromDays: (days) => new Day(days),
  stringFromBytes: (bytes) => {
    try {
      return utf8.decode(bytes)
    } catch {
      throw new Refused("it has a text that is no UTF-8")
    }
  },
  jsonFromBytes: (bytes) => parsed(parsers.stringFromBytes(bytes) as string),
  geometryFromBytes: (bytes) => bytes,
  geographyFromBytes: (bytes) => bytes,
  uuidFromBytes: (bytes) =>
    Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
      .join("")
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

/** What the footer says of the values of a column, their least and greatest, is not asked for, and may be cut. */
const noStatistics: Reader.ParquetParsers = {
  ...parsers,
  stringFromBytes: () => undefined,
  jsonFromBytes: () => undefined,
  uuidFromBytes: () => undefined,
  geometryFromBytes: () => undefined,
  geographyFromBytes: () => undefined
}

/** A copy: what slices a `Buffer` shares its memory. */
const buffer = (bytes: Uint8Array, start = 0, end = bytes.length): ArrayBuffer =>
  new Uint8Array(bytes.subarray(start, end)).buffer

/** A footer ends with its length and the mark of the format. */
const tailBytes = 8

/** A footer of more is no footer. */
const mostFooterBytes = 256 * 1_048_576

/** Decimals come as they are stored, not as the nearest numbers. */
const withExactDecimals = (metadata: Reader.FileMetaData): Reader.FileMetaData => ({
  ...metadata,
  schema: metadata.schema.map(({ converted_type: converted, ...element }) =>
    converted === undefined || converted === "DECIMAL" ? element : { ...element, converted_type: converted }
  )
})

/** The bytes of a group of rows, from its first page to its last. */
const rangeOf = (group: Reader.RowGroup): readonly [start: number, end: number] => {
  let [start, end] = [Number.POSITIVE_INFINITY, 0]
  for (const { meta_data: column } of group.columns) {
    if (column === undefined) throw new Refused("a part of it is in another file")
    const first = Number(column.dictionary_page_offset ?? column.data_page_offset)
    const begin = Math.min(first, Number(column.data_page_offset))
    start = Math.min(start, begin)
    end = Math.max(end, begin + Number(column.total_compressed_size))
  }
  return [start, end]
}

/**
 * Reads the rows of a file, one group after the other: the bytes of one are in memory, and its rows. `refuse` makes the error of a file that
 * is no Parquet, or not what it says.
 */
export const rows = <E, R, D>(
  reader: Pick<typeof Reader, "parquetMetadata" | "parquetRead" | "parquetSchema">,
  source: Source<E, R>,
  {
    columns,
    refuse,
    tree
  }: {
    readonly columns: ReadonlyArray<Column>
    readonly tree: FieldTree | undefined
    readonly refuse: (description: string) => D
  }
): Stream.Stream<JsonObject, E | D, R> => {
  const wrong = (error: unknown): D =>
    refuse(error instanceof Error ? error.message.replace(/^parquet /, "").split("\n")[0]! : String(error))
  const attempt = <A>(make: () => A) => Effect.try({ try: make, catch: wrong })
  const read = (start: number, end: number): Effect.Effect<Uint8Array, E | D, R> =>
    start >= 0 && start <= end && end <= source.byteLength
      ? Effect.flatMap(source.read(start, end), (bytes): Effect.Effect<Uint8Array, D> =>
          bytes.length === end - start ? Effect.succeed(bytes) : Effect.fail(refuse("it is cut off"))
        )
      : Effect.fail(refuse("it is cut off"))
  const opened = Effect.gen(function* () {
    if (source.byteLength < tailBytes + 4) return yield* Effect.fail(refuse("it is too short"))
    const tail = yield* read(source.byteLength - tailBytes, source.byteLength)
    const mark = new TextDecoder().decode(tail.subarray(4))
    if (mark === "PARE") return yield* Effect.fail(refuse("it is encrypted, which is not read here"))
    if (mark !== "PAR1") return yield* Effect.fail(refuse("it does not end as Parquet does"))
    const length = new DataView(tail.buffer, tail.byteOffset).getUint32(0, true)
    if (length > mostFooterBytes) return yield* Effect.fail(refuse("its footer is too long"))
    const footer = yield* read(source.byteLength - tailBytes - length, source.byteLength)
    return yield* attempt(() => {
      const found = reader.parquetMetadata(buffer(footer), { parsers: noStatistics, geoparquet: false })
      const top = reader.parquetSchema(found).children
      const names = top.map(({ element }) => element.name)
      if (new Set(names).size < names.length) throw new Refused("it has two columns of one name")
      const converts = top.map((child) => [child.element.name, fromColumn(child)] as const)
      return { metadata: withExactDecimals(found), converts, ranges: found.row_groups.map(rangeOf) }
    })
  })
  const convertRow = toObject(columns, tree)
  return Stream.unwrap(
    Effect.map(opened, ({ converts, metadata, ranges }) =>
      Stream.flatMap(Stream.fromIterable(metadata.row_groups.entries()), ([index, group]) => {
        const rowsBefore = metadata.row_groups
          .slice(0, index)
          .reduce((sum, { num_rows: count }) => sum + Number(count), 0)
        const [start, end] = ranges[index]!
        const rowEnd = rowsBefore + Number(group.num_rows)
        if (rowEnd === rowsBefore) return Stream.empty
        return Stream.unwrap(
          Effect.gen(function* () {
            const bytes = yield* read(start, end)
            const file: Reader.AsyncBuffer = {
              byteLength: source.byteLength,
              slice: (from, to = source.byteLength) => {
                if (from < start || to > end) throw new Refused("its groups of rows are not where it says")
                return buffer(bytes, from - start, to - start)
              }
            }
            const cells = yield* Effect.tryPromise({
              try: () =>
                new Promise<ReadonlyArray<ReadonlyArray<unknown>>>((resolve, reject) => {
                  const onComplete = (all: ReadonlyArray<ReadonlyArray<unknown>>) => resolve(all)
                  const columns = converts.map(([name]) => name)
                  const form = { file, metadata, columns, compressors, parsers, utf8: false, geoparquet: false }
                  reader.parquetRead({ ...form, rowStart: rowsBefore, rowEnd, onComplete }).catch(reject)
                }),
              catch: wrong
            })
            // Each row by itself, lest two forms of all of them are in memory.
            return Stream.mapEffect(Stream.fromIterable(cells), (row) =>
              attempt(() => {
                const object = Object.fromEntries(
                  converts.map(([name, convert], i) => [name, convert(row[i])] as const)
                )
                return convertRow(nested(object, columns))
              })
            )
          })
        )
      })
    )
  )
}
