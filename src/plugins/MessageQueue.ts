/**
 * Queues of messages, whatever system keeps them: what gives messages to a consumer, and what takes messages in.
 *
 * ```ts
 * import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
 * import { Console, Effect, Stream } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const jobs = yield* MessageQueue.memory({ name: "jobs" })
 *   yield* jobs.publisher.publish([{ id: "1", body: '{"to":"ada@example.com"}' }])
 *   yield* MessageQueue.deliveries(jobs.source).pipe(
 *     Stream.take(1),
 *     Stream.runForEach((delivery) =>
 *       Effect.andThen(Console.log(MessageQueue.textOf(delivery)), delivery.ack)
 *     )
 *   )
 * })
 * ```
 *
 * **Details**
 *
 * A queue is two ports, `Source` and `Publisher`. Here are those of a queue in memory and of our own `S3Queue`; `RedisQueue`, `RabbitQueue`,
 * `NatsQueue` and `SqsQueue` have those of other systems. `QueueConsumer` is what works on a source.
 *
 * Each of them delivers at least once: what is not acknowledged comes again.
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import type { Database } from "../Database.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { utf8Length } from "../internal/text.ts"
import * as JsonCodec from "../schema/internal/jsonCodec.ts"
import * as S3Queue from "./S3Queue.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A queue that does not answer, or has refused what was asked of it: the server is down, the connection was lost, or the queue is not there.
 * What was published may be in the queue, or some of it.
 *
 * @remedy A consumer tries again by itself. Publish once more, with the same ids: see that the server runs, and that `queue` is there.
 * @category errors
 * @since 0.1.0
 */
export class QueueUnavailable extends ExpectedError<QueueUnavailable>(
  "effect-s3db/plugins/MessageQueue/QueueUnavailable"
)(
  "QueueUnavailable",
  { queue: Schema.String, operation: Schema.String, description: Schema.String },
  { httpApiStatus: 503 }
) {
  override get message(): string {
    return `${this.operation} of queue ${JSON.stringify(this.queue)}: ${this.description}`
  }
}

/**
 * A message that the queue cannot have. None of those that were published with it is in the queue.
 *
 * @remedy Correct the message that `index` numbers, and publish all of them again.
 * @category errors
 * @since 0.1.0
 */
export class MessageRefused extends ExpectedError<MessageRefused>("effect-s3db/plugins/MessageQueue/MessageRefused")(
  "MessageRefused",
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
 * A message that is not this consumer's any more: it was silent for too long, or has settled it before. It is delivered again, or was.
 *
 * @remedy Nothing has to be done. Where it happens often, raise `visibility`, and let handlers do the same thing twice without harm.
 * @category errors
 * @since 0.1.0
 */
export class DeliveryLost extends ExpectedError<DeliveryLost>("effect-s3db/plugins/MessageQueue/DeliveryLost")(
  "DeliveryLost",
  { queue: Schema.String, id: Schema.String }
) {
  override get message(): string {
    return `message ${JSON.stringify(this.id)} of queue ${JSON.stringify(this.queue)} is not held any more`
  }
}

/**
 * A message that is none of the schema's: no UTF-8, no JSON, or another shape.
 *
 * @remedy Look at who publishes to the queue; mend the message, or the schema, and redrive the dead letter.
 * @category errors
 * @since 0.1.0
 */
export class Undecodable extends ExpectedError<Undecodable>("effect-s3db/plugins/MessageQueue/Undecodable")(
  "Undecodable",
  { queue: Schema.String, id: Schema.String, problem: Schema.String }
) {
  override get message(): string {
    return `message ${JSON.stringify(this.id)} of queue ${JSON.stringify(this.queue)} cannot be read: ${this.problem}`
  }
}

/**
 * A queue that cannot be opened as its options say. Nothing was asked of the server.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidQueue extends ExpectedError<InvalidQueue>("effect-s3db/plugins/MessageQueue/InvalidQueue")(
  "InvalidQueue",
  { queue: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `queue ${JSON.stringify(this.queue)}, ${this.field}: ${this.problem}`
  }
}

// -----------------------------------------------------------------------------
// Ports
// -----------------------------------------------------------------------------

/**
 * A message to be published.
 *
 * @category models
 * @since 0.1.0
 */
export interface Message {
  /** UTF-8 text; by custom JSON. */
  readonly body: string
  /**
   * By it a message that is published twice is one, where the queue has such: S3Queue, Redis, NATS and FIFO queues of SQS, each for as
   * long as it remembers. The others carry it, for the consumer to see. 1 to 512 bytes. Default: a random one.
   */
  readonly id?: string | undefined
  /**
   * What it is about, such as the id of a document: messages of a key are handled in their order, where the queue has such: S3Queue and FIFO
   * queues of SQS. The others carry it. 1 to 512 bytes. Default: none.
   */
  readonly key?: string | undefined
}

/**
 * What takes messages in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Publisher {
  /** The name of the queue. */
  readonly name: string
  /**
   * Publishes messages, in their order. When it succeeds, all are in the queue, as durably as that keeps anything. When it fails with
   * `QueueUnavailable`, some may be: publish all again, with the same ids. `MessageRefused`: none is.
   */
  readonly publish: (messages: ReadonlyArray<Message>) => Effect.Effect<void, QueueUnavailable | MessageRefused>
}

/**
 * A message that is this consumer's until it says what became of it, or is silent for too long. It goes back when the scope of the source
 * closes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivery<out A> {
  /** The name of the queue. */
  readonly queue: string
  /** That of the publisher, where the queue carries it, or else one of the queue's own. */
  readonly id: string
  readonly key: Option.Option<string>
  /** How often it has been delivered, this time included, as far as the queue counts that. */
  readonly attempt: number
  readonly body: A
  /** It is done. */
  readonly ack: Effect.Effect<void, DeliveryLost | QueueUnavailable>
  /** It goes back, to be delivered again, after a while; by default at once. The longest that the queue can wait is taken for more. */
  readonly nack: (options?: {
    readonly delay?: Duration.Input | undefined
  }) => Effect.Effect<void, DeliveryLost | QueueUnavailable>
  /** It is worked on: the queue gives it to no other for another `visibility`. Nothing, where the queue needs no such word. */
  readonly extend: Effect.Effect<void, DeliveryLost | QueueUnavailable>
}

/**
 * A source that is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  /** Waits for messages, and gives at least one, and at most so many. */
  readonly take: (most: number) => Effect.Effect<ReadonlyArray<Delivery<Uint8Array>>, QueueUnavailable>
}

/**
 * What gives messages to a consumer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  /** The name of the queue. */
  readonly name: string
  /** How often a delivery has to be extended, in milliseconds; `undefined` where that is not needed. */
  readonly extendEvery: number | undefined
  /**
   * Opens the source until the scope closes: what was delivered and not settled then goes back. `prefetch`: the most that the consumer holds
   * at once. After `QueueUnavailable` of a session open another one.
   */
  readonly open: (options: { readonly prefetch: number }) => Effect.Effect<Session, QueueUnavailable, Scope.Scope>
}

/**
 * Both ends of a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface MessageQueue {
  readonly name: string
  readonly source: Source
  readonly publisher: Publisher
}

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/**
 * Gives the messages of a source, as they come, for as long as the stream is drawn; what is not settled then goes back. `prefetch`: the most
 * that is held at once. Default: 10. It fails with what the source fails with: see `QueueConsumer` for what connects again.
 *
 * @category getters
 * @since 0.1.0
 */
export const deliveries = (
  source: Source,
  { prefetch = 10 }: { readonly prefetch?: number | undefined } = {}
): Stream.Stream<Delivery<Uint8Array>, QueueUnavailable> =>
  Stream.unwrap(
    Effect.map(source.open({ prefetch }), (session) => Stream.fromIterableEffectRepeat(session.take(prefetch)))
  )

/**
 * Returns the text of a delivery, with a mark in the place of what is no UTF-8.
 *
 * @category getters
 * @since 0.1.0
 */
export const textOf = (delivery: Delivery<Uint8Array>): string => new TextDecoder().decode(delivery.body)

const textOfDefect = (defect: unknown): string => (defect instanceof Error ? defect.message : "what is no error")

/**
 * Makes what decodes deliveries by a schema, from JSON. `Undecodable`: the message is none of the schema's; nothing has become of it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const decoding = <A, I>(
  schema: Schema.Codec<A, I>
): ((delivery: Delivery<Uint8Array>) => Effect.Effect<Delivery<A>, Undecodable>) => {
  const { decodeText: decode } = JsonCodec.make(schema)
  const utf8 = new TextDecoder("utf-8", { fatal: true })
  return Effect.fnUntraced(function* (delivery) {
    const refuse = (problem: string) => new Undecodable({ queue: delivery.queue, id: delivery.id, problem })
    const text = yield* Effect.try({ try: () => utf8.decode(delivery.body), catch: () => refuse("it is no UTF-8") })
    const body = yield* decode(text).pipe(
      Effect.mapError(({ message }) => refuse(message)),
      // A transformation that throws, or a text so deep that the stack does not hold it.
      Effect.catchDefect((defect) => Effect.fail(refuse(`its schema throws: ${textOfDefect(defect)}`)))
    )
    return { ...delivery, body }
  })
}

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

/** The most bytes of ids and keys. */
const mostBytes = 512

const isName = (text: string): boolean => text !== "" && text.isWellFormed() && utf8Length(text) <= mostBytes

/**
 * Checks messages before any of them is published: ids and keys, and that the bodies are text of at most so many bytes.
 *
 * @category guards
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function* (
  queue: string,
  messages: ReadonlyArray<Message>,
  mostBodyBytes: number
): Effect.fn.Return<void, MessageRefused> {
  for (const [index, { body, id, key }] of messages.entries()) {
    const refuse = (field: string, problem: string) => new MessageRefused({ queue, index, field, problem })
    if (id !== undefined && !isName(id)) return yield* refuse("id", "Expected 1 to 512 bytes of text")
    if (key !== undefined && !isName(key)) return yield* refuse("key", "Expected 1 to 512 bytes of text")
    if (!body.isWellFormed()) return yield* refuse("body", "Expected text that is valid Unicode")
    if (utf8Length(body) > mostBodyBytes) return yield* refuse("body", `Expected at most ${mostBodyBytes} bytes`)
  }
})

// -----------------------------------------------------------------------------
// Sessions
// -----------------------------------------------------------------------------

/**
 * A delivery as a system gives it: what `session` makes a `Delivery` of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  readonly id: string
  readonly key: Option.Option<string>
  readonly attempt: number
  readonly body: Uint8Array
  readonly ack: Effect.Effect<void, DeliveryLost | QueueUnavailable>
  /** The delay is in milliseconds. */
  readonly nack: (delay: number) => Effect.Effect<void, DeliveryLost | QueueUnavailable>
  readonly extend: Effect.Effect<void, DeliveryLost | QueueUnavailable>
}

/**
 * How a system gives messages.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receiving {
  readonly queue: string
  /** Waits for messages. What it had begun to take when it was interrupted goes back by itself. None: nothing has come for a while. */
  readonly receive: (most: number) => Effect.Effect<ReadonlyArray<Received>, QueueUnavailable>
  /**
   * Whether `receive` comes to an end by itself after a while, and is never cut off: what it gives when nobody waits any more is given next, or goes back
   * when the session ends, which waits for it. For what a server gives away with its answer. Default: `false`.
   */
  readonly endsByItself?: boolean | undefined
}

const isLost = (error: unknown): boolean => error instanceof DeliveryLost

/** The longest delay, 10 years in milliseconds: no server can be told "for ever". */
const longest = 315_360_000_000

/** How many are given back at once. */
const concurrency = 64

/**
 * Opens a session until the scope closes, for a `Source` of your own: what was delivered and not settled goes back then, and nothing is settled twice.
 *
 * @category constructors
 * @since 0.1.0
 */
export const session = Effect.fnUntraced(function* ({
  endsByItself = false,
  queue,
  receive
}: Receiving): Effect.fn.Return<Session, never, Scope.Scope> {
  const held = new Set<Received>()
  /** What has come for somebody who did not wait for it. */
  const left: Array<Received> = []
  let receiving: Deferred.Deferred<void, QueueUnavailable> | undefined
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      if (receiving !== undefined) yield* Effect.ignore(Deferred.await(receiving))
      const all = [...held, ...left]
      yield* Effect.forEach(all, (raw) => Effect.ignore(raw.nack(0)), { concurrency, discard: true })
    })
  )

  /** Receives in a fiber of its own. */
  const receiveToItsEnd = Effect.fnUntraced(function* (most: number) {
    if (left.length === 0) {
      if (receiving === undefined) {
        const mine = Deferred.makeUnsafe<void, QueueUnavailable>()
        receiving = mine
        yield* Effect.forkDetach(
          Effect.interruptible(receive(most)).pipe(
            Effect.exit,
            Effect.flatMap((exit) =>
              Effect.sync(() => {
                receiving = undefined
                if (Exit.isSuccess(exit)) left.push(...exit.value)
                Deferred.doneUnsafe(mine, Exit.asVoid(exit))
              })
            )
          )
        )
      }
      if (receiving !== undefined) yield* Deferred.await(receiving)
    }
    return left.splice(0, most)
  })
  const receiveSome = endsByItself ? receiveToItsEnd : receive

  const toDelivery = (raw: Received): Delivery<Uint8Array> => {
    // Who fails or is interrupted has not settled it; what is somebody else's is not to be kept, nor given back.
    const settle = <E>(settling: Effect.Effect<void, E>): Effect.Effect<void, E | DeliveryLost> =>
      Effect.suspend((): Effect.Effect<void, E | DeliveryLost> => {
        if (!held.delete(raw)) return Effect.fail(new DeliveryLost({ queue, id: raw.id }))
        return Effect.onError(settling, (cause) =>
          Effect.sync(() => {
            if (!Option.exists(Cause.findErrorOption(cause), isLost)) held.add(raw)
          })
        )
      })
    return {
      queue,
      id: raw.id,
      key: raw.key,
      attempt: raw.attempt,
      body: raw.body,
      ack: settle(raw.ack),
      nack: ({ delay = 0 }: { readonly delay?: Duration.Input | undefined } = {}) =>
        settle(
          Effect.suspend(() => {
            const millis = millisecondsOf(delay)
            return raw.nack(millis >= 0 ? Math.min(longest, millis) : 0)
          })
        ),
      extend: Effect.suspend(() => (held.has(raw) ? raw.extend : Effect.fail(new DeliveryLost({ queue, id: raw.id }))))
    }
  }

  return {
    take: (most) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          for (;;) {
            const raws = yield* restore(receiveSome(most))
            if (raws.length === 0) continue
            for (const raw of raws) held.add(raw)
            return raws.map(toDelivery)
          }
        })
      )
  }
})

// -----------------------------------------------------------------------------
// In memory
// -----------------------------------------------------------------------------

/**
 * The options of a queue in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryOptions {
  readonly name: string
  /** How long a consumer may be silent before its messages are delivered again. Default: 30 seconds. */
  readonly visibility?: Duration.Input | undefined
}

/**
 * A queue in memory.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryQueue extends MessageQueue {
  /** How many messages are in it: those that wait, and those that are held. */
  readonly sizes: Effect.Effect<{ readonly waiting: number; readonly held: number }>
}

/** What wakes those who wait for messages. */
interface Arrivals {
  readonly tell: () => void
  /** What was told so far: to be asked for before looking. */
  readonly seen: () => number
  /** Waits until more than that was told. */
  readonly after: (seen: number) => Effect.Effect<void>
}

const makeArrivals = (): Arrivals => {
  let told = 0
  let next = Deferred.makeUnsafe<void>()
  return {
    tell: () => {
      told += 1
      const waiters = next
      next = Deferred.makeUnsafe<void>()
      Deferred.doneUnsafe(waiters, Effect.void)
    },
    seen: () => told,
    after: (seen) => Effect.suspend(() => (told === seen ? Deferred.await(next) : Effect.void))
  }
}

interface Kept {
  readonly id: string
  readonly key: string | undefined
  readonly body: Uint8Array
  attempt: number
  /** When it may be delivered, also again, in milliseconds. */
  due: number
  /** Who holds it. */
  holder: number
}

/**
 * Makes a queue in memory, for tests and within a program: it ends with the process. It has no order of keys; an id is remembered as
 * long as the queue is there. Time is that of `Clock`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memory = (options: MemoryOptions): Effect.Effect<MemoryQueue> =>
  Effect.sync(() => {
    const { name } = options
    const visibility = millisecondsOf(options.visibility ?? "30 seconds")
    const kept = new Map<string, Kept>()
    const remembered = new Set<string>()
    const arrivals = makeArrivals()
    let claims = 0

    const take = (most: number) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const taken: Array<Kept> = []
        for (const one of kept.values()) {
          if (taken.length >= most) break
          if (one.due > now) continue
          one.attempt += 1
          one.due = now + visibility
          one.holder = ++claims
          taken.push(one)
        }
        return taken
      })

    const nextDue = Effect.map(Clock.currentTimeMillis, (now) => {
      let least = Infinity
      for (const { due } of kept.values()) least = Math.min(least, due)
      return Math.max(1, least - now)
    })

    const rawOf = (one: Kept): Received => {
      const { holder } = one
      const held = <A>(use: () => A) =>
        Effect.suspend(() =>
          kept.get(one.id) === one && one.holder === holder
            ? Effect.sync(use)
            : Effect.fail(new DeliveryLost({ queue: name, id: one.id }))
        )
      return {
        id: one.id,
        key: Option.fromUndefinedOr(one.key),
        attempt: one.attempt,
        body: one.body,
        ack: Effect.asVoid(held(() => kept.delete(one.id))),
        nack: (delay) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            held(() => {
              // It goes behind those that wait.
              kept.delete(one.id)
              kept.set(one.id, one)
              one.due = now + delay
              one.holder = 0
              arrivals.tell()
            })
          ),
        extend: Effect.flatMap(Clock.currentTimeMillis, (now) => held(() => void (one.due = now + visibility)))
      }
    }

    const receive = (most: number): Effect.Effect<ReadonlyArray<Received>> =>
      Effect.gen(function* () {
        for (;;) {
          const seen = arrivals.seen()
          const taken = yield* take(most)
          if (taken.length > 0) return taken.map(rawOf)
          const wait = yield* nextDue
          yield* Effect.raceFirst(arrivals.after(seen), Number.isFinite(wait) ? Effect.sleep(wait) : Effect.never)
        }
      })

    const publisher: Publisher = {
      name,
      publish: Effect.fn("MessageQueue.publish")(function* (messages) {
        yield* check(name, messages, Infinity)
        for (const { body, id = yield* Id.random, key } of messages) {
          if (remembered.has(id)) continue
          remembered.add(id)
          kept.set(id, { id, key, body: new TextEncoder().encode(body), attempt: 0, due: 0, holder: 0 })
        }
        arrivals.tell()
      })
    }
    return {
      name,
      publisher,
      source: {
        name,
        extendEvery: visibility / 3,
        open: () => session({ queue: name, receive })
      },
      sizes: Effect.map(Clock.currentTimeMillis, (now) => {
        let held = 0
        for (const { due, holder } of kept.values()) if (holder !== 0 && due > now) held += 1
        return { waiting: kept.size - held, held }
      })
    }
  })

// -----------------------------------------------------------------------------
// In the store
// -----------------------------------------------------------------------------

/**
 * The options of a queue in the database's store: those of `S3Queue`, but for what the consumer decides.
 *
 * @category models
 * @since 0.1.0
 */
export interface S3Options extends Pick<
  S3Queue.Options<Schema.Json>,
  "namespace" | "visibility" | "pollInterval" | "maxPollInterval" | "rememberIds"
> {
  readonly name: string
}

/**
 * Opens a queue in the database's store until the scope closes: an `S3Queue` of the same name, whose payloads are the bodies; what another program
 * offers to it that is no text is delivered as JSON. `key` is its `group`. Its messages are tried for ever, as far as it knows: the
 * consumer has the say, and the dead letters. Requests: those of `S3Queue`; messages up to 4 MiB.
 *
 * @category constructors
 * @since 0.1.0
 */
export const s3 = Effect.fn("MessageQueue.s3")(function* (
  options: S3Options
): Effect.fn.Return<
  MessageQueue & { readonly queue: S3Queue.Queue<Schema.Json> },
  S3Queue.LayerError,
  Database | Scope.Scope
> {
  const queue = yield* S3Queue.make({ ...options, payload: Schema.Json, failureStrategy: "retry" })
  const { name } = queue
  const unavailable = (operation: string) => (error: { readonly message: string }) =>
    new QueueUnavailable({ queue: name, operation, description: error.message })

  const rawOf = (claimed: S3Queue.Claimed<Schema.Json>, done: Effect.Effect<void>): Received => {
    const named =
      (operation: string) =>
      <A, E extends { readonly _tag: string; readonly message: string }>(effect: Effect.Effect<A, E>) =>
        Effect.mapError(effect, (error) =>
          error._tag === "MessageLost"
            ? new DeliveryLost({ queue: name, id: claimed.id })
            : unavailable(operation)(error)
        )
    const { attempt, group, id, payload } = claimed
    let isOver = false
    const over = Effect.suspend(() => {
      if (isOver) return Effect.void
      isOver = true
      return done
    })
    /** What failed for the store's sake is held yet. */
    const ending = <E extends { readonly _tag: string }>(settling: Effect.Effect<void, E>) =>
      settling.pipe(
        Effect.tap(() => over),
        Effect.tapError((error) => (error._tag === "DeliveryLost" ? over : Effect.void))
      )
    return {
      id,
      key: group,
      attempt,
      body: new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)),
      ack: ending(named("ack")(claimed.ack)),
      nack: (delay) => ending(named("nack")(claimed.retry({ after: delay }))),
      extend: named("extend")(claimed.renew)
    }
  }

  const publisher: Publisher = {
    name,
    publish: Effect.fn("MessageQueue.publish")(function* (messages) {
      yield* check(name, messages, 4 * 1024 * 1024 - 2)
      yield* queue
        .offerAll(
          messages.map(({ body, id, key }) => ({
            payload: body,
            ...(id === undefined ? {} : { id }),
            ...(key === undefined ? {} : { group: key })
          }))
        )
        .pipe(
          Effect.mapError((error) =>
            error._tag === "InvalidMessage"
              ? new MessageRefused({ queue: name, index: error.index, field: error.field, problem: error.problem })
              : unavailable("publish")(error)
          )
        )
    })
  }

  const source: Source = {
    name,
    // The process says by itself that it goes on.
    extendEvery: undefined,
    open: Effect.fnUntraced(function* () {
      const outer = yield* Effect.scope
      const receive = (most: number) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            // What a claim leaves in its scope goes with the last of its messages.
            const inner = yield* Scope.fork(outer)
            const exit = yield* Effect.exit(Scope.provide(restore(queue.claim(Math.min(most, 10_000))), inner))
            if (Exit.isFailure(exit)) {
              yield* Scope.close(inner, exit)
              return yield* Effect.mapError(Effect.failCause(exit.cause), unavailable("take"))
            }
            let left = exit.value.length
            const done = Effect.suspend(() => (--left === 0 ? Scope.close(inner, Exit.void) : Effect.void))
            return exit.value.map((claimed) => rawOf(claimed, done))
          })
        )
      return yield* session({ queue: name, receive })
    })
  }
  return { name, queue, source, publisher }
})
