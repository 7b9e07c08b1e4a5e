/** A sweeper and a program that refreshes, in every order of their requests; crashes of who archives. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import * as FaultyStore from "effect-s3db/testing/FaultyStore"
import { drive, keysOf } from "../fixture.ts"
import { all, explore, now, policies, processOn } from "./ttlOrders.ts"

describe("Ttl in every order of requests", () => {
  it.effect(
    "deletes a document that nobody refreshes, and keeps one that was refreshed",
    () => Effect.map(explore("deletes", ["a", "user"]), (schedules) => assert.isAbove(schedules, 50)),
    120_000
  )

  it.effect("archives exactly one copy, whatever request it crashes before or after", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      for (const crashWhen of ["before", "after"] as const) {
        for (let crashAt = 1; ; crashAt++) {
          const { store } = yield* MemoryStore.make()
          const first = yield* processOn(store, policies["archives"]!)
          yield* first.sessions.insert({ id: "1", n: 1, expiresAt: 1 })
          const crashing = FaultyStore.make(store, { seed: 1, crashWhen, crashAt })
          const done = yield* FaultyStore.untilCrash(
            Effect.flatMap(processOn(crashing.store, policies["archives"]!), ({ sweep }) => sweep)
          )
          yield* drive(yield* Effect.forkChild(first.sweep))
          assert.deepStrictEqual(yield* all(first.archive), [{ id: "1", n: 1, expiresAt: 1 }])
          assert.isTrue(Option.isNone(yield* first.sessions.getOption("1")))
          if (Option.isSome(done)) break
        }
      }
    })
  )

  it.effect("leaves nothing of the index where its documents are gone", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(now)
      const { store } = yield* MemoryStore.make()
      const one = yield* processOn(store, policies["deletes"]!)
      yield* one.sessions.insertMany(Array.from({ length: 20 }, (_, n) => ({ id: `${n}`, n, expiresAt: n })))
      yield* Effect.all([one.sweep, one.sweep], { concurrency: 2 })
      assert.deepStrictEqual(yield* keysOf(store, "resource=sessions/"), [])
    })
  )
})
