/** Values of documents as MongoDB has them. Sources: the specification of BSON 1.1; MongoDB Manual, "MongoDB Limits and Thresholds". */
import type * as Mongo from "mongodb"
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { valueAt } from "../../../internal/json.ts"
import { utf8Length } from "../../../internal/text.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"
import { bind, type Binding, Misfit } from "./values.ts"

/** The types of BSON that JavaScript has not, as the driver has them. */
export type Types = Pick<typeof Mongo, "Binary" | "Decimal128" | "Double" | "Long">

export type Document = { readonly [name: string]: unknown }

const mostDigits = 34
const mostScale = 6_000
const mostLevels = 100
const mostNameBytes = 255

/** The version of each document; of a deletion it is all there is beside the key. */
export const versionField = "s3db_version"
export const deletedField = "s3db_deleted"

const ours: ReadonlySet<string> = new Set(["_id", versionField, deletedField])

const isName = (name: string): boolean => name.isWellFormed() && !name.includes("\0")

/** Why a name cannot be that of a field. */
export const problemOfField = (name: string): string | undefined => {
  if (name === "" || !isName(name) || name.startsWith("$") || name.includes(".")) {
    return "Expected a name of well-formed text that does not begin with $ and has no dot"
  }
  return ours.has(name) ? "Expected another name: this one is the replica's own" : undefined
}

/** Why a name cannot be that of a collection of a database. */
export const problemOfCollection = (database: string, name: string): string | undefined => {
  if (name === "" || !isName(name) || name.includes("$") || name.startsWith("system.")) {
    return "Expected a name of well-formed text without $ that does not begin with system."
  }
  return utf8Length(`${database}.${name}`) > mostNameBytes
    ? `Expected ${mostNameBytes} bytes at most, with the name of the database`
    : undefined
}

const bindingOf = ({ Binary, Decimal128, Double, Long }: Types): Binding<unknown> => {
  const jsonOf = (value: Json, level: number): unknown => {
    if (typeof value === "number") return new Double(value)
    if (typeof value === "string") {
      return value.isWellFormed() ? value : new Misfit("Expected well-formed text")
    }
    if (typeof value !== "object" || value === null) return value
    if (level > mostLevels) return new Misfit(`Expected no more than ${mostLevels} levels, which MongoDB can hold`)
    const inner: Array<readonly [string, unknown]> = []
    for (const [name, one] of Object.entries(value as JsonObject)) {
      const item = isName(name) ? jsonOf(one, level + 1) : new Misfit("Expected names of well-formed text without NUL")
      if (item instanceof Misfit) return item
      inner.push([name, item])
    }
    return Array.isArray(value) ? inner.map(([, item]) => item) : Object.fromEntries(inner)
  }
  const binding: Binding<unknown> = {
    nothing: undefined,
    text: (value) => value,
    // The document itself is the first level.
    json: (value) => jsonOf(value, 2),
    list: (value, item) => {
      if (!Array.isArray(value) || item._tag === "Struct") return jsonOf(value, 2)
      const all: Array<unknown> = []
      for (const one of value as ReadonlyArray<Json>) {
        const bound = one === null ? null : bind(binding, item, one)
        if (bound instanceof Misfit) return bound
        all.push(bound)
      }
      return all
    },
    double: (value) => new Double(value),
    integer: (value) => Long.fromNumber(value),
    boolean: (value) => value,
    time: (millis) => new Date(millis),
    date: (value) => value,
    bytes: (bytes) => new Binary(bytes),
    decimal: (text, { scale }) =>
      text.replace(/[-.]/g, "").replace(/^0+/, "").length <= mostDigits && scale <= mostScale
        ? Decimal128.fromString(text)
        : new Misfit(`Expected ${mostDigits} digits at most, which MongoDB can hold`),
    digits: undefined
  }
  return binding
}

/** Makes what has a document as MongoDB is to have it, but for its key and version. */
export const make = (types: Types): ((shape: ReplicaTarget.Shape, document: JsonObject) => Document | Misfit) => {
  const binding = bindingOf(types)
  return ({ columns }, document) => {
    const fields: Array<readonly [string, unknown]> = []
    for (const { name, path, type } of columns) {
      const value = bind(binding, type, valueAt(document, path))
      if (value instanceof Misfit) return new Misfit(`${path.join(".")}: ${value.description}`)
      if (value !== undefined) fields.push([name, value])
    }
    return Object.fromEntries(fields)
  }
}
