import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Id from "effect-s3db/crypto/Id"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Behavior from "effect-s3db/encoding/Behavior"
import * as Portable from "effect-s3db/Portable"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import { memory, openOn } from "./fixture.ts"
import { samples } from "./schema/samples.ts"

const settings: Portable.Settings = {
  behavior: "body-overflow",
  paranoid: true,
  pin: { metadata: [], body: [] },
  hasMigrations: false,
  hasComputed: false,
  flags: [],
  plugins: {},
  counters: undefined,
  journal: undefined,
  onExcessProperty: "error" as const,
  uniqueLease: 60_000,
  compression: undefined,
  partitions: {},
  uniques: {}
}

const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

/** Opens a resource that the program does not declare. */
const openUndeclared = Effect.fnUntraced(function* (database: Database.Database["Service"], name: string) {
  const definition = yield* Effect.provideService(Resource.fromCatalog(name), Database.Database, database)
  return yield* Effect.provideService(Resource.make(definition), Database.Database, database)
})

describe("Portable", () => {
  for (const sample of samples) {
    it(`${sample.name}: the same values fit, with the same codec, after the way through JSON`, () => {
      const schema = Schema.Struct({ id: Schema.String, field: sample.schema }) as unknown as Attributes.DocumentSchema
      const portable = Portable.fromDefinition(schema, settings)
      const text = JSON.stringify(portable)
      const revived = Result.getOrThrow(Portable.toDefinition(JSON.parse(text)))
      const check = Schema.decodeUnknownResult(Schema.toType(revived.schema))
      const transforms = portable.omitted.some((omission) => omission.what === "transformation")
      if (!transforms) {
        assert.deepStrictEqual(portable.omitted, [])
        assert.deepStrictEqual(Attributes.fromSchema(revived.schema, "id"), Attributes.fromSchema(schema, "id"))
        for (const value of sample.values) assert.isTrue(Result.isSuccess(check({ id: "1", field: value })))
        for (const value of sample.refused) assert.isTrue(Result.isFailure(check({ id: "1", field: value })))
      }
      // And what has been brought back travels again, unchanged.
      assert.deepStrictEqual(Portable.fromDefinition(revived.schema, settings).schema, portable.schema)
    })
  }

  class Author extends Schema.Class<Author>("test/Author")({
    id: Id.Random,
    name: Schema.String.check(Schema.isMinLength(2), Schema.isMaxLength(20)),
    role: Schema.Literals(["admin", "user"]).pipe(Schema.withConstructorDefault(Effect.succeed("user" as const))),
    since: Schema.Date.pipe(Schema.withConstructorDefault(Effect.succeed(new Date(0)))),
    token: Schema.optionalKey(Attribute.SecretText),
    password: Schema.optionalKey(Attribute.PasswordWith({ min: 8 })),
    address: Schema.optionalKey(Schema.Struct({ city: Schema.String, at: Schema.optionalKey(Attribute.Point(3)) })),
    tags: Schema.Array(Attribute.Email).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
    seen: Schema.optionalKey(Schema.DateFromString)
  }) {}

  it.effect("a resource works in a program that does not know it, and does not become another version", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* openOn(store)
      const authors = yield* first.open("authors", { schema: Author, primaryKey: "id" })
      const ada = yield* authors.insert({
        id: "ada",
        name: "Ada",
        token: Redacted.make("secret"),
        password: Redacted.make("correct horse"),
        address: { city: "London", at: { latitude: 51.5074, longitude: -0.1278 } },
        seen: new Date(5)
      })
      const { database } = yield* openOn(store)
      const undeclared = yield* openUndeclared(database, "authors")
      const read = yield* undeclared.get("ada")
      assert.deepInclude(read, { id: "ada", name: "Ada", role: "user", since: new Date(0), password: ada.password })
      assert.deepStrictEqual(read["address"], { city: "London", at: { latitude: 51.507, longitude: -0.128 } })
      assert.strictEqual(Redacted.value(read["token"] as Redacted.Redacted<string>), "secret")
      // The stored side of what was a transformation.
      assert.strictEqual(read["seen"], new Date(5).toISOString())
      // Defaults, checks, hashing and rounding are those of the definition.
      const made = yield* undeclared.insert({ name: "Bob", password: Redacted.make("battery staple") })
      assert.strictEqual(String(made["id"]).length, 22)
      assert.deepInclude(made, { role: "user", since: new Date(0), tags: [] })
      assert.isTrue(PasswordHash.isPasswordHash(made["password"]))
      for (const wrong of [
        { name: "B" },
        { name: "Bob", role: "other" },
        { name: "Bob", tags: ["no address"] },
        { name: "Bob", password: Redacted.make("short") }
      ]) {
        assert.strictEqual((yield* Effect.flip(undeclared.insert(wrong)))._tag, "InvalidInput")
      }
      yield* undeclared.update("ada", { name: "Ada L." })
      assert.deepInclude(yield* authors.get("ada"), { name: "Ada L.", seen: new Date(5) })
      const [info] = yield* database.listResources
      assert.strictEqual(info!.versions, 1)
    }).pipe(Effect.provide(services))
  )

  it.effect("what cannot travel is named", () =>
    Effect.gen(function* () {
      const definition = Resource.define("things", {
        schema: Schema.Struct({
          id: Schema.String,
          even: Schema.Int.check(Schema.makeFilter((n) => n % 2 === 0)),
          list: Schema.Array(Schema.Struct({ odd: Schema.Int.check(Schema.makeFilter((n) => n % 2 === 1)) })),
          when: Schema.DateFromString,
          now: Schema.String.pipe(Schema.withConstructorDefault(Effect.sync(() => String(performance.now()))))
        }),
        primaryKey: "id",
        behavior: Behavior.userManaged(),
        migrations: { 1: (document) => document }
      })
      assert.deepStrictEqual(Resource.omissions(definition), [
        { path: ["even"], what: "check" },
        { path: ["list", "[]", "odd"], what: "check" },
        { path: ["when"], what: "transformation" },
        { path: ["now"], what: "default" },
        { path: [], what: "behavior" },
        { path: [], what: "migrations" }
      ])
      const { database, open } = yield* Effect.flatMap(memory, openOn)
      yield* open("plain", { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" })
      const missing = yield* Effect.flip(openUndeclared(database, "nothing") as Effect.Effect<unknown, DbError.DbError>)
      assert.include(missing.message, "no resource called")
      for (const wrong of [
        undefined,
        {},
        { format: 2 },
        { ...(definition.portable as object), schema: { representation: 5 } }
      ]) {
        assert.isTrue(Result.isFailure(Portable.toDefinition(wrong)))
      }
    })
  )

  it.effect("whatever a catalog says, it is an error of the database, never an exception", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { open } = yield* openOn(store)
      const Thing = Schema.Struct({
        id: Schema.String,
        price: Attribute.Money("EUR"),
        tags: Schema.Array(Schema.String)
      })
      const things = yield* open("things", { schema: Thing, primaryKey: "id" })
      yield* things.insert({ id: "1", price: BigDecimal.fromStringUnsafe("1.5"), tags: ["a"] })
      const catalog = yield* Effect.orDie(store.get("s3db.json"))
      const text = JSON.stringify(JSON.parse(new TextDecoder().decode(catalog.body)))
      /** The first error of opening the database and the resource, declared and not, and of reading. */
      const after = (change: (text: string) => string) =>
        Effect.gen(function* () {
          const changed = change(text)
          assert.notStrictEqual(changed, text)
          yield* Effect.orDie(store.put({ key: "s3db.json", body: new TextEncoder().encode(changed) }))
          const errors: Array<string> = []
          for (const undeclared of [false, true]) {
            const result = yield* Effect.result(
              Effect.gen(function* () {
                const opened = yield* openOn(store)
                if (!undeclared) {
                  return yield* (yield* opened.open("things", { schema: Thing, primaryKey: "id" })).get("1")
                }
                return yield* (yield* openUndeclared(opened.database, "things")).get("1")
              }) as Effect.Effect<unknown, DbError.DbError>
            )
            errors.push(result._tag === "Failure" ? result.failure.reason._tag : "read")
          }
          return errors
        })
      const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
      for (const codec of [
        `${"array:".repeat(30_000)}string`,
        "money:zz",
        "money:-1",
        "money:1e9",
        "lat:",
        "choice:[["
      ]) {
        const isOther = after((all) => all.replace('"money:2"', JSON.stringify(codec)))
        const backup = yield* Effect.orDie(store.get("s3db.json.backup"))
        assert.deepStrictEqual(yield* isOther, ["read", "read"], "the backup knows better")
        yield* Effect.orDie(store.delete("s3db.json.backup"))
        assert.deepStrictEqual(yield* isOther, ["Corrupt", "Corrupt"], `no backup ${codec.slice(0, 20)}`)
        yield* Effect.orDie(store.put({ key: "s3db.json.backup", body: backup.body }))
        const isEverywhere = after((all) => all.replaceAll('"money:2"', JSON.stringify(codec)))
        assert.deepStrictEqual(yield* isEverywhere, ["Corrupt", "Corrupt"], `everywhere ${codec.slice(0, 20)}`)
        yield* Effect.orDie(store.put({ key: "s3db.json.backup", body: backup.body }))
      }
      for (const wrong of [
        ['"primaryKey":"id"', '"primaryKey":"tags"'],
        ['"pin":{"metadata":[]', '"pin":{"metadata":["nothing"]'],
        ['"defaults":{}', `"defaults":{"price":{"generate":"coins"}}`],
        ['"defaults":{}', `"defaults":${nested(500)}`]
      ] as const) {
        const [declared, undeclared] = yield* after((all) => all.replace(wrong[0], wrong[1]))
        assert.strictEqual(declared, "read", wrong[0])
        assert.strictEqual(undeclared, "Unsupported", wrong[1].slice(0, 60))
      }
      // What no program has written is as good as lost: the backup takes its place.
      for (const levels of [5000, 100_000]) {
        const errors = yield* after((all) => all.replace('"defaults":{}', `"defaults":${nested(levels)}`))
        assert.deepStrictEqual(errors, ["read", "read"])
      }
    })
  )

  it.effect("a definition of one database makes the same resource in another", () =>
    Effect.gen(function* () {
      const first = yield* openOn(yield* memory)
      const tasks = Resource.fromAttributes(
        "tasks",
        { name: "string|min:2", state: "enum|values:open,done|default:open" },
        { partitions: { byState: ["state"] }, unique: { byName: ["name"] }, allowDeleteAll: true, timestamps: true }
      )
      yield* Effect.provideService(Resource.make(tasks), Database.Database, first.database)
      const [told] = yield* first.database.listResources
      const second = yield* openOn(yield* memory)
      const definition = yield* Resource.fromPortable("tasks", told?.definition ?? null)
      const copies = yield* Effect.provideService(Resource.make(definition), Database.Database, second.database)
      const [copied] = yield* second.database.listResources
      assert.deepStrictEqual(copied, told)
      assert.deepInclude(yield* copies.insertJson({ id: "1", name: "one" }), { state: "open" })
      assert.strictEqual((yield* Effect.flip(copies.insertJson({ id: "2", name: "one" })))._tag, "UniqueViolation")
      assert.strictEqual((yield* Effect.flip(copies.insertJson({ id: "3", name: "x" })))._tag, "InvalidInput")
      const wrong = yield* Effect.flip(Resource.fromPortable("tasks", { format: 2 }))
      assert.strictEqual(wrong.reason._tag, "Unsupported")
    })
  )
})
