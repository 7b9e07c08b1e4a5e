/** Mappings as data: which field is made of which column, and how. */
import * as Schema from "effect/Schema"
import type { Json } from "../../encoding/Json.ts"
import { isList } from "../../internal/json.ts"

/**
 * A step that makes a value of another, as data. What is not there stays so, but for `default`. A value that a step is not for is a fault of the
 * row.
 *
 * - `trim`: without spaces at both ends; `collapse`: runs of spaces within become one as well
 * - `lowercase`, `uppercase`
 * - `text`: a number or boolean becomes its text
 * - `integer`: a whole number, such as `007`, becomes a number; leading zeros go
 * - `boolean`: `yes`, `y`, `true`, `on`, `1` and `no`, `n`, `false`, `off`, `0`, whatever their case
 * - `json`: text becomes what it says as JSON
 * - `{ number: { decimal, thousands } }`: text such as `1.234,50`; it stays exact. Defaults: `.` and none
 * - `{ date: "DD.MM.YYYY" }`: text of `YYYY`, `MM` or `M`, `DD` or `D`, `HH`, `mm`, `ss` and what is between becomes a date, or, with hours, a
 *   moment in UTC
 * - `{ epoch: "seconds" }` or `"milliseconds"`: a number becomes a moment
 * - `{ split: "," }`: text becomes a list, its parts trimmed, empty ones left out; `{ join: " " }`: the other way round
 * - `{ at: 0 }`: one item of a list, from the end when less than 0
 * - `{ slice: [0, 3] }`: a part of a text, in UTF-16 code units
 * - `{ replace: ["a", "b"] }`: every place where a text is found; `{ prefix: "x" }`, `{ suffix: "x" }`
 * - `{ lookup: { a: 1 }, otherwise: 0 }`: what stands for a text; without `otherwise` another text is a fault
 * - `{ nullIf: ["", "N/A"] }`: one of these texts is no value
 * - `{ default: 0 }`: in the place of no value, and of an empty text
 *
 * @category models
 * @since 0.1.0
 */
export const Transform = Schema.Union([
  Schema.Literals(["trim", "collapse", "lowercase", "uppercase", "text", "integer", "boolean", "json"]),
  Schema.Struct({
    number: Schema.Struct({ decimal: Schema.optionalKey(Schema.String), thousands: Schema.optionalKey(Schema.String) })
  }),
  Schema.Struct({ date: Schema.NonEmptyString }),
  Schema.Struct({ epoch: Schema.Literals(["seconds", "milliseconds"]) }),
  Schema.Struct({ split: Schema.NonEmptyString }),
  Schema.Struct({ join: Schema.String }),
  Schema.Struct({ at: Schema.Int }),
  Schema.Struct({ slice: Schema.Tuple([Schema.Int, Schema.Int]) }),
  Schema.Struct({ replace: Schema.Tuple([Schema.NonEmptyString, Schema.String]) }),
  Schema.Struct({ prefix: Schema.String }),
  Schema.Struct({ suffix: Schema.String }),
  Schema.Struct({ lookup: Schema.Record(Schema.String, Schema.Json), otherwise: Schema.optionalKey(Schema.Json) }),
  Schema.Struct({ nullIf: Schema.Array(Schema.String) }),
  Schema.Struct({ default: Schema.Json })
])

/**
 * One step.
 *
 * @category models
 * @since 0.1.0
 */
export type Transform = typeof Transform.Type

const Field = Schema.Union([
  Schema.String,
  Schema.Struct({
    from: Schema.optionalKey(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
    constant: Schema.optionalKey(Schema.Json),
    transforms: Schema.optionalKey(Schema.Array(Transform))
  })
])

/**
 * How documents are made of records, as data.
 *
 * - `fields`: for each field, nested ones by dotted paths, the column it is taken from, or `{ from, transforms }`, or `{ constant }`. `from` is a column, of
 *   JSON a path; several give the list of their values. Without it the column is called as the field
 * - `others`: what becomes of columns that no field is taken from. `drop`, the default, leaves them out; `keep` takes them for fields of their name
 *
 * @category models
 * @since 0.1.0
 */
export const Mapping = Schema.Struct({
  fields: Schema.Record(Schema.String, Field),
  others: Schema.optionalKey(Schema.Literals(["keep", "drop"]))
})

/**
 * How documents are made of records, as data.
 *
 * @category models
 * @since 0.1.0
 */
export type Mapping = typeof Mapping.Type

// -----------------------------------------------------------------------------
// Steps
// -----------------------------------------------------------------------------

/** What a step says of a value that it is not for. */
export class Misfit {
  readonly expected: string
  constructor(expected: string) {
    this.expected = expected
  }
}

export type Step = (value: Json | undefined) => Json | undefined | Misfit

const ofText =
  (expected: string, f: (text: string) => Json | undefined | Misfit): Step =>
  (value) => {
    if (value === undefined || value === null) return value
    if (typeof value === "string") return f(value)
    return typeof value === "number" || typeof value === "boolean" ? f(String(value)) : new Misfit(expected)
  }

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

const number = ({ decimal = ".", thousands = "" }: { readonly decimal?: string; readonly thousands?: string }): Step =>
  ofText("a number", (text) => {
    const digits = thousands === "" ? text.trim() : text.trim().replaceAll(thousands, "")
    const found = decimal === "." ? digits : digits.replace(decimal, ".")
    if (found === "") return ""
    return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(found) ? found.replace(/^\+/, "") : new Misfit("a number")
  })

const parts = {
  YYYY: "(\\d{4})",
  MM: "(\\d\\d)",
  DD: "(\\d\\d)",
  M: "(\\d\\d?)",
  D: "(\\d\\d?)",
  HH: "(\\d\\d?)",
  mm: "(\\d\\d)",
  ss: "(\\d\\d)"
}

type Part = keyof typeof parts

const date = (pattern: string): Step => {
  const names: Array<Part> = []
  const source = pattern.replace(/YYYY|MM|DD|HH|mm|ss|M|D|[^YMDHms]+|./g, (token) => {
    if (!Object.hasOwn(parts, token)) return escaped(token)
    names.push(token as Part)
    return parts[token as Part]
  })
  const form = new RegExp(`^${source}$`)
  const expected = `a date as ${pattern}`
  return ofText(expected, (text) => {
    const given = text.trim()
    if (given === "") return ""
    const found = form.exec(given)
    if (found === null) return new Misfit(expected)
    const at = (...of: ReadonlyArray<Part>): number => {
      const index = names.findIndex((name) => of.includes(name))
      return index < 0 ? Number.NaN : Number(found[index + 1])
    }
    const or = (value: number, other: number) => (Number.isNaN(value) ? other : value)
    const [year, month, day] = [at("YYYY"), at("MM", "M"), or(at("DD", "D"), 1)]
    const hours = at("HH")
    const [hour, minute, second] = [or(hours, 0), or(at("mm"), 0), or(at("ss"), 0)]
    const moment = new Date(0)
    moment.setUTCFullYear(year, month - 1, day)
    moment.setUTCHours(hour, minute, second)
    const isSame = moment.getUTCDate() === day && moment.getUTCMonth() === month - 1 && moment.getUTCHours() === hour
    if (!isSame || minute > 59 || second > 59) return new Misfit(expected)
    const iso = moment.toISOString()
    return Number.isNaN(hours) ? iso.slice(0, 10) : iso
  })
}

const yes = new Set(["yes", "y", "true", "t", "on", "1"])
const no = new Set(["no", "n", "false", "f", "off", "0"])

/** The step that data says. */
export const stepOf = (transform: Transform): Step => {
  switch (transform) {
    case "trim":
      return ofText("text", (text) => text.trim())
    case "collapse":
      return ofText("text", (text) => text.trim().replace(/\s+/g, " "))
    case "lowercase":
      return ofText("text", (text) => text.toLowerCase())
    case "uppercase":
      return ofText("text", (text) => text.toUpperCase())
    case "text":
      return ofText("text", (text) => text)
    case "integer":
      return ofText("a whole number", (text) => {
        const found = text.trim()
        if (found === "") return ""
        return /^[+-]?\d+$/.test(found) && Number.isSafeInteger(Number(found))
          ? Number(found)
          : new Misfit("a whole number")
      })
    case "boolean":
      return ofText("yes or no", (text) => {
        const found = text.trim().toLowerCase()
        if (found === "") return ""
        return yes.has(found) ? true : no.has(found) ? false : new Misfit("yes or no")
      })
    case "json":
      return ofText("JSON", (text) => {
        if (text.trim() === "") return ""
        try {
          return JSON.parse(text) as Json
        } catch {
          return new Misfit("JSON")
        }
      })
  }
  if ("number" in transform) return number(transform.number)
  if ("date" in transform) return date(transform.date)
  if ("epoch" in transform) {
    const unit = transform.epoch === "seconds" ? 1000 : 1
    const expected = `${transform.epoch} since 1970`
    return ofText(expected, (text) => {
      if (text.trim() === "") return ""
      const millis = Math.round(Number(text) * unit)
      return Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : new Misfit(expected)
    })
  }
  if ("split" in transform) {
    return ofText("text", (text) => {
      const items = text.split(transform.split).map((item) => item.trim())
      return items.filter((item) => item !== "")
    })
  }
  if ("join" in transform) {
    return (value) => {
      if (value === undefined || value === null) return value
      if (!isList(value)) return new Misfit("a list")
      return value.filter((item) => item !== null && item !== "").join(transform.join)
    }
  }
  if ("at" in transform) {
    return (value) =>
      value === undefined || value === null ? value : isList(value) ? value.at(transform.at) : new Misfit("a list")
  }
  if ("slice" in transform) return ofText("text", (text) => text.slice(...transform.slice))
  if ("replace" in transform) {
    const [from, to] = transform.replace
    return ofText("text", (text) => text.replaceAll(from, () => to))
  }
  if ("prefix" in transform) return ofText("text", (text) => (text === "" ? "" : transform.prefix + text))
  if ("suffix" in transform) return ofText("text", (text) => (text === "" ? "" : text + transform.suffix))
  if ("lookup" in transform) {
    const table = new Map(Object.entries(transform.lookup))
    return ofText("text", (text) => {
      if (table.has(text)) return table.get(text)
      return "otherwise" in transform ? transform.otherwise : new Misfit(`one of ${[...table.keys()].join(", ")}`)
    })
  }
  if ("nullIf" in transform) {
    const none = new Set(transform.nullIf)
    return (value) => (typeof value === "string" && none.has(value) ? undefined : value)
  }
  const other = transform.default
  return (value) => (value === undefined || value === null || value === "" ? other : value)
}
