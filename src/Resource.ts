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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import * as Id from "./crypto/Id.ts"
import { Database } from "./Database.ts"
import * as Behavior from "./encoding/Behavior.ts"
import * as DbError from "./DbError.ts"
import * as Document from "./Document.ts"
import * as DocumentCodec from "./DocumentCodec.ts"
import type * as Encoding from "./encoding/Encoding.ts"
import * as merge from "./internal/merge.ts"
import * as Portable from "./Portable.ts"
import type { Input } from "./schema/Attribute.ts"
import * as Attributes from "./schema/Attributes.ts"
import * as Rules from "./schema/Rules.ts"
import { maxKeysPerRequest, type StoredObject } from "./storage/ObjectStore.ts"
import * as StoreError from "./storage/StoreError.ts"

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
  const paranoid = options.paranoid ?? true
  const portable = Portable.fromDefinition(options.schema, {
    behavior: typeof behavior === "string" ? behavior : "user-managed",
    paranoid,
    pin: { metadata: options.pin?.metadata ?? [], body: options.pin?.body ?? [] },
    hasMigrations: Object.keys(options.migrations ?? {}).length > 0
  })
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
    ...(version === undefined ? {} : { version })
  }
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
  return {
    ...define(name, {
      schema,
      name,
      primaryKey: info.primaryKey as never,
      paranoid: portable.paranoid,
      behavior: portable.behavior === "user-managed" ? Behavior.userManaged() : portable.behavior,
      pin: portable.pin
    }),
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
 * @category models
 * @since 0.1.0
 */
export interface Concurrency {
  /** How many requests run at once. Default 16; the store may allow fewer. */
  readonly concurrency?: number | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface RewriteOptions extends Concurrency {
  /** Begin after this id, where an earlier run ended. */
  readonly after?: string | undefined
}

/**
 * What was done with one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewritten {
  readonly id: string
  /** `false`: it was as it should be already, or has been deleted since it was listed. */
  readonly rewritten: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export interface PageRequest {
  /** 1 to 1,000. Default 100. */
  readonly limit?: number | undefined
  /** `cursor` of the page before. */
  readonly cursor?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Page<out A> {
  readonly items: ReadonlyArray<A>
  /** Present when there may be more. Opaque. */
  readonly cursor: string | undefined
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
  readonly failed: ReadonlyArray<{ readonly id: string; readonly error: DbError.DbError }>
}

/**
 * What can go wrong with one inserted document.
 *
 * @category errors
 * @since 0.1.0
 */
export type InsertError = DbError.AlreadyExists | DbError.InvalidInput | DbError.MetadataLimit | DbError.DbError

/**
 * What can go wrong with a change of a document.
 *
 * @category errors
 * @since 0.1.0
 */
export type ChangeError =
  | DbError.NotFound
  | DbError.Conflict
  | DbError.InvalidInput
  | DbError.MetadataLimit
  | DbError.DbError

/**
 * The documents of one resource.
 *
 * **Details**
 *
 * Ids are never checked for existence before a write: every mutation of an existing document is a compare-and-set on
 * the version that was read, every insert a create-if-absent. Requests are named at each member; a store with its usual
 * retries may send more when requests fail. `DbError` is in every error channel: the store or the catalog failed, or an
 * object cannot be decoded (`Corrupt`).
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
    options?: Concurrency
  ) => Effect.Effect<ReadonlyArray<Result.Result<S["Type"], InsertError>>>

  /** Reads a document. 1 GET. `NotFound`. */
  readonly get: (id: string) => Effect.Effect<S["Type"], DbError.NotFound | DbError.DbError>

  /** Reads a document, absence being `None`. 1 GET. */
  readonly getOption: (id: string) => Effect.Effect<Option.Option<S["Type"]>, DbError.DbError>

  /** Reads documents concurrently, in input order; each id that has none is `None` at its place. n GET. */
  readonly getMany: (
    ids: Iterable<string>,
    options?: Concurrency
  ) => Effect.Effect<ReadonlyArray<Option.Option<S["Type"]>>, DbError.DbError>

  /** Reads a document with its envelope. 1 GET. `NotFound`. */
  readonly getDocument: (id: string) => Effect.Effect<Document.Document<S["Type"]>, DbError.NotFound | DbError.DbError>

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
   * By id it succeeds also when there is nothing to delete. With a `Document` it deletes that version only: `Conflict`
   * (one HEAD more), `NotFound`, or `DbError` with `Unsupported` on a store without conditional deletes.
   */
  readonly delete: (
    target: string | Document.Document<S["Type"]>
  ) => Effect.Effect<void, DbError.NotFound | DbError.Conflict | DbError.InvalidInput | DbError.DbError>

  /** Deletes documents, those that do not exist being deleted already. One request for each 1,000. `InvalidInput`. */
  readonly deleteMany: (
    ids: Iterable<string>
  ) => Effect.Effect<DeleteManyResult, DbError.InvalidInput | DbError.DbError>

  /**
   * Deletes every document that is listed when it runs, and gives their number. One LIST and one DELETE for each 1,000.
   *
   * `NotAllowed` unless the resource is declared with `paranoid: false`.
   */
  readonly deleteAll: Effect.Effect<number, DbError.NotAllowed | DbError.DbError>

  /** Whether there is such a document. 1 HEAD. */
  readonly exists: (id: string) => Effect.Effect<boolean, DbError.DbError>

  /** How many documents there are. One LIST for each 1,000. */
  readonly count: Effect.Effect<number, DbError.DbError>

  /** Every id, in the order of the keys. One LIST for each 1,000, as the stream is drawn. */
  readonly listIds: Stream.Stream<string, DbError.DbError>

  /** One page of documents, in the order of their keys. 1 LIST, 1 GET for each document. `InvalidInput`: a bad cursor. */
  readonly list: (
    request?: PageRequest & Concurrency
  ) => Effect.Effect<Page<S["Type"]>, DbError.InvalidInput | DbError.DbError>

  /**
   * Every document, in the order of their keys, read as the stream is drawn. One LIST for each 1,000, 1 GET for each.
   * A document deleted while the stream runs may be missing from it.
   */
  readonly scan: (options?: Concurrency) => Stream.Stream<S["Type"], DbError.DbError>

  /**
   * Writes every document that is of an older schema version in the present one, in the order of their keys; what was
   * read is only overwritten as it was read. One LIST for each 1,000, 1 GET for each document, 1 PUT for each old one.
   *
   * Tells of each document. To go on after an interruption, give the id that it told last as `after`.
   */
  readonly migrate: (options?: RewriteOptions) => Stream.Stream<Rewritten, ChangeError>

  /**
   * Writes every document with a secret under an older key again, so that the older keys can be retired. Like
   * `migrate` otherwise.
   */
  readonly rotate: (options?: RewriteOptions) => Stream.Stream<Rewritten, ChangeError>

  /**
   * Where each byte of a document goes, or would go. No request. An input is cleaned up and validated as by `insert`.
   */
  readonly explain: (
    input: Insert<S> | Document.Document<S["Type"]>
  ) => Effect.Effect<DocumentCodec.Explanation, DbError.InvalidInput | DbError.MetadataLimit | DbError.DbError>

  /** Like `scan`, each document with its envelope. */
  readonly scanDocuments: (options?: Concurrency) => Stream.Stream<Document.Document<S["Type"]>, DbError.DbError>
}

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

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

/** A value together with the stored version it was read from, or written as. */
interface Base<A> {
  readonly id: string
  readonly key: string
  readonly value: A
  readonly stored: Document.Stored
  /** Stored attributes that the present schema does not know; a change leaves them as they are. */
  readonly carried: Encoding.JsonObject | undefined
  readonly isUnderOldKey: boolean
}

/** A new version of a document, ready to be sent. */
interface Prepared<A> extends Omit<Base<A>, "stored"> {
  readonly write: Document.Write
  readonly object: ReturnType<typeof Document.toObject>
}

/** Another write was first: the condition of this one does not hold. */
const lostRace = Symbol("effect-s3db/Resource/lostRace")

const defaultConcurrency = 16
const defaultRetries = 20

/** The pause before a change that lost its nth race is made again: up to 10 ms, growing to 1 s, at random. */
const pause = Effect.fnUntraced(function* (lostRaces: number) {
  const most = Math.min(1000, 10 * 1.5 ** lostRaces)
  yield* Effect.sleep(most * (yield* Random.next))
})

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
  const { name, primaryKey, schema } = definition
  const database = yield* Database
  const { store, capabilities } = database
  const codec = yield* DocumentCodec.make(definition, database, "Resource.make")
  const prefix = Document.keyPrefix(name)
  const fields = merge.fieldTree(AST.toType(schema.ast)) ?? { fields: new Map() }
  // Values and envelopes that this repository has given out, with the version they stand for.
  const known = new WeakMap<object, Base<A>>()

  const failure = (operation: string, reason: DbError.Reason) => DbError.make(operation, reason, name)
  const fromStore = (operation: string) => DbError.fromStore(operation, name)
  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)
  const missing = (id: string) => new DbError.NotFound({ resource: name, id })
  const labelled = Effect.annotateSpans({ "s3db.resource": name })

  const keyOf = (id: string) =>
    Effect.fromResult(Document.key(name, id)).pipe(Effect.mapError((message) => invalid([primaryKey], message)))

  // --- reading ---------------------------------------------------------------

  const remember = (base: Base<A>): Base<A> => {
    known.set(base.value as object, base)
    return base
  }

  const documentFor = (base: Base<A>): Document.Document<A> => {
    const document = Document.envelope(base.id, base.value, base.stored, codec.pathOf)
    known.set(document, base)
    return document
  }

  const interpret = Effect.fnUntraced(function* (operation: string, id: string, object: StoredObject) {
    const parsed = Document.fromObject(object)
    if (Result.isFailure(parsed)) {
      const description = `document ${JSON.stringify(id)}: ${parsed.failure}`
      return yield* failure(operation, new StoreError.Corrupt({ description }))
    }
    const stored = parsed.success
    return remember({ id, key: object.key, stored, ...(yield* codec.decode(operation, id, stored)) })
  })

  const load = Effect.fnUntraced(function* (operation: string, id: string) {
    const key = Document.key(name, id)
    // An id that cannot be a key has no document.
    if (Result.isFailure(key)) return yield* missing(id)
    const object = yield* store.get(key.success).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.fail(missing(id))),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    return yield* interpret(operation, id, object)
  })

  const loadIfPresent = (operation: string, id: string) =>
    load(operation, id).pipe(
      Effect.map((base) => Option.some(base)),
      Effect.catchTag("NotFound", () => Effect.succeed(Option.none<Base<A>>()))
    )

  // --- writing ---------------------------------------------------------------

  /** Encodes a value as a new version of its document. Nothing is sent. */
  const prepare = Effect.fnUntraced(function* (operation: string, input: unknown, before: Base<A> | undefined) {
    const valid = yield* codec.construct(input)
    const replaced =
      before === undefined ? undefined : { carried: before.carried, schemaVersion: before.stored.schemaVersion }
    const { id, value, ...encoded } = yield* codec.encode(operation, valid, replaced)
    const key = yield* keyOf(id)
    if (before !== undefined && before.id !== id)
      return yield* invalid([primaryKey], "Expected the id to stay as it is")
    const write: Document.Write = {
      writeId: yield* Id.writeId,
      writtenAt: yield* Clock.currentTimeMillis,
      ancestors: before === undefined ? [] : [before.stored.writeId, ...before.stored.ancestors],
      ...encoded
    }
    const object = Document.toObject(write)
    const prepared: Prepared<A> = { id, key, value, carried: before?.carried, isUnderOldKey: false, write, object }
    return prepared
  })

  const written = ({ write, object, ...rest }: Prepared<A>, etag: string): Base<A> =>
    remember({ ...rest, stored: Document.stored(write, object, etag) })

  /**
   * What became of a write whose answer was lost and whose repetition was refused: its revision when it landed,
   * `lostRace` when another write took its place, else an `OutcomeUnknown`.
   */
  const settle = Effect.fnUntraced(function* (
    operation: string,
    { id, key, write }: Prepared<A>,
    replaces: string | undefined
  ) {
    const object = yield* store.get(key).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined)),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    const found = object === undefined ? undefined : Document.fromObject(object)
    if (found !== undefined && Result.isSuccess(found)) {
      switch (Document.outcomeOf(found.success, { writeId: write.writeId, replaces })) {
        case "landed":
          return found.success.revision
        case "superseded":
          // Later writes have replaced that version: its revision matches nothing any more.
          return `superseded-${write.writeId}`
        case "refused":
          return lostRace
        case "unknown":
      }
    }
    const description = `an answer was lost, and document ${JSON.stringify(id)} has been changed or removed since, so that the write may have been done`
    return yield* failure(operation, new DbError.OutcomeUnknown({ description }))
  })

  /** Sends a version on a condition. */
  const send = Effect.fnUntraced(function* (
    operation: string,
    prepared: Prepared<A>,
    condition: { readonly ifMatch: string; readonly replaces: string | undefined } | { readonly ifNoneMatch: "*" }
  ) {
    const { replaces, ...conditions } = { replaces: undefined, ...condition }
    const etag = yield* store.put({ key: prepared.key, ...prepared.object, ...conditions }).pipe(
      Effect.map((result): string | typeof lostRace => result.etag),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: (reason) =>
          reason.afterUnknown === true ? settle(operation, prepared, replaces) : Effect.succeed(lostRace),
        NoSuchKey: () => Effect.fail(missing(prepared.id))
      }),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    return etag === lostRace ? lostRace : written(prepared, etag)
  })

  const conflict = Effect.fnUntraced(function* (operation: string, id: string, key: string) {
    const head = yield* store.head(key).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.fail(missing(id))),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    return yield* new DbError.Conflict({ resource: name, id, revision: head.etag })
  })

  const create = Effect.fnUntraced(function* (operation: string, input: unknown) {
    const prepared = yield* prepare(operation, input, undefined)
    const { id } = prepared
    // Only a condition on a version can find nothing.
    const base = yield* Effect.catchTag(send(operation, prepared, { ifNoneMatch: "*" }), "NotFound", Effect.die)
    return base === lostRace ? yield* new DbError.AlreadyExists({ resource: name, id }) : base
  })

  type Change<E, R> = (current: A) => Effect.Effect<Result.Result<unknown, merge.Problem>, E, R>

  /** Makes a change on exactly the version in hand. */
  const changeFrom = Effect.fnUntraced(function* <E, R>(operation: string, base: Base<A>, apply: Change<E, R>) {
    const changed = yield* apply(base.value)
    if (Result.isFailure(changed)) return yield* invalid(changed.failure.path, changed.failure.message)
    const prepared = yield* prepare(operation, changed.success, base)
    return yield* send(operation, prepared, { ifMatch: base.stored.revision, replaces: base.stored.writeId })
  })

  const loadRevision = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    revision: Document.Revision | undefined
  ) {
    const base = yield* load(operation, id)
    if (revision === undefined || base.stored.revision === revision) return base
    return yield* new DbError.Conflict({ resource: name, id, revision: base.stored.revision })
  })

  /** Read, change, compare and set: once with a version in hand, else until nobody comes in between. */
  const change = Effect.fnUntraced(function* <E, R>(
    operation: string,
    target: string | Document.Document<A>,
    apply: Change<E, R>,
    options: UpdateOptions | undefined
  ) {
    const { id, revision } = typeof target === "string" ? { id: target, revision: options?.ifRevision } : target
    // An envelope that was not made here is read again and compared.
    const held = typeof target === "string" ? undefined : known.get(target)
    const retries = revision === undefined ? (options?.retries ?? defaultRetries) : 0
    for (let lostRaces = 0; ; lostRaces++) {
      const before = held ?? (yield* loadRevision(operation, id, revision))
      const after = yield* changeFrom(operation, before, apply)
      if (after !== lostRace) return after.value
      if (lostRaces >= retries) return yield* conflict(operation, id, before.key)
      yield* pause(lostRaces)
    }
  })

  // --- listing ---------------------------------------------------------------

  const listPage = (operation: string, token: string | undefined, maxKeys: number, startAfter?: string) =>
    Effect.mapError(store.list({ prefix, token, startAfter, maxKeys, keysOnly: true }), fromStore(operation)).pipe(
      Effect.map((page) => ({
        ids: page.entries.flatMap((entry) => Option.toArray(Document.idOf(name, entry.key))),
        nextToken: page.nextToken
      }))
    )

  const idPages = (operation: string, startAfter?: string) =>
    Stream.paginate(undefined as string | undefined, (token) =>
      Effect.map(
        listPage(operation, token, maxKeysPerRequest, token === undefined ? startAfter : undefined),
        ({ ids, nextToken }) => [[ids], Option.fromUndefinedOr(nextToken)] as const
      )
    )

  const loadAll = (operation: string, ids: Iterable<string>, options: Concurrency | undefined) =>
    Effect.forEach(ids, (id) => loadIfPresent(operation, id), {
      concurrency: options?.concurrency ?? defaultConcurrency
    })

  /** Ids, enough at a time to keep every request slot busy, few enough to be read soon after they were listed. */
  const idBatches = (operation: string, options: Concurrency | undefined, startAfter?: string) =>
    idPages(operation, startAfter).pipe(
      Stream.flatMap(Stream.fromArray),
      Stream.grouped((options?.concurrency ?? defaultConcurrency) * 4)
    )

  const scanBases = (operation: string, options: Concurrency | undefined) =>
    idBatches(operation, options).pipe(
      Stream.mapEffect((ids) => loadAll(operation, ids, options)),
      Stream.flatMap((bases) => Stream.fromArray(bases.flatMap(Option.toArray)))
    )

  /** Writes documents again as they are, those that need it, each on the condition that it has not changed. */
  const rewrite = (operation: string, options: RewriteOptions | undefined, isOld: (base: Base<A>) => boolean) => {
    const one = Effect.fnUntraced(function* (id: string) {
      for (let lostRaces = 0; ; lostRaces++) {
        const base = yield* loadIfPresent(operation, id)
        if (Option.isNone(base) || !isOld(base.value)) return { id, rewritten: false }
        const same = Effect.succeed(Result.succeed<unknown>(base.value.value))
        const after = yield* Effect.catchTag(
          changeFrom(operation, base.value, () => same),
          "NotFound",
          () => Effect.succeed(undefined)
        )
        if (after !== lostRace) return { id, rewritten: after !== undefined }
        if (lostRaces >= defaultRetries) return yield* conflict(operation, id, base.value.key)
        yield* pause(lostRaces)
      }
    })
    const concurrency = options?.concurrency ?? defaultConcurrency
    const begin = options?.after === undefined ? Effect.succeed(undefined) : keyOf(options.after)
    return Stream.unwrap(
      Effect.map(begin, (startAfter) =>
        idBatches(operation, options, startAfter).pipe(
          Stream.mapEffect((ids) => Effect.forEach(ids, one, { concurrency })),
          Stream.flatMap(Stream.fromArray)
        )
      )
    )
  }

  // --- members ---------------------------------------------------------------

  const insert = Effect.fn("Resource.insert")(function* (input: Insert<S>) {
    const base = yield* create("Resource.insert", input)
    return base.value
  }, labelled)

  const deleteKeys = Effect.fnUntraced(function* (operation: string, keys: ReadonlyMap<string, string>) {
    const result = yield* Effect.mapError(store.deleteMany([...keys.keys()]), fromStore(operation))
    return {
      deleted: result.deleted.map((key) => keys.get(key)!),
      failed: result.failed.map(({ key, reason }) => ({ id: keys.get(key)!, error: failure(operation, reason) }))
    }
  })

  const countWith = <E>(pages: Stream.Stream<ReadonlyArray<string>, E>) =>
    Stream.runFold(
      pages,
      () => 0,
      (total, ids) => total + ids.length
    )

  return {
    insert,

    insertMany: Effect.fn("Resource.insertMany")(function* (inputs, options) {
      return yield* Effect.forEach(
        inputs,
        (input) => Effect.result(Effect.map(create("Resource.insertMany", input), (base) => base.value as A)),
        { concurrency: options?.concurrency ?? defaultConcurrency }
      )
    }, labelled),

    get: Effect.fn("Resource.get")(function* (id) {
      const base = yield* load("Resource.get", id)
      return base.value
    }, labelled),

    getOption: Effect.fn("Resource.getOption")(function* (id) {
      return Option.map(yield* loadIfPresent("Resource.getOption", id), (base) => base.value)
    }, labelled),

    getMany: Effect.fn("Resource.getMany")(function* (ids, options) {
      const bases = yield* loadAll("Resource.getMany", ids, options)
      return bases.map(Option.map((base) => base.value))
    }, labelled),

    getDocument: Effect.fn("Resource.getDocument")(function* (id) {
      return documentFor(yield* load("Resource.getDocument", id))
    }, labelled),

    documentOf: Effect.fn("Resource.documentOf")(function* (value) {
      const base = known.get(value as object)
      return base === undefined ? yield* missing("") : documentFor(base)
    }, labelled),

    update: Effect.fn("Resource.update")(function* <E = never, R = never>(
      target: string | Document.Document<A>,
      changes: Update<A> | ((current: A) => Update<A> | Effect.Effect<Update<A>, E, R>),
      options?: UpdateOptions
    ) {
      const apply = (current: A): Effect.Effect<Result.Result<unknown, merge.Problem>, E, R> => {
        const next = typeof changes === "function" ? changes(current) : changes
        return Effect.isEffect(next)
          ? Effect.map(next, (some) => merge.update(fields, current, some))
          : Effect.succeed(merge.update(fields, current, next))
      }
      return yield* change("Resource.update", target, apply, options)
    }, labelled),

    patch: Effect.fn("Resource.patch")(function* (target, changes, options) {
      return yield* change(
        "Resource.patch",
        target,
        (current) => Effect.succeed(merge.patch(fields, current, changes)),
        options
      )
    }, labelled),

    replace: Effect.fn("Resource.replace")(function* (input, options) {
      const operation = "Resource.replace"
      const prepared = yield* prepare(operation, input, undefined)
      const ifRevision = options?.ifRevision
      if (ifRevision === undefined) {
        const { etag } = yield* Effect.mapError(
          store.put({ key: prepared.key, ...prepared.object }),
          fromStore(operation)
        )
        return written(prepared, etag).value
      }
      const base = yield* send(operation, prepared, { ifMatch: ifRevision, replaces: undefined })
      return base === lostRace ? yield* conflict(operation, prepared.id, prepared.key) : base.value
    }, labelled),

    upsert: Effect.fn("Resource.upsert")(function* (input, options) {
      const operation = "Resource.upsert"
      // The document may be deleted between the two steps: then it is inserted after all.
      const attempt = create(operation, input).pipe(
        Effect.map((base) => base.value),
        Effect.catchTag("AlreadyExists", ({ id }) =>
          change(operation, id, (current) => Effect.succeed(merge.update(fields, current, input)), options)
        )
      )
      return yield* attempt.pipe(
        Effect.retry({ while: (error) => error._tag === "NotFound", times: options?.retries ?? defaultRetries }),
        Effect.catchTag("NotFound", ({ id }) => Effect.fail(new DbError.Conflict({ resource: name, id, revision: "" })))
      )
    }, labelled),

    delete: Effect.fn("Resource.delete")(function* (target) {
      const operation = "Resource.delete"
      if (typeof target === "string") {
        const key = yield* keyOf(target)
        return yield* Effect.mapError(store.delete(key), fromStore(operation))
      }
      if (!capabilities.conditionalDelete) {
        const description = "this store ignores conditions on DELETE: delete by id, or choose another store"
        return yield* failure(operation, new StoreError.Unsupported({ feature: "conditional delete", description }))
      }
      const key = yield* keyOf(target.id)
      return yield* store.delete(key, { ifMatch: target.revision }).pipe(
        Effect.catchReasons("StoreError", {
          PreconditionFailed: () => conflict(operation, target.id, key),
          NoSuchKey: () => Effect.fail(missing(target.id))
        }),
        Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
      )
    }, labelled),

    deleteMany: Effect.fn("Resource.deleteMany")(function* (ids) {
      const keys = new Map<string, string>()
      for (const id of ids) keys.set(yield* keyOf(id), id)
      return yield* deleteKeys("Resource.deleteMany", keys)
    }, labelled),

    deleteAll: Effect.gen(function* () {
      const operation = "Resource.deleteAll"
      if (definition.paranoid) {
        const description = "declare the resource with paranoid: false to allow it"
        return yield* new DbError.NotAllowed({ resource: name, operation, description })
      }
      const deletedPages = Stream.mapEffect(idPages(operation), (ids) =>
        Effect.gen(function* () {
          const keys = new Map<string, string>()
          for (const id of ids) keys.set(yield* Effect.orDie(keyOf(id)), id)
          const { deleted, failed } = yield* deleteKeys(operation, keys)
          return failed.length > 0 ? yield* failed[0]!.error : deleted
        })
      )
      return yield* countWith(deletedPages)
    }).pipe(Effect.withSpan("Resource.deleteAll"), labelled),

    exists: Effect.fn("Resource.exists")(function* (id) {
      const key = Document.key(name, id)
      if (Result.isFailure(key)) return false
      return yield* store.head(key.success).pipe(
        Effect.as(true),
        Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false)),
        Effect.catchTag("StoreError", (error) => Effect.fail(fromStore("Resource.exists")(error)))
      )
    }, labelled),

    count: countWith(idPages("Resource.count")).pipe(Effect.withSpan("Resource.count"), labelled),

    listIds: Stream.flatMap(idPages("Resource.listIds"), Stream.fromArray),

    list: Effect.fn("Resource.list")(function* (request) {
      const operation = "Resource.list"
      const limit = request?.limit ?? 100
      if (!Number.isInteger(limit) || limit < 1 || limit > maxKeysPerRequest) {
        return yield* invalid(["limit"], `Expected an integer from 1 to ${maxKeysPerRequest}`)
      }
      const { ids, nextToken } = yield* listPage(operation, request?.cursor, limit).pipe(
        Effect.catchReason("DbError", "InvalidArgument", (reason) =>
          Effect.fail(invalid(["cursor"], reason.description))
        )
      )
      const bases = yield* loadAll(operation, ids, request)
      return { items: bases.flatMap((base) => Option.toArray(Option.map(base, (b) => b.value))), cursor: nextToken }
    }, labelled),

    migrate: (options) =>
      Stream.unwrap(
        Effect.map(codec.version, (version) =>
          rewrite("Resource.migrate", options, (base) => base.stored.schemaVersion < version)
        )
      ),

    rotate: (options) => rewrite("Resource.rotate", options, (base) => base.isUnderOldKey),

    explain: Effect.fn("Resource.explain")(function* (input) {
      const base = known.get(input as object)
      if (base === undefined) return yield* codec.explain(yield* codec.construct(input))
      return yield* codec.explain(base.value, {
        carried: base.carried,
        schemaVersion: base.stored.schemaVersion
      })
    }, labelled),

    scan: (options) => Stream.map(scanBases("Resource.scan", options), (base) => base.value),

    scanDocuments: (options) => Stream.map(scanBases("Resource.scanDocuments", options), documentFor)
  }
})
