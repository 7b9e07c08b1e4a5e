import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as KeyRing from "effect-s3db/crypto/KeyRing"
import * as AppendLog from "effect-s3db/kernel/AppendLog"
import * as FileStore from "effect-s3db/storage/FileStore"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { PreconditionFailed, type Reason, StoreError, Timeout } from "effect-s3db/storage/StoreError"
import * as Interleavings from "effect-s3db/testing/Interleavings"
import { crashing, keysOf, memory, moments } from "../fixture.ts"
import { all, atOnce, journalers, on, prefix, range, seeded, titleOf, values } from "./appendLogOrders.ts"
import { settled } from "../waiting.ts"

type Store = ObjectStore["Service"]

const key = `${prefix}/manifest`
const text = (value: string) => new TextEncoder().encode(value)

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-s3db-log-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const stores = {
  memory,
  "a folder": Effect.flatMap(folder, (path) => Effect.orDie(FileStore.make({ path })))
}

/** Lets seconds pass, in each of which all that waits for no clock goes on. */
const pass = Effect.fnUntraced(function* (seconds: number) {
  for (const _ of range(seconds)) {
    yield* settled
    yield* TestClock.adjust("1 second")
  }
  yield* settled
})

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => (Result.isSuccess(result) ? "done" : result.failure._tag))

for (const [name, store] of Object.entries(stores)) {
  describe(`AppendLog on ${name}`, () => {
    it.effect("appends and reads, by position and by time", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const log = on(inner, { segmentEntries: 3 })
        assert.deepStrictEqual(yield* all(log), [])
        assert.deepStrictEqual(yield* log.append([0, 1]), { from: 0, next: 2 })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* log.append(range(8, 2)), { from: 2, next: 10 })
        yield* TestClock.adjust("1 minute")
        yield* on(inner).append([10])
        assert.deepStrictEqual(yield* all(log), range(11))
        assert.deepStrictEqual(yield* values(log.read({ from: 4, to: 9 })), range(5, 4))
        assert.deepStrictEqual(yield* values(log.read({ from: 11 })), [])
        assert.deepStrictEqual(yield* values(log.read({ since: 1 })), range(9, 2))
        assert.deepStrictEqual(yield* values(log.read({ since: 60_000, from: 6 })), range(5, 6))
        assert.deepStrictEqual(yield* values(log.read({ since: 120_000 })), [10])
        assert.deepStrictEqual(yield* values(log.read({ since: 120_001 })), [])
        assert.deepStrictEqual((yield* Stream.runCollect(log.read({ from: 10 })))[0], {
          position: 10,
          at: 120_000,
          value: 10
        })
        const status = yield* log.status
        assert.deepStrictEqual([status.first, status.next, status.segments, status.fence], [0, 11, 5, 0])
        assert.deepStrictEqual(yield* log.verify(), { first: 0, next: 11, head: status.head, segments: 5 })
      }).pipe(Effect.scoped)
    )

    const writers = name === "memory" ? 40 : 10
    it.effect(`${writers} appends at once: each is there once, whole`, () =>
      Effect.gen(function* () {
        const inner = yield* store
        yield* Effect.forEach(range(writers), (i) => on(inner).append([i, i, i]), { concurrency: 10 })
        const found = yield* all(on(inner))
        assert.deepStrictEqual(
          found,
          found.flatMap((one, i) => (i % 3 === 0 ? [one, one, one] : []))
        )
        assert.sameMembers([...new Set(found)], range(writers))
        assert.strictEqual(found.length, 3 * writers)
        yield* on(inner).verify()
      }).pipe(Effect.scoped)
    )

    it.effect("compaction and retention leave a log that reads and verifies the same", () =>
      Effect.gen(function* () {
        const inner = yield* store
        const log = on(inner, { segmentEntries: 20 })
        for (const i of range(150)) yield* log.append([i])
        const { head, next } = yield* log.status
        assert.isAbove(yield* log.compact(), 140)
        assert.strictEqual(yield* log.compact(), 0)
        assert.strictEqual((yield* log.status).segments, 8)
        assert.deepStrictEqual(yield* all(log), range(150))
        yield* log.append([150])
        yield* log.verify({ head, next })
        assert.strictEqual(yield* log.retain({ before: 59 }), 40)
        assert.deepStrictEqual(yield* all(log), range(111, 40))
        yield* log.verify({ head, next })
        // Nothing is left over but the manifest and the parts.
        assert.strictEqual((yield* keysOf(inner, prefix)).length, 1 + 7)
        assert.strictEqual(yield* log.retain({ before: 1000 }), 151)
        yield* log.append([151])
        assert.deepStrictEqual(yield* all(log), [151])
        yield* log.verify()
      }).pipe(Effect.scoped)
    )
  })
}

describe("AppendLog", () => {
  it.effect("puts together what was appended within a time, so that what is old can go", () =>
    Effect.gen(function* () {
      const log = on(yield* memory)
      for (const i of range(10)) {
        yield* log.append([i])
        yield* TestClock.adjust("6 hours")
      }
      assert.isAbove(yield* log.compact({ span: "12 hours" }), 0)
      assert.strictEqual((yield* log.status).segments, 4)
      // What is put together stays.
      assert.strictEqual(yield* log.compact({ span: "12 hours" }), 0)
      assert.strictEqual(yield* log.retain({ age: "1 day" }), 6)
      yield* log.verify()
      assert.strictEqual(yield* log.compact({ span: 0 }), 0)
      const wrong = yield* Effect.flip(log.compact({ span: "a day" as "1 day" }))
      assert.include(wrong.message, "span: Expected a duration")
      assert.isAbove(yield* log.compact(), 0)
      assert.strictEqual((yield* log.status).segments, 1)
    })
  )

  it.effect("removes nothing by a limit that is none", () =>
    Effect.gen(function* () {
      const log = on(yield* memory)
      for (const i of range(3)) yield* log.append([i])
      for (const [argument, given] of [
        ["age", Number.NaN],
        ["age", -1],
        ["age", "-30 days"],
        ["before", Number.NaN],
        ["before", -1],
        ["bytes", Number.NaN],
        ["entries", -1]
      ] as const) {
        const { reason } = (yield* Effect.flip(log.retain({ [argument]: given }))) as StoreError
        assert.deepInclude(reason, { _tag: "InvalidArgument", argument })
      }
      assert.deepStrictEqual(yield* all(log), [0, 1, 2])
    })
  )

  it.effect("a note is written with what is appended, and stays until another is", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = on(store)
      assert.isUndefined((yield* log.status).note)
      yield* log.append([1], { note: "a" })
      yield* log.append([2])
      assert.strictEqual((yield* log.status).note, "a")
      yield* log.append([3], { note: "b", expected: 2 })
      yield* Effect.flip(log.append([4], { note: "c", expected: 2 }))
      yield* log.raiseFence(3)
      assert.strictEqual((yield* on(store).raiseFence(4)).note, "b")
      const { reason } = (yield* Effect.flip(log.append([4], { note: "x".repeat(1025) }))) as StoreError
      assert.strictEqual(reason._tag, "InvalidArgument")
      assert.deepStrictEqual(yield* all(log), [1, 2, 3])
    })
  )

  it.effect("a position or a token that is not the newest is refused, and changes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const [log, other] = [on(store), on(store)]
      yield* log.append([0], { expected: 0 })
      assert.strictEqual(yield* tagOf(log.append([9], { expected: 0 })), "PositionConflict")
      yield* other.append([1], { expected: 1 })
      // What this one knows is old.
      assert.strictEqual(yield* tagOf(log.append([9], { expected: 1 })), "PositionConflict")
      yield* log.append([2], { expected: 2 })
      yield* other.raiseFence(5)
      for (const fence of [undefined, 1, 4]) {
        assert.strictEqual(yield* tagOf(log.append([9], { fence })), "LeaseLost")
        assert.strictEqual(yield* tagOf(log.compact({ fence })), "LeaseLost")
        assert.strictEqual(yield* tagOf(log.retain({ before: 1, fence })), "LeaseLost")
      }
      assert.strictEqual(yield* tagOf(log.raiseFence(4)), "LeaseLost")
      yield* log.append([3], { fence: 5 })
      yield* log.append([4], { fence: 6 })
      assert.strictEqual(yield* tagOf(other.append([9], { fence: 5 })), "LeaseLost")
      assert.deepStrictEqual(yield* all(log), range(5))
      // Nothing to append asks for no place.
      assert.deepStrictEqual(yield* log.append([], { fence: 6 }), { from: 5, next: 5 })
    })
  )

  it.effect("an append under its name is made once, whoever makes it again", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = on(store, { segmentEntries: 2 })
      const again = { expected: 0, id: "batch" }
      assert.deepStrictEqual(yield* log.append(range(5), again), { from: 0, next: 5 })
      assert.deepStrictEqual(yield* log.append(range(5), again), { from: 0, next: 5 })
      yield* log.append([5])
      yield* on(store).compact()
      assert.deepStrictEqual(yield* on(store).append(range(5), again), { from: 0, next: 5 })
      assert.strictEqual(yield* tagOf(log.append(range(5), { expected: 0, id: "other" })), "PositionConflict")
      assert.strictEqual(yield* tagOf(log.append(range(5), { expected: 1, id: "batch" })), "PositionConflict")
      assert.deepStrictEqual(yield* all(log), range(6))
    })
  )

  it.effect("requests", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const made = Effect.fnUntraced(function* <A, E>(effect: Effect.Effect<A, E>) {
        yield* counter.reset
        yield* effect
        return Object.fromEntries(Object.entries(yield* counter.counts).filter(([, n]) => n > 0))
      })
      const log = on(store)
      assert.deepStrictEqual(yield* made(log.append(range(1000))), { get: 1, put: 2 })
      assert.deepStrictEqual(yield* made(log.append(range(1000, 1000))), { put: 2 })
      assert.deepStrictEqual(yield* made(log.append(range(9000, 2000), { expected: 2000 })), { put: 4 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(log.read({ from: 3000, to: 4000 }))), { get: 2 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(log.read())), { get: 6 })
      assert.deepStrictEqual(yield* made(log.status), { get: 1 })
      assert.deepStrictEqual(yield* made(log.raiseFence(1)), { get: 1, put: 1 })
      assert.deepStrictEqual(yield* made(log.retain({ before: 500, fence: 1 })), { get: 1 })
      assert.deepStrictEqual(yield* made(log.retain({ before: 1000, fence: 1 })), { get: 2, put: 1, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(log.compact({ fence: 1 })), { get: 1 })
      assert.deepStrictEqual(yield* made(log.verify()), { get: 5 })
      // Ten batches of a hundred.
      const small = on(store, { prefix: "plugin=y/log" })
      yield* small.append([0])
      for (const i of range(9)) yield* small.append([i])
      assert.deepStrictEqual(yield* made(small.compact()), { get: 11, put: 2, deleteMany: 1 })
      assert.deepStrictEqual(yield* made(Stream.runDrain(small.read())), { get: 2 })
    })
  )

  it.effect("a follower sees all, once, and asks once a minute when nothing comes", () =>
    Effect.gen(function* () {
      const inner = yield* memory
      const { counter, store } = InstrumentedStore.make(inner)
      const log = on(inner, { segmentEntries: 3 })
      yield* log.append(range(10))
      const seen: Array<number> = []
      const late: Array<number> = []
      const follow = (into: Array<number>, from: number | "end") =>
        Effect.forkChild(
          Stream.runForEach(on(store).follow({ from }), ({ value }) => Effect.sync(() => into.push(value)))
        )
      const fiber = yield* follow(seen, 0)
      yield* pass(30)
      assert.deepStrictEqual(seen, range(10))
      yield* log.append(range(5, 10))
      yield* pass(600)
      assert.deepStrictEqual(seen, range(15))
      yield* counter.reset
      yield* pass(3600)
      assert.include([59, 60], (yield* counter.counts).get)
      const other = yield* follow(late, "end")
      yield* pass(1)
      for (const i of range(20)) {
        yield* log.append([15 + i])
        if (i % 5 === 0) yield* log.compact()
        if (i === 12) yield* log.retain({ before: 20 })
        yield* pass(40)
      }
      yield* pass(120)
      assert.deepStrictEqual(seen, range(35))
      assert.deepStrictEqual(late, range(20, 15))
      yield* Fiber.interrupt(fiber)
      yield* Fiber.interrupt(other)
    })
  )

  it.effect("retention by age, entries, bytes and the slowest reader; a reader that is overtaken is told", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = on(store, { segmentEntries: 10 })
      for (const i of range(100)) {
        yield* log.append(range(10, i * 10))
        yield* TestClock.adjust("1 minute")
      }
      const { head, next } = yield* log.status
      const check = Effect.fnUntraced(function* (retention: AppendLog.Retention, first: number) {
        assert.strictEqual(yield* log.retain(retention), first, JSON.stringify(retention))
        assert.deepStrictEqual(yield* all(log), range(1000 - first, first))
        yield* log.verify({ head, next })
      })
      yield* check({}, 0)
      yield* check({ before: 9 }, 0)
      yield* check({ before: 10 }, 10)
      yield* check({ age: "70 minutes", before: 195 }, 190)
      yield* check({ age: "70 minutes" }, 300)
      yield* check({ entries: 605 }, 400)
      const { bytes } = yield* log.status
      yield* check({ bytes: bytes - 1 }, 410)
      yield* check({ entries: 600, bytes: 10_000_000 }, 410)
      const error = yield* Effect.flip(Stream.runDrain(log.read({ from: 400 })))
      assert.strictEqual(error._tag, "Trimmed")
      // One that is under way.
      const slow = log.read().pipe(
        Stream.rechunk(1),
        Stream.tap(({ position }) => (position === 415 ? Effect.asVoid(log.retain({ before: 600 })) : Effect.void))
      )
      const overtaken = yield* Effect.flip(Stream.runDrain(slow))
      assert.deepStrictEqual(
        overtaken._tag === "Trimmed" ? [overtaken.position, overtaken.first] : overtaken._tag,
        [420, 600]
      )
      yield* check({ age: 0 }, 1000)
      assert.deepStrictEqual(yield* keysOf(store, prefix), [key])
    })
  )

  it.effect("a reader under way notices no compaction", () =>
    Effect.gen(function* () {
      const log = on(yield* memory, { segmentEntries: 50 })
      for (const i of range(200)) yield* log.append([i])
      const reading = log.read().pipe(
        Stream.rechunk(1),
        Stream.tap(({ position }) =>
          position % 40 === 7 ? Effect.andThen(log.append([1000 + position]), log.compact()) : Effect.void
        )
      )
      assert.deepStrictEqual(yield* values(reading), range(200))
      assert.strictEqual((yield* all(log)).length, 205)
    })
  )

  it.effect("a long log has a small manifest, and any place of it is near", () =>
    Effect.gen(function* () {
      const { counter, store } = InstrumentedStore.make(yield* memory)
      const log = on(store, { segmentEntries: 1, compression: "none" })
      for (const i of range(3)) yield* log.append(range(1000, i * 1000))
      assert.strictEqual((yield* log.status).segments, 3000)
      // Less than 64 of each level.
      assert.isBelow((yield* store.head(key)).size, 4 * 64 * 140)
      yield* counter.reset
      assert.deepStrictEqual(yield* values(on(store).read({ from: 2345, to: 2346 })), [2345])
      assert.isAtMost((yield* counter.counts).get!, 1 + 3 + 1)
      assert.strictEqual(yield* log.retain({ before: 1234 }), 1234)
      yield* log.verify()
      assert.deepStrictEqual(yield* all(log), range(3000 - 1234, 1234))
      yield* on(store, { segmentEntries: 1000 }).compact()
      assert.strictEqual((yield* log.status).segments, 2)
      assert.deepStrictEqual(yield* all(log), range(3000 - 1234, 1234))
      yield* log.verify()
      assert.strictEqual(yield* log.collect, 0)
      assert.strictEqual(yield* log.collect, 0)
      assert.strictEqual((yield* keysOf(store, prefix)).length, 3)
    })
  )

  it.effect("verify names the first part that does not fit", () =>
    Effect.gen(function* () {
      const { control, store } = yield* MemoryStore.make()
      const log = on(store, { segmentEntries: 2 })
      for (const i of range(5)) yield* log.append(range(2, i * 2))
      const whole = yield* control.snapshot
      const { head, next } = yield* log.status
      const manifest = JSON.parse(new TextDecoder().decode((yield* store.get(key)).body)) as {
        d: { refs: Array<{ p: string }>; next: number }
      }
      const keyAt = (i: number) => `${prefix}/part/g=${manifest.d.refs[i]!.p}`
      const brokenBy = Effect.fnUntraced(function* (harm: Effect.Effect<unknown, StoreError>) {
        yield* control.restore(whole)
        yield* harm
        const error = yield* Effect.flip(on(store).verify({ head, next }))
        assert.strictEqual(error._tag, "Broken")
        if (error._tag === "Broken") assert.include(error.message, JSON.stringify(error.key))
        return error._tag === "Broken" ? [error.key, error.position] : []
      })
      assert.deepStrictEqual(yield* brokenBy(store.delete(keyAt(1))), [keyAt(1), 2])
      assert.deepStrictEqual(yield* brokenBy(store.put({ key: keyAt(3), body: text("x") })), [keyAt(3), 6])
      // One who can write to the store puts another log in its place: all of it fits, but not what was seen before.
      const rewritten = Effect.gen(function* () {
        yield* store.delete(key)
        yield* on(store).append(range(10))
      })
      assert.deepStrictEqual((yield* brokenBy(Effect.orDie(rewritten)))[1], 0)
      const cut = {
        ...manifest,
        d: { ...manifest.d, refs: [manifest.d.refs[0], ...manifest.d.refs.slice(2)], next: 8 }
      }
      const shorter = store.put({ key, body: text(JSON.stringify(cut)) })
      assert.deepStrictEqual(yield* brokenBy(shorter), [keyAt(2), 2])
      yield* control.restore(whole)
      yield* on(store).verify({ head, next })
    })
  )

  it.effect("sealed, it shows nothing; values of any schema come back", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const ring = yield* Effect.provide(
        KeyRing.KeyRing,
        KeyRing.layerKeys({ current: "a", keys: { a: Redacted.make(new Uint8Array(32).fill(1)) } })
      )
      const keys = yield* ring.unlock(text("salt"))
      const schema = Schema.Struct({ at: Schema.Date, note: Schema.String })
      const log = AppendLog.make(store, { prefix, schema, sealing: { keys, scope: "log" } })
      const entry = { at: new Date(5), note: "very secret\n\u2028" }
      yield* log.append([entry, entry])
      yield* log.append([entry])
      yield* log.compact()
      assert.deepStrictEqual(
        (yield* Stream.runCollect(log.read())).map(({ value }) => value),
        [entry, entry, entry]
      )
      for (const one of yield* keysOf(store)) {
        assert.notInclude(Buffer.from((yield* store.get(one)).body).toString("latin1"), "secret")
      }
      yield* log.verify()
      const plain = AppendLog.make(store, { prefix, schema })
      assert.strictEqual(yield* tagOf(Stream.runDrain(plain.read())), "StoreError")
    })
  )

  describe("answers that are lost", () => {
    const timeout: Reason = new Timeout({ description: "no answer", afterMillis: 1 })
    const afterUnknown: Reason = new PreconditionFailed({ description: "refused", afterUnknown: true })
    for (const [name, reason] of Object.entries({ timeout, afterUnknown })) {
      it.effect(`${name}: landed or not, with any number of appends of others behind it`, () =>
        Effect.gen(function* () {
          for (const landed of [true, false]) {
            for (const behind of [0, 1, 70]) {
              const store = yield* memory
              yield* on(store).append([-1])
              let commits = 0
              const faulty: Store = {
                ...store,
                put: (request) =>
                  request.key === key && commits++ === 0
                    ? Effect.gen(function* () {
                        if (landed) yield* store.put(request)
                        for (const i of range(behind)) yield* Effect.orDie(on(store).append([100 + i]))
                        if (behind === 70) yield* Effect.orDie(on(store).compact())
                        return yield* new StoreError({ operation: "put", key, reason })
                      })
                    : store.put(request)
              }
              const done = yield* tagOf(on(faulty).append([1, 2]))
              const found = yield* all(on(store))
              // Not landed, and nothing else did: it may yet arrive.
              assert.strictEqual(done, landed || behind > 0 ? "done" : "StoreError")
              assert.strictEqual(found.filter((value) => value === 1).length, done === "done" ? 1 : 0)
              assert.strictEqual(found.length, 1 + behind + (done === "done" ? 2 : 0))
            }
          }
        })
      )
    }
  })

  it.effect("a crash at any request leaves all that was committed, and nothing twice", () =>
    Effect.gen(function* () {
      for (const when of moments) {
        for (let at = 1; ; at++) {
          const store = yield* memory
          const log = on(store, { segmentEntries: 4 })
          for (const i of range(6)) yield* log.append([i])
          const crashed = crashing(store, at, when)
          const mine = on(crashed.store, { segmentEntries: 4 })
          const work = Effect.gen(function* () {
            yield* mine.append([6, 7], { expected: 6, id: "a" })
            yield* mine.compact()
            yield* mine.retain({ before: 4 })
            yield* mine.collect
            yield* mine.append([8], { expected: 8, id: "b" })
          })
          const exit = yield* Effect.exit(work)
          yield* log.verify()
          // Another takes over, and makes it all again.
          yield* log.append([6, 7], { expected: 6, id: "a" })
          yield* log.append([8], { expected: 8, id: "b" })
          const { first } = yield* log.status
          assert.deepStrictEqual(yield* all(log), range(9 - first, first))
          yield* log.verify()
          yield* log.collect
          yield* log.collect
          assert.deepStrictEqual(yield* all(log), range(9 - first, first))
          assert.strictEqual((yield* keysOf(store, prefix)).length, 1 + (yield* log.status).segments)
          if (Exit.isSuccess(exit)) break
        }
      }
    })
  )

  describe("two who append what is pending, each of whom may stand still or crash", () => {
    for (const fenced of [true, false]) {
      for (const crashes of [0, 1]) {
        it.effect(titleOf({ fenced, crashes }), () => journalers({ fenced, crashes, preemptions: crashes > 0 ? 0 : 1 }))
      }
    }

    /** How many of the appends of two are lost, in every order of their requests. */
    const lost = Effect.fnUntraced(function* (over: (store: Store) => Store) {
      const { control, store } = yield* MemoryStore.make()
      const start = yield* control.snapshot
      const schedule = Interleavings.make(store)
      const append = (client: string, seed: number) =>
        seeded(seed)(Effect.suspend(() => on(over(schedule.client(client))).append([seed])))
      let missing = 0
      yield* schedule.explore({
        before: control.restore(start),
        programs: { a: append("a", 1), b: append("b", 2) },
        check: () => Effect.map(all(on(store)), (found) => (missing += 2 - new Set(found).size))
      })
      return missing
    })

    it.effect("no append is lost; the exploration finds a build that commits blindly", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* lost((store) => store), 0)
        const blind = (store: Store): Store => ({
          ...store,
          put: ({ ifMatch: _, ifNoneMatch: __, ...request }) => store.put(request)
        })
        assert.isAbove(yield* lost(blind), 0)
      })
    )
  })

  it.effect("appends, compaction, retention and collection at once, in every order of requests", () => atOnce(1))

  it.effect("what does not fit is refused, and changes nothing", () =>
    Effect.gen(function* () {
      const store = yield* memory
      const log = AppendLog.make(store, { prefix, schema: Schema.Struct({ n: Schema.Int }) })
      const error = yield* Effect.flip(log.append([{ n: 1 }, { n: 77.5 }]))
      assert.strictEqual(error._tag, "StoreError")
      assert.include(error.message, `entry 1`)
      assert.notInclude(error.message, "77")
      assert.deepStrictEqual(yield* keysOf(store), [])
      for (const bound of [0, 1.5, Number.NaN]) {
        assert.throws(() => on(store, { segmentEntries: bound }), RangeError)
        assert.throws(() => on(store, { segmentBytes: bound }), RangeError)
      }
      yield* store.put({ key, body: text("{}") })
      assert.strictEqual(yield* tagOf(log.append([{ n: 1 }])), "StoreError")
    })
  )
})
