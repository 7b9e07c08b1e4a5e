/**
 * Time where several processes have to agree on it: that of the store, and how long something has taken.
 *
 * No clock decides what is true: a compare-and-set does. Clocks decide when somebody may try.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Id from "../crypto/Id.ts"
import { ambient } from "../internal/ambient.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"

/**
 * Reads the time by the store's clock, in milliseconds. S3 tells whole seconds. 1 PUT, 1 HEAD and 1 DELETE of a scratch
 * object.
 *
 * @category constructors
 * @since 0.1.0
 */
export const now = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const key = `s3db-clock/${yield* Id.writeId}`
  yield* store.put({ key, repeatable: true })
  const { lastModified } = yield* store.head(key)
  yield* store.delete(key, { repeatable: true })
  return lastModified
})

/**
 * Measures how many milliseconds have passed since it was started, by whichever clock says more: a suspended machine stops
 * one of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stopwatch: Effect.Effect<Effect.Effect<number>> = Effect.sync(() => Effect.sync(startUnsafe()))

/**
 * Starts a stopwatch like `stopwatch`, of the clock of the fiber that runs; so is what it gives to be read.
 *
 * @category constructors
 * @since 0.1.0
 */
export const startUnsafe = (): (() => number) => {
  const started = ambient(Clock.Clock)
  const wall = started.currentTimeMillisUnsafe()
  const steady = started.monotonicTimeNanosUnsafe()
  return () => {
    const clock = ambient(Clock.Clock)
    return Math.max(clock.currentTimeMillisUnsafe() - wall, Number(clock.monotonicTimeNanosUnsafe() - steady) / 1e6)
  }
}

/**
 * A clock that goes with the store's.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoreClock {
  /** Milliseconds since the epoch, as last measured. No request. */
  readonly now: Effect.Effect<number>
  /**
   * Measures how far the clock of this machine is off: 1 PUT, 1 HEAD, 1 DELETE; up to three times where a PUT takes longer than 2 seconds, of
   * which the shortest counts. It is behind the store's by as long as that took at most, and not ahead of it.
   */
  readonly measure: Effect.Effect<void, StoreError>
}

/** The store may tell whole seconds only, and an answer takes its time: less than this is no difference. 2 seconds. */
const tolerance = 2000

/** How often it is measured where that takes long, so that little can be said of when it was. */
const mostTries = 3

const sampleOf = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const key = `s3db-clock/${yield* Id.writeId}`
  const before = yield* Clock.currentTimeMillis
  const watch = yield* stopwatch
  yield* store.put({ key, repeatable: true })
  const after = yield* Clock.currentTimeMillis
  const took = yield* watch
  const { lastModified: at } = yield* store.head(key)
  yield* store.delete(key, { repeatable: true })
  // It was between these two. Who is behind waits a little longer; who is ahead would act too early.
  return { took, off: at < before - tolerance || at > after + tolerance ? at - after : 0 }
})

/**
 * Makes the clock; until it is measured it is that of this machine. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"]): StoreClock => {
  let offset = 0
  return {
    now: Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis + offset)),
    measure: Effect.gen(function* () {
      let best: { readonly took: number; readonly off: number } | undefined
      for (let tries = 0; tries < mostTries && (best === undefined || best.took > tolerance); tries++) {
        const sample = yield* sampleOf(store)
        if (best === undefined || sample.took < best.took) best = sample
      }
      offset = best?.off ?? 0
    })
  }
}

/**
 * Measures how many milliseconds have passed since it was started, by the clock that nobody sets.
 *
 * @category constructors
 * @since 0.1.0
 */
export const steady: Effect.Effect<Effect.Effect<number>> = Effect.map(Clock.monotonicTimeNanos, (begun) =>
  Effect.map(Clock.monotonicTimeNanos, (now) => Number(now - begun) / 1e6)
)

const hour = 3_600_000

/**
 * Makes the time by the store's clock, in milliseconds: measured when it is first asked for, every hour after, and when the clock of
 * this machine was set or stood still, by 1 PUT, 1 HEAD and 1 DELETE each, see `StoreClock.measure`. In between it is no request.
 *
 * The time fails with what the store says while it cannot be measured.
 *
 * @category constructors
 * @since 0.1.0
 */
export const kept = Effect.fnUntraced(function* (
  store: ObjectStore["Service"]
): Effect.fn.Return<Effect.Effect<number, StoreError>> {
  const clock = make(store)
  const lock = yield* Semaphore.make(1)
  const clocks = Effect.zip(Clock.currentTimeMillis, Clock.monotonicTimeNanos)
  let measured: readonly [wall: number, steady: bigint] | undefined
  const isDue = Effect.map(clocks, ([wall, steady]) => {
    if (measured === undefined) return true
    const byWall = wall - measured[0]
    const bySteady = Number(steady - measured[1]) / 1e6
    return bySteady >= hour || Math.abs(byWall - bySteady) > tolerance
  })
  const measure = Effect.gen(function* () {
    if (!(yield* isDue)) return
    // Of before, so that a clock that is set meanwhile is measured again.
    const begun = yield* clocks
    yield* clock.measure
    measured = begun
  }).pipe(lock.withPermits(1))
  return Effect.flatMap(isDue, (due) => (due ? Effect.andThen(measure, clock.now) : clock.now))
})
