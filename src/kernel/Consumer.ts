/**
 * Consumers of a log: each reads it from where it was, in order and at least once, in one process at a time.
 *
 * ```ts
 * import * as AppendLog from "effect-s3db/kernel/AppendLog"
 * import * as Consumer from "effect-s3db/kernel/Consumer"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Console, Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const store = yield* ObjectStore
 *   const log = AppendLog.make(store, { prefix: "plugin=orders/log", schema: Schema.String })
 *   const mails = Consumer.make(store, { source: log, schema: Schema.String, prefix: "plugin=orders", name: "mails" })
 *   yield* mails.consume((entries) => Console.log(entries.map(({ value }) => value)))
 *   yield* log.append(["ordered"])
 *   yield* mails.waitUntil(1)
 * }).pipe(Effect.scoped)
 * ```
 *
 * **Details**
 *
 * A consumer has a name, and a position: all entries before it were handled. Of the processes that consume under a name one has the
 * lease; when it dies another goes on. The position is a fenced checkpoint, so that a process that stood still past its lease cannot
 * move it. It is written after what it stands for was handled, once for many batches: after a crash those are handled again.
 *
 * A consumer that has nothing to do for some time gives its lease up, and makes about one request a minute. What stops it, such as a
 * damaged position or entries that retention has removed, is logged as an error, shown in its state with what to do, and tried again after the
 * longest pause: once it is mended the consumer goes on.
 *
 * An entry that the handler fails for again and again becomes a dead letter, and the rest goes on; its first failure is logged as a
 * warning with its position, its last one as an error. What fails because something cannot be reached (`isRetryable: true`) is no such entry: it is waited out.
 *
 * **Gotchas**
 *
 * What a handler does beside the store can happen twice, and late: by a process that stood still. Give what you write the position, or
 * the token, so that the other side can tell.
 *
 * @see `docs/design/consumers.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import { percentEncode } from "../internal/text.ts"
import { getOption, listAll, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as AppendLog from "./AppendLog.ts"
import * as BlobCodec from "./BlobCodec.ts"
import * as Checkpoint from "./Checkpoint.ts"
import * as Fenced from "./Fenced.ts"
import * as Journal from "./Journal.ts"
import * as Lease from "./Lease.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is consumed: entries with positions from 0, without a hole. An `AppendLog` and a `Journal` are sources.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<A> {
  readonly status: Effect.Effect<Pick<AppendLog.Status, "first" | "next">, StoreError.StoreError>
  readonly read: (
    options: AppendLog.ReadOptions
  ) => Stream.Stream<AppendLog.Entry<A>, AppendLog.Trimmed | StoreError.StoreError>
}

/**
 * Where in its source a consumer is to be.
 *
 * - `"beginning"`: at the first entry that there is
 * - `"end"`: at the next one
 * - `position`: at that one
 * - `since`: at the first that was appended at this time or later, in milliseconds since the epoch
 *
 * @category models
 * @since 0.1.0
 */
export type Place = "beginning" | "end" | { readonly position: number } | { readonly since: number }

/**
 * What is consumed, by whom, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  readonly source: Source<A>
  /** Entries, for the dead letters. */
  readonly schema: Schema.Codec<A, I>
  /** The beginning of the keys of all consumers, its segments escaped, without a slash at the end. */
  readonly prefix: string
  /** Names the consumer: one position, and one process at a time. */
  readonly name: string
  /** Which entries it is given. The others count as handled. Default: all. */
  readonly select?: ((value: A) => boolean) | undefined
  /** Where it begins the first time that anybody consumes under its name. Default: `"beginning"`. */
  readonly start?: Place | undefined
  /** The most entries that the handler is given at once. 1 to 10,000. Default: 100. */
  readonly batchSize?: number | undefined
  /** How often the handler may fail for an entry before it becomes a dead letter. 1 or more. Default: 5. */
  readonly attempts?: number | undefined
  /** The pause after the first failure; it doubles, up to 1 minute. Default: 1 second. */
  readonly retryPause?: Duration.Input | undefined
  /**
   * Whether a failure says nothing of the entry: it is tried again until it succeeds, however often. Default: errors that say
   * `isRetryable: true`, as those of a store that cannot be reached.
   */
  readonly isOutage?: ((error: unknown) => boolean) | undefined
  /**
   * What of a failure of the handler stops the consumer, as what ends reading does, until it is mended: no entry is given up for it.
   * It is asked before `isOutage`. Default: nothing.
   */
  readonly stops?: ((error: unknown) => StoreError.StoreError | undefined) | undefined
  /** The pause after the end was met first; it doubles as long as nothing comes. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest pause. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** How long the lease lasts without a renewal. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
  /** The position is written after so many batches. 1 to 1,000,000. Default: 10. */
  readonly every?: number | undefined
  /** The position is written this long after the first entry that is not counted in it. Default: 1 second. */
  readonly within?: Duration.Input | undefined
  /** Default: dead letters are not sealed. */
  readonly sealing?: BlobCodec.Sealing | undefined
}

/**
 * Under what a handler runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Context {
  readonly consumer: string
  /** The token of the lease: higher than that of each process that has consumed before. 0 for letters that are handled again. */
  readonly token: number
}

/**
 * Does something with entries, in the order of their positions: never none, and of one process never two batches at a time.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<A, E, R> = (
  entries: ReadonlyArray<AppendLog.Entry<A>>,
  context: Context
) => Effect.Effect<void, E, R>

/**
 * An entry that could not be handled.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter<A> {
  readonly position: number
  /** When it was appended, in milliseconds since the epoch. */
  readonly at: number
  readonly value: A
  /** When it was given up, by the clock of who did. */
  readonly givenUpAt: number
  readonly attempts: number
  /** The tag or name of the last error. */
  readonly error: string
  /** What the last error says, 500 characters at most. */
  readonly message: string
}

/**
 * What has come of handling letters again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Redriven {
  /** They are no letters any more. */
  readonly handled: number
  /** They stay. */
  readonly failed: number
}

/**
 * A consumer that works in this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running<out E = never> {
  /**
   * Waits until it is stopped, and fails with why, also where the snapshot failed: by itself it does not end. It is tried again after the
   * longest pause all the same.
   */
  readonly await: Effect.Effect<never, E | ConsumeError>
  /** Whether this process has the lease, what it has done since it began, and what is in its way. No request. */
  readonly state: Effect.Effect<RunningState>
}

/**
 * How a consumer that works in this process is doing.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunningState {
  /** Whether this process has the lease: not while it waits for another one, or has had nothing to do for some time. */
  readonly isActive: boolean
  /** All entries before it were handled by this process, whether that is written or not; none before it was active. */
  readonly position: number | undefined
  /** How many entries there were when it last looked that were not handled. */
  readonly lag: number
  readonly handled: number
  readonly deadLetters: number
  /**
   * What is being tried again failed with: its tag or name and its message, in one line of 500 characters at most. It is what the handler
   * says: no secrets belong into messages of errors.
   */
  readonly failing: string | undefined
  /**
   * What has stopped it, and what to do about that, in one line. It is tried again after each longest pause, and at once after a `seek` or a
   * `waitUntil` of the same consumer.
   */
  readonly stopped: string | undefined
}

/**
 * What stops a consumer. `Trimmed`: what it was to read next was removed by retention; `seek` to go on knowing that it is missing.
 * `StoreError`: what the store says, where that does not pass by itself; of `Corrupt` the `key` is what has to be restored, or removed where
 * it is the lease or the position.
 *
 * @category errors
 * @since 0.1.0
 */
export type ConsumeError = AppendLog.Trimmed | StoreError.StoreError

/**
 * A consumer of a log. All members that make requests fail with `StoreError` too.
 *
 * **Details**
 *
 * | operation | requests |
 * |---|---|
 * | beginning to consume | those of taking the lease, 1 GET and 1 PUT for the position; 1 GET and 1 PUT for its start the first time |
 * | consuming | those of reading the source; 1 PUT for each 10 batches or second |
 * | idle, for a minute | 2 GET after each pause, and those of keeping the lease, which is given up then: 1 PUT |
 * | idle, from then on | 1 GET after each longest pause, and 1 after each fifth: 72 an hour; those of beginning when there is something |
 * | each dead letter | 1 PUT |
 * | `position` | 1 GET |
 * | `lag` | 2 GET |
 * | `seek` | 2 GET, 1 PUT; those of reading one entry by time |
 * | `deadLetters` | 1 LIST for each 1,000, 1 GET for each |
 * | `redrive` | the same, 1 DELETE for each that was handled |
 *
 * @category models
 * @since 0.1.0
 */
export interface Consumer<A> {
  readonly name: string
  /**
   * Consumes until the scope ends: waits for the lease, and gives the handler the entries from the position on, and those that
   * come. Errors that may pass are waited out.
   *
   * `snapshot` runs before the first entry the first time that anybody consumes under this name, and again if it did not come
   * to its end: what is there when the end of the log was noted. So with `start: "end"` nothing is missing between what it sees and the
   * entries that follow; some it has seen are among those. A position that it gives, of its own beginning in an earlier life, is gone on from
   * where that is before the end that was noted now.
   */
  readonly consume: <E, R, E2 = never, R2 = never>(
    handle: Handler<A, E, R>,
    options?: { readonly snapshot?: Effect.Effect<number | void, E2, R2> | undefined }
  ) => Effect.Effect<Running<E2>, never, R | R2 | Scope.Scope>
  /**
   * Waits for the lease, handles what there is to the end that the source has then, writes the position, and gives the lease up.
   * Gives how many entries were handled, and how many became dead letters. For jobs that run at times.
   */
  readonly drain: <E, R>(
    handle: Handler<A, E, R>
  ) => Effect.Effect<{ readonly handled: number; readonly deadLetters: number }, ConsumeError, R>
  /**
   * The entries as a stream, from the position on, and those that come. Entries count as handled when what comes after the array they came
   * in is pulled: so work on them before you go on, without buffering. It ends with `LeaseLost` when another process has taken
   * over. Where nothing has come for a minute or two durations of the lease, whichever is longer, the lease is given up until something does, as by
   * `consume`; then the stream waits for it where another process has it. There are no dead letters: who reads decides.
   */
  readonly stream: Stream.Stream<AppendLog.Entry<A>, Lease.LeaseLost | ConsumeError>
  /** All entries before it were handled, as far as that was written; none when nobody has consumed under this name. */
  readonly position: Effect.Effect<Option.Option<number>, StoreError.StoreError>
  /** How many entries of the source were not handled, selected or not. */
  readonly lag: Effect.Effect<number, StoreError.StoreError>
  /**
   * Waits until all entries before a position were handled, in whatever process, and so until the snapshot is through: of position 0 for that alone. 1 GET for each look, 3 once the position
   * has stood for 10 seconds. What is consumed by the same consumer looks at once.
   *
   * It fails with what has stopped the consumer: what has stopped this one after it was asked for, or, of another process, `Trimmed` and
   * `Corrupt` where position, lease and source say so. What has stopped a snapshot, or a handler with another error, `await` tells.
   */
  readonly waitUntil: (
    position: number,
    options?: { readonly firstPause?: Duration.Input | undefined; readonly longestPause?: Duration.Input | undefined }
  ) => Effect.Effect<number, ConsumeError>
  /**
   * Moves the consumer, back or ahead, and gives the position. Who consumes goes on there: at once what is consumed by the same consumer, in
   * another process at the latest after the batch or the pause that it is in, or 5 longest pauses where it has been idle for a minute. `InvalidArgument`: it is no place, its position no whole number from 0, or its time no time.
   */
  readonly seek: (place: Place) => Effect.Effect<number, StoreError.StoreError>
  /** The entries that could not be handled, by position. `Corrupt`: one was damaged. */
  readonly deadLetters: Stream.Stream<DeadLetter<A>, StoreError.StoreError>
  /**
   * Gives the handler dead letters once more, one by one. Those that it handles are no letters any more. It does not need the
   * lease: the handler may be given an entry here while another process is given others.
   */
  readonly redrive: <E, R>(
    handle: Handler<A, E, R>,
    options?: { readonly select?: ((letter: DeadLetter<A>) => boolean) | undefined }
  ) => Effect.Effect<Redriven, StoreError.StoreError, R>
  /** Removes dead letters, by position, whether they are there or not. 1 request for each 1,000. */
  readonly discard: (positions: ReadonlyArray<number>) => Effect.Effect<void, StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Metrics
// -----------------------------------------------------------------------------

/**
 * Entries that were not handled when a consumer last looked, by `consumer`.
 *
 * @category constants
 * @since 0.1.0
 */
export const lagGauge = Metric.gauge("s3db_consumer_lag")

/**
 * Entries that were handled, by `consumer` and `outcome`: `handled` or `dead`.
 *
 * @category constants
 * @since 0.1.0
 */
export const entriesCounter = Metric.counter("s3db_consumer_entries", { incremental: true })

// -----------------------------------------------------------------------------
// Positions
// -----------------------------------------------------------------------------

/** `epoch` rises with each `seek`, so that going back is going ahead. */
const Position = Schema.Struct({ epoch: Schema.Int, next: Schema.Int })
type Position = typeof Position.Type

const positionOrder: Order.Order<Position> = Order.combine(
  Order.mapInput(Order.Number, ({ epoch }: Position) => epoch),
  Order.mapInput(Order.Number, ({ next }: Position) => next)
)

const longestRetryMillis = 60_000
const positionDigits = 16
const messageLength = 500

/** Who has given its lease up looks whether it was moved after so many pauses. */
const looksForMove = 5

/** How long a position stands until who waits for it asks why. */
const standsMillis = 10_000

const millisOf = (name: string, duration: Duration.Input): number => {
  const millis = millisecondsOf(duration)
  if (millis >= 0 && millis < Infinity) return millis
  throw new RangeError(`${name} has to be a duration, not ${String(duration)}`)
}

const saysRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true

/** What a failure is called, and what it says. */
const describe = (failure: unknown): { readonly error: string; readonly message: string } => {
  const member = (name: string): string | undefined => {
    if (typeof failure !== "object" || failure === null) return undefined
    try {
      const value: unknown = Reflect.get(failure, name)
      return typeof value === "string" ? value : undefined
    } catch {
      // It may be anything; what cannot be read has no name and no message.
      return undefined
    }
  }
  const message = typeof failure === "string" ? failure : (member("message") ?? "")
  return { error: member("_tag") ?? member("name") ?? typeof failure, message: message.slice(0, messageLength) }
}

/** What a failure is called and what it says, in one line. */
const lineOf = (failure: unknown): string => {
  const { error, message } = describe(failure)
  const line = message.trim().split(/[\r\n]/)[0]!
  if (line === "") return error
  return error === typeof failure ? line : `${error}: ${line}`
}

/** Which document an entry is about, where it says that. */
const documentOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null || !("resource" in value && "id" in value)) return ""
  const { id, resource } = value
  return typeof resource === "string" && typeof id === "string" ? ` (${resource} ${JSON.stringify(id)})` : ""
}

/** What is wrong with a place. */
const problemOf = (place: unknown): { readonly argument: string; readonly description: string } | undefined => {
  if (place === "beginning" || place === "end") return undefined
  if (typeof place === "object" && place !== null) {
    if ("position" in place) {
      const isPosition = Number.isSafeInteger(place.position) && Number(place.position) >= 0
      return isPosition ? undefined : { argument: "position", description: "Expected a whole number from 0" }
    }
    if ("since" in place) {
      const description = "Expected a time in milliseconds since the epoch"
      return Number.isFinite(place.since) ? undefined : { argument: "since", description }
    }
  }
  return { argument: "place", description: 'Expected "beginning", "end", { position } or { since }' }
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Creates a consumer on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when the name is empty or no well-formed text, or an option is out of its range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(store: ObjectStore["Service"], options: Options<A, I>): Consumer<A> => {
  const { attempts = 5, batchSize = 100, name, select, source } = options
  if (typeof name !== "string" || name === "" || !name.isWellFormed()) {
    throw new RangeError("name has to be well-formed text, not empty")
  }
  for (const [option, value, most] of [
    ["batchSize", batchSize, 10_000],
    ["attempts", attempts, Number.MAX_SAFE_INTEGER]
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1 || value > most) {
      throw new RangeError(`${option} has to be a whole number from 1 to ${most}, not ${value}`)
    }
  }
  const misplaced = problemOf(options.start ?? "beginning")
  if (misplaced !== undefined) throw new RangeError(`start: ${misplaced.description}`)
  const retryMillis = millisOf("retryPause", options.retryPause ?? "1 second")
  const firstMillis = millisOf("firstPause", options.firstPause ?? "1 second")
  const longestMillis = millisOf("longestPause", options.longestPause ?? "1 minute")
  const { isOutage = saysRetryable, stops = () => undefined } = options

  const folder = `${options.prefix}/consumer=${percentEncode(name)}`
  const pointKey = `${folder}/position`
  const leaseKey = `${folder}/lease`
  const leaseAbove = (tokensAbove: number) => Lease.make(store, { key: leaseKey, duration: options.lease, tokensAbove })
  const lease = leaseAbove(0)
  /** So long without anything to do, and the lease is given up. */
  const restMillis = Math.max(longestMillis, 2 * millisOf("lease", options.lease ?? Lease.defaultDuration))
  /** What is consumed in this process. */
  const runs = new Set<Tally>()
  const wake = Effect.suspend(() => Effect.forEach(runs, ({ woken }) => woken.open, { discard: true }))
  /** In this process no two batches are handled at a time. */
  const turn = Semaphore.makeUnsafe(1)

  const failed = (operation: StoreError.Operation, key: string, reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })

  // ---------------------------------------------------------------------------
  // Positions
  // ---------------------------------------------------------------------------

  const openPoint = (token: number) =>
    Checkpoint.make(store, {
      key: pointKey,
      schema: Position,
      what: "the position of a consumer",
      order: positionOrder,
      every: options.every ?? 10,
      within: options.within,
      token
    })

  const placed = Effect.fnUntraced(function* (place: Place): Effect.fn.Return<number, StoreError.StoreError> {
    if (place === "end") return (yield* source.status).next
    if (place === "beginning") return (yield* source.status).first
    if ("position" in place) return place.position
    const { next } = yield* source.status
    const found = yield* Stream.runHead(source.read({ since: place.since, to: next })).pipe(
      // Retention has passed while it was looked for.
      Effect.catchTag("Trimmed", ({ first }) => Effect.succeed(Option.some({ position: first })))
    )
    return Option.match(found, { onNone: () => next, onSome: ({ position }) => position })
  })

  /** The position without claiming it: whoever has the lease stays the one who writes it. */
  const readPoint = Fenced.make(store, { key: pointKey, schema: Position, what: "the position of a consumer" }).read

  /** The position that a new holder of the lease goes on from; the first time that of the start. */
  const begin = Effect.fnUntraced(function* <E, R>(
    point: Checkpoint.Checkpoint<Position>,
    snapshot: Effect.Effect<number | void, E, R>
  ) {
    const found = yield* point.position
    if (Option.isSome(found)) return found.value
    const next = yield* placed(options.start ?? "beginning")
    const begun = yield* snapshot
    return yield* point.commit({ epoch: 0, next: typeof begun === "number" ? Math.min(begun, next) : next })
  })

  // ---------------------------------------------------------------------------
  // Dead letters
  // ---------------------------------------------------------------------------

  const letters = BlobCodec.json(
    Schema.Struct({
      position: Schema.Int,
      at: Schema.Int,
      value: options.schema,
      givenUpAt: Schema.Int,
      attempts: Schema.Int,
      error: Schema.String,
      message: Schema.String
    }),
    { sealing: options.sealing }
  )
  const letterFolder = `${folder}/dead/`
  const letterKey = (position: number): string => `${letterFolder}${String(position).padStart(positionDigits, "0")}`

  const bury = Effect.fnUntraced(function* ({ at, position, value }: AppendLog.Entry<A>, count: number, why: unknown) {
    const key = letterKey(position)
    const givenUpAt = Math.floor(yield* Clock.currentTimeMillis)
    const letter = { position, at: Math.floor(at), value, givenUpAt, attempts: count, ...describe(why) }
    const body = yield* Effect.mapError(letters.encode(letter, key), (reason) => failed("put", key, reason))
    // Whoever puts this key puts this entry.
    yield* store.put({ key, body, repeatable: true })
  })

  const readLetter = Effect.fnUntraced(function* (key: string) {
    const found = yield* getOption(store, key)
    if (Option.isNone(found)) return Result.failVoid
    return Result.succeed<DeadLetter<A>>(
      yield* Effect.mapError(letters.decode(found.value.body, key), (reason) => failed("get", key, reason))
    )
  })

  const deadLetters = listAll(store, { prefix: letterFolder, keysOnly: true }).pipe(
    Stream.mapEffect(({ key }) => readLetter(key), { concurrency: 8 }),
    Stream.filterMap((letter) => letter)
  )

  const discard = Effect.fn("Consumer.discard")(function* (positions: ReadonlyArray<number>) {
    if (positions.length === 0) return
    const { failed: left } = yield* store.deleteMany(positions.map(letterKey), { repeatable: true })
    const [first] = left
    if (first !== undefined) return yield* failed("deleteMany", first.key, first.reason)
  })

  // ---------------------------------------------------------------------------
  // Work
  // ---------------------------------------------------------------------------

  const attributes = { consumer: name }
  const count = (outcome: "dead" | "handled", entries: number) =>
    Metric.update(Metric.withAttributes(entriesCounter, { ...attributes, outcome }), entries)

  const paused = (millis: number) =>
    Effect.flatMap(Random.next, (chance) => Effect.sleep(millis * (0.9 + 0.1 * chance)))

  /** Pauses until somebody has a reason to look at once; whether somebody had. */
  const resting = (millis: number, { woken }: Tally) =>
    Effect.raceFirst(Effect.as(Effect.sleep(millis), false), Effect.as(woken.await, true)).pipe(
      Effect.tap(() => woken.close)
    )

  /** Looks how many entries there are. */
  const look = Effect.fnUntraced(function* (position: Position, tally: Tally) {
    const { next } = yield* source.status
    tally.lag = Math.max(0, next - position.next)
    yield* Metric.update(Metric.withAttributes(lagGauge, attributes), tally.lag)
    return next
  })

  /** Tries again what cannot be reached, until it can be. */
  const waitedOut = <X, E, R>(effect: Effect.Effect<X, E, R>, tally: Tally): Effect.Effect<X, E, R> =>
    Effect.gen(function* () {
      for (let pause = retryMillis; ; pause = Math.min(longestRetryMillis, pause * 2)) {
        const result = yield* Effect.result(effect)
        if (Result.isSuccess(result)) {
          tally.failing = undefined
          return result.success
        }
        const { failure } = result
        if (!saysRetryable(failure)) return yield* Effect.fail(failure)
        tally.failing = lineOf(failure)
        yield* Effect.logWarning(`the consumer ${name} waits for its store`, failure)
        yield* paused(pause)
      }
    })

  /** Gives a batch to the handler, each entry as often as it may fail, and buries what it cannot handle. */
  const give = Effect.fnUntraced(function* <E, R>(
    entries: ReadonlyArray<AppendLog.Entry<A>>,
    context: Context,
    handle: Handler<A, E, R>,
    tally: Tally
  ) {
    /** Why it failed; none when it did not. What cannot be reached is waited for. */
    const attempt = Effect.fnUntraced(function* (some: ReadonlyArray<AppendLog.Entry<A>>) {
      for (let pause = retryMillis; ; pause = Math.min(longestRetryMillis, pause * 2)) {
        const exit = yield* Effect.exit(turn.withPermits(1)(handle(some, context)))
        if (Exit.isSuccess(exit)) {
          tally.failing = undefined
          return Option.none<unknown>()
        }
        const failure = Cause.squash(exit.cause)
        const stopping = stops(failure)
        if (stopping !== undefined) return yield* stopping
        tally.failing = lineOf(failure)
        if (!isOutage(failure)) return Option.some(failure)
        yield* Effect.logWarning(`the consumer ${name} waits for what its handler needs`, exit.cause)
        yield* paused(pause)
      }
    })

    const first = yield* attempt(entries)
    if (Option.isNone(first)) {
      tally.handled += entries.length
      yield* count("handled", entries.length)
      return
    }
    // One of them is it: which one, shows when they are given one by one.
    if (entries.length > 1) {
      const which = `the entries from ${entries[0]!.position} to ${entries.at(-1)!.position}`
      const why = lineOf(first.value)
      yield* Effect.logWarning(`the consumer ${name} fails for ${which}, and tries them one by one: ${why}`)
    }
    const warn = ({ position, value }: AppendLog.Entry<A>, why: unknown) => {
      const which = `the entry at ${position}${documentOf(value)}`
      return Effect.logWarning(`the consumer ${name} fails for ${which}, and tries it again: ${lineOf(why)}`)
    }
    for (const entry of entries) {
      let why = entries.length === 1 ? first : Option.none<unknown>()
      let failures = Option.isSome(why) ? 1 : 0
      if (Option.isSome(why) && failures < attempts) yield* warn(entry, why.value)
      for (let pause = retryMillis; failures < attempts; pause = Math.min(longestRetryMillis, pause * 2)) {
        if (failures > 0) yield* paused(pause)
        why = yield* attempt([entry])
        if (Option.isNone(why)) break
        failures += 1
        if (failures === 1 && failures < attempts) yield* warn(entry, why.value)
      }
      if (Option.isNone(why)) {
        tally.handled += 1
        yield* count("handled", 1)
        continue
      }
      const { value } = why
      yield* Effect.logError(`the consumer ${name} gives up the entry at ${entry.position}`, value)
      yield* waitedOut(bury(entry, failures, value), tally)
      tally.failing = undefined
      tally.dead += 1
      yield* count("dead", 1)
    }
  })

  /**
   * Handles what there is from the position on, and gives where it has come to: with `isOnce` at the end that there is at the beginning, else
   * when nothing has come for some time.
   */
  const work = Effect.fnUntraced(function* <E, R, E2, R2>(
    held: Lease.Held,
    handle: Handler<A, E, R>,
    { isOnce, snapshot, tally }: How<E2, R2>
  ) {
    const context = { consumer: name, token: held.token }
    const point = yield* openPoint(held.token)
    let position = yield* begin(point, snapshot)
    tally.position = position.next
    tally.isActive = true
    yield* Effect.addFinalizer(() => Effect.sync(() => void (tally.isActive = false)))

    /** Goes where somebody has moved the consumer to. */
    const follow = (now: Option.Option<Position>): boolean => {
      if (Option.isNone(now) || now.value.epoch <= position.epoch) return false
      position = now.value
      tally.position = position.next
      return true
    }
    /** From the position to another one, unless it is moved. */
    const handleTo = (to: number) =>
      source.read({ from: position.next, to }).pipe(
        Stream.grouped(batchSize),
        Stream.takeWhileEffect(
          Effect.fnUntraced(function* (entries) {
            const selected = select === undefined ? entries : entries.filter(({ value }) => select(value))
            if (selected.length > 0) yield* give(selected, context, handle, tally)
            position = { ...position, next: entries.at(-1)!.position + 1 }
            tally.position = position.next
            tally.lag = Math.max(0, to - position.next)
            yield* waitedOut(point.advance(position), tally)
            yield* mended(tally)
            return !follow(yield* point.position)
          })
        ),
        Stream.runDrain
      )

    const goal = isOnce ? yield* look(position, tally) : undefined
    for (let idle = 0, idleMillis = 0; ;) {
      const to = goal ?? (yield* waitedOut(look(position, tally), tally))
      if (position.next < to) {
        idle = idleMillis = 0
        yield* isOnce
          ? handleTo(to)
          : waitedOut(
              Effect.suspend(() => handleTo(to)),
              tally
            )
        continue
      }
      if (isOnce) break
      yield* mended(tally)
      if (idleMillis >= restMillis) break
      const pause = Math.min(longestMillis, firstMillis * 2 ** Math.min(idle, 30))
      const isWoken = yield* resting(pause, tally)
      const isMoved = follow(yield* waitedOut(point.read, tally))
      idle = isMoved || isWoken ? 0 : idle + 1
      idleMillis = isMoved || isWoken ? 0 : idleMillis + pause
    }
    yield* isOnce ? point.flush : waitedOut(point.flush, tally)
    return position
  }, Effect.scoped)

  /** The loss of this lease, and of no other. */
  const isLost = (error: unknown): error is Lease.LeaseLost =>
    error instanceof Lease.LeaseLost && error.key.startsWith(`${folder}/`)

  /**
   * Runs as the one that has the lease; who finds that it is lost waits until that is known here, too. Where the position has seen a
   * higher token and the lease is still this one's, somebody has removed it: it is taken again above that token.
   */
  const leading = Effect.fnUntraced(function* <E, R, E2, R2>(handle: Handler<A, E, R>, how: How<E2, R2>) {
    for (let mine = lease; ;) {
      const outcome = yield* mine.runWhileLeader((held) =>
        work(held, handle, how).pipe(
          Effect.map(Result.succeed),
          Effect.catchIf(isLost, ({ seen = 0 }) =>
            Effect.gen(function* () {
              const there = seen > held.token ? yield* lease.state : Option.none()
              if (Option.isSome(there) && there.value.holder === held.holder) return Result.fail(seen)
              return yield* Effect.andThen(held.lost, Effect.never)
            })
          )
        )
      )
      if (Result.isSuccess(outcome)) return outcome.success
      mine = leaseAbove(outcome.failure)
    }
  })

  /** Without the lease, until there is something to do that was not done by another process. */
  const rest = Effect.fnUntraced(function* (from: Position, tally: Tally) {
    let known = from
    for (let looks = 1; ; looks++) {
      const isWoken = yield* resting(longestMillis, tally)
      const next = yield* waitedOut(look(known, tally), tally)
      if (isWoken || known.next < next || looks % looksForMove === 0) {
        const now = yield* waitedOut(readPoint, tally)
        if (Option.isNone(now) || now.value.next < next) return
        known = now.value
        tally.lag = 0
      }
    }
  })

  /** The same of a stream, whose reader is told of each failure. */
  const restedUntilMore = Effect.fnUntraced(function* (from: Position) {
    let known = from
    for (let looks = 1; ; looks++) {
      yield* Effect.sleep(longestMillis)
      const { next } = yield* source.status
      if (known.next >= next && looks % looksForMove !== 0) continue
      const now = yield* readPoint
      if (Option.isNone(now) || now.value.next < next) return
      known = now.value
    }
  })

  const mended = (tally: Tally) =>
    Effect.suspend(() => {
      tally.failing = undefined
      tally.retries = 0
      if (tally.stopped === undefined) return Effect.void
      tally.stopped = undefined
      tally.renew()
      return Effect.logInfo(`the consumer ${name} goes on`)
    })

  const seekFrom = (first: number) => `seek("beginning") goes on at ${first} without them`

  /** What is to be done about what has stopped it. */
  const wayOut = (failure: unknown): string => {
    if (failure instanceof AppendLog.Trimmed) return `; ${seekFrom(failure.first)}`
    if (!StoreError.isStoreError(failure) || failure.reason._tag !== "Corrupt") return ""
    const { key } = failure
    if (key === pointKey) return ", or remove it and seek the position to go on at"
    if (key === leaseKey) return ", or remove it: it is made anew"
    return key === undefined ? "; restore what is damaged from a backup" : ""
  }

  /** Notes down what has stopped it, and waits before it is tried again. */
  const halted = <E>(cause: Cause.Cause<E>, tally: Tally, tell: Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      const failure = Cause.squash(cause)
      if (saysRetryable(failure)) {
        tally.failing = lineOf(failure)
        yield* Effect.logWarning(`the consumer ${name} waits for its store`, failure)
        return yield* paused(Math.min(longestRetryMillis, retryMillis * 2 ** Math.min(tally.retries++, 30)))
      }
      const isKnown = failure instanceof AppendLog.Trimmed || StoreError.isStoreError(failure)
      const line = `${lineOf(failure)}${wayOut(failure)}`
      tally.stopped = { line, error: isKnown ? failure : undefined }
      tally.halts += 1
      yield* Effect.logError(`the consumer ${name} cannot go on; it is tried again. ${line}`)
      yield* tell
      yield* resting(Math.max(longestMillis, retryMillis), tally)
    })

  // ---------------------------------------------------------------------------
  // Members
  // ---------------------------------------------------------------------------

  const position = Effect.map(
    readPoint,
    Option.map(({ next }) => next)
  )

  return {
    name,
    position,
    deadLetters,
    discard,
    consume: Effect.fn("Consumer.consume")(function* <E, R, E2 = never, R2 = never>(
      handle: Handler<A, E, R>,
      { snapshot = Effect.void }: { readonly snapshot?: Effect.Effect<number | void, E2, R2> | undefined } = {}
    ) {
      const tally = newTally()
      let end = Deferred.makeUnsafe<never, E2 | ConsumeError>()
      tally.renew = () => {
        end = Deferred.makeUnsafe()
      }
      runs.add(tally)
      yield* Effect.addFinalizer(() => Effect.sync(() => runs.delete(tally)))
      const fiber = yield* leading(handle, { isOnce: false, snapshot, tally }).pipe(
        Effect.flatMap((position) => rest(position, tally)),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause)
            : halted(
                cause,
                tally,
                Effect.suspend(() => Deferred.failCause(end, cause))
              )
        ),
        Effect.forever,
        Effect.forkScoped
      )
      return {
        await: Effect.suspend(() => Effect.raceFirst(Deferred.await(end), Fiber.join(fiber))),
        state: Effect.sync(() => ({
          isActive: tally.isActive,
          position: tally.position,
          lag: tally.lag,
          handled: tally.handled,
          deadLetters: tally.dead,
          failing: tally.failing,
          stopped: tally.stopped?.line
        }))
      }
    }),
    drain: Effect.fn("Consumer.drain")(function* (handle) {
      const tally = newTally()
      yield* leading(handle, { isOnce: true, snapshot: Effect.void, tally })
      return { handled: tally.handled, deadLetters: tally.dead }
    }),
    stream: Stream.unwrap(
      Effect.gen(function* () {
        const scope = yield* Effect.scope
        /** From taking the lease until it is given up. */
        const begun = Effect.gen(function* () {
          const term = yield* Scope.fork(scope)
          return yield* Effect.gen(function* () {
            const held = yield* lease.acquire
            const point = yield* openPoint(held.token)
            return { held, point, position: yield* begin(point, Effect.void), end: Scope.close(term, Exit.void) }
          }).pipe(Scope.provide(term))
        })
        let { end, held, point, position } = yield* begun
        let given: Position | undefined
        let idleMillis = 0
        return Stream.paginate(0, (idle: number) =>
          Effect.gen(function* () {
            yield* held.ensure
            if (given !== undefined) yield* point.advance(given)
            given = undefined
            const now = idle === 0 ? yield* point.position : yield* point.read
            if (Option.isSome(now) && now.value.epoch > position.epoch) position = now.value
            const { next } = yield* source.status
            if (position.next >= next) {
              if (idleMillis >= restMillis) {
                yield* point.flush
                yield* end
                yield* restedUntilMore(position)
                ;({ end, held, point, position } = yield* begun)
                idleMillis = 0
                return [[], Option.some(0)] as const
              }
              const pause = Math.min(longestMillis, firstMillis * 2 ** Math.min(idle, 30))
              yield* Effect.sleep(pause)
              idleMillis += pause
              return [[], Option.some(idle + 1)] as const
            }
            idleMillis = 0
            const to = Math.min(next, position.next + batchSize)
            const entries = yield* Stream.runCollect(source.read({ from: position.next, to }))
            position = { ...position, next: to }
            given = position
            return [
              select === undefined ? entries : entries.filter(({ value }) => select(value)),
              Option.some(0)
            ] as const
          })
        )
      })
    ),
    lag: Effect.gen(function* () {
      const { first, next } = yield* source.status
      return Math.max(0, next - Option.getOrElse(yield* position, () => first))
    }),
    waitUntil: Effect.fn("Consumer.waitUntil")(function* (
      until,
      { firstPause = "100 millis", longestPause = "10 seconds" } = {}
    ) {
      const longest = millisOf("longestPause", longestPause)
      const before = new Map([...runs].map((tally) => [tally, tally.halts]))
      let last: number | undefined
      let stood = 0
      for (let pause = millisOf("firstPause", firstPause); ; pause = Math.min(longest, pause * 2)) {
        const at = yield* position
        const now = Option.getOrElse(at, () => 0)
        if (Option.isSome(at) && now >= until) return now
        if (last === undefined) yield* wake
        for (const tally of runs) {
          const error = tally.stopped?.error
          if (error === undefined || tally.halts <= (before.get(tally) ?? 0)) continue
          if (!(error instanceof AppendLog.Trimmed)) return yield* Effect.fail(error)
          return yield* new AppendLog.Trimmed({
            key: error.key,
            position: error.position,
            first: error.first,
            hint: seekFrom(error.first)
          })
        }
        stood = now === last ? stood : 0
        if (stood >= standsMillis) {
          // Nobody in this process may be able to tell.
          yield* lease.state
          const { first, next } = yield* source.status
          if (Option.isSome(at) && now < first && now < next) {
            return yield* new AppendLog.Trimmed({ key: pointKey, position: now, first, hint: seekFrom(first) })
          }
        }
        last = now
        yield* Effect.sleep(pause)
        stood += pause
      }
    }),
    seek: Effect.fn("Consumer.seek")(function* (place) {
      const wrong = problemOf(place)
      if (wrong !== undefined) return yield* failed("put", pointKey, new StoreError.InvalidArgument(wrong))
      const next = yield* placed(place)
      for (let seen = 0; ;) {
        // As the one who has the lease, whoever that is: so it stays the one. The lease may have been removed.
        const held = Option.match(yield* lease.state, { onNone: () => 0, onSome: (state) => state.token })
        const token = Math.max(held, seen)
        const moved = yield* Effect.result(
          Effect.scoped(
            Effect.gen(function* () {
              const point = yield* openPoint(token)
              const epoch = Option.match(yield* point.position, { onNone: () => 0, onSome: (at) => at.epoch + 1 })
              const there = yield* point.commit({ epoch, next })
              return there.epoch === epoch && there.next === next
            })
          )
        )
        if (Result.isSuccess(moved)) {
          if (!moved.success) continue
          yield* wake
          return next
        }
        if (moved.failure._tag === "StoreError") return yield* moved.failure
        seen = moved.failure.seen ?? seen
      }
    }),
    redrive: Effect.fn("Consumer.redrive")(function* (handle, { select: selects = () => true } = {}) {
      return yield* deadLetters.pipe(
        Stream.filter(selects),
        Stream.mapEffect(
          Effect.fnUntraced(function* ({ at, position, value }) {
            const exit = yield* Effect.exit(
              turn.withPermits(1)(handle([{ position, at, value }], { consumer: name, token: 0 }))
            )
            if (Exit.isSuccess(exit)) yield* store.delete(letterKey(position), { repeatable: true })
            else yield* Effect.logWarning(`the consumer ${name} still fails for the entry at ${position}`, exit.cause)
            return Exit.isSuccess(exit)
          })
        ),
        Stream.runFold(
          () => ({ handled: 0, failed: 0 }),
          (sum, isHandled) => (isHandled ? { ...sum, handled: sum.handled + 1 } : { ...sum, failed: sum.failed + 1 })
        )
      )
    })
  }
}

/** How a consumer works. */
interface How<E, R> {
  /** To the end that there is at the beginning; else for ever. */
  readonly isOnce: boolean
  readonly snapshot: Effect.Effect<number | void, E, R>
  readonly tally: Tally
}

/**
 * How a journal is consumed.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalOptions extends Omit<
  Options<Journal.Record, typeof Journal.Record.Encoded>,
  "prefix" | "schema" | "source"
> {
  /** The records of which resources. Names count as they are; a list that is empty names none. Default: `"*"`, all. */
  readonly resources?: "*" | ReadonlyArray<string> | ((resource: string) => boolean) | undefined
}

/**
 * Creates a consumer of the journal of a database. No request.
 *
 * Throws a `RangeError` as `make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const journal = (
  store: ObjectStore["Service"],
  source: Pick<Journal.Journal, "prefix" | "read" | "status">,
  { resources = "*", select, ...options }: JournalOptions
): Consumer<Journal.Record> => {
  const names = typeof resources === "object" ? new Set(resources) : undefined
  const isChosen = (resource: string): boolean =>
    typeof resources === "function" ? resources(resource) : names === undefined || names.has(resource)
  return make(store, {
    ...options,
    source,
    schema: Journal.Record,
    prefix: source.prefix,
    select: (record) => isChosen(record.resource) && select?.(record) !== false
  })
}

/** What has become of a consumer in this process. */
interface Tally {
  isActive: boolean
  position: number | undefined
  lag: number
  handled: number
  dead: number
  failing: string | undefined
  /** What has stopped it, and how often something has. */
  stopped: { readonly line: string; readonly error: ConsumeError | undefined } | undefined
  halts: number
  /** Who waits for what stops it waits for the next time from now on. */
  renew: () => void
  /** How often it was tried again since it last went on. */
  retries: number
  /** Opened by who has a reason for it to look at once. */
  readonly woken: Latch.Latch
}

const newTally = (): Tally => ({
  isActive: false,
  position: undefined,
  lag: 0,
  handled: 0,
  dead: 0,
  failing: undefined,
  stopped: undefined,
  halts: 0,
  renew: () => {},
  retries: 0,
  woken: Latch.makeUnsafe(false)
})
