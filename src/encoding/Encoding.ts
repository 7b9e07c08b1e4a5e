/**
 * How the fields of a document become user metadata of an object, and what does not fit, its body.
 *
 * `Encoding` is a service with a default, so nothing has to be provided. The default writes one readable metadata entry
 * for each field, under the field's short id; `layerPacked` writes all fields into one entry of the fewest bytes.
 * Documents written by either are read by both.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as isoTime from "../internal/isoTime.ts"
import { utf8Length } from "../internal/text.ts"
import type { Attribute, Codec } from "../schema/Attributes.ts"
import { type Moment, other, type PlainField } from "../schema/internal/plain.ts"
import { metadataHeaderOverhead } from "../storage/ObjectStore.ts"
import * as base62 from "./internal/base62.ts"
import type { Compressed } from "./internal/binaryBody.ts"
import { Malformed, Reader, Writer } from "./internal/bytes.ts"
import * as headerText from "./internal/headerText.ts"
import * as systemEntry from "./internal/systemEntry.ts"
import * as valueCodec from "./internal/valueCodec.ts"
import type { ValueCodec } from "./internal/values/codec.ts"
import { type FieldProblem, type Json, type JsonObject, stringifyExact } from "./Json.ts"

export type { FieldProblem, Json, JsonObject } from "./Json.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

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
 * The attributes that a codec is made from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Layout {
  /** The attributes of the schema, each with its id: what is written. */
  readonly written: ReadonlyArray<Attribute & { readonly id: string }>
  /** Every attribute that the resource ever had: what can be read. */
  readonly readable: ReadonlyArray<StoredAttribute>
}

/**
 * The value of one attribute, encoded for metadata.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly id: string
  readonly path: ReadonlyArray<string>
  /** What it takes of the capacity for metadata, its name included. */
  readonly size: number
  readonly value: Json
  /** The form for the body, where that is not the value itself. */
  readonly bodyText: string | undefined
  /** The form for metadata: readable text, or bytes of the packed form. */
  readonly form: string | Uint8Array
}

/**
 * A document's fields as they are stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoredFields {
  /** With the entry that says how the document was written, or without it. */
  readonly metadata: Readonly<Record<string, string>>
  /** Values in the body by attribute id: as JSON. */
  readonly spilled: JsonObject | undefined
  /** Values in the body by attribute id: as encoded text, where that is shorter. */
  readonly spilledText: Readonly<Record<string, string>> | undefined
  /** Values in the body that are compressed; they have to be brought back before they are decoded. */
  readonly compressed?: Compressed | undefined
  /** The body is binary though no field is in it. Default: `false`, it is JSON. */
  readonly isBinary?: boolean | undefined
}

/**
 * A document's fields as they were before they were stored; secrets are still encrypted.
 *
 * @category models
 * @since 0.1.0
 */
export interface DecodedFields {
  readonly document: JsonObject
  /** Stored attributes, by id, that are not part of the schema. */
  readonly carried: JsonObject | undefined
  /** The ids of stored attributes that are in `document` in the place of others: of another codec, or a part of them. */
  readonly former: ReadonlyArray<string>
  /** Encrypted values: where each is in `document`, or in `carried` when the path is `undefined`. */
  readonly secrets: ReadonlyArray<{ readonly id: string; readonly path: ReadonlyArray<string> | undefined }>
}

/**
 * The reason why stored fields cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export type DecodeProblem =
  | { readonly _tag: "UnknownAttribute"; readonly id: string }
  | { readonly _tag: "UnknownCodec"; readonly id: string }
  | { readonly _tag: "Undecodable"; readonly path: ReadonlyArray<string> }

/**
 * The room that a store has in the metadata of an object. Bytes are those of names and values, but for `headerBytes`, which are
 * those of the request headers that carry them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly bytes: number
  readonly headerBytes: number
  /** Of one entry. */
  readonly entryBytes: number
  readonly entries: number
}

/**
 * What of a store does not suffice: its bytes of metadata, of request headers or of one entry, or its number of entries.
 *
 * @category models
 * @since 0.1.0
 */
export type Measure = "metadata" | "headers" | "entry" | "entries"

/**
 * By how much entries exceed a limit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Excess {
  readonly measure: Measure
  readonly total: number
  readonly limit: number
}

/**
 * The room that is left while entries are put into metadata one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Room {
  /** The most size, in the unit of `Entry.size`, that an entry may have. */
  readonly sizeFor: (entry: Entry) => number
  readonly take: (entry: Entry) => void
}

/**
 * Says that a value is larger than limits allow, whichever way it is encoded.
 *
 * @category constants
 * @since 0.1.0
 */
export const tooLarge: unique symbol = Symbol("tooLarge")

/**
 * What takes values of a plain schema to metadata and back, without JSON in between: of documents that have fields of the schema and nothing else,
 * all of them in metadata. `undefined` for anything else, which goes through JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Direct {
  /** Makes the value of the document with an id; its checks as a whole are yet to be made. */
  readonly read: (metadata: Readonly<Record<string, string>>, id: string) => object | undefined
  /** Encodes a value that has just been made, where that is within limits. `undefined`: it has to be encoded otherwise. */
  readonly write: (value: object, limits: Limits) => Record<string, string> | typeof tooLarge | undefined
  /** What either has read or written, as JSON without the id. */
  readonly json: (metadata: Readonly<Record<string, string>>) => JsonObject
}

/**
 * The codec of one resource, compiled once.
 *
 * @category models
 * @since 0.1.0
 */
export interface FieldsCodec {
  /**
   * Encodes every field by itself. `carried`: attributes of the stored document that the schema does not know, kept as
   * they are. Fails when a value has no lossless stored form.
   */
  readonly encode: (document: JsonObject, carried?: JsonObject) => Result.Result<ReadonlyArray<Entry>, FieldProblem>
  /**
   * Encodes every field, and puts all of them into metadata, where that is within limits: no entry is made. `undefined`: it is not, or a
   * value has no stored form, or the encoding does not do so.
   */
  readonly metadataWithin: (document: JsonObject, limits: Limits) => Record<string, string> | undefined
  /** Compiles what does both for the fields of a schema. `undefined`: the encoding does not do so, or they are not those that it has. */
  readonly direct: (fields: ReadonlyArray<PlainField>, primaryKey: string) => Direct | undefined
  /** What is left for entries within limits. */
  readonly room: (limits: Limits) => Room
  /** The first limit that entries exceed, if any. */
  readonly excess: (entries: ReadonlyArray<Entry>, limits: Limits) => Excess | undefined
  /** The exact bytes of metadata, names and values, that entries take. */
  readonly metadataBytes: (entries: ReadonlyArray<Entry>) => number
  /** The exact bytes of request headers that entries take. */
  readonly headerBytes: (entries: ReadonlyArray<Entry>) => number
  /** The entry with as much of its text as has at most this size, whole characters; `undefined` when that is none. */
  readonly cut: (entry: Entry, size: number) => Entry | undefined
  /** Puts entries into metadata. */
  readonly metadata: (entries: ReadonlyArray<Entry>) => Readonly<Record<string, string>>
  /**
   * Fails when an entry cannot have been written by this encoding, or names an id that the layout does not know, which
   * a newer catalog may.
   */
  readonly decode: (stored: StoredFields) => Result.Result<DecodedFields, DecodeProblem>
}

/**
 * A way of writing documents, known by its tag.
 *
 * @category models
 * @since 0.1.0
 */
export interface Encoder {
  /** One letter that marks documents written by this encoding. */
  readonly tag: string
  readonly compile: (layout: Layout) => FieldsCodec
}

// -----------------------------------------------------------------------------
// Compilation
// -----------------------------------------------------------------------------

/** An attribute with its codec at hand. */
interface Field {
  readonly id: string
  readonly path: ReadonlyArray<string>
  readonly name: string
  readonly codec: ValueCodec
  /** The id as the engine finds it soonest: a number where it is written like one. */
  readonly key: string | number
  readonly idBytes: number
  readonly headerOverhead: number
  /** The codec is one of this release. */
  readonly isKnown: boolean
  readonly isStruct: boolean
  readonly isSecret: boolean
  /** Neither nested, nor a struct, nor secret, and a field of the schema: what most are. */
  readonly isPlain: boolean
  /** Where it goes in the document, if anywhere. */
  readonly destination: "now" | "formerly" | undefined
  /** Free text, of which a part is as good as the whole in form. */
  readonly isText: boolean
  readonly children: Array<Field>
}

/** The forms in which an encoding writes one value. */
interface Form {
  readonly encode: (field: Field, value: Json) => Entry | undefined
  readonly decode: (metadata: Readonly<Record<string, string>>, place: Place) => DecodeProblem | undefined
  /** What does in one pass along the fields of a schema what most documents take. */
  readonly along: ((tree: ReadonlyArray<Field>) => Along | undefined) | undefined
  readonly room: (limits: Limits) => Room
  readonly excess: (entries: ReadonlyArray<Entry>, limits: Limits) => Excess | undefined
  readonly metadataBytes: (entries: ReadonlyArray<Entry>) => number
  readonly headerBytes: (entries: ReadonlyArray<Entry>) => number
  readonly metadata: (entries: ReadonlyArray<Entry>) => Readonly<Record<string, string>>
}

/** Reads and writes documents that have fields of a schema and nothing else, all of them in metadata; `undefined`: it is something else. */
interface Along {
  readonly read: (metadata: Readonly<Record<string, string>>) => Record<string, Json> | undefined
  readonly write: (document: JsonObject, limits: Limits) => Record<string, string> | undefined
  readonly direct: (fields: ReadonlyArray<PlainField>, primaryKey: string) => Direct | undefined
}

/** Puts the value of an attribute into its place; the codec decides how it is read from where it comes. */
type Place = <T>(
  id: string,
  read: (codec: ValueCodec, source: T) => Json | undefined,
  source: T
) => DecodeProblem | undefined

const asItIs = (_: ValueCodec, value: Json): Json => value

/**
 * Tells whether this release knows a codec; one that it does not know was added by a later release.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKnownCodec = (codec: Codec): boolean => valueCodec.named(codec) !== undefined

const fieldOf = (attribute: StoredAttribute, destination: Field["destination"]): Field => ({
  id: attribute.id,
  path: attribute.path,
  name: attribute.path.at(-1) ?? "",
  isKnown: isKnownCodec(attribute.codec),
  // Of a codec that a later release has added the text stands for the value; it is never written.
  codec: valueCodec.named(attribute.codec) ?? valueCodec.general,
  key: /^(?:0|[1-9]\d{0,8})$/.test(attribute.id) ? Number(attribute.id) : attribute.id,
  idBytes: utf8Length(attribute.id),
  headerOverhead: metadataHeaderOverhead(attribute.id.length),
  isStruct: attribute.codec === "struct",
  isSecret: attribute.codec === "secret",
  isPlain: destination === "now" && attribute.path.length === 1 && !["secret", "struct"].includes(attribute.codec),
  destination,
  isText: attribute.codec === "string",
  children: []
})

const buildTree = (attributes: Layout["written"]): ReadonlyArray<Field> => {
  const roots: Array<Field> = []
  for (const attribute of attributes) {
    let level = roots
    for (const name of attribute.path.slice(0, -1)) {
      level = level.find((field) => field.name === name)?.children ?? level
    }
    level.push(fieldOf(attribute, "now"))
  }
  return roots
}

/** Why a value has no form: what JSON cannot carry is somewhere in it. */
const noStoredForm = (path: ReadonlyArray<string>, value: Json): FieldProblem => {
  const problem = stringifyExact(value)
  return typeof problem === "string"
    ? { path, message: "Expected a value of the codec" }
    : { path: [...path, ...problem.path], message: problem.message }
}

const pathKey = (path: ReadonlyArray<string>): string => JSON.stringify(path)

const compileWith =
  (form: Form) =>
  (layout: Layout): FieldsCodec => {
    const tree = buildTree(layout.written)
    const destinations = destinationsOf(layout)
    const fields = new Map(
      layout.readable.map((attribute) => [attribute.id, fieldOf(attribute, destinations.get(attribute.id))])
    )

    const along = form.along?.(tree)

    const collect = (level: ReadonlyArray<Field>, object: JsonObject, into: Array<Entry>): FieldProblem | undefined => {
      for (const field of level) {
        const value = object[field.name]
        if (value === undefined) continue
        if (field.isStruct && value !== null) {
          const before = into.length
          const problem = collect(field.children, value as JsonObject, into)
          if (problem !== undefined) return problem
          if (into.length > before) continue
        }
        const entry = form.encode(field, value)
        if (entry === undefined) return noStoredForm(field.path, value)
        into.push(entry)
      }
      return undefined
    }

    return {
      encode(document, carried) {
        const entries: Array<Entry> = []
        const problem = collect(tree, document, entries)
        if (problem !== undefined) return Result.fail(problem)
        if (carried !== undefined) {
          for (const id of Object.keys(carried)) {
            const field = fields.get(id)
            if (field === undefined) continue
            const entry = form.encode(field, carried[id]!)
            if (entry === undefined) return Result.fail(noStoredForm(field.path, carried[id]!))
            entries.push(entry)
          }
        }
        return Result.succeed(entries)
      },
      metadataWithin: (document, limits) => along?.write(document, limits),
      direct: (fields, primaryKey) => along?.direct(fields, primaryKey),
      room: form.room,
      excess: form.excess,
      metadataBytes: form.metadataBytes,
      headerBytes: form.headerBytes,
      metadata: form.metadata,
      cut(entry, size) {
        const { value } = entry
        const field = fields.get(entry.id)
        if (typeof value !== "string" || field?.isText !== true) return undefined
        // Sizes grow with the text but for the choice of an escape, so that the last steps are tried one by one.
        let low = 0
        let high = value.length
        const fits = (length: number): Entry | undefined => {
          const cut = form.encode(field, wholeCharacters(value, length))
          return cut !== undefined && cut.size <= size ? cut : undefined
        }
        while (low < high) {
          const middle = Math.ceil((low + high) / 2)
          if (fits(middle) === undefined) high = middle - 1
          else low = middle
        }
        return low === 0 ? undefined : fits(low)
      },
      decode({ metadata, spilled, spilledText }) {
        if (along !== undefined && spilled === undefined && spilledText === undefined) {
          const document = along.read(metadata)
          if (document !== undefined)
            return Result.succeed({ document, carried: undefined, former: none, secrets: none })
        }
        const document: Record<string, Json> = {}
        let carried: Record<string, Json> | undefined
        const secrets: Array<DecodedFields["secrets"][number]> = []
        const former: Array<string> = []
        const place: Place = (id, read, source) => {
          const field = fields.get(id)
          if (field === undefined) return { _tag: "UnknownAttribute", id }
          // Packed bytes do not say where a value ends.
          if (!field.isKnown && source instanceof Reader) return { _tag: "UnknownCodec", id }
          const found = read(field.codec, source)
          const value = found === undefined && !field.isKnown ? String(source) : found
          if (value === undefined) return { _tag: "Undecodable", path: field.path }
          const { destination, path } = field
          if (field.isPlain) {
            document[field.name] = value
            return undefined
          }
          if (destination === "now" && field.isStruct) {
            // Fields of it that are stored, too, count.
            setPath(document, path, value === null ? null : {}, true)
            return undefined
          }
          const here = destination !== undefined && setPath(document, path, value, destination === "formerly")
          if (!here) (carried ??= {})[id] = value
          else if (destination === "formerly") former.push(id)
          if (field.isSecret && value !== null) secrets.push({ id, path: here ? path : undefined })
          return undefined
        }
        let problem = form.decode(metadata, place)
        if (spilled !== undefined) {
          for (const id of Object.keys(spilled)) problem ??= place(id, asItIs, spilled[id]!)
        }
        if (spilledText !== undefined) {
          for (const id of Object.keys(spilledText)) problem ??= place(id, valueCodec.fromText, spilledText[id]!)
        }
        return problem === undefined ? Result.succeed({ document, carried, former, secrets }) : Result.fail(problem)
      }
    }
  }

const none: ReadonlyArray<never> = []

/**
 * Which attributes have a place in the document: those of the schema, and those that formerly had another codec at the
 * same path, or were part of what is one attribute now.
 */
const destinationsOf = (layout: Layout): ReadonlyMap<string, "now" | "formerly"> => {
  const destinations = new Map<string, "now" | "formerly">()
  const paths = new Set(layout.written.map((attribute) => pathKey(attribute.path)))
  const whole = new Set(
    layout.written.filter(({ codec }) => codec !== "struct").map((attribute) => pathKey(attribute.path))
  )
  for (const { codec, id, path } of layout.readable) {
    const part = path.some((_, index) => index > 0 && whole.has(pathKey(path.slice(0, index))))
    if (isKnownCodec(codec) && (paths.has(pathKey(path)) || part)) destinations.set(id, "formerly")
  }
  for (const { id } of layout.written) destinations.set(id, "now")
  return destinations
}

/**
 * Sets the value at a path, unless something is there and only absent values are wanted, and tells whether it did.
 *
 * @category conversions
 * @since 0.1.0
 */
export const setPath = (
  document: Record<string, Json>,
  path: ReadonlyArray<string>,
  value: Json,
  onlyIfAbsent: boolean
): boolean => {
  const last = path.length - 1
  if (last === 0 && !onlyIfAbsent) {
    document[path[0]!] = value
    return true
  }
  let target = document
  for (let i = 0; i < last; i++) {
    const name = path[i]!
    const next = Object.hasOwn(target, name) ? target[name] : undefined
    if (typeof next === "object" && next !== null) target = next as Record<string, Json>
    else if (next === undefined || !onlyIfAbsent) target = target[name] = {}
    else return false
  }
  const name = path[last]!
  if (onlyIfAbsent && Object.hasOwn(target, name)) return false
  target[name] = value
  return true
}

/** The first characters of a text, without half of a surrogate pair at the end. */
const wholeCharacters = (text: string, length: number): string => {
  const unit = text.charCodeAt(length - 1)
  const splits = length < text.length && unit >= 0xd800 && unit <= 0xdbff
  return text.slice(0, splits ? length - 1 : length)
}

const sumOfSizes = (entries: ReadonlyArray<Entry>): number => {
  let sum = 0
  for (const entry of entries) sum += entry.size
  return sum
}

/** The first limit that is exceeded. */
const excessOf = (taken: Limits, limits: Limits): Excess | undefined => {
  if (taken.bytes > limits.bytes) return { measure: "metadata", total: taken.bytes, limit: limits.bytes }
  if (taken.headerBytes > limits.headerBytes) {
    return { measure: "headers", total: taken.headerBytes, limit: limits.headerBytes }
  }
  if (taken.entryBytes > limits.entryBytes) {
    return { measure: "entry", total: taken.entryBytes, limit: limits.entryBytes }
  }
  return taken.entries > limits.entries
    ? { measure: "entries", total: taken.entries, limit: limits.entries }
    : undefined
}

const bodyText = (field: Field, value: Json): string | undefined =>
  field.codec.textInBody === true && value !== null ? field.codec.toText(value) : undefined

// -----------------------------------------------------------------------------
// Text
// -----------------------------------------------------------------------------

/** The fields of a struct that are in metadata; each is one entry less of those that are left. */
const readLevel = (
  level: ReadonlyArray<Field>,
  metadata: Readonly<Record<string | number, string>>,
  left: { entries: number }
): Record<string, Json> | undefined => {
  const object: Record<string, Json> = {}
  for (let i = 0; i < level.length; i++) {
    const field = level[i]!
    const text = metadata[field.key]
    if (field.isStruct) {
      // One that is empty, or `null`, is stored as itself.
      if (text !== undefined) return undefined
      const before = left.entries
      const inner = readLevel(field.children, metadata, left)
      if (inner === undefined) return undefined
      if (left.entries < before) object[field.name] = inner
    } else if (text !== undefined) {
      const value = valueCodec.fromText(field.codec, text)
      if (value === undefined) return undefined
      object[field.name] = value
      left.entries -= 1
    }
  }
  return object
}

/** What entries take, and the most that one of them, and all of them, may. */
interface Taken {
  readonly most: number
  readonly mostOfAll: number
  bytes: number
  headerBytes: number
  entries: number
}

const nothingTaken = ({ bytes, entryBytes }: Limits): Taken => ({
  most: entryBytes,
  mostOfAll: bytes,
  bytes: 0,
  headerBytes: 0,
  entries: 0
})

/** Counts one more. `false`: it is too large, or there are too many bytes. */
const take = (taken: Taken, { headerOverhead, idBytes }: Field, text: string): boolean => {
  const size = idBytes + text.length
  if (size > taken.most) return false
  taken.bytes += size
  taken.headerBytes += size + headerOverhead
  taken.entries += 1
  return taken.bytes <= taken.mostOfAll
}

/** Puts the fields of a struct into metadata, and counts what they take. `false`: one has no form, or is too large. */
const writeLevel = (
  level: ReadonlyArray<Field>,
  object: JsonObject,
  metadata: Record<string | number, string>,
  taken: Taken
): boolean => {
  for (let i = 0; i < level.length; i++) {
    const field = level[i]!
    const value = object[field.name]
    if (value === undefined) continue
    if (field.isStruct && value !== null) {
      const before = taken.entries
      if (!writeLevel(field.children, value as JsonObject, metadata, taken)) return false
      if (taken.entries > before) continue
    }
    const text = valueCodec.toText(field.codec, value)
    if (text === undefined || !take(taken, field, text)) return false
    metadata[field.key] = text
  }
  return true
}

/** A field of a schema with where it is stored. */
interface DirectField {
  readonly stored: Field
  readonly plain: PlainField
  /** It is a moment in the schema, and stored as its milliseconds. */
  readonly moment: Moment | undefined
  /** Those of a struct. */
  readonly fields: ReadonlyArray<DirectField> | undefined
}

/** Puts fields of a schema together with those that are stored. `undefined`: they are not the same. */
const matched = (
  level: ReadonlyArray<PlainField>,
  stored: ReadonlyArray<Field>
): ReadonlyArray<DirectField> | undefined => {
  const fields: Array<DirectField> = []
  for (const plain of level) {
    const found = stored.find(({ name }) => name === plain.name)
    if (found === undefined || found.isStruct !== (plain.fields !== undefined)) return undefined
    const inner = plain.fields === undefined ? undefined : matched(plain.fields, found.children)
    if (plain.fields !== undefined && inner === undefined) return undefined
    const moment = found.codec === valueCodec.named("date") ? plain.moment : undefined
    fields.push({ stored: found, plain, moment, fields: inner })
  }
  return fields.length === stored.length ? fields : undefined
}

/** `undefined` for text that is not that of a moment, or has another form. */
const millisOf = (text: string): number | undefined => {
  const millis = base62.decode(text)
  return millis !== undefined && isoTime.hasIso(millis) ? millis : undefined
}

/** The value of a field of which something is stored. `other`: it is none. */
const valueFrom = ({ moment, plain, stored }: DirectField, text: string): unknown => {
  if (moment !== undefined) {
    const millis = millisOf(text)
    return millis === undefined ? other : moment.from(millis)
  }
  const json = valueCodec.fromText(stored.codec, text)
  return json === undefined ? other : plain.decode(json)
}

/** Makes the fields of a struct of what is in metadata; each is one entry less of those that are left. */
const readValues = (
  level: ReadonlyArray<DirectField>,
  made: Record<string, unknown>,
  metadata: Readonly<Record<string | number, string>>,
  left: { entries: number }
): boolean => {
  for (let i = 0; i < level.length; i++) {
    const field = level[i]!
    const { fields, plain } = field
    const text = metadata[field.stored.key]
    if (fields !== undefined) {
      // One that is empty is stored as itself.
      if (text !== undefined) return false
      const before = left.entries
      const inner = {}
      const isRead = readValues(fields, inner, metadata, left)
      if (left.entries < before && isRead) made[plain.name] = inner
      else if (left.entries < before || !plain.isOptional) return false
    } else if (text !== undefined) {
      const value = valueFrom(field, text)
      if (value === other) return false
      made[plain.name] = value
      left.entries -= 1
    } else if (!plain.isOptional) return false
  }
  return true
}

const textOf = ({ moment, plain, stored }: DirectField, value: unknown): string | undefined => {
  if (moment !== undefined) {
    const millis = moment.millisOf(value)
    return Number.isInteger(millis) && isoTime.hasIso(millis) ? base62.encode(millis) : undefined
  }
  const json = plain.encodeMade(value)
  return json === other ? undefined : valueCodec.toText(stored.codec, json as Json)
}

/** Puts the fields of a struct into metadata, and counts what they take, like `writeLevel`. `undefined`: one has no form. */
const writeValues = (
  level: ReadonlyArray<DirectField>,
  values: Readonly<Record<string, unknown>>,
  metadata: Record<string | number, string>,
  taken: Taken
): boolean | undefined => {
  for (let i = 0; i < level.length; i++) {
    const field = level[i]!
    const value = values[field.plain.name]
    if (value === undefined) continue
    if (field.fields !== undefined) {
      const before = taken.entries
      const inner = writeValues(field.fields, value as Readonly<Record<string, unknown>>, metadata, taken)
      if (inner !== true) return inner
      // One that is empty is stored as itself.
      if (taken.entries === before) return undefined
      continue
    }
    const text = textOf(field, value)
    if (text === undefined) return undefined
    if (!take(taken, field.stored, text)) return false
    metadata[field.stored.key] = text
  }
  return true
}

const isWithin = (taken: Taken, { bytes, entries, headerBytes }: Limits): boolean =>
  taken.bytes <= bytes && taken.headerBytes <= headerBytes && taken.entries <= entries

/** Of metadata, of which the system may have one. */
const fieldEntries = (metadata: Readonly<Record<string, string>>): number => {
  const entries = Object.keys(metadata).length
  return metadata[systemEntry.name] === undefined ? entries : entries - 1
}

const directly = (
  schema: ReadonlyArray<PlainField>,
  primaryKey: string,
  tree: ReadonlyArray<Field>
): Omit<Direct, "json"> | undefined => {
  const at = schema.findIndex(({ name }) => name === primaryKey)
  const key = schema[at]
  const fields = matched(schema.toSpliced(at, 1), tree)
  if (key === undefined || fields === undefined) return undefined
  const [before, after] = [fields.slice(0, at), fields.slice(at)]
  return {
    read(metadata, id) {
      const left = { entries: fieldEntries(metadata) }
      const made: Record<string, unknown> = {}
      if (!readValues(before, made, metadata, left)) return undefined
      const found = key.decode(id)
      if (found === other) return undefined
      made[primaryKey] = found
      return readValues(after, made, metadata, left) && left.entries === 0 ? made : undefined
    },
    write(value, limits) {
      const metadata: Record<string, string> = {}
      const taken = nothingTaken(limits)
      try {
        const isWritten = writeValues(fields, value as Readonly<Record<string, unknown>>, metadata, taken)
        if (isWritten === undefined) return undefined
        return isWritten && isWithin(taken, limits) ? metadata : tooLarge
      } catch {
        // A check that tells members of a union apart: whoever makes JSON of it says what is wrong.
        return undefined
      }
    }
  }
}

const textForm: Form = {
  encode(field, value) {
    const form = valueCodec.toText(field.codec, value)
    if (form === undefined) return undefined
    const size = field.idBytes + form.length
    return { id: field.id, path: field.path, size, value, bodyText: bodyText(field, value), form }
  },
  decode(metadata, place) {
    for (const id of Object.keys(metadata)) {
      if (id === systemEntry.name) continue
      const problem = place(id, valueCodec.fromText, metadata[id]!)
      if (problem !== undefined) return problem
    }
    return undefined
  },
  along(tree) {
    const isUsual = ({ children, isSecret, name }: Field): boolean =>
      !isSecret && name !== "__proto__" && children.every(isUsual)
    if (!tree.every(isUsual)) return undefined
    const read: Along["read"] = (metadata) => {
      const left = { entries: fieldEntries(metadata) }
      const document = readLevel(tree, metadata, left)
      // Others are of other versions, or nobody's.
      return left.entries === 0 ? document : undefined
    }
    return {
      read,
      write(document, limits) {
        const metadata: Record<string, string> = {}
        const taken = nothingTaken(limits)
        return writeLevel(tree, document, metadata, taken) && isWithin(taken, limits) ? metadata : undefined
      },
      direct(fields, primaryKey) {
        const direct = directly(fields, primaryKey, tree)
        if (direct === undefined) return undefined
        return {
          ...direct,
          json(metadata) {
            const document = read(metadata)
            // What was read or written reads as well: to take it for empty would take a document out of its indexes.
            if (document === undefined)
              throw new Error("metadata that was read or written directly has another form by now")
            return document
          }
        }
      }
    }
  },
  room(limits) {
    let { bytes, entries, headerBytes } = limits
    return {
      sizeFor: ({ id }) =>
        entries < 1 ? -1 : Math.min(bytes, limits.entryBytes, headerBytes - metadataHeaderOverhead(id.length)),
      take({ id, size }) {
        bytes -= size
        headerBytes -= size + metadataHeaderOverhead(id.length)
        entries -= 1
      }
    }
  },
  excess(entries, limits) {
    let [bytes, headerBytes, largest] = [0, 0, 0]
    for (const { id, size } of entries) {
      bytes += size
      headerBytes += size + metadataHeaderOverhead(id.length)
      if (size > largest) largest = size
    }
    return excessOf({ bytes, headerBytes, entryBytes: largest, entries: entries.length }, limits)
  },
  metadataBytes: sumOfSizes,
  headerBytes: (entries) => entries.reduce((sum, { id, size }) => sum + size + metadataHeaderOverhead(id.length), 0),
  metadata(entries) {
    const metadata: Record<string, string> = {}
    for (const entry of entries) metadata[entry.id] = entry.form as string
    return metadata
  }
}

/**
 * The encoding with one readable entry for each field.
 *
 * **Details**
 *
 * Printable ASCII text stays as it is; a few common texts and beginnings of URLs have a short name (`d:`). Other text
 * becomes `u:` with percent-escapes or `b:` with base 64, whichever is shorter by a good measure (`w:` with UTF-16 for
 * text that is no valid Unicode). Integers are base 62, dates their milliseconds in base 62, booleans `1` and `0`,
 * `null` is `n:`; lists of simple values are joined with `|`; records and free JSON are JSON text. The forms of the
 * attribute types are in the guide. Nothing is guessed when reading: the codec of the attribute decides.
 *
 * @category constructors
 * @since 0.1.0
 */
export const text: Encoder = { tag: "t", compile: compileWith(textForm) }

// -----------------------------------------------------------------------------
// Packed
// -----------------------------------------------------------------------------

/** The name of the only entry; no other has a name in a packed document. */
const packedName = "p"

/** The version of the packed form: the first byte. */
const packedVersion = 1

/** What the two low bits of an entry's number say of its value. */
const nullKind = 0
const valueKind = 1
const falseKind = 2
/** `true` for a boolean; for others, a value that the codec cannot carry, as JSON. */
const otherKind = 3

const writer = new Writer()

const packedForm: Form = {
  encode(field, value) {
    const number = Number.parseInt(field.id, 36) * 4
    writer.reset()
    if (value === null) writer.uint(number + nullKind)
    else if (value === false) writer.uint(number + falseKind)
    else if (field.codec.isBoolean === true) {
      if (value !== true) return undefined
      writer.uint(number + otherKind)
    } else {
      writer.uint(number + valueKind)
      if (!field.codec.write(writer, value)) {
        writer.reset()
        writer.uint(number + otherKind)
        if (!valueCodec.general.write(writer, value)) return undefined
      }
    }
    const form = writer.copy()
    return { id: field.id, path: field.path, size: form.length, value, bodyText: bodyText(field, value), form }
  },
  decode(metadata, place) {
    const packed = metadata[packedName]
    if (packed === undefined) return undefined
    const bytes = headerText.decode(packed)
    const broken: DecodeProblem = { _tag: "Undecodable", path: [] }
    if (bytes === undefined || bytes[0] !== packedVersion) return broken
    const reader = new Reader(bytes)
    reader.byte()
    let kind = 0
    const readNext = (codec: ValueCodec, from: Reader): Json => readPacked(codec, kind, from)
    try {
      while (!reader.done) {
        const number = reader.uint()
        kind = number % 4
        const problem = place(Math.floor(number / 4).toString(36), readNext, reader)
        if (problem !== undefined) return problem
      }
      return undefined
    } catch (error) {
      if (error instanceof Malformed) return broken
      throw error
    }
  },
  along: undefined,
  room(limits) {
    const bytes = Math.min(limits.bytes, limits.entryBytes, limits.headerBytes - packedOverhead)
    let left = limits.entries < 1 ? -1 : headerText.capacityOf(Math.max(0, bytes - packedName.length)) - 1
    return {
      sizeFor: () => left,
      take({ size }) {
        left -= size
      }
    }
  },
  excess(entries, limits) {
    if (entries.length === 0) return undefined
    const bytes = packedBytes(entries)
    return excessOf({ bytes, headerBytes: bytes + packedOverhead, entryBytes: bytes, entries: 1 }, limits)
  },
  metadataBytes: (entries) => (entries.length === 0 ? 0 : packedBytes(entries)),
  headerBytes: (entries) => (entries.length === 0 ? 0 : packedBytes(entries) + packedOverhead),
  metadata(entries) {
    if (entries.length === 0) return {}
    const bytes = new Uint8Array(1 + sumOfSizes(entries))
    bytes[0] = packedVersion
    let at = 1
    for (const entry of entries) {
      bytes.set(entry.form as Uint8Array, at)
      at += entry.size
    }
    return { [packedName]: headerText.encode(bytes) }
  }
}

const packedOverhead = metadataHeaderOverhead(packedName.length)

const packedBytes = (entries: ReadonlyArray<Entry>): number =>
  packedName.length + headerText.sizeOf(1 + sumOfSizes(entries))

const readPacked = (codec: ValueCodec, kind: number, reader: Reader): Json => {
  switch (kind) {
    case nullKind:
      return null
    case valueKind:
      return codec.read(reader)
    case falseKind:
      return false
    default:
      return codec.isBoolean === true ? true : valueCodec.general.read(reader)
  }
}

/**
 * The encoding with all fields in one entry of the fewest bytes: binary forms by the type of each attribute, short text
 * by a built-in code of common fragments, and an alphabet of 91 characters that any header carries.
 *
 * @category constructors
 * @since 0.1.0
 */
export const packed: Encoder = { tag: "p", compile: compileWith(packedForm) }

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The encoding in which documents are written. Default: `text`.
 *
 * @category references
 * @since 0.1.0
 */
export const Encoding: Context.Reference<Encoder> = Context.Reference("effect-s3db/encoding/Encoding", {
  defaultValue: () => text
})

/**
 * The default encoding, provided explicitly.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never> = Layer.succeed(Encoding, text)

/**
 * The packed form, in which documents are then written; those that were written otherwise are read all the same.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPacked: Layer.Layer<never> = Layer.succeed(Encoding, packed)

const readers = new Map<string, Encoder>([text, packed].map((encoder) => [encoder.tag, encoder]))

/**
 * Returns the encoding that a document with this tag was written by, whichever is in use for writing.
 *
 * @category getters
 * @since 0.1.0
 */
export const forTag = (tag: string): Encoder | undefined => readers.get(tag)
