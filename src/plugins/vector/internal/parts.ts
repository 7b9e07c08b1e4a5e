/** What an index of vectors is at a time: its segments, the centres of its lists, and which documents are no more. */
import * as Schema from "effect/Schema"
import * as bytes from "../../../encoding/internal/bytes.ts"
import { decodeBase64, encodeBase64 } from "../../../internal/base64.ts"
import { type Form, partFields } from "../../journalindex/internal/manifest.ts"

/** The centres of lists. */
export const Centroids = Schema.Struct({
  key: Schema.String,
  /** Of the object. */
  size: Schema.Int,
  /** How many lists there are. */
  count: Schema.Int,
  /** How many documents there were when they were found. */
  documents: Schema.Int,
  /** How many lists have to be looked at for a part of the nearest documents, as measured then: ascending. */
  probes: Schema.Array(Schema.Struct({ recall: Schema.Finite, lists: Schema.Int }))
})
export type Centroids = typeof Centroids.Type

const Stored = Schema.Struct({
  key: Schema.String,
  size: Schema.Int,
  /** Of each list that it has, after those of the object before: how many vectors and how many bytes, see `packPairs`. */
  lists: Schema.String
})

export const Segment = Schema.Struct({
  /** The key of the centres of its lists; none: every list is looked at. */
  centroids: Schema.optionalKey(Schema.String),
  objects: Schema.Array(Stored),
  /** Blocks of ids, ascending, by the number of the object. */
  ids: Schema.Array(Schema.Struct({ first: Schema.String, object: Schema.Int, start: Schema.Int, size: Schema.Int })),
  /** The last of its ids. */
  last: Schema.String,
  /** How many documents it has, those that are no more included; they are numbered as they come in the lists. */
  count: Schema.Int,
  /** The numbers of its documents that are no more: see `packGone`. */
  gone: Schema.String,
  /** How far what is kept of a vector is at most from what was given. */
  error: Schema.Finite
})
export type Segment = typeof Segment.Type

export const Part = Schema.Struct({
  ...partFields,
  segments: Schema.Array(Segment),
  /** The last one is that of new lists. */
  centroids: Schema.Array(Centroids),
  /** Segments that are being put together: see `growth`. */
  merging: Schema.optionalKey(
    Schema.Struct({
      /** By the keys of their first objects, and which of their documents were no more when it began. */
      sources: Schema.Array(Schema.Struct({ key: Schema.String, gone: Schema.String })),
      objects: Schema.Array(Stored),
      /** The list that comes next. */
      next: Schema.Int
    })
  )
})
export type Part = typeof Part.Type

/** What names a segment. */
export const keyOf = ({ objects }: Segment): string => objects[0]!.key

export const form: Form<Part> = {
  empty: (build, position) => ({ build, position, documents: 0, segments: [], centroids: [], scan: {} }),
  scanning: ({ scan: _, ...part }, scan) => (scan === undefined ? part : { ...part, scan }),
  keysOf: ({ centroids, merging, segments }) => [
    ...segments.flatMap(({ objects }) => objects.map(({ key }) => key)),
    ...centroids.map(({ key }) => key),
    ...(merging?.objects ?? []).map(({ key }) => key)
  ]
}

/** Of all segments. */
export const sizeOf = ({ objects }: Segment): number => objects.reduce((sum, { size }) => sum + size, 0)

/** Pairs of numbers as text. */
export const packPairs = (pairs: ReadonlyArray<readonly [number, number]>): string => {
  const writer = new bytes.Writer()
  for (const [a, b] of pairs) {
    writer.uint(a)
    writer.uint(b)
  }
  return encodeBase64(writer.view())
}

const unpackPairs = (text: string): ReadonlyArray<readonly [number, number]> => {
  const packed = decodeBase64(text)
  const pairs: Array<readonly [number, number]> = []
  if (packed === undefined) return pairs
  const reader = new bytes.Reader(packed)
  try {
    while (!reader.done) pairs.push([reader.uint(), reader.uint()])
  } catch (error) {
    if (!(error instanceof bytes.Malformed)) throw error
  }
  return pairs
}

/** A list of a segment, where it is. */
export interface Place {
  readonly first: { readonly list: number; readonly count: number }
  readonly key: string
  readonly start: number
  readonly size: number
  /** The number of its first document. */
  readonly number: number
}

/** The lists of a segment that have a document, ascending. */
export const placesOf = (segment: Segment): ReadonlyArray<Place> => {
  const places: Array<Place> = []
  let list = 0
  let number = 0
  for (const { key, lists } of segment.objects) {
    let start = 0
    for (const [count, size] of unpackPairs(lists)) {
      if (count > 0) places.push({ first: { list, count }, key, start, size, number })
      start += size
      number += count
      list += 1
    }
  }
  return places
}

/** The documents of a segment that are no more. */
export class Gone {
  private readonly bits: Uint8Array
  size = 0

  constructor(count: number, text: string) {
    this.bits = new Uint8Array(count)
    let at = 0
    for (const [gap, length] of unpackPairs(text)) {
      at += gap
      for (let i = 0; i < length; i++) this.add(at + i)
      at += length
    }
  }

  has(number: number): boolean {
    return this.bits[number] === 1
  }

  add(number: number): void {
    if (number >= this.bits.length || this.has(number)) return
    this.bits[number] = 1
    this.size += 1
  }

  /** In runs: how many there are between, and how many are gone. */
  toText(): string {
    const pairs: Array<readonly [number, number]> = []
    let before = 0
    for (let at = this.bits.indexOf(1); at >= 0;) {
      let end = this.bits.indexOf(0, at)
      if (end < 0) end = this.bits.length
      pairs.push([at - before, end - at])
      before = end
      at = this.bits.indexOf(1, end)
    }
    return packPairs(pairs)
  }
}

export const goneOf = ({ count, gone }: Segment): Gone => new Gone(count, gone)
