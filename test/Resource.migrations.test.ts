import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as DbError from "effect-s3db/DbError"
import * as Encoding from "effect-s3db/encoding/Encoding"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { memory, openOn } from "./fixture.ts"

const First = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  age: Schema.String,
  token: Schema.optionalKey(Attribute.SecretText),
  note: Schema.optionalKey(Schema.String)
})

const Second = Schema.Struct({
  id: Schema.String,
  first: Schema.String,
  last: Schema.String,
  age: Schema.String,
  token: Schema.optionalKey(Attribute.SecretText)
})

const Third = Schema.Struct({
  id: Schema.String,
  first: Schema.String,
  last: Schema.String,
  age: Schema.Int,
  tokenLength: Schema.optionalKey(Schema.Int)
})

const steps = {
  1: ({ name, ...rest }: Encoding.JsonObject): Encoding.JsonObject => {
    const [first = "", last = ""] = String(name).split(" ")
    return { ...rest, first, last }
  },
  2: ({ age, token, ...rest }: Encoding.JsonObject): Encoding.JsonObject => ({
    ...rest,
    age: Number(age),
    ...(typeof token === "string" ? { tokenLength: token.length } : {})
  })
}

const ring = KeyRing.layerKeys({ current: "1", keys: { 1: Redacted.make(new Uint8Array(32).fill(3)) } })

const openVersion = {
  first: (store: ObjectStore["Service"]) =>
    Effect.flatMap(openOn(store), ({ open }) => open("people", { schema: First, primaryKey: "id", version: 1 })),
  second: (store: ObjectStore["Service"]) =>
    Effect.flatMap(openOn(store), ({ open }) =>
      open("people", { schema: Second, primaryKey: "id", version: 2, migrations: { 1: steps[1] } })
    ),
  third: (store: ObjectStore["Service"]) =>
    Effect.flatMap(openOn(store), ({ open }) =>
      open("people", { schema: Third, primaryKey: "id", version: 3, migrations: steps })
    )
}

const people = Array.from({ length: 40 }, (_, i) => ({
  id: `p${i + 10}`,
  name: `Ada${i} Lovelace`,
  age: `${i}`,
  token: Redacted.make("x".repeat(i)),
  note: "n"
}))

describe("migrations", () => {
  for (const [name, encoding] of [
    ["text", Encoding.layer],
    ["packed", Encoding.layerPacked]
  ] as const) {
    it.effect(`${name}: old documents are read as if they were new, and written so when they change`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* (yield* openVersion.first(store)).insertMany(people.slice(0, 3))
        const second = yield* openVersion.second(store)
        const one = yield* second.get("p11")
        assert.deepInclude(one, { id: "p11", first: "Ada1", last: "Lovelace", age: "1" })
        assert.strictEqual(Redacted.value(one.token!), "x")
        yield* second.update("p11", { first: "Grace" })
        const third = yield* openVersion.third(store)
        // Two steps, one step.
        assert.deepStrictEqual(yield* third.get("p12"), {
          id: "p12",
          first: "Ada2",
          last: "Lovelace",
          age: 2,
          tokenLength: 2
        })
        const grace = yield* third.getDocument("p11")
        assert.deepInclude(grace.value, { first: "Grace", age: 1, tokenLength: 1 })
        assert.strictEqual(grace.schemaVersion, 2)
        yield* third.update(grace, { last: "Hopper" })
        assert.strictEqual((yield* third.getDocument("p11")).schemaVersion, 3)
        assert.deepInclude(yield* third.get("p11"), { last: "Hopper", age: 1, tokenLength: 1 })
      }).pipe(Effect.provide([encoding, ring]))
    )
  }

  it.effect("migrate writes every old document once, goes on where it ended, and loses no update", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* openVersion.first(store)).insertMany(people)
      const third = yield* openVersion.third(store)
      let puts = 0
      let failAt = 12
      const flaky: ObjectStore["Service"] = {
        ...store,
        put: (request) => {
          puts += 1
          return puts === failAt
            ? Effect.fail(
                new StoreError({
                  operation: "put",
                  key: request.key,
                  reason: new Unavailable({ description: "down", sent: false })
                })
              )
            : store.put(request)
        }
      }
      const unsteady = yield* openVersion.third(flaky)
      puts = 0
      const done: Array<string> = []
      const record = Stream.runForEach((one: Resource.Rewritten) => Effect.sync(() => done.push(one.id)))
      const failed = yield* Effect.flip(record((yield* unsteady.admin).migrate({ concurrency: 1 })))
      assert.strictEqual(failed._tag, "DbError")
      // Somebody changes a document that is yet to come, in the meantime.
      yield* third.update("p45", { first: "New" })
      failAt = -1
      puts = 0
      const rest = yield* Stream.runCollect(
        (yield* unsteady.admin).migrate({ after: done.at(-1) ?? "", concurrency: 4 })
      )
      assert.deepStrictEqual(
        [...done, ...rest.map((one) => one.id)],
        people.map((one) => one.id)
      )
      const versions = yield* Stream.runCollect(Stream.map(third.scanDocuments(), (one) => one.schemaVersion))
      assert.deepStrictEqual(new Set(versions), new Set([3]))
      assert.strictEqual((yield* third.get("p45")).first, "New")
      assert.isFalse(rest.find((one) => one.id === "p45")!.rewritten)
      // A second run writes nothing.
      puts = 0
      assert.isTrue((yield* Stream.runCollect((yield* unsteady.admin).migrate())).every((one) => !one.rewritten))
      assert.strictEqual(puts, 0)
      const wrong = yield* Effect.flip(Stream.runDrain((yield* third.admin).migrate({ after: "" })))
      assert.strictEqual(wrong._tag, "InvalidInput")
    }).pipe(Effect.provide(ring))
  )

  it.effect("a step that throws, or gives what does not fit, is told with its version", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* (yield* openVersion.first(store)).insert(people[1]!)
      const open = (step: (document: Encoding.JsonObject) => Encoding.JsonObject, version: number) =>
        Effect.flatMap(openOn(store), (fixture) =>
          fixture.open("people", { schema: Second, primaryKey: "id", version, migrations: { 1: step } })
        )
      const throwing = yield* open(() => {
        throw new Error("secret details")
      }, 2)
      const thrown = yield* Effect.flip(throwing.get("p11"))
      assert.include(thrown.message, "of schema version 1, makes its migration throw")
      assert.notInclude(thrown.message, "secret details")
      const unfit = yield* open((document) => document, 2)
      assert.include((yield* Effect.flip(unfit.get("p11"))).message, "of schema version 1 does not fit the schema")
    }).pipe(Effect.provide(ring))
  )

  it.effect("versions that contradict the catalog are refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* openVersion.first(store)
      yield* openVersion.third(store)
      const open = (version: number) =>
        Effect.flatMap(openOn(store), (fixture) =>
          fixture.open("people", {
            schema: Schema.Struct({ id: Schema.String, x: Schema.String }),
            primaryKey: "id",
            version
          })
        )
      const reason = Effect.map(Effect.flip(open(3)), (error) => (error as DbError.DbError).message)
      assert.include(
        yield* reason,
        "version 3 of people was declared otherwise; give the changed declaration version 4"
      )
      assert.include((yield* Effect.flip(open(2))).message, "is older than version 3")
      // An old program still works.
      yield* openVersion.first(store)
      assert.throws(
        () => Resource.define("x", { schema: First, primaryKey: "id", version: 0 }),
        /must be an integer from 1/
      )
      assert.throws(
        () => Resource.define("x", { schema: First, primaryKey: "id", pin: { body: ["nothing"] } }),
        /pin.body names "nothing"/
      )
    }).pipe(Effect.provide(ring))
  )

  it.effect("T51: attributes are added in front, removed, moved and renamed; what is stored stays readable", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const A = Schema.Struct({ id: Schema.String, a: Schema.String, b: Schema.Int })
      const open = (schema: Schema.Top, more: object = {}) =>
        Effect.flatMap(openOn(store), (fixture) =>
          fixture.open("things", { schema: schema as unknown as typeof A, primaryKey: "id", ...more })
        )
      const B = Schema.Struct({
        id: Schema.String,
        z: Schema.optionalKey(Schema.String),
        b: Schema.Int,
        a: Schema.String
      })
      const C = Schema.Struct({ id: Schema.String, a: Schema.String })
      const D = Schema.Struct({ id: Schema.String, title: Schema.String, b: Schema.Int })
      yield* (yield* open(A)).insert({ id: "1", a: "x", b: 5 } as never)
      assert.deepStrictEqual(yield* (yield* open(B)).get("1"), { id: "1", a: "x", b: 5 } as never)
      assert.deepStrictEqual(yield* (yield* open(C)).get("1"), { id: "1", a: "x" } as never)
      yield* (yield* open(C)).update("1", { a: "y" } as never)
      assert.deepStrictEqual(yield* (yield* open(A)).get("1"), { id: "1", a: "y", b: 5 } as never)
      const renaming = {
        version: 9,
        migrations: { 3: ({ a, ...rest }: Encoding.JsonObject) => ({ ...rest, title: a ?? "" }) }
      }
      assert.deepStrictEqual(yield* (yield* open(D, renaming)).get("1"), { id: "1", title: "y", b: 5 } as never)
    })
  )
})
