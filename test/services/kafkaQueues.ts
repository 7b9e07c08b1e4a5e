/** Tests of topics of Kafka, on the broker that librdkafka has for tests. */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Database } from "effect-s3db/Database"
import * as KafkaQueue from "effect-s3db/plugins/KafkaQueue"
import * as ReplicaQueue from "effect-s3db/plugins/ReplicaQueue"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import { keysOf, memory, openOn } from "../fixture.ts"
import { sourceOf, Things } from "../plugins/replicas.ts"
import * as waiting from "../waiting.ts"
import { describeWithKafka } from "./available.ts"
import * as kafka from "./kafka.ts"

export interface Extent {
  /** Whether the broker stands still under load. */
  readonly isDeep: boolean
}

/** Registers them. */
export const kafkaQueues = ({ isDeep }: Extent): void =>
  describeWithKafka("a topic of Kafka", () => {
    let broker: kafka.Broker
    beforeAll(async () => {
      broker = await kafka.make()
    })
    afterAll(() => broker.close())

    const open = (topic: string, options: Partial<KafkaQueue.Options> = {}) =>
      KafkaQueue.make({ topic, brokers: [broker.address], makeTopic: true, ...options })
    const read = (topic: string) => Effect.promise(() => broker.read(topic))

    it.live("has messages of a key in one partition, in their order, with their ids", () =>
      Effect.gen(function* () {
        const { publish } = yield* open("ordered")
        const messages = Array.from({ length: 200 }, (_, i) => ({
          id: `i${i}`,
          key: `clé ${i % 20}`,
          body: `{"n":"é ${i}"}`
        }))
        yield* publish(messages.slice(0, 150))
        yield* Effect.all([publish(messages.slice(150)), publish([{ body: "without a key" }])])
        const all = yield* read("ordered")
        assert.strictEqual(all.length, 201)
        const partitions = new Map<string, number>()
        for (const [i, { body, id, key }] of messages.entries()) {
          const [found, ...others] = all.filter(({ payload }) => payload === body)
          assert.deepStrictEqual(others, [])
          assert.strictEqual(found?.key, key)
          assert.deepStrictEqual(found?.headers, ["s3db-id", id])
          assert.strictEqual(found?.partition, partitions.get(key) ?? found?.partition, `${i}`)
          partitions.set(key, found!.partition)
        }
        assert.isAbove(new Set(partitions.values()).size, 1)
        for (const key of partitions.keys()) {
          assert.deepStrictEqual(
            all.filter((one) => one.key === key).map(({ payload }) => payload),
            messages.filter((one) => one.key === key).map(({ body }) => body)
          )
        }
        assert.strictEqual(all.find(({ payload }) => payload === "without a key")?.key, null)
      }).pipe(Effect.scoped)
    )

    it.live("is sent no more at once than the broker takes, and refuses what never goes in", () =>
      Effect.gen(function* () {
        const { publish } = yield* open("batches", { maxBatchBytes: 2_048 })
        const body = "x".repeat(500)
        yield* publish(Array.from({ length: 20 }, (_, i) => ({ id: `${i}`, key: "k", body: `${i} ${body}` })))
        assert.deepStrictEqual(
          (yield* read("batches")).map(({ payload }) => parseInt(payload)),
          Array.from({ length: 20 }, (_, i) => i)
        )
        const refused = yield* Effect.flip(publish([{ body: "fine" }, { body: "x".repeat(2_000) }]))
        assert.strictEqual(refused._tag, "MessageRefused")
        assert.strictEqual((yield* read("batches")).length, 20)
      }).pipe(Effect.scoped)
    )

    if (!isDeep) return

    it.live("is out of reach while the broker stands still or is not there, and taken up again", () =>
      Effect.gen(function* () {
        const { publish } = yield* open("still", { timeout: "1 second" })
        const patient = yield* open("still")
        yield* patient.publish([{ id: "a", key: "k", body: "a" }])
        yield* Effect.sync(broker.stop)
        const error = yield* Effect.flip(publish([{ id: "b", key: "k", body: "b" }])).pipe(
          Effect.ensuring(Effect.sync(broker.resume))
        )
        assert.strictEqual(error._tag, "QueueUnavailable")
        yield* patient.publish([{ id: "b", key: "k", body: "b" }])
        const bodies = (yield* read("still")).map(({ payload }) => payload)
        assert.deepStrictEqual([...new Set(bodies)], ["a", "b"])
        const nowhere = yield* KafkaQueue.make({ topic: "t", brokers: ["127.0.0.1:1"], timeout: "10 seconds" })
        assert.strictEqual((yield* Effect.flip(nowhere.publish([{ body: "x" }])))._tag, "QueueUnavailable")
      }).pipe(Effect.scoped)
    )

    it.live(
      "has a replica, each version of a document after the one before, though the broker stands still now and then",
      () =>
        Effect.gen(function* () {
          const store = yield* memory
          const { database } = yield* openOn(store)
          const things = yield* Effect.provideService(Resource.make(Things.definition), Database, database)
          yield* database.journal.run(database.journaled, { firstPause: "20 millis" }).pipe(Effect.forkScoped)
          const publisher = yield* open("things", { timeout: "1 second" })
          const replicator = yield* Replicator.make({
            name: "kafka",
            target: Effect.succeed(ReplicaQueue.publisher(publisher)),
            batchSize: 20,
            firstPause: "20 millis",
            pause: "50 millis",
            longestTargetPause: "200 millis",
            resources: [Replicator.resource(Things)]
          }).pipe(Effect.provideService(Database, database), Effect.provideService(Things, things))
          for (let round = 0; round < 4; round++) {
            if (round % 2 === 1) yield* Effect.sync(broker.stop)
            const ids = Array.from({ length: 30 }, (_, i) => `${(round * 7 + i) % 40}`)
            yield* things.upsertMany(ids.map((id, i) => ({ id, n: round * 100 + i, text: `"${id}"` })))
            yield* things.deleteMany(ids.filter((_, i) => i % 6 === 0))
            yield* Effect.sync(broker.resume)
          }
          yield* waiting.until("all is in the journal", () =>
            Effect.map(keysOf(store, "journal/pending/"), (pending) => pending.length === 0)
          )
          yield* replicator.caughtUp
          assert.deepStrictEqual(yield* Stream.runCollect(replicator.deadLetters), [])
          interface Message {
            readonly id: string
            readonly version: number
            readonly document?: unknown
          }
          const last = new Map<string, Message>()
          const partitions = new Map<string, number>()
          for (const { partition, payload } of yield* read("things")) {
            const message = JSON.parse(payload) as Message
            assert.strictEqual(partition, partitions.get(message.id) ?? partition)
            partitions.set(message.id, partition)
            if ((last.get(message.id)?.version ?? -1) < message.version) last.set(message.id, message)
          }
          const replica = Object.fromEntries(
            [...last.values()]
              .flatMap(({ document, id }) => (document === undefined ? [] : [[id, document] as const]))
              .sort()
          )
          assert.deepStrictEqual(replica, JSON.parse(JSON.stringify(yield* sourceOf(things))))
        }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => broker.resume())))
    )
  })
