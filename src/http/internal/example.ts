/**
 * Examples for the OpenAPI document, made of a JSON Schema. They are there to show the form: who wants real ones gives them.
 *
 * @since 0.1.0
 */
import type * as JsonSchema from "effect/JsonSchema"
import type { Json } from "../../encoding/Json.ts"

const byFormat: Readonly<Record<string, string>> = {
  date: "2026-01-15",
  "date-time": "2026-01-15T10:30:00.000Z",
  time: "10:30:00",
  email: "ada@example.com",
  uri: "https://www.example.com/",
  uuid: "550e8400-e29b-41d4-a716-446655440000",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
  password: "correct horse battery staple"
}

const deepest = 8

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const textOf = (schema: Readonly<Record<string, unknown>>): string => {
  const { format, maxLength, minLength } = schema
  const text = (typeof format === "string" ? byFormat[format] : undefined) ?? "text"
  const padded = typeof minLength === "number" ? text.padEnd(minLength, "t") : text
  return typeof maxLength === "number" ? padded.slice(0, maxLength) : padded
}

const numberOf = ({ exclusiveMinimum, maximum, minimum }: Readonly<Record<string, unknown>>): number => {
  if (typeof minimum === "number" && minimum > 1) return minimum
  if (typeof exclusiveMinimum === "number" && exclusiveMinimum >= 1) return exclusiveMinimum + 1
  return typeof maximum === "number" && maximum < 1 ? maximum : 1
}

/**
 * A value that has the form of the schema, without what is optional deeper down; `undefined` where nothing is said that could be
 * shown.
 */
export const exampleOf = ({ definitions, schema }: JsonSchema.Document<"draft-2020-12">): Json | undefined => {
  const go = (given: unknown, depth: number): Json | undefined => {
    if (!isObject(given) || depth > deepest) return undefined
    const { $ref } = given
    if (typeof $ref === "string") return go(definitions[decodeURIComponent($ref.split("/").at(-1) ?? "")], depth + 1)
    if (Array.isArray(given["examples"])) return given["examples"][0] as Json
    if ("default" in given) return given["default"] as Json
    if ("const" in given) return given["const"] as Json
    if (Array.isArray(given["enum"])) return given["enum"][0] as Json
    for (const several of [given["anyOf"], given["oneOf"]]) {
      if (Array.isArray(several)) return several.map((one) => go(one, depth + 1)).find((one) => one !== undefined)
    }
    const whole: Readonly<Record<string, unknown>> = Array.isArray(given["allOf"])
      ? Object.assign({}, given, ...given["allOf"])
      : given
    switch (whole["type"]) {
      case "string":
        return textOf(whole)
      case "integer":
      case "number":
        return numberOf(whole)
      case "boolean":
        return true
      case "null":
        return null
      case "array": {
        const { items, minItems } = whole
        const item = go(items, depth + 1)
        return item === undefined ? [] : Array.from({ length: Math.max(1, Number(minItems ?? 1)) }, () => item)
      }
      case "object": {
        const { properties } = whole
        if (!isObject(properties)) return {}
        return Object.fromEntries(
          Object.entries(properties).flatMap(([name, property]) => {
            const value = go(property, depth + 1)
            return value === undefined ? [] : [[name, value] as const]
          })
        )
      }
      default:
        return undefined
    }
  }
  return go(schema, 0)
}
