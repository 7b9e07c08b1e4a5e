import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Companion from "effect-s3db/Companion"
import { Database } from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as Lease from "effect-s3db/kernel/Lease"
import * as Plugin from "effect-s3db/Plugin"
import * as Ttl from "effect-s3db/plugins/Ttl"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as WriteContext from "effect-s3db/WriteContext"
import * as Pauses from "effect-s3db/testing/Pauses"
import { drive, keysOf, memory, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const Session = Schema.Struct(
  Plugin.withAttributes(
    {
      id: Schema.String,
      n: Schema.optionalKey(Schema.Int),
      flag: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
      tier: Schema.optionalKey(Schema.Literals(["free", "paid"])),
      price: Schema.optionalKey(Schema.BigDecimal),
      tags: Schema.optionalKey(Schema.Array(Schema.String)),
      expiresAt: Schema.optionalKey(Schema.NullOr(Schema.DateTimeUtc)),
      ends: Schema.optionalKey(
        Schema.Struct({ text: Schema.optionalKey(Schema.String), millis: Schema.optionalKey(Schema.Number) })
      )
    },
    Ttl.attributes
  )
)

class Sessions extends Resource.Service<Sessions>()("effect-s3db/test/plugins/Ttl.test/Sessions", {
  schema: Session,
  primaryKey: "id",
  name: "sessions"
}) {}

class Users extends Resource.Service<Users>()("effect-s3db/test/plugins/Ttl.test/Users", {
  schema: Session,
  primaryKey: "id",
  name: "sessions_archive"
}) {}

const start = Date.parse("2026-11-26T00:00:00Z")
const minute = 60_000
const day = 86_400_000
const at = (millis: number) => DateTime.makeUnsafe(start + millis)

/** Lets time pass in steps until something is so. */
const until = Effect.fnUntraced(function* <E>(isSo: Effect.Effect<boolean, E>, step: Duration.Input = "10 seconds") {
  for (let steps = 0; steps < 200; steps++) {
    yield* settled
    if (yield* isSo) return
    yield* TestClock.adjust(step)
  }
  assert.fail("it did not come to that")
})

/** A process on a store, with what it has open; it ends with the scope. */
const processOn = Effect.fnUntraced(function* (
  store: Store,
  options: Ttl.Options<Ttl.Policy<Sessions> | Ttl.Policy<Users> | Ttl.Policy<Sessions | Users>>
) {
  const { database } = yield* openOn(store)
  const sessions = yield* Effect.provideService(Resource.make(Sessions.definition), Database, database)
  const users = yield* Effect.provideService(Resource.make(Users.definition), Database, database)
  const ttl = yield* Ttl.make(options).pipe(
    Effect.provideService(Database, database),
    Effect.provideService(Sessions, sessions),
    Effect.provideService(Users, users)
  )
  return { database, sessions, users, ttl }
})

/** By hand, so that a test says when it is swept. */
const byHand = (store: Store, policy: Ttl.PolicyOptions<typeof Session.Type, Users>) =>
  processOn(store, { policies: [Ttl.policy(Sessions, policy)], sweep: false })

const idsOf = <S extends Resource.RepositoryOf<typeof Sessions.definition>>(repository: S) =>
  Effect.map(Stream.runCollect(repository.listIds()), (ids) => [...ids])

/** The lease as it lies in the store. */
const leaseIn = Effect.fnUntraced(function* (store: Store) {
  return Option.getOrThrow(yield* Lease.make(store, { key: "plugin=ttl/lease" }).state)
})

const zero = { due: 0, deleted: 0, softDeleted: 0, archived: 0, kept: 0, refreshed: 0, gone: 0, failed: 0 }

describe("Ttl", () => {
  describe("what is due", () => {
    const cases: Readonly<
      Record<
        string,
        readonly [Ttl.PolicyOptions<typeof Session.Type>, (millis: number) => Partial<typeof Session.Type>]
      >
    > = {
      "by age": [{ after: "10 minutes" }, () => ({})],
      "by the last change": [{ after: "10 minutes", since: "$updatedAt" }, () => ({})],
      "by a field that says when": [{ at: "expiresAt" }, (millis) => ({ expiresAt: at(millis) })],
      "by a field and an age": [
        { after: "5 minutes", since: "expiresAt" },
        (millis) => ({ expiresAt: at(millis - 5 * minute) })
      ],
      "by a text": [{ at: "ends.text" }, (millis) => ({ ends: { text: new Date(start + millis).toISOString() } })],
      "by a number": [{ at: "ends.millis" }, (millis) => ({ ends: { millis: start + millis } })]
    }

    for (const [name, [policy, fields]] of Object.entries(cases)) {
      it.effect(`is found ${name}, not a millisecond too early`, () =>
        Effect.gen(function* () {
          yield* TestClock.setTime(start)
          const { sessions, ttl } = yield* byHand(yield* memory, policy)
          yield* sessions.insert({ id: "a/b é", ...fields(10 * minute) })
          yield* TestClock.adjust(10 * minute - 1)
          assert.deepStrictEqual(yield* ttl.runNow(), [{ resource: "sessions", ...zero }])
          assert.deepStrictEqual(yield* ttl.due("sessions"), [])
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(yield* ttl.due("sessions"), [{ id: "a/b é", expiredAt: at(10 * minute) }])
          assert.deepStrictEqual(yield* ttl.runNow(), [{ resource: "sessions", ...zero, due: 1, deleted: 1 }])
          assert.deepStrictEqual(yield* idsOf(sessions), [])
        })
      )
    }

    it.effect("is nothing without a time, or with what is none", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl } = yield* byHand(yield* memory, { at: "ends.text" })
        const texts = ["", "yesterday", "2020-01-01T00:00:00", "2020-13-01", "Infinity", "0"]
        for (const text of texts) yield* sessions.insert({ id: `t${text}`, ends: { text } })
        yield* sessions.insert({ id: "none" })
        yield* ttl.runNow()
        yield* sessions.insert({ id: "day", ends: { text: "2020-01-01" } })
        yield* sessions.insert({ id: "zone", ends: { text: "2026-11-26T01:00:00+01:00" } })
        assert.deepStrictEqual(
          (yield* ttl.due("sessions")).map(({ id }) => id),
          ["day", "zone"]
        )
      })
    )

    it.effect("is also what has an age of more than 24.8 days, and of years", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl } = yield* byHand(yield* memory, { after: "800 days" })
        yield* sessions.insert({ id: "1" })
        yield* TestClock.adjust(799 * day)
        assert.strictEqual((yield* ttl.runNow())[0]!.due, 0)
        yield* TestClock.adjust(day)
        assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
      })
    )

    it.effect("follows an age that is changed, without anything being built anew", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { sessions } = yield* byHand(store, { after: "1 day" })
        yield* sessions.insert({ id: "1" })
        yield* TestClock.adjust("1 hour")
        const { ttl } = yield* byHand(store, { after: "1 hour" })
        assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
      })
    )

    it.effect("is also what was there before the index", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { database } = yield* openOn(store)
        const plain = yield* Effect.provideService(Resource.make(Sessions.definition), Database, database)
        yield* plain.insertMany(Array.from({ length: 5 }, (_, i) => ({ id: `${i}` })))
        yield* TestClock.adjust("2 hours")
        const { ttl } = yield* byHand(store, { after: "1 hour" })
        assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 5)
      })
    )

    it.effect("is removed from the index with its document, and when the document gets another time", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { sessions, ttl } = yield* byHand(store, { at: "expiresAt" })
        const count = Effect.map(keysOf(store, "resource=sessions/companion="), ({ length }) => length)
        yield* sessions.insert({ id: "1", expiresAt: at(minute) })
        yield* sessions.insert({ id: "2", expiresAt: at(minute) })
        yield* sessions.insert({ id: "3" })
        assert.strictEqual(yield* count, 2)
        yield* sessions.update("1", { expiresAt: at(2 * minute) })
        yield* sessions.replace({ id: "3", expiresAt: at(minute) })
        assert.strictEqual(yield* count, 3)
        yield* sessions.patch("3", { expiresAt: null })
        yield* sessions.delete("2")
        assert.strictEqual(yield* count, 1)
        yield* TestClock.adjust(minute)
        assert.strictEqual((yield* ttl.runNow())[0]!.due, 0)
        assert.deepStrictEqual(yield* idsOf(sessions), ["1", "3"])
      })
    )
  })

  describe("what becomes of it", () => {
    it.effect("a mark, once, until somebody clears it", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { database, sessions, ttl } = yield* byHand(yield* memory, {
          after: "1 hour",
          onExpire: Ttl.softDelete()
        })
        yield* sessions.insert({ id: "1", n: 7 })
        yield* TestClock.adjust("2 hours")
        assert.strictEqual((yield* ttl.runNow())[0]!.softDeleted, 1)
        assert.deepStrictEqual(yield* sessions.get("1"), { id: "1", n: 7, deletedAt: at(2 * 60 * minute) })
        assert.deepStrictEqual((yield* ttl.runNow())[0], { resource: "sessions", ...zero })
        yield* sessions.replace({ id: "1" })
        assert.strictEqual((yield* ttl.runNow())[0]!.softDeleted, 1)
        assert.deepStrictEqual(yield* Effect.provideService(Plugin.attributesIn("sessions"), Database, database), [
          { attribute: "deletedAt", owner: "ttl", state: "owned" }
        ])
      })
    )

    it.effect("a mark in a field of the program, in the form of that field", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const policy = { after: "1 hour", onExpire: Ttl.softDelete("expiresAt") } as const
        const { sessions, ttl } = yield* byHand(yield* memory, policy)
        yield* sessions.insert({ id: "1", expiresAt: null })
        yield* TestClock.adjust("1 hour")
        yield* ttl.runNow()
        assert.deepStrictEqual((yield* sessions.get("1")).expiresAt, at(60 * minute))
      })
    )

    const toArchive = Ttl.archive(Users, ({ document, expiredAt }: Ttl.Expired<typeof Session.Type>) => ({
      ...document.value,
      id: `${document.id}@${expiredAt.epochMilliseconds}`
    }))

    it.effect("a copy in an archive, exactly one", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl, users } = yield* byHand(yield* memory, { after: "1 hour", onExpire: toArchive })
        yield* sessions.insert({ id: "1", n: 7 })
        yield* TestClock.adjust("2 hours")
        assert.strictEqual((yield* ttl.runNow())[0]!.archived, 1)
        assert.deepStrictEqual(yield* idsOf(sessions), [])
        assert.deepStrictEqual(
          [...(yield* Stream.runCollect(users.scan()))],
          [{ id: `1@${start + 60 * minute}`, n: 7 }]
        )
        // Its place is taken: it stays, and says so.
        yield* users.insert({ id: `2@${start + 3 * 60 * minute}` })
        yield* sessions.insert({ id: "2" })
        yield* TestClock.adjust("2 hours")
        const failures = yield* Effect.forkChild(
          Stream.runCollect(
            Stream.take(
              Stream.filter(ttl.events, (event) => event._tag === "Failed"),
              1
            )
          ),
          { startImmediately: true }
        )
        assert.strictEqual((yield* ttl.runNow())[0]!.failed, 1)
        const [failure] = yield* Fiber.join(failures)
        assert.match(failure?._tag === "Failed" ? failure.error : "", /sessions_archive/)
        assert.deepStrictEqual(yield* idsOf(sessions), ["2"])
      })
    )

    it.effect("what a program says", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const seen: Array<string> = []
        const keys = new Map<string, string>()
        const onExpire = Ttl.callback((expired: Ttl.Expired<typeof Session.Type>) => {
          keys.set(`${expired.document.id} ${expired.document.revision}`, expired.idempotencyKey)
          seen.push(`${expired.resource} ${expired.document.id} ${expired.expiredAt.epochMilliseconds - start}`)
          if (expired.document.id === "bad") return Effect.fail("no")
          if (expired.document.id === "worse") return Effect.die("never")
          if (expired.document.id === "odd") return Effect.interrupt
          // It is not the document that is not there.
          if (expired.document.id === "other") return Effect.fail(new DbError.NotFound({ resource: "others" }))
          return Effect.succeed(expired.document.value.n === 1 ? ("delete" as const) : ("keep" as const))
        })
        const { sessions, ttl } = yield* byHand(yield* memory, { after: "1 minute", onExpire })
        yield* sessions.insertMany([
          { id: "bad" },
          { id: "go", n: 1 },
          { id: "odd" },
          { id: "other" },
          { id: "stay/1" },
          { id: "worse" }
        ])
        yield* TestClock.adjust("1 minute")
        const report = { resource: "sessions", ...zero, due: 6, deleted: 1, kept: 1, failed: 4 }
        assert.deepStrictEqual(yield* ttl.runNow(), [report])
        assert.deepStrictEqual(
          seen.toSorted(),
          ["bad", "go", "odd", "other", "stay/1", "worse"].map((id) => `sessions ${id} ${minute}`)
        )
        assert.deepStrictEqual(yield* idsOf(sessions), ["bad", "odd", "other", "stay/1", "worse"])
        // The others are asked about again.
        assert.strictEqual((yield* ttl.runNow())[0]!.due, 5)
        // By the same keys: there is one for each version of a document.
        assert.strictEqual(keys.size, 6)
        assert.strictEqual(new Set(keys.values()).size, 6)
        assert.isTrue([...keys.values()].some((key) => key.startsWith("ttl/sessions/stay%2F1/")))
      })
    )

    it.effect("nothing in a dry run, which says what would be", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl } = yield* byHand(yield* memory, { after: "1 minute", onExpire: toArchive })
        yield* sessions.insertMany(Array.from({ length: 10 }, (_, i) => ({ id: `${i}` })))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* ttl.runNow({ dryRun: true }), [
          { resource: "sessions", ...zero, due: 10, archived: 10 }
        ])
        assert.strictEqual((yield* idsOf(sessions)).length, 10)
        assert.deepStrictEqual(yield* ttl.runNow({ limit: 4 }), [
          { resource: "sessions", ...zero, due: 4, archived: 4 }
        ])
        assert.strictEqual((yield* idsOf(sessions)).length, 6)
        const { sweeps, troubles, lastSweep, ...totals } = yield* ttl.stats
        assert.deepStrictEqual(
          { sweeps, troubles, ...totals },
          { sweeps: 1, troubles: {}, ...zero, due: 4, archived: 4 }
        )
        assert.isTrue(Option.isSome(lastSweep))
      })
    )
  })

  describe("a limit", () => {
    /** Documents of which some fail, or are kept, the earliest due first. */
    const withStubborn = Effect.fnUntraced(function* (stubborn: number, others: number) {
      yield* TestClock.setTime(start)
      let asked = 0
      const onExpire = Ttl.callback(({ document }: Ttl.Expired<typeof Session.Type>) => {
        asked += 1
        if (document.id.startsWith("bad")) return Effect.fail("no")
        return Effect.succeed(document.id.startsWith("stay") ? ("keep" as const) : ("delete" as const))
      })
      const store = yield* memory
      const { sessions, ttl } = yield* byHand(store, { at: "expiresAt", onExpire })
      yield* sessions.insertMany([
        ...Array.from({ length: stubborn }, (_, i) => ({ id: `${i % 2 ? "stay" : "bad"}${i}`, expiresAt: at(i) })),
        ...Array.from({ length: others }, (_, i) => ({ id: `go${i}`, expiresAt: at(minute + i) }))
      ])
      yield* TestClock.adjust("1 hour")
      yield* ttl.runNow({ dryRun: true })
      const sweep = Effect.fnUntraced(function* (limit: number) {
        asked = 0
        const [report] = yield* ttl.runNow({ limit })
        return { ...report!, asked }
      })
      return { sessions, store, sweep, onExpire }
    })

    it.effect("is of documents that go: those that stay are tried after the others", () =>
      Effect.gen(function* () {
        const { sessions, sweep } = yield* withStubborn(4, 5)
        const none = { resource: "sessions", ...zero }
        assert.deepStrictEqual(yield* sweep(2), { ...none, due: 6, deleted: 2, kept: 2, failed: 2, asked: 6 })
        assert.deepStrictEqual(yield* sweep(2), { ...none, due: 2, deleted: 2, asked: 2 })
        assert.deepStrictEqual(yield* sweep(2), { ...none, due: 5, deleted: 1, kept: 2, failed: 2, asked: 5 })
        assert.deepStrictEqual(yield* idsOf(sessions), ["bad0", "bad2", "stay1", "stay3"])
        assert.deepStrictEqual(yield* sweep(2), { ...none, due: 4, kept: 2, failed: 2, asked: 4 })
      })
    )

    it.effect("bounds what is looked at by ten times as much, and goes on behind it the next time", () =>
      Effect.gen(function* () {
        const { sessions, sweep } = yield* withStubborn(25, 3)
        assert.strictEqual((yield* sweep(1)).asked, 10)
        assert.strictEqual((yield* sweep(1)).asked, 10)
        const { asked, deleted } = yield* sweep(1)
        assert.deepStrictEqual({ asked, deleted }, { asked: 6, deleted: 1 })
        assert.strictEqual((yield* sweep(5)).deleted, 2)
        assert.strictEqual((yield* idsOf(sessions)).length, 25)
        // One of those that stay is tried again before another has its second turn.
        assert.strictEqual((yield* sweep(2)).asked, 20)
      })
    )

    it.effect("is of no document that others have removed since it failed", () =>
      Effect.gen(function* () {
        const { sessions, sweep } = yield* withStubborn(2, 1)
        assert.strictEqual((yield* sweep(1)).due, 3)
        yield* sessions.delete("bad0")
        assert.deepStrictEqual(yield* sweep(1), { resource: "sessions", ...zero, due: 1, kept: 1, asked: 1 })
      })
    )
  })

  describe("the journal", () => {
    class Notes extends Resource.Service<Notes>()("effect-s3db/test/plugins/Ttl.test/Notes", {
      schema: Session,
      primaryKey: "id",
      name: "notes",
      journal: { context: true }
    }) {}
    class Copies extends Resource.Service<Copies>()("effect-s3db/test/plugins/Ttl.test/Copies", {
      schema: Session,
      primaryKey: "id",
      name: "copies",
      journal: { context: true }
    }) {}

    it.effect("says which plugin has written, and what the caller of a sweep is about", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const actions: Record<string, Ttl.OnExpire<typeof Session.Type, Copies | Notes>> = {
          hard: Ttl.hardDelete,
          soft: Ttl.softDelete(),
          archive: Ttl.archive(Copies, ({ document }) => ({ id: document.id })),
          asked: Ttl.callback(({ document }: Ttl.Expired<typeof Session.Type>) =>
            Effect.gen(function* () {
              const copies = yield* Copies
              yield* Effect.orDie(copies.insert({ id: document.id }))
              return "delete" as const
            })
          )
        }
        for (const [profile, mode] of ["aws", "rgw"].flatMap((profile) =>
          Object.keys(actions).map((mode) => [profile, mode] as const)
        )) {
          const { store } = yield* MemoryStore.make({ profile: profile as "aws" | "rgw" })
          const { database } = yield* openOn(store)
          const notes = yield* Effect.provideService(Resource.make(Notes.definition), Database, database)
          const copies = yield* Effect.provideService(Resource.make(Copies.definition), Database, database)
          const policies = [Ttl.policy(Notes, { after: "1 minute", onExpire: actions[mode]! })]
          const ttl = yield* Ttl.make({ policies, sweep: false, namespace: "eu" }).pipe(
            Effect.provideService(Database, database),
            Effect.provideService(Notes, notes),
            Effect.provideService(Copies, copies)
          )
          yield* notes.insert({ id: "1" })
          yield* TestClock.adjust("1 minute")
          assert.strictEqual((yield* drive(yield* Effect.forkChild(ttl.runNow())))[0]!.failed, 0)
          yield* notes.insert({ id: "2" })
          yield* TestClock.adjust("1 minute")
          yield* Effect.provideService(ttl.runNow(), WriteContext.WriteContext, { request: "r-1", plugin: "x" })
          yield* drive(yield* Effect.forkChild(database.journal.catchUp(database.journaled, { nobodyWrites: true })))
          const records = (yield* Stream.runCollect(database.journal.read({ from: 0 }))).map(({ value }) => value)
          const told = (resource: string) =>
            records
              .filter((one) => one.resource === resource)
              .map(({ context, id, kind }) => [id, kind, context ?? null])
              .toSorted()
          const swept = mode === "soft" ? "update" : "delete"
          const [first, second] = [{ plugin: "ttl.eu" }, { request: "r-1", plugin: "ttl.eu" }]
          assert.deepStrictEqual(
            told("notes"),
            [
              ["1", swept, first],
              ["1", "insert", null],
              ["2", swept, second],
              ["2", "insert", null]
            ].toSorted(),
            `${profile} ${mode}`
          )
          const copied = mode === "archive" ? [first, second] : [null, { request: "r-1", plugin: "x" }]
          assert.deepStrictEqual(
            told("copies"),
            mode === "archive" || mode === "asked" ? copied.map((context, i) => [`${i + 1}`, "insert", context]) : [],
            `${profile} ${mode}`
          )
        }
      })
    )
  })

  it.effect("is not swept within a transaction, which could take it back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const store = yield* memory
      const { database, sessions, ttl } = yield* byHand(store, { after: "1 minute" })
      yield* ttl.runNow()
      yield* sessions.insert({ id: "1" })
      yield* TestClock.adjust("1 minute")
      for (const dryRun of [false, true]) {
        const keys = yield* keysOf(store)
        const swept = Effect.andThen(ttl.runNow({ dryRun }), Effect.fail("no"))
        const error = yield* Effect.flip(database.transaction(swept))
        assert.isTrue(error instanceof DbError.DbError && error.reason._tag === "Unsupported", String(error))
        assert.match(String(error), /call runNow before the transaction or after it/)
        assert.deepStrictEqual(yield* keysOf(store), keys)
      }
      const { deleted, sweeps } = yield* ttl.stats
      assert.deepStrictEqual({ deleted, sweeps }, { deleted: 0, sweeps: 1 })
      assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
    })
  )

  describe("who is at it", () => {
    it.effect("does not lose what is refreshed at the same time", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        let refresh: Effect.Effect<unknown, unknown> = Effect.void
        /** Something happens between the look at a document and its removal. */
        const slow: Store = {
          ...store,
          delete: (key, options) =>
            Effect.andThen(key.includes("/data/") ? Effect.orDie(refresh) : Effect.void, store.delete(key, options))
        }
        const { ttl } = yield* byHand(slow, { at: "expiresAt" })
        const { sessions } = yield* byHand(store, { at: "expiresAt" })
        yield* sessions.insert({ id: "1", expiresAt: at(0) })
        refresh = Effect.suspend(() => {
          refresh = Effect.void
          return sessions.update("1", { expiresAt: at(day) })
        })
        assert.deepStrictEqual(yield* ttl.runNow(), [{ resource: "sessions", ...zero, due: 1, refreshed: 1 }])
        assert.deepStrictEqual(yield* sessions.get("1"), { id: "1", expiresAt: at(day) })
        assert.strictEqual((yield* ttl.runNow())[0]!.due, 0)
      })
    )

    it.effect("does not lose it on a store without conditions on DELETE either", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { store } = yield* MemoryStore.make({ profile: "rgw" })
        let refresh: Effect.Effect<unknown, unknown> = Effect.void
        const onExpire = Ttl.callback(() => Effect.as(Effect.orDie(refresh), "delete" as const))
        const { sessions, ttl, database } = yield* byHand(store, { at: "expiresAt", onExpire })
        assert.isFalse(database.capabilities.conditionalDelete)
        yield* sessions.insertMany([
          { id: "1", expiresAt: at(0) },
          { id: "2", expiresAt: at(0) }
        ])
        refresh = Effect.suspend(() => {
          refresh = Effect.void
          return sessions.update("1", { expiresAt: at(day) })
        })
        const [report] = yield* ttl.runNow()
        assert.deepStrictEqual(yield* idsOf(sessions), ["1"])
        assert.strictEqual(report!.deleted, 1)
      })
    )

    it.effect("is one of several processes at a time; another goes on when it is gone", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const policies = [Ttl.policy(Sessions, { after: "1 minute" })]
        const first = yield* Scope.make()
        const one = yield* Effect.provideService(processOn(store, { policies }), Scope.Scope, first)
        const other = yield* processOn(store, { policies })
        yield* one.sessions.insertMany(Array.from({ length: 30 }, (_, i) => ({ id: `${i}` })))
        const deleted = Effect.zipWith(one.ttl.stats, other.ttl.stats, (a, b) => a.deleted + b.deleted)
        yield* until(Effect.map(deleted, (sum) => sum === 30))
        assert.deepStrictEqual(yield* idsOf(one.sessions), [])
        assert.strictEqual(Math.min((yield* one.ttl.stats).deleted, (yield* other.ttl.stats).deleted), 0)
        yield* Scope.close(first, Exit.void)
        yield* other.sessions.insert({ id: "late" })
        yield* until(Effect.map(idsOf(other.sessions), ({ length }) => length === 0))
        // They meet at the lease: whoever was second pauses, for as long as the clock says.
      }).pipe(Pauses.byClock)
    )

    it.effect("misses nothing after an outage of 30 days", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const writer = yield* byHand(store, { after: "30 seconds" })
        for (let hour = 0; hour < 24; hour++) {
          yield* writer.sessions.insert({ id: `h${hour}` })
          yield* TestClock.adjust("30 hours")
        }
        const { ttl } = yield* processOn(store, { policies: [Ttl.policy(Sessions, { after: "30 seconds" })] })
        yield* writer.sessions.insert({ id: "fresh", n: 1 })
        yield* until(
          Effect.map(ttl.stats, ({ sweeps }) => sweeps > 0),
          "1 milli"
        )
        assert.deepStrictEqual(yield* idsOf(writer.sessions), ["fresh"])
        assert.strictEqual((yield* ttl.stats).deleted, 24)
      })
    )

    it.effect("sweeps nothing too early where the clock of its machine is an hour ahead", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { withClockSkew } = yield* Effect.promise(() => import("effect-s3db/testing/FaultyStore"))
        const FaultyStore = yield* Effect.promise(() => import("effect-s3db/testing/FaultyStore"))
        const store = yield* memory
        const { store: timed } = FaultyStore.make(store, { seed: 1 })
        const { sessions } = yield* byHand(store, { after: "30 minutes" })
        yield* sessions.insert({ id: "1" })
        yield* withClockSkew(60 * minute)(
          Effect.gen(function* () {
            const { ttl } = yield* byHand(timed, { after: "30 minutes" })
            assert.strictEqual((yield* ttl.runNow())[0]!.due, 0)
            yield* TestClock.adjust("31 minutes")
            assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
          })
        )
      })
    )

    it.effect("leaves the documents of other resources alone, also with names like its own", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl, users } = yield* processOn(yield* memory, {
          policies: [Ttl.policy(Sessions, { after: "1 minute" }), Ttl.policy(Users, { after: "1 day" })],
          sweep: false
        })
        yield* sessions.insert({ id: "1" })
        yield* users.insert({ id: "1" })
        yield* TestClock.adjust("2 days")
        assert.strictEqual((yield* ttl.runNow({ resource: "sessions" }))[0]!.deleted, 1)
        assert.deepStrictEqual(yield* idsOf(users), ["1"])
        assert.strictEqual((yield* ttl.runNow()).length, 2)
        assert.deepStrictEqual(yield* idsOf(users), [])
      })
    )

    it.effect("goes on when the store cannot be reached for a while, and says so", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        let isDown = false
        const { StoreError, Unavailable } = yield* Effect.promise(() => import("effect-s3db/storage/StoreError"))
        const flaky: Store = {
          ...store,
          list: (request) =>
            isDown
              ? Effect.fail(
                  new StoreError({
                    operation: "list",
                    reason: new Unavailable({ description: "no answer", sent: false })
                  })
                )
              : store.list(request)
        }
        const { database, sessions, ttl } = yield* processOn(flaky, {
          policies: [Ttl.policy(Sessions, { after: "1 minute" })]
        })
        const health = Effect.map(Effect.provideService(Plugin.statuses, Database, database), ([one]) => one!.health)
        yield* until(Effect.map(ttl.stats, ({ sweeps }) => sweeps > 0))
        assert.deepStrictEqual(yield* health, { level: "up" })
        isDown = true
        yield* sessions.insert({ id: "1" })
        yield* until(Effect.map(health, ({ level }) => level === "degraded"))
        assert.match((yield* health).detail ?? "", /^sessions: .*no answer/)
        assert.isTrue(Result.isFailure(yield* Effect.result(ttl.runNow())))
        isDown = false
        yield* until(Effect.map(idsOf(sessions), ({ length }) => length === 0))
        yield* until(Effect.map(health, ({ level }) => level === "up"))
      })
    )
  })

  it.effect(
    "asks about a document once in a sweep, also where a write that came to a sudden end has left a key of it",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        let asked = 0
        const onExpire = Ttl.callback(() => Effect.sync(() => ((asked += 1), "keep" as const)))
        const { sessions, ttl } = yield* byHand(store, { at: "expiresAt", onExpire })
        yield* ttl.runNow()
        yield* sessions.insert({ id: "1", expiresAt: at(0) })
        const [key] = yield* keysOf(store, "resource=sessions/companion=")
        yield* store.put({ key: key!.replace(/[^=]+$/, "AAAAAAAAAAAAAAAA"), body: new Uint8Array() })
        assert.deepStrictEqual(yield* ttl.runNow(), [{ resource: "sessions", ...zero, due: 1, kept: 1 }])
        assert.strictEqual(asked, 1)
        assert.strictEqual((yield* ttl.due("sessions")).length, 1)
      })
  )

  describe("readers", () => {
    it.effect("that ask for it never see what has expired, however late the sweeper is", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { sessions, ttl } = yield* byHand(store, { at: "expiresAt", hide: true })
        const { sessions: careless } = yield* byHand(store, { at: "expiresAt" })
        yield* sessions.insertMany(
          Array.from({ length: 6 }, (_, i) => ({ id: `${i}`, n: i, expiresAt: at((i + 1) * minute) }))
        )
        yield* TestClock.adjust(3 * minute)
        const left = ["3", "4", "5"]
        assert.deepStrictEqual(yield* idsOf(sessions), left)
        assert.deepStrictEqual(
          (yield* Stream.runCollect(sessions.scan())).map(({ id }) => id),
          left
        )
        assert.deepStrictEqual(
          (yield* sessions.list({ limit: 2 })).items.map(({ id }) => id),
          ["3", "4"]
        )
        const found = Stream.runCollect(sessions.query({ where: { n: { lt: 4 } }, scan: true, limit: 2 }))
        assert.deepStrictEqual(
          (yield* found).map(({ id }) => id),
          ["3"]
        )
        assert.strictEqual(yield* sessions.count(), 3)
        assert.strictEqual((yield* Effect.flip(sessions.get("0")))._tag, "NotFound")
        assert.strictEqual((yield* sessions.get("3")).n, 3)
        assert.deepStrictEqual((yield* sessions.getMany(["0", "3"])).map(Option.isSome), [false, true])
        assert.deepStrictEqual([yield* sessions.exists("0"), yield* sessions.exists("3")], [false, true])
        assert.strictEqual(yield* careless.count(), 6)
        // It is there yet for who writes: a refresh brings it back.
        yield* sessions.update("0", { expiresAt: at(day) })
        assert.strictEqual((yield* sessions.get("0")).n, 0)
        // An upsert is an update of it: what it does not name stays, the time also.
        yield* sessions.upsert({ id: "1", n: 7 })
        assert.isFalse(yield* sessions.exists("1"))
        yield* sessions.upsert({ id: "2", expiresAt: at(day) })
        assert.strictEqual((yield* sessions.get("2")).n, 2)
        assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
        assert.strictEqual(yield* careless.count(), 5)
      })
    )

    it.effect("do not see what is marked either, until the mark is cleared", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { sessions, ttl } = yield* byHand(yield* memory, {
          at: "expiresAt",
          hide: true,
          onExpire: Ttl.softDelete()
        })
        yield* sessions.insert({ id: "1", n: 1, expiresAt: at(minute) })
        yield* sessions.insert({ id: "2", n: 2, expiresAt: null })
        const seen = Effect.gen(function* () {
          return {
            got: Option.isSome(yield* sessions.getOption("1")),
            exists: yield* sessions.exists("1"),
            page: (yield* sessions.list()).items.map(({ id }) => id),
            ids: yield* idsOf(sessions),
            count: yield* sessions.count()
          }
        })
        const hidden = { got: false, exists: false, page: ["2"], ids: ["2"], count: 1 }
        yield* TestClock.adjust(minute)
        assert.deepStrictEqual(yield* seen, hidden)
        assert.strictEqual((yield* ttl.runNow())[0]!.softDeleted, 1)
        assert.deepStrictEqual(yield* seen, hidden)
        assert.deepStrictEqual((yield* ttl.runNow())[0], { resource: "sessions", ...zero })
        // Another time alone does not clear it.
        yield* sessions.update("1", { expiresAt: at(day) })
        assert.deepStrictEqual(yield* seen, hidden)
        yield* sessions.update("1", { deletedAt: undefined })
        assert.deepStrictEqual(yield* seen, { got: true, exists: true, page: ["1", "2"], ids: ["1", "2"], count: 2 })
        yield* TestClock.adjust(day)
        assert.strictEqual((yield* ttl.runNow())[0]!.softDeleted, 1)
        assert.deepStrictEqual(yield* seen, hidden)
        // An upsert is an update of it, which keeps the mark; a replacement does not.
        yield* sessions.upsert({ id: "1", expiresAt: at(9 * day) })
        assert.deepStrictEqual(yield* seen, hidden)
        yield* sessions.replace({ id: "1", expiresAt: at(9 * day) })
        assert.isTrue((yield* seen).got)
      })
    )

    it.effect("have the companions of the resource, without what is hidden", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const inner = yield* memory
        const { counter, store } = InstrumentedStore.make(inner)
        const { sessions } = yield* byHand(store, { at: "expiresAt", hide: true })
        const byNumber = Companion.make({ fields: ["n"], keys: ({ json }) => [[json["n"] as number]] })
        yield* sessions.addCompanion("numbers", byNumber)
        yield* drive(
          yield* Effect.forkChild(Effect.flatMap(sessions.admin, ({ backfill }) => Stream.runDrain(backfill())))
        )
        for (const n of [1, 2, 3, 4]) yield* sessions.insert({ id: `${n}`, n, expiresAt: at(n * minute) })
        yield* TestClock.adjust(2 * minute)
        yield* sessions.count()
        const before = yield* counter.counts
        const hits = (request: Companion.Request) =>
          Effect.map(Stream.runCollect(sessions.companion("numbers", request)), (all) => all.map(({ id }) => id))
        assert.deepStrictEqual(yield* hits({}), ["3", "4"])
        const after = yield* counter.counts
        assert.deepStrictEqual([after.list - before.list, after.get - before.get], [1, 4])
        assert.deepStrictEqual(yield* hits({ verify: true, limit: 1 }), ["3"])
        const refused = yield* Effect.flip(hits({ verify: false }))
        assert.strictEqual(refused._tag, "NotAllowed")
        assert.strictEqual(
          refused.message,
          'Resource.companion is not allowed on sessions: the interceptor "ttl" of listIds narrows or changes what may be seen; use verify: true, which shows that'
        )
        const unfit = yield* Effect.flip(Stream.runCollect(sessions.scanResults()))
        assert.match(unfit.message, /the interceptor "ttl" of query narrows .*; use query, which shows that$/)
      })
    )

    it.effect("see content of what has not expired only", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { database } = yield* openOn(store)
        class Files extends Resource.Service<Files>()("effect-s3db/test/plugins/Ttl.test/Files", {
          schema: Schema.Struct({ id: Schema.String }),
          primaryKey: "id",
          name: "files",
          content: true,
          history: true
        }) {}
        const files = yield* Effect.provideService(Resource.make(Files.definition), Database, database)
        yield* Ttl.make({ policies: [Ttl.policy(Files, { after: "1 minute", hide: true })], sweep: false }).pipe(
          Effect.provideService(Database, database),
          Effect.provideService(Files, files)
        )
        yield* files.insert({ id: "1" })
        yield* files.setContent("1", new Uint8Array([1]))
        assert.isTrue(Option.isSome(yield* files.getContent("1")))
        yield* TestClock.adjust(minute)
        assert.isTrue(Option.isNone(yield* files.getContent("1")))
        assert.strictEqual((yield* files.getAt("1", { version: 1 })).id, "1")
      })
    )
  })

  it.effect("takes at most 3 requests for each document that expires, and a LIST for each 1,000", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const asked = Ttl.callback(() => Effect.succeed("delete" as const))
      for (const [i, onExpire] of [Ttl.hardDelete, Ttl.softDelete(), asked].entries()) {
        const many = i === 0 ? 1100 : 50
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const { sessions, ttl } = yield* byHand(store, { after: "1 minute", onExpire })
        yield* sessions.insert({ id: "first" })
        yield* TestClock.adjust("1 minute")
        // The clock of the store is measured.
        yield* ttl.runNow()
        yield* sessions.insertMany(Array.from({ length: many }, (_, i) => ({ id: `${i}` })))
        yield* TestClock.adjust("1 minute")
        const before = yield* counter.counts
        yield* ttl.runNow()
        const after = yield* counter.counts
        const sent = Object.values(after).reduce((a, b) => a + b, 0) - Object.values(before).reduce((a, b) => a + b, 0)
        const lists = Math.ceil(many / 1000)
        assert.strictEqual(after.list - before.list, lists)
        assert.strictEqual(sent - lists, 3 * many)
        const idle = yield* counter.counts
        yield* ttl.runNow()
        assert.strictEqual((yield* counter.counts).list - idle.list, 1)
      }
    })
  )

  describe("an idle hour", () => {
    const hourly = Effect.fnUntraced(function* (counter: InstrumentedStore.RequestCounter["Service"], minutes = 60) {
      const before = yield* counter.counts
      for (let passed = 0; passed < minutes; passed++) {
        yield* settled
        yield* TestClock.adjust("1 minute")
      }
      yield* settled
      const after = yield* counter.counts
      const { delete: deletions, get, head, list, put } = after
      return {
        get: get - before.get,
        put: put - before.put,
        list: list - before.list,
        head: head - before.head,
        delete: deletions - before.delete
      }
    })

    it.effect("is 60 LIST for a policy, and 1 PUT, 1 HEAD and 1 DELETE for the store's clock: no lease is kept", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const policies = [Ttl.policy(Sessions, { after: "70 minutes" })]
        const { sessions, ttl } = yield* processOn(store, { policies })
        yield* until(Effect.map(ttl.stats, ({ sweeps }) => sweeps > 0))
        yield* sessions.insert({ id: "1" })
        assert.deepStrictEqual(yield* hourly(counter), { get: 0, put: 1, list: 60, head: 1, delete: 1 })
        // A sweep that finds nothing is one all the same.
        assert.isAtLeast((yield* ttl.stats).sweeps, 60)
        // What is due is swept with the lease, and then it is given up again.
        yield* until(Effect.map(idsOf(sessions), ({ length }) => length === 0))
        yield* until(Effect.map(leaseIn(store), ({ holder }) => holder === undefined))
        assert.deepStrictEqual(yield* hourly(counter, 30), { get: 0, put: 0, list: 30, head: 0, delete: 0 })
      })
    )

    it.effect("is that for each of two processes, and the lease is kept by one while something stays due", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const onExpire = Ttl.callback(() => Effect.succeed("keep" as const))
        const policies = [Ttl.policy(Sessions, { after: "70 minutes", onExpire })]
        const [one, other] = [yield* processOn(store, { policies }), yield* processOn(store, { policies })]
        const least = Effect.zipWith(one.ttl.stats, other.ttl.stats, (a, b) => Math.min(a.sweeps, b.sweeps))
        yield* until(Effect.map(least, (sweeps) => sweeps > 1))
        yield* one.sessions.insert({ id: "1" })
        assert.deepStrictEqual(yield* hourly(counter), { get: 0, put: 2, list: 120, head: 2, delete: 2 })
        const kept = Effect.zipWith(one.ttl.stats, other.ttl.stats, (a, b) => a.kept + b.kept)
        yield* until(Effect.map(kept, (count) => count > 2))
        const { holder } = yield* leaseIn(store)
        const { get, list, put } = yield* hourly(counter)
        assert.strictEqual((yield* leaseIn(store)).holder, holder)
        assert.isDefined(holder)
        // One sweeps, and looks at the document; the other waits for the lease. 2 PUT are for the store's clock.
        assert.strictEqual(list, 60)
        assert.isAtMost(get, 60 + 66)
        assert.isAtMost(put, 66 + 2)
      })
    )

    it.effect("takes the lease with a higher token each time, and leaves it to nobody who had it before", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const policies = [Ttl.policy(Sessions, { after: "1 minute" })]
        const [one, other] = [yield* processOn(store, { policies }), yield* processOn(store, { policies })]
        const tokens: Array<number> = []
        for (const id of ["1", "2", "3"]) {
          yield* one.sessions.insert({ id })
          yield* until(Effect.map(idsOf(one.sessions), ({ length }) => length === 0))
          yield* until(Effect.map(leaseIn(store), ({ holder }) => holder === undefined))
          tokens.push((yield* leaseIn(store)).token)
        }
        assert.deepStrictEqual(
          tokens,
          [...new Set(tokens)].toSorted((a, b) => a - b)
        )
        const [a, b] = [yield* one.ttl.stats, yield* other.ttl.stats]
        assert.strictEqual(a.deleted + b.deleted, 3)
      })
    )
  })

  describe("policies", () => {
    it.effect("are refused with what is wrong, and nothing is written", () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* openOn(store)
        const refused = (policy: unknown) =>
          Effect.map(Effect.flip(byHand(store, policy as Ttl.PolicyOptions<typeof Session.Type>)), (error) =>
            error._tag === "InvalidTtl" ? error.field : error._tag
          )
        const before = (yield* keysOf(store)).filter((key) => key.startsWith("plugin="))
        for (const [policy, field] of [
          [{}, "after"],
          [{ after: "soon" }, "after"],
          [{ after: 0 }, "after"],
          [{ after: -1 }, "after"],
          [{ after: "Infinity" as Duration.Input }, "after"],
          [{ after: "1 day", at: "expiresAt" }, "at"],
          [{ at: "nowhere" }, "at"],
          [{ at: "flag" }, "at"],
          [{ at: "tier" }, "at"],
          [{ at: "price" }, "at"],
          [{ at: "tags" }, "at"],
          [{ after: "1 day", since: "flag" }, "since"],
          [{ at: "$createdAt" }, "at"],
          [{ after: "1 day", since: "$schemaVersion" }, "since"],
          [{ after: "1 day", since: "__proto__" }, "since"],
          [{ after: "1 day", onExpire: { _tag: "Burn" } }, "onExpire"],
          [{ after: "1 day", onExpire: Ttl.softDelete("n.x") }, "onExpire"],
          [{ after: "1 day", onExpire: Ttl.softDelete("nowhere") }, "onExpire"]
        ] as const) {
          assert.strictEqual(yield* refused(policy), field, JSON.stringify(policy))
        }
        const policies = [Ttl.policy(Sessions, { after: "1 day" })]
        for (const options of [
          { policies: [...policies, ...policies] },
          { policies, interval: "1 milli" as const },
          { policies, interval: "2 days" as const },
          { policies, lease: "1 second" as const },
          { policies, concurrency: 0 },
          { policies, concurrency: 1.5 }
        ]) {
          assert.strictEqual((yield* Effect.flip(processOn(store, options)))._tag, "InvalidTtl")
        }
        assert.strictEqual((yield* Effect.flip(processOn(store, { policies, namespace: "a/b" })))._tag, "InvalidPlugin")
        assert.deepStrictEqual(
          (yield* keysOf(store)).filter((key) => key.startsWith("plugin=")),
          before
        )
        const { ttl } = yield* processOn(store, { policies, sweep: false })
        assert.strictEqual((yield* Effect.flip(ttl.runNow({ resource: "users" })))._tag, "NoPolicy")
        assert.strictEqual((yield* Effect.flip(ttl.due("__proto__")))._tag, "NoPolicy")
        assert.strictEqual((yield* Effect.flip(ttl.runNow({ limit: 0 })))._tag, "InvalidTtl")
        assert.strictEqual((yield* Effect.flip(ttl.due("sessions", { limit: 1.5 })))._tag, "InvalidTtl")
        const error = yield* Effect.flip(byHand(store, { at: "nowhere" }))
        assert.strictEqual(error.message, 'the policy of "sessions", at: Expected a field with a time, not "nowhere"')
        assert.instanceOf(DbError.invalidField("x", [], "y"), DbError.InvalidInput)
      })
    )

    it("need the services of their resources, and of what is done, to TypeScript", () => {
      const policies = [
        Ttl.policy(Sessions, { at: "expiresAt", onExpire: Ttl.archive(Users, ({ document }) => ({ id: document.id })) })
      ]
      const layer: Layer.Layer<Ttl.Ttl, Ttl.LayerError, Database | Sessions | Users> = Ttl.layer({ policies })
      const needed: Sessions | Users extends Ttl.Services<(typeof policies)[number]> ? true : false = true
      assert.isTrue(Layer.isLayer(layer) && needed)
    })

    it.effect("can be known to programs that only write", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const { ttl } = yield* byHand(store, { at: "expiresAt" })
        const { companion, name } = Ttl.companionOf({ at: "expiresAt" })
        const { open } = yield* openOn(store)
        const writer = yield* open("sessions", { schema: Session, primaryKey: "id", companions: { [name]: companion } })
        yield* writer.insert({ id: "1", expiresAt: at(0) })
        assert.strictEqual((yield* ttl.runNow())[0]!.deleted, 1)
      })
    )
  })
})
