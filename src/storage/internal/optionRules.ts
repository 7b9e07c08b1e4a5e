/** What the options of stores and of what is around them may be. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InvalidArgument, StoreError } from "../StoreError.ts"

/** An option of a store that cannot be: nothing has been opened. */
export const invalidOption = (argument: string, description: string): StoreError =>
  new StoreError({ operation: "open", reason: new InvalidArgument({ argument, description }) })

/** A whole number, or nothing. */
export const checkCount = (argument: string, value: number | undefined, least: 0 | 1): StoreError | undefined =>
  value === undefined || (Number.isSafeInteger(value) && value >= least)
    ? undefined
    : invalidOption(argument, `${argument} must be a whole number, at least ${least}`)

/** A duration, or nothing. `"positive"`: in no time at all nothing can be done. */
export const checkDuration = (
  argument: string,
  value: Duration.Input | undefined,
  least: "positive" | "zero"
): StoreError | undefined => {
  if (value === undefined) return undefined
  const millis = Number.isNaN(value) ? Option.none() : Option.map(Duration.fromInput(value), Duration.toMillis)
  const isValid = Option.exists(millis, (some) => (least === "positive" ? some > 0 : some >= 0))
  const what = least === "positive" ? "more than nothing" : "not negative"
  return isValid ? undefined : invalidOption(argument, `${argument} must be a duration such as "5 seconds", ${what}`)
}

interface DecoratorOptions {
  readonly timeout?: Duration.Input | undefined
  readonly retries?: number | undefined
  readonly retryFor?: Duration.Input | undefined
  readonly baseDelay?: Duration.Input | undefined
  readonly maxDelay?: Duration.Input | undefined
  readonly concurrency?: number | undefined
}

/** Fails with the first option of the decorators that cannot be. */
export const checkDecorators = (options: DecoratorOptions): Effect.Effect<void, StoreError> => {
  const problem =
    checkDuration("timeout", options.timeout, "positive") ??
    checkCount("retries", options.retries, 0) ??
    checkDuration("retryFor", options.retryFor, "zero") ??
    checkDuration("baseDelay", options.baseDelay, "positive") ??
    checkDuration("maxDelay", options.maxDelay, "positive") ??
    checkCount("concurrency", options.concurrency, 1)
  return problem === undefined ? Effect.void : Effect.fail(problem)
}
