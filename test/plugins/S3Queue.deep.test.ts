/** Queues that hold more than one object does. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { memory } from "../fixture.ts"
import { keys, open, start, until } from "./queues.ts"
import { settled } from "../waiting.ts"

describe("S3Queue, of many", () => {
  it.effect(
    "remembers 20,000 ids in few parts, alone and between processes",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const store = yield* memory
        const queue = yield* open(store)
        const batch = (n: number) =>
          Array.from({ length: 700 }, (_, i) => ({ payload: "x", id: `id-${n}-${i}`, delay: "1 hour" as const }))
        for (let n = 0; n < 30; n++) {
          yield* queue.offerAll(batch(n))
          yield* settled
        }
        const other = yield* open(store)
        for (const n of [0, 7, 15, 29]) {
          assert.isTrue((yield* other.offerAll(batch(n))).every(({ isNew }) => !isNew))
          assert.isFalse((yield* queue.offer("x", { id: `id-${n}-3` })).isNew)
        }
        assert.strictEqual((yield* other.status).delayed, 21_000)
        // 30 of messages, and those of ids, of which there are no more than 17.
        assert.isAtMost((yield* keys(store)).filter((key) => key.includes("/part/")).length, 48)
      }),
    600_000
  )

  it.effect(
    "leaves nothing behind but its own object, on stores of all kinds",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        for (const profile of ["aws", "rgw", "express"] as const) {
          const { store } = yield* MemoryStore.make({ profile })
          const queue = yield* open(store)
          for (let i = 0; i < 20; i++) {
            yield* queue.offerAll(Array.from({ length: 450 }, (_, n) => ({ payload: String(n), priority: n % 3 })))
            yield* Effect.forEach(Array.from({ length: 50 }), () => queue.offer("x"), { concurrency: "unbounded" })
            yield* settled
          }
          let handled = 0
          yield* Effect.forkChild(
            queue.consume(() => Effect.sync(() => void (handled += 1)), { concurrency: 50, stopWithin: 0 })
          )
          yield* until(() => handled === 10_000)
          assert.deepStrictEqual(
            (yield* keys(store)).filter((key) => key.startsWith("plugin=")),
            ["plugin=queue/queue=jobs/queue"]
          )
        }
      }),
    600_000
  )
})
