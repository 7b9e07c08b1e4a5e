import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Database from "effect-s3db/Database"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import { memory, openOn } from "../fixture.ts"

const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(1)) } }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

type Fields = { readonly [name: string]: Schema.Codec<unknown, unknown> }

const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(schema)
const three = Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(3)))
const dash = Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("-")))

/** What is logged when a definition is opened, and whether a document of before can be read then. */
const changed = Effect.fnUntraced(function* (
  before: Fields,
  document: object,
  after: Fields,
  options: { readonly version?: number; readonly migrations?: Record<number, (json: never) => never> } = {}
) {
  const store = yield* memory
  const open = Effect.fnUntraced(function* (fields: Fields, more: object) {
    const { database } = yield* openOn(store)
    const schema = Schema.Struct({ id: Schema.String, ...fields })
    return yield* Resource.make(Resource.define("things", { schema, primaryKey: "id", ...more } as never)).pipe(
      Effect.provideService(Database.Database, database)
    )
  })
  const old = yield* open(before, {})
  yield* old.insert({ id: "1", ...document } as never)
  const logged: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel} ${String(message)}`))
  const opened = yield* open(after, options).pipe(Effect.provide(Logger.layer([logger])))
  const read = yield* Effect.result(opened.get("1" as never))
  const error = read._tag === "Failure" ? (read.failure as { readonly reason: { readonly _tag: string } }) : undefined
  return { logged, failedFor: error?.reason._tag }
})

const address = Schema.Struct({ city: Schema.String })

/** Fields, a document of them, the fields that they become, and what is said of it. */
const misfits: ReadonlyArray<readonly [string, Fields, object, Fields, string]> = [
  ["a required field", {}, {}, { age: Schema.Int }, "age is required, and they do not have it"],
  [
    "two",
    { n: Schema.Int },
    { n: 1 },
    { a: Schema.String, b: Schema.Boolean },
    "b is required, and they do not have it"
  ],
  ["a required struct", {}, {}, { address }, "address is required, and they do not have it."],
  [
    "a required field of a struct",
    { address },
    { address: { city: "Recife" } },
    { address: Schema.Struct({ city: Schema.String, zip: Schema.String }) },
    "address.zip is required, and they do not have it"
  ],
  [
    "no longer optional",
    { a: optional(Schema.String) },
    {},
    { a: Schema.String },
    "a is required, and may be missing there"
  ],
  ["no longer null", { a: Schema.NullOr(Schema.Int) }, { a: null }, { a: Schema.Int }, "a may be null there"],
  ["another kind", { a: Schema.String }, { a: "x" }, { a: Schema.Int }, "a is a number, and a text there"],
  ["a list", { a: Schema.String }, { a: "x" }, { a: Schema.Array(Schema.String) }, "a is a list, and a text there"],
  ["a struct", { a: Schema.Finite }, { a: 1 }, { a: address }, "a is a struct, and a number there"],
  [
    "fewer choices",
    { a: Schema.Literals(["x", "y", "z"]) },
    { a: "z" },
    { a: Schema.Literals(["x", "y"]) },
    "a may be one of choices there that are gone (1)"
  ],
  ["a secret", { a: Schema.String }, { a: "x" }, { a: Attribute.Secret(Schema.String) }, "a is stored in clear there"]
]

const fits: ReadonlyArray<readonly [string, Fields, object, Fields]> = [
  ["an optional field", {}, {}, { age: optional(Schema.Int) }],
  ["a default", {}, {}, { age: three }],
  ["a default of what was optional", { a: optional(Schema.Int) }, {}, { a: three }],
  ["a field that is gone", { age: Schema.Int }, { age: 1 }, {}],
  ["an optional struct", {}, {}, { address: optional(address) }],
  [
    "a default within a struct",
    { address },
    { address: { city: "Recife" } },
    { address: Schema.Struct({ city: Schema.String, zip: dash }) }
  ],
  ["optional now", { a: Schema.Int }, { a: 1 }, { a: optional(Schema.Int) }],
  ["null now", { a: Schema.Int }, { a: 1 }, { a: Schema.NullOr(Schema.Int) }],
  ["a wider number", { a: Schema.Int }, { a: 1 }, { a: Schema.Finite }],
  ["a text of a kind", { a: Schema.String }, { a: "10.0.0.1" }, { a: Attribute.Ip4 }],
  ["more choices", { a: Schema.Literals(["x", "y"]) }, { a: "x" }, { a: Schema.Literals(["x", "y", "z"]) }],
  ["a struct in place of JSON", { a: Schema.Json }, { a: { city: "x" } }, { a: address }],
  ["nothing", { a: Schema.Int }, { a: 1 }, { a: Schema.Int }]
]

describe("a definition that documents of before do not fit", () => {
  for (const [name, before, document, after, problem] of misfits) {
    it.effect(`is told when it is opened, and would be told by reading: ${name}`, () =>
      Effect.gen(function* () {
        const { failedFor, logged } = yield* changed(before, document, after)
        assert.include(["Corrupt", "SecretUnreadable"], failedFor)
        assert.strictEqual(logged.length, 1)
        assert.match(logged[0]!, /^Warn documents of version 1 of things do not fit its schema/)
        assert.include(logged[0], problem)
        assert.include(logged[0], "Make such a field optional, give it a default that is always the same, or")
        assert.include(logged[0], "a migration from 1")
      }).pipe(Effect.provide(services))
    )
  }

  for (const [name, before, document, after] of fits) {
    it.effect(`is not told of where they fit: ${name}`, () =>
      Effect.gen(function* () {
        const { failedFor, logged } = yield* changed(before, document, after)
        assert.deepStrictEqual({ failedFor, logged }, { failedFor: undefined, logged: [] })
      }).pipe(Effect.provide(services))
    )
  }

  it.effect("is not told of where a migration sees to it", () =>
    Effect.gen(function* () {
      const migrations = { 1: (json: object) => ({ ...json, age: 3 }) as never }
      const { failedFor, logged } = yield* changed({}, {}, { age: Schema.Int }, { version: 2, migrations })
      assert.deepStrictEqual({ failedFor, logged }, { failedFor: undefined, logged: [] })
    }).pipe(Effect.provide(services))
  )
})

describe("another primary key", () => {
  it.effect("is refused when it is opened, and nothing is changed", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const schema = Schema.Struct({ id: Schema.String, mail: Schema.String })
      const { database, open } = yield* openOn(store)
      const users = yield* open("users", { schema, primaryKey: "id" })
      yield* users.insert({ id: "1", mail: "a@x" })
      const catalog = yield* database.listResources
      const other = yield* openOn(store)
      for (const version of [undefined, 2]) {
        const error = yield* Effect.flip(
          other.open("users", { schema, primaryKey: "mail", ...(version === undefined ? {} : { version }) })
        )
        assert.strictEqual(
          error.message,
          "Database.register on users failed: InvalidArgument: the primary key of users is id in the catalog, not mail; the keys of documents are made of it, so it stays for good: keep id, or declare another resource and write the documents into that"
        )
      }
      assert.deepStrictEqual(yield* other.database.listResources, catalog)
      assert.strictEqual((yield* users.get("1")).mail, "a@x")
    })
  )
})
