import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EffectScheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { crashing, memory, openOn } from "../fixture.ts"
import {
  count,
  failingAtTimes,
  keepingTime,
  keys,
  losingAnswers,
  name,
  open,
  openIn,
  pass,
  passUntil,
  start,
  switching,
  until
} from "./queues.ts"
import { settled, turn } from "../waiting.ts"

class NoPaper extends Schema.TaggedError<NoPaper>()("NoPaper", {}) {
  override get message() {
    return "no paper\nin the tray"
  }
}

const at = TestClock.setTime(start)
const minute = 60_000

/** Claims one message after the other, and acknowledges each. */
const drain = Effect.fnUntraced(function* (queue: S3Queue.Queue<string>, most = 10_000) {
  const seen: Array<string> = []
  while (seen.length < most) {
    const [claimed] = yield* queue.claimNow()
    if (claimed === undefined) return seen
    seen.push(claimed.payload)
    yield* claimed.ack
  }
  return seen
})

/** Claims many messages after each other, and acknowledges them together. */
const drainMany = Effect.fnUntraced(function* (queue: S3Queue.Queue<string>) {
  const seen: Array<string> = []
  for (let rounds = 0; ; rounds++) {
    assert.isBelow(rounds, 1000, "the queue is never empty")
    const claimed = yield* queue.claimNow(200)
    if (claimed.length === 0) return seen
    seen.push(...claimed.map(({ payload }) => payload))
    yield* Effect.forEach(claimed, (one) => one.ack, { concurrency: "unbounded", discard: true })
  }
})

const numbers = (count: number) => Array.from({ length: count }, (_, i) => ({ payload: String(i) }))

describe("S3Queue", () => {
  describe("order", () => {
    it.effect("gives messages in the order in which they were offered, across processes", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b, c] = [yield* open(store), yield* open(store), yield* open(store)]
        for (let i = 0; i < 6; i++) yield* (i % 2 === 0 ? a : b).offer(String(i))
        assert.deepStrictEqual(yield* drain(c), ["0", "1", "2", "3", "4", "5"])
        const { totals } = yield* a.status
        assert.deepStrictEqual([totals.offered, totals.completed], [6, 6])
      })
    )

    it.effect("gives those with a higher priority first, also out of thousands", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory)
        yield* queue.offerAll(numbers(1100))
        yield* queue.offer("late", { priority: 2 })
        yield* queue.offerAll([
          { payload: "low", priority: -1 },
          { payload: "high", priority: 3 }
        ])
        assert.deepStrictEqual(yield* drain(queue, 3), ["high", "late", "0"])
        const rest = yield* drainMany(queue)
        assert.strictEqual(rest.length, 1100)
        assert.strictEqual(rest.at(-1), "low")
      })
    )

    it.effect("gives a delayed message when it is due, and not before", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory)
        yield* queue.offer("later", { delay: "10 minutes" })
        yield* queue.offer("now")
        assert.deepStrictEqual(yield* drain(queue), ["now"])
        assert.strictEqual((yield* queue.status).delayed, 1)
        const waiting = yield* Effect.forkChild(Effect.scoped(Effect.tap(queue.claim(), ([one]) => one!.ack)))
        yield* pass(599_000)
        assert.isUndefined(waiting.pollUnsafe())
        yield* pass(2000)
        assert.strictEqual((yield* Fiber.join(waiting))[0]?.payload, "later")
      })
    )

    it.effect("counts delayed messages by thousands, and gives each when it is due", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const delayed = (minutes: number, length: number) =>
          Array.from({ length }, () => ({ payload: String(minutes), delay: minutes * minute }))
        yield* (yield* open(store)).offerAll([...delayed(1, 200), ...delayed(3, 300), ...delayed(0, 100)])
        yield* (yield* open(store)).offerAll(delayed(5, 500))
        const queue = yield* open(store)
        const stand = Effect.map(queue.status, ({ delayed, ready }) => [ready, delayed])
        assert.deepStrictEqual(yield* stand, [100, 1000])
        assert.strictEqual((yield* drainMany(queue)).length, 100)
        for (const [minutes, due, later] of [
          [1, 200, 800],
          [3, 300, 500],
          [5, 500, 0]
        ] as const) {
          const waiting = yield* Effect.forkChild(Effect.scoped(queue.claim(1)))
          yield* pass(start + minutes * minute - (yield* Clock.currentTimeMillis) - 1000)
          assert.isUndefined(waiting.pollUnsafe())
          yield* pass(3000)
          assert.strictEqual((yield* Fiber.join(waiting)).length, 1)
          assert.deepStrictEqual(yield* stand, [due, later])
          assert.strictEqual((yield* drainMany(queue)).length, due)
        }
      })
    )

    it.effect("goes by the store's clock where that of the machine is an hour ahead", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const clock = yield* Clock.Clock
        const ahead: Clock.Clock = {
          ...clock,
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + 60 * minute,
          currentTimeMillis: Effect.map(clock.currentTimeMillis, (millis) => millis + 60 * minute),
          sleep: (duration) => clock.sleep(duration),
          monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
          monotonicTimeNanos: clock.monotonicTimeNanos
        }
        // The store keeps the time of the test.
        const own = keepingTime(store, clock)
        const queue = yield* Effect.provideService(open(own), Clock.Clock, ahead)
        const other = yield* open(store)
        yield* Effect.provideService(queue.offer("later", { delay: "30 minutes" }), Clock.Clock, ahead)
        yield* other.offer("later too", { delay: "30 minutes" })
        assert.deepStrictEqual(yield* Effect.provideService(drain(queue), Clock.Clock, ahead), [])
        yield* TestClock.adjust("31 minutes")
        assert.deepStrictEqual(yield* drain(other), ["later", "later too"])
      })
    )

    it.effect("handles a group one after the other, and others beside it", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b] = [yield* open(store), yield* open(store, { retryDelay: () => "1 minute" })]
        yield* a.offerAll([
          { payload: "a1", group: "a" },
          { payload: "a2", group: "a", priority: 5 },
          { payload: "b1", group: "b" },
          { payload: "c" },
          { payload: "b2", group: "b", delay: "1 hour" },
          { payload: "b3", group: "b" }
        ])
        const first = yield* a.claimNow(10)
        assert.deepStrictEqual(
          first.map(({ payload }) => payload),
          ["a1", "b1", "c"]
        )
        assert.deepStrictEqual(yield* b.claimNow(10), [])
        yield* first[1]!.ack
        yield* first[2]!.ack
        // b3 waits for b2, which waits for its time.
        assert.deepStrictEqual(yield* b.claimNow(10), [])
        yield* first[0]!.retry({ after: "1 minute" })
        assert.deepStrictEqual(yield* b.claimNow(10), [])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* drain(b), ["a1", "a2"])
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* drain(b), ["b2", "b3"])
      })
    )

    it.effect("keeps the order of groups of thousands of messages, in parts and not", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory)
        const all = Array.from({ length: 1500 }, (_, i) => ({ payload: `${i % 3}:${i}`, group: String(i % 3) }))
        yield* queue.offerAll(all)
        yield* queue.offerAll([{ payload: "0:1500", group: "0" }])
        const last = new Map<string, number>()
        let handled = 0
        for (let rounds = 0; handled < 300; rounds++) {
          assert.isBelow(rounds, 400, `only ${handled} of 300 were given`)
          const claimed = yield* queue.claimNow(10)
          assert.isAtMost(claimed.length, 3)
          for (const one of claimed) {
            const [group, number] = one.payload.split(":")
            assert.isAbove(Number(number), last.get(group!) ?? -1)
            last.set(group!, Number(number))
            yield* one.ack
          }
          handled += claimed.length
        }
        assert.strictEqual((yield* queue.status).ready, 1501 - handled)
      })
    )

    it.effect("is strict in whole with fifo", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, { fifo: true })
        yield* queue.offerAll(numbers(3))
        const claimed = yield* queue.claimNow(3)
        assert.strictEqual(claimed.length, 1)
        yield* claimed[0]!.ack
        assert.deepStrictEqual(yield* drain(queue), ["1", "2"])
      })
    )
  })

  describe("lifo", () => {
    const lifo = { order: "lifo" } as const

    it.effect("gives those first that were offered last, of each priority, whoever has offered them", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b] = [yield* open(store), yield* open(store, lifo)]
        for (let i = 0; i < 3; i++) yield* (i === 1 ? b : a).offer(String(i))
        yield* a.offer("high", { priority: 1 })
        yield* a.offer("low", { priority: -1 })
        yield* a.offer("later", { delay: "1 minute" })
        assert.deepStrictEqual(yield* drain(b), ["high", "2", "1", "0", "low"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* drain(b), ["later"])
      })
    )

    it.effect("is the order of thousands, in parts of both kinds and not in parts", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, { ...lifo, name: "many" })
        yield* queue.offerAll(numbers(2100))
        for (let i = 2100; i < 2500; i++) yield* queue.offer(String(i))
        yield* settled
        yield* queue.offerAll(Array.from({ length: 500 }, (_, i) => ({ payload: String(2500 + i) })))
        const all = numbers(3000).map(({ payload }) => payload)
        const first = yield* drain(queue, 5)
        assert.deepStrictEqual(first, all.slice(-5).toReversed())
        yield* queue.offer("newest")
        assert.deepStrictEqual(yield* drain(queue, 1), ["newest"])
        assert.deepStrictEqual(yield* drainMany(queue), all.slice(0, -5).toReversed())
      })
    )

    it.effect("gives what is newer in a part before what is not in one any more", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, lifo)
        yield* queue.offerAll(
          numbers(1000).map((message, i) => (i > 500 ? { ...message, delay: "1 minute" } : message))
        )
        const [one] = yield* queue.claimNow()
        assert.strictEqual(one?.payload, "500")
        yield* one!.retry({ after: "1 minute" })
        yield* TestClock.adjust("61 seconds")
        assert.deepStrictEqual(yield* drain(queue, 2), ["999", "998"])
      })
    )

    it.effect("leaves the messages of a group in the order in which they were offered", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, lifo)
        yield* queue.offerAll(
          Array.from({ length: 1200 }, (_, i) => ({ payload: `${i % 2}:${i}`, group: String(i % 2) }))
        )
        yield* queue.offerAll([{ payload: "0:1200", group: "0" }, { payload: "alone" }])
        assert.deepStrictEqual(yield* drain(queue, 4), ["alone", "1:1", "1:3", "1:5"])
      })
    )
  })

  describe("ids", () => {
    it.effect("takes a message of an id in once: while it waits, is claimed, and when it is done", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b] = [yield* open(store, { rememberIds: "1 hour" }), yield* open(store, { rememberIds: "1 hour" })]
        assert.isTrue((yield* a.offer("x", { id: "1" })).isNew)
        assert.isFalse((yield* b.offer("x", { id: "1" })).isNew)
        const [claimed] = yield* b.claimNow()
        assert.isFalse((yield* a.offer("x", { id: "1" })).isNew)
        yield* TestClock.adjust("2 hours")
        // It is not forgotten as long as its message may be there.
        assert.isFalse((yield* a.offer("x", { id: "1" })).isNew)
        yield* claimed!.ack
        yield* TestClock.adjust("59 minutes")
        assert.isFalse((yield* a.offer("x", { id: "1" })).isNew)
        yield* TestClock.adjust("2 minutes")
        assert.isTrue((yield* a.offer("x", { id: "1" })).isNew)
        assert.deepStrictEqual(yield* drain(b), ["x"])
        assert.strictEqual((yield* a.status).totals.offered, 2)
      })
    )

    it.effect("knows thousands of ids, in batches and alone, and forgets them in time", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store, { rememberIds: "1 hour" })
        const all = Array.from({ length: 700 }, (_, i) => ({ payload: String(i), id: `id-${i}` }))
        yield* queue.offerAll([...all, ...all.slice(0, 5)])
        assert.strictEqual((yield* queue.status).ready, 700)
        yield* pass(1000)
        yield* Effect.forEach(all.slice(0, 300), (one) => queue.offer(one.payload, { id: one.id }), {
          concurrency: "unbounded"
        })
        const other = yield* open(store, { rememberIds: "1 hour" })
        const again = yield* other.offerAll(all)
        assert.isTrue(again.every(({ isNew }) => !isNew))
        assert.strictEqual((yield* drainMany(other)).length, 700)
        yield* TestClock.adjust("2 hours")
        for (let i = 0; i < 3; i++) {
          yield* queue.offerAll(Array.from({ length: 600 }, (_, n) => ({ payload: "n", id: `new-${i}-${n}` })))
          yield* pass(1000)
        }
        yield* drainMany(other)
        yield* TestClock.adjust("2 hours")
        yield* queue.offer("one", { id: "one" })
        yield* pass(2000)
        assert.isTrue((yield* queue.offer("old", { id: "id-7" })).isNew)
      })
    )

    it.effect("are in the idempotency key, which is another for each message of a database", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const keys = new Set<string>()
        const ids = ["b/c", "c", "b%2Fc", "é"]
        const queues = [{ name: "a" }, { name: "a/b" }, { name: "a", namespace: "x" }, { name: "x/a" }]
        for (const options of queues) {
          const queue = yield* open(store, options)
          yield* queue.offerAll(ids.map((id) => ({ payload: id, id })))
          for (const { idempotencyKey, retry } of yield* queue.claimNow(10)) {
            keys.add(idempotencyKey)
            yield* retry({ after: 0 })
          }
          for (const { idempotencyKey } of yield* queue.claimNow(10)) assert.isTrue(keys.has(idempotencyKey))
        }
        assert.strictEqual(keys.size, ids.length * queues.length)
        assert.isTrue(keys.has("queue.x/a/b%2Fc"))
      })
    )

    it.effect("takes hostile ids, groups, names and payloads for what they are", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const texts = ["__proto__", "constructor", "a/b", "../x", "é\u0000", "queue=", "ﷺ", " ", "\u{1F600}"]
        for (const text of texts) {
          const queue = yield* open(store, { name: text })
          for (const id of texts) yield* queue.offer(id, { id, group: id })
          for (const id of texts) assert.isFalse((yield* queue.offer(id, { id, group: id })).isNew)
          const claimed = yield* queue.claimNow(20)
          assert.deepStrictEqual(
            claimed.map(({ id, payload, group }) => [id, payload, Option.getOrThrow(group)]),
            texts.map((one) => [one, one, one])
          )
          yield* Effect.forEach(claimed, (one) => one.ack, { concurrency: "unbounded" })
        }
      })
    )
  })

  describe("failures", () => {
    it.effect("tries again, later each time, and gives up; dead letters can be driven again, or discarded", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store, { maxAttempts: 3 })
        const times: Array<readonly [string, number, number]> = []
        let isMended = false
        const handler: S3Queue.Handler<string> = (payload, { attempt }) =>
          Effect.gen(function* () {
            times.push([payload, attempt, (yield* Clock.currentTimeMillis) - start])
            if (!isMended) return yield* new NoPaper()
          })
        yield* Effect.forkChild(queue.consume(handler, { stopWithin: 0 }))
        yield* queue.offer("a", { id: "a" })
        yield* pass(10_000, 500)
        assert.deepStrictEqual(times, [
          ["a", 1, 0],
          ["a", 2, 1000],
          ["a", 3, 3000]
        ])
        const letters = yield* Stream.runCollect(queue.deadLetters)
        assert.deepStrictEqual(
          letters.map(({ attempts, error, id, payload }) => ({ attempts, error, id, payload })),
          [{ attempts: 3, error: "no paper", id: "a", payload: "a" }]
        )
        assert.isFalse((yield* queue.offer("a", { id: "a" })).isNew)
        isMended = true
        for (const wrong of [["a"], "a", null, { ids: "a" }, { ids: [1] }, { id: ["a"] }] as ReadonlyArray<unknown>) {
          const filter = wrong as S3Queue.DeadLetterFilter
          for (const refused of [queue.redrive(filter), queue.discard(filter)]) {
            const error = yield* Effect.flip(refused)
            assert.strictEqual(error._tag, "DbError")
            assert.include(error.message, "Expected { ids } with a list of ids")
          }
        }
        assert.strictEqual((yield* queue.status).deadLetters, 1)
        assert.strictEqual(yield* queue.redrive({ ids: ["b"] }), 0)
        assert.strictEqual(yield* queue.redrive(), 1)
        yield* pass(2000)
        assert.strictEqual(times.length, 4)
        assert.strictEqual(times[3]![1], 1)
        const { deadLetters, totals } = yield* queue.status
        assert.deepStrictEqual(
          { deadLetters, ...totals },
          {
            deadLetters: 0,
            offered: 1,
            completed: 1,
            retried: 2,
            dead: 1,
            lost: 0,
            redriven: 1
          }
        )
      })
    )

    it.effect("is tried for ever with failureStrategy retry, later each time, and is no dead letter", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store, { failureStrategy: "retry" })
        let failures = 0
        yield* Effect.forkChild(
          queue.consume(
            (payload) =>
              Effect.gen(function* () {
                if (payload === "rejected") return yield* new S3Queue.Reject({ description: "never" })
                if (failures < 30) {
                  failures += 1
                  return yield* new NoPaper()
                }
              }),
            { stopWithin: 0 }
          )
        )
        yield* queue.offer("a")
        yield* queue.offer("rejected", { id: "rejected" })
        // 1, 2, 4, ... seconds, then 5 minutes each.
        yield* pass(3 * 60 * minute, 5000)
        const { deadLetters, totals } = yield* queue.status
        assert.deepStrictEqual([failures, totals.retried, totals.completed, deadLetters], [30, 30, 1, 1])
        // It is the one that a handler has rejected.
        const letters = yield* Stream.runCollect(queue.deadLetters)
        assert.deepStrictEqual(
          letters.map(({ id }) => id),
          ["rejected"]
        )
      })
    )

    it.effect("is tried for ever as well when it cannot be read, or costs workers their life", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const options = { failureStrategy: "retry", visibility: "3 seconds", retryDelay: () => 1000 } as const
        yield* (yield* open(base)).offer("poison")
        for (let life = 0; life < 8; life++) {
          const { setDown, store } = failingAtTimes(base)
          const claiming = yield* Effect.forkChild((yield* open(store, options)).claim())
          while (claiming.pollUnsafe() === undefined) yield* pass(1000)
          assert.strictEqual((yield* Fiber.join(claiming))[0]?.attempt, life + 1)
          setDown(true)
        }
        const { database } = yield* openOn(base)
        const elder = yield* Effect.provideService(
          S3Queue.make({ name, payload: Schema.Finite, ...options }),
          Database,
          database
        )
        yield* Effect.forkChild(elder.consume(() => Effect.void, { stopWithin: 0 }))
        yield* pass(60_000)
        const { deadLetters, totals } = yield* elder.status
        assert.isAbove(totals.retried, 5)
        assert.strictEqual(deadLetters, 0)
      })
    )

    it.effect("takes any input of a duration for later, and keeps it over a wire; what is none throws", () =>
      Effect.gen(function* () {
        const codec = Schema.toCodecJson(S3Queue.RetryLater)
        for (const after of [Duration.minutes(1), "1 minute", 60_000, [60, 0], { minutes: 1 }] as const) {
          const json = yield* Schema.encodeEffect(codec)(new S3Queue.RetryLater({ after }))
          const { after: back } = yield* Schema.decodeEffect(codec)(json)
          assert.isTrue(Duration.equals(Duration.fromInputUnsafe(back), Duration.minutes(1)), JSON.stringify(json))
        }
        assert.throws(() => new S3Queue.RetryLater({ after: "soon" as "1 minute" }))
      })
    )

    it.effect("does what a handler says: later, never; and takes a defect for a failure", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, { maxAttempts: 2 })
        const seen: Array<string> = []
        const events = yield* Effect.forkChild(Stream.runCollect(Stream.take(queue.events, 11)), {
          startImmediately: true
        })
        yield* settled
        const handler: S3Queue.Handler<string> = (payload, { attempt }) => {
          seen.push(`${payload}${attempt}`)
          if (payload === "later" && attempt === 1) return Effect.fail(new S3Queue.RetryLater({ after: "90 seconds" }))
          if (payload === "never") return Effect.fail(new S3Queue.Reject({ description: "it is no address" }))
          if (payload === "defect") throw new Error("a defect")
          if (payload === "slow") return Effect.never
          return Effect.void
        }
        yield* queue.offerAll(["later", "never", "defect", "slow"].map((payload) => ({ payload, id: payload })))
        yield* Effect.forkChild(queue.consume(handler, { stopWithin: 0, timeout: "10 seconds" }))
        yield* pass(80_000)
        assert.deepStrictEqual(seen.toSorted(), ["defect1", "defect2", "later1", "never1", "slow1", "slow2"])
        yield* pass(20_000)
        assert.include(seen, "later2")
        const letters = yield* Stream.runCollect(queue.deadLetters)
        assert.deepStrictEqual(
          letters.map(({ error, id }) => [id, error]),
          [
            ["never", "it is no address"],
            ["defect", "a defect"],
            ["slow", "its handler took more than 10000 ms"]
          ]
        )
        const told = yield* Fiber.join(events)
        assert.deepStrictEqual(told.map((event) => `${event._tag} ${"id" in event ? event.id : ""}`).toSorted(), [
          "Completed later",
          "Dead defect",
          "Dead never",
          "Dead slow",
          "Offered defect",
          "Offered later",
          "Offered never",
          "Offered slow",
          "Retried defect",
          "Retried later",
          "Retried slow"
        ])
        assert.strictEqual(yield* queue.discard({ ids: ["slow"] }), 1)
        assert.strictEqual(yield* queue.discard(), 2)
        assert.strictEqual((yield* queue.status).deadLetters, 0)
      })
    )

    it.effect("takes the default delay where retryDelay throws, and goes on", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory, {
          retryDelay: () => {
            throw new Error("no idea")
          }
        })
        yield* queue.offer("a")
        const [claimed] = yield* queue.claimNow()
        yield* claimed!.retry()
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* drain(queue), ["a"])
      })
    )

    it.effect("makes what cannot be read a dead letter, and goes on with the others", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { database } = yield* openOn(store)
        const counts = yield* Effect.provideService(
          S3Queue.make({ name, payload: Schema.Struct({ n: Schema.Int }) }),
          Database,
          database
        )
        const texts = yield* open(store)
        yield* texts.offer("text", { id: "t" })
        yield* counts.offer({ n: 1 })
        const [claimed] = yield* counts.claim(5)
        assert.deepStrictEqual(claimed?.payload, { n: 1 })
        const [letter] = yield* Stream.runCollect(texts.deadLetters)
        assert.strictEqual(letter?.id, "t")
        assert.include(letter?.error, "cannot be read")
      })
    )

    it.effect("takes a schema that throws for one that cannot read the message, and goes on with the others", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { database } = yield* openOn(store)
        const Choking = Schema.String.pipe(
          Schema.decodeTo(Schema.String, {
            decode: SchemaGetter.transform((text: string) => {
              if (text === "throw") throw new Error("no such text")
              return text
            }),
            encode: SchemaGetter.transform((text: string) => text)
          })
        )
        const queue = yield* Effect.provideService(S3Queue.make({ name, payload: Choking }), Database, database)
        yield* queue.offer("throw", { id: "t" })
        yield* queue.offer("fine")
        const [claimed] = yield* queue.claim(5)
        assert.strictEqual(claimed?.payload, "fine")
        const [letter] = yield* Stream.runCollect(queue.deadLetters)
        assert.strictEqual(letter?.id, "t")
      })
    )

    it.effect("keeps thousands of dead letters, and drives them all again", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store)
        yield* queue.offerAll(Array.from({ length: 600 }, (_, i) => ({ payload: String(i), id: String(i) })))
        for (let i = 0; i < 6; i++) {
          const claimed = yield* queue.claimNow(100)
          yield* Effect.forEach(claimed, (one) => one.reject("no"), { concurrency: "unbounded" })
          yield* settled
        }
        const letters = yield* Stream.runCollect((yield* open(store)).deadLetters)
        assert.deepStrictEqual(
          letters.map(({ id }) => id),
          Array.from({ length: 600 }, (_, i) => String(i))
        )
        assert.strictEqual(yield* queue.redrive(), 600)
        assert.strictEqual((yield* drainMany(queue)).length, 600)
        yield* settled
        // Nothing is left but what is remembered.
        assert.isAtMost((yield* keys(store)).filter((key) => key.includes("/part/")).length, 8)
      })
    )
  })

  describe("workers", () => {
    it.effect("gives the message of a worker that is silent to another, and refuses what the first says later", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const { setDown, store } = failingAtTimes(base)
        const [a, b] = [yield* open(store), yield* open(base)]
        yield* a.offer("x", { id: "x" })
        const [mine] = yield* a.claimNow()
        setDown(true)
        const taking = yield* Effect.forkChild(Effect.scoped(Effect.tap(b.claim(), ([one]) => one!.ack)))
        const acking = yield* Effect.forkChild(Effect.exit(mine!.ack))
        yield* pass(29_000)
        assert.isUndefined(taking.pollUnsafe())
        yield* passUntil(() => taking.pollUnsafe() !== undefined, "the message of a silent worker is not taken")
        const [theirs] = yield* Fiber.join(taking)
        assert.strictEqual(theirs?.attempt, 2)
        assert.isAbove(theirs!.token, mine!.token)
        assert.strictEqual(theirs?.idempotencyKey, mine!.idempotencyKey)
        setDown(false)
        yield* pass(40_000)
        const exit = yield* Fiber.join(acking)
        assert.isTrue(Exit.isFailure(exit))
        yield* mine!.lost
        const error = yield* Effect.flip(mine!.ack)
        assert.strictEqual(error._tag, "MessageLost")
        assert.include(error.message, "is not held")
        const { claimed, totals } = yield* b.status
        assert.deepStrictEqual([claimed, totals.completed, totals.lost], [0, 1, 1])
      })
    )

    it.effect("says by hand that it goes on, by one request for all; and is told when a message is lost", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const { setDown, store: flaky } = failingAtTimes(base)
        const { requests, store } = count(flaky)
        const [a, b] = [yield* open(store), yield* open(base)]
        yield* a.offerAll(numbers(3))
        const [first, second, third] = yield* a.claimNow(3)
        requests.length = 0
        yield* Effect.forEach([first!, second!, third!], ({ renew }) => renew, { concurrency: "unbounded" })
        assert.deepStrictEqual(
          requests.map((request) => request.split(" ")[0]),
          ["put"]
        )
        // From here on nobody takes it for as long as visibility.
        const taking = yield* Effect.forkChild(b.claim(3))
        yield* pass(20_000)
        yield* first!.renew
        setDown(true)
        yield* pass(25_000)
        assert.isUndefined(taking.pollUnsafe())
        const renewing = yield* Effect.forkChild(Effect.flip(second!.renew))
        yield* pass(40_000)
        assert.lengthOf(yield* Fiber.join(taking), 3)
        assert.strictEqual((yield* Fiber.join(renewing))._tag, "MessageLost")
        setDown(false)
        assert.strictEqual((yield* Effect.flip(third!.renew))._tag, "MessageLost")
        const [own] = yield* Effect.andThen(b.offer("own"), b.claimNow())
        yield* own!.ack
        assert.strictEqual((yield* Effect.flip(own!.renew))._tag, "MessageLost")
      })
    )

    it.effect("is told by a renewal that another has its message, before it knows by itself", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b] = [yield* open(store), yield* open(store)]
        yield* a.offer("x")
        const [mine] = yield* a.claimNow()
        yield* b.clear({ claimed: true })
        assert.strictEqual((yield* Effect.flip(mine!.renew))._tag, "MessageLost")
        yield* mine!.lost
      })
    )

    it.effect("tells of what was offered, once, also by a transaction", () =>
      Effect.gen(function* () {
        yield* at
        const { database } = yield* openOn(yield* memory)
        const options = { name, payload: Schema.String, transactions: true }
        const queue = yield* Effect.provideService(S3Queue.make(options), Database, database)
        const seen: Array<string> = []
        yield* Effect.forkChild(
          Stream.runForEach(queue.events, (event) =>
            Effect.sync(() => void seen.push("id" in event ? `${event._tag} ${event.id}` : event._tag))
          )
        )
        yield* settled
        yield* queue.offer("1", { id: "1" })
        yield* queue.offer("1", { id: "1" })
        yield* queue.offerAll([
          { payload: "2", id: "2" },
          { payload: "1", id: "1" }
        ])
        yield* database.transaction(queue.offer("3", { id: "3" }))
        yield* Effect.exit(database.transaction(Effect.andThen(queue.offer("4", { id: "4" }), Effect.fail("no"))))
        yield* pass(1000)
        yield* Effect.scoped(Effect.flatMap(queue.claimNow(), ([one]) => one!.ack))
        yield* pass(1000)
        assert.deepStrictEqual(seen, ["Offered 1", "Offered 2", "Offered 3", "Completed 1"])
        const statuses = Effect.provideService(Plugin.statuses, Database, database)
        const [status] = yield* statuses
        assert.deepStrictEqual([status!.name, status!.counters["offered"]], [name, 3])
        const other = S3Queue.make({ name: "other", payload: Schema.String })
        yield* Effect.provideService(other, Database, database)
        assert.deepStrictEqual(
          (yield* statuses).map(({ name, slug }) => [slug, name]),
          [
            ["queue", name],
            ["queue", "other"]
          ]
        )
      })
    )

    it.effect("gives a message that costs one worker after the other their life up", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const options = { maxAttempts: 2, visibility: "3 seconds" } as const
        yield* (yield* open(base, options)).offer("poison")
        for (let life = 0; life < 2; life++) {
          const { setDown, store } = failingAtTimes(base)
          const claiming = yield* Effect.forkChild((yield* open(store, options)).claim())
          yield* passUntil(() => claiming.pollUnsafe() !== undefined, "the message of a silent worker is not taken")
          const [claimed] = yield* Fiber.join(claiming)
          assert.strictEqual(claimed?.attempt, life + 1)
          setDown(true)
        }
        const last = yield* open(base, options)
        const claiming = yield* Effect.forkChild(last.claim())
        yield* pass(20_000)
        assert.isUndefined(claiming.pollUnsafe())
        const [letter] = yield* Stream.runCollect(last.deadLetters)
        assert.strictEqual(letter?.error, "its worker was silent for too long")
      })
    )

    it.effect("gives back what it was given by an answer that was lost for good", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const { losing, store } = losingAnswers(base)
        const [queue, other] = [yield* open(store), yield* open(base)]
        yield* other.offer("x")
        losing(true)
        const error = yield* Effect.flip(queue.claimNow())
        assert.strictEqual(error.outcome, "unknown")
        losing(false)
        assert.strictEqual((yield* other.status).claimed, 1)
        yield* queue.offer("y")
        yield* settled
        assert.deepStrictEqual(
          (yield* other.claimNow(5)).map(({ attempt, payload }) => `${payload} ${attempt}`),
          ["x 1", "y 1"]
        )
      })
    )

    it.effect("says how it fares, and what it has counted", () =>
      Effect.gen(function* () {
        yield* at
        const network = failingAtTimes(yield* memory)
        const { database } = yield* openOn(network.store)
        const queue = yield* Effect.provideService(S3Queue.make({ name, payload: Schema.String }), Database, database)
        const status = Effect.map(Effect.provideService(Plugin.statuses, Database, database), ([one]) => one!)
        yield* queue.offer("x")
        const [claimed] = yield* queue.claimNow()
        yield* claimed!.ack
        const { counters, health, plugin, state } = yield* status
        assert.deepStrictEqual([plugin, state, health.level, counters["completed"]], ["queue", "running", "up", 1])
        network.setDown(true)
        assert.strictEqual((yield* Effect.flip(queue.offer("y"))).message.includes("no answer"), true)
        const worse = yield* status
        assert.strictEqual(worse.health.level, "degraded")
        assert.include(worse.health.detail, "queue jobs")
        network.setDown(false)
        yield* queue.offer("y")
        assert.strictEqual((yield* status).health.level, "up")
      })
    )

    it.effect("holds messages for as long as a handler needs, and looks for nothing meanwhile", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const { requests, store: counted } = count(store)
        const [a, b] = [yield* open(counted), yield* open(store)]
        let handled = 0
        yield* a.offer("long")
        const slow = () =>
          Effect.andThen(
            Effect.sleep("10 minutes"),
            Effect.sync(() => void (handled += 1))
          )
        yield* Effect.forkChild(a.consume(slow, { concurrency: 1, stopWithin: 0 }))
        yield* pass(2000)
        yield* Effect.forkChild(b.consume(slow, { stopWithin: 0 }))
        requests.length = 0
        yield* pass(60_000)
        // A renewal for each third of half a minute, each with a GET where others have written.
        assert.isAtMost(requests.length, 12)
        yield* pass(10 * minute)
        assert.strictEqual(handled, 1)
        const { totals } = yield* b.status
        assert.deepStrictEqual([totals.completed, totals.lost], [1, 0])
      })
    )

    it.effect("interrupts the handler of a message that is lost", () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const { setDown, store } = failingAtTimes(base)
        const queue = yield* open(store)
        const seen: Array<string> = []
        yield* queue.offer("x")
        const handler = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void seen.push("interrupted")))
        yield* Effect.forkChild(queue.consume(handler, { stopWithin: 0 }))
        yield* pass(1000)
        setDown(true)
        yield* pass(31_000)
        assert.deepStrictEqual(seen, ["interrupted"])
        setDown(false)
        yield* pass(40_000)
        assert.strictEqual((yield* (yield* open(base)).status).totals.lost, 0)
        assert.isAbove((yield* (yield* open(base)).status).claimed + (yield* queue.status).ready, 0)
      })
    )

    it.effect("lets handlers end when it is stopped, and gives back what does not, uncounted", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store)
        const scope = yield* Scope.make()
        const worker = yield* openIn(scope, store)
        const seen: Array<string> = []
        yield* queue.offerAll([{ payload: "3" }, { payload: "60" }])
        const handler = (payload: string) =>
          Effect.andThen(
            Effect.sleep(`${Number(payload)} seconds`),
            Effect.sync(() => void seen.push(payload))
          )
        const fiber = yield* Effect.forkChild(worker.consume(handler, { stopWithin: "5 seconds" }))
        yield* pass(1000)
        const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* queue.offer("0")
        yield* pass(4000)
        assert.isUndefined(stopping.pollUnsafe())
        yield* pass(4000)
        yield* Fiber.join(stopping)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(seen, ["3"])
        const rest = yield* queue.claimNow(5)
        assert.deepStrictEqual(
          rest.map(({ attempt, payload }) => [payload, attempt]),
          [
            ["60", 1],
            ["0", 1]
          ]
        )
      })
    )

    it.effect("gives back what was claimed and not acknowledged when the scope closes", () =>
      Effect.gen(function* () {
        yield* at
        const queue = yield* open(yield* memory)
        yield* queue.offer("x")
        yield* Effect.scoped(queue.claim())
        const [again] = yield* queue.claimNow()
        assert.strictEqual(again?.attempt, 1)
        yield* again!.ack
        // Who is interrupted while it waits takes nothing along.
        const waiting = yield* Effect.forkChild(Effect.scoped(queue.claim(3)))
        yield* pass(1000)
        yield* Fiber.interrupt(waiting)
        yield* queue.offer("y")
        assert.deepStrictEqual(yield* drain(queue), ["y"])
      })
    )

    it.live("gives back what somebody was interrupted in acknowledging", () =>
      Effect.gen(function* () {
        const inner = yield* memory
        const begun = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        let isSlow = false
        const slow = Effect.suspend(() =>
          isSlow ? Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(gate)) : Effect.void
        )
        const store: typeof inner = { ...inner, put: (request) => Effect.andThen(slow, inner.put(request)) }
        const queue = yield* open(store)
        yield* queue.offerAll(numbers(4))
        const other = yield* open(inner)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const claimed = yield* queue.claim(4)
            isSlow = true
            // While a round is under way the others wait for the next one.
            const offering = yield* Effect.forkChild(queue.offer("4"), { startImmediately: true })
            yield* Deferred.await(begun)
            yield* Effect.forEach(claimed, ({ ack }) => Effect.exit(Effect.timeout(ack, "50 millis")), {
              concurrency: "unbounded"
            })
            isSlow = false
            yield* Deferred.succeed(gate, undefined)
            yield* Fiber.join(offering)
          })
        )
        const { claimed, totals } = yield* queue.status
        assert.deepStrictEqual([claimed, totals.completed], [0, 0])
        assert.deepStrictEqual(yield* drainMany(other), ["0", "1", "2", "3", "4"])
      })
    )

    it.effect("strands no message, wherever who ends it is interrupted", () =>
      Effect.gen(function* () {
        yield* at
        // With fewer operations at a time it would come to nothing.
        const endings: ReadonlyArray<
          readonly [number, (one: S3Queue.Claimed<string>) => Effect.Effect<void, unknown>]
        > = [
          [3, ({ ack }) => ack],
          [4, ({ retry }) => retry({ after: 0 })],
          [3, ({ reject }) => reject("no")]
        ]
        for (const [operations, end] of endings) {
          const exits: Array<Exit.Exit<void, unknown> | undefined> = []
          while (exits.at(-1) === undefined) {
            const steps = exits.length
            assert.isBelow(steps, 500, "the claim never ended")
            const store = yield* memory
            const queue = yield* open(store)
            yield* queue.offer("x")
            yield* Effect.scoped(
              Effect.gen(function* () {
                const [claimed] = yield* queue.claim()
                // It stops after each operation or two, and is interrupted at this one.
                const ending = yield* Effect.forkChild(
                  Effect.provideService(end(claimed!), EffectScheduler.MaxOpsBeforeYield, operations)
                )
                for (let i = 0; i < steps; i++) yield* turn
                exits.push(ending.pollUnsafe())
                yield* Fiber.interrupt(ending)
              })
            )
            const { claimed, deadLetters, ready, totals } = yield* queue.status
            assert.strictEqual(claimed, 0, `interrupted at its pause ${steps}`)
            assert.strictEqual(ready + deadLetters + totals.completed, 1)
          }
          assert.isAbove(exits.length, 10)
        }
      })
    )

    it.effect("says that it is closed to who uses it afterwards, and does nothing", () =>
      Effect.gen(function* () {
        yield* at
        const { requests, store } = count(yield* memory)
        const scope = yield* Scope.make()
        const queue = yield* openIn(scope, store)
        yield* queue.offer("x")
        const held = yield* Scope.make()
        const [claimed] = yield* Scope.provide(queue.claim(), held)
        yield* Scope.close(scope, Exit.void)
        const requested = requests.length
        for (const use of [
          queue.offer("y"),
          queue.offerAll([{ payload: "y".repeat(20_000) }]),
          Effect.scoped(queue.claim()),
          Effect.scoped(queue.claimNow()),
          queue.consume(() => Effect.void),
          queue.pause,
          queue.redrive(),
          queue.collect,
          claimed!.ack
        ]) {
          const error = yield* Effect.flip(use as Effect.Effect<unknown, Error>)
          assert.include(error.message, "the queue is closed")
        }
        assert.deepStrictEqual(requests.slice(requested), [])
        yield* Scope.close(held, Exit.void)
        assert.strictEqual((yield* queue.status).claimed, 1)
      })
    )

    it.effect("claims nothing while it is paused, whoever asks", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const [a, b] = [yield* open(store), yield* open(store)]
        yield* a.offer("x")
        yield* a.pause
        yield* a.pause
        assert.deepStrictEqual(yield* b.claimNow(), [])
        assert.isTrue((yield* b.status).isPaused)
        yield* b.resume
        assert.deepStrictEqual(yield* drain(a), ["x"])
      })
    )

    it.effect("is a service, with a layer that works on it", () =>
      Effect.gen(function* () {
        yield* at
        class Emails extends S3Queue.Service<Emails>()("test/Emails", {
          payload: Schema.Struct({ to: Schema.String, at: Schema.Date })
        }) {}
        const got = yield* Deferred.make<string>()
        const Worker = S3Queue.layerWorker(
          Emails,
          ({ at, to }, { idempotencyKey, queue }) =>
            Effect.asVoid(Deferred.succeed(got, `${to} ${at.getFullYear()} ${queue} ${idempotencyKey}`)),
          { stopWithin: 0 }
        )
        const { database } = yield* openOn(yield* memory)
        const Live = Worker.pipe(Layer.provideMerge(Emails.layer), Layer.provide(Layer.succeed(Database, database)))
        yield* Effect.gen(function* () {
          yield* (yield* Emails).offer({ to: "ada", at: new Date(start) }, { id: "7" })
          assert.strictEqual(yield* Deferred.await(got), "ada 2026 Emails queue/Emails/7")
        }).pipe(Effect.provide(Live))
      })
    )
  })

  describe("a worker of a damaged queue", () => {
    const damaged = Effect.fnUntraced(function* () {
      yield* at
      class Jobs extends S3Queue.Service<Jobs>()("test/jobs", { payload: Schema.String }) {}
      const store = yield* memory
      const { database } = yield* openOn(store)
      const handled: Array<string> = []
      const Live = S3Queue.layerWorker(Jobs, (text) => Effect.sync(() => void handled.push(text)), {
        stopWithin: 0
      }).pipe(Layer.provideMerge(Jobs.layer), Layer.provide(Layer.succeed(Database, database)))
      const queue = Context.get(yield* Layer.build(Live), Jobs)
      const key = "plugin=queue/queue=jobs/queue"
      yield* queue.offer("first")
      yield* until(() => handled.length === 1)
      const { body } = yield* store.get(key)
      const health = Effect.map(
        Effect.provideService(Plugin.statuses, Database, database),
        (all) => all.find(({ plugin }) => plugin === "queue")!.health
      )
      yield* store.put({ key, body: new TextEncoder().encode("{") })
      // Whoever waits finds it at the next look.
      yield* pass(40_000)
      const down = yield* health
      assert.strictEqual(down.level, "degraded")
      assert.include(down.level === "degraded" ? down.detail : "", `${key}): restore it from a backup`)
      return { handled, health, key, mend: store.put({ key, body }), other: yield* open(store), queue }
    })

    it.effect("works again as soon as this process finds it mended", () =>
      Effect.gen(function* () {
        const { handled, health, mend, queue } = yield* damaged()
        yield* mend
        yield* queue.offer("second")
        yield* until(() => handled.length === 2)
        assert.deepStrictEqual(yield* health, { level: "up" })
      })
    )

    it.effect("works again after a minute, and says until then that it does not", () =>
      Effect.gen(function* () {
        const { handled, health, mend, other } = yield* damaged()
        yield* mend
        yield* other.offer("second")
        assert.strictEqual((yield* health).level, "degraded")
        yield* pass(61_000)
        assert.deepStrictEqual(handled, ["first", "second"])
        assert.deepStrictEqual(yield* health, { level: "up" })
      })
    )
  })

  describe("requests", () => {
    it.effect("needs at most 5 for a message alone, in one process and between two", () =>
      Effect.gen(function* () {
        yield* at
        const { requests, store } = count(yield* memory)
        const [a, b] = [yield* open(store), yield* open(store)]
        const one = Effect.fnUntraced(function* (from: S3Queue.Queue<string>, to: S3Queue.Queue<string>) {
          yield* from.offer("x")
          const [claimed] = yield* to.claimNow()
          yield* claimed!.ack
        })
        yield* one(a, a)
        requests.length = 0
        yield* one(a, a)
        assert.strictEqual(requests.length, 3)
        // Each finds out once that there is another.
        for (let i = 0; i < 3; i++) yield* one(a, b)
        requests.length = 0
        for (let i = 0; i < 10; i++) yield* one(a, b)
        assert.strictEqual(requests.length, 50)
      })
    )

    it.effect("needs at most a fifth of one for a message of many", () =>
      Effect.gen(function* () {
        yield* at
        const { requests, store } = count(yield* memory)
        const [a, b] = [yield* open(store), yield* open(store)]
        requests.length = 0
        yield* a.offerAll(numbers(1000))
        assert.isAtMost(requests.length, 4)
        for (let i = 0; i < 10; i++) {
          const claimed = yield* b.claimNow(100)
          assert.strictEqual(claimed.length, 100)
          yield* Effect.forEach(claimed, (one) => one.ack, { concurrency: "unbounded" })
        }
        yield* settled
        assert.isAtMost(requests.length, 30)
        // Offered alone, by many fibers, and handled by a worker.
        requests.length = 0
        let handled = 0
        yield* Effect.forEach(numbers(1000), ({ payload }) => a.offer(payload), { concurrency: "unbounded" })
        assert.isAtMost(requests.length, 6)
        yield* Effect.forkChild(
          b.consume(() => Effect.sync(() => void (handled += 1)), { concurrency: 100, stopWithin: 0 })
        )
        yield* until(() => handled === 1000)
        yield* settled
        assert.isAtMost(requests.length, 60)
        assert.deepStrictEqual((yield* b.status).totals.completed, 2000)
      })
    )

    it.effect("looks for messages twice in an idle minute, however many wait, and lists nothing", () =>
      Effect.gen(function* () {
        yield* at
        const { requests, store } = count(yield* memory)
        const queue = yield* open(store)
        for (let i = 0; i < 5; i++) yield* Effect.forkChild(queue.consume(() => Effect.void, { stopWithin: 0 }))
        yield* pass(2 * minute)
        requests.length = 0
        yield* pass(10 * minute)
        assert.isAtMost(requests.length, 21)
        assert.isTrue(requests.every((request) => request.startsWith("get ")))
        // What is offered here is handled at once all the same.
        const seen: Array<string> = []
        yield* Effect.forkChild(
          queue.consume((payload) => Effect.sync(() => void seen.push(payload)), { stopWithin: 0 })
        )
        yield* queue.offerAll(numbers(60))
        yield* settled
        assert.strictEqual((yield* queue.status).totals.completed, 60)
      })
    )

    it.effect("costs an idle hour 120 GET, 1 PUT, 1 HEAD and 1 DELETE; with transactions 60 LIST more", () =>
      Effect.gen(function* () {
        yield* at
        for (const transactions of [false, true]) {
          const { requests, store } = count(yield* memory)
          yield* Effect.scoped(
            Effect.gen(function* () {
              const queue = yield* open(store, { transactions })
              const consuming = yield* Effect.forkChild(queue.consume(() => Effect.void, { stopWithin: 0 }))
              yield* pass(2 * minute)
              requests.length = 0
              yield* pass(60 * minute)
              yield* Fiber.interrupt(consuming)
            })
          )
          const kinds: Record<string, number> = {}
          for (const request of requests) kinds[request.split(" ")[0]!] = (kinds[request.split(" ")[0]!] ?? 0) + 1
          const idle = { get: 120, put: 1, head: 1, delete: 1 }
          assert.deepStrictEqual(kinds, transactions ? { ...idle, list: 60 } : idle)
        }
      })
    )
  })

  describe("stores", () => {
    it.effect("leaves nothing behind of 2,500 messages but its own object", () =>
      Effect.gen(function* () {
        yield* at
        for (const profile of ["express"] as const) {
          const { store } = yield* MemoryStore.make({ profile })
          const queue = yield* open(store)
          for (let i = 0; i < 5; i++) {
            yield* queue.offerAll(numbers(400))
            yield* Effect.forEach(numbers(100), ({ payload }) => queue.offer(payload), { concurrency: "unbounded" })
            yield* settled
          }
          let handled = 0
          yield* Effect.forkChild(
            queue.consume(() => Effect.sync(() => void (handled += 1)), { concurrency: 50, stopWithin: 0 })
          )
          yield* until(() => handled === 2500)
          assert.deepStrictEqual(
            (yield* keys(store)).filter((key) => key.startsWith("plugin=")),
            ["plugin=queue/queue=jobs/queue"]
          )
        }
      })
    )

    it.effect("puts many small parts together", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store)
        const text = "y".repeat(20_000)
        for (let i = 0; i < 80; i++) {
          yield* queue.offer(`${i}${text}`)
          yield* settled
        }
        const parts = (yield* keys(store)).filter((key) => key.includes("/part/"))
        assert.isBelow(parts.length, 70)
        const seen = yield* drain(yield* open(store))
        assert.deepStrictEqual(
          seen.map((one) => Number.parseInt(one)),
          Array.from({ length: 80 }, (_, i) => i)
        )
      })
    )

    it.effect("collects what was put and never named, and nothing else", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const queue = yield* open(store)
        yield* queue.offerAll(numbers(600))
        const hash = "A".repeat(43)
        yield* store.put({ key: `plugin=queue/queue=jobs/part/g=1/${hash}` })
        assert.strictEqual(yield* queue.collect, 0)
        assert.strictEqual(yield* queue.collect, 1)
        assert.strictEqual(yield* queue.collect, 0)
        assert.strictEqual((yield* drainMany(yield* open(store))).length, 600)
      })
    )

    it.effect("stays readable, however odd the times are that processes are given", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        yield* Effect.scoped(
          Effect.gen(function* () {
            const queue = yield* open(store, { visibility: 1500.25, pollInterval: 10.5, rememberIds: 1.5 })
            yield* queue.offerAll([{ payload: "a" }, { payload: "b", delay: 0.25 }])
            yield* TestClock.adjust(1)
            const [first, second] = yield* queue.claimNow(2)
            yield* first!.retry({ after: 1e17 })
            yield* second!.retry({ after: 0.5 })
            assert.strictEqual((yield* (yield* open(store)).status).delayed, 2)
          })
        )
        yield* TestClock.adjust("36525 days")
        assert.deepStrictEqual((yield* drain(yield* open(store))).toSorted(), ["a", "b"])
      })
    )

    it.effect("says what cannot be read, and leaves it as it is", () =>
      Effect.gen(function* () {
        yield* at
        const store = yield* memory
        const key = "plugin=queue/queue=jobs/queue"
        const queue = yield* open(store)
        for (const [text, tag] of [
          ["{", "Corrupt"],
          [`{"v":2}`, "Unsupported"]
        ] as const) {
          const body = new TextEncoder().encode(text)
          yield* store.put({ key, body })
          for (const effect of [
            queue.offer("x"),
            Effect.scoped(queue.claim()),
            queue.status,
            queue.consume(() => Effect.void)
          ]) {
            const error = yield* Effect.flip(effect as Effect.Effect<unknown, { readonly _tag: string }>)
            assert.strictEqual(
              error._tag === "DbError" && "reason" in error ? (error.reason as { _tag: string })._tag : "",
              tag
            )
          }
          assert.deepStrictEqual((yield* store.get(key)).body, body)
        }
      })
    )

    it.effect("says that a part is damaged or missing, and lets other work go on", () =>
      Effect.gen(function* () {
        yield* at
        for (const damage of ["altered", "missing"]) {
          const store = yield* memory
          const queue = yield* open(store)
          yield* queue.offer("small")
          const [held] = yield* queue.claimNow()
          yield* queue.offerAll(numbers(600))
          const part = (yield* keys(store)).find((key) => key.includes("/part/"))!
          if (damage === "missing") yield* store.delete(part)
          else yield* store.put({ key: part, body: new TextEncoder().encode("{}") })
          const other = yield* open(store)
          const error = yield* Effect.flip(other.claimNow())
          assert.include(["Corrupt", "NoSuchKey"], error.reason._tag)
          assert.strictEqual((yield* Effect.flip(Effect.scoped(other.claim()))).reason._tag, error.reason._tag)
          yield* held!.ack
          assert.isTrue((yield* other.offer("more")).isNew)
        }
      })
    )
  })

  describe("transactions", () => {
    const both = Effect.fnUntraced(function* () {
      const store = yield* memory
      const { database, open } = yield* openOn(store)
      const orders = yield* open("orders", { schema: Schema.Struct({ id: Schema.String }), primaryKey: "id" })
      const options = { name, payload: Schema.String, transactions: true, pollInterval: "1 second" } as const
      const queue = yield* Effect.provideService(S3Queue.make(options), Database, database)
      return { database, orders, queue, store }
    })

    it.effect("has a message exactly if the transaction was committed", () =>
      Effect.gen(function* () {
        yield* at
        const { database, orders, queue } = yield* both()
        yield* database.transaction(
          Effect.gen(function* () {
            yield* orders.insert({ id: "1" })
            yield* queue.offer("one", { id: "m1", priority: 3, group: "g" })
            yield* queue.offerAll([{ payload: "two" }, { payload: "three", delay: "1 hour" }])
          })
        )
        yield* Effect.exit(
          database.transaction(
            Effect.gen(function* () {
              yield* orders.insert({ id: "2" })
              yield* queue.offer("never")
              return yield* Effect.fail("no")
            })
          )
        )
        yield* pass(100)
        const [first, second, ...rest] = yield* queue.claimNow(5)
        assert.deepStrictEqual([first?.payload, first?.priority, first?.id], ["one", 3, "m1"])
        assert.deepStrictEqual([second?.payload, rest.length], ["two", 0])
        assert.strictEqual((yield* queue.status).delayed, 1)
        assert.isFalse((yield* queue.offer("one", { id: "m1" })).isNew)
      })
    )

    it.effect("finds the messages of a program that came to a sudden end after its commit, once", () =>
      Effect.gen(function* () {
        yield* at
        const { database, queue, store } = yield* both()
        const scope = yield* Scope.make()
        const { database: theirs } = yield* openOn(store)
        const other = yield* S3Queue.make({ name, payload: Schema.String, transactions: true }).pipe(
          Effect.provideService(Database, theirs),
          Effect.provideService(Scope.Scope, scope)
        )
        yield* theirs.transaction(
          Effect.gen(function* () {
            yield* other.offer("a")
            yield* other.offer("b")
            // Nothing runs in this program from the commit on.
            yield* Scope.close(scope, Exit.void)
          })
        )
        assert.deepStrictEqual(yield* drain(queue), [])
        yield* pass(61_000)
        assert.deepStrictEqual((yield* drain(queue)).toSorted(), ["a", "b"])
        yield* pass(120_000)
        assert.deepStrictEqual(yield* drain(queue), [])
        assert.isDefined(database)
      })
    )

    it.effect("has it once, or not at all, wherever the program crashes", () =>
      Effect.gen(function* () {
        yield* at
        const seen = new Set<string>()
        for (let crashAt = 1; crashAt <= 8; crashAt++) {
          for (const when of ["before", "after"] as const) {
            const { queue, store } = yield* both()
            let isArmed = false
            const crashed = crashing(store, crashAt, when).store
            const { database: armed } = yield* openOn(switching(store, crashed, () => isArmed))
            const scope = yield* Scope.make()
            const other = yield* S3Queue.make({ name, payload: Schema.String, transactions: true }).pipe(
              Effect.provideService(Database, armed),
              Effect.provideService(Scope.Scope, scope)
            )
            yield* settled
            isArmed = true
            const exit = yield* Effect.exit(armed.transaction(other.offer("x")))
            yield* settled
            yield* pass(65_000, 5000)
            const there = yield* drain(queue)
            if (Exit.isSuccess(exit)) assert.deepStrictEqual(there, ["x"])
            assert.isAtMost(there.length, 1)
            seen.add(`${Exit.isSuccess(exit)} ${there.length}`)
            yield* pass(65_000, 5000)
            assert.deepStrictEqual(yield* drain(queue), [])
          }
        }
        assert.includeMembers([...seen], ["true 1", "false 0"])
      })
    )

    it.effect("is refused where the queue was opened without", () =>
      Effect.gen(function* () {
        yield* at
        const { database } = yield* openOn(yield* memory)
        const queue = yield* Effect.provideService(S3Queue.make({ name, payload: Schema.String }), Database, database)
        const error = yield* Effect.flip(database.transaction(queue.offer("x")))
        assert.strictEqual(error._tag === "DbError" ? error.reason._tag : "", "Unsupported")
        assert.deepStrictEqual(yield* drain(queue), [])
      })
    )
  })

  describe("input", () => {
    it.effect("is refused by the name of the option, and nothing is written", () =>
      Effect.gen(function* () {
        const { requests, store } = count(yield* memory)
        yield* openOn(store)
        requests.length = 0
        const wrong: ReadonlyArray<readonly [string, Partial<S3Queue.Options<string>>]> = [
          ["name", { name: "" }],
          ["name", { name: "\ud800" }],
          ["name", { name: "n".repeat(201) }],
          ["namespace", { namespace: "a/b" }],
          ["visibility", { visibility: 10 }],
          ["visibility", { visibility: "8 days" }],
          ["pollInterval", { pollInterval: 0 }],
          ["maxPollInterval", { maxPollInterval: 10 }],
          ["rememberIds", { rememberIds: -1 }],
          ["rememberIds", { rememberIds: "1 minute", transactions: true }],
          ["maxAttempts", { maxAttempts: 0 }],
          ["maxAttempts", { maxAttempts: 1.5 }],
          ["maxAttempts", { maxAttempts: Infinity }],
          ["maxAttempts", { maxAttempts: 3, failureStrategy: "retry" }],
          ["failureStrategy", { failureStrategy: "never" as "retry" }],
          ["order", { order: "lifo", fifo: true }],
          ["order", { order: "random" as "lifo" }]
        ]
        for (const [field, options] of wrong) {
          const error = yield* Effect.flip(open(store, options))
          assert.strictEqual("field" in error ? error.field : error._tag, field)
          assert.include(error.message, field)
        }
        const queue = yield* open(store)
        for (const [field, options] of [
          ["concurrency", { concurrency: 0 }],
          ["timeout", { timeout: 0 }],
          ["stopWithin", { stopWithin: "8 days" }]
        ] as const) {
          const error = yield* Effect.flip(queue.consume(() => Effect.void, options))
          assert.strictEqual(error._tag === "InvalidQueue" ? error.field : error._tag, field)
        }
        requests.length = 0
        for (const [field, options] of [
          ["id", { id: "" }],
          ["id", { id: "\udc00" }],
          ["id", { id: "é".repeat(257) }],
          ["group", { group: "" }],
          ["group", { group: "é".repeat(257) }],
          ["priority", { priority: 0.5 }],
          ["priority", { priority: 1_000_001 }],
          ["delay", { delay: -1 }],
          ["delay", { delay: Infinity }],
          ["delay", { delay: 1e17 }],
          ["id", { id: "a\ud801" }],
          ["group", { group: "\ud800" }],
          ["priority", { priority: NaN }],
          ["priority", { priority: -Infinity }],
          ["priority", { priority: 2 ** 53 }]
        ] as const) {
          const error = yield* Effect.flip(queue.offerAll([{ payload: "fine" }, { payload: "x", ...options }]))
          assert.strictEqual(
            error._tag === "InvalidMessage" ? `${error.index} ${error.field}` : error._tag,
            `1 ${field}`
          )
          assert.include(error.message, field)
        }
        const big = yield* Effect.flip(queue.offer("x".repeat(4 * 1024 * 1024)))
        assert.include(big.message, "4 MiB")
        const none = yield* Effect.flip(queue.offer(1 as unknown as string))
        assert.include(none.message, "payload")
        for (const max of [0, 1.5, 10_001]) {
          assert.strictEqual((yield* Effect.flip(queue.claimNow(max))).reason._tag, "InvalidArgument")
        }
        assert.deepStrictEqual(requests, [])
        assert.deepStrictEqual(yield* queue.offerAll([]), [])
      })
    )
  })
})
