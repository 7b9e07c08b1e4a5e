/**
 * What lies in a vault of backups, and how it is named.
 *
 * | key | object |
 * |---|---|
 * | `vault` | the form of the vault, and the salt of its keys: JSON in the open |
 * | `packs/NAME` | objects, one after the other |
 * | `indexes/NAME` | a run of keys, and where in which pack the object of each is |
 * | `snapshots/ID` | the manifest of a backup, written last: before it the backup is not there |
 * | `unfinished/ID` | how far a backup has come that is under way, or was |
 *
 * `NAME` is the SHA-256 of the object's bytes as they are stored, so that whoever has no key can tell that nothing was altered. Packs,
 * indexes and manifests are blobs (`kernel/BlobCodec`), compressed and, if one wants, sealed.
 *
 * A pack holds records: 4 bytes, the length of what follows as JSON (`Head`), that, and the body of the object.
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Schema from "effect/Schema"
import { joinBytes } from "../../../internal/bytes.ts"
import { percentEncode } from "../../../internal/text.ts"
import { sha256 } from "../../../internal/sha256.ts"
import type { Metadata, StoredObject } from "../../../storage/ObjectStore.ts"
import * as StoreError from "../../../storage/StoreError.ts"

/** The form that this release writes, and the latest that it reads. */
export const version = 1

export const vaultKey = "vault"
export const packKey = (name: string): string => `packs/${name}`
export const indexKey = (name: string): string => `indexes/${name}`
export const snapshotKey = (id: string): string => `snapshots/${id}`
export const unfinishedKey = (id: string): string => `unfinished/${id}`

/** What blobs of a vault are sealed for. */
export const scope = "backup"

export const Vault = Schema.Struct({ format: Schema.Int, salt: Schema.String, sealed: Schema.Boolean })

// -----------------------------------------------------------------------------
// Names and ids
// -----------------------------------------------------------------------------

export const nameOf = (body: Uint8Array): string => Hex.encode(sha256(body))

const namePattern = /^[0-9a-f]{64}$/
const Name = Schema.String.pipe(Schema.check(Schema.isPattern(namePattern)))

/** A time that sorts as text, and some letters that no other backup of that moment has. */
export const idPattern = /^\d{8}T\d{9}Z-[0-9a-z]{8}$/

export const idOf = (millis: number, random: string): string =>
  `${new Date(millis).toISOString().replace(/[-:.]/g, "")}-${random}`

// -----------------------------------------------------------------------------
// Indexes
// -----------------------------------------------------------------------------

/** An object that was there: its key, what a listing tells of it, and where its record is. */
export interface Row {
  readonly key: string
  readonly etag: string
  readonly size: number
  readonly lastModified: number
  readonly pack: string
  readonly offset: number
  readonly length: number
}

/** A row as it is written: `p` counts the packs of its part. */
export const IndexRow = Schema.Struct({
  k: Schema.String,
  e: Schema.String,
  s: Schema.Int,
  m: Schema.Number,
  p: Schema.Int,
  o: Schema.Int,
  l: Schema.Int
})

/** A run of keys, from its first to its last one. */
export const Part = Schema.Struct({
  name: Name,
  /** The digest of what it says, whatever it is compressed or sealed by. */
  digest: Name,
  first: Schema.String,
  last: Schema.String,
  objects: Schema.Int,
  bytes: Schema.Number,
  packs: Schema.Array(Name)
})

export type Part = typeof Part.Type

const encoder = new TextEncoder()

export const digestOf = (rows: ReadonlyArray<Row>): string =>
  Hex.encode(
    sha256(
      encoder.encode(
        JSON.stringify(
          rows.map(({ etag, key, lastModified, length, offset, pack, size }) => [
            key,
            etag,
            size,
            lastModified,
            pack,
            offset,
            length
          ])
        )
      )
    )
  )

const mostRows = 8192

/**
 * Whether a part ends after this key. It follows from the key, so that a key that comes or goes changes its own part alone and the others
 * are written once for many backups. FNV-1a (Fowler, Noll, Vo), 32 bits; one of 1,024 ends a part.
 */
export const endsPart = (key: string, rows: number): boolean => {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  return rows >= mostRows || (((hash >>> 16) ^ hash) & 1023) === 0
}

// -----------------------------------------------------------------------------
// Manifests
// -----------------------------------------------------------------------------

export const Selection = Schema.Struct({
  /** Absent: all. */
  resources: Schema.optionalKey(Schema.Array(Schema.String)),
  exclude: Schema.Array(Schema.String),
  plugins: Schema.Boolean
})

export type Selection = typeof Selection.Type

/** How far the journal of the database had come, for a later backup to read what has changed since. */
export const Standing = Schema.Struct({
  /** Of the next record. */
  position: Schema.Int,
  /** The write id of the record before, by which the journal is known to be the same one. */
  last: Schema.optionalKey(Schema.String),
  /** Documents that may be another then without a record since: their writes were not settled, or what is left of them may go. */
  open: Schema.Array(Schema.Tuple([Schema.String, Schema.String])),
  /** The resources that have had a journal for long enough, and a digest of what the catalog says of each. */
  resources: Schema.Record(Schema.String, Schema.String),
  /** Tells restorations into the database from each other. */
  restored: Schema.String,
  /** How many backups in a row were made by the journal. */
  runs: Schema.Int
})

export type Standing = typeof Standing.Type

/** Whether the journal is in it, with all that it tells of. */
export const isWhole = ({ exclude, resources }: Selection): boolean => resources === undefined && exclude.length === 0

export const Manifest = Schema.Struct({
  format: Schema.Int,
  id: Schema.String,
  source: Schema.String,
  startedAt: Schema.Number,
  finishedAt: Schema.Number,
  parent: Schema.optionalKey(Schema.String),
  isInstant: Schema.Boolean,
  /** Whether every version is in it that was replaced before the copy of its document was made. Absent in those of earlier releases. */
  hasVersions: Schema.optionalKey(Schema.Boolean),
  /** Absent where no journal tells, and in those of earlier releases. */
  journal: Schema.optionalKey(Standing),
  passes: Schema.Int,
  selection: Selection,
  objects: Schema.Int,
  bytes: Schema.Number,
  read: Schema.Int,
  removed: Schema.Int,
  parts: Schema.Array(Part)
})

export type Manifest = typeof Manifest.Type

/** What stands for a source where a backup is read, and none is taken. */
export const readerOf = (id: string): string => `a restoration of ${id}`

export const Unfinished = Schema.Struct({
  format: Schema.Int,
  id: Schema.String,
  /** Where a backup is from. A restoration that reads one says `readerOf`: no release goes on with it as with a backup that was begun. */
  source: Schema.String,
  selection: Selection,
  /** The backup whose parts are taken over. */
  parent: Schema.optionalKey(Schema.String),
  parts: Schema.Array(Part)
})

export type Unfinished = typeof Unfinished.Type

// -----------------------------------------------------------------------------
// Records
// -----------------------------------------------------------------------------

const Head = Schema.Struct({
  key: Schema.String,
  metadata: Schema.Record(Schema.String, Schema.String),
  contentType: Schema.String,
  contentEncoding: Schema.optionalKey(Schema.String)
})

const headBytes = 4
const decodeHead = Schema.decodeUnknownEffect(Schema.fromJsonString(Head))

/** An object as it is put back. */
export interface Restored {
  readonly key: string
  readonly body: Uint8Array
  readonly metadata: Metadata
  readonly contentType: string
  readonly contentEncoding: string | undefined
}

export const recordOf = ({ body, contentEncoding, contentType, key, metadata }: StoredObject): Uint8Array => {
  const head = encoder.encode(
    JSON.stringify({ key, metadata, contentType, ...(contentEncoding === undefined ? {} : { contentEncoding }) })
  )
  const length = new Uint8Array(headBytes)
  new DataView(length.buffer).setUint32(0, head.length)
  return joinBytes([length, head, body])
}

const decoder = new TextDecoder("utf-8", { fatal: true })

/** The object of a row in its pack. Fails with `Corrupt` where there is none, or another. */
export const recordAt = Effect.fnUntraced(function* (
  pack: Uint8Array,
  { key, length, offset, size }: Row
): Effect.fn.Return<Restored, StoreError.Corrupt> {
  const corrupt = new StoreError.Corrupt({
    description: `the pack does not hold the object ${JSON.stringify(key)} where the index says`
  })
  const isWithin = offset >= 0 && length >= headBytes && offset + length <= pack.length
  if (!isWithin) return yield* corrupt
  const record = pack.subarray(offset, offset + length)
  const end = headBytes + new DataView(record.buffer, record.byteOffset).getUint32(0)
  if (end > length || length - end !== size) return yield* corrupt
  const text = yield* Effect.try({ try: () => decoder.decode(record.subarray(headBytes, end)), catch: () => corrupt })
  const head = yield* Effect.mapError(decodeHead(text), () => corrupt)
  if (head.key !== key) return yield* corrupt
  return {
    key,
    body: record.subarray(end),
    metadata: head.metadata,
    contentType: head.contentType,
    contentEncoding: head.contentEncoding
  }
})

// -----------------------------------------------------------------------------
// What belongs to a database
// -----------------------------------------------------------------------------

export const catalogKey = "s3db.json"
export const catalogCopyKey = "s3db.json.backup"

/** A key that documents of a resource could have. */
export const resourceKey = (name: string): string => `resource=${percentEncode(name)}/data/`

const decoded = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

/** Whether an object is a part of what is selected. What is no part of a database is not. */
export const covers = ({ exclude, plugins, resources }: Selection): ((key: string) => boolean) => {
  const [wanted, left] = [resources === undefined ? undefined : new Set(resources), new Set(exclude)]
  return (key) => {
    if (key.startsWith("resource=")) {
      const [segment = "", next = ""] = key.slice("resource=".length).split("/", 2)
      const name = decoded(segment)
      if (next.startsWith("plugin=") && !plugins) return false
      return name !== undefined && !left.has(name) && (wanted === undefined || wanted.has(name))
    }
    if (key === catalogKey || key === catalogCopyKey) return true
    if (key.startsWith("plugin=")) return plugins
    return wanted === undefined && (key.startsWith("journal/") || key.startsWith("transaction="))
  }
}
