/** Operations that are kept: values are made again of them, also when older ones are gone. */
import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Database } from "effect-s3db/Database"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { keysOf, memory, openOn } from "../fixture.ts"
import { Accounts, amount, balance, credit, followModel, forgotten, kept, processOn, tags, visits } from "./accounts.ts"

type Store = ObjectStore["Service"]

const openNew = Effect.flatMap(memory, (store) => Effect.map(processOn(store), (process) => ({ store, ...process })))

const logsOf = (store: Store) => keysOf(store, "resource=accounts/plugin=eventual/history/")

describe("EventualConsistency, history", () => {
  it.effect("gives the same value again and again, beside what the field had before", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* accounts.insert({ id: "a", balance: 50 })
      yield* counters.add(balance, "a", 100)
      yield* counters.foldAll
      yield* counters.subtract(balance, "a", 30)
      yield* counters.foldAll
      // What waits goes on waiting.
      yield* counters.add(balance, "a", 1000)
      for (let i = 0; i < 3; i++) {
        const made = yield* counters.recalculate(balance, "a")
        assert.deepStrictEqual(made, { value: 120, before: 120, operations: 2 })
      }
      yield* counters.set(balance, "a", 7)
      yield* counters.add(balance, "a", 1)
      yield* counters.foldAll
      assert.strictEqual((yield* counters.recalculate(balance, "a")).value, 8)
    })
  )

  it.effect(
    "goes on for all others where an object is damaged, says which, and makes up for it when that is mended",
    () =>
      Effect.gen(function* () {
        const { accounts, counters, store } = yield* openNew
        const ids = Array.from({ length: 8 }, (_, i) => `a${i}`)
        for (const id of ids) yield* accounts.insert({ id, balance: 0, visits: 0 })
        const addAll = Effect.forEach(ids, (id) => counters.add(balance, id, 1), { discard: true })
        yield* addAll
        yield* counters.foldAll
        const folder = "resource=accounts/plugin=eventual/"
        const lanes = yield* keysOf(store, `${folder}lane/`)
        assert.isAbove(lanes.length, 2)
        const kinds = {
          lane: lanes[0]!,
          manifest: (yield* logsOf(store)).find((key) => key.endsWith("/manifest"))!
        }
        let sum = 1
        for (const [kind, key] of Object.entries(kinds)) {
          yield* addAll
          sum += 1
          const { body } = yield* store.get(key)
          yield* store.put({ key, body: body.slice(0, body.length / 2) })
          // Another process, which has not read it before.
          const other = yield* processOn(store)
          const error = yield* Effect.flip(other.counters.foldAll)
          assert.include(error.message, key)
          const values = yield* Effect.forEach(ids, (id) => Effect.map(accounts.get(id), (one) => one.balance ?? 0))
          const inOthers = values.filter((value) => value === sum).length
          assert.isAbove(inOthers, 4, kind)
          if (kind === "lane") assert.isBelow(inOthers, ids.length)
          const gone = yield* Effect.result(other.counters.retain)
          if (kind === "manifest") assert.strictEqual(gone._tag, "Failure")
          yield* store.put({ key, body })
          const mended = yield* processOn(store)
          for (let i = 0; i < 2; i++) yield* mended.counters.foldAll
          for (const id of ids) {
            assert.deepStrictEqual(yield* mended.counters.recalculate(balance, id), {
              value: sum,
              before: sum,
              operations: sum
            })
          }
        }
      })
  )

  it.effect("repairs what was changed past the counter, of each field by itself, also before anything is put", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* accounts.insert({ id: "a", amount: BigDecimal.fromStringUnsafe("0.1") })
      // It comes into the document, and stays in its lane.
      assert.strictEqual(yield* counters.apply(balance, "a", { add: 5 }), 5)
      yield* counters.add(amount, "a", BigDecimal.fromStringUnsafe("0.2"))
      yield* counters.send(tags, "a", "x")
      yield* counters.send(tags, "a", "y")
      yield* counters.fold(amount, "a")
      yield* accounts.update("a", { balance: 77, amount: BigDecimal.fromStringUnsafe("9"), tags: ["z"] })
      assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 5, before: 77, operations: 1 })
      assert.deepStrictEqual(yield* counters.recalculate(tags, "a"), {
        value: ["x", "y"],
        before: ["z"],
        operations: 2
      })
      yield* counters.foldAll
      yield* counters.recalculate(amount, "a")
      const { amount: exact, balance: five, tags: both } = yield* accounts.get("a")
      assert.deepStrictEqual([five, both], [5, ["x", "y"]])
      assert.strictEqual(BigDecimal.format(exact!), "0.3")
    })
  )

  it.effect("leaves out what was left out, however much that is", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* accounts.insert({ id: "a", credit: 10 })
      for (let i = 0; i < 50; i++) {
        // Alone it is more than there is; of what is added later it would not be.
        yield* counters.subtract(credit, "a", 20)
        if (i % 10 === 0) yield* counters.foldAll
      }
      yield* counters.foldAll
      yield* counters.add(credit, "a", 100)
      yield* counters.foldAll
      assert.strictEqual((yield* accounts.get("a")).credit, 110)
      yield* accounts.update("a", { credit: 3 })
      assert.strictEqual((yield* counters.recalculate(credit, "a")).value, 110)
    })
  )

  it.effect("is that of one life of a document, and kept where it is replaced", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* accounts.insert({ id: "a", balance: 1, visits: 1 })
      yield* counters.add(balance, "a", 10)
      yield* counters.add(visits, "a", 10)
      yield* counters.foldAll
      yield* accounts.replace({ id: "a", balance: 5 })
      assert.strictEqual((yield* counters.recalculate(balance, "a")).value, 11)
      yield* accounts.delete("a")
      yield* counters.foldAll
      yield* accounts.insert({ id: "a", balance: 2 })
      yield* counters.add(balance, "a", 3)
      yield* counters.add(visits, "a", 3)
      yield* counters.foldAll
      assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 5, before: 5, operations: 1 })
      assert.deepStrictEqual(yield* counters.recalculate(visits, "a"), { value: 3, before: 3, operations: 1 })
    })
  )

  it.effect("does not count what was discarded, and counts what had come in before", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* counters.add(balance, "a", 1)
      yield* counters.foldAll
      assert.strictEqual(yield* counters.discard(balance, "a"), 1)
      yield* accounts.insert({ id: "a", balance: 0 })
      yield* counters.apply(balance, "a", { add: 10 })
      yield* counters.add(balance, "a", 100)
      yield* counters.discard(balance, "a")
      yield* counters.add(balance, "a", 1000)
      yield* counters.foldAll
      assert.strictEqual((yield* accounts.get("a")).balance, 1010)
      assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 1010, before: 1010, operations: 2 })
    })
  )

  it.effect("tells operations, the oldest first", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* TestClock.setTime(1000)
      yield* accounts.insert({ id: "a" })
      yield* counters.set(balance, "a", 5)
      yield* TestClock.adjust(1000)
      yield* counters.subtract(balance, "a", 2)
      yield* counters.foldAll
      yield* counters.add(balance, "a", 1)
      const told = yield* Stream.runCollect(counters.history(balance, "a"))
      assert.deepStrictEqual(
        told.map(({ at, ...rest }) => ({ at: DateTime.toEpochMillis(at), ...rest })),
        [
          { at: 1000, kind: "set", amount: 5, operations: 1 },
          { at: 2000, kind: "subtract", amount: 2, operations: 1 }
        ]
      )
    })
  )

  it.effect("is removed by age, and values stay what they are", () =>
    Effect.gen(function* () {
      const { accounts, counters, store } = yield* openNew
      const ids = ["a", "b", "c"]
      for (const id of ids) yield* accounts.insert({ id, balance: 100 })
      for (let day = 0; day < 6; day++) {
        for (const id of ids) yield* counters.add(balance, id, 1)
        yield* counters.add(visits, "a", 2)
        yield* counters.foldAll
        yield* TestClock.adjust("12 hours")
      }
      const before = (yield* logsOf(store)).length
      assert.isAbove(yield* counters.retain, 8)
      assert.isBelow((yield* logsOf(store)).length, before)
      const { operations, value } = yield* counters.recalculate(balance, "b")
      assert.strictEqual(value, 106)
      assert.isBelow(operations, 4)
      yield* accounts.update("a", { balance: 0, visits: 0 })
      assert.strictEqual((yield* counters.recalculate(balance, "a")).value, 106)
      assert.strictEqual((yield* counters.recalculate(visits, "a")).value, 12)
      yield* TestClock.adjust("3 days")
      yield* counters.retain
      assert.deepStrictEqual(yield* counters.recalculate(balance, "c"), { value: 106, before: 106, operations: 0 })
      assert.deepStrictEqual(yield* Stream.runCollect(counters.history(balance, "c")), [])
      // Of those that come later nothing is lost.
      yield* counters.add(balance, "c", 1)
      yield* counters.foldAll
      assert.deepStrictEqual(yield* counters.recalculate(balance, "c"), { value: 107, before: 107, operations: 1 })
    })
  )

  it.effect("is what a model says, whatever two processes do in whatever order", () =>
    Effect.repeat(followModel, { times: 1 })
  )

  it.effect("is refused where there is none", () =>
    Effect.gen(function* () {
      const { accounts, counters } = yield* openNew
      yield* accounts.insert({ id: "a" })
      assert.strictEqual((yield* Effect.flip(counters.recalculate(forgotten, "a")))._tag, "InvalidCounter")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(counters.history(forgotten, "a"))))._tag, "InvalidCounter")
      assert.strictEqual((yield* Effect.flip(counters.recalculate(balance, "nobody")))._tag, "NotFound")
      // No operation has come in since it is kept: the value is what the document says.
      assert.deepStrictEqual(yield* counters.recalculate(balance, "a"), { value: 0, before: 0, operations: 0 })
      const direct = EventualConsistency.counter(Accounts, "balance", { ...kept, mode: "apply" })
      const { database } = yield* openOn(yield* memory)
      const made = EventualConsistency.make({ counters: [direct] }).pipe(
        Effect.provideService(Database, database),
        Effect.provideService(Accounts, accounts)
      )
      assert.strictEqual((yield* Effect.flip(made))._tag, "InvalidCounter")
    })
  )
})
