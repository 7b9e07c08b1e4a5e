/** What `docs/guide/connecting.md` says of rights: who may only read can open a database and read it; it writes nothing by that. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Database from "effect-s3db/Database"
import * as Resource from "effect-s3db/Resource"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { AccessDenied, type Operation, StoreError } from "effect-s3db/storage/StoreError"

class Users extends Resource.Service<Users>()("app/users", {
  schema: Schema.Struct({ id: Schema.String, mail: Schema.String, country: Schema.String }),
  primaryKey: "id",
  partitions: { byCountry: ["country"] },
  unique: { byMail: ["mail"] }
}) {}

/** The store for whoever has `s3:GetObject` and `s3:ListBucket` alone. */
const readOnly = (store: ObjectStore["Service"], refused: Array<Operation>): ObjectStore["Service"] => {
  const deny = (operation: Operation) =>
    Effect.suspend(() => {
      refused.push(operation)
      const reason = new AccessDenied({ description: "the credentials do not allow this", status: 403 })
      return Effect.fail(new StoreError({ operation, reason }))
    })
  return {
    ...store,
    put: () => deny("put"),
    delete: () => deny("delete"),
    deleteMany: () => deny("deleteMany"),
    copy: () => deny("copy")
  }
}

const on = (store: ObjectStore["Service"]) =>
  Users.layer.pipe(Layer.provide(Layer.fresh(Database.layer)), Layer.provide(Layer.succeed(ObjectStore, store)))

describe("who may only read", () => {
  it.effect("opens a database, and reads it in every way", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const insert = Effect.flatMap(Users, (users) =>
        users.insert({ id: "ana", mail: "ana@example.org", country: "BR" })
      )
      yield* Effect.provide(insert, on(store))

      const refused: Array<Operation> = []
      yield* Effect.gen(function* () {
        const users = yield* Users
        assert.strictEqual((yield* users.get("ana")).country, "BR")
        assert.isTrue(yield* users.exists("ana"))
        assert.strictEqual((yield* users.getByUnique("byMail", { mail: "ana@example.org" })).id, "ana")
        assert.lengthOf(yield* Stream.runCollect(users.scan()), 1)
        const found = users.scan({ partition: "byCountry", values: { country: "BR" } })
        assert.lengthOf(yield* Stream.runCollect(found), 1)
        assert.lengthOf((yield* users.queryPage({ where: { country: "BR" }, limit: 10 })).items, 1)
        assert.strictEqual(yield* users.count(), 1)
        assert.deepStrictEqual(refused, [])

        const denied = yield* Effect.flip(users.insert({ id: "bo", mail: "bo@example.org", country: "PT" }))
        assert.strictEqual(denied._tag === "DbError" ? denied.reason._tag : denied._tag, "AccessDenied")
        assert.isAbove(refused.length, 0)
      }).pipe(Effect.provide(on(readOnly(store, refused))))
    }).pipe(Effect.scoped)
  )
})
