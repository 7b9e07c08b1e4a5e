import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Change } from "effect-s3db/Change"
import * as CurrentUser from "effect-s3db/CurrentUser"
import type * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Transaction from "effect-s3db/Transaction"
import { drive, keysOf, memory, openNew, openOn } from "./fixture.ts"
import { settled } from "./waiting.ts"

type Store = ObjectStore["Service"]

const User = Schema.Struct({
  id: Schema.String,
  n: Schema.Int,
  email: Schema.optionalKey(Schema.String),
  group: Schema.optionalKey(Schema.String)
})
const options = {
  schema: User,
  primaryKey: "id",
  unique: { email: ["email"] },
  partitions: { byGroup: ["group"] },
  counters: true,
  history: true
} as const satisfies Resource.Options<typeof User>

/** A store that does something around each request. */
const around = (
  store: Store,
  request: <A, E>(effect: Effect.Effect<A, E>, label: string) => Effect.Effect<A, E>
): Store => ({
  ...store,
  put: (one) => request(store.put(one), `put ${one.key}`),
  get: (key, get) => request(store.get(key, get), `get ${key}`),
  head: (key) => request(store.head(key), `head ${key}`),
  delete: (key, deletion) => request(store.delete(key, deletion), `delete ${key}`),
  deleteMany: (keys, deletion) => request(store.deleteMany(keys, deletion), "deleteMany"),
  list: (one) => request(store.list(one), "list")
})

const folder = Effect.gen(function* () {
  const root = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
  return yield* FileStore.make({ path: root, durability: "none" })
})

/** As a client of its own would do it. */
const outside = Effect.provideService(Transaction.Current, undefined)

const sum = (all: ReadonlyArray<{ readonly n: number }>) => all.reduce((sum, { n }) => sum + n, 0)

describe("a transaction that stands still", () => {
  for (const [where, storeOf] of [
    ["memory", memory],
    [
      "memory that ignores conditions on DELETE",
      Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)
    ],
    ["a folder", folder]
  ] as const) {
    it.effect(`before any of its requests, while others end it and sweep, is done once or not at all: ${where}`, () =>
      Effect.gen(function* () {
        // A folder is slow, and has the same requests: each third of them.
        for (let at = 1, isOver = false; !isOver; at += where === "a folder" ? 3 : 1) {
          const store = yield* storeOf
          const other = yield* openOn(store)
          const users = yield* other.open("users", options)
          yield* users.insert({ id: "1", n: 100, email: "1@x", group: "g" })
          yield* users.insert({ id: "2", n: 100, group: "g" })
          // However long it stands still: nothing here goes by how old anything is.
          const meanwhile = Effect.gen(function* () {
            yield* drive(yield* Effect.forkChild(users.update("1", ({ n }) => ({ n: n + 1 }))), "50 millis")
            yield* Stream.runDrain(other.database.repairTransactions({ dryRun: false, graceMillis: 0 }))
          })
          let requests = 0
          const paused = around(store, (effect) =>
            Effect.suspend(() => {
              requests += 1
              return requests === at ? Effect.andThen(outside(Effect.orDie(meanwhile)), effect) : effect
            })
          )
          const client = yield* openOn(store)
          const { database, open } = yield* openOn(paused)
          const own = yield* open("users", options)
          const opening = requests
          const transfer = database.transaction(
            Effect.gen(function* () {
              yield* own.update("1", ({ n }) => ({ n: n - 10 }))
              yield* own.update("2", ({ n }) => ({ n: n + 10, group: "h" }))
              yield* own.insert({ id: "3", n: 1, email: "3@x", group: "g" })
            })
          )
          // Slowly, as a folder takes real time: a transaction that takes too long is run again.
          yield* drive(yield* Effect.forkChild(transfer), "50 millis")
          isOver = requests < at
          const expected = isOver ? 201 : 202
          const label = `request ${at} of ${requests - opening}`
          const seen = yield* (yield* client.open("users", options)).scan().pipe(Stream.runCollect)
          assert.strictEqual(sum(seen), expected, label)
          assert.deepStrictEqual(seen.map(({ id }) => id).toSorted(), ["1", "2", "3"], label)
          const within = yield* Stream.runCollect(users.scan({ partition: "byGroup", values: { group: "g" } }))
          assert.deepStrictEqual(within.map(({ id }) => id).toSorted(), ["1", "3"], label)
          assert.strictEqual((yield* users.getByUnique("email", { email: "3@x" })).id, "3", label)
          assert.deepStrictEqual(yield* keysOf(store, "transaction="), [], label)
        }
      }).pipe(Effect.provide(NodeFileSystem.layer))
    )
  }

  for (const times of [0, 1, 3, 20]) {
    it.effect(
      `whose commit was sent twice is not done again, though its record is swept and ${times} writes follow`,
      () =>
        Effect.gen(function* () {
          const store = yield* memory
          const other = yield* openOn(store)
          const users = yield* other.open("users", options)
          yield* users.insertMany([
            { id: "1", n: 100 },
            { id: "2", n: 100 }
          ])
          const meanwhile = Effect.gen(function* () {
            for (let i = 0; i < times; i++) yield* users.update("1", ({ n }) => ({ n: n + 1 }))
            yield* TestClock.adjust("1 second")
            yield* Stream.runDrain(other.database.repairTransactions({ dryRun: false, graceMillis: 0 }))
            assert.deepStrictEqual(yield* keysOf(store, "transaction="), [])
          })
          let puts = 0
          const twice = around(store, (effect, label) =>
            Effect.suspend(() => {
              if (!label.startsWith("put transaction=")) return effect
              puts += 1
              // The second one is the decision.
              return puts === 2
                ? effect.pipe(Effect.andThen(outside(Effect.orDie(meanwhile))), Effect.andThen(effect))
                : effect
            })
          )
          const { database, open } = yield* openOn(twice)
          const own = yield* open("users", options)
          yield* database.transaction(
            Effect.gen(function* () {
              yield* own.update("1", ({ n }) => ({ n: n - 10 }))
              yield* own.update("2", ({ n }) => ({ n: n + 10 }))
            })
          )
          assert.strictEqual(puts, 2)
          assert.deepStrictEqual(
            (yield* Stream.runCollect(users.scan())).map(({ n }) => n),
            [90 + times, 110]
          )
        })
    )
  }

  it.effect("without a record it is aborted: nobody waits", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", options)
      yield* other.insertMany([
        { id: "1", n: 0 },
        { id: "2", n: 0 }
      ])
      const dying = around(store, (effect, label) =>
        label.startsWith("put resource=users/data/id=2") ? Effect.die("crash") : effect
      )
      const { database, open } = yield* openOn({ ...dying, delete: store.delete })
      const users = yield* open("users", options)
      const both = Effect.forEach(["1", "2"], (id) => users.update(id, { n: 1 }))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(database.transaction(both))))
      for (const key of yield* keysOf(store, "transaction=")) yield* store.delete(key)
      // No time passes.
      assert.strictEqual((yield* other.update("1", { n: 5 })).n, 5)
    })
  )
})

describe("operations of one transaction at once", () => {
  it.effect("ten increments are ten, three fields are three, of two inserts one fails", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insert({ id: "1", n: 0 })
      const outcome = yield* database.transaction(
        Effect.gen(function* () {
          const increment = users.update("1", ({ n }) => ({ n: n + 1 }))
          yield* Effect.all(
            Array.from({ length: 10 }, () => increment),
            { concurrency: "unbounded" }
          )
          yield* Effect.all([users.patch("1", { email: "1@x" }), users.patch("1", { group: "g" })], {
            concurrency: "unbounded"
          })
          const inserts = [1, 2].map((n) => Effect.result(users.insert({ id: "2", n })))
          return yield* Effect.all(inserts, { concurrency: "unbounded" })
        })
      )
      assert.deepStrictEqual(yield* users.get("1"), { id: "1", n: 10, email: "1@x", group: "g" })
      assert.deepStrictEqual(
        outcome.map((one) => (Result.isFailure(one) ? one.failure._tag : "ok")),
        ["ok", "AlreadyExists"]
      )
    })
  )
})

/** Interrupts a program at its request number `at`, before or after it is carried out. */
const interruptedAt = Effect.fnUntraced(function* (
  store: Store,
  at: number,
  when: "before" | "after",
  program: (store: Store) => Effect.Effect<unknown, unknown>
) {
  const reached = yield* Latch.make()
  const go = yield* Latch.make()
  let requests = 0
  const hook = Effect.andThen(reached.open, go.await)
  const client = around(store, (effect) =>
    Effect.suspend(() => {
      requests += 1
      if (requests !== at) return effect
      return when === "before" ? Effect.andThen(hook, effect) : Effect.tap(effect, () => hook)
    })
  )
  const fiber = yield* Effect.forkChild(Effect.exit(program(client)))
  const ended = Effect.as(Fiber.await(fiber), true)
  const isOver = yield* Effect.raceFirst(ended, Effect.as(reached.await, false))
  if (!isOver) {
    const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
    yield* Effect.yieldNow
    yield* go.open
    yield* Fiber.join(interrupting)
  }
  return isOver
})

describe("interruption at any request leaves nothing, or everything told and counted", () => {
  const programs: Readonly<
    Record<
      string,
      (
        users: Resource.Repository<typeof User>,
        transaction: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, unknown>
      ) => Effect.Effect<unknown, unknown>
    >
  > = {
    insert: (users) => users.insert({ id: "3", n: 0, email: "3@x", group: "g" }),
    update: (users) => users.update("1", { n: 1, email: "3@x", group: "h" }),
    delete: (users) => users.delete("1"),
    transaction: (users, transaction) =>
      transaction(
        Effect.gen(function* () {
          yield* users.insert({ id: "3", n: 0, email: "3@x", group: "g" })
          yield* users.update("1", { n: 1, group: "h" })
          yield* users.delete("2")
        })
      )
  }
  for (const [name, program] of Object.entries(programs)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const when of ["before", "after"] as const) {
          for (let at = 1, isOver = false; !isOver; at++) {
            const store = yield* memory
            const first = yield* (yield* openOn(store)).open("users", options)
            yield* first.insert({ id: "1", n: 0, email: "1@x", group: "g" })
            yield* first.insert({ id: "2", n: 0, group: "g" })
            const before = yield* Stream.runCollect(first.scan())
            const told: Array<string> = []
            isOver = yield* interruptedAt(store, at, when, (client) =>
              Effect.gen(function* () {
                const { database, open } = yield* openOn(client)
                const users = yield* open("users", options)
                yield* users.onChange({}, (change: Change<typeof User.Type>) =>
                  Effect.sync(() => told.push(`${change._tag} ${change.id}`))
                )
                yield* program(users, database.transaction)
              }).pipe(Effect.scoped)
            )
            const label = `${when} request ${at}`
            yield* settled
            // No time passes: nobody has to wait for it.
            const { open } = yield* openOn(store)
            const users = yield* open("users", options)
            const after = yield* Stream.runCollect(users.scan())
            const isDone = JSON.stringify(after) !== JSON.stringify(before)
            const expected = { insert: 1, update: 1, delete: 1, transaction: 3 }[name]!
            if (told.length > 0 || !isDone) assert.strictEqual(told.length, isDone ? expected : 0, label)
            assert.strictEqual(yield* users.estimatedCount(), after.length, label)
            // The values that it was about to have are free.
            yield* users.upsert({ id: "3", n: 9 })
            if (!isDone) yield* users.insert({ id: "4", n: 0, email: "3@x" })
            assert.deepStrictEqual(yield* keysOf(store, "transaction="), [], label)
            const ofOne = yield* Stream.runCollect(users.history("1"))
            assert.isAtMost(ofOne.length, 1, label)
          }
        }
      })
    )
  }
})

describe("transactions within transactions", () => {
  it.effect("one that fails and is caught is forgotten; what it has read still counts", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insertMany([
        { id: "1", n: 0 },
        { id: "2", n: 0 }
      ])
      const told: Array<string> = []
      yield* users.onChange({}, (change) => Effect.sync(() => told.push(`${change._tag} ${change.id}`)))
      yield* database.transaction(
        Effect.gen(function* () {
          yield* users.update("1", { n: 1 })
          const inner = database.transaction(
            Effect.gen(function* () {
              yield* users.update("1", ({ n }) => ({ n: n + 10 }))
              yield* users.update("2", { n: 10 })
              yield* users.insert({ id: "3", n: 10 })
              assert.strictEqual((yield* users.get("1")).n, 11)
              return yield* Effect.fail("no" as const)
            })
          )
          assert.strictEqual(yield* Effect.flip(inner), "no")
          assert.strictEqual((yield* users.get("1")).n, 1)
          assert.strictEqual((yield* users.get("2")).n, 0)
          assert.isFalse(yield* users.exists("3"))
          yield* database.transaction(users.update("2", ({ n }) => ({ n: n + 2 })))
          assert.strictEqual((yield* users.get("2")).n, 2)
        })
      )
      yield* settled
      assert.deepStrictEqual(
        (yield* users.getMany(["1", "2", "3"])).map((one) => Option.getOrUndefined(one)?.n),
        [1, 2, undefined]
      )
      assert.deepStrictEqual(told.toSorted(), ["Updated 1", "Updated 2"])
      assert.strictEqual(yield* users.estimatedCount(), 2)
    })
  )

  it.effect("one that goes on when the outer one is over is refused, and writes nothing", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insert({ id: "1", n: 0 })
      for (const isLate of [true, false]) {
        const go = yield* Latch.make()
        const write = users.update("1", { n: 5 })
        const inner = database.transaction(isLate ? Effect.andThen(go.await, write) : Effect.tap(write, () => go.await))
        const fiber = yield* database.transaction(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkDetach(inner)
            yield* settled
            return fiber
          })
        )
        yield* go.open
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.strictEqual(error._tag === "DbError" && error.reason._tag, "Unsupported")
        assert.strictEqual((yield* users.get("1")).n, 0)
      }
    })
  )

  it.effect("several at once are one after the other", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insert({ id: "1", n: 0 })
      const increment = database.transaction(
        Effect.gen(function* () {
          const { n } = yield* users.get("1")
          yield* Effect.yieldNow
          yield* users.update("1", { n: n + 1 })
        })
      )
      yield* database.transaction(
        Effect.all(
          Array.from({ length: 5 }, () => increment),
          { concurrency: "unbounded" }
        )
      )
      assert.strictEqual((yield* users.get("1")).n, 5)
    })
  )

  it.effect("what is deleted and inserted again is a new document", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const notes = yield* open("notes", {
        schema: Schema.Struct({ ...User.fields, createdBy: Schema.optionalKey(Schema.String) }),
        primaryKey: "id",
        userstamps: true,
        content: true
      } as const)
      yield* Effect.provideService(notes.insert({ id: "1", n: 0 }), CurrentUser.CurrentUser, CurrentUser.make("ada"))
      yield* notes.update("1", { n: 1 })
      yield* notes.setContent("1", new Uint8Array(3))
      const before = yield* notes.getDocument("1")
      yield* database.transaction(Effect.andThen(notes.delete("1"), notes.insert({ id: "1", n: 5 })))
      const after = yield* notes.getDocument("1")
      assert.strictEqual(before.version, 3)
      assert.strictEqual(after.version, 1)
      assert.isUndefined(after.value.createdBy)
      assert.isUndefined(after.content)
    })
  )
})

describe("unique values within a transaction", () => {
  it.effect("two documents swap theirs, three pass theirs on, one takes that of a document which is deleted", () =>
    Effect.gen(function* () {
      for (const store of [yield* memory, (yield* MemoryStore.make({ profile: "rgw" })).store]) {
        const { database, open } = yield* openOn(store)
        const users = yield* open("users", options)
        yield* users.insertMany(["a", "b", "c"].map((id) => ({ id, n: 0, email: `${id}@x` })))
        const give = (id: string, email: string) => users.update(id, { email })
        const holders = Effect.forEach(["a@x", "b@x", "c@x"], (email) =>
          Effect.map(Effect.option(users.getByUnique("email", { email })), (one) => Option.getOrUndefined(one)?.id)
        )
        yield* database.transaction(Effect.all([give("a", "b@x"), give("b", "a@x")]))
        assert.deepStrictEqual(yield* holders, ["b", "a", "c"])
        yield* database.transaction(Effect.all([give("a", "c@x"), give("b", "b@x"), give("c", "a@x")]))
        assert.deepStrictEqual(yield* holders, ["c", "b", "a"])
        yield* database.transaction(Effect.all([users.delete("c"), give("b", "a@x")]))
        assert.deepStrictEqual(yield* holders, ["b", undefined, "a"])
        const taken = yield* Effect.flip(users.insert({ id: "d", n: 0, email: "a@x" }))
        assert.strictEqual(taken._tag, "UniqueViolation")
        // Given up by its new holder it is free, at the latest when its lease is over.
        yield* give("b", "z@x")
        yield* drive(yield* Effect.forkChild(users.insert({ id: "e", n: 0, email: "b@x" })))
        const findings = yield* Stream.runCollect((yield* users.admin).repair())
        assert.deepStrictEqual(
          findings.filter(({ kind }) => kind === "Unindexed" || kind === "Duplicate"),
          []
        )
      }
    })
  )

  it.effect("a value that was handed on is free as soon as it is given up", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insertMany(["1", "2", "3"].map((id) => ({ id, n: 0, email: `${id}@x` })))
      const give = (id: string, email: string) => users.update(id, { email })
      yield* database.transaction(Effect.all([give("3", "k@x"), give("1", "3@x")]))
      yield* give("1", "z@x")
      // No time passes.
      yield* give("2", "3@x")
      yield* database.transaction(Effect.andThen(users.delete("2"), users.insert({ id: "4", n: 0, email: "3@x" })))
      yield* users.delete("4")
      yield* give("1", "3@x")
      assert.strictEqual((yield* users.getByUnique("email", { email: "3@x" })).id, "1")
    })
  )

  it.effect("a swap that fails leaves each its own", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = yield* (yield* openOn(store)).open("users", options)
      yield* other.insertMany(["a", "b"].map((id) => ({ id, n: 0, email: `${id}@x` })))
      const failing = around(store, (effect, label) =>
        label === "put resource=users/data/id=b" ? Effect.die("crash") : effect
      )
      const { database, open } = yield* openOn(failing)
      const users = yield* open("users", options)
      const swap = Effect.forEach(["a", "b"], (id) => users.update(id, { email: id === "a" ? "b@x" : "a@x" }))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(database.transaction(swap))))
      for (const id of ["a", "b"]) {
        assert.strictEqual((yield* other.getByUnique("email", { email: `${id}@x` })).id, id)
      }
      assert.strictEqual((yield* Effect.flip(other.insert({ id: "c", n: 0, email: "a@x" })))._tag, "UniqueViolation")
    })
  )

  it.effect("a violation is told as one, whatever else was looked for and taken", () =>
    Effect.gen(function* () {
      for (const { store } of [yield* MemoryStore.make(), yield* MemoryStore.make({ profile: "rgw" })]) {
        const { database, open } = yield* openOn(store)
        const users = yield* open("users", options)
        yield* users.insert({ id: "other", n: 0, email: "taken" })
        let runs = 0
        const both = Effect.gen(function* () {
          runs += 1
          yield* Effect.option(users.getByUnique("email", { email: "free" }))
          yield* users.insert({ id: "a", n: 0, email: "free" })
          yield* users.insert({ id: "b", n: 0, email: "taken" })
        })
        assert.strictEqual((yield* Effect.flip(database.transaction(both)))._tag, "UniqueViolation")
        assert.strictEqual(runs, 1)
      }
    })
  )

  it.effect("one value for two documents of a transaction is refused at once", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", options)
      const both = Effect.all([
        users.insert({ id: "a", n: 0, email: "x" }),
        users.insert({ id: "b", n: 0, email: "x" })
      ])
      const error = yield* Effect.flip(database.transaction(both))
      assert.strictEqual(error._tag, "UniqueViolation")
      assert.strictEqual(yield* users.count(), 0)
    })
  )

  it.effect("getByUnique sees what the transaction wrote, and what it finds, or does not, is looked at again", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { database, open } = yield* openOn(counted)
      const users = yield* open("users", options)
      yield* users.insert({ id: "a", n: 0, email: "a@x" })
      const find = (email: string) =>
        Effect.map(Effect.option(users.getByUnique("email", { email })), (one) => Option.getOrUndefined(one)?.id)
      const seen = yield* database.transaction(
        Effect.gen(function* () {
          yield* users.update("a", { email: "b@x" })
          return [yield* find("a@x"), yield* find("b@x")]
        })
      )
      assert.deepStrictEqual(seen, [undefined, "a"])
      // What was not there when it was looked for is there by the commit: it runs again.
      const other = yield* (yield* openOn(store)).open("users", options)
      let runs = 0
      const found = yield* database.transaction(
        Effect.gen(function* () {
          runs += 1
          const holder = yield* find("c@x")
          if (runs === 1) yield* outside(other.insert({ id: "c", n: 0, email: "c@x" }))
          yield* users.update("a", { n: 1 })
          return holder
        })
      )
      assert.strictEqual(runs, 2)
      assert.strictEqual(found, "c")
      const before = (yield* counter.counts).head
      yield* database.transaction(Effect.andThen(find("c@x"), users.update("a", { n: 2 })))
      // The reservation, and the document that holds it.
      assert.strictEqual((yield* counter.counts).head - before, 2)
    })
  )
})

describe("listings within a transaction", () => {
  it.effect("are looked at again on demand, or refused; what that costs", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { database, open } = yield* openOn(counted)
      const users = yield* open("users", { ...options, counters: undefined, history: undefined })
      yield* users.insertMany(["1", "2", "3"].map((id) => ({ id, n: 1, group: id === "3" ? "h" : "g" })))
      const other = yield* (yield* openOn(store)).open("users", options)
      const within = { partition: "byGroup", values: { group: "g" } } as const
      for (const [name, listing, change] of [
        ["partition", users.scan(within), other.insert({ id: "4", n: 1, group: "g" })],
        ["document", users.scan(within), other.update("1", { n: 5 })],
        ["left", users.scan(within), other.update("2", { group: "h" })],
        ["query", users.query({ where: { n: { gt: 0 } }, scan: true }), other.insert({ id: "5", n: 1 })]
      ] as const) {
        let runs = 0
        const total = yield* database.transaction(
          Effect.gen(function* () {
            runs += 1
            const found = yield* Stream.runCollect(listing)
            if (runs === 1) yield* outside(Effect.asVoid(Effect.orDie<typeof User.Type, unknown, never>(change)))
            yield* users.update("3", { n: found.length })
            return sum(found)
          }),
          { listings: "serializable" }
        )
        assert.strictEqual(runs, 2, name)
        if (name !== "query") assert.strictEqual(total, sum(yield* Stream.runCollect(listing)), name)
      }
      const before = yield* counter.counts
      const all = Stream.runCollect(users.scan(within))
      yield* database.transaction(Effect.andThen(all, users.update("3", { n: 0 })), { listings: "serializable" })
      const after = yield* counter.counts
      // Two documents, once read and once looked at; the listing twice.
      assert.deepStrictEqual([after.list - before.list, after.head - before.head, after.get - before.get], [2, 2, 3])
      const tagOf = (effect: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.flip(effect), (error) => (error as { reason: { _tag: string } }).reason._tag)
      const late = Effect.andThen(users.update("3", { n: 9 }), all)
      assert.strictEqual(yield* tagOf(database.transaction(late, { listings: "serializable" })), "Unsupported")
      assert.strictEqual(yield* tagOf(database.transaction(all, { listings: "refuse" })), "Unsupported")
      assert.strictEqual(yield* tagOf(database.transaction(users.count(), { listings: "refuse" })), "Unsupported")
    })
  )

  it.effect("alone, it may add to what it has listed", () =>
    Effect.gen(function* () {
      for (const { store } of [yield* MemoryStore.make(), yield* MemoryStore.make({ profile: "rgw" })]) {
        const { database, open } = yield* openOn(store)
        const users = yield* open("users", options)
        yield* users.insertMany(["1", "2", "3"].map((id) => ({ id, n: 1, group: id === "3" ? "h" : "g" })))
        const within = { partition: "byGroup", values: { group: "g" } } as const
        let runs = 0
        const book = (listing: Effect.Effect<number, unknown>, write: (n: number) => Effect.Effect<unknown, unknown>) =>
          database.transaction(
            Effect.gen(function* () {
              runs += 1
              return yield* write(yield* listing)
            }),
            { listings: "serializable" }
          )
        const inserted = (id: string) => (n: number) => users.insert({ id, n, group: "g" })
        yield* book(users.count(within), inserted("4"))
        yield* book(users.count(), inserted("5"))
        yield* book(Stream.runCount(users.scan(within)), (n) => users.update("3", { n, group: "g" }))
        yield* book(Stream.runCount(users.scan(within)), (n) =>
          Effect.andThen(users.delete("1"), users.insert({ id: "1", n, group: "g" }))
        )
        yield* book(users.count(), () => Effect.andThen(users.delete("2"), users.delete("4")))
        yield* book(users.count(), inserted("2"))
        assert.strictEqual(runs, 6)
        assert.strictEqual((yield* users.get("2")).n, 3)
        const count = users.estimatedCount()
        const counting = yield* Effect.flip(database.transaction(count, { listings: "serializable" }))
        assert.strictEqual((counting as { reason: { _tag: string } }).reason._tag, "Unsupported")
      }
    })
  )

  it.effect("pages of thousands are looked at again, and added to", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const users = yield* open("users", { schema: User, primaryKey: "id" } as const)
      const ids = Array.from({ length: 2500 }, (_, i) => `u${i}`)
      yield* users.insertMany(ids.map((id) => ({ id, n: 0 })))
      let runs = 0
      yield* database.transaction(
        Effect.gen(function* () {
          runs += 1
          const n = yield* users.count()
          yield* users.insert({ id: "a first", n })
          yield* users.insert({ id: "u1000 in the middle", n })
        }),
        { listings: "serializable" }
      )
      assert.strictEqual(runs, 1)
      assert.strictEqual(yield* users.count(), 2502)
    })
  )
})
