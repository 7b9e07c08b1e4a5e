/** What the engine of queues refuses to write, whoever asks for it: a queue that could not be read again. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Engine from "../../src/plugins/s3queue/engine.ts"
import * as State from "../../src/plugins/s3queue/state.ts"
import * as StoreClock from "../../src/kernel/StoreClock.ts"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory } from "../fixture.ts"
import { count, keys, losingAnswers, pass, start } from "./queues.ts"

type Store = ObjectStore["Service"]

const engineOn = (store: Store, options: Partial<Engine.Options> = {}) =>
  Engine.make({
    store,
    prefix: "queues/one",
    clock: StoreClock.make(store),
    visibility: 30_000,
    pollInterval: 1000,
    maxPollInterval: 30_000,
    maxAttempts: () => 5,
    memory: 86_400_000,
    order: "fifo",
    onTaken: () => Effect.void,
    ...options
  })

const open = Effect.fnUntraced(function* (options: Partial<Engine.Options> = {}) {
  yield* TestClock.setTime(start)
  const inner = yield* memory
  const { requests, store } = count(inner)
  return { engine: yield* engineOn(store, options), requests, store, inner }
})

/** Waits until what a change has led to is done. */
const atRest = (engine: Engine.Engine) => Effect.andThen(pass(1, 1), engine.tidied)

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

  const named = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i): Engine.Offer => {
      const id = String(from + i)
      return { ...offer(0, { i: id, c: true }), keys: [Engine.keyOfId(id)] }
    })

  for (const remembered of [86_400_000, Infinity]) {
    it.effect(`remembers thousands of ids in few parts, for ${remembered} ms`, () =>
      Effect.gen(function* () {
        const { engine, inner } = yield* open({ memory: remembered })
        for (let i = 0; i < 20; i++) {
          yield* engine.offer(named(i * 600, (i + 1) * 600))
          yield* atRest(engine)
        }
        // One thing at a time is tidied up, after a write.
        for (let i = 0; i < 3; i++) {
          yield* engine.offer([offer(0)])
          yield* atRest(engine)
        }
        const { ids } = yield* engine.read
        assert.isAtMost(ids.in.length, 600)
        assert.isAtMost(ids.parts.length, 17)
        assert.isTrue(ids.parts.some(({ k }) => k >= 1200))
        const other = yield* engineOn(inner, { memory: remembered })
        for (const from of [0, 5_000, 11_700]) {
          const news = yield* other.offer(named(from, from + 400))
          assert.strictEqual(news.filter(Boolean).length, Math.max(0, from + 400 - 12_000))
        }
      })
    )
  }

  it.effect("takes thousands in once that are offered again, and leaves no part of them", () =>
    Effect.gen(function* () {
      const { engine, store } = yield* open()
      assert.isTrue((yield* engine.offer(named(0, 900))).every(Boolean))
      yield* atRest(engine)
      const there = yield* keys(store)
      assert.isFalse((yield* engine.offer(named(0, 900))).some(Boolean))
      let left = yield* keys(store)
      for (let i = 0; left.length > there.length && i < 100; i++) {
        yield* pass(10, 10)
        left = yield* keys(store)
      }
      assert.deepStrictEqual(left, there)
    })
  )

  /** A store on which others collect twice whenever a part has just been put. */
  const collecting = (inner: Store, other: Engine.Engine) => {
    let isOn = false
    const store: Store = {
      ...inner,
      put: (request) =>
        Effect.tap(inner.put(request), () => {
          if (!isOn || !request.key.includes("/part/")) return Effect.void
          isOn = false
          return Effect.andThen(other.collect, other.collect)
        })
    }
    return { store, next: () => void (isOn = true), isOver: () => !isOn }
  }

  for (const [what, first, second] of [
    ["messages that are many", [], named(0, 600)],
    ["messages that were few", named(0, 250), named(250, 260).map((one) => ({ ...one, keys: [] }))],
    ["ids", named(0, 250), named(250, 600)]
  ] as const) {
    it.effect(`names no part of ${what} that may be collected, and puts it again`, () =>
      Effect.gen(function* () {
        const { inner } = yield* open()
        const { isOver, next, store } = collecting(inner, yield* engineOn(inner))
        const engine = yield* engineOn(store)
        yield* engine.offer(first)
        yield* atRest(engine)
        next()
        yield* engine.offer(second)
        yield* atRest(engine)
        assert.isTrue(isOver(), "no part was put")
        yield* engine.offer([offer(0)])
        yield* atRest(engine)
        const late = yield* engineOn(inner)
        const seen = new Set<string>()
        for (let i = 0; seen.size < first.length + second.length + 1; i++) {
          assert.isBelow(i, 20, "messages are missing")
          for (const { message, payload } of yield* late.claimNow(200, Effect.succeed)) {
            assert.strictEqual(payload, "1")
            seen.add(message.i)
          }
        }
        assert.isFalse((yield* late.offer(first.slice(0, 5))).some(Boolean))
        // Nothing is left that nobody names.
        yield* late.collect
        yield* late.collect
        const names = State.partNames(yield* late.read)
        const left = (yield* keys(inner)).filter((key) => key.includes("/part/"))
        assert.strictEqual(left.length, names.size)
      })
    )
  }

  it.effect("gives back what was claimed for who does not wait any more when it is written", () =>
    Effect.gen(function* () {
      const { inner } = yield* open()
      yield* (yield* engineOn(inner)).offer([offer(0), offer(0, { i: "b" })])
      const begun = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const engine = yield* engineOn({
        ...inner,
        put: (request) =>
          Effect.andThen(Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(gate)), inner.put(request))
      })
      const leaving = yield* Effect.forkChild(engine.claim(2, Effect.succeed))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(leaving)
      yield* Deferred.succeed(gate, undefined)
      let flights = 2
      for (let i = 0; flights > 0; i++) {
        assert.isBelow(i, 100, "they were not given back")
        yield* pass(10, 10)
        flights = (yield* engine.read).flight.length
      }
      const again = yield* engine.claimNow(2, Effect.succeed)
      assert.deepStrictEqual(
        again.map(({ message }) => [message.i, message.a]),
        [
          ["a", 1],
          ["b", 1]
        ]
      )
    })
  )

  it.effect("says that it does not know whether a claim has ended, where the answer was lost", () =>
    Effect.gen(function* () {
      const { inner } = yield* open()
      const network = losingAnswers(inner)
      const engine = yield* engineOn(network.store)
      yield* engine.offer([offer(0)])
      const [claim] = yield* engine.claim(1, Effect.succeed)
      network.losing(true)
      const ending = yield* Effect.forkChild(Effect.exit(engine.settle(claim!, { _tag: "done" })))
      yield* pass(1000)
      network.losing(false)
      // Others have written so much meanwhile that the write is not remembered.
      const other = yield* engineOn(inner)
      for (let i = 0; i < 70; i++) yield* other.offer([offer(0)])
      for (let i = 0; ending.pollUnsafe() === undefined; i++) {
        assert.isBelow(i, 100, "the claim never ended")
        yield* pass(1000)
      }
      const exit = yield* Fiber.join(ending)
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual((yield* other.read).flight.length, 0)
      assert.isFalse(yield* engine.settle(claim!, { _tag: "done" }))
    })
  )

  it.effect("says what has failed where a part is gone", () =>
    Effect.gen(function* () {
      const { engine, inner } = yield* open()
      yield* engine.offer(named(0, 600))
      const part = (yield* keys(inner)).find((key) => key.includes("/part/"))!
      yield* inner.delete(part)
      const other = yield* engineOn(inner)
      const error = yield* Effect.flip(
        other.look((state, { reader }) => State.messagesOn(State.draft(state).ready, reader))
      )
      assert.deepStrictEqual([error.reason._tag, error.key], ["NoSuchKey", part])
      assert.strictEqual((yield* Effect.flip(other.claimNow(1, Effect.succeed))).key, part)
    })
  )
})
