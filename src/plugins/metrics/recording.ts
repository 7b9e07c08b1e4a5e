/**
 * How a process writes what it counts, and how long that is kept: what `Metrics` and `Costs` are told alike.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { millisecondsOf } from "../../internal/duration.ts"
import type * as Ledger from "./ledger.ts"

/**
 * How a process writes what it counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How often what was counted is written. 1 second to 1 hour; default: 1 minute. */
  readonly interval?: Duration.Input | undefined
  /**
   * `false`: this process writes by `flush` and when the layer is closed only, and does nothing else by itself, such as rolling up or looking at
   * budgets: for programs that run for a moment. Default `true`.
   */
  readonly write?: boolean | undefined
}

/**
 * How long the past is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keep {
  /** At least 6 hours. Default: 2 days. */
  readonly intervals?: Duration.Input | undefined
  /** At least 1 day, of costs 32 days, so that a month is whole. Default: 90 days. */
  readonly hours?: Duration.Input | undefined
  /** At least 1 day, of costs 32 days. Default: 1,830 days. */
  readonly days?: Duration.Input | undefined
}

/** Says that an option cannot be. */
type Invalid<E> = (field: string, problem: string) => Effect.Effect<never, E>

/**
 * Makes milliseconds of an option that is a duration within bounds.
 *
 * @category conversions
 * @since 0.1.0
 */
export const durationOf = <E>(
  invalid: Invalid<E>,
  field: string,
  given: Duration.Input | undefined,
  [otherwise, least, most]: readonly [Duration.Input, Duration.Input, Duration.Input]
): Effect.Effect<number, E> => {
  const millis = millisecondsOf(given ?? otherwise)
  return millis >= millisecondsOf(least) && millis <= millisecondsOf(most)
    ? Effect.succeed(millis)
    : invalid(field, `Expected a duration from ${String(least)} to ${String(most)}`)
}

/**
 * Reads the options. `least`: how long hours and days are kept at least.
 *
 * @category conversions
 * @since 0.1.0
 */
export const checked = Effect.fnUntraced(function* <E>(
  { interval, keep = {}, write }: Options & { readonly keep?: Keep | undefined },
  least: Duration.Input,
  invalid: Invalid<E>
): Effect.fn.Return<{ readonly interval: number; readonly isAlone: boolean; readonly keep: Ledger.Keep }, E> {
  const { days, hours, intervals } = keep
  return {
    interval: yield* durationOf(invalid, "interval", interval, ["1 minute", "1 second", "1 hour"]),
    isAlone: write !== false,
    keep: {
      intervals: yield* durationOf(invalid, "keep.intervals", intervals, ["2 days", "6 hours", "3660 days"]),
      hours: yield* durationOf(invalid, "keep.hours", hours, ["90 days", least, "3660 days"]),
      days: yield* durationOf(invalid, "keep.days", days, ["1830 days", least, "36600 days"])
    }
  }
})
