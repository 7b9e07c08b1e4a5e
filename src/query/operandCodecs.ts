/**
 * What a condition compares a field with, in the form in which the field is stored.
 *
 * **Details**
 *
 * A program writes a condition with values as its documents have them: a `DateTime`, a `bigint`. A command line or an HTTP
 * request writes JSON, which may be another text of the same value: `2026-01-05T01:00:00+01:00`. Stored is what the JSON
 * codec of the field makes of the value. Whatever is compared with it has to go through the same codec, or it finds nothing.
 *
 * The checks of a schema are left out: that a number has to be positive does not keep anybody from asking for those from 0.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Json } from "../encoding/Json.ts"
import type { Kind } from "../Query.ts"
import * as Attributes from "../schema/Attributes.ts"
import type { OperandUse } from "./parse.ts"

/**
 * An operand in stored form, or what was expected instead. It tells no values.
 *
 * @category models
 * @since 0.1.0
 */
export type Fitted = Result.Result<Json, string>

/**
 * How operands for the fields of one resource are read. A path that leads to no field lets JSON through as it is: which
 * fields may be asked for is checked elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface OperandCodecs {
  /** A value as documents have it; where it is none, JSON. */
  readonly fromValue: (path: ReadonlyArray<string>, value: unknown, use: OperandUse) => Fitted
  /** JSON, in whatever way it writes the value down. */
  readonly fromJson: (path: ReadonlyArray<string>, json: unknown, use: OperandUse) => Fitted
  /**
   * A value to look up in a partition: as documents have it, as JSON, or, where the partition transforms it, what a
   * transform makes of it, such as `2026-02` of a month.
   */
  readonly forKey: (path: ReadonlyArray<string>, transforms: ReadonlyArray<string>, value: unknown) => Fitted
  /** A secret to look up by a blind unique key: `Redacted`, as documents have it. */
  readonly ofSecret: (path: ReadonlyArray<string>, value: unknown) => Effect.Effect<Fitted>
  /** Whether documents may have something at this path. */
  readonly has: (path: ReadonlyArray<string>) => boolean
  /** What a field holds, where its JSON type does not say it. */
  readonly kindOf: (path: ReadonlyArray<string>) => Kind | undefined
}

/** One way in which a value can be written at a path: its codec both ways, the checks left out. */
interface Codec {
  readonly encode: (value: unknown) => Option.Option<Json>
  readonly decode: (json: Json) => Option.Option<Json>
}

type JsonType = "text" | "number" | "boolean" | "null" | "list" | "object"

/** Values of one place: a field as a whole, or the elements of an array. */
interface Place {
  readonly codecs: ReadonlyArray<Codec>
  readonly isStored: (json: Json) => boolean
  readonly types: ReadonlySet<JsonType>
  readonly kind: Kind | undefined
  /** Whether text and numbers are stored as they are, so that any of them can be the end of a range. */
  readonly isPlain: boolean
  readonly expected: string
}

interface Field {
  readonly whole: Place
  readonly elements: Place | undefined
}

const withoutChecks = { disableChecks: true } as const

/** By a member of a union that has a place for all of a value, where there is one; otherwise it would be cut. */
const exactly =
  <A, E>(use: (value: unknown, options: AST.ParseOptions) => Result.Result<A, E>) =>
  (value: unknown): Result.Result<A, E> =>
    Result.orElse(use(value, { ...withoutChecks, onExcessProperty: "error" }), () => use(value, withoutChecks))

const isJson = Schema.is(Schema.Json)

/**
 * Fields are looked up, and their codecs compiled, when they are first asked for. `system`: the schemas of fields that are
 * not in the schema.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  schema: Attributes.DocumentSchema,
  system: Readonly<Record<string, Attributes.DocumentSchema>> = {}
): OperandCodecs => {
  const storedRoot = AST.toEncoded(Attributes.toStorageCodec(schema).ast)
  const known = new Map<string, Field | undefined>()

  const compile = (path: ReadonlyArray<string>): Field | undefined => {
    const name = path.length === 1 ? path[0]! : ""
    const added = Object.hasOwn(system, name) ? system[name] : undefined
    const sources = added === undefined ? descend([schema.ast], path) : [added.ast]
    const stored = added === undefined ? descend([storedRoot], path) : [jsonForm(added.ast)]
    if (stored.length === 0) return undefined
    const whole = placeOf(sources, stored)
    const storedElements = stored.flatMap(elementsOf)
    return {
      whole,
      elements: storedElements.length === 0 ? undefined : placeOf(sources.flatMap(elementsOf), storedElements)
    }
  }

  const fieldAt = (path: ReadonlyArray<string>): Field | undefined => {
    const key = JSON.stringify(path)
    if (!known.has(key)) known.set(key, compile(path))
    return known.get(key)
  }

  const untyped = (value: unknown): Fitted => {
    const json = leafJson(value) ?? value
    return isJson(json) ? Result.succeed(json) : Result.fail("Expected a value that JSON can carry")
  }

  const fit = (
    path: ReadonlyArray<string>,
    value: unknown,
    use: OperandUse,
    ways: ReadonlyArray<(place: Place) => Option.Option<Json>>
  ): Fitted => {
    const field = fieldAt(path)
    if (field === undefined) return untyped(value)
    const { whole, elements } = field
    if (use === "startsWith") {
      const isText = whole.types.has("text") || elements?.types.has("text") === true
      return isText && typeof value === "string" ? Result.succeed(value) : Result.fail("Expected a field of text")
    }
    // Of a text, a part of it is asked for.
    if (use === "contains" && whole.types.has("text") && typeof value === "string") return Result.succeed(value)
    if (use === "contains" && elements === undefined && !whole.types.has("list")) {
      return Result.fail(whole.types.has("text") ? "Expected a text" : "Expected a field of text or a list")
    }
    const places = use === "contains" ? [elements ?? whole] : elements === undefined ? [whole] : [whole, elements]
    const isOrdered = use === "order"
    for (const place of places) {
      for (const way of ways) {
        const found = way(place)
        if (Option.isNone(found)) continue
        if (!isOrdered || hasOrder(place, found.value)) return Result.succeed(found.value)
      }
    }
    const isEdge = (typeof value === "number" && Number.isFinite(value)) || typeof value === "string"
    if (isOrdered && isEdge && places.some((place) => place.isPlain && place.types.has(typeOf(value)))) {
      return Result.succeed(value)
    }
    if (isOrdered && !places.some((place) => place.types.has("number") || place.types.has("text"))) {
      return Result.fail("Expected a number or a text, and a field that has an order")
    }
    return Result.fail(`Expected ${[...new Set(places.map((place) => place.expected))].join(", or ")}`)
  }

  const encoded = (value: unknown) => (place: Place) =>
    first(place.codecs, (codec) => Option.filter(codec.encode(value), place.isStored))

  const normalized = (value: unknown) => (place: Place) => {
    const json = leafJson(value) ?? value
    if (!isJson(json)) return Option.none()
    if (place.codecs.length === 0) return place.isStored(json) ? Option.some(json) : Option.none()
    return first(place.codecs, (codec) => Option.filter(codec.decode(json), place.isStored))
  }

  return {
    fromValue: (path, value, use) => fit(path, value, use, [encoded(value), normalized(value)]),
    fromJson: (path, json, use) => fit(path, json, use, [normalized(json)]),
    forKey: (path, transforms, value) => {
      const isPart = transforms.length > 0 && typeof value === "string" && !hasZone.test(value)
      const fitted = fit(path, value, "equal", isPart ? [encoded(value)] : [encoded(value), normalized(value)])
      // What a transform makes of a value need not be one. Choices come and go, and markers of former ones stay.
      const isOther =
        isJson(value) && fieldAt(path)?.whole.isPlain === true && fieldAt(path)?.whole.types.has(typeOf(value))
      return Result.isSuccess(fitted) || (transforms.length === 0 && isOther !== true) ? fitted : untyped(value)
    },
    ofSecret: (path, value) => secretOf(descend([schema.ast], path), value),
    has: (path) => fieldAt(path) !== undefined,
    kindOf: (path) => {
      const field = fieldAt(path)
      return field?.whole.kind ?? field?.elements?.kind
    }
  }
}

/** A secret in the form in which it is sealed. */
const secretOf = Effect.fnUntraced(function* (sources: ReadonlyArray<AST.AST>, value: unknown) {
  for (const ast of sources) {
    const codec: Schema.Codec<unknown, unknown> = Schema.toCodecJson(Schema.make<Schema.Codec<unknown>>(ast))
    const encoding = Schema.encodeUnknownEffect(codec, withoutChecks)(value)
    const json = yield* Effect.option(Effect.provideService(encoding, Attributes.SecretsOpen, true))
    if (Option.isSome(json) && isJson(json.value)) return Result.succeed(json.value)
  }
  return Result.fail("Expected the secret as documents have it, such as Redacted.make(text)")
})

/** The end of a text that is a whole moment, rather than the month or the hour of one. */
const hasZone = /T.*(?:Z|[+-]\d\d:?\d\d)/

const first = <A, B>(all: ReadonlyArray<A>, one: (a: A) => Option.Option<B>): Option.Option<B> => {
  for (const a of all) {
    const found = one(a)
    if (Option.isSome(found)) return found
  }
  return Option.none()
}

/** Values of programs that have one usual text, for fields whose codec does not know them. */
const leafJson = (value: unknown): Json | undefined => {
  if (typeof value === "bigint") return String(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  if (BigDecimal.isBigDecimal(value)) return BigDecimal.format(value)
  return undefined
}

const typeOf = (json: Json): JsonType => {
  if (json === null) return "null"
  if (typeof json === "string") return "text"
  if (typeof json === "number") return "number"
  if (typeof json === "boolean") return "boolean"
  return Array.isArray(json) ? "list" : "object"
}

const hasOrder = (place: Place, json: Json): boolean =>
  typeof json === "number" || (typeof json === "string" && !place.types.has("object"))

// -----------------------------------------------------------------------------
// Along a schema
// -----------------------------------------------------------------------------

const members = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  if (AST.isUnion(ast)) return ast.types.flatMap(members)
  return AST.isSuspend(ast) ? members(ast.thunk()) : [ast]
}

/** A schema, and whatever it is encoded to, step by step; for a class the fields that it was declared with. */
const layers = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  const below = ast.encoding === undefined ? [] : layers(ast.encoding.at(-1)!.to)
  const isClass =
    AST.isDeclaration(ast) && ast.typeParameters.length === 1 && ast.annotations?.["~constructor"] !== undefined
  return [ast, ...below, ...(isClass ? layers(ast.typeParameters[0]!) : [])]
}

/** The schemas that the value at a path can have; the outermost first. */
const descend = (from: ReadonlyArray<AST.AST>, path: ReadonlyArray<string>): ReadonlyArray<AST.AST> =>
  path.reduce<ReadonlyArray<AST.AST>>(
    (asts, name) =>
      asts
        .flatMap(members)
        .flatMap(layers)
        .flatMap((ast) => {
          if (AST.isUnion(ast) || AST.isSuspend(ast)) return descend(members(ast), [name])
          if (isOpen(ast)) return [Schema.Json.ast]
          if (AST.isDeclaration(ast) && declarationId(ast) === optionId && name === "value") return ast.typeParameters
          if (!AST.isObjects(ast)) return []
          const property = ast.propertySignatures.find((one) => one.name === name)
          return property === undefined ? ast.indexSignatures.map((one) => one.type) : [property.type]
        }),
    from
  )

/** Whether it is not known what is in it. */
const isOpen = (ast: AST.AST): boolean =>
  AST.isUnknown(ast) || AST.isAny(ast) || AST.isObjectKeyword(ast) || jsonIds.has(declarationId(ast))

const optionId = "effect/schema/Option"

const jsonIds = new Set<unknown>(["effect/schema/Json", "effect/schema/MutableJson"])

const elementsOf = (ast: AST.AST): ReadonlyArray<AST.AST> =>
  members(ast).flatMap((member) => (AST.isArrays(member) ? [...member.elements, ...member.rest] : []))

const jsonForm = (ast: AST.AST): AST.AST => AST.toEncoded(Schema.toCodecJson(Schema.make(ast)).ast)

const codecOf = (ast: AST.AST): Codec => {
  const codec: Schema.Codec<unknown, unknown> = Schema.toCodecJson(Schema.make<Schema.Codec<unknown>>(ast))
  const encodeUnknown = exactly(Schema.encodeUnknownResult(codec))
  const decode = exactly(Schema.decodeUnknownResult(codec))
  const encode = (value: unknown): Option.Option<Json> => {
    const json = Option.getOrUndefined(Result.getSuccess(encodeUnknown(value)))
    return isJson(json) ? Option.some(json) : Option.none()
  }
  return { encode, decode: (json) => Option.flatMap(Result.getSuccess(decode(json)), encode) }
}

const placeOf = (sources: ReadonlyArray<AST.AST>, stored: ReadonlyArray<AST.AST>): Place => {
  const isStored = stored
    .map((ast) => Schema.make<Schema.Codec<unknown>>(ast))
    .map((schema) => Schema.decodeUnknownOption(schema, withoutChecks))
  const types = new Set(stored.flatMap(members).flatMap(typesOf))
  const kinds = new Set(
    sources
      .flatMap(members)
      .filter(isValue)
      .map((ast) => kindOf(ast, types))
  )
  const [kind] = kinds
  return {
    codecs: sources.map(codecOf),
    isStored: (json) => isStored.some((decode) => Option.isSome(decode(json))),
    types,
    kind: kinds.size === 1 ? kind : undefined,
    isPlain: sources.flatMap(members).some(isPlain),
    expected: expectedOf(sources, stored, types, kinds.size === 1 ? kind : undefined)
  }
}

const isValue = (ast: AST.AST): boolean => !AST.isNull(ast) && !AST.isUndefined(ast)

const isPlain = (ast: AST.AST): boolean =>
  ast.encoding === undefined &&
  (AST.isString(ast) || AST.isNumber(ast) || AST.isLiteral(ast) || AST.isTemplateLiteral(ast) || AST.isEnum(ast))

const allTypes: ReadonlyArray<JsonType> = ["text", "number", "boolean", "null", "list", "object"]

const typesOf = (ast: AST.AST): ReadonlyArray<JsonType> => {
  if (AST.isString(ast) || AST.isTemplateLiteral(ast)) return ["text"]
  if (AST.isNumber(ast)) return ["number"]
  if (AST.isBoolean(ast)) return ["boolean"]
  if (AST.isNull(ast)) return ["null"]
  if (AST.isUndefined(ast)) return []
  if (AST.isArrays(ast)) return ["list"]
  if (AST.isObjects(ast)) return ["object"]
  if (AST.isEnum(ast)) return ast.enums.map(([, value]) => typeOf(value))
  return AST.isLiteral(ast) && isJson(ast.literal) ? [typeOf(ast.literal)] : allTypes
}

const declarationId = (ast: AST.AST): unknown => {
  const representation = AST.isDeclaration(ast) ? ast.annotations?.["representation"] : undefined
  return typeof representation === "object" && representation !== null && "id" in representation
    ? representation.id
    : undefined
}

/** A number that is stored as text compares as the number, a moment as the moment, whatever its year or its time zone. */
const kindOf = (ast: AST.AST, types: ReadonlySet<JsonType>): Kind | undefined => {
  if (!types.has("text") || types.has("number") || types.has("object")) return undefined
  const id = declarationId(ast)
  if (AST.isNumber(ast) || AST.isBigInt(ast) || id === "effect/schema/BigDecimal") return "decimal"
  if (id === "effect/schema/DateTimeZoned") return "moment"
  return dateIds.has(id) ? "date" : undefined
}

const typeNames: Readonly<Record<JsonType, string>> = {
  text: "a text",
  number: "a number",
  boolean: "true or false",
  null: "null",
  list: "a list",
  object: "an object"
}

const dateIds = new Set<unknown>(["effect/schema/Date", "effect/schema/DateTimeUtc", "effect/schema/DateTimeZoned"])

/** More choices than these are not told. */
const mostChoices = 16

const expectedOf = (
  sources: ReadonlyArray<AST.AST>,
  stored: ReadonlyArray<AST.AST>,
  types: ReadonlySet<JsonType>,
  kind: Kind | undefined
): string => {
  const all = stored.flatMap(members).filter((ast) => !AST.isUndefined(ast))
  if (all.length <= mostChoices && all.every((ast) => AST.isLiteral(ast) || AST.isNull(ast))) {
    const choices = new Set(
      all.map((ast) => JSON.stringify(AST.isLiteral(ast) && isJson(ast.literal) ? ast.literal : null))
    )
    return choices.size === 1 ? [...choices].join("") : `one of ${[...choices].join(", ")}`
  }
  const isDate = sources.flatMap(members).some((ast) => dateIds.has(declarationId(ast)))
  const names = [...types].map((type) => {
    if (type !== "text") return typeNames[type]
    if (isDate) return "a date and time, such as 2026-01-05T00:00:00Z"
    return kind === "decimal" ? "a number as text" : typeNames.text
  })
  return names.length === allTypes.length ? "a value that JSON can carry" : names.join(" or ")
}
