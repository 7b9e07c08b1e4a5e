/**
 * The time by the store's clock, so that processes whose clocks differ start jobs at the same moment.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import type { StoreError } from "../../storage/StoreError.ts"
import { now as storeTime } from "../../kernel/StoreClock.ts"

/**
 * A clock that goes with the store's.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoreClock {
  /** Milliseconds since the epoch, as last measured. No request. */
  readonly now: Effect.Effect<number>
  /** Measures how far the clock of this machine is off. 1 PUT, 1 HEAD, 1 DELETE. */
  readonly measure: Effect.Effect<void, StoreError>
}

/** The store may tell whole seconds only, and an answer takes its time: less than this is no difference. 2 seconds. */
const tolerance = 2000

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
      const before = yield* Clock.currentTimeMillis
      const at = yield* storeTime(store)
      const after = yield* Clock.currentTimeMillis
      // It was between these two.
      const off = at < before - tolerance ? at - before : at > after + tolerance ? at - after : 0
      offset = off
    })
  }
}

/**
 * Milliseconds that have passed since an effect was made, by a clock that nobody sets.
 *
 * @category constructors
 * @since 0.1.0
 */
export const elapsed: Effect.Effect<Effect.Effect<number>> = Effect.map(Clock.monotonicTimeNanos, (begun) =>
  Effect.map(Clock.monotonicTimeNanos, (now) => Number(now - begun) / 1e6)
)
