import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Portable from "effect-s3db/Portable"
import * as Resource from "effect-s3db/Resource"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as Rules from "effect-s3db/schema/Rules"
import { memory, openNew, openOn } from "../fixture.ts"

const compiled = (attributes: Rules.Attributes) => Result.getOrThrow(Rules.toSchemaResult(attributes))

const fits = (attributes: Rules.Attributes, value: unknown): boolean =>
  Result.isSuccess(Schema.decodeUnknownResult(Schema.toType(compiled(attributes)))(value))

const problemsOf = (attributes: Rules.Attributes): ReadonlyArray<string> => {
  const result = Rules.toSchemaResult(attributes)
  return Result.isFailure(result) ? Rules.describe(result.failure).split("\n") : []
}

const rulesOf = <A extends Rules.Attributes>(name: string, attributes: A) =>
  Resource.fromAttributes(name, attributes as never) as unknown as Resource.Definition<
    Rules.Compiled<{ readonly [field: string]: unknown }, { readonly [field: string]: unknown }>
  >

/** [rule, values that fit, values that do not, codec] */
const table: ReadonlyArray<readonly [unknown, ReadonlyArray<unknown>, ReadonlyArray<unknown>, string]> = [
  ["string", ["", "x"], [1, null], "string"],
  ["string|min:2|max:4", ["ab", "abcd"], ["a", "abcde"], "string"],
  ["string|length:3", ["abc"], ["ab"], "string"],
  ["string|empty:false", ["a"], [""], "string"],
  ["string|pattern:^a|b$", ["ax", "xb"], ["xx"], "string"],
  ["string|pattern:/^ab:c$/i", ["AB:c"], ["x"], "string"],
  ["string|alpha", ["aB"], ["a1"], "string"],
  ["string|alphanum", ["a1"], ["a-"], "string"],
  ["string|alphadash", ["a-_1"], ["a b"], "string"],
  ["string|numeric", ["01"], ["1a"], "string"],
  ["string|nullable", [null, "x"], [undefined], "string"],
  ["enum|values:a,b", ["a", "b"], ["c"], 'choice:["a","b"]'],
  ["string|enum:a,b", ["a"], ["c"], 'choice:["a","b"]'],
  [{ type: "enum", values: [1, 2] }, [1], [3, "1"], "choice:[1,2]"],
  ["integer|enum:1,2", [1], [3, "1"], "choice:[1,2]"],
  ["number|min:0|max:10", [0, 10, 2.5], [-1, 11, "5"], "number"],
  ["number|integer|positive", [1], [0, 1.5], "number"],
  ["integer|negative", [-1], [0, -1.5], "number"],
  ["boolean", [true], ["true"], "boolean"],
  ["date", [new Date(0)], ["2024-01-01"], "date"],
  ["datetime", [DateTime.makeUnsafe(0)], [new Date(0)], "date"],
  ["dateonly", ["2024-02-29"], ["2023-02-29"], "dateonly"],
  ["timeonly", ["12:00"], ["24:00"], "timeonly"],
  ["uuid", ["550e8400-e29b-41d4-a716-446655440000"], ["x"], "uuid"],
  ["email", ["a@b.co"], ["a"], "string"],
  ["url", ["https://x.y/"], ["x.y"], "string"],
  ["ip4", ["10.0.0.1"], ["999.1.1.1"], "ip4"],
  ["ip6", ["::1"], ["1.2.3.4"], "ip6"],
  ["money", [BigDecimal.fromStringUnsafe("1.25")], [1.25, BigDecimal.fromStringUnsafe("1.255")], "money:2"],
  ["money:JPY", [BigDecimal.fromStringUnsafe("100")], [BigDecimal.fromStringUnsafe("0.5")], "money:0"],
  ["money:3", [BigDecimal.fromStringUnsafe("1.255")], [], "money:3"],
  ["crypto:18", [BigDecimal.fromStringUnsafe("1.000000000000000001")], [], "money:18"],
  ["decimal:3", [BigDecimal.fromStringUnsafe("-1.125")], [], "decimal:3"],
  ["geo:lat", [-23.5], [91], "lat:6"],
  ["geo:lon:4", [-180], [181], "lon:4"],
  ["geo:point:5", [{ latitude: 1, longitude: 2 }], [{ latitude: 1 }], "point:5"],
  ["embedding:3", [[1, 2, 3]], [[1, 2]], "vector:3:6"],
  ["embedding:3:int8", [[1, 2, 3]], [], "vector:3:int8"],
  ["embedding:3:4", [[1, 2, 3]], [], "vector:3:4"],
  ["array|items:number|length:300", [Array.from({ length: 300 }, () => 1e-7)], [[0]], "array:number"],
  [
    { type: "array", items: "integer|min:0", length: 300 },
    [Array.from({ length: 300 }, () => 1)],
    [Array.from({ length: 300 }, () => -1.5), Array.from({ length: 300 }, () => -1)],
    "array:number"
  ],
  [
    { type: "array", items: "geo:point", length: 300 },
    [Array.from({ length: 300 }, () => ({ latitude: 1, longitude: 2 }))],
    [Array.from({ length: 300 }, () => 1)],
    "array:point:6"
  ],
  ["bits:12", [Uint8Array.of(1, 16)], [Uint8Array.of(1)], "bytes"],
  ["bytes", [new Uint8Array(3)], ["AQID"], "bytes"],
  ["json", [null, { a: [1] }], [undefined], "json"],
  ["secret", [Redacted.make("x")], ["x", Redacted.make(1)], "secret"],
  ["secretNumber", [Redacted.make(1)], [Redacted.make("x")], "secret"],
  ["secretAny", [Redacted.make({ a: 1 })], [1], "secret"],
  [
    "array|items:string|min:1|max:2|unique",
    [["a"], ["a", "b"]],
    [[], ["a", "a"], ["a", "b", "c"], [1]],
    "array:string"
  ],
  ["array|items:ip4", [["1.2.3.4"]], [["x"]], "array:ip4"],
  ["array", [[1, "x"]], [{}], "json"],
  ["array|empty:false", [[1]], [[]], "json"],
  [{ type: "array", items: { sku: "string", n: "integer|optional" } }, [[{ sku: "a" }]], [[{ n: 1 }]], "json"],
  ["record|items:number|min:1", [{ a: 1 }], [{}, { a: "x" }], "json"],
  [{ type: "string", min: 2, optional: true }, ["ab", undefined], ["a"], "string"],
  [{ type: "string|min:2", max: 3 }, ["ab"], ["a", "abcd"], "string"]
]

describe("Rules", () => {
  it.each(table)("%j", (rule, good, bad, codec) => {
    for (const value of good) {
      const document = value === undefined ? {} : { field: value }
      assert.isTrue(fits({ field: rule }, document), String(value))
    }
    for (const value of bad) assert.isFalse(fits({ field: rule }, { field: value }), String(value))
    const definition = rulesOf("things", { field: rule })
    assert.strictEqual(definition.attributes.find((one) => one.path[0] === "field")?.codec, codec)
    // The same after the way through JSON.
    assert.deepStrictEqual(Resource.omissions(definition), [])
    const revived = Result.getOrThrow(Portable.toDefinition(JSON.parse(JSON.stringify(definition.portable))))
    const check = Schema.decodeUnknownResult(Schema.toType(revived.schema))
    for (const value of good.filter((one) => one !== undefined)) {
      assert.isTrue(Result.isSuccess(check({ id: "1", field: value })), String(value))
    }
    for (const value of bad) assert.isTrue(Result.isFailure(check({ id: "1", field: value })), String(value))
  })

  it("T59: [], [''] and nothing are three things", () => {
    const attributes = { tags: "array|items:string|optional" }
    for (const value of [{ tags: [] }, { tags: [""] }, {}]) assert.isTrue(fits(attributes, value))
  })

  it("T62: nested attributes, said to be optional or not, and explicit ones", () => {
    const attributes = {
      address: { city: "string", zip: "string|optional" },
      work: { $$type: "object|optional|nullable", city: "string" },
      link: { type: "string", href: "url" },
      box: { type: "object", props: { a: "string" }, strict: true }
    }
    const whole = { address: { city: "x" }, link: { type: "t", href: "https://x.y/" }, box: { a: "b" } }
    assert.isTrue(fits(attributes, whole))
    assert.isTrue(fits(attributes, { ...whole, work: null }))
    assert.isFalse(fits(attributes, { ...whole, work: {} }))
    assert.isFalse(fits(attributes, { ...whole, address: undefined }))
    // Elsewhere unknown keys are left out, under any name.
    const decoded = Schema.decodeUnknownSync(Schema.toType(compiled(attributes)))({
      ...whole,
      address: { city: "x", other: 1 }
    }) as typeof whole
    assert.deepStrictEqual(decoded.address, { city: "x" })
  })

  it("says what is wrong, where, and what may have been meant", () => {
    assert.deepStrictEqual(problemsOf({ age: "number|minn:3" }), [
      'age: unknown rule "minn", did you mean "min"? in "number|minn:3"'
    ])
    assert.deepStrictEqual(problemsOf({ a: "strng", b: { c: "email|min:x" }, _d: "string" }), [
      'a: unknown type "strng", did you mean "string"? in "strng"',
      '_d: the name "_d" is reserved'
    ])
    assert.deepStrictEqual(problemsOf({ b: { c: "email|min:x" } }), [
      'b.c: min has to be an integer from 0 in "email|min:x"'
    ])
    const cases: ReadonlyArray<readonly [Rules.Attributes, string]> = [
      [{}, "there are no attributes"],
      [{ a: "boolean|min:2" }, 'the rule "min" does not apply to boolean'],
      [{ a: 5 }, "expected a rule"],
      [{ a: null }, "expected a rule"],
      [{ id: "string" }, "id is the primary key"],
      [{ "a.b": "string" }, "holds a dot"],
      [{ "": "string" }, "a name is empty"],
      [JSON.parse('{"__proto__":"string"}') as Rules.Attributes, "is reserved"],
      [{ constructor: "string" }, "is reserved"],
      [{ a: "enum" }, "an enum needs its values"],
      [{ a: "enum|values:" }, "the values are missing"],
      [{ a: "integer|enum:1,x" }, "each value has to be a number"],
      [{ a: "geo" }, "geo is geo:lat"],
      [{ a: "geo:up" }, "geo is geo:lat"],
      [{ a: "embedding" }, "the length of an embedding"],
      [{ a: "embedding:0" }, "the length must be an integer"],
      [{ a: "money:XYZ" }, "unknown currency"],
      [{ a: "password:md5" }, "bcrypt or argon2id"],
      [{ a: "string|pattern:(" }, "no regular expression"],
      [{ a: "number|default:x" }, "the default does not fit"],
      [{ a: { $$type: "array", b: "string" } }, "in $$type"],
      [{ a: { type: "array", props: {} } }, "props belong to the type object"],
      [{ a: { type: "number", min: "x" } }, "min has to be a number"]
    ]
    for (const [attributes, message] of cases) assert.include(problemsOf(attributes).join("\n"), message)
    assert.throws(() => Rules.toSchema({ a: "strng" } as never), Attributes.UnsupportedSchema)
  })

  it("hostile attributes are problems, never an exception, and no long wait", () => {
    let deep: unknown = "string"
    for (let i = 0; i < 20_000; i++) deep = { a: deep }
    assert.include(problemsOf({ a: deep }).join(), "nested more than 100 deep")
    let items: unknown = "string"
    for (let i = 0; i < 5000; i++) items = { type: "array", items }
    assert.include(problemsOf({ a: items }).join(), "nested more than 100 deep")
    const cyclic: Record<string, unknown> = {}
    cyclic["a"] = cyclic["b"] = cyclic
    assert.include(problemsOf(cyclic).join(), "hold themselves")
    for (const wrong of [null, undefined, 5, "string", []]) {
      assert.deepStrictEqual(problemsOf(wrong as never), ["expected an object of attributes"])
    }
    const wrongRules = (count: number) => problemsOf({ a: `string${"|mni:1".repeat(count)}` })
    const many = wrongRules(20_000)
    assert.strictEqual(many.length, 20_000)
    assert.isBelow(many[0]!.length, 400)
    assert.isBelow(problemsOf({ a: "x".repeat(1_000_000) })[0]!.length, 600)
    // Eight times as many take about eight times as long, and not 64 times.
    const least = (count: number) => {
      const times = Array.from({ length: 3 }, () => {
        const start = process.cpuUsage()
        wrongRules(count)
        return process.cpuUsage(start).user
      })
      return Math.min(...times)
    }
    assert.isBelow(least(16_000), least(2000) * 8 * 4)
  })

  it("spaces around | mean nothing, but to a pattern", () => {
    assert.isTrue(fits({ a: "string | pattern:^(a|b)$" }, { a: "b" }))
    assert.isFalse(fits({ a: "string | pattern : ^(a|b)$" }, { a: "b" }))
    assert.isTrue(fits({ a: "string | min:2 | optional" }, {}))
    assert.isTrue(fits({ a: "enum | values: admin, user" }, { a: "user" }))
    const made = compiled({ a: "string | default:user | min:2", b: { type: "boolean", default: false } }).make({})
    assert.deepStrictEqual(made, { a: "user", b: false })
    assert.deepStrictEqual(compiled({ b: "boolean|default:false" }).make({}), { b: false })
    assert.isFalse(fits({ a: { type: "string", empty: false } }, { a: "" }))
    assert.isTrue(fits({ a: { type: "string", empty: true, optional: false } }, { a: "" }))
  })

  it("messages of one's own", () => {
    const attributes = { name: { type: "string", min: 2, messages: { min: "too short, sorry" } } }
    const result = Schema.decodeUnknownResult(compiled(attributes))({ name: "x" })
    assert.include(Result.isFailure(result) ? result.failure.message : "", "too short, sorry")
  })

  it.effect("T61: defaults in both forms, and clean-up that changes what is stored", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database } = yield* openOn(store)
      const definition = Resource.fromAttributes("users", {
        name: "string|trim|lowercase|min:2",
        code: { type: "string", uppercase: true, optional: true },
        age: "integer|convert|default:18",
        active: { type: "boolean", convert: true, default: true },
        born: "date|convert|optional",
        role: "enum|values:admin,user|default:user",
        tags: { type: "array", items: "string", default: ["new"] },
        price: "money|default:9.99",
        zip: "string|convert|optional",
        nick: "string|nullable|default:null",
        inner: { name: "string|trim" }
      })
      const users = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      const inserted = yield* users.insert({
        id: "1",
        name: "  BOB ",
        code: "ab",
        age: "42" as unknown as number,
        active: "no" as unknown as boolean,
        born: "2024-01-15T00:00:00Z" as unknown as Date,
        zip: 1234 as unknown as string,
        inner: { name: " x " }
      })
      assert.strictEqual(BigDecimal.format(inserted.price), "9.99")
      assert.deepStrictEqual(
        { ...inserted, price: 0 },
        {
          id: "1",
          name: "bob",
          code: "AB",
          age: 42,
          active: false,
          born: new Date("2024-01-15T00:00:00Z"),
          role: "user",
          tags: ["new"],
          price: 0,
          zip: "1234",
          nick: null,
          inner: { name: "x" }
        }
      )
      assert.isTrue(Equal.equals(yield* users.get("1"), inserted))
      const made = yield* users.insert({ name: "Ada", inner: { name: "y" } })
      assert.deepInclude(made, { name: "ada", age: 18, active: true, nick: null })
      assert.strictEqual(made.id.length, 22)
      const updated = yield* users.update("1", { name: " EVE ", "inner.name": " z " })
      assert.deepInclude(updated, { name: "eve", inner: { name: "z" } })
      const wrong = yield* Effect.flip(users.insert({ name: " x ", inner: { name: "y" } }))
      assert.strictEqual((wrong as DbError.InvalidInput).issues[0]?.path.join("."), "name")
      // The same in a program that has only the catalog.
      const known = yield* Effect.provideService(Resource.fromCatalog("users"), Database.Database, database)
      const undeclared = yield* Effect.provideService(Resource.make(known), Database.Database, database)
      const other = yield* undeclared.insert({ name: " CY ", age: "7", inner: { name: " q " } })
      assert.deepInclude(other, { name: "cy", age: 7, role: "user", inner: { name: "q" } })
    })
  )

  it.effect("a vector that its format cannot hold is refused, not stored as zeros", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const formats = { int8: "embedding:2:int8|optional", half: "embedding:2:float16|optional" } as const
      const vectors = yield* Effect.provideService(
        Resource.make(Resource.fromAttributes("vectors", formats)),
        Database.Database,
        database
      )
      for (const wrong of [{ int8: [1e41, 1] }, { int8: [1e-45, 0] }, { half: [1e9, 1] }, { half: [1e-9, 0] }]) {
        const error = yield* Effect.flip(vectors.insert(wrong))
        assert.match(error.message, /Expected 2 finite numbers that (int8|float16) can hold/)
      }
      const fine = yield* vectors.insert({ id: "1", int8: [1e-40, 0], half: [65519, 1e-9] })
      assert.strictEqual(fine.half?.[0], 65504)
      assert.deepStrictEqual(yield* vectors.get("1"), fine)
    })
  )

  it.effect("a strict object refuses other keys", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const definition = Resource.fromAttributes(
        "boxes",
        {
          loose: { a: "string" },
          box: { type: "object", props: { a: "string" }, strict: true, optional: true }
        },
        { onExcessProperty: "ignore" }
      )
      const boxes = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      const other = { a: "x", c: 1 }
      assert.deepInclude(yield* boxes.insert({ id: "1", loose: other }), { loose: { a: "x" } })
      const error = yield* Effect.flip(boxes.insert({ id: "2", loose: other, box: other }))
      assert.deepStrictEqual((error as DbError.InvalidInput).issues, [
        { path: ["box", "c"], message: "Expected no such field" }
      ])
      assert.deepStrictEqual(Resource.omissions(definition), [])
    })
  )

  it.effect("ids of other kinds, and passwords with rules", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const definition = Resource.fromAttributes(
        "logins",
        { password: "password:bcrypt|min:8", token: "secret|optional" },
        { idKind: "ulid", behavior: "enforce-limits" }
      )
      assert.strictEqual(definition.behavior, "enforce-limits")
      const logins = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      const short = yield* Effect.flip(logins.insert({ password: Redacted.make("short") }))
      assert.include(short.message, "password: Expected a password of at least 8 characters")
      const login = yield* logins.insert({ password: Redacted.make("correct horse"), token: Redacted.make("t") })
      assert.match(login.id, /^[0-9A-HJKMNP-TV-Z]{26}$/)
      assert.isTrue(PasswordHash.toText(login.password).startsWith("$2b$12$"))
    }).pipe(
      Effect.provide([
        PasswordHasher.layer,
        KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32)) } })
      ])
    )
  )
})
