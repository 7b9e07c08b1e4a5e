/**
 * What TypeScript knows of a resource from its declaration: the names of its partitions and unique keys with their fields,
 * the type of its ids, what it keeps beside its documents, and which fields it fills in by itself.
 *
 * @since 0.1.0
 */
import type * as BigDecimal from "effect/BigDecimal"
import type * as DateTime from "effect/DateTime"
import type * as Redacted from "effect/Redacted"
import type { Json, JsonObject } from "./encoding/Json.ts"
import type { Expected, IsNested, NestedKey, ValueAt } from "./internal/merge.ts"
import type * as Partition from "./Partition.ts"
import type * as Query from "./Query.ts"
import type { Holds, PasswordHash } from "./schema/Attribute.ts"
import type * as Attributes from "./schema/Attributes.ts"
import type * as Unique from "./Unique.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a resource can keep beside its documents.
 *
 * @category models
 * @since 0.1.0
 */
export type Feature = "history" | "content" | "counters"

/**
 * What is known of a resource. As it stands: nothing in particular, so that any name may be asked for, and every member is
 * there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Names {
  /** The type of the primary key. */
  readonly id: string
  /** As they are declared, by name. */
  readonly partitions: Readonly<Record<string, Partition.Options>>
  /** As they are declared, by name. */
  readonly unique: Readonly<Record<string, Unique.Options>>
  readonly features: Feature
  /** The partitions that are counted. */
  readonly counted: string
  /** The fields that are filled in whatever a caller gives. */
  readonly filled: string
}

/**
 * What is known of a resource that a program declares.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declared<
  Id extends string,
  Partitions extends Names["partitions"],
  Uniques extends Names["unique"],
  Features extends Feature,
  Counted extends string,
  Filled extends string
> {
  readonly id: Id
  readonly partitions: Partitions
  readonly unique: Uniques
  readonly features: Features
  readonly counted: Counted
  readonly filled: Filled
}

/**
 * Says to TypeScript alone what is known of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Named<N extends Names> {
  "~names"?(names: N): void
}

/**
 * The partitions that `timestamps: true` adds.
 *
 * @category models
 * @since 0.1.0
 */
export type TimestampPartitions = {
  readonly byCreatedDate: { readonly fields: { readonly $createdAt: "date" } }
  readonly byUpdatedDate: { readonly fields: { readonly $updatedAt: "date" } }
}

/**
 * The partitions of a declaration and those that its `timestamps` add.
 *
 * @category models
 * @since 0.1.0
 */
export type AllPartitions<Partitions, Timestamps> = [Timestamps] extends [true]
  ? Partitions & TimestampPartitions
  : Partitions

/**
 * What a declaration switches on.
 *
 * @category models
 * @since 0.1.0
 */
export type Features<History, HasContent, Counters> =
  | (true extends History ? "history" : never)
  | (true extends HasContent ? "content" : never)
  | ([Counters] extends [false | undefined] ? never : "counters")

/**
 * The partitions that a declaration has counted.
 *
 * @category models
 * @since 0.1.0
 */
export type CountedIn<Counters> = Counters extends { readonly partitions?: infer Counted }
  ? Counted extends ReadonlyArray<infer Name extends string>
    ? Name
    : never
  : never

/**
 * The fields that are filled in by a resource of this declaration.
 *
 * @category models
 * @since 0.1.0
 */
export type Filled<Key, Timestamps, Userstamps, Computed> =
  | ([Timestamps] extends [true] ? "createdAt" | "updatedAt" : never)
  | ([Userstamps] extends [true] ? "createdBy" | "updatedBy" : never)
  // The primary key is never computed: who names it names every field, and so none in particular.
  | (Key extends Computed ? never : Computed & string)

// -----------------------------------------------------------------------------
// Documents
// -----------------------------------------------------------------------------

/**
 * A document by the fields that are stored: what its schema gives, without the getters and methods of classes.
 *
 * @category models
 * @since 0.1.0
 */
export type Stored<S extends Attributes.DocumentSchema> = unknown extends S["Type"] | S["~type.make.in"]
  ? S["Type"]
  : string extends keyof S["Type"]
    ? S["Type"]
    : [ExtraBelow<S["Type"], S["Encoded"]>] extends [never]
      ? [Exclude<keyof S["Type"], keyof Exclude<S["~type.make.in"], void>>] extends [never]
        ? S["Type"]
        : Pick<S["Type"], keyof Exclude<S["~type.make.in"], void> & keyof S["Type"]>
      : WithoutExtra<S["Type"], Exclude<S["~type.make.in"], void>, S["Encoded"]>

type WithoutExtra<T, In, E> = {
  readonly [K in keyof T as K extends keyof In ? K : never]: K extends keyof E ? WithoutExtraIn<T[K], E[K]> : T[K]
}

type WithoutExtraIn<V, E> =
  IsNested<NonNullable<V>> extends true
    ? [ExtraAt<NonNullable<V>, NonNullable<E>, []>] extends [never]
      ? V
      : | WithoutExtra<NonNullable<V>, Unrenamed<NonNullable<V>, NonNullable<E>>, NonNullable<E>>
        | Extract<V, null | undefined>
    : V

/** Names of what the classes below the fields of a document have beside their fields: what their encoded form has not. */
type ExtraBelow<T, E, Depth extends ReadonlyArray<0> = []> = Depth["length"] extends 5
  ? never
  : ExtraIn<T, E, NestedKey<T> & keyof E, [...Depth, 0]>

type ExtraIn<T, E, K extends keyof T & keyof E, Depth extends ReadonlyArray<0>> = K extends unknown
  ? ExtraAt<NonNullable<T[K]>, NonNullable<E[K]>, Depth>
  : never

type ExtraAt<T, E, Depth extends ReadonlyArray<0>> =
  | ([Exclude<keyof T, keyof E>] extends [never] ? never : Exclude<keyof T, keyof Unrenamed<T, E>>)
  | ExtraBelow<T, E, Depth>

/** The encoded form where it has the names of the document, else the document itself. */
type Unrenamed<T, E> = [keyof E] extends [never] ? T : [Exclude<keyof E, keyof T>] extends [never] ? E : T

// -----------------------------------------------------------------------------
// Keys
// -----------------------------------------------------------------------------

/** The value of a field in a key: as documents have it, or in its JSON form. */
type KeyValue<S extends Attributes.DocumentSchema, Path extends string> = Path extends "$createdAt" | "$updatedAt"
  ? DateTime.Utc | string
  : Path extends "$schemaVersion"
    ? number
    : WithJson<Exclude<ValueAt<S["Type"], Path>, null | undefined>, S["Encoded"], Path>

type WithJson<V, E, Path extends string> = string extends V
  ? V
  : V | (string extends keyof E ? JsonForm<V> : JsonForm<Exclude<ValueAt<E, Path>, null | undefined>>)

type JsonForm<V> = V extends string | number | boolean
  ? V
  : V extends Date | DateTime.DateTime | bigint | BigDecimal.BigDecimal
    ? string
    : never

type FieldsOf<O> =
  O extends ReadonlyArray<infer Field>
    ? Field & string
    : O extends { readonly fields: infer Fields }
      ? Fields extends ReadonlyArray<infer Field>
        ? Field extends string
          ? Field
          : string
        : keyof Fields & string
      : never

/** What the transform of a field can make of its value, beside the value itself. */
type Transformed<O, Path extends string> = O extends { readonly fields: { readonly [K in Path]: infer Rule } }
  ? Rule extends `${string}bucket:${string}`
    ? number
    : string
  : never

/**
 * Values of the fields of a partition, by path: as documents or JSON have them, or what a transform has made of them.
 *
 * @category models
 * @since 0.1.0
 */
export type PartitionValues<S extends Attributes.DocumentSchema, O> =
  string extends FieldsOf<O>
    ? Readonly<Record<string, unknown>>
    : { readonly [Path in FieldsOf<O>]?: KeyValue<S, Path> | Transformed<O, Path> }

/**
 * Values of the fields of a unique key, by path: as documents or JSON have them.
 *
 * @category models
 * @since 0.1.0
 */
export type UniqueValues<S extends Attributes.DocumentSchema, O> =
  string extends FieldsOf<O> ? Readonly<Record<string, unknown>> : { readonly [Path in FieldsOf<O>]: KeyValue<S, Path> }

/**
 * A part of a partition: the documents with these values of its fields, of all of them or of the first ones.
 *
 * @category models
 * @since 0.1.0
 */
export interface InPartition<S extends Attributes.DocumentSchema, out Name extends string, O> {
  readonly partition: Name
  /** By the path of the field. Values as documents or JSON have them; transforms are applied, or have been. */
  readonly values?: PartitionValues<S, O> | undefined
  /** The least value of the field that follows, inclusive: a number or a date. */
  readonly from?: PartitionValues<S, O>[keyof PartitionValues<S, O>]
  /** The greatest value of the field that follows, inclusive: a number or a date. */
  readonly to?: PartitionValues<S, O>[keyof PartitionValues<S, O>]
  /** What the text of the field that follows begins with. */
  readonly startsWith?: string | undefined
}

/**
 * All documents of a resource, whatever partitions they are in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Everywhere {
  readonly partition?: undefined
  readonly values?: undefined
  readonly from?: undefined
  readonly to?: undefined
  readonly startsWith?: undefined
}

type Partitioned<S extends Attributes.DocumentSchema, P> = {
  readonly [Name in keyof P & string]: InPartition<S, Name, P[Name]>
}[keyof P & string]

/** What TypeScript says in the place of names that there are not. */
type None = "(the resource declares none)"

/**
 * The names in a part of a declaration.
 *
 * @category models
 * @since 0.1.0
 */
export type NameOf<Part> = [keyof Part] extends [never] ? None : keyof Part & string

/**
 * Which documents are meant: all, or those of a partition.
 *
 * @category models
 * @since 0.1.0
 */
export type Within<S extends Attributes.DocumentSchema, N extends Names> = string extends keyof N["partitions"]
  ? Query.Within
  : Everywhere | Partitioned<S, N["partitions"]>

/**
 * Which partition is meant, and which documents of it.
 *
 * @category models
 * @since 0.1.0
 */
export type Part<S extends Attributes.DocumentSchema, N extends Names> = string extends keyof N["partitions"]
  ? Query.Within
  : [keyof N["partitions"]] extends [never]
    ? InPartition<S, None, never>
    : Partitioned<S, N["partitions"]>

/**
 * Which documents have been counted: all, or those of a partition that is counted.
 *
 * @category models
 * @since 0.1.0
 */
export type Counted<S extends Attributes.DocumentSchema, N extends Names> = string extends N["counted"]
  ? Pick<Query.Within, "partition" | "values">
  : | Pick<Everywhere, "partition" | "values">
    | {
        readonly [Name in N["counted"] & keyof N["partitions"]]: Pick<
          InPartition<S, Name, N["partitions"][Name]>,
          "partition" | "values"
        >
      }[N["counted"] & keyof N["partitions"]]

/**
 * The partitions whose markers cover fields.
 *
 * @category models
 * @since 0.1.0
 */
export type Covering<P> = string extends keyof P ? P : Pick<P, CoveringName<P>>

type CoveringName<P> = { readonly [Name in keyof P]: "covering" extends keyof P[Name] ? Name : never }[keyof P]

/**
 * What the markers of a partition tell.
 *
 * @category models
 * @since 0.1.0
 */
export type Covered<Id extends string, O> = Query.Covered<Id, JsonAt<FieldsOf<O>>, JsonAt<CoveredOf<O>>>

type JsonAt<Path extends string> = { readonly [P in Path]?: Json }

/** The paths that the markers of a partition cover. */
type CoveredOf<O> = O extends { readonly covering?: infer Paths }
  ? Paths extends ReadonlyArray<infer Path>
    ? Path extends string
      ? Path
      : string
    : never
  : never

/**
 * A document in JSON form with the fields that are named by their paths. What it lacks is not there.
 *
 * @category models
 * @since 0.1.0
 */
export type Selected<S extends Attributes.DocumentSchema, Path extends string> = [Path] extends [never]
  ? JsonObject
  : string extends Path | keyof S["Encoded"]
    ? JsonObject
    : SelectedIn<S["Encoded"], Path>

type SelectedIn<E, Path extends string> = {
  readonly [Head in HeadOf<E, Path>]?: Head extends Path
    ? Head extends keyof E
      ? JsonOf<E[Head]>
      : SystemField<Head>
    : Head extends keyof E
      ? SelectedIn<NonNullable<E[Head]>, RestOf<Path, Head>> | Extract<E[Head], null>
      : Json
}

/** What a path begins with: the whole of it where there is a field called so. */
type HeadOf<E, Path extends string> = Path extends keyof E ? Path : Path extends `${infer Head}.${string}` ? Head : Path

type RestOf<Path extends string, Head extends string> = Path extends `${Head}.${infer Rest}` ? Rest : never

type SystemField<Name extends string> = Name extends "$createdAt" | "$updatedAt"
  ? string
  : Name extends "$schemaVersion"
    ? number
    : Json

type JsonOf<V> = V extends string | number | boolean | null
  ? V
  : V extends undefined
    ? never
    : V extends Date | DateTime.DateTime | bigint | BigDecimal.BigDecimal
      ? string
      : Json

/**
 * Finds fields in the partitions of a declaration that the schema has not, or that are secret or hold a secret.
 *
 * @category models
 * @since 0.1.0
 */
export type KnownPartitions<S extends Attributes.DocumentSchema, P> = string extends keyof P
  ? unknown
  : {
      readonly [Name in keyof P]: Expected<Missing<KeyForm<S>, FieldsOf<P[Name]> | CoveredOf<P[Name]>>> &
        InClear<Concealed<S["Type"], FieldsOf<P[Name]> | CoveredOf<P[Name]>>>
    }

/**
 * Finds fields in the unique keys of a declaration that the schema has not, or that are secret or hold a secret, while the
 * key is not blind.
 *
 * @category models
 * @since 0.1.0
 */
export type KnownUniques<S extends Attributes.DocumentSchema, U> = string extends keyof U
  ? unknown
  : {
      readonly [Name in keyof U]: Expected<Missing<KeyForm<S>, FieldsOf<U[Name]>>> &
        (U[Name] extends { readonly blind: true }
          ? NoPassword<Concealed<S["Type"], FieldsOf<U[Name]>, PasswordHash>>
          : InClear<Concealed<S["Type"], FieldsOf<U[Name]>>>)
    }

/** What the paths of keys lead through: the stored form. */
type KeyForm<S extends Attributes.DocumentSchema> = string extends keyof S["Encoded"] ? S["Type"] : S["Encoded"]

/** The paths that lead nowhere. */
type Missing<A, Path extends string> = string extends Path
  ? never
  : Path extends (typeof Partition.systemFields)[number]
    ? never
    : HasPath<A, Path> extends true
      ? never
      : Path

/** The paths of what is secret, or holds a secret. */
type Concealed<A, Path extends string, X = Redacted.Redacted<unknown> | PasswordHash> = string extends Path
  ? never
  : Path extends string
    ? true extends Holds<ValueAt<A, Path>, X>
      ? Path
      : never
    : never

/** Nothing more, or what no declaration is. */
type InClear<Path extends string> = [Path] extends [never] ? unknown : SecretField<Path>

/** The same for what is blind. */
type NoPassword<Path extends string> = [Path] extends [never] ? unknown : PasswordField<Path>

/** Stands in an error of TypeScript. */
interface PasswordField<Path extends string> {
  readonly "a password, and the hashes of equal ones differ": Path
}

/** Stands in an error of TypeScript. */
interface SecretField<Path extends string> {
  readonly "a secret field, and keys are in clear": Path
}

type HasPath<A, Path extends string> = string extends keyof A
  ? true
  : Path extends keyof A
    ? true
    : Path extends `${infer Head}.${infer Rest}`
      ? Head extends keyof A
        ? HasPath<NonNullable<A[Head]>, Rest>
        : false
      : false
