import { assert, describe, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Id from "effect-s3db/crypto/Id"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import type * as Document from "effect-s3db/Document"
import * as Resource from "effect-s3db/Resource"
import * as FileStore from "effect-s3db/storage/FileStore"
import { RequestCounter } from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore, type PutRequest } from "effect-s3db/storage/ObjectStore"
import * as StandardStore from "effect-s3db/storage/StandardStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"

const Address = Schema.Struct({
  city: Schema.optionalKey(Schema.String),
  geo: Schema.optionalKey(Schema.Struct({ lat: Schema.Finite, lon: Schema.Finite }))
})

class User extends Schema.Class<User>("test/User")({
  id: Id.Random,
  name: Schema.String.check(Schema.isMinLength(2)),
  n: Schema.Number.pipe(Schema.withConstructorDefault(Effect.succeed(0))),
  active: Schema.optionalKey(Schema.Boolean),
  joined: Schema.optionalKey(Schema.Date),
  seen: Schema.optionalKey(Schema.DateTimeUtc),
  role: Schema.optionalKey(Schema.Literals(["admin", "user"])),
  nick: Schema.optionalKey(Schema.NullOr(Schema.String)),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  scores: Schema.optionalKey(Schema.Record(Schema.String, Schema.Finite)),
  extra: Schema.optionalKey(Schema.Json),
  address: Schema.optionalKey(Address),
  bio: Schema.optionalKey(Schema.String)
}) {}

class Users extends Resource.Service<Users>()("test/users", { schema: User, primaryKey: "id" }) {}
class Disposable extends Resource.Service<Disposable>()("test/disposable", {
  schema: Schema.Struct({ id: Schema.String, v: Schema.optionalKey(Schema.Unknown) }),
  primaryKey: "id",
  allowDeleteAll: true
}) {}

const App = Layer.mergeAll(Users.layer, Disposable.layer).pipe(
  // These tests take longer than the lease, and count requests.
  // What fills the metadata to the byte is told of texts that would be compressed.
  Layer.provideMerge(Database.layerWith({ catalogLease: 0, compression: false })),
  Layer.provideMerge(StandardStore.layerWith({ baseDelay: 1 }))
)

const root = mkdtempSync(join(tmpdir(), "effect-s3db-resource-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const stores = {
  memory: Layer.fresh(MemoryStore.layer),
  file: FileStore.layer({ path: root, durability: "none" })
}

/** The requests that an effect makes. */
const requestsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const counter = yield* RequestCounter
    yield* counter.reset
    yield* Effect.exit(effect)
    const counts = yield* counter.counts
    return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
  })

for (const [name, store] of Object.entries(stores)) {
  // Beyond one page or two.
  const count = name === "memory" ? 2500 : 1100
  layer(App.pipe(Layer.provide(store)), { excludeTestServices: true, timeout: "120 seconds" })(
    `Resource on ${name}`,
    (it) => {
      it.effect("what goes in comes out", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const hostile = [
            "",
            " ",
            "  two",
            "trail ",
            "null",
            "undefined",
            "constructor",
            "__proto__",
            '{"a":1}',
            "u:x",
            "b:",
            "n:",
            "=?UTF-8?Q?x?=",
            "José",
            "李明",
            "a\nb\tc\0",
            "\ud800",
            "x\udc00y",
            "\u{1f600}\u{10ffff}",
            "100%",
            "1e-7",
            "https://api.example.com/é"
          ]
          for (const text of hostile) {
            const made = yield* users.insert({
              name: `n ${text}`,
              bio: text,
              nick: text,
              tags: [text, "", text],
              extra: { [text === "__proto__" ? "k" : text]: [text, null, { deep: [-0, 1e-7, true] }] }
            })
            const read = yield* users.get(made.id)
            assert.deepStrictEqual(read, made)
            assert.isTrue(read instanceof User)
            assert.include(JSON.stringify(Object.values(read.extra as object)), "true")
            const [[, , { deep }]] = Object.values(
              read.extra as Record<string, [string, null, { deep: Array<number> }]>
            ) as [[string, null, { deep: Array<number> }]]
            assert.isTrue(Object.is(deep[0], -0))
          }
          const numbers = [
            0,
            -0,
            1,
            -1,
            61,
            62,
            0.1,
            1e-7,
            1e21,
            1e308,
            5e-324,
            2 ** 53 - 1,
            -(2 ** 53),
            NaN,
            Infinity,
            -Infinity
          ]
          for (const n of numbers) {
            const { id } = yield* users.insert({ name: "number", n })
            assert.isTrue(Object.is((yield* users.get(id)).n, n), String(n))
          }
          const instants = [0, -1, 1e15, -62198755200000, 1705314600000]
          for (const instant of instants) {
            const made = yield* users.insert({
              name: "date",
              joined: new Date(instant),
              seen: DateTime.makeUnsafe(instant)
            })
            assert.deepStrictEqual(yield* users.get(made.id), made)
          }
          const shapes: ReadonlyArray<Partial<Resource.Insert<typeof User>>> = [
            { address: {} },
            { address: { city: "" } },
            { address: { geo: { lat: -23.5, lon: -0 } } },
            { nick: null },
            { tags: [] },
            { tags: [""] },
            { scores: {} },
            { scores: { "a.b": 1, toString: 2 } },
            { active: false, role: "admin" },
            { extra: null },
            { extra: [] },
            { extra: "text" }
          ]
          for (const shape of shapes) {
            const made = yield* users.insert({ name: "shape", ...shape })
            const read = yield* users.get(made.id)
            assert.deepStrictEqual(read, made)
            assert.deepStrictEqual(Object.keys(read).toSorted(), Object.keys(made).toSorted())
          }
        })
      )

      it.effect("fields fill the metadata to the byte and go on in the body", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const raw = yield* ObjectStore
          for (let size = 1980; size <= 2060; size++) {
            const made = yield* users.insert({ id: `size-${size}`, name: "size", bio: "x".repeat(size) })
            assert.strictEqual((yield* users.get(made.id)).bio!.length, size)
            const document = yield* users.getDocument(made.id)
            const head = yield* raw.head(`resource=users/data/id=size-${size}`)
            const bytes = Object.entries(head.metadata).reduce((sum, [k, v]) => sum + k.length + v.length, 0)
            assert.strictEqual(document.metadataBytes, bytes)
            assert.strictEqual(document.bodyBytes, head.size)
            assert.isAtMost(bytes, 2048)
            // "s-" and "t1", a name and a number of one byte each, and the ids: the rest may be used.
            const whole = 2 + 2 + 1 + "size".length + 1 + 1 + 1 + size
            assert.strictEqual(document.storedIn, whole <= 2048 ? "metadata" : "both")
          }
          const large = yield* users.insert({
            name: "large",
            bio: "é".repeat(200_000),
            tags: Array.from({ length: 5000 }, (_, i) => `t${i}`)
          })
          assert.deepStrictEqual(yield* users.get(large.id), large)
        })
      )

      it.effect("requests", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const { id } = yield* users.insert({ name: "requests" })
          const document = yield* users.getDocument(id)
          /** One that is there, and one that is new. */
          const twice = (id: string) => ["upserted", id].map((id) => ({ id, name: "twice" }))
          const cases: ReadonlyArray<readonly [Record<string, number>, Effect.Effect<unknown, unknown>]> = [
            [{ put: 1 }, users.insert({ name: "one" })],
            [{ put: 3 }, users.insertMany([{ name: "aa" }, { name: "bb" }, { name: "cc" }])],
            [{ get: 1 }, users.get(id)],
            [{ get: 1 }, users.getOption("missing")],
            [{ get: 2 }, users.getMany([id, "missing"])],
            [{ head: 1 }, users.exists(id)],
            [{ put: 1 }, users.update(document, { n: 1 })],
            // It has changed since: the HEAD finds the revision.
            [{ put: 1, get: 1 }, users.update(document, { n: 2 })],
            [{ get: 1, put: 1 }, users.update(id, { n: 3 })],
            [{ get: 1, put: 1 }, users.patch(id, { address: { city: "Rio" } })],
            [{ put: 1 }, users.replace({ id, name: "replaced" })],
            [{ get: 1, put: 1 }, users.upsert({ id: "upserted", name: "new" })],
            [{ get: 1, put: 1 }, users.upsert({ id: "upserted", name: "old" })],
            [{ put: 2, get: 1 }, users.upsert({ id: "upserted", name: "older" }, { createFirst: true })],
            [{ delete: 1 }, users.delete("upserted")],
            [{ put: 1 }, users.upsert({ id: "upserted", name: "new" }, { createFirst: true })],
            [{ put: 1 }, users.upsert({ name: "no id" })],
            [{ get: 2, put: 2 }, users.upsertMany(twice("upserted2"))],
            [{ put: 3, get: 1 }, users.upsertMany(twice("upserted3"), { createFirst: true })],
            [
              { put: 3, get: 1 },
              Stream.runDrain(
                users.writeAll(Stream.fromIterable(twice("upserted4")), { mode: "upsert", createFirst: true })
              )
            ],
            // One that is not valid is not looked for.
            [{}, users.upsert({ id: "upserted", name: "x" })],
            [{ deleteMany: 1 }, users.deleteMany(["upserted", "upserted2", "upserted3", "upserted4"])],
            [{ deleteMany: 1 }, users.deleteMany(["x", "y"])],
            [{ list: 1 }, users.count()],
            [{}, users.insert({ name: "a" })],
            [{}, users.get("")],
            [{}, users.documentOf(document.value)]
          ]
          for (const [expected, effect] of cases) assert.deepStrictEqual(yield* requestsOf(effect), expected)
          const all = yield* users.count()
          const scanned = yield* requestsOf(Stream.runDrain(users.scan()))
          assert.deepStrictEqual(scanned, { list: 1, get: all })
          const page = yield* requestsOf(users.list({ limit: 5 }))
          assert.deepStrictEqual(page, { list: 1, get: 5 })
        })
      )

      it.effect("ids and inputs that are wrong", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const before = yield* users.count()
          const issuesOf = (input: unknown) =>
            Effect.map(Effect.flip(users.insert(input as Resource.Insert<typeof User>)), (error) => {
              assert.strictEqual(error._tag, "InvalidInput")
              return error._tag === "InvalidInput" ? error.issues.map((issue) => issue.path.join(".")) : []
            })
          assert.deepStrictEqual(yield* issuesOf({ name: 1, n: "x", address: { geo: { lat: 1 } } }), [
            "name",
            "n",
            "address.geo.lon"
          ])
          assert.deepStrictEqual(yield* issuesOf({ name: "x" }), ["name"])
          assert.deepStrictEqual(yield* issuesOf({ name: "ok", id: "" }), ["id"])
          assert.deepStrictEqual(yield* issuesOf({ name: "ok", id: "\ud800" }), ["id"])
          assert.deepStrictEqual(yield* issuesOf({ name: "ok", id: "é".repeat(400) }), ["id"])
          // Of what is wrong with an id no schema knows.
          const both = { name: "x", id: "" }
          assert.deepStrictEqual(yield* issuesOf(both), ["id", "name"])
          const writes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
            users.insertJson(both),
            users.replace(both),
            users.replaceJson(both)
          ]
          for (const write of writes) {
            const error = yield* Effect.flip(write)
            const issues = error instanceof DbError.InvalidInput ? error.issues : []
            assert.deepStrictEqual(
              issues.map(({ path: [field] }) => field),
              ["id", "name"]
            )
          }
          const pollution = { name: "ok", extra: JSON.parse('{"a":{"__proto__":1}}') as never }
          assert.deepStrictEqual(yield* issuesOf(pollution), ["extra.a.__proto__"])
          const secret = yield* Effect.flip(users.insert({ name: "", bio: "hush" } as never))
          assert.notInclude(JSON.stringify(secret) + secret.message, "hush")
          assert.strictEqual(yield* users.count(), before)

          for (const id of ["..", "a/b", "a//b", "%2F", "id=x", "Ä", "\u{1f600}", "x".repeat(900), "__proto__"]) {
            const made = yield* users.insert({ id, name: "hostile" })
            assert.deepStrictEqual(yield* users.get(id), made)
            const taken = yield* Effect.flip(users.insert({ id, name: "again" }))
            assert.strictEqual(taken._tag, "AlreadyExists")
            assert.isTrue(yield* users.exists(id))
            assert.include(yield* Stream.runCollect(users.listIds()), id)
            yield* users.delete(id)
            assert.isFalse(yield* users.exists(id))
          }
          assert.strictEqual((yield* Effect.flip(users.get("missing")))._tag, "NotFound")
          assert.strictEqual((yield* Effect.flip(users.get("")))._tag, "NotFound")
          assert.isFalse(yield* users.exists(""))
          assert.strictEqual((yield* Effect.flip(users.delete("")))._tag, "InvalidInput")
          assert.strictEqual((yield* Effect.flip(users.deleteMany([""])))._tag, "InvalidInput")
          assert.strictEqual((yield* Effect.flip(users.list({ limit: 0 })))._tag, "InvalidInput")
          assert.strictEqual((yield* Effect.flip(users.list({ cursor: "foreign" })))._tag, "InvalidInput")
          assert.strictEqual((yield* Effect.flip(users.documentOf({ ...new User({ name: "ok" }) })))._tag, "NotFound")
        })
      )

      it.effect("changes", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const { id } = yield* users.insert({
            name: "before",
            address: { city: "Rio", geo: { lat: 1, lon: 2 } },
            tags: ["a"],
            bio: "long ".repeat(600)
          })
          const updated = yield* users.update(id, { name: "after", "address.city": "São Paulo", tags: ["b"] })
          assert.deepStrictEqual(yield* users.get(id), updated)
          assert.deepStrictEqual(updated.address, { city: "São Paulo", geo: { lat: 1, lon: 2 } })
          assert.deepStrictEqual(updated.tags, ["b"])
          const whole = yield* users.update(id, { address: { city: "x" } })
          assert.deepStrictEqual(whole.address, { city: "x" })
          const patched = yield* users.patch(id, { address: { geo: { lat: 3, lon: 4 } } })
          assert.deepStrictEqual(patched.address, { city: "x", geo: { lat: 3, lon: 4 } })
          const again = yield* users.patch(id, { address: { geo: { lat: 5 }, city: undefined }, bio: undefined })
          assert.deepStrictEqual(again.address, { geo: { lat: 5, lon: 4 } })
          assert.notProperty(again, "bio")
          const created = yield* users.update(id, { "address.geo.lat": 9, nick: null })
          assert.deepStrictEqual(yield* users.get(id), created)
          const effectful = yield* users.update(id, (user) => Effect.succeed({ n: user.n + 1 }))
          assert.strictEqual(effectful.n, 1)
          const failing = yield* Effect.flip(users.update(id, () => Effect.fail("no" as const)))
          assert.strictEqual(failing, "no")

          const wrong = (change: object) => Effect.map(Effect.flip(users.update(id, change)), (error) => error)
          for (const change of [
            { nmae: "x" },
            { "address.town": "x" },
            { "name.x": 1 },
            { name: 1 },
            { name: undefined },
            { id: "other" },
            { __proto__x: 1 }
          ]) {
            assert.strictEqual((yield* wrong(change))._tag, "InvalidInput", JSON.stringify(change))
          }
          assert.strictEqual((yield* Effect.flip(users.patch(id, { nope: 1 } as never)))._tag, "InvalidInput")
          assert.strictEqual(
            (yield* Effect.flip(users.patch(id, { address: { nope: 1 } } as never)))._tag,
            "InvalidInput"
          )
          assert.deepStrictEqual(yield* users.get(id), effectful)
          assert.strictEqual((yield* Effect.flip(users.update("missing", { n: 1 })))._tag, "NotFound")

          const replaced = yield* users.replace({ id, name: "whole" })
          assert.deepStrictEqual(yield* users.get(id), replaced)
          assert.notProperty(replaced, "address")
          const fresh = yield* users.replace({ id: "put", name: "created" })
          assert.deepStrictEqual(yield* users.get("put"), fresh)
          const upserted = yield* users.upsert({ id, name: "upserted", tags: ["t"] })
          assert.strictEqual(upserted.name, "upserted")
          assert.deepStrictEqual(yield* users.get(id), upserted)
        })
      )

      it.effect("nobody's change is lost", () =>
        Effect.gen(function* () {
          const users = yield* Users
          const { id } = yield* users.insert({ name: "counter" })
          const increment = users.update(id, (user) => Effect.as(Effect.yieldNow, { n: user.n + 1 }))
          yield* Effect.forEach(Array.from({ length: 8 }), () => Effect.repeat(increment, { times: 4 }), {
            concurrency: "unbounded"
          })
          assert.strictEqual((yield* users.get(id)).n, 40)

          const first = yield* users.getDocument(id)
          const value = yield* users.update(first, { n: 100 })
          const conflict = yield* Effect.flip(users.update(first, { n: 101 }))
          const now = yield* users.getDocument(id)
          assert.strictEqual(conflict._tag === "Conflict" && conflict.revision, now.revision)
          assert.notStrictEqual(first.revision, now.revision)
          assert.strictEqual((yield* users.documentOf(value)).revision, now.revision)
          assert.strictEqual(
            (yield* Effect.flip(users.update(id, { n: 1 }, { ifRevision: first.revision })))._tag,
            "Conflict"
          )
          assert.strictEqual((yield* users.update(id, { n: 7 }, { ifRevision: now.revision })).n, 7)
          assert.strictEqual(
            (yield* Effect.flip(users.replace({ id, name: "xx" }, { ifRevision: now.revision })))._tag,
            "Conflict"
          )
          // An envelope that comes from elsewhere is compared.
          const { ...copied } = yield* users.getDocument(id)
          assert.strictEqual((yield* users.update(copied, { n: 8 })).n, 8)
          assert.strictEqual((yield* Effect.flip(users.update(copied, { n: 9 })))._tag, "Conflict")
          const present = yield* users.getDocument(id)
          assert.strictEqual((yield* Effect.flip(users.delete(copied)))._tag, "Conflict")
          yield* users.delete(present)
          assert.strictEqual((yield* Effect.flip(users.delete(present)))._tag, "NotFound")
          assert.strictEqual((yield* Effect.flip(users.update(present, { n: 1 })))._tag, "NotFound")
          assert.strictEqual(
            (yield* Effect.flip(users.replace({ id, name: "xx" }, { ifRevision: now.revision })))._tag,
            "NotFound"
          )
          const racers = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, i) => i),
            (n) => Effect.result(users.insert({ id: "race", name: "racer", n })),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(racers.filter(Result.isSuccess).length, 1)
        })
      )

      it.effect(
        `${count} documents: all means all`,
        () =>
          Effect.gen(function* () {
            const items = yield* Disposable
            const ids = Array.from({ length: count }, (_, i) => `k${i}`)
            const inserted = yield* items.insertMany(
              [...ids, "k7"].map((id, i) => ({ id, v: i })),
              { concurrency: 32 }
            )
            assert.strictEqual(inserted.length, count + 1)
            assert.isTrue(inserted.slice(0, count).every(Result.isSuccess))
            const twice = inserted[count]!
            assert.strictEqual(Result.isFailure(twice) && twice.failure._tag, "AlreadyExists")
            assert.strictEqual(yield* items.count(), count)
            assert.deepStrictEqual((yield* Stream.runCollect(items.listIds())).toSorted(), ids.toSorted())
            const scanned = yield* Stream.runCollect(items.scan({ concurrency: 32 }))
            assert.deepStrictEqual(scanned.map((item) => item.id).toSorted(), ids.toSorted())
            const some = yield* items.getMany(["k5", "nope", "k3"])
            assert.deepStrictEqual(some.map(Option.map((item) => item.v)), [
              Option.some(5),
              Option.none(),
              Option.some(3)
            ])
            const seen: Array<string> = []
            let cursor: string | undefined
            do {
              const page: Resource.Page<{ readonly id: string }> = yield* items.list({ limit: 999, cursor })
              seen.push(...page.items.map((item) => item.id))
              cursor = page.cursor
            } while (cursor !== undefined)
            assert.deepStrictEqual(seen.toSorted(), ids.toSorted())
            // More than 1,000 are left.
            const few = ids.slice(0, count - 1050)
            const gone = yield* items.deleteMany(few)
            assert.deepStrictEqual(gone, { deleted: few, failed: [] })
            assert.deepStrictEqual(yield* requestsOf(items.deleteAll), { list: 2, deleteMany: 2 })
            assert.strictEqual(yield* items.count(), 0)
            const refused = yield* Effect.flip((yield* Users).deleteAll)
            assert.strictEqual(refused._tag, "NotAllowed")
          }),
        120_000
      )

      it.effect("a scan passes over what is deleted under it, and says what is broken", () =>
        Effect.gen(function* () {
          const items = yield* Disposable
          const raw = yield* ObjectStore
          yield* items.insertMany(Array.from({ length: 300 }, (_, i) => ({ id: `s${i}` })))
          const seen = yield* items.scan({ concurrency: 2 }).pipe(
            Stream.tap(({ id }) => (id === "s0" ? items.deleteMany(["s299", "s98"]) : Effect.void)),
            Stream.runCollect
          )
          assert.isAtLeast(seen.length, 298)
          const broken = [
            { body: "{}", metadata: { "s-": "t1" } },
            { body: "not json", metadata: { "s-": "t1" } },
            { body: '{"w":"w","t":1}', metadata: {} },
            { body: '{"w":"w","t":1}', metadata: { "s-": "z1" } },
            { body: '{"w":"w","t":1}', metadata: { "s-": "t1", zz: "1" } },
            { body: '{"w":"w","t":1}', metadata: { "s-": "t1", "0": "u:%zz" } }
          ]
          for (const { body, metadata } of broken) {
            yield* raw.put({
              key: "resource=disposable/data/id=broken",
              body: new TextEncoder().encode(body),
              metadata
            } as PutRequest)
            const error = yield* Effect.flip(items.get("broken"))
            assert.strictEqual(error._tag === "DbError" && error.reason._tag, "Corrupt", body)
            const failed = yield* Effect.flip(Stream.runDrain(items.scan()))
            assert.strictEqual(failed._tag === "DbError" && failed.reason._tag, "Corrupt")
          }
          // What is no document is not listed.
          yield* raw.put({ key: "resource=disposable/data/other" })
          yield* raw.put({ key: "resource=disposable/data/id=a/b" })
          yield* items.delete("broken")
          assert.isFalse((yield* Stream.runCollect(items.listIds())).some((id) => id.includes("other") || id === "a/b"))
          yield* items.deleteAll
        })
      )
    }
  )
}

describe("Resource", () => {
  it.effect("a definition that cannot be stored is refused at once", () =>
    Effect.sync(() => {
      const define = (schema: Schema.Top, primaryKey = "id") => Resource.define("x", { schema, primaryKey } as never)
      assert.throws(() => define(Schema.String), /struct/)
      assert.throws(() => define(Schema.Struct({ id: Schema.Number })), /primary key/)
      assert.throws(() => define(Schema.Struct({ id: Schema.optionalKey(Schema.String) })), /primary key/)
      assert.throws(() => define(Schema.Struct({ a: Schema.String })), /primary key/)
      assert.throws(() => define(Schema.Struct({ id: Schema.String, ["__proto__"]: Schema.String })), /__proto__/)
      assert.throws(
        () => Resource.define("x/", { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" }),
        /name/
      )
      // @ts-expect-error the primary key is a field of strings
      assert.throws(() => Resource.define("x", { schema: Schema.Struct({ id: Schema.Number }), primaryKey: "id" }))
    })
  )

  it.effect("can be mocked member by member", () =>
    Effect.gen(function* () {
      const users = yield* Users
      assert.strictEqual((yield* users.get("1")).name, "mock")
      assert.strictEqual(Users.definition.name, "users")
    }).pipe(Effect.provide(Layer.mock(Users, { get: (id) => Effect.succeed(new User({ id, name: "mock" })) })))
  )

  /** A store that loses the answer of some puts, before or after they are carried out. */
  const faulty = (plan: Array<"before" | "after" | "ok">, onPut: Effect.Effect<void> = Effect.void) =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const lost = (key: string) =>
        new StoreError({ operation: "put", key, reason: new Timeout({ description: "lost", afterMillis: 1 }) })
      const wrapped: ObjectStore["Service"] = {
        ...store,
        put: (request) => {
          const fault = request.key.startsWith("resource=") ? (plan.shift() ?? "ok") : "ok"
          if (fault === "ok") return store.put(request)
          const effect = fault === "after" ? Effect.asVoid(store.put(request)) : Effect.void
          return effect.pipe(Effect.andThen(onPut), Effect.andThen(Effect.fail(lost(request.key))))
        }
      }
      const context = yield* StandardStore.make(wrapped, { baseDelay: 1 })
      const database = yield* Database.make().pipe(Effect.provideContext(context))
      const users = yield* Resource.make(Users.definition).pipe(Effect.provideService(Database.Database, database))
      return { store, plain: Context.get(context, ObjectStore), users, plan }
    })

  it.live("a lost answer: what landed is a success, what did not is done again", () =>
    Effect.gen(function* () {
      for (const fault of ["before", "after"] as const) {
        const { plan, users } = yield* faulty([])
        plan.push(fault)
        const made = yield* users.insert({ id: "a", name: "first" })
        assert.deepStrictEqual(yield* users.get("a"), made)
        plan.push(fault, fault)
        assert.strictEqual((yield* users.update("a", (user) => ({ n: user.n + 1 }))).n, 1)
        assert.strictEqual((yield* users.get("a")).n, 1)
        // The revision that it gives is the one that is stored.
        const document = yield* users.getDocument("a")
        plan.push(fault)
        const next = yield* users.update(document, { n: 2 })
        const chained = yield* users.update(yield* users.documentOf(next), { n: 3 })
        assert.strictEqual(chained.n, 3)
      }
    })
  )

  it.live("a lost answer with somebody else in between", () =>
    Effect.gen(function* () {
      // Ours has landed, and theirs was built upon it: ours is not done twice.
      let other: Effect.Effect<unknown, unknown> = Effect.void
      const { plan, users } = yield* faulty(
        [],
        Effect.suspend(() => Effect.orDie(other) as Effect.Effect<void>)
      )
      yield* users.insert({ id: "a", name: "counter" })
      plan.push("after")
      other = users.update("a", (user) => ({ n: user.n + 10 }))
      assert.strictEqual((yield* users.update("a", (user) => ({ n: user.n + 1 }))).n, 1)
      assert.strictEqual((yield* users.get("a")).n, 11)

      // Ours has not landed, theirs has: ours is made again on theirs.
      plan.push("before")
      other = users.update("a", (user) => ({ n: user.n + 10 }))
      assert.strictEqual((yield* users.update("a", (user) => ({ n: user.n + 1 }))).n, 22)

      // With the document in hand that is a conflict.
      const document = yield* users.getDocument("a")
      plan.push("before")
      other = users.update("a", { name: "theirs" })
      assert.strictEqual((yield* Effect.flip(users.update(document, { name: "ours" })))._tag, "Conflict")

      // Nothing tells what became of ours: the document is gone, or was written blindly, or was inserted by others.
      const unknown = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.map(Effect.flip(effect), (error) => {
          assert.instanceOf(error, DbError.DbError)
          assert.strictEqual((error as DbError.DbError).reason._tag, "OutcomeUnknown")
          assert.strictEqual((error as DbError.DbError).outcome, "unknown")
        })
      plan.push("after")
      other = users.delete("a")
      yield* unknown(users.update("a", { n: 0 }))
      yield* users.insert({ id: "a", name: "again" })
      plan.push("after")
      other = users.replace({ id: "a", name: "blind" })
      yield* unknown(users.update("a", { n: 0 }))
      plan.push("before")
      other = users.insert({ id: "b", name: "theirs" })
      yield* unknown(users.insert({ id: "b", name: "ours" }))
      assert.strictEqual((yield* users.get("b")).name, "theirs")
    })
  )

  it.live("a lost answer is told although many have changed the document since", () =>
    Effect.gen(function* () {
      for (const fault of ["before", "after"] as const) {
        let others: Effect.Effect<unknown, unknown> = Effect.void
        const { plan, users } = yield* faulty(
          [],
          Effect.suspend(() => Effect.orDie(others) as Effect.Effect<void>)
        )
        const add = users.update("a", (user) => ({ n: user.n + 1 }))
        // Two at a time: one of them loses each time.
        const contend = (times: number) =>
          Effect.repeat(Effect.all([add, add], { concurrency: 2 }), { times: times - 1 })
        yield* users.insert({ id: "a", name: "hot" })
        yield* contend(2)
        plan.push(fault)
        others = contend(10)
        yield* add
        assert.strictEqual((yield* users.get("a")).n, 25)
      }
    })
  )

  it.live("an update by id gives up after so many lost races", () =>
    Effect.gen(function* () {
      const { users } = yield* faulty([])
      yield* users.insert({ id: "a", name: "hot" })
      const meddle = users.update("a", (user) => ({ n: user.n + 1 }))
      const error = yield* Effect.flip(
        users.update("a", () => Effect.as(Effect.orDie(meddle), { name: "never" }), { retries: 2 })
      )
      assert.strictEqual(error._tag, "Conflict")
      assert.strictEqual((yield* users.get("a")).n, 3)
    })
  )

  it.live("a store that ignores conditions on DELETE", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make({ profile: "rgw" })
      const database = yield* Database.make().pipe(Effect.provideService(ObjectStore, store))
      const users = yield* Resource.make(Users.definition).pipe(Effect.provideService(Database.Database, database))
      yield* users.insert({ id: "a", name: "kept" })
      yield* users.update("a", { n: 1 })
      const document: Document.Document<User> = yield* users.getDocument("a")
      yield* users.update("a", { n: 2 })
      const error = yield* Effect.flip(users.delete(document))
      assert.strictEqual(error._tag, "Conflict")
      yield* users.delete(yield* users.getDocument("a"))
      assert.isFalse(yield* users.exists("a"))
      assert.strictEqual(yield* users.count(), 0)
      yield* users.insert({ id: "a", name: "again" })
      assert.strictEqual(yield* users.count(), 1)
      yield* users.delete("a")
      assert.isFalse(yield* users.exists("a"))
    })
  )
})
