import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Database from "effect-s3db/Database"
import * as ApiKeys from "effect-s3db/http/ApiKeys"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"

/** A program with API keys on a store, and the requests that an effect makes. */
const program = (store: ObjectStore["Service"], options: ApiKeys.Options = {}) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      ApiKeys.layerWith(options).pipe(
        Layer.provideMerge(Database.layer),
        Layer.provideMerge(InstrumentedStore.layer),
        Layer.provide(Layer.succeed(ObjectStore, store))
      )
    )
    const { keys, counter } = yield* Effect.provide(
      Effect.all({ keys: ApiKeys.ApiKeys, counter: InstrumentedStore.RequestCounter }),
      context
    )
    const requests = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        yield* counter.reset
        yield* effect
        const { get, list, put } = yield* counter.counts
        return { get, put, list }
      })
    return { keys, requests }
  })

/** Either may have `_` in it. */
const partsOf = (key: Redacted.Redacted<string>) => {
  const text = Redacted.value(key)
  return { id: text.slice(5, 27), secret: text.slice(28) }
}

const whyOf = (keys: ApiKeys.ApiKeys["Service"], key: Redacted.Redacted<string>) =>
  Effect.map(Effect.flip(keys.verify(key)), (error) => (error._tag === "InvalidApiKey" ? error.why : error._tag))

describe("ApiKeys", () => {
  it.effect("a key counts until it is revoked or its time is over, for every program, and is kept nowhere", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const { keys } = yield* program(store)
      const { keys: others } = yield* program(store)
      const { issued, key } = yield* keys.issue({
        user: "import",
        name: "nightly",
        roles: ["writer"],
        scopes: ["orders:write"],
        expiresIn: "30 days"
      })
      const unending = yield* keys.issue({ user: "import" })
      assert.deepInclude(issued, { user: "import", name: "nightly", roles: ["writer"], scopes: ["orders:write"] })
      assert.notProperty(issued, "digest")
      for (const one of [keys, others]) {
        assert.deepInclude(yield* one.verify(key), { id: "import", roles: ["writer"], scopes: ["orders:write"] })
      }
      const { secret } = partsOf(key)
      assert.notInclude(String(key), secret)
      for (const { key: name } of (yield* store.list()).entries) {
        const { body, metadata } = yield* store.get(name)
        assert.notInclude(name + JSON.stringify(metadata) + new TextDecoder().decode(body), secret)
      }
      yield* TestClock.adjust("30 days")
      assert.strictEqual(yield* whyOf(keys, key), "Expired")
      assert.strictEqual((yield* keys.verify(unending.key)).id, "import")
      assert.isTrue(yield* others.revoke(unending.issued.id))
      assert.isTrue(yield* keys.revoke(unending.issued.id))
      assert.strictEqual(yield* whyOf(keys, unending.key), "Revoked")
      assert.isFalse(yield* keys.revoke("nobody"))
      const listed = yield* Stream.runCollect(keys.list())
      assert.sameMembers(
        listed.map(({ id }) => id),
        [issued.id, unending.issued.id]
      )
      assert.notInclude(JSON.stringify(listed), "digest")
      yield* keys.issue({ user: "somebody" })
      assert.deepStrictEqual(
        (yield* Stream.runCollect(keys.list("somebody"))).map(({ user }) => user),
        ["somebody"]
      )
    })
  )

  it.effect("what looks like a key does not count", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const { keys, requests } = yield* program(store)
      const { key: first } = yield* keys.issue({ user: "a" })
      const { key: second } = yield* keys.issue({ user: "b" })
      const { id, secret } = partsOf(first)
      const { id: other } = partsOf(second)
      const malformed = [
        "",
        "s3db_",
        `S3DB_${id}_${secret}`,
        `s3db_${id}_${secret}x`,
        `s3db_${id}_${secret} `,
        `s3db_../../../../etc/passwd_${secret}`,
        `s3db___proto__0000000000000_${"\u00e9".repeat(43)}`,
        `s3db_${id}_${secret}\n`,
        "x".repeat(1_000_000)
      ]
      const asked = yield* requests(
        Effect.forEach(malformed, (text) =>
          Effect.map(whyOf(keys, Redacted.make(text)), (why) => assert.strictEqual(why, "Malformed", text.slice(0, 80)))
        )
      )
      assert.deepStrictEqual(asked, { get: 0, put: 0, list: 0 })
      const unknown = [
        `s3db_${other}_${secret}`,
        `s3db_${id}_${secret.slice(1)}${secret[0] === "a" ? "b" : "a"}`,
        `s3db_${"0".repeat(22)}_${secret}`
      ]
      for (const text of unknown) assert.strictEqual(yield* whyOf(keys, Redacted.make(text)), "Unknown")
      assert.strictEqual((yield* keys.verify(first)).id, "a")
      for (const wrong of [
        { user: "" },
        { user: "a", roles: [""] },
        { user: "a", scopes: ["x", ""] },
        { user: "a", expiresIn: 0 }
      ]) {
        assert.strictEqual((yield* Effect.flip(keys.issue(wrong)))._tag, "InvalidApiKeys")
      }
      assert.strictEqual((yield* Stream.runCollect(keys.list())).length, 2)
    })
  )

  it.effect("makes the requests that are promised, and notes the use each hour", () =>
    Effect.gen(function* () {
      const { store } = yield* MemoryStore.make()
      const { keys, requests } = yield* program(store)
      let key = Redacted.make("")
      const issuing = Effect.map(keys.issue({ user: "a" }), (made) => (key = made.key))
      assert.deepStrictEqual(yield* requests(issuing), { get: 0, put: 2, list: 0 })
      const verify = Effect.suspend(() => keys.verify(key))
      assert.deepStrictEqual(yield* requests(verify), { get: 2, put: 1, list: 0 })
      const noted = Effect.map(Stream.runCollect(keys.list()), ([one]) => one?.usedAt?.getTime())
      assert.strictEqual(yield* noted, 0)
      assert.deepStrictEqual(yield* requests(verify), { get: 1, put: 0, list: 0 })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* requests(verify), { get: 2, put: 1, list: 0 })
      assert.strictEqual(yield* noted, 3_600_000)
      const cached = yield* program(store, { cacheFor: "10 seconds", noteUseEach: "Infinity" })
      const twice = Effect.suspend(() => Effect.all([cached.keys.verify(key), cached.keys.verify(key)]))
      assert.deepStrictEqual(yield* cached.requests(twice), { get: 1, put: 0, list: 0 })
      yield* keys.revoke(partsOf(key).id)
      yield* twice
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* whyOf(cached.keys, key), "Revoked")
      const restarted = yield* program(store, { namespace: "partners" })
      assert.strictEqual(yield* whyOf(restarted.keys, key), "Unknown")
    })
  )
})
