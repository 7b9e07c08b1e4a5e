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
export interface Copies {
  readonly find: (key: string) => Effect.Effect<format.Row | undefined, StoreError.StoreError>
  /** What there is of a range, with what takes its place; as `find`, for ranges that only grow. */
  readonly range: (range: Range, told: Counting) => Stream.Stream<Item, StoreError.StoreError>
  readonly objects: number
}

/** Reads the indexes of a vault. */
export type IndexReader = (part: format.Part) => Effect.Effect<ReadonlyArray<format.Row>, StoreError.StoreError>

/** Keys from the first to, without it, the last. */
interface Range {
  readonly from: string
  readonly to: string
  /** In the order of keys. */
  readonly touched: ReadonlyArray<Touched>
}

interface Counting {
  readonly met: (objects: number) => void
  readonly other: () => void
}

/** A key of which the copies may not be true any more, and what is there now. */
export interface Touched {
  readonly key: string
  /** `undefined`: nothing is there. */
  readonly now: StoredObject | undefined
}

/** What a backup is made of: an object that is copied already, many of them, one that was read, and one that is to be read. */
type Item = format.Row | format.Part | StoredObject | ListEntry

export const copiesIn = (parts: ReadonlyArray<format.Part>, readIndex: IndexReader): Copies => {
  let at = 0
  let loaded: { readonly part: number; readonly rows: ReadonlyArray<format.Row>; row: number } | undefined

  /** The rest of one part that is in a range, or all of it unread, if nothing in it was touched. */
  const piece = Effect.fnUntraced(function* (
    { from, to, touched }: Range,
    next: number,
    { met, other }: Counting
  ): Effect.fn.Return<
    { readonly items: ReadonlyArray<Item>; readonly next: number; readonly isOver: boolean },
    StoreError.StoreError
  > {
    const items: Array<Item> = []
    let touch = next
    const come = (key: string) => {
      for (; touch < touched.length && compareUtf8(touched[touch]!.key, key) < 0; touch += 1) {
        const { now } = touched[touch]!
        if (now === undefined) continue
        other()
        items.push(now)
      }
    }
    while (at < parts.length && compareUtf8(parts[at]!.last, from) < 0) at += 1
    const part = parts[at]
    if (part === undefined || compareUtf8(part.first, to) >= 0) {
      come(to)
      return { items, next: touch, isOver: true }
    }
    const isWithin = compareUtf8(part.first, from) >= 0 && compareUtf8(part.last, to) < 0
    const first = touched[touch]?.key
    if (isWithin && (first === undefined || compareUtf8(first, part.last) > 0)) {
      at += 1
      met(part.objects)
      return { items: [part], next: touch, isOver: false }
    }
    if (loaded?.part !== at) loaded = { part: at, rows: yield* readIndex(part), row: 0 }
    const { rows } = loaded
    for (; loaded.row < rows.length; loaded.row += 1) {
      const row = rows[loaded.row]!
      if (compareUtf8(row.key, from) < 0) continue
      if (compareUtf8(row.key, to) >= 0) break
      come(row.key)
      if (touched[touch]?.key !== row.key) {
        met(1)
        items.push(row)
        continue
      }
      const { now } = touched[touch]!
      touch += 1
      if (now === undefined) continue
      met(1)
      if (now.etag === row.etag && now.size === row.size) items.push(row)
      else {
        other()
        items.push(now)
      }
    }
    const isOver = loaded.row < rows.length
    if (isOver) come(to)
    else at += 1
    return { items, next: touch, isOver }
  })

  return {
    objects: parts.reduce((sum, { objects }) => sum + objects, 0),
    range: (range, counting) =>
      Stream.paginate(0, (next) =>
        Effect.map(
          piece(range, next, counting),
          (one) => [one.items, one.isOver ? Option.none() : Option.some(one.next)] as const
        )
      ),
    find: Effect.fnUntraced(function* (key) {
      while (at < parts.length && compareUtf8(parts[at]!.last, key) < 0) at += 1
      const part = parts[at]
      if (part === undefined || compareUtf8(part.first, key) > 0) return undefined
      if (loaded?.part !== at) loaded = { part: at, rows: yield* readIndex(part), row: 0 }
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
  etag !== undefined && row.etag === etag && row.size === size && isSameTime(row.lastModified, lastModified)

/** Of what was read without a listing the time is in whole seconds. */
const isSameTime = (copied: number, listed: number | undefined): boolean =>
  copied === listed || (listed !== undefined && copied % 1000 === 0 && Math.floor(listed / 1000) * 1000 === copied)

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
  /** Whether a part may be taken over as it is: nothing before it is in a part that has not ended. */
  readonly takes: (part: format.Part) => boolean
  readonly take: (part: format.Part) => void
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
  let closed: Array<ReadonlyArray<Waiting> | format.Part> = []
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
    for (const some of closed) parts.push("digest" in some ? some : yield* partOf(some))
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
    takes: ({ last, objects }) => rows.length === 0 && format.endsPart(last, objects),
    take: (part) => {
      closed.push(part)
    },
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
    onListed = () => undefined,
    onParts,
    onProgress,
    parents,
    readIndex,
    told
  }: {
    readonly concurrency: number
    readonly covers: (key: string) => boolean
    /** Those that copies are taken from; the first counts for what has gone. One alone, where something is `told`. */
    readonly parents: ReadonlyArray<ReadonlyArray<format.Part>>
    readonly readIndex: IndexReader
    /** What is known without listing it. */
    readonly told?: Told | undefined
    /** Is told of each object that was listed. */
    readonly onListed?: ((entry: ListEntry) => void) | undefined
    readonly onParts: (parts: ReadonlyArray<format.Part>) => Effect.Effect<void, E>
    readonly onProgress: (progress: Progress) => Effect.Effect<void>
  }
): Effect.fn.Return<Pass, StoreError.StoreError | E> {
  const known = new Map(parents.flat().map((part) => [part.digest, part]))
  const copies = parents.map((parts) => copiesIn(parts, readIndex))
  const build = builder(vault, known, onParts)
  let met = 0
  let others = 0

  const lookedUp = Effect.fnUntraced(function* (entry: ListEntry) {
    onListed(entry)
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

  /** What is listed: after what begins with one prefix, before what begins with another. */
  const listed = (after: string | undefined, before: string | undefined): Stream.Stream<Item, StoreError.StoreError> =>
    listAll(source, { prefix: "", ...(after === undefined ? {} : { startAfter: `${after}~` }) }).pipe(
      Stream.takeWhile(({ key }) => before === undefined || compareUtf8(key, before) < 0),
      Stream.filter(({ key }) => covers(key) && (after === undefined || !key.startsWith(after))),
      Stream.mapEffect(lookedUp)
    )

  const counting: Counting = { met: (objects) => (met += objects), other: () => (others += 1) }
  const prefixes = told?.prefixes ?? []
  const items = Stream.fromIterable([...prefixes, undefined]).pipe(
    Stream.zipWithIndex,
    Stream.flatMap(([prefix, at]) => {
      const before = listed(prefixes[at - 1], prefix)
      return prefix === undefined ? before : Stream.concat(before, copies[0]!.range(rangeOf(prefix, told), counting))
    })
  )
  const { parts, read } = yield* collected(source, build, items, { concurrency, onProgress, readIndex })
  const removed = (copies[0]?.objects ?? 0) - met
  return { parts, read, removed, changes: others + removed }
})

/** What a journal tells: all that begins with a prefix is as the copies have it, but for what was touched. */
export interface Told {
  /** In the order of keys, none the beginning of another. */
  readonly prefixes: ReadonlyArray<string>
  /** In the order of keys, below the prefixes alone. */
  readonly touched: ReadonlyArray<Touched>
}

const rangeOf = (prefix: string, told: Told | undefined): Range => {
  const last = prefix.length - 1
  return {
    from: prefix,
    to: prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1),
    touched: told === undefined ? [] : told.touched.filter(({ key }) => key.startsWith(prefix))
  }
}

const isRow = (item: Item): item is format.Row => "pack" in item
const isPart = (item: Item): item is format.Part => "digest" in item
const isRead = (item: Item): item is StoredObject => "body" in item

/** Reads what has no copy, and puts everything together, in the order of the keys. */
const collected = Effect.fnUntraced(function* <E>(
  source: ObjectStore["Service"],
  build: Builder<E>,
  items: Stream.Stream<Item, StoreError.StoreError>,
  {
    concurrency,
    onProgress,
    readIndex
  }: {
    readonly concurrency: number
    readonly onProgress: (progress: Progress) => Effect.Effect<void>
    readonly readIndex: IndexReader
  }
) {
  const done = { objects: 0, bytes: 0, read: 0 }
  const fetched = (
    item: Item
  ): Effect.Effect<Option.Option<StoredObject> | format.Row | format.Part, StoreError.StoreError> => {
    if (isRow(item) || isPart(item)) return Effect.succeed(item)
    if (isRead(item)) return Effect.succeedSome(item)
    return Effect.map(getOption(source, item.key), Option.map(asListed(item)))
  }
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
        } else if (isPart(found)) {
          if (build.takes(found)) build.take(found)
          else yield* Effect.forEach(yield* readIndex(found), build.keep, { discard: true })
          done.objects += found.objects
          done.bytes += found.bytes
          return yield* onProgress({ ...done })
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
    parts,
    readIndex
  }: {
    readonly concurrency: number
    readonly covers: (key: string) => boolean
    readonly parts: ReadonlyArray<format.Part>
    readonly readIndex: IndexReader
    readonly onProgress: (progress: Progress) => Effect.Effect<void>
  }
): Effect.fn.Return<Pick<Pass, "parts" | "read">, StoreError.StoreError> {
  const names = yield* Target.resourcesOf(source)
  const prefixes = names
    .map((name) => History.prefix(name))
    .filter(covers)
    .toSorted(compareUtf8)
  const { find } = copiesIn(parts, readIndex)
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
    Stream.mapEffect(readIndex),
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
    { concurrency, onProgress, readIndex }
  )
})
