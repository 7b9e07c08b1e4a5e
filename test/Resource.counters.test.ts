import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { crashing, drive, memory, openNew, openOn } from "./fixture.ts"

const City = Schema.Struct({
  id: Schema.String,
  country: Schema.optionalKey(Schema.String),
  region: Schema.String,
  size: Schema.Int
})

const options = {
  schema: City,
  primaryKey: "id",
  allowDeleteAll: true,
  partitions: { byPlace: ["country", "region"], bySize: ["size"] },
  counters: { partitions: ["byPlace"], shards: 2 }
} as const satisfies Resource.Options<typeof City>

const city = (id: string, country?: string, region = "r", size = 1) =>
  country === undefined ? { id, region, size } : { id, country, region, size }

const hostile = ["P", "PT", "P/T", "../", "", "\u{1f600}", "__proto__", "a=b"]

/** The counter says what a look at every document says. */
const agrees = Effect.fnUntraced(function* (cities: Resource.Repository<typeof City>) {
  assert.strictEqual(yield* cities.estimatedCount(), yield* cities.count())
  for (const country of hostile) {
    const within = { partition: "byPlace", values: { country } }
    assert.strictEqual(yield* cities.estimatedCount(within), yield* cities.count(within), JSON.stringify(country))
  }
  const exact = { partition: "byPlace", values: { country: "PT", region: "r" } }
  assert.strictEqual(yield* cities.estimatedCount(exact), yield* cities.count(exact))
})

describe("maintained counters", () => {
  it.effect("follow every kind of write", () =>
    Effect.gen(function* () {
      const { open, database } = yield* openNew
      const cities = yield* open("cities", options)
      assert.strictEqual(yield* cities.estimatedCount(), 0)
      yield* cities.insertMany(hostile.map((country, i) => city(`c${i}`, country)))
      yield* agrees(cities)
      yield* Effect.flip(cities.insert(city("c0", "PT")))
      yield* cities.update("c0", { country: "PT" })
      yield* cities.patch("c1", { region: "s" })
      yield* cities.update("c2", { country: undefined })
      yield* cities.update("c3", { size: 9 })
      yield* cities.upsert(city("c4", "PT"))
      yield* cities.upsert(city("c9", "PT"))
      yield* cities.replace(city("c5", "PT"))
      yield* cities.replace(city("c10"))
      yield* agrees(cities)
      yield* cities.delete("c0")
      yield* cities.delete("c0")
      yield* cities.delete(yield* cities.getDocument("c1"))
      yield* cities.deleteMany(["c2", "c3", "nothing"])
      yield* Stream.runDrain(cities.writeAll(Stream.make(city("d1", "P"), city("d2", "P")), { mode: "replace" }))
      yield* Stream.runDrain(cities.updateMany({ where: { id: "d1" } }, { country: "a=b" }))
      yield* agrees(cities)
      yield* database.transaction(
        Effect.gen(function* () {
          yield* cities.insert(city("t1", "PT"))
          yield* cities.update("t1", { country: "P" })
          yield* cities.insert(city("t2", "PT"))
          yield* cities.delete("t2")
          yield* cities.delete("d2")
          yield* cities.insert(city("d2", "PT"))
        })
      )
      yield* Effect.ignore(database.transaction(Effect.andThen(cities.insert(city("t3", "PT")), Effect.fail("no"))))
      yield* agrees(cities)
      assert.isAbove(yield* cities.deleteAll, 5)
      yield* agrees(cities)
      assert.strictEqual(yield* cities.estimatedCount(), 0)
    })
  )

  it.live("random writes of several processes at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const processes = yield* Effect.all(
        Array.from({ length: 3 }, () => Effect.flatMap(openOn(store), ({ open }) => open("cities", options)))
      )
      yield* Effect.forEach(
        Array.from({ length: 150 }, (_, i) => i),
        Effect.fnUntraced(function* (i) {
          const cities = processes[i % 3]!
          const id = `c${yield* Random.nextIntBetween(0, 10)}`
          const country = hostile[yield* Random.nextIntBetween(0, hostile.length - 1)]!
          const writes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            cities.insert(city(id, country)),
            cities.upsert(city(id, country)),
            cities.update(id, { country }),
            cities.delete(id),
            cities.replace(city(id, country))
          ]
          yield* Effect.ignore(writes[i % writes.length]!)
        }),
        { concurrency: 8, discard: true }
      )
      yield* agrees(processes[0]!)
    }).pipe(Random.withSeed("counters"))
  )

  it.effect("requests: writes at the same time are counted together, reading takes one GET for each shard", () =>
    Effect.gen(function* () {
      const { counter, store: counted } = InstrumentedStore.make(yield* memory)
      // What is counted takes a while, as over a network, in which what waits for nothing goes on.
      const put: typeof counted.put = (request) =>
        request.key.includes("/counter/") ? Effect.delay(counted.put(request), "10 seconds") : counted.put(request)
      const store = { ...counted, put }
      const { open } = yield* openOn(store)
      const cities = yield* open("cities", { schema: City, primaryKey: "id", counters: { shards: 2 } })
      const requests = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>) {
        yield* counter.reset
        yield* drive(yield* Effect.forkChild(Effect.ignore(effect)))
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, count]) => count > 0))
      })
      assert.deepStrictEqual(yield* requests(cities.insert(city("1"))), { put: 2, get: 1 })
      assert.deepStrictEqual(yield* requests(cities.update("1", { size: 2 })), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* requests(cities.delete("1")), { put: 1, get: 2, delete: 1 })
      const many = yield* requests(cities.insertMany(Array.from({ length: 200 }, (_, i) => city(`m${i}`))))
      // 16 at a time: far fewer than two requests more for each.
      assert.isBelow(many["put"]!, 250)
      assert.deepStrictEqual(yield* requests(cities.estimatedCount()), { get: 2 })
      assert.strictEqual(yield* cities.estimatedCount(), 200)
      const all = Array.from({ length: 200 }, (_, i) => `m${i}`)
      // One by one, as each is to be counted once.
      const gone = yield* requests(cities.deleteMany(all))
      assert.strictEqual(gone["delete"], 200)
      assert.isBelow(gone["put"]!, 50)
      assert.strictEqual(gone["get"]! - gone["put"]!, 200)
      assert.strictEqual(yield* cities.estimatedCount(), 0)
    })
  )

  it.effect("a crash between a write and its counting leaves the count one off, which a recount mends", () =>
    Effect.gen(function* () {
      for (const when of ["before", "after"] as const) {
        for (let at = 1; at <= 6; at++) {
          const store = yield* memory
          const first = yield* Effect.flatMap(openOn(store), ({ open }) => open("cities", options))
          yield* first.insert(city("0", "PT"))
          const database = yield* Effect.map(openOn(store), (opened) => opened.database)
          const crash = crashing(store, at, when)
          const broken = yield* Effect.provideService(
            Resource.make(Resource.define("cities", options)),
            Database.Database,
            { ...database, store: crash.store }
          )
          const exit = yield* Effect.exit(broken.insert(city("1", "PT")))
          assert.isTrue(Exit.isSuccess(exit) || Cause.hasDies(exit.cause))
          const exact = yield* first.count()
          const estimated = yield* first.estimatedCount()
          assert.isAtMost(Math.abs(exact - estimated), 1)
          assert.deepStrictEqual(yield* (yield* first.admin).recount(), { before: estimated, after: exact, unread: 0 })
          yield* agrees(first)
        }
      }
    })
  )

  it.effect("documents that were there before are counted by recount, and so is what a damaged counter held", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { open } = yield* openOn(store)
      const { counters: _, ...uncounted } = options
      const before = yield* open("cities", uncounted)
      yield* before.insertMany([city("1", "PT"), city("2", "PT"), city("3", "P")])
      assert.strictEqual((yield* Effect.flip(before.estimatedCount()))._tag, "NotAllowed")
      assert.strictEqual((yield* Effect.flip((yield* before.admin).recount()))._tag, "NotAllowed")
      const cities = yield* (yield* openOn(store)).open("cities", options)
      assert.deepStrictEqual(yield* (yield* cities.admin).recount(), { before: 0, after: 3, unread: 0 })
      yield* agrees(cities)
      yield* Effect.orDie(
        store.put({ key: "resource=cities/counter/shard=0", body: new TextEncoder().encode("{"), repeatable: true })
      )
      assert.strictEqual((yield* Effect.flip(cities.estimatedCount()))._tag, "DbError")
      assert.deepStrictEqual(yield* (yield* cities.admin).recount(), { before: 0, after: 3, unread: 0 })
      yield* agrees(cities)
      const whole = yield* (yield* openOn(store)).open("cities", { ...uncounted, counters: true })
      assert.strictEqual((yield* (yield* whole.admin).recount()).after, 3)
    })
  )

  it.effect("what cannot be counted is refused, by name", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const cities = yield* open("cities", options)
      const wrong = Effect.fnUntraced(function* (within: object) {
        const error = yield* Effect.flip(cities.estimatedCount(within))
        return error._tag === "InvalidInput" ? error.issues[0]?.path[0] : error._tag
      })
      assert.strictEqual(yield* wrong({ partition: "bySize" }), "partition")
      assert.strictEqual(yield* wrong({ partition: "nope" }), "partition")
      assert.strictEqual(yield* wrong({ values: { country: "PT" } }), "values")
      assert.strictEqual(yield* wrong({ partition: "byPlace", from: "a" }), "from")
      assert.strictEqual(yield* wrong({ partition: "byPlace", values: { region: "r" } }), "country")
      const define = (counters: object) => () => Resource.define("x", { ...options, counters } as never)
      assert.throws(define({ partitions: ["nope"] }), /name "nope", which is no partition/)
      assert.throws(define({ shards: 65 }), /need 1 to 64 shards, not 65/)
      assert.isUndefined(Resource.define("x", { ...options, counters: false }).counters)
    })
  )

  it.effect("interceptors of count take part, and guards decide", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const cities = yield* open("cities", options)
      yield* cities.insertMany([city("1", "PT"), city("2", "P")])
      yield* cities.intercept({
        operations: "count",
        before: ({ input }) => Effect.succeed({ request: { ...input.request, where: { country: "PT" }, scan: true } })
      })
      assert.strictEqual(yield* cities.estimatedCount(), 1)
      yield* cities.intercept(Guard.interceptor({ "*": Guard.allow, count: Guard.deny }))
      assert.strictEqual((yield* Effect.flip(cities.estimatedCount()))._tag, "Rejected")
    })
  )
})
