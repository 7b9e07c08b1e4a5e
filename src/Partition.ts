/**
 * Partitions: which documents have a value in common, found by listing.
 *
 * A partition names some fields. Each document that has all of them has a marker, an empty object whose key holds the
 * values, the id of the document and the write that made it. This module says what those keys are, without I/O.
 *
 * **Details**
 *
 * Keys are `resource=R/partition=P/f1=v1/f2=v2/id=ID/r=WRITE`, fields in the order of the definition. Text is
 * percent-encoded. Numbers are 13 characters after `!` that sort as the numbers do (the bits of the double, those of
 * negative ones inverted, in base 32), booleans `!f` and `!t`, so that no text looks like either. Dates are ISO text; those
 * of years before 0 and after 9999 have a form that sorts as well (`=`, `!-`).
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { OwnedMarker } from "./Document.ts"
import { documentLevels, type FieldProblem, type Json, type JsonObject, stringifyExact } from "./encoding/Json.ts"
import { decodeNumber, encodeNumber } from "./internal/keyNumber.ts"
import { percentDecode, percentEncode } from "./internal/text.ts"
import { type Attribute, describeHidden, hiddenAt, UnsupportedSchema } from "./schema/Attributes.ts"
import { maxKeyBytes } from "./storage/ObjectStore.ts"

// -----------------------------------------------------------------------------
// Definitions
// -----------------------------------------------------------------------------

/**
 * A partition in portable form, as the catalog keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export const Definition = Schema.Struct({
  fields: Schema.Array(
    Schema.Struct({
      path: Schema.Array(Schema.String),
      /** What is done to the value, in this order: see `Transform`. */
      transforms: Schema.Array(Schema.String)
    })
  ),
  /** Fields whose values ride in the key of the marker, so that a listing needs no GET. */
  covering: Schema.optionalKey(Schema.Array(Schema.Array(Schema.String)))
})

/**
 * A partition in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export type Definition = typeof Definition.Type

/**
 * A step that a definition takes with a value before it becomes part of a key.
 *
 * - `date`, `month`, `year`, `hour`: that part of a moment, in UTC
 * - `lower`, `upper`, `trim`
 * - `maxlength:N`: the first N characters
 * - `bucket:N`: a number rounded down to a multiple of N
 *
 * Names of types (`string`, `number`, ...) are let through and do nothing.
 *
 * @category models
 * @since 0.1.0
 */
export type Transform =
  | "date"
  | "month"
  | "year"
  | "hour"
  | "lower"
  | "upper"
  | "trim"
  | `maxlength:${number}`
  | `bucket:${number}`

/**
 * The declaration of a partition: the paths of its fields, in the order of the key; or fields with what is done to
 * their values, as one text (`"date|maxlength:10"`), and the fields that its markers cover.
 *
 * Beside the fields of the schema there are `$createdAt`, `$updatedAt` and `$schemaVersion`.
 *
 * @category models
 * @since 0.1.0
 */
export type Options<Path extends string = string> =
  | ReadonlyArray<Path>
  | {
      readonly fields: ReadonlyArray<Path> | Rules<Path>
      readonly covering?: ReadonlyArray<Path> | undefined
    }
  | Definition

type Rules<Path extends string> = string extends Path
  ? Readonly<Record<string, string>>
  : { readonly [P in Path]?: string }

/**
 * The fields that every document has, whatever its schema.
 *
 * @category constants
 * @since 0.1.0
 */
export const systemFields = ["$createdAt", "$updatedAt", "$schemaVersion"] as const

const typeNames = new Set(["string", "number", "integer", "boolean", "datetime", "required", "optional"])

const parseTransform = (text: string): ((value: Json) => Json | undefined) | undefined => {
  const [name = "", argument] = text.split(":")
  const amount = argument === undefined ? Number.NaN : Number(argument)
  const length = dateLengths.get(name)
  if (argument === undefined && length !== undefined) {
    return (value) => {
      const year = typeof value === "string" ? /^(?:\d{4}|[+-]\d{6})(?=-|$)/.exec(value)?.[0] : undefined
      return year === undefined ? undefined : (value as string).slice(0, year.length - 4 + length)
    }
  }
  switch (argument === undefined ? name : `${name}:`) {
    case "lower":
      return (value) => (typeof value === "string" ? value.toLowerCase() : undefined)
    case "upper":
      return (value) => (typeof value === "string" ? value.toUpperCase() : undefined)
    case "trim":
      return (value) => (typeof value === "string" ? value.trim() : undefined)
    case "maxlength:":
      if (!Number.isSafeInteger(amount) || amount < 1) return undefined
      return (value) => (typeof value === "string" ? [...value].slice(0, amount).join("") : undefined)
    case "bucket:":
      if (!(amount > 0) || !Number.isFinite(amount)) return undefined
      return (value) => (typeof value === "number" ? Math.floor(value / amount) * amount : undefined)
    default:
      return undefined
  }
}

/** How much of an ISO moment each part of it is. */
const dateLengths = new Map([
  ["year", 4],
  ["month", 7],
  ["date", 10],
  ["hour", 13]
])

/** Codecs whose values are no text, number or boolean. */
const unfit = /^(?:struct|json|bytes|array:|option:|vector:|point:)/

/**
 * Checks a declaration against the attributes of a schema. Throws `UnsupportedSchema`: a partition without fields, a field
 * that the schema has not, a field that is secret, holds a secret or is part of one, since keys are in clear, a field that
 * cannot be part of a key, an unknown transform.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = (name: string, options: Options, attributes: ReadonlyArray<Attribute>): Definition => {
  // A definition may be made of data; of a list of fields in the place of partitions each is a text.
  if (typeof options !== "object" || options === null) {
    throw new UnsupportedSchema(
      `partition ${JSON.stringify(name)}: expected a list of fields, such as ["country"], or { fields }`
    )
  }
  const { fields: given, covering: covers } = "fields" in options ? options : { fields: options, covering: undefined }
  const list = fieldsOf(given)
  const covering = covers?.map((path) => (typeof path === "string" ? path : path.join(".")))
  const known = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute]))
  const label = `partition ${JSON.stringify(name)}`
  const find = (path: string, verb = "names"): Attribute | undefined => {
    const attribute = known.get(path)
    const hidden = hiddenAt(attributes, attribute?.path ?? path.split("."))
    if (hidden !== undefined) {
      throw new UnsupportedSchema(`${label} ${verb} ${path}, ${describeHidden(hidden)}: its keys are in clear`)
    }
    if (attribute === undefined && !systemFields.some((field) => field === path)) {
      const names = [...known.keys(), ...systemFields].join(", ")
      throw new UnsupportedSchema(`${label} ${verb} ${JSON.stringify(path)}, which is no field; there are ${names}`)
    }
    return attribute
  }
  if (name === "" || !name.isWellFormed()) throw new UnsupportedSchema("a partition must have a name")
  if (/~\d+$/.test(name))
    throw new UnsupportedSchema(`${label} has a name that ends in ~ and a number: keep them out of it`)
  if (list.length === 0) throw new UnsupportedSchema(`${label} has no fields`)
  const fields = list.map(([path, rules]) => {
    const attribute = find(path)
    if (attribute !== undefined && unfit.test(attribute.codec)) {
      throw new UnsupportedSchema(`${label}: values of ${path} cannot be part of a key`)
    }
    const transforms = rules.split("|").filter((rule) => rule !== "" && !typeNames.has(rule))
    for (const transform of transforms) {
      if (parseTransform(transform) === undefined) {
        throw new UnsupportedSchema(`${label}: ${JSON.stringify(transform)} is no transform of ${path}`)
      }
    }
    return { path: attribute?.path ?? [path], transforms }
  })
  if (new Set(list.map(([path]) => path)).size < list.length) {
    throw new UnsupportedSchema(`${label} names a field twice`)
  }
  if (covering === undefined) return { fields }
  return {
    fields,
    covering: covering.map((path) => find(path, "covers")?.path ?? [path])
  }
}

/**
 * Lists the paths of the fields whose values are in the keys of a partition: those by which it is, and those that it covers.
 *
 * @category getters
 * @since 0.1.0
 */
export const pathsOf = ({ covering = [], fields }: Definition): ReadonlyArray<ReadonlyArray<string>> => [
  ...fields.map(({ path }) => path),
  ...covering
]

/**
 * Returns what of a definition this release does not know, if anything: a transform, or a field of the system.
 *
 * @category getters
 * @since 0.1.0
 */
export const unknownOf = (
  { covering = [], fields }: Definition,
  isField: (path: ReadonlyArray<string>) => boolean
): string | undefined => {
  const paths = [...fields.map(({ path }) => path), ...covering]
  const system = paths.find(
    (path) =>
      path.length === 1 &&
      path[0]!.startsWith("$") &&
      !systemFields.some((field) => field === path[0]) &&
      !isField(path)
  )
  const transforms = fields.flatMap((field) => field.transforms)
  const transform = transforms.find((one) => parseTransform(one) === undefined)
  if (transform !== undefined) return `transform ${JSON.stringify(transform)}`
  return system === undefined ? undefined : `field ${JSON.stringify(system[0])}`
}

/** Each field of a declaration with its transforms as one text. */
const fieldsOf = (
  declared: Definition["fields"] | ReadonlyArray<string> | Readonly<Record<string, string>>
): ReadonlyArray<readonly [path: string, rules: string]> =>
  Array.isArray(declared)
    ? declared.map((field: string | Definition["fields"][number]) =>
        typeof field === "string" ? [field, ""] : [field.path.join("."), field.transforms.join("|")]
      )
    : Object.entries(declared as Readonly<Record<string, string>>)

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/**
 * A marker, as its key tells it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Marker extends OwnedMarker {
  readonly id: string
}

/**
 * The beginning of a listing, and the part of it that counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Selection {
  /** Every marker of the selection has it. */
  readonly prefix: string
  /** Of the field after the given ones: the least and the most that its part of the key may be. */
  readonly least: string | undefined
  readonly most: string | undefined
}

/**
 * Bounds of the field that follows those whose values are given; all of them inclusive, or what a text begins with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bounds {
  readonly from?: unknown
  readonly to?: unknown
  readonly startsWith?: string | undefined
}

/**
 * A partition of one resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Partition {
  readonly name: string
  /** What keys and documents call it: its name, or, where it has been declared anew, that and a number. */
  readonly label: string
  readonly definition: Definition
  /** The paths of its fields, joined with `.`. */
  readonly fields: ReadonlyArray<string>
  /** What all its keys begin with. */
  readonly prefix: string
  /** Whether this release knows all its transforms. */
  readonly isKnown: boolean
  /** What a document is to own: `undefined` when it lacks a value. */
  readonly own: (id: string, valueAt: ValueAt, writeId: string) => Result.Result<OwnedMarker | undefined, FieldProblem>
  readonly key: (id: string, owned: OwnedMarker) => string
  /** The marker that a key of this partition stands for. */
  readonly parse: (key: string) => Marker | undefined
  /** The values in a key, by path; transformed. */
  readonly valuesOf: (values: string) => Readonly<Record<string, Json>>
  /** The values that a marker covers; `undefined` when they were too long for a key. */
  readonly covered: (owned: OwnedMarker) => JsonObject | undefined
  /** All markers with these values of the first fields, by path; a problem names the field at fault. */
  readonly select: (
    values: Readonly<Record<string, unknown>>,
    bounds?: Bounds
  ) => Result.Result<Selection, FieldProblem>
  /** The values of the field after so many, in the part of a key after the selection's prefix. */
  readonly segment: (rest: string) => string
}

const prefixOf = (resource: string, label: string): string =>
  `resource=${percentEncode(resource)}/partition=${percentEncode(label)}/`

/**
 * Returns the key of a marker, whether its partition is still defined or not.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyOf = (resource: string, label: string, id: string, { values, covered, writeId }: OwnedMarker): string =>
  `${prefixOf(resource, label)}${values}/id=${percentEncode(id)}/r=${writeId}${covered === undefined ? "" : `/c=${covered}`}`

/**
 * A function that reads a value of a document, in JSON form.
 *
 * @category models
 * @since 0.1.0
 */
export type ValueAt = (path: ReadonlyArray<string>) => Json | undefined

/**
 * The text of a date, or the beginning of one, in the order of time. Those of the years 0 to 9999 are in it by themselves; years
 * before have their digits inverted behind `!-`, which comes before all digits, and later ones follow `=`, which comes after.
 * No percent-encoded text has either.
 */
const encodeDate = (text: string): string => {
  if (text.startsWith("+")) return `=${percentEncode(text.slice(1))}`
  return text.startsWith("-") ? `!-${percentEncode(invertYear(text.slice(1)))}` : percentEncode(text)
}

const invertYear = (text: string): string =>
  text.replace(/^\d{1,6}/, (digits) => [...digits].map((digit) => 9 - Number(digit)).join(""))

const encodeValue = (value: Json, isDate: boolean): string | undefined => {
  switch (typeof value) {
    case "string":
      if (!value.isWellFormed()) return undefined
      return isDate ? encodeDate(value) : percentEncode(value)
    case "number":
      return Number.isFinite(value) ? encodeNumber(value) : undefined
    case "boolean":
      return value ? "!t" : "!f"
    default:
      return undefined
  }
}

const withSign = (sign: string, text: string | undefined, change = (given: string) => given): Json =>
  text === undefined ? null : sign + change(text)

/** `null` for what no value is encoded as: anybody can put a key. */
const decodeValue = (text: string): Json => {
  if (text === "!t" || text === "!f") return text === "!t"
  if (text.startsWith("!-")) return withSign("-", percentDecode(text.slice(2)), invertYear)
  if (text.startsWith("=")) return withSign("+", percentDecode(text.slice(1)))
  if (text.startsWith("!")) return decodeNumber(text) ?? null
  return percentDecode(text) ?? null
}

/**
 * Returns a value of a program in the form in which it is stored; `undefined` for one that is no part of a key.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toJson = (value: unknown): Json | undefined => {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  if (BigDecimal.isBigDecimal(value)) return BigDecimal.format(value)
  return undefined
}

const textDecoder = new TextDecoder()

/**
 * Compiles a partition of a resource, ready for use. `keyBytes`: the most bytes of a key in its store. `isDate`: whether the values
 * at a path are dates, which lie in the order of time; all programs have to say the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (
  resource: string,
  name: string,
  definition: Definition,
  {
    isDate = () => false,
    keyBytes = maxKeyBytes,
    label = name
  }: {
    readonly isDate?: ((path: ReadonlyArray<string>) => boolean) | undefined
    readonly keyBytes?: number | undefined
    /** What keys and documents call it, where it has been declared anew. Default: its name. */
    readonly label?: string | undefined
  } = {}
): Partition => {
  const prefix = prefixOf(resource, label)
  const fields = definition.fields.map(({ path, transforms }) => ({
    path,
    name: path.join("."),
    label: percentEncode(path.join(".")),
    isDate: isDate(path),
    transforms: transforms.map((transform) => parseTransform(transform) ?? (() => undefined))
  }))
  const { covering } = definition
  type Field = (typeof fields)[number]

  /** `undefined` for a value that has no place in a key. */
  const encoded = (field: Field, value: Json): string | undefined => {
    let at: Json | undefined = value
    for (const transform of field.transforms) at = at === undefined ? undefined : transform(at)
    const text = at === undefined ? undefined : encodeValue(at, field.isDate)
    return text === undefined ? undefined : `${field.label}=${text}`
  }

  const unfitValue = (field: Field): FieldProblem => ({
    path: field.path,
    message: `Expected a value that partition ${name} can be keyed by`
  })

  const key = (id: string, owned: OwnedMarker): string => keyOf(resource, label, id, owned)

  return {
    name,
    label,
    definition,
    fields: fields.map((field) => field.name),
    prefix,
    isKnown: definition.fields.every(({ transforms }) => transforms.every((one) => parseTransform(one) !== undefined)),
    key,
    own(id, valueAt, writeId) {
      const parts: Array<string> = []
      for (const field of fields) {
        const value = valueAt(field.path)
        if (value === undefined || value === null) return Result.succeed(undefined)
        const part = encoded(field, value)
        if (part === undefined) return Result.fail(unfitValue(field))
        parts.push(part)
      }
      const owned = { values: parts.join("/"), covered: undefined, writeId }
      // With covered fields there is room for at least none of them.
      const { length } = key(id, covering === undefined ? owned : { ...owned, covered: "" })
      if (length > keyBytes) {
        const message = `Expected values whose key in partition ${name} has at most ${keyBytes} bytes; these make ${length}`
        return Result.fail({ path: fields[0]!.path, message })
      }
      if (covering === undefined) return Result.succeed(owned)
      const values: Record<string, Json> = {}
      for (const path of covering) {
        const value = valueAt(path)
        if (value !== undefined) values[path.join(".")] = value
      }
      const text = stringifyExact(values, documentLevels)
      const covered = typeof text === "string" ? Base64Url.encode(text) : ""
      // Too long for a key: a reader then gets the document.
      return Result.succeed({ ...owned, covered: length + covered.length > keyBytes ? "" : covered })
    },
    parse(text) {
      const match = markerPattern.exec(text.slice(prefix.length))
      if (match === null || !text.startsWith(prefix)) return undefined
      const id = percentDecode(match[2]!)
      return id === undefined ? undefined : { values: match[1]!, id, writeId: match[3]!, covered: match[4] }
    },
    valuesOf(values) {
      const parts = values.split("/")
      return Object.fromEntries(
        fields.map((field, i) => [field.name, decodeValue((parts[i] ?? "").slice(field.label.length + 1))])
      )
    },
    covered({ covered }) {
      if (covered === undefined || covered === "") return undefined
      const bytes = Base64Url.decode(covered)
      if (Result.isFailure(bytes)) return undefined
      try {
        return JSON.parse(textDecoder.decode(bytes.success)) as JsonObject
      } catch {
        return undefined
      }
    },
    select(values, bounds = {}) {
      const unknown = Object.keys(values).find((path) => !fields.some((field) => field.name === path))
      if (unknown !== undefined) {
        const message = `Expected a field of partition ${name}: ${fields.map((field) => field.name).join(", ")}`
        return Result.fail({ path: [unknown], message })
      }
      const given = fields.filter((field) => Object.hasOwn(values, field.name) && values[field.name] !== undefined)
      const missing = given.findIndex((field, i) => field !== fields[i])
      if (missing >= 0) {
        const { path } = fields[missing]!
        return Result.fail({ path, message: `Expected a value, since a later field of partition ${name} has one` })
      }
      let selected = prefix
      for (const field of given) {
        const value = toJson(values[field.name])
        const part = value === undefined ? undefined : encoded(field, value)
        if (part === undefined) return Result.fail(unfitValue(field))
        selected += `${part}/`
      }
      const { from, to, startsWith } = bounds
      if (from === undefined && to === undefined && startsWith === undefined) {
        return Result.succeed({ prefix: selected, least: undefined, most: undefined })
      }
      const next = fields[given.length]
      if (next === undefined) {
        return Result.fail({ path: [], message: `Expected no bounds: every field of partition ${name} has a value` })
      }
      if (startsWith !== undefined) {
        if (!startsWith.isWellFormed()) return Result.fail(unfitValue(next))
        return Result.succeed({
          prefix: `${selected}${next.label}=${encodeValue(startsWith, next.isDate)}`,
          least: undefined,
          most: undefined
        })
      }
      const bound = (value: unknown): string | undefined | null => {
        if (value === undefined) return undefined
        const json = toJson(value)
        const isSorted = typeof json === "number" || (typeof json === "string" && isMoment.test(json))
        const part = isSorted ? encoded(next, json!) : undefined
        return part === undefined ? null : part.slice(next.label.length + 1)
      }
      const least = bound(from)
      const most = bound(to)
      if (least === null || most === null) {
        return Result.fail({ path: next.path, message: "Expected bounds that are numbers or dates" })
      }
      return Result.succeed({ prefix: `${selected}${next.label}=`, least, most })
    },
    segment: (rest) => {
      const end = rest.indexOf("/")
      return end < 0 ? rest : rest.slice(0, end)
    }
  }
}

const isMoment = /^(?:\d{4}|[+-]\d{6})(?:-\d\d(?:-\d\d(?:T.*)?)?)?$/

const markerPattern = /^(.+)\/id=([^/]+)\/r=([^/]+)(?:\/c=([^/]*))?$/
