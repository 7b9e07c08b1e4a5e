/**
 * The bytes of a pack: rows, then an index, then columns, each a blob that is compressed and checked by itself, so that any of them
 * can be read by its range.
 *
 * | bytes | what |
 * |---|---|
 * | `rows` of the note | the objects: the length of a head (4), the head as JSON (metadata and the length of the body of each), the bodies |
 * | `index` of the note | as JSON: the keys, their ETags, which of them are without a row, where the columns are |
 * | the rest | columns, each as JSON: the value of each row, and which rows have none |
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Json, stringifyExact } from "../../encoding/Json.ts"
import { concatBytes } from "../../internal/bytes.ts"
import type { Metadata } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as BlobCodec from "../BlobCodec.ts"

/** An object as it was stored. */
export interface Row {
  readonly metadata: Metadata
  readonly body: Uint8Array
}

/** A key that was listed, and its object, where that is packed. */
export interface Entry {
  /** Without what all begin with. */
  readonly key: string
  readonly etag: string
  readonly row: Row | undefined
}

/** What is known of one field of all rows. */
export interface Column {
  readonly name: string
  /** One for each row; `undefined` where it has none. */
  readonly values: ReadonlyArray<Json | undefined>
  /** What is to be known of them without reading them. */
  readonly statistics?: Json | undefined
}

const Placed = Schema.Struct({
  name: Schema.String,
  /** Counted from the end of the index. */
  start: Schema.Int,
  bytes: Schema.Int,
  statistics: Schema.optionalKey(Schema.Json)
})

export const Index = Schema.Struct({
  /** What the columns were made by. */
  tag: Schema.String,
  keys: Schema.Array(Schema.String),
  etags: Schema.Array(Schema.String),
  /** The places of keys without a row. */
  loose: Schema.Array(Schema.Int),
  columns: Schema.Array(Placed)
})
export type Index = typeof Index.Type

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const corrupt = (description: string) => new StoreError.Corrupt({ description })

interface Head {
  readonly metadata: ReadonlyArray<Metadata>
  readonly bytes: ReadonlyArray<number>
}

const isMetadata = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false
  const texts = value as Readonly<Record<string, unknown>>
  for (const name in texts) if (typeof texts[name] !== "string") return false
  return true
}

/** By hand: of all that is read of a pack it is the longest. */
const isHead = (value: unknown): value is Head =>
  typeof value === "object" &&
  value !== null &&
  "metadata" in value &&
  Array.isArray(value.metadata) &&
  value.metadata.every(isMetadata) &&
  "bytes" in value &&
  Array.isArray(value.bytes) &&
  value.bytes.every((one) => Number.isSafeInteger(one) && one >= 0)

const lengthBytes = 4

const rowsToBytes = (rows: ReadonlyArray<Row>): Uint8Array => {
  const head = encoder.encode(
    JSON.stringify({ metadata: rows.map(({ metadata }) => metadata), bytes: rows.map(({ body }) => body.length) })
  )
  const length = new Uint8Array(lengthBytes)
  new DataView(length.buffer).setUint32(0, head.length)
  return concatBytes(length, head, ...rows.map(({ body }) => body))
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const rowsFromBytes = Effect.fnUntraced(function* (
  content: Uint8Array
): Effect.fn.Return<ReadonlyArray<Row>, StoreError.Corrupt> {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const headBytes = content.length < lengthBytes ? 0 : view.getUint32(0)
  const head = parse(decoder.decode(content.subarray(lengthBytes, lengthBytes + headBytes)))
  if (!isHead(head) || head.bytes.length !== head.metadata.length) {
    return yield* corrupt("the rows of the pack have no head")
  }
  let at = lengthBytes + headBytes
  const rows = head.bytes.map((length, i): Row => {
    const body = content.subarray(at, at + length)
    at += length
    return { metadata: head.metadata[i]!, body }
  })
  return at === content.length ? rows : yield* corrupt("the rows of the pack have another length than they say")
})

const columnToBytes = (values: Column["values"]): Uint8Array | undefined => {
  const none = values.flatMap((value, i) => (value === undefined ? [i] : []))
  const text = stringifyExact({ values: values.map((value) => value ?? null), none })
  return typeof text === "string" ? encoder.encode(text) : undefined
}

interface Values {
  readonly values: ReadonlyArray<Json>
  readonly none: ReadonlyArray<number>
}

const isValues = (value: unknown): value is Values =>
  typeof value === "object" &&
  value !== null &&
  "values" in value &&
  Array.isArray(value.values) &&
  "none" in value &&
  Array.isArray(value.none)

const columnFromBytes = Effect.fnUntraced(function* (
  content: Uint8Array,
  rows: number
): Effect.fn.Return<Column["values"], StoreError.Corrupt> {
  const found = parse(decoder.decode(content))
  if (!isValues(found) || found.values.length !== rows) return yield* corrupt("a column of the pack is none")
  const values: Array<Json | undefined> = [...found.values]
  for (const i of found.none) values[i] = undefined
  return values
})

/** The number of keys that have a row. */
export const rowCount = ({ keys, loose }: Index): number => keys.length - loose.length

/** Reads and writes packs, compressed by one method; none counts when they are read. */
export const make = (compression: BlobCodec.Compression | undefined) => {
  const blob = BlobCodec.bytes({ compression, maxBytes: 2 * BlobCodec.defaultMaxBytes })
  const indexes = BlobCodec.json(Index, { compression, maxBytes: 2 * BlobCodec.defaultMaxBytes })

  return {
    /** The bytes of a pack, and how long rows and index are. */
    encode: Effect.fnUntraced(function* (
      entries: ReadonlyArray<Entry>,
      columns: ReadonlyArray<Column>,
      tag: string
    ): Effect.fn.Return<
      { readonly bytes: Uint8Array; readonly rows: number; readonly index: number },
      BlobCodec.EncodeError
    > {
      const packed = entries.flatMap(({ row }) => (row === undefined ? [] : [row]))
      const rows = yield* blob.encode(rowsToBytes(packed), "")
      const placed: Array<typeof Placed.Type> = []
      const blobs: Array<Uint8Array> = []
      let start = 0
      for (const { name, statistics, values } of columns) {
        const content = columnToBytes(values)
        // What JSON cannot carry takes no bytes, and is read from the rows.
        const bytes = content === undefined ? new Uint8Array(0) : yield* blob.encode(content, "")
        blobs.push(bytes)
        placed.push({ name, start, bytes: bytes.length, ...(statistics === undefined ? {} : { statistics }) })
        start += bytes.length
      }
      const index = yield* indexes.encode(
        {
          tag,
          keys: entries.map(({ key }) => key),
          etags: entries.map(({ etag }) => etag),
          loose: entries.flatMap(({ row }, i) => (row === undefined ? [i] : [])),
          columns: placed
        },
        ""
      )
      return { bytes: concatBytes(rows, index, ...blobs), rows: rows.length, index: index.length }
    }),
    index: (bytes: Uint8Array): Effect.Effect<Index, BlobCodec.DecodeError> => indexes.decode(bytes, ""),
    rows: Effect.fnUntraced(function* (bytes: Uint8Array, index: Index) {
      const rows = yield* Effect.flatMap(blob.decode(bytes, ""), rowsFromBytes)
      return rows.length === rowCount(index) ? rows : yield* corrupt("rows and index of the pack do not fit")
    }),
    column: (bytes: Uint8Array, index: Index) =>
      Effect.flatMap(blob.decode(bytes, ""), (content) => columnFromBytes(content, rowCount(index)))
  }
}
