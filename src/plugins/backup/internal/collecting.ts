/**
 * One pass over a database: what has changed since copies were made is read and packed, the rest is taken over from indexes that are there.
 *
 * A copy is good for a key as long as a listing tells the ETag, the size and the time that the copy has. So it does not matter whose copies
 * are offered: those of the backup before, of a run that was killed, or of the pass before.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as History from "../../../History.ts"
import { joinBytes } from "../../../internal/bytes.ts"
import { compareUtf8 } from "../../../internal/text.ts"
import {
  getOption,
  listAll,
  type ListEntry,
  type ObjectStore,
  type StoredObject
} from "../../../storage/ObjectStore.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import * as format from "./format.ts"
import * as Target from "./target.ts"
import * as Vault from "./vault.ts"

/** So many rows wait for their pack: what changed little has many rows for one. */
const mostWaiting = 20_000

// -----------------------------------------------------------------------------
// Copies that are there
// -----------------------------------------------------------------------------

/** Parts of indexes, asked for keys that only grow. */
interface Copies {
  readonly find: (key: string) => Effect.Effect<format.Row | undefined, StoreError.StoreError>
  readonly objects: number
}

const copiesIn = (vault: Vault.Vault, parts: ReadonlyArray<format.Part>): Copies => {
  let at = 0
  let loaded: { readonly part: number; readonly rows: ReadonlyArray<format.Row>; row: number } | undefined
  return {
    objects: parts.reduce((sum, { objects }) => sum + objects, 0),
    find: Effect.fnUntraced(function* (key) {
      while (at < parts.length && compareUtf8(parts[at]!.last, key) < 0) at += 1
      const part = parts[at]
      if (part === undefined || compareUtf8(part.first, key) > 0) return undefined
      if (loaded?.part !== at) loaded = { part: at, rows: yield* Vault.readIndex(vault, part), row: 0 }
      const { rows } = loaded
      while (loaded.row < rows.length && compareUtf8(rows[loaded.row]!.key, key) < 0) loaded.row += 1
      const row = rows[loaded.row]
      return row?.key === key ? row : undefined
    })
  }
}

/** The time of an object as the listing tells it, which later ones are compared with: that of a GET has whole seconds. */
const asListed =
  ({ etag, lastModified }: ListEntry) =>
  (object: StoredObject): StoredObject =>
    object.etag === etag && lastModified !== undefined ? { ...object, lastModified } : object

const isCopyOf = (row: format.Row, { etag, lastModified, size }: ListEntry): boolean =>
  etag !== undefined && row.etag === etag && row.size === size && row.lastModified === lastModified

// -----------------------------------------------------------------------------
// Packs and parts as they are made
// -----------------------------------------------------------------------------

/** A pack that is being filled; it has a name when it is written. */
interface Filling {
  name: string | undefined
  readonly records: Array<Uint8Array>
  bytes: number
}

type Waiting = Omit<format.Row, "pack"> & { readonly pack: string | Filling }

interface Builder<E> {
  readonly keep: (row: format.Row) => Effect.Effect<void, StoreError.StoreError | E>
  readonly add: (
    row: Omit<format.Row, "pack" | "offset" | "length">,
    record: Uint8Array
  ) => Effect.Effect<void, StoreError.StoreError | E>
  readonly end: Effect.Effect<ReadonlyArray<format.Part>, StoreError.StoreError | E>
}

const builder = <E>(
  vault: Vault.Vault,
  known: ReadonlyMap<string, format.Part>,
  onParts: (parts: ReadonlyArray<format.Part>) => Effect.Effect<void, E>
): Builder<E> => {
  const parts: Array<format.Part> = []
  let closed: Array<ReadonlyArray<Waiting>> = []
  let rows: Array<Waiting> = []
  let waiting = 0
  let pack: Filling = { name: undefined, records: [], bytes: 0 }

  const partOf = Effect.fnUntraced(function* (some: ReadonlyArray<Waiting>) {
    const named = some.map((row): format.Row => ({
      ...row,
      pack: typeof row.pack === "string" ? row.pack : row.pack.name!
    }))
    const digest = format.digestOf(named)
    const there = known.get(digest)
    if (there !== undefined) return there
    const packs = [...new Set(named.map((row) => row.pack))]
    const { name } = yield* Vault.writeIndex(vault, named, packs)
    return {
      name,
      digest,
      first: named[0]!.key,
      last: named.at(-1)!.key,
      objects: named.length,
      bytes: named.reduce((sum, { size }) => sum + size, 0),
      packs
    }
  })

  const flush = Effect.fnUntraced(function* () {
    if (pack.records.length > 0) {
      pack.name = (yield* Vault.writePack(vault, joinBytes(pack.records))).name
      pack.records.length = 0
      pack = { name: undefined, records: [], bytes: 0 }
    }
    const before = parts.length
    for (const some of closed) parts.push(yield* partOf(some))
    closed = []
    waiting = rows.length
    if (parts.length > before) yield* onParts(parts)
  })

  const push = Effect.fnUntraced(function* (row: Waiting) {
    rows.push(row)
    waiting += 1
    if (format.endsPart(row.key, rows.length)) {
      closed.push(rows)
      rows = []
    }
    if (pack.bytes >= Vault.packBytes || waiting >= mostWaiting) yield* flush()
  })

  return {
    keep: push,
    add: (row, record) => {
      const offset = pack.bytes
      pack.records.push(record)
      pack.bytes += record.length
      return push({ ...row, pack, offset, length: record.length })
    },
    end: Effect.suspend(() => {
      if (rows.length > 0) closed.push(rows)
      rows = []
      return Effect.as(flush(), parts)
    })
  }
}

// -----------------------------------------------------------------------------
// A pass
// -----------------------------------------------------------------------------

export interface Pass {
  readonly parts: ReadonlyArray<format.Part>
  /** How many objects were read. */
  readonly read: number
  /** How many keys of the first copies are there no more. */
  readonly removed: number
  /** How many keys were not as the copies have them. */
  readonly changes: number
}

export interface Progress {
  readonly objects: number
  readonly bytes: number
  readonly read: number
}

export const pass = Effect.fnUntraced(function* <E>(
  vault: Vault.Vault,
  source: ObjectStore["Service"],
  {
    concurrency,
    covers,
    onParts,
    onProgress,
    parents
  }: {
    readonly concurrency: number
    readonly covers: (key: string) => boolean
    /** Those that copies are taken from; the first counts for what has gone. */
    readonly parents: ReadonlyArray<ReadonlyArray<format.Part>>
    readonly onParts: (parts: ReadonlyArray<format.Part>) => Effect.Effect<void, E>
    readonly onProgress: (progress: Progress) => Effect.Effect<void>
  }
): Effect.fn.Return<Pass, StoreError.StoreError | E> {
  const known = new Map(parents.flat().map((part) => [part.digest, part]))
  const copies = parents.map((parts) => copiesIn(vault, parts))
  const build = builder(vault, known, onParts)
  let met = 0
  let others = 0

  const lookedUp = Effect.fnUntraced(function* (entry: ListEntry) {
    let copy: format.Row | undefined
    for (const [at, { find }] of copies.entries()) {
      const row = yield* find(entry.key)
      if (row === undefined) continue
      if (at === 0) met += 1
      if (copy === undefined && isCopyOf(row, entry)) copy = row
    }
    if (copy === undefined) others += 1
    return copy ?? entry
  })

  const items = listAll(source, { prefix: "" }).pipe(
    Stream.filter(({ key }) => covers(key)),
    Stream.mapEffect(lookedUp)
  )
  const { parts, read } = yield* collected(source, build, items, { concurrency, onProgress })
  const removed = (copies[0]?.objects ?? 0) - met
  return { parts, read, removed, changes: others + removed }
})

const isRow = (item: format.Row | ListEntry): item is format.Row => "pack" in item

/** Reads what has no copy, and puts everything together, in the order of the keys. */
const collected = Effect.fnUntraced(function* <E>(
  source: ObjectStore["Service"],
  build: Builder<E>,
  items: Stream.Stream<format.Row | ListEntry, StoreError.StoreError>,
  {
    concurrency,
    onProgress
  }: { readonly concurrency: number; readonly onProgress: (progress: Progress) => Effect.Effect<void> }
) {
  const done = { objects: 0, bytes: 0, read: 0 }
  const fetched = (
    item: format.Row | ListEntry
  ): Effect.Effect<Option.Option<StoredObject> | format.Row, StoreError.StoreError> =>
    isRow(item) ? Effect.succeed(item) : Effect.map(getOption(source, item.key), Option.map(asListed(item)))
  yield* items.pipe(
    Stream.mapEffect(fetched, { concurrency }),
    Stream.runForEach(
      Effect.fnUntraced(function* (found) {
        if (Option.isOption(found)) {
          // What was removed since it was listed is no part of it.
          if (Option.isNone(found)) return
          const { body, etag, key, lastModified } = found.value
          yield* build.add({ key, etag, size: body.length, lastModified }, format.recordOf(found.value))
          done.read += 1
          done.bytes += body.length
        } else {
          yield* build.keep(found)
          done.bytes += found.size
        }
        done.objects += 1
        if (done.objects % 1000 === 0) yield* onProgress({ ...done })
      })
    )
  )
  const parts = yield* build.end
  yield* onProgress({ ...done })
  return { parts, read: done.read }
})

// -----------------------------------------------------------------------------
// Versions that were replaced meanwhile
// -----------------------------------------------------------------------------

/**
 * Adds the earlier versions that have come since the copies were made, and changes nothing else: of a document that was copied as it was written
 * meanwhile, the version before is put down before it is replaced, and so is found by a listing that begins after the copy. 1 LIST for each
 * 1,000 versions; what is new is kept in memory, by its key.
 */
export const versions = Effect.fnUntraced(function* (
  vault: Vault.Vault,
  source: ObjectStore["Service"],
  {
    concurrency,
    covers,
    onProgress,
    parts
  }: {
    readonly concurrency: number
    readonly covers: (key: string) => boolean
    readonly parts: ReadonlyArray<format.Part>
    readonly onProgress: (progress: Progress) => Effect.Effect<void>
  }
): Effect.fn.Return<Pick<Pass, "parts" | "read">, StoreError.StoreError> {
  const names = yield* Target.resourcesOf(source)
  const prefixes = names
    .map((name) => History.prefix(name))
    .filter(covers)
    .toSorted(compareUtf8)
  const { find } = copiesIn(vault, parts)
  const fresh: Array<ListEntry> = []
  yield* Stream.fromIterable(prefixes).pipe(
    Stream.flatMap((prefix) => listAll(source, { prefix })),
    Stream.runForEach((entry) =>
      Effect.map(find(entry.key), (copy) => {
        if (copy === undefined) fresh.push(entry)
      })
    )
  )
  if (fresh.length === 0) return { parts, read: 0 }
  let at = 0
  const until = (key: string): ReadonlyArray<ListEntry> => {
    const from = at
    for (let next = fresh[at]; next !== undefined && compareUtf8(next.key, key) < 0; next = fresh[at]) at += 1
    return fresh.slice(from, at)
  }
  const merged = Stream.fromIterable(parts).pipe(
    Stream.mapEffect((part) => Vault.readIndex(vault, part)),
    Stream.map((rows) => rows.flatMap((row): ReadonlyArray<format.Row | ListEntry> => [...until(row.key), row])),
    Stream.flattenIterable
  )
  const items = Stream.concat(
    merged,
    Stream.suspend(() => Stream.fromIterable<format.Row | ListEntry>(fresh.slice(at)))
  )
  const known = new Map(parts.map((part) => [part.digest, part]))
  return yield* collected(
    source,
    builder(vault, known, () => Effect.void),
    items,
    { concurrency, onProgress }
  )
})
