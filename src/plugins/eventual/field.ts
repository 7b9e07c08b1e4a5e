/**
 * What can be done with a field that is counted: how its amounts are stored, added, and applied to a value.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Definition } from "../../Definition.ts"
import type { Json } from "../../encoding/Json.ts"
import { fieldTypes } from "../../internal/merge.ts"
import * as Attributes from "../../schema/Attributes.ts"

/**
 * What an operation does: adds, takes away, puts a value in the place of what is there, or whatever a reducer makes of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = "add" | "subtract" | "set" | "reduce"

/**
 * An operation, its amount as it is stored.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  readonly kind: Kind
  readonly amount: Json
}

const nothing = BigDecimal.fromBigInt(0n)

/**
 * Returns an amount as it is stored as a decimal; `0` where it is no number.
 *
 * @category getters
 * @since 0.1.0
 */
export const decimalOf = (amount: unknown): BigDecimal.BigDecimal => {
  const parsed = BigDecimal.fromString(String(amount))
  return parsed._tag === "Some" ? parsed.value : nothing
}

/**
 * A field that is counted, whatever its type.
 *
 * @category models
 * @since 0.1.0
 */
export interface Field {
  /** The path, its parts with a `.` between them. */
  readonly name: string
  readonly path: ReadonlyArray<string>
  /** Whether it makes no difference in which order operations come. */
  readonly isHot: boolean
  /** Whether operations change the document at once, and none waits. */
  readonly isDirect: boolean
  /** Whether operations are counted by their time, too. */
  readonly isAnalyzed: boolean
  /** Whether operations are kept after they have come into the document. */
  readonly isKept: boolean
  /** What counts where the field has no value. */
  readonly initial: unknown
  readonly read: (document: unknown) => unknown
  /** The amount as it is stored, or what is wrong with it. */
  readonly encode: (kind: Kind, amount: unknown) => Result.Result<Json, string>
  /** What two operations that add, or take away, one right after the other, come to in one; `undefined` where they stay two, also since one of them may fit alone. */
  readonly merge: (kind: Kind, first: Json, second: Json) => Json | undefined
  /** The value after an operation, or why there can be none. */
  readonly apply: (value: unknown, operation: Stored) => Result.Result<unknown, string>
  /** The value after an operation that has been made before: one on the way to it need not be one that a document can have. */
  readonly replay: (value: unknown, operation: Stored) => Result.Result<unknown, string>
  /** An amount as it was given; `undefined` where it is none. */
  readonly decode: (amount: Json) => unknown
  /** A value as JSON, and back. */
  readonly toJson: (value: unknown) => Result.Result<Json, string>
  readonly fromJson: (json: Json) => Result.Result<unknown, string>
  /** A sum of amounts as a value of the field; `undefined` where the field holds no numbers. */
  readonly fromDecimal: (sum: BigDecimal.BigDecimal) => unknown
}

/**
 * How a field is counted, whatever it holds.
 *
 * @category models
 * @since 0.1.0
 */
export type Manner = Pick<Field, "isHot" | "isDirect" | "isAnalyzed" | "isKept">

/** Numbers of one type. */
interface Numbers<A> {
  readonly zero: A
  readonly isOne: (value: unknown) => value is A
  readonly plus: (a: A, b: A) => A
  readonly minus: (a: A, b: A) => A
  readonly toJson: (value: A) => Json
  readonly fromJson: (json: Json) => A | undefined
  readonly fromDecimal: (sum: BigDecimal.BigDecimal) => A
  readonly what: string
}

const doubles: Numbers<number> = {
  zero: 0,
  isOne: (value): value is number => typeof value === "number" && Number.isFinite(value),
  plus: (a, b) => a + b,
  minus: (a, b) => a - b,
  toJson: (value) => value,
  fromJson: (json) => (typeof json === "number" ? json : undefined),
  fromDecimal: (sum) => Number(BigDecimal.format(sum)),
  what: "a finite number"
}

const integers: Numbers<number> = {
  ...doubles,
  isOne: (value): value is number => Number.isSafeInteger(value),
  what: "a safe integer"
}

const integerPattern = /^-?\d+$/

const bigIntegers: Numbers<bigint> = {
  zero: 0n,
  isOne: (value): value is bigint => typeof value === "bigint",
  plus: (a, b) => a + b,
  minus: (a, b) => a - b,
  toJson: (value) => value.toString(),
  fromJson: (json) => (typeof json === "string" && integerPattern.test(json) ? BigInt(json) : undefined),
  fromDecimal: (sum) => BigDecimal.scale(sum, 0).value,
  what: "a big integer"
}

const decimals = (scale: number | undefined): Numbers<BigDecimal.BigDecimal> => ({
  zero: BigDecimal.fromBigInt(0n),
  isOne: (value): value is BigDecimal.BigDecimal =>
    BigDecimal.isBigDecimal(value) && (scale === undefined || BigDecimal.normalize(value).scale <= scale),
  plus: BigDecimal.sum,
  minus: BigDecimal.subtract,
  toJson: (value) => BigDecimal.format(BigDecimal.normalize(value)),
  fromJson: (json) => {
    const parsed = typeof json === "string" ? BigDecimal.fromString(json) : undefined
    return parsed !== undefined && parsed._tag === "Some" ? parsed.value : undefined
  },
  fromDecimal: (sum) => sum,
  what: scale === undefined ? "a decimal" : `a decimal with at most ${scale} decimals`
})

/** What it takes to name a field of a resource. */
interface Declared extends Pick<Definition<Attributes.DocumentSchema>, "name" | "schema" | "attributes"> {
  readonly primaryKey: string
}

/** The type at a path, without what stands for its absence. */
const typeAt = (schema: Attributes.DocumentSchema, path: ReadonlyArray<string>): AST.AST | undefined => {
  let type: AST.AST | undefined = AST.toType(schema.ast)
  for (const name of path) {
    const next: AST.AST | undefined = fieldTypes(type).get(name)
    if (next === undefined) return undefined
    type = next
  }
  return type
}

const withoutAbsence = (type: AST.AST): AST.AST | undefined => {
  const rest = Attributes.members(type).filter(({ _tag }) => _tag !== "Undefined" && _tag !== "Null")
  return rest.length === 1 ? rest[0] : undefined
}

const isInteger = (type: AST.AST): boolean =>
  (type.checks ?? []).some((check) => JSON.stringify(check.annotations?.["representation"] ?? null).includes("/isInt"))

const kindIds = new Set(["effect/schema/isInt", "effect/schema/isFinite"])
const floorId = /^effect\/schema\/isGreaterThan(?:OrEqualTo)?(?:BigInt|BigDecimal)?$/

const isMoreThan = (test: (id: string, type: unknown) => boolean) => (check: AST.Check<never>) => {
  const { id, payload } = (check.annotations?.["representation"] ?? {}) as {
    readonly id?: string
    readonly payload?: { readonly type?: unknown }
  }
  return id === undefined || !test(id, payload?.type)
}

const isKind = (id: string, type: unknown): boolean =>
  kindIds.has(id) || (id === Attributes.representationId && (type === "money" || type === "decimal"))

/**
 * Which operations may be one: all where every number of its kind is a value; those that add nothing negative where a value has a least; else
 * none, since each may fit where both together do not.
 */
const mergeableOf = (declared: AST.AST): ((kind: Kind, first: Json, second: Json) => boolean) => {
  const checks = [
    ...(declared.checks ?? []),
    ...(declared._tag === "Union" ? (withoutAbsence(declared)?.checks ?? []) : [])
  ]
  if (!checks.some(isMoreThan(isKind))) return () => true
  if (checks.some(isMoreThan((id, type) => isKind(id, type) || floorId.test(id)))) return () => false
  return (kind, first, second) => kind === "add" && Number(first) >= 0 && Number(second) >= 0
}

const isDecimal = (type: AST.AST): boolean =>
  AST.isDeclaration(type) &&
  Schema.is(Schema.make(new AST.Declaration(type.typeParameters, type.run)))(decimals(0).zero)

const scaleOf = (codec: string | undefined): number | undefined => {
  const match = /^(?:money|decimal):(\d+)$/.exec(codec ?? "")
  return match === null ? undefined : Number(match[1])
}

const numbersAt = (definition: Declared, name: string, declared: AST.AST): Numbers<never> | undefined => {
  const type = withoutAbsence(declared)
  if (type === undefined) return undefined
  const codec = definition.attributes.find(({ path }) => path.join(".") === name)?.codec
  const found: Numbers<number> | Numbers<bigint> | Numbers<BigDecimal.BigDecimal> | undefined =
    type._tag === "Number"
      ? isInteger(type)
        ? integers
        : doubles
      : type._tag === "BigInt"
        ? bigIntegers
        : isDecimal(type)
          ? decimals(scaleOf(codec))
          : undefined
  // Only values of its own type are given to it.
  return found as Numbers<never> | undefined
}

const readAt = (path: ReadonlyArray<string>) => (document: unknown) =>
  path.reduce<unknown>(
    (value, name) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, name)
        ? (value as Readonly<Record<string, unknown>>)[name]
        : undefined,
    document
  )

/** A value is one of the field's, or the operation that leads to it is refused. */
const checkedBy = (type: AST.AST) => {
  const isOne = Schema.is(Schema.make(type))
  return (value: unknown): Result.Result<unknown, string> =>
    isOne(value) ? Result.succeed(value) : Result.fail("the value that it leads to is none of the field's")
}

/** The field of a path, or what is wrong with it. */
const located = (definition: Declared, name: string): Result.Result<AST.AST, string> => {
  const path = name.split(".")
  if (name === definition.primaryKey) return Result.fail("Expected a field that can change")
  if (Attributes.hiddenOf(definition.schema).some((hidden) => hidden.every((part, i) => path[i] === part))) {
    return Result.fail("Expected a field that holds no secret")
  }
  const type = typeAt(definition.schema, path)
  return type === undefined ? Result.fail("Expected a field of the schema") : Result.succeed(type)
}

/**
 * Makes the field of a sum, or says what is wrong with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sum = (
  definition: Declared,
  name: string,
  { initial, ...manner }: Manner & { readonly initial: unknown }
): Result.Result<Field, string> =>
  Result.flatMap(located(definition, name), (type) => {
    const numbers = numbersAt(definition, name, type)
    if (numbers === undefined) return Result.fail("Expected a field that holds a number")
    if (initial !== undefined && !numbers.isOne(initial)) return Result.fail(`Expected ${numbers.what} as initial`)
    const { fromDecimal, fromJson, isOne, minus, plus, toJson, what, zero } = numbers
    const check = checkedBy(type)
    const isMergeable = mergeableOf(type)
    const path = name.split(".")
    const after: Field["replay"] = (value, { amount, kind }) => {
      const given = fromJson(amount)
      if (given === undefined) return Result.fail(`the amount is not ${what}`)
      const before = isOne(value) ? value : isOne(initial) ? initial : zero
      return Result.succeed(kind === "set" ? given : kind === "subtract" ? minus(before, given) : plus(before, given))
    }
    return Result.succeed<Field>({
      name,
      path,
      ...manner,
      initial: initial ?? zero,
      read: readAt(path),
      encode: (_, amount) => (isOne(amount) ? Result.succeed(toJson(amount)) : Result.fail(`Expected ${what}`)),
      merge: (kind, first, second) => {
        const [a, b] = [fromJson(first), fromJson(second)]
        if (kind === "set" || a === undefined || b === undefined || !isMergeable(kind, first, second)) return undefined
        const both = plus(a, b)
        return isOne(both) ? toJson(both) : undefined
      },
      apply: (value, operation) =>
        Result.flatMap(after(value, operation), (made) =>
          isOne(made) ? check(made) : Result.fail(`the value that it leads to is not ${what}`)
        ),
      replay: after,
      decode: fromJson,
      toJson: (value) => (isOne(value) ? Result.succeed(toJson(value)) : Result.fail(`Expected ${what}`)),
      fromJson: (json) => {
        const value = fromJson(json)
        return value === undefined ? Result.fail(`Expected ${what}`) : Result.succeed(value)
      },
      fromDecimal
    })
  })

/**
 * What a reducer makes of a value and an operation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reducer {
  readonly operation: Schema.Codec<unknown, unknown>
  readonly initial: unknown
  readonly reduce: (value: unknown, operation: unknown) => unknown
}

/**
 * Makes the field of a reducer, or says what is wrong with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reduced = (
  definition: Declared,
  name: string,
  reducer: Reducer,
  manner: Manner
): Result.Result<Field, string> =>
  Result.map(located(definition, name), (type) => {
    const codec = Schema.toCodecJson(reducer.operation)
    const encode = Schema.encodeUnknownResult(codec)
    const decode = Schema.decodeUnknownResult(codec)
    const check = checkedBy(type)
    const path = name.split(".")
    const valueCodec = () => Schema.toCodecJson(Schema.make<Schema.Codec<unknown, unknown>>(type))
    const asValue = <A>(made: () => A): Result.Result<A, string> =>
      Result.try({ try: made, catch: () => "Expected a value of the field" })
    const after: Field["replay"] = (value, { amount }) => {
      const operation = decode(amount)
      if (Result.isFailure(operation)) return Result.fail("the operation is none of the schema's")
      return Result.try({
        try: () => reducer.reduce(value === undefined ? reducer.initial : value, operation.success),
        catch: () => "the reducer has thrown"
      })
    }
    return {
      name,
      path,
      ...manner,
      initial: reducer.initial,
      read: readAt(path),
      encode: (_, amount) =>
        Result.mapError(encode(amount) as Result.Result<Json, unknown>, () => "Expected an operation of the schema"),
      merge: () => undefined,
      apply: (value, operation) => Result.flatMap(after(value, operation), check),
      replay: after,
      decode: (amount) => Result.getOrUndefined(decode(amount)),
      // A codec of JSON encodes to JSON.
      toJson: (value) => asValue(() => Schema.encodeUnknownSync(valueCodec())(value) as Json),
      fromJson: (json) => asValue(() => Schema.decodeUnknownSync(valueCodec())(json)),
      fromDecimal: () => undefined
    }
  })
