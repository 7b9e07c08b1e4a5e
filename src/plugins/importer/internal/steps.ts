/** The steps of a mapping, as functions. */
import type { Json } from "../../../encoding/Json.ts"
import { isList } from "../../../internal/json.ts"
import type { Transform } from "../mapping.ts"

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
