/**
 * Entries as bytes, for tiers outside of the process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { decodeBase64, encodeBase64 } from "../../internal/base64.ts"
import { sha256 } from "../../internal/sha256.ts"
import * as BlobCodec from "../../kernel/BlobCodec.ts"
import * as StoreError from "../../storage/StoreError.ts"
import type { Entry } from "./tier.ts"

/**
 * How entries become bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How long entries are compressed. Default `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
  /** Shorter ones are not compressed. Bytes; default: 1,024. */
  readonly compressFrom?: number | undefined
  /** Seals entries by a key ring, which all processes need. Default: they are as readable as what the store has. */
  readonly sealing?: BlobCodec.Sealing | undefined
}

/** An entry with the time at which it was put in its tier. */
interface Put {
  readonly entry: Entry
  readonly putAt: number
}

/**
 * Makes entries bytes, and reads them; what was damaged is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Blobs {
  /** Makes an entry text where it is short and open, with what tells that it was damaged; else its bytes as base 64. */
  readonly toText: (entry: Entry, putAt: number, path: string) => Effect.Effect<string, BlobCodec.EncodeError>
  readonly fromText: (text: string, path: string) => Effect.Effect<Option.Option<Put>, BlobCodec.DecodeError>
  readonly encode: (entry: Entry, putAt: number, path: string) => Effect.Effect<Uint8Array, BlobCodec.EncodeError>
  readonly decode: (body: Uint8Array, path: string) => Effect.Effect<Option.Option<Put>, BlobCodec.DecodeError>
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Begins what is text; base 64 has no such character at its beginning. */
const plainMark = "="
const digestLength = 16

const digestOf = (content: Uint8Array): string => encodeBase64(sha256(content).subarray(0, 12))

/** `stamp loadedAt putAt`, a line break, the text. */
const parse = (content: string): Option.Option<Put> => {
  const end = content.indexOf("\n")
  const match = /^([\w.-]+) (\d{1,16}) (\d{1,16})$/.exec(content.slice(0, Math.max(0, end)))
  if (match === null) return Option.none()
  const [, stamp = "", loadedAt, putAt] = match
  return Option.some({
    entry: { stamp, loadedAt: Number(loadedAt), text: content.slice(end + 1) },
    putAt: Number(putAt)
  })
}

/**
 * Makes the codec of entries.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ compression = "gzip", compressFrom = 1024, sealing }: Options): Blobs => {
  const open = BlobCodec.bytes({ compression: "none", sealing })
  const packed = BlobCodec.bytes({ compression, sealing })
  const contentOf = ({ loadedAt, stamp, text }: Entry, putAt: number) =>
    `${stamp} ${Math.floor(loadedAt)} ${Math.floor(putAt)}\n${text}`
  const encode = (content: Uint8Array, path: string) =>
    (content.length < compressFrom ? open : packed).encode(content, path)
  const decode = (body: Uint8Array, path: string) =>
    Effect.map(packed.decode(body, path), (content) => parse(decoder.decode(content)))
  return {
    encode: (entry, putAt, path) => encode(encoder.encode(contentOf(entry, putAt)), path),
    decode,
    toText: (entry, putAt, path) => {
      const text = contentOf(entry, putAt)
      const content = encoder.encode(text)
      return sealing === undefined && content.length < compressFrom
        ? Effect.succeed(`${plainMark}${digestOf(content)}${text}`)
        : Effect.map(encode(content, path), encodeBase64)
    },
    fromText: (text, path) => {
      if (!text.startsWith(plainMark)) return decode(decodeBase64(text) ?? new Uint8Array(), path)
      const content = text.slice(plainMark.length + digestLength)
      const isWhole =
        sealing === undefined &&
        text.slice(plainMark.length, plainMark.length + digestLength) === digestOf(encoder.encode(content))
      return isWhole
        ? Effect.succeed(parse(content))
        : Effect.fail(new StoreError.Corrupt({ description: "the entry is not what was written" }))
    }
  }
}
