/** Values of documents as DynamoDB has them. Source: Amazon DynamoDB Developer Guide, "Supported data types and naming rules". */
import type { Json, JsonObject } from "../../../encoding/Json.ts"
import { encodeBase64 } from "../../../internal/base64.ts"
import { valueAt } from "../../../internal/json.ts"
import { utf8Length } from "../../../internal/text.ts"
import type * as ReplicaTarget from "../../ReplicaTarget.ts"
import { bind, type Binding, Misfit } from "./values.ts"

/** As its JSON protocol writes one. */
export type AttributeValue =
  | { readonly S: string }
  | { readonly N: string }
  | { readonly B: string }
  | { readonly BOOL: boolean }
  | { readonly NULL: true }
  | { readonly M: { readonly [name: string]: AttributeValue } }
  | { readonly L: ReadonlyArray<AttributeValue> }

export type Item = { readonly [name: string]: AttributeValue }

const mostDigits = 38
const mostWhole = 126
const mostScale = 130
const mostLevels = 32
const mostKeyBytes = 2048

const numberOf = (value: number): AttributeValue | Misfit => {
  const size = Math.abs(value)
  if (size === 0) return { N: "0" }
  return size >= 1e-130 && size < 1e126
    ? { N: String(value) }
    : new Misfit("Expected a number from 1e-130 to 1e126, which DynamoDB can hold")
}

const jsonOf = (value: Json, level = 1): AttributeValue | Misfit => {
  if (value === null) return { NULL: true }
  if (typeof value === "boolean") return { BOOL: value }
  if (typeof value === "number") return numberOf(value)
  if (typeof value === "string") {
    return value.isWellFormed() ? { S: value } : new Misfit("Expected well-formed text")
  }
  if (level > mostLevels) return new Misfit(`Expected no more than ${mostLevels} levels, which DynamoDB can hold`)
  if (Array.isArray(value)) {
    const all: Array<AttributeValue> = []
    for (const one of value as ReadonlyArray<Json>) {
      const item = jsonOf(one, level + 1)
      if (item instanceof Misfit) return item
      all.push(item)
    }
    return { L: all }
  }
  const fields: Array<readonly [string, AttributeValue]> = []
  for (const [name, one] of Object.entries(value as JsonObject)) {
    if (name === "" || !name.isWellFormed()) return new Misfit("Expected names of well-formed text, not empty")
    const field = jsonOf(one, level + 1)
    if (field instanceof Misfit) return field
    fields.push([name, field])
  }
  return { M: Object.fromEntries(fields) }
}

const binding: Binding<AttributeValue | undefined> = {
  nothing: undefined,
  text: (value) => ({ S: value }),
  json: (value) => jsonOf(value),
  list: (value) => jsonOf(value),
  double: numberOf,
  integer: (value) => ({ N: String(value) }),
  boolean: (value) => ({ BOOL: value }),
  time: (millis) => ({ S: new Date(millis).toISOString() }),
  date: (value) => ({ S: value }),
  bytes: (bytes) => ({ B: encodeBase64(bytes) }),
  decimal: (text, { scale, whole }) => {
    const digits = text.replace(/[-.]/g, "").replace(/^0+|0+$/g, "").length
    return digits <= mostDigits && whole <= mostWhole && scale <= mostScale
      ? { N: text }
      : new Misfit(`Expected ${mostDigits} digits at most, which DynamoDB can hold`)
  },
  digits: undefined
}

/** The version of each item; of a deletion it is all there is beside the key. */
export const versionAttribute = "s3db_version"
export const deletedAttribute = "s3db_deleted"
export const expiresAttribute = "s3db_expires"

const ours: ReadonlySet<string> = new Set([versionAttribute, deletedAttribute, expiresAttribute])

/** Why a name cannot be that of an attribute. */
export const problemOfAttribute = (name: string, mostBytes: number): string | undefined => {
  if (name === "" || !name.isWellFormed() || utf8Length(name) > mostBytes) {
    return `Expected a name of well-formed text, 1 to ${mostBytes.toLocaleString("en-US")} bytes`
  }
  return ours.has(name) ? "Expected another name: this one is the replica's own" : undefined
}

/** Why a name cannot be that of a table. */
export const problemOfTable = (name: string): string | undefined =>
  /^[\w.-]{3,255}$/.test(name) ? undefined : "Expected 3 to 255 letters of A to Z, digits, _, - and ."

/** The key of a document. */
export const keyOf = ({ primaryKey }: ReplicaTarget.Shape, id: string): Item | Misfit =>
  id.isWellFormed() && id !== "" && utf8Length(id) <= mostKeyBytes
    ? { [primaryKey]: { S: id } }
    : new Misfit(`Expected 1 to ${mostKeyBytes.toLocaleString("en-US")} bytes of well-formed text as an id`)

/** A document as an item, but for its version. */
export const itemOf = (shape: ReplicaTarget.Shape, id: string, document: JsonObject): Item | Misfit => {
  const key = keyOf(shape, id)
  if (key instanceof Misfit) return key
  const attributes: Array<readonly [string, AttributeValue]> = Object.entries(key)
  for (const { name, path, type } of shape.columns) {
    const value = bind(binding, type, valueAt(document, path))
    if (value instanceof Misfit) return new Misfit(`${path.join(".")}: ${value.description}`)
    if (value !== undefined) attributes.push([name, value])
  }
  return Object.fromEntries(attributes)
}
