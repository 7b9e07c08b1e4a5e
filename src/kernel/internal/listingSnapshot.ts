/**
 * What was seen of a listing: keys and their ETags in parts, each about the keys after those of the part before, up to one
 * that its note says.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { compareUtf8 } from "../../internal/text.ts"
import * as StoreError from "../../storage/StoreError.ts"
import * as BlobCodec from "../BlobCodec.ts"
import type { Part } from "../Segments.ts"

/** A key, without what all begin with, as it was seen. */
export interface Kept {
  readonly key: string
  readonly etag: string
  /** Whether the object stands for something. */
  readonly isThere: boolean
  /** Whether it may come to mean something else without a new ETag. */
  readonly isUndecided: boolean
}

/** A part, the last key that it is about, and how many it has. */
export interface Placed {
  readonly part: Part
  readonly upto: string
  readonly keys: number
}

const Note = Schema.Struct({ u: Schema.String, n: Schema.Int })
const decodeNote = Schema.decodeUnknownResult(Note)

const Body = Schema.Struct({
  k: Schema.Array(Schema.String),
  e: Schema.Array(Schema.String),
  /** Which of them stand for nothing. */
  g: Schema.optionalKey(Schema.Array(Schema.Int)),
  /** Which of them are undecided. */
  u: Schema.optionalKey(Schema.Array(Schema.Int))
})

/** Twice 65,536 keys of 1,024 bytes, escaped, and their ETags. */
const maxBytes = 512 * 1024 * 1024

/** Parts are named by their hash; nothing is sealed. */
const blobName = "listing"

const corrupt = (description: string) => new StoreError.Corrupt({ description })

/** Parts in the order of the keys that they are about. */
export const place = (parts: ReadonlyArray<Part>): Effect.Effect<ReadonlyArray<Placed>, StoreError.Corrupt> => {
  const placed: Array<Placed> = []
  for (const part of parts) {
    const note = decodeNote(part.note)
    if (Result.isFailure(note)) return Effect.fail(corrupt("a part does not say which keys it is about"))
    placed.push({ part, upto: note.success.u, keys: note.success.n })
  }
  return Effect.succeed(placed.toSorted((a, b) => compareUtf8(a.upto, b.upto)))
}

export const noteOf = (upto: string, keys: number): Schema.Json => ({ u: upto, n: keys })

const chosen = (kept: ReadonlyArray<Kept>, isChosen: (one: Kept) => boolean): ReadonlyArray<number> =>
  kept.flatMap((one, i) => (isChosen(one) ? [i] : []))

/** How parts are written and read. */
export interface Format {
  readonly encode: (kept: ReadonlyArray<Kept>) => Effect.Effect<Uint8Array, BlobCodec.EncodeError>
  readonly decode: (bytes: Uint8Array) => Effect.Effect<ReadonlyArray<Kept>, BlobCodec.DecodeError>
}

export const make = (compression: BlobCodec.Compression | undefined): Format => {
  const blobs = BlobCodec.json(Body, { compression, maxBytes })
  return {
    encode: (kept) => {
      const gone = chosen(kept, ({ isThere }) => !isThere)
      const open = chosen(kept, ({ isUndecided }) => isUndecided)
      return blobs.encode(
        {
          k: kept.map(({ key }) => key),
          e: kept.map(({ etag }) => etag),
          ...(gone.length === 0 ? {} : { g: gone }),
          ...(open.length === 0 ? {} : { u: open })
        },
        blobName
      )
    },
    decode: (bytes) =>
      Effect.flatMap(blobs.decode(bytes, blobName), ({ e, g = [], k, u = [] }) => {
        if (e.length !== k.length) return Effect.fail(corrupt("a part of the snapshot has keys without an ETag"))
        const [gone, open] = [new Set(g), new Set(u)]
        return Effect.succeed(
          k.map((key, i): Kept => ({ key, etag: e[i]!, isThere: !gone.has(i), isUndecided: open.has(i) }))
        )
      })
  }
}
