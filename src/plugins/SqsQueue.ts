/**
 * Queues in Amazon SQS, standard and FIFO, without a package of AWS.
 *
 * ```ts
 * import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
 * import * as SqsQueue from "effect-s3db/plugins/SqsQueue"
 * import { Console, Effect, Redacted, Schema } from "effect"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 *
 * const program = Effect.gen(function* () {
 *   const consumer = yield* QueueConsumer.QueueConsumer
 *   const jobs = yield* SqsQueue.make({
 *     url: "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs",
 *     credentials: { accessKeyId: "AKIA", secretAccessKey: Redacted.make("secret") }
 *   })
 *   yield* jobs.publisher.publish([{ id: "1", body: '{"n":1}' }])
 *   yield* consumer.consume({
 *     source: jobs.source,
 *     payload: Schema.Struct({ n: Schema.Int }),
 *     handler: ({ n }) => Console.log(n)
 *   })
 * }).pipe(Effect.provide(FetchHttpClient.layer))
 * ```
 *
 * **Details**
 *
 * Requests are those of the JSON protocol, signed by Signature Version 4, over Effect's `HttpClient`. A queue whose name ends in `.fifo` handles messages of a `key` in their order, and
 * remembers ids for 5 minutes; messages without a key are of one. A standard queue has neither, and carries both.
 *
 * Give the queue no redrive policy of its own, or one whose `maxReceiveCount` is greater than `maxDeliveries`: the consumer has the dead letters.
 *
 * Sources: Amazon SQS API Reference; AWS General Reference, "Signature Version 4 signing process".
 *
 * @see `docs/guide/queue-consumer.md`
 * @since 0.1.0
 */
import * as Hex from "effect/encoding/Hex"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Id from "../crypto/Id.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { sha256 } from "../internal/sha256.ts"
import { utf8Length } from "../internal/text.ts"
import * as awsJson from "../storage/internal/awsJson.ts"
import { digests } from "../storage/internal/s3Digests.ts"
import type { Credentials } from "../storage/S3HttpStore.ts"
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
  /** As SQS says it: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`. The queue has to be there. */
  readonly url: string
  /** Credentials, or an effect that gives them, which is run for every request: let it keep them. */
  readonly credentials: Credentials | Effect.Effect<Credentials, unknown>
  /** Default: that of `url`. */
  readonly region?: string | undefined
  /** Where requests go. Default: the beginning of `url`. */
  readonly endpoint?: string | undefined
  /** How long a consumer may be silent before its messages are delivered again. 1 second to 12 hours; default: 30 seconds. */
  readonly visibility?: Duration.Input | undefined
  /** How long a request for messages waits for some, and so how long a consumer may take to stop. 0 to 20 seconds; default: 5 seconds. */
  readonly wait?: Duration.Input | undefined
  /** How long an answer may take beside that. Default: 10 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** What SQS takes at once: in one message, and in a batch. */
const mostBytes = 262_144
const mostInBatch = 10

const idAttribute = "s3db-id"
const keyAttribute = "s3db-key"

const Attribute = Schema.Struct({ StringValue: Schema.optionalKey(Schema.String) })

const Received = Schema.Struct({
  Messages: Schema.optionalKey(
    Schema.NullOr(
      Schema.Array(
        Schema.Struct({
          MessageId: Schema.String,
          ReceiptHandle: Schema.String,
          Body: Schema.optionalKey(Schema.String),
          Attributes: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
          MessageAttributes: Schema.optionalKey(Schema.Record(Schema.String, Attribute))
        })
      )
    )
  )
})

const Sent = Schema.Struct({
  Failed: Schema.optionalKey(
    Schema.NullOr(
      Schema.Array(
        Schema.Struct({ Id: Schema.String, Code: Schema.String, Message: Schema.optionalKey(Schema.String) })
      )
    )
  )
})

/** A claim that is over, as SQS says it. */
const lostTypes = /(?:ReceiptHandleIsInvalid|MessageNotInflight)/

/** What no message of SQS may have: characters that are none of XML 1.0. */
const unfit = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u

/** In seconds, of which half a one is one. */
const secondsOf = (millis: number): number => Math.ceil(millis / 1000)

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Opens a queue in SQS. No request.
 *
 * Publishing is 1 request for each 10 messages of 256 KiB together; taking 1 for up to 10, and 1 for each `wait` in which none comes; settling and extending 1. A
 * delay is one of whole seconds, 12 hours at most.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("SqsQueue.make")(function* (
  options: Options
): Effect.fn.Return<MessageQueue.MessageQueue, MessageQueue.InvalidQueue, HttpClient.HttpClient> {
  const { credentials } = options
  const client = yield* HttpClient.HttpClient
  const invalid = (field: string, problem: string) =>
    new MessageQueue.InvalidQueue({ queue: options.url, field, problem })
  const addressed = yield* Effect.try({
    try: () => ({ queue: new URL(options.url), endpoint: new URL(options.endpoint ?? options.url) }),
    catch: () => invalid(options.endpoint === undefined ? "url" : "endpoint", "Expected an address")
  })
  const name = decodeURIComponent(addressed.queue.pathname.split("/").at(-1) ?? "")
  if (name === "") return yield* invalid("url", "Expected the address of a queue, https://HOST/ACCOUNT/NAME")
  const region = options.region ?? /^(?:sqs\.)?([a-z]{2}-[a-z-]+-\d)\./.exec(addressed.queue.hostname)?.[1]
  if (region === undefined) return yield* invalid("region", "Expected a region, which the address does not say")
  const visibility = millisecondsOf(options.visibility ?? "30 seconds")
  const wait = millisecondsOf(options.wait ?? "5 seconds")
  const timeout = millisecondsOf(options.timeout ?? "10 seconds")
  if (!(visibility >= 1000 && visibility <= 43_200_000)) {
    return yield* invalid("visibility", "Expected a duration from 1 second to 12 hours")
  }
  if (!(wait >= 0 && wait <= 20_000)) return yield* invalid("wait", "Expected a duration from 0 to 20 seconds")
  if (!(timeout >= 100 && timeout < Infinity)) {
    return yield* invalid("timeout", "Expected a duration from 100 milliseconds")
  }
  const isFifo = name.endsWith(".fifo")
  const post = awsJson.make({
    client,
    digests: yield* digests,
    service: "sqs",
    target: "AmazonSQS",
    region,
    endpoint: addressed.endpoint,
    credentials
  })

  const unavailable = (operation: string, description: string) =>
    new MessageQueue.QueueUnavailable({ queue: name, operation, description })

  /** Asks SQS, once. The answer is decoded; a refusal gives its type. */
  const ask = Effect.fnUntraced(function* <A, I>(
    operation: string,
    action: string,
    input: Schema.Json,
    answer: Schema.Codec<A, I>,
    within: number
  ) {
    const given = yield* post(action, input).pipe(
      Effect.mapError(({ description }) => unavailable(operation, description)),
      Link.within(within, () => unavailable(operation, `SQS has not answered for ${within} ms`))
    )
    const { status, text } = given
    if (status !== 200) {
      const { detail, type } = awsJson.refusalOf(given)
      return yield* unavailable(operation, detail === undefined ? type : `${type}: ${detail}`)
    }
    return yield* Effect.mapError(
      Schema.decodeUnknownEffect(Schema.fromJsonString(answer))(text === "" ? "{}" : text),
      () => unavailable(operation, "the answer is none of SQS")
    )
  })

  // ---------------------------------------------------------------------------
  // Publishing
  // ---------------------------------------------------------------------------

  const textAttribute = (value: string) => ({ DataType: "String", StringValue: value })

  const toEntry = ({ body, id, key }: MessageQueue.Message & { readonly id: string }, index: number) => ({
    Id: String(index),
    MessageBody: body,
    MessageAttributes: {
      [idAttribute]: textAttribute(id),
      ...(key === undefined ? {} : { [keyAttribute]: textAttribute(key) })
    },
    ...(isFifo ? { MessageGroupId: nameOf(key ?? ""), MessageDeduplicationId: nameOf(id) } : {})
  })

  /** Bytes as SQS counts them. */
  const sizeOf = ({ body, id, key = "" }: MessageQueue.Message & { readonly id: string }): number =>
    utf8Length(body) + utf8Length(id) + utf8Length(key) + 64

  const publisher: MessageQueue.Publisher = {
    name,
    publish: Effect.fn("SqsQueue.publish")(function* (messages) {
      yield* MessageQueue.check(name, messages, mostBytes - 2_048)
      for (const [index, { body, id, key }] of messages.entries()) {
        for (const [field, text] of Object.entries({ body, id, key })) {
          if (text === undefined || (text !== "" && !unfit.test(text))) continue
          const problem = "Expected text of 1 character or more, without control characters, which SQS does not take"
          return yield* new MessageQueue.MessageRefused({ queue: name, index, field, problem })
        }
      }
      let batch: Array<MessageQueue.Message & { readonly id: string }> = []
      let size = 0
      const send = Effect.gen(function* () {
        if (batch.length === 0) return
        const entries = batch.map(toEntry)
        batch = []
        size = 0
        const { Failed } = yield* ask(
          "publish",
          "SendMessageBatch",
          { QueueUrl: options.url, Entries: entries },
          Sent,
          timeout
        )
        const [first] = Failed ?? []
        if (first !== undefined) return yield* unavailable("publish", `${first.Code}: ${first.Message ?? ""}`)
      })
      for (const message of messages) {
        const one = { ...message, id: message.id ?? (yield* Id.random) }
        if (batch.length === mostInBatch || size + sizeOf(one) > mostBytes) yield* send
        batch.push(one)
        size += sizeOf(one)
      }
      yield* send
    })
  }

  // ---------------------------------------------------------------------------
  // Consuming
  // ---------------------------------------------------------------------------

  const toReceived = (message: NonNullable<(typeof Received.Type)["Messages"]>[number]): MessageQueue.Received => {
    const { Attributes = {}, Body = "", MessageAttributes = {}, MessageId, ReceiptHandle } = message
    const id = MessageAttributes[idAttribute]?.StringValue ?? MessageId
    const settle = (operation: string, action: string, more: { readonly VisibilityTimeout?: number }) =>
      ask(operation, action, { QueueUrl: options.url, ReceiptHandle, ...more }, Schema.Unknown, timeout).pipe(
        Effect.asVoid,
        Effect.mapError((error) =>
          lostTypes.test(error.description) ? new MessageQueue.DeliveryLost({ queue: name, id }) : error
        )
      )
    const visible = (operation: string, millis: number) =>
      settle(operation, "ChangeMessageVisibility", { VisibilityTimeout: Math.min(43_200, secondsOf(millis)) })
    return {
      id,
      key: Option.fromUndefinedOr(MessageAttributes[keyAttribute]?.StringValue),
      attempt: Math.max(1, Number(Attributes["ApproximateReceiveCount"]) || 1),
      body: new TextEncoder().encode(Body),
      ack: settle("ack", "DeleteMessage", {}),
      nack: (delay) => visible("nack", delay),
      extend: visible("extend", visibility)
    }
  }

  const receive = (most: number) =>
    Effect.map(
      ask(
        "take",
        "ReceiveMessage",
        {
          QueueUrl: options.url,
          MaxNumberOfMessages: Math.min(mostInBatch, most),
          VisibilityTimeout: secondsOf(visibility),
          WaitTimeSeconds: Math.floor(wait / 1000),
          AttributeNames: ["ApproximateReceiveCount"],
          MessageSystemAttributeNames: ["ApproximateReceiveCount"],
          MessageAttributeNames: [idAttribute, keyAttribute]
        },
        Received,
        timeout + wait
      ),
      ({ Messages }) => (Messages ?? []).map(toReceived)
    )

  const known = ask(
    "open",
    "GetQueueAttributes",
    { QueueUrl: options.url, AttributeNames: ["QueueArn"] },
    Schema.Unknown,
    timeout
  )

  return {
    name,
    publisher,
    source: {
      name,
      extendEvery: visibility / 3,
      // It is there, or nothing is opened.
      open: () => Effect.andThen(known, MessageQueue.session({ queue: name, receive, endsByItself: true }))
    }
  }
})

/** What a text is called where SQS takes but letters and digits. */
const nameOf = (text: string): string => Hex.encode(sha256(new TextEncoder().encode(text)))
