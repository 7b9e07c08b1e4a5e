/** What happens when another client, or another fiber, comes in between two requests of a write. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import type { StoreError } from "effect-s3db/storage/StoreError"
import { drive, keysOf, memory, openNew, openOn } from "./fixture.ts"

type Store = ObjectStore["Service"]
type Hook = (operation: string, key: string) => Effect.Effect<void>

const nothing: Hook = () => Effect.void

/** A store with something before and after its requests. */
const hooked = (store: Store, before: Hook, after: Hook = nothing): Store => {
  const around = <A>(
    operation: string,
    key: string,
    effect: Effect.Effect<A, StoreError>
  ): Effect.Effect<A, StoreError> =>
    Effect.andThen(
      before(operation, key),
      Effect.tap(effect, () => after(operation, key))
    )
  return {
    ...store,
    put: (request) => around("put", request.key, store.put(request)),
    get: (key, options) => around("get", key, store.get(key, options)),
    delete: (key, options) => around("delete", key, store.delete(key, options))
  }
}

/** Does something before the first request of a kind to a key with a part, or the one after so many others. */
const once = (operation: string, part: string, effect: Effect.Effect<unknown, unknown>, others = 0): Hook => {
  let met = 0
  return (asked, key) => {
    if (asked !== operation || !key.includes(part)) return Effect.void
    met += 1
    return met === others + 1 ? Effect.asVoid(Effect.orDie(effect)) : Effect.void
  }
}

/** Does something before a transaction is committed: its record is there already. */
const beforeCommit = (effect: Effect.Effect<unknown, unknown>): Hook => once("put", "transaction=", effect, 1)

const User = Schema.Struct({
  id: Schema.String,
  n: Schema.Int,
  group: Schema.optionalKey(Schema.String),
  email: Schema.optionalKey(Schema.String),
  nick: Schema.optionalKey(Schema.String)
})

const plain = { schema: User, primaryKey: "id" } as const
const unique = { ...plain, partitions: { byGroup: ["group"] }, unique: { email: ["email"], nick: ["nick"] } } as const
const versioned = { ...plain, history: true } as const

describe("two writes of one document that reserve the same value", () => {
  it.effect("one that gives up does not free what the other relies on", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const users = yield* (yield* openOn(store)).open("users", unique)
      yield* users.insert({ id: "1", n: 0 })
      yield* users.insert({ id: "9", n: 0, nick: "taken" })
      const givesUp = Effect.flip(users.update("1", { email: "e@x", nick: "taken" }))
      const slow = yield* (yield* openOn(hooked(store, once("put", "data/id=1", givesUp)))).open("users", unique)
      yield* slow.update("1", { email: "e@x" })
      const refused = yield* Effect.flip(users.insert({ id: "2", n: 0, email: "e@x" }))
      assert.strictEqual(refused._tag, "UniqueViolation")
      assert.strictEqual((yield* users.getByUnique("email", { email: "e@x" })).id, "1")
    })
  )

  it.effect("nor does a transaction that gives up", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const client = yield* openOn(store)
      const users = yield* client.open("users", unique)
      yield* users.insert({ id: "1", n: 0 })
      yield* users.insert({ id: "9", n: 0, nick: "taken" })
      const both = Effect.gen(function* () {
        yield* users.update("1", { email: "e@x" })
        yield* users.insert({ id: "z", n: 0, nick: "taken" })
      })
      const givesUp = Effect.flip(client.database.transaction(both, { retries: 0 }))
      const slow = yield* (yield* openOn(hooked(store, once("put", "data/id=1", givesUp)))).open("users", unique)
      yield* drive(yield* Effect.forkChild(slow.update("1", { email: "e@x" })))
      const refused = yield* Effect.flip(users.insert({ id: "2", n: 0, email: "e@x" }))
      assert.strictEqual(refused._tag, "UniqueViolation")
    })
  )

  for (const profile of ["aws", "rgw"] as const) {
    it.effect(`${profile}: what loses its reservation is taken back, unless somebody has built upon it`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make({ profile })
        const other = yield* (yield* openOn(store)).open("users", unique)
        const takeOver = Effect.andThen(
          TestClock.adjust("2 minutes"),
          other.insert({ id: "2", n: 0, group: "g", email: "e" })
        )
        const changed = once("put", "data/id=1", other.update("1", { n: 5, email: "mine" }))
        const slow = yield* (yield* openOn(
          hooked(store, once("put", "data/id=1", takeOver), (operation, key) => changed(operation, key))
        )).open("users", unique)
        const refused = yield* Effect.flip(slow.insert({ id: "1", n: 0, group: "g", email: "e" }))
        assert.strictEqual(refused._tag, "UniqueViolation")
        const ids = (within?: { partition: string; values: Record<string, unknown> }) =>
          Effect.map(Stream.runCollect(other.scan(within)), (all) => all.map(({ id }) => id))
        assert.strictEqual((yield* other.get("1")).n, 5)
        assert.deepStrictEqual(yield* ids({ partition: "byGroup", values: { group: "g" } }), yield* ids())
      })
    )
  }
})

describe("fibers within a transaction", () => {
  it.effect("lose no change, and see the same", () =>
    Effect.gen(function* () {
      const { store } = yield* openNew
      // Requests take a while, so that fibers come in between.
      const { database, open } = yield* openOn(hooked(store, () => Effect.yieldNow))
      const users = yield* open("users", plain)
      yield* users.insert({ id: "1", n: 0 })
      const increment = users.update("1", ({ n }) => Effect.as(Effect.yieldNow, { n: n + 1 }))
      const unbounded = { concurrency: "unbounded" } as const
      const told = yield* database.transaction(
        Effect.all(
          Array.from({ length: 10 }, () => increment),
          unbounded
        )
      )
      assert.deepStrictEqual(
        told.map(({ n }) => n).toSorted((a, b) => a - b),
        Array.from({ length: 10 }, (_, i) => i + 1)
      )
      assert.strictEqual((yield* users.get("1")).n, 10)
      const twice = Effect.all(
        [0, 1].map((n) => Effect.result(users.insert({ id: "2", n }))),
        unbounded
      )
      const inserted = yield* database.transaction(twice)
      assert.strictEqual(inserted.filter(Result.isSuccess).length, 1)
      const upserts = Effect.all(
        [1, 2, 3].map((n) => users.upsert({ id: "3", n })),
        unbounded
      )
      yield* database.transaction(upserts)
      const removed = Effect.all(
        [1, 2, 3].map(() => Effect.result(users.delete("3", { mustExist: true }))),
        unbounded
      )
      assert.strictEqual((yield* database.transaction(removed)).filter(Result.isSuccess).length, 1)
    })
  )

  it.effect("one that outlives it takes no part in anything", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", plain)
      yield* users.insert({ id: "1", n: 0 })
      const over = yield* Latch.make()
      const late = yield* database.transaction(
        Effect.andThen(users.get("1"), Effect.forkDetach(Effect.andThen(over.await, users.update("1", { n: -1 }))))
      )
      yield* over.open
      const refused = yield* Effect.flip(Fiber.join(late))
      assert.include(refused.message, "the transaction is over")
      assert.strictEqual((yield* users.get("1")).n, 0)
    })
  )

  it.effect("a transaction is on one database", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* openNew, yield* openNew]
      const here = yield* one.open("users", plain)
      const there = yield* two.open("users", plain)
      const both = Effect.all([here.insert({ id: "1", n: 0 }), there.insert({ id: "1", n: 0 })])
      const refused = yield* Effect.flip(one.database.transaction(both))
      assert.include(refused.message, "belongs to another")
      assert.deepStrictEqual(yield* keysOf(one.store, "resource="), [])
      assert.deepStrictEqual(yield* keysOf(two.store, "resource="), [])
    })
  )

  it.effect("what is deleted and inserted again begins anew", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", { ...plain, content: true })
      yield* users.insert({ id: "1", n: 0 })
      yield* users.setContent("1", new Uint8Array([1, 2, 3]), { contentType: "text/plain" })
      yield* TestClock.adjust("1 minute")
      yield* database.transaction(Effect.andThen(users.delete("1"), users.insert({ id: "1", n: 1 })))
      assert.isFalse(yield* users.hasContent("1"))
      assert.strictEqual((yield* users.getDocument("1")).version, 1)
      assert.deepStrictEqual(yield* users.get("1"), { id: "1", n: 1 })
    })
  )

  it.effect("-0 stays what it is, also in the body", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, json: Schema.Json })
      const things = yield* open("things", { schema, primaryKey: "id", behavior: "body-only" })
      const ids = ["1", "2"]
      yield* database.transaction(Effect.forEach(ids, (id) => things.insert({ id, json: [-0, "x".repeat(3000)] })))
      for (const id of ids) assert.isTrue(Object.is(((yield* things.get(id)).json as ReadonlyArray<number>)[0], -0))
    })
  )

  it.effect("interrupted before it is committed, it keeps nobody waiting; committed, it is counted", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const counted = { ...plain, counters: true } as const
      const other = yield* (yield* openOn(store)).open("users", counted)
      for (const [at, others, expected] of [
        ["transaction=", 0, 0],
        ["data/id=b", 0, 0],
        ["transaction=", 1, 2]
      ] as const) {
        const reached = yield* Latch.make()
        const go = yield* Latch.make()
        const hook = once("put", at, Effect.andThen(reached.open, go.await), others)
        const { database, open } = yield* openOn(hooked(store, hook))
        const users = yield* open("users", counted)
        const both = Effect.all(["a", "b"].map((id) => users.insert({ id, n: 0 })))
        const running = yield* Effect.forkChild(database.transaction(both))
        yield* reached.await
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(running))
        yield* Effect.yieldNow
        yield* go.open
        yield* Fiber.join(interrupting)
        assert.strictEqual(yield* other.count(), expected, at)
        assert.strictEqual(yield* other.estimatedCount(), expected, at)
        if (expected === 0)
          yield* Effect.all(["a", "b"].map((id) => Effect.andThen(other.insert({ id, n: 0 }), other.delete(id))))
      }
    })
  )
})

describe("readers of what a transaction is about to change", () => {
  for (const how of ["replace", "delete"] as const) {
    it.effect(`a ${how} on the condition of what was read does not tear it apart`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        const other = yield* (yield* openOn(store)).open("users", plain)
        yield* other.insertMany([
          { id: "x", n: 100 },
          { id: "y", n: 100 }
        ])
        const outcomes: Array<string> = []
        const between = Effect.gen(function* () {
          const held = yield* other.getDocument("x")
          const attempt =
            how === "replace"
              ? other.replace({ ...held.value, group: "hi" }, { ifRevision: held.revision })
              : other.delete({ ...held })
          outcomes.push((yield* Effect.result(attempt))._tag)
        })
        const { database, open } = yield* openOn(hooked(store, beforeCommit(between)))
        const users = yield* open("users", plain)
        yield* database.transaction(
          Effect.andThen(
            users.update("x", ({ n }) => ({ n: n - 10 })),
            users.update("y", ({ n }) => ({ n: n + 10 }))
          )
        )
        assert.deepStrictEqual(outcomes, ["Failure"])
        const all = yield* Stream.runCollect(other.scan())
        assert.deepStrictEqual(
          all.map(({ n }) => n),
          [90, 110]
        )
      })
    )
  }
})

describe("a transaction that stands still", () => {
  it.effect("for longer than its markers are safe is run again", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const partitioned = { ...plain, partitions: { byGroup: ["group"] } } as const
      const other = yield* (yield* openOn(store)).open("users", partitioned)
      const pause = Effect.andThen(
        TestClock.adjust("20 minutes"),
        Stream.runDrain((yield* other.admin).repair({ dryRun: false }))
      )
      const { database, open } = yield* openOn(hooked(store, once("put", "data/id=a", pause)))
      const users = yield* open("users", partitioned)
      const both = Effect.all(["a", "b"].map((id) => users.insert({ id, n: 0, group: "g" })))
      yield* drive(yield* Effect.forkChild(database.transaction(both)))
      const found = yield* Stream.runCollect(other.scan({ partition: "byGroup", values: { group: "g" } }))
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        ["a", "b"]
      )
    })
  )

  it.effect("before its commit, and is ended meanwhile, is not committed by a repair that forgets that", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const client = yield* openOn(store)
      const other = yield* client.open("users", plain)
      yield* other.insertMany([
        { id: "x", n: 100 },
        { id: "y", n: 100 }
      ])
      const pause = Effect.gen(function* () {
        yield* drive(yield* Effect.forkChild(other.update("x", ({ n }) => ({ n: n + 1 }))))
        yield* TestClock.adjust("20 minutes")
        yield* Stream.runDrain(client.database.repairTransactions({ dryRun: false }))
      })
      const { database, open } = yield* openOn(hooked(store, beforeCommit(pause)))
      const users = yield* open("users", plain)
      const transfer = Effect.andThen(
        users.update("x", ({ n }) => ({ n: n - 10 })),
        users.update("y", ({ n }) => ({ n: n + 10 }))
      )
      yield* drive(yield* Effect.forkChild(database.transaction(transfer)))
      const all = yield* Stream.runCollect(other.scan())
      assert.deepStrictEqual(
        all.map(({ n }) => n),
        [91, 110]
      )
    })
  )
})

describe("history of what did not come about", () => {
  it.effect("a deletion that met a conflict is none", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", versioned)
      yield* other.insert({ id: "1", n: 0 })
      yield* TestClock.adjust("1 minute")
      const change = Effect.andThen(TestClock.adjust("5 seconds"), other.update("1", { n: 1 }))
      const users = yield* (yield* openOn(hooked(store, once("put", "data/id=1", change)))).open("users", versioned)
      const held = yield* users.getDocument("1")
      const between = DateTime.add(yield* DateTime.now, { seconds: 2 })
      assert.strictEqual((yield* Effect.flip(users.delete(held)))._tag, "Conflict")
      yield* TestClock.adjust("1 minute")
      yield* other.update("1", { n: 2 })
      assert.strictEqual((yield* other.getAt("1", { time: between })).value.n, 0)
      const past = yield* Stream.runCollect(other.history("1"))
      assert.deepStrictEqual(
        past.map(({ value }) => value.n),
        [1, 0]
      )
    })
  )

  it.effect("a version in which a transaction had announced something is told once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", versioned)
      yield* other.insertMany([
        { id: "1", n: 0 },
        { id: "2", n: 0 }
      ])
      const change = other.update("2", { n: 7 })
      const { database, open } = yield* openOn(hooked(store, once("put", "data/id=1", change)))
      const users = yield* open("users", versioned)
      const both = Effect.all(["1", "2"].map((id) => users.update(id, ({ n }) => ({ n: n + 1 }))))
      yield* drive(yield* Effect.forkChild(database.transaction(both)))
      const past = yield* Stream.runCollect(other.history("1"))
      assert.deepStrictEqual(
        past.map(({ version, value }) => [version, value.n]),
        [[1, 0]]
      )
    })
  )

  it.effect("deleteMany keeps the version that goes", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", versioned)
      yield* other.insert({ id: "1", n: 0 })
      const change = other.update("1", { n: 77 })
      const users = yield* (yield* openOn(hooked(store, once("put", "data/id=1", change)))).open("users", versioned)
      yield* drive(yield* Effect.forkChild(users.deleteMany(["1"])))
      const past = yield* Stream.runCollect(other.history("1"))
      assert.deepStrictEqual(
        past.map(({ value }) => value.n),
        [77, 0]
      )
    })
  )
})
