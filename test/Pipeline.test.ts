import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as DbError from "effect-s3db/DbError"
import * as Pipeline from "effect-s3db/Pipeline"
import * as StoreError from "effect-s3db/storage/StoreError"

interface User {
  readonly id: string
  readonly name: string
  readonly slug?: string
}

/** Operations on users, whose outputs are bare users: a pipeline does not mind what it carries. */
interface Ops {
  readonly insert: { readonly input: { readonly input: Partial<User> }; readonly output: User }
  readonly update: {
    readonly input: { readonly id: string; readonly changes: Partial<User> | undefined }
    readonly output: User
  }
  readonly patch: Ops["update"]
  readonly upsert: Ops["insert"]
  readonly delete: { readonly input: { readonly id: string }; readonly output: void }
  readonly deleteAll: { readonly input: {}; readonly output: number }
  readonly get: { readonly input: { readonly id: string }; readonly output: User }
  readonly exists: { readonly input: { readonly id: string }; readonly output: boolean }
}

const ana: User = { id: "7", name: "Ana" }
const make = Pipeline.make<Ops>("users")

/** Inserts into an array. */
const inserting = (rows: Array<User>) => (at: { readonly input: Partial<User> }) =>
  Effect.sync(() => {
    const row: User = { ...ana, ...at.input }
    rows.push(row)
    return row
  })

const defectOf = <A, E>(exit: Exit.Exit<A, E>): string =>
  Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "no failure"

describe("Pipeline", () => {
  it.effect("without interceptors it is the operation", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const given = { id: "7" }
      const seen: Array<unknown> = []
      const output = yield* pipeline.run("get", given, (input) => {
        seen.push(input)
        return Effect.succeed(ana)
      })
      assert.strictEqual(output, ana)
      assert.strictEqual(seen[0], given)
      const failure = yield* Effect.flip(pipeline.run("get", given, () => Effect.fail("no" as const)))
      assert.strictEqual(failure, "no")
    })
  )

  it.effect("T45: arounds are outside, then befores, the operation, afters", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const trace: Array<string> = []
      const tell = (what: string) => Effect.sync(() => void trace.push(what))
      const hooks = (n: number) =>
        pipeline.add({
          operations: "insert",
          before: () => tell(`before${n}`),
          after: () => tell(`after${n}`)
        })
      const around = (n: number) =>
        pipeline.add({
          operations: ["insert"],
          around: (_, next) =>
            Effect.gen(function* () {
              yield* tell(`mw${n}>`)
              const output = yield* next()
              yield* tell(`<mw${n}`)
              return output
            })
        })
      yield* hooks(1)
      yield* around(1)
      yield* hooks(2)
      yield* around(2)
      yield* pipeline.run("insert", { input: {} }, () => Effect.as(tell("operation"), ana))
      const order = "mw1> mw2> before1 before2 operation after1 after2 <mw2 <mw1"
      assert.strictEqual(trace.join(" "), order)
    })
  )

  it.effect("T45: what a before adds is stored, and one that fails or throws leaves nothing written", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const rows: Array<User> = []
      yield* pipeline.add({
        name: "slugs",
        operations: "insert",
        before: ({ input, reject }) =>
          Effect.gen(function* () {
            const { name } = input.input
            if (name === undefined) return yield* reject("a name is needed", "name")
            if (name === "boom") throw new Error("boom")
            return { input: { ...input.input, slug: name.toLowerCase() } }
          })
      })
      const insert = (input: Partial<User>) => pipeline.run("insert", { input }, inserting(rows))
      assert.strictEqual((yield* insert({ name: "Bo" })).slug, "bo")
      const rejected = yield* Effect.flip(insert({}))
      assert.instanceOf(rejected, Pipeline.Rejected)
      if (rejected instanceof Pipeline.Rejected) {
        assert.deepStrictEqual(
          [rejected.resource, rejected.operation, rejected.interceptor, rejected.reason, rejected.code],
          ["users", "insert", "slugs", "a name is needed", "name"]
        )
        assert.strictEqual(rejected.message, "insert on users was rejected by slugs: a name is needed")
      }
      assert.include(defectOf(yield* Effect.exit(insert({ name: "boom" }))), "boom")
      assert.lengthOf(rows, 1)
    })
  )

  it.effect("a before sees what those before it have left, and fields it does not name stay", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({ operations: "update", before: () => Effect.succeed({ changes: { name: "A" } }) })
      yield* pipeline.add({
        operations: "update",
        before: ({ input }) => Effect.succeed({ changes: { ...input.changes, slug: "a" } })
      })
      const output = yield* pipeline.run("update", { id: "7", changes: { name: "x" } }, (input) =>
        Effect.succeed({ ...ana, ...input.changes, id: input.id })
      )
      assert.deepStrictEqual(output, { id: "7", name: "A", slug: "a" })
    })
  )

  it.effect("T46: a hook that returns nothing keeps the data", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const rows: Array<User> = []
      yield* pipeline.add({
        operations: "*",
        before: () => Effect.succeed(undefined),
        after: () => Effect.void
      })
      const input = { name: "Bo" }
      const output = yield* pipeline.run("insert", { input }, inserting(rows))
      assert.strictEqual(output, rows[0])
      assert.strictEqual(output.name, "Bo")
    })
  )

  it.effect("an after changes the output, also to false", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({
        operations: "get",
        after: (_, output) => Effect.succeed({ ...output, name: output.name.toUpperCase() })
      })
      yield* pipeline.add({ operations: "exists", after: () => Effect.succeed(false) })
      const got = yield* pipeline.run("get", { id: "7" }, () => Effect.succeed(ana))
      assert.strictEqual(got.name, "ANA")
      assert.isFalse(yield* pipeline.run("exists", { id: "7" }, () => Effect.succeed(true)))
    })
  )

  it.effect("T47: running next twice is a defect with a clear message", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      let count = 0
      yield* pipeline.add({ operations: "*", around: (_, next) => next() })
      yield* pipeline.add({
        name: "twice",
        operations: "patch",
        around: (_, next) => Effect.andThen(next(), next())
      })
      yield* pipeline.add({
        name: "again",
        operations: "get",
        around: (_, next) => {
          const once = next()
          return Effect.andThen(once, once)
        }
      })
      const execute = () => Effect.sync(() => ((count += 1), ana))
      const patched = yield* Effect.exit(pipeline.run("patch", { id: "7", changes: {} }, execute))
      assert.include(defectOf(patched), "next was called twice, by twice, around patch on users")
      assert.isTrue(Exit.isFailure(patched) && !Cause.hasFails(patched.cause))
      const got = yield* Effect.exit(pipeline.run("get", { id: "7" }, execute))
      assert.include(defectOf(got), "next was called twice, by again, around get on users")
      assert.strictEqual(count, 2)
    })
  )

  it.effect("T47: a short circuit answers in place of the operation, also of patch and upsert", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const trace: Array<string> = []
      yield* pipeline.add({
        operations: "*",
        around: (_, next) =>
          Effect.tap(next(), (output) => Effect.sync(() => trace.push(`around ${JSON.stringify(output)}`)))
      })
      yield* pipeline.add({
        operations: ["patch", "upsert"],
        before: () => Effect.succeed(Pipeline.shortCircuit({ ...ana, name: "cached" }))
      })
      yield* pipeline.add({
        operations: "*",
        before: () => Effect.sync(() => void trace.push("before")),
        after: () => Effect.sync(() => void trace.push("after"))
      })
      yield* pipeline.add({ operations: "get", priority: 1, around: () => Effect.succeed({ ...ana, name: "around" }) })
      const unreached = () => Effect.die("reached")
      assert.strictEqual((yield* pipeline.run("patch", { id: "7", changes: {} }, unreached)).name, "cached")
      assert.strictEqual((yield* pipeline.run("upsert", { input: {} }, unreached)).name, "cached")
      assert.strictEqual((yield* pipeline.run("get", { id: "7" }, unreached)).name, "around")
      assert.lengthOf(trace, 3)
      assert.isTrue(trace.every((line) => line.startsWith("around")))
    })
  )

  it.effect("priority goes before the order of registration; next can change the input", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const trace: Array<string> = []
      const add = (name: string, priority: number) =>
        pipeline.add({
          name,
          priority,
          operations: "get",
          around: ({ input }, next) => {
            trace.push(`${name}:${input.id}`)
            return next({ id: input.id + name })
          },
          before: () => Effect.sync(() => void trace.push(name))
        })
      yield* add("c", 5)
      yield* add("a", -5)
      yield* add("b", 0)
      yield* add("d", 5)
      const output = yield* pipeline.run("get", { id: "" }, ({ id }) => Effect.succeed({ ...ana, id }))
      assert.strictEqual(trace.join(" "), "a: b:a c:ab d:abc a b c d")
      assert.strictEqual(output.id, "abcd")
      const nan = pipeline.add({ operations: "*", priority: Number.NaN })
      assert.include(defectOf(yield* Effect.exit(nan)), "priority")
    })
  )

  it.effect("an interceptor is there as long as its scope, and running operations keep theirs", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const scope = yield* Scope.make()
      const gate = yield* Deferred.make<void>()
      const trace: Array<string> = []
      const observe = (name: string) =>
        pipeline.add({ operations: "get", after: () => Effect.sync(() => void trace.push(name)) })
      yield* Scope.provide(observe("first"), scope)
      const running = yield* Effect.forkChild(
        pipeline.run("get", { id: "7" }, () => Effect.as(Deferred.await(gate), ana)),
        { startImmediately: true }
      )
      yield* Scope.close(scope, Exit.void)
      yield* observe("second")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(running)
      assert.deepStrictEqual(trace, ["first"])
      yield* pipeline.run("get", { id: "7" }, () => Effect.succeed(ana))
      assert.deepStrictEqual(trace, ["first", "second"])
    })
  )

  it.effect("an after that fails after a write is told as done, with the id, and the others run", () =>
    Effect.gen(function* () {
      const pipeline = yield* Pipeline.make<Ops>("users")
      const trace: Array<string> = []
      yield* pipeline.add({
        name: "mail",
        operations: ["insert", "delete", "deleteAll"],
        after: ({ reject }) => Effect.fail(reject("the mail could not be sent"))
      })
      yield* pipeline.add({ name: "bug", operations: "insert", after: () => Effect.die(new Error("secret")) })
      yield* pipeline.add({
        operations: "insert",
        after: (_, output) => Effect.sync(() => void trace.push(`last ${output.name}`))
      })
      const rows: Array<User> = []
      const failure = yield* Effect.flip(pipeline.run("insert", { input: { id: "9" } }, inserting(rows)))
      assert.lengthOf(rows, 1)
      assert.deepStrictEqual(trace, ["last Ana"])
      assert.instanceOf(failure, Pipeline.AfterFailed)
      if (failure instanceof Pipeline.AfterFailed) {
        assert.deepStrictEqual(
          [failure.id, failure.interceptor, failure.outcome, failure.isRetryable, failure.reason],
          ["9", "mail", "done", false, "the mail could not be sent"]
        )
        assert.strictEqual(
          failure.message,
          'insert on users "9" is done, but mail failed after it: the mail could not be sent'
        )
        const codec = Schema.toCodecJson(Pipeline.AfterFailed)
        const back = yield* Schema.decodeUnknownEffect(codec)(yield* Schema.encodeEffect(codec)(failure))
        assert.strictEqual(back.id, "9")
      }
      const deleted = yield* Effect.flip(pipeline.run("delete", { id: "3" }, () => Effect.void))
      assert.strictEqual(deleted instanceof Pipeline.AfterFailed ? deleted.id : undefined, "3")
      const all = yield* Effect.flip(pipeline.run("deleteAll", {}, () => Effect.succeed(3)))
      assert.isTrue(all instanceof Pipeline.AfterFailed && all.id === undefined)
    })
  )

  it.effect("an after that dies after a write is told as done, and its values stay out of the error", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({ name: "bug", operations: "insert", after: () => Effect.die(new Error("secret")) })
      const failure = yield* Effect.flip(pipeline.run("insert", { input: {} }, () => Effect.succeed(ana)))
      assert.isTrue(failure instanceof Pipeline.AfterFailed && failure.reason === "it died")
    })
  )

  it.effect("an around that fails after the commit is told as done, and one before as rejected", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      const down = DbError.make("Resource.insert", new StoreError.Unavailable({ description: "down", sent: false }))
      yield* pipeline.add({
        name: "outer",
        operations: "*",
        around: (_, next) => next()
      })
      yield* pipeline.add({
        name: "audit",
        operations: "*",
        around: ({ input, reject }, next) =>
          "id" in input && input.id === "stop"
            ? Effect.fail(reject("stopped"))
            : Effect.tap(next(), () => Effect.fail(down))
      })
      const run = (id: string) => Effect.flip(pipeline.run("update", { id, changes: {} }, () => Effect.succeed(ana)))
      const done = yield* run("7")
      assert.isTrue(done instanceof Pipeline.AfterFailed && done.interceptor === "audit" && done.id === "7")
      const stopped = yield* run("stop")
      assert.strictEqual(stopped._tag, "Rejected")
      const read = yield* Effect.flip(pipeline.run("get", { id: "7" }, () => Effect.succeed(ana)))
      assert.strictEqual(read, down)
      const failing = pipeline.run("update", { id: "7", changes: {} }, () => Effect.fail("conflict" as const))
      assert.strictEqual(yield* Effect.flip(failing), "conflict")
    })
  )

  it.effect("an after of a read fails as itself", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({ operations: "get", after: ({ reject }) => Effect.fail(reject("hidden")) })
      const failure = yield* Effect.flip(pipeline.run("get", { id: "7" }, () => Effect.succeed(ana)))
      assert.strictEqual(failure._tag, "Rejected")
    })
  )

  it.effect("an around may take an error of the operation and answer", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({
        operations: "get",
        around: ({ input }, next) =>
          Effect.catch(next(), (error) =>
            error instanceof DbError.NotFound ? Effect.succeed({ ...ana, id: input.id }) : Effect.fail(error)
          )
      })
      const missing = new DbError.NotFound({ resource: "users", id: "8" })
      const output = yield* pipeline.run("get", { id: "8" }, () => Effect.fail(missing))
      assert.strictEqual(output.id, "8")
    })
  )

  it.effect("an interruption stays one, also after the commit", () =>
    Effect.gen(function* () {
      const pipeline = yield* make
      yield* pipeline.add({ operations: "insert", after: () => Effect.interrupt })
      const exit = yield* Effect.exit(pipeline.run("insert", { input: {} }, () => Effect.succeed(ana)))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    })
  )

  it("interceptors are typed by their operations", () => {
    const one = Pipeline.interceptor<Ops>()({
      operations: "insert",
      before: ({ input, operation }) => {
        const name: "insert" = operation
        return Effect.succeed({ input: { ...input.input, name } })
      }
    })
    const several = Pipeline.interceptor<Ops>()({
      operations: ["update", "get"],
      before: (context) => Effect.succeed(context.operation === "get" ? { id: context.input.id } : { changes: {} })
    })
    Pipeline.interceptor<Ops>()({
      operations: "get",
      // @ts-expect-error the input of get has no such field
      before: ({ input }) => Effect.succeed({ id: input.name })
    })
    // @ts-expect-error no such operation
    Pipeline.interceptor<Ops>()({ operations: "fetch" })
    assert.deepStrictEqual([one.operations, several.operations], ["insert", ["update", "get"]])
  })
})
