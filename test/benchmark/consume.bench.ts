/**
 * Messages that are taken out of a queue, handled and acknowledged: by the client of the queue alone, and by a QueueConsumer, in the same run. A stream of a Redis that is started
 * for it, where one is installed; and a queue in memory, without a network.
 *
 * The baseline of the stream is the least that a program has to do: read a batch of a group, parse, acknowledge and delete all of it in one
 * step. It has no attempts, dead letters or check of who holds a message, and gives nobody's messages to others.
 *
 * npm run bench -- consume [--messages=10000] [--json]
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as RedisQueue from "effect-s3db/plugins/RedisQueue"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as redisServer from "../services/redis.ts"
import { countOf } from "./option.ts"
import { digits } from "./table.ts"

const rounds = 3
const concurrency = 100

const Payload = Schema.Struct({ n: Schema.Int, text: Schema.String })
const text = "x".repeat(120)

class Orders extends Resource.Service<Orders>()("effect-s3db/bench/consume/Orders", {
  name: "orders",
  schema: Schema.Struct({ ...Payload.fields, id: Schema.String, sourceVersion: Schema.optionalKey(Schema.Int) }),
  primaryKey: "id"
}) {}

const database = Layer.mergeAll(Orders.layer, QueueConsumer.layer).pipe(
  Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
  Layer.provide(MemoryStore.layer)
)

const numbered = (messages: number) => Array.from({ length: messages }, (_, n) => n)
const plain = (messages: number): ReadonlyArray<MessageQueue.Message> =>
  numbered(messages).map((n) => ({ body: JSON.stringify({ n, text }) }))
const changes = (messages: number): ReadonlyArray<MessageQueue.Message> =>
  numbered(messages).map((n) =>
    QueueConsumer.messageOf({ resource: "orders", operation: "insert", id: `o${n}`, version: n, document: { n, text } })
  )

/** Seconds of the work, and those of the processor that this process took for it. */
const timed = Effect.fnUntraced(function* <A, E, R>(work: Effect.Effect<A, E, R>) {
  const [begun, before] = [performance.now(), process.cpuUsage()]
  yield* work
  const { system, user } = process.cpuUsage(before)
  return { wall: (performance.now() - begun) / 1000, cpu: (system + user) / 1_000_000 }
})

/** Consumes until the handler has had so many. */
const consumed = Effect.fnUntraced(function* <A, I>(
  source: MessageQueue.Source,
  payload: Schema.Codec<A, I>,
  handler: QueueConsumer.Handler<A>,
  messages: number
) {
  const consumer = yield* QueueConsumer.QueueConsumer
  const done = yield* Deferred.make<void>()
  let handled = 0
  const counting: QueueConsumer.Handler<A> = (one, context) =>
    Effect.andThen(
      handler(one, context),
      Effect.suspend(() => ((handled += 1) === messages ? Deferred.succeed(done, undefined) : Effect.void))
    )
  const consuming = consumer.consume({ source, payload, handler: counting, concurrency })
  yield* Effect.raceFirst(consuming, Deferred.await(done))
})

const nothing = () => Effect.void

let names = 0

/** What the client reads. */
const isRead = Schema.is(
  Schema.Array(
    Schema.Struct({
      messages: Schema.Array(Schema.Struct({ id: Schema.String, message: Schema.Struct({ body: Schema.String }) }))
    })
  )
)

/** The client alone; each message acknowledged by itself, or those of a batch together. */
const byHand = (messages: number, isOneByOne = false) =>
  Effect.gen(function* () {
    const { client } = yield* NodeRedis.NodeRedis
    const name = `by-hand-${(names += 1)}`
    yield* Effect.promise(async () => {
      await client.xGroupCreate(name, "g", "0", { MKSTREAM: true })
      for (let n = 0; n < messages; n += 500) {
        const many = client.multi()
        for (let i = n; i < Math.min(messages, n + 500); i++)
          many.xAdd(name, "*", { body: JSON.stringify({ n: i, text }) })
        await many.exec()
      }
    })
    return yield* timed(
      Effect.promise(async () => {
        for (let handled = 0; handled < messages;) {
          const read: unknown = await client.xReadGroup("g", "c", { key: name, id: ">" }, { COUNT: concurrency })
          if (!isRead(read)) throw new Error("the stream ended too early")
          const found = read.flatMap((one) => one.messages)
          const ids = found.map(({ id, message }) => {
            JSON.parse(message.body)
            return id
          })
          if (isOneByOne) await Promise.all(ids.map((id) => client.multi().xAck(name, "g", id).xDel(name, id).exec()))
          else await client.multi().xAck(name, "g", ids).xDel(name, ids).exec()
          handled += ids.length
        }
      })
    )
  })

const inStream = (messages: number) =>
  Effect.gen(function* () {
    const queue = yield* RedisQueue.stream({ name: `stream-${(names += 1)}` })
    yield* queue.publisher.publish(plain(messages))
    return yield* timed(consumed(queue.source, Payload, nothing, messages))
  })

const inMemory = (messages: number) =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: `memory-${(names += 1)}` })
    yield* queue.publisher.publish(plain(messages))
    return yield* timed(consumed(queue.source, Payload, nothing, messages))
  })

const bySource = (messages: number) =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: `source-${(names += 1)}` })
    yield* queue.publisher.publish(plain(messages))
    return yield* timed(
      MessageQueue.deliveries(queue.source).pipe(
        Stream.take(messages),
        Stream.runForEach(({ ack, body }) => {
          JSON.parse(new TextDecoder().decode(body))
          return ack
        })
      )
    )
  })

const applied = (messages: number) =>
  Effect.gen(function* () {
    const queue = yield* MessageQueue.memory({ name: `applied-${(names += 1)}` })
    yield* queue.publisher.publish(changes(messages))
    const consumer = yield* QueueConsumer.QueueConsumer
    const handler = yield* consumer.applying([Orders])
    return yield* timed(consumed(queue.source, QueueConsumer.ChangeMessage, handler, messages))
  })

type Run = Effect.Effect<{ readonly wall: number; readonly cpu: number }, unknown>

const measured = async (runs: ReadonlyArray<readonly [string, Run]>, messages: number) => {
  const best = new Map<string, { wall: number; cpu: number }>()
  for (let round = 0; round <= rounds; round++) {
    for (const [name, run] of runs) {
      const { cpu, wall } = await Effect.runPromise(run)
      const known = best.get(name) ?? { wall: Infinity, cpu: Infinity }
      // The first is for warming up.
      if (round > 0) best.set(name, { wall: Math.min(known.wall, wall), cpu: Math.min(known.cpu, cpu) })
    }
  }
  const base = best.get(runs[0]![0])!
  return runs.map(([name]) => {
    const { cpu, wall } = best.get(name)!
    return {
      name,
      perSecond: messages / wall,
      ratio: wall / base.wall,
      microsecondsOfProcessor: (cpu * 1_000_000) / messages,
      cpuRatio: cpu / base.cpu
    }
  })
}

export const report = async () => {
  const messages = countOf("messages", 10_000)
  const notes: Array<string> = []
  const groups: Array<{ readonly title: string; readonly results: Awaited<ReturnType<typeof measured>> }> = []
  if (redisServer.isInstalled()) {
    const server = await redisServer.make()
    await server.start()
    try {
      const redis = NodeRedis.layer({ url: server.url })
      const runs = [
        ["the client: XREADGROUP, XACK and XDEL of 100", Effect.provide(byHand(messages), redis)],
        ["the client, each acknowledged by itself", Effect.provide(byHand(messages, true), redis)],
        ["QueueConsumer", Effect.provide(inStream(messages), Layer.merge(Layer.fresh(database), redis))]
      ] as const
      groups.push({ title: "A stream of Redis", results: await measured(runs, messages) })
    } finally {
      await server.close()
    }
  } else notes.push("redis-server is not installed: nothing of a stream")
  const runs = [
    ["deliveries, parsed and acknowledged one by one", bySource(messages)],
    ["QueueConsumer", Effect.provide(inMemory(messages), Layer.fresh(database))],
    ["QueueConsumer, changes applied to a resource in memory", Effect.provide(applied(messages), Layer.fresh(database))]
  ] as const
  groups.push({ title: "A queue in memory", results: await measured(runs, messages) })
  return {
    results: { messages, groups },
    tables: groups.map(({ results, title }) => ({
      title: `${title}: ${messages.toLocaleString("en-US")} messages, ${concurrency} at once; the best of ${rounds} rounds`,
      columns: ["", "messages a second", "time to the first", "μs of the processor", "of it, to the first"],
      rows: results.map(({ cpuRatio, microsecondsOfProcessor, name, perSecond, ratio }) => [
        name,
        digits(perSecond),
        `${digits(ratio)}x`,
        digits(microsecondsOfProcessor),
        `${digits(cpuRatio)}x`
      ])
    })),
    notes
  }
}
