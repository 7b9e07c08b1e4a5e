/** What the values of a field are compared as. */
import * as decimals from "./decimals.ts"
import { compareUtf8 } from "./text.ts"

export type Kind = "number" | "text" | "decimal" | "moment"

/** Tells whether texts of this kind stand for numbers: several texts can be the same. */
export const isMeasured = (kind: Kind | undefined): boolean => kind === "decimal" || kind === "moment"

/** Returns the number that a value of such a kind stands for; of a moment its milliseconds. */
export const measure = (value: unknown, kind: Kind | undefined): decimals.Decimal | undefined => {
  if (kind === "decimal") return decimals.fromValue(value)
  if (kind !== "moment" || typeof value !== "string") return undefined
  const millis = Date.parse(value.replace(/\[[^\]]*\]$/, ""))
  return Number.isNaN(millis) ? undefined : decimals.fromValue(millis)
}

/** Returns what gives the order of a value against the operand; `undefined` where the two have none. */
export const orderAgainst = (operand: unknown, kind: Kind | undefined): ((value: unknown) => number | undefined) => {
  if (isMeasured(kind)) {
    const bound = measure(operand, kind)
    if (bound === undefined) return () => undefined
    return (value) => {
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
