/**
 * When a document is due: what its time is, in a document in hand and in the due index, which have to agree.
 *
 * **Details**
 *
 * The index holds the time that an age counts from, not the time at which a document expires: an age can change without the
 * index being built anew.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Companion from "../../Companion.ts"
import type { Document } from "../../Document.ts"
import { valueAt } from "../../internal/json.ts"

/**
 * What the age of a document counts from: when it was inserted or last written, or the time in a field, by its path.
 *
 * @category models
 * @since 0.1.0
 */
export type Since = "$createdAt" | "$updatedAt" | (string & {})

/**
 * The due index of a resource: the field whose time it holds, and the field that takes a document out of it when it is set.
 *
 * @category models
 * @since 0.1.0
 */
export interface Index {
  readonly since: Since
  readonly unless: string | undefined
}

/**
 * Returns the name of the companion that is a due index.
 *
 * @category getters
 * @since 0.1.0
 */
export const nameOf = ({ since, unless }: Index): string =>
  unless === undefined ? `ttl.${since}` : `ttl.${since}.unless.${unless}`

/** Without an offset a text is another time in each zone. */
const isoTime = /^[+-]?\d{4,6}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/

/**
 * Returns the milliseconds since 1970 of a time in any form that a field may have it in: a date, milliseconds, or a text in ISO 8601 with
 * an offset. Anything else is no time.
 *
 * @category conversions
 * @since 0.1.0
 */
export const millisOf = (value: unknown): number | undefined => {
  const millis =
    typeof value === "number"
      ? value
      : DateTime.isDateTime(value)
        ? value.epochMilliseconds
        : value instanceof Date
          ? value.getTime()
          : typeof value === "string" && isoTime.test(value)
            ? Date.parse(value)
            : Number.NaN
  return Number.isFinite(millis) ? millis : undefined
}

const at = (value: unknown, path: string): unknown => valueAt(value, path.split("."))

/**
 * Tells whether a document was taken out of its index: whether it is marked.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOut = (value: unknown, unless: string | undefined): boolean => {
  const mark = unless === undefined ? undefined : at(value, unless)
  return mark !== undefined && mark !== null
}

/**
 * Creates the companion that is a due index: one key for each document that has a time and was not taken out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const companion = ({ since, unless }: Index): Companion.Companion =>
  Companion.make({
    fields: unless === undefined ? [since] : [since, unless],
    keys: ({ json }) => {
      const millis = millisOf(at(json, since))
      return isOut(json, unless) || millis === undefined ? [] : [[millis]]
    }
  })

/**
 * Returns the time of a document that its age counts from; `undefined` for one that has none, or was taken out.
 *
 * @category getters
 * @since 0.1.0
 */
export const baseOf = (
  { since, unless }: Index,
  value: unknown,
  times: { readonly createdAt: number; readonly writtenAt: number }
): number | undefined => {
  if (isOut(value, unless)) return undefined
  if (since === "$createdAt") return times.createdAt
  if (since === "$updatedAt") return times.writtenAt
  return millisOf(at(value, since))
}

/**
 * Returns the times of the envelope of a document, in milliseconds.
 *
 * @category getters
 * @since 0.1.0
 */
export const timesOf = ({ createdAt, writtenAt }: Document<unknown>) => ({
  createdAt: createdAt.epochMilliseconds,
  writtenAt: writtenAt.epochMilliseconds
})
