/** The attributes of a resource of s3db.js: which fields there are, what each is stored as, and what they are in our notation. */
import * as Result from "effect/Result"
import { isRecord } from "../../internal/json.ts"
import * as Rules from "../../schema/Rules.ts"

/** How a value is stored. */
export type Kind =
  | { readonly _tag: "Text" | "Boolean" | "Json" | "Ip4" | "Ip6" | "Password" | "Date" }
  | { readonly _tag: "Number" | "Texts" | "Numbers" }
  /** A multiple of 1 / 10^places behind a sign of its own; `offset` was added to it. */
  | { readonly _tag: "Fixed"; readonly sign: "$" | "^" | "~"; readonly places: number; readonly offset: number }
  | { readonly _tag: "Points"; readonly places: number }
  | { readonly _tag: "Embedding" }
  | { readonly _tag: "Secret"; readonly of: "text" | "number" | "any" }
  /** Of later releases, each a number in base 62 or several of them. */
  | { readonly _tag: "Uuid" | "DateTime" | "DateOnly" | "TimeOnly" }

export interface Field {
  readonly path: ReadonlyArray<string>
  readonly kind: Kind
  readonly isNullable: boolean
}

/** What a resource's attributes come to. */
export interface Parsed {
  /** Leaves in the order of their declaration. */
  readonly fields: ReadonlyArray<Field>
  /** Paths of the objects that hold fields, in the order in which the original appends them. */
  readonly containers: ReadonlyArray<string>
  /** For `Resource.fromAttributes`. */
  readonly rules: Rules.Attributes
  /** What could not be carried over, by field. */
  readonly notes: ReadonlyArray<string>
}

/** A rule taken apart: its type, with what stands behind it, and its modifiers as they are written. */
interface Rule {
  readonly type: string
  readonly parameter: string | undefined
  readonly modifiers: ReadonlyArray<string>
  readonly items: unknown
}

const ofText = (text: string): Rule => {
  const [head = "", ...rest] = splitRule(text)
  const colon = head.indexOf(":")
  const items = rest.find((one) => one.startsWith("items:"))
  return {
    type: (colon < 0 ? head : head.slice(0, colon)).trim(),
    parameter: colon < 0 ? undefined : head.slice(colon + 1).trim(),
    modifiers: rest.filter((one) => !one.startsWith("items:")),
    items: items?.slice("items:".length)
  }
}

/** At `|`, but not within a pattern, which is the last modifier. */
const splitRule = (text: string): ReadonlyArray<string> => {
  const at = text.search(/\|\s*pattern:/)
  const parts = (at < 0 ? text : text.slice(0, at)).split("|").map((one) => one.trim())
  return at < 0 ? parts : [...parts, text.slice(at + 1).trim()]
}

const texted = (value: unknown): string => (Array.isArray(value) ? value.map(String).join(",") : String(value))

const ofObject = ({ items, type, ...options }: Readonly<Record<string, unknown>>): Rule => {
  const { modifiers: _, ...text } = ofText(String(type))
  const modifiers = Object.entries(options).flatMap(([name, value]) =>
    value === true
      ? [name]
      : value === false || value === undefined || value === null || isRecord(value)
        ? []
        : [`${name}:${texted(value)}`]
  )
  return { ...text, modifiers: [...ofText(String(type)).modifiers, ...modifiers], items: items ?? text.items }
}

const places = (parameter: string | undefined, otherwise: number): number => {
  const given = Number(parameter ?? otherwise)
  return Number.isInteger(given) && given >= 0 && given <= 18 ? given : otherwise
}

/** Names of types that are called otherwise here. */
const renamed: Readonly<Record<string, string>> = {
  any: "json",
  object: "json",
  custom: "json",
  class: "json",
  tuple: "json",
  multi: "json",
  record: "json",
  function: "json",
  forbidden: "json",
  equal: "string",
  objectID: "string",
  currency: "string",
  buffer: "bytes"
}

interface Type {
  readonly kind: Kind
  readonly type: string
}

const isNumeric = (items: unknown): boolean =>
  /^(number|integer)\b/.test(typeof items === "string" ? items : isRecord(items) ? String(items["type"]) : "")

const isTextual = (items: unknown): boolean =>
  /^(string|email|url)\b/.test(typeof items === "string" ? items : isRecord(items) ? String(items["type"]) : "")

const typeOf = ({ items, modifiers, parameter, type }: Rule): Type => {
  const simple = (tag: "Text" | "Boolean" | "Json" | "Ip4" | "Ip6" | "Date", name = type): Type => ({
    kind: { _tag: tag },
    type: name
  })
  const fixed = (sign: "$" | "^" | "~", decimals: number, offset = 0): Kind => ({
    _tag: "Fixed",
    sign,
    places: decimals,
    offset
  })
  switch (type) {
    case "number":
      return { kind: { _tag: "Number" }, type }
    case "boolean":
    case "bool":
      return simple("Boolean", "boolean")
    case "money":
      return { kind: fixed("$", places(parameter, 2)), type: `money:${places(parameter, 2)}` }
    case "crypto":
      return { kind: fixed("$", places(parameter, 8)), type: `crypto:${places(parameter, 8)}` }
    case "decimal":
      return { kind: fixed("^", places(parameter, 2)), type: `decimal:${places(parameter, 2)}` }
    case "geo": {
      const [what, given] = (parameter ?? "").split(":")
      const precision = places(given, 6)
      if (what === "point") return { kind: { _tag: "Points", places: precision }, type: `geo:point:${precision}` }
      return { kind: fixed("~", precision, what === "lat" ? 90 : 180), type: `geo:${what}:${precision}` }
    }
    case "embedding":
      return { kind: { _tag: "Embedding" }, type: parameter === undefined ? "embedding" : `embedding:${parameter}` }
    case "ip4":
      return simple("Ip4")
    case "ip6":
      return simple("Ip6")
    case "date":
      return simple("Date")
    case "datetime":
      return { kind: { _tag: "DateTime" }, type }
    case "dateonly":
      return { kind: { _tag: "DateOnly" }, type }
    case "timeonly":
      return { kind: { _tag: "TimeOnly" }, type }
    case "uuid":
      return { kind: { _tag: "Uuid" }, type }
    case "secret":
      return { kind: { _tag: "Secret", of: "text" }, type }
    case "secretNumber":
      return { kind: { _tag: "Secret", of: "number" }, type }
    case "secretAny":
      return { kind: { _tag: "Secret", of: "any" }, type }
    case "password":
      return { kind: { _tag: "Password" }, type: "password:bcrypt" }
    case "array": {
      const length = modifiers.find((one) => one.startsWith("length:"))?.slice("length:".length)
      if (isNumeric(items) && Number(length) >= 256) return { kind: { _tag: "Embedding" }, type: `embedding:${length}` }
      if (isNumeric(items)) return { kind: { _tag: "Numbers" }, type: "array|items:number" }
      return isTextual(items) ? { kind: { _tag: "Texts" }, type: "array|items:string" } : simple("Json", "json")
    }
    case "json":
      return simple("Json")
    case "enum": {
      const values = modifiers.find((one) => one.startsWith("values:"))
      return simple("Text", values !== undefined && isRule({ field: `enum|${values}` }) ? `enum|${values}` : "string")
    }
    default: {
      const name = Object.hasOwn(renamed, type) ? renamed[type]! : type
      if (name === "json") return simple("Json", name)
      return simple("Text", isRule({ field: name }) ? name : "string")
    }
  }
}

const isRule = (attributes: Rules.Attributes): boolean => Result.isSuccess(Rules.toSchemaResult(attributes as never))

/** What is in the type already: the length of an array that became an embedding, the values of an enumeration. */
const isSaid = (type: string, modifier: string): boolean =>
  (type.startsWith("embedding:") && /^(length|min|max):/.test(modifier)) ||
  (type.startsWith("enum|") && modifier.startsWith("values:"))

/** The rule in our notation: those of its modifiers that there are here for this type. */
const ruled = (path: string, { modifiers }: Rule, type: string, notes: Array<string>): string => {
  let rule = type
  for (const modifier of modifiers) {
    // Everything is required that is not optional, as here.
    if (modifier === "required" || modifier === "" || isSaid(type, modifier)) continue
    if (isRule({ field: `${rule}|${modifier}` })) rule = `${rule}|${modifier}`
    else notes.push(`${path}: "${modifier}" is left out, which there is not for ${type.split(/[:|]/)[0]}`)
  }
  return rule
}

/** Whether an object has fields of its own, in the place of being the definition of one. */
const isNested = (value: Readonly<Record<string, unknown>>): boolean => {
  const { type } = value
  return typeof type !== "string" || Object.hasOwn(value, "$$type") || isRecord(value[type])
}

export const reservedNames: ReadonlySet<string> = new Set(["id", "__proto__", "constructor", "prototype"])

const maxDepth = 16

/** Takes attributes apart. Throws nothing: what it does not know is JSON, or a text, and says so. */
export const parse = (attributes: Readonly<Record<string, unknown>>, areNestedOptional: boolean): Parsed => {
  const fields: Array<Field> = []
  const containers: Array<string> = []
  const notes: Array<string> = []

  const leaf = (path: ReadonlyArray<string>, rule: Rule): string => {
    const name = path.join(".")
    const { kind, type } = typeOf(rule)
    if (kind._tag === "Json" && rule.type !== "json") notes.push(`${name}: "${rule.type}" becomes json`)
    if (kind._tag === "Text" && type === "string" && rule.type !== "string") {
      notes.push(`${name}: "${rule.type}" becomes string`)
    }
    fields.push({ path, kind, isNullable: rule.modifiers.includes("nullable") })
    return ruled(name, rule, type, notes)
  }

  const walk = (given: Readonly<Record<string, unknown>>, path: ReadonlyArray<string>): Record<string, unknown> => {
    const rules: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(given)) {
      if (name === "$$type" || name === "$$async" || name === "$$strict") continue
      if (path.length === 0 && reservedNames.has(name)) continue
      const here = [...path, name]
      if (name === "" || reservedNames.has(name) || here.length > maxDepth) {
        notes.push(`${here.join(".")}: no field can have this name here, or lie so deep`)
      } else if (typeof value === "string" && value.trim() === "") notes.push(`${here.join(".")}: its rule is empty`)
      else if (typeof value === "string") rules[name] = leaf(here, ofText(value))
      else if (!isRecord(value)) notes.push(`${here.join(".")}: this is no rule`)
      else {
        const rule = isNested(value) ? nested(here, value, value["$$type"]) : declared(here, value)
        if (typeof rule === "string" || Object.keys(rule).some((key) => key !== "$$type")) rules[name] = rule
        else notes.push(`${here.join(".")}: it has no fields`)
      }
    }
    return rules
  }

  const nested = (path: ReadonlyArray<string>, given: Readonly<Record<string, unknown>>, said: unknown) => {
    containers.push(path.join("."))
    const isOptional = typeof said === "string" ? said.includes("optional") : areNestedOptional
    return { ...(isOptional ? { $$type: "object|optional" } : {}), ...walk(given, path) }
  }

  const declared = (path: ReadonlyArray<string>, given: Readonly<Record<string, unknown>>) => {
    const parts = given["props"] ?? given["properties"]
    if (given["type"] !== "object" || !isRecord(parts)) return leaf(path, ofObject(given))
    return nested(path, parts, given["optional"] === true ? "object|optional" : "object")
  }

  const rules = walk(attributes, [])
  return { fields, containers, rules, notes }
}
