import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as Unique from "effect-s3db/Unique"
import { drive, keysOf, memory, openNew, openOn, tellingOf } from "./fixture.ts"

const User = Schema.Struct({
  id: Schema.String,
  email: Schema.optionalKey(Schema.NullOr(Schema.String)),
  org: Schema.optionalKey(Schema.String),
  seat: Schema.optionalKey(Schema.Int),
  secret: Schema.optionalKey(Attribute.SecretText)
})

const PlainUser = Schema.Struct({
  id: User.fields.id,
  email: User.fields.email,
  org: User.fields.org,
  seat: User.fields.seat
})

const options = {
  schema: PlainUser,
  primaryKey: "id",
  unique: { email: { fields: ["email"], ignoreCase: true }, seat: ["org", "seat"] }
} as const satisfies Resource.Options<typeof PlainUser>

const violationOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => error as unknown as DbError.UniqueViolation)

/** A client whose requests go through a function first. */
const through = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  before: (request: string, key: string) => Effect.Effect<void>
) {
  const { database } = yield* openOn(store)
  const observed: ObjectStore["Service"] = {
    ...store,
    put: (one) => Effect.andThen(before("put", one.key), store.put(one))
  }
  return yield* Effect.provideService(Resource.make(Resource.define("users", options)), Database.Database, {
    ...database,
    store: observed
  })
})

describe("unique keys", () => {
  it.effect("a value belongs to one document, through every kind of write", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insert({ id: "1", email: "Ana@Example.com" })
      yield* users.insert({ id: "2", email: "bo@example.com", org: "o", seat: 1 })
      const violation = yield* violationOf(users.insert({ id: "3", email: "ana@example.com" }))
      assert.deepInclude(violation, {
        _tag: "UniqueViolation",
        unique: "email",
        fields: ["email"],
        id: "1",
        isPending: false
      })
      assert.notInclude(violation.message, "ana@")
      const before = yield* keysOf(store)
      for (const attempt of [
        users.update("2", { email: "ANA@example.com" }),
        users.patch("2", { email: "ana@example.com" }),
        users.replace({ id: "2", email: "ana@example.com" }),
        users.upsert({ id: "2", email: "ana@example.com" }),
        users.upsert({ id: "4", email: "ana@example.com" })
      ] as ReadonlyArray<Effect.Effect<unknown, unknown>>) {
        assert.strictEqual((yield* violationOf(attempt))._tag, "UniqueViolation")
      }
      assert.deepStrictEqual(yield* keysOf(store), before)
      assert.strictEqual((yield* users.getByUnique("email", { email: "ANA@EXAMPLE.COM" })).id, "1")
      assert.strictEqual((yield* users.getByUnique("seat", { org: "o", seat: 1 })).id, "2")

      // A value that is given up is free at once.
      yield* users.update("1", { email: "new@example.com" })
      yield* users.insert({ id: "3", email: "ana@example.com" })
      assert.strictEqual((yield* users.getByUnique("email", { email: "ana@example.com" })).id, "3")
      yield* users.delete("3")
      yield* users.upsert({ id: "2", email: "ana@example.com" })
      yield* users.replace({ id: "2", email: null })
      yield* users.insert({ id: "5", email: "ana@example.com" })
      yield* users.deleteMany(["5"])
      yield* users.insert({ id: "6", email: "ana@example.com", org: "o", seat: 1 })
      // Absent and null values are nobody's, and several documents can lack them.
      yield* users.insert({ id: "7" })
      yield* users.insert({ id: "8", org: "o" })
      // What is there already says that it is.
      const exists = yield* Effect.flip(users.insert({ id: "6", email: "ana@example.com" }))
      assert.strictEqual(exists._tag, "AlreadyExists")
      assert.strictEqual((yield* users.getByUnique("email", { email: "ana@example.com" })).id, "6")
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const { store } = yield* openNew
      const seen: Array<string> = []
      const users = yield* through(store, (request, key) =>
        Effect.sync(() => seen.push(`${request} ${key.split("/")[1]}`))
      )
      yield* users.insert({ id: "1", email: "a@x", org: "o", seat: 1 })
      assert.deepStrictEqual(seen, ["put unique=email", "put unique=seat", "put data"])
      seen.length = 0
      yield* users.update("1", { seat: 2 })
      assert.deepStrictEqual(seen, ["put unique=seat", "put data"])
      seen.length = 0
      yield* users.update("1", { email: "a@X" })
      assert.deepStrictEqual(seen, ["put data"])
    })
  )

  it.effect("of twenty that claim a value at once, one gets it", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const users = yield* open("users", options)
      const results = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        (i) => Effect.result(users.insert({ id: `${i}`, email: "one@x" })),
        { concurrency: "unbounded" }
      ).pipe(
        Effect.forkChild,
        Effect.tap(() => TestClock.adjust("1 minute")),
        Effect.flatMap(Fiber.join)
      )
      assert.strictEqual(results.filter(Result.isSuccess).length, 1)
      const losers = results.filter(Result.isFailure).map((result) => result.failure._tag)
      assert.deepStrictEqual([...new Set(losers)], ["UniqueViolation"])
      assert.strictEqual(yield* users.count(), 1)
    })
  )

  it.effect("what is no key, and no value, is told", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const users = yield* open("users", options)
      const message = (unique: string, values: Record<string, unknown>) =>
        Effect.map(Effect.flip(users.getByUnique(unique, values)), (error) => error.message)
      assert.include(yield* message("nope", {}), "email, seat")
      assert.include(yield* message("seat", { org: "o" }), "Expected values of org, seat")
      assert.include(yield* message("seat", { org: "o", seats: 1 }), "seats")
      assert.include(yield* message("email", { email: "nobody@x" }), "no document")
      for (const [declared, reason] of [
        [[], /no fields/],
        [["nope"], /no field; there are/],
        [["secret"], /cannot be unique/]
      ] as const) {
        const unique: Record<string, ReadonlyArray<string>> = { u: declared }
        const define = () => Resource.define("u", { schema: User, primaryKey: "id", unique })
        assert.throws(define, reason)
      }
    })
  )

  it.effect("a writer that crashed holds a value until its lease is over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const dying = yield* through(store, (_, key) => (key.includes("/data/") ? Effect.die("crash") : Effect.void))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(dying.insert({ id: "1", email: "a@x" }))))
      const { open } = yield* openOn(store)
      const users = yield* open("users", options)
      const early = yield* Effect.forkChild(Pauses.byClock(violationOf(users.insert({ id: "2", email: "a@x" }))))
      assert.deepInclude(yield* drive(early), { _tag: "UniqueViolation", id: "1", isPending: true })
      yield* TestClock.adjust("61 seconds")
      yield* users.insert({ id: "2", email: "a@x" })
      assert.strictEqual((yield* users.getByUnique("email", { email: "a@x" })).id, "2")
    })
  )

  it.effect("a writer that paused for longer than its lease finds out, and takes its document back", () =>
    Effect.gen(function* () {
      for (const kind of ["insert", "update"] as const) {
        const store = yield* memory
        const { open } = yield* openOn(store)
        const users = yield* open("users", options)
        yield* users.insert({ id: "1", email: "before@x", seat: 1 })
        const reached = yield* Deferred.make<void>()
        const resume = yield* Deferred.make<void>()
        const pausing = yield* through(store, (_, key) =>
          key.includes("/data/")
            ? Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(resume))
            : Effect.void
        )
        const write: Effect.Effect<unknown, unknown> =
          kind === "insert" ? pausing.insert({ id: "9", email: "a@x" }) : pausing.update("1", { email: "a@x", seat: 2 })
        const paused = yield* Effect.forkChild(violationOf(write))
        yield* Deferred.await(reached)
        yield* TestClock.adjust("2 minutes")
        yield* users.insert({ id: "2", email: "a@x" })
        yield* Deferred.succeed(resume, undefined)
        const violation = yield* drive(paused)
        assert.deepInclude(violation, { _tag: "UniqueViolation", id: "2" })
        assert.strictEqual((yield* users.getByUnique("email", { email: "a@x" })).id, "2")
        const all = yield* Stream.runCollect(users.scan())
        assert.deepStrictEqual(
          all.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
          [
            { id: "1", email: "before@x", seat: 1 },
            { id: "2", email: "a@x" }
          ]
        )
        // One that nobody has overtaken goes through.
        const slow = yield* Effect.forkChild(
          Effect.flatMap(
            through(store, (_, key) => (key.includes("/data/") ? Effect.sleep("2 minutes") : Effect.void)),
            (slowly) => slowly.insert({ id: "3", email: "slow@x" })
          )
        )
        yield* drive(slow)
        assert.strictEqual((yield* users.getByUnique("email", { email: "slow@x" })).id, "3")
      }
    })
  )

  it.effect("a key that is declared later is built by a backfill, which tells of values that are not unique", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const before = yield* open("users", { schema: PlainUser, primaryKey: "id" })
      yield* before.insertMany([
        { id: "1", email: "a@x" },
        { id: "2", email: "A@x" },
        { id: "3", email: "b@x" }
      ])
      const { open: reopen } = yield* openOn(store)
      const users = yield* reopen("users", options)
      assert.include((yield* Effect.flip(users.getByUnique("email", { email: "a@x" }))).message, "backfill")
      const { told, unfinished } = yield* tellingOf((yield* users.admin).backfill({ concurrency: 1 }))
      assert.deepStrictEqual(
        unfinished?.left.map(({ id }) => id),
        ["2"]
      )
      assert.deepStrictEqual(
        told.map((one) => [one.id, one.rewritten, one.violations[0]?.id]),
        [
          ["1", true, undefined],
          ["2", false, "1"],
          ["3", true, undefined]
        ]
      )
      assert.include((yield* Effect.flip(users.getByUnique("email", { email: "a@x" }))).message, "backfill")
      const duplicates = yield* Stream.runCollect((yield* users.admin).repair())
      assert.deepStrictEqual(
        duplicates.map((one) => `${one.kind} ${one.id}`),
        ["Unindexed 2"]
      )
      yield* users.update("2", { email: "c@x" })
      yield* Stream.runDrain((yield* users.admin).backfill())
      assert.strictEqual((yield* users.getByUnique("email", { email: "a@x" })).id, "1")
      // Removed and declared again, it is built anew.
      assert.strictEqual(yield* (yield* users.admin).removeUnique("email"), 3)
      const { open: third } = yield* openOn(store)
      const back = yield* third("users", options)
      yield* Stream.runDrain((yield* back.admin).backfill())
      assert.strictEqual((yield* back.getByUnique("email", { email: "b@x" })).id, "3")
      assert.strictEqual((yield* violationOf(back.insert({ id: "4", email: "B@x" })))._tag, "UniqueViolation")
    })
  )

  it.effect("a reservation that nobody can read is nobody's; one that is lost is made again by repair", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const users = yield* open("users", options)
      yield* users.insert({ id: "1", email: "a@x" })
      const [key] = yield* keysOf(store, "resource=users/unique=")
      yield* store.put({ key: key!, body: new TextEncoder().encode("{") })
      assert.deepStrictEqual((yield* Unique.find(store, key!))?.owners, [])
      yield* TestClock.adjust("1 hour")
      const found = yield* Stream.runCollect((yield* users.admin).repair({ dryRun: false }))
      assert.deepStrictEqual(
        found.map((one) => one.kind),
        ["Unindexed"]
      )
      assert.strictEqual((yield* users.getByUnique("email", { email: "a@x" })).id, "1")
      // Two documents with one value, as an outage of the rules might leave them, are told.
      yield* store.delete(key!)
      yield* users.insert({ id: "2", email: "a@x" })
      const duplicates = yield* Stream.runCollect((yield* users.admin).repair({ dryRun: false }))
      assert.deepStrictEqual(
        duplicates.map((one) => `${one.kind} ${one.id} ${one.repaired}`),
        ["Duplicate 1 false"]
      )
    })
  )
})
