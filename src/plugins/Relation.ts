/**
 * Relations between resources: documents with those that belong to them, each read once.
 *
 * ```ts
 * import * as Relation from "effect-s3db/plugins/Relation"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * class Users extends Resource.Service<Users>()("app/users", {
 *   schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
 *   primaryKey: "id"
 * }) {}
 *
 * class Posts extends Resource.Service<Posts>()("app/posts", {
 *   schema: Schema.Struct({ id: Schema.String, userId: Schema.String, title: Schema.String }),
 *   primaryKey: "id",
 *   partitions: { byUser: ["userId"] }
 * }) {}
 *
 * class Blog extends Relation.Service<Blog>()("app/Blog", {
 *   resources: () => ({ users: Users, posts: Posts }),
 *   relations: {
 *     users: { posts: { hasMany: "posts", key: "userId" } },
 *     posts: { author: { belongsTo: "users", key: "userId" } }
 *   }
 * }) {}
 *
 * const titles = Effect.gen(function* () {
 *   const { users } = yield* Blog
 *   const ada = yield* users.get("ada", { include: { posts: { order: "title", limit: 10 } } })
 *   return ada.posts.map(({ title }) => title)
 * })
 * ```
 *
 * **Details**
 *
 * A relation goes by the id, a unique key or a partition of the other side, or says `scan: true`. What is included is asked of its resource as
 * a query, with the rights of the caller: it needs the right to `query` there, and what its guards and interceptors hide is left out.
 *
 * Requests beside those of the documents themselves: by ids 1 GET for each different document, by a unique key 2 GET, by a partition 1 LIST for each
 * parent (and each 1,000 documents) and 1 GET for each document. Within one operation the same question is asked once, at whatever level
 * it comes up. A stream completes 100 documents at a time. What one operation, or one step of a stream, holds is bounded by `maxDocuments`.
 *
 * Deletions and changes go on to others where a relation says so (`onDelete`, `onChange`): the document first, noted down before, so that a process that is
 * killed leaves nothing half done for longer than until the next one is opened. 1 PUT and 1 DELETE for the note, 1 LIST for each relation; nothing of that within a
 * transaction, which it is then part of.
 *
 * @see `docs/guide/relations.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import type { Stored, Within } from "../Names.ts"
import * as Guard from "../Guard.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import type * as Query from "../Query.ts"
import type { DeleteError, ListError, ReadError, Request } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Declaration from "./relation/declaration.ts"
import * as Tree from "./relation/include.ts"
import * as Loading from "./relation/load.ts"
import * as Transaction from "../Transaction.ts"
import * as Upkeep from "./relation/upkeep.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A relation or an option that cannot be. Nothing was written. `field` says which part of it, `problem` what was expected.
 *
 * @remedy Correct what `field` names: declare the partition or unique key that `problem` asks for.
 * @category errors
 * @since 0.1.0
 */
export class InvalidRelation extends ExpectedError<InvalidRelation>("effect-s3db/plugins/Relation/InvalidRelation")(
  "InvalidRelation",
  { resource: Schema.String, relation: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    const where = [this.resource, this.relation].filter((name) => name !== "").join(".")
    return `relation ${where}, ${this.field}: ${this.problem}`
  }
}

/**
 * An include that cannot be: a relation that is not there, or one that leads back to where it has been. `path` says where in it, `problem`
 * what was expected. Nothing was read.
 *
 * @remedy Correct the include at `path`.
 * @category errors
 * @since 0.1.0
 */
export class InvalidInclude extends ExpectedError<InvalidInclude>("effect-s3db/plugins/Relation/InvalidInclude")(
  "InvalidInclude",
  { resource: Schema.String, path: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `include ${JSON.stringify(this.path)} of ${JSON.stringify(this.resource)}: ${this.problem}`
  }
}

/**
 * More documents to be included than an operation may hold. Nothing is left out in silence.
 *
 * @remedy Give the relation at `path` a `limit`, read it with `related`, which streams, or raise `maxDocuments`.
 * @category errors
 * @since 0.1.0
 */
export class TooManyIncluded extends ExpectedError<TooManyIncluded>("effect-s3db/plugins/Relation/TooManyIncluded")(
  "TooManyIncluded",
  { resource: Schema.String, path: Schema.String, most: Schema.Int },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `include ${JSON.stringify(this.path)} of ${JSON.stringify(this.resource)} came to more than ${this.most} documents: give it a limit`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidRelation | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of a deletion with what follows from it, and of going on with one.
 *
 * @category errors
 * @since 0.1.0
 */
export type UpkeepError = Upkeep.UpkeepError | DbError.TransactionConflict

/**
 * The errors of including.
 *
 * @category errors
 * @since 0.1.0
 */
export type IncludeError = InvalidInclude | TooManyIncluded | ListError

// -----------------------------------------------------------------------------
// Declaration
// -----------------------------------------------------------------------------

/**
 * The resources that have relations with each other, by the names that they go by here.
 *
 * @category models
 * @since 0.1.0
 */
export type Resources = Readonly<Record<string, Resource.Any>>

type StoredOf<R> = Stored<Resource.SchemaOf<R>>
type IdOf<R> = Resource.NamesOf<R>["id"]

/** The fields at the top of a document that can be keys of a relation. */
type KeyField<R extends Resource.Any> = {
  readonly [K in keyof Resource.DocumentOf<R> & string]-?: [NonNullable<Resource.DocumentOf<R>[K]>] extends [
    string | number | boolean
  ]
    ? K
    : never
}[keyof Resource.DocumentOf<R> & string]

interface Scanned {
  /** Allows a relation that nothing leads along: the resource is read whole, once for each level of an operation. Default `false`. */
  readonly scan?: boolean | undefined
}

interface Kept {
  /**
   * What becomes of those documents when this one is deleted, by whatever way this process deletes it: `cascade`, they are deleted (through a resource in
   * between, its documents are); `restrict`, it is `Rejected` with the code `Restricted` while there are such; `setNull`, their key is cleared. Default:
   * nothing.
   */
  readonly onDelete?: Declaration.Policy | undefined
  /** The same for when the field changes that `key` is the same as; `cascade` changes `key`, too. The primary key never does. Default: nothing. */
  readonly onChange?: Declaration.Policy | undefined
}

/**
 * One document of another resource, whose `key` has the id of this one, or what `references` has.
 *
 * @category models
 * @since 0.1.0
 */
export interface HasOne<out Target, out Key, out References> extends Scanned, Kept {
  readonly hasOne: Target
  readonly key: Key
  /** The field of this resource that `key` is the same as. Default: its primary key. */
  readonly references?: References | undefined
}

/**
 * The documents of another resource whose `key` has the id of this one, or what `references` has.
 *
 * @category models
 * @since 0.1.0
 */
export interface HasMany<out Target, out Key, out References> extends Scanned, Kept {
  readonly hasMany: Target
  readonly key: Key
  /** The field of this resource that `key` is the same as. Default: its primary key. */
  readonly references?: References | undefined
}

/**
 * The document of another resource whose id, or `references`, is in `key` of this one.
 *
 * @category models
 * @since 0.1.0
 */
export interface BelongsTo<out Target, out Key, out References> extends Scanned {
  readonly belongsTo: Target
  readonly key: Key
  /** The field of the other resource that `key` is the same as. Default: its primary key. */
  readonly references?: References | undefined
  /**
   * Whether a document can only be written while there is the one that it refers to; else it is `Rejected` with the code `NoSuchTarget`. Looked at right before
   * the write, where the key is new or another: 1 GET more, 2 by a unique key. See `docs/guide/relations.md` for what that promises. Default `false`.
   */
  readonly mustExist?: boolean | undefined
}

/**
 * The documents of another resource that a third one puts together with this one.
 *
 * @category models
 * @since 0.1.0
 */
export interface BelongsToMany<out Target, out Through, out From, out To> extends Scanned, Kept {
  readonly belongsToMany: Target
  /** The resource in between. */
  readonly through: Through
  /** Its field with the id of this resource. */
  readonly from: From
  /** Its field with the id of the other one. */
  readonly to: To
}

/**
 * A relation of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export type RelationOf<M extends Resources, S extends keyof M> =
  | {
      readonly [T in keyof M & string]:
        | HasOne<T, KeyField<M[T]>, KeyField<M[S]>>
        | HasMany<T, KeyField<M[T]>, KeyField<M[S]>>
        | BelongsTo<T, KeyField<M[S]>, KeyField<M[T]>>
    }[keyof M & string]
  | {
      readonly [J in keyof M & string]: BelongsToMany<keyof M & string, J, KeyField<M[J]>, KeyField<M[J]>>
    }[keyof M & string]

/**
 * The relations of resources, by the name of the resource and by their own.
 *
 * @category models
 * @since 0.1.0
 */
export type RelationsOf<M extends Resources> = {
  readonly [S in keyof M]?: Readonly<Record<string, RelationOf<M, S>>>
}

/**
 * The relations of a program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<M extends Resources, R> extends Plugin.Options {
  /** The resources, or a function that gives them: for classes in modules that import each other. */
  readonly resources: M | (() => M)
  readonly relations: R
  /** The most documents that one operation, or one step of a stream, includes. Default 10,000. */
  readonly maxDocuments?: number | undefined
}

// -----------------------------------------------------------------------------
// Includes
// -----------------------------------------------------------------------------

type RelationsIn<R, S> = S extends keyof R ? NonNullable<R[S]> : {}

type TargetOf<One> = One extends { readonly hasOne: infer T }
  ? T
  : One extends { readonly hasMany: infer T }
    ? T
    : One extends { readonly belongsTo: infer T }
      ? T
      : One extends { readonly belongsToMany: infer T }
        ? T
        : never

type IsMany<One> = One extends { readonly hasMany: unknown } | { readonly belongsToMany: unknown } ? true : false

/**
 * Which relations of a resource are included: `true`, or with conditions and what is included of theirs.
 *
 * @category models
 * @since 0.1.0
 */
export type Include<M extends Resources, R, S> = {
  readonly [Name in keyof RelationsIn<R, S>]?:
    | boolean
    | IncludeOptions<M, R, TargetOf<RelationsIn<R, S>[Name]> & keyof M>
}

/**
 * What of a relation is included.
 *
 * @category models
 * @since 0.1.0
 */
export interface IncludeOptions<M extends Resources, R, T extends keyof M> {
  /** Conditions on the documents. */
  readonly where?: Query.Where<Query.Queryable<StoredOf<M[T]>>> | undefined
  /** Their order, among those of one document. Default: that of the keys; through a resource in between that of its documents. */
  readonly order?: Query.OrderBy<Query.Queryable<StoredOf<M[T]>>> | undefined
  /** How many of each document at most. Default: all. */
  readonly limit?: number | undefined
  /** The fields that are wanted, beside what is included. Default: all. Documents are read whole. */
  readonly select?: ReadonlyArray<keyof Resource.DocumentOf<M[T]> & string> | undefined
  readonly include?: Include<M, R, T> | undefined
}

/**
 * A document with what is included.
 *
 * @category models
 * @since 0.1.0
 */
export type Included<M extends Resources, R, S extends keyof M, I> = Resource.DocumentOf<M[S]> & Fields<M, R, S, I>

/** The fields that an include adds. */
type Fields<M extends Resources, R, S extends keyof M, I> = [keyof I] extends [never]
  ? unknown
  : {
      readonly [Name in keyof I & keyof RelationsIn<R, S> as I[Name] extends false | undefined ? never : Name]: Found<
        IsMany<RelationsIn<R, S>[Name]>,
        Item<M, R, TargetOf<RelationsIn<R, S>[Name]> & keyof M, I[Name]>,
        I[Name]
      >
    }

type Found<Many, A, Asked> =
  | (Many extends true ? ReadonlyArray<A> : A | null)
  | (boolean extends Asked ? undefined : undefined extends Asked ? undefined : never)

type Item<M extends Resources, R, T extends keyof M, O> = O extends { readonly select: ReadonlyArray<infer K> }
  ? Pick<Resource.DocumentOf<M[T]>, K & keyof Resource.DocumentOf<M[T]>> & Fields<M, R, T, IncludeIn<O>>
  : Included<M, R, T, IncludeIn<O>>

type IncludeIn<O> = O extends { readonly include: infer I } ? I : {}

/** What is included of the documents that an operation gives. */
interface Including<out I> {
  readonly include?: I | undefined
}

// -----------------------------------------------------------------------------
// Service
// -----------------------------------------------------------------------------

/**
 * The reading operations of a resource, with what belongs to its documents. Without `include` they are those of the repository.
 *
 * @category models
 * @since 0.1.0
 */
export interface Related<M extends Resources, R, S extends keyof M> {
  /** Reads a document. `NotFound`. */
  readonly get: <const I extends Include<M, R, S> = {}>(
    id: IdOf<M[S]>,
    options?: Including<I>
  ) => Effect.Effect<Included<M, R, S, I>, DbError.NotFound | ReadError | IncludeError>

  /** Reads a document, absence being `None`. */
  readonly getOption: <const I extends Include<M, R, S> = {}>(
    id: IdOf<M[S]>,
    options?: Including<I>
  ) => Effect.Effect<Option.Option<Included<M, R, S, I>>, ReadError | IncludeError>

  /** Reads documents, in input order. What belongs to several of them is read once. */
  readonly getMany: <const I extends Include<M, R, S> = {}>(
    ids: Iterable<IdOf<M[S]>> & object,
    options?: Including<I> & Query.Concurrency
  ) => Effect.Effect<ReadonlyArray<Option.Option<Included<M, R, S, I>>>, ReadError | IncludeError>

  /** One page, in the order of the keys. */
  readonly list: <const I extends Include<M, R, S> = {}>(
    request?: Within<Resource.SchemaOf<M[S]>, Resource.NamesOf<M[S]>> &
      Query.PageRequest &
      Query.Concurrency &
      Query.OnCorrupt &
      Including<I>
  ) => Effect.Effect<Query.Page<Included<M, R, S, I>>, IncludeError>

  /** What meets conditions, completed 100 documents at a time, as the stream is drawn. */
  readonly query: <const I extends Include<M, R, S> = {}>(
    request: Request<Resource.SchemaOf<M[S]>, Resource.NamesOf<M[S]>> & Query.OnCorrupt & Including<I>
  ) => Stream.Stream<Included<M, R, S, I>, IncludeError>

  /** One page of what `query` gives. */
  readonly queryPage: <const I extends Include<M, R, S> = {}>(
    request: Request<Resource.SchemaOf<M[S]>, Resource.NamesOf<M[S]>> &
      Query.OnCorrupt &
      Query.PageRequest &
      Query.Total &
      Including<I>
  ) => Effect.Effect<Query.Page<Included<M, R, S, I>> & { readonly total: number | undefined }, IncludeError>

  /** Every document, completed 100 at a time, as the stream is drawn. */
  readonly scan: <const I extends Include<M, R, S> = {}>(
    options?: Within<Resource.SchemaOf<M[S]>, Resource.NamesOf<M[S]>> &
      Query.Concurrency &
      Query.OnCorrupt &
      Including<I>
  ) => Stream.Stream<Included<M, R, S, I>, IncludeError>

  /** Completes documents that are there already: copies of them, in their order. */
  readonly load: <const I extends Include<M, R, S>>(
    documents: Iterable<Resource.DocumentOf<M[S]>>,
    include: I
  ) => Effect.Effect<ReadonlyArray<Included<M, R, S, I>>, IncludeError>

  /** Completes documents in JSON form, as `queryJson` gives them, for an API: what is included is in that form, too, without secrets. */
  readonly loadJson: (
    documents: Iterable<JsonObject>,
    include: AnyInclude,
    options?: LoadJsonOptions
  ) => Effect.Effect<ReadonlyArray<JsonObject>, IncludeError>

  /** Reads an include from a text, such as `posts.comments,profile`, for `loadJson`. No request. `InvalidInclude`. */
  readonly parseInclude: (text: string) => Effect.Effect<AnyInclude, InvalidInclude>

  /** The resources that an include shows documents of, for an API that does not offer all of them. No request. `InvalidInclude`. */
  readonly resourcesIn: (include: AnyInclude) => Effect.Effect<ReadonlyArray<keyof M & string>, InvalidInclude>

  /**
   * What a `hasMany` of a document leads to, as a stream: of any number, 100 at a time. `InvalidInclude`: it is no such relation, or has an order that no
   * partition has and no limit.
   */
  readonly related: <
    const Name extends keyof RelationsIn<R, S> & string,
    const O extends IncludeOptions<M, R, TargetOf<RelationsIn<R, S>[Name]> & keyof M> = {}
  >(
    document: Resource.DocumentOf<M[S]>,
    name: Name,
    options?: O
  ) => Stream.Stream<Item<M, R, TargetOf<RelationsIn<R, S>[Name]> & keyof M, O>, IncludeError>

  /**
   * Deletes a document with what its relations say of others: in one transaction where they are 50 at most, else as the `delete` of the repository does, which notes down
   * what it is about and goes on after a crash. `Rejected` with the code `Restricted`: others belong to it.
   */
  readonly delete: (id: IdOf<M[S]>) => Effect.Effect<void, DeleteError | UpkeepError>

  /**
   * Tells of documents of this resource whose `belongsTo` leads to nothing. It reads every one, as the program's own work, and what they refer to,
   * each once for 100 documents. `InvalidInclude`: it is no `belongsTo`.
   */
  readonly orphans: (relation: keyof RelationsIn<R, S> & string) => Stream.Stream<Orphan, IncludeError>

  /**
   * Goes on with deletions and changes, of any resource, that have not come to their end, and gives the number of those that have now: what each layer does when it is
   * opened. 1 LIST for each 1,000, and for each 2 GET and what is to be done.
   */
  readonly resume: Effect.Effect<number, UpkeepError>
}

/**
 * A document that refers to one that is not there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Orphan {
  readonly id: string
  /** The relation, and the field that refers to nothing. */
  readonly relation: string
  readonly field: string
  readonly value: unknown
}

/**
 * What an API shows of included documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadJsonOptions {
  /** What is shown of an included document of a resource, by the name that it goes by here; `undefined`: it is left out. Default: all of it. */
  readonly show?: ((resource: string, document: JsonObject) => JsonObject | undefined) | undefined
}

/**
 * An include as data: names, each with `true` or options.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyInclude = Tree.Given

/**
 * The resources of a program with their relations, by name.
 *
 * @category models
 * @since 0.1.0
 */
export type Opened<M extends Resources, R> = { readonly [S in keyof M]: Related<M, R, S> }

/**
 * A class that is the service of relations and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  M extends Resources,
  R
> extends Plugin.ServiceClass<Self, Id, Opened<M, R>, LayerError, Database | Resource.SelfOf<M[keyof M]>> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("relation", { version: 1 })

/**
 * Declares relations as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, const M extends Resources, const R extends RelationsOf<M>>(
    id: Id,
    options: Options<M, R>
  ): ServiceClass<Self, Id, M, R> =>
    Plugin.service<Self>()(id, make<M, R>(options))

/** The most documents that are deleted or changed together with one in a transaction. */
const mostTogether = 50

/** How many documents of a stream are completed at once. */
const step = 100

/**
 * Opens relations until the scope closes. No request beside that of `Plugin.open`. `InvalidRelation`: one of them cannot be, or nothing leads along
 * it; `InvalidPlugin`: the namespace is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Relation.make")(function* <M extends Resources, const R extends RelationsOf<M>>(
  options: Options<M, R>
): Effect.fn.Return<Opened<M, R>, LayerError, Database | Scope.Scope | Resource.SelfOf<M[keyof M]>> {
  const resources: Resources = typeof options.resources === "function" ? options.resources() : options.resources
  const { maxDocuments = 10_000 } = options
  if (!Number.isSafeInteger(maxDocuments) || maxDocuments < 1) {
    const problem = "Expected a whole number from 1"
    return yield* new InvalidRelation({ resource: "", relation: "", field: "maxDocuments", problem })
  }
  const definitions = Object.fromEntries(Object.entries(resources).map(([name, { definition }]) => [name, definition]))
  const relations = Declaration.resolve(definitions, options.relations as Parameters<typeof Declaration.resolve>[1])
  if ("problem" in relations) return yield* new InvalidRelation(relations)

  const repositories = new Map<string, Upkeep.AnyRepository>()
  for (const [name, resource] of Object.entries(resources)) {
    repositories.set(name, yield* Resource.keyOf<M[keyof M], Upkeep.AnyRepository>(resource as M[keyof M]))
  }
  const database = yield* Database
  const self = yield* Plugin.open(plugin, options)
  const now = yield* StoreClock.kept(database.store)
  const upkeep = Upkeep.make({ definitions, notes: self.store(Upkeep.Note), now, relations, repositories })
  yield* Upkeep.install(database, upkeep)
  yield* self.running()
  if (upkeep.isNeeded) {
    const resuming = Effect.catch(upkeep.resume, (error) =>
      Effect.logWarning(
        "relations: what was begun could not be brought to its end; the next opening tries again",
        error
      )
    )
    yield* Effect.forkScoped(resuming)
  }

  const sourcesOf = (form: "value" | "json"): Loading.Options<never>["sources"] =>
    Object.fromEntries(
      [...repositories].map(([name, repository]) => [
        name,
        {
          definition: definitions[name]!,
          query: (request: Loading.Query) =>
            (form === "value"
              ? repository.query(request as never)
              : repository.queryJson(request as never)) as Stream.Stream<Loading.Fields, ListError>
        }
      ])
    )
  const sources = { value: sourcesOf("value"), json: sourcesOf("json") }

  const related = (name: string): Related<Resources, {}, string> => {
    const repository = repositories.get(name)!
    const nodesOf = (include: Tree.Given | undefined) =>
      Effect.suspend(() => {
        const nodes = Tree.resolve(definitions, relations, name, include ?? {})
        return "problem" in nodes
          ? Effect.fail(new InvalidInclude({ resource: name, ...nodes }))
          : Effect.succeed(nodes)
      })
    const complete = <A>(
      nodes: ReadonlyArray<Tree.Node>,
      documents: ReadonlyArray<A>,
      form: "value" | "json" = "value",
      { show }: LoadJsonOptions = {}
    ) =>
      nodes.length === 0 || documents.length === 0
        ? Effect.succeed(documents)
        : Effect.andThen(
            self.count("loads"),
            Loading.load(
              {
                sources: sources[form],
                // In JSON form all of them are such objects.
                show: show as Loading.Options<never>["show"],
                most: maxDocuments,
                tooMany: (path) => new TooManyIncluded({ resource: name, path, most: maxDocuments }),
                count: (documents) => self.count("documents", documents)
              },
              nodes,
              documents as ReadonlyArray<Loading.Fields>
            ) as Effect.Effect<ReadonlyArray<A>, IncludeError>
          )
    const completed = <A, E>(
      include: Tree.Given | undefined,
      documents: Stream.Stream<A, E>
    ): Stream.Stream<A, E | IncludeError> =>
      Stream.unwrap(
        Effect.map(nodesOf(include), (nodes) =>
          nodes.length === 0
            ? documents
            : documents.pipe(
                Stream.grouped(step),
                Stream.mapEffect((some) => complete(nodes, some)),
                Stream.flattenIterable
              )
        )
      )
    /** Reads with nothing begun where the include is wrong. */
    const reading = <A, B, E>(
      include: Tree.Given | undefined,
      read: Effect.Effect<A, E>,
      then: (found: A, nodes: ReadonlyArray<Tree.Node>) => Effect.Effect<B, IncludeError>
    ) => Effect.flatMap(nodesOf(include), (nodes) => Effect.flatMap(read, (found) => then(found, nodes)))

    const api = {
      get: Effect.fn("Relation.get")((id: string, { include }: Including<Tree.Given> = {}) =>
        reading(include, repository.get(id), (found, nodes) => Effect.map(complete(nodes, [found]), ([one]) => one))
      ),
      getOption: Effect.fn("Relation.getOption")((id: string, { include }: Including<Tree.Given> = {}) =>
        reading(include, repository.getOption(id), (found, nodes) =>
          Effect.map(complete(nodes, Option.toArray(found)), ([one]) => Option.fromUndefinedOr(one))
        )
      ),
      getMany: Effect.fn("Relation.getMany")(
        (ids: Iterable<string> & object, { include, ...rest }: Including<Tree.Given> & Query.Concurrency = {}) =>
          reading(include, repository.getMany(ids, rest), (found, nodes) =>
            Effect.map(complete(nodes, found.flatMap(Option.toArray)), (all) => {
              let at = 0
              return found.map((one) => Option.map(one, () => all[at++]))
            })
          )
      ),
      list: Effect.fn("Relation.list")(({ include, ...request }: Including<Tree.Given> = {}) =>
        reading(include, repository.list(request), ({ cursor, items }, nodes) =>
          Effect.map(complete(nodes, items), (items) => ({ items, cursor }))
        )
      ),
      query: ({ include, ...request }: Including<Tree.Given>) => completed(include, repository.query(request)),
      queryPage: Effect.fn("Relation.queryPage")(({ include, ...request }: Including<Tree.Given>) =>
        reading(include, repository.queryPage(request), ({ items, ...page }, nodes) =>
          Effect.map(complete(nodes, items), (items) => ({ ...page, items }))
        )
      ),
      scan: ({ include, ...request }: Including<Tree.Given> = {}) => completed(include, repository.scan(request)),
      load: Effect.fn("Relation.load")((documents: Iterable<unknown>, include: Tree.Given) =>
        Effect.flatMap(nodesOf(include), (nodes) => complete(nodes, [...documents]))
      ),
      loadJson: Effect.fn("Relation.loadJson")(
        (documents: Iterable<JsonObject>, include: Tree.Given, options?: LoadJsonOptions) =>
          Effect.flatMap(nodesOf(include), (nodes) => complete(nodes, [...documents], "json", options))
      ),
      resourcesIn: Effect.fn("Relation.resourcesIn")((include: Tree.Given) =>
        Effect.map(nodesOf(include), (nodes) => [...new Set(Tree.targetsOf(nodes))].toSorted())
      ),
      parseInclude: Effect.fn("Relation.parseInclude")(function* (text: string) {
        const given = typeof text === "string" ? Tree.parse(text) : undefined
        if (given === undefined) {
          const problem = "Expected names of relations, with dots for those within others"
          return yield* new InvalidInclude({
            resource: name,
            path: typeof text === "string" ? text.slice(0, 100) : "",
            problem
          })
        }
        yield* nodesOf(given)
        return given
      }),
      related: (document: Loading.Fields, relation: string, options: Tree.Options = {}) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const [node] = yield* nodesOf({ [relation]: options })
            if (node === undefined || node.relation.kind !== "hasMany") {
              const problem = "Expected a hasMany: include the others"
              return yield* new InvalidInclude({ resource: name, path: relation, problem })
            }
            const { foreign, local, target, way } = node.relation
            const by = { [foreign]: { eq: document[local] } }
            const found = repositories.get(target)!.query({
              where: node.where === undefined ? by : { $and: [by, node.where] },
              ...(node.order === undefined ? {} : { order: node.order as string }),
              ...(node.limit === undefined ? {} : { limit: node.limit }),
              ...(way === "scan" ? { scan: true } : {})
            })
            return found.pipe(
              Stream.grouped(step),
              Stream.mapEffect((some) => complete(node.children, some as ReadonlyArray<Loading.Fields>)),
              Stream.flattenIterable,
              Stream.map((one) => Loading.shownBy(node, one, one, undefined))
            )
          })
        ),
      delete: Effect.fn("Relation.delete")(function* (id: string) {
        const isInTransaction = (yield* Transaction.Current) !== undefined
        const fits = isInTransaction || (yield* upkeep.fits(name, id, mostTogether))
        yield* fits ? database.transaction(repository.delete(id)) : repository.delete(id)
      }),
      orphans: (relation: string) =>
        Stream.unwrap(
          Effect.gen(function* () {
            const nodes = yield* nodesOf({ [relation]: true })
            const [node] = nodes
            if (node === undefined || node.relation.kind !== "belongsTo") {
              return yield* new InvalidInclude({ resource: name, path: relation, problem: "Expected a belongsTo" })
            }
            const { local: field } = node.relation
            const { primaryKey } = definitions[name]!
            const page = Effect.fnUntraced(function* (cursor: string | undefined) {
              const found = yield* repository.list({ limit: step, cursor })
              const items = yield* complete(nodes, found.items as ReadonlyArray<Loading.Fields>)
              const orphans = items
                .filter((one) => one[relation] === null && one[field] !== undefined && one[field] !== null)
                .map((one): Orphan => ({ id: one[primaryKey] as string, relation, field, value: one[field] }))
              return [orphans, Option.fromUndefinedOr(found.cursor)] as const
            })
            return Stream.paginate(undefined as string | undefined, (cursor) => Guard.trusted(page(cursor)))
          })
        ),
      resume: upkeep.resume
    }
    // What is included is known by what was declared alone.
    return api as unknown as Related<Resources, {}, string>
  }

  return Object.fromEntries(Object.keys(resources).map((name) => [name, related(name)])) as unknown as Opened<M, R>
})
