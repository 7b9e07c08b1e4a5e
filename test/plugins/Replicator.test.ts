import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Replicator from "effect-s3db/plugins/Replicator"
import * as ReplicaTarget from "effect-s3db/plugins/ReplicaTarget"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { crashing, memory, moments, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"
import { driven } from "./nearby.ts"
import * as replicas from "./replicas.ts"
import {
  assertSame,
  diesInSnapshot,
  memoryTarget,
  open,
  Plain,
  refused,
  Silent,
  sourceOf,
  Things,
  unavailable
} from "./replicas.ts"

const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
const hostile = ["a/b", "é", "…", "'; DROP TABLE things; --", "constructor", "x".repeat(300), "\u{1F600}", " ", "%2F"]

const passing = (count: number) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.andThen(settled, TestClock.adjust("1 second")), {
    discard: true
  })

describe("Replicator", () => {
  it.effect("has what was there before, and whatever is written, of every kind of write", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* openOn(store)
      const old = yield* Effect.provideService(Resource.make(Things.definition), Database, before.database)
      yield* old.insertMany(hostile.map((id, n) => ({ id, n, at: { city: id } })))
      yield* old.delete("é")
      const { documents, target } = memoryTarget()
      const { database, replicator, settle, things } = yield* open(store, target)
      yield* settle
      assertSame(documents("things"), yield* sourceOf(things))
      yield* things.update("a/b", { n: 100 })
      yield* things.delete("constructor")
      yield* things.insert({ id: "é", n: -1 })
      yield* database.transaction(Effect.andThen(things.delete(" "), things.insert({ id: "both", n: 3 })))
      yield* things.deleteMany(["%2F", "nobody"])
      yield* settle
      assertSame(documents("things"), yield* sourceOf(things))
      const status = yield* replicator.status
      assert.deepStrictEqual(
        status.resources.map(({ lag, source }) => ({ lag, source })),
        [{ lag: 0, source: "journal" }]
      )
      const [health] = yield* Plugin.statuses.pipe(Effect.provideService(Database, database))
      assert.deepStrictEqual(health?.health?.level, "up")
    }).pipe(Effect.scoped)
  )

  it.effect("follows a journal without images, and a resource without a journal by its listings", () =>
    Effect.gen(function* () {
      // A clock may tell parts of a millisecond.
      yield* TestClock.adjust(0.5)
      const store = yield* memory
      const { documents, target } = memoryTarget()
      const { plain, silent, settle, journaled, replicator } = yield* open(store, target, {
        resources: [Replicator.resource(Plain), Replicator.resource(Silent)]
      })
      for (const repository of [plain, silent]) {
        yield* repository.insertMany(hostile.map((id, n) => ({ id, n })))
        yield* repository.update("é", { n: 50 })
        yield* repository.delete("a/b")
      }
      yield* journaled
      yield* passing(5)
      yield* settle
      assertSame(documents("plain"), yield* sourceOf(plain))
      assertSame(documents("silent"), yield* sourceOf(silent))
      yield* silent.delete("é")
      yield* silent.insert({ id: "new", n: 1 })
      yield* passing(5)
      yield* driven(replicator.caughtUp)
      assertSame(documents("silent"), yield* sourceOf(silent))
    }).pipe(Effect.scoped)
  )

  it.effect("goes on from the snapshot without a gap, whatever is written while that is made", () =>
    Effect.gen(function* () {
      for (const keeps of ["state", "changes"] as const) {
        const store = yield* memory
        const before = yield* openOn(store)
        const old = yield* Effect.provideService(Resource.make(Things.definition), Database, before.database)
        yield* old.insertMany(Array.from({ length: 12 }, (_, n) => ({ id: `${n}`, n })))
        yield* before.database.journal.catchUp(before.database.journaled)
        const { batches, documents, target } = memoryTarget(keeps)
        let wrote = 0
        const slow: ReplicaTarget.Target = {
          ...target,
          apply: (batch) =>
            Effect.gen(function* () {
              // While the snapshot is under way, what it has had and what it has not are written.
              if (batch.isRepair && wrote < 3) {
                wrote += 1
                yield* Effect.orDie(old.update(`${wrote}`, { n: 1000 + wrote }))
                yield* Effect.orDie(old.update(`${11 - wrote}`, { n: 2000 + wrote }))
                yield* Effect.orDie(old.delete(`${wrote + 4}`))
                yield* Effect.orDie(before.database.journal.catchUp(before.database.journaled, { lease: "1 second" }))
              }
              return yield* target.apply(batch)
            })
        }
        const { settle, things } = yield* open(store, slow, { batchSize: 2 })
        yield* settle
        assert.isAbove(batches.length, 3)
        assertSame(documents("things"), yield* sourceOf(things))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("goes on in the midst of a snapshot whose process has died, and from where that began", () =>
    Effect.gen(function* () {
      let resumed = 0
      for (const at of [27, 28]) {
        const { first, second } = yield* diesInSnapshot(at, "after")
        // What was sent is not sent again, but for one batch whose place was not noted down.
        if (first.length > 2 && second.length > 0) resumed += 1
        assert.isAtMost(first.filter((id) => second.includes(id)).length, 2, `${first.join()} ${second.join()}`)
      }
      assert.isAbove(resumed, 0)
    })
  )

  it.effect("gives a target of changes each version, in the order of the document, with what was before", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { batches, target } = memoryTarget("changes")
      const { settle, things } = yield* open(store, target)
      yield* settle
      yield* things.insert({ id: "a", n: 1 })
      yield* things.update("a", { n: 2 })
      yield* things.delete("a")
      yield* things.insert({ id: "a", n: 3 })
      yield* settle
      const changes = batches.flatMap((batch) => batch.changes)
      assert.deepStrictEqual(
        changes.map(({ before, document, operation }) => [operation, before?.["n"], document?.["n"]]),
        [
          ["insert", undefined, 1],
          ["update", 1, 2],
          ["delete", 2, undefined],
          ["insert", undefined, 3]
        ]
      )
      const versions = changes.map(({ version }) => version)
      assert.deepStrictEqual(
        versions,
        versions.toSorted((a, b) => a - b)
      )
      assert.strictEqual(new Set(versions).size, 4)
    }).pipe(Effect.scoped)
  )

  it.effect("sends what is wanted, in the form that is wanted; what is not wanted any more is removed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { batches, documents, target } = memoryTarget()
      const Public = Schema.Struct({ id: Schema.String, label: Schema.String })
      const { settle, things } = yield* open(store, target, {
        resources: [
          Replicator.resource(Things, {
            as: "labels",
            filter: ({ n }) => n > 0,
            // The id stays that of the document.
            map: { schema: Public, document: ({ n, text }) => ({ id: "other", label: `${text} ${n}` }) }
          })
        ]
      })
      yield* things.insertMany([
        { id: "a", n: 1, text: "one" },
        { id: "b", n: 0, text: "none" }
      ])
      yield* settle
      assert.deepStrictEqual(documents("labels"), { a: { id: "a", label: "one 1" } })
      yield* things.update("a", { n: 0 })
      yield* things.update("b", { n: 2 })
      yield* settle
      assert.deepStrictEqual(documents("labels"), { b: { id: "b", label: "none 2" } })
      assert.deepStrictEqual(
        batches.at(-1)?.shape.columns.map(({ name }) => name),
        ["label"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("leaves secrets out, unless they are asked for", () =>
    Effect.gen(function* () {
      class Accounts extends Resource.Service<Accounts>()("effect-s3db/test/plugins/Replicator.test/Accounts", {
        name: "accounts",
        schema: Schema.Struct({
          id: Schema.String,
          token: Attribute.Secret(Schema.String),
          inner: Schema.Struct({ pin: Attribute.Secret(Schema.String), shown: Schema.String })
        }),
        primaryKey: "id",
        journal: { images: "after" }
      }) {}
      const store = yield* memory
      const { database } = yield* openOn(store)
      const accounts = yield* Effect.provideService(Resource.make(Accounts.definition), Database, database)
      const make = (name: string, options: Parameters<typeof Replicator.resource<typeof Accounts>>[1]) =>
        Effect.gen(function* () {
          const { batches, documents, target } = memoryTarget()
          const replicator = yield* Replicator.make({
            name,
            target: Effect.succeed(target),
            resources: [Replicator.resource(Accounts, options)]
          }).pipe(Effect.provideService(Database, database), Effect.provideService(Accounts, accounts))
          return { batches, documents, replicator }
        })
      const none = yield* make("none", {})
      const some = yield* make("some", { secrets: ["inner.pin"] })
      yield* accounts.insert({
        id: "a",
        token: Redacted.make("hidden"),
        inner: { pin: Redacted.make("1234"), shown: "s" }
      })
      yield* driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
      yield* driven(none.replicator.caughtUp)
      yield* driven(some.replicator.caughtUp)
      assert.deepStrictEqual(none.documents("accounts"), { a: { id: "a", inner: { shown: "s" } } })
      assert.deepStrictEqual(some.documents("accounts"), { a: { id: "a", inner: { pin: "1234", shown: "s" } } })
      assert.notInclude(JSON.stringify(none.batches.map(({ changes }) => changes)), "hidden")
      const names = (of: typeof none) => of.batches[0]!.shape.columns.map(({ name }) => name)
      assert.deepStrictEqual(names(none), ["inner_shown"])
      assert.deepStrictEqual(names(some), ["inner_pin", "inner_shown"])
      const error = yield* Effect.flip(make("wrong", { secrets: ["inner.shown"] }))
      assert.include(error.message, "secrets")
    }).pipe(Effect.provide(ring), Effect.scoped)
  )

  it.effect("waits for a target that is down, leaves it alone for a while, and goes on; nothing is given up", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, says, target } = memoryTarget()
      let asked = 0
      let isDown = true
      says.before = () => {
        asked += 1
        return isDown ? unavailable() : undefined
      }
      const { database, replicator, settle, things, journaled } = yield* open(store, target, { failures: 3 })
      const told: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(replicator.events, (event) => Effect.sync(() => void told.push(event._tag)))
      )
      yield* settled
      yield* things.insertMany(hostile.map((id, n) => ({ id, n })))
      yield* journaled
      yield* passing(60)
      const [health] = yield* Plugin.statuses.pipe(Effect.provideService(Database, database))
      assert.deepStrictEqual(health?.health, { level: "degraded", detail: "the target memory: down" })
      assert.strictEqual((yield* replicator.status).circuit, "open")
      // Of 60 seconds: three quick ones, and one a second at the most from then on.
      assert.isAtLeast(asked, 20)
      assert.isAtMost(asked, 70)
      assert.deepStrictEqual(yield* Stream.runCollect(replicator.deadLetters), [])
      isDown = false
      yield* settle
      assertSame(documents("things"), yield* sourceOf(things))
      assert.strictEqual((yield* replicator.status).circuit, "closed")
      assert.include(told, "CircuitOpened")
      assert.include(told, "CircuitClosed")
    }).pipe(Effect.scoped)
  )

  it.effect("says at once that a target does not let it in, leaves it alone, and goes on when it does", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, says, target } = memoryTarget()
      let isLocked = true
      const denied = new ReplicaTarget.TargetError({ target: "memory", problem: "Credentials", description: "locked" })
      says.before = () => (isLocked ? denied : undefined)
      const { replicator, settle, things, journaled } = yield* open(store, target, { failures: 30 })
      yield* settled
      yield* things.insert({ id: "a", n: 1 })
      yield* journaled
      yield* passing(2)
      assert.strictEqual((yield* replicator.status).circuit, "open")
      assert.deepStrictEqual(yield* Stream.runCollect(replicator.deadLetters), [])
      isLocked = false
      yield* settle
      assertSame(documents("things"), yield* sourceOf(things))
    }).pipe(Effect.scoped)
  )

  it.effect("takes a target at its word when it says how long to stay away", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { says, target } = memoryTarget()
      let asked = 0
      says.before = () => {
        asked += 1
        return asked === 1 ? Object.assign(unavailable(), {}) && retryAfter(30_000) : undefined
      }
      const { journaled, settle, things } = yield* open(store, target, { snapshot: false })
      yield* settle
      yield* things.insert({ id: "a", n: 1 })
      yield* journaled
      yield* passing(20)
      assert.strictEqual(asked, 1)
      yield* passing(20)
      assert.strictEqual(asked, 2)
    }).pipe(Effect.scoped)
  )

  it.effect("puts aside what the target refuses, keeps its neighbours, and tries it again by replay", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, says, target } = memoryTarget()
      let isStrict = true
      says.before = ({ changes }) => (isStrict && changes.some(({ id }) => id === "bad") ? refused("bad") : undefined)
      const { replicator, settle, things } = yield* open(store, target)
      yield* settle
      yield* things.insertMany([
        { id: "good", n: 1 },
        { id: "bad", n: 2 },
        { id: "fine", n: 3 }
      ])
      yield* settle
      assert.deepStrictEqual(Object.keys(documents("things")), ["fine", "good"])
      const letters = yield* Stream.runCollect(replicator.deadLetters)
      assert.deepStrictEqual(
        letters.map(({ attempts, error, resource, value }) => ({ attempts, error, resource, id: value.id })),
        [{ attempts: 3, error: "TargetError", resource: "things", id: "bad" }]
      )
      assert.deepStrictEqual(yield* driven(replicator.replay()), { handled: 0, failed: 1 })
      isStrict = false
      assert.deepStrictEqual(yield* driven(replicator.replay({ select: ({ value }) => value.id === "other" })), {
        handled: 0,
        failed: 0
      })
      assert.deepStrictEqual(yield* driven(replicator.replay()), { handled: 1, failed: 0 })
      assertSame(documents("things"), yield* sourceOf(things))
      assert.deepStrictEqual(yield* Stream.runCollect(replicator.deadLetters), [])
    }).pipe(Effect.scoped)
  )

  it.effect("a letter that is replayed later does not undo what came after it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, says, target } = memoryTarget()
      says.before = ({ changes }) => (changes.some(({ document }) => document?.["n"] === 2) ? refused("2") : undefined)
      const { replicator, settle, things } = yield* open(store, target)
      yield* settle
      yield* things.insert({ id: "a", n: 2 })
      yield* settle
      yield* things.update("a", { n: 3 })
      yield* settle
      says.before = () => undefined
      assert.deepStrictEqual(yield* driven(replicator.replay()), { handled: 1, failed: 0 })
      assert.deepStrictEqual(documents("things"), { a: { id: "a", n: 3 } })
    }).pipe(Effect.scoped)
  )

  it.effect(
    "what a first snapshot cannot send is a dead letter, too: it is tried again, discarded, or gone with the next sync",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const before = yield* openOn(store)
        const old = yield* Effect.provideService(Resource.make(Things.definition), Database, before.database)
        const bad = ["bad", hostile[5]!, "a/b"]
        yield* old.insertMany([...bad, "good", "torn"].map((id, n) => ({ id, n })))
        yield* driven(before.database.journal.catchUp(before.database.journaled, { lease: "1 second" }))
        const key = "resource=things/data/id=torn"
        const { body, metadata } = yield* store.get(key)
        yield* store.put({ key, body: new TextEncoder().encode("{"), metadata })
        const { documents, says, target } = memoryTarget()
        let strict = bad
        says.before = ({ changes }) => (changes.some(({ id }) => strict.includes(id)) ? refused("bad") : undefined)
        const { replicator, settle, things } = yield* open(store, target, { batchSize: 2 })
        yield* settle
        assert.deepStrictEqual(Object.keys(documents("things")), ["good"])
        const letters = Stream.runCollect(replicator.deadLetters)
        const ids = Effect.map(letters, (all) => all.map(({ value }) => value.id).sort())
        assert.deepStrictEqual(yield* ids, [...bad, "torn"].sort())
        for (const { attempts, error, message, resource, value } of yield* letters) {
          assert.strictEqual(resource, "things")
          assert.strictEqual(attempts, 1)
          assert.strictEqual(error, value.id === "torn" ? "Corrupt" : "TargetError")
          assert.isTrue(message.length > 0)
        }
        // Another replica of the resource has none of them.
        const other = memoryTarget()
        const beside = yield* open(store, other.target, { name: "beside" })
        yield* beside.settle
        assert.deepStrictEqual(
          (yield* Stream.runCollect(beside.replicator.deadLetters)).map(({ value }) => value.id),
          ["torn"]
        )
        assert.deepStrictEqual(yield* driven(replicator.replay()), { handled: 0, failed: 4 })
        strict = ["a/b"]
        // What was written meanwhile stays.
        yield* things.update("bad", { n: 100 })
        yield* settle
        assert.deepStrictEqual(yield* driven(replicator.replay({ select: ({ value }) => value.id !== "torn" })), {
          handled: 2,
          failed: 1
        })
        assert.deepStrictEqual([documents("things")["bad"]?.["n"], documents("things")[hostile[5]!]?.["n"]], [100, 1])
        assert.deepStrictEqual(yield* ids, ["a/b", "torn"])
        yield* replicator.discard((yield* letters).filter(({ value }) => value.id === "a/b"))
        assert.deepStrictEqual(yield* ids, ["torn"])
        yield* store.put({ key, body, metadata })
        const [synced] = yield* driven(replicator.sync())
        assert.deepStrictEqual([synced?.refused, synced?.unreadable], [1, 0])
        assert.deepStrictEqual(yield* ids, ["a/b"])
        strict = []
        yield* driven(replicator.sync())
        assert.deepStrictEqual(yield* ids, [])
        assertSame(documents("things"), yield* sourceOf(things))
      }).pipe(Effect.scoped)
  )

  it.effect("repairs what somebody else has changed at the target, and removes what is not here", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, tables, target } = memoryTarget()
      const { replicator, settle, things } = yield* open(store, target)
      yield* things.insertMany(hostile.map((id, n) => ({ id, n })))
      yield* settle
      for (const round of [1, 2]) {
        const table = tables.get("things")!
        const known = table.get("é")!
        table.set("é", { ...known, document: { id: "é", n: -round } })
        table.set("stranger", { ...known, id: "stranger", version: 0 })
        table.delete("a/b")
        const [synced] = yield* driven(replicator.sync("things"))
        assert.deepStrictEqual(synced, {
          resource: "things",
          documents: hostile.length,
          removed: 1,
          unreadable: 0,
          refused: 0
        })
        assertSame(documents("things"), yield* sourceOf(things))
      }
      assert.include((yield* Effect.flip(replicator.sync("nothing"))).message, "things")
    }).pipe(Effect.scoped)
  )

  it.effect("removes nothing for a document that cannot be read", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, target } = memoryTarget()
      const { replicator, settle, things } = yield* open(store, target)
      yield* things.insertMany([
        { id: "a", n: 1 },
        { id: "b", n: 2 }
      ])
      yield* settle
      const key = "resource=things/data/id=a"
      const { metadata } = yield* store.get(key)
      yield* store.put({ key, body: new TextEncoder().encode("{"), metadata })
      const [synced] = yield* driven(replicator.sync())
      assert.deepStrictEqual(synced, {
        resource: "things",
        documents: 1,
        removed: undefined,
        unreadable: 1,
        refused: 0
      })
      assert.deepStrictEqual(Object.keys(documents("things")), ["a", "b"])
    }).pipe(Effect.scoped)
  )

  it.effect("ends as the source where the target answers an error after it has done what it was asked", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, says, target } = memoryTarget()
      let round = 0
      says.after = () => (round++ % 3 === 2 ? undefined : unavailable("the answer was lost"))
      const { settle, things } = yield* open(store, target, { batchSize: 3 })
      for (let i = 0; i < 4; i++) {
        yield* things.upsertMany(hostile.map((id, n) => ({ id, n: n + i })))
        yield* things.delete(hostile[i]!)
        yield* settle
      }
      assertSame(documents("things"), yield* sourceOf(things))
    }).pipe(Effect.scoped)
  )

  it.effect("loses nothing whenever its process crashes", () =>
    Effect.gen(function* () {
      for (const when of moments) {
        for (let at = 2; ; at += 12) {
          const store = yield* memory
          const { documents, target } = memoryTarget()
          const scope = yield* Scope.make()
          const crash = crashing(store, at, when)
          const before = yield* openOn(store)
          const things = yield* Effect.provideService(Resource.make(Things.definition), Database, before.database)
          yield* things.insertMany([
            { id: "a", n: 1 },
            { id: "b", n: 1 }
          ])
          yield* before.database.journal.catchUp(before.database.journaled)
          const first = yield* Effect.exit(
            Effect.gen(function* () {
              const { replicator } = yield* open(crash.store, target)
              yield* passing(2)
              yield* things.update("a", { n: 2 })
              yield* things.delete("b")
              yield* before.database.journal.catchUp(before.database.journaled, { lease: "1 second" })
              yield* passing(3)
              return replicator
            }).pipe(Scope.provide(scope))
          )
          const requests = crash.requests()
          yield* Scope.close(scope, Exit.void)
          const { settle } = yield* open(store, target)
          yield* passing(2)
          yield* settle
          assertSame(documents("things"), yield* sourceOf(things))
          if (Exit.isSuccess(first) && requests < at) break
          if (at > 60) break
        }
      }
    }).pipe(Effect.scoped)
  )

  it.effect("two on one target end as the source, though one is late with what is old", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, target, tables } = memoryTarget()
      // What is given to the first comes to the target much later than what is given to the second.
      const late: Array<ReplicaTarget.Batch> = []
      const slow: ReplicaTarget.Target = { ...target, apply: (batch) => Effect.sync(() => void late.push(batch)) }
      const one = yield* open(store, slow)
      const two = yield* open(store, target, { name: "other" })
      yield* two.things.insertMany(hostile.map((id, n) => ({ id, n })))
      yield* one.settle
      yield* two.settle
      yield* two.things.update("é", { n: 77 })
      yield* two.things.delete("a/b")
      yield* two.settle
      const random = yield* Random.shuffle(late)
      for (const batch of random) yield* target.apply(batch)
      assertSame(documents("things"), yield* sourceOf(two.things))
      assert.isUndefined(tables.get("things")!.get("a/b")!.document)
    }).pipe(Effect.scoped)
  )

  it.effect("waits until somebody runs the plan, where that is wanted", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, target } = memoryTarget()
      let isDone = false
      const step = { name: "things", description: "create the table things", statement: "CREATE" }
      const planned: ReplicaTarget.Target = {
        ...target,
        plan: () => Effect.succeed(isDone ? { steps: [], problems: [] } : { steps: [step], problems: [] }),
        run: ({ steps }) => Effect.sync(() => void (isDone = steps.length === 1))
      }
      const { database, journaled, replicator, settle, things } = yield* open(store, planned, { schema: "wait" })
      yield* things.insert({ id: "a", n: 1 })
      yield* journaled
      yield* passing(10)
      assert.deepStrictEqual(documents("things"), {})
      const [health] = yield* Plugin.statuses.pipe(Effect.provideService(Database, database))
      assert.include(String(health?.health?.detail), "create the table things")
      yield* replicator.apply(yield* replicator.plan)
      yield* settle
      assertSame(documents("things"), yield* sourceOf(things))
    }).pipe(Effect.scoped)
  )

  it.effect("follows the journal from then on where a resource gets one", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { documents, tables, target } = memoryTarget()
      const scope = yield* Scope.make()
      const first = yield* open(store, target, { resources: [Replicator.resource(Silent)] }).pipe(Scope.provide(scope))
      yield* first.silent.insertMany(hostile.map((id, n) => ({ id, n })))
      yield* passing(5)
      yield* driven(first.replicator.caughtUp)
      assertSame(documents("silent"), yield* sourceOf(first.silent))
      const before = tables.get("silent")!.get("é")!.version
      yield* Scope.close(scope, Exit.void)
      class Loud extends Resource.Service<Loud>()("effect-s3db/test/plugins/Replicator.test/Loud", {
        name: "silent",
        schema: Silent.definition.schema,
        primaryKey: "id",
        journal: { images: "after" }
      }) {}
      const { database } = yield* openOn(store)
      const loud = yield* Effect.provideService(Resource.make(Loud.definition), Database, database)
      const replicator = yield* Replicator.make({
        name: "copy",
        lease: "1 second",
        firstPause: "100 millis",
        target: Effect.succeed(target),
        resources: [Replicator.resource(Loud)]
      }).pipe(Effect.provideService(Database, database), Effect.provideService(Loud, loud))
      yield* loud.delete("a/b")
      yield* loud.update("é", { n: 9 })
      yield* driven(database.journal.catchUp(database.journaled, { lease: "1 second" }))
      yield* driven(replicator.caughtUp)
      assertSame(documents("silent"), yield* sourceOf(loud))
      assert.isAbove(tables.get("silent")!.get("é")!.version, before)
      assert.strictEqual((yield* replicator.status).resources[0]?.source, "journal")
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a declaration that cannot be, by the field", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { target } = memoryTarget()
      const problem = (options: replicas.Options) =>
        Effect.map(Effect.flip(open(store, target, options)), ({ message }) => message)
      const thing = Replicator.resource(Things)
      assert.include(yield* problem({ name: "a b" }), "name")
      assert.include(yield* problem({ resources: [] }), "one resource")
      assert.include(yield* problem({ resources: [thing, thing] }), "things")
      assert.include(
        yield* problem({ resources: [thing, Replicator.resource(Plain, { as: "things" })] }),
        "another name"
      )
      assert.include(yield* problem({ batchSize: 0 }), "batchSize")
      assert.include(yield* problem({ pause: "-1 second" as never }), "pause")
      assert.include(yield* problem({ resources: [Replicator.resource(Things, { columns: { x: "y" } })] }), "columns")
      assert.include(
        yield* problem({ resources: [Replicator.resource(Things, { columns: { text: "AT_city" } })] }),
        "at.city"
      )
    }).pipe(Effect.scoped)
  )
})

const retryAfter = (retryAfterMillis: number): ReplicaTarget.TargetError => {
  const { description, problem, target } = unavailable()
  return new (unavailable().constructor as typeof ReplicaTarget.TargetError)({
    target,
    problem,
    description,
    retryAfterMillis
  })
}
