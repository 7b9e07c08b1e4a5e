/**
 * Reads documents of an HTTP API with what belongs to them, and by views, with their types: what the client of `HttpApiClient` does not know.
 *
 * ```ts
 * import * as Client from "effect-s3db/http/Client"
 * import * as HttpResources from "effect-s3db/http/HttpResources"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * class Authors extends Resource.Service<Authors>()("blog/authors", {
 *   schema: Schema.Struct({ id: Schema.String, name: Schema.String }),
 *   primaryKey: "id"
 * }) {}
 * class Posts extends Resource.Service<Posts>()("blog/posts", {
 *   schema: Schema.Struct({ id: Schema.String, title: Schema.String, authorId: Schema.String }),
 *   primaryKey: "id",
 *   partitions: { byAuthor: ["authorId"] }
 * }) {}
 *
 * const authors = HttpResources.expose(Authors, { include: ["posts"] })
 * const posts = HttpResources.expose(Posts, { include: ["author"] })
 * const Api = HttpResources.api("blog", [authors, posts], { prefix: "/api" })
 *
 * // An author with the names of three posts: `{ id, name, posts: ReadonlyArray<{ title }> }`.
 * const wanted = Client.shape(authors, { include: { posts: [Client.shape(posts, { fields: ["title"], limit: 3 })] } })
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* Client.make(Api, { baseUrl: "https://api.example.com" })
 *   const { name, posts } = yield* client.get(wanted, "ana")
 *   return [name, ...posts.map(({ title }) => title)]
 * })
 * ```
 *
 * **Details**
 *
 * A shape says what is wanted, from the same `expose` that the server has; the answer is checked by it, and what it does not have is dropped. A list
 * with one shape in it stands for what there are several of, a shape alone for what there is one of or none, which is `null`.
 *
 * @see `docs/guide/http-api.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import type * as HttpApi from "effect/http-api/HttpApi"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { percentEncode } from "../internal/text.ts"
import type * as Wire from "../Wire.ts"
import type { Exposed } from "./HttpResources.ts"
import * as Routes from "./internal/routes.ts"
import * as Problem from "./Problem.ts"

// -----------------------------------------------------------------------------
// Shapes
// -----------------------------------------------------------------------------

/**
 * What is wanted of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shape<out A> {
  /** The resource, by its name in the API. */
  readonly resource: string
  readonly view: string | undefined
  /** What is included, as the server reads it; empty: nothing. */
  readonly include: string
  /** What stands behind the name of a relation that leads here, in parentheses; empty: nothing. */
  readonly options: string
  readonly schema: Schema.Codec<A, JsonObject>
}

/**
 * What can be included: one, or, in a list, several.
 *
 * @category models
 * @since 0.1.0
 */
export type Included = Readonly<Record<string, Shape<unknown> | readonly [Shape<unknown>]>>

/** The fields that an include adds. */
type FieldsOf<I> = {
  readonly [K in keyof I]: I[K] extends readonly [Shape<infer A>]
    ? ReadonlyArray<A>
    : I[K] extends Shape<infer A>
      ? A | null
      : never
}

/**
 * What a shape leaves of documents, and adds to them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out K, out I> {
  /** A view of the resource, for documents that are asked for. What it does not show is not in `fields`. */
  readonly view?: string | undefined
  /** The fields that are wanted. Default: all that are shown. */
  readonly fields?: ReadonlyArray<K> | undefined
  /** What belongs to the documents, by the names of relations. */
  readonly include?: I | undefined
  /** How many of each document, where a relation leads here. */
  readonly limit?: number | undefined
  /** Their order, where a relation leads here, such as `-year,title`. */
  readonly order?: string | undefined
}

const isMany = (one: Shape<unknown> | readonly [Shape<unknown>]): one is readonly [Shape<unknown>] => Array.isArray(one)

/** The schema of JSON with some of its fields, and with more. */
const shaped = (
  whole: Schema.Constraint,
  fields: ReadonlyArray<string> | undefined,
  include: Included
): Schema.Codec<unknown, JsonObject> => {
  const { ast } = whole
  if (!AST.isObjects(ast)) throw new Error("a document is no struct")
  const kept = ast.propertySignatures.filter(
    ({ name }) => (fields?.includes(String(name)) ?? true) && !Object.hasOwn(include, String(name))
  )
  const unknown = fields?.find((field) => ast.propertySignatures.every(({ name }) => name !== field))
  if (unknown !== undefined) throw new Error(`${JSON.stringify(unknown)} is no field that is shown`)
  const added = Object.entries(include).map(
    ([name, one]) =>
      new AST.PropertySignature(name, (isMany(one) ? Schema.Array(one[0].schema) : Schema.NullOr(one.schema)).ast)
  )
  return Schema.make<Schema.Codec<unknown, JsonObject>>(
    new AST.Objects([...kept, ...added], ast.indexSignatures, undefined, undefined, undefined, ast.context)
  )
}

/** A resource that is exposed, as far as its documents are what matters. */
type Shown<D> = Pick<Exposed<string, never, never>, "name"> & { readonly document: Schema.Codec<D, JsonObject> }

/**
 * Says what is wanted of the documents of a resource. Throws where `fields` has what is no field that is shown.
 *
 * @category constructors
 * @since 0.1.0
 */
export const shape = <
  D extends object,
  const I extends Included = {},
  const K extends keyof D & string = keyof D & string
>(
  { document, name }: Shown<D>,
  { fields, include, limit, order, view }: Options<K, I> = {}
): Shape<Pick<D, K> & FieldsOf<I>> => {
  const included: Included = include ?? {}
  const options = [
    ...(limit === undefined ? [] : [`limit:${limit}`]),
    ...(order === undefined ? [] : [`order:${order}`]),
    // A view has its own.
    ...(fields === undefined || view !== undefined ? [] : [`fields:${fields.join(",")}`])
  ]
  const names = Object.entries(included).flatMap(([relation, one]) => {
    const inner = isMany(one) ? one[0] : one
    const said = inner.options === "" ? relation : `${relation}(${inner.options})`
    return inner.include === "" ? [said] : [said, ...inner.include.split(outside).map((path) => `${relation}.${path}`)]
  })
  return {
    resource: name,
    view,
    include: names.join(","),
    options: options.join(";"),
    // What is said of the types is what `shaped` does with the schema.
    schema: shaped(document, fields, included) as Schema.Codec<Pick<D, K> & FieldsOf<I>, JsonObject>
  }
}

/** Commas that are in no parentheses. */
const outside = /,(?![^()]*\))/

// -----------------------------------------------------------------------------
// Reading
// -----------------------------------------------------------------------------

/**
 * Which documents a list has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** Conditions, as the API takes them. */
  readonly filter?: Json | undefined
  readonly partition?: string | undefined
  readonly values?: JsonObject | undefined
  readonly order?: string | undefined
  /** How many of a page. */
  readonly limit?: number | undefined
}

/**
 * Why there is no answer: a problem that the server tells, or none that could be had or read.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure = Problem.Problem | HttpClientError | Schema.SchemaError

/**
 * Reads documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  /** Reads one document. A problem `NotFound` where there is none. */
  readonly get: <A>(shape: Shape<A>, id: string) => Effect.Effect<A, Failure>
  /** Reads a page. */
  readonly list: <A>(
    shape: Shape<A>,
    request?: Request & { readonly cursor?: string | undefined; readonly total?: boolean | undefined }
  ) => Effect.Effect<Wire.Page<A>, Failure>
  /** Reads all documents, page by page, as the stream is drawn. */
  readonly all: <A>(shape: Shape<A>, request?: Request) => Stream.Stream<A, Failure>
}

const parametersOf = (
  { include, view }: Shape<unknown>,
  more: Readonly<Record<string, string | undefined>>
): Record<string, string> =>
  Object.fromEntries(
    Object.entries({ ...more, view, include: include === "" ? undefined : include }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]]
    )
  )

const decodeProblem = Schema.decodeUnknownEffect(Problem.Problem)

/**
 * Creates a client of an API, with the client for HTTP of the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  options: {
    readonly baseUrl: string
    /** Adds what all requests have, such as a token. */
    readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
  }
): Effect.fn.Return<Client, never, HttpClient.HttpClient> {
  const groups = Object.values((api as unknown as HttpApi.HttpApi<Id, HttpApiGroup.Top>).groups)
  const known = yield* HttpClient.HttpClient
  const client = options.transformClient?.(known) ?? known
  const baseUrl = options.baseUrl.replace(/\/+$/, "")

  /** Where the resource is: groups of other kinds may be anywhere. */
  const pathOf = ({ resource }: Shape<unknown>): string =>
    `${baseUrl}${Routes.prefixOf(groups.filter(({ identifier }) => identifier === resource))}/${resource}`

  const bodyOf = Effect.fnUntraced(function* <A>(response: HttpClientResponse, schema: Schema.Codec<A, JsonObject>) {
    const json = yield* response.json
    if (response.status >= 200 && response.status < 300) return yield* Schema.decodeUnknownEffect(schema)(json)
    return yield* Effect.flatMap(decodeProblem(json), Effect.fail)
  })

  const get = Effect.fn("Client.get")(function* <A>(shape: Shape<A>, id: string): Effect.fn.Return<A, Failure> {
    const request = HttpClientRequest.get(`${pathOf(shape)}/${percentEncode(id)}`).pipe(
      HttpClientRequest.setUrlParams(parametersOf(shape, {})),
      HttpClientRequest.acceptJson
    )
    return yield* bodyOf(yield* client.execute(request), shape.schema)
  })

  const list: Client["list"] = Effect.fn("Client.list")(function* <A>(
    shape: Shape<A>,
    { cursor, filter, limit, order, partition, total, values }: Parameters<Client["list"]>[1] = {}
  ): Effect.fn.Return<Wire.Page<A>, Failure> {
    const parameters = parametersOf(shape, {
      filter: filter === undefined ? undefined : JSON.stringify(filter),
      partition,
      values: values === undefined ? undefined : JSON.stringify(values),
      order,
      limit: limit === undefined ? undefined : String(limit),
      cursor,
      total: total === undefined ? undefined : String(total)
    })
    const request = HttpClientRequest.get(pathOf(shape)).pipe(
      HttpClientRequest.setUrlParams(parameters),
      HttpClientRequest.acceptJson
    )
    const page: Schema.Codec<Wire.Page<A>, JsonObject> = Schema.Struct({
      items: Schema.Array(shape.schema),
      cursor: Schema.optionalKey(Schema.String),
      total: Schema.optionalKey(Schema.Int)
    })
    return yield* bodyOf(yield* client.execute(request), page)
  })

  return {
    get,
    list,
    all: (shape, request = {}) =>
      Stream.paginate(undefined as string | undefined, (cursor) =>
        Effect.map(list(shape, { ...request, cursor }), (page) => [
          page.items,
          page.cursor === undefined ? Option.none<string>() : Option.some<string | undefined>(page.cursor)
        ])
      )
  }
})
