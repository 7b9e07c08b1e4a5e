/** What TypeScript makes of rules: the type of a value, and whether a rule is one. */
import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type { cryptoUnits, currencyCodes } from "../../internal/formats.ts"
import type { Coordinates, PasswordHash } from "../Attribute.ts"

// -----------------------------------------------------------------------------
// What there is
// -----------------------------------------------------------------------------

/** The names of types, by what rules they take. */
export const families = {
  text: "string text email url uuid ulid ip4 ip6 cidr mac semver phone color colour locale currency country ean cron dateonly timeonly enum",
  number: "number float integer int geo",
  boolean: "boolean bool",
  date: "date datetime",
  exact: "money crypto decimal",
  array: "array",
  record: "record",
  password: "password",
  other: "duration json any object embedding bits bytes buffer secret secretNumber secretAny"
} as const

/** The rules that every type takes. */
export const anywhere = "required optional nullable default"

/** The rules that types of a family take beside them. */
export const modifiers = {
  text: "empty min max length pattern alpha alphanum alphadash numeric enum values convert trim lowercase uppercase",
  number: "min max enum values integer positive negative convert",
  boolean: "convert",
  date: "convert",
  exact: "",
  array: "items min max length unique empty",
  record: "items min max length",
  password: "min max",
  other: ""
} as const

export type Family = keyof typeof families

/** The words of a text. */
type Words<Text extends string> = Text extends `${infer Head} ${infer Rest}` ? Head | Words<Rest> : Text

type FamilyOf<Name> = { [F in Family]: Name extends Words<(typeof families)[F]> ? F : never }[Family]

type ModifiersOf<F extends Family> = Exclude<Words<typeof anywhere> | Words<(typeof modifiers)[F]>, "">

export type ModifierName = { [F in Family]: ModifiersOf<F> }[Family]

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

/** The members of an explicit definition. */
export type OptionName = "type" | ModifierName | "props" | "properties" | "strict" | "messages"

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

type Space = " " | "\t" | "\n"

type Trim<Text extends string> = Text extends `${Space}${infer Rest}`
  ? Trim<Rest>
  : Text extends `${infer Rest}${Space}`
    ? Trim<Rest>
    : Text

/** The parts of a rule, without spaces around them. A pattern is the last one: it may hold any character. */
type Parts<R extends string> = R extends `${infer Head}|${infer Tail}`
  ? Trim<Head> extends `pattern:${string}`
    ? [Trim<Head>]
    : [Trim<Head>, ...Parts<Tail>]
  : [Trim<R>]

type NameOf<Part> = Part extends `${infer Name}:${string}` ? Trim<Name> : Part

type Tail<P> = P extends readonly [unknown, ...infer Rest] ? Rest : []

/** Whether a rule is said, and not taken back by `false`. */
type Has<P, Name extends string> = P extends readonly [infer Head, ...infer Rest]
  ? NameOf<Head> extends Name
    ? Head extends `${string}:false`
      ? Has<Rest, Name>
      : true
    : Has<Rest, Name>
  : false

type Argument<P, Name extends string> = P extends readonly [infer Head, ...infer Rest]
  ? Head extends `${infer Found}:${infer Value}`
    ? Trim<Found> extends Name
      ? Value
      : Argument<Rest, Name>
    : Argument<Rest, Name>
  : never

type List<Text extends string> = Text extends `${infer Head},${infer Rest}` ? Trim<Head> | List<Rest> : Trim<Text>

type ItemName<P> = [Argument<P, "items">] extends [never] ? Schema.Json : NamedType<Trim<Argument<P, "items">>, []>

type Numeric<Text extends string> = Text extends `${infer N extends number}` ? N : never

/** Of the values that a rule names, as the type has them. */
type Choices<Name, Text extends string> = FamilyOf<NameOf<Name>> extends "number" ? Numeric<List<Text>> : List<Text>

// -----------------------------------------------------------------------------
// Types
// -----------------------------------------------------------------------------

/** The type of a type name with the rules behind it. */
type NamedType<Name extends string, P> = Name extends "array"
  ? ReadonlyArray<ItemName<P>>
  : Name extends "record"
    ? { readonly [key: string]: ItemName<P> }
    : [Argument<P, "values" | "enum">] extends [never]
      ? Name extends "enum"
        ? string
        : Name extends "geo:point" | `geo:point:${string}`
          ? Coordinates
          : Name extends `geo:${string}`
            ? number
            : NameOf<Name> extends keyof TypeNames
              ? TypeNames[NameOf<Name>]
              : unknown
      : Choices<Name, Argument<P, "values" | "enum">>

type NullOf<P> = Has<P, "nullable"> extends true ? null : never

type RuleType<R extends string> = string extends R
  ? unknown
  : NamedType<Parts<R>[0], Tail<Parts<R>>> | NullOf<Tail<Parts<R>>>

/** An object that says explicitly what it is: every member but `type`, which is a rule, is a known option. */
export type IsExplicit<F> = F extends { readonly type: string }
  ? [Exclude<keyof F, OptionName>] extends [never]
    ? true
    : false
  : false

/** `null` where an explicit definition allows it, as an option or in the text of its type. */
type Nullable<F extends { readonly type: string }> = F extends { readonly nullable: true }
  ? null
  : NullOf<Tail<Parts<F["type"]>>>

type ExplicitType<F extends { readonly type: string }> = F extends { readonly props: infer P }
  ? TypeOf<P>
  : F extends { readonly properties: infer P }
    ? TypeOf<P>
    : F extends { readonly items: infer I }
      ? Parts<F["type"]>[0] extends "record"
        ? { readonly [key: string]: FieldType<I> }
        : ReadonlyArray<FieldType<I>>
      : F extends { readonly values: infer V } | { readonly enum: infer V }
        ? V extends ReadonlyArray<infer One>
          ? One
          : V extends string
            ? Choices<Parts<F["type"]>[0], V>
            : unknown
        : RuleType<F["type"]>

export type FieldType<F> = F extends string
  ? RuleType<F>
  : IsExplicit<F> extends true
    ? F extends { readonly type: string }
      ? ExplicitType<F> | Nullable<F>
      : never
    : F extends object
      ? TypeOf<F> | (F extends { readonly $$type: infer T extends string } ? NullOf<Parts<T>> : never)
      : unknown

type IsOptional<F> = F extends string
  ? Has<Tail<Parts<F>>, "optional">
  : IsExplicit<F> extends true
    ? F extends { readonly optional: true }
      ? true
      : F extends { readonly type: infer T extends string }
        ? Has<Tail<Parts<T>>, "optional">
        : false
    : F extends { readonly $$type: infer T extends string }
      ? Has<Parts<T>, "optional">
      : false

/** `default:false` is a default. */
type HasDefault<F> = F extends string
  ? [Argument<Tail<Parts<F>>, "default">] extends [never]
    ? false
    : true
  : IsExplicit<F> extends true
    ? F extends { readonly default: unknown }
      ? true
      : F extends { readonly type: infer T extends string }
        ? HasDefault<T>
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

// -----------------------------------------------------------------------------
// Problems
// -----------------------------------------------------------------------------

/** What is wrong with a rule, in the place of the rule: the compiler shows it. */
export interface WrongRule<Message extends string> {
  readonly "wrong rule": Message
}

type Digits = `${bigint}`

/** A text of codes of three letters each. */
type Codes<
  Text extends string,
  Found extends string = never
> = Text extends `${infer A}${infer B}${infer C}${infer Rest}` ? Codes<Rest, Found | `${A}${B}${C}`> : Found

type Currency = Codes<typeof currencyCodes> | Words<(typeof cryptoUnits)[keyof typeof cryptoUnits]>

/** What is wrong with the arguments of a type, if anything. */
type ArgumentProblem<Type extends string> = Type extends "geo" | `geo:${string}`
  ? Type extends `geo:${"lat" | "lon" | "point"}` | `geo:${"lat" | "lon" | "point"}:${Digits}`
    ? never
    : "geo is geo:lat, geo:lon or geo:point"
  : Type extends `money:${infer Unit}`
    ? Trim<Unit> extends Digits | Currency
      ? never
      : `unknown currency "${Unit}"`
    : Type extends "embedding" | "bits"
      ? `${Type} needs a number: ${Type}:128`
      : Type extends `${"embedding" | "bits" | "crypto" | "decimal"}:${infer Size}`
        ? Size extends Digits | `${Digits}:${string}`
          ? never
          : `"${Size}" is no number`
        : never

/** The first part of a rule that is none, or does not apply to the type. */
type ModifierProblem<P, Name> = P extends readonly [infer Head, ...infer Rest]
  ? NameOf<Head> extends ModifierName
    ? NameOf<Head> extends ModifiersOf<FamilyOf<Name>>
      ? Head extends `items:${infer Item}`
        ? [RuleProblem<Item>] extends [never]
          ? ModifierProblem<Rest, Name>
          : RuleProblem<Item>
        : ModifierProblem<Rest, Name>
      : `the rule "${NameOf<Head>}" does not apply to ${Name & string}`
    : `unknown rule "${NameOf<Head> & string}"`
  : never

/** What is wrong with a rule; `given`: the options that an explicit definition has beside it. */
type RuleProblem<R extends string, Given = never> = string extends R
  ? never
  : NameOf<Parts<R>[0]> extends keyof TypeNames
    ? [ArgumentProblem<Parts<R>[0]>] extends [never]
      ? [ModifierProblem<Tail<Parts<R>>, NameOf<Parts<R>[0]>>] extends [never]
        ? Parts<R>[0] extends "enum"
          ? [Argument<Parts<R>, "values" | "enum"> | Extract<Given, "values" | "enum">] extends [never]
            ? "an enum needs its values: enum|values:a,b"
            : never
          : never
        : ModifierProblem<Tail<Parts<R>>, NameOf<Parts<R>[0]>>
      : ArgumentProblem<Parts<R>[0]>
    : `unknown type "${NameOf<Parts<R>[0]> & string}"`

type Checked<F, Problem> = [Problem] extends [never] ? F : WrongRule<Problem & string>

/** Of an object as a whole. */
type ObjectRule = "object" | "required" | "optional" | "nullable"

type ObjectProblem<R extends string> = string extends R
  ? never
  : Exclude<Parts<R>[number], ObjectRule> extends infer Wrong extends string
    ? [Wrong] extends [never]
      ? never
      : `unknown rule "${Wrong}" in $$type`
    : never

type OptionProblem<K, T extends string> = string extends T
  ? never
  : K extends ModifierName
    ? NameOf<Parts<T>[0]> extends keyof TypeNames
      ? K extends ModifiersOf<FamilyOf<NameOf<Parts<T>[0]>>>
        ? never
        : `the rule "${K}" does not apply to ${NameOf<Parts<T>[0]>}`
      : never
    : never

type ValidExplicit<F extends { readonly type: string }> = {
  readonly [K in keyof F]: K extends "type"
    ? Checked<
        F[K],
        keyof F & ("props" | "properties") extends never ? RuleProblem<F["type"], keyof F> : ObjectProblem<F["type"]>
      >
    : K extends "props" | "properties"
      ? ValidFields<F[K]>
      : K extends "items"
        ? ValidField<F[K]>
        : Checked<F[K], OptionProblem<K, F["type"]>>
}

type ValidField<F> = F extends string
  ? Checked<F, RuleProblem<F>>
  : IsExplicit<F> extends true
    ? F extends { readonly type: string }
      ? ValidExplicit<F>
      : F
    : F extends object
      ? ValidFields<F>
      : F

type ValidFields<A> = {
  readonly [K in keyof A]: K extends "$$type"
    ? A[K] extends string
      ? Checked<A[K], ObjectProblem<A[K]>>
      : A[K]
    : K extends `_${string}`
      ? WrongRule<`the name "${K}" is reserved`>
      : ValidField<A[K]>
}

/** Definitions as they are, with a message in the place of each rule that is none. */
export type Valid<A> = ValidFields<A> & {
  readonly id?: WrongRule<"id is the primary key, and is there without being declared">
}
