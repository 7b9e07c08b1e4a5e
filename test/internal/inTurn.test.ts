import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { forEach } from "../../src/internal/inTurn.ts"

const numbers = Array.from({ length: 100 }, (_, i) => i)

/** What tells how many are under way. */
const crowd = () => {
  const state = { now: 0, most: 0, begun: [] as Array<number> }
  const within = <A>(i: number, effect: Effect.Effect<A>): Effect.Effect<A> =>
    Effect.suspend(() => {
      state.begun.push(i)
      state.most = Math.max(state.most, (state.now += 1))
      return Effect.ensuring(
        effect,
        Effect.sync(() => void (state.now -= 1))
      )
    })
  return { state, within }
}

describe("things in turn", () => {
  it.effect.each([1, 2, 7, 16, 1000, Number.POSITIVE_INFINITY])("are made in their order, %d at once", (concurrency) =>
    Effect.gen(function* () {
      for (const length of [0, 1, 8, 9, 100]) {
        const { state, within } = crowd()
        const some = numbers.slice(0, length)
        const pause = (i: number) => Effect.forEach(numbers.slice(0, (i * 7) % 5), () => Effect.yieldNow)
        const made = yield* forEach(some, (i) => within(i, Effect.as(pause(i), -i)), { concurrency })
        assert.deepStrictEqual(
          made,
          some.map((i) => -i)
        )
        assert.deepStrictEqual(state.begun, some)
        assert.isAtMost(state.most, concurrency)
      }
    })
  )

  it.effect("are made by one fiber where nothing waits", () =>
    Effect.gen(function* () {
      const ids = yield* forEach(numbers, () => Effect.fiberId, { concurrency: 16 })
      assert.strictEqual(new Set(ids).size, 1)
      const pausing = yield* forEach(
        numbers,
        (i) => (i % 16 === 15 ? Effect.andThen(Effect.yieldNow, Effect.fiberId) : Effect.fiberId),
        { concurrency: 16 }
      )
      assert.strictEqual(new Set(pausing).size, 1)
    })
  )

  it.effect("are under way at once, as many as are allowed, where they wait", () =>
    Effect.gen(function* () {
      const { state, within } = crowd()
      const gate = yield* Deferred.make<void>()
      const full = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        forEach(
          numbers,
          (i) =>
            within(
              i,
              // The first ones answer at once.
              i < 20
                ? Effect.void
                : Effect.suspend(() =>
                    Effect.andThen(
                      state.now === 16 ? Deferred.succeed(full, undefined) : Effect.void,
                      Deferred.await(gate)
                    )
                  )
            ),
          { concurrency: 16 }
        )
      )
      yield* Deferred.await(full)
      assert.strictEqual(state.now, 16)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(state.most, 16)
      assert.strictEqual(state.begun.length, 100)
    })
  )

  it.effect("end with the first failure, which interrupts the others", () =>
    Effect.gen(function* () {
      const { state, within } = crowd()
      const exit = yield* Effect.exit(
        forEach(numbers, (i) => (i === 12 ? Effect.fail("twelve") : within(i, Effect.never)), { concurrency: 16 })
      )
      assert.deepStrictEqual(exit, Exit.fail("twelve"))
      assert.strictEqual(state.now, 0)
      assert.deepStrictEqual(state.begun, numbers.slice(0, 12))
      const alone = yield* Effect.exit(
        forEach(numbers, (i) => (i === 90 ? Effect.fail("ninety") : within(i, Effect.void)), { concurrency: 16 })
      )
      assert.deepStrictEqual(alone, Exit.fail("ninety"))
      const thrown = new Error("thrown")
      const died = yield* Effect.exit(
        forEach(
          numbers,
          (i): Effect.Effect<void> => {
            if (i === 30) throw thrown
            return within(i, Effect.void)
          },
          { concurrency: 16 }
        )
      )
      assert.deepStrictEqual(died, Exit.die(thrown))
    })
  )

  it.effect("are interrupted between two of them, and all that wait", () =>
    Effect.gen(function* () {
      const { state, within } = crowd()
      const waiting = yield* Effect.forkChild(forEach(numbers, (i) => within(i, Effect.never), { concurrency: 16 }))
      while (state.now < 16) yield* Effect.yieldNow
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(state.now, 0)
      assert.strictEqual(state.begun.length, 16)
      const counted = { done: 0 }
      const step = Effect.andThen(
        Effect.sync(() => void (counted.done += 1)),
        Effect.suspend(() => (counted.done % 16 === 0 ? Effect.yieldNow : Effect.void))
      )
      const quick = yield* Effect.forkChild(
        forEach(
          Array.from({ length: 100_000 }, (_, i) => i),
          () => step,
          { concurrency: 16 }
        )
      )
      while (counted.done < 100) yield* Effect.yieldNow
      yield* Fiber.interrupt(quick)
      assert.isBelow(counted.done, 100_000)
    })
  )
})
