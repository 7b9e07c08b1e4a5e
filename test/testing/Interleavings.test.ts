import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import * as Interleavings from "effect-s3db/testing/Interleavings"

type Store = ObjectStore["Service"]

const encoder = new TextEncoder()
const numberOf = (body: Uint8Array): number => Number(new TextDecoder().decode(body))

const counterOf = (store: Store) => Effect.map(store.get("n"), ({ body }) => numberOf(body))

/** Counts up by reading and writing. */
const count = (store: Store, conditional: boolean) =>
  Effect.gen(function* () {
    const { body, etag } = yield* store.get("n")
    const next = encoder.encode(String(numberOf(body) + 1))
    yield* store.put({ key: "n", body: next, ...(conditional ? { ifMatch: etag } : {}) })
  })

const opened = Effect.gen(function* () {
  const { control, store } = yield* MemoryStore.make()
  yield* store.put({ key: "n", body: encoder.encode("0") })
  const start = yield* control.snapshot
  return { store, schedule: Interleavings.make(store), before: control.restore(start) }
})

describe("Interleavings", () => {
  it.effect("meets the lost update that a preemption makes, and not without one", () =>
    Effect.gen(function* () {
      const { before, schedule, store } = yield* opened
      const programs = { a: count(schedule.client("a"), false), b: count(schedule.client("b"), false) }
      const endings = Effect.fnUntraced(function* (preemptions: number) {
        const found: Array<string> = []
        const report = yield* schedule.explore({
          before,
          programs,
          preemptions,
          check: ({ trace }) =>
            Effect.map(counterOf(store), (n) => found.push(`${n}: ${trace.map((line) => line.slice(0, 5)).join(", ")}`))
        })
        assert.isTrue(report.complete)
        assert.strictEqual(report.schedules, found.length)
        return { found, report }
      })
      const serial = yield* endings(0)
      assert.deepStrictEqual(serial.found, ["2: a get, a put, b get, b put", "2: b get, b put, a get, a put"])
      assert.deepStrictEqual(serial.report, { schedules: 2, requests: 8, complete: true })
      const { found } = yield* endings(3)
      assert.sameMembers(found, [
        "2: a get, a put, b get, b put",
        "1: a get, b get, b put, a put",
        "1: a get, b get, a put, b put",
        "1: b get, a get, b put, a put",
        "1: b get, a get, a put, b put",
        "2: b get, b put, a get, a put"
      ])
      // Outside of an exploration nothing is put in order.
      yield* programs.a
    })
  )

  it.effect("conditions lose no update: the loser knows", () =>
    Effect.gen(function* () {
      const { before, schedule, store } = yield* opened
      let lost = 0
      yield* schedule.explore({
        before,
        programs: { a: count(schedule.client("a"), true), b: count(schedule.client("b"), true) },
        check: Effect.fnUntraced(function* ({ exits }) {
          const done = Object.values(exits).filter(Exit.isSuccess).length
          lost += 2 - done
          assert.strictEqual(yield* counterOf(store), done)
        })
      })
      assert.isAbove(lost, 0)
    })
  )

  it.effect("crashes a client at each request, whose finalizers reach nothing", () =>
    Effect.gen(function* () {
      const { before, schedule, store } = yield* opened
      const view = schedule.client("a")
      const seen: Array<string> = []
      yield* schedule.explore({
        before,
        programs: { a: Effect.ensuring(count(view, true), Effect.ignore(view.delete("n"))) },
        crashes: 1,
        check: Effect.fnUntraced(function* ({ crashed, exits, trace }) {
          const { a } = exits
          const died = Exit.isFailure(a!) && Cause.pretty(a.cause).includes("the client a has crashed")
          assert.strictEqual(died, crashed.includes("a"))
          const left = yield* Effect.orElseSucceed(counterOf(store), () => undefined)
          seen.push(`${trace.join(", ")}: ${left}`)
        })
      })
      assert.sameMembers(seen, [
        "a get n, a put n, a delete n: undefined",
        "a get n, a put n, a crashes: 1",
        "a get n, a crashes: 0",
        "a crashes: 0"
      ])
    })
  )

  it.effect("time passes when all wait for it, or while a request waits", () =>
    Effect.gen(function* () {
      const { before, schedule } = yield* opened
      const [a, b] = [schedule.client("a"), schedule.client("b")]
      const seen: Array<string> = []
      yield* schedule.explore({
        before,
        programs: {
          a: Effect.andThen(a.head("n"), a.head("n")),
          b: Effect.andThen(Effect.sleep("5 seconds"), b.head("n"))
        },
        preemptions: 1,
        pause: "10 seconds",
        check: ({ trace }) => Effect.sync(() => seen.push(trace.map((line) => line.slice(0, 6)).join(", ")))
      })
      assert.include(seen, "a head, a head, b head")
      assert.include(seen, "time p, a head, a head, b head")
      assert.include(seen, "a head, time p, a head, b head")
    })
  )

  it.effect("keeps to its limit, and says so", () =>
    Effect.gen(function* () {
      const { before, schedule } = yield* opened
      const programs = { a: count(schedule.client("a"), false), b: count(schedule.client("b"), false) }
      const report = yield* schedule.explore({ before, programs, limit: 3, check: () => Effect.void })
      assert.deepStrictEqual([report.schedules, report.complete], [3, false])
    })
  )

  it.effect("a program that does otherwise the next time is no use", () =>
    Effect.gen(function* () {
      const { before, schedule } = yield* opened
      const [a, b] = [schedule.client("a"), schedule.client("b")]
      let runs = 0
      const fickle = Effect.suspend(() => ((runs += 1) > 1 ? a.head("n") : Effect.andThen(a.head("n"), a.head("n"))))
      const exit = yield* Effect.exit(
        schedule.explore({ before, programs: { a: fickle, b: b.head("n") }, check: () => Effect.void })
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("the same choices led elsewhere"))
      // The clients are free again.
      yield* a.head("n")
    })
  )

  it.effect("a failing check ends it", () =>
    Effect.gen(function* () {
      const { before, schedule } = yield* opened
      const programs = { a: count(schedule.client("a"), false) }
      const error = yield* Effect.flip(schedule.explore({ before, programs, check: () => Effect.fail("enough") }))
      assert.strictEqual(error, "enough")
    })
  )
})
