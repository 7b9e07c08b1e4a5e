import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
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
    assert.deepStrictEqual([error.isRetryable, error.outcome, error.reason], [true, "none", reason])
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

  it.effect("what is encoded names no document but the one that was asked for", () =>
    Effect.gen(function* () {
      const held = { resource: "users", unique: "email", fields: ["email"], id: "of-another", isPending: false }
      const violation = new DbError.UniqueViolation(held)
      assert.strictEqual(violation.id, "of-another")
      const codec = Schema.toCodecJson(DbError.UniqueViolation)
      const encoded = yield* Schema.encodeEffect(codec)(violation)
      const { id: _, ...shown } = held
      assert.deepStrictEqual(encoded as unknown, { _tag: "UniqueViolation", ...shown })
      assert.deepStrictEqual(JSON.parse(JSON.stringify(violation)), encoded)
      assert.deepStrictEqual(JSON.parse(JSON.stringify({ errors: [violation] })), { errors: [encoded] })
      assert.notInclude(violation.message, "of-another")
      const back = yield* Schema.decodeUnknownEffect(codec)(encoded)
      assert.isUndefined(back.id)
      // Nor does it come in from outside.
      assert.isUndefined((yield* Schema.decodeUnknownEffect(codec)({ ...(encoded as object), id: "forged" })).id)

      for (const member of DbError.Reason.members) {
        const about = { description: 'document "of-another" at /srv/data', why: "Altered" as const, path: ["pin"] }
        const fields = {
          feature: "f",
          argument: "a",
          service: "s",
          index: "byPin",
          sent: true,
          size: 1,
          limit: 1,
          afterMillis: 1
        }
        const reason = new member({ ...fields, ...about } as never)
        const error = DbError.make("Resource.query", reason, "users")
        assert.include(error.message, "of-another")
        const json = yield* Schema.encodeEffect(Schema.toCodecJson(DbError.DbError))(error)
        assert.notInclude(JSON.stringify(json), "of-another", reason._tag)
        assert.notInclude(JSON.stringify(json), "/srv", reason._tag)
        const decoded = yield* Schema.decodeUnknownEffect(Schema.toCodecJson(DbError.DbError))(json)
        assert.strictEqual(decoded.reason._tag, reason._tag)
      }
    })
  )

  describe("named", () => {
    const reason = new StoreError.Throttled({ description: "slow down" })
    const unreadable = new DbError.SecretUnreadable({ description: "altered", why: "Altered", path: ["pin"] })
    const name = DbError.named("Resource.get", "users")

    it("tells failures of the engine from other errors", () => {
      const failures = [
        reason,
        unreadable,
        new StoreError.StoreError({ operation: "get", reason }),
        new StoreError.Corrupt({ description: "torn" }),
        new DbError.ServiceFailed({ service: "KeyRing", description: "none" }),
        new DbError.OutcomeUnknown({ description: "lost" })
      ]
      for (const failure of failures) assert.isTrue(DbError.isFailure(failure), failure._tag)
      const others = [
        DbError.make("Resource.get", reason),
        new DbError.NotFound({ resource: "users", id: "7" }),
        DbError.invalidField("users", [], "Expected x"),
        // Others may have tags of the same name.
        { _tag: "Throttled", description: "slow down" },
        new Error("bug"),
        undefined
      ]
      for (const other of others) assert.isFalse(DbError.isFailure(other))
    })

    it.effect("turns failures of the engine into DbError, and leaves every other error as it is", () =>
      Effect.gen(function* () {
        const failed = new StoreError.StoreError({ operation: "get", key: "k", reason })
        for (const [failure, expected] of [
          [failed, reason],
          [reason, reason],
          [unreadable, unreadable]
        ] as const) {
          const error: DbError.DbError = yield* Effect.flip(name(Effect.fail(failure)))
          assert.isTrue(error instanceof DbError.DbError)
          assert.deepStrictEqual([error.operation, error.resource], ["Resource.get", "users"])
          assert.strictEqual(error.reason, expected)
        }
        const unnamed = yield* Effect.flip(DbError.named("Database.open")(Effect.fail(reason)))
        assert.isFalse(Object.hasOwn(unnamed, "resource"))
        const missing = new DbError.NotFound({ resource: "users", id: "7" })
        const already = DbError.make("Database.salt", reason)
        for (const error of [missing, already, "text", undefined]) {
          assert.strictEqual(yield* Effect.flip(name(Effect.fail(error))), error)
        }
        assert.strictEqual(yield* name(Effect.succeed(1)), 1)
      })
    )

    it.effect("defects and interruptions pass unchanged, also beside a failure", () =>
      Effect.gen(function* () {
        const causeOf = <E>(cause: Cause.Cause<E>) => Effect.flip(Effect.sandbox(name(Effect.failCause(cause))))
        const bug = new RangeError("bug")
        for (const cause of [
          Cause.die(bug),
          Cause.interrupt(7),
          Cause.combine(Cause.die(reason), Cause.interrupt(7))
        ]) {
          assert.deepStrictEqual((yield* causeOf(cause)).reasons, cause.reasons)
        }
        const mixed = Cause.combine(Cause.fail(reason), Cause.combine(Cause.die(bug), Cause.interrupt(7)))
        const [first, ...rest] = (yield* causeOf(mixed)).reasons
        assert.isTrue(first !== undefined && Cause.isFailReason(first) && first.error instanceof DbError.DbError)
        assert.deepStrictEqual<unknown>(rest, mixed.reasons.slice(1))
      })
    )

    it("is typed", () => {
      type Errors<X> = X extends Effect.Effect<unknown, infer E> ? E : never
      const effect = Effect.fail(reason) as Effect.Effect<
        number,
        StoreError.StoreError | DbError.Reason | DbError.NotFound | Cause.NoSuchElementError
      >
      const named = name(effect)
      const exact: [Errors<typeof named>, DbError.DbError | DbError.NotFound | Cause.NoSuchElementError] extends [
        infer A,
        infer B
      ]
        ? [A, B] extends [B, A]
          ? true
          : false
        : never = true
      assert.isTrue(exact)
    })
  })
})
