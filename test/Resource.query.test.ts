import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import type * as DbError from "effect-s3db/DbError"
import * as Export from "effect-s3db/Export"
import * as Query from "effect-s3db/Query"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { memory, objectOf, openNew, openOn } from "./fixture.ts"

const Order = Schema.Struct({
  id: Schema.String,
  customer: Schema.String,
  number: Schema.Int,
  state: Schema.Literals(["open", "paid", "shipped"]),
  total: Attribute.Money("EUR"),
  placed: Attribute.DateTime,
  address: Schema.optionalKey(Schema.Struct({ city: Schema.String })),
  tags: Schema.Array(Schema.String),
  note: Schema.optionalKey(Schema.String)
})

const options = {
  schema: Order,
  primaryKey: "id",
  partitions: {
    byState: { fields: ["state", "placed"] },
    byCity: ["address.city"],
    byMonth: { fields: { placed: "month" } },
    byCustomer: ["customer"]
  },
  unique: { number: ["number"] }
} as const satisfies Resource.Options<typeof Order>

const decimal = Schema.decodeUnknownSync(Schema.BigDecimalFromString)
const states = ["open", "paid", "shipped"] as const
const cities = ["Lisbon", "Porto", "a/b", "Lisboa"]

const orders: ReadonlyArray<typeof Order.Type> = Array.from({ length: 60 }, (_, i) => ({
  id: `o${String(i).padStart(2, "0")}`,
  customer: `c${i % 7}`,
  number: 1000 + i,
  state: states[i % 3]!,
  total: decimal(`${i % 10}.50`),
  placed: DateTime.makeUnsafe(Date.UTC(2026, i % 12, 1 + (i % 28))),
  tags: i % 2 === 0 ? ["even", `t${i % 5}`] : [],
  ...(i % 4 === 3 ? {} : { address: { city: cities[i % 4]! } }),
  ...(i % 10 === 0 ? { note: "x" } : {})
}))

const opened = Effect.gen(function* () {
  const store = yield* memory
  const { counter, store: counted } = InstrumentedStore.make(store)
  const { open } = yield* openOn(counted)
  const repository = yield* open("orders", options)
  yield* repository.insertMany(orders)
  return { repository, counter, store }
})

const idsOf = (request: Parameters<Resource.Repository<typeof Order>["query"]>[0]) =>
  Effect.flatMap(opened, ({ repository }) =>
    Effect.map(Stream.runCollect(repository.query(request)), (found) => found.map((one) => one.id))
  )

const expected = (keep: (one: typeof Order.Type, i: number) => boolean) => orders.filter(keep).map((one) => one.id)

describe("queries", () => {
  it.effect("T32: exact conditions, nested paths, and a limit that counts matches", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const run = (request: Parameters<typeof repository.query>[0]) =>
        Effect.map(Stream.runCollect(repository.query(request)), (found) => found.map((one) => one.id).toSorted())
      const cases: ReadonlyArray<readonly [Parameters<typeof repository.query>[0], ReadonlyArray<string>]> = [
        [{ where: { customer: "c1", state: "paid" } }, expected((o) => o.customer === "c1" && o.state === "paid")],
        [{ where: { "address.city": "Lisbon" } }, expected((o) => o.address?.city === "Lisbon")],
        [
          { where: { "address.city": { startsWith: "Lis" } } },
          expected((o) => o.address?.city.startsWith("Lis") === true)
        ],
        [{ where: { number: 1007 } }, ["o07"]],
        [{ where: { id: { in: ["o01", "o05", "none"] } } }, ["o01", "o05"]],
        [{ where: { id: "o03", state: "paid" } }, []],
        [
          { where: { state: "open", placed: { gte: DateTime.makeUnsafe("2026-05-01T00:00:00Z") } } },
          expected((o) => o.state === "open" && DateTime.toEpochMillis(o.placed) >= Date.UTC(2026, 4))
        ],
        [
          {
            where: {
              placed: {
                gt: DateTime.makeUnsafe("2026-03-05T00:00:00Z"),
                lte: DateTime.makeUnsafe("2026-04-16T00:00:00Z")
              }
            }
          },
          expected(
            (o) =>
              DateTime.toEpochMillis(o.placed) > Date.UTC(2026, 2, 5) &&
              DateTime.toEpochMillis(o.placed) <= Date.UTC(2026, 3, 16)
          )
        ],
        [{ where: { state: { in: ["open", "shipped"] } } }, expected((o) => o.state !== "paid")],
        [{ where: { tags: { contains: "t2" } }, scan: true }, expected((o) => o.tags.includes("t2"))],
        [{ where: { total: { gt: decimal("8.5") } }, scan: true }, expected((_, i) => i % 10 > 8)],
        [{ where: { total: decimal("3.50") }, scan: true }, expected((_, i) => i % 10 === 3)],
        [{ where: { note: { exists: true } }, scan: true }, expected((o) => o.note !== undefined)],
        [{ where: { $or: [{ number: 1001 }, { number: 1002 }] }, scan: true }, ["o01", "o02"]],
        [{ where: { $not: { state: "open" } }, scan: true }, expected((o) => o.state !== "open")],
        [
          { predicate: Query.and(Query.eq("state", "paid"), Query.lt("number", 1010)) },
          expected((o) => o.state === "paid" && o.number < 1010)
        ],
        [{ scan: true }, orders.map((one) => one.id)]
      ]
      for (const [request, ids] of cases) {
        assert.deepStrictEqual(
          yield* run(request),
          [...ids].toSorted(),
          JSON.stringify(yield* repository.explainQuery(request))
        )
      }
      assert.strictEqual((yield* run({ where: { state: "paid" }, limit: 7 })).length, 7)
    })
  )

  it.effect("the shortest way is taken, and told", () =>
    Effect.gen(function* () {
      const { repository, counter } = yield* opened
      const plan = (request: Parameters<typeof repository.query>[0]) => repository.explainQuery(request)
      assert.deepInclude(yield* plan({ where: { id: "1" } }), {
        access: "ids",
        filter: undefined,
        requests: { fixed: 1, perThousand: 0, perDocument: 0 }
      })
      assert.deepInclude(yield* plan({ where: { number: 1, state: "paid" } }), {
        access: "unique",
        index: "number",
        filter: 'state = "paid"',
        requests: { fixed: 2, perThousand: 0, perDocument: 0 }
      })
      const ranged = yield* plan({ where: { state: "paid", placed: { lt: DateTime.makeUnsafe(0) } } })
      assert.deepInclude(ranged, { access: "partition", index: "byState", isScan: false })
      assert.strictEqual(ranged.filter, 'placed < "1970-01-01T00:00:00.000Z"')
      assert.deepInclude(yield* plan({ where: { placed: { lt: DateTime.makeUnsafe(0) } } }), { index: "byMonth" })
      assert.deepInclude(yield* plan({ where: { state: { in: ["paid", "open"] } } }), {
        index: "byState",
        filter: undefined,
        requests: { fixed: 2, perThousand: 1, perDocument: 1 }
      })
      assert.deepInclude(yield* plan({ where: { note: "x" } }), {
        access: "scan",
        isScan: true,
        filter: 'note = "x"',
        requests: { fixed: 1, perThousand: 1, perDocument: 1 }
      })
      assert.deepInclude(yield* plan({ where: { state: "paid" }, order: "placed" }), { order: "index" })
      assert.deepInclude(yield* plan({ where: { state: "paid" }, order: "-placed", limit: 3 }), { order: "memory" })
      const before = yield* counter.counts
      yield* Stream.runDrain(repository.query({ where: { number: 1007 } }))
      yield* Stream.runDrain(repository.query({ where: { customer: "c3" } }))
      const after = yield* counter.counts
      assert.strictEqual(after.get - before.get, 2 + orders.filter((one) => one.customer === "c3").length)
      assert.strictEqual(after.list - before.list, 1)
    })
  )

  it.effect("what is wrong with a query names the field; a full scan has to be allowed", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const error = (request: Parameters<typeof repository.query>[0]) =>
        Effect.flip(Stream.runDrain(repository.query(request)))
      const scan = (yield* error({ where: { note: "x" } })) as DbError.NotAllowed
      assert.strictEqual(scan._tag, "NotAllowed")
      assert.include(scan.message, "scan: true")
      assert.include(scan.message, "note")
      const path = (found: unknown) => (found as DbError.InvalidInput).issues[0]?.path.join(".")
      assert.strictEqual(path(yield* error({ where: { nope: 1 } as never, scan: true })), "nope")
      assert.strictEqual(path(yield* error({ where: { number: { gt: undefined } } as never })), "number.gt")
      assert.strictEqual(path(yield* error({ order: "nope" as never })), "nope")
      assert.strictEqual(path(yield* error({ order: "number" })), "limit")
      assert.strictEqual(path(yield* error({ limit: 0 })), "limit")
      const free = yield* (yield* openNew).open("free", { ...options, scan: true })
      assert.deepStrictEqual(yield* Stream.runCollect(free.query({ where: { note: "x" } })), [])
    })
  )

  it.effect("order", () =>
    Effect.gen(function* () {
      const byTotal = yield* idsOf({ order: ["-total", "id"], limit: 7, scan: true })
      assert.deepStrictEqual(byTotal, ["o09", "o19", "o29", "o39", "o49", "o59", "o08"])
      const placed = yield* idsOf({ where: { state: "paid" }, order: "placed" })
      const paid = orders.filter((one) => one.state === "paid")
      assert.deepStrictEqual(
        placed,
        paid
          .toSorted(
            (a, b) => DateTime.toEpochMillis(a.placed) - DateTime.toEpochMillis(b.placed) || (a.id < b.id ? -1 : 1)
          )
          .map((one) => one.id)
      )
      const mixed = yield* idsOf({ where: { state: "open" }, order: [{ customer: "desc" }, "number"], limit: 4 })
      const open = orders.filter((one) => one.state === "open")
      assert.deepStrictEqual(
        mixed,
        open
          .toSorted((a, b) => (a.customer === b.customer ? a.number - b.number : a.customer < b.customer ? 1 : -1))
          .slice(0, 4)
          .map((one) => one.id)
      )
    })
  )

  it.effect("T31: pages hold their place while documents come and go", () =>
    Effect.gen(function* () {
      for (const profile of ["aws", "express"] as const) {
        const { store } = yield* MemoryStore.make({ profile })
        const { open } = yield* openOn(store)
        const repository = yield* open("orders", options)
        yield* repository.insertMany(orders)
        for (const request of [
          { where: { state: "paid" as const } },
          { where: { tags: { contains: "even" } }, scan: true },
          { order: "-number" as const, scan: true },
          { where: { state: { in: ["open" as const, "paid" as const] } } },
          {}
        ]) {
          const all = (yield* Stream.runCollect(repository.query({ ...request, limit: 100 }))).map((one) => one.id)
          const seen: Array<string> = []
          let cursor: string | undefined
          do {
            const page: Resource.Page<typeof Order.Type> = yield* repository.queryPage({ ...request, limit: 4, cursor })
            assert.isAtMost(page.items.length, 4)
            seen.push(...page.items.map((one) => one.id))
            const json = yield* repository.queryPageJson({ ...request, limit: 4, cursor, select: ["id", "number"] })
            assert.deepStrictEqual(
              json.items,
              page.items.map(({ id, number }) => ({ id, number }))
            )
            assert.strictEqual(json.cursor === undefined, page.cursor === undefined)
            cursor = page.cursor
            if (cursor !== undefined) {
              const other = yield* Effect.flip(repository.queryPage({ where: { customer: "c1" }, cursor }))
              assert.strictEqual((other as DbError.InvalidInput).issues[0]?.path[0], "cursor")
              const forged = `${cursor.slice(0, -2)}${cursor.endsWith("AA") ? "BB" : "AA"}`
              assert.strictEqual(
                (yield* Effect.flip(repository.queryPage({ ...request, cursor: forged })))._tag,
                "InvalidInput"
              )
            }
          } while (cursor !== undefined)
          assert.deepStrictEqual(seen.toSorted(), all.toSorted(), `${profile} ${JSON.stringify(request)}`)
          assert.strictEqual(new Set(seen).size, seen.length)
          const { total } = yield* repository.queryPage({ ...request, limit: 1, total: true })
          assert.strictEqual(total, all.length)
          assert.strictEqual((yield* repository.queryPageJson({ ...request, limit: 1, total: true })).total, all.length)
        }
      }
    })
  )

  it.effect("aggregates", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const groups = yield* repository.aggregate(
        { groupBy: ["state"], values: { n: { count: true }, sum: { sum: "total" }, most: { max: "number" } } },
        { scan: true }
      )
      assert.deepStrictEqual(
        groups.map((group) => [group.key[0], group.values["n"]]),
        [
          ["open", 20],
          ["paid", 20],
          ["shipped", 20]
        ]
      )
      assert.strictEqual(groups[0]?.values["most"], 1057)
      const [paid] = yield* repository.aggregate({ values: { n: { count: true } } }, { where: { state: "paid" } })
      assert.strictEqual(paid?.values["n"], 20)
      const wrong = yield* Effect.flip(repository.aggregate({ values: { n: { sum: "nope" as never } } }))
      assert.strictEqual(wrong._tag, "InvalidInput")
    })
  )

  it.effect("what is exported can be imported; a line that does not fit has its own outcome", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        at: Schema.DateTimeUtc,
        price: Schema.BigDecimal,
        bytes: Schema.Uint8Array,
        note: Schema.optionalKey(Schema.String)
      })
      const [from, to] = [
        yield* open("from", { schema, primaryKey: "id", scan: true }),
        yield* open("to", { schema, primaryKey: "id", scan: true })
      ]
      const documents = Array.from({ length: 5 }, (_, i) => ({
        id: `p${i}`,
        at: DateTime.makeUnsafe(1_700_000_000_000 + i),
        price: BigDecimal.fromStringUnsafe(`${i}.10`),
        bytes: Uint8Array.of(i, 255)
      }))
      yield* from.insertMany(documents)
      const lines = Export.ndjson(from.queryJson({ scan: true }))
      const broken = Stream.concat(
        lines,
        Stream.make(new TextEncoder().encode(`{"id":"x","at":"soon"}\n{"id":"y","z":1}\n`))
      )
      const told = yield* Stream.runCollect(
        to.writeAllJson(Export.documents(Export.fromNdjson(broken)), { mode: "upsert" })
      )
      assert.deepStrictEqual(
        told.map(({ index, id, result }) => [index, id, result._tag === "Failure" ? result.failure._tag : "written"]),
        [...documents.map(({ id }, i) => [i, id, "written"]), [5, "x", "InvalidInput"], [6, "y", "InvalidInput"]]
      )
      const failed = told[6]?.result
      assert.include(failed?._tag === "Failure" ? failed.failure.message : "", "z")
      assert.deepStrictEqual(yield* to.get("p3"), yield* from.get("p3"))
    })
  )

  it.effect("long writes tell how far they are, and a sink can be gone on with where it stopped", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
        primaryKey: "id",
        partitions: { byN: ["n"] }
      })
      const inputs = Array.from({ length: 2500 }, (_, i) => ({ id: `t${String(i).padStart(4, "0")}`, n: i % 3 }))
      const progress: Array<string> = []
      const onProgress = ({ done, total }: { readonly done: number; readonly total: number }) =>
        Effect.sync(() => progress.push(`${done} of ${total}`))
      let noted = -1
      const failing = Stream.concat(Stream.fromIterable(inputs.slice(0, 1000)), Stream.fail("the source broke"))
      const onOutcome = ({ index }: { readonly index: number }) => Effect.sync(() => (noted = index))
      const error = yield* Effect.flip(Stream.run(failing, Resource.sink(things, { onOutcome })))
      assert.strictEqual(error, "the source broke")
      assert.isAbove(noted, 900)
      const rest = Stream.drop(Stream.fromIterable(inputs), noted + 1)
      const summary = yield* Stream.run(rest, Resource.sink(things, { mode: "replace" }))
      assert.deepStrictEqual([summary.written, summary.failed], [2499 - noted, 0])
      assert.strictEqual(yield* things.count(), 2500)

      yield* things.insertMany(
        [
          { id: "x", n: 1 },
          { id: "y", n: 2 }
        ],
        { onProgress, concurrency: 1 }
      )
      yield* things.deleteMany([...inputs.map(({ id }) => id), "nothing"], { onProgress })
      assert.deepStrictEqual(progress, ["1 of 2", "2 of 2", "1000 of 2501", "2000 of 2501", "2501 of 2501"])
      assert.strictEqual(yield* things.count({ partition: "byN", values: { n: 1 } }), 1)
    })
  )

  it.effect("updateMany changes each document once, also where that moves it ahead in the listing", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const counters = yield* open("counters", {
        schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
        primaryKey: "id",
        partitions: { byN: ["n"] }
      })
      const ids = Array.from({ length: 1200 }, (_, i) => `c${i}`)
      yield* counters.insertMany(ids.map((id) => ({ id, n: 0 })))
      const told = yield* Stream.runCollect(
        Stream.take(
          counters.updateMany({ where: { n: { gte: 0 } } }, ({ n }) => ({ n: n + 1 })),
          3000
        )
      )
      assert.strictEqual(told.length, 1200)
      assert.strictEqual(yield* counters.count({ partition: "byN", values: { n: 1 } }), 1200)
    })
  )

  it.live("updateMany leaves alone what does not meet the conditions any more", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const open = orders.filter((one) => one.state === "open").map((one) => one.id)
      const last = open.at(-1)!
      // All of them have been read when the last of them is paid, while the first is being changed.
      yield* repository.intercept({
        operations: "update",
        before: ({ input }) =>
          input.id === open[0] ? Effect.orDie(Effect.asVoid(repository.update(last, { state: "paid" }))) : Effect.void
      })
      const told = yield* Stream.runCollect(
        repository.updateMany({ where: { state: "open" }, concurrency: 5 }, (one) => ({ note: `was ${one.state}` }))
      )
      const ids = told.map((one) => one.id)
      assert.deepStrictEqual(ids.toSorted(), open.slice(0, -1).toSorted())
      assert.deepStrictEqual(
        told.map((one) => one.index),
        ids.map((_, i) => i)
      )
      assert.notInclude((yield* repository.get(last)).note ?? "", "was")
    })
  )

  it.effect("what reads everything says so, in every form", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
        primaryKey: "id"
      })
      yield* things.insertMany([
        { id: "1", n: 1 },
        { id: "2", n: 2 }
      ])
      const every = [
        {},
        { where: {} },
        { where: { $and: [] } },
        { predicate: Query.and() },
        { predicate: yield* things.parseWhere({}) },
        { where: { $and: [{}] } }
      ]
      const number = { values: { n: { count: true } } } as const
      for (const request of every) {
        const forms: ReadonlyArray<
          (one: typeof request & { readonly scan?: boolean }) => Effect.Effect<unknown, unknown>
        > = [
          (one) => Stream.runCollect(things.query(one)),
          (one) => Stream.runCollect(things.queryJson(one)),
          (one) => Stream.runCollect(things.updateMany(one, { n: 3 })),
          (one) => things.aggregate(number, one),
          ...(Object.keys(request).length === 0
            ? []
            : [
                (one: typeof request) => things.count(one),
                (one: typeof request) => Stream.runCollect(things.listIds(one)),
                (one: typeof request) => things.queryPage({ ...one, total: true })
              ])
        ]
        for (const form of forms) {
          const refused = yield* Effect.flip(form(request))
          assert.include(String(refused), "scan: true", JSON.stringify(request))
          yield* form({ ...request, scan: true })
        }
        // No more is read than that.
        assert.strictEqual((yield* Stream.runCollect(things.query({ ...request, limit: 1 }))).length, 1)
      }
      assert.strictEqual((yield* Stream.runCollect(things.scan())).length, 2)
      assert.strictEqual(yield* things.count(), 2)
      assert.strictEqual((yield* Stream.runCollect(things.listIds())).length, 2)
      assert.strictEqual((yield* things.list()).items.length, 2)
    })
  )

  it.effect("JSON: some fields, all fields, never a secret", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        name: Schema.String,
        token: Attribute.SecretText,
        in: Schema.Struct({ pin: Attribute.SecretNumber, n: Schema.Int })
      })
      const accounts = yield* open("accounts", { schema, primaryKey: "id" })
      yield* accounts.insert({
        id: "1",
        name: "Ana",
        token: Redacted.make("hunter2"),
        in: { pin: Redacted.make(4711), n: 1 }
      })
      assert.deepStrictEqual(yield* Stream.runCollect(accounts.queryJson({ scan: true })), [
        { id: "1", name: "Ana", in: { n: 1 } }
      ])
      assert.deepStrictEqual(yield* Stream.runCollect(accounts.queryJson({ select: ["name", "in.n"], scan: true })), [
        { name: "Ana", in: { n: 1 } }
      ])
      for (const path of ["token", "in.pin"] as const) {
        assert.strictEqual(
          (yield* Effect.flip(Stream.runDrain(accounts.queryJson({ select: [path] }))))._tag,
          "InvalidInput"
        )
        const asked = yield* Effect.flip(
          Stream.runDrain(accounts.query({ predicate: Query.eq(path, "hunter2"), scan: true }))
        )
        assert.include(asked.message, "not secret")
      }
      const lines = yield* Stream.mkString(Export.ndjsonText(accounts.queryJson({ scan: true })))
      assert.strictEqual(lines.trim(), '{"id":"1","name":"Ana","in":{"n":1}}')
    }).pipe(Effect.provide(KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32)) } })))
  )
})

describe("batches", () => {
  it.effect("updateMany changes what meets the conditions, and tells of each", () =>
    Effect.gen(function* () {
      const { repository } = yield* opened
      const told = yield* Stream.runCollect(
        repository.updateMany({ where: { state: "open", customer: "c0" } }, (now) => ({
          state: "paid",
          number: now.number + (now.id === "o00" ? 1 : 5000)
        }))
      )
      assert.deepStrictEqual(
        told.map((one) => one.id).toSorted(),
        expected((o) => o.state === "open" && o.customer === "c0")
      )
      const failed = told.filter((one) => Result.isFailure(one.result))
      assert.deepStrictEqual(
        failed.map((one) => one.id),
        ["o00"]
      )
      assert.strictEqual((yield* repository.get("o21")).state, "paid")
    })
  )

  it.effect("the change of updateMany may be an effect, with errors and services of its own", () =>
    Effect.gen(function* () {
      class Limit extends Context.Service<Limit, number>()("effect-s3db/test/Resource.query.test/Limit") {}
      const { repository } = yield* opened
      const told = yield* Stream.runCollect(
        repository.updateMany({ where: { customer: "c0" } }, ({ number }) =>
          Effect.flatMap(Limit, (limit) =>
            number > limit ? Effect.fail("too many" as const) : Effect.succeed({ number: number + 5000 })
          )
        )
      ).pipe(Effect.provideService(Limit, 1030))
      const failed = told.flatMap(({ id, result }) => (Result.isFailure(result) ? [[id, result.failure] as const] : []))
      assert.deepStrictEqual(
        failed.map(([id]) => id ?? "").toSorted(),
        expected((o) => o.customer === "c0" && o.number > 1030)
      )
      assert.isTrue(failed.length > 0 && failed.every(([, failure]) => failure === "too many"))
    })
  )

  it.effect("upsertMany and writeAll tell of each in its place; a sink sums up", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, n: Schema.Int })
      const items = yield* open("items", { schema, primaryKey: "id" })
      yield* items.insert({ id: "2", n: 0 })
      const inputs = Array.from({ length: 25 }, (_, i) => ({ id: `${i}`, n: i === 7 ? 0.5 : i }))
      const told = yield* Stream.runCollect(items.writeAll(Stream.fromArray(inputs), { concurrency: 4 }))
      assert.deepStrictEqual(
        told.map((one) => one.index),
        inputs.map((_, i) => i)
      )
      assert.deepStrictEqual(
        told.filter((one) => Result.isFailure(one.result)).map((one) => one.id),
        ["2", "7"]
      )
      const upserted = yield* items.upsertMany(inputs)
      assert.deepStrictEqual(
        upserted.flatMap((one, i) => (Result.isFailure(one) ? [i] : [])),
        [7]
      )
      assert.strictEqual((yield* items.get("2")).n, 2)
      const summary = yield* Stream.run(Stream.fromArray(inputs), Resource.sink(items, { mode: "replace", keep: 5 }))
      assert.deepInclude(summary, { written: 24, failed: 1 })
      assert.strictEqual(summary.failures[0]?.error._tag, "InvalidInput")
      const twice = yield* Stream.run(Stream.fromArray(inputs), Resource.sink(items, { keep: 5 }))
      assert.deepInclude(twice, { written: 0, failed: 25 })
      assert.strictEqual(twice.failures.length, 5)
    })
  )

  it.effect(
    "T78: a document that cannot be read is told in its place; writes are not drawn faster than they are made",
    () =>
      Effect.gen(function* () {
        const { open, store } = yield* openNew
        const schema = Schema.Struct({ id: Schema.String, n: Schema.Int })
        const items = yield* open("items", { schema, primaryKey: "id" })
        yield* items.insertMany(Array.from({ length: 30 }, (_, i) => ({ id: `${i + 10}`, n: i })))
        const object = yield* objectOf(store, "items", "20")
        yield* store.put({ ...object, body: new TextEncoder().encode("{") })
        const told = yield* Stream.runCollect(items.scanResults({ concurrency: 3 }))
        assert.strictEqual(told.length, 30)
        const bad = told.filter((one) => Result.isFailure(one.result))
        assert.deepStrictEqual(
          bad.map((one) => one.id),
          ["20"]
        )
        // Back-pressure: no more inputs are drawn than are being written.
        let drawn = 0
        let most = 0
        let done = 0
        const inputs = Stream.range(0, 99).pipe(
          Stream.rechunk(1),
          Stream.map((i) => {
            drawn += 1
            most = Math.max(most, drawn - done)
            return { id: `b${i}`, n: i }
          })
        )
        yield* Stream.runForEach(items.writeAll(inputs, { concurrency: 4 }), () => Effect.sync(() => (done += 1)))
        assert.strictEqual(done, 100)
        assert.isAtMost(most, 12)
      })
  )
})

describe("conditions that are none", () => {
  it.effect("are refused by name, wherever in others they stand", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" })
      const path = ["id"]
      const none: ReadonlyArray<unknown> = [
        null,
        5,
        "id",
        [],
        {},
        { id: "a" },
        { _tag: "Compare", op: "like", path, value: "a" },
        { _tag: "Compare", op: "eq", path: "id", value: "a" },
        { _tag: "Compare", op: "eq", path: [], value: "a" },
        { _tag: "In", path, values: "a" },
        { _tag: "Between", from: "a", to: "b" },
        { _tag: "StartsWith", path: [5], prefix: "a" },
        { _tag: "Contains", value: "a" },
        { _tag: "Exists", path },
        { _tag: "And" },
        { _tag: "Or", any: {} },
        { _tag: "Not" },
        { _tag: "Or", any: [{ _tag: "Not", not: { _tag: "And", all: [undefined] } }] }
      ]
      for (const predicate of none) {
        const request = { predicate: predicate as Query.Predicate, scan: true }
        const error = yield* Effect.flip(Stream.runDrain(things.query(request)))
        assert.strictEqual(error._tag, "InvalidInput", JSON.stringify(predicate))
        assert.include(error.message, "predicate")
      }
    })
  )
})

describe("a scan that begins after an id", () => {
  const declared = {
    schema: Schema.Struct({ id: Schema.String, group: Schema.String }),
    primaryKey: "id",
    partitions: { byGroup: ["group"] }
  } as const

  it.effect("goes on in the order of keys, wherever it has stopped, and also after what is gone", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const plain = yield* open("plain", declared)
      const ids = ["a", "b/c", "b", "é", "~", "A", "..", "%25"]
      for (const id of ids) yield* plain.insert({ id, group: "g" })
      const scanned = (after?: string) =>
        Effect.map(Stream.runCollect(plain.scanDocuments({ after })), (all) => all.map(({ id }) => id))
      const all = yield* scanned()
      assert.sameMembers(all, ids)
      for (const [i, id] of all.entries()) assert.deepStrictEqual(yield* scanned(id), all.slice(i + 1))
      yield* plain.delete("b")
      assert.deepStrictEqual(yield* scanned("b"), all.slice(all.indexOf("b") + 1))
    })
  )

  it.effect("is refused of a partition, and where a store lists without order", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const plain = yield* open("plain", declared)
      const partition = { partition: "byGroup", values: { group: "g" }, after: "a" } as const
      const refused = yield* Effect.flip(Stream.runDrain(plain.scanDocuments(partition)))
      assert.strictEqual(refused._tag, "InvalidInput")
      const { store } = yield* MemoryStore.make({ profile: "express" })
      const other = yield* openOn(store)
      const unordered = yield* other.open("plain", declared)
      const without = yield* Effect.flip(Stream.runDrain(unordered.scanDocuments({ after: "a" })))
      assert.strictEqual(without._tag, "InvalidInput")
    })
  )
})
