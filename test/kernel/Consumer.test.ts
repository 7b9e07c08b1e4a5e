import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as Journal from "effect-s3db/kernel/Journal"
import * as Lease from "effect-s3db/kernel/Lease"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { StoreError, Unavailable } from "effect-s3db/storage/StoreError"
import { orders, restingOrders } from "./consumerOrders.ts"
import { crashing, drive, keysOf, memory, moments } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]
type Entry = AppendLog.Entry<number>

const range = (length: number, from = 0) => Array.from({ length }, (_, i) => from + i)
const logOf = (store: Store, options?: Partial<AppendLog.Options<number, number>>) =>
  AppendLog.make(store, { prefix: "log", schema: Schema.Int, compression: "none", ...options })
const on = (store: Store, options?: Partial<Consumer.Options<number, number>>) =>
  Consumer.make(store, { source: logOf(store), schema: Schema.Int, prefix: "consumers", name: "c", ...options })
const folder = "consumers/consumer=c"
const valuesOf = (entries: ReadonlyArray<Entry>) => entries.map(({ value }) => value)

/** What was handled, in order. */
const recorder = () => {
  const seen: Array<number> = []
  const batches: Array<number> = []
  const handle = (entries: ReadonlyArray<Entry>) =>
    Effect.sync(() => {
      batches.push(entries.length)
      seen.push(...valuesOf(entries))
    })
  return { seen, batches, handle }
}

/** Lets so much time pass, second by second. */
const pass = (seconds: number, step: Duration.Input = "1 second") =>
  Effect.forEach(range(seconds), () => Effect.andThen(Effect.andThen(settled, settled), TestClock.adjust(step)), {
    discard: true
  })

/** Lets time pass until something is so. */
const comes = (condition: Effect.Effect<boolean>) =>
  Effect.gen(function* () {
    while (!(yield* condition)) yield* pass(1)
  })

/** Lets time pass until so much was seen. */
const until = (seen: ReadonlyArray<unknown>, count: number) =>
  Effect.gen(function* () {
    while (seen.length < count) yield* pass(1)
  })

const opened = Effect.gen(function* () {
  const inner = yield* memory
  const { counter, store } = InstrumentedStore.make(inner)
  const made = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    yield* counter.reset
    const result = yield* effect
    return [result, Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))] as const
  })
  return { inner, store, made }
})

describe("Consumer", () => {
  it.effect("of a journal: records of the resources that are chosen, beside other consumers", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = AppendLog.make(store, { prefix: "journal/log", schema: Journal.Record })
      const record = (resource: string, i: number): Journal.Record => ({
        resource,
        id: `${i}`,
        kind: "insert",
        writeId: `write-${i}`,
        time: i
      })
      yield* log.append(range(9).map((i) => record(["users", "users_archive", "a/b"][i % 3]!, i)))
      const journal = yield* Journal.make(store)
      const ids = (resources: Consumer.JournalOptions["resources"], name: string) =>
        Effect.gen(function* () {
          const seen: Array<string> = []
          yield* Consumer.journal(store, journal, { name, resources }).drain((entries) =>
            Effect.sync(() => void seen.push(...entries.map(({ value }) => value.id)))
          )
          return seen.join("")
        })
      assert.strictEqual(yield* ids(["users"], "a"), "036")
      assert.strictEqual(yield* ids((name) => name.startsWith("users"), "b"), "013467")
      assert.strictEqual(yield* ids("*", "c"), "012345678")
      assert.strictEqual(yield* ids(undefined, "c"), "")
      assert.strictEqual(yield* ids([], "d"), "")
    })
  )

  it.effect("handles all there is, in order, in batches, and goes on from there; requests", () =>
    Effect.gen(function* () {
      const { inner, made, store } = yield* opened
      const log = logOf(inner)
      yield* log.append(range(2500))
      const mine = on(store)
      const { batches, handle, seen } = recorder()
      assert.deepStrictEqual(yield* mine.position, Option.none())
      assert.strictEqual(yield* mine.lag, 2500)
      const [drained, requests] = yield* made(mine.drain(handle))
      assert.deepStrictEqual(drained, { handled: 2500, deadLetters: 0 })
      assert.deepStrictEqual(seen, range(2500))
      assert.deepStrictEqual(
        batches,
        range(25).map(() => 100)
      )
      // Lease: 1 GET, 2 PUT; position: 1 GET, 1 PUT to claim, 1 PUT to begin, 3 PUT; source: 3 GET for where it is, 2 to read.
      assert.deepStrictEqual(requests, { get: 6, put: 7 })
      assert.deepStrictEqual(yield* made(mine.position), [Option.some(2500), { get: 1 }])
      assert.deepStrictEqual(yield* made(mine.lag), [0, { get: 2 }])
      yield* log.append(range(3, 2500))
      const [, more] = yield* made(mine.drain(handle))
      assert.deepStrictEqual(seen, range(2503))
      assert.deepStrictEqual(more, { get: 5, put: 4 })
      // Another consumer has a position of its own, and sees what it selects.
      const other = recorder()
      yield* on(store, { name: "other/é", select: (value) => value % 1000 === 0, batchSize: 7 }).drain(other.handle)
      assert.deepStrictEqual(other.seen, [0, 1000, 2000])
    })
  )

  it.effect("consumes what comes, in one process at a time; another takes over", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = logOf(store)
      const [first, second] = [recorder(), recorder()]
      const scope = yield* Scope.make()
      const options = { lease: "3 minutes" } as const
      const one = yield* Scope.provide(on(store, options).consume(first.handle), scope)
      yield* comes(Effect.map(one.state, ({ isActive }) => isActive))
      const two = yield* on(store, options).consume(second.handle)
      yield* log.append([1, 2])
      yield* until(first.seen, 2)
      yield* log.append([3])
      yield* until(first.seen, 3)
      assert.deepStrictEqual([first.seen, second.seen], [[1, 2, 3], []])
      assert.isFalse((yield* two.state).isActive)
      assert.deepStrictEqual(yield* one.state, {
        isActive: true,
        position: 3,
        lag: 0,
        handled: 3,
        deadLetters: 0,
        failing: undefined,
        stopped: undefined
      })
      yield* Scope.close(scope, Exit.void)
      yield* log.append([4])
      yield* until(second.seen, 1)
      assert.deepStrictEqual([first.seen, second.seen], [[1, 2, 3], [4]])
      assert.isTrue((yield* two.state).isActive)
      yield* comes(
        Effect.map(
          Metric.value(Metric.withAttributes(Consumer.lagGauge, { consumer: "c" })),
          ({ value }) => value === 0
        )
      )
    }).pipe(Effect.scoped, Random.withSeed("takeover"))
  )

  it.effect(
    "what fails again and again becomes a dead letter, the rest goes on; letters are handled again, or discarded",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* logOf(store).append(range(10))
        const mine = on(store, { attempts: 3, retryPause: "1 second" })
        const seen: Array<number> = []
        let tries = 0
        class Poison extends Error {
          readonly _tag = "Poison"
        }
        const poison = (entries: ReadonlyArray<Entry>) =>
          Effect.gen(function* () {
            for (const { value } of entries) {
              if (value === 4) {
                tries += 1
                return yield* Effect.fail(new Poison(`cannot do ${value}`))
              }
              if (value === 7) return yield* Effect.die("a bug")
              seen.push(value)
            }
          })
        const drained = yield* drive(yield* Effect.forkChild(mine.drain(poison)))
        assert.deepStrictEqual(drained, { handled: 8, deadLetters: 2 })
        assert.strictEqual(tries, 1 + 3)
        // Those before it in its batch were given twice.
        assert.deepStrictEqual(seen, [0, 1, 2, 3, 0, 1, 2, 3, 5, 6, 8, 9])
        assert.deepStrictEqual(yield* mine.position, Option.some(10))
        const letters = yield* Stream.runCollect(mine.deadLetters)
        assert.deepStrictEqual(
          letters.map(({ attempts, error, message, position, value }) => [position, value, attempts, error, message]),
          [
            [4, 4, 3, "Poison", "cannot do 4"],
            [7, 7, 3, "string", "a bug"]
          ]
        )
        assert.deepStrictEqual(yield* mine.redrive(poison), { handled: 0, failed: 2 })
        const fine = recorder()
        assert.deepStrictEqual(yield* mine.redrive(fine.handle, { select: ({ position }) => position < 5 }), {
          handled: 1,
          failed: 0
        })
        assert.deepStrictEqual(fine.seen, [4])
        assert.deepStrictEqual(valuesOf(yield* Stream.runCollect(mine.deadLetters)), [7])
        yield* mine.discard([7, 8])
        yield* mine.discard([])
        assert.deepStrictEqual(yield* Stream.runCollect(mine.deadLetters), [])
        yield* store.put({ key: `${folder}/dead/0000000000000001`, body: new TextEncoder().encode("?") })
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(mine.deadLetters))).reason._tag, "Corrupt")
      })
  )

  it.effect("the first failure of an entry is told at once, in one line, and what fails says its message", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel} ${String(message)}`))
      const schema = Schema.Struct({ resource: Schema.String, id: Schema.String, token: Schema.String })
      const log = AppendLog.make(store, { prefix: "orders", schema })
      yield* log.append([{ resource: "orders", id: "a\nb", token: "hush-hush" }])
      const mine = Consumer.make(store, { source: log, schema, prefix: "consumers", name: "o", lease: "1 hour" })
      let failure: unknown = new TypeError("x is not a function\n    at somewhere")
      const running = yield* mine
        .consume(() => Effect.suspend(() => Effect.fail(failure)))
        .pipe(Effect.provide(Logger.layer([logger])))
      while (said.length === 0) yield* pass(1)
      assert.deepStrictEqual(said, [
        'Warn the consumer o fails for the entry at 0 (orders "a\\nb"), and tries it again: TypeError: x is not a function'
      ])
      const { deadLetters, failing } = yield* running.state
      assert.deepStrictEqual([deadLetters, failing], [0, "TypeError: x is not a function"])
      failure = { message: "no\npaper" }
      yield* comes(Effect.map(running.state, ({ failing }) => failing === "no"))
      failure = {
        get message(): string {
          throw new Error("it cannot be read")
        }
      }
      while ((yield* running.state).deadLetters === 0) yield* pass(1)
      assert.notInclude(said.join("\n"), "hush")
      // One warning, and that it was given up.
      assert.deepStrictEqual(
        said.map((line) => line.split(" ")[0]),
        ["Warn", "Error"]
      )
      // Of many at once it is told which one it was.
      const many = on(store, { attempts: 2, retryPause: 0 })
      yield* logOf(store).append(range(3))
      said.length = 0
      const drained = many.drain((entries) => (valuesOf(entries).includes(1) ? Effect.die("a bug") : Effect.void))
      yield* drive(yield* Effect.forkChild(Effect.provide(drained, Logger.layer([logger]))))
      assert.deepStrictEqual(said.slice(0, 2), [
        "Warn the consumer c fails for the entries from 0 to 2, and tries them one by one: a bug",
        "Warn the consumer c fails for the entry at 1, and tries it again: a bug"
      ])
    }).pipe(Effect.scoped, Random.withSeed("first failure"))
  )

  it.effect("what cannot be reached is waited for, however long, and no entry is given up for it", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const down = (operation: "get" | "put") =>
        new StoreError({ operation, reason: new Unavailable({ description: "down", sent: false }) })
      const state = { isStoreDown: false, isOtherDown: true }
      const guard = <X>(operation: "get" | "put", effect: Effect.Effect<X, StoreError>) =>
        Effect.suspend(() => (state.isStoreDown ? Effect.fail(down(operation)) : effect))
      const store: Store = {
        ...inner,
        get: (...args) => guard("get", inner.get(...args)),
        put: (request) => guard("put", inner.put(request))
      }
      const log = logOf(inner)
      yield* log.append([1, 2])
      const { handle, seen } = recorder()
      const mine = on(store, { attempts: 1, lease: "1 hour" })
      let tries = 0
      const running = yield* mine.consume((entries) =>
        Effect.suspend(() => {
          tries += 1
          return state.isOtherDown ? Effect.fail(down("put")) : handle(entries)
        })
      )
      const fails = Effect.map(running.state, ({ failing }) => failing?.includes("down") === true)
      yield* comes(fails)
      const tried = tries
      yield* comes(Effect.sync(() => tries > tried + 6))
      assert.deepStrictEqual(seen, [])
      state.isOtherDown = false
      yield* until(seen, 2)
      yield* comes(Effect.map(fails, (does) => !does))
      state.isStoreDown = true
      yield* log.append([3])
      yield* comes(fails)
      assert.deepStrictEqual(seen, [1, 2])
      state.isStoreDown = false
      yield* until(seen, 3)
      yield* comes(Effect.map(fails, (does) => !does))
      assert.deepStrictEqual(seen, [1, 2, 3])
      assert.deepStrictEqual((yield* running.state).deadLetters, 0)
    }).pipe(Effect.scoped, Random.withSeed("outage"))
  )

  it.effect(
    "begins at the beginning, the end, a position or a time, or with a snapshot and what follows, without a gap",
    () =>
      Effect.gen(function* () {
        const store = yield* memory
        const log = logOf(store, { segmentEntries: 2 })
        for (const i of range(6)) {
          yield* log.append([i])
          yield* TestClock.adjust("1 minute")
        }
        const began = yield* Effect.forEach(
          [
            ["beginning", "beginning"],
            ["end", "end"],
            ["at", { position: 4 }],
            ["time", { since: 180_000 }],
            ["late", { since: 1e9 }]
          ] as const,
          ([name, start]) =>
            Effect.gen(function* () {
              const { handle, seen } = recorder()
              const mine = on(store, { name, start })
              yield* mine.drain(handle)
              yield* log.append([9])
              yield* mine.drain(handle)
              return seen.slice(0, 3)
            })
        )
        assert.deepStrictEqual(began, [[0, 1, 2], [9], [4, 5, 9], [3, 4, 5], [9]])

        // The snapshot fails once, and is made again; what is written while it runs is among what follows.
        const { handle, seen } = recorder()
        let snapshots = 0
        const snapshot = Effect.gen(function* () {
          snapshots += 1
          yield* log.append([100 + snapshots])
          if (snapshots === 1) return yield* Effect.fail("no snapshot" as const)
        })
        const mine = on(store, { name: "snapshot", start: "end" })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const running = yield* mine.consume(handle, { snapshot })
            assert.strictEqual(yield* Effect.flip(running.await), "no snapshot")
          })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* mine.consume(handle, { snapshot })
            yield* until(seen, 1)
          })
        )
        yield* log.append([7])
        yield* Effect.scoped(Effect.andThen(mine.consume(handle, { snapshot }), until(seen, 2)))
        assert.deepStrictEqual([snapshots, seen], [2, [102, 7]])
      })
  )

  it.effect("nobody has come to position 0 before the snapshot is through", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { handle } = recorder()
      const begun = yield* Latch.make()
      const through = yield* Latch.make()
      const waiting = yield* Effect.forkChild(on(store).waitUntil(0), { startImmediately: true })
      yield* pass(30)
      assert.isUndefined(waiting.pollUnsafe())
      yield* on(store).consume(handle, { snapshot: Effect.andThen(begun.open, through.await) })
      yield* drive(yield* Effect.forkChild(begun.await))
      yield* pass(30)
      assert.isUndefined(waiting.pollUnsafe())
      yield* through.open
      assert.strictEqual(yield* drive(waiting), 0)
    }).pipe(Effect.scoped, Random.withSeed("zero"))
  )

  it.effect("is moved back and ahead, also while another process consumes, idle or not", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = logOf(store)
      yield* log.append(range(5))
      const { handle, seen } = recorder()
      const mine = on(store)
      assert.strictEqual(yield* mine.seek({ position: 3 }), 3)
      yield* mine.consume(handle)
      yield* until(seen, 2)
      assert.deepStrictEqual(seen.splice(0), [3, 4])
      const other = on(store)
      const arrived = (position: number) =>
        Effect.flatMap(Effect.forkChild(other.waitUntil(position)), (fiber) => drive(fiber))
      yield* arrived(5)
      // Idle.
      assert.strictEqual(yield* other.seek("beginning"), 0)
      yield* until(seen, 5)
      assert.deepStrictEqual(seen.splice(0), range(5))
      assert.strictEqual(yield* arrived(5), 5)
      yield* other.seek({ position: 4 })
      yield* until(seen, 1)
      yield* arrived(5)
      yield* other.seek("end")
      assert.deepStrictEqual(seen.splice(0), [4])
      yield* log.append([5])
      assert.strictEqual(yield* arrived(6), 6)
      assert.deepStrictEqual(seen.splice(0), [5])
      const error = yield* Effect.flip(other.seek({ position: -1 }))
      assert.strictEqual(error.reason._tag, "InvalidArgument")
    }).pipe(Effect.scoped, Random.withSeed("seek"))
  )

  it.effect("a batch under way does not take back where it was moved to", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* logOf(store).append(range(6))
      const seen: Array<number> = []
      let moves = 1
      const mine = on(store, { batchSize: 2, every: 1 })
      yield* mine.drain((entries) =>
        Effect.gen(function* () {
          seen.push(...valuesOf(entries))
          if (seen.length === 4 && moves-- > 0) yield* on(store).seek({ position: 1 })
        })
      )
      assert.deepStrictEqual(seen, [0, 1, 2, 3, 1, 2, 3, 4, 5])
    })
  )

  it.effect("fails where retention has passed, and goes on when it is moved", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = logOf(store, { segmentEntries: 2 })
      yield* log.append(range(6))
      const { handle, seen } = recorder()
      const mine = on(store)
      yield* mine.seek({ position: 0 })
      yield* log.retain({ before: 4 })
      const running = yield* mine.consume(handle)
      const error = yield* Effect.flip(running.await)
      assert.deepStrictEqual([error._tag, "first" in error && error.first], ["Trimmed", 4])
      assert.strictEqual((yield* Effect.flip(mine.drain(handle)))._tag, "Trimmed")
      yield* mine.seek("beginning")
      yield* mine.drain(handle)
      assert.deepStrictEqual(seen, [4, 5])
      yield* mine.seek({ since: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("as a stream: what was given counts when the next is pulled", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const log = logOf(store)
      yield* log.append(range(10))
      const mine = on(store, { batchSize: 4, select: (value) => value !== 1 })
      const [first] = yield* made(Stream.runCollect(Stream.take(mine.stream, 5)))
      assert.deepStrictEqual(valuesOf(first), [0, 2, 3, 4, 5])
      // The second array was not passed.
      assert.deepStrictEqual(yield* mine.position, Option.some(4))
      const rest: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(mine.stream, ({ value }) => Effect.sync(() => void rest.push(value)))
      )
      yield* until(rest, 6)
      assert.deepStrictEqual(rest, range(6, 4))
      yield* mine.seek({ position: 9 })
      yield* log.append([10])
      yield* until(rest, 8)
      assert.deepStrictEqual(rest, [...range(6, 4), 9, 10])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* mine.position, Option.some(11))
    }).pipe(Random.withSeed("stream"))
  )

  it.effect("as a stream that has nothing to do: it gives its lease up, and goes on where another has come to", () =>
    Effect.gen(function* () {
      const { made, store } = yield* opened
      const log = logOf(store)
      yield* log.append(range(3))
      const mine = on(store)
      const seen: Array<number> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(mine.stream, ({ value }) => Effect.sync(() => void seen.push(value)))
      )
      yield* until(seen, 3)
      const lease = Lease.make(store, { key: `${folder}/lease` })
      const isHeld = Effect.orDie(
        Effect.map(lease.state, (state) => Option.isSome(state) && state.value.holder !== undefined)
      )
      assert.isTrue(yield* isHeld)
      yield* comes(Effect.map(isHeld, (is) => !is))
      // 1 GET a minute, and 1 more after five.
      const [, requests] = yield* made(pass(600))
      assert.deepStrictEqual(requests, { get: 12 })
      // Another one has the lease meanwhile, as it pleases.
      yield* log.append([3])
      const { handle, seen: others } = recorder()
      yield* drive(yield* Effect.forkChild(mine.drain(handle)))
      assert.deepStrictEqual(others, [3])
      yield* log.append([4])
      yield* until(seen, 4)
      assert.deepStrictEqual(seen, [0, 1, 2, 4])
      assert.isTrue(yield* isHeld)
      // Moved back while it rests, it finds out after five looks at the latest.
      yield* comes(Effect.map(isHeld, (is) => !is))
      assert.deepStrictEqual(yield* mine.position, Option.some(5))
      yield* mine.seek({ position: 2 })
      yield* until(seen, 7)
      assert.deepStrictEqual(seen.slice(4), [2, 3, 4])
      yield* Fiber.interrupt(fiber)
      assert.isFalse(yield* isHeld)
    }).pipe(Random.withSeed("idle stream"))
  )

  it.effect("a crash at any request: all is handled, in order, and the position is never ahead", () =>
    Effect.gen(function* () {
      for (let at = 1, isDone = false; !isDone; at++) {
        for (const when of moments) {
          const store = yield* memory
          yield* logOf(store, { segmentEntries: 3 }).append(range(7))
          const { handle, seen } = recorder()
          const poison = (entries: ReadonlyArray<Entry>) =>
            entries.some(({ value }) => value === 5) ? Effect.fail("poison" as const) : handle(entries)
          const options = { batchSize: 2, every: 2, attempts: 1 }
          const dying = crashing(store, at, when)
          const exit = yield* Effect.exit(on(dying.store, options).drain(poison))
          isDone = Exit.isSuccess(exit)
          const position = Option.getOrElse(yield* on(store).position, () => 0)
          const letters = yield* Stream.runCollect(on(store).deadLetters)
          const done = new Set([...seen, ...valuesOf(letters)])
          assert.isTrue(
            range(position).every((value) => done.has(value)),
            `${position} ${when} ${at}`
          )
          // The lease of the one that has crashed has to be over first.
          yield* drive(yield* Effect.forkChild(on(store, options).drain(poison)))
          const firsts = [...new Set(seen)]
          assert.deepStrictEqual(firsts, [0, 1, 2, 3, 4, 6], `${when} ${at}`)
          assert.deepStrictEqual(valuesOf(yield* Stream.runCollect(on(store).deadLetters)), [5])
        }
      }
    })
  )

  it.effect("in every order of the requests of two processes, with a pause longer than the lease", () =>
    Effect.gen(function* () {
      assert.isAbove((yield* orders({ crashes: 0 })).schedules, 20)
    })
  )

  it.effect("that have given their lease up, and take it again, in every order of the requests of two processes", () =>
    Effect.gen(function* () {
      const { schedules, turns } = yield* restingOrders({ crashes: 0, preemptions: 1, pause: "30 seconds" })
      assert.isAbove(schedules, 20)
      assert.includeMembers([...turns], ["a0 a1 a2", "a0 a1 b2"])
      // Nothing is handled twice where nobody stands still.
      yield* restingOrders({ crashes: 0, preemptions: 1 })
    })
  )

  it.effect("dead letters can be sealed; hostile names are names; options", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* logOf(store).append([4_242_424_242])
      const ring = KeyRing.layerKeys({ current: "k", keys: { k: Redacted.make(new Uint8Array(32).fill(7)) } })
      const keys = yield* Effect.flatMap(KeyRing.KeyRing, (one) => one.unlock(new Uint8Array(16))).pipe(
        Effect.provide(ring)
      )
      const mine = on(store, { name: "../é /\u0000", attempts: 1, sealing: { keys, scope: "x" } })
      yield* mine.drain(() => Effect.fail("no"))
      assert.strictEqual((yield* Stream.runCollect(mine.deadLetters))[0]?.value, 4_242_424_242)
      const [key] = (yield* keysOf(store, "consumers/")).filter((one) => one.includes("/dead/"))
      assert.notInclude(new TextDecoder().decode((yield* store.get(key!)).body), "4242424242")
      for (const wrong of [
        { name: "" },
        { name: "\ud800" },
        { batchSize: 0 },
        { batchSize: 10_001 },
        { attempts: 0 },
        { retryPause: "soon" as Duration.Input },
        { lease: 1 },
        { start: "begin" as "beginning" },
        { start: { position: -1 } },
        { start: { since: Number.NaN } }
      ]) {
        const [option] = Object.keys(wrong)
        const expected = option === "lease" ? "duration" : option!
        assert.throws(() => on(store, wrong), RangeError, expected, JSON.stringify(wrong))
      }
      for (const [place, argument] of [
        ["start", "place"],
        [undefined, "place"],
        [{ since: Number.NaN }, "since"],
        [{ position: 0.5 }, "position"]
      ] as const) {
        const error = yield* Effect.flip(on(store).seek(place as "end"))
        assert.strictEqual(error.reason._tag === "InvalidArgument" && error.reason.argument, argument)
      }
      assert.deepStrictEqual(yield* on(store).position, Option.none())
    })
  )
})
