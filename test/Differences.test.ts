import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Id from "effect-s3db/crypto/Id"
import { Database } from "effect-s3db/Database"
import * as Differences from "effect-s3db/Differences"
import * as Document from "effect-s3db/Document"
import * as ListingDifference from "effect-s3db/kernel/ListingDifference"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import * as Transaction from "effect-s3db/Transaction"
import { crashing, drive, memory, openOn } from "./fixture.ts"

type Store = ObjectStore["Service"]

const Account = Schema.Struct({ id: Schema.String, owner: Schema.String, balance: Schema.Int })

/** `through`: what it makes its requests by once it is open. */
const clientOf = Effect.fnUntraced(function* (store: Store, through = store, partitions = {}) {
  const opened = yield* openOn(store)
  const database = { ...opened.database, store: through }
  const accounts = yield* Effect.provideService(
    Resource.make(
      Resource.define("accounts", {
        schema: Account,
        primaryKey: "id",
        partitions
      })
    ),
    Database,
    database
  )
  const differences = (name = "copy") =>
    Effect.provideService(Differences.make({ resource: "accounts", name, compression: "none" }), Database, database)
  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => Transaction.run(database, effect)
  return { accounts, database, differences, transaction }
})
type Client = Effect.Success<ReturnType<typeof clientOf>>

/** A copy that reads each document it is told of. */
const copyOf = (accounts: Client["accounts"]) => {
  const known = new Map<string, number>()
  const told: Array<string> = []
  const handle = (differences: ReadonlyArray<Differences.Difference>) =>
    Effect.forEach(
      differences,
      Effect.fnUntraced(function* ({ _tag, id }) {
        told.push(`${_tag} ${id}`)
        const found = yield* Effect.option(accounts.get(id))
        if (Option.isNone(found)) known.delete(id)
        else known.set(id, found.value.balance)
      }),
      { discard: true }
    )
  return { known, handle, told: () => told.splice(0) }
}

const seenBy = (accounts: Client["accounts"]) =>
  Effect.map(Stream.runCollect(accounts.scan()), (all) => new Map(all.map(({ balance, id }) => [id, balance])))

const assertSame = Effect.fnUntraced(function* (
  accounts: Client["accounts"],
  known: ReadonlyMap<string, number>,
  label?: string
) {
  assert.deepStrictEqual(Object.fromEntries(known), Object.fromEntries(yield* seenBy(accounts)), label)
})

describe("Differences", () => {
  for (const [kind, open] of [
    ["memory", memory],
    ["a store that keeps what tells of deletions", Effect.map(MemoryStore.make({ profile: "rgw" }), (one) => one.store)]
  ] as const) {
    it.effect(`tells which documents are new, changed and gone (${kind})`, () =>
      Effect.gen(function* () {
        const inner = yield* open
        const { counter, store } = InstrumentedStore.make(inner)
        const { accounts, database, differences } = yield* clientOf(store, store, {
          byOwner: { fields: ["owner"] }
        })
        const ids = ["a", "a/b", "__proto__", "é ü", "z".repeat(200)]
        for (const id of ids) yield* accounts.insert({ id, owner: id, balance: 1 })
        const mine = yield* differences()
        const { handle, known, told } = copyOf(accounts)
        yield* mine.pass(handle)
        assert.deepStrictEqual(told().toSorted(), ids.map((id) => `New ${id}`).toSorted())
        yield* assertSame(accounts, known)

        yield* accounts.update("a", { balance: 2 })
        yield* accounts.delete("a/b")
        // Keys of others.
        yield* store.put({ key: "resource=accounts/data/readme.txt" })
        yield* store.put({ key: "resource=accounts/data/id=%61" })
        assert.deepStrictEqual(
          (yield* Stream.runCollect(mine.peek)).map(({ _tag, id }) => `${_tag} ${id}`),
          ["Changed a", "Gone a/b"]
        )
        yield* mine.pass(handle)
        assert.deepStrictEqual(told(), ["Changed a", "Gone a/b"])
        yield* assertSame(accounts, known)
        // Nothing is read that is known.
        yield* counter.reset
        yield* mine.pass(handle)
        const { get, list, put } = yield* counter.counts
        assert.deepStrictEqual({ get, list, put }, { get: 3, list: 1, put: 0 })

        yield* accounts.insert({ id: "a/b", owner: "again", balance: 3 })
        yield* database.transaction(
          Effect.andThen(accounts.update("a", { balance: 5 }), accounts.update("é ü", { balance: 6 }))
        )
        yield* mine.pass(handle)
        assert.deepStrictEqual(told(), ["Changed é ü", "Changed a", "New a/b"])
        yield* assertSame(accounts, known)
        // Another consumer begins with what comes later.
        const other = yield* differences("other/one")
        yield* other.baseline()
        yield* accounts.delete("a")
        yield* other.pass(handle)
        assert.deepStrictEqual(told(), ["Gone a"])
        yield* other.reset()
        assert.strictEqual((yield* other.pass(handle)).new, 4)
      })
    )
  }

  /** A transaction, and two passes, in every order of their requests. */
  const explored = Effect.fnUntraced(function* (
    differencesOf: (client: Client, store: Store) => Effect.Effect<Pick<Differences.Differences, "pass">>,
    preemptions = 1
  ) {
    const { control, store } = yield* MemoryStore.make()
    const setup = yield* clientOf(store)
    for (const id of ["a", "b"]) yield* setup.accounts.insert({ id, owner: "o", balance: 10 })
    const begun = copyOf(setup.accounts)
    yield* (yield* differencesOf(setup, store)).pass(begun.handle)
    const start = yield* control.snapshot
    const schedule = Interleavings.make(store)
    const [writer, reader] = [yield* clientOf(schedule.client("w")), yield* clientOf(schedule.client("r"))]
    let copy = copyOf(reader.accounts)
    let missed = 0
    const report = yield* schedule.explore({
      before: Effect.suspend(() => {
        copy = copyOf(reader.accounts)
        for (const [id, balance] of begun.known) copy.known.set(id, balance)
        return control.restore(start)
      }),
      programs: {
        w: Effect.suspend(() =>
          writer
            .transaction(
              Effect.gen(function* () {
                yield* writer.accounts.update("a", { balance: 5 })
                yield* writer.accounts.delete("b")
              })
            )
            .pipe(Effect.orDie, Effect.provideService(Id.Generator, Id.seeded(1)), Random.withSeed("w"))
        ),
        r: Effect.suspend(() =>
          Effect.gen(function* () {
            const mine = yield* differencesOf(reader, schedule.client("r"))
            yield* mine.pass(copy.handle)
          }).pipe(Effect.orDie, Effect.provideService(Id.Generator, Id.seeded(2)), Random.withSeed("r"))
        )
      },
      preemptions,
      crashes: 1,
      check: ({ crashed, exits }) =>
        Effect.gen(function* () {
          for (const [client, exit] of Object.entries(exits)) {
            assert.isTrue(crashed.includes(client) || Exit.isSuccess(exit), String(exit))
          }
          // Nobody has repaired anything.
          const mine = yield* differencesOf(setup, store)
          const last = copyOf(setup.accounts)
          for (const [id, balance] of copy.known) last.known.set(id, balance)
          yield* mine.pass(last.handle)
          const now = yield* seenBy(setup.accounts)
          const isSame = JSON.stringify([...last.known].toSorted()) === JSON.stringify([...now].toSorted())
          if (!isSame) missed += 1
        }).pipe(Effect.orDie)
    })
    assert.isTrue(report.complete)
    assert.isAbove(report.schedules, 100)
    return missed
  })

  it.effect("in every order of the requests of a transaction that may crash and of a pass, nothing is missed", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* explored((client) => Effect.orDie(client.differences())), 0)
    })
  )

  it.effect("the exploration finds differences that take the intents of transactions for versions", () =>
    Effect.gen(function* () {
      const naive = (_: Client, store: Store) =>
        Effect.sync(() => {
          const listed = Document.keyPrefix("accounts")
          const listing = ListingDifference.make(store, {
            listed,
            prefix: "naive",
            compression: "none",
            orderedList: true,
            isAbsent: ({ size }) => size === Document.deletionBytes
          })
          return {
            pass: ((handle) =>
              listing.pass((differences) =>
                handle(
                  differences.map(({ _tag, key }) => ({ _tag, id: Option.getOrThrow(Document.idOf("accounts", key)) }))
                )
              )) as Differences.Differences["pass"]
          }
        })
      assert.isAbove(yield* explored(naive), 0)
    })
  )

  it.effect("what is pending is told when it is decided, by whomever; damaged records delay and miss nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts, database, differences } = yield* clientOf(store)
      for (const id of ["a", "b", "c"]) yield* accounts.insert({ id, owner: "o", balance: 1 })
      const mine = yield* differences()
      const { handle, known, told } = copyOf(accounts)
      yield* mine.pass(handle)
      told()
      yield* accounts.update("a", { balance: 2 })
      // A client that crashes with its intents in place, before it commits.
      const other = yield* clientOf(store, crashing(store, 6, "before").store)
      const exit = yield* Effect.exit(
        other.transaction(
          Effect.andThen(other.accounts.update("a", { balance: 7 }), other.accounts.update("b", { balance: 7 }))
        )
      )
      assert.isTrue(Exit.isFailure(exit))
      yield* mine.pass(handle)
      assert.deepStrictEqual(told(), ["Changed a", "Changed b"])
      assert.strictEqual(known.get("a"), 2)
      yield* mine.pass(handle)
      assert.deepStrictEqual(told(), [])
      yield* TestClock.adjust("20 minutes")
      yield* Stream.runDrain(database.repairTransactions({ dryRun: false }))
      yield* mine.pass(handle)
      assert.deepStrictEqual(told(), ["Changed a", "Changed b"])
      yield* assertSame(accounts, known)

      yield* store.put({ key: "transaction=damaged", body: new TextEncoder().encode("?") })
      yield* accounts.update("c", { balance: 9 })
      yield* mine.pass(handle)
      yield* mine.pass(handle)
      assert.deepStrictEqual(told(), ["Changed c"])
      yield* store.delete("transaction=damaged")
      yield* mine.pass(handle)
      yield* mine.pass(handle)
      assert.deepStrictEqual(told(), ["Changed c"])
    })
  )

  it.effect("runs, fails as its handler does, and names the operation", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts, differences } = yield* clientOf(store)
      yield* accounts.insert({ id: "a", owner: "o", balance: 1 })
      const mine = yield* differences()
      assert.strictEqual(yield* Effect.flip(mine.pass(() => Effect.fail("mine" as const))), "mine")
      const fiber = yield* Effect.forkChild(Effect.flip(mine.run(() => Effect.fail("mine" as const))))
      assert.strictEqual(yield* drive(fiber), "mine")
      const damaged = yield* differences("damaged")
      yield* store.put({
        key: "resource=accounts/plugin=differences/damaged/manifest",
        body: new TextEncoder().encode("?")
      })
      for (const [operation, effect] of [
        ["pass", damaged.pass(() => Effect.void)],
        ["peek", Stream.runDrain(damaged.peek)],
        ["run", damaged.run(() => Effect.void)]
      ] as const) {
        const failing = yield* Effect.forkChild(Effect.flip(effect as Effect.Effect<unknown, Error>))
        const error = yield* drive(failing)
        assert.isTrue("operation" in error && error.operation === `Differences.${operation}`, String(error))
      }
      for (const wrong of [{ name: "" }, { resource: "\ud800" }, { name: 1 as unknown as string }]) {
        const error = yield* Effect.flip(
          Effect.provideService(
            Differences.make({ resource: "accounts", name: "x", ...wrong }),
            Database,
            (yield* openOn(store)).database
          )
        )
        assert.deepStrictEqual(error.issues[0]!.path, Object.keys(wrong))
      }
    })
  )
})
