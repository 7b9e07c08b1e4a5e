/** What no program should give these ports, and some do: each works, or is the port's own error and changes nothing. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as EffectRateLimiter from "effect/persistence/RateLimiter"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import { keysOf, memory } from "../fixture.ts"

/** Fails as the port fails: neither a defect nor another error. */
const refused = Effect.fnUntraced(function* (effect: Effect.Effect<unknown, unknown>, tag: string, says: string) {
  const exit = yield* Effect.exit(effect)
  if (Exit.isSuccess(exit)) return assert.fail(`it was taken: ${says}`)
  const [reason] = exit.cause.reasons
  if (reason === undefined || !Cause.isFailReason(reason)) return assert.fail(Cause.pretty(exit.cause))
  assert.propertyVal(reason.error, "_tag", tag)
  assert.include((reason.error as Error).message, says)
})

/** A value that TypeScript would not let pass. */
const given = <A>(value: unknown): A => value as A

const cyclic: { me?: unknown } = {}
cyclic.me = cyclic

const keys = { proto: "__proto__", constructor: "constructor", empty: "", dots: "..", zero: "a\0b", slashes: "/a//b/" }
const lone = "a\ud800"
const long = "k".repeat(2000)

describe("KeyValueStore, given what is hostile", () => {
  it.effect("any text is a key; what is no text, or too long, is refused", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const store = KeyValueStore.make(inner)
      for (const key of Object.values(keys)) {
        yield* store.set(key, key)
        assert.strictEqual(yield* store.get(key), key)
        assert.strictEqual(yield* store.modify(key, (text) => `${text}!`), `${key}!`)
        assert.isTrue(yield* store.has(key))
      }
      assert.sameMembers([...(yield* store.keys)], Object.values(keys))
      yield* store.clear
      for (const key of [lone, long, 5, undefined, null, {}]) {
        const one = given<string>(key)
        const says = key === long ? "1024 bytes" : "the key is no valid Unicode"
        assert.isBelow((yield* Effect.flip(store.get(one))).message.length, 400)
        yield* refused(store.set(one, "v"), "KeyValueStoreError", says)
        yield* refused(store.get(one), "KeyValueStoreError", says)
        yield* refused(store.has(one), "KeyValueStoreError", says)
        yield* refused(store.remove(one), "KeyValueStoreError", says)
        yield* refused(
          store.modify(one, (text) => text),
          "KeyValueStoreError",
          says
        )
      }
      assert.deepStrictEqual(yield* keysOf(inner), [])
    })
  )

  it.effect("a value is text or bytes", () =>
    Effect.gen(function* () {
      const store = KeyValueStore.make(yield* memory)
      yield* store.set("a", "before")
      for (const value of [5n, 5, null, undefined, {}, cyclic, [1], Number.NaN]) {
        yield* refused(store.set("a", given<string>(value)), "KeyValueStoreError", "neither text nor bytes")
      }
      yield* refused(
        store.modify("a", () => given<string>(5n)),
        "KeyValueStoreError",
        "neither text nor bytes"
      )
      yield* refused(store.set("a", lone), "KeyValueStoreError", "no valid Unicode")
      assert.strictEqual(yield* store.get("a"), "before")
    })
  )

  it.effect("2,500 of them are listed, counted and cleared", () =>
    Effect.gen(function* () {
      const store = KeyValueStore.make(yield* memory)
      const all = Array.from({ length: 2500 }, (_, i) => `k${i}`)
      yield* Effect.forEach(all, (key) => store.set(key, key), { concurrency: 16, discard: true })
      assert.strictEqual(yield* store.size, 2500)
      assert.sameMembers([...(yield* store.keys)], all)
      yield* store.clear
      assert.isTrue(yield* store.isEmpty)
    })
  )
})

describe("Persistence, given what is hostile", () => {
  const open = Effect.flatMap(memory, (store) => Persistence.make(store, { sweepEvery: false }))

  it.effect("any text is the name of a store and a key; what is too long, or no Unicode, is refused", () =>
    Effect.gen(function* () {
      const persistence = yield* open
      for (const storeId of Object.values(keys)) {
        const store = yield* persistence.make(storeId)
        for (const key of Object.values(keys)) yield* store.set(key, { storeId, key }, undefined)
      }
      for (const storeId of Object.values(keys)) {
        const store = yield* persistence.make(storeId)
        for (const key of Object.values(keys)) assert.deepStrictEqual(yield* store.get(key), { storeId, key })
        yield* store.clear
        assert.isUndefined(yield* store.get("__proto__"))
      }
      const store = yield* persistence.make("s")
      for (const [key, says] of [
        [lone, "no valid Unicode"],
        [long, "1024 bytes"]
      ] as const) {
        yield* refused(store.set(key, {}, undefined), "PersistenceError", says)
        yield* refused(store.get(key), "PersistenceError", says)
        yield* refused(store.getMany([key]), "PersistenceError", says)
        yield* refused(store.remove(key), "PersistenceError", says)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("what has no form as JSON is refused; a time to live is above 0, and may be without an end", () =>
    Effect.gen(function* () {
      const store = yield* (yield* open).make("s")
      yield* store.set("a", { is: "before" }, undefined)
      for (const value of [{ a: 1n }, cyclic, undefined, { toJSON: () => undefined }]) {
        yield* refused(store.set("a", given<object>(value), undefined), "PersistenceError", "no form as JSON")
      }
      for (const value of ["text", 5, null, [1]]) {
        yield* refused(store.set("a", given<object>(value), undefined), "PersistenceError", "does not fit")
      }
      for (const ttl of [-5, 0, Number.NaN, -Infinity]) {
        yield* refused(store.set("a", {}, Duration.millis(ttl)), "PersistenceError", "a time above 0")
      }
      yield* refused(store.setMany([["b", { a: 1n }, undefined]]), "PersistenceError", "no form as JSON")
      assert.deepStrictEqual(yield* store.get("a"), { is: "before" })
      for (const ttl of [Duration.infinity, Duration.days(1e12)]) {
        yield* store.set("a", { ttl: "long" }, ttl)
        assert.deepStrictEqual(yield* store.get("a"), { ttl: "long" })
      }
    }).pipe(Effect.scoped)
  )

  it.effect("2,500 at once", () =>
    Effect.gen(function* () {
      const store = yield* (yield* open).make("s")
      const [first, ...rest] = Array.from({ length: 2500 }, (_, i) => [`k${i}`, { i }, undefined] as const)
      yield* store.setMany([first!, ...rest])
      const found = yield* store.getMany([first![0], ...rest.map(([key]) => key)])
      assert.deepStrictEqual(
        [...found],
        [first!, ...rest].map(([, value]): object | undefined => value)
      )
      yield* store.clear
      assert.deepStrictEqual(yield* store.getMany(["k0", "k2499"]), [undefined, undefined])
    }).pipe(Effect.scoped)
  )
})

describe("RateLimiter, given what is hostile", () => {
  type Asked = Parameters<EffectRateLimiter.RateLimiterStore["Service"]["tokenBucket"]>[0]
  const asked: Asked = { key: "k", tokens: 1, refillRate: Duration.seconds(1), limit: 5, allowOverflow: false }

  it.effect("numbers are numbers, and times have an end; what is refused takes nothing", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const store = yield* RateLimiter.make(inner, { sweepEvery: false })
      const wrong: ReadonlyArray<readonly [string, Partial<Asked>]> = [
        ["tokens", { tokens: Number.NaN }],
        ["tokens", { tokens: given(1n) }],
        ["tokens", { tokens: Infinity }],
        ["tokens", { tokens: given("1") }],
        ["tokens", { tokens: -1 }],
        ["limit", { limit: Number.NaN }],
        ["limit", { limit: given(5n) }],
        ["limit", { limit: -1 }],
        ["refillRate", { refillRate: Duration.infinity }],
        ["refillRate", { refillRate: Duration.negativeInfinity }],
        ["refillRate", { refillRate: Duration.millis(-1) }]
      ]
      for (const [field, part] of wrong) {
        for (const kind of ["tokenBucket", "fixedWindow"] as const) {
          yield* refused(store[kind]({ ...asked, ...part }), "RateLimiterError", `InvalidArgument: ${field} is`)
        }
      }
      for (const [key, says] of [
        [lone, "no valid Unicode"],
        [given<string>(7), "no valid Unicode"],
        [long, "1024 bytes"]
      ] as const) {
        yield* refused(store.fixedWindow({ ...asked, key }), "RateLimiterError", says)
        yield* refused(store.tokenBucket({ ...asked, key }), "RateLimiterError", says)
      }
      const adaptive = { key: "k", tokens: 1, fallbackLimit: 1, fallbackWindow: Duration.seconds(1) }
      for (const [field, part] of [
        ["tokens", { tokens: Number.NaN }],
        ["tokens", { tokens: given<number>(1n) }],
        ["fallbackWindow", { fallbackWindow: Duration.infinity }]
      ] as const) {
        yield* refused(
          store.adaptiveConsume(given({ ...adaptive, ...part })),
          "RateLimiterError",
          `InvalidArgument: ${field} is`
        )
      }
      yield* refused(store.tokenBucket({ ...asked, limit: Infinity }), "RateLimiterError", "limit is a finite number")
      assert.deepStrictEqual(yield* keysOf(inner), [])
      // Without an end, or no limit, as Effect asks when it delays.
      for (const limit of [Infinity, undefined]) {
        assert.deepStrictEqual(yield* store.fixedWindow({ ...asked, key: `free ${limit}`, limit }), [1, 1000])
      }
      for (const key of Object.values(keys))
        assert.deepStrictEqual(yield* store.fixedWindow({ ...asked, key }), [1, 1000])
    }).pipe(Effect.scoped)
  )
})
