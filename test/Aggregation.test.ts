import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Aggregation from "effect-s3db/Aggregation"
import type { Json, JsonObject } from "effect-s3db/encoding/Json"
import type * as Query from "effect-s3db/Query"
import { random } from "./encoding/random.ts"

const spec = (input: unknown): Aggregation.Spec => Result.getOrThrow(Aggregation.fromJson(input))

const run = (input: unknown, documents: ReadonlyArray<JsonObject>, options?: Aggregation.Options) =>
  Aggregation.run(Stream.fromIterable(documents), spec(input), options)

const decimal: Query.Options = { orderOf: () => "decimal" }

/** The one value of the one group. */
const one = (measure: unknown, values: ReadonlyArray<Json>, options?: Aggregation.Options) =>
  Effect.map(
    run(
      { values: { x: measure } },
      values.map((v) => ({ v })),
      options
    ),
    ([group]) => group?.values["x"]
  )

const sum = (values: ReadonlyArray<Json>, options?: Aggregation.Options) => one({ sum: "v" }, values, options)
const avg = (values: ReadonlyArray<Json>, options?: Aggregation.Options) => one({ avg: "v" }, values, options)

const problemOf = (input: unknown): string =>
  Result.match(Aggregation.fromJson(input), {
    onFailure: ({ path, message }) => `${path.join("/")}: ${message}`,
    onSuccess: () => "no problem"
  })

describe("specifications", () => {
  it("are data", () => {
    const parsed = spec({
      groupBy: ["a", "b.c"],
      values: { n: { count: true }, s: { sum: "x" }, lo: { min: "x" }, hi: { max: "x.y" }, mean: { avg: "z" } }
    })
    assert.deepStrictEqual(parsed, {
      groupBy: [["a"], ["b", "c"]],
      values: {
        n: { _tag: "Count" },
        s: { _tag: "Sum", path: ["x"] },
        lo: { _tag: "Min", path: ["x"] },
        hi: { _tag: "Max", path: ["x", "y"] },
        mean: { _tag: "Avg", path: ["z"] }
      }
    })
    assert.deepStrictEqual(JSON.parse(JSON.stringify(parsed)), parsed)
    assert.deepStrictEqual(Aggregation.paths(parsed), [["a"], ["b", "c"], ["x"], ["x", "y"], ["z"]])
  })

  it("are typed", () => {
    interface Sale {
      readonly amount: number
      readonly shop: { readonly city: string }
    }
    assert.isTrue(
      Result.isSuccess(
        Aggregation.make<Sale>({ groupBy: ["shop.city"], values: { total: { sum: "amount" }, n: { count: true } } })
      )
    )
    // @ts-expect-error: no such field
    Aggregation.make<Sale>({ values: { total: { sum: "price" } } })
    // @ts-expect-error: no such measure
    Aggregation.make<Sale>({ values: { total: { median: "amount" } } })
    // @ts-expect-error: no such field
    Aggregation.make<Sale>({ groupBy: ["city"], values: { n: { count: true } } })
  })

  it("name what is wrong", () => {
    const known = "count, sum, min, max, avg"
    for (const [input, problem] of [
      [null, ": Expected an object with values, and groupBy if it is by group"],
      [[], ": Expected an object with values, and groupBy if it is by group"],
      [{}, 'values: Expected an object such as { "total": { "sum": "amount" } }'],
      [{ values: [] }, 'values: Expected an object such as { "total": { "sum": "amount" } }'],
      [{ values: {} }, "values: Expected at least one value"],
      [{ values: { n: { count: true } }, where: {} }, "where: Expected nothing but values and groupBy"],
      [{ values: { n: { count: 1 } } }, "values/n/count: Expected true"],
      [{ values: { n: { count: "x" } } }, "values/n/count: Expected true"],
      [{ values: { n: 3 } }, `values/n: Expected one of ${known}, and its field`],
      [{ values: { n: {} } }, `values/n: Expected one of ${known}, and its field`],
      [{ values: { n: { sum: "a", avg: "a" } } }, `values/n: Expected one of ${known}, and its field`],
      [{ values: { n: { median: "a" } } }, `values/n/median: Expected one of ${known}`],
      [{ values: { n: { constructor: "a" } } }, `values/n/constructor: Expected one of ${known}`],
      [{ values: { n: { sum: "" } } }, "values/n/sum: Expected the name of a field"],
      [{ values: { n: { sum: 3 } } }, "values/n/sum: Expected the name of a field"],
      [{ values: { n: { sum: "a.__proto__" } } }, "values/n/sum: Expected the name of a field"],
      [JSON.parse('{"values":{"__proto__":{"sum":"a"}}}'), "values/__proto__: Expected a name other than __proto__"],
      [{ groupBy: "a", values: { n: { count: true } } }, "groupBy: Expected a list of the names of fields"],
      [{ groupBy: ["a", 1], values: { n: { count: true } } }, "groupBy/1: Expected the name of a field"],
      [{ groupBy: Array.from({ length: 33 }, () => "a"), values: {} }, "groupBy: Expected at most 32 fields"],
      [
        { values: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`n${i}`, { count: true }])) },
        "values: Expected at most 100 values"
      ]
    ] as const) {
      assert.strictEqual(problemOf(input), problem)
    }
  })
})

/** A number in units of 2^-1074, by its digits in base 2. */
const exact = (value: number): bigint => {
  let at = Math.abs(value)
  let exponent = 0
  while (!Number.isInteger(at)) {
    // By small steps, each of which is exact.
    at *= 2
    exponent += 1
  }
  const size = (BigInt(at) * 2n ** 1074n) / 2n ** BigInt(exponent)
  return value < 0 ? -size : size
}

/** The number before or after another one. */
const neighbour = (value: number, step: bigint): number => {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  view.setBigInt64(0, view.getBigInt64(0) + step)
  return view.getFloat64(0)
}

/** Whether no number is nearer to a fraction of units, and of two that are as near it is the even one. */
const isNearest = (found: unknown, numerator: bigint, denominator: bigint) => {
  if (found === null) return assert.isTrue(numerator > exact(Number.MAX_VALUE) || numerator < -exact(Number.MAX_VALUE))
  const value = found as number
  const size = (n: bigint) => (n < 0n ? -n : n)
  const distance = (of: number) => size(exact(of) * denominator - numerator)
  const others = value === 0 ? [5e-324, -5e-324] : [neighbour(value, 1n), neighbour(value, -1n)]
  for (const other of others.filter(Number.isFinite)) {
    const isEven = (exact(value) / (size(exact(other) - exact(value)) || 1n)) % 2n === 0n
    const isNear = distance(value) < distance(other) || (distance(value) === distance(other) && isEven)
    assert.isTrue(isNear, `${value} rather than ${other} for ${numerator}/${denominator}`)
  }
}

describe("sums", () => {
  it.effect("of whole numbers are exact", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* sum([1, 2, 3]), 6)
      assert.strictEqual(yield* sum([]), 0)
      assert.strictEqual(Object.is(yield* sum([-0, -0]), 0), true)
      const big = Number.MAX_SAFE_INTEGER
      assert.strictEqual(yield* sum([big, 1, 1, 1, -big]), 3)
      assert.strictEqual(yield* sum([big, big, 2, -big, -big]), 2)
      assert.strictEqual(yield* sum([1e300, 1, -1e300, 1]), 2)
      assert.strictEqual(yield* sum([1e300, 0.5, -1e300, 1]), 1.5)
      assert.strictEqual(yield* sum([2 ** 53, 1, 0.5, 0.5, -(2 ** 53)]), 2)
      assert.strictEqual(yield* sum([2 ** 53, 1, 1]), 2 ** 53 + 2)
    })
  )

  it.effect("and averages are the numbers nearest to the true ones", () =>
    Effect.gen(function* () {
      // What a person would write.
      assert.strictEqual(yield* avg([1, 2, 2]), 5 / 3)
      assert.strictEqual(yield* avg([0.1, 0.2, 0.3]), 0.2)
      assert.strictEqual(yield* avg([5e-324, 0]), 0)
      assert.strictEqual(yield* avg([1.5e-323, 0]), 1e-323)
      const from = random(31)
      for (let round = 0; round < 400; round++) {
        const kinds = [
          () => from.int(2000) - 1000,
          () => (from.unit() - 0.5) * 2 ** (from.int(120) - 60),
          () => (from.unit() - 0.5) * 2 ** (from.int(2098) - 1074),
          () => 2 ** (from.int(2046) - 1074),
          () => -0,
          () => Number.MAX_SAFE_INTEGER - from.int(3)
        ]
        const values = Array.from({ length: 1 + from.int(40) }, () => from.pick(kinds)())
        // Others cancel almost all of them.
        if (round % 3 === 0) values.push(...values.slice(1).map((value) => -value))
        const total = values.reduce((all, value) => all + exact(value), 0n)
        isNearest(yield* sum(values), total, 1n)
        isNearest(yield* avg(values), total, BigInt(values.length))
      }
    })
  )

  it.effect("of fractions are compensated", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* sum(Array.from({ length: 10 }, () => 0.1)), 1)
      assert.strictEqual(yield* sum(Array.from({ length: 100_000 }, () => 0.1)), 10_000)
      assert.strictEqual(yield* sum([0.5, 1e15 + 0.5, -1e15 - 0.5, 1e-20]), 0.5 + 1e-20)
      assert.strictEqual(yield* sum([1e100, 0.25, -1e100]), 0.25)
    })
  )

  it.effect("do not depend on the order of documents", () =>
    Effect.gen(function* () {
      const from = random(9)
      const values = Array.from({ length: 2000 }, () =>
        from.pick([() => from.int(1000), () => 2 ** from.int(70), () => -(2 ** from.int(70)), () => from.int(99) / 8])()
      )
      assert.strictEqual(yield* sum(values), yield* sum(values.toReversed()))
      assert.strictEqual(yield* sum(values), yield* sum(values.toSorted((a, b) => a - b)))
    })
  )

  it.effect("beyond the range of numbers are null", () =>
    Effect.gen(function* () {
      assert.isNull(yield* sum([1.7e308, 1.7e308]))
      assert.strictEqual(yield* avg([1.7e308, 1.7e308]), 1.7e308)
      assert.strictEqual(yield* sum([1.7e308, 1.7e308, -1.7e308]), 1.7e308)
    })
  )

  it.effect("of decimals are exact", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* sum(["0.1", "0.2"], decimal), "0.3")
      assert.strictEqual(yield* sum([], decimal), "0")
      assert.strictEqual(yield* sum(["10", "-9.5", "1e2", 3], decimal), "103.5")
      assert.strictEqual(
        yield* sum(["123456789012345678901234567890.5", "0.5"], decimal),
        "123456789012345678901234567891"
      )
      assert.strictEqual(
        yield* sum(
          Array.from({ length: 10_000 }, () => "0.01"),
          decimal
        ),
        "100"
      )
    })
  )

  it.effect("skip what they cannot add", () =>
    Effect.gen(function* () {
      const documents: ReadonlyArray<JsonObject> = [
        { v: 1 },
        {},
        { v: null },
        { v: "2" },
        { v: true },
        { v: [3] },
        { v: { a: 1 } },
        { v: NaN },
        { v: Infinity },
        { v: 0.5 }
      ]
      const values = { s: { sum: "v" }, a: { avg: "v" }, n: { count: true } }
      assert.deepStrictEqual(yield* run({ values }, documents), [
        { key: [], values: { s: 1.5, a: 0.75, n: 10 }, skipped: { s: 8, a: 8 } }
      ])
      const hostile = ["1e999999999", "1e-999999999", "1e1001", "9".repeat(2001), "abc", "", "-", "1e", "0x1", " 1"]
      const [group] = yield* run(
        { values },
        ["1", "2", ...hostile].map((v) => ({ v })),
        decimal
      )
      assert.deepStrictEqual(group, { key: [], values: { s: "3", a: "1.5", n: 12 }, skipped: { s: 10, a: 10 } })
    })
  )
})

describe("averages", () => {
  it.effect("of numbers", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* avg([1, 2]), 1.5)
      assert.strictEqual(yield* avg([-1, -2]), -1.5)
      assert.strictEqual(yield* avg([0.25, 0.5, 2.25]), 1)
      assert.isNull(yield* avg([]))
      assert.isNull(yield* avg([null, "x"]))
      const big = Number.MAX_SAFE_INTEGER
      assert.strictEqual(yield* avg([big, big, big]), big)
    })
  )

  it.effect("of decimals", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* avg(["1", "2"], decimal), "1.5")
      assert.strictEqual(yield* avg(["1", "0", "0"], decimal), "3.3333333333333333333e-1")
      assert.strictEqual(yield* avg(["-1", "-1", "0"], decimal), "-6.6666666666666666667e-1")
      assert.strictEqual(yield* avg(["1e20", "3e20"], decimal), "2e+20")
      assert.isNull(yield* avg([], decimal))
    })
  )
})

describe("extremes", () => {
  const ends = (values: ReadonlyArray<Json>, options?: Aggregation.Options) =>
    Effect.map(
      run(
        { values: { lo: { min: "v" }, hi: { max: "v" } } },
        values.map((v) => ({ v })),
        options
      ),
      ([group]) => [group?.values["lo"], group?.values["hi"], group?.skipped["lo"]]
    )

  it.effect("of numbers and texts", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ends([3, -1, 2]), [-1, 3, 0])
      assert.deepStrictEqual(yield* ends(["b", "a", "😀", "\uFF61"]), ["a", "😀", 0])
      assert.deepStrictEqual(yield* ends(["2024-05-01T00:00:00.000Z", "2023-01-01T00:00:00.000Z"]), [
        "2023-01-01T00:00:00.000Z",
        "2024-05-01T00:00:00.000Z",
        0
      ])
      assert.deepStrictEqual(yield* ends([]), [null, null, 0])
      assert.deepStrictEqual(yield* ends([null, true, [1], {}]), [null, null, 4])
    })
  )

  it.effect("of both are of the numbers, whichever comes first", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ends(["b", 3, 1, null]), [1, 3, 2])
      assert.deepStrictEqual(yield* ends([3, 1, null, "b"]), [1, 3, 2])
      assert.deepStrictEqual(yield* ends(["b", 3], { orderOf: () => "text" }), ["b", "b", 1])
      assert.deepStrictEqual(yield* ends(["b", 3], { orderOf: () => "number" }), [3, 3, 1])
    })
  )

  it.effect("of decimals", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ends(["10", "9.5", "x"], decimal), ["9.5", "10", 1])
      assert.deepStrictEqual(yield* ends(["10", "9.5"]), ["10", "9.5", 0])
    })
  )
})

describe("groups", () => {
  it.effect("are in the order of their keys, null last", () =>
    Effect.gen(function* () {
      const documents: ReadonlyArray<JsonObject> = [
        { c: "PT", v: 1 },
        { v: 2 },
        { c: "BR", v: 3 },
        { c: null, v: 4 },
        { c: "PT", v: 5 },
        { c: 7, v: 6 },
        { c: ["x"], v: 7 },
        { c: { b: 1, a: 2 }, v: 8 },
        { c: { a: 2, b: 1 }, v: 9 },
        { c: false, v: 10 }
      ]
      const expected = [
        [[false], 10],
        [[7], 6],
        [["BR"], 3],
        [["PT"], 6],
        [[["x"]], 7],
        [[{ b: 1, a: 2 }], 17],
        [[null], 6]
      ]
      const input = { groupBy: ["c"], values: { s: { sum: "v" } } }
      const groups = yield* run(input, documents)
      assert.deepStrictEqual(
        groups.map(({ key, values }) => [key, values["s"]]),
        expected
      )
      const reversed = yield* run(input, documents.toReversed())
      assert.deepStrictEqual(
        reversed.map(({ values }) => values),
        groups.map(({ values }) => values)
      )
    })
  )

  it.effect("by more than one field", () =>
    Effect.gen(function* () {
      const groups = yield* run({ groupBy: ["a.b", "c"], values: { n: { count: true } } }, [
        { a: { b: "x" }, c: "y" },
        { a: { b: "x" }, c: 2 },
        { a: { b: "x" }, c: "y" },
        { a: { b: 'x","y' }, c: "" },
        { a: { b: "x" } }
      ])
      assert.deepStrictEqual(
        groups.map(({ key, values }) => [...key, values["n"]]),
        [
          ["x", 2, 1],
          ["x", "y", 2],
          ["x", null, 1],
          ['x","y', "", 1]
        ]
      )
    })
  )

  it.effect("decimals of one number are one key, so are 0 and -0", () =>
    Effect.gen(function* () {
      const documents = ["10", "9.5", "9.50", "1e1"].map((v) => ({ v }))
      const input = { groupBy: ["v"], values: { n: { count: true } } }
      assert.deepStrictEqual(
        (yield* run(input, documents, decimal)).map(({ key, values }) => [key[0], values["n"]]),
        [
          ["9.5", 2],
          ["10", 2]
        ]
      )
      assert.lengthOf(yield* run(input, [{ v: 0 }, { v: -0 }]), 1)
    })
  )

  it.effect("of no documents", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* run({ values: { n: { count: true }, s: { sum: "v" }, a: { avg: "v" }, lo: { min: "v" } } }, []),
        [{ key: [], values: { n: 0, s: 0, a: null, lo: null }, skipped: { s: 0, a: 0, lo: 0 } }]
      )
      assert.deepStrictEqual(yield* run({ groupBy: ["v"], values: { n: { count: true } } }, []), [])
    })
  )

  it.effect("too many of them fail", () =>
    Effect.gen(function* () {
      const documents = Array.from({ length: 11 }, (_, v) => ({ v }))
      const input = { groupBy: ["v"], values: { n: { count: true } } }
      assert.lengthOf(yield* run(input, documents, { maxGroups: 11 }), 11)
      const error = yield* Effect.flip(run(input, documents, { maxGroups: 10 }))
      assert.strictEqual(error._tag, "TooManyGroups")
      assert.strictEqual(error.limit, 10)
      assert.strictEqual(error.message, "the documents fall into more than 10 groups")
      const many = Stream.range(0, 100_000).pipe(Stream.map((v) => ({ v })))
      assert.strictEqual((yield* Effect.flip(Aggregation.run(many, spec(input)))).limit, 100_000)
      assert.lengthOf(yield* Aggregation.run(Stream.take(many, 100_000), spec(input)), 100_000)
    })
  )

  it.effect("every run of a sink begins anew, and a failing stream fails it", () =>
    Effect.gen(function* () {
      const sink = Aggregation.sink(spec({ values: { n: { count: true } } }))
      const stream = Stream.make<ReadonlyArray<JsonObject>>({}, {})
      assert.strictEqual((yield* Stream.run(stream, sink))[0]?.values["n"], 2)
      assert.strictEqual((yield* Stream.run(stream, sink))[0]?.values["n"], 2)
      const failing = Stream.concat(stream, Stream.fail("no"))
      assert.strictEqual(yield* Effect.flip(Stream.run(failing, sink)), "no")
    })
  )
})

/** Documents as columns, with rows between them that are none of them, in another order. */
const columnsOf = (documents: ReadonlyArray<JsonObject>, from: ReturnType<typeof random>): Aggregation.Columns => {
  const names = new Set(documents.flatMap((document) => Object.keys(document)))
  const values = new Map(Array.from(names, (name) => [name, new Array<Json | undefined>()]))
  const rows: Array<number> = []
  let row = 0
  for (const document of documents) {
    while (from.int(3) === 0) {
      for (const column of values.values()) column[row] = "no document"
      row += 1
    }
    for (const [name, column] of values) column[row] = document[name]
    rows.push(row++)
  }
  return { rows, values }
}

describe("columns", () => {
  it.effect("come to what rows come to", () =>
    Effect.gen(function* () {
      const kinds = [undefined, "number", "text", "decimal"] as const
      for (let seed = 0; seed < 300; seed++) {
        const from = random(seed)
        const texts = ["", "DE", "FR", "9.5", "9.50", "1e1", "é"]
        const value = (): Json =>
          from.pick<() => Json>([
            () => from.int(4),
            () => -0,
            () => from.int(1000) / 8,
            () => 2 ** from.int(60),
            () => from.pick(texts),
            () => from.int(2) === 0,
            () => null,
            () => [from.int(2)],
            () => ({ b: from.int(3) })
          ])()
        const draw = (): JsonObject => ({
          ...(from.int(5) > 0 ? { v: value() } : {}),
          ...(from.int(5) > 0 ? { c: value() } : {}),
          ...(from.int(3) > 0 ? { a: from.int(4) === 0 ? value() : { b: value(), c: { d: from.int(9) } } } : {})
        })
        const paths = ["v", "c", "a", "a.b", "a.c.d", "none", "none.x"]
        const measure = () => ({ [from.pick(["sum", "avg", "min", "max"])]: from.pick(paths) })
        const input = {
          groupBy: Array.from({ length: from.int(3) }, () => from.pick(paths)),
          values: { n: { count: true }, x: measure(), y: measure(), z: measure() }
        }
        const kind = from.pick(kinds)
        const options: Aggregation.Options = {
          ...(kind === undefined ? {} : { orderOf: () => kind }),
          ...(from.int(4) === 0 ? { maxGroups: 1 + from.int(4) } : {})
        }
        const pieces = Array.from({ length: from.int(4) }, () => Array.from({ length: from.int(12) }, draw))
        const byRows = yield* Effect.exit(run(input, pieces.flat(), options))
        const batches = pieces.map((piece) => (from.int(3) === 0 ? piece : columnsOf(piece, from)))
        const byColumns = yield* Effect.exit(Aggregation.runBatches(Stream.fromIterable(batches), spec(input), options))
        assert.deepStrictEqual(byColumns, byRows, `seed ${seed}: ${JSON.stringify(input)}`)
      }
    })
  )
})
