/** The short forms of the command line: conditions such as `age>=18`, and values such as `city=Recife`. Pure. */
import type { Json } from "../../encoding/Json.ts"

/** One condition: the JSON forms that it may have, the first that fits its field being meant. */
export type Condition = ReadonlyArray<{ readonly [path: string]: Json }>

const operators: Readonly<Record<string, string>> = {
  "=": "eq",
  "!=": "ne",
  ">": "gt",
  ">=": "gte",
  "<": "lt",
  "<=": "lte",
  "^=": "startsWith",
  "~=": "contains"
}

export const conditionHelp =
  'JSON such as \'{"age":{"gte":18}}\', or field=value, !=, >, >=, <, <=, ^= (begins with), ~= (contains), "field in a,b", "field not in a,b", field? (is there), !field (is not)'

const comparison = /^\s*([^\s=<>!~^?]+)\s*(>=|<=|!=|\^=|~=|=|>|<)\s*([\s\S]*?)\s*$/
const membership = /^\s*([^\s=<>!~^?]+)\s+(not\s+)?in\s+([\s\S]+?)\s*$/i
const presence = /^\s*([^\s=<>!~^?]+)\?\s*$/
const absence = /^\s*!([^\s=<>!~^?]+)\s*$/

/** What a text may mean: JSON where it is some, and the text itself; in double quotes the text within. */
export const readings = (text: string): ReadonlyArray<Json> => {
  if (text === "") return [""]
  try {
    const value = JSON.parse(text) as Json
    return typeof value === "string" ? [value] : [value, text]
  } catch {
    return [text]
  }
}

/** Reads a condition; `undefined`: it is none. */
export const condition = (text: string): Condition | undefined => {
  if (text.trimStart().startsWith("{")) {
    try {
      return [JSON.parse(text) as { readonly [path: string]: Json }]
    } catch {
      return undefined
    }
  }
  const among = membership.exec(text)
  if (among !== null) {
    const [, path = "", not, list = ""] = among
    const items = list.split(",").map((item) => readings(item.trim()))
    const operator = not === undefined ? "in" : "notIn"
    const first = items.map((all) => all[0]!)
    const last = items.map((all) => all.at(-1)!)
    return [{ [path]: { [operator]: first } }, { [path]: { [operator]: last } }]
  }
  const compared = comparison.exec(text)
  if (compared !== null) {
    const [, path = "", sign = "", value = ""] = compared
    const operator = operators[sign]!
    // What begins, or is part of a text, is text.
    const all = operator === "startsWith" ? readings(value).slice(-1) : readings(value)
    return all.map((one) => ({ [path]: { [operator]: one } }))
  }
  const there = presence.exec(text)
  if (there !== null) return [{ [there[1]!]: { exists: true } }]
  const missing = absence.exec(text)
  if (missing !== null) return [{ [missing[1]!]: { exists: false } }]
  return undefined
}

/** `name=value`; `undefined`: it is none. */
export const assignment = (text: string): readonly [name: string, value: string] | undefined => {
  const at = text.indexOf("=")
  return at <= 0 ? undefined : [text.slice(0, at).trim(), text.slice(at + 1)]
}

/** Whether no field can have this name, or path: assigned to an object it would be lost. */
export const isForbidden = (path: string): boolean => path.split(".").includes("__proto__")

/** Codecs of fields whose JSON form may be a number or a boolean. All others have texts, lists and objects. */
const plain = /^(number|boolean|json|lat|lon|choice|option|struct)/

/** The value of a field, as its codec has it in JSON. */
export const valueFor = (codec: string | undefined, text: string): Json => {
  const [first] = readings(text)
  const isPlain = typeof first === "number" || typeof first === "boolean"
  return isPlain && codec !== undefined && !plain.test(codec) ? text : (first ?? text)
}
