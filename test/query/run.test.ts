import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Query from "effect-s3db/Query"
import type * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { memory, openNew, openOn } from "../fixture.ts"

const Task = Schema.Struct({
  id: Schema.String,
  tenant: Schema.String,
  name: Schema.String,
  rank: Schema.Int,
  due: Schema.optionalKey(Schema.Int),
  state: Schema.NullOr(Schema.String),
  place: Schema.optionalKey(Schema.Struct({ city: Schema.String }))
})
type Task = typeof Task.Type

const task = (id: number, more: Partial<Task> = {}): Task => ({
  id: `t${id}`,
  tenant: id % 2 === 0 ? "a" : "b",
  name: ["Ana", "ANA", "bo"][id % 3]!,
  rank: 100 - id,
  state: id % 4 === 0 ? null : "open",
  ...(id % 3 === 0 ? { due: id } : {}),
  ...(id % 5 === 0 ? { place: { city: "Lima" } } : {}),
  ...more
})

const tasks = Array.from({ length: 30 }, (_, i) => task(i))

type Request = Query.Request<Task>

/** The same documents with partitions and without. */
const opened = <const O extends Omit<Resource.Options<typeof Task>, "schema" | "primaryKey">>(options: O) =>
  Effect.gen(function* () {
    const { open } = yield* openNew
    const plain = yield* open("plain", { schema: Task, primaryKey: "id", scan: true })
    const indexed = yield* open("indexed", { schema: Task, primaryKey: "id", ...options })
    yield* plain.insertMany(tasks)
    yield* indexed.insertMany(tasks)
    const same = Effect.fnUntraced(function* (request: Request) {
      const [expected, found] = yield* Effect.all([
        Stream.runCollect(plain.query({ limit: 1000, ...request })),
        Stream.runCollect(indexed.query({ scan: true, ...request }))
      ])
      const ids = (all: ReadonlyArray<Task>) => all.map((one) => one.id)
      if (request.order === undefined) assert.deepStrictEqual(ids(found).toSorted(), ids(expected).toSorted())
      else assert.deepStrictEqual(ids(found), ids(expected))
      assert.strictEqual(yield* indexed.count({ scan: true, ...request }), expected.length)
      const paged: Array<string> = []
      let cursor: string | undefined
      do {
        const page = yield* indexed.queryPage({ scan: true, ...request, limit: 4, cursor })
        paged.push(...page.items.map((one) => one.id))
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepStrictEqual(paged.toSorted(), ids(expected).toSorted())
    })
    return { indexed, same }
  })

describe("the way to documents", () => {
  it.effect("a partition that not every document is in leads to those that must be in it, and to no others", () =>
    Effect.gen(function* () {
      const { indexed, same } = yield* opened({
        partitions: {
          byTenantDue: ["tenant", "due"],
          byTenantState: ["tenant", "state"],
          byTenantCity: ["tenant", "place.city"]
        }
      })
      for (const where of [
        { tenant: "a" },
        { tenant: "a", due: 6 },
        { tenant: "a", due: { gte: 6 } },
        { tenant: "a", state: "open" },
        { tenant: "a", state: null },
        { tenant: "a", state: { in: [null, "open"] } },
        { tenant: "b", place: { city: "Lima" } },
        { tenant: "b", due: { exists: false } },
        { state: null }
      ] as ReadonlyArray<Request["where"]>) {
        yield* same({ where })
      }
      const plan = (where: Request["where"]) => indexed.explainQuery({ where })
      assert.strictEqual((yield* plan({ tenant: "a" })).access, "scan")
      assert.strictEqual((yield* plan({ tenant: "a", state: null })).access, "scan")
      assert.deepInclude(yield* plan({ tenant: "a", due: { gte: 6 } }), { index: "byTenantDue", filter: undefined })
      assert.deepInclude(yield* plan({ tenant: "a", due: { gt: 6 } }), { index: "byTenantDue", filter: "due > 6" })
      assert.deepInclude(yield* plan({ tenant: "a", due: { gt: 6, lte: 9 } }), { filter: "due > 6" })
      assert.deepInclude(yield* plan({ tenant: "a", due: 6, rank: 3 }), { index: "byTenantDue", filter: "rank = 3" })
      const refused = yield* Effect.flip(Stream.runCollect(indexed.query({ where: { tenant: "a" } })))
      assert.strictEqual(refused._tag, "NotAllowed")
      assert.include(refused.message, "partition byTenantDue has no documents without due")
    })
  )

  it.effect("whatever partitions there are, the same documents are found", () =>
    Effect.gen(function* () {
      const { same } = yield* opened({
        partitions: {
          byTenantDue: ["tenant", "due"],
          byDueTenant: ["due", "tenant"],
          byStateRank: ["state", "rank"],
          byName: { fields: { name: "lower", rank: "bucket:10" } },
          byTenantRank: ["tenant", "rank"],
          byCity: ["place.city", "state"],
          byMade: { fields: { $createdAt: "month", tenant: "upper" } }
        }
      })
      const conditions: ReadonlyArray<ReadonlyArray<Request["where"]>> = [
        [{}, { tenant: "a" }, { tenant: { in: ["a", "b", "A"] } }, { tenant: { ne: "a" } }],
        [{}, { due: 6 }, { due: { gte: 3, lt: 12 } }, { due: { in: [3, 6, 7] } }, { due: { exists: false } }],
        [{}, { state: null }, { state: "open" }, { state: { in: [null, "open"] } }],
        [{}, { rank: { gt: 80 } }, { rank: { in: [90, 91, 92] } }, { rank: { lte: 95, gte: 85 } }],
        [{}, { name: { in: ["ANA", "bo"] } }, { name: { startsWith: "A" } }, { "place.city": "Lima" }]
      ]
      const orders = [undefined, "rank", "-rank", "due", ["state", "-due"]] as const
      // Every kind of condition meets every other one.
      for (let i = 0; i < 80; i++) {
        const all = conditions.map((some, j) => some[(i * (j + 1) + Math.floor(i / 7)) % some.length] ?? {})
        const order = orders[i % orders.length]
        yield* same({ where: { $and: all }, ...(order === undefined ? {} : { order, limit: 100 }) })
      }
    })
  )

  it.effect("values that a transform makes one are listed once", () =>
    Effect.gen(function* () {
      const { indexed, same } = yield* opened({ partitions: { byName: { fields: { name: "lower" } } } })
      yield* same({ where: { name: { in: ["Ana", "ANA"] } } })
      yield* same({ where: { name: { in: ["Ana", "bo", "nobody"] } } })
      yield* same({ where: { name: { in: [] } } })
      const plan = yield* indexed.explainQuery({ where: { name: { in: ["Ana", "ANA"] } } })
      assert.deepInclude(plan, { index: "byName", requests: { fixed: 1, perThousand: 1, perDocument: 1 } })
      assert.include(plan.filter ?? "", "name in")
    })
  )

  it.effect("an order that an index has needs no limit, and wins over an index that is narrower", () =>
    Effect.gen(function* () {
      const { indexed, same } = yield* opened({
        partitions: { byTenant: ["tenant"], byTenantRank: ["tenant", "rank"], byRank: ["rank"], byDue: ["due"] }
      })
      const plan = (request: Request) => indexed.explainQuery(request)
      assert.deepInclude(yield* plan({ where: { tenant: "a" } }), { index: "byTenant" })
      const inOrder = { index: "byTenantRank", order: "index" } as const
      assert.deepInclude(yield* plan({ where: { tenant: "a" }, order: "rank" }), inOrder)
      assert.deepInclude(yield* plan({ partition: "byTenantRank", values: { tenant: "a" }, order: "rank" }), inOrder)
      assert.deepInclude(yield* plan({ order: "rank" }), { index: "byRank", order: "index", isScan: true })
      yield* same({ where: { tenant: "a" }, order: "rank" })
      yield* same({ where: { tenant: "a", due: { gte: 3 } }, order: "rank" })
      yield* same({ order: "rank" })
      // Not every document is due.
      const error = yield* Effect.flip(plan({ order: "due" }))
      assert.include(
        error.message,
        "Expected a limit of at most 10000: documents are found by every document, and put in order in memory, as no partition is in this order"
      )
      yield* same({ order: "due", limit: 100 })
      const filtered = yield* Effect.flip(Stream.runCollect(indexed.query({ where: { name: "bo" }, order: "rank" })))
      assert.strictEqual(filtered._tag, "NotAllowed")
    })
  )

  it.effect("an order is no reason to read everything, nor one that no index has to pass over one", () =>
    Effect.gen(function* () {
      const { indexed, same } = yield* opened({ partitions: { byTenant: ["tenant"], byRank: ["rank"] } })
      const plan = (request: Request) => indexed.explainQuery(request)
      const where = { tenant: "a" }
      assert.deepInclude(yield* plan({ where, order: "rank", limit: 5 }), { index: "byTenant", order: "memory" })
      assert.deepInclude(yield* plan({ where, order: "-rank", limit: 5 }), { index: "byTenant", order: "memory" })
      assert.deepInclude(yield* plan({ where, order: "rank", scan: true }), { index: "byRank", order: "index" })
      assert.include((yield* Effect.flip(plan({ where, order: "rank" }))).message, "partition byTenant")
      assert.deepInclude(yield* plan({ order: "-rank", limit: 5 }), { access: "scan", order: "memory" })
      for (const order of ["rank", "-rank"] as const) yield* same({ where, order, limit: 100 })
      yield* same({ where, order: "rank" })
    })
  )

  it.effect("what a value can be looked up by is exactly what is stored", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({
          id: Schema.String,
          zoned: Schema.DateTimeZoned,
          day: Attribute.DateOnly,
          n: Schema.BigInt,
          name: Schema.String
        }),
        primaryKey: "id",
        partitions: { byZoned: ["zoned"], byDay: ["day"], byN: ["n"], byName: ["name"] },
        unique: { zoned: ["zoned"] }
      })
      const moment = (timeZone: string) => DateTime.makeZonedUnsafe("2026-01-05T00:00:00Z", { timeZone })
      yield* things.insert({ id: "1", zoned: moment("Europe/Berlin"), day: "2026-01-05", n: 12n, name: "\u{1F600}" })
      const ids = (request: Parameters<typeof things.query>[0]) =>
        Effect.map(Stream.runCollect(things.query({ scan: true, ...request })), (all) => all.map((one) => one.id))
      assert.deepStrictEqual(yield* ids({ where: { zoned: moment("Asia/Tokyo") } }), ["1"])
      assert.deepStrictEqual(yield* ids({ where: { day: { lt: "zz" } } }), ["1"])
      assert.deepStrictEqual(yield* ids({ where: { name: { startsWith: "\uD83D" } } }), ["1"])
      assert.deepInclude(yield* things.explainQuery({ where: { n: 12n } }), { index: "byN", filter: undefined })
      const page = yield* things.queryPage({ partition: "byN", values: { n: 12n }, order: "-day" })
      assert.deepStrictEqual(
        page.items.map((one) => one.id),
        ["1"]
      )
    })
  )

  it.effect("a page by ids reads no more than it has", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { open } = yield* openOn(store)
      const indexed = yield* open("indexed", { schema: Task, primaryKey: "id" })
      yield* indexed.insertMany(tasks)
      const where = { id: { in: tasks.map((one) => one.id) } }
      let cursor: string | undefined
      const before = (yield* counter.counts).get
      do cursor = (yield* indexed.queryPage({ where, limit: 5, cursor, concurrency: 1 })).cursor
      while (cursor !== undefined)
      // One more of each page, so that it knows whether there is another one.
      assert.isAtMost((yield* counter.counts).get - before, tasks.length + 12)
    })
  )

  it.effect("ids are a way however many they are; of many values the message shows none", () =>
    Effect.gen(function* () {
      const { indexed, same } = yield* opened({ partitions: { byName: ["name"] } })
      const many = Array.from({ length: 200 }, (_, i) => `t${i}`)
      yield* same({ where: { id: { in: many } } })
      yield* same({ where: { id: { in: many } }, order: ["-rank", "id"], limit: 300 })
      assert.deepInclude(yield* indexed.explainQuery({ where: { id: { in: many } } }), {
        access: "ids",
        requests: { fixed: 200, perThousand: 0, perDocument: 0 }
      })
      const refused = yield* Effect.flip(Stream.runCollect(indexed.query({ where: { name: { in: many } } })))
      assert.strictEqual(refused._tag, "NotAllowed")
      // Which fields, and not which values.
      assert.include(refused.message, "few of the documents (name)")
      assert.notInclude(refused.message, "t9")
      assert.include(refused.message, "partition byName would take 200 listings, more than the 50")
      yield* same({ where: { name: { in: many } } })
    })
  )

  it.effect(
    "a descending order wants a limit; a time of the database is told of where a field of its name is asked for",
    () =>
      Effect.gen(function* () {
        const { open } = yield* openOn(yield* memory)
        const events = yield* open("events", {
          schema: Schema.Struct({
            id: Schema.String,
            kind: Schema.String,
            createdAt: Schema.optionalKey(Schema.DateTimeUtcFromString)
          }),
          primaryKey: "id",
          timestamps: true,
          partitions: { byKind: ["kind"] }
        })
        const refused = (request: object) =>
          Effect.map(Effect.flip(Stream.runCollect(events.query(request))), (error) => error.message)
        assert.strictEqual(
          yield* refused({ where: { kind: "a" }, order: "-kind" }),
          "invalid input for events: limit: Expected a limit of at most 10000: documents are found by partition byKind, 1 listing by kind, and put in order in memory, as keys are in ascending order only"
        )
        assert.strictEqual(
          yield* refused({ where: { createdAt: { gte: "2026-01-01T00:00:00Z" } } }),
          "Resource.query is not allowed on events: no partition or unique key leads to few of the documents (createdAt): declare one, or say scan: true, or ask for $createdAt, the time that the database keeps and partition byCreatedDate is by"
        )
        const fields = "Expected a field of events: id, kind, createdAt"
        for (const [where, problem] of [
          [{ updatedAt: { gte: "2026-01-01T00:00:00Z" } }, `updatedAt.gte: ${fields}; perhaps $updatedAt is meant`],
          [{ knid: "a" }, `knid: ${fields}; perhaps kind is meant`],
          [{ created_at: "a" }, `created_at: ${fields}; perhaps createdAt is meant`],
          [{ colour: "a" }, `colour: ${fields}`]
        ] as const) {
          assert.strictEqual(yield* refused({ where }), `invalid input for events: ${problem}`)
        }
      })
  )
})
