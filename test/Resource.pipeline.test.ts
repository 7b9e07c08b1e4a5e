import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Change from "effect-s3db/Change"
import * as CurrentUser from "effect-s3db/CurrentUser"
import * as Database from "effect-s3db/Database"
import * as Document from "effect-s3db/Document"
import * as Guard from "effect-s3db/Guard"
import * as Pipeline from "effect-s3db/Pipeline"
import * as Resource from "effect-s3db/Resource"
import * as Attribute from "effect-s3db/schema/Attribute"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { keysOf, memory, openNew, openOn } from "./fixture.ts"
import { settled } from "./waiting.ts"

const Post = Schema.Struct({
  id: Schema.String,
  author: Schema.String,
  title: Schema.String,
  tenant: Schema.optionalKey(Schema.String),
  views: Schema.optionalKey(Schema.Int)
})

const options = {
  schema: Post,
  primaryKey: "id",
  allowDeleteAll: true,
  content: true,
  history: true,
  partitions: { byAuthor: { fields: ["author"], covering: ["title"] } },
  unique: { title: ["title"] }
} as const satisfies Resource.Options<typeof Post>

const post = (id: string, author = "ana", more: Partial<typeof Post.Type> = {}) => ({
  id,
  author,
  title: `title of ${id}`,
  ...more
})

const opened = Effect.gen(function* () {
  const store = yield* memory
  const { counter, store: counted } = InstrumentedStore.make(store)
  const { open, database } = yield* openOn(counted)
  const posts = yield* open("posts", options)
  return { posts, store, counter, open, database }
})

type Posts = Resource.Repository<typeof Post>

const ana = CurrentUser.make("ana", { roles: ["writer"] })
const bo = CurrentUser.make("bo")
const as = (user: CurrentUser.User) => Effect.provideService(CurrentUser.CurrentUser, user)
const quietly = Effect.provide(Logger.layer([]))

/** Notes every operation with what it is about. */
const recorder = Effect.fnUntraced(function* (posts: Posts, name: string, log: Array<string>) {
  yield* posts.intercept({
    operations: "*",
    name,
    before: ({ operation }) => Effect.sync(() => void log.push(`${name} before ${operation}`)),
    after: ({ operation }) => Effect.sync(() => void log.push(`${name} after ${operation}`))
  })
})

describe("interceptors of a resource", () => {
  it.effect("T45: order mw1 > mw2 > before > write > after < mw2 < mw1, and what a before adds is stored", () =>
    Effect.gen(function* () {
      const { posts, store } = yield* opened
      const log: Array<string> = []
      for (const name of ["mw1", "mw2"]) {
        yield* posts.intercept({
          operations: "insert",
          around: (_, next) =>
            Effect.suspend(() => {
              log.push(`${name}>`)
              return Effect.tap(next(), () => Effect.sync(() => log.push(`<${name}`)))
            })
        })
      }
      yield* posts.intercept({
        operations: "insert",
        before: ({ input }) =>
          Effect.gen(function* () {
            log.push("before")
            assert.deepStrictEqual(yield* keysOf(store, "resource=posts/data/"), [])
            return { input: { ...input.input, views: 7 } }
          }),
        after: () =>
          Effect.gen(function* () {
            log.push("after")
            assert.strictEqual((yield* keysOf(store, "resource=posts/data/")).length, 1)
          })
      })
      yield* posts.onChange("Inserted", () => Effect.sync(() => log.push("event")))
      const made = yield* posts.insert(post("1"))
      yield* Effect.yieldNow
      assert.strictEqual(made.views, 7)
      assert.strictEqual((yield* posts.get("1")).views, 7)
      assert.deepStrictEqual(
        log.filter((line) => line !== "event"),
        ["mw1>", "mw2>", "before", "after", "<mw2", "<mw1"]
      )
      assert.include(log, "event")
    })
  )

  it.effect("T45: a before that fails, or dies, leaves nothing written", () =>
    Effect.gen(function* () {
      const { posts, store } = yield* opened
      const before = yield* keysOf(store)
      const scope = yield* Scope.make()
      yield* Scope.provide(
        posts.intercept({
          name: "closing time",
          operations: ["insert", "upsert", "replace"],
          before: ({ reject }) => Effect.fail(reject("we are closed", "closed"))
        }),
        scope
      )
      const writes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        posts.insert(post("1")),
        posts.upsert(post("1")),
        posts.replace(post("1"))
      ]
      for (const write of writes) {
        const error = yield* Effect.flip(write)
        assert.instanceOf(error, Pipeline.Rejected)
        assert.deepInclude(error, { code: "closed", reason: "we are closed", interceptor: "closing time" })
      }
      const [one] = yield* posts.insertMany([post("1")])
      assert.isTrue(Result.isFailure(one!))
      yield* Scope.close(scope, Exit.void)
      yield* posts.intercept({ operations: "insert", before: () => Effect.die("broken") })
      assert.isTrue(Cause.hasDies(yield* Effect.flip(Effect.sandbox(posts.insert(post("1"))))))
      assert.deepStrictEqual(yield* keysOf(store), before)
      // The other interceptor went with its scope.
      yield* posts.replace(post("1"))
    })
  )

  it.effect("T46: a hook that returns nothing keeps the data", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.intercept({ operations: "*", before: () => Effect.void, after: () => Effect.void })
      assert.deepStrictEqual(yield* posts.insert(post("1")), post("1"))
      assert.deepStrictEqual(yield* posts.update("1", { views: 1 }), post("1", "ana", { views: 1 }))
      assert.deepStrictEqual(yield* Stream.runCollect(posts.scan()), [post("1", "ana", { views: 1 })])
    })
  )

  it.effect("T47: next twice is a defect; a short circuit answers, also for patch and upsert", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      const twice = yield* Scope.make()
      yield* Scope.provide(
        posts.intercept({ operations: "get", around: (_, next) => Effect.andThen(next(), next()) }),
        twice
      )
      assert.isTrue(Cause.hasDies(yield* Effect.flip(Effect.sandbox(posts.get("1")))))
      yield* Scope.close(twice, Exit.void)
      const answer = post("1", "nobody")
      const stored = yield* posts.getDocument("1")
      yield* posts.intercept({
        operations: ["get", "patch", "upsert"],
        before: () => Effect.succeed(Pipeline.shortCircuit(Document.map(stored, () => answer)))
      })
      assert.strictEqual(yield* posts.get("1"), answer)
      assert.strictEqual(yield* posts.patch("1", { title: "no" }), answer)
      assert.strictEqual(yield* posts.upsert(post("1")), answer)
      // The envelope is that of the document that is there.
      const document = yield* posts.getDocument("1")
      assert.strictEqual(document.value.author, "nobody")
      assert.strictEqual(document.version, 1)
      assert.deepStrictEqual(yield* Stream.runCollect(posts.scan()), [post("1")])
    })
  )

  it.effect("every member of the repository runs as the operation that its documentation names", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("0"))
      yield* posts.update("0", { views: 1 })
      const log: Array<string> = []
      yield* recorder(posts, "x", log)
      const runs = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>, ...names: ReadonlyArray<string>) {
        log.length = 0
        yield* effect
        assert.deepStrictEqual(
          log.filter((line) => line.includes("before")).map((line) => line.slice("x before ".length)),
          names
        )
      })
      const drain = Stream.runDrain
      const version = yield* posts.getDocument("0")
      yield* runs(posts.insert(post("1")), "insert")
      yield* runs(posts.insertMany([post("2"), post("3")]), "insert", "insert")
      yield* runs(posts.upsert(post("4")), "upsert", "insert")
      yield* runs(posts.upsert(post("4", "bo")), "upsert", "update")
      yield* runs(drain(posts.writeAll(Stream.make(post("5")))), "insert")
      yield* runs(drain(posts.writeAll(Stream.make(post("5")), { mode: "replace" })), "replace")
      yield* runs(drain(posts.writeAll(Stream.make(post("5")), { mode: "upsert" })), "upsert", "update")
      yield* runs(posts.get("0"), "get")
      yield* runs(posts.getOption("none"), "get")
      yield* runs(posts.getMany(["0", "1"]), "get", "get")
      yield* runs(posts.getDocument("0"), "get")
      yield* runs(posts.getByUnique("title", { title: "title of 0" }), "get")
      yield* runs(posts.getFromPartition("0", { partition: "byAuthor", values: { author: "ana" } }), "get")
      yield* runs(posts.update(version, { views: 2 }), "update")
      yield* runs(posts.patch("0", { views: 3 }), "patch")
      yield* runs(posts.replace(post("0")), "replace")
      yield* runs(drain(posts.updateMany({ where: { id: "0" } }, { views: 4 })), "query", "update")
      yield* runs(drain(posts.scan()), "query")
      yield* runs(drain(posts.scanDocuments()), "query")
      yield* runs(drain(posts.scanResults()), "query")
      yield* runs(drain(posts.query({ where: { author: "bo" } })), "query")
      yield* runs(drain(posts.queryJson({ where: { author: "bo" } })), "query")
      yield* runs(posts.queryPage({ where: { author: "bo" } }), "list")
      yield* runs(posts.queryPage({ where: { author: "bo" }, total: true }), "list")
      yield* runs(posts.queryPageJson({ where: { author: "bo" }, total: true }), "list")
      yield* runs(posts.aggregate({ values: { n: { count: true } } }, { scan: true }), "query")
      yield* runs(posts.list(), "list")
      yield* runs(drain(posts.listIds()), "listIds")
      yield* runs(posts.count(), "count")
      yield* runs(posts.exists("0"), "exists")
      yield* runs(drain(posts.distinct({ partition: "byAuthor" })), "listIds", "query")
      yield* runs(drain(posts.covered({ partition: "byAuthor" })), "listIds", "query")
      yield* runs(posts.setContent("0", new Uint8Array([1, 2])), "setContent")
      yield* runs(posts.getContent("0"), "getContent")
      yield* runs(posts.hasContent("0"), "getContent")
      yield* runs(posts.deleteContent("0"), "deleteContent")
      yield* runs(drain(posts.history("0")), ...Array.from({ length: 7 }, () => "get"))
      yield* runs(posts.getAt("0", { version: 1 }), "get")
      yield* runs(posts.restore("0", { version: 1 }), "get", "replace")
      yield* runs(posts.delete("0"), "delete")
      yield* runs(posts.deleteMany(["1"]), "deleteMany")
      yield* runs(posts.deleteAll, "deleteAll")
    })
  )

  it.effect("a before can narrow what is listed, counted, and aggregated: tenants see their own", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insertMany([post("1", "ana", { tenant: "a" }), post("2", "bo", { tenant: "b" }), post("3")])
      yield* posts.intercept({
        name: "tenant",
        operations: ["list", "listIds", "query", "count"],
        before: ({ input }) =>
          Effect.succeed({ request: { ...input.request, where: { ...input.request.where, tenant: "a" }, scan: true } })
      })
      const idsOf = Effect.map((found: ReadonlyArray<typeof Post.Type>) => found.map((one) => one.id))
      assert.deepStrictEqual(yield* idsOf(Stream.runCollect(posts.scan())), ["1"])
      assert.deepStrictEqual(yield* idsOf(Stream.runCollect(posts.query({ where: { author: "bo" } }))), [])
      assert.deepStrictEqual(yield* Stream.runCollect(posts.listIds()), ["1"])
      assert.strictEqual(yield* posts.count(), 1)
      assert.deepStrictEqual(yield* idsOf(Effect.map(posts.list(), (page) => page.items)), ["1"])
      assert.deepStrictEqual((yield* posts.queryPage({ total: true, where: { title: { exists: true } } })).total, 1)
      assert.strictEqual(
        (yield* posts.aggregate({ values: { n: { count: true } } }, { scan: true }))[0]?.values["n"],
        1
      )
      assert.deepStrictEqual(yield* Stream.runCollect(posts.queryJson({ select: ["id"], scan: true })), [{ id: "1" }])
      assert.deepStrictEqual(
        yield* Effect.map(Stream.runCollect(posts.scanDocuments()), (found) => found.map((one) => one.id)),
        ["1"]
      )
      const done = yield* Stream.runCollect(posts.updateMany({ where: { title: { exists: true } } }, { views: 5 }))
      assert.deepStrictEqual(
        done.map((one) => one.id),
        ["1"]
      )
      // Listings that cannot be narrowed by conditions are refused rather than shown.
      const refused: ReadonlyArray<Stream.Stream<unknown, Resource.ListError>> = [
        posts.covered({ partition: "byAuthor" }),
        posts.distinct({ partition: "byAuthor" }),
        posts.scanResults()
      ]
      for (const stream of refused) {
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(stream)))._tag, "NotAllowed")
      }
    })
  )

  it.effect("what an interceptor makes of documents is what every way of reading shows, and is not written back", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      const mask = (one: typeof Post.Type): typeof Post.Type => ({ ...one, author: "***" })
      yield* posts.intercept({ operations: "get", after: (_, output) => Effect.succeed(Document.map(output, mask)) })
      yield* posts.intercept({
        operations: "query",
        after: (_, output) => Effect.succeed(Stream.map(output, (one) => Document.map(one, mask)))
      })
      assert.strictEqual((yield* posts.get("1")).author, "***")
      const document = yield* posts.getDocument("1")
      assert.strictEqual(document.value.author, "***")
      const [scanned] = yield* Stream.runCollect(posts.scanDocuments())
      assert.strictEqual(scanned?.value.author, "***")
      assert.deepStrictEqual(yield* Stream.runCollect(posts.queryJson({ select: ["author"], scan: true })), [
        { author: "***" }
      ])
      const changed = yield* posts.update(document, { views: 1 })
      assert.strictEqual(changed.author, "ana")
      yield* posts.intercept({
        operations: "query",
        after: (_, output) =>
          Effect.succeed(Stream.map(output, (one) => Document.map(one, (post) => ({ ...post, title: 1 as never }))))
      })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(posts.queryJson({ scan: true }))))._tag, "NotAllowed")
    })
  )

  it.effect("a change comes over what the caller's function gives", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      const seen: Array<unknown> = []
      yield* posts.intercept({
        operations: ["update", "patch"],
        before: ({ input }) =>
          Effect.gen(function* () {
            seen.push(
              input.changes,
              Option.map(yield* input.current!, (document) => document.value.id)
            )
            return { changes: { ...input.changes, views: 9 } }
          })
      })
      const changed = yield* posts.update("1", (current) => ({ title: `${current.title}!`, views: 1 }))
      assert.deepStrictEqual(changed, { ...post("1"), title: "title of 1!", views: 9 })
      assert.deepStrictEqual(seen, [undefined, Option.some("1")])
      assert.strictEqual((yield* posts.patch("1", { title: "p" })).views, 9)
    })
  )

  it.effect("an update by a function that fails, fails with that error, through an interceptor", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      yield* recorder(posts, "x", [])
      const error = yield* Effect.flip(posts.update("1", () => Effect.fail("mine" as const)))
      assert.strictEqual(error, "mine")
    })
  )

  it.effect("an after that fails says that the write is done", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.intercept({
        name: "mailer",
        operations: ["insert", "delete"],
        after: ({ reject }) => Effect.fail(reject("no mail"))
      })
      const error = yield* Effect.flip(posts.insert(post("1")))
      assert.instanceOf(error, Pipeline.AfterFailed)
      assert.deepInclude(error, { id: "1", interceptor: "mailer", outcome: "done" })
      assert.strictEqual((yield* posts.get("1")).id, "1")
      assert.instanceOf(yield* Effect.flip(posts.delete("1")), Pipeline.AfterFailed)
      assert.isFalse(yield* posts.exists("1"))
    })
  )

  it.effect("an error of the program goes with the rejection, typed, and stays in the process", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      class OverQuota extends Schema.TaggedError<OverQuota>()("OverQuota", { limit: Schema.Int }) {
        override get message(): string {
          return "the quota is used up"
        }
      }
      yield* posts.intercept({ operations: "insert", before: () => Effect.fail(new OverQuota({ limit: 10 })) })
      yield* posts.intercept({
        operations: "update",
        around: ({ reject }) => Effect.fail(reject("not now", "later", new OverQuota({ limit: 11 })))
      })
      yield* posts.intercept({ operations: ["get", "replace"], after: () => Effect.fail(new OverQuota({ limit: 12 })) })
      const limitOf = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.flip(effect).pipe(
          Effect.map((error) => (Pipeline.isRejectedFor(OverQuota)(error) ? error.cause.limit : undefined))
        )
      const rejected = yield* Effect.flip(posts.insert(post("1")))
      assert.instanceOf(rejected, Pipeline.Rejected)
      assert.deepInclude(rejected, { reason: "the quota is used up", code: "OverQuota" })
      assert.strictEqual(yield* limitOf(posts.insert(post("1"))), 10)
      const recovered = posts.insert(post("1")).pipe(
        Effect.catchIf(Pipeline.isRejectedFor(OverQuota), ({ cause }) => Effect.succeed(cause.limit)),
        Effect.orDie
      )
      assert.strictEqual(yield* recovered, 10)
      const failed = yield* Effect.flip(posts.replace(post("1")))
      assert.instanceOf(failed, Pipeline.AfterFailed)
      assert.strictEqual((failed.cause as OverQuota).limit, 12)
      assert.strictEqual(yield* limitOf(posts.update("1", { views: 1 })), 11)
      assert.strictEqual(yield* limitOf(posts.get("1")), 12)
      assert.isUndefined(yield* limitOf(posts.delete("1", { mustExist: true }).pipe(Effect.andThen(Effect.fail("x")))))
      for (const error of [rejected, failed]) assert.notInclude(JSON.stringify(error), "limit")
      const encoded = yield* Schema.encodeEffect(Schema.toCodecJson(Pipeline.Rejected))(rejected as Pipeline.Rejected)
      assert.notInclude(JSON.stringify(encoded), "limit")
    })
  )

  it.effect("without interceptors an operation makes the requests it always made", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { open } = yield* openOn(counted)
      const plain = yield* open("plain", { schema: Post, primaryKey: "id" })
      const requests = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>) {
        yield* counter.reset
        yield* Effect.ignore(effect)
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, count]) => count > 0))
      })
      assert.deepStrictEqual(yield* requests(plain.insert(post("1"))), { put: 1 })
      assert.deepStrictEqual(yield* requests(plain.upsert(post("2"))), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requests(plain.upsert(post("1"))), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requests(plain.replace(post("1"))), { put: 1 })
      assert.deepStrictEqual(yield* requests(plain.delete("1")), { delete: 1 })
      // A check is part of the write: it needs the version that is there.
      yield* plain.intercept({
        operations: ["delete", "replace"],
        before: ({ input }) => Effect.succeed({ checks: [...(input.checks ?? []), () => Effect.void] })
      })
      assert.deepStrictEqual(yield* requests(plain.replace(post("2"))), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* requests(plain.delete("2")), { get: 1, delete: 1 })
    })
  )

  it.effect("a layer adds an interceptor, made with the services it needs", () =>
    Effect.gen(function* () {
      class Posts extends Resource.Service<Posts>()("test/posts", { schema: Post, primaryKey: "id" }) {}
      const log: Array<string> = []
      const audit = Resource.intercept(
        Posts,
        Effect.map(Database.Database, (database) => ({
          operations: "insert" as const,
          after: () => Effect.sync(() => void log.push(`inserted into ${database.store.location === "" ? "?" : "it"}`))
        }))
      )
      const live = Layer.provideMerge(
        audit,
        Layer.provideMerge(Posts.layer, Layer.provideMerge(Database.layer, MemoryStore.layer))
      )
      yield* Effect.gen(function* () {
        const posts = yield* Posts
        yield* posts.insert(post("1"))
      }).pipe(Effect.provide(live))
      assert.deepStrictEqual(log, ["inserted into it"])
    })
  )

  it.effect("the error of a content's stream is the caller's own, through an interceptor that changes the bytes", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      yield* posts.intercept({
        operations: "setContent",
        before: ({ input: { content } }) =>
          Effect.succeed({
            content: { contentType: "text/plain", bytes: Stream.map(content.bytes, (bytes) => bytes.map((b) => b + 1)) }
          })
      })
      const broken = Stream.concat(Stream.make(new Uint8Array([1])), Stream.fail("disk" as const))
      assert.strictEqual(yield* Effect.flip(posts.setContent("1", broken)), "disk")
      yield* posts.setContent("1", new Uint8Array([1, 2]))
      const content = Option.getOrThrow(yield* posts.getContent("1"))
      assert.strictEqual(content.contentType, "text/plain")
      assert.deepStrictEqual(yield* Stream.runCollect(content.bytes), [new Uint8Array([2, 3])])
    })
  )
})

describe("guards of a resource", () => {
  const rules: Guard.Rules<typeof Post.Type> = {
    "*": Guard.roles(["admin"]),
    insert: Guard.owner<typeof Post.Type>("author"),
    upsert: Guard.owner<typeof Post.Type>("author"),
    update: Guard.owner<typeof Post.Type>("author"),
    patch: Guard.owner<typeof Post.Type>("author"),
    replace: Guard.owner<typeof Post.Type>("author"),
    delete: Guard.owner<typeof Post.Type>("author"),
    deleteMany: Guard.owner<typeof Post.Type>("author"),
    get: Guard.all(Guard.authenticated, Guard.owner<typeof Post.Type>("author")),
    list: Guard.owner<typeof Post.Type>("author"),
    query: Guard.owner<typeof Post.Type>("author"),
    setContent: Guard.owner<typeof Post.Type>("author"),
    getContent: Guard.owner<typeof Post.Type>("author"),
    exists: Guard.owner<typeof Post.Type>("author")
  }

  const guarded = Effect.gen(function* () {
    const all = yield* opened
    yield* all.posts.insertMany([post("1"), post("2", "bo"), post("3", "bo")])
    yield* all.posts.intercept(Guard.interceptor(rules))
    return all
  })

  const codeOf = <A, E, R>(effect: Effect.Effect<A, E | Pipeline.Rejected, R>) =>
    Effect.map(Effect.flip(effect), (error) => (error instanceof Pipeline.Rejected ? error.code : error))

  it.effect("T49: what belongs to others is neither read, changed nor deleted, and everything stays as it was", () =>
    Effect.gen(function* () {
      const { posts, store } = yield* guarded
      const before = (yield* keysOf(store)).toSorted()
      const denied: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        posts.get("2"),
        posts.getOption("2"),
        posts.getMany(["1", "2"]),
        posts.getDocument("2"),
        posts.getByUnique("title", { title: "title of 2" }),
        posts.update("2", { views: 1 }),
        posts.patch("2", { views: 1 }),
        posts.replace(post("2")),
        posts.upsert(post("2")),
        posts.insert(post("4", "bo")),
        posts.delete("2"),
        posts.setContent("2", new Uint8Array(1)),
        posts.getContent("2"),
        posts.hasContent("2"),
        posts.deleteContent("1"),
        posts.count(),
        Stream.runDrain(posts.listIds()),
        Stream.runDrain(posts.covered({ partition: "byAuthor" })),
        posts.deleteAll,
        posts.getAt("2", { version: 1 }),
        posts.restore("2", { version: 1 })
      ]
      for (const effect of denied) assert.strictEqual(yield* as(ana)(codeOf(effect)), "Forbidden")
      assert.strictEqual(yield* codeOf(posts.get("1")), "Unauthenticated")
      assert.strictEqual(yield* codeOf(posts.getByUnique("title", { title: "nothing" })), "Unauthenticated")
      const { deleted, failed } = yield* as(ana)(posts.deleteMany(["1", "2", "9"]))
      assert.deepStrictEqual(deleted, ["1", "9"])
      assert.deepStrictEqual(
        failed.map(({ id, error }) => [id, error._tag]),
        [["2", "Rejected"]]
      )
      const gone = new Set((yield* keysOf(store)).filter((key) => !before.includes(key)))
      // Nothing but the history of the one that was deleted is new.
      assert.isTrue([...gone].every((key) => key.includes("historical/")))
      assert.strictEqual((yield* as(bo)(posts.get("2"))).views, undefined)
    })
  )

  it.effect("T49: the owner may, and listings show what may be read", () =>
    Effect.gen(function* () {
      const { posts } = yield* guarded
      yield* Effect.gen(function* () {
        const ids = (found: ReadonlyArray<{ readonly id: string }>) => found.map((one) => one.id)
        assert.deepStrictEqual(ids(yield* Stream.runCollect(posts.scan())), ["2", "3"])
        assert.deepStrictEqual(ids((yield* posts.list()).items), ["2", "3"])
        assert.deepStrictEqual(
          yield* Effect.map(posts.queryPage({ total: true }), ({ items, total }) => [ids(items), total]),
          [["2", "3"], 2]
        )
        assert.deepStrictEqual(yield* Stream.runCollect(posts.queryJson({ select: ["id"], scan: true })), [
          { id: "2" },
          { id: "3" }
        ])
        assert.strictEqual(
          (yield* posts.aggregate({ values: { n: { count: true } } }, { scan: true }))[0]?.values["n"],
          2
        )
        yield* posts.insert(post("5", "bo"))
        yield* posts.upsert(post("5", "bo", { views: 1 }))
        yield* posts.upsert(post("6", "bo"))
        yield* posts.update("5", { views: 2 })
        yield* posts.setContent("5", new Uint8Array([1]))
        assert.isTrue(yield* posts.hasContent("5"))
        assert.isTrue(yield* posts.exists("5"))
        yield* posts.delete("5")
        // A document that changes its owner cannot be changed back.
        yield* posts.update("6", { author: "ana" })
        assert.strictEqual(yield* codeOf(posts.update("6", { author: "bo" })), "Forbidden")
      }).pipe(as(bo))
      yield* Guard.trusted(posts.delete("1"))
    })
  )

  it.effect("what a guard hides is no part of a listing, and changes nothing that can be seen of one", () =>
    Effect.gen(function* () {
      const Card = Schema.Struct({ id: Schema.String, owner: Schema.String, body: Schema.String, rank: Schema.Int })
      const cards = {
        schema: Card,
        primaryKey: "id",
        scan: true,
        counters: true,
        partitions: { byBody: ["body"], byRank: ["rank"] },
        unique: { body: ["body"] }
      } as const satisfies Resource.Options<typeof Card>
      const card = (id: string, owner: string, body: string, rank: number) => ({ id, owner, body, rank })
      const mine = [card("b1", "bo", "card 4", 5), card("b2", "bo", "zzz", 1), card("b3", "bo", "mine", 9)]
      const hidden = [
        [],
        [card("a1", "ana", "card 4111", 7), card("c1", "ana", "other", 0), card("d1", "ana", "zz", 10)],
        [card("a1", "ana", "aaa", 2), card("b22", "ana", "card 4000", 9), card("b23", "ana", "card 5", 9)]
      ]
      type Cards = Resource.Repository<typeof Card>
      const requests: ReadonlyArray<Parameters<Cards["query"]>[0]> = [
        {},
        { order: "body" },
        { order: "-rank" },
        { partition: "byBody" },
        { partition: "byBody", startsWith: "card 4" },
        { partition: "byRank", from: 5 },
        { where: { body: { startsWith: "card 41" } } },
        { where: { body: "card 4111" } },
        { where: { $or: [{ id: "b1" }, { id: "a1", body: { startsWith: "card 41" } }] }, order: "id" },
        { where: { id: { in: ["a1", "b1", "b3"] } }, order: "body" },
        { where: { rank: { gte: 1 } }, order: "rank" }
      ]
      /** All that a user can see of the answers. */
      const told = Effect.fnUntraced(function* (repository: Cards, isOrdered: boolean) {
        const answers: Array<unknown> = []
        // A store without an order gives others at each run.
        const shown = (found: ReadonlyArray<unknown>) => (isOrdered ? found : found.length)
        for (const request of requests) {
          answers.push(shown(yield* Stream.runCollect(repository.query({ limit: 1, ...request }))))
          answers.push(shown(yield* Stream.runCollect(repository.listIds({ limit: 2, ...request }))))
          answers.push(shown(yield* Stream.runCollect(repository.queryJson({ limit: 2, ...request, select: ["id"] }))))
          answers.push(yield* repository.count(request))
          if (request.order === undefined) {
            answers.push(yield* repository.aggregate({ values: { n: { count: true }, m: { max: "body" } } }, request))
          }
          const { where: _, order: __, ...within } = request
          answers.push(yield* repository.estimatedCount(within))
          for (const limit of [1, 2, 3, 100]) {
            let cursor: string | undefined
            do {
              const page: Effect.Success<ReturnType<Cards["queryPage"]>> = yield* repository.queryPage({
                ...request,
                limit,
                cursor,
                total: true
              })
              answers.push([shown(page.items), page.total, page.cursor === undefined])
              cursor = page.cursor
            } while (cursor !== undefined)
          }
        }
        return answers
      })
      const byGuard = (cardsOf: Cards) =>
        cardsOf.intercept(Guard.interceptor({ "*": Guard.owner<typeof Card.Type>("owner") }))
      const byWhere = (cardsOf: Cards) =>
        cardsOf.intercept({
          operations: ["list", "listIds", "query", "count"],
          priority: -1,
          before: ({ input: { request } }) =>
            Effect.succeed({ request: { ...request, where: { $and: [request.where ?? {}, { owner: "bo" }] } } })
        })
      for (const [profile, narrow] of [
        ["aws", byGuard],
        ["express", byGuard],
        ["aws", byWhere],
        ["express", byWhere]
      ] as const) {
        const answers: Array<ReadonlyArray<unknown>> = []
        for (const others of hidden) {
          const { store } = yield* MemoryStore.make({ profile })
          const cardsOf = yield* (yield* openOn(store)).open("cards", cards)
          yield* cardsOf.insertMany([...mine, ...others])
          const conditions: Array<string> = []
          // Inside the guard: what the filters after it see.
          const inside: Pipeline.Interceptor<Resource.Operations<typeof Card>, "list" | "query"> = {
            operations: ["list", "query"],
            before: ({ input }) =>
              Effect.succeed({
                filters: [
                  ...(input.filters ?? []),
                  (one) => {
                    conditions.push(one.owner)
                    return Effect.succeed(true)
                  }
                ]
              })
          }
          if (narrow === byGuard) yield* cardsOf.intercept(inside)
          yield* narrow(cardsOf)
          answers.push(yield* told(cardsOf, profile === "aws").pipe(as(bo)))
          if (narrow === byGuard) assert.deepStrictEqual([...new Set(conditions)], ["bo"])
        }
        assert.deepStrictEqual(answers[1], answers[0], profile)
        assert.deepStrictEqual(answers[2], answers[0], profile)
      }
    })
  )

  it.effect("a page is filled with what may be seen, and looks at 1,000 documents at most", () =>
    Effect.gen(function* () {
      const { posts, counter } = yield* opened
      const others = Array.from({ length: 1500 }, (_, i) => post(`a${i}`))
      yield* posts.insertMany([...others, post("b1", "bo"), post("b2", "bo"), post("b3", "bo")])
      yield* posts.intercept(Guard.interceptor({ "*": Guard.owner<typeof Post.Type>("author") }))
      yield* Effect.gen(function* () {
        const pages: Array<ReadonlyArray<string>> = []
        let cursor: string | undefined
        do {
          yield* counter.reset
          const page: Resource.Page<typeof Post.Type> = yield* posts.list({ limit: 2, cursor })
          assert.isAtMost((yield* counter.counts).get, 1_000)
          pages.push(page.items.map((one) => one.id))
          cursor = page.cursor
        } while (cursor !== undefined)
        assert.deepStrictEqual(pages, [[], ["b1", "b2"], ["b3"]])
      }).pipe(as(bo))
    })
  )

  it.effect("fields and documents take the right to query; what is narrowed is not shown whole", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insertMany([post("1"), post("2", "bo")])
      const listings: Readonly<Record<string, Stream.Stream<unknown, Resource.ListError>>> = {
        scanResults: posts.scanResults(),
        covered: posts.covered({ partition: "byAuthor" }),
        distinct: posts.distinct({ partition: "byAuthor" })
      }
      const outcomes = Effect.fnUntraced(function* (intercepted: ReturnType<Posts["intercept"]>) {
        const tags: Record<string, string> = {}
        yield* Effect.scoped(
          Effect.andThen(
            intercepted,
            Effect.gen(function* () {
              for (const [name, stream] of Object.entries(listings)) {
                const result = yield* Effect.result(Stream.runCollect(stream))
                tags[name] = Result.isSuccess(result) ? `${result.success.length}` : result.failure._tag
              }
            })
          )
        )
        return tags
      }, as(bo))
      const { allow, authenticated } = Guard
      const guard = (given: Guard.Rules<typeof Post.Type>) => posts.intercept(Guard.interceptor(given))
      const owner = Guard.owner<typeof Post.Type>("author")
      const every = (scanResults: string, covered = scanResults) => ({ scanResults, covered, distinct: covered })
      assert.deepStrictEqual(yield* outcomes(guard({ "*": authenticated })), every("2"))
      assert.deepStrictEqual(yield* outcomes(guard({ query: allow })), every("2", "Rejected"))
      assert.deepStrictEqual(yield* outcomes(guard({ listIds: allow })), every("Rejected"))
      assert.deepStrictEqual(yield* outcomes(guard({ listIds: allow, get: owner, query: owner })), every("NotAllowed"))
      assert.deepStrictEqual(yield* outcomes(guard({ listIds: owner, query: allow })), every("2", "NotAllowed"))
      assert.deepStrictEqual(
        yield* outcomes(
          posts.intercept({
            operations: "listIds",
            after: (_, ids) => Effect.succeed(Stream.filter(ids, (id) => id === "2"))
          })
        ),
        every("2", "NotAllowed")
      )
      for (const change of [{ limit: 1 }, { where: { author: "bo" } }]) {
        assert.deepStrictEqual(
          yield* outcomes(
            posts.intercept({
              operations: "query",
              before: ({ input }) => Effect.succeed({ request: { ...input.request, ...change } })
            })
          ),
          every("NotAllowed")
        )
      }
      assert.deepStrictEqual(
        yield* outcomes(posts.intercept({ operations: ["query", "listIds"], before: () => Effect.void })),
        every("2")
      )
    })
  )

  it.effect("what is denied whatever the document is denied before any request", () =>
    Effect.gen(function* () {
      const { posts, counter } = yield* opened
      yield* posts.insert(post("1"))
      yield* posts.update("1", { views: 1 })
      const drain = Stream.runDrain
      const asked = yield* Scope.make()
      // The right to upsert is none to do what it turns out to be.
      yield* Scope.provide(posts.intercept(Guard.interceptor({ upsert: Guard.authenticated })), asked)
      yield* counter.reset
      assert.strictEqual(yield* codeOf(posts.upsert(post("1"))).pipe(as(bo)), "Forbidden")
      assert.strictEqual((yield* counter.counts).get, 0)
      yield* Scope.close(asked, Exit.void)
      yield* posts.intercept(Guard.interceptor({ "*": Guard.roles(["admin"]) }))
      for (const id of ["1", "unknown"]) {
        const denied: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          drain(posts.history(id)),
          posts.restore(id, { version: 1 }),
          posts.getAt(id, { version: 1 }),
          posts.getByUnique("title", { title: `title of ${id}` }),
          posts.get(id),
          posts.getDocument(id),
          posts.getFromPartition(id, { partition: "byAuthor", values: { author: "ana" } }),
          posts.exists(id),
          posts.hasContent(id),
          posts.setContent(id, new Uint8Array(1)),
          posts.update(id, { views: 2 }),
          posts.upsert(post(id)),
          posts.replace(post(id)),
          posts.delete(id),
          posts.deleteMany([id]),
          posts.deleteAll,
          posts.count(),
          posts.list(),
          drain(posts.listIds()),
          drain(posts.scan()),
          drain(posts.scanResults()),
          drain(posts.covered({ partition: "byAuthor" })),
          drain(posts.updateMany({ where: { author: "ana" } }, { views: 3 }))
        ]
        yield* counter.reset
        for (const effect of denied) assert.strictEqual(yield* codeOf(effect).pipe(as(bo)), "Forbidden")
        const counts = Object.entries(yield* counter.counts).filter(([, count]) => count > 0)
        assert.deepStrictEqual(counts, [])
      }
    })
  )

  it.effect("items and total of a page come of the same narrowing, that of list", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insertMany([post("1"), post("2", "bo"), post("3", "bo")])
      const told = Effect.map(posts.queryPage({ total: true, limit: 100 }), ({ items, total }) => [items.length, total])
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* posts.intercept({
            operations: "list",
            before: ({ input: { request } }) => Effect.succeed({ request: { ...request, where: { author: "bo" } } })
          })
          assert.deepStrictEqual(yield* told, [2, 2])
        })
      )
      // Whoever may page through them needs no other right to have them counted.
      yield* posts.intercept(Guard.interceptor({ list: Guard.owner<typeof Post.Type>("author") }))
      assert.deepStrictEqual(yield* told.pipe(as(bo)), [2, 2])
      assert.deepStrictEqual(yield* told.pipe(as(ana)), [1, 1])
      const two = yield* posts.queryPage({ total: true, limit: 1 }).pipe(as(bo))
      assert.deepStrictEqual([two.items.length, two.total], [1, 2])
    })
  )

  it.live("the check of a write sees the version that it changes, not one from before", () =>
    Effect.gen(function* () {
      const { posts } = yield* guarded
      // Somebody takes the document away between the reading and the writing.
      const taken = yield* as(bo)(
        codeOf(
          posts.update("2", (current) =>
            current.author === "bo"
              ? Effect.as(Effect.orDie(Guard.trusted(posts.update("2", { author: "ana" }))), { views: 1 })
              : { views: 2 }
          )
        )
      )
      assert.strictEqual(taken, "Forbidden")
      assert.deepInclude(yield* as(ana)(posts.get("2")), { author: "ana" })
      assert.strictEqual((yield* as(ana)(posts.get("2"))).views, undefined)
    })
  )

  it.effect("a check sees the new document of an insert or replace as it is going to be stored", () =>
    Effect.gen(function* () {
      const { open, database } = yield* openNew
      const Doc = Schema.Struct({ id: Schema.String, createdBy: Schema.optionalKey(Schema.String) })
      const docs = yield* open("docs", { schema: Doc, primaryKey: "id", userstamps: true })
      yield* docs.intercept(Guard.interceptor({ "*": Guard.owner<typeof Doc.Type>("createdBy") }))
      yield* Effect.gen(function* () {
        yield* docs.insert({ id: "1", createdBy: "bo" })
        yield* docs.replace({ id: "2" })
        yield* database.transaction(Effect.andThen(docs.replace({ id: "3" }), docs.upsert({ id: "4" })))
        assert.deepStrictEqual(
          (yield* docs.getMany(["1", "2", "3", "4"])).map((one) => Option.getOrThrow(one).createdBy),
          ["ana", "ana", "ana", "ana"]
        )
      }).pipe(as(ana))
      assert.strictEqual(yield* codeOf(docs.replace({ id: "2" })).pipe(as(bo)), "Forbidden")
      assert.strictEqual(yield* codeOf(database.transaction(docs.replace({ id: "2" }))).pipe(as(bo)), "Forbidden")
    })
  )

  it.effect("an id that is named twice is deleted, and told of, once; a wrong one changes nothing", () =>
    Effect.gen(function* () {
      const { posts } = yield* guarded
      const events: Array<string> = []
      yield* posts.onChange("Deleted", (change) => Effect.sync(() => events.push(change.id)))
      const wrong = yield* Effect.flip(posts.deleteMany(["1", "\ud800"])).pipe(as(ana))
      assert.strictEqual(wrong._tag, "InvalidInput")
      assert.isTrue(yield* Guard.trusted(posts.exists("1")))
      const { deleted } = yield* posts.deleteMany(["1", "1"]).pipe(as(ana))
      assert.deepStrictEqual(deleted, ["1"])
      yield* settled
      assert.deepStrictEqual(events, ["1"])
    })
  )

  it.effect(
    "within a transaction a guard decides as outside, and a denial takes nothing back but the transaction",
    () =>
      Effect.gen(function* () {
        const { posts, database } = yield* guarded
        const error = yield* Effect.flip(
          database.transaction(
            Effect.gen(function* () {
              yield* posts.update("2", { views: 1 })
              yield* posts.update("1", { views: 1 })
            })
          )
        ).pipe(as(bo))
        assert.strictEqual(error._tag, "Rejected")
        assert.strictEqual((yield* as(bo)(posts.get("2"))).views, undefined)
      })
  )
})

describe("changes of a resource", () => {
  const collect = Effect.fnUntraced(function* (posts: Posts) {
    const events: Array<Change.Change<typeof Post.Type>> = []
    const stream = yield* posts.subscribe()
    yield* Effect.forkScoped(
      Stream.runForEach(stream, (event) =>
        Effect.sync(() => {
          if (!Change.isLagged(event)) events.push(event)
        })
      )
    )
    const seen = Effect.gen(function* () {
      yield* settled
      return events.splice(0).map(({ _tag, id, before, after }) => ({
        _tag,
        id,
        before: Option.getOrUndefined(before)?.views,
        after: Option.isSome(after)
      }))
    })
    return seen
  })

  it.effect("T48: each committed write is told, with what was before where that is known", () =>
    Effect.gen(function* () {
      const { posts, database } = yield* opened
      const told = yield* collect(posts)
      const event = (_tag: Change.Tag, id: string, before?: number) => ({
        _tag,
        id,
        before,
        after: _tag !== "Deleted"
      })
      yield* posts.insert(post("1", "ana", { views: 1 }))
      yield* posts.update("1", { views: 2 })
      yield* posts.patch("1", { views: 3 })
      yield* posts.upsert(post("1", "ana", { views: 4 }))
      yield* posts.upsert(post("2"))
      yield* posts.replace(post("1", "ana", { views: 5 }))
      yield* posts.setContent("1", new Uint8Array(2))
      yield* posts.deleteContent("1")
      yield* posts.delete("1")
      assert.deepStrictEqual(yield* told, [
        event("Inserted", "1"),
        event("Updated", "1", 1),
        event("Updated", "1", 2),
        event("Updated", "1", 3),
        event("Inserted", "2"),
        event("Updated", "1", 4),
        event("ContentSet", "1", 5),
        event("ContentDeleted", "1", 5),
        event("Deleted", "1", 5)
      ])
      // Nothing was there: there is nothing to tell.
      yield* posts.delete("1")
      yield* Effect.ignore(posts.insert(post("2")))
      yield* posts.insertMany([post("3"), post("4"), post("5")])
      yield* posts.deleteMany(["3", "nothing"])
      yield* Stream.runDrain(posts.updateMany({ where: { id: "4" } }, { views: 8 }))
      assert.deepStrictEqual(
        (yield* told).map(({ _tag, id }) => `${_tag}:${id}`).toSorted(),
        ["Deleted:3", "Inserted:3", "Inserted:4", "Inserted:5", "Updated:4"].toSorted()
      )
      // A transaction is told when it is committed, and not at all when it is not.
      yield* database.transaction(
        Effect.gen(function* () {
          yield* posts.insert(post("6"))
          yield* posts.delete("5")
          assert.deepStrictEqual(yield* told, [])
        })
      )
      assert.deepStrictEqual(
        (yield* told).map(({ _tag, id }) => `${_tag}:${id}`),
        ["Inserted:6", "Deleted:5"]
      )
      yield* Effect.ignore(database.transaction(Effect.andThen(posts.insert(post("7")), Effect.fail("no"))))
      assert.deepStrictEqual(yield* told, [])
      yield* posts.deleteAll
      assert.deepStrictEqual((yield* told).map(({ id }) => id).toSorted(), ["2", "4", "6"])
    })
  )

  it.effect(
    "a write is told and counted as soon as it is there, whatever is still to be removed, also when it is interrupted",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        // What the version before owned takes its time to go.
        const slow: typeof store = {
          ...store,
          deleteMany: (...args) => Effect.delay(store.deleteMany(...args), "1 minute")
        }
        const { open } = yield* openOn(slow)
        const cities = yield* open("cities", {
          schema: Schema.Struct({ id: Schema.String, country: Schema.String }),
          primaryKey: "id",
          partitions: { byCountry: ["country"] },
          counters: { partitions: ["byCountry"] }
        })
        const told: Array<string> = []
        yield* cities.onChange({}, (change) =>
          Effect.sync(() => told.push(`${change._tag} ${change.id} ${Option.getOrUndefined(change.version)}`))
        )
        yield* cities.insert({ id: "1", country: "P" })
        const first = yield* Effect.forkChild(cities.update("1", { country: "B" }))
        while (told.length < 2) yield* Effect.yieldNow
        const second = yield* Effect.forkChild(cities.update("1", { country: "C" }))
        while (told.length < 3) yield* Effect.yieldNow
        yield* Fiber.interrupt(first)
        yield* Fiber.interrupt(second)
        assert.deepStrictEqual(told, ["Inserted 1 1", "Updated 1 2", "Updated 1 3"])
        assert.strictEqual((yield* cities.get("1")).country, "C")
        assert.strictEqual(yield* cities.estimatedCount({ partition: "byCountry", values: { country: "C" } }), 1)
        assert.strictEqual(yield* cities.estimatedCount({ partition: "byCountry", values: { country: "P" } }), 0)
        const removal = yield* Effect.forkChild(cities.delete("1"))
        while (told.length < 4) yield* Effect.yieldNow
        yield* Fiber.interrupt(removal)
        assert.strictEqual(told[3], "Deleted 1 3")
        assert.strictEqual(yield* cities.estimatedCount(), 0)
      })
  )

  it.effect("T48: a listener that fails or dies does not fail the write", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      const seen: Array<string> = []
      yield* posts.onChange({}, () => Effect.fail("listener"))
      yield* posts.onChange({}, () => Effect.die("listener"))
      yield* posts.onChange("Inserted:1", (change) => Effect.sync(() => seen.push(change.id)))
      yield* posts.insert(post("1"))
      yield* posts.insert(post("2"))
      yield* settled
      assert.deepStrictEqual(seen, ["1"])
    }).pipe(quietly)
  )

  it.effect("blind writes tell what they know, and no request is made to know more", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { counter, store: counted } = InstrumentedStore.make(store)
      const { open } = yield* openOn(counted)
      const plain = yield* open("plain", { schema: Post, primaryKey: "id", allowDeleteAll: true })
      const events = yield* Effect.forkScoped(Stream.runCollect(Stream.take(plain.changes(), 3)))
      yield* Effect.yieldNow
      yield* counter.reset
      yield* plain.replace(post("1"))
      yield* plain.delete("1")
      yield* plain.deleteMany(["1"])
      const counts = yield* counter.counts
      assert.deepStrictEqual([counts.put, counts.delete, counts.deleteMany, counts.get, counts.head], [1, 1, 1, 0, 0])
      const told = yield* Fiber.join(events)
      assert.deepStrictEqual(
        told.map((event) => (Change.isLagged(event) ? "lagged" : [event._tag, Option.isSome(event.before)])),
        [
          ["Updated", false],
          ["Deleted", false],
          ["Deleted", false]
        ]
      )
    })
  )

  it.effect("the database tells of resources that are made and opened, and of its end", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const scope = yield* Scope.make()
      yield* Effect.gen(function* () {
        const database = yield* Database.Database
        yield* database.lifecycle.on({}, ({ _tag, resource }) =>
          Effect.sync(() => seen.push(`${_tag} ${Option.getOrElse(resource, () => "")}`))
        )
        const open = Resource.make(Resource.define("posts", { schema: Post, primaryKey: "id" }))
        yield* open
        yield* open
        yield* settled
      }).pipe(
        Effect.provide(Layer.provide(Database.layer, MemoryStore.layer)),
        Effect.provideService(Scope.Scope, scope)
      )
      yield* settled
      assert.deepStrictEqual(seen, ["ResourceCreated posts", "ResourceOpened posts", "Closed "])
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("deletions", () => {
  it.effect("T27: a second delete fails where the document must exist, else it has been done already", () =>
    Effect.gen(function* () {
      for (const extra of [{}, { history: true }] as const) {
        const { open } = yield* openNew
        const posts = yield* open("posts", { schema: Post, primaryKey: "id", ...extra })
        yield* posts.insert(post("1"))
        yield* posts.delete("1", { mustExist: true })
        assert.strictEqual((yield* Effect.flip(posts.delete("1", { mustExist: true })))._tag, "NotFound")
        yield* posts.delete("1")
        yield* posts.insert(post("1"))
        const document = yield* posts.getDocument("1")
        yield* posts.delete(document)
        assert.strictEqual((yield* Effect.flip(posts.delete(document)))._tag, "NotFound")
      }
    })
  )

  it.effect("T28: deleteAll needs allowDeleteAll: true, and does not touch a resource whose name begins alike", () =>
    Effect.gen(function* () {
      const { open } = yield* openNew
      const shared = { schema: Post, primaryKey: "id" } as const
      const careful = yield* open("careful", shared)
      yield* careful.insert(post("1"))
      assert.strictEqual((yield* Effect.flip(careful.deleteAll))._tag, "NotAllowed")
      const user = yield* open("user", { ...shared, allowDeleteAll: true })
      const users = yield* open("users", { ...shared, allowDeleteAll: true })
      yield* user.insertMany([post("1"), post("2")])
      yield* users.insertMany([post("1"), post("2"), post("3")])
      assert.strictEqual(yield* user.deleteAll, 2)
      assert.strictEqual(yield* users.count(), 3)
      assert.strictEqual(yield* user.count(), 0)
    })
  )
})

describe("fields that fill themselves in", () => {
  const Note = Schema.Struct({
    id: Schema.String,
    text: Schema.String,
    createdAt: Schema.optionalKey(Attribute.DateTime),
    updatedAt: Schema.optionalKey(Schema.String),
    createdBy: Schema.optionalKey(Schema.String),
    updatedBy: Schema.optionalKey(Schema.String),
    size: Schema.optionalKey(Schema.Int),
    label: Schema.optionalKey(Schema.String)
  })
  const noted = Effect.gen(function* () {
    const fixture = yield* openNew
    const notes = yield* fixture.open("notes", {
      schema: Note,
      primaryKey: "id",
      timestamps: true,
      userstamps: true,
      computed: {
        size: (note) => note.text.length,
        label: (note) => (note.size === 0 ? undefined : `${note.id} (${note.size})`)
      }
    })
    return { ...fixture, notes }
  })

  it.effect("T30: createdAt stays, updatedAt moves on, whatever the caller gives", () =>
    Effect.gen(function* () {
      const { notes, store } = yield* noted
      yield* TestClock.setTime(1_000)
      const made = yield* notes.insert({ id: "1", text: "a", createdAt: DateTime.makeUnsafe(5), updatedAt: "never" })
      assert.strictEqual(DateTime.toEpochMillis(made.createdAt!), 1_000)
      assert.strictEqual(made.updatedAt, "1970-01-01T00:00:01.000Z")
      yield* TestClock.setTime(2_000)
      const changed = yield* notes.update("1", { text: "b", createdAt: DateTime.makeUnsafe(7) })
      assert.strictEqual(DateTime.toEpochMillis(changed.createdAt!), 1_000)
      assert.strictEqual(changed.updatedAt, "1970-01-01T00:00:02.000Z")
      assert.deepStrictEqual(yield* notes.get("1"), changed)
      const document = yield* notes.getDocument("1")
      assert.strictEqual(DateTime.toEpochMillis(document.writtenAt), 2_000)
      const head = yield* Effect.orDie(store.head("resource=notes/data/id=1"))
      assert.isFalse(Object.keys(head.metadata).some((name) => name.toLowerCase().includes("Updated")))
      yield* TestClock.setTime(3_000)
      const replaced = yield* notes.replace({ id: "1", text: "c" })
      assert.strictEqual(DateTime.toEpochMillis(replaced.createdAt!), 1_000)
      assert.strictEqual(replaced.updatedAt, "1970-01-01T00:00:03.000Z")
    })
  )

  it.effect("userstamps say who made and who changed a document", () =>
    Effect.gen(function* () {
      const { notes, database } = yield* noted
      const made = yield* as(ana)(notes.insert({ id: "1", text: "a", createdBy: "mallory" }))
      assert.deepInclude(made, { createdBy: "ana", updatedBy: "ana" })
      assert.deepInclude(yield* as(bo)(notes.update("1", { text: "b", createdBy: "bo" })), {
        createdBy: "ana",
        updatedBy: "bo"
      })
      // Nobody is logged in: it is the program's own work.
      assert.deepInclude(yield* notes.patch("1", { text: "c" }), { createdBy: "ana", updatedBy: "bo" })
      assert.deepInclude(yield* as(bo)(notes.replace({ id: "1", text: "d" })), { createdBy: "ana", updatedBy: "bo" })
      assert.deepInclude(yield* as(ana)(notes.upsert({ id: "1", text: "e" })), { createdBy: "ana", updatedBy: "ana" })
      assert.deepInclude(yield* as(bo)(database.transaction(notes.update("1", { text: "f" }))), {
        createdBy: "ana",
        updatedBy: "bo"
      })
      assert.isFalse("createdBy" in (yield* notes.insert({ id: "2", text: "a", createdBy: "mallory" })))
    })
  )

  it.effect("computed fields follow the others, in their order", () =>
    Effect.gen(function* () {
      const { notes } = yield* noted
      assert.deepInclude(yield* notes.insert({ id: "1", text: "abc", size: 99 }), { size: 3, label: "1 (3)" })
      assert.deepInclude(yield* notes.update("1", { text: "abcd" }), { size: 4, label: "1 (4)" })
      const empty = yield* notes.patch("1", { text: "" })
      assert.strictEqual(empty.size, 0)
      assert.isFalse("label" in empty)
    })
  )

  it.effect("fields that every document has need not be given either, in no form of an input", () =>
    Effect.gen(function* () {
      class Note extends Schema.Class<Note>("pipeline/Note")({
        id: Schema.String,
        text: Schema.String,
        kind: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("plain"))),
        createdAt: Attribute.DateTime,
        updatedAt: Schema.Date,
        updatedBy: Schema.String,
        size: Schema.Int,
        label: Schema.NonEmptyString
      }) {}
      const { database } = yield* openNew
      const definition = Resource.define("notes", {
        schema: Note,
        primaryKey: "id",
        timestamps: true,
        userstamps: true,
        computed: { size: (note) => note.text.length, label: (note) => `${note.kind} ${note.size}` }
      })
      const notes = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      yield* TestClock.setTime(1_000)
      const made = yield* as(ana)(notes.insert({ id: "1", text: "abc" }))
      assert.instanceOf(made, Note)
      assert.deepInclude(made, { text: "abc", kind: "plain", updatedBy: "ana", size: 3, label: "plain 3" })
      assert.strictEqual(made.createdAt.epochMilliseconds, 1_000)
      assert.deepStrictEqual(yield* notes.get("1"), made)
      const json = yield* as(bo)(notes.insertJson({ id: "2", text: "de", kind: "x" }))
      assert.deepInclude(json, { size: 2, label: "x 2", updatedBy: "bo", createdAt: "1970-01-01T00:00:01.000Z" })
      const replaced = yield* as(bo)(notes.replaceJson({ id: "2", text: "def", kind: "x", size: 99 }))
      assert.deepInclude(replaced, { size: 3, label: "x 3" })
      assert.deepInclude(yield* as(bo)(notes.update("1", { text: "" })), { size: 0, label: "plain 0", updatedBy: "bo" })
      assert.deepInclude(yield* as(ana)(notes.upsert({ id: "3", text: "z" })), { size: 1, updatedBy: "ana" })
      const anonymous = yield* Effect.flip(notes.insert({ id: "4", text: "z" }))
      assert.include(anonymous.message, "updatedBy")
      const missing = yield* Effect.flip(as(ana)(notes.insertJson({ id: "4" })))
      assert.include(missing.message, "text")
      assert.strictEqual(yield* notes.count(), 3)
    })
  )

  it("a field that cannot hold them is refused when the resource is declared", () => {
    const refused = (fields: Schema.Struct.Fields, more: object, message: RegExp) =>
      assert.throws(() => {
        const schema = Schema.Struct({ id: Schema.String, ...fields })
        Resource.define("notes", { schema, primaryKey: "id", ...more } as never)
      }, message)
    refused({ createdAt: Schema.Boolean }, { timestamps: true }, /notes.createdAt cannot hold a time/)
    refused({ updatedBy: Schema.Int }, { userstamps: true }, /notes.updatedBy cannot hold the id of a user/)
    refused({}, { computed: { nothing: () => 1 } }, /computed names "nothing"/)
    refused({}, { computed: { id: () => "x" } }, /computed names "id"/)
  })

  it.effect("a time may also be a Date or a number", () =>
    Effect.gen(function* () {
      const Form = Schema.Struct({
        id: Schema.String,
        createdAt: Schema.optionalKey(Schema.Date),
        updatedAt: Schema.optionalKey(Schema.Number)
      })
      const { open } = yield* openNew
      const forms = yield* open("forms", { schema: Form, primaryKey: "id", timestamps: true })
      yield* TestClock.setTime(1_500)
      assert.deepStrictEqual(yield* forms.insert({ id: "1" }), {
        id: "1",
        createdAt: new Date(1_500),
        updatedAt: 1_500
      })
    })
  )

  it.effect("options travel with the catalog, computed fields are named as left out", () =>
    Effect.gen(function* () {
      const { database } = yield* noted
      const definition = yield* Effect.provideService(Resource.fromCatalog("notes"), Database.Database, database)
      assert.deepStrictEqual(
        Resource.omissions(definition).map(({ what }) => what),
        ["computed"]
      )
      assert.isDefined(definition.completion)
      const again = yield* Effect.provideService(Resource.make(definition), Database.Database, database)
      yield* TestClock.setTime(9_000)
      const made = yield* as(ana)(again.insert({ id: "9", text: "x" }))
      assert.deepInclude(made, { createdBy: "ana", updatedAt: "1970-01-01T00:00:09.000Z" })
    })
  )

  it.effect("filters of get make a document that does not pass not found, by whatever way it is read", () =>
    Effect.gen(function* () {
      const { posts } = yield* opened
      yield* posts.insert(post("1"))
      yield* TestClock.adjust("1 minute")
      yield* posts.insert(post("2"))
      const seen: Array<Pipeline.Seen> = []
      yield* posts.intercept({
        operations: ["get"],
        before: ({ input }) => {
          const { filters } = input
          // Earlier versions have none.
          if (filters === undefined) return Effect.void
          const isNew: Pipeline.Filter<typeof Post.Type> = (_, one) => {
            seen.push(one)
            return Effect.succeed(one.createdAt >= 60_000)
          }
          return Effect.succeed({ filters: [...filters, isNew] })
        }
      })
      assert.deepStrictEqual(yield* Effect.flip(posts.get("1")), yield* Effect.flip(posts.get("1")))
      for (const hidden of [
        posts.get("1"),
        posts.getDocument("1"),
        posts.getJson("1"),
        posts.getByUnique("title", { title: "title of 1" }),
        posts.getFromPartition("1", { partition: "byAuthor", values: { author: "ana" } })
      ]) {
        assert.strictEqual(
          (yield* Effect.flip(hidden as Effect.Effect<unknown, { readonly _tag: string }>))._tag,
          "NotFound"
        )
      }
      assert.isTrue(Option.isNone(yield* posts.getOption("1")))
      assert.deepStrictEqual((yield* posts.getMany(["1", "2", "3"])).map(Option.isSome), [false, true, false])
      assert.deepStrictEqual(seen.at(-1), { id: "2", createdAt: 60_000, writtenAt: 60_000 })
      assert.strictEqual((yield* posts.getAt("1", { version: 1 })).id, "1")
    })
  )
})
