/** Operations that are kept, beside programs of other releases: those that know fewer counters, or other ones. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import { memory } from "../fixture.ts"
import { Accounts, balance, kept, processOn, visits } from "./accounts.ts"

describe("EventualConsistency, releases", () => {
  it.effect("what a program removes that does not know the counter, leaves its values what they are", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts, counters } = yield* processOn(store)
      const older = yield* processOn(store, {}, [visits])
      yield* accounts.insert({ id: "a" })
      yield* accounts.insert({ id: "b" })
      yield* counters.add(visits, "a", 1)
      yield* counters.add(balance, "a", 100)
      yield* counters.add(visits, "b", 1)
      yield* counters.foldAll
      yield* TestClock.adjust("3 days")
      yield* counters.add(balance, "b", 5)
      yield* counters.foldAll
      assert.isAbove(yield* older.counters.retain, 0)
      yield* counters.add(balance, "a", 7)
      yield* counters.foldAll
      assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 107, before: 107, operations: 1 })
      // Of this one nothing was removed.
      yield* accounts.update("b", { balance: 0 })
      assert.deepStrictEqual(yield* counters.recalculate(balance, "b"), { value: 5, before: 0, operations: 1 })
      assert.strictEqual((yield* counters.recalculate(visits, "a")).value, 1)
    })
  )

  it.effect("what a program removes whose reducer has other operations, leaves its values what they are", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const before = EventualConsistency.reducer(Accounts, "balance", {
        ...kept,
        operation: Schema.Int,
        initial: 0,
        reduce: (sum: number, n: number) => sum + n
      })
      const now = EventualConsistency.reducer(Accounts, "balance", {
        ...kept,
        operation: Schema.Struct({ by: Schema.Int }),
        initial: 0,
        reduce: (sum: number, { by }: { readonly by: number }) => sum + by
      })
      const older = yield* processOn(store, {}, [before])
      const { accounts, counters } = yield* processOn(store, {}, [now])
      yield* accounts.insert({ id: "a" })
      yield* older.counters.send(before, "a", 10)
      yield* older.counters.foldAll
      assert.strictEqual((yield* Effect.flip(counters.recalculate(now, "a")))._tag, "InvalidOperation")
      yield* TestClock.adjust("3 days")
      assert.strictEqual(yield* counters.retain, 1)
      yield* counters.send(now, "a", { by: 1 })
      yield* counters.foldAll
      assert.deepStrictEqual(yield* counters.recalculate(now, "a"), { value: 11, before: 11, operations: 1 })
    })
  )

  it.effect(
    "what is in the document, a program keeps that discards, and knows the counter not at all or without history",
    () =>
      Effect.gen(function* () {
        for (const others of [[visits], [EventualConsistency.counter(Accounts, "balance")]]) {
          const store = yield* memory
          const { accounts, counters } = yield* processOn(store)
          const older = yield* processOn(store, {}, others)
          yield* accounts.insert({ id: "a" })
          yield* counters.add(balance, "a", 100)
          yield* counters.foldAll
          // It is in the document, and stays in its lane; the other one waits.
          yield* counters.apply(balance, "a", { add: 5 })
          yield* counters.add(balance, "a", 1000)
          assert.strictEqual(yield* older.counters.discard(others[0]!, "a"), 2)
          yield* counters.foldAll
          assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 105, before: 105, operations: 2 })
          assert.strictEqual(yield* older.counters.discard(others[0]!, "a"), 0)
        }
      })
  )

  it.effect("what a program folds whose counter has no history, is not taken back", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const { accounts, counters } = yield* processOn(store)
      const without = EventualConsistency.counter(Accounts, "balance")
      const older = yield* processOn(store, {}, [without, visits])
      for (const id of ["a", "b"]) {
        yield* accounts.insert({ id })
        yield* counters.add(balance, id, 10)
        yield* counters.add(visits, id, 1)
      }
      yield* counters.foldAll
      yield* older.counters.add(without, "a", 5)
      // It is in the document, and leaves its lane by the other one.
      yield* counters.apply(balance, "b", { add: 5 })
      yield* older.counters.foldAll
      for (const id of ["a", "b"]) {
        assert.deepStrictEqual(yield* counters.recalculate(balance, id), { value: 15, before: 15, operations: 0 })
        yield* counters.add(balance, id, 1)
        yield* counters.foldAll
        yield* accounts.update(id, { balance: 0, visits: 0 })
        assert.deepStrictEqual(yield* counters.recalculate(balance, id), { value: 16, before: 0, operations: 1 })
        assert.strictEqual((yield* counters.recalculate(visits, id)).value, 1)
      }
    })
  )
})
