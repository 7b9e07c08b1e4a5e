/** Faults that were found once, each by the program that showed it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Database from "effect-s3db/Database"
import * as Guard from "effect-s3db/Guard"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { localCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Throttled } from "effect-s3db/storage/StoreError"
import { keysOf, memory, openNew, openOn, tellingOf } from "./fixture.ts"
import { settled } from "./waiting.ts"

const Note = Schema.Struct({ id: Schema.String, text: Schema.String })

const notes = Resource.define("notes", { schema: Note, primaryKey: "id" })

const guardedNotes = Resource.define("notes", { schema: Note, primaryKey: "id", guarded: true })

/** Denies everything. */
const denied = { guard: { rules: {} } }

const on = (database: Database.Database["Service"]) => Effect.provideService(Database.Database, database)

const fromCatalog = (database: Database.Database["Service"], name: string) =>
  on(database)(Effect.flatMap(Resource.fromCatalog(name), Resource.make))

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    if (Result.isSuccess(result)) return "done"
    const error: { readonly _tag: string; readonly reason?: unknown } = result.failure
    return typeof error.reason === "object" && error.reason !== null && "_tag" in error.reason
      ? String(error.reason._tag)
      : error._tag
  })

const ringOf = (byte: number) =>
  KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(byte)) } })

describe("guards", () => {
  it.effect(
    "what was open from the catalog before the program declares it guarded is refused without a guard, too",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        // An earlier release of the program, without `guarded`.
        yield* on((yield* openOn(store)).database)(Resource.make(notes))
        const { database } = yield* openOn(store)
        const undeclared = yield* fromCatalog(database, "notes")
        const kept = yield* Effect.scoped(on(database)(Resource.makeWith(guardedNotes, denied)))
        const outcomes = [yield* tagOf(kept.insert({ id: "1", text: "x" })), yield* tagOf(undeclared.get("1"))]
        assert.deepStrictEqual(outcomes, ["Rejected", "Rejected"])
      })
  )

  /** Operations that got through while the guard, which denies all, was coming or going. */
  const slippedThrough = Effect.fnUntraced(function* (phase: "comes" | "goes", opsBeforeYield: number) {
    const { database } = yield* openNew
    const opening = on(database)(Resource.makeWith(guardedNotes, denied))
    const scope = yield* Scope.make()
    const kept = yield* Scope.provide(opening, scope)
    if (phase === "comes") yield* Scope.close(scope, Exit.void)
    const race = { isOver: false }
    const others = yield* Effect.forkChild(
      Effect.gen(function* () {
        let done = 0
        for (let i = 0; i < 300 && !race.isOver; i++) {
          if ((yield* tagOf(kept.insert({ id: String(i), text: "x" }))) === "done") done += 1
          yield* Effect.yieldNow
        }
        return done
      })
    )
    yield* Effect.yieldNow
    const changing = phase === "comes" ? Effect.asVoid(Effect.scoped(opening)) : Scope.close(scope, Exit.void)
    yield* Effect.provideService(changing, References.MaxOpsBeforeYield, opsBeforeYield)
    race.isOver = true
    return yield* Fiber.join(others)
  })

  for (const phase of ["goes", "comes"] as const) {
    it.live(`nothing slips through while a guard ${phase}, wherever its fiber yields`, () =>
      Effect.gen(function* () {
        let done = 0
        for (let ops = 5; ops < 40; ops++) done += yield* slippedThrough(phase, ops)
        assert.strictEqual(done, 0)
      })
    )
  }

  it.effect("without its guard a resource neither reads for a restore nor tells which documents there are", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const { database } = yield* openOn(store)
      const definition = Resource.define("notes", {
        schema: Note,
        primaryKey: "id",
        guarded: true,
        history: true,
        unique: { text: ["text"] }
      })
      const kept = yield* Effect.scoped(
        Effect.gen(function* () {
          const open = yield* on(database)(Resource.makeWith(definition, { guard: { rules: { "*": Guard.allow } } }))
          yield* open.insert({ id: "1", text: "a" })
          yield* open.update("1", { text: "b" })
          return open
        })
      )
      yield* counter.reset
      const outcomes = [
        yield* tagOf(kept.restore("1", { version: 1 })),
        yield* tagOf(kept.restore("none", { version: 1 })),
        yield* tagOf(Stream.runDrain(kept.history("1"))),
        yield* tagOf(Stream.runDrain(kept.history("none"))),
        yield* tagOf(kept.getByUnique("text", { text: "b" }))
      ]
      assert.deepStrictEqual(outcomes, ["Rejected", "Rejected", "Rejected", "Rejected", "Rejected"])
      const { get, list } = yield* counter.counts
      assert.deepStrictEqual({ get, list }, { get: 0, list: 0 })
    })
  )

  it.effect("a resource that is refused for want of a guard is neither registered nor told to be open", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const told: Array<string> = []
      yield* database.lifecycle.on("ResourceOpened", () => Effect.sync(() => told.push("opened")))
      assert.strictEqual(yield* tagOf(on(database)(Resource.make(guardedNotes))), "Unsupported")
      yield* settled
      assert.deepStrictEqual(told, [])
      assert.deepStrictEqual(yield* database.listResources, [])
    })
  )
})

describe("one repository for each database and name", () => {
  it.effect("who opens a resource from the catalog after it was read again gets the version that is in it now", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* on((yield* openOn(store)).database)(Resource.make(notes))
      const { database } = yield* openOn(store)
      yield* fromCatalog(database, "notes")
      const later = yield* (yield* openOn(store)).open("notes", {
        schema: Schema.Struct({ ...Note.fields, more: Schema.optionalKey(Schema.String) }),
        primaryKey: "id"
      })
      yield* later.insert({ id: "1", text: "x", more: "y" })
      yield* database.refresh
      const again = yield* fromCatalog(database, "notes")
      assert.deepStrictEqual(yield* again.getJson("1"), { id: "1", text: "x", more: "y" })
    })
  )

  it.effect("another KeyRing is refused also for who opens the resource from the catalog", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const secret = Resource.define("secret", {
        schema: Schema.Struct({ id: Schema.String, token: Attribute.SecretText }),
        primaryKey: "id"
      })
      yield* Effect.provide(on(database)(Resource.make(secret)), ringOf(1))
      const other = Effect.provide(fromCatalog(database, "secret"), ringOf(2))
      assert.strictEqual(yield* tagOf(other), "Unsupported")
    })
  )

  it.live("what prepares a resource may open another one", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const audit = Effect.orDie(open("audit", { schema: Note, primaryKey: "id" }))
      const opening = on(database)(Resource.makeWith(notes, { prepare: () => Effect.asVoid(audit) }))
      assert.isTrue(Option.isSome(yield* Effect.timeoutOption(Effect.scoped(opening), "1 minute")))
    })
  )
})

describe("pipelines", () => {
  it.effect(
    "what an interceptor of upsert wants done before the commit is done, also where inserts are intercepted",
    () =>
      Effect.gen(function* () {
        const { database } = yield* openNew
        const repository = yield* on(database)(Resource.make(notes))
        yield* repository.intercept({
          name: "outbox",
          operations: "upsert",
          before: ({ reject }) => Effect.succeed({ beforeCommit: [() => Effect.fail(reject("the outbox is full"))] })
        })
        const upsert = repository.upsert({ id: "1", text: "x" })
        assert.strictEqual(yield* tagOf(upsert), "Rejected")
        yield* repository.intercept({ name: "log", operations: "insert", before: () => Effect.void })
        assert.strictEqual(yield* tagOf(upsert), "Rejected")
      })
  )
})

describe("history", () => {
  const definition = Resource.define("notes", {
    schema: Note,
    primaryKey: "id",
    history: true,
    unique: { text: ["text"] }
  })

  it.effect("pruning removes every copy of a version, also one of before an aborted transaction", () =>
    Effect.gen(function* () {
      const { database, store } = yield* openNew
      const repository = yield* on(database)(Resource.make(definition))
      yield* repository.insert({ id: "1", text: "private" })
      yield* repository.insert({ id: "2", text: "two" })
      yield* repository.insert({ id: "3", text: "three" })
      // The first is announced, and taken back since the second cannot have its value.
      const aborted = database.transaction(
        Effect.andThen(repository.update("1", { text: "never" }), repository.update("2", { text: "three" }))
      )
      assert.strictEqual(yield* tagOf(aborted), "UniqueViolation")
      yield* repository.update("1", { text: "public" })
      const { pruneHistory } = yield* repository.admin
      yield* Stream.runDrain(pruneHistory({ keep: 0 }))
      const left = yield* Stream.runCollect(Stream.map(repository.history("1"), ({ value }) => value.text))
      assert.deepStrictEqual([...left], [])
      const keys = (yield* keysOf(store)).filter((key) => key.includes("/historical/id=1/"))
      assert.deepStrictEqual(keys, [])
    })
  )
})

describe("catalog", () => {
  const broken = { damaged: "{", newer: JSON.stringify({ version: "99" }) } as const
  const expected = { damaged: "Corrupt", newer: "Unsupported" } as const

  for (const state of ["damaged", "newer"] as const) {
    it.effect(`a catalog that is ${state} since it was opened is told as such by what changes it`, () =>
      Effect.gen(function* () {
        const { database, store } = yield* openNew
        yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(broken[state]) })
        const outcomes = [
          yield* tagOf(on(database)(Resource.make(notes))),
          yield* tagOf(database.setPlugin("plugin", 1))
        ]
        assert.deepStrictEqual(outcomes, [expected[state], expected[state]])
      })
    )
  }
})

describe("migrations", () => {
  it.effect("a secret of before that a migration leaves over is shown by nothing, and stored no more", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* (yield* openOn(store)).open("moved", {
        schema: Schema.Struct({
          id: Schema.String,
          name: Schema.String,
          token: Attribute.SecretText,
          at: Schema.Struct({ city: Schema.String, door: Attribute.SecretText })
        }),
        primaryKey: "id",
        version: 1
      })
      const hush = Redacted.make("HUSH, nobody hears")
      yield* before.insert({ id: "1", name: "Ada", token: hush, at: { city: "Recife", door: hush } })
      const after = yield* (yield* openOn(store)).open("moved", {
        schema: Schema.Struct({ id: Schema.String, first: Schema.String, at: Schema.Struct({ city: Schema.String }) }),
        primaryKey: "id",
        version: 2,
        migrations: { 1: ({ name, ...rest }) => ({ ...rest, first: name! }) }
      })
      const shown = { id: "1", first: "Ada", at: { city: "Recife" } }
      assert.deepStrictEqual(yield* after.getJson("1"), shown)
      assert.deepStrictEqual(yield* Stream.runCollect(after.queryJson({ scan: true })), [shown])
      yield* after.update("1", { first: "Bo" })
      const stored = yield* store.get("resource=moved/data/id=1")
      assert.notInclude(JSON.stringify(stored.metadata) + new TextDecoder().decode(stored.body), "HUSH, nobody hears")
    }).pipe(Effect.provide(ringOf(1)))
  )
})

describe("backfill", () => {
  it.effect("each index is complete when every document has what that wants of it", () =>
    Effect.gen(function* () {
      const Thing = Schema.Struct({ id: Schema.String, n: Schema.Int, o: Schema.String })
      const { database, store } = yield* openNew
      const before = yield* on(database)(Resource.make(Resource.define("things", { schema: Thing, primaryKey: "id" })))
      yield* before.insert({ id: "1", n: 1, o: "a" })
      yield* before.insert({ id: "2", n: 1, o: "b" })
      const things = Resource.define("things", {
        schema: Thing,
        primaryKey: "id",
        partitions: { byO: ["o"] },
        unique: { n: ["n"] }
      })
      const after = yield* on((yield* openOn(store)).database)(Resource.make(things))
      const { backfill } = yield* after.admin
      const { told, unfinished } = yield* tellingOf(backfill())
      assert.deepStrictEqual(
        told.map(({ violations }) => violations.map(({ unique }) => unique)),
        [[], ["n"]]
      )
      assert.deepStrictEqual(unfinished?.left, [{ id: "2", why: 'document "1" has its value of unique key n' }])
      // A marker does not depend on a unique key.
      assert.strictEqual((yield* Stream.runCollect(after.scan({ partition: "byO" }))).length, 2)
      assert.strictEqual((yield* Stream.runCollect(after.query({ where: { o: "b" } }))).length, 1)
      const refused = yield* Effect.flip(after.getByUnique("n", { n: 1 }))
      assert.include(refused.message, 'document "2" (document "1" has its value of unique key n) could not be written')
      // The next run begins with what was left, and knows of nothing else to do.
      assert.deepStrictEqual(
        (yield* tellingOf(backfill())).told.map(({ id }) => id),
        ["2"]
      )
      yield* after.update("2", { n: 2 })
      assert.deepStrictEqual(
        (yield* Stream.runCollect(backfill())).map(({ id }) => id),
        ["2"]
      )
      assert.strictEqual((yield* after.getByUnique("n", { n: 2 })).id, "2")
    })
  )
})

describe("JSON form", () => {
  it.effect("a default is made where a field is missing, and patchJson is a patch", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const visits = Resource.define("visits", {
        schema: Schema.Struct({
          id: Id.Random,
          email: Schema.String,
          count: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(0)))
        }),
        primaryKey: "id"
      })
      const repository = yield* on(database)(Resource.make(visits))
      const made = yield* repository.insertJson({ email: "a" })
      assert.strictEqual(made["count"], 0)
      const rules = Resource.fromAttributes("rules", { email: "string", state: "enum|values:open,paid|default:open" })
      const ruled = yield* (yield* on(database)(Resource.make(rules))).insertJson({ email: "a" })
      assert.strictEqual(ruled["state"], "open")
      yield* repository.intercept({
        operations: "patch",
        before: ({ reject }) => Effect.fail(reject("no patches"))
      })
      assert.strictEqual(yield* tagOf(repository.patchJson(String(made["id"]), { count: 2 })), "Rejected")
      assert.strictEqual(yield* tagOf(repository.updateJson(String(made["id"]), { count: 2 })), "done")
    })
  )

  const Part = Schema.Struct({ x: Schema.Int, y: Schema.optionalKey(Schema.Int) })
  const Whole = Schema.Struct({
    id: Schema.String,
    part: Schema.optionalKey(Part),
    soft: Schema.optionalKey(Schema.Struct({ y: Schema.optionalKey(Schema.Int) })),
    json: Schema.optionalKey(Schema.Json),
    union: Schema.optionalKey(Schema.Union([Schema.NullOr(Schema.String), Schema.Int]))
  })
  const opened = Effect.gen(function* () {
    const { open } = yield* openNew
    const repository = yield* open("wholes", { schema: Whole, primaryKey: "id" })
    yield* repository.insertJson({ id: "1", part: { x: 1, y: 2 }, json: 1, union: 1 })
    return repository
  })

  it.effect("null is stored where it is a value of the field", () =>
    Effect.gen(function* () {
      const repository = yield* opened
      const changed = yield* repository.updateJson("1", { json: null, union: null })
      assert.deepStrictEqual(changed, { id: "1", part: { x: 1, y: 2 }, json: null, union: null })
      assert.deepStrictEqual(yield* repository.update("1", { json: null, union: null }), changed)
    })
  )

  it.effect("null removes an optional field of an object that is replaced or made, as undefined does", () =>
    Effect.gen(function* () {
      const repository = yield* opened
      assert.deepStrictEqual((yield* repository.patch("1", { soft: { y: undefined } })).soft, {})
      yield* repository.update("1", { soft: undefined })
      assert.deepStrictEqual((yield* repository.updateJson("1", { part: { x: 1, y: null } }))["part"], { x: 1 })
      assert.deepStrictEqual((yield* repository.patchJson("1", { soft: { y: null } }))["soft"], {})
    })
  )

  it.effect("an error tells nothing of what is inside a secret", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("secrets", {
        schema: Schema.Struct({
          id: Schema.String,
          secret: Attribute.Secret(Schema.Struct({ kind: Schema.Literals(["blue"]) }))
        }),
        primaryKey: "id"
      })
      yield* repository.insertJson({ id: "1", secret: { kind: "blue" } })
      const failures = [
        yield* Effect.flip(repository.insertJson({ id: "2", secret: { kind: "blue", "key-of-a-secret": 1 } })),
        yield* Effect.flip(repository.updateJson("1", { secret: { kind: "blue", "key-of-a-secret": 1 } })),
        yield* Effect.flip(repository.insertJson({ id: "2", secret: { kind: "red" } }))
      ]
      for (const failure of failures) {
        assert.strictEqual(failure._tag, "InvalidInput")
        if (failure._tag === "InvalidInput") {
          assert.deepStrictEqual(
            failure.issues.map(({ path }) => path),
            [["secret"]]
          )
        }
        assert.notInclude(failure.message, "key-of-a-secret")
        assert.notInclude(failure.message, "blue")
      }
    }).pipe(Effect.provide(ringOf(1)))
  )
})

describe("what was sent once and arrives twice", () => {
  it.effect("stays reachable where the answer is that of the second, and nobody can be asked after", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const throttled = new StoreError({ operation: "get", reason: new Throttled({ description: "later" }) })
      const isNote = (key: string) => key.startsWith("resource=notes/data/")
      let isDown = false
      let isTwice = false
      const store: ObjectStore["Service"] = {
        ...inner,
        capabilities: { ...localCapabilities, sureAnswers: false },
        put: (request) => {
          if (!isNote(request.key) || !isTwice) return inner.put(request)
          isDown = true
          return Effect.andThen(inner.put(request), inner.put(request))
        },
        get: (key, options) => (isDown && isNote(key) ? Effect.fail(throttled) : inner.get(key, options))
      }
      const { open } = yield* openOn(store)
      const notes = yield* open("notes", {
        schema: Note,
        primaryKey: "id",
        partitions: { byText: ["text"] },
        journal: true
      })
      yield* notes.insert({ id: "1", text: "first" })
      isTwice = true
      const error = yield* Effect.flip(notes.patch("1", { text: "second" }))
      assert.strictEqual(error._tag === "DbError" ? error.outcome : error._tag, "unknown")
      isTwice = false
      isDown = false
      assert.strictEqual((yield* notes.get("1")).text, "second")
      const found = yield* Stream.runCollect(notes.scan({ partition: "byText", values: { text: "second" } }))
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        ["1"]
      )
      const entries = (yield* keysOf(inner, "journal/pending/")).length
      assert.strictEqual(entries, 2)
    })
  )
})
