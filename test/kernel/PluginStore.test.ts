import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as PluginStore from "effect-s3db/kernel/PluginStore"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import { fullCapabilities, type ObjectStore } from "effect-s3db/storage/ObjectStore"
import { PreconditionFailed, StoreError, Timeout } from "effect-s3db/storage/StoreError"
import { keysOf, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const range = (length: number) => Array.from({ length }, (_, i) => i)
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-plugin-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const stores = {
  memory,
  "a folder": Effect.flatMap(folder, (path) => Effect.orDie(FileStore.make({ path })))
}
const on = (store: Store, options: { readonly plugin?: string; readonly resource?: string } = {}) =>
  PluginStore.make(store, { plugin: "p", schema: Schema.Json, ...options })
const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => (Result.isSuccess(result) ? "done" : result.failure._tag))

for (const [name, store] of Object.entries(stores)) {
  describe(`PluginStore on ${name}`, () => {
    it.effect("values come back as they were", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const plain = on(inner)
        const values: ReadonlyArray<Schema.Json> = [
          "007",
          "true",
          "null",
          '{"a":1}',
          "",
          " x\n",
          0,
          -0,
          1e-7,
          true,
          null,
          [],
          {},
          [[1], { camelCase: "é 🎉" }]
        ]
        for (const [i, value] of values.entries()) {
          yield* plain.set(["v", `${i}`], value)
          const read = Option.getOrThrow(yield* plain.get(["v", `${i}`]))
          assert.deepStrictEqual(read, value)
          assert.isTrue(Object.is(read, value) || typeof value === "object")
        }
        const schema = Schema.Struct({ at: Schema.Date, big: Schema.BigInt, bytes: Schema.Uint8Array })
        const typed = PluginStore.make(inner, { plugin: "typed", schema })
        const value = { at: new Date(5), big: 2n ** 80n, bytes: Uint8Array.of(0, 255) }
        yield* typed.set("k", value)
        assert.deepStrictEqual(yield* typed.get("k"), Option.some(value))
        assert.deepStrictEqual(yield* typed.get("none"), Option.none())
        assert.isFalse(yield* typed.has("none"))
        assert.isTrue(yield* typed.has("k"))
        yield* typed.remove("k")
        yield* typed.remove("k")
        assert.deepStrictEqual(yield* typed.get("k"), Option.none())
      }).pipe(Effect.scoped)
    )

    it.effect("hostile keys and names stay apart, and are listed as they are", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const plain = on(inner, { resource: "a/b" })
        const keys = [["a", "b"], ["a/b"], ["."], [".."], ["..", "x"], ["%2E"], ["é"], ["plugin=q"], ["__proto__"]]
        for (const key of keys) yield* plain.set(key, key)
        for (const key of keys) assert.deepStrictEqual(yield* plain.get(key), Option.some<Schema.Json>(key))
        const found = yield* Stream.runCollect(plain.entries())
        assert.sameDeepMembers(
          found.map(({ key }) => key as unknown),
          keys
        )
        assert.deepStrictEqual(
          (yield* Stream.runCollect(plain.entries("a"))).map(({ value }) => value),
          [["a", "b"]]
        )
        for (const key of [[], "", ["a", ""], "\ud800"])
          assert.strictEqual(yield* tagOf(plain.set(key, 1)), "InvalidKey")
        // Removing all of one leaves those whose names begin with it.
        const others = [
          { plugin: "pp" },
          { plugin: "p" },
          { plugin: "p", resource: "a" },
          { plugin: "pp", resource: "a/b" }
        ]
        for (const other of others) yield* on(inner, other).set("k", 1)
        assert.strictEqual(yield* plain.removeAll("a"), 1)
        assert.strictEqual(yield* plain.removeAll(), keys.length - 1)
        assert.deepStrictEqual(yield* Stream.runCollect(plain.entries()), [])
        for (const other of others) assert.isTrue(yield* on(inner, other).has("k"))
        assert.deepStrictEqual((yield* keysOf(inner)).toSorted(), [
          "plugin=p/k",
          "plugin=pp/k",
          "resource=a%2Fb/plugin=pp/k",
          "resource=a/plugin=p/k"
        ])
      }).pipe(Effect.scoped)
    )

    it.effect("versions: absent, replaced, removed", () =>
      Effect.gen(function* () {
        const plain = on(yield* store)
        assert.isTrue(yield* plain.setIfAbsent("k", 1))
        assert.isFalse(yield* plain.setIfAbsent("k", 2))
        const { value, version } = Option.getOrThrow(yield* plain.getVersion("k"))
        assert.strictEqual(value, 1)
        const next = Option.getOrThrow(yield* plain.setIfVersion("k", 3, version))
        assert.isTrue(Option.isNone(yield* plain.setIfVersion("k", 4, version)))
        assert.isFalse(yield* plain.removeIfVersion("k", version))
        // The same value again is another version.
        yield* plain.set("k", 3)
        assert.isFalse(yield* plain.removeIfVersion("k", next))
        const last = Option.getOrThrow(yield* plain.getVersion("k")).version
        assert.isTrue(yield* plain.removeIfVersion("k", last))
        assert.isFalse(yield* plain.removeIfVersion("k", last))
        assert.isFalse(yield* plain.has("k"))
        assert.isFalse(yield* plain.removeIfVersion("k", "nonsense"))
        assert.isTrue(yield* plain.setIfAbsent("k", 5))
        assert.deepStrictEqual(yield* plain.get("k"), Option.some<Schema.Json>(5))
      }).pipe(Effect.scoped)
    )

    const times = name === "memory" ? 100 : 24
    it.effect(`${times} increments at once give ${times}`, () =>
      Effect.gen(function* () {
        const inner = yield* store
        const sums = yield* Effect.forEach(range(times), () => on(inner).increment("n"), { concurrency: 10 })
        assert.sameMembers(
          [...sums],
          range(times).map((i) => i + 1)
        )
        assert.strictEqual(yield* on(inner).increment("n", -times), 0)
        yield* on(inner).set("text", "1")
        assert.strictEqual(yield* tagOf(on(inner).increment("text")), "NotANumber")
        assert.strictEqual(yield* tagOf(on(inner).increment("n", Number.NaN)), "NotANumber")
      }).pipe(Effect.scoped)
    )

    it.effect("of ten who write where nothing is, one does", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const won = yield* Effect.forEach(range(10), (i) => on(inner).setIfAbsent("k", i), { concurrency: 10 })
        assert.strictEqual(won.filter((one) => one).length, 1)
        assert.deepStrictEqual(yield* on(inner).get("k"), Option.some<Schema.Json>(won.indexOf(true)))
      }).pipe(Effect.scoped)
    )
  })
}

describe("PluginStore", () => {
  it.effect("what has expired is not there, and goes without what was written again", () =>
    Effect.gen(function* () {
      for (const conditionalDelete of [true, false]) {
        const inner = yield* memory
        const store: Store = { ...inner, capabilities: { ...fullCapabilities, conditionalDelete } }
        const plain = on(store)
        yield* plain.set("short", 1, { ttl: "1 second" })
        yield* plain.set("long", 1, { ttl: "40 days" })
        yield* plain.set("ever", 1)
        const { version } = Option.getOrThrow(yield* plain.getVersion("short"))
        assert.deepStrictEqual(yield* plain.ttl("ever"), Option.some(Duration.infinity))
        assert.deepStrictEqual(yield* plain.ttl("short"), Option.some(Duration.seconds(1)))
        assert.isTrue(yield* plain.touch("short", "1 second"))
        assert.isFalse(yield* plain.touch("ever", "1 second"))
        yield* TestClock.adjust("1999 millis")
        assert.isTrue(yield* plain.has("short"))
        yield* TestClock.adjust("1 millis")
        assert.isFalse(yield* plain.has("short"))
        assert.deepStrictEqual(yield* plain.get("short"), Option.none())
        assert.deepStrictEqual(yield* plain.ttl("short"), Option.none())
        assert.isFalse(yield* plain.touch("short", "1 hour"))
        assert.isTrue(Option.isNone(yield* plain.setIfVersion("short", 2, version)))
        assert.strictEqual((yield* Stream.runCollect(plain.entries())).length, 2)
        // Written again while it is swept: it stays.
        const racing = on({
          ...store,
          get: (key) =>
            Effect.tap(store.get(key), () =>
              key.endsWith("/short") ? Effect.orDie(plain.set("short", 3)) : Effect.void
            )
        })
        assert.strictEqual(yield* racing.sweep, 0)
        assert.deepStrictEqual(yield* plain.get("short"), Option.some<Schema.Json>(3))
        yield* plain.set("short", 4, { ttl: 1 })
        yield* TestClock.adjust("2 millis")
        assert.strictEqual(yield* plain.sweep, 1)
        assert.strictEqual((yield* keysOf(inner)).length, conditionalDelete ? 2 : 3)
        assert.strictEqual(yield* plain.sweep, 0)
        yield* plain.set("short", 4, { ttl: 1 })
        yield* TestClock.adjust("2 millis")
        assert.isTrue(yield* plain.setIfAbsent("short", 5))
        assert.strictEqual(yield* plain.increment("hits", 1, { ttl: "1 minute" }), 1)
        assert.strictEqual(yield* plain.increment("hits"), 2)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* plain.increment("hits"), 1)
        assert.deepStrictEqual(yield* plain.ttl("hits"), Option.some(Duration.infinity))
        for (const ttl of [0, -1, Number.NaN])
          assert.strictEqual(yield* tagOf(plain.set("k", 1, { ttl })), "StoreError")
      }
    })
  )

  it.effect("batches have an outcome each, in order; more than a page is listed and removed", () =>
    Effect.gen(function* () {
      const plain = on(yield* memory)
      assert.deepStrictEqual(yield* plain.getMany([]), [])
      const outcomes = yield* plain.setMany([
        { key: "a", value: 1 },
        { key: "", value: 2 },
        { key: "c", value: 3 }
      ])
      assert.deepStrictEqual(outcomes.map(Result.isSuccess), [true, false, true])
      const read = yield* plain.getMany(["c", "", "b", "a"])
      assert.deepStrictEqual(
        read.map((one) => (Result.isSuccess(one) ? Option.getOrNull(one.success) : one.failure._tag)),
        [3, "InvalidKey", null, 1]
      )
      assert.deepStrictEqual((yield* plain.removeMany(["a", ""])).map(Result.isSuccess), [true, false])
      yield* plain.setMany(range(2100).map((i) => ({ key: ["many", `${i}`], value: i })))
      assert.strictEqual((yield* Stream.runCollect(plain.entries("many"))).length, 2100)
      assert.strictEqual(yield* plain.removeAll(), 2101)
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const plain = on(store)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
      assert.deepStrictEqual(yield* made(plain.setIfAbsent("k", 1)), { put: 1 })
      assert.deepStrictEqual(yield* made(plain.setIfAbsent("k", 1)), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* made(plain.set("k", 1)), { put: 1 })
      assert.deepStrictEqual(yield* made(plain.get("k")), { get: 1 })
      assert.deepStrictEqual(yield* made(plain.has("k")), { get: 1 })
      assert.deepStrictEqual(yield* made(plain.increment("k")), { get: 1, put: 1 })
      const { version } = Option.getOrThrow(yield* plain.getVersion("k"))
      assert.deepStrictEqual(yield* made(plain.setIfVersion("k", 1, version)), { put: 1 })
      assert.deepStrictEqual(yield* made(plain.removeIfVersion("k", version)), { put: 1, get: 1 })
      assert.deepStrictEqual(yield* made(plain.touch("k", 1)), { get: 1 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(plain.entries())), { list: 1, get: 1 })
      assert.deepStrictEqual(yield* made(plain.sweep), { list: 1, get: 1 })
      assert.deepStrictEqual(yield* made(plain.remove("k")), { delete: 1 })
    })
  )

  it.effect("an increment whose answer is lost counts once, or says that it does not know", () =>
    Effect.gen(function* () {
      for (const reason of [
        new Timeout({ description: "no answer", afterMillis: 1 }),
        new PreconditionFailed({ description: "refused", afterUnknown: true })
      ]) {
        for (const existing of [true, false]) {
          for (const behind of ["nothing", "increment", "set", "remove", "remove and set"] as const) {
            const store = yield* memory
            const others = on(store)
            if (existing) yield* others.increment("n")
            let puts = 0
            const faulty: Store = {
              ...store,
              put: (request) =>
                puts++ > 0
                  ? store.put(request)
                  : Effect.gen(function* () {
                      yield* store.put(request)
                      if (behind === "increment") yield* Effect.orDie(others.increment("n", 10))
                      if (behind.startsWith("remove")) yield* Effect.orDie(others.remove("n"))
                      if (behind.endsWith("set")) yield* Effect.orDie(others.set("n", 100))
                      return yield* new StoreError({ operation: "put", reason })
                    })
            }
            let told: number | undefined
            const counting = Effect.tap(on(faulty).increment("n"), (sum) => Effect.sync(() => (told = sum)))
            const outcome = yield* tagOf(counting)
            const isKnown = behind === "nothing" || behind === "increment"
            assert.strictEqual(outcome, isKnown ? "done" : "StoreError", `${reason._tag} ${existing} ${behind}`)
            const expected = { nothing: 1, increment: 11, set: 100, remove: null, "remove and set": 100 }[behind]
            const sum = isKnown && existing ? expected! + 1 : expected
            assert.strictEqual(Option.getOrNull(yield* others.get("n")), sum)
            // Its own sum, not that of the others after it.
            if (isKnown) assert.strictEqual(told, existing ? 2 : 1)
          }
        }
      }
    })
  )

  it.effect("a version whose answer is lost, and that was replaced since, is no version to go on from", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const others = on(store)
      yield* others.set("k", "before")
      const { version } = Option.getOrThrow(yield* others.getVersion("k"))
      const faulty: Store = {
        ...store,
        put: (request) =>
          Effect.gen(function* () {
            yield* store.put(request)
            const seen = Option.getOrThrow(yield* Effect.orDie(others.getVersion("k")))
            yield* Effect.orDie(others.setIfVersion("k", "another's", seen.version))
            return yield* new StoreError({
              operation: "put",
              reason: new Timeout({ description: "no answer", afterMillis: 1 })
            })
          })
      }
      const next = Option.getOrThrow(yield* on(faulty).setIfVersion("k", "mine", version))
      assert.isTrue(Option.isNone(yield* others.setIfVersion("k", "over it", next)))
      assert.isFalse(yield* others.removeIfVersion("k", next))
      assert.deepStrictEqual(yield* others.get("k"), Option.some<Schema.Json>("another's"))
    })
  )

  it.effect("what does not fit the schema is refused and, in the store, told", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const typed = PluginStore.make(store, { plugin: "p", schema: Schema.Int })
      assert.strictEqual(yield* tagOf(typed.set("k", 1.5)), "StoreError")
      assert.deepStrictEqual(yield* keysOf(store), [])
      yield* on(store).set("k", "text")
      assert.strictEqual((yield* Effect.flip(typed.get("k")))._tag, "StoreError")
      yield* store.put({ key: "plugin=p/k", body: new TextEncoder().encode("{") })
      const error = yield* Effect.flip(typed.get("k"))
      assert.strictEqual(error._tag === "StoreError" ? error.reason._tag : "", "Corrupt")
      yield* typed.set("k", 7)
      assert.deepStrictEqual(yield* typed.get("k"), Option.some(7))
    })
  )
})
