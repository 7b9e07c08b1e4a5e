import { getHeapStatistics } from "node:v8"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Plugin from "effect-s3db/Plugin"
import * as Cache from "effect-s3db/plugins/Cache"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { random } from "../encoding/random.ts"
import { drive, keysOf, memory } from "../fixture.ts"
import { open, User, user } from "./cacheFixture.ts"
import { settled } from "../waiting.ts"

const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) => Effect.map(Stream.runCollect(stream), (all) => [...all])

const withoutCursor = (value: unknown) =>
  typeof value === "object" && value !== null && "cursor" in value ? { ...value, cursor: typeof value.cursor } : value

const spec = { groupBy: ["country" as const], values: { n: { count: true as const } } }

/** What a tier has, by the paths of its keys; it can be out of order. */
const tierOf = (name: string) => {
  const entries = new Map<string, Cache.Entry>()
  const control = { isDown: false, isSilent: false, dies: false, asked: 0 }
  const reach = <A>(effect: Effect.Effect<A>): Effect.Effect<A, Cache.TierFailed> =>
    Effect.suspend((): Effect.Effect<A, Cache.TierFailed> => {
      control.asked += 1
      if (control.dies) return Effect.die(new Error("oops"))
      if (control.isSilent) return Effect.never
      return control.isDown
        ? Effect.fail(new Cache.TierFailed({ tier: name, operation: "any", description: "down" }))
        : effect
    })
  const tier: Cache.Tier = {
    name,
    get: ({ path }) => reach(Effect.sync(() => Option.fromUndefinedOr(entries.get(path)))),
    set: ({ path }, { loadedAt, stamp, text }) =>
      reach(Effect.sync(() => void entries.set(path, { loadedAt, stamp, text }))),
    clear: () => reach(Effect.sync(() => entries.clear())),
    evictions: Effect.succeed(0),
    size: Effect.succeedNone
  }
  return { tier: Cache.fromTier(tier), entries, control }
}

describe("Cache, reads", () => {
  it.effect("makes no request for what it has, whichever way it is read", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* open(store, { methods: { exists: true, scan: true } })
      const { totalOf, users } = one
      for (const id of ["1", "2", "3"]) yield* users.insert(user(id, { age: Number(id) }))
      const { cursor } = yield* users.list({ limit: 1 })
      const reads: Record<string, Effect.Effect<unknown, unknown>> = {
        get: users.get("1"),
        getOption: users.getOption("1"),
        getMany: users.getMany(["1", "2"]),
        getDocument: users.getDocument("1"),
        getJson: users.getJson("1"),
        exists: users.exists("1"),
        absent: users.exists("none"),
        getByUnique: users.getByUnique("name", { name: "user 2" }),
        noneByUnique: Effect.flip(users.getByUnique("name", { name: "nobody" })),
        getFromPartition: users.getFromPartition("1", { partition: "byCountry", values: { country: "BR" } }),
        count: users.count(),
        countWithin: users.count({ partition: "byCountry", values: { country: "BR" } }),
        countWhere: users.count({ where: { country: "BR" } }),
        list: users.list({ limit: 2 }),
        listNext: users.list({ limit: 1, cursor }),
        queryPage: users.queryPage({ where: { country: "BR" }, limit: 2, total: true }),
        listIds: collect(users.listIds()),
        idsWithin: collect(users.listIds({ partition: "byCountry", values: { country: "BR" } })),
        query: collect(users.query({ where: { country: "BR", age: { gte: 2 } }, order: "-age", limit: 2 })),
        queryJson: collect(users.queryJson({ where: { country: "BR" } })),
        scan: collect(users.scan()),
        scanDocuments: collect(users.scanDocuments()),
        aggregate: users.aggregate(spec, { scan: true })
      }
      for (const [name, read] of Object.entries(reads)) {
        const first = yield* Cache.bypass(read)
        yield* read
        const again = yield* one.requests(read)
        assert.strictEqual(again.total, 0, name)
        // Each cursor is another text.
        assert.deepStrictEqual(withoutCursor(again.value), withoutCursor(first), name)
      }
      // What was asked for once is there for others who ask for the same in another way.
      assert.strictEqual(yield* totalOf(users.getDocument("2")), 0)
    })
  )

  it.effect("has every argument in its key", () =>
    Effect.gen(function* () {
      const { users } = yield* open(yield* memory, { methods: { scan: true } })
      for (let i = 0; i < 9; i++) {
        yield* users.insert(user(`${i}`, { age: i, country: i % 3 === 0 ? "PT" : "BR" }))
      }
      const within = (country: string) => ({ partition: "byCountry" as const, values: { country } })
      const size = <A>(all: Stream.Stream<A, unknown>) => Effect.map(collect(all), ({ length }) => length)
      for (let round = 0; round < 2; round++) {
        assert.strictEqual((yield* users.list({ limit: 2 })).items.length, 2)
        const page = yield* users.list({ limit: 5 })
        assert.strictEqual(page.items.length, 5)
        assert.strictEqual((yield* users.list({ limit: 5, cursor: page.cursor })).items.length, 4)
        assert.strictEqual((yield* users.list({ limit: 5, ...within("BR") })).items.length, 5)
        assert.strictEqual((yield* users.list({ limit: 5, ...within("PT") })).items.length, 3)
        assert.strictEqual(yield* users.count(within("BR")), 6)
        assert.strictEqual(yield* users.count(within("PT")), 3)
        assert.strictEqual(yield* users.count({ partition: "byCountry" }), 9)
        assert.strictEqual(yield* users.count(), 9)
        assert.strictEqual(yield* users.count({ where: { country: "BR" } }), 6)
        assert.strictEqual(yield* users.count({ where: { country: { in: ["BR", "PT"] } } }), 9)
        const ages = (request: Parameters<typeof users.query>[0]) =>
          Effect.map(collect(users.query(request)), (all) => all.map(({ age }) => age))
        assert.deepStrictEqual(yield* ages({ where: { country: "PT" }, order: "age", limit: 9 }), [0, 3, 6])
        assert.deepStrictEqual(yield* ages({ where: { country: "PT" }, order: "-age", limit: 9 }), [6, 3, 0])
        assert.deepStrictEqual(yield* ages({ where: { country: "PT" }, order: "-age", limit: 1 }), [6])
        const between = { partition: "byCountryAge" as const, values: { country: "BR" } }
        assert.deepStrictEqual(yield* ages({ ...between, from: 2, to: 5 }), [2, 4, 5])
        assert.deepStrictEqual(yield* ages({ ...between, from: 2, to: 4 }), [2, 4])
        assert.strictEqual(yield* size(users.scan()), 9)
        assert.strictEqual(yield* size(users.scan(within("BR"))), 6)
        // Whether everything may be read is part of what is asked.
        const refused = yield* Effect.flip(collect(users.query({ where: { age: { gte: 0 } } })))
        assert.strictEqual(refused._tag, "NotAllowed")
        assert.strictEqual(yield* size(users.query({ where: { age: { gte: 0 } }, scan: true })), 9)
        assert.strictEqual((yield* users.aggregate(spec, { scan: true })).length, 2)
        assert.strictEqual((yield* users.aggregate({ values: spec.values }, { scan: true })).length, 1)
      }
    })
  )

  it.effect("does the same for equal requests, however they are written", () =>
    Effect.gen(function* () {
      const { totalOf, users } = yield* open(yield* memory)
      yield* users.insert(user("1"))
      yield* collect(users.query({ where: { country: "BR", age: 30 }, concurrency: 2 }))
      assert.strictEqual(yield* totalOf(collect(users.query({ where: { age: 30, country: "BR" } }))), 0)
      yield* users.count({ partition: "byCountryAge", values: { country: "BR", age: 30 } })
      const same = users.count({ partition: "byCountryAge", values: { age: 30, country: "BR" } })
      assert.strictEqual(yield* totalOf(same), 0)
    })
  )

  it.effect("gives each reader values of his own, which can be written", () =>
    Effect.gen(function* () {
      const { users } = yield* open(yield* memory, { methods: { scan: true } })
      yield* users.insert(user("1"))
      const read = Effect.gen(function* () {
        const value = yield* users.get("1")
        const document = yield* users.getDocument("1")
        const [found] = yield* collect(users.scan())
        const [listed] = (yield* users.list()).items
        const [group] = yield* users.aggregate(spec, { scan: true })
        return { value, document, found: found!, listed: listed!, group: group! }
      })
      for (let round = 0; round < 3; round++) {
        const { document, found, group, listed, value } = yield* read
        for (const one of [value, document.value, found, listed]) {
          assert.deepStrictEqual(one, user("1"))
          one.tags.push("changed by the caller")
          Object.assign(one, { name: "changed by the caller" })
        }
        assert.deepStrictEqual(group.key, ["BR"])
        Object.assign(group.values, { n: 99 })
      }
      // An envelope out of the cache is one that a write can be conditional on.
      const document = yield* users.getDocument("1")
      assert.strictEqual((yield* users.update(document, { age: 31 })).age, 31)
      const again = yield* Effect.flip(users.update(document, { age: 32 }))
      assert.strictEqual(again._tag, "Conflict")
      assert.strictEqual((yield* users.documentOf(yield* users.get("1"))).version, 2)
    })
  )

  it.effect("loads once what many ask for at the same time", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const gate = yield* Deferred.make<void>()
      let gets = 0
      const store: typeof inner = {
        ...inner,
        get: (key, options) =>
          key.endsWith("id=1")
            ? Effect.andThen(
                Effect.sync(() => (gets += 1)),
                Effect.andThen(Deferred.await(gate), inner.get(key, options))
              )
            : inner.get(key, options)
      }
      const { cache, users } = yield* open(store)
      yield* users.insert(user("1"))
      const readers = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.forkChild(users.get("1")))
      const leaving = yield* Effect.forkChild(users.get("1"))
      yield* settled
      // Who asked first does not wait any more: the others do.
      yield* Fiber.interrupt(readers[0]!)
      yield* Fiber.interrupt(leaving)
      yield* Deferred.succeed(gate, undefined)
      const values = yield* Effect.forEach(readers.slice(1), (reader) => Fiber.join(reader))
      assert.strictEqual(gets, 1)
      assert.isTrue(values.every((value) => value.name === "user 1"))
      assert.strictEqual(new Set(values).size, values.length)
      assert.isAtLeast((yield* cache.statistics).total.shared, 19)
    })
  )

  it.effect("stops a load that nobody waits for any more", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let stopped = 0
      const store: typeof inner = {
        ...inner,
        get: (key, options) =>
          key.endsWith("id=1")
            ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => (stopped += 1)))
            : inner.get(key, options)
      }
      const { users } = yield* open(store)
      const readers = yield* Effect.forEach([1, 2], () => Effect.forkChild(users.get("1")))
      yield* settled
      yield* Effect.forEach(readers, Fiber.interrupt)
      assert.strictEqual(stopped, 1)
    })
  )

  it.effect("keeps no errors, and no document that is not there", () =>
    Effect.gen(function* () {
      const { users } = yield* open(yield* memory)
      assert.strictEqual((yield* Effect.flip(users.get("1")))._tag, "NotFound")
      assert.isTrue(Option.isNone(yield* users.getOption("1")))
      yield* users.insert(user("1"))
      assert.strictEqual((yield* users.get("1")).id, "1")
      assert.strictEqual((yield* Effect.flip(users.getByUnique("name", { name: "x" })))._tag, "NotFound")
      yield* users.insert(user("2", { name: "x" }))
      assert.strictEqual((yield* users.getByUnique("name", { name: "x" })).id, "2")
      const wrong = yield* Effect.flip(users.count({ partition: "none" as "byCountry" }))
      assert.strictEqual(wrong._tag, "InvalidInput")
      assert.strictEqual((yield* Effect.flip(users.get(7 as unknown as string)))._tag, "NotFound")
    })
  )

  it.effect("takes hostile ids for what they are", () =>
    Effect.gen(function* () {
      const { totalOf, users } = yield* open(yield* memory)
      const ids = ["a/b", "a:b", "../x", "__proto__", "constructor", "ü 😀", "a=b&c", "*?[x]", `"],"get","`]
      for (const id of ids) yield* users.insert(user(id, { name: `of ${id}` }))
      for (const id of ids) assert.strictEqual((yield* users.get(id)).name, `of ${id}`)
      for (const id of ids) assert.strictEqual(yield* totalOf(users.get(id)), 0)
      yield* users.patch("__proto__", { age: 1 })
      assert.strictEqual((yield* users.get("__proto__")).age, 1)
    })
  )

  it.effect("keeps nothing that is larger than it may be, and all of what fits", () =>
    Effect.gen(function* () {
      const {
        cache,
        open: openHere,
        totalOf
      } = yield* open(yield* memory, {
        methods: { scan: { maxItems: 1200 }, listIds: true, get: { maxBytes: 400 }, page: { maxBytes: 1000 } }
      })
      const users = yield* openHere("people", { schema: User, primaryKey: "id" })
      yield* users.insertMany(
        Array.from({ length: 1200 }, (_, i) => user(`${i}`, { tags: [] })),
        { concurrency: 100 }
      )
      assert.strictEqual((yield* collect(users.scan({ concurrency: 200 }))).length, 1200)
      assert.strictEqual(yield* totalOf(collect(users.scan())), 0)
      assert.strictEqual((yield* collect(users.scan())).length, 1200)
      assert.strictEqual((yield* collect(users.listIds())).length, 1200)
      assert.strictEqual(yield* totalOf(users.listIds().pipe(Stream.runCollect)), 2)
      assert.strictEqual(yield* users.count(), 1200)
      assert.strictEqual(yield* totalOf(users.count()), 0)
      yield* users.list()
      assert.isAbove(yield* totalOf(users.list()), 100)
      yield* users.patch("1", { name: "x".repeat(500) })
      yield* users.get("1")
      assert.strictEqual(yield* totalOf(users.get("1")), 1)
      const { reads } = yield* cache.statistics
      assert.strictEqual(reads.get("people")!.get("listIds")!.oversized, 2)
      assert.strictEqual(reads.get("people")!.get("page")!.oversized, 2)
    })
  )

  it.effect("keeps no stream that was not drawn to its end", () =>
    Effect.gen(function* () {
      const { users } = yield* open(yield* memory, { methods: { scan: true } })
      for (const id of ["1", "2", "3"]) yield* users.insert(user(id))
      assert.strictEqual((yield* collect(Stream.take(users.scan(), 1))).length, 1)
      assert.strictEqual((yield* collect(users.scan())).length, 3)
      assert.strictEqual((yield* collect(users.scan())).length, 3)
    })
  )

  it.effect("goes by when something is asked for, where it is told to keep it later", () =>
    Effect.gen(function* () {
      const { totalOf, users } = yield* open(yield* memory, { methods: { get: { storeFrom: 3 }, count: false } })
      yield* users.insert(user("1"))
      const requests = []
      for (let i = 0; i < 5; i++) requests.push(yield* totalOf(users.get("1")))
      assert.deepStrictEqual(requests, [1, 1, 1, 0, 0])
      yield* users.count()
      assert.strictEqual(yield* totalOf(users.count()), 1)
    })
  )

  it.effect("leaves a read alone that says so, and loads anew where it is asked to", () =>
    Effect.gen(function* () {
      const { tier, entries } = tierOf("poisoned")
      const { totalOf, users } = yield* open(yield* memory, { tiers: [tier] })
      yield* users.insert(user("1"))
      yield* users.get("1")
      for (const [path, entry] of entries) entries.set(path, { ...entry, text: entry.text.replace("user 1", "poison") })
      assert.strictEqual((yield* users.get("1")).name, "poison")
      assert.strictEqual((yield* Cache.bypass(users.get("1"))).name, "user 1")
      assert.strictEqual((yield* users.get("1")).name, "poison")
      assert.strictEqual((yield* Cache.refresh(users.get("1"))).name, "user 1")
      assert.strictEqual((yield* users.get("1")).name, "user 1")
      assert.strictEqual(yield* totalOf(Cache.bypass(users.get("1"))), 1)
      // What was damaged is none.
      for (const text of ["", "{", "[]", "[1,2]", JSON.stringify(["1", "e", 1, {}, "{}"])]) {
        for (const [path, entry] of entries) entries.set(path, { ...entry, text })
        assert.strictEqual((yield* users.get("1")).name, "user 1")
      }
      yield* users.count()
      yield* users.list()
      yield* collect(users.listIds())
      yield* users.aggregate(spec, { scan: true })
      yield* Effect.ignore(users.getByUnique("name", { name: "nobody" }))
      for (const text of ["{", "[7]", '"x"', "true"]) {
        for (const [path, entry] of entries) entries.set(path, { ...entry, text })
        assert.strictEqual(yield* users.count(), 1)
        assert.strictEqual((yield* users.list()).items.length, 1)
        assert.deepStrictEqual(yield* collect(users.listIds()), ["1"])
        assert.strictEqual((yield* users.aggregate(spec, { scan: true })).length, 1)
      }
    })
  )
})

describe("Cache, writes", () => {
  it.effect("counts every way to write", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, users } = yield* open(store, { methods: { exists: true, scan: true } })
      yield* users.insert(user("0"))
      const look = Effect.gen(function* () {
        const [scan, ids, page, json, groups] = yield* Effect.all([
          collect(users.scanDocuments()),
          collect(users.listIds()),
          users.list({ limit: 1000 }),
          collect(users.queryJson({ where: { country: "BR" } })),
          users.aggregate({ values: { sum: { sum: "age" } } }, { scan: true })
        ])
        const one = yield* Effect.option(users.getDocument("1"))
        return {
          scan,
          ids,
          page,
          json,
          groups,
          one,
          exists: yield* users.exists("1"),
          count: yield* users.count(),
          within: yield* users.count({ partition: "byCountry", values: { country: "BR" } }),
          byName: yield* Effect.option(users.getByUnique("name", { name: "user 1" })),
          at: yield* Effect.option(users.getFromPartition("1", { partition: "byCountry", values: { country: "BR" } })),
          content: Option.map(one, ({ content }) => content?.size)
        }
      })
      const admin = yield* users.admin
      const writes: Record<string, Effect.Effect<unknown, unknown>> = {
        insert: users.insert(user("1")),
        insertMany: users.insertMany([user("2"), user("3")]),
        update: users.update("1", { age: 31 }),
        "update by function": users.update("1", ({ age }) => ({ age: age + 1 })),
        patch: users.patch("1", { age: 33 }),
        patchJson: users.patchJson("1", { age: 34 }),
        updateJson: users.updateJson("1", { age: 35 }),
        replace: users.replace(user("1", { age: 36, country: "PT" })),
        replaceJson: users.replaceJson(user("1", { age: 37 })),
        upsert: users.upsert(user("1", { age: 38 })),
        "upsert of a new one": users.upsert(user("4")),
        upsertMany: users.upsertMany([user("1", { age: 39 }), user("5")]),
        writeAll: Stream.runDrain(users.writeAll(Stream.make(user("1", { age: 40 })), { mode: "replace" })),
        updateMany: Stream.runDrain(users.updateMany({ scan: true }, ({ age }) => ({ age: age + 1 }))),
        setContent: users.setContent("1", new Uint8Array([1, 2, 3])),
        deleteContent: users.deleteContent("1"),
        restore: users.restore("1", { version: 1 }),
        transaction: database.transaction(
          Effect.gen(function* () {
            yield* users.update("1", { age: 50, country: "PT" })
            yield* users.insert(user("6"))
            yield* users.delete("5")
          })
        ),
        "transaction of one": database.transaction(users.update("1", { age: 51, country: "BR" })),
        "transaction within another": database.transaction(
          Effect.gen(function* () {
            yield* database.transaction(users.update("1", { age: 52 }))
            yield* Effect.ignore(database.transaction(Effect.andThen(users.delete("1"), Effect.fail("no"))))
            yield* users.update("2", { age: 52 })
          })
        ),
        delete: users.delete("1"),
        "insert again": users.insert(user("1")),
        deleteMany: users.deleteMany(["1", "2"]),
        discard: Effect.andThen(
          store.put({ key: "resource=users/data/id=3", body: new Uint8Array([1]) }),
          admin.discard("3")
        ),
        deleteAll: users.deleteAll
      }
      let before = yield* look
      for (const [name, write] of Object.entries(writes)) {
        yield* write
        const after = yield* Cache.bypass(look)
        assert.deepStrictEqual(yield* look, after, name)
        assert.notDeepEqual(after, before, name)
        before = after
      }
    })
  )

  it.effect("says one request for each write that is recorded, and one for all at the same time", () =>
    Effect.gen(function* () {
      const { database, requests, users } = yield* open(yield* memory)
      const plain = yield* open(yield* memory, { resources: [] })
      yield* users.insert(user("first"))
      yield* plain.users.insert(user("first"))
      const writes: ReadonlyArray<(one: typeof users) => Effect.Effect<unknown, unknown>> = [
        (one) => one.insert(user("1")),
        (one) => one.update("1", { age: 31 }),
        (one) => one.replace(user("1", { age: 32 })),
        (one) => one.delete("1"),
        (one) => one.setContent("first", new Uint8Array([1]))
      ]
      for (const write of writes) {
        const without = yield* plain.requests(write(plain.users))
        const cached = yield* requests(write(users))
        assert.deepStrictEqual(cached.counts, { ...without.counts, put: without.counts.put + 1 })
      }
      const many = (one: typeof users) =>
        one.insertMany(
          Array.from({ length: 100 }, (_, i) => user(`m${i}`)),
          { concurrency: 25 }
        )
      const without = yield* plain.requests(many(plain.users))
      const cached = yield* requests(many(users))
      assert.isAtMost(cached.total - without.total, 20)
      const all = Effect.forEach(Array.from({ length: 20 }), (_, i) => users.insert(user(`t${i}`)))
      const alone = Effect.forEach(Array.from({ length: 20 }), (_, i) => plain.users.insert(user(`t${i}`)))
      const transaction = yield* requests(database.transaction(all))
      const uncached = yield* plain.requests(plain.database.transaction(alone))
      assert.strictEqual(transaction.total, uncached.total + 1)
      // What was refused is no write.
      const refused = yield* requests(Effect.flip(users.insert(user("t1"))))
      const plainly = yield* plain.requests(Effect.flip(plain.users.insert(user("t1"))))
      assert.deepStrictEqual(refused.counts, plainly.counts)
      assert.strictEqual((yield* requests(users.count())).counts.put, 0)
    })
  )

  it.effect("leaves what a write has nothing to do with", () =>
    Effect.gen(function* () {
      const { totalOf, users } = yield* open(yield* memory)
      const within = (country: string) => users.count({ partition: "byCountry", values: { country } })
      const aged = (country: string, age: number) =>
        users.count({ partition: "byCountryAge", values: { country, age } })
      yield* users.insert(user("1"))
      yield* users.insert(user("2", { country: "PT" }))
      const warm = Effect.all([
        users.get("1"),
        users.get("2"),
        within("BR"),
        within("PT"),
        aged("BR", 30),
        aged("PT", 30)
      ])
      yield* warm
      yield* users.patch("2", { age: 40 })
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      assert.strictEqual(yield* totalOf(within("BR")), 0)
      assert.strictEqual(yield* totalOf(aged("BR", 30)), 0)
      assert.isAbove(yield* totalOf(users.get("2")), 0)
      assert.isAbove(yield* totalOf(within("PT")), 0)
      assert.strictEqual(yield* aged("PT", 30), 0)
      yield* warm
      // From one value to another: both have changed.
      yield* users.patch("2", { country: "BR" })
      assert.deepStrictEqual(
        yield* Effect.all([within("BR"), within("PT"), aged("BR", 30), aged("BR", 40)]),
        [2, 0, 1, 1]
      )
    })
  )

  it.effect("is neither read nor filled within a transaction", () =>
    Effect.gen(function* () {
      const { database, totalOf, users } = yield* open(yield* memory)
      yield* users.insert(user("1"))
      yield* users.get("1")
      yield* users.count()
      const inside = yield* database.transaction(
        Effect.gen(function* () {
          assert.isAbove(yield* totalOf(users.get("1")), 0)
          yield* users.update("1", { age: 77 })
          const age = (yield* users.get("1")).age
          // Others see what was before.
          assert.strictEqual((yield* Effect.promise(() => Effect.runPromise(users.get("1")))).age, 30)
          return age
        })
      )
      assert.strictEqual(inside, 77)
      assert.strictEqual((yield* users.get("1")).age, 77)
      const failed = yield* Effect.flip(
        database.transaction(Effect.andThen(users.update("1", { age: 99 }), Effect.fail("no")))
      )
      assert.strictEqual(failed, "no")
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      assert.strictEqual((yield* users.get("1")).age, 77)
    })
  )
})

describe("Cache, who may see what", () => {
  const rules: Guard.Rules<{ readonly name: string }> = {
    "*": Guard.allow,
    get: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name")),
    exists: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name")),
    list: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name")),
    query: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name")),
    listIds: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name")),
    count: Guard.any(Guard.roles(["admin"]), Guard.owner<{ readonly name: string }>("name"))
  }
  const Owned = Schema.Struct({ id: Schema.String, name: Schema.String })
  class Notes extends Resource.Service<Notes>()("app/notes", { schema: Owned, primaryKey: "id" }) {}

  it.effect("never serves to one user what another may see", () =>
    Effect.gen(function* () {
      const one = yield* open(yield* memory, { methods: { exists: true, scan: true } })
      const GuardedNotes = Resource.guard(Notes, rules).pipe(
        Layer.provide(Layer.succeed(Database.Database, one.database))
      )
      const as = <A, E, R>(user: CurrentUser.User | undefined, effect: Effect.Effect<A, E, R>) =>
        Effect.provideService(effect, CurrentUser.CurrentUser, user)
      yield* Effect.gen(function* () {
        const notes = yield* Notes
        for (const [id, name] of [
          ["1", "ana"],
          ["2", "ana"],
          ["3", "bob"]
        ] as const) {
          yield* notes.insert({ id, name })
        }
        const ana = CurrentUser.make("ana")
        const bob = CurrentUser.make("bob")
        const admin = CurrentUser.make("eve", { roles: ["admin"] })
        const seen = Effect.gen(function* () {
          const get = yield* Effect.forEach(["1", "2", "3"], (id) => Effect.result(notes.get(id)))
          const exists = yield* Effect.forEach(["1", "2", "3"], (id) => Effect.result(notes.exists(id)))
          return {
            get: get.map(Result.isSuccess),
            exists: exists.map(Result.isSuccess),
            count: yield* notes.count(),
            list: (yield* notes.list()).items.map(({ id }) => id),
            ids: yield* collect(notes.listIds()),
            query: (yield* collect(notes.query({ where: { name: { startsWith: "" } }, scan: true }))).length,
            sum: (yield* notes.aggregate({ values: { n: { count: true } } }, { scan: true }))[0]?.values["n"] ?? 0
          }
        })
        const all = { get: [true, true, true], exists: [true, true, true], count: 3, query: 3, sum: 3 }
        for (let round = 0; round < 2; round++) {
          assert.deepStrictEqual(yield* as(admin, seen), { ...all, list: ["1", "2", "3"], ids: ["1", "2", "3"] })
          assert.deepStrictEqual(yield* as(ana, seen), {
            get: [true, true, false],
            exists: [true, true, false],
            count: 2,
            list: ["1", "2"],
            ids: ["1", "2"],
            query: 2,
            sum: 2
          })
          assert.deepStrictEqual((yield* as(bob, seen)).list, ["3"])
          assert.deepStrictEqual((yield* as(undefined, seen)).ids, [])
        }
        // The rights are looked at each time, the document is not read for that.
        assert.strictEqual(yield* one.totalOf(as(ana, notes.get("1"))), 0)
        const refused = yield* one.requests(Effect.flip(as(bob, notes.get("1"))))
        assert.strictEqual(refused.total, 0)
        assert.strictEqual(refused.value._tag, "Rejected")
      }).pipe(Effect.provide(GuardedNotes))
    })
  )

  it.effect("shows what interceptors make of a document, and keeps what it was", () =>
    Effect.gen(function* () {
      const { totalOf, users } = yield* open(yield* memory)
      yield* users.insert(user("1"))
      let times = 0
      yield* users.intercept({
        operations: ["get"],
        after: (_, document) =>
          Effect.sync(() => ({ ...document, value: { ...document.value, name: `seen ${(times += 1)}` } }))
      })
      assert.strictEqual((yield* users.get("1")).name, "seen 1")
      assert.strictEqual((yield* users.get("1")).name, "seen 2")
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      // An earlier version is not the present one.
      yield* users.patch("1", { age: 31 })
      yield* users.get("1")
      assert.strictEqual((yield* users.getAt("1", { version: 1 })).value.age, 30)
      assert.strictEqual((yield* users.get("1")).age, 31)
    })
  )

  it.effect("has no secret in any tier", () =>
    Effect.gen(function* () {
      const { tier, entries } = tierOf("seen")
      const one = yield* open(yield* memory, { tiers: [tier], methods: { scan: true, exists: true } })
      const ring = KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(7)) } })
      yield* Effect.gen(function* () {
        const secret = "correct-horse-battery-staple"
        const accounts = yield* one.open("accounts", {
          schema: Schema.Struct({ id: Schema.String, name: Schema.String, token: Attribute.SecretText }),
          primaryKey: "id",
          unique: { token: { fields: ["token"], blind: true }, name: ["name"] }
        })
        yield* accounts.insert({ id: "1", name: "ana", token: Redacted.make(secret) })
        const reads = Effect.gen(function* () {
          assert.strictEqual(Redacted.value((yield* accounts.get("1")).token), secret)
          const found = yield* accounts.getByUnique("token", { token: Redacted.make(secret) })
          assert.strictEqual(Redacted.value(found.token), secret)
          yield* accounts.list()
          yield* collect(accounts.scan())
          yield* collect(accounts.queryJson({ scan: true, where: { name: "ana" } }))
          yield* accounts.getJson("1")
        }).pipe(Effect.catchTag("InvalidInput", Effect.die))
        yield* reads
        yield* reads
        assert.isAbove(entries.size, 3)
        for (const [path, { text }] of entries) {
          assert.notInclude(path + text, secret)
          assert.notInclude(path, "ana")
        }
      }).pipe(Effect.provide(ring))
    })
  )
})

describe("Cache, tiers", () => {
  it.effect("looks in one tier after the other as time passes, and puts what it finds in those before", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const far = yield* memory
      const tiers = [
        Cache.memory({ name: "L1", timeToLive: "100 millis" }),
        Cache.memory({ name: "L2", timeToLive: "200 millis" }),
        Cache.objectStore(far, { name: "L3", timeToLive: "500 millis", sweepInterval: 0 })
      ]
      const { cache, totalOf, users } = yield* open(inner, { tiers, staleness: "1 hour", promote: false })
      yield* users.insert(user("1"))
      const hits = Effect.map(cache.statistics, (all) => all.tiers.map(({ hits }) => hits))
      yield* users.get("1")
      yield* users.get("1")
      assert.deepStrictEqual(yield* hits, [1, 0, 0])
      yield* TestClock.adjust("150 millis")
      yield* users.get("1")
      assert.deepStrictEqual(yield* hits, [1, 1, 0])
      yield* TestClock.adjust("150 millis")
      yield* users.get("1")
      assert.deepStrictEqual(yield* hits, [1, 1, 1])
      yield* TestClock.adjust("250 millis")
      assert.strictEqual(yield* totalOf(users.get("1")), 1)
      assert.deepStrictEqual(yield* hits, [1, 1, 1])
    })
  )

  it.effect("promotes, and never makes anything live longer by that", () =>
    Effect.gen(function* () {
      const far = tierOf("far")
      const tiers = [Cache.memory({ name: "L1" }), Cache.memory({ name: "L2" }), far.tier]
      const store = yield* memory
      const first = yield* open(store, { tiers, timeToLive: "10 minutes", staleness: 0 })
      yield* first.users.insert(user("1"))
      yield* first.users.get("1")
      const second = yield* open(store, { tiers, timeToLive: "10 minutes", staleness: 0 })
      const counts = Effect.map(second.cache.statistics, (all) => all.tiers.map(({ fills, hits }) => [hits, fills]))
      // Another process finds it where both look.
      assert.strictEqual(yield* second.totalOf(second.users.get("1")), 1)
      assert.deepStrictEqual(yield* counts, [
        [0, 1],
        [0, 1],
        [1, 0]
      ])
      yield* second.users.get("1")
      assert.deepStrictEqual((yield* counts)[0], [1, 1])
      yield* TestClock.adjust("9 minutes")
      yield* second.users.get("1")
      yield* TestClock.adjust("61 seconds")
      assert.strictEqual((yield* second.requests(second.users.get("1"))).counts.get, 2)
    })
  )

  it.effect("evicts what was not used for longest, by bytes and by number", () =>
    Effect.gen(function* () {
      const { cache, totalOf, users } = yield* open(yield* memory, {
        tiers: [Cache.memory({ maxEntries: 2 })]
      })
      for (const id of ["1", "2", "3"]) yield* users.insert(user(id))
      yield* users.get("1")
      yield* users.get("2")
      yield* users.get("1")
      yield* users.get("3")
      assert.deepStrictEqual(yield* Effect.forEach(["1", "3", "2"], (id) => totalOf(users.get(id))), [0, 0, 1])
      const [tier] = (yield* cache.statistics).tiers
      assert.strictEqual(tier!.evictions, 2)
      const size = Option.getOrThrow(tier!.size)
      assert.strictEqual(size.entries, 2)
      assert.isAbove(size.bytes, 500)
      yield* cache.clear()
      assert.deepStrictEqual((yield* cache.statistics).tiers[0]!.size, Option.some({ entries: 0, bytes: 0 }))

      const small = yield* open(yield* memory, { tiers: [Cache.memory({ maxBytes: 2000, eviction: "fifo" })] })
      for (let i = 0; i < 10; i++) yield* small.users.insert(user(`${i}`))
      for (let i = 0; i < 10; i++) yield* small.users.get(`${i}`)
      const kept = (yield* small.cache.statistics).tiers[0]!
      assert.isAtMost(Option.getOrThrow(kept.size).bytes, 2000)
      assert.isAbove(kept.evictions, 3)
      // Text that is compressed by little.
      const r = random(1)
      const noise = Array.from({ length: 3000 }, () => String.fromCharCode(0x21 + r.int(94))).join("")
      yield* small.users.insert(user("large", { tags: [noise] }))
      yield* small.users.get("large")
      assert.strictEqual(yield* small.totalOf(small.users.get("large")), 1)
    })
  )

  it.effect("is degraded while a resource that it is to cache is none, and names the nearest", () =>
    Effect.gen(function* () {
      const one = yield* open(yield* memory, { resources: ["users", "order"] })
      const health = Effect.map(
        Effect.provideService(Plugin.statuses, Database.Database, one.database),
        ([status]) => status?.health
      )
      const detail = 'resources: there is none that is called "order"'
      assert.deepStrictEqual(yield* health, { level: "degraded", detail })
      const orders = { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" } as const
      yield* one.open("orders", orders)
      assert.deepStrictEqual(yield* health, { level: "degraded", detail: `${detail}; perhaps orders is meant` })
      yield* one.open("order", orders)
      assert.deepStrictEqual(yield* health, { level: "up" })
    })
  )

  it.effect("goes on without a tier that fails, says so, and comes back to it", () =>
    Effect.gen(function* () {
      const broken = tierOf("broken")
      const good = tierOf("good")
      const { cache, database, totalOf, users } = yield* open(yield* memory, {
        tiers: [broken.tier, good.tier],
        staleness: "1 hour"
      })
      const status = Effect.map(Effect.provideService(Plugin.statuses, Database.Database, database), ([one]) => one!)
      yield* users.insert(user("1"))
      yield* users.get("1")
      assert.strictEqual((yield* status).health.level, "up")
      broken.control.isDown = true
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* totalOf(users.get("1")), 0)
      const { tiers } = yield* cache.statistics
      assert.strictEqual(tiers[0]!.errors, 3)
      assert.isTrue(tiers[0]!.isResting)
      assert.isFalse(tiers[1]!.isResting)
      assert.isAtLeast(tiers[1]!.hits, 5)
      const { counters, health, plugin } = yield* status
      assert.deepStrictEqual(health, { level: "degraded", detail: "tier broken fails" })
      assert.strictEqual(plugin, "cache")
      assert.isAtLeast(counters["hits"]!, 5)
      assert.strictEqual(counters["tierErrors"], 3)
      // Both down: the store is asked, and no read fails.
      good.control.dies = true
      assert.strictEqual(yield* totalOf(users.get("1")), 1)
      broken.control.isDown = good.control.dies = false
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      assert.strictEqual((yield* status).health.level, "up")
      yield* cache.resetStatistics
      assert.strictEqual((yield* cache.statistics).tiers[0]!.errors, 0)
      // One that does not answer has its time.
      broken.control.isSilent = true
      const waiting = yield* Effect.forkChild(users.get("1"))
      assert.strictEqual((yield* drive(waiting)).id, "1")
      // It was asked, and was to have what the other one had.
      assert.strictEqual((yield* cache.statistics).tiers[0]!.errors, 2)
      broken.control.isSilent = false
      broken.control.isDown = true
      assert.strictEqual((yield* Effect.flip(cache.clear("users"))).tier, "broken")
    })
  )

  it.effect("tells when a tier is left alone, when it is back, and what was cleared", () =>
    Effect.gen(function* () {
      const broken = tierOf("broken")
      const { cache, users } = yield* open(yield* memory, { tiers: [broken.tier], staleness: "1 hour" })
      const told: Array<unknown> = []
      yield* Effect.forkScoped(
        Stream.runForEach(cache.events, (event) => Effect.sync(() => void told.push(event))),
        { startImmediately: true }
      )
      const comes = (number: number) =>
        Effect.gen(function* () {
          while (told.length < number) yield* Effect.yieldNow
        })
      yield* users.insert(user("1"))
      broken.control.isDown = true
      for (let i = 0; i < 4; i++) yield* users.get("1")
      yield* comes(1)
      assert.deepStrictEqual(told, [{ _tag: "TierLeft", tier: "broken", problem: "down", pauseMillis: 1000 }])
      broken.control.isDown = false
      yield* users.get("1")
      assert.lengthOf(told, 1)
      yield* TestClock.adjust("1 second")
      yield* users.get("1")
      yield* comes(2)
      assert.deepStrictEqual(told[1], { _tag: "TierBack", tier: "broken" })
      yield* cache.clear("users")
      yield* cache.clear()
      yield* comes(4)
      assert.deepStrictEqual(told.slice(2), [
        { _tag: "Cleared", resource: "users" },
        { _tag: "Cleared", resource: undefined }
      ])
    })
  )

  it.effect("has a tier in memory by its share of what the process may have", () =>
    Effect.gen(function* () {
      const { heap_size_limit: limit } = getHeapStatistics()
      const text = "x".repeat(1000)
      const store = yield* memory
      // So small a share that a few documents fill it.
      const { cache, users } = yield* open(store, { tiers: [Cache.memory({ maxShare: 9000 / limit })] })
      for (const id of ["1", "2", "3", "4", "5"]) {
        yield* users.insert({ ...user(id), name: text + id })
        yield* users.get(id)
      }
      const [tier] = (yield* cache.statistics).tiers
      const { bytes, entries } = Option.getOrThrow(tier!.size)
      assert.isAtMost(bytes, 3000)
      assert.isAtLeast(entries, 1)
      assert.isAbove(tier!.evictions, 0)
      for (const [options, field] of [
        [{ maxShare: 0.1, maxBytes: 100 }, "tiers.maxShare"],
        [{ maxShare: 0 }, "tiers.maxShare"],
        [{ maxShare: 1.1 }, "tiers.maxShare"],
        [{ maxShare: Number.NaN }, "tiers.maxShare"]
      ] as const) {
        const error = yield* Effect.flip(open(store, { tiers: [Cache.memory(options)] }))
        assert.strictEqual((error as Cache.InvalidCache).field, field)
      }
    })
  )

  it.effect("lives in a store of objects, which it sweeps", () =>
    Effect.gen(function* () {
      const far = yield* memory
      const store = yield* memory
      const options = { tiers: [Cache.objectStore(far, { timeToLive: "1 hour", maxBytes: 8_000 })] }
      const scope = yield* Scope.make()
      const { cache, database, totalOf, users } = yield* open(store, { ...options, staleness: "1 day" })
      const archive = yield* (yield* open(store, { resources: [] })).open("users_archive", {
        schema: Schema.Struct({ id: Schema.String }),
        primaryKey: "id"
      })
      const cachedArchive = yield* Effect.provideService(
        Resource.make(
          Resource.define("users_archive", { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" })
        ),
        Database.Database,
        database
      )
      yield* archive.insert({ id: "1" })
      yield* cachedArchive.get("1")
      yield* users.insert(user("1", { tags: ["x".repeat(5000)] }))
      yield* users.get("1")
      assert.strictEqual(yield* totalOf(users.get("1")), 0)
      assert.strictEqual((yield* keysOf(far, "cache/")).length, 2)
      // Clearing `users` never clears `users_archive`.
      yield* cache.clear("users")
      assert.strictEqual((yield* keysOf(far)).length, 1)
      assert.strictEqual(yield* totalOf(cachedArchive.get("1")), 0)
      assert.isAbove(yield* totalOf(users.get("1")), 0)
      // What is too much goes, the oldest first; then what is too old.
      for (let i = 2; i < 100; i++) yield* users.insert(user(`${i}`))
      for (let i = 2; i < 100; i++) yield* users.get(`${i}`)
      yield* settled
      yield* TestClock.adjust("5 minutes")
      yield* settled
      const left = (yield* keysOf(far)).length
      assert.isBelow(left, 40)
      assert.isAbove(left, 10)
      assert.isAbove((yield* cache.statistics).tiers[0]!.evictions, 50)
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("Cache, opening", () => {
  it.effect("refuses options that cannot be, and writes nothing then", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const bad: ReadonlyArray<readonly [string, Cache.Options]> = [
        ["tiers", { tiers: [] }],
        ["tiers", { tiers: [Cache.memory as unknown as Cache.TierOf] }],
        ["tiers.maxBytes", { tiers: [Cache.memory({ maxBytes: 0 })] }],
        ["tiers.maxEntries", { tiers: [Cache.memory({ maxEntries: 1.5 })] }],
        ["tiers.eviction", { tiers: [Cache.memory({ eviction: "random" as "lru" })] }],
        ["tiers.name", { tiers: [Cache.memory({ name: "a b" })] }],
        ["tiers.timeToLive", { tiers: [Cache.objectStore(store, { timeToLive: -1 })] }],
        ["tiers.timeToLive", { tiers: [Cache.redis({ timeToLive: "Infinity" }) as unknown as Cache.TierOf] }],
        ["timeToLive", { timeToLive: 0 }],
        ["tierTimeout", { tierTimeout: 0 }],
        ["methods.get.maxBytes", { methods: { get: { maxBytes: Number.NaN } } }],
        ["methods.getAll", { methods: { getAll: true } as {} }]
      ]
      for (const [field, options] of bad) {
        const error = yield* Effect.flip(open(store, options))
        assert.strictEqual(error._tag, "InvalidCache")
        assert.strictEqual((error as Cache.InvalidCache).field, field)
        assert.include((error as Cache.InvalidCache).message, field)
      }
      const uncalled = yield* Effect.flip(open(store, { tiers: [Cache.memory as unknown as Cache.TierOf] }))
      assert.include((uncalled as Cache.InvalidCache).message, "call it")
      assert.deepStrictEqual(yield* keysOf(store, "plugin="), [])
      const twice = yield* Effect.flip(open(store, { tiers: [Cache.memory(), Cache.memory()] }))
      assert.strictEqual((twice as Cache.InvalidCache).field, "tiers.name")
      const named = yield* Effect.flip(open(store, { namespace: "a b" }))
      assert.strictEqual(named._tag, "InvalidPlugin")
    })
  )

  it.effect("covers the resources that are selected, of plugins only those that are named", () =>
    Effect.gen(function* () {
      const plain = { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" } as const
      const one = yield* open(yield* memory, { resources: { block: ["users"] } })
      const notes = yield* one.open("notes", plain)
      const jobs = yield* one.open("plg_x_jobs", plain)
      const again = Effect.fnUntraced(function* (resource: {
        readonly get: (id: string) => Effect.Effect<unknown, unknown>
      }) {
        yield* resource.get("1")
        return yield* one.totalOf(resource.get("1"))
      })
      yield* notes.insert({ id: "1" })
      yield* jobs.insert({ id: "1" })
      yield* one.users.insert(user("1"))
      assert.deepStrictEqual([yield* again(notes), yield* again(jobs), yield* again(one.users)], [0, 1, 1])
    })
  )

  it.effect("has instances that share nothing, and is gone when it is closed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const shared = tierOf("shared")
      const scope = yield* Scope.make()
      const { cache, database, totalOf, users } = yield* Effect.provideService(
        open(store, { tiers: [shared.tier], namespace: "a" }),
        Scope.Scope,
        scope
      )
      const other = yield* Cache.make({ tiers: [shared.tier], namespace: "b" }).pipe(
        Effect.provideService(Database.Database, database),
        Effect.provideService(Scope.Scope, scope)
      )
      yield* users.insert(user("1"))
      yield* users.get("1")
      assert.strictEqual(shared.entries.size, 2)
      yield* users.get("1")
      assert.strictEqual((yield* cache.statistics).total.hits, 1)
      assert.strictEqual((yield* other.statistics).total.hits, 0)
      const ids = collect(users.listIds())
      assert.deepStrictEqual([yield* ids, yield* ids], [["1"], ["1"]])
      assert.strictEqual((yield* other.statistics).reads.get("users")!.get("listIds")!.misses, 1)
      yield* users.patch("1", { age: 31 })
      assert.strictEqual((yield* users.get("1")).age, 31)
      yield* users.insert(user("2"))
      assert.deepStrictEqual(yield* ids, ["1", "2"])
      assert.strictEqual((yield* keysOf(store, "resource=users/plugin=")).length, 2)
      const inUse = yield* Effect.flip(
        Effect.provideService(Plugin.uninstall(Cache.plugin, { namespace: "a" }), Database.Database, database)
      )
      assert.strictEqual(inUse._tag, "PluginOpen")
      yield* Scope.close(scope, Exit.void)
      yield* users.get("1")
      assert.strictEqual(yield* totalOf(users.get("1")), 1)
      for (const namespace of ["a", "b"]) {
        yield* Effect.provideService(
          Plugin.uninstall(Cache.plugin, { namespace, purge: true }),
          Database.Database,
          database
        )
      }
      assert.deepStrictEqual(yield* keysOf(store, "resource=users/plugin="), [])
      assert.strictEqual((yield* users.get("1")).age, 31)
    })
  )

  it.effect("is a layer on the database", () =>
    Effect.gen(function* () {
      const store = yield* memory
      class Users extends Resource.Service<Users>()("app/users", {
        schema: Schema.Struct({ id: Schema.String }),
        primaryKey: "id"
      }) {}
      const Live = Users.layer.pipe(
        Layer.provideMerge(Cache.layer()),
        Layer.provideMerge(Database.layer),
        Layer.provide(Layer.succeed(ObjectStore, store))
      )
      yield* Effect.gen(function* () {
        const users = yield* Users
        yield* users.insert({ id: "1" })
        yield* users.get("1")
        yield* users.get("1")
        const { total } = yield* (yield* Cache.Cache).statistics
        assert.deepStrictEqual([total.hits, total.misses], [1, 1])
      }).pipe(Effect.provide(Live))
    })
  )

  it.effect("warms what it is told to, and forgets what others have changed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { cache, totalOf, users } = yield* open(store, { staleness: "1 hour" })
      for (const id of ["1", "2"]) yield* users.insert(user(id))
      const reads = [users.get("1"), users.get("2"), users.get("3"), users.count()]
      const { done, failures } = yield* cache.warm(reads)
      assert.strictEqual(done, 3)
      assert.deepStrictEqual(
        failures.map(({ _tag }) => _tag),
        ["NotFound"]
      )
      assert.strictEqual(yield* totalOf(Effect.all([users.get("1"), users.get("2"), users.count()])), 0)
      assert.strictEqual(yield* totalOf(cache.warm([users.count()])), 0)
      assert.strictEqual(yield* totalOf(cache.warm([users.count()], { refresh: true, concurrency: 1 })), 1)
      // Somebody else, without a cache, has changed a document.
      const without = yield* open(store, { resources: [] })
      yield* without.users.patch("1", { age: 99 })
      assert.strictEqual((yield* users.get("1")).age, 30)
      yield* cache.invalidate("users", { ids: ["1"] })
      assert.strictEqual((yield* users.get("1")).age, 99)
      assert.strictEqual(yield* totalOf(users.get("2")), 0)
      assert.isAbove(yield* totalOf(users.count()), 0)
      yield* cache.invalidate("users")
      assert.isAbove(yield* totalOf(users.get("2")), 0)
    })
  )
})
