/**
 * Values of a schema to JSON and back, with a member of a union that has a place for all that is there, where there is one.
 *
 * Effect takes the first member that fits, and drops what that does not know. So each step is tried without anything
 * dropped first; then with what no member knows left out; then as Effect does it.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { isPlain, mapSame } from "../../internal/json.ts"
import { isClass, members, toStorageCodec, type DocumentSchema } from "../Attributes.ts"
import * as Excess from "./excess.ts"

/** The options by which nothing is dropped. */
export const strictly = { errors: "all", onExcessProperty: "error" } as const

const loosely = { errors: "all", onExcessProperty: "ignore" } as const

/** A value as JSON; `isWhole`: nothing was dropped on the way. */
export interface Encoded {
  readonly json: unknown
  readonly isWhole: boolean
}

/** From values to JSON, and back. */
export interface ExactCodec<A> {
  readonly encode: (value: A) => Effect.Effect<Encoded, Schema.SchemaError>
  /** What no member of the schema knows is left out. */
  readonly decode: (json: unknown) => Effect.Effect<A, Schema.SchemaError>
}

/** Makes the codec of a schema between its values and what is stored. */
export const make = <S extends DocumentSchema>(schema: S): ExactCodec<S["Type"]> => {
  const storage = toStorageCodec(schema)
  const encode: (value: unknown, options?: AST.ParseOptions) => Effect.Effect<unknown, Schema.SchemaError> =
    Schema.encodeUnknownEffect(storage)
  const decode = Schema.decodeUnknownEffect(storage)
  const encodeExactly = exactlyBy(storage.ast, encode)
  return {
    encode: (value) =>
      Effect.catchEager(
        Effect.mapEager(encodeExactly(value), (json) => ({ json, isWhole: true })),
        () => Effect.mapEager(encode(value, loosely), (json) => ({ json, isWhole: false }))
      ),
    decode: looselyBy(AST.toEncoded(storage.ast), decode, storage.ast)
  }
}

/**
 * Does something with a value along a schema without dropping anything. Where nothing is to be dropped, Effect's way of the fewest steps
 * gives the same; what is wrong is found out by the other.
 */
export const exactlyBy = <A, E>(
  ast: AST.AST,
  use: (value: unknown, options?: AST.ParseOptions) => Effect.Effect<A, E>
): ((value: unknown) => Effect.Effect<A, E>) => {
  const hasExcess = Excess.compile(ast)
  if (hasExcess === undefined) return (value) => use(value, strictly)
  return (value) => {
    if (hasExcess(value)) return use(value, strictly)
    return Effect.catchEager(use(value), () => use(value, strictly))
  }
}

/**
 * Does something with a value without dropping anything; if that cannot be, with what the schema knows of it. `whole`: the schema with
 * all its steps, where `ast` is one side of it.
 */
export const looselyBy = <A, E>(
  ast: AST.AST,
  use: (value: unknown, options?: AST.ParseOptions) => Effect.Effect<A, E>,
  whole: AST.AST = ast
): ((value: unknown) => Effect.Effect<A, E>) => {
  const exactly = exactlyBy(whole, use)
  return (value) =>
    Effect.catchEager(exactly(value), () => {
      const known = knownPart([ast], value)
      const lax = use(value, loosely)
      return Object.is(known, value) ? lax : Effect.catchEager(use(known, strictly), () => lax)
    })
}

/** The part of a value that some member of one of these schemas knows; the value itself where that is all of it. */
const knownPart = (asts: ReadonlyArray<AST.AST>, value: unknown): unknown => {
  const all = asts
    .flatMap(resolved)
    .map((ast) => (AST.isDeclaration(ast) && isClass(ast) ? ast.typeParameters[0]! : ast))
  if (Array.isArray(value)) {
    const lists = all.filter(AST.isArrays)
    const itemsAt = (i: number) => lists.flatMap(({ elements, rest }) => (i < elements.length ? [elements[i]!] : rest))
    return lists.length === 0 ? value : mapSame(value, (item, i) => knownPart(itemsAt(i), item))
  }
  const structs = all.filter(AST.isObjects)
  if (structs.length === 0 || structs.length < all.filter(mayBeObject).length || !isPlain(value)) return value
  const typesOf = (name: string) =>
    structs.flatMap(({ indexSignatures, propertySignatures }) => {
      const property = propertySignatures.find((one) => one.name === name)
      return property === undefined ? indexSignatures.map(({ type }) => type) : [property.type]
    })
  const before = Object.entries(value)
  const known = before.flatMap(([name, inner]) => {
    const types = typesOf(name)
    return types.length === 0 ? [] : [[name, knownPart(types, inner)] as const]
  })
  const isSame =
    known.length === before.length &&
    known.every(([, inner], i) => Object.is(inner, before[i]![1])) &&
    Object.getOwnPropertySymbols(value).length === 0
  return isSame ? value : Object.fromEntries(known)
}

/** Schemas of which it is not known what their objects have. */
const mayBeObject = (ast: AST.AST): boolean =>
  AST.isObjects(ast) || AST.isDeclaration(ast) || AST.isAny(ast) || AST.isUnknown(ast) || AST.isObjectKeyword(ast)

const resolved = (ast: AST.AST): ReadonlyArray<AST.AST> =>
  AST.isSuspend(ast) ? resolved(ast.thunk()) : AST.isUnion(ast) ? members(ast).flatMap(resolved) : [ast]
