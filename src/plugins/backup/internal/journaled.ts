/**
 * What the journal of a database tells of it since a backup: which documents may be another by now. What they own beside their object, markers,
 * keys of companions and reservations, is found by what the copy of each and the document that is there say.
 *
 * `docs/design/backups.md` has why that is the same as what a listing finds, and what it leaves out.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Catalog from "../../../Catalog.ts"
import * as Companion from "../../../Companion.ts"
import * as Document from "../../../Document.ts"
import { isObject } from "../../../internal/json.ts"
import { sha256 } from "../../../internal/sha256.ts"
import { compareUtf8, percentEncode } from "../../../internal/text.ts"
import * as entries from "../../../kernel/internal/journalEntry.ts"
import type * as Journal from "../../../kernel/Journal.ts"
import * as Partition from "../../../Partition.ts"
import { getOption, headOption, type ObjectStore, type StoredObject } from "../../../storage/ObjectStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import * as Unique from "../../../Unique.ts"
import * as Collecting from "./collecting.ts"
import * as format from "./format.ts"
import * as Target from "./target.ts"
import * as Vault from "./vault.ts"

/** More documents than that are found by a listing: each of them is a request here, and one of 1,000 there. */
const mostDocuments = 10_000

/** So many records are read for them, those of other resources and older versions included. */
const mostRecords = 4 * mostDocuments

/** Where objects that have changed have more bytes a listing tells of them: they are kept until they are packed. */
const mostBytes = 64 * 1024 * 1024

/** So much longer than by its lease the catalog has to be what it is: the clocks of program and store differ. */
const slackMillis = 15 * 60_000

const defaultLeaseMillis = 5000

/** What has been left of a deletion has so many bytes. */
const tombstoneBytes = 16

/** A document, by its resource and id. */
type Name = readonly [resource: string, id: string]

/** Documents by their keys. */
type Names = Map<string, Name>

/** What one look at the journal has found. */
export interface Look {
  /** For the next look. `undefined`: the journal is not to be gone by. */
  readonly standing: format.Standing | undefined
  /** What may be another than it was at the look before, and of which resources that tells all. `undefined`: a listing has to tell. */
  readonly changed: { readonly documents: Names; readonly resources: ReadonlyArray<string> } | undefined
}

const nothing: Look = { standing: undefined, changed: undefined }

const decodeCatalog = Schema.decodeUnknownOption(Schema.fromJsonString(Catalog.Catalog))
const parsed = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Json))
const encoder = new TextEncoder()

const digestOf = (value: unknown): string => Hex.encode(sha256(encoder.encode(JSON.stringify(value))))

/** The resources with a journal, a digest of what the catalog says of each, and whether all writers know of it. */
const journaledIn = Effect.fnUntraced(function* ({ body, lastModified }: StoredObject) {
  const { lease = defaultLeaseMillis, resources } = resourcesIn(body)
  return { resources, isOld: (yield* Clock.currentTimeMillis) - lastModified > lease + slackMillis }
})

/** Whether the catalog of a backup has a resource with a journal. */
export const hasJournal = ({ catalog }: Target.Catalog): boolean =>
  catalog !== undefined && Object.keys(resourcesIn(catalog.body).resources).length > 0

const resourcesIn = (body: Uint8Array) => {
  const text = new TextDecoder().decode(body)
  const catalog = Option.getOrUndefined(decodeCatalog(text))
  const raw = Option.getOrUndefined(parsed(text))
  const all: Record<string, string> = {}
  if (catalog === undefined || !isObject(raw) || !isObject(raw["resources"])) return { resources: all }
  for (const [name, resource] of Object.entries(raw["resources"])) {
    const upkeep = Catalog.upkeepOf(catalog, name)
    if (upkeep?.settings?.journal === undefined || upkeep.beyond !== undefined) continue
    all[name] = digestOf([raw["salt"], resource])
  }
  return { resources: all, lease: catalog.lease }
}

/** Adds documents, and tells whether there are not too many. */
const gathering = (resources: Readonly<Record<string, string>>) => {
  const names: Names = new Map()
  return {
    names,
    add: (resource: string, id: string): boolean => {
      if (Object.hasOwn(resources, resource)) {
        const key = Document.key(resource, id)
        if (Result.isSuccess(key)) names.set(key.success, [resource, id])
      }
      return names.size <= mostDocuments
    }
  }
}

/** Whose write an entry announces. `undefined`: it is settled by now. */
const documentOf = Effect.fnUntraced(function* (
  source: ObjectStore["Service"],
  { document, key }: Journal.Pending
): Effect.fn.Return<Name | undefined, StoreError.StoreError> {
  if (document !== undefined) return [document.resource, document.id]
  const found = yield* getOption(source, key)
  if (Option.isNone(found)) return undefined
  const { id, resource } = yield* entries.readBody(key, found.value.body)
  return resource === undefined || id === undefined ? undefined : [resource, id]
})

/** Which restorations there have been that the journal tells nothing of. `undefined`: one is under way. 1 HEAD, 1 GET. */
const restorationsOf = Effect.fnUntraced(function* (source: ObjectStore["Service"]) {
  if (Option.isSome(yield* headOption(source, Target.stateKey))) return undefined
  const found = yield* getOption(source, Target.restoredKey)
  return Option.isNone(found) ? "" : digestOf(new TextDecoder().decode(found.value.body))
})

/** The records between a standing and now, if they are those of the same journal. */
const recordsSince = Effect.fnUntraced(function* (
  journal: Journal.Journal,
  { last, position }: format.Standing,
  next: number,
  add: (resource: string, id: string) => boolean
) {
  if (next < position || next - position > mostRecords) return undefined
  let write = last
  let isSame = true
  yield* journal.read({ from: Math.max(0, position - 1), to: next }).pipe(
    Stream.takeWhile(({ position: at, value: { id, resource, writeId } }) => {
      if (at < position) isSame = writeId === last
      else {
        write = writeId
        isSame = add(resource, id) && isSame
      }
      return isSame
    }),
    Stream.runDrain
  )
  return isSame ? { last: write } : undefined
})

const lastRecord = (journal: Journal.Journal, next: number) =>
  next === 0
    ? Effect.undefined
    : Effect.map(Stream.runHead(journal.read({ from: next - 1, to: next })), (found) =>
        Option.getOrUndefined(Option.map(found, ({ value }) => value.writeId))
      )

const lookAt = Effect.fnUntraced(function* (
  source: ObjectStore["Service"],
  journal: Journal.Journal,
  from: format.Standing | undefined
) {
  const catalog = yield* getOption(source, format.catalogKey)
  if (Option.isNone(catalog)) return nothing
  const { isOld, resources: now } = yield* journaledIn(catalog.value)
  if (Object.keys(now).length === 0) return nothing
  const restored = yield* restorationsOf(source)
  if (restored === undefined) return nothing
  const known = Object.entries(now).filter(([name, digest]) => from?.resources[name] === digest)
  const told = Object.fromEntries(from?.restored === restored ? known : [])
  const resources = isOld ? now : told
  if (Object.keys(resources).length === 0) return nothing

  // The entries first, then the log: what is gone from the former by then is in the latter.
  const waiting = yield* Stream.runCollect(Stream.take(journal.pending, mostDocuments + 1))
  if (waiting.length > mostDocuments) return nothing
  const pending = yield* Effect.forEach(waiting, (one) => documentOf(source, one), { concurrency: 8 })
  const next = yield* journal.position
  const open = gathering(resources)
  const changed = gathering(told)
  for (const name of pending) {
    if (name === undefined) continue
    open.add(...name)
    changed.add(...name)
  }
  for (const name of from?.open ?? []) changed.add(...name)
  const since =
    from === undefined || Object.keys(told).length === 0
      ? undefined
      : yield* recordsSince(journal, from, next, changed.add)
  const last = since === undefined ? yield* lastRecord(journal, next) : since.last
  const standing: format.Standing = {
    position: next,
    ...(last === undefined ? {} : { last }),
    open: [...open.names.values()],
    resources,
    restored,
    runs: 0
  }
  const isTold = since !== undefined && changed.names.size <= mostDocuments
  return { standing, changed: isTold ? { documents: changed.names, resources: Object.keys(told) } : undefined }
})

/**
 * Looks at the journal: what was announced and is not settled, and what has come since an earlier look. What cannot be read of it makes a
 * listing tell.
 *
 * 1 GET of the catalog; where it has resources with a journal 1 HEAD, 1 LIST for each 1,000 entries that wait, and 2 GET, with 1 for each 4,000
 * records.
 */
export const look = (
  source: ObjectStore["Service"],
  journal: Journal.Journal,
  from: format.Standing | undefined
): Effect.Effect<Look, StoreError.StoreError> =>
  lookAt(source, journal, from).pipe(
    Effect.catchTag("Trimmed", () => (from === undefined ? Effect.succeed(nothing) : look(source, journal, undefined))),
    Effect.catchReasons("StoreError", {
      Corrupt: ({ description }) =>
        Effect.as(Effect.logWarning(`the journal is not gone by, but a listing: ${description}`), nothing),
      Unsupported: () => Effect.succeed(nothing)
    })
  )

/** The resources that a look tells of, in whatever order. */
const toldIn = (name: string): ReadonlyArray<string> =>
  ["companion=", "data/", "partition=", "unique="].map((part) => `resource=${percentEncode(name)}/${part}`)

interface Owned {
  readonly markers: ReadonlyArray<string>
  readonly reservations: ReadonlyArray<string>
  readonly isTombstone: boolean
}

const none: Owned = { markers: [], reservations: [], isTombstone: false }

/** What a document owns beside its object, with what a transaction has announced. `undefined`: it cannot be read. */
const ownedBy = ([resource, id]: Name, object: Parameters<typeof Document.fromObject>[0]): Owned | undefined => {
  const slot = Document.fromObject(object)
  if (Result.isFailure(slot)) return undefined
  const { deletion, etag, intent, stored } = slot.success
  const next = intent === undefined ? undefined : Document.fromIntent(object.key, etag, intent)
  if (next !== undefined && Result.isFailure(next)) return undefined
  const versions = [stored, next?.success].filter((one) => one !== undefined)
  return {
    markers: versions.flatMap(({ companions, markers }) => [
      ...Object.entries(markers).map(([label, marker]) => Partition.keyOf(resource, label, id, marker)),
      ...Object.entries(companions).flatMap(([label, keys]) =>
        keys.map((key) => Companion.keyOf(resource, label, id, key))
      )
    ]),
    reservations: versions.flatMap(({ claims }) =>
      Object.entries(claims).map(([label, { digest }]) => Unique.keyOf(resource, label, digest))
    ),
    isTombstone: deletion !== undefined
  }
}

/**
 * What is to be known of documents that may have changed, and of what they own and owned. 1 GET for each, for each new marker, and for each
 * reservation; in the vault 1 for each index and pack that they are in. `undefined`: one cannot be read, or there is too much of them, and a
 * listing has to tell.
 */
export const told = Effect.fnUntraced(function* (
  vault: Vault.Vault,
  source: ObjectStore["Service"],
  { documents, resources }: NonNullable<Look["changed"]>,
  {
    concurrency,
    covers,
    isConsistent,
    parts,
    readIndex
  }: {
    readonly concurrency: number
    /** Whether what each copy owns was copied with it. Those of a listing beside writers may be older or younger. */
    readonly isConsistent: boolean
    readonly covers: (key: string) => boolean
    readonly parts: ReadonlyArray<format.Part>
    readonly readIndex: Collecting.IndexReader
  }
) {
  const packs = Vault.packReader(vault)
  const { find } = Collecting.copiesIn(parts, readIndex)
  const touched = new Map<string, Collecting.Touched>()
  const tombstones: Array<Name> = []
  const fresh = new Set<string>()
  const kept: Array<string> = []
  let bytes = 0

  const seen = (key: string, found: Option.Option<StoredObject>) => {
    const now = Option.getOrUndefined(found)
    bytes += now?.body.length ?? 0
    touched.set(key, { key, now })
  }

  const copied = Effect.fnUntraced(function* (name: Name, row: format.Row | undefined) {
    if (row === undefined) return none
    const { body, metadata } = yield* Effect.mapError(
      format.recordAt(yield* packs(row.pack), row),
      Vault.wrongPack(row.pack)
    )
    return ownedBy(name, { key: row.key, etag: row.etag, size: row.size, body, metadata })
  })

  const one = Effect.fnUntraced(function* (key: string, name: Name, row: format.Row | undefined) {
    const found = yield* getOption(source, key)
    const before = yield* copied(name, row)
    const after = Option.isNone(found) ? none : ownedBy(name, found.value)
    if (before === undefined || after === undefined) return false
    seen(key, found)
    if (bytes > mostBytes) return false
    if (after.isTombstone) tombstones.push(name)
    const [had, has] = [new Set(before.markers), new Set(after.markers)]
    // A marker never changes: its key has the write that made it.
    for (const marker of had) if (!has.has(marker)) touched.set(marker, { key: marker, now: undefined })
    for (const marker of has) {
      if (!had.has(marker)) fresh.add(marker)
      else if (!isConsistent) kept.push(marker)
    }
    for (const reservation of [...before.reservations, ...after.reservations]) fresh.add(reservation)
    return true
  })

  const names = [...documents].filter(([key]) => covers(key)).toSorted(([a], [b]) => compareUtf8(a, b))
  const isReadable = yield* Stream.fromIterable(names).pipe(
    Stream.mapEffect(([key, name]) => Effect.map(find(key), (row) => [key, name, row] as const)),
    Stream.mapEffect(([key, name, row]) => one(key, name, row), { concurrency }),
    Stream.takeUntil((isOne) => !isOne),
    Stream.runFold(
      () => true,
      (all, isOne) => all && isOne
    )
  )
  if (!isReadable) return undefined
  const copies = Collecting.copiesIn(parts, readIndex)
  for (const marker of kept.toSorted(compareUtf8)) {
    if ((yield* copies.find(marker)) === undefined) fresh.add(marker)
  }
  yield* Effect.forEach(fresh, (key) => Effect.map(getOption(source, key), (found) => seen(key, found)), {
    concurrency,
    discard: true
  })
  return {
    tombstones,
    prefixes: resources
      .flatMap(toldIn)
      .filter((prefix) => covers(prefix))
      .toSorted(compareUtf8),
    touched: [...touched.values()].toSorted((a, b) => compareUtf8(a.key, b.key))
  }
})

/** Notes down, of what a listing tells, where a deletion has left something. */
export const tombstonesIn = (resources: ReadonlyArray<string>) => {
  const readers = resources.map((resource) => [resource, Document.idReader(resource)] as const)
  const found: Array<Name> = []
  return {
    found,
    onListed: ({ key, size }: { readonly key: string; readonly size?: number | undefined }) => {
      if (size !== tombstoneBytes || found.length > mostDocuments) return
      for (const [resource, idOf] of readers) {
        const id = idOf(key)
        if (id !== undefined) found.push([resource, id])
      }
    }
  }
}

/** A standing with what else is to be looked at by the next one; none where that is too much. */
export const withOpen = (standing: format.Standing, more: ReadonlyArray<Name>): format.Standing | undefined => {
  const all = new Map([...standing.open, ...more].map((name) => [JSON.stringify(name), name]))
  return all.size > mostDocuments ? undefined : { ...standing, open: [...all.values()] }
}
