/**
 * The journal: every committed version of every document of a database, exactly once, in one total order that respects the order
 * of the versions of each document.
 *
 * ```ts
 * import * as Journal from "effect-s3db/kernel/Journal"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Stream } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const journal = yield* Journal.make(yield* ObjectStore)
 *   return yield* Stream.runCollect(journal.read({ from: 0 }))
 * })
 * ```
 *
 * **Details**
 *
 * Whoever writes a document announces the write first: an entry in the pending set, 1 PUT beside those of markers. A journaler finds
 * out which of them were committed, and appends those to a log; consumers read it from a position.
 *
 * @see `docs/design/journal.md`
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { JsonObject } from "../encoding/Json.ts"
import { getOption, listAll, maxKeyBytes, type ObjectStore, type PutRequest } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as AppendLog from "./AppendLog.ts"
import type * as BlobCodec from "./BlobCodec.ts"
import * as client from "./internal/journalClient.ts"
import * as entry from "./internal/journalEntry.ts"
import * as journalers from "./internal/journaler.ts"
import * as Lease from "./Lease.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a write has made of a document.
 *
 * @category models
 * @since 0.1.0
 */
export const Kind = entry.Kind

/**
 * What a write has made of a document.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = typeof Kind.Type

/**
 * A committed version, as the log keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export const Record = Schema.Struct({
  resource: Schema.String,
  id: Schema.String,
  kind: Kind,
  /** Names the version; no other record has it. */
  writeId: Schema.String,
  /**
   * The write id of the version that it has replaced; absent where there was nothing. That of an insert may be of no record: on a store
   * that does not delete on condition, of what a transaction that was aborted has left; and of what was there before the journal was.
   */
  previous: Schema.optionalKey(Schema.String),
  /** When it was written, in milliseconds since the epoch by the clock of the writer. */
  time: Schema.Int,
  /** The document before, as it was stored; only where the resource asks for it. */
  before: Schema.optionalKey(entry.Image),
  /** The document after, as it was stored; only where the resource asks for it. */
  after: Schema.optionalKey(entry.Image),
  /** Who asked for it, and what else the program that wrote it has told. */
  context: Schema.optionalKey(entry.Image)
})

/**
 * A committed version, as the log keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export type Record = typeof Record.Type

/**
 * A record and its place: `position`, from 0 without a hole, `at`, when it was journaled by the clock of the journaler, and
 * `value`.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = AppendLog.Entry<Record>

/**
 * A write that is about to be committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly resource: string
  readonly id: string
  /** New for each attempt to commit; of a deletion that of its tombstone. 8 to 64 letters, digits, `-`, `_`. */
  readonly writeId: string
  /**
   * The identity of the version that it replaces: the write id under which that was written first, whatever a transaction that
   * was aborted has put back since; of a tombstone its write id. `undefined`: there is nothing, not even a tombstone.
   */
  readonly previous: string | undefined
  readonly kind: Kind
  /** Whole milliseconds since the epoch, by the clock of the writer. */
  readonly time: number
}

/**
 * What a write carries along. It is all in the body of the entry: without it an entry has none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Detail {
  /** The document before, as it is stored. */
  readonly before?: JsonObject | undefined
  /** The document after, as it is stored. */
  readonly after?: JsonObject | undefined
  readonly context?: JsonObject | undefined
}

/**
 * An entry of the pending set, as its key tells.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pending extends Omit<Write, "resource" | "id"> {
  readonly key: string
  /** 8 characters, random for each process. */
  readonly client: string
  /** Of the client: 0, 1, 2, ... */
  readonly number: number
  /** Numbers of the client whose writes were committed when it was made. */
  readonly acknowledged: ReadonlyArray<number>
  readonly hasBody: boolean
  /** `undefined`: the ids are too long for a key, and the body tells. */
  readonly document: { readonly resource: string; readonly id: string } | undefined
}

/**
 * An entry that is to be put: `request`, on the store of the journal, before the write is committed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announced {
  readonly pending: Pending
  /** It says `repeatable: false`: an answer that is lost stays unknown. */
  readonly request: PutRequest
}

/**
 * This process, as a writer.
 *
 * **Details**
 *
 * The protocol of a write: `announce` it, make the `request`, commit the document, and then tell `committed`. Where the answer to the
 * request was lost the write must not be committed any more: it begins anew under another write id, so that no key is ever put
 * twice. So it is where the commit was refused and is tried on another version. Who knows that a write will never be committed
 * tells `abandoned` and may remove the key; else the journaler does in time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  /** 8 characters, random. */
  readonly name: string
  /** Makes the entry of a write. `InvalidArgument`: it has no form. No request. */
  readonly announce: (write: Write, detail?: Detail) => Effect.Effect<Announced, StoreError.StoreError>
  /** The write is committed, for certain. Later entries tell of it, so that no journaler has to ask. No request. */
  readonly committed: (announced: Announced) => Effect.Effect<void>
  /** The write is not committed, and never will be, for certain. No request. */
  readonly abandoned: (announced: Announced) => Effect.Effect<void>
}

/**
 * Where a journal lies, and what its log is like.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The beginning of all keys: `PREFIX/pending/`, `PREFIX/log/`, `PREFIX/lease`. Default: `journal`. */
  readonly prefix?: string | undefined
  /** The most records of a segment of the log. Default: 4,096. */
  readonly segmentEntries?: number | undefined
  /** The most bytes of the records of a segment, compression aside; a longer record has one of its own. Default: 4 MiB. */
  readonly segmentBytes?: number | undefined
  /** Default: `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
  /** Default: segments are not sealed. Entries in the pending set never are. */
  readonly sealing?: BlobCodec.Sealing | undefined
}

/**
 * What is at the key of a document, as one read has found it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Head {
  /**
   * The identity of the version or the tombstone that counts: of the one that a transaction has announced, if that is committed;
   * of the one before, if it is pending or aborted. `undefined`: there is none.
   */
  readonly identity: string | undefined
  /** Write ids of what it was built upon. They may be few, and of others than versions, but none of a write that was never committed. */
  readonly ancestors: ReadonlyArray<string>
}

/**
 * What a journaler asks of those who know documents: the kernel knows none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Documents {
  /** Reads what counts at the key of a document. 1 GET, and more where a transaction has announced something. */
  readonly head: (resource: string, id: string) => Effect.Effect<Head, StoreError.StoreError>
  /**
   * Removes the tombstone of a deletion that is in the journal, if it is still the one with this write id and the store
   * deletes on condition; else nothing. An error that may pass is tried again.
   */
  readonly sweep: (deletion: Pick<Write, "id" | "resource" | "writeId">) => Effect.Effect<void, StoreError.StoreError>
}

/**
 * How a journaler works.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions {
  /** The pause while there is something to do, and after a commit of this process. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The pause doubles up to this while nothing comes. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** The lease under which one of all journalers works. Default: 90 seconds. */
  readonly lease?: Duration.Input | undefined
}

/**
 * What `catchUp` has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface CaughtUp {
  readonly appended: number
  /** Entries of writes that were never committed. */
  readonly dropped: number
  /** Entries that are left, of writes of which nobody can tell whether they will be committed yet. */
  readonly undecided: number
  /** The position of the next record. */
  readonly next: number
}

/**
 * How `waitUntil` looks.
 *
 * @category models
 * @since 0.1.0
 */
export interface WaitOptions {
  /** The pause after the first look; it doubles. Default: 100 milliseconds. */
  readonly firstPause?: Duration.Input | undefined
  /** Default: 10 seconds. */
  readonly longestPause?: Duration.Input | undefined
}

/**
 * A journal. All members that make requests fail with `StoreError` too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Journal {
  readonly prefix: string
  readonly client: Client
  /** Reads records from a position or a time to the end that the journal has when reading begins. Requests of `AppendLog.read`. */
  readonly read: (options?: AppendLog.ReadOptions) => Stream.Stream<Entry, AppendLog.Trimmed | StoreError.StoreError>
  /** Reads records from a position, and those that come later, without end. Requests of `AppendLog.follow`. */
  readonly stream: (
    options?: AppendLog.FollowOptions
  ) => Stream.Stream<Entry, AppendLog.Trimmed | StoreError.StoreError>
  /** The position of the next record. 1 GET. */
  readonly position: Effect.Effect<number, StoreError.StoreError>
  /** What is known of the log without reading it: `first`, `next`, `head`, ... 1 GET. */
  readonly status: Effect.Effect<AppendLog.Status, StoreError.StoreError>
  /**
   * Waits until the journal has come to a position: all records before it can be read. 1 GET for each look; once the position has stood for
   * 10 seconds 1 GET more, 1 LIST for each 1,000 entries that wait, and 1 GET for each body, 100 at a look, each once.
   *
   * It fails with what stops a journaler: with what has ended `run` of this journal after it was asked for; and, of another process, `Corrupt`
   * with the `key` of the log, the lease or an entry that is damaged. What else stops another process, such as a damaged document or rights that
   * it does not have, is not to be seen from here: `Plugin.statuses` of that process tells, and this waits until it is mended.
   */
  readonly waitUntil: (position: number, options?: WaitOptions) => Effect.Effect<number, StoreError.StoreError>
  /**
   * Journals what is committed, as long as it runs. Any number of processes may run it: one at a time works, by a lease, and gives
   * it up when nothing has come for as long as the longest pause.
   *
   * While there is something to do: 1 LIST for each 1,000 entries, 1 PUT for each 4,000 and 1 PUT for the manifest, 1 DeleteObjects for
   * each 1,000; 1 GET for each entry with a body that another process has written, and 1 for each whose client does not tell by a
   * later entry that it is committed; what `Documents` make; and 6 to begin, of which 3 are of the lease. While there is nothing: 1 LIST
   * after each longest pause.
   *
   * Errors that may pass are waited out, with a warning; it fails with others.
   */
  readonly run: (documents: Documents, options?: RunOptions) => Effect.Effect<never, StoreError.StoreError>
  /**
   * Journals all that is committed by now, and ends. Waits for the lease. Requests as `run`, in 3 rounds at least; each document of
   * which an entry is undecided is read.
   *
   * `nobodyWrites`: no program writes, and none has a write under way. Then what is undecided never commits, and is removed.
   */
  readonly catchUp: (
    documents: Documents,
    options?: Pick<RunOptions, "lease"> & { readonly nobodyWrites?: boolean | undefined }
  ) => Effect.Effect<CaughtUp, StoreError.StoreError>
  /** The entries that wait to be settled, in no order. 1 LIST for each 1,000. */
  readonly pending: Stream.Stream<Pending, StoreError.StoreError>
  /**
   * Removes records from the beginning, whole segments, and gives the first position that is kept. Requests of `AppendLog.retain`,
   * and 1 GET. The newest records stay, those whose entries may still be in the pending set. Beside a journaler, in any process.
   *
   * Who reads from a position that is gone fails with `Trimmed`: keep what the slowest consumer has not read by `before`.
   */
  readonly retain: (retention: Omit<AppendLog.Retention, "fence">) => Effect.Effect<number, StoreError.StoreError>
  /** Puts small segments together, beside a journaler, in any process. Requests of `AppendLog.compact`, and 1 GET. */
  readonly compact: Effect.Effect<number, StoreError.StoreError>
  /** Follows the chain of hashes through the whole journal. Requests of `AppendLog.verify`. */
  readonly verify: (through?: {
    readonly next: number
    readonly head: string
  }) => Effect.Effect<AppendLog.Verified, AppendLog.Broken | StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** How long a position stands until who waits for it asks why. */
const standsMillis = 10_000

/** How many bodies of entries are read at a look. */
const mostRead = 100

const millisOf = (pause: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(pause))

/**
 * Opens a journal on a store that honours conditional writes. Each call is another client, so one for each process and
 * database is enough. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<Journal> {
  const { compression, prefix = "journal", sealing, segmentBytes, segmentEntries } = options
  const log = AppendLog.make(store, {
    prefix: `${prefix}/log`,
    schema: Record,
    compression,
    sealing,
    segmentBytes,
    segmentEntries
  })
  const writer = yield* client.make({ prefix, keyBytes: store.keyBytes ?? maxKeyBytes })
  const { status } = log
  const journaler = (
    documents: Documents,
    { firstPause = "1 second", lease = "90 seconds", longestPause = "1 minute" }: RunOptions
  ) =>
    journalers.make({
      store,
      prefix,
      log,
      client: writer,
      documents,
      lease: Lease.make(store, { key: `${prefix}/lease`, duration: lease }),
      firstPause: millisOf(firstPause),
      longestPause: millisOf(longestPause)
    })

  /** What has ended `run`, how often and last. */
  let halts = 0
  let halted: StoreError.StoreError | undefined

  const pending = listAll(store, { prefix: entry.folderOf(prefix), keysOnly: true }).pipe(
    Stream.map(({ key }) => entry.parse(prefix, key)),
    Stream.filter((one) => one !== undefined)
  )

  /** Fails with what is damaged of what a journaler needs, whichever process that is in. `whole`: keys of entries that were found whole. */
  const inspect = Effect.fnUntraced(function* (whole: Set<string>) {
    yield* Lease.make(store, { key: `${prefix}/lease` }).state
    const waiting = yield* Stream.runCollect(Stream.filter(pending, ({ hasBody, key }) => hasBody && !whole.has(key)))
    const readOne = Effect.fnUntraced(function* ({ key }: Pending) {
      const found = yield* getOption(store, key)
      if (Option.isSome(found)) yield* entry.readBody(key, found.value.body)
      whole.add(key)
    })
    // What is in the way has waited for longer than what is behind it.
    const oldest = waiting.toSorted((a, b) => a.time - b.time).slice(0, mostRead)
    yield* Effect.forEach(oldest, readOne, { concurrency: 8, discard: true })
  })

  const fenceOf = ({ fence }: AppendLog.Status) => (fence === 0 ? undefined : fence)

  /** Does what compare-and-set alone makes safe, whoever has the lease at the time. */
  const asHolder = <A>(
    work: (at: AppendLog.Status) => Effect.Effect<A, Lease.LeaseLost | StoreError.StoreError>
  ): Effect.Effect<A, StoreError.StoreError> =>
    Effect.flatMap(status, work).pipe(Effect.catchTag("LeaseLost", () => Effect.suspend(() => asHolder(work))))

  return {
    prefix,
    client: writer,
    read: (reading) => log.read(reading),
    stream: (following) => log.follow(following),
    position: Effect.map(status, ({ next }) => next),
    status,
    waitUntil: Effect.fn("Journal.waitUntil")(function* (
      position,
      { firstPause = "100 millis", longestPause = "10 seconds" } = {}
    ) {
      const longest = millisOf(longestPause)
      const [before, whole] = [halts, new Set<string>()]
      let last: number | undefined
      let stood = 0
      for (let pause = millisOf(firstPause); ; pause = Math.min(longest, pause * 2)) {
        const { next } = yield* status
        if (next >= position) return next
        if (halted !== undefined && halts > before) return yield* halted
        stood = next === last ? stood : 0
        if (stood >= standsMillis) yield* inspect(whole)
        last = next
        yield* Effect.sleep(pause)
        stood += pause
      }
    }),
    pending,
    run: (documents, running = {}) =>
      Effect.tapError(journaler(documents, running).run, (error) =>
        Effect.sync(() => {
          halts += 1
          halted = error
        })
      ),
    catchUp: Effect.fn("Journal.catchUp")(function* (documents, { nobodyWrites = false, ...running } = {}) {
      const { appended, dropped, next, undecided } = yield* journaler(documents, running).catchUp(nobodyWrites)
      return { appended, dropped, next, undecided }
    }),
    retain: Effect.fn("Journal.retain")((retention) =>
      asHolder((at) => {
        const { age, bytes, entries, before } = retention
        if ([age, before, bytes, entries].every((one) => one === undefined)) return Effect.succeed(at.first)
        // What may still be in the pending set has to be known from the log, or it would be journaled again.
        const removed = journalers.removedOf(at)
        return log.retain({ ...retention, fence: fenceOf(at), before: Math.min(before ?? removed, removed) })
      })
    ),
    compact: asHolder((at) => log.compact({ fence: fenceOf(at) })),
    verify: log.verify
  }
})
