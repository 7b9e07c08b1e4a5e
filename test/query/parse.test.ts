import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as Query from "effect-s3db/Query"
import * as Parse from "../../src/query/parse.ts"

const where = (input: unknown, options?: Parse.Options): Query.Predicate =>
  Result.getOrThrow(Parse.fromJson(input, options))

const problemOf = (result: Result.Result<unknown, Query.Problem>): string =>
  Result.match(result, {
    onFailure: ({ path, message }) => `${path.join("/")}: ${message}`,
    onSuccess: () => "no problem"
  })

const refused = (input: unknown, options?: Parse.Options): string => problemOf(Parse.fromJson(input, options))

const parsed = (text: string): JsonObject => JSON.parse(text)

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

describe("fromWhere", () => {
  const from = (input: Query.Where<User>, options?: Parse.Options) =>
    Result.getOrThrow(Parse.fromWhere<User>(input, options))

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
        Parse.fromWhere<{ readonly n: bigint; readonly o: { readonly at: Date } }>({ n: 12n, o: { at } })
      ),
      Query.and(Query.eq("n", "12"), Query.eq("o", { at: "1970-01-01T00:00:00.000Z" }))
    )
  })

  it("the conversion can be given", () => {
    const asked: Array<readonly [string, unknown, Parse.OperandUse]> = []
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
      problemOf(Parse.fromWhere<User>({ age: { gt: 1 } }, { toJson: () => Result.fail("Expected a year") })),
      "age/gt: Expected a year"
    )
    assert.strictEqual(
      problemOf(Parse.fromWhere<User>({ age: 1 }, { toJson: () => Result.succeed(NaN) })),
      "age: Expected a finite number"
    )
    assert.strictEqual(
      problemOf(Parse.fromWhere<User>({ age: { gt: 1 } }, { toJson: () => Result.succeed(true) })),
      "age/gt: Expected a number or a text"
    )
  })

  it("no condition vanishes", () => {
    const lost: Record<string, unknown> = { country: undefined }
    assert.strictEqual(problemOf(Parse.fromWhere(lost)), "country: Expected a value, not undefined; leave the key out")
    assert.include(problemOf(Parse.fromWhere({ age: { gte: undefined } })), "age/gte: Expected a value, not undefined")
    assert.include(problemOf(Parse.fromWhere({ $or: undefined })), "$or: Expected a list")
    assert.include(problemOf(Parse.fromWhere({ age: { in: [undefined] } })), "age/in/0: Expected a value")
  })

  it("what JSON cannot carry is refused", () => {
    class Box {
      readonly a = 1
    }
    for (const value of [new Box(), new Date(NaN), Symbol("x"), () => 1, new Map(), Uint8Array.of(1)]) {
      assert.strictEqual(problemOf(Parse.fromWhere({ a: value })), "a: Expected a value that JSON can carry")
    }
    assert.strictEqual(problemOf(Parse.fromWhere({ a: [1, Infinity] })), "a/1: Expected a finite number")
    const circle: Record<string, unknown> = {}
    circle["a"] = circle
    assert.include(problemOf(Parse.fromWhere({ a: circle })), "Expected at most 256 levels")
    assert.include(problemOf(Parse.fromWhere(new Box() as never)), "Expected an object of conditions")
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
      assert.isTrue(Result.isSuccess(Parse.fromWhere(input, { systemFields: ["$createdAt"] })))
    }
    const generic = <A>(where: Query.Where<A>) => Parse.fromWhere<A>(where)
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

  it("tells which operator may be meant", () => {
    const date = (path: ReadonlyArray<string>, value: unknown) =>
      typeof value === "string" ? Result.succeed(value) : Result.fail("Expected a text")
    const told = (input: unknown) => refused(input, { toJson: date, systemFields: ["$createdAt"] })
    const names = "one of eq, ne, gt, gte, lt, lte, between, in, notIn, startsWith, contains, exists"
    for (const [operator, meant] of [
      ["after", "gt"],
      ["$after", "gt"],
      ["before", "lt"],
      ["since", "gte"],
      ["until", "lte"],
      ["greaterThan", "gt"],
      ["equals", "eq"],
      ["$nin", "notIn"],
      ["beginsWith", "startsWith"],
      ["like", "contains"],
      ["$exist", "exists"],
      ["startWith", "startsWith"],
      ["bewteen", "between"]
    ]) {
      const expected = `at/${operator}: Expected an operator: ${names}; perhaps ${meant} is meant`
      assert.strictEqual(told({ at: { [operator!]: "2026" } }), expected)
    }
    // What is near to none, and what is no operator at all.
    assert.strictEqual(told({ at: { $regex: "x" } }), `at/$regex: Expected an operator: ${names}`)
    assert.strictEqual(told({ at: { city: "x" } }), "at: Expected a text")
    assert.strictEqual(
      told({ $created: "x" }),
      "$created: Expected the name of a field, or one of $and, $or, $not; perhaps $createdAt is meant"
    )
  })

  it("takes what may be meant as an operator for a value where it is one", () => {
    assert.deepStrictEqual(where({ at: { after: 1, before: 2 } }), {
      _tag: "Compare",
      op: "eq",
      path: ["at"],
      value: { after: 1, before: 2 }
    })
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
    assert.strictEqual(problemOf(Parse.orderFromText("a.__proto__")), "a.__proto__: Expected the name of a field")
  })

  it("has limits", () => {
    const inNot = (depth: number) => nested(depth, { a: 1 }, (value) => ({ $not: value }))
    const inList = (depth: number) => ({ a: nested(depth, 1, (value) => [value]) })
    assert.isTrue(Result.isSuccess(Parse.fromJson(inNot(31))))
    assert.match(refused(inNot(32)), /^(?:\$not\/){32}a: Expected at most 32 levels$/)
    assert.isTrue(Result.isSuccess(Parse.fromJson(inList(31))))
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
    assert.isTrue(Result.isSuccess(Parse.fromJson(many(998))))
    assert.include(refused(many(999)), "Expected at most 1000 conditions and values")
    assert.isTrue(Result.isSuccess(Parse.fromJson(many(998), { toJson: (_, value) => Result.succeed(Number(value)) })))
    assert.isTrue(Result.isSuccess(Parse.fromJson(many(5000), { maxNodes: 10_000 })))
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

describe("order", () => {
  const order = (text: string) => Result.getOrThrow(Parse.orderFromText(text))

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
      assert.strictEqual(problemOf(Parse.orderFromText(text)), problem)
    }
  })

  it("from objects and lists", () => {
    const by = (input: Query.OrderBy<User>) => Query.orderToText(Result.getOrThrow(Parse.orderFrom<User>(input)))
    assert.strictEqual(by("name"), "name")
    assert.strictEqual(by("-address.city"), "-address.city")
    assert.strictEqual(by({ age: "desc", name: "asc" }), "-age,name")
    assert.strictEqual(by(["-age", { name: "desc" }, "id"]), "-age,-name,id")
    // @ts-expect-error: no such field
    by("surname")
    // @ts-expect-error: no such direction
    assert.throws(() => by({ age: "down" }))
  })
})
