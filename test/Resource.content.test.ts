import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { createHash } from "node:crypto"
import * as Content from "effect-s3db/Content"
import * as Database from "effect-s3db/Database"
import type * as DbError from "effect-s3db/DbError"
import * as Definition from "effect-s3db/Definition"
import * as Resource from "effect-s3db/Resource"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { crashing, drive, keysOf, memory, moments, openNew, openOn } from "./fixture.ts"

const File = Schema.Struct({ id: Schema.String, name: Schema.String, owner: Schema.String })

const options = {
  schema: File,
  primaryKey: "id",
  content: true,
  history: true,
  partitions: { byOwner: ["owner"] }
} as const satisfies Resource.Options<typeof File>

type Files = Resource.Repository<typeof File>

const bytesOf = (size: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(size)
  let state = seed
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

const read = Effect.fnUntraced(function* (files: Files, id: string, range?: Content.Range) {
  const content = yield* files.getContent(id, range)
  if (Option.isNone(content)) return undefined
  const chunks = yield* Stream.runCollect(content.value.bytes)
  return Buffer.concat(chunks)
})

const on = (store: ObjectStore["Service"], through: ObjectStore["Service"] = store) =>
  Effect.gen(function* () {
    const { database } = yield* openOn(store)
    const definition = Definition.from("files", options)
    return yield* Effect.provideService(Resource.make(definition), Database.Database, { ...database, store: through })
  })

describe("content", () => {
  it.effect("T33 and T34: bytes of any size survive changes of the document, and go with it", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "a.png", owner: "ana" })
      assert.isFalse(yield* files.hasContent("1"))
      assert.isTrue(Option.isNone(yield* files.getContent("1")))
      const image = bytesOf(1_000_000)
      const document = yield* files.setContent("1", image, { contentType: "image/png" })
      const sha256 = createHash("sha256").update(image).digest("hex")
      assert.deepStrictEqual(document.content, { size: image.length, contentType: "image/png", sha256 })
      const found = Option.getOrThrow(yield* files.getContent("1"))
      assert.deepInclude(found, { contentType: "image/png", size: image.length, sha256 })
      assert.isTrue(Buffer.from(image).equals((yield* read(files, "1"))!))

      yield* files.update("1", { name: "b.png" })
      yield* files.patch("1", { owner: "bo" })
      yield* files.replace({ id: "1", name: "c.png", owner: "cy" })
      assert.isTrue(yield* files.hasContent("1"))
      assert.isTrue(Buffer.from(image).equals((yield* read(files, "1"))!))
      assert.strictEqual((yield* files.get("1")).name, "c.png")

      // Another one takes its place, and nothing of the first is left.
      yield* files.setContent("1", new Uint8Array(0))
      assert.strictEqual((yield* read(files, "1"))!.length, 0)
      assert.strictEqual((yield* keysOf(store, "resource=files/content/")).length, 1)
      yield* files.deleteContent("1")
      assert.isFalse(yield* files.hasContent("1"))
      assert.deepStrictEqual(yield* keysOf(store, "resource=files/content/"), [])
      yield* files.deleteContent("1")
      for (const remove of [() => files.delete("1"), () => files.deleteMany(["1"])]) {
        yield* files.upsert({ id: "1", name: "x", owner: "x" })
        yield* files.setContent("1", image)
        yield* remove()
        assert.deepStrictEqual(yield* keysOf(store, "resource=files/content/"), [])
      }
      for (const missing of [
        files.hasContent("1"),
        files.getContent("1"),
        files.setContent("1", image),
        files.deleteContent("1")
      ]) {
        assert.strictEqual((yield* Effect.flip(missing as Effect.Effect<unknown, { _tag: string }>))._tag, "NotFound")
      }
      const plain = yield* open("plain", { schema: File, primaryKey: "id" })
      assert.strictEqual((yield* Effect.flip(plain.setContent("1", image)))._tag, "NotAllowed")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(plain.history("1"))))._tag, "NotAllowed")
    })
  )

  it.effect("bytes that are missing or others are told of, and a range that makes no sense is refused", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "a", owner: "ana" })
      yield* files.setContent("1", bytesOf(1000))
      const [key = ""] = yield* keysOf(store, "resource=files/content/")
      const readAll = (range?: Content.Range) =>
        Effect.flatMap(files.getContent("1", range), (found) => Stream.runCollect(Option.getOrThrow(found).bytes))
      yield* readAll()
      for (const range of [
        { start: 5, end: 4 },
        { start: 0, end: Number.NaN },
        { start: 0, end: 1.5 },
        { start: 1000 },
        { start: -1 }
      ]) {
        const error = yield* Effect.flip(readAll(range))
        assert.strictEqual(error._tag, "InvalidInput")
      }
      for (const contentType of ["", "text/html\r\nx: y", "ü"]) {
        assert.strictEqual(
          (yield* Effect.flip(files.setContent("1", bytesOf(1), { contentType })))._tag,
          "InvalidInput"
        )
      }
      const reasonOf = (range?: Content.Range) =>
        Effect.map(Effect.flip(readAll(range)), (error) => error._tag === "DbError" && error.reason._tag)
      yield* store.put({ key, body: bytesOf(1000, 2) })
      assert.strictEqual(yield* reasonOf(), "Corrupt")
      // A part alone has no checksum of its own.
      yield* readAll({ start: 1 })
      yield* store.put({ key, body: bytesOf(999) })
      assert.strictEqual(yield* reasonOf(), "Corrupt")
      assert.strictEqual(yield* reasonOf({ start: 990 }), "Corrupt")
    })
  )

  it.effect("an upload that fails or is interrupted leaves nothing", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "a", owner: "ana" })
      const much = Stream.make(bytesOf(Content.partBytes), bytesOf(10))
      const failing = Stream.concat(much, Stream.fail("no more"))
      assert.strictEqual(yield* Effect.flip(files.setContent("1", failing)), "no more")
      assert.deepStrictEqual(yield* keysOf(store, "resource=files/content/"), [])
      const endless = yield* Effect.forkChild(files.setContent("1", Stream.concat(much, Stream.never)))
      while ((yield* keysOf(store, "resource=files/content/")).length === 0) yield* Effect.yieldNow
      yield* Fiber.interrupt(endless)
      assert.deepStrictEqual(yield* keysOf(store, "resource=files/content/"), [])
      assert.isFalse(yield* files.hasContent("1"))
    })
  )

  it.effect("a transaction takes no content, and sees what it does to documents", () =>
    Effect.gen(function* () {
      const { database, open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "a", owner: "ana" })
      yield* files.setContent("1", bytesOf(10))
      for (const refused of [files.setContent("1", bytesOf(20)), files.deleteContent("1")]) {
        assert.strictEqual((yield* Effect.flip(database.transaction(refused)))._tag, "NotAllowed")
      }
      yield* database.transaction(
        Effect.gen(function* () {
          assert.isTrue(yield* files.hasContent("1"))
          yield* files.update("1", { name: "b" })
          assert.isTrue(yield* files.hasContent("1"))
          yield* files.delete("1")
          assert.strictEqual((yield* Effect.flip(files.hasContent("1")))._tag, "NotFound")
        })
      )
      assert.deepStrictEqual(yield* keysOf(store, "resource=files/content/"), [])
    })
  )

  it.effect("streams of many parts, and ranges across them", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "long", owner: "ana" })
      const whole = bytesOf(Content.partBytes * 2 + 12_345)
      const chunks: Array<Uint8Array> = []
      for (let at = 0; at < whole.length; at += 700_001) chunks.push(whole.subarray(at, at + 700_001))
      yield* files.setContent("1", Stream.fromArray(chunks))
      assert.strictEqual((yield* keysOf(store, "resource=files/content/")).length, 3)
      assert.isTrue(Buffer.from(whole).equals((yield* read(files, "1"))!))
      const { partBytes } = Content
      for (const [start, end] of [
        [0, 0],
        [0, partBytes - 1],
        [partBytes - 1, partBytes],
        [partBytes, partBytes * 2 - 1],
        [10, partBytes * 2 + 10],
        [partBytes * 2 + 12_000, undefined],
        [5, 10 ** 12]
      ] as const) {
        const expected = whole.subarray(start, end === undefined ? undefined : end + 1)
        assert.isTrue(Buffer.from(expected).equals((yield* read(files, "1", { start, end }))!), `${start} ${end}`)
      }
      const past = yield* Effect.flip(files.getContent("1", { start: whole.length }))
      assert.strictEqual((past as DbError.InvalidInput).issues[0]?.path.join("."), "range.start")
      // A stream that fails leaves the content before as it was, and nothing else.
      const broken = Stream.concat(Stream.succeed(bytesOf(10)), Stream.fail("broken" as const))
      assert.strictEqual(yield* Effect.flip(files.setContent("1", broken)), "broken")
      assert.strictEqual((yield* read(files, "1", { start: 0, end: 9 }))!.length, 10)
    })
  )

  const contentOperations: ReadonlyArray<readonly [string, (files: Files) => Effect.Effect<unknown, unknown>]> = [
    ["setContent", (files) => files.setContent("1", bytesOf(20, 2))],
    ["deleteContent", (files) => files.deleteContent("1")],
    ["update", (files) => files.update("1", { owner: "new" })],
    ["delete", (files) => files.delete("1")]
  ]

  for (const [name, operation] of contentOperations) {
    it.effect(`a crash at any request of ${name} leaves a document with a whole content, and repair nothing else`, () =>
      Effect.gen(function* () {
        for (let at = 1, finished = false; !finished; at++) {
          for (const when of moments) {
            const label = `${name}, ${when} request ${at}`
            const store = yield* memory
            const setup = yield* on(store)
            yield* setup.insert({ id: "1", name: "n", owner: "old" })
            yield* setup.setContent("1", bytesOf(10, 1))
            const files = yield* on(store, crashing(store, at, when).store)
            const exit = yield* Effect.exit(operation(files))
            finished = Exit.isSuccess(exit)
            if (Exit.isFailure(exit)) assert.isTrue(Cause.hasDies(exit.cause), label)
            const observer = yield* on(store)
            const look = Effect.gen(function* () {
              const found = yield* Effect.option(observer.get("1"))
              if (Option.isNone(found)) return "gone"
              const bytes = yield* read(observer, "1")
              if (bytes !== undefined)
                assert.isTrue(
                  [10, 20].some((size) => bytes.equals(bytesOf(size, size / 10))),
                  label
                )
              const past = yield* Stream.runCollect(observer.history("1"))
              assert.isTrue(
                past.every((one) => one.version < 4),
                label
              )
              return `${found.value.owner} ${bytes?.length}`
            })
            const seen = yield* look
            yield* TestClock.adjust("1 hour")
            yield* Stream.runDrain((yield* observer.admin).repair({ dryRun: false }))
            assert.strictEqual(yield* look, seen, label)
            const left = yield* keysOf(store, "resource=files/content/")
            assert.strictEqual(left.length, seen === "gone" || seen.endsWith("undefined") ? 0 : 1, label)
            yield* Effect.exit(operation(observer))
          }
        }
      })
    )
  }
})

describe("history", () => {
  const at = (text: string) => ({ time: DateTime.makeUnsafe(text) })

  it.effect("every version, by number and by time, also of what is gone", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 1))
      const { database, open } = yield* openNew
      const files = yield* open("files", options)
      const day = TestClock.adjust("1 day")
      yield* files.insert({ id: "1", name: "v1", owner: "ana" })
      yield* day
      yield* files.update("1", { name: "v2" })
      yield* day
      yield* database.transaction(
        Effect.andThen(files.update("1", { name: "v3" }), files.insert({ id: "2", name: "other", owner: "x" }))
      )
      yield* day
      const names = Effect.map(Stream.runCollect(files.history("1")), (all) =>
        all.map((one) => `${one.version} ${one.value.name}`)
      )
      assert.deepStrictEqual(yield* names, ["2 v2", "1 v1"])
      const nameAt = (when: Parameters<typeof files.getAt>[1]) =>
        Effect.map(files.getAt("1", when), (one) => one.value.name)
      assert.strictEqual(yield* nameAt({ version: 1 }), "v1")
      assert.strictEqual(yield* nameAt({ version: 3 }), "v3")
      assert.strictEqual(yield* nameAt(at("2026-01-02T12:00:00Z")), "v2")
      assert.strictEqual(yield* nameAt(at("2026-01-05T00:00:00Z")), "v3")
      assert.strictEqual((yield* Effect.flip(files.getAt("1", { version: 9 })))._tag, "NotFound")
      assert.strictEqual((yield* Effect.flip(files.getAt("1", at("2025-12-31T00:00:00Z"))))._tag, "NotFound")
      yield* files.delete("1")
      yield* day
      assert.deepStrictEqual(yield* names, ["3 v3", "2 v2", "1 v1"])
      assert.strictEqual((yield* Effect.flip(files.getAt("1", at("2026-01-04T12:00:00Z"))))._tag, "NotFound")
      assert.strictEqual(yield* nameAt(at("2026-01-03T12:00:00Z")), "v3")
      assert.strictEqual((yield* files.restore("1", { version: 2 })).name, "v2")
      yield* day
      yield* files.restore("1", at("2026-01-01T12:00:00Z"))
      assert.strictEqual((yield* files.get("1")).name, "v1")
      assert.strictEqual(yield* files.count({ partition: "byOwner", values: { owner: "ana" } }), 1)
      // Of a document that came back, numbers begin again; the newest with a number counts.
      assert.strictEqual(yield* nameAt({ version: 1 }), "v2")
      assert.deepStrictEqual(yield* names, ["1 v2", "3 v3", "2 v2", "1 v1"])

      yield* files.update("2", { name: "second" })
      const pruned = yield* Stream.runCollect((yield* files.admin).pruneHistory({ keep: 2 }))
      assert.deepStrictEqual(pruned, [{ id: "1", removed: 2 }])
      assert.deepStrictEqual(yield* names, ["1 v2", "3 v3"])
      yield* Stream.runDrain((yield* files.admin).pruneHistory({ before: DateTime.makeUnsafe("2026-01-04T12:00:00Z") }))
      assert.deepStrictEqual(yield* names, ["1 v2"])
    })
  )

  it.effect("a version that cannot be read ends the history, or is told in its place", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      yield* files.insert({ id: "1", name: "v1", owner: "ana" })
      for (const name of ["v2", "v3", "v4"]) yield* files.update("1", { name })
      const key = (yield* keysOf(store, "resource=files/historical/"))[1] ?? ""
      yield* store.put({ key, body: new TextEncoder().encode("{") })
      const error = yield* Effect.flip(Stream.runCollect(files.history("1")))
      assert.strictEqual(error._tag === "DbError" && error.reason._tag, "Corrupt")
      const told = yield* Stream.runCollect(files.historyResults("1"))
      assert.deepStrictEqual(
        told.map(({ version, result }) => [version, result._tag === "Success" ? result.success.value.name : "broken"]),
        [
          [3, "v3"],
          [2, "broken"],
          [1, "v1"]
        ]
      )
    })
  )

  it.effect("pruning goes by when a version was replaced, and forgets deletions with what was before them", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 1))
      const { open, store } = yield* openNew
      const files = yield* open("files", options)
      const day = TestClock.adjust("1 day")
      const left = Effect.map(keysOf(store, "resource=files/historical/"), (keys) => keys.length)
      const { pruneHistory } = yield* files.admin
      const prune = (prunes: Parameters<typeof pruneHistory>[0]) => Stream.runCollect(pruneHistory(prunes))
      yield* files.insert({ id: "1", name: "v1", owner: "ana" })
      yield* day
      yield* files.update("1", { name: "v2" })
      yield* files.insert({ id: "2", name: "gone", owner: "ana" })
      yield* day
      yield* files.delete("2")
      yield* day
      assert.strictEqual(yield* left, 3)
      for (const wrong of [{}, { keep: -1 }, { keep: Number.NaN }, { keep: 1.5 }]) {
        assert.strictEqual((yield* Effect.flip(prune(wrong)))._tag, "InvalidInput")
      }
      assert.deepStrictEqual(yield* prune({ before: DateTime.makeUnsafe("2026-01-02T00:00:00Z") }), [])
      assert.deepStrictEqual(yield* prune({ before: DateTime.makeUnsafe("2026-01-02T12:00:00Z") }), [
        { id: "1", removed: 1 }
      ])
      assert.deepStrictEqual(yield* prune({ keep: 1 }), [])
      assert.deepStrictEqual(yield* prune({ before: DateTime.makeUnsafe("2026-01-04T00:00:00Z") }), [
        { id: "2", removed: 2 }
      ])
      assert.strictEqual(yield* left, 0)
      yield* files.delete("1")
      assert.deepStrictEqual(yield* prune({ keep: 0 }), [{ id: "1", removed: 2 }])
      assert.strictEqual(yield* left, 0)
    })
  )

  it.effect("old versions are read by the present schema, and twenty writers leave every version once", () =>
    Effect.gen(function* () {
      const { open, store } = yield* openNew
      const before = yield* open("notes", {
        schema: Schema.Struct({ id: Schema.String, n: Schema.Int }),
        primaryKey: "id",
        version: 1,
        history: true
      })
      yield* before.insert({ id: "1", n: 0 })
      yield* Effect.forEach(
        Array.from({ length: 20 }),
        () => before.update("1", ({ n }) => ({ n: n + 1 }), { retries: 100 }),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkChild, Effect.flatMap(drive))
      const { open: reopen } = yield* openOn(store)
      const after = yield* reopen("notes", {
        schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
        primaryKey: "id",
        version: 2,
        migrations: { 1: ({ n, ...rest }) => ({ ...rest, text: `n ${String(n)}` }) },
        history: true
      })
      const texts = (yield* Stream.runCollect(after.history("1"))).map((one) => one.value.text)
      assert.deepStrictEqual(
        texts,
        Array.from({ length: 20 }, (_, i) => `n ${19 - i}`)
      )
    })
  )
})
