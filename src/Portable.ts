/**
 * Definitions that travel: the schema of a resource as JSON in the catalog, and back to a schema that works in a program
 * that has never seen it.
 *
 * Types, checks, attribute types, constant defaults and generated ids travel. What cannot is left out and named: checks
 * that are a function of the program, transformations (the stored side of them travels), computed defaults.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as Id from "./crypto/Id.ts"
import type { Simple } from "./encoding/Behavior.ts"
import type { Json, JsonObject } from "./encoding/Json.ts"
import { isList, isObject, isRecord, mapValues } from "./internal/json.ts"
import * as Partition from "./Partition.ts"
import * as Attribute from "./schema/Attribute.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Normalization from "./schema/Normalization.ts"
import * as Unique from "./Unique.ts"

const BehaviorName = Schema.Literals(["body-overflow", "body-only", "enforce-limits", "truncate-data", "user-managed"])

/**
 * A part of a definition that could not travel.
 *
 * @category models
 * @since 0.1.0
 */
export const Omission = Schema.Struct({
  /** Field names from the outside in; `[]` for the items of an array, `{}` for the values of a record. */
  path: Schema.Array(Schema.String),
  what: Schema.Literals(["check", "type", "transformation", "default", "behavior", "migrations", "computed"])
})

/**
 * A part of a definition that could not travel.
 *
 * @category models
 * @since 0.1.0
 */
export type Omission = typeof Omission.Type

/**
 * An option of a resource that is on or off.
 *
 * @category models
 * @since 0.1.0
 */
export const Flag = Schema.Literals(["history", "content", "scan", "timestamps", "userstamps", "guarded", "journal"])

/**
 * An option of a resource that is on or off.
 *
 * @category models
 * @since 0.1.0
 */
export type Flag = typeof Flag.Type

/**
 * The numbers that a resource keeps.
 *
 * @category models
 * @since 0.1.0
 */
export const Counters = Schema.Struct({
  /** Partitions of which each value is counted, by name. */
  partitions: Schema.Array(Schema.String),
  /** Objects over which the counts are spread. */
  shards: Schema.Int
})

/**
 * The numbers that a resource keeps.
 *
 * @category models
 * @since 0.1.0
 */
export type Counters = typeof Counters.Type

/**
 * What the entries of a journal carry along: the stored document after a write, before and after it, or neither; and whether they
 * say on whose behalf it was done.
 *
 * @category models
 * @since 0.1.0
 */
export const Journal = Schema.Struct({
  images: Schema.Literals(["none", "after", "both"]),
  context: Schema.Boolean
})

/**
 * What the entries of a journal carry along.
 *
 * @category models
 * @since 0.1.0
 */
export type Journal = typeof Journal.Type

/**
 * A definition in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export const Portable = Schema.Struct({
  /** The version of this format. */
  format: Schema.Literal(1),
  /** A document of Effect's `SchemaRepresentation`. */
  schema: Schema.Json,
  /** Defaults of fields that an insert leaves out, by path; `generate` names a kind of id. */
  defaults: Schema.Record(
    Schema.String,
    Schema.Union([Schema.Struct({ value: Schema.Json }), Schema.Struct({ generate: Schema.String })])
  ),
  behavior: BehaviorName,
  paranoid: Schema.Boolean,
  pin: Schema.Struct({ metadata: Schema.Array(Schema.String), body: Schema.Array(Schema.String) }),
  partitions: Schema.optionalKey(Schema.Record(Schema.String, Partition.Definition)),
  uniques: Schema.optionalKey(Schema.Record(Schema.String, Unique.Definition)),
  counters: Schema.optionalKey(Counters),
  /** Beside the flag `journal`, where entries carry something along; `false`: the journal of versions before ends. */
  journal: Schema.optionalKey(Schema.Union([Journal, Schema.Literal(false)])),
  /** What becomes of keys in inputs that the schema does not know; where it is not the default. */
  onExcessProperty: Schema.optionalKey(Schema.Literal("ignore")),
  /** Milliseconds; where it is not the default. */
  uniqueLease: Schema.optionalKey(Schema.Number),
  /** Whether documents are compressed, where the definition says so. */
  compression: Schema.optionalKey(Schema.Boolean),
  /** What plugins need to know of it, by their names. */
  plugins: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  /** Options that are on. */
  flags: Schema.optionalKey(Schema.Array(Flag)),
  omitted: Schema.Array(Omission)
})

/**
 * A definition in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export type Portable = typeof Portable.Type

/**
 * The part of a definition that is not its schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly behavior: Simple | "user-managed"
  readonly paranoid: boolean
  readonly pin: Portable["pin"]
  readonly hasMigrations: boolean
  readonly hasComputed: boolean
  readonly flags: ReadonlyArray<Flag>
  readonly plugins: Readonly<Record<string, Json>>
  readonly counters: Counters | undefined
  /** `undefined`: it says nothing of a journal. */
  readonly journal: Journal | false | undefined
  readonly onExcessProperty: "error" | "ignore"
  /** Milliseconds. */
  readonly uniqueLease: number
  /** `undefined`: it says nothing of it. */
  readonly compression: boolean | undefined
  readonly partitions: Readonly<Record<string, Partition.Definition>>
  readonly uniques: Readonly<Record<string, Unique.Definition>>
}

// -----------------------------------------------------------------------------
// To JSON
// -----------------------------------------------------------------------------

const generators = new Map<unknown, string>([
  [Id.random, "random"],
  [Id.ulid, "ulid"],
  [Id.uuidv7, "uuidv7"]
])

/**
 * Returns the portable form of a definition.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromDefinition = (schema: Attributes.DocumentSchema, settings: Settings): Portable => {
  const omitted: Array<Omission> = []
  const document = SchemaRepresentation.toRepresentation(schema.ast)
  const references: Record<string, unknown> = {}
  const seen = new Set<string>()
  const prune = (given: unknown, path: ReadonlyArray<string>): unknown => {
    if (!isRecord(given)) return given
    const node = isPassword(given) ? asStored(given) : given
    if (node["_tag"] === "Reference") {
      const name = String(node["$ref"])
      if (!seen.has(name)) {
        seen.add(name)
        references[name] = prune(document.references[name], path)
      }
      return node
    }
    if (node["_tag"] === "Declaration" && !isKnown(node["representation"])) {
      omitted.push({ path, what: "type" })
      return { _tag: "Declaration", typeParameters: [], checks: [], representation: { id: jsonId, payload: null } }
    }
    const checks = (node["checks"] as ReadonlyArray<unknown> | undefined) ?? []
    const kept = checks.flatMap((check) => pruneCheck(check, path))
    const annotations = plainAnnotations(node["annotations"])
    const { annotations: _, ...rest } = node
    const pruned: Record<string, unknown> = {
      ...rest,
      checks: kept,
      ...(annotations === undefined ? {} : { annotations })
    }
    if (Array.isArray(node["propertySignatures"])) {
      pruned["propertySignatures"] = node["propertySignatures"].map((property: Record<string, unknown>) => ({
        ...withPlainAnnotations(property),
        type: prune(property["type"], [...path, String(property["name"])])
      }))
    }
    if (Array.isArray(node["indexSignatures"])) {
      pruned["indexSignatures"] = node["indexSignatures"].map((signature: Record<string, unknown>) => ({
        ...signature,
        parameter: prune(signature["parameter"], [...path, "{}"]),
        type: prune(signature["type"], [...path, "{}"])
      }))
    }
    if (Array.isArray(node["elements"])) {
      pruned["elements"] = node["elements"].map((element: Record<string, unknown>) => ({
        ...withPlainAnnotations(element),
        type: prune(element["type"], [...path, "[]"])
      }))
    }
    for (const name of ["rest", "types", "typeParameters", "parts"]) {
      const inner = name === "rest" ? [...path, "[]"] : path
      if (Array.isArray(node[name])) pruned[name] = node[name].map((one: unknown) => prune(one, inner))
    }
    if (node["thunk"] !== undefined) pruned["thunk"] = prune(node["thunk"], path)
    // Where the text of a transformation has content of its own, its stored form is all that is needed.
    delete pruned["content"]
    return pruned
  }
  const pruneCheck = (check: unknown, path: ReadonlyArray<string>): ReadonlyArray<unknown> => {
    if (!isRecord(check)) return []
    const annotations = plainAnnotations(check["annotations"])
    const { annotations: _, ...rest } = check
    const kept = annotations === undefined ? rest : { ...rest, annotations }
    if (check["_tag"] === "FilterGroup" && check["representation"] === undefined) {
      const inner = (check["checks"] as ReadonlyArray<unknown>).flatMap((one) => pruneCheck(one, path))
      return inner.length === 0 ? [] : [{ ...kept, checks: inner }]
    }
    if (isKnown(check["representation"])) return [kept]
    omitted.push({ path, what: "check" })
    return []
  }
  const representation = prune(document.representation, [])
  const pruned = { representation, references } as unknown as SchemaRepresentation.Document
  collectTransformations(schema.ast, [], omitted)
  const defaults: Record<string, Portable["defaults"][string]> = {}
  collectDefaults(schema.ast, [], defaults, omitted)
  if (settings.behavior === "user-managed") omitted.push({ path: [], what: "behavior" })
  if (settings.hasMigrations) omitted.push({ path: [], what: "migrations" })
  if (settings.hasComputed) omitted.push({ path: [], what: "computed" })
  return {
    format: 1,
    schema: SchemaRepresentation.toJson(pruned),
    defaults,
    behavior: settings.behavior,
    paranoid: settings.paranoid,
    pin: settings.pin,
    ...(Object.keys(settings.partitions).length === 0 ? {} : { partitions: settings.partitions }),
    ...(Object.keys(settings.uniques).length === 0 ? {} : { uniques: settings.uniques }),
    ...(settings.counters === undefined ? {} : { counters: settings.counters }),
    ...(settings.journal === undefined || (settings.journal !== false && isBare(settings.journal))
      ? {}
      : { journal: settings.journal }),
    ...(settings.onExcessProperty === "error" ? {} : { onExcessProperty: settings.onExcessProperty }),
    ...(settings.uniqueLease === Unique.defaultLeaseMillis ? {} : { uniqueLease: settings.uniqueLease }),
    ...(settings.compression === undefined ? {} : { compression: settings.compression }),
    ...(Object.keys(settings.plugins).length === 0 ? {} : { plugins: settings.plugins }),
    ...(settings.flags.length === 0 ? {} : { flags: settings.flags }),
    omitted
  }
}

/** Whether entries carry nothing along. */
const isBare = ({ context, images }: Journal): boolean => images === "none" && !context

const isPassword = ({ representation }: Record<string, unknown>): boolean =>
  isRecord(representation) && representation["id"] === Attributes.passwordId

/** A password travels as what is stored of it, a text with a mark. */
const asStored = ({ annotations, checks }: Record<string, unknown>): Record<string, unknown> => ({
  _tag: "String",
  checks,
  annotations
})

/** Makes passwords of texts with that mark again, at any depth. */
const withPasswords = (node: Json): Json => {
  if (isList(node)) return node.map(withPasswords)
  if (!isObject(node)) return node
  const inner: JsonObject = mapValues(node, withPasswords)
  const { _tag, checks } = inner
  if (_tag !== "String" || !isList(checks) || !checks.some(marksPassword)) return inner
  const declared = {
    _tag: "Declaration",
    typeParameters: [],
    representation: { id: Attributes.passwordId, payload: null }
  }
  return { ...inner, ...declared, checks: checks.filter((check) => !marksPassword(check)) }
}

const marksPassword = (check: unknown): boolean => {
  const representation = isRecord(check) ? check["representation"] : undefined
  if (!isRecord(representation) || representation["id"] !== Attributes.representationId) return false
  return isRecord(representation["payload"]) && representation["payload"]["codec"] === "password"
}

const isKnown = (representation: unknown): boolean =>
  isRecord(representation) && revivers.some((reviver) => reviver.id === representation["id"])

/** What of annotations is for people; the rest belongs to the program. */
const forPeople = new Set([
  "title",
  "description",
  "examples",
  "default",
  "documentation",
  "format",
  "message",
  "messageMissingKey"
])

const plainAnnotations = (annotations: unknown): Record<string, Json> | undefined => {
  if (!isRecord(annotations)) return undefined
  const kept: Record<string, Json> = {}
  for (const [name, value] of Object.entries(annotations)) {
    if (forPeople.has(name) && isJson(value)) kept[name] = value
  }
  return Object.keys(kept).length === 0 ? undefined : kept
}

const withPlainAnnotations = (node: Record<string, unknown>): Record<string, unknown> => {
  const { annotations, ...rest } = node
  const kept = plainAnnotations(annotations)
  return kept === undefined ? rest : { ...rest, annotations: kept }
}

const isJson = Schema.is(Schema.Json)

/** The struct of a schema or class as it was declared, and whether something was put between it and what is stored. */
const structOf = (ast: AST.AST): AST.Objects | undefined => {
  if (AST.isObjects(ast)) return ast
  if (AST.isDeclaration(ast) && ast.typeParameters.length === 1 && ast.annotations?.["~constructor"] !== undefined) {
    return structOf(ast.typeParameters[0]!)
  }
  return undefined
}

const collectTransformations = (ast: AST.AST, path: ReadonlyArray<string>, omitted: Array<Omission>): void => {
  for (const property of structOf(ast)?.propertySignatures ?? []) {
    const here = [...path, String(property.name)]
    const members = AST.isUnion(property.type) ? property.type.types : [property.type]
    for (const member of members) {
      if (structOf(member) !== undefined) collectTransformations(member, here, omitted)
      else if (member.encoding !== undefined) omitted.push({ path: here, what: "transformation" })
    }
  }
}

const collectDefaults = (
  ast: AST.AST,
  path: ReadonlyArray<string>,
  defaults: Record<string, Portable["defaults"][string]>,
  omitted: Array<Omission>
): void => {
  for (const property of structOf(ast)?.propertySignatures ?? []) {
    const here = [...path, String(property.name)]
    const effect = property.type.context?.constructorDefault
    if (effect !== undefined) {
      const found = path.length === 0 ? defaultOf(effect, property.type) : undefined
      if (found === undefined) omitted.push({ path: here, what: "default" })
      else defaults[here.join(".")] = found
    }
    collectDefaults(property.type, here, defaults, omitted)
  }
}

const defaultOf = (effect: unknown, type: AST.AST): Portable["defaults"][string] | undefined => {
  const generate = generators.get(effect)
  if (generate !== undefined) return { generate }
  // The catalog is in clear.
  const value = Attributes.holdsHidden(type) ? undefined : Attributes.constantDefault(type)
  return value === undefined ? undefined : { value }
}

// -----------------------------------------------------------------------------
// From JSON
// -----------------------------------------------------------------------------

const isReviver = (u: unknown): u is SchemaRepresentation.AnyReviver =>
  isRecord(u) && typeof u["id"] === "string" && typeof u["revive"] === "function"

const jsonId = SchemaRepresentation.JsonReviver.id

const revivers: ReadonlyArray<SchemaRepresentation.AnyReviver> = [
  ...Object.values<unknown>(SchemaRepresentation).filter(isReviver),
  Attribute.reviver,
  Attribute.secretReviver,
  Attribute.passwordReviver,
  Attribute.plainPasswordReviver,
  Normalization.reviver,
  Normalization.strictReviver
]

/**
 * A schema whose fields are known at run time only.
 *
 * @category models
 * @since 0.1.0
 */
export interface DynamicSchema extends Schema.Codec<{ readonly [field: string]: unknown }, JsonObject> {}

const decodePortable = Schema.decodeUnknownResult(Portable)

/**
 * Returns the schema of a portable definition, and what the definition says beside it; or why it cannot be brought
 * back.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toDefinition = (
  json: unknown
): Result.Result<{ readonly schema: DynamicSchema; readonly portable: Portable }, string> =>
  Result.flatMap(
    // Deep ones break off with an exception.
    Result.try({
      try: () => decodePortable(json),
      catch: (error) => `the definition cannot be read: ${messageOf(error)}`
    }),
    (decoded) =>
      Result.flatMap(
        Result.mapError(decoded, (error) => `the definition is not in the portable form: ${error.message}`),
        (portable) =>
          Result.try({
            try: () => ({ schema: revive(portable), portable }),
            catch: (error) => `the schema cannot be brought back: ${messageOf(error)}`
          })
      )
  )

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const revive = (portable: Portable): DynamicSchema => {
  const document = SchemaRepresentation.fromJson(withPasswords(portable.schema))
  const schema = SchemaRepresentation.fromRepresentation(document, { revivers })
  const struct = structOf(schema.ast)
  if (struct === undefined) throw new Attributes.UnsupportedSchema("the schema is no struct")
  const fields: Record<string, Schema.Top> = {}
  for (const property of struct.propertySignatures) {
    const name = String(property.name)
    const field = Schema.make<Field>(property.type)
    const given = Object.hasOwn(portable.defaults, name) ? portable.defaults[name] : undefined
    fields[name] = given === undefined ? field : field.pipe(Schema.withConstructorDefault(defaultEffect(given, field)))
  }
  const revived = Schema.Struct(fields)
  const checks = struct.checks
  const whole = checks === undefined ? revived : revived.check(...checks)
  return Schema.make<DynamicSchema>(whole.ast)
}

interface Field extends Schema.Bottom<unknown, unknown, never, never, AST.AST, Field> {}

const defaultEffect = (given: Portable["defaults"][string], field: Field): Effect.Effect<unknown> => {
  if ("value" in given) return Effect.succeed(Schema.decodeUnknownSync(Schema.toCodecJson(field))(given.value))
  for (const [effect, name] of generators) {
    if (name === given.generate && Effect.isEffect(effect)) return effect as Effect.Effect<string>
  }
  throw new Attributes.UnsupportedSchema(`there is no generator of ids called ${given.generate}`)
}
