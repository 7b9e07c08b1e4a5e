/** A database of s3db.js is left as it is, whatever opens where it is. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Database from "effect-s3db/Database"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { catalog } from "../migration/sixteen.ts"
import { fixture, type StoredObject, storeOf } from "../migration/stored.ts"

const sixteen = catalog([{ name: "users", attributes: { name: "string" } }])
const cut = { ...sixteen, body: Buffer.from(sixteen.body, "base64").subarray(0, -20).toString("base64") }

const databases: Readonly<Record<string, ReadonlyArray<StoredObject>>> = {
  "16": [sixteen],
  "16, whose catalog was cut": [cut],
  "19": fixture("s3db-js-19-5-10").objects,
  "21": fixture("s3db-js-21-6-2").objects
}

describe("opening where a database of s3db.js is", () => {
  for (const [name, objects] of Object.entries(databases)) {
    it.effect(`fails, and changes nothing: ${name}`, () =>
      Effect.gen(function* () {
        const store = yield* storeOf(objects)
        const tagsOf = Effect.map(store.list(), ({ entries }) => entries.map(({ etag, key }) => `${key} ${etag}`))
        const before = yield* tagsOf
        const error = yield* Database.Database.pipe(
          Effect.provide(Database.layer.pipe(Layer.provide(Layer.succeed(ObjectStore, store)))),
          Effect.flip
        )
        assert.strictEqual(error.reason._tag, "Unsupported")
        assert.include(error.message, "s3db.js")
        assert.include(error.message, "S3dbJs")
        assert.deepStrictEqual(yield* tagsOf, before)
      })
    )
  }
})
