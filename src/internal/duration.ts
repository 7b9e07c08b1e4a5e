/** Durations in milliseconds. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Returns the milliseconds of a duration; `NaN` of what is none, which a program without types may give, and of `NaN`, which Effect takes for no time. */
export const millisecondsOf = (input: Duration.Input): number =>
  Number.isNaN(input)
    ? Number.NaN
    : Option.match(Duration.fromInput(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
