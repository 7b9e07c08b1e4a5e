/** What Effect promises of a PersistedQueue, on a database. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as S3PersistedQueue from "effect-s3db/persistence/PersistedQueue"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { memory, openOn } from "../fixture.ts"
import { count, failingAtTimes, pass, passUntil, start } from "../plugins/queues.ts"
import { settled } from "../waiting.ts"

const Item = Schema.Struct({ n: Schema.Int, at: Schema.optionalKey(Schema.Date) })

/** A process: its factory of queues, and the store below them. */
const processOn = Effect.fnUntraced(function* (store: ObjectStore["Service"], options: S3PersistedQueue.Options = {}) {
  const { database } = yield* openOn(store)
  const Store = S3PersistedQueue.layerStoreWith(options).pipe(Layer.provide(Layer.succeed(Database, database)))
  const context = yield* Layer.build(PersistedQueue.layer.pipe(Layer.provideMerge(Store)))
  return {
    make: (options: Partial<Parameters<typeof PersistedQueue.make>[0]> = {}) =>
      PersistedQueue.make({ name: "items", schema: Item, ...options }).pipe(
        Effect.provideContext(context)
      ) as Effect.Effect<PersistedQueue.PersistedQueue<typeof Item.Type>>,
    port: Effect.provideContext(PersistedQueue.PersistedQueueStore, context),
    cleanup: (timeToLive: Duration.Input, failedTimeToLive?: Duration.Input) =>
      Effect.flatMap(PersistedQueue.PersistedQueueStore, (store) =>
        store.cleanup({
          timeToLive: Duration.fromInputUnsafe(timeToLive),
          failedTimeToLive: failedTimeToLive === undefined ? undefined : Duration.fromInputUnsafe(failedTimeToLive)
        })
      ).pipe(Effect.provideContext(context))
  }
})

const begin = Effect.fnUntraced(function* () {
  yield* TestClock.setTime(start)
  const store = yield* memory
  const one = yield* processOn(store)
  return { ...one, store }
})

const seen = (item: typeof Item.Type, meta: { readonly id: string; readonly attempts: number }) =>
  Effect.succeed([item.n, meta.id, meta.attempts] as const)

describe("PersistedQueue", () => {
  it.effect("gives what was offered, encoded and decoded, in order", () =>
    Effect.gen(function* () {
      const { make } = yield* begin()
      const queue = yield* make()
      yield* queue.offer({ n: 1, at: new Date(start) }, { id: "a" })
      const id = yield* queue.offer({ n: 2 })
      assert.strictEqual(yield* queue.take((item) => Effect.succeed(item.at?.getTime())), start)
      assert.deepStrictEqual(yield* queue.take(seen), [2, id, 1])
    })
  )

  it.effect("waits for an element, also one that another process offers", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const other = yield* (yield* processOn(store)).make()
      const queue = yield* make()
      const waiting = yield* Effect.forkChild(queue.take(seen))
      yield* pass(2000)
      assert.isUndefined(waiting.pollUnsafe())
      yield* queue.offer({ n: 1 }, { id: "a" })
      assert.deepStrictEqual(yield* Fiber.join(waiting), [1, "a", 1])
      const more = yield* Effect.forkChild(queue.take(seen))
      yield* pass(1000)
      yield* other.offer({ n: 2 }, { id: "b" })
      yield* pass(30_000)
      assert.deepStrictEqual(yield* Fiber.join(more), [2, "b", 1])
    })
  )

  it.effect("keeps queues of other names apart", () =>
    Effect.gen(function* () {
      const { make } = yield* begin()
      const [a, b] = [yield* make({ name: "a/b" }), yield* make({ name: "__proto__" })]
      yield* a.offer({ n: 1 }, { id: "x" })
      yield* b.offer({ n: 2 }, { id: "x" })
      assert.deepStrictEqual(yield* b.take(seen), [2, "x", 1])
      assert.deepStrictEqual(yield* a.take(seen), [1, "x", 1])
    })
  )

  it.effect("takes an id in once, also when it is done, until it is cleaned up", () =>
    Effect.gen(function* () {
      const { cleanup, make } = yield* begin()
      const queue = yield* make()
      yield* queue.offer({ n: 1 }, { id: "a" })
      yield* queue.offer({ n: 2 }, { id: "a", delay: "1 hour" })
      assert.deepStrictEqual(yield* queue.take(seen), [1, "a", 1])
      yield* queue.offer({ n: 3 }, { id: "a" })
      yield* TestClock.adjust("10 days")
      yield* cleanup("30 days")
      yield* queue.offer({ n: 4 }, { id: "a" })
      yield* cleanup("1 day")
      yield* queue.offer({ n: 5 }, { id: "a" })
      assert.deepStrictEqual(yield* queue.take(seen), [5, "a", 1])
    })
  )

  it.effect("delivers nothing before its delay is over, and nothing at all with one that never is", () =>
    Effect.gen(function* () {
      const { make } = yield* begin()
      const queue = yield* make()
      yield* queue.offer({ n: 1 }, { id: "later", delay: "1 minute" })
      yield* queue.offer({ n: 2 }, { id: "never", delay: Infinity })
      yield* queue.offer({ n: 3 }, { id: "now", delay: -5 })
      assert.deepStrictEqual(yield* queue.take(seen), [3, "now", 1])
      const waiting = yield* Effect.forkChild(queue.take(seen))
      yield* pass(59_000)
      assert.isUndefined(waiting.pollUnsafe())
      yield* pass(2000)
      assert.deepStrictEqual(yield* Fiber.join(waiting), [1, "later", 1])
      yield* queue.offer({ n: 4 }, { id: "never" })
      assert.deepStrictEqual(yield* queue.take(seen), [4, "never", 1])
    })
  )

  it.effect("tries again by the schedule, and gives up after the attempts", () =>
    Effect.gen(function* () {
      const { cleanup, make } = yield* begin()
      const queue = yield* make({ maxAttempts: 3, retrySchedule: Schedule.exponential("1 second") })
      yield* queue.offer({ n: 1 }, { id: "a" })
      const attempts: Array<number> = []
      const failing = queue.take((_, meta) => {
        attempts.push(meta.attempts)
        return Effect.fail("no")
      })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(failing)))
      for (let i = 0; i < 2; i++) {
        const again = yield* Effect.forkChild(Effect.exit(failing))
        yield* pass(900 * 2 ** i, 100)
        assert.isUndefined(again.pollUnsafe())
        yield* pass(200 * 2 ** i, 100)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(again)))
      }
      assert.deepStrictEqual(attempts, [1, 2, 3])
      // It is not taken any more, nor in again, until those that failed are cleaned up.
      yield* queue.offer({ n: 2 }, { id: "a" })
      yield* queue.offer({ n: 3 }, { id: "b" })
      assert.deepStrictEqual(yield* queue.take(seen), [3, "b", 1])
      yield* TestClock.adjust("2 days")
      yield* cleanup("1 day")
      yield* queue.offer({ n: 4 }, { id: "a" })
      yield* cleanup("1 day", "1 day")
      yield* queue.offer({ n: 5 }, { id: "a" })
      assert.deepStrictEqual(yield* queue.take(seen), [5, "a", 1])
    })
  )

  it.effect("gives an element back when the handler is interrupted, and does not count it", () =>
    Effect.gen(function* () {
      const { make } = yield* begin()
      const queue = yield* make()
      const entered = yield* Deferred.make<void>()
      yield* queue.offer({ n: 1 }, { id: "a" })
      const fiber = yield* Effect.forkChild(
        queue.take(() => Effect.andThen(Deferred.succeed(entered, undefined), Effect.never))
      )
      yield* Deferred.await(entered)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* queue.take(seen), [1, "a", 1])
    })
  )

  it.effect("puts aside what cannot be decoded, and takes the next", () =>
    Effect.gen(function* () {
      const { make } = yield* begin()
      const texts = (yield* make({ schema: Schema.String })) as unknown as PersistedQueue.PersistedQueue<string>
      const queue = yield* make()
      yield* texts.offer("no item", { id: "a" })
      yield* queue.offer({ n: 1 }, { id: "b" })
      assert.deepStrictEqual(yield* queue.take(seen), [1, "b", 1])
    })
  )

  it.effect("gives each element to one of many takers", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const queues = [yield* make(), yield* (yield* processOn(store)).make(), yield* (yield* processOn(store)).make()]
      const got: Array<number> = []
      const fibers = yield* Effect.forEach(Array.from({ length: 60 }), (_, i) =>
        Effect.forkChild(queues[i % 3]!.take((item) => Effect.sync(() => void got.push(item.n))))
      )
      yield* Effect.forEach(Array.from({ length: 60 }), (_, n) => queues[0]!.offer({ n }), { concurrency: "unbounded" })
      yield* passUntil(() => got.length >= 60, "some elements are not taken")
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        got.toSorted((a, b) => a - b),
        Array.from({ length: 60 }, (_, n) => n)
      )
    })
  )

  it.effect("gives the element of a process that is silent to another, counted", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const network = failingAtTimes(store)
      const theirs = yield* (yield* processOn(network.store)).make()
      const queue = yield* make()
      yield* queue.offer({ n: 1 }, { id: "a" })
      const stuck = yield* Effect.forkChild(theirs.take(() => Effect.never))
      yield* settled
      yield* pass(1000)
      network.setDown(true)
      const waiting = yield* Effect.forkChild(queue.take(seen))
      yield* passUntil(() => waiting.pollUnsafe() !== undefined, "the element of a silent process is not taken")
      assert.deepStrictEqual(yield* Fiber.join(waiting), [1, "a", 2])
      network.setDown(false)
      yield* Effect.forkChild(Fiber.interrupt(stuck))
      yield* pass(1000)
    })
  )

  it.effect("waits for a century at most, and stays readable, whatever the delay", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const queue = yield* make({ maxAttempts: 3, retrySchedule: Schedule.spaced(1e17) })
      yield* queue.offer({ n: 1 }, { id: "now" })
      yield* queue.offer({ n: 2 }, { id: "far", delay: 1e17 })
      yield* queue.offer({ n: 3 }, { id: "between", delay: 1500.5 })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(queue.take(() => Effect.fail("no")))))
      // Another process reads what there is.
      const other = yield* (yield* processOn(store)).make()
      const waiting = yield* Effect.forkChild(other.take(seen))
      yield* pass(3000)
      assert.deepStrictEqual(yield* Fiber.join(waiting), [3, "between", 1])
      yield* TestClock.adjust("36525 days")
      const late = yield* (yield* processOn(store)).make()
      assert.deepStrictEqual(
        [yield* late.take(seen), yield* late.take(seen)],
        [
          [1, "now", 2],
          [2, "far", 1]
        ]
      )
    })
  )

  it.effect("refuses names, ids and elements that have no form, and writes nothing", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const { requests, store: counted } = count(store)
      const process = yield* processOn(counted)
      requests.length = 0
      const loop: { self?: unknown } = {}
      loop.self = loop
      const any = (yield* process.make({ schema: Schema.Any })) as unknown as PersistedQueue.PersistedQueue<unknown>
      const nameless = yield* process.make({ name: "\ud800" })
      const queue = yield* process.make()
      for (const [field, effect] of [
        ["name", nameless.offer({ n: 1 })],
        ["name", nameless.take(seen)],
        ["id", queue.offer({ n: 1 }, { id: "\ud800" })],
        ["id", queue.offer({ n: 1 }, { id: "\ud801" })]
      ] as const) {
        const error = yield* Effect.flip(effect as Effect.Effect<unknown, PersistedQueue.PersistedQueueError>)
        assert.strictEqual(error._tag, "PersistedQueueError")
        assert.include(error.message, `${field} is no valid Unicode`)
      }
      const port = yield* process.port
      for (const element of [{ n: 1n }, 1n, loop]) {
        const offering = port.offer({ name: "items", id: "a", element, isCustomId: true, delay: undefined })
        assert.include((yield* Effect.flip(offering)).message, "no form as JSON")
        assert.isTrue(Exit.isFailure(yield* Effect.exit(any.offer(element))))
      }
      assert.deepStrictEqual(requests, [])
      yield* (yield* make()).offer({ n: 1 }, { id: "\ud83d\ude00" })
      assert.deepStrictEqual(yield* queue.take(seen), [1, "\ud83d\ude00", 1])
    })
  )

  it.effect("tries again after the default time where the schedule has none", () =>
    Effect.gen(function* () {
      const { port } = yield* begin()
      const store = yield* port
      yield* store.offer({ name: "items", id: "a", element: 1, isCustomId: true, delay: undefined })
      const taking = (delay: Effect.Effect<Duration.Duration>) =>
        Effect.scoped(
          Effect.andThen(store.take({ name: "items", maxAttempts: 9, retryDelay: () => delay }), Effect.fail("no"))
        )
      for (const delay of [Effect.die("no schedule"), Effect.succeed(Duration.millis(-5))]) {
        const failing = yield* Effect.forkChild(Effect.exit(taking(delay)))
        yield* pass(5000)
        assert.isTrue(Exit.hasFails(yield* Fiber.join(failing)))
      }
      const last = yield* Effect.forkChild(
        Effect.scoped(store.take({ name: "items", maxAttempts: 9, retryDelay: () => Effect.die("none") }))
      )
      yield* pass(5000)
      assert.strictEqual((yield* Fiber.join(last)).attempts, 3)
    })
  )

  it.effect("cleans up thousands of ids, but for those of elements that failed and are there", () =>
    Effect.gen(function* () {
      const { cleanup, make } = yield* begin()
      const queue = yield* make({ maxAttempts: 1 })
      const ids = Array.from({ length: 600 }, (_, n) => n)
      const offering = (n: number) => queue.offer({ n }, { id: String(n) })
      yield* Effect.forEach(ids, offering, { concurrency: "unbounded", discard: true })
      const take = queue.take(({ n }) => (n % 250 === 0 ? Effect.fail("no") : Effect.void))
      yield* Effect.forEach(ids, () => Effect.exit(take), { concurrency: "unbounded", discard: true })
      yield* TestClock.adjust("2 days")
      yield* cleanup("1 day", "3 days")
      // Those that failed are not taken in again; of the others those are that are in no part with one that failed.
      yield* offering(0)
      yield* offering(250)
      yield* offering(500)
      yield* queue.offer({ n: 7777 }, { id: "new" })
      assert.deepStrictEqual(yield* queue.take(seen), [7777, "new", 1])
      yield* TestClock.adjust("2 days")
      yield* cleanup("1 day", "3 days")
      yield* offering(0)
      const again = yield* make({ maxAttempts: 2 })
      assert.strictEqual((yield* again.take(seen))[0], 0)
    })
  )

  it.effect("cleans up queues of any name, and leaves what is no queue", () =>
    Effect.gen(function* () {
      const { cleanup, make, store } = yield* begin()
      yield* store.put({ key: "plugin=persisted-queue/queue=%zz/queue", body: new Uint8Array() })
      yield* store.put({ key: "plugin=persisted-queue/queue=notes", body: new Uint8Array() })
      for (const name of ["", "a/b", "é"]) {
        const queue = yield* make({ name })
        yield* queue.offer({ n: 1 }, { id: "a" })
        yield* queue.take(seen)
        yield* TestClock.adjust("2 days")
        yield* cleanup("1 day")
        yield* queue.offer({ n: 2 }, { id: "a" })
        assert.deepStrictEqual(yield* queue.take(seen), [2, "a", 1])
      }
    })
  )

  it.effect("fails with what the store says, and refuses options that cannot be", () =>
    Effect.gen(function* () {
      const { make, store } = yield* begin()
      const queue = yield* make()
      yield* store.put({ key: "plugin=persisted-queue/queue=items/queue", body: new TextEncoder().encode("{") })
      const error = yield* Effect.flip(queue.offer({ n: 1 }))
      assert.strictEqual(error._tag, "PersistedQueueError")
      assert.strictEqual((yield* Effect.flip(queue.take(seen)))._tag, "PersistedQueueError")
      for (const options of [{ visibility: 0 }, { pollInterval: -1 }, { maxPollInterval: "8 days" }] as const) {
        const exit = yield* Effect.exit(Effect.scoped(processOn(store, options)))
        assert.isTrue(Exit.hasDies(exit))
      }
    })
  )
})
