/** Types of fields, guessed of the values that are there. */
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { isList, isObject } from "../../../internal/json.ts"

/** What a field was seen to hold. */
interface Seen {
  values: number
  /** Empty, `null` or not there. */
  readonly kinds: Map<string, number>
  /** Of objects. */
  readonly fields: Map<string, Seen>
  /** Of lists. */
  item: Seen | undefined
  /** As long as there are few. */
  distinct: Set<string> | undefined
}

const nothing = (): Seen => ({ values: 0, kinds: new Map(), fields: new Map(), item: undefined, distinct: new Set() })

/** The most specific first. */
const texts: ReadonlyArray<readonly [kind: string, form: RegExp]> = [
  ["boolean", /^(?:true|false)$/i],
  ["uuid", /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i],
  ["dateonly", /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/],
  ["date", /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?Z$/],
  ["email", /^[^\s@]+@[^\s@.]+(?:\.[^\s@.]+)+$/],
  ["url", /^https?:\/\/\S+$/i],
  ["ip4", /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)$/]
]

/** A number that stays what it is: without leading zeros, and no longer than a number is exact. */
const isNumber = (text: string): boolean =>
  /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/.test(text) && text.replace(/[-.]/g, "").length <= 15

const kindOf = (value: Json, isTable: boolean): string => {
  if (typeof value === "boolean") return "boolean"
  if (typeof value === "number") return Number.isSafeInteger(value) ? "integer" : "number"
  if (isList(value)) return "array"
  if (isObject(value)) return "object"
  const text = String(value)
  if (isTable && isNumber(text)) return text.includes(".") ? "number" : "integer"
  for (const [kind, form] of texts) {
    if (form.test(text) && (isTable || kind !== "boolean")) return kind
  }
  return "string"
}

const mostDistinct = 100_000

const see = (seen: Seen, value: Json | undefined, isTable: boolean): void => {
  seen.values += 1
  if (value === undefined || value === null || (isTable && value === "")) {
    seen.distinct = undefined
    return
  }
  const kind = kindOf(value, isTable)
  seen.kinds.set(kind, (seen.kinds.get(kind) ?? 0) + 1)
  if (isObject(value)) seeAll(seen.fields, value, seen.kinds.get("object")! - 1, isTable)
  if (isList(value)) {
    const item = (seen.item ??= nothing())
    for (const one of value) see(item, one, isTable)
  }
  const { distinct } = seen
  if (distinct === undefined) return
  const text = String(value)
  if (distinct.has(text) || distinct.size >= mostDistinct || typeof value === "object") seen.distinct = undefined
  else distinct.add(text)
}

const seeAll = (fields: Map<string, Seen>, record: JsonObject, before: number, isTable: boolean): void => {
  for (const [name, value] of Object.entries(record)) {
    let seen = fields.get(name)
    if (seen === undefined) {
      seen = nothing()
      // Those before have not had it.
      seen.values = before
      if (before > 0) seen.distinct = undefined
      fields.set(name, seen)
    }
    see(seen, value, isTable)
  }
  for (const [name, seen] of fields) {
    if (Object.hasOwn(record, name)) continue
    seen.values += 1
    seen.distinct = undefined
  }
}

const moments = new Set(["date", "dateonly"])

/** The type in the rule notation that has all of these kinds. */
const typeOf = (seen: Seen): string | undefined => {
  const kinds = [...seen.kinds.keys()]
  const [only] = kinds
  if (only === undefined) return "string"
  if (kinds.length > 1) {
    if (kinds.every((kind) => kind === "integer" || kind === "number")) return "number"
    if (kinds.every((kind) => moments.has(kind))) return "date"
    return kinds.some((kind) => kind === "array" || kind === "object") ? "json" : "string"
  }
  switch (only) {
    case "object":
      return undefined
    case "array": {
      const item = seen.item === undefined ? undefined : typeOf(seen.item)
      return item === undefined || /^(?:array|json)/.test(item) ? "json" : `array|items:${item}`
    }
    case "email":
    case "url":
    case "uuid":
    case "ip4":
    case "date":
    case "dateonly":
    case "boolean":
    case "integer":
    case "number":
      return only
    default:
      return "string"
  }
}

export interface Guess {
  /** In the rule notation, without the id. */
  readonly attributes: JsonObject
  /** The column that is the id: each row has another value there. */
  readonly key: string | undefined
  /** Fields that have to be called otherwise than their columns. */
  readonly renamed: Readonly<Record<string, string>>
}

const attributesOf = (fields: ReadonlyMap<string, Seen>, rows: number): Record<string, Json> => {
  const attributes: Record<string, Json> = {}
  for (const [name, seen] of fields) {
    const count = [...seen.kinds.values()].reduce((sum, one) => sum + one, 0)
    const type = typeOf(seen)
    const isOptional = count < rows
    if (type === undefined) {
      const inner = attributesOf(seen.fields, count)
      attributes[name] =
        Object.keys(inner).length === 0
          ? isOptional
            ? "json|optional"
            : "json"
          : isOptional
            ? { $$type: "object|optional", ...inner }
            : inner
    } else attributes[name] = isOptional ? `${type}|optional` : type
  }
  return attributes
}

/** Collects what rows show. */
export const make = (isTable: boolean) => {
  const fields = new Map<string, Seen>()
  let rows = 0
  return {
    add: (record: JsonObject): void => {
      seeAll(fields, record, rows, isTable)
      rows += 1
    },
    rows: () => rows,
    guess: (): Guess => {
      const isKey = (name: string): boolean => {
        const seen = fields.get(name)
        return seen?.distinct !== undefined && seen.distinct.size === rows && rows > 0 && !seen.kinds.has("boolean")
      }
      const key = keys.find(isKey)
      const renamed: Record<string, string> = {}
      const named = new Map<string, Seen>()
      if (key !== undefined && key !== "id") renamed["id"] = key
      for (const [name, seen] of fields) {
        if (name === key) continue
        const plain = name.replace(/^[$_]+/, "").replace(/[.\p{Cc}]+/gu, "_")
        let field = plain === "" || plain === "id" ? `column_${plain}` : plain
        while (field !== name && (named.has(field) || fields.has(field))) field += "_"
        if (field !== name) renamed[field] = name
        named.set(field, seen)
      }
      return { attributes: attributesOf(named, rows), key, renamed }
    }
  }
}

const keys = ["id", "ID", "Id", "_id", "uuid", "UUID", "key", "sku", "SKU", "code"]
