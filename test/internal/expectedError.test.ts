import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Schema from "effect/Schema"
import * as Aggregation from "effect-s3db/Aggregation"
import * as Catalog from "effect-s3db/Catalog"
import { Unauthenticated } from "effect-s3db/CurrentUser"
import * as DbError from "effect-s3db/DbError"
import * as Guard from "effect-s3db/Guard"
import * as Pipeline from "effect-s3db/Pipeline"
import * as StoreError from "effect-s3db/storage/StoreError"
import { filesIn } from "../tooling/floors.ts"

const unavailable = new StoreError.Unavailable({ description: "no route to the store", sent: false })
const failed = DbError.fromStore(
  "Resource.insert",
  "users"
)(new StoreError.StoreError({ operation: "put", key: "k", reason: unavailable }))
const line = "DbError: Resource.insert on users failed: Unavailable: no route to the store"

const errors: ReadonlyArray<Error> = [
  failed,
  unavailable,
  new StoreError.StoreError({ operation: "put", key: "k", reason: unavailable }),
  new DbError.NotFound({ resource: "users", id: "ana" }),
  new DbError.InvalidInput({ resource: "users", issues: [{ path: ["name"], message: "Expected string" }] }),
  new DbError.SecretUnreadable({ description: "no key", why: "UnknownKey", path: ["card"] }),
  new Pipeline.Rejected({ resource: "users", operation: "insert", interceptor: "quota", reason: "too many" }),
  new Guard.Forbidden({ resource: "users", operation: "get", isAuthenticated: false, description: "no permission" }),
  new Unauthenticated(),
  new Aggregation.TooManyGroups({ limit: 10 }),
  new Catalog.NewerFormat({ version: "9" }),
  new Catalog.OfS3dbJs({ release: "16.2.0" })
]

describe("an expected error", () => {
  it("is what every error of the library is", () => {
    const src = fileURLToPath(new URL("../../src", import.meta.url))
    const others = filesIn(src)
      // What tests stand on keeps its stacks.
      .filter((file) => !file.startsWith("testing/") && file !== "internal/expectedError.ts")
      .filter((file) => /Schema\.(Tagged)?Error</.test(readFileSync(join(src, file), "utf8")))
    assert.deepStrictEqual(others, [])
  })

  it("is one line, without a stack, wherever a person sees it", () => {
    for (const error of errors) {
      const told = `${error.name}: ${error.message}`
      assert.strictEqual((error as unknown as { readonly _tag: string })._tag, error.name)
      assert.notStrictEqual(error.message, "", error.name)
      assert.notInclude(told, "\n")
      assert.strictEqual(inspect(error), told)
      assert.strictEqual(String(error), told)
      assert.strictEqual(error.stack, told)
      assert.strictEqual(Cause.pretty(Cause.fail(error)), told)
      assert.isTrue(error instanceof Error)
    }
    assert.strictEqual(String(failed), line)
  })

  it("an uncaught one has no stack inside either", () => {
    assert.notMatch(inspect(failed, { customInspect: false }), /\n {4,}at /)
    assert.strictEqual(inspect(failed, { customInspect: false }).match(/no route/g)!.length, 3)
  })

  it.effect("a failure shows the places of the program that its spans know", () =>
    Effect.gen(function* () {
      const load = Effect.fn("load")(function* () {
        return yield* failed
      })
      const exit = yield* Effect.exit(load())
      const [first, ...places] = Exit.isFailure(exit) ? Cause.pretty(exit.cause).split("\n") : []
      assert.strictEqual(first, line)
      assert.isNotEmpty(places)
      for (const place of places) assert.match(place, /^ +at load .*expectedError\.test\.ts/)
    })
  )

  it.effect("is logged in one line, and as fields where logs are JSON", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const keep = (logger: Logger.Logger<unknown, unknown>) =>
        Logger.map(logger, (out) => void logged.push(String(out)))
      yield* Effect.logError(failed).pipe(
        Effect.andThen(Effect.logError(Cause.fail(failed))),
        Effect.provide(Logger.layer([keep(Logger.formatLogFmt), keep(Logger.formatJson)]))
      )
      const [logfmt, json, logfmtOfCause] = logged
      assert.include(logfmt, `message="${line}"`)
      assert.deepStrictEqual((JSON.parse(json!) as { readonly message: unknown }).message, {
        _tag: "DbError",
        operation: "Resource.insert",
        resource: "users",
        reason: { _tag: "Unavailable", description: "no route to the store", sent: false, isRetryable: true }
      })
      assert.include(logfmtOfCause, `cause="${line}"`)
      for (const out of logged) assert.notInclude(out, "\n")
    })
  )

  it.effect("is still a schema of itself, and leaves other errors their stacks", () =>
    Effect.gen(function* () {
      const error = new DbError.Conflict({ resource: "users", id: "ana", revision: "r1" })
      const json = yield* Schema.encodeEffect(DbError.Conflict)(error)
      assert.deepStrictEqual(json, { _tag: "Conflict", resource: "users", id: "ana", revision: "r1" })
      const again = yield* Schema.decodeEffect(DbError.Conflict)(json)
      assert.isTrue(again instanceof DbError.Conflict)
      assert.deepStrictEqual(again, error)
      assert.isAbove(new Error("x").stack!.split("\n").length, 2)
      assert.throws(() => new DbError.NotFound({ resource: 1 as unknown as string, id: "" }))
      assert.isAbove(new Error("x").stack!.split("\n").length, 2)
    })
  )
})
