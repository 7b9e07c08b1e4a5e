/**
 * Consumers of queues: messages are decoded, handled or applied to resources, and acknowledged; what fails again and again is kept as a dead letter.
 *
 * ```ts
 * import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
 * import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
 * import { Console, Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const consumer = yield* QueueConsumer.make()
 *   const emails = yield* MessageQueue.s3({ name: "emails" })
 *   yield* consumer.consume({
 *     source: emails.source,
 *     payload: Schema.Struct({ to: Schema.String }),
 *     handler: ({ to }) => Console.log(to),
 *     concurrency: 20
 *   })
 * })
 * ```
 *
 * **Details**
 *
 * A message is handled at least once: it comes again when its consumer died, was silent for too long, or could not acknowledge it. It is acknowledged
 * after its handler has succeeded, never before. `applying` makes a handler that may get a message any number of times, and in any order:
 * an old change never overwrites a newer one.
 *
 * A message that cannot be decoded, or that its handler rejects, becomes a dead letter at once; another one after `maxDeliveries`. Dead letters lie in
 * the database's store, whatever system the queue is of: they are written before the message is acknowledged. What fails because something
 * cannot be reached (`isRetryable: true`) is never one.
 *
 * When the queue cannot be reached it is opened again, after 100 ms, 200 ms, ... 30 seconds at most, with a part of chance, as long as it takes; that
 * is logged, and told by `Plugin.statuses` (`degraded`).
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EffectQueue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Hex from "effect/encoding/Hex"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import * as backoff from "../internal/backoff.ts"
import { encodeBase64 } from "../internal/base64.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { fieldTypes } from "../internal/merge.ts"
import { sha256 } from "../internal/sha256.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import * as Plugin from "../Plugin.ts"
import * as Resource from "../Resource.ts"
import * as MessageQueue from "./MessageQueue.ts"
import * as Apply from "./queueconsumer/apply.ts"
import { Reject, RetryLater } from "./S3Queue.ts"
import * as StoreError from "../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A consumer that cannot be: an option is wrong. Nothing was asked of the queue. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidConsumer extends ExpectedError<InvalidConsumer>(
  "effect-s3db/plugins/QueueConsumer/InvalidConsumer"
)("InvalidConsumer", { queue: Schema.String, field: Schema.String, problem: Schema.String }, { httpApiStatus: 400 }) {
  override get message(): string {
    return `consumer of ${JSON.stringify(this.queue)}, ${this.field}: ${this.problem}`
  }
}

export {
  /**
   * What a handler fails with where trying again is of no use: the message becomes a dead letter at once.
   *
   * @category errors
   * @since 0.1.0
   */
  Reject,
  /**
   * What a handler fails with to be tried again after some time, rather than that of `retryDelay`.
   *
   * @category errors
   * @since 0.1.0
   */
  RetryLater
}

/**
 * The errors of opening what consumes.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Changes as messages
// -----------------------------------------------------------------------------

/**
 * A change of a document, as a message has it.
 *
 * @category models
 * @since 0.1.0
 */
export const ChangeMessage = Schema.Struct({
  resource: Schema.String,
  /** All but `delete` are one: `document` is the whole of it after the change. */
  operation: Schema.Literals(["insert", "update", "upsert", "snapshot", "delete"]),
  id: Schema.String,
  /**
   * Rises from change to change of a document, over deletions as well: the place in the journal, say. Not the version of a document,
   * which begins anew when it was deleted.
   */
  version: Schema.Int,
  /** The document in JSON form; none where it is gone, or is not to be there. */
  document: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})

/**
 * A change of a document, as a message has it.
 *
 * @category models
 * @since 0.1.0
 */
export type ChangeMessage = typeof ChangeMessage.Type

const encodeChange = Schema.encodeSync(Schema.fromJsonString(ChangeMessage))

/**
 * Makes the message of a change: its key is the document, its id the document with the version, so that one that is published twice is one where the
 * queue has such. Throws where a part of the change is none.
 *
 * @category conversions
 * @since 0.1.0
 */
export const messageOf = (change: ChangeMessage): MessageQueue.Message => {
  const key = Hex.encode(sha256(new TextEncoder().encode(JSON.stringify([change.resource, change.id])))).slice(0, 32)
  return { body: encodeChange(change), key, id: `${key}-${change.version}` }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A message as its handler sees it, its payload aside.
 *
 * @category models
 * @since 0.1.0
 */
export interface MessageContext {
  readonly queue: string
  readonly id: string
  readonly key: Option.Option<string>
  /** How often it has been delivered, this time included, as far as the queue counts that. */
  readonly attempt: number
}

/**
 * What handles messages. Success acknowledges one. `RetryLater` and `Reject` say what is to become of it; any other failure, a defect too, is
 * tried again after `retryDelay`.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<in A, out R = never> = (payload: A, context: MessageContext) => Effect.Effect<unknown, unknown, R>

/**
 * How a queue is consumed.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConsumeOptions<A, I, R> {
  readonly source: MessageQueue.Source
  /** What messages have to be, as JSON. */
  readonly payload: Schema.Codec<A, I>
  readonly handler: Handler<A, R>
  /** How many messages are handled at once. 1 to 10,000; default: 10. */
  readonly concurrency?: number | undefined
  /** How often a message is delivered before it becomes a dead letter. 1 to 1,000,000; default: 5. */
  readonly maxDeliveries?: number | undefined
  /** How long a message waits after an attempt, from 1, has failed. Default: 1, 2, 4, ... seconds, 5 minutes at most. */
  readonly retryDelay?: ((attempt: number) => Duration.Input) | undefined
  /** How long a handler may take before it is interrupted, which counts as a failure. Default: as long as it wants. */
  readonly timeout?: Duration.Input | undefined
  /** How long handlers may go on when consuming is interrupted, before they are as well, and their messages go back. Default: 5 seconds. */
  readonly stopWithin?: Duration.Input | undefined
  /** Whether a failure says nothing of the message: it is tried again, however often. Default: errors that say `isRetryable: true`. */
  readonly isOutage?: ((error: unknown) => boolean) | undefined
}

const DeadLetterSchema = Schema.Struct({
  queue: Schema.String,
  id: Schema.String,
  key: Schema.Option(Schema.String),
  /** As it came. */
  body: Schema.String,
  /** Bytes that are no UTF-8 are kept as base64. */
  isBase64: Schema.Boolean,
  attempts: Schema.Int,
  diedAt: Schema.DateTimeUtc,
  /** The first line of what the last attempt failed with. */
  error: Schema.String
})

/**
 * A message that is not tried any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter extends Schema.Schema.Type<typeof DeadLetterSchema> {}

/**
 * Which dead letters: those of a queue, or those of some ids in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetterFilter {
  readonly queue: string
  readonly ids?: ReadonlyArray<string> | undefined
}

/**
 * What a consumer tells of what this process does.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = { readonly queue: string } & (
  | { readonly _tag: "Completed" | "Lost"; readonly id: string; readonly attempt: number }
  | { readonly _tag: "Retried" | "Dead"; readonly id: string; readonly attempt: number; readonly error: string }
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Disconnected"; readonly error: string }
)

/**
 * How changes are applied.
 *
 * @category models
 * @since 0.1.0
 */
export interface ApplyOptions {
  /** The field, of numbers and optional, that has the version of the change that was applied last. Default: `sourceVersion`. */
  readonly field?: string | undefined
  /** How long deletions are remembered: longer than a message can be late. Default: 7 days. */
  readonly keepDeletions?: Duration.Input | undefined
}

/**
 * What consumes queues.
 *
 * @category services
 * @since 0.1.0
 */
export interface Consumer {
  /**
   * Handles the messages of a queue until it is interrupted. It then takes no more, and lets handlers end (`stopWithin`); what they did not end goes
   * back. It goes on by itself when the queue was out of reach. `InvalidConsumer`: an option is wrong. A program consumes several queues by as many
   * fibers of this, each with its own options.
   */
  readonly consume: <A, I, R>(options: ConsumeOptions<A, I, R>) => Effect.Effect<never, InvalidConsumer, R>
  /**
   * Makes a handler that applies changes to resources, by the names that they have in the store. An old change never overwrites a newer one, and one that
   * comes twice is applied once: see `ApplyOptions.field`. Documents go through all checks of the resource; one that they refuse, and one of a
   * resource that is none of these, is rejected. 2 GET and 1 PUT for a document, 2 GET, 1 PUT and 1 DELETE for a deletion, 1 GET for what is stale. A store
   * without conditional deletes cannot apply deletions (`Unsupported`).
   *
   * `InvalidConsumer`: a resource has no such field.
   */
  readonly applying: <const Rs extends ReadonlyArray<Resource.Any>>(
    resources: Rs,
    options?: ApplyOptions
  ) => Effect.Effect<Handler<ChangeMessage>, InvalidConsumer, Resource.SelfOf<Rs[number]>>
  /** The dead letters of a queue, by id. 1 LIST for each 1,000, and 1 GET for each. */
  readonly deadLetters: (queue: string) => Stream.Stream<DeadLetter, DbError.DbError>
  /**
   * Publishes dead letters once more, and removes them. Gives their number. Where it comes to a sudden end some may be both, and are handled twice. Those
   * that are no UTF-8 are left. 1 LIST for each 1,000, 1 GET and 1 DELETE for each.
   */
  readonly redrive: (
    publisher: MessageQueue.Publisher,
    filter?: Pick<DeadLetterFilter, "ids">
  ) => Effect.Effect<number, DbError.DbError | MessageQueue.QueueUnavailable | MessageQueue.MessageRefused>
  /** Removes dead letters. Gives their number. 1 LIST for each 1,000, 1 GET and 1 DELETE for each. */
  readonly discard: (filter: DeadLetterFilter) => Effect.Effect<number, DbError.DbError>
  /** What is done by this consumer, from when the stream is drawn. Who is more than 1,024 behind is told how many were dropped. */
  readonly events: Stream.Stream<Event | Change.Lagged>
}

/**
 * The plugin: what its keys are named by.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("queue-consumer", { version: 1 })

const counterOf = {
  Completed: "completed",
  Lost: "lost",
  Retried: "retried",
  Dead: "dead",
  Connected: "connected",
  Disconnected: "disconnected"
} as const

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

const week = 604_800_000

const defaultRetryDelay = (attempt: number): Duration.Input => Math.min(300_000, 1000 * 2 ** Math.min(20, attempt - 1))

const saysRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true

const limitsOf = Effect.fnUntraced(function* <A, I, R>(options: ConsumeOptions<A, I, R>) {
  const { concurrency = 10, isOutage = saysRetryable, maxDeliveries = 5, retryDelay = defaultRetryDelay } = options
  const invalid = (field: string, problem: string) =>
    new InvalidConsumer({ queue: options.source.name, field, problem })
  // Dead letters lie below it.
  if (options.source.name === "" || !options.source.name.isWellFormed()) {
    return yield* invalid("source", "Expected a queue with a name")
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 10_000) {
    return yield* invalid("concurrency", "Expected a whole number from 1 to 10,000")
  }
  if (!Number.isInteger(maxDeliveries) || maxDeliveries < 1 || maxDeliveries > 1_000_000) {
    return yield* invalid("maxDeliveries", "Expected a whole number from 1 to 1,000,000")
  }
  const timeout = options.timeout === undefined ? Infinity : millisecondsOf(options.timeout)
  if (!(timeout > 0)) return yield* invalid("timeout", "Expected a duration of more than nothing")
  const stopWithin = millisecondsOf(options.stopWithin ?? "5 seconds")
  if (!(stopWithin >= 0 && stopWithin <= week)) {
    return yield* invalid("stopWithin", "Expected a duration from 0 to 7 days")
  }
  return { concurrency, isOutage, maxDeliveries, retryDelay, timeout, stopWithin }
})

// -----------------------------------------------------------------------------
// Consuming
// -----------------------------------------------------------------------------

const reconnecting: backoff.Policy = { first: 100, factor: 2, most: 30_000, share: [0.5, 1] }

const oneLine = (text: string): string => text.split("\n")[0]!.slice(0, 500)

/** The first line of what a handler failed with, which may be anything. */
const lineOf = (error: unknown): string => {
  try {
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

/** What is to become of a message. */
type Fate =
  | { readonly _tag: "done" }
  | { readonly _tag: "back" }
  | { readonly _tag: "retry"; readonly delay: number; readonly error: string }
  | { readonly _tag: "dead"; readonly error: string }

/** A name that is no key says so. */
const toDbError =
  (operation: string) =>
  (error: PluginStore.Failure): DbError.DbError =>
    error._tag === "InvalidKey"
      ? DbError.make(operation, new StoreError.InvalidArgument({ argument: "queue", description: error.message }))
      : DbError.fromStore(operation)(error)

/** Keys of dead letters: ids may be longer than what a store takes, and different messages of others may have one id. */
const keyOf = ({ body, id, queue }: MessageQueue.Delivery<Uint8Array>): ReadonlyArray<string> => {
  const named = JSON.stringify([id, Hex.encode(sha256(body))])
  return [queue, Hex.encode(sha256(new TextEncoder().encode(named))).slice(0, 40)]
}

/**
 * Opens what consumes queues, until the scope closes. No request once the catalog has it; before that 1 PUT, and 1 more for the backup.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("QueueConsumer.make")(function* (
  options: Plugin.Options = {}
): Effect.fn.Return<Consumer, LayerError, Database | Scope.Scope> {
  yield* Database
  const self = yield* Plugin.open(plugin, options)
  const letters = self.store(DeadLetterSchema)
  const tell = (event: Event) => Effect.andThen(self.publish(event), self.count(counterOf[event._tag]))
  /** What keeps which queue from being consumed. */
  const troubles = new Map<object, string>()

  yield* self.running({
    health: Effect.sync(() => {
      const [first] = troubles.values()
      return first === undefined ? { level: "up" } : { level: "degraded", detail: first }
    })
  })

  /** Keeps a message as a dead letter. 1 PUT. */
  const bury = Effect.fnUntraced(function* (delivery: MessageQueue.Delivery<Uint8Array>, error: string) {
    const { attempt, body, id, key, queue } = delivery
    const text = MessageQueue.textOf(delivery)
    const bytes = new TextEncoder().encode(text)
    const isText = bytes.length === body.length && bytes.every((byte, i) => byte === body[i])
    yield* letters.set(keyOf(delivery), {
      queue,
      id,
      key,
      body: isText ? text : encodeBase64(body),
      isBase64: !isText,
      attempts: attempt,
      diedAt: yield* DateTime.now,
      error
    })
  })

  const consume = Effect.fnUntraced(function* <A, I, R>(
    given: ConsumeOptions<A, I, R>
  ): Effect.fn.Return<never, InvalidConsumer, R> {
    const { handler, payload, source } = given
    const { concurrency, isOutage, maxDeliveries, retryDelay, stopWithin, timeout } = yield* limitsOf(given)
    const queue = source.name
    const decode = MessageQueue.decoding(payload)

    /** `retryDelay` is the program's: a consumer goes on, whatever it throws. */
    const delayAfter = (attempt: number, after?: Duration.Input) =>
      Effect.sync(() => {
        const millis = millisecondsOf(after ?? retryDelay(attempt))
        return millis >= 0 ? millis : millisecondsOf(defaultRetryDelay(attempt))
      }).pipe(
        Effect.catchDefect((error) =>
          Effect.as(
            Effect.logWarning(`retryDelay of queue ${queue} throws; the default is taken`, error),
            millisecondsOf(defaultRetryDelay(attempt))
          )
        )
      )

    /** `isOutage` is the program's as well, and what a handler failed with may be anything. */
    const saysOutage = (error: unknown) =>
      Effect.sync(() => isOutage(error)).pipe(
        Effect.catchDefect((defect) =>
          Effect.as(Effect.logWarning(`isOutage of queue ${queue} throws; that counts as none`, defect), false)
        )
      )

    const fateOf = Effect.fnUntraced(function* (
      attempt: number,
      exit: Exit.Exit<unknown, unknown>
    ): Effect.fn.Return<Fate> {
      if (Exit.isSuccess(exit)) return { _tag: "done" }
      if (Cause.hasInterruptsOnly(exit.cause)) return { _tag: "back" }
      const error = Cause.squash(exit.cause)
      if (error instanceof Reject) return { _tag: "dead", error: oneLine(error.description) }
      const isLater = error instanceof RetryLater
      const line = isLater ? (error.description ?? "it is to be tried again") : lineOf(error)
      if (attempt >= maxDeliveries && (isLater || !(yield* saysOutage(error)))) return { _tag: "dead", error: line }
      return { _tag: "retry", delay: yield* delayAfter(attempt, isLater ? error.after : undefined), error: line }
    })

    /** Says for the queue that the message is worked on, and waits until it is somebody else's. */
    const heartbeat = (delivery: MessageQueue.Delivery<Uint8Array>) =>
      source.extendEvery === undefined
        ? Effect.never
        : Effect.sleep(source.extendEvery).pipe(
            Effect.andThen(delivery.extend),
            Effect.catchTag("QueueUnavailable", () => Effect.void),
            Effect.forever,
            Effect.catchTag("DeliveryLost", () => Effect.interrupt)
          )

    const handle = Effect.fnUntraced(function* (delivery: MessageQueue.Delivery<Uint8Array>) {
      const { attempt, id, key } = delivery
      if (attempt > maxDeliveries) {
        return {
          _tag: "dead",
          error: `it was delivered ${attempt - 1} times, and nobody said what became of it`
        } as const
      }
      const decoded = yield* Effect.exit(Effect.interruptible(Effect.result(decode(delivery))))
      if (Exit.isFailure(decoded)) return { _tag: "back" } as const
      const read = decoded.value
      if (Result.isFailure(read)) return { _tag: "dead", error: oneLine(read.failure.problem) } as const
      const handling = Effect.suspend(() => handler(read.success.body, { queue, id, key, attempt }))
      const timed = Number.isFinite(timeout)
        ? Effect.timeoutOrElse(handling, {
            duration: timeout,
            orElse: () => Effect.fail({ message: `its handler took more than ${timeout} ms` })
          })
        : handling
      const exit = yield* Effect.exit(Effect.interruptible(Effect.raceFirst(timed, heartbeat(delivery))))
      return yield* fateOf(attempt, exit)
    })

    const settle = Effect.fnUntraced(function* (delivery: MessageQueue.Delivery<Uint8Array>, fate: Fate) {
      const { attempt, id } = delivery
      switch (fate._tag) {
        case "done":
          yield* delivery.ack
          return yield* tell({ _tag: "Completed", queue, id, attempt })
        case "back":
          return yield* delivery.nack()
        case "retry":
          yield* delivery.nack({ delay: fate.delay })
          return yield* tell({ _tag: "Retried", queue, id, attempt, error: fate.error })
        case "dead": {
          const buried = yield* Effect.exit(bury(delivery, fate.error))
          if (Exit.isFailure(buried)) {
            yield* Effect.logWarning(
              `a dead letter of queue ${queue} could not be written; it is tried again`,
              buried.cause
            )
            yield* delivery.nack({ delay: yield* delayAfter(attempt) })
            return yield* tell({ _tag: "Retried", queue, id, attempt, error: lineOf(Cause.squash(buried.cause)) })
          }
          yield* delivery.ack
          return yield* tell({ _tag: "Dead", queue, id, attempt, error: fate.error })
        }
      }
    })

    /**
     * Says what became of a message until the queue has heard it, or the session is over. Some queues would not deliver it again before that, and
     * what its handler has done would be done twice.
     */
    const settleAtLast = (delivery: MessageQueue.Delivery<Uint8Array>, fate: Fate, isOver: Deferred.Deferred<void>) => {
      const trouble = {}
      const attempt = (failed: number): Effect.Effect<void, MessageQueue.DeliveryLost> =>
        Effect.catchTag(settle(delivery, fate), "QueueUnavailable", (error) =>
          Effect.gen(function* () {
            const detail = `what became of message ${delivery.id} of queue ${queue} could not be said`
            if (failed === 0) yield* Effect.logWarning(detail, error)
            troubles.set(trouble, `${detail}: ${error.description}`)
            const pause = Effect.sleep(yield* backoff.millisAfter(failed, reconnecting))
            yield* Effect.raceFirst(pause, Deferred.await(isOver))
            // It comes again, by the queue itself.
            if (!Deferred.isDoneUnsafe(isOver)) yield* attempt(failed + 1)
          })
        )
      return Effect.ensuring(
        attempt(0),
        Effect.sync(() => troubles.delete(trouble))
      )
    }

    const work = (delivery: MessageQueue.Delivery<Uint8Array>, isOver: Deferred.Deferred<void>) =>
      Effect.flatMap(handle(delivery), (fate) => settleAtLast(delivery, fate, isOver)).pipe(
        Effect.catchTag("DeliveryLost", () => tell({ _tag: "Lost", queue, id: delivery.id, attempt: delivery.attempt }))
      )

    const mine = {}
    let failures = 0
    /** When the session was opened, and whether it has given anything. */
    let opened = { at: Infinity, hasGiven: false }

    const session = Effect.scoped(
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          opened = { at: Infinity, hasGiven: false }
          const { take } = yield* restore(source.open({ prefetch: concurrency }))
          opened = { at: yield* Clock.currentTimeMillis, hasGiven: false }
          const isOver = yield* Deferred.make<void>()
          troubles.delete(mine)
          yield* tell({ _tag: "Connected", queue })
          const handlers = yield* FiberSet.make()
          const freed = yield* EffectQueue.sliding<void>(1)
          let running = 0

          const start = (delivery: MessageQueue.Delivery<Uint8Array>) =>
            FiberSet.run(
              handlers,
              Effect.uninterruptible(
                Effect.ensuring(
                  work(delivery, isOver),
                  Effect.sync(() => {
                    running -= 1
                    EffectQueue.offerUnsafe(freed, undefined)
                  })
                )
              )
            )

          const stop = Effect.gen(function* () {
            yield* Deferred.succeed(isOver, undefined)
            if (stopWithin > 0) yield* Effect.raceFirst(FiberSet.awaitEmpty(handlers), Effect.sleep(stopWithin))
            yield* FiberSet.clear(handlers)
            yield* FiberSet.awaitEmpty(handlers)
          })

          const taking = Effect.gen(function* () {
            for (;;) {
              if (running >= concurrency) {
                yield* restore(EffectQueue.take(freed))
                continue
              }
              const deliveries = yield* restore(take(concurrency - running))
              opened.hasGiven = true
              running += deliveries.length
              yield* Effect.forEach(deliveries, start, { discard: true })
            }
          })
          return yield* Effect.onExit(taking, () => stop)
        })
      )
    )

    return yield* session.pipe(
      Effect.catch((error) =>
        Effect.gen(function* () {
          // One that opens and does nothing else is as good as one that does not open.
          const isSound = opened.hasGiven || (yield* Clock.currentTimeMillis) - opened.at >= reconnecting.most
          if (isSound) failures = 0
          const detail = `queue ${queue}: ${error.description}`
          if (failures === 0) yield* Effect.logWarning(`${detail}; it is tried again`)
          troubles.set(mine, detail)
          yield* tell({ _tag: "Disconnected", queue, error: oneLine(error.description) })
          yield* Effect.sleep(yield* backoff.millisAfter(failures, reconnecting))
          failures += 1
        })
      ),
      Effect.forever,
      Effect.ensuring(Effect.sync(() => troubles.delete(mine)))
    )
  })

  // ---------------------------------------------------------------------------
  // Applying
  // ---------------------------------------------------------------------------

  const applying = Effect.fnUntraced(function* <const Rs extends ReadonlyArray<Resource.Any>>(
    resources: Rs,
    { field = "sourceVersion", keepDeletions = "7 days" }: ApplyOptions = {}
  ): Effect.fn.Return<Handler<ChangeMessage>, InvalidConsumer, Resource.SelfOf<Rs[number]>> {
    const targets = new Map<string, Apply.Target>()
    for (const resource of resources) {
      const { name, primaryKey, schema } = resource.definition
      if (!fieldTypes(AST.toType(schema.ast)).has(field) || field === primaryKey) {
        const problem = `Expected a resource with the field ${JSON.stringify(field)}, of numbers and optional`
        return yield* new InvalidConsumer({ queue: name, field: "resources", problem })
      }
      const repository: Apply.AnyRepository = yield* Resource.keyOf<Rs[number], Apply.AnyRepository>(resource)
      const deletions: PluginStore.PluginStore<number> = self.store(Schema.Finite, { resource: name })
      targets.set(name, { repository, primaryKey, field, deletions, keepDeletions })
    }
    return Effect.fnUntraced(function* ({ document, id, operation, resource, version }) {
      const target = targets.get(resource)
      if (target === undefined) {
        return yield* new Reject({ description: `resource ${JSON.stringify(resource)} is none that is applied here` })
      }
      const applied =
        operation === "delete" || document === undefined
          ? Apply.remove(target, id, version)
          : Apply.put(target, id, version, document)
      return yield* Effect.catchIf(
        applied,
        ({ _tag }) => refusals.has(_tag),
        (error) => Effect.fail(new Reject({ description: `${resource} ${JSON.stringify(id)}: ${error.message}` }))
      )
    })
  })

  // ---------------------------------------------------------------------------
  // Dead letters
  // ---------------------------------------------------------------------------

  const chosen = (queue: string, ids: ReadonlyArray<string> | undefined) => {
    const wanted = ids === undefined ? undefined : new Set(ids)
    return letters.entries([queue]).pipe(Stream.filter(({ value }) => wanted === undefined || wanted.has(value.id)))
  }

  const discard = Effect.fn("QueueConsumer.discard")(function* ({ ids, queue }: DeadLetterFilter) {
    let count = 0
    yield* chosen(queue, ids).pipe(
      Stream.runForEach(({ key }) => Effect.tap(letters.remove(key), () => Effect.sync(() => count++))),
      Effect.mapError(toDbError("QueueConsumer.discard"))
    )
    return count
  })

  return {
    consume,
    applying,
    deadLetters: (queue) =>
      letters.entries([queue]).pipe(
        Stream.map(({ value }) => value),
        Stream.mapError(toDbError("QueueConsumer.deadLetters"))
      ),
    redrive: Effect.fn("QueueConsumer.redrive")(function* (publisher, { ids } = {}) {
      let count = 0
      yield* chosen(publisher.name, ids).pipe(
        Stream.filter(({ value }) => !value.isBase64),
        Stream.mapError(toDbError("QueueConsumer.redrive")),
        Stream.runForEach(({ key, value }) =>
          Effect.gen(function* () {
            // Its own id may be remembered: as one that was done.
            const message = { body: value.body, ...(Option.isSome(value.key) ? { key: value.key.value } : {}) }
            yield* publisher.publish([message])
            yield* Effect.mapError(letters.remove(key), toDbError("QueueConsumer.redrive"))
            count += 1
          })
        )
      )
      return count
    }),
    discard,
    events: self.events
  } satisfies Consumer
})

/** What a resource says of a document for good. */
const refusals: ReadonlySet<string> = new Set([
  "InvalidInput",
  "MetadataLimit",
  "NotAllowed",
  "UniqueViolation",
  "Rejected",
  "InvalidKey"
])

/**
 * What consumes the queues of a program.
 *
 * @category services
 * @since 0.1.0
 */
export class QueueConsumer extends Context.Service<QueueConsumer, Consumer>()("effect-s3db/plugins/QueueConsumer") {}

/**
 * Opens what consumes queues, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Plugin.Options): Layer.Layer<QueueConsumer, LayerError, Database> =>
  Layer.effect(QueueConsumer, make(options))

/**
 * Opens what consumes queues.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<QueueConsumer, LayerError, Database> = layerWith({})
