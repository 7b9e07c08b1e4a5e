import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Database from "effect-s3db/Database"
import * as DbError from "effect-s3db/DbError"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as Id from "effect-s3db/crypto/Id"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Resource from "effect-s3db/Resource"
import type { PutRequest } from "effect-s3db/storage/ObjectStore"
import * as StoreError from "effect-s3db/storage/StoreError"
import { memory, openOn } from "../fixture.ts"

const keyRing = KeyRing.layerKeys({
  keys: { k: Redacted.make(new Uint8Array(32).fill(7)) },
  current: "k"
})

const options = {
  schema: Schema.Struct({
    id: Id.Random,
    mail: Schema.String,
    country: Schema.String,
    card: Schema.optionalKey(Attribute.Secret(Schema.String))
  }),
  primaryKey: "id",
  partitions: { byCountry: ["country"] },
  unique: { byMail: ["mail"] },
  history: true
} as const

/** What spans say, in the order of their ends. */
const traced = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span(given) {
      const span = new Tracer.NativeSpan(given)
      spans.push(span)
      return span
    }
  })
  const result = yield* Effect.result(Effect.provideService(effect, Tracer.Tracer, tracer))
  const named = (name: string) =>
    spans.filter((span) => span.name === name).map((span) => Object.fromEntries(span.attributes))
  return { result, spans, named }
})

const opened = Effect.gen(function* () {
  const { counter, store } = InstrumentedStore.make(yield* memory)
  const { database } = yield* openOn(store)
  const users = yield* Resource.make(Resource.define("users", options)).pipe(
    Effect.provideService(Database.Database, database)
  )
  yield* counter.reset
  const requests = Effect.map(counter.counts, (counts) => Object.values(counts).reduce((a, b) => a + b, 0))
  return { counter, database, requests, users }
})

const common = {
  "db.system.name": "effect-s3db",
  "db.namespace": "memory:aws",
  "db.collection.name": "users"
}

describe("the span of an operation", () => {
  it.effect("has the resource, the id and the number of requests, as they are counted at the store", () =>
    Effect.gen(function* () {
      const { counter, requests, users } = yield* opened
      const seen = yield* traced(users.insert({ id: "ana", mail: "a@x", country: "BR" }))
      assert.deepStrictEqual(seen.named("Resource.insert"), [
        { ...common, "db.operation.name": "insert", "s3db.document.id": "ana", "s3db.requests": yield* requests }
      ])
      yield* counter.reset
      const made = yield* traced(users.insert({ mail: "b@x", country: "BR" }))
      const bob = made.result._tag === "Success" ? made.result.success.id : ""
      assert.strictEqual(made.named("Resource.insert")[0]!["s3db.document.id"], bob)
      for (const [name, effect, id] of [
        ["get", users.get("ana"), "ana"],
        ["getByUnique", users.getByUnique("byMail", { mail: "b@x" }), bob],
        ["update", users.update("ana", { country: "PT" }), "ana"],
        ["exists", users.exists("ana"), "ana"],
        ["count", users.count(), undefined],
        ["delete", users.delete(bob), bob]
      ] as const) {
        yield* counter.reset
        const { named } = yield* traced(effect as Effect.Effect<unknown, unknown>)
        const count = yield* requests
        assert.isAbove(count, 0)
        assert.deepStrictEqual(named(`Resource.${name}`), [
          {
            ...common,
            "db.operation.name": name,
            ...(id === undefined ? {} : { "s3db.document.id": id }),
            "s3db.requests": count
          }
        ])
      }
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("is there for streams, from the first request to the end", () =>
    Effect.gen(function* () {
      const { counter, requests, users } = yield* opened
      const inputs = Array.from({ length: 5 }, (_, i) => ({ id: `u${i}`, mail: `${i}@x`, country: "BR" }))
      yield* users.insertMany(inputs)
      yield* counter.reset
      const { named, spans } = yield* traced(Stream.runCollect(users.query({ where: { country: "BR" } })))
      const [span] = named("Resource.query")
      assert.deepStrictEqual(span, { ...common, "db.operation.name": "query", "s3db.requests": yield* requests })
      const query = spans.find(({ name }) => name === "Resource.query")!
      for (const { name, parent } of spans.filter(({ name }) => name.startsWith("ObjectStore."))) {
        assert.strictEqual(parent._tag === "Some" ? parent.value.spanId : "", query.spanId, name)
      }
      assert.strictEqual(query.status._tag, "Ended")
      const history = yield* traced(Stream.runCollect(users.history("u1")))
      assert.strictEqual(history.named("Resource.history")[0]!["s3db.document.id"], "u1")
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("says how many documents it was given, and what it failed for", () =>
    Effect.gen(function* () {
      const { users } = yield* opened
      const input = { id: "ana", mail: "a@x", country: "BR" }
      const many = yield* traced(users.insertMany([input, { ...input, id: "bob", mail: "b@x" }]))
      assert.strictEqual(many.named("Resource.insertMany")[0]!["db.operation.batch.size"], 2)
      const removed = yield* traced(users.deleteMany(["x", "y", "z"]))
      assert.strictEqual(removed.named("Resource.deleteMany")[0]!["db.operation.batch.size"], 3)
      const twice = yield* traced(users.insert(input))
      assert.strictEqual(twice.named("Resource.insert")[0]!["error.type"], "AlreadyExists")
      const absent = yield* traced(users.get("nobody"))
      assert.deepStrictEqual(absent.named("Resource.get"), [
        {
          ...common,
          "db.operation.name": "get",
          "s3db.document.id": "nobody",
          "s3db.requests": 1,
          "error.type": "NotFound"
        }
      ])
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("a transaction counts the requests of what is in it, each of which counts its own", () =>
    Effect.gen(function* () {
      const { counter, database, requests, users } = yield* opened
      yield* counter.reset
      const { named } = yield* traced(
        database.transaction(
          Effect.gen(function* () {
            yield* users.insert({ id: "ana", mail: "a@x", country: "BR" })
            yield* users.insert({ id: "bob", mail: "b@x", country: "PT" })
          })
        )
      )
      const all = yield* requests
      assert.strictEqual(named("Database.transaction")[0]!["s3db.requests"], all)
      const inside = named("Resource.insert").map((span) => span["s3db.requests"] as number)
      assert.strictEqual(inside.length, 2)
      for (const count of inside) assert.isAbove(count, 0)
      assert.isBelow(
        inside.reduce((a, b) => a + b),
        all
      )
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("no span has a value of a field", () =>
    Effect.gen(function* () {
      const { users } = yield* opened
      const values = { mail: "mailvalue@x", country: "countryvalue", card: Redacted.make("cardvalue") }
      const all = Effect.gen(function* () {
        yield* users.insert({ id: "ana", ...values })
        yield* users.getByUnique("byMail", { mail: values.mail })
        yield* Stream.runCollect(users.query({ where: { country: "countryvalue" } }))
        yield* Stream.runCollect(users.query({ where: { mail: { startsWith: "mailvalue" } }, scan: true }))
        yield* Effect.flip(users.insert({ id: "bob", ...values }))
        yield* users.update("ana", { country: "othervalue" })
        yield* users.delete("ana")
      })
      const { result, spans } = yield* traced(all)
      assert.strictEqual(result._tag, "Success")
      const told = JSON.stringify(spans.map(({ attributes, name }) => [name, [...attributes]]))
      assert.include(told, "resource=users/partition=byCountry/…")
      assert.include(told, "resource=users/unique=byMail/…")
      assert.include(told, "resource=users/data/id=ana")
      assert.notMatch(told, /mailvalue|countryvalue|cardvalue|othervalue/)
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("where somebody traces, a failure says where in the program the operation was called", () =>
    Effect.gen(function* () {
      const { users } = yield* opened
      const tracer = Tracer.make({ span: (given) => new Tracer.NativeSpan(given) })
      for (const operation of ["get", "getDocument"] as const) {
        const failing = Effect.gen(function* () {
          return yield* users[operation]("nobody")
        })
        const exit = yield* Effect.exit(Effect.provideService(failing, Tracer.Tracer, tracer))
        const told = Cause.pretty(Exit.isFailure(exit) ? exit.cause : Cause.empty)
        assert.match(told, new RegExp(`at Resource\\.${operation} \\(.*operation\\.test\\.ts`))
      }
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("an operation that runs alone fails under its name, as one that is traced or within another", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const description = "down"
      const down = (key: string) =>
        Effect.fail(
          new StoreError.StoreError({
            operation: "get",
            key,
            reason: new StoreError.Unavailable({ description, sent: false })
          })
        )
      const state = { isDown: false }
      const store = {
        ...inner,
        get: (key: string) => (state.isDown ? down(key) : inner.get(key)),
        head: (key: string) => (state.isDown ? down(key) : inner.head(key)),
        put: (request: PutRequest) => (state.isDown ? down(request.key) : inner.put(request))
      }
      const { open } = yield* openOn(store)
      const users = yield* open("users", options)
      const value = yield* users.insert({ id: "ana", mail: "a", country: "br" })
      assert.strictEqual((yield* users.documentOf(value)).id, "ana")
      assert.strictEqual((yield* users.getDocument("ana")).value.mail, "a")
      assert.strictEqual((yield* Effect.flip(users.getDocument("bob")))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(users.documentOf({ ...value })))._tag, "NotFound")
      state.isDown = true
      const changed = { id: "ana", mail: "b", country: "br" }
      const failing = {
        "Resource.getDocument": users.getDocument("ana"),
        "Resource.get": users.get("ana"),
        "Resource.exists": users.exists("ana"),
        "Resource.insert": users.insert({ id: "bob", mail: "b", country: "br" }),
        "Resource.replace": users.replace(changed),
        "Resource.update": users.update("ana", { country: "us" }),
        "Resource.patch": users.patch("ana", { country: "us" })
      }
      for (const [operation, effect] of Object.entries<Effect.Effect<unknown, { readonly _tag: string }>>(failing)) {
        const failed = yield* Effect.flip(effect)
        const under = yield* traced(Effect.flip(effect))
        for (const error of [failed, under.result._tag === "Success" ? under.result.success : undefined]) {
          assert.strictEqual(error instanceof DbError.DbError ? error.operation : undefined, operation)
        }
      }
    }).pipe(Effect.provide(keyRing))
  )

  it.effect("an operation that is run again is begun anew", () =>
    Effect.gen(function* () {
      const { users } = yield* opened
      const insert = users.insert({ mail: "a", country: "br" })
      const one = yield* insert
      assert.strictEqual((yield* Effect.flip(insert))._tag, "UniqueViolation")
      const replace = users.replace({ id: one.id, mail: "b", country: "us" })
      const update = users.update(one.id, ({ country }) => ({ country: `${country}!` }))
      const revisions = new Set<string>()
      for (const again of [replace, replace, update, update]) {
        yield* again
        revisions.add((yield* users.getDocument(one.id)).revision)
      }
      const document = yield* users.getDocument(one.id)
      assert.strictEqual(revisions.size, 4)
      assert.strictEqual(document.version, 5)
      assert.strictEqual(document.value.country, "us!!")
    }).pipe(Effect.provide(keyRing))
  )
})
