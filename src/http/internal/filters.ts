/**
 * Filters of a request, as JSON and as query parameters (`country=BR`, `age[gte]=18`), and the fields that they may be about.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as DbError from "../../DbError.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import type * as Query from "../../Query.ts"
import * as Attributes from "../../schema/Attributes.ts"

const parameter = /^([^[\]]+)(?:\[(\w+)\])?$/

const listed = new Set(["in", "notIn", "between"])

/**
 * Makes what makes conditions of the parameters that are none of the API. What is written of a text, as every id is, is a text; of other fields what
 * is JSON is that, so that `18` is a number. `undefined` when there is none.
 */
export const fromParameters = (
  resource: string,
  primaryKey: string,
  attributes: ReadonlyArray<Attributes.Attribute>
): ((
  parameters: URLSearchParams,
  reserved: ReadonlySet<string>
) => Effect.Effect<JsonObject | undefined, DbError.InvalidInput>) => {
  const texts = new Set([
    primaryKey,
    "$createdAt",
    "$updatedAt",
    ...attributes.filter(({ codec }) => Attributes.textCodecs.has(codec)).map(({ path }) => path.join("."))
  ])
  return (parameters, reserved) => conditionsIn(resource, texts, parameters, reserved)
}

const conditionsIn = (
  resource: string,
  texts: ReadonlySet<string>,
  parameters: URLSearchParams,
  reserved: ReadonlySet<string>
): Effect.Effect<JsonObject | undefined, DbError.InvalidInput> => {
  const valueOf = (path: string, text: string): Json => {
    if (texts.has(path)) return text
    try {
      const value = JSON.parse(text) as Json
      return typeof value === "object" && value !== null ? text : value
    } catch {
      return text
    }
  }
  const conditions: Array<JsonObject> = []
  for (const [name, text] of parameters) {
    if (reserved.has(name)) continue
    const [, path, operator] = parameter.exec(name) ?? []
    if (path === undefined || path.startsWith("$and") || path.startsWith("$or") || path.startsWith("$not")) {
      const message = "Expected a field, or one with an operator, such as age[gte]; anything else goes in filter"
      return Effect.fail(DbError.invalidField(resource, [name], message))
    }
    const value: Json =
      operator === undefined
        ? { eq: valueOf(path, text) }
        : {
            [operator]:
              operator === "exists"
                ? text === "true" || (text === "false" ? false : text)
                : listed.has(operator)
                  ? text.split(",").map((one) => valueOf(path, one))
                  : operator === "startsWith"
                    ? text
                    : valueOf(path, text)
          }
    // A computed name is a property of its own, also `__proto__`.
    conditions.push({ [path]: value })
  }
  if (conditions.length === 0) return Effect.undefined
  const [first] = conditions
  return Effect.succeed(conditions.length === 1 && first !== undefined ? first : { $and: conditions })
}

/** Both, where both are given. */
export const both = (filter: Json | undefined, parameters: JsonObject | undefined): Json | undefined =>
  filter === undefined ? parameters : parameters === undefined ? filter : { $and: [filter, parameters] }

type Path = ReadonlyArray<string>

/** The fields that a predicate asks about. */
export const pathsOf = (predicate: Query.Predicate): ReadonlyArray<Path> => {
  switch (predicate._tag) {
    case "And":
      return predicate.all.flatMap(pathsOf)
    case "Or":
      return predicate.any.flatMap(pathsOf)
    case "Not":
      return pathsOf(predicate.not)
    default:
      return [predicate.path]
  }
}

const isPrefix = (short: Path, long: Path): boolean => short.every((name, index) => name === long[index])

/**
 * Refuses fields that are not shown: who may ask for them bit by bit may as well see them. A field that is in one, or holds one, is
 * refused, too.
 */
export const protectedFrom = (resource: string, protect: ReadonlyArray<Query.Path>) => {
  const hidden = protect.map((path) => {
    const names = typeof path === "string" ? path.split(".") : path
    const end = names.findIndex((name) => name === "[]" || name === "{}")
    return end < 0 ? names : names.slice(0, end)
  })
  const allows = (path: Path): boolean => !hidden.some((one) => isPrefix(one, path) || isPrefix(path, one))
  const check = (paths: ReadonlyArray<Path>): Effect.Effect<void, DbError.InvalidInput> => {
    const found = paths.find((path) => !allows(path))
    return found === undefined
      ? Effect.void
      : Effect.fail(DbError.invalidField(resource, found, "Expected a field that is shown"))
  }
  return Object.assign(check, { allows })
}
