/**
 * A process that keeps the journal of a folder and publishes its changes to a stream of Redis, or a queue of RabbitMQ, or applies what is there to
 * another folder, until it is killed. It tells of each batch, or of each 20 changes, on a line.
 *
 * node replicaQueueProcess.ts <folder> <url of Redis or RabbitMQ> <replicator | consumer>
 */
import { writeSync } from "node:fs"
import { join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Journaler from "effect-s3db/plugins/Journaler"
import type * as MessageQueue from "effect-s3db/plugins/MessageQueue"
import * as QueueConsumer from "effect-s3db/plugins/QueueConsumer"
import * as RabbitQueue from "effect-s3db/plugins/RabbitQueue"
import * as RedisQueue from "effect-s3db/plugins/RedisQueue"
import * as ReplicaQueue from "effect-s3db/plugins/ReplicaQueue"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"

export class Things extends Resource.Service<Things>()("effect-s3db/test/services/replicaQueueProcess/Things", {
  schema: Schema.Struct({
    id: Schema.String,
    n: Schema.Int,
    text: Schema.String,
    sourceVersion: Schema.optionalKey(Schema.Int)
  }),
  primaryKey: "id",
  name: "things",
  journal: { images: "after" }
}) {}

/** Of the copy. */
export class Copied extends Resource.Service<Copied>()("effect-s3db/test/services/replicaQueueProcess/Copied", {
  schema: Things.definition.schema,
  primaryKey: "id",
  name: "things"
}) {}

const storeOn = (folder: string, name: string) => FileStore.layer({ path: join(folder, name), durability: "none" })

export const sourceOn = (folder: string) =>
  Things.layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(storeOn(folder, "source")), Layer.fresh)

export const copyOn = (folder: string) =>
  Copied.layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(storeOn(folder, "copy")), Layer.fresh)

const pauses = { firstPause: "20 millis", longestPause: "200 millis", lease: "3 seconds" } as const

export const queueName = "changes"

/** A queue of RabbitMQ that is there. */
const rabbit = (url: string) =>
  RabbitQueue.make({ name: queueName, url: Redacted.make(url), declare: false, timeout: "5 seconds" })

const stream = RedisQueue.stream({ name: "changes", visibility: "2 seconds", block: "50 millis", timeout: "2 seconds" })

export const replicatorOf = (publisher: ReplicaQueue.Publisher<unknown>, replicates: boolean) =>
  Replicator.make({
    ...pauses,
    name: "feed",
    target: Effect.succeed(ReplicaQueue.publisher(publisher)),
    resources: [Replicator.resource(Things)],
    batchSize: 100,
    pause: "50 millis",
    longestTargetPause: "500 millis",
    replicates
  })

const tell = (line: string) => Effect.sync(() => writeSync(1, `${line}\n`))

const replicating = Effect.fnUntraced(function* ({ publisher }: MessageQueue.MessageQueue) {
  const { events } = yield* replicatorOf(publisher, true)
  yield* Stream.runForEach(events, ({ _tag }) => (_tag === "Replicated" ? tell(_tag) : Effect.void))
})

const consuming = Effect.fnUntraced(function* ({ source }: MessageQueue.MessageQueue) {
  const consumer = yield* QueueConsumer.make()
  const apply = yield* consumer.applying([Copied])
  let applied = 0
  return yield* consumer.consume({
    source,
    payload: QueueConsumer.ChangeMessage,
    concurrency: 16,
    // Who is killed has had its messages delivered.
    maxDeliveries: 1_000,
    retryDelay: () => 50,
    handler: (change, context) =>
      Effect.andThen(
        apply(change, context),
        Effect.suspend(() => ((applied += 1) % 20 === 0 ? tell("Applied") : Effect.void))
      )
  })
})

const [folder, url = "", role = ""] = process.argv.slice(2)

if (folder !== undefined && import.meta.main) {
  const on = <A, E, R>(
    work: (queue: MessageQueue.MessageQueue) => Effect.Effect<A, E, R>
  ): Effect.Effect<void, unknown, R | Scope.Scope> =>
    url.startsWith("amqp:")
      ? Effect.asVoid(Effect.flatMap(rabbit(url), work))
      : Effect.asVoid(Effect.provide(Effect.flatMap(stream, work), NodeRedis.layer({ url })))
  const program: Effect.Effect<void, unknown, Scope.Scope> =
    role === "replicator"
      ? Effect.provide(on(replicating), Journaler.layerWith(pauses).pipe(Layer.provideMerge(sourceOn(folder))))
      : Effect.provide(on(consuming), copyOn(folder))
  await Effect.runPromise(Effect.scoped(program))
}
