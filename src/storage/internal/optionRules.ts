/** What the options of stores and of what is around them may be. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { utf8Length } from "../../internal/text.ts"
import { maxKeyBytes } from "../ObjectStore.ts"
import { InvalidArgument, StoreError } from "../StoreError.ts"

/** An option of a store that cannot be: nothing has been opened. */
export const invalidOption = (argument: string, description: string): StoreError =>
  new StoreError({ operation: "open", reason: new InvalidArgument({ argument, description }) })

/** A whole number, or nothing. */
export const checkCount = (argument: string, value: number | undefined, least: 0 | 1): StoreError | undefined =>
  value === undefined || (Number.isSafeInteger(value) && value >= least)
    ? undefined
    : invalidOption(argument, `${argument} must be a whole number, at least ${least}`)

/** What a region is called: it is a part of the host's name. */
export const regionPattern = /^[A-Za-z0-9_-]{1,64}$/

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

/** One of some words, or nothing. A program without types may write another one. */
export const checkChoice = <A extends string>(
  argument: string,
  value: A | undefined,
  choices: Readonly<Record<A, unknown>>
): StoreError | undefined =>
  value === undefined || Object.hasOwn(choices, value)
    ? undefined
    : invalidOption(argument, `${argument} must be one of ${Object.keys(choices).join(", ")}`)

interface DecoratorOptions {
  readonly timeout?: Duration.Input | undefined
  readonly retries?: number | undefined
  readonly retryFor?: Duration.Input | undefined
  readonly baseDelay?: Duration.Input | undefined
  readonly maxDelay?: Duration.Input | undefined
  readonly concurrency?: number | undefined
  readonly prefix?: string | undefined
}

/** Bytes of a key that a prefix has to leave: a resource and an id of some length have to be told apart. */
const leastKeyBytes = 256

/** Whether a part of a path means another place to what resolves it, as clients of HTTP do. */
export const hasDots = (path: string): boolean => /(?:^|\/)\.\.?(?:\/|$)/.test(path)

const checkPrefix = (prefix = ""): StoreError | undefined => {
  if (!prefix.isWellFormed() || prefix.includes("\0")) {
    return invalidOption("prefix", "the prefix must be valid Unicode, without NUL")
  }
  if (hasDots(prefix)) {
    return invalidOption(
      "prefix",
      "the prefix must not have . or .. between slashes: what asks for it may go elsewhere"
    )
  }
  const most = maxKeyBytes - leastKeyBytes
  return utf8Length(prefix) > most
    ? invalidOption("prefix", `the prefix has at most ${most} bytes, so that there is room for keys`)
    : undefined
}

/** Fails with the first option of the decorators that cannot be. */
export const checkDecorators = (options: DecoratorOptions): Effect.Effect<void, StoreError> => {
  const problem =
    checkDuration("timeout", options.timeout, "positive") ??
    checkCount("retries", options.retries, 0) ??
    checkDuration("retryFor", options.retryFor, "zero") ??
    checkDuration("baseDelay", options.baseDelay, "positive") ??
    checkDuration("maxDelay", options.maxDelay, "positive") ??
    checkCount("concurrency", options.concurrency, 1) ??
    checkPrefix(options.prefix)
  return problem === undefined ? Effect.void : Effect.fail(problem)
}
