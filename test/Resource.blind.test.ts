/** Unique keys by secrets: what they promise, what they show, and how they move to another key. */
import { assert, describe, it } from "@effect/vitest"
import { createHash, createHmac, hkdfSync } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "effect-s3db/Catalog"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as Attributes from "effect-s3db/schema/Attributes"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Pauses from "effect-s3db/testing/Pauses"
import * as Unique from "effect-s3db/Unique"
import {
  bodyOf,
  crashing,
  drive,
  everything,
  keysOf,
  memory,
  moments,
  objectOf,
  openNew,
  openOn,
  tellingOf
} from "./fixture.ts"
import { settled } from "./waiting.ts"

const Token = Schema.Struct({
  id: Schema.String,
  tenant: Schema.String,
  token: Schema.optionalKey(Schema.NullOr(Attribute.SecretText)),
  note: Schema.optionalKey(Schema.String)
})

const options = {
  schema: Token,
  primaryKey: "id",
  scan: true,
  unique: { byToken: { fields: ["token"], blind: true } }
} as const satisfies Resource.Options<typeof Token>

const keyOf = (id: string) => Redacted.make(new Uint8Array(32).fill(id.charCodeAt(0)))
const ringOf = (current: string, ...others: ReadonlyArray<string>) =>
  KeyRing.layerKeys({ current, keys: Object.fromEntries([current, ...others].map((id) => [id, keyOf(id)])) })

const secretOf = (n: number | string) => Redacted.make(`hunter2-${n}-correct-horse`)
const tokenOf = (id: string, n: number | string = id) => ({ id, tenant: "t", token: secretOf(n) })

const tagOf = <A>(effect: Effect.Effect<A, { readonly _tag: string }>) =>
  Effect.map(Effect.result(effect), (result) => (Result.isSuccess(result) ? "ok" : result.failure._tag))

const violationOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => error as unknown as DbError.UniqueViolation)

const reasonOf = (error: { readonly _tag: string }) =>
  error._tag === "DbError" ? (error as DbError.DbError).reason : undefined

type Tokens = Resource.Repository<typeof Token>

/** Also of a repository whose names TypeScript knows. */
interface Finds {
  readonly getByUnique: (
    unique: "byToken",
    values: { readonly token: Redacted.Redacted<string> }
  ) => ReturnType<Tokens["getByUnique"]>
}

const find = (tokens: Finds, n: number | string) => tokens.getByUnique("byToken", { token: secretOf(n) })
const idOf = (tokens: Finds, n: number | string) => Effect.map(find(tokens, n), ({ id }) => id)

/** A program with a ring, which knows the catalog as it is now. */
const program = Effect.fnUntraced(
  function* (store: ObjectStore["Service"], ring: ReturnType<typeof ringOf>) {
    const { database, open } = yield* openOn(store)
    return { database, tokens: yield* open("tokens", options) }
  },
  (effect, _, ring) => Effect.provide(effect, Layer.fresh(ring))
)

const rotate = (tokens: Pick<Tokens, "admin">) =>
  Effect.flatMap(tokens.admin, (admin) => Stream.runCollect(admin.rotate()))

/** Whatever there is that tells of a secret: itself, in base 64, or a digest that anybody can compute of it. */
const formsOf = (text: string): ReadonlyArray<string> => [
  text,
  Buffer.from(text).toString("base64url").slice(0, -3),
  ...[text, JSON.stringify(text), JSON.stringify([text])].flatMap((one) => {
    const digest = createHash("sha256").update(one).digest()
    return [digest.toString("base64url"), digest.toString("base64"), digest.toString("hex")]
  })
]

const hunt = Effect.fnUntraced(function* (store: ObjectStore["Service"], texts: ReadonlyArray<string>) {
  for (const key of yield* keysOf(store)) {
    const shown = `${key} ${decodeURIComponent(key)} ${everything(yield* Effect.orDie(store.get(key)))}`
    for (const form of texts.flatMap(formsOf)) assert.notInclude(shown, form, key)
  }
})

const reservations = (store: ObjectStore["Service"]) => keysOf(store, "resource=tokens/unique=")

describe("blind unique keys", () => {
  it.effect("a secret belongs to one document, through every kind of write, and finds it", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const tokens = yield* open("tokens", { ...options, history: true })
      yield* tokens.insert(tokenOf("1"))
      yield* tokens.insert({ id: "2", tenant: "t" })
      yield* tokens.insert({ id: "3", tenant: "t", token: null })
      assert.strictEqual(yield* idOf(tokens, 1), "1")
      assert.strictEqual(yield* tagOf(find(tokens, 2)), "NotFound")
      const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly message: string }>> = [
        tokens.insert(tokenOf("4", 1)),
        tokens.update("2", { token: secretOf(1) }),
        tokens.patch("3", { token: secretOf(1) }),
        tokens.replace(tokenOf("4", 1)),
        tokens.upsert(tokenOf("4", 1)),
        tokens.insertJson({ id: "4", tenant: "t", token: Redacted.value(secretOf(1)) })
      ]
      for (const attempt of attempts) {
        const error = yield* violationOf(attempt)
        assert.deepInclude(error, { _tag: "UniqueViolation", unique: "byToken", fields: ["token"], id: "1" })
        assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "hunter2")
      }
      yield* tokens.update("1", { note: "kept" })
      assert.strictEqual((yield* find(tokens, 1)).note, "kept")
      yield* tokens.update("1", { token: secretOf("new") })
      assert.strictEqual(yield* idOf(tokens, "new"), "1")
      assert.strictEqual(yield* tagOf(find(tokens, 1)), "NotFound")
      yield* tokens.patch("2", { token: secretOf(1) })
      assert.strictEqual(yield* idOf(tokens, 1), "2")
      yield* tokens.delete("2")
      assert.strictEqual(yield* tagOf(find(tokens, 1)), "NotFound")
      yield* tokens.restore("1", { version: 1 })
      assert.strictEqual(yield* idOf(tokens, 1), "1")
      const findings = yield* Stream.runCollect((yield* tokens.admin).repair())
      assert.deepStrictEqual(
        findings.map(({ kind }) => kind),
        []
      )
      assert.strictEqual((yield* reservations(store)).length, 1)
      yield* hunt(
        store,
        ["1", "new"].map((n) => Redacted.value(secretOf(n)))
      )
    }).pipe(Effect.provide(ringOf("a")))
  )

  it.effect("requests: those of any unique key", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database } = yield* openOn(store)
      const seen: Array<string> = []
      const counted: ObjectStore["Service"] = {
        ...store,
        put: (one) => Effect.suspend(() => (seen.push("put"), store.put(one))),
        get: (...args) => Effect.suspend(() => (seen.push("get"), store.get(...args))),
        delete: (...args) => Effect.suspend(() => (seen.push("delete"), store.delete(...args)))
      }
      const tokens = yield* Resource.make(Resource.define("tokens", options)).pipe(
        Effect.provideService(Database.Database, { ...database, store: counted })
      )
      const requests = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          seen.length = 0
          return Effect.map(effect, () => seen.join(" "))
        })
      assert.strictEqual(yield* requests(tokens.insert(tokenOf("1"))), "put put")
      assert.strictEqual(yield* requests(find(tokens, 1)), "get get")
      const base = yield* tokens.getDocument("1")
      assert.strictEqual(yield* requests(tokens.update(base, { note: "x" })), "put")
      const next = yield* tokens.getDocument("1")
      assert.strictEqual(yield* requests(tokens.update(next, { token: secretOf(2) })), "put put delete")
    }).pipe(Effect.provide(ringOf("a")))
  )

  it.effect("options of other unique keys: case, several fields, secrets of other types", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const schema = Schema.Struct({
        id: Schema.String,
        tenant: Schema.String,
        code: Attribute.SecretText,
        pin: Attribute.Secret(Schema.Date),
        deep: Schema.Struct({ json: Attribute.SecretJson, other: Schema.String })
      })
      const codes = yield* open("codes", {
        schema,
        primaryKey: "id",
        unique: {
          code: { fields: ["code"], ignoreCase: true, blind: true },
          pin: { fields: ["tenant", "pin"], blind: true },
          json: { fields: ["deep.json"], blind: true }
        }
      })
      const made = (id: string, code: string, tenant: string, pin: number, json: Schema.Json) => ({
        id,
        tenant,
        code: Redacted.make(code),
        pin: Redacted.make(new Date(pin)),
        deep: { json: Redacted.make(json), other: "o" }
      })
      yield* codes.insert(made("1", "Caf\u00e9", "t", 5, { a: [1, { b: 2, c: 3 }] }))
      const violated = (input: ReturnType<typeof made>) =>
        Effect.map(Effect.flip(codes.insert(input)), (error) => (error as DbError.UniqueViolation).unique)
      assert.strictEqual(yield* violated(made("2", "CAFE\u0301", "u", 6, 1)), "code")
      assert.strictEqual(yield* violated(made("2", "x", "t", 5, 1)), "pin")
      assert.strictEqual(yield* violated(made("2", "x", "u", 5, { a: [1, { c: 3, b: 2 }] })), "json")
      yield* codes.insert(made("2", "x", "u", 5, 1))
      const ids = yield* Effect.all([
        codes.getByUnique("code", { code: Redacted.make("CAF\u00c9") }),
        codes.getByUnique("pin", { tenant: "u", pin: Redacted.make(new Date(5)) }),
        codes.getByUnique("json", { "deep.json": Redacted.make({ a: [1, { c: 3, b: 2 }] }) })
      ])
      assert.deepStrictEqual(
        ids.map(({ id }) => id),
        ["1", "2", "1"]
      )
      for (const wrong of ["Caf\u00e9", 5, undefined, null, Redacted.make(5), {}]) {
        const error = yield* Effect.flip(codes.getByUnique("code", { code: wrong }))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.notInclude(error.message, "Caf")
      }
      const admin = yield* codes.admin
      assert.include((yield* Effect.flip(admin.removeUnique("wrong"))).message, "code, pin, json")
    }).pipe(Effect.provide(ringOf("a")))
  )

  it.effect("the digest is HMAC-SHA-256 under a key of its own, and others in every resource and database", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const other = yield* openNew
      const twice = { ...options, unique: { ...options.unique, again: { fields: ["token"], blind: true } } } as const
      yield* (yield* open("tokens", twice)).insert(tokenOf("1"))
      yield* (yield* open("others", options)).insert(tokenOf("1"))
      yield* (yield* other.open("tokens", options)).insert(tokenOf("1"))
      const keys = [...(yield* keysOf(store, "resource=")), ...(yield* keysOf(other.store, "resource="))]
      const digests = keys.flatMap((key) => /unique=([^/]+)\/([\w-]+)$/.exec(key)?.slice(2) ?? [])
      assert.strictEqual(digests.length, 4)
      assert.strictEqual(new Set(digests).size, 4)

      // As another program would compute it.
      const catalog = JSON.parse(new TextDecoder().decode((yield* store.get(Catalog.key)).body)) as {
        readonly salt: string
        readonly resources: Record<string, { readonly uniques: Record<string, { readonly keys: unknown }> }>
      }
      const salt = Buffer.from(catalog.salt, "base64")
      const framed = (...parts: ReadonlyArray<string>) => parts.map((part) => `${part.length}:${part}`).join("")
      const derive = (info: string, length: number) =>
        Buffer.from(hkdfSync("sha256", Redacted.value(keyOf("a")), salt, info, length))
      const hmac = createHmac("sha256", derive(framed("effect-s3db", "blind", "tokens", "byToken"), 32))
      const digest = hmac.update(JSON.stringify([Redacted.value(secretOf(1))])).digest("base64url")
      const [kept] = catalog.resources["tokens"]!.uniques["byToken"]!.keys as ReadonlyArray<Catalog.UniqueKey>
      assert.deepStrictEqual(kept, {
        id: kept!.id,
        key: derive(framed("effect-s3db", "blind", "id"), 8).toString("hex"),
        state: "ready"
      })
      assert.match(kept!.id, /^[0-9a-f]{16}$/)
      assert.include(keys, `resource=tokens/unique=byToken%3A${kept!.id}/${digest}`)
      const claims = bodyOf(yield* objectOf(store, "tokens", "1"))["u"] as Record<string, ReadonlyArray<string>>
      assert.strictEqual(claims[`byToken:${kept!.id}`]![0], digest)
      yield* hunt(store, [Redacted.value(secretOf(1))])
    }).pipe(Effect.provide(ringOf("a")))
  )

  it("declarations: secrets with blind, nothing else of what is hidden, and not without one", () => {
    const schema = Schema.Struct({
      id: Schema.String,
      name: Schema.String,
      token: Attribute.SecretText,
      password: Attribute.Password,
      s: Schema.Struct({ token: Attribute.SecretText, other: Schema.String })
    })
    const define = (unique: Readonly<Record<string, Unique.Options>>) => () =>
      Resource.define("x", { schema, primaryKey: "id", unique: unique as never })
    const blind = (...fields: ReadonlyArray<string>) => define({ u: { fields, blind: true } })
    for (const fine of [blind("token"), blind("name", "token"), blind("s.token"), blind("s.other", "token")]) fine()
    for (const [wrong, what] of [
      [define({ u: ["token"] }), "unless the key says blind: true"],
      [define({ u: { fields: ["name", "token"] } }), "unless the key says blind: true"],
      [define({ u: { fields: ["token"], blind: false } }), "unless the key says blind: true"],
      [blind("name"), "none of its fields is secret"],
      [blind("password"), "nothing is found by a password; look the document up by another field, and verify it"],
      [blind("token", "password"), "the hashes of equal ones differ"],
      [define({ u: ["password"] }), "the hashes of equal ones differ"],
      [blind("token", "s"), "holds the secret s.token"],
      [blind("token", "s.token.x"), "is part of the secret s.token"],
      [define({ "u:0123456789abcdef": ["name"] }), "has the name of a blind unique key"]
    ] as const) {
      assert.throws(wrong, Attributes.UnsupportedSchema, what)
    }
    assert.deepStrictEqual(blind("token")().uniques, { u: { fields: [["token"]], ignoreCase: false, blind: true } })
  })

  it.effect("in a transaction: swapped, looked up, and refused as a whole", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openNew
      const tokens = yield* open("tokens", options)
      yield* tokens.insertMany([tokenOf("1"), tokenOf("2")])
      const swap = Effect.gen(function* () {
        yield* tokens.update("1", { token: secretOf(2) })
        yield* tokens.update("2", { token: secretOf(1) })
        assert.strictEqual(yield* idOf(tokens, 1), "2")
      })
      yield* database.transaction(swap)
      assert.deepStrictEqual([yield* idOf(tokens, 1), yield* idOf(tokens, 2)], ["2", "1"])
      const taken = Effect.andThen(tokens.insert(tokenOf("3")), tokens.insert(tokenOf("4", 1)))
      assert.strictEqual(yield* tagOf(database.transaction(taken)), "UniqueViolation")
      assert.isFalse(yield* tokens.exists("3"))
    }).pipe(Effect.provide(ringOf("a")))
  )

  it.effect("declared later it is built by a backfill; removed, nothing of it is left", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { unique: _, ...plain } = options
      const before = yield* (yield* openOn(store)).open("tokens", plain)
      yield* before.insertMany([tokenOf("1"), tokenOf("2"), tokenOf("3", 1)])
      const tokens = yield* (yield* openOn(store)).open("tokens", options)
      assert.strictEqual(reasonOf(yield* Effect.flip(find(tokens, 2)))?._tag, "Incomplete")
      const { backfill, removeUnique } = yield* tokens.admin
      const { told: outcomes } = yield* tellingOf(backfill())
      assert.deepStrictEqual(
        outcomes.map(({ id, violations }) => [id, violations[0]?.id]),
        [
          ["1", undefined],
          ["2", undefined],
          ["3", "1"]
        ]
      )
      yield* tokens.update("3", { token: secretOf(3) })
      yield* Stream.runDrain(backfill())
      for (const n of [1, 2, 3]) assert.strictEqual(yield* idOf(tokens, n), `${n}`)
      assert.strictEqual(yield* removeUnique("byToken"), 3)
      assert.deepStrictEqual(yield* reservations(store), [])
      // Declared anew, it is under other names: what documents say of the former one counts for nothing.
      const again = yield* (yield* openOn(store)).open("tokens", options)
      yield* Stream.runDrain((yield* again.admin).backfill())
      for (const n of [1, 2, 3]) assert.strictEqual(yield* idOf(again, n), `${n}`)
      assert.strictEqual(yield* tagOf(again.insert(tokenOf("4", 2))), "UniqueViolation")
      assert.deepStrictEqual(yield* Stream.runCollect((yield* again.admin).repair()), [])
    }).pipe(Effect.provide(ringOf("a")))
  )

  it.effect("who opens it from the catalog keeps it up, and finds by it", () =>
    Effect.gen(function* () {
      const { database, open } = yield* openOn(yield* memory)
      yield* (yield* open("tokens", options)).insert(tokenOf("1"))
      const { database: another } = yield* openOn(database.store)
      const tokens = yield* Effect.flatMap(Resource.fromCatalog("tokens"), Resource.make).pipe(
        Effect.provideService(Database.Database, another)
      )
      const found = yield* tokens.getByUnique("byToken", { token: secretOf(1) })
      assert.strictEqual(found["id"], "1")
      assert.strictEqual(yield* tagOf(tokens.insert({ ...tokenOf("2", 1) })), "UniqueViolation")
    }).pipe(Effect.provide(ringOf("a")))
  )
})

describe("programs of several versions and rings", () => {
  it.effect(
    "a program that does not know the field leaves the reservation as it is, and removes it with the document",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const { tokens } = yield* program(store, ringOf("a"))
        yield* tokens.insertMany([tokenOf("1"), tokenOf("2")])
        const Older = Schema.Struct({ id: Schema.String, tenant: Schema.String })
        const older = yield* (yield* openOn(store)).open("tokens", { schema: Older, primaryKey: "id", scan: true })
        yield* older.update("1", { tenant: "u" })
        yield* older.insert({ id: "3", tenant: "t" })
        assert.strictEqual(yield* idOf(tokens, 1), "1")
        assert.strictEqual(yield* tagOf(tokens.insert(tokenOf("4", 1))), "UniqueViolation")
        // It says of nothing that it is complete.
        yield* Stream.runDrain((yield* older.admin).backfill())
        yield* older.delete("2")
        assert.strictEqual((yield* reservations(store)).length, 1)
        yield* tokens.insert(tokenOf("4", 2))
        assert.deepStrictEqual(yield* Stream.runCollect((yield* tokens.admin).repair()), [])
      })
  )

  it.effect("a backfill or rotation by a program that cannot tell the secret completes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { unique: _, ...plain } = options
      const before = yield* Effect.provide((yield* openOn(store)).open("tokens", plain), ringOf("a"))
      yield* before.insert(tokenOf("1"))
      const { tokens } = yield* program(store, ringOf("a"))
      const Older = Schema.Struct({ id: Schema.String, tenant: Schema.String })
      const older = yield* Effect.provide(
        (yield* openOn(store)).open("tokens", { schema: Older, primaryKey: "id", scan: true }),
        Layer.fresh(ringOf("b", "a"))
      )
      const { unfinished } = yield* tellingOf((yield* older.admin).backfill())
      assert.include(unfinished?.message, "unique key byToken of tokens is not complete")
      const again = yield* program(store, ringOf("a"))
      assert.strictEqual(reasonOf(yield* Effect.flip(find(again.tokens, 1)))?._tag, "Incomplete")
      yield* Stream.runDrain((yield* tokens.admin).backfill())
      assert.strictEqual(yield* idOf(tokens, 1), "1")
      const late = yield* Effect.provide(
        (yield* openOn(store)).open("tokens", { schema: Older, primaryKey: "id", scan: true }),
        Layer.fresh(ringOf("b", "a"))
      )
      const rotating = Stream.runDrain((yield* late.admin).rotate())
      const refused = reasonOf(yield* Effect.flip(rotating))
      assert.include(refused?.description, "by fields that this program does not know")
      assert.strictEqual(yield* idOf((yield* program(store, ringOf("a"))).tokens, 1), "1")
    })
  )

  it.effect("two programs at once, one with the older ring: unique and found by both, until the key is moved", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const older = yield* program(store, ringOf("a"))
      yield* older.tokens.insert(tokenOf("1"))
      const newer = yield* program(store, ringOf("b", "a"))
      yield* newer.tokens.insert(tokenOf("2"))
      yield* older.tokens.insert(tokenOf("3"))
      for (const n of [1, 3]) {
        assert.strictEqual(yield* idOf(newer.tokens, n), `${n}`)
        assert.strictEqual(yield* idOf(older.tokens, n), `${n}`)
      }
      // What a newer key has sealed the older program cannot read, but it does not take its secret either.
      assert.strictEqual(reasonOf(yield* Effect.flip(find(older.tokens, 2)))?._tag, "SecretUnreadable")
      for (const n of [1, 2, 3]) {
        assert.strictEqual(yield* tagOf(older.tokens.insert(tokenOf("4", n))), "UniqueViolation")
        assert.strictEqual(yield* tagOf(newer.tokens.insert(tokenOf("4", n))), "UniqueViolation")
      }
    })
  )

  it.effect("a rotation: lookups and uniqueness hold at every step; who has not the new key is refused", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const older = yield* program(store, ringOf("a"))
      const all = ["1", "2", "3", "4"]
      yield* older.tokens.insertMany(all.map((id) => tokenOf(id)))
      yield* older.tokens.insert({ id: "5", tenant: "t" })
      const newer = yield* program(store, ringOf("b", "a"))
      const another = yield* program(store, ringOf("a", "b"))
      const steps: Array<string> = []
      const holds = Effect.fnUntraced(function* (what: string, present: ReadonlyArray<string>) {
        for (const { database, tokens } of [newer, another]) {
          yield* database.refresh
          for (const id of present) {
            assert.strictEqual(yield* idOf(tokens, id), id, what)
            assert.strictEqual(yield* tagOf(tokens.insert(tokenOf("x", id))), "UniqueViolation", what)
            assert.strictEqual(yield* tagOf(tokens.update("5", { token: secretOf(id) })), "UniqueViolation", what)
          }
          assert.strictEqual(yield* tagOf(find(tokens, "none")), "NotFound", what)
        }
      })
      yield* holds("before", all)
      const step = Effect.fnUntraced(function* (id: string) {
        steps.push(id)
        yield* holds(`after ${id}`, all)
        // New ones come and go meanwhile.
        yield* another.tokens.insert(tokenOf(`new ${id}`))
        yield* holds(`new ${id}`, [...all, `new ${id}`])
        assert.strictEqual(yield* tagOf(newer.tokens.insert(tokenOf("y", `new ${id}`))), "UniqueViolation")
        yield* newer.tokens.update(`new ${id}`, { token: secretOf(`changed ${id}`) })
        assert.strictEqual(yield* idOf(another.tokens, `changed ${id}`), `new ${id}`)
        yield* another.tokens.delete(`new ${id}`)
        // The older program finds what it can read, and makes nothing that would be missing.
        yield* older.database.refresh
        const refused = reasonOf(yield* Effect.flip(older.tokens.insert(tokenOf("z"))))
        assert.deepInclude(refused, { _tag: "Unsupported", feature: "a blind unique key under another key" })
        assert.strictEqual(yield* tagOf(older.tokens.update("5", { note: id })), "ok")
        assert.strictEqual(
          reasonOf(yield* Effect.flip(older.tokens.update("5", { token: secretOf("z") })))?._tag,
          "Unsupported"
        )
      })
      const { rotate } = yield* newer.tokens.admin
      const outcomes = yield* rotate({ concurrency: 1 }).pipe(
        Stream.tap(({ id, of }) => (of === "document" && all.includes(id) ? step(id) : Effect.void)),
        Stream.runCollect
      )
      assert.deepStrictEqual(steps, all)
      assert.isTrue(outcomes.every(({ error }) => error === undefined))
      yield* holds("at the end", all)
      assert.strictEqual((yield* reservations(store)).length, all.length)

      yield* older.database.refresh
      const lost = reasonOf(yield* Effect.flip(find(older.tokens, 1)))
      assert.deepInclude(lost, { _tag: "Unsupported", feature: "a blind unique key under another key" })
      // The former key is not needed any more.
      const { tokens } = yield* program(store, ringOf("b"))
      for (const id of all) assert.strictEqual(yield* idOf(tokens, id), id)
      assert.strictEqual(yield* tagOf(tokens.insert(tokenOf("x", 1))), "UniqueViolation")
      const again = yield* Effect.flatMap(tokens.admin, (admin) => Stream.runCollect(admin.rotate()))
      assert.isTrue(again.every(({ rewritten }) => !rewritten))
      assert.deepStrictEqual(yield* Stream.runCollect((yield* tokens.admin).repair()), [])
      yield* hunt(
        store,
        all.map((n) => Redacted.value(secretOf(n)))
      )
    })
  )

  it.effect("a rotation that is given up, goes on elsewhere or goes back completes nothing that it has not seen", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const first = yield* program(store, ringOf("a"))
      const all = ["1", "2", "3"]
      yield* first.tokens.insertMany(all.map((id) => tokenOf(id)))
      const states = Effect.gen(function* () {
        const { database } = yield* openOn(store)
        const { uniques = {} } = yield* database.indexes("tokens")
        return (uniques["byToken"]?.keys ?? []).map(({ state }) => state)
      })
      const holds = Effect.fnUntraced(function* (ring: ReturnType<typeof ringOf>) {
        const { tokens } = yield* program(store, ring)
        for (const id of all) {
          assert.strictEqual(yield* idOf(tokens, id), id)
          assert.strictEqual(yield* tagOf(tokens.insert(tokenOf("x", id))), "UniqueViolation")
        }
      })
      const run = Effect.fnUntraced(function* (
        ring: ReturnType<typeof ringOf>,
        options?: { readonly after: string },
        take = Infinity
      ) {
        const { tokens } = yield* program(store, ring)
        const stream = (yield* tokens.admin).rotate({ concurrency: 1, ...options })
        yield* Stream.runDrain(take === Infinity ? stream : Stream.take(stream, take))
      })
      yield* run(ringOf("b", "a"), undefined, 1)
      assert.deepStrictEqual(yield* states, ["ready", "building"])
      yield* holds(ringOf("b", "a"))
      yield* run(ringOf("b", "a"), { after: "1" })
      assert.deepStrictEqual(yield* states, ["ready", "building"])
      // Another key, and back to the first one: each move has its own reservations.
      yield* run(ringOf("c", "a", "b"), undefined, 2)
      yield* holds(ringOf("c", "a", "b"))
      yield* run(ringOf("a", "b", "c"))
      assert.deepStrictEqual(yield* states, ["ready"])
      yield* holds(ringOf("a", "b", "c"))
      yield* run(ringOf("b", "a", "c"))
      yield* run(ringOf("a", "b"))
      yield* run(ringOf("b", "a"))
      assert.deepStrictEqual(yield* states, ["ready"])
      yield* holds(ringOf("b"))
      // Who has lost the key under which it is kept moves it nowhere.
      const { tokens } = yield* program(store, ringOf("d"))
      const refused = reasonOf(yield* Effect.flip(rotate(tokens)))
      assert.include(refused?.description, "kept under a key that this program has not")
      yield* holds(ringOf("b"))
    })
  )

  it.effect(
    "a rotation that crashes at any request, before or after it, can be run again, and nothing is lost meanwhile",
    () =>
      Effect.gen(function* () {
        for (const when of moments) {
          for (let at = 1, isDone = false; !isDone; at++) {
            const store = yield* memory
            const { tokens } = yield* program(store, ringOf("a"))
            yield* tokens.insertMany([tokenOf("1"), tokenOf("2")])
            const crash = crashing(store, at, when)
            const dying = yield* Effect.provide(
              Resource.make(Resource.define("tokens", options)).pipe(
                Effect.flatMap(rotate),
                Effect.provide(
                  Layer.effect(
                    Database.Database,
                    Effect.map(openOn(crash.store), (opened) => opened.database)
                  )
                ),
                Effect.exit
              ),
              Layer.fresh(ringOf("b", "a"))
            )
            isDone = Exit.isSuccess(dying)
            const what = `${when} ${at}`
            const after = yield* program(store, ringOf("b", "a"))
            for (const id of ["1", "2"]) {
              assert.strictEqual(yield* idOf(after.tokens, id), id, what)
              assert.strictEqual(yield* tagOf(after.tokens.insert(tokenOf("x", id))), "UniqueViolation", what)
            }
            yield* TestClock.adjust("2 minutes")
            yield* rotate(after.tokens)
            const { tokens: last } = yield* program(store, ringOf("b"))
            for (const id of ["1", "2"]) {
              assert.strictEqual(yield* idOf(last, id), id, what)
              assert.strictEqual(yield* tagOf(last.insert(tokenOf("x", id))), "UniqueViolation", what)
            }
            assert.isBelow(at, 100)
          }
        }
      })
  )

  it.effect("a program that learns of a rotation by its lease alone leaves nothing that is not found afterwards", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const leased = Effect.fnUntraced(function* () {
        const database = yield* Effect.provideService(Database.make(), ObjectStore, store)
        return yield* Effect.provideService(
          Resource.make(Resource.define("tokens", options)),
          Database.Database,
          database
        )
      })
      const { tokens: first } = yield* program(store, ringOf("a"))
      yield* first.insert(tokenOf("0"))
      const rotating = yield* leased()
      const other = yield* leased()
      yield* TestClock.adjust("6 seconds")
      yield* other.insert(tokenOf("1"))
      const fiber = yield* Effect.forkChild(rotate(rotating))
      yield* settled
      yield* TestClock.adjust("3 seconds")
      // It has looked 3 seconds ago, and does not know.
      yield* other.insert(tokenOf("2"))
      yield* other.update("1", { note: "changed" })
      // Nor does it lose sight of what it finds by the former key.
      while (fiber.pollUnsafe() === undefined) {
        yield* drive(yield* Effect.forkChild(Effect.sleep("250 millis")), "250 millis")
        assert.strictEqual(yield* idOf(other, 0), "0")
      }
      yield* Fiber.join(fiber)
      yield* TestClock.adjust("1 second")
      for (const id of ["0", "1", "2"]) {
        for (const tokens of [rotating, other]) {
          assert.strictEqual(yield* idOf(tokens, id), id)
          assert.strictEqual(yield* tagOf(tokens.insert(tokenOf("x", id))), "UniqueViolation")
        }
      }
      yield* TestClock.adjust("2 minutes")
      const findings = yield* Stream.runCollect((yield* rotating.admin).repair())
      assert.deepStrictEqual(findings, [])
    }).pipe(Effect.provide(ringOf("b", "a")), Pauses.byClock)
  )

  it.effect("without a ring, or before it has a key: a typed refusal, and nothing written", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { tokens } = yield* program(store, ringOf("a"))
      yield* tokens.insert(tokenOf("1"))
      const { tokens: strangers } = yield* program(store, ringOf("z"))
      const found = reasonOf(yield* Effect.flip(find(strangers, 1)))
      assert.include(found?.description, "add to its KeyRing the keys that other programs have")
      const inserted = reasonOf(yield* Effect.flip(strangers.insert(tokenOf("2", 1))))
      assert.deepInclude(inserted, { _tag: "Unsupported", feature: "a blind unique key under another key" })
      assert.isFalse(yield* tokens.exists("2"))
      yield* strangers.insert({ id: "3", tenant: "t" })
      // Nobody takes a password for a secret.
      const schema = Schema.Struct({ id: Schema.String, password: Attribute.Password })
      const hasher = PasswordHasher.layerWith({ algorithm: PasswordHasher.argon2id({ memory: 64, passes: 1 }) })
      const logins = yield* Effect.provide((yield* openOn(store)).open("logins", { schema, primaryKey: "id" }), hasher)
      const error = yield* Effect.flip(logins.getByUnique("password", { password: Redacted.make("x") }))
      assert.strictEqual(error._tag, "InvalidInput")
    })
  )
})
