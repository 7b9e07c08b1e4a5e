import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as EffectOrder from "effect/Order"
import * as Result from "effect/Result"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as Query from "effect-s3db/Query"
import * as Parse from "../src/query/parse.ts"
import { random } from "./encoding/random.ts"

const isMatch = (predicate: Query.Predicate, document: JsonObject, options?: Query.Options): boolean =>
  Query.matches(predicate, options)(document)

const where = (input: unknown, options?: Parse.Options): Query.Predicate =>
  Result.getOrThrow(Parse.fromJson(input, options))

const parsed = (text: string): JsonObject => JSON.parse(text)

const decimal: Query.Options = { orderOf: () => "decimal" }

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

  it("lone surrogates are code points, too: before U+E000, and before all pairs", () => {
    const alphabet = [
      "a",
      "\uD7FF",
      "\uD800",
      "\uDBFF",
      "\uDC00",
      "\uDFFF",
      "\uE000",
      "\uFFEE",
      "\uFFFF",
      "😀",
      "\u{10FFFF}"
    ]
    const { int, pick } = random(5)
    const byPoints = (a: string, b: string): number => {
      const [x, y] = [a, b].map((text) => Array.from(text, (one) => one.codePointAt(0)!))
      const at = x!.findIndex((point, i) => point !== y![i])
      if (at < 0 || y![at] === undefined) return x!.length - y!.length
      return x![at]! - y![at]
    }
    const text = () => Array.from({ length: int(5) }, () => pick(alphabet)).join("")
    for (let i = 0; i < 20_000; i++) {
      const [a, b] = [text(), text()]
      const expected = Math.sign(byPoints(a, b))
      assert.strictEqual(Query.compareValues(a, b), expected, JSON.stringify([a, b]))
      assert.strictEqual(isMatch(Query.lt("a", b), { a }), expected < 0)
      assert.strictEqual(Query.compare([], {})({ id: a }, { id: b }), expected)
    }
    assert.isTrue(isMatch(Query.lt("a", "\uFFEE"), { a: "\uD800" }))
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
  const order = (text: string) => Result.getOrThrow(Parse.orderFromText(text))

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
