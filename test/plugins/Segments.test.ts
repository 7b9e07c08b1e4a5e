import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Id from "effect-s3db/crypto/Id"
import type { Json } from "effect-s3db/encoding/Json"
import { Database } from "effect-s3db/Database"
import * as Segments from "effect-s3db/plugins/Segments"
import * as Plugin from "effect-s3db/Plugin"
import type * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Transaction from "effect-s3db/Transaction"
import { crashing, drive, keysOf, memory, openOn } from "../fixture.ts"

type Store = ObjectStore["Service"]

class Orders extends Resource.Service<Orders>()("orders", {
  schema: Schema.Struct({
    id: Schema.String,
    country: Schema.String,
    amount: Schema.Number,
    price: Schema.optionalKey(Attribute.Decimal(2)),
    at: Schema.optionalKey(Attribute.DateTime),
    note: Schema.optionalKey(Schema.NullOr(Schema.String)),
    tags: Schema.optionalKey(Schema.Array(Schema.String)),
    inner: Schema.optionalKey(Schema.Struct({ n: Schema.Number }))
  }),
  primaryKey: "id"
}) {}
type Order = (typeof Orders.definition.schema)["Type"]

const range = (length: number) => Array.from({ length }, (_, i) => i)
const name = (i: number) => `o${String(i).padStart(4, "0")}`

const small = { documentsPerSegment: 4, leastChanges: 1, compact: false, grace: 0 } as const

type Some = Partial<Omit<Segments.Options, "resources">>

/** A program with copies as long as the scope is open; `through`: what it makes its requests by once it is open. */
const clientOf = Effect.fnUntraced(function* (store: Store, options: Some = {}, through: Store = store) {
  const opened = yield* openOn(store)
  const database = { ...opened.database, store: through }
  const within = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Database, database)
  const orders = yield* within(Resource.make(Orders.definition))
  const segments = yield* within(
    Segments.make({ resources: [Orders], ...small, ...options }).pipe(Effect.provideService(Orders, orders))
  )
  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => Transaction.run(database, effect)
  return { orders, segments, database, within, transaction }
})

/** A program without. */
const plainOf = Effect.fnUntraced(function* (store: Store) {
  const { database } = yield* openOn(store)
  return yield* Effect.provideService(Resource.make(Orders.definition), Database, database)
})

type Repository = Effect.Success<ReturnType<typeof plainOf>>

const all = (orders: Repository, request: Pick<Query.Request<Order>, "where" | "order" | "limit"> = {}) =>
  Effect.result(
    Stream.runCollect(Stream.map(orders.query({ ...request, scan: true }), (order) => JSON.stringify(order)))
  )

/** Reads of every kind are the same by both. */
const assertSame = Effect.fnUntraced(function* (one: Repository, other: Repository, label?: string) {
  const reads: ReadonlyArray<(orders: Repository) => Effect.Effect<unknown, unknown>> = [
    (orders: Repository) => all(orders),
    (orders: Repository) => all(orders, { where: { country: "DE" } }),
    (orders: Repository) => all(orders, { where: { amount: { gt: 3 } }, order: { amount: "desc" }, limit: 3 }),
    (orders: Repository) =>
      Effect.map(Stream.runCollect(orders.scanDocuments()), (found) =>
        found.map(({ bodyBytes, metadataBytes, revision, value, version }) =>
          JSON.stringify([value, revision, version, bodyBytes, metadataBytes])
        )
      ),
    (orders: Repository) =>
      Effect.map(Stream.runCollect(orders.scanDocuments({ after: name(3) })), (found) =>
        found.map(({ revision, value }) => JSON.stringify([value, revision]))
      ),
    (orders: Repository) =>
      Effect.map(Stream.runCollect(orders.scanResults()), (found) =>
        found.map(({ id, result }) => [id, Result.isSuccess(result)])
      ),
    (orders: Repository) =>
      orders.aggregate(
        { groupBy: ["country"], values: { n: { count: true }, sum: { sum: "amount" }, most: { max: "price" } } },
        { scan: true }
      ),
    (orders: Repository) =>
      orders.aggregate(
        { values: { first: { min: "at" }, average: { avg: "inner.n" } } },
        { where: { amount: { lte: 5 } }, scan: true }
      ),
    (orders: Repository) =>
      orders.aggregate(
        {
          groupBy: ["inner.n", "country"],
          values: { n: { count: true }, least: { min: "price" }, all: { sum: "price" } }
        },
        { where: { country: { in: ["DE", "IT"] }, amount: { gte: 0 } }, scan: true }
      ),
    (orders: Repository) => orders.count({ where: { note: null }, scan: true })
  ]
  for (const read of reads) {
    const [here, there] = [yield* Effect.exit(read(one)), yield* Effect.exit(read(other))]
    assert.strictEqual(JSON.stringify(here), JSON.stringify(there), label)
  }
})

const draw = Effect.fnUntraced(function* (id: string): Effect.fn.Return<Order> {
  const chance = Effect.map(Random.next, (x) => x < 0.5)
  const country = ["DE", "FR", "IT"][yield* Random.nextIntBetween(0, 3)] ?? ""
  return {
    id,
    country,
    amount: yield* Random.nextIntBetween(-1, 10),
    ...((yield* chance) ? { price: BigDecimal.make(BigInt(yield* Random.nextIntBetween(0, 3000)), 2) } : {}),
    ...((yield* chance) ? { note: (yield* chance) ? null : "x".repeat(yield* Random.nextIntBetween(0, 400)) } : {}),
    ...((yield* chance) ? { tags: ["a", "b"] } : {}),
    ...((yield* chance) ? { at: DateTime.makeUnsafe(yield* Random.nextIntBetween(0, 2 ** 31)) } : {}),
    ...((yield* chance) ? { inner: { n: yield* Random.nextIntBetween(0, 5) } } : {})
  }
})

describe("Segments", () => {
  it.effect("reads go by copies, in the requests that are promised, and see what came later", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const writer = yield* plainOf(store)
      yield* writer.insertMany(
        range(2500).map((i) => ({ id: name(i), country: ["DE", "FR"][i % 2]!, amount: i })),
        { concurrency: 16 }
      )
      const { orders, segments } = yield* clientOf(store, { documentsPerSegment: 1000, leastChanges: 10 })
      assert.deepStrictEqual(yield* segments.compactNow(), [
        { _tag: "Compacted", resource: "orders", keys: 2500, read: 2500, packs: 3, loose: 0 }
      ])
      const made = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function* () {
          yield* counter.reset
          yield* effect
          const { get, head, list, put } = yield* counter.counts
          return { get, list, put, head }
        })
      const scan = Stream.runCount(orders.scan())
      const total = { values: { total: { sum: "amount" } } } as const
      // The manifest, three segments; where their last documents are, one LIST more.
      assert.deepStrictEqual(yield* made(scan), { get: 4, list: 4, put: 0, head: 0 })
      assert.deepStrictEqual(yield* made(orders.aggregate(total, { scan: true })), { get: 4, list: 4, put: 0, head: 0 })
      // Two of the segments have nothing of what is asked.
      const few = orders.count({ where: { amount: { gte: 2400 } }, scan: true })
      assert.strictEqual(yield* few, 100)
      assert.deepStrictEqual(yield* made(few), { get: 5, list: 4, put: 0, head: 0 })
      // It goes on in the segments of what comes after.
      const rest = Effect.map(Stream.runCollect(orders.scanDocuments({ after: name(999) })), (found) =>
        found.map(({ id }) => id)
      )
      assert.deepStrictEqual(
        yield* rest,
        range(1500).map((i) => name(1000 + i))
      )
      assert.deepStrictEqual(yield* made(rest), { get: 3, list: 2, put: 0, head: 0 })
      // The first few are read by themselves.
      assert.strictEqual((yield* made(Stream.runDrain(orders.query({ limit: 3 })))).list, 1)
      // What is new, changed or gone is read by itself.
      yield* writer.update(name(7), { amount: -1 })
      yield* writer.insert({ id: "z", country: "IT", amount: 1 })
      yield* writer.delete(name(8))
      assert.deepStrictEqual(yield* made(scan), { get: 6, list: 4, put: 0, head: 0 })
      yield* assertSame(orders, writer)
      // Less than ten changes: nothing is written but how new the others are.
      assert.deepStrictEqual(yield* made(segments.compactNow()), { get: 4, list: 3, put: 1, head: 0 })
      yield* segments.remove("orders")
      assert.deepStrictEqual((yield* made(scan)).get, 2501)
      assert.strictEqual((yield* Effect.flip(segments.remove("other")))._tag, "NotSegmented")
    }).pipe(Effect.scoped)
  )

  it.effect("what may be so old is read from copies alone, where they are as new as that", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const writer = yield* plainOf(store)
      yield* writer.insertMany(range(25).map((i) => ({ id: name(i), country: ["DE", "FR"][i % 2]!, amount: i })))
      const { orders, segments, transaction } = yield* clientOf(store, { documentsPerSegment: 10 })
      const made = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function* () {
          yield* counter.reset
          const value = yield* effect
          const { get, list } = yield* counter.counts
          return { value, get, list }
        })
      const total = (maxStaleness?: Query.Bounded["maxStaleness"]) =>
        Effect.map(
          orders.aggregate({ values: { n: { count: true }, sum: { sum: "amount" } } }, { scan: true, maxStaleness }),
          ([one]) => [one?.values["n"], one?.values["sum"]]
        )
      assert.isTrue(Option.isNone(yield* segments.wholeSince("orders")))
      // Without copies documents are read.
      assert.deepStrictEqual((yield* made(total("1 minute"))).value, [25, 300])
      yield* segments.compactNow()
      yield* TestClock.adjust("30 seconds")
      yield* writer.update(name(7), { amount: 1000 })
      yield* writer.delete(name(8))
      yield* writer.insert({ id: "z", country: "IT", amount: 5 })
      const now = [25, 300 - 7 + 1000 - 8 + 5]
      assert.deepStrictEqual(yield* made(total("30 seconds")), { value: [25, 300], get: 4, list: 0 })
      assert.deepStrictEqual((yield* made(total("29 seconds"))).value, now)
      assert.deepStrictEqual(yield* total(), now)
      const old = { scan: true, maxStaleness: "1 minute" } as const
      const ids = <E>(all: Stream.Stream<{ readonly id?: Json }, E>) =>
        made(Effect.map(Stream.runCollect(all), (found) => found.map(({ id }) => id)))
      assert.deepStrictEqual(yield* ids(orders.scan(old)), { value: range(25).map(name), get: 4, list: 0 })
      const where = { amount: { gte: 7, lt: 10 } } as const
      const few = [7, 8, 9].map(name)
      assert.deepStrictEqual(yield* ids(orders.query({ where, ...old })), { value: few, get: 6, list: 0 })
      assert.deepStrictEqual((yield* ids(orders.queryJson({ where, ...old }))).value, few)
      assert.deepStrictEqual((yield* ids(orders.scanDocuments(old))).value, range(25).map(name))
      assert.deepStrictEqual((yield* made(orders.count({ where, ...old }))).value, 3)
      assert.deepStrictEqual((yield* ids(orders.query({ where, scan: true }))).value, [name(9)])
      // What is based on it is refused, as on every version that is not the latest.
      const [document] = yield* Stream.runCollect(
        orders.scanDocuments(old).pipe(Stream.filter(({ id }) => id === name(7)))
      )
      assert.strictEqual((yield* Effect.flip(orders.update(document!, { amount: 1 })))._tag, "Conflict")
      assert.deepStrictEqual(yield* transaction(total("1 minute")), now)
      assert.deepStrictEqual(yield* segments.wholeSince("orders"), Option.some(DateTime.makeUnsafe(0)))
      yield* segments.compactNow()
      assert.deepStrictEqual(yield* made(total(0)), { value: now, get: 4, list: 0 })
      assert.deepStrictEqual(yield* segments.wholeSince("orders"), Option.some(DateTime.makeUnsafe(30_000)))
      assert.strictEqual((yield* Effect.flip(segments.wholeSince("others")))._tag, "NotSegmented")
      for (const maxStaleness of ["soon" as "1 second", -5, Number.NaN, true as unknown as number]) {
        for (const read of [
          orders.count({ where, ...old, maxStaleness }),
          total(maxStaleness),
          Stream.runDrain(orders.scan({ maxStaleness })),
          Stream.runDrain(orders.scanDocuments({ after: name(3), maxStaleness })),
          orders.explainQuery({ ...old, maxStaleness })
        ]) {
          const error = yield* Effect.flip(Effect.asVoid<unknown, { readonly message: string }, never>(read))
          assert.include(error.message, "maxStaleness")
        }
      }
    }).pipe(Effect.scoped)
  )

  it.effect("explainQuery says what is read by copies", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders, transaction } = yield* clientOf(store)
      const plain = yield* plainOf(store)
      const where = { amount: { gte: 7 } } as const
      const byCopies = { reads: "copies", requests: { fixed: 3, perThousand: 1, perDocument: 0 } } as const
      const readsOf = (repository: Repository, request: Parameters<Repository["explainQuery"]>[0]) =>
        Effect.map(repository.explainQuery(request), ({ reads, requests }) => ({ reads, requests }))
      for (const request of [{ scan: true }, { where, scan: true }, { where, scan: true, limit: 5 }]) {
        assert.deepStrictEqual(yield* readsOf(orders, request), byCopies)
        assert.strictEqual((yield* readsOf(plain, request)).reads, "documents")
        const within = yield* transaction(readsOf(orders, request))
        assert.deepStrictEqual(within, yield* readsOf(plain, request))
      }
      // As many are read as are asked for, or those that are named.
      for (const request of [{ limit: 5 }, { where: { id: "o1" } }, { where: { id: { startsWith: "o" } } }]) {
        assert.deepStrictEqual(yield* readsOf(orders, request), yield* readsOf(plain, request))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("pages and changes are of what is there now, however old a request says it may be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders, segments } = yield* clientOf(store)
      for (const i of range(9)) yield* orders.insert({ id: name(i), country: "DE", amount: i })
      yield* segments.compactNow()
      yield* orders.insert({ id: "z", country: "DE", amount: 100 })
      yield* orders.update(name(1), { country: "FR" })
      const old = { where: { country: "DE" }, scan: true, maxStaleness: "1 day" } as const
      assert.strictEqual(yield* orders.count(old), 9)
      const now = ["z", name(8), name(7)]
      const page = { ...old, order: { amount: "desc" }, limit: 3, total: true } as const
      const { items, total } = yield* orders.queryPage(page)
      assert.deepStrictEqual([items.map(({ id }) => id), total], [now, 9])
      const json = yield* orders.queryPageJson({ ...page, select: ["id"] })
      assert.deepStrictEqual([json.items.map(({ id }) => id), json.total], [now, 9])
      const changed = yield* Stream.runCollect(orders.updateMany(old, { note: "seen" }))
      assert.deepStrictEqual(
        changed.map(({ id, result }) => [id, Result.isSuccess(result)]),
        [0, 2, 3, 4, 5, 6, 7, 8]
          .map(name)
          .concat("z")
          .map((id) => [id, true])
      )
    }).pipe(Effect.scoped)
  )

  for (const profile of ["aws", "rgw"] as const) {
    it.effect(`random writes, transactions and compactions that die anywhere (${profile})`, () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < 1; seed++) {
          yield* Effect.gen(function* () {
            const { store } = yield* MemoryStore.make({ profile })
            const writer = yield* plainOf(store)
            const reader = yield* clientOf(store)
            for (let step = 0; step < 10; step++) {
              const many = yield* Random.nextIntBetween(0, 8)
              for (let i = 0; i < many; i++) {
                const id = name(yield* Random.nextIntBetween(0, 20))
                const kind = yield* Random.nextIntBetween(0, 3)
                if (kind === 0) yield* writer.delete(id)
                else yield* writer.replace(yield* draw(id))
              }
              if ((yield* Random.next) < 0.5) {
                const client = yield* crashed(store)
                yield* Effect.exit(
                  client.transaction(
                    Effect.gen(function* () {
                      for (const i of range(3)) yield* client.orders.replace(yield* draw(name(i * 5 + step)))
                      yield* client.orders.delete(name(step))
                    })
                  )
                )
              }
              if ((yield* Random.next) < 0.7) yield* Effect.exit((yield* crashed(store)).segments.compactNow())
              yield* assertSame(reader.orders, writer, `seed ${seed}, step ${step}`)
            }
          }).pipe(Random.withSeed(seed), Effect.provideService(Id.Generator, Id.seeded(seed)))
        }
      }).pipe(Effect.scoped, Effect.forkChild, Effect.flatMap(drive))
    )
  }

  /** A program that may crash at one of its next requests. */
  const crashed = Effect.fnUntraced(function* (store: Store) {
    const at = 1 + (yield* Random.nextIntBetween(0, 30))
    return yield* clientOf(store, {}, crashing(store, at, (yield* Random.next) < 0.5 ? "before" : "after").store)
  })

  it.effect("in every order of the requests of a transaction that may crash, of a compaction and of a scan", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const setup = yield* clientOf(store, { compression: "none" })
      for (const id of ["a", "b"]) yield* setup.orders.insert({ id, country: "DE", amount: 1 })
      yield* setup.segments.compactNow()
      yield* setup.orders.update("a", { amount: 2 })
      const start = yield* control.snapshot
      const schedule = Interleavings.make(store)
      // What it remembers of the store is that of this order alone.
      const program = <A, E>(
        client: string,
        run: (one: Effect.Success<ReturnType<typeof clientOf>>) => Effect.Effect<A, E>
      ) =>
        Effect.flatMap(clientOf(store, { compression: "none" }, schedule.client(client)), run).pipe(
          Effect.scoped,
          Effect.orDie,
          Effect.provideService(Id.Generator, Id.seeded(client.charCodeAt(0))),
          Random.withSeed(client)
        )
      const scanned = (orders: Repository) =>
        Effect.map(Stream.runCollect(orders.scan()), (found) =>
          found.map(({ amount, id }) => `${id}${amount}`).join(" ")
        )
      const report = yield* schedule.explore({
        before: control.restore(start),
        programs: {
          w: program("w", ({ orders, transaction }) =>
            transaction(Effect.as(Effect.andThen(orders.update("a", { amount: 5 }), orders.delete("b")), ""))
          ),
          c: program("c", ({ segments }) => Effect.as(segments.compactNow(), "")),
          r: program("r", ({ orders }) => scanned(orders))
        },
        preemptions: 0,
        crashes: 0,
        check: ({ crashed, exits }) =>
          Effect.gen(function* () {
            for (const [client, exit] of Object.entries(exits)) {
              assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
            }
            const seen = exits["r"]
            if (seen !== undefined && Exit.isSuccess(seen)) assert.match(seen.value, /^a[25]( b1)?$/)
            const after = yield* scanned(setup.orders)
            assert.strictEqual(after, yield* scanned(yield* plainOf(store)))
          }).pipe(Effect.orDie)
      })
      assert.isTrue(report.complete)
      assert.isAtLeast(report.schedules, 6)
    }).pipe(Effect.scoped)
  )

  it.effect("a document that cannot be read is met as without copies; one that was packed before is not lost", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const plain = yield* plainOf(store)
      const { orders, segments } = yield* clientOf(store)
      for (const i of range(6)) yield* plain.insert({ id: name(i), country: "DE", amount: i })
      yield* store.put({ key: `resource=orders/data/id=${name(3)}`, body: new TextEncoder().encode("{") })
      yield* segments.compactNow()
      for (const one of [orders, plain]) {
        assert.isTrue(Result.isFailure(yield* all(one)))
        assert.strictEqual((yield* Stream.runCollect(one.scan({ onCorrupt: "skip" }))).length, 5)
        const met: Array<string> = []
        yield* Stream.runDrain(one.scan({ onCorrupt: ({ id }) => Effect.sync(() => void met.push(id)) }))
        assert.deepStrictEqual(met, [name(3)])
        const total = yield* one.aggregate({ values: { n: { count: true } } }, { scan: true, onCorrupt: "skip" })
        assert.strictEqual(total[0]?.values["n"], 5)
      }
      yield* assertSame(orders, plain)
    }).pipe(Effect.scoped)
  )

  it.effect("what interceptors do not let see is not seen, by no way", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders, segments } = yield* clientOf(store)
      for (const i of range(8)) yield* orders.insert({ id: name(i), country: i % 2 === 0 ? "DE" : "FR", amount: i })
      yield* segments.compactNow()
      yield* orders.intercept({
        operations: ["query", "count"],
        before: ({ input }) =>
          Effect.succeed({
            filters: [...(input.filters ?? []), ({ country }: Order) => Effect.succeed(country === "DE")]
          })
      })
      assert.deepStrictEqual(
        (yield* Stream.runCollect(orders.scan())).map(({ country }) => country),
        ["DE", "DE", "DE", "DE"]
      )
      const total = yield* orders.aggregate({ values: { n: { count: true } } }, { scan: true })
      assert.strictEqual(total[0]?.values["n"], 4)
      assert.strictEqual(yield* orders.count({ where: { amount: { gte: 0 } }, scan: true }), 4)
    }).pipe(Effect.scoped)
  )

  it.effect("a secret is unreadable in copies, and no column", () =>
    Effect.gen(function* () {
      const store = yield* memory
      class Accounts extends Resource.Service<Accounts>()("accounts", {
        schema: Schema.Struct({ id: Schema.String, name: Schema.String, token: Attribute.SecretText }),
        primaryKey: "id"
      }) {}
      yield* Effect.gen(function* () {
        const { database } = yield* openOn(store)
        const accounts = yield* Effect.provideService(Resource.make(Accounts.definition), Database, database)
        const segments = yield* Segments.make({ resources: [Accounts], ...small, compression: "none" }).pipe(
          Effect.provideService(Accounts, accounts),
          Effect.provideService(Database, database)
        )
        for (const i of range(4)) {
          yield* accounts.insert({ id: name(i), name: `n${i}`, token: Redacted.make(`hunter${i}`) })
        }
        yield* segments.compactNow()
        const tokens = (yield* Stream.runCollect(accounts.scan())).map(({ token }) => Redacted.value(token))
        assert.deepStrictEqual(
          tokens,
          range(4).map((i) => `hunter${i}`)
        )
        const parts = yield* keysOf(store, "resource=accounts/plugin=segments/")
        assert.isAbove(parts.length, 1)
        for (const key of parts) {
          const text = new TextDecoder("latin1").decode((yield* store.get(key)).body)
          assert.notInclude(text, "hunter")
          if (key.includes("/part/")) assert.include(text, "n3")
        }
      }).pipe(
        Effect.provide(KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(1)) } }))
      )
    }).pipe(Effect.scoped)
  )

  it.effect("columns of another version of the definition are not believed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* clientOf(store)
      for (const i of range(6)) yield* first.orders.insert({ id: name(i), country: "DE", amount: i })
      yield* first.segments.compactNow()
      class Later extends Resource.Service<Later>()("orders", {
        schema: Schema.Struct({
          id: Schema.String,
          country: Schema.String,
          amount: Schema.Number,
          size: Schema.Number
        }),
        primaryKey: "id",
        migrations: { 1: (document) => ({ ...document, amount: Number(document["amount"]) * 10, size: 1 }) }
      }) {}
      const { database } = yield* openOn(store)
      const later = yield* Effect.provideService(Resource.make(Later.definition), Database, database)
      yield* Segments.make({ resources: [Later], ...small }).pipe(
        Effect.provideService(Later, later),
        Effect.provideService(Database, database)
      )
      const total = later.aggregate({ values: { total: { sum: "amount" }, sizes: { sum: "size" } } }, { scan: true })
      assert.deepStrictEqual((yield* total)[0]?.values, { total: 150, sizes: 6 })
      assert.strictEqual(yield* later.count({ where: { amount: { gte: 20 } }, scan: true }), 4)
      assert.strictEqual(yield* first.orders.count({ where: { amount: { gte: 4 } }, scan: true }), 2)
    }).pipe(Effect.scoped)
  )

  it.effect("what this process has written it does not read to pack it", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const other = yield* plainOf(store)
      const options = { documentsPerSegment: 1000, leastChanges: 1, writtenBytes: 4 * 1024 * 1024 }
      const { orders, segments, transaction } = yield* clientOf(store, options)
      const orderOf = (i: number): Order => ({
        id: name(i),
        country: ["DE", "FR"][i % 2]!,
        amount: i,
        tags: ["ü", "\n"]
      })
      const compacted = Effect.gen(function* () {
        yield* counter.reset
        const [report] = yield* segments.compactNow()
        const { get, list, put } = yield* counter.counts
        return { read: report?.read, packs: report?.packs, get, list, put }
      })
      yield* orders.insertMany(range(2500).map(orderOf), { concurrency: 16 })
      // The segments, and what names them.
      assert.deepStrictEqual(yield* compacted, { read: 0, packs: 3, get: 1, list: 3, put: 4 })
      yield* orders.update(name(1), { amount: -1 })
      yield* transaction(orders.update(name(2), { amount: -2 }))
      yield* orders.replace({ ...orderOf(3), amount: -3 })
      yield* orders.delete(name(4))
      assert.strictEqual((yield* compacted).read, 0)
      // What others write, also after this process.
      yield* orders.update(name(5), { amount: -5 })
      yield* other.update(name(5), { amount: -6 })
      yield* other.update(name(6), { amount: -7 })
      yield* orders.update(name(7), { amount: -8 })
      assert.strictEqual((yield* compacted).read, 2)
      assert.strictEqual(yield* Stream.runCount(orders.scan()), 2499)
    }).pipe(Effect.scoped)
  )

  it.effect("copies of what was written are those of what is read", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders, segments, transaction } = yield* clientOf(store, { writtenBytes: 1_000_000 })
      const parts = Effect.gen(function* () {
        const found: Array<string> = []
        for (const key of yield* keysOf(store, "resource=orders/plugin=segments/packed/part/")) {
          found.push(Buffer.from((yield* store.get(key)).body).toString("base64"))
        }
        return found.toSorted()
      })
      for (const i of range(20)) {
        yield* orders.insert({ ...(yield* draw(name(i))), note: "ü\n\u0000😀".repeat(i * 20) })
      }
      yield* transaction(Effect.andThen(orders.update(name(1), { amount: 7 }), orders.delete(name(2))))
      assert.strictEqual((yield* segments.compactNow())[0]?.read, 0)
      const handed = yield* parts
      assert.isAbove(handed.length, 4)
      yield* segments.remove("orders")
      assert.strictEqual((yield* segments.compactNow())[0]?.read, 19)
      assert.deepStrictEqual(yield* parts, handed)
      yield* assertSame(orders, yield* plainOf(store))
    }).pipe(Effect.scoped, Random.withSeed(3))
  )

  it.effect("pages that look at many documents go by copies, and give what they give without", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { orders, segments } = yield* clientOf(store, { documentsPerSegment: 150, leastChanges: 50 })
      const plain = yield* plainOf(store)
      for (const i of range(400)) yield* plain.insert({ id: name(i), country: ["DE", "FR"][i % 2]!, amount: i })
      yield* segments.compactNow()
      const pagesOf = Effect.fnUntraced(function* (
        from: Repository,
        page: (from: Repository, cursor: string | undefined) => Effect.Effect<Query.Page<Order>, unknown>
      ) {
        const found: Array<ReadonlyArray<string>> = []
        const gets: Array<number> = []
        for (let cursor: string | undefined; ;) {
          yield* counter.reset
          const { cursor: next, items } = yield* page(from, cursor)
          gets.push((yield* counter.counts).get ?? 0)
          found.push(items.map((order) => JSON.stringify(order)))
          if (next === undefined) return { found, gets }
          cursor = next
        }
      })
      const listed = (from: Repository, cursor: string | undefined) => from.list({ limit: 100, cursor })
      const few = (from: Repository, cursor: string | undefined) => from.list({ limit: 20, cursor })
      const asked = (from: Repository, cursor: string | undefined) =>
        from.queryPage({ where: { amount: { gte: 200 } }, scan: true, limit: 90, cursor })
      // What names them, and one or two segments; those that look at a few documents read them by themselves.
      assert.deepStrictEqual((yield* pagesOf(orders, listed)).gets.slice(0, 4), [2, 3, 3, 2])
      assert.strictEqual((yield* pagesOf(orders, few)).gets[0], 20)
      assert.deepStrictEqual((yield* pagesOf(orders, asked)).gets.slice(0, 2), [4, 2])
      for (const change of range(3)) {
        for (const page of [listed, few, asked]) {
          assert.deepStrictEqual((yield* pagesOf(orders, page)).found, (yield* pagesOf(plain, page)).found)
        }
        if (change === 0) {
          yield* plain.update(name(3), { amount: 1000 })
          yield* plain.delete(name(250))
          yield* plain.insert({ id: name(1000), country: "IT", amount: 300 })
        } else yield* segments.remove("orders")
      }
    }).pipe(Effect.scoped)
  )

  it.effect(
    "migrations go by copies: a document is written without being read, and what needs nothing is not read",
    () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const First = Schema.Struct({ id: Schema.String, amount: Schema.Number })
        const Second = Schema.Struct({ id: Schema.String, amount: Schema.Number, double: Schema.Number })
        class Old extends Resource.Service<Old>()("orders", { schema: First, primaryKey: "id", version: 1 }) {}
        class New extends Resource.Service<New>()("orders", {
          schema: Second,
          primaryKey: "id",
          version: 2,
          migrations: { 1: (json) => ({ ...json, double: Number(json["amount"]) * 2 }) }
        }) {}
        const { database: before } = yield* openOn(store)
        const old = yield* Effect.provideService(Resource.make(Old.definition), Database, before)
        yield* old.insertMany(range(60).map((i) => ({ id: name(i), amount: i })))
        const { database } = yield* openOn(store)
        const now = yield* Effect.provideService(Resource.make(New.definition), Database, database)
        const segments = yield* Segments.make({ resources: [New], ...small, documentsPerSegment: 40 }).pipe(
          Effect.provideService(New, now),
          Effect.provideService(Database, database)
        )
        yield* segments.compactNow()
        // Since then: one that is read, and one that is not there.
        yield* old.update(name(7), { amount: 70 })
        yield* old.delete(name(8))
        yield* counter.reset
        const { migrate } = yield* now.admin
        const migrated = yield* Stream.runCollect(migrate())
        const counts = yield* counter.counts
        assert.strictEqual(migrated.filter(({ rewritten }) => rewritten).length, 59)
        assert.deepStrictEqual([counts.get, counts.put], [1 + 2 + 1, 59])
        assert.strictEqual((yield* now.get(name(7))).double, 140)
        yield* segments.compactNow()
        yield* counter.reset
        assert.isTrue((yield* Stream.runCollect(migrate())).every(({ rewritten }) => !rewritten))
        assert.strictEqual((yield* counter.counts).get, 3)
        // One that changes between its listing and its turn is migrated as it is then.
        yield* old.insert({ id: "zz", amount: 1 })
        yield* segments.compactNow()
        const racing = Stream.tap(migrate({ concurrency: 1 }), () => Effect.void)
        const slow = { ...database.resources.packed.get("orders")! }
        const copies = database.resources.packed.get("orders")!
        database.resources.packed.set("orders", {
          ...slow,
          batches: (load) =>
            Stream.tap(copies.batches(load), () => Effect.orDie(Effect.ignore(old.update("zz", { amount: 5 }))))
        })
        yield* Stream.runDrain(racing)
        assert.deepStrictEqual(yield* now.get("zz"), { id: "zz", amount: 5, double: 10 })
      }).pipe(Effect.scoped)
  )

  it.effect("no more of what was written is kept than may be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders, segments } = yield* clientOf(store, { writtenBytes: 4000 })
      yield* orders.insertMany(
        range(40).map((i) => ({ id: name(i), country: "DE", amount: i })),
        { concurrency: 1 }
      )
      const [report] = yield* segments.compactNow()
      assert.isAbove(report?.read ?? 0, 20)
      assert.isBelow(report?.read ?? 40, 40)
      yield* assertSame(orders, yield* plainOf(store))
      const without = yield* clientOf(yield* memory)
      yield* without.orders.insert({ id: "a", country: "DE", amount: 1 })
      assert.strictEqual((yield* without.segments.compactNow())[0]?.read, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("in a transaction documents are read by themselves", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { orders, segments, transaction } = yield* clientOf(counted)
      for (const i of range(4)) yield* orders.insert({ id: name(i), country: "DE", amount: i })
      yield* segments.compactNow()
      yield* counter.reset
      yield* transaction(Stream.runDrain(orders.scan()))
      assert.isAtLeast((yield* counter.counts).get, 4)
      yield* counter.reset
      yield* Stream.runDrain(orders.scan())
      assert.strictEqual((yield* counter.counts).get, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("compacts in the background, one process at a time, and says how it is", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const writer = yield* plainOf(store)
      for (const i of range(8)) yield* writer.insert({ id: name(i), country: "DE", amount: i })
      const one = yield* clientOf(store, { compact: true, every: "10 seconds" })
      const other = yield* clientOf(store, { compact: true, every: "10 seconds" })
      const parts = Effect.map(keysOf(store, "resource=orders/plugin=segments/packed/part/"), (keys) => keys.length)
      const comes = (count: number) =>
        Effect.gen(function* () {
          while ((yield* parts) !== count) yield* Effect.sleep("1 second")
        }).pipe(Effect.forkChild, Effect.flatMap(drive))
      yield* comes(2)
      for (const { orders } of [one, other]) assert.strictEqual(yield* Stream.runCount(orders.scan()), 8)
      for (const i of range(4)) yield* writer.insert({ id: name(10 + i), country: "DE", amount: i })
      yield* comes(3)
      const [status] = yield* one.within(Plugin.statuses)
      assert.deepInclude(status, { plugin: "segments", state: "running", health: { level: "up" } })
      yield* assertSame(one.orders, writer)
    }).pipe(Effect.scoped)
  )

  it.effect("refuses what cannot be", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const refused = (options: Some) =>
        Effect.map(Effect.flip(Effect.scoped(clientOf(store, options))), (error) => error._tag)
      assert.strictEqual(yield* refused({ every: 1 }), "InvalidSegments")
      assert.strictEqual(yield* refused({ lease: "2 days" }), "InvalidSegments")
      assert.strictEqual(yield* refused({ grace: Number.NaN }), "InvalidSegments")
      assert.strictEqual(yield* refused({ compression: "lzma" as "gzip" }), "InvalidSegments")
      assert.strictEqual(yield* refused({ resources: ["orders"] } as Some), "InvalidSegments")
      for (const documentsPerSegment of [0, 65_537]) {
        const error = yield* Effect.flip(Effect.scoped(clientOf(store, { documentsPerSegment })))
        assert.strictEqual(error._tag, "InvalidSegments")
        assert.include(error.message, "documentsPerSegment: Expected")
        assert.notInclude(error.message, "objectsPerPack")
      }
      assert.strictEqual(yield* refused({ namespace: "a b" }), "InvalidPlugin")
      const { store: express } = yield* MemoryStore.make({ profile: "express" })
      const { orders, segments } = yield* Effect.orDie(clientOf(express))
      yield* orders.insert({ id: "a", country: "DE", amount: 1 })
      assert.strictEqual((yield* Effect.flip(segments.compactNow()))._tag, "DbError")
      assert.strictEqual(yield* Stream.runCount(orders.scan()), 1)
    }).pipe(Effect.scoped)
  )
})
