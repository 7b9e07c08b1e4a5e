import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import * as Query from "effect-s3db/Query"
import * as Bounds from "../../src/query/bounds.ts"
import * as Parse from "../../src/query/parse.ts"
import { random, type Random } from "../encoding/random.ts"

const isMatch = (predicate: Query.Predicate, document: JsonObject, options?: Query.Options): boolean =>
  Query.matches(predicate, options)(document)

const where = (input: unknown): Query.Predicate => Result.getOrThrow(Parse.fromJson(input))

const decimal: Query.Options = { orderOf: () => "decimal" }

describe("bounds", () => {
  const of = (input: unknown, options?: Query.Options) => Bounds.find(where(input), options)

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
    assert.deepStrictEqual(Bounds.find(Query.everything), [])
    assert.deepStrictEqual(Bounds.find(Query.nothing), [])
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
    assert.deepStrictEqual(Bounds.find(Query.gt("a", true)), [{ _tag: "OneOf", path: ["a"], values: [] }])
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
    const [a, b] = Bounds.find(predicate)
    assert.deepStrictEqual(
      Bounds.remainder(predicate, [a!]),
      where({ b: { gte: 1, lt: 5 }, c: { ne: 3 }, $or: [{ d: 1 }, { e: 1 }] })
    )
    assert.deepStrictEqual(Bounds.remainder(predicate, [a!, b!]), where({ c: { ne: 3 }, $or: [{ d: 1 }, { e: 1 }] }))
    assert.deepStrictEqual(Bounds.remainder(where({ a: 1 }), Bounds.find(where({ a: 1 }))), Query.everything)
    const both = where({ a: { startsWith: "ab", gt: "abc" } })
    assert.deepStrictEqual(Bounds.remainder(both, Bounds.find(both)), Query.gt("a", "abc"))
    assert.deepStrictEqual(Bounds.remainder(Query.nothing, []), Query.nothing)
  })

  const holds = (bound: Bounds.Bound, document: JsonObject): boolean => {
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
        const bounds = Bounds.find(predicate, options)
        const used = bounds.filter(() => from.int(2) === 0)
        const rest = Query.matches(Bounds.remainder(predicate, used, options), options)
        const test = Query.matches(predicate, options)
        for (let j = 0; j < 10; j++) {
          const document: JsonObject = from.int(8) === 0 ? { b: value(from) } : { a: value(from), b: value(from) }
          const isFound = (bound: Bounds.Bound) =>
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

  const boundPredicate = (bound: Bounds.Bound): Query.Predicate => {
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
