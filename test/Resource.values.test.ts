/** What happens to values on their way into a document and back. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as Normalization from "effect-s3db/schema/Normalization"
import { everything, memory, objectOf, openNew, openOn } from "./fixture.ts"
import { samples } from "./schema/samples.ts"

const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(1)) } })

const encodings = [
  ["text", Encoding.layer],
  ["packed", Encoding.layerPacked]
] as const

/** What becomes of a value in a field: it is the same, or refused by name. */
const wayOf = <F extends Schema.Codec<unknown, unknown>>(field: F, value: F["Type"]) =>
  Effect.gen(function* () {
    const { open } = yield* openNew
    const things = yield* open("things", {
      schema: Schema.Struct({ id: Schema.String, field }) as unknown as Schema.Codec<
        { readonly id: string; readonly field: unknown },
        { readonly id: string; readonly field: unknown }
      >,
      primaryKey: "id"
    })
    const written = yield* Effect.result(things.insert({ id: "1", field: value }))
    if (written._tag === "Failure") {
      const { failure } = written
      return failure._tag === "InvalidInput" ? failure.issues.map(({ path }) => path.join(".")) : [failure._tag]
    }
    assert.deepStrictEqual((yield* things.get("1")).field, value)
    return "same"
  })

describe("-0", () => {
  it.effect("is 0 for conditions, orders, partitions and unique keys, and itself where it is shown", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({ id: Schema.String, n: Schema.Number, u: Schema.Number }),
        primaryKey: "id",
        scan: true,
        unique: { u: ["u"] },
        partitions: { byN: { fields: ["n"], covering: ["n"] } }
      })
      yield* things.insert({ id: "b", n: -0, u: -0 })
      yield* things.insert({ id: "a", n: 0, u: 1 })
      yield* things.insert({ id: "c", n: -1, u: 2 })
      const idsOf = (request: Parameters<typeof things.query>[0]) =>
        Effect.map(Stream.runCollect(things.query(request)), (all) => all.map(({ id }) => id))
      for (const n of [0, -0]) {
        assert.deepStrictEqual((yield* idsOf({ where: { n } })).toSorted(), ["a", "b"])
        assert.deepStrictEqual((yield* idsOf({ where: { n: { gte: n } } })).toSorted(), ["a", "b"])
        assert.deepStrictEqual(yield* idsOf({ where: { n: { lt: n } } }), ["c"])
        assert.strictEqual((yield* things.getByUnique("u", { u: n })).id, "b")
        assert.strictEqual((yield* Effect.flip(things.insert({ id: `d${n}`, n, u: n })))._tag, "UniqueViolation")
      }
      assert.deepStrictEqual(yield* idsOf({ order: "n" }), ["c", "a", "b"])
      assert.deepStrictEqual(yield* idsOf({ order: "-n", limit: 5 }), ["a", "b", "c"])
      assert.deepStrictEqual(yield* Stream.runCollect(things.distinct({ partition: "byN" })), [-1, 0])
      const covered = yield* Stream.runCollect(things.covered({ partition: "byN" }))
      assert.deepStrictEqual(covered.find(({ id }) => id === "b")?.fields, { n: -0 })
      const [, zero] = yield* things.aggregate(
        { groupBy: ["n"], values: { n: { count: true }, sum: { sum: "n" } } },
        { scan: true }
      )
      assert.deepStrictEqual(zero, { key: [0], values: { n: 2, sum: 0 }, skipped: { sum: 0 } })
    })
  )
})

describe("values of a document", () => {
  const StringOrBigInt = Schema.Union([Schema.String, Schema.BigInt])
  const Event = Schema.Union([
    Schema.Struct({ kind: Schema.Literal("at"), when: Schema.Date }),
    Schema.Struct({ kind: Schema.Literal("text"), when: Schema.String })
  ])

  for (const [name, layer] of encodings) {
    it.effect(`${name}: -0 stays -0, or is refused`, () =>
      Effect.gen(function* () {
        const inStruct = <F extends Schema.Top>(field: F) => Schema.Struct({ a: field })
        for (const [field, value] of [
          [Schema.Number, -0],
          [Schema.Finite, -0],
          [Schema.Int, -0],
          [Schema.NullOr(Schema.Number), -0],
          [Schema.Literals([0, 1]), -0],
          [Schema.Literals([-0, 1]), -0],
          [Schema.Array(Schema.Literals([0, 1])), [0, -0, 1]],
          [Schema.Array(Schema.Number), [-0, 0, 1]],
          [Schema.Tuple([Schema.Number, Schema.String]), [-0, "x"]],
          [Schema.Record(Schema.String, Schema.Number), { a: -0, b: 0 }],
          [inStruct(Schema.Number), { a: -0 }],
          [Schema.Option(Schema.Number), Option.some(-0)],
          [Schema.Union([Schema.String, Schema.Number]), -0],
          [Schema.Json, { a: [-0, 0] }]
        ] as ReadonlyArray<readonly [Schema.Codec<unknown, unknown>, unknown]>) {
          assert.strictEqual(yield* wayOf(field, value), "same")
        }
        for (const [field, value, path] of [
          [Schema.NumberFromString, -0, "field"],
          [Schema.FiniteFromString, -0, "field"],
          [Schema.Array(Schema.NumberFromString), [0, -0], "field.1"],
          [inStruct(Schema.optionalKey(Schema.NumberFromString)), { a: -0 }, "field.a"]
        ] as ReadonlyArray<readonly [Schema.Codec<unknown, unknown>, unknown, string]>) {
          assert.deepStrictEqual(yield* wayOf(field, value), [path])
        }
        assert.strictEqual(yield* wayOf(Schema.NumberFromString, 0), "same")
      }).pipe(Effect.provide(layer))
    )

    it.effect(`${name}: what a union stores alike is read back as itself, or refused`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* wayOf(StringOrBigInt, 5n), "same")
        assert.deepStrictEqual(yield* wayOf(StringOrBigInt, "5"), ["field"])
        assert.strictEqual(yield* wayOf(StringOrBigInt, "five"), "same")
        const StringOrDate = Schema.Union([Schema.String, Schema.Date])
        assert.strictEqual(yield* wayOf(StringOrDate, "today"), "same")
        assert.deepStrictEqual(yield* wayOf(StringOrDate, new Date(0)), ["field"])
        assert.deepStrictEqual(yield* wayOf(Schema.Union([Schema.Uint8Array, Schema.String]), "AAAA"), ["field"])
        const NumberOrString = Schema.Union([Schema.Number, Schema.String])
        assert.strictEqual(yield* wayOf(NumberOrString, "5"), "same")
        assert.deepStrictEqual(yield* wayOf(NumberOrString, "NaN"), ["field"])
        assert.deepStrictEqual(yield* wayOf(Schema.Array(StringOrBigInt), [1n, "x", "1"]), ["field.2"])
        assert.deepStrictEqual(yield* wayOf(Schema.NullishOr(Schema.String), undefined), ["field"])
        assert.strictEqual(yield* wayOf(Schema.NullishOr(Schema.String), null), "same")
        assert.strictEqual(yield* wayOf(Event, { kind: "at", when: new Date(5) }), "same")
        assert.strictEqual(yield* wayOf(Event, { kind: "text", when: new Date(5).toISOString() }), "same")
      }).pipe(Effect.provide(layer))
    )
  }

  for (const [name, layer] of encodings) {
    it.effect(`${name}: what a schema cannot promise comes back as it is, or is refused by the name of the field`, () =>
      Effect.gen(function* () {
        const At = Schema.Struct({ at: Schema.Date })
        const at = { at: new Date(5) }
        // The first item of a list cannot be told from an only one, by a program that stores it so.
        const First = Schema.Array(Schema.String).pipe(
          Schema.decodeTo(
            Schema.String,
            SchemaTransformation.transform({ decode: (all) => all[0] ?? "", encode: (text) => text.split(" ") })
          )
        )
        class Point {
          readonly x = 1
        }
        class Shape extends Schema.Class<Shape>("values/Shape")({ name: Schema.String }) {
          notes: ReadonlyArray<string> = []
        }
        class Circle extends Shape.extend<Circle>("values/Circle")({ r: Schema.Finite }) {}
        const noted = Object.assign(new Shape({ name: "x" }), { notes: ["y"] })
        const gaps: Array<number> = []
        gaps[1] = 1
        const named = Object.assign([1], { name: "x" })
        const cyclic: Record<string, unknown> = {}
        cyclic["self"] = { cyclic }
        let looks = 0
        const fickle = {
          get look() {
            return (looks += 1)
          }
        }
        const steady = {
          get look() {
            return "same"
          }
        }
        const foreign: unknown = JSON.parse('{"__proto__":1}')
        const strange: ReadonlyArray<readonly [unknown, string]> = [
          [new Date(0), ""],
          [new Map([["a", 1]]), ""],
          [new Map(), ""],
          [new Set([1]), ""],
          [new URL("http://a/"), ""],
          [/a/g, ""],
          [new Uint8Array([1, 2]), ""],
          [new Point(), ""],
          [Object(5), ""],
          [new Error("x"), ""],
          [Promise.resolve(1), ""],
          [Option.some(1), ""],
          [5n, ""],
          [Number.NaN, ""],
          [Number.POSITIVE_INFINITY, ""],
          [Symbol.for("x"), ""],
          [() => 1, ""],
          [gaps, ""],
          [named, ""],
          [cyclic, ""],
          [{ [Symbol("x")]: 1 }, ""],
          [{ toJSON: () => 1 }, ".toJSON"],
          [foreign, ".__proto__"],
          [{ v: undefined }, ".v"],
          [[1, undefined], ".1"],
          [{ deep: [{ at: new Date(0) }] }, ".deep.0.at"],
          [fickle, ".look"]
        ]
        const plain: ReadonlyArray<unknown> = [
          "text",
          -0,
          [0, -0],
          null,
          { a: { b: [1, "x", null, true, "\uD800"] } },
          Object.assign(Object.create(null), { a: 1 }),
          steady,
          {}
        ]
        const free = [Schema.Any, Schema.Unknown] as const
        // Effect has a say first in what is unknown: it names the field.
        for (const field of free) {
          for (const value of plain) assert.strictEqual(yield* wayOf(field, value), "same")
          for (const [value, path] of strange) {
            const way = yield* wayOf(field, value)
            assert.notStrictEqual(way, "same", String(path))
            if (field === Schema.Any) assert.deepStrictEqual(way, [`field${path}`], String(path))
            else assert.match(way[0]!, /^field(\.|$)/)
          }
          for (const value of [undefined]) assert.deepStrictEqual(yield* wayOf(field, value), ["field"])
        }
        for (const value of [new Map([[1, 1]]), new Date(0), () => 1, new Point(), { v: undefined }]) {
          assert.notStrictEqual(yield* wayOf(Schema.ObjectKeyword, value), "same")
        }
        for (const value of [{ a: [1] }, [1, { b: null }]]) {
          assert.strictEqual(yield* wayOf(Schema.ObjectKeyword, value), "same")
        }
        const date = new Date(0)
        const around: ReadonlyArray<
          readonly [Schema.Codec<unknown, unknown>, unknown, "same" | ReadonlyArray<string>]
        > = [
          [Schema.Array(Schema.Any), [1, { d: date }], ["field.1.d"]],
          [Schema.Tuple([Schema.String, Schema.Any]), ["x", date], ["field.1"]],
          [Schema.Record(Schema.String, Schema.Any), { a: 1, b: date }, ["field.b"]],
          [
            Schema.Struct({ a: Schema.Struct({ b: Schema.optionalKey(Schema.Any) }) }),
            { a: { b: date } },
            ["field.a.b"]
          ],
          [Schema.Union([Schema.Finite, Schema.Struct({ a: Schema.Any })]), { a: date }, ["field.a"]],
          [Schema.NullOr(Schema.Any), date, ["field"]],
          [Schema.NullOr(Schema.Any), null, "same"],
          [Schema.Option(Schema.Any), Option.some([1]), "same"],
          [Schema.Option(Schema.Any), Option.none(), "same"],
          [Schema.ReadonlyMap(Schema.String, Schema.Any), new Map([["a", { b: 1 }]]), "same"],
          [Schema.fromJsonString(At), at, ["field.at"]],
          [Schema.fromJsonString(Schema.Struct({ at: Schema.DateFromString })), at, "same"],
          [Schema.fromJsonString(Schema.Struct({ n: Schema.Number })), { n: -0 }, ["field.n"]],
          [Schema.fromJsonString(Schema.Struct({ n: Schema.Number })), { n: 1 }, "same"],
          [First, "one", "same"],
          [First, "one two", ["field"]],
          [Schema.Trim, "x", "same"],
          [Schema.RegExp, /a/gi, "same"],
          [Schema.URL, new URL("http://a/b?c"), "same"],
          [Schema.NumberFromString, 5, "same"],
          [Schema.Array(Schema.Struct({ a: Schema.optional(Schema.NullOr(Schema.String)) })), [{ a: null }], "same"],
          [
            Schema.Array(Schema.Struct({ a: Schema.optional(Schema.NullOr(Schema.String)) })),
            [{ a: undefined }],
            ["field.0.a"]
          ],
          [Shape, new Shape({ name: "x" }), "same"],
          [Shape, noted, ["field.notes"]],
          [Shape, new Circle({ name: "x", r: 1 }), ["field"]],
          [Schema.Union([Shape, Circle]), new Shape({ name: "x" }), "same"]
        ] as never
        for (const [field, value, expected] of around) {
          const way = yield* wayOf(field, value)
          if (typeof expected === "string") assert.strictEqual(way, expected)
          else assert.deepStrictEqual(way, [...expected])
        }
      }).pipe(Effect.provide(layer))
    )

    it.effect(`${name}: what is no object is not taken for one without fields`, () =>
      Effect.gen(function* () {
        const record = Schema.Record(Schema.String, Schema.Number)
        const struct = Schema.Struct({ a: Schema.optionalKey(Schema.Number) })
        const others: ReadonlyArray<unknown> = [
          new Map([["a", 1]]),
          new Set([1]),
          new Date(0),
          new Uint8Array([1, 2]),
          Object(3),
          /x/,
          Promise.resolve(),
          new Error("x")
        ]
        const isRefused = Effect.fnUntraced(function* (
          field: Schema.Codec<unknown, unknown>,
          value: unknown,
          at: string
        ) {
          const paths = yield* wayOf(field, value)
          assert.isTrue(Array.isArray(paths) && paths.every((path) => path.startsWith(at)), `${String(paths)} of ${at}`)
        })
        for (const other of others) {
          yield* isRefused(record, other, "field")
          yield* isRefused(struct, other, "field")
          yield* isRefused(Schema.Array(struct), [{}, other], "field.1")
          yield* isRefused(Schema.Struct({ in: record }), { in: other }, "field.in")
        }
        class Point extends Schema.Class<Point>("Point")({ x: Schema.Number }) {}
        assert.strictEqual(yield* wayOf(Point, new Point({ x: 1 })), "same")
        assert.strictEqual(yield* wayOf(record, Object.assign(Object.create(null), { a: 1 }) as { a: number }), "same")
      }).pipe(Effect.provide(layer))
    )

    it.effect(`${name}: what is in no place of one member of a union is in another's`, () =>
      Effect.gen(function* () {
        const [Less, More] = [
          Schema.Struct({ a: Schema.Int }),
          Schema.Struct({ a: Schema.Int, b: Schema.optionalKey(Schema.Date) })
        ]
        for (const Either of [Schema.Union([Less, More]), Schema.Union([More, Less])]) {
          for (const value of [{ a: 1, b: new Date(5) }, { a: 1 }]) {
            assert.strictEqual(yield* wayOf(Either, value), "same")
            assert.strictEqual(yield* wayOf(Schema.Array(Either), [value, { a: 2 }]), "same")
            assert.strictEqual(yield* wayOf(Schema.Record(Schema.String, Schema.NullOr(Either)), { x: value }), "same")
            assert.strictEqual(yield* wayOf(Schema.Option(Either), Option.some(value)), "same")
            assert.strictEqual(yield* wayOf(Schema.Struct({ in: Either }), { in: value }), "same")
          }
          assert.deepStrictEqual(yield* wayOf(Either, { a: 1, c: 2 } as never), ["field.c", "field.c"])
        }
        // A document that a newer program has added to is read by what is known of it, and keeps the rest.
        const store = yield* memory
        const definition = <F extends Schema.Codec<unknown, unknown>>(u: F) => ({
          schema: Schema.Struct({ id: Schema.String, n: Schema.Int, u }),
          primaryKey: "id" as const,
          scan: true
        })
        const Newer = Schema.Struct({ ...More.fields, c: Schema.optionalKey(Schema.Struct({ d: Schema.Int })) })
        const newer = yield* (yield* openOn(store)).open("things", definition(Schema.Union([Less, Newer])))
        const older = yield* (yield* openOn(store)).open("things", definition(Schema.Union([Less, More])))
        const u = { a: 1, b: new Date(5), c: { d: 1 } }
        yield* newer.insert({ id: "1", n: 1, u })
        assert.deepStrictEqual((yield* older.get("1")).u, { a: 1, b: new Date(5) })
        assert.deepInclude((yield* older.updateJson("1", { n: 2 }))["u"], { a: 1, b: new Date(5).toISOString() })
        yield* older.update("1", ({ n, u }) => ({ n: n + 1, u }))
        yield* older.update("1", { u: { a: 3, b: new Date(6) } })
        assert.deepStrictEqual(yield* newer.get("1"), { id: "1", n: 3, u: { a: 3, b: new Date(6), c: { d: 1 } } })
        const asked = older.query({ where: { u: { eq: { a: 3, b: new Date(6) } } } })
        assert.deepStrictEqual(yield* Stream.runCollect(asked), [])
        yield* older.replace({ id: "1", n: 3, u: { a: 3, b: new Date(6) } })
        assert.strictEqual((yield* Stream.runCollect(asked)).length, 1)
      }).pipe(Effect.provide(layer))
    )
  }

  it("only what a schema cannot promise is checked on each write", () => {
    const doubtful = (field: Schema.Top) => {
      const found = Attributes.doubtfulFields(Schema.Struct({ id: Schema.String, field }) as never)
      return found === "all" || found.has("field")
    }
    class Point extends Schema.Class<Point>("values/Point")({ x: Schema.Finite, at: Schema.Date }) {}
    interface Tree {
      readonly at: Date
      readonly children: ReadonlyArray<Tree>
    }
    const Tree: Schema.Codec<Tree, unknown> = Schema.Struct({
      at: Schema.Date,
      children: Schema.Array(Schema.suspend((): Schema.Codec<Tree, unknown> => Tree))
    })
    const twice = Schema.NullishOr(Schema.String)
    for (const field of [
      Schema.Any,
      Schema.Unknown,
      Schema.ObjectKeyword,
      Schema.Array(Schema.Any),
      Schema.Option(Schema.Any),
      Schema.Record(Schema.String, Schema.Unknown),
      Schema.Struct({ inner: Schema.optionalKey(Schema.Any) }),
      Schema.Redacted(Schema.Any),
      Schema.fromJsonString(Schema.Struct({ at: Schema.Date })),
      Schema.Trim,
      Schema.NumberFromString,
      Schema.RegExp,
      Schema.Tuple([Schema.String, Schema.optional(Schema.NullOr(Schema.String))]),
      Schema.Struct({ a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" })),
      StringOrBigInt,
      Schema.Array(StringOrBigInt),
      twice,
      // Left out where it is undefined, if it is a field, and not if it is one of an item.
      Schema.Array(Schema.Struct({ a: Schema.optional(Schema.NullOr(Schema.String)) }))
    ] as ReadonlyArray<Schema.Top>) {
      assert.isTrue(doubtful(field), String(field.ast._tag))
    }
    for (const field of [
      Schema.String,
      Schema.Number,
      Schema.BigInt,
      Schema.Json,
      Schema.Date,
      Schema.DateTimeUtcFromString,
      Schema.DateTimeUtcFromString.check(Schema.makeFilter(() => true)),
      Schema.NullOr(Schema.Date),
      Schema.Literals(["a", "b", 1]),
      Schema.Union([Schema.Finite, Schema.Date]),
      Schema.Union([Schema.String, Schema.Array(Schema.String)]),
      Event,
      Point,
      Tree,
      Schema.optionalKey(Schema.Array(Point)),
      Schema.Struct({ a: Schema.optional(Schema.NullOr(Schema.String)) }),
      Schema.Record(Schema.String, Schema.Option(Schema.Uint8Array)),
      Schema.ReadonlyMap(Schema.String, Schema.ReadonlySet(Schema.Duration)),
      Attribute.Money("EUR"),
      Attribute.SecretText,
      Attribute.Password,
      Attribute.Embedding(3),
      Attribute.Point()
    ] as ReadonlyArray<Schema.Top>) {
      assert.isFalse(doubtful(field), String(field.ast._tag))
    }
    for (const { name, schema } of samples) assert.strictEqual(doubtful(schema), name === "number from text", name)
    const renamed = Schema.Struct({ id: Schema.String, a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" }))
    assert.strictEqual(Attributes.doubtfulFields(renamed), "all")
  })

  it.effect("what is read at once, and step by step as beside a secret, is the same of every type", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      for (const [index, { name, schema, values }] of samples.entries()) {
        const fields = { id: Schema.String, field: schema }
        const plain = yield* open(`plain${index}`, { schema: Schema.Struct(fields), primaryKey: "id" })
        const beside = yield* open(`beside${index}`, {
          schema: Schema.Struct({ ...fields, token: Attribute.SecretText }),
          primaryKey: "id"
        })
        for (const [number, field] of values.entries()) {
          const id = `${number}`
          const isTaken = Result.isSuccess(yield* Effect.result(plain.insert({ id, field })))
          const token = Redacted.make("hunter2")
          assert.strictEqual(Result.isSuccess(yield* Effect.result(beside.insert({ id, field, token }))), isTaken, name)
          if (!isTaken) continue
          assert.deepStrictEqual((yield* plain.get(id)).field, (yield* beside.get(id)).field, name)
        }
      }
    }).pipe(Effect.provide(ring))
  )

  it.effect("a secret null is not null", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, note: Schema.NullOr(Attribute.SecretJson) })
      const notes = yield* open("notes", { schema, primaryKey: "id" })
      yield* notes.insert({ id: "1", note: null })
      assert.isNull((yield* notes.get("1")).note)
      const refused = yield* Effect.flip(notes.insert({ id: "2", note: Redacted.make(null) }))
      assert.include(refused.message, "note: Expected a secret that is not null")
      yield* notes.insert({ id: "2", note: Redacted.make([null]) })
      // Effect's own may hold it, and shows nobody that it does.
      const { open: openOther, store } = yield* openNew
      const Redundant = Schema.Struct({ id: Schema.String, note: Schema.Redacted(Schema.Json) })
      const others = yield* openOther("others", { schema: Redundant, primaryKey: "id" })
      yield* others.insert({ id: "1", note: Redacted.make(null) })
      assert.isNull(Redacted.value((yield* others.get("1")).note))
      assert.notInclude(everything(yield* objectOf(store, "others", "1")), "null")
    }).pipe(Effect.provide(ring))
  )

  it.effect("an optional field that is undefined is not there", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        a: Schema.optional(Schema.NullOr(Schema.String)),
        inner: Schema.optional(Schema.Struct({ b: Schema.optional(Schema.String), c: Schema.String }))
      })
      const things = yield* open("things", { schema, primaryKey: "id" })
      const inserted = yield* things.insert({ id: "1", a: undefined, inner: { b: undefined, c: "x" } })
      assert.deepStrictEqual(inserted, { id: "1", inner: { c: "x" } })
      assert.deepStrictEqual(yield* things.get("1"), inserted)
      const { metadata } = yield* objectOf(store, "things", "1")
      assert.strictEqual(Object.keys(metadata).length, 2)
      yield* things.update("1", { a: null })
      assert.isNull((yield* things.get("1")).a)
    })
  )

  it.effect("what JSON cannot carry is refused by name, whatever the schema lets pass", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({ id: Schema.String, any: Schema.Any, json: Schema.optionalKey(Schema.Json) })
      const things = yield* open("things", { schema, primaryKey: "id" })
      const problemOf = (any: unknown) =>
        Effect.map(Effect.flip(things.insert({ id: "1", any })), (error) =>
          error._tag === "InvalidInput" ? error.issues.map((issue) => issue.path.join(".")) : [error._tag]
        )
      for (const wrong of [5n, Symbol("x"), () => 1, Number.NaN]) {
        assert.deepStrictEqual(yield* problemOf(wrong), ["any"])
      }
      assert.deepStrictEqual(yield* problemOf({ deep: [1, 5n] }), ["any.deep.1"])
      const nested = (levels: number) => {
        let value: Schema.Json = 1
        for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value }
        return value
      }
      for (const levels of [501, 2000, 100_000]) assert.deepStrictEqual(yield* problemOf(nested(levels)), ["any"])
      const cyclic: Record<string, unknown> = {}
      cyclic["self"] = cyclic
      assert.deepStrictEqual(yield* problemOf(cyclic), ["any"])
      // 500 levels, however the document is stored: in its metadata, in its body, and in an intent.
      yield* things.insert({ id: "1", any: nested(500) })
      yield* things.insert({ id: "2", any: 1, json: [nested(498), "x".repeat(3000)] })
      assert.deepStrictEqual((yield* things.get("1")).any, nested(500))
      assert.deepStrictEqual((yield* things.get("2")).json, [nested(498), "x".repeat(3000)])
    })
  )

  it("fields that every object seems to have cannot be optional", () => {
    const define = (name: string, field: Schema.Top) =>
      Resource.define("x", { schema: Schema.Struct({ id: Schema.String, [name]: field }) as never, primaryKey: "id" })
    for (const name of ["toString", "constructor", "hasOwnProperty"]) {
      assert.throws(() => define(name, Schema.optionalKey(Schema.String)), Attributes.UnsupportedSchema, name)
      assert.strictEqual(define(name, Schema.String).attributes.length, 1)
    }
  })

  it.effect("clean-ups and strictness reach items of arrays and values of records", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const definition = Resource.fromAttributes("things", {
        tags: { type: "array", items: "string|trim|lowercase|min:1" },
        byName: { type: "record", items: { type: "array", items: "string|uppercase" } },
        places: { type: "array", items: "geo:point:2" },
        people: { type: "array", items: { type: "object", props: { name: "string|trim" }, strict: true } }
      })
      const things = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      const inserted = yield* things.insert({
        id: "1",
        tags: [" A", "b "],
        byName: { x: ["q", "R"], __proto__x: [] },
        places: [{ latitude: 1.23456, longitude: 2 }],
        people: [{ name: " Ana " }]
      })
      assert.deepStrictEqual(inserted, {
        id: "1",
        tags: ["a", "b"],
        byName: { x: ["Q", "R"], __proto__x: [] },
        places: [{ latitude: 1.23, longitude: 2 }],
        people: [{ name: "Ana" }]
      })
      assert.deepStrictEqual(yield* things.get("1"), inserted)
      const people = [{ name: "Ana" }, { name: "Bo", age: 5 }]
      const refused = yield* Effect.flip(things.insert({ ...inserted, id: "2", people }))
      assert.deepStrictEqual(refused._tag === "InvalidInput" && refused.issues[0]!.path, ["people", 1, "age"])
    })
  )

  it.effect("fields that are stored under other names are hashed, cleaned up, rounded and sealed all the same", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        name: Schema.String.check(Normalization.normalize("trim")),
        latitude: Attribute.Latitude(2),
        password: Attribute.PasswordWith({ min: 8 }),
        token: Attribute.SecretText,
        note: Schema.optional(Schema.NullOr(Schema.String))
      }).pipe(Schema.encodeKeys({ name: "n", latitude: "l", password: "p", token: "t", note: "o" }))
      const users = yield* open("users", { schema, primaryKey: "id" })
      const inserted = yield* users.insert({
        id: "1",
        name: " Ana ",
        latitude: 1.23456,
        password: Redacted.make("correct horse"),
        token: Redacted.make("hunter2"),
        note: undefined
      })
      assert.deepInclude(inserted, { name: "Ana", latitude: 1.23 })
      assert.isTrue(PasswordHash.toText(inserted.password).startsWith("$argon2id$"))
      assert.deepStrictEqual(yield* users.get("1"), inserted)
      const stored = everything(yield* objectOf(store, "users", "1"))
      assert.notInclude(stored, "hunter2")
      assert.notInclude(stored, "correct horse")
      const short = yield* Effect.flip(users.update("1", { password: Redacted.make("short") }))
      assert.include(short.message, "password: Expected a password of at least 8 characters")
      const updated = yield* users.update("1", { name: " Bo " })
      assert.deepStrictEqual(
        [updated.name, PasswordHash.toText(updated.password)],
        ["Bo", PasswordHash.toText(inserted.password)]
      )
    }).pipe(
      Effect.provide([
        ring,
        PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
      ])
    )
  )

  it("what is clean already is not copied", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      tags: Schema.Array(Schema.String.check(Normalization.normalize("trim")))
    })
    const clean = Normalization.compile(schema)
    const input = { id: "1", tags: ["a", "b"] }
    assert.strictEqual(clean(input), input)
    assert.deepStrictEqual(clean({ id: "1", tags: ["a", " b", 5] }), { id: "1", tags: ["a", "b", 5] })
    for (const odd of [null, 5, "x", { id: "1" }, { id: "1", tags: null }]) assert.strictEqual(clean(odd), odd)
  })

  it.effect("the default of an id stands in the place of no id, in JSON form either", () =>
    Effect.gen(function* () {
      const { open } = yield* openOn(yield* memory)
      const users = yield* open("users", {
        schema: Schema.Struct({
          id: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("made"))),
          n: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(7)))
        }),
        primaryKey: "id",
        scan: true
      })
      yield* users.insert({ id: "a", n: 1 })
      yield* users.insert({ id: "b" })
      const expected = [
        { id: "a", n: 1 },
        { id: "b", n: 7 }
      ]
      assert.deepStrictEqual(yield* users.getJson("a"), expected[0])
      assert.deepStrictEqual(yield* Stream.runCollect(users.queryJson({ scan: true })), expected)
      assert.deepStrictEqual((yield* users.queryPageJson({ scan: true, limit: 5 })).items, expected)
    })
  )

  it.effect("a required field with a default is there in documents that were written before it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = yield* Effect.flatMap(openOn(store), ({ open }) =>
        open("users", {
          schema: Schema.Struct({
            id: Schema.String,
            name: Schema.String,
            address: Schema.optionalKey(Schema.Struct({ city: Schema.String }))
          }),
          primaryKey: "id"
        })
      )
      yield* before.insert({ id: "1", name: "Ana", address: { city: "Rome" } })
      yield* before.insert({ id: "2", name: "Bo" })
      const { database } = yield* openOn(store)
      const notation = Resource.fromAttributes("users", {
        name: "string",
        role: "string|default:user",
        since: { type: "date", default: new Date(0) },
        address: { $$type: "object|optional", city: "string", country: "string|default:IT" }
      })
      const users = yield* Effect.provideService(Resource.make(notation), Database.Database, database)
      assert.deepStrictEqual(yield* users.get("1"), {
        id: "1",
        name: "Ana",
        role: "user",
        since: new Date(0),
        address: { city: "Rome", country: "IT" }
      })
      assert.deepStrictEqual(yield* users.get("2"), { id: "2", name: "Bo", role: "user", since: new Date(0) })
      // What was stored stays what it was.
      yield* users.update("1", { role: "admin" })
      assert.strictEqual((yield* users.get("1")).role, "admin")
      // A default that is made anew each time says nothing of an old document.
      const counted = yield* (yield* openOn(store)).open("users", {
        schema: Schema.Struct({
          id: Schema.String,
          name: Schema.String,
          serial: Schema.Int.pipe(Schema.withConstructorDefault(Effect.sync(() => 1)))
        }),
        primaryKey: "id"
      })
      const corrupt = yield* Effect.flip(counted.get("2"))
      assert.include(String(corrupt), "may need a migration")
    })
  )

  it.effect("messages of the notation, also for what is missing or of the wrong type", () =>
    Effect.gen(function* () {
      const { database } = yield* openNew
      const definition = Resource.fromAttributes("users", {
        name: {
          type: "string",
          min: 3,
          messages: { required: "we need a name", string: "a name is text", stringMin: "too short" }
        }
      })
      const users = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      const messageOf = (input: unknown) =>
        Effect.map(Effect.flip(users.insert(input as never)), (error) =>
          error._tag === "InvalidInput" ? error.issues.map(({ message }) => message) : []
        )
      assert.deepStrictEqual(yield* messageOf({}), ["we need a name"])
      assert.deepStrictEqual(yield* messageOf({ name: 5 }), ["a name is text"])
      assert.deepStrictEqual(yield* messageOf({ name: "x" }), ["too short"])
      assert.throws(
        () => Resource.fromAttributes("x", { a: { type: "string", messages: { mim: "?" } } }),
        'messages has "mim", which is neither the type nor a rule'
      )
      // They travel with the definition.
      const revived = yield* Effect.provideService(Resource.fromCatalog("users"), Database.Database, database)
      const undeclared = yield* Effect.provideService(Resource.make(revived), Database.Database, database)
      const missing = yield* Effect.flip(undeclared.insert({}))
      assert.include(String(missing), "we need a name")
    })
  )

  it.effect("an issue inside a secret names the secret, not its keys", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        tokens: Attribute.Secret(Schema.Record(Schema.String, Schema.Int))
      })
      const vaults = yield* open("vaults", { schema, primaryKey: "id" })
      const wrong = Redacted.make({ "hunter2-the-key": "text" }) as never
      const refused = yield* Effect.flip(vaults.insert({ id: "1", tokens: wrong }))
      assert.deepStrictEqual(refused._tag === "InvalidInput" && refused.issues[0]!.path, ["tokens"])
      assert.notInclude(JSON.stringify(refused) + String(refused), "hunter2")
    }).pipe(Effect.provide(ring))
  )
})
