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
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { Database } from "./Database.ts"
import * as DbError from "./DbError.ts"
import {
  type Any as AnyDefinition,
  type CounterOptions,
  define,
  type Definition,
  from,
  type Options,
  type PrimaryKey,
  type Services,
  type Unwritable
} from "./Definition.ts"
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
import * as Behavior from "./encoding/Behavior.ts"
import type { Json } from "./encoding/Json.ts"
import * as Guard from "./Guard.ts"
import type * as Pipeline from "./Pipeline.ts"
import * as Portable from "./Portable.ts"
import type {
  ChangeError,
  Insert,
  InsertError,
  Operations,
  Outcome,
  Repository,
  WriteOptions,
  WriteSummary
} from "./Repository.ts"
import { open, type With } from "./repository/open.ts"
import type * as Attributes from "./schema/Attributes.ts"
import * as StoreError from "./storage/StoreError.ts"

export * from "./Definition.ts"
export * from "./Repository.ts"
export type { Concurrency, Covered, Page, PageRequest, Verify, Within } from "./Query.ts"

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
  in out S extends Attributes.DocumentSchema,
  in out N extends Names = Names
> extends Context.ServiceClass<Self, Id, Repository<S, N>> {
  readonly definition: Definition<S, N>
  /** Registers the definition and opens the resource. The same reference each time, so that it is built once. */
  readonly layer: Layer.Layer<Self, DbError.DbError, Database | Services<S["Type"]>>
}

/**
 * The repository that a definition opens. Of a resource that is a service it is `Users["Service"]`.
 *
 * @category models
 * @since 0.1.0
 */
export type RepositoryOf<D> = D extends Definition<infer S, infer N> ? Repository<S, N> : never

/**
 * The operations of a resource as its interceptors see them: `Resource.OperationsOf<typeof Users.definition>`.
 *
 * @category models
 * @since 0.1.0
 */
export type OperationsOf<D> = D extends Definition<infer S, infer N> ? Operations<S, N> : never

/**
 * Any resource that is a service: what plugins take in their options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any {
  readonly key: string
  readonly definition: AnyDefinition
}

/**
 * The documents of a resource that is a service: `Resource.DocumentOf<typeof Users>`.
 *
 * @category models
 * @since 0.1.0
 */
export type DocumentOf<R extends Any> = R["definition"]["schema"]["Type"]

/**
 * The schema of the documents of a resource that is a service.
 *
 * @category models
 * @since 0.1.0
 */
export type SchemaOf<R> = R extends { readonly definition: Definition<infer S, infer _> } ? S : never

/**
 * What is known of a resource that is a service: see `Names`.
 *
 * @category models
 * @since 0.1.0
 */
export type NamesOf<R> = R extends { readonly definition: Definition<infer _, infer N> } ? N : Names

/**
 * What a program has to be given to use a resource that is a service.
 *
 * @category models
 * @since 0.1.0
 */
export type SelfOf<R> = R extends Context.Key<infer Self, infer _> ? Self : never

/**
 * Returns the key of a resource that is a service, for who takes any resource and needs so much of its repository. What `Shape` says of that is not
 * checked: it has to be a part of `Repository`, with documents of any type.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyOf = <R extends Any, Shape>(resource: R): Context.Key<SelfOf<R>, Shape> =>
  resource as unknown as Context.Key<SelfOf<R>, Shape>

/**
 * Declares a resource as a service, by options or by a definition that there is already.
 *
 * The id identifies the service in the program; what follows its last `/` is the name in the bucket, unless `name` says
 * otherwise. Throws `UnsupportedSchema` for a schema that cannot be stored.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <
    const Id extends string,
    S extends Attributes.DocumentSchema,
    Key extends PrimaryKey<S>,
    const Partitions extends Names["partitions"] = {},
    const Uniques extends Names["unique"] = {},
    const Counters extends boolean | CounterOptions<NameOf<AllPartitions<Partitions, Timestamps>>> = false,
    History extends boolean = false,
    HasContent extends boolean = false,
    Timestamps extends boolean = false,
    Userstamps extends boolean = false,
    Computed extends keyof Stored<S> = never,
    N extends Names = Declared<
      S["Type"][Key] & string,
      AllPartitions<Partitions, Timestamps>,
      Uniques,
      Features<History, HasContent, Counters>,
      CountedIn<Counters>,
      Filled<Key, Timestamps, Userstamps, Computed>
    >
  >(
    id: Id,
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
    > &
      Named<N>
  ): ServiceClass<Self, Id, S, N> => {
    const definition: Definition<S, N> = from(id, options)
    const service = Context.Service<Self, Repository<S, N>>()(id)
    return Object.assign(service, { definition, layer: Layer.effect(service, make(definition)) })
  }

/**
 * Opens a resource on a database: what `layer` does. Whoever opens it gets the same repository, with the same interceptors,
 * guards and changes. Registers the definition (see `Database.register` for requests). `parts`, interceptors and a guard, are
 * in place before anybody has the repository, until the scope closes.
 *
 * `DbError`: `Unsupported` when the resource is open with another definition, or needs a guard and has none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends Attributes.DocumentSchema, N extends Names>(
  definition: Definition<S, N>
): Effect.Effect<Repository<S, N>, DbError.DbError, Database | Services<S["Type"]>> => Effect.scoped(open(definition))

/**
 * Opens a resource like `make`, with interceptors and a guard that are in place before anybody has the repository, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWith = <S extends Attributes.DocumentSchema, N extends Names>(
  definition: Definition<S, N>,
  parts: With<S, N>
): Effect.Effect<Repository<S, N>, DbError.DbError, Database | Scope.Scope | Services<S["Type"]>> =>
  open(definition, parts)

/** The layer of a resource that is opened with something, on top of another layer of it. */
type LayerOf<Self, S extends Attributes.DocumentSchema, E, R, R0> = Layer.Layer<
  Self,
  DbError.DbError | E,
  Database | Services<S["Type"]> | Exclude<R, Scope.Scope> | R0
>

const onTop = <Self, E, R, E0, R0>(
  own: Layer.Layer<Self, E, R>,
  layer: Layer.Layer<Self, E0, R0> | undefined
): Layer.Layer<Self, E | E0, R | R0> => (layer === undefined ? own : Layer.provide(own, layer))

/**
 * Opens a resource with an interceptor: a layer of the resource, so that nobody can have it without. The interceptor may be
 * made by an effect, so that it can close over the services it needs. `layer` may be another layer of the resource, with
 * interceptors and guards of its own.
 *
 * ```ts no-check
 * const Audited = Resource.intercept(Users, { operations: ["insert"], after: ({ operation }) => Effect.log(operation) })
 * const Guarded = Resource.guard(Users, rules, { layer: Audited })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const intercept = <
  Self,
  Id extends string,
  S extends Attributes.DocumentSchema,
  N extends Names,
  const K extends Pipeline.OperationName = Pipeline.OperationName,
  E = never,
  R = never,
  E0 = never,
  R0 = never
>(
  resource: ServiceClass<Self, Id, S, N>,
  interceptor:
    | Pipeline.Interceptor<Operations<S, NoInfer<N>>, K>
    | Effect.Effect<Pipeline.Interceptor<Operations<S, NoInfer<N>>, K>, E, R>,
  { layer }: { readonly layer?: Layer.Layer<Self, E0, R0> | undefined } = {}
): LayerOf<Self, S, E | E0, R, R0> =>
  onTop(
    Layer.effect(
      resource,
      Effect.gen(function* () {
        const one = Effect.isEffect(interceptor) ? yield* interceptor : interceptor
        return yield* open(resource.definition, { prepare: (pipeline) => pipeline.add(one) })
      })
    ),
    layer
  )

/**
 * Opens a resource with a guard (`Guard.interceptor`): a layer of the resource, so that nobody can have it without. The rules
 * may be made by an effect, so that they can close over the services they ask. `layer` may be another layer of the resource.
 *
 * ```ts no-check
 * const GuardedPosts = Resource.guard(Posts, { "*": Guard.roles(["admin"]), get: Guard.allow })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const guard = <
  Self,
  Id extends string,
  S extends Attributes.DocumentSchema,
  N extends Names,
  E = never,
  R = never,
  E0 = never,
  R0 = never
>(
  resource: ServiceClass<Self, Id, S, N>,
  rules: Guard.Rules<S["Type"]> | Effect.Effect<Guard.Rules<S["Type"]>, E, R>,
  {
    layer,
    ...options
  }: Guard.InterceptorOptions & {
    readonly layer?: Layer.Layer<Self, E0, R0> | undefined
  } = {}
): LayerOf<Self, S, E | E0, R, R0> =>
  onTop(
    Layer.effect(
      resource,
      Effect.gen(function* () {
        const made = Effect.isEffect(rules) ? yield* rules : rules
        return yield* open(resource.definition, { guard: { rules: made, options } })
      })
    ),
    layer
  )

// -----------------------------------------------------------------------------
// Opening from the catalog
// -----------------------------------------------------------------------------

/**
 * Reads the definition of a resource that the catalog has, for a program that does not declare it: its newest version, with
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
  const definition = yield* definitionOf(operation, name, info.primaryKey, info.definition)
  // As they were registered, so that the same version is found again.
  return { ...definition, attributes: info.attributes }
})

/**
 * Makes a definition of its portable form, as the catalog has it and another database may have given it: to create the same resource
 * elsewhere. No request. What could not travel is named in `portable.omitted`, and what it would have checked or filled in cannot be
 * written by who has the definition alone.
 *
 * Fails with `DbError`: `Unsupported` when it is no portable definition, or one of a release that knows more.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPortable = Effect.fn("Resource.fromPortable")(function* (
  name: string,
  portable: Json,
  options: { readonly primaryKey?: string | undefined } = {}
): Effect.fn.Return<Definition<Portable.DynamicSchema>, DbError.DbError> {
  return yield* definitionOf("Resource.fromPortable", name, options.primaryKey ?? "id", portable)
})

const definitionOf = Effect.fnUntraced(function* (
  operation: string,
  name: string,
  primaryKey: string,
  json: Json | undefined
): Effect.fn.Return<Definition<Portable.DynamicSchema>, DbError.DbError> {
  const revived = Portable.toDefinition(json)
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
        primaryKey: primaryKey as never,
        allowDeleteAll: !portable.paranoid,
        behavior: portable.behavior === "user-managed" ? Behavior.userManaged() : portable.behavior,
        pin: portable.pin,
        plugins: portable.plugins ?? {},
        onExcessProperty: portable.onExcessProperty,
        ...Object.fromEntries((portable.flags ?? []).map((flag) => [flag, true])),
        ...(portable.uniqueLease === undefined ? {} : { uniqueLease: portable.uniqueLease }),
        ...(portable.compression === undefined ? {} : { compression: portable.compression })
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
    journal: (portable.flags ?? []).includes("journal")
      ? portable.journal || { images: "none", context: false }
      : undefined,
    origin: "catalog",
    unwritable: unwritable(name, portable),
    partitions: portable.partitions ?? {},
    uniques: portable.uniques ?? {},
    portable: json
  }
})

/**
 * What a program would have refused, filled in or brought into another form, and the catalog does not know: who does not
 * either must not write it.
 */
const unwritable = (name: string, { omitted }: Portable.Portable): Unwritable | undefined => {
  const why = ({ path, what }: Portable.Omission) =>
    `${name} has what did not travel with its definition (${path.length === 0 ? what : `${what} of ${path.join(".")}`}): write it by the program that declares it`
  const missing = omitted.filter(({ what }) => what !== "default" && what !== "behavior")
  const [whole] = missing.filter(
    ({ path, what }) => path.length === 0 || (what !== "check" && what !== "transformation")
  )
  const fields = missing.map((one) => {
    // Of lists and records it is about all that is in them.
    const inner = one.path.findIndex((part) => part === "[]" || part === "{}")
    return { path: inner < 0 ? one.path : one.path.slice(0, inner), why: why(one) }
  })
  return missing.length === 0 ? undefined : { whole: whole === undefined ? undefined : why(whole), fields }
}

// -----------------------------------------------------------------------------
// Sinks
// -----------------------------------------------------------------------------

/**
 * The options of `sink`.
 *
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
 * Makes a sink of `Repository.writeAll`: it draws no more than is under way, and gives how many were written and what became of
 * the rest.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sink = <S extends Attributes.DocumentSchema, N extends Names, E = never, R = never>(
  repository: Repository<S, N>,
  { keep = 1000, onOutcome = () => Effect.void, ...options }: SinkOptions<S, E, R> = {}
): Sink.Sink<WriteSummary, Insert<S, N>, never, E, R> =>
  Sink.make<Insert<S, N>>()((inputs) =>
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
