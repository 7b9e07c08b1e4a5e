import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import * as Document from "effect-s3db/Document"
import * as Guard from "effect-s3db/Guard"
import * as Pipeline from "effect-s3db/Pipeline"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { keysOf, memory, openNew, openOn } from "./fixture.ts"
import { settled } from "./waiting.ts"

class Note extends Schema.Class<Note>("test/Note")({ id: Schema.String, text: Schema.String }) {}

class Notes extends Resource.Service<Notes>()("test/notes", { schema: Note, primaryKey: "id" }) {}

class Kept extends Resource.Service<Kept>()("test/kept", { schema: Note, primaryKey: "id", guarded: true }) {}

const on = (database: Database.Database["Service"]) => Effect.provideService(Database.Database, database)

const fromCatalog = (database: Database.Database["Service"], name: string) =>
  on(database)(Effect.flatMap(Resource.fromCatalog(name), Resource.make))

const reasonOf = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.map(Effect.flip(effect), (error) =>
    "reason" in error ? (error.reason as { readonly _tag: string })._tag : error._tag
  )

describe("a transaction belongs to its database", () => {
  const note = new Note({ id: "1", text: "of a" })

  it.effect("a resource of another database is refused inside, also of another one on the same store", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const a = yield* openOn(store)
      for (const other of [yield* openNew, yield* openOn(store)]) {
        const notes = yield* on(a.database)(Resource.make(Notes.definition))
        const others = yield* on(other.database)(Resource.make(Notes.definition))
        yield* notes.replace(note)
        const before = yield* keysOf(other.store)
        const operations: ReadonlyArray<Effect.Effect<unknown, Resource.InsertError | Resource.DeleteError>> = [
          others.get("1"),
          others.insert({ id: "2", text: "of b" }),
          others.replace({ id: "2", text: "of b" }),
          others.update("1", { text: "of b" }),
          others.delete("1")
        ]
        for (const operation of operations) {
          const failed = a.database.transaction(Effect.andThen(notes.get("1"), Effect.asVoid(operation)))
          assert.strictEqual(yield* reasonOf(failed), "Unsupported")
        }
        assert.deepStrictEqual(yield* keysOf(other.store), before)
      }
    })
  )

  it.effect("a transaction on another database inside one is refused, one on the same is part of it", () =>
    Effect.gen(function* () {
      const a = yield* openNew
      const b = yield* openNew
      const notes = yield* on(a.database)(Resource.make(Notes.definition))
      const inner = b.database.transaction(Effect.succeed(1))
      assert.strictEqual(yield* reasonOf(a.database.transaction(inner)), "Unsupported")
      assert.strictEqual(yield* inner, 1)
      yield* a.database.transaction(a.database.transaction(notes.insert(note)))
      assert.deepStrictEqual(yield* notes.get("1"), note)
    })
  )
})

describe("one repository for each database and name", () => {
  it.effect("guards, interceptors and changes are those of the resource, whoever opens it", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const notes = yield* on(database)(Resource.make(Notes.definition))
      assert.strictEqual(yield* on(database)(Resource.make(Notes.definition)), notes)
      const undeclared = yield* fromCatalog(database, "notes")
      const told = yield* Queue.unbounded<string>()
      yield* notes.onChange("Inserted", ({ id }) => Queue.offer(told, id))
      yield* undeclared.insert({ id: "1", text: "by the catalog" })
      assert.strictEqual(yield* Queue.take(told), "1")
      assert.instanceOf(yield* notes.get("1"), Note)
      yield* notes.intercept(Guard.interceptor({}))
      const operations: ReadonlyArray<Effect.Effect<unknown, Resource.InsertError | Resource.DeleteError>> = [
        undeclared.get("1"),
        undeclared.insert({ id: "2", text: "" }),
        undeclared.delete("1")
      ]
      for (const denied of operations) {
        assert.strictEqual((yield* Effect.flip(denied))._tag, "Rejected")
      }
    })
  )

  it.effect("who has opened it from the catalog goes on with what the program declares later", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openOn(store)
      yield* on(first.database)(Resource.make(Notes.definition))
      const { database } = yield* openOn(store)
      const undeclared = yield* fromCatalog(database, "notes")
      const told = yield* Queue.unbounded<unknown>()
      yield* undeclared.onChange({}, ({ after }) => Queue.offer(told, Option.getOrUndefined(after)))
      yield* undeclared.intercept({ operations: "delete", before: ({ reject }) => Effect.fail(reject("not here")) })
      const notes = yield* on(database)(Resource.make(Notes.definition))
      yield* undeclared.insert({ id: "1", text: "x" })
      assert.instanceOf(yield* Queue.take(told), Note)
      assert.instanceOf(yield* undeclared.get("1"), Note)
      assert.strictEqual((yield* Effect.flip(notes.delete("1")))._tag, "Rejected")
    })
  )

  it.effect("another definition of the same name is refused in one database, and welcome in another", () =>
    Effect.gen(function* () {
      const { store, database, open } = yield* openNew
      yield* on(database)(Resource.make(Notes.definition))
      const options = {
        schema: Schema.Struct({ id: Schema.String, text: Schema.String, more: Schema.optionalKey(Schema.String) }),
        primaryKey: "id"
      } as const
      assert.strictEqual(yield* reasonOf(open("notes", options)), "Unsupported")
      const other = yield* openOn(store)
      yield* (yield* other.open("notes", options)).insert({ id: "1", text: "x", more: "y" })
    })
  )

  it.effect("another option of the same name is refused in one database, as another schema is", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const declared = (compression: boolean | undefined) =>
        on(database)(Resource.make(Resource.define("letters", { schema: Note, primaryKey: "id", compression })))
      const first = yield* declared(false)
      assert.strictEqual(yield* declared(false), first)
      for (const other of [true, undefined]) assert.strictEqual(yield* reasonOf(declared(other)), "Unsupported")
    })
  )

  it.effect("two that open it at once get the same, and it is told once", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const opened: Array<string> = []
      yield* database.lifecycle.on("ResourceOpened", ({ resource }) =>
        Effect.sync(() => opened.push(Option.getOrElse(resource, () => "")))
      )
      const all = yield* Effect.all(
        Array.from({ length: 10 }, () => on(database)(Resource.make(Notes.definition))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(all).size, 1)
      yield* settled
      assert.deepStrictEqual(opened, ["notes"])
    })
  )
})

describe("who opens from the catalog cannot poison data", () => {
  const even = Schema.Int.check(Schema.makeFilter((n) => n % 2 === 0))

  it.effect("what a check, a transformation or a computed field of the program would decide is not written", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const program = yield* openOn(store)
      const numbers = yield* program.open("numbers", {
        schema: Schema.Struct({
          id: Schema.String,
          n: Schema.optionalKey(even),
          when: Schema.optionalKey(Schema.DateFromString)
        }),
        primaryKey: "id"
      })
      const computed = yield* program.open("computed", {
        schema: Schema.Struct({ id: Schema.String, name: Schema.String, initial: Schema.optionalKey(Schema.String) }),
        primaryKey: "id",
        computed: { initial: ({ name }) => name.slice(0, 1) },
        partitions: { byInitial: ["initial"] }
      })
      const migrated = yield* program.open("migrated", {
        schema: Note,
        primaryKey: "id",
        version: 2,
        migrations: { 1: (document) => document }
      })
      yield* numbers.insert({ id: "1", n: 2, when: new Date(0) })
      yield* computed.insert({ id: "1", name: "Ana" })
      yield* migrated.insert({ id: "1", text: "x" })

      const { database } = yield* openOn(store)
      const others = yield* fromCatalog(database, "numbers")
      const before = yield* keysOf(store)
      const refusals: Array<Effect.Effect<unknown, Resource.InsertError | Resource.ChangeError>> = [
        others.insert({ id: "2", n: 3 }),
        others.insert({ id: "2", when: "soon" }),
        others.update("1", { n: 3 })
      ]
      const otherComputed = yield* fromCatalog(database, "computed")
      const otherMigrated = yield* fromCatalog(database, "migrated")
      refusals.push(
        otherComputed.insert({ id: "2", name: "Bo" }),
        otherComputed.update("1", { name: "Bo" }),
        otherMigrated.insert({ id: "2", text: "y" }),
        otherMigrated.upsert({ id: "2", text: "y" })
      )
      for (const refused of refusals) {
        const error = yield* Effect.flip(refused)
        assert.strictEqual(error._tag === "DbError" && error.reason._tag, "Unsupported")
        assert.include(error.message, "did not travel")
      }
      assert.deepStrictEqual(yield* keysOf(store), before)
      // What it does not touch is no matter, and who may write may delete.
      yield* others.insert({ id: "2" })
      assert.deepStrictEqual(yield* numbers.get("2"), { id: "2" })
      assert.deepStrictEqual(yield* numbers.get("1"), { id: "1", n: 2, when: new Date(0) })
      yield* otherComputed.delete("1")
      assert.strictEqual(yield* computed.count(), 0)
    })
  )
})

describe("an interceptor cannot be late or forgotten", () => {
  const rules = Effect.as(
    Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20))),
    {}
  )
  const base = Layer.provideMerge(Database.layer, MemoryStore.layer)

  it.live("rules that take long to make are there before the first operation, however it is composed", () =>
    Effect.gen(function* () {
      const outcomes: Array<string> = []
      const server = Layer.effectDiscard(
        Effect.gen(function* () {
          const notes = yield* Notes
          outcomes.push((yield* Effect.flip(notes.insert({ id: "1", text: "unguarded" })))._tag)
        })
      )
      yield* Layer.build(Layer.provide(server, Layer.provide(Resource.guard(Notes, rules), base)))
      const guarded = Resource.guard(Notes, rules)
      const audited = Resource.intercept(Notes, { operations: "get", before: () => Effect.void }, { layer: guarded })
      yield* Layer.build(Layer.provide(server, Layer.provide(audited, base)))
      assert.deepStrictEqual(outcomes, ["Rejected", "Rejected"])
    })
  )

  it.effect("a resource that needs a guard cannot be opened without, by its class or from the catalog", () =>
    Effect.gen(function* () {
      const build = (layer: Layer.Layer<Kept, unknown, Database.Database>) =>
        Layer.build(Layer.provide(layer, Layer.provideMerge(Database.layer, Layer.fresh(MemoryStore.layer))))
      const error = yield* Effect.flip(build(Kept.layer))
      assert.include(String(error), "Resource.guard")
      yield* build(Resource.guard(Kept, { "*": Guard.allow }))

      const store = yield* memory
      const first = yield* openOn(store)
      yield* on(first.database)(
        Effect.gen(function* () {
          const kept = yield* Resource.makeWith(Kept.definition, { guard: { rules: { insert: Guard.allow } } })
          yield* kept.insert({ id: "1", text: "x" })
          assert.strictEqual((yield* Effect.flip(kept.get("1")))._tag, "Rejected")
          // It is open, with its guard.
          const undeclared = yield* fromCatalog(first.database, "kept")
          assert.strictEqual((yield* Effect.flip(undeclared.get("1")))._tag, "Rejected")
        })
      )
      const { database } = yield* openOn(store)
      assert.strictEqual(yield* reasonOf(fromCatalog(database, "kept")), "Unsupported")
      const definition = yield* on(database)(Resource.fromCatalog("kept"))
      const open = yield* on(database)(Resource.makeWith(definition, { guard: { rules: { get: Guard.allow } } }))
      assert.deepStrictEqual(yield* open.get("1"), { id: "1", text: "x" })
    })
  )

  it.effect("when its guard is gone nothing is open any more", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const kept = yield* Effect.scoped(
        on(database)(Resource.makeWith(Kept.definition, { guard: { rules: { "*": Guard.allow } } }))
      )
      assert.strictEqual((yield* Effect.flip(kept.insert({ id: "1", text: "x" })))._tag, "Rejected")
    })
  )
})

describe("pipelines carry documents", () => {
  const counted = Effect.gen(function* () {
    const { counter, store } = InstrumentedStore.make(yield* memory)
    const { database } = yield* openOn(store)
    const notes = yield* on(database)(Resource.make(Notes.definition))
    for (const id of ["1", "2"]) yield* notes.insert({ id, text: `text of ${id}` })
    const gets = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        yield* counter.reset
        yield* effect
        return (yield* counter.counts).get
      })
    return { notes, gets }
  })

  it.effect("what answers in the place of a get answers getDocument, too", () =>
    Effect.gen(function* () {
      const { notes, gets } = yield* counted
      const cache = new Map<string, Document.Document<Note>>()
      yield* notes.intercept({
        operations: "get",
        around: (context, next) =>
          Effect.suspend(() => {
            const found = cache.get(context.input.id)
            if (found !== undefined) return Effect.succeed(found)
            return Effect.tap(next(), (document) => Effect.sync(() => cache.set(context.input.id, document)))
          })
      })
      assert.strictEqual(yield* gets(notes.get("1")), 1)
      assert.strictEqual(yield* gets(notes.get("1")), 0)
      assert.strictEqual(yield* gets(notes.getDocument("1")), 0)
      // It is as good as the one that was read: a change of it is on the condition of its revision.
      const document = yield* notes.getDocument("1")
      assert.strictEqual((yield* notes.update(document, { text: "new" })).text, "new")
      assert.strictEqual((yield* Effect.flip(notes.update(document, { text: "late" })))._tag, "Conflict")
    })
  )

  it.effect("what an interceptor makes of documents takes no second look at them", () =>
    Effect.gen(function* () {
      const { notes, gets } = yield* counted
      const shout = (note: Note) => new Note({ id: note.id, text: note.text.toUpperCase() })
      yield* notes.intercept({
        operations: "query",
        after: (_, output) => Effect.succeed(Stream.map(output, (one) => Document.map(one, shout)))
      })
      const rows = Stream.runCollect(notes.queryJson({ select: ["text", "$schemaVersion"], scan: true }))
      assert.strictEqual(yield* gets(rows), 2)
      assert.deepStrictEqual(yield* rows, [
        { text: "TEXT OF 1", $schemaVersion: 1 },
        { text: "TEXT OF 2", $schemaVersion: 1 }
      ])
    })
  )
})

describe("interceptors and changes of a database", () => {
  it.effect("an interceptor of the database takes part in what is selected, also in what is opened later", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const seen: Array<string> = []
      const options = { schema: Note, primaryKey: "id" } as const
      const first = yield* open("first", options)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const note = (by: string): Pipeline.Interceptor<Pipeline.AnyOperations, "insert"> => ({
            name: by,
            operations: "insert",
            before: ({ resource }) => Effect.sync(() => void seen.push(`${by} ${resource}`))
          })
          yield* database.intercept("*", note("all"))
          yield* database.intercept(["later"], note("one"))
          yield* database.intercept((name) => name.startsWith("f"), note("f"))
          const later = yield* open("later", options)
          yield* first.insert({ id: "1", text: "" })
          yield* later.insert({ id: "1", text: "" })
        })
      )
      assert.deepStrictEqual(seen, ["all first", "f first", "all later", "one later"])
      yield* first.insert({ id: "2", text: "" })
      assert.lengthOf(seen, 4)
    })
  )

  it.effect("the changes of all resources are told, and can be narrowed", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const told = yield* Queue.unbounded<string>()
      yield* database.changes.on({ resource: ["a", "b"], tag: ["Inserted", "Deleted"] }, (change) =>
        Queue.offer(told, `${change.resource} ${change._tag} ${change.id}`)
      )
      for (const name of ["a", "b", "c"]) {
        const notes = yield* open(name, { schema: Note, primaryKey: "id", counters: true })
        yield* notes.insert({ id: name, text: "" })
        yield* notes.update(name, { text: "x" })
        yield* notes.delete(name)
      }
      yield* settled
      assert.deepStrictEqual(yield* Queue.takeAll(told), ["a Inserted a", "a Deleted a", "b Inserted b", "b Deleted b"])
    })
  )

  it.effect("the id and the write id are known right before the commit, and are those that are told", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const notes = yield* open("notes", {
        schema: Schema.Struct({
          id: Schema.String.pipe(Schema.withConstructorDefault(Effect.sync(() => "made"))),
          text: Schema.String
        }),
        primaryKey: "id",
        history: true
      })
      const pending: Array<Pipeline.Pending<unknown>> = []
      let refuses = false
      yield* database.intercept("*", {
        operations: ["insert", "update", "replace", "upsert", "delete"],
        before: ({ input, reject }) =>
          Effect.succeed({
            beforeCommit: [
              ...(input.beforeCommit ?? []),
              (write: Pipeline.Pending<unknown>) =>
                refuses ? Effect.fail(reject("no")) : Effect.sync(() => void pending.push(write))
            ]
          })
      })
      const told = yield* Queue.unbounded<readonly [string, string]>()
      yield* notes.onChange({}, ({ id, writeId }) => Queue.offer(told, [id, writeId]))
      yield* notes.insert({ text: "a" })
      yield* notes.update("made", { text: "b" })
      yield* notes.replace({ id: "made", text: "c" })
      yield* notes.upsert({ id: "made", text: "d" })
      yield* notes.delete("made")
      yield* database.transaction(
        Effect.andThen(notes.insert({ id: "t", text: "e" }), notes.insert({ id: "u", text: "" }))
      )
      yield* settled
      const events = yield* Queue.takeAll(told)
      // An upsert is an update in it, so that both take part: it is announced to each of them.
      const announced = new Map(pending.map((write) => [write.writeId, write.id]))
      for (const [id, writeId] of events) assert.strictEqual(announced.get(writeId), id)
      assert.lengthOf(events, 7)
      assert.isTrue(Option.isNone(pending[0]!.before))
      assert.deepStrictEqual(pending[0]!.after, Option.some({ id: "made", text: "a" }))
      assert.isTrue(Option.isNone(pending.at(-3)!.after))
      // Nothing of a write that is refused here is sent.
      const before = yield* keysOf(store)
      refuses = true
      assert.strictEqual((yield* Effect.flip(notes.insert({ id: "v", text: "" })))._tag, "Rejected")
      assert.strictEqual((yield* Effect.flip(notes.delete("t")))._tag, "Rejected")
      assert.deepStrictEqual(yield* keysOf(store), before)
    })
  )
})

describe("what plugins register", () => {
  it.effect("is in the catalog, for a resource or the database, and travels with a definition", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      yield* open("notes", { schema: Note, primaryKey: "id", plugins: { ttl: { field: "text" } } })
      yield* database.setPlugin("search", { state: "building" }, "notes")
      yield* database.setPlugin("backup", { every: "day" })
      yield* database.setPlugin("gone", 1)
      yield* database.setPlugin("gone", undefined)
      const { etag } = yield* store.head("s3db.json")
      yield* database.setPlugin("backup", { every: "day" })
      assert.strictEqual((yield* store.head("s3db.json")).etag, etag)
      assert.strictEqual(yield* reasonOf(database.setPlugin("search", {}, "nothing")), "InvalidArgument")

      const other = yield* openOn(store)
      assert.deepStrictEqual(yield* other.database.plugins("notes"), { search: { state: "building" } })
      assert.deepStrictEqual(yield* other.database.plugins(), { backup: { every: "day" } })
      assert.deepStrictEqual(yield* other.database.plugins("nothing"), {})
      const definition = yield* on(other.database)(Resource.fromCatalog("notes"))
      assert.deepStrictEqual(definition.plugins, { ttl: { field: "text" } })
      // A new version of the definition keeps what is registered for the resource.
      yield* (yield* openOn(store)).open("notes", { schema: Note, primaryKey: "id" })
      yield* other.database.refresh
      assert.deepStrictEqual(yield* other.database.plugins("notes"), { search: { state: "building" } })
    })
  )
})

describe("single documents in JSON form", () => {
  class Person extends Schema.Class<Person>("test/Person")({
    id: Schema.String,
    name: Schema.NonEmptyString,
    born: Schema.optionalKey(Schema.DateTimeUtcFromString),
    address: Schema.optionalKey(
      Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.NullOr(Schema.String)) })
    )
  }) {}

  it.effect("are got, inserted, replaced, updated and patched", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", { schema: Person, primaryKey: "id" })
      const ana = { id: "1", name: "Ana", born: "2001-02-03T00:00:00.000Z", address: { city: "Recife", zip: "50000" } }
      assert.deepStrictEqual(yield* people.insertJson(ana), ana)
      assert.deepStrictEqual(yield* people.getJson("1"), ana)
      assert.strictEqual(DateTime.formatIso((yield* people.get("1")).born!), ana.born)
      const moved = yield* people.updateJson("1", { "address.city": "Olinda", name: "Ana B." })
      assert.deepStrictEqual(moved, { ...ana, name: "Ana B.", address: { city: "Olinda", zip: "50000" } })
      // Null is a value where the field may have it, and takes a field away where it may not.
      const patched = yield* people.patchJson("1", { address: { zip: null }, born: null })
      assert.deepStrictEqual(patched, { id: "1", name: "Ana B.", address: { city: "Olinda", zip: null } })
      assert.deepStrictEqual(yield* people.replaceJson({ id: "1", name: "Bo" }), { id: "1", name: "Bo" })
      const { revision } = yield* people.getDocument("1")
      yield* people.updateJson("1", { name: "Bob" }, { ifRevision: revision })
      const late = people.replaceJson({ id: "1", name: "C" }, { ifRevision: revision })
      assert.strictEqual((yield* Effect.flip(late))._tag, "Conflict")
    })
  )

  it.effect("what does not fit is refused by name, and changes nothing", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", { schema: Person, primaryKey: "id" })
      yield* people.insertJson({ id: "1", name: "Ana" })
      const pathOf = <A, R>(
        effect: Effect.Effect<A, Resource.ChangeError | Resource.InsertError | { readonly _tag: "NotAllowed" }, R>
      ) =>
        Effect.map(Effect.flip(effect), (error) =>
          error._tag === "InvalidInput" ? error.issues[0]?.path.join(".") : error._tag
        )
      assert.strictEqual(yield* pathOf(people.insertJson({ id: "2" })), "name")
      assert.strictEqual(yield* pathOf(people.insertJson({ id: "2", name: "B", more: 1 })), "more")
      assert.strictEqual(yield* pathOf(people.updateJson("1", { born: "soon" })), "born")
      assert.strictEqual(yield* pathOf(people.updateJson("1", { nobody: 1 })), "nobody")
      assert.strictEqual(yield* pathOf(people.updateJson("1", { name: null })), "name")
      assert.strictEqual(yield* pathOf(people.updateJson("1", { id: "2" })), "id")
      assert.strictEqual(yield* pathOf(people.patchJson("1", JSON.parse('{"__proto__":{"name":"x"}}'))), "__proto__")
      assert.strictEqual(yield* pathOf(people.updateJson("9", { name: "x" })), "NotFound")
      assert.deepStrictEqual(yield* people.getJson("1"), { id: "1", name: "Ana" })
    })
  )
})

describe("the first example of the README, as a test", () => {
  class User extends Schema.Class<User>("app/User")({
    id: Id.Random,
    email: Schema.String.check(Schema.isPattern(/^[^@\s]+@[^@\s]+$/)),
    country: Schema.String,
    logins: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(0)))
  }) {}

  class Users extends Resource.Service<Users>()("app/users", { schema: User, primaryKey: "id" }) {}

  it.layer(Users.layer.pipe(Layer.provide(Database.layer), Layer.provide(MemoryStore.layer)))((it) => {
    it.effect("goes on by itself under the clock of a test, also where changes meet", () =>
      Effect.gen(function* () {
        const users = yield* Users
        const ana = yield* users.insert({ email: "ana@example.com", country: "BR" })
        const login = users.update(ana.id, (user) => ({ logins: user.logins + 1 }))
        yield* Effect.all(
          Array.from({ length: 10 }, () => login),
          { concurrency: "unbounded" }
        )
        assert.strictEqual((yield* users.get(ana.id)).logins, 10)
        const read = yield* users.getDocument(ana.id)
        yield* users.update(read, { country: "PT" })
        assert.strictEqual((yield* Effect.flip(users.update(read, { country: "ES" })))._tag, "Conflict")
        assert.strictEqual((yield* Effect.flip(users.insert({ email: "nobody", country: "BR" })))._tag, "InvalidInput")
        const all = yield* Stream.runCollect(users.scan())
        assert.deepStrictEqual(
          all.map((user) => `${user.email} ${user.country}`),
          ["ana@example.com PT"]
        )
      })
    )
  })
})
