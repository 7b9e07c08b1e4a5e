/** Changes from a database through a stream of Redis, or a queue of RabbitMQ, into another, by processes that are killed, as the servers are. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as amqplib from "amqplib"
import { describeWithRabbitMq, describeWithRedis } from "./available.ts"
import * as rabbitmq from "./rabbitmq.ts"
import * as redisServer from "./redis.ts"
import { queueName } from "./replicaQueueProcess.ts"
import { roundTrip } from "./replicaQueues.ts"

describeWithRedis("Replicator and QueueConsumer, by Redis", () => {
  it.live("10,000 changes through a stream, with everybody killed: both are equal at the end", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => redisServer.make({ isDurable: true })),
        (one) => Effect.promise(() => one.close())
      )
      yield* Effect.promise(() => server.start())
      const restarted = Effect.promise(() => server.stop().then(() => server.start()))
      yield* roundTrip({ url: server.url, restarted }, 10_000)
    }).pipe(Effect.scoped)
  )
})

describeWithRabbitMq("Replicator and QueueConsumer, by RabbitMQ", () => {
  it.live("10,000 changes through a classic queue, with everybody killed: both are equal at the end", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => rabbitmq.make()),
        (one) => Effect.promise(() => one.close())
      )
      yield* Effect.promise(() => server.start())
      // Of one node RabbitMQ 3.10 does not always find a leader for a quorum queue again, once it was killed.
      yield* Effect.promise(async () => {
        const connection = await amqplib.connect(server.url)
        const channel = await connection.createChannel()
        await channel.assertQueue(queueName, { durable: true })
        await connection.close()
      })
      const restarted = Effect.promise(() => server.kill().then(() => server.start()))
      yield* roundTrip({ url: server.url, restarted }, 10_000)
    }).pipe(Effect.scoped)
  )
})
