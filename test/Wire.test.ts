import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as HashMap from "effect/HashMap"
import type * as JsonSchema from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as Wire from "effect-s3db/Wire"
import { openNew, openOn } from "./fixture.ts"
import { hostileTexts, samples } from "./schema/samples.ts"

const services = Layer.mergeAll(
  KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } }),
  PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
)

// -----------------------------------------------------------------------------
// A schema with a bit of everything
// -----------------------------------------------------------------------------

class Address extends Schema.Class<Address>("wire/Address")({
  city: Schema.String.annotate({ description: "where it is" }),
  zip: Schema.optionalKey(Schema.String),
  country: Attribute.Country.pipe(Schema.withConstructorDefault(Effect.succeed("BR"))),
  door: Schema.optionalKey(Attribute.SecretNumber)
}) {}

class Line extends Schema.Class<Line>("wire/Line")({
  article: Schema.String,
  amount: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(1)))
}) {}

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}

const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

const UserId = Schema.String.pipe(Schema.brand("UserId"))

const userSchema = Schema.Struct({
  id: UserId.pipe(Schema.withConstructorDefault(Effect.succeed(UserId.make("made")))),
  email: Attribute.Email.annotate({ description: "where mail goes" }),
  joined: Attribute.DateTime.annotate({ description: "the first day" }),
  balance: Attribute.Money("EUR"),
  address: Schema.optionalKey(Schema.NullOr(Address)),
  lines: Schema.Array(Line).check(Schema.isMinLength(1)),
  prices: Schema.Record(Schema.String, Line),
  choice: Schema.optionalKey(
    Schema.Union([
      Schema.Struct({ kind: Schema.Literal("card"), digits: Schema.String }),
      Schema.Struct({ kind: Schema.Literal("cash") })
    ])
  ),
  maybe: Schema.optionalKey(Schema.Option(Schema.Struct({ a: Schema.Int }))),
  tree: Schema.optionalKey(Tree),
  nick: Schema.optional(Schema.String),
  nothing: Schema.optionalKey(Schema.NullOr(Schema.String)),
  free: Schema.optionalKey(Schema.Json),
  password: Attribute.PasswordWith({ min: 8 }),
  token: Attribute.SecretText,
  keys: Schema.optionalKey(Schema.Array(Attribute.SecretText)),
  role: Schema.Literals(["user", "admin"]).pipe(Schema.withConstructorDefault(Effect.succeed("user" as const))),
  createdAt: Schema.optionalKey(Schema.DateTimeUtc),
  updatedBy: Schema.optionalKey(Schema.String),
  label: Schema.optionalKey(Schema.String)
}).pipe(Schema.encodeKeys({ email: "mail", password: "pw" }))

const userOptions = {
  schema: userSchema,
  primaryKey: "id",
  timestamps: true,
  userstamps: true,
  scan: true,
  computed: { label: (user) => `${user.role} ${user.email}` }
} as const satisfies Resource.Options<typeof userSchema>

const users = Resource.define("users", userOptions)

const given = {
  mail: "ada@example.com",
  joined: "2024-01-15T10:30:00.000Z",
  balance: "19.99",
  address: { city: "Recife", door: 12 },
  lines: [{ article: "pen" }, { article: "ink", amount: 2 }],
  prices: { "a.b": { article: "pen" } },
  choice: { kind: "card", digits: "42" },
  maybe: { _tag: "Some", value: { a: 1 } },
  tree: { name: "root", children: [{ name: "leaf", children: [] }] },
  nothing: null,
  free: { any: [1, "x", null] },
  pw: "correct horse",
  token: "hunter2",
  keys: ["k1", "k2"]
}

const create = Schema.decodeUnknownResult(Wire.create(users))
const patch = Schema.decodeUnknownResult(Wire.patch(users))

const succeeded = <A, E>(result: Result.Result<A, E>): A => Result.getOrThrow(result)

const messageOf = (result: Result.Result<unknown, { readonly message: string }>): string =>
  Result.isFailure(result) ? result.failure.message : assert.fail("it was accepted")

const without = <T extends object>(value: T, ...names: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))

// -----------------------------------------------------------------------------
// Walks
// -----------------------------------------------------------------------------

/** Every schema that can be reached from one, by whatever way. */
const everySchema = (whole: AST.AST): ReadonlySet<AST.AST> => {
  const seen = new Set<AST.AST>()
  const visit = (ast: AST.AST): void => {
    if (seen.has(ast)) return
    seen.add(ast)
    for (const { to } of ast.encoding ?? []) visit(to)
    if (AST.isDeclaration(ast)) ast.typeParameters.forEach(visit)
    if (AST.isUnion(ast)) ast.types.forEach(visit)
    if (AST.isArrays(ast)) [...ast.elements, ...ast.rest].forEach(visit)
    if (AST.isSuspend(ast)) visit(ast.thunk())
    if (AST.isObjects(ast)) {
      for (const { type } of [...ast.propertySignatures, ...ast.indexSignatures]) visit(type)
    }
  }
  visit(whole)
  return seen
}

const fieldNames = (whole: AST.AST): ReadonlyArray<string> =>
  [...everySchema(whole)].flatMap((ast) =>
    AST.isObjects(ast) ? ast.propertySignatures.map(({ name }) => String(name)) : []
  )

const everyNode = (schema: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  if (Array.isArray(schema)) return schema.flatMap(everyNode)
  if (typeof schema !== "object" || schema === null) return []
  const node = schema as Readonly<Record<string, unknown>>
  return [node, ...Object.values(node).flatMap(everyNode)]
}

const assertClosed = ({ schema, definitions }: JsonSchema.Document<"draft-2020-12">): void => {
  const structs = everyNode({ schema, definitions }).filter(
    (node) => node["type"] === "object" && node["properties"] !== undefined
  )
  assert.isAbove(structs.length, 0)
  for (const struct of structs) assert.strictEqual(struct["additionalProperties"], false, JSON.stringify(struct))
}

// -----------------------------------------------------------------------------
// Tests
// -----------------------------------------------------------------------------

describe("Wire.create", () => {
  it.effect("what it decodes is what an insert takes", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("users", userOptions)
      const input = yield* Schema.decodeUnknownEffect(Wire.create(users))(given)
      assert.isTrue(Redacted.isRedacted(input.password))
      assert.deepStrictEqual(Redacted.value(input.token), "hunter2")
      const user = yield* repository.insert(input)
      assert.strictEqual(user.id, "made")
      assert.strictEqual(user.email, "ada@example.com")
      assert.isTrue(Equal.equals(user.joined, DateTime.makeUnsafe("2024-01-15T10:30:00Z")))
      assert.isTrue(BigDecimal.equals(user.balance, BigDecimal.fromStringUnsafe("19.99")))
      assert.instanceOf(user.address, Address)
      assert.strictEqual(user.address?.country, "BR")
      assert.strictEqual(user.address?.door === undefined ? undefined : Redacted.value(user.address.door), 12)
      assert.deepStrictEqual(
        user.lines.map(({ amount }) => amount),
        [1, 2]
      )
      assert.instanceOf(user.lines[0], Line)
      assert.instanceOf(user.prices["a.b"], Line)
      assert.deepStrictEqual(user.choice, { kind: "card", digits: "42" })
      assert.deepStrictEqual(user.maybe, Option.some({ a: 1 }))
      assert.deepStrictEqual(user.tree, given.tree)
      assert.strictEqual(user.nothing, null)
      assert.deepStrictEqual(user.free, given.free)
      assert.strictEqual(user.role, "user")
      assert.strictEqual(user.label, "user ada@example.com")
      const hasher = yield* PasswordHasher.PasswordHasher
      assert.isTrue(yield* hasher.verify(Redacted.make("correct horse"), user.password))
    }).pipe(Effect.provide(services))
  )

  it("fields with a default may be left out, others may not", () => {
    for (const name of ["mail", "joined", "balance", "lines", "prices", "pw", "token"]) {
      assert.include(messageOf(create(without(given, name))), `Missing key\n  at ["${name}"]`)
    }
    const least = without(given, "address", "choice", "maybe", "tree", "nothing", "free", "keys")
    assert.notProperty(succeeded(create(least)), "role")
    assert.notProperty(succeeded(create(least)), "id")
    assert.strictEqual(succeeded(create({ ...least, id: "7" })).id, "7")
  })

  it("fields that nobody has declared are errors at every depth", () => {
    const wrong: ReadonlyArray<readonly [path: string, input: unknown]> = [
      [`["other"]`, { ...given, other: 1 }],
      // Under the name of the program, which is not the one on the wire.
      [`["email"]`, { ...given, email: "x" }],
      [`["address"]["other"]`, { ...given, address: { city: "Recife", other: 1 } }],
      [`["lines"][0]["other"]`, { ...given, lines: [{ article: "pen", other: 1 }] }],
      [`["prices"]["a"]["other"]`, { ...given, prices: { a: { article: "pen", other: 1 } } }],
      [`["choice"]["other"]`, { ...given, choice: { kind: "cash", other: 1 } }],
      [`["maybe"]["value"]["other"]`, { ...given, maybe: { _tag: "Some", value: { a: 1, other: 1 } } }],
      [`["tree"]["children"][0]["other"]`, { ...given, tree: { name: "a", children: [{ ...given.tree, other: 1 }] } }]
    ]
    for (const [path, input] of wrong) {
      assert.strictEqual(messageOf(create(input)), `Expected no such field\n  at ${path}`)
    }
  })

  it("is as strict as JSON codec of itself, and where all errors are wanted", () => {
    const again = Schema.toCodecJson(Wire.create(users))
    const input = { ...given, address: { city: "Recife", other: 1 } }
    assert.include(messageOf(Schema.decodeUnknownResult(again)(input)), "Expected no such field")
    assert.include(messageOf(create({ ...given, mail: 1, joined: "?" }, { errors: "all" })), "joined")
    assert.include(messageOf(create(input, { onExcessProperty: "error" })), "other")
  })

  it("what the resource fills in is no field of it", () => {
    for (const name of ["createdAt", "updatedBy", "label"]) {
      assert.include(messageOf(create({ ...given, [name]: "2024-01-15T10:30:00Z" })), `at ["${name}"]`)
    }
  })

  it("a computed field that an insert wants is wanted", () => {
    const schema = Schema.Struct({ id: Schema.String, total: Schema.Finite, sum: Schema.optionalKey(Schema.Finite) })
    const definition = Resource.define("sums", {
      schema,
      primaryKey: "id",
      computed: { total: () => 1, sum: () => 2 }
    })
    assert.deepStrictEqual(fieldNames(Wire.create(definition).ast), ["id", "total"])
    assert.throws(() => Schema.decodeUnknownSync(Wire.patch(definition))({ total: 1 }))
  })

  it("encodes what it decodes, secrets only where they are opened", () => {
    const input = succeeded(create(given))
    const encode = Schema.encodeEffect(Wire.create(users))
    const closed = Effect.runSync(Effect.flip(encode(input)))
    assert.include(closed.message, "can only be turned into JSON by the database")
    const json = Effect.runSync(Effect.provideService(encode(input), Attributes.SecretsOpen, true))
    assert.deepStrictEqual(json, given)
  })

  it("values of unions keep what tells them apart, though it has a default", () => {
    class Card extends Schema.TaggedClass<Card>("wire/Card")("Card", { digits: Schema.String }) {}
    class Cash extends Schema.TaggedClass<Cash>("wire/Cash")("Cash", { digits: Schema.optionalKey(Schema.String) }) {}
    class Sale extends Schema.TaggedClass<Sale>("wire/Sale")("Sale", {
      id: Schema.String,
      by: Schema.Union([Card, Cash])
    }) {}
    const decode = Schema.decodeUnknownResult(Wire.create(Resource.define("sales", { schema: Sale, primaryKey: "id" })))
    assert.deepStrictEqual<unknown>(succeeded(decode({ id: "1", by: { _tag: "Cash", digits: "1" } })), {
      id: "1",
      by: { _tag: "Cash", digits: "1" }
    })
    assert.isTrue(Result.isFailure(decode({ id: "1", by: { digits: "1" } })))
    const nested = Schema.Struct({
      id: Schema.String,
      by: Schema.Union([Schema.Union([Card, Schema.Null]), Schema.Union([Cash, Schema.Null])])
    })
    const within = Schema.decodeUnknownResult(
      Wire.create(Resource.define("nested", { schema: nested, primaryKey: "id" }))
    )
    const cash = { id: "1", by: { _tag: "Cash", digits: "1" } }
    assert.deepStrictEqual<unknown>(succeeded(within(cash)), cash)
    assert.isTrue(Result.isFailure(within({ id: "1", by: { digits: "1" } })))
  })

  it("checks of a whole struct are left to the resource, as is what they would not see", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      from: Schema.Int,
      to: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(100)))
    }).check(Schema.makeFilter(({ from, to }) => from <= to, { expected: "an order" }))
    const decode = Schema.decodeUnknownResult(Wire.create(Resource.define("spans", { schema, primaryKey: "id" })))
    assert.deepStrictEqual<unknown>(succeeded(decode({ id: "1", from: 5 })), { id: "1", from: 5 })
  })

  it("a struct whose texts are changed on their way is not taken for one with other names", () => {
    const trimmed = (value: unknown): unknown => (typeof value === "string" ? value.trim() : value)
    const schema = Schema.Struct({ id: Schema.String, n: Schema.String }).pipe(
      Schema.decodeTo(
        Schema.Struct({ id: Schema.String, name: Schema.String }),
        SchemaTransformation.transform({
          decode: ({ id, n }) => ({ id, name: trimmed(n) as string }),
          encode: ({ id, name }) => ({ id, n: trimmed(name) as string })
        })
      )
    )
    const decode = Schema.decodeUnknownResult(Wire.create(Resource.define("trim", { schema, primaryKey: "id" })))
    assert.deepStrictEqual<unknown>(succeeded(decode({ id: "1", n: "  x " })), { id: "1", name: "x" })
  })

  it("checks that need what the resource makes are left to it, those of sizes are not", () => {
    class Item extends Schema.Class<Item>("wire/Item")({
      price: Schema.Int,
      amount: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(1)))
    }) {
      total(): number {
        return this.price * this.amount
      }
    }
    const isCheap = Schema.makeFilter<ReadonlyArray<Item>>((items) => items.every((item) => item.total() < 100))
    const schema = Schema.Struct({
      id: Schema.String,
      items: Schema.Array(Item).check(Schema.isMaxLength(2), isCheap),
      named: Schema.Record(Schema.String, Item).check(
        Schema.makeFilter((named) => Object.values(named).every((item) => item.total() < 100))
      ),
      pairs: Schema.Array(Schema.Struct({ item: Item }).check(Schema.makeFilter(({ item }) => item.total() < 100))),
      either: Schema.NullOr(Item).check(Schema.makeFilter((item) => item === null || item.total() < 100))
    })
    const definition = Resource.define("cheap", { schema, primaryKey: "id" })
    const decode = Schema.decodeUnknownResult(Wire.create(definition))
    const item = { price: 5 }
    const input = { id: "1", items: [item], named: { a: item }, pairs: [{ item }], either: item }
    assert.deepStrictEqual<unknown>(succeeded(decode(input)), input)
    assert.include(messageOf(decode({ ...input, items: [item, item, item] })), `at ["items"]`)
    assert.strictEqual(
      (Wire.jsonSchema(Wire.create(definition)).schema["properties"] as { items: { maxItems: number } }).items.maxItems,
      2
    )
  })

  it("a struct that is made of another one comes in as a whole", () => {
    const schema = Schema.Struct({ id: Schema.String, both: Schema.String }).pipe(
      Schema.decodeTo(
        Schema.Struct({ id: Schema.String, a: Schema.String, b: Schema.String }),
        SchemaTransformation.transform({
          decode: ({ id, both }) => ({ id, a: both[0] ?? "", b: both[1] ?? "" }),
          encode: ({ a, b, id }) => ({ id, both: a + b })
        })
      )
    )
    const definition = Resource.define("both", { schema, primaryKey: "id" })
    const decode = Schema.decodeUnknownResult(Wire.create(definition))
    assert.deepStrictEqual<unknown>(succeeded(decode({ id: "1", both: "xy" })), { id: "1", a: "x", b: "y" })
    assert.include(messageOf(decode({ id: "1", both: "xy", a: "x" })), `at ["a"]`)
    assert.throws(() => Wire.patch(definition), Attributes.UnsupportedSchema)
    const withPassword = Schema.Struct({ name: Schema.String, password: Attribute.Password })
    const inner = withPassword.pipe(
      Schema.decodeTo(
        Schema.toType(withPassword),
        SchemaTransformation.transform({
          decode: ({ name, password }) => ({ name: name.trim(), password: password as Attribute.PasswordHash }),
          encode: ({ name, password }) => ({ name, password })
        })
      )
    )
    const trimmed = Resource.define("trimmed", {
      schema: Schema.Struct({ id: Schema.String, inner }),
      primaryKey: "id"
    })
    assert.throws(() => Wire.create(trimmed), Attributes.UnsupportedSchema)
  })
})

describe("Wire.patch", () => {
  it.effect("what it decodes is what a patch takes", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("users", userOptions)
      const before = yield* repository.insert(yield* Schema.decodeUnknownEffect(Wire.create(users))(given))
      const changes = yield* Schema.decodeUnknownEffect(Wire.patch(users))({
        mail: "eve@example.com",
        address: { zip: "50000", door: null },
        lines: [{ article: "pad" }],
        choice: null,
        nothing: null,
        free: null,
        pw: "battery staple",
        keys: null
      })
      const after = yield* repository.patch("made", changes)
      assert.strictEqual(after.email, "eve@example.com")
      assert.deepStrictEqual({ ...after.address }, { city: "Recife", country: "BR", zip: "50000" })
      assert.deepStrictEqual({ ...after.lines[0] }, { article: "pad", amount: 1 })
      assert.notProperty(after, "choice")
      assert.notProperty(after, "keys")
      // Values that may be null become null, and are not removed.
      assert.strictEqual(after.nothing, null)
      assert.strictEqual(after.free, null)
      assert.strictEqual(after.label, "user eve@example.com")
      assert.deepStrictEqual(after.tree, before.tree)
      assert.notStrictEqual(after.password, before.password)
      const none = yield* repository.patch(
        "made",
        yield* Schema.decodeUnknownEffect(Wire.patch(users))({ address: null })
      )
      assert.strictEqual(none.address, null)
      assert.strictEqual(Redacted.value(none.token), "hunter2")
    }).pipe(Effect.provide(services))
  )

  it("null removes what is optional, and nothing else", () => {
    assert.deepStrictEqual<unknown>(
      succeeded(patch({ nick: null, choice: null, address: { zip: null, door: null } })),
      {
        nick: undefined,
        choice: undefined,
        address: { zip: undefined, door: undefined }
      }
    )
    assert.deepStrictEqual<unknown>(succeeded(patch({ nothing: null, free: null, address: null })), {
      nothing: null,
      free: null,
      address: null
    })
    for (const name of ["mail", "lines", "token", "pw", "role", "balance"]) {
      assert.include(messageOf(patch({ [name]: null })), `at ["${name}"]`)
    }
    assert.include(messageOf(patch({ address: { city: null } })), `at ["address"]["city"]`)
  })

  it("wants at least one field, and none that cannot be changed", () => {
    assert.include(messageOf(patch({})), "at least 1 entry")
    for (const name of ["id", "createdAt", "updatedBy", "label", "other", "email"]) {
      assert.strictEqual(messageOf(patch({ [name]: "x" })), `Expected no such field\n  at ["${name}"]`)
    }
    assert.include(messageOf(patch({ address: { other: 1 } })), `at ["address"]["other"]`)
    // Within what is replaced, values are whole.
    assert.include(messageOf(patch({ lines: [{ amount: 2 }] })), `at ["lines"][0]["article"]`)
  })

  it("encodes what it decodes", () => {
    const changes = { nick: null, mail: "eve@example.com", address: { zip: null } }
    assert.deepStrictEqual<unknown>(Schema.encodeSync(Wire.patch(users))(succeeded(patch(changes))), changes)
  })

  it("fields whose names every object has are none of it", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      constructor: Schema.String,
      toString: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("x"))),
      name: Schema.String
    })
    const definition = Resource.define("named", { schema, primaryKey: "id" })
    assert.deepStrictEqual<unknown>(Schema.decodeUnknownSync(Wire.patch(definition))({ name: "x" }), { name: "x" })
    const decode = Schema.decodeUnknownResult(Wire.create(definition))
    assert.isTrue(Result.isSuccess(decode({ id: "1", constructor: "a", toString: "b", name: "c" })))
    assert.isTrue(Result.isFailure(decode({ id: "1", constructor: "a", name: "c" })))
  })
})

describe("Wire.public", () => {
  const hidden = ["pw", "password", "token", "keys", "door"]

  it.effect("shows what queries find, without what is hidden or protected", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("users", userOptions)
      yield* repository.insert(yield* Schema.decodeUnknownEffect(Wire.create(users))(given))
      const [json] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
      const shown = Wire.toPublic(users)(json!)
      assert.deepStrictEqual<unknown>(shown, {
        id: "made",
        mail: given.mail,
        joined: given.joined,
        balance: "19.99",
        address: { city: "Recife", country: "BR" },
        lines: [
          { article: "pen", amount: 1 },
          { article: "ink", amount: 2 }
        ],
        prices: { "a.b": { article: "pen", amount: 1 } },
        choice: given.choice,
        maybe: given.maybe,
        tree: given.tree,
        nothing: null,
        free: given.free,
        role: "user",
        label: "user ada@example.com",
        createdAt: json!["createdAt"]
      })
      assert.deepStrictEqual<unknown>(Schema.encodeSync(Wire.public(users))(shown), shown)
      assert.deepStrictEqual<unknown>(Schema.decodeUnknownSync(Wire.public(users))(shown), shown)
      const options = { system: true, protect: ["balance", "prices.{}.amount"] } as const
      const document = yield* repository.getDocument("made")
      const more = { ...json!, $version: document.version, $revision: document.revision }
      const system = Wire.toPublic(users, options)(more)
      assert.strictEqual(system.$revision, document.revision)
      assert.strictEqual(system.$version, 1)
      assert.strictEqual(system.$createdAt, json!["$createdAt"])
      assert.notProperty(system, "balance")
      assert.deepStrictEqual<unknown>(system.prices, { "a.b": { article: "pen" } })
      const page = Wire.page(users, options)
      const whole = { items: [system], cursor: "next", total: 1 }
      assert.deepStrictEqual<unknown>(Schema.encodeSync(page)(whole), whole)
      assert.deepStrictEqual<unknown>(Schema.decodeUnknownSync(page)({ items: [] }), { items: [] })
      assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(page)({ items: [{}] })))
    }).pipe(Effect.provide(services))
  )

  it("has no field that is hidden", () => {
    const names = fieldNames(Wire.public(users).ast)
    for (const name of hidden) assert.notInclude(names, name)
    assert.include(names, "mail")
    const text = JSON.stringify(Wire.jsonSchema(Wire.public(users)))
    for (const name of hidden) assert.notInclude(text, `"${name}"`)
  })

  it("protects at every depth, and drops what it does not know", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      whole: Schema.Struct({ only: Schema.String }),
      items: Schema.Array(Schema.Struct({ a: Schema.String, b: Schema.String })).check(Schema.isUnique()),
      texts: Schema.Array(Schema.String),
      pair: Schema.Tuple([Schema.Struct({ a: Schema.String, b: Schema.String }), Schema.String]),
      record: Schema.Record(Schema.String, Schema.Struct({ a: Schema.String, b: Schema.String })),
      numbers: Schema.Record(Schema.String, Schema.Finite),
      either: Schema.Union([
        Schema.Struct({ kind: Schema.Literal("a"), x: Schema.String, b: Schema.String }),
        Schema.Struct({ kind: Schema.Literal("b"), y: Schema.String, b: Schema.String }),
        Schema.String
      ]),
      one: Schema.Union([Schema.Struct({ x: Schema.String }), Schema.Struct({ y: Schema.String })], { mode: "oneOf" }),
      maybe: Schema.Option(Schema.Struct({ a: Schema.String, b: Schema.String })),
      tree: Tree,
      free: Schema.Json,
      open: Schema.Record(Schema.String, Schema.Json),
      "dotted.name": Schema.String
    })
    const definition = Resource.define("protected", { schema, primaryKey: "id" })
    const protect = [
      "whole.only",
      "items.[].b",
      "texts.[]",
      "pair.[].b",
      "record.{}.b",
      "numbers.{}",
      "either.b",
      "one.x",
      "maybe.value.b",
      "tree.children.[].name",
      "free.deep.[].{}.b",
      "open.named",
      ["dotted.name"]
    ] as const
    const ab = { a: "a", b: "HIDDEN" }
    const json = {
      id: "1",
      whole: { only: "HIDDEN" },
      items: [ab, { ...ab, unknown: "HIDDEN" }],
      texts: ["HIDDEN"],
      pair: [ab, "x"],
      record: { r: ab },
      numbers: { HIDDEN: 1 },
      either: { kind: "b", y: "y", b: "HIDDEN" },
      one: { x: "HIDDEN" },
      maybe: { _tag: "Some", value: ab },
      tree: {
        name: "root",
        children: [{ name: "HIDDEN", children: [{ name: "leaf", children: [], unknown: "HIDDEN" }] }]
      },
      free: { deep: [{ x: ab, y: [ab] }], b: "b" },
      open: { named: "HIDDEN", other: 1 },
      "dotted.name": "HIDDEN",
      unknown: { b: "HIDDEN" }
    }
    const expected = {
      id: "1",
      whole: {},
      items: [{ a: "a" }, { a: "a" }],
      texts: [],
      pair: [{ a: "a" }, "x"],
      record: { r: { a: "a" } },
      numbers: {},
      either: { kind: "b", y: "y" },
      one: {},
      maybe: { _tag: "Some", value: { a: "a" } },
      tree: { name: "root", children: [{ children: [{ name: "leaf", children: [] }] }] },
      // `y` is a list, of which nothing was said.
      free: { deep: [{ x: { a: "a" }, y: [ab] }], b: "b" },
      open: { other: 1 }
    }
    const shown: unknown = Wire.toPublic(definition, { protect })(json)
    assert.deepStrictEqual(shown, expected)
    // The schema does the same by itself, in both directions.
    const codec = Schema.make<Schema.Codec<unknown, unknown>>(Wire.public(definition, { protect }).ast)
    const rest = { texts: [], numbers: {}, whole: {} }
    const seen = { ...json, ...rest, one: { y: "y" } }
    assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(seen), { ...expected, one: { y: "y" } })
    assert.deepStrictEqual(Schema.encodeUnknownSync(codec)(seen), { ...expected, one: { y: "y" } })
    // Where nothing is left, nothing is taken.
    for (const name of Object.keys(rest)) {
      const refused = { ...seen, [name]: json[name as keyof typeof json] }
      assert.isTrue(Result.isFailure(Schema.decodeUnknownResult(codec)(refused)), name)
    }
    assertClosed(Wire.jsonSchema(codec))
    for (const path of ["nope", "items.b", "items.[].c", "either.z", "record.x.b.c", "texts.[].x", "id.x"]) {
      assert.throws(() => Wire.public(definition, { protect: [path] }), /is no field of protected/, path)
      assert.throws(() => Wire.toPublic(definition, { protect: [path] }), Attributes.UnsupportedSchema, path)
    }
  })
})

// -----------------------------------------------------------------------------
// Secrets
// -----------------------------------------------------------------------------

/** Each is as long as any secret, and unlike any other text. */
const hush = (place: string) => `HUSH-${place}`

interface Nested {
  readonly shownName: string
  readonly hushKey: Redacted.Redacted<string>
  readonly shownNext?: Nested
}

const NestedSchema = Schema.Struct({
  shownName: Schema.String,
  hushKey: Attribute.SecretText,
  shownNext: Schema.optionalKey(Schema.suspend((): Schema.Codec<Nested> => NestedSchema as never))
})

class Vault extends Schema.Class<Vault>("wire/Vault")({
  shownName: Schema.String,
  hushText: Attribute.SecretText,
  hushPlain: Schema.Redacted(Schema.String),
  hushPassword: Schema.optionalKey(Attribute.Password)
}) {}

const secretSchema = Schema.Struct({
  id: Schema.String,
  hushText: Attribute.SecretText,
  hushNumber: Attribute.SecretNumber,
  hushJson: Attribute.SecretJson,
  hushStruct: Attribute.Secret(
    Schema.Struct({ deep: Schema.Array(Schema.String), at: Schema.optionalKey(Schema.Date) })
  ),
  hushPlain: Schema.Redacted(Schema.String),
  hushFromValue: Schema.RedactedFromValue(Schema.String),
  hushOptional: Schema.optional(Attribute.SecretText),
  hushNull: Schema.NullOr(Attribute.SecretText),
  hushArray: Schema.Array(Attribute.SecretText),
  hushTuple: Schema.Tuple([Schema.String, Attribute.SecretText]),
  hushRecord: Schema.Record(Schema.String, Attribute.SecretText),
  hushUnion: Schema.Union([Attribute.SecretText, Schema.Struct({ code: Attribute.SecretNumber })]),
  hushOption: Schema.Option(Attribute.SecretText),
  hushMap: Schema.HashMap(Schema.String, Attribute.SecretText),
  hushItems: Schema.Array(Schema.Struct({ key: Attribute.SecretText, label: Schema.String })),
  hushValues: Schema.Record(
    Schema.String,
    Vault.mapFields(({ hushText, shownName }) => ({ hushText, shownName }))
  ),
  hushMembers: Schema.Union([
    Schema.Struct({ kind: Schema.Literal("a"), key: Attribute.SecretText }),
    Schema.Struct({ kind: Schema.Literal("b"), label: Schema.String })
  ]),
  hushInner: Schema.Option(Schema.Struct({ key: Attribute.SecretText })),
  hushPassword: Attribute.Password,
  hushPasswordOptional: Schema.optionalKey(Schema.NullOr(Attribute.PasswordWith({ min: 4 }))),
  shownStruct: Schema.Struct({
    shownLabel: Schema.String,
    shownDeeper: Schema.optionalKey(
      Schema.NullOr(Schema.Struct({ shownLabel: Schema.String, hushText: Attribute.SecretText }))
    )
  }),
  shownVault: Vault,
  shownRenamed: Schema.Struct({ key: Attribute.SecretText, word: Attribute.Password, shownLabel: Schema.String }).pipe(
    Schema.encodeKeys({ key: "hushKey", word: "hushWord" })
  ),
  shownNested: Schema.Struct({
    shownName: Schema.String,
    hushKey: Attribute.SecretText,
    hushNext: Schema.optionalKey(NestedSchema)
  }).mapFields(({ shownName, hushKey }) => ({ shownName, hushKey, hushChildren: Schema.Array(NestedSchema) }))
})

const secrets = Resource.define("secrets", { schema: secretSchema, primaryKey: "id", scan: true })

/** Where a wrong value goes: everything that is hidden, as it comes in. */
const secretInput = {
  id: "1",
  hushText: hush("text"),
  hushNumber: 4711.25,
  hushJson: { deep: [hush("json")] },
  hushStruct: { deep: [hush("struct")] },
  hushPlain: hush("plain"),
  hushFromValue: hush("fromValue"),
  hushOptional: hush("optional"),
  hushNull: hush("null"),
  hushArray: [hush("array0"), hush("array1")],
  hushTuple: ["x", hush("tuple")],
  hushRecord: { a: hush("record") },
  hushUnion: { code: 4712.25 },
  hushOption: { _tag: "Some", value: hush("option") },
  hushMap: [["a", hush("map")]],
  hushItems: [{ key: hush("item"), label: "x" }],
  hushValues: { a: { shownName: "x", hushText: hush("value") } },
  hushMembers: { kind: "a", key: hush("member") },
  hushInner: { _tag: "Some", value: { key: hush("inner") } },
  hushPassword: hush("password"),
  hushPasswordOptional: hush("passwordOptional"),
  shownStruct: { shownLabel: "label", shownDeeper: { shownLabel: "deeper", hushText: hush("deeper") } },
  shownVault: {
    shownName: "vault",
    hushText: hush("vaultText"),
    hushPlain: hush("vaultPlain"),
    hushPassword: hush("vaultPassword")
  },
  shownRenamed: { hushKey: hush("renamed"), hushWord: hush("word"), shownLabel: "renamed" },
  shownNested: {
    shownName: "nested",
    hushKey: hush("nested"),
    hushChildren: [{ shownName: "child", hushKey: hush("child"), shownNext: { shownName: "c", hushKey: hush("next") } }]
  }
}

const looksHidden = /HUSH|4711|4712|\$argon2/

const isSecretSchema = (ast: AST.AST): boolean => {
  const representations = [ast.annotations, ...(ast.checks ?? []).map((check) => check.annotations)].map(
    (annotations) => JSON.stringify(annotations?.["representation"] ?? null)
  )
  return representations.some((text) => /Redacted|schema\/Secret|"password"/.test(text))
}

/** Puts a value in the place of each hidden one, wherever that is, one after the other. */
const withWrong = (value: unknown, wrong: (hidden: unknown) => unknown): ReadonlyArray<unknown> => {
  if (looksHidden.test(String(value))) return [wrong(value)]
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => withWrong(item, wrong).map((one) => value.with(index, one) as unknown))
  }
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) =>
    withWrong(inner, wrong).map((one) => ({ ...value, [name]: one }))
  )
}

describe("secrets on a wire", () => {
  it("there are hidden values in every kind of place", () => {
    assert.isAtLeast(withWrong(secretInput, () => 0).length, 28)
    const codecs = new Set(
      secrets.attributes.filter(({ path }) => path.at(-1)!.startsWith("hush")).map(({ codec }) => codec)
    )
    assert.deepStrictEqual([...codecs].toSorted(), ["password", "secret"])
  })

  it.effect("what comes in is stored, and none of it is shown", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("secrets", { schema: secretSchema, primaryKey: "id", scan: true })
      const input = yield* Schema.decodeUnknownEffect(Wire.create(secrets))(secretInput)
      assert.notMatch(inspect(input, { depth: 20 }), looksHidden)
      const value = yield* repository.insert(input)
      assert.strictEqual(Redacted.value(value.hushText), hush("text"))
      assert.strictEqual(Redacted.value(HashMap.getUnsafe(value.hushMap, "a")), hush("map"))
      assert.strictEqual(Redacted.value(value.shownRenamed.key), hush("renamed"))
      const hasher = yield* PasswordHasher.PasswordHasher
      assert.isTrue(yield* hasher.verify(Redacted.make(hush("vaultPassword")), value.shownVault.hushPassword!))
      assert.isTrue(yield* hasher.verify(Redacted.make(hush("word")), value.shownRenamed.word))
      // In clear, as only the database sees it.
      const clear = yield* Effect.provideService(
        Schema.encodeEffect(Attributes.toStorageCodec(secretSchema))(value),
        Attributes.SecretsOpen,
        true
      )
      assert.isAtLeast(JSON.stringify(clear).split(/HUSH|4711|4712|\$argon2/).length, 28)
      const [found] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
      const expected = {
        id: "1",
        shownStruct: { shownLabel: "label", shownDeeper: { shownLabel: "deeper" } },
        shownVault: { shownName: "vault" },
        shownRenamed: { shownLabel: "renamed" },
        shownNested: { shownName: "nested" }
      }
      const show = Wire.toPublic(secrets)
      for (const json of [found!, clear as JsonObject]) {
        assert.deepStrictEqual<unknown>(show(json), expected)
        const codec = Schema.make<Schema.Codec<unknown, unknown>>(Wire.public(secrets).ast)
        assert.deepStrictEqual(Schema.encodeUnknownSync(codec)(json), expected)
        assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(json), expected)
      }
    }).pipe(Effect.provide(services))
  )

  it("none can be reached in what is shown", () => {
    const { ast } = Wire.public(secrets)
    for (const one of everySchema(ast)) assert.isFalse(isSecretSchema(one))
    assert.isTrue([...everySchema(Wire.create(secrets).ast)].some(isSecretSchema))
    assert.deepStrictEqual(
      fieldNames(ast).filter((name) => !name.startsWith("shown")),
      ["id"]
    )
    const text = JSON.stringify([Wire.jsonSchema(Wire.public(secrets)), Wire.jsonSchema(Wire.page(secrets))])
    assert.notMatch(text, /hush|password|hash/i)
  })

  it("no message tells of one, whatever is wrong with it", () => {
    const wrongs: ReadonlyArray<(hidden: unknown) => unknown> = [
      (hidden) => [hidden],
      (hidden) => ({ [String(hidden)]: hidden }),
      (hidden) => ({ value: hidden }),
      (hidden) => [[hidden], hidden],
      () => null,
      (hidden) => (typeof hidden === "string" ? 4711 : String(hidden))
    ]
    const options = { errors: "all", reportInput: true } as const
    let failures = 0
    for (const schema of [Wire.create(secrets), Wire.patch(secrets)]) {
      const decode = Schema.decodeUnknownResult(schema, options)
      for (const wrong of wrongs) {
        for (const input of withWrong(secretInput, wrong)) {
          const result = decode(input)
          if (Result.isSuccess(result)) continue
          failures += 1
          assertTellsNothing(result.failure)
        }
      }
      // And where the struct around them is not as it should be, or there are others beside them.
      for (const name of ["shownStruct", "shownVault", "shownRenamed", "shownNested"] as const) {
        for (const around of [
          [secretInput[name]],
          { ...secretInput[name], shownLabel: 4711, shownName: { HUSH: 1 } },
          { ...secretInput[name], other: hush("other") },
          hush("text")
        ]) {
          const result = decode({ ...secretInput, [name]: around, id: { HUSH: 4711 } })
          assert.isTrue(Result.isFailure(result))
          if (Result.isFailure(result)) assertTellsNothing(result.failure)
        }
      }
    }
    assert.isAbove(failures, 200)
  })

  it("a message of a schema's own is not told either", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      key: Attribute.Secret(Schema.String.check(Schema.makeFilter((text) => `not ${text}`)))
    })
    const decode = Schema.decodeUnknownResult(Wire.create(Resource.define("own", { schema, primaryKey: "id" })))
    assert.strictEqual(
      messageOf(decode({ id: "1", key: hush("own") })),
      `Expected a value that its schema allows\n  at ["key"]`
    )
    assert.include(messageOf(decode({ id: "1" })), "Missing key")
  })

  it("passwords where they cannot be hashed are no resource at all", () => {
    const places: ReadonlyArray<Schema.Top> = [
      Schema.Array(Attribute.Password),
      Schema.Record(Schema.String, Attribute.Password),
      Schema.Option(Attribute.Password),
      Schema.Union([Attribute.Password, Schema.Finite]),
      Schema.Array(Schema.Struct({ password: Attribute.Password }))
    ]
    for (const place of places) {
      const schema = Schema.Struct({ id: Schema.String, place }) as unknown as typeof secretSchema
      assert.throws(() => Resource.define("places", { schema, primaryKey: "id" }), Attributes.UnsupportedSchema)
    }
  })

  it.effect("what a migration leaves behind is not shown", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const before = Schema.Struct({ id: Schema.String, name: Schema.String, token: Attribute.SecretText })
      const old = yield* open("moved", { schema: before, primaryKey: "id", version: 1 })
      yield* old.insert({ id: "1", name: "Ada", token: Redacted.make(hush("left")) })
      const options = {
        schema: Schema.Struct({ id: Schema.String, first: Schema.String }),
        primaryKey: "id",
        version: 2,
        migrations: { 1: ({ name, ...rest }: JsonObject) => ({ ...rest, first: name! }) }
      } as const
      const moved = yield* (yield* openOn(store)).open("moved", options)
      const [json] = yield* Stream.runCollect(moved.queryJson({ scan: true }))
      const show = Wire.toPublic(Resource.define("moved", options))
      assert.deepStrictEqual<unknown>(show(json!), { id: "1", first: "Ada" })
    }).pipe(Effect.provide(services))
  )

  it.effect("a secret that the schema has lost on its way through the catalog is hidden all the same", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      // A type of its own, which does not travel: the catalog knows that it is a secret, and the schema does not.
      const Own = Schema.declareConstructor<ReadonlyArray<Redacted.Redacted<string>>>()(
        [Attribute.SecretText],
        ([item]) =>
          (input) =>
            Schema.decodeUnknownEffect(Schema.Array(item))(input).pipe(Effect.mapError(({ issue }) => issue)),
        {
          toCodecJson: ([item]) =>
            Schema.link<ReadonlyArray<Redacted.Redacted<string>>>()(
              Schema.Array(item),
              SchemaTransformation.passthrough() as never
            )
        }
      )
      const schema = Schema.Struct({ id: Schema.String, own: Own })
      yield* open("own", { schema, primaryKey: "id" })
      const definition = yield* Effect.provideService(Resource.fromCatalog("own"), Database.Database, database)
      assert.deepStrictEqual(Attributes.hiddenOf(definition.schema), [])
      assert.deepStrictEqual(fieldNames(Wire.public(definition).ast), ["id"])
      assert.deepStrictEqual<unknown>(Wire.toPublic(definition)({ id: "1", own: [hush("own")] }), { id: "1" })
    }).pipe(Effect.provide(services))
  )
})

// -----------------------------------------------------------------------------
// Documents of every kind
// -----------------------------------------------------------------------------

type AnySchema = Schema.Codec<unknown, unknown>

interface Wrapper {
  readonly name: string
  readonly schema: (value: AnySchema) => Schema.Top
  readonly value: (value: unknown) => unknown
}

class Holder extends Schema.Class<Holder>("wire/Holder")({ label: Schema.String }) {}

const wrappers: ReadonlyArray<Wrapper> = [
  { name: "plain", schema: (value) => value, value: (value) => value },
  { name: "optional key", schema: (value) => Schema.optionalKey(value), value: (value) => value },
  { name: "optional", schema: (value) => Schema.optional(value), value: (value) => value },
  { name: "or null", schema: (value) => Schema.NullOr(value), value: (value) => value },
  { name: "array", schema: (value) => Schema.Array(value), value: (value) => [value, value] },
  { name: "record", schema: (value) => Schema.Record(Schema.String, value), value: (value) => ({ "a.b": value }) },
  { name: "option", schema: (value) => Schema.Option(value), value: (value) => Option.some(value) },
  { name: "struct", schema: (value) => Schema.Struct({ inner: value }), value: (value) => ({ inner: value }) },
  {
    name: "renamed struct",
    schema: (value) => Schema.Struct({ inner: value, other: Schema.String }).pipe(Schema.encodeKeys({ inner: "in" })),
    value: (value) => ({ inner: value, other: "x" })
  },
  {
    name: "tagged member",
    schema: (value) =>
      Schema.Union([
        Schema.Struct({ kind: Schema.Literal("a"), value }),
        Schema.Struct({ kind: Schema.Literal("b"), holder: Holder })
      ]),
    value: (value) => ({ kind: "a", value })
  },
  {
    name: "structs in an array",
    schema: (value) => Schema.Array(Schema.Struct({ value, more: Schema.optionalKey(Schema.Array(value)) })),
    value: (value) => [{ value }, { value, more: [value] }]
  }
]

/** Numbers that look random, the same in every run. */
const random = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const resourceOf = (fields: Readonly<Record<string, Schema.Top>>) => {
  const schema = Schema.Struct({ id: Schema.String, ...fields }) as unknown as Attributes.DocumentSchema &
    Schema.Codec<{ readonly id: string }, unknown>
  const options = { schema, primaryKey: "id", scan: true } as const
  const encode = Schema.encodeUnknownSync(Schema.toCodecJson(schema))
  return {
    definition: Resource.define("sampled", options),
    options,
    jsonOf: (value: Readonly<Record<string, unknown>>) => encode({ id: "1", ...value }) as JsonObject
  }
}

/** The schema that a JSON Schema stands for. */
const imported = (codec: Schema.Top) =>
  Schema.decodeUnknownResult(
    SchemaRepresentation.fromJsonSchemaDocument(Wire.jsonSchema(codec), {
      patterns: "apply"
    }) as AnySchema,
    { onExcessProperty: "error" }
  )

/** The codecs of a resource, for values that are not typed. */
const codecsOf = ({ definition }: ReturnType<typeof resourceOf>) => {
  const untyped = (codec: Schema.Top) => Schema.make<AnySchema>(codec.ast)
  const both = (codec: AnySchema) => {
    const decode = Schema.decodeUnknownSync(codec)
    const encode = Schema.encodeUnknownSync(codec)
    return { codec, decode, roundTrip: (json: unknown) => encode(decode(json)), fits: imported(codec) }
  }
  return {
    create: both(untyped(Wire.create(definition))),
    patch: both(untyped(Wire.patch(definition))),
    open: both(untyped(Wire.public(definition))),
    show: Wire.toPublic(definition)
  }
}

describe("documents of every kind on a wire", () => {
  for (const sample of samples) {
    it(`${sample.name}: every value goes both ways, whatever is around it`, () => {
      for (const wrapper of wrappers) {
        const resource = resourceOf({ field: wrapper.schema(sample.schema) })
        const { create, open, patch, show } = codecsOf(resource)
        for (const { codec } of [create, open]) assertClosed(Wire.jsonSchema(codec))
        assert.isTrue(Result.isFailure(patch.fits({})))
        for (const value of sample.values) {
          const json = resource.jsonOf({ field: wrapper.value(value) })
          const { id: _, ...rest } = json
          const label = `${wrapper.name} ${JSON.stringify(json)}`
          assert.deepStrictEqual(create.roundTrip(json), json, label)
          assert.deepStrictEqual(patch.roundTrip(rest), rest, label)
          assert.deepStrictEqual<unknown>(show(json), json, label)
          assert.deepStrictEqual(open.decode(json), json, label)
          assert.deepStrictEqual(open.roundTrip(json), json, label)
          // JSON Schema allows it, too, and nothing beside it.
          for (const { fits } of [create, open]) {
            assert.isTrue(Result.isSuccess(fits(json)), label)
            assert.isTrue(Result.isFailure(fits({ ...json, other: 1 })), label)
          }
          assert.isTrue(Result.isSuccess(patch.fits(rest)), label)
        }
      }
    })

    it(`${sample.name}: what does not fit is refused`, () => {
      const { definition } = resourceOf({ field: sample.schema })
      const isText = sample.values.every((value) => typeof value === "string")
      for (const refused of isText ? sample.refused : []) {
        const result = Schema.decodeUnknownResult(Wire.create(definition))({ id: "1", field: refused })
        assert.include(messageOf(result), `at ["field"]`)
      }
    })
  }

  it.effect("what is inserted is what was sent, and what is shown", () =>
    Effect.gen(function* () {
      const pick = random(20_260_101)
      const stored = new Set<string>()
      for (let round = 0; round < 50; round++) {
        const picked = Array.from({ length: 1 + pick(5) }, (_, index) => {
          const sample = samples[pick(samples.length)]!
          const wrapper = wrappers[pick(wrappers.length)]!
          stored.add(sample.name)
          const value = wrapper.value(sample.values[pick(sample.values.length)])
          return { name: `f${index}`, schema: wrapper.schema(sample.schema), value }
        })
        const resource = resourceOf(Object.fromEntries(picked.map(({ name, schema }) => [name, schema])))
        const { definition, options } = resource
        const json = resource.jsonOf(Object.fromEntries(picked.map(({ name, value }) => [name, value])))
        const { open } = yield* openNew
        const repository = yield* open("sampled", options)
        const label = JSON.stringify(json)
        const input = yield* Schema.decodeUnknownEffect(Wire.create(definition))(json)
        yield* repository.insert(input)
        const [found] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
        assert.deepStrictEqual<unknown>(Wire.toPublic(definition)(found!), json, label)
        const { id: _, ...rest } = json
        const [name = ""] = Object.keys(rest)
        const changes = yield* Schema.decodeUnknownEffect(Wire.patch(definition))({ [name]: rest[name] })
        yield* repository.patch("1", changes)
        const [again] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
        assert.deepStrictEqual<unknown>(Wire.toPublic(definition)(again!), json, label)
      }
      assert.isAbove(stored.size, 40)
    })
  )
})

// -----------------------------------------------------------------------------
// Other declarations
// -----------------------------------------------------------------------------

describe("resources in the rule notation and from the catalog", () => {
  const notes = Resource.fromAttributes("notes", {
    title: "string|trim|lowercase|min:2",
    count: "number|convert|min:1|default:3",
    on: "boolean|convert|optional",
    at: "date|convert|optional",
    code: "string|convert|optional",
    tags: { type: "array", items: "string|uppercase", default: [] },
    place: { $$type: "object|optional", name: "string|trim", at: "geo:point:5|optional", pin: "secret|optional" },
    labels: "record|items:string|optional",
    password: "password|min:8"
  })

  it.effect("what the resource cleans up is cleaned up on the way in", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const repository = yield* Effect.provideService(Resource.make(notes), Database.Database, database)
      const json = {
        title: "  A Note ",
        count: "5",
        on: "yes",
        at: "2024-01-15",
        code: 7,
        tags: ["a", "b"],
        place: { name: " here ", at: { latitude: 1.123456789, longitude: 2 }, pin: "12" },
        password: "correct horse"
      }
      const input = yield* Schema.decodeUnknownEffect(Wire.create(notes))(json)
      const expected = {
        title: "a note",
        count: 5,
        on: true,
        at: new Date("2024-01-15"),
        code: "7",
        tags: ["A", "B"]
      }
      for (const [name, value] of Object.entries(expected)) {
        assert.deepStrictEqual((input as Readonly<Record<string, unknown>>)[name], value)
      }
      const inserted = yield* repository.insert(input)
      assert.strictEqual(inserted.id.length, 22)
      assert.deepStrictEqual(inserted.place?.at, { latitude: 1.12346, longitude: 2 })
      const changes = yield* Schema.decodeUnknownEffect(Wire.patch(notes))({
        count: "9",
        on: null,
        place: { name: " there " }
      })
      const changed = yield* repository.patch(inserted.id, changes)
      assert.strictEqual(changed.count, 9)
      assert.notProperty(changed, "on")
      assert.strictEqual(changed.place?.name, "there")
      assert.deepStrictEqual(changed.place?.at, inserted.place?.at)
    }).pipe(Effect.provide(services))
  )

  it("is as strict as the rules after the clean-up", () => {
    const decode = Schema.decodeUnknownResult(Wire.create(notes))
    const least = { title: "ab", password: "correct horse" }
    assert.isTrue(Result.isSuccess(decode(least)))
    assert.include(messageOf(decode({ ...least, title: "  a  " })), `at ["title"]`)
    assert.include(messageOf(decode({ ...least, count: "five" })), `at ["count"]`)
    assert.include(messageOf(decode({ ...least, count: "0" })), `at ["count"]`)
    assert.include(messageOf(decode({ ...least, at: "never" })), `at ["at"]`)
    assert.include(messageOf(decode({ ...least, tags: [1] })), `at ["tags"][0]`)
    assert.deepStrictEqual<unknown>(Wire.jsonSchema(Wire.create(notes)).schema["properties"], {
      id: { type: "string" },
      title: { type: "string", minLength: 1 },
      count: { anyOf: [{ type: "number", minimum: 1 }, { type: "string" }], default: 3 },
      on: { anyOf: [{ type: "boolean" }, { type: "string" }, { type: "number", enum: [0, 1] }] },
      at: { anyOf: [{ type: "string" }, { type: "number" }], format: "date-time" },
      code: { anyOf: [{ type: "string" }, { type: "number" }, { type: "boolean" }] },
      tags: { type: "array", items: { type: "string" }, default: [] },
      place: {
        type: "object",
        properties: {
          name: { type: "string" },
          at: {
            type: "object",
            properties: { latitude: { type: "number" }, longitude: { type: "number" } },
            required: ["latitude", "longitude"],
            additionalProperties: false,
            description: "a latitude from -90 to 90 and a longitude from -180 to 180"
          },
          pin: { type: "string" }
        },
        required: ["name"],
        additionalProperties: false
      },
      labels: { type: "object", additionalProperties: { type: "string" } },
      password: { type: "string", description: "a password as plain text", format: "password", writeOnly: true }
    })
  })

  it.effect("a definition from the catalog gives the same schemas", () =>
    Effect.gen(function* () {
      const declaring = yield* openNew
      // Who does not know what is computed may not write.
      const { computed: _, ...plain } = userOptions
      yield* declaring.open("users", plain)
      yield* Effect.provideService(Resource.make(notes), Database.Database, declaring.database)
      // As a program that has never seen them.
      const { database } = yield* openOn(declaring.store)
      const revived = yield* Effect.provideService(Resource.fromCatalog("notes"), Database.Database, database)
      assert.deepStrictEqual(Wire.jsonSchema(Wire.create(revived)), Wire.jsonSchema(Wire.create(notes)))
      assert.deepStrictEqual(Wire.jsonSchema(Wire.patch(revived)), Wire.jsonSchema(Wire.patch(notes)))
      assert.deepStrictEqual(Wire.jsonSchema(Wire.page(revived)), Wire.jsonSchema(Wire.page(notes)))
      const found = yield* Effect.provideService(Resource.fromCatalog("users"), Database.Database, database)
      const repository = yield* Effect.provideService(Resource.make(found), Database.Database, database)
      // What refers to itself is told in other words.
      const fieldsOf = (codec: Schema.Top) => without(Wire.jsonSchema(codec).schema["properties"] as object, "tree")
      assert.deepStrictEqual(fieldsOf(Wire.public(found)), fieldsOf(Wire.public(users)))
      // Defaults within other values do not travel.
      const whole = { article: "pen", amount: 1 }
      const more = { address: { city: "Porto", country: "PT" }, lines: [whole], prices: { pen: whole } }
      assert.include(messageOf(Schema.decodeUnknownResult(Wire.create(found))(given)), "Missing key")
      const input = yield* Schema.decodeUnknownEffect(Wire.create(found))({ ...given, ...more })
      const inserted = yield* repository.insert(input)
      assert.strictEqual(inserted["id"], "made")
      const changes = yield* Schema.decodeUnknownEffect(Wire.patch(found))({ address: { zip: "1" }, choice: null })
      const changed = yield* repository.patch("made", changes)
      assert.notProperty(changed, "choice")
      const [json] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
      const shown = Wire.toPublic(found, { protect: ["tree", "address.city"] })(json!)
      assert.deepStrictEqual(shown["address"], { country: "PT", zip: "1" })
      for (const name of ["pw", "token", "keys", "tree", "$createdAt"]) assert.notProperty(shown, name)
      assert.throws(() => Wire.toPublic(found, { protect: ["nope"] }), Attributes.UnsupportedSchema)
    }).pipe(Effect.provide(services))
  )
})

describe("JSON Schema of a wire", () => {
  it("is closed, with descriptions, formats and defaults", () => {
    for (const codec of [
      Wire.create(users),
      Wire.patch(users),
      Wire.public(users),
      Wire.page(users, { system: true })
    ]) {
      assertClosed(Wire.jsonSchema(codec))
    }
    const create = Wire.jsonSchema(Wire.create(users)).schema
    assert.deepStrictEqual(create["required"], ["mail", "joined", "balance", "lines", "prices", "pw", "token"])
    const properties = create["properties"] as Readonly<Record<string, unknown>>
    assert.deepStrictEqual(properties["mail"], { type: "string", description: "where mail goes", format: "email" })
    assert.deepStrictEqual(properties["joined"], {
      type: "string",
      description: "the first day",
      format: "date-time"
    })
    assert.deepStrictEqual(properties["balance"], {
      type: "string",
      description: "an amount with at most 2 decimals"
    })
    assert.deepStrictEqual(properties["role"], { type: "string", enum: ["user", "admin"], default: "user" })
    assert.deepStrictEqual(properties["lines"], {
      type: "array",
      items: {
        type: "object",
        properties: {
          article: { type: "string" },
          amount: { type: "integer", minimum: -(2 ** 53 - 1), maximum: 2 ** 53 - 1, default: 1 }
        },
        required: ["article"],
        additionalProperties: false
      },
      minItems: 1
    })
    const patch = Wire.jsonSchema(Wire.patch(users)).schema
    assert.notProperty(patch, "required")
    assert.strictEqual(patch["minProperties"], 1)
    assert.notProperty(patch["properties"], "id")
    const open = Wire.jsonSchema(Wire.public(users, { system: true })).schema["properties"]
    assert.deepStrictEqual((open as Readonly<Record<string, unknown>>)["$createdAt"], {
      type: "string",
      description: "when it was created",
      format: "date-time"
    })
    // Those of `Schema.toJsonSchemaDocument` by itself, as an HTTP API asks for it, say the same of fields.
    const plain = Schema.toJsonSchemaDocument(Wire.create(users)).schema["properties"]
    assert.deepStrictEqual((plain as Readonly<Record<string, unknown>>)["mail"], properties["mail"])
  })

  it("fits what the schemas take", () => {
    const { role: _, ...more } = { ...given, role: "user" }
    assert.isTrue(Result.isSuccess(imported(Wire.create(users))(more)))
    assert.isTrue(Result.isFailure(imported(Wire.create(users))({ ...more, other: 1 })))
    assert.isTrue(Result.isFailure(imported(Wire.create(users))({ ...more, address: { city: "x", other: 1 } })))
    assert.isTrue(Result.isSuccess(imported(Wire.patch(users))({ choice: null, address: { zip: null } })))
    assert.isTrue(Result.isFailure(imported(Wire.patch(users))({ mail: null })))
  })

  it("has definitions of its own for what is within itself", () => {
    const { definitions } = Wire.jsonSchema(Wire.create(users))
    assert.strictEqual(Object.keys(definitions).length, 1)
  })
})

// -----------------------------------------------------------------------------
// Hostile input
// -----------------------------------------------------------------------------

describe("hostile input on a wire", () => {
  const nested = (levels: number, around: (inner: unknown) => unknown): unknown => {
    let value: unknown = around(undefined)
    for (let level = 0; level < levels; level++) value = around(value)
    return value
  }

  it("__proto__ is a field that nobody has declared, wherever it is", () => {
    const parse = (text: string): unknown => JSON.parse(text)
    const evil = `"__proto__":{"polluted":true}`
    const places: ReadonlyArray<readonly [string, unknown]> = [
      [`["__proto__"]`, parse(`{${evil},${JSON.stringify(given).slice(1)}`)],
      [`["address"]["__proto__"]`, { ...given, address: parse(`{${evil},"city":"x"}`) }],
      [`["lines"][0]["__proto__"]`, { ...given, lines: [parse(`{${evil},"article":"x"}`)] }]
    ]
    for (const [path, input] of places) {
      assert.strictEqual(messageOf(create(input)), `Expected no such field\n  at ${path}`)
    }
    assert.strictEqual(messageOf(patch(parse(`{${evil}}`))), `Expected no such field\n  at ["__proto__"]`)
    for (const json of [{ free: parse(`{${evil}}`) }, { prices: parse(`{"__proto__":{"article":"x","amount":1}}`) }]) {
      const shown: Readonly<Record<string, unknown>> = Wire.toPublic(users)({
        ...given,
        ...(json as JsonObject)
      }) as never
      assert.isUndefined(({} as Readonly<Record<string, unknown>>)["polluted"])
      assert.strictEqual(Object.getPrototypeOf(shown["prices"]), Object.prototype)
      assert.isUndefined((shown["prices"] as Readonly<Record<string, unknown>>)["article"])
    }
  })

  it.effect("__proto__ within records and free JSON is refused by the resource", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("users", userOptions)
      for (const field of [
        { free: JSON.parse(`{"__proto__":1}`) as unknown },
        { prices: JSON.parse(`{"__proto__":{"article":"x"}}`) as unknown }
      ]) {
        const input = yield* Schema.decodeUnknownEffect(Wire.create(users))({ ...given, ...field })
        assert.strictEqual(Object.getPrototypeOf(input), Object.prototype)
        const error = yield* Effect.flip(repository.insert(input))
        assert.strictEqual(error._tag, "InvalidInput")
      }
    }).pipe(Effect.provide(services))
  )

  it("30,000 levels end with an error, not with the process", () => {
    const trees = nested(30_000, (inner) => ({ name: "x", children: inner === undefined ? [] : [inner] }))
    const lists = nested(30_000, (inner) => (inner === undefined ? [] : [inner]))
    const objects = nested(30_000, (inner) => ({ inner: inner ?? 1 }))
    const inputs: ReadonlyArray<unknown> = [
      { ...given, tree: trees },
      { ...given, free: lists },
      { ...given, free: objects },
      { ...given, address: objects },
      { ...given, token: lists },
      { ...given, id: objects },
      { ...given, other: lists },
      lists,
      objects
    ]
    for (const input of inputs) {
      for (const options of [{}, { errors: "all" }] as const) {
        assert.isTrue(Result.isFailure(create(input, options)))
        assert.isTrue(Result.isFailure(patch(input, options)))
      }
    }
    assert.strictEqual(messageOf(create(inputs[0])), "Expected no more than 600 levels")
    assert.strictEqual(messageOf(create(inputs[1])), "Expected no more than 600 levels")
    assert.isTrue(Result.isSuccess(create({ ...given, free: nested(400, (inner) => [inner ?? 1]) })))
    // What goes out is not counted: it has been stored.
    const show = Wire.toPublic(users, { protect: ["free.inner.inner"] })
    const shown = show({ ...given, tree: trees, free: objects } as JsonObject)
    assert.deepStrictEqual<unknown>(shown.free, { inner: {} })
    assert.isDefined(shown.tree)
  })

  it("huge arrays and objects come to an end, and one of many mistakes is told", () => {
    const many = Array.from({ length: 150_000 }, (_, index) => index)
    assert.isTrue(Result.isSuccess(create({ ...given, free: many })))
    assert.isTrue(Result.isFailure(create({ ...given, keys: many })))
    assert.isTrue(Result.isFailure(create({ ...given, lines: many })))
    const fields = Object.fromEntries(many.map((index) => [`f${index}`, index]))
    // One of them is named, not all.
    assert.strictEqual(messageOf(create({ ...given, ...fields }, { errors: "all" })).split("\n").length, 2)
    assert.strictEqual(Object.keys(Wire.toPublic(users)({ ...given, ...fields } as unknown as JsonObject)).length, 11)
    const lines = many.map(() => ({ article: "x", amount: 1 }))
    assert.strictEqual(Wire.toPublic(users)({ ...given, lines } as unknown as JsonObject).lines.length, many.length)
  })

  it.effect("text of every kind comes through, or is refused by the resource", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const repository = yield* open("users", userOptions)
      const texts = [...hostileTexts, "\uDC00\uD800", "a".repeat(100_000)]
      const json = {
        ...given,
        nick: "\uD800",
        token: "\uDC00",
        free: texts,
        lines: texts.map((article) => ({ article }))
      }
      yield* repository.insert(yield* Schema.decodeUnknownEffect(Wire.create(users))(json))
      const [found] = yield* Stream.runCollect(repository.queryJson({ scan: true }))
      const shown = Wire.toPublic(users)(found!)
      assert.strictEqual(shown.nick, "\uD800")
      assert.deepStrictEqual<unknown>(shown.free, texts)
      assert.deepStrictEqual(
        shown.lines.map(({ article }) => article),
        texts
      )
      assert.strictEqual(Redacted.value((yield* repository.get("made")).token), "\uDC00")
      const input = yield* Schema.decodeUnknownEffect(Wire.create(users))({ ...given, id: "\uD800" })
      assert.strictEqual((yield* Effect.flip(repository.insert(input)))._tag, "InvalidInput")
    }).pipe(Effect.provide(services))
  )

  it("whatever is no object is refused", () => {
    for (const input of [undefined, null, 1, "x", true, [], [given], () => given, Symbol("x"), 1n, new Date(0)]) {
      assert.isTrue(Result.isFailure(create(input)))
      assert.isTrue(Result.isFailure(patch(input)))
    }
    for (const input of [
      { ...given, free: undefined },
      { ...given, free: () => 1 },
      { ...given, free: Number.NaN }
    ]) {
      assert.include(messageOf(create(input)), `at ["free"]`)
    }
  })
})

const assertTellsNothing = (error: Schema.SchemaError): void => {
  // Around it, Effect keeps the whole input where that is wanted, and tells nobody.
  const within = error.issue._tag === "Encoding" ? error.issue.issue : error.issue
  const seen = [error.message, String(error.issue), JSON.stringify(error), inspect(error), everyText(within)]
  for (const text of seen) assert.notMatch(text, looksHidden)
}

/** Every text that an issue holds, however deep, but those of schemas. */
const everyText = (issue: unknown): string => {
  const texts: Array<string> = []
  const visit = (value: unknown): void => {
    if (AST.isAST(value) || typeof value === "function") return
    if (typeof value !== "object" || value === null) {
      texts.push(String(value))
      return
    }
    for (const key of Reflect.ownKeys(value)) {
      const isOwnSchema = key === "ast" || key === "filter" || key === "annotations"
      if (!isOwnSchema) visit((value as Readonly<Record<PropertyKey, unknown>>)[key])
    }
  }
  visit(issue)
  return texts.join("\n")
}
