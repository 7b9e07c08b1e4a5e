/** Values of documents as targets have them: exactly, or not at all. */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import { documentLevels, type Json, stringifyExact } from "../../../encoding/Json.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"

/** A value that a target cannot hold. */
export class Misfit {
  readonly description: string
  constructor(description: string) {
    this.description = description
  }
}

const decimalText = /^([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/

/** An exact number without an exponent, and how many digits it has before and after the point. */
export interface Decimal {
  readonly text: string
  readonly whole: number
  readonly scale: number
}

export const decimalOf = (value: Json): Decimal | undefined => {
  const match = decimalText.exec(typeof value === "number" ? String(value) : typeof value === "string" ? value : "")
  if (match === null) return undefined
  const [, sign, before = "", after = "", exponent = "0"] = match
  const shift = Number(exponent)
  const digits = before + after
  const point = before.length + shift
  const padded = point <= 0 ? "0".repeat(1 - point) + digits : digits.padEnd(point, "0")
  const at = Math.max(1, point)
  const whole = padded.slice(0, at).replace(/^0+(?=\d)/, "")
  const part = padded.slice(at).replace(/0+$/, "")
  const text = part === "" ? whole : `${whole}.${part}`
  return { text: sign === "-" && /[1-9]/.test(text) ? `-${text}` : text, whole: whole.length, scale: part.length }
}

export const jsonText = (value: Json): string | Misfit => {
  const text = stringifyExact(value, documentLevels)
  return typeof text === "string" ? text : new Misfit("Expected a JSON value")
}

const numbers: ReadonlyMap<Json, number> = new Map([
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
  ["NaN", NaN]
])

/** How a target has what is not the same in all. */
export interface Binding<V> {
  /** What is missing, or `null`. */
  readonly nothing: V
  /** Well-formed text. */
  readonly text: (value: string) => V | Misfit
  readonly json: (value: Json) => V | Misfit
  readonly list: (value: Json, item: Extract<ReplicaTarget.Type, { readonly _tag: "List" }>["item"]) => V | Misfit
  readonly double: (value: number) => V | Misfit
  readonly integer: (value: number) => V
  readonly boolean: (value: boolean) => V
  readonly time: (millis: number) => V | Misfit
  /** `YYYY-MM-DD`. */
  readonly date: (value: string) => V
  readonly bytes: (bytes: Uint8Array) => V
  readonly decimal: (text: string, decimal: Decimal) => V | Misfit
  /** Digits in all and after the point, of decimals; `undefined`: any. */
  readonly digits: readonly [all: number, scale: number] | undefined
}

/** A value of a document in its JSON form, as a target has it. */
export const bind = <V>(binding: Binding<V>, type: ReplicaTarget.Type, value: Json | undefined): V | Misfit => {
  if (value === undefined || value === null) return binding.nothing
  switch (type._tag) {
    case "Text": {
      if (typeof value !== "string") {
        const text = jsonText(value)
        return text instanceof Misfit ? text : binding.text(text)
      }
      return value.isWellFormed() ? binding.text(value) : new Misfit("Expected well-formed text")
    }
    case "Json":
      return binding.json(value)
    case "List":
      return binding.list(value, type.item)
    case "Double": {
      const number = typeof value === "number" ? value : numbers.get(value)
      return number === undefined ? new Misfit("Expected a number") : binding.double(number)
    }
    case "Integer":
      return Number.isSafeInteger(value) ? binding.integer(value as number) : new Misfit("Expected an integer")
    case "Boolean":
      return typeof value === "boolean" ? binding.boolean(value) : new Misfit("Expected a boolean")
    case "Timestamp": {
      const millis = typeof value === "string" ? Date.parse(value) : NaN
      return Number.isNaN(millis) ? new Misfit("Expected a moment") : binding.time(millis)
    }
    case "Date":
      return typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value)
        ? binding.date(value)
        : new Misfit("Expected a day")
    case "Bytes": {
      const bytes = typeof value === "string" ? Result.getOrUndefined(Base64.decode(value)) : undefined
      return bytes === undefined ? new Misfit("Expected bytes in base 64") : binding.bytes(bytes)
    }
    case "Decimal": {
      const decimal = decimalOf(value)
      if (decimal === undefined) return new Misfit("Expected an exact number")
      const [all, scale] = binding.digits ?? [Infinity, Infinity]
      if (decimal.scale > Math.min(scale, type.scale) || decimal.whole > all - Math.min(scale, type.scale)) {
        return new Misfit(`Expected no more digits than the column has`)
      }
      return binding.decimal(decimal.text, decimal)
    }
  }
}
