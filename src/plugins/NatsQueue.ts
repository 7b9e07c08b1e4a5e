/**
 * Queues in NATS, by JetStream.
 *
 * ```ts
 * import * as NatsQueue from "effect-s3db/plugins/NatsQueue"
 * import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
 * import { Console, Effect, Redacted, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const consumer = yield* QueueConsumer.QueueConsumer
 *   const jobs = yield* NatsQueue.make({ name: "jobs", url: Redacted.make("nats://localhost") })
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
 * A queue is a stream of the kind `workqueue`, with files, and a durable consumer that pulls. What is acknowledged is removed; the acknowledgement is confirmed by the server. An id is that of
 * JetStream (`Nats-Msg-Id`), and remembered for the stream's `duplicate_window`.
 *
 * It needs `@nats-io/transport-node` and `@nats-io/jetstream`, and a NATS of 2.9 or later with JetStream (`-js`).
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import type * as JetStream from "@nats-io/jetstream"
import type * as Nats from "@nats-io/transport-node"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
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
  /** The name of the stream, 1 to 200 letters, digits, `-` and `_`; made where it is not there. */
  readonly name: string
  /** `nats://host:port`, `nats://user:password@host:port`, `nats://token@host:port`, or `tls://`; several with commas between them. */
  readonly url: Redacted.Redacted<string>
  /** The subject of its messages. Default: the name. */
  readonly subject?: string | undefined
  /** The durable consumer that processes share. Default: `effect-s3db`. */
  readonly consumer?: string | undefined
  /** How long a consumer may be silent before its messages are delivered again, where the durable consumer is made. 1 second to 7 days; default: 30 seconds. */
  readonly visibility?: Duration.Input | undefined
  /** How long an id is remembered, where the stream is made. 100 milliseconds to 7 days; default: 2 minutes. */
  readonly rememberIds?: Duration.Input | undefined
  /** How long the server may take to answer. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const loadTransport = Plugin.dependency(
  { name: "nats-queue" },
  { package: "@nats-io/transport-node", range: "^3.4.0", load: () => import("@nats-io/transport-node") }
)
const loadJetStream = Plugin.dependency(
  { name: "nats-queue" },
  { package: "@nats-io/jetstream", range: "^3.4.0", load: () => import("@nats-io/jetstream") }
)

const week = 604_800_000

/** Ids and keys are any text, headers are not. */
const keyHeader = "S3db-Key"
const idHeader = "S3db-Id"

/** How long a request for messages stands. */
const pullMillis = 1_000

/** Codes of errors: no such consumer, no such stream. */
const notFound: ReadonlySet<number> = new Set([10_014, 10_059])

/** What headers may take of a message. */
const headerBytes = 4_096

const describe = (error: unknown): string =>
  error instanceof Error && error.message !== "" ? error.message : "NATS cannot be reached"

const nanos = (millis: number): number => Math.ceil(millis) * 1_000_000

/** Credentials out of the address, which the client takes aside. */
const addressOf = (url: string): Pick<Nats.NodeConnectionOptions, "servers" | "user" | "pass" | "token"> => {
  const servers: Array<string> = []
  let secrets: Pick<Nats.NodeConnectionOptions, "user" | "pass" | "token"> = {}
  for (const one of url.split(",")) {
    const { host, password, protocol, username } = new URL(one)
    servers.push(`${protocol}//${host}`)
    if (username !== "") {
      const user = decodeURIComponent(username)
      secrets = password === "" ? { token: user } : { user, pass: decodeURIComponent(password) }
    }
  }
  return { servers, ...secrets }
}

interface Connected extends Link.Link<MessageQueue.QueueUnavailable> {
  readonly connection: Nats.NatsConnection
  readonly client: JetStream.JetStreamClient
}

/**
 * Opens a queue in NATS until the scope closes. No request: it connects when it is used, once for publishing, and once for each source that is open. A stream and a consumer that are there already stay as they are.
 *
 * `InvalidQueue`: an option is wrong. `DependencyMissing`: a package is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("NatsQueue.make")(function* (
  options: Options
): Effect.fn.Return<MessageQueue.MessageQueue, MessageQueue.InvalidQueue | Plugin.DependencyMissing, Scope.Scope> {
  const { consumer: durable = "effect-s3db", name, url } = options
  const { subject = name } = options
  const visibility = millisecondsOf(options.visibility ?? "30 seconds")
  const memory = millisecondsOf(options.rememberIds ?? "2 minutes")
  const timeout = millisecondsOf(options.timeout ?? "10 seconds")
  const invalid = (field: string, problem: string) => new MessageQueue.InvalidQueue({ queue: name, field, problem })
  for (const [field, text] of Object.entries({ name, consumer: durable })) {
    if (!/^[\w-]{1,200}$/.test(text)) return yield* invalid(field, "Expected 1 to 200 letters, digits, - and _")
  }
  if (!/^[^\s.*>]+(?:\.[^\s.*>]+)*$/.test(subject))
    return yield* invalid("subject", "Expected a subject without wildcards")
  if (!(visibility >= 1_000 && visibility <= week)) {
    return yield* invalid("visibility", "Expected a duration from 1 second to 7 days")
  }
  if (!(memory >= 100 && memory <= week)) {
    return yield* invalid("rememberIds", "Expected a duration from 100 milliseconds to 7 days")
  }
  if (!(timeout >= 100 && timeout <= week)) {
    return yield* invalid("timeout", "Expected a duration from 100 milliseconds to 7 days")
  }
  const address = yield* Effect.try({
    try: () => addressOf(Redacted.value(url)),
    catch: () => invalid("url", "Expected nats://host:port")
  })
  const transport = yield* loadTransport
  const jetStream = yield* loadJetStream

  const isNotThere = (error: unknown) => error instanceof jetStream.JetStreamApiError && notFound.has(error.code)
  const unavailable = (operation: string, description: string) =>
    new MessageQueue.QueueUnavailable({ queue: name, operation, description })
  const asked = <A>(operation: string, ask: () => Promise<A>) =>
    Effect.tryPromise({ try: () => ask(), catch: (error) => unavailable(operation, describe(error)) }).pipe(
      Link.within(timeout, () => unavailable(operation, `NATS has not answered for ${timeout} ms`))
    )
  const said = (operation: string, act: () => void) =>
    Effect.try({ try: act, catch: (error) => unavailable(operation, describe(error)) })

  /** A connection that ends for good when it is broken: whoever uses it makes another. */
  const connect = Effect.fnUntraced(function* (
    operation: string
  ): Effect.fn.Return<Connected, MessageQueue.QueueUnavailable, Scope.Scope> {
    const connection = yield* Effect.acquireRelease(
      asked(operation, () => transport.connect({ ...address, reconnect: false, timeout, name: "effect-s3db" })),
      (open) => Effect.ignore(asked("close", () => open.close()))
    )
    const ended = yield* Deferred.make<never, MessageQueue.QueueUnavailable>()
    yield* Effect.forkScoped(
      Effect.flatMap(
        Effect.promise(() => connection.closed()),
        (error) =>
          Deferred.fail(
            ended,
            unavailable(operation, error instanceof Error ? describe(error) : "the connection was closed")
          )
      )
    )
    const manager = yield* asked(operation, () => jetStream.jetstreamManager(connection, { timeout }))
    const isThere = () =>
      manager.streams.info(name).then(
        () => true,
        (error: unknown) => {
          if (isNotThere(error)) return false
          throw error
        }
      )
    if (!(yield* asked(operation, isThere))) {
      yield* asked(operation, () =>
        manager.streams.add({
          name,
          subjects: [subject],
          retention: "workqueue",
          storage: "file",
          duplicate_window: nanos(memory)
        })
      )
    }
    return { connection, ended, client: jetStream.jetstream(connection, { timeout }) }
  })

  // ---------------------------------------------------------------------------
  // Publishing
  // ---------------------------------------------------------------------------

  const publishing = yield* Link.make(connect("publish"))

  const publisher: MessageQueue.Publisher = {
    name,
    publish: Effect.fn("NatsQueue.publish")(function* (messages) {
      if (messages.length === 0) return
      yield* MessageQueue.check(name, messages, Infinity)
      const { client, connection, ended } = yield* publishing
      const most = connection.info?.max_payload ?? 1_048_576
      yield* MessageQueue.check(name, messages, most - headerBytes)
      // They go out in their order, and are confirmed in any.
      const all = Effect.forEach(
        messages,
        Effect.fnUntraced(function* ({ body, id: given, key }) {
          const id = percentEncode(given ?? (yield* Id.random))
          const headers = transport.headers()
          headers.set(idHeader, id)
          if (key !== undefined) headers.set(keyHeader, percentEncode(key))
          yield* asked("publish", () => client.publish(subject, body, { msgID: id, headers, timeout }))
        }),
        { concurrency: 256, discard: true }
      )
      yield* Effect.raceFirst(all, Deferred.await(ended))
    })
  }

  // ---------------------------------------------------------------------------
  // Consuming
  // ---------------------------------------------------------------------------

  const toReceived = ({ connection }: Connected, message: JetStream.JsMsg): MessageQueue.Received => {
    const header = (header: string) => {
      const value = message.headers?.get(header)
      return value === undefined || value === "" ? undefined : value
    }
    const given = header(idHeader)
    const key = header(keyHeader)
    const id = given === undefined ? header("Nats-Msg-Id") : percentDecode(given)
    const flushed = asked("nack", () => connection.flush())
    return {
      id: id ?? String(message.seq),
      key: Option.fromUndefinedOr(key === undefined ? undefined : percentDecode(key)),
      attempt: message.info.deliveryCount,
      body: message.data.slice(),
      ack: Effect.asVoid(asked("ack", () => message.ackAck({ timeout }))),
      nack: (delay) =>
        Effect.andThen(
          said("nack", () => message.nak(delay === 0 ? undefined : Math.ceil(delay))),
          flushed
        ),
      extend: said("extend", () => message.working())
    }
  }

  const open = Effect.fnUntraced(function* () {
    const link = yield* connect("open")
    const { client, connection, ended } = link
    const manager = yield* asked("open", () => jetStream.jetstreamManager(connection, { timeout }))
    const isThere = () =>
      manager.consumers.info(name, durable).then(
        () => true,
        (error: unknown) => {
          if (isNotThere(error)) return false
          throw error
        }
      )
    if (!(yield* asked("open", isThere))) {
      yield* asked("open", () =>
        manager.consumers.add(name, {
          durable_name: durable,
          ack_policy: "explicit",
          ack_wait: nanos(visibility),
          // The consumer has the say.
          max_deliver: -1,
          max_ack_pending: 50_000
        })
      )
    }
    const consumer = yield* asked("open", () => client.consumers.get(name, durable))
    const waiting: Array<JetStream.JsMsg> = []
    let arrival = Deferred.makeUnsafe<void, MessageQueue.QueueUnavailable>()
    let pulling: Deferred.Deferred<void> | undefined

    /**
     * Asks for messages; they come one by one, until there are so many or a while is over. It is not cut off: what the server has sent by then
     * would be held by nobody.
     */
    const pull = (most: number, isOver: Deferred.Deferred<void>) =>
      Effect.gen(function* () {
        const messages = yield* asked("take", () => consumer.fetch({ max_messages: most, expires: pullMillis }))
        yield* Stream.fromAsyncIterable(messages, (error) => unavailable("take", describe(error))).pipe(
          Stream.runForEach((message) =>
            Effect.sync(() => {
              waiting.push(message)
              Deferred.doneUnsafe(arrival, Effect.void)
            })
          )
        )
      }).pipe(
        Effect.raceFirst(Deferred.await(ended)),
        Effect.exit,
        Effect.flatMap((exit) =>
          Effect.sync(() => {
            pulling = undefined
            Deferred.doneUnsafe(arrival, exit)
            Deferred.doneUnsafe(isOver, Effect.void)
          })
        )
      )

    const receive = (most: number) =>
      Effect.gen(function* () {
        if (waiting.length === 0) {
          arrival = Deferred.makeUnsafe<void, MessageQueue.QueueUnavailable>()
          if (pulling === undefined) {
            const isOver = Deferred.makeUnsafe<void>()
            pulling = isOver
            yield* Effect.forkDetach(pull(most, isOver))
          }
          yield* Effect.raceFirst(Deferred.await(arrival), Deferred.await(ended))
        }
        return waiting.splice(0, most).map((message) => toReceived(link, message))
      })

    // What has come, or is coming, and nobody has taken goes back as well.
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        if (pulling !== undefined) yield* Deferred.await(pulling)
        if (waiting.length === 0) return
        yield* said("nack", () => waiting.splice(0).forEach((message) => message.nak()))
        yield* asked("nack", () => connection.flush())
      }).pipe(Effect.ignore)
    )
    return yield* MessageQueue.session({ queue: name, receive })
  })

  return { name, publisher, source: { name, extendEvery: visibility / 3, open } }
})
