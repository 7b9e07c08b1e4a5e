/**
 * The proof that a value comes back from the store as it is, for what its schema cannot promise.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import { documentLevels, type Json, type JsonObject, stringifyExact } from "../encoding/Json.ts"
import * as Attributes from "../schema/Attributes.ts"
import type { ExactCodec } from "../schema/internal/exact.ts"

type Path = ReadonlyArray<string | number>

/**
 * The check of values whose schema cannot promise that they come back as they are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faithful<A> {
  /**
   * The JSON that is stored of a value, secrets in clear. What the schema cannot promise is decoded again, and compared. No
   * request. `InvalidInput`: it would come back as another value; it names the field.
   */
  readonly encode: (value: A) => Effect.Effect<JsonObject, DbError.InvalidInput | Schema.SchemaError>
  /** The schema promises it of every value, so that turning one into JSON is all. */
  readonly isSure: boolean
}

/**
 * Makes the check for a resource. Which fields are in doubt is found out once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends Attributes.DocumentSchema>(
  { attributes, name, schema }: Definition<S>,
  codec: ExactCodec<S["Type"]>
): Faithful<S["Type"]> => {
  type A = S["Type"]
  const doubtful = Attributes.doubtfulFields(schema)
  const withDefaults = Attributes.compileDefaults(schema)
  const isSure = doubtful !== "all" && doubtful.size === 0

  /** Nobody may see what is inside a secret. */
  const shown = (path: Path): Path => {
    const hidden = Attributes.hiddenAt(attributes, path.map(String))
    return hidden?.relation === "within" ? hidden.path : path
  }
  const invalid = (path: Path, message: string) => DbError.invalidField(name, shown(path), message)

  /** The JSON as it will be read: what it is made of now may be no JSON, or change. */
  const snapshot = (json: JsonObject, isMeant: (field: string) => boolean) =>
    Effect.forEach(
      Object.entries(json).filter(([, value]) => value !== undefined),
      ([field, value]): Effect.Effect<readonly [string, Json], DbError.InvalidInput> => {
        if (!isMeant(field)) return Effect.succeed([field, value])
        const text = stringifyExact(value, documentLevels)
        return typeof text === "string"
          ? Effect.succeed([field, JSON.parse(text) as Json])
          : Effect.fail(invalid([field, ...text.path], text.message))
      }
    )

  const check = Effect.fnUntraced(function* (value: A, json: JsonObject, fields: ReadonlySet<string> | "all") {
    const isMeant = (field: string) => fields === "all" || fields.has(field)
    const stored: JsonObject = Object.fromEntries(yield* snapshot(json, isMeant))
    const decoding = Effect.provideService(codec.decode(withDefaults(stored)), Attributes.SecretsOpen, true)
    const back = yield* Effect.result(decoding)
    if (Result.isFailure(back)) {
      const [issue] = DbError.invalidInput(name, back.failure.issue).issues
      return yield* invalid(
        issue?.path ?? [],
        "Expected a value that can be read back: what is stored of it could not be"
      )
    }
    const given = value as Readonly<Record<string, unknown>>
    const found = back.success as Readonly<Record<string, unknown>>
    for (const field of new Set([...Object.keys(given), ...Object.keys(found)])) {
      const path = isMeant(field) ? difference(given[field], found[field], [field]) : undefined
      if (path === undefined) continue
      const isNegativeZero = Object.is(valueAt(given, path), -0)
      return yield* invalid(path, isNegativeZero ? negativeZero : anotherValue)
    }
    return stored
  })

  return {
    isSure,
    encode: (value) => {
      const encoding = codec.encode(value)
      return Effect.flatMapEager(
        Exit.isExit(encoding) ? encoding : Effect.provideService(encoding, Attributes.SecretsOpen, true),
        ({ isWhole, json }) =>
          isWhole && isSure
            ? Effect.succeed(json as JsonObject)
            : check(value, json as JsonObject, isWhole ? doubtful : "all")
      )
    }
  }
}

/** What has no fields of its own, whatever a schema of fields makes of it. */
const builtIns: ReadonlySet<string> = new Set([
  "Map",
  "Set",
  "WeakMap",
  "WeakSet",
  "Date",
  "RegExp",
  "Promise",
  "Error",
  "Number",
  "String",
  "Boolean",
  "Function"
])

/**
 * Finds where a schema of fields has taken something else for an object, as a `Map`, which would come back as `{}`: the path,
 * and what it was. Only objects and lists are looked at.
 *
 * @category getters
 * @since 0.1.0
 */
export const takenForObject = (
  given: unknown,
  made: unknown
): { readonly path: Path; readonly kind: string } | undefined => {
  // What is taken as it is, is nothing else, and may have no end.
  if (Object.is(given, made)) return undefined
  if (typeof made !== "object" || made === null || typeof given !== "object" || given === null) return undefined
  if (Array.isArray(made)) {
    const items = given as { readonly [index: number]: unknown }
    for (let index = 0; index < made.length; index++) {
      if (typeof made[index] !== "object") continue
      const found = takenForObject(items[index], made[index])
      if (found !== undefined) return { ...found, path: [index, ...found.path] }
    }
    return undefined
  }
  if (prototypeOf(made) !== Object.prototype) return undefined
  const kind = builtInOf(given)
  if (kind !== undefined) return { path: [], kind }
  const fields = made as Readonly<Record<string, unknown>>
  for (const key of Object.keys(fields)) {
    if (typeof fields[key] !== "object") continue
    const found = takenForObject((given as Readonly<Record<string, unknown>>)[key], fields[key])
    if (found !== undefined) return { ...found, path: [key, ...found.path] }
  }
  return undefined
}

/** The name of what an object is, if it has no fields of its own. */
const builtInOf = (given: object): string | undefined => {
  const isPlain = Object.getPrototypeOf(given) === Object.prototype && !(Symbol.toStringTag in given)
  if (isPlain) return undefined
  if (ArrayBuffer.isView(given)) return "Uint8Array"
  const kind = Object.prototype.toString.call(given).slice(8, -1)
  return builtIns.has(kind) ? kind : undefined
}

const negativeZero = "Expected a number other than -0, which is stored as 0 here"

const anotherValue =
  "Expected a value that is read back as itself: as the schema has it, another one would be. Give the field a schema of its own"

/** The path at which two values are not the same, if there is one; of a secret its own. */
const difference = (given: unknown, back: unknown, path: Path): Path | undefined => {
  if (Object.is(given, back)) return undefined
  if (typeof given !== "object" || typeof back !== "object" || given === null || back === null) return path
  if (Redacted.isRedacted(given)) {
    const isSame =
      Redacted.isRedacted(back) && difference(Redacted.value(given), Redacted.value(back), path) === undefined
    return isSame ? undefined : path
  }
  if (prototypeOf(given) !== prototypeOf(back)) return path
  if (Option.isOption(given) && Option.isSome(given) && Option.isOption(back) && Option.isSome(back)) {
    return difference(given.value, back.value, path)
  }
  if (isLeaf(given)) return Equal.equals(given, back) ? undefined : path
  if (given instanceof Uint8Array) return String(given) === String(back) ? undefined : path
  if (given instanceof RegExp) return String(given) === String(back) ? undefined : path
  if (given instanceof URL) return given.href === String(back) ? undefined : path
  if (given instanceof Map && back instanceof Map) return difference([...given], [...back], path)
  if (given instanceof Set && back instanceof Set) return difference([...given], [...back], path)
  return differenceWithin(given, back, path)
}

/** Values that tell themselves whether they are the same, and have nothing in them that would have to be looked at. */
const isLeaf = (value: object): boolean => Equal.isEqual(value) || value instanceof Date

const differenceWithin = (given: object, back: object, path: Path): Path | undefined => {
  if (Array.isArray(given) && given.length !== (back as ReadonlyArray<unknown>).length) return path
  const [a, b] = [given as Readonly<Record<PropertyKey, unknown>>, back as Readonly<Record<PropertyKey, unknown>>]
  for (const key of new Set([...Reflect.ownKeys(given), ...Reflect.ownKeys(back)])) {
    const isShown = [given, back].some((one) => Object.prototype.propertyIsEnumerable.call(one, key))
    const here = typeof key === "symbol" ? String(key) : Array.isArray(given) ? Number(key) : key
    const found = isShown ? difference(a[key], b[key], [...path, here]) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/** What has no prototype is as good as any other plain object. */
const prototypeOf = (value: object): unknown => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null ? Object.prototype : prototype
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((at, name) => (at as Readonly<Record<string | number, unknown>> | undefined)?.[name], value)
