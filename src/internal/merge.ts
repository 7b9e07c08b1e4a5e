/** Partial changes of a value: their types, and how they are applied along the fields of a schema. */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Result from "effect/Result"
import { isPlain, isRecord } from "./json.ts"
import { didYouMean } from "./nearest.ts"

type Optional<A, K extends keyof A> = {} extends Pick<A, K> ? A[K] | undefined : A[K]

/** New values for some of the top-level fields. */
export type Fields<A> = { readonly [K in keyof A]?: Optional<A, K> }

/** Objects whose fields have paths of their own: no arrays, records, dates, nor the data types of Effect. */
export type IsNested<T> = T extends
  // Branded ones look like objects.
  | string
  | number
  | bigint
  | boolean
  | ReadonlyArray<unknown>
  | ((...args: never) => unknown)
  | Date
  | Uint8Array
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | { readonly pipe: unknown }
  ? false
  : T extends object
    ? string extends keyof T
      ? false
      : true
    : false

/** The names of fields that have fields of their own. */
export type NestedKey<A, K extends keyof A = keyof A> = K extends string
  ? IsNested<NonNullable<A[K]>> extends true
    ? K
    : never
  : never

type Paths<A, Depth extends ReadonlyArray<0> = []> = Depth["length"] extends 5
  ? never
  : PathsBelow<A, NestedKey<A>, [...Depth, 0]>

type PathsBelow<A, K extends keyof A & string, Depth extends ReadonlyArray<0>> = K extends unknown
  ? `${K}.${(keyof NonNullable<A[K]> & string) | Paths<NonNullable<A[K]>, Depth>}`
  : never

/** The value at a path. */
export type ValueAt<A, Path extends string> = Path extends `${infer Head}.${infer Rest}`
  ? Head extends keyof A
    ? ValueAt<NonNullable<A[Head]>, Rest>
    : never
  : Path extends keyof A
    ? Optional<A, Path>
    : never

/** New values for nested fields, by their path. */
export type NestedFields<A> = { readonly [P in Paths<A>]?: ValueAt<A, P> }

/** New values for fields, also nested ones by their path. A function is none, which `{}` would let pass. */
export type PathFields<A> = [Paths<A>] extends [never] ? Fields<A> : Fields<A> & NestedFields<A>

/** New values for fields at any depth. */
export type DeepFields<A> = {
  readonly [K in keyof A]?: IsNested<NonNullable<A[K]>> extends true
    ? DeepFields<NonNullable<A[K]>> | Exclude<Optional<A, K>, object>
    : Optional<A, K>
}

/** A field of a struct. */
export interface Field {
  readonly optional: boolean
  /** Whether `null` is a value of it. */
  readonly nullable: boolean
  readonly tree: FieldTree | undefined
}

/**
 * What a program makes as new values of a document of type `A`, directly or by an effect: only fields. TypeScript looks for
 * others in literals, but not in what a function gives.
 */
export type Made<X, Change, A, E, R> = X & Known<X, Change, A> & (Change | Effect.Effect<Change, E, R>)

type Known<X, Change, A> = X extends unknown
  ? X & Expected<Unexpected<X extends Effect.Effect<infer Given, infer _E, infer _R> ? Given : X, Change, A>>
  : never

/** Nothing more, or what no value is. */
export type Expected<Path extends string> = [Path] extends [never] ? unknown : NoSuchField<Path>

/** Stands in an error of TypeScript. */
interface NoSuchField<Path extends string> {
  readonly "no such field": Path
}

/** The paths of what is no field. A value that is of the type itself may also have what its class has. */
type Unexpected<X, Change, A> = [X] extends [never]
  ? never
  : IsNested<X> extends true
    ? | (Exclude<keyof X, KeyOf<Change> | (X extends A ? keyof A : never)> & string)
      | {
          [K in keyof X & KeyOf<Change> & keyof A & string]: IsNested<X[K]> extends true
            ? `${K}.${Unexpected<X[K], At<Change, K>, NonNullable<A[K]>>}`
            : never
        }[keyof X & KeyOf<Change> & keyof A & string]
    : never

type KeyOf<T> = T extends unknown ? keyof T : never

type At<T, K extends PropertyKey> = T extends { readonly [_ in K]?: infer V } ? V : never

/** What becomes of names that are none of a field: they are refused, or left out. */
export type OnExcessProperty = "error" | "ignore"

/** The fields of a struct, those of nested structs below them. */
export interface FieldTree {
  readonly fields: ReadonlyMap<string, Field>
  readonly onExcessProperty: OnExcessProperty
}

/** `undefined` for a schema that has no named fields. */
export const fieldTree = (type: AST.AST, onExcessProperty: OnExcessProperty): FieldTree | undefined => {
  const struct = structOf(type)
  if (struct === undefined) return undefined
  return {
    onExcessProperty,
    fields: new Map(
      struct.propertySignatures.map((property) => [
        String(property.name),
        {
          optional: AST.isOptional(property.type),
          nullable: Schema.is(Schema.make(property.type))(null),
          tree: fieldTree(property.type, onExcessProperty)
        }
      ])
    )
  }
}

/** What the top-level fields of a schema hold. */
export const fieldTypes = (type: AST.AST): ReadonlyMap<string, AST.AST> =>
  new Map(structOf(type)?.propertySignatures.map((property) => [String(property.name), property.type]))

const structOf = (type: AST.AST): AST.Objects | undefined => {
  if (AST.isObjects(type)) {
    return type.propertySignatures.length > 0 && type.indexSignatures.length === 0 ? type : undefined
  }
  if (AST.isDeclaration(type) && type.typeParameters.length === 1 && type.annotations?.["~constructor"] !== undefined) {
    return structOf(AST.toType(type.typeParameters[0]!))
  }
  if (AST.isUnion(type)) {
    const rest = type.types.filter((member) => !AST.isNull(member) && !AST.isUndefined(member))
    return rest.length === 1 ? structOf(rest[0]!) : undefined
  }
  return undefined
}

export interface Problem {
  readonly path: ReadonlyArray<string>
  readonly message: string
}

type Fieldwise = Readonly<Record<string, unknown>>

const unknownField = ({ fields }: FieldTree, name: string): Problem => ({
  path: [],
  message: `Expected no such field${didYouMean(name, fields.keys())}`
})

/** A name that is none of a field. */
const excess = (tree: FieldTree, name: string, current: Fieldwise): Result.Result<Fieldwise, Problem> =>
  tree.onExcessProperty === "ignore" ? Result.succeed(current) : Result.fail(unknownField(tree, name))

/** The fields of an object, without what its class has beside them. */
const fieldsIn = ({ fields }: FieldTree, object: Fieldwise): Record<string, unknown> => {
  if (isPlain(object) && Object.getOwnPropertySymbols(object).length === 0) {
    const copy = { ...object }
    let isAll = true
    for (const name in copy) isAll &&= fields.has(name)
    if (isAll) return copy
  }
  return Object.fromEntries(Object.entries(object).filter(([name]) => fields.has(name)))
}

/**
 * Whether a value can say what is to be changed. Instances of classes have some of the fields; one that has none, such as a
 * promise, would change nothing, and nobody would know.
 */
const isChange = ({ fields }: FieldTree, change: unknown): change is Fieldwise =>
  isPlain(change) ||
  (isRecord(change) &&
    (Object.keys(change).some((name) => fields.has(name)) || [...fields.values()].every(({ optional }) => optional)))

const notFields = "Expected an object with the fields to be changed"

/** What is to be changed. An instance of a class may have more than fields. */
const namesIn = ({ fields }: FieldTree, change: Fieldwise): ReadonlyArray<string> =>
  isPlain(change) ? Object.keys(change) : Object.keys(change).filter((name) => fields.has(name))

const below = (name: string, problem: Problem): Problem => ({ ...problem, path: [name, ...problem.path] })

/** Replaces top-level fields, and nested ones named by a path. */
export const update = (tree: FieldTree, current: unknown, change: unknown): Result.Result<Fieldwise, Problem> => {
  if (!isRecord(current) || !isChange(tree, change)) return Result.fail({ path: [], message: notFields })
  let merged = fieldsIn(tree, current)
  for (const name of namesIn(tree, change)) {
    const field = tree.fields.get(name)
    if (field !== undefined) {
      merged = setField(merged, name, change[name], field.optional)
      continue
    }
    const next = setAt(tree, merged, name.split("."), change[name])
    if (Result.isFailure(next)) return Result.fail({ ...next.failure, path: [name] })
    merged = { ...next.success }
  }
  return Result.succeed(merged)
}

const setAt = (
  tree: FieldTree,
  current: Fieldwise,
  path: ReadonlyArray<string>,
  value: unknown
): Result.Result<Fieldwise, Problem> => {
  const [name = "", ...rest] = path
  const field = tree.fields.get(name)
  if (field === undefined) return excess(tree, name, current)
  if (rest.length === 0) return Result.succeed(withField(current, name, value, field.optional))
  if (field.tree === undefined) return excess({ ...tree, fields: new Map() }, name, current)
  const inner = current[name]
  // Of what is not there nothing is made for a name that is left out.
  const nested = setAt(field.tree, isRecord(inner) ? fieldsIn(field.tree, inner) : {}, rest, value)
  return Result.map(nested, (next) =>
    !isRecord(inner) && Object.keys(next).length === 0 && value !== undefined ? current : { ...current, [name]: next }
  )
}

const withField = (current: Fieldwise, name: string, value: unknown, optional: boolean): Fieldwise => {
  if (value !== undefined || !optional) return { ...current, [name]: value }
  const { [name]: _, ...others } = current
  return others
}

/** Sets a field of an object that nobody else has, or gives one without it. */
const setField = (own: Record<string, unknown>, name: string, value: unknown, optional: boolean) => {
  if (value === undefined && optional) return { ...withField(own, name, value, optional) }
  own[name] = value
  return own
}

/** Merges objects field by field, replaces everything else. */
export const patch = (tree: FieldTree, current: unknown, change: unknown): Result.Result<Fieldwise, Problem> => {
  if (!isRecord(current) || !isChange(tree, change)) return Result.fail({ path: [], message: notFields })
  let merged = fieldsIn(tree, current)
  for (const name of namesIn(tree, change)) {
    const field = tree.fields.get(name)
    if (field === undefined && tree.onExcessProperty === "ignore") continue
    if (field === undefined) return Result.fail(below(name, unknownField(tree, name)))
    const value = change[name]
    const inner = merged[name]
    if (field.tree !== undefined && isRecord(value) && isRecord(inner)) {
      const nested = patch(field.tree, inner, value)
      if (Result.isFailure(nested)) return Result.fail(below(name, nested.failure))
      merged[name] = nested.success
    } else merged = setField(merged, name, value, field.optional)
  }
  return Result.succeed(merged)
}
