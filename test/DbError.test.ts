import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as DbError from "effect-s3db/DbError"
import * as StoreError from "effect-s3db/storage/StoreError"

describe("DbError", () => {
  it("says what and where", () => {
    const where = { resource: "users", id: "7" }
    assert.include(new DbError.NotFound(where).message, '"7"')
    assert.include(new DbError.AlreadyExists(where).message, "already")
    assert.include(new DbError.Conflict({ ...where, revision: "r" }).message, "changed")
    assert.include(DbError.invalidField("users", ["a", 0], "Expected x").message, "a.0: Expected x")
    assert.include(DbError.invalidField("users", [], "Expected x").message, "Expected x")
    const denied = new DbError.NotAllowed({ resource: "users", operation: "deleteAll", description: "no" })
    assert.include(denied.message, "deleteAll")
    const reason = new StoreError.Throttled({ description: "slow down" })
    const error = DbError.make("Resource.get", reason, "users")
    assert.strictEqual(error.message, "Resource.get on users failed: Throttled: slow down")
    assert.strictEqual(DbError.make("Database.open", reason).message, "Database.open failed: Throttled: slow down")
    assert.deepStrictEqual([error.isRetryable, error.outcome, error.cause], [true, "none", reason])
    assert.isTrue(StoreError.isStoreError(new StoreError.StoreError({ operation: "get", reason })))
    assert.isFalse(StoreError.isStoreError(error))
  })

  it.effect("one reason can be caught, and errors travel as JSON", () =>
    Effect.gen(function* () {
      const reason = new StoreError.Unavailable({ description: "down", sent: true })
      const failing = Effect.fail(DbError.make("Resource.get", reason, "users"))
      const caught = yield* failing.pipe(
        Effect.catchReason("DbError", "Unavailable", ({ outcome }) => Effect.succeed(outcome))
      )
      assert.strictEqual(caught, "unknown")
      const codec = Schema.toCodecJson(DbError.DbError)
      const json = yield* Schema.encodeEffect(codec)(yield* Effect.flip(failing))
      const back = yield* Schema.decodeUnknownEffect(codec)(JSON.parse(JSON.stringify(json)))
      assert.deepStrictEqual(
        [back.operation, back.reason._tag, back.outcome],
        ["Resource.get", "Unavailable", "unknown"]
      )
    })
  )
})
