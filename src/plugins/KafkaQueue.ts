/**
 * Publishes to a topic of Kafka.
 *
 * ```ts
 * import * as KafkaQueue from "effect-s3db/plugins/KafkaQueue"
 * import * as ReplicaQueue from "effect-s3db/plugins/ReplicaQueue"
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "both" }
 * }) {}
 *
 * class Feed extends Replicator.Service<Feed>()("app/Feed", {
 *   name: "feed",
 *   target: Effect.map(KafkaQueue.make({ topic: "orders", brokers: ["localhost:9092"] }), ReplicaQueue.publisher),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * A message is a record: its body the value, its key the key, and its id the header `s3db-id`. The partition is chosen by the key as clients of Java do (murmur2), so that messages of a key are in one partition, in their order. All
 * replicas that are in sync confirm each batch before the next one is sent. After a failure the connection is made anew, and what is published again may be there twice, even behind what is newer: in a feed of a replica whoever reads takes the
 * greatest `version` of a document, as `QueueConsumer.applying` does. So the topic may be compacted.
 *
 * It needs `@platformatic/kafka`, the client in JavaScript that is kept up; `kafkajs` is not any more, and `@confluentinc/kafka-javascript` downloads a binary when it is installed. To consume a topic, use a client of Kafka: its groups commit the position of a
 * partition and know of no message by itself, which a `MessageQueue.Source` has to.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import type * as Kafka from "@platformatic/kafka"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Id from "../crypto/Id.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { utf8Length } from "../internal/text.ts"
import * as Plugin from "../Plugin.ts"
import { sendAll } from "./messagequeue/batches.ts"
import * as Link from "./messagequeue/link.ts"
import * as MessageQueue from "./MessageQueue.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The options of a publisher.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly topic: string
  /** `host:port`, one at least: the others are found by them. */
  readonly brokers: ReadonlyArray<string>
  /** Who logs in. Default: nobody. */
  readonly sasl?:
    | {
        readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512"
        readonly username: string
        readonly password: Redacted.Redacted
      }
    | undefined
  /** Whether connections are encrypted, and by what, as texts of PEM. Default: `false`. */
  readonly tls?:
    | boolean
    | {
        readonly ca?: string | undefined
        readonly cert?: string | undefined
        readonly key?: Redacted.Redacted | undefined
      }
    | undefined
  /** Whether a topic that is not there is made, with the defaults of the broker, where that allows it. Default: `false`. */
  readonly makeTopic?: boolean | undefined
  /** The most bytes that are sent at once: not above `max.message.bytes` of the topic, which is 1,048,588 by default. 1,024 or more; default: 900,000. */
  readonly maxBatchBytes?: number | undefined
  /** How long a batch may take. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const loadClient = Plugin.dependency(
  { name: "kafka-queue" },
  { package: "@platformatic/kafka", range: "^2.12.0", load: () => import("@platformatic/kafka") }
)

const idHeader = "s3db-id"
/** What a record has beside its parts, at most. */
const recordBytes = 100
const leastBatchBytes = 1_024

/** What no other time either is taken. */
const refusals: ReadonlySet<string> = new Set(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD"])

/** What Kafka calls an error, however deep it is; else what the client does. */
const codeOf = (error: unknown, depth = 0): string | undefined => {
  if (typeof error !== "object" || error === null || depth > 6) return undefined
  const own: unknown = Reflect.get(error, "apiId")
  if (typeof own === "string") return own
  const errors: unknown = Reflect.get(error, "errors")
  const below: ReadonlyArray<unknown> = [...(Array.isArray(errors) ? errors : []), Reflect.get(error, "cause")]
  for (const one of below) {
    const found = codeOf(one, depth + 1)
    if (found !== undefined) return found
  }
  const code: unknown = Reflect.get(error, "code")
  return depth === 0 && typeof code === "string" ? code : undefined
}

interface Numbered {
  readonly body: string
  readonly id: string
  readonly key: string | undefined
}

interface Connected extends Link.Link<MessageQueue.QueueUnavailable> {
  readonly producer: Kafka.Producer<string, string, string, string>
}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** What is wrong with the options, if anything is. */
const problemOf = ({ brokers, maxBatchBytes = leastBatchBytes, timeout, topic }: Options) => {
  if (!/^[\w.-]{1,249}$/.test(topic) || /^\.{1,2}$/.test(topic)) {
    return ["topic", "Expected 1 to 249 letters of A to Z, digits, _, - and ."] as const
  }
  if (brokers.length === 0 || !brokers.every((one) => /^[^\s/@]+:\d{1,5}$/.test(one))) {
    return ["brokers", "Expected host:port, one at least"] as const
  }
  if (!Number.isSafeInteger(maxBatchBytes) || maxBatchBytes < leastBatchBytes) {
    return ["maxBatchBytes", `Expected a whole number from ${leastBatchBytes.toLocaleString("en-US")}`] as const
  }
  return timeout !== undefined && !(millisecondsOf(timeout) >= 100 && millisecondsOf(timeout) < Infinity)
    ? (["timeout", "Expected a duration from 100 milliseconds"] as const)
    : undefined
}

/**
 * Opens a publisher to a topic until the scope closes. No request: it connects when it is used. Publishing is 1 request for each leader of partitions and each `maxBatchBytes`.
 *
 * `MessageRefused` of what the broker does not take, which is looked for one by one: others of the same call may be published. `InvalidQueue`: an option is wrong. `DependencyMissing`: the package is not installed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("KafkaQueue.make")(function* (
  options: Options
): Effect.fn.Return<MessageQueue.Publisher, MessageQueue.InvalidQueue | Plugin.DependencyMissing, Scope.Scope> {
  const { brokers, makeTopic = false, maxBatchBytes = 900_000, sasl, tls = false, topic } = options
  const timeout = millisecondsOf(options.timeout ?? "30 seconds")
  const problem = problemOf(options)
  if (problem !== undefined) {
    return yield* new MessageQueue.InvalidQueue({ queue: topic, field: problem[0], problem: problem[1] })
  }
  const client = yield* loadClient
  const unavailable = (operation: string, description: string) =>
    new MessageQueue.QueueUnavailable({ queue: topic, operation, description })
  const tlsOptions = tls === true ? {} : tls

  const connecting = yield* Link.make(
    Effect.gen(function* (): Effect.fn.Return<Connected, MessageQueue.QueueUnavailable, Scope.Scope> {
      const producer = yield* Effect.acquireRelease(
        Effect.try({
          try: () =>
            new client.Producer<string, string, string, string>({
              clientId: "effect-s3db",
              bootstrapBrokers: [...brokers],
              serializers: client.stringSerializers,
              acks: client.ProduceAcks.ALL,
              autocreateTopics: makeTopic,
              // Whoever publishes decides; what was sent in vain would come behind what comes next.
              retries: 0,
              connectTimeout: timeout,
              requestTimeout: timeout,
              ...(tlsOptions === false
                ? {}
                : {
                    tls: {
                      ...(tlsOptions.ca === undefined ? {} : { ca: tlsOptions.ca }),
                      ...(tlsOptions.cert === undefined ? {} : { cert: tlsOptions.cert }),
                      ...(tlsOptions.key === undefined ? {} : { key: Redacted.value(tlsOptions.key) })
                    }
                  }),
              ...(sasl === undefined
                ? {}
                : {
                    sasl: {
                      mechanism: sasl.mechanism,
                      username: sasl.username,
                      password: Redacted.value(sasl.password)
                    }
                  })
            }),
          catch: (error) => unavailable("publish", codeOf(error) ?? "there is no client")
        }),
        (opened) =>
          Effect.ignore(Link.within(timeout, () => "late" as const)(Effect.tryPromise(() => opened.close(true))))
      )
      return { producer, ended: yield* Deferred.make<never, MessageQueue.QueueUnavailable>() }
    })
  )

  const sizeOf = ({ body, id, key = "" }: Numbered) => utf8Length(body) + utf8Length(id) + utf8Length(key) + recordBytes

  /** Sends records at once, and gives the code of a refusal. */
  const sendOnce = Effect.fnUntraced(function* (records: ReadonlyArray<Numbered>) {
    const { ended, producer } = yield* connecting
    const sent = Effect.promise(() =>
      producer
        .send({
          messages: records.map(({ body, id, key }) => ({
            topic,
            value: body,
            headers: { [idHeader]: id },
            ...(key === undefined ? {} : { key })
          }))
        })
        .then(
          () => undefined,
          (error: unknown) => codeOf(error) ?? "no answer"
        )
    )
    const late = unavailable("publish", `Kafka has not answered for ${timeout} ms`)
    const code = yield* sent.pipe(
      Link.within(timeout, () => late),
      // What came of it nobody knows: the next one begins anew.
      Effect.onError(() => Deferred.fail(ended, late))
    )
    if (code === undefined) return undefined
    const failed = unavailable("publish", code)
    if (refusals.has(code)) return code
    yield* Deferred.fail(ended, failed)
    return yield* failed
  })

  /** Of two that publish at a time the messages of one come before those of the other. */
  const turn = Semaphore.makeUnsafe(1)

  return {
    name: topic,
    publish: Effect.fn("KafkaQueue.publish")(function* (messages) {
      if (messages.length === 0) return
      yield* MessageQueue.check(topic, messages, maxBatchBytes - recordBytes)
      const records = yield* Effect.forEach(messages, ({ body, id, key }) =>
        Effect.map(id === undefined ? Id.random : Effect.succeed(id), (id): Numbered => ({ body, id, key }))
      )
      const tooLarge = records.findIndex((one) => sizeOf(one) > maxBatchBytes)
      if (tooLarge >= 0) {
        const problem = `Expected at most ${maxBatchBytes} bytes, with key and id`
        return yield* new MessageQueue.MessageRefused({ queue: topic, index: tooLarge, field: "body", problem })
      }
      yield* turn.withPermits(1)(
        // The limits of a broker are for a batch, and may be lower than is known here.
        sendAll(records, {
          mostBytes: maxBatchBytes,
          sizeOf,
          send: sendOnce,
          refuse: (index, problem) => new MessageQueue.MessageRefused({ queue: topic, index, field: "body", problem })
        })
      )
    })
  }
})
