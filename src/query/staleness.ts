/**
 * How old what a request reads may be.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Query from "../Query.ts"

/**
 * Returns what is wrong with `maxStaleness`; `undefined`: nothing.
 *
 * @category guards
 * @since 0.1.0
 */
export const problemOf = ({ maxStaleness }: Query.Bounded): string | undefined =>
  maxStaleness === undefined || millisecondsOf(maxStaleness) >= 0
    ? undefined
    : 'Expected a duration, such as "10 minutes"'

/**
 * Gives the time, in milliseconds, since when a request has to be true; `undefined`: it has to be now.
 *
 * @category conversions
 * @since 0.1.0
 */
export const notBefore = ({ maxStaleness }: Query.Bounded): Effect.Effect<number | undefined> =>
  maxStaleness === undefined
    ? Effect.undefined
    : Effect.map(Clock.currentTimeMillis, (now) => now - millisecondsOf(maxStaleness))

/**
 * Returns a request of what is there now, whatever it says.
 *
 * @category conversions
 * @since 0.1.0
 */
export const exact = <Request extends object>(request: Request): Request & { readonly maxStaleness: undefined } => ({
  ...request,
  maxStaleness: undefined
})
