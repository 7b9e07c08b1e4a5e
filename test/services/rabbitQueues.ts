/** Queues in a real RabbitMQ. That it is killed is left out: 3.10 does not always find a leader for a quorum queue of one node again. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as amqplib from "amqplib"
import * as Effect from "effect/Effect"
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
