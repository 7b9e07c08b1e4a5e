/**
 * Reads of a whole resource by documents and by segments: documents per second, and requests, in memory and on Ceph's gateway where it
 * answers. The baseline is the same read by documents in the same run.
 *
 * S3DB_SCAN_DOCUMENTS: how many documents; default 20,000 in memory, 4,000 on the gateway.
 */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Segments from "effect-s3db/plugins/Segments"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as S3HttpStore from "effect-s3db/storage/S3HttpStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import { gateway } from "../services/available.ts"

interface Result {
  readonly store: string
  readonly name: string
  readonly documents: number
  readonly perSecond: number
  /** To the read by documents. */
  readonly ratio: number
  /** Microseconds of the processor for a document, of the thread, in the best round. */
  readonly cpu: number
  /** How many times less that is than by documents. */
  readonly cpuRatio: number
  readonly requests: number
}

class Orders extends Resource.Service<Orders>()("orders", {
  schema: Schema.Struct({
    id: Schema.String,
    country: Schema.String,
    amount: Schema.Number,
    at: Schema.Date,
    note: Schema.String
  }),
  primaryKey: "id",
  partitions: { byCountry: { fields: ["country"], covering: ["amount", "at"] } }
}) {}

const rounds = 3
const concurrency = 64

const words = "the order was paid in time and left the house on the same day by mail to the place that was named".split(
  " "
)

/** About 500 bytes, of words. */
const orderOf = (i: number) => ({
  id: `order-${String(i).padStart(8, "0")}`,
  country: ["DE", "FR", "IT", "ES", "PL"][i % 5] ?? "",
  amount: (i * 7919) % 100_000,
  at: new Date(1_700_000_000_000 + i * 1000),
  note: Array.from({ length: 80 }, (_, k) => words[(i * 31 + k * k * 17) % words.length])
    .join(" ")
    .slice(0, 400)
})

const measured = Effect.fnUntraced(function* (name: string, inner: ObjectStore["Service"], documents: number) {
  const { counter, store } = InstrumentedStore.make(inner)
  const Db = Database.layer.pipe(Layer.provide(Layer.succeed(ObjectStore)(store)))
  const results: Array<Result> = []

  const timed = Effect.fnUntraced(function* <A, E>(read: Effect.Effect<A, E>) {
    let least = Number.POSITIVE_INFINITY
    let leastCpu = Number.POSITIVE_INFINITY
    let requests = 0
    for (let round = 0; round < rounds; round++) {
      yield* counter.reset
      const before = process.threadCpuUsage()
      const start = performance.now()
      yield* read
      least = Math.min(least, performance.now() - start)
      const { system, user } = process.threadCpuUsage(before)
      leastCpu = Math.min(leastCpu, system + user)
      const counts = yield* counter.counts
      requests = Object.values(counts).reduce((sum, count) => sum + count, 0)
    }
    return {
      perSecond: Math.round((documents / least) * 1000),
      cpu: Number((leastCpu / documents).toFixed(2)),
      requests
    }
  })

  yield* Effect.gen(function* () {
    const orders = yield* Orders
    const reads = (maxStaleness?: "1 hour"): Readonly<Record<string, Effect.Effect<unknown, unknown>>> => ({
      scan: Stream.runCount(orders.scan({ concurrency, maxStaleness })),
      aggregate: orders.aggregate(
        { groupBy: ["country"], values: { total: { sum: "amount" }, orders: { count: true } } },
        { scan: true, concurrency, maxStaleness }
      ),
      "a hundredth, by conditions": orders.count({
        where: { amount: { lt: 1000 } },
        scan: true,
        concurrency,
        maxStaleness
      })
    })
    // What a covering partition tells by its keys: all, a part, and groups of them.
    const select = ["id", "amount", "at"] as const
    const told = (allowStale: boolean): Readonly<Record<string, Effect.Effect<unknown, unknown>>> => ({
      "three fields of all": Stream.runCount(orders.queryJson({ select, allowStale, scan: true, concurrency })),
      "three fields of a fifth": Stream.runCount(
        orders.queryJson({ where: { country: "FR" }, select, allowStale, concurrency })
      ),
      "groups of all": orders.aggregate(
        { groupBy: ["country"], values: { total: { sum: "amount" } } },
        { scan: true, allowStale, concurrency }
      )
    })
    for (let i = 0; i < documents; i += 1000) {
      const length = Math.min(1000, documents - i)
      yield* orders.insertMany(
        Array.from({ length }, (_, k) => orderOf(i + k)),
        { concurrency }
      )
    }
    const plain = new Map<string, { readonly perSecond: number; readonly cpu: number }>()
    const compared = Effect.fnUntraced(function* (label: string, way: string, read: Effect.Effect<unknown, unknown>) {
      const found = yield* timed(read)
      const before = plain.get(label) ?? { perSecond: Number.NaN, cpu: Number.NaN }
      const ratio = Number((found.perSecond / before.perSecond).toFixed(1))
      const cpuRatio = Number((before.cpu / found.cpu).toFixed(1))
      results.push({ store: name, name: `${label}, ${way}`, documents, ...found, ratio, cpuRatio })
    })
    for (const [label, read] of Object.entries({ ...reads(), ...told(false) })) {
      const found = yield* timed(read)
      plain.set(label, found)
      results.push({ store: name, name: `${label}, by documents`, documents, ...found, ratio: 1, cpuRatio: 1 })
    }
    for (const [label, read] of Object.entries(told(true))) yield* compared(label, "by keys alone", read)
    yield* Effect.gen(function* () {
      yield* (yield* Segments.Segments).compactNow()
      for (const [label, read] of Object.entries(reads())) yield* compared(label, "by segments", read)
      for (const [label, read] of Object.entries(reads("1 hour")))
        yield* compared(label, "by segments, as they were", read)
    }).pipe(Effect.provide(Segments.layer({ resources: [Orders], compact: false })))
  }).pipe(Effect.provide(Orders.layer.pipe(Layer.provideMerge(Db))))
  return results
})

const onGateway = Effect.gen(function* () {
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const bucket = `scan-${Math.round(performance.timeOrigin)}`
  yield* Effect.promise(() =>
    new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey }
    }).send(new CreateBucketCommand({ Bucket: bucket }))
  )
  const store = yield* S3HttpStore.make({
    bucket,
    endpoint,
    credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
  })
  return Context.get(yield* StandardStore.make(store), ObjectStore)
})

export const report = async () => {
  const given = process.env["S3DB_SCAN_DOCUMENTS"]
  const documentsOn = (otherwise: number) => (given === undefined ? otherwise : Number(given))
  const results = await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make()
        const all = [...(yield* measured("memory", store, documentsOn(20_000)))]
        if (gateway.available) all.push(...(yield* measured("gateway", yield* onGateway, documentsOn(4000))))
        return all
      })
    )
  )
  const lines = results.map(
    ({ cpu, cpuRatio, documents, name, perSecond, ratio, requests, store }) =>
      `  ${store.padEnd(8)} ${name.padEnd(42)} ${String(perSecond).padStart(8)} documents/s ${ratio.toFixed(1).padStart(7)}x  CPU ${cpu.toFixed(2).padStart(7)} us ${cpuRatio.toFixed(1).padStart(6)}x  ${requests} requests for ${documents}`
  )
  if (!gateway.available) lines.push("  gateway  left out: it does not answer")
  return { results, text: lines.join("\n") }
}
