/** Messages and handlers that mean no good, and queues that answer only now and then. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import { until } from "../waiting.ts"
import { consumerOn, newName, Numbered } from "./messageQueues.ts"

/** A queue that gives what it is told to, and does with acknowledgements what it is told to. */
const scripted = (
  bodies: ReadonlyArray<{ readonly id: string; readonly body: string }>,
  settle: (how: "ack" | "nack") => Effect.Effect<void, MessageQueue.DeliveryLost | MessageQueue.QueueUnavailable>
): MessageQueue.Source => {
  const name = newName()
  const left = [...bodies]
  return {
    name,
    extendEvery: undefined,
    open: () =>
      MessageQueue.session({
        queue: name,
        receive: (most) =>
          Effect.suspend(() =>
            left.length === 0
              ? Effect.never
              : Effect.succeed(
                  left.splice(0, most).map(({ body, id }) => ({
                    id,
                    key: Option.none(),
                    attempt: 1,
                    body: new TextEncoder().encode(body),
                    ack: settle("ack"),
                    nack: () => settle("nack"),
                    extend: Effect.void
                  }))
                )
          )
      })
  }
}

const lettersOf = (consumer: QueueConsumer.Consumer, queue: string) => Stream.runCollect(consumer.deadLetters(queue))

it.live("a message that its schema chokes on is a dead letter at once", () =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: newName(), visibility: "1 hour" })
    const consumer = yield* consumerOn()
    const Choking = Schema.String.pipe(
      Schema.decodeTo(Schema.String, {
        decode: SchemaGetter.transform((text: string) => {
          if (text === "throw") throw new Error("no such text")
          return text
        }),
        encode: SchemaGetter.transform((text: string) => text)
      })
    )
    const consuming = yield* Effect.forkChild(
      consumer.consume({
        source: queue.source,
        payload: Schema.Struct({ a: Schema.Union([Choking, Schema.Json]) }),
        concurrency: 1,
        handler: () => Effect.void
      })
    )
    const depth = 20_000
    yield* queue.publisher.publish([
      { id: "throws", body: '{"a":"throw"}' },
      { id: "deep", body: `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}` },
      { id: "proto", body: '{"a":{"__proto__":{"b":1}}}' },
      { id: "fine", body: '{"a":"fine"}' }
    ])
    yield* until("all have come to their end", () =>
      Effect.map(queue.sizes, ({ held, waiting }) => held + waiting === 0)
    )
    const letters = yield* lettersOf(consumer, queue.name)
    assert.deepStrictEqual(letters.map(({ id }) => id).toSorted(), ["throws"])
    assert.deepStrictEqual(
      letters.map(({ attempts }) => attempts),
      [1]
    )
    yield* Fiber.interrupt(consuming)
  })
)

it.live("a message of 10 MB that is no JSON is kept whole", () =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: newName(), visibility: "1 hour" })
    const consumer = yield* consumerOn()
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source: queue.source, payload: Numbered, handler: () => Effect.void })
    )
    const body = "😀".repeat(2_500_000)
    yield* queue.publisher.publish([{ id: "big", body }])
    yield* until("it is dead", () => Effect.map(queue.sizes, ({ held, waiting }) => held + waiting === 0))
    const [letter] = yield* lettersOf(consumer, queue.name)
    assert.isTrue(letter?.body === body)
    yield* Fiber.interrupt(consuming)
  })
)

it.live("isOutage that throws counts as one that says no", () =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: newName(), visibility: "1 hour" })
    const consumer = yield* consumerOn()
    const consuming = yield* Effect.forkChild(
      consumer.consume({
        source: queue.source,
        payload: Numbered,
        maxDeliveries: 1,
        isOutage: () => {
          throw new Error("no idea")
        },
        handler: () => Effect.fail({ message: "it failed" })
      })
    )
    yield* queue.publisher.publish([{ id: "1", body: '{"n":1}' }])
    yield* until("it is dead", () => Effect.map(lettersOf(consumer, queue.name), ({ length }) => length === 1))
    assert.strictEqual((yield* lettersOf(consumer, queue.name))[0]?.error, "it failed")
    yield* Fiber.interrupt(consuming)
  })
)

it.live("dead letters of different messages with one id are all kept", () =>
  Effect.gen(function* () {
    const consumer = yield* consumerOn()
    let acked = 0
    const source = scripted(
      ["one", "two", "one"].map((body) => ({ id: "1", body })),
      () => Effect.sync(() => void (acked += 1))
    )
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source, payload: Numbered, handler: () => Effect.void })
    )
    yield* until("all are dead", () => acked === 3)
    const letters = yield* lettersOf(consumer, source.name)
    assert.deepStrictEqual(letters.map(({ body }) => body).toSorted(), ["one", "two"])
    assert.strictEqual(yield* consumer.discard({ queue: source.name, ids: ["1"] }), 2)
    yield* Fiber.interrupt(consuming)
  })
)

it.live("an acknowledgement that could not be sent is sent again, and its handler is not run again", () =>
  Effect.gen(function* () {
    const consumer = yield* consumerOn()
    let tries = 0
    let acked = 0
    let handled = 0
    const source = scripted([{ id: "1", body: '{"n":1}' }], () =>
      Effect.suspend(() => {
        tries += 1
        if (tries <= 2) {
          return Effect.fail(new MessageQueue.QueueUnavailable({ queue: "q", operation: "ack", description: "down" }))
        }
        acked += 1
        return Effect.void
      })
    )
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source, payload: Numbered, handler: () => Effect.sync(() => void (handled += 1)) })
    )
    yield* until("it is acknowledged", () => acked === 1)
    assert.deepStrictEqual([handled, tries], [1, 3])
    yield* Fiber.interrupt(consuming)
  })
)

it.live("stopping does not wait for what cannot be acknowledged", () =>
  Effect.gen(function* () {
    const consumer = yield* consumerOn()
    let tries = 0
    const source = scripted([{ id: "1", body: '{"n":1}' }], () =>
      Effect.suspend(() => {
        tries += 1
        return Effect.fail(new MessageQueue.QueueUnavailable({ queue: "q", operation: "ack", description: "down" }))
      })
    )
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source, payload: Numbered, stopWithin: "1 day", handler: () => Effect.void })
    )
    yield* until("it was tried", () => tries > 0)
    yield* Fiber.interrupt(consuming)
  })
)

it.effect("a queue that opens and gives nothing but errors is asked less and less often", () =>
  Effect.gen(function* () {
    const consumer = yield* consumerOn()
    let opened = 0
    const name = newName()
    const source: MessageQueue.Source = {
      name,
      extendEvery: undefined,
      open: () =>
        Effect.sync(() => {
          opened += 1
          return {
            take: () =>
              Effect.fail(new MessageQueue.QueueUnavailable({ queue: name, operation: "take", description: "no" }))
          }
        })
    }
    const consuming = yield* Effect.forkChild(
      consumer.consume({ source, payload: Numbered, handler: () => Effect.void })
    )
    yield* TestClock.adjust("1 minute")
    assert.isAbove(opened, 5)
    assert.isBelow(opened, 20)
    yield* Fiber.interrupt(consuming)
  })
)

it.live("what is lost is not held on to", () =>
  Effect.gen(function* () {
    let settled = 0
    const source = scripted([{ id: "1", body: "x" }], () =>
      Effect.suspend(() => {
        settled += 1
        return Effect.fail(new MessageQueue.DeliveryLost({ queue: "q", id: "1" }))
      })
    )
    yield* Effect.scoped(
      Effect.gen(function* () {
        const [delivery] = yield* (yield* source.open({ prefetch: 1 })).take(1)
        for (const settling of [delivery!.ack, delivery!.ack, delivery!.nack()]) {
          assert.isTrue(Exit.isFailure(yield* Effect.exit(settling)))
        }
      })
    )
    // Neither asked for again, nor given back at the end.
    assert.strictEqual(settled, 1)
  })
)
