import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as StoreClock from "effect-s3db/kernel/StoreClock"
import * as InstrumentedStore from "effect-s3db/storage/InstrumentedStore"
import type { ObjectStore } from "effect-s3db/storage/ObjectStore"
import { drive, memory } from "../fixture.ts"

type Store = ObjectStore["Service"]

const start = Date.parse("2026-11-26T00:00:00Z")
const hour = 3_600_000

/** A machine whose clock can be set, on a store that keeps the time of the test; `before` runs before each PUT is carried out, `after` after it. */
const machine = Effect.fnUntraced(function* () {
  yield* TestClock.setTime(start)
  const world = yield* Clock.Clock
  const inner = yield* memory
  let ahead = 0
  const clock: Clock.Clock = {
    ...world,
    currentTimeMillisUnsafe: () => world.currentTimeMillisUnsafe() + ahead,
    currentTimeMillis: Effect.map(world.currentTimeMillis, (millis) => millis + ahead),
    sleep: (duration) => world.sleep(duration),
    monotonicTimeNanosUnsafe: () => world.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: world.monotonicTimeNanos
  }
  const meeting = { before: Effect.void, after: Effect.void }
  const right = <A, E>(request: Effect.Effect<A, E>) => Effect.provideService(request, Clock.Clock, world)
  const store: Store = {
    ...inner,
    put: (request) =>
      Effect.suspend(() => meeting.before).pipe(
        Effect.andThen(right(inner.put(request))),
        Effect.tap(() => meeting.after)
      ),
    head: (key) => right(inner.head(key))
  }
  const counted = InstrumentedStore.make(store)
  return {
    clock,
    counter: counted.counter,
    meeting,
    set: (millis: number) => void (ahead = millis),
    store: counted.store
  }
})

describe("StoreClock", () => {
  for (const [name, ahead] of [
    ["ahead", hour],
    ["behind", -hour]
  ] as const) {
    for (const place of ["before", "after"] as const) {
      it.effect(`is right on a machine that is ${name} and stands still ${place} its measurement is carried out`, () =>
        Effect.gen(function* () {
          const { clock, counter, meeting, set, store } = yield* machine()
          set(ahead)
          meeting[place] = Effect.suspend(() => {
            meeting[place] = Effect.void
            return Effect.sleep("1 minute")
          })
          const asking = Effect.flatMap(StoreClock.kept(store), (now) => now)
          const fiber = yield* Effect.forkChild(Effect.provideService(asking, Clock.Clock, clock))
          const now = yield* drive(fiber, "30 seconds")
          assert.strictEqual(now, yield* Clock.currentTimeMillis)
          // It measures again, since the first time took too long.
          assert.strictEqual((yield* counter.counts).put, 2)
        })
      )
    }
  }

  it.effect("is never ahead of the store's, however slow that is", () =>
    Effect.gen(function* () {
      const { clock, counter, meeting, set, store } = yield* machine()
      set(hour)
      meeting.before = Effect.sleep("10 seconds")
      const asking = Effect.flatMap(StoreClock.kept(store), (now) => now)
      const now = yield* drive(yield* Effect.forkChild(Effect.provideService(asking, Clock.Clock, clock)))
      const truth = yield* Clock.currentTimeMillis
      assert.isAtMost(now, truth)
      assert.isAtLeast(now, truth - 10_000)
      assert.strictEqual((yield* counter.counts).put, 3)
    })
  )

  it.effect("is right when the clock of the machine is set while it is measured", () =>
    Effect.gen(function* () {
      const { clock, meeting, set, store } = yield* machine()
      meeting.after = Effect.sync(() => {
        meeting.after = Effect.void
        set(hour)
      })
      yield* Effect.gen(function* () {
        const now = yield* StoreClock.kept(store)
        yield* now
        assert.strictEqual(yield* now, start)
      }).pipe(Effect.provideService(Clock.Clock, clock))
    })
  )
})
