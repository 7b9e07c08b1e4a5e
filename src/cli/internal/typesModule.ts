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
  readonly hasPath: boolean
  constructor(why: string, hasPath = false) {
    this.why = why
    this.hasPath = hasPath
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
  /** What is said where it does not hold, in the place of what is always said. */
  readonly message: string | undefined
}

const messageOf = (node: JsonObject, name: "message" | "messageMissingKey"): string | undefined => {
  const annotations = node["annotations"]
  if (annotations === undefined || !isObject(annotations)) return undefined
  const message = annotations[name]
  return typeof message === "string" ? message : undefined
}

const checksOf = (node: JsonObject): ReadonlyArray<Check> =>
  list(node["checks"]).map((check) => {
    const representation = object(object(check)["representation"])
    const payload = representation["payload"]
    return {
      id: String(representation["id"]),
      payload: payload !== undefined && isObject(payload) ? payload : {},
      message: messageOf(object(check), "message")
    }
  })

const attributeId = "effect-s3db/schema/Attribute"

/** The name of the type, with its arguments, of a check that marks an attribute. */
const typeOf = ({ payload }: Check): string => {
  const [type, args] = [String(payload["type"]), list(payload["args"])]
  const name = type === "lat" || type === "lon" || type === "point" ? `geo:${type}` : type
  const given = name.startsWith("geo") && args.length === 0 ? [6] : args
  return [name, ...given].join(":")
}

// -----------------------------------------------------------------------------
// Rules
// -----------------------------------------------------------------------------

/** What follows the type in a rule. */
interface Part {
  readonly name: string
  /** `true`: it has none. */
  readonly argument: Json
}

/** The type of a field, and what is said of it. */
interface Rule {
  readonly type: string
  readonly parts: ReadonlyArray<Part>
  readonly messages: Readonly<Record<string, string>>
}

/** What is said of the field itself. */
interface Presence {
  readonly optional: boolean
  readonly nullable: boolean
  readonly default?: Json
  readonly missing?: string | undefined
}

const plainPresence: Presence = { optional: false, nullable: false }

const bounds: Readonly<Record<string, readonly [modifier: string, argument: string]>> = {
  "effect/schema/isMinLength": ["min", "minLength"],
  "effect/schema/isMaxLength": ["max", "maxLength"],
  "effect/schema/isMinProperties": ["min", "minProperties"],
  "effect/schema/isMaxProperties": ["max", "maxProperties"],
  "effect/schema/isGreaterThanOrEqualTo": ["min", "minimum"],
  "effect/schema/isLessThanOrEqualTo": ["max", "maximum"]
}

const patterns: Readonly<Record<string, string>> = {
  "^[a-zA-Z]+$": "alpha",
  "^[a-zA-Z0-9]+$": "alphanum",
  "^[a-zA-Z0-9_-]+$": "alphadash",
  "^\\d+$": "numeric"
}

const partOf = ({ id, payload }: Check): Part => {
  const part = (name: string, argument: Json = true): Part => ({ name, argument })
  const bound = bounds[id]
  if (bound !== undefined) return part(bound[0], payload[bound[1]] ?? null)
  switch (id) {
    case "effect/schema/isInt":
      return part("integer")
    case "effect/schema/isUnique":
      return part("unique")
    case "effect/schema/isGreaterThan":
      return payload["exclusiveMinimum"] === 0
        ? part("positive")
        : refuse("a number above another one than 0 has no rule")
    case "effect/schema/isLessThan":
      return payload["exclusiveMaximum"] === 0
        ? part("negative")
        : refuse("a number below another one than 0 has no rule")
    case "effect/schema/isBetweenLength":
    case "effect/schema/isBetweenProperties": {
      const [least, most] = [payload["minimum"], payload["maximum"]]
      return least !== undefined && least === most
        ? part("length", least)
        : refuse("a length from one to another has no rule")
    }
    case "effect/schema/isPattern": {
      const [source, flags] = [String(payload["source"]), typeof payload["flags"] === "string" ? payload["flags"] : ""]
      const known = flags === "" ? patterns[source] : undefined
      return known === undefined ? part("pattern", `/${source}/${flags}`) : part(known)
    }
    case "effect-s3db/schema/normalize": {
      const op = String(payload["op"])
      return part(["trim", "lowercase", "uppercase"].includes(op) ? op : "convert")
    }
    default:
      return refuse(`the check ${id} has no rule`)
  }
}

/** The rule of a value by the checks of its schema. */
const ruleOf = (type: string, node: JsonObject): Rule => {
  const checks = checksOf(node)
  const marks = checks.filter(({ id }) => id === attributeId)
  if (marks.length > 1) refuse("a value has two types")
  const messages: Record<string, string> = {}
  const message = messageOf(node, "message")
  if (message !== undefined) messages["type"] = message
  let name = marks.length === 1 ? typeOf(marks[0]!) : type
  const parts: Array<Part> = []
  for (const check of checks) {
    if (check.id === attributeId || (check.id === "effect/schema/isFinite" && check.message === undefined)) continue
    if (check.id === "effect-s3db/schema/plainPassword") {
      const { algorithm, max, min } = check.payload
      if (algorithm !== undefined) name = `${name}:${String(algorithm)}`
      if (min !== undefined) parts.push({ name: "min", argument: min })
      if (max !== undefined) parts.push({ name: "max", argument: max })
      continue
    }
    const part = partOf(check)
    parts.push(part)
    if (check.message === undefined) continue
    if (messages[part.name] !== undefined && messages[part.name] !== check.message) refuse("a rule has two messages")
    messages[part.name] = check.message
  }
  return { type: name, parts, messages }
}

const word = /^[\w@-](?:[\w .@-]*[\w.@-])?$/

const isPlain = (value: Json): boolean =>
  typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && word.test(value))

const textOf = ({ argument, name }: Part): string | undefined => {
  if (argument === true) return name
  if (isList(argument)) {
    return argument.every((one) => typeof one === "string" && word.test(one))
      ? `${name}:${argument.join(",")}`
      : undefined
  }
  return isPlain(argument) && argument !== false ? `${name}:${String(argument)}` : undefined
}

/** A rule as a text, or as an explicit definition where no text says it. */
const written = (rule: Rule, presence: Presence, more: JsonObject = {}): Json => {
  const messages: Record<string, Json> = { ...rule.messages }
  if (presence.missing !== undefined) messages["required"] = presence.missing
  const given = presence.default
  const flags = [...(presence.nullable ? ["nullable"] : []), ...(presence.optional ? ["optional"] : [])]
  // A text of what is no text may be read as something else.
  const isPlainDefault = given === undefined || isPlain(given)
  const defaults = given === undefined || !isPlainDefault ? [] : [`default:${String(given)}`]
  const texts: Array<string> = []
  let rest = rule.parts
  while (rest.length > 0) {
    const text = textOf(rest[0]!)
    if (text === undefined) break
    texts.push(text)
    rest = rest.slice(1)
  }
  const [last, ...others] = rest
  const isPatternLast = last === undefined || (last.name === "pattern" && others.length === 0)
  if (isPatternLast && isPlainDefault && Object.keys(messages).length === 0 && Object.keys(more).length === 0) {
    const pattern = last === undefined ? [] : [`pattern:${String(last.argument)}`]
    return [rule.type, ...texts, ...flags, ...defaults, ...pattern].join("|")
  }
  if (new Set(rest.map(({ name }) => name)).size < rest.length) refuse("a rule stands there twice")
  return {
    type: [rule.type, ...texts].join("|"),
    ...more,
    ...Object.fromEntries(rest.map(({ argument, name }) => [name, argument])),
    ...Object.fromEntries(flags.map((flag) => [flag, true])),
    ...(given === undefined ? {} : { default: given }),
    ...(Object.keys(messages).length === 0 ? {} : { messages })
  }
}

const declarations: Readonly<Record<string, string>> = {
  "effect/schema/Date": "date",
  "effect/schema/DateTimeUtc": "datetime",
  "effect/schema/BigDecimal": "decimal",
  "effect/schema/Json": "json",
  "effect/schema/Uint8Array": "bytes",
  "effect/schema/Duration": "duration"
}

const literalOf = (node: JsonObject): string | number => {
  const { type, value } = node["_tag"] === "Literal" ? object(node["literal"]) : {}
  return (type === "string" || type === "number") && (typeof value === "string" || typeof value === "number")
    ? value
    : refuse("a union has no rule")
}

const choices = (values: ReadonlyArray<string | number>, node: JsonObject, presence: Presence): Json => {
  const { messages, parts } = ruleOf("enum", node)
  const areNumbers = values.every((value) => typeof value === "number")
  const part: Part = { name: areNumbers ? "enum" : "values", argument: [...values] }
  // A text of numbers stands for numbers in a rule of numbers alone.
  const rule: Rule = { type: areNumbers ? "number" : "enum", parts: [part, ...parts], messages }
  return written(rule, presence)
}

type Defaults = Portable.Portable["defaults"]

/** A field in the notation, with what is said of the field itself. `above`: its path, by which its defaults are called. */
const attributeOf = (node: JsonObject, presence: Presence, defaults: Defaults, above: string): Json => {
  const simple = (type: string): Json => written(ruleOf(type, node), presence)
  const marked = () => checksOf(node).some(({ id }) => id === attributeId)
  switch (node["_tag"]) {
    case "String":
      return simple("string")
    case "Number": {
      const [first, ...others] = list(node["checks"])
      const isWhole = first !== undefined && checksOf({ checks: [first] })[0]?.id === "effect/schema/isInt"
      return isWhole && messageOf(object(first), "message") === undefined
        ? written(ruleOf("integer", { ...node, checks: others }), presence)
        : simple("number")
    }
    case "Boolean":
      return simple("boolean")
    case "Literal":
      return choices([literalOf(node)], node, presence)
    case "Declaration": {
      const id = String(object(node["representation"])["id"])
      if (id === "effect-s3db/schema/Secret") {
        const inner = object(list(node["typeParameters"])[0])["_tag"]
        return simple(inner === "String" ? "secret" : inner === "Number" ? "secretNumber" : "secretAny")
      }
      return simple(declarations[id] ?? refuse(`the type ${id} has no rule`))
    }
    case "Union": {
      const types = list(node["types"]).map(object)
      const rest = types.filter(({ _tag }) => _tag !== "Null")
      if (rest.length < types.length) {
        const [only] = rest
        const inner: JsonObject = rest.length === 1 && only !== undefined ? only : { ...node, types: rest }
        return attributeOf(inner, { ...presence, nullable: true }, defaults, above)
      }
      return choices(rest.map(literalOf), node, presence)
    }
    case "Arrays": {
      if (marked()) return simple("array")
      const [items, ...others] = list(node["rest"])
      if (list(node["elements"]).length > 0 || others.length > 0 || items === undefined)
        return refuse("a tuple has no rule")
      return written(ruleOf("array", node), presence, {
        items: attributeOf(object(items), plainPresence, defaults, `${above}.[]`)
      })
    }
    case "Objects": {
      if (marked()) return simple("object")
      const [index, ...others] = list(node["indexSignatures"])
      const properties = list(node["propertySignatures"]).map(object)
      if (index !== undefined) {
        if (others.length > 0 || properties.length > 0) return refuse("an object with other fields has no rule")
        return written(ruleOf("record", node), presence, {
          items: attributeOf(object(object(index)["type"]), plainPresence, defaults, `${above}.{}`)
        })
      }
      if (presence.default !== undefined || presence.missing !== undefined || messageOf(node, "message") !== undefined)
        return refuse("what is said of an object has no rule")
      const fields = fieldsOf(properties, defaults, `${above}.`)
      const checks = checksOf(node)
      const said = ["object", ...(presence.optional ? ["optional"] : []), ...(presence.nullable ? ["nullable"] : [])]
      if (checks.length === 0) return { ...(said.length === 1 ? {} : { $$type: said.join("|") }), ...fields }
      return checks.length === 1 && checks[0]!.id === "effect-s3db/schema/strict"
        ? { type: said.join("|"), props: fields, strict: true }
        : refuse("a check of an object has no rule")
    }
    default:
      return refuse(`a schema of the form ${String(node["_tag"])} has no rule`)
  }
}

const fieldsOf = (properties: ReadonlyArray<JsonObject>, defaults: Defaults, above = ""): JsonObject =>
  Object.fromEntries(
    properties.map((property) => {
      const name = String(object(property["name"])["value"])
      const path = `${above}${name}`
      const given = Object.hasOwn(defaults, path) ? defaults[path] : undefined
      if (given !== undefined && !("value" in given)) throw new Unwritable(`${path}: its default has no rule`, true)
      const presence: Presence = {
        optional: property["isOptional"] === true,
        nullable: false,
        ...(given !== undefined && "value" in given ? { default: given.value } : {}),
        missing: messageOf(property, "messageMissingKey")
      }
      try {
        return [name, attributeOf(object(property["type"]), presence, defaults, path)]
      } catch (error) {
        throw error instanceof Unwritable && !error.hasPath ? new Unwritable(`${path}: ${error.why}`, true) : error
      }
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
