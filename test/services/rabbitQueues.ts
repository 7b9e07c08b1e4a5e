/** Queues in a real RabbitMQ. That it is killed is left out: 3.10 does not always find a leader for a quorum queue of one node again. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as amqplib from "amqplib"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as RabbitQueue from "effect-s3db/plugins/RabbitQueue"
import { type Extent, newName, suite, type Subject } from "../plugins/messageQueues.ts"
import { describeWithRabbitMq } from "./available.ts"
import * as rabbitmq from "./rabbitmq.ts"

export const rabbitQueues = ({ many }: Extent): void =>
  describeWithRabbitMq("queues in RabbitMQ", () => {
    let server: rabbitmq.RabbitMq
    beforeAll(async () => {
      server = await rabbitmq.make()
      await server.start()
    }, 120_000)
    afterAll(() => server.close())

    const subject: Subject = {
      open: (name) =>
        Effect.suspend(() => RabbitQueue.make({ name, url: Redacted.make(server.url), timeout: "5 seconds" })),
      remembersIds: false,
      hasVisibility: false,
      refusesLate: true,
      many,
      timeout: 180_000
    }
    suite("RabbitMQ", subject)

    it.live("sends again what a queue refuses, until there is room; not for ever", () =>
      Effect.gen(function* () {
        const name = newName()
        const connection = yield* Effect.acquireRelease(
          Effect.promise(() => amqplib.connect(server.url)),
          (open) => Effect.promise(() => open.close())
        )
        const channel = yield* Effect.promise(() => connection.createChannel())
        const full = { "x-max-length": 1, "x-overflow": "reject-publish" }
        yield* Effect.promise(() => channel.assertQueue(name, { durable: true, arguments: full }))
        const url = Redacted.make(server.url)
        const { publisher } = yield* RabbitQueue.make({ name, url, declare: false, timeout: "5 seconds" })
        yield* publisher.publish([{ body: "1" }])
        const second = yield* Effect.forkChild(publisher.publish([{ body: "2" }]))
        yield* Effect.sleep("300 millis")
        assert.isUndefined(second.pollUnsafe())
        const bodies: Array<string> = []
        const take = Effect.promise(async () => {
          const message = await channel.get(name, { noAck: true })
          if (message !== false) bodies.push(message.content.toString())
        })
        yield* take
        yield* Fiber.join(second)
        const error = yield* Effect.flip(publisher.publish([{ body: "3" }]))
        assert.strictEqual(error._tag, "QueueUnavailable")
        assert.include(error.message, "is the queue full?")
        yield* take
        yield* publisher.publish([{ body: "4" }])
        yield* take
        assert.deepStrictEqual(bodies, ["1", "2", "4"])
      })
    )

    it.live("does not take for published what comes to no queue, since somebody has removed it", () =>
      Effect.gen(function* () {
        const name = newName()
        const { publisher } = yield* subject.open(name)
        const connection = yield* Effect.acquireRelease(
          Effect.promise(() => amqplib.connect(server.url)),
          (open) => Effect.promise(() => open.close())
        )
        const channel = yield* Effect.promise(() => connection.createChannel())
        yield* publisher.publish([{ body: "1" }])
        yield* Effect.promise(() => channel.deleteQueue(name))
        const error = yield* Effect.flip(publisher.publish([{ body: "2" }, { body: "3" }]))
        assert.strictEqual(error._tag, "QueueUnavailable")
        assert.include(error.message, "the queue was removed")
        // Once more, as the error has it: the queue is made anew.
        yield* publisher.publish([{ body: "2" }, { body: "3" }])
        const bodies: Array<string> = []
        for (let i = 0; i < 2; i++) {
          const message = yield* Effect.promise(() => channel.get(name, { noAck: true }))
          if (message !== false) bodies.push(message.content.toString())
        }
        assert.deepStrictEqual(bodies, ["2", "3"])
      })
    )

    it.live("says what to do where the queue is another kind of queue, or the virtual host is not there", () =>
      Effect.gen(function* () {
        const name = newName()
        const connection = yield* Effect.acquireRelease(
          Effect.promise(() => amqplib.connect(server.url)),
          (open) => Effect.promise(() => open.close())
        )
        const channel = yield* Effect.promise(() => connection.createChannel())
        yield* Effect.promise(() => channel.assertQueue(name, { durable: true, arguments: { "x-max-length": 5 } }))
        const { publisher } = yield* subject.open(name)
        const error = yield* Effect.flip(publisher.publish([{ body: "1" }]))
        assert.include(error.message, "the queue is there with other arguments: take it as it is by `declare: false`")
        assert.include(error.message, "x-max-length")

        const elsewhere = yield* RabbitQueue.make({ name, url: Redacted.make(`${server.url}/absent`) })
        const absent = yield* Effect.flip(elsewhere.publisher.publish([{ body: "1" }]))
        assert.include(absent.message, "the virtual host of the URL is not there, or closed to this user")
      })
    )

    it.live("gives messages of others an id of their own, over connections, and does not believe their headers", () =>
      Effect.gen(function* () {
        const name = newName()
        const { source } = yield* subject.open(name)
        // It makes the queue.
        yield* Effect.scoped(source.open({ prefetch: 1 }))
        const connection = yield* Effect.acquireRelease(
          Effect.promise(() => amqplib.connect(server.url)),
          (open) => Effect.promise(() => open.close())
        )
        const channel = yield* Effect.promise(() => connection.createConfirmChannel())
        for (const attempts of [0.5, -3]) {
          channel.sendToQueue(name, Buffer.from("no JSON"), { headers: { "x-s3db-attempts": attempts } })
        }
        yield* Effect.promise(() => channel.waitForConfirms())
        const one = Effect.scoped(
          Effect.gen(function* () {
            const [delivery] = yield* (yield* source.open({ prefetch: 1 })).take(1)
            yield* delivery!.ack
            return delivery!
          })
        )
        const [first, second] = [yield* one, yield* one]
        // The second may have been given to the first connection.
        assert.strictEqual(first.attempt, 1)
        assert.include([1, 2], second.attempt)
        assert.notStrictEqual(first.id, second.id)
      })
    )
  })
