/** What the engine of queues refuses to write, whoever asks for it: a queue that could not be read again. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Engine from "../../src/plugins/s3queue/engine.ts"
import * as State from "../../src/plugins/s3queue/state.ts"
import * as StoreClock from "../../src/kernel/StoreClock.ts"
import { memory } from "../fixture.ts"
import { count, keys, start } from "./queues.ts"

const open = Effect.fnUntraced(function* () {
  yield* TestClock.setTime(start)
  const { requests, store } = count(yield* memory)
  const engine = yield* Engine.make({
    store,
    prefix: "queues/one",
    clock: StoreClock.make(store),
    visibility: 30_000,
    pollInterval: 1000,
    maxPollInterval: 30_000,
    maxAttempts: () => 5,
    memory: 86_400_000,
    onTaken: () => Effect.void
  })
  return { engine, requests, store }
})

const offer = (delay: number, message: Partial<Engine.Offer["message"]> = {}): Engine.Offer => ({
  delay,
  keys: [],
  message: { i: "a", x: "1", ...message }
})

/** As a program without types could give them. */
const wrong: ReadonlyArray<readonly [string, Engine.Offer]> = [
  ["d", offer(1e17)],
  ["d", offer(Infinity)],
  ["d", offer(0.5)],
  ["p", offer(0, { p: Number.NaN })],
  ["p", offer(0, { p: 1.5 })],
  ["g", offer(0, { g: 1 as unknown as string })],
  ["i", offer(0, { i: undefined as unknown as string })],
  ["x", offer(0, { x: {} as unknown as string })],
  ["e", offer(0, { e: undefined as unknown as string })]
]

describe("the engine of queues", () => {
  for (const [size, others] of [
    ["of few", 0],
    ["of many", 600]
  ] as const) {
    it.effect(`refuses a message that could not be read again ${size}, and does what others want`, () =>
      Effect.gen(function* () {
        const { engine, requests, store } = yield* open()
        yield* engine.offer([offer(0)])
        for (const [field, one] of wrong) {
          const many = Array.from({ length: others }, () => offer(0))
          const there = yield* keys(store)
          requests.length = 0
          const [error] = yield* Effect.all([Effect.flip(engine.offer([...many, one])), engine.offer([offer(0)])], {
            concurrency: 2
          })
          assert.strictEqual(error.reason._tag, "InvalidArgument")
          assert.include(error.message, `["${field}"]`)
          assert.deepStrictEqual(requests, ["put queues/one/queue"])
          assert.deepStrictEqual(yield* keys(store), there)
        }
        const state = yield* engine.read
        assert.strictEqual(state.ready.in.length, 1 + wrong.length)
      })
    )
  }

  it.effect("refuses what a claim cannot end with, and gives its message back", () =>
    Effect.gen(function* () {
      const { engine, requests } = yield* open()
      yield* engine.offer([offer(0)])
      for (const outcome of [
        { _tag: "retry", due: 1e17, error: "" },
        { _tag: "retry", due: Number.NaN, error: "" },
        { _tag: "retry", due: start, error: 1 as unknown as string },
        { _tag: "dead", error: undefined as unknown as string }
      ] satisfies ReadonlyArray<State.Outcome>) {
        const [claim] = yield* engine.claim(1, Effect.succeed)
        requests.length = 0
        const error = yield* Effect.flip(engine.settle(claim!, outcome))
        assert.strictEqual(error.reason._tag, "InvalidArgument")
        // Whoever waits is given it again.
        const [again] = yield* engine.claim(1, Effect.succeed)
        assert.strictEqual(again?.message.i, "a")
        assert.isTrue(yield* engine.settle(again!, { _tag: "release" }))
      }
      assert.strictEqual((yield* engine.read).ready.in[0]?.a, 0)
    })
  )

  it.effect("refuses any other state that could not be read again, and goes on with the one that is there", () =>
    Effect.gen(function* () {
      const { engine, store } = yield* open()
      yield* engine.offer([offer(0)])
      const before = yield* store.get("queues/one/queue")
      const changes: ReadonlyArray<(draft: State.Draft) => unknown> = [
        (draft) => (draft.q = 0.5),
        (draft) => (draft.totals.offered = Number.NaN),
        (draft) => draft.workers.set("w", { w: "w", b: 0, l: 1500.5 }),
        (draft) => draft.ids.set("d", ["d", 0, Infinity]),
        (draft) => draft.dead.in.set(9, { s: 9, i: "x", o: 1.5 })
      ]
      for (const change of changes) {
        const error = yield* engine
          .change((draft) =>
            Effect.sync(() => {
              change(draft)
              draft.hasChanged = true
            })
          )
          .pipe(Effect.flip)
        assert.strictEqual(error.reason._tag, "InvalidArgument")
        assert.strictEqual(error.key, "queues/one/queue")
      }
      assert.deepStrictEqual((yield* store.get("queues/one/queue")).body, before.body)
      const [claim] = yield* engine.claim(1, Effect.succeed)
      assert.isTrue(yield* engine.settle(claim!, { _tag: "done" }))
    })
  )
})
