/** Operations that are kept: a crash at each request, and many orders. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { crashing, memory, moments } from "../fixture.ts"
import { balance, followModel, processOn, visits } from "./accounts.ts"

describe("EventualConsistency, history", () => {
  it.effect(
    "is what a model says, whatever two processes do in whatever order",
    () => Effect.repeat(followModel, { times: 60 }),
    300_000
  )

  for (const when of moments) {
    it.effect(
      `loses nothing where a process crashes ${when} each request of a fold, a removal and a recalculation`,
      () =>
        Effect.gen(function* () {
          for (let at = 1; ; at++) {
            const store = yield* memory
            const { accounts, counters } = yield* processOn(store)
            yield* accounts.insert({ id: "a", balance: 1 })
            yield* counters.add(balance, "a", 10)
            yield* counters.foldAll
            yield* TestClock.adjust("2 days")
            yield* counters.add(balance, "a", 100)
            yield* counters.add(visits, "a", 1)
            const crash = crashing(store, at, when)
            const run = Effect.gen(function* () {
              const dying = yield* processOn(crash.store)
              yield* dying.counters.foldAll
              yield* dying.counters.retain
              yield* accounts.update("a", { balance: -5 })
              yield* dying.counters.recalculate(balance, "a")
            })
            yield* Effect.exit(run)
            const own = yield* processOn(store)
            yield* own.counters.foldAll
            yield* own.counters.retain
            assert.strictEqual((yield* own.counters.recalculate(balance, "a")).value, 111)
            assert.strictEqual((yield* own.counters.recalculate(visits, "a")).value, 1)
            if (crash.requests() < at) return
          }
        }),
      120_000
    )
  }
})
