import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Costs from "effect-s3db/plugins/Costs"
import * as Metrics from "effect-s3db/plugins/Metrics"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { listAll, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Prices from "effect-s3db/storage/Prices"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { memory, openOn } from "../fixture.ts"
import * as waiting from "../waiting.ts"

type Store = ObjectStore["Service"]

const User = Schema.Struct({ id: Schema.String, mail: Schema.String })

const prices = Prices.s3Standard["us-east-1"]

const put = prices.requests.put.dollars / 1e6
const get = prices.requests.get.dollars / 1e6

const processOn = Effect.fnUntraced(function* (store: Store, options: Partial<Costs.Options> = {}) {
  const { counter, store: counting } = InstrumentedStore.make(store)
  const { database, open } = yield* openOn(counting)
  const users = yield* open("users", { schema: User, primaryKey: "id", allowDeleteAll: true })
  const costs = yield* Effect.provideService(
    Costs.make({ prices, write: false, ...options }),
    Database.Database,
    database
  )
  return { counter, costs, database, open, users }
})

const process = (options: Partial<Costs.Options> = {}) => Effect.flatMap(memory, (store) => processOn(store, options))

/** Effect's metrics are those of the test alone. */
const registry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const dollarsOf = (all: ReadonlyArray<{ readonly dollars: number }>) =>
  all.reduce((sum, { dollars }) => sum + dollars, 0)

const close = (found: number, expected: number) => assert.closeTo(found, expected, 1e-12)

const keysIn = (store: Store, part: string) =>
  Effect.map(Stream.runCollect(listAll(store, { prefix: `plugin=costs/${part}` })), (all) => all.map(({ key }) => key))

const until = <E>(isSo: Effect.Effect<boolean, E>): Effect.Effect<void, E> =>
  waiting.until("it comes to that", () => isSo)

describe("requests", () => {
  it.effect("are priced one by one, by resource, operation and kind; DELETE is free", () =>
    Effect.gen(function* () {
      const { costs, counter, users } = yield* process()
      yield* counter.reset
      yield* users.insert({ id: "1", mail: "a" })
      yield* users.get("1")
      yield* users.exists("1")
      yield* users.delete("1")
      yield* Stream.runDrain(users.listIds())
      const totals = yield* costs.totals
      assert.deepStrictEqual(
        totals.map(({ dollars, kind, operation, plugin, requests, resource }) => [
          resource,
          plugin,
          operation,
          kind,
          requests,
          dollars
        ]),
        [
          ["users", "", "insert", "put", 1, put],
          ["users", "", "get", "get", 1, get],
          ["users", "", "exists", "head", 1, get],
          ["users", "", "delete", "delete", 1, 0],
          ["users", "", "listIds", "list", 1, put]
        ]
      )
      close(dollarsOf(totals), Prices.ofRequests(prices, yield* counter.counts))
    }).pipe(registry)
  )

  it.effect("all of them, as another counter at the store has them", () =>
    Effect.gen(function* () {
      const { costs, counter, users } = yield* process()
      yield* counter.reset
      const ids = Array.from({ length: 1200 }, (_, i) => `${i}`)
      yield* Effect.forEach(ids, (id) => users.insert({ id, mail: "a" }), { concurrency: 16, discard: true })
      yield* users.upsert({ id: "1", mail: "b" })
      yield* Stream.runDrain(users.query({ scan: true }))
      yield* users.deleteMany(ids)
      const counts = yield* counter.counts
      const seen: Record<string, number> = {}
      for (const { kind, requests } of yield* costs.totals) seen[kind] = (seen[kind] ?? 0) + requests
      const there = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
      assert.deepStrictEqual(seen, there)
      assert.isAtLeast(there["deleteMany"]!, 2)
      close(dollarsOf(yield* costs.totals), Prices.ofRequests(prices, counts))
    }).pipe(registry)
  )

  it.effect("that are refused cost as much, those that reach nobody nothing", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let isDown = false
      const reason = new Unavailable({ description: "the store cannot be reached", sent: false })
      const store: Store = {
        ...inner,
        get: (...args) =>
          Effect.suspend(() =>
            isDown ? Effect.fail(new StoreError({ operation: "get", key: args[0], reason })) : inner.get(...args)
          )
      }
      const { costs, users } = yield* processOn(store)
      yield* users.insert({ id: "1", mail: "a" })
      yield* Effect.exit(users.get("2"))
      isDown = true
      yield* Effect.exit(users.get("1"))
      const [, read] = yield* costs.totals
      assert.deepStrictEqual([read?.kind, read?.requests, read?.unanswered, read?.dollars], ["get", 1, 1, get])
    }).pipe(registry)
  )

  it.effect("of plugins are those of plugins", () =>
    Effect.gen(function* () {
      const { costs, database, users } = yield* process()
      const provided = Effect.provideService(Database.Database, database)
      const metrics = yield* provided(Metrics.make({ write: false }))
      const notes = yield* provided(Plugin.open(Plugin.define("notes", { version: 1 })))
      yield* notes.store(Schema.String).set("a", "b")
      yield* notes.store(Schema.String, { resource: "users" }).set("a", "b")
      yield* users.insert({ id: "1", mail: "a" })
      yield* metrics.flush
      yield* costs.flush
      const found = (yield* costs.totals)
        .filter(({ kind, plugin, resource }) => kind === "put" && (plugin !== "" || resource !== ""))
        .map(({ plugin, requests, resource }) => [resource, plugin, requests])
      assert.deepStrictEqual(found, [
        ["", "notes", 1],
        ["users", "notes", 1],
        ["users", "", 1],
        ["", "metrics", 1],
        ["", "costs", 1]
      ])
    }).pipe(registry)
  )

  it.effect("transfer costs where the table says so, and reaches Prometheus", () =>
    Effect.gen(function* () {
      const table = Prices.s3ExpressOneZone["us-east-1"]
      const { costs, users } = yield* process({ prices: table })
      yield* users.insert({ id: "1", mail: "a".repeat(100_000) })
      yield* users.get("1")
      const [insert, read] = yield* costs.totals
      assert.isAbove(insert!.sent, 100)
      assert.isAbove(read!.received, 100)
      close(insert!.dollars, Prices.ofRequests(table, { put: 1 }) + Prices.ofTransfer(table, insert!))
      close(read!.dollars, Prices.ofRequests(table, { get: 1 }) + Prices.ofTransfer(table, read!))
      assert.match(
        yield* PrometheusMetrics.format(),
        /^s3db_costs\{resource="users",plugin="",operation="insert",request="put"\} 0\.00000\d+|1\.\d+e-6/m
      )
    }).pipe(registry)
  )

  it.effect("that the program records; no name, kind or number that cannot be", () =>
    Effect.gen(function* () {
      const { costs } = yield* process()
      yield* costs.record({ resource: "backups", kind: "put", requests: 1000, sent: 5 })
      close(dollarsOf(yield* costs.totals), 0.005)
      for (const [wrong, field] of [
        [{ resource: "\uD800", kind: "put" }, "resource"],
        [{ resource: "a", operation: "x".repeat(201), kind: "put" }, "operation"],
        [{ resource: "a", kind: "toString" as "put" }, "kind"],
        [{ resource: "a", kind: "put", requests: -1 }, "requests"],
        [{ resource: "a", kind: "put", sent: 0.5 }, "sent"],
        [{ resource: "a", kind: "put", received: Number.NaN }, "received"]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(costs.record(wrong))).field, field)
      }
      close(dollarsOf(yield* costs.totals), 0.005)
    }).pipe(registry)
  )
})

describe("what is written", () => {
  it.effect("1 PUT for an interval in which something was asked for, and writing is no reason to write", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, users } = yield* processOn(store, { write: true })
      yield* users.insert({ id: "1", mail: "a" })
      yield* counter.reset
      yield* TestClock.adjust("1 minute")
      yield* until(Effect.map(counter.counts, ({ put }) => put > 0))
      for (let minute = 0; minute < 10; minute++) yield* TestClock.adjust("1 minute")
      const counts = yield* counter.counts
      assert.deepStrictEqual(
        Object.entries(counts).filter(([, count]) => count > 0),
        [["put", 1]]
      )
    }).pipe(registry)
  )

  it.effect("by several processes adds up, by the hour and the day, and closing writes the rest", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const scope = yield* Scope.make()
      const one = yield* Effect.provideService(processOn(store), Scope.Scope, scope)
      const other = yield* processOn(store)
      yield* one.users.insert({ id: "1", mail: "a" })
      yield* other.users.insert({ id: "2", mail: "a" })
      yield* other.costs.flush
      yield* Scope.close(scope, Exit.void)
      for (const resolution of ["1 minute", "1 hour", "1 day"] as const) {
        const points = yield* Stream.runCollect(other.costs.query({ from: 0, resolution }))
        const inserts = points.filter(({ operation }) => operation === "insert")
        assert.deepStrictEqual(
          inserts.map(({ dollars, requests }) => [requests, dollars]),
          [[2, 2 * put]]
        )
      }
      yield* TestClock.setTime(3 * 3_600_000)
      assert.isTrue(Option.isSome(yield* other.costs.rollUp))
      const points = yield* Stream.runCollect(other.costs.query({ from: 0, resolution: "1 day" }))
      close(dollarsOf(points.filter(({ operation }) => operation === "insert")), 2 * put)
    }).pipe(registry)
  )

  it.effect("options that cannot be are refused, and nothing is written", () =>
    Effect.gen(function* () {
      const budget: Costs.Budget = { name: "all", per: "day", dollars: 1 }
      for (const [options, field] of [
        [{ prices: { ...prices, gigabyte: 0 } }, "prices"],
        [{ interval: "1 day" }, "interval"],
        [{ keep: { hours: "1 day" } }, "keep.hours"],
        [{ budgets: [{ ...budget, name: "" }] }, "budgets.0.name"],
        [{ budgets: [budget, budget] }, "budgets.1.name"],
        [{ budgets: [{ ...budget, per: "year" as "day" }] }, "budgets.0.per"],
        [{ budgets: [{ ...budget, dollars: 0 }] }, "budgets.0.dollars"],
        [{ budgets: [{ ...budget, thresholds: [Number.NaN] }] }, "budgets.0.thresholds"]
      ] as const) {
        const store = yield* memory
        const error = yield* Effect.flip(processOn(store, options))
        assert.strictEqual(error._tag === "InvalidCosts" ? error.field : error._tag, field)
        assert.deepStrictEqual(yield* keysIn(store, ""), [])
      }
      const { costs } = yield* process()
      for (const [options, field] of [
        [{ days: 0 }, "days"],
        [{ multiplier: Number.POSITIVE_INFINITY }, "multiplier"],
        [{ from: 5, to: 5 }, "from"],
        [{ from: "never" }, "from"],
        [{ prices: { ...prices, gigabyte: -1 } }, "prices"]
      ] as const) {
        const error = yield* Effect.flip(costs.estimate(options))
        assert.strictEqual(error._tag === "InvalidCosts" ? error.field : error._tag, field)
      }
    }).pipe(registry)
  )
})

describe("storage", () => {
  const listed = (store: Store) =>
    Effect.map(Stream.runCollect(listAll(store, { prefix: "resource=users/" })), (entries) => entries.length)

  it.effect("follows what is written, replaced and removed, and says what it does not know", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* processOn(store)
      yield* before.users.insert({ id: "old", mail: "x".repeat(5000) })
      const { costs, users } = yield* processOn(store)
      yield* users.insert({ id: "1", mail: "a".repeat(4000) })
      yield* users.insert({ id: "2", mail: "a".repeat(4000) })
      const users1 = yield* ofUsers(costs)
      assert.deepStrictEqual([users1.objects, users1.unknown], [2, 0])
      yield* users.update("1", { mail: "b" })
      const smaller = yield* ofUsers(costs)
      assert.isBelow(smaller.bytes, users1.bytes)
      assert.strictEqual(smaller.objects, 2)
      yield* users.delete("1")
      yield* users.delete("2")
      const gone = yield* ofUsers(costs)
      assert.deepStrictEqual([gone.objects, gone.bytes, gone.unknown], [0, 0, 0])
      // Nobody here knows how large it was.
      yield* users.delete("old")
      assert.strictEqual((yield* ofUsers(costs)).unknown, 1)
    }).pipe(registry)
  )

  const ofUsers = (costs: Costs.Costs["Service"]) =>
    Effect.gen(function* () {
      yield* costs.flush
      const { measuredAt, parts } = yield* costs.storage
      assert.isTrue(Option.isNone(measuredAt))
      return parts.find(({ plugin, resource }) => resource === "users" && plugin === "")!
    })

  it.effect("an object that a DeleteObjects could not remove is still there", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const reason = new Unavailable({ description: "try again", sent: true })
      const store: Store = {
        ...inner,
        deleteMany: (keys) =>
          Effect.map(inner.deleteMany(keys.slice(1)), ({ deleted }) => ({
            deleted,
            failed: keys.slice(0, 1).map((key) => ({ key, reason }))
          }))
      }
      const { costs, database } = yield* processOn(store)
      const keys = ["resource=users/data/id=1", "resource=users/data/id=2", "resource=users/data/id=3"]
      for (const key of keys) yield* database.store.put({ key, body: new Uint8Array(10), ifNoneMatch: "*" })
      yield* database.store.deleteMany(keys)
      const part = yield* ofUsers(costs)
      assert.deepStrictEqual([part.objects, part.bytes, part.unknown], [1, 10, 0])
    }).pipe(registry)
  )

  it.effect("measured: every object and its metadata, and what comes after, also within the hour", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { costs, users } = yield* processOn(store)
      const ids = Array.from({ length: 2500 }, (_, i) => `${i}`)
      yield* Effect.forEach(ids, (id) => users.insert({ id, mail: "a" }), { concurrency: 16, discard: true })
      const measured = yield* costs.measure({ sample: 16 })
      const part = ({ parts }: Costs.Storage) => parts.find(({ resource }) => resource === "users")!
      assert.strictEqual(part(measured).objects, yield* listed(store))
      // Most of a small document is metadata, of which a listing tells nothing.
      const { metadata, size } = yield* store.head("resource=users/data/id=7")
      const each = size + Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
      assert.closeTo(part(measured).bytes / 2500, each, each / 10)
      close(measured.dollars, Prices.ofStorage(prices, measured.bytes))
      yield* users.insert({ id: "more", mail: "a" })
      yield* costs.flush
      assert.strictEqual(part(yield* costs.storage).objects, 2501)
      yield* TestClock.setTime(5 * 3_600_000)
      yield* costs.rollUp
      yield* users.insert({ id: "most", mail: "a" })
      yield* costs.flush
      assert.strictEqual(part(yield* costs.storage).objects, 2502)
      assert.strictEqual((yield* Effect.flip(costs.measure({ sample: -1 })))._tag, "InvalidCosts")
    }).pipe(registry)
  )
})

describe("estimate", () => {
  it.effect("of a month from an hour: requests, storage, and what plugins would ask for", () =>
    Effect.gen(function* () {
      const hour = 3_600_000
      const { costs, users } = yield* process()
      yield* Effect.forEach(Array.from({ length: 100 }), (_, i) => users.insert({ id: `${i}`, mail: "a" }))
      yield* costs.flush
      const asked = { from: 0, to: hour, days: 30 }
      const one = yield* costs.estimate(asked)
      const ofUsers = one.parts.find(({ resource }) => resource === "users")!
      close(ofUsers.dollars, 100 * put * 720)
      // Its own, at least 1 PUT a minute.
      const own = one.parts.find(({ plugin }) => plugin === "costs")!
      assert.isAtLeast(own.dollars, 43_200 * put)
      close(one.dollars, one.dollarsForRequests + one.dollarsForStorage)
      assert.isAbove(one.dollarsForStorage, 0)
      const double = yield* costs.estimate({ ...asked, multiplier: 2 })
      close(double.parts.find(({ resource }) => resource === "users")!.dollars, 200 * put * 720)
      const elsewhere = yield* costs.estimate({ ...asked, prices: Prices.b2 })
      assert.strictEqual(elsewhere.prices, "b2 2025")
      assert.strictEqual(elsewhere.parts.find(({ resource }) => resource === "users")!.dollars, 0)
    }).pipe(registry)
  )

  it.effect("a plugin that is idle adds what it would use, and one that is seen not twice", () =>
    Effect.gen(function* () {
      class Sessions extends Resource.Service<Sessions>()("effect-s3db/test/plugins/Costs.test/Sessions", {
        schema: Schema.Struct({ id: Schema.String, at: Schema.Number }),
        primaryKey: "id",
        name: "sessions"
      }) {}
      const { costs, database } = yield* process()
      const provided = Effect.provideService(Database.Database, database)
      const sessions = yield* provided(Resource.make(Sessions.definition))
      yield* provided(
        Ttl.make({ policies: [Ttl.policy(Sessions, { at: "at" })], interval: "1 minute" }).pipe(
          Effect.provideService(Sessions, sessions)
        )
      )
      const asked = { from: 0, to: 3_600_000, days: 30 }
      const ttl = Effect.map(costs.estimate(asked), ({ parts }) =>
        dollarsOf(parts.filter(({ plugin }) => plugin === "ttl"))
      )
      const declared = (30 * 24 * 60 * prices.requests.list.dollars) / 1e6
      close(yield* ttl, declared)
      // An hour of sweeps is what it said.
      for (let minute = 0; minute < 60; minute++) yield* TestClock.adjust("1 minute")
      yield* costs.flush
      assert.isAtMost(yield* ttl, declared * 1.2)
      assert.isAtLeast(yield* ttl, declared)
    }).pipe(registry)
  )
})

describe("budgets", () => {
  const budgets: ReadonlyArray<Costs.Budget> = [
    { name: "all", per: "day", dollars: 100 * put, thresholds: [0.5, 1] },
    { name: "../orders", per: "month", dollars: 10 * put, resource: "orders" }
  ]

  const spend = (costs: Costs.Costs["Service"], requests: number, resource = "users") =>
    Effect.andThen(costs.record({ resource, kind: "put", requests }), costs.flush)

  const told = (costs: Costs.Costs["Service"]) =>
    Effect.map(Stream.runCollect(costs.raised), (all) =>
      all.map(({ budget, period, threshold }) => `${budget} ${period} ${threshold}`).toSorted()
    )

  it.effect("are told once for each threshold and period, by one of the processes, also across restarts", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const scope = yield* Scope.make()
      const one = yield* Effect.provideService(processOn(store, { budgets }), Scope.Scope, scope)
      const other = yield* processOn(store, { budgets })
      const heard: Array<Costs.BudgetReached> = []
      const listening = (costs: Costs.Costs["Service"]) =>
        Effect.forkChild(
          Stream.runForEach(costs.alarms, (event) =>
            Effect.sync(() => {
              if (event._tag === "BudgetReached") heard.push(event)
            })
          ),
          { startImmediately: true }
        )
      const listeners = [yield* listening(one.costs), yield* listening(other.costs)]
      yield* spend(one.costs, 30)
      yield* waiting.settled
      assert.lengthOf(heard, 0)
      // Together they are above a half.
      yield* spend(other.costs, 30)
      yield* spend(one.costs, 1)
      yield* until(Effect.sync(() => heard.length > 0))
      assert.deepStrictEqual(yield* told(other.costs), ["all 1970-01-01 0.5"])
      assert.isAtLeast(heard[0]!.spent, 60 * put)
      assert.strictEqual(heard[0]!.dollars, 100 * put)
      yield* Scope.close(scope, Exit.void)
      const again = yield* processOn(store, { budgets })
      listeners.push(yield* listening(again.costs))
      yield* spend(again.costs, 1)
      yield* spend(other.costs, 1)
      yield* waiting.settled
      assert.lengthOf(heard, 1)
      yield* spend(again.costs, 60)
      yield* spend(other.costs, 1)
      yield* until(Effect.sync(() => heard.length > 1))
      assert.deepStrictEqual(yield* told(other.costs), ["all 1970-01-01 0.5", "all 1970-01-01 1"])
      // Another day, another budget.
      yield* TestClock.setTime(26 * 3_600_000)
      yield* spend(other.costs, 70)
      assert.include(yield* told(other.costs), "all 1970-01-02 0.5")
      for (const one of listeners) yield* Fiber.interrupt(one)
      const names = heard.map(({ budget, period, threshold }) => `${budget} ${period} ${threshold}`)
      assert.strictEqual(new Set(names).size, names.length)
    }).pipe(registry)
  )

  it.effect("of a resource count that alone, and the whole month, rolled up or not", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* processOn(store, { budgets })
      yield* spend(first.costs, 4, "orders")
      yield* TestClock.setTime(5 * 24 * 3_600_000)
      yield* first.costs.rollUp
      const { costs } = yield* processOn(store, { budgets })
      yield* spend(costs, 1)
      assert.notInclude((yield* told(costs)).join(), "../orders")
      yield* spend(costs, 1, "orders")
      assert.include(yield* told(costs), "../orders 1970-01 0.5")
      assert.notInclude(yield* told(costs), "../orders 1970-01 0.8")
    }).pipe(registry)
  )

  it.effect("cost nothing but a reading every quarter of an hour", () =>
    Effect.gen(function* () {
      const { costs, counter } = yield* process({ budgets })
      yield* spend(costs, 1)
      yield* counter.reset
      for (let i = 0; i < 5; i++) yield* spend(costs, 1)
      const { put, ...others } = yield* counter.counts
      assert.strictEqual(put, 5)
      assert.strictEqual(
        Object.values(others).reduce((sum, one) => sum + one, 0),
        0
      )
    }).pipe(registry)
  )
})
