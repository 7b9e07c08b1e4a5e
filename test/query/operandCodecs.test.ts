import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as DbError from "effect-s3db/DbError"
import * as Query from "effect-s3db/Query"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { DocumentSchema } from "effect-s3db/schema/Attributes"
import * as OperandCodecs from "../../src/query/operandCodecs.ts"
import { openNew } from "../fixture.ts"

const at = (text: string) => DateTime.makeUnsafe(text)
const zoned = (text: string, timeZone: string) => DateTime.makeZonedUnsafe(text, { timeZone })

/** Of each kind of field three values: the second is the one that is asked for; the last is the greatest. */
const kinds: Readonly<
  Record<string, readonly [schema: DocumentSchema, values: ReadonlyArray<unknown>, ordered: boolean]>
> = {
  numberFromString: [Schema.NumberFromString, [-7, 5, 10], true],
  bigInt: [Schema.BigInt, [-3n, 12n, 100n], true],
  bigDecimal: [Schema.BigDecimal, ["-1", "9.50", "10"].map(BigDecimal.fromStringUnsafe), true],
  money: [Attribute.Money("EUR"), ["1", "9.50", "10"].map(BigDecimal.fromStringUnsafe), true],
  millis: [Schema.DateTimeUtcFromMillis, ["2025-01-01", "2026-01-05", "2026-02-01"].map(at), true],
  date: [Schema.Date, [new Date(-1), new Date(5), new Date(6)], true],
  dateTime: [Attribute.DateTime, ["2025-01-01", "2026-01-05", "2026-02-01"].map(at), true],
  zoned: [
    Schema.DateTimeZoned,
    [
      zoned("2026-01-04T23:00:00Z", "Asia/Tokyo"),
      zoned("2026-01-05T00:00:00Z", "America/New_York"),
      zoned("2026-01-05T01:00:00Z", "Europe/Berlin")
    ],
    true
  ],
  text: [Schema.String, ["a", "b", "c"], true],
  choice: [Schema.Literals(["a", "b", "c"]), ["a", "b", "c"], true],
  number: [Schema.Number, [-1, 2, 3], true],
  nullable: [Schema.NullOr(Schema.Date), [new Date(-1), new Date(5), new Date(6)], true],
  boolean: [Schema.Boolean, [true, false, true], false],
  duration: [Schema.Duration, [1, 3, 4].map(Duration.seconds), false],
  option: [Schema.Option(Schema.Date), [Option.none(), Option.some(new Date(5)), Option.none()], false],
  map: [Schema.ReadonlyMap(Schema.String, Schema.Int), [new Map(), new Map([["a", 1]]), new Map([["b", 1]])], false],
  bytes: [Schema.Uint8Array, [[1], [1, 2], [3]].map((all) => Uint8Array.from(all)), false],
  url: [
    Schema.URL,
    ["https://a.example/", "https://b.example/", "https://c.example/"].map((one) => new URL(one)),
    false
  ],
  dates: [Schema.Array(Schema.Date), [[], [new Date(5)], [new Date(6)]], false],
  struct: [Schema.Struct({ at: Schema.Date }), [5, 6, 7].map((n) => ({ at: new Date(n) })), false]
}

const openWith = (schema: DocumentSchema, values: ReadonlyArray<unknown>) =>
  Effect.gen(function* () {
    const { open } = yield* openNew
    const things = yield* open("things", {
      schema: Schema.Struct({ id: Schema.String, f: schema as unknown as Schema.Codec<unknown> }),
      primaryKey: "id",
      scan: true
    })
    yield* Effect.forEach(values, (f, i) => things.insert({ id: `${i}`, f }))
    const ids = (request: Parameters<typeof things.query>[0]) =>
      Effect.map(Stream.runCollect(things.query(request)), (all) => all.map((one) => one.id).join(""))
    return { things, ids }
  })

const problem = <A, R>(effect: Effect.Effect<A, { readonly _tag: string }, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual(error._tag, "InvalidInput")
    const [issue] = (error as DbError.InvalidInput).issues
    return `${issue?.path.join(".")}: ${issue?.message}`
  })

describe("operands", () => {
  for (const [name, [schema, values, ordered]] of Object.entries(kinds)) {
    it.effect(`${name}: a condition finds what was stored`, () =>
      Effect.gen(function* () {
        const { things, ids } = yield* openWith(schema, values)
        const wanted = values[1]
        assert.strictEqual(yield* ids({ where: { f: { eq: wanted } } }), "1")
        assert.strictEqual(yield* ids({ where: { f: { in: [wanted, wanted] } } }), "1")
        assert.strictEqual(yield* ids({ where: { f: { ne: wanted } } }), "02")
        assert.strictEqual(yield* ids({ where: { f: { notIn: [wanted] } } }), "02")
        // What a document shows as JSON finds it as well.
        const [, json] = (yield* Stream.runCollect(things.queryJson({ scan: true }))).map((one) => one["f"]!)
        const predicate = yield* things.parseWhere({ f: { eq: json } })
        assert.strictEqual(yield* ids({ predicate }), "1")
        assert.strictEqual(yield* ids({ predicate: Query.in("f", [json!]) }), "1")
        const isAfter = ids({ where: { f: { gt: wanted } } })
        if (ordered) {
          assert.strictEqual(yield* isAfter, "2")
          assert.strictEqual(yield* ids({ where: { f: { lte: wanted } } }), "01")
          assert.strictEqual(yield* ids({ where: { f: { between: [wanted, values[2]] } } }), "12")
          assert.strictEqual(yield* ids({ order: "-f", limit: 3 }), "210")
        } else if (name !== "bytes" && name !== "url") assert.match(yield* problem(isAfter), /^f\.gt: Expected /)
      })
    )
  }

  it.effect("JSON writes a value in several ways", () =>
    Effect.gen(function* () {
      const dates = yield* openWith(Attribute.DateTime, [at("2026-01-05T00:00:00Z")])
      for (const json of [
        "2026-01-05T00:00:00Z",
        "2026-01-05T01:00:00+01:00",
        "2026-01-05",
        "2026-01-05T00:00:00.000Z"
      ]) {
        const predicate = yield* dates.things.parseWhere({ f: json })
        assert.deepStrictEqual(predicate, Query.eq("f", "2026-01-05T00:00:00.000Z"))
        assert.strictEqual(yield* dates.ids({ predicate: Query.eq("f", json) }), "0")
        assert.strictEqual(yield* dates.ids({ predicate: Query.gte("f", json) }), "0")
      }
      const moments = yield* openWith(Schema.DateTimeZoned, [zoned("2026-01-05T00:00:00Z", "Europe/Berlin")])
      // The same moment elsewhere.
      assert.strictEqual(yield* moments.ids({ where: { f: zoned("2026-01-05T00:00:00Z", "Asia/Tokyo") } }), "0")
      const decimals = yield* openWith(Schema.BigDecimal, [BigDecimal.fromStringUnsafe("9.5")])
      assert.strictEqual(yield* decimals.ids({ predicate: Query.eq("f", "9.500") }), "0")
    })
  )

  it.effect("what can never match is refused, with the path and the operator", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({
          id: Schema.String,
          n: Schema.Int.check(Schema.isGreaterThan(0)),
          at: Schema.optionalKey(Schema.DateTimeUtc),
          state: Schema.Literals(["open", "done"]),
          tags: Schema.Array(Schema.Date),
          in: Schema.Struct({ on: Schema.Boolean })
        }),
        primaryKey: "id",
        scan: true
      })
      const refused = (json: unknown) => problem(things.parseWhere(json))
      assert.strictEqual(yield* refused({ n: "1" }), "n: Expected a number")
      assert.strictEqual(yield* refused({ n: { gte: "1" } }), "n.gte: Expected a number")
      assert.strictEqual(yield* refused({ n: { $in: [1, true] } }), "n.$in.1: Expected a number")
      assert.match(yield* refused({ at: "soon" }), /^at: Expected a date and time/)
      assert.match(yield* refused({ at: 5 }), /^at: Expected a date and time/)
      assert.match(yield* refused({ at: null }), /^at: Expected a date and time/)
      assert.strictEqual(yield* refused({ state: "gone" }), 'state: Expected one of "open", "done"')
      assert.strictEqual(yield* refused({ "in.on": "yes" }), "in.on: Expected true or false")
      assert.strictEqual(yield* refused({ n: { startsWith: "1" } }), "n.startsWith: Expected a field of text")
      assert.match(yield* refused({ tags: { contains: "x" } }), /^tags.contains: Expected a date/)
      assert.match(yield* refused({ $or: [{ nope: 1 }] }), /^\$or.0.nope: Expected a field of things/)
      assert.match(yield* refused({ nope: { exists: true } }), /^nope: Expected a field of things/)
      assert.match(yield* refused({ "at.year": 2026 }), /^at.year: Expected a field of things/)
      assert.match(yield* refused({ "tags.0": { exists: true } }), /^tags.0: Expected a field of things/)
      assert.match(yield* refused({ $createdAt: 3 }), /^\$createdAt: Expected a date and time/)
      assert.match(
        yield* problem(Stream.runDrain(things.query({ predicate: Query.gte("n", "1") }))),
        /^n\.gte: Expected a number/
      )
      // The checks of the schema say what may be stored, not what may be asked.
      assert.deepStrictEqual(yield* things.parseWhere({ n: { gte: 0 } }), Query.gte("n", 0))
      assert.deepStrictEqual(yield* things.parseWhere({ state: { gte: "p" } }), Query.gte("state", "p"))
      assert.deepStrictEqual(
        yield* things.parseWhere({ tags: { contains: "2026-01-05" } }),
        Query.contains("tags", "2026-01-05T00:00:00.000Z")
      )
      assert.deepStrictEqual(
        yield* things.parseWhere({ $updatedAt: { lt: "2026" }, $schemaVersion: 1 }),
        Query.and(Query.lt("$updatedAt", "2026-01-01T00:00:00.000Z"), Query.eq("$schemaVersion", 1))
      )
      assert.deepStrictEqual(yield* things.parseOrder("-n,$createdAt"), [
        { path: ["n"], direction: "desc" },
        { path: ["$createdAt"], direction: "asc" }
      ])
      assert.match(yield* problem(things.parseOrder("nope")), /^nope: Expected a field of things/)
      assert.deepStrictEqual(
        yield* Stream.runCollect(things.query({ order: yield* things.parseOrder("-n,$createdAt"), limit: 3 })),
        []
      )
    })
  )

  it.effect("values and bounds of a partition, and of a unique key, are those of documents", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({
          id: Schema.String,
          millis: Schema.DateTimeUtcFromMillis,
          n: Schema.BigInt,
          on: Schema.DateTimeUtc,
          hidden: Schema.StringFromBase64
        }),
        primaryKey: "id",
        partitions: {
          byMillis: ["millis"],
          byN: ["n"],
          byMonth: { fields: { on: "month" } },
          byOn: ["on"],
          byHidden: ["hidden"]
        },
        unique: { n: ["n"] },
        counters: { partitions: ["byN"] }
      })
      const day = at("2026-01-05T00:00:00Z")
      yield* things.insert({ id: "1", millis: day, n: 12n, on: day, hidden: "abcd" })
      const ids = (within: Parameters<typeof things.listIds>[0]) =>
        Effect.map(Stream.runCollect(things.listIds(within)), (all) => all.join(""))
      assert.strictEqual(yield* ids({ partition: "byMillis", values: { millis: day } }), "1")
      assert.strictEqual(yield* ids({ partition: "byMillis", values: { millis: Date.UTC(2026, 0, 5) } }), "1")
      assert.strictEqual(yield* ids({ partition: "byMillis", from: day, to: day }), "1")
      assert.strictEqual(yield* ids({ partition: "byN", values: { n: 12n } }), "1")
      assert.strictEqual(yield* ids({ partition: "byMonth", values: { on: day } }), "1")
      assert.strictEqual(yield* ids({ partition: "byMonth", values: { on: "2026-01" } }), "1")
      assert.strictEqual(yield* ids({ partition: "byMonth", values: { on: "2026-01-05T01:00:00+01:00" } }), "1")
      assert.strictEqual(yield* ids({ partition: "byOn", values: { on: "2026-01-05T01:00:00+01:00" } }), "1")
      assert.strictEqual(yield* ids({ partition: "byOn", from: "2026-01-05", to: "2026-01-06" }), "1")
      assert.strictEqual(yield* ids({ where: { millis: day } }), "1")
      assert.strictEqual(yield* ids({ where: { n: 12n } }), "1")
      // Text of which both the value and its stored form are text.
      assert.strictEqual(yield* ids({ where: { hidden: "abcd" } }), "1")
      assert.strictEqual(yield* ids({ partition: "byHidden", values: { hidden: "abcd" } }), "1")
      assert.deepInclude(yield* things.explainQuery({ where: { n: 12n, id: { exists: true } } }), { index: "n" })
      assert.strictEqual((yield* things.getByUnique("n", { n: 12n })).id, "1")
      assert.strictEqual(yield* things.estimatedCount({ partition: "byN", values: { n: 12n } }), 1)
      assert.strictEqual(
        (yield* things.getFromPartition("1", { partition: "byMillis", values: { millis: day } })).id,
        "1"
      )
      const soon = problem(Stream.runDrain(things.listIds({ partition: "byMillis", values: { millis: "soon" } })))
      assert.strictEqual(yield* soon, "millis: Expected a number")
      assert.match(
        yield* problem(Stream.runDrain(things.listIds({ partition: "byMillis", from: "soon" }))),
        /^millis: Expected bounds that are numbers or dates/
      )
      assert.match(yield* problem(things.getByUnique("n", { n: "twelve" })), /^n: Expected a number as text/)
    })
  )

  it("fields of classes, of records, and those that have other names in storage", () => {
    class Inner extends Schema.Class<Inner>("Inner")({ at: Schema.Date }) {}
    class Outer extends Schema.Class<Outer>("Outer")({
      id: Schema.String,
      inner: Schema.optionalKey(Schema.NullOr(Inner)),
      byDay: Schema.Record(Schema.String, Schema.Date),
      either: Schema.Union([Schema.Struct({ n: Schema.BigInt }), Schema.Struct({ t: Schema.Date })])
    }) {}
    const operands = OperandCodecs.make(Outer)
    const day = new Date(5)
    const text = Result.succeed("1970-01-01T00:00:00.005Z")
    assert.deepStrictEqual(operands.fromValue(["inner", "at"], day, "equal"), text)
    assert.deepStrictEqual(operands.fromValue(["byDay", "x"], day, "equal"), text)
    assert.deepStrictEqual(operands.fromValue(["either", "t"], day, "equal"), text)
    assert.deepStrictEqual(operands.fromValue(["either", "n"], 3n, "equal"), Result.succeed("3"))
    assert.strictEqual(operands.kindOf(["either", "n"]), "decimal")
    assert.deepStrictEqual(
      operands.fromValue(["inner"], new Inner({ at: day }), "equal"),
      Result.succeed({ at: "1970-01-01T00:00:00.005Z" })
    )
    const free = OperandCodecs.make(
      Schema.Struct({ id: Schema.String, json: Schema.Json, any: Schema.Unknown, o: Schema.ObjectKeyword })
    )
    for (const path of [
      ["json", "a", "b"],
      ["any", "a"],
      ["o", "a"]
    ]) {
      assert.isTrue(free.has(path))
      assert.deepStrictEqual(free.fromValue(path, 3, "order"), Result.succeed(3))
    }
    assert.isFalse(free.has(["id", "a"]))
    const renamed = OperandCodecs.make(
      Schema.Struct({ id: Schema.String, at: Schema.Date, n: Schema.Int }).pipe(Schema.encodeKeys({ n: "m" }))
    )
    assert.deepStrictEqual(renamed.fromValue(["at"], day, "equal"), text)
    assert.deepStrictEqual(renamed.fromValue(["m"], 3, "equal"), Result.succeed(3))
    assert.isTrue(Result.isFailure(renamed.fromValue(["m"], "3", "equal")))
  })
})
