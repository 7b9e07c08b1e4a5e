/** What stops a consumer, how it goes on, and what one costs that has nothing to do. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as Consumer from "effect-s3db/kernel/Consumer"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { AccessDenied, StoreError } from "effect-s3db/storage/StoreError"
import { drive, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]
type Entry = AppendLog.Entry<number>

const logOf = (store: Store) =>
  AppendLog.make(store, { prefix: "log", schema: Schema.Int, compression: "none", segmentEntries: 2 })
const on = (store: Store, options?: Partial<Consumer.Options<number, number>>) =>
  Consumer.make(store, { source: logOf(store), schema: Schema.Int, prefix: "consumers", name: "c", ...options })
const range = (length: number) => Array.from({ length }, (_, i) => i)
const folder = "consumers/consumer=c"
const damage = (store: Store, key: string) => store.put({ key, body: new TextEncoder().encode("{") })

const recorder = () => {
  const seen: Array<number> = []
  const handle = (entries: ReadonlyArray<Entry>) => Effect.sync(() => void seen.push(...entries.map((e) => e.value)))
  return { seen, handle }
}

/** Lets time pass until something is so. */
const comes = <E>(condition: Effect.Effect<boolean, E>) =>
  Effect.flatMap(
    Effect.forkChild(Effect.repeat(Effect.andThen(Effect.sleep("1 second"), condition), { until: (is) => is })),
    (fiber) => drive(fiber)
  )
const elapse = (seconds: number) => Effect.flatMap(Effect.forkChild(Effect.sleep(seconds * 1000)), (f) => drive(f))
const driven = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(Effect.forkChild(effect), (fiber) => drive(fiber))
const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const opened = Effect.gen(function* () {
  const inner = yield* memory
  const { counter, store } = InstrumentedStore.make(inner)
  const costs = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
    yield* counter.reset
    yield* effect
    return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
  })
  return { inner, store, costs }
})

describe("a consumer that is stopped", () => {
  it.effect("by retention says so and what to do, fails who waits, and goes on when it is moved", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* logOf(store).append(range(6))
      yield* on(store).seek({ position: 0 })
      yield* logOf(store).retain({ before: 4 })
      const { handle, seen } = recorder()
      const mine = on(store)
      const running = yield* mine.consume(handle)
      assert.strictEqual((yield* driven(Effect.flip(running.await)))._tag, "Trimmed")
      const { isActive, stopped } = yield* running.state
      assert.isFalse(isActive)
      assert.include(stopped, "Trimmed: the entries of the log up to 4 were removed")
      assert.include(stopped, 'seek("beginning") goes on at 4')
      // In this process, and in one that only waits.
      const here = yield* driven(Effect.flip(mine.waitUntil(6)))
      const there = yield* driven(Effect.flip(on(store).waitUntil(6)))
      assert.deepStrictEqual([here._tag, there._tag], ["Trimmed", "Trimmed"])
      for (const { message } of [here, there]) assert.include(message, 'seek("beginning") goes on at 4')
      // It is tried again, and is what it was.
      yield* elapse(300)
      assert.isDefined((yield* running.state).stopped)
      assert.deepStrictEqual(seen, [])
      // From elsewhere.
      yield* on(store).seek("beginning")
      yield* comes(Effect.map(running.state, ({ stopped }) => stopped === undefined))
      assert.deepStrictEqual(seen, [4, 5])
      assert.strictEqual(yield* driven(mine.waitUntil(6)), 6)
      // Stopped again, and moved by itself it goes on at once; who waits for a stop waits for the next one.
      yield* mine.seek({ position: 1 })
      assert.strictEqual((yield* driven(Effect.flip(running.await)))._tag, "Trimmed")
      const at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      yield* mine.seek("beginning")
      assert.strictEqual(yield* driven(mine.waitUntil(6)), 6)
      assert.isBelow((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - at, 10_000)
      assert.deepStrictEqual(seen, [4, 5, 4, 5])
    }).pipe(Effect.scoped, quiet, Random.withSeed("trimmed"))
  )

  for (const [what, key, mended] of [
    ["position", `${folder}/position`, `remove it and seek`],
    ["lease", `${folder}/lease`, "it is made anew"],
    ["source", "log/manifest", "from a backup"]
  ] as const) {
    it.effect(`by a damaged ${what} names the key and what to do, fails who waits, and goes on when it is mended`, () =>
      Effect.gen(function* () {
        const store = yield* memory
        yield* logOf(store).append([0, 1])
        const { handle, seen } = recorder()
        // Tokens have been given.
        for (const _ of range(3)) yield* driven(on(store).drain(handle))
        const whole = yield* store.get(key)
        yield* damage(store, key)
        const mine = on(store)
        const running = yield* mine.consume(handle)
        const error = yield* driven(Effect.flip(running.await))
        assert.strictEqual(error._tag === "StoreError" && error.reason._tag, "Corrupt")
        const { stopped } = yield* running.state
        assert.include(stopped, key)
        assert.include(stopped, mended)
        for (const one of [mine, on(store)]) {
          const failed = yield* driven(Effect.flip(one.waitUntil(3)))
          assert.strictEqual(failed._tag === "StoreError" && failed.reason._tag, "Corrupt")
        }
        if (what === "source") yield* store.put({ key, body: whole.body })
        else yield* store.delete(key)
        if (what === "position") yield* on(store).seek({ position: 2 })
        yield* logOf(store).append([2])
        yield* comes(Effect.map(running.state, ({ stopped }) => stopped === undefined))
        yield* comes(Effect.map(running.state, ({ position }) => position === 3))
        assert.deepStrictEqual(seen, [0, 1, 2])
        assert.strictEqual(yield* driven(mine.waitUntil(3)), 3)
        assert.strictEqual(yield* on(store).seek("beginning"), 0)
        yield* comes(Effect.sync(() => seen.length === 6))
      }).pipe(Effect.scoped, quiet, Random.withSeed(what))
    )
  }

  it.effect("by what it may not do: who waits is told, and it goes on when it may", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      let isReadOnly = true
      const reason = new AccessDenied({ description: "read only" })
      const store: Store = {
        ...inner,
        put: (request) =>
          isReadOnly ? Effect.fail(new StoreError({ operation: "put", key: request.key, reason })) : inner.put(request)
      }
      yield* logOf(inner).append([1])
      const { handle, seen } = recorder()
      const mine = on(store)
      const running = yield* mine.consume(handle)
      const error = yield* driven(Effect.flip(mine.waitUntil(1)))
      assert.strictEqual(error._tag === "StoreError" && error.reason._tag, "AccessDenied")
      isReadOnly = false
      assert.strictEqual(yield* driven(mine.waitUntil(1)), 1)
      assert.deepStrictEqual(seen, [1])
      assert.isUndefined((yield* running.state).stopped)
    }).pipe(Effect.scoped, quiet, Random.withSeed("read only"))
  )

  it.effect("by a failure of its handler that says so: no letter is made of the entry", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* logOf(store).append([1, 2, 3])
      let isFull = true
      const reason = new AccessDenied({ description: "full" })
      const { handle, seen } = recorder()
      const mine = on(store, {
        attempts: 1,
        stops: (error) => (error instanceof StoreError ? error : undefined)
      })
      const running = yield* mine.consume((entries) =>
        isFull ? Effect.fail(new StoreError({ operation: "put", reason })) : handle(entries)
      )
      assert.strictEqual((yield* driven(Effect.flip(mine.waitUntil(3))))._tag, "StoreError")
      isFull = false
      yield* driven(mine.waitUntil(3))
      assert.deepStrictEqual([seen, (yield* running.state).deadLetters], [[1, 2, 3], 0])
    }).pipe(Effect.scoped, quiet, Random.withSeed("handler"))
  )
})

describe("a consumer that has nothing to do", () => {
  it.effect("makes 72 requests an hour, and so does each that waits; it handles what comes within a minute", () =>
    Effect.gen(function* () {
      const { costs, inner, store } = yield* opened
      yield* logOf(inner).append([1, 2])
      const [first, second] = [recorder(), recorder()]
      const scope = yield* Scope.make()
      const one = yield* Scope.provide(on(store).consume(first.handle), scope)
      yield* comes(Effect.map(one.state, ({ handled, isActive }) => handled === 2 && !isActive))
      assert.deepStrictEqual(yield* costs(elapse(3600)), { get: 72 })
      const two = yield* on(store).consume(second.handle)
      yield* comes(Effect.map(two.state, ({ isActive }) => isActive))
      yield* comes(Effect.map(two.state, ({ isActive }) => !isActive))
      const idle = yield* costs(elapse(3600))
      assert.deepStrictEqual(Object.keys(idle), ["get"])
      assert.isAtMost(idle["get"]!, 144)
      // One of them handles it, and the other sees that.
      yield* logOf(inner).append([3])
      yield* elapse(61)
      assert.deepStrictEqual([...first.seen, ...second.seen], [1, 2, 3])
      yield* comes(Effect.map(Effect.all([one.state, two.state]), (all) => all.every(({ isActive }) => !isActive)))
      yield* elapse(600)
      assert.deepStrictEqual([...first.seen, ...second.seen], [1, 2, 3])
      // One goes, the other goes on.
      yield* Scope.close(scope, Exit.void)
      yield* logOf(inner).append([4])
      yield* elapse(61)
      assert.strictEqual(second.seen.at(-1), 4)
      assert.deepStrictEqual([...first.seen, ...second.seen].toSorted(), [1, 2, 3, 4])
      assert.deepStrictEqual((yield* two.state).lag, 0)
    }).pipe(Effect.scoped, Random.withSeed("idle"))
  )

  it.effect("sees that it was moved: ahead before it handles anything, back after 5 pauses, by itself at once", () =>
    Effect.gen(function* () {
      const store = yield* memory
      yield* logOf(store).append([0, 1])
      const { handle, seen } = recorder()
      const mine = on(store)
      const running = yield* mine.consume(handle)
      const rests = comes(Effect.map(running.state, ({ isActive }) => !isActive))
      yield* comes(Effect.sync(() => seen.length === 2))
      yield* rests
      yield* on(store).seek({ position: 4 })
      yield* logOf(store).append([2, 3, 4])
      yield* elapse(61)
      assert.deepStrictEqual(seen.splice(0), [0, 1, 4])
      yield* rests
      yield* on(store).seek({ position: 3 })
      yield* elapse(301)
      assert.deepStrictEqual(seen.splice(0), [3, 4])
      yield* rests
      let at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      yield* mine.seek({ position: 4 })
      yield* comes(Effect.sync(() => seen.length > 0))
      assert.isBelow((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - at, 10_000)
      assert.deepStrictEqual(seen.splice(0), [4])
      yield* rests
      // Who waits for what has just come does not wait for the pause.
      yield* logOf(store).append([5])
      at = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      yield* driven(mine.waitUntil(6))
      assert.isBelow((yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - at, 10_000)
      assert.deepStrictEqual(seen, [5])
      assert.deepStrictEqual(yield* mine.position, Option.some(6))
    }).pipe(Effect.scoped, Random.withSeed("moved"))
  )
})
