/**
 * JSON that is kept with something else, and so has to be small.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import type { Json } from "../../encoding/Json.ts"
import { isPlain } from "../../internal/json.ts"
import { utf8Length } from "../../internal/text.ts"

/**
 * The most bytes as JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostBytes = 2048

/**
 * Why a value is not kept.
 *
 * @category models
 * @since 0.1.0
 */
export type Omitted = "notJson" | "tooLarge"

/** Ends the writing of a value. */
class Unfit {
  readonly why: Omitted
  constructor(why: Omitted) {
    this.why = why
  }
}

/** Whether a value is none of what JSON has; its members are looked at by themselves. */
const isStrange = (value: unknown, isInList: boolean): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return false
    case "number":
      return !Number.isFinite(value)
    case "undefined":
      return isInList
    case "object":
      return !(value === null || Array.isArray(value) || isPlain(value))
    default:
      return true
  }
}

/**
 * Returns a copy of a value that is JSON of at most `mostBytes`, or why it is none. Members that are `undefined` are left out. It may be any value, also
 * one that cannot be looked at.
 *
 * @category conversions
 * @since 0.1.0
 */
export const smallJson = (given: unknown): Result.Result<Json, Omitted> => {
  let least = 0
  try {
    if (given === undefined) return Result.fail("notJson")
    const text = JSON.stringify(given, function (this: unknown, name, value: unknown) {
      const isInList = Array.isArray(this)
      // What says itself what it is as JSON is another value.
      if (!Object.is(Reflect.get(Object(this), name), value) || isStrange(value, isInList)) throw new Unfit("notJson")
      // Nothing long is written out for nothing.
      least += 1 + (isInList ? 0 : name.length) + (typeof value === "string" ? value.length : 0)
      if (least > mostBytes + 1) throw new Unfit("tooLarge")
      return value
    })
    return utf8Length(text) > mostBytes ? Result.fail("tooLarge") : Result.succeed(JSON.parse(text) as Json)
  } catch (error) {
    return Result.fail(error instanceof Unfit ? error.why : "notJson")
  }
}
