/**
 * A document as it lies in the store: its key, its envelope, and what its writes leave behind so that an unknown
 * outcome can be resolved.
 *
 * **Details**
 *
 * User metadata holds the fields under their short ids and one system entry, `s-`, with the encoding and the schema
 * version. The body is a small JSON object: `w`, the write id, new for each write, so that the ETag changes with every
 * write even when all fields are in metadata; `t`, when it was written; `p`, the write ids of the writes it was built
 * upon, newest first; `f`, the fields in the body; `e`, those of them whose encoded text is shorter than JSON; `x`, the
 * attributes that were cut or left out to make the document fit.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { StoredFields } from "./encoding/Encoding.ts"
import { type Json, stringifyExact } from "./encoding/Json.ts"
import { percentEncode, utf8Length } from "./internal/text.ts"
import { maxKeyBytes, type Metadata, type StoredObject } from "./storage/ObjectStore.ts"

/**
 * Names one version of one document; changes with every write. It is the object's ETag.
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
export interface Document<out A> {
  readonly id: string
  readonly value: A
  /** Pass it, or the whole document, to an update or delete that must not overwrite somebody else's change. */
  readonly revision: Revision
  /** The schema version it was written with, from 1. */
  readonly schemaVersion: number
  /** When it was written, by the clock of the writer. */
  readonly writtenAt: DateTime.Utc
  /** Where its fields are: all in metadata, all in the body, or some in each. */
  readonly storedIn: "metadata" | "body" | "both"
  /** Bytes of user metadata, names and values. */
  readonly metadataBytes: number
  /** Bytes of the object's body. */
  readonly bodyBytes: number
  /** Paths of fields that were cut or left out by the behavior `truncate-data`. */
  readonly truncated: ReadonlyArray<string>
}

/**
 * How many earlier write ids a document remembers. A write whose answer was lost is recognised until so many others
 * have been built upon it.
 *
 * @category constants
 * @since 0.1.0
 */
export const rememberedWrites = 8

/** The metadata name of the system entry; attribute ids have no `-`. */
const systemName = "s-"

/**
 * The bytes of metadata that are left for fields.
 *
 * @category getters
 * @since 0.1.0
 */
export const fieldBudget = (metadataBytes: number, tag: string, schemaVersion: number): number =>
  metadataBytes - systemName.length - systemValue(tag, schemaVersion).length

const systemValue = (tag: string, schemaVersion: number): string => tag + schemaVersion.toString(36)

/**
 * What every document key of a resource begins with.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyPrefix = (resource: string): string => `resource=${percentEncode(resource)}/data/`

/**
 * The key of a document, or why the id cannot be one.
 *
 * @category keys
 * @since 0.1.0
 */
export const key = (resource: string, id: string): Result.Result<string, string> => {
  if (id === "") return Result.fail("Expected an id that is not empty")
  if (!id.isWellFormed()) return Result.fail("Expected an id of valid Unicode, without lone surrogates")
  const name = `${keyPrefix(resource)}id=${percentEncode(id)}`
  // Everything but unreserved ASCII is escaped, so characters are bytes.
  return name.length > maxKeyBytes
    ? Result.fail(`Expected an id whose key has at most ${maxKeyBytes} bytes; this one makes ${name.length}`)
    : Result.succeed(name)
}

/**
 * The id in a key below `keyPrefix`, if it is the key of a document.
 *
 * @category keys
 * @since 0.1.0
 */
export const idOf = (resource: string, name: string): Option.Option<string> => {
  const start = `${keyPrefix(resource)}id=`
  const rest = name.slice(start.length)
  if (!name.startsWith(start) || rest === "" || rest.includes("/")) return Option.none()
  try {
    return Option.some(decodeURIComponent(rest))
  } catch {
    return Option.none()
  }
}

/**
 * One write of a document, before and after it is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly writeId: string
  readonly writtenAt: number
  /** Write ids of the versions that this one replaces, newest first. */
  readonly ancestors: ReadonlyArray<string>
  readonly tag: string
  readonly schemaVersion: number
  readonly fields: StoredFields
  /** Ids of attributes that were cut or left out. */
  readonly truncated: ReadonlyArray<string>
}

/**
 * The object that a write puts.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toObject = (
  write: Write
): { readonly metadata: Metadata; readonly body: Uint8Array; readonly contentType: string } => {
  const body: Record<string, Json> = { w: write.writeId, t: write.writtenAt }
  if (write.ancestors.length > 0) body["p"] = write.ancestors.slice(0, rememberedWrites)
  if (write.fields.spilled !== undefined) body["f"] = write.fields.spilled
  if (write.fields.spilledText !== undefined) body["e"] = write.fields.spilledText
  if (write.truncated.length > 0) body["x"] = write.truncated
  const text = stringifyExact(body)
  return {
    metadata: { [systemName]: systemValue(write.tag, write.schemaVersion), ...write.fields.metadata },
    // Every field has been through `stringifyExact` when it was encoded, so that it cannot be refused here.
    body: new TextEncoder().encode(typeof text === "string" ? text : ""),
    contentType: "application/json"
  }
}

/**
 * What was read from an object, fields still encoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  readonly revision: Revision
  readonly writeId: string
  readonly writtenAt: number
  readonly ancestors: ReadonlyArray<string>
  readonly tag: string
  readonly schemaVersion: number
  readonly fields: StoredFields
  readonly truncated: ReadonlyArray<string>
  readonly metadataBytes: number
  readonly bodyBytes: number
}

/**
 * What a write has stored, once the store has accepted it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stored = (write: Write, object: ReturnType<typeof toObject>, etag: string): Stored => ({
  revision: etag as Revision,
  writeId: write.writeId,
  writtenAt: write.writtenAt,
  ancestors: write.ancestors.slice(0, rememberedWrites),
  tag: write.tag,
  schemaVersion: write.schemaVersion,
  fields: write.fields,
  truncated: write.truncated,
  metadataBytes: metadataSize(object.metadata),
  bodyBytes: object.body.length
})

const Body = Schema.Struct({
  w: Schema.String,
  t: Schema.Int,
  p: Schema.optionalKey(Schema.Array(Schema.String)),
  f: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  e: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  x: Schema.optionalKey(Schema.Array(Schema.String))
})

const decodeBody = Schema.decodeUnknownResult(Schema.fromJsonString(Body))

/**
 * Reads an object, or says why it is no document.
 *
 * @category encoding
 * @since 0.1.0
 */
export const fromObject = (object: StoredObject): Result.Result<Stored, string> => {
  const { [systemName]: system, ...metadata } = object.metadata
  const match = /^([a-z])([0-9a-z]{1,6})$/.exec(system ?? "")
  if (match === null) return Result.fail("the object has no schema version in its metadata")
  const body = decodeBody(new TextDecoder().decode(object.body))
  if (Result.isFailure(body)) return Result.fail("the body of the object is not that of a document")
  return Result.succeed({
    revision: object.etag as Revision,
    writeId: body.success.w,
    writtenAt: body.success.t,
    ancestors: body.success.p ?? [],
    tag: match[1]!,
    schemaVersion: Number.parseInt(match[2]!, 36),
    fields: { metadata, spilled: body.success.f, spilledText: body.success.e },
    truncated: body.success.x ?? [],
    metadataBytes: metadataSize(object.metadata),
    bodyBytes: object.size
  })
}

/**
 * Bytes of metadata as S3 counts them: every name and value.
 *
 * @category getters
 * @since 0.1.0
 */
export const metadataSize = (metadata: Metadata): number => {
  let bytes = 0
  for (const name of Object.keys(metadata)) bytes += utf8Length(name) + utf8Length(metadata[name]!)
  return bytes
}

/**
 * The envelope of a decoded value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const envelope = <A>(
  id: string,
  value: A,
  stored: Stored,
  pathOf: (attribute: string) => string
): Document<A> => ({
  id,
  value,
  revision: stored.revision,
  schemaVersion: stored.schemaVersion,
  writtenAt: DateTime.makeUnsafe(stored.writtenAt),
  storedIn: placeOf(stored.fields),
  metadataBytes: stored.metadataBytes,
  bodyBytes: stored.bodyBytes,
  truncated: stored.truncated.map(pathOf)
})

const placeOf = ({ metadata, spilled, spilledText }: StoredFields): Document<never>["storedIn"] => {
  if (spilled === undefined && spilledText === undefined) return "metadata"
  return Object.keys(metadata).length === 0 ? "body" : "both"
}

/**
 * What became of a write whose answer was lost and whose repetition was refused, judged by what is stored now.
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
  stored: Stored,
  write: { readonly writeId: string; readonly replaces: string | undefined }
): "landed" | "superseded" | "refused" | "unknown" => {
  if (stored.writeId === write.writeId) return "landed"
  if (stored.ancestors.includes(write.writeId)) return "superseded"
  if (write.replaces === undefined) return "unknown"
  return stored.writeId === write.replaces || stored.ancestors.includes(write.replaces) ? "refused" : "unknown"
}
