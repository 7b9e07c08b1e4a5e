/**
 * Copies of many small objects in a few large ones, for who reads all of them: immutable packs, each with an index and
 * columns, and a manifest that says which keys each of them is about.
 *
 * ```ts
 * import * as PackedObjects from "effect-s3db/kernel/PackedObjects"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const packed = PackedObjects.make(yield* ObjectStore, { listed: "photos/", prefix: "plugin=thumbnails/packed" })
 *   yield* packed.compact({ read: ({ size }) => Effect.succeed(size), columns: (sizes) => [{ name: "size", values: sizes }], tag: "1" })
 *   const [first] = yield* packed.read
 *   return first === undefined ? [] : (yield* packed.whole(first)).rows
 * })
 * ```
 *
 * **Details**
 *
 * Objects stay where they are, and a pack says nothing of what is there now: it holds what was at a key under an ETag. Who reads lists
 * the keys, takes a copy where key and ETag are those of the listing, and reads the object itself otherwise. So nothing that is stale,
 * lost, removed or half done here makes a reader see anything else than the objects. All of it can be removed at any time.
 *
 * Packs divide keys into ranges: each is about the keys after those of the pack before, up to its own last one; what comes
 * after the last of them is in none. A compaction goes through the ranges, and puts new packs in the place of those of
 * which too much has changed, a few at a time by compare-and-set, so that who goes on after a crash has lost no more than those.
 *
 * What is replaced stays named, as retired, until readers have had time to come to their end (`grace`), and is removed after that. A
 * reader that was slower finds a pack gone (`NoSuchKey`), and reads the objects.
 *
 * **Gotchas**
 *
 * The store has to list in the order of keys, and an object that changes has to have another ETag.
 *
 * @see `docs/design/segments.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type { Json } from "../encoding/Json.ts"
import { compareUtf8 } from "../internal/text.ts"
import {
  type ListEntry,
  listSome,
  maxKeysPerRequest,
  type ObjectStore,
  type StoredObject
} from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import type * as BlobCodec from "./BlobCodec.ts"
import { methods } from "./internal/compression.ts"
import * as format from "./internal/packFormat.ts"
import type { LeaseLost } from "./Lease.ts"
import * as Segments from "./Segments.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is packed, and where packs lie.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What the keys of the objects begin with. */
  readonly listed: string
  /** The beginning of the keys of packs, its segments escaped, without a slash at the end. Not below `listed`. */
  readonly prefix: string
  /** Which keys are packed. Default: all. */
  readonly select?: ((key: string) => boolean) | undefined
  /** The most objects of a pack. 1 to 65,536. Default: 4,000, which four pages of a listing have. */
  readonly objectsPerPack?: number | undefined
  /** The most bytes of objects in a pack, about. Default: 8 MiB. A larger object than an eighth of it is left out. */
  readonly bytesPerPack?: number | undefined
  /**
   * How many objects in the range of a pack have to be new, changed or gone before it is made anew; until then readers read those
   * by themselves. From 1. Default: a hundredth of `objectsPerPack`.
   */
  readonly leastChanges?: number | undefined
  /** How long a pack that was replaced stays for those who read it. Default: 1 hour. */
  readonly grace?: Duration.Input | undefined
  /** Default: `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
  /**
   * How many bytes of objects that this process has written (`written`) are kept for the next compaction, at most, so that it does not read
   * them. Default: 0.
   */
  readonly writtenBytes?: number | undefined
  /** After how many keys the listing of a range is cut, so that its parts are listed at once. Default: 1,000, what a LIST has. */
  readonly keysPerListing?: number | undefined
}

/**
 * An object as it was stored.
 *
 * @category models
 * @since 0.1.0
 */
export type Row = format.Row

/**
 * One field of all rows of a pack.
 *
 * @category models
 * @since 0.1.0
 */
export type Column = format.Column

/**
 * A pack that counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pack {
  readonly part: Segments.Part
  /** The last key that it is about. */
  readonly upto: string
  /** How many keys it knows. */
  readonly keys: number
  /**
   * When a compaction has found last that it has all that is in its range and nothing else, in milliseconds by the clock of that compaction: the
   * time before the listing. `undefined`: some of that is not in it.
   */
  readonly wholeAt: number | undefined
}

/**
 * What a pack knows without its rows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Index {
  /** What its columns were made by: `tag` of `Packing`. */
  readonly tag: string
  /** How many objects it has. */
  readonly rows: number
  /** The keys that it knows, in order, with their ETags; not all have a row. */
  readonly entries: () => ReadonlyArray<ListEntry>
  /** The row of the object at a key under an ETag. `undefined`: the pack does not have that. */
  readonly rowOf: (key: string, etag: string | undefined) => number | undefined
  /** Its columns, and what is known of each without reading it. */
  readonly statistics: ReadonlyMap<string, Json | undefined>
}

/**
 * What is made of objects that are packed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Packing<X, out E = never, out R = never> {
  /** Reads an object. `undefined`: it is not to be packed, and who wants it reads it by itself. */
  readonly read: (object: StoredObject) => Effect.Effect<X | undefined, E, R>
  /** The columns of what was read. */
  readonly columns: (all: ReadonlyArray<X>) => ReadonlyArray<Column>
  /** Names how columns are made: packs with others are made anew. */
  readonly tag: string
}

/**
 * What a compaction has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** How many keys were listed. */
  readonly keys: number
  /** How many objects were read. */
  readonly read: number
  /** How many packs were written. */
  readonly packs: number
  /** How many objects readers have to read by themselves after it, as far as it has seen. */
  readonly loose: number
}

/**
 * A key as a listing has it, and the copy of its object, if there is one that is as new as the listing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed<out X> {
  readonly entry: ListEntry
  readonly copy: X | undefined
}

/**
 * An object as it was written.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrittenObject extends Row {
  readonly key: string
  /** What the store has answered. */
  readonly etag: string
}

/**
 * Objects that this process has written, until they are packed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written {
  /** Keeps an object. Those that were written longest ago go when there is no more room: they will be read. */
  readonly hand: (object: WrittenObject) => void
  /** The object as it was written under an ETag, as long as it is kept, and no other one was handed in since. */
  readonly find: (key: string, etag: string) => Row | undefined
  /** Lets go of it. */
  readonly drop: (key: string, etag: string) => void
}

/**
 * What was read of a pack.
 *
 * @category models
 * @since 0.1.0
 */
export interface Copies<out X> {
  readonly index: Pick<Index, "entries">
  /** Finds the copy of the object at a key under an ETag, if the pack has it. */
  readonly find: (key: string, etag: string | undefined) => X | undefined
}

/**
 * How new a read has to be.
 *
 * @category models
 * @since 0.1.0
 */
export interface Freshness {
  /**
   * A time in milliseconds. What a pack says of its range is taken as it is, without a listing, if a compaction has found that it has all of it
   * then or later, and not in the future. Default: every range is listed.
   */
  readonly notBefore?: number | undefined
}

/**
 * The packs of a prefix. All members fail with `StoreError` too, with what the store says.
 *
 * @category models
 * @since 0.1.0
 */
export interface PackedObjects {
  readonly listed: string
  /** What was written here, for compactions in this process. No request. */
  readonly written: Written
  /** The packs that count, in the order of keys. 1 GET. */
  readonly read: Effect.Effect<ReadonlyArray<Pack>, StoreError.StoreError>
  /**
   * The latest `notBefore` with which `batches` lists nothing. `undefined`: there is none, since something has been left out of the packs, or
   * there are no packs. 1 GET.
   */
  readonly wholeAt: Effect.Effect<number | undefined, StoreError.StoreError>
  /**
   * `NoSuchKey`: the pack was removed; `Corrupt`: it was damaged. 1 GET of a part of it. `withColumns`: where they take no more than a
   * MiB, its columns come with it, and `columns` makes no request.
   */
  readonly index: (
    pack: Pack,
    options?: { readonly withColumns?: boolean | undefined }
  ) => Effect.Effect<Index, StoreError.StoreError>
  /** The objects. 1 GET of a part of it. */
  readonly rows: (pack: Pack, index: Index) => Effect.Effect<ReadonlyArray<Row>, StoreError.StoreError>
  /** Both together. 1 GET. */
  readonly whole: (
    pack: Pack
  ) => Effect.Effect<{ readonly index: Index; readonly rows: ReadonlyArray<Row> }, StoreError.StoreError>
  /**
   * Some columns, by their names. `None`: it does not have all of these. 1 GET of a part of it, unless they came with the index.
   */
  readonly columns: (
    pack: Pack,
    index: Index,
    names: ReadonlyArray<string>
  ) => Effect.Effect<Option.Option<ReadonlyMap<string, Column["values"]>>, StoreError.StoreError>
  /**
   * Lists all keys, each with its copy where a pack has the version that was listed: at the time of the listing, what is there is that. In
   * the order of keys, in batches of at most two packs. `load`: reads of a pack what is wanted of it. A pack that is gone or damaged
   * has no copies, and a manifest that is damaged no packs.
   *
   * 1 GET; 1 LIST for each 1,000 keys, and 1 more for each of those thousands that keys were added to; what `load` does for each pack. A
   * few ranges at a time, and all parts of a range at once. With `notBefore` no LIST for ranges that are new enough: of each key in them there
   * is what was there at that time or later.
   */
  readonly batches: <X, R>(
    load: (pack: Pack) => Effect.Effect<Copies<X>, StoreError.StoreError, R>,
    freshness?: Freshness
  ) => Stream.Stream<ReadonlyArray<Listed<X>>, StoreError.StoreError, R>
  /**
   * Makes what finds the copies of keys that were listed otherwise, in their order. 1 GET for it; then what `load` does for each pack that
   * they are in the range of, once where each call goes on from the one before: what a call needs is kept for the next one.
   */
  readonly finding: <X, R>(
    load: (pack: Pack) => Effect.Effect<Copies<X>, StoreError.StoreError, R>
  ) => Effect.Effect<
    (
      entries: ReadonlyArray<Pick<ListEntry, "key" | "etag">>
    ) => Effect.Effect<ReadonlyArray<X | undefined>, StoreError.StoreError, R>,
    StoreError.StoreError
  >
  /**
   * Brings the packs up to what is there. One process should do so at a time (`token`): two do the same work twice, and no harm.
   *
   * 1 GET; 1 LIST for each 1,000 keys; 1 GET for each pack. For each pack that is made anew, 1 GET for each object that is new or changed and
   * not in `written`, 1 GET for the pack before, and 1 PUT; 1 PUT for each four to eight of them together, and 1 to say how new the others are. When retired packs are removed, 3 GET, 3 PUT, 2 LIST for each 1,000 packs, and 1 DeleteObjects.
   */
  readonly compact: <X, E, R>(
    packing: Packing<X, E, R>,
    options?: { readonly token?: number | undefined }
  ) => Effect.Effect<Summary, E | LeaseLost | StoreError.StoreError, R>
  /** Removes all packs. Readers go on with the objects. */
  readonly reset: Effect.Effect<void, StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Notes
// -----------------------------------------------------------------------------

/**
 * `u`: the last key it is about; `n`: how many keys it knows; `b`: bytes of the objects, about; `r`, `i`: bytes of rows and index as
 * they lie there; `x`: when it was retired; `c`: keys, without what all begin with, at which its listing is cut. They are a hint.
 * `w`: since which key, and when, it was found to have all there is up to `u`; `e`: when nothing was found after `u`.
 */
const Note = Schema.Struct({
  u: Schema.String,
  n: Schema.Int,
  b: Schema.Int,
  r: Schema.Int,
  i: Schema.Int,
  x: Schema.optionalKey(Schema.Int),
  c: Schema.optionalKey(Schema.Array(Schema.String)),
  w: Schema.optionalKey(Schema.Tuple([Schema.String, Schema.Int])),
  e: Schema.optionalKey(Schema.Int)
})
const decodeNote = Schema.decodeUnknownResult(Note)

interface Noted extends Pack {
  readonly note: typeof Note.Type
}

const corrupt = (description: string) => new StoreError.Corrupt({ description })

const none: ReadonlyArray<never> = []

const mostWithColumns = 1024 * 1024

/** Of 65,536 objects, the most that a pack has, that many thousands. */
const mostCuts = 65

const concurrency = 16

/** So many new and retired packs are named in one change of the manifest, about; a crash loses no more. */
const partsAtOnce = 8

/** Each holds a pack, and the listing of its range. */
const rangesAtOnce = 4

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates the packs of a prefix, on a store that honours conditional writes and lists in the order of keys. No request.
 *
 * Throws a `RangeError` when an option is out of its range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  store: ObjectStore["Service"],
  {
    bytesPerPack = 8 * 1024 * 1024,
    compression,
    grace = "1 hour",
    keysPerListing = maxKeysPerRequest,
    listed,
    objectsPerPack = 4 * maxKeysPerRequest,
    leastChanges = Math.max(1, Math.ceil(objectsPerPack / 100)),
    prefix,
    select = () => true,
    writtenBytes = 0
  }: Options
): PackedObjects => {
  const positive = { objectsPerPack, bytesPerPack, leastChanges, keysPerListing }
  for (const [name, value] of Object.entries(positive)) {
    if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${name}: Expected a whole number from 1`)
  }
  if (!Number.isSafeInteger(writtenBytes) || writtenBytes < 0) {
    throw new RangeError("writtenBytes: Expected a whole number from 0")
  }
  if (objectsPerPack > 65_536) throw new RangeError("objectsPerPack: Expected a whole number from 1 to 65,536")
  const graceMillis = millisecondsOf(grace)
  if (!(graceMillis >= 0)) throw new RangeError("grace: Expected a duration")
  const segments = Segments.make(store, { prefix })
  if (compression !== undefined && !methods.includes(compression)) {
    throw new RangeError(`compression: Expected one of ${methods.join(", ")}`)
  }
  const packs = format.make(compression)
  const mostOfOne = Math.floor(bytesPerPack / 8)
  const written = keeping(writtenBytes)

  const failed = (operation: "get" | "put" | "list", key: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })
  const about =
    (operation: "get" | "put", { name }: Pick<Segments.Part, "name">) =>
    <A, R>(effect: Effect.Effect<A, StoreError.Reason, R>) =>
      Effect.mapError(effect, (reason) => failed(operation, `${prefix}/part/g=${name}`, reason))

  const notedIn = ({ parts }: Segments.Snapshot): ReadonlyArray<Noted> =>
    parts.flatMap((part) => {
      const note = decodeNote(part.note)
      // Of a later release: what is no pack here is none.
      return Result.isFailure(note)
        ? []
        : [{ part, upto: note.success.u, keys: note.success.n, wholeAt: undefined, note: note.success } satisfies Noted]
    })

  /** Where the listing of a range is cut: of what a pack says of it, what is within the range, and in order. */
  const cutsOf = ({ note: { c: cuts = none }, upto }: Noted, after: string): ReadonlyArray<string> => {
    let last = after
    return cuts
      .slice(0, mostCuts)
      .map((cut) => listed + cut)
      .filter((cut) => {
        const isNext = compareUtf8(cut, last) > 0 && compareUtf8(cut, upto) < 0
        if (isNext) last = cut
        return isNext
      })
  }

  const liveIn = (snapshot: Segments.Snapshot): ReadonlyArray<Noted> =>
    notedIn(snapshot)
      .filter(({ note }) => note.x === undefined)
      .toSorted((a, b) => compareUtf8(a.upto, b.upto))
      .map((pack, i, all) => {
        const [since, at] = pack.note.w ?? []
        // The range has become larger when the pack before was removed.
        return since === (all[i - 1]?.upto ?? "") ? { ...pack, wholeAt: at } : pack
      })

  const noteOf = Effect.fnUntraced(function* (pack: Pack) {
    const note = decodeNote(pack.part.note)
    if (Result.isSuccess(note)) return note.success
    return yield* about("get", pack.part)(Effect.fail(corrupt("the pack does not say what it is about")))
  })

  /** The columns that have come with an index. */
  const columnsRead = new WeakMap<Index, Uint8Array>()

  /** Of each index its raw form, to read rows and columns by. */
  const raw = new WeakMap<Index, format.Index>()

  const indexOf = (found: format.Index): Index => {
    const { etags, keys } = found
    const rowAt = rowsAt(found)
    const placeOf = placing(keys)
    const index: Index = {
      tag: found.tag,
      rows: format.rowCount(found),
      entries: () => keys.map((key, i) => ({ key: listed + key, etag: etags[i] || undefined })),
      rowOf: (key, etag) => {
        const at = placeOf(key.slice(listed.length))
        return at === undefined || etag === undefined || etag === "" || etags[at] !== etag ? undefined : rowAt(at)
      },
      statistics: new Map(found.columns.map(({ name, statistics }) => [name, statistics]))
    }
    raw.set(index, found)
    return index
  }

  const rawOf = Effect.fnUntraced(function* (pack: Pack, index: Index) {
    const found = raw.get(index)
    if (found !== undefined) return found
    return yield* about("get", pack.part)(Effect.fail(corrupt("the index is of other packs")))
  })

  const rangeOf = (pack: Pack, start: number, bytes: number) =>
    segments.range(pack.part, { start, end: start + bytes - 1 })

  const readIndex = Effect.fnUntraced(function* (
    pack: Pack,
    { withColumns = false }: { readonly withColumns?: boolean | undefined } = {}
  ) {
    const note = yield* noteOf(pack)
    const rest = pack.part.size - note.r
    const isAll = withColumns && rest <= mostWithColumns
    const bytes = yield* rangeOf(pack, note.r, isAll ? rest : note.i)
    const index = indexOf(yield* about("get", pack.part)(packs.index(bytes.subarray(0, note.i))))
    if (isAll) columnsRead.set(index, bytes.subarray(note.i))
    return index
  })

  const readRows = Effect.fnUntraced(function* (pack: Pack, index: Index) {
    const note = yield* noteOf(pack)
    const found = yield* rawOf(pack, index)
    return yield* about("get", pack.part)(packs.rows(yield* rangeOf(pack, 0, note.r), found))
  })

  const readWhole = Effect.fnUntraced(function* (pack: Pack) {
    const note = yield* noteOf(pack)
    const bytes = yield* rangeOf(pack, 0, note.r + note.i)
    const found = yield* about("get", pack.part)(packs.index(bytes.subarray(note.r)))
    const rows = yield* about("get", pack.part)(packs.rows(bytes.subarray(0, note.r), found))
    return { index: indexOf(found), rows }
  })

  const columnsOf: PackedObjects["columns"] = Effect.fn("PackedObjects.columns")(function* (pack, index, names) {
    const note = yield* noteOf(pack)
    const found = yield* rawOf(pack, index)
    const columns = found.columns.filter(({ bytes, name }) => bytes > 0 && names.includes(name))
    if (columns.length < names.length) return Option.none()
    const values = new Map<string, Column["values"]>()
    if (columns.length > 0) {
      const start = Math.min(...columns.map((one) => one.start))
      const end = Math.max(...columns.map((one) => one.start + one.bytes))
      const read = columnsRead.get(index)
      const bytes = read?.subarray(start, end) ?? (yield* rangeOf(pack, note.r + note.i + start, end - start))
      for (const { bytes: length, name, start: at } of columns) {
        const column = bytes.subarray(at - start, at - start + length)
        values.set(name, yield* about("get", pack.part)(packs.column(column, found)))
      }
    }
    return Option.some(values)
  })

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  const nothing = { index: { entries: () => none }, find: () => undefined }

  /** Where it is gone, damaged, or of a later release, something else, and objects are read. */
  const orWithout =
    <B>(what: string, other: B) =>
    <A, R>(effect: Effect.Effect<A, StoreError.StoreError, R>): Effect.Effect<A | B, StoreError.StoreError, R> => {
      const without = (why: string) =>
        Effect.as(Effect.logWarning(`${what} of ${listed} ${why}; objects are read instead`), other)
      return Effect.catchReasons(effect, "StoreError", {
        NoSuchKey: () => without("was removed meanwhile"),
        InvalidRange: () => without("was cut short"),
        Corrupt: ({ description }) => without(`cannot be read (${description})`),
        Unsupported: ({ description }) => without(`cannot be read (${description})`)
      })
    }

  const liveNow = orWithout("the manifest of packs", none)(Effect.map(segments.read, liveIn))

  const finding: PackedObjects["finding"] = <X, R>(
    load: (pack: Pack) => Effect.Effect<Copies<X>, StoreError.StoreError, R>
  ) =>
    Effect.map(liveNow, (live) => {
      const loaded = new Map<Noted, Copies<X>>()
      return Effect.fnUntraced(function* (entries: ReadonlyArray<Pick<ListEntry, "key" | "etag">>) {
        const packs = entries.map(({ key }) => live.find(({ upto }) => compareUtf8(key, upto) <= 0))
        const needed = new Set(packs)
        for (const pack of loaded.keys()) if (!needed.has(pack)) loaded.delete(pack)
        const wanted = new Set(packs.filter((pack) => pack !== undefined && !loaded.has(pack)))
        yield* Effect.forEach(
          wanted,
          (pack) =>
            pack === undefined
              ? Effect.void
              : Effect.map(orWithout("a pack", undefined)(load(pack)), (copies) => loaded.set(pack, copies ?? nothing)),
          { concurrency: rangesAtOnce, discard: true }
        )
        return entries.map(({ etag, key }, i): X | undefined => {
          const pack = packs[i]
          return pack === undefined ? undefined : loaded.get(pack)?.find(key, etag)
        })
      })
    })

  const batches: PackedObjects["batches"] = <X, R>(
    load: (pack: Pack) => Effect.Effect<Copies<X>, StoreError.StoreError, R>,
    { notBefore = Number.POSITIVE_INFINITY }: Freshness = {}
  ) => {
    const within = (entries: ReadonlyArray<ListEntry>, copies: Copies<X>) =>
      entries.map((entry): Listed<X> => ({ entry, copy: copies.find(entry.key, entry.etag) }))
    /** What is left of a part of a range that has become much larger than its pack. */
    const rest = (after: string, upto: string | undefined, copies: Copies<X>) =>
      Stream.paginate(after, (from) =>
        Effect.map(listRange(from, upto, 1), ({ entries, from: last, isWhole }) => [
          [within(entries, copies)],
          isWhole || last === undefined ? Option.none() : Option.some(last)
        ])
      )
    const listed = Effect.fnUntraced(function* (pack: Noted | undefined, after: string) {
      const ends = pack === undefined ? [undefined] : [...cutsOf(pack, after), pack.upto]
      const most = pack === undefined ? 1 : Math.ceil((2 * objectsPerPack) / ends.length)
      const listing = Effect.forEach(
        ends,
        (upto, i) => Effect.map(listRange(ends[i - 1] ?? after, upto, most), (found) => ({ ...found, upto })),
        { concurrency }
      )
      const loading = pack === undefined ? Effect.undefined : orWithout("a pack", undefined)(load(pack))
      const [parts, copies = nothing] = yield* Effect.all([listing, loading], { concurrency: 2 })
      return { parts, copies }
    })
    const range = Effect.fnUntraced(function* (pack: Noted | undefined, after: string, isWhole: boolean) {
      const copies = isWhole && pack !== undefined ? yield* orWithout("a pack", undefined)(load(pack)) : undefined
      if (copies === undefined) return yield* listed(pack, after)
      const part: Part = { entries: [...copies.index.entries()], from: undefined, isWhole, upto: pack?.upto }
      return { parts: [part], copies }
    })
    type Part = Effect.Success<ReturnType<typeof listed>>["parts"][number]
    const partOf = ({ entries, from, isWhole, upto }: Part, copies: Copies<X>) => {
      const first = Stream.succeed(within(entries, copies))
      return isWhole || from === undefined ? first : Stream.concat(first, rest(from, upto, copies))
    }
    const ranges = Effect.gen(function* () {
      const live = yield* liveNow
      const now = yield* Clock.currentTimeMillis
      const isNew = (at: number | undefined) => isBelieved(at, now) && at >= notBefore
      return [
        ...live.map((pack, i) => ({ pack, after: live[i - 1]?.upto ?? "", isWhole: isNew(pack.wholeAt) })),
        ...(isNew(live.at(-1)?.note.e) ? [] : [{ pack: undefined, after: live.at(-1)?.upto ?? "", isWhole: false }])
      ]
    })
    return Stream.unwrap(Effect.map(ranges, Stream.fromIterable)).pipe(
      Stream.rechunk(1),
      Stream.mapEffect(({ after, isWhole, pack }) => range(pack, after, isWhole), { concurrency: rangesAtOnce }),
      Stream.flatMap(({ copies, parts }) =>
        parts.every(({ isWhole }) => isWhole)
          ? Stream.succeed(
              within(
                parts.flatMap(({ entries }) => entries),
                copies
              )
            )
          : Stream.flatMap(Stream.fromIterable(parts), (part) => partOf(part, copies))
      )
    )
  }

  // ---------------------------------------------------------------------------
  // Compaction
  // ---------------------------------------------------------------------------

  /** Packs that are gone through together, from the range that a key is in. */
  const groupAfter = (live: ReadonlyArray<Noted>, after: string) => {
    const next = live.findIndex(({ upto }) => after === "" || compareUtf8(upto, after) > 0)
    if (next === -1) return { group: [], upto: undefined }
    const group = [live[next]!]
    let { b: bytes, n: keys } = live[next]!.note
    for (const pack of live.slice(next + 1)) {
      const { note } = pack
      // Packs that have become small are put together, with room for what comes.
      const isFull = (keys + note.n) * 4 > objectsPerPack * 3 || (bytes + note.b) * 4 > bytesPerPack * 3
      if (isFull && !isAlsoAbout(pack, group.at(-1)!)) break
      group.push(pack)
      keys += note.n
      bytes += note.b
    }
    // What comes after the last of them belongs to it as long as it has room.
    const isOpen = next + group.length === live.length && keys < objectsPerPack && bytes < bytesPerPack
    return { group, upto: isOpen ? undefined : group.at(-1)!.upto }
  }

  /** The keys after one, up to another, until there are so many. `isWhole`: those are all. `begun`: the first of them are known. */
  const listRange = Effect.fnUntraced(function* (
    after: string,
    upto: string | undefined,
    most: number,
    begun?: { readonly entries: ReadonlyArray<ListEntry>; readonly from: string | undefined }
  ) {
    const entries = [...(begun?.entries ?? none)]
    let from = begun?.from ?? (after === "" ? undefined : after)
    if (begun !== undefined && entries.length >= most) return { entries, from, isWhole: false }
    for (;;) {
      const page = yield* listSome(store, { prefix: listed, startAfter: from, maxKeys: maxKeysPerRequest })
      const last = page.entries.at(-1)?.key
      // As long as the keys rise, which is looked at, none is after the last one.
      const isBefore = upto === undefined || (last !== undefined && compareUtf8(last, upto) < 0)
      for (const entry of page.entries) {
        if (from !== undefined && compareUtf8(entry.key, from) <= 0) {
          const description = "the store does not list in the order of keys"
          return yield* failed("list", entry.key, new StoreError.Unsupported({ feature: "packs", description }))
        }
        from = entry.key
        if (!isBefore && compareUtf8(entry.key, upto) > 0) return { entries, from, isWhole: true }
        if (select(entry.key)) entries.push(entry)
        if (!isBefore && entry.key === upto) return { entries, from, isWhole: true }
      }
      if (page.nextToken === undefined) return { entries, from, isWhole: true }
      if (entries.length >= most) return { entries, from, isWhole: false }
    }
  })

  const readObject = (key: string): Effect.Effect<StoredObject | "gone" | "damaged", StoreError.StoreError> =>
    Effect.catchReasons(store.get(key), "StoreError", {
      NoSuchKey: () => Effect.succeed("gone" as const),
      Corrupt: () => Effect.succeed("damaged" as const)
    })

  const sizeOf = ({ size = 0 }: ListEntry): number => size + 512

  /** As even as may be, and none larger than it may be. */
  const cut = (entries: ReadonlyArray<ListEntry>): ReadonlyArray<ReadonlyArray<ListEntry>> => {
    const most = Math.ceil(entries.length / Math.ceil(entries.length / objectsPerPack))
    const pieces: Array<Array<ListEntry>> = []
    let bytes = 0
    for (const entry of entries) {
      const last = pieces.at(-1)
      const size = isTooLarge(entry) ? 0 : sizeOf(entry)
      if (last === undefined || last.length >= most || bytes + size > bytesPerPack) {
        pieces.push([entry])
        bytes = size
      } else {
        last.push(entry)
        bytes += size
      }
    }
    return pieces
  }

  const isTooLarge = ({ size = 0 }: ListEntry): boolean => size > mostOfOne

  const fenced = (token: number): Effect.Effect<Segments.Snapshot, LeaseLost | StoreError.StoreError> =>
    Effect.catchTags(segments.commit({ fence: token }), {
      // Nothing is added, removed or expected.
      VersionConflict: Effect.die,
      PartsCollected: Effect.die,
      PartsNotNamed: Effect.die
    })

  /** The new set; `undefined` when another was faster. */
  const commit = (change: Segments.Change) =>
    Effect.catchTags(segments.commit(change), {
      VersionConflict: () => Effect.succeed(undefined),
      PartsCollected: () => Effect.succeed(undefined),
      PartsNotNamed: () => Effect.succeed(undefined)
    })

  /** Removes what was retired before the readers of now began. */
  const removeRetired = Effect.fnUntraced(function* (snapshot: Segments.Snapshot, token: number) {
    const now = yield* Clock.currentTimeMillis
    const over = notedIn(snapshot).filter(({ note: { x } }) => x !== undefined && x + graceMillis <= now)
    if (over.length === 0) return
    const next = yield* commit({ remove: over.map(({ part }) => part), expected: snapshot.version, fence: token })
    if (next === undefined) return
    // The first collection says which parts are old, the second removes them.
    yield* segments.collect
    yield* segments.collect
  })

  const compact = Effect.fn("PackedObjects.compact")(function* <X, E, R>(
    packing: Packing<X, E, R>,
    { token = 0 }: { readonly token?: number | undefined } = {}
  ): Effect.fn.Return<Summary, E | LeaseLost | StoreError.StoreError, R> {
    const sum = { keys: 0, read: 0, packs: 0, loose: 0 }
    let snapshot = token === 0 ? yield* segments.read : yield* fenced(token)
    let made = nothingMade("", sum)
    let after = ""
    /** The pack before `after`. */
    let last: Named | undefined
    /** Keys that were listed and are of the next pack. */
    let ahead:
      | {
          readonly at: number
          readonly entries: ReadonlyArray<ListEntry>
          from: string | undefined
          upto: string | undefined
        }
      | undefined

    /** A copy of what is known, or the object, or what is to be said of one that cannot be packed. */
    const load = Effect.fnUntraced(function* (entry: ListEntry, known: StoredObject | undefined) {
      const loose = { entry: { key: entry.key.slice(listed.length), etag: entry.etag ?? "", row: undefined } }
      if (isTooLarge(entry)) return { ...loose, value: undefined }
      const held = known !== undefined || entry.etag === undefined ? undefined : written.find(entry.key, entry.etag)
      let object = held === undefined ? known : objectOf(entry, held)
      if (object === undefined) {
        sum.read += 1
        const found = yield* readObject(entry.key)
        if (found === "gone") return undefined
        if (found === "damaged") return { ...loose, value: undefined }
        object = found
      }
      const value = yield* packing.read(object)
      if (value === undefined) return { entry: { ...loose.entry, etag: object.etag }, value }
      const row = { metadata: object.metadata, body: object.body }
      return { entry: { key: loose.entry.key, etag: object.etag, row }, value }
    })

    const build = Effect.fnUntraced(function* (
      piece: ReadonlyArray<ListEntry>,
      knownOf: (entry: ListEntry) => StoredObject | undefined,
      upto: string,
      whole: NonNullable<typeof Note.Type.w>
    ) {
      const loaded = yield* Effect.forEach(piece, (entry) => load(entry, knownOf(entry)), { concurrency })
      const there = loaded.filter((one) => one !== undefined)
      const values = there.flatMap(({ value }) => (value === undefined ? [] : [value]))
      const entries = there.map(({ entry }) => entry)
      sum.loose += entries.length - values.length
      const { bytes, index, rows } = yield* Effect.mapError(
        packs.encode(entries, packing.columns(values), packing.tag),
        (reason) => failed("put", upto, reason)
      )
      sum.packs += 1
      const size = piece.reduce((total, entry) => total + (isTooLarge(entry) ? 0 : sizeOf(entry)), 0)
      const cuts = piece.slice(0, -1).filter((_, i) => (i + 1) % keysPerListing === 0)
      const note: typeof Note.Type = {
        u: upto,
        n: entries.length,
        b: size,
        r: rows,
        i: index,
        w: whole,
        ...(cuts.length === 0 ? {} : { c: cuts.map(({ key }) => key.slice(listed.length)) })
      }
      return { part: yield* segments.put(bytes, note), note } satisfies Named
    })

    /** What is known of the keys of some packs; a pack that is gone, or was damaged, is not. */
    const knownOf = Effect.fnUntraced(function* (group: ReadonlyArray<Noted>) {
      const all = yield* Effect.forEach(
        group,
        (pack) =>
          readIndex(pack).pipe(
            Effect.map((index) => ({ pack, index })),
            orWithout("a pack", undefined)
          ),
        { concurrency }
      )
      return all.filter((one) => one !== undefined)
    })

    /** Goes on with what another compaction has made that was faster, from where the range begins that this one has come to. */
    const takeUp = Effect.gen(function* () {
      snapshot = yield* segments.read
      const begin = liveIn(snapshot).findLast(({ upto }) => compareUtf8(upto, after) <= 0)?.upto ?? ""
      if (begin !== after) ahead = undefined
      after = begin
      // It may have put another in its place.
      last = undefined
      made = nothingMade(after, sum)
    })

    /** Has the manifest name what was made. `false`: another compaction was faster, and it is to be done again, with what that has made. */
    const name = Effect.fnUntraced(function* () {
      const { found, keys, loose } = made
      const add = [...made.add, ...found].map(({ note, part }) => ({ ...part, note }))
      // What they were named as before, and what is retired and comes to the same bytes.
      const again = new Set(add.map(({ name }) => name))
      const remove = snapshot.parts.filter(({ name }) => again.has(name))
      if (add.length === 0) return true
      const next = yield* commit({ add, remove, expected: snapshot.version, fence: token })
      if (next === undefined) {
        const isNew = made.add.length > 0
        if (isNew) {
          after = made.after
          ahead = undefined
          sum.keys = keys
          sum.loose = loose
        }
        yield* takeUp
        // How new packs are the faster one has said as well.
        return !isNew
      }
      snapshot = next
      for (const { etag = "", key } of made.entries) written.drop(key, etag)
      made = nothingMade(after, sum)
      return true
    })

    for (;;) {
      const { group, upto } = groupAfter(liveIn(snapshot), after)
      const begun = ahead !== undefined && ahead.upto === upto ? ahead : undefined
      const at = begun?.at ?? (yield* Clock.currentTimeMillis)
      const { entries: all, from, isWhole } = yield* listRange(after, upto, 2 * objectsPerPack, begun)
      const entries = isWhole ? all : all.slice(0, objectsPerPack)
      const end = isWhole ? upto : entries.at(-1)!.key
      const known = yield* knownOf(group)
      if (known.length < group.length) {
        // As long as it is named, what has the same bytes would not be put again.
        const lost = group.filter((pack) => !known.some((one) => one.pack === pack)).map(({ part }) => part)
        if (!(yield* name())) continue
        const next = yield* commit({ remove: lost, expected: snapshot.version, fence: token })
        if (next === undefined) yield* takeUp
        else snapshot = next
        continue
      }
      const etags = new Map<string, string>()
      for (const { index, pack } of known) {
        const { etags: all, keys } = yield* rawOf(pack, index)
        for (const [i, key] of keys.entries()) etags.set(listed + key, all[i] ?? "")
      }
      const isWithin = (key: string) =>
        (after === "" || compareUtf8(key, after) > 0) && (end === undefined || compareUtf8(key, end) <= 0)
      let changes = 0
      for (const { etag = "", key } of entries) if (etag === "" || etags.get(key) !== etag) changes += 1
      const here = new Set(entries.map(({ key }) => key))
      // The range has become smaller, as one that was cut does: a pack with keys that are another's must not be taken for its range.
      let isWider = false
      for (const key of etags.keys()) {
        if (!isWithin(key)) isWider = true
        else if (!here.has(key)) changes += 1
      }
      const isOther = isWider || known.some(({ index }) => index.tag !== packing.tag)
      const isOutdated = !isWhole || group.length !== 1 || isOther
      const isAnew = changes >= leastChanges || (group.length > 0 && isOutdated)
      const before = last
      if (isAnew) {
        const copies = new Map<string, StoredObject>()
        for (const { index, pack } of known) {
          const rows = yield* orWithout("the rows of a pack", none)(readRows(pack, index))
          for (const entry of entries) {
            const row = index.rowOf(entry.key, entry.etag)
            const copy = row === undefined ? undefined : rows[row]
            if (copy !== undefined) copies.set(entry.key, objectOf(entry, copy))
          }
        }
        const add: Array<Named> = []
        let since = after
        const pieces = cut(entries)
        for (const [i, piece] of pieces.entries()) {
          const { key } = piece.at(-1)!
          const upto = i === pieces.length - 1 ? (end ?? key) : key
          add.push(yield* build(piece, ({ key }) => copies.get(key), upto, [since, at]))
          since = upto
        }
        last = add.at(-1) ?? last
        const now = yield* Clock.currentTimeMillis
        const replaced = group.filter(({ upto }) => end === undefined || compareUtf8(upto, end) <= 0)
        made.add.push(...replaced.map(({ note, part }) => ({ part, note: { ...note, x: now } })), ...add)
        made.entries.push(...entries)
      } else {
        const [pack] = group
        if (pack !== undefined) {
          const { e, w, ...rest } = pack.note
          const now = yield* Clock.currentTimeMillis
          // What has changed since is known here, and what is said of the future would be believed once that has come.
          const whole = changes === 0 ? ([after, at] as const) : isBelieved(w?.[1], now) ? w : undefined
          const end = isBelieved(e, now) ? e : undefined
          const note = {
            ...rest,
            ...(whole === undefined ? {} : { w: whole }),
            ...(end === undefined ? {} : { e: end })
          }
          last = { ...pack, note }
          if (whole !== w || end !== e) made.found.push(last)
        }
        sum.loose += changes
        for (const { index, pack } of known) sum.loose += (yield* rawOf(pack, index)).loose.length
      }
      // Between the last one and this range others may have been, of which nothing is left: they were listed before.
      const isNext = last !== before || last?.note.u === after
      if (end === undefined && last !== undefined && isNext && (isAnew || changes === 0)) {
        last.note = { ...last.note, e: at }
        if (!made.add.includes(last) && !made.found.includes(last)) made.found.push(last)
      }
      sum.keys += entries.length
      ahead = isWhole ? undefined : { at, entries: all.slice(entries.length), from, upto }
      if (end !== undefined) after = end
      const isNamed = end !== undefined && made.add.length < partsAtOnce ? true : yield* name()
      if (isNamed && end === undefined) break
    }
    yield* removeRetired(snapshot, token)
    return sum
  })

  return {
    listed,
    written,
    read: Effect.map(segments.read, liveIn),
    wholeAt: Effect.gen(function* () {
      const live = liveIn(yield* segments.read)
      const now = yield* Clock.currentTimeMillis
      const times = [...live.map(({ wholeAt }) => wholeAt), live.at(-1)?.note.e].filter((at) => isBelieved(at, now))
      return times.length === live.length + 1 ? Math.min(...times) : undefined
    }),
    index: Effect.fn("PackedObjects.index")(readIndex),
    rows: Effect.fn("PackedObjects.rows")(readRows),
    whole: Effect.fn("PackedObjects.whole")(readWhole),
    columns: columnsOf,
    batches,
    finding,
    compact,
    reset: Effect.gen(function* () {
      for (;;) {
        const { fence, parts, version } = yield* segments.read
        if (parts.length === 0) break
        const next = yield* Effect.catchTag(commit({ remove: parts, expected: version, fence }), "LeaseLost", () =>
          Effect.succeed(undefined)
        )
        if (next !== undefined) break
      }
      // The second one lets go of what was put since the one before.
      yield* segments.collect
      yield* segments.collect
    })
  }
}

/**
 * Whether a pack is about keys of the one before it, too: earlier releases have named packs again that a faster compaction had replaced. Of
 * two with the same last key the second would never be come to.
 */
const isAlsoAbout = ({ note: { w: whole }, upto }: Noted, before: Noted): boolean =>
  upto === before.upto || (whole !== undefined && compareUtf8(whole[0], before.upto) < 0)

/** Whether there is such a time, and it has come: a clock that was wrong must not be believed before that. */
const isBelieved = (at: number | undefined, now: number): at is number => at !== undefined && at <= now

/** A part, and what the manifest is to say of it. */
interface Named {
  readonly part: Segments.Part
  note: typeof Note.Type
}

/** What was made since the manifest was changed, which it does not name yet, and where that begins: the key, and the sum by then. */
const nothingMade = (after: string, { keys, loose }: Pick<Summary, "keys" | "loose">) => ({
  after,
  keys,
  loose,
  add: new Array<Named>(),
  /** Packs that stay, with what is said of them anew. */
  found: new Array<Named>(),
  entries: new Array<ListEntry>()
})

/** What an object takes beside its bytes, about. */
const overheadBytes = 200

const bytesOf = ({ body, key, metadata }: WrittenObject): number => {
  let bytes = overheadBytes + key.length + body.length
  for (const name in metadata) bytes += name.length + (metadata[name]?.length ?? 0)
  return bytes
}

const keeping = (most: number): Written => {
  // In the order in which they were written.
  const objects = new Map<string, { readonly object: WrittenObject; readonly bytes: number }>()
  let total = 0
  const remove = (key: string) => {
    total -= objects.get(key)?.bytes ?? 0
    objects.delete(key)
  }
  const of = (key: string, etag: string) => {
    const object = objects.get(key)?.object
    return object?.etag === etag ? object : undefined
  }
  return {
    hand: (object) => {
      remove(object.key)
      const bytes = bytesOf(object)
      if (bytes > most) return
      objects.set(object.key, { object, bytes })
      total += bytes
      for (const key of objects.keys()) {
        if (total <= most) break
        remove(key)
      }
    },
    find: of,
    drop: (key, etag) => {
      if (of(key, etag) !== undefined) remove(key)
    }
  }
}

/** Finds the place of a key. Who reads asks for one after the other, so that most are the next one. */
const placing = (keys: ReadonlyArray<string>) => {
  let next = 0
  let places: ReadonlyMap<string, number> | undefined
  return (key: string): number | undefined => {
    if (keys[next] === key) return next++
    places ??= new Map(keys.map((one, i) => [one, i]))
    const found = places.get(key)
    if (found !== undefined) next = found + 1
    return found
  }
}

/** Finds the row of a place, if it has one. */
const rowsAt = ({ keys, loose }: format.Index) => {
  if (loose.length === 0) return (at: number): number | undefined => at
  const without = new Set(loose)
  let row = 0
  const rows = keys.map((_, i) => (without.has(i) ? undefined : row++))
  return (at: number) => rows[at]
}

/** A copy, as if it had been read now. */
const objectOf = ({ etag = "", key, lastModified = 0 }: ListEntry, { body, metadata }: Row): StoredObject => ({
  key,
  etag,
  size: body.length,
  metadata,
  body,
  contentType: "application/octet-stream",
  contentEncoding: undefined,
  lastModified
})
