/** Queues in a real NATS, which is killed. */
import { afterAll, beforeAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as NatsQueue from "effect-s3db/plugins/NatsQueue"
import { type Extent, serverSuite, suite, type Subject } from "../plugins/messageQueues.ts"
import { describeWithNats } from "./available.ts"
import * as nats from "./nats.ts"

export const natsQueues = ({ areKilled = false, many }: Extent): void =>
  describeWithNats("queues in NATS", () => {
    let server: nats.Nats
    beforeAll(async () => {
      server = await nats.make()
      await server.start()
    })
    afterAll(() => server.close())

    const subject: Subject = {
      open: (name, isShort = false) =>
        Effect.suspend(() =>
          NatsQueue.make({ name, url: Redacted.make(server.url), visibility: isShort ? "1 second" : "1 hour" })
        ),
      remembersIds: true,
      hasVisibility: true,
      // An acknowledgement counts, whoever has the message by then.
      refusesLate: false,
      many
    }
    suite("NATS", subject)
    if (areKilled)
      serverSuite("NATS", subject, () => ({
        kill: Effect.promise(() => server.kill()),
        start: Effect.promise(() => server.start())
      }))
  })
