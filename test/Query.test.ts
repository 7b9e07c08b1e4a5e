import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as EffectOrder from "effect/Order"
import * as Result from "effect/Result"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as Query from "effect-s3db/Query"
import { random, type Random } from "./encoding/random.ts"

const isMatch = (predicate: Query.Predicate, document: JsonObject, options?: Query.Options): boolean =>
  Query.matches(predicate, options)(document)

const where = (input: unknown, options?: Query.ParseOptions): Query.Predicate =>
  Result.getOrThrow(Query.fromJson(input, options))

const problemOf = (result: Result.Result<unknown, Query.Problem>): string =>
  Result.match(result, {
    onFailure: ({ path, message }) => `${path.join("/")}: ${message}`,
    onSuccess: () => "no problem"
  })

const refused = (input: unknown, options?: Query.ParseOptions): string => problemOf(Query.fromJson(input, options))

const parsed = (text: string): JsonObject => JSON.parse(text)

const decimal: Query.Options = { orderOf: () => "decimal" }

const nested = (depth: number, inner: Json, wrap: (value: Json) => Json): Json => {
  let value = inner
  for (let i = 0; i < depth; i++) value = wrap(value)
  return value
}

interface User {
  readonly id: string
  readonly name: string
  readonly age: number
  readonly country?: string | undefined
  readonly isActive: boolean
  readonly born: Date
  readonly seen: DateTime.Utc
  readonly balance: BigDecimal.BigDecimal
  readonly address: { readonly city: string; readonly geo: { readonly lat: number } }
  readonly tags: ReadonlyArray<string>
  readonly deletedAt: Date | null
  readonly and: string
}

const user = {
  id: "u1",
  name: "Ana",
  age: 30,
  country: "BR",
  isActive: true,
  address: { city: "Recife", geo: { lat: -8 } },
  tags: ["x", "y"],
  deletedAt: null,
  and: "a field"
} satisfies JsonObject

describe("values", () => {
  it("are equal by structure", () => {
    assert.isTrue(isMatch(Query.eq("a", { x: 1, y: [1, { z: null }] }), { a: { y: [1, { z: null }], x: 1 } }))
    assert.isFalse(isMatch(Query.eq("a", { x: 1 }), { a: { x: 1, y: 1 } }))
    assert.isFalse(isMatch(Query.eq("a", { x: 1, y: 1 }), { a: { x: 1 } }))
    assert.isFalse(isMatch(Query.eq("a", {}), { a: [] }))
    assert.isFalse(isMatch(Query.eq("a", []), { a: {} }))
    assert.isFalse(isMatch(Query.eq("a", "1"), { a: 1 }))
    assert.isFalse(isMatch(Query.eq("a", false), { a: 0 }))
    assert.isFalse(isMatch(Query.eq("a", { x: 1 }), { a: null }))
    assert.isFalse(isMatch(Query.eq("a", { toString: 1 }), { a: { b: 1 } }))
    assert.isTrue(isMatch(Query.eq("a", [[1]]), { a: [[1]] }))
  })

  it("-0 equals 0, NaN nothing", () => {
    for (const [a, b] of [
      [0, -0],
      [-0, 0]
    ] as const) {
      assert.isTrue(isMatch(Query.eq("a", a), { a: b }))
      assert.isTrue(isMatch(Query.in("a", [a, 5]), { a: b }))
      assert.isTrue(isMatch(Query.gte("a", a), { a: b }))
      assert.isFalse(isMatch(Query.gt("a", a), { a: b }))
      assert.isTrue(Query.isEqual([a], [b]))
    }
    for (const test of [Query.eq, Query.gt, Query.gte, Query.lt, Query.lte]) {
      assert.isFalse(isMatch(test("a", NaN), { a: NaN }))
      assert.isFalse(isMatch(test("a", 1), { a: NaN }))
    }
    assert.isFalse(isMatch(Query.in("a", [NaN]), { a: NaN }))
  })

  it("have an order among their kind only", () => {
    assert.isTrue(isMatch(Query.gt("a", 9), { a: 10 }))
    assert.isFalse(isMatch(Query.gt("a", "9"), { a: "10" }))
    assert.isFalse(isMatch(Query.gt("a", 9), { a: "10" }))
    assert.isFalse(isMatch(Query.lt("a", "b"), { a: 1 }))
    assert.isFalse(isMatch(Query.gte("a", true), { a: true }))
    assert.isFalse(isMatch(Query.gte("a", null), { a: null }))
    assert.isFalse(isMatch(Query.gte("a", { x: 1 }), { a: { x: 1 } }))
    assert.isFalse(isMatch(Query.between("a", 1, "z"), { a: 5 }))
    assert.isTrue(isMatch(Query.between("a", 1, 5), { a: 5 }))
    assert.isTrue(isMatch(Query.between("a", 5, 5), { a: 5 }))
    assert.isFalse(isMatch(Query.between("a", 5, 1), { a: 3 }))
  })

  it("texts go by code points, not by UTF-16 units", () => {
    assert.deepStrictEqual(["😀", "\uFF61"].toSorted(), ["😀", "\uFF61"])
    assert.isTrue(isMatch(Query.lt("a", "😀"), { a: "\uFF61" }))
    assert.isTrue(isMatch(Query.gt("a", "\uFF61"), { a: "😀" }))
    assert.isFalse(isMatch(Query.eq("a", "é"), { a: "e\u0301" }))
    assert.isTrue(isMatch(Query.eq("a", "\uD800"), { a: "\uD800" }))
  })

  it("a hint keeps another kind out", () => {
    assert.isFalse(isMatch(Query.gt("a", 1), { a: 2 }, { orderOf: () => "text" }))
    assert.isTrue(isMatch(Query.gt("a", 1), { a: 2 }, { orderOf: () => "number" }))
    assert.isFalse(isMatch(Query.gt("a", "1"), { a: "2" }, { orderOf: () => "number" }))
    assert.isTrue(isMatch(Query.gt("a", "1"), { a: "2" }, { orderOf: () => "text" }))
  })

  it("the hint is asked for the path", () => {
    const options: Query.Options = { orderOf: (path) => (path.join(".") === "a.b" ? "decimal" : undefined) }
    assert.isTrue(isMatch(Query.gt("a.b", "9.5"), { a: { b: "10" } }, options))
    assert.isFalse(isMatch(Query.gt("c", "9.5"), { c: "10" }, options))
  })
})

describe("decimals", () => {
  it("compare as the numbers they stand for", () => {
    for (const [a, b, order] of [
      ["10", "9.5", 1],
      ["9.50", "9.5", 0],
      ["-10", "-9.5", -1],
      ["-1", "1", -1],
      ["0", "-0.00", 0],
      ["0", "0.0001", -1],
      ["0", "-0.0001", 1],
      ["0.1", "0.09999999999999999999999999999999", 1],
      ["1e3", "1000", 0],
      ["1E+3", "999.99", 1],
      ["1e-3", ".001", 0],
      ["+5", "5.", 0],
      ["123456789012345678901234567890", "123456789012345678901234567891", -1],
      ["1e999999999", "9e999999998", 1],
      ["-1e999999999", "1e-999999999", -1],
      ["00012", "12", 0]
    ] as const) {
      assert.strictEqual(isMatch(Query.gt("a", b), { a }, decimal), order > 0, `${a} > ${b}`)
      assert.strictEqual(isMatch(Query.lt("a", b), { a }, decimal), order < 0, `${a} < ${b}`)
      assert.strictEqual(isMatch(Query.eq("a", b), { a }, decimal), order === 0, `${a} = ${b}`)
      assert.strictEqual(isMatch(Query.in("a", ["7", b]), { a }, decimal), order === 0, `${a} in ${b}`)
      assert.strictEqual(isMatch(Query.between("a", b, b), { a }, decimal), order === 0, `${a} between ${b}`)
      assert.strictEqual(Query.compareValues(a, b, "decimal"), order)
    }
  })

  it("agree with BigDecimal", () => {
    const from = random(7)
    const digits = (n: number): string => Array.from({ length: n }, () => from.pick([0, 0, 1, 5, 9])).join("")
    const text = (): string =>
      `${from.pick(["", "-"])}${digits(1 + from.int(4))}.${digits(1 + from.int(4))}${from.pick(["", "", "e2", "e-3"])}`
    for (let i = 0; i < 3000; i++) {
      const [a, b] = [text(), text()]
      const expected = BigDecimal.Order(BigDecimal.fromStringUnsafe(a), BigDecimal.fromStringUnsafe(b))
      assert.strictEqual(Query.compareValues(a, b, "decimal"), expected, `${a} ${b}`)
      assert.strictEqual(isMatch(Query.lte("a", b), { a }, decimal), expected <= 0, `${a} <= ${b}`)
    }
  })

  it("numbers are decimals too, other texts are not", () => {
    assert.isTrue(isMatch(Query.gt("a", 9.5), { a: "10" }, decimal))
    assert.isTrue(isMatch(Query.eq("a", 1e21), { a: "1000000000000000000000" }, decimal))
    for (const a of ["", "-", ".", "1e", "abc", "1,5", "1e9999999999", " 1", "0x10", "NaN", "Infinity"]) {
      assert.isFalse(isMatch(Query.gte("a", "-1e9"), { a }, decimal), a)
      assert.isFalse(isMatch(Query.lt("a", a), { a: "0" }, decimal), a)
      assert.isTrue(isMatch(Query.eq("a", a), { a }, decimal), a)
    }
    assert.isFalse(isMatch(Query.eq("a", "1"), { a: null }, decimal))
    assert.isFalse(isMatch(Query.eq("a", "1"), { a: { b: 1 } }, decimal))
    assert.isTrue(isMatch(Query.contains("a", "1.0"), { a: ["3", "1"] }, decimal))
  })
})

describe("fields", () => {
  it("missing ones match exists: false, ne, notIn and not", () => {
    const missing: JsonObject = { b: 1 }
    for (const predicate of [
      Query.eq("a", 1),
      Query.eq("a", null),
      Query.gt("a", 0),
      Query.gte("a", 0),
      Query.lt("a", 0),
      Query.lte("a", 0),
      Query.in("a", [null, 1]),
      Query.between("a", 0, 1),
      Query.startsWith("a", ""),
      Query.contains("a", ""),
      Query.exists("a")
    ]) {
      assert.isFalse(isMatch(predicate, missing), Query.describe(predicate))
      assert.isTrue(isMatch(Query.not(predicate), missing))
    }
    assert.isTrue(isMatch(Query.ne("a", 1), missing))
    assert.isTrue(isMatch(Query.ne("a", null), missing))
    assert.isTrue(isMatch(Query.notIn("a", [1]), missing))
    assert.isTrue(isMatch(Query.exists("a", false), missing))
  })

  it("null is a value", () => {
    const document: JsonObject = { a: null }
    assert.isTrue(isMatch(Query.exists("a"), document))
    assert.isFalse(isMatch(Query.exists("a", false), document))
    assert.isTrue(isMatch(Query.eq("a", null), document))
    assert.isFalse(isMatch(Query.ne("a", null), document))
    assert.isTrue(isMatch(Query.in("a", [1, null]), document))
    assert.isTrue(isMatch(Query.ne("a", 1), document))
    assert.isFalse(isMatch(Query.exists("a.b"), document))
  })

  it("paths see own properties of objects only", () => {
    for (const path of [
      "constructor",
      "__proto__",
      "toString",
      "a.constructor",
      "a.__proto__",
      "a.length",
      "t.0",
      "t.length",
      "s.0"
    ]) {
      assert.isFalse(isMatch(Query.exists(path), { a: {}, t: ["x"], s: "text" }), path)
    }
    assert.isTrue(isMatch(Query.eq("constructor", "Ferrari"), { constructor: "Ferrari" }))
    assert.isTrue(isMatch(Query.eq(["a.b"], 1), { "a.b": 1 }))
    assert.isFalse(isMatch(Query.eq("a.b", 1), { "a.b": 1 }))
    assert.isTrue(isMatch(Query.eq("", 1), { "": 1 }))
    assert.isFalse(isMatch(Query.eq("a.b", 1), { a: [{ b: 1 }] }))
  })

  it("arrays match by themselves or by an element", () => {
    const document: JsonObject = { a: [1, 9, [2], { x: 1 }], t: ["Ana", "bia"] }
    assert.isTrue(isMatch(Query.eq("a", 9), document))
    assert.isTrue(isMatch(Query.eq("a", [2]), document))
    assert.isTrue(isMatch(Query.eq("a", { x: 1 }), document))
    assert.isTrue(isMatch(Query.eq("a", [1, 9, [2], { x: 1 }]), document))
    assert.isFalse(isMatch(Query.eq("a", 2), document))
    assert.isFalse(isMatch(Query.ne("a", 9), document))
    assert.isTrue(isMatch(Query.in("a", [5, 9]), document))
    assert.isTrue(isMatch(where({ a: { gte: 3, lt: 5 } }), document))
    assert.isFalse(isMatch(where({ a: { between: [3, 5] } }), document))
    assert.isTrue(isMatch(Query.startsWith("t", "A"), document))
    assert.isFalse(isMatch(Query.eq("a", 1), { a: [] }))
  })

  it("contains looks into texts and arrays", () => {
    assert.isTrue(isMatch(Query.contains("a", "b😀"), { a: "ab😀c" }))
    assert.isTrue(isMatch(Query.contains("a", ""), { a: "" }))
    assert.isFalse(isMatch(Query.contains("a", 1), { a: "1" }))
    assert.isTrue(isMatch(Query.contains("a", { x: 1 }), { a: [{ x: 1 }] }))
    assert.isFalse(isMatch(Query.contains("a", "b"), { a: ["abc"] }))
    assert.isFalse(isMatch(Query.contains("a", "b"), { a: { b: 1 } }))
    assert.isFalse(isMatch(Query.contains("a", null), { a: null }))
  })

  it("prefixes, in any case if asked for", () => {
    const inAnyCase = (prefix: string, a: string) => isMatch(Query.startsWith("a", prefix, { ignoreCase: true }), { a })
    assert.isTrue(isMatch(Query.startsWith("a", "An"), { a: "Ana" }))
    assert.isFalse(isMatch(Query.startsWith("a", "an"), { a: "Ana" }))
    assert.isTrue(isMatch(Query.startsWith("a", ""), { a: "" }))
    assert.isTrue(inAnyCase("aN", "Ana"))
    assert.isTrue(inAnyCase("ΟΔΟΣ", "οδοσα"))
    assert.isTrue(inAnyCase("É", "e\u0301tat"))
    assert.isFalse(inAnyCase("x", "Ana"))
    assert.isFalse(isMatch(Query.startsWith("a", "1", { ignoreCase: true }), { a: 1 }))
  })
})

describe("combinations", () => {
  it("of nothing", () => {
    assert.isTrue(isMatch(Query.everything, {}))
    assert.isFalse(isMatch(Query.nothing, {}))
    assert.isTrue(isMatch(where({}), {}))
    assert.isTrue(isMatch(where({ $and: [] }), {}))
    assert.isFalse(isMatch(where({ $or: [] }), {}))
    assert.isFalse(isMatch(where({ a: { in: [] } }), { a: 1 }))
    assert.isTrue(isMatch(where({ a: { notIn: [] } }), {}))
    assert.isTrue(isMatch(where({ $or: [{}] }), {}))
    assert.isFalse(isMatch(where({ $not: {} }), {}))
    // Selects too little rather than everything.
    assert.isFalse(isMatch(where({ a: {} }), { a: 1 }))
    assert.isTrue(isMatch(where({ a: {} }), { a: {} }))
  })

  it("nest", () => {
    const predicate = where({
      country: "BR",
      $or: [{ age: { lt: 18 } }, { $and: [{ age: { gte: 30 } }, { $not: { tags: "z" } }] }]
    })
    assert.isTrue(isMatch(predicate, user))
    assert.isFalse(isMatch(predicate, { ...user, tags: ["z"] }))
    assert.isFalse(isMatch(predicate, { ...user, country: "PT" }))
    assert.isTrue(isMatch(predicate, { ...user, age: 3 }))
  })

  it("are data", () => {
    const predicate = where({ a: { startsWith: "x" }, $or: [{ b: { exists: false } }, { c: { in: [1, null] } }] })
    assert.deepStrictEqual(JSON.parse(JSON.stringify(predicate)), predicate)
  })

  it("a large in is looked up", () => {
    const test = Query.matches(
      Query.in(
        "a",
        Array.from({ length: 100_000 }, (_, i) => `k${i}`)
      )
    )
    let found = 0
    for (let i = 0; i < 100_000; i++) if (test({ a: `k${i * 2}` })) found += 1
    assert.strictEqual(found, 50_000)
  })
})

describe("fromWhere", () => {
  const from = (input: Query.Where<User>, options?: Query.ParseOptions) =>
    Result.getOrThrow(Query.fromWhere<User>(input, options))

  it("reads values and operators", () => {
    assert.deepStrictEqual(from({ country: "BR" }), Query.eq("country", "BR"))
    assert.deepStrictEqual(
      from({ country: "BR", age: { gte: 18, lt: 65 }, "address.city": { in: ["Lisboa"] } }),
      Query.and(
        Query.eq("country", "BR"),
        Query.gte("age", 18),
        Query.lt("age", 65),
        Query.in("address.city", ["Lisboa"])
      )
    )
    assert.deepStrictEqual(
      from({ tags: { contains: "x" }, name: { startsWith: "A" }, deletedAt: { exists: false } }),
      Query.and(Query.contains("tags", "x"), Query.startsWith("name", "A"), Query.exists("deletedAt", false))
    )
    assert.deepStrictEqual(
      from({ name: { startsWith: { prefix: "a", ignoreCase: true } } }),
      Query.startsWith("name", "a", { ignoreCase: true })
    )
    assert.deepStrictEqual(from({ age: { between: [1, 2] } }), Query.between("age", 1, 2))
    assert.deepStrictEqual(
      from({ $or: [{ age: 1 }, { age: { ne: 2 } }], $not: { age: { notIn: [3] } } }),
      Query.and(Query.or(Query.eq("age", 1), Query.ne("age", 2)), Query.not(Query.notIn("age", [3])))
    )
    assert.deepStrictEqual(from({ and: "x" }), Query.eq("and", "x"))
    assert.deepStrictEqual(
      from({ address: { city: "Recife", geo: { lat: 1 } } }),
      Query.eq("address", { city: "Recife", geo: { lat: 1 } })
    )
    assert.deepStrictEqual(from({ deletedAt: null }), Query.eq("deletedAt", null))
  })

  it("values of documents become JSON", () => {
    const at = new Date(0)
    assert.deepStrictEqual(from({ born: { gte: at } }), Query.gte("born", "1970-01-01T00:00:00.000Z"))
    assert.deepStrictEqual(from({ seen: { lt: DateTime.makeUnsafe(0) } }), Query.lt("seen", "1970-01-01T00:00:00.000Z"))
    assert.deepStrictEqual(
      from({ balance: { in: [BigDecimal.fromStringUnsafe("1.50")] } }),
      Query.in("balance", ["1.5"])
    )
    assert.deepStrictEqual(
      Result.getOrThrow(
        Query.fromWhere<{ readonly n: bigint; readonly o: { readonly at: Date } }>({ n: 12n, o: { at } })
      ),
      Query.and(Query.eq("n", "12"), Query.eq("o", { at: "1970-01-01T00:00:00.000Z" }))
    )
  })

  it("the conversion can be given", () => {
    const asked: Array<readonly [string, unknown, Query.OperandUse]> = []
    const predicate = from(
      { age: { in: [1, 2] }, "address.geo.lat": { between: [3, 4] }, tags: "x", name: { contains: "part" } },
      {
        toJson: (path, value, use) => {
          asked.push([path.join("."), value, use])
          return Result.succeed(String(value))
        }
      }
    )
    assert.deepStrictEqual(asked, [
      ["age", 1, "equal"],
      ["age", 2, "equal"],
      ["address.geo.lat", 3, "order"],
      ["address.geo.lat", 4, "order"],
      ["tags", "x", "equal"],
      ["name", "part", "contains"]
    ])
    assert.deepStrictEqual(
      predicate,
      Query.and(
        Query.in("age", ["1", "2"]),
        Query.between("address.geo.lat", "3", "4"),
        Query.eq("tags", "x"),
        Query.contains("name", "part")
      )
    )
    assert.strictEqual(
      problemOf(Query.fromWhere<User>({ age: { gt: 1 } }, { toJson: () => Result.fail("Expected a year") })),
      "age/gt: Expected a year"
    )
    assert.strictEqual(
      problemOf(Query.fromWhere<User>({ age: 1 }, { toJson: () => Result.succeed(NaN) })),
      "age: Expected a finite number"
    )
    assert.strictEqual(
      problemOf(Query.fromWhere<User>({ age: { gt: 1 } }, { toJson: () => Result.succeed(true) })),
      "age/gt: Expected a number or a text"
    )
  })

  it("no condition vanishes", () => {
    const lost: Record<string, unknown> = { country: undefined }
    assert.strictEqual(problemOf(Query.fromWhere(lost)), "country: Expected a value, not undefined; leave the key out")
    assert.include(problemOf(Query.fromWhere({ age: { gte: undefined } })), "age/gte: Expected a value, not undefined")
    assert.include(problemOf(Query.fromWhere({ $or: undefined })), "$or: Expected a list")
    assert.include(problemOf(Query.fromWhere({ age: { in: [undefined] } })), "age/in/0: Expected a value")
  })

  it("what JSON cannot carry is refused", () => {
    class Box {
      readonly a = 1
    }
    for (const value of [new Box(), new Date(NaN), Symbol("x"), () => 1, new Map(), Uint8Array.of(1)]) {
      assert.strictEqual(problemOf(Query.fromWhere({ a: value })), "a: Expected a value that JSON can carry")
    }
    assert.strictEqual(problemOf(Query.fromWhere({ a: [1, Infinity] })), "a/1: Expected a finite number")
    const circle: Record<string, unknown> = {}
    circle["a"] = circle
    assert.include(problemOf(Query.fromWhere({ a: circle })), "Expected at most 256 levels")
    assert.include(problemOf(Query.fromWhere(new Box() as never)), "Expected an object of conditions")
  })

  it("there is no limit to how much a program asks for", () => {
    const ids = Array.from({ length: 50_000 }, (_, i) => `${i}`)
    assert.deepStrictEqual(from({ id: { in: ids } }), Query.in("id", ids))
  })

  it("is typed", () => {
    const typed: ReadonlyArray<Query.Where<User>> = [
      { country: "BR" },
      { isActive: true, "address.geo.lat": { lt: 0 } },
      { tags: ["a", "b"] },
      { deletedAt: { ne: null } },
      { deletedAt: { gt: new Date(0) } },
      // @ts-expect-error: another type
      { age: "3" },
      // @ts-expect-error: no such field
      { surname: "x" },
      // @ts-expect-error: no such nested field
      { "address.zip": "x" },
      // @ts-expect-error: no such operator
      { age: { above: 3 } },
      // @ts-expect-error: numbers have no prefix
      { age: { startsWith: "3" } },
      // @ts-expect-error: booleans have no order
      { isActive: { gt: false } },
      // @ts-expect-error: null has no order
      { deletedAt: { gt: null } },
      // @ts-expect-error: an element of another type
      { tags: { contains: 3 } },
      // @ts-expect-error: it would vanish
      { country: undefined },
      // @ts-expect-error: within a combination
      { $or: [{ age: true }] }
    ]
    const json: Query.Where<{ readonly data: Json; readonly any: unknown }> = {
      data: { contains: 3, startsWith: "a", gt: 4 },
      any: { in: [1, "x"] }
    }
    const open: Query.Where<{ readonly [field: string]: Json }> = { a: 1, $or: [{ b: { gt: 3 } }] }
    const system: Query.Where<User & { readonly $createdAt: Date }> = { $createdAt: { gt: new Date(0) } }
    assert.lengthOf(typed, 15)
    for (const input of [json, open, system]) {
      assert.isTrue(Result.isSuccess(Query.fromWhere(input, { systemFields: ["$createdAt"] })))
    }
    const generic = <A>(where: Query.Where<A>) => Query.fromWhere<A>(where)
    assert.isTrue(Result.isSuccess(generic<User>({ age: 1 })))
  })
})

describe("fromJson", () => {
  it("operators may have a sign", () => {
    assert.deepStrictEqual(where({ a: { $gte: 1, lt: 2 } }), Query.and(Query.gte("a", 1), Query.lt("a", 2)))
    assert.deepStrictEqual(where({ a: { $in: [1] } }), Query.in("a", [1]))
    assert.deepStrictEqual(where({ a: { $eq: { $in: [1] } } }), Query.eq("a", { $in: [1] }))
  })

  it("names the place and what was expected", () => {
    const known = "eq, ne, gt, gte, lt, lte, between, in, notIn, startsWith, contains, exists"
    for (const [input, problem] of [
      [null, ": Expected an object of conditions"],
      [[], ": Expected an object of conditions"],
      ["x", ": Expected an object of conditions"],
      [{ a: { $foo: 1 } }, `a/$foo: Expected an operator: one of ${known}`],
      [
        { a: { gte: 1, foo: 2 } },
        `a/foo: Expected only operators beside operators: one of ${known}; write { "eq": ... } for a value`
      ],
      [{ $nor: [] }, "$nor: Expected the name of a field, or one of $and, $or, $not"],
      [
        { $gte: 3 },
        "$gte: Expected the name of a field, or one of $and, $or, $not; an operator stands below the name of a field"
      ],
      [{ $and: {} }, "$and: Expected a list of conditions"],
      [{ $or: [{ a: 1 }, 3] }, "$or/1: Expected an object of conditions"],
      [{ $not: [] }, "$not: Expected an object of conditions"],
      [{ $or: [{ a: { gt: null } }] }, "$or/0/a/gt: Expected a number or a text"],
      [{ a: { gt: true } }, "a/gt: Expected a number or a text"],
      [{ a: { lt: [1] } }, "a/lt: Expected a number or a text"],
      [{ a: { between: [1] } }, "a/between: Expected a list of two values"],
      [{ a: { between: [1, "x"] } }, "a/between: Expected two numbers or two texts"],
      [{ a: { between: [1, {}] } }, "a/between/1: Expected a number or a text"],
      [{ a: { in: 1 } }, "a/in: Expected a list of values"],
      [{ a: { notIn: { b: 1 } } }, "a/notIn: Expected a list of values"],
      [{ a: { startsWith: 1 } }, "a/startsWith: Expected a text, or an object with prefix and ignoreCase"],
      [{ a: { startsWith: { prefix: 1 } } }, "a/startsWith/prefix: Expected a text"],
      [{ a: { startsWith: { prefix: "a", ignoreCase: 1 } } }, "a/startsWith/ignoreCase: Expected true or false"],
      [{ a: { startsWith: { prefix: "a", x: 1 } } }, "a/startsWith/x: Expected nothing but prefix and ignoreCase"],
      [{ a: { exists: "yes" } }, "a/exists: Expected true or false"],
      [{ "": 1 }, ": Expected the name of a field"],
      [{ "a..b": 1 }, "a..b: Expected the name of a field"],
      [{ a: { eq: Infinity } }, "a/eq: Expected a finite number"]
    ] as const) {
      assert.strictEqual(refused(input), problem)
    }
  })

  it("refuses __proto__ wherever it stands", () => {
    for (const text of [
      '{"__proto__":1}',
      '{"a.__proto__":1}',
      '{"__proto__.a":1}',
      '{"a":{"__proto__":1}}',
      '{"a":{"eq":{"b":[{"__proto__":1}]}}}',
      '{"$and":[{"__proto__":{"gt":1}}]}'
    ]) {
      assert.match(refused(parsed(text)), /Expected (?:the name of a field|a key other than __proto__)/, text)
    }
    assert.match(refused(parsed('{"a":{"gt":1,"__proto__":2}}')), /Expected only operators/)
    assert.strictEqual(problemOf(Query.orderFromText("a.__proto__")), "a.__proto__: Expected the name of a field")
  })

  it("has limits", () => {
    const inNot = (depth: number) => nested(depth, { a: 1 }, (value) => ({ $not: value }))
    const inList = (depth: number) => ({ a: nested(depth, 1, (value) => [value]) })
    assert.isTrue(Result.isSuccess(Query.fromJson(inNot(31))))
    assert.match(refused(inNot(32)), /^(?:\$not\/){32}a: Expected at most 32 levels$/)
    assert.isTrue(Result.isSuccess(Query.fromJson(inList(31))))
    assert.include(refused(inList(32)), "Expected at most 32 levels")
    assert.include(refused(inNot(100_000)), "Expected at most 32 levels")
    assert.include(refused(inList(100_000)), "Expected at most 32 levels")
    assert.include(
      refused(inList(100_000), { toJson: (_, value) => Result.succeed(JSON.parse(JSON.stringify(value))) }),
      "Expected at most 32 levels"
    )
    const inAnd = JSON.parse(`${'{"$and":['.repeat(100_000)}${"]}".repeat(100_000)}`)
    assert.include(refused(inAnd), "Expected at most 32 levels")
    const many = (n: number) => ({ a: { in: Array.from({ length: n }, (_, i) => i) } })
    assert.isTrue(Result.isSuccess(Query.fromJson(many(998))))
    assert.include(refused(many(999)), "Expected at most 1000 conditions and values")
    assert.isTrue(Result.isSuccess(Query.fromJson(many(998), { toJson: (_, value) => Result.succeed(Number(value)) })))
    assert.isTrue(Result.isSuccess(Query.fromJson(many(5000), { maxNodes: 10_000 })))
    assert.include(refused(inNot(4), { maxDepth: 3, maxNodes: undefined }), "Expected at most 3 levels")
    const wide = { $or: Array.from({ length: 2000 }, () => ({})) }
    assert.include(refused(wide), "Expected at most 1000")
  })

  it("fields of the system begin with a sign", () => {
    const systemFields = ["$createdAt"]
    assert.deepStrictEqual(where({ $createdAt: { gt: "2024" } }, { systemFields }), Query.gt("$createdAt", "2024"))
    assert.include(refused({ $updatedAt: 1 }, { systemFields }), "Expected the name of a field")
  })

  it("values can be checked", () => {
    const toJson = (_: ReadonlyArray<string>, value: unknown) =>
      typeof value === "number" ? Result.succeed(value) : Result.fail("Expected a number")
    assert.strictEqual(refused({ a: "x" }, { toJson }), "a: Expected a number")
    assert.deepStrictEqual(where({ a: 1 }, { toJson }), Query.eq("a", 1))
  })
})

describe("bounds", () => {
  const of = (input: unknown, options?: Query.Options) => Query.bounds(where(input), options)

  it("of a conjunction, one for each path", () => {
    assert.deepStrictEqual(
      of({ a: 1, b: { gte: 1, lt: 5 }, c: { in: [1, 2, 1] }, d: { startsWith: "x" }, e: { between: [1, 2] } }),
      [
        { _tag: "Equal", path: ["a"], value: 1 },
        {
          _tag: "Range",
          path: ["b"],
          from: { value: 1, inclusive: true },
          to: { value: 5, inclusive: false }
        },
        { _tag: "OneOf", path: ["c"], values: [1, 2] },
        { _tag: "Prefix", path: ["d"], prefix: "x" },
        { _tag: "Range", path: ["e"], from: { value: 1, inclusive: true }, to: { value: 2, inclusive: true } }
      ]
    )
    assert.deepStrictEqual(of({ "a.b": { lt: "x" } }), [
      { _tag: "Range", path: ["a", "b"], to: { value: "x", inclusive: false } }
    ])
  })

  it("nothing below or and not, nor of what bounds nothing", () => {
    assert.deepStrictEqual(
      of({
        $or: [{ a: 1 }, { a: 2 }],
        $not: { b: 1 },
        c: { ne: 1 },
        d: { notIn: [1] },
        e: { exists: true },
        f: { contains: "x" },
        g: { startsWith: { prefix: "x", ignoreCase: true } }
      }),
      []
    )
    assert.deepStrictEqual(Query.bounds(Query.everything), [])
    assert.deepStrictEqual(Query.bounds(Query.nothing), [])
  })

  it("conditions on one path are combined", () => {
    assert.deepStrictEqual(
      of({ $and: [{ a: { in: [1, 2, 3, 4] } }, { a: { gt: 1 } }, { $and: [{ a: { lte: 3 } }] }] }),
      [{ _tag: "OneOf", path: ["a"], values: [2, 3] }]
    )
    assert.deepStrictEqual(of({ $and: [{ a: { in: [1, 2] } }, { a: { in: [2, 3] } }] }), [
      { _tag: "Equal", path: ["a"], value: 2 }
    ])
    assert.deepStrictEqual(of({ $and: [{ a: { gt: 1 } }, { a: { gte: 1 } }, { a: { gte: 0 } }, { a: { lt: 9 } }] }), [
      { _tag: "Range", path: ["a"], from: { value: 1, inclusive: false }, to: { value: 9, inclusive: false } }
    ])
    assert.deepStrictEqual(
      of({ $and: [{ a: { startsWith: "ab" } }, { a: { startsWith: "abc" } }, { a: { gt: "a" } }] }),
      [{ _tag: "Prefix", path: ["a"], prefix: "abc" }]
    )
  })

  it("what cannot be has no values", () => {
    for (const conditions of [
      [{ a: 1 }, { a: 2 }],
      [{ a: { in: [] } }],
      [{ a: { gt: 5 } }, { a: { lt: 5 } }],
      [{ a: { gt: 5 } }, { a: { lte: 5 } }],
      [{ a: { between: [5, 1] } }],
      [{ a: { gt: 5 } }, { a: { lt: "x" } }],
      [{ a: { gt: 5 } }, { a: { gt: "x" } }],
      [{ a: { startsWith: "a" } }, { a: { startsWith: "b" } }],
      [{ a: "x" }, { a: { startsWith: "b" } }]
    ]) {
      assert.deepStrictEqual(of({ $and: conditions }), [{ _tag: "OneOf", path: ["a"], values: [] }])
    }
    assert.deepStrictEqual(Query.bounds(Query.gt("a", true)), [{ _tag: "OneOf", path: ["a"], values: [] }])
  })

  it("decimals by their numbers", () => {
    assert.deepStrictEqual(of({ $and: [{ a: { gt: "10" } }, { a: { gt: "9.5" } }] }, decimal), [
      { _tag: "Range", path: ["a"], from: { value: "10", inclusive: false } }
    ])
    assert.deepStrictEqual(of({ a: { gte: "9.5", lte: "10" } }, decimal).length, 1)
    assert.deepStrictEqual(of({ a: { gte: "9.5", lte: "10" } })[0]?._tag, "OneOf")
  })

  it("the remainder is what they do not imply", () => {
    const predicate = where({ a: 1, b: { gte: 1, lt: 5 }, c: { ne: 3 }, $or: [{ d: 1 }, { e: 1 }] })
    const [a, b] = Query.bounds(predicate)
    assert.deepStrictEqual(
      Query.remainder(predicate, [a!]),
      where({ b: { gte: 1, lt: 5 }, c: { ne: 3 }, $or: [{ d: 1 }, { e: 1 }] })
    )
    assert.deepStrictEqual(Query.remainder(predicate, [a!, b!]), where({ c: { ne: 3 }, $or: [{ d: 1 }, { e: 1 }] }))
    assert.deepStrictEqual(Query.remainder(where({ a: 1 }), Query.bounds(where({ a: 1 }))), Query.everything)
    const both = where({ a: { startsWith: "ab", gt: "abc" } })
    assert.deepStrictEqual(Query.remainder(both, Query.bounds(both)), Query.gt("a", "abc"))
    assert.deepStrictEqual(Query.remainder(Query.nothing, []), Query.nothing)
  })

  const holds = (bound: Query.Bound, document: JsonObject): boolean => {
    switch (bound._tag) {
      case "Equal":
        return isMatch(Query.eq(bound.path, bound.value), document)
      case "OneOf":
        return isMatch(Query.in(bound.path, bound.values), document)
      case "Prefix":
        return isMatch(Query.startsWith(bound.path, bound.prefix), document)
      case "Range":
        return (
          (bound.from === undefined ||
            isMatch((bound.from.inclusive ? Query.gte : Query.gt)(bound.path, bound.from.value), document)) &&
          (bound.to === undefined ||
            isMatch((bound.to.inclusive ? Query.lte : Query.lt)(bound.path, bound.to.value), document))
        )
    }
  }

  const value = (from: Random): Json => from.pick([0, 1, 2, 3, 1.5, "", "a", "ab", "abc", "b", "1", "1.0", null, true])

  const condition = (from: Random): Query.Predicate => {
    const path = from.pick(["a", "b"])
    switch (from.int(7)) {
      case 0:
        return Query.eq(path, value(from))
      case 1:
        return from.pick([Query.gt, Query.gte, Query.lt, Query.lte])(path, value(from))
      case 2:
        return Query.in(
          path,
          from.many(4, () => value(from))
        )
      case 3:
        return Query.between(path, value(from), value(from))
      case 4:
        return Query.startsWith(path, from.pick(["", "a", "ab", "b"]))
      case 5:
        return Query.or(Query.eq(path, value(from)), Query.gt(path, value(from)))
      default:
        return Query.ne(path, value(from))
    }
  }

  it("no document is lost, and the remainder decides about those that are found", () => {
    for (const options of [undefined, decimal]) {
      const from = random(11)
      let matching = 0
      for (let i = 0; i < 4000; i++) {
        const predicate = Query.and(...from.many(4, () => condition(from)))
        const bounds = Query.bounds(predicate, options)
        const used = bounds.filter(() => from.int(2) === 0)
        const rest = Query.matches(Query.remainder(predicate, used, options), options)
        const test = Query.matches(predicate, options)
        for (let j = 0; j < 10; j++) {
          const document: JsonObject = from.int(8) === 0 ? { b: value(from) } : { a: value(from), b: value(from) }
          const isFound = (bound: Query.Bound) =>
            options === undefined ? holds(bound, document) : isMatch(boundPredicate(bound), document, options)
          if (test(document)) {
            matching += 1
            assert.isTrue(bounds.every(isFound), `${Query.describe(predicate)} ${JSON.stringify(document)}`)
          }
          if (used.every(isFound)) assert.strictEqual(rest(document), test(document), Query.describe(predicate))
        }
      }
      assert.isAbove(matching, 1000)
    }
  })

  const boundPredicate = (bound: Query.Bound): Query.Predicate => {
    switch (bound._tag) {
      case "Equal":
        return Query.eq(bound.path, bound.value)
      case "OneOf":
        return Query.in(bound.path, bound.values)
      case "Prefix":
        return Query.startsWith(bound.path, bound.prefix)
      case "Range":
        return Query.and(
          ...(bound.from === undefined
            ? []
            : [(bound.from.inclusive ? Query.gte : Query.gt)(bound.path, bound.from.value)]),
          ...(bound.to === undefined ? [] : [(bound.to.inclusive ? Query.lte : Query.lt)(bound.path, bound.to.value)])
        )
    }
  }
})

describe("texts", () => {
  it("describe", () => {
    const text = (input: unknown, hidden?: ReadonlyArray<string>) =>
      Query.describe(where(input), { hidden: new Set(hidden) })
    assert.strictEqual(text({ country: "BR", age: { gte: 18 } }), 'country = "BR" and age >= 18')
    assert.strictEqual(text({ $or: [{ a: 1 }, { b: 2, c: null }] }), "a = 1 or (b = 2 and c = null)")
    assert.strictEqual(text({ a: 1, $or: [{ b: 1 }, { c: 1 }] }), "a = 1 and (b = 1 or c = 1)")
    assert.strictEqual(text({ $not: { a: { ne: 1 } } }), "not (a != 1)")
    assert.strictEqual(
      text({ a: { in: [1, "x"] }, b: { between: [1, 2] }, c: { startsWith: "x" }, d: { contains: "y" } }),
      'a in (1, "x") and b between 1 and 2 and c starts with "x" and d contains "y"'
    )
    assert.strictEqual(
      text({ a: { exists: true }, b: { exists: false }, c: { startsWith: { prefix: "x", ignoreCase: true } } }),
      'a exists and b is missing and c starts with "x" in any case'
    )
    assert.strictEqual(text({}), "everything")
    assert.strictEqual(text({ $or: [] }), "nothing")
    assert.strictEqual(text({ "a.b": "x\n" }), 'a.b = "x\\n"')
    assert.strictEqual(Query.describe(Query.eq(["a.b", "c d"], 1)), '"a.b"."c d" = 1')
  })

  it("hidden values do not show", () => {
    const hidden = new Set(["secret", "card.number"])
    for (const predicate of [
      Query.eq("secret", "4711"),
      Query.in("secret", ["4711", "4711"]),
      Query.between("secret", "4711", "4711"),
      Query.startsWith("secret", "4711"),
      Query.contains("secret.inner", "4711"),
      Query.eq("card", { number: "4711" }),
      Query.eq("card.number", "4711"),
      Query.not(Query.or(Query.eq("card.number.part", "4711")))
    ]) {
      const text = Query.describe(predicate, { hidden })
      assert.notInclude(text, "4711")
      assert.include(text, "…")
    }
    assert.strictEqual(Query.describe(Query.eq("card.name", "x"), { hidden }), 'card.name = "x"')
    assert.strictEqual(Query.describe(Query.eq("secrets", "x"), { hidden }), 'secrets = "x"')
  })

  it("canonical texts do not depend on order", () => {
    const same = (a: Query.Predicate, b: Query.Predicate) => assert.strictEqual(Query.canonical(a), Query.canonical(b))
    same(where({ a: 1, b: { gt: 1, lt: 2 } }), where({ b: { lt: 2, gt: 1 }, a: 1 }))
    same(where({ a: { x: 1, y: { z: 1, w: 2 } } }), where({ a: { y: { w: 2, z: 1 }, x: 1 } }))
    same(where({ $or: [{ a: 1 }, { b: 1 }] }), where({ $or: [{ b: 1 }, { a: 1 }] }))
    same(where({ a: { in: [1, 2, 2] } }), where({ a: { in: [2, 1] } }))
    same(Query.and(Query.eq("a", 1), Query.and(Query.eq("b", 1))), Query.and(Query.eq("b", 1), Query.eq("a", 1)))
    same(Query.eq("a", 0), Query.eq("a", -0))
    same(Query.startsWith("a", "x"), { _tag: "StartsWith", path: ["a"], prefix: "x", ignoreCase: false })
    same(Query.and(Query.eq("a", 1)), Query.eq("a", 1))
    assert.deepStrictEqual(
      JSON.parse(Query.canonical(where({ a: 1, $or: [{ b: "\uD800" }, { $not: { c: null } }] }))),
      [
        "and",
        [
          ["eq", ["a"], 1],
          [
            "or",
            [
              ["eq", ["b"], "\uD800"],
              ["not", ["eq", ["c"], null]]
            ]
          ]
        ]
      ]
    )
  })

  it("different predicates have different ones", () => {
    const different = [
      Query.everything,
      Query.nothing,
      Query.eq("a", 1),
      Query.eq("a", "1"),
      Query.eq("a.b", 1),
      Query.eq(["a.b"], 1),
      Query.eq("a", null),
      Query.eq("a", NaN),
      Query.eq("a", [1, 2]),
      Query.eq("a", [2, 1]),
      Query.ne("a", 1),
      Query.gt("a", 1),
      Query.gte("a", 1),
      Query.in("a", [1]),
      Query.in("a", []),
      Query.in("a", [[1, 2]]),
      Query.in("a", [1, 2]),
      Query.between("a", 1, 2),
      Query.between("a", 2, 1),
      Query.startsWith("a", "x"),
      Query.startsWith("a", "x", { ignoreCase: true }),
      Query.contains("a", "x"),
      Query.exists("a"),
      Query.exists("a", false),
      Query.not(Query.eq("a", 1)),
      Query.and(Query.eq("a", 1), Query.eq("b", 1)),
      Query.or(Query.eq("a", 1), Query.eq("b", 1)),
      Query.eq("a", { b: 1 }),
      Query.eq("a", '{"b":1}')
    ]
    assert.strictEqual(new Set(different.map(Query.canonical)).size, different.length)
  })

  it("the paths of a predicate", () => {
    assert.deepStrictEqual(Query.paths(where({ a: 1, $or: [{ "b.c": 1 }, { $not: { a: 2 } }], d: { exists: true } })), [
      ["a"],
      ["b", "c"],
      ["d"]
    ])
  })
})

describe("order", () => {
  const order = (text: string) => Result.getOrThrow(Query.orderFromText(text))

  it("from text", () => {
    assert.deepStrictEqual(order("-createdAt, name,+address.city"), [
      { path: ["createdAt"], direction: "desc" },
      { path: ["name"], direction: "asc" },
      { path: ["address", "city"], direction: "asc" }
    ])
    assert.deepStrictEqual(order(" "), [])
    assert.deepStrictEqual(order("-$createdAt"), [{ path: ["$createdAt"], direction: "desc" }])
    assert.strictEqual(Query.orderToText(order("-a,b.c")), "-a,b.c")
    for (const [text, problem] of [
      ["a,,b", ": Expected the name of a field"],
      ["-", ": Expected the name of a field"],
      ["a.", "a.: Expected the name of a field"],
      ["a,-a", "a: Expected each field only once"],
      [Array.from({ length: 33 }, (_, i) => `f${i}`).join(","), ": Expected at most 32 fields to sort by"]
    ] as const) {
      assert.strictEqual(problemOf(Query.orderFromText(text)), problem)
    }
  })

  it("from objects and lists", () => {
    const by = (input: Query.OrderBy<User>) => Query.orderToText(Result.getOrThrow(Query.orderFrom<User>(input)))
    assert.strictEqual(by("name"), "name")
    assert.strictEqual(by("-address.city"), "-address.city")
    assert.strictEqual(by({ age: "desc", name: "asc" }), "-age,name")
    assert.strictEqual(by(["-age", { name: "desc" }, "id"]), "-age,-name,id")
    // @ts-expect-error: no such field
    by("surname")
    // @ts-expect-error: no such direction
    assert.throws(() => by({ age: "down" }))
  })

  const ids = (documents: ReadonlyArray<JsonObject>, text: string, options?: Query.Options) =>
    documents
      .toSorted(Query.compare(order(text), options))
      .map((document) => document["id"])
      .join("")

  it("kinds one after the other, null and missing last in both directions", () => {
    const documents: ReadonlyArray<JsonObject> = [
      { id: "i" },
      { id: "h", v: null },
      { id: "g", v: { a: 1 } },
      { id: "f", v: [1] },
      { id: "e", v: "b" },
      { id: "d", v: "a" },
      { id: "c", v: 2 },
      { id: "b", v: -0 },
      { id: "a", v: false }
    ]
    assert.strictEqual(ids(documents, "v"), "abcdefghi")
    assert.strictEqual(ids(documents, "-v"), "gfedcbahi")
  })

  it("ties go by the id", () => {
    const documents: ReadonlyArray<JsonObject> = [
      { id: "c", v: 1 },
      { id: "a", v: 1 },
      { id: "b", v: 1 },
      { id: "d", v: 0 }
    ]
    assert.strictEqual(ids(documents, "v"), "dabc")
    assert.strictEqual(ids(documents, "-v"), "abcd")
    assert.strictEqual(ids(documents, ""), "abcd")
    const byKey = Query.compare(order("v"), { id: (document) => String(document["k"]) })
    assert.deepStrictEqual(
      [
        { k: "2", v: 1 },
        { k: "1", v: 1 }
      ]
        .toSorted(byKey)
        .map((document) => document.k),
      ["1", "2"]
    )
    assert.strictEqual(Query.compare([])({}, {}), 0)
    const ofPairs = EffectOrder.mapInput(Query.compare(order("v")), (pair: readonly [string, JsonObject]) => pair[1])
    assert.strictEqual(ofPairs(["x", { v: 1 }], ["y", { v: 2 }]), -1)
  })

  it("texts by code points, decimals by their numbers", () => {
    const documents = (values: ReadonlyArray<Json>) =>
      values.map((v, i): JsonObject => ({ id: String.fromCharCode(97 + i), v }))
    assert.strictEqual(ids(documents(["😀", "\uFF61", "z"]), "v"), "cba")
    assert.strictEqual(ids(documents(["10", "9.5", "-3", "1e1"]), "v", decimal), "cbad")
    assert.strictEqual(ids(documents(["10", "9.5", "-3"]), "v"), "cab")
    assert.strictEqual(ids(documents(["abc", "10", 3, true, null]), "v", decimal), "dcbae")
  })

  it("is total", () => {
    const from = random(5)
    const any = (depth: number): Json =>
      from.pick<() => Json>([
        () => from.pick([true, false]),
        () => from.pick([0, -0, 1, 2]),
        () => from.pick(["", "a", "10", "9.5", "10.0"]),
        () => null,
        () => (depth === 0 ? 1 : from.many(2, () => any(depth - 1))),
        () => (depth === 0 ? 1 : Object.fromEntries(from.many(2, () => [from.pick(["x", "y"]), any(depth - 1)])))
      ])()
    for (const kind of [undefined, "decimal"] as const) {
      const values = Array.from({ length: 60 }, () => any(2))
      for (const a of values) {
        for (const b of values) {
          const ab = Query.compareValues(a, b, kind)
          assert.strictEqual(ab, (0 - Query.compareValues(b, a, kind) || 0) as typeof ab)
          if (kind === undefined) assert.strictEqual(ab === 0, Query.isEqual(a, b))
          for (const c of values) {
            if (ab <= 0 && Query.compareValues(b, c, kind) <= 0) {
              assert.isAtMost(Query.compareValues(a, c, kind), 0, JSON.stringify([a, b, c]))
            }
          }
        }
      }
    }
    assert.strictEqual(Query.compareValues(NaN, 1), 1)
    assert.strictEqual(Query.compareValues(1, NaN), -1)
    assert.strictEqual(Query.compareValues(NaN, NaN), 0)
  })
})

describe("topK", () => {
  const numeric = (a: number, b: number) => a - b

  it("keeps the first of 100,000", () => {
    const from = random(3)
    const items = Array.from({ length: 100_000 }, () => from.int(1_000_000))
    const sorted = items.toSorted(numeric)
    for (const k of [1, 2, 10, 1000, 99_999, 100_000, 200_000]) {
      const top = Query.topK(k, numeric)
      items.forEach(top.add)
      assert.deepStrictEqual(top.result(), sorted.slice(0, k))
    }
  })

  it("of items that arrive in order, and against it", () => {
    for (const items of [Array.from({ length: 5000 }, (_, i) => i), Array.from({ length: 5000 }, (_, i) => 5000 - i)]) {
      const top = Query.topK(7, numeric)
      items.forEach(top.add)
      assert.deepStrictEqual(top.result(), items.toSorted(numeric).slice(0, 7))
    }
  })

  it("of equal ones keeps the first", () => {
    const top = Query.topK<readonly [number, number]>(3, (a, b) => a[0] - b[0])
    for (let i = 0; i < 100; i++) top.add([i % 2, i])
    assert.deepStrictEqual(top.result(), [
      [0, 0],
      [0, 2],
      [0, 4]
    ])
  })

  it("of none, and more after a result", () => {
    for (const k of [0, -1, NaN]) {
      const top = Query.topK(k, numeric)
      top.add(1)
      assert.deepStrictEqual(top.result(), [])
    }
    const top = Query.topK(2, numeric)
    assert.deepStrictEqual(top.result(), [])
    top.add(3)
    top.add(2)
    assert.deepStrictEqual(top.result(), [2, 3])
    top.add(1)
    assert.deepStrictEqual(top.result(), [1, 2])
    const all = Query.topK(Infinity, numeric)
    ;[3, 1, 2].forEach(all.add)
    assert.deepStrictEqual(all.result(), [1, 2, 3])
  })
})

describe("project", () => {
  const document: JsonObject = { id: "1", a: { b: 1, c: { d: 2, e: 3 } }, t: [{ x: 1 }], n: null }
  const keep = (...paths: ReadonlyArray<Query.Path>) => Query.project(paths)(document)

  it("keeps paths", () => {
    assert.deepStrictEqual(keep("id", "a.c.e"), { id: "1", a: { c: { e: 3 } } })
    assert.deepStrictEqual(keep("a.b", "a.c.d"), { a: { b: 1, c: { d: 2 } } })
    assert.deepStrictEqual(keep("a.b", "a"), { a: document["a"]! })
    assert.deepStrictEqual(keep("a", "a.b"), { a: document["a"]! })
    assert.deepStrictEqual(keep("n", "t"), { n: null, t: [{ x: 1 }] })
    assert.deepStrictEqual(Object.keys(keep("t", "id")), ["t", "id"])
    assert.deepStrictEqual(Query.project([["a.b"]])({ "a.b": 1, a: { b: 2 } }), { "a.b": 1 })
  })

  it("leaves out what is not there", () => {
    assert.deepStrictEqual(keep(), {})
    assert.deepStrictEqual(keep("x", "a.x", "id.x", "t.x", "t.0", "n.x", "constructor", "a.toString"), {})
    assert.deepStrictEqual(Query.project([[]])(document), document)
  })

  it("never touches a prototype", () => {
    const evil = parsed('{"__proto__":{"x":1},"a":{"__proto__":{"y":1}}}')
    const kept = Query.project(["__proto__", "__proto__.x", "a.__proto__.y"])(evil)
    assert.deepStrictEqual(Object.keys(kept), [])
    assert.strictEqual(Object.getPrototypeOf(kept), Object.prototype)
    assert.isUndefined(kept["x"])
  })
})
