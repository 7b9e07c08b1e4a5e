/** Queues that are emptied, and removed while others still have what was in them. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as S3Queue from "effect-s3db/plugins/S3Queue"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"
import { count, failingAtTimes, keys, name, open, pass, start, until } from "./queues.ts"
import { settled } from "../waiting.ts"

const at = TestClock.setTime(start)

const numbers = (count: number) => Array.from({ length: count }, (_, i) => ({ payload: String(i) }))

const ofQueue = (all: ReadonlyArray<string>) => all.filter((key) => key.startsWith("plugin=queue/queue="))

const queueKey = `plugin=queue/queue=${name}/queue`

describe("a queue that is emptied", () => {
  it.effect(
    "has no message that waits, thousands or few; what is claimed goes on, and comes back to be tried again",
    () =>
      Effect.gen(function* () {
        yield* at
        const base = yield* memory
        const { requests, store } = count(base)
        const queue = yield* open(store)
        yield* queue.offerAll(numbers(2500))
        yield* queue.offer("later", { delay: "1 hour", id: "later" })
        const [first, second] = yield* queue.claimNow(2)
        requests.length = 0
        // 2,500 lie in three parts; what is claimed has its payload in the first.
        assert.strictEqual(yield* queue.clear(), 2499)
        yield* until(() => requests.some((request) => request.startsWith("deleteMany")))
        assert.deepStrictEqual(
          requests.map((request) => request.split(" ")[0]),
          ["put", "deleteMany"]
        )
        const { claimed, delayed, ready } = yield* queue.status
        assert.deepStrictEqual({ claimed, delayed, ready }, { claimed: 2, delayed: 0, ready: 0 })
        assert.strictEqual(ofQueue(yield* keys(base)).length, 2)
        yield* first!.ack
        yield* second!.retry({ after: 0 })
        const other = yield* open(base)
        const [again, ...rest] = yield* other.claimNow(10)
        assert.deepStrictEqual([again?.payload, again?.attempt, rest], ["1", 2, []])
        yield* again!.ack
        yield* queue.status
        yield* queue.offer("next")
        yield* pass(100)
        assert.deepStrictEqual(ofQueue(yield* keys(base)), [queueKey])
        // An id is remembered as that of what was offered.
        assert.isFalse((yield* queue.offer("later", { id: "later" })).isNew)
        assert.strictEqual(yield* queue.clear(), 1)
        assert.strictEqual(yield* queue.clear(), 0)
      })
  )

  it.effect("has no dead letters, and no claims, where that is asked for", () =>
    Effect.gen(function* () {
      yield* at
      const store = yield* memory
      const [a, b] = [yield* open(store), yield* open(store)]
      yield* a.offerAll(numbers(4))
      const [first, second] = yield* a.claimNow(2)
      yield* first!.reject("no")
      assert.strictEqual(yield* b.clear(), 2)
      assert.strictEqual((yield* b.status).deadLetters, 1)
      assert.strictEqual(yield* b.clear({ deadLetters: true }), 1)
      assert.strictEqual(yield* b.clear({ claimed: true }), 1)
      assert.strictEqual((yield* Effect.flip(second!.ack))._tag, "MessageLost")
      const { claimed, deadLetters, ready, totals, workers } = yield* a.status
      assert.deepStrictEqual(
        { claimed, deadLetters, ready, workers },
        { claimed: 0, deadLetters: 0, ready: 0, workers: 0 }
      )
      assert.deepStrictEqual([totals.offered, totals.completed, totals.dead], [4, 0, 1])
    })
  )

  it.effect("interrupts the handlers of what is taken away, and goes on with what comes", () =>
    Effect.gen(function* () {
      yield* at
      const store = yield* memory
      const [a, b] = [yield* open(store), yield* open(store)]
      const begun = yield* Deferred.make<void>()
      const seen: Array<string> = []
      const consuming = yield* Effect.forkChild(
        a.consume(
          (payload) =>
            Effect.gen(function* () {
              if (payload !== "slow") return void seen.push(payload)
              yield* Deferred.succeed(begun, undefined)
              return yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => void seen.push("interrupted")))
            }),
          { stopWithin: 0 }
        )
      )
      yield* a.offer("slow")
      yield* Deferred.await(begun)
      assert.strictEqual(yield* b.clear({ claimed: true }), 1)
      yield* pass(12_000)
      assert.deepStrictEqual(seen, ["interrupted"])
      yield* b.offer("next")
      yield* pass(31_000)
      assert.deepStrictEqual(seen, ["interrupted", "next"])
      yield* Fiber.interrupt(consuming)
    })
  )

  it.effect("gives nobody what was taken away between its claim and the read of its payload", () =>
    Effect.gen(function* () {
      yield* at
      const base = yield* memory
      const other = yield* open(base)
      // More than a process keeps in memory: a part each.
      yield* other.offerAll(Array.from({ length: 40 }, (_, i) => ({ payload: String(i % 10).repeat(900_000) })))
      let isTaken = false
      const taken = Effect.gen(function* () {
        isTaken = true
        yield* other.clear({ claimed: true })
        while ((yield* keys(base)).some((key) => key.includes("/part/"))) yield* settled
      })
      const slow: ObjectStore["Service"] = {
        ...base,
        put: (request) =>
          Effect.tap(base.put(request), () =>
            request.key === queueKey && !isTaken ? Effect.orDie(taken) : Effect.void
          )
      }
      const queue = yield* open(slow)
      const claimed = yield* queue.claimNow(40)
      assert.isBelow(claimed.length, 40)
      for (const one of claimed) assert.strictEqual((yield* Effect.flip(one.ack))._tag, "MessageLost")
      assert.strictEqual((yield* queue.status).claimed, 0)
      yield* queue.offer("next")
      const [next] = yield* queue.claimNow()
      assert.strictEqual(next?.payload, "next")
    })
  )
})

describe("a queue that is removed", () => {
  it.effect("is refused while messages are claimed, and nothing is changed", () =>
    Effect.gen(function* () {
      yield* at
      const store = yield* memory
      const [a, b] = [yield* open(store), yield* open(store)]
      yield* a.offerAll(numbers(3))
      const [one] = yield* a.claimNow()
      const error = yield* Effect.flip(b.remove())
      assert.isTrue(error instanceof S3Queue.QueueInUse)
      assert.include(error.message, `queue "${name}" is not removed: 1 of its messages are claimed`)
      assert.strictEqual((yield* b.status).ready, 2)
      yield* one!.ack
      yield* b.remove()
      const { queue: _, ...status } = yield* a.status
      assert.deepStrictEqual(status, {
        isPaused: false,
        ready: 0,
        delayed: 0,
        claimed: 0,
        deadLetters: 0,
        workers: 0,
        totals: { offered: 0, completed: 0, retried: 0, dead: 0, lost: 0, redriven: 0 }
      })
    })
  )

  it.effect("leaves one small object, whatever was in it; then it begins anew, ids too", () =>
    Effect.gen(function* () {
      yield* at
      const base = yield* memory
      const { requests, store } = count(base)
      const queue = yield* open(store)
      yield* queue.offerAll(Array.from({ length: 3000 }, (_, i) => ({ payload: String(i), id: `i${i}` })))
      // What a process has put that came to a sudden end.
      yield* base.put({ key: `plugin=queue/queue=${name}/part/g=1/${"x".repeat(43)}`, body: new Uint8Array(10) })
      yield* queue.pause
      yield* pass(1000)
      requests.length = 0
      yield* queue.remove()
      yield* pass(1000)
      const kinds = requests.map((request) => request.split(" ")[0])
      assert.deepStrictEqual(
        [kinds.filter((kind) => kind === "put").length, kinds.filter((kind) => kind === "list").length],
        [1, 1]
      )
      assert.isAtMost(kinds.length, 6)
      assert.deepStrictEqual(ofQueue(yield* keys(base)), [queueKey])
      assert.isBelow((yield* base.get(queueKey)).body.length, 1000)
      assert.isTrue((yield* queue.offer("again", { id: "i1" })).isNew)
      const [claimed] = yield* (yield* open(base)).claimNow()
      assert.deepStrictEqual([claimed?.payload, claimed?.attempt], ["again", 1])
    })
  )

  it.effect("does not let a claim of before end one of later, nor take a message of later for one of before", () =>
    Effect.gen(function* () {
      yield* at
      const base = yield* memory
      const { setDown, store } = failingAtTimes(base)
      const [stood, other] = [yield* open(store), yield* open(base)]
      yield* stood.offer("old", { id: "same" })
      const [old] = yield* stood.claimNow()
      setDown(true)
      yield* other.remove({ claimed: true })
      yield* other.offer("new", { id: "same" })
      const [mine] = yield* other.claimNow()
      assert.isAbove(mine!.token, old!.token)
      setDown(false)
      assert.strictEqual((yield* Effect.flip(old!.ack))._tag, "MessageLost")
      assert.strictEqual((yield* Effect.flip(old!.renew))._tag, "MessageLost")
      assert.strictEqual((yield* other.status).claimed, 1)
      yield* mine!.ack
      assert.strictEqual((yield* other.status).totals.completed, 1)
    })
  )

  it.effect("takes what is being put meanwhile in anew, under another key", () =>
    Effect.gen(function* () {
      yield* at
      const base = yield* memory
      const other = yield* open(base)
      yield* other.offer("before")
      let puts = 0
      const slow: ObjectStore["Service"] = {
        ...base,
        put: (request) =>
          Effect.tap(base.put(request), () =>
            request.key.includes("/part/") && puts++ === 0 ? Effect.orDie(other.remove()) : Effect.void
          )
      }
      const queue = yield* open(slow)
      yield* queue.offerAll(numbers(1000))
      assert.strictEqual(puts, 2)
      const seen: Array<string> = []
      for (;;) {
        const claimed = yield* other.claimNow(200)
        if (claimed.length === 0) break
        seen.push(...claimed.map(({ payload }) => payload))
        yield* Effect.forEach(claimed, ({ ack }) => ack, { concurrency: "unbounded" })
      }
      assert.deepStrictEqual(
        seen,
        numbers(1000).map(({ payload }) => payload)
      )
    })
  )

  it.effect("is nothing to do where there never was one", () =>
    Effect.gen(function* () {
      yield* at
      const { requests, store } = count(yield* memory)
      const queue = yield* open(store)
      requests.length = 0
      yield* queue.remove()
      yield* queue.clear()
      assert.isTrue(requests.every((request) => !request.startsWith("put")))
      assert.deepStrictEqual(ofQueue(yield* keys(store)), [])
    })
  )

  it.effect("takes along what transactions have written and nobody has moved yet", () =>
    Effect.gen(function* () {
      yield* at
      const base = yield* memory
      const { setDown, store } = failingAtTimes(base)
      const make = Effect.fnUntraced(function* (on: ObjectStore["Service"]) {
        const { database } = yield* openOn(on)
        const queue = yield* Effect.provideService(
          S3Queue.make({ name, payload: Schema.String, transactions: true }),
          Database,
          database
        )
        return { database, queue }
      })
      const { database, queue } = yield* make({
        ...store,
        // What is committed is not moved by this process.
        put: (request) => (request.key === queueKey ? store.put(request) : base.put(request)),
        get: (key, options) => (key === queueKey ? store.get(key, options) : base.get(key, options)),
        list: (request) => base.list(request)
      })
      setDown(true)
      yield* database.transaction(queue.offer("never"))
      const documents = Effect.map(keys(base), (all) =>
        all.filter((key) => key.includes("outbox") && key.includes("/data/"))
      )
      assert.strictEqual((yield* documents).length, 1)
      const other = yield* make(base)
      yield* other.queue.remove()
      assert.deepStrictEqual(yield* documents, [])
      yield* pass(2 * 60_000)
      assert.strictEqual((yield* other.queue.status).ready, 0)
    })
  )
})
