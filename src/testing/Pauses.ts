/**
 * What the pauses between attempts wait for.
 *
 * The engine pauses before it makes a change again that lost a race, and while a write of somebody else is under way. These
 * pauses take the time of the machine, so that a test under `TestClock` goes on by itself. In a simulation time is the
 * clock's: there they have to wait for it, or nothing that happens in it could be had again.
 *
 * ```ts
 * import * as Pauses from "effect-s3db/testing/Pauses"
 * import { Effect } from "effect"
 *
 * declare const history: Effect.Effect<void>
 *
 * const simulated = Pauses.byClock(history)
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Pause } from "../internal/backoff.ts"

/**
 * Makes the pauses within an effect wait for its `Clock`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const byClock = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Pause, Effect.sleep)

/**
 * The layer under which pauses wait for the `Clock`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClock: Layer.Layer<never> = Layer.succeed(Pause, Effect.sleep)
