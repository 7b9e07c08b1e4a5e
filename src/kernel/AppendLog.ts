/**
 * A log: entries in one total order, appended by one writer at a time, read by any number from any position or time.
 *
 * ```ts
 * import * as AppendLog from "effect-s3db/kernel/AppendLog"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Schema, Stream } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const log = AppendLog.make(yield* ObjectStore, { prefix: "plugin=audit/log", schema: Schema.String })
 *   yield* log.append(["first", "second"], { expected: 0 })
 *   return yield* Stream.runCollect(log.read({ from: 1 }))
 * })
 * ```
 *
 * **Details**
 *
 * Entries have the positions 0, 1, 2, ... and lie in immutable segments, `PREFIX/part/g=GENERATION/HASH`; the manifest,
 * `PREFIX/manifest`, is changed by compare-and-set and says which segments count. An append puts its segments and then the
 * manifest: that is the commit. What was put and not committed is seen by nobody.
 *
 * Each append holds the hash of the one before, and the manifest the hash of the last: a chain, which `verify` follows.
 * Retention remembers the hash before the first entry that is kept; compaction keeps appends as they are.
 *
 * **Gotchas**
 *
 * The time of an entry is that of the writer's clock when it was appended, and never before that of the entry before.
 *
 * @see `docs/design/logs.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { utf8Length } from "../internal/text.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as BlobCodec from "./BlobCodec.ts"
import * as CasCell from "./CasCell.ts"
import * as jsonText from "./internal/jsonText.ts"
import * as logIndex from "./internal/logIndex.ts"
import * as logSegments from "./internal/logSegments.ts"
import * as termFilter from "./internal/terms.ts"
import * as partsOf from "./internal/parts.ts"
import * as tokens from "./internal/token.ts"
import type { LeaseLost } from "./Lease.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An append that expected another end of the log. Nothing was written.
 *
 * @remedy Read what was appended since, and decide.
 * @category errors
 * @since 0.1.0
 */
export class PositionConflict extends ExpectedError<PositionConflict>("effect-s3db/kernel/AppendLog/PositionConflict")(
  "PositionConflict",
  {
    key: Schema.String,
    expected: Schema.Int,
    /** Where the next entry goes. */
    next: Schema.Int
  }
) {
  override get message(): string {
    return `the next entry of the log has position ${this.next}, not ${this.expected}: read what was appended since`
  }
}

/**
 * A position whose entry was removed by retention.
 *
 * @remedy Go on from `first`, knowing that what was between is gone: a consumer by `seek`. Let retention keep more
 * than the slowest consumer needs.
 * @category errors
 * @since 0.1.0
 */
export class Trimmed extends ExpectedError<Trimmed>("effect-s3db/kernel/AppendLog/Trimmed")("Trimmed", {
  key: Schema.String,
  position: Schema.Int,
  /** The first position that there is. */
  first: Schema.Int,
  /** What goes on from there, where it is known: of a consumer its `seek`. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const gone = `the entries of the log up to ${this.first} were removed, and with them position ${this.position}`
    return this.hint === undefined ? gone : `${gone}; ${this.hint}`
  }
}

/**
 * A log that is not what was appended: the first part that does not fit.
 *
 * @remedy Restore the object that `key` names from a backup, or an earlier version of it.
 * @category errors
 * @since 0.1.0
 */
export class Broken extends ExpectedError<Broken>("effect-s3db/kernel/AppendLog/Broken")("Broken", {
  /** Of the part, or of the manifest when that does not fit. */
  key: Schema.String,
  /** The position of the first entry that cannot be vouched for. */
  position: Schema.Int,
  description: Schema.String
}) {
  override get message(): string {
    return `${JSON.stringify(this.key)}, from position ${this.position}: ${this.description}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Where a log lies, and what its entries are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  /** The beginning of all keys, its segments escaped, without a slash at the end. */
  readonly prefix: string
  readonly schema: Schema.Codec<A, I>
  /** The most entries of a segment. Default: 4,096. */
  readonly segmentEntries?: number | undefined
  /** The most bytes of the entries of a segment, compression aside; a longer entry has one of its own. Default: 4 MiB. */
  readonly segmentBytes?: number | undefined
  /** Default: `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
  /** Default: segments are not sealed. The scope of the keys is the caller's. */
  readonly sealing?: BlobCodec.Sealing | undefined
  /**
   * By what entries are looked for: `read({ terms })` leaves out segments that have none with them. The index holds 10 bits for each of a
   * segment, at most 1,280 bytes, in clear: who can read it can find out whether a term that he guesses is there. Default: none.
   */
  readonly termsOf?: ((entry: A) => ReadonlyArray<string>) | undefined
}

/**
 * An entry and its place.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<out A> {
  readonly position: number
  /** When it was appended, in milliseconds since the epoch by the writer's clock. */
  readonly at: number
  readonly value: A
}

/**
 * The conditions of an append.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendOptions {
  /** The position that the first entry is to have. Default: any. */
  readonly expected?: number | undefined
  /** The token of the lease under which it is made. A lower one than has been seen is refused with `LeaseLost`. Default: 0, that of no lease. */
  readonly fence?: number | undefined
  /**
   * Names the append. With `expected`, an append that is there already under its name is a success: so it can be made
   * again by whoever does not know whether it was. Default: a random one.
   */
  readonly id?: string | undefined
  /**
   * What the log remembers of its writer, in place of what was there: the same commit writes both. At most 1,024 characters.
   * Default: what was there stays.
   */
  readonly note?: string | undefined
}

/**
 * The positions of what was appended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Appended {
  readonly from: number
  /** The position after the last. */
  readonly next: number
}

/**
 * What is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReadOptions {
  /** The first position. Default: the first that there is. */
  readonly from?: number | undefined
  /** Only entries appended at this time or later, in milliseconds since the epoch. */
  readonly since?: number | undefined
  /** The position to stop before. Default: the end of the log when reading begins. */
  readonly to?: number | undefined
  /**
   * Segments of whose entries none has all of these terms are not read, where the log was appended to with `termsOf`: of 100 others
   * about one is. Entries without them are given, too: they are to be looked at.
   */
  readonly terms?: ReadonlyArray<string> | undefined
}

/**
 * How a log is followed.
 *
 * @category models
 * @since 0.1.0
 */
export interface FollowOptions {
  /** The first position, or the end of the log as it is. Default: the first that there is. */
  readonly from?: number | "end" | undefined
  /** The pause after the end was met first; it doubles as long as nothing comes. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest pause. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
}

/**
 * What may be removed: whole segments from the beginning of the log that one of `age`, `bytes`, `entries` is exceeded by, but
 * none that has an entry at or after `before`. With `before` alone: all before it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Retention {
  /** Entries that are older go. */
  readonly age?: Duration.Input | undefined
  /** What is kept has no more bytes in the store than that, whole segments. */
  readonly bytes?: number | undefined
  /** What is kept has no more entries than that, whole segments. */
  readonly entries?: number | undefined
  /** The position of the slowest reader. */
  readonly before?: number | undefined
  readonly fence?: number | undefined
}

/**
 * What is known of a log without reading it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The first position that there is. */
  readonly first: number
  /** The position of the next entry. */
  readonly next: number
  /** The hash of the last append. Whoever keeps it elsewhere can tell later that the log still contains it. */
  readonly head: string
  /** The highest fence token that has been seen; 0 when there was none. */
  readonly fence: number
  /** What the last append that had one has noted down. */
  readonly note: string | undefined
  readonly segments: number
  /** Bytes of all segments in the store. */
  readonly bytes: number
}

/**
 * What a log was found to be.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verified {
  readonly first: number
  readonly next: number
  readonly head: string
  readonly segments: number
}

/**
 * A log. All members fail with `StoreError` too: with what the store says, and with the reason `Corrupt` when something
 * cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppendLog<A> {
  /**
   * Appends entries, all or none, in this order, once also when answers are lost. 1 PUT for each segment and 1 PUT; 1 GET
   * more for the first, and 1 PUT more for each 32 segments. When another was first: 1 GET and all PUTs again.
   *
   * When it cannot be told whether it was made, it fails with what the store said to the PUT: an error with the outcome
   * `"unknown"`. Make it again then, with the same `expected` and `id`.
   * `InvalidArgument`: an entry does not fit the schema, or the note is too long. `EntityTooLarge`: one has more than 64 MiB.
   */
  readonly append: (
    entries: ReadonlyArray<A>,
    options?: AppendOptions
  ) => Effect.Effect<Appended, PositionConflict | LeaseLost | StoreError.StoreError>
  /**
   * Shuts out writers with a lower token, and gives the state of the log from which the new one goes on. 1 GET and 1 PUT.
   */
  readonly raiseFence: (fence: number) => Effect.Effect<Status, LeaseLost | StoreError.StoreError>
  /** 1 GET. */
  readonly status: Effect.Effect<Status, StoreError.StoreError>
  /**
   * Reads entries in order, to the end that the log has when reading begins. 1 GET for the manifest and 1 GET for each
   * segment, those apart that have none of the `terms`; 1 GET for each level of the index where segments are many.
   */
  readonly read: (options?: ReadOptions) => Stream.Stream<Entry<A>, Trimmed | StoreError.StoreError>
  /**
   * Reads entries in order, and those that are appended later as they come, without end. As `read`, and 1 GET after each
   * pause: 1 a minute when nothing comes.
   */
  readonly follow: (options?: FollowOptions) => Stream.Stream<Entry<A>, Trimmed | StoreError.StoreError>
  /**
   * Removes entries from the beginning, and gives the first position that is kept. 1 GET; when something goes, 2 GET and 1 PUT
   * and 1 request for each 1,000 segments, and 1 GET for each page of 32 segments that goes. `InvalidArgument`: `age` is no
   * duration.
   */
  readonly retain: (retention: Retention) => Effect.Effect<number, LeaseLost | StoreError.StoreError>
  /**
   * Puts small segments beside each other into larger ones. Positions, times and the chain stay; readers do not notice. Gives
   * the number of segments that went. 1 GET; for each segment that goes 1 GET, for each that comes 1 PUT, then 1 PUT and 1
   * request for each 1,000 that go; 1 GET for each page of 32 segments that is looked at. With `span`, entries that come into one segment were
   * appended within that time, so that retention by age can go by it. `InvalidArgument`: it is no duration.
   */
  readonly compact: (options?: {
    readonly fence?: number | undefined
    /** Default: any time. */
    readonly span?: Duration.Input | undefined
  }) => Effect.Effect<number, LeaseLost | StoreError.StoreError>
  /**
   * Reads the whole log and follows the chain. 1 GET for the manifest, for each segment and for each page. With `through`, the
   * log also has to have this hash at its position: a `head` and `next` that `status` has told before.
   */
  readonly verify: (through?: {
    readonly next: number
    readonly head: string
  }) => Effect.Effect<Verified, Broken | StoreError.StoreError>
  /**
   * Removes what was put and never committed, except since the collection before this one, and gives the number of parts. 1 GET,
   * 1 PUT, 1 GET for each page, 1 LIST for each 1,000 parts, and 1 request for each 1,000 that are removed.
   */
  readonly collect: Effect.Effect<number, StoreError.StoreError>
}

const Manifest = Schema.Struct({
  next: Schema.Int,
  head: Schema.String,
  /** The time of the last entry. */
  time: Schema.Int,
  first: Schema.Int,
  /** The hash of the link before the first. */
  before: Schema.String,
  fence: Schema.Int,
  note: Schema.optionalKey(Schema.String),
  generation: Schema.Int,
  floor: Schema.Int,
  refs: Schema.Array(logIndex.Ref)
})
type Manifest = typeof Manifest.Type
type Version = CasCell.Version<Manifest>
type Outcome = Version | CasCell.Lost<CasCell.Refusal<Manifest>>

const empty: Manifest = {
  next: 0,
  head: "",
  time: 0,
  first: 0,
  before: "",
  fence: 0,
  ...partsOf.firstGenerations,
  refs: []
}

/** How often a change is made again when others were first. */
const retries = 40

/** The most characters of a note. */
const mostNoted = 1024

const statusOf = ({ fence, first, head, next, note, refs }: Manifest): Status => ({
  first,
  next,
  head,
  fence,
  note,
  segments: logIndex.segmentsIn(refs),
  bytes: logIndex.bytesIn(refs)
})

/** Lists whose sizes together are within bounds, and that go together; what is longer alone is alone. */
const grouped = <X>(
  all: ReadonlyArray<X>,
  sizeOf: (one: X) => readonly [entries: number, bytes: number],
  most: readonly [entries: number, bytes: number],
  goTogether: (first: X, one: X) => boolean = () => true
): ReadonlyArray<ReadonlyArray<X>> => {
  const groups: Array<Array<X>> = []
  let sizes = [0, 0]
  for (const one of all) {
    const [entries, bytes] = sizeOf(one)
    sizes = [sizes[0]! + entries, sizes[1]! + bytes]
    const isOver = sizes[0]! > most[0] || sizes[1]! > most[1]
    if (groups.length === 0 || isOver || !goTogether(groups.at(-1)![0]!, one)) {
      groups.push([])
      sizes = [entries, bytes]
    }
    groups.at(-1)!.push(one)
  }
  return groups
}

const isGone = ({ reason }: StoreError.StoreError): boolean => reason._tag === "NoSuchKey"

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates a log on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when a bound of segments is no whole number above 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(store: ObjectStore["Service"], options: Options<A, I>): AppendLog<A> => {
  const {
    compression,
    prefix,
    schema,
    sealing,
    termsOf,
    segmentBytes = 4 * 1024 * 1024,
    segmentEntries = 4096
  } = options
  for (const [name, bound] of Object.entries({ segmentEntries, segmentBytes })) {
    if (!Number.isSafeInteger(bound) || bound < 1) {
      throw new RangeError(`${name} has to be a whole number above 0, not ${bound}`)
    }
  }
  const most = [segmentEntries, segmentBytes] as const
  const key = `${prefix}/manifest`
  const cell = CasCell.make(store, key, CasCell.schemaFormat(Manifest, { what: "a manifest of a log" }))
  const parts = partsOf.make(store, prefix)
  const index = logIndex.make(parts)
  const maxBytes = Math.max(BlobCodec.defaultMaxBytes, 2 * segmentBytes)
  const blobs = BlobCodec.bytes({ compression, sealing, maxBytes })
  const json = jsonText.make(schema)
  /** Appends of one program wait for each other instead of racing. */
  const turn = Semaphore.makeUnsafe(1)
  let known: Version | undefined

  const failed = (operation: "get" | "put", at: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key: at, reason })

  /** Where a segment begins, it is bound to: the same bytes as another part of the log do not open. */
  const placeOf = (from: number): string => `${prefix}@${from}`

  const load = Effect.fnUntraced(function* ({ from, ref }: logIndex.Placed) {
    const bytes = yield* parts.get(ref.p)
    return yield* Effect.mapError(Effect.flatMap(blobs.decode(bytes, placeOf(from)), logSegments.read), (reason) =>
      failed("get", parts.keyOf(ref.p), reason)
    )
  })

  /** The filter of the terms of entries, where there is to be one. */
  const filterOf = Effect.fnUntraced(function* (links: ReadonlyArray<logSegments.Link>) {
    if (termsOf === undefined) return {}
    const terms = new Set<string>()
    for (const { from, lines } of links) {
      for (const [i, line] of lines.entries()) {
        const value = yield* Effect.mapError(json.read(line, `entry ${from + i} of the log`), (reason) =>
          failed("put", key, reason)
        )
        for (const term of termsOf(value)) terms.add(term)
      }
    }
    return { k: termFilter.write(terms) }
  })

  const save = Effect.fnUntraced(function* (links: ReadonlyArray<logSegments.Link>, generation: number) {
    const filter = yield* filterOf(links)
    const [{ at, from }, last] = [links[0]!, links.at(-1)!]
    const content = logSegments.write(yield* Id.writeId, links)
    const bytes = yield* Effect.mapError(blobs.encode(content, placeOf(from)), (reason) => failed("put", key, reason))
    const ref: logIndex.Ref = {
      p: yield* parts.put(generation, bytes),
      l: 0,
      n: links.reduce((sum, { n }) => sum + n, 0),
      s: 1,
      b: bytes.length,
      c: content.length,
      t: [at, last.at],
      ...filter
    }
    return ref
  })

  const holds =
    (position: number) =>
    ({ from, ref }: logIndex.Placed) =>
      position < from + ref.n

  /** The link that begins at a position; `undefined` when none does, or it is gone. */
  const linkAt = Effect.fnUntraced(function* ({ first, next, refs }: Manifest, position: number) {
    if (position < first || position >= next) return undefined
    const found = yield* index.find(refs, first, holds(position))
    if (found === undefined) return undefined
    return (yield* load(found)).find(({ from }) => from === position)
  })

  // ---------------------------------------------------------------------------
  // Writing
  // ---------------------------------------------------------------------------

  /** Replaces the manifest if it is still this version. */
  const replace = (before: Version, value: Manifest) => cell.attempt(() => Effect.succeed(value), before)

  /**
   * What became of a commit whose write the manifest does not remember any more: whether the link that it was to add is where
   * it was to be. A version that was replaced never comes back, so that it cannot land later.
   */
  const settled = Effect.fnUntraced(function* (
    now: Version,
    error: StoreError.StoreError,
    before: Version,
    link: logSegments.Link
  ): Effect.fn.Return<Outcome, StoreError.StoreError> {
    // It may yet arrive; or retention has passed, and nobody can tell.
    if (now.value === undefined || now.etag === before.etag || now.value.first > link.from) return yield* error
    const there = yield* Effect.mapError(linkAt(now.value, link.from), () => error)
    return there?.hash === link.hash ? now : new CasCell.Lost({ now, error })
  })

  /** Commits a version whose first new link is this one. */
  const commit = Effect.fnUntraced(function* (
    before: Version,
    value: Manifest,
    link: logSegments.Link
  ): Effect.fn.Return<Outcome, StoreError.StoreError> {
    const outcome = yield* Effect.result(replace(before, value))
    if (Result.isFailure(outcome)) {
      const { failure: error } = outcome
      if (error.outcome === "none") return yield* error
      return yield* settled(yield* Effect.mapError(cell.read, () => error), error, before, link)
    }
    if (!CasCell.isLost(outcome.success)) return outcome.success
    const { error, now } = outcome.success.seen
    const [replaced] = before.writes
    // A client library may have sent it twice, and a plain refusal be that of the second.
    const isForgotten = replaced !== undefined && !now.writes.includes(replaced)
    return isForgotten ? yield* settled(now, error, before, link) : outcome.success
  })

  const append = Effect.fnUntraced(function* (
    lines: ReadonlyArray<string>,
    { expected, fence, id: given, note }: AppendOptions
  ): Effect.fn.Return<Appended, PositionConflict | LeaseLost | StoreError.StoreError> {
    const id = given ?? (yield* Id.writeId)
    const groups = grouped(lines, (line) => [1, utf8Length(line) + 1], most)
    const attempt = Effect.fnUntraced(function* (last: CasCell.Lost<CasCell.Refusal<Manifest>> | undefined) {
      const before = last?.seen.now ?? known ?? (yield* cell.read)
      known = undefined
      const manifest = before.value ?? empty
      const held = yield* tokens.check(key, manifest.fence, fence)
      if (expected !== undefined && expected !== manifest.next) {
        const isDone = given !== undefined && (yield* linkAt(manifest, expected))?.id === id
        if (isDone) return { from: expected, next: expected + lines.length }
        // What is known here may be old.
        return yield* new PositionConflict({ key, expected, next: manifest.next })
      }
      if (groups.length === 0) return { from: manifest.next, next: manifest.next }
      const at = Math.max(manifest.time, Math.floor(yield* Clock.currentTimeMillis))
      const links: Array<logSegments.Link> = []
      let [from, prev] = [manifest.next, manifest.head]
      for (const group of groups) {
        const link = logSegments.link({ from, at, id, prev }, group)
        links.push(link)
        from += link.n
        prev = link.hash
      }
      const added = yield* Effect.forEach(links, (link) => save([link], manifest.generation), { concurrency: 4 })
      const refs = yield* index.fold([...manifest.refs, ...added], manifest.generation)
      const noted = note === undefined ? {} : { note }
      const value = { ...manifest, ...noted, next: from, head: prev, time: at, fence: held, refs }
      const outcome = yield* commit(before, value, links[0]!)
      if (CasCell.isLost(outcome)) return outcome
      known = outcome
      return { from: manifest.next, next: from }
    })
    const isOld = known !== undefined && expected !== undefined && expected !== known.value?.next
    if (isOld || (known !== undefined && groups.length === 0)) known = undefined
    return yield* CasCell.contend(attempt, { retries, exhausted: ({ error }) => Effect.fail(error) })
  })

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  const manifestNow = Effect.map(cell.read, ({ value = empty }) => value)

  /** Does something with a version of the manifest, and again with a newer one where a part is gone meanwhile. */
  const withCurrent = Effect.fnUntraced(function* <B, E>(
    manifest: Manifest,
    use: (manifest: Manifest) => Effect.Effect<B, E | StoreError.StoreError>
  ) {
    let current = manifest
    for (;;) {
      const done = yield* Effect.result(use(current))
      if (Result.isSuccess(done)) return { manifest: current, value: done.success }
      const { failure } = done
      if (!StoreError.isStoreError(failure) || !isGone(failure)) return yield* Effect.fail(failure)
      const now = yield* manifestNow
      // It is missing, and was not replaced.
      if (sameRefs(now, current)) return yield* failure
      current = now
    }
  })

  interface Reading {
    readonly manifest: Manifest
    readonly position: number
    readonly to: number
    readonly since: number
    readonly terms: ReadonlyArray<string>
  }

  /** The first segment with a position or after it, before the end, that may have the terms. Pages that were opened are remembered. */
  const findWith = Effect.fnUntraced(function* (
    { first, refs }: Manifest,
    from: number,
    to: number,
    terms: Reading["terms"]
  ) {
    for (let position = from; position < to;) {
      const found = yield* index.find(refs, first, holds(position))
      if (found === undefined || termFilter.mayHave(found.ref.k, terms)) return { found, position }
      position = found.from + found.ref.n
    }
    return { found: undefined, position: to }
  })

  /** The entries of the segment that has a position. */
  const chunk = Effect.fnUntraced(function* (reading: Reading) {
    const { position: start, since, terms, to } = reading
    const { manifest, value } = yield* withCurrent(
      reading.manifest,
      Effect.fnUntraced(function* (current: Manifest) {
        if (start < current.first) return yield* new Trimmed({ key, position: start, first: current.first })
        const { found, position } = yield* findWith(current, start, to, terms)
        if (found !== undefined) return { position, links: yield* load(found) }
        if (position >= to) return { position, links: [] }
        return yield* failed("get", key, new StoreError.Corrupt({ description: `no segment has position ${position}` }))
      })
    )
    const { links, position } = value
    const entries: Array<Entry<A>> = []
    let end = position
    for (const { at, from, lines, n } of links) {
      end = Math.max(end, Math.min(from + n, to))
      if (at < since) continue
      for (let i = Math.max(0, position - from); i < Math.min(n, to - from); i++) {
        const value = yield* Effect.mapError(json.read(lines[i]!, `entry ${from + i} of the log`), (reason) =>
          failed("get", key, reason)
        )
        entries.push({ position: from + i, at, value })
      }
    }
    return { entries, next: { ...reading, manifest, position: end } }
  })

  /** Where reading begins. */
  const begin = Effect.fnUntraced(function* ({ from, since = -Infinity, terms = [], to = Infinity }: ReadOptions) {
    const manifest = yield* manifestNow
    const isLate = ({ ref }: logIndex.Placed) => ref.t[1] >= since
    const found =
      since === -Infinity
        ? undefined
        : yield* withCurrent(manifest, ({ first, next, refs }) =>
            Effect.map(index.find(refs, first, isLate), (placed) => placed?.from ?? next)
          )
    const position = Math.max(from ?? manifest.first, found?.value ?? 0)
    return { manifest: found?.manifest ?? manifest, position, to: Math.min(to, manifest.next), since, terms } as Reading
  })

  const read = (options: ReadOptions = {}): Stream.Stream<Entry<A>, Trimmed | StoreError.StoreError> =>
    Stream.fromEffect(begin(options)).pipe(
      Stream.flatMap((start) =>
        start.position >= start.to
          ? Stream.empty
          : Stream.paginate(start, (reading) =>
              Effect.map(
                chunk(reading),
                ({ entries, next }) => [entries, next.position < next.to ? Option.some(next) : Option.none()] as const
              )
            )
      )
    )

  const follow = ({ firstPause = "1 second", from, longestPause = "1 minute" }: FollowOptions = {}) => {
    const [first, longest] = [firstPause, longestPause].map((pause) =>
      Duration.toMillis(Duration.fromInputUnsafe(pause))
    )
    interface Following {
      readonly reading: Reading | undefined
      /** The pauses since the last entry. */
      readonly idle: number
    }
    return Stream.paginate<Following, Entry<A>, Trimmed | StoreError.StoreError>(
      { reading: undefined, idle: 0 },
      Effect.fnUntraced(function* ({ idle, reading }) {
        let at = reading
        if (at === undefined) {
          const manifest = yield* manifestNow
          const position = from === "end" ? manifest.next : (from ?? manifest.first)
          at = { manifest, position, to: manifest.next, since: -Infinity, terms: [] }
        }
        if (at.position < at.to) {
          const { entries, next } = yield* chunk(at)
          return [entries, Option.some({ reading: next, idle: 0 })]
        }
        yield* Effect.sleep(Math.min(longest!, first! * 2 ** Math.min(idle, 30)))
        const manifest = yield* manifestNow
        return [[], Option.some({ reading: { ...at, manifest, to: manifest.next }, idle: idle + 1 })]
      })
    )
  }

  // ---------------------------------------------------------------------------
  // Upkeep
  // ---------------------------------------------------------------------------

  /** Changes the manifest by what is made of its newest version: `undefined` to leave it. The parts that go are removed after it. */
  const rewrite = Effect.fnUntraced(function* <E>(
    change: (
      manifest: Manifest
    ) => Effect.Effect<{ readonly manifest: Manifest; readonly gone: ReadonlyArray<string> } | undefined, E>
  ) {
    const attempt = Effect.fnUntraced(function* (last: CasCell.Lost<CasCell.Refusal<Manifest>> | undefined) {
      const before = last?.seen.now ?? (yield* cell.read)
      const manifest = before.value ?? empty
      // Another may have removed parts that are being read here.
      const made = yield* Effect.result(change(manifest))
      if (Result.isFailure(made)) {
        const { failure } = made
        if (!StoreError.isStoreError(failure) || !isGone(failure)) return yield* Effect.fail(failure)
        const now = yield* cell.read
        if (now.etag === before.etag) return yield* Effect.fail(failure)
        return new CasCell.Lost({ now, error: failure })
      }
      if (made.success === undefined) return { manifest, gone: [] }
      const outcome = yield* replace(before, made.success.manifest)
      return CasCell.isLost(outcome) ? outcome : made.success
    })
    const done = yield* CasCell.contend(attempt, { retries, exhausted: ({ error }) => Effect.fail(error) })
    known = undefined
    // Nobody names them any more: what is left of them, a collection takes.
    yield* Effect.ignore(parts.remove(done.gone))
    return done
  })

  /** What is left of references when segments go from the beginning; a page of which that is not sure is opened. */
  const cutFront = Effect.fnUntraced(function* (
    refs: logIndex.Refs,
    first: number,
    goes: (placed: logIndex.Placed, isOpen: boolean) => boolean
  ): Effect.fn.Return<Cut, StoreError.StoreError> {
    const gone: Array<logIndex.Ref> = []
    const opened: Array<logIndex.Ref> = []
    for (const [i, one] of logIndex.placed(refs, first).entries()) {
      if (goes(one, false)) {
        gone.push(one.ref)
        continue
      }
      if (one.ref.l === 0 || !goes(one, true)) return { gone, opened, kept: refs.slice(i) }
      opened.push(one.ref)
      const below = yield* cutFront(yield* index.children(one.ref), one.from, goes)
      gone.push(...below.gone)
      opened.push(...below.opened)
      if (below.kept.length > 0) return { gone, opened, kept: [...below.kept, ...refs.slice(i + 1)] }
    }
    return { gone, opened, kept: [] }
  })

  /**
   * Whether a segment goes, or a page, all of it or, to be opened, its beginning. Each condition holds of a beginning of the log:
   * of a page all goes when its last entry would, and something may when its first would.
   */
  const goingBy = ({ first, next, refs }: Manifest, { before, bytes, entries }: Retention, oldest: number) => {
    const isByPosition = oldest === -Infinity && bytes === undefined && entries === undefined
    const limit = Math.min(before ?? (isByPosition ? first : next), next)
    const total = logIndex.bytesIn(refs)
    let gone = 0
    return ({ from, ref }: logIndex.Placed, isOpen: boolean): boolean => {
      const end = from + ref.n
      const isBeginning = isOpen || ref.l === 0
      const [lastFrom, lastGone] = isBeginning ? [from, gone] : [end - 1, gone + ref.b - 1]
      const isLate = isOpen ? from >= limit : end > limit
      const goes =
        !isLate &&
        (isByPosition ||
          ref.t[isOpen ? 0 : 1] < oldest ||
          next - lastFrom > (entries ?? Infinity) ||
          total - lastGone > (bytes ?? Infinity))
      if (goes && !isOpen) gone += ref.b
      return goes
    }
  }

  const refused = (argument: string, description: string) =>
    Effect.fail(
      new StoreError.StoreError({
        operation: "put",
        key,
        reason: new StoreError.InvalidArgument({ argument, description })
      })
    )

  /** Milliseconds. */
  const durationOf = (argument: string, given: Duration.Input): Effect.Effect<number, StoreError.StoreError> => {
    const millis = millisecondsOf(given)
    if (millis >= 0) return Effect.succeed(millis)
    return refused(argument, `${argument}: Expected a duration, such as "30 days", not ${String(given)}`)
  }

  const retain = Effect.fn("AppendLog.retain")(function* (retention: Retention) {
    const { age = Infinity, fence } = retention
    // All would be older than a time that is none.
    for (const argument of ["before", "bytes", "entries"] as const) {
      const given = retention[argument]
      if (given !== undefined && !(given >= 0)) {
        return yield* refused(argument, `${argument}: Expected a number from 0, not ${given}`)
      }
    }
    const now = yield* Clock.currentTimeMillis
    const oldest = now - (yield* durationOf("age", age))
    const { manifest } = yield* rewrite(
      Effect.fnUntraced(function* (manifest: Manifest) {
        const held = yield* tokens.check(key, manifest.fence, fence)
        const cut = yield* cutFront(manifest.refs, manifest.first, goingBy(manifest, retention, oldest))
        if (cut.gone.length === 0) return undefined
        const first = manifest.first + logIndex.entriesIn(cut.gone)
        const kept = yield* index.find(cut.kept, first, () => true)
        const before = kept === undefined ? manifest.head : (yield* load(kept))[0]!.prev
        const { pages, segments } = yield* index.flatten(cut.gone)
        const refs = yield* index.fold(cut.kept, manifest.generation)
        const gone = [...segments, ...pages, ...cut.opened].map(({ p }) => p)
        return { manifest: { ...manifest, fence: held, first, before, refs }, gone }
      })
    )
    return manifest.first
  })

  /** Whether it is filled well enough to be left alone. */
  const isFull = ({ c, n, s }: logIndex.Ref): boolean => n * 2 > s * segmentEntries || c * 2 > s * segmentBytes

  const compact = Effect.fn("AppendLog.compact")(function* ({
    fence,
    span
  }: { readonly fence?: number | undefined; readonly span?: Duration.Input | undefined } = {}) {
    const longest = yield* durationOf("span", span ?? Infinity)
    const goTogether = (first: logIndex.Placed, { ref }: logIndex.Placed) => ref.t[1] - first.ref.t[0] <= longest
    const { gone } = yield* rewrite(
      Effect.fnUntraced(function* (manifest: Manifest) {
        const held = yield* tokens.check(key, manifest.fence, fence)
        const { first, generation, refs } = manifest
        const at = refs.findIndex((ref) => !isFull(ref))
        if (at === -1) return undefined
        const { pages, segments } = yield* index.flatten(refs.slice(at))
        const from = first + logIndex.entriesIn(refs.slice(0, at))
        const groups = grouped(logIndex.placed(segments, from), ({ ref }) => [ref.n, ref.c] as const, most, goTogether)
        if (groups.every((group) => group.length === 1)) return undefined
        const merged = yield* Effect.forEach(groups, (group) =>
          group.length === 1
            ? Effect.succeed(group[0]!.ref)
            : Effect.flatMap(Effect.forEach(group, load, { concurrency: 8 }), (links) => save(links.flat(), generation))
        )
        const folded = yield* index.fold([...refs.slice(0, at), ...merged], generation)
        const kept = new Set(merged)
        const names = [...segments.filter((ref) => !kept.has(ref)), ...pages].map(({ p }) => p)
        return { manifest: { ...manifest, fence: held, refs: folded }, gone: names }
      })
    )
    return gone.length
  })

  const verify = Effect.fn("AppendLog.verify")(function* (through?: { readonly next: number; readonly head: string }) {
    const start = yield* manifestNow
    const broken = (part: string, position: number, description: string) =>
      new Broken({ key: part, position, description })
    const keyAt = (one: logIndex.Placed | undefined) => (one === undefined ? key : parts.keyOf(one.ref.p))
    let manifest = start
    let [position, prev, time, segments] = [start.first, start.before, -Infinity, 0]
    const check = Effect.fnUntraced(function* (part: string, link: logSegments.Link) {
      if (link.from !== position)
        return yield* broken(part, position, `it has position ${link.from} instead of ${position}`)
      if (link.prev !== prev) return yield* broken(part, position, "it does not follow on what was appended before it")
      if (link.at < time) return yield* broken(part, position, "it is older than what was appended before it")
      position += link.n
      prev = link.hash
      time = link.at
      if (position === through?.next && prev !== through.head) {
        return yield* broken(part, link.from, "the log is another than the one that was seen before")
      }
    })
    while (position < start.next) {
      let found: logIndex.Placed | undefined
      const here = position
      const seen = yield* withCurrent(
        manifest,
        Effect.fnUntraced(function* (current: Manifest) {
          if (here < current.first) return undefined
          found = yield* index.find(current.refs, current.first, holds(here))
          return found === undefined ? [] : yield* load(found)
        })
      ).pipe(
        Effect.catchReasons("StoreError", {
          NoSuchKey: () => Effect.fail(broken(keyAt(found), here, "it is missing")),
          Corrupt: ({ description }) => Effect.fail(broken(keyAt(found), here, description))
        })
      )
      manifest = seen.manifest
      if (seen.value === undefined) {
        // Retention has passed: what is left begins with what it remembers.
        ;[position, prev] = [manifest.first, manifest.before]
        continue
      }
      const links = seen.value.filter(({ from }) => from >= here && from < start.next)
      const size = seen.value.reduce((sum, { n }) => sum + n, 0)
      if (links.length === 0 || size !== found?.ref.n) {
        return yield* broken(keyAt(found), here, "it does not have the entries that the log says")
      }
      for (const link of links) yield* check(keyAt(found), link)
      segments += 1
    }
    if (position === start.next && prev !== start.head)
      return yield* broken(key, position, "its last entry is not that of the log")
    if (through !== undefined && through.next > start.next) {
      return yield* broken(key, start.next, "entries that were seen before are missing at the end")
    }
    return { first: start.first, next: start.next, head: start.head, segments } satisfies Verified
  })

  return {
    append: Effect.fn("AppendLog.append")(function* (entries, appending = {}) {
      const lines = yield* Effect.mapError(
        Effect.forEach(entries, (entry, i) => json.write(entry, `entry ${i}`)),
        (reason) => failed("put", key, reason)
      )
      if ((appending.note?.length ?? 0) > mostNoted) {
        const description = `a note has at most ${mostNoted} characters`
        return yield* failed("put", key, new StoreError.InvalidArgument({ argument: "note", description }))
      }
      return yield* turn.withPermits(1)(append(lines, appending))
    }),
    raiseFence: Effect.fn("AppendLog.raiseFence")(function* (fence) {
      const version = yield* cell.modify((manifest = empty) =>
        Effect.map(tokens.check(key, manifest.fence, fence), (held) =>
          held === manifest.fence ? manifest : { ...manifest, fence: held }
        )
      )
      known = version
      return statusOf(version.value ?? empty)
    }),
    status: Effect.map(manifestNow, statusOf),
    read,
    follow,
    retain,
    compact,
    verify,
    collect: Effect.gen(function* () {
      const { value = empty } = yield* cell.modify((manifest) =>
        Effect.succeed(manifest === undefined ? undefined : { ...manifest, ...partsOf.nextGenerations(manifest) })
      )
      known = undefined
      const { pages, segments } = yield* index.flatten(value.refs)
      return yield* parts.collect(value.floor, new Set([...pages, ...segments].map(({ p }) => p)))
    })
  }
}

/** The beginning of a log taken away: what goes, which pages were opened for it, and what stays. */
interface Cut {
  readonly gone: logIndex.Refs
  readonly opened: logIndex.Refs
  readonly kept: logIndex.Refs
}

const sameRefs = (a: Manifest, b: Manifest): boolean =>
  a.refs.length === b.refs.length && a.refs.every(({ p }, i) => p === b.refs[i]!.p)
