/**
 * How the fields of a document become user metadata of an object, and what does not fit, its body.
 *
 * `Encoding` is a service with a default, so nothing has to be provided. The default writes one readable metadata entry
 * for each field, under the field's short id.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { Attribute, Codec } from "../schema/Attributes.ts"
import { utf8Length } from "../internal/text.ts"
import type { FieldProblem, Json, JsonObject } from "./Json.ts"
import * as fieldText from "./internal/fieldText.ts"

export type { FieldProblem, Json, JsonObject } from "./Json.ts"

/**
 * An attribute together with the short id under which its value is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredAttribute {
  readonly id: string
  readonly path: ReadonlyArray<string>
  readonly codec: Codec
}

/**
 * What a codec is made from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Layout {
  /** The attributes of the present schema, each with its id: what is written. */
  readonly written: ReadonlyArray<Attribute & { readonly id: string }>
  /** Every attribute that the resource ever had: what can be read. */
  readonly readable: ReadonlyArray<StoredAttribute>
}

/**
 * A document's fields, split between metadata and body.
 *
 * @category models
 * @since 0.1.0
 */
export interface EncodedFields {
  /** Metadata entries by attribute id, within the budget. */
  readonly metadata: Readonly<Record<string, string>>
  /** Bytes of these names and values. */
  readonly metadataBytes: number
  /** The values that did not fit, by attribute id. */
  readonly spilled: JsonObject | undefined
}

/**
 * The codec of one resource, compiled once.
 *
 * `encode` fails when a value has no lossless stored form. `decode` fails when an entry cannot have been written by
 * this encoding; `unknown` then names ids that the layout does not know, which a newer catalog may.
 *
 * @category models
 * @since 0.1.0
 */
export interface FieldsCodec {
  readonly encode: (
    document: JsonObject,
    options: {
      /** Bytes that metadata names and values may take together. */
      readonly budget: number
      /** Attributes of the stored document that the present schema does not know, kept as they are. */
      readonly carried?: JsonObject | undefined
    }
  ) => Result.Result<EncodedFields, FieldProblem>
  readonly decode: (
    metadata: Readonly<Record<string, string>>,
    spilled: JsonObject | undefined
  ) => Result.Result<DecodedFields, DecodeProblem>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface DecodedFields {
  readonly document: JsonObject
  /** Stored attributes, by id, that are not part of the present schema. */
  readonly carried: JsonObject | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export type DecodeProblem =
  | { readonly _tag: "UnknownAttribute"; readonly id: string }
  | { readonly _tag: "Undecodable"; readonly path: ReadonlyArray<string> }

/**
 * @category services
 * @since 0.1.0
 */
export interface Encoder {
  /** One character that marks documents written by this encoding. */
  readonly tag: string
  readonly compile: (layout: Layout) => FieldsCodec
}

const compile = (layout: Layout): FieldsCodec => {
  const tree = buildTree(layout.written)
  const current = new Set(layout.written.map((attribute) => attribute.id))
  const readable = new Map(layout.readable.map((attribute) => [attribute.id, attribute]))
  return {
    encode(document, { budget, carried }) {
      const entries: Array<Entry> = []
      const problem = collectEntries(tree, document, entries)
      if (problem !== undefined) return Result.fail(problem)
      if (carried !== undefined) {
        for (const id of Object.keys(carried)) {
          const attribute = readable.get(id)
          if (attribute === undefined) continue
          const entry = toEntry(id, attribute.codec, carried[id]!)
          if (isProblem(entry)) return Result.fail({ ...entry, path: [...attribute.path, ...entry.path] })
          entries.push(entry)
        }
      }
      return Result.succeed(split(entries, budget))
    },
    decode(metadata, spilled) {
      const document: Record<string, Json> = {}
      let carried: Record<string, Json> | undefined
      const place = (id: string, read: (attribute: StoredAttribute) => Json | undefined): DecodeProblem | undefined => {
        const attribute = readable.get(id)
        if (attribute === undefined) return { _tag: "UnknownAttribute", id }
        const value = read(attribute)
        if (value === undefined) return { _tag: "Undecodable", path: attribute.path }
        if (current.has(id)) setPath(document, attribute, value)
        else (carried ??= {})[id] = value
        return undefined
      }
      for (const id of Object.keys(metadata)) {
        const problem = place(id, (attribute) => fieldText.decode(attribute.codec, metadata[id]!))
        if (problem !== undefined) return Result.fail(problem)
      }
      if (spilled !== undefined) {
        for (const id of Object.keys(spilled)) {
          const problem = place(id, () => spilled[id])
          if (problem !== undefined) return Result.fail(problem)
        }
      }
      return Result.succeed({ document, carried })
    }
  }
}

interface Entry {
  readonly id: string
  readonly text: string
  readonly value: Json
  /** Bytes of name and value in metadata. */
  readonly size: number
}

interface Node {
  readonly name: string
  readonly id: string
  readonly codec: Codec
  readonly children: Array<Node>
}

const buildTree = (attributes: Layout["written"]): Array<Node> => {
  const roots: Array<Node> = []
  for (const attribute of attributes) {
    let level = roots
    for (const name of attribute.path.slice(0, -1)) {
      level = level.find((node) => node.name === name)?.children ?? level
    }
    level.push({ name: attribute.path.at(-1)!, id: attribute.id, codec: attribute.codec, children: [] })
  }
  return roots
}

const isProblem = (value: Entry | FieldProblem): value is FieldProblem => "message" in value

const toEntry = (id: string, codec: Codec, value: Json): Entry | FieldProblem => {
  const encoded = fieldText.encode(codec, value)
  if (typeof encoded !== "string") return encoded
  return { id, text: encoded, value, size: utf8Length(id) + encoded.length }
}

const collectEntries = (nodes: Array<Node>, object: JsonObject, into: Array<Entry>): FieldProblem | undefined => {
  for (const node of nodes) {
    const value = object[node.name]
    if (value === undefined) continue
    if (node.codec === "struct" && value !== null) {
      const before = into.length
      const problem = collectEntries(node.children, value as JsonObject, into)
      if (problem !== undefined) return { ...problem, path: [node.name, ...problem.path] }
      if (into.length > before) continue
    }
    const entry = toEntry(node.id, node.codec, value)
    if (isProblem(entry)) return { ...entry, path: [node.name, ...entry.path] }
    into.push(entry)
  }
  return undefined
}

/** Keeps as many fields as possible in metadata: the smallest first, in the order of declaration among equals. */
const split = (entries: Array<Entry>, budget: number): EncodedFields => {
  const metadata: Record<string, string> = {}
  let bytes = 0
  for (const entry of entries) bytes += entry.size
  if (bytes <= budget) {
    for (const entry of entries) metadata[entry.id] = entry.text
    return { metadata, metadataBytes: bytes, spilled: undefined }
  }
  const spilled: Record<string, Json> = {}
  bytes = 0
  for (const entry of entries.toSorted((a, b) => a.size - b.size)) {
    if (bytes + entry.size <= budget) {
      metadata[entry.id] = entry.text
      bytes += entry.size
    } else spilled[entry.id] = entry.value
  }
  return { metadata, metadataBytes: bytes, spilled }
}

const setPath = (document: Record<string, Json>, attribute: StoredAttribute, value: Json): void => {
  let target = document
  const last = attribute.path.length - 1
  for (let i = 0; i < last; i++) {
    const name = attribute.path[i]!
    const next = target[name]
    if (typeof next === "object" && next !== null) target = next as Record<string, Json>
    else target = target[name] = {}
  }
  target[attribute.path[last]!] = value
}

/**
 * One readable entry for each field.
 *
 * **Details**
 *
 * Printable ASCII text stays as it is. Other text becomes `u:` with percent-escapes or `b:` with base64, whichever is
 * shorter by a good measure (`w:` with UTF-16 for text that is no valid Unicode). Integers are base 62, dates their
 * milliseconds in base 62, booleans `1` and `0`, `null` is `n:`; arrays, records and free JSON are JSON text. Nothing
 * is guessed when reading: the codec of the attribute decides.
 *
 * @category constructors
 * @since 0.1.0
 */
export const text: Encoder = { tag: "t", compile }

/**
 * The encoding with which documents are written. Default: `text`.
 *
 * @category references
 * @since 0.1.0
 */
export const Encoding: Context.Reference<Encoder> = Context.Reference("effect-s3db/encoding/Encoding", {
  defaultValue: () => text
})

/**
 * Provides the default encoding explicitly.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.succeed(Encoding, text)

const readers = new Map<string, Encoder>([[text.tag, text]])

/**
 * The encoding that a document with this tag was written by, whichever is in use for writing.
 *
 * @category getters
 * @since 0.1.0
 */
export const forTag = (tag: string): Encoder | undefined => readers.get(tag)
