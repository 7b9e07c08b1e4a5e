/**
 * The fields in the body of a document, compressed and brought back.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Document from "../Document.ts"
import * as Behavior from "../encoding/Behavior.ts"
import * as Encoding from "../encoding/Encoding.ts"
import type { Entry, FieldsCodec, JsonObject, StoredFields } from "../encoding/Encoding.ts"
import { documentLevels, isDeeperThan, type Json, stringifyExact } from "../encoding/Json.ts"
import { isRecord } from "../internal/json.ts"
import { utf8Length } from "../internal/text.ts"
import { engine } from "../kernel/internal/compression.ts"

/**
 * The bytes of JSON below which fields are not compressed: of the countries of the world the first 512 take 59 % compressed, and the
 * time for it is that of encoding them.
 *
 * @category constants
 * @since 0.1.0
 */
export const leastBytes = 512

/**
 * The most bytes of JSON that are compressed. No object makes a reader hold more, whatever it says of itself.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostBytes = 64 * 1024 * 1024

/** What is left has to be worth the time of bringing it back: digits, base 64 and the like, which save less, stay as they are. */
const worth = 0.75

/**
 * The fields of a document as they are stored, and what those in the body take.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placed {
  readonly fields: StoredFields
  readonly metadata: ReadonlyArray<Entry>
  readonly body: ReadonlyArray<Entry>
  /** Those of the body that are compressed, and to how many bytes. */
  readonly compressed: { readonly entries: ReadonlySet<Entry>; readonly bytes: number } | undefined
}

const encoder = new TextEncoder()
/** Of what is no UTF-8 nothing may be guessed. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

type Spilled = ReturnType<typeof Behavior.bodyOf>

/** The members that fields are in a body. */
const textOf = ({ spilled, spilledText }: Spilled): string => {
  const members: Record<string, Json> = {}
  if (spilled !== undefined) members["f"] = spilled
  if (spilledText !== undefined) members["e"] = spilledText
  const text = stringifyExact(members, documentLevels)
  // Every field has been through it when it was encoded.
  return typeof text === "string" ? text : ""
}

/**
 * Returns the stored form of fields that have their places, uncompressed. `mayBeBinary`: the body is binary where none is in it.
 *
 * @category encoding
 * @since 0.1.0
 */
export const plain = (codec: FieldsCodec, { body, metadata }: Behavior.Placement, mayBeBinary: boolean): Placed => ({
  fields: {
    metadata: codec.metadata(metadata),
    ...Behavior.bodyOf(body),
    isBinary: mayBeBinary && body.length === 0
  },
  metadata,
  body,
  compressed: undefined
})

/**
 * Returns the stored form of fields that have their places: those of the body compressed, together with those in metadata that may
 * go there with them, where that saves a quarter of what they take else. `isHidden`: what must not be compressed together with
 * fields that others may choose, by its attribute.
 *
 * @category encoding
 * @since 0.1.0
 */
export const compress = (
  codec: FieldsCodec,
  placement: Behavior.Placement,
  isHidden: (attribute: string) => boolean
): Effect.Effect<Placed> => {
  const { body, metadata, movable } = placement
  const isOpen = (entry: Entry) => !isHidden(entry.id)
  const moved = movable.filter(isOpen)
  const entries = new Set([...moved, ...body.filter(isOpen)])
  const text = textOf(Behavior.bodyOf([...entries]))
  const bytes = encoder.encode(text)
  if (bytes.length < leastBytes || bytes.length > mostBytes) return Effect.succeed(plain(codec, placement, true))
  const inMetadata = moved.length === 0 ? 0 : codec.metadataBytes(moved)
  const inBody = moved.length === 0 ? bytes.length : utf8Length(textOf(Behavior.bodyOf(body.filter(isOpen))))
  return Effect.mapEager(engine.deflate(bytes), (compressed) => {
    if (compressed.length > worth * (inMetadata + inBody)) return plain(codec, placement, true)
    const gone = new Set(moved)
    const kept = gone.size === 0 ? metadata : metadata.filter((entry) => !gone.has(entry))
    const open = body.filter((entry) => !entries.has(entry))
    return {
      fields: {
        metadata: codec.metadata(kept),
        ...Behavior.bodyOf(open),
        compressed: { size: bytes.length, bytes: compressed }
      },
      metadata: kept,
      body: [...moved, ...body],
      compressed: { entries, bytes: compressed.length }
    }
  })
}

/** The members of fields, if they are some. */
const spilledOf = (members: unknown): Spilled | undefined => {
  if (!isRecord(members)) return undefined
  const { e = {}, f = {}, ...others } = members
  if (!isRecord(f) || !isRecord(e) || Object.keys(others).length > 0) return undefined
  if (!Object.values(e).every((text) => typeof text === "string")) return undefined
  return { spilled: f as JsonObject, spilledText: e as Readonly<Record<string, string>> }
}

/** The same names in two places. */
const overlap = (some: object | undefined, others: object | undefined): boolean =>
  some !== undefined && others !== undefined && Object.keys(some).some((name) => Object.hasOwn(others, name))

const merged = <A>(
  some: Readonly<Record<string, A>> | undefined,
  others: Readonly<Record<string, A>> | undefined
): Readonly<Record<string, A>> | undefined => {
  const all = { ...some, ...others }
  return Object.keys(all).length === 0 ? undefined : all
}

const damaged = "its compressed fields cannot be brought back"

const read = (fields: StoredFields, tag: string, bytes: Uint8Array): StoredFields | undefined => {
  let members: unknown
  try {
    members = JSON.parse(decoder.decode(bytes))
  } catch {
    return undefined
  }
  // A small object can hold millions of levels, on which whatever recurses would break.
  if (isDeeperThan(members, documentLevels)) return undefined
  const more = spilledOf(members)
  if (more === undefined) return undefined
  const { metadata, spilled, spilledText } = fields
  // Only text names its entries by their attributes: packed they are one, whose name an attribute may have, too.
  const places = [tag === Encoding.text.tag ? metadata : undefined, spilled, spilledText]
  if (places.some((place) => overlap(place, more.spilled) || overlap(place, more.spilledText))) return undefined
  return {
    metadata,
    spilled: merged(spilled, more.spilled),
    spilledText: merged(spilledText, more.spilledText)
  }
}

/**
 * Returns stored fields with those that are compressed brought back, or says why they cannot be. At most `mostBytes` are held.
 *
 * @category encoding
 * @since 0.1.0
 */
export const expand = ({
  fields,
  tag
}: Pick<Document.Write, "fields" | "tag">): Effect.Effect<StoredFields, string> => {
  const { compressed } = fields
  if (compressed === undefined) return Effect.succeed(fields)
  if (compressed.size > mostBytes) {
    return Effect.fail(`its compressed fields say that they are ${compressed.size} bytes long, and may be ${mostBytes}`)
  }
  const inflated = Effect.mapErrorEager(engine.inflate(compressed.bytes, compressed.size), () => damaged)
  return Effect.flatMapEager(inflated, (bytes): Effect.Effect<StoredFields, string> => {
    const plain = read(fields, tag, bytes)
    return plain === undefined ? Effect.fail(damaged) : Effect.succeed(plain)
  })
}

/**
 * Returns a version with its fields brought back, for who shows them as JSON: as they are where they cannot be.
 *
 * @category encoding
 * @since 0.1.0
 */
export const inClear = <W extends Document.Write | undefined>(write: W): Effect.Effect<W> =>
  write?.fields.compressed === undefined
    ? Effect.succeed(write)
    : Effect.match(expand(write), {
        onFailure: () => write,
        onSuccess: (fields) => ({ ...write, fields })
      })
