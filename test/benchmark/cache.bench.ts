/**
 * What a cached read costs: beside the same read of a store in memory, which has no network to save; beside Redis by itself, on this
 * machine; and beside a store that takes its time, as one on a network does.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as redisServer from "../services/redis.ts"
import type { Case } from "./measure.ts"
import { measure, rounds } from "./measure.ts"

const User = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  email: Schema.String,
  age: Schema.Int,
  active: Schema.Boolean,
  joined: Schema.Date,
  tags: Schema.Array(Schema.String),
  address: Schema.Struct({ city: Schema.String, zip: Schema.String })
})

const user = (i: number) => ({
  id: `user-${i}`,
  name: "José da Silva",
  email: "jose@example.com",
  age: i % 90,
  active: true,
  joined: new Date(1705314600000),
  tags: ["a", "b"],
  address: { city: "São Paulo", zip: "01310-100" }
})

const documents = 200

/** The answer of S3 from the same region, as a rule: in milliseconds. */
const away = 15

const slow = (store: ObjectStore["Service"]): ObjectStore["Service"] => {
  const wait = <A, E>(effect: Effect.Effect<A, E>) => Effect.andThen(Effect.sleep(away), effect)
  return {
    ...store,
    get: (...args) => wait(store.get(...args)),
    head: (key) => wait(store.head(key)),
    list: (request) => wait(store.list(request))
  }
}

const loop = (effect: Effect.Effect<unknown, unknown>) => (times: number) =>
  Effect.runPromise(
    Effect.gen(function* () {
      for (let i = 0; i < times; i++) yield* effect
    })
  )

const open = Effect.fnUntraced(function* <R = never>(
  store: ObjectStore["Service"],
  options: Cache.Options<R> | undefined
) {
  const database = yield* Database.make({ catalogLease: "1 hour" }).pipe(Effect.provideService(ObjectStore, store))
  if (options !== undefined) {
    yield* Cache.make({ staleness: "1 hour", methods: { scan: true }, ...options }).pipe(
      Effect.provideService(Database.Database, database)
    )
  }
  const definition = Resource.define("users", { schema: User, primaryKey: "id", partitions: { byAge: ["age"] } })
  return yield* Effect.provideService(Resource.make(definition), Database.Database, database)
})

const table = async (title: string, cases: ReadonlyArray<Case>, times: number) => {
  const measured = await measure(cases, times)
  const results = measured.map((one) => ({
    ...one,
    ratio: Number((one.microseconds / measured[0]!.microseconds).toPrecision(2))
  }))
  const lines = results.map(
    ({ microseconds, name, ratio }) =>
      `  ${name.padEnd(52)} ${microseconds.toFixed(1).padStart(10)} µs  ${String(ratio).padStart(8)}x`
  )
  return { results: results.map((one) => ({ table: title, ...one })), text: [title, ...lines].join("\n") }
}

const run = Effect.gen(function* () {
  const { store } = yield* MemoryStore.make()
  const plain = yield* open(store, undefined)
  for (let i = 0; i < documents; i++) yield* plain.insert(user(i))
  const inMemory = yield* open(store, {})
  const isThere = redisServer.isInstalled()
  const server = yield* Effect.promise(() => redisServer.make())
  if (isThere) yield* Effect.promise(() => server.start())
  yield* Effect.addFinalizer(() => Effect.promise(() => server.close()))
  const far = slow(store)
  const uncached = yield* open(far, undefined)
  const near = yield* open(far, {})
  const scan = (users: typeof plain) => Stream.runDrain(users.scan())
  const within = (users: typeof plain) => users.count({ partition: "byAge", values: { age: 7 } })
  const pages = (users: typeof plain) => users.list({ limit: 50 })

  const reports = [
    yield* Effect.promise(() =>
      table(
        "one document; the baseline is a get from a store in memory, without a cache",
        [
          { name: "get, no cache", run: loop(plain.get("user-7")) },
          { name: "get, cached in memory", run: loop(inMemory.get("user-7")) }
        ],
        2000
      )
    ),
    yield* Effect.promise(() =>
      table(
        `${documents} documents; the baseline is a scan of a store in memory, without a cache`,
        [
          { name: "scan, no cache", run: loop(scan(plain)) },
          { name: "scan, cached in memory", run: loop(scan(inMemory)) },
          { name: "page of 50, no cache", run: loop(pages(plain)) },
          { name: "page of 50, cached in memory", run: loop(pages(inMemory)) },
          { name: "count in a partition, no cache", run: loop(within(plain)) },
          { name: "count in a partition, cached in memory", run: loop(within(inMemory)) }
        ],
        20
      )
    ),
    yield* Effect.promise(() =>
      table(
        `a store that is ${away} ms away; the baseline is a get without a cache`,
        [
          { name: "get, no cache", run: loop(uncached.get("user-7")) },
          { name: "get, cached in memory", run: loop(near.get("user-7")) },
          { name: "page of 50, no cache", run: loop(pages(uncached)) },
          { name: "page of 50, cached in memory", run: loop(pages(near)) }
        ],
        5
      )
    )
  ]
  if (isThere) {
    const redis = yield* Layer.build(NodeRedis.layer({ url: server.url }))
    const ofRedis = yield* Effect.provideContext(open(far, { tiers: [Cache.redis()] }), redis)
    const { send } = yield* Effect.provideContext(Redis, redis)
    yield* send("SET", "plain", JSON.stringify(user(7)))
    reports.push(
      yield* Effect.promise(() =>
        table(
          "on Redis; the baseline is Redis by itself, GET and JSON.parse of the same document",
          [
            {
              name: "GET and JSON.parse",
              run: loop(Effect.map(send<string>("GET", "plain"), (text) => JSON.parse(text) as unknown))
            },
            { name: "get, cached in Redis", run: loop(ofRedis.get("user-7")) },
            { name: "page of 50, cached in Redis", run: loop(pages(ofRedis)) }
          ],
          200
        )
      )
    )
  }
  return {
    results: reports.flatMap(({ results }) => results),
    text: [`best of ${rounds} rounds`, ...reports.map(({ text }) => text)].join("\n\n")
  }
})

export const report = () => Effect.runPromise(Effect.scoped(run))
