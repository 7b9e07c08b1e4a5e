/** What nobody has asked for: what is secret stays as it is stored, what belongs to plugins is not there, and mistakes of the program say nothing. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as PasswordHash from "effect-s3db/schema/PasswordHash"
import * as PasswordHasher from "effect-s3db/crypto/PasswordHasher"
import * as Bans from "effect-s3db/http/Bans"
import * as HttpResources from "effect-s3db/http/HttpResources"
import * as Resource from "effect-s3db/Resource"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { Api, Auth, Data, isProblem, notes, serve, Users, users } from "./api.ts"

const routes = HttpResources.layer(Api, [users, notes])

describe("a change over HTTP", () => {
  it.effect("of one field hashes no password again, and seals no secret twice", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Data)
      const api = yield* serve(routes.pipe(Layer.provide([Layer.succeedContext(context), Auth])))
      const stored = Effect.gen(function* () {
        const store = yield* ObjectStore
        const { entries } = yield* store.list({ prefix: "resource=users/data/" })
        const { body, metadata } = yield* store.get(entries[0]!.key)
        const { password } = yield* (yield* Users).get("ana")
        const text = new TextDecoder().decode(body)
        return { hash: PasswordHash.toText(password!), text: JSON.stringify(metadata) + text }
      }).pipe(Effect.provideContext(context))
      const password = "correct horse battery"
      const body = { id: "ana", name: "Ana", age: 30, country: "BR", password, token: "s3cr3t" }
      assert.strictEqual((yield* api.send("POST", "/api/users", { body })).status, 201)
      const before = yield* stored
      assert.notInclude(before.text, "s3cr3t")
      assert.strictEqual((yield* api.send("PATCH", "/api/users/ana", { body: { age: 31 } })).status, 200)
      const bulk = { items: [{ id: "ana", changes: { name: "Ana B." } }] }
      assert.strictEqual((yield* api.send("PATCH", "/api/users/-/bulk", { body: bulk })).status, 200)
      assert.strictEqual((yield* stored).hash, before.hash)
      const user = yield* Effect.provideContext(
        Effect.flatMap(Users, (all) => all.get("ana")),
        context
      )
      assert.deepStrictEqual([user.age, user.name], [31, "Ana B."])
      assert.strictEqual(Redacted.value(user.token!), "s3cr3t")
      const { verify } = yield* Effect.provideContext(PasswordHasher.PasswordHasher, context)
      assert.isTrue(yield* verify(Redacted.make(password), user.password as never))
    })
  )
})

describe("the resource of a plugin", () => {
  it.effect("is not there, unless it is named", () =>
    Effect.gen(function* () {
      const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
      const context = yield* Layer.build(Data)
      const given = Layer.succeedContext(context)
      const banned = Bans.layer({ keyOf: () => undefined }).pipe(Layer.provide([limiter, given]))
      const api = yield* serve(Layer.merge(routes.pipe(Layer.provide([given, Auth])), banned) as never)
      isProblem(yield* api.send("GET", "/api/plg_bans_bans", { as: "admin" }), 404, "NoSuchPath")
      isProblem(yield* api.send("GET", "/api/plg_bans_bans/x", { as: "admin" }), 404, "NoSuchPath")
      const named = yield* HttpResources.exposeFromCatalog("plg_bans_bans").pipe(Effect.provideContext(context))
      const Named = HttpResources.api("named", [named], { prefix: "/api" })
      const other = yield* serve(HttpResources.layer(Named, [named]).pipe(Layer.provide([given, Auth])))
      const list = yield* other.send("GET", "/api/plg_bans_bans")
      assert.deepStrictEqual(list.json, { items: [] })
    })
  )
})

describe("a mistake of the program", () => {
  const mistakes = {
    "a defect": () => Effect.die(new Error("the password is 1234")),
    "an exception": (): never => {
      throw new TypeError("the password is 1234")
    },
    "no error at all": () => Effect.die({ password: 1234, stack: "at secret.ts:1234" })
  }

  it.effect.each(Object.keys(mistakes) as Array<keyof typeof mistakes>)("is 500, and tells nothing: %s", (name) =>
    Effect.gen(function* () {
      const wrong = Resource.intercept(Users, { operations: ["get", "query", "list"], around: mistakes[name] })
      const api = yield* serve(routes.pipe(Layer.provide([Layer.provideMerge(wrong, Data), Auth])) as never)
      for (const path of ["/api/users/ana", "/api/users", "/api/users/-/export.csv"]) {
        const answer = yield* api.send("GET", path)
        isProblem(answer, 500, "InternalError")
        assert.notMatch(answer.text, /1234|\.ts|password|at /, path)
        assert.deepStrictEqual(Object.keys(answer.json).toSorted(), [
          "code",
          "detail",
          "requestId",
          "status",
          "title",
          "type"
        ])
      }
    })
  )
})
