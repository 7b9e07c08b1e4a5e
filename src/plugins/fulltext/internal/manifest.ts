/** What an index of words is at a time: its segments, and which of their documents are no more. */
import * as Schema from "effect/Schema"
import * as Fenced from "../../../kernel/Fenced.ts"
import type { ObjectStore } from "../../../storage/ObjectStore.ts"
import { type Form, partFields, schemaOf } from "../../journalindex/internal/manifest.ts"
import { stemmers } from "./analysis.ts"

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

/** How the fields were declared as it was begun: for who knows of the index by the bucket alone. */
export const Declared = Schema.Record(
  Schema.String,
  Schema.Struct({
    weight: Schema.Finite,
    analyser: Schema.Struct({
      language: Schema.optionalKey(Schema.String),
      stopWords: Schema.optionalKey(Schema.Array(Schema.String)),
      synonyms: Schema.optionalKey(Schema.Array(Schema.Array(Schema.String))),
      stemmer: Schema.optionalKey(Schema.Literals(stemmers))
    })
  })
)
export type Declared = typeof Declared.Type

export const Part = Schema.Struct({
  ...partFields,
  declared: Schema.optionalKey(Declared),
  /** By field, of live documents: how many have words, and how many words. */
  fields: Schema.Array(Schema.Struct({ having: Schema.Int, words: Schema.Int })),
  segments: Schema.Array(Segment)
})
export type Part = typeof Part.Type

/** A part without documents, which knows nothing before a position. */
export const emptyPart = (build: string, fields: number, position: number): Part => ({
  build,
  position,
  documents: 0,
  fields: Array.from({ length: fields }, () => ({ having: 0, words: 0 })),
  segments: [],
  scan: {}
})

/** The form of parts for so many fields. */
export const formOf = (fields: number, declared: Declared): Form<Part> => ({
  empty: (build, position) => ({ ...emptyPart(build, fields, position), declared }),
  scanning: ({ scan: _, ...part }, scan) => (scan === undefined ? part : { ...part, scan }),
  keysOf: ({ segments }) => segments.map(({ key }) => key)
})

/** The manifest that lies at a key. */
export const at = (store: ObjectStore["Service"], key: string) =>
  Fenced.make(store, { key, schema: schemaOf(Part), what: "the manifest of a full-text index" })
