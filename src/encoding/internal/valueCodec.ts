/**
 * The codecs of single values, by name: each has a readable form for a metadata entry and a binary form for the packed
 * encoding.
 */
import type { Json } from "../Json.ts"
import * as plainText from "./plainText.ts"
import type { ValueCodec } from "./values/codec.ts"
import * as composite from "./values/composite.ts"
import * as format from "./values/format.ts"
import * as number from "./values/number.ts"
import * as text from "./values/text.ts"
import * as time from "./values/time.ts"
import * as vector from "./values/vector.ts"

const simple: Readonly<Record<string, ValueCodec>> = {
  string: text.string,
  number: number.number,
  boolean: number.boolean,
  date: time.date,
  json: text.json,
  struct: composite.struct,
  uuid: format.uuid,
  ulid: format.ulid,
  dateonly: time.dateonly,
  timeonly: time.timeonly,
  duration: time.duration,
  ip4: format.ip4,
  ip6: format.ip6,
  cidr: format.cidr,
  mac: format.mac,
  color: format.color,
  phone: format.phone,
  semver: format.semver,
  ean: format.ean,
  bytes: format.bytes,
  password: format.password,
  secret: format.bytes
}

/** More decimals than these no attribute has; and no codec holds others deeper than this. */
const mostDecimals = 100
const deepest = 32

/**
 * Returns the codec of a name; `undefined` for an unknown one, which a newer release may have written. Names come from the
 * catalog, so nothing is taken for granted of them.
 */
export const named = (name: string, depth = 0): ValueCodec | undefined => {
  if (Object.hasOwn(simple, name)) return simple[name]
  if (depth > deepest) return undefined
  const colon = name.indexOf(":")
  const kind = name.slice(0, Math.max(0, colon))
  const rest = name.slice(colon + 1)
  const wrap = (of: (inner: ValueCodec) => ValueCodec): ValueCodec | undefined => {
    const inner = named(rest, depth + 1)
    return inner === undefined ? undefined : of(inner)
  }
  const scale = (of: (decimals: number) => ValueCodec, decimals = rest): ValueCodec | undefined =>
    /^\d{1,3}$/.test(decimals) && Number(decimals) <= mostDecimals ? of(Number(decimals)) : undefined
  switch (kind) {
    case "money":
      return scale((decimals) => number.scaled("$", decimals))
    case "decimal":
      return scale((decimals) => number.scaled("^", decimals))
    case "lat":
      return scale((decimals) => vector.degrees(90, decimals))
    case "lon":
      return scale((decimals) => vector.degrees(180, decimals))
    case "point":
      return scale(vector.point)
    case "vector": {
      const format = rest.split(":")[1] ?? ""
      return format === "int8" || format === "float16" || format === "float32"
        ? vector.machineVector(format)
        : scale(vector.fixedVector, format)
    }
    case "choice": {
      const values = text.parseJson(rest)
      return Array.isArray(values) ? composite.choice(values, choiceOf(values)) : undefined
    }
    case "array":
      return wrap(composite.array)
    case "option":
      return wrap(composite.option)
    default:
      return undefined
  }
}

const choiceOf = (values: ReadonlyArray<Json>): ValueCodec => {
  const kinds = new Set(values.map((value) => typeof value))
  if (kinds.size !== 1) return text.json
  return kinds.has("string")
    ? text.string
    : kinds.has("number")
      ? number.number
      : kinds.has("boolean")
        ? number.boolean
        : text.json
}

/** What any value can be stored as, for those that a codec cannot carry. */
export const general: ValueCodec = text.json

/** Writes a value as text: `n:` is null; `s:` and a text, or `j:` and JSON, where the codec has no short form. */
export const toText = (codec: ValueCodec, value: Json): string | undefined => {
  if (value === null) return "n:"
  const short = codec.toText(value)
  if (short !== undefined) return short
  if (typeof value === "string") return `s:${plainText.encode(value)}`
  const exact = text.json.toText(value)
  return exact === undefined ? undefined : `j:${exact}`
}

/** Reads a value from what `toText` wrote; `undefined` for what is no such text. */
export const fromText = (codec: ValueCodec, stored: string): Json | undefined => {
  if (stored.charCodeAt(1) === 0x3a /* : */) {
    if (stored === "n:") return null
    if (stored.startsWith("s:")) return plainText.decode(stored.slice(2))
    if (stored.startsWith("j:")) return text.json.fromText(stored.slice(2))
  }
  return codec.fromText(stored)
}
