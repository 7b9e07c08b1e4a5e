/** The cache on Ceph's gateway: documents, generations and a tier in buckets. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Database from "effect-s3db/Database"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as PrefixedStore from "effect-s3db/storage/PrefixedStore"
import * as RetryingStore from "effect-s3db/storage/RetryingStore"
import * as S3Store from "effect-s3db/storage/S3Store"
import { user, users } from "../plugins/cacheFixture.ts"
import { describeWithGateway, gateway } from "./available.ts"

describeWithGateway("the cache on Ceph's gateway", () => {
  const bucket = "cache"
  const { accessKeyId, endpoint, secretAccessKey } = gateway
  const credentials = { accessKeyId, secretAccessKey }

  const connect = Effect.gen(function* () {
    yield* Effect.promise(() =>
      new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials }).send(
        new CreateBucketCommand({ Bucket: bucket })
      )
    )
    const store = yield* S3Store.make({
      bucket,
      endpoint,
      credentials: { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
    })
    return RetryingStore.make(PrefixedStore.make(store, `${performance.timeOrigin}`))
  })

  const openProcess = Effect.fnUntraced(function* (store: ObjectStore["Service"], staleness: number) {
    const counted = InstrumentedStore.make(PrefixedStore.make(store, "data"))
    const database = yield* Effect.provideService(Database.make(), ObjectStore, counted.store)
    return yield* Effect.gen(function* () {
      const tiers = [Cache.memory(), Cache.objectStore(PrefixedStore.make(store, "tier"), { sweepInterval: 0 })]
      const cache = yield* Cache.make({ tiers, staleness })
      const opened = yield* Resource.make(Resource.define("users", users))
      const totalOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.gen(function* () {
          yield* counted.counter.reset
          yield* effect
          return Object.values(yield* counted.counter.counts).reduce((sum, one) => sum + one, 0)
        })
      return { cache, totalOf, users: opened }
    }).pipe(Effect.provideService(Database.Database, database))
  })

  describe("the cache on Ceph's gateway", () => {
    it.live("makes no request for what it has, and sees what others write", () =>
      Effect.gen(function* () {
        const store = yield* connect
        const a = yield* openProcess(store, 3_600_000)
        const b = yield* openProcess(store, 0)
        for (const id of ["1", "2", "3"]) yield* a.users.insert(user(id))
        const reads = [a.users.get("1"), a.users.list({ limit: 2 }), a.users.count()]
        for (const read of reads) {
          yield* read
          assert.strictEqual(yield* a.totalOf<unknown, unknown, never>(read), 0)
        }
        // Of the tier in the bucket; 1 GET to see how things stand.
        assert.strictEqual(yield* b.totalOf(b.users.get("1")), 1)
        for (let age = 1; age <= 10; age++) {
          yield* a.users.patch("1", { age })
          assert.strictEqual((yield* a.users.get("1")).age, age)
          assert.strictEqual((yield* b.users.get("1")).age, age)
        }
      })
    )

    it.live("records the writes of several processes at once", () =>
      Effect.gen(function* () {
        const store = yield* connect
        const processes = yield* Effect.forEach([1, 2, 3], () => openProcess(store, 0))
        yield* processes[0]!.users.insert(user("n", { age: 0 }))
        let acknowledged = 0
        const one = Effect.fnUntraced(function* (number: number) {
          const { users } = processes[number]!
          for (let i = 0; i < 10; i++) {
            const { age } = yield* users.update("n", (present) => ({ age: present.age + 1 }), { retries: 100 })
            acknowledged = Math.max(acknowledged, age)
            const least = acknowledged
            assert.isAtLeast((yield* users.get("n")).age, least)
          }
        })
        yield* Effect.forEach([0, 1, 2], one, { concurrency: 3 })
        for (const { cache, users } of processes) {
          assert.strictEqual((yield* users.get("n")).age, 30)
          assert.strictEqual((yield* cache.statistics).generationErrors, 0)
        }
      })
    )
  })
})
