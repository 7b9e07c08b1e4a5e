/** The writer's side of the journal: every version that is committed has its entry, whoever writes it and however. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Definition from "effect-s3db/Definition"
import * as Document from "effect-s3db/Document"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { fullCapabilities, ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import * as WriteContext from "effect-s3db/WriteContext"
import { crashing, drive, keysOf, memory, openNew, openOn } from "./fixture.ts"
import { chainOf } from "./journalChains.ts"
import { journalCrashes, kindsOf, Note, type Notes, options, plain, rich } from "./journalCrashes.ts"

type Store = ObjectStore["Service"]

const remote = Effect.map(memory, (store): Store => ({ ...store, capabilities: fullCapabilities }))
const gateway = Effect.map(MemoryStore.make({ profile: "rgw" }), ({ store }) => store)

describe("every write leaves its entry", () => {
  it.effect(
    "also of programs, older and newer ones, that do not declare the journal, until one says that it ends",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const fields = { id: Schema.String, text: Schema.String }
        const program = (more: Schema.Struct.Fields, journal?: boolean) =>
          Effect.flatMap(openOn(store), ({ open }) =>
            open("notes", {
              schema: Schema.Struct({ ...fields, ...more }),
              primaryKey: "id",
              ...(journal === undefined ? {} : { journal })
            })
          )
        yield* program({})
        const journaling = yield* program({ by: Schema.optionalKey(Schema.String) }, true)
        const newer = yield* program({ to: Schema.optionalKey(Schema.String) })
        const older = yield* program({})
        for (const [i, notes] of [older, journaling, newer].entries()) yield* notes.insert({ id: `${i}`, text: "a" })
        const { database } = yield* openOn(store)
        const entries = Effect.map(Stream.runCollect(database.journal.pending), (all) =>
          all.map(({ document }) => document?.id).toSorted()
        )
        assert.deepStrictEqual(yield* entries, ["0", "1", "2"])

        const ending = yield* program({ last: Schema.optionalKey(Schema.String) }, false)
        const after = [yield* program({}), yield* program({ to: Schema.optionalKey(Schema.String) }), ending]
        for (const [i, notes] of after.entries()) yield* notes.insert({ id: `9${i}`, text: "a" })
        assert.deepStrictEqual(yield* entries, ["0", "1", "2"])
        const later = yield* program({ later: Schema.optionalKey(Schema.String) })
        yield* later.insert({ id: "99", text: "a" })
        assert.deepStrictEqual(yield* entries, ["0", "1", "2"])
      })
  )

  it.effect("by whatever way a document is written", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const notes = yield* open("notes", rich)
      const kinds = () => kindsOf(database, "1")
      yield* notes.insert({ id: "1", text: "a" })
      assert.deepStrictEqual(yield* kinds(), ["insert"])
      const expected = ["insert"]
      const writes: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
        ["update", notes.update("1", { text: "b" })],
        ["update", notes.patch("1", { mail: "m@x" })],
        ["update", notes.replace({ id: "1", text: "c", mail: "m@x" })],
        ["update", notes.upsert({ id: "1", text: "d" })],
        ["update", Effect.flatMap(notes.getDocument("1"), (held) => notes.update(held, { text: "e" }))],
        ["update", Stream.runDrain(notes.updateMany({ scan: true }, { text: "f" }))],
        ["update", notes.setContent("1", new Uint8Array([1]))],
        ["update", notes.deleteContent("1")],
        ["update", notes.restore("1", { time: DateTime.makeUnsafe(2500) })],
        [
          "update",
          database.transaction(Effect.andThen(notes.update("1", { text: "g" }), notes.update("1", { text: "h" })))
        ],
        [
          "update",
          database.transaction(Effect.andThen(notes.update("1", { text: "i" }), notes.upsert({ id: "2", text: "" })))
        ],
        ["delete", notes.delete("1")],
        ["insert", notes.insert({ id: "1", text: "j" })],
        ["delete", notes.deleteMany(["1"])],
        ["insert", notes.replace({ id: "1", text: "k" })],
        ["delete", database.transaction(notes.delete("1"))],
        ["insert", database.transaction(notes.insert({ id: "1", text: "l" }))],
        ["delete", database.transaction(Effect.andThen(notes.delete("1"), notes.update("2", { text: "m" })))],
        [
          "insert",
          database.transaction(Effect.andThen(notes.insert({ id: "1", text: "n" }), notes.update("2", { text: "o" })))
        ],
        ["delete", Effect.flatMap(notes.getDocument("1"), (held) => notes.delete(held))],
        ["insert", notes.upsert({ id: "1", text: "p" })]
      ]
      for (const [kind, write] of writes) {
        yield* TestClock.adjust("1 second")
        yield* write
        expected.push(kind)
        assert.deepStrictEqual(yield* kinds(), expected)
      }
      assert.strictEqual((yield* chainOf(database, "notes", "1")).others, 0)
      // What has changed nothing has no entry.
      yield* Effect.ignore(notes.insert({ id: "1", text: "q" }))
      yield* Effect.ignore(notes.delete("nobody"))
      assert.deepStrictEqual(yield* kinds(), expected)
    })
  )

  it.effect("one more PUT, beside the others", () =>
    Effect.gen(function* () {
      const made = function* (options: Resource.Options<typeof Note>) {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        const notes: Notes = yield* (yield* openOn(store)).open("notes", options)
        const requestsOf = (effect: Effect.Effect<unknown, unknown>) =>
          Effect.gen(function* () {
            const before = (yield* counter.counts) as Record<string, number>
            yield* effect
            const after = Object.entries((yield* counter.counts) as Record<string, number>)
            return Object.fromEntries(
              after.map(([name, n]): [string, number] => [name, n - (before[name] ?? 0)]).filter(([, n]) => n !== 0)
            )
          })
        return {
          insert: yield* requestsOf(notes.insert({ id: "1", text: "a" })),
          update: yield* requestsOf(notes.update("1", { text: "b" })),
          held: yield* requestsOf(Effect.flatMap(notes.getDocument("1"), (held) => notes.update(held, { text: "c" }))),
          replace: yield* requestsOf(notes.replace({ id: "1", text: "d" })),
          delete: yield* requestsOf(notes.delete("1"))
        }
      }
      assert.deepStrictEqual(yield* Effect.gen(() => made(plain)), {
        insert: { put: 1 },
        update: { get: 1, put: 1 },
        held: { get: 1, put: 1 },
        replace: { put: 1 },
        delete: { delete: 1 }
      })
      assert.deepStrictEqual(yield* Effect.gen(() => made(options)), {
        insert: { put: 2 },
        update: { get: 1, put: 2 },
        held: { get: 1, put: 2 },
        replace: { get: 1, put: 2 },
        delete: { get: 1, put: 2 }
      })
      assert.deepStrictEqual((yield* Effect.gen(() => made({ ...options, partitions: { byText: ["text"] } }))).update, {
        get: 1,
        put: 3,
        deleteMany: 1
      })
    })
  )

  it.effect("images, and on whose behalf it was done, where they are asked for", () =>
    Effect.gen(function* () {
      const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
      const Secret = Schema.Struct({ id: Schema.String, text: Schema.String, token: Attribute.SecretText })
      const { database, open, store } = yield* openNew
      const notes = yield* Effect.provide(
        open("notes", { schema: Secret, primaryKey: "id", journal: { images: "both", context: true } }),
        ring
      )
      yield* notes.insert({ id: "1", text: "a", token: Redacted.make("hunter2") })
      const somebody = CurrentUser.make("ana")
      yield* notes
        .update("1", { text: "b" })
        .pipe(
          Effect.provideService(CurrentUser.CurrentUser, somebody),
          Effect.provideService(WriteContext.WriteContext, { request: "r1", user: "eve" })
        )
      yield* Effect.provideService(notes.delete("1"), WriteContext.WriteContext, { user: "eve" })
      const pending = yield* Stream.runCollect(database.journal.pending)
      const bodies = yield* Effect.forEach(pending, ({ hasBody, key }) => {
        assert.isTrue(hasBody)
        return Effect.map(store.get(key), ({ body }) => new TextDecoder().decode(body))
      })
      assert.isFalse(bodies.some((text) => text.includes("hunter2")))
      assert.isFalse(
        bodies.some((text) => text.includes('"eve"')),
        "who wrote is told by CurrentUser alone"
      )
      const details = bodies.map((text) => JSON.parse(text) as Record<string, unknown>)
      const texts = details.map((detail) => Object.keys(detail).toSorted().join())
      assert.strictEqual(details.length, 3)
      const byKind = new Map(pending.map(({ kind }, i) => [kind, details[i]!]))
      assert.notInclude(JSON.stringify(byKind.get("insert")), '"ana"')
      assert.include(JSON.stringify(byKind.get("update")), '"user":"ana","request":"r1"')
      assert.isAbove(new Set(texts).size, 1)
    })
  )

  it("an image is the object as it was put, and can be read", () => {
    const write: Document.Write = {
      writeId: "w".repeat(16),
      writtenAt: 5,
      createdAt: 1,
      version: 2,
      ancestors: ["v".repeat(16)],
      tag: "t",
      schemaVersion: 1,
      fields: { metadata: { "0": "a" }, spilled: { "1": { deep: [1, -0.5] } }, spilledText: undefined },
      truncated: [],
      markers: {},
      companions: {},
      claims: {}
    }
    const read = Result.getOrThrow(Document.fromImage(Document.imageOf(write)))
    assert.deepStrictEqual(Document.imageOf(read), Document.imageOf(write))
    assert.strictEqual(read.writeId, write.writeId)
    for (const wrong of [
      null,
      {},
      { metadata: {}, body: {} },
      { metadata: { "s-": "!" }, body: { w: "", t: 0, a: true } }
    ]) {
      assert.isTrue(Result.isFailure(Document.fromImage(wrong)))
    }
  })

  it("what is no journal is refused", () => {
    const wrong = { images: "all" } as unknown as Definition.JournalOptions
    assert.throws(() => Resource.define("notes", { ...plain, journal: wrong }), /"none", "after" or "both"/)
  })
})

describe("a journaler", () => {
  it.effect("has every version once, in the order of its document, and removes what deletions have left", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const notes = yield* open("notes", { ...rich, content: false, journal: { images: "after" } })
      const { journal, journaled, transaction } = database
      yield* notes.insertMany(["1", "2"].map((id) => ({ id, text: "a" })))
      yield* notes.update("1", { text: "b" })
      yield* notes.delete("1")
      yield* transaction(Effect.andThen(notes.insert({ id: "1", text: "c" }), notes.delete("2")))
      yield* Effect.ignore(transaction(Effect.andThen(notes.update("1", { text: "x" }), Effect.fail("no"))))
      yield* Effect.ignore(notes.insert({ id: "1", text: "y" }))
      const caughtUp = yield* drive(yield* Effect.forkChild(journal.catchUp(journaled, { nobodyWrites: true })))
      assert.deepInclude(caughtUp, { appended: 6, undecided: 0, next: 6 })
      const records = (yield* Stream.runCollect(journal.read({ from: 0 }))).map(({ value }) => value)
      const of = (id: string) => records.filter((record) => record.id === id)
      assert.deepStrictEqual(
        of("1").map(({ kind }) => kind),
        ["insert", "update", "delete", "insert"]
      )
      assert.deepStrictEqual(
        of("2").map(({ kind }) => kind),
        ["insert", "delete"]
      )
      for (const id of ["1", "2"]) {
        for (const [i, { previous }] of of(id).entries()) assert.strictEqual(previous, of(id)[i - 1]?.writeId)
      }
      const image = Result.getOrThrow(Document.fromImage(of("1").at(-1)!.after!))
      assert.strictEqual(image.writeId, (yield* journaled.head("notes", "1")).identity)
      assert.deepStrictEqual(yield* keysOf(store, "resource=notes/data/"), ["resource=notes/data/id=1"])
      assert.deepStrictEqual(yield* keysOf(store, "journal/pending/"), [])
      // It goes on where nothing is left.
      yield* notes.insert({ id: "2", text: "d" })
      yield* notes.delete("1")
      yield* drive(yield* Effect.forkChild(journal.catchUp(journaled, { nobodyWrites: true })))
      assert.strictEqual(yield* journal.position, 8)
      assert.deepStrictEqual(yield* keysOf(store, "journal/pending/"), [])
    })
  )
})

describe("what deletions leave", () => {
  it.effect("is seen by nobody, and removed by whoever keeps the journal, not by repair", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const notes = yield* open("notes", options)
      yield* notes.insertMany(["1", "2", "3"].map((id) => ({ id, text: id })))
      yield* notes.deleteMany(["1", "2"])
      assert.strictEqual(yield* notes.count(), 1)
      assert.deepStrictEqual(yield* Stream.runCollect(notes.listIds()), ["3"])
      yield* TestClock.adjust("1 day")
      const { repair } = yield* notes.admin
      assert.deepStrictEqual(yield* Stream.runCollect(repair({ dryRun: false, sweepDeletions: true })), [])
      assert.strictEqual((yield* keysOf(store, "resource=notes/data/")).length, 3)
      const { head, sweep } = database.journaled
      const { identity = "" } = yield* head("notes", "1")
      yield* sweep({ resource: "notes", id: "1", writeId: "another" })
      yield* sweep({ resource: "notes", id: "3", writeId: (yield* head("notes", "3")).identity! })
      yield* sweep({ resource: "notes", id: "nobody", writeId: identity })
      assert.strictEqual((yield* keysOf(store, "resource=notes/data/")).length, 3)
      yield* sweep({ resource: "notes", id: "1", writeId: identity })
      assert.deepStrictEqual(
        yield* keysOf(store, "resource=notes/data/"),
        ["2", "3"].map((id) => `resource=notes/data/id=${id}`)
      )
      assert.deepStrictEqual(yield* head("notes", "1"), { identity: undefined, ancestors: [] })
      assert.strictEqual((yield* Effect.flip(head("notes", ""))).reason._tag, "InvalidArgument")
    })
  )

  it.effect("stays where the store deletes without conditions", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* Effect.flatMap(gateway, openOn)
      const notes = yield* open("notes", options)
      yield* notes.insert({ id: "1", text: "a" })
      yield* notes.delete("1")
      const { identity = "" } = yield* database.journaled.head("notes", "1")
      yield* database.journaled.sweep({ resource: "notes", id: "1", writeId: identity })
      assert.strictEqual((yield* keysOf(store, "resource=notes/data/")).length, 1)
    })
  )

  it.effect("comes back when a transaction that was to create the document is aborted", () =>
    Effect.gen(function* () {
      for (const empty of [memory, gateway]) {
        const store = yield* empty
        const { database, open } = yield* openOn(store)
        const notes = yield* open("notes", options)
        yield* notes.insertMany(["1", "2"].map((id) => ({ id, text: id })))
        yield* notes.delete("1")
        const before = yield* database.journaled.head("notes", "1")
        const etags: Array<string> = []
        for (let at = 1, finished = false; !finished; at++) {
          const client = crashing(store, at, "after")
          const mine = yield* Effect.provideService(
            Resource.make(Definition.from("notes", options)),
            Database.Database,
            { ...database, id: database.id, store: client.store }
          )
          const { database: own } = yield* openOn(store)
          const moving = own.transaction(
            Effect.andThen(mine.insert({ id: "1", text: "x" }), mine.update("2", { text: "x" }))
          )
          finished = Exit.isSuccess(yield* Effect.exit(moving)) || at > 40
          yield* TestClock.adjust("20 minutes")
          yield* drive(yield* Effect.forkChild(Stream.runDrain(database.repairTransactions({ dryRun: false }))))
          const there = yield* notes.getOption("1")
          const now = yield* database.journaled.head("notes", "1")
          if (there._tag === "None") {
            assert.strictEqual(now.identity, before.identity)
            const { etag } = yield* store.head("resource=notes/data/id=1")
            // Where an intent has been, no condition from before it holds any more.
            if (etags.at(-1) !== etag) assert.notInclude(etags, etag)
            etags.push(etag)
          } else finished = true
          assert.include(["insert,delete", "insert,delete,insert"], (yield* kindsOf(database, "1")).join())
        }
      }
    })
  )
})

describe("a document that cannot be read", () => {
  it.effect("leaves an entry when it is discarded or replaced, after what it tells of itself", () =>
    Effect.gen(function* () {
      for (const tells of [true, false]) {
        const { database, open, store } = yield* openNew
        const notes = yield* open("notes", rich)
        for (const id of ["1", "2"]) {
          yield* notes.insert({ id, text: "a", mail: `${id}@x` })
          const { body } = yield* store.get(`resource=notes/data/id=${id}`)
          // Without its metadata it is no document.
          yield* store.put({
            key: `resource=notes/data/id=${id}`,
            body: tells ? body : new TextEncoder().encode("<html>")
          })
        }
        yield* (yield* notes.admin).discard("1")
        yield* notes.replace({ id: "2", text: "b" })
        assert.deepStrictEqual(yield* kindsOf(database, "1"), tells ? ["insert", "delete"] : ["delete"])
        assert.deepStrictEqual(yield* kindsOf(database, "2"), tells ? ["insert", "update"] : ["update"])
        assert.isTrue((yield* notes.getOption("1"))._tag === "None")
      }
    })
  )
})

describe("a version that is taken back", () => {
  it.effect(
    "since its unique value was taken over while the program stood still, is one, and what comes back another",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const leased = { ...options, unique: { mail: ["mail"] }, uniqueLease: "10 seconds" } as const
        const slow: Store = {
          ...store,
          put: (one) =>
            /data\/id=[12]$/.test(one.key) ? Effect.andThen(Effect.sleep("90 seconds"), store.put(one)) : store.put(one)
        }
        const { database, open } = yield* openOn(store)
        const notes = yield* open("notes", leased)
        yield* notes.insert({ id: "1", text: "a" })
        const stuck = yield* (yield* openOn(slow)).open("notes", leased)
        const updating = yield* Effect.forkChild(Effect.flip(stuck.update("1", { mail: "one@x" })), {
          startImmediately: true
        })
        const inserting = yield* Effect.forkChild(Effect.flip(stuck.insert({ id: "2", text: "b", mail: "two@x" })), {
          startImmediately: true
        })
        yield* drive(yield* Effect.forkChild(Effect.sleep("20 seconds")))
        yield* notes.insert({ id: "3", text: "c", mail: "one@x" })
        yield* notes.insert({ id: "4", text: "d", mail: "two@x" })
        assert.strictEqual((yield* drive(updating))._tag, "UniqueViolation")
        assert.strictEqual((yield* drive(inserting))._tag, "UniqueViolation")
        assert.deepStrictEqual(yield* kindsOf(database, "1"), ["insert", "update", "update"])
        assert.deepStrictEqual(yield* kindsOf(database, "2"), ["insert", "delete"])
        assert.deepStrictEqual(yield* notes.get("1"), { id: "1", text: "a" })
        assert.isTrue((yield* notes.getOption("2"))._tag === "None")
      })
  )
})

describe("a lost answer", () => {
  /** A store in which the answers to so many entries are lost, after they have landed or before. */
  const losing = (store: Store, isLost: (n: number) => boolean, lands: boolean): Store => {
    let entries = 0
    return {
      ...store,
      put: (request) => {
        if (!request.key.startsWith("journal/pending/")) return store.put(request)
        entries += 1
        if (!isLost(entries)) return store.put(request)
        const error = new StoreError({
          operation: "put",
          key: request.key,
          reason: new Timeout({ description: "no answer", afterMillis: 1 })
        })
        return lands ? Effect.andThen(store.put(request), Effect.fail(error)) : Effect.fail(error)
      }
    }
  }

  it.effect("to an entry has the write begin anew under another write id", () =>
    Effect.gen(function* () {
      for (const lands of [true, false]) {
        const store = yield* remote
        const { database, open } = yield* openOn(losing(store, (n) => n % 3 === 1, lands))
        const notes = yield* open("notes", { ...rich, content: false })
        const settle = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkChild(effect), drive)
        yield* settle(notes.insert({ id: "1", text: "a", mail: "m@x" }))
        yield* settle(notes.update("1", { text: "b" }))
        yield* settle(
          database.transaction(Effect.andThen(notes.update("1", { text: "c" }), notes.insert({ id: "2", text: "" })))
        )
        yield* settle(notes.delete("1"))
        yield* settle(notes.upsert({ id: "1", text: "d" }))
        assert.deepStrictEqual(yield* kindsOf(database, "1"), ["insert", "update", "update", "delete", "insert"])
        for (let i = 0; i < 3; i++) {
          // By the document in hand each of them may be the one whose answer is lost.
          yield* settle(notes.upsert({ id: `h${i}`, text: "a" }))
          const held = yield* notes.getDocument(`h${i}`)
          yield* settle(
            notes.delete(yield* settle(Effect.andThen(notes.update(held, { text: "b" }), notes.getDocument(held.id))))
          )
          assert.deepStrictEqual(yield* kindsOf(database, held.id), ["insert", "update", "delete"])
        }
        const { repair } = yield* notes.admin
        assert.deepStrictEqual(yield* Stream.runCollect(repair({ markerGraceMillis: -1 })), [])
      }
    })
  )

  it.effect("again and again fails the write, which is certainly not done", () =>
    Effect.gen(function* () {
      const store = yield* remote
      const { open } = yield* openOn(losing(store, () => true, true))
      const notes = yield* open("notes", options)
      const error = yield* drive(yield* Effect.forkChild(Effect.flip(notes.insert({ id: "1", text: "a" }))))
      assert.strictEqual(error._tag, "DbError")
      assert.strictEqual((error as { readonly outcome?: string }).outcome, "none")
      assert.include(error.message, "entries of the journal were lost")
      assert.deepStrictEqual(yield* keysOf(store, "resource=notes/"), [])
    })
  )
})

describe("programs of several versions", () => {
  it.effect("one that does not declare the journal keeps it, as the catalog asks for it", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const older = yield* open("notes", plain)
      yield* older.insert({ id: "0", text: "before" })
      const { database, open: openNewer } = yield* openOn(store)
      const newer = yield* openNewer("notes", options)
      const back = yield* openOn(store)
      const again = yield* back.open("notes", plain)
      yield* again.insert({ id: "1", text: "a" })
      yield* newer.update("1", { text: "b" })
      yield* again.delete("1")
      assert.deepStrictEqual(yield* kindsOf(database, "1"), ["insert", "update", "delete"])
      // From the catalog alone, too.
      const dynamic = yield* Effect.provideService(
        Effect.flatMap(Resource.fromCatalog("notes"), Resource.make),
        Database.Database,
        (yield* openOn(store)).database
      )
      yield* dynamic.insertJson({ id: "2", text: "a" })
      assert.deepStrictEqual(yield* kindsOf(database, "2"), ["insert"])
    })
  )

  it.effect("a write that learns of the journal after its commit is written once more, with an entry", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const openWith = (make: Resource.Options<typeof Note>, on: Store = store) =>
        Effect.gen(function* () {
          const database = yield* Effect.provideService(Database.make(), ObjectStore, on)
          const on2 = Effect.provideService(Database.Database, database)
          return { database, notes: yield* on2(Resource.make(Resource.define("notes", make))) }
        })
      const slow: Store = {
        ...store,
        put: (one) =>
          one.key.startsWith("resource=notes/data/")
            ? Effect.andThen(Effect.sleep("20 seconds"), store.put(one))
            : store.put(one)
      }
      const older = yield* openWith(plain, slow)
      const writing = yield* Effect.forkChild(older.notes.insert({ id: "1", text: "a" }))
      yield* Effect.yieldNow
      const { database, notes } = yield* openWith(options)
      yield* drive(writing)
      const { identity = "" } = yield* database.journaled.head("notes", "1")
      const pending = yield* Stream.runCollect(database.journal.pending)
      assert.deepStrictEqual(
        pending.map(({ kind, writeId }) => [kind, writeId]),
        [["update", identity]]
      )
      assert.strictEqual((yield* notes.get("1")).text, "a")
    })
  )
})

journalCrashes({ operations: ["update that moves", "delete"], places: { "": memory } })
journalCrashes({
  operations: ["insert over what a deletion has left"],
  places: { " on a store without conditional deletes": gateway }
})
