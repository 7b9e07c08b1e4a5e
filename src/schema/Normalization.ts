/**
 * What happens to an input before it is validated: rounding to the precision that an attribute declares, and the
 * clean-up that a definition asks for (trimming, letter case, conversion from text).
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as rounding from "../internal/rounding.ts"
import * as Attributes from "./Attributes.ts"

/**
 * A clean-up of one value.
 *
 * @category models
 * @since 0.1.0
 */
export const Operation = Schema.Literals(["trim", "lowercase", "uppercase", "string", "number", "boolean", "date"])

/**
 * A clean-up of one value.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = typeof Operation.Type

/**
 * The id of the checks that ask for a clean-up.
 *
 * @category constants
 * @since 0.1.0
 */
export const normalizeId = "effect-s3db/schema/normalize"

const isNormal: Readonly<Record<Operation, (value: unknown) => boolean>> = {
  trim: (value) => typeof value !== "string" || value === value.trim(),
  lowercase: (value) => typeof value !== "string" || value === value.toLowerCase(),
  uppercase: (value) => typeof value !== "string" || value === value.toUpperCase(),
  string: () => true,
  number: () => true,
  boolean: () => true,
  date: () => true
}

/**
 * Creates a check that asks a resource to clean a value up before it is validated, and holds for clean values.
 *
 * @category schemas
 * @since 0.1.0
 */
export const normalize = <T>(op: Operation, annotations?: Schema.Annotations.Filter) =>
  Schema.makeFilter<T>(isNormal[op], {
    expected: `a value after ${op}`,
    ...annotations,
    representation: { id: normalizeId, payload: { op } }
  })

/**
 * The reviver that brings these checks back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const reviver = SchemaRepresentation.makeReviverFilter(
  normalizeId,
  Schema.Struct({ op: Operation }),
  ({ payload, annotations }) => normalize(payload.op, annotations)
)

const trueTexts = new Set(["true", "1", "yes", "y", "on"])
const falseTexts = new Set(["false", "0", "no", "n", "off"])

/**
 * Returns a value after a clean-up; one that it does not apply to stays as it is.
 *
 * @category conversions
 * @since 0.1.0
 */
export const apply = (op: Operation, value: unknown): unknown => {
  switch (op) {
    case "trim":
      return typeof value === "string" ? value.trim() : value
    case "lowercase":
      return typeof value === "string" ? value.toLowerCase() : value
    case "uppercase":
      return typeof value === "string" ? value.toUpperCase() : value
    case "string":
      return typeof value === "number" || typeof value === "boolean" || typeof value === "bigint"
        ? String(value)
        : value
    case "number": {
      if (typeof value !== "string" || value.trim() === "") return value
      const number = Number(value)
      return Number.isFinite(number) ? number : value
    }
    case "boolean": {
      const text = typeof value === "string" ? value.trim().toLowerCase() : value === 1 || value === 0 ? `${value}` : ""
      return trueTexts.has(text) ? true : falseTexts.has(text) ? false : value
    }
    case "date": {
      if (typeof value !== "string" && typeof value !== "number") return value
      const date = new Date(value)
      return Number.isNaN(date.getTime()) ? value : date
    }
  }
}

/** What rounds the values of a codec, if it rounds. */
const rounder = (codec: string): ((value: unknown) => unknown) | undefined => {
  const [kind, first, second] = codec.split(":")
  switch (kind) {
    case "lat":
    case "lon":
      return (value) => (typeof value === "number" ? rounding.toDecimals(value, Number(first)) : value)
    case "point":
      return (value) => {
        if (typeof value !== "object" || value === null || !("latitude" in value) || !("longitude" in value))
          return value
        const { latitude, longitude } = value
        if (typeof latitude !== "number" || typeof longitude !== "number") return value
        return {
          ...value,
          latitude: rounding.toDecimals(latitude, Number(first)),
          longitude: rounding.toDecimals(longitude, Number(first))
        }
      }
    case "vector": {
      const format = second === "int8" || second === "float16" || second === "float32" ? second : Number(second)
      return (value) =>
        Array.isArray(value) && value.every((item) => typeof item === "number" && Number.isFinite(item))
          ? rounding.toFormat(value, format)
          : value
    }
    default:
      return undefined
  }
}

/**
 * The id of the checks that allow no other keys than those of the schema.
 *
 * @category constants
 * @since 0.1.0
 */
export const strictId = "effect-s3db/schema/strict"

const Strict = Schema.Struct({ fields: Schema.Array(Schema.String) })

/**
 * Creates a check on a struct by which a resource refuses inputs with other keys than these. A schema by itself drops
 * them.
 *
 * @category schemas
 * @since 0.1.0
 */
export const strict = <T extends object>(fields: ReadonlyArray<string>) =>
  Schema.makeFilter<T>((value) => Object.keys(value).every((name) => fields.includes(name)), {
    expected: "no other keys than those of the schema",
    representation: { id: strictId, payload: { fields } }
  })

/**
 * The reviver that brings these checks back from a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const strictReviver = SchemaRepresentation.makeReviverFilter(strictId, Strict, ({ payload }) =>
  strict(payload.fields)
)

/**
 * Compiles the search for keys that a strict part of a schema does not allow; it gives the path of the first one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compileStrict = (
  schema: Attributes.DocumentSchema
): ((input: unknown) => ReadonlyArray<string | number> | undefined) => {
  const parts = Attributes.payloadsOf(schema, strictId).map(({ path, payload }) => ({
    path,
    fields: new Set(Schema.decodeUnknownSync(Strict)(payload).fields)
  }))
  return (input) => {
    for (const { path, fields } of parts) {
      const excess = findExcess(input, path, fields)
      if (excess !== undefined) return excess
    }
    return undefined
  }
}

const findExcess = (
  at: unknown,
  [name, ...rest]: Attributes.ValuePath,
  fields: ReadonlySet<string>
): ReadonlyArray<string | number> | undefined => {
  if (typeof at !== "object" || at === null) return undefined
  if (name === undefined) {
    const excess = Object.keys(at).find((key) => !fields.has(key))
    return excess === undefined ? undefined : [excess]
  }
  const values = at as Readonly<Record<string, unknown>>
  for (const key of name === Attributes.each ? Object.keys(at) : Object.hasOwn(at, name) ? [name] : []) {
    const excess = findExcess(values[key], rest, fields)
    if (excess !== undefined) return [Array.isArray(at) ? Number(key) : key, ...excess]
  }
  return undefined
}

type Step = readonly [path: Attributes.ValuePath, change: (value: unknown) => unknown]

/**
 * Tells whether something in the inputs of a schema is cleaned up or rounded.
 *
 * @category guards
 * @since 0.1.0
 */
export const hasSteps = (schema: Attributes.DocumentSchema): boolean => stepsOf(schema).length > 0

/**
 * Compiles what has to be done to the inputs of a schema: clean-ups, rounding, and leaving out optional fields that are
 * `undefined`. The function gives a changed copy, or the input itself when nothing has to change.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (schema: Attributes.DocumentSchema): ((input: unknown) => unknown) => {
  const steps = stepsOf(schema)
  const optional = Attributes.optionalsOf(schema)
  return (input) =>
    steps.reduce((value, [path, change]) => changeAt(value, path, change), optional.reduce(withoutUndefined, input))
}

const stepsOf = (schema: Attributes.DocumentSchema): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  const decode = Schema.decodeUnknownSync(Schema.Struct({ op: Operation }))
  for (const { path, payload } of Attributes.payloadsOf(schema, normalizeId)) {
    const { op } = decode(payload)
    steps.push([path, (value) => apply(op, value)])
  }
  for (const { path, payload } of Attributes.payloadsOf(schema, Attributes.representationId)) {
    const round = rounder(Schema.decodeUnknownSync(Named)(payload).codec)
    if (round !== undefined) steps.push([path, round])
  }
  return steps
}

const Named = Schema.Struct({ codec: Attributes.Codec })

const withoutUndefined = (value: unknown, [name, ...rest]: ReadonlyArray<string>): unknown => {
  if (name === undefined || typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return value
  const { [name]: before, ...others } = value as Record<string, unknown>
  if (rest.length === 0) return before === undefined ? others : value
  const after = withoutUndefined(before, rest)
  return Object.is(before, after) ? value : { ...value, [name]: after }
}

/**
 * Changes the value at a path, copying what is on the way to it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const changeAt = (value: unknown, path: Attributes.ValuePath, change: (value: unknown) => unknown): unknown => {
  const [name, ...rest] = path
  if (name === undefined) return change(value)
  if (typeof value !== "object" || value === null) return value
  if (name === Attributes.each) return changeEach(value, (one) => changeAt(one, rest, change))
  if (!Object.hasOwn(value, name)) return value
  const before: unknown = (value as Record<string, unknown>)[name]
  if (before === undefined) return value
  const after = changeAt(before, rest, change)
  return Object.is(before, after) ? value : { ...value, [name]: after }
}

const changeEach = (values: object, change: (value: unknown) => unknown): unknown => {
  if (Array.isArray(values)) {
    const after: ReadonlyArray<unknown> = values.map(change)
    return after.every((value, index) => Object.is(value, values[index])) ? values : after
  }
  const before = Object.entries(values)
  const after = before.map(([key, value]) => [key, change(value)] as const)
  const isSame = after.every(([, value], index) => Object.is(value, before[index]![1]))
  return isSame ? values : Object.fromEntries(after)
}
