/** Two versions of one program that write the same resource at once. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import type * as DbError from "effect-s3db/DbError"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { DocumentSchema } from "effect-s3db/schema/Attributes"
import * as FileStore from "effect-s3db/storage/FileStore"
import { percentEncode } from "../src/internal/text.ts"
import {
  both,
  full,
  idsIn,
  isReachable,
  newerOptions,
  olderOptions,
  program,
  scenarios,
  structOptions
} from "./deploys.ts"
import { type Random, random } from "./encoding/random.ts"
import { everything, memory, objectOf } from "./fixture.ts"

const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(3)) } })

/** The reason of an error of the database. */
const reasonOf = (error: unknown) => (error as DbError.DbError).reason

// -----------------------------------------------------------------------------
// Indexes of fields that a program does not know
// -----------------------------------------------------------------------------

const root = mkdtempSync(join(tmpdir(), "effect-s3db-deploys-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

for (const [name, run] of Object.entries(scenarios)) {
  describe(name, () => {
    it.effect("in memory", () => Effect.flatMap(memory, run))
    it.live("in a folder", () =>
      Effect.flatMap(FileStore.make({ path: join(root, percentEncode(name)), durability: "none" }), run)
    )
  })
}

describe("indexes of fields that the older program does not know", () => {
  const renamed = { ...full, name: "Grace" }

  it.effect("are kept up by migrate, backfill and repair of the older program", () =>
    Effect.gen(function* () {
      const programs = yield* both(yield* memory)
      const admin = yield* programs.older.admin
      yield* Stream.runDrain(admin.migrate())
      yield* Stream.runDrain(admin.backfill())
      assert.deepStrictEqual(yield* Stream.runCollect(admin.repair({ dryRun: false, markerGraceMillis: -1 })), [])
      yield* isReachable(programs, full)
    })
  )

  it.effect("are kept up by the newer program, too, when it has removed the fields", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const newer = yield* program(store, newerOptions)
      const still = { schema: Schema.Struct({ id: Schema.String, name: Schema.String }), primaryKey: "id" } as const
      const older = yield* program(store, still)
      yield* newer.people.insert(full)
      yield* older.people.update("1", { name: "Grace" })
      yield* isReachable({ newer: newer.people, store }, renamed)
    })
  )

  it.effect("an older program that makes its documents anew makes no index of what it leaves out", () =>
    Effect.gen(function* () {
      const programs = yield* both(yield* memory)
      yield* programs.older.replace({ id: "1", name: "Grace" })
      yield* isReachable(programs, { id: "1", name: "Grace" })
      yield* programs.newer.insert({ id: "2", name: "Eve", mail: "ada@x" })
    })
  )

  it.effect("a definition with a transform of a later release is left as it is: nothing is written", () =>
    Effect.gen(function* () {
      const { newer, store } = yield* both(yield* memory)
      // What a later release would have written.
      const catalog = yield* Effect.orDie(store.get("s3db.json"))
      const text = new TextDecoder().decode(catalog.body).replaceAll('"bucket:10"', '"spiral:10"')
      yield* store.put({ key: "s3db.json", body: new TextEncoder().encode(text) })
      const older = (yield* program(store, olderOptions)).people
      const before = yield* objectOf(store, "people", "1")
      const errors: ReadonlyArray<{ readonly message: string }> = [
        yield* Effect.flip(older.update("1", { name: "Grace" })),
        yield* Effect.flip(older.replace({ id: "1", name: "Grace" })),
        yield* Effect.flip(older.insert({ id: "3", name: "new" }))
      ]
      for (const error of errors) {
        assert.strictEqual(reasonOf(error)._tag, "Unsupported")
        assert.include(error.message, "upgrade")
      }
      assert.deepStrictEqual(yield* objectOf(store, "people", "1"), before)
      assert.strictEqual((yield* older.get("1")).name, "Ada")
      assert.deepStrictEqual(yield* Stream.runCollect((yield* older.admin).repair({ markerGraceMillis: -1 })), [])
      assert.strictEqual((yield* newer.get("1")).level, 42)
    })
  )
})

describe("fields that the older program does not know, and that have a default", () => {
  const status = Schema.Literals(["new", "done"]).pipe(Schema.withConstructorDefault(Effect.succeed("new" as const)))
  const options = {
    schema: Schema.Struct({ id: Schema.String, name: Schema.String, status }),
    primaryKey: "id",
    partitions: { status: { fields: ["status"], covering: ["name"] } }
  } as const
  const older = { schema: Schema.Struct({ id: Schema.String, name: Schema.String }), primaryKey: "id" } as const

  it.effect("are indexed as the newer one reads them", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* program(store, older)).people.insert({ id: "0", name: "before" })
      const newer = (yield* program(store, options)).people
      yield* Stream.runDrain((yield* newer.admin).backfill())
      const other = yield* program(store, older)
      yield* other.people.insert({ id: "1", name: "a" })
      yield* other.people.update("0", { name: "b" })
      yield* other.database.transaction(other.people.upsert({ id: "2", name: "c" }))
      const scan = (status: "new" | "done") => idsIn(newer.scan({ partition: "status", values: { status } }))
      assert.deepStrictEqual(yield* scan("new"), ["0", "1", "2"])
      yield* newer.update("1", { status: "done" })
      yield* other.people.update("1", { name: "d" })
      assert.deepStrictEqual([yield* scan("new"), yield* scan("done")], [["0", "2"], ["1"]])
      yield* other.people.replace({ id: "1", name: "e" })
      assert.deepStrictEqual([yield* scan("new"), yield* scan("done")], [["0", "1", "2"], []])
      for (const people of [newer, other.people]) {
        assert.deepStrictEqual(yield* Stream.runCollect((yield* people.admin).repair({ markerGraceMillis: -1 })), [])
      }
    })
  )
})

describe("values of a codec that a later release has added", () => {
  for (const [name, encoding] of [
    ["text", Encoding.layer],
    ["packed", Encoding.layerPacked]
  ] as const) {
    it.effect(`are kept by refusing to write, and told as what they are (${name})`, () =>
      Effect.gen(function* () {
        const programs = yield* both(yield* memory)
        const { store } = programs
        // What a later release would have written.
        for (const key of ["s3db.json", "s3db.json.backup"]) {
          const { body } = yield* Effect.orDie(store.get(key))
          const text = new TextDecoder().decode(body).replaceAll(/("level"\s*\],\s*"codec":\s*)"number"/g, '$1"roman"')
          yield* store.put({ key, body: new TextEncoder().encode(text) })
        }
        const older = (yield* program(store, olderOptions)).people
        const before = yield* objectOf(store, "people", "1")
        for (const write of [older.update("1", { name: "b" }), older.upsert({ id: "1", name: "b" })]) {
          const error = yield* Effect.flip(write)
          assert.strictEqual(reasonOf(error)._tag, "Unsupported")
          assert.include(error.message, "upgrade")
        }
        assert.deepStrictEqual(yield* objectOf(store, "people", "1"), before)
        if (name === "text") assert.strictEqual((yield* older.get("1")).name, "Ada")
        yield* older.replace({ id: "1", name: "b" })
        assert.strictEqual((yield* older.get("1")).name, "b")
      }).pipe(Effect.provide(encoding))
    )
  }
})

describe("a document that is cut to its room", () => {
  it.effect("loses nothing that the older program does not know", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const behavior = "truncate-data"
      const text = Schema.optionalKey(Schema.String)
      const newer = (yield* program(store, {
        schema: Schema.Struct({ id: Schema.String, a: text, b: text }),
        primaryKey: "id",
        behavior,
        partitions: { b: { fields: { b: "maxlength:5" } } }
      })).people
      const older = (yield* program(store, {
        schema: Schema.Struct({ id: Schema.String, a: text }),
        primaryKey: "id",
        behavior
      })).people
      const b = "b".repeat(1500)
      yield* newer.insert({ id: "1", a: "a", b })
      const cut = yield* older.update("1", { a: "a".repeat(2000) })
      assert.strictEqual((yield* newer.get("1")).b, b)
      assert.isBelow(cut.a?.length ?? 0, 600)
      assert.deepStrictEqual(yield* idsIn(newer.scan({ partition: "b", values: { b: "bbbbb" } })), ["1"])
    })
  )
})

// -----------------------------------------------------------------------------
// What is within one field
// -----------------------------------------------------------------------------

const Point = Schema.Struct({ x: Schema.Int, y: Schema.optionalKey(Schema.Int) })
const Known = Schema.Struct({ x: Schema.Int })

/** The same resource with a field `at` of two schemas; `change` is what the older program makes of it. */
const nested = <N extends DocumentSchema, O extends DocumentSchema>(newerAt: N, olderAt: O) =>
  Effect.fnUntraced(function* (
    stored: N["Type"],
    next?: (at: O["Type"]) => O["Type"]
  ): Effect.fn.Return<unknown, unknown, Scope.Scope> {
    const store = yield* memory
    const schemaOf = (at: Schema.Top) =>
      Schema.Struct({ id: Schema.String, name: Schema.String, at: at as Schema.Codec<unknown, unknown> })
    const optionsOf = (at: Schema.Top) => ({ schema: schemaOf(at), primaryKey: "id" }) as const
    yield* program(store, optionsOf(olderAt))
    const newer = (yield* program(store, optionsOf(newerAt))).people
    const older = (yield* program(store, optionsOf(olderAt))).people
    yield* newer.insert({ id: "1", name: "a", at: stored })
    const before = yield* objectOf(store, "people", "1")
    yield* older.update("1", { name: "b" })
    const after = yield* objectOf(store, "people", "1")
    assert.deepStrictEqual({ ...after.metadata, "0": "" }, { ...before.metadata, "0": "" })
    assert.deepStrictEqual((yield* newer.get("1")).at, stored)
    if (next === undefined) return stored
    const wanted = yield* older.update("1", ({ at }) => ({ at: next(at as O["Type"]) as unknown }))
    assert.deepStrictEqual((yield* older.get("1")).at, wanted.at)
    return (yield* newer.get("1")).at
  })

describe("what the older program does not know within a field", () => {
  it.effect("lists: what is changed, moved, added and removed leaves the rest as it is", () =>
    Effect.gen(function* () {
      const run = nested(Schema.Array(Point), Schema.Array(Known))
      const all = [1, 2, 3, 4].map((x) => ({ x, y: x * 10 }))
      const [one, two, three, four] = all
      assert.deepStrictEqual(yield* run(all, (at) => at.toReversed()), all.toReversed())
      assert.deepStrictEqual(yield* run(all, (at) => at.slice(1)), [two, three, four])
      assert.deepStrictEqual(yield* run(all, (at) => [{ x: 9 }, ...at]), [{ x: 9 }, ...all])
      assert.deepStrictEqual(yield* run(all, (at) => [...at, { x: 9 }]), [...all, { x: 9 }])
      assert.deepStrictEqual(yield* run(all, (at) => at.with(1, { x: 7 })), [one, { x: 7, y: 20 }, three, four])
      assert.deepStrictEqual(
        yield* run(all, ([, b, c, d]) => [b!, { x: 8 }, d!, c!]),
        [two, { x: 8, y: 10 }, four, three].map((item, i) => (i === 1 ? { x: 8 } : item))
      )
      assert.deepStrictEqual(yield* run(all, () => []), [])
    })
  )

  it.effect("lists of things with an id: another id inherits nothing", () =>
    Effect.gen(function* () {
      const run = nested(
        Schema.Array(Schema.Struct({ id: Schema.String, n: Schema.Int, y: Schema.optionalKey(Schema.Int) })),
        Schema.Array(Schema.Struct({ id: Schema.String, n: Schema.Int }))
      )
      const all = [
        { id: "a", n: 1, y: 10 },
        { id: "b", n: 2, y: 20 }
      ]
      const made = yield* run(all, () => [
        { id: "b", n: 3 },
        { id: "c", n: 1 }
      ])
      assert.deepStrictEqual(made, [
        { id: "b", n: 3, y: 20 },
        { id: "c", n: 1 }
      ])
    })
  )

  it.effect("records, options, tuples, maps, sets, unions, and any of them in another", () =>
    Effect.gen(function* () {
      const p = { x: 1, y: 2 }
      const record = nested(Schema.Record(Schema.String, Point), Schema.Record(Schema.String, Known))
      assert.deepStrictEqual(yield* record({ a: p, b: p }, ({ a }) => ({ a: a!, c: { x: 5 } })), { a: p, c: { x: 5 } })
      assert.deepStrictEqual(yield* record({ a: p }, () => ({ a: { x: 3 } })), { a: { x: 3, y: 2 } })
      const option = nested(Schema.Option(Point), Schema.Option(Known))
      assert.deepStrictEqual(yield* option(Option.some(p), () => Option.some({ x: 3 })), Option.some({ x: 3, y: 2 }))
      assert.deepStrictEqual(yield* option(Option.some(p), () => Option.none()), Option.none())
      const tuple = nested(Schema.Tuple([Point, Point]), Schema.Tuple([Known, Known]))
      const changed = yield* tuple([p, { x: 4, y: 5 }], ([, b]) => [{ x: 9 }, b])
      assert.deepStrictEqual(changed, [
        { x: 9, y: 2 },
        { x: 4, y: 5 }
      ])
      const map = nested(Schema.HashMap(Schema.String, Point), Schema.HashMap(Schema.String, Known))
      const mapped = yield* map(HashMap.make(["a", p], ["b", { x: 2, y: 3 }]), (at) =>
        HashMap.set(HashMap.remove(at, "a"), "c", { x: 1 })
      )
      assert.deepStrictEqual(Object.fromEntries(HashMap.toEntries(mapped as HashMap.HashMap<string, object>)), {
        b: { x: 2, y: 3 },
        c: { x: 1 }
      })
      const set = nested(Schema.HashSet(Point), Schema.HashSet(Known))
      const made = yield* set(HashSet.make(p, { x: 1, y: 3 }, { x: 2, y: 4 }), (at) => HashSet.add(at, { x: 7 }))
      assert.deepStrictEqual(made, HashSet.make(p, { x: 1, y: 3 }, { x: 2, y: 4 }, { x: 7 }))
      const deep = nested(
        Schema.Record(Schema.String, Schema.Array(Schema.Option(Point))),
        Schema.Record(Schema.String, Schema.Array(Schema.Option(Known)))
      )
      assert.deepStrictEqual(
        yield* deep({ a: [Option.none(), Option.some(p)] }, ({ a }) => ({ a: [...a!, Option.some({ x: 0 })] })),
        { a: [Option.none(), Option.some(p), Option.some({ x: 0 })] }
      )
    })
  )

  it.effect("unions: a member that takes the place of another inherits nothing", () =>
    Effect.gen(function* () {
      const card = { kind: Schema.Literal("card"), amount: Schema.Int }
      const cash = Schema.Struct({ kind: Schema.Literal("cash"), amount: Schema.Int })
      const run = nested(
        Schema.Array(Schema.Union([Schema.Struct({ ...card, y: Schema.optionalKey(Schema.Int) }), cash])),
        Schema.Array(Schema.Union([Schema.Struct(card), cash]))
      )
      const paid = { kind: "card", amount: 1, y: 5 } as const
      assert.deepStrictEqual(yield* run([paid], () => [{ kind: "card", amount: 2 }]), [{ ...paid, amount: 2 }])
      assert.deepStrictEqual(yield* run([paid], () => [{ kind: "cash", amount: 1 }]), [{ kind: "cash", amount: 1 }])
      const plain = nested(
        Schema.Union([
          Schema.Struct({ a: Schema.Int, y: Schema.optionalKey(Schema.Int) }),
          Schema.Struct({ b: Schema.Int })
        ]),
        Schema.Union([Schema.Struct({ a: Schema.Int }), Schema.Struct({ b: Schema.Int })])
      )
      assert.deepStrictEqual(yield* plain({ a: 1, y: 2 }, () => ({ b: 1 })), { b: 1 })
      assert.deepStrictEqual(yield* plain({ a: 1, y: 2 }, () => ({ a: 3 })), { a: 3, y: 2 })
    })
  )

  it.effect(
    "a struct that has become a union: its other members survive a change of another field, and of a known one",
    () =>
      Effect.gen(function* () {
        const Home = Schema.Struct({ kind: Schema.Literal("home"), city: Schema.String })
        const Away = Schema.Struct({ kind: Schema.Literal("away"), city: Schema.String, until: Schema.Int })
        const run = nested(Schema.Union([Home, Away]), Schema.Struct({ city: Schema.String }))
        const away = { kind: "away", city: "Rome", until: 5 } as const
        assert.deepStrictEqual(yield* run(away, () => ({ city: "Oslo" })), { ...away, city: "Oslo" })
        // And the other way round.
        const back = nested(
          Schema.Struct({ kind: Schema.Literal("away"), city: Schema.String, y: Schema.optionalKey(Schema.Int) }),
          Schema.Union([Home, Schema.Struct({ kind: Schema.Literal("away"), city: Schema.String })])
        )
        assert.deepStrictEqual(yield* back({ kind: "away", city: "Rome", y: 1 }, (at) => ({ ...at, city: "Oslo" })), {
          kind: "away",
          city: "Oslo",
          y: 1
        })
      })
  )

  it.effect("what the older program reads as something else stays as it is", () =>
    Effect.gen(function* () {
      const lenient = Schema.Literals(["a", "b"]).pipe(Schema.catchDecoding(() => Effect.succeedSome("a" as const)))
      const run = nested(Schema.Literals(["a", "b", "c"]), lenient)
      assert.strictEqual(yield* run("c"), "c")
      assert.strictEqual(yield* run("c", () => "b"), "b")
    })
  )

  it.effect("within a secret, without showing it", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const optionsOf = (at: DocumentSchema) =>
        ({
          schema: Schema.Struct({ id: Schema.String, name: Schema.String, at: Attribute.Secret(Schema.Array(at)) }),
          primaryKey: "id"
        }) as const
      const newer = (yield* program(store, optionsOf(Point))).people
      const older = (yield* program(store, optionsOf(Known))).people
      yield* newer.insert({ id: "1", name: "a", at: Redacted.make([{ x: 1, y: 271828 }]) })
      yield* older.update("1", { name: "b" })
      assert.deepStrictEqual(Redacted.value((yield* newer.get("1")).at), [{ x: 1, y: 271828 }])
      yield* older.update("1", { at: Redacted.make([{ x: 2 }, { x: 3 }]) })
      assert.deepStrictEqual(Redacted.value((yield* newer.get("1")).at), [{ x: 2, y: 271828 }, { x: 3 }])
      assert.notInclude(everything(yield* objectOf(store, "people", "1")), "271828")
    }).pipe(Effect.provide(ring))
  )

  it.effect("a field that has become a secret stays one, whatever the older program does", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const other = { other: Schema.optionalKey(Attribute.SecretText) }
      const schemaOf = <T extends DocumentSchema>(token: T) =>
        Schema.Struct({ id: Schema.String, name: Schema.String, token: Schema.optionalKey(token), ...other })
      yield* program(store, { schema: schemaOf(Schema.String), primaryKey: "id" })
      const newer = (yield* program(store, { schema: schemaOf(Attribute.SecretText), primaryKey: "id" })).people
      const older = (yield* program(store, { schema: schemaOf(Schema.String), primaryKey: "id" })).people
      yield* newer.insert({ id: "1", name: "a", token: Redacted.make("hunter2") })
      const isHidden = Effect.map(objectOf(store, "people", "1"), (object) =>
        assert.notInclude(everything(object), "hunter")
      )
      yield* older.update("1", { name: "b" })
      yield* isHidden
      assert.strictEqual(Redacted.value((yield* newer.get("1")).token!), "hunter2")
      yield* older.update("1", { token: "hunter3" })
      yield* isHidden
      assert.strictEqual(Redacted.value((yield* newer.get("1")).token!), "hunter3")
      yield* older.update("1", { token: undefined })
      assert.isUndefined((yield* newer.get("1")).token)
    }).pipe(Effect.provide(ring))
  )

  for (const [name, encoding] of [
    ["text", Encoding.layer],
    ["packed", Encoding.layerPacked]
  ] as const) {
    it.effect(`random values of random schemas, of which the older program knows a part (${name})`, () =>
      Effect.gen(function* () {
        for (let seed = 1; seed <= 25; seed++) yield* randomCase(seed)
      }).pipe(Effect.provide(encoding))
    )
  }
})

/** Two schemas of one kind of value, values of the newer one, and changes by the older one. */
interface Shape {
  readonly newer: DocumentSchema
  readonly older: DocumentSchema
  readonly value: () => unknown
  readonly olderValue: () => unknown
}

const shapeOf = (random: Random, depth: number): Shape => {
  const kind = depth === 0 ? 0 : random.int(6)
  const inner = () => shapeOf(random, depth - 1)
  switch (kind) {
    case 0: {
      const value = () => random.int(3)
      return { newer: Schema.Int, older: Schema.Int, value, olderValue: value }
    }
    case 1: {
      const item = inner()
      return {
        newer: Schema.Array(item.newer),
        older: Schema.Array(item.older),
        value: () => random.many(4, item.value),
        olderValue: () => random.many(4, item.olderValue)
      }
    }
    case 2: {
      const item = inner()
      const record = (value: () => unknown) => () =>
        Object.fromEntries(random.many(3, () => [random.pick(["a", "b", "c"]), value()] as const))
      return {
        newer: Schema.Record(Schema.String, item.newer),
        older: Schema.Record(Schema.String, item.older),
        value: record(item.value),
        olderValue: record(item.olderValue)
      }
    }
    case 3: {
      const item = inner()
      const option = (value: () => unknown) => () => (random.int(3) === 0 ? Option.none() : Option.some(value()))
      return {
        newer: Schema.Option(item.newer),
        older: Schema.Option(item.older),
        value: option(item.value),
        olderValue: option(item.olderValue)
      }
    }
    default: {
      const [known, maybe] = [inner(), inner()]
      const tags = kind === 4 ? ["s"] : ["s", "t"]
      const structOf = (tag: string, fields: Schema.Struct.Fields) =>
        Schema.Struct({ kind: Schema.Literal(tag), ...fields })
      const union = (fields: Schema.Struct.Fields) =>
        tags.length === 1 ? structOf("s", fields) : Schema.Union(tags.map((tag) => structOf(tag, fields)))
      const knownFields = { a: known.older, b: Schema.optionalKey(maybe.older) }
      const optional = (name: string, value: () => unknown) => (random.int(2) === 0 ? {} : { [name]: value() })
      return {
        newer: union({
          a: known.newer,
          b: Schema.optionalKey(maybe.newer),
          y: Schema.optionalKey(Schema.String)
        }) as unknown as DocumentSchema,
        older: union(knownFields) as unknown as DocumentSchema,
        value: () => ({
          kind: random.pick(tags),
          a: known.value(),
          ...optional("b", maybe.value),
          ...optional("y", () => "unknown")
        }),
        olderValue: () => ({ kind: random.pick(tags), a: known.olderValue(), ...optional("b", maybe.olderValue) })
      }
    }
  }
}

/** How often what only the newer program knows is there. */
const unknowns = (value: unknown): number => JSON.stringify(value).split("unknown").length - 1

const randomCase = Effect.fnUntraced(function* (seed: number) {
  const random_ = random(seed)
  const shape = shapeOf(random_, 3)
  const store = yield* memory
  const optionsOf = (at: DocumentSchema) =>
    ({
      schema: Schema.Struct({ id: Schema.String, n: Schema.Int, at: Schema.optionalKey(at) }),
      primaryKey: "id"
    }) as const
  yield* program(store, optionsOf(shape.older))
  const newer = (yield* program(store, optionsOf(shape.newer))).people
  const older = (yield* program(store, optionsOf(shape.older))).people
  for (let round = 0; round < 3; round++) {
    const at = shape.value()
    yield* newer.upsert({ id: "1", n: 0, at })
    yield* older.update("1", { n: round + 1 })
    assert.deepStrictEqual((yield* newer.get("1")).at, at, `seed ${seed}`)
    const wanted = shape.olderValue()
    yield* older.update("1", { at: wanted })
    // It is what the older one wanted, and the newer one can read it.
    assert.deepStrictEqual((yield* older.get("1")).at, wanted, `seed ${seed}`)
    const after = (yield* newer.get("1")).at
    assert.isAtMost(unknowns(after), unknowns(at), `seed ${seed}`)
    yield* older.update("1", { at: undefined })
    assert.isUndefined((yield* newer.get("1")).at)
  }
})

// -----------------------------------------------------------------------------
// Structs that go, versions that come back, defaults, replacements
// -----------------------------------------------------------------------------

describe("a struct of which the older program knows a part", () => {
  it.effect("that is not there in its eyes stays, unless it is set to null", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const City = Schema.Struct({ city: Schema.optionalKey(Schema.String) })
      const Zip = Schema.Struct({ city: Schema.optionalKey(Schema.String), zip: Schema.optionalKey(Schema.String) })
      const newer = (yield* program(store, structOptions(Zip))).people
      const older = (yield* program(store, structOptions(City))).people
      const hidden = { id: "1", name: "a", address: { zip: "1" } }
      yield* newer.insert(hidden)
      yield* older.update("1", { address: undefined })
      assert.deepStrictEqual(yield* newer.get("1"), hidden)
      yield* older.update("1", { address: {} })
      assert.deepStrictEqual(yield* newer.get("1"), hidden)
      yield* older.update("1", { address: null })
      assert.deepStrictEqual(yield* newer.get("1"), { id: "1", name: "a", address: null })
    })
  )
})

describe("replace and upsert", () => {
  const open = Effect.gen(function* () {
    const programs = yield* both(yield* memory)
    return { ...programs, newer: programs.newer, older: programs.older }
  })
  const known = { id: "1", name: "Grace", address: { city: "Paris" } }

  it.effect("an upsert keeps it, also in a transaction", () =>
    Effect.gen(function* () {
      for (const isWithin of [false, true]) {
        const programs = yield* open
        const upsert = programs.older.upsert(known)
        yield* isWithin ? programs.database.transaction(upsert) : upsert
        yield* isReachable(programs, { ...full, ...known, address: { ...full.address, ...known.address } })
      }
    })
  )

  it.effect("a document that is deleted and inserted in one transaction, then changed, has nothing of before", () =>
    Effect.gen(function* () {
      const programs = yield* open
      const { database, older } = programs
      yield* database.transaction(
        Effect.gen(function* () {
          yield* older.delete("1")
          yield* older.insert({ ...known, name: "x" })
          yield* older.update("1", { name: "Grace" })
        })
      )
      yield* isReachable(programs, known)
      assert.strictEqual((yield* older.getDocument("1")).version, 1)
    })
  )

  it.effect("an older program's replacement is of its own version, so that migrations apply", () =>
    Effect.gen(function* () {
      for (const history of [false, true]) {
        const store = yield* memory
        const first = {
          schema: Schema.Struct({ id: Schema.String, age: Schema.optionalKey(Schema.String) }),
          primaryKey: "id",
          version: 1,
          history
        } as const
        yield* program(store, first)
        const newer = yield* program(store, {
          schema: Schema.Struct({ id: Schema.String, age: Schema.optionalKey(Schema.Int) }),
          primaryKey: "id",
          version: 2,
          history,
          migrations: { 1: ({ age, ...rest }) => (age === undefined ? rest : { ...rest, age: Number(age) }) }
        })
        const older = (yield* program(store, first)).people
        yield* newer.people.insert({ id: "1", age: 5 })
        yield* older.replace({ id: "1", age: "6" })
        assert.deepStrictEqual(yield* newer.people.get("1"), { id: "1", age: 6 })
        yield* newer.people.update("1", { age: 7 })
        yield* newer.database.transaction(Effect.void)
        assert.deepStrictEqual((yield* newer.people.getDocument("1")).schemaVersion, 2)
        // What it cannot read it does not change.
        const error = yield* Effect.flip(older.update("1", { age: "8" }))
        assert.strictEqual(reasonOf(error)._tag, "Corrupt")
      }
    })
  )
})

describe("defaults that are added", () => {
  it.effect(
    "within lists, records, options, tuples, unions and recursive values are filled in when old documents are read",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const y = Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("new")))
        const at = Schema.Date.pipe(Schema.withConstructorDefault(Effect.succeed(new Date(0))))
        interface Tree {
          readonly kids: ReadonlyArray<Tree>
        }
        const shapes = (more: Schema.Struct.Fields) => {
          const item = Schema.Struct({ x: Schema.Int, ...more })
          const Tree: Schema.Codec<Tree> = Schema.Struct({
            kids: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree)),
            ...more
          }) as unknown as Schema.Codec<Tree>
          return Schema.Struct({
            id: Schema.String,
            list: Schema.Array(item),
            record: Schema.Record(Schema.String, Schema.Array(item)),
            option: Schema.Option(item),
            tuple: Schema.Tuple([item, Schema.Int]),
            union: Schema.Array(
              Schema.Union([
                Schema.Struct({ kind: Schema.Literal("a"), x: Schema.Int }),
                Schema.Struct({ kind: Schema.Literal("b"), ...more })
              ])
            ),
            struct: Schema.Struct({ within: Schema.Array(item), ...more }),
            tree: Tree
          }) as unknown as Schema.Struct<{ readonly id: typeof Schema.String }>
        }
        const before = {
          id: "1",
          list: [{ x: 1 }, { x: 2 }],
          record: { k: [{ x: 1 }] },
          option: Option.some({ x: 1 }),
          tuple: [{ x: 1 }, 2],
          union: [{ kind: "a", x: 1 }, { kind: "b" }],
          struct: { within: [{ x: 1 }] },
          tree: { kids: [{ kids: [] }] }
        }
        const older = (yield* program(store, { schema: shapes({}), primaryKey: "id" })).people
        yield* older.insert(before)
        const newer = (yield* program(store, { schema: shapes({ y, at }), primaryKey: "id" })).people
        const added = { y: "new", at: new Date(0) }
        const item = { x: 1, ...added }
        const expected: unknown = {
          id: "1",
          list: [item, { ...item, x: 2 }],
          record: { k: [item] },
          option: Option.some(item),
          tuple: [item, 2],
          union: [
            { kind: "a", x: 1 },
            { kind: "b", ...added }
          ],
          struct: { within: [item], ...added },
          tree: { kids: [{ kids: [], ...added }], ...added }
        }
        assert.deepStrictEqual(yield* newer.get("1"), expected as never)
        // Also after a change by the older one, and by the newer.
        yield* older.update("1", { list: [{ x: 1 }, { x: 2 }] } as never)
        assert.deepStrictEqual(yield* newer.get("1"), expected as never)
        yield* newer.update("1", { list: [] } as never)
        assert.deepStrictEqual(yield* newer.get("1"), { ...(expected as object), list: [] } as never)
      })
  )
})
