/**
 * What goes over a wire: schemas of a resource for an HTTP API, an MCP server or a command line, derived from its
 * definition. Nothing here reads or writes anything.
 *
 * ```ts
 * import * as Resource from "effect-s3db/Resource"
 * import * as Attribute from "effect-s3db/schema/Attribute"
 * import * as Wire from "effect-s3db/Wire"
 * import { Schema } from "effect"
 *
 * const users = Resource.define("users", {
 *   schema: Schema.Struct({
 *     id: Schema.String,
 *     name: Schema.String,
 *     note: Schema.optionalKey(Schema.String),
 *     password: Attribute.Password
 *   }),
 *   primaryKey: "id"
 * })
 *
 * // What a client sends becomes what `insert` and `patch` take.
 * const input = Schema.decodeUnknownSync(Wire.create(users))({ id: "ana", name: "Ana", password: "correct horse" })
 * const changes = Schema.decodeUnknownSync(Wire.patch(users))({ name: "Anna", note: null })
 *
 * // What a client sees: `{ id: "ana", name: "Ana" }`, of the type `{ readonly id: string; readonly name: string }`.
 * const show = Wire.toPublic(users, { protect: ["note"] })
 * const shown = show({ id: "ana", name: "Ana", note: "for us" })
 *
 * const document = Wire.jsonSchema(Wire.public(users, { protect: ["note"] }))
 * ```
 *
 * **Details**
 *
 * The wire has the JSON form in which documents are stored: fields under their stored names (`encodeKeys`), dates as ISO
 * text, exact numbers as text, bytes in base 64.
 *
 * - What comes in is checked by the schema, field by field, and cleaned up as the resource does it. Checks of a whole
 *   struct, of values that have to be unique, and the rules for passwords, are left to the resource.
 * - Fields that nobody has declared are errors in what comes in, at every depth, and left out of what goes out.
 * - No message about what has come in holds a secret or password, not even with `reportInput`.
 * - Passwords and `Attribute.Secret` values come in, and do not go out: encoding them fails unless
 *   `Attributes.SecretsOpen` is provided, as a client may do that sends its own.
 * - A struct whose fields are turned into others as a whole (`Schema.decodeTo`), other than by new names, comes in as a
 *   whole: all its fields are wanted, also in a patch.
 * - Fields that other objects have by birth (`constructor`, `toString`) are wanted where they have a default, and cannot
 *   be patched.
 *
 * @since 0.1.0
 */
import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Definition } from "./Definition.ts"
import { documentLevels, isDeeperThan, type Json, type JsonObject } from "./encoding/Json.ts"
import { isStackOverflow } from "./internal/stackOverflow.ts"
import * as Partition from "./Partition.ts"
import type * as Query from "./Query.ts"
import type { Insert, Patch } from "./Repository.ts"
import * as Attribute from "./schema/Attribute.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Normalization from "./schema/Normalization.ts"

// -----------------------------------------------------------------------------
// What comes in
// -----------------------------------------------------------------------------

/**
 * Returns the schema of what an insert takes, as JSON.
 *
 * Fields with a constructor default may be left out, the primary key among them. Fields that the resource fills in
 * (timestamps, userstamps, computed ones) are no fields of it, except those that are required and have no default, which
 * an insert wants as well. Passwords are plain text and become `Redacted`.
 *
 * The type is what `insert` takes; what encoding gives is typed as any JSON object.
 *
 * @category schemas
 * @since 0.1.0
 */
export const create = <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): Schema.Codec<Insert<S>, JsonObject> => incoming<Insert<S>>(definition, "create")

/**
 * Returns the schema of what a patch takes, as JSON: some of the fields, at least one, without the primary key and those
 * that the resource fills in. Nested structs are some of their fields, too, and are merged; everything else is replaced.
 *
 * `null` removes an optional field, and is decoded as `undefined`, unless it is a value of the field.
 *
 * Throws `UnsupportedSchema` where the whole document is turned into another one on its way to the store.
 *
 * @category schemas
 * @since 0.1.0
 */
export const patch = <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): Schema.Codec<Patch<S["Type"]>, JsonObject> => incoming<Patch<S["Type"]>>(definition, "patch")

// -----------------------------------------------------------------------------
// What goes out
// -----------------------------------------------------------------------------

/**
 * What of a document is shown.
 *
 * @category models
 * @since 0.1.0
 */
export interface PublicOptions<out P extends Query.Path = Query.Path, out Sys extends boolean = boolean> {
  /**
   * Fields that are not shown, by their path in the JSON form: names joined with `.`, `[]` for the items of an array, `{}`
   * for the values of a record (`"address.street"`, `"contacts.[].phone"`, `"rates.{}.internal"`). Secrets and passwords
   * need not be named.
   */
  readonly protect?: ReadonlyArray<P> | undefined
  /** Whether system fields (`$createdAt`, `$version`, ...) are shown, where they are known. Default `false`. */
  readonly system?: Sys | undefined
}

/**
 * What a database knows of a document beside its fields. Times are ISO text.
 *
 * @category models
 * @since 0.1.0
 */
export interface SystemFields {
  readonly $createdAt?: string
  readonly $updatedAt?: string
  readonly $schemaVersion?: number
  /** How many versions there have been. */
  readonly $version?: number
  /** The revision that a change has to name so that it overwrites no other one. */
  readonly $revision?: string
}

/**
 * The JSON form of a document as it is shown: without secrets, password hashes and protected fields (`P`, their paths).
 *
 * **Gotchas**
 *
 * The type follows that of the schema, and is wider than what is shown in a few places: a union that holds a secret, and
 * a password that is stored under another name, are not shown, though the type has them. Paths that are lists, and those
 * that go through unions of structs or the data types of Effect, are protected, and not typed. Numbers that may be `NaN`
 * or infinite are texts then, and other data types of Effect are `Json`.
 *
 * @category models
 * @since 0.1.0
 */
export type Public<S extends Attributes.DocumentSchema, P = never, Sys extends boolean = false> = (string extends P
  ? JsonObject
  : string extends keyof S["Encoded"]
    ? PublicFields<S["Type"], S["Type"], P>
    : PublicFields<S["Encoded"], S["Type"], P>) &
  (Sys extends true ? SystemFields : unknown)

type PublicFields<E, T, P> = {
  readonly [K in keyof E as IsShown<E, T, P, K> extends true ? K : never]: PublicValue<
    Required<E>[K],
    K extends keyof T ? T[K] : unknown,
    Below<P, K>
  >
}

type IsShown<E, T, P, K extends keyof E> = K extends P
  ? false
  : IsSecret<E[K]> extends true
    ? false
    : K extends keyof T
      ? IsSecret<T[K]> extends true
        ? false
        : true
      : true

/** A struct is not a secret as a whole: its fields are. */
type IsSecret<V> = [V] extends [undefined | null]
  ? false
  : [NonNullable<V>] extends [Redacted.Redacted<unknown> | Attribute.PasswordHash]
    ? true
    : [IsStruct<NonNullable<V>>] extends [true]
      ? false
      : true extends Attribute.Holds<V, Redacted.Redacted<unknown>>
        ? true
        : false

type IsStruct<V> = V extends Scalar | ReadonlyArray<unknown> | { readonly pipe: unknown }
  ? false
  : V extends object
    ? string extends keyof V
      ? false
      : true
    : false

type Scalar = string | number | bigint | boolean | symbol | null | undefined | Date | Uint8Array

type Below<P, K> = K extends string ? (P extends `${K}.${infer Rest}` ? Rest : never) : never

type PublicValue<E, T, P> = Schema.Json extends E
  ? Schema.Json
  : E extends string | number | boolean | null
    ? E
    : E extends undefined
      ? null
      : E extends bigint | symbol | Date | Uint8Array | BigDecimal.BigDecimal | DateTime.DateTime
        ? string
        : E extends ReadonlyArray<infer I>
          ? ReadonlyArray<PublicValue<I, T extends ReadonlyArray<infer J> ? J : unknown, Below<P, "[]">>>
          : E extends { readonly pipe: unknown } | ((...args: never) => unknown)
            ? Schema.Json
            : E extends object
              ? string extends keyof E
                ? { readonly [K in keyof E]: PublicValue<E[K], K extends keyof T ? T[K] : unknown, Below<P, "{}">> }
                : PublicFields<E, NonNullable<T>, P>
              : Schema.Json

/**
 * Some documents, and where to go on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page<out T> {
  readonly items: ReadonlyArray<T>
  /** Gives the next page; there is none after the last one. */
  readonly cursor?: string
  /** How many there are on all pages, where it was asked for. */
  readonly total?: number
}

/** Under its public name below. */
const document = <
  S extends Attributes.DocumentSchema,
  const P extends Query.Path = never,
  const Sys extends boolean = false
>(
  definition: Definition<S>,
  options?: PublicOptions<P, Sys>
): Schema.Codec<Public<S, P, Sys>, JsonObject> =>
  Schema.make<Schema.Codec<Public<S, P, Sys>, JsonObject>>(outgoing(definition, options).ast)

export {
  /**
   * Returns the schema of a document in the form that may be shown: JSON without secrets, password hashes and protected
   * fields. What it decodes and encodes is the same; fields that it does not have are dropped.
   *
   * Checks of values whose form is their JSON form are kept; those of structs, arrays and records from which something is
   * left out are not. Throws `UnsupportedSchema` for a protected path that is no field.
   *
   * @category schemas
   * @since 0.1.0
   */
  document as public
}

/**
 * Returns the schema of a page of documents as they may be shown.
 *
 * @category schemas
 * @since 0.1.0
 */
export const page = <
  S extends Attributes.DocumentSchema,
  const P extends Query.Path = never,
  const Sys extends boolean = false
>(
  definition: Definition<S>,
  options?: PublicOptions<P, Sys>
): Schema.Codec<Page<Public<S, P, Sys>>, Page<JsonObject>> =>
  Schema.Struct({
    items: Schema.Array(document(definition, options)),
    cursor: Schema.optionalKey(Schema.String.annotate({ description: "gives the next page" })),
    total: Schema.optionalKey(Schema.Int.annotate({ description: "how many there are on all pages" }))
  })

/**
 * Returns what makes the public form of a document of its JSON form, as `Repository.queryJson` gives it. Whatever the
 * public form does not have is left out, at every depth.
 *
 * Throws `UnsupportedSchema` for a protected path that is no field; what it returns never fails.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toPublic = <
  S extends Attributes.DocumentSchema,
  const P extends Query.Path = never,
  const Sys extends boolean = false
>(
  definition: Definition<S>,
  options?: PublicOptions<P, Sys>
): ((json: JsonObject) => Public<S, P, Sys>) => {
  const { ast, removals } = outgoing(definition, options)
  const shape = shapes(removals)(ast)
  // It has the form that the schema of the same definition says.
  return (json) => shown(json, shape) as Public<S, P, Sys>
}

/**
 * Returns the JSON Schema (draft 2020-12) of a schema of this module: closed, with descriptions and formats.
 *
 * Lengths of texts are those of the schema, in units of UTF-16, which JSON Schema takes for code points: a text with characters beyond U+FFFF is
 * shorter to who validates by it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const jsonSchema = (schema: Schema.Constraint): JsonSchema.Document<"draft-2020-12"> =>
  Schema.toJsonSchemaDocument(schema, { onExcessProperty: "error" })

// -----------------------------------------------------------------------------
// Incoming
// -----------------------------------------------------------------------------

type Mode = "create" | "patch"

/** What of a definition matters on a wire. */
type Declared = Pick<Definition<Attributes.DocumentSchema>, "name" | "schema" | "attributes" | "completion"> & {
  readonly primaryKey: string
}

const incoming = <T>({ completion, name, primaryKey, schema }: Declared, mode: Mode): Schema.Codec<T, JsonObject> => {
  const { attributes, hidden } = hiddenIn(schema, primaryKey)
  const fields = inputs(mode, new Set(completion?.fields), primaryKey)
  const whole = fields.document(schema.ast)
  if (whole === undefined && mode === "patch") {
    throw new Attributes.UnsupportedSchema(
      `${name} cannot be patched over a wire: its schema turns the whole document into another one`
    )
  }
  if (fields.passwords() < attributes.filter(({ codec }) => codec === "password").length) {
    throw new Attributes.UnsupportedSchema(
      `${name} cannot take passwords over a wire: its schema turns the struct around one into another one`
    )
  }
  const json = Schema.toCodecJson(Schema.make<Schema.Top>(whole ?? schema.ast)).ast
  const { ast, isRecursive } = dress(json, mode)
  const codec = Schema.make<Schema.Codec<T, JsonObject>>(ast)
  if (hidden.length === 0 && !isRecursive) return codec
  const guarded = codec.pipe(
    Schema.middlewareDecoding((result) =>
      result.pipe(
        Effect.catchDefect((defect) => (isStackOverflow(defect) ? Effect.fail(tooDeep) : Effect.die(defect))),
        Effect.mapError((issue) => withoutInput(issue, hidden))
      )
    )
  )
  return Schema.make<Schema.Codec<T, JsonObject>>(guarded.ast)
}

/** Where secrets and passwords are: by the names of the value, and by those that are stored. */
const hiddenIn = (schema: Attributes.DocumentSchema, primaryKey: string) => {
  const attributes = Attributes.fromSchema(schema, primaryKey)
  const stored = attributes.filter(({ codec }) => Attributes.isHidden(codec)).map(({ path }) => path)
  return { attributes, hidden: [...Attributes.hiddenOf(schema), ...stored] }
}

// -----------------------------------------------------------------------------
// Structs
// -----------------------------------------------------------------------------

/** A struct whose fields can be told from those that are stored: they are the same, maybe under other names. */
interface Struct {
  readonly source: AST.Objects
  /** By the name of the field. */
  readonly names: ReadonlyMap<string, string>
}

const structOf = (ast: AST.AST): Struct | undefined => {
  const layers = layersOf(ast)
  if (layers === undefined) return undefined
  const names = namesThrough(layers.source, layers.links)
  return names === undefined ? undefined : { source: layers.source, names }
}

const isClass = (ast: AST.AST): ast is AST.Declaration =>
  AST.isDeclaration(ast) && ast.typeParameters.length === 1 && ast.annotations?.["~constructor"] !== undefined

interface Layers {
  readonly source: AST.Objects
  /** From the value to what is stored. */
  readonly links: ReadonlyArray<AST.Link>
}

/** The struct of a class is what the fields of the class are given as. */
const layersOf = (ast: AST.AST): Layers | undefined => {
  if (isClass(ast)) {
    const [construction, ...rest] = ast.encoding ?? []
    const inner = layersOf(construction?.to ?? ast.typeParameters[0]!)
    return inner === undefined ? undefined : { ...inner, links: [...inner.links, ...rest] }
  }
  if (!AST.isObjects(ast) || ast.propertySignatures.length === 0 || ast.indexSignatures.length > 0) return undefined
  return { source: ast, links: ast.encoding ?? [] }
}

/** Values that a transformation which does no more than rename leaves as they are. */
const marks: ReadonlyArray<(index: number) => unknown> = [
  () => ({}),
  (index) => ` Mark ${index} `,
  (index) => index + 0.125
]

/** The names under which fields are stored; `undefined` where the transformations do more than rename. */
const namesThrough = (source: AST.Objects, links: ReadonlyArray<AST.Link>): ReadonlyMap<string, string> | undefined => {
  const fields = source.propertySignatures.map(({ name }) => String(name))
  if (links.length === 0) return new Map(fields.map((field) => [field, field]))
  const found = marks.map((mark) => namesOf(new Map(fields.map((field, index) => [field, mark(index)])), links))
  const [names] = found
  if (names === undefined) return undefined
  const isSure = found.every((others) => fields.every((field) => others?.get(field) === names.get(field)))
  return isSure ? names : undefined
}

/** Follows a mark for each field through the transformations, and back. */
const namesOf = (
  marked: ReadonlyMap<string, unknown>,
  links: ReadonlyArray<AST.Link>
): ReadonlyMap<string, string> | undefined => {
  let stored: unknown = Object.fromEntries(marked)
  for (const { to, transformation } of links) {
    const isPlain = AST.isObjects(to) && to.propertySignatures.every(({ type }) => type.encoding === undefined)
    if (!isPlain || to.encoding !== undefined || transformation._tag !== "Transformation") return undefined
    if (transformation.encode._tag !== "Transform" || transformation.decode._tag !== "Transform") return undefined
    try {
      const before = stored
      stored = transformation.encode.transform(before)
      if (!hasSameMarks(transformation.decode.transform(stored), before)) return undefined
    } catch {
      return undefined
    }
  }
  if (typeof stored !== "object" || stored === null || Object.keys(stored).length !== marked.size) return undefined
  const byMark = new Map(Object.entries(stored).map(([name, mark]) => [mark, name]))
  const names = new Map<string, string>()
  for (const [field, mark] of marked) {
    const name = byMark.get(mark)
    if (name === undefined) return undefined
    names.set(field, name)
  }
  return names
}

const hasSameMarks = (a: unknown, b: unknown): boolean =>
  typeof a === "object" &&
  a !== null &&
  typeof b === "object" &&
  b !== null &&
  Object.keys(a).length === Object.keys(b).length &&
  Object.entries(a).every(([name, mark]) => mark === (b as Readonly<Record<string, unknown>>)[name])

/** A struct of other fields under the names of this one. */
const structWith = (ast: AST.AST, struct: Struct, fields: ReadonlyMap<string, AST.AST>): AST.AST => {
  if (fields.size === 0) return nothing
  const made = Schema.Struct(
    Object.fromEntries([...fields].map(([name, type]) => [name, Schema.make<Schema.Top>(type)]))
  ).annotate({ ...textsOf(struct.source), ...textsOf(ast) })
  const renamed = [...fields.keys()].flatMap((name) => {
    const stored = struct.names.get(name) ?? name
    return stored === name ? [] : [[name, stored] as const]
  })
  return renamed.length === 0 ? made.ast : made.pipe(Schema.encodeKeys(Object.fromEntries(renamed))).ast
}

/** `{}`, and nothing else. */
const nothing = Schema.Record(Schema.String, Schema.Never).ast

/** Puts a schema in the place of another: as optional as that, with what is said of the key. */
const inPlaceOf = (ast: AST.AST, made: AST.AST): AST.AST => {
  const schema = Schema.make<Schema.Top>(made)
  const told = ast.context?.annotations === undefined ? schema : schema.annotateKey(ast.context.annotations)
  return AST.isOptional(ast) ? Schema.optionalKey(told).ast : told.ast
}

// -----------------------------------------------------------------------------
// Fields of inputs
// -----------------------------------------------------------------------------

const inputs = (mode: Mode, filledIn: ReadonlySet<string>, primaryKey: string) => {
  let passwords = 0

  const document = (ast: AST.AST): AST.AST | undefined => {
    const struct = structOf(ast)
    return struct === undefined ? undefined : structIn(ast, struct, isGiven)
  }

  const isGiven = ({ name, type }: AST.PropertySignature): boolean => {
    if (mode === "patch") return name !== primaryKey && !filledIn.has(String(name))
    return !filledIn.has(String(name)) || !(AST.isOptional(type) || hasDefault(type))
  }

  const structIn = (
    ast: AST.AST,
    struct: Struct,
    isGiven: (property: AST.PropertySignature) => boolean = () => true
  ): AST.AST => {
    const fields = new Map<string, AST.AST>()
    for (const property of struct.source.propertySignatures) {
      if (isPassword(property.type)) passwords += 1
      if (!isGiven(property)) continue
      const name = String(property.name)
      // Where an object has something of that name anyway, it cannot be seen whether it was left out.
      const isInherited = name in Object.prototype
      if (isInherited && mode === "patch") continue
      const field = fieldIn(property.type)
      fields.set(name, mode === "patch" ? changed(field) : isInherited ? field : created(property.type, field))
    }
    return structWith(ast, struct, fields)
  }

  const fieldIn = (type: AST.AST): AST.AST => {
    const kind = Attributes.kindOf(type)
    if (kind === "password") return inPlaceOf(type, eachMember(type, plainPassword))
    if (kind === "struct") {
      return inPlaceOf(
        type,
        eachMember(type, (ast) => {
          const struct = structOf(ast)
          return struct === undefined ? ast : structIn(ast, struct)
        })
      )
    }
    return valueIn(type)
  }

  return { document, passwords: () => passwords }
}

const isPassword = (type: AST.AST): boolean => Attributes.kindOf(type) === "password"

const hasDefault = (type: AST.AST): boolean => type.context?.constructorDefault !== undefined

/** A field of a create: one with a default may be left out. */
const created = (type: AST.AST, field: AST.AST): AST.AST => {
  if (!hasDefault(type)) return field
  const value = Attributes.holdsHidden(type) ? undefined : Attributes.constantDefault(type)
  const schema = Schema.make<Schema.Top>(value === undefined ? field : withSaid(field, { default: value }))
  return Schema.optionalKey(schema).ast
}

/** A field of a patch: it may be left out, and an optional one removed. */
const changed = (field: AST.AST): AST.AST => {
  const value = withoutUndefined(field)
  if (!AST.isOptional(field)) return Schema.optionalKey(Schema.make<Schema.Top>(field)).ast
  const schema = Schema.make<Schema.Top>(value)
  return (takesNull(value) ? Schema.optionalKey(schema) : Schema.optional(schema)).ast
}

const withoutUndefined = (ast: AST.AST): AST.AST => {
  if (!AST.isUnion(ast) || ast.encoding !== undefined) return ast
  const types = ast.types.filter((type) => !AST.isUndefined(type)).map(withoutUndefined)
  return new AST.Union(types, ast.options, ast.annotations, ast.checks, undefined, ast.context)
}

/** Whether `null` is the JSON form of a value. */
const takesNull = (ast: AST.AST): boolean =>
  Schema.is(Schema.make<Schema.Top>(AST.toEncoded(Schema.toCodecJson(Schema.make<Schema.Top>(ast)).ast)))(null)

const eachMember = (ast: AST.AST, f: (member: AST.AST) => AST.AST): AST.AST => {
  if (!AST.isUnion(ast)) return f(ast)
  const types = ast.types.map((type) => (AST.isNull(type) || AST.isUndefined(type) ? type : eachMember(type, f)))
  return new AST.Union(types, ast.options, ast.annotations)
}

/** What stands for a password's hash. The resource applies the rules of the password, and hashes it. */
const plainPassword = (ast: AST.AST): AST.AST => {
  const { description = "a password as plain text", title } = textsOf(ast, false)
  const text = Schema.String.annotate({
    description,
    ...(title === undefined ? {} : { title }),
    format: "password",
    writeOnly: true
  })
  return Attribute.Secret(text).ast
}

// -----------------------------------------------------------------------------
// Values of inputs
// -----------------------------------------------------------------------------

/**
 * A value as an insert takes it: fields with defaults may be left out, classes are given as their fields. Within the data
 * types of Effect, such as `Option`, values are whole.
 */
const valueIn = (type: AST.AST): AST.AST => {
  const done = { normal: new Map<AST.AST, AST.AST>(), other: new Map<AST.AST, AST.AST>() }

  /** `isCleaned`: the resource cleans it up before it is validated. */
  const go = (ast: AST.AST, isCleaned: boolean, isMember = false): AST.AST => {
    const known = done[isCleaned ? "normal" : "other"]
    const before = isMember ? undefined : known.get(ast)
    if (before !== undefined) return before
    const made = step(ast, isCleaned, isMember)
    if (!isMember) known.set(ast, made)
    return made
  }

  const step = (ast: AST.AST, isCleaned: boolean, isMember: boolean): AST.AST => {
    const struct = structOf(ast)
    if (struct !== undefined) return structIn(ast, struct, isCleaned, isMember)
    if (ast.encoding !== undefined) return ast
    if (AST.isUnion(ast)) {
      const others = ast.types.filter((one) => !AST.isNull(one) && !AST.isUndefined(one))
      const isOne = others.length === 1
      const types = ast.types.map((one) => go(one, isCleaned && isOne, isMember || !isOne))
      return isSame(types, ast.types)
        ? ast
        : new AST.Union(types, ast.options, ast.annotations, undefined, undefined, ast.context)
    }
    if (AST.isArrays(ast)) {
      const elements = ast.elements.map((one) => go(one, false))
      const rest = ast.rest.map((one) => go(one, isCleaned && elements.length === 0))
      if (isSame(elements, ast.elements) && isSame(rest, ast.rest)) return ast
      const { annotations, context, isMutable } = ast
      return new AST.Arrays(isMutable, elements, rest, annotations, sizeChecks(ast), undefined, context)
    }
    if (AST.isObjects(ast)) {
      const signatures = ast.indexSignatures.map(({ parameter, type }) => {
        const made = go(type, isCleaned && ast.propertySignatures.length === 0)
        return new AST.IndexSignature(parameter, made)
      })
      if (signatures.every(({ type }, index) => type === ast.indexSignatures[index]!.type)) return ast
      const { annotations, context, propertySignatures } = ast
      return new AST.Objects(propertySignatures, signatures, annotations, sizeChecks(ast), undefined, context)
    }
    if (AST.isSuspend(ast)) {
      return new AST.Suspend(() => go(ast.thunk(), false), ast.annotations, undefined, undefined, ast.context)
    }
    return isCleaned ? inPlaceOf(ast, cleaned(ast)) : ast
  }

  const structIn = (ast: AST.AST, struct: Struct, isCleaned: boolean, isMember: boolean): AST.AST => {
    let hasChanged = ast !== struct.source
    const fields = new Map<string, AST.AST>()
    for (const { name, type } of struct.source.propertySignatures) {
      const field = go(type, isCleaned)
      // What tells the members of a union apart is always there.
      const mayBeLeftOut = hasDefault(type) && !(String(name) in Object.prototype) && !(isMember && AST.isLiteral(type))
      hasChanged ||= mayBeLeftOut || field !== type
      fields.set(String(name), mayBeLeftOut ? created(type, field) : field)
    }
    if (!hasChanged) return ast
    const identifier = struct.source.annotations?.identifier
    const made = Schema.make<Schema.Top>(structWith(ast, struct, fields))
    return inPlaceOf(ast, typeof identifier === "string" ? made.annotate({ identifier }).ast : made.ast)
  }

  return go(type, true)
}

/** Other checks may ask for what is not there before the resource has made the value. */
const sizeChecks = (ast: AST.AST): AST.Checks | undefined =>
  nonEmpty(
    flat(ast.checks ?? []).filter(({ annotations }) => {
      const representation: unknown = annotations?.representation
      return isDeclared(representation) && /\/is(Min|Max|Between)(Length|Properties)$/.test(representation.id)
    })
  )

const isSame = (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): boolean =>
  a.every((one, index) => one === b[index])

const decodeOperation = Schema.decodeUnknownSync(Schema.Struct({ op: Normalization.Operation }))

/** A leaf that is cleaned up before it is checked, as the resource does it. */
const cleaned = (ast: AST.AST): AST.AST => {
  const holder = Schema.Struct({ value: Schema.make<Schema.Codec<unknown>>(ast) })
  const operations = Attributes.payloadsOf(holder, Normalization.normalizeId).flatMap(({ path, payload }) =>
    path.length === 1 ? [decodeOperation(payload).op] : []
  )
  if (operations.length === 0) return ast
  const json = Schema.toCodecJson(Schema.make<Schema.Top>(ast)).ast
  const stored = AST.toEncoded(json)
  const others = operations.flatMap((op) => alsoAccepted[op] ?? [])
  const accepted = [uncleaned(stored), ...others.filter((other) => !AST.isString(other) || !AST.isString(stored))]
  return AST.decodeTo(
    accepted.length === 1 ? accepted[0]! : new AST.Union(accepted),
    json,
    SchemaTransformation.transform<unknown, unknown>({
      decode: (value) => operations.reduce<unknown>((at, op) => toJson(Normalization.apply(op, at)), value),
      encode: (value) => value
    })
  )
}

const toJson = (value: unknown): unknown => (value instanceof Date ? value.toISOString() : value)

const alsoAccepted: { readonly [K in Normalization.Operation]?: ReadonlyArray<AST.AST> } = {
  string: [Schema.Finite.ast, AST.boolean],
  number: [AST.string],
  boolean: [AST.string, Schema.Literals([0, 1]).ast],
  date: [AST.string, Schema.Finite.ast]
}

/** Text that need not yet be what it becomes; its checks are told in JSON Schema only. */
const uncleaned = (ast: AST.AST): AST.AST => {
  if (!AST.isString(ast) || ast.checks === undefined) return ast
  const told = flat(ast.checks).map((check) => Schema.makeFilter<string>(() => true, check.annotations))
  return Schema.String.annotate(textsOf(ast)).check(told[0]!, ...told.slice(1)).ast
}

const flat = (checks: ReadonlyArray<AST.Check<unknown>>): ReadonlyArray<AST.Filter<unknown>> =>
  checks.flatMap((check) => (check._tag === "FilterGroup" ? flat(check.checks) : [check]))

// -----------------------------------------------------------------------------
// The JSON side
// -----------------------------------------------------------------------------

/** What is said of a value to people, and to programs that know no Effect. */
type Texts = {
  readonly title?: string
  readonly description?: string
  readonly format?: string
}

type Said = Texts & { readonly default?: Json }

const formats: Readonly<Record<string, string>> = {
  email: "email",
  url: "uri",
  uuid: "uuid",
  ip4: "ipv4",
  ip6: "ipv6",
  dateonly: "date",
  "effect/schema/Date": "date-time",
  "effect/schema/DateTimeUtc": "date-time"
}

const isAttribute = Schema.is(
  Schema.Struct({ id: Schema.Literal(Attributes.representationId), payload: Schema.Struct({ type: Schema.String }) })
)

const isDeclared = Schema.is(Schema.Struct({ id: Schema.String }))

/** `saysExpected`: an attribute type without a description is described by what it expects. */
const textsOf = (ast: AST.AST, saysExpected = true): Texts => {
  const checks = flat(ast.checks ?? []).map(({ annotations }) => annotations)
  const all = [ast.annotations, ...checks]
  const find = (key: keyof Texts): string | undefined => {
    const found = all.findLast((annotations) => typeof annotations?.[key] === "string")?.[key]
    return typeof found === "string" ? found : undefined
  }
  const attribute = checks.find((annotations) => isAttribute(annotations?.representation))
  const representation: unknown = attribute?.representation ?? ast.annotations?.["representation"]
  const kind = isAttribute(representation)
    ? representation.payload.type
    : isDeclared(representation)
      ? representation.id
      : ""
  const title = find("title")
  const description = find("description") ?? (saysExpected ? attribute?.expected : undefined)
  const format = find("format") ?? (Object.hasOwn(formats, kind) ? formats[kind] : undefined)
  return {
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(format === undefined ? {} : { format })
  }
}

/** Of a node itself, a default may be any value; of a check, it is JSON that was put there. */
const saidOf = (ast: AST.AST): Said => {
  const fallback: unknown = flat(ast.checks ?? []).findLast(({ annotations }) => annotations?.default !== undefined)
    ?.annotations?.default
  const texts = textsOf(ast)
  return fallback === undefined || !isJson(fallback) ? texts : { ...texts, default: fallback }
}

const isJson = Schema.is(Schema.Json)

/**
 * Makes the JSON side of a codec tell what the other side says of its values. What comes in gets closed as well: fields
 * that are not declared are refused, by the schema itself.
 */
const dress = (whole: AST.AST, mode: Mode | "public"): { readonly ast: AST.AST; readonly isRecursive: boolean } => {
  const root = lastOf(whole)
  const done = new Map<AST.AST, AST.AST>()
  let isRecursive = false

  const go = (ast: AST.AST, said: Said): AST.AST => {
    const known = said === unsaid ? done.get(ast) : undefined
    if (known !== undefined) return known
    const made = step(ast, said)
    if (said === unsaid) done.set(ast, made)
    return made
  }

  const inner = (ast: AST.AST): AST.AST => go(ast, unsaid)

  const step = (ast: AST.AST, said: Said): AST.AST => {
    const last = ast.encoding?.at(-1)
    if (last !== undefined) {
      const all = { ...saidOf(ast), ...said }
      const to = go(last.to, Object.keys(all).length === 0 ? unsaid : all)
      return to === last.to ? ast : withLast(ast, to)
    }
    const { "~identifier": _, identifier, ...others } = ast.annotations ?? {}
    // A definition of its own is of use within a schema only.
    const annotations = {
      ...others,
      ...(identifier === undefined || ast === root ? {} : { identifier }),
      ...missingIn(ast, { ...saidOf(ast), ...said })
    }
    const { checks, context } = ast
    if (AST.isObjects(ast)) {
      const properties = ast.propertySignatures.map(({ name, type }) => new AST.PropertySignature(name, inner(type)))
      const signatures = ast.indexSignatures.map(
        ({ parameter, type }) => new AST.IndexSignature(parameter, inner(type))
      )
      const least = ast === root && mode === "patch" ? [Schema.isMinProperties(1)] : []
      return new AST.Objects(
        properties,
        signatures,
        annotations,
        nonEmpty([...(checks ?? []), ...least]),
        undefined,
        context,
        nonEmpty([
          ...(ast.encodingChecks ?? []),
          ...(mode === "public" || !isClosed(ast) ? [] : [noOthers(ast)]),
          ...(mode === "public" || ast !== root ? [] : [notTooDeep])
        ])
      )
    }
    if (AST.isArrays(ast)) {
      const { elements, encodingChecks, isMutable, rest } = ast
      return new AST.Arrays(
        isMutable,
        elements.map(inner),
        rest.map(inner),
        annotations,
        checks,
        undefined,
        context,
        encodingChecks
      )
    }
    if (AST.isUnion(ast)) {
      const { encodingChecks, options, types } = ast
      return new AST.Union(types.map(inner), options, annotations, checks, undefined, context, encodingChecks)
    }
    if (AST.isSuspend(ast)) {
      isRecursive = true
      return new AST.Suspend(() => inner(ast.thunk()), ast.annotations, undefined, undefined, context)
    }
    return withSaid(ast, { ...saidOf(ast), ...said })
  }

  return { ast: inner(whole), isRecursive }
}

const unsaid: Said = {}

const lastOf = (ast: AST.AST): AST.AST => (ast.encoding === undefined ? ast : lastOf(ast.encoding.at(-1)!.to))

type Filters = ReadonlyArray<AST.Checks[number]>

const nonEmpty = (checks: Filters): AST.Checks | undefined => {
  const [first, ...rest] = checks
  return first === undefined ? undefined : [first, ...rest]
}

const isClosed = (ast: AST.Objects): boolean => ast.propertySignatures.length > 0 && ast.indexSignatures.length === 0

/** What JSON Schema says in its own way. */
const unmentioned = { toJsonSchema: () => ({}) }

const noOthers = (ast: AST.Objects): AST.Check<object> => {
  const names = new Set(ast.propertySignatures.map(({ name }) => String(name)))
  return Schema.makeFilter<object>((value) => {
    const other = Object.keys(value).find((name) => !names.has(name))
    return other === undefined ? undefined : { path: [other], issue: "Expected no such field" }
  }, unmentioned)
}

const tooDeepMessage = `Expected no more than ${documentLevels} levels`

const tooDeep = new SchemaIssue.InvalidValue({ message: tooDeepMessage })

const notTooDeep = Schema.makeFilter<object>(
  (value) => (isDeeperThan(value, documentLevels) ? tooDeepMessage : undefined),
  unmentioned
)

/** Checks that JSON Schema does not know take what is said of a value with them: this is to be said once more. */
const missingIn = (ast: AST.AST, said: Said): Said => {
  const known = [
    ast.annotations,
    ...flat(ast.checks ?? []).flatMap(({ annotations }) =>
      annotations?.toJsonSchema === undefined ? [] : [annotations]
    )
  ]
  return Object.fromEntries(Object.entries(said).filter(([key, text]) => !known.some((one) => one?.[key] === text)))
}

const withSaid = (ast: AST.AST, said: Said): AST.AST => {
  const missing = missingIn(ast, said)
  if (Object.keys(missing).length === 0) return ast
  const { format, ...rest } = missing
  const told = Schema.makeFilter(() => true, {
    ...rest,
    toJsonSchema: () => (format === undefined ? {} : { format })
  })
  return Schema.make<Schema.Top>(ast).check(told).ast
}

const withLast = (ast: AST.AST, to: AST.AST): AST.AST => {
  const [first, ...rest] = ast.encoding!
  const last = new AST.Link(to, (rest.at(-1) ?? first).transformation)
  const encoding: AST.Encoding = rest.length === 0 ? [last] : [first, ...rest.slice(0, -1), last]
  const { annotations, checks, context } = ast
  if (AST.isDeclaration(ast)) {
    const { encodingChecks, encodingRun, run, typeParameters } = ast
    return new AST.Declaration(typeParameters, run, annotations, checks, encoding, context, encodingChecks, encodingRun)
  }
  if (AST.isObjects(ast)) {
    const { encodingChecks, indexSignatures, propertySignatures } = ast
    return new AST.Objects(propertySignatures, indexSignatures, annotations, checks, encoding, context, encodingChecks)
  }
  if (AST.isArrays(ast)) {
    const { elements, encodingChecks, isMutable, rest } = ast
    return new AST.Arrays(isMutable, elements, rest, annotations, checks, encoding, context, encodingChecks)
  }
  if (AST.isUnion(ast)) {
    const { encodingChecks, options, types } = ast
    return new AST.Union(types, options, annotations, checks, encoding, context, encodingChecks)
  }
  if (AST.isSuspend(ast)) return new AST.Suspend(ast.thunk, annotations, undefined, encoding, context)
  // A leaf is made of itself without its encoding.
  let made = AST.toType(ast)
  for (const { to, transformation } of encoding) {
    if (transformation._tag === "Middleware") return ast
    made = AST.decodeTo(to, made, transformation)
  }
  return made
}

// -----------------------------------------------------------------------------
// Messages
// -----------------------------------------------------------------------------

const notAllowed = "Expected a value that its schema allows"

/** An issue that holds nothing of what was given, and nothing at all of what is in a secret. */
const withoutInput = (whole: SchemaIssue.Issue, hidden: ReadonlyArray<ReadonlyArray<string>>): SchemaIssue.Issue => {
  const isWithin = (path: ReadonlyArray<PropertyKey>): boolean =>
    hidden.some((one) => one.length <= path.length && one.every((name, index) => name === path[index]))
  const go = (issue: SchemaIssue.Issue, path: ReadonlyArray<PropertyKey>): SchemaIssue.Issue => {
    if (issue._tag === "MissingKey") return issue
    if (path.length > 0 && isWithin(path)) return new SchemaIssue.InvalidValue({ message: notAllowed })
    switch (issue._tag) {
      case "Pointer": {
        const shown = issue.path.findIndex((_, index) => isWithin([...path, ...issue.path.slice(0, index + 1)]))
        const own = shown < 0 ? issue.path : issue.path.slice(0, shown + 1)
        return new SchemaIssue.Pointer(own, go(issue.issue, [...path, ...own]))
      }
      case "Filter":
        return new SchemaIssue.Filter(issue.filter, go(issue.issue, path))
      case "Encoding":
        return new SchemaIssue.Encoding(issue.ast, go(issue.issue, path))
      case "Composite": {
        const [first, ...rest] = issue.issues
        return new SchemaIssue.Composite(issue.ast, [go(first, path), ...rest.map((one) => go(one, path))])
      }
      case "AnyOf":
        return new SchemaIssue.AnyOf(
          issue.ast,
          issue.issues.map((one) => go(one, path))
        )
      case "OneOf":
        return new SchemaIssue.OneOf(issue.ast, issue.successes)
      case "InvalidType":
        return new SchemaIssue.InvalidType(issue.ast)
      case "InvalidValue":
        return new SchemaIssue.InvalidValue(issue.annotations)
      case "UnexpectedKey":
        return new SchemaIssue.UnexpectedKey(issue.ast)
      case "Forbidden":
        return new SchemaIssue.Forbidden(issue.annotations)
    }
  }
  return go(whole, [])
}

// -----------------------------------------------------------------------------
// Leaving out
// -----------------------------------------------------------------------------

/** What is left out, by name. */
interface Branch {
  readonly below: Map<string, Branch>
  isEnd: boolean
  /** Whether it was found in a schema. */
  isFound: boolean
}

const branch = (): Branch => ({ below: new Map(), isEnd: false, isFound: false })

const treeOf = (paths: ReadonlyArray<ReadonlyArray<string>>): Branch => {
  const tree = branch()
  for (const path of paths) {
    let at = tree
    for (const name of path) {
      const next = at.below.get(name) ?? branch()
      at.below.set(name, next)
      at = next
    }
    at.isEnd = true
  }
  return tree
}

const pathOf = (path: Query.Path): ReadonlyArray<string> => (typeof path === "string" ? path.split(".") : path)

const items = "[]"
const values = "{}"

interface Outgoing {
  readonly ast: AST.AST
  /** What is left out of values that may be any JSON. */
  readonly removals: ReadonlyMap<AST.AST, Branch>
}

const outgoing = (definition: Declared, options: PublicOptions = {}): Outgoing => {
  const { name, primaryKey, schema } = definition
  const { protect = [], system = false } = options
  const whole = AST.toEncoded(dress(Attributes.toStorageCodec(schema).ast, "public").ast)
  if (!AST.isObjects(whole)) throw new Attributes.UnsupportedSchema(`the schema of ${name} is no struct`)
  const removals = new Map<AST.AST, Branch>()
  const root = system ? withSystemFields(whole) : whole
  const paths = protect.map(pathOf)
  const tree = treeOf(paths)
  const unprotected = leaveOut(root, tree, removals)
  for (const path of paths) {
    const end = path.reduce<Branch | undefined>((at, part) => at?.below.get(part), tree)
    if (end?.isFound === true || isSystem(path)) continue
    const wanted = JSON.stringify(path.join("."))
    throw new Attributes.UnsupportedSchema(`protect names ${wanted}, which is no field of ${name}`)
  }
  // A definition from the catalog may know of secrets that the schema has lost.
  const hidden = [...Attributes.fromSchema(schema, primaryKey), ...definition.attributes].filter(({ codec }) =>
    Attributes.isHidden(codec)
  )
  return { ast: leaveOut(unprotected, treeOf(hidden.map(({ path }) => path)), removals), removals }
}

const isSystem = ([name, ...rest]: ReadonlyArray<string>): boolean =>
  rest.length === 0 && name !== undefined && Object.hasOwn(systemFields, name)

const times = Schema.String.annotate({ format: "date-time" })

const systemFields: { readonly [K in keyof SystemFields]-?: Schema.Top } & {
  readonly [K in (typeof Partition.systemFields)[number]]: Schema.Top
} = {
  $createdAt: times.annotate({ description: "when it was created" }),
  $updatedAt: times.annotate({ description: "when it was written" }),
  $schemaVersion: Schema.Int.annotate({ description: "the version of the schema that it was written with" }),
  $version: Schema.Int.annotate({ description: "how many versions there have been" }),
  $revision: Schema.String.annotate({ description: "changes with every write" })
}

const withSystemFields = ({ annotations, context, propertySignatures }: AST.Objects): AST.Objects =>
  new AST.Objects(
    [
      ...propertySignatures.filter(({ name }) => !isSystem([String(name)])),
      ...Object.entries(systemFields).map(
        ([name, schema]) => new AST.PropertySignature(name, Schema.optionalKey(schema).ast)
      )
    ],
    [],
    annotations,
    undefined,
    undefined,
    context
  )

/** Takes what is to be left out from a schema of JSON. The checks of what has become less go with it. */
const leaveOut = (ast: AST.AST, tree: Branch, removals: Map<AST.AST, Branch>): AST.AST => {
  const { below } = tree
  if (below.size === 0) return ast
  const inner = (type: AST.AST, next: Branch | undefined): AST.AST =>
    next === undefined ? type : leaveOut(type, next, removals)
  const isLeft = (next: Branch | undefined): boolean => {
    if (next?.isEnd !== true) return true
    next.isFound = true
    return false
  }
  if (AST.isSuspend(ast)) return inPlaceOf(ast, leaveOut(ast.thunk(), tree, removals))
  const { context } = ast
  const { identifier: _, ...annotations } = ast.annotations ?? {}
  if (AST.isUnion(ast)) {
    const types = ast.types.map((type) => leaveOut(type, tree, removals))
    return isSame(types, ast.types) ? ast : new AST.Union(types, undefined, annotations, undefined, undefined, context)
  }
  if (AST.isArrays(ast)) {
    const next = below.get(items)
    if (next === undefined) return ast
    const isKept = isLeft(next)
    const elements = isKept ? ast.elements.map((one) => inner(one, next)) : []
    const rest = isKept ? ast.rest.map((one) => inner(one, next)) : []
    return new AST.Arrays(ast.isMutable, elements, rest, annotations, undefined, undefined, context)
  }
  if (!AST.isObjects(ast)) {
    if (!isAnyJson(ast)) return ast
    findAll(tree)
    return withRemoval(ast, tree, removals)
  }
  const properties = ast.propertySignatures.flatMap(({ name, type }) => {
    const next = below.get(String(name))
    return isLeft(next) ? [new AST.PropertySignature(name, inner(type, next))] : []
  })
  const next = below.get(values)
  const signatures = (isLeft(next) ? ast.indexSignatures : []).map(
    ({ parameter, type }) => new AST.IndexSignature(parameter, inner(type, next))
  )
  const named = new Set([values, ...ast.propertySignatures.map(({ name }) => String(name))])
  const others = new Map([...below].filter(([name]) => !named.has(name)))
  const isEmpty = ast.propertySignatures.length + ast.indexSignatures.length === 0
  const isOpen = isEmpty || ast.indexSignatures.length > 0
  const made =
    isEmpty || properties.length + signatures.length > 0
      ? new AST.Objects(properties, signatures, annotations, undefined, undefined, context)
      : inPlaceOf(ast, nothing)
  if (!isOpen || others.size === 0) return made
  for (const next of others.values()) {
    if (isEmpty) findAll(next)
    else if (isLeft(next)) for (const { type } of ast.indexSignatures) leaveOut(type, next, new Map())
  }
  return withRemoval(made, { ...tree, below: others }, removals)
}

/** What may be any JSON, or has names that nobody knows before there is a document. */
const withRemoval = (ast: AST.AST, tree: Branch, removals: Map<AST.AST, Branch>): AST.AST => {
  const remove = (json: Json): Json => removed(json, tree)
  const made = AST.decodeTo(ast, ast, SchemaTransformation.transform<Json, Json>({ decode: remove, encode: remove }))
  removals.set(made, tree)
  return made
}

const isAnyJson = (ast: AST.AST): boolean =>
  AST.isDeclaration(ast) || AST.isUnknown(ast) || AST.isAny(ast) || AST.isObjectKeyword(ast)

const findAll = (tree: Branch): void => {
  if (tree.isEnd) tree.isFound = true
  for (const next of tree.below.values()) findAll(next)
}

/** JSON without what is to be left out. */
const removed = (json: Json, { below }: Branch): Json => {
  if (typeof json !== "object" || json === null || below.size === 0) return json
  const remove = (value: Json, branches: ReadonlyArray<Branch | undefined>): ReadonlyArray<Json> =>
    branches.some((next) => next?.isEnd === true)
      ? []
      : [branches.reduce<Json>((at, next) => (next === undefined ? at : removed(at, next)), value)]
  if (isArray(json)) return json.flatMap((value) => remove(value, [below.get(items)]))
  return Object.fromEntries(
    Object.entries(json).flatMap(([name, value]) =>
      remove(value, [below.get(name), below.get(values)]).map((kept) => [name, kept] as const)
    )
  )
}

const isArray: (json: Json) => json is ReadonlyArray<Json> = Array.isArray

/** What JSON of a schema may have. A union may have what any of its members has. */
interface Shape {
  readonly fields: ReadonlyMap<string, () => Shape>
  /** Of the values of a record. */
  readonly values: (() => Shape) | undefined
  /** Of the items of an array. */
  readonly items: (() => Shape) | undefined
  /** Whether it may be any JSON. */
  readonly isFree: boolean
  readonly removals: ReadonlyArray<Branch>
}

const shapes = (removals: ReadonlyMap<AST.AST, Branch>): ((ast: AST.AST) => Shape) => {
  const known = new Map<AST.AST, Shape>()

  const shapeOf = (asts: ReadonlyArray<AST.AST>): Shape => {
    const [only] = asts
    if (only === undefined || asts.length > 1) return make(asts)
    const before = known.get(only)
    if (before !== undefined) return before
    const made = make(asts)
    known.set(only, made)
    return made
  }

  const make = (asts: ReadonlyArray<AST.AST>): Shape => {
    const members = asts.flatMap(membersOf)
    const structs = members.filter(AST.isObjects)
    const arrays = members.filter(AST.isArrays)
    const fields = new Map<string, Array<AST.AST>>()
    for (const { name, type } of structs.flatMap((one) => one.propertySignatures)) {
      fields.set(String(name), [...(fields.get(String(name)) ?? []), type])
    }
    return {
      fields: new Map([...fields].map(([name, types]) => [name, later(types) ?? (() => empty)])),
      values: later(structs.flatMap((one) => one.indexSignatures.map(({ type }) => type))),
      items: later(arrays.flatMap((one) => [...one.elements, ...one.rest])),
      isFree: members.some(isFree),
      removals: members.flatMap((one) => removals.get(one) ?? [])
    }
  }

  const later = (types: ReadonlyArray<AST.AST>): (() => Shape) | undefined => {
    const some = types.filter((type) => !AST.isNever(type))
    if (some.length === 0) return undefined
    let shape: Shape | undefined
    return () => (shape ??= shapeOf(some))
  }

  return (ast) => shapeOf([ast])
}

const empty: Shape = { fields: new Map(), values: undefined, items: undefined, isFree: false, removals: [] }

const membersOf = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  if (AST.isSuspend(ast)) return membersOf(ast.thunk())
  return AST.isUnion(ast) ? ast.types.flatMap(membersOf) : [ast]
}

const isFree = (ast: AST.AST): boolean =>
  isAnyJson(ast) || (AST.isObjects(ast) && ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0)

/** So many levels are looked at by functions that call themselves. */
const shallow = 32

/** JSON with nothing but what its shape has; `undefined` where it is deeper than `levels`. */
const shownOf = (given: Json, shape: Shape, levels: number): Json | undefined => {
  const json = shape.removals.length === 0 ? given : shape.removals.reduce(removed, given)
  if (typeof json !== "object" || json === null || shape.isFree) return json
  if (levels === 0) return undefined
  if (isArray(json)) {
    const kept: Array<Json> = []
    const item = shape.items?.()
    if (item === undefined) return kept
    for (const one of json) {
      const made = shownOf(one, item, levels - 1)
      if (made === undefined) return undefined
      kept.push(made)
    }
    return kept
  }
  const kept: Record<string, Json> = {}
  for (const name of Object.keys(json)) {
    const known = shape.fields.get(name) ?? shape.values
    // No document has a field of that name, and nobody should get the prototype of another object.
    if (known === undefined || name === "__proto__") continue
    const made = shownOf(json[name]!, known(), levels - 1)
    if (made === undefined) return undefined
    kept[name] = made
  }
  return kept
}

/** The same of JSON of any depth. Does so without recursion: nobody says how deep it is. */
const shown = (whole: JsonObject, shape: Shape): JsonObject => {
  const quick = shownOf(whole, shape, shallow)
  if (quick !== undefined) return typeof quick === "object" && quick !== null && !isArray(quick) ? quick : {}
  const work: Array<() => void> = []
  const begin = (given: Json, { fields, isFree, items, removals, values }: Shape): Json => {
    const json = removals.reduce(removed, given)
    if (typeof json !== "object" || json === null || isFree) return json
    if (isArray(json)) {
      const kept: Array<Json> = []
      const item = items?.()
      if (item !== undefined) work.push(() => json.forEach((one) => kept.push(begin(one, item))))
      return kept
    }
    const kept: Record<string, Json> = {}
    work.push(() => {
      for (const [name, value] of Object.entries(json)) {
        const known = fields.get(name) ?? values
        // No document has a field of that name, and nobody should get the prototype of another object.
        if (known !== undefined && name !== "__proto__") kept[name] = begin(value, known())
      }
    })
    return kept
  }
  const made = begin(whole, shape)
  for (let next = work.pop(); next !== undefined; next = work.pop()) next()
  return typeof made === "object" && made !== null && !isArray(made) ? made : {}
}
