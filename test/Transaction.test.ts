import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as Definition from "effect-s3db/Definition"
import type * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Transaction from "effect-s3db/Transaction"
import { crashing, drive, keysOf, memory, moments, openNew, openOn } from "./fixture.ts"

const Account = Schema.Struct({ id: Schema.String, owner: Schema.String, balance: Schema.Int })
const options = {
  schema: Account,
  primaryKey: "id",
  partitions: { byOwner: ["owner"] },
  unique: { owner: ["owner"] }
} as const satisfies Resource.Options<typeof Account>
type Accounts = Resource.Repository<typeof Account>

/** A client of its own on a store. */
const clientOf = Effect.fnUntraced(function* (store: ObjectStore["Service"], through = store) {
  const { database } = yield* openOn(store)
  const instance = { ...database, store: through }
  const accounts = yield* Effect.provideService(
    Resource.make(Definition.from("accounts", options)),
    Database.Database,
    instance
  )
  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>, more?: Transaction.Options) =>
    Transaction.run(instance, effect, more)
  return { accounts, transaction, database }
})

const transfer = (accounts: Accounts, from: string, to: string, amount: number) =>
  Effect.gen(function* () {
    const a = yield* accounts.get(from)
    const b = yield* accounts.get(to)
    yield* accounts.update(from, { balance: a.balance - amount })
    yield* accounts.update(to, { balance: b.balance + amount })
  })

const sumOf = (accounts: Accounts) =>
  Stream.runFold(
    accounts.scan(),
    () => 0,
    (sum, account) => sum + account.balance
  )

describe("transactions", () => {
  it.effect("all of it, or nothing", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const accounts = yield* open("accounts", options)
      yield* accounts.insert({ id: "a", owner: "Ana", balance: 10 })
      const notes = yield* open("notes", {
        schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
        primaryKey: "id"
      })
      const before = yield* keysOf(store)
      const failed = yield* Effect.flip(
        database.transaction(
          Effect.gen(function* () {
            yield* accounts.update("a", { balance: 0 })
            yield* accounts.insert({ id: "b", owner: "Bo", balance: 10 })
            // From inside, it is done.
            assert.strictEqual((yield* accounts.get("a")).balance, 0)
            assert.strictEqual((yield* accounts.get("b")).balance, 10)
            assert.isTrue(yield* accounts.exists("b"))
            yield* accounts.delete("b")
            assert.isFalse(yield* accounts.exists("b"))
            return yield* Effect.fail("changed my mind" as const)
          })
        )
      )
      assert.strictEqual(failed, "changed my mind")
      assert.strictEqual((yield* accounts.get("a")).balance, 10)
      assert.deepStrictEqual(yield* keysOf(store), before)
      const result = yield* database.transaction(
        Effect.gen(function* () {
          const { balance } = yield* accounts.update("a", (now) => ({ balance: now.balance - 3 }))
          yield* accounts.insert({ id: "b", owner: "Bo", balance: 3 })
          yield* accounts.patch("b", { owner: "Bob" })
          yield* accounts.upsert({ id: "c", owner: "Cy", balance: 0 })
          yield* accounts.replace({ id: "c", owner: "Cyd", balance: 1 })
          yield* notes.insert({ id: "1", text: "transfer" })
          // Inner ones are part of it.
          yield* database.transaction(accounts.update("c", { balance: 2 }))
          return balance
        })
      )
      assert.strictEqual(result, 7)
      assert.deepStrictEqual(yield* Stream.runCollect(accounts.scan()), [
        { id: "a", owner: "Ana", balance: 7 },
        { id: "b", owner: "Bob", balance: 3 },
        { id: "c", owner: "Cyd", balance: 2 }
      ])
      assert.strictEqual((yield* accounts.getByUnique("owner", { owner: "Bob" })).id, "b")
      assert.strictEqual(yield* accounts.count({ partition: "byOwner", values: { owner: "Cyd" } }), 1)
      assert.deepStrictEqual(yield* keysOf(store, "transaction="), [])
      assert.strictEqual(yield* notes.count(), 1)
      yield* database.transaction(Effect.andThen(accounts.delete("b"), accounts.deleteMany(["c", "none"])))
      assert.strictEqual(yield* accounts.count(), 1)
      assert.deepStrictEqual(yield* Stream.runCollect((yield* accounts.admin).repair()), [])
      // One document, two markers... and nothing of those that are gone.
      assert.strictEqual((yield* keysOf(store, "resource=accounts/")).length, 3)
      assert.strictEqual((yield* accounts.getDocument("a")).version, 2)
    })
  )

  it.effect("documents that fill their metadata to the last byte take part", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, text: Schema.String })
      const notes = yield* open("notes", { schema, primaryKey: "id", behavior: "enforce-limits" })
      const fits = (size: number) => Effect.isSuccess(notes.replace({ id: "probe", text: "x".repeat(size) }))
      let size = 2048
      while (!(yield* fits(size))) size -= 1
      const full = yield* notes.getDocument("probe")
      assert.strictEqual(full.metadataBytes, 2048)
      for (const id of ["1", "2"]) yield* notes.insert({ id, text: "x".repeat(size) })
      const swap = Effect.gen(function* () {
        const [a, b] = [yield* notes.get("1"), yield* notes.get("2")]
        yield* notes.update("1", { text: b.text.replace("x", "b") })
        yield* notes.update("2", { text: a.text.replace("x", "a") })
      })
      yield* database.transaction(swap)
      assert.strictEqual((yield* notes.get("1")).text[0], "b")
      assert.strictEqual((yield* notes.getDocument("2")).metadataBytes, 2048)
    })
  )

  it.effect("all that a transaction writes has one time, that of the run that is committed", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const Note = Schema.Struct({
        id: Schema.String,
        text: Schema.String,
        createdAt: Schema.optionalKey(Schema.DateTimeUtcFromString),
        updatedAt: Schema.optionalKey(Schema.DateTimeUtcFromString)
      })
      const declared = { schema: Note, primaryKey: "id", timestamps: true, history: true } as const
      const notes = yield* open("notes", declared)
      const others = yield* open("others", declared)
      yield* notes.insert({ id: "a", text: "" })
      yield* others.insert({ id: "gone", text: "" })
      const told: Array<number> = []
      yield* others.onChange({}, ({ at }) => Effect.sync(() => void told.push(at.epochMilliseconds)))
      const later = TestClock.adjust("1 second")
      let runs = 0
      yield* TestClock.adjust("1 hour")
      yield* database.transaction(
        Effect.gen(function* () {
          runs += 1
          const { text } = yield* notes.get("a")
          // Somebody else comes in between the first time.
          const aside = notes.update("a", { text: "aside" })
          if (runs === 1) yield* Effect.provideService(aside, Transaction.Current, undefined)
          yield* later
          yield* notes.insert({ id: "b", text })
          yield* later
          yield* notes.update("a", { text: "changed" })
          yield* later
          yield* database.transaction(
            others.insertMany([
              { id: "c", text },
              { id: "d", text }
            ])
          )
          yield* later
          yield* others.upsert({ id: "c", text: "again" })
          yield* later
          yield* others.replace({ id: "e", text })
          yield* others.delete("gone")
          yield* later
        })
      )
      assert.strictEqual(runs, 2)
      // The second run began when the first one had taken its six seconds, and somewhat later, after a pause.
      const { writtenAt } = yield* notes.getDocument("a")
      const time = writtenAt.epochMilliseconds
      assert.isAtLeast(time, 3_600_000 + 6000)
      const times = { createdAt: writtenAt, updatedAt: writtenAt }
      const { createdAt, updatedAt } = yield* notes.get("a")
      assert.strictEqual(createdAt?.epochMilliseconds, 0)
      assert.deepStrictEqual(updatedAt, writtenAt)
      assert.deepStrictEqual(yield* notes.get("b"), { id: "b", text: "aside", ...times })
      for (const id of ["c", "d", "e"]) {
        const document = yield* others.getDocument(id)
        assert.deepStrictEqual([document.createdAt, document.writtenAt], [writtenAt, writtenAt])
        assert.deepInclude(document.value, times)
      }
      // So it is for deletions, and for who is told.
      const lastOf = (time: number) => Effect.option(others.getAt("gone", { time: DateTime.makeUnsafe(time) }))
      assert.isTrue(Option.isSome(yield* lastOf(time - 1)))
      assert.isTrue(Option.isNone(yield* lastOf(time)))
      yield* later
      assert.deepStrictEqual([...new Set(told)], [time])
    })
  )

  it.effect("errors inside are those outside", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const accounts = yield* open("accounts", options)
      const a = yield* accounts.insert({ id: "a", owner: "Ana", balance: 10 })
      yield* accounts.insert({ id: "b", owner: "Bo", balance: 10 })
      const tagOf = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
        Effect.map(Effect.flip(database.transaction(effect)), (error) => error._tag)
      assert.strictEqual(yield* tagOf(accounts.get("none")), "NotFound")
      assert.strictEqual(yield* tagOf(accounts.insert({ id: "a", owner: "x", balance: 0 })), "AlreadyExists")
      assert.strictEqual(yield* tagOf(accounts.update("none", { balance: 0 })), "NotFound")
      assert.strictEqual(yield* tagOf(accounts.update("a", { balance: 0.5 })), "InvalidInput")
      assert.strictEqual(yield* tagOf(accounts.update("a", { owner: "Bo" })), "UniqueViolation")
      const read = yield* accounts.documentOf(a)
      yield* accounts.update("a", { balance: 11 })
      assert.strictEqual(yield* tagOf(accounts.update(read, { balance: 0 })), "Conflict")
      assert.strictEqual(yield* tagOf(accounts.delete(read)), "Conflict")
      const now = yield* accounts.getDocument("a")
      yield* database.transaction(accounts.update(now, { balance: 12 }))
      assert.strictEqual((yield* accounts.get("a")).balance, 12)
      yield* database.transaction(accounts.delete(yield* accounts.getDocument("a")))
      assert.isFalse(yield* accounts.exists("a"))
      assert.strictEqual((yield* accounts.get("b")).balance, 10)
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const plain = { schema: Account, primaryKey: "id" } as const
      const { database, open } = yield* openOn(counted)
      const accounts = yield* open("accounts", plain)
      for (const id of ["a", "b", "c"]) yield* accounts.insert({ id, owner: id, balance: 10 })
      const requests = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>) {
        const before = yield* counter.counts
        yield* Effect.orDie(database.transaction(effect))
        const after = yield* counter.counts
        const made: Record<string, number> = {}
        for (const [name, n] of Object.entries(after)) {
          const more = n - ((before as Record<string, number>)[name] ?? 0)
          if (more > 0) made[name] = more
        }
        return made
      })
      assert.deepStrictEqual(yield* requests(transfer(accounts as never, "a", "b", 1)), { get: 2, put: 6, delete: 1 })
      const withRead = Effect.andThen(accounts.get("c"), transfer(accounts as never, "a", "b", 1))
      assert.deepStrictEqual(yield* requests(withRead), { get: 3, put: 6, head: 1, delete: 1 })
      assert.deepStrictEqual(yield* requests(accounts.update("a", { balance: 1 })), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requests(accounts.get("a")), { get: 1 })
      assert.deepStrictEqual(yield* requests(Effect.andThen(accounts.get("a"), accounts.get("b"))), { get: 2, head: 2 })
    })
  )

  it.effect("a reader sees none of it before the commit, all of it after; a plain writer waits or ends it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts: other } = yield* clientOf(store)
      yield* other.insert({ id: "a", owner: "Ana", balance: 10 })
      yield* other.insert({ id: "b", owner: "Bo", balance: 10 })
      const staged = yield* Deferred.make<void>()
      const commit = yield* Deferred.make<void>()
      const pausing: ObjectStore["Service"] = {
        ...store,
        put: (request) =>
          request.key.startsWith("transaction=") && request.ifMatch !== undefined
            ? Effect.andThen(
                Effect.andThen(Deferred.succeed(staged, undefined), Deferred.await(commit)),
                store.put(request)
              )
            : store.put(request)
      }
      const { accounts, transaction } = yield* clientOf(store, pausing)
      const running = yield* Effect.forkChild(
        transaction(
          Effect.gen(function* () {
            yield* transfer(accounts, "a", "b", 4)
            yield* accounts.insert({ id: "c", owner: "Cy", balance: 0 })
          })
        )
      )
      yield* Deferred.await(staged)
      const look = Effect.gen(function* () {
        const found = yield* other.getMany(["a", "b", "c"])
        return found.map((one) => (one._tag === "Some" ? one.value.balance : undefined))
      })
      assert.deepStrictEqual(yield* look, [10, 10, undefined])
      assert.isFalse(yield* other.exists("c"))
      assert.isTrue(yield* other.exists("a"))
      assert.strictEqual(yield* other.count({ partition: "byOwner", values: { owner: "Cy" } }), 0)
      assert.strictEqual((yield* Effect.flip(other.getByUnique("owner", { owner: "Cy" })))._tag, "NotFound")
      const held = yield* other.getDocument("a")
      const waiting = yield* Effect.forkChild(Effect.flip(other.update(held, { balance: 0 })))
      yield* TestClock.adjust("2 seconds")
      yield* Deferred.succeed(commit, undefined)
      yield* drive(running)
      assert.strictEqual(((yield* drive(waiting)) as DbError.Conflict)._tag, "Conflict")
      assert.deepStrictEqual(yield* look, [6, 14, 0])
    })
  )

  it.effect("a transaction that stands still is ended by the next one; its document in hand stays good", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts: other } = yield* clientOf(store)
      yield* other.insert({ id: "a", owner: "Ana", balance: 10 })
      yield* other.insert({ id: "b", owner: "Bo", balance: 10 })
      const dying: ObjectStore["Service"] = {
        ...store,
        put: (request) =>
          request.key.startsWith("transaction=") && request.ifMatch !== undefined
            ? Effect.die("crash")
            : store.put(request)
      }
      const { accounts, transaction } = yield* clientOf(store, dying)
      const exit = yield* Effect.exit(
        transaction(
          Effect.andThen(transfer(accounts, "a", "b", 4), accounts.insert({ id: "c", owner: "Cy", balance: 0 }))
        )
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const held = yield* other.getDocument("a")
      assert.strictEqual(held.value.balance, 10)
      yield* drive(yield* Effect.forkChild(other.update(held, { balance: 11 })))
      yield* drive(yield* Effect.forkChild(other.insert({ id: "c", owner: "Cyd", balance: 0 })))
      yield* drive(yield* Effect.forkChild(other.replace({ id: "b", owner: "Bob", balance: 1 })))
      assert.deepStrictEqual(yield* sumOf(other), 12)
      yield* TestClock.adjust("16 minutes")
      const { database } = yield* openOn(store)
      assert.strictEqual((yield* Stream.runCollect(database.repairTransactions())).length, 1)
      const swept = yield* Stream.runCollect(database.repairTransactions({ dryRun: false }))
      assert.deepStrictEqual(
        swept.map((one) => one.outcome),
        ["aborted"]
      )
      yield* Stream.runDrain((yield* other.admin).repair({ dryRun: false }))
      assert.strictEqual((yield* keysOf(store, "resource=accounts/")).length, 9)
      assert.deepStrictEqual(yield* keysOf(store, "transaction="), [])
    })
  )

  it.effect("write skew does not happen", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < 20; seed++) {
        const store = yield* memory
        const clients = yield* Effect.forEach([0, 1], () => clientOf(store))
        const [one] = clients
        yield* one!.accounts.insert({ id: "a", owner: "Ana", balance: 1 })
        yield* one!.accounts.insert({ id: "b", owner: "Bo", balance: 1 })
        // Each may take one, as long as two are there.
        const take = ({ accounts, transaction }: (typeof clients)[number], id: string) =>
          transaction(
            Effect.gen(function* () {
              const a = yield* accounts.get("a")
              const b = yield* accounts.get("b")
              yield* Effect.yieldNow
              if (a.balance + b.balance < 2) return
              yield* accounts.update(id, { balance: 0 })
            })
          )
        const both = yield* Effect.forkChild(
          Effect.all([take(clients[0]!, "a"), take(clients[1]!, "b")], { concurrency: 2 }).pipe(Random.withSeed(seed))
        )
        yield* drive(both, "100 millis")
        assert.strictEqual(yield* sumOf(one!.accounts), 1)
      }
    })
  )

  it.effect("a bank keeps its sum, whatever its clients do at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const clients = yield* Effect.forEach([0, 1, 2, 3], () => clientOf(store))
      const [first] = clients
      const ids = ["a", "b", "c", "d", "e"]
      yield* Effect.forEach(ids, (id) => first!.accounts.insert({ id, owner: id, balance: 100 }))
      let conflicts = 0
      const work = ({ accounts, transaction }: (typeof clients)[number]) =>
        Effect.forEach(
          Array.from({ length: 15 }, (_, i) => i),
          () =>
            Effect.gen(function* () {
              const from = ids[yield* Random.nextIntBetween(0, 4)]!
              const to = ids.filter((id) => id !== from)[yield* Random.nextIntBetween(0, 3)]!
              const amount = yield* Random.nextIntBetween(1, 30)
              yield* transaction(transfer(accounts, from, to, amount)).pipe(
                Effect.catchTag("TransactionConflict", () => Effect.sync(() => (conflicts += 1)))
              )
              const seen = yield* transaction(
                Effect.map(accounts.getMany(ids), (all) =>
                  all.reduce((sum, one) => sum + (one._tag === "Some" ? one.value.balance : Number.NaN), 0)
                )
              ).pipe(Effect.catchTag("TransactionConflict", () => Effect.succeed(500)))
              assert.strictEqual(seen, 500)
            }),
          { discard: true }
        )
      const all = yield* Effect.forkChild(
        Effect.forEach(clients, work, { concurrency: "unbounded" }).pipe(Random.withSeed("bank"))
      )
      yield* drive(all, "50 millis")
      assert.strictEqual(yield* sumOf(first!.accounts), 500)
      assert.isAtMost(conflicts, 30)
      assert.deepStrictEqual(yield* keysOf(store, "transaction="), [])
      assert.deepStrictEqual(yield* Stream.runCollect((yield* first!.accounts.admin).repair()), [])
    })
  )

  const stores = [
    ["memory", memory],
    ["a store without conditional deletes", Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)]
  ] as const

  for (const [where, empty] of stores) {
    it.effect(`a crash at any request leaves all or nothing (${where})`, () =>
      Effect.gen(function* () {
        const outcomes = new Set<string>()
        for (let at = 1, finished = false; !finished; at++) {
          for (const when of moments) {
            const label = `${when} request ${at}`
            const store = yield* empty
            const { accounts: setup } = yield* clientOf(store)
            for (const id of ["a", "b", "gone"]) yield* setup.insert({ id, owner: id, balance: 10 })
            const client = crashing(store, at, when)
            const { accounts, transaction } = yield* clientOf(store, client.store)
            const exit = yield* Effect.exit(
              transaction(
                Effect.gen(function* () {
                  yield* transfer(accounts, "a", "b", 4)
                  yield* accounts.update("a", { owner: "moved" })
                  yield* accounts.insert({ id: "new", owner: "new", balance: 7 })
                  yield* accounts.delete("gone")
                  yield* accounts.update("b", (b) => ({ balance: b.balance + 3 }))
                })
              )
            )
            finished = Exit.isSuccess(exit)
            const { accounts: other, database } = yield* clientOf(store)
            const look = Effect.gen(function* () {
              const all = yield* Stream.runCollect(other.scan())
              for (const one of all) {
                const there = yield* other.count({ partition: "byOwner", values: { owner: one.owner } })
                assert.strictEqual(there, 1, label)
                assert.strictEqual((yield* other.getByUnique("owner", { owner: one.owner })).id, one.id, label)
              }
              return all.map(({ id, owner, balance }) => `${id} ${owner} ${balance}`).join(", ")
            })
            const seen = yield* look
            outcomes.add(seen)
            // The next that writes brings it to its end.
            const next = yield* Effect.forkChild(
              Effect.forEach(["a", "b", "gone", "new"], (id) =>
                Effect.option(other.update(id, (now) => ({ balance: now.balance })))
              )
            )
            yield* drive(next)
            assert.strictEqual(yield* look, seen, label)
            yield* TestClock.adjust("16 minutes")
            yield* Stream.runDrain(database.repairTransactions({ dryRun: false }))
            yield* Stream.runDrain((yield* other.admin).repair({ dryRun: false }))
            assert.strictEqual(yield* look, seen, label)
            assert.deepStrictEqual(yield* keysOf(store, "transaction="), [], label)
            assert.deepStrictEqual(yield* Stream.runCollect((yield* other.admin).repair()), [], label)
          }
        }
        assert.deepStrictEqual([...outcomes].toSorted(), [
          "a a 10, b b 10, gone gone 10",
          "a moved 6, b b 17, new new 7"
        ])
      })
    )
  }
})
