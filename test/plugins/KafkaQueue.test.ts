import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as KafkaQueue from "effect-s3db/plugins/KafkaQueue"
import { sendAll } from "../../src/plugins/messagequeue/batches.ts"

describe("KafkaQueue", () => {
  it.effect("refuses options that cannot be, by the field", () =>
    Effect.gen(function* () {
      for (const options of [
        { topic: "a b" },
        { topic: ".." },
        { topic: "x".repeat(250) },
        { brokers: [] },
        { brokers: ["user:password@host"] },
        { maxBatchBytes: 1_023 },
        { timeout: "1 millis" }
      ] as const) {
        const error = yield* Effect.flip(
          KafkaQueue.make({
            topic: "t",
            brokers: ["localhost:9092"],
            sasl: { mechanism: "PLAIN", username: "u", password: Redacted.make("s3cret") },
            ...options
          })
        )
        assert.strictEqual(error._tag === "InvalidQueue" && error.field, Object.keys(options)[0])
        assert.notInclude(JSON.stringify(error), "s3cret")
      }
    }).pipe(Effect.scoped)
  )

  const sent = (items: ReadonlyArray<string>, takes: (some: ReadonlyArray<string>) => boolean) =>
    Effect.gen(function* () {
      const batches: Array<ReadonlyArray<string>> = []
      const refused = yield* sendAll(items, {
        mostBytes: 6,
        sizeOf: (item) => item.length,
        send: (some) =>
          Effect.sync(() => {
            if (!takes(some)) return "MESSAGE_TOO_LARGE"
            batches.push(some)
            return undefined
          }),
        refuse: (index, why) => `${index} ${why}`
      }).pipe(Effect.as("nothing"), Effect.catch(Effect.succeed))
      return { batches: batches.map((some) => some.join(",")), refused }
    })

  it.effect("sends batches of so many bytes, in their order, and halves one that is refused", () =>
    Effect.gen(function* () {
      const items = ["aa", "bbb", "c", "dddddd", "e", "f"]
      assert.deepStrictEqual(yield* sent(items, () => true), {
        batches: ["aa,bbb,c", "dddddd", "e,f"],
        refused: "nothing"
      })
      // A broker that takes less than was said.
      assert.deepStrictEqual(yield* sent(["aa", "bb", "c", "d"], (some) => some.join("").length <= 4), {
        batches: ["aa,bb", "c,d"],
        refused: "nothing"
      })
      // One that it never takes: what is before it is there, what comes after it is not.
      assert.deepStrictEqual(yield* sent(items, (some) => !some.includes("bbb")), {
        batches: ["aa"],
        refused: "1 MESSAGE_TOO_LARGE"
      })
      assert.deepStrictEqual(yield* sent([], () => true), { batches: [], refused: "nothing" })
    })
  )
})
