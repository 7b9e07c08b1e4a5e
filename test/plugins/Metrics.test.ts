import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Otlp from "effect/observability/Otlp"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Metrics from "effect-s3db/plugins/Metrics"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { listAll, ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { memory, openOn } from "../fixture.ts"
import * as waiting from "../waiting.ts"

type Store = ObjectStore["Service"]

const User = Schema.Struct({ id: Schema.String, mail: Schema.String })

/** A process on a store: it ends with the scope, and its metrics are its own. */
const processOn = Effect.fnUntraced(function* (store: Store, options: Metrics.Options = {}) {
  const { counter, store: counting } = InstrumentedStore.make(store)
  const { database, open } = yield* openOn(counting)
  const metrics = yield* Effect.provideService(Metrics.make(options), Database.Database, database)
  const users = yield* open("users", { schema: User, primaryKey: "id" })
  return { counter, database, metrics, users }
})

const process = (options: Metrics.Options = {}) => Effect.flatMap(memory, (store) => processOn(store, options))

/** Effect's metrics are those of the test alone. */
const registry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

const points = (metrics: Metrics.Metrics["Service"], options?: Metrics.QueryOptions) =>
  Stream.runCollect(metrics.query(options))

const countOf = (all: ReadonlyArray<{ readonly count: number }>) => all.reduce((sum, { count }) => sum + count, 0)

const keysIn = (store: Store, part: string) =>
  Effect.map(Stream.runCollect(listAll(store, { prefix: `plugin=metrics/${part}` })), (all) =>
    all.map(({ key }) => key)
  )

/** What is compressed takes its time whatever the clock says: lets it come to an end until something is so. */
const until = <E>(isSo: Effect.Effect<boolean, E>): Effect.Effect<void, E> =>
  waiting.until("it comes to that", () => isSo)

const untilKeys = (store: Store, part: string, number: number) =>
  until(Effect.map(keysIn(store, part), (keys) => keys.length === number))

/** A store on which requests of one kind take so long, or fail while it is down. */
const disturbed = (store: Store) => {
  const state = { isDown: false, isUnknown: false, millis: 0 }
  const put: Store["put"] = (request) =>
    Effect.gen(function* () {
      if (state.millis > 0) yield* Effect.sleep(state.millis)
      const reason = new Unavailable({ description: "the store cannot be reached", sent: state.isUnknown })
      if (state.isUnknown) yield* Effect.ignore(store.put(request))
      if (state.isDown) return yield* Effect.fail(new StoreError({ operation: "put", key: request.key, reason }))
      return yield* store.put(request)
    })
  return { state, store: { ...store, put } }
}

describe("what is counted", () => {
  it.effect("operations by resource, with their errors, duration and requests", () =>
    Effect.gen(function* () {
      const { metrics, users } = yield* process()
      yield* users.insert({ id: "1", mail: "a" })
      yield* users.insert({ id: "2", mail: "b" })
      yield* Effect.exit(users.insert({ id: "1", mail: "c" }))
      yield* Effect.exit(users.get("3"))
      yield* users.get("1")
      yield* users.update("1", { mail: "d" })
      yield* users.upsert({ id: "1", mail: "e" })
      yield* Stream.runDrain(users.query({ scan: true }))
      yield* users.delete("2")
      const totals = yield* metrics.totals
      assert.deepStrictEqual(
        totals.map(({ count, errors, operation, requests, resource }) => [
          resource,
          operation,
          count,
          Object.fromEntries(errors),
          requests
        ]),
        [
          ["users", "delete", 1, {}, 1],
          // One that was there, and one that was not.
          ["users", "get", 2, { NotFound: 1 }, 2],
          ["users", "insert", 3, { AlreadyExists: 1 }, totals.find((one) => one.operation === "insert")!.requests],
          ["users", "query", 1, {}, 3],
          ["users", "update", 1, {}, 2],
          ["users", "upsert", 1, {}, 2]
        ]
      )
    }).pipe(registry)
  )

  it.effect("streams from their first request to their end, an interruption, and a defect", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let millis = 0
      const wait = Effect.suspend(() => (millis === 0 ? Effect.void : Effect.sleep(millis)))
      const slow: Store = { ...store, list: (request) => Effect.andThen(wait, store.list(request)) }
      const { database, metrics, users } = yield* processOn(slow, { write: false })
      millis = 70
      const read = yield* Effect.forkChild(Stream.runDrain(users.query({ scan: true })))
      yield* Effect.yieldNow
      yield* TestClock.adjust("70 millis")
      yield* Fiber.join(read)
      const stopped = yield* Effect.forkChild(users.count())
      yield* TestClock.adjust("30 millis")
      yield* Fiber.interrupt(stopped)
      millis = 0
      yield* database.intercept("*", { operations: "get", before: () => Effect.die("no") })
      yield* Effect.exit(users.get("1"))
      const [count, get, query] = yield* metrics.totals
      assert.deepStrictEqual([query?.operation, query?.count, query?.millis], ["query", 1, 70])
      assert.deepStrictEqual([count?.millis, [...count!.errors]], [30, [["interrupted", 1]]])
      assert.deepStrictEqual([get?.operation, [...get!.errors]], ["get", [["defect", 1]]])
    }).pipe(registry)
  )

  it.effect("not those of plugins, nor of resources that are not meant", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const opened = (options: Metrics.Options) =>
        Effect.provideService(Metrics.make(options), Database.Database, database)
      const all = yield* opened({ namespace: "all" })
      const one = yield* opened({ namespace: "one", resources: ["orders"] })
      for (const name of ["users", "orders", "plg_other_rows"]) {
        const documents = yield* open(name, { schema: User, primaryKey: "id" })
        yield* documents.insert({ id: "1", mail: "a" })
      }
      assert.deepStrictEqual(
        (yield* all.totals).map(({ resource }) => resource),
        ["orders", "users"]
      )
      assert.deepStrictEqual(
        (yield* one.totals).map(({ resource }) => resource),
        ["orders"]
      )
    }).pipe(registry)
  )

  it.effect("nothing any more when the layer is closed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const users = yield* open("users", { schema: User, primaryKey: "id" })
      const scope = yield* Scope.make()
      const metrics = yield* Metrics.make().pipe(
        Effect.provideService(Database.Database, database),
        Effect.provideService(Scope.Scope, scope)
      )
      yield* users.insert({ id: "1", mail: "a" })
      yield* Scope.close(scope, Exit.void)
      yield* users.insert({ id: "2", mail: "a" })
      assert.strictEqual(countOf(yield* metrics.totals), 1)
      // What was counted last was written.
      assert.lengthOf(yield* keysIn(store, "interval/"), 1)
    }).pipe(registry)
  )

  it.effect("what a program records; nothing that cannot be a name or a number", () =>
    Effect.gen(function* () {
      const { metrics } = yield* process()
      yield* metrics.record({
        resource: "mail",
        operation: "send",
        duration: "2 seconds",
        requests: 3,
        error: "Bounced"
      })
      const [one] = yield* metrics.totals
      assert.deepStrictEqual(
        [one?.resource, one?.count, one?.millis, one?.requests, [...one!.errors]],
        ["mail", 1, 2000, 3, [["Bounced", 1]]]
      )
      const fine: Metrics.Recorded = { resource: "mail", operation: "send", duration: 1 }
      for (const [wrong, field] of [
        [{ ...fine, resource: "" }, "resource"],
        [{ ...fine, resource: "\uD800" }, "resource"],
        [{ ...fine, operation: "x".repeat(201) }, "operation"],
        [{ ...fine, error: "" }, "error"],
        [{ ...fine, duration: -1 }, "duration"],
        [{ ...fine, duration: "Infinity" }, "duration"],
        [{ ...fine, requests: 0.5 }, "requests"]
      ] as const) {
        const error = yield* Effect.flip(metrics.record(wrong))
        assert.strictEqual(error.field, field)
      }
      assert.strictEqual(countOf(yield* metrics.totals), 1)
    }).pipe(registry)
  )

  it.effect("10,000 series and no more, 100 tags of errors and no more", () =>
    Effect.gen(function* () {
      const { metrics } = yield* process()
      for (let i = 0; i < 101; i++) {
        yield* metrics.record({ resource: "a", operation: "a", duration: 1, error: `Error${i}` })
      }
      const [one] = yield* metrics.totals
      assert.strictEqual(one?.errors.size, 101)
      assert.strictEqual(one?.errors.get("other"), 1)
      for (let i = 1; i < 10_000; i++) yield* metrics.record({ resource: "b", operation: `${i}`, duration: 1 })
      const error = yield* Effect.flip(metrics.record({ resource: "b", operation: "more", duration: 1 }))
      assert.strictEqual(error.field, "operation")
      yield* metrics.record({ resource: "b", operation: "1", duration: 1 })
      assert.strictEqual(countOf(yield* metrics.totals), 101 + 10_000)
    }).pipe(registry)
  )

  it.effect("names like __proto__ are names", () =>
    Effect.gen(function* () {
      const { metrics } = yield* process()
      const recorded = { resource: "__proto__", operation: "constructor", duration: 1, error: "__proto__" }
      yield* metrics.record(recorded)
      yield* metrics.flush
      const [one] = yield* points(metrics)
      assert.deepStrictEqual(
        [one?.resource, one?.operation, [...one!.errors]],
        ["__proto__", "constructor", [["__proto__", 1]]]
      )
    }).pipe(registry)
  )
})

describe("quantile", () => {
  const counted = (buckets: ReadonlyArray<number>, maxMillis: number): Metrics.Counted => ({
    resource: "",
    operation: "",
    count: buckets.reduce((sum, one) => sum + one, 0),
    errors: new Map(),
    millis: 0,
    maxMillis,
    buckets,
    requests: 0
  })

  it("is within the bucket, and never more than the slowest", () => {
    // 90 up to 1 ms, 10 between 100 and 200.
    const some = counted(
      Metrics.boundaries.concat(0).map((_, i) => (i === 0 ? 90 : i === 7 ? 10 : 0)),
      150
    )
    assert.isAtMost(Metrics.quantile(some, 0.5), 1)
    assert.isAbove(Metrics.quantile(some, 0.95), 100)
    assert.isAtMost(Metrics.quantile(some, 0.95), 150)
    assert.strictEqual(Metrics.quantile(some, 1), 150)
    assert.isNaN(Metrics.quantile(counted([], 0), 0.5))
    const above = counted(
      Metrics.boundaries.concat(0).map((_, i) => (i === Metrics.boundaries.length ? 1 : 0)),
      90_000
    )
    assert.isAbove(Metrics.quantile(above, 0.5), 30_000)
    assert.isAtMost(Metrics.quantile(above, 0.99), 90_000)
  })
})

describe("exporters", () => {
  it.effect("Prometheus: counters only ever grow, whoever reads them, and by labels that are escaped", () =>
    Effect.gen(function* () {
      const { metrics, users } = yield* process()
      yield* users.insert({ id: "1", mail: "a" })
      yield* Effect.exit(users.insert({ id: "1", mail: "a" }))
      yield* metrics.record({ resource: 'a"b\\c\nd', operation: "x", duration: "1500 millis", requests: 1 })
      const first = yield* PrometheusMetrics.format()
      yield* metrics.flush
      const second = yield* PrometheusMetrics.format()
      assert.strictEqual(
        second
          .split("\n")
          .filter((line) => line.includes("s3db_operation"))
          .join("\n"),
        first
          .split("\n")
          .filter((line) => line.includes("s3db_operation"))
          .join("\n")
      )
      assert.match(first, /^# TYPE s3db_operations counter$/m)
      assert.match(first, /^# TYPE s3db_operation_duration histogram$/m)
      assert.match(first, /^s3db_operations\{resource="users",operation="insert"\} 2/m)
      assert.match(first, /^s3db_operation_errors\{resource="users",operation="insert",error="AlreadyExists"\} 1/m)
      assert.match(first, /^s3db_operation_duration_count\{.*operation="insert".*\} 2/m)
      assert.include(first, 's3db_slow_operations{resource="a\\"b\\\\c\\nd",operation="x"} 1')
      yield* users.get("1")
      assert.match(yield* PrometheusMetrics.format(), /^s3db_operations\{resource="users",operation="get"\} 1/m)
    }).pipe(registry)
  )

  it.effect("OTLP", () =>
    Effect.gen(function* () {
      const { users } = yield* process()
      yield* users.insert({ id: "1", mail: "a" })
      const bodies: Array<string> = []
      const client = HttpClient.make((request) =>
        Effect.sync(() => {
          if (request.body._tag === "Uint8Array") bodies.push(new TextDecoder().decode(request.body.body))
          return HttpClientResponse.fromWeb(request, new Response("{}", { status: 200 }))
        })
      )
      const exporting = Otlp.layerJson({ baseUrl: "http://localhost:4318", resource: { serviceName: "db" } }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
      )
      yield* Effect.scoped(Effect.andThen(Layer.build(exporting), TestClock.adjust("1 minute")))
      const sent = bodies.join("\n")
      for (const name of [Metrics.names.operations, Metrics.names.duration, Metrics.names.requests]) {
        assert.include(sent, `"${name}"`)
      }
    }).pipe(registry)
  )

  it("the dashboard of Grafana asks for metrics that are there, and for nothing else", () => {
    const url = new URL("../../docs/guide/grafana.json", import.meta.url)
    const Target = Schema.Struct({ expr: Schema.String })
    const Panel = Schema.Struct({
      title: Schema.String,
      type: Schema.String,
      targets: Schema.Array(Target)
    })
    const Dashboard = Schema.fromJsonString(
      Schema.Struct({ title: Schema.String, uid: Schema.String, panels: Schema.Array(Panel) })
    )
    const { panels } = Schema.decodeUnknownSync(Dashboard)(readFileSync(url, "utf8"))
    const known = new Set<string>([
      ...Object.values(Metrics.names).flatMap((name) => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]),
      "s3db_costs",
      "s3db_store_requests"
    ])
    const used = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/s3db_\w+/g) ?? []))
    assert.isAtLeast(panels.length, 6)
    for (const name of used) assert.isTrue(known.has(name), name)
    for (const name of Object.values(Metrics.names)) {
      assert.isTrue(
        used.some((one) => one.startsWith(name)),
        `no panel has ${name}`
      )
    }
  })
})

describe("slow operations", () => {
  it.effect("are kept, the slowest first, without a value of a field or an id", () =>
    Effect.gen(function* () {
      const { state, store } = disturbed(yield* memory)
      const { metrics, users } = yield* processOn(store, { slow: "100 millis", slowest: 3 })
      for (const millis of [150, 50, 300, 120, 200]) {
        state.millis = millis
        const write = yield* Effect.forkChild(users.insert({ id: `secret-${millis}`, mail: "secret@example.com" }))
        yield* TestClock.adjust(millis)
        yield* Fiber.join(write)
      }
      state.millis = 0
      yield* metrics.flush
      const slow = yield* metrics.slow({ from: 0 })
      assert.deepStrictEqual(
        slow.map(({ millis }) => millis),
        [300, 200, 150]
      )
      assert.deepStrictEqual(Object.keys(slow[0]!).toSorted(), [
        "endedAt",
        "error",
        "millis",
        "operation",
        "requests",
        "resource",
        "traceId"
      ])
      assert.notInclude(JSON.stringify(slow), "secret")
      assert.deepStrictEqual(
        (yield* metrics.slow({ from: 0, limit: 1 })).map(({ operation, resource }) => [resource, operation]),
        [["users", "insert"]]
      )
      assert.deepStrictEqual(yield* metrics.slow({ from: 0, resource: "orders" }), [])
      assert.strictEqual((yield* Effect.flip(metrics.slow({ limit: 0 })))._tag, "InvalidMetrics")
      for (const text of yield* everythingIn(store)) assert.notInclude(text, "secret")
    }).pipe(registry)
  )

  const everythingIn = (store: Store) =>
    Effect.gen(function* () {
      const { metrics } = yield* processOn(store)
      return [JSON.stringify(yield* points(metrics, { from: 0 })), ...(yield* keysIn(store, ""))]
    })
})

describe("intervals", () => {
  it.effect("cost 1 PUT each, none where nothing was counted, and operations cost nothing more", () =>
    Effect.gen(function* () {
      const plain = yield* Effect.flatMap(memory, (store) =>
        Effect.gen(function* () {
          const { counter, store: counting } = InstrumentedStore.make(store)
          const { open } = yield* openOn(counting)
          return { counter, users: yield* open("users", { schema: User, primaryKey: "id" }) }
        })
      )
      const measured = yield* process()
      const work = ({ users }: { readonly users: typeof plain.users }) =>
        Effect.gen(function* () {
          yield* users.insert({ id: "1", mail: "a" })
          yield* users.upsert({ id: "1", mail: "b" })
          yield* users.get("1")
          yield* Stream.runDrain(users.query({ scan: true }))
          yield* Stream.runDrain(users.listIds())
          yield* users.count()
          yield* Effect.exit(users.get("2"))
          yield* users.delete("1")
        })
      for (const one of [plain, measured]) {
        yield* one.counter.reset
        yield* work(one)
      }
      assert.deepStrictEqual(yield* measured.counter.counts, yield* plain.counter.counts)
      yield* measured.counter.reset
      yield* TestClock.adjust("1 minute")
      yield* until(Effect.map(measured.counter.counts, ({ put }) => put > 0))
      assert.deepStrictEqual(sumOf(yield* measured.counter.counts), { put: 1 })
      // Nothing happens for ten minutes.
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(sumOf(yield* measured.counter.counts), { put: 1 })
    }).pipe(registry)
  )

  const sumOf = (counts: InstrumentedStore.Counts) =>
    Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))

  it.effect("of several processes, of which each writes at once, add up", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const processes = yield* Effect.forEach([1, 2, 3], () => processOn(store))
      for (let minute = 0; minute < 5; minute++) {
        for (const { metrics } of processes) yield* metrics.record({ resource: "a", operation: "x", duration: 5 })
        yield* TestClock.adjust("1 minute")
        yield* untilKeys(store, "interval/", 3 * (minute + 1))
      }
      const found = yield* points(processes[0]!.metrics, { from: 0 })
      assert.deepStrictEqual(
        found.map(({ at, count }) => [DateTime.toEpochMillis(at), count]),
        [0, 1, 2, 3, 4].map((minute) => [minute * 60_000, 3])
      )
      assert.lengthOf(yield* keysIn(store, "interval/"), 15)
    }).pipe(registry)
  )

  it.effect("that cannot be written are written later, once, also when nobody knows whether they were", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { state, store } = disturbed(inner)
      const { database, metrics } = yield* processOn(store)
      const statuses = Effect.provideService(Plugin.statuses, Database.Database, database)
      const record = metrics.record({ resource: "a", operation: "x", duration: 5, error: "Wrong" })
      yield* record
      state.isDown = true
      assert.strictEqual((yield* Effect.flip(metrics.flush))._tag, "DbError")
      yield* record
      const untilIs = (level: string) => until(Effect.map(statuses, ([one]) => one?.health.level === level))
      yield* TestClock.adjust("1 minute")
      yield* untilIs("degraded")
      // Written, but nobody says so.
      state.isUnknown = true
      yield* TestClock.adjust("1 minute")
      yield* untilKeys(inner, "interval/", 1)
      yield* record
      yield* Effect.exit(metrics.flush)
      assert.lengthOf(yield* keysIn(inner, "interval/"), 1)
      state.isDown = false
      state.isUnknown = false
      yield* TestClock.adjust("1 minute")
      yield* untilIs("up")
      const found = yield* points(metrics, { from: 0, to: 7_200_000 })
      assert.strictEqual(countOf(found), 3)
      assert.strictEqual(
        found.reduce((sum, { errors }) => sum + (errors.get("Wrong") ?? 0), 0),
        3
      )
      assert.strictEqual(countOf(yield* metrics.totals), 3)
    }).pipe(registry)
  )

  it.effect("an interval under way is lost in a crash, and nothing else", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const crashed = yield* processOn(store)
      const record = crashed.metrics.record({ resource: "a", operation: "x", duration: 5 })
      yield* record
      yield* TestClock.adjust("1 minute")
      yield* untilKeys(store, "interval/", 1)
      yield* record
      // Nothing is closed.
      const { metrics } = yield* processOn(store)
      assert.strictEqual(countOf(yield* points(metrics, { from: 0 })), 1)
    }).pipe(registry)
  )
})

describe("hours and days", () => {
  const minutes = 60_000
  const hour = 60 * minutes

  /** Writes what `n` counted at a time. */
  const at = Effect.fnUntraced(function* (metrics: Metrics.Metrics["Service"], time: number, resource = "a") {
    yield* TestClock.setTime(time)
    // An interval begins.
    yield* metrics.flush
    yield* metrics.record({ resource, operation: "x", duration: 5 })
    yield* metrics.flush
  })

  it.effect("have what intervals have, whenever they are rolled up, and however often", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { metrics } = yield* processOn(store, { write: false })
      const times = [0, 10, 70, 130, 25 * 60, 26 * 60 + 59].map((minute) => minute * minutes)
      for (const time of times) yield* at(metrics, time)
      const ranges: ReadonlyArray<Metrics.QueryOptions> = [
        { from: 0, to: 48 * hour, resolution: "1 hour" },
        { from: 0, to: 48 * hour, resolution: "2 hours" },
        { from: 0, to: 48 * hour, resolution: "1 day" },
        { from: 24 * hour, to: 48 * hour, resolution: "1 day" },
        { from: 0, to: 2 * hour, resolution: "1 hour" }
      ]
      const look = Effect.forEach(ranges, (range) => points(metrics, range))
      const before = yield* look
      assert.deepStrictEqual(before.map(countOf), [6, 6, 6, 2, 3])
      yield* TestClock.setTime(27 * hour)
      yield* metrics.rollUp
      assert.deepStrictEqual(yield* look, before)
      assert.deepStrictEqual(yield* metrics.rollUp, Option.none())
      yield* TestClock.setTime(28 * hour)
      assert.deepStrictEqual(
        Option.map(yield* metrics.rollUp, ({ added }) => added),
        Option.some(0)
      )
      assert.deepStrictEqual(yield* look, before)
    }).pipe(registry)
  )

  it.effect("stay when intervals are removed; what comes late is in them", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const one = yield* processOn(store, { write: false, keep: { intervals: "6 hours", hours: "1 day" } })
      const late = yield* processOn(store, { write: false })
      yield* at(one.metrics, 10 * minutes)
      // Counted in the first hour, and written when others have long rolled it up.
      yield* late.metrics.record({ resource: "a", operation: "x", duration: 5 })
      yield* TestClock.setTime(5 * hour)
      yield* one.metrics.rollUp
      yield* late.metrics.flush
      const hours = points(one.metrics, { from: 0, to: 24 * hour, resolution: "1 hour" })
      assert.strictEqual(countOf(yield* hours), 2)
      yield* TestClock.setTime(12 * hour)
      const rolled = yield* one.metrics.rollUp
      assert.deepStrictEqual(rolled, Option.some({ added: 1, removed: 2 }))
      assert.deepStrictEqual(yield* keysIn(store, "interval/"), [])
      assert.strictEqual(countOf(yield* hours), 2)
      yield* TestClock.setTime(50 * hour)
      assert.deepStrictEqual(
        Option.map(yield* one.metrics.rollUp, ({ removed }) => removed),
        Option.some(1)
      )
      assert.strictEqual(countOf(yield* hours), 0)
      assert.strictEqual(countOf(yield* points(one.metrics, { from: 0, to: 24 * hour, resolution: "1 day" })), 2)
    }).pipe(registry)
  )

  it.effect.each([false, true])("crashed after any request, another process rolling up at once: %s", (isAtOnce) =>
    Effect.gen(function* () {
      for (let crashAt = 1; ; crashAt++) {
        const inner = yield* memory
        let left = Number.POSITIVE_INFINITY
        const gone = Effect.die("crashed")
        const gate = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
          Effect.suspend(() => {
            left--
            if (left < 0) return gone
            return left === 0 ? Effect.andThen(effect, gone) : Effect.andThen(Effect.yieldNow, effect)
          })
        const store: Store = {
          ...inner,
          put: (request) => gate(inner.put(request)),
          get: (...args) => gate(inner.get(...args)),
          list: (request) => gate(inner.list(request)),
          deleteMany: (...args) => gate(inner.deleteMany(...args))
        }
        yield* TestClock.setTime(0)
        const keep = { intervals: "6 hours", hours: "90 days" } as const
        const crashing = yield* processOn(store, { write: false, keep })
        const other = yield* processOn(inner, { write: false, keep })
        for (const minute of [5, 65, 70]) {
          yield* at(crashing.metrics, minute * minutes)
          yield* at(other.metrics, (minute + 1) * minutes)
        }
        const look = (metrics: Metrics.Metrics["Service"]) =>
          Effect.forEach(["1 hour", "1 day"] as const, (resolution) =>
            Effect.map(points(metrics, { from: 0, to: 48 * hour, resolution }), countOf)
          )
        yield* TestClock.setTime(9 * hour)
        left = crashAt
        const [exit] = yield* Effect.all(
          [Effect.exit(crashing.metrics.rollUp), isAtOnce ? Effect.exit(other.metrics.rollUp) : Effect.void],
          { concurrency: 2 }
        )
        assert.deepStrictEqual(yield* look(other.metrics), [6, 6], `crash at ${crashAt}`)
        // An hour later the other goes on.
        yield* TestClock.setTime(10 * hour)
        yield* other.metrics.rollUp
        assert.deepStrictEqual(yield* look(other.metrics), [6, 6], `crash at ${crashAt}`)
        assert.deepStrictEqual(yield* keysIn(inner, "interval/"), [], `crash at ${crashAt}`)
        if (Exit.isSuccess(exit)) return assert.isAbove(crashAt, isAtOnce ? 3 : 10)
        assert.isTrue(Cause.hasDies(exit.cause))
      }
    }).pipe(registry)
  )

  it.effect("are rolled up once an hour by one of the processes, by themselves", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [one, other] = yield* Effect.forEach([1, 2], () => processOn(store))
      yield* one!.metrics.record({ resource: "a", operation: "x", duration: 5 })
      yield* TestClock.adjust("1 minute")
      yield* untilKeys(store, "interval/", 1)
      yield* TestClock.adjust("58 minutes")
      assert.deepStrictEqual(yield* keysIn(store, "hour/"), [])
      yield* one!.counter.reset
      yield* other!.counter.reset
      yield* TestClock.adjust("2 minutes")
      yield* untilKeys(store, "day/", 1)
      yield* until(
        Effect.map(store.get("plugin=metrics/progress"), ({ body }) =>
          `${new TextDecoder().decode(body)}`.includes('"done":3600000')
        )
      )
      assert.deepStrictEqual(yield* keysIn(store, "hour/"), ["plugin=metrics/hour/1970-01-01T00"])
      assert.deepStrictEqual(yield* keysIn(store, "day/"), ["plugin=metrics/day/1970-01-01"])
      const asked = (yield* Effect.forEach([one!, other!], ({ counter }) => counter.counts)).map(
        (counts) => counts.get + counts.put + counts.list
      )
      // The one that was late reads that somebody has, or loses and reads it then.
      assert.isAtMost(Math.min(...asked), 3)
      assert.isAtMost(Math.max(...asked), 16)
    }).pipe(registry)
  )

  it.effect("a range, a resolution and options that cannot be are refused", () =>
    Effect.gen(function* () {
      const { metrics } = yield* process()
      const refused = (options: Metrics.QueryOptions) =>
        Effect.map(Effect.flip(points(metrics, options)), (error) =>
          error._tag === "InvalidMetrics" ? error.field : error._tag
        )
      assert.strictEqual(yield* refused({ from: "nonsense" }), "from")
      assert.strictEqual(yield* refused({ from: -1 }), "from")
      assert.strictEqual(yield* refused({ from: 10, to: 9 }), "to")
      assert.strictEqual(yield* refused({ to: 1e20 }), "to")
      assert.strictEqual(yield* refused({ resolution: "Infinity" }), "resolution")
      for (const [options, field] of [
        [{ interval: "2 hours" }, "interval"],
        [{ interval: 10 }, "interval"],
        [{ slow: -1 }, "slow"],
        [{ slowest: 101 }, "slowest"],
        [{ keep: { intervals: "1 hour" } }, "keep.intervals"],
        [{ keep: { hours: 0 } }, "keep.hours"],
        [{ keep: { days: "Infinity" } }, "keep.days"]
      ] as const) {
        const error = yield* Effect.flip(process(options))
        assert.strictEqual(error._tag === "InvalidMetrics" ? error.field : error._tag, field)
      }
    }).pipe(registry)
  )

  it.effect("a damaged interval is told, and named", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { metrics } = yield* processOn(store)
      yield* at(metrics, 0)
      const [key] = yield* keysIn(store, "interval/")
      yield* store.put({ key: key!, body: new Uint8Array([1, 2, 3]) })
      const error = yield* Effect.flip(points(metrics, { from: 0 }))
      assert.strictEqual(error._tag, "DbError")
      assert.include(String(error), "Corrupt")
    }).pipe(registry)
  )

  it.effect("on a store that lists in no order", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const store: Store = {
        ...inner,
        capabilities: { ...inner.capabilities!, orderedList: false },
        list: (request) => Effect.map(inner.list(request), (page) => ({ ...page, entries: page.entries.toReversed() }))
      }
      const { metrics } = yield* processOn(store, { write: false })
      for (const minute of [0, 70, 130, 200]) yield* at(metrics, minute * minutes)
      yield* TestClock.setTime(4 * hour)
      yield* metrics.rollUp
      const found = yield* points(metrics, { from: hour, to: 3 * hour, resolution: "1 hour" })
      assert.deepStrictEqual(
        found.map(({ at }) => DateTime.toEpochMillis(at)),
        [hour, 2 * hour]
      )
    }).pipe(registry)
  )
})

// Layers as programs write them.
it.effect("as a layer", () =>
  Effect.gen(function* () {
    const store = yield* memory
    const App = Metrics.layer().pipe(
      Layer.provideMerge(Database.layerWith({ catalogLease: 0 })),
      Layer.provide(Layer.succeed(ObjectStore, store))
    )
    const context = yield* Layer.build(App)
    assert.deepStrictEqual(yield* Context.get(context, Metrics.Metrics).totals, [])
  }).pipe(registry)
)
