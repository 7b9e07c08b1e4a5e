/**
 * The OpenAPI document, as a person would write it: what is the same has one name.
 *
 * @since 0.1.0
 */
import type { OpenAPISpec } from "effect/http-api/OpenApi"

type Value = unknown

const isObject = (value: Value): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A copy in which references have other names. */
const renamed = (value: Value, names: ReadonlyMap<string, string>): Value => {
  if (Array.isArray(value)) return value.map((one: Value) => renamed(one, names))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => {
      if (key !== "$ref" || typeof one !== "string") return [key, renamed(one, names)]
      const name = one.slice(prefix.length)
      return [key, one.startsWith(prefix) ? prefix + (names.get(name) ?? name) : one]
    })
  )
}

const prefix = "#/components/schemas/"

const baseOf = (name: string): string => name.replace(/_\d+$/, "")

const parameters: Readonly<Record<string, Record<string, unknown>>> = {
  limit: { schema: { type: "integer", minimum: 1, maximum: 1000 }, description: "how many documents at most" },
  filter: { description: 'conditions as JSON, such as {"age":{"gte":18}}, beside those that are parameters' },
  values: { description: "values of the fields of the partition, as a JSON object" },
  id: { description: "the id of the document, percent-encoded" }
}

/** What is said of a parameter belongs to it, and not to what is in its text. */
const describe = (spec: OpenAPISpec): void => {
  for (const item of Object.values(spec.paths)) {
    for (const operation of Object.values<unknown>(item)) {
      if (!isObject(operation) || !Array.isArray(operation["parameters"])) continue
      for (const parameter of operation["parameters"] as Array<Record<string, unknown>>) {
        const { name, schema } = parameter
        const more = typeof name === "string" && Object.hasOwn(parameters, name) ? parameters[name] : undefined
        const description = isObject(schema) ? schema["description"] : undefined
        Object.assign(parameter, description === undefined ? {} : { description }, more)
      }
    }
  }
}

/** Schemas that are the same have one name, the one without a number where there is one. */
export const tidy = (given: OpenAPISpec): OpenAPISpec => {
  let spec = given
  describe(spec)
  for (;;) {
    const names = new Map<string, string>()
    const first = new Map<string, string>()
    for (const [name, schema] of Object.entries(spec.components.schemas)) {
      const base = baseOf(name)
      const key = `${base} ${JSON.stringify(schema)}`
      const known = first.get(key)
      if (known === undefined) first.set(key, name)
      else names.set(name, known)
    }
    if (names.size === 0) break
    const schemas = Object.fromEntries(Object.entries(spec.components.schemas).filter(([name]) => !names.has(name)))
    spec = renamed({ ...spec, components: { ...spec.components, schemas } }, names) as OpenAPISpec
  }
  const plain = new Map<string, string>()
  for (const name of Object.keys(spec.components.schemas)) {
    const base = baseOf(name)
    const isOnly = Object.keys(spec.components.schemas).every((one) => one === name || baseOf(one) !== base)
    if (base !== name && isOnly) plain.set(name, base)
  }
  const schemas = Object.fromEntries(
    Object.entries(spec.components.schemas).map(([name, schema]) => [plain.get(name) ?? name, schema])
  )
  return renamed({ ...spec, components: { ...spec.components, schemas } }, plain) as OpenAPISpec
}
