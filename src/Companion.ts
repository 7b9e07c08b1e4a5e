/**
 * Companions: what a document owns beside itself, found by listing, kept by the write protocol as the markers of partitions are.
 *
 * A companion is a name, a definition that is data, and a pure function from a version of a document to keys. A due index is one
 * whose key is the time at which something is due; an index of places is one whose keys are cells. This module says what those
 * keys are, without I/O.
 *
 * **Details**
 *
 * Keys are `resource=R/companion=N/<segments of the suffix>/id=ID/r=WRITE`. Text is percent-encoded. Numbers are 13 characters
 * after `!` that sort as the numbers do, booleans `!f` and `!t`; the texts `""`, `"."` and `".."`, which some stores take for
 * something else, follow a `!`. No percent-encoded text has one.
 *
 * The function is given the id and the declared fields, nothing else: whatever a version owns can be told from that version alone,
 * so that `backfill` and `repair` tell it as the write did. For the same reason it has to be pure: who needs the time declares
 * `$updatedAt` or `$createdAt`.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { OwnedKey } from "./Document.ts"
import type { FieldProblem, Json, JsonObject } from "./encoding/Json.ts"
import { decodeNumber, encodeNumber } from "./internal/keyNumber.ts"
import { percentDecode, percentEncode } from "./internal/text.ts"
import { type Selection, systemFields, type ValueAt } from "./Partition.ts"
import type * as Query from "./Query.ts"
import { type Attribute, describeHidden, hiddenAt, UnsupportedSchema } from "./schema/Attributes.ts"
import { maxKeyBytes } from "./storage/ObjectStore.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * The function of a companion gives what is no key, whatever the document: a segment that is `NaN` or `undefined`, a key without
 * segments, no keys at all where an empty array is meant. This is a mistake in the program, so it is thrown, as a defect of the
 * write, not returned: nothing was written, and no other document would fare better. `problem` says which segment of which key, both
 * counted from 1, without its value.
 *
 * @remedy Correct the function of the companion, and raise its `version`: what it gives has to be text, finite numbers
 * and booleans, whatever the document.
 * @category errors
 * @since 0.1.0
 */
export class WrongKeys extends Error {
  override readonly name = "WrongKeys"
  readonly resource: string
  readonly companion: string
  readonly problem: string
  constructor(resource: string, companion: string, problem: string) {
    super(`the function of companion ${companion} of ${resource} gives what is no key: ${problem}`)
    this.resource = resource
    this.companion = companion
    this.problem = problem
  }
}

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

/**
 * A part of a key. Numbers come in their order, `false` before `true`. Text comes in the order of its percent-encoded form
 * followed by `/`: for letters, digits, `_` and `~` that is the order of the text. Numbers are finite, text is well-formed.
 *
 * @category models
 * @since 0.1.0
 */
export type Segment = string | number | boolean

/**
 * The part of a key that the function of a companion gives: one segment or more.
 *
 * @category models
 * @since 0.1.0
 */
export type Suffix = ReadonlyArray<Segment>

/**
 * A version of a document as the function of a companion sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version {
  readonly id: string
  /**
   * The declared fields in JSON form, each at its place, system fields by their names (`$createdAt` and `$updatedAt` as ISO
   * text, `$schemaVersion` a number). What the document has not is not there.
   */
  readonly json: JsonObject
}

/**
 * The options of a companion.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The paths (`"address.city"`) of all that the function goes by: fields, structs as a whole, and `$createdAt`, `$updatedAt`,
   * `$schemaVersion`. A program that does not know the companion can still write what leaves all of them as they are. None that is secret,
   * holds a secret or is part of one: keys are in clear.
   */
  readonly fields: ReadonlyArray<string>
  /**
   * What the function goes by beside the document, such as an age or a precision. It is part of what the catalog says, so that all
   * programs have the same.
   */
  readonly options?: Json | undefined
  /**
   * The number of this definition, from 1, the default. Raise it with every change of `fields`, `options` or what the function
   * makes of them: a greater one takes the place of the one before, which is built anew.
   */
  readonly version?: number | undefined
  /**
   * The keys that a version owns: none, one or several, each of one segment or more; the same one twice counts once. It has to be pure: the
   * same for the same version, in every program. What it throws is a defect, and the write fails with it, as with `WrongKeys` when a
   * key is none: `Date.parse` gives `NaN` for a text that is no time. `InvalidInput`: a key of this document is too long, there are
   * too many, or it has text that is no valid Unicode.
   */
  readonly keys: (version: Version) => Iterable<Suffix>
}

/**
 * A companion as it is declared: see `make`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Companion extends Options {
  readonly version: number
}

/**
 * Creates a companion, to be declared under a name by the option `companions` of a resource, or given to
 * `Repository.addCompanion`. Throws `UnsupportedSchema` for a version that is no integer from 1.
 *
 * ```ts
 * import * as Companion from "effect-s3db/Companion"
 *
 * const due = Companion.make({
 *   fields: ["dueAt"],
 *   keys: ({ json }) => (typeof json["dueAt"] === "number" ? [[json["dueAt"]]] : [])
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ version = 1, ...options }: Options): Companion => {
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new UnsupportedSchema(`the version of a companion must be an integer from 1, not ${version}`)
  }
  return { ...options, version }
}

/**
 * A companion in portable form, as the catalog keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export const Definition = Schema.Struct({
  version: Schema.Int,
  /** The paths of what it goes by. */
  fields: Schema.Array(Schema.Array(Schema.String)),
  options: Schema.optionalKey(Schema.Json)
})

/**
 * A companion in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export type Definition = typeof Definition.Type

/**
 * Checks a declaration against the attributes of a schema. Throws `UnsupportedSchema`: no fields, a field that the schema has not,
 * one that is secret, holds a secret or is part of one, one that is named twice, or within another.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = (
  name: string,
  { fields, options, version }: Companion,
  attributes: ReadonlyArray<Attribute>
): Definition => {
  const label = `companion ${JSON.stringify(name)}`
  if (name === "" || !name.isWellFormed()) throw new UnsupportedSchema("a companion must have a name")
  if (/~\d+$/.test(name)) {
    throw new UnsupportedSchema(`${label} has a name that ends in ~ and a number: keep them out of it`)
  }
  if (fields.length === 0) throw new UnsupportedSchema(`${label} has no fields`)
  const known = new Map<string, ReadonlyArray<string>>(systemFields.map((field) => [field, [field]]))
  for (const { path } of attributes) {
    for (let length = 1; length <= path.length; length++)
      known.set(path.slice(0, length).join("."), path.slice(0, length))
  }
  const paths = fields.map((field) => {
    const path = known.get(field)
    const hidden = hiddenAt(attributes, path ?? field.split("."))
    if (hidden !== undefined) {
      throw new UnsupportedSchema(`${label} names ${field}, ${describeHidden(hidden)}: its keys are in clear`)
    }
    if (path !== undefined) return path
    const names = [...known.keys()].join(", ")
    throw new UnsupportedSchema(`${label} names ${JSON.stringify(field)}, which is no field; there are ${names}`)
  })
  for (const [i, path] of paths.entries()) {
    const isWithin = paths.some((other, j) => i !== j && other.every((part, at) => path[at] === part))
    if (isWithin) throw new UnsupportedSchema(`${label} names ${path.join(".")} twice, or within another field`)
  }
  return { version, fields: paths, ...(options === undefined ? {} : { options }) }
}

/**
 * Returns what of a definition this release does not know, if anything: a field of the system.
 *
 * @category getters
 * @since 0.1.0
 */
export const unknownOf = (
  { fields }: Definition,
  isField: (path: ReadonlyArray<string>) => boolean
): string | undefined => {
  const isSystem = (path: ReadonlyArray<string>) => systemFields.some((field) => field === path[0])
  const unknown = fields.find(
    (path) => path.length === 1 && path[0]!.startsWith("$") && !isSystem(path) && !isField(path)
  )
  return unknown === undefined ? undefined : `field ${JSON.stringify(unknown[0])}`
}

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/**
 * A part of the keys of a companion.
 *
 * @category models
 * @since 0.1.0
 */
export interface Within {
  /** The first segments of the keys. */
  readonly prefix?: Suffix | undefined
  /** The least segment that follows those, inclusive. */
  readonly from?: Segment | undefined
  /** The greatest segment that follows those, inclusive. */
  readonly to?: Segment | undefined
  /** What the text of the segment that follows those begins with. Not beside `from` and `to`. */
  readonly startsWith?: string | undefined
}

/**
 * What is read of a companion.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request extends Within, Query.Concurrency, Query.Verify, Query.OnCorrupt {
  /** The most hits. Default: all. */
  readonly limit?: number | undefined
}

/**
 * A key of a companion, and the document that owns it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hit<out Id extends string = string> {
  readonly id: Id
  readonly key: Suffix
  /** The write that has put the key: that of the version that owns it, or of one before it which had the same key. */
  readonly writeId: string
}

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/** Of one document. */
const mostKeys = 1_000

const bare: ReadonlySet<string> = new Set(["", ".", ".."])

const encodeSegment = (segment: unknown): string | undefined => {
  switch (typeof segment) {
    case "string":
      if (!segment.isWellFormed()) return undefined
      return bare.has(segment) ? `!${segment}` : percentEncode(segment)
    case "number":
      return Number.isFinite(segment) ? encodeNumber(segment) : undefined
    case "boolean":
      return segment ? "!t" : "!f"
    default:
      return undefined
  }
}

const decodeSegment = (text: string): Segment | undefined => {
  if (!text.startsWith("!")) return text === "" || bare.has(text) ? undefined : percentDecode(text)
  if (text === "!t" || text === "!f") return text === "!t"
  return bare.has(text.slice(1)) ? text.slice(1) : decodeNumber(text)
}

const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return "an array"
  if (typeof value === "string") return value.isWellFormed() ? "text" : "text that is no valid Unicode"
  if (typeof value === "number") return Number.isFinite(value) ? "a number" : "a number that is not finite"
  return `${typeof value === "object" ? "an" : "a"} ${typeof value}`
}

/** What is wrong with the `number`th key that is none. */
const problemOf = (suffix: unknown, number: number): string => {
  if (!Array.isArray(suffix)) return `key ${number} is ${kindOf(suffix)}, not an array of segments`
  if (suffix.length === 0) return `key ${number} has no segments`
  const at = Array.from(suffix, encodeSegment).indexOf(undefined)
  return `segment ${at + 1} of key ${number} is ${kindOf(suffix[at])}; a segment is well-formed text, a finite number or a boolean`
}

/** Whether all of its text is valid Unicode. */
const isWellFormed = (value: Json): boolean => {
  if (typeof value === "string") return value.isWellFormed()
  if (value === null || typeof value !== "object") return true
  return Object.entries(value).every(([name, one]) => name.isWellFormed() && isWellFormed(one))
}

const isIterable = (value: unknown): value is Iterable<unknown> =>
  typeof value === "object" && value !== null && Symbol.iterator in value

const encodeSuffix = (suffix: Suffix): string | undefined => {
  if (!Array.isArray(suffix) || suffix.length === 0) return undefined
  const parts = suffix.map(encodeSegment)
  return parts.includes(undefined) ? undefined : parts.join("/")
}

const prefixOf = (resource: string, label: string): string =>
  `resource=${percentEncode(resource)}/companion=${percentEncode(label)}/`

/**
 * Returns the key of what a document owns, whether its companion is still there or not.
 *
 * @category keys
 * @since 0.1.0
 */
export const keyOf = (resource: string, label: string, id: string, { suffix, writeId }: OwnedKey): string =>
  `${prefixOf(resource, label)}${suffix}/id=${percentEncode(id)}/r=${writeId}`

/**
 * A key of a companion, as it was parsed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Parsed extends OwnedKey {
  readonly id: string
}

/**
 * A companion of one resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compiled {
  readonly name: string
  /** What keys and documents call it: its name, or, where it has been declared anew, that and a number. */
  readonly label: string
  readonly definition: Definition
  /** What all its keys begin with. */
  readonly prefix: string
  /** Whether this program has its function. */
  readonly isKnown: boolean
  /** What a document is to own. Where it had the same before, it keeps that. Throws `WrongKeys` where the function is at fault. */
  readonly own: (
    version: { readonly id: string; readonly valueAt: ValueAt; readonly writeId: string },
    had: ReadonlyArray<OwnedKey>
  ) => Result.Result<ReadonlyArray<OwnedKey>, FieldProblem>
  /** What a key of this companion stands for. */
  readonly parse: (key: string) => Parsed | undefined
  /** The segments of a suffix. */
  readonly segments: (suffix: string) => Suffix
  /** The keys of a request; a problem names the option at fault. */
  readonly select: (within: Within) => Result.Result<Selection, FieldProblem>
  /** Whether a suffix has as many segments as a request speaks of. */
  readonly isLongEnough: (within: Within, suffix: Suffix) => boolean
  /** The segment after the selection's prefix, in the part of a key after that, in a form that is compared with its bounds. */
  readonly segment: (rest: string) => string
}

/**
 * Compiles a companion of a resource, ready for use; without `keys` for a program that does not know it. `keyBytes`: the most bytes of
 * a key in its store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (
  resource: string,
  name: string,
  definition: Definition,
  {
    keyBytes = maxKeyBytes,
    keys,
    label = name
  }: {
    readonly keyBytes?: number | undefined
    readonly keys?: Options["keys"] | undefined
    readonly label?: string | undefined
  } = {}
): Compiled => {
  const prefix = prefixOf(resource, label)
  const unfit = (message: string): FieldProblem => ({ path: definition.fields[0] ?? [], message })
  return {
    name,
    label,
    definition,
    prefix,
    isKnown: keys !== undefined,
    own({ id, valueAt, writeId }, had) {
      const before = new Map(had.map((one) => [one.suffix, one]))
      const owned = new Map<string, OwnedKey>()
      if (keys === undefined) return Result.succeed([])
      const json = seenBy(definition, valueAt)
      const all: unknown = keys({ id, json })
      if (!isIterable(all)) throw new WrongKeys(resource, name, `it gives ${kindOf(all)}, not an array of keys`)
      let number = 0
      for (const given of all as Iterable<Suffix>) {
        number += 1
        const suffix = encodeSuffix(given)
        if (suffix === undefined) {
          if (isWellFormed(json)) throw new WrongKeys(resource, name, problemOf(given, number))
          return Result.fail(unfit(`Expected text of which companion ${name} can make keys: valid Unicode`))
        }
        const one = before.get(suffix) ?? { suffix, writeId }
        const { length } = keyOf(resource, label, id, one)
        if (length > keyBytes) {
          const problem = `Expected values whose keys in companion ${name} have at most ${keyBytes} bytes; these make ${length}`
          return Result.fail(unfit(problem))
        }
        owned.set(suffix, one)
        if (owned.size > mostKeys) {
          return Result.fail(unfit(`Expected values of which companion ${name} makes at most ${mostKeys} keys`))
        }
      }
      return Result.succeed([...owned.values()])
    },
    parse(key) {
      const match = key.startsWith(prefix) ? pattern.exec(key.slice(prefix.length)) : null
      if (match === null) return undefined
      const [, suffix = "", encoded = "", writeId = ""] = match
      const id = percentDecode(encoded)
      const isOwn = suffix.split("/").every((segment) => decodeSegment(segment) !== undefined)
      return id === undefined || !isOwn ? undefined : { id, suffix, writeId }
    },
    segments: (suffix) => suffix.split("/").map((segment) => decodeSegment(segment) ?? ""),
    select({ from, prefix: first = [], startsWith, to }) {
      const selected = first.length === 0 ? "" : encodeSuffix(first)
      if (selected === undefined) {
        return Result.fail({ path: ["prefix"], message: "Expected finite numbers, well-formed text or booleans" })
      }
      const at = selected === "" ? prefix : `${prefix}${selected}/`
      if (startsWith !== undefined) {
        const text = encodeSegment(startsWith)
        if (from !== undefined || to !== undefined) {
          return Result.fail({ path: ["startsWith"], message: "Expected it without from and to" })
        }
        if (typeof startsWith !== "string" || text === undefined || bare.has(startsWith)) {
          const message = "Expected well-formed text that is not empty, nor one or two dots"
          return Result.fail({ path: ["startsWith"], message })
        }
        return Result.succeed({ prefix: at + text, least: undefined, most: undefined })
      }
      const bounds = { from: encodeSegment(from), to: encodeSegment(to) }
      for (const [edge, value] of [["from", from] as const, ["to", to] as const]) {
        if (value !== undefined && bounds[edge] === undefined) {
          return Result.fail({ path: [edge], message: "Expected a finite number, well-formed text or a boolean" })
        }
      }
      const least = bounds.from === undefined ? undefined : `${bounds.from}/`
      const most = bounds.to === undefined ? undefined : `${bounds.to}/`
      return Result.succeed({ prefix: at, least, most })
    },
    isLongEnough: ({ from, prefix = [], startsWith, to }, suffix) =>
      suffix.length >= prefix.length + ([from, startsWith, to].some((bound) => bound !== undefined) ? 1 : 0),
    // With what follows it in the key, so that segments are compared as keys are.
    segment: (rest) => rest.slice(0, rest.indexOf("/") + 1)
  }
}

const pattern = /^(.+)\/id=([^/]+)\/r=([^/]+)$/

/** The declared fields of a version, each at its place. */
const seenBy = ({ fields }: Definition, valueAt: ValueAt): JsonObject => {
  const json: Record<string, Json> = {}
  for (const path of fields) {
    const value = valueAt(path)
    if (value === undefined) continue
    let at = json
    for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, Json>
    at[path.at(-1)!] = value
  }
  return json
}

/**
 * Tells whether a version owns a key of a companion, by its label: whether that counts.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOwned = (owned: ReadonlyArray<OwnedKey> | undefined, { suffix, writeId }: OwnedKey): boolean =>
  owned?.some((one) => one.suffix === suffix && one.writeId === writeId) === true
