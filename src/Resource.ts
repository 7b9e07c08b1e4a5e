/**
 * Resources: typed collections of documents.
 *
 * A resource is declared as a class that is at once the definition and the service:
 *
 * ```ts
 * import * as Id from "effect-s3db/crypto/Id"
 * import * as Resource from "effect-s3db/Resource"
 * import { Schema } from "effect"
 *
 * class User extends Schema.Class<User>("app/User")({ id: Id.Random, name: Schema.String, age: Schema.Int }) {}
 *
 * class Users extends Resource.Service<Users>()("app/users", { schema: User, primaryKey: "id" }) {}
 * ```
 *
 * `Users.layer` needs a `Database`; `yield* Users` gives the `Repository`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type * as Aggregation from "./Aggregation.ts"
import type * as Change from "./Change.ts"
import * as Catalog from "./Catalog.ts"
import * as Completion from "./Completion.ts"
import type * as Content from "./Content.ts"
import * as Id from "./crypto/Id.ts"
import { Database, tell } from "./Database.ts"
import * as DbError from "./DbError.ts"
import * as Document from "./Document.ts"
import * as DocumentCodec from "./document/codec.ts"
import * as DocumentCounter from "./repository/counts.ts"
import * as DocumentStore from "./document/documents.ts"
import * as Behavior from "./encoding/Behavior.ts"
import { isDeeperThan, type Json, type JsonObject } from "./encoding/Json.ts"
import * as Find from "./query/run.ts"
import * as Guard from "./Guard.ts"
import * as merge from "./internal/merge.ts"
import type * as History from "./History.ts"
import * as Listing from "./query/listing.ts"
import * as Maintenance from "./repository/maintenance.ts"
import * as Partition from "./Partition.ts"
import * as ResourceOperations from "./repository/operations.ts"
import * as Pipeline from "./Pipeline.ts"
import * as Portable from "./Portable.ts"
import type { Input } from "./schema/Attribute.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Query from "./Query.ts"
import * as Operands from "./query/operandCodecs.ts"
import * as Rules from "./schema/Rules.ts"
import * as StoreError from "./storage/StoreError.ts"
import * as Transaction from "./Transaction.ts"
import * as Unique from "./Unique.ts"

// -----------------------------------------------------------------------------
// Definitions
// -----------------------------------------------------------------------------

/**
 * The fields of a schema that can be its primary key: required, and of a kind of string.
 *
 * @category utility types
 * @since 0.1.0
 */
export type PrimaryKey<S extends Attributes.DocumentSchema> = {
  readonly [K in keyof S["Type"]]-?: S["Type"][K] extends string ? K : never
}[keyof S["Type"]] &
  string

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<S extends Attributes.DocumentSchema> {
  /** A struct or class of fields that needs no services. */
  readonly schema: S
  /** The field that identifies a document. It becomes part of the key, so it costs no metadata. */
  readonly primaryKey: PrimaryKey<S>
  /** The name in the bucket. Default: what follows the last `/` of the service's id. */
  readonly name?: string | undefined
  /** `true`, the default, refuses `deleteAll`. */
  readonly paranoid?: boolean | undefined
  /** What becomes of a document that does not fit into metadata. Default `"body-overflow"`. */
  readonly behavior?: Behavior.Behavior | undefined
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
  readonly migrations?: Readonly<Record<number, DocumentCodec.Migration>> | undefined
  /**
   * Which documents can be listed by the values of some fields, by the name of the partition: paths of fields
   * (`["country", "address.city"]`), or fields with transforms (`{ fields: { createdAt: "month" } }`). See `Partition`.
   */
  readonly partitions?: Readonly<Record<string, Partition.Options>> | undefined
  /** Fields whose values together no two documents share, by the name of the unique key. See `Unique`. */
  readonly unique?: Readonly<Record<string, Unique.Options>> | undefined
  /**
   * How long a reservation of a unique value protects a write that is under way. Default 60 seconds; writers and those
   * who take over have to agree on it. Longer than any pause of a process that is to be survived.
   */
  readonly uniqueLease?: Duration.Input | undefined
  /** Keeps every version that is replaced or deleted, so that `history`, `getAt` and `restore` work. Default `false`. */
  readonly history?: boolean | undefined
  /** Lets documents have binary content: `setContent`, `getContent`. Default `false`. */
  readonly content?: boolean | undefined
  /**
   * Keeps the number of documents in a few objects, and of partitions the number for each value, for `estimatedCount`.
   * Each write that changes a number costs 1 GET and 1 PUT more, for writes at the same time together; a replace or delete
   * reads first. All processes that write have to say so. For documents that are there already, `recount` once.
   */
  readonly counters?: boolean | DocumentCounter.Options | undefined
  /** Whether queries may read every document without saying `scan: true`. Default `false`. */
  readonly scan?: boolean | undefined
  /**
   * `true` adds the partitions `byCreatedDate` and `byUpdatedDate`, and fills in the fields `createdAt` and `updatedAt`
   * where the schema has them, whatever a caller gives. A field may be a `DateTime.Utc`, a `Date`, a text (ISO 8601) or a
   * number (milliseconds); declare it optional or with a default, so that inserts can leave it out. Default `false`.
   */
  readonly timestamps?: boolean | undefined
  /**
   * `true` fills in the fields `createdBy` and `updatedBy`, where the schema has them, with the id of the `CurrentUser` of
   * the writing fiber. Without a user `createdBy` is left out and `updatedBy` stays. A `replace` then reads first. Default
   * `false`.
   */
  readonly userstamps?: boolean | undefined
  /**
   * Fields that are made of the others at every write, whatever a caller gives, by name; in this order, each seeing those
   * before. A function gives `undefined` to leave its field out. It has to be pure.
   */
  readonly computed?:
    | { readonly [K in keyof S["Type"]]?: (document: S["Type"]) => S["Type"][K] | undefined }
    | undefined
}

/**
 * A resource as it was declared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Definition<S extends Attributes.DocumentSchema> extends DocumentCodec.Settings<S> {
  readonly primaryKey: PrimaryKey<S>
  readonly paranoid: boolean
  readonly pin?: Options<S>["pin"]
  readonly partitions: Readonly<Record<string, Partition.Definition>>
  readonly uniques: Readonly<Record<string, Unique.Definition>>
  /** Milliseconds. */
  readonly uniqueLease: number
  readonly scan: boolean
  readonly history: boolean
  readonly content: boolean
  readonly completion: Completion.Completion | undefined
  readonly counters: Portable.Counters | undefined
}

/**
 * Checks a declaration. Throws `UnsupportedSchema` for a schema that cannot be stored: that is a mistake in the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = <S extends Attributes.DocumentSchema>(id: string, options: Options<S>): Definition<S> => {
  const name = options.name ?? id.slice(id.lastIndexOf("/") + 1)
  if (name === "" || name === "__proto__" || !name.isWellFormed()) {
    throw new Attributes.UnsupportedSchema(`${JSON.stringify(name)} cannot be the name of a resource`)
  }
  const attributes = Attributes.fromSchema(options.schema, options.primaryKey)
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
  const { paranoid = true, timestamps = false, userstamps = false, computed = {} } = options
  const { history = false, content = false, scan = false } = options
  const uniqueLease =
    options.uniqueLease === undefined
      ? Unique.defaultLeaseMillis
      : Duration.toMillis(Duration.fromInputUnsafe(options.uniqueLease))
  const completion = Completion.define(name, merge.fieldTypes(AST.toType(options.schema.ast)), options.primaryKey, {
    timestamps,
    userstamps,
    computed
  })
  const counters = DocumentCounter.define(name, options.counters, partitions)
  const flags = Object.entries({ history, content, scan, timestamps, userstamps })
    .filter(([, isOn]) => isOn)
    .map(([flag]) => flag as Portable.Flag)
  const portable = Portable.fromDefinition(options.schema, {
    behavior: typeof behavior === "string" ? behavior : "user-managed",
    paranoid,
    pin: { metadata: options.pin?.metadata ?? [], body: options.pin?.body ?? [] },
    hasMigrations: Object.keys(options.migrations ?? {}).length > 0,
    hasComputed: Object.keys(computed).length > 0,
    flags,
    counters,
    uniqueLease,
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
    primaryKey: options.primaryKey,
    paranoid,
    behavior,
    pin: options.pin,
    portable,
    pins: { metadata: pinned("metadata"), body: pinned("body") },
    migrations: options.migrations ?? {},
    attributes,
    partitions,
    uniques,
    scan,
    history,
    content,
    completion,
    counters,
    uniqueLease,
    ...(version === undefined ? {} : { version })
  }
}

const timestampPartitions: Readonly<Record<string, Partition.Options>> = {
  byCreatedDate: { fields: { $createdAt: "date" } },
  byUpdatedDate: { fields: { $updatedAt: "date" } }
}

/**
 * How ids are made for documents that are inserted without one: 22 random characters, a ULID, or a UUID version 7.
 *
 * @category models
 * @since 0.1.0
 */
export type IdKind = "random" | "ulid" | "uuidv7"

const idFields = { random: Id.Random, ulid: Id.Ulid, uuidv7: Id.UuidV7 } as const

/**
 * The schema of a resource declared in the rule notation: its attributes and `id`.
 *
 * @category utility types
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
export const fromAttributes = <const A extends Rules.Attributes>(
  name: string,
  attributes: A & Rules.Valid<A>,
  options: Omit<Options<FromAttributes<A>>, "schema" | "primaryKey" | "name"> & { readonly idKind?: IdKind } = {}
): Definition<FromAttributes<A>> => {
  const { idKind = "random", ...rest } = options
  const compiled = Rules.toSchema<A>(attributes, { id: idFields[idKind] })
  const schema = Schema.make<FromAttributes<A>>(compiled.ast)
  return define(name, { schema, primaryKey: "id" as PrimaryKey<FromAttributes<A>>, name, ...rest })
}

/**
 * The definition of a resource that the catalog has, for a program that does not declare it: its newest version, with
 * types, checks, attribute types and defaults. No request.
 *
 * What could not travel is named in `portable.omitted`. Fails with `DbError`: `InvalidArgument` when there is no such
 * resource, `Unsupported` when it was registered without a portable definition or by a release that knows more.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromCatalog = Effect.fn("Resource.fromCatalog")(function* (
  name: string
): Effect.fn.Return<Definition<Portable.DynamicSchema>, DbError.DbError, Database> {
  const operation = "Resource.fromCatalog"
  const database = yield* Database
  const info = (yield* database.listResources).find((resource) => resource.name === name)
  if (info === undefined) {
    const description = `the catalog has no resource called ${JSON.stringify(name)}`
    return yield* DbError.make(operation, new StoreError.InvalidArgument({ argument: "name", description }), name)
  }
  const revived = Portable.toDefinition(info.definition)
  if (Result.isFailure(revived)) {
    const reason = new StoreError.Unsupported({ feature: "portable definition", description: revived.failure })
    return yield* DbError.make(operation, reason, name)
  }
  const { schema, portable } = revived.success
  // The catalog may say what no program would.
  const defined = Result.try({
    try: () =>
      define(name, {
        schema,
        name,
        primaryKey: info.primaryKey as never,
        paranoid: portable.paranoid,
        behavior: portable.behavior === "user-managed" ? Behavior.userManaged() : portable.behavior,
        pin: portable.pin,
        ...Object.fromEntries((portable.flags ?? []).map((flag) => [flag, true])),
        ...(portable.uniqueLease === undefined ? {} : { uniqueLease: portable.uniqueLease })
      }),
    catch: (error) => (error instanceof Error ? error.message : String(error))
  })
  if (Result.isFailure(defined)) {
    const reason = new StoreError.Unsupported({ feature: "portable definition", description: defined.failure })
    return yield* DbError.make(operation, reason, name)
  }
  return {
    ...defined.success,
    counters: portable.counters,
    partitions: portable.partitions ?? {},
    uniques: portable.uniques ?? {},
    // As they were registered, so that the same version is found again.
    attributes: info.attributes,
    portable: info.definition
  }
})

/**
 * What of a definition cannot travel with the catalog, by path.
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

// -----------------------------------------------------------------------------
// Repository
// -----------------------------------------------------------------------------

export type { Concurrency, Covered, Page, PageRequest, Verify, Within } from "./query/listing.ts"
export type { Backfilled, Finding, RepairOptions, RewriteOptions, Rewritten } from "./repository/maintenance.ts"

/**
 * What `insert` takes: the schema's fields, those with a constructor default optional, plain `Redacted` text for
 * passwords.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Insert<S extends Attributes.DocumentSchema> = Input<S["~type.make.in"]>

/**
 * New values for some top-level fields, or for nested ones by their path (`"address.city"`). `undefined` removes an
 * optional field. Objects and arrays are replaced as a whole.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Update<A> = Input<merge.Fields<A> & merge.NestedFields<A>>

/**
 * New values for some fields at any depth: nested objects are merged, everything else is replaced. `undefined` removes
 * an optional field.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Patch<A> = Input<merge.DeepFields<A>>

/**
 * @category models
 * @since 0.1.0
 */
export interface UpdateOptions {
  /** Go on only if the document still has this revision, else `Conflict`. */
  readonly ifRevision?: Document.Revision | undefined
  /**
   * How often a change by id is tried again when somebody else has changed the document in between, with growing
   * pauses. Default 20. It does not apply to a change with a document or revision in hand: that fails at once.
   */
  readonly retries?: number | undefined
}

/**
 * What became of a bulk deletion.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeleteManyResult {
  /** Ids that are gone, in input order. */
  readonly deleted: ReadonlyArray<string>
  /** Ids that could not be deleted, in input order. */
  readonly failed: ReadonlyArray<{ readonly id: string; readonly error: DbError.DbError | Pipeline.Rejected }>
}

/**
 * What can go wrong with every reading.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadError = DbError.DbError | Pipeline.Rejected

/**
 * What listings and queries may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type ListError = Pipeline.StreamError

/**
 * What can go wrong with earlier versions.
 *
 * @category errors
 * @since 0.1.0
 */
export type HistoryError = DbError.NotAllowed | DbError.InvalidInput | ReadError

/**
 * A version that is past, or why it cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version<out S extends Attributes.DocumentSchema> {
  readonly version: number
  readonly result: Result.Result<Document.Document<S["Type"]>, DbError.DbError>
}

/**
 * The operations of a resource as interceptors see them, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Operations<S extends Attributes.DocumentSchema> = Pipeline.Operations<
  S["Type"],
  Insert<S>,
  Update<S["Type"]>,
  Patch<S["Type"]>,
  ResourceOperations.Parameters<S["Type"]>
>

/**
 * What became of one of many.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome<out A, out E> {
  /** Its place in the stream, from 0. */
  readonly index: number
  /** `undefined` for an input that has no id yet. */
  readonly id: string | undefined
  readonly result: Result.Result<A, E>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface WriteOptions extends Listing.Concurrency {
  /** Default `"insert"`. */
  readonly mode?: "insert" | "upsert" | "replace" | undefined
}

/**
 * What a sink has done.
 *
 * @category models
 * @since 0.1.0
 */
export interface WriteSummary {
  readonly written: number
  readonly failed: number
  /** What did not succeed, in input order, the first of them. */
  readonly failures: ReadonlyArray<{
    readonly index: number
    readonly id: string | undefined
    readonly error: InsertError | ChangeError
  }>
}

/**
 * What can go wrong with one inserted document.
 *
 * @category errors
 * @since 0.1.0
 */
export type InsertError = DbError.AlreadyExists | DocumentStore.WriteError | Pipeline.Rejected | Pipeline.AfterFailed

/**
 * What can go wrong with a change of a document.
 *
 * @category errors
 * @since 0.1.0
 */
export type ChangeError =
  | DbError.NotFound
  | DbError.Conflict
  | DocumentStore.WriteError
  | Pipeline.Rejected
  | Pipeline.AfterFailed

/**
 * What can go wrong with a deletion.
 *
 * @category errors
 * @since 0.1.0
 */
export type DeleteError = DbError.NotFound | DbError.Conflict | DeleteManyError

/**
 * What can go wrong with the deletion of many documents at once.
 *
 * @category errors
 * @since 0.1.0
 */
export type DeleteManyError = DbError.InvalidInput | DbError.DbError | Pipeline.Rejected | Pipeline.AfterFailed

/**
 * The documents of one resource.
 *
 * **Details**
 *
 * Ids are never checked for existence before a write: every mutation of an existing document is a compare-and-set on
 * the version that was read, every insert a create-if-absent. Requests are named at each member; a store with its usual
 * retries may send more when requests fail. `DbError` is in every error channel: the store or the catalog failed, or an
 * object cannot be decoded (`Corrupt`). So is `Rejected`, of interceptors and guards (see `intercept`), and for writes
 * `AfterFailed`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Repository<in out S extends Attributes.DocumentSchema> {
  /**
   * Creates a document. 1 PUT.
   *
   * `AlreadyExists`: the id is taken. `InvalidInput`: the fields at fault. `MetadataLimit`: it does not fit, and the
   * behavior does not let it go to the body.
   */
  readonly insert: (input: Insert<S>) => Effect.Effect<S["Type"], InsertError>

  /**
   * Creates documents concurrently. n PUT. The outcomes are in input order; one that fails does not stop the others.
   */
  readonly insertMany: (
    inputs: Iterable<Insert<S>>,
    options?: Listing.ManyOptions
  ) => Effect.Effect<ReadonlyArray<Result.Result<S["Type"], InsertError>>>

  /** Upserts documents concurrently. The outcomes are in input order; one that fails does not stop the others. */
  readonly upsertMany: (
    inputs: Iterable<Insert<S>>,
    options?: Listing.ManyOptions
  ) => Effect.Effect<ReadonlyArray<Result.Result<S["Type"], Exclude<ChangeError, DbError.NotFound>>>>

  /**
   * Writes what a stream gives, as it comes, and tells of each in its order. As many writes are under way as `concurrency`
   * says, and no more is drawn than that. To go on after an interruption, drop the first `index + 1` of the outcome that
   * came last.
   */
  readonly writeAll: <E, R>(
    inputs: Stream.Stream<Insert<S>, E, R>,
    options?: WriteOptions
  ) => Stream.Stream<Outcome<S["Type"], InsertError | ChangeError>, E, R>

  /**
   * Like `writeAll`, from documents in JSON form, as `queryJson` gives them and `Export.fromNdjson` reads them. One that does
   * not fit the schema has `InvalidInput`. Secrets are not in that form.
   */
  readonly writeAllJson: <E, R>(
    documents: Stream.Stream<JsonObject, E, R>,
    options?: WriteOptions
  ) => Stream.Stream<Outcome<S["Type"], InsertError | ChangeError>, E, R>

  /** Reads a document. 1 GET. `NotFound`. */
  readonly get: (id: string) => Effect.Effect<S["Type"], DbError.NotFound | ReadError>

  /** Reads a document, absence being `None`. 1 GET. */
  readonly getOption: (id: string) => Effect.Effect<Option.Option<S["Type"]>, ReadError>

  /**
   * Reads documents concurrently, in input order; each id that has none is `None` at its place. n GET. One that cannot be
   * read, or is refused by an interceptor, fails the whole.
   */
  readonly getMany: (
    ids: Iterable<string>,
    options?: Listing.Concurrency
  ) => Effect.Effect<ReadonlyArray<Option.Option<S["Type"]>>, ReadError>

  /** Reads a document with its envelope. 1 GET. `NotFound`. */
  readonly getDocument: (id: string) => Effect.Effect<Document.Document<S["Type"]>, DbError.NotFound | ReadError>

  /**
   * The envelope of a value that this repository has returned, as of then. No request.
   *
   * `NotFound` for any other object, also for a copy of such a value.
   */
  readonly documentOf: (value: S["Type"]) => Effect.Effect<Document.Document<S["Type"]>, DbError.NotFound>

  /**
   * Changes some top-level fields, or nested ones by path, of the document with this id, or of the document in hand.
   *
   * **Details**
   *
   * By id: 1 GET and 1 PUT, repeated when somebody else changes the document in between, at most `retries` times. The
   * change may be a function of the present value, also an effectful one; it may then run more than once.
   *
   * With a `Document`: 1 PUT, which succeeds only if nobody has changed it since it was read.
   *
   * `NotFound`; `Conflict`: it changed since it was read (one HEAD finds the present revision), or kept changing;
   * `InvalidInput`: the result does not fit the schema, or the primary key would change.
   */
  readonly update: <E = never, R = never>(
    target: string | Document.Document<S["Type"]>,
    change: Update<S["Type"]> | ((current: S["Type"]) => Update<S["Type"]> | Effect.Effect<Update<S["Type"]>, E, R>),
    options?: UpdateOptions
  ) => Effect.Effect<S["Type"], ChangeError | E, R>

  /**
   * Like `update`, with nested objects merged field by field. Requests and errors are the same.
   */
  readonly patch: (
    target: string | Document.Document<S["Type"]>,
    change: Patch<S["Type"]>,
    options?: UpdateOptions
  ) => Effect.Effect<S["Type"], ChangeError>

  /**
   * Puts a whole document in the place of whatever is there, or of nothing. 1 PUT.
   *
   * With `ifRevision` it replaces that version only: `Conflict` (one HEAD more) or `NotFound`. `InvalidInput`.
   */
  readonly replace: (
    input: Insert<S>,
    options?: Pick<UpdateOptions, "ifRevision">
  ) => Effect.Effect<S["Type"], ChangeError>

  /**
   * Inserts the document, or, when its id is taken, updates that document with the given fields.
   *
   * 1 PUT for a new one; 2 PUT and 1 GET for one that exists. `InvalidInput`; `Conflict` when it kept changing.
   */
  readonly upsert: (
    input: Insert<S>,
    options?: Pick<UpdateOptions, "retries">
  ) => Effect.Effect<S["Type"], Exclude<ChangeError, DbError.NotFound>>

  /**
   * Deletes a document. 1 DELETE.
   *
   * By id it succeeds also when there is nothing to delete, unless with `mustExist: true`, which reads first (1 GET) and
   * fails with `NotFound`. With a `Document` it deletes that version only: `Conflict` (one HEAD more), `NotFound`, or
   * `DbError` with `Unsupported` on a store without conditional deletes.
   */
  readonly delete: (
    target: string | Document.Document<S["Type"]>,
    options?: { readonly mustExist?: boolean | undefined }
  ) => Effect.Effect<void, DeleteError>

  /** Deletes documents, those that do not exist being deleted already. One request for each 1,000. `InvalidInput`. */
  readonly deleteMany: (
    ids: Iterable<string>,
    options?: { readonly onProgress?: DocumentStore.OnProgress | undefined }
  ) => Effect.Effect<DeleteManyResult, DeleteManyError>

  /**
   * Deletes every document that is listed when it runs, and gives their number. One LIST and one DELETE for each 1,000.
   *
   * `NotAllowed` unless the resource is declared with `paranoid: false`.
   */
  readonly deleteAll: Effect.Effect<number, DbError.NotAllowed | DeleteManyError>

  /** Whether there is such a document. 1 HEAD. */
  readonly exists: (id: string) => Effect.Effect<boolean, ReadError>

  /**
   * How many documents there are, or meet conditions. One LIST for each 1,000; in a partition, or with conditions, 1 GET
   * for each document, too; with `verify: false` a partition's markers are counted, and leftovers of crashes among them.
   */
  readonly count: (request?: Find.Request<S["Type"]> & Listing.Verify) => Effect.Effect<number, ListError>

  /**
   * How many documents there are, as the maintained counter says: of the resource, or of a partition that is counted, with
   * all of its values or the first ones. 1 GET for each shard, whatever the number of documents.
   *
   * It is exact as long as no writer crashes between a write and its counting, and no write ends with an unknown outcome;
   * `recount` makes it exact again. `NotAllowed`: the resource is not declared with `counters`. `InvalidInput`: a partition
   * that is not counted, or bounds.
   */
  readonly estimatedCount: (within?: Pick<Listing.Within, "partition" | "values">) => Effect.Effect<number, ListError>

  /**
   * Counts anew and sets the counters: one LIST for each 1,000, and where partitions are counted 1 GET for each document.
   * Writes that happen meanwhile may be counted twice or not at all: run it when little is written, also after a
   * `backfill` of a partition that is counted. `NotAllowed`.
   */
  readonly recount: Effect.Effect<DocumentCounter.Recounted, DbError.NotAllowed | DbError.DbError>

  /**
   * Ids, in the order of the keys. One LIST for each 1,000, as the stream is drawn; in a partition, or with conditions,
   * 1 GET for each document, too.
   */
  readonly listIds: (request?: Find.Request<S["Type"]>) => Stream.Stream<string, ListError>

  /**
   * One page of documents, in the order of their keys. 1 LIST, 1 GET for each document.
   *
   * The cursor holds its place while documents come and go; page k costs what page 1 does. `InvalidInput`: a cursor of
   * another request, no such partition, values that do not fit.
   */
  readonly list: (
    request?: Listing.Within & Listing.PageRequest & Listing.Concurrency
  ) => Effect.Effect<Listing.Page<S["Type"]>, ListError>

  /**
   * Every document, in the order of their keys, read as the stream is drawn. One LIST for each 1,000, 1 GET for each.
   * A document deleted while the stream runs may be missing from it; one that moves within a partition may come twice
   * or not at all.
   */
  readonly scan: (options?: Listing.Within & Listing.Concurrency) => Stream.Stream<S["Type"], ListError>

  /**
   * Writes every document that is of an older schema version in the present one, in the order of their keys; what was
   * read is only overwritten as it was read. One LIST for each 1,000, 1 GET for each document, 1 PUT for each old one.
   *
   * Tells of each document. To go on after an interruption, give the id that it told last as `after`.
   */
  readonly migrate: (options?: Maintenance.RewriteOptions) => Stream.Stream<Maintenance.Rewritten, ChangeError>

  /**
   * Writes every document with a secret under an older key again, then earlier versions of documents. Like `migrate`
   * otherwise; for versions that are past 1 LIST for each 1,000, 1 GET for each, 1 PUT for each old one, whether or not
   * the resource still has `history`.
   *
   * Older keys can be retired when all programs write with the current one and a run after that has rewritten nothing.
   */
  readonly rotate: (options?: Maintenance.RewriteOptions) => Stream.Stream<Maintenance.Rotated, ChangeError>

  /**
   * The document that has a value for itself: the values of the fields of a unique key, by path. 2 GET.
   *
   * `NotFound`; `InvalidInput`: there is no such key, or a value is missing; `DbError` with `Unsupported`: the key is not
   * complete yet, see `backfill`.
   */
  readonly getByUnique: (
    unique: string,
    values: Readonly<Record<string, unknown>>
  ) => Effect.Effect<S["Type"], DbError.NotFound | DbError.InvalidInput | ReadError>

  /**
   * The documents that meet conditions, by the shortest way that ids, unique keys and partitions offer; `explain` says
   * which. `limit` bounds what is read where no order has to be made.
   *
   * `NotAllowed`: it would read every document and does not say `scan: true`. `InvalidInput`: a field that is not there, or
   * is secret; an operand that does not fit; an order that no partition has, without a limit.
   */
  readonly query: (request: Find.Request<S["Type"]>) => Stream.Stream<S["Type"], ListError>

  /** Like `query`, in JSON form and only the fields named, by path. Default: all; secrets are left out. */
  readonly queryJson: (
    request: Find.Request<S["Type"]> & {
      readonly select?: ReadonlyArray<Query.FieldPath<Find.Queryable<S["Type"]>>> | undefined
    }
  ) => Stream.Stream<JsonObject, ListError>

  /**
   * One page of what `query` gives. Default `limit` 100. The cursor holds its place while documents come and go. With
   * `total: true` also the number of documents on all pages, for which all of them are read.
   *
   * It runs as `list`. Where an interceptor narrows it, as a guard by the document does, a page is filled with what may be
   * seen. It looks at 1,000 documents at most, and may then be short; after a full page there is always a cursor.
   */
  readonly queryPage: (
    request: Find.Request<S["Type"]> & Listing.PageRequest & { readonly total?: boolean | undefined }
  ) => Effect.Effect<Listing.Page<S["Type"]> & { readonly total: number | undefined }, ListError>

  /**
   * The conditions that untrusted JSON asks for, such as a command line or an HTTP request, as the `predicate` of a query.
   * The notation is that of `where`; `$` may stand before operators. Operands are read by the codec of their field, so
   * that `2026-01-05T01:00:00+01:00` finds what is stored as `2026-01-05T00:00:00.000Z`. No request.
   *
   * `InvalidInput`, naming the path and the operator: a field that is not there, or is secret; an operand that the field can
   * never have or be compared with; an unknown operator; more than 32 levels or 1,000 conditions and values.
   */
  readonly parseWhere: (json: unknown) => Effect.Effect<Query.Predicate, DbError.InvalidInput>

  /**
   * The order that a text asks for, such as `-placed,number`, as the `order` of a query. An empty text is no order.
   * No request. `InvalidInput`: a field that is not there, or is secret; one that is there twice; more than 32 fields.
   */
  readonly parseOrder: (text: string) => Effect.Effect<Query.Order, DbError.InvalidInput>

  /** What a query is going to do. No request. */
  readonly explainQuery: (request: Find.Request<S["Type"]>) => Effect.Effect<Find.Plan, ListError>

  /**
   * Counts, sums, least and greatest values and averages of what a query gives, also by groups.
   *
   * `TooManyGroups`; `InvalidInput`: a field that is not there, or is secret.
   */
  readonly aggregate: (
    aggregation: Aggregation.Notation<Find.Queryable<S["Type"]>>,
    request?: Find.Request<S["Type"]> & Pick<Aggregation.Options, "maxGroups">
  ) => Effect.Effect<ReadonlyArray<Aggregation.Group>, ListError | Aggregation.TooManyGroups>

  /**
   * Changes every document that a query gives, each as it is when its turn comes, and once, also where the change moves it
   * ahead in the listing that it was found by; one that has gone on to something else by then is left alone, and not told
   * of. Tells of every other. One that fails does not stop the others. The ids of those whose place in a partition has
   * changed are held in memory. The change may be what `update` takes.
   */
  readonly updateMany: <E = never, R = never>(
    request: Find.Request<S["Type"]>,
    change: Update<S["Type"]> | ((current: S["Type"]) => Update<S["Type"]> | Effect.Effect<Update<S["Type"]>, E, R>)
  ) => Stream.Stream<Outcome<S["Type"], ChangeError | E>, ListError, R>

  /** The document, if it belongs to a partition and has those values there; otherwise `NotFound`. 1 GET. */
  readonly getFromPartition: (
    id: string,
    within: Listing.Within
  ) => Effect.Effect<S["Type"], DbError.NotFound | ListError>

  /**
   * The different values of the field of a partition that follows those given, in JSON form, transformed, in their order
   * (on a store that lists without order: in none), each with at least one document. For each value 1 LIST and, as a
   * rule, 1 GET. `NotAllowed`: an interceptor of `listIds` or `query` narrows or changes what may be seen.
   */
  readonly distinct: (within: Listing.Within) => Stream.Stream<Json, ListError>

  /**
   * What the markers of a partition cover, without a look at the documents: one LIST for each 1,000, no GET.
   *
   * It may show a value that is one write old, or is about to be acknowledged, and leftovers of crashes; `verify: true`
   * looks at each document, 1 GET. Where the covered fields were too long for a key, the document is read.
   * `NotAllowed`: an interceptor of `listIds` or `query` narrows or changes what may be seen.
   */
  readonly covered: (
    within: Listing.Within & Listing.Concurrency & Listing.Verify
  ) => Stream.Stream<Listing.Covered, ListError>

  /**
   * Gives every document the markers and reservations of partitions and unique keys that were declared after it was
   * written, and says so in the catalog when it has come to its end. One LIST for each 1,000, 1 GET for each document,
   * the requests of an update for each that lacks something.
   *
   * To go on after an interruption, give the id that it told last as `after`. Processes that opened the resource before
   * the partition was declared do not keep it up: end them first.
   */
  readonly backfill: (options?: Maintenance.RewriteOptions) => Stream.Stream<Maintenance.Backfilled, ChangeError>

  /**
   * Finds what crashes have left behind, and what is missing, and mends it with `dryRun: false`. It reads every document
   * and asks for each of its markers (1 GET and 1 HEAD for each), then lists all markers and reservations (1 GET for each).
   */
  readonly repair: (options?: Maintenance.RepairOptions) => Stream.Stream<Maintenance.Finding, ChangeError>

  /** Forgets a partition, and removes its markers, whose number it gives. `InvalidInput`: there is none. */
  readonly removePartition: (name: string) => Effect.Effect<number, DbError.InvalidInput | DbError.DbError>

  /** Forgets a unique key, and removes its reservations, whose number it gives. `InvalidInput`: there is none. */
  readonly removeUnique: (name: string) => Effect.Effect<number, DbError.InvalidInput | DbError.DbError>

  /**
   * Gives a document binary content in the place of what it had. It belongs to the document: updates leave it alone, a
   * deletion removes it. `contentType` default: `application/octet-stream`.
   *
   * 1 GET, 1 PUT for each 8 MiB, then 1 GET and 1 PUT for the document, and what removes the content before. No more than
   * 8 MiB are in memory. What has been written is removed when the bytes fail. `NotFound`; `InvalidInput`: `contentType`
   * is not of 1 to 255 printable ASCII characters; `NotAllowed`: the resource is not declared with `content: true`, or this
   * is a transaction, of which content cannot be part.
   */
  readonly setContent: <E = never, R = never>(
    id: string,
    bytes: Uint8Array | Stream.Stream<Uint8Array, E, R>,
    options?: { readonly contentType?: string | undefined }
  ) => Effect.Effect<Document.Document<S["Type"]>, ChangeError | DbError.NotAllowed | E, R>

  /**
   * The content of a document, or a range of it, absence being `None`. 1 GET, and 1 for each 8 MiB as it is drawn.
   *
   * `NotFound`: there is no such document. `InvalidInput`: the range begins past the end, or ends before it begins. The
   * bytes fail with `Corrupt` when they are fewer than were written; those of the whole also, at their end, when they are
   * others, by their SHA-256.
   */
  readonly getContent: (
    id: string,
    range?: Content.Range
  ) => Effect.Effect<
    Option.Option<Content.Content<DbError.DbError>>,
    DbError.NotFound | DbError.NotAllowed | DbError.InvalidInput | ReadError
  >

  /** Whether a document has content. 1 GET. `NotFound`, `NotAllowed`. */
  readonly hasContent: (
    id: string
  ) => Effect.Effect<boolean, DbError.NotFound | DbError.NotAllowed | DbError.InvalidInput | ReadError>

  /** Removes the content of a document, if it has any. `NotFound`, `NotAllowed`, also in a transaction. */
  readonly deleteContent: (id: string) => Effect.Effect<void, ChangeError | DbError.NotAllowed>

  /**
   * The versions that a document had, the newest first; also those of a document that is deleted. One LIST for each 1,000
   * and 1 GET for each, as they are drawn. `NotAllowed`: the resource is not declared with `history: true`.
   */
  readonly history: (id: string) => Stream.Stream<Document.Document<S["Type"]>, HistoryError>

  /** Like `history`, but a version that cannot be read is told in its place, and does not end the stream. */
  readonly historyResults: (id: string) => Stream.Stream<Version<S>, HistoryError>

  /**
   * A document as it was: the version with this number, or the one there was at a time. `NotFound`: there was none.
   * Of a document that was deleted and inserted again numbers begin anew: the newest with the number counts.
   */
  readonly getAt: (
    id: string,
    when: { readonly version: number } | { readonly time: DateTime.DateTime }
  ) => Effect.Effect<Document.Document<S["Type"]>, DbError.NotFound | HistoryError>

  /**
   * Makes an earlier version the present one, also of a document that is deleted, which is then inserted again: with
   * `userstamps` by who restores it. `NotFound`: there was none.
   */
  readonly restore: (
    id: string,
    when: { readonly version: number } | { readonly time: DateTime.DateTime }
  ) => Effect.Effect<S["Type"], ChangeError | InsertError | HistoryError>

  /**
   * Removes versions that are past: of each document all but the newest `keep`, those replaced before a time, or both. When
   * a document was deleted is forgotten with the versions before. Tells of each document from which something was removed.
   * One LIST for each 1,000, and for each document 1 GET, 1 LIST and 1 DeleteObjects.
   *
   * `InvalidInput`: neither is given, or `keep` is no integer of 0 or more.
   */
  readonly pruneHistory: (options: {
    readonly keep?: number | undefined
    readonly before?: DateTime.DateTime | undefined
  }) => Stream.Stream<{ readonly id: string; readonly removed: number }, HistoryError>

  /**
   * Where each byte of a document goes, or would go. No request. An input is cleaned up and validated as by `insert`.
   */
  readonly explain: (
    input: Insert<S> | Document.Document<S["Type"]>
  ) => Effect.Effect<DocumentCodec.Explanation, DbError.InvalidInput | DbError.MetadataLimit | DbError.DbError>

  /**
   * Like `scan`, but a document that cannot be read is told in its place, and does not end the stream. `NotAllowed`: an
   * interceptor of `query` narrows or changes what may be seen.
   */
  readonly scanResults: (
    options?: Listing.Within & Listing.Concurrency
  ) => Stream.Stream<Outcome<S["Type"], DbError.DbError>, ListError>

  /** Like `scan`, each document with its envelope. */
  readonly scanDocuments: (
    options?: Listing.Within & Listing.Concurrency
  ) => Stream.Stream<Document.Document<S["Type"]>, ListError>

  /**
   * Adds an interceptor to the operations until the scope closes: to change what goes in, to refuse it, to answer in its
   * place, to do something afterwards. See `Pipeline` for the order. `Resource.intercept` does it as a layer.
   *
   * `migrate`, `rotate`, `backfill`, `repair`, `recount`, `pruneHistory` and what removes partitions and unique keys are
   * the program's own work, in which no interceptor takes part. Every other member runs as one of the operations:
   * `insertMany` and `writeAll` as what they do with each document; `upsert` and `upsertMany` as `upsert`, and in it as
   * `insert` or `update`; `getOption`, `getMany`, `getDocument`, `getByUnique`, `getFromPartition`, `getAt`,
   * `history` and `historyResults` as `get`; `scan`, `scanDocuments`, `queryJson`, `aggregate` and the finding of `updateMany` as `query`; `queryPage` as
   * `list`; `scanResults` as `query`; `covered` and `distinct` as `listIds` and `query`; `estimatedCount` as `count`;
   * `hasContent` as `getContent`; `restore` as `get` and `replace`.
   */
  readonly intercept: <const K extends Pipeline.OperationName = Pipeline.OperationName>(
    interceptor: Pipeline.Interceptor<Operations<S>, K>
  ) => Effect.Effect<void, never, Scope.Scope>

  /**
   * The changes that this process makes from when the stream is first drawn, each told after it is committed. See
   * `Change` for what is promised. No request.
   */
  readonly changes: (filter?: Change.Filter) => Stream.Stream<Change.Change<S["Type"]> | Change.Lagged>

  /** Like `changes`, beginning at once, until the scope closes. */
  readonly subscribe: (
    filter?: Change.Filter
  ) => Effect.Effect<Stream.Stream<Change.Change<S["Type"]> | Change.Lagged>, never, Scope.Scope>

  /**
   * Runs a handler for each change, one after the other, until the scope closes. It never delays or fails a write; what
   * it fails with is logged.
   */
  readonly onChange: <R = never, R2 = never>(
    filter: Change.Filter,
    handler: (change: Change.Change<S["Type"]>) => Effect.Effect<unknown, unknown, R>,
    options?: Change.HandlerOptions<R2>
  ) => Effect.Effect<void, never, Scope.Scope | R | R2>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SinkOptions<S extends Attributes.DocumentSchema, E, R> extends WriteOptions {
  /** How many failures the summary keeps. Default 1,000. */
  readonly keep?: number | undefined
  /**
   * Runs for each document in input order, before the next outcome is looked at. Who notes the `index` down can go on
   * behind it when the source fails or the process ends: `Stream.drop(index + 1)`.
   */
  readonly onOutcome?:
    | ((outcome: Outcome<S["Type"], InsertError | ChangeError>) => Effect.Effect<void, E, R>)
    | undefined
}

/**
 * `Repository.writeAll` as a sink: it draws no more than is under way, and gives how many were written and what became of
 * the rest.
 *
 * @category sinks
 * @since 0.1.0
 */
export const sink = <S extends Attributes.DocumentSchema, E = never, R = never>(
  repository: Repository<S>,
  { keep = 1000, onOutcome = () => Effect.void, ...options }: SinkOptions<S, E, R> = {}
): Sink.Sink<WriteSummary, Insert<S>, never, E, R> =>
  Sink.make<Insert<S>>()((inputs) =>
    Stream.runFold(
      Stream.tap(repository.writeAll(inputs, options), onOutcome),
      (): WriteSummary & { failures: Array<WriteSummary["failures"][number]> } => ({
        written: 0,
        failed: 0,
        failures: []
      }),
      (summary, { index, id, result }) => {
        if (Result.isSuccess(result)) return { ...summary, written: summary.written + 1 }
        if (summary.failures.length < keep) summary.failures.push({ index, id, error: result.failure })
        return { ...summary, failed: summary.failed + 1 }
      }
    )
  )

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * A class that is the service of a resource and carries its definition and its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  in out S extends Attributes.DocumentSchema
> extends Context.ServiceClass<Self, Id, Repository<S>> {
  readonly definition: Definition<S>
  /** Registers the definition and opens the resource. The same reference each time, so that it is built once. */
  readonly layer: Layer.Layer<Self, DbError.DbError, Database | DocumentCodec.Services<S["Type"]>>
}

/**
 * Declares a resource as a service.
 *
 * The id identifies the service in the program; what follows its last `/` is the name in the bucket, unless `name` says
 * otherwise. Throws `UnsupportedSchema` for a schema that cannot be stored.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, S extends Attributes.DocumentSchema>(
    id: Id,
    options: Options<S>
  ): ServiceClass<Self, Id, S> => {
    const definition = define(id, options)
    const service = Context.Service<Self, Repository<S>>()(id)
    return Object.assign(service, { definition, layer: Layer.effect(service, make(definition)) })
  }

/**
 * A layer that adds an interceptor to a resource, and removes it when its scope closes. The interceptor may be made by an
 * effect, so that it can close over the services it needs.
 *
 * ```ts no-check
 * const audit = Resource.intercept(Users, { operations: ["insert", "update"], after: (context) => Effect.log(context.operation) })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const intercept = <
  Self,
  Id extends string,
  S extends Attributes.DocumentSchema,
  const K extends Pipeline.OperationName = Pipeline.OperationName,
  E = never,
  R = never
>(
  resource: ServiceClass<Self, Id, S>,
  interceptor: Pipeline.Interceptor<Operations<S>, K> | Effect.Effect<Pipeline.Interceptor<Operations<S>, K>, E, R>
): Layer.Layer<never, E, Self | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const repository = yield* resource
      yield* repository.intercept(Effect.isEffect(interceptor) ? yield* interceptor : interceptor)
    })
  )

/**
 * A layer that guards a resource until its scope closes: `Guard.interceptor` for its documents. The rules may be made by
 * an effect, so that they can close over the services they ask.
 *
 * ```ts no-check
 * const guard = Resource.guard(Posts, { "*": Guard.roles(["admin"]), get: Guard.allow })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const guard = <Self, Id extends string, S extends Attributes.DocumentSchema, E = never, R = never>(
  resource: ServiceClass<Self, Id, S>,
  rules: Guard.Rules<S["Type"]> | Effect.Effect<Guard.Rules<S["Type"]>, E, R>,
  options?: Guard.InterceptorOptions
): Layer.Layer<never, E, Self | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const repository = yield* resource
      yield* repository.intercept(Guard.interceptor(Effect.isEffect(rules) ? yield* rules : rules, options))
    })
  )

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

const defaultConcurrency = 16

/**
 * Opens a resource on a database: what `layer` does. Registers the definition (see `Database.register` for requests).
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <S extends Attributes.DocumentSchema>(
  definition: Definition<S>
): Effect.fn.Return<Repository<S>, DbError.DbError, Database | DocumentCodec.Services<S["Type"]>> {
  type A = S["Type"]
  const { name, schema, primaryKey, paranoid } = definition
  const database = yield* Database
  const { store } = database
  const codec = yield* DocumentCodec.make(definition, database, "Resource.make")
  const { uniqueLease: leaseMillis, history, content, completion } = definition
  const documents = yield* DocumentStore.make<A>(
    { name, primaryKey, leaseMillis, history, content, completion, counters: definition.counters !== undefined },
    database,
    codec
  )
  const operands = Operands.make(schema, Find.systemSchemas)
  const listing = yield* Listing.make<A>(name, database, documents, operands)
  const finding = Find.make<A>(definition, database.capabilities.orderedList, documents, listing, operands)
  const maintenance = Maintenance.make<A>(name, leaseMillis, database, documents, listing)
  const fields = merge.fieldTree(AST.toType(schema.ast)) ?? { fields: new Map() }
  const settings = { name, primaryKey, paranoid, fields }
  const counter =
    definition.counters === undefined
      ? undefined
      : DocumentCounter.make<A>(name, definition.counters, database, documents, listing)
  const operations = yield* ResourceOperations.make<A, Insert<S>, Update<A>, Patch<A>>(
    settings,
    codec,
    documents,
    listing,
    finding,
    counter
  )
  const { feed, pipeline } = operations
  const { failure, fromStore, invalid, missing } = documents
  const labelled = Effect.annotateSpans({ "s3db.resource": name })
  yield* tell(database.lifecycle, "resourceOpened", name)

  const load = (operation: string) => (id: string) => documents.load(operation, id)

  const many = Effect.fnUntraced(function* <I, X, E>(
    given: Iterable<I>,
    { concurrency = defaultConcurrency, onProgress = () => Effect.void }: Listing.ManyOptions = {},
    one: (input: I) => Effect.Effect<X, E>
  ) {
    const inputs = [...given]
    let done = 0
    return yield* Effect.forEach(
      inputs,
      (input) => Effect.tap(Effect.result(one(input)), () => onProgress({ done: (done += 1), total: inputs.length })),
      { concurrency }
    )
  })

  const versionAt = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    when: { readonly version: number } | { readonly time: DateTime.DateTime }
  ) {
    const { now, entries } = yield* documents.past(operation, id)
    const current = now === undefined ? undefined : { ...now.stored, isDeletion: false, entry: undefined }
    const all = [...entries.map((entry) => ({ ...entry, entry })), ...(current === undefined ? [] : [current])]
    const time = "time" in when ? DateTime.toEpochMillis(when.time) : undefined
    const found =
      "version" in when
        ? all.findLast((one) => one.version === when.version && !one.isDeletion)
        : all.findLast((one) => one.writtenAt <= time!)
    if (found === undefined || found.isDeletion) return yield* missing(id)
    if (found.entry === undefined) return yield* documents.decode(operation, id, now!.stored, now!.isSettled)
    return (yield* documents.loadEntry(operation, found.entry)) ?? (yield* missing(id))
  })

  const writeEach =
    <I>(
      operation: string,
      { mode = "insert", concurrency = defaultConcurrency }: WriteOptions = {},
      inputOf: (input: I) => Effect.Effect<Insert<S>, DbError.InvalidInput>
    ) =>
    <E, R>(inputs: Stream.Stream<I, E, R>): Stream.Stream<Outcome<A, InsertError | ChangeError>, E, R> => {
      const write = (input: Insert<S>): Effect.Effect<A, InsertError | ChangeError> => {
        if (mode === "upsert") return operations.upsert(operation, input)
        return mode === "insert" ? operations.insert(operation, input) : operations.replace(operation, input)
      }
      return inputs.pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(
          ([input, index]) =>
            Effect.map(Effect.result(Effect.flatMap(inputOf(input), write)), (result) => ({
              index,
              id: operations.idIn(Result.isSuccess(result) ? result.success : input),
              result
            })),
          { concurrency }
        )
      )
    }

  const fromJson = Schema.decodeUnknownEffect(Attributes.toStorageCodec(definition.schema))
  /** A whole document is an input of it, too. */
  const inputOfJson = (json: JsonObject) =>
    Effect.mapBoth(fromJson(json, { errors: "all", onExcessProperty: "error" }), {
      onSuccess: (value) => value as Insert<S>,
      onFailure: (error) => DbError.invalidInput(name, error.issue)
    })

  /** The versions that a document had, the newest first. */
  const versions = (operation: string, id: string): Stream.Stream<Version<S>, HistoryError> => {
    const one = Effect.fnUntraced(function* (entry: History.Entry) {
      const { version } = entry
      const reading = Effect.gen(function* () {
        const base = yield* documents.loadEntry(operation, entry)
        // It has been pruned since it was listed.
        if (base === undefined) return Option.none<Version<S>>()
        const document = yield* operations.getDocument(id, () => Effect.succeed(base))
        return Option.some<Version<S>>({ version, result: Result.succeed(document) })
      })
      return yield* Effect.catchTag(reading, "DbError", (error) =>
        Effect.succeedSome<Version<S>>({ version, result: Result.fail(error) })
      )
    })
    return Stream.unwrap(
      Effect.map(Effect.andThen(pipeline.admit("get"), documents.past(operation, id)), ({ entries }) =>
        Stream.fromArray(entries.filter((entry) => !entry.isDeletion).toReversed()).pipe(
          Stream.mapEffect(one, { concurrency: 4 }),
          Stream.flatMap((found) => Stream.fromArray(Option.toArray(found)))
        )
      )
    )
  }

  const exists = (operation: string) =>
    Effect.fnUntraced(function* (id: string) {
      const key = Document.key(name, id)
      if (Result.isFailure(key)) return false
      if ((yield* Transaction.Current) !== undefined) {
        return Option.isSome(yield* documents.loadIfPresent(operation, id))
      }
      const isThere = yield* store.head(key.success).pipe(
        Effect.map((head) => (Document.isSettled(head.metadata) ? true : undefined)),
        Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false)),
        Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
      )
      // A transaction is about to change it: the object itself tells more.
      return isThere ?? (yield* documents.loadVersion(operation, id)) !== undefined
    })

  /** The document that has the values of a unique key. */
  const findByUnique = Effect.fnUntraced(function* (
    operation: string,
    label: string,
    values: Readonly<Record<string, unknown>>
  ) {
    const { uniques } = yield* documents.indexes
    const unique = uniques.get(label)
    if (unique === undefined) {
      const names = [...uniques.keys()].join(", ")
      return yield* invalid(["unique"], `Expected a unique key of ${name}: ${names === "" ? "it has none" : names}`)
    }
    const unknown = Object.keys(values).find((path) => !unique.fields.includes(path))
    if (unknown !== undefined) {
      return yield* invalid([unknown], `Expected a field of unique key ${label}: ${unique.fields.join(", ")}`)
    }
    const stored = new Map<string, Json>()
    for (const path of unique.definition.fields) {
      const value = values[path.join(".")]
      if (value === undefined || value === null) continue
      const fitted = operands.fromValue(path, value, "equal")
      if (Result.isFailure(fitted)) return yield* invalid(path, fitted.failure)
      stored.set(path.join("."), fitted.success)
    }
    const digest = unique.digest((path) => stored.get(path.join(".")))
    if (digest === undefined)
      return yield* invalid([unique.fields[0]!], `Expected values of ${unique.fields.join(", ")}`)
    if (!unique.isReady) {
      const description = `unique key ${label} of ${name} is not complete: run backfill to its end`
      return yield* failure(operation, new StoreError.Unsupported({ feature: "unique key", description }))
    }
    return yield* documents.findUnique(operation, label, digest)
  })

  return {
    insert: Effect.fn("Resource.insert")(function* (input) {
      return yield* operations.insert("Resource.insert", input)
    }, labelled),

    insertMany: Effect.fn("Resource.insertMany")(function* (inputs, options) {
      return yield* many(inputs, options, (input) => operations.insert("Resource.insertMany", input))
    }, labelled),

    get: Effect.fn("Resource.get")(function* (id) {
      const operation = "Resource.get"
      return yield* operations.get(operation, id, load(operation))
    }, labelled),

    getOption: Effect.fn("Resource.getOption")(function* (id) {
      const operation = "Resource.getOption"
      return yield* orNone(operations.get(operation, id, load(operation)))
    }, labelled),

    getMany: Effect.fn("Resource.getMany")(function* (ids, options) {
      const operation = "Resource.getMany"
      return yield* Effect.forEach(ids, (id) => orNone(operations.get(operation, id, load(operation))), {
        concurrency: options?.concurrency ?? defaultConcurrency
      })
    }, labelled),

    getDocument: Effect.fn("Resource.getDocument")(function* (id) {
      return yield* operations.getDocument(id, load("Resource.getDocument"))
    }, labelled),

    documentOf: Effect.fn("Resource.documentOf")(function* (value) {
      const base = documents.known.get(value as object)
      return base === undefined ? yield* missing("") : documents.documentFor(base)
    }, labelled),

    getByUnique: Effect.fn("Resource.getByUnique")(function* (label, values) {
      const operation = "Resource.getByUnique"
      yield* pipeline.admit("get")
      const found = yield* findByUnique(operation, label, values)
      // Interceptors decide before it is told whether there is such a document.
      return yield* Option.match(found, {
        onNone: () => operations.get(operation, "", () => Effect.fail(missing(""))),
        onSome: (base) => operations.get(operation, base.id, () => Effect.succeed(base))
      })
    }, labelled),

    getFromPartition: Effect.fn("Resource.getFromPartition")(function* (id, within) {
      const operation = "Resource.getFromPartition"
      return yield* operations.get(operation, id, (id) => listing.getFrom(operation, id, within))
    }, labelled),

    distinct: (within) => {
      const operation = "Resource.distinct"
      return operations.whole(operation, ["listIds", "query"], within, (request) =>
        listing.distinct(operation, request)
      )
    },

    covered: (within) => {
      const operation = "Resource.covered"
      return operations.whole(operation, ["listIds", "query"], within, (request) => listing.covered(operation, request))
    },

    update: Effect.fn("Resource.update")(function* <E = never, R = never>(
      target: string | Document.Document<A>,
      changes: Update<A> | ((current: A) => Update<A> | Effect.Effect<Update<A>, E, R>),
      options?: UpdateOptions
    ) {
      return yield* operations.update("Resource.update", target, changesOf<A, Update<A>, E, R>(changes), options)
    }, labelled),

    patch: Effect.fn("Resource.patch")(function* (target, changes, options) {
      return yield* operations.patch("Resource.patch", target, changes, options)
    }, labelled),

    replace: Effect.fn("Resource.replace")(function* (input, options) {
      return yield* operations.replace("Resource.replace", input, options?.ifRevision)
    }, labelled),

    upsert: Effect.fn("Resource.upsert")(function* (input, options) {
      return yield* operations.upsert("Resource.upsert", input, options?.retries)
    }, labelled),

    upsertMany: Effect.fn("Resource.upsertMany")(function* (inputs, options) {
      return yield* many(inputs, options, (input) => operations.upsert("Resource.upsertMany", input))
    }, labelled),

    writeAll: (inputs, options) => writeEach<Insert<S>>("Resource.writeAll", options, Effect.succeed)(inputs),

    writeAllJson: (inputs, options) => writeEach("Resource.writeAllJson", options, inputOfJson)(inputs),

    updateMany: <E = never, R = never>(
      request: Find.Request<A>,
      changes: Update<A> | ((current: A) => Update<A> | Effect.Effect<Update<A>, E, R>)
    ) => {
      const operation = "Resource.updateMany"
      return Stream.unwrap(
        Effect.map(finding.meets(request), (meets) => {
          // A change can move a document ahead in the very listing that it was found by, where it would be found again.
          const underWay = new Set<string>()
          const moved = new Set<string>()
          const one = Effect.fnUntraced(function* (base: DocumentStore.Base<A>) {
            const { id } = base
            if (underWay.has(id) || moved.has(id)) return undefined
            underWay.add(id)
            const unmet = new Pipeline.Rejected({
              resource: name,
              operation: "update",
              interceptor: operation,
              reason: "the document does not meet the conditions any more"
            })
            const check = (current: A) => {
              const base = documents.known.get(current as object)
              return base === undefined || meets(base) ? Effect.void : Effect.fail(unmet)
            }
            const change = changesOf<A, Update<A>, E, R>(changes)
            const result = yield* Effect.result(operations.update(operation, id, change, undefined, [check]))
            const after = Result.isSuccess(result) ? documents.known.get(result.success as object) : undefined
            if (after === undefined || !Equal.equals(after.stored.markers, base.stored.markers)) moved.add(id)
            underWay.delete(id)
            return Result.isFailure(result) && result.failure === unmet ? undefined : { id, result }
          })
          return operations.queryBases(operation, request).pipe(
            Stream.mapEffect(({ base }) => one(base), { concurrency: request.concurrency ?? defaultConcurrency }),
            Stream.filter((outcome) => outcome !== undefined),
            Stream.zipWithIndex,
            Stream.map(([outcome, index]) => ({ index, ...outcome }))
          )
        })
      )
    },

    query: (request) => operations.query("Resource.query", request),

    queryJson: ({ select, ...request }) =>
      Stream.unwrap(
        Effect.map(finding.checkPaths((select ?? []).map((path) => path.split("."))), () =>
          Stream.map(operations.queryJson("Resource.queryJson", request), (json) =>
            select === undefined ? finding.shown(json) : Query.project(select)(json)
          )
        )
      ),

    queryPage: Effect.fn("Resource.queryPage")(function* (request) {
      const operation = "Resource.queryPage"
      const page = yield* operations.list(operation, request)
      return { ...page, total: page.total }
    }, labelled),

    parseWhere: Effect.fn("Resource.parseWhere")(function* (json) {
      return yield* finding.parseWhere(json)
    }, labelled),

    parseOrder: Effect.fn("Resource.parseOrder")(function* (text) {
      return yield* finding.parseOrder(text)
    }, labelled),

    explainQuery: Effect.fn("Resource.explainQuery")(function* (request) {
      return yield* finding.explain(request)
    }, labelled),

    aggregate: Effect.fn("Resource.aggregate")(function* (aggregation, { maxGroups, ...request } = {}) {
      return yield* finding.aggregate(aggregation, operations.queryJson("Resource.aggregate", request), { maxGroups })
    }, labelled),

    delete: Effect.fn("Resource.delete")(function* (target, { mustExist = false } = {}) {
      yield* operations.remove("Resource.delete", target, mustExist)
    }, labelled),

    deleteMany: Effect.fn("Resource.deleteMany")(function* (ids, options) {
      return yield* operations.removeMany("Resource.deleteMany", [...ids], options?.onProgress)
    }, labelled),

    deleteAll: Effect.suspend(() => operations.removeAll("Resource.deleteAll")).pipe(
      Effect.withSpan("Resource.deleteAll"),
      labelled
    ),

    exists: Effect.fn("Resource.exists")(function* (id) {
      const operation = "Resource.exists"
      return yield* operations.exists(operation, id, exists(operation))
    }, labelled),

    count: Effect.fn("Resource.count")(function* (request = {}) {
      return yield* operations.count("Resource.count", request)
    }, labelled),

    estimatedCount: Effect.fn("Resource.estimatedCount")(function* (within = {}) {
      return yield* operations.estimatedCount("Resource.estimatedCount", within)
    }, labelled),

    recount: Effect.gen(function* () {
      const operation = "Resource.recount"
      if (counter !== undefined) return yield* counter.recount(operation)
      const description = "declare the resource with counters: true to use it"
      return yield* new DbError.NotAllowed({ resource: name, operation, description })
    }).pipe(Effect.withSpan("Resource.recount"), labelled),

    listIds: (request = {}) => operations.listIds("Resource.listIds", request),

    list: Effect.fn("Resource.list")(function* (request = {}) {
      return yield* operations.list("Resource.list", request)
    }, labelled),

    migrate: (options) =>
      Stream.unwrap(
        Effect.map(codec.version, (version) =>
          maintenance.rewrite("Resource.migrate", options, (base) =>
            Effect.succeed(base.stored.schemaVersion < version)
          )
        )
      ),

    rotate: (options) => maintenance.rotate(options),

    backfill: maintenance.backfill,

    repair: maintenance.repair,

    removePartition: Effect.fn("Resource.removePartition")(function* (label) {
      return yield* maintenance.remove("Resource.removePartition", "partitions", label)
    }, labelled),

    removeUnique: Effect.fn("Resource.removeUnique")(function* (label) {
      return yield* maintenance.remove("Resource.removeUnique", "uniques", label)
    }, labelled),

    setContent: Effect.fn("Resource.setContent")(function* (id, bytes, options) {
      const stream = bytes instanceof Uint8Array ? Stream.succeed(bytes) : bytes
      const contentType = options?.contentType ?? "application/octet-stream"
      return yield* operations.setContent("Resource.setContent", id, stream, contentType)
    }, labelled),

    getContent: Effect.fn("Resource.getContent")(function* (id, range) {
      return yield* operations.getContent("Resource.getContent", id, range)
    }, labelled),

    hasContent: Effect.fn("Resource.hasContent")(function* (id) {
      return Option.isSome(yield* operations.getContent("Resource.hasContent", id, undefined))
    }, labelled),

    deleteContent: Effect.fn("Resource.deleteContent")(function* (id) {
      yield* operations.removeContent("Resource.deleteContent", id)
    }, labelled),

    history: (id) => Stream.mapEffect(versions("Resource.history", id), ({ result }) => Effect.fromResult(result)),

    historyResults: (id) => versions("Resource.historyResults", id),

    getAt: Effect.fn("Resource.getAt")(function* (id, when) {
      return yield* operations.getDocument(id, (id) => versionAt("Resource.getAt", id, when))
    }, labelled),

    restore: Effect.fn("Resource.restore")(function* (id, when) {
      const operation = "Resource.restore"
      yield* pipeline.admit("get")
      yield* pipeline.admit("replace")
      const version = yield* versionAt(operation, id, when)
      // Who may not see it may not have it back; what interceptors make of it for the eye is not what it was.
      yield* operations.get(operation, id, () => Effect.succeed(version))
      // What was a document once can be one again.
      return yield* operations.replace(operation, version.value as Insert<S>)
    }, labelled),

    pruneHistory: ({ keep, before }) =>
      maintenance.pruneHistory(keep, before === undefined ? undefined : DateTime.toEpochMillis(before)),

    explain: Effect.fn("Resource.explain")(function* (input) {
      const base = documents.known.get(input as object)
      if (base === undefined) return yield* codec.explain(yield* documents.completed(yield* codec.construct(input)))
      return yield* codec.explain(base.value, {
        carried: base.carried,
        schemaVersion: base.stored.schemaVersion
      })
    }, labelled),

    scanResults: (options = {}) => {
      const operation = "Resource.scanResults"
      return operations
        .whole(operation, ["query"], options, (request) => listing.results(operation, request))
        .pipe(
          Stream.zipWithIndex,
          Stream.map(([{ id, result }, index]) => ({ index, id, result: Result.map(result, (base) => base.value) }))
        )
    },

    scan: (options = {}) => operations.query("Resource.scan", options),

    scanDocuments: (options = {}) =>
      Stream.map(operations.queryBases("Resource.scanDocuments", options), ({ base, value }) =>
        documents.documentFor(base, value)
      ),

    intercept: pipeline.add,

    changes: feed.stream,

    subscribe: feed.subscribe,

    onChange: feed.on
  }
})

const orNone = <A, E, R>(effect: Effect.Effect<A, DbError.NotFound | E, R>) =>
  effect.pipe(
    Effect.map(Option.some),
    Effect.catchIf(
      (error): error is Extract<DbError.NotFound | E, DbError.NotFound> => error instanceof DbError.NotFound,
      () => Effect.succeedNone
    )
  )

const changesOf = <A, U, E, R>(
  changes: U | ((current: A) => U | Effect.Effect<U, E, R>)
): ResourceOperations.Changes<A, U, E, R> => (isFunction(changes) ? { by: changes } : { values: changes })

const isFunction = <A, U, X>(changes: U | ((current: A) => X)): changes is (current: A) => X =>
  typeof changes === "function"
