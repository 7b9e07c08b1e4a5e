/** Quotas: never more than there is, whoever takes it, and all of it again in the next window. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as Plugin from "effect-s3db/Plugin"
import * as Quota from "effect-s3db/plugins/Quota"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { hostileIds } from "effect-s3db/testing/PluginSuite"
import { crashing, keysOf, memory, moments, openOn } from "../fixture.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const processOn = Effect.fnUntraced(function* (store: Store, options: Quota.Options = {}) {
  const { database } = yield* openOn(store)
  return yield* Quota.make({ sweepEvery: false, ...options }).pipe(Effect.provideService(Database, database))
})
const openNew = Effect.flatMap(memory, (store) => Effect.map(processOn(store), (quota) => ({ store, quota })))

const start = Date.parse("2026-03-28T22:59:30Z")
const hourly = Quota.budget("calls", { limit: 10, window: "1 hour" })
const permits = Quota.budget("permits", { limit: 2 })

const refusalOf = (effect: Effect.Effect<unknown, Quota.TakeError>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (error._tag !== "Exceeded") throw new Error(error.message)
    const { afterMillis, asked, available, moreAt } = error
    return { asked, available, moreAt, afterMillis }
  })

describe("Quota", () => {
  it.effect("gives what there is, and says when there is more", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { quota } = yield* openNew
      const { amount, window } = yield* quota.take(hourly, "ada", 7)
      assert.deepStrictEqual([amount, window?.until], [7, start + 30_000])
      assert.deepStrictEqual(yield* refusalOf(quota.take(hourly, "ada", 4)), {
        asked: 4,
        available: 3,
        moreAt: start + 30_000,
        afterMillis: 30_000
      })
      // Another key is another's.
      yield* quota.take(hourly, "eve", 10)
      yield* quota.take(hourly, "ada", 3)
      assert.deepStrictEqual(yield* quota.left(hourly, "ada"), { available: 0, limit: 10, moreAt: start + 30_000 })
      yield* TestClock.adjust("30 seconds")
      yield* quota.take(hourly, "ada", 10)
    })
  )

  it.effect("is never more than the limit, of many fibers and processes, with any number of slots", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      for (const slots of [1, 4]) {
        const store = yield* memory
        const processes = [yield* processOn(store), yield* processOn(store), yield* processOn(store)]
        const many = Quota.budget("many", { limit: 25, window: "1 hour", slots })
        const asked = processes.flatMap((quota) => Array.from({ length: 20 }, () => quota.take(many, "k", 1)))
        const results = yield* Effect.forEach(asked, Effect.result, { concurrency: "unbounded" })
        assert.strictEqual(results.filter(Result.isSuccess).length, 25)
        for (const result of results) {
          if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "Exceeded")
        }
      }
    })
  )

  it.effect("takes back what was not used, once, and to the window that it was of", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { quota } = yield* openNew
      const taken = yield* quota.take(hourly, "ada", 8)
      yield* taken.release(3)
      assert.strictEqual((yield* Effect.flip(taken.release(6)))._tag, "InvalidQuota")
      yield* quota.take(hourly, "ada", 5)
      yield* taken.release()
      yield* taken.release()
      assert.strictEqual((yield* quota.left(hourly, "ada")).available, 5)
      const late = yield* quota.take(hourly, "ada", 5)
      yield* TestClock.adjust("30 seconds")
      yield* late.release()
      assert.strictEqual((yield* quota.left(hourly, "ada")).available, 10)
    })
  )

  it.effect("without a window is given back, and held while something runs", () =>
    Effect.gen(function* () {
      const { quota } = yield* openNew
      const left = Effect.map(quota.left(permits, "p"), ({ available }) => available)
      const inside = yield* quota.hold(permits, "p", left)
      assert.deepStrictEqual([inside, yield* left], [1, 2])
      yield* Effect.flip(quota.hold(permits, "p", Effect.fail("no")))
      assert.strictEqual(yield* left, 2)
      const first = yield* quota.take(permits, "p", 2)
      const { afterMillis, moreAt } = yield* refusalOf(quota.take(permits, "p"))
      assert.deepStrictEqual([moreAt, afterMillis], [undefined, undefined])
      const waiting = yield* Effect.forkChild(quota.wait(permits, "p"))
      yield* TestClock.adjust("1 second")
      yield* settled
      assert.isUndefined(waiting.pollUnsafe())
      yield* first.release(1)
      for (let i = 0; i < 20 && waiting.pollUnsafe() === undefined; i++) {
        yield* TestClock.adjust("1 second")
        yield* settled
      }
      assert.strictEqual((yield* Fiber.join(waiting)).amount, 1)
      assert.strictEqual(yield* left, 0)
    })
  )

  it.effect("gives back what was taken for who is interrupted meanwhile", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const [begun, open] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let isSlow = false
      const store: Store = {
        ...inner,
        put: (request) => {
          if (!isSlow || !request.key.includes("/slot=")) return inner.put(request)
          isSlow = false
          return Effect.andThen(
            Deferred.succeed(begun, undefined),
            Effect.andThen(Deferred.await(open), inner.put(request))
          )
        }
      }
      const quota = yield* processOn(store)
      yield* (yield* quota.take(permits, "p")).release()
      isSlow = true
      const asking = yield* Effect.forkChild(quota.wait(permits, "p"))
      yield* Deferred.await(begun)
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(asking))
      yield* settled
      yield* Deferred.succeed(open, undefined)
      yield* Fiber.join(interrupting)
      yield* settled
      assert.strictEqual((yield* quota.left(permits, "p")).available, 2)
    })
  )

  it.effect("waits for the next window", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { quota } = yield* openNew
      yield* quota.take(hourly, "ada", 10)
      const waiting = yield* Effect.forkChild(quota.wait(hourly, "ada", 4))
      yield* settled
      yield* TestClock.adjust("29 seconds")
      yield* settled
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      const { window } = yield* Fiber.join(waiting)
      assert.strictEqual(window?.from, start + 30_000)
    })
  )

  it.effect("has windows of a calendar, also where clocks change", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { quota } = yield* openNew
      const at = (text: string) => DateTime.toEpochMillis(DateTime.makeUnsafe(text))
      // The night in which an hour is left out: in Berlin it is the 28th until 23:00 by UTC.
      const windows = { hour: "T23:00:00Z", day: "T23:00:00Z" } as const
      for (const by of ["hour", "day"] as const) {
        const { window } = yield* quota.take(
          Quota.budget(by, { limit: 1, window: { by, timeZone: "Europe/Berlin" } }),
          "k"
        )
        assert.strictEqual(window?.until, at(`2026-03-28${windows[by]}`))
      }
      yield* TestClock.adjust("1 minute")
      const untils: Array<string> = []
      for (const by of ["day", "week", "month", "year"] as const) {
        const { window } = yield* quota.take(
          Quota.budget(by, { limit: 1, window: { by, timeZone: "Europe/Berlin" } }),
          "k"
        )
        untils.push(new Date(window!.until).toISOString().slice(0, 13))
      }
      assert.deepStrictEqual(untils, ["2026-03-29T22", "2026-03-29T22", "2026-03-31T22", "2026-12-31T23"])
    })
  )

  it.effect("remembers for a second what was refused, without a request, and no longer", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const inner = yield* memory
      let requests = 0
      const counted = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          requests += 1
          return effect
        })
      const store: Store = {
        ...inner,
        put: (request) => counted(inner.put(request)),
        get: (...args) => counted(inner.get(...args)),
        list: (request) => counted(inner.list(request))
      }
      const here = yield* processOn(store)
      const there = yield* processOn(inner)
      const taken = yield* there.take(permits, "k", 2)
      yield* refusalOf(here.take(permits, "k"))
      requests = 0
      for (let i = 0; i < 5; i++) yield* refusalOf(here.take(permits, "k"))
      assert.strictEqual(requests, 0)
      yield* taken.release()
      yield* TestClock.adjust("1 second")
      yield* here.take(permits, "k")
      requests = 0
      yield* here.take(permits, "k")
      assert.strictEqual(requests, 1)
    })
  )

  it.effect("removes windows that were over a day ago, and no others", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { quota, store } = yield* openNew
      const keys = keysOf(store, "plugin=quota/")
      yield* quota.take(hourly, "ada", 1)
      yield* quota.take(permits, "p", 1)
      yield* TestClock.adjust("24 hours")
      yield* quota.take(hourly, "ada", 1)
      assert.strictEqual(yield* quota.sweep, 0)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* keys).length, 3)
      assert.strictEqual(yield* quota.sweep, 1)
      assert.strictEqual((yield* keys).length, 2)
      assert.strictEqual((yield* quota.left(permits, "p")).available, 1)
      // The layer does so by itself.
      yield* TestClock.adjust("3 days")
      yield* processOn(store, { sweepEvery: "1 day" })
      yield* settled
      assert.strictEqual((yield* keys).length, 1)
    })
  )

  it.effect("has keys of any text, and refuses what cannot be", () =>
    Effect.gen(function* () {
      const { quota } = yield* openNew
      for (const id of [...hostileIds, ""]) {
        yield* quota.take(permits, id, 2)
        yield* quota.take(Quota.budget(id === "" ? "x" : id, { limit: 1 }), "k")
      }
      const fieldOf = (of: Quota.Budget, key: string, amount: number) =>
        Effect.map(Effect.flip(quota.take(of, key, amount)), (error) =>
          error._tag === "InvalidQuota" ? error.field : error._tag
        )
      assert.strictEqual(yield* fieldOf(permits, "\uD800", 1), "key")
      // No object has a name so long: that is no trouble of the store, and not worth another attempt.
      assert.strictEqual(yield* fieldOf(permits, "k".repeat(1000), 1), "key")
      assert.strictEqual(yield* fieldOf(permits, "\u{1F600}".repeat(250), 1), "key")
      for (const amount of [0, -1, 1.5, 3, Number.NaN]) {
        assert.strictEqual(yield* fieldOf(permits, "k", amount), "amount")
      }
      const wrong: ReadonlyArray<readonly [string, Quota.BudgetOptions, string]> = [
        ["", { limit: 1 }, "name"],
        ["a", { limit: 0 }, "limit"],
        ["a", { limit: 1, slots: 65 }, "slots"],
        ["a", { limit: 1, window: "1 millis" }, "window"],
        // It would begin at times that are no keys in their order.
        ["a", { limit: 1, window: 1500.5 }, "window"],
        ["a", { limit: 1, window: { by: "day", timeZone: "Nowhere/At All" } }, "window"]
      ]
      for (const [name, options, field] of wrong) {
        assert.strictEqual(yield* fieldOf(Quota.budget(name, options), "k", 1), field)
      }
      const opened = yield* Effect.flip(processOn(yield* memory, { sweepEvery: "1 second" }))
      assert.strictEqual(opened._tag, "InvalidQuota")
    })
  )

  for (const when of moments) {
    it.effect(`never gives more than there is where a process crashes ${when} each of its requests`, () =>
      Effect.gen(function* () {
        const shared = Quota.budget("shared", { limit: 6, slots: 2 })
        for (let at = 1; ; at++) {
          const store = yield* memory
          const client = crashing(store, at, when)
          const scope = yield* Scope.make()
          let taken = 0
          const run = Effect.gen(function* () {
            const dying = yield* processOn(client.store)
            for (let i = 0; i < 2; i++) {
              const own = yield* dying.take(shared, "k", 2)
              taken += 2
              taken -= 1
              yield* own.release(1)
            }
          })
          const fiber = yield* Effect.forkChild(Effect.exit(Scope.provide(run, scope)))
          yield* settled
          yield* Fiber.interrupt(fiber)
          const other = yield* processOn(store)
          for (;;) {
            const more = yield* Effect.result(other.take(shared, "k"))
            if (Result.isFailure(more)) break
            taken += 1
          }
          assert.isAtMost(taken, 6)
          // Of each crash at most what was being taken or given back is gone.
          assert.isAtLeast(taken, 4)
          if (client.requests() < at) {
            assert.strictEqual(taken, 6)
            return
          }
        }
      })
    )
  }

  it.effect("leaves nothing where it is uninstalled", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { database } = yield* openOn(store)
      yield* Effect.scoped(
        Effect.flatMap(Effect.provideService(Quota.make(), Database, database), (quota) =>
          Effect.andThen(quota.take(hourly, "a"), quota.take(permits, "b"))
        )
      )
      yield* Effect.provideService(Plugin.uninstall(Quota.plugin, { purge: true }), Database, database)
      assert.deepStrictEqual(yield* keysOf(store, "plugin=quota/"), [])
    })
  )
})
