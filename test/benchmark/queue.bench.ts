/**
 * Messages through a queue, from the offer to the acknowledgement, in memory, in a folder, and on Ceph's gateway where it answers.
 *
 * The baseline of each store is the least that a queue with an object for each message could do there: PUT, GET and DELETE, by as many
 * fibers as handle messages here, with nothing that keeps two workers apart. BullMQ on a Redis is for orientation: where the package
 * is (`S3DB_BULLMQ`, a folder that has it installed), and a Redis answers (`S3DB_REDIS_PORT`).
 */
import { mkdtempSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { storeAt } from "../plugins/queueStores.ts"
import { gateway } from "../services/available.ts"
import { counting } from "./counting.ts"

interface Result {
  readonly store: string
  readonly name: string
  readonly perSecond: number
  /** To the baseline of the store. */
  readonly ratio: number
  readonly requestsPerMessage: number
}

type Store = ObjectStore["Service"]

const concurrency = 100
const payload = { to: "ada@example.com", text: "x".repeat(120) }
const Payload = Schema.Struct({ to: Schema.String, text: Schema.String })

const each = (count: number, effect: (i: number) => Effect.Effect<unknown, unknown>, fibers = concurrency) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    effect,
    { concurrency: fibers, discard: true }
  )

type Run = (queue: S3Queue.Queue<typeof Payload.Type>, store: Store, count: number) => Effect.Effect<void, unknown>

const body = new TextEncoder().encode(JSON.stringify(payload))

const runs: Readonly<Record<string, Run>> = {
  "baseline: PUT, GET, DELETE of an object each": (_, store, count) =>
    each(count, (i) =>
      Effect.andThen(
        store.put({ key: `raw/${i}`, body, ifNoneMatch: "*" }),
        Effect.andThen(store.get(`raw/${i}`), store.delete(`raw/${i}`))
      )
    ),
  "one by one": (queue, _, count) =>
    each(
      Math.ceil(count / 20),
      () =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* queue.offer(payload)
            const [claimed] = yield* queue.claimNow()
            yield* claimed!.ack
          })
        ),
      1
    ),
  "offered by 100 fibers, handled by a worker of 100": (queue, _, count) =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<void>()
      let handled = 0
      const worker = yield* Effect.forkChild(
        queue.consume(
          () => Effect.suspend(() => ((handled += 1) === count ? Deferred.succeed(done, undefined) : Effect.void)),
          { concurrency }
        )
      )
      yield* each(count, () => queue.offer(payload))
      yield* Deferred.await(done)
      yield* Effect.sync(() => worker.interruptUnsafe())
      while ((yield* queue.status).claimed > 0) yield* Effect.sleep(1)
    }),
  "in batches of 1,000, claimed by 100": (queue, _, count) =>
    Effect.gen(function* () {
      for (let offered = 0; offered < count; offered += 1000) {
        yield* queue.offerAll(Array.from({ length: Math.min(1000, count - offered) }, () => ({ payload })))
      }
      for (;;) {
        const claimed = yield* Effect.scoped(
          Effect.tap(queue.claimNow(100), (all) =>
            Effect.forEach(all, ({ ack }) => ack, { concurrency: "unbounded", discard: true })
          )
        )
        if (claimed.length === 0) return
      }
    })
}

const onStore = Effect.fnUntraced(function* (label: string, count: number) {
  const { counts, store } = counting(yield* ObjectStore)
  const queueOf = (name: string) => S3Queue.make({ name, payload: Payload })
  const results: Array<Result> = []
  const best = new Map<string, { readonly millis: number; readonly requests: number; readonly messages: number }>()
  for (let round = 0; round < 3; round++) {
    for (const [name, run] of Object.entries(runs)) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const queue = yield* queueOf(`q${round}-${name}`)
          const messages = name === "one by one" ? Math.ceil(count / 20) : count
          counts.requests = 0
          const begun = performance.now()
          yield* run(queue, store, count)
          const millis = (performance.now() - begun) / messages
          if (millis < (best.get(name)?.millis ?? Infinity)) {
            best.set(name, { millis, requests: counts.requests / messages, messages })
          }
        })
      ).pipe(
        Effect.provide(Layer.provide(Database.layer, Layer.succeed(ObjectStore, store))),
        Effect.provideService(ObjectStore, store)
      )
    }
  }
  const baseline = [...best.values()][0]!.millis
  for (const [name, { millis, requests }] of best) {
    results.push({
      store: label,
      name,
      perSecond: Math.round(1000 / millis),
      ratio: Number((baseline / millis).toFixed(2)),
      requestsPerMessage: Number(requests.toFixed(3))
    })
  }
  return results
})

interface BullMq {
  readonly Queue: new (
    name: string,
    options: object
  ) => {
    readonly add: (name: string, data: unknown) => Promise<unknown>
    readonly addBulk: (jobs: ReadonlyArray<{ readonly name: string; readonly data: unknown }>) => Promise<unknown>
    readonly close: () => Promise<void>
  }
  readonly Worker: new (
    name: string,
    handler: () => Promise<void>,
    options: object
  ) => { readonly close: () => Promise<void> }
}

const bullMq = async (count: number): Promise<ReadonlyArray<Omit<Result, "ratio">> | string> => {
  const folder = process.env["S3DB_BULLMQ"]
  const port = Number(process.env["S3DB_REDIS_PORT"])
  if (folder === undefined || !Number.isInteger(port)) return "left out: set S3DB_BULLMQ and S3DB_REDIS_PORT"
  const { Queue, Worker } = createRequire(join(folder, "x.js"))("bullmq") as BullMq
  const connection = { host: "127.0.0.1", port }
  const results: Array<Omit<Result, "ratio">> = []
  for (const isBatch of [false, true]) {
    let least = Infinity
    for (let round = 0; round < 3; round++) {
      const name = `bench-${performance.timeOrigin}-${round}-${String(isBatch)}`
      const queue = new Queue(name, { connection, defaultJobOptions: { removeOnComplete: true } })
      let handled = 0
      const begun = performance.now()
      await new Promise<void>((resolve, reject) => {
        const worker = new Worker(
          name,
          () => {
            if (++handled === count) void worker.close().then(resolve)
            return Promise.resolve()
          },
          { connection, concurrency }
        )
        const jobs = Array.from({ length: count }, () => ({ name: "job", data: payload }))
        const add = async () => {
          if (isBatch) {
            for (let i = 0; i < count; i += 1000) await queue.addBulk(jobs.slice(i, i + 1000))
          } else {
            for (let i = 0; i < count; i += concurrency) {
              await Promise.all(jobs.slice(i, i + concurrency).map((job) => queue.add(job.name, job.data)))
            }
          }
        }
        add().catch(reject)
      })
      least = Math.min(least, (performance.now() - begun) / count)
      await queue.close()
    }
    const name = isBatch
      ? "in batches of 1,000, handled by a worker of 100"
      : "offered by 100, handled by a worker of 100"
    results.push({
      store: "BullMQ on Redis",
      name,
      perSecond: Math.round(1000 / least),
      requestsPerMessage: Number.NaN
    })
  }
  return results
}

export const report = async () => {
  const folder = mkdtempSync(join(tmpdir(), "effect-s3db-bench-"))
  const results: Array<Result> = []
  try {
    results.push(...(await Effect.runPromise(Effect.provide(onStore("memory", 4000), MemoryStore.layer))))
    results.push(...(await Effect.runPromise(Effect.provide(onStore("folder", 2000), storeAt(folder)))))
    if (gateway.available) {
      const there = storeAt(`gateway:bench-${performance.timeOrigin}`)
      results.push(...(await Effect.runPromise(Effect.provide(onStore("gateway", 1000), there))))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const others = await bullMq(4000)
  const lines = results.map(
    ({ name, perSecond, ratio, requestsPerMessage, store }) =>
      `  ${store.padEnd(8)} ${name.padEnd(52)} ${String(perSecond).padStart(7)} /s  ${ratio.toFixed(2).padStart(6)}x  ${requestsPerMessage.toFixed(3).padStart(7)} requests`
  )
  const told =
    typeof others === "string"
      ? [`  BullMQ   ${others}`]
      : others.map(({ name, perSecond, store }) => `  ${store}  ${name.padEnd(46)} ${String(perSecond).padStart(7)} /s`)
  if (!gateway.available) told.push("  gateway  left out: it does not answer")
  return { results: [...results, ...(typeof others === "string" ? [] : others)], text: [...lines, ...told].join("\n") }
}
