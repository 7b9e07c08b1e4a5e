/** What a file is, and the records in it. */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { sha256 } from "../../../internal/sha256.ts"
import type { DependencyMissing } from "../../../Plugin.ts"
import * as Parquet from "../../Parquet.ts"
import { type Compression, compressionOf, decompress, peek } from "./bytes.ts"
import { InvalidImport, Unreadable } from "../errors.ts"
import * as lists from "./lists.ts"
import type { Counter, Found } from "./records.ts"
import type { Plan, Shape } from "./shaping.ts"
import type { Source } from "../sources.ts"
import * as table from "./table.ts"
import * as text from "./text.ts"
import * as workbook from "./workbook.ts"

/**
 * The forms of files.
 *
 * @category models
 * @since 0.1.0
 */
export const Format = Schema.Literals(["json", "ndjson", "csv", "tsv", "parquet", "xlsx"])

/**
 * One of the forms of files.
 *
 * @category models
 * @since 0.1.0
 */
export type Format = typeof Format.Type

/**
 * What a file is. What is not said is told by the ending of its name, and by its first bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  /** Default: by the name, without `.gz`, `.zst` and `.br`; else by what it begins with. */
  readonly format?: Format | undefined
  /** Default: by the first bytes; of Brotli, which has no mark, by the ending `.br`. */
  readonly compression?: Compression | undefined
  /** As the Encoding Standard calls it: `utf-8`, `utf-16le`, `windows-1252`, `latin1`, ... Default: by a byte order mark or the zeros of UTF-16, else UTF-8. */
  readonly encoding?: string | undefined
  /** Of JSON: where the list of documents is, as `data.items` or `/data/items`. Default: the text is the list, or one document. */
  readonly path?: string | undefined
  /** Of CSV: one character. Default: the one of `,` `;` tab `|` that parts the first lines best. */
  readonly delimiter?: string | undefined
  /** Of tables: the number of the row with the names of the columns, from 1; `true`: the first that is not blank; `false`: none, they are `column1`, ...; or the names themselves. Default: `true`. */
  readonly header?: table.Header | undefined
  /** Of XLSX: its name, or its number from 1. Default: the first. */
  readonly sheet?: string | number | undefined
  /** Characters of one record at most, of NDJSON bytes. Default: 16 Mi. */
  readonly maxRowLength?: number | undefined
  /** How many times its size a file may unpack to, beyond 16 MiB. Default: 250. */
  readonly maxRatio?: number | undefined
  /** Bytes of a file that is held in memory: Parquet that is compressed as a whole or comes as a stream, XLSX that comes as a stream; and characters of the texts that cells of XLSX share. Default: 64 Mi. */
  readonly maxHeld?: number | undefined
}

/** What a file turned out to be. */
export interface Opened<E, R> {
  readonly format: Format
  readonly compression: Compression
  readonly encoding: string | undefined
  readonly delimiter: string | undefined
  /** Whether records are rows of cells. */
  readonly isTable: boolean
  /** Of the first bytes and the size: another one is another file. */
  readonly fingerprint: string
  /** The records, by a plan for tables. */
  readonly records: (plan?: Plan) => Stream.Stream<Found, E | Unreadable | DependencyMissing, R>
}

const lookedBytes = 65_536
const graceBytes = 16 * 1_048_576

const endings: ReadonlyArray<readonly [RegExp, Format]> = [
  [/\.(?:ndjson|jsonl|ldjson)$/i, "ndjson"],
  [/\.(?:json|geojson)$/i, "json"],
  [/\.csv$/i, "csv"],
  [/\.(?:tsv|tab)$/i, "tsv"],
  [/\.parquet$/i, "parquet"],
  [/\.(?:xlsx|xlsm)$/i, "xlsx"]
]

/** The format that a name tells. */
export const formatOfName = (name: string): Format | undefined => {
  const plain = name.replace(/[?#].*$/s, "").replace(/\.(?:gz|gzip|zst|zstd|br)$/i, "")
  return endings.find(([ending]) => ending.test(plain))?.[1]
}

const isJson = (line: string): boolean => {
  try {
    JSON.parse(line)
    return true
  } catch {
    return false
  }
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

const isOld = (head: Uint8Array): boolean =>
  head[0] === 0xd0 && head[1] === 0xcf && head[2] === 0x11 && head[3] === 0xe0

/** The format that the first bytes tell. */
const formatOfBytes = (head: Uint8Array, start: string): Format => {
  const mark = String.fromCharCode(...head.subarray(0, 4))
  if (mark === "PAR1") return "parquet"
  if (mark === "PK\u0003\u0004") return "xlsx"
  const trimmed = start.replace(/^\uFEFF/, "").trimStart()
  if (trimmed.startsWith("[")) return "json"
  if (!trimmed.startsWith("{")) return "csv"
  const [line = "", next] = trimmed.split(/\r\n|\n/, 2)
  // A line that is too long to be seen as a whole is one of many: one document of that length is rare.
  return isJson(line) || next === undefined ? "ndjson" : "json"
}

const checked = (options: ReadOptions): InvalidImport | undefined => {
  const { delimiter, encoding, header, maxHeld, maxRatio, maxRowLength, path, sheet } = options
  const refuse = (field: string, problem: string) => new InvalidImport({ field, problem })
  if (delimiter !== undefined && !/^[^"\r\n]$/.test(delimiter)) {
    return refuse("delimiter", "Expected one character other than a quote or a line break")
  }
  if (encoding !== undefined && !text.isEncoding(encoding)) {
    return refuse("encoding", `Expected an encoding such as utf-8, utf-16le or windows-1252, not ${encoding}`)
  }
  if (typeof header === "number" && !(Number.isSafeInteger(header) && header >= 1)) {
    return refuse("header", "Expected the number of a row, from 1")
  }
  if (typeof header === "object" && header.length === 0) return refuse("header", "Expected the names of columns")
  if (typeof sheet === "number" && !(Number.isSafeInteger(sheet) && sheet >= 1)) {
    return refuse("sheet", "Expected the number of a sheet, from 1")
  }
  if (path !== undefined && /~(?:[^01]|$)/.test(path)) return refuse("path", "Expected a path such as data.items")
  const limit = Object.entries({ maxHeld, maxRatio, maxRowLength }).find(([, one]) => one !== undefined && !(one >= 1))
  return limit === undefined ? undefined : refuse(limit[0], "Expected a number from 1")
}

const pointerOf = (path: string | undefined): string => {
  if (path === undefined || path === "" || path.startsWith("/")) return path ?? ""
  return `/${path
    .replace(/^\$\.?/, "")
    .split(".")
    .join("/")}`
}

/** What a definition without a resource is: every column as it comes. */
const noShape: Shape = { name: "", primaryKey: "", attributes: [], schema: Schema.Struct({}) }

/** The bytes of a file in memory. */
const held = Effect.fnUntraced(function* <E, R>(
  name: string,
  bytes: Stream.Stream<Uint8Array, E, R>,
  maxHeld: number
): Effect.fn.Return<Source<never, never>, E | Unreadable, R> {
  const pieces: Array<Uint8Array> = []
  let size = 0
  yield* Stream.runForEach(bytes, (piece): Effect.Effect<void, Unreadable> => {
    size += piece.length
    if (size > maxHeld) {
      return new Unreadable({
        file: name,
        reason: "TooLarge",
        description: `it has more than ${maxHeld} bytes, and comes as a stream: give a file, or raise maxHeld`
      })
    }
    pieces.push(piece.slice())
    return Effect.void
  })
  return {
    name,
    bytes: Stream.fromIterable(pieces),
    size,
    isRepeatable: true,
    read: (start, end) => {
      const found = new Uint8Array(Math.max(0, Math.min(end, size) - start))
      let at = 0
      for (const piece of pieces) {
        const from = Math.max(start - at, 0)
        const to = Math.min(end - at, piece.length)
        if (from < to) found.set(piece.subarray(from, to), at + from - start)
        at += piece.length
      }
      return Effect.succeed(found)
    }
  }
})

/** Looks at the beginning of a file. `shape`: what Parquet is read for. `onBytes`: how many of it have been read. */
export const open = Effect.fnUntraced(function* <E, R>(
  source: Source<E, R>,
  options: ReadOptions,
  {
    counter,
    onBytes = () => {},
    shape = noShape
  }: { readonly counter: Counter; readonly onBytes?: (count: number) => void; readonly shape?: Shape | undefined }
): Effect.fn.Return<Opened<E, R>, E | Unreadable | InvalidImport, R | Scope.Scope> {
  const problem = checked(options)
  if (problem !== undefined) return yield* problem
  const file = source.name
  const { header = true, maxHeld = 64 * 1_048_576, maxRatio = 250, maxRowLength = 16 * 1_048_576, sheet } = options
  const bounds = { ratio: maxRatio, grace: graceBytes }
  const counting = (bytes: Stream.Stream<Uint8Array, E, R>) =>
    Stream.mapArray(
      bytes,
      Arr.map((piece) => {
        onBytes(piece.length)
        return piece
      })
    )
  const raw = yield* peek(counting(source.bytes), lookedBytes)
  const compression = options.compression ?? compressionOf(raw.head, file)
  const plain = (bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | Unreadable, R> =>
    compression === "none" ? bytes : decompress(bytes, compression, { bounds, file })
  const { bytes, head } = compression === "none" ? raw : yield* peek(plain(raw.bytes), lookedBytes)
  const encoding = options.encoding?.toLowerCase() ?? text.encodingOf(head)
  // A source may come in one piece.
  const start = new TextDecoder(encoding).decode(head.subarray(0, lookedBytes))
  const format = options.format ?? formatOfName(file) ?? formatOfBytes(head, start)
  const size = new TextEncoder().encode(`${source.size ?? ""}/`)
  const fingerprint = hex(sha256(size, raw.head.subarray(0, lookedBytes))).slice(0, 32)
  const what = { counter, file, maxRowLength }
  const pieces = () => text.decode(bytes, { encoding, file, rowNow: () => counter.rows })
  const delimiter =
    format === "csv" || format === "tsv"
      ? (options.delimiter ?? (format === "tsv" ? "\t" : table.delimiterOf(start)))
      : undefined
  const again = compression === "none" && source.isRepeatable

  const records = (plan?: Plan): Stream.Stream<Found, E | Unreadable | DependencyMissing, R> => {
    const needed = plan?.needed ?? []
    switch (format) {
      case "csv":
      case "tsv": {
        const rows = table.rows(pieces(), { ...what, delimiter: delimiter! })
        return table.records(rows, { counter, file, header, needed, width: "exact" })
      }
      case "ndjson": {
        // Lines of UTF-8 are parted before they are decoded: one that is broken takes no other with it.
        return lists.lines(encoding === "utf-8" ? bytes : Stream.encodeText(pieces()), what)
      }
      case "json": {
        const first = start.replace(/^\uFEFF/, "").trimStart()[0]
        if (first === undefined) return Stream.empty
        return options.path === undefined && first === "{"
          ? lists.one(pieces(), what)
          : lists.elements(pieces(), { ...what, pointer: pointerOf(options.path) })
      }
      case "xlsx": {
        if (isOld(head)) {
          return Stream.fail(
            new Unreadable({
              file,
              reason: "Unsupported",
              description: "it is a workbook of the old form, or has a password: save it as XLSX without one"
            })
          )
        }
        const read = (from: Stream.Stream<Uint8Array, E | Unreadable, R>) =>
          workbook.rows(from, { bounds, file, maxRowLength, maxShared: maxHeld, sheet })
        const rows = again
          ? read(counting(source.bytes))
          : Stream.unwrap(Effect.map(held(file, bytes, maxHeld), (all) => read(all.bytes)))
        return table.records(rows, { counter, file, header, needed, width: "loose" })
      }
      case "parquet": {
        const { read, size } = source
        const reading = (byteLength: number, one: (start: number, end: number) => Effect.Effect<Uint8Array, E, R>) =>
          Parquet.decode<E, R>(
            {
              byteLength,
              read: (from, to) => Effect.tap(one(from, to), (found) => Effect.sync(() => onBytes(found.length)))
            },
            shape
          )
        const documents =
          again && read !== undefined && size !== undefined
            ? reading(size, read)
            : Stream.unwrap(Effect.map(held(file, bytes, maxHeld), (all) => reading(all.size!, all.read!)))
        return documents.pipe(
          Stream.mapError((error) =>
            error instanceof Parquet.Unreadable
              ? new Unreadable({ file, reason: "Damaged", row: counter.rows + 1, description: error.message })
              : error
          ),
          Stream.map((record): Found => {
            counter.rows += 1
            return { row: counter.rows, record, original: record }
          })
        )
      }
    }
  }
  const isText = format !== "parquet" && format !== "xlsx"
  return {
    format,
    compression,
    encoding: isText ? encoding : undefined,
    delimiter,
    isTable: format === "csv" || format === "tsv" || format === "xlsx",
    fingerprint,
    records
  }
})
