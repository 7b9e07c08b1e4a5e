/** The schema of a resource in the notations of others. */
import type * as Schema from "effect/Schema"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isObject, mapValues } from "../../internal/json.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Attributes from "../../schema/Attributes.ts"
import * as Wire from "../../Wire.ts"

export const formats = ["json", "typescript", "sql", "bigquery", "json-schema"] as const

export type Format = (typeof formats)[number]

type Defined = Definition<DynamicSchema>

/** Returns the schema, as a value where it is JSON. */
export const write = (definition: Defined, format: Format): string | JsonObject => {
  switch (format) {
    case "json":
      return { name: definition.name, primaryKey: definition.primaryKey, definition: definition.portable ?? null }
    case "json-schema":
      return jsonSchemaOf(definition)
    case "typescript":
      return typescript(definition)
    case "sql":
      return table(definition, postgres, (name) => `"${name.replaceAll('"', '""')}"`, "PRIMARY KEY")
    case "bigquery":
      return table(definition, bigquery, (name) => `\`${name.replaceAll(/[`\\]/g, "")}\``, "")
  }
}

/** The JSON Schema of a schema, which is JSON: effect calls its parts `unknown`. */
export const jsonSchema = (
  schema: Schema.Constraint
): { readonly schema: JsonObject; readonly definitions: JsonObject } => {
  const written = Wire.jsonSchema(schema)
  return {
    schema: written.schema as JsonObject,
    definitions: mapValues(written.definitions, (one) => one as JsonObject)
  }
}

/** The JSON Schema of documents as they are shown: without secrets and passwords. */
const jsonSchemaOf = (definition: Defined): JsonObject => {
  const { definitions, schema } = jsonSchema(Wire.public(definition))
  const whole: JsonObject = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: definition.name,
    ...schema
  }
  return Object.keys(definitions).length === 0 ? whole : { ...whole, $defs: definitions }
}

// -----------------------------------------------------------------------------
// TypeScript
// -----------------------------------------------------------------------------

const identifier = /^[A-Za-z_$][\w$]*$/

/** `blog-posts` becomes `BlogPosts`. */
export const typeName = (name: string): string => {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== "")
  const joined = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("")
  return /^[A-Z]/.test(joined) ? joined : `Resource${joined}`
}

/** The documents of a resource in their JSON form, as an interface. */
export const typescript = (definition: Defined): string => {
  const { $defs, properties, required } = jsonSchemaOf(definition)
  const name = typeName(definition.name)
  const of = (schema: Json | undefined): string => typeOf(schema, name)
  const types = [
    `/** A document of ${definition.name.replaceAll("*/", "* /")}, as JSON. */`,
    `export interface ${name} ${struct(properties, required, of, "")}`,
    ...Object.entries(isObject($defs ?? null) ? ($defs as JsonObject) : {}).map(
      ([inner, schema]) => `export type ${name}${typeName(inner)} = ${of(schema)}`
    )
  ]
  return `${types.join("\n\n").replace("*/\n\nexport", "*/\nexport")}\n`
}

const struct = (
  properties: Json | undefined,
  required: Json | undefined,
  of: (schema: Json | undefined) => string,
  indent: string
): string => {
  const names = Object.entries(isObject(properties ?? null) ? (properties as JsonObject) : {})
  const isRequired = (name: string) => Array.isArray(required) && required.includes(name)
  const lines = names.map(([name, schema]) => {
    const key = identifier.test(name) ? name : JSON.stringify(name)
    return `${indent}  readonly ${key}${isRequired(name) ? "" : "?"}: ${of(schema).replaceAll("\n", `\n${indent}  `)}`
  })
  return lines.length === 0 ? "{}" : `{\n${lines.join("\n")}\n${indent}}`
}

const union = (all: ReadonlyArray<string>): string => [...new Set(all)].join(" | ")

const inList = (type: string): string => (/[|&]/.test(type) ? `(${type})` : type)

const typeOf = (schema: Json | undefined, prefix: string): string => {
  const of = (one: Json | undefined): string => typeOf(one, prefix)
  if (!isObject(schema ?? null)) return "unknown"
  const {
    $ref,
    allOf,
    anyOf,
    const: constant,
    enum: choices,
    items,
    oneOf,
    prefixItems,
    properties,
    required,
    type,
    additionalProperties
  } = schema as JsonObject
  if (typeof $ref === "string") return `${prefix}${typeName($ref.slice($ref.lastIndexOf("/") + 1))}`
  if (constant !== undefined) return JSON.stringify(constant)
  if (Array.isArray(choices)) return union(choices.map((choice) => JSON.stringify(choice)))
  const some = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined
  if (some !== undefined) return some.length === 0 ? "never" : union(some.map(of))
  if (Array.isArray(type)) return union(type.map((one: Json) => of({ ...(schema as JsonObject), type: one })))
  switch (type) {
    case "string":
      return "string"
    case "number":
    case "integer":
      return "number"
    case "boolean":
      return "boolean"
    case "null":
      return "null"
    case "array":
      if (Array.isArray(prefixItems)) {
        const fixed = prefixItems.map(of)
        return `readonly [${[...fixed, ...(isObject(items ?? null) ? [`...ReadonlyArray<${of(items)}>`] : [])].join(", ")}]`
      }
      return items === undefined || items === false ? "ReadonlyArray<unknown>" : `ReadonlyArray<${inList(of(items))}>`
    case "object":
      if (isObject(properties ?? null) && Object.keys(properties as JsonObject).length > 0) {
        return struct(properties, required, of, "")
      }
      return `{ readonly [key: string]: ${isObject(additionalProperties ?? null) ? of(additionalProperties) : "unknown"} }`
    default:
      return Array.isArray(allOf) && allOf.length > 0 ? of({ ...(allOf[0] as JsonObject) }) : "unknown"
  }
}

// -----------------------------------------------------------------------------
// Tables
// -----------------------------------------------------------------------------

type Types = (codec: string, isInteger: boolean) => string

const postgres: Types = (codec, isInteger) => {
  if (codec === "number") return isInteger ? "bigint" : "double precision"
  if (codec === "boolean") return "boolean"
  if (codec === "date") return "timestamptz"
  if (codec === "bytes") return "bytea"
  if (/^(money|decimal|crypto)/.test(codec)) return "numeric"
  if (/^(lat|lon)/.test(codec)) return "double precision"
  if (codec === "uuid") return "uuid"
  if (/^(struct|json|array|option|vector|point|record|embedding|bits)/.test(codec)) return "jsonb"
  return "text"
}

const bigquery: Types = (codec, isInteger) => {
  if (codec === "number" && isInteger) return "INT64"
  if (codec === "number" || /^(lat|lon)/.test(codec)) return "FLOAT64"
  if (codec === "boolean") return "BOOL"
  if (codec === "date") return "TIMESTAMP"
  if (codec === "bytes") return "BYTES"
  if (/^(money|decimal|crypto)/.test(codec)) return "BIGNUMERIC"
  if (/^(struct|json|array|option|vector|point|record|embedding|bits)/.test(codec)) return "JSON"
  return "STRING"
}

/** One column for each field; what is nested is one JSON value. Secrets and passwords have none. */
const table = (
  { attributes, name, primaryKey, schema }: Pick<Defined, "attributes" | "name" | "primaryKey" | "schema">,
  types: Types,
  quote: (name: string) => string,
  keyword: string
): string => {
  const top = attributes.filter(({ codec, path }) => path.length === 1 && codec !== "secret" && codec !== "password")
  const integers = new Set(
    Attributes.payloadsOf(schema, "effect/schema/isInt").flatMap(({ path: [name, ...below] }) =>
      below.length === 0 ? [name] : []
    )
  )
  const lines = [
    `${quote(primaryKey)} ${types("string", false)} NOT NULL${keyword === "" ? "" : ` ${keyword}`}`,
    ...top.map(
      ({ codec, nullable, optional, path }) =>
        `${quote(path[0]!)} ${types(codec, integers.has(path[0]!))}${optional || nullable ? "" : " NOT NULL"}`
    )
  ]
  return `CREATE TABLE ${quote(name)} (\n  ${lines.join(",\n  ")}\n);\n`
}
