/**
 * A document as it lies in the store: its key, its envelope, and what its writes leave behind so that an unknown
 * outcome can be resolved.
 *
 * **Details**
 *
 * User metadata holds the fields under their short ids and one system entry, `s-`, with the encoding and the schema
 * version. The body is a small JSON object: `w`, the write id, new for each write, so that the ETag changes with every
 * write even when all fields are in metadata; `t`, when it was written; `c`, when it was created, and `n`, how many
 * versions there have been, for all but the first; `p`, the write ids of the writes it was built upon, newest first; `m`,
 * the markers that it owns, `k`, its keys of companions, and `u`, the reservations of its unique keys; `b`, its binary content; `f`, the fields in the body; `e`, those of them
 * whose encoded text is shorter than JSON; `x`, the attributes that were cut or left out to make the document fit. The
 * body is binary, with the same members, but where fields are in it that are not compressed, or the resource does not compress.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Limits, StoredFields } from "./encoding/Encoding.ts"
import * as binaryBody from "./encoding/internal/binaryBody.ts"
import * as systemEntry from "./encoding/internal/systemEntry.ts"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "./encoding/Json.ts"
import { ambient } from "./internal/ambient.ts"
import { decodeBase64, encodeBase64 } from "./internal/base64.ts"
import { mapValues } from "./internal/json.ts"
import { percentDecode, percentEncode, utf8Length } from "./internal/text.ts"
import {
  type Capabilities,
  maxKeyBytes,
  maxMetadataHeaderBytes,
  type Metadata,
  metadataHeaderOverhead,
  type StoredObject
} from "./storage/ObjectStore.ts"

/**
 * The name of one version of one document; it changes with every write. It is the object's ETag.
 *
 * @category models
 * @since 0.1.0
 */
export type Revision = string & Brand.Brand<"effect-s3db/Document/Revision">

/**
 * A document with its envelope.
 *
 * @category models
 * @since 0.1.0
 */
export interface Document<out A, out Id extends string = string> {
  readonly id: Id
  readonly value: A
  /** Pass it, or the whole document, to an update or delete that must not overwrite somebody else's change. */
  readonly revision: Revision
  /** The schema version it was written with, from 1. */
  readonly schemaVersion: number
  /** When it was written, by the clock of the writer. */
  readonly writtenAt: DateTime.Utc
  /** When it was inserted, by the clock of the writer. */
  readonly createdAt: DateTime.Utc
  /** How many versions there have been since it was inserted, this one included. */
  readonly version: number
  /** Where its fields are: all in metadata, all in the body, or some in each. */
  readonly storedIn: "metadata" | "body" | "both"
  /** Bytes of user metadata, names and values. */
  readonly metadataBytes: number
  /** Bytes of the object's body. */
  readonly bodyBytes: number
  /** Paths of fields that were cut or left out by the behavior `truncate-data`. */
  readonly truncated: ReadonlyArray<string>
  /** Its binary content, if it has any. */
  readonly content: Omit<ContentRef, "name"> | undefined
}

/**
 * Returns a document with what a function makes of its value, in the same envelope.
 *
 * @category combinators
 * @since 0.1.0
 */
export const map = <A, B>(document: Document<A>, f: (value: A) => B): Document<B> => ({
  ...document,
  value: f(document.value)
})

/**
 * Reads the time, in whole milliseconds, as the body of a document holds it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const now: Effect.Effect<number> = Effect.sync(() => nowUnsafe())

/**
 * Reads the same at once, from the clock of the fiber that runs.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nowUnsafe = (): number => Math.floor(ambient(Clock.Clock).currentTimeMillisUnsafe())

/**
 * The number of earlier write ids that a document remembers. A write whose answer was lost is recognised until so many
 * others have been built upon it.
 *
 * @category constants
 * @since 0.1.0
 */
export const rememberedWrites = 8

/**
 * The number that a document remembers while writes of it take each other's place: many pass then before an answer that was
 * lost is looked into.
 *
 * @category constants
 * @since 0.1.0
 */
export const rememberedUnderContention = 64

const { name: systemName, valueOf: systemValue } = systemEntry

/**
 * Returns the bytes of metadata that the system entry takes.
 *
 * @category getters
 * @since 0.1.0
 */
export const systemBytes = (tag: string, schemaVersion: number): number =>
  systemName.length + systemValue(tag, schemaVersion).length

/**
 * The bytes of request headers that the system entry takes beyond its own.
 *
 * @category constants
 * @since 0.1.0
 */
export const systemHeaderOverhead = metadataHeaderOverhead(systemName.length)

/**
 * Returns what a store leaves for fields in the metadata of a document.
 *
 * @category getters
 * @since 0.1.0
 */
export const fieldLimits = (capabilities: Capabilities, tag: string, schemaVersion: number): Limits => {
  const system = systemBytes(tag, schemaVersion)
  const { metadataBytes, metadataEntries, metadataEntryBytes, metadataHeaderBytes } = capabilities
  return {
    bytes: metadataBytes - system,
    headerBytes: (metadataHeaderBytes ?? maxMetadataHeaderBytes) - system - systemHeaderOverhead,
    entryBytes: metadataEntryBytes ?? metadataBytes,
    entries: metadataEntries === undefined ? Infinity : metadataEntries - 1
  }
}

/** Ends the system entry of an object whose version is not settled, so that a HEAD tells. */
const unsettledMark = "!"

/**
 * Tells whether the metadata of an object is that of a document for certain, without a look at its body.
 *
 * @category getters
 * @since 0.1.0
 */
export const isSettled = (metadata: Metadata): boolean => metadata[systemName]?.endsWith(unsettledMark) !== true

/** Keys that are made after each other tend to be of one resource. */
let lastPrefix = { resource: "", prefix: "resource=/data/" }

/**
 * Returns what every document key of a resource begins with.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (resource: string): string => {
  if (lastPrefix.resource !== resource) {
    lastPrefix = { resource, prefix: `resource=${percentEncode(resource)}/data/` }
  }
  return lastPrefix.prefix
}

/**
 * Returns how many bytes the id of a document may have, percent-encoded, in a store whose keys have so many.
 *
 * @category getters
 * @since 0.1.0
 */
export const mostIdBytes = (resource: string, keyBytes: number = maxKeyBytes): number =>
  keyBytes - `${keyPrefix(resource)}id=`.length

/**
 * Returns the key of a document, or why the id cannot be one. `most`: the bytes that it may have, percent-encoded.
 *
 * @category keys
 * @since 0.1.0
 */
export const key = (
  resource: string,
  id: string,
  most: number = mostIdBytes(resource)
): Result.Result<string, string> => {
  // Of a program without types, or of a request that lacks it.
  if (typeof id !== "string") return Result.fail("Expected an id that is a text")
  if (id === "") return Result.fail("Expected an id that is not empty")
  if (!id.isWellFormed()) return Result.fail("Expected an id of valid Unicode, without lone surrogates")
  // Everything but unreserved ASCII is escaped, so characters are bytes.
  const name = percentEncode(id)
  return name.length > most
    ? Result.fail(`Expected an id of at most ${most} bytes, percent-encoded; this one has ${name.length}`)
    : Result.succeed(`${keyPrefix(resource)}id=${name}`)
}

/**
 * Reads the id in a key below `keyPrefix`, if it is the key of a document: that which `key` makes of the id, and no other
 * way to write it.
 *
 * @category keys
 * @since 0.1.0
 */
export const idOf = (resource: string, name: string): Option.Option<string> =>
  Option.fromUndefinedOr(idReader(resource)(name))

/**
 * Makes what reads the ids in the keys of a resource, as `idOf` does.
 *
 * @category keys
 * @since 0.1.0
 */
export const idReader = (resource: string): ((name: string) => string | undefined) => {
  const start = `${keyPrefix(resource)}id=`
  return (name) => {
    if (!name.startsWith(start)) return undefined
    const rest = name.slice(start.length)
    return rest === "" || rest.includes("/") ? undefined : percentDecode(rest)
  }
}

/**
 * Makes what tells of keys of a resource whether they are those of documents, as `idOf` does, without making the ids.
 *
 * @category keys
 * @since 0.1.0
 */
export const idTest = (resource: string): ((name: string) => boolean) => {
  const start = `${keyPrefix(resource)}id=`
  const read = idReader(resource)
  return (name) => {
    if (name.length === start.length || !name.startsWith(start)) return false
    for (let i = start.length; i < name.length; i++) {
      if (!isPlain(name.charCodeAt(i))) return read(name) !== undefined
    }
    return true
  }
}

/** Letters, digits and `-._~`, which percent-encoding leaves as they are. */
const isPlain = (unit: number): boolean =>
  (unit >= 97 && unit <= 122) ||
  (unit >= 48 && unit <= 57) ||
  (unit >= 65 && unit <= 90) ||
  unit === 45 ||
  unit === 46 ||
  unit === 95 ||
  unit === 126

/**
 * A marker that a document owns: the values in its key, what it covers, and the write that made it.
 *
 * @category models
 * @since 0.1.0
 */
export interface OwnedMarker {
  readonly values: string
  readonly covered: string | undefined
  readonly writeId: string
}

/**
 * A key of a companion that a document owns: the suffix in it, percent-encoded, and the write that made it.
 *
 * @category models
 * @since 0.1.0
 */
export interface OwnedKey {
  readonly suffix: string
  readonly writeId: string
}

/**
 * A reservation of a unique value: the digest of the value, and the ETag of the reservation when it was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claim {
  readonly digest: string
  readonly etag: string
}

/**
 * The binary content of a document: the name of its objects, and what is in them.
 *
 * @category models
 * @since 0.1.0
 */
export interface ContentRef {
  readonly name: string
  readonly size: number
  readonly contentType: string
  /** Of the whole, in hexadecimal. */
  readonly sha256: string
}

/**
 * One write of a document, before and after it is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly writeId: string
  /** The write id under which the version was first written, where a transaction that was aborted has put it back since. */
  readonly origin?: string | undefined
  readonly writtenAt: number
  /** When the first version was written. */
  readonly createdAt: number
  /** How many versions there have been, this one included. */
  readonly version: number
  /** Write ids of the versions that this one replaces, newest first. */
  readonly ancestors: ReadonlyArray<string>
  readonly tag: string
  readonly schemaVersion: number
  readonly fields: StoredFields
  /** Ids of attributes that were cut or left out. */
  readonly truncated: ReadonlyArray<string>
  /** By the name of the partition. */
  readonly markers: Readonly<Record<string, OwnedMarker>>
  /** By the name of the companion. */
  readonly companions: Readonly<Record<string, ReadonlyArray<OwnedKey>>>
  /** By the name of the unique key. */
  readonly claims: Readonly<Record<string, Claim>>
  readonly content?: ContentRef | undefined
}

/**
 * Returns the write id under which a version was first written, whatever transactions that were aborted have put back since.
 *
 * @category getters
 * @since 0.1.0
 */
export const identityOf = ({ origin, writeId }: Pick<Write, "origin" | "writeId">): string => origin ?? writeId

/**
 * No markers, no keys of companions, or no claims.
 *
 * @category constants
 * @since 0.1.0
 */
export const none: Readonly<Record<string, never>> = {}

const isEmpty = (record: object): boolean => {
  for (const _ in record) return false
  return true
}

/** What does not come from a field, as members of the body. */
const systemPart = (write: Write): Record<string, Json> => {
  const { writeId, writtenAt, createdAt, version, ancestors, markers, companions, claims } = write
  const part: Record<string, Json> = { w: writeId, t: writtenAt }
  if (write.origin !== undefined) part["o"] = write.origin
  if (createdAt !== writtenAt) part["c"] = createdAt
  if (version !== 1) part["n"] = version
  if (ancestors.length > 0) part["p"] = ancestors.slice(0, rememberedUnderContention)
  if (!isEmpty(markers)) {
    const owned: Record<string, Json> = {}
    for (const [name, marker] of Object.entries(markers)) {
      const made = marker.writeId === writeId ? "" : marker.writeId
      owned[name] = marker.covered === undefined ? [marker.values, made] : [marker.values, made, marker.covered]
    }
    part["m"] = owned
  }
  if (!isEmpty(companions)) {
    const owned = Object.entries(companions).map(([name, keys]): [string, Json] => [
      name,
      keys.map((key) => [key.suffix, key.writeId === writeId ? "" : key.writeId])
    ])
    part["k"] = Object.fromEntries(owned)
  }
  if (write.content !== undefined) {
    const { name, size, contentType, sha256 } = write.content
    part["b"] = [name, size, contentType, sha256]
  }
  if (!isEmpty(claims)) {
    part["u"] = Object.fromEntries(Object.entries(claims).map(([name, { digest, etag }]) => [name, [digest, etag]]))
  }
  return part
}

/** The members of a body but for compressed fields. */
const membersOf = (write: Write): Record<string, Json> => {
  const body = systemPart(write)
  if (write.fields.spilled !== undefined) body["f"] = write.fields.spilled
  if (write.fields.spilledText !== undefined) body["e"] = write.fields.spilledText
  if (write.truncated.length > 0) body["x"] = write.truncated
  return body
}

/** Every field has been through `stringifyExact` when it was encoded, so that it cannot be refused here. */
const textOf = (members: Json): string => {
  const text = stringifyExact(members, documentLevels)
  return typeof text === "string" ? text : ""
}

/** An object to be put. */
interface ObjectToPut {
  readonly metadata: Metadata
  readonly body: Uint8Array
  readonly contentType: string
}

const metadataOf = ({ fields: { metadata }, schemaVersion, tag }: Write): Metadata => {
  const system = systemValue(tag, schemaVersion)
  return metadata[systemName] === system ? metadata : { ...metadata, [systemName]: system }
}

/**
 * Returns the object that a write puts.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toObject = (write: Write): ObjectToPut => {
  const { compressed, isBinary, spilled } = write.fields
  const members = membersOf(write)
  // All but fields are texts and whole numbers.
  const stringify = spilled === undefined ? JSON.stringify : textOf
  const metadata = metadataOf(write)
  if (compressed !== undefined || isBinary === true) {
    const body = binaryBody.write(members, compressed, stringify)
    return { metadata, body, contentType: "application/octet-stream" }
  }
  return { metadata, body: encoder.encode(stringify(members)), contentType: "application/json" }
}

/**
 * Returns a version as one JSON text and its metadata, for what stands between: `fromObject` reads it like the object itself.
 * Compressed fields stay compressed, as base 64, and it says where the body is binary.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toText = (write: Write): { readonly metadata: Metadata; readonly body: string } => {
  const { compressed, isBinary } = write.fields
  const members = membersOf(write)
  if (compressed !== undefined) {
    members["z"] = [compressed.size, encodeBase64(compressed.bytes)]
    // Who does not know `z` would take it for a document without these fields: this it takes for damage.
    members["a"] = false
  } else if (isBinary === true) members["y"] = binaryBody.version
  return { metadata: metadataOf(write), body: textOf(members) }
}

/** The entries of fields. */
const fieldsIn = (metadata: Metadata): Metadata => {
  const { [systemName]: _, ...fields } = metadata
  return fields
}

const toJson = (write: Write): Json => JSON.parse(toText(write).body) as Json

/**
 * Returns a version as the journal shows it: `metadata` and `body` of the object that a write puts, secrets sealed. It is the same however often a
 * transaction that was aborted has put the version back: under the write id that it had first, without what it was built upon and
 * without the objects that it owns, which come and go with such transactions. Nor does it tell the form of the body.
 *
 * @category conversions
 * @since 0.1.0
 */
export const imageOf = (write: Write): JsonObject => {
  const { origin: _, ...version } = write
  const fields = { ...write.fields, isBinary: false }
  const owned = { markers: none, companions: none, claims: none }
  const bare = { ...version, ...owned, fields, writeId: identityOf(write), ancestors: [] }
  return { metadata: metadataOf(bare), body: toJson(bare) }
}

const decodeImage = Schema.decodeUnknownResult(
  Schema.Struct({ metadata: Schema.Record(Schema.String, Schema.String), body: Schema.Json })
)

/**
 * Reads a version that the journal shows, its fields still encoded, or says why it is none. It has the revision of no object.
 * `fromImage` of a repository makes a document of it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromImage = (image: Json): Result.Result<Stored, string> => {
  const decoded = decodeImage(image)
  if (Result.isFailure(decoded)) return Result.fail("the image has no metadata and body")
  const text = stringifyExact(decoded.success.body, documentLevels)
  if (typeof text !== "string") return Result.fail("the image is nested too deep")
  const body = new TextEncoder().encode(text)
  const { metadata } = decoded.success
  const slot = fromObject({ key: "", etag: "", metadata, body, size: body.length })
  return Result.flatMap(slot, ({ stored }) =>
    stored === undefined
      ? Result.fail("the image holds no version")
      : Result.succeed({ ...stored, revision: `image-${stored.writeId}` as Revision })
  )
}

/**
 * The future that a transaction has announced for a document: the next version, or none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Intent {
  /** The id of the transaction. */
  readonly transaction: string
  /** The object that the next version is. `undefined`: the document is to be deleted. */
  readonly next: { readonly metadata: Metadata; readonly body: Json } | undefined
  /** The deletion, where earlier versions are kept. */
  readonly deletedAt?: number | undefined
  /** The write id of what the deletion is to leave, where there is a journal. */
  readonly tombstone?: string | undefined
  /** That of what an earlier deletion has left, which is to come back if the document is not created after all. */
  readonly over?: string | undefined
}

/**
 * An object at the key of a document: the version that it holds, if any, and what a transaction is about to make of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Slot {
  readonly etag: string
  readonly writeId: string
  /** Of what a deletion has left: the write id that it had first, where a transaction that was aborted has put it back. */
  readonly origin?: string | undefined
  readonly ancestors: ReadonlyArray<string>
  /** `undefined` for a document that a transaction is about to create, or that is deleted. */
  readonly stored: Stored | undefined
  readonly intent: Intent | undefined
  /** What tells that the document has been deleted. */
  readonly deletion?: Deletion | undefined
}

/**
 * Returns the object that announces what a transaction is about to make of a document; until it is settled the version
 * before stays readable in it.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toIntentObject = (
  before: Stored | undefined,
  write: { readonly writeId: string; readonly writtenAt: number; readonly ancestors: ReadonlyArray<string> },
  transaction: string,
  next: Write | undefined,
  { deletedAt, over, tombstone }: Pick<Intent, "deletedAt" | "over" | "tombstone"> = {}
): ReturnType<typeof toObject> => {
  const intent: Json = {
    x: transaction,
    ...(next === undefined ? {} : { m: metadataOf(next), b: toJson(next) }),
    ...(deletedAt === undefined ? {} : { d: deletedAt }),
    ...(tombstone === undefined ? {} : { t: tombstone }),
    ...(over === undefined ? {} : { o: over })
  }
  // The metadata of the version before may leave no room for the mark: it waits in the body.
  const held: Record<string, Json> =
    before === undefined
      ? { w: write.writeId, t: write.writtenAt, a: true }
      : {
          ...(toJson(before) as Record<string, Json>),
          h: fieldsIn(before.fields.metadata)
        }
  const text = stringifyExact(
    { ...held, i: intent, v: write.writeId, p: write.ancestors.slice(0, rememberedUnderContention) },
    documentLevels
  )
  return {
    metadata: {
      [systemName]: (before === undefined ? "" : systemValue(before.tag, before.schemaVersion)) + unsettledMark
    },
    body: new TextEncoder().encode(typeof text === "string" ? text : ""),
    contentType: "application/json"
  }
}

/**
 * A deletion: when it was, and, where earlier versions are kept, which version was the last.
 *
 * @category models
 * @since 0.1.0
 */
export interface Deletion {
  readonly deletedAt: number
  readonly last: Pick<Write, "createdAt" | "version" | "writeId"> | undefined
}

/**
 * The bytes of the body of an object that tells of a deletion, which are those of a write id: 16. One with a version has
 * more, so that a listing tells them apart.
 *
 * @category constants
 * @since 0.1.0
 */
export const deletionBytes = 16

/** The metadata entry of a deletion. */
const deletionName = "s-d"

/**
 * `t`: when; `p`: the write ids before it; `o`: the write id that it had first, where a transaction that was aborted has put it
 * back; `l`: when the document was created, its last version and its write id.
 */
const DeletionEntry = Schema.Struct({
  t: Schema.Int,
  p: Schema.Array(Schema.String),
  o: Schema.optionalKey(Schema.String),
  l: Schema.optionalKey(Schema.Tuple([Schema.Int, Schema.Int, Schema.String]))
})

const decodeDeletion = Schema.decodeUnknownResult(Schema.fromJsonString(DeletionEntry))

/**
 * Returns the object that takes the place of a document that is deleted: the write id is all that its body holds.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toTombstone = (
  write: {
    readonly writeId: string
    readonly origin?: string | undefined
    readonly ancestors: ReadonlyArray<string>
  },
  { deletedAt, last }: Deletion
): ReturnType<typeof toObject> => {
  const entry: typeof DeletionEntry.Type = {
    t: deletedAt,
    p: write.ancestors.slice(0, rememberedWrites),
    ...(write.origin === undefined ? {} : { o: write.origin }),
    ...(last === undefined ? {} : { l: [last.createdAt, last.version, last.writeId] })
  }
  return {
    metadata: { [systemName]: unsettledMark, [deletionName]: JSON.stringify(entry) },
    body: new TextEncoder().encode(write.writeId),
    contentType: "text/plain"
  }
}

/**
 * A version as it was read from an object, fields still encoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored extends Write {
  readonly revision: Revision
  readonly bodyBytes: number
}

/**
 * Returns what a write has stored, once the store has accepted it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stored = (write: Write, object: ReturnType<typeof toObject>, etag: string): Stored => ({
  ...write,
  revision: etag as Revision,
  ancestors: write.ancestors.length > rememberedWrites ? write.ancestors.slice(0, rememberedWrites) : write.ancestors,
  bodyBytes: object.body.length
})

const Names = Schema.Array(Schema.String)

/**
 * The keys of companions in the body of a document: suffixes and write ids, by the name of the companion. The write id is empty
 * where it is that of the document.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CompanionKeys = Schema.Record(Schema.String, Schema.Array(Schema.Tuple([Schema.String, Schema.String])))

/**
 * Reads the keys of companions in a body.
 *
 * @category encoding
 * @since 0.1.0
 */
export const companionsOf = (keys: typeof CompanionKeys.Type | undefined, writeId: string): Write["companions"] =>
  keys === undefined
    ? none
    : mapValues(keys, (owned) => owned.map(([suffix, made]) => ({ suffix, writeId: made || writeId })))

const Body = Schema.Struct({
  w: Schema.String,
  o: Schema.optionalKey(Schema.String),
  t: Schema.Int,
  c: Schema.optionalKey(Schema.Int),
  n: Schema.optionalKey(Schema.Int),
  p: Schema.optionalKey(Names),
  m: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Tuple([Schema.String, Schema.String, Schema.optionalKey(Schema.String)]))
  ),
  k: Schema.optionalKey(CompanionKeys),
  u: Schema.optionalKey(Schema.Record(Schema.String, Schema.Tuple([Schema.String, Schema.String]))),
  b: Schema.optionalKey(Schema.Tuple([Schema.String, Schema.Int, Schema.String, Schema.String])),
  f: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  e: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** Compressed fields, where a body that has them is within other JSON: the bytes of their JSON, and base 64. */
  z: Schema.optionalKey(Schema.Tuple([Schema.Int, Schema.String])),
  /** The form of the body, where one that is binary and has no fields is within other JSON. */
  y: Schema.optionalKey(Schema.Int),
  x: Schema.optionalKey(Names),
  /** There is no version in the object; `false` beside `z`, which earlier releases do not know: they refuse it. */
  a: Schema.optionalKey(Schema.Boolean),
  /** The metadata of the version before, while a transaction has an intent here. */
  h: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** The write id of the announcement, where `w` is that of the version before. */
  v: Schema.optionalKey(Schema.String),
  i: Schema.optionalKey(
    Schema.Struct({
      x: Schema.String,
      m: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
      b: Schema.optionalKey(Schema.Json),
      d: Schema.optionalKey(Schema.Int),
      t: Schema.optionalKey(Schema.String),
      o: Schema.optionalKey(Schema.String)
    })
  )
})

type Body = typeof Body.Type

const decodeBody = Schema.decodeUnknownResult(Body)

const isText = (value: unknown): value is string => typeof value === "string"

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText)

const isPair = (value: unknown): boolean => isTexts(value) && (value as ReadonlyArray<unknown>).length === 2

const isMarker = (value: unknown): boolean =>
  Array.isArray(value) && (value.length === 2 || value.length === 3) && value.every(isText)

/** Whether a member of a body is what `Body` says of it, for those that most documents have: all of them are tried at each read. */
const plainMembers: Readonly<Record<string, (value: unknown) => boolean>> = {
  w: isText,
  t: Number.isSafeInteger,
  c: Number.isSafeInteger,
  n: Number.isSafeInteger,
  o: isText,
  p: isTexts,
  m: (value) => isRecord(value) && Object.values(value).every(isMarker),
  k: (value) => isRecord(value) && Object.values(value).every((owned) => Array.isArray(owned) && owned.every(isPair)),
  u: (value) => isRecord(value) && Object.values(value).every(isPair),
  b: (value) =>
    Array.isArray(value) &&
    value.length === 4 &&
    value.every((part, i) => (i === 1 ? Number.isSafeInteger(part) : isText(part))),
  f: isRecord,
  x: isTexts,
  y: Number.isSafeInteger,
  e: (value) => isRecord(value) && Object.values(value).every(isText)
}

const isPlainBody = (json: unknown): json is Body => {
  if (!isRecord(json) || json["w"] === undefined || json["t"] === undefined) return false
  for (const name in json) {
    if (!Object.hasOwn(plainMembers, name) || !plainMembers[name]!(json[name])) return false
  }
  return true
}

/**
 * Reads the members of a body, unchecked, and the fields in it that are compressed; `undefined` for what has none.
 *
 * @category encoding
 * @since 0.1.0
 */
export const membersIn = (
  bytes: Uint8Array
): { readonly members: unknown; readonly compressed: StoredFields["compressed"] } | undefined => {
  if (bytes[0] === binaryBody.version) return binaryBody.read(bytes)
  try {
    return { members: JSON.parse(decoder.decode(bytes)), compressed: undefined }
  } catch {
    return undefined
  }
}

/** The body of a document; `undefined` for anything else. */
const bodyOf = (
  bytes: Uint8Array
): { readonly body: Body; readonly compressed: StoredFields["compressed"] } | undefined => {
  const found = membersIn(bytes)
  if (found === undefined) return undefined
  const { members, compressed } = found
  const body = isPlainBody(members) ? members : Result.getOrUndefined(decodeBody(members))
  if (body === undefined || (body.a === false) !== (body.z !== undefined)) return undefined
  if (body.z === undefined) return { body, compressed }
  const [size, text] = body.z
  const unpacked = decodeBase64(text)
  return size < 0 || unpacked === undefined || compressed !== undefined
    ? undefined
    : { body, compressed: { size, bytes: unpacked } }
}

/** What the system entry says. */
interface System {
  /** `undefined`: there is no version. */
  readonly tag: string | undefined
  readonly schemaVersion: number
}

const parseSystem = (system: string): System | undefined => {
  const match = /^(?:([a-z])([0-9a-z]{1,6}))?(!?)$/.exec(system)
  if (match === null || system === "") return undefined
  return { tag: match[1], schemaVersion: match[2] === undefined ? 0 : Number.parseInt(match[2], 36) }
}

/** Those that were read: few, but what is in a bucket may say anything. */
const systems = new Map<string, System>()
const mostSystems = 1000

const systemOf = (text: string): System | undefined => {
  const known = systems.get(text)
  if (known !== undefined) return known
  const system = parseSystem(text)
  if (system !== undefined) {
    if (systems.size >= mostSystems) systems.clear()
    systems.set(text, system)
  }
  return system
}

/**
 * Reads an object, or says why it is no document.
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromObject = (
  object: Omit<StoredObject, "contentType" | "contentEncoding" | "lastModified">
): Result.Result<Slot, string> => {
  const text = object.metadata[systemName] ?? ""
  const system = systemOf(text)
  if (system === undefined) return Result.fail("the object has no schema version in its metadata")
  if (text === unsettledMark && object.metadata[deletionName] !== undefined) return fromTombstone(object)
  const read = bodyOf(object.body)
  if (read === undefined) return Result.fail("the body of the object is not that of a document")
  const { body, compressed } = read
  const { w, o, t, c, n, p = noNames, m, k, u, b, f, e, x = noNames, y, a, v, i, h } = body
  const isBinary = compressed === undefined && (y === binaryBody.version || object.body[0] === binaryBody.version)
  if ((system.tag === undefined) !== (a === true)) return Result.fail("metadata and body of the object do not fit")
  const metadata = h ?? object.metadata
  if (Object.hasOwn(metadata, "__proto__")) return Result.fail("the metadata of the object is not that of a document")
  // Members that few have are added to the literal of those that all have, which is made at once.
  const version: Stored | undefined =
    system.tag === undefined
      ? undefined
      : {
          revision: object.etag as Revision,
          writeId: w,
          writtenAt: t,
          createdAt: c ?? t,
          version: n ?? 1,
          ancestors: p,
          tag: system.tag,
          schemaVersion: system.schemaVersion,
          fields: { metadata, spilled: f, spilledText: e, compressed, isBinary },
          truncated: x,
          markers:
            m === undefined
              ? none
              : mapValues(m, ([values, made, covered]) => ({ values, covered, writeId: made || w })),
          companions: companionsOf(k, w),
          claims: u === undefined ? none : mapValues(u, ([digest, etag]) => ({ digest, etag })),
          bodyBytes: object.size
        }
  const originated = version === undefined || o === undefined ? version : { ...version, origin: o }
  const stored =
    originated === undefined || b === undefined
      ? originated
      : { ...originated, content: { name: b[0], size: b[1], contentType: b[2], sha256: b[3] } }
  return Result.succeed({
    etag: object.etag,
    writeId: v ?? w,
    ancestors: p,
    stored,
    intent: i === undefined ? undefined : intentOf(i)
  })
}

const noNames: ReadonlyArray<string> = []

const intentOf = ({ b, d, m, o, t, x }: NonNullable<Body["i"]>): Intent => ({
  transaction: x,
  next: m === undefined || b === undefined ? undefined : { metadata: m, body: b },
  deletedAt: d,
  tombstone: t,
  over: o
})

const fromTombstone = ({
  body,
  etag,
  metadata
}: Pick<StoredObject, "body" | "etag" | "metadata">): Result.Result<Slot, string> => {
  const entry = decodeDeletion(metadata[deletionName])
  if (Result.isFailure(entry)) return Result.fail("the object says that the document is deleted, and not when")
  const { l, o, p, t } = entry.success
  const last = l === undefined ? undefined : { createdAt: l[0], version: l[1], writeId: l[2] }
  return Result.succeed({
    etag,
    writeId: decoder.decode(body),
    ...(o === undefined ? {} : { origin: o }),
    ancestors: p,
    stored: undefined,
    intent: undefined,
    deletion: { deletedAt: t, last }
  })
}

/**
 * Reads the version that an intent stands for once its transaction is committed.
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromIntent = (key: string, etag: string, intent: Intent): Result.Result<Stored | undefined, string> => {
  if (intent.next === undefined) return Result.succeed(undefined)
  // It was read from JSON, so that it is JSON.
  const text = stringifyExact(intent.next.body, documentLevels)
  if (typeof text !== "string") return Result.fail("what a transaction announces in it is nested too deep")
  const body = new TextEncoder().encode(text)
  const { metadata } = intent.next
  return Result.map(fromObject({ key, etag, metadata, body, size: body.length }), (slot) => slot.stored)
}

const decoder = new TextDecoder()

const encoder = new TextEncoder()

/**
 * Returns the bytes of metadata as S3 counts them: every name and value.
 *
 * @category getters
 * @since 0.1.0
 */
export const metadataSize = (metadata: Metadata): number => {
  let bytes = 0
  for (const name of Object.keys(metadata)) bytes += utf8Length(name) + utf8Length(metadata[name]!)
  return bytes
}

/** The same of the entries of fields alone. */
const fieldBytes = (metadata: Metadata): number => {
  let bytes = 0
  for (const name in metadata) {
    if (name !== systemName) bytes += utf8Length(name) + utf8Length(metadata[name]!)
  }
  return bytes
}

/**
 * Creates the envelope of a decoded value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const envelope = <A>(
  id: string,
  value: A,
  stored: Stored,
  pathOf: (attribute: string) => string
): Document<A> => {
  const writtenAt = DateTime.makeUnsafe(stored.writtenAt)
  return {
    id,
    value,
    revision: stored.revision,
    schemaVersion: stored.schemaVersion,
    writtenAt,
    createdAt: stored.createdAt === stored.writtenAt ? writtenAt : DateTime.makeUnsafe(stored.createdAt),
    version: stored.version,
    storedIn: placeOf(stored.fields),
    metadataBytes: systemBytes(stored.tag, stored.schemaVersion) + fieldBytes(stored.fields.metadata),
    bodyBytes: stored.bodyBytes,
    truncated: stored.truncated.map(pathOf),
    content:
      stored.content === undefined
        ? undefined
        : { size: stored.content.size, contentType: stored.content.contentType, sha256: stored.content.sha256 }
  }
}

const placeOf = ({ compressed, metadata, spilled, spilledText }: StoredFields): Document<never>["storedIn"] => {
  if (spilled === undefined && spilledText === undefined && compressed === undefined) return "metadata"
  for (const name in metadata) if (name !== systemName) return "both"
  return "body"
}

/**
 * Tells what became of a write whose answer was lost and whose repetition was refused, judged by what is stored now.
 *
 * - `"landed"`: the stored version is that write.
 * - `"superseded"`: it landed, and later writes were built upon it.
 * - `"refused"`: another write took the place on the version that it was meant to replace, so that it cannot have
 *   landed.
 * - `"unknown"`: the stored version tells neither.
 *
 * @category protocol
 * @since 0.1.0
 */
export const outcomeOf = (
  stored: { readonly writeId: string; readonly ancestors: ReadonlyArray<string> },
  write: { readonly writeId: string; readonly replaces: string | undefined }
): "landed" | "superseded" | "refused" | "unknown" => {
  if (stored.writeId === write.writeId) return "landed"
  if (stored.ancestors.includes(write.writeId)) return "superseded"
  if (write.replaces === undefined) return "unknown"
  return stored.writeId === write.replaces || stored.ancestors.includes(write.replaces) ? "refused" : "unknown"
}
