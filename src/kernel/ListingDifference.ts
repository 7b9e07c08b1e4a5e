/**
 * The listing difference: what is new, changed or gone below a prefix since somebody last looked, found by two listings and
 * nothing else. Writes cost nothing; a look costs 1 LIST for each 1,000 keys.
 *
 * ```ts
 * import * as ListingDifference from "effect-s3db/kernel/ListingDifference"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Console, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const photos = ListingDifference.make(yield* ObjectStore, { listed: "photos/", prefix: "plugin=thumbnails/seen" })
 *   yield* photos.pass((differences) => Console.log(differences.length))
 * })
 * ```
 *
 * **Details**
 *
 * What was seen is kept as a snapshot: each key with its ETag, in immutable parts of some thousand keys each, of which a
 * manifest says which keys it is about (`Segments`). A pass reads the parts and the listing side by side, in the order of keys, and
 * takes as much memory as a few parts, whatever the number of keys. For each run of keys it tells the differences, and
 * when the handler is done with them puts the parts of that run in place of the former ones, by compare-and-set. So the
 * snapshot is at any time that of what has been handled: who crashes tells at most the differences of one run again, and
 * misses none. Each key is compared for itself, so that it does not matter when a pass begins, stops or goes on, and what
 * changes while it runs is told by this pass or by the next.
 *
 * Several consumers have each a `prefix` of their own. Of one consumer one process should run at a time (`run`, or `token`): two
 * at once miss nothing, but both tell what they find.
 *
 * **Gotchas**
 *
 * A key that was changed twice between two passes is told once, and one that came and went not at all. Two versions with
 * the same ETag are the same: on most stores the ETag is a hash of the body.
 *
 * @see `docs/design/listing-difference.md`
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { compareUtf8 } from "../internal/text.ts"
import { type ETag, listAll, type ListEntry, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import type * as BlobCodec from "./BlobCodec.ts"
import * as Checkpoint from "./Checkpoint.ts"
import * as snapshots from "./internal/listingSnapshot.ts"
import * as walking from "./internal/listingWalk.ts"
import * as Lease from "./Lease.ts"
import * as Segments from "./Segments.ts"
import * as StoreClock from "./StoreClock.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is listed, and where the snapshot lies.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What the keys that are compared begin with. */
  readonly listed: string
  /** The beginning of the keys of the snapshot, its segments escaped, without a slash at the end. Not below `listed`. */
  readonly prefix: string
  /** Which keys are compared. Default: all. */
  readonly select?: ((key: string) => boolean) | undefined
  /** Whether an object stands for nothing: what tells of a deletion, say. It is not read. Default: none does. */
  readonly isAbsent?: ((entry: ListEntry) => boolean) | undefined
  /**
   * Which keys may come to mean something else without a new ETag. It is asked after a run of keys was listed, and only if there
   * are differences in it. Those keys are told, and told again by the pass that finds them decided. Default: none.
   */
  readonly undecided?: Effect.Effect<(key: string) => boolean, StoreError.StoreError> | undefined
  /**
   * How many keys a part of the snapshot has, from half to twice as many. It is what a pass has in memory, and what is told again
   * after a crash. 1 to 65,536. Default: 8,192.
   */
  readonly keysPerPart?: number | undefined
  /** Of the snapshot. Default: `"gzip"`. */
  readonly compression?: BlobCodec.Compression | undefined
  /** The most differences that the handler is given at once. 1 or more. Default: 500. */
  readonly batchSize?: number | undefined
  /**
   * Whether the store lists keys in their order: `orderedList` of what a probe of it has found. Default: what the store
   * knows of itself, and if it does not, no. Without order a pass holds all keys in memory to sort them.
   */
  readonly orderedList?: boolean | undefined
}

/**
 * A key that is not as it was when it was last seen.
 *
 * @category models
 * @since 0.1.0
 */
export type Difference =
  | {
      readonly _tag: "New"
      readonly key: string
      readonly etag: ETag
      /** In bytes. */
      readonly size: number | undefined
      /** Milliseconds since the epoch by the store's clock. */
      readonly lastModified: number | undefined
    }
  | {
      readonly _tag: "Changed"
      readonly key: string
      readonly etag: ETag
      readonly size: number | undefined
      readonly lastModified: number | undefined
      /** As it was seen before; the same for a key that was undecided. */
      readonly before: ETag
    }
  | {
      readonly _tag: "Gone"
      readonly key: string
      /** As it was seen before; empty where it may have been told as new by a pass that came to no end. */
      readonly before: ETag
    }

/**
 * What a pass has found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summary {
  /** How many keys it has listed, without those that stand for nothing. */
  readonly keys: number
  readonly new: number
  readonly changed: number
  readonly gone: number
  /** Whether it went on where another pass had stopped: it has not listed what that had. */
  readonly resumed: boolean
}

/**
 * Under which lease a pass runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface PassOptions {
  /** The token of a lease: who had it before is shut out. Default: 0, that of no lease. */
  readonly token?: number | undefined
}

/**
 * How passes are made again and again.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions {
  /** The pause after a pass. Default: 1 minute. */
  readonly every?: Duration.Input | undefined
  /** How long the lease lasts without a renewal. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
}

/**
 * The differences of a prefix, for one consumer.
 *
 * **Details**
 *
 * n keys, p parts of the snapshot (n / 8,192), c of which have differences:
 *
 * | operation | requests |
 * |---|---|
 * | pass | 2 GET, p GET, ceil(n / 1000) LIST |
 * | with a token that is new | 2 PUT more |
 * | what has differences | c times 2 PUT, and what `undecided` asks for; twice that where something is new |
 * | a pass of more than 10 seconds | 1 PUT for each 10 seconds, and 1 at its end |
 * | each 64 parts that were written | 1 GET, 1 PUT, 1 LIST and 1 DeleteObjects to collect those they replace |
 *
 * @category models
 * @since 0.1.0
 */
export interface ListingDifference {
  readonly listed: string
  /**
   * Lists once, and gives the handler what is new, changed or gone, in the order of keys, each at least once. The first pass
   * tells all there is as new; use `baseline` to begin with what comes later. A pass that failed, crashed or was
   * interrupted is gone on with by the next.
   *
   * Fails as the handler does: what it was given is told again by the next pass. `LeaseLost`: somebody has the lease by now.
   * `StoreError`: what the store says; `Corrupt`: a part of the snapshot is damaged or gone: `reset` and begin anew;
   * `Unexpected`: the store lists in no order, or without ETags.
   */
  readonly pass: <E, R>(
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>,
    options?: PassOptions
  ) => Effect.Effect<Summary, E | Lease.LeaseLost | StoreError.StoreError, R>
  /** Takes what is there for seen. The requests of a pass. */
  readonly baseline: (options?: PassOptions) => Effect.Effect<Summary, Lease.LeaseLost | StoreError.StoreError>
  /** The differences to what has been seen, without taking them for seen. The requests of a pass that finds none. */
  readonly peek: Stream.Stream<Difference, StoreError.StoreError>
  /**
   * Makes passes as long as it runs, while this process has the lease. The requests of `Lease` and of the passes. An outage is
   * waited out; fails otherwise as a pass does.
   */
  readonly run: <E, R>(
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>,
    options?: RunOptions
  ) => Effect.Effect<never, E | StoreError.StoreError, R>
  /**
   * Forgets what was seen: the next pass tells all there is as new, and nothing as gone. 1 GET and 1 PUT, and those of a
   * collection.
   */
  readonly reset: (options?: PassOptions) => Effect.Effect<void, Lease.LeaseLost | StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Passes
// -----------------------------------------------------------------------------

type Store = ObjectStore["Service"]

/** How far a pass has come: all keys to this one, `""` at the beginning of a pass. */
const Position = Schema.Struct({ pass: Schema.Int, after: Schema.String })
type Position = typeof Position.Type

const positionOrder: Order.Order<Position> = Order.combine(
  Order.mapInput(Order.Number, ({ pass }: Position) => pass),
  Order.make<Position>((a, b) => Math.sign(compareUtf8(a.after, b.after)) as -1 | 0 | 1)
)

/** How often the position of a long pass is written. */
const positionMillis = 10_000

/** Parts that were replaced are collected after so many versions of the manifest. */
const versionsPerCollection = 64

/** What was being read has been replaced: another process is ahead. */
class Overtaken {
  readonly _tag = "Overtaken"
}

/** A run of keys of which it is known what is to be told. */
interface Run extends walking.Run {
  readonly differences: ReadonlyArray<Difference>
}

/** The snapshot after a run, and what the run has left of a part that it has not come to the end of. */
interface Told {
  readonly snapshot: Segments.Snapshot
  readonly left: Segments.Part | undefined
}

/**
 * Creates a listing difference on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when an option is out of its range, or the snapshot would lie among what is listed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: Store, options: Options): ListingDifference => {
  const { batchSize = 500, keysPerPart = 8192, listed, prefix } = options
  for (const [name, value, most] of [
    ["keysPerPart", keysPerPart, 65_536],
    ["batchSize", batchSize, Number.MAX_SAFE_INTEGER]
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1 || value > most) {
      throw new RangeError(`${name} has to be a whole number from 1 to ${most}, not ${value}`)
    }
  }
  if (`${prefix}/`.startsWith(listed)) {
    throw new RangeError(`the snapshot would lie at ${JSON.stringify(prefix)}, among what is listed`)
  }
  const segments = Segments.make(store, { prefix })
  const format = snapshots.make(options.compression)
  const manifestKey = `${prefix}/manifest`
  const undecided = options.undecided ?? Effect.succeed(() => false)

  const failed = (operation: StoreError.Operation, key: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })

  // ---------------------------------------------------------------------------
  // The two streams
  // ---------------------------------------------------------------------------

  const toListed = Effect.fnUntraced(function* (entries: ReadonlyArray<ListEntry>) {
    const found: Array<walking.Listed> = []
    for (const entry of entries) {
      const { etag, key } = entry
      if (options.select?.(key) === false) continue
      if (etag === undefined) {
        return yield* failed("list", key, new StoreError.Unexpected({ description: "the store lists without ETags" }))
      }
      found.push({ key: key.slice(listed.length), etag, entry, isThere: options.isAbsent?.(entry) !== true })
    }
    return found
  })

  /** All keys in their order, however the store lists them. */
  const sorted = Effect.gen(function* () {
    const all = (yield* Stream.runCollect(listAll(store, { prefix: listed }))).toSorted((a, b) =>
      compareUtf8(a.key, b.key)
    )
    // Pages without order may overlap.
    return all.filter(({ key }, i) => all[i + 1]?.key !== key)
  })

  /** What is listed after a key, in the order of keys. */
  const listing = (after: string): Stream.Stream<ListEntry, StoreError.StoreError> => {
    if (options.orderedList ?? store.capabilities?.orderedList === true) {
      return listAll(store, { prefix: listed, ...(after === "" ? {} : { startAfter: listed + after }) })
    }
    const all = Stream.unwrap(Effect.map(sorted, (entries) => Stream.fromIterable(entries)))
    return after === "" ? all : Stream.filter(all, ({ key }) => compareUtf8(key, listed + after) > 0)
  }

  /** A part of the snapshot. Where it is gone, another process may have put others in its place. */
  const load = Effect.fnUntraced(function* (
    { part }: snapshots.Placed,
    version: number
  ): Effect.fn.Return<ReadonlyArray<snapshots.Kept>, Overtaken | StoreError.StoreError> {
    const gone = Effect.fnUntraced(function* () {
      const now = yield* segments.read
      if (now.version !== version) return yield* Effect.fail(new Overtaken())
      const description = `a part of the snapshot is gone, ${part.name}: reset it, and begin anew`
      return yield* failed("get", manifestKey, new StoreError.Corrupt({ description }))
    })
    const bytes = yield* Effect.catchReason(segments.get(part), "StoreError", "NoSuchKey", gone)
    return yield* Effect.mapError(format.decode(bytes), (reason) => failed("get", manifestKey, reason))
  })

  // ---------------------------------------------------------------------------
  // The difference
  // ---------------------------------------------------------------------------

  const differenceOf = ({ before, now }: walking.Found): Difference => {
    const key = listed + (now?.key ?? before?.key ?? "")
    if (now === undefined || !now.isThere) return { _tag: "Gone", key, before: before?.etag ?? "" }
    const { lastModified, size } = now.entry
    const told = { key, etag: now.etag, size, lastModified }
    return before?.isThere === true && before.etag !== walking.untold
      ? { _tag: "Changed", ...told, before: before.etag }
      : { _tag: "New", ...told }
  }

  /** Decides what is to be told of a run, now that all of it has been listed. */
  const settle = Effect.fnUntraced(function* (run: walking.Run): Effect.fn.Return<Run, StoreError.StoreError> {
    if (run.found.length === 0) return { ...run, differences: [] }
    const isUndecided = yield* undecided
    const kept = [...run.kept]
    const differences: Array<Difference> = []
    let { isSame } = run
    for (const found of run.found) {
      const difference = differenceOf(found)
      const isOpen = isUndecided(difference.key)
      if (found.index !== undefined) {
        const entry = kept[found.index]!
        if (entry.isUndecided !== isOpen) isSame = false
        kept[found.index] = { ...entry, isUndecided: isOpen }
      }
      // As it was, and as open as it was: it has been told.
      if (isOpen && difference._tag === "Changed" && difference.before === difference.etag) continue
      differences.push(difference)
    }
    return { ...run, kept, differences, isSame }
  })

  /** Goes on after a key: gives one run after the other, `undefined` at the end. */
  const walk = Effect.fnUntraced(function* (snapshot: Segments.Snapshot, after: string) {
    const parts = yield* Effect.mapError(snapshots.place(snapshot.parts), (reason) =>
      failed("get", manifestKey, reason)
    )
    const done = parts.filter(({ upto }) => compareUtf8(upto, after) <= 0)
    const next = yield* walking.make({
      // From where a part begins: another process may have put together what was two.
      listing: listing(done.at(-1)?.upto ?? ""),
      select: toListed,
      parts: parts.slice(done.length),
      load: (part) => load(part, snapshot.version),
      keysPerPart
    })
    return Effect.flatMap(next, (run) => (run === undefined ? Effect.succeed(undefined) : settle(run)))
  })

  // ---------------------------------------------------------------------------
  // Passes
  // ---------------------------------------------------------------------------

  const partOf = Effect.fnUntraced(function* (kept: ReadonlyArray<snapshots.Kept>, upto: string) {
    const bytes = yield* Effect.mapError(format.encode(kept), (reason) => failed("put", manifestKey, reason))
    return yield* segments.put(bytes, snapshots.noteOf(upto, kept.length))
  })

  /** Changes the snapshot, of which another process must not have made another meanwhile. */
  const commit = (add: ReadonlyArray<Segments.Part>, remove: ReadonlyArray<Segments.Part>, on: Segments.Snapshot) =>
    segments.commit({ add, remove, expected: on.version, fence: on.fence }).pipe(
      Effect.catchTags({
        VersionConflict: () => Effect.fail(new Overtaken()),
        PartsNotNamed: () => Effect.fail(new Overtaken()),
        PartsCollected: () => Effect.fail(new Overtaken())
      })
    )

  /**
   * Tells a run, and then puts it in the place of what was seen of its keys. Gives the version that says so, and what it has left
   * of a part.
   *
   * What is new is put down before it is told: should it be gone before the pass that has told it is gone on with, that one has
   * to tell that it is gone.
   */
  const tell = Effect.fnUntraced(function* <E, R>(
    run: Run,
    { left, snapshot }: Told,
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>
  ) {
    const { announced, differences, kept, rest } = run
    let replaced = left === undefined ? run.removed : [left, ...run.removed]
    let now = snapshot
    let remains: Segments.Part | undefined
    const record = Effect.fnUntraced(function* (those: ReadonlyArray<snapshots.Kept>) {
      const add: Array<Segments.Part> = []
      const upto = run.upto ?? those.at(-1)?.key
      if (upto !== undefined && those.length > 0) add.push(yield* partOf(those, upto))
      const made = [...add]
      if (remains === undefined && rest !== undefined) {
        remains = yield* partOf(rest.kept, rest.upto)
        add.push(remains)
      }
      now = yield* commit(add, replaced, now)
      replaced = made
    })
    if (differences.some(({ _tag }) => _tag === "New")) yield* record(announced)
    for (let i = 0; i < differences.length; i += batchSize) yield* handle(differences.slice(i, i + batchSize))
    if (!run.isSame) yield* record(kept)
    return { snapshot: now, left: remains } satisfies Told
  })

  const pass = Effect.fnUntraced(function* <E, R>(
    handle: (differences: ReadonlyArray<Difference>) => Effect.Effect<void, E, R>,
    { token = 0 }: PassOptions = {}
  ): Effect.fn.Return<Summary, E | Lease.LeaseLost | StoreError.StoreError, R | Scope.Scope> {
    const checkpoint = yield* Checkpoint.make(store, {
      key: `${prefix}/checkpoint`,
      schema: Position,
      what: "how far a listing has come",
      order: positionOrder,
      token
    })
    let snapshot = token === 0 ? yield* segments.read : yield* fenced(token)
    const first = snapshot.version
    const began = Option.getOrElse(yield* checkpoint.position, (): Position => ({ pass: 0, after: "" }))
    const sum = { keys: 0, new: 0, changed: 0, gone: 0, resumed: began.after !== "" }
    let position = began
    let written = began
    let elapsed = yield* StoreClock.stopwatch

    /** From where the pass is to its end, or to where another process was faster. */
    const round = Effect.gen(function* () {
      const next = yield* walk(snapshot, position.after)
      let left: Segments.Part | undefined
      for (;;) {
        const run = yield* next
        if (run === undefined) return
        const told: Told = yield* tell(run, { snapshot, left }, handle)
        snapshot = told.snapshot
        left = told.left
        sum.keys += run.keys
        for (const { _tag } of run.differences) sum[countOf[_tag]] += 1
        if (run.upto === undefined) continue
        position = { ...position, after: run.upto }
        if ((yield* elapsed) < positionMillis) continue
        elapsed = yield* StoreClock.stopwatch
        yield* checkpoint.commit(position)
        written = position
      }
    })

    for (;;) {
      const isOver = yield* Effect.scoped(round).pipe(
        Effect.as(true),
        Effect.catchIf(
          (error) => error instanceof Overtaken,
          () => Effect.succeed(false)
        )
      )
      if (isOver) break
      snapshot = yield* segments.read
    }
    if (written.after !== "") yield* checkpoint.commit({ pass: position.pass + 1, after: "" })
    const isDue = Math.floor(snapshot.version / versionsPerCollection) > Math.floor(first / versionsPerCollection)
    if (isDue) yield* segments.collect
    return sum
  }, Effect.scoped)

  /** Shuts out those with lower tokens, and reads what they have left. */
  const fenced = (token: number): Effect.Effect<Segments.Snapshot, Lease.LeaseLost | StoreError.StoreError> =>
    Effect.catchTags(segments.commit({ fence: token }), {
      // Nothing is added, removed or expected.
      VersionConflict: Effect.die,
      PartsCollected: Effect.die,
      PartsNotNamed: Effect.die
    })

  /** The loss of the lease under which passes run, and not of one that the handler has. */
  const isOurs = (error: unknown): error is Lease.LeaseLost =>
    error instanceof Lease.LeaseLost && error.key.startsWith(`${prefix}/`)

  const passing: ListingDifference["pass"] = Effect.fn("ListingDifference.pass")(function* (handle, options) {
    return yield* pass(handle, options)
  })

  return {
    listed,
    pass: passing,
    baseline: (options) => passing(() => Effect.void, options),
    peek: Stream.unwrap(
      Effect.gen(function* () {
        const next = yield* walk(yield* segments.read, "")
        return Stream.paginate(undefined, () =>
          Effect.map(next, (run) => [
            run?.differences ?? [],
            run === undefined ? Option.none() : Option.some(undefined)
          ])
        )
      })
    ).pipe(
      Stream.catchIf(
        (error) => error instanceof Overtaken,
        () =>
          Stream.fail(
            failed(
              "get",
              manifestKey,
              new StoreError.Unexpected({ description: "a pass was made meanwhile: look again" })
            )
          )
      )
    ),
    run: Effect.fn("ListingDifference.run")(function* (handle, { every = "1 minute", lease: duration } = {}) {
      const lease = Lease.make(store, { key: `${prefix}/lease`, duration })
      return yield* lease.runWhileLeader(({ lost, token }) =>
        pass(handle, { token }).pipe(
          Effect.catchIf(
            (error) => StoreError.isStoreError(error) && error.isRetryable,
            (error) => Effect.logWarning(`the differences of ${listed} could not be told; they are tried again`, error)
          ),
          Effect.andThen(Effect.sleep(every)),
          Effect.forever,
          // It is interrupted, and waits for the lease anew.
          Effect.catchIf(isOurs, () => Effect.andThen(lost, Effect.never))
        )
      )
    }),
    reset: Effect.fn("ListingDifference.reset")(function* ({ token = 0 } = {}) {
      for (;;) {
        const { parts, version } = token === 0 ? yield* segments.read : yield* fenced(token)
        const isDone = yield* segments.commit({ remove: parts, expected: version, fence: token }).pipe(
          Effect.as(true),
          Effect.catchTags({
            VersionConflict: () => Effect.succeed(false),
            PartsNotNamed: () => Effect.succeed(false),
            PartsCollected: () => Effect.succeed(false)
          })
        )
        if (isDone) break
      }
      yield* segments.collect
    })
  }
}

const countOf = { New: "new", Changed: "changed", Gone: "gone" } as const
