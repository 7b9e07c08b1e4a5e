/** The cache on a real Redis: as a tier of two processes, as the way that tells them of writes, and when it dies. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "effect/persistence/Redis"
import * as Schema from "effect/Schema"
import { Database } from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"
import { user, users } from "../plugins/cacheFixture.ts"
import { describeWithRedis } from "./available.ts"
import * as redisServer from "./redis.ts"
import * as waiting from "../waiting.ts"

type Store = ObjectStore["Service"]

describeWithRedis("the cache on Redis", () => {
  let server: redisServer.Redis
  beforeAll(async () => {
    server = await redisServer.make()
    await server.start()
  })
  afterAll(() => server.close())

  const connected = Layer.unwrap(Effect.sync(() => NodeRedis.layer({ url: server.url })))

  /** A process with connections of its own. */
  const open = Effect.fnUntraced(function* (store: Store, options: Cache.Options<Redis> = {}) {
    const counted = InstrumentedStore.make(store)
    const { database, open } = yield* openOn(counted.store)
    const redis = yield* Layer.build(Layer.fresh(connected))
    const cache = yield* Cache.make({ tiers: [Cache.redis()], ...options }).pipe(
      Effect.provideService(Database, database),
      Effect.provideContext(redis)
    )
    const totalOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        yield* counted.counter.reset
        yield* effect
        return Object.values(yield* counted.counter.counts).reduce((sum, one) => sum + one, 0)
      })
    const send = <A>(command: string, ...args: ReadonlyArray<string>) =>
      Effect.flatMap(Redis, (redis) => redis.send<A>(command, ...args)).pipe(Effect.provideContext(redis))
    return { cache, database, open, totalOf, send, users: yield* open("users", users) }
  })

  const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) => waiting.until("it comes to it", () => isSo)

  describe("the cache on Redis", () => {
    it.live("is shared by processes, by resource, short and long", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const a = yield* open(store)
        const b = yield* open(store)
        const long = "x".repeat(5000)
        yield* a.users.insert(user("1"))
        yield* a.users.insert(user("2", { tags: [long, "ü 😀"] }))
        for (const id of ["1", "2"]) yield* a.users.get(id)
        yield* b.users.count()
        for (const id of ["1", "2"]) assert.strictEqual(yield* b.totalOf(b.users.get(id)), 0)
        assert.deepStrictEqual((yield* b.users.get("2")).tags, [long, "ü 😀"])
        const keys = yield* a.send<ReadonlyArray<string>>("KEYS", "*")
        assert.strictEqual(keys.length, 3)
        for (const key of keys) {
          const ttl = Number(yield* a.send<number>("PTTL", key))
          assert.isAbove(ttl, 3_500_000)
          assert.isAtMost(ttl, 3_600_000)
          // Compressed where that is shorter.
          assert.isBelow((yield* a.send<string>("GET", key)).length, 2500)
        }
        const hits = (yield* b.cache.statistics).tiers[0]!
        assert.deepStrictEqual([hits.hits, hits.errors], [3, 0])
        // Others whose names begin alike are left.
        const plain = { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" } as const
        for (const name of ["users_archive", "users[1-9]", "users*"]) {
          const other = yield* a.open(name, plain)
          yield* other.insert({ id: "1" })
          yield* other.get("1")
        }
        yield* a.cache.clear("users")
        assert.strictEqual((yield* a.send<ReadonlyArray<string>>("KEYS", "*")).length, 3)
        yield* a.cache.clear("users*")
        assert.strictEqual((yield* a.send<ReadonlyArray<string>>("KEYS", "*")).length, 2)
        yield* a.cache.clear()
        assert.strictEqual((yield* a.send<ReadonlyArray<string>>("KEYS", "*")).length, 0)
        assert.strictEqual((yield* b.users.get("1")).id, "1")
      })
    )

    it.live("removes thousands of entries", () =>
      Effect.gen(function* () {
        const { cache, send, users } = yield* open(yield* memory)
        yield* send("FLUSHALL")
        yield* users.insert(user("1"))
        yield* users.get("1")
        const [key] = yield* send<ReadonlyArray<string>>("KEYS", "*")
        for (let i = 0; i < 2500; i += 500) {
          yield* send("MSET", ...Array.from({ length: 500 }, (_, j) => [`${key}${i + j}`, "x"]).flat())
        }
        yield* cache.clear("users")
        assert.strictEqual(Number(yield* send<number>("DBSIZE")), 0)
      })
    )

    it.live("takes no part of what it finds that is damaged", () =>
      Effect.gen(function* () {
        const { cache, send, totalOf, users } = yield* open(yield* memory)
        yield* send("FLUSHALL")
        yield* users.insert(user("1"))
        yield* users.get("1")
        const [key = ""] = yield* send<ReadonlyArray<string>>("KEYS", "*")
        const good = yield* send<string>("GET", key)
        for (const bad of ["", "x", good.slice(0, -8), `${good.slice(0, 100)}AAAA${good.slice(104)}`, btoa("x")]) {
          yield* send("SET", key, bad)
          assert.strictEqual(yield* totalOf(users.get("1")), 1)
        }
        yield* send("DEL", key)
        yield* send("LPUSH", key, "x")
        assert.strictEqual((yield* users.get("1")).id, "1")
        assert.isAbove((yield* cache.statistics).tiers[0]!.errors, 2)
      })
    )

    it.live("tells other processes of writes at once", () =>
      Effect.gen(function* () {
        const store = yield* memory
        const options = { tiers: [Cache.memory()], peers: Cache.redisPeers, staleness: "1 hour" } as const
        const a = yield* open(store, options)
        const b = yield* open(store, options)
        const other = yield* open(yield* memory, options)
        yield* a.users.insert(user("1", { age: 0 }))
        // Subscribed, sooner or later.
        yield* until(
          Effect.map(a.send<ReadonlyArray<string | number>>("PUBSUB", "CHANNELS", "*"), ({ length }) => length === 2)
        )
        yield* until(
          Effect.gen(function* () {
            const [channel = ""] = (yield* a.send<ReadonlyArray<string>>("PUBSUB", "CHANNELS", "*")).toSorted()
            const counts = yield* a.send<ReadonlyArray<string | number>>("PUBSUB", "NUMSUB", channel)
            return Number(counts[1]) >= 1
          })
        )
        for (let age = 1; age < 20; age++) {
          yield* b.users.get("1")
          yield* a.users.patch("1", { age })
          yield* until(Effect.map(b.users.get("1"), (found) => found.age === age))
        }
        assert.strictEqual((yield* a.cache.statistics).peerErrors, 0)
        assert.strictEqual((yield* other.cache.statistics).total.hits, 0)
      })
    )

    it.live("is left out while Redis is dead, and is there again when that is", () =>
      Effect.gen(function* () {
        const { cache, send, totalOf, users } = yield* open(yield* memory, {
          tiers: [Cache.redis(), Cache.memory()],
          peers: Cache.redisPeers,
          tierTimeout: "100 millis",
          staleness: "1 hour"
        })
        yield* users.insert(user("1"))
        yield* users.get("1")
        yield* Effect.promise(() => server.stop())
        for (let i = 0; i < 6; i++) assert.strictEqual(yield* totalOf(users.get("1")), 0)
        yield* users.patch("1", { age: 99 })
        assert.strictEqual((yield* users.get("1")).age, 99)
        const [tier] = (yield* cache.statistics).tiers
        assert.isAtLeast(tier!.errors, 3)
        assert.isTrue(tier!.isResting)
        yield* Effect.promise(() => server.start())
        yield* until(
          Effect.map(Effect.exit(Effect.timeout(send("PING"), "1 second")), ({ _tag }) => _tag === "Success")
        )
        yield* until(
          Effect.gen(function* () {
            yield* users.get("1")
            return Number(yield* send<number>("DBSIZE")) > 0
          })
        )
        assert.strictEqual((yield* users.get("1")).age, 99)
      })
    )
  })
})
