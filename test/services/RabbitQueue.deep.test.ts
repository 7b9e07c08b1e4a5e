/** Queues in a real RabbitMQ, which is killed. */
import { afterAll, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as RabbitQueue from "effect-s3db/plugins/RabbitQueue"
import { serverSuite, suite, type Subject } from "../plugins/messageQueues.ts"
import { describeWithRabbitMq } from "./available.ts"
import * as rabbitmq from "./rabbitmq.ts"

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
    many: 2500,
    timeout: 180_000
  }
  suite("RabbitMQ", subject)
  serverSuite("RabbitMQ", subject, () => ({
    kill: Effect.promise(() => server.kill()),
    start: Effect.promise(() => server.start())
  }))
})
