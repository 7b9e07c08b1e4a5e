/** The file of an object: a header with everything but the body, and the body, each with a checksum. */
import { promisify } from "node:util"
import zlib from "node:zlib"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { requireNode } from "../../internal/runtime.ts"

export const Compression = Schema.Literals(["none", "gzip", "zstd"])
export type Compression = typeof Compression.Type

const Header = Schema.Struct({
  key: Schema.String,
  etag: Schema.String,
  metadata: Schema.Record(Schema.String, Schema.String),
  contentType: Schema.String,
  contentEncoding: Schema.optionalKey(Schema.String),
  lastModified: Schema.Int,
  /** Bytes of the body before compression. */
  size: Schema.Int,
  compression: Compression,
  /** Bytes and CRC-32 of the body as it is stored. */
  storedSize: Schema.Int,
  crc: Schema.Int
})
export type Header = typeof Header.Type

const decodeHeader = Schema.decodeUnknownResult(Schema.fromJsonString(Header))

/** `S3DB`, the version of the format, the bytes of the header, the CRC-32 of the header. */
const fixedBytes = 13
const magic = Buffer.from("S3DB\u0001", "latin1")

/** What is read of a file to get its header, nearly always enough. */
export const firstBytes = 8192

export const write = (header: Header, body: Uint8Array): ReadonlyArray<Uint8Array> => {
  const text = Buffer.from(JSON.stringify(header), "utf8")
  const fixed = Buffer.alloc(fixedBytes)
  magic.copy(fixed)
  fixed.writeUInt32BE(text.length, 5)
  fixed.writeUInt32BE(zlib.crc32(text), 9)
  return [fixed, text, body]
}

/** Where the body begins, and how much has to be read to have the header. */
export type HeaderReading =
  | { readonly _tag: "Header"; readonly header: Header; readonly bodyStart: number }
  | { readonly _tag: "Short"; readonly needed: number }
  | { readonly _tag: "Damaged"; readonly problem: string }

/** Reads a header from the first bytes of a file. */
export const readHeader = (bytes: Uint8Array, key: string): HeaderReading => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < fixedBytes) return { _tag: "Damaged", problem: "the file is too short" }
  if (!buffer.subarray(0, magic.length).equals(magic)) return { _tag: "Damaged", problem: "it is no object file" }
  const bodyStart = fixedBytes + buffer.readUInt32BE(5)
  if (buffer.length < bodyStart) return { _tag: "Short", needed: bodyStart }
  const text = buffer.subarray(fixedBytes, bodyStart)
  if (zlib.crc32(text) !== buffer.readUInt32BE(9)) return { _tag: "Damaged", problem: "the header has been altered" }
  const header = decodeHeader(text.toString("utf8"))
  if (Result.isFailure(header)) return { _tag: "Damaged", problem: "the header cannot be read" }
  if (header.success.key !== key) return { _tag: "Damaged", problem: "it is the file of another key" }
  return { _tag: "Header", header: header.success, bodyStart }
}

// What an older Node lacks is told before it is missed.
requireNode()

const compressors = { gzip: promisify(zlib.gzip), zstd: promisify(zlib.zstdCompress) }
const decompressors = { gzip: promisify(zlib.gunzip), zstd: promisify(zlib.zstdDecompress) }

/** The body as it was put; a text says what is wrong with it. */
export const readBody = Effect.fnUntraced(function* (header: Header, stored: Uint8Array) {
  if (stored.length !== header.storedSize) return "the body is not complete"
  if (zlib.crc32(stored) !== header.crc) return "the body has been altered"
  const { compression } = header
  const body: Uint8Array | undefined =
    compression === "none"
      ? stored
      : yield* Effect.catch(
          Effect.tryPromise(() => decompressors[compression](stored)),
          () => Effect.succeed(undefined)
        )
  return body?.length === header.size ? body : "the body does not decompress to its size"
})

/** The body as it is to be stored: compressed only where that makes it smaller. */
export const compress = Effect.fnUntraced(function* (compression: Compression, body: Uint8Array) {
  if (compression === "none") return { stored: body, compression }
  const stored: Uint8Array = yield* Effect.promise(() => compressors[compression](body))
  return stored.length < body.length ? { stored, compression } : { stored: body, compression: "none" as const }
})

export const crc32 = (bytes: Uint8Array): number => zlib.crc32(bytes)
