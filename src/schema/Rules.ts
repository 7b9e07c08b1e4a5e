/**
 * The rule notation: attributes declared by short texts.
 *
 * ```ts
 * import * as Rules from "effect-s3db/schema/Rules"
 *
 * const schema = Rules.toSchema({
 *   name: "string|min:2|trim",
 *   age: "number|integer|optional",
 *   role: "enum|values:admin,user|default:user",
 *   address: { $$type: "object|optional", city: "string", at: "geo:point:5" },
 *   tags: { type: "array", items: "string", max: 10 }
 * })
 * ```
 *
 * **Details**
 *
 * A rule is a type and modifiers, separated by `|`; an argument stands behind `:`. Every field is required unless it says
 * `optional`. A nested object is a field of its own; `$$type` in it says whether it is optional or nullable. An object
 * with a `type` and nothing but options beside it is an explicit definition.
 *
 * Types: string, number (float), integer (int), boolean (bool), date, datetime, dateonly, timeonly, duration, uuid, ulid,
 * email, url, ip4, ip6, cidr, mac, semver, phone, color, locale, currency, country, ean, cron, money (`money:EUR`,
 * `money:3`), crypto (`crypto:18`), decimal (`decimal:3`), `geo:lat`, `geo:lon`, `geo:point` (with `:precision`),
 * embedding (`embedding:1536`, `embedding:1536:int8`), bits (`bits:64`), bytes (buffer), json (any, object), secret,
 * secretNumber, secretAny, password (`password:bcrypt`), array and record (with `items:type`), enum (with `values:a,b`).
 *
 * Modifiers: required, optional, nullable, default; min, max, length (of text in characters, of arrays in items, of
 * records in entries; of numbers, min and max are the value); pattern (the last one: it takes the rest of the rule, as
 * `/source/flags` or the source), alpha, alphanum, alphadash, numeric, enum (values), empty; integer, positive, negative;
 * trim, lowercase, uppercase, convert, which change the input before it is checked; unique, items.
 *
 * A wrong rule is a compile error where TypeScript can see the text, and an `UnsupportedSchema` that names every problem
 * otherwise.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { isRecord } from "../internal/json.ts"
import * as Attribute from "./Attribute.ts"
import { UnsupportedSchema } from "./Attributes.ts"
import {
  anywhere,
  families,
  type Family,
  type InputOf,
  type ModifierName,
  modifiers,
  type TypeNames,
  type TypeOf,
  type Valid as ValidOf
} from "./internal/ruleTypes.ts"
import * as Normalization from "./Normalization.ts"

// -----------------------------------------------------------------------------
// Types
// -----------------------------------------------------------------------------

/**
 * Attributes in the notation: each a rule, an explicit definition, or a nested object of attributes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attributes {
  readonly [name: string]: unknown
}

/**
 * The type of the values that fit attributes.
 *
 * @category models
 * @since 0.1.0
 */
export type Type<A> = TypeOf<A>

/**
 * The type of what an insert takes: fields with a default may be left out.
 *
 * @category models
 * @since 0.1.0
 */
export type Input<A> = InputOf<A>

/**
 * The attributes themselves, with a message in the place of each rule that is wrong.
 *
 * @category models
 * @since 0.1.0
 */
export type Valid<A> = ValidOf<A>

/**
 * A schema that attributes in the notation were compiled to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compiled<T, In> extends Schema.Bottom<
  T,
  { readonly [field: string]: Schema.Json },
  never,
  never,
  AST.Objects,
  Compiled<T, In>,
  In
> {}

/**
 * One thing that is wrong with a rule.
 *
 * @category models
 * @since 0.1.0
 */
export interface RuleProblem {
  readonly path: ReadonlyArray<string>
  /** The rule as it was written. */
  readonly rule: string
  /** Where in it, from 0. */
  readonly position?: number | undefined
  readonly message: string
}

/**
 * A part of a rule behind the type: `min:2`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Modifier {
  readonly name: ModifierName
  /** What stands behind the colon, or the value of the option; `true` when there is nothing. */
  readonly argument: unknown
  readonly position?: number | undefined
}

/**
 * The declaration of a field.
 *
 * @category models
 * @since 0.1.0
 */
export type RuleNode = ValueNode | ObjectNode

/**
 * The declaration of a field with a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface ValueNode {
  readonly _tag: "Value"
  readonly type: keyof TypeNames
  readonly args: ReadonlyArray<string>
  readonly modifiers: ReadonlyArray<Modifier>
  /** Of an array or record. */
  readonly items: RuleNode | undefined
  readonly optional: boolean
  readonly nullable: boolean
  /** By the rule that they are for, or `required`, or `type`. */
  readonly messages: ReadonlyMap<string, string>
  readonly rule: string
}

/**
 * The declaration of a field with fields of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface ObjectNode {
  readonly _tag: "Object"
  readonly fields: ReadonlyMap<string, RuleNode>
  readonly optional: boolean
  readonly nullable: boolean
  /** Unknown keys are refused, not dropped. */
  readonly strict: boolean
}

// -----------------------------------------------------------------------------
// Parsing
// -----------------------------------------------------------------------------

const familyOf = new Map<string, Family>(
  (Object.keys(families) as Array<Family>).flatMap((family) =>
    families[family].split(" ").map((type) => [type, family] as const)
  )
)

const modifiersOf = new Map<Family, ReadonlySet<string>>(
  (Object.keys(families) as Array<Family>).map((family) => [
    family,
    new Set(`${anywhere} ${modifiers[family]}`.split(" ").filter((name) => name !== ""))
  ])
)

const allModifiers = new Set([...modifiersOf.values()].flatMap((set) => [...set]))

const optionNames = new Set([...allModifiers, "type", "props", "properties", "strict", "messages"])

/** Takes part of no document: words that readers of objects give a meaning of their own. */
const hostileNames = new Set(["__proto__", "constructor", "prototype"])

/**
 * Reads attributes, or says everything that is wrong with them.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (attributes: Attributes): Result.Result<ObjectNode, ReadonlyArray<RuleProblem>> => {
  if (!isRecord(attributes)) {
    return Result.fail([{ path: [], rule: String(attributes), message: "expected an object of attributes" }])
  }
  const problems: Array<RuleProblem> = []
  try {
    const node = parseObject(attributes, [], problems)
    if (Object.hasOwn(attributes, "id")) {
      problems.push({ path: ["id"], rule: "", message: "id is the primary key, and is there without being declared" })
    }
    return problems.length === 0 ? Result.succeed(node) : Result.fail(problems)
  } catch (error) {
    if (!(error instanceof TooDeep)) throw error
    const message = `attributes are nested more than ${mostLevels} deep, or hold themselves`
    return Result.fail([...problems, { path: [error.message], rule: "", message }])
  }
}

/** Deeper attributes are a mistake, or hold themselves. */
const mostLevels = 100

/** Ends the search for problems: what holds itself twice has too many places to look at them all. */
class TooDeep extends Error {
  override readonly name = "TooDeep"
}

const parseObject = (
  object: Attributes,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>,
  strict = false
): ObjectNode => {
  const fields = new Map<string, RuleNode>()
  let own = { optional: false, nullable: false }
  for (const name of Object.keys(object)) {
    if (name === "$$type") {
      own = parseOwnType(object[name], path, problems)
      continue
    }
    const here = [...path, name]
    const wrong = nameProblem(name)
    if (wrong !== undefined) problems.push({ path: here, rule: "", message: wrong })
    const node = parseField(object[name], here, problems)
    if (node !== undefined) fields.set(name, node)
  }
  if (fields.size === 0 && problems.length === 0) {
    problems.push({ path, rule: "", message: "there are no attributes" })
  }
  return { _tag: "Object", fields, ...own, strict }
}

const nameProblem = (name: string): string | undefined => {
  if (name === "") return "a name is empty"
  if (name.startsWith("_") || hostileNames.has(name)) return `the name ${JSON.stringify(name)} is reserved`
  return name.includes(".")
    ? `the name ${JSON.stringify(name)} holds a dot, which separates the parts of a path`
    : undefined
}

/** `$$type`: what is said of a nested object itself. */
const parseOwnType = (
  rule: unknown,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): { readonly optional: boolean; readonly nullable: boolean } => {
  const parts = typeof rule === "string" ? rule.split("|").map((part) => part.trim()) : []
  const known = new Set(["object", "required", "optional", "nullable"])
  for (const part of typeof rule === "string" ? parts : [String(rule)]) {
    if (!known.has(part)) {
      const message = `unknown rule ${quote(part)} in $$type, which takes object, required, optional and nullable`
      problems.push({ path: [...path, "$$type"], rule: String(rule), message })
    }
  }
  return { optional: parts.includes("optional"), nullable: parts.includes("nullable") }
}

const parseField = (
  field: unknown,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): RuleNode | undefined => {
  if (path.length > mostLevels) throw new TooDeep(path[0])
  if (typeof field === "string") return parseRule(field, {}, path, problems)
  if (!isRecord(field)) {
    problems.push({
      path,
      rule: quote(String(field)),
      message: "expected a rule, an explicit definition or nested attributes"
    })
    return undefined
  }
  const { type } = field
  const isExplicit = typeof type === "string" && Object.keys(field).every((name) => optionNames.has(name))
  return isExplicit ? parseExplicit(type, field, path, problems) : parseObject(field, path, problems)
}

const parseExplicit = (
  type: string,
  field: Record<string, unknown>,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): RuleNode | undefined => {
  const props = field["props"] ?? field["properties"]
  if (props === undefined) return parseRule(type, field, path, problems)
  if (!isRecord(props) || type.split("|")[0] !== "object") {
    problems.push({ path, rule: type, message: "props belong to the type object, and are an object of attributes" })
    return undefined
  }
  const node = parseObject(props, path, problems, field["strict"] === true)
  const own = parseOwnType(type, path, problems)
  return {
    ...node,
    optional: field["optional"] === true || own.optional,
    nullable: field["nullable"] === true || own.nullable
  }
}

const parseRule = (
  rule: string,
  options: Record<string, unknown>,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): ValueNode | undefined => {
  const quoted = quote(rule)
  const report = (message: string, position?: number): void => {
    problems.push({ path, rule, message: `${message} in ${quoted}`, position })
  }
  const [first = "", ...parts] = splitRule(rule)
  const [typeName = "", ...args] = first.split(":").map((part) => part.trim())
  const family = familyOf.get(typeName)
  if (family === undefined) {
    report(`unknown type ${quote(typeName)}${suggestion(typeName, familyOf.keys())}`, 0)
    return undefined
  }
  const found: Array<Modifier> = []
  const add = (name: string, argument: unknown, position?: number): void => {
    if (!allModifiers.has(name)) {
      report(`unknown rule ${quote(name)}${suggestion(name, allModifiers)}`, position)
    } else if (modifiersOf.get(family)?.has(name) !== true)
      report(`the rule ${quote(name)} does not apply to ${typeName}`, position)
    // `false` takes a rule back; but it can be a default, and text that may not be empty.
    else if (argument !== false || name === "default" || name === "empty") {
      found.push({ name: name as ModifierName, argument, position })
    }
  }
  let position = first.length + 1
  for (const written of parts) {
    // Spaces around `|` mean nothing, but to a pattern.
    const part = isPattern.test(written) ? written.trimStart() : written.trim()
    const colon = part.indexOf(":")
    const name = (colon < 0 ? part : part.slice(0, colon)).trim()
    const argument = colon < 0 ? true : part.slice(colon + 1)
    add(name, argument === "false" && name !== "default" ? false : argument, position)
    position += written.length + 1
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !["type", "messages", "items", "strict"].includes(name)) add(name, value)
  }
  const has = (name: string): boolean => found.some((modifier) => modifier.name === name)
  const messages = new Map<string, string>()
  for (const [name, text] of Object.entries(isRecord(options["messages"]) ? options["messages"] : {})) {
    const rule = ruleOfMessage(typeName, name)
    if (rule === undefined) report(`messages has ${quote(name)}, which is neither the type nor a rule`)
    else messages.set(rule, String(text))
  }
  return {
    _tag: "Value",
    type: typeName as keyof TypeNames,
    args,
    modifiers: found,
    items: parseItems(found, options["items"], path, problems),
    optional: has("optional"),
    nullable: has("nullable"),
    messages,
    rule
  }
}

/**
 * What a message is about: a rule, `required`, or `type`. Names are also those of s3db.js and its validator, such as
 * `string` and `stringMin`.
 */
const ruleOfMessage = (type: string, name: string): string | undefined => {
  if (name === type || name === "type") return "type"
  const isOfType = name.startsWith(type) && /^[A-Z]/.test(name.slice(type.length))
  const rule = isOfType ? name[type.length]!.toLowerCase() + name.slice(type.length + 1) : name
  return rule === "required" || allModifiers.has(rule) ? rule : undefined
}

const isPattern = /^\s*pattern\s*:/

/** A pattern takes the rest, whatever is in it. */
const splitRule = (rule: string): ReadonlyArray<string> => {
  const pattern = rule.search(/\|\s*pattern\s*:/)
  if (pattern < 0) return rule.split("|")
  return [...rule.slice(0, pattern).split("|"), rule.slice(pattern + 1)]
}

/** As much of a rule as a person wants to see of it. */
const quote = (text: string): string => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)

const parseItems = (
  modifiers: ReadonlyArray<Modifier>,
  option: unknown,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): RuleNode | undefined => {
  const items = option ?? modifiers.find((modifier) => modifier.name === "items")?.argument
  return items === undefined ? undefined : parseField(items, [...path, "[]"], problems)
}

/** The known name that takes the fewest changes, if they are few. */
const suggestion = (name: string, known: Iterable<string>): string => {
  let best = ""
  let least = 3
  // No name is as long as that.
  if (name.length > 32) return ""
  for (const candidate of known) {
    const changes = distance(name.toLowerCase(), candidate.toLowerCase())
    if (changes < least && changes < candidate.length / 2 + 1) [best, least] = [candidate, changes]
  }
  return best === "" ? "" : `, did you mean ${JSON.stringify(best)}?`
}

/** How many characters have to be put in, taken out or replaced (V. Levenshtein). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

// -----------------------------------------------------------------------------
// Compilation
// -----------------------------------------------------------------------------

type AnySchema = Schema.Codec<unknown, unknown>

/** Something about an argument; becomes a problem of its rule. */
class BadArgument extends Error {
  override readonly name = "BadArgument"
}

const compileObject = (
  node: ObjectNode,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>,
  more: Readonly<Record<string, Schema.Top>> = {}
): Schema.Top => {
  const fields: Record<string, Schema.Top> = { ...more }
  for (const [name, field] of node.fields) {
    const here = [...path, name]
    const compiled = compileNode(field, here, problems)
    fields[name] = withPresence(field, compiled, here, problems)
  }
  const struct = Schema.Struct(fields)
  return node.strict ? struct.check(Normalization.strict(Object.keys(fields))) : struct
}

const compileNode = (node: RuleNode, path: ReadonlyArray<string>, problems: Array<RuleProblem>): AnySchema => {
  const schema =
    node._tag === "Object" ? (compileObject(node, path, problems) as AnySchema) : compileValue(node, path, problems)
  return node.nullable ? (Schema.NullOr(schema) as AnySchema) : schema
}

const withPresence = (
  node: RuleNode,
  schema: AnySchema,
  path: ReadonlyArray<string>,
  problems: Array<RuleProblem>
): Schema.Top => {
  const given = node._tag === "Value" ? node.modifiers.find((modifier) => modifier.name === "default") : undefined
  if (given !== undefined && node._tag === "Value") {
    const value = defaultValue(node, given.argument)
    if (Result.isSuccess(Schema.decodeUnknownResult(Schema.toType(schema))(value))) {
      const field = schema as unknown as Schema.Unknown
      return Schema.withConstructorDefault(Effect.succeed(value))(field)
    }
    problems.push({ path, rule: node.rule, message: `the default does not fit in ${quote(node.rule)}` })
  }
  if (node.optional) return Schema.optionalKey(schema)
  const missing = node._tag === "Value" ? node.messages.get("required") : undefined
  return missing === undefined ? schema : schema.pipe(Schema.annotateKey({ messageMissingKey: missing }))
}

/** A default as it was written, in the type of its field. */
const defaultValue = (node: ValueNode, argument: unknown): unknown => {
  if (node.nullable && argument === "null") return null
  if (typeof argument !== "string") return argument
  switch (familyOf.get(node.type)) {
    case "number":
      return Normalization.apply("number", argument)
    case "boolean":
      return Normalization.apply("boolean", argument)
    case "date":
      return Normalization.apply("date", argument)
    case "exact":
      return Option.getOrElse(BigDecimal.fromString(argument), () => argument)
    case "array":
    case "record":
    case "other":
      return parseJson(argument)
    default:
      return argument
  }
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const compileValue = (node: ValueNode, path: ReadonlyArray<string>, problems: Array<RuleProblem>): AnySchema => {
  const items = node.items === undefined ? undefined : compileNode(node.items, [...path, "[]"], problems)
  try {
    const wrongType = node.messages.get("type")
    const plain = baseSchema(node, items)
    const base = wrongType === undefined ? plain : plain.annotate({ message: wrongType })
    // The clean-up comes first: what follows sees clean values.
    const rules = node.modifiers.flatMap((modifier) => checkOf(node, modifier))
    // Each fits the base schema that the same node has, which the types do not tell.
    const checks = [...cleanUps(node), ...rules] as unknown as ReadonlyArray<AST.Check<unknown>>
    const [head, ...tail] = checks
    return head === undefined ? base : base.check(head, ...tail)
  } catch (error) {
    if (!(error instanceof BadArgument || error instanceof RangeError)) throw error
    problems.push({ path, rule: node.rule, message: `${error.message} in ${quote(node.rule)}` })
    return Schema.Unknown as unknown as AnySchema
  }
}

const integerOf = (what: string, value: unknown, fallback?: number): number => {
  if (value === undefined && fallback !== undefined) return fallback
  const number = typeof value === "number" ? value : Number(String(value).trim() || Number.NaN)
  if (!Number.isSafeInteger(number) || number < 0) throw new BadArgument(`${what} has to be an integer from 0`)
  return number
}

const numberOf = (what: string, value: unknown): number => {
  const number = typeof value === "number" ? value : Number(String(value).trim() || Number.NaN)
  if (!Number.isFinite(number)) throw new BadArgument(`${what} has to be a number`)
  return number
}

const asSchema = (schema: Schema.Top): AnySchema => schema as AnySchema

const baseSchema = (node: ValueNode, items: AnySchema | undefined): AnySchema => {
  const [first, second] = node.args
  const choices = choicesOf(node)
  if (choices !== undefined) return asSchema(Schema.Literals(choices))
  switch (node.type) {
    case "number":
    case "float":
      return asSchema(Schema.Finite)
    case "integer":
    case "int":
      return asSchema(Schema.Int)
    case "boolean":
    case "bool":
      return asSchema(Schema.Boolean)
    case "money":
      return asSchema(
        Attribute.Money(first === undefined || /^\d+$/.test(first) ? integerOf("money", first, 2) : first)
      )
    case "crypto":
      return asSchema(Attribute.Crypto(integerOf("crypto", first, 8)))
    case "decimal":
      return asSchema(Attribute.Decimal(integerOf("decimal", first, 2)))
    case "geo":
      return geoSchema(first, second)
    case "embedding":
      return asSchema(embeddingSchema(integerOf("the length of an embedding", first), second))
    case "bits":
      return asSchema(Attribute.Bits(integerOf("the number of bits", first)))
    case "password":
      return passwordSchema(node)
    case "array":
      return asSchema(Schema.Array(items ?? asSchema(Schema.Json)))
    case "record":
      return asSchema(Schema.Record(Schema.String, items ?? asSchema(Schema.Json)))
    case "enum":
      throw new BadArgument("an enum needs its values: enum|values:a,b")
    default:
      return asSchema(plainTypes[node.type])
  }
}

const plainTypes = {
  string: Schema.String,
  text: Schema.String,
  email: Attribute.Email,
  url: Attribute.Url,
  uuid: Attribute.Uuid,
  ulid: Attribute.Ulid,
  ip4: Attribute.Ip4,
  ip6: Attribute.Ip6,
  cidr: Attribute.Cidr,
  mac: Attribute.Mac,
  semver: Attribute.Semver,
  phone: Attribute.Phone,
  color: Attribute.Color,
  colour: Attribute.Color,
  locale: Attribute.Locale,
  currency: Attribute.Currency,
  country: Attribute.Country,
  ean: Attribute.Ean,
  cron: Attribute.CronExpression,
  dateonly: Attribute.DateOnly,
  timeonly: Attribute.TimeOnly,
  date: Attribute.Date,
  datetime: Attribute.DateTime,
  duration: Attribute.Duration,
  json: Schema.Json,
  any: Schema.Json,
  object: Schema.Json,
  bytes: Attribute.Bytes,
  buffer: Attribute.Bytes,
  secret: Attribute.SecretText,
  secretNumber: Attribute.SecretNumber,
  secretAny: Attribute.SecretJson
} as const

const choicesOf = (node: ValueNode): ReadonlyArray<string | number> | undefined => {
  const given = node.modifiers.find(({ name }) => name === "enum" || name === "values")?.argument
  if (given === undefined) return undefined
  const values = Array.isArray(given) ? (given as ReadonlyArray<unknown>) : String(given).split(",")
  const isNumber = familyOf.get(node.type) === "number"
  const choices = values.map((value) =>
    isNumber ? numberOf("each value", value) : typeof value === "number" ? value : String(value).trim()
  )
  if (given === true || choices.length === 0 || choices.includes("")) throw new BadArgument("the values are missing")
  return choices
}

const geoSchema = (kind: string | undefined, precision: string | undefined): AnySchema => {
  const decimals = integerOf("the precision", precision, 6)
  switch (kind) {
    case "lat":
      return asSchema(Attribute.Latitude(decimals))
    case "lon":
      return asSchema(Attribute.Longitude(decimals))
    case "point":
      return asSchema(Attribute.Point(decimals))
    default:
      throw new BadArgument("geo is geo:lat, geo:lon or geo:point")
  }
}

const embeddingSchema = (length: number, format: string | undefined) => {
  if (format === undefined) return Attribute.Embedding(length)
  if (format === "int8" || format === "float16" || format === "float32") return Attribute.Embedding(length, { format })
  return Attribute.Embedding(length, { precision: integerOf("the precision", format) })
}

type PasswordRule = Parameters<typeof Attribute.PasswordWith>[0]

const passwordSchema = (node: ValueNode): AnySchema => {
  const [algorithm] = node.args
  if (algorithm !== undefined && algorithm !== "bcrypt" && algorithm !== "argon2id") {
    throw new BadArgument("a password is hashed by bcrypt or argon2id")
  }
  const bound = (name: "min" | "max") => {
    const given = node.modifiers.find((modifier) => modifier.name === name)?.argument
    return given === undefined ? {} : { [name]: integerOf(name, given) }
  }
  const rule: PasswordRule = { ...bound("min"), ...bound("max"), ...(algorithm === undefined ? {} : { algorithm }) }
  return asSchema(Object.keys(rule).length === 0 ? Attribute.Password : Attribute.PasswordWith(rule))
}

const cleanUps = (node: ValueNode): ReadonlyArray<AST.Filter<unknown>> =>
  node.modifiers.flatMap(({ name }): ReadonlyArray<AST.Filter<unknown>> => {
    if (name === "trim" || name === "lowercase" || name === "uppercase") return [Normalization.normalize(name)]
    if (name !== "convert") return []
    switch (familyOf.get(node.type)) {
      case "number":
        return [Normalization.normalize("number")]
      case "boolean":
        return [Normalization.normalize("boolean")]
      case "date":
        return [Normalization.normalize("date")]
      default:
        return [Normalization.normalize("string")]
    }
  })

const checkOf = (node: ValueNode, { name, argument }: Modifier): ReadonlyArray<AST.Check<never>> => {
  const message = node.messages.get(name)
  const annotations = message === undefined ? undefined : { message }
  const family = familyOf.get(node.type)
  const isNumber = family === "number"
  const isRecordType = family === "record"
  if (family === "password") return []
  switch (name) {
    case "min":
      if (isNumber) return [Schema.isGreaterThanOrEqualTo(numberOf(name, argument), annotations)]
      return [
        isRecordType
          ? Schema.isMinProperties(integerOf(name, argument), annotations)
          : Schema.isMinLength(integerOf(name, argument), annotations)
      ]
    case "max":
      if (isNumber) return [Schema.isLessThanOrEqualTo(numberOf(name, argument), annotations)]
      return [
        isRecordType
          ? Schema.isMaxProperties(integerOf(name, argument), annotations)
          : Schema.isMaxLength(integerOf(name, argument), annotations)
      ]
    case "length": {
      const length = integerOf(name, argument)
      return [
        isRecordType
          ? Schema.isBetweenProperties(length, length, annotations)
          : Schema.isBetweenLength(length, length, annotations)
      ]
    }
    case "empty":
      return argument === false ? [Schema.isMinLength(1, annotations)] : []
    case "pattern":
      return [Schema.isPattern(patternOf(argument), annotations)]
    case "alpha":
      return [Schema.isPattern(/^[a-zA-Z]+$/, annotations)]
    case "alphanum":
      return [Schema.isPattern(/^[a-zA-Z0-9]+$/, annotations)]
    case "alphadash":
      return [Schema.isPattern(/^[a-zA-Z0-9_-]+$/, annotations)]
    case "numeric":
      return [Schema.isPattern(/^\d+$/, annotations)]
    case "integer":
      return [Schema.isInt(annotations)]
    case "positive":
      return [Schema.isGreaterThan(0, annotations)]
    case "negative":
      return [Schema.isLessThan(0, annotations)]
    case "unique":
      return [Schema.isUnique(annotations)]
    default:
      return []
  }
}

const patternOf = (argument: unknown): RegExp => {
  if (argument instanceof RegExp) return argument
  const text = String(argument)
  const literal = /^\/(.*)\/([a-z]*)$/s.exec(text)
  try {
    return literal === null ? new RegExp(text) : new RegExp(literal[1]!, literal[2])
  } catch {
    throw new BadArgument("the pattern is no regular expression")
  }
}

/**
 * Returns the schema of attributes in the notation, or everything that is wrong with them. `more`: fields that have a
 * schema.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toSchemaResult = <const A extends Attributes>(
  attributes: A,
  more?: Readonly<Record<string, Schema.Top>>
): Result.Result<Compiled<Type<A>, Input<A>>, ReadonlyArray<RuleProblem>> =>
  Result.flatMap(parse(attributes), (node) => {
    const problems: Array<RuleProblem> = []
    const schema = compileObject(node, [], problems, more)
    // The types follow from the text of the rules, which TypeScript reads for itself.
    return problems.length > 0
      ? Result.fail(problems)
      : Result.succeed(schema as unknown as Compiled<Type<A>, Input<A>>)
  })

/**
 * Returns the schema of attributes in the notation. Throws `UnsupportedSchema`, which names every problem: that is a
 * mistake in the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toSchema = <const A extends Attributes>(
  attributes: A & Valid<A>,
  more?: Readonly<Record<string, Schema.Top>>
): Compiled<Type<A>, Input<A>> => {
  const result = toSchemaResult<A>(attributes, more)
  if (Result.isSuccess(result)) return result.success
  throw new UnsupportedSchema(describe(result.failure))
}

/**
 * Returns problems as text, one in a line.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = (problems: ReadonlyArray<RuleProblem>): string =>
  problems.map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`)).join("\n")
