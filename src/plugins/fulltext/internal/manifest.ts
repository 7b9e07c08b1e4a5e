/** What an index is at a time: its segments, which of their documents are no more, and up to where it knows. */
import * as Schema from "effect/Schema"
import { decodeBase64, encodeBase64 } from "../../../internal/base64.ts"
import * as bytes from "../../../encoding/internal/bytes.ts"

const block = <A, I>(first: Schema.Codec<A, I>) => Schema.Struct({ first, start: Schema.Int, size: Schema.Int })

export const Segment = Schema.Struct({
  key: Schema.String,
  /** Of the object. */
  size: Schema.Int,
  terms: Schema.Array(block(Schema.String)),
  list: Schema.Array(block(Schema.String)),
  documents: Schema.Array(block(Schema.Struct({ number: Schema.Int, id: Schema.String }))),
  /** The last of its ids. */
  last: Schema.String,
  /** How many documents it has, those that are no more included. */
  count: Schema.Int,
  /** The numbers of its documents that are no more: see `packNumbers`. */
  gone: Schema.String
})
export type Segment = typeof Segment.Type

export const Part = Schema.Struct({
  /** Names it: each build is another one. */
  build: Schema.String,
  /** All records of the journal before this position are in it. */
  position: Schema.Int,
  /** How many live documents there are. */
  documents: Schema.Int,
  /** By field, of live documents: how many have words, and how many words. */
  fields: Schema.Array(Schema.Struct({ having: Schema.Int, words: Schema.Int })),
  segments: Schema.Array(Segment),
  /** While the documents that are there are gone through: the cursor of the next page. */
  scan: Schema.optionalKey(Schema.Struct({ cursor: Schema.optionalKey(Schema.String) }))
})
export type Part = typeof Part.Type

export const Manifest = Schema.Struct({
  /** Rises with each version. */
  revision: Schema.Int,
  /** What answers. */
  live: Schema.optionalKey(Part),
  /** What is being built, to take its place. */
  building: Schema.optionalKey(Part),
  /** Objects that were segments, and when they were no more, in milliseconds since the epoch by the clock of who wrote that. */
  retired: Schema.Array(Schema.Struct({ key: Schema.String, at: Schema.Int }))
})
export type Manifest = typeof Manifest.Type

export const nothing: Manifest = { revision: 0, retired: [] }

/** A part without documents, which knows nothing before a position. */
export const emptyPart = (build: string, fields: number, position: number): Part => ({
  build,
  position,
  documents: 0,
  fields: Array.from({ length: fields }, () => ({ having: 0, words: 0 })),
  segments: [],
  scan: {}
})

/** Every key that a manifest names. */
export const keysOf = ({ building, live, retired }: Manifest): ReadonlyArray<string> => [
  ...(live?.segments ?? []).map(({ key }) => key),
  ...(building?.segments ?? []).map(({ key }) => key),
  ...retired.map(({ key }) => key)
]

/** Ascending numbers as text. */
export const packNumbers = (numbers: Iterable<number>): string => {
  const writer = new bytes.Writer()
  let before = 0
  for (const number of numbers) {
    writer.uint(number - before)
    before = number
  }
  return encodeBase64(writer.view())
}

/** The numbers of such a text; `undefined`: it is none. */
export const unpackNumbers = (text: string): ReadonlySet<number> | undefined => {
  const packed = decodeBase64(text)
  if (packed === undefined) return undefined
  const reader = new bytes.Reader(packed)
  const numbers = new Set<number>()
  let number = 0
  try {
    while (!reader.done) numbers.add((number += reader.uint()))
  } catch (error) {
    if (error instanceof bytes.Malformed) return undefined
    throw error
  }
  return numbers
}
