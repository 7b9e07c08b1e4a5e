/**
 * Reading of the notation: what a program wrote, and what untrusted JSON or text asks for.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import type { Json } from "../encoding/Json.ts"
import { nearest, perhaps } from "../internal/nearest.ts"
import * as Query from "../Query.ts"

// -----------------------------------------------------------------------------
// Conditions
// -----------------------------------------------------------------------------

/**
 * The use of an operand: `equal` of `eq`, `ne`, `in` and `notIn`, `order` of the comparisons and `between`. For an
 * array the operand is the whole, or one of its elements; for `contains` an element, or a part of a text; for
 * `startsWith` the beginning of a text.
 *
 * @category models
 * @since 0.1.0
 */
export type OperandUse = "equal" | "order" | "contains" | "startsWith"

/**
 * The limits of the notation, and the forms of its operands.
 *
 * - `toJson`: the JSON form of an operand for the field at `path`, or what was expected instead, without the value. Default:
 *   JSON as it is, dates as ISO text, big decimals and bigints as decimal text.
 * - `systemFields`: fields whose name begins with `$`. Every other such name is refused, as it may be a misspelt `$and`.
 * - `maxDepth`: how deep objects and lists may lie in each other. Default: 32 for `fromJson`, 256 for `fromWhere`.
 * - `maxNodes`: how many conditions and values there may be. Default: 1,000 for `fromJson`, no limit for `fromWhere`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly toJson?:
    | ((path: ReadonlyArray<string>, value: unknown, use: OperandUse) => Result.Result<Json, string>)
    | undefined
  readonly systemFields?: ReadonlyArray<string> | undefined
  readonly maxDepth?: number | undefined
  readonly maxNodes?: number | undefined
}

/**
 * Reads the predicate that a program wrote down in the notation.
 *
 * Fails with the first problem: a value that `toJson` refuses, `undefined` (leave the key out instead: a condition never
 * vanishes silently), an unknown operator.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromWhere = <A>(
  where: Query.Where<A>,
  options: Options = {}
): Result.Result<Query.Predicate, Query.Problem> =>
  parse(where, { maxDepth: 256, maxNodes: Number.POSITIVE_INFINITY, ...defined(options) }, false)

/**
 * Reads the predicate that untrusted JSON asks for, in the same notation: a command line, an HTTP request. Operators
 * may have a `$` before their name.
 *
 * Fails with the first problem: an unknown operator, an operand of the wrong type, a query that is too deep or too large,
 * the name `__proto__`. Which fields may be asked for is for the caller to check, with `Query.paths`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromJson = (input: unknown, options: Options = {}): Result.Result<Query.Predicate, Query.Problem> =>
  parse(input, { maxDepth: 32, maxNodes: 1000, ...defined(options) }, true)

// -----------------------------------------------------------------------------
// Orders
// -----------------------------------------------------------------------------

const maxOrderFields = 32

/**
 * Reads the order that a program wrote down, or has already. The fields of an object count in the order in which they
 * stand.
 *
 * Fails for an empty name, a field that is there twice, and for more than 32 fields.
 *
 * @category constructors
 * @since 0.1.0
 */
export const orderFrom = <A>(by: Query.OrderBy<A> | Query.Order): Result.Result<Query.Order, Query.Problem> => {
  const entries: Array<Entry> = []
  const items: ReadonlyArray<string | object> = Array.isArray(by) ? by : [by]
  for (const item of items) {
    if (typeof item === "string") entries.push(signed(item))
    else if (isOrdering(item)) entries.push([item.path, item.direction])
    else entries.push(...Object.entries(item))
  }
  return orderOfEntries(entries)
}

type Entry = readonly [name: Query.Path, direction: unknown]

/** Of a field that is called `path` there is a direction, no list. */
const isOrdering = (item: object): item is Query.Order[number] => "path" in item && Array.isArray(item.path)

/**
 * Reads the order that a text asks for: names with commas between them, those that begin with `-` in descending order,
 * such as `-createdAt,name`. An empty text is no order.
 *
 * Fails as `orderFrom` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const orderFromText = (text: string): Result.Result<Query.Order, Query.Problem> =>
  text.trim() === "" ? Result.succeed([]) : orderOfEntries(text.split(",").map((part) => signed(part.trim())))

const signed = (text: string): readonly [string, Query.Direction] =>
  text.startsWith("-") ? [text.slice(1), "desc"] : [text.startsWith("+") ? text.slice(1) : text, "asc"]

const orderOfEntries = (entries: ReadonlyArray<Entry>): Result.Result<Query.Order, Query.Problem> => {
  if (entries.length > maxOrderFields) {
    return Result.fail({ path: [], message: `Expected at most ${maxOrderFields} fields to sort by` })
  }
  const seen = new Set<string>()
  const order: Array<Query.Order[number]> = []
  for (const [field, direction] of entries) {
    const name = typeof field === "string" ? field : field.join(".")
    const fail = (message: string): Result.Result<Query.Order, Query.Problem> => Result.fail({ path: [name], message })
    const path = typeof field === "string" ? parsePath(field) : field
    if (path === undefined) return fail("Expected the name of a field")
    if (direction !== "asc" && direction !== "desc") return fail("Expected asc or desc")
    if (seen.has(name)) return fail("Expected each field only once")
    seen.add(name)
    order.push({ path, direction })
  }
  return Result.succeed(order)
}

// -----------------------------------------------------------------------------
// Operands
// -----------------------------------------------------------------------------

/**
 * Returns the predicate with each operand changed, such as into the form that a field is stored in. Fails with the
 * first operand that has none: the problem names the path and the operator.
 *
 * @category conversions
 * @since 0.1.0
 */
export const mapOperands = (
  predicate: Query.Predicate,
  change: (path: ReadonlyArray<string>, value: Json, use: OperandUse) => Result.Result<Json, string>
): Result.Result<Query.Predicate, Query.Problem> => {
  type Changed = Result.Result<Query.Predicate, Query.Problem>
  const many = (all: ReadonlyArray<Query.Predicate>) => Result.all(all.map(visit))
  const one = (node: Query.FieldPredicate, at: At, value: Json, use: OperandUse): Parsed<Json> =>
    Result.mapError(change(node.path, value, use), (message) => ({ path: [...node.path, ...at], message }))
  const visit = (node: Query.Predicate): Changed => {
    if (!isPredicate(node)) return failure(["predicate"], "Expected conditions, as parseWhere and Query.eq make them")
    switch (node._tag) {
      case "And":
        return Result.map(many(node.all), (all) => ({ _tag: "And", all }))
      case "Or":
        return Result.map(many(node.any), (any) => ({ _tag: "Or", any }))
      case "Not":
        return Result.map(visit(node.not), Query.not)
      case "Compare": {
        const use = node.op === "eq" || node.op === "ne" ? "equal" : "order"
        return Result.map(one(node, [node.op], node.value, use), (value) => ({ ...node, value }))
      }
      case "In":
        return Result.map(
          Result.all(node.values.map((value, i) => one(node, ["in", i], value, "equal"))),
          (values) => ({ ...node, values })
        )
      case "Between":
        return Result.flatMap(one(node, ["between", 0], node.from, "order"), (from) =>
          Result.map(one(node, ["between", 1], node.to, "order"), (to) => ({ ...node, from, to }))
        )
      case "StartsWith":
        return Result.flatMap(one(node, ["startsWith"], node.prefix, "startsWith"), (prefix) =>
          typeof prefix === "string"
            ? Result.succeed({ ...node, prefix })
            : failure([...node.path, "startsWith"], "Expected a text")
        )
      case "Contains":
        return Result.map(one(node, ["contains"], node.value, "contains"), (value) => ({ ...node, value }))
      case "Exists":
        return Result.succeed(node)
    }
  }
  return visit(predicate)
}

/** Whether a value has the shape of conditions, but for those in it: a program without types may give something else. */
const isPredicate = (value: unknown): value is Query.Predicate => {
  if (typeof value !== "object" || value === null) return false
  const node = value as Readonly<Record<string, unknown>>
  switch (node["_tag"]) {
    case "And":
      return Array.isArray(node["all"])
    case "Or":
      return Array.isArray(node["any"])
    case "Not":
      return true
    case "Compare":
      return isPath(node["path"]) && compareOps.has(node["op"])
    case "In":
      return isPath(node["path"]) && Array.isArray(node["values"])
    case "Between":
    case "StartsWith":
    case "Contains":
      return isPath(node["path"])
    case "Exists":
      return isPath(node["path"]) && typeof node["exists"] === "boolean"
    default:
      return false
  }
}

const compareOps: ReadonlySet<unknown> = new Set<Query.CompareOp>(["eq", "ne", "gt", "gte", "lt", "lte"])

const isPath = (path: unknown): boolean =>
  Array.isArray(path) && path.length > 0 && path.every((segment) => typeof segment === "string")

// -----------------------------------------------------------------------------
// The parser
// -----------------------------------------------------------------------------

const operators = [
  "eq",
  "ne",
  "gt",
  "gte",
  "lt",
  "lte",
  "between",
  "in",
  "notIn",
  "startsWith",
  "contains",
  "exists"
] as const

type Operator = (typeof operators)[number]

const operatorOf = new Map<string, Operator>(
  operators.flatMap((name) => [[name, name] as const, [`$${name}`, name] as const])
)

const logicalNames = "$and, $or, $not"
const operatorNames = operators.join(", ")

/** What other notations call the operators. */
const otherNames: Readonly<Record<Operator, string>> = {
  eq: "equals equal equalTo is",
  ne: "neq not notEqual notEquals isNot",
  gt: "after greaterThan more moreThan above",
  gte: "since from ge min atLeast greaterThanOrEqual onOrAfter",
  lt: "before lessThan less below",
  lte: "until to le max atMost lessThanOrEqual onOrBefore upTo",
  between: "range within",
  in: "anyOf oneOf isIn",
  notIn: "nin noneOf isNotIn",
  startsWith: "beginsWith prefix startingWith",
  contains: "includes has like including",
  exists: "isNull null isSet defined present"
}

const otherNameOf = new Map(
  operators.flatMap((operator) =>
    otherNames[operator].split(" ").map((name) => [name.toLowerCase(), operator] as const)
  )
)

/** The operator that somebody may have meant. */
const meant = (key: string): Operator | undefined => {
  const name = key.replace(/^\$/, "").toLowerCase()
  return otherNameOf.get(name) ?? operatorOf.get(nearest(name, operators) ?? "")
}

const notAnOperator = (key: string): string => `Expected an operator: one of ${operatorNames}${perhaps(meant(key))}`

type Parsed<A> = Result.Result<A, Query.Problem>

type At = ReadonlyArray<string | number>

interface Parser {
  readonly toJson: Options["toJson"]
  readonly systemFields: ReadonlySet<string>
  readonly isUntrusted: boolean
  readonly maxDepth: number
  readonly maxNodes: number
  nodes: number
}

interface Limits {
  readonly maxDepth: number
  readonly maxNodes: number
}

const defined = (options: Options): Options & Partial<Limits> => {
  const { maxDepth, maxNodes, ...rest } = options
  return {
    ...rest,
    ...(maxDepth === undefined ? {} : { maxDepth }),
    ...(maxNodes === undefined ? {} : { maxNodes })
  }
}

const parse = (input: unknown, options: Options & Limits, isUntrusted: boolean): Parsed<Query.Predicate> =>
  parseWhere(
    {
      toJson: options.toJson,
      systemFields: new Set(options.systemFields),
      isUntrusted,
      maxDepth: options.maxDepth,
      maxNodes: options.maxNodes,
      nodes: 0
    },
    input,
    []
  )

const failure = (path: At, message: string): Result.Result<never, Query.Problem> => Result.fail({ path, message })

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** `undefined`: no path. */
const parsePath = (name: string): ReadonlyArray<string> | undefined => {
  const path = name.split(".")
  return path.some((part) => part === "" || part === "__proto__") ? undefined : path
}

/** Counts one more condition or value, and how deep it lies. */
const enter = (parser: Parser, at: At, depth: number): Query.Problem | undefined => {
  parser.nodes += 1
  if (parser.nodes > parser.maxNodes) {
    return { path: at, message: `Expected at most ${parser.maxNodes} conditions and values` }
  }
  if (depth > parser.maxDepth) return { path: at, message: `Expected at most ${parser.maxDepth} levels` }
  return undefined
}

const conjunction = (all: ReadonlyArray<Query.Predicate>): Query.Predicate =>
  all.length === 1 ? all[0]! : { _tag: "And", all }

const parseWhere = (parser: Parser, input: unknown, at: At): Parsed<Query.Predicate> => {
  const problem = enter(parser, at, at.length)
  if (problem !== undefined) return Result.fail(problem)
  if (!isPlain(input)) return failure(at, "Expected an object of conditions")
  const all: Array<Query.Predicate> = []
  for (const key of Object.keys(input)) {
    const parsed = parseEntry(parser, key, input[key], [...at, key])
    if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
    all.push(...parsed.success)
  }
  return Result.succeed(conjunction(all))
}

const parseEntry = (parser: Parser, key: string, value: unknown, at: At): Parsed<ReadonlyArray<Query.Predicate>> => {
  switch (key) {
    case "$and":
      return Result.map(parseAll(parser, value, at), (all) => [{ _tag: "And", all }])
    case "$or":
      return Result.map(parseAll(parser, value, at), (any) => [{ _tag: "Or", any }])
    case "$not":
      return Result.map(parseWhere(parser, value, at), (negative) => [{ _tag: "Not", not: negative }])
    default: {
      const path = parsePath(key)
      if (path === undefined) return failure(at, "Expected the name of a field")
      if (key.startsWith("$") && !parser.systemFields.has(key)) {
        const also = operatorOf.has(key)
          ? "; an operator stands below the name of a field"
          : perhaps(nearest(key, parser.systemFields))
        return failure(at, `Expected the name of a field, or one of ${logicalNames}${also}`)
      }
      return parseCondition(parser, path, value, at)
    }
  }
}

const parseAll = (parser: Parser, input: unknown, at: At): Parsed<ReadonlyArray<Query.Predicate>> => {
  if (!Array.isArray(input)) return failure(at, "Expected a list of conditions")
  const members: Array<Query.Predicate> = []
  for (let i = 0; i < input.length; i++) {
    const parsed = parseWhere(parser, input[i], [...at, i])
    if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
    members.push(parsed.success)
  }
  return Result.succeed(members)
}

const parseCondition = (
  parser: Parser,
  path: ReadonlyArray<string>,
  input: unknown,
  at: At
): Parsed<ReadonlyArray<Query.Predicate>> => {
  const problem = enter(parser, at, at.length)
  if (problem !== undefined) return Result.fail(problem)
  const keys = isPlain(input) ? Object.keys(input) : []
  if (!isPlain(input) || !keys.some((key) => operatorOf.has(key) || key.startsWith("$"))) {
    const value = readValue(parser, path, input, at, "equal")
    if (Result.isSuccess(value)) return Result.succeed([{ _tag: "Compare", op: "eq", path, value: value.success }])
    // It is no value of the field: what stands there may be meant as an operator.
    const [key = ""] = keys
    return meant(key) === undefined ? Result.fail(value.failure) : failure([...at, key], notAnOperator(key))
  }
  const found: Array<Query.Predicate> = []
  for (const key of keys) {
    const operator = operatorOf.get(key)
    if (operator === undefined) {
      return keys.some((other) => operatorOf.has(other))
        ? failure(
            [...at, key],
            `Expected only operators beside operators: one of ${operatorNames}; write { "eq": ... } for a value`
          )
        : failure([...at, key], notAnOperator(key))
    }
    const parsed = parseOperator(parser, path, operator, input[key], [...at, key])
    if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
    found.push(parsed.success)
  }
  return Result.succeed(found)
}

const parseOperator = (
  parser: Parser,
  path: ReadonlyArray<string>,
  operator: Operator,
  input: unknown,
  at: At
): Parsed<Query.Predicate> => {
  switch (operator) {
    case "eq":
    case "ne":
      return Result.map(readValue(parser, path, input, at, "equal"), (value) => ({
        _tag: "Compare",
        op: operator,
        path,
        value
      }))
    case "gt":
    case "gte":
    case "lt":
    case "lte":
      return Result.map(readOrdered(parser, path, input, at), (value) => ({
        _tag: "Compare",
        op: operator,
        path,
        value
      }))
    case "between":
      if (!Array.isArray(input) || input.length !== 2) return failure(at, "Expected a list of two values")
      return Result.flatMap(readOrdered(parser, path, input[0], [...at, 0]), (from) =>
        Result.flatMap(readOrdered(parser, path, input[1], [...at, 1]), (to) =>
          typeof from === typeof to
            ? Result.succeed<Query.Predicate>({ _tag: "Between", path, from, to })
            : failure(at, "Expected two numbers or two texts")
        )
      )
    case "in":
      return Result.map(readValues(parser, path, input, at), (values) => ({ _tag: "In", path, values }))
    case "notIn":
      return Result.map(readValues(parser, path, input, at), (values) => Query.not({ _tag: "In", path, values }))
    case "startsWith":
      return parsePrefix(parser, path, input, at)
    case "contains":
      return Result.map(readValue(parser, path, input, at, "contains"), (value) => ({ _tag: "Contains", path, value }))
    case "exists":
      if (typeof input !== "boolean") return failure(at, "Expected true or false")
      return Result.succeed({ _tag: "Exists", path, exists: input })
  }
}

const parsePrefix = (parser: Parser, path: ReadonlyArray<string>, input: unknown, at: At): Parsed<Query.Predicate> => {
  const read = (prefix: string, at: At, ignoreCase?: boolean): Parsed<Query.Predicate> =>
    Result.flatMap(readValue(parser, path, prefix, at, "startsWith"), (text) =>
      typeof text === "string"
        ? Result.succeed(Query.startsWith(path, text, { ignoreCase }))
        : failure(at, "Expected a text")
    )
  if (typeof input === "string") return read(input, at)
  if (!isPlain(input)) return failure(at, "Expected a text, or an object with prefix and ignoreCase")
  const { prefix, ignoreCase, ...others } = input
  const [other] = Object.keys(others)
  if (other !== undefined) return failure([...at, other], "Expected nothing but prefix and ignoreCase")
  if (typeof prefix !== "string") return failure([...at, "prefix"], "Expected a text")
  if (ignoreCase !== undefined && typeof ignoreCase !== "boolean") {
    return failure([...at, "ignoreCase"], "Expected true or false")
  }
  return read(prefix, [...at, "prefix"], ignoreCase)
}

const readValues = (
  parser: Parser,
  path: ReadonlyArray<string>,
  input: unknown,
  at: At
): Parsed<ReadonlyArray<Json>> => {
  if (!Array.isArray(input)) return failure(at, "Expected a list of values")
  const values: Array<Json> = []
  for (let i = 0; i < input.length; i++) {
    const parsed = readValue(parser, path, input[i], [...at, i], "equal")
    if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
    values.push(parsed.success)
  }
  return Result.succeed(values)
}

const readOrdered = (parser: Parser, path: ReadonlyArray<string>, input: unknown, at: At): Parsed<number | string> =>
  Result.flatMap(readValue(parser, path, input, at, "order"), (value) =>
    typeof value === "number" || typeof value === "string"
      ? Result.succeed(value)
      : failure(at, "Expected a number or a text")
  )

const readValue = (
  parser: Parser,
  path: ReadonlyArray<string>,
  input: unknown,
  at: At,
  use: OperandUse
): Parsed<Json> => {
  if (input === undefined) return failure(at, "Expected a value, not undefined; leave the key out")
  if (parser.toJson === undefined) return readJson(parser, input, at, at.length)
  if (parser.isUntrusted) {
    const checked = readJson(parser, input, at, at.length)
    if (Result.isFailure(checked)) return checked
  }
  const value = parser.toJson(path, input, use)
  if (Result.isFailure(value)) return failure(at, value.failure)
  // Of what is untrusted, the input has been counted.
  return readJson(parser.isUntrusted ? { ...parser, nodes: 0 } : parser, value.success, at, at.length)
}

/** A value as JSON has it; other values of documents in the form that the JSON codecs of Effect give them. */
const readJson = (parser: Parser, value: unknown, at: At, depth: number): Parsed<Json> => {
  const problem = enter(parser, at, depth)
  if (problem !== undefined) return Result.fail(problem)
  if (value === null || typeof value === "boolean" || typeof value === "string") return Result.succeed(value)
  if (typeof value === "number") {
    return Number.isFinite(value) ? Result.succeed(value) : failure(at, "Expected a finite number")
  }
  if (Array.isArray(value)) {
    const items: Array<Json> = []
    for (let i = 0; i < value.length; i++) {
      const item = readJson(parser, value[i], [...at, i], depth + 1)
      if (Result.isFailure(item)) return item
      items.push(item.success)
    }
    return Result.succeed(items)
  }
  if (isPlain(value)) {
    const object: Record<string, Json> = {}
    for (const key of Object.keys(value)) {
      if (key === "__proto__") return failure([...at, key], "Expected a key other than __proto__")
      const member = readJson(parser, value[key], [...at, key], depth + 1)
      if (Result.isFailure(member)) return member
      object[key] = member.success
    }
    return Result.succeed(object)
  }
  const text = leafText(value)
  return text === undefined ? failure(at, "Expected a value that JSON can carry") : Result.succeed(text)
}

const leafText = (value: unknown): string | undefined => {
  if (typeof value === "bigint") return String(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  if (BigDecimal.isBigDecimal(value)) return BigDecimal.format(value)
  return undefined
}
