import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as RestrictedStore from "effect-s3db/storage/RestrictedStore"
import type { StoreError } from "effect-s3db/storage/StoreError"

const refusal = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect as Effect.Effect<unknown, StoreError>), ({ reason }) => {
    assert.strictEqual(reason._tag, "AccessDenied")
    return "code" in reason ? reason.code : undefined
  })

const body = new TextEncoder().encode("body")

describe("RestrictedStore", () => {
  it.effect("reads what is there, writes and deletes nothing, and asks the store for nothing that it refuses", () =>
    Effect.gen(function* () {
      const inner = yield* ObjectStore
      yield* inner.put({ key: "a", body, metadata: { x: "1" } })
      const { counter, store: counted } = InstrumentedStore.make(inner)
      const store = RestrictedStore.make(counted)
      const refused = [
        store.put({ key: "a", body }),
        store.put({ key: "b", body, ifNoneMatch: "*" }),
        store.delete("a"),
        store.delete("nothing"),
        store.deleteMany(["a", "b"]),
        store.copy({ from: "a", to: "b" })
      ]
      for (const effect of refused) assert.strictEqual(yield* refusal(effect), "Restricted")
      assert.deepStrictEqual(
        Object.values(yield* counter.counts).filter((count) => count > 0),
        []
      )
      assert.deepStrictEqual((yield* store.get("a")).body, body)
      assert.deepStrictEqual((yield* store.head("a")).metadata, { x: "1" })
      assert.deepStrictEqual(
        (yield* store.list()).entries.map(({ key }) => key),
        ["a"]
      )
    }).pipe(Effect.provide(MemoryStore.layer))
  )

  it.effect("what may not be read is not listed, and can be neither read nor copied", () =>
    Effect.gen(function* () {
      const inner = yield* ObjectStore
      for (const key of ["a/1", "a/2", "b/1", "c"]) yield* inner.put({ key, body })
      const store = RestrictedStore.make(inner, {
        reads: (key) => key.startsWith("a/"),
        puts: (key) => key.startsWith("a/"),
        deletes: (key) => key === "a/1"
      })
      assert.deepStrictEqual(
        (yield* store.list()).entries.map(({ key }) => key),
        ["a/1", "a/2"]
      )
      assert.deepStrictEqual((yield* store.list({ delimiter: "/" })).commonPrefixes, ["a/"])
      for (const effect of [store.get("b/1"), store.head("c"), store.copy({ from: "b/1", to: "a/3" })]) {
        yield* refusal(effect as Effect.Effect<unknown, StoreError>)
      }
      yield* store.put({ key: "a/3", body })
      yield* refusal(store.delete("a/2"))
      const { deleted, failed } = yield* store.deleteMany(["a/2", "a/1", "b/1"])
      assert.deepStrictEqual(deleted, ["a/1"])
      assert.deepStrictEqual(
        failed.map(({ key, reason }) => [key, reason._tag]),
        [
          ["a/2", "AccessDenied"],
          ["b/1", "AccessDenied"]
        ]
      )
      assert.deepStrictEqual(
        (yield* inner.list()).entries.map(({ key }) => key),
        ["a/2", "a/3", "b/1", "c"]
      )
    }).pipe(Effect.provide(MemoryStore.layer))
  )
})
