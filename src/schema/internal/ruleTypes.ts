/** What TypeScript makes of rules: the type of a value, and whether a rule is one. */
import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type { Coordinates, PasswordHash } from "../Attribute.ts"

/** The TypeScript type of each type name that does not depend on anything else. */
export interface TypeNames {
  string: string
  text: string
  email: string
  url: string
  uuid: string
  ulid: string
  ip4: string
  ip6: string
  cidr: string
  mac: string
  semver: string
  phone: string
  color: string
  colour: string
  locale: string
  currency: string
  country: string
  ean: string
  cron: string
  dateonly: string
  timeonly: string
  number: number
  float: number
  integer: number
  int: number
  boolean: boolean
  bool: boolean
  date: Date
  datetime: DateTime.Utc
  duration: Duration.Duration
  money: BigDecimal.BigDecimal
  crypto: BigDecimal.BigDecimal
  decimal: BigDecimal.BigDecimal
  json: Schema.Json
  any: Schema.Json
  object: Schema.Json
  embedding: ReadonlyArray<number>
  bits: Uint8Array
  bytes: Uint8Array
  buffer: Uint8Array
  secret: Redacted.Redacted<string>
  secretNumber: Redacted.Redacted<number>
  secretAny: Redacted.Redacted<Schema.Json>
  password: PasswordHash
  // Those whose type follows from their rules.
  geo: never
  array: never
  record: never
  enum: never
}

export type ModifierName =
  | "required"
  | "optional"
  | "nullable"
  | "empty"
  | "min"
  | "max"
  | "length"
  | "pattern"
  | "alpha"
  | "alphanum"
  | "alphadash"
  | "numeric"
  | "enum"
  | "values"
  | "integer"
  | "positive"
  | "negative"
  | "convert"
  | "trim"
  | "lowercase"
  | "uppercase"
  | "unique"
  | "default"
  | "items"

/** The members of an explicit definition. */
export type OptionName = "type" | ModifierName | "props" | "properties" | "strict" | "messages"

/** The parts of a rule. A pattern is the last one: it may hold any character. */
type Parts<R extends string> = R extends `${infer Head}|${infer Tail}`
  ? Head extends `pattern:${string}`
    ? [Head]
    : [Head, ...Parts<Tail>]
  : [R]

type NameOf<Part> = Part extends `${infer Name}:${string}` ? Name : Part

type Tail<P> = P extends readonly [unknown, ...infer Rest] ? Rest : []

type Has<P, Name extends string> = P extends readonly [infer Head, ...infer Rest]
  ? NameOf<Head> extends Name
    ? Head extends `${string}:false`
      ? Has<Rest, Name>
      : true
    : Has<Rest, Name>
  : false

type Argument<P, Name extends string> = P extends readonly [infer Head, ...infer Rest]
  ? Head extends `${Name}:${infer Value}`
    ? Value
    : Argument<Rest, Name>
  : never

type List<Text extends string> = Text extends `${infer Head},${infer Rest}` ? Head | List<Rest> : Text

type ItemName<P> = [Argument<P, "items">] extends [never] ? Schema.Json : NamedType<Argument<P, "items">, []>

type Numeric<Text extends string> = Text extends `${infer N extends number}` ? N : never

/** The type of a type name with the rules behind it. */
type NamedType<Name extends string, P> = Name extends "array"
  ? ReadonlyArray<ItemName<P>>
  : Name extends "record"
    ? { readonly [key: string]: ItemName<P> }
    : Name extends "enum"
      ? List<Argument<P, "values"> | Argument<P, "enum">>
      : Name extends "geo:point" | `geo:point:${string}`
        ? Coordinates
        : Name extends `geo:${string}`
          ? number
          : NameOf<Name> extends keyof TypeNames
            ? [Argument<P, "enum"> | Argument<P, "values">] extends [never]
              ? TypeNames[NameOf<Name>]
              : TypeNames[NameOf<Name>] extends number
                ? Numeric<List<Argument<P, "values"> | Argument<P, "enum">>>
                : List<Argument<P, "values"> | Argument<P, "enum">>
            : unknown

type RuleType<R extends string> = string extends R
  ? unknown
  : NamedType<Parts<R>[0], Tail<Parts<R>>> | (Has<Tail<Parts<R>>, "nullable"> extends true ? null : never)

/** An object that says explicitly what it is: every member but `type`, which is a rule, is a known option. */
export type IsExplicit<F> = F extends { readonly type: string }
  ? [Exclude<keyof F, OptionName>] extends [never]
    ? true
    : false
  : false

type Nullable<F> = F extends { readonly nullable: true } ? null : never

type ExplicitType<F extends { readonly type: string }> = F extends { readonly props: infer P }
  ? TypeOf<P> | Nullable<F>
  : F extends { readonly properties: infer P }
    ? TypeOf<P> | Nullable<F>
    : F extends { readonly items: infer I }
      ? | (NameOf<Parts<F["type"]>[0]> extends "record"
            ? { readonly [key: string]: FieldType<I> }
            : ReadonlyArray<FieldType<I>>)
        | Nullable<F>
      : F extends { readonly values: ReadonlyArray<infer V> } | { readonly enum: ReadonlyArray<infer V> }
        ? V | Nullable<F>
        : RuleType<F["type"]> | Nullable<F>

export type FieldType<F> = F extends string
  ? RuleType<F>
  : IsExplicit<F> extends true
    ? F extends { readonly type: string }
      ? ExplicitType<F>
      : never
    : F extends object
      ? | TypeOf<F>
        | (F extends { readonly $$type: infer T extends string }
            ? Has<Parts<T>, "nullable"> extends true
              ? null
              : never
            : never)
      : unknown

type IsOptional<F> = F extends string
  ? Has<Parts<F>, "optional">
  : IsExplicit<F> extends true
    ? F extends { readonly optional: true }
      ? true
      : F extends { readonly type: infer T extends string }
        ? Has<Parts<T>, "optional">
        : false
    : F extends { readonly $$type: infer T extends string }
      ? Has<Parts<T>, "optional">
      : false

type HasDefault<F> = F extends string
  ? Has<Parts<F>, "default">
  : F extends { readonly default: unknown }
    ? true
    : IsExplicit<F> extends true
      ? F extends { readonly type: infer T extends string }
        ? Has<Parts<T>, "default">
        : false
      : false

type Names<A> = Exclude<keyof A & string, "$$type">

type OptionalNames<A> = {
  [K in Names<A>]: IsOptional<A[K]> extends true ? (HasDefault<A[K]> extends true ? never : K) : never
}[Names<A>]

type DefaultedNames<A> = { [K in Names<A>]: HasDefault<A[K]> extends true ? K : never }[Names<A>]

type Simplify<T> = { [K in keyof T]: T[K] } & {}

/** The type of a document's fields. */
export type TypeOf<A> = Simplify<
  { readonly [K in Exclude<Names<A>, OptionalNames<A>>]: FieldType<A[K]> } & {
    readonly [K in OptionalNames<A>]?: FieldType<A[K]>
  }
>

/** The type of what an insert takes. */
export type InputOf<A> = Simplify<
  { readonly [K in Exclude<Names<A>, OptionalNames<A> | DefaultedNames<A>>]: FieldType<A[K]> } & {
    readonly [K in OptionalNames<A> | DefaultedNames<A>]?: FieldType<A[K]>
  }
>

type BadModifier<P> = P extends readonly [infer Head, ...infer Rest]
  ? NameOf<Head> extends ModifierName
    ? BadModifier<Rest>
    : Head
  : never

type ValidRule<R extends string> = string extends R
  ? R
  : NameOf<Parts<R>[0]> extends keyof TypeNames
    ? [BadModifier<Tail<Parts<R>>>] extends [never]
      ? R
      : `unknown rule "${BadModifier<Tail<Parts<R>>> & string}"`
    : `unknown type "${NameOf<Parts<R>[0]> & string}"`

type ValidTypeRule<R extends string> = R extends `object|${infer Rest}` | `${infer Rest}`
  ? [BadModifier<Parts<Rest>>] extends [never]
    ? R
    : R extends "object"
      ? R
      : `unknown rule "${BadModifier<Parts<Rest>> & string}"`
  : R

/** Definitions as they are, with a message in the place of each rule that is none. */
export type Valid<A> = {
  readonly [K in keyof A]: K extends "$$type"
    ? A[K] extends string
      ? ValidTypeRule<A[K]>
      : A[K]
    : A[K] extends string
      ? ValidRule<A[K]>
      : IsExplicit<A[K]> extends true
        ? A[K] extends { readonly type: infer T extends string }
          ? Omit<A[K], "type"> & { readonly type: ValidRule<T> }
          : A[K]
        : A[K] extends object
          ? Valid<A[K]>
          : A[K]
}
