/** What is not in the schema, or cannot be stored, is refused by every way of writing, and nothing is changed. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import type { JsonObject } from "effect-s3db/encoding/Json"
import * as Resource from "effect-s3db/Resource"
import * as Wire from "effect-s3db/Wire"
import { everything, keysOf, memory, objectOf, openNew, openOn } from "./fixture.ts"

const Home = Schema.Struct({ city: Schema.String, at: Schema.optionalKey(Schema.Struct({ x: Schema.Int })) })
const Person = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  home: Schema.optionalKey(Home),
  homes: Schema.optionalKey(Schema.Array(Home)),
  byName: Schema.optionalKey(Schema.Record(Schema.String, Home)),
  either: Schema.optionalKey(Schema.Union([Schema.String, Home])),
  maybe: Schema.optionalKey(Schema.Option(Home)),
  free: Schema.optionalKey(Schema.Any)
})
const declared = { schema: Person, primaryKey: "id", history: true, scan: true } as const
type Input = typeof Person.Type
type People = Resource.Repository<typeof Person>

/** An input with what its type does not allow. */
const strange = (fields: object): Input => ({ id: "1", name: "Ana", ...fields }) as Input

const problemsOf = (error: { readonly _tag: string }): ReadonlyArray<string> =>
  error._tag === "InvalidInput"
    ? (error as DbError.InvalidInput).issues.map(({ path }) => path.join("."))
    : [error._tag]

/** Every way of writing whole documents and changes, of the document `1`. */
const waysOf = (people: People, database: Database.Database["Service"]) => {
  const first = <A, E>(all: ReadonlyArray<Result.Result<A, E>>) => Effect.fromResult(all[0]!)
  const whole: Readonly<Record<string, (input: Input) => Effect.Effect<unknown, { readonly _tag: string }>>> = {
    insert: (input) => people.insert({ ...input, id: "2" }),
    insertMany: (input) => Effect.flatMap(people.insertMany([{ ...input, id: "2" }]), first),
    replace: (input) => people.replace(input),
    upsert: (input) => people.upsert({ ...input, id: "2" }),
    "upsert of what is there": (input) => people.upsert(input),
    upsertMany: (input) => Effect.flatMap(people.upsertMany([input]), first),
    writeAll: (input) =>
      Effect.flatMap(Stream.runCollect(people.writeAll(Stream.make({ ...input, id: "2" }))), (all) =>
        first(all.map(({ result }) => result))
      ),
    "in a transaction": (input) =>
      database.transaction(Effect.andThen(people.patch("1", { name: "In" }), people.insert({ ...input, id: "2" })))
  }
  const changes: Readonly<Record<string, (changes: object) => Effect.Effect<unknown, { readonly _tag: string }>>> = {
    update: (changes) => people.update("1", changes),
    "update by a function": (changes) => people.update("1", () => changes),
    "update by an effect": (changes) => people.update("1", () => Effect.succeed(changes)),
    "update of a document in hand": (changes) =>
      Effect.flatMap(people.getDocument("1"), (document) => people.update(document, changes)),
    patch: (changes) => people.patch("1", changes),
    updateMany: (changes) =>
      Effect.flatMap(Stream.runCollect(people.updateMany({}, changes)), (all) =>
        first(all.map(({ result }) => result))
      ),
    "change in a transaction": (changes) =>
      database.transaction(Effect.andThen(people.patch("1", { name: "In" }), people.update("1", changes)))
  }
  return { whole, changes }
}

const jsonWaysOf = (people: People) => {
  const whole: Readonly<Record<string, (input: JsonObject) => Effect.Effect<unknown, { readonly _tag: string }>>> = {
    insertJson: (input) => people.insertJson({ ...input, id: "2" }),
    replaceJson: (input) => people.replaceJson(input),
    writeAllJson: (input) =>
      Effect.flatMap(Stream.runCollect(people.writeAllJson(Stream.make({ ...input, id: "2" }))), ([outcome]) =>
        Effect.fromResult(outcome!.result)
      )
  }
  const changes: Readonly<Record<string, (changes: JsonObject) => Effect.Effect<unknown, { readonly _tag: string }>>> =
    {
      updateJson: (changes) => people.updateJson("1", changes),
      patchJson: (changes) => people.patchJson("1", changes)
    }
  return { whole, changes }
}

/** Fields with a key that no schema has, and where it is. */
const excess: ReadonlyArray<readonly [fields: JsonObject, path: string]> = [
  [{ nmae: "x" }, "nmae"],
  [{ home: { city: "x", zip: "1" } }, "home.zip"],
  [{ home: { city: "x", at: { x: 1, y: 2 } } }, "home.at.y"],
  [{ homes: [{ city: "x" }, { city: "y", zip: "1" }] }, "homes.1.zip"],
  [{ byName: { a: { city: "x", zip: "1" } } }, "byName.a.zip"],
  [{ either: { city: "x", zip: "1" } }, "either.zip"]
]

describe("keys that a schema does not know", () => {
  it.effect("are refused by their name, by every way of writing", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const people = yield* open("people", declared)
      yield* people.insert({ id: "1", name: "Ana", home: { city: "x" } })
      const before = [yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))]
      const ways = waysOf(people, database)
      const json = jsonWaysOf(people)
      for (const [fields, path] of excess) {
        const refused = (way: string, writing: Effect.Effect<unknown, { readonly _tag: string }>) =>
          Effect.map(Effect.flip(writing), (error) => assert.deepStrictEqual([way, ...problemsOf(error)], [way, path]))
        for (const [way, write] of Object.entries(ways.whole)) yield* refused(way, write(strange(fields)))
        for (const [way, write] of Object.entries(ways.changes)) yield* refused(way, write(fields))
        for (const [way, write] of Object.entries(json.whole))
          yield* refused(way, write({ id: "1", name: "x", ...fields }))
        for (const [way, write] of Object.entries(json.changes)) yield* refused(way, write(fields))
      }
      const others: ReadonlyArray<readonly [fields: object, path: string]> = [
        [{ [Symbol("x")]: 1 }, "Symbol(x)"],
        [JSON.parse('{"__proto__":{"a":1}}') as object, "__proto__"],
        [{ constructor: 1 }, "constructor"],
        [{ maybe: Option.some({ city: "x", zip: "1" }) }, "maybe.value.zip"],
        [{ nothing: undefined }, "nothing"]
      ]
      for (const [fields, path] of others) {
        const input = Object.defineProperties(strange({}), Object.getOwnPropertyDescriptors(fields))
        const error = yield* Effect.flip(people.insert({ ...input, id: "2" }))
        const found = path === "__proto__" ? problemsOf(yield* Effect.flip(people.insert(input))) : problemsOf(error)
        assert.deepStrictEqual(found, [path])
      }
      const error = yield* Effect.flip(people.insert(strange({ nmae: "x" })))
      assert.strictEqual(error.message, "invalid input for people: nmae: Expected no such field; did you mean name?")
      const changing = yield* Effect.flip(people.update("1", { nmae: "x" } as object))
      assert.strictEqual(changing.message, "invalid input for people: nmae: Expected no such field; did you mean name?")
      assert.deepStrictEqual([yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))], before)
    })
  )

  it.effect("are told with the field that is probably meant, on every level", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", declared)
      yield* people.insert(strange({ home: { city: "x", at: { x: 1 } } }))
      const near: ReadonlyArray<readonly [fields: object, path: string, name: string | undefined]> = [
        [{ hmoe: { city: "x" } }, "hmoe", "home"],
        [{ home: { citty: "x", city: "x" } }, "home.citty", "city"],
        [{ home: { city: "x", at: { x: 1, X1: 2 } } }, "home.at.X1", undefined],
        [{ homes: [{ city: "x" }, { city: "y", ciy: "z" }] }, "homes.1.ciy", "city"],
        [{ byName: { a: { city: "x", City_: 1 } } }, "byName.a.City_", "city"],
        [{ either: { city: "x", cty: 1 } }, "either.cty", "city"],
        [{ maybe: Option.some({ city: "x", ctiy: "1" }) }, "maybe.value.ctiy", "city"],
        [{ nothingOfTheKind: 1 }, "nothingOfTheKind", undefined]
      ]
      for (const [fields, path, name] of near) {
        const error = yield* Effect.flip(people.insert({ ...strange(fields), id: "2" }))
        const meant = name === undefined ? "" : `; did you mean ${name}?`
        assert.strictEqual(error.message, `invalid input for people: ${path}: Expected no such field${meant}`)
      }
      const others: ReadonlyArray<readonly [Effect.Effect<unknown, { readonly message: string }>, string]> = [
        [people.update("1", { "home.ctiy": "x" } as object), "home.ctiy"],
        [people.patch("1", { home: { ctiy: "x" } } as object), "home.ctiy"],
        [people.updateJson("1", { "home.ctiy": "x" }), "home.ctiy"],
        [people.insertJson({ id: "3", name: "Ana", home: { city: "x", ctiy: "x" } }), "home.ctiy"]
      ]
      for (const [writing, path] of others) {
        const error = yield* Effect.flip(writing)
        assert.strictEqual(
          error.message,
          `invalid input for people: ${path}: Expected no such field; did you mean city?`
        )
      }
    })
  )

  it.effect("are dropped by every way of writing where the resource says so, also when no code declares it", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const people = yield* open("people", { ...declared, onExcessProperty: "ignore" })
      yield* people.insert({ id: "1", name: "Ana", home: { city: "x" } })
      const { database: other } = yield* openOn(store)
      const dynamic = yield* Effect.provideService(
        Effect.flatMap(Resource.fromCatalog("people"), (definition) => Resource.make(definition)),
        Database.Database,
        other
      )
      const ways = waysOf(people, database)
      const json = jsonWaysOf(people)
      const known: Readonly<Record<string, object>> = {
        nmae: {},
        "home.zip": { home: { city: "x" } },
        "home.at.y": { home: { city: "x", at: { x: 1 } } },
        "homes.1.zip": { homes: [{ city: "x" }, { city: "y" }] },
        "byName.a.zip": { byName: { a: { city: "x" } } },
        "either.zip": { either: { city: "x" } }
      }
      for (const [fields, path] of excess) {
        const stored = Effect.fnUntraced(function* (
          way: string,
          id: string,
          writing: Effect.Effect<unknown, { readonly _tag: string }>,
          expected: object
        ) {
          yield* writing
          assert.deepStrictEqual([way, yield* people.get(id)], [way, expected])
          yield* people.delete("2")
          yield* people.replace({ id: "1", name: "Ana" })
        })
        const whole = { name: "Ana", ...known[path] }
        const idOf = (way: string) => (/^(?:replace|upsert of|upsertMany)/.test(way) ? "1" : "2")
        for (const [way, write] of Object.entries(ways.whole)) {
          yield* stored(way, idOf(way), write(strange(fields)), { id: idOf(way), ...whole })
        }
        for (const [way, write] of Object.entries(ways.changes)) {
          const name = way.includes("transaction") ? "In" : "Ana"
          yield* stored(way, "1", write(fields), { id: "1", ...whole, name })
        }
        for (const [way, write] of Object.entries(json.whole)) {
          yield* stored(way, idOf(way), write({ id: "1", name: "Ana", ...fields }), { id: idOf(way), ...whole })
        }
        for (const [way, write] of Object.entries(json.changes)) {
          yield* stored(way, "1", write(fields), { id: "1", ...whole })
        }
        yield* dynamic.insert({ id: "3", name: "Ana", ...fields } as never)
        assert.deepStrictEqual(yield* people.get("3"), { id: "3", ...whole })
        yield* people.delete("3")
      }
      // A path that leads nowhere makes nothing.
      yield* people.update("1", { "home.zip": "1", "none.at.all": 2 } as object)
      assert.deepStrictEqual(yield* people.get("1"), { id: "1", name: "Ana" })
      // What is wrong is refused all the same, and what a member of a union knows is kept.
      assert.deepStrictEqual(problemsOf(yield* Effect.flip(people.insert(strange({ id: "4", name: 1, zip: 1 })))), [
        "name"
      ])
      const Shape = Schema.Union([Schema.Struct({ a: Schema.Int }), Schema.Struct({ a: Schema.Int, b: Schema.Date })])
      const shapes = yield* open("shapes", {
        schema: Schema.Struct({ id: Schema.String, shape: Shape }),
        primaryKey: "id",
        onExcessProperty: "ignore"
      })
      const shape = { a: 1, b: new Date(5), c: 1 }
      yield* shapes.insert({ id: "1", shape })
      assert.deepStrictEqual((yield* shapes.get("1")).shape, { a: 1, b: new Date(5) })
    })
  )

  it.effect("are no fields of other versions, nor what a class has beside its fields", () =>
    Effect.gen(function* () {
      const store = yield* memory
      class Home extends Schema.Class<Home>("inputs/Home")({ city: Schema.String }) {
        looks = 0
      }
      class Before extends Schema.Class<Before>("inputs/Before")({
        id: Schema.String,
        name: Schema.String,
        homes: Schema.Array(Home)
      }) {
        readonly seen = new Map<string, number>()
      }
      const Now = Schema.Struct({
        id: Schema.String,
        name: Schema.String,
        homes: Schema.Array(Schema.Struct({ city: Schema.String, zip: Schema.optionalKey(Schema.String) })),
        team: Schema.optionalKey(Schema.String)
      })
      const newer = yield* (yield* openOn(store)).open("people", { schema: Now, primaryKey: "id", scan: true })
      const older = yield* (yield* openOn(store)).open("people", { schema: Before, primaryKey: "id", scan: true })
      const added = { id: "1", name: "Ana", homes: [{ city: "Rome", zip: "1" }], team: "red" }
      yield* newer.insert(added)
      // It gives back what it has read, in whatever way.
      yield* older.update("1", (person) => person)
      yield* older.update("1", ({ id: _, ...person }) => ({ ...person, seen: undefined }) as object).pipe(Effect.flip)
      yield* older.patch("1", yield* older.get("1"))
      yield* older.upsert(yield* older.get("1"))
      yield* Stream.runDrain(older.updateMany({}, ({ homes, name }) => ({ homes, name })))
      assert.deepStrictEqual(yield* newer.get("1"), added)
      yield* older.update("1", ({ homes }) => ({ homes: [...homes, new Home({ city: "Turin" })] }))
      assert.deepStrictEqual((yield* newer.get("1")).homes, [...added.homes, { city: "Turin" }])
      const read = yield* older.get("1")
      assert.isTrue(read instanceof Before && read.homes[0] instanceof Home)
      yield* older.replace(read)
      yield* older.insert(new Before({ id: "2", name: "Bo", homes: [new Home({ city: "Oslo" })] }))
      assert.deepStrictEqual(yield* newer.get("2"), { id: "2", name: "Bo", homes: [{ city: "Oslo" }] })
    })
  )
})

describe("what is no document, no change and no id", () => {
  const nothing: ReadonlyArray<unknown> = [undefined, null, "x", 5, [{}]]

  it.effect("is refused by every way of writing, and not taken for none", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const people = yield* open("people", { ...declared, history: false })
      yield* people.insert({ id: "1", name: "Ana" })
      const before = [yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))]
      for (const given of nothing) {
        const none = given as never
        const json = given as JsonObject
        const ways = {
          insert: people.insert(none),
          replace: people.replace(none),
          upsert: people.upsert(none),
          insertMany: Effect.flatMap(people.insertMany([none]), ([one]) => Effect.fromResult(one!)),
          insertJson: people.insertJson(json),
          replaceJson: people.replaceJson(json),
          update: people.update("1", none),
          "update by a function": people.update("1", () => none),
          patch: people.patch("1", none),
          updateJson: people.updateJson("1", json),
          patchJson: people.patchJson("1", json)
        }
        for (const [way, writing] of Object.entries(ways)) {
          const error = yield* Effect.flip(writing as Effect.Effect<unknown, { readonly _tag: string }>)
          assert.deepStrictEqual([way, ...problemsOf(error)], [way, ""])
        }
      }
      // A promise, or an effect that nobody runs, has none of the fields.
      for (const given of [
        Promise.resolve({ name: "Bo" }),
        Effect.succeed({ name: "Bo" }),
        new Map([["name", "Bo"]])
      ]) {
        for (const change of [given, () => given]) {
          if (change !== given && Effect.isEffect(given)) continue
          const error = yield* Effect.flip(people.update("1", change as never))
          assert.include(error.message, "Expected an object with the fields to be changed")
        }
        assert.deepStrictEqual(problemsOf(yield* Effect.flip(people.patch("1", given as never))), [""])
      }
      assert.deepStrictEqual([yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))], before)
    })
  )

  it.effect("is refused as an id", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", declared)
      yield* people.insert({ id: "1", name: "Ana" })
      for (const given of [undefined, null, 1]) {
        const id = given as unknown as string
        const ways = {
          get: people.get(id),
          exists: people.exists(id),
          update: people.update(id, { name: "Bo" }),
          patch: people.patch(id, { name: "Bo" }),
          updateJson: people.updateJson(id, { name: "Bo" }),
          delete: people.delete(id),
          getAt: people.getAt(id, { version: 1 }),
          deleteMany: people.deleteMany([id])
        }
        for (const [way, asked] of Object.entries(ways)) {
          const exit = yield* Effect.exit(asked as Effect.Effect<unknown, { readonly _tag: string }>)
          assert.notInclude(String(exit), "TypeError", way)
          assert.isTrue(exit._tag === "Failure" || exit.value === false, way)
        }
      }
      assert.strictEqual((yield* people.get("1")).name, "Ana")
    })
  )

  it.effect("one id is no list of ids, whose letters are others", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const people = yield* open("people", declared)
      yield* people.insertMany(["1", "2", "12"].map((id) => ({ id, name: "Ana" })))
      for (const given of ["12", undefined, { where: { name: "Ana" } }]) {
        const ids = given as unknown as ReadonlyArray<string>
        assert.include((yield* Effect.flip(people.deleteMany(ids))).message, "Expected a list of ids")
        assert.include((yield* Effect.flip(people.getMany(ids))).message, "Expected a list of ids")
      }
      assert.strictEqual(yield* people.count(), 3)
      assert.deepStrictEqual((yield* people.deleteMany(new Set(["12"]))).deleted, ["12"])
    })
  )
})

describe("values that would come back as others", () => {
  it.effect("are refused by the name of their field, by every way of writing", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const people = yield* open("people", declared)
      yield* people.insert({ id: "1", name: "Ana", free: { a: 1 } })
      const before = [yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))]
      const { changes, whole } = waysOf(people, database)
      for (const [free, path] of [
        [{ at: new Date(0) }, "free.at"],
        [new Map([["a", 1]]), "free"],
        [{ a: [undefined] }, "free.a.0"]
      ] as const) {
        const refused = (way: string, writing: Effect.Effect<unknown, { readonly _tag: string }>) =>
          Effect.map(Effect.flip(writing), (error) => assert.deepStrictEqual([way, ...problemsOf(error)], [way, path]))
        for (const [way, write] of Object.entries(whole)) yield* refused(way, write(strange({ free })))
        for (const [way, write] of Object.entries(changes)) yield* refused(way, write({ free }))
      }
      assert.deepStrictEqual([yield* keysOf(store), everything(yield* objectOf(store, "people", "1"))], before)
      // What is stored can be had again.
      yield* people.update("1", { free: [1] })
      yield* people.restore("1", { version: 1 })
      assert.deepStrictEqual((yield* people.get("1")).free, { a: 1 })
    })
  )
})

describe("a RangeError of the program's own code", () => {
  const outOfRange = Effect.sync((): string => new Date(Number.NaN).toISOString())
  const defectOf = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.map(Effect.exit(effect), (exit) => {
      const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
      return reason !== undefined && Cause.isDieReason(reason) ? String(reason.defect) : JSON.stringify(exit)
    })

  it.effect("is the defect that it is: of a default, an encoding, a decoding, not values nested too deep", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const made = yield* open("made", {
        schema: Schema.Struct({ id: Schema.String, at: Schema.String.pipe(Schema.withConstructorDefault(outOfRange)) }),
        primaryKey: "id"
      })
      const told = "RangeError: Invalid time value"
      assert.strictEqual(yield* defectOf(made.insert({ id: "1" })), told)
      let isWrong = true
      const wrong = <A>(value: A): A => {
        if (isWrong) new Date(Number.NaN).toISOString()
        return value
      }
      const Encoded = Schema.String.pipe(
        Schema.decodeTo(Schema.String, { decode: SchemaGetter.transform(wrong), encode: SchemaGetter.transform(wrong) })
      )
      const things = yield* open("things", {
        schema: Schema.Struct({ id: Schema.String, text: Encoded }),
        primaryKey: "id"
      })
      assert.strictEqual(yield* defectOf(things.insert({ id: "1", text: "a" })), told)
      isWrong = false
      yield* things.insert({ id: "1", text: "a" })
      isWrong = true
      assert.strictEqual(yield* defectOf(things.get("1")), told)
    })
  )

  it.effect("is one on a wire, too", () =>
    Effect.gen(function* () {
      const Late = Schema.String.pipe(
        Schema.decodeTo(Schema.String, {
          decode: SchemaGetter.transform(() => new Date(Number.NaN).toISOString()),
          encode: SchemaGetter.transform((text: string) => text)
        })
      )
      const schema = Schema.Struct({ id: Schema.String, late: Late, secret: Schema.Redacted(Schema.String) })
      const things = Resource.define("things", { schema, primaryKey: "id" })
      const decode = Schema.decodeUnknownEffect(Wire.create(things))({ id: "1", late: "x", secret: "s" })
      assert.strictEqual(yield* defectOf(decode), "RangeError: Invalid time value")
    })
  )

  it.effect("recursion that is too deep is told as such", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const things = yield* open("things", {
        schema: Schema.Struct({ id: Schema.String, any: Schema.Any }),
        primaryKey: "id"
      })
      const down = (): number => 1 + down()
      const deep = {
        get any() {
          return down()
        },
        id: "1"
      }
      const error = yield* Effect.flip(things.insert(deep as never))
      assert.include(String(error), "not nested as deep")
    })
  )
})
