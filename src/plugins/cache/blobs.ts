/**
 * Entries as bytes, for tiers outside of the process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobCodec from "../../kernel/BlobCodec.ts"
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
  readonly encode: (entry: Entry, putAt: number, path: string) => Effect.Effect<Uint8Array, BlobCodec.EncodeError>
  readonly decode: (body: Uint8Array, path: string) => Effect.Effect<Option.Option<Put>, BlobCodec.DecodeError>
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

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
  return {
    encode: ({ loadedAt, stamp, text }, putAt, path) => {
      const content = encoder.encode(`${stamp} ${Math.floor(loadedAt)} ${Math.floor(putAt)}\n${text}`)
      return (content.length < compressFrom ? open : packed).encode(content, path)
    },
    decode: (body, path) => Effect.map(packed.decode(body, path), (content) => parse(decoder.decode(content)))
  }
}
