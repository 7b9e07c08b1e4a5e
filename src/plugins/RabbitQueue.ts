/**
 * Queues in RabbitMQ, by AMQP 0-9-1.
 *
 * ```ts
 * import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
 * import * as RabbitQueue from "effect-s3db/plugins/RabbitQueue"
 * import { Console, Effect, Redacted, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const consumer = yield* QueueConsumer.QueueConsumer
 *   const jobs = yield* RabbitQueue.make({ name: "jobs", url: Redacted.make("amqp://localhost") })
 *   yield* jobs.publisher.publish([{ id: "1", body: '{"n":1}' }])
 *   yield* consumer.consume({
 *     source: jobs.source,
 *     payload: Schema.Struct({ n: Schema.Int }),
 *     handler: ({ n }) => Console.log(n)
 *   })
 * })
 * ```
 *
 * **Details**
 *
 * The queue is declared as a durable quorum queue, unless `declare: false`. Publishing waits for the server's confirmation, and fails where the queue was removed. The window of the channel (`prefetch`) is the concurrency.
 *
 * AMQP has no delay: a message that is given back for a while is published, and confirmed, to `NAME.after-MILLISECONDS`, from where the server puts it back when its time has come, and then acknowledged.
 * Delays are rounded up to 100 ms, 200 ms, 400 ms, ...; a queue for each of these is there as long as it is used.
 *
 * It needs `amqplib`, and RabbitMQ 3.10 or later.
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import type * as Amqp from "amqplib"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Id from "../crypto/Id.ts"
import * as backoff from "../internal/backoff.ts"
import { millisecondsOf } from "../internal/duration.ts"
import * as Plugin from "../Plugin.ts"
import * as Link from "./messagequeue/link.ts"
import * as MessageQueue from "./MessageQueue.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of a queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** 1 to 200 bytes. */
  readonly name: string
  /** `amqp://user:password@host:port/vhost`, or `amqps://`. */
  readonly url: Redacted.Redacted<string>
  /**
   * Whether the queue is made where it is not there: a durable quorum queue. `false`: it has to be there, of any kind, with a `x-delivery-limit` that is
   * greater than `maxDeliveries` of the consumer, where it has one. Default: `true`.
   */
  readonly declare?: boolean | undefined
  /** How long the server may take to answer. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const load = Plugin.dependency(
  { name: "rabbit-queue" },
  { package: "amqplib", range: "^2.3.1", load: () => import("amqplib") }
)

/** The most bytes of a body: what RabbitMQ takes by default. */
const mostBodyBytes = 128 * 1024 * 1024

const attemptsHeader = "x-s3db-attempts"
const keyHeader = "x-s3db-key"

/** The longest delay: a day. */
const longest = 86_400_000

/** What a delay is rounded up to. */
const bucketOf = (delay: number): number => {
  let bucket = 100
  while (bucket < delay && bucket < longest) bucket *= 2
  return Math.min(bucket, longest)
}

/** AMQP's `PRECONDITION_FAILED`. */
const otherArguments = 406

const describe = (error: unknown): string => {
  if (!(error instanceof Error) || error.message === "") return "RabbitMQ cannot be reached"
  // The client says no more of it than that another answer came.
  if (error.message.includes("ConnectionOpenOk")) {
    return "the virtual host of the URL is not there, or closed to this user"
  }
  return error.message
}

/** A queue that is there in another form stays as it is. */
const describeDeclared = (error: unknown): string => {
  if (!(error instanceof Error && "code" in error && error.code === otherArguments)) return describe(error)
  return `the queue is there with other arguments: take it as it is by \`declare: false\`, or give it another name: ${error.message}`
}

/** What a channel says of a message that the server has refused. */
const refused = "message nacked"

/** How often a message is sent again that is refused: for some five seconds. */
const mostRefusals = 12

/** Headers may be anybody's. */
const countIn = (value: unknown): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0

// -----------------------------------------------------------------------------
// Connections
// -----------------------------------------------------------------------------

interface Connected extends Link.Link<MessageQueue.QueueUnavailable> {
  readonly channel: Amqp.ConfirmChannel
}

/**
 * Opens a queue in RabbitMQ until the scope closes. No request: it connects when it is used, once for publishing, and once for each source that is open.
 *
 * `DependencyMissing`: `amqplib` is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("RabbitQueue.make")(function* ({
  declare = true,
  name,
  timeout: timeoutInput = "10 seconds",
  url
}: Options): Effect.fn.Return<
  MessageQueue.MessageQueue,
  MessageQueue.InvalidQueue | Plugin.DependencyMissing,
  Scope.Scope
> {
  const timeout = millisecondsOf(timeoutInput)
  const invalid = (field: string, problem: string) => new MessageQueue.InvalidQueue({ queue: name, field, problem })
  if (!(name !== "" && name.isWellFormed() && new TextEncoder().encode(name).length <= 200)) {
    return yield* invalid("name", "Expected 1 to 200 bytes of text")
  }
  if (!/^amqps?:\/\//.test(Redacted.value(url))) return yield* invalid("url", "Expected amqp:// or amqps://")
  if (!(timeout >= 100 && timeout < Infinity))
    return yield* invalid("timeout", "Expected a duration from 100 milliseconds")
  const amqplib = yield* load

  const unavailable = (operation: string, description: string) =>
    new MessageQueue.QueueUnavailable({ queue: name, operation, description })
  const asked = <A>(operation: string, ask: () => Promise<A>, describing = describe) =>
    Effect.tryPromise({ try: () => ask(), catch: (error) => unavailable(operation, describing(error)) }).pipe(
      Link.within(timeout, () => unavailable(operation, `RabbitMQ has not answered for ${timeout} ms`))
    )

  const declareMain = (channel: Amqp.Channel) =>
    declare
      ? channel.assertQueue(name, {
          durable: true,
          // The consumer has the say.
          arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000 }
        })
      : channel.checkQueue(name)

  /** A connection and a channel in it, until the scope closes. */
  const connect = Effect.fnUntraced(function* (
    operation: string
  ): Effect.fn.Return<Connected, MessageQueue.QueueUnavailable, Scope.Scope> {
    const ended = yield* Deferred.make<never, MessageQueue.QueueUnavailable>()
    const end = (error: unknown) =>
      Deferred.doneUnsafe(
        ended,
        Effect.fail(unavailable(operation, error === undefined ? "the connection was closed" : describe(error)))
      )
    const connection = yield* Effect.acquireRelease(
      asked(operation, () => amqplib.connect(Redacted.value(url), { timeout })),
      // What is left of one that is broken closes by itself.
      (open) => Effect.ignore(asked("close", () => open.close()))
    )
    connection.on("error", end)
    connection.on("close", end)
    // It answers when it has heard all that was acknowledged before: closing the connection at once would overtake that.
    const channel = yield* Effect.acquireRelease(
      asked(operation, () => connection.createConfirmChannel()),
      (open) => (Deferred.isDoneUnsafe(ended) ? Effect.void : Effect.ignore(asked("close", () => open.close())))
    )
    channel.on("error", end)
    channel.on("close", () => end(undefined))
    // What comes to no queue is confirmed like all else, after it was returned.
    channel.on("return", () => Deferred.doneUnsafe(ended, Effect.fail(unavailable(operation, "the queue was removed"))))
    yield* asked(operation, () => declareMain(channel), describeDeclared)
    return { channel, ended }
  })

  /**
   * Sends a message, and waits until the server has it. One that it refuses, as a queue without a leader or without room does, is sent again,
   * behind those that came after it. A connection on which that is in vain is given up: a queue that was looking for its leader as
   * the message came may never tell its channel (RabbitMQ 3.10, after a sudden end).
   */
  const send = (
    { channel, ended }: Connected,
    operation: string,
    queue: string,
    body: Uint8Array,
    options: Amqp.Options.Publish
  ) =>
    Effect.raceFirst(
      Effect.gen(function* () {
        for (let refusals = 0; ; refusals++) {
          const isTaken = yield* asked(
            operation,
            () =>
              new Promise<boolean>((resolve, reject) => {
                const sent = { persistent: true, mandatory: true, ...options }
                channel.sendToQueue(queue, Buffer.from(body), sent, (error: unknown) => {
                  if (error === null || error === undefined) resolve(true)
                  else if (error instanceof Error && error.message === refused) resolve(false)
                  else reject(error instanceof Error ? error : new Error("RabbitMQ has not taken it"))
                })
              })
          )
          // It may have been returned.
          if (isTaken) return Deferred.isDoneUnsafe(ended) ? yield* Deferred.await(ended) : undefined
          if (refusals === mostRefusals)
            return yield* unavailable(operation, "RabbitMQ refuses the message: is the queue full?")
          yield* backoff.after(refusals, backoff.waiting)
        }
      }),
      Deferred.await(ended)
    ).pipe(Effect.tapError((error) => Deferred.fail(ended, error)))

  // ---------------------------------------------------------------------------
  // Publishing
  // ---------------------------------------------------------------------------

  const publishingLink = yield* Link.make(connect("publish"))

  const publisher: MessageQueue.Publisher = {
    name,
    publish: Effect.fn("RabbitQueue.publish")(function* (messages) {
      yield* MessageQueue.check(name, messages, mostBodyBytes)
      if (messages.length === 0) return
      const link = yield* publishingLink
      // They go out in their order, and are confirmed in any.
      yield* Effect.forEach(
        messages,
        Effect.fnUntraced(function* ({ body, id, key }) {
          yield* send(link, "publish", name, new TextEncoder().encode(body), {
            messageId: id ?? (yield* Id.random),
            headers: key === undefined ? {} : { [keyHeader]: key }
          })
        }),
        { concurrency: 1_000, discard: true }
      )
    })
  }

  // ---------------------------------------------------------------------------
  // Consuming
  // ---------------------------------------------------------------------------

  const open = Effect.fnUntraced(function* ({ prefetch }: { readonly prefetch: number }) {
    const link = yield* connect("open")
    const { channel, ended } = link
    // Tags begin anew with each channel.
    const channelId = yield* Id.random
    const waiting: Array<Amqp.ConsumeMessage> = []
    let arrival = Deferred.makeUnsafe<void>()

    yield* asked("open", () => channel.prefetch(prefetch))
    yield* asked("open", () =>
      channel.consume(name, (message) => {
        if (message === null) {
          Deferred.doneUnsafe(ended, Effect.fail(unavailable("take", "the queue was removed")))
          return
        }
        waiting.push(message)
        Deferred.doneUnsafe(arrival, Effect.void)
      })
    )

    /** What is said to the server without an answer: what does not get there is delivered again. */
    const say = (operation: string, act: () => void) =>
      Effect.suspend(() =>
        Deferred.isDoneUnsafe(ended)
          ? Deferred.await(ended)
          : Effect.try({ try: act, catch: (error) => unavailable(operation, describe(error)) })
      )

    const toReceived = (message: Amqp.ConsumeMessage): MessageQueue.Received => {
      const headers: Readonly<Record<string, unknown>> = message.properties.headers ?? {}
      const counted = headers["x-delivery-count"]
      const before = typeof counted === "number" ? counted : message.fields.redelivered ? 1 : 0
      const attempt = countIn(headers[attemptsHeader]) + before + 1
      const key = headers[keyHeader]
      const given: unknown = message.properties.messageId
      const id = typeof given === "string" && given !== "" ? given : `${channelId}-${message.fields.deliveryTag}`
      const ack = say("ack", () => channel.ack(message))
      return {
        id,
        key: typeof key === "string" ? Option.some(key) : Option.none(),
        attempt,
        body: new Uint8Array(message.content),
        ack,
        nack: (delay) =>
          delay === 0
            ? say("nack", () => channel.nack(message, false, true))
            : Effect.gen(function* () {
                const bucket = bucketOf(delay)
                const queue = `${name}.after-${bucket}`
                yield* asked("nack", () =>
                  channel.assertQueue(queue, {
                    durable: true,
                    arguments: {
                      "x-queue-type": "quorum",
                      "x-message-ttl": bucket,
                      "x-expires": 2 * bucket + 600_000,
                      "x-overflow": "reject-publish",
                      "x-dead-letter-exchange": "",
                      "x-dead-letter-routing-key": name,
                      "x-dead-letter-strategy": "at-least-once"
                    }
                  })
                )
                const { "x-death": _, "x-delivery-count": __, ...kept } = headers
                yield* send(link, "nack", queue, message.content, {
                  ...(typeof given === "string" ? { messageId: given } : {}),
                  headers: { ...kept, [attemptsHeader]: attempt }
                })
                yield* ack
              }),
        extend: Effect.void
      }
    }

    const receive = (most: number) =>
      Effect.suspend(() => {
        if (waiting.length > 0) return Effect.void
        arrival = Deferred.makeUnsafe<void>()
        return Effect.raceFirst(Deferred.await(arrival), Deferred.await(ended))
      }).pipe(Effect.map(() => waiting.splice(0, most).map(toReceived)))

    return yield* MessageQueue.session({ queue: name, receive })
  })

  return { name, publisher, source: { name, extendEvery: undefined, open } }
})
