/**
 * What a schema looks like once it is stored: a flat list of attributes, each a path to a value that has a codec.
 *
 * A nested struct is taken apart into its fields, so that each travels by itself; arrays, records, unions and free JSON
 * are one attribute each.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"

/**
 * How the value of an attribute is written.
 *
 * `struct` stands for a nested struct as a whole, and is written only when none of its fields is: for `{}` and `null`.
 *
 * @category models
 * @since 0.1.0
 */
export const Codec = Schema.Literals(["string", "number", "boolean", "date", "json", "struct"])

/**
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
  nullable: Schema.Boolean,
  /** The only values allowed, for a field of literals. */
  literals: Schema.optionalKey(Schema.Array(Schema.Union([Schema.String, Schema.Finite, Schema.Boolean])))
})

/**
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
 * A schema that cannot be stored. This is a mistake in the program, so it is thrown, not returned.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnsupportedSchema extends Error {
  override readonly name = "UnsupportedSchema"
}

/**
 * The attributes of a schema in the order of their declaration, without the primary key, which is part of the object's
 * key.
 *
 * Throws `UnsupportedSchema` when the encoded form is no struct, when the primary key is no required string, and when a
 * field is called `__proto__`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromSchema = (schema: DocumentSchema, primaryKey: string): ReadonlyArray<Attribute> => {
  const root = AST.toEncoded(Schema.toCodecJson(schema).ast)
  if (!isPlainStruct(root)) {
    throw new UnsupportedSchema("the schema of a resource must encode to a struct with named fields")
  }
  const attributes: Array<Attribute> = []
  collect(root, typeSide(AST.toType(schema.ast)), [], attributes)
  const key = attributes.find((attribute) => attribute.path.length === 1 && attribute.path[0] === primaryKey)
  if (key === undefined || key.codec !== "string" || key.optional || key.nullable) {
    throw new UnsupportedSchema(
      `the primary key ${JSON.stringify(primaryKey)} must be a required field that encodes to a string`
    )
  }
  return attributes.filter((attribute) => attribute !== key)
}

const isPlainStruct = (ast: AST.AST): ast is AST.Objects =>
  AST.isObjects(ast) &&
  ast.propertySignatures.length > 0 &&
  ast.indexSignatures.length === 0 &&
  ast.propertySignatures.every((property) => typeof property.name === "string")

/** The struct behind a class, so that the types of its fields can be looked at. */
const typeSide = (ast: AST.AST | undefined): AST.AST | undefined =>
  ast !== undefined && AST.isDeclaration(ast) && ast.typeParameters.length === 1
    ? AST.toType(ast.typeParameters[0]!)
    : ast

const fieldOf = (ast: AST.AST | undefined, name: string): AST.AST | undefined =>
  ast !== undefined && AST.isObjects(ast)
    ? ast.propertySignatures.find((property) => property.name === name)?.type
    : undefined

const collect = (
  struct: AST.Objects,
  type: AST.AST | undefined,
  path: ReadonlyArray<string>,
  into: Array<Attribute>
): void => {
  for (const property of struct.propertySignatures) {
    const name = String(property.name)
    if (name === "__proto__") throw new UnsupportedSchema("a field cannot be called __proto__")
    const optional = AST.isOptional(property.type)
    const { ast, nullable } = withoutNull(property.type)
    const fieldType = fieldOf(type, name)
    const here = [...path, name]
    if (ast !== undefined && isPlainStruct(ast)) {
      into.push({ path: here, codec: "struct", optional, nullable })
      collect(ast, typeSide(fieldType === undefined ? undefined : withoutNull(fieldType).ast), here, into)
    } else {
      const { codec, literals } = leaf(ast, fieldType)
      into.push({ path: here, codec, optional, nullable, ...(literals === undefined ? {} : { literals }) })
    }
  }
}

const members = (ast: AST.AST): ReadonlyArray<AST.AST> => (AST.isUnion(ast) ? ast.types.flatMap(members) : [ast])

/** Takes `null` and `undefined` out of a union; `ast` is what remains, if it is a single type or a union still. */
const withoutNull = (ast: AST.AST): { readonly ast: AST.AST | undefined; readonly nullable: boolean } => {
  if (!AST.isUnion(ast)) return AST.isNull(ast) ? { ast: undefined, nullable: true } : { ast, nullable: false }
  const all = members(ast)
  const rest = all.filter((member) => !AST.isNull(member) && !AST.isUndefined(member))
  return { ast: rest.length === 1 ? rest[0] : ast, nullable: rest.length < all.length }
}

const dateRepresentations = new Set(["effect/schema/Date", "effect/schema/DateTimeUtc"])

const isDate = (type: AST.AST | undefined): boolean => {
  const ast = type === undefined ? undefined : withoutNull(type).ast
  if (ast === undefined || !AST.isDeclaration(ast)) return false
  const representation = ast.annotations?.["representation"]
  return (
    typeof representation === "object" &&
    representation !== null &&
    "id" in representation &&
    dateRepresentations.has(String(representation.id))
  )
}

const notFinite = new Set<unknown>(["Infinity", "-Infinity", "NaN"])

const leaf = (
  ast: AST.AST | undefined,
  type: AST.AST | undefined
): { readonly codec: Codec; readonly literals?: ReadonlyArray<string | number | boolean> | undefined } => {
  if (ast === undefined) return { codec: "json" }
  const all = members(ast).filter((member) => !AST.isNull(member) && !AST.isUndefined(member))
  if (all.every(AST.isString)) return { codec: isDate(type) ? "date" : "string" }
  if (all.every(AST.isBoolean)) return { codec: "boolean" }
  if (all.some(AST.isNumber)) {
    const numeric = all.every(
      (member) => AST.isNumber(member) || (AST.isLiteral(member) && notFinite.has(member.literal))
    )
    return { codec: numeric ? "number" : "json" }
  }
  if (all.every(AST.isLiteral)) {
    const literals = all.map((member) => member.literal)
    for (const kind of ["string", "number", "boolean"] as const) {
      const same = literals.filter((literal) => typeof literal === kind) as Array<string | number | boolean>
      if (same.length === literals.length) return { codec: kind, literals: same }
    }
  }
  return { codec: "json" }
}
