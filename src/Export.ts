/**
 * Documents as lines of JSON and as CSV, and lines of JSON as documents. Everything is a stream: what is in memory is the
 * chunk at hand.
 *
 * ```ts
 * import * as Export from "effect-s3db/Export"
 * import * as Stream from "effect/Stream"
 *
 * const users = Stream.make({ id: "u1", name: "Ana", address: { city: "Recife" } })
 *
 * const lines = Export.ndjson(users)
 * const table = Export.csv(users, { columns: ["id", "name", "address.city"] })
 * ```
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "./encoding/Json.ts"
import { joinBytes } from "./internal/bytes.ts"
import { isObject } from "./internal/json.ts"
import { makeLineReader, type Read } from "./internal/jsonLines.ts"
import * as Query from "./Query.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Id from "./crypto/Id.ts"
import { listSome, type ObjectStore } from "./storage/ObjectStore.ts"
import * as StoreError from "./storage/StoreError.ts"
import { ExpectedError } from "./internal/expectedError.ts"

// -----------------------------------------------------------------------------
// Lines of JSON
// -----------------------------------------------------------------------------

/**
 * Writes one document a line, each line ended by a line feed, as UTF-8. Reads back as the same documents: `-0` stays
 * `-0`, and lone surrogates are written as escapes. Dies of a document that is no JSON: a number that is not finite, a
 * key `__proto__`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const ndjson = <E, R>(documents: Stream.Stream<JsonObject, E, R>): Stream.Stream<Uint8Array, E, R> =>
  Stream.encodeText(ndjsonText(documents))

/**
 * Writes `ndjson` as text, in pieces of some lines.
 *
 * @category encoding
 * @since 0.1.0
 */
export const ndjsonText = <E, R>(documents: Stream.Stream<JsonObject, E, R>): Stream.Stream<string, E, R> =>
  inPieces(documents, (document) => `${exactText(document)}\n`)

const exactText = (value: Json): string => {
  const text = stringifyExact(value, documentLevels)
  if (typeof text === "string") return text
  throw new TypeError(`not JSON at ${JSON.stringify(text.path)}: ${text.message}`)
}

const pieceLength = 65_536

/** Pieces that are worth a write of their own, and never wait for a later chunk. */
const inPieces = <A, E, R>(stream: Stream.Stream<A, E, R>, write: (item: A) => string): Stream.Stream<string, E, R> =>
  Stream.mapArray(stream, (items) => {
    const pieces: [string, ...Array<string>] = [""]
    for (const item of items) {
      if (pieces[pieces.length - 1]!.length >= pieceLength) pieces.push("")
      pieces[pieces.length - 1] += write(item)
    }
    return pieces
  })

/**
 * The reasons for which a line is refused.
 *
 * - `InvalidJson`: it is no JSON
 * - `InvalidUtf8`: its bytes are no UTF-8
 * - `TooLong`: it has more bytes than `maxLineBytes`
 * - `NotADocument`: it is JSON, but no object, or nothing that can be stored: `1e999`, a key `__proto__`, more than 256
 *   levels
 *
 * @category errors
 * @since 0.1.0
 */
export const LineReason = Schema.Literals(["InvalidJson", "InvalidUtf8", "TooLong", "NotADocument"])

/**
 * One of the reasons for which a line is refused.
 *
 * @category errors
 * @since 0.1.0
 */
export type LineReason = typeof LineReason.Type

/**
 * A line that is no document. It does not hold what the line says.
 *
 * @remedy Correct the line that `line` numbers, or leave it out; the lines before and after it stand.
 * @category errors
 * @since 0.1.0
 */
export class LineProblem extends ExpectedError<LineProblem>("effect-s3db/Export/LineProblem")(
  "LineProblem",
  {
    /** From 1. */
    line: Schema.Int,
    reason: LineReason,
    description: Schema.String
  },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `line ${this.line}: ${this.description}`
  }
}

/**
 * A document, and where it stood.
 *
 * @category models
 * @since 0.1.0
 */
export interface Line {
  /** From 1. */
  readonly line: number
  readonly document: JsonObject
}

/**
 * The limits of reading. `maxLineBytes` default: 16 MiB.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  readonly maxLineBytes?: number | undefined
}

/**
 * Reads documents from lines of JSON. A line that is none becomes a `LineProblem`, and reading goes on with the next
 * one.
 *
 * Lines end with a line feed, alone or after a carriage return; the last one may lack it. Blank lines are left out, but
 * counted. A byte order mark at the beginning is skipped. At most `maxLineBytes` of a line are held.
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromNdjson = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: ReadOptions = {}
): Stream.Stream<Result.Result<Line, LineProblem>, E, R> =>
  Stream.mapAccumArray(
    bytes,
    () => makeLineReader(options.maxLineBytes ?? 16_777_216),
    (reader, chunk) => [reader, chunk.flatMap(reader.read).map(told)] as const,
    { onHalt: (reader) => reader.end().map(told) }
  )

/** What a line says is not told. */
const told = (read: Read): Result.Result<Line, LineProblem> => {
  if ("document" in read) return Result.succeed(read)
  const { description, line, reason } = read
  return Result.fail(new LineProblem({ line, reason, description }))
}

/**
 * Returns the documents alone. Fails with the first line that is none.
 *
 * @category encoding
 * @since 0.1.0
 */
export const documents = <E, R>(
  lines: Stream.Stream<Result.Result<Line, LineProblem>, E, R>
): Stream.Stream<JsonObject, E | LineProblem, R> =>
  Stream.mapEffect(lines, (line) => Effect.fromResult(Result.map(line, (found) => found.document)))

// -----------------------------------------------------------------------------
// Files
// -----------------------------------------------------------------------------

/**
 * Writes `ndjson` as files of a size that others read in parallel, for `writeFiles`: each item is a whole file, which ends with the
 * line by which it has `bytesPerFile` bytes. Default: 64 MiB. A file is in memory as a whole.
 *
 * @category encoding
 * @since 0.1.0
 */
export const ndjsonFiles = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  { bytesPerFile = 67_108_864 }: { readonly bytesPerFile?: number | undefined } = {}
): Stream.Stream<Uint8Array, E, R> =>
  Stream.mapAccumArray(
    ndjson(documents),
    (): { pieces: Array<Uint8Array>; length: number } => ({ pieces: [], length: 0 }),
    (file, some) => {
      const whole: Array<Uint8Array> = []
      for (const piece of some) {
        file.pieces.push(piece)
        file.length += piece.length
        if (file.length < bytesPerFile) continue
        whole.push(joinBytes(file.pieces))
        file.pieces = []
        file.length = 0
      }
      return [file, whole] as const
    },
    { onHalt: ({ length, pieces }) => (length === 0 ? [] : [joinBytes(pieces)]) }
  )

/**
 * Where files go. They are called `part-00000-RUN.parquet`, `part-00001-RUN.parquet`, ..., with a text of each run.
 *
 * @category models
 * @since 0.1.0
 */
export interface FilesOptions {
  readonly store: ObjectStore["Service"]
  /** What their keys begin with; it ends in `/`, or is `""` for all that the store has. Below it there must be nothing yet. */
  readonly prefix: string
  /** Without a dot, such as `parquet`. */
  readonly extension: string
  /** Default: `application/octet-stream`. */
  readonly contentType?: string | undefined
}

/**
 * A file that was written.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrittenFile {
  readonly key: string
  readonly bytes: number
}

/**
 * Writes files into a store, one object each, and then `_SUCCESS`, as Hadoop and Spark do: engines pass over names that begin with `_`.
 * Gives what it wrote. One file is in memory at a time.
 *
 * 1 LIST, 1 PUT for each file, and 1 more. When the files fail, or it is interrupted, what it wrote is removed. A crash leaves files
 * without `_SUCCESS`: remove them before it is tried again. `StoreError` with `InvalidArgument`: the prefix does not end in `/`, there is
 * something below it, or another export came to its end there in the meantime.
 *
 * @category encoding
 * @since 0.1.0
 */
export const writeFiles = Effect.fn("Export.writeFiles")(function* <E, R>(
  files: Stream.Stream<Uint8Array, E, R>,
  { contentType, extension, prefix, store }: FilesOptions
): Effect.fn.Return<ReadonlyArray<WrittenFile>, E | StoreError.StoreError, R> {
  const refuse = (description: string) =>
    Effect.fail(
      new StoreError.StoreError({
        operation: "put",
        reason: new StoreError.InvalidArgument({ argument: "prefix", description })
      })
    )
  if (prefix !== "" && !prefix.endsWith("/")) return yield* refuse("Expected a prefix that ends in /")
  const { entries } = yield* listSome(store, { prefix, maxKeys: 1 })
  if (entries.length > 0) return yield* refuse(`Expected nothing below ${prefix}: there is ${entries[0]?.key}`)
  const run = yield* Id.randomOf(12)
  const done = { key: `${prefix}_SUCCESS`, body: new TextEncoder().encode(run) }
  const written: Array<WrittenFile> = []
  /** Also those of which nobody knows whether they are there. */
  const begun: Array<string> = []
  const writing = Stream.runForEach(Stream.zipWithIndex(files), ([body, index]) => {
    const key = `${prefix}part-${String(index).padStart(5, "0")}-${run}.${extension}`
    begun.push(key)
    const put = store.put({ key, body, repeatable: true, ...(contentType === undefined ? {} : { contentType }) })
    return Effect.map(put, () => void written.push({ key, bytes: body.length }))
  })
  const isOurs = Effect.map(store.get(done.key), ({ body }) => new TextDecoder().decode(body) === run)
  const ending = Effect.catch(store.put({ ...done, ifNoneMatch: "*" }), (error) =>
    error.reason._tag !== "PreconditionFailed"
      ? Effect.fail(error)
      : Effect.flatMap(isOurs, (isOurs) =>
          isOurs ? Effect.void : refuse(`another export came to its end below ${prefix}`)
        )
  )
  let isEnding = false
  /** `_SUCCESS` may be there, although nobody has heard so: files do not go before it, lest readers take an export without them. */
  const unmark = Effect.matchEffect(isOurs, {
    onFailure: (error) => (error.reason._tag === "NoSuchKey" ? Effect.void : Effect.fail(error)),
    onSuccess: (isOurs) => (isOurs ? store.delete(done.key) : Effect.void)
  })
  const clean = Effect.suspend(() => {
    if (begun.length === 0 && !isEnding) return Effect.void
    return Effect.ignore(Effect.andThen(isEnding ? unmark : Effect.void, store.deleteMany(begun)))
  })
  const end = Effect.suspend(() => {
    isEnding = true
    return ending
  })
  yield* Effect.andThen(writing, end).pipe(Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : clean)))
  return written
})

// -----------------------------------------------------------------------------
// CSV
// -----------------------------------------------------------------------------

/**
 * The form of a table.
 *
 * - `columns`: the fields, in this order, nested ones by dotted paths: those of a selection, or `columnsOf(definition)`
 * - `onExcessProperty`: what becomes of a document with a field that is in no column. `error`, the default, ends with `NoColumn`;
 *   `ignore` leaves the field out
 * - `delimiter` default: `,`
 * - `header`: the names of the columns in the first row. Default: `true`
 * - `bom`: begins with a byte order mark, by which Excel recognizes UTF-8. Default: `false`
 * - `nullText`: what stands for `null` and for a missing field. Default: nothing. A text that looks the same is written in
 *   quotes.
 * - `escapeFormulas`: writes an apostrophe before texts that a spreadsheet would take for a formula: those that begin with
 *   `=`, `+`, `-`, `@`, their full-width forms, also behind spaces and control characters, a tab, a carriage return or a line
 *   feed (OWASP, "CSV Injection"). Turn it
 *   on for files that people open in a spreadsheet, when somebody else can write the texts. It changes the texts, therefore
 *   the default is `false`.
 *
 * @category models
 * @since 0.1.0
 */
export interface CsvOptions {
  readonly columns: ReadonlyArray<Query.Path>
  readonly onExcessProperty?: "error" | "ignore" | undefined
  readonly delimiter?: "," | ";" | "\t" | "|" | undefined
  readonly header?: boolean | undefined
  readonly bom?: boolean | undefined
  readonly nullText?: string | undefined
  readonly escapeFormulas?: boolean | undefined
}

/**
 * A document has a field that no column of a table is for. It holds no values.
 *
 * @remedy Add the field to `columns`, `select` the fields that are wanted, or say `onExcessProperty: "ignore"`.
 * @category errors
 * @since 0.1.0
 */
export class NoColumn extends ExpectedError<NoColumn>("effect-s3db/Export/NoColumn")(
  "NoColumn",
  {
    /** The number of the document, from 1. */
    row: Schema.Int,
    path: Schema.Array(Schema.String)
  },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `row ${this.row}: ${this.path.join(".")} is in no column; add it to columns, or say onExcessProperty: "ignore"`
  }
}

/**
 * Lists the fields of a resource as columns of a table: the primary key, then the others in the order of the schema, nested ones
 * each by itself. Without secrets and passwords, which no export has.
 *
 * ```ts
 * import * as Export from "effect-s3db/Export"
 * import * as Resource from "effect-s3db/Resource"
 *
 * const users = Resource.fromAttributes("users", { name: "string", address: { city: "string" } })
 *
 * const columns = Export.columnsOf(users)
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const columnsOf = ({
  attributes,
  primaryKey
}: {
  readonly primaryKey: string
  readonly attributes: ReadonlyArray<Attributes.Attribute>
}): Columns => [
  [primaryKey],
  ...attributes.filter(({ codec }) => codec !== "struct" && !Attributes.isHidden(codec)).map(({ path }) => path)
]

/**
 * Writes a table with one row for each document, as RFC 4180 has it: rows end with CRLF, and what contains the
 * delimiter, a quote or a line break is in quotes. As UTF-8; a lone surrogate, which UTF-8 cannot carry, becomes
 * U+FFFD.
 *
 * Texts stand as they are, numbers and booleans as in JSON, arrays and objects as JSON text. An empty stream gives the header
 * alone. Fails with `NoColumn` when a document has a field that is in no column, unless `onExcessProperty` says otherwise.
 *
 * @category encoding
 * @since 0.1.0
 */
export const csv = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  options: CsvOptions
): Stream.Stream<Uint8Array, E | NoColumn, R> => Stream.encodeText(csvText(documents, options))

/**
 * Writes `csv` as text, in pieces of some rows.
 *
 * @category encoding
 * @since 0.1.0
 */
export const csvText = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  options: CsvOptions
): Stream.Stream<string, E | NoColumn, R> => {
  const cell = makeCell(options)
  const row = makeRow(options.delimiter ?? ",")
  const columns = options.columns.map(Query.segments)
  const header = options.header === false ? "" : row(columns.map((column) => cell(column.join("."))))
  const first = (options.bom === true ? "\uFEFF" : "") + header
  const listed = options.onExcessProperty === "ignore" ? documents : withoutOthers(documents, columns)
  const rows = inPieces(listed, (document) => row(columns.map((column) => cell(Query.valueAt(document, column)))))
  return first === "" ? rows : Stream.concat(Stream.succeed(first), rows)
}

/** The documents as they are, up to the first one that has a field that is in no column. */
const withoutOthers = <E, R>(
  documents: Stream.Stream<JsonObject, E, R>,
  columns: Columns
): Stream.Stream<JsonObject, E | NoColumn, R> => {
  const find = otherField(columns)
  return Stream.mapArrayEffect(
    Stream.zipWithIndex(documents),
    Effect.fnUntraced(function* (rows) {
      for (const [document, index] of rows) {
        const path = find(document)
        if (path !== undefined) return yield* new NoColumn({ row: index + 1, path })
      }
      return Arr.map(rows, ([document]) => document)
    })
  )
}

/** Finds a field of a document that is in no column. What is `null` has no fields that could be lost. */
const otherField = (columns: Columns): ((document: JsonObject) => ReadonlyArray<string> | undefined) => {
  const byName = Map.groupBy(columns, ([name]) => name)
  const below = new Map(
    [...byName].map(([name, all]) => {
      const rest = all.map((column) => column.slice(1))
      return [name, rest.some((one) => one.length === 0) ? undefined : otherField(rest)]
    })
  )
  return (document) => {
    for (const name of Object.keys(document)) {
      if (!below.has(name)) return [name]
      const find = below.get(name)
      const value = document[name]
      if (find === undefined || value === null || value === undefined) continue
      const inner = isObject(value) ? find(value) : []
      if (inner !== undefined) return [name, ...inner]
    }
    return undefined
  }
}

type Columns = ReadonlyArray<ReadonlyArray<string>>

const makeRow =
  (delimiter: string) =>
  (cells: ReadonlyArray<string>): string =>
    // A row of one empty cell would be a blank line, which readers skip.
    `${cells.length === 1 && cells[0] === "" ? '""' : cells.join(delimiter)}\r\n`

/** What a spreadsheet takes for the beginning of a formula, also behind what it, or what reads the file for it, leaves out. */
const formula = /^[\t\r\n]|^[\s\p{Cc}\p{Cf}]*[=+\-@＝＋－＠]/u

const makeCell = (options: CsvOptions): ((value: Json | undefined) => string) => {
  const { delimiter = ",", nullText = "", escapeFormulas = false } = options
  const needsQuotes = (text: string): boolean => text.includes(delimiter) || /["\r\n]/.test(text)
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`
  const cell = (text: string): string => (needsQuotes(text) ? quoted(text) : text)
  const none = cell(nullText)
  return (value) => {
    if (value === undefined || value === null) return none
    if (typeof value !== "string") return cell(exactText(value))
    const text = escapeFormulas && formula.test(value) ? `'${value}` : value
    return text === nullText ? quoted(text) : cell(text)
  }
}
