/** Queues in a real Redis, which keeps what it has answered, and is killed. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as RedisQueue from "effect-s3db/plugins/RedisQueue"
import { type Extent, newName, roundTrip, serverSuite, suite, type Subject } from "../plugins/messageQueues.ts"
import { describeWithRedis } from "./available.ts"
import * as redisServer from "./redis.ts"

export const redisQueues = ({ areKilled = false, many }: Extent): void =>
  describeWithRedis("queues in Redis", () => {
    let server: redisServer.Redis
    beforeAll(async () => {
      server = await redisServer.make({ isDurable: true })
      await server.start()
    })
    afterAll(() => server.close())

    const connected = Layer.unwrap(Effect.sync(() => NodeRedis.layer({ url: server.url })))
    const by = (make: typeof RedisQueue.list): Subject => ({
      open: (name, isShort = false) =>
        Effect.gen(function* () {
          return yield* Effect.provideContext(
            make({ name, block: "50 millis", visibility: isShort ? "1 second" : "1 hour" }),
            yield* Layer.build(Layer.fresh(connected))
          )
        }),
      remembersIds: true,
      hasVisibility: true,
      refusesLate: true,
      many
    })
    const dying = () => ({ kill: Effect.promise(() => server.stop()), start: Effect.promise(() => server.start()) })

    suite("a Redis stream", by(RedisQueue.stream))
    it.live("a stream delivers again what is given back behind many that others hold", () =>
      Effect.gen(function* () {
        const name = newName()
        const { open } = by(RedisQueue.stream)
        const [others, mine] = [yield* open(name), yield* open(name)]
        const { take } = yield* others.source.open({ prefetch: 40 })
        yield* others.publisher.publish(Array.from({ length: 40 }, (_, i) => ({ body: `held ${i}` })))
        let held = 0
        while (held < 40) held += (yield* take(40 - held)).length
        yield* mine.publisher.publish([{ body: "mine" }])
        const session = yield* mine.source.open({ prefetch: 1 })
        const [first] = yield* session.take(1)
        yield* first!.nack()
        const [second] = yield* session.take(1)
        assert.deepStrictEqual([MessageQueue.textOf(second!), second!.attempt], ["mine", 2])
        yield* second!.ack
      })
    )
    if (areKilled) serverSuite("a Redis stream", by(RedisQueue.stream), dying)
    suite("a Redis list", by(RedisQueue.list))
    if (areKilled) serverSuite("a Redis list", by(RedisQueue.list), dying)

    if (areKilled)
      it.live(
        "10,000 changes, from a database through a stream into another, with consumers and the server killed: they are equal at the end",
        () =>
          Effect.suspend(() => {
            const { kill, start } = dying()
            return roundTrip(by(RedisQueue.stream), 10_000, Effect.andThen(kill, start))
          }),
        300_000
      )
  })
