/**
 * Definitions of resources: what is declared, checked, and worked out once.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Catalog from "./Catalog.ts"
import * as Companion from "./Companion.ts"
import * as Id from "./crypto/Id.ts"
import { CurrentUser } from "./CurrentUser.ts"
import type { KeyRing } from "./crypto/KeyRing.ts"
import type { PasswordHasher } from "./crypto/PasswordHasher.ts"
import type * as Behavior from "./encoding/Behavior.ts"
import { isDeeperThan, type Json, type JsonObject } from "./encoding/Json.ts"
import { mapValues } from "./internal/json.ts"
import * as merge from "./internal/merge.ts"
import * as Counter from "./kernel/Counter.ts"
import * as Sequence from "./kernel/Sequence.ts"
import type {
  AllPartitions,
  CountedIn,
  Declared,
  Features,
  Filled,
  KnownPartitions,
  KnownUniques,
  Named,
  NameOf,
  Names,
  Stored
} from "./Names.ts"
import * as Partition from "./Partition.ts"
import * as Portable from "./Portable.ts"
import type { Holds, PasswordHash } from "./schema/Attribute.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Rules from "./schema/Rules.ts"
import * as Unique from "./Unique.ts"

/**
 * The fields of a schema that can be its primary key: required, and of a kind of string.
 *
 * @category models
 * @since 0.1.0
 */
export type PrimaryKey<S extends Attributes.DocumentSchema> = {
  readonly [K in keyof S["Type"]]-?: S["Type"][K] extends string ? K : never
}[keyof Stored<S> & keyof S["Type"]] &
  string

/**
 * The change of a document, as JSON, from one schema version to the next. Secrets in it are in clear.
 *
 * @category models
 * @since 0.1.0
 */
export type Migration = (document: JsonObject) => JsonObject

/**
 * The numbers that are kept beside that of all documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface CounterOptions<out Partition extends string = string> {
  /** Partitions of which each value is counted as well: ones with hundreds of values rather than with millions. */
  readonly partitions?: ReadonlyArray<Partition> | undefined
  /** Objects over which the counts are spread, so that writers do not wait for each other. 1 to 64, default 8. */
  readonly shards?: number | undefined
}

/**
 * What the entries of a journal carry along.
 *
 * @category models
 * @since 0.1.0
 */
export interface JournalOptions {
  /** The document as it is stored: after the write, before and after it, or neither. Default `"none"`. */
  readonly images?: "none" | "after" | "both" | undefined
  /** Whether entries have the id of the `CurrentUser` and what `WriteContext` says. Default `false`. */
  readonly context?: boolean | undefined
}

/**
 * The demand on a schema beside a schema: one struct or class of fields.
 *
 * @category models
 * @since 0.1.0
 */
export type OneStruct<S extends Attributes.DocumentSchema> = S["ast"] extends AST.Objects | AST.Declaration
  ? unknown
  : AST.AST extends S["ast"]
    ? unknown
    : UnsupportedSchema<"a resource needs one struct or class of fields: a field can be a union, a whole document cannot">

/**
 * Stands where a primary key is named and the schema has no field that can be one.
 *
 * @category models
 * @since 0.1.0
 */
export type NoPrimaryKey<S extends Attributes.DocumentSchema> = [PrimaryKey<S>] extends [never]
  ? UnsupportedSchema<"a primary key is a required field that is a string, and the schema has none: add one, such as id: Id.Random">
  : never

/**
 * Stands in an error of TypeScript.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnsupportedSchema<Reason extends string> {
  readonly "unsupported schema": Reason
}

/**
 * The part of a declaration beside its schema, with the names of partitions and unique keys and what is switched on, so that
 * TypeScript gets to know them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings<
  S extends Attributes.DocumentSchema,
  Partitions = Names["partitions"],
  Uniques = Names["unique"],
  Counters = boolean | CounterOptions,
  History = boolean,
  HasContent = boolean,
  Timestamps = boolean,
  Userstamps = boolean,
  Computed extends keyof Stored<S> = keyof Stored<S>
> {
  /** Whether `deleteAll` is allowed. Default `false`. */
  readonly allowDeleteAll?: boolean | undefined
  /** What becomes of a document that does not fit into metadata. Default `"body-overflow"`. */
  readonly behavior?: Behavior.Behavior | undefined
  /**
   * Whether documents are compressed where that makes them smaller by a quarter: with `"body-overflow"` all fields of one that takes more
   * than 1,536 bytes of metadata, with other behaviors those that go to the body. Secrets and password hashes are not, nor is binary content.
   * What the library adds in the body, where no field is in it, is then binary, 20 bytes in the place of 42.
   * No request more. Documents are read whatever it says, and it can be changed at any time, which makes another version as every change
   * of the definition does. Who opens the resource from the catalog writes as the definition there says.
   *
   * Default: `Database.Options.compression`; without that, `true` for a resource that is new, and what it was for one that
   * an earlier release has begun. `true` there keeps that release from writing its documents from then on.
   */
  readonly compression?: boolean | undefined
  /** Fields that are always in metadata, or always in the body, by their path (`"address.city"`). */
  readonly pin?:
    | {
        readonly metadata?: ReadonlyArray<string> | undefined
        readonly body?: ReadonlyArray<string> | undefined
      }
    | undefined
  /**
   * The number of this version of the schema, from 1. Without it versions are counted by the catalog, in the order in
   * which they come into use. Give it where there are migrations; raise it with every change of the schema.
   */
  readonly version?: number | undefined
  /**
   * What turns a document of one version into one of the next, by the version that it has before. It is applied when
   * such a document is read; a change of the document, or `migrate`, writes it in the present version.
   */
  readonly migrations?: Readonly<Record<number, Migration>> | undefined
  /**
   * Which documents can be listed by the values of some fields, by the name of the partition: paths of fields
   * (`["country", "address.city"]`), or fields with transforms (`{ fields: { createdAt: "month" } }`). See `Partition`.
   */
  readonly partitions?: Partitions | undefined
  /**
   * What documents own beside themselves, by the name of the companion: see `Companion`. They belong to the resource, not to a
   * version of its definition: programs that do not declare one can write only what leaves its fields as they are.
   */
  readonly companions?: Readonly<Record<string, Companion.Companion | Companion.Definition>> | undefined
  /** Fields whose values together no two documents share, by the name of the unique key. See `Unique`. */
  readonly unique?: Uniques | undefined
  /**
   * How long a reservation of a unique value protects a write that is under way. Default 60 seconds; writers and those
   * who take over have to agree on it. Longer than any pause of a process that is to be survived.
   */
  readonly uniqueLease?: Duration.Input | undefined
  /** Keeps every version that is replaced or deleted, so that `history`, `getAt` and `restore` work. Default `false`. */
  readonly history?: History | undefined
  /** Lets documents have binary content: `setContent`, `getContent`. Default `false`. */
  readonly content?: HasContent | undefined
  /**
   * Keeps the number of documents in a few objects, and of partitions the number for each value, for `estimatedCount`.
   * Each write that changes a number costs 1 GET and 1 PUT more, for writes at the same time together; a replace or delete
   * reads first. Programs that do not declare it count, too, as long as the current version of the resource does. For
   * documents that are there already, `recount` once.
   */
  readonly counters?: Counters | undefined
  /**
   * Leaves an entry in the journal of the database (`Database.journal`) for each version that is committed, whoever writes it and
   * however, so that consumers see every change once and in order. `true`: which document was written, how and when, neither by
   * whom nor what it says. With options also by whom (`context: true`), and the document as it was stored, secrets sealed
   * (`images`). Default: what the catalog says, at first none.
   *
   * Each write costs 1 PUT more, beside those of markers; a replacement or deletion reads first, and a deletion leaves a small object
   * that whoever keeps the journal removes. Programs that do not declare it keep it, too, older and newer ones: from one `catalogLease`
   * after it was registered it misses nothing. It ends with a version that says `false`.
   */
  readonly journal?: boolean | JournalOptions | undefined
  /** What plugins need to know of the resource, by their names; it travels with the definition. */
  readonly plugins?: Readonly<Record<string, Json>> | undefined
  /** Whether queries may read every document without saying `scan: true`. Default `false`. */
  readonly scan?: boolean | undefined
  /**
   * What becomes of a key in an input that the schema does not know, at any depth, by whatever way it is written. `"error"`, the
   * default, refuses the input by the name of the key (`InvalidInput`); `"ignore"` drops the key, as Effect's schemas do.
   * What other versions of the program have stored is no input: it stays as it is either way.
   */
  readonly onExcessProperty?: "error" | "ignore" | undefined
  /**
   * `true`: the resource can only be opened with a guard (`Resource.guard`), also from the catalog; opening it otherwise
   * fails at once. Default `false`.
   */
  readonly guarded?: boolean | undefined
  /**
   * `true` adds the partitions `byCreatedDate` and `byUpdatedDate`, and fills in the fields `createdAt` and `updatedAt`
   * where the schema has them, whatever a caller gives. A field may be a `DateTime.Utc`, a `Date`, a text (ISO 8601) or a
   * number (milliseconds); declare it optional or with a default, so that inserts can leave it out. Default `false`.
   */
  readonly timestamps?: Timestamps | undefined
  /**
   * `true` fills in the fields `createdBy` and `updatedBy`, where the schema has them, with the id of the `CurrentUser` of
   * the writing fiber. Without a user `createdBy` is left out and `updatedBy` stays. A `replace` then reads first. Default
   * `false`.
   */
  readonly userstamps?: Userstamps | undefined
  /**
   * Fields that are made of the others at every write, whatever a caller gives, by name; in this order, each seeing those
   * before. A function gives `undefined` to leave its field out. It has to be pure.
   */
  readonly computed?: { readonly [K in Computed]?: (document: Stored<S>) => Stored<S>[K] | undefined } | undefined
}

/**
 * The declaration of a resource. `Options<S>` is any declaration; see `Settings` for the other parameters.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  S extends Attributes.DocumentSchema,
  Key extends PrimaryKey<S> = PrimaryKey<S>,
  Partitions = Names["partitions"],
  Uniques = Names["unique"],
  Counters = boolean | CounterOptions,
  History = boolean,
  HasContent = boolean,
  Timestamps = boolean,
  Userstamps = boolean,
  Computed extends keyof Stored<S> = keyof Stored<S>
> extends Settings<S, Partitions, Uniques, Counters, History, HasContent, Timestamps, Userstamps, Computed> {
  /** A struct or class of fields that needs no services. */
  readonly schema: S & OneStruct<S>
  /** The field that identifies a document. It becomes part of the key, so it costs no metadata. */
  readonly primaryKey: Key | NoPrimaryKey<S>
  /** The name in the bucket. Default: what follows the last `/` of the service's id. */
  readonly name?: string | undefined
}

/** A declaration with any names. */
type AnyOptions<
  S extends Attributes.DocumentSchema,
  Key extends PrimaryKey<S>,
  Computed extends keyof Stored<S>
> = Options<
  S,
  Key,
  Names["partitions"],
  Names["unique"],
  boolean | CounterOptions,
  boolean,
  boolean,
  boolean,
  boolean,
  Computed
>

/**
 * A resource as it was declared, checked and worked out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Definition<S extends Attributes.DocumentSchema, N extends Names = Names>
  extends Catalog.Declaration, Named<N> {
  readonly schema: S
  readonly primaryKey: PrimaryKey<S>
  readonly allowDeleteAll: boolean
  readonly behavior: Behavior.Behavior
  readonly pin?: Options<S>["pin"]
  readonly pins: Behavior.Pins
  /** By the version that a document has before the step. */
  readonly migrations: Readonly<Record<number, Migration>>
  readonly partitions: Readonly<Record<string, Partition.Definition>>
  readonly uniques: Readonly<Record<string, Unique.Definition>>
  readonly companions: Readonly<Record<string, Companion.Definition>>
  /** The functions of those, by name. */
  readonly companionKeys: Readonly<Record<string, Companion.Options["keys"]>>
  /** Milliseconds that a reservation of a unique value protects a write that is under way. */
  readonly uniqueLease: number
  /** Whether queries may read every document without saying so. */
  readonly scan: boolean
  /** What becomes of a key in an input that the schema does not know: see `Settings`. */
  readonly onExcessProperty: "error" | "ignore"
  /** Whether earlier versions are kept. */
  readonly history: boolean
  /** Whether documents may have binary content. */
  readonly content: boolean
  /** What fills in fields before a version is written. */
  readonly completion: Completion | undefined
  /** What is counted as documents come and go. */
  readonly counters: Portable.Counters | undefined
  /** What the entries of its journal carry along, if it has one. */
  readonly journal: Portable.Journal | undefined
  /** What plugins need to know of it, by their names. */
  readonly plugins: Readonly<Record<string, Json>>
  /** Whether it can be opened with a guard only. */
  readonly guarded: boolean
  /** Who has declared it: a program, or the catalog for one that does not. */
  readonly origin: "program" | "catalog"
  /** What of it cannot be written, if anything. */
  readonly unwritable: Unwritable | undefined
}

/**
 * What must not be written of a resource by who does not know all of its definition: `whole`, why no document can be; else
 * the fields that must stay as they are, or stay away.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unwritable {
  readonly whole: string | undefined
  readonly fields: ReadonlyArray<{ readonly path: ReadonlyArray<string>; readonly why: string }>
}

/**
 * Checks a declaration. Throws `UnsupportedSchema` for a schema that cannot be stored: that is a mistake in the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = <
  S extends Attributes.DocumentSchema,
  Key extends PrimaryKey<S>,
  const Partitions extends Names["partitions"] = {},
  const Uniques extends Names["unique"] = {},
  const Counters extends boolean | CounterOptions<NameOf<AllPartitions<Partitions, Timestamps>>> = false,
  History extends boolean = false,
  HasContent extends boolean = false,
  Timestamps extends boolean = false,
  Userstamps extends boolean = false,
  Computed extends keyof Stored<S> = never
>(
  id: string,
  options: Options<
    S,
    Key,
    Partitions & KnownPartitions<S, Partitions>,
    Uniques & KnownUniques<S, Uniques>,
    Counters,
    History,
    HasContent,
    Timestamps,
    Userstamps,
    Computed
  >
): Definition<
  S,
  Declared<
    S["Type"][Key] & string,
    AllPartitions<Partitions, Timestamps>,
    Uniques,
    Features<History, HasContent, Counters>,
    CountedIn<Counters>,
    Filled<Key, Timestamps, Userstamps, Computed>
  >
> => check(id, options, keyOf<S, Key>(options.primaryKey))

/**
 * Gives a definition that there is already, or checks a declaration: `define` for any names.
 *
 * @category constructors
 * @since 0.1.0
 */
export const from = <S extends Attributes.DocumentSchema, Key extends PrimaryKey<S>, Computed extends keyof Stored<S>>(
  id: string,
  declared: AnyOptions<S, Key, Computed>
): Definition<S> => (isDefinition<S>(declared) ? declared : check(id, declared, keyOf<S, Key>(declared.primaryKey)))

const isDefinition = <S extends Attributes.DocumentSchema>(declared: object): declared is Definition<S> =>
  "portable" in declared

/** No key of another type compiles. */
const keyOf = <S extends Attributes.DocumentSchema, Key extends PrimaryKey<S>>(key: Key | NoPrimaryKey<S>): Key =>
  key as Key

const check = <S extends Attributes.DocumentSchema, Key extends PrimaryKey<S>, Computed extends keyof Stored<S>>(
  id: string,
  options: Omit<AnyOptions<S, Key, Computed>, "primaryKey">,
  primaryKey: Key
): Definition<S> => {
  const name = options.name ?? id.slice(id.lastIndexOf("/") + 1)
  if (name === "" || name === "__proto__" || !name.isWellFormed()) {
    throw new Attributes.UnsupportedSchema(`${JSON.stringify(name)} cannot be the name of a resource`)
  }
  const attributes = Attributes.fromSchema(options.schema, primaryKey)
  for (const [field, given] of Attributes.constructorDefaults(options.schema)) {
    const problem = Sequence.problemOf(Id.incrementalOf(given) ?? {})
    if (problem !== undefined) {
      throw new Attributes.UnsupportedSchema(`Id.incremental of ${name}.${field}: ${problem}`)
    }
  }
  const paths = new Set(attributes.map((attribute) => attribute.path.join(".")))
  const pinned = (place: "metadata" | "body"): ReadonlySet<string> => {
    for (const path of options.pin?.[place] ?? []) {
      if (!paths.has(path)) {
        throw new Attributes.UnsupportedSchema(`pin.${place} names ${JSON.stringify(path)}, which is no field`)
      }
    }
    return new Set(options.pin?.[place])
  }
  const version = options.version
  if (version !== undefined && (!Number.isSafeInteger(version) || version < 1)) {
    throw new Attributes.UnsupportedSchema(`the version of ${name} must be an integer from 1, not ${version}`)
  }
  const behavior = options.behavior ?? "body-overflow"
  const partitions = Object.fromEntries(
    Object.entries({ ...(options.timestamps === true ? timestampPartitions : {}), ...options.partitions }).map(
      ([label, partition]) => [label, Partition.define(label, partition, attributes)]
    )
  )
  const uniques = Object.fromEntries(
    Object.entries(options.unique ?? {}).map(([label, unique]) => [label, Unique.define(label, unique, attributes)])
  )
  const companions = mapValues(options.companions ?? {}, (one, label) => {
    if ("keys" in one) return one
    throw new Attributes.UnsupportedSchema(`companion ${JSON.stringify(label)} needs a function that makes its keys`)
  })
  const { allowDeleteAll = false, timestamps = false, userstamps = false, computed = {} } = options
  const { history = false, content = false, scan = false, guarded = false, plugins = {} } = options
  const { compression, onExcessProperty = "error" } = options
  const uniqueLease =
    options.uniqueLease === undefined
      ? Unique.defaultLeaseMillis
      : Duration.toMillis(Duration.fromInputUnsafe(options.uniqueLease))
  const completion = completionOf(name, merge.fieldTypes(AST.toType(options.schema.ast)), primaryKey, {
    timestamps,
    userstamps,
    computed
  })
  const journal = journalOf(name, options.journal)
  const counters = countersOf(name, options.counters, partitions)
  const flags = Object.entries({
    history,
    content,
    scan,
    timestamps,
    userstamps,
    guarded,
    journal: journal !== undefined
  })
    .filter(([, isOn]) => isOn)
    .map(([flag]) => flag as Portable.Flag)
  const portable = Portable.fromDefinition(options.schema, {
    behavior: typeof behavior === "string" ? behavior : "user-managed",
    paranoid: !allowDeleteAll,
    pin: { metadata: options.pin?.metadata ?? [], body: options.pin?.body ?? [] },
    hasMigrations: Object.keys(options.migrations ?? {}).length > 0,
    hasComputed: Object.keys(computed).length > 0,
    flags,
    plugins,
    counters,
    journal: options.journal === false ? false : journal,
    onExcessProperty,
    uniqueLease,
    compression,
    partitions,
    uniques
  })
  // In the catalog a few levels are around it.
  if (isDeeperThan(portable, Catalog.mostLevels - 50)) {
    throw new Attributes.UnsupportedSchema(`the schema of ${name} is nested too deep for the catalog`)
  }
  return {
    name,
    schema: options.schema,
    primaryKey,
    allowDeleteAll,
    behavior,
    pin: options.pin,
    portable,
    pins: { metadata: pinned("metadata"), body: pinned("body") },
    migrations: options.migrations ?? {},
    attributes,
    partitions,
    uniques,
    companions: mapValues(companions, (one, label) => Companion.define(label, one, attributes)),
    companionKeys: mapValues(companions, ({ keys }) => keys),
    scan,
    onExcessProperty,
    history,
    content,
    completion,
    counters,
    journal,
    uniqueLease,
    plugins,
    guarded,
    origin: "program",
    unwritable: undefined,
    ...(compression === undefined ? {} : { compression }),
    ...(version === undefined ? {} : { version })
  }
}

/** Checks what is to be counted: a partition that is not there, or a wrong number of shards, is a mistake. */
const countersOf = (
  name: string,
  options: boolean | CounterOptions | undefined,
  partitions: Readonly<Record<string, unknown>>
): Portable.Counters | undefined => {
  if (options === undefined || options === false) return undefined
  const { partitions: counted = [], shards = Counter.defaultShards } = options === true ? {} : options
  const unknown = counted.find((partition) => !Object.hasOwn(partitions, partition))
  if (unknown !== undefined) {
    const problem = `counters of ${name} name ${JSON.stringify(unknown)}, which is no partition of it`
    throw new Attributes.UnsupportedSchema(problem)
  }
  if (!Number.isInteger(shards) || shards < 1 || shards > Counter.maxShards) {
    const problem = `counters of ${name} need 1 to ${Counter.maxShards} shards, not ${shards}`
    throw new Attributes.UnsupportedSchema(problem)
  }
  return { partitions: counted, shards }
}

const journalOf = (
  name: string,
  options: boolean | JournalOptions | undefined = false
): Portable.Journal | undefined => {
  if (options === false) return undefined
  const { context = false, images = "none" } = options === true ? {} : options
  // A definition may be made of data.
  if (!["none", "after", "both"].includes(images)) {
    throw new Attributes.UnsupportedSchema(`journal.images of ${name} must be "none", "after" or "both"`)
  }
  return { images, context }
}

const timestampPartitions: Readonly<Record<string, Partition.Options>> = {
  byCreatedDate: { fields: { $createdAt: "date" } },
  byUpdatedDate: { fields: { $updatedAt: "date" } }
}

/**
 * The way in which ids are made for documents that are inserted without one: 22 random characters, a ULID, or a UUID
 * version 7.
 *
 * @category models
 * @since 0.1.0
 */
export type IdKind = "random" | "ulid" | "uuidv7"

const idFields = { random: Id.Random, ulid: Id.Ulid, uuidv7: Id.UuidV7 } as const

/**
 * The schema of a resource declared in the rule notation: its attributes and `id`.
 *
 * @category models
 * @since 0.1.0
 */
export type FromAttributes<A> = Rules.Compiled<
  Simplify<{ readonly id: string } & Rules.Type<A>>,
  Simplify<{ readonly id?: string } & Rules.Input<A>>
>

type Simplify<T> = { [K in keyof T]: T[K] } & {}

/**
 * Declares a resource in the rule notation (see `schema/Rules`). Its primary key is `id`, which is made when an insert
 * leaves it out. What comes out can be given to `Service` and to `make`.
 *
 * ```ts
 * import * as Resource from "effect-s3db/Resource"
 *
 * const users = Resource.fromAttributes("users", { name: "string|min:2", age: "number|optional" })
 *
 * class Users extends Resource.Service<Users>()("app/users", users) {}
 * ```
 *
 * Throws `UnsupportedSchema`, which names every wrong rule; wrong rules that TypeScript can see are compile errors.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromAttributes = <
  const A extends Rules.Attributes,
  const Partitions extends Names["partitions"] = {},
  const Uniques extends Names["unique"] = {},
  const Counters extends boolean | CounterOptions<NameOf<AllPartitions<Partitions, Timestamps>>> = false,
  History extends boolean = false,
  HasContent extends boolean = false,
  Timestamps extends boolean = false,
  Userstamps extends boolean = false,
  Computed extends keyof Stored<FromAttributes<A>> = never
>(
  name: string,
  attributes: A & Rules.Valid<A>,
  options: Settings<
    FromAttributes<A>,
    Partitions & KnownPartitions<FromAttributes<A>, Partitions>,
    Uniques & KnownUniques<FromAttributes<A>, Uniques>,
    Counters,
    History,
    HasContent,
    Timestamps,
    Userstamps,
    Computed
  > & { readonly idKind?: IdKind | { readonly incremental: Id.IncrementalOptions } } = {}
): Definition<
  FromAttributes<A>,
  Declared<
    string,
    AllPartitions<Partitions, Timestamps>,
    Uniques,
    Features<History, HasContent, Counters>,
    CountedIn<Counters>,
    Filled<"id", Timestamps, Userstamps, Computed>
  >
> => {
  const { idKind = "random", ...rest } = options
  const id = typeof idKind === "string" ? idFields[idKind] : Id.incremental(idKind.incremental)
  const compiled = Rules.toSchema<A>(attributes, { id })
  const schema = Schema.make<FromAttributes<A>>(compiled.ast)
  return check(name, { schema, name, ...rest }, "id" as PrimaryKey<FromAttributes<A>>)
}
/**
 * Any definition, as far as its documents do not matter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any extends Catalog.Declaration {
  readonly schema: Attributes.DocumentSchema
  readonly partitions: Readonly<Record<string, Partition.Definition>>
  readonly uniques: Readonly<Record<string, Unique.Definition>>
  readonly scan: boolean
}

/**
 * Lists what of a definition cannot travel with the catalog, by path.
 *
 * @category getters
 * @since 0.1.0
 */
export const omissions = <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): ReadonlyArray<Portable.Omission> => {
  const portable = Portable.toDefinition(definition.portable)
  return Result.isSuccess(portable) ? portable.success.portable.omitted : []
}

/**
 * The services that a resource needs beside its database: a `KeyRing` for secrets, a `PasswordHasher` for passwords.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<A> =
  | (true extends Holds<A, Redacted.Redacted<unknown>> ? KeyRing : never)
  | (true extends Holds<A, PasswordHash> ? PasswordHasher : never)

// -----------------------------------------------------------------------------
// Fields that fill themselves in
// -----------------------------------------------------------------------------

/** The fields that are filled in. */
interface CompletionOptions {
  readonly timestamps: boolean
  readonly userstamps: boolean
  /** By the name of the field. */
  readonly computed: Readonly<Record<string, (document: never) => unknown>>
}

/**
 * The times of a write, in milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Times {
  readonly createdAt: number
  readonly writtenAt: number
}

/**
 * The step that fills in fields of what is given. `before` is the version that it replaces.
 *
 * @category models
 * @since 0.1.0
 */
export interface Completion {
  /** Whether the version before has to be known. */
  readonly needsBefore: boolean
  /** The fields that are filled in. */
  readonly fields: ReadonlyArray<string>
  readonly apply: (given: object, before: object | undefined, times: Times) => Effect.Effect<object>
}

/** How a field may hold a time, in the order in which it is tried. */
const clocks: ReadonlyArray<(millis: number) => unknown> = [
  (millis) => DateTime.makeUnsafe(millis),
  (millis) => new Date(millis),
  (millis) => new Date(millis).toISOString(),
  (millis) => millis
]

/**
 * What fills in the fields of a schema; `undefined` where there is nothing to fill in.
 *
 * `timestamps` fills in `createdAt` and `updatedAt`, `userstamps` fills in `createdBy` and `updatedBy`, each where the
 * schema has such a field. Throws `UnsupportedSchema` for a field that cannot hold it.
 */
const completionOf = (
  name: string,
  fields: ReadonlyMap<string, AST.AST>,
  primaryKey: string,
  { timestamps, userstamps, computed }: CompletionOptions
): Completion | undefined => {
  const accepts = (field: string, value: unknown) => Schema.is(Schema.make(fields.get(field)!))(value)
  const clockOf = (field: string) => {
    if (!timestamps || !fields.has(field)) return undefined
    const clock = clocks.find((one) => accepts(field, one(0)))
    if (clock !== undefined) return clock
    throw new Attributes.UnsupportedSchema(
      `${name}.${field} cannot hold a time: make it a DateTime.Utc, a Date, a text or a number`
    )
  }
  const isUser = (field: string): boolean => {
    if (!userstamps || !fields.has(field)) return false
    if (accepts(field, "an id")) return true
    throw new Attributes.UnsupportedSchema(`${name}.${field} cannot hold the id of a user: make it a text`)
  }
  const createdAt = clockOf("createdAt")
  const updatedAt = clockOf("updatedAt")
  const hasCreatedBy = isUser("createdBy")
  const hasUpdatedBy = isUser("updatedBy")
  const functions = Object.entries(computed)
  for (const [field] of functions) {
    if (!fields.has(field) || field === primaryKey) {
      throw new Attributes.UnsupportedSchema(
        `computed names ${JSON.stringify(field)}, which is no field that can be computed`
      )
    }
  }
  const hasClock = createdAt !== undefined || updatedAt !== undefined
  if (!hasClock && !hasCreatedBy && !hasUpdatedBy && functions.length === 0) return undefined

  return {
    needsBefore: hasCreatedBy || hasUpdatedBy,
    fields: [
      ...(createdAt === undefined ? [] : ["createdAt"]),
      ...(updatedAt === undefined ? [] : ["updatedAt"]),
      ...(hasCreatedBy ? ["createdBy"] : []),
      ...(hasUpdatedBy ? ["updatedBy"] : []),
      ...functions.map(([field]) => field)
    ],
    apply: Effect.fnUntraced(function* (given, before, times) {
      const filled: Record<string, unknown> = { ...given }
      const set = (field: string, value: unknown) => {
        if (value === undefined) delete filled[field]
        else filled[field] = value
      }
      if (createdAt !== undefined) set("createdAt", createdAt(times.createdAt))
      if (updatedAt !== undefined) set("updatedAt", updatedAt(times.writtenAt))
      if (hasCreatedBy || hasUpdatedBy) {
        const user = yield* CurrentUser
        const of = (field: string) => (before as Readonly<Record<string, unknown>> | undefined)?.[field]
        if (hasCreatedBy) set("createdBy", before === undefined ? user?.id : of("createdBy"))
        // The program's own work is nobody's.
        if (hasUpdatedBy) set("updatedBy", user?.id ?? of("updatedBy"))
      }
      for (const [field, compute] of functions) set(field, compute(filled as never))
      return filled
    })
  }
}
