/** Queues in a real RabbitMQ. That it is killed is left out: 3.10 does not always find a leader for a quorum queue of one node again. */
import { afterAll, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as RabbitQueue from "effect-s3db/plugins/RabbitQueue"
import { type Extent, suite, type Subject } from "../plugins/messageQueues.ts"
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
  })
