/** What the walks of plain schemas give, beside what Effect's parser gives. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as FastCheck from "fast-check"
import * as Id from "effect-s3db/crypto/Id"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Resource from "effect-s3db/Resource"
import * as Wire from "effect-s3db/Wire"
import * as Attributes from "effect-s3db/schema/Attributes"
import * as Exact from "../../src/schema/internal/exact.ts"
import * as JsonCodec from "../../src/schema/internal/jsonCodec.ts"
import * as Plain from "../../src/schema/internal/plain.ts"

const runs = 60

type Struct = Schema.Struct<Record<string, Schema.Top & Schema.Codec<unknown, unknown>>>

const moments: FastCheck.Arbitrary<unknown> = FastCheck.oneof(
  FastCheck.date({ noInvalidDate: true }).map((date) => DateTime.makeUnsafe(date)),
  FastCheck.constantFrom(-1, 8.64e15, 253402300799999, 253402300800000, 0, 1.5).map((millis) =>
    DateTime.makeUnsafe(millis)
  ),
  FastCheck.constantFrom(DateTime.makeZonedUnsafe(0, { timeZone: "Europe/Berlin" }), "2020-01-01T00:00:00.000Z", 0)
)

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])

/** Leaves with values of theirs, some of which they refuse. */
const leaves: ReadonlyArray<readonly [Schema.Top, FastCheck.Arbitrary<unknown>]> = [
  [Schema.String, FastCheck.string()],
  [Schema.String.check(Schema.isMinLength(2), Schema.isMaxLength(5)), FastCheck.string({ maxLength: 7 })],
  [Schema.Number, FastCheck.oneof(FastCheck.double(), FastCheck.constantFrom(0, -0, NaN, Infinity, -Infinity))],
  [Schema.Finite, FastCheck.double()],
  [Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 5 })), FastCheck.integer({ min: -7, max: 7 })],
  [Schema.Boolean, FastCheck.boolean()],
  [Schema.Null, FastCheck.constant(null)],
  [Schema.Literals(["a", "b", 1]), FastCheck.constantFrom("a", "b", 1, "c", 2)],
  [Schema.String.pipe(Schema.brand("Named")), FastCheck.string()],
  [Schema.Date, FastCheck.date()],
  [
    Schema.Date,
    FastCheck.constantFrom(new Date(NaN), new Date(8.64e15), new Date(-1), new Date(253402300799999), new Date(0))
  ],
  [Schema.Date.check(Schema.isBetweenDate({ minimum: new Date(0), maximum: new Date(2e12) })), FastCheck.date()],
  [Schema.NullOr(Schema.String), FastCheck.option(FastCheck.string())],
  [Schema.NullOr(Schema.Date), FastCheck.option(FastCheck.date({ noInvalidDate: true }))],
  [Schema.Union([Schema.Date, Schema.String]), FastCheck.oneof(FastCheck.date(), FastCheck.constant("2020-01-01"))],
  [Schema.Union([Schema.Number, Schema.String]), FastCheck.oneof(FastCheck.double(), FastCheck.constant("NaN"))],
  [Schema.Union([Schema.Int, Schema.Boolean, Schema.Null]), FastCheck.oneof(FastCheck.integer(), FastCheck.boolean())],
  [Schema.DateTimeUtc, FastCheck.constant(1)],
  [Schema.DateTimeUtc, moments],
  [Schema.NullOr(Schema.DateTimeUtc), FastCheck.option(moments)],
  [Schema.DateTimeUtc.check(Schema.makeFilter((utc) => utc.epochMilliseconds >= 0)), moments],
  [Schema.Union([Schema.DateTimeUtc, Schema.Date]), FastCheck.oneof(moments, FastCheck.date())],
  [
    Schema.Union([
      Schema.TaggedStruct("A", { a: Schema.String }),
      Schema.TaggedStruct("B", { a: Schema.Date }),
      Schema.Struct({ _tag: Schema.Literal("C") }),
      Schema.Null
    ]),
    FastCheck.oneof(
      FastCheck.record({ _tag: FastCheck.constantFrom("A", "B", "C", "D"), a: FastCheck.string() }),
      FastCheck.record({ _tag: FastCheck.constantFrom("A", "B"), a: FastCheck.date() }, { requiredKeys: [] }),
      FastCheck.record({ _tag: FastCheck.constant("C") }),
      FastCheck.constant(null)
    )
  ],
  [
    Schema.Union([
      Schema.Struct({ a: Schema.Int }),
      Schema.Struct({ a: Schema.Int, b: Schema.optionalKey(Schema.Int) })
    ]),
    FastCheck.record({ a: FastCheck.integer(), b: FastCheck.integer() }, { requiredKeys: ["a"] })
  ],
  [
    Schema.Union([
      Schema.Struct({ kind: Schema.Literal(1), at: Schema.DateTimeUtc }),
      Schema.Struct({ kind: Schema.Literal("1"), at: Schema.DateTimeUtc, more: Schema.optionalKey(Schema.Int) })
    ]),
    FastCheck.record(
      { kind: FastCheck.constantFrom(1, "1", 2), at: moments, more: FastCheck.integer() },
      { requiredKeys: ["kind", "at"] }
    )
  ],
  [Schema.Json, FastCheck.jsonValue()],
  [Schema.NullOr(Schema.Json), FastCheck.jsonValue({ maxDepth: 1 })],
  [
    Schema.Json,
    FastCheck.constantFrom<unknown>(
      { a: undefined },
      // eslint-disable-next-line no-sparse-arrays
      [, 1],
      new Date(0),
      new Map(),
      Number.NaN,
      [{ at: new Date(0) }],
      JSON.parse('{"a":{"__proto__":[1]}}'),
      Object.assign(Object.create(null), { a: [null] }),
      Object.assign([1], { more: 2 }),
      { [Symbol("a")]: 1 },
      nested(70)
    )
  ],
  [Schema.Tuple([Schema.Int, Schema.String]), FastCheck.tuple(FastCheck.integer(), FastCheck.string())],
  [
    Schema.Tuple([Schema.Date, Schema.NullOr(Schema.Json)]).check(Schema.makeFilter(([at]) => at.getTime() >= 0)),
    FastCheck.oneof(
      FastCheck.tuple(FastCheck.date(), FastCheck.jsonValue({ maxDepth: 1 })),
      FastCheck.tuple(FastCheck.date()),
      FastCheck.tuple(FastCheck.date(), FastCheck.constant(null), FastCheck.constant(1))
    )
  ],
  [Schema.Record(Schema.String, Schema.Int), FastCheck.dictionary(FastCheck.string(), FastCheck.integer())],
  [
    Schema.Record(Schema.String, Schema.NullOr(Schema.Date)).check(Schema.isMaxProperties(2)),
    FastCheck.dictionary(
      FastCheck.constantFrom("a", "__proto__", "constructor", "1", "é"),
      FastCheck.option(FastCheck.date()),
      { maxKeys: 3 }
    )
  ],
  [
    Schema.Record(Schema.String, Schema.UndefinedOr(Schema.Struct({ a: Schema.Int }))),
    FastCheck.dictionary(FastCheck.string(), FastCheck.record({ a: FastCheck.integer() }))
  ],
  [
    Schema.Union([Schema.Record(Schema.String, Schema.String), Schema.Struct({ a: Schema.Literal("x") })]),
    FastCheck.record({ a: FastCheck.constant("x") })
  ],
  [Schema.Array(Schema.Int), FastCheck.array(FastCheck.integer())],
  [Schema.Array(Schema.Int).check(Schema.isMaxLength(2)), FastCheck.array(FastCheck.integer(), { maxLength: 4 })],
  [Schema.UndefinedOr(Schema.Int), FastCheck.option(FastCheck.integer(), { nil: undefined })]
]

interface Typed {
  readonly schema: Schema.Top
  readonly values: FastCheck.Arbitrary<unknown>
}

const leaf: FastCheck.Arbitrary<Typed> = FastCheck.constantFrom(...leaves).map(([schema, values]) => ({
  schema,
  values
}))

const names = FastCheck.constantFrom("a", "b", "c", "0", "é", "constructor", "a b", "then")

/** Schemas of structs, with values that mostly fit. */
const structOf = (depth: number): FastCheck.Arbitrary<Typed> =>
  FastCheck.dictionary(
    names,
    FastCheck.tuple(
      depth === 0
        ? leaf
        : FastCheck.oneof(
            { weight: 4, arbitrary: leaf },
            structOf(depth - 1),
            structOf(depth - 1).map(({ schema, values }) => ({
              schema: Schema.Array(schema),
              values: FastCheck.array(values, { maxLength: 3 })
            })),
            structOf(depth - 1).map(({ schema, values }) => ({
              schema: Schema.Union([Schema.Null, schema, Schema.Array(Schema.String)]),
              values: FastCheck.oneof(values, FastCheck.constant(null), FastCheck.array(FastCheck.string()))
            }))
          ),
      FastCheck.constantFrom("required", "required", "optionalKey", "optional", "default")
    ),
    { minKeys: 1, maxKeys: 4 }
  ).map((fields) => {
    const types = Object.entries(fields).map(([name, [{ schema }, kind]]): [string, Schema.Top] => {
      if (kind === "optionalKey") return [name, Schema.optionalKey(schema)]
      if (kind === "optional") return [name, Schema.optional(schema)]
      if (kind === "default" && schema === Schema.String) {
        return [name, Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("made")))]
      }
      return [name, schema]
    })
    const required = Object.entries(fields).flatMap(([name, [, kind]]) => (kind === "required" ? [name] : []))
    const values = FastCheck.record(
      Object.fromEntries(Object.entries(fields).map(([name, [{ values }]]) => [name, values])),
      { requiredKeys: required }
    )
    return { schema: Schema.Struct(Object.fromEntries(types)), values }
  })

/** Changes of values that nobody should make. */
const odd: ReadonlyArray<(value: Record<string, unknown>) => unknown> = [
  (value) => value,
  (value) => value,
  (value) => value,
  (value) => ({ ...value, more: 1 }),
  (value) => ({ ...value, a: undefined }),
  (value) => ({ ...value, [Symbol("s")]: 1 }),
  (value) => Object.assign(Object.create(null) as object, value),
  (value) => Object.assign(Object.create({ b: "inherited" }) as object, value),
  (value) => new Map(Object.entries(value)),
  (value) => Object.defineProperty({ ...value }, "hidden", { value: 1 }),
  (value) => JSON.parse(`{"__proto__":1,${JSON.stringify(value).slice(1)}`.replace(",}", "}")) as unknown,
  (value) => [value],
  () => null,
  (value) => ({ ...value, a: { b: 1 } }),
  (value) => ({ ...value, b: Object.assign([], { length: 2, 1: 1 }) }),
  (value) => ({ ...value, c: new (class Date2 extends Date {})() })
]

const sample = structOf(2).chain(({ schema, values }) =>
  FastCheck.tuple(
    FastCheck.constant(schema as Struct),
    FastCheck.array(FastCheck.tuple(values, FastCheck.constantFrom(...odd)), { minLength: 5, maxLength: 5 })
  )
)

/** A schema of a document with these fields. */
const documentOf = (schema: Struct) => Schema.Struct({ id: Schema.String, ...schema.fields }) as Struct

const succeeded = <A>(effect: Effect.Effect<A, unknown>): { readonly value: A } | undefined => {
  const exit = Effect.runSyncExit(effect)
  return Exit.isSuccess(exit) ? { value: exit.value } : undefined
}

const keysOf = (value: unknown): unknown =>
  typeof value === "object" && value !== null && !(value instanceof Date)
    ? Object.entries(value).map(([name, inner]) => [name, keysOf(inner)])
    : value

const same = (found: unknown, expected: unknown, what: string) => {
  assert.deepStrictEqual(found, expected, what)
  assert.deepStrictEqual(keysOf(found), keysOf(expected), `${what}: the order of fields`)
}

/** `undefined`: no resource has such a schema. */
const wireOf = (wire: typeof Wire.create | typeof Wire.patch, schema: Struct) => {
  try {
    return wire(Resource.define("things", { schema, primaryKey: "id" } as never)) as Schema.Codec<unknown, unknown>
  } catch (error) {
    assert.instanceOf(error, Attributes.UnsupportedSchema)
    return undefined
  }
}

/** The attributes of a resource with a schema, with their ids. `undefined`: no resource has it. */
const attributesOf = (schema: Struct): Encoding.Layout["written"] | undefined => {
  try {
    const { attributes } = Resource.define("things", { schema, primaryKey: "id" } as never)
    return attributes.map((attribute, i) => ({ ...attribute, id: i.toString(36) }))
  } catch (error) {
    assert.instanceOf(error, Attributes.UnsupportedSchema)
    return undefined
  }
}

/** What may have become of metadata, as the dice say: most stays as it is. */
const changedEntries = (metadata: Readonly<Record<string, string>>, dice: () => number): Record<string, string> => {
  const changed: Record<string, string> = {}
  const texts = ["", "n:", "e:", "x:y", "u:%C3%A9", "s:a", "j:{}", "1", "-0", "zzzzzzzzz", "a|b", "0000"]
  for (const [name, text] of Object.entries(metadata)) {
    const way = dice()
    if (way === 0 && dice() < 3) continue
    changed[name] = way === 1 ? texts[(dice() * 10 + dice()) % texts.length]! : text
  }
  if (dice() === 0) changed["zz"] = "more"
  if (dice() < 5) changed["s-"] = "t1"
  return changed
}

describe("walks of plain schemas", () => {
  it("give what Effect's parser gives, or leave it to that", () => {
    const seen = { compiled: 0, made: 0, encoded: 0, decoded: 0, left: 0 }
    FastCheck.assert(
      FastCheck.property(sample, ([fields, given]) => {
        const schema = documentOf(fields)
        const plain = Plain.compile(schema, "id")
        if (plain === undefined) return
        seen.compiled += 1
        const codec = Exact.make(schema)
        const make = Exact.exactlyBy(AST.toType(schema.ast), (input, parseOptions) =>
          schema.makeEffect(input as never, parseOptions === undefined ? undefined : { parseOptions })
        )
        for (const [value, change] of given) {
          const changed = change({ id: "i", ...(value as object) })
          const made = Plain.walked(plain.make, changed)
          const expected = succeeded(make(changed))
          if (made === Plain.other) seen.left += 1
          else {
            assert(expected !== undefined, "it was made, and should have been refused")
            same(made, expected.value, "made")
            seen.made += 1
            // What has just been made is not looked at again, and becomes the same.
            same(Plain.walked(plain.encodeMade, made), Plain.walked(plain.encode, made), "encoded as made")
          }
          const subject = expected?.value ?? changed
          const json = Plain.walked(plain.encode, subject)
          const encoded = succeeded(codec.encode(subject as never))
          if (json !== Plain.other) {
            assert(encoded?.value.isWhole === true, "it was encoded, and should have been refused")
            const { id: _, ...rest } = encoded.value.json as Record<string, unknown>
            same(json, rest, "encoded")
            seen.encoded += 1
          }
          const whole = encoded === undefined ? changed : encoded.value.json
          if (typeof whole !== "object" || whole === null || Array.isArray(whole)) continue
          const { id: _, ...stored } = JSON.parse(JSON.stringify(whole)) as Record<string, unknown>
          const decoded = plain.decode(stored, "i")
          if (decoded === Plain.other) continue
          const back = succeeded(codec.decode({ ...stored, id: "i" }))
          assert(back !== undefined, "it was decoded, and should have been refused")
          same(decoded, back.value, "decoded")
          seen.decoded += 1
        }
      }),
      { numRuns: runs * 20 }
    )
    for (const [what, times] of Object.entries(seen)) assert.isAbove(times, runs, what)
  })

  it("are stored and read without JSON in between as they are through JSON, or left to that", () => {
    const seen = { tooLarge: 0, written: 0, read: 0, left: 0 }
    const limits = { bytes: 1900, headerBytes: 7000, entryBytes: 1900, entries: 100 }
    const orOther = (read: () => unknown) => Plain.walked(read, undefined)
    FastCheck.assert(
      FastCheck.property(sample, FastCheck.infiniteStream(FastCheck.nat({ max: 9 })), ([fields, given], dice) => {
        const schema = documentOf(fields)
        const plain = Plain.compile(schema, "id")
        const attributes = plain === undefined ? undefined : attributesOf(schema)
        if (plain === undefined || attributes === undefined) return
        const codec = Encoding.text.compile({ written: attributes, readable: attributes })
        const direct = codec.direct(plain.fields, "id")
        const isComplete = Attributes.compileDefaults(schema) === Attributes.withoutDefaults
        if (direct === undefined) return
        for (const [value, change] of given) {
          const made = Plain.walked(plain.make, change({ id: "i", ...(value as object) }))
          const json = made === Plain.other ? made : Plain.walked(plain.encodeMade, made)
          if (json === Plain.other) continue
          const drawn = dice.next().value ?? 0
          const within =
            drawn < 3 ? { ...limits, bytes: drawn * 10 } : drawn === 3 ? { ...limits, entryBytes: 5 } : limits
          const metadata = codec.metadataWithin(json as Encoding.JsonObject, within)
          const written = direct.write(made as object, within)
          if (written === Encoding.tooLarge) {
            assert.isUndefined(metadata)
            seen.tooLarge += 1
          } else if (written !== undefined) {
            same(written, metadata, "written")
            assert.deepStrictEqual(direct.json(written), json)
            seen.written += 1
          }
          if (metadata === undefined) continue
          const changed = changedEntries(metadata, () => dice.next().value ?? 0)
          const decoded = codec.decode({ metadata: changed, spilled: undefined, spilledText: undefined })
          const read = isComplete ? orOther(() => direct.read(changed, "i")) : undefined
          if (read === undefined || read === Plain.other) {
            seen.left += 1
            continue
          }
          assert(Result.isSuccess(decoded), "it was read, and should have been refused")
          assert.isUndefined(decoded.success.carried)
          assert.deepStrictEqual(direct.json(changed), decoded.success.document)
          same(
            orOther(() => plain.check(read)),
            orOther(() => plain.decode(decoded.success.document, "i")),
            "read"
          )
          seen.read += 1
        }
      }),
      { numRuns: runs * 10 }
    )
    for (const [what, times] of Object.entries(seen)) assert.isAbove(times, runs / 6, what)
  })

  it("leave nothing of a usual document to the parser", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      n: Schema.Int,
      at: Schema.Date,
      tags: Schema.Array(Schema.String),
      maybe: Schema.NullOr(Schema.Struct({ a: Schema.optionalKey(Schema.String) })),
      state: Schema.Literals(["open", "closed"]),
      left: Schema.optional(Schema.Boolean)
    }).check(Schema.makeFilter(({ n }) => n < 10))
    const plain = Plain.compile(schema, "id")
    assert(plain !== undefined)
    const value = { id: "1", n: 1, at: new Date(0), tags: ["x"], maybe: { a: "y" }, state: "open" }
    const json = { n: 1, at: "1970-01-01T00:00:00.000Z", tags: ["x"], maybe: { a: "y" }, state: "open" }
    same(plain.make(value), value, "made")
    same(plain.encode(value), json, "encoded")
    same(plain.decode(json, "1"), value, "decoded")
    for (const n of [10, 1.5, "1"]) {
      assert.strictEqual(plain.make({ ...value, n }), Plain.other)
      assert.strictEqual(plain.encode({ ...value, n }), Plain.other)
      assert.strictEqual(plain.decode({ ...json, n }, "1"), Plain.other)
    }
  })

  it("decode what arrives over a wire as the parser does, or leave it to that", () => {
    const seen = { compiled: 0, decoded: 0, left: 0 }
    FastCheck.assert(
      FastCheck.property(sample, ([fields, given]) => {
        const schema = documentOf(fields)
        const codec = Exact.make(schema)
        for (const wire of [Wire.create, Wire.patch]) {
          const arriving = wireOf(wire, schema)
          if (arriving === undefined) return
          const decode = Schema.decodeUnknownEffect(arriving, { errors: "all", onExcessProperty: "error" })
          const walk = Plain.compileArriving(arriving)
          if (walk === undefined) continue
          seen.compiled += 1
          for (const [value, change] of given) {
            const encoded = succeeded(codec.encode({ id: "i", ...(value as object) } as never))
            const json = change((encoded?.value.json ?? value) as Record<string, unknown>)
            const text = JSON.stringify(json)
            if (text === undefined) continue
            const body = JSON.parse(text.replaceAll(/"(?:-?Infinity|NaN)"/g, "1e999")) as unknown
            const walked = Plain.walked(walk, body)
            if (walked === Plain.other) {
              seen.left += 1
              continue
            }
            const expected = succeeded(decode(body))
            assert(expected !== undefined, "it was decoded, and should have been refused")
            same(walked, expected.value, "arrived")
            seen.decoded += 1
          }
        }
      }),
      { numRuns: runs * 4 }
    )
    for (const [what, times] of Object.entries(seen)) assert.isAbove(times, runs, what)
  })

  it("leave nothing of what usually arrives to the parser, and all that is wrong", () => {
    const schema = Schema.Struct({
      id: Id.Random,
      n: Schema.Number,
      at: Schema.Date,
      tags: Schema.Array(Schema.Struct({ a: Schema.NonEmptyString }))
    })
    const walk = Plain.compileArriving(Wire.create(Resource.define("things", { schema, primaryKey: "id" })))
    assert(walk !== undefined)
    const json = { n: 1.5, at: "1970-01-01T00:00:00.000Z", tags: [{ a: "x" }] }
    same(walk(json), { ...json, at: new Date(0) }, "arrived")
    for (const wrong of [
      { ...json, n: "1" },
      { ...json, n: Infinity },
      { ...json, at: "yesterday" },
      { ...json, at: 0 },
      { ...json, tags: [{ a: "" }] },
      { ...json, tags: [{ a: "x", b: 1 }] },
      { ...json, more: 1 },
      JSON.parse('{"__proto__":{},"n":1,"at":"1970-01-01T00:00:00.000Z","tags":[]}'),
      { n: 1 },
      [],
      null
    ]) {
      assert.strictEqual(walk(wrong), Plain.other, JSON.stringify(wrong))
    }
  })

  it("are the JSON codec of a schema, which does what Effect's does, and fails as that does", () => {
    const seen = { walks: 0, encoded: 0, refused: 0, decoded: 0, unreadable: 0 }
    const told = <A, E extends { readonly message: string }>(effect: Effect.Effect<A, E>) => {
      const exit = Effect.runSyncExit(Effect.mapError(effect, ({ message }) => message))
      return Exit.isSuccess(exit) ? ["made", exit.value, keysOf(exit.value)] : ["failed", exit.cause.toString()]
    }
    FastCheck.assert(
      FastCheck.property(sample, ([schema, given]) => {
        const parser = Schema.toCodecJson(schema)
        const codec = JsonCodec.make(schema)
        if (Plain.compileLeaving(schema) !== undefined) seen.walks += 1
        for (const [value, change] of given) {
          const changed = change(value as Record<string, unknown>)
          const encoded = told(codec.encode(changed as never))
          assert.deepStrictEqual(encoded, told(Schema.encodeEffect(parser)(changed as never)), "encoded")
          if (encoded[0] === "made") seen.encoded += 1
          else seen.refused += 1
          for (const json of [changed, encoded[1], JSON.parse(JSON.stringify(encoded[1]))]) {
            const decoded = told(codec.decode(json))
            assert.deepStrictEqual(decoded, told(Schema.decodeUnknownEffect(parser)(json)), "decoded")
            const text = JSON.stringify(json) ?? "no JSON"
            const read = told(codec.decodeText(text))
            const reading = Schema.decodeUnknownEffect(Schema.fromJsonString(parser))(text)
            assert.deepStrictEqual(read, told(reading), "read from a text")
            if (read[0] === "made") seen.decoded += 1
            else seen.unreadable += 1
          }
        }
      }),
      { numRuns: runs * 10 }
    )
    for (const [what, times] of Object.entries(seen)) assert.isAbove(times, runs, what)
  })

  it("take a JSON value as it is, and leave what is none, or without an end, to the parser", () => {
    const walk = Plain.compileLeaving(Schema.Json)!
    const circular: Record<string, unknown> = {}
    circular["itself"] = [circular]
    const given = { a: [1, "b", null, { c: true }] }
    assert.strictEqual(Plain.walked(walk, given), given)
    for (const value of [circular, 1n, undefined, nested(1000), () => 1]) {
      assert.strictEqual(Plain.walked(walk, value), Plain.other)
    }
  })

  it("are not made of schemas of which the value alone does not tell", () => {
    class Named extends Schema.Class<Named>("Named")({ name: Schema.String }) {}
    const others = {
      a: Named,
      b: Schema.Struct({ a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" })),
      c: Schema.Record(Schema.String.check(Schema.isPattern(/a/)), Schema.String),
      d: Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String })]),
      e: Schema.NumberFromString,
      f: Schema.Union([Schema.Date, Schema.String]),
      g: Schema.Tuple([Schema.String, Schema.optionalKey(Schema.Int)]),
      h: Schema.TupleWithRest(Schema.Tuple([Schema.String]), [Schema.Int]),
      i: Schema.Union([Schema.Date, Schema.Json])
    }
    for (const [name, type] of Object.entries(others)) {
      assert.strictEqual(Plain.compile(Schema.Struct({ id: Schema.String, name: type }), "id"), undefined, name)
    }
    assert.strictEqual(Plain.compile(Named, "name"), undefined)
  })
})
