/** Queues of SQS, as `fauxqs` has it: a server of its own, in this process. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Redacted from "effect/Redacted"
import * as SqsQueue from "effect-s3db/plugins/SqsQueue"
import { startFauxqs } from "fauxqs"
import { type Extent, newName, suite, type Subject } from "../plugins/messageQueues.ts"

export const sqsQueues = ({ many }: Extent): void => {
  describe("queues in SQS", () => {
    let server: Awaited<ReturnType<typeof startFauxqs>>
    beforeAll(async () => {
      server = await startFauxqs({ port: 0, logger: false })
    })
    afterAll(() => server.stop())

    const made = new Set<string>()
    const credentials = { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
    const openAs =
      (suffix: string, attributes: Record<string, string>) =>
      (name: string, isShort = false) =>
        Effect.suspend(() => {
          const queue = `${name}${suffix}`
          if (!made.has(queue)) server.createQueue(queue, { attributes })
          made.add(queue)
          return SqsQueue.make({
            url: `http://sqs.us-east-1.localhost:${server.port}/000000000000/${queue}`,
            endpoint: server.address,
            credentials,
            visibility: isShort ? "1 second" : "1 hour",
            wait: "1 second"
          }).pipe(Effect.provide(FetchHttpClient.layer))
        })

    const subject: Subject = {
      open: openAs("", {}),
      remembersIds: false,
      hasVisibility: true,
      refusesLate: false,
      // fauxqs takes each half of a pair for a character that is none; Amazon's documentation allows them.
      hasAstral: false,
      many,
      timeout: 180_000
    }
    suite("SQS", subject)
    suite("a FIFO queue of SQS", {
      ...subject,
      open: openAs(".fifo", { FifoQueue: "true" }),
      remembersIds: true
    })

    it.live("a queue that is not there is out of reach, and what SQS cannot have is refused", () =>
      Effect.gen(function* () {
        const { publisher, source } = yield* SqsQueue.make({
          url: `http://sqs.us-east-1.localhost/000000000000/${newName()}`,
          endpoint: server.address,
          credentials
        }).pipe(Effect.provide(FetchHttpClient.layer))
        for (const attempt of [publisher.publish([{ body: "x" }]), Effect.scoped(source.open({ prefetch: 1 }))]) {
          const error = yield* Effect.flip(attempt)
          assert.strictEqual(error._tag, "QueueUnavailable")
          assert.include(error.message, "QueueDoesNotExist")
          assert.notInclude(JSON.stringify(error), "Signature")
        }
        for (const body of ["", "\u0000", "x".repeat(262_144)]) {
          assert.strictEqual((yield* Effect.flip(publisher.publish([{ body }])))._tag, "MessageRefused")
        }
      })
    )
  })
}
