/**
 * Entries of writes that are pending: each is an object whose key says all that settling needs, so that one listing tells of a
 * thousand writes.
 *
 * `PREFIX/pending/CLIENT/NUMBER/WRITE/PREVIOUS/KIND TIME/ACKNOWLEDGED/resource=R/id=ID`. Numbers are base 36; what there is not is
 * `~`; the kind is `i`, `u` or `d`, in capitals where the entry has a body; acknowledged are the client's numbers that are known to be
 * committed, as distances from its own. Where that would be more than a key may have, resource and id are in the body, and the
 * key ends with `detail`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "../../encoding/Json.ts"
import { percentDecode, percentEncode } from "../../internal/text.ts"
import * as StoreError from "../../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** What a write makes of a document. */
export const Kind = Schema.Literals(["insert", "update", "delete"])
export type Kind = typeof Kind.Type

/** One write of one document. */
export interface Write {
  readonly resource: string
  readonly id: string
  /** New for each attempt to commit; of a deletion that of its tombstone. */
  readonly writeId: string
  /**
   * The identity of the version that it replaces: the write id under which that was first written; of a tombstone its write id.
   * `undefined`: there is nothing, not even a tombstone.
   */
  readonly previous: string | undefined
  readonly kind: Kind
  /** Whole milliseconds since the epoch, by the clock of the writer. */
  readonly time: number
}

/** What a write carries beside what settling needs. */
export interface Detail {
  /** The document before, as it is stored. */
  readonly before?: JsonObject | undefined
  /** The document after, as it is stored. */
  readonly after?: JsonObject | undefined
  /** Who asked for it, and what else the program wants to know later. */
  readonly context?: JsonObject | undefined
}

/** An entry that waits to be settled, as its key tells. */
export interface Pending extends Omit<Write, "resource" | "id"> {
  readonly key: string
  /** 8 characters, random for each process. */
  readonly client: string
  /** Of the client: 0, 1, 2, ... */
  readonly number: number
  /** Numbers of the client whose writes are committed. */
  readonly acknowledged: ReadonlyArray<number>
  readonly hasBody: boolean
  /** `undefined`: the body tells. */
  readonly document: { readonly resource: string; readonly id: string } | undefined
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

/** An object as JSON has it. */
export const Image: Schema.Codec<JsonObject, JsonObject> = Schema.make<Schema.Codec<JsonObject, JsonObject>>(
  Schema.Record(Schema.String, Schema.Json).ast
)

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/** The most acknowledgements of one entry. */
export const mostAcknowledged = 24

export const clientLength = 8

/** What is not there. No identity is that short. */
const nothing = "~"

/** Write ids: nothing in them needs to be escaped. */
const idPattern = /^[\w-]{8,64}$/

export const isWriteId = (text: string): boolean => idPattern.test(text)

const kinds: Readonly<Record<string, Kind>> = { i: "insert", u: "update", d: "delete" }

export const folderOf = (prefix: string): string => `${prefix}/pending/`

/** What the keys of one client begin with. */
export const clientFolder = (prefix: string, client: string): string => `${folderOf(prefix)}${client}/`

export interface Place {
  readonly prefix: string
  /** The most bytes that a key may have. */
  readonly keyBytes: number
}

/** The key of an entry, and whether the body has to tell of which document it is. */
export const keyOf = (
  { keyBytes, prefix }: Place,
  write: Write,
  by: Pick<Pending, "acknowledged" | "client" | "number">,
  hasDetail: boolean
): { readonly key: string; readonly isInBody: boolean } => {
  const letter = write.kind[0]!
  const acknowledged = by.acknowledged.map((number) => (by.number - number).toString(36)).join(".")
  const start = (hasBody: boolean) =>
    [
      clientFolder(prefix, by.client) + by.number.toString(36),
      write.writeId,
      write.previous ?? nothing,
      (hasBody ? letter.toUpperCase() : letter) + write.time.toString(36),
      acknowledged === "" ? nothing : acknowledged,
      ""
    ].join("/")
  const key = `${start(hasDetail)}resource=${percentEncode(write.resource)}/id=${percentEncode(write.id)}`
  return key.length <= keyBytes ? { key, isInBody: false } : { key: `${start(true)}detail`, isInBody: true }
}

const wholePattern = /^(?:0|[1-9a-z][0-9a-z]{0,10})$/

/** A whole number as `toString(36)` writes it. */
const wholeOf = (text: string): number | undefined => {
  const number = wholePattern.test(text) ? Number.parseInt(text, 36) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

const timePattern = /^([iudIUD])(-?)([0-9a-z]+)$/

const acknowledgedOf = (text: string, number: number): ReadonlyArray<number> | undefined => {
  if (text === nothing) return []
  const offsets = text.split(".").map(wholeOf)
  return offsets.length <= mostAcknowledged && offsets.every((one) => one !== undefined && one > 0 && one <= number)
    ? offsets.map((offset) => number - offset!)
    : undefined
}

const documentOf = (resource: string, id: string): Pending["document"] => {
  const [name, of] = [percentDecode(resource.slice("resource=".length)), percentDecode(id.slice("id=".length))]
  return name === undefined || name === "" || of === undefined || of === "" ? undefined : { resource: name, id: of }
}

/** What a key tells; `undefined` where no client has made it. */
export const parse = (prefix: string, key: string): Pending | undefined => {
  const folder = folderOf(prefix)
  if (!key.startsWith(folder)) return undefined
  const parts = key.slice(folder.length).split("/")
  const [client = "", ordinal = "", writeId = "", before = "", kindAndTime = "", acks = "", resource = "", id] = parts
  const number = wholeOf(ordinal)
  const [, letter, sign, digits = ""] = timePattern.exec(kindAndTime) ?? []
  const millis = wholeOf(digits)
  if (number === undefined || letter === undefined || millis === undefined) return undefined
  const acknowledged = acknowledgedOf(acks, number)
  if (client.length !== clientLength || !idPattern.test(client) || !isWriteId(writeId) || acknowledged === undefined) {
    return undefined
  }
  if (before !== nothing && !isWriteId(before)) return undefined
  const hasBody = letter !== letter.toLowerCase()
  const isInBody = parts.length === 7 && resource === "detail" && hasBody
  const isNamed = parts.length === 8 && resource.startsWith("resource=") && id!.startsWith("id=")
  const document = isNamed ? documentOf(resource, id!) : undefined
  if (!isInBody && document === undefined) return undefined
  return {
    key,
    client,
    number,
    writeId,
    previous: before === nothing ? undefined : before,
    kind: kinds[letter.toLowerCase()]!,
    time: sign === "-" ? -millis : millis,
    acknowledged,
    hasBody,
    document
  }
}

// -----------------------------------------------------------------------------
// Bodies
// -----------------------------------------------------------------------------

const Body = Schema.Struct({
  v: Schema.Literal(1),
  resource: Schema.optionalKey(Schema.NonEmptyString),
  id: Schema.optionalKey(Schema.NonEmptyString),
  before: Schema.optionalKey(Image),
  after: Schema.optionalKey(Image),
  context: Schema.optionalKey(Image)
})

/** What the body of an entry tells. */
export type Body = typeof Body.Type

const decodeBody = Schema.decodeUnknownEffect(Schema.fromJsonString(Body))

/** The body of an entry, or what is wrong with the detail. */
export const bodyOf = (
  detail: Detail,
  document: { readonly resource: string; readonly id: string } | undefined
): Result.Result<{ readonly value: Body; readonly bytes: Uint8Array }, string> => {
  const given = Object.entries(detail).filter((one): one is [string, JsonObject] => one[1] !== undefined)
  const wrong = given.find(([, value]) => !isObject(value))
  if (wrong !== undefined) return Result.fail(`${wrong[0]} is no object`)
  const value = { v: 1 as const, ...document, ...(Object.fromEntries(given) as Detail) } as Body
  // The levels of a document, and those that are around it here.
  const text = stringifyExact(value as unknown as Json, documentLevels)
  return typeof text === "string"
    ? Result.succeed({ value, bytes: new TextEncoder().encode(text) })
    : Result.fail(`${text.path.join(".")}: ${text.message}`)
}

/** Reads the body of an entry. */
export const readBody = (key: string, bytes: Uint8Array): Effect.Effect<Body, StoreError.StoreError> =>
  Effect.mapError(decodeBody(new TextDecoder().decode(bytes)), () => {
    const description = "the body of an entry of the journal cannot be read; the write that it tells of waits for it"
    return new StoreError.StoreError({ operation: "get", key, reason: new StoreError.Corrupt({ description }) })
  })
