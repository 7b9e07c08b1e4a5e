/**
 * What a schema looks like once it is stored: a flat list of attributes, each a path to a value that has a codec.
 *
 * A nested struct is taken apart into its fields, so that each travels by itself; arrays, records, unions and free JSON
 * are one attribute each.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { samePath } from "../internal/json.ts"
import { fits } from "../internal/threeWay.ts"
import type { PasswordHash } from "./PasswordHash.ts"

/**
 * The id of the annotation by which a check names the codec of an attribute: the `representation` of the check is
 * `{ id: representationId, payload: { type, codec, args? } }`, so that it travels with a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const representationId = "effect-s3db/schema/Attribute"

/**
 * The name of the codec by which the value of an attribute is written, such as `"string"`, `"ip4"`, `"money:2"` or
 * `"array:number"`.
 *
 * `"struct"` stands for a nested struct as a whole, and is written only when none of its fields is: for `{}` and `null`.
 * `"secret"` is encrypted.
 *
 * @category models
 * @since 0.1.0
 */
export const Codec = Schema.String

/**
 * The name of a codec.
 *
 * @category models
 * @since 0.1.0
 */
export type Codec = typeof Codec.Type

/**
 * One stored attribute. `optional`: the key may be missing. `nullable`: the value may be `null`.
 *
 * @category models
 * @since 0.1.0
 */
export const Attribute = Schema.Struct({
  path: Schema.Array(Schema.String),
  codec: Codec,
  optional: Schema.Boolean,
  nullable: Schema.Boolean
})

/**
 * One stored attribute.
 *
 * @category models
 * @since 0.1.0
 */
export type Attribute = typeof Attribute.Type

/**
 * A schema that a resource can have: a struct or a class of fields, needing no services to decode or encode.
 *
 * @category models
 * @since 0.1.0
 */
export interface DocumentSchema extends Schema.Top {
  readonly DecodingServices: never
  readonly EncodingServices: never
}

/**
 * Makes a struct of the fields of a schema but for some. `undefined` where nothing is left out, or the schema is no struct or
 * class whose fields can be told.
 *
 * @category combinators
 * @since 0.1.0
 */
export const omitFields = (schema: DocumentSchema, names: ReadonlyArray<string>): DocumentSchema | undefined => {
  const fields = names.length === 0 ? undefined : fieldsOf(schema)
  if (fields === undefined) return undefined
  return Schema.Struct(Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name))))
}

/**
 * Lists the fields of a schema that an input can leave out since they have a default.
 *
 * @category getters
 * @since 0.1.0
 */
export const defaultedFields = (schema: DocumentSchema): ReadonlyArray<string> =>
  Object.entries(fieldsOf(schema) ?? {})
    .filter(([, field]) => field.ast.context?.constructorDefault !== undefined)
    .map(([name]) => name)

/**
 * Returns the defaults of the fields of a schema by their names, as Effect has them.
 *
 * @category getters
 * @since 0.1.0
 */
export const constructorDefaults = (schema: DocumentSchema): ReadonlyMap<string, unknown> =>
  new Map(
    Object.entries(fieldsOf(schema) ?? {}).flatMap(([name, field]) => {
      const given = field.ast.context?.constructorDefault
      return given === undefined ? [] : [[name, given]]
    })
  )

type FieldSchemas = Readonly<Record<string, DocumentSchema>>

const fieldsOf = (schema: DocumentSchema): FieldSchemas | undefined => {
  if (hasFields(schema)) return schema.fields
  const { ast } = schema
  if (!AST.isObjects(ast) || ast.encoding !== undefined || ast.indexSignatures.length > 0) return undefined
  return Object.fromEntries(
    ast.propertySignatures.map(({ name, type }): [string, DocumentSchema] => [String(name), Schema.make(type)])
  )
}

const hasFields = (schema: DocumentSchema): schema is DocumentSchema & { readonly fields: FieldSchemas } =>
  "fields" in schema

/**
 * A schema that cannot be stored. This is a mistake in the program, so it is thrown, not returned.
 *
 * @remedy Correct the declaration: the message names the field and what it may be.
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedSchema extends Error {
  override readonly name = "UnsupportedSchema"
}

/**
 * Returns the attributes of a schema in the order of their declaration, without the primary key, which is part of the
 * object's key.
 *
 * Throws `UnsupportedSchema` when the encoded form is no struct, when the primary key is no required string, when a
 * field is called `__proto__`, and when there is a `Schema.Void` anywhere.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSchema = (schema: DocumentSchema, primaryKey: string): ReadonlyArray<Attribute> => {
  const root = AST.toEncoded(toStorageCodec(schema).ast)
  if (!isPlainStruct(root)) {
    throw new UnsupportedSchema("the schema of a resource must encode to a struct with named fields")
  }
  if (losesHidden(schema.ast, isPassword)) {
    throw new UnsupportedSchema("a password has to be a field of the struct that is stored, so that it is hashed")
  }
  if (losesHidden(schema.ast, isRedacted)) {
    throw new UnsupportedSchema(
      "the schema makes secrets of fields that are none, so that they would be stored in clear: declare those fields as secrets, too, or put the transformation on each"
    )
  }
  if (countHidden(schema.ast, AST.isVoid) > 0) {
    throw new UnsupportedSchema(
      "Schema.Void takes any value, and none of it is stored: use Schema.Undefined, Schema.Null or an optional field"
    )
  }
  const attributes: Array<Attribute> = []
  collect(root, structSource(schema.ast), [], attributes)
  const key = attributes.find((attribute) => attribute.path.length === 1 && attribute.path[0] === primaryKey)
  if (key === undefined || !textCodecs.has(key.codec) || key.optional || key.nullable) {
    throw new UnsupportedSchema(
      key === undefined
        ? `the primary key ${JSON.stringify(primaryKey)} is no field of the schema: name a required field that is stored as a string`
        : `the primary key ${JSON.stringify(primaryKey)} must be a required field that is stored as a string, as a key is made of it: give it such a type, or add a field like id: Id.Random`
    )
  }
  return attributes.filter((attribute) => attribute !== key)
}

// -----------------------------------------------------------------------------
// What nobody may see
// -----------------------------------------------------------------------------

/**
 * What a path has to do with something that nobody may see: it `is` a secret or password, `holds` one somewhere in it, or
 * lies `within` one. `path` is that of the secret or password.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hidden {
  readonly relation: "is" | "holds" | "within"
  readonly path: ReadonlyArray<string>
}

const hiddenCodec = /^(?:(?:array|option):)*(?:secret|password)$/

/**
 * Tells whether values of a codec are such as nobody may see: secrets and passwords.
 *
 * @category guards
 * @since 0.1.0
 */
export const isHidden = (codec: Codec): boolean => hiddenCodec.test(codec)

/**
 * Returns what a path has to do with a secret or a password among these attributes; `undefined`: nothing. Whatever is put
 * into a key, compared, or shown by its path asks this, so that there is one rule. A secret in a list, a record, a union or
 * any other value that is no struct makes a secret of the whole attribute.
 *
 * @category getters
 * @since 0.1.0
 */
export const hiddenAt = (
  attributes: ReadonlyArray<Pick<Attribute, "path" | "codec">>,
  path: ReadonlyArray<string>
): Hidden | undefined => {
  for (const { codec, path: hidden } of attributes) {
    if (!isHidden(codec)) continue
    const shared = Math.min(path.length, hidden.length)
    if (!samePath(path.slice(0, shared), hidden.slice(0, shared))) continue
    const relation = path.length === hidden.length ? "is" : path.length < hidden.length ? "holds" : "within"
    return { relation, path: hidden }
  }
  return undefined
}

/**
 * Says in words what a path has to do with a secret: `which is secret`, `which holds the secret s.token`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describeHidden = ({ path, relation }: Hidden): string => {
  switch (relation) {
    case "is":
      return "which is secret"
    case "holds":
      return `which holds the secret ${path.join(".")}`
    case "within":
      return `which is part of the secret ${path.join(".")}`
  }
}

/** Codecs of attributes whose JSON form is text in clear. */
/**
 * The codecs whose values are text as JSON, whatever the text.
 *
 * @category constants
 * @since 0.1.0
 */
export const textCodecs: ReadonlySet<string> = new Set(
  "string uuid ulid dateonly timeonly ip4 ip6 cidr mac semver phone color ean date".split(" ")
)

/**
 * Returns the codec between values of a schema and the JSON that is stored: Effect's. Contents of `Redacted` values
 * come out in clear (see `Attribute.Secret`), and have to be encrypted before they go on.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toStorageCodec = <S extends DocumentSchema>(schema: S): Schema.toCodecJson<S> => Schema.toCodecJson(schema)

/**
 * `true` while the database itself turns a value into JSON: the only time that a secret comes out in clear.
 *
 * @category references
 * @since 0.1.0
 */
export const SecretsOpen: Context.Reference<boolean> = Context.Reference("effect-s3db/schema/Attributes/SecretsOpen", {
  defaultValue: () => false
})

/**
 * What reads passwords that are given as JSON: texts in clear, in the place of hashes. `undefined` where there are hashes
 * only, as in what is stored.
 *
 * @category references
 * @since 0.1.0
 */
export const GivenPasswords = Context.Reference<((text: string) => Option.Option<PasswordHash>) | undefined>(
  "effect-s3db/schema/Attributes/GivenPasswords",
  { defaultValue: () => undefined }
)

/**
 * The id by which a password is known in a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const passwordId = "effect-s3db/schema/PasswordHash"

/**
 * The id of the checks that say what a plain password has to be like before it is hashed.
 *
 * @category constants
 * @since 0.1.0
 */
export const plainPasswordId = "effect-s3db/schema/plainPassword"

/**
 * The rule for a plain password, in characters, and for how it is hashed, where that is not left to the hasher.
 *
 * @category models
 * @since 0.1.0
 */
export const PlainPassword = Schema.Struct({
  min: Schema.optionalKey(Schema.Int),
  max: Schema.optionalKey(Schema.Int),
  algorithm: Schema.optionalKey(Schema.Literals(["bcrypt", "argon2id"]))
})

const isPlainStruct = (ast: AST.AST): ast is AST.Objects =>
  AST.isObjects(ast) &&
  ast.propertySignatures.length > 0 &&
  ast.indexSignatures.length === 0 &&
  ast.propertySignatures.every((property) => typeof property.name === "string")

// -----------------------------------------------------------------------------
// What a schema says of itself
// -----------------------------------------------------------------------------

/** A schema as it was declared, beneath the transformations that were put upon it: what its stored form comes from. */
const innermost = (ast: AST.AST): AST.AST => (ast.encoding === undefined ? ast : innermost(ast.encoding.at(-1)!.to))

/** The struct behind a class, so that its fields can be looked at as they were declared. */
const structSource = (ast: AST.AST | undefined): AST.AST | undefined => {
  if (ast === undefined) return undefined
  const source = innermost(ast)
  return AST.isDeclaration(source) && source.typeParameters.length === 1 && isClass(source)
    ? structSource(source.typeParameters[0])
    : source
}

/**
 * Tells whether a declaration is that of a class of fields.
 *
 * @category guards
 * @since 0.1.0
 */
export const isClass = (ast: AST.Declaration): boolean => ast.annotations?.["~constructor"] !== undefined

const representationOf = (
  annotations: { readonly [key: string]: unknown } | undefined
): { readonly id: unknown; readonly payload?: unknown } | undefined => {
  const representation = annotations?.["representation"]
  return typeof representation === "object" && representation !== null && "id" in representation
    ? representation
    : undefined
}

/** The codec that a check on this schema names, if any does; the innermost transformation counts. */
const namedCodec = (ast: AST.AST): string | undefined => {
  if (ast.encoding !== undefined) {
    const inner = namedCodec(ast.encoding.at(-1)!.to)
    if (inner !== undefined) return inner
  }
  for (const check of allChecks(ast.checks ?? [])) {
    const representation = representationOf(check.annotations)
    if (representation?.id !== representationId) continue
    const { payload } = representation
    if (typeof payload === "object" && payload !== null && "codec" in payload) return String(payload.codec)
  }
  return undefined
}

const allChecks = (checks: ReadonlyArray<AST.Check<never>>): ReadonlyArray<AST.Check<never>> =>
  checks.flatMap((check) => (check._tag === "FilterGroup" ? [check, ...allChecks(check.checks)] : [check]))

const declarationId = (ast: AST.AST): string | undefined => {
  if (!AST.isDeclaration(ast)) return undefined
  const id = representationOf(ast.annotations)?.id
  return typeof id === "string" ? id : undefined
}

/**
 * The id by which a secret is known in a portable definition.
 *
 * @category constants
 * @since 0.1.0
 */
export const secretId = "effect-s3db/schema/Secret"

const redactedId = "effect/schema/Redacted"

const isRedacted = (ast: AST.AST): boolean => {
  const id = declarationId(ast)
  if (id !== redactedId) return id === secretId
  const payload = AST.isDeclaration(ast) ? representationOf(ast.annotations)?.payload : undefined
  if (typeof payload === "object" && payload !== null && "disallowJsonEncode" in payload) {
    throw new UnsupportedSchema(
      "a Redacted field with disallowJsonEncode cannot be stored: use Attribute.Secret, which the database alone can open"
    )
  }
  return true
}

/** Whether there is a secret anywhere in the value. */
const holdsSecret = (ast: AST.AST, seen: Set<AST.AST> = new Set()): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  const holds = (one: AST.AST): boolean => holdsSecret(one, seen)
  return ast.encoding?.some((link) => holds(link.to)) === true || isRedacted(ast) || partsOf(ast).some(holds)
}

/** A schema and those that it is encoded to, one after the other, each without the next. */
const layersOf = (ast: AST.AST): ReadonlyArray<AST.AST> => [
  ast,
  ...(ast.encoding ?? []).flatMap(({ to }) => layersOf(to))
]

/** How many values there are that nobody may see, in the layer that has most of them. */
const countHidden = (
  ast: AST.AST,
  isHidden: (ast: AST.AST) => boolean,
  seen: ReadonlySet<AST.AST> = new Set()
): number => {
  if (seen.has(ast)) return 0
  if (isHidden(ast)) return 1
  const within = new Set([...seen, ast])
  const count = (one: AST.AST): number => countHidden(one, isHidden, within)
  return Math.max(...layersOf(ast).map((layer) => countInLayer(layer, count)))
}

const countInLayer = (ast: AST.AST, count: (ast: AST.AST) => number): number =>
  partsOf(ast).reduce((total, one) => total + count(one), 0)

/** Whether a struct is made of one with fewer such values, so that some of its fields hold them in clear. */
const losesHidden = (ast: AST.AST, isHidden: (ast: AST.AST) => boolean): boolean => {
  const source = structSource(ast)
  if (source === undefined || !AST.isObjects(source)) return false
  return countHidden(ast, isHidden) > countInLayer(source, (one) => countHidden(one, isHidden))
}

const isPassword = (ast: AST.AST): boolean => namedCodec(ast) === "password"

/**
 * The part of a path that stands for every item of the array, or every value of the record, that is there.
 *
 * @category constants
 * @since 0.1.0
 */
export const each: unique symbol = Symbol("effect-s3db/schema/Attributes/each")

/**
 * A path to values of a document, which are many where it says `each`.
 *
 * @category models
 * @since 0.1.0
 */
export type ValuePath = ReadonlyArray<string | typeof each>

/**
 * Returns what checks of this id say in their annotation, for each value that has one: fields, also nested ones, items
 * of arrays and values of records. Paths are those of a value of the schema, whatever its fields are called where they
 * are stored.
 *
 * @category getters
 * @since 0.1.0
 */
export const payloadsOf = (
  schema: DocumentSchema,
  id: string
): ReadonlyArray<{ readonly path: ValuePath; readonly payload: unknown }> =>
  valuesOf(schema).flatMap(({ path, ast }) =>
    allChecks(ast.checks ?? []).flatMap((check) => {
      const representation = representationOf(check.annotations)
      return representation?.id === id ? [{ path, payload: representation.payload }] : []
    })
  )

/**
 * Returns where the values of a schema are big integers, which are stored as text.
 *
 * @category getters
 * @since 0.1.0
 */
export const bigIntegersOf = (schema: DocumentSchema): ReadonlyArray<ValuePath> =>
  valuesOf(schema).flatMap(({ ast, path }) => (AST.isBigInt(ast) ? [path] : []))

/** Everything that a value is made of, and its schema, without `null` and `undefined`. */
const valuesOf = (
  schema: DocumentSchema
): ReadonlyArray<{ readonly path: ValuePath; readonly ast: AST.AST; readonly isOptional: boolean }> => {
  const found: Array<{ readonly path: ValuePath; readonly ast: AST.AST; readonly isOptional: boolean }> = []
  const walk = (type: AST.AST, path: ValuePath): void => {
    const { ast } = withoutNull(type)
    if (ast === undefined) return
    found.push({ path, ast, isOptional: AST.isOptional(type) })
    walkInto(ast, path)
  }
  const walkInto = (ast: AST.AST, path: ValuePath): void => {
    const source = AST.isDeclaration(ast) && isClass(ast) ? ast.typeParameters[0]! : ast
    if (AST.isArrays(source)) {
      const [item] = source.rest
      if (item !== undefined && source.elements.length === 0 && source.rest.length === 1) walk(item, [...path, each])
    }
    if (!AST.isObjects(source)) return
    for (const { name, type } of source.propertySignatures) walk(type, [...path, String(name)])
    const [values] = source.indexSignatures
    if (values !== undefined && source.propertySignatures.length === 0) walk(values.type, [...path, each])
  }
  walkInto(AST.toType(schema.ast), [])
  return found
}

const isNamed = (path: ValuePath): path is ReadonlyArray<string> => path.every((name) => name !== each)

/**
 * Lists the paths of the passwords of a value.
 *
 * @category getters
 * @since 0.1.0
 */
export const passwordsOf = (schema: DocumentSchema): ReadonlyArray<ReadonlyArray<string>> =>
  perSchema(passwords, schema, () =>
    valuesOf(schema).flatMap(({ path, ast }) => (isPassword(ast) && isNamed(path) ? [path] : []))
  )

type Paths = ReadonlyArray<ReadonlyArray<string>>

const passwords = new WeakMap<AST.AST, Paths>()
const hidden = new WeakMap<AST.AST, Paths>()

/** Several parts of an open resource ask for the same. */
const perSchema = (known: WeakMap<AST.AST, Paths>, { ast }: DocumentSchema, make: () => Paths): Paths => {
  const paths = known.get(ast) ?? make()
  known.set(ast, paths)
  return paths
}

/**
 * Lists the paths of the secrets and passwords of a value, and of what holds some and does not say where.
 *
 * @category getters
 * @since 0.1.0
 */
export const hiddenOf = (schema: DocumentSchema): ReadonlyArray<ReadonlyArray<string>> =>
  perSchema(hidden, schema, () =>
    valuesOf(schema).flatMap(({ path, ast }) => {
      const source = AST.isDeclaration(ast) && isClass(ast) ? ast.typeParameters[0]! : ast
      return isNamed(path) && (isPassword(ast) || (!isPlainStruct(source) && holdsHidden(ast))) ? [path] : []
    })
  )

/**
 * Tells whether there is a secret or a password anywhere in the values of a type.
 *
 * @category guards
 * @since 0.1.0
 */
export const holdsHidden = (ast: AST.AST): boolean => holdsSecret(ast) || countHidden(ast, isPassword) > 0

/**
 * What a field is for those who give and see values: a `password` or `secret` as a whole, a `struct` whose fields are
 * told one by one, or any other `value`. No `value` holds a secret or a password.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = "struct" | "secret" | "password" | "value"

/**
 * Returns what a field is, by its declaration.
 *
 * @category getters
 * @since 0.1.0
 */
export const kindOf = (declared: AST.AST): Kind => {
  const { ast } = withoutNull(declared)
  if (ast === undefined) return "value"
  const codec = declaredCodec(ast)
  if (codec === "secret" || codec === "password") return codec
  if (codec !== undefined) return "value"
  return isPlainStruct(AST.toEncoded(Schema.toCodecJson(Schema.make(ast)).ast)) ? "struct" : "value"
}

/**
 * Lists the paths of the optional fields of a value, also nested ones.
 *
 * @category getters
 * @since 0.1.0
 */
export const optionalsOf = (schema: DocumentSchema): ReadonlyArray<ReadonlyArray<string>> =>
  valuesOf(schema).flatMap(({ path, isOptional }) => (isOptional && isNamed(path) ? [path] : []))

/**
 * Compiles what fills in the defaults of fields that are always the same: what a document has that was written before the
 * field was added. At any depth: in nested structs, in items of lists, values of records, members of unions. The function
 * gives a changed copy, or the document itself when nothing is missing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compileDefaults = (schema: DocumentSchema): ((document: Schema.Json) => Schema.Json) => {
  const { ast } = toStorageCodec(schema)
  const known = new Map<AST.AST, boolean>()
  return haveDefaults(ast, known) ? (document) => filled(ast, document, known) : withoutDefaults
}

/**
 * Returns the document itself: what `compileDefaults` gives for a schema without such defaults.
 *
 * @category getters
 * @since 0.1.0
 */
export const withoutDefaults = (document: Schema.Json): Schema.Json => document

/**
 * Compiles the search for attributes, by their path, of which a program may have made something else when it read them, and
 * that something may not tell what was stored: those with a transformation of the program.
 *
 * @category getters
 * @since 0.1.0
 */
export const transformed = (schema: DocumentSchema): ((path: ReadonlyArray<string>) => boolean) => {
  const { ast } = toStorageCodec(schema)
  const at = (one: AST.AST, [name, ...rest]: ReadonlyArray<string>): boolean => {
    if (name === undefined) return isTransformed(one)
    if (isTransformation(one)) return true
    const struct = withoutNull(innermost(one)).ast
    const type = struct === undefined ? undefined : fieldOf(innermost(struct), name)
    return type === undefined || at(type, rest)
  }
  return (path) => at(ast, path)
}

/** Whether a program turns one kind of value into another, not counting those that JSON has no value for. */
const isTransformation = (ast: AST.AST): boolean => {
  if (ast.encoding === undefined || AST.isDeclaration(ast)) return false
  if (AST.isNumber(ast)) return !isNumeric(AST.toEncoded(ast))
  return !AST.isBigInt(ast) && !AST.isSymbol(ast) && !AST.isUniqueSymbol(ast) && !AST.isUndefined(ast)
}

const isTransformed = (ast: AST.AST, seen: Set<AST.AST> = new Set()): boolean => {
  if (seen.has(ast)) return false
  seen.add(ast)
  return isTransformation(ast) || within(ast).some((one) => isTransformed(one, seen))
}

/** The schemas within the stored form of one. */
const within = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  const stored = innermost(ast)
  if (AST.isSuspend(stored)) return [stored.thunk()]
  if (AST.isUnion(stored)) return stored.types
  if (AST.isArrays(stored)) return [...stored.elements, ...stored.rest]
  return AST.isObjects(stored) ? [...stored.propertySignatures, ...stored.indexSignatures].map(({ type }) => type) : []
}

const haveDefaults = (ast: AST.AST, known: Map<AST.AST, boolean>): boolean => {
  const found = known.get(ast)
  if (found !== undefined) return found
  const reached = new Set<AST.AST>()
  const search = (one: AST.AST): boolean => {
    if (reached.has(one)) return false
    reached.add(one)
    return constantDefault(one) !== undefined || within(one).some(search)
  }
  const have = search(ast)
  known.set(ast, have)
  return have
}

const filled = (ast: AST.AST, json: Schema.Json, known: Map<AST.AST, boolean>): Schema.Json => {
  if (typeof json !== "object" || json === null || !haveDefaults(ast, known)) return json
  const stored = innermost(ast)
  const fill = (type: AST.AST | undefined, value: Schema.Json) =>
    type === undefined ? value : filled(type, value, known)
  if (AST.isSuspend(stored)) return fill(stored.thunk(), json)
  if (AST.isUnion(stored)) {
    const isOf = (member: AST.AST, value: Schema.Json) => fits(AST.toEncoded(member), value)
    if (stored.types.some((member) => isOf(member, json))) return json
    return fill(
      stored.types.find((member) => isOf(member, fill(member, json))),
      json
    )
  }
  if (isListOfJson(json)) {
    if (!AST.isArrays(stored)) return json
    const items = json.map((item, i) => fill(stored.elements[i] ?? stored.rest[0], item))
    return items.every((item, i) => item === json[i]) ? json : items
  }
  return AST.isObjects(stored) ? filledObject(stored, json as { readonly [name: string]: Schema.Json }, fill) : json
}

const isListOfJson = (json: Schema.Json): json is ReadonlyArray<Schema.Json> => Array.isArray(json)

interface Members {
  readonly typeOf: (name: string) => AST.AST | undefined
  /** The fields that have a default which is always the same. */
  readonly defaults: ReadonlyArray<{ readonly name: string; readonly value: () => Schema.Json }>
}

const knownMembers = new WeakMap<AST.Objects, Members>()

const membersOf = (ast: AST.Objects): Members => {
  const before = knownMembers.get(ast)
  if (before !== undefined) return before
  const named = new Map(ast.propertySignatures.map(({ name, type }) => [String(name), type]))
  const made: Members = {
    typeOf: (name) => named.get(name) ?? ast.indexSignatures[0]?.type,
    defaults: [...named].flatMap(([name, type]) => {
      const value = constantDefault(type)
      if (value === undefined) return []
      // Nobody gets what is in the document of another.
      const isShared = typeof value !== "object" || value === null
      return [{ name, value: isShared ? () => value : () => constantDefault(type) ?? value }]
    })
  }
  knownMembers.set(ast, made)
  return made
}

const filledObject = (
  ast: AST.Objects,
  object: { readonly [name: string]: Schema.Json },
  fill: (type: AST.AST | undefined, value: Schema.Json) => Schema.Json
): Schema.Json => {
  const { defaults, typeOf } = membersOf(ast)
  const missing = defaults.filter(({ name }) => !Object.hasOwn(object, name))
  let isChanged = missing.length > 0
  const members = Object.keys(object).map((name): readonly [string, Schema.Json] => {
    const value = object[name]!
    const made = fill(typeOf(name), value)
    isChanged ||= made !== value
    return [name, made]
  })
  return isChanged
    ? Object.fromEntries([...members, ...missing.map(({ name, value }) => [name, value()] as const)])
    : object
}

/**
 * Returns the default of a field in JSON form, if it is always the same.
 *
 * @category getters
 * @since 0.1.0
 */
export const constantDefault = (type: AST.AST): Schema.Json | undefined => {
  const given: unknown = type.context?.constructorDefault
  if (!Exit.isExit(given) || Exit.isFailure(given)) return undefined
  const encode = Schema.encodeUnknownResult(Schema.toCodecJson(Schema.make<Schema.Codec<unknown>>(type)))
  const encoded = encode(given.value)
  return Result.isSuccess(encoded) && isJson(encoded.success) ? encoded.success : undefined
}

const isJson = Schema.is(Schema.Json)

/**
 * Lists the top-level fields of a value that may come back from the store as another value, as far as their schemas tell:
 *
 * - free values (`Any`, `Unknown`, `ObjectKeyword`), which JSON need not have
 * - members of a union that are told apart by their types, and stored alike: the text `"5"` and the bigint `5`
 * - transformations and declarations of the program, and those of Effect's that lose something
 *
 * `"all"`: it cannot be told by field. What is not in it comes back as it was.
 *
 * @category getters
 * @since 0.1.0
 */
export const doubtfulFields = (schema: DocumentSchema): ReadonlySet<string> | "all" => {
  const { ast } = schema
  const struct = AST.isDeclaration(ast) && isClass(ast) && isOwnLink(ast) ? ast.typeParameters[0]! : ast
  if (!AST.isObjects(struct) || struct.encoding !== undefined || struct.indexSignatures.length > 0) return "all"
  const isProven = makeProof()
  const doubtful = struct.propertySignatures.filter(({ type }) => !isProven(type, { isNamed: true }))
  return new Set(doubtful.map(({ name }) => String(name)))
}

/** Where a type stands: `isNamed`, its path has names only, so that what is `undefined` there is left out. */
interface Place {
  readonly isNamed: boolean
}

const unnamed: Place = { isNamed: false }

/** Makes what tells whether every value of a type comes back as it was. A type within itself is taken at its word. */
const makeProof = (): ((ast: AST.AST, place: Place) => boolean) => {
  const seen = { named: new Set<AST.AST>(), unnamed: new Set<AST.AST>() }
  const isProven = (ast: AST.AST, place: Place): boolean => {
    const met = place.isNamed ? seen.named : seen.unnamed
    if (met.has(ast)) return true
    met.add(ast)
    const isOfClass = AST.isDeclaration(ast) && isClass(ast) && isOwnLink(ast)
    if (!isOfClass && ast.encoding?.every((link) => isTrusted(link) && isProven(link.to, unnamed)) === false)
      return false
    return isProvenType(ast, place)
  }
  const isProvenType = (ast: AST.AST, place: Place): boolean => {
    if (AST.isSuspend(ast)) return isProven(ast.thunk(), place)
    if (AST.isUnion(ast)) return areApart(ast, place) && ast.types.every((one) => isProven(one, place))
    if (AST.isArrays(ast)) {
      return (
        ast.elements.every((one) => !AST.isOptional(one) && isProven(one, unnamed)) &&
        ast.rest.every((one) => isProven(one, unnamed))
      )
    }
    if (AST.isObjects(ast)) {
      return (
        ast.propertySignatures.every(({ name, type }) => typeof name === "string" && isProven(type, place)) &&
        ast.indexSignatures.every(({ parameter, type }) => isProven(parameter, unnamed) && isProven(type, unnamed))
      )
    }
    if (!AST.isDeclaration(ast)) return isSimple(ast)
    const isKnown = isClass(ast) || trustedIds.has(declarationId(ast) ?? "")
    return isKnown && ast.typeParameters.every((one) => isProven(one, isClass(ast) ? place : unnamed))
  }
  return isProven
}

/** Whether a class is only made of its struct: nothing was put upon it. */
const isOwnLink = (ast: AST.Declaration): boolean =>
  ast.encoding === undefined || (ast.encoding.length === 1 && ast.encoding[0]!.to === ast.typeParameters[0])

/** Whether no two members of a union are stored alike. An optional field that is undefined is not there, if it is left out. */
const areApart = (ast: AST.Union, { isNamed }: Place): boolean => {
  const all = members(ast).filter((member) => !(isNamed && AST.isOptional(ast)) || !AST.isUndefined(member))
  return all.every((a, i) => all.slice(i + 1).every((b) => !areAlike(a, b)))
}

const isSimple = (ast: AST.AST): boolean =>
  AST.isString(ast) ||
  AST.isNumber(ast) ||
  AST.isBoolean(ast) ||
  AST.isBigInt(ast) ||
  AST.isNull(ast) ||
  AST.isUndefined(ast) ||
  AST.isNever(ast) ||
  AST.isLiteral(ast) ||
  AST.isTemplateLiteral(ast) ||
  AST.isEnum(ast)

/** Declarations of Effect whose JSON form has all of their values. */
const trustedIds = new Set([
  ...["Date", "DateTimeUtc", "Duration", "BigDecimal", "Uint8Array", "Json", "MutableJson", "Redacted", "Option"].map(
    (name) => `effect/schema/${name}`
  ),
  ...["ReadonlyMap", "ReadonlySet", "Chunk", "HashMap", "HashSet"].map((name) => `effect/schema/${name}`),
  secretId,
  passwordId
])

/** Transformations of Effect that lose nothing, whatever checks are put upon them. */
const trustedTransformations = new Set<unknown>(
  [
    Schema.BigIntFromString,
    Schema.BigDecimalFromString,
    Schema.BooleanFromBit,
    Schema.DateFromMillis,
    Schema.DateFromString,
    Schema.DateTimeUtcFromDate,
    Schema.DateTimeUtcFromMillis,
    Schema.DateTimeUtcFromString
  ].flatMap(({ ast }) => (ast.encoding ?? []).map((link) => link.transformation))
)

const isTrusted = ({ transformation }: AST.Link): boolean => trustedTransformations.has(transformation)

/** What the values of a type are made of. */
const partsOf = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  if (AST.isSuspend(ast)) return [ast.thunk()]
  if (AST.isDeclaration(ast)) return ast.typeParameters
  if (AST.isUnion(ast)) return ast.types
  if (AST.isArrays(ast)) return [...ast.elements, ...ast.rest]
  return AST.isObjects(ast) ? [...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type) : []
}

const areAlike = (a: AST.AST, b: AST.AST): boolean => {
  if (isAsStored(a) && isAsStored(b)) return false
  const kinds = storedKinds(a)
  return [...storedKinds(b)].some((kind) => kinds.has(kind)) && !areTaggedApart(structSource(a), structSource(b))
}

/** Whether the stored form of every value is the value itself. */
const isAsStored = (ast: AST.AST): boolean => {
  if (ast.encoding !== undefined || AST.isDeclaration(ast) || AST.isSuspend(ast)) return false
  if (AST.isUnion(ast)) return ast.types.every(isAsStored)
  if (AST.isArrays(ast)) return [...ast.elements, ...ast.rest].every(isAsStored)
  if (AST.isObjects(ast)) {
    return [...ast.propertySignatures, ...ast.indexSignatures].every(({ type }) => isAsStored(type))
  }
  return (
    AST.isString(ast) ||
    AST.isBoolean(ast) ||
    AST.isNull(ast) ||
    (AST.isLiteral(ast) && typeof ast.literal !== "bigint")
  )
}

/** The kinds of JSON that a member of a union is stored as. */
const storedKinds = (ast: AST.AST): ReadonlySet<string> => {
  const kinds = (stored: AST.AST): ReadonlyArray<string> => {
    if (AST.isUnion(stored)) return stored.types.flatMap(kinds)
    if (AST.isString(stored) || AST.isTemplateLiteral(stored)) return ["string"]
    if (AST.isNumber(stored)) return ["number"]
    if (AST.isBoolean(stored)) return ["boolean"]
    if (AST.isNull(stored)) return ["null"]
    if (AST.isLiteral(stored)) return [typeof stored.literal]
    if (AST.isObjects(stored)) return ["object"]
    return AST.isArrays(stored) ? ["array"] : ["string", "number", "boolean", "null", "object", "array"]
  }
  return new Set(kinds(AST.toEncoded(Schema.toCodecJson(Schema.make(ast)).ast)))
}

/** Whether two structs have a field each whose literals are different. */
const areTaggedApart = (a: AST.AST | undefined, b: AST.AST | undefined): boolean =>
  a !== undefined &&
  AST.isObjects(a) &&
  a.propertySignatures.some(({ name, type }) => {
    const other = typeof name === "string" ? fieldOf(b, name) : undefined
    return AST.isLiteral(type) && other !== undefined && AST.isLiteral(other) && type.literal !== other.literal
  })

// -----------------------------------------------------------------------------
// The walk
// -----------------------------------------------------------------------------

/** Goes through the fields of the stored form and, beside it, of the schema as it was declared. */
const collect = (
  struct: AST.Objects,
  source: AST.AST | undefined,
  path: ReadonlyArray<string>,
  into: Array<Attribute>
): void => {
  for (const property of struct.propertySignatures) {
    const name = String(property.name)
    if (name === "__proto__") throw new UnsupportedSchema("a field cannot be called __proto__")
    const optional = AST.isOptional(property.type)
    if (optional && name in Object.prototype) {
      throw new UnsupportedSchema(
        `a field called ${name} cannot be optional: every object has something of that name, which would be taken for it`
      )
    }
    const { ast, nullable } = withoutNull(property.type)
    const declared = withoutNull(fieldOf(source, name) ?? property.type).ast
    const here = [...path, name]
    const codec = declared === undefined ? undefined : declaredCodec(declared)
    if (codec === undefined && ast !== undefined && isPlainStruct(ast)) {
      into.push({ path: here, codec: "struct", optional, nullable })
      collect(ast, structSource(declared), here, into)
    } else {
      if (codec !== "password" && declared !== undefined && countHidden(declared, isPassword) > 0) {
        throw new UnsupportedSchema(
          `${here.join(".")} holds a password: declare it as a field of its own, optional or not, so that it is hashed and shown to nobody`
        )
      }
      into.push({ path: here, codec: codec ?? codecOf(ast, declared), optional, nullable })
    }
  }
}

const fieldOf = (ast: AST.AST | undefined, name: string): AST.AST | undefined =>
  ast !== undefined && AST.isObjects(ast)
    ? ast.propertySignatures.find((property) => property.name === name)?.type
    : undefined

/**
 * Lists the members of a union, also of those within it; any other schema is the only one of itself.
 *
 * @category getters
 * @since 0.1.0
 */
export const members = (ast: AST.AST): ReadonlyArray<AST.AST> => (AST.isUnion(ast) ? ast.types.flatMap(members) : [ast])

/** Takes `null` and `undefined` out of a union; `ast` is what remains, if it is a single type or a union still. */
const withoutNull = (ast: AST.AST): { readonly ast: AST.AST | undefined; readonly nullable: boolean } => {
  if (!AST.isUnion(ast)) return AST.isNull(ast) ? { ast: undefined, nullable: true } : { ast, nullable: false }
  const all = members(ast)
  const rest = all.filter((member) => !AST.isNull(member) && !AST.isUndefined(member))
  return { ast: rest.length === 1 ? rest[0] : ast, nullable: rest.length < all.length }
}

/** The codec that follows from the declaration alone. */
const declaredCodec = (declared: AST.AST): string | undefined => {
  const named = namedCodec(declared)
  if (named !== undefined) return named
  if (isRedacted(declared)) return "secret"
  if (losesHidden(declared, isPassword)) {
    throw new UnsupportedSchema("a password has to be a field of the struct that is stored, so that it is hashed")
  }
  // As a whole, where its fields do not say which of them are secret.
  const isTold = isPlainStruct(structSource(declared)!) && !losesHidden(declared, isRedacted)
  return !isTold && holdsSecret(declared) ? "secret" : undefined
}

const dateIds = new Set(["effect/schema/Date", "effect/schema/DateTimeUtc"])

const isDate = (ast: AST.AST | undefined): boolean => ast !== undefined && dateIds.has(declarationId(ast) ?? "")

const notFinite = new Set<unknown>(["Infinity", "-Infinity", "NaN"])

/** Whether a stored form is that of any number. */
const isNumeric = (ast: AST.AST): boolean =>
  AST.isUnion(ast)
    ? ast.types.every(isNumeric)
    : AST.isNumber(ast) || (AST.isLiteral(ast) && notFinite.has(ast.literal))

/** More than these are better written out than counted. */
const mostChoices = 64

/** The codec of a value by its stored form, with the help of its declaration where several types have the same. */
const codecOf = (ast: AST.AST | undefined, declared: AST.AST | undefined): string => {
  if (ast === undefined) return "json"
  const all = members(ast).filter((member) => !AST.isNull(member) && !AST.isUndefined(member))
  if (all.every(AST.isString)) {
    switch (declared === undefined ? undefined : declarationId(declared)) {
      case "effect/schema/Uint8Array":
        return "bytes"
      default:
        return isDate(declared) ? "date" : "string"
    }
  }
  if (all.every(AST.isBoolean)) return "boolean"
  if (all.some(AST.isNumber)) {
    return all.every(isNumeric) ? "number" : "json"
  }
  if (all.every(AST.isLiteral)) {
    const literals = all.map((member) => member.literal)
    if (literals.length <= mostChoices) return `choice:${JSON.stringify(literals)}`
  }
  const [only] = all
  if (all.length === 1 && only !== undefined && AST.isArrays(only)) return arrayCodec(only, declared) ?? "json"
  return optionCodec(declared) ?? "json"
}

/** Items of a simple kind go without quotes. */
const arrayCodec = (ast: AST.Arrays, declared: AST.AST | undefined): string | undefined => {
  const [item] = ast.rest
  if (ast.elements.length > 0 || ast.rest.length !== 1 || item === undefined) return undefined
  const source = declared !== undefined && AST.isArrays(declared) ? declared.rest[0] : undefined
  const inner = itemCodec(item, source)
  return inner === undefined ? undefined : `array:${inner}`
}

const itemCodec = (item: AST.AST, source: AST.AST | undefined): string | undefined => {
  const { ast, nullable } = withoutNull(item)
  const declared = source === undefined ? undefined : withoutNull(source).ast
  if (nullable || ast === undefined) return undefined
  const codec = (declared === undefined ? undefined : declaredCodec(declared)) ?? codecOf(ast, declared)
  return codec === "json" || codec === "struct" ? undefined : codec
}

const optionCodec = (declared: AST.AST | undefined): string | undefined => {
  if (declared === undefined || declarationId(declared) !== "effect/schema/Option") return undefined
  const source = AST.isDeclaration(declared) ? declared.typeParameters[0] : undefined
  if (source === undefined) return undefined
  const inner = itemCodec(AST.toEncoded(Schema.toCodecJson(Schema.make(source)).ast), source)
  return inner === undefined ? undefined : `option:${inner}`
}
