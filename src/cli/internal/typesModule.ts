/**
 * A TypeScript module that declares the resources of a live database: in the rule notation, from which TypeScript infers the types. Only
 * what comes out as the very same definition is written so; of others there is the interface of their documents.
 */
import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isList, isObject } from "../../internal/json.ts"
import * as Portable from "../../Portable.ts"
import type { DynamicSchema } from "../../Portable.ts"
import { fromNotation } from "./declaring.ts"
import * as schemas from "./schemas.ts"

type Defined = Definition<DynamicSchema>

/** Why a schema has no form in the rule notation. */
class Unwritable {
  readonly why: string
  constructor(why: string) {
    this.why = why
  }
}

const refuse = (why: string): never => {
  throw new Unwritable(why)
}

const object = (value: Json | undefined): JsonObject =>
  isObject(value) ? value : refuse("it has a form that is not known here")

const list = (value: Json | undefined): ReadonlyArray<Json> => (isList(value) ? value : [])

interface Check {
  readonly id: string
  readonly payload: JsonObject
}

const checksOf = (node: JsonObject): ReadonlyArray<Check> =>
  list(node["checks"]).map((check) => {
    const representation = object(object(check)["representation"])
    const payload = representation["payload"]
    return {
      id: String(representation["id"]),
      payload: isObject(payload) ? payload : {}
    }
  })

const attributeId = "effect-s3db/schema/Attribute"

/** The name of the type, with its arguments, of a check that marks an attribute. */
const typeOf = ({ payload }: Check): string => {
  const [type, args] = [String(payload["type"]), list(payload["args"])]
  switch (type) {
    case "lat":
    case "lon":
    case "point":
      return `geo:${type}:${args[0] ?? 6}`
    case "embedding":
      return `embedding:${args[0] ?? ""}`
    default:
      return [type, ...args].join(":")
  }
}

const bounds: Readonly<Record<string, readonly [modifier: string, argument: string]>> = {
  "effect/schema/isMinLength": ["min", "minLength"],
  "effect/schema/isMaxLength": ["max", "maxLength"],
  "effect/schema/isGreaterThanOrEqualTo": ["min", "minimum"],
  "effect/schema/isLessThanOrEqualTo": ["max", "maximum"]
}

/** The rule of a text, number or other simple value. */
const simple = (type: string, checks: ReadonlyArray<Check>): string => {
  const marks = checks.filter(({ id }) => id === attributeId)
  if (marks.length > 1) refuse("a value has two types")
  const parts = [marks.length === 1 ? typeOf(marks[0]!) : type]
  let pattern = ""
  for (const { id, payload } of checks) {
    const bound = bounds[id]
    if (id === attributeId || id === "effect/schema/isFinite") continue
    if (id === "effect/schema/isInt") parts.push("integer")
    else if (id === "effect-s3db/schema/normalize") parts.push(String(payload["op"]))
    else if (bound !== undefined) parts.push(`${bound[0]}:${String(payload[bound[1]])}`)
    else if (id === "effect/schema/isPattern" && pattern === "") {
      pattern = `|pattern:/${String(payload["source"])}/${typeof payload["flags"] === "string" ? payload["flags"] : ""}`
    } else refuse(`the check ${id} has no rule`)
  }
  return parts.join("|") + pattern
}

const declarations: Readonly<Record<string, string>> = {
  "effect/schema/Date": "date",
  "effect/schema/DateTimeUtc": "datetime",
  "effect/schema/BigDecimal": "decimal",
  "effect/schema/Json": "json",
  "effect/schema/Uint8Array": "bytes",
  "effect/schema/Duration": "duration"
}

const word = /^[\w .@-]+$/

/** A field in the notation; `modifiers` are those of the field itself, such as `optional`. */
const attributeOf = (node: JsonObject, modifiers: ReadonlyArray<string>): Json => {
  const checks = () => checksOf(node)
  const add = (rule: string): string => {
    if (modifiers.length === 0) return rule
    // A pattern takes the rest of the rule.
    const at = rule.indexOf("|pattern:")
    return at < 0 ? [rule, ...modifiers].join("|") : [rule.slice(0, at), ...modifiers].join("|") + rule.slice(at)
  }
  switch (node["_tag"]) {
    case "String":
      return add(simple("string", checks()))
    case "Number":
      return add(simple("number", checks()))
    case "Boolean":
      return add(simple("boolean", checks()))
    case "Declaration": {
      const id = String(object(node["representation"])["id"])
      if (id === "effect-s3db/schema/Secret") {
        const inner = object(list(node["typeParameters"])[0])["_tag"]
        return add(inner === "String" ? "secret" : inner === "Number" ? "secretNumber" : "secretAny")
      }
      return add(simple(declarations[id] ?? refuse(`the type ${id} has no rule`), checks()))
    }
    case "Union": {
      const types = list(node["types"]).map(object)
      const rest = types.filter(({ _tag }) => _tag !== "Null")
      if (rest.length < types.length) {
        const [only] = rest
        const inner: JsonObject = rest.length === 1 && only !== undefined ? only : { ...node, types: rest }
        return attributeOf(inner, [...modifiers, "nullable"])
      }
      const values = rest.map(({ _tag, literal }) => {
        const { type, value } = _tag === "Literal" ? object(literal) : {}
        return type === "string" && typeof value === "string" && word.test(value)
          ? value
          : refuse("a union has no rule")
      })
      return add(`enum|values:${values.join(",")}`)
    }
    case "Arrays": {
      const all = checks()
      if (all.some(({ id }) => id === attributeId)) return add(simple("array", all))
      const [items, ...others] = list(node["rest"])
      if (list(node["elements"]).length > 0 || others.length > 0 || items === undefined)
        return refuse("a tuple has no rule")
      return { type: "array", items: attributeOf(object(items), []), ...explicit(all), ...flags(modifiers) }
    }
    case "Objects": {
      const all = checks()
      if (all.some(({ id }) => id === attributeId)) return add(simple("object", all))
      const [index, ...others] = list(node["indexSignatures"])
      const properties = list(node["propertySignatures"]).map(object)
      if (index !== undefined) {
        if (others.length > 0 || properties.length > 0) return refuse("an object with other fields has no rule")
        return {
          type: "record",
          items: attributeOf(object(object(index)["type"]), []),
          ...explicit(all),
          ...flags(modifiers)
        }
      }
      if (all.length > 0) return refuse("a check of an object has no rule")
      return {
        ...(modifiers.length === 0 ? {} : { $$type: ["object", ...modifiers].join("|") }),
        ...fieldsOf(properties, {})
      }
    }
    default:
      return refuse(`a schema of the form ${String(node["_tag"])} has no rule`)
  }
}

const explicit = (checks: ReadonlyArray<Check>): JsonObject =>
  Object.fromEntries(
    checks.map(({ id, payload }) => {
      const bound = bounds[id]
      return bound === undefined ? refuse(`the check ${id} has no rule`) : [bound[0], payload[bound[1]] ?? null]
    })
  )

const flags = (modifiers: ReadonlyArray<string>): JsonObject => Object.fromEntries(modifiers.map((one) => [one, true]))

const fieldsOf = (properties: ReadonlyArray<JsonObject>, defaults: Portable.Portable["defaults"]): JsonObject =>
  Object.fromEntries(
    properties.map((property) => {
      const name = String(object(property["name"])["value"])
      const given = Object.hasOwn(defaults, name) ? defaults[name] : undefined
      const value = given !== undefined && "value" in given ? given.value : undefined
      const isPlain =
        typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && word.test(value))
      if (given !== undefined && !isPlain) refuse(`the default of ${name} has no rule`)
      const modifiers = [
        ...(property["isOptional"] === true ? ["optional"] : []),
        ...(isPlain ? [`default:${String(value)}`] : [])
      ]
      return [name, attributeOf(object(property["type"]), modifiers)]
    })
  )

/** The attributes and options of a definition, if it can be written in the notation, and comes out the same. */
export const notationOf = (
  definition: Defined
): Result.Result<{ readonly attributes: JsonObject; readonly options: JsonObject }, string> => {
  const revived = Portable.toDefinition(definition.portable)
  if (Result.isFailure(revived)) return Result.fail(revived.failure)
  const { portable } = revived.success
  if (definition.primaryKey !== "id") return Result.fail("its primary key is not called id")
  if (portable.omitted.length > 0) return Result.fail("parts of it did not travel")
  try {
    const properties = list(object(object(object(portable.schema)["representation"]))["propertySignatures"]).map(object)
    const { id, ...defaults } = portable.defaults
    const others = properties.filter((property) => object(property["name"])["value"] !== "id")
    const attributes = fieldsOf(others, defaults)
    const kind = id !== undefined && "generate" in id ? id.generate : refuse("its ids are not made by it")
    const partitions = Object.entries(portable.partitions ?? {}).filter(
      ([name]) => !((portable.flags ?? []).includes("timestamps") && /^by(Created|Updated)Date$/.test(name))
    )
    const options: JsonObject = {
      ...(kind === "random" ? {} : { idKind: kind }),
      ...(portable.behavior === "body-overflow" ? {} : { behavior: portable.behavior }),
      ...(portable.paranoid ? {} : { allowDeleteAll: true }),
      ...(portable.onExcessProperty === undefined ? {} : { onExcessProperty: portable.onExcessProperty }),
      ...(portable.compression === undefined ? {} : { compression: portable.compression }),
      ...(portable.uniqueLease === undefined ? {} : { uniqueLease: portable.uniqueLease }),
      ...(portable.plugins === undefined ? {} : { plugins: portable.plugins }),
      ...(portable.journal === undefined ? {} : { journal: portable.journal }),
      ...(portable.pin.metadata.length === 0 && portable.pin.body.length === 0 ? {} : { pin: portable.pin }),
      ...Object.fromEntries(
        (portable.flags ?? [])
          .filter((flag) => flag !== "journal" || portable.journal === undefined)
          .map((flag) => [flag, true])
      ),
      ...(portable.counters === undefined
        ? {}
        : { counters: { partitions: portable.counters.partitions, shards: portable.counters.shards } }),
      ...(partitions.length === 0
        ? {}
        : {
            partitions: Object.fromEntries(
              partitions.map(([name, { covering, fields }]) => {
                if (covering !== undefined || fields.some(({ transforms }) => transforms.length > 0)) {
                  return [
                    name,
                    {
                      fields: Object.fromEntries(
                        fields.map(({ path, transforms }) => [path.join("."), transforms.join("|")])
                      ),
                      ...(covering === undefined ? {} : { covering: covering.map((path) => path.join(".")) })
                    }
                  ]
                }
                return [name, fields.map(({ path }) => path.join("."))]
              })
            )
          }),
      ...(portable.uniques === undefined
        ? {}
        : {
            unique: Object.fromEntries(
              Object.entries(portable.uniques).map(([name, { fields, ignoreCase }]) => {
                const paths = fields.map((path) => path.join("."))
                return [name, ignoreCase ? { fields: paths, ignoreCase } : paths]
              })
            )
          })
    }
    const again = fromNotation(definition.name, attributes, options)
    return Equal.equals(again.portable, definition.portable) && Equal.equals(again.attributes, definition.attributes)
      ? Result.succeed({ attributes, options })
      : Result.fail("the rule notation cannot say all of it")
  } catch (error) {
    return Result.fail(error instanceof Unwritable ? error.why : error instanceof Error ? error.message : String(error))
  }
}

const literal = (value: Json): string => JSON.stringify(value, undefined, 2)

/** Writes the module. */
export const write = (definitions: ReadonlyArray<Defined>): string => {
  const parts = definitions.map((definition) => {
    const found = notationOf(definition)
    const name = schemas.typeName(definition.name)
    if (Result.isFailure(found)) {
      // Names come from the catalog, and none of them may end the comment: what follows would be code.
      const why = `${definition.name} is not declared here: ${found.failure}`.replaceAll(/[\r\n\u2028\u2029]/g, " ")
      return `// ${why}. Its documents, as JSON:\n${schemas.typescript(definition)}`
    }
    const { attributes, options } = found.success
    const rest = Object.keys(options).length === 0 ? "" : `, ${literal(options)}`
    const quoted = JSON.stringify(definition.name)
    return `export class ${name} extends Resource.Service<${name}>()(
  ${JSON.stringify(`catalog/${definition.name}`)},
  Resource.fromAttributes(${quoted}, ${literal(attributes)}${rest})
) {}\n`
  })
  const needsResource = parts.some((part) => part.startsWith("export class"))
  return [
    "// Written by `s3db types` from the catalog of a database: run it again where that has changed.\n",
    ...(needsResource ? [`import * as Resource from "effect-s3db/Resource"\n`] : ["export {}\n"]),
    ...parts
  ].join("\n")
}
