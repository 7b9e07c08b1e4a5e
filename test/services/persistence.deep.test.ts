/** Effect's ports of persistence on Ceph's gateway. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RateLimiters from "effect/persistence/RateLimiter"
import * as Result from "effect/Result"
import * as KeyValueStore from "effect-s3db/persistence/KeyValueStore"
import * as Persistence from "effect-s3db/persistence/Persistence"
import * as RateLimiter from "effect-s3db/persistence/RateLimiter"
import { hostileKeys } from "../persistence/suites.ts"
import { describeWithGateway } from "./available.ts"
import { storeOnGateway } from "./gatewayStore.ts"

const range = (length: number) => Array.from({ length }, (_, i) => i)

describeWithGateway("persistence on Ceph's gateway", () => {
  const open = storeOnGateway("persistence")

  describe("persistence on Ceph's gateway", () => {
    it.live("a key-value store, and 20 that modify a value at once", () =>
      Effect.gen(function* () {
        const values = KeyValueStore.make(yield* open)
        for (const key of hostileKeys) yield* values.set(key, `<${key}>`)
        for (const key of hostileKeys) assert.strictEqual(yield* values.get(key), `<${key}>`)
        assert.sameMembers([...(yield* values.keys)], hostileKeys)
        const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
        yield* values.set("bytes", bytes)
        assert.deepStrictEqual(yield* values.getUint8Array("bytes"), bytes)
        yield* values.set("n", "0")
        yield* Effect.forEach(range(20), () => values.modify("n", (text) => String(Number(text) + 1)), {
          concurrency: "unbounded"
        })
        assert.strictEqual(yield* values.get("n"), "20")
        yield* values.clear
        assert.strictEqual(yield* values.size, 0)
      }).pipe(Effect.scoped)
    )

    it.live("values that expire, and are swept", () =>
      Effect.gen(function* () {
        const store = yield* open
        const values = yield* (yield* Persistence.make(store, { sweepEvery: false })).make("s")
        yield* values.setMany([
          ["short", { n: 1 }, Duration.seconds(10)],
          ["long", { n: 2 }, Duration.hours(1)]
        ])
        assert.deepStrictEqual(yield* values.getMany(["short", "long"]), [{ n: 1 }, { n: 2 }])
        yield* Effect.sleep("13 seconds")
        assert.deepStrictEqual(yield* values.getMany(["short", "long"]), [undefined, { n: 2 }])
        assert.strictEqual(yield* Persistence.sweep(store), 1)
        yield* values.clear
        assert.isUndefined(yield* values.get("long"))
      }).pipe(Effect.scoped)
    )

    it.live("of what three limiters take at once none is given twice", () =>
      Effect.gen(function* () {
        const store = yield* open
        const limiters = yield* Effect.forEach(range(3), () =>
          Effect.provideServiceEffect(RateLimiters.make, RateLimiters.RateLimiterStore, RateLimiter.make(store))
        )
        const outcomes = yield* Effect.forEach(
          range(60),
          (i) => Effect.result(limiters[i % 3]!.consume({ key: "k", limit: 40, window: "1 hour" })),
          { concurrency: "unbounded" }
        )
        const left = outcomes.filter(Result.isSuccess).map(({ success }) => success.remaining)
        assert.deepStrictEqual(
          left.toSorted((a, b) => a - b),
          range(40)
        )
      }).pipe(Effect.scoped)
    )
  })
})
