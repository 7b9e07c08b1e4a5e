/**
 * The endpoints of a resource: their paths, and what goes in and out, from which come the checks, the OpenAPI document and the client.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import type { Definition } from "../../Definition.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import type * as Query from "../../Query.ts"
import type * as Attributes from "../../schema/Attributes.ts"
import type { Insert, Patch } from "../../Repository.ts"
import * as Wire from "../../Wire.ts"
import * as Problem from "../Problem.ts"
import { exampleOf } from "./example.ts"
import { Access, AsksItself, Gate, Notice } from "./gate.ts"

const reading: ReadonlySet<string> = new Set([
  "list",
  "search",
  "near",
  "nearest",
  "select",
  "count",
  "get",
  "ndjson",
  "csv",
  "changes",
  "socket",
  "history",
  "getContent"
])

/** Whether an endpoint changes anything. */
export const isWriting = (name: string): boolean => !reading.has(name)

const json = Schema.fromJsonString(Schema.Json)

/** The conditions that lists and counts share. */
const conditions = {
  filter: Schema.optionalKey(
    json.annotate({ description: 'conditions as JSON, such as {"age":{"gte":18}}, beside those that are parameters' })
  ),
  partition: Schema.optionalKey(Schema.String.annotate({ description: "a partition to look in" })),
  values: Schema.optionalKey(
    Schema.fromJsonString(Schema.Record(Schema.String, Schema.Json)).annotate({
      description: "values of the fields of the partition, as a JSON object"
    })
  )
}

const flag = Schema.Literals(["true", "false"]).annotate({ description: "true or false" })

const paging = {
  limit: Schema.optionalKey(
    Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 1000 })).annotate({
      description: "how many documents at most, 1 to 1,000"
    })
  ),
  cursor: Schema.optionalKey(Schema.String.annotate({ description: "the cursor of the page before" })),
  order: Schema.optionalKey(Schema.String.annotate({ description: "fields to order by, such as -age,name" })),
  total: Schema.optionalKey(flag)
}

const searching = {
  q: Schema.String.check(Schema.isMinLength(1)).annotate({ description: "the words that are looked for" }),
  match: Schema.optionalKey(
    Schema.Literals(["any", "all"]).annotate({
      description:
        "any, the default: documents with any of the words, those with more of them first; all: with all of them"
    })
  ),
  highlight: Schema.optionalKey(flag),
  limit: paging.limit,
  cursor: paging.cursor
}

const degrees = (name: string, most: number) =>
  Schema.FiniteFromString.check(Schema.isBetween({ minimum: -most, maximum: most })).annotate({
    description: `the ${name} of the point, in degrees`
  })

const locating = {
  latitude: degrees("latitude", 90),
  longitude: degrees("longitude", 180),
  radius: Schema.optionalKey(
    Schema.FiniteFromString.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
      description: "the greatest distance, in metres"
    })
  ),
  within: Schema.optionalKey(
    json.annotate({
      description: 'only what is in a shape, as JSON, such as {"box":{"south":48,"west":2,"north":49,"east":3}}'
    })
  ),
  filter: conditions.filter,
  limit: paging.limit,
  cursor: paging.cursor
}

/** What is looked for by vector is too long for a URL. */
const comparing = Schema.Struct({
  to: Schema.Union([
    Schema.String.annotate({ description: "the id of a document" }),
    Schema.Array(Schema.Finite).check(Schema.isMinLength(1), Schema.isMaxLength(65_536))
  ]).annotate({ description: "a vector, or the id of a document, which is left out itself" }),
  threshold: Schema.optionalKey(Schema.Finite.annotate({ description: "the greatest distance" })),
  limit: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 })).annotate({
      description: "how many documents at most, 1 to 1,000"
    })
  ),
  cursor: paging.cursor,
  filter: Schema.optionalKey(Schema.Json.annotate({ description: 'conditions, such as {"age":{"gte":18}}' })),
  partition: conditions.partition,
  values: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Json).annotate({ description: "values of the fields of the partition" })
  )
})

/** What is asked for by vector. */
export const Comparing = comparing

const including = {
  include: Schema.optionalKey(
    Schema.String.annotate({ description: "what belongs to the documents, by the names of relations" })
  )
}

const viewing = {
  view: Schema.optionalKey(Schema.String.annotate({ description: "what of the documents, and which of them" }))
}

const exporting = { limit: paging.limit, order: paging.order }

/** The parameters that are none of a filter, by endpoint. A field of such a name is asked for in `filter`. */
export const reserved = {
  list: new Set(Object.keys({ ...conditions, ...paging })),
  select: new Set(["fields", ...Object.keys({ ...conditions, ...paging })]),
  count: new Set(Object.keys(conditions)),
  search: new Set(Object.keys({ ...conditions, ...searching })),
  near: new Set(Object.keys(locating)),
  nearest: new Set<string>(),
  export: new Set(Object.keys({ ...conditions, ...exporting }))
} as const satisfies Record<string, ReadonlySet<string>>

const ifMatch = Schema.optionalKey(
  Schema.String.annotate({ description: "write only if the document still has this ETag" })
)
const ifNoneMatch = Schema.optionalKey(
  Schema.String.annotate({ description: "answer 304 if the document still has this ETag" })
)
const prefer = Schema.optionalKey(
  Schema.String.annotate({ description: "return=minimal: answer without the document" })
)

const idempotencyKey = Schema.optionalKey(
  Schema.String.annotate({ description: "the same creation, however often it is asked for with this key within a day" })
)

const params = { id: Schema.String.annotate({ description: "the id of the document, percent-encoded" }) }

const problems = (...statuses: ReadonlyArray<number>) =>
  [400, 401, 403, 422, 429, 500, 501, 503, ...statuses].map(Problem.withStatus)

/** What of a document is shown, and under which name. */
export interface Settings<out Name extends string, out P extends Query.Path> {
  readonly name: Name
  readonly protect: ReadonlyArray<P>
  readonly readonly: ReadonlyArray<string>
  readonly example: Json | undefined
  /** The relations that can be included. */
  readonly include: ReadonlyArray<string>
  /** The names of views. */
  readonly views: ReadonlyArray<string>
  /** By the name of the endpoint. */
  readonly operations: (name: string) => boolean
  readonly publicTo: "nobody" | "readers" | "everybody"
  readonly deprecated:
    | { readonly since: DateTime.DateTime; readonly sunset?: DateTime.DateTime | undefined }
    | undefined
}

// Each has a name, by which declaration files tell of it: written out, the type of a group is more than one can hold.

interface DocumentSchema<S extends Attributes.DocumentSchema, P extends Query.Path> extends Schema.Codec<
  Wire.Public<S, P>,
  JsonObject
> {}

interface PageSchema<S extends Attributes.DocumentSchema, P extends Query.Path> extends Schema.Codec<
  Wire.Page<Wire.Public<S, P>>,
  Wire.Page<JsonObject>
> {}

interface CreateSchema<S extends Attributes.DocumentSchema> extends Schema.Codec<Insert<S>, JsonObject> {}

interface PatchSchema<S extends Attributes.DocumentSchema> extends Schema.Codec<Patch<S["Type"]>, JsonObject> {}

interface BulkSchema<S extends Attributes.DocumentSchema> extends Schema.Codec<
  { readonly items: ReadonlyArray<Insert<S>> },
  { readonly items: ReadonlyArray<JsonObject> }
> {}

/** Which document an item of a bulk request is about. */
interface Aim {
  readonly id: string
  readonly ifMatch?: string
}

interface BulkReplaceSchema<S extends Attributes.DocumentSchema> extends Schema.Codec<
  { readonly items: ReadonlyArray<Aim & { readonly document: Insert<S> }> },
  { readonly items: ReadonlyArray<Aim & { readonly document: JsonObject }> }
> {}

interface BulkPatchSchema<S extends Attributes.DocumentSchema> extends Schema.Codec<
  { readonly items: ReadonlyArray<Aim & { readonly changes: Patch<S["Type"]> }> },
  { readonly items: ReadonlyArray<Aim & { readonly changes: JsonObject }> }
> {}

interface BulkDeleteSchema extends Schema.Codec<
  { readonly items: ReadonlyArray<Aim> },
  { readonly items: ReadonlyArray<Aim> }
> {}

interface BulkItem<Document, P> {
  readonly index: number
  readonly status: number
  readonly id?: string
  readonly etag?: string
  readonly document?: Document
  readonly problem?: P
}

interface BulkOutcome<Document, P> {
  readonly items: ReadonlyArray<BulkItem<Document, P>>
  readonly summary: { readonly total: number; readonly created: number; readonly failed: number }
}

interface BulkChanges<Document, P> {
  readonly items: ReadonlyArray<BulkItem<Document, P>>
  readonly summary: { readonly total: number; readonly done: number; readonly failed: number }
}

interface ChangesSchema<S extends Attributes.DocumentSchema, P extends Query.Path> extends Schema.Codec<
  BulkChanges<Wire.Public<S, P>, Problem.Problem>,
  BulkChanges<JsonObject, typeof Problem.Problem.Encoded>
> {}

interface OutcomeSchema<S extends Attributes.DocumentSchema, P extends Query.Path> extends Schema.Codec<
  BulkOutcome<Wire.Public<S, P>, Problem.Problem>,
  BulkOutcome<JsonObject, typeof Problem.Problem.Encoded>
> {}

interface Versions<Document> {
  readonly items: ReadonlyArray<{ readonly version: number; readonly writtenAt: string; readonly document: Document }>
}

interface VersionsSchema<S extends Attributes.DocumentSchema, P extends Query.Path> extends Schema.Codec<
  Versions<Wire.Public<S, P>>,
  Versions<JsonObject>
> {}

/** What goes in and out of the endpoints of a resource. */
interface Schemas<out Name extends string, in out S extends Attributes.DocumentSchema, in out P extends Query.Path> {
  readonly path: `/${Name}`
  readonly document: DocumentSchema<S, P>
  /** The same with 201. */
  readonly created: DocumentSchema<S, P>
  readonly page: PageSchema<S, P>
  readonly create: CreateSchema<S>
  readonly patch: PatchSchema<S>
  readonly bulk: BulkSchema<S>
  readonly outcome: OutcomeSchema<S, P>
  /** The same with 207. */
  readonly partly: OutcomeSchema<S, P>
  readonly bulkReplace: BulkReplaceSchema<S>
  readonly bulkPatch: BulkPatchSchema<S>
  readonly bulkDelete: BulkDeleteSchema
  readonly changes: ChangesSchema<S, P>
  /** The same with 207. */
  readonly changesPartly: ChangesSchema<S, P>
  readonly versions: VersionsSchema<S, P>
}

const aim = {
  id: Schema.String.annotate({ description: "the id of the document" }),
  ifMatch: Schema.optionalKey(
    Schema.String.annotate({ description: "only if the document still has this ETag, written as in the header" })
  )
}

const bulkMode = {
  mode: Schema.optionalKey(
    Schema.Literals(["partial", "atomic"]).annotate({
      description: "partial, the default: each by itself; atomic: all of them or none"
    })
  )
}

const schemasOf = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>(
  definition: Definition<S>,
  { name, protect }: Pick<Settings<Name, P>, "name" | "protect">
): Schemas<Name, S, P> => {
  const shown = { protect }
  const identifier = name.replaceAll("~", "_")
  const document = Wire.public(definition, shown).annotate({ identifier })
  const create = Wire.create(definition).annotate({ identifier: `${identifier}.create` })
  const patch = Wire.patch(definition).annotate({ identifier: `${identifier}.patch` })
  const items = Schema.Array(
    Schema.Struct({
      index: Schema.Int,
      status: Schema.Int,
      id: Schema.optionalKey(Schema.String),
      etag: Schema.optionalKey(Schema.String),
      document: Schema.optionalKey(document),
      problem: Schema.optionalKey(Problem.Problem)
    })
  )
  const outcome = Schema.Struct({
    items,
    summary: Schema.Struct({ total: Schema.Int, created: Schema.Int, failed: Schema.Int })
  })
  const changes = Schema.Struct({
    items,
    summary: Schema.Struct({ total: Schema.Int, done: Schema.Int, failed: Schema.Int })
  })
  return {
    path: `/${name}` as const,
    document,
    created: document.pipe(HttpApiSchema.status(201)),
    page: Wire.page(definition, shown),
    create,
    patch,
    bulk: Schema.Struct({
      items: Schema.Array(create).annotate({ description: "the documents to create" })
    }),
    outcome,
    partly: outcome.pipe(HttpApiSchema.status(207)),
    bulkReplace: Schema.Struct({ items: Schema.Array(Schema.Struct({ ...aim, document: create })) }),
    bulkPatch: Schema.Struct({ items: Schema.Array(Schema.Struct({ ...aim, changes: patch })) }),
    bulkDelete: Schema.Struct({ items: Schema.Array(Schema.Struct(aim)) }),
    changes,
    changesPartly: changes.pipe(HttpApiSchema.status(207)),
    versions: Schema.Struct({
      items: Schema.Array(Schema.Struct({ version: Schema.Int, writtenAt: Schema.String, document }))
    })
  }
}

const bytes = HttpApiSchema.StreamUint8Array()

/** Reading many documents. */
const lists = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>({
  document,
  page,
  path
}: Schemas<Name, S, P>) =>
  [
    HttpApiEndpoint.get("list", path, {
      query: { ...conditions, ...paging, ...including, ...viewing },
      success: page,
      error: problems()
    }),
    HttpApiEndpoint.get("select", `${path}/-/select`, {
      query: {
        ...conditions,
        ...paging,
        fields: Schema.String.annotate({ description: "the fields that are wanted, by path, with commas between them" })
      },
      success: Schema.Struct({
        items: Schema.Array(Schema.Record(Schema.String, Schema.Json)),
        cursor: Schema.optionalKey(Schema.String),
        total: Schema.optionalKey(Schema.Int)
      }),
      error: problems()
    }),
    HttpApiEndpoint.get("count", `${path}/-/count`, {
      query: conditions,
      success: Schema.Struct({ count: Schema.Int }),
      error: problems()
    }),
    HttpApiEndpoint.get("search", `${path}/-/search`, {
      query: { ...conditions, ...searching, ...viewing },
      success: Schema.Struct({
        items: Schema.Array(
          Schema.Struct({
            document,
            highlights: Schema.Record(
              Schema.String,
              Schema.Struct({
                text: Schema.String,
                ranges: Schema.Array(Schema.Struct({ start: Schema.Int, end: Schema.Int }))
              })
            ).annotate({
              description: "by field, a part of the text, and where in it the words are; empty without highlight=true"
            })
          })
        ),
        cursor: Schema.optionalKey(Schema.String),
        position: Schema.Int.annotate({ description: "up to where in the journal the index knew" })
      }),
      error: problems()
    }),
    HttpApiEndpoint.get("near", `${path}/-/near`, {
      query: { ...locating, ...viewing },
      success: Schema.Struct({
        items: Schema.Array(
          Schema.Struct({ document, distance: Schema.Finite.annotate({ description: "in metres" }) })
        ),
        cursor: Schema.optionalKey(Schema.String)
      }),
      error: problems()
    }),
    HttpApiEndpoint.post("nearest", `${path}/-/nearest`, {
      query: viewing,
      payload: comparing,
      success: Schema.Struct({
        items: Schema.Array(
          Schema.Struct({
            document,
            distance: Schema.Finite.annotate({ description: "by the metric of the vectors" })
          })
        ),
        cursor: Schema.optionalKey(Schema.String),
        position: Schema.optionalKey(
          Schema.Int.annotate({ description: "up to where in the journal the index knew, where there is one" })
        ),
        isExact: Schema.Boolean.annotate({ description: "whether nothing nearer can have been missed" })
      }),
      error: problems(404, 413, 415)
    }),
    HttpApiEndpoint.get("ndjson", `${path}/-/export.ndjson`, {
      query: { ...conditions, ...exporting, ...viewing },
      success: HttpApiSchema.StreamNdjson({ schema: document }),
      error: problems()
    }),
    HttpApiEndpoint.get("csv", `${path}/-/export.csv`, {
      query: { ...conditions, ...exporting, ...viewing },
      success: HttpApiSchema.StreamUint8Array({ contentType: "text/csv" }),
      error: problems()
    }),
    HttpApiEndpoint.get("changes", `${path}/-/changes`, {
      headers: {
        "last-event-id": Schema.optionalKey(
          Schema.String.annotate({ description: "the id of the event that came last" })
        )
      },
      success: HttpApiSchema.StreamUint8Array({ contentType: "text/event-stream" }),
      error: problems()
    }),
    HttpApiEndpoint.get("socket", `${path}/-/socket`, {
      query: {
        from: Schema.optionalKey(
          Schema.String.annotate({ description: "the position to go on from, as the event that came last has it" })
        )
      },
      success: HttpApiSchema.Empty(101),
      error: problems(426)
    })
  ] as const

/** One document. */
const documents = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>({
  create,
  created,
  document,
  patch,
  path
}: Schemas<Name, S, P>) =>
  [
    HttpApiEndpoint.post("create", path, {
      headers: { prefer, "idempotency-key": idempotencyKey },
      payload: create,
      success: created,
      error: problems(409, 412, 413, 415)
    }),
    HttpApiEndpoint.get("get", `${path}/:id`, {
      params,
      headers: { "if-none-match": ifNoneMatch },
      success: document,
      error: problems(404, 412)
    }),
    HttpApiEndpoint.put("replace", `${path}/:id`, {
      params,
      headers: { "if-match": ifMatch, "if-none-match": ifNoneMatch, prefer },
      payload: create,
      success: [document, created],
      error: problems(404, 409, 412, 413, 415, 428)
    }),
    HttpApiEndpoint.patch("patch", `${path}/:id`, {
      params,
      headers: { "if-match": ifMatch, prefer },
      payload: patch,
      success: document,
      error: problems(404, 409, 412, 413, 415, 428)
    }),
    HttpApiEndpoint.delete("delete", `${path}/:id`, {
      params,
      headers: { "if-match": ifMatch },
      success: HttpApiSchema.NoContent,
      error: problems(404, 409, 412, 428)
    })
  ] as const

/** Many at once. */
const bulks = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>({
  bulk,
  bulkDelete,
  bulkPatch,
  bulkReplace,
  changes,
  changesPartly,
  outcome,
  partly,
  path
}: Schemas<Name, S, P>) =>
  [
    HttpApiEndpoint.post("bulk", `${path}/-/bulk`, {
      query: bulkMode,
      payload: bulk,
      success: [outcome, partly],
      error: problems(404, 409, 412, 413, 415)
    }),
    HttpApiEndpoint.put("bulkReplace", `${path}/-/bulk`, {
      query: bulkMode,
      payload: bulkReplace,
      success: [changes, changesPartly],
      error: problems(404, 409, 412, 413, 415, 428)
    }),
    HttpApiEndpoint.patch("bulkPatch", `${path}/-/bulk`, {
      query: bulkMode,
      payload: bulkPatch,
      success: [changes, changesPartly],
      error: problems(404, 409, 412, 413, 415, 428)
    }),
    // The body of a DELETE has no meaning, and much that is between drops it.
    HttpApiEndpoint.post("bulkDelete", `${path}/-/bulk-delete`, {
      query: bulkMode,
      payload: bulkDelete,
      success: [changes, changesPartly],
      error: problems(404, 409, 412, 413, 415, 428)
    })
  ] as const

/** Versions and content. */
const others = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>({
  path,
  versions
}: Schemas<Name, S, P>) =>
  [
    HttpApiEndpoint.get("history", `${path}/:id/history`, {
      params,
      query: { limit: paging.limit },
      success: versions,
      error: problems(404)
    }),
    HttpApiEndpoint.get("getContent", `${path}/:id/content`, {
      params,
      headers: { range: Schema.optionalKey(Schema.String), "if-none-match": ifNoneMatch },
      success: bytes,
      error: problems(404, 416)
    }),
    HttpApiEndpoint.put("setContent", `${path}/:id/content`, {
      params,
      payload: bytes,
      success: HttpApiSchema.NoContent,
      error: problems(404, 409, 413)
    }),
    HttpApiEndpoint.delete("deleteContent", `${path}/:id/content`, {
      params,
      success: HttpApiSchema.NoContent,
      error: problems(404, 409)
    })
  ] as const

/** The group of a resource. What it is in detail `Group` says. */
export const make = <const Name extends string, S extends Attributes.DocumentSchema, const P extends Query.Path>(
  definition: Definition<S>,
  { deprecated, example, include, name, operations, protect, publicTo, readonly, views }: Settings<Name, P>
): HttpApiGroup.Constraint => {
  const schemas = schemasOf(definition, { name, protect })
  const { create, document, patch } = schemas
  const whole = HttpApiGroup.make(name).add(
    ...lists(schemas),
    ...documents(schemas),
    ...bulks(schemas),
    ...others(schemas)
  )
  const group = withOnly(whole, operations)

  const writable = (given: Json | undefined): Json | undefined => without(given, readonly)
  const exampleIn = example ?? writable(exampleOf(Wire.jsonSchema(create)))
  const exampleOut = exampleOf(Wire.jsonSchema(document))
  const exampleChanges = writable(exampleOf(Wire.jsonSchema(patch)))
  const aimed = (more: JsonObject): Json => ({ items: [{ id: "1", ...more }] })
  const examples: Readonly<Record<string, readonly [request: Json | undefined, answer: Json | undefined]>> = {
    list: [undefined, exampleOut === undefined ? undefined : { items: [exampleOut] }],
    count: [undefined, { count: 1 }],
    search: [
      undefined,
      exampleOut === undefined ? undefined : { items: [{ document: exampleOut, highlights: {} }], position: 1 }
    ],
    near: [undefined, exampleOut === undefined ? undefined : { items: [{ document: exampleOut, distance: 25 }] }],
    nearest: [
      { to: "1", limit: 10 },
      exampleOut === undefined ? undefined : { items: [{ document: exampleOut, distance: 0.25 }], isExact: true }
    ],
    create: [exampleIn, exampleOut],
    replace: [exampleIn, exampleOut],
    patch: [exampleChanges, exampleOut],
    get: [undefined, exampleOut],
    bulk: [exampleIn === undefined ? undefined : { items: [exampleIn] }, undefined],
    bulkReplace: [exampleIn === undefined ? undefined : aimed({ document: exampleIn }), undefined],
    bulkPatch: [exampleChanges === undefined ? undefined : aimed({ changes: exampleChanges }), undefined],
    bulkDelete: [aimed({}), undefined]
  }

  for (const endpoint of Object.values(group.endpoints)) {
    // Made for this group a moment ago: nobody else has them.
    const access = publicTo === "everybody" || (publicTo === "readers" && !isWriting(endpoint.identifier))
    Object.assign(endpoint, {
      annotations: Context.merge(
        endpoint.annotations,
        Context.merge(
          Context.make(Access, access ? "public" : "authenticated").pipe(
            Context.add(Notice, noticeOf(deprecated)),
            Context.add(AsksItself, endpoint.identifier === "socket")
          ),
          OpenApi.annotations({
            summary: `${summaries[endpoint.identifier] ?? endpoint.identifier} ${name}`,
            ...(deprecated === undefined ? {} : { deprecated: true }),
            // OpenAPI has no WebSockets: an operation has an answer of 2xx there.
            exclude: endpoint.identifier === "socket",
            transform: (operation) =>
              withMore(
                endpoint.identifier,
                include,
                views
              )(withExamples(examples[endpoint.identifier] ?? [undefined, undefined])(operation as Described))
          })
        )
      )
    })
  }
  return group.middleware(Gate).annotate(OpenApi.Description, `Documents of ${name}`)
}

/** The group without some endpoints. */
const withOnly = <G extends HttpApiGroup.Constraint>(group: G, operations: (name: string) => boolean): G =>
  Object.assign(group, {
    endpoints: Object.fromEntries(Object.entries(group.endpoints).filter(([name]) => operations(name)))
  })

/** RFC 9745 has seconds, RFC 8594 a date of HTTP. */
const noticeOf = (deprecated: Settings<string, never>["deprecated"]): Readonly<Record<string, string>> => {
  if (deprecated === undefined) return {}
  const { since, sunset } = deprecated
  return {
    deprecation: `@${Math.floor(DateTime.toEpochMillis(since) / 1000)}`,
    ...(sunset === undefined ? {} : { sunset: new Date(DateTime.toEpochMillis(sunset)).toUTCString() })
  }
}

const summaries: Readonly<Record<string, string>> = {
  list: "List documents of",
  select: "List some fields of documents of",
  count: "Count documents of",
  search: "Find, by words, documents of",
  near: "Find, by place, the nearest documents of",
  nearest: "Find, by vector, the nearest documents of",
  bulk: "Create many documents of",
  bulkReplace: "Create or replace many documents of",
  bulkPatch: "Change fields of many documents of",
  bulkDelete: "Delete many documents of",
  create: "Create a document of",
  get: "Read a document of",
  replace: "Create or replace a document of",
  patch: "Change fields of a document of",
  delete: "Delete a document of",
  ndjson: "Export, as lines of JSON, documents of",
  csv: "Export, as a table, documents of",
  changes: "Follow the changes of documents of",
  socket: "Follow, over a WebSocket, the changes of documents of",
  history: "List the versions of a document of",
  getContent: "Read the content of a document of",
  setContent: "Set the content of a document of",
  deleteContent: "Delete the content of a document of"
}

/** An example without the fields that clients must not write. */
const without = (given: Json | undefined, paths: ReadonlyArray<string>): Json | undefined => {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given
  return Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => {
      if (paths.includes(name)) return []
      const below = paths.flatMap((path) => (path.startsWith(`${name}.`) ? [path.slice(name.length + 1)] : []))
      return [[name, without(value, below) ?? value] as const]
    })
  )
}

type Described = Readonly<Record<string, unknown>>

const contentOf = (part: unknown): Record<string, Record<string, unknown>> | undefined =>
  typeof part === "object" && part !== null && "content" in part
    ? (part.content as Record<string, Record<string, unknown>>)
    : undefined

const withExamples =
  ([request, answer]: readonly [Json | undefined, Json | undefined]) =>
  (operation: Described): Described => {
    const body = contentOf(operation["requestBody"])?.["application/json"]
    if (body !== undefined && request !== undefined) body["example"] = request
    for (const [status, response] of Object.entries(operation["responses"] ?? {})) {
      const content = status.startsWith("2") ? contentOf(response)?.["application/json"] : undefined
      if (content !== undefined && answer !== undefined) content["example"] = answer
    }
    return operation
  }

const viewed: ReadonlySet<string> = new Set(["list", "search", "near", "nearest", "get", "ndjson", "csv"])

/**
 * What can be included, and the views, where there are some: the answer is another then. To read one document they are no part of the endpoint,
 * since every client would have to say that it wants none.
 */
const withMore =
  (endpoint: string, include: ReadonlyArray<string>, views: ReadonlyArray<string>) =>
  (operation: Described): Described => {
    if (!viewed.has(endpoint)) return operation
    const given = (operation["parameters"] ?? []) as ReadonlyArray<Described>
    const others = given.filter((one) => one["in"] !== "query" || (one["name"] !== "include" && one["name"] !== "view"))
    const includes = include.length > 0 && (endpoint === "list" || endpoint === "get")
    if (!includes && views.length === 0) return { ...operation, parameters: others }
    const body = contentOf((operation["responses"] as Described | undefined)?.["200"])?.["application/json"]
    if (body !== undefined) {
      const description = "the same, with what is included under its name, or what a view leaves of it"
      body["schema"] = { anyOf: [body["schema"], { type: "object", description }] }
    }
    const parameter = (name: string, schema: object, description: string) => ({
      name,
      in: "query",
      required: false,
      schema,
      description
    })
    const what = `what belongs to the documents: ${include.join(", ")}, with commas between them, and dots for those within others`
    return {
      ...operation,
      parameters: [
        ...others,
        ...(includes ? [parameter("include", { type: "string" }, what)] : []),
        ...(views.length === 0
          ? []
          : [parameter("view", { type: "string", enum: views }, "what of the documents, and which of them")])
      ]
    }
  }

type Endpoint<
  Name extends string,
  S extends Attributes.DocumentSchema,
  P extends Query.Path
> = HttpApiEndpoint.AddMiddleware<
  | ReturnType<typeof lists<Name, S, P>>[number]
  | ReturnType<typeof documents<Name, S, P>>[number]
  | ReturnType<typeof bulks<Name, S, P>>[number]
  | ReturnType<typeof others<Name, S, P>>[number],
  Gate
>

/** The operations that a resource may have over HTTP. */
export type Operation = Endpoint<string, Attributes.DocumentSchema, never>["identifier"]

/** The type of the group of a resource. */
export type Group<
  Name extends string,
  S extends Attributes.DocumentSchema,
  P extends Query.Path,
  O extends Operation = Operation
> = HttpApiGroup.HttpApiGroup<Name, Extract<Endpoint<Name, S, P>, { readonly identifier: O }>>
