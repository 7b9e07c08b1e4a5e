import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Exact from "../../src/schema/internal/exact.ts"
import * as Excess from "../../src/schema/internal/excess.ts"

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}

const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

class Named extends Schema.Class<Named>("Named")({ name: Schema.String }) {}

const at = new Date(1_700_000_000_000)

const told: Readonly<Record<string, { readonly schema: Schema.Top; readonly values: ReadonlyArray<unknown> }>> = {
  plain: {
    schema: Schema.Struct({ id: Schema.String, n: Schema.Int, at: Schema.Date, tags: Schema.Array(Schema.String) }),
    values: [
      { id: "a", n: 1, at, tags: [] },
      { id: "a", n: 1.5, at: 1, tags: ["x", 2] },
      { id: "a", at, tags: ["x"] },
      [],
      "text"
    ]
  },
  nested: {
    schema: Schema.Struct({ id: Schema.String, inner: Schema.Struct({ a: Schema.optionalKey(Schema.Int) }) }),
    values: [
      { id: "a", inner: {} },
      { id: "a", inner: { a: 1 } },
      { id: "a", inner: { a: undefined } },
      { id: "a", inner: [] }
    ]
  },
  nullable: {
    schema: Schema.Struct({ inner: Schema.NullOr(Schema.Struct({ a: Schema.String })) }),
    values: [{ inner: null }, { inner: { a: "x" } }, { inner: { a: null } }, { inner: 1 }]
  },
  optional: {
    schema: Schema.Struct({ inner: Schema.optional(Schema.Struct({ a: Schema.String })) }),
    values: [{}, { inner: undefined }, { inner: { a: "x" } }, { inner: {} }]
  },
  lists: {
    schema: Schema.Struct({
      all: Schema.Array(Schema.Struct({ a: Schema.Finite })),
      pair: Schema.Tuple([Schema.String, Schema.Struct({ b: Schema.Boolean })])
    }),
    values: [
      { all: [], pair: ["x", { b: true }] },
      { all: [{ a: 1 }, { a: 2 }], pair: ["x", { b: false }] },
      { all: [{ a: NaN }], pair: ["x"] }
    ]
  },
  records: {
    schema: Schema.Struct({ by: Schema.Record(Schema.String, Schema.Finite), any: Schema.Json }),
    values: [
      { by: {}, any: null },
      { by: { a: 1, b: 2 }, any: { x: [{ y: 1 }] } },
      { by: { a: "1" }, any: [at] }
    ]
  },
  recordsOfStructs: {
    schema: Schema.Struct({ by: Schema.Record(Schema.String, Schema.Struct({ a: Schema.String })) }),
    values: [{ by: {} }, { by: { x: { a: "1" }, y: { a: "2" } } }, { by: { x: {} } }, { by: [] }]
  },
  listOrRecord: {
    schema: Schema.Struct({
      either: Schema.Union([
        Schema.String,
        Schema.Array(Schema.Struct({ a: Schema.String })),
        Schema.Record(Schema.String, Schema.Finite)
      ])
    }),
    values: [{ either: "x" }, { either: [{ a: "1" }] }, { either: { x: 1 } }, { either: { x: "1" } }]
  },
  recursive: {
    schema: Tree,
    values: [
      { name: "a", children: [] },
      { name: "a", children: [{ name: "b", children: [{ name: "c", children: [] }] }] },
      { name: "a", children: [{ name: "b" }] }
    ]
  },
  checked: {
    schema: Schema.Struct({ a: Schema.String.check(Schema.isMinLength(2)), b: Schema.Literals(["x", "y"]) }),
    values: [
      { a: "ab", b: "x" },
      { a: "a", b: "z" },
      { a: "ab", b: "y", c: 1 }
    ]
  }
}

const untold: Readonly<Record<string, Schema.Top>> = {
  class: Schema.Struct({ one: Named }),
  members: Schema.Struct({
    one: Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String })])
  }),
  namesOfAForm: Schema.Struct({ by: Schema.Record(Schema.NonEmptyString, Schema.Finite) }),
  namesWithin: Schema.Struct({
    all: Schema.Array(Schema.Record(Schema.String.check(Schema.isPattern(/^[a-z]{2}$/)), Schema.String))
  }),
  renamed: Schema.Struct({ one: Schema.Struct({ a: Schema.String }).pipe(Schema.encodeKeys({ a: "b" })) }),
  option: Schema.Struct({ one: Schema.Option(Schema.Struct({ a: Schema.String })) })
}

/** A value with something more somewhere in it, or as it is. */
const spoilt = (value: unknown, place: number): unknown => {
  if (place === 0) return value
  let left = place
  const walk = (one: unknown): unknown => {
    if (typeof one !== "object" || one === null || one instanceof Date) return one
    if (Array.isArray(one)) return one.map(walk)
    const copy = Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, walk(inner)]))
    left -= 1
    if (left === 0) return { ...copy, more: 1 }
    return left === -1 && place === 1 ? { ...copy, [Symbol.for("more")]: 1 } : copy
  }
  return walk(value)
}

const outcome = (effect: Effect.Effect<unknown, unknown>) =>
  Exit.match(Effect.runSyncExit(effect), {
    onSuccess: (value) => ({ value }),
    onFailure: (cause) => ({ failure: String(cause) })
  })

describe("fields that a schema does not know", () => {
  for (const [name, { schema, values }] of Object.entries(told)) {
    it(`are found as Effect's parsers find them: ${name}`, () => {
      const codec = Schema.toCodecJson(schema as Schema.Codec<unknown>)
      assert.notStrictEqual(Excess.compile(codec.ast), undefined)
      const encode = Schema.encodeUnknownEffect(codec)
      const decode = Schema.decodeUnknownEffect(codec)
      const [encodeExactly, decodeExactly] = [Exact.exactlyBy(codec.ast, encode), Exact.exactlyBy(codec.ast, decode)]
      let successes = 0
      for (const value of values) {
        for (const place of [0, 1, 2, 3]) {
          const given = spoilt(value, place)
          const encoded = outcome(encode(given, Exact.strictly))
          assert.deepStrictEqual(outcome(encodeExactly(given)), encoded)
          if ("value" in encoded) successes += 1
          const json = outcome(encode(value, Exact.strictly))
          if (!("value" in json)) continue
          const stored = spoilt(json.value, place)
          assert.deepStrictEqual(outcome(decodeExactly(stored)), outcome(decode(stored, Exact.strictly)))
        }
      }
      assert.isAbove(successes, 0)
    })
  }

  it("are left to the parsers where the value alone does not tell them", () => {
    for (const [name, schema] of Object.entries(untold)) {
      assert.strictEqual(Excess.compile(Schema.toCodecJson(schema as Schema.Codec<unknown>).ast), undefined, name)
    }
    assert.strictEqual(Excess.compile(AST.toType(untold["class"]!.ast)), undefined)
  })

  it("are names of a record that are not of its form, and symbols, wherever they are", () => {
    const Langs = Schema.Record(Schema.String.check(Schema.isPattern(/^[a-z]{2}$/)), Schema.String)
    const symbolic = { de: "Hallo", [Symbol.for("more")]: "x" }
    for (const [schema, value] of [
      [Schema.Struct({ langs: Langs }), { langs: { de: "Hallo", "en-GB": "Hello" } }],
      [Schema.Struct({ all: Schema.Array(Langs) }), { all: [{ de: "Hallo" }, { EN: "Hi" }] }],
      [Schema.Struct({ langs: Schema.Record(Schema.String, Schema.String) }), { langs: symbolic }],
      [Schema.Struct({ langs: Schema.NullOr(Schema.Record(Schema.String, Schema.String)) }), { langs: symbolic }]
    ] as const) {
      const codec = Schema.toCodecJson(schema as Schema.Codec<unknown>)
      const encode = Schema.encodeUnknownEffect(codec)
      assert.isTrue(Exit.isFailure(Effect.runSyncExit(Exact.exactlyBy(codec.ast, encode)(value))))
    }
  })

  it("are refused at any depth, and those that are there alone are not", () => {
    const look = Excess.compile(Tree.ast)!
    const leaf = { name: "leaf", children: [] }
    assert.isFalse(look({ name: "root", children: [leaf, { name: "branch", children: [leaf] }] }))
    assert.isTrue(look({ name: "root", children: [{ name: "branch", children: [{ ...leaf, more: 1 }] }] }))
    assert.isFalse(look("no object"))
    assert.isFalse(look({ name: "root", children: "no list" }))
  })
})
