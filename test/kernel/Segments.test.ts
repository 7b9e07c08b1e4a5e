import { rmSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Timeout } from "effect-s3db/storage/StoreError"
import { crashing, keysOf, memory } from "../fixture.ts"
import { contents, explored, forgetting, on, prefix, text, textOf } from "./segmentOrders.ts"

type Store = ObjectStore["Service"]

const range = (length: number) => Array.from({ length }, (_, i) => i)

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-segments-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const stores = {
  memory,
  "a folder": Effect.flatMap(folder, (path) => Effect.orDie(FileStore.make({ path })))
}

for (const [name, store] of Object.entries(stores)) {
  describe(`Segments on ${name}`, () => {
    it.effect("adds, reads, removes; what is there twice is there once", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const segments = on(inner)
        assert.deepStrictEqual(yield* segments.read, { version: 0, fence: 0, parts: [] })
        const a = yield* segments.put(text("a"), { words: 1 })
        const b = yield* segments.put(text("b"))
        assert.deepStrictEqual(a, { name: a.name, size: 1, note: { words: 1 } })
        assert.deepStrictEqual(yield* contents(inner), [])
        const first = yield* segments.commit({ add: [a, b, b] })
        assert.deepStrictEqual([first.version, first.parts], [1, [a, b]])
        assert.deepStrictEqual(yield* on(inner).read, first)
        assert.strictEqual((yield* segments.commit({ add: [a] })).version, 1)
        const c = yield* segments.put(text("c"))
        yield* segments.commit({ add: [c], remove: [a] })
        assert.deepStrictEqual(yield* contents(inner), ["b", "c"])
        // A reader of the first version still has its parts.
        assert.deepStrictEqual(yield* Effect.forEach(first.parts, segments.get), [text("a"), text("b")])
        assert.strictEqual(
          textOf(yield* segments.range(yield* segments.put(text("0123456789")), { start: 3, end: 5 })),
          "345"
        )
        const error = yield* Effect.flip(segments.commit({ remove: [a] }))
        assert.strictEqual(error._tag, "PartsNotNamed")
      }).pipe(Effect.scoped)
    )

    it.effect("what is not named is collected, but not what was put since the collection before", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const segments = on(inner)
        const [a, b, c] = yield* Effect.forEach(["a", "b", "c"], (one) => segments.put(text(one)))
        yield* segments.commit({ add: [a!, b!] })
        yield* segments.commit({ remove: [b!] })
        // Nothing that was put in the present generation goes.
        assert.strictEqual(yield* segments.collect, 0)
        yield* on(inner).commit({ add: [c!] })
        const d = yield* segments.put(text("d"))
        assert.strictEqual(yield* segments.collect, 1)
        assert.deepStrictEqual(yield* contents(inner), ["a", "c"])
        assert.strictEqual((yield* Effect.flip(segments.get(b!))).reason._tag, "NoSuchKey")
        // One that stood still for two collections puts it again, under another key.
        assert.strictEqual(yield* segments.collect, 1)
        const error = yield* Effect.flip(segments.commit({ add: [d] }))
        assert.strictEqual(error._tag, "PartsCollected")
        assert.deepStrictEqual(error._tag === "PartsCollected" ? error.names : [], [d.name])
        const again = yield* segments.put(text("d"))
        assert.notStrictEqual(again.name, d.name)
        yield* segments.commit({ add: [again] })
        assert.deepStrictEqual(yield* contents(inner), ["a", "c", "d"])
        assert.strictEqual((yield* keysOf(inner, prefix)).length, 4)
      }).pipe(Effect.scoped)
    )

    const commits = name === "memory" ? 100 : 24
    it.effect(`${commits} commits at once are all there`, () =>
      Effect.gen(function* () {
        const inner = yield* store
        yield* Effect.forEach(
          range(commits),
          Effect.fnUntraced(function* (i) {
            const segments = on(inner)
            yield* segments.commit({ add: [yield* segments.put(text(`${i}`))] })
          }),
          { concurrency: 12, discard: true }
        )
        const found = (yield* contents(inner)).map(Number)
        assert.deepStrictEqual(
          found.toSorted((a, b) => a - b),
          range(commits)
        )
        assert.strictEqual((yield* on(inner).read).version, commits)
      }).pipe(Effect.scoped)
    )
  })
}

describe("Segments", () => {
  it.effect("a version or a token that is not the newest is refused, and changes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const segments = on(store)
      const [a, b] = yield* Effect.forEach(["a", "b"], (one) => segments.put(text(one)))
      yield* segments.commit({ add: [a!], fence: 3 })
      for (const [change, tag] of [
        [{ add: [b!], fence: 2 }, "LeaseLost"],
        [{ add: [b!] }, "LeaseLost"],
        [{ add: [b!], fence: 3, expected: 0 }, "VersionConflict"]
      ] as const) {
        assert.strictEqual((yield* Effect.flip(segments.commit(change)))._tag, tag)
      }
      assert.deepStrictEqual(yield* contents(store), ["a"])
      assert.strictEqual((yield* segments.commit({ add: [b!], fence: 4, expected: 1 })).fence, 4)
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter, store } = InstrumentedStore.make(inner)
      const segments = on(store)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* Effect.result(effect)
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
      assert.deepStrictEqual(yield* made(segments.put(text("a"))), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(segments.put(text("b"))), { put: 1 })
      const a = yield* segments.put(text("a"))
      assert.deepStrictEqual(yield* made(segments.commit({ add: [a] })), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(segments.put(text("a"))), {})
      assert.deepStrictEqual(yield* made(segments.read), { get: 1 })
      assert.deepStrictEqual(yield* made(segments.get(a)), { get: 1 })
      assert.deepStrictEqual(yield* made(segments.range(a, { start: 0 })), { get: 1 })
      assert.deepStrictEqual(yield* made(segments.collect), { get: 1, put: 1, list: 1 })
      assert.deepStrictEqual(yield* made(segments.collect), { get: 1, put: 1, list: 1, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(segments.verify())), { get: 2 })
    })
  )

  it.effect("verify names what is missing or altered", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const segments = on(store)
      const parts = yield* Effect.forEach(["a", "b", "c", "d"], (one) => segments.put(text(one)))
      yield* segments.commit({ add: parts })
      assert.deepStrictEqual(yield* Stream.runCollect(segments.verify()), [])
      yield* store.delete(`${prefix}/part/g=${parts[1]!.name}`)
      yield* store.put({ key: `${prefix}/part/g=${parts[3]!.name}`, body: text("x") })
      assert.deepStrictEqual(yield* Stream.runCollect(segments.verify()), [
        { part: parts[1]!, why: "missing" },
        { part: parts[3]!, why: "altered" }
      ])
      const error = yield* Effect.flip(segments.get(parts[3]!))
      assert.strictEqual(error.reason._tag, "Corrupt")
      yield* store.put({ key: `${prefix}/manifest`, body: text("{}") })
      assert.strictEqual((yield* Effect.flip(segments.read)).reason._tag, "Corrupt")
    })
  )

  it.effect("a commit whose answer is lost is made once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      let lost = 0
      const faulty: Store = {
        ...store,
        put: (request) =>
          request.key.endsWith("/manifest") && lost++ % 2 === 0
            ? Effect.andThen(
                store.put(request),
                new StoreError({ operation: "put", reason: new Timeout({ description: "no answer", afterMillis: 1 }) })
              )
            : store.put(request)
      }
      const segments = on(faulty)
      for (const i of range(6)) yield* segments.commit({ add: [yield* segments.put(text(`${i}`))], expected: i })
      assert.deepStrictEqual(yield* contents(store), range(6).map(String))
    })
  )

  it.effect("a crash at any request leaves a version whose parts are all there", () =>
    Effect.gen(function* () {
      for (const at of range(12)) {
        for (const when of ["before", "after"] as const) {
          const store = yield* memory
          const segments = on(store)
          const old = yield* segments.put(text("old"))
          yield* segments.commit({ add: [old] })
          const crashed = crashing(store, at + 1, when)
          const work = Effect.gen(function* () {
            const mine = on(crashed.store)
            yield* mine.collect
            yield* mine.commit({ add: [yield* mine.put(text("new"))], remove: [old] })
            yield* mine.collect
            yield* mine.collect
          })
          const exit = yield* Effect.exit(work)
          const found = yield* contents(store)
          assert.include([["old"], ["new"]].map(String), String(found))
          if (Exit.isSuccess(exit)) assert.deepStrictEqual(found, ["new"])
          yield* Effect.repeat(segments.collect, { times: 2 })
          assert.deepStrictEqual(yield* contents(store), found)
          assert.strictEqual((yield* keysOf(store, prefix)).length, 2)
        }
      }
    })
  )

  it.effect("no commit names what a collection takes, in any order of requests", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* explored((store) => store, ["a"]), 0)
    })
  )

  it.effect("the exploration finds a collector that does not raise the floor", () =>
    Effect.gen(function* () {
      assert.isAbove(yield* explored(forgetting, ["a"]), 0)
    })
  )
})
