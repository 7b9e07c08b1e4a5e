/**
 * What queries can ask about the documents of a resource: its fields, and what the database knows of each document.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import type * as Document from "../Document.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { samePath, without } from "../internal/json.ts"
import { nearest, perhaps } from "../internal/nearest.ts"
import * as Partition from "../Partition.ts"
import * as Query from "../Query.ts"
import * as Attributes from "../schema/Attributes.ts"
import type { OperandCodecs } from "./operandCodecs.ts"
import * as parse from "./parse.ts"

/**
 * What the system fields hold, as conditions see them.
 *
 * @category constants
 * @since 0.1.0
 */
export const systemSchemas = {
  $createdAt: Schema.DateTimeUtcFromString,
  $updatedAt: Schema.DateTimeUtcFromString,
  $schemaVersion: Schema.Int
} as const satisfies Record<(typeof Partition.systemFields)[number], Schema.Top>

type Path = ReadonlyArray<string>

/**
 * What the system fields of a document are made of.
 *
 * @category models
 * @since 0.1.0
 */
export type System = Pick<Document.Stored, "createdAt" | "writtenAt" | "schemaVersion">

/**
 * The fields of a resource, as queries see them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fields<A> {
  /** How values of the fields compare. */
  readonly options: Query.Options
  /** Whether equal values are stored in one way only, so that they can be looked up. */
  readonly isExact: (path: Path) => boolean
  readonly codecOf: (path: Path) => string | undefined
  /** Whether every document has a value there, and so a place in a partition by it. */
  readonly isAlwaysThere: (path: Path) => boolean
  /** `InvalidInput` for a field that is not there, is secret, holds a secret, or is part of one. */
  readonly check: (paths: ReadonlyArray<Path>) => Effect.Effect<void, DbError.InvalidInput>
  /** The conditions of a request, their operands in the form in which the fields are stored. */
  readonly predicateOf: (request: Query.Request<A>) => Effect.Effect<Query.Predicate, DbError.InvalidInput>
  /** The order of a request. */
  readonly orderOf: (request: Query.Request<A>) => Effect.Effect<Query.Order, DbError.InvalidInput>
  /** The conditions that untrusted JSON asks for, ready for a request. */
  readonly parseWhere: (input: unknown) => Effect.Effect<Query.Predicate, DbError.InvalidInput>
  /** The order that a text asks for. */
  readonly parseOrder: (text: string) => Effect.Effect<Query.Order, DbError.InvalidInput>
  /** A document as conditions see it: without secrets, so that nobody can ask for them bit by bit, with system fields. */
  readonly jsonOf: (base: Base<A>) => JsonObject
  /** The same without the system fields. */
  readonly bareOf: (base: Base<A>) => JsonObject
  /** With system fields, of a document that is no stored version. */
  readonly jsonWith: (id: string, json: JsonObject, system: System) => JsonObject
  /** Leaves the system fields out. */
  readonly shown: (json: JsonObject) => JsonObject
}

/** A value that is compared, or shown, in part would be another one: its other fields can be asked for. */
const hiddenProblem = ({ path, relation }: Attributes.Hidden): string =>
  relation === "holds"
    ? `Expected a field that holds nothing secret, as this one does in ${path.join(".")}: name its other fields`
    : "Expected a field that is not secret"

const isDecimal = (codec: string | undefined): boolean => /^(?:money|decimal|crypto):/.test(codec ?? "")

/**
 * Makes what is known of the fields of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends Attributes.DocumentSchema>(
  { attributes, name, primaryKey }: Definition<S>,
  { context }: Documents<S["Type"]>,
  operands: OperandCodecs
): Fields<S["Type"]> => {
  type A = S["Type"]
  const { invalid } = context
  const kinds = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute.codec]))
  const codecOf = (path: Path) => kinds.get(path.join("."))
  const systemFields = [...Partition.systemFields]

  const isSystem = (path: Path): boolean =>
    path.length === 1 && (path[0] === primaryKey || systemFields.some((field) => field === path[0]))

  const secretPaths = attributes.filter(({ codec }) => Attributes.isHidden(codec)).map(({ path }) => path)

  /** Why a path cannot be asked for, if it cannot. */
  const problemOf = (path: Path): string | undefined => {
    if (isSystem(path)) return undefined
    const hidden = Attributes.hiddenAt(attributes, path)
    if (hidden !== undefined) return hiddenProblem(hidden)
    const isField = attributes.some(({ codec, path: known }) => {
      const shared = Math.min(path.length, known.length)
      // Fields of a struct are attributes of their own.
      const isBelow = codec === "struct" && path.length > known.length
      return !isBelow && samePath(path.slice(0, shared), known.slice(0, shared))
    })
    if (isField && operands.has(path)) return undefined
    const names = [primaryKey, ...kinds.keys()]
    const near = nearest(path.join("."), [...names, ...systemFields])
    return `Expected a field of ${name}: ${names.join(", ")}${perhaps(near)}`
  }

  const check = (paths: ReadonlyArray<Path>) => {
    for (const path of paths) {
      const problem = problemOf(path)
      if (problem !== undefined) return Effect.fail(invalid(path, problem))
    }
    return Effect.void
  }

  const orFail = <X>(result: Result.Result<X, Query.Problem>) =>
    Result.isSuccess(result)
      ? Effect.succeed(result.success)
      : Effect.fail(invalid(result.failure.path, result.failure.message))

  /** Nothing is told of the operands of a field that may not be asked for. */
  const ofField =
    (fit: OperandCodecs["fromValue"]): OperandCodecs["fromValue"] =>
    (path, value, use) => {
      const problem = problemOf(path)
      return problem === undefined ? fit(path, value, use) : Result.fail(problem)
    }

  const checked = Effect.fnUntraced(function* (result: Result.Result<Query.Predicate, Query.Problem>) {
    const predicate = yield* orFail(result)
    yield* check(Query.paths(predicate))
    return predicate
  })

  const checkedOrder = Effect.fnUntraced(function* (result: Result.Result<Query.Order, Query.Problem>) {
    const order = yield* orFail(result)
    yield* check(order.map((one) => one.path))
    return order
  })

  const clear = (json: JsonObject): JsonObject =>
    secretPaths.length === 0 ? json : secretPaths.reduce<JsonObject>((all, path) => without(all, path), json)

  const jsonWith = (id: string, json: JsonObject, { createdAt, schemaVersion, writtenAt }: System): JsonObject => {
    const $createdAt = new Date(createdAt).toISOString()
    return {
      [primaryKey]: id,
      ...clear(json),
      $createdAt,
      // Most documents are never changed.
      $updatedAt: writtenAt === createdAt ? $createdAt : new Date(writtenAt).toISOString(),
      $schemaVersion: schemaVersion
    }
  }

  return {
    options: { orderOf: (path) => (isDecimal(codecOf(path)) ? "decimal" : operands.kindOf(path)) },
    isExact: (path) => !isDecimal(codecOf(path)) && operands.kindOf(path) !== "moment",
    codecOf,
    isAlwaysThere: (path) =>
      isSystem(path) ||
      path.every((_, i) => {
        const at = path.slice(0, i + 1)
        const found = attributes.find((attribute) => samePath(attribute.path, at))
        return found !== undefined && !found.optional && !found.nullable && !found.codec.startsWith("option:")
      }),
    check,
    predicateOf: Effect.fnUntraced(function* ({ where, predicate }: Query.Request<A>) {
      const given =
        predicate === undefined ? undefined : yield* checked(parse.mapOperands(predicate, ofField(operands.fromJson)))
      if (where === undefined) return given ?? Query.everything
      const typed = yield* checked(parse.fromWhere(where, { systemFields, toJson: ofField(operands.fromValue) }))
      return given === undefined ? typed : Query.and(typed, given)
    }),
    orderOf: ({ order }) =>
      order === undefined
        ? Effect.succeed([])
        : checkedOrder(typeof order === "string" ? parse.orderFromText(order) : parse.orderFrom(order)),
    parseWhere: (input) => checked(parse.fromJson(input, { systemFields, toJson: ofField(operands.fromJson) })),
    parseOrder: (text) => checkedOrder(parse.orderFromText(text)),
    jsonOf: ({ id, json, stored }) => jsonWith(id, json(), stored),
    bareOf: ({ id, json }) => ({ [primaryKey]: id, ...clear(json()) }),
    jsonWith,
    shown: ({ $createdAt: _, $updatedAt: __, $schemaVersion: ___, ...rest }) => rest
  }
}
