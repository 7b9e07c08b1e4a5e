/** What Effect's ports of persistence promise, in tests that run over Effect's own layers and over ours. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Persistable from "effect/persistence/Persistable"
import * as PersistedCache from "effect/persistence/PersistedCache"
import * as Persistence from "effect/persistence/Persistence"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

const range = (length: number) => Array.from({ length }, (_, i) => i)

/** Keys that are data, whatever they look like. */
export const hostileKeys = [
  "",
  ".",
  "..",
  "a/b",
  "a%2Fb",
  "~",
  "~~",
  "__proto__",
  "constructor",
  "é",
  "🎉",
  " ",
  "a\nb",
  "key=a",
  "*",
  "\u0000"
]

export const keyValueStore = (name: string, layer: () => Layer.Layer<KeyValueStore.KeyValueStore, unknown>): void => {
  const test = (title: string, body: Effect.Effect<void, unknown, KeyValueStore.KeyValueStore>) =>
    it.effect(title, () => Effect.provide(body, layer()))

  describe(`KeyValueStore: ${name}`, () => {
    test(
      "what is set is there until it is removed",
      Effect.gen(function* () {
        const store = yield* KeyValueStore.KeyValueStore
        assert.isUndefined(yield* store.get("a"))
        assert.isFalse(yield* store.has("a"))
        assert.isTrue(yield* store.isEmpty)
        yield* store.set("a", "1")
        yield* store.set("b", "")
        yield* store.set("a", "2")
        assert.strictEqual(yield* store.get("a"), "2")
        assert.strictEqual(yield* store.get("b"), "")
        assert.isTrue(yield* store.has("b"))
        assert.strictEqual(yield* store.size, 2)
        assert.isFalse(yield* store.isEmpty)
        yield* store.remove("a")
        yield* store.remove("a")
        assert.isUndefined(yield* store.get("a"))
        assert.strictEqual(yield* store.size, 1)
        yield* store.clear
        yield* store.clear
        assert.strictEqual(yield* store.size, 0)
      })
    )

    test(
      "bytes and text come back as either",
      Effect.gen(function* () {
        const store = yield* KeyValueStore.KeyValueStore
        const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
        yield* store.set("bytes", bytes)
        assert.deepStrictEqual(yield* store.getUint8Array("bytes"), bytes)
        assert.strictEqual(yield* store.get("bytes"), Buffer.from(bytes).toString("base64"))
        for (const text of ["é 🎉", "\ufeffwith a mark", "\n{}\n", "a".repeat(100_000)]) {
          yield* store.set("text", text)
          assert.strictEqual(yield* store.get("text"), text)
          assert.deepStrictEqual(yield* store.getUint8Array("text"), new TextEncoder().encode(text))
        }
        assert.isUndefined(yield* store.getUint8Array("none"))
      })
    )

    test(
      "what is there is modified, what is not stays away",
      Effect.gen(function* () {
        const store = yield* KeyValueStore.KeyValueStore
        assert.isUndefined(yield* store.modify("n", (text) => `${text}!`))
        assert.isFalse(yield* store.has("n"))
        yield* store.set("n", "1")
        assert.strictEqual(yield* store.modify("n", (text) => `${text}2`), "12")
        assert.strictEqual(yield* store.get("n"), "12")
        yield* store.set("bytes", Uint8Array.of(1, 2))
        const longer = yield* store.modifyUint8Array("bytes", (bytes) => Uint8Array.of(...bytes, 3))
        assert.deepStrictEqual(longer, Uint8Array.of(1, 2, 3))
        assert.deepStrictEqual(yield* store.getUint8Array("bytes"), Uint8Array.of(1, 2, 3))
      })
    )

    test(
      "hostile keys stay apart",
      Effect.gen(function* () {
        const store = yield* KeyValueStore.KeyValueStore
        for (const key of hostileKeys) yield* store.set(key, `<${key}>`)
        for (const key of hostileKeys) assert.strictEqual(yield* store.get(key), `<${key}>`)
        assert.sameMembers([...(yield* store.keys)], hostileKeys)
        yield* store.remove("a/b")
        assert.strictEqual(yield* store.get("a%2Fb"), "<a%2Fb>")
      })
    )

    test(
      "a prefix is cleared, and views see their own",
      Effect.gen(function* () {
        const store = yield* KeyValueStore.KeyValueStore
        const keys = ["user:1", "user:2", "users:1", "user", "🎉a", "🎈a", "__proto__"]
        for (const key of keys) yield* store.set(key, "x")
        yield* store.clearPrefix("user:")
        assert.sameMembers([...(yield* store.keys)], keys.slice(2))
        // The first half of what both balloon and party begin with.
        yield* store.clearPrefix("🎉".slice(0, 1))
        assert.sameMembers([...(yield* store.keys)], ["users:1", "user", "__proto__"])
        const view = KeyValueStore.prefix(store, "users:")
        assert.deepStrictEqual([...(yield* view.keys)], ["1"])
        yield* view.set("2", "y")
        assert.strictEqual(yield* store.get("users:2"), "y")
        yield* view.clear
        assert.sameMembers([...(yield* store.keys)], ["user", "__proto__"])
        yield* store.clearPrefix("")
        assert.isTrue(yield* store.isEmpty)
      })
    )

    test(
      "values of a schema",
      Effect.gen(function* () {
        const User = Schema.Struct({ name: Schema.String, at: Schema.Date })
        const users = KeyValueStore.toSchemaStore(yield* KeyValueStore.KeyValueStore, User)
        const ada = { name: "Ada", at: new Date(5) }
        yield* users.set("ada", ada)
        assert.deepStrictEqual(yield* users.get("ada"), Option.some(ada))
        assert.deepStrictEqual(yield* users.get("none"), Option.none())
      })
    )
  })
}

class Get extends Persistable.Class<{ payload: { id: string } }>()("Get", {
  primaryKey: ({ id }) => id,
  success: Schema.Struct({ id: Schema.String, at: Schema.Date }),
  error: Schema.String
}) {}

const got = (id: string, at = 0) => Exit.succeed({ id, at: new Date(at) })

export const persistence = (
  name: string,
  layer: () => Layer.Layer<Persistence.Persistence, unknown>,
  many = 1100
): void => {
  const test = (title: string, body: Effect.Effect<void, unknown, Persistence.Persistence | Scope.Scope>) =>
    it.effect(title, () => Effect.provide(body, layer()))

  describe(`Persistence: ${name}`, () => {
    test(
      "exits come back as they were, until they are removed",
      Effect.gen(function* () {
        const store = yield* (yield* Persistence.Persistence).make({ storeId: "users" })
        const [a, b, c] = ["a", "b", "c"].map((id) => new Get({ id })) as [Get, Get, Get]
        assert.isUndefined(yield* store.get(a))
        yield* store.set(a, got("a", 5))
        yield* store.set(b, Exit.fail("gone"))
        assert.deepStrictEqual(yield* store.get(a), got("a", 5))
        assert.deepStrictEqual(yield* store.get(b), Exit.fail("gone"))
        assert.deepStrictEqual(yield* store.getMany([c, b, a]), [undefined, Exit.fail("gone"), got("a", 5)])
        assert.deepStrictEqual(yield* store.getMany([a].slice(1)), [])
        yield* store.setMany([
          [a, got("a", 6)],
          [c, got("c")]
        ])
        assert.deepStrictEqual(yield* store.getMany([a, c]), [got("a", 6), got("c")])
        yield* store.remove(a)
        yield* store.remove(a)
        assert.deepStrictEqual(yield* store.getMany([a, c]), [undefined, got("c")])
      })
    )

    test(
      "what has expired is gone, at its time and not before",
      Effect.gen(function* () {
        const store = yield* (yield* Persistence.Persistence).make({
          storeId: "users",
          timeToLive: (exit, key) =>
            Reflect.get(key, "id") === "never" ? Duration.infinity : Exit.isSuccess(exit) ? "3 hours" : "5 seconds"
        })
        const keys = ["a", "failed", "never"].map((id) => new Get({ id }))
        yield* store.setMany([
          [keys[0]!, got("a")],
          [keys[1]!, Exit.fail("x")],
          [keys[2]!, got("never")]
        ])
        yield* TestClock.adjust("4999 millis")
        assert.deepStrictEqual(yield* store.getMany(keys), [got("a"), Exit.fail("x"), got("never")])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* store.getMany(keys), [got("a"), undefined, got("never")])
        assert.isUndefined(yield* store.get(keys[1]!))
        yield* TestClock.adjust("2 hours")
        yield* store.set(keys[1]!, got("again"))
        assert.deepStrictEqual(yield* store.getMany(keys), [got("a"), got("again"), got("never")])
        yield* TestClock.adjust("4 hours")
        assert.deepStrictEqual(yield* store.getMany(keys), [undefined, undefined, got("never")])
        yield* TestClock.adjust("10000 days")
        assert.deepStrictEqual(yield* store.get(keys[2]!), got("never"))
      })
    )

    test(
      "a time to live of nothing writes nothing",
      Effect.gen(function* () {
        const store = yield* (yield* Persistence.Persistence).make({ storeId: "x", timeToLive: () => 0 })
        yield* store.set(new Get({ id: "a" }), got("a"))
        assert.isUndefined(yield* store.get(new Get({ id: "a" })))
      })
    )

    test(
      "stores are apart, also where one's name begins with the other's, and each is cleared alone",
      Effect.gen(function* () {
        const persistence = yield* Persistence.Persistence
        const names = ["user", "user_archive", "user/archive", "", "~", ".", "__proto__"]
        const stores = yield* Effect.forEach(names, (storeId) => persistence.make({ storeId }))
        for (const key of hostileKeys) {
          for (const [i, store] of stores.entries()) yield* store.set(new Get({ id: key }), got(key, i))
        }
        for (const key of hostileKeys) {
          for (const [i, store] of stores.entries()) {
            assert.deepStrictEqual(yield* store.get(new Get({ id: key })), got(key, i))
          }
        }
        yield* stores[0]!.clear
        yield* stores[0]!.clear
        assert.deepStrictEqual(
          (yield* stores[0]!.getMany(hostileKeys.map((id) => new Get({ id })))).filter((found) => found !== undefined),
          []
        )
        for (const store of stores.slice(1)) assert.isDefined(yield* store.get(new Get({ id: "a/b" })))
        // A store of the same name sees the same.
        const again = yield* persistence.make({ storeId: "user_archive" })
        assert.deepStrictEqual(yield* again.get(new Get({ id: "é" })), got("é", 1))
      })
    )

    test(
      "PersistedCache looks up once for its time to live, and again when it is told to",
      Effect.gen(function* () {
        let lookups = 0
        const lookup = ({ id }: Get) =>
          id === "bad" ? Effect.fail("bad") : Effect.sync(() => ({ id, at: new Date(lookups++) }))
        const cache = yield* PersistedCache.make(lookup, {
          storeId: "cached",
          timeToLive: () => "1 hour",
          inMemoryTTL: () => "1 millis"
        })
        assert.deepStrictEqual((yield* cache.get(new Get({ id: "a" }))).at, new Date(0))
        yield* TestClock.adjust("30 minutes")
        assert.deepStrictEqual((yield* cache.get(new Get({ id: "a" }))).at, new Date(0))
        yield* TestClock.adjust("31 minutes")
        assert.deepStrictEqual((yield* cache.get(new Get({ id: "a" }))).at, new Date(1))
        yield* cache.invalidate(new Get({ id: "a" }))
        assert.deepStrictEqual((yield* cache.get(new Get({ id: "a" }))).at, new Date(2))
        assert.strictEqual(yield* Effect.flip(cache.get(new Get({ id: "bad" }))), "bad")
      })
    )

    test(
      `${many} values are all cleared`,
      Effect.gen(function* () {
        const store = yield* (yield* Persistence.Persistence).make({ storeId: "many" })
        const keys = range(many).map((i) => new Get({ id: `${i}` }))
        yield* store.setMany(keys.map((key) => [key, got(key.id)] as const))
        assert.strictEqual((yield* store.getMany(keys)).filter((found) => found !== undefined).length, many)
        yield* store.clear
        assert.strictEqual((yield* store.getMany(keys)).filter((found) => found !== undefined).length, 0)
      })
    )
  })
}

export const rateLimiter = (name: string, layer: () => Layer.Layer<RateLimiter.RateLimiterStore, unknown>): void => {
  const test = (title: string, body: Effect.Effect<void, unknown, RateLimiter.RateLimiterStore>) =>
    it.effect(title, () => Effect.provide(body, layer()))
  const limiter = RateLimiter.make
  const refusedFor = <A>(effect: Effect.Effect<A, RateLimiter.RateLimiterError>) =>
    Effect.map(Effect.result(effect), (result) => {
      if (Result.isSuccess(result)) return undefined
      const { reason } = result.failure
      return reason._tag === "RateLimitExceeded" ? Duration.toMillis(reason.retryAfter) : reason
    })
  const millis = ({ delay, remaining, resetAfter }: RateLimiter.ConsumeResult) => ({
    delay: Duration.toMillis(delay),
    remaining,
    resetAfter: Duration.toMillis(resetAfter)
  })

  describe(`RateLimiterStore: ${name}`, () => {
    test(
      "a fixed window refuses what is too much until it is over",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        const one = { key: "k", limit: 2, window: "1 minute" } as const
        assert.deepStrictEqual(millis(yield* consume(one)), { delay: 0, remaining: 1, resetAfter: 30_000 })
        assert.deepStrictEqual(millis(yield* consume(one)), { delay: 0, remaining: 0, resetAfter: 60_000 })
        assert.strictEqual(yield* refusedFor(consume(one)), 60_000)
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual(yield* refusedFor(consume(one)), 40_000)
        // Another key has its own.
        assert.strictEqual((yield* consume({ ...one, key: "K" })).remaining, 1)
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual((yield* consume(one)).remaining, 1)
        assert.strictEqual(yield* refusedFor(consume({ ...one, tokens: 3 })), 60_000)
        assert.strictEqual((yield* consume({ ...one, tokens: 1 })).remaining, 0)
      })
    )

    test(
      "a fixed window delays what is too much to the windows that follow",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        const one = { key: "k", limit: 2, window: "1 minute", onExceeded: "delay" } as const
        const delays: Array<number> = []
        for (const _ of range(6)) delays.push(Duration.toMillis((yield* consume(one)).delay))
        assert.deepStrictEqual(delays, [0, 0, 60_000, 60_000, 120_000, 120_000])
        yield* TestClock.adjust("3 minutes")
        assert.strictEqual(Duration.toMillis((yield* consume(one)).delay), 0)
      })
    )

    test(
      "a token bucket is filled one by one",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        const one = { key: "k", limit: 3, window: "3 seconds", algorithm: "token-bucket" } as const
        const left: Array<number> = []
        for (const _ of range(3)) left.push((yield* consume(one)).remaining)
        assert.deepStrictEqual(left, [2, 1, 0])
        assert.strictEqual(yield* refusedFor(consume(one)), 1000)
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(yield* refusedFor(consume(one)), 500)
        yield* TestClock.adjust("1500 millis")
        // Two came in the meantime, and the interval goes on.
        assert.strictEqual((yield* consume({ ...one, tokens: 2 })).remaining, 0)
        assert.strictEqual(yield* refusedFor(consume(one)), 1000)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* consume(one)).remaining, 2)
        assert.deepStrictEqual(millis(yield* consume({ ...one, tokens: 0.5 })), {
          delay: 0,
          remaining: 1.5,
          resetAfter: 2000
        })
      })
    )

    test(
      "a token bucket goes into debt where it may",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        const one = { key: "k", limit: 2, window: "2 seconds", algorithm: "token-bucket", onExceeded: "delay" } as const
        const delays: Array<number> = []
        for (const _ of range(5)) delays.push(Duration.toMillis((yield* consume(one)).delay))
        assert.deepStrictEqual(delays, [0, 0, 1000, 2000, 3000])
        yield* TestClock.adjust("2500 millis")
        assert.strictEqual(Duration.toMillis((yield* consume(one)).delay), 1500)
      })
    )

    test(
      "an adaptive limit cools down, learns, and holds what it has learned",
      Effect.gen(function* () {
        const store = yield* RateLimiter.RateLimiterStore
        const consume = store.adaptiveConsume({
          key: "k",
          tokens: 1,
          fallbackLimit: 10,
          fallbackWindow: Duration.minutes(1)
        })
        const seen = Effect.map(consume, ({ delay, epoch, phase }) => [phase, epoch, Duration.toMillis(delay)] as const)
        const feedback = (
          epoch: number,
          status = 429,
          retryAfter: Duration.Duration | undefined = Duration.seconds(10)
        ) => store.adaptiveFeedback({ key: "k", epoch, tokens: 1, status, retryAfter })
        assert.deepStrictEqual(yield* seen, ["inactive", 0, 0])
        yield* feedback(0, 200)
        yield* feedback(7)
        assert.deepStrictEqual(yield* seen, ["inactive", 0, 0])
        yield* feedback(0)
        assert.deepStrictEqual(yield* seen, ["cooldown", 0, 10_000])
        yield* TestClock.adjust("4 seconds")
        yield* feedback(0)
        assert.deepStrictEqual(yield* seen, ["cooldown", 0, 10_000])
        yield* TestClock.adjust("10 seconds")
        for (const _ of range(4)) assert.deepStrictEqual(yield* seen, ["learning", 1, 0])
        yield* TestClock.adjust("5 seconds")
        // Three were accepted in five seconds, and ten more to wait.
        yield* feedback(1)
        assert.deepStrictEqual(yield* seen, ["learned", 2, 10_000])
        assert.deepStrictEqual(yield* seen, ["learned", 2, 10_000])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* seen, ["inactive", 0, 0])
        yield* feedback(0)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* seen, ["learning", 1, 0])
        // The first of an epoch that is refused teaches nothing.
        yield* feedback(1)
        assert.deepStrictEqual(yield* seen, ["cooldown", 1, 10_000])
        yield* feedback(0)
        yield* feedback(1, 429, Duration.infinity)
        assert.deepStrictEqual(yield* seen, ["cooldown", 1, 3_600_000])
      })
    )

    test(
      "100 at once take what there is, once",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        for (const algorithm of ["fixed-window", "token-bucket"] as const) {
          const outcomes = yield* Effect.forEach(
            range(100),
            () => Effect.result(consume({ key: algorithm, limit: 60, window: "1 minute", algorithm })),
            { concurrency: "unbounded" }
          )
          const left = outcomes.filter(Result.isSuccess).map(({ success }) => success.remaining)
          assert.deepStrictEqual(
            left.toSorted((a, b) => a - b),
            range(60)
          )
        }
      })
    )

    test(
      "hostile keys stay apart",
      Effect.gen(function* () {
        const { consume } = yield* limiter
        for (const key of hostileKeys) {
          assert.strictEqual((yield* consume({ key, limit: 5, window: "1 minute" })).remaining, 4)
        }
      })
    )
  })
}
