/** What the values of a field are compared as. */
import * as decimals from "./decimals.ts"
import { compareUtf8 } from "./text.ts"

export type Kind = "number" | "text" | "decimal" | "moment" | "date"

/** Tells whether several texts of this kind can be the same. Of a date there is one, as `toISOString` has it. */
export const isMeasured = (kind: Kind | undefined): boolean => kind === "decimal" || kind === "moment"

/** A date of the years 0 to 9999. Such texts are in the order of what they stand for; those of other years are not. */
const commonDate = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/

/** Tells whether two values are dates that compare as their texts do. */
export const areCommonDates = (a: unknown, b: unknown): a is string =>
  typeof a === "string" && typeof b === "string" && commonDate.test(a) && commonDate.test(b)

/** Returns the milliseconds of a date in a form that `Date` reads, beginning with its year. */
const millisOf = (text: string): number => (/^(?:\d{4}|[+-]\d{6})(?:-|$)/.test(text) ? Date.parse(text) : Number.NaN)

/** Returns the number that a value of such a kind stands for; of a moment or date its milliseconds. */
export const measure = (value: unknown, kind: Kind | undefined): decimals.Decimal | undefined => {
  if (kind === "decimal") return decimals.fromValue(value)
  if ((kind !== "moment" && kind !== "date") || typeof value !== "string") return undefined
  const millis = kind === "date" ? millisOf(value) : Date.parse(value.replace(/\[[^\]]*\]$/, ""))
  return Number.isNaN(millis) ? undefined : decimals.fromValue(millis)
}

/** Returns what gives the order of a value against the operand; `undefined` where the two have none. */
export const orderAgainst = (operand: unknown, kind: Kind | undefined): ((value: unknown) => number | undefined) => {
  if (isMeasured(kind) || kind === "date") {
    const bound = measure(operand, kind)
    if (bound === undefined) return () => undefined
    return (value) => {
      if (kind === "date" && areCommonDates(value, operand)) return compareUtf8(value, operand as string)
      const decimal = measure(value, kind)
      return decimal === undefined ? undefined : decimals.compare(decimal, bound)
    }
  }
  if (typeof operand === "number" && kind !== "text") {
    return (value) =>
      typeof value !== "number"
        ? undefined
        : value < operand
          ? -1
          : value > operand
            ? 1
            : value === operand
              ? 0
              : undefined
  }
  if (typeof operand === "string" && kind !== "number") {
    return (value) => (typeof value === "string" ? compareUtf8(value, operand) : undefined)
  }
  return () => undefined
}
