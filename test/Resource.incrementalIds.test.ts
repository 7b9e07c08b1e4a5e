import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import * as Sequence from "effect-s3db/kernel/Sequence"
import * as Resource from "effect-s3db/Resource"
import { UnsupportedSchema } from "effect-s3db/schema/Attributes"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { memory, openOn } from "./fixture.ts"

const range = (length: number) => Array.from({ length }, (_, i) => i)

const ordersBy = (options?: Id.IncrementalOptions) => ({
  schema: Schema.Struct({ id: Id.incremental(options), total: Schema.Finite }),
  primaryKey: "id" as const
})

const opened = Effect.fnUntraced(function* (store: ObjectStore["Service"], options?: Id.IncrementalOptions) {
  const { database, open } = yield* openOn(store)
  return { database, orders: yield* open("orders", ordersBy(options)) }
})

describe("incremental ids", () => {
  it.effect("are the next number, with a prefix and zeros, and go on for whoever comes later", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const a = yield* opened(store, { prefix: "ORD-", padding: 4 })
      const ids = yield* Effect.forEach(range(3), (total) => Effect.map(a.orders.insert({ total }), ({ id }) => id))
      assert.deepStrictEqual(ids, ["ORD-0001", "ORD-0002", "ORD-0003"])
      const b = yield* opened(store, { prefix: "ORD-", padding: 4 })
      assert.strictEqual((yield* b.orders.insert({ total: 4 })).id, "ORD-0004")
      assert.strictEqual((yield* b.orders.insert({ id: "mine", total: 4 })).id, "mine")
      assert.strictEqual((yield* a.orders.insert({ total: 5 })).id, "ORD-0005")
      assert.strictEqual((yield* b.orders.get("ORD-0005")).total, 5)
      // Writing one again takes no number.
      yield* a.orders.update("ORD-0005", { total: 6 })
      yield* a.orders.replace({ id: "ORD-0005", total: 7 })
      assert.strictEqual((yield* a.orders.insert({ total: 6 })).id, "ORD-0006")
    })
  )

  it.effect("start and step; many at once; fields of one name share their numbers, others do not", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { orders } = yield* opened(store, { start: 1000, step: 10, block: 7 })
      const inserted = yield* orders.insertMany(range(20).map((total) => ({ total })))
      assert.deepStrictEqual(
        inserted.map((one) => (Result.isSuccess(one) ? one.success.id : "failed")),
        range(20).map((i) => String(1000 + 10 * i))
      )
      const { open } = yield* openOn(yield* memory)
      const schema = Schema.Struct({
        id: Id.incremental({ prefix: "T" }),
        shared: Id.incremental(),
        other: Id.incremental({ name: "other", start: 5 })
      })
      const tickets = yield* open("tickets", { schema, primaryKey: "id" })
      const first = yield* tickets.insert({})
      assert.sameMembers([first.id.slice(1), first.shared], ["1", "2"])
      assert.strictEqual(first.other, "5")
      const bills = yield* open("bills", { schema, primaryKey: "id" })
      assert.strictEqual((yield* bills.insert({})).other, "5")
    })
  )

  it.effect("in the rule notation, with fields that fill themselves in, and in transactions", () =>
    Effect.gen(function* () {
      const { database } = yield* openOn(yield* memory)
      const notes = Resource.fromAttributes(
        "notes",
        { text: "string" },
        { idKind: { incremental: { prefix: "N" } }, timestamps: true }
      )
      const made = yield* Effect.provideService(Resource.make(notes), Database.Database, database)
      assert.strictEqual((yield* made.insert({ text: "a" })).id, "N1")
      const failed = yield* Effect.exit(
        database.transaction(Effect.andThen(made.insert({ text: "b" }), Effect.fail("no" as const)))
      )
      assert.strictEqual(failed._tag, "Failure")
      // The number of what was given up is a gap.
      assert.strictEqual((yield* database.transaction(made.insert({ text: "c" }))).id, "N3")
      assert.strictEqual(yield* made.count(), 2)
    })
  )

  it.effect("of several programs that insert at once each id is given once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const programs = yield* Effect.forEach(range(4), () => opened(store, { block: 3 }))
      const fiber = yield* Effect.forkChild(
        Effect.forEach(range(40), (i) => programs[i % 4]!.orders.insert({ total: i }), { concurrency: "unbounded" })
      )
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
      assert.strictEqual(new Set((yield* Fiber.join(fiber)).map(({ id }) => id)).size, 40)
    })
  )

  it.effect("requests: 1 PUT for each block, 1 GET the first time", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { orders } = yield* opened(store, { block: 10 })
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
      assert.deepStrictEqual(yield* made(orders.insert({ total: 1 })), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(Effect.forEach(range(9), (total) => orders.insert({ total }))), { put: 9 })
      assert.deepStrictEqual(yield* made(Effect.forEach(range(10), (total) => orders.insert({ total }))), { put: 11 })
      assert.deepStrictEqual(yield* made(orders.insert({ id: "mine", total: 1 })), { put: 1 })
    })
  )

  it.effect("ids that are taken are passed over, by every way of writing, and no document is changed for it", () =>
    Effect.gen(function* () {
      const { database, orders } = yield* opened(yield* memory, { prefix: "O-", padding: 4 })
      const { orders: more } = yield* opened(database.store, { prefix: "O-", padding: 4 })
      const taken = ["O-0001", "O-0002", "O-0004", "O-0006", "O-0008", "O-0010", "O-0012"]
      for (const id of taken) yield* orders.insert({ id, total: 0 })
      assert.strictEqual((yield* orders.insert({ total: 1 })).id, "O-0003")
      assert.strictEqual((yield* orders.upsert({ total: 1 })).id, "O-0005")
      assert.strictEqual((yield* more.replace({ total: 1 })).id, "O-0007")
      const { transaction } = database
      assert.strictEqual((yield* transaction(orders.insert({ total: 1 }))).id, "O-0009")
      assert.strictEqual((yield* transaction(orders.upsert({ total: 1 }))).id, "O-0011")
      assert.strictEqual((yield* transaction(orders.replace({ total: 1 }))).id, "O-0013")
      for (const id of taken) assert.strictEqual((yield* orders.get(id)).total, 0, id)
      // An id that was given is the one that is meant.
      assert.strictEqual((yield* Effect.flip(orders.insert({ id: "O-0001", total: 1 })))._tag, "AlreadyExists")
      assert.strictEqual((yield* orders.upsert({ id: "O-0001", total: 5 })).total, 5)
      assert.strictEqual((yield* orders.insert({ total: 1 })).id, "O-0014")
    })
  )

  it.effect("of a hundred that are taken the insert tells, and the next goes on; the others change nothing", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database, orders } = yield* opened(store, { block: 1000 })
      yield* orders.insertMany(range(450).map((i) => ({ id: String(i + 1), total: 0 })))
      yield* counter.reset
      const error = yield* Effect.flip(orders.insert({ total: 1 }))
      assert.deepStrictEqual([error._tag, "id" in error && error.id], ["AlreadyExists", "100"])
      // For each 1 PUT and 1 GET, and those of the block.
      assert.deepInclude(yield* counter.counts, { get: 101, put: 101 })
      assert.strictEqual((yield* Effect.flip(orders.upsert({ total: 1 })))._tag, "Conflict")
      assert.strictEqual((yield* Effect.flip(orders.replace({ total: 1 })))._tag, "Conflict")
      assert.strictEqual((yield* Effect.flip(database.transaction(orders.upsert({ total: 1 }))))._tag, "Conflict")
      assert.strictEqual((yield* orders.insert({ total: 1 })).id, "451")
      assert.strictEqual(yield* orders.count({ where: { total: 1 }, scan: true }), 1)
    })
  )

  it("options out of their range are refused where the resource is defined", () => {
    for (const [wrong, problem] of [
      [{ block: 0 }, "block has to be a whole number from 1 to 1000000, not 0"],
      [{ block: 1.5 }, "block has to be a whole number from 1 to 1000000, not 1.5"],
      [{ step: 0 }, "step cannot be 0"],
      [{ step: Number.NaN }, "step has to be a safe integer, not NaN"],
      [{ padding: -1 }, "padding has to be a whole number from 0 to 20, not -1"],
      [{ padding: 21 }, "padding has to be a whole number from 0 to 20, not 21"],
      [{ start: 1.5 }, "start has to be a safe integer, not 1.5"],
      [{ start: "1" as unknown as number }, "start has to be a safe integer, not 1"],
      [{ prefix: "\ud800" }, "prefix has to be well-formed text"]
    ] as const) {
      const message = `Id.incremental of orders.id: ${problem}`
      const told = (define: () => unknown) => {
        try {
          define()
          return undefined
        } catch (error) {
          return error instanceof UnsupportedSchema ? error.message : String(error)
        }
      }
      assert.strictEqual(
        told(() => Resource.define("orders", ordersBy(wrong))),
        message
      )
      const byRules = () => Resource.fromAttributes("orders", { total: "number" }, { idKind: { incremental: wrong } })
      assert.strictEqual(told(byRules), message)
    }
    Resource.define("orders", ordersBy({ start: -5, step: -1, block: 1_000_000, padding: 20 }))
  })

  it.effect("what goes wrong is told, and nothing is written", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let isDown = true
      const down = new StoreError({
        operation: "get",
        key: "k",
        reason: new Unavailable({ description: "down", sent: false })
      })
      const { orders: broken } = yield* opened({
        ...store,
        get: (key, options) => (isDown && key.includes("sequence=") ? Effect.fail(down) : store.get(key, options))
      })
      const error = yield* Effect.flip(broken.insert({ total: 1 }))
      assert.strictEqual(error._tag === "DbError" ? error.reason._tag : error._tag, "Unavailable")
      assert.strictEqual(yield* broken.count(), 0)
      isDown = false
      assert.strictEqual((yield* broken.insert({ total: 1 })).id, "1")
      // An id of one's own that the sequence comes to.
      yield* broken.insert({ id: "2", total: 2 })
      assert.strictEqual((yield* broken.insert({ total: 3 })).id, "3")
      // After an import the sequence is set forward.
      yield* (yield* Sequence.make(store, { key: Id.sequenceKey("orders") })).reset(100)
      const { orders: later } = yield* opened(store)
      assert.strictEqual((yield* later.insert({ total: 4 })).id, "100")
      const { orders: other } = yield* opened(store, { step: 2 })
      const mixed = yield* Effect.flip(other.insert({ total: 4 }))
      assert.strictEqual(mixed._tag === "DbError" ? mixed.reason._tag : mixed._tag, "InvalidArgument")
      // Without a repository there are no numbers.
      const alone = yield* Effect.exit(ordersBy().schema.makeEffect({ total: 1 }))
      assert.include(JSON.stringify(alone), "the repository of a resource makes incremental ids")
      assert.isTrue(Id.incrementalOf(undefined) === undefined && Id.incrementalOf({}) === undefined)
    })
  )
})
