/**
 * Resources over HTTP: endpoints for the documents of chosen resources, derived from their definitions.
 *
 * ```ts
 * import * as HttpResources from "effect-s3db/http/HttpResources"
 * import * as Resource from "effect-s3db/Resource"
 * import { Schema } from "effect"
 *
 * class Notes extends Resource.Service<Notes>()("app/notes", {
 *   schema: Schema.Struct({ id: Schema.String, text: Schema.String, internal: Schema.optionalKey(Schema.String) }),
 *   primaryKey: "id"
 * }) {}
 *
 * const notes = HttpResources.expose(Notes, { protect: ["internal"], publicTo: "readers" })
 *
 * // For servers and for clients.
 * const Api = HttpResources.api("app", [notes], { prefix: "/api" })
 *
 * // What `HttpRouter.serve` and `HttpRouter.toWebHandler` take. It needs `Notes`, a `Database` and `Authentication`.
 * const Routes = HttpResources.layer(Api, [notes])
 * ```
 *
 * **Details**
 *
 * - Closed by default: nobody comes in without `Authentication`, unless `publicTo` says so, resource by resource. What somebody may do is
 *   what the guard of the resource says, as for the program itself: there is one repository for all.
 * - A document has its revision as `ETag`. `If-Match` makes a write go by it (412 otherwise), and is wanted where `requireIfMatch` says so (428);
 *   `If-None-Match` makes a read answer 304, and a `PUT` with `*` create only.
 * - Lists go by cursor. Their filters are JSON (`filter`) or parameters (`country=BR`, `age[gte]=18`); one that would read every document is
 *   refused, unless `scan` allows it.
 * - Secrets, password hashes and fields in `protect` are neither shown, nor can lists be filtered or ordered by them.
 * - Every answer that is no success is a problem (`Problem`), in the form of RFC 9457.
 *
 * @since 0.1.0
 */
import type * as DateTime from "effect/DateTime"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { FileSystem } from "effect/FileSystem"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import type * as Etag from "effect/http/Etag"
import type { HttpPlatform } from "effect/http/HttpPlatform"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { Path } from "effect/Path"
import type * as Schema from "effect/Schema"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type { Definition, Services } from "../Definition.ts"
import type { JsonObject } from "../encoding/Json.ts"
import type { Names } from "../Names.ts"
import type { DynamicSchema } from "../Portable.ts"
import type * as Query from "../Query.ts"
import type { Repository } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import type * as Attributes from "../schema/Attributes.ts"
import * as Wire from "../Wire.ts"
import { Authentication } from "./Authentication.ts"
import * as Around from "./internal/around.ts"
import * as Documents from "./internal/documents.ts"
import * as Endpoints from "./internal/endpoints.ts"
import * as Gate from "./internal/gate.ts"
import * as Idempotency from "./internal/idempotency.ts"
import * as OpenApiDocument from "./internal/openApi.ts"
import * as Routes from "./internal/routes.ts"
import * as Include from "./internal/include.ts"
import type * as Nearest from "./internal/nearest.ts"
import type * as Search from "./internal/search.ts"
import * as Sight from "./internal/sight.ts"
import * as Views from "./internal/views.ts"
import * as Stopping from "./internal/stopping.ts"
import * as Straight from "./internal/straight.ts"

// -----------------------------------------------------------------------------
// Exposing
// -----------------------------------------------------------------------------

/**
 * The operations that a resource may have over HTTP, by the names of their endpoints.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = Endpoints.Operation

/**
 * Fields, by path, for who has one of the roles or scopes.
 *
 * @category models
 * @since 0.1.0
 */
export type Reserved = Sight.Reserved

/** Those that go by an index. */
type Indexed = "search" | "near" | "nearest"

/** Without those that the resource was not declared with, and that it has no index for. */
type Available<N extends Names, O extends Operation, F, G, V> = Exclude<
  O,
  | ([F] extends [never] ? "search" : never)
  | ([G] extends [never] ? "near" : never)
  | ([V] extends [never] ? "nearest" : never)
  | ("history" extends N["features"] ? never : "history")
  | ("content" extends N["features"] ? never : "getContent" | "setContent" | "deleteContent")
>

/**
 * A view: what of documents is shown, and which of them, by one name.
 *
 * @category models
 * @since 0.1.0
 */
export type View = Views.View

/**
 * What connections of WebSockets to a resource may do.
 *
 * @category models
 * @since 0.1.0
 */
export interface SocketOptions {
  /**
   * The most connections of one user in this process, those of Server-Sent Events among them; of who is not logged in, of one address. Default 16: 429
   * `TooManyConnections`.
   */
  readonly perUser?: number | undefined
  /** The most connections to the resource in this process, of either way. Default 1,000: 503 `TooManyConnections`. */
  readonly total?: number | undefined
  /** How often the server asks whether somebody is there. Default 20 seconds. */
  readonly heartbeat?: Duration.Input | undefined
  /** How often it asks `Authentication` whether who has connected still counts, beside the end (`exp`) of a token; also of Server-Sent Events. Default 1 minute. */
  readonly recheck?: Duration.Input | undefined
  /** How long an answer to that may take, and the first message. Default 30 seconds: the connection is closed with 4408. */
  readonly patience?: Duration.Input | undefined
  /** The most bytes that are sent before it is known that those before have been read. Default 256 KiB. */
  readonly window?: number | undefined
  /** Origins whose pages may connect, such as `https://shop.example.com`, beside those of the host itself. */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
}

/**
 * An index of words: see `FullText`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyIndex {
  readonly resource: string
  readonly fields: ReadonlyArray<string>
}

/**
 * An index of places, or vectors: see `Geo`, `Vector` and `VectorIndex`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnyFieldIndex {
  readonly resource: string
  readonly field: string
}

/**
 * What of a resource is there over HTTP, and to whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<
  out P extends Query.Path = Query.Path,
  out O extends Operation = Operation,
  in out F = never,
  in out Index extends AnyIndex = AnyIndex,
  in out G = never,
  in out Places extends AnyFieldIndex = AnyFieldIndex,
  in out V = never,
  in out Vectors extends AnyFieldIndex = AnyFieldIndex
> {
  /** What there is. Default: everything that the definition allows. */
  readonly operations?: ReadonlyArray<O> | undefined
  /** Who needs not be logged in: `"nobody"`, the default, `"readers"`, or `"everybody"`. Guards are asked all the same. */
  readonly publicTo?: "nobody" | "readers" | "everybody" | undefined
  /** Fields that are not shown, in the notation of `Wire.PublicOptions`. Secrets and passwords need not be named. */
  readonly protect?: ReadonlyArray<P> | undefined
  /** Fields, by path, that clients must not write: 403. */
  readonly readonly?: ReadonlyArray<string> | undefined
  /**
   * Fields that only some see: who has one of the roles or scopes. Others get documents without them, and cannot filter or order by them. They
   * are optional in the schema, or within what is: clients of both kinds have one type.
   */
  readonly protectUnless?: ReadonlyArray<Reserved> | undefined
  /** Fields that only some may write: 403 for others. */
  readonly readonlyUnless?: ReadonlyArray<Reserved> | undefined
  /** Whether changes and deletions need `If-Match`: 428. Default `false`. */
  readonly requireIfMatch?: boolean | undefined
  /** Whether a document that somebody may not see is told to be missing (404) in the place of 403. Default `false`. */
  readonly hideForbidden?: boolean | undefined
  /** Whether filters and orders may read every document. Default: what the definition says, `false`. */
  readonly scan?: boolean | undefined
  /**
   * Whether lists count all pages with `total=true`. Default `true`. With a guard that looks at documents each count reads every document:
   * leave out `count` by `operations` then, too, where there are many.
   */
  readonly totals?: boolean | undefined
  /** Documents of a page where nothing is said. Default 100. */
  readonly defaultLimit?: number | undefined
  /** The most that a page may have, up to 1,000. Default 1,000. */
  readonly maxLimit?: number | undefined
  /** The most bytes of a body. Default 1 MiB. It is read no further: 413. */
  readonly maxBodyBytes?: number | undefined
  /** The most documents of a bulk request. Default 100. */
  readonly maxBulk?: number | undefined
  /**
   * How long it may take until an answer begins, the body of the request included. Default 30 seconds; content, exports and changes take their
   * time. What takes longer is interrupted: 503 `Timeout`. A write that is on its way to the store is not taken back.
   */
  readonly timeout?: Duration.Input | undefined
  /** The most bytes of a content. Default 100 MiB. */
  readonly maxContentBytes?: number | undefined
  /**
   * Relations of this resource that clients may include in `get` and `list` (`include=author,comments.author`), by name. The API is given the
   * relations with `LayerOptions.relations`, and shows of what they lead to what the endpoints of that resource do. Default: none.
   */
  readonly include?: ReadonlyArray<string> | undefined
  /**
   * The index of words of this resource (`FullText.Service`), by which clients find documents: `GET /articles/-/search?q=object storage`. Nobody finds
   * by words of fields that are not shown to him. Default: none.
   */
  readonly search?: Context.Key<F, Index> | undefined
  /**
   * The index of places of this resource (`Geo.Service`), by which clients find what is near: `GET /shops/-/near?latitude=48.85&longitude=2.35`. 403 for
   * who does not see its field. Default: none.
   */
  readonly places?: Context.Key<G, Places> | undefined
  /**
   * The vectors of this resource (`VectorIndex.Service`, or `Vector.Service`, which reads all documents that are asked for), by which clients find what is
   * alike: `POST /articles/-/nearest`. 403 for who does not see their field. Default: none.
   */
  readonly vectors?: Context.Key<V, Vectors> | undefined
  /**
   * Views by name, which clients choose with `view=` on lists, documents and exports. A view never shows more than is shown without it. One that
   * is not there is 400, one that is for others 403.
   */
  readonly views?: Readonly<Record<string, View>> | undefined
  /** Connections of WebSockets that are told of changes. */
  readonly sockets?: SocketOptions | undefined
  /** Since when clients should go away from it, and when it is going to be gone: in the OpenAPI document, and in the headers `Deprecation` and `Sunset`. */
  readonly deprecated?:
    | { readonly since: DateTime.DateTime; readonly sunset?: DateTime.DateTime | undefined }
    | undefined
  /** A document as clients send it, for the OpenAPI document. Default: one that is made of the schema. */
  readonly example?: JsonObject | undefined
}

/**
 * A resource that is there over HTTP. `group` can be part of any `HttpApi`; `handlers` implements it there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exposed<
  Name extends string,
  S extends Attributes.DocumentSchema,
  P extends Query.Path = never,
  O extends Operation = Operation,
  E = never,
  R = never
> {
  readonly name: Name
  readonly definition: Definition<DynamicSchema>
  readonly group: Endpoints.Group<Name, S, P, O>
  /** A document as it is shown. */
  readonly document: Schema.Codec<Wire.Public<S, P>, JsonObject>
  readonly settings: Documents.Settings
  /** The repository of the program: guards and interceptors are those of it; and its indexes. */
  readonly open: Effect.Effect<Opened, E, R>
}

/**
 * What a resource over HTTP stands on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly repository: Repository<DynamicSchema>
  readonly finders: Documents.Finders
}

/**
 * The name of a resource that is a service: what follows the last `/` of its id.
 *
 * @category models
 * @since 0.1.0
 */
export type NameIn<Id extends string> = Id extends `${string}/${infer Rest}` ? NameIn<Rest> : Id

/** Who asks over HTTP knows no types, only JSON. */
const untyped = <S extends Attributes.DocumentSchema, N extends Names>(repository: Repository<S, N>) =>
  repository as unknown as Repository<DynamicSchema>
const untypedIndex = (index: AnyIndex) => index as Search.Finder
const untypedPlaces = (index: AnyFieldIndex) => index as Nearest.Places
const untypedVectors = (index: AnyFieldIndex) => index as Nearest.Vectors
const untypedDefinition = <S extends Attributes.DocumentSchema, N extends Names>(definition: Definition<S, N>) =>
  definition as unknown as Definition<DynamicSchema>

const segment = /^[\w.~-]+$/

const exposed = <
  Name extends string,
  S extends Attributes.DocumentSchema,
  P extends Query.Path,
  O extends Operation,
  E,
  R,
  F,
  Index extends AnyIndex,
  G,
  Places extends AnyFieldIndex,
  V,
  Vectors extends AnyFieldIndex
>(
  name: Name,
  definition: Definition<S>,
  repository: Effect.Effect<Repository<DynamicSchema>, E, R>,
  options: Options<P, O, F, Index, G, Places, V, Vectors>
): Exposed<Name, S, P, O, E, R | F | G | V> => {
  if (!segment.test(name))
    throw new Error(`${JSON.stringify(name)} cannot be part of a path: name it with letters, digits, _, ~, . and -`)
  const protect = options.protect ?? []
  for (const path of options.protectUnless?.flatMap(({ paths }) => paths) ?? []) {
    const isOptional = definition.attributes.some(
      (one) => one.optional && (path === one.path.join(".") || path.startsWith(`${one.path.join(".")}.`))
    )
    if (!isOptional)
      throw new Error(`protectUnless names ${JSON.stringify(path)}, which is no optional field of ${definition.name}`)
  }
  const views = options.views ?? {}
  Views.check(untypedDefinition(definition), views)
  const wanted: ReadonlySet<string> | undefined = options.operations && new Set(options.operations)
  const { places, search, vectors } = options
  /** Of another resource it would find what is none of this one. */
  const ofThis = <I extends { readonly resource: string }>(index: I, what: string) =>
    index.resource === definition.name
      ? Effect.succeed(index)
      : Effect.die(new Error(`the ${what} of ${JSON.stringify(index.resource)} is none of ${definition.name}`))
  const operations = (operation: string) =>
    (search !== undefined || operation !== "search") &&
    (places !== undefined || operation !== "near") &&
    (vectors !== undefined || operation !== "nearest") &&
    (wanted?.has(operation) ?? true) &&
    (definition.history || operation !== "history") &&
    (definition.content || !operation.endsWith("Content"))
  return {
    name,
    definition: untypedDefinition(definition),
    // The type leaves out the same.
    group: Endpoints.make(definition, {
      name,
      operations,
      protect,
      readonly: options.readonly ?? [],
      include: options.include ?? [],
      views: Object.keys(views),
      example: options.example,
      publicTo: options.publicTo ?? "nobody",
      deprecated: options.deprecated
    }) as unknown as Endpoints.Group<Name, S, P, O>,
    document: Wire.public(definition, { protect }),
    settings: {
      name,
      protect,
      protectUnless: options.protectUnless ?? [],
      readonly: options.readonly ?? [],
      readonlyUnless: options.readonlyUnless ?? [],
      requireIfMatch: options.requireIfMatch ?? false,
      hideForbidden: options.hideForbidden ?? false,
      scan: options.scan ?? definition.scan,
      totals: options.totals ?? true,
      defaultLimit: Math.min(options.defaultLimit ?? 100, options.maxLimit ?? 1000),
      maxLimit: options.maxLimit ?? 1000,
      maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
      maxBulk: options.maxBulk ?? 100,
      timeout: Duration.fromInputUnsafe(options.timeout ?? "30 seconds"),
      include: options.include ?? [],
      views,
      isPublic: (options.publicTo ?? "nobody") !== "nobody",
      sockets: {
        perUser: options.sockets?.perUser ?? 16,
        total: options.sockets?.total ?? 1000,
        heartbeat: Duration.fromInputUnsafe(options.sockets?.heartbeat ?? "20 seconds"),
        recheck: Duration.fromInputUnsafe(options.sockets?.recheck ?? "1 minute"),
        patience: Duration.fromInputUnsafe(options.sockets?.patience ?? "30 seconds"),
        window: options.sockets?.window ?? 256 * 1024,
        allowedOrigins: options.sockets?.allowedOrigins ?? []
      },
      maxContentBytes: options.maxContentBytes ?? 100 * 1024 * 1024
    },
    open: Effect.gen(function* () {
      const finders = {
        words: search === undefined ? undefined : yield* ofThis(untypedIndex(yield* search), "index of words"),
        places: places === undefined ? undefined : yield* ofThis(untypedPlaces(yield* places), "index of places"),
        vectors: vectors === undefined ? undefined : yield* ofThis(untypedVectors(yield* vectors), "index of vectors")
      }
      return { repository: yield* repository, finders }
    })
  }
}

/**
 * Makes a resource that is a service available over HTTP, under the name in its id. No request.
 *
 * Throws `UnsupportedSchema` where a protected path is no field, or the schema cannot be taken over a wire.
 *
 * @category constructors
 * @since 0.1.0
 */
export const expose = <
  Self,
  const Id extends string,
  S extends Attributes.DocumentSchema,
  N extends Names,
  const P extends Query.Path = never,
  const O extends Operation = Operation,
  F = never,
  Index extends AnyIndex = AnyIndex,
  G = never,
  Places extends AnyFieldIndex = AnyFieldIndex,
  V = never,
  Vectors extends AnyFieldIndex = AnyFieldIndex
>(
  resource: Resource.ServiceClass<Self, Id, S, N>,
  options: Options<P, O, F, Index, G, Places, V, Vectors> = {}
): Exposed<NameIn<Id>, S, P, Available<N, O, F, G, V>, never, Self | F | G | V> =>
  exposed<NameIn<Id>, S, P, Available<N, O, F, G, V>, never, Self, F, Index, G, Places, V, Vectors>(
    // The type says the same of the text.
    resource.key.slice(resource.key.lastIndexOf("/") + 1) as NameIn<Id>,
    resource.definition as unknown as Definition<S>,
    Effect.map(resource, untyped),
    options as Options<P, Available<N, O, F, G, V>, F, Index, G, Places, V, Vectors>
  )

/**
 * Makes a resource that the catalog knows available over HTTP, for a program that does not declare it. Resources of plugins are
 * available by being named, as any other. See `Resource.fromCatalog` for errors. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exposeFromCatalog = Effect.fn("HttpResources.exposeFromCatalog")(function* <const Name extends string>(
  name: Name,
  options: Options<Query.Path, Exclude<Operation, Indexed>> = {}
): Effect.fn.Return<
  Exposed<
    Name,
    DynamicSchema,
    Query.Path,
    Exclude<Operation, Indexed>,
    DbError.DbError,
    Database | Services<DynamicSchema["Type"]>
  >,
  DbError.DbError,
  Database
> {
  const definition = yield* Resource.fromCatalog(name)
  return exposed(name, definition, Resource.make(definition), options)
})

// -----------------------------------------------------------------------------
// The API
// -----------------------------------------------------------------------------

/**
 * What `api` puts around the resources.
 *
 * @category models
 * @since 0.1.0
 */
export interface ApiOptions<out Prefix extends HttpRouter.PathInput = HttpRouter.PathInput> {
  /** Before every path, such as `/api`. */
  readonly prefix: Prefix
  readonly title?: string | undefined
  readonly version?: string | undefined
  readonly description?: string | undefined
}

/** A resource that is there over HTTP, whatever its documents are. */
type Any<Name extends string, Group extends HttpApiGroup.Constraint, E, R> = Pick<
  Exposed<Name, never, never, Operation, E, R>,
  "name" | "definition" | "settings" | "open"
> & { readonly group: Group }

type ErrorOf<T> = T extends { readonly open: Effect.Effect<unknown, infer E, unknown> } ? E : never
type ServicesOf<T> = T extends { readonly open: Effect.Effect<unknown, unknown, infer R> } ? R : never
/** What serving resources takes: what they need themselves, and what a server has. */
type Needs<T> =
  | ServicesOf<T>
  | Database
  | Authentication
  | HttpRouter.HttpRouter
  | Etag.Generator
  | FileSystem
  | HttpPlatform
  | Path

/**
 * Makes an API of some resources, for servers, for the OpenAPI document, and for the client of `HttpApiClient`. An API with endpoints of
 * your own is made with `HttpApi.make` and `group` of each resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const api = <
  const Id extends string,
  const Resources extends readonly [
    Any<string, HttpApiGroup.Constraint, unknown, unknown>,
    ...Array<Any<string, HttpApiGroup.Constraint, unknown, unknown>>
  ],
  const Prefix extends HttpRouter.PathInput
>(
  id: Id,
  resources: Resources,
  { description, prefix, title = id, version = "1.0.0" }: ApiOptions<Prefix>
): HttpApi.HttpApi<Id, HttpApiGroup.AddPrefix<Resources[number]["group"], Prefix>> => {
  const [first, ...rest] = resources
  const made = HttpApi.make(id)
    .add(first.group, ...rest.map(({ group }) => group))
    .prefix(prefix)
    .annotateMerge(OpenApi.annotations({ title, version, description, servers: [{ url: "/" }], transform: asDocument }))
  return made as unknown as HttpApi.HttpApi<Id, HttpApiGroup.AddPrefix<Resources[number]["group"], Prefix>>
}

const asDocument = (spec: object) => OpenApiDocument.tidy(spec as OpenApi.OpenAPISpec)

/** The group of a resource as its handlers see it: documents are JSON. */
type Erased = Endpoints.Group<"resource", DynamicSchema, never>

/** Handlers that leave alone what the group does not have. */
const restricted = <H extends object>(handlers: H, { endpoints }: { readonly endpoints: object }): H => {
  const only: H = Object.create(handlers)
  for (const name of ["handle", "handleRaw"] as const) {
    const method: unknown = Reflect.get(handlers, name)
    if (typeof method !== "function") continue
    Object.defineProperty(only, name, {
      value: (identifier: string, ...rest: ReadonlyArray<unknown>) => {
        if (Object.hasOwn(endpoints, identifier)) Reflect.apply(method, handlers, [identifier, ...rest])
        return only
      }
    })
  }
  return only
}

/**
 * Implements the group of a resource in an API that it is part of: for an API with endpoints of your own. `layer` does it for an API
 * of resources alone.
 *
 * @category layers
 * @since 0.1.0
 */
export const handlers = <
  ApiId extends string,
  Groups extends HttpApiGroup.Constraint,
  Name extends HttpApiGroup.Identifier<Groups>,
  E,
  R,
  R2 = never
>(
  api: HttpApi.HttpApi<ApiId, Groups>,
  resource: Any<Name, HttpApiGroup.Constraint, E, R>,
  options: HandlersOptions<R2> = {}
): Layer.Layer<HttpApiGroup.Service<ApiId, Name>, E, R | R2 | Database | Authentication> =>
  implement(api, resource, Straight.none, options.relations)

const implement = <
  ApiId extends string,
  Groups extends HttpApiGroup.Constraint,
  Name extends HttpApiGroup.Identifier<Groups>,
  E,
  R,
  R2 = never
>(
  api: HttpApi.HttpApi<ApiId, Groups>,
  { definition, name, open, settings }: Any<Name, HttpApiGroup.Constraint, E, R>,
  straight: Straight.Straight,
  relations: Related<R2> | undefined
): Layer.Layer<HttpApiGroup.Service<ApiId, Name>, E, R | R2 | Database | Authentication> => {
  // The same group, without its types: the name is the key by which both find it.
  const erased = api as unknown as HttpApi.HttpApi<ApiId, Erased>
  const group = HttpApiBuilder.group(
    erased,
    name as unknown as "resource",
    Effect.fnUntraced(function* (handlers) {
      const database = yield* Database
      const idempotency = Idempotency.make(database, definition, yield* Effect.scope)
      const authentication = yield* Authentication
      const includes = relations === undefined ? undefined : yield* includesOf(relations, definition, settings)
      const { finders, repository } = yield* open
      const documents = Documents.make(
        repository,
        database,
        definition,
        settings,
        idempotency,
        authentication,
        includes,
        finders,
        yield* Stopping.Stopping
      )
      const resource = erased.groups[name as unknown as "resource"]
      const gate = Gate.ofEndpoint(authentication)
      const { count, create, delete: remove, get, list, patch, replace, select } = resource.endpoints
      const { answering, answeringHere } = documents
      const said = Context.merge(erased.annotations, resource.annotations)
      const options =
        Context.getOrUndefined(said, HttpApi.QueryParseOptions) ?? Context.getOrUndefined(said, HttpApi.ParseOptions)
      straight.add(gate, get, (fiber, request, id) => answeringHere(fiber, documents.get(request, id)))
      straight.add(gate, create, (fiber, request) => answeringHere(fiber, documents.create(request)))
      straight.add(gate, replace, (fiber, request, id) => answeringHere(fiber, documents.replace(request, id)))
      straight.add(gate, patch, (fiber, request, id) => answeringHere(fiber, documents.patch(request, id)))
      straight.add(gate, remove, (fiber, request, id) => answeringHere(fiber, documents.delete(request, id)))
      straight.addAsking(
        gate,
        list,
        (fiber, request, query) => answeringHere(fiber, documents.list(request, query)),
        options
      )
      straight.addAsking(
        gate,
        select,
        (fiber, request, query) => answeringHere(fiber, documents.select(request, query)),
        options
      )
      straight.addAsking(
        gate,
        count,
        (fiber, request, query) => answeringHere(fiber, documents.count(request, query)),
        options
      )
      return restricted(handlers, resource)
        .handle("list", ({ query, request }) => answering(documents.list(request, query)))
        .handle("select", ({ query, request }) => answering(documents.select(request, query)))
        .handle("count", ({ query, request }) => answering(documents.count(request, query)))
        .handle("search", ({ query, request }) => documents.search(request, query))
        .handle("near", ({ query, request }) => documents.near(request, query))
        .handleRaw("nearest", ({ query, request }) => documents.nearest(request, query.view))
        .handleRaw("bulk", ({ query, request }) => documents.bulk.create(request, query.mode))
        .handleRaw("bulkReplace", ({ query, request }) => documents.bulk.replace(request, query.mode))
        .handleRaw("bulkPatch", ({ query, request }) => documents.bulk.patch(request, query.mode))
        .handleRaw("bulkDelete", ({ query, request }) => documents.bulk.delete(request, query.mode))
        .handleRaw("create", ({ request }) => answering(documents.create(request)))
        .handle("get", ({ params, request }) => answering(documents.get(request, params.id)))
        .handleRaw("replace", ({ params, request }) => answering(documents.replace(request, params.id)))
        .handleRaw("patch", ({ params, request }) => answering(documents.patch(request, params.id)))
        .handle("delete", ({ params, request }) => answering(documents.delete(request, params.id)))
        .handle("ndjson", ({ query, request }) => documents.ndjson(request, query))
        .handle("csv", ({ query, request }) => documents.csv(request, query))
        .handle("changes", ({ request }) => documents.changes(request))
        .handle("socket", ({ query, request }) => documents.socket(request, query.from))
        .handle("history", ({ params, query }) => documents.history(query, params.id))
        .handle("getContent", ({ params, request }) => documents.contents.get(request, params.id))
        .handleRaw("setContent", ({ params, request }) => documents.contents.set(request, params.id))
        .handle("deleteContent", ({ params }) => documents.contents.remove(params.id))
    })
  )
  return Layer.provide(group, Gate.layer) as unknown as Layer.Layer<
    HttpApiGroup.Service<ApiId, Name>,
    E,
    R | R2 | Database | Authentication
  >
}

/**
 * Relations that an API includes, made by `related`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Related<out R> {
  readonly resources: ReadonlyMap<string, Any<string, HttpApiGroup.Constraint, unknown, unknown>>
  readonly open: Effect.Effect<Readonly<Record<string, Include.Loader>>, never, R>
}

/**
 * What the handlers of a resource are given.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandlersOptions<out R = never> {
  readonly relations?: Related<R> | undefined
}

/**
 * Says which resource of the API is which of a service of relations (`Relation.Service`): those that are left out cannot be included.
 *
 * ```ts no-check
 * HttpResources.layer(Api, [users, posts], { relations: HttpResources.related(Blog, { users, posts }) })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const related = <Self, Opened extends Readonly<Record<string, Include.Loader>>>(
  relations: Context.Key<Self, Opened>,
  resources: { readonly [Name in keyof Opened]?: Any<string, HttpApiGroup.Constraint, unknown, unknown> | undefined }
): Related<Self> => ({
  resources: new Map(Object.entries(resources).flatMap(([name, one]) => (one === undefined ? [] : [[name, one]]))),
  open: Effect.map(Effect.context<Self>(), (context) => Context.getUnsafe(context, relations))
})

const includesOf = Effect.fnUntraced(function* <R>(
  { open, resources }: Related<R>,
  definition: Definition<DynamicSchema>,
  settings: Documents.Settings
) {
  const source = [...resources].find(([, one]) => one.settings.name === settings.name)?.[0]
  if (source === undefined || settings.include.length === 0) return undefined
  const targets = new Map(
    [...resources].map(([name, one]): [string, Include.Target] => {
      const endpoints: object = Reflect.get(one.group, "endpoints")
      return [
        name,
        {
          names: one.settings.include,
          isShown: Object.hasOwn(endpoints, "get") || Object.hasOwn(endpoints, "list"),
          isPublic: one.settings.isPublic,
          maxLimit: one.settings.maxLimit,
          sight: Sight.make(one.definition, one.settings)
        }
      ]
    })
  )
  return Include.make({ source, loaders: yield* open, targets })
})

/**
 * What there is beside the endpoints of resources.
 *
 * @category models
 * @since 0.1.0
 */
export interface LayerOptions<out R = never> extends HandlersOptions<R> {
  /** Who may read the OpenAPI document, at `openapi.json` below the prefix. Default `"authenticated"`. */
  readonly openApi?: "nobody" | "authenticated" | "public" | undefined
  /** Whether there is a page for people at `docs` below the prefix, which needs no network. Anybody may read it. Default `false`. */
  readonly docs?: boolean | undefined
}

/** While the program is about to stop, the connection of an answer gets no further request. */
const lastAnswers = Layer.unwrap(
  Effect.map(Stopping.Stopping, (stopping) =>
    stopping === undefined
      ? Layer.empty
      : Around.layer(
          "stopping",
          Effect.succeed((answering) =>
            Effect.map(answering, (response) =>
              stopping.isNow() ? HttpServerResponse.setHeader(response, "connection", "close") : response
            )
          )
        )
  )
)

/**
 * Serves an API of resources: what `HttpRouter.serve` and `HttpRouter.toWebHandler` take. Give those `routerConfig`, so that long ids
 * find their documents.
 *
 * Whatever is below the prefix, and no endpoint, answers with a problem: 404, or 405 with `Allow`. `OPTIONS` tells what there is.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <
  Id extends string,
  Groups extends HttpApiGroup.Constraint,
  const Resources extends ReadonlyArray<Any<string, HttpApiGroup.Constraint, unknown, unknown>>,
  R = never
>(
  api: HttpApi.HttpApi<Id, Groups>,
  resources: Resources,
  options: LayerOptions<R> = {}
): Layer.Layer<never, ErrorOf<Resources[number]>, R | Needs<Resources[number]>> => {
  const untypedApi = api as unknown as HttpApi.HttpApi<Id, HttpApiGroup.Top>
  const straight = Straight.make()
  const [first, ...rest] = resources.map((one) => implement(untypedApi, one, straight, options.relations))
  const endpoints = Layer.provide(HttpApiBuilder.layer(untypedApi), straight.layer)
  const implemented = first === undefined ? endpoints : Layer.provide(endpoints, Layer.mergeAll(first, ...rest))
  const page = options.docs === true ? Routes.page(untypedApi) : Layer.empty
  return Layer.mergeAll(implemented, Routes.layer(untypedApi, options), page, lastAnswers) as unknown as Layer.Layer<
    never,
    ErrorOf<Resources[number]>,
    R | Needs<Resources[number]>
  >
}

/**
 * The configuration of a router for ids of any length, for `HttpRouter.serve` and `HttpRouter.toWebHandler`.
 *
 * @category constants
 * @since 0.1.0
 */
export const routerConfig = { maxParamLength: 8192 } as const
