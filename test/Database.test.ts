import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"

type Store = ObjectStore["Service"]

const text = (value: string) => new TextEncoder().encode(value)
const memory = Effect.map(MemoryStore.make(), ({ store }) => store)
const open = (store: Store, options?: Database.Options) =>
  Database.make(options).pipe(Effect.provideService(ObjectStore, store))
const catalogText = (store: Store, key = "s3db.json") =>
  Effect.map(store.get(key), ({ body }) => new TextDecoder().decode(body))
const catalogOf = (store: Store) =>
  Effect.map(
    catalogText(store),
    (json) =>
      JSON.parse(json) as {
        version: string
        resources: Record<
          string,
          { currentVersion: string; attributes: object; versions: Record<string, { hash: string }> }
        >
      }
  )

const define = (fields: Schema.Struct.Fields, name = "things") =>
  Resource.define(name, { schema: Schema.Struct({ id: Schema.String, ...fields }) as never, primaryKey: "id" as never })

const on = (database: Database.Database["Service"]) => ({
  resource: <S extends Parameters<typeof Resource.make>[0]["schema"]>(definition: Resource.Definition<S>) =>
    Resource.make(definition).pipe(Effect.provideService(Database.Database, database))
})

const countingPuts = (store: Store) => {
  const puts: Array<string> = []
  const counted: Store = {
    ...store,
    put: (request) => {
      puts.push(request.key)
      return store.put(request)
    }
  }
  return { puts, store: counted }
}

describe("Database", () => {
  it.effect("T5 and T12: an empty store gets a catalog, a healthy one is left alone", () =>
    Effect.gen(function* () {
      const { puts, store } = countingPuts(yield* memory)
      yield* open(store)
      const catalog = yield* catalogOf(store)
      assert.strictEqual(catalog.version, "1")
      assert.deepStrictEqual(catalog.resources, {})
      assert.deepStrictEqual(puts, ["s3db.json", "s3db.json.backup"])
      const before = yield* store.head("s3db.json")
      yield* open(store)
      assert.strictEqual(puts.length, 2)
      assert.deepStrictEqual(yield* store.head("s3db.json"), before)
    })
  )

  it.effect("T6 and T7: versions of definitions", () =>
    Effect.gen(function* () {
      const { puts, store } = countingPuts(yield* memory)
      const database = yield* open(store)
      const v1 = define({ a: Schema.String, b: Schema.Number })
      assert.strictEqual((yield* database.register(v1)).version, 1)
      const written = puts.length
      assert.strictEqual((yield* database.register(define({ b: Schema.Number, a: Schema.String }))).version, 1)
      assert.strictEqual(puts.length, written)
      const v2 = define({ b: Schema.Number, a: Schema.String, c: Schema.optionalKey(Schema.Boolean) })
      assert.strictEqual((yield* database.register(v2)).version, 2)
      const { things } = (yield* catalogOf(store)).resources
      assert.strictEqual(things!.currentVersion, "v2")
      assert.match(things!.versions["v1"]!.hash, /^sha256:[0-9a-f]{64}$/)
      // An old program comes back.
      const later = yield* open(store)
      assert.strictEqual((yield* later.register(v1)).version, 1)
      assert.deepStrictEqual(yield* later.compare([v1, define({ z: Schema.String }), define({}, "fresh")]), [
        { resource: "things", state: "Unchanged" },
        { resource: "things", state: "Changed" },
        { resource: "fresh", state: "New" }
      ])
      assert.deepStrictEqual(yield* later.compare([]), [{ resource: "things", state: "Undeclared" }])
      const listed = yield* later.listResources
      assert.deepStrictEqual(
        listed.map(({ name, primaryKey, version, versions }) => ({ name, primaryKey, version, versions })),
        [{ name: "things", primaryKey: "id", version: 2, versions: 2 }]
      )
      const events = yield* Stream.runCollect(Stream.take(database.definitionEvents, 2))
      assert.deepStrictEqual(events[0], { _tag: "ResourceCreated", resource: "things", version: 1 })
      assert.deepInclude(events[1], { _tag: "ResourceChanged", from: 1, to: 2, added: ["c"], removed: [], changed: [] })
    })
  )

  it.effect("T8 and T51: fields come and go, documents stay readable", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* on(yield* open(store)).resource(
        Resource.define("things", {
          schema: Schema.Struct({ id: Schema.String, a: Schema.String, b: Schema.String }),
          primaryKey: "id"
        })
      )
      yield* first.insert({ id: "1", a: "A", b: "B" })
      const second = yield* on(yield* open(store)).resource(
        Resource.define("things", {
          schema: Schema.Struct({
            id: Schema.String,
            z: Schema.optionalKey(Schema.Finite),
            b: Schema.String,
            sub: Schema.optionalKey(Schema.Struct({ x: Schema.String }))
          }),
          primaryKey: "id"
        })
      )
      assert.deepStrictEqual(yield* second.get("1"), { id: "1", b: "B" })
      yield* second.update("1", { z: 5, sub: { x: "y" } })
      // What the second program does not know is kept for the first, and the other way round, without opening anew.
      assert.deepStrictEqual(yield* first.get("1"), { id: "1", a: "A", b: "B" })
      yield* first.update("1", { a: "A2" })
      assert.deepStrictEqual(yield* second.get("1"), { id: "1", b: "B", z: 5, sub: { x: "y" } })
      assert.strictEqual((yield* first.getDocument("1")).schemaVersion, 2)
      // A field of another type is another attribute, but its place is the same: a value that does not fit is told.
      const Retyped = Schema.Struct({ id: Schema.String, a: Schema.optionalKey(Schema.Finite) })
      const third = yield* on(yield* open(store)).resource(
        Resource.define("things", { schema: Retyped, primaryKey: "id" })
      )
      const unfit = yield* Effect.flip(third.get("1"))
      assert.include(unfit.message, "of schema version 2 does not fit the schema")
      assert.notInclude(unfit.message, "A2")
      // A migration makes it fit; the definition is the same, so that the version has to be given.
      const fourth = yield* on(yield* open(store)).resource(
        Resource.define("things", {
          schema: Retyped,
          primaryKey: "id",
          version: 4,
          migrations: { 2: ({ a, ...rest }) => ({ ...rest, a: String(a).length }) }
        })
      )
      assert.deepStrictEqual(yield* fourth.get("1"), { id: "1", a: 2 })
      yield* fourth.update("1", { a: 7 })
      assert.deepStrictEqual(yield* third.get("1"), { id: "1", a: 7 })
      // What fits is read, whatever its codec was.
      const fifth = yield* on(yield* open(store)).resource(
        Resource.define("things", {
          schema: Schema.Struct({ id: Schema.String, a: Schema.Union([Schema.Finite, Schema.Array(Schema.String)]) }),
          primaryKey: "id"
        })
      )
      assert.deepStrictEqual(yield* fifth.get("1"), { id: "1", a: 7 })
    })
  )

  it.effect("T50 and T52: many attributes, and names like ids", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const names = ["a", "b", "1", "0", "10", ...Array.from({ length: 80 }, (_, i) => `field${i}`)]
      const schema = Schema.Struct({ id: Schema.String, ...Object.fromEntries(names.map((n) => [n, Schema.String])) })
      const things = yield* on(yield* open(store)).resource(
        Resource.define("many", { schema, primaryKey: "id" as never })
      )
      const value = { id: "x", ...Object.fromEntries(names.map((n) => [n, `value of ${n}`])) }
      yield* things.insert(value)
      assert.deepStrictEqual<unknown>(yield* things.get("x"), value)
    })
  )

  it.effect("T9: broken JSON is mended, and its bytes are kept", () =>
    Effect.gen(function* () {
      for (const spoil of [
        (json: string) => json.replace(/}\s*$/, ",}"),
        (json: string) => json.replace('"version"', "version"),
        (json: string) => json.trimEnd().slice(0, -1)
      ]) {
        const store = yield* memory
        yield* (yield* open(store)).register(define({ a: Schema.String }))
        const spoiled = spoil(yield* catalogText(store))
        yield* store.put({ key: "s3db.json", body: text(spoiled) })
        const database = yield* open(store)
        assert.deepStrictEqual(
          (yield* database.listResources).map(({ name, version }) => [name, version]),
          [["things", 1]]
        )
        const [event] = yield* Stream.runCollect(Stream.take(database.definitionEvents, 1))
        if (event?._tag !== "CatalogHealed") return assert.fail("expected CatalogHealed")
        assert.match(event.savedAs, /^s3db\.json\.corrupted\.[0-9TZ-]+\.backup$/)
        assert.strictEqual(yield* catalogText(store, event.savedAs), spoiled)
        assert.deepStrictEqual((yield* Effect.map(catalogText(store), JSON.parse)).version, "1")
      }
    })
  )

  it.effect("T10: what cannot be mended is put aside; the backup takes its place, or a blank catalog", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const database = yield* open(store)
      const things = yield* on(database).resource(
        Resource.define("things", { schema: Schema.Struct({ id: Schema.String, a: Schema.String }), primaryKey: "id" })
      )
      yield* things.insert({ id: "1", a: "old" })
      yield* store.put({ key: "s3db.json", body: text("\u0000\u0001 garbage") })
      const restored = yield* open(store)
      const [event] = yield* Stream.runCollect(Stream.take(restored.definitionEvents, 1))
      assert.strictEqual(event?._tag, "CatalogRestored")
      assert.strictEqual((yield* restored.listResources).length, 1)
      const saved = (yield* store.list({ prefix: "s3db.json.corrupted." })).entries
      assert.strictEqual(saved.length, 1)
      assert.strictEqual(yield* catalogText(store, saved[0]!.key), "\u0000\u0001 garbage")

      // The catalog and its backup are both gone: old documents are refused, not misread.
      yield* store.deleteMany(["s3db.json", "s3db.json.backup"])
      const blank = yield* open(store)
      const other = yield* on(blank).resource(
        Resource.define("things", { schema: Schema.Struct({ id: Schema.String, b: Schema.String }), primaryKey: "id" })
      )
      const error = yield* Effect.flip(other.get("1"))
      assert.strictEqual(error._tag === "DbError" && error.reason._tag, "Corrupt")
      yield* other.insert({ id: "2", b: "new" })
      assert.deepStrictEqual(yield* other.get("2"), { id: "2", b: "new" })

      yield* store.put({ key: "s3db.json", body: text("[]") })
      yield* store.delete("s3db.json.backup")
      const replaced = yield* open(store)
      const [last] = yield* Stream.runCollect(Stream.take(replaced.definitionEvents, 1))
      assert.strictEqual(last?._tag, "CatalogReplaced")
      // Only the catalog is lost: the backup is used.
      yield* store.delete("s3db.json")
      assert.strictEqual(
        (yield* Stream.runCollect(Stream.take((yield* open(store)).definitionEvents, 1)))[0]?._tag,
        "CatalogRestored"
      )
    })
  )

  it.effect("T11: structure is healed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* open(store)).register(define({ a: Schema.String }))
      const healthy = yield* Effect.map(catalogText(store), JSON.parse)
      const { things } = healthy.resources
      yield* store.delete("s3db.json.backup")
      const damaged = {
        version: 1,
        store: { location: 5 },
        firstAttribute: 3,
        resources: {
          things: { ...things, currentVersion: "v9" },
          none: { currentVersion: "v1", attributes: {}, versions: {} },
          text: "no resource",
          half: {
            currentVersion: "v1",
            attributes: { "0": { path: ["a"], codec: "string" }, "!": {}, "1": { path: 5 } },
            versions: { v1: things.versions.v1, v2: "broken", x: things.versions.v1 }
          }
        }
      }
      yield* store.put({ key: "s3db.json", body: text(JSON.stringify(damaged)) })
      const database = yield* open(store)
      assert.deepStrictEqual(
        (yield* database.listResources).map(({ name, version }) => [name, version]),
        [
          ["half", 1],
          ["things", 1]
        ]
      )
      const [event] = yield* Stream.runCollect(Stream.take(database.definitionEvents, 1))
      if (event?._tag !== "CatalogHealed") return assert.fail("expected CatalogHealed")
      const told = event.repairs.join("\n")
      for (const what of [
        "version",
        "writeId",
        "store",
        "none",
        "text",
        "currentVersion",
        "v2",
        "attribute !",
        "nextAttribute"
      ]) {
        assert.include(told, what)
      }
      assert.strictEqual((yield* database.register(define({ a: Schema.String }))).version, 1)

      // What a mended catalog has lost is taken from the backup.
      yield* store.put({
        key: "s3db.json",
        body: text('{"version":"1","writeId":"","lastUpdated":"","resources":"?"}')
      })
      assert.strictEqual((yield* (yield* open(store)).listResources).length, 2)
    })
  )

  describe("an attribute that somebody has changed in the catalog by hand", () => {
    const Thing = Schema.Struct({
      id: Schema.String,
      name: Schema.String,
      n: Schema.Int,
      in: Schema.Struct({ a: Schema.String })
    })
    const definition = Resource.define("things", { schema: Thing, primaryKey: "id" })
    const thing = { id: "1", name: "Ada", n: 5, in: { a: "deep" } }
    const changes = {
      "another path": ['"path":["name"]', '"path":["nmae"]'],
      "another path in a struct": ['"path":["in","a"]', '"path":["in","b"]'],
      "another codec": ['"path":["n"],"codec":"number"', '"path":["n"],"codec":"string"']
    } as const
    const spoiled = Effect.fnUntraced(function* (change: keyof typeof changes) {
      const store = yield* memory
      const things = yield* on(yield* open(store)).resource(definition)
      yield* things.insert(thing)
      const catalog = JSON.parse(yield* catalogText(store))
      const { attributes } = catalog.resources.things
      const [from, to] = changes[change]
      const text = JSON.stringify(attributes).replace(from, to)
      assert.notStrictEqual(text, JSON.stringify(attributes))
      catalog.resources.things.attributes = JSON.parse(text)
      const bytes = JSON.stringify(catalog)
      yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(bytes) })
      return { store, bytes, things }
    })

    for (const change of Object.keys(changes) as ReadonlyArray<keyof typeof changes>) {
      it.effect(`${change}: the backup puts it back, and that is told`, () =>
        Effect.gen(function* () {
          const { bytes, store } = yield* spoiled(change)
          const database = yield* open(store)
          const [event] = yield* Stream.runCollect(Stream.take(database.definitionEvents, 1))
          if (event?._tag !== "CatalogHealed") return assert.fail("expected CatalogHealed")
          assert.lengthOf(event.repairs, 1)
          assert.match(
            event.repairs[0]!,
            /^attribute \w of resource things was changed from \S+ \(\w+\) to \S+ \(\w+\)$/
          )
          assert.strictEqual(yield* catalogText(store, event.savedAs), bytes)
          const things = yield* on(database).resource(definition)
          assert.deepStrictEqual(yield* things.get("1"), thing)
          yield* things.update("1", { n: 6 })
          // It is written, so that the next one finds it healthy.
          const { attributes } = JSON.parse(yield* catalogText(store)).resources.things
          assert.include(JSON.stringify(attributes), changes[change][0])
        })
      )

      it.effect(`${change}: without a backup the resource is refused, nothing is written, and what to do is told`, () =>
        Effect.gen(function* () {
          const { bytes, store, things } = yield* spoiled(change)
          yield* store.delete("s3db.json.backup")
          const database = yield* open(store)
          const refused = yield* Effect.flip(on(database).resource(definition))
          const reason = refused._tag === "DbError" ? refused.reason : undefined
          assert.strictEqual(reason?._tag, "Corrupt")
          const [from, to] = changes[change].map((text) => JSON.parse(`{${text}}`).path.join("."))
          assert.match(refused.message, /attribute \w of things is/)
          assert.include(refused.message, `is ${to} (`)
          assert.include(refused.message, `no id for ${from} (`)
          assert.match(refused.message, /put back what it was, at resources.things.attributes.\w in s3db.json/)
          assert.strictEqual(yield* catalogText(store), bytes)
          // Another resource opens all the same, and writes the catalog.
          yield* database.register({ ...definition, name: "others" })
          // By hand, as it says.
          const catalog = JSON.parse(yield* catalogText(store))
          catalog.resources.things.attributes = JSON.parse(
            JSON.stringify(catalog.resources.things.attributes).replace(changes[change][1], changes[change][0])
          )
          yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(JSON.stringify(catalog)) })
          const mended = yield* on(yield* open(store)).resource(definition)
          assert.deepStrictEqual(yield* mended.get("1"), thing)
          // Who had it open all the time has seen none of it.
          assert.deepStrictEqual(yield* things.get("1"), thing)
        })
      )
    }

    it.effect("costs nothing where nothing is wrong", () =>
      Effect.gen(function* () {
        const { counter, store } = InstrumentedStore.make(yield* memory)
        yield* on(yield* open(store)).resource(definition)
        yield* counter.reset
        yield* on(yield* open(store)).resource(definition)
        const { get, list, put } = yield* counter.counts
        assert.deepStrictEqual({ get, list, put }, { get: 1, list: 0, put: 0 })
      })
    )
  })

  it.effect("a later format is left alone", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const later = '{"version":"2","resources":{}}'
      yield* store.put({ key: "s3db.json", body: text(later) })
      const error = yield* Effect.flip(open(store))
      assert.strictEqual(error.reason._tag, "Unsupported")
      assert.include(error.message, "upgrade")
      assert.strictEqual(yield* catalogText(store), later)
    })
  )

  it.effect("T14: processes that define resources at once all succeed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const databases = yield* Effect.forEach(Array.from({ length: 6 }), () => open(store), {
        concurrency: "unbounded"
      })
      yield* Effect.forEach(
        databases,
        (database, i) =>
          Effect.all([
            database.register(define({ [`own${i}`]: Schema.String }, `resource${i}`)),
            database.register(define({ [`field${i}`]: Schema.optionalKey(Schema.String) }, "shared"))
          ]),
        { concurrency: "unbounded" }
      )
      const { resources } = yield* catalogOf(store)
      assert.strictEqual(Object.keys(resources).length, 7)
      assert.strictEqual(Object.keys(resources["shared"]!.versions).length, 6)
      const ids = Object.keys(resources["shared"]!.attributes)
      assert.strictEqual(new Set(ids).size, 6)
      // Each sees the others after a look.
      yield* databases[0]!.refresh
      assert.strictEqual((yield* databases[0]!.listResources).length, 7)
      yield* store.put({ key: "s3db.json", body: text("broken") })
      const broken = yield* Effect.flip(databases[0]!.refresh)
      assert.strictEqual(broken.reason._tag, "Corrupt")
    })
  )

  it.live("one that waits for its store is given up by who is interrupted, and can be opened afterwards", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const silent: Store = { ...store, get: () => Effect.never }
      const opening = (given: Store) =>
        Effect.scoped(Layer.build(Layer.fresh(Database.layer))).pipe(Effect.provideService(ObjectStore, given))
      const waiting = yield* Effect.forkDetach(opening(silent))
      yield* Effect.sleep("20 millis")
      yield* Effect.timeout(Fiber.interrupt(waiting), "1 second")
      yield* opening(store)
    })
  )

  it.effect("a store that has to be probed is probed once", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "rgw" })
      const first = yield* open(store)
      assert.isTrue(first.capabilities.compareAndSet)
      assert.strictEqual(first.capabilities.etagForm, "unquoted")
      const { puts, store: counted } = countingPuts(store)
      const second = yield* open(counted)
      assert.deepStrictEqual(second.capabilities, first.capabilities)
      assert.deepStrictEqual(puts, [])
      yield* second.register(define({ a: Schema.String }))
      // Another place is another store.
      yield* open({ ...counted, location: "elsewhere" })
      assert.isTrue(puts.some((key) => key.startsWith("s3db-probe/")))
      assert.deepStrictEqual((yield* store.list({ prefix: "s3db-probe/" })).entries, [])
    })
  )

  it.live(
    "a store without conditions is refused, or has a single writer",
    () =>
      Effect.gen(function* () {
        for (const profile of ["unconditional", "swift"] as const) {
          const { store } = yield* MemoryStore.make({ profile })
          const refused = yield* Effect.flip(open(store))
          assert.strictEqual(refused.reason._tag, "Unsupported")
          assert.include(refused.message, "singleWriter: true")
          assert.deepStrictEqual((yield* store.list()).entries, [])
          const database = yield* open(store, { singleWriter: true })
          const things = yield* on(database).resource(
            Resource.define("things", { schema: Schema.Struct({ id: Schema.String, n: Schema.Int }), primaryKey: "id" })
          )
          yield* things.insert({ id: "a", n: 0 })
          assert.strictEqual((yield* Effect.flip(things.insert({ id: "a", n: 0 })))._tag, "AlreadyExists")
          yield* Effect.forEach(Array.from({ length: 8 }), () => things.update("a", ({ n }) => ({ n: n + 1 })), {
            concurrency: "unbounded"
          })
          assert.strictEqual((yield* things.get("a")).n, 8)
          yield* open(store, { singleWriter: true })
        }
      }),
    120_000
  )

  it.effect("a catalog whose answer was lost is recognised", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let lose = false
      const flaky: Store = {
        ...store,
        put: (request) =>
          lose && request.key === "s3db.json"
            ? Effect.flatMap(store.put(request), () => {
                lose = false
                return Effect.fail(
                  new StoreError({
                    operation: "put",
                    key: request.key,
                    reason: new Timeout({ description: "lost", afterMillis: 1 })
                  })
                )
              })
            : store.put(request)
      }
      const database = yield* open(flaky)
      lose = true
      // A look at the catalog finds that this very process has written it.
      assert.strictEqual((yield* database.register(define({ a: Schema.String }))).version, 1)
      assert.isFalse(lose)
      const { etag } = yield* store.head("s3db.json")
      assert.strictEqual((yield* database.register(define({ a: Schema.String }))).version, 1)
      assert.strictEqual((yield* store.head("s3db.json")).etag, etag)
      assert.strictEqual(Object.keys((yield* catalogOf(store)).resources["things"]!.versions).length, 1)
    })
  )
})
