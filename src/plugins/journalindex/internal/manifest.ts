/** What an index is at a time: its parts, and up to where in the journal they know. */
import * as Schema from "effect/Schema"
import * as bytes from "../../../encoding/internal/bytes.ts"
import { decodeBase64, encodeBase64 } from "../../../internal/base64.ts"

/** The fields that every part has. */
export const partFields = {
  /** Names it: each build is another one. */
  build: Schema.String,
  /** All records of the journal before this position are in it. */
  position: Schema.Int,
  /** How many live documents there are. */
  documents: Schema.Int,
  /** While the documents that are there are gone through: the cursor of the next page. */
  scan: Schema.optionalKey(Schema.Struct({ cursor: Schema.optionalKey(Schema.String) }))
}

export interface AnyPart {
  readonly build: string
  readonly position: number
  readonly documents: number
  readonly scan?: { readonly cursor?: string }
}

/** What a kind of parts is like. */
export interface Form<Part> {
  /** A part without documents, which knows nothing before a position, and is to go through the documents that are there. */
  readonly empty: (build: string, position: number) => Part
  /** The part with the cursor of the next page, or at the end of the documents. */
  readonly scanning: (part: Part, scan: { readonly cursor: string } | undefined) => Part
  /** Every object that it names. */
  readonly keysOf: (part: Part) => ReadonlyArray<string>
}

export interface Manifest<Part> {
  /** Rises with each version. */
  readonly revision: number
  /** What answers. */
  readonly live?: Part
  /** What is being built, to take its place. */
  readonly building?: Part
  /** Objects that were part of it, and when they were no more, in milliseconds since the epoch by the clock of who wrote that. */
  readonly retired: ReadonlyArray<{ readonly key: string; readonly at: number }>
}

export const schemaOf = <Part, I>(part: Schema.Codec<Part, I>) =>
  Schema.Struct({
    revision: Schema.Int,
    live: Schema.optionalKey(part),
    building: Schema.optionalKey(part),
    retired: Schema.Array(Schema.Struct({ key: Schema.String, at: Schema.Int }))
  })

export const nothing = { revision: 0, retired: [] } satisfies Manifest<never>

/** Every key that a manifest names. */
export const keysOf = <Part>(form: Form<Part>, { building, live, retired }: Manifest<Part>): ReadonlyArray<string> => [
  ...(live === undefined ? [] : form.keysOf(live)),
  ...(building === undefined ? [] : form.keysOf(building)),
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
