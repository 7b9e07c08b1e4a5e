/**
 * Queues of messages in a database's store: offered by any process, handled by any other, at least once.
 *
 * ```ts
 * import * as S3Queue from "effect-s3db/plugins/S3Queue"
 * import { Console, Effect, Schema } from "effect"
 *
 * class Emails extends S3Queue.Service<Emails>()("app/Emails", {
 *   payload: Schema.Struct({ to: Schema.String, text: Schema.String })
 * }) {}
 *
 * const Worker = S3Queue.layerWorker(Emails, ({ to }, { idempotencyKey }) => Console.log(to, idempotencyKey))
 *
 * const program = Effect.gen(function* () {
 *   const emails = yield* Emails
 *   yield* emails.offer({ to: "ada@example.com", text: "Hello" }, { id: "welcome-ada", delay: "5 minutes" })
 * })
 * ```
 *
 * **Details**
 *
 * A queue is one object in the store, changed by compare-and-set, with immutable parts for what is too much for it. What many
 * fibers of a process want of it at the same time is one request: that is what batches are cheap by.
 *
 * A message is handled at least once. It is handled again when its worker died, or stood still for longer than `visibility`,
 * before it could say that it was done: so handlers should do no harm twice, or pass on the `idempotencyKey`. It is
 * acknowledged at most once: whoever has lost a message to another is refused, whatever its clock says (`MessageLost`).
 *
 * Requests of one message alone: offering it is 1 PUT, claiming it 1 GET and 1 PUT, acknowledging it 1 PUT, and 1 GET more for
 * each of these when another process has written in between. Of n messages at once it is the same, and 1 PUT and 1 GET more for
 * each 1,000. Waiting for messages is 1 GET after 1, 2, 4, ... seconds, and at last 2 a minute (`maxPollInterval`). Claimed
 * messages are 1 PUT for each third of `visibility` for all of a process together. Each 256 messages that wait, and each 512
 * ids that are remembered, are 2 PUT more.
 *
 * **Gotchas**
 *
 * All processes together change a queue as often as the store takes one write after the other of one object: some tens of
 * times a second on S3, with as many messages each time as are wanted. Where that is too little, use several queues.
 *
 * @see `docs/guide/queues.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EffectQueue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Change from "../Change.ts"
import * as Id from "../crypto/Id.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { idempotencyKey } from "../internal/idempotencyKey.ts"
import { percentEncode, utf8Length } from "../internal/text.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import * as JsonCodec from "../schema/internal/jsonCodec.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Engine from "./s3queue/engine.ts"
import * as Outbox from "./s3queue/outbox.ts"
import * as State from "./s3queue/state.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A queue that cannot be: an option is wrong. Nothing was written. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidQueue extends ExpectedError<InvalidQueue>("effect-s3db/plugins/S3Queue/InvalidQueue")(
  "InvalidQueue",
  { queue: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `queue ${JSON.stringify(this.queue)}, ${this.field}: ${this.problem}`
  }
}

/**
 * A message that cannot be: its payload is none of the schema's, or an option is wrong. Nothing was offered, of many none.
 *
 * @remedy Correct the message that `index` numbers, and offer all of them again.
 * @category errors
 * @since 0.1.0
 */
export class InvalidMessage extends ExpectedError<InvalidMessage>("effect-s3db/plugins/S3Queue/InvalidMessage")(
  "InvalidMessage",
  {
    queue: Schema.String,
    /** Which of many, from 0. */
    index: Schema.Int,
    field: Schema.String,
    problem: Schema.String
  },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `message ${this.index} for queue ${JSON.stringify(this.queue)}, ${this.field}: ${this.problem}`
  }
}

/**
 * A message that is not this claim's any more: it was given to another after this process was silent for too long, or was
 * acknowledged or given back before. Nothing was written. What its handler has done is done, and may be done again.
 *
 * @remedy Nothing has to be done: another has the message. Where it happens often, raise `visibility`; let
 * handlers do the same thing twice without harm.
 * @category errors
 * @since 0.1.0
 */
export class MessageLost extends ExpectedError<MessageLost>("effect-s3db/plugins/S3Queue/MessageLost")("MessageLost", {
  queue: Schema.String,
  id: Schema.String,
  token: Schema.Int
}) {
  override get message(): string {
    return `message ${JSON.stringify(this.id)} of queue ${JSON.stringify(this.queue)} is not held by claim ${this.token} any more`
  }
}

/** Whatever says a duration, stored as one. */
const DurationInput = Schema.Duration.pipe(
  Schema.decodeTo(
    Schema.declare((input): input is Duration.Input => Option.isSome(Duration.fromInput(input as Duration.Input)), {
      expected: "a duration"
    }),
    SchemaTransformation.transform({
      decode: (duration): Duration.Input => duration,
      encode: Duration.fromInputUnsafe
    })
  )
)

/**
 * What a handler fails with to be tried again after some time, rather than that of `retryDelay`: `new S3Queue.RetryLater({ after: "90 seconds" })`.
 * What is no duration throws, and so is a failure as any other.
 *
 * @remedy Nothing: your handler said so, and the message comes again after that time.
 * @category errors
 * @since 0.1.0
 */
export class RetryLater extends ExpectedError<RetryLater>("effect-s3db/plugins/S3Queue/RetryLater")("RetryLater", {
  after: DurationInput,
  description: Schema.optionalKey(Schema.String)
}) {}

/**
 * What a handler fails with where trying again is of no use: the message becomes a dead letter at once.
 *
 * @remedy Look at the dead letter, which has the description; mend what it is about, and redrive it.
 * @category errors
 * @since 0.1.0
 */
export class Reject extends ExpectedError<Reject>("effect-s3db/plugins/S3Queue/Reject")("Reject", {
  description: Schema.String
}) {}

/**
 * A queue that was to be removed while some of its messages are claimed. Nothing was changed.
 *
 * `claimed`: how many; those of workers that have died count until another takes them over.
 *
 * @remedy Pause it and wait until they are done, stop its workers, or say `claimed: true`.
 * @category errors
 * @since 0.1.0
 */
export class QueueInUse extends ExpectedError<QueueInUse>("effect-s3db/plugins/S3Queue/QueueInUse")(
  "QueueInUse",
  { queue: Schema.String, claimed: Schema.Int },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `queue ${JSON.stringify(this.queue)} is not removed: ${this.claimed} of its messages are claimed`
  }
}

/**
 * The errors of opening a queue.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidQueue | Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A queue as a process opens it. What lies in the store has no options: processes may have different ones.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I = unknown> {
  /** What it is called in the store: 1 to 200 bytes, percent-encoded. Of a `Service` by default what follows the last `/` of its id. */
  readonly name?: string | undefined
  /** Payloads. They are stored as JSON, up to 4 MiB each. */
  readonly payload: Schema.Codec<A, I>
  /** Keeps queues of a name apart: see `Plugin.Options`. Default: none. */
  readonly namespace?: string | undefined
  /**
   * How long this process may be silent before others take the messages that it has claimed. It says that it goes on by itself,
   * however long a handler needs. 1 second to 7 days; default: 30 seconds.
   */
  readonly visibility?: Duration.Input | undefined
  /** How often a message is claimed before it becomes a dead letter. 1 to 1,000,000; default: 5. Not with `failureStrategy: "retry"`. */
  readonly maxAttempts?: number | undefined
  /**
   * What becomes of a message that fails again and again. `"deadLetter"`: a dead letter, after `maxAttempts`. `"retry"`: it is tried for ever,
   * after `retryDelay` each time, also when its payload cannot be read, or it has cost workers their life; a dead letter is only what
   * a handler rejects. Default: `"deadLetter"`.
   */
  readonly failureStrategy?: "deadLetter" | "retry" | undefined
  /** How long a message waits after an attempt, from 1, has failed. Default: 1, 2, 4, ... seconds, 5 minutes at most. */
  readonly retryDelay?: ((attempt: number) => Duration.Input) | undefined
  /** The first pause between looks for messages; it doubles as long as none comes. 10 milliseconds to 7 days; default: 1 second. */
  readonly pollInterval?: Duration.Input | undefined
  /** The longest pause between looks for messages. Default: 30 seconds, or `pollInterval` if that is more. */
  readonly maxPollInterval?: Duration.Input | undefined
  /**
   * How long at least the id of a message is remembered after it was offered, and after it was done: another one of this id
   * is not taken in. Default: 1 day.
   */
  readonly rememberIds?: Duration.Input | undefined
  /**
   * Which of the messages of one priority this process claims first: those that were offered first (`"fifo"`), or last (`"lifo"`). Messages of a
   * group go in the order in which they were offered all the same. Default: `"fifo"`.
   */
  readonly order?: "fifo" | "lifo" | undefined
  /** Every message is in one group, unless it says another: one is handled after the other. Default: `false`. */
  readonly fifo?: boolean | undefined
  /**
   * Lets messages be offered within `Database.transaction`. Registers the resource `plg_queue_outbox-NAME`, and costs 1 LIST a minute
   * where messages are waited for. `rememberIds` is 1 hour at least then. Default: `false`.
   */
  readonly transactions?: boolean | undefined
}

/**
 * How a message is offered.
 *
 * @category models
 * @since 0.1.0
 */
export interface OfferOptions {
  /** Its id, 1 to 512 bytes. A message whose id is in the queue, or is remembered, is not taken in again. Default: a random one. */
  readonly id?: string | undefined
  /** How long it waits before it may be claimed, by the store's clock. Default: not at all. */
  readonly delay?: Duration.Input | undefined
  /** Higher goes first. A whole number of ±1,000,000; default: 0. */
  readonly priority?: number | undefined
  /**
   * Messages of a group, 1 to 512 bytes, are handled one after the other, in the order in which they were offered, whatever
   * their priority: one that waits, for its time or to be tried again, holds up those behind it. Default: none.
   */
  readonly group?: string | undefined
}

/**
 * A message that was offered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offered {
  readonly id: string
  /** `false`: one of this id was there, and this one was not taken in. Within a transaction that is not known yet. */
  readonly isNew: boolean
}

/**
 * A message as its handler sees it, its payload aside.
 *
 * @category models
 * @since 0.1.0
 */
export interface MessageContext {
  readonly queue: string
  readonly id: string
  /** How often it has been claimed, this time included. */
  readonly attempt: number
  readonly priority: number
  readonly group: Option.Option<string>
  readonly offeredAt: DateTime.Utc
  /**
   * The same whenever the message is handled, and that of no other message of the database: for systems that take an idempotency
   * key. The plugin with its namespace, the queue and the id, each percent-encoded: `queue/emails/welcome-ada`.
   */
  readonly idempotencyKey: string
  /** Rises from claim to claim of the queue: what a system outside can refuse an older claim of the same message by. */
  readonly token: number
}

/**
 * A message that is this process's until it says what became of it. It is given back when the scope closes in which it was
 * claimed.
 *
 * All four fail with `MessageLost` when it is not this claim's any more. `DbError`: what the store says; while it cannot be reached
 * they go on trying, until the message is lost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimed<out A> extends MessageContext {
  readonly payload: A
  /** It is done. 1 PUT, for all that are acknowledged at the same time together. */
  readonly ack: Effect.Effect<void, MessageLost | DbError.DbError>
  /** It is to be handled again, after some time: by default that of `retryDelay`. After `maxAttempts` it is a dead letter. 1 PUT. */
  readonly retry: (options?: {
    readonly after?: Duration.Input | undefined
    readonly error?: string | undefined
  }) => Effect.Effect<void, MessageLost | DbError.DbError>
  /** It becomes a dead letter. 1 PUT. */
  readonly reject: (error: string) => Effect.Effect<void, MessageLost | DbError.DbError>
  /**
   * Says now that this process goes on, for all of its messages: it has `visibility` from here on. It says so by itself as well; by hand it tells
   * that the message is still this claim's, before something that must not be done by two. 1 PUT, for all that are renewed at the same time
   * together; 1 GET more when others have written.
   */
  readonly renew: Effect.Effect<void, MessageLost | DbError.DbError>
  /** Waits until it is known to be somebody else's. */
  readonly lost: Effect.Effect<void>
}

/**
 * What handles messages. Success acknowledges one. `RetryLater` and `Reject` say what is to become of it; any other failure, a
 * defect too, is tried again after `retryDelay`, until it has been claimed `maxAttempts` times.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<in A, in out R = never> = (
  payload: A,
  context: MessageContext
) => Effect.Effect<unknown, unknown, R>

/**
 * How messages are handled.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConsumeOptions {
  /** How many messages are handled at once. 1 to 10,000; default: 10. */
  readonly concurrency?: number | undefined
  /** How long a handler may take before it is interrupted, which counts as a failure. Default: as long as it wants. */
  readonly timeout?: Duration.Input | undefined
  /** How long handlers may go on when consuming is interrupted, before they are as well, and give their messages back. Default: 5 seconds. */
  readonly stopWithin?: Duration.Input | undefined
}

/**
 * A message that is not tried any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter {
  readonly id: string
  /** As it is stored. */
  readonly payload: Schema.Json
  readonly attempts: number
  readonly priority: number
  readonly group: Option.Option<string>
  readonly offeredAt: DateTime.Utc
  readonly diedAt: DateTime.Utc
  /** The first line of what the last attempt failed with. */
  readonly error: string
}

/**
 * Which dead letters: all, or those of some ids.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterFilter {
  readonly ids?: ReadonlyArray<string> | undefined
}

/**
 * What of a queue is removed beside the messages that wait.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClearOptions {
  /** Also messages that are claimed: their claims are over (`MessageLost`), and their handlers are interrupted as soon as it is known. Default: `false`. */
  readonly claimed?: boolean | undefined
  /** Also dead letters. Default: `false`. */
  readonly deadLetters?: boolean | undefined
}

/**
 * How a queue stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  readonly queue: string
  readonly isPaused: boolean
  /** Messages that may be claimed, but for those that wait for one of their group. */
  readonly ready: number
  /** Messages that wait for their time. */
  readonly delayed: number
  readonly claimed: number
  readonly deadLetters: number
  /** Processes that have claimed messages. */
  readonly workers: number
  /** Since the queue began. */
  readonly totals: State.Totals
}

/**
 * What a queue tells of what this process does.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = { readonly queue: string } &
  /** A new message was taken in: right after the offer, or after the move of what a transaction has written. */
  (
    | { readonly _tag: "Offered"; readonly id: string }
    | { readonly _tag: "Completed" | "Lost"; readonly id: string; readonly attempt: number }
    | { readonly _tag: "Retried" | "Dead"; readonly id: string; readonly attempt: number; readonly error: string }
    /** Messages of a worker that was silent for too long: they are handled again, or are dead letters. */
    | { readonly _tag: "TakenOver"; readonly ids: ReadonlyArray<string> }
  )

/**
 * A queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Queue<in out A> {
  readonly name: string
  /**
   * Offers a message. 1 PUT, for all that are offered at the same time together; 1 GET more when others have written. With an id
   * it is there once, however often it is offered: offer it again with the same id when the outcome is unknown (`DbError` with an
   * outcome of `"unknown"`).
   *
   * Within `Database.transaction` it is a document that the transaction writes: the message is there exactly if the transaction
   * is committed, soon afterwards (`Options.transactions`; `Unsupported` without).
   */
  readonly offer: (payload: A, options?: OfferOptions) => Effect.Effect<Offered, InvalidMessage | DbError.DbError>
  /**
   * Offers messages. Up to 1,000 of up to 1 MiB together are there all at once or not at all; more go in as many steps, one after
   * the other. 1 PUT; 1 PUT more for each step from 16 KiB on.
   */
  readonly offerAll: (
    messages: ReadonlyArray<OfferOptions & { readonly payload: A }>
  ) => Effect.Effect<ReadonlyArray<Offered>, InvalidMessage | DbError.DbError>
  /**
   * Waits until there is a message, and claims up to so many (default 1). 1 GET and 1 PUT; while it waits 1 GET for each look.
   * What is not acknowledged when the scope closes is given back.
   */
  readonly claim: (max?: number) => Effect.Effect<ReadonlyArray<Claimed<A>>, DbError.DbError, Scope.Scope>
  /** Claims up to so many messages (default 1), none where none is there. 1 GET, and 1 PUT when there are some. */
  readonly claimNow: (max?: number) => Effect.Effect<ReadonlyArray<Claimed<A>>, DbError.DbError, Scope.Scope>
  /**
   * Handles messages until it is interrupted. It then claims no more, and lets handlers end. `DbError`: what the store says that trying
   * again does not help against; while it cannot be reached it waits. `InvalidQueue`: an option is wrong.
   */
  readonly consume: <R>(
    handler: Handler<A, R>,
    options?: ConsumeOptions
  ) => Effect.Effect<never, InvalidQueue | DbError.DbError, R>
  /**
   * As `consume`, for a layer: when the store says what trying again does not help against, that is logged, and it goes on after a minute, or as soon
   * as the queue is found mended.
   *
   * @internal
   */
  readonly work: <R>(handler: Handler<A, R>, options: ConsumeOptions) => Effect.Effect<never, never, R>
  /** Lets nobody claim messages, in all processes, until it is resumed; what is claimed goes on. 1 GET, 1 PUT. */
  readonly pause: Effect.Effect<void, DbError.DbError>
  /** 1 GET, 1 PUT. */
  readonly resume: Effect.Effect<void, DbError.DbError>
  /** 1 GET; 1 GET more for each part that is not known here and has messages that wait for their time. */
  readonly status: Effect.Effect<Status, DbError.DbError>
  /** The dead letters, in the order in which they were offered. 1 GET for each 100, and 1 for each part that is not known here. */
  readonly deadLetters: Stream.Stream<DeadLetter, DbError.DbError>
  /** Puts dead letters to the end of the queue, to be tried `maxAttempts` times. Gives their number. 1 GET, 1 PUT. */
  readonly redrive: (filter?: DeadLetterFilter) => Effect.Effect<number, DbError.DbError>
  /** Removes dead letters. Gives their number. 1 GET, 1 PUT. */
  readonly discard: (filter?: DeadLetterFilter) => Effect.Effect<number, DbError.DbError>
  /**
   * Removes the messages that wait, delayed ones too, and gives their number. What is claimed goes on, and comes back when it is to be tried
   * again, unless `claimed`. Ids stay remembered: see `rememberIds`. What transactions have written and nobody has moved yet comes
   * afterwards. 1 GET, 1 PUT, and 1 request for each 1,000 parts.
   */
  readonly clear: (options?: ClearOptions) => Effect.Effect<number, DbError.DbError>
  /**
   * Removes the queue: messages, dead letters, ids that are remembered, totals, and what was to be moved of transactions. `QueueInUse` while
   * messages are claimed, unless `claimed: true`, which ends their claims. One object of some hundred bytes stays, whose counters go on, so that
   * no claim of before is taken for one of later: who offers to the queue afterwards begins it anew. 1 GET, 1 PUT, and 1 GET, 1 LIST and
   * at most 1 request for each 1,000 parts; with `transactions` 1 GET and 1 LIST more, and those of deleting documents.
   */
  readonly remove: (options?: Pick<ClearOptions, "claimed">) => Effect.Effect<void, QueueInUse | DbError.DbError>
  /**
   * Removes what processes have put and never named, when they came to a sudden end, except since the time before this one; it
   * is done by itself after each 1,000 parts. Gives the number of objects. 2 GET, 1 PUT, 1 LIST for each 1,000 parts, and 1
   * request for each 1,000 that are removed.
   */
  readonly collect: Effect.Effect<number, DbError.DbError>
  /** What is done through this opening of the queue, from when the stream is drawn. Who is more than 1,024 behind is told how many were dropped. */
  readonly events: Stream.Stream<Event | Change.Lagged>
}

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

const invalid = (queue: string, field: string, problem: string) => new InvalidQueue({ queue, field, problem })

const millisOf = (input: Duration.Input | undefined, otherwise: number): number =>
  input === undefined ? otherwise : millisecondsOf(input)

const week = 604_800_000
const century = 3_155_760_000_000
const minute = 60_000
const hour = 3_600_000
const day = 86_400_000

const isText = (text: string, most: number): boolean =>
  text !== "" && text.isWellFormed() && percentEncode(text).length <= most

const limitsOf = Effect.fnUntraced(function* (options: Omit<Options<never>, "payload">) {
  const { failureStrategy = "deadLetter", fifo = false, name = "", order = "fifo", transactions = false } = options
  const { maxAttempts = failureStrategy === "retry" ? Infinity : 5 } = options
  const pollInterval = millisOf(options.pollInterval, 1000)
  const times = {
    visibility: [millisOf(options.visibility, 30_000), 1000, week, "1 second to 7 days"],
    pollInterval: [pollInterval, 10, week, "10 milliseconds to 7 days"],
    maxPollInterval: [
      millisOf(options.maxPollInterval, Math.max(30_000, pollInterval)),
      pollInterval,
      week,
      "pollInterval to 7 days"
    ],
    rememberIds: [
      millisOf(options.rememberIds, day),
      transactions ? hour : 0,
      century,
      transactions ? "1 hour, with transactions, to 100 years" : "0 to 100 years"
    ]
  } as const
  if (!isText(name, 200)) return yield* invalid(name, "name", "Expected a name of 1 to 200 bytes, percent-encoded")
  for (const [field, [millis, least, most, range]] of Object.entries(times)) {
    if (!(millis >= least && millis <= most)) return yield* invalid(name, field, `Expected a duration from ${range}`)
  }
  if (failureStrategy !== "deadLetter" && failureStrategy !== "retry") {
    return yield* invalid(name, "failureStrategy", 'Expected "deadLetter" or "retry"')
  }
  if (order !== "fifo" && order !== "lifo") return yield* invalid(name, "order", 'Expected "fifo" or "lifo"')
  if (order === "lifo" && fifo) {
    return yield* invalid(name, "order", "Expected no order where all messages are in one group (fifo: true)")
  }
  if (failureStrategy === "retry" && options.maxAttempts !== undefined) {
    return yield* invalid(name, "maxAttempts", 'Expected none with failureStrategy: "retry"')
  }
  if (failureStrategy !== "retry" && !(Number.isInteger(maxAttempts) && maxAttempts >= 1 && maxAttempts <= 1_000_000)) {
    return yield* invalid(name, "maxAttempts", "Expected a whole number from 1 to 1,000,000")
  }
  return {
    name,
    maxAttempts,
    isEndless: failureStrategy === "retry",
    order,
    transactions,
    visibility: times.visibility[0],
    pollInterval,
    maxPollInterval: times.maxPollInterval[0],
    memory: times.rememberIds[0]
  }
})

const mostBytes = 512
const mostPayloadBytes = 4 * 1024 * 1024
const mostPriority = 1_000_000

const consumingOf = Effect.fnUntraced(function* (queue: string, options: ConsumeOptions) {
  const { concurrency = 10 } = options
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
    return yield* invalid(queue, "concurrency", "Expected a whole number from 1 to 10,000")
  }
  const timeout = millisOf(options.timeout, Infinity)
  if (!(timeout > 0)) return yield* invalid(queue, "timeout", "Expected a duration of more than nothing")
  const stopWithin = millisOf(options.stopWithin, 5000)
  if (!(stopWithin >= 0 && stopWithin <= week)) {
    return yield* invalid(queue, "stopWithin", "Expected a duration from 0 to 7 days")
  }
  return { concurrency, timeout, stopWithin }
})

const defaultRetryDelay = (attempt: number): Duration.Input => Math.min(300_000, 1000 * 2 ** (attempt - 1))

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

/**
 * The plugin: what its keys are named by, and its entries in `Plugin.statuses`, one for each queue that is open, with its `name`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("queue", { version: 1 })

const counterOf = {
  Offered: "offered",
  Completed: "completed",
  Lost: "lost",
  Retried: "retried",
  Dead: "dead",
  TakenOver: "takenOver"
} as const

/** Names of resources of plugins have few characters. */
const outboxOf = (name: string): string =>
  /^[a-z0-9][a-z0-9-]{0,99}$/.test(name) ? `outbox-${name}` : `outbox--${Engine.hexOf(name)}`

/**
 * Opens a queue, until the scope closes; afterwards all but `status` and `deadLetters` fails with `DbError`, `Unsupported`, without a request. 1 PUT, 1 HEAD and 1 DELETE, to read the store's clock; the same every hour. With
 * `transactions`, and for the first queue of a database or namespace, 1 PUT more, and 1 for the backup of the catalog.
 *
 * `InvalidQueue`: an option is wrong; nothing was written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("S3Queue.make")(function* <A, I>(
  options: Options<A, I>
): Effect.fn.Return<Queue<A>, LayerError, Database | Scope.Scope> {
  const database = yield* Database
  const scope = yield* Effect.scope
  const { isEndless, maxAttempts, name, transactions, ...limits } = yield* limitsOf(options)
  const { fifo = false, namespace, retryDelay = defaultRetryDelay } = options
  const self = yield* Plugin.open(plugin, { namespace, name })
  const named = DbError.named("S3Queue", name)
  const { decodeText: decode, encode } = JsonCodec.make(options.payload)
  const tell = (event: Event) =>
    Effect.andThen(
      self.publish(event),
      self.count(counterOf[event._tag], event._tag === "TakenOver" ? event.ids.length : 1)
    )

  const clock = StoreClock.make(database.store)
  yield* named(clock.measure)
  yield* clock.measure.pipe(
    Effect.catch((error) => Effect.logWarning("the store's clock could not be read", error)),
    Effect.delay(hour),
    Effect.forever,
    Effect.forkScoped
  )
  const engine = yield* Engine.make({
    ...limits,
    store: database.store,
    prefix: `${self.prefix()}queue=${percentEncode(name)}`,
    clock,
    maxAttempts: () => maxAttempts,
    onTaken: (flights) => tell({ _tag: "TakenOver", queue: name, ids: flights.map(({ m }) => m.i) })
  })
  /** Takes messages in, and tells of those that are new. */
  const take = Effect.fnUntraced(function* (offers: ReadonlyArray<Engine.Offer>) {
    const news = yield* engine.offer(offers)
    for (const [index, { message }] of offers.entries()) {
      if (news[index] === true) yield* tell({ _tag: "Offered", queue: name, id: message.i })
    }
    return news
  })
  const outbox = transactions
    ? yield* named(Outbox.make({ name: self.resourceName(outboxOf(name)), engine: { offer: take }, every: minute }))
    : undefined

  // ---------------------------------------------------------------------------
  // Offering
  // ---------------------------------------------------------------------------

  const toOffer = Effect.fnUntraced(function* (payload: A, given: OfferOptions, index: number) {
    const { group = fifo ? "all" : undefined, id, priority = 0 } = given
    const wrong = (field: string, problem: string) => new InvalidMessage({ queue: name, index, field, problem })
    const delay = millisOf(given.delay, 0)
    if (id !== undefined && !isText(id, mostBytes * 3)) return yield* wrong("id", "Expected 1 to 512 bytes of text")
    if (id !== undefined && utf8Length(id) > mostBytes) return yield* wrong("id", "Expected 1 to 512 bytes of text")
    if (group !== undefined && (!isText(group, mostBytes * 3) || utf8Length(group) > mostBytes)) {
      return yield* wrong("group", "Expected 1 to 512 bytes of text")
    }
    if (!Number.isInteger(priority) || Math.abs(priority) > mostPriority) {
      return yield* wrong("priority", "Expected a whole number from -1,000,000 to 1,000,000")
    }
    if (!(delay >= 0 && delay <= century)) return yield* wrong("delay", "Expected a duration from 0 to 100 years")
    const encoded = yield* Effect.mapError(encode(payload), ({ message }) => wrong("payload", message))
    const text = JSON.stringify(encoded)
    if (text === undefined) return yield* wrong("payload", "Expected what JSON has a form for")
    if (utf8Length(text) > mostPayloadBytes) return yield* wrong("payload", "Expected at most 4 MiB of JSON")
    const offer: Engine.Offer = {
      delay: Engine.waitOf(delay),
      keys: id === undefined ? [] : [Engine.keyOfId(id)],
      message: {
        i: id ?? (yield* Id.random),
        x: text,
        ...(priority === 0 ? {} : { p: priority }),
        ...(group === undefined ? {} : { g: group }),
        ...(id === undefined ? {} : { c: true as const })
      }
    }
    return offer
  })

  const offerAll = Effect.fnUntraced(function* (offers: ReadonlyArray<Engine.Offer>) {
    if ((yield* Transaction.Current) !== undefined) {
      if (outbox === undefined) {
        const description = "open the queue with transactions: true to offer messages within a transaction"
        const reason = new StoreError.Unsupported({ feature: "offering within a transaction", description })
        return yield* DbError.make("S3Queue.offer", reason, name)
      }
      yield* named(outbox.write(offers))
      return offers.map(({ message }): Offered => ({ id: message.i, isNew: true }))
    }
    const news = offers.length === 0 ? [] : yield* named(take(offers))
    return offers.map(({ message }, index): Offered => ({ id: message.i, isNew: news[index]! }))
  })

  // ---------------------------------------------------------------------------
  // Claiming
  // ---------------------------------------------------------------------------

  const contextOf = ({ message, token }: Engine.Claim): MessageContext => ({
    queue: name,
    id: message.i,
    attempt: message.a ?? 1,
    priority: message.p ?? 0,
    group: Option.fromUndefinedOr(message.g),
    offeredAt: DateTime.makeUnsafe(message.o),
    idempotencyKey: idempotencyKey(self.slug, name, message.i),
    token
  })

  const dead = (error: string): State.Outcome => ({ _tag: "dead", error: oneLine(error) })

  /** `retryDelay` is the program's: a handler goes on, whatever it throws. */
  const delayAfter = (attempt: number) =>
    Effect.sync(() => retryDelay(attempt)).pipe(
      Effect.catchDefect((error) =>
        Effect.as(
          Effect.logWarning(`retryDelay of queue ${name} throws; the default is taken`, error),
          defaultRetryDelay(attempt)
        )
      )
    )

  /** What becomes of a message after an attempt that has failed. */
  const afterFailure = Effect.fnUntraced(function* (
    { message: { a: attempt = 1 } }: Engine.Claim,
    error: string,
    after?: Duration.Input
  ): Effect.fn.Return<State.Outcome> {
    if (attempt >= maxAttempts) return dead(error)
    const millis = millisOf(after ?? (yield* delayAfter(attempt)), 0)
    return { _tag: "retry", due: Math.floor(yield* clock.now) + Engine.waitOf(millis), error: oneLine(error) }
  })

  /** Says what became of a message; `false`: it is somebody else's. */
  const settle = Effect.fnUntraced(function* (claim: Engine.Claim, outcome: State.Outcome) {
    const isSettled = yield* engine.settle(claim, outcome)
    const { a: attempt = 1, i: id } = claim.message
    if (!isSettled) yield* tell({ _tag: "Lost", queue: name, id, attempt })
    else if (outcome._tag === "done") yield* tell({ _tag: "Completed", queue: name, id, attempt })
    else if (outcome._tag === "retry") yield* tell({ _tag: "Retried", queue: name, id, attempt, error: outcome.error })
    else if (outcome._tag === "dead") yield* tell({ _tag: "Dead", queue: name, id, attempt, error: outcome.error })
    return isSettled
  })

  /** A schema that throws says that it cannot be read, as one that refuses it. */
  const decodeOf = (claim: Engine.Claim) =>
    Effect.result(Effect.catchDefect(decode(claim.payload), (defect) => Effect.fail(defect)))

  /** What becomes of a message that cannot be read: a program of another release may be able to, where it is tried for ever. */
  const afterUnreadable = (claim: Engine.Claim) =>
    isEndless ? afterFailure(claim, unreadable) : Effect.succeed(dead(unreadable))

  /** Messages that cannot be read are not given. */
  const readable = Effect.fnUntraced(function* (claims: ReadonlyArray<Engine.Claim>) {
    const read: Array<readonly [Engine.Claim, A]> = []
    for (const claim of claims) {
      const payload = yield* decodeOf(claim)
      if (Result.isSuccess(payload)) read.push([claim, payload.success])
      else yield* settle(claim, yield* afterUnreadable(claim))
    }
    return read
  })

  const toClaimed = (claim: Engine.Claim, payload: A) => {
    let isSettled = false
    const { message, token } = claim
    // Nobody is interrupted between the mark and what takes it away again.
    const end = (outcome: Effect.Effect<State.Outcome>): Effect.Effect<void, MessageLost | DbError.DbError> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const lost = new MessageLost({ queue: name, id: message.i, token })
          if (isSettled) return yield* lost
          isSettled = true
          const settling = restore(Effect.flatMap(outcome, (told) => named(settle(claim, told)))).pipe(
            // Who was interrupted or failed has not settled it: it is given back with the scope, at the latest.
            Effect.onError(() =>
              Effect.sync(() => {
                isSettled = false
              })
            )
          )
          if (!(yield* settling)) return yield* lost
        })
      )
    const claimed: Claimed<A> = {
      ...contextOf(claim),
      payload,
      lost: claim.lost,
      renew: Effect.gen(function* () {
        if (isSettled || !(yield* named(engine.renew(claim)))) {
          return yield* new MessageLost({ queue: name, id: message.i, token })
        }
      }),
      ack: end(Effect.succeed({ _tag: "done" })),
      retry: ({ after, error = "it is to be tried again" } = {}) => end(afterFailure(claim, error, after)),
      reject: (error) => end(Effect.succeed(dead(error)))
    }
    const release = Effect.suspend(() => (isSettled ? Effect.void : engine.settle(claim, { _tag: "release" })))
    return { claimed, release }
  }

  const inScope = Effect.fnUntraced(function* (claims: ReadonlyArray<Engine.Claim>) {
    const all = (yield* readable(claims)).map(([claim, payload]) => toClaimed(claim, payload))
    // At the same time, so that it is one request.
    yield* Effect.addFinalizer(() =>
      Effect.forEach(all, ({ release }) => release, { concurrency: "unbounded", discard: true }).pipe(
        Effect.catch((error) => Effect.logWarning(`messages of queue ${name} could not be given back`, error))
      )
    )
    return all.map(({ claimed }) => claimed)
  })

  const countOf = (max: number) =>
    Number.isInteger(max) && max >= 1 && max <= 10_000
      ? Effect.succeed(max)
      : Effect.fail(
          DbError.make(
            "S3Queue.claim",
            new StoreError.InvalidArgument({
              argument: "max",
              description: `max has to be a whole number from 1 to 10,000, not ${max}`
            }),
            name
          )
        )

  // ---------------------------------------------------------------------------
  // Consuming
  // ---------------------------------------------------------------------------

  const outcomeOf = (claim: Engine.Claim, exit: Exit.Exit<unknown, unknown>): Effect.Effect<State.Outcome> => {
    if (Exit.isSuccess(exit)) return Effect.succeed({ _tag: "done" })
    if (Cause.hasInterruptsOnly(exit.cause)) return Effect.succeed({ _tag: "release" })
    const error = Cause.squash(exit.cause)
    if (error instanceof Reject) return Effect.succeed(dead(error.description))
    if (error instanceof RetryLater) {
      return afterFailure(claim, error.description ?? "it is to be tried again", error.after)
    }
    return afterFailure(claim, messageOf(exit.cause))
  }

  const consume = Effect.fnUntraced(function* <R>(
    handler: Handler<A, R>,
    options: ConsumeOptions
  ): Effect.fn.Return<never, InvalidQueue | DbError.DbError, R> {
    const { concurrency, stopWithin, timeout } = yield* consumingOf(name, options)
    const run = (payload: A, context: MessageContext) =>
      Number.isFinite(timeout)
        ? Effect.timeoutOrElse(
            Effect.suspend(() => handler(payload, context)),
            {
              duration: timeout,
              orElse: () => Effect.fail(new TimedOut(timeout))
            }
          )
        : Effect.suspend(() => handler(payload, context))
    return yield* Effect.scoped(
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const handlers = yield* FiberSet.make()
          const freed = yield* EffectQueue.sliding<void>(1)
          let running = 0

          const handle = (claim: Engine.Claim) =>
            Effect.gen(function* () {
              const payload = yield* decodeOf(claim)
              const outcome = Result.isFailure(payload)
                ? yield* afterUnreadable(claim)
                : yield* Effect.raceFirst(
                    run(payload.success, contextOf(claim)),
                    Effect.andThen(claim.lost, Effect.interrupt)
                  ).pipe(
                    Effect.interruptible,
                    Effect.exit,
                    Effect.flatMap((exit) => outcomeOf(claim, exit))
                  )
              running -= 1
              EffectQueue.offerUnsafe(freed, undefined)
              yield* Effect.catch(settle(claim, outcome), (error) =>
                Effect.logWarning(
                  `what became of message ${claim.message.i} of queue ${name} could not be written`,
                  error
                )
              )
            })

          const stop = Effect.gen(function* () {
            if (stopWithin > 0) yield* Effect.raceFirst(FiberSet.awaitEmpty(handlers), Effect.sleep(stopWithin))
            yield* FiberSet.clear(handlers)
            yield* FiberSet.awaitEmpty(handlers)
          })

          const claiming = Effect.gen(function* () {
            for (;;) {
              if (running >= concurrency) {
                yield* restore(EffectQueue.take(freed))
                continue
              }
              yield* restore(
                engine.claim(concurrency - running, (claims) => {
                  running += claims.length
                  return Effect.forEach(
                    claims,
                    (claim) => FiberSet.run(handlers, Effect.uninterruptible(handle(claim))),
                    {
                      discard: true
                    }
                  )
                })
              )
            }
          })
          return yield* Effect.onExit(named(claiming), () => stop)
        })
      )
    )
  })

  // ---------------------------------------------------------------------------
  // Dead letters
  // ---------------------------------------------------------------------------

  /** What is no filter means nothing, rather than all. */
  const chosenBy = Effect.fnUntraced(function* (operation: string, filter: DeadLetterFilter) {
    const isFilter =
      Object.prototype.toString.call(filter) === "[object Object]" && Object.keys(filter).every((key) => key === "ids")
    const ids: unknown = isFilter ? filter.ids : undefined
    if (!isFilter || (ids !== undefined && !(Array.isArray(ids) && ids.every((id) => typeof id === "string")))) {
      const description = "Expected { ids } with a list of ids, or nothing for all dead letters"
      return yield* DbError.make(operation, new StoreError.InvalidArgument({ argument: "filter", description }), name)
    }
    const chosen = filter.ids === undefined ? undefined : new Set(filter.ids)
    return ({ i }: State.Message) => chosen === undefined || chosen.has(i)
  })

  const toDeadLetter = ({ a = 0, e = "", g, i, o, p = 0, t = o }: State.Message, payload: Schema.Json): DeadLetter => ({
    id: i,
    payload,
    attempts: a,
    priority: p,
    group: Option.fromUndefinedOr(g),
    offeredAt: DateTime.makeUnsafe(o),
    diedAt: DateTime.makeUnsafe(t),
    error: e
  })

  const deadLetters = Stream.unwrap(
    Effect.map(
      engine.look((state, { reader }) => State.messagesOn(State.draft(state).dead, reader)),
      (all) =>
        Stream.fromIterable(all).pipe(
          Stream.grouped(100),
          Stream.mapEffect((page) => {
            const numbers = new Set(page.map(({ s }) => s))
            return engine.look(
              Effect.fnUntraced(function* (state, world) {
                const draft = State.draft(state)
                const there = (yield* State.messagesOn(draft.dead, world.reader)).filter(({ s }) => numbers.has(s))
                return yield* Effect.forEach(there, (message) =>
                  Effect.map(engine.payloadOf(draft, message, world), (text) => toDeadLetter(message, parsed(text)))
                )
              })
            )
          }),
          Stream.flatMap(Stream.fromIterable)
        )
    )
  ).pipe(Stream.mapError(DbError.fromStore("S3Queue.deadLetters", name)))

  const setPaused = (paused: boolean) =>
    engine
      .change((draft) =>
        Effect.sync(() => {
          if (draft.paused === paused) return
          draft.paused = paused
          draft.hasChanged = true
        })
      )
      .pipe(named)

  /** Why workers of this process do not work at present. */
  const idle = new Set<{ readonly why: string }>()

  const work = <R>(handler: Handler<A, R>, options: ConsumeOptions): Effect.Effect<never, never, R> =>
    consume(handler, options).pipe(
      Effect.tapError((error) => Effect.logError(`queue ${name} is not worked on; it is tried again`, error)),
      Effect.catch((error) => {
        const mine = { why: `not worked on; it is tried again. ${error.message}` }
        return Effect.acquireUseRelease(
          Effect.sync(() => idle.add(mine)),
          // Somebody else of this process has found it mended, or a while is over.
          () => Effect.raceFirst(engine.worked, Effect.sleep(minute)),
          () => Effect.sync(() => idle.delete(mine))
        )
      }),
      Effect.forever
    )

  if (outbox !== undefined) yield* Effect.forkIn(outbox.sweeping, scope)
  const statusNow = engine
    .look(
      Effect.fnUntraced(function* (state, { now, reader }) {
        const delayed = yield* State.countDelayed(state, reader, now)
        const status: Status = {
          queue: name,
          isPaused: state.paused,
          ready: State.countOn(state.ready) - delayed,
          delayed,
          claimed: state.flight.length,
          deadLetters: State.countOn(state.dead),
          workers: state.workers.length,
          totals: state.totals
        }
        return status
      })
    )
    .pipe(named)

  yield* self.running({
    health: Effect.map(engine.trouble, (trouble) => {
      const [first] = idle
      const detail = trouble ?? first?.why
      return detail === undefined ? { level: "up" } : { level: "degraded", detail: `queue ${name}: ${detail}` }
    }),
    counters: statusNow.pipe(
      Effect.map(({ claimed, deadLetters, delayed, ready, workers }) => ({
        claimed,
        deadLetters,
        delayed,
        ready,
        workers
      })),
      // What keeps the store from answering the health tells.
      Effect.orElseSucceed(() => ({}))
    )
  })

  return {
    name,
    offer: Effect.fn("S3Queue.offer")(function* (payload, offering = {}) {
      const [offered] = yield* offerAll([yield* toOffer(payload, offering, 0)])
      return offered!
    }),
    offerAll: Effect.fn("S3Queue.offerAll")(function* (messages) {
      return yield* offerAll(
        yield* Effect.forEach(messages, (message, index) => toOffer(message.payload, message, index))
      )
    }),
    claim: Effect.fn("S3Queue.claim")(function* (max = 1) {
      const most = yield* countOf(max)
      for (;;) {
        const claimed = yield* named(engine.claim(most, inScope))
        if (claimed.length > 0) return claimed
      }
    }),
    claimNow: Effect.fn("S3Queue.claimNow")(function* (max = 1) {
      return yield* named(engine.claimNow(yield* countOf(max), inScope))
    }),
    consume: (handler, consuming = {}) => consume(handler, consuming),
    work,
    pause: Effect.withSpan(setPaused(true), "S3Queue.pause"),
    resume: Effect.withSpan(setPaused(false), "S3Queue.resume"),
    status: Effect.withSpan(statusNow, "S3Queue.status"),
    deadLetters,
    redrive: Effect.fn("S3Queue.redrive")(function* (filter = {}) {
      const isChosen = yield* chosenBy("S3Queue.redrive", filter)
      return yield* named(engine.change((draft, { reader }) => State.redrive(draft, reader, isChosen)))
    }),
    discard: Effect.fn("S3Queue.discard")(function* (filter = {}) {
      const isChosen = yield* chosenBy("S3Queue.discard", filter)
      return yield* named(engine.change((draft, { reader }) => State.discard(draft, reader, isChosen)))
    }),
    clear: Effect.fn("S3Queue.clear")(function* ({ claimed = false, deadLetters = false } = {}) {
      return yield* named(engine.change((draft) => Effect.sync(() => State.clear(draft, { claimed, deadLetters }))))
    }),
    remove: Effect.fn("S3Queue.remove")(function* ({ claimed = false } = {}) {
      const refuse = (count: number) =>
        count === 0 ? Effect.void : Effect.fail(new QueueInUse({ queue: name, claimed: count }))
      const removing = Effect.flatMap(named(engine.remove({ claimed })), refuse)
      if (outbox === undefined) return yield* removing
      if (!claimed) yield* refuse((yield* named(engine.read)).flight.length)
      yield* outbox.discarding(removing)
    }),
    collect: Effect.withSpan(named(engine.collect), "S3Queue.collect"),
    events: self.events
  } satisfies Queue<A>
})

const unreadable = "its payload cannot be read: it is none of the schema's"

class TimedOut {
  readonly _tag = "TimedOut"
  readonly message: string
  constructor(millis: number) {
    this.message = `its handler took more than ${millis} ms`
  }
}

const parsed = (text: string): Schema.Json => {
  try {
    return JSON.parse(text) as Schema.Json
  } catch {
    return text
  }
}

const oneLine = (text: string): string => text.split("\n")[0]!.slice(0, 500)

/** The first line of what a handler failed with, which may be anything. */
const messageOf = (cause: Cause.Cause<unknown>): string => {
  try {
    const error = Cause.squash(cause)
    if (error instanceof Error) return oneLine(String(error.message || error.name))
    if (typeof error === "object" && error !== null) {
      if ("message" in error && error.message !== "") return oneLine(String(error.message))
      if ("_tag" in error) return oneLine(String(error._tag))
    }
    return oneLine(String(error))
  } catch {
    return "what it failed with cannot be shown"
  }
}

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * A class that is the service of a queue and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<in out Self, in out Id extends string, in out A> extends Context.ServiceClass<
  Self,
  Id,
  Queue<A>
> {
  /** Opens the queue. The same reference each time, so that it is built once. */
  readonly layer: Layer.Layer<Self, LayerError, Database>
}

/**
 * Declares a queue as a service. The id identifies the service in the program; what follows its last `/` is the name of the queue,
 * unless `name` says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, A, I>(id: Id, options: Options<A, I>): ServiceClass<Self, Id, A> => {
    const service = Context.Service<Self, Queue<A>>()(id)
    const name = options.name ?? id.slice(id.lastIndexOf("/") + 1)
    return Object.assign(service, { layer: Layer.effect(service, make({ ...options, name })) })
  }

/**
 * Handles the messages of a queue until the layer is closed; it then claims no more, and lets handlers end (`stopWithin`). When the store
 * says what trying again does not help against, that is logged as an error, and it goes on after a minute, or as soon as the queue is found
 * mended by this process; until then the plugin is `degraded` in `Plugin.statuses`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWorker = <Self, Id extends string, A, R = never>(
  queue: ServiceClass<Self, Id, A>,
  handler: Handler<A, R>,
  options: ConsumeOptions = {}
): Layer.Layer<never, InvalidQueue, Self | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { name, work } = yield* queue
      yield* consumingOf(name, options)
      yield* Effect.forkScoped(Effect.scoped(work(handler, options)))
    })
  )
