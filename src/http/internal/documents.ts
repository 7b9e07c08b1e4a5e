/**
 * The handlers of a resource: they read the request, ask the repository, and answer. Guards, interceptors and checks are those of the
 * repository, as for the program itself.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Hex from "effect/encoding/Hex"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as CurrentUser from "../../CurrentUser.ts"
import type { Database } from "../../Database.ts"
import * as DbError from "../../DbError.ts"
import type { Definition } from "../../Definition.ts"
import type * as Document from "../../Document.ts"
import * as Signature from "../../document/signature.ts"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import * as Export from "../../Export.ts"
import * as Guard from "../../Guard.ts"
import { isDone } from "../../internal/done.ts"
import * as Recent from "../../internal/recent.ts"
import { sha256 } from "../../internal/sha256.ts"
import { percentEncode } from "../../internal/text.ts"
import type { DynamicSchema } from "../../Portable.ts"
import * as Query from "../../Query.ts"
import type { Insert } from "../../Repository.ts"
import * as Attributes from "../../schema/Attributes.ts"
import * as Plain from "../../schema/internal/plain.ts"
import * as Wire from "../../Wire.ts"
import type { Authentication } from "../Authentication.ts"
import * as Answer from "./answer.ts"
import * as Body from "./body.ts"
import * as Contents from "./contents.ts"
import { Comparing, reserved } from "./endpoints.ts"
import * as Feed from "./feed.ts"
import * as Filters from "./filters.ts"
import { jsonAnswer, RequestId, requestIdHere, varyOf } from "./gate.ts"
import * as HttpDate from "./httpDate.ts"
import type { Idempotency } from "./idempotency.ts"
import * as Include from "./include.ts"
import * as Nearest from "./nearest.ts"
import * as Places from "./places.ts"
import * as Preconditions from "./preconditions.ts"
import * as Search from "./search.ts"
import * as Sight from "./sight.ts"
import * as SocketOfChanges from "./socket.ts"
import * as Staying from "./staying.ts"
import * as Stopping from "./stopping.ts"
import * as Timely from "./timely.ts"
import type { Untyped } from "./untyped.ts"
import * as Views from "./views.ts"

export interface Settings extends Sight.Settings {
  readonly name: string
  readonly requireIfMatch: boolean
  readonly hideForbidden: boolean
  readonly scan: boolean
  readonly totals: boolean
  readonly defaultLimit: number
  readonly maxLimit: number
  readonly maxBodyBytes: number
  readonly maxBulk: number
  readonly maxContentBytes: number
  readonly timeout: Duration.Duration
  /** The relations that can be included. */
  readonly include: ReadonlyArray<string>
  readonly views: Views.Views
  /** Whether who is not logged in may read. */
  readonly isPublic: boolean
  readonly sockets: SocketOfChanges.Settings
}

/** The query of a list, as the endpoint has decoded it. */
export interface ListQuery {
  readonly filter?: Json
  readonly partition?: string
  readonly values?: JsonObject
  readonly limit?: number
  readonly cursor?: string
  readonly order?: string
  readonly total?: "true" | "false"
  readonly include?: string
  readonly view?: string
}

/** The query of a search. */
export interface SearchQuery extends Pick<ListQuery, "cursor" | "filter" | "limit" | "partition" | "values" | "view"> {
  readonly q: string
  readonly match?: "any" | "all"
  readonly highlight?: "true" | "false"
}

/** The query of a search by place. */
export interface NearQuery extends Pick<ListQuery, "cursor" | "filter" | "limit" | "view"> {
  readonly latitude: number
  readonly longitude: number
  readonly radius?: number
  readonly within?: Json
}

/** What finds documents otherwise than by their fields, where it is there. */
export interface Finders {
  readonly words: Search.Finder | undefined
  readonly places: Nearest.Places | undefined
  readonly vectors: Nearest.Vectors | undefined
}

type Answered = Effect.Effect<HttpServerResponse.HttpServerResponse>

/** What is told within the time that there is, by `answering` or `answeringHere`. */
type Answering = Effect.Effect<HttpServerResponse.HttpServerResponse, Answer.Failure>

export interface Handlers {
  /** Bounds the time of an answer, and makes one of what it fails with. */
  readonly answering: (effect: Answering) => Answered
  /** The same for who answers where nothing can be interrupted, at a lower price: see `Timely.withinHere`. */
  readonly answeringHere: (fiber: Fiber.Fiber<unknown, unknown>, effect: Answering) => Answered
  readonly list: (request: HttpServerRequest, query: ListQuery) => Answering
  readonly select: (request: HttpServerRequest, query: ListQuery & { readonly fields: string }) => Answering
  readonly count: (request: HttpServerRequest, query: ListQuery) => Answering
  readonly search: (request: HttpServerRequest, query: SearchQuery) => Answered
  readonly near: (request: HttpServerRequest, query: NearQuery) => Answered
  readonly nearest: (request: HttpServerRequest, view: string | undefined) => Answered
  readonly bulk: Readonly<
    Record<
      "create" | "replace" | "patch" | "delete",
      (request: HttpServerRequest, mode?: "partial" | "atomic") => Answered
    >
  >
  readonly create: (request: HttpServerRequest) => Answering
  readonly get: (request: HttpServerRequest, id: string) => Answering
  readonly replace: (request: HttpServerRequest, id: string) => Answering
  readonly patch: (request: HttpServerRequest, id: string) => Answering
  readonly delete: (request: HttpServerRequest, id: string) => Answering
  readonly history: (query: { readonly limit?: number }, id: string) => Answered
  readonly ndjson: (request: HttpServerRequest, query: ListQuery) => Answered
  readonly csv: (request: HttpServerRequest, query: ListQuery) => Answered
  readonly contents: Contents.Contents
  readonly changes: (request: HttpServerRequest) => Answered
  readonly socket: (request: HttpServerRequest, from: string | undefined) => Answered
}

/** The path that was asked for. The router takes several slashes for one; a browser takes two, at the beginning, for another host. */
const pathOf = ({ originalUrl }: HttpServerRequest): string => {
  const afterHost = originalUrl.startsWith("/") ? originalUrl : originalUrl.replace(/^\w+:\/\/[^/?#]*/, "")
  return (afterHost.split(/[?#]/)[0] ?? "").replace(/\/{2,}/g, "/").replace(/\/$/, "")
}

const parametersOf = ({ url }: HttpServerRequest): URLSearchParams => {
  const start = url.indexOf("?")
  return new URLSearchParams(start < 0 ? "" : url.slice(start + 1).split("#")[0])
}

/** Of so many users it is remembered what binds cursors to them. */
const mostBindings = 1000

/** What `select` gives beside fields. */
const revisionField = "$revision"

/** Where the next page is. */
interface Next {
  readonly next: string | undefined
  readonly headers: Readonly<Record<string, string>>
}

const noNext: Next = { next: undefined, headers: {} }

/** What stands before and after the cursor in links of a URL. */
const links = Recent.make<readonly [before: string, after: string]>()

const linkAround = (request: HttpServerRequest): readonly [before: string, after: string] => {
  const parameters = parametersOf(request)
  parameters.set("cursor", "")
  const text = `?${parameters}`
  // In names and values these characters are escaped.
  const at = text.search(/[?&]cursor=(?:&|$)/) + "?cursor=".length
  return [`<${pathOf(request)}${text.slice(0, at)}`, `${text.slice(at)}>; rel="next"`]
}

const linkOf = (request: HttpServerRequest, cursor: string): string => {
  const { originalUrl, url } = request
  const asked = originalUrl.endsWith(url) ? originalUrl : `${originalUrl} ${url}`
  const [before, after] = links.get(asked) ?? links.keep(asked, linkAround(request))
  return before + cursor + after
}

const isRecord = (json: Json): json is JsonObject => typeof json === "object" && json !== null && !Array.isArray(json)

const wantsMinimal = ({ headers }: HttpServerRequest): boolean =>
  (headers["prefer"] ?? "").split(",").some((one) => one.trim().toLowerCase() === "return=minimal")

export const make = (
  repository: Untyped,
  database: Database["Service"],
  definition: Definition<DynamicSchema>,
  settings: Settings,
  idempotency: Idempotency,
  authentication: Authentication["Service"],
  /** Reads what is to be included, where there is something. */
  includes: ReturnType<typeof Include.make> | undefined,
  finders: Finders,
  stopping: Stopping.Stopping | undefined
): Handlers => {
  const { name, primaryKey } = definition
  const sight = Sight.make(definition, settings)
  const created = Wire.create(definition)
  const parseCreate = Schema.decodeUnknownEffect(created, { errors: "all", onExcessProperty: "error" })
  const walkCreate = Plain.compileArriving(created)
  /** Most of what comes in takes no parser: it says what is wrong with the rest. */
  const decodeCreate = (document: JsonObject): ReturnType<typeof parseCreate> => {
    const made = walkCreate === undefined ? Plain.other : Plain.walked(walkCreate, document)
    return made === Plain.other ? parseCreate(document) : Effect.succeed(made as Insert<DynamicSchema>)
  }
  const decodePatch = Schema.decodeUnknownEffect(Wire.patch(definition), { errors: "all", onExcessProperty: "error" })
  const encode = Schema.encodeEffect(Attributes.toStorageCodec(definition.schema))
  const viewOf = Views.make(definition, settings.views)
  /** The parameters that are no conditions: those of what the resource does not have are names of fields. */
  const more = [
    ...(includes === undefined ? [] : ["include"]),
    ...(Object.keys(settings.views).length === 0 ? [] : ["view"])
  ]
  const ours = {
    ...reserved,
    list: new Set([...reserved.list, ...more]),
    export: new Set([...reserved.export, ...more.filter((name) => name === "view")]),
    search: new Set([...reserved.search, ...more.filter((name) => name === "view")]),
    near: new Set([...reserved.near, ...more.filter((name) => name === "view")]),
    nearest: new Set(more.filter((name) => name === "view"))
  }
  const hasViews = Object.keys(settings.views).length > 0
  const areAutomatic = Views.areAutomatic(settings.views)
  const key = String(primaryKey)
  /** Without secrets, and most documents: what encodes them without a parser. */
  const plain = Plain.compile(definition.schema, key)

  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)
  const asInput = <A>(effect: Effect.Effect<A, Schema.SchemaError>) =>
    Effect.mapError(effect, (error) => DbError.invalidInput(name, error.issue))

  /** The JSON form; what is secret in it is in clear for a moment, and is left out by what is public. */
  const jsonOf = (value: unknown, id?: string): Effect.Effect<JsonObject> => {
    if (plain !== undefined && id !== undefined) {
      const json = Plain.walked(plain.encode, value)
      if (json !== Plain.other) return Effect.succeed({ [key]: id, ...(json as JsonObject) })
    }
    return Effect.orDie(
      Effect.provideService(encode(value as DynamicSchema["Type"]), Attributes.SecretsOpen, true)
    ) as Effect.Effect<JsonObject>
  }

  const tookTooLong = Answer.refuse(
    503,
    "Timeout",
    `there was no answer within ${Duration.format(settings.timeout)}: a write may be carried out all the same, so look before you send it again`
  )

  const told = (effect: Answering): Answered =>
    Effect.catch(effect, (error) =>
      Effect.flatMap(RequestId, (requestId) => Answer.told(Effect.fail(error), requestId))
    )

  const answering = (effect: Answering): Answered => told(Timely.within(effect, settings.timeout, tookTooLong))

  const answeringHere: Handlers["answeringHere"] = (fiber, effect) =>
    Timely.withinHere(fiber, effect, settings.timeout, tookTooLong, told)

  /** Who may not see a document is told that there is none, where that is wanted. */
  const hiding = <A, E extends Answer.Failure>(
    id: string,
    effect: Effect.Effect<A, E>
  ): Effect.Effect<A, E | DbError.NotFound> =>
    settings.hideForbidden
      ? Effect.mapError(effect, (error): E | DbError.NotFound =>
          error._tag === "Rejected" && error.code === "Forbidden" && Option.isSome(Guard.fromRejected(error, id))
            ? new DbError.NotFound({ resource: name, id })
            : error
        )
      : effect

  const vary = varyOf(authentication.schemes)

  const headersOf = (
    document: Document.Document<unknown>,
    more?: Readonly<Record<string, string>>
  ): Record<string, string> => ({
    etag: Preconditions.etagOf(document.revision),
    "last-modified": HttpDate.of(document.writtenAt.epochMilliseconds),
    vary,
    ...more
  })

  interface ShownOptions {
    readonly status?: number
    readonly headers?: Readonly<Record<string, string>>
  }

  /** Where everybody sees the same. */
  const sightOfAll = isDone(sight) ? sight.value : undefined

  /** To be called where it is run. */
  const shown = (document: Document.Document<unknown>, options: ShownOptions = {}): Answering => {
    const json = plain === undefined ? Plain.other : Plain.walked(plain.encode, document.value)
    return sightOfAll === undefined || json === Plain.other
      ? shownLater(document, options)
      : Effect.succeed(answerOf(document, { [key]: document.id, ...(json as JsonObject) }, sightOfAll, options))
  }

  const shownLater = (document: Document.Document<unknown>, options: ShownOptions) =>
    Effect.flatMap(sight, (seen) =>
      Effect.mapEager(jsonOf(document.value, document.id), (json) => answerOf(document, json, seen, options))
    )

  const shownAlone = (document: Document.Document<unknown>) => shown(document)

  const answerOf = (
    document: Document.Document<unknown>,
    json: JsonObject,
    { show }: Sight.Sight,
    { headers, status }: ShownOptions
  ) => jsonAnswer(requestIdHere(), show(json), headersOf(document, headers), status)

  /** The answer to a write: the document, or, where the client prefers it, its tag alone. */
  const written = (
    request: HttpServerRequest,
    value: unknown,
    options: { readonly status?: number; readonly isThere?: boolean } = {}
  ): Answering =>
    Effect.flatMap(Effect.orDie(repository.documentOf(value as DynamicSchema["Type"])), (document): Answering => {
      const headers: Record<string, string> =
        options.isThere === true ? { location: `${pathOf(request)}/${percentEncode(document.id)}` } : {}
      if (!wantsMinimal(request)) return shown(document, { ...options, headers })
      const minimal = HttpServerResponse.empty({
        status: options.status === 201 ? 201 : 204,
        headers: { ...headersOf(document), ...headers, "preference-applied": "return=minimal" }
      })
      return Effect.succeed(minimal)
    })

  // Reading ---------------------------------------------------------------------

  /** A cursor is good for the user that it was given to. */
  const bindingOf = Effect.map(CurrentUser.CurrentUser, (user) => {
    const who = user === undefined ? "anonymous" : `user ${user.id}`
    const before = bindings.get(who)
    if (before !== undefined) return before
    const binding = Hex.encode(sha256(new TextEncoder().encode(who)).subarray(0, 6))
    if (bindings.size >= mostBindings) bindings.clear()
    bindings.set(who, binding)
    return binding
  })
  const bindings = new Map<string, string>()

  const cursorOf = (cursor: string | undefined): Effect.Effect<string | undefined, DbError.InvalidInput> =>
    cursor === undefined
      ? Effect.undefined
      : Effect.flatMap(bindingOf, (binding) =>
          cursor.startsWith(`${binding}.`)
            ? Effect.succeed(cursor.slice(binding.length + 1))
            : Effect.fail(
                invalid(["cursor"], "Expected the cursor of the page before, of the same request and the same user")
              )
        )

  const asked = Filters.fromParameters(name, key, definition.attributes)
  const askedBefore = Recent.make<ReturnType<typeof asked>>()

  /** What the parameters of a request ask for as conditions; without parameters there are none. */
  const parameterConditions = (request: HttpServerRequest, endpoint: keyof typeof ours): ReturnType<typeof asked> => {
    const { url } = request
    if (!url.includes("?")) return Effect.undefined
    const which = `${endpoint} ${url}`
    const before = askedBefore.get(which)
    if (before !== undefined) return before
    const conditions = asked(parametersOf(request), ours[endpoint])
    return isDone(conditions) ? askedBefore.keep(which, conditions) : conditions
  }

  const conditionsOf = Effect.fnUntraced(function* (
    request: HttpServerRequest,
    query: ListQuery,
    endpoint: keyof typeof reserved,
    view?: Views.Used
  ) {
    const parameters = yield* parameterConditions(request, endpoint)
    const where = Filters.both(query.filter, parameters)
    const { mayAskFor } = yield* sight
    if (where !== undefined) yield* mayAskFor(Filters.pathsOf(yield* repository.parseWhere(where)))
    // What the program says itself may be about any field.
    const whole = Filters.both(where, view?.where)
    const predicate = whole === undefined ? undefined : yield* repository.parseWhere(whole)
    if (query.partition !== undefined) {
      const { partitions } = definition
      const partition = Object.hasOwn(partitions, query.partition) ? partitions[query.partition] : undefined
      if (partition !== undefined) {
        yield* mayAskFor(partition.fields.map((field) => field.path))
      }
    }
    return {
      ...(predicate === undefined ? {} : { predicate }),
      ...(query.partition === undefined ? {} : { partition: query.partition }),
      ...(query.values === undefined ? {} : { values: query.values }),
      scan: settings.scan
    }
  })

  const includedBy = (asked: string | undefined, view: Views.Used | undefined) => {
    const text = [view?.include, asked].filter((one) => one !== undefined && one !== "").join(",")
    return text === "" || includes === undefined ? Effect.undefined : includes(text)
  }

  /** Says which view an answer is by. */
  const namedBy = (view: Views.Used | undefined): Record<string, string> =>
    view === undefined ? {} : { "x-view": view.name }

  /** What is shown of a document by a view: never more than without it. */
  const viewed = (show: (json: JsonObject) => JsonObject, view: Views.Used | undefined) =>
    view === undefined ? show : (json: JsonObject) => view.form(show(json))

  const orderOf = Effect.fnUntraced(function* (query: ListQuery, view: Views.Used | undefined) {
    if (query.order === undefined) {
      return view?.order === undefined ? undefined : yield* repository.parseOrder(view.order)
    }
    const order = yield* repository.parseOrder(query.order)
    yield* (yield* sight).mayAskFor(order.map(({ path }) => path))
    return order
  })

  /** A page of some fields with the revisions of the documents, by which they can be changed or deleted. */
  const revisedPage = Effect.fnUntraced(function* (
    asked: Parameters<typeof repository.queryPage>[0],
    select: ReadonlyArray<string>
  ) {
    const unknown = select.find((field) => {
      const path = field.split(".")
      return (
        field !== revisionField &&
        field !== key &&
        definition.attributes.every((one) => !one.path.every((name, at) => at >= path.length || name === path[at]))
      )
    })
    if (unknown !== undefined) return yield* invalid([unknown], `Expected a field of ${name}, or ${revisionField}`)
    const { items, ...page } = yield* repository.queryPage(asked)
    const pick = Query.project(select.map((field) => field.split(".")))
    const jsons = yield* Effect.forEach(items, (value) =>
      Effect.flatMap(Effect.option(repository.documentOf(value)), (document) =>
        Effect.map(jsonOf(value), (json) =>
          // What an interceptor has made of a document has none.
          Option.isNone(document) ? pick(json) : pick({ ...json, [revisionField]: document.value.revision })
        )
      )
    )
    return { ...page, items: jsons }
  })

  const limitOf = (query: { readonly limit?: number }) => {
    const limit = query.limit ?? settings.defaultLimit
    return limit > settings.maxLimit
      ? invalid(["limit"], `Expected at most ${settings.maxLimit}`)
      : Effect.succeed(limit)
  }

  /** The cursor of the next page for this user, and the header that leads there. */
  const nextOf = (request: HttpServerRequest, cursor: string | undefined): Effect.Effect<Next> =>
    cursor === undefined
      ? Effect.succeed(noNext)
      : Effect.map(bindingOf, (binding) => {
          const next = `${binding}.${cursor}`
          return { next, headers: { link: linkOf(request, next) } }
        })

  const searched = Effect.fnUntraced(function* (request: HttpServerRequest, query: SearchQuery, finder: Search.Finder) {
    const limit = yield* limitOf(query)
    const view = hasViews ? yield* viewOf(query.view) : undefined
    const { mayAskFor, show } = yield* sight
    // Who finds by words of a field may as well read it.
    const fields = finder.fields.filter((field) => {
      const path = field.split(".")
      return mayAskFor.allows(path) && (view?.has(path) ?? true)
    })
    if (fields.length === 0) {
      return yield* Answer.refuse(403, "NotAllowed", "no field that this resource is searched by is for you to see")
    }
    const { partition, predicate, values } = yield* conditionsOf(request, query, "search", view)
    const page = yield* Search.told(
      finder.search({
        query: query.q,
        match: query.match,
        fields,
        predicate,
        within: partition === undefined ? undefined : { partition, ...(values === undefined ? {} : { values }) },
        limit,
        cursor: yield* cursorOf(query.cursor),
        highlight: query.highlight === "true"
      })
    )
    const { headers, next } = yield* nextOf(request, page.cursor)
    const form = viewed(show, view)
    const items = yield* Effect.forEach(page.items, ({ document, highlights }) =>
      Effect.map(jsonOf(document), (json) => ({ document: form(json), highlights }))
    )
    return HttpServerResponse.jsonUnsafe(
      { items, ...(next === undefined ? {} : { cursor: next }), position: page.position },
      { headers: { ...namedBy(view), ...headers } }
    )
  })

  /** Refuses what goes by a field that who asks does not see: a distance tells of it. */
  const mayGoBy = Effect.fnUntraced(function* (field: string, view: Views.Used | undefined) {
    const path = field.split(".")
    if (!(yield* sight).mayAskFor.allows(path) || view?.has(path) === false) {
      return yield* Answer.refuse(403, "NotAllowed", "the field that this goes by is not for you to see")
    }
  })

  const withDistances = Effect.fnUntraced(function* (
    items: ReadonlyArray<{ readonly document: unknown; readonly distance: number }>,
    view: Views.Used | undefined
  ) {
    const form = viewed((yield* sight).show, view)
    return yield* Effect.forEach(items, ({ distance, document }) =>
      Effect.map(jsonOf(document), (json) => ({ document: form(json), distance }))
    )
  })

  const located = Effect.fnUntraced(function* (request: HttpServerRequest, query: NearQuery, places: Nearest.Places) {
    const limit = yield* limitOf(query)
    const view = hasViews ? yield* viewOf(query.view) : undefined
    yield* mayGoBy(places.field, view)
    const { latitude, longitude, radius } = query
    const { predicate } = yield* conditionsOf(request, query, "near", view)
    const within = query.within === undefined ? undefined : yield* Nearest.byPlace(places.parseShape(query.within))
    const cursor = yield* cursorOf(query.cursor)
    const page = yield* Nearest.byPlace(
      places.nearest({ from: { latitude, longitude }, within, radius, limit, predicate, cursor })
    )
    const { headers, next } = yield* nextOf(request, page.cursor)
    return HttpServerResponse.jsonUnsafe(
      { items: yield* withDistances(page.items, view), ...(next === undefined ? {} : { cursor: next }) },
      { headers: { ...namedBy(view), ...headers } }
    )
  })

  const decodeComparing = Schema.decodeUnknownEffect(Comparing, { errors: "all", onExcessProperty: "error" })

  const compared = Effect.fnUntraced(function* (
    request: HttpServerRequest,
    viewName: string | undefined,
    vectors: Nearest.Vectors
  ) {
    const asked = yield* asInput(decodeComparing(yield* read(request)))
    const limit = yield* limitOf(asked)
    const view = hasViews ? yield* viewOf(viewName) : undefined
    yield* mayGoBy(vectors.field, view)
    const conditions = yield* conditionsOf(request, asked, "nearest", view)
    const searching = Nearest.byVector(
      Nearest.similar(vectors, asked.to, {
        ...conditions,
        predicate: conditions.predicate,
        threshold: asked.threshold,
        limit,
        cursor: yield* cursorOf(asked.cursor)
      })
    )
    const page = yield* typeof asked.to === "string" ? hiding(asked.to, searching) : searching
    const cursor = page.cursor === undefined ? undefined : `${yield* bindingOf}.${page.cursor}`
    return HttpServerResponse.jsonUnsafe(
      {
        items: yield* withDistances(page.items, view),
        ...(cursor === undefined ? {} : { cursor }),
        ...(page.position === undefined ? {} : { position: page.position }),
        isExact: page.isExact ?? true
      },
      { headers: namedBy(view) }
    )
  })

  const pageOf = Effect.fnUntraced(function* (
    request: HttpServerRequest,
    query: ListQuery,
    select?: ReadonlyArray<string>
  ) {
    const limit = yield* limitOf(query)
    if (query.total === "true" && !settings.totals) {
      return yield* Answer.refuse(403, "NotAllowed", "this resource does not count all pages: go by cursor to the end")
    }
    const view = hasViews && select === undefined ? yield* viewOf(query.view) : undefined
    const included = yield* includedBy(query.include, view)
    const order = yield* orderOf(query, view)
    const { show, showSome } = yield* sight
    const cursor = yield* cursorOf(query.cursor)
    const asked = {
      ...(yield* conditionsOf(request, query, select === undefined ? "list" : "select", view)),
      ...(order === undefined ? {} : { order }),
      ...(cursor === undefined ? {} : { cursor }),
      limit,
      total: query.total === "true"
    }
    const page = yield* select === undefined
      ? repository.queryPageJson(asked)
      : select.includes(revisionField)
        ? revisedPage(asked, select)
        : repository.queryPageJson({ ...asked, select })
    const { headers: leading, next } = yield* nextOf(request, page.cursor)
    const headers: Record<string, string> = {
      vary,
      ...namedBy(view),
      ...(page.total === undefined ? {} : { "x-total-count": String(page.total) }),
      ...leading
    }
    const form = viewed(select === undefined ? show : showSome, view)
    const items = page.items as ReadonlyArray<JsonObject>
    const body = {
      items: included === undefined ? items.map(form) : yield* included.complete(items, form),
      ...(next === undefined ? {} : { cursor: next }),
      ...(page.total === undefined ? {} : { total: page.total })
    }
    return jsonAnswer(yield* RequestId, body, headers)
  })

  /** Documents as they are read. What can be refused is refused before the first one: later there is no other answer. */
  const rowsOf = Effect.fnUntraced(function* (request: HttpServerRequest, query: ListQuery) {
    const view = hasViews ? yield* viewOf(query.view) : undefined
    // Everything has an order only where a partition is in it: a view does not ask for that.
    const order = yield* orderOf(query, query.limit === undefined ? undefined : view)
    const { columns, show } = yield* sight
    const form = viewed(show, view)
    const conditions = yield* conditionsOf(request, query, "export", view)
    const isWhole = conditions.predicate === undefined && conditions.partition === undefined
    const asked = {
      ...conditions,
      ...(order === undefined ? {} : { order }),
      ...(query.limit === undefined ? {} : { limit: query.limit }),
      // Everything is what is asked for.
      scan: isWhole || settings.scan
    }
    // The first document tells whether the store, the definition and the guard let it begin.
    yield* Stream.runDrain(Stream.take(repository.queryJson(asked), 1))
    const user = yield* CurrentUser.CurrentUser
    const rows = repository.queryJson(asked).pipe(
      Stream.map((json) => form(json as JsonObject)),
      Stream.provideService(CurrentUser.CurrentUser, user)
    )
    return {
      rows,
      columns: view === undefined ? columns : columns.filter(view.has),
      headers: { ...namedBy(view), ...Stopping.lasting(stopping) }
    }
  })

  // Writing ---------------------------------------------------------------------

  const read = (request: HttpServerRequest): Effect.Effect<JsonObject, Answer.Failure> =>
    Effect.flatMap(Body.json(request, settings.maxBodyBytes), (body) =>
      isRecord(body) ? Effect.succeed(body) : Effect.fail(invalid([], "Expected an object"))
    )

  const mayWrite = (document: JsonObject) => Effect.flatMap(sight, (seen) => seen.mayWrite(document))

  /** Browsers and other clients take these for something else than a part of a path. */
  const isUnreachable = (id: unknown): boolean => id === "" || id === "." || id === ".."

  const unreachable = invalid([key], 'Expected an id that a URL can name: not "", ".", or ".."')

  const createOne = Effect.fnUntraced(function* (document: JsonObject) {
    yield* mayWrite(document)
    if (isUnreachable(document[key])) return yield* unreachable
    return yield* repository.insert(yield* asInput(decodeCreate(document)))
  })

  /** Creates under a key of the client: once, however often it is asked for. */
  const createOnce = Effect.fnUntraced(function* (idempotencyKey: string, document: JsonObject) {
    yield* mayWrite(document)
    if (isUnreachable(document[key])) return yield* unreachable
    // What can never be created is told before the key is taken.
    yield* asInput(decodeCreate(document))
    const user = yield* CurrentUser.CurrentUser
    const claim = yield* idempotency.claim(idempotencyKey, user, document)
    if (claim.isDone) return (yield* repository.getDocument(claim.id)).value
    const input = yield* asInput(decodeCreate({ ...document, [key]: claim.id }))
    const inserted = yield* Effect.result(
      Effect.provideService(repository.insert(input), Signature.Signer, claim.signer)
    )
    if (Result.isSuccess(inserted)) return yield* Effect.as(claim.done, inserted.success)
    const error = inserted.failure
    // Who else came with this key may have been faster, or cut off after the write: the document says whether it is of this key.
    if (error._tag === "AlreadyExists" || error._tag === "UniqueViolation") {
      const { capabilities, store } = database
      // An id that was made for this key is nobody else's.
      const isOurs =
        (document[key] === undefined && error._tag === "AlreadyExists") ||
        (yield* Effect.mapError(
          Signature.isBy({ capabilities, resource: name, store }, claim.id, claim.signer),
          DbError.fromStore("HttpResources.create", name)
        ))
      if (isOurs) return yield* Effect.as(claim.done, (yield* repository.getDocument(claim.id)).value)
    }
    // The key stays, whatever it was: others may be about to write under it.
    return yield* error
  })

  /** Whole documents may leave out the id, which the URL has. */
  const withId = Effect.fnUntraced(function* (document: JsonObject, id: string) {
    const given = Object.hasOwn(document, key) ? document[key] : undefined
    if (given !== undefined && given !== id) return yield* invalid([key], "Expected the id that the URL has")
    return { ...document, [key]: id }
  })

  /** The revision that a change goes by; `mayCreate`: it may be of what is not there. */
  const revisionFor = Effect.fnUntraced(function* (
    headers: Preconditions.Conditions,
    id: string,
    { mayCreate = false }: { readonly mayCreate?: boolean } = {}
  ) {
    const tags = yield* Preconditions.read(headers, "if-match")
    const none = yield* Preconditions.read(headers, "if-none-match")
    if (none !== undefined && !(mayCreate && none === "any")) {
      return yield* Answer.refuse(400, "InvalidRequest", "If-None-Match goes with reads, and as * with PUT")
    }
    // Of what is there the one does not hold, of what is not the other.
    if (none !== undefined && tags !== undefined) return yield* Preconditions.failed
    if (tags === undefined)
      return settings.requireIfMatch && none === undefined ? yield* Preconditions.required : undefined
    const revision = Preconditions.only(tags)
    if (revision !== undefined) return revision
    const document = yield* repository.getDocument(id)
    return Preconditions.isNamed(tags, document.revision) ? document.revision : yield* Preconditions.failed
  })

  /** A document that is not as `If-Match` wants it. */
  const byRevision = <A, E extends Answer.Failure>(
    effect: Effect.Effect<A, E>,
    revision: Document.Revision | undefined
  ): Effect.Effect<A, E | Answer.Refused> =>
    revision === undefined
      ? effect
      : Effect.catch(effect, (error): Effect.Effect<never, E | Answer.Refused> =>
          error._tag === "Conflict" ? Preconditions.failed : Effect.fail(error)
        )

  /** Whether a replace knows of a document that was there: else its versions begin anew, and nobody has looked. */
  const looks =
    Object.keys(definition.partitions).length + Object.keys(definition.uniques).length > 0 ||
    definition.history ||
    definition.content ||
    definition.counters !== undefined

  /** What is not for the client to write stays as it is, also where it puts a whole document in the place of another. */
  const keeping = Effect.fnUntraced(function* (
    document: JsonObject,
    id: string,
    revision: Document.Revision | undefined
  ) {
    const { readonly } = yield* sight
    if (readonly.length === 0) return { document, revision, isAbsent: false }
    const found = yield* repository.getDocument(id).pipe(
      Effect.asSome,
      Effect.catchTag("NotFound", () => Effect.succeedNone)
    )
    // Created in between, it may have what the client must not write.
    if (Option.isNone(found)) return { document, revision, isAbsent: true }
    const there = yield* jsonOf(found.value.value)
    const carried = readonly.reduce((whole, path) => withField(whole, there, path.split(".")), document)
    return { document: carried, revision: revision ?? found.value.revision, isAbsent: false }
  })

  const absentFails = <A, E extends Answer.Failure>(effect: Effect.Effect<A, E>) =>
    Effect.catch(effect, (error): Effect.Effect<never, E | Answer.Refused> =>
      error._tag === "NotFound" ? Preconditions.failed : Effect.fail(error)
    )

  const ifRevision = (revision: Document.Revision | undefined) =>
    revision === undefined ? {} : { ifRevision: revision }

  /** Puts a whole document in the place of another, or creates it; `isNew`: only that. Gives whether it was created. */
  const replaceOne = Effect.fnUntraced(function* (
    given: JsonObject,
    id: string,
    { isNew, revision }: { readonly isNew: boolean; readonly revision: Document.Revision | undefined }
  ): Effect.fn.Return<{ readonly value: DynamicSchema["Type"]; readonly isCreated: boolean }, Answer.Failure> {
    const document = yield* withId(given, id)
    yield* mayWrite(document)
    if (!isNew) yield* asInput(decodeCreate(document))
    const kept = isNew ? { document, revision, isAbsent: true } : yield* hiding(id, keeping(document, id, revision))
    const input = yield* asInput(decodeCreate(kept.document))
    if (isNew) {
      const value = yield* Effect.catchTag(repository.insert(input), "AlreadyExists", () => Preconditions.failed)
      return { value, isCreated: true }
    }
    if (kept.isAbsent && revision === undefined) return { value: yield* repository.insert(input), isCreated: true }
    const replaced = hiding(id, byRevision(repository.replace(input, ifRevision(kept.revision)), revision))
    const value = yield* revision === undefined ? replaced : absentFails(replaced)
    const { version } = yield* Effect.orDie(repository.documentOf(value))
    return { value, isCreated: revision === undefined && looks && version === 1 }
  })

  const patchOne = Effect.fnUntraced(function* (
    changes: JsonObject,
    id: string,
    revision: Document.Revision | undefined
  ): Effect.fn.Return<DynamicSchema["Type"], Answer.Failure> {
    yield* mayWrite(changes)
    const change = yield* asInput(decodePatch(changes))
    return yield* byRevision(repository.patch(id, change, ifRevision(revision)), revision)
  })

  const deleteOne = Effect.fnUntraced(function* (
    id: string,
    revision: Document.Revision | undefined
  ): Effect.fn.Return<void, Answer.Failure> {
    if (revision === undefined) return yield* Effect.asVoid(repository.delete(id, { mustExist: true }))
    const document = yield* repository.getDocument(id)
    if (document.revision !== revision) return yield* Preconditions.failed
    yield* byRevision(repository.delete(document), revision)
  })

  // Many at once ----------------------------------------------------------------

  /** What became of one of many. */
  interface Done {
    readonly status: number
    readonly id: string
    readonly value: DynamicSchema["Type"] | undefined
  }

  type Each = (item: JsonObject) => Effect.Effect<Done, Answer.Failure>

  const itemsOf = Effect.fnUntraced(function* (request: HttpServerRequest) {
    const { items } = yield* read(request)
    if (!Array.isArray(items)) return yield* invalid(["items"], "Expected a list of items")
    if (items.length > settings.maxBulk) return yield* invalid(["items"], `Expected at most ${settings.maxBulk} items`)
    return items as ReadonlyArray<Json>
  })

  const eachOf = Effect.fnUntraced(function* (items: ReadonlyArray<Json>, mode: "partial" | "atomic", each: Each) {
    const one = (item: Json): Effect.Effect<Done, Answer.Failure> =>
      isRecord(item) ? each(item) : Effect.fail(invalid([], "Expected an object"))
    if (mode === "partial") return yield* Effect.forEach(items, (item) => Effect.result(one(item)), { concurrency: 16 })
    // One after the other: the first that cannot be ends it, and is the one that is told.
    const all = Effect.forEach(items, (item, index) =>
      Effect.mapError(one(item), (error) => new Answer.Refused({ problem: { ...Answer.problemOf(error), index } }))
    )
    return (yield* database.transaction(all)).map((done) => Result.succeed(done))
  })

  const bulk = (
    request: HttpServerRequest,
    mode: "partial" | "atomic" = "partial",
    each: Each,
    isCreating = false
  ): Answered =>
    answering(
      Effect.gen(function* () {
        const items = yield* itemsOf(request)
        if (!isCreating) yield* eachOnce(items)
        const results = yield* eachOf(items, mode, each)
        const { show } = yield* sight
        const outcomes = yield* Effect.forEach(results, (result, index) =>
          Effect.gen(function* () {
            if (Result.isFailure(result)) {
              const problem = Answer.problemOf(result.failure)
              return { index, status: problem.status, problem }
            }
            const { id, status, value } = result.success
            if (value === undefined) return { index, status, id }
            const { revision } = yield* Effect.orDie(repository.documentOf(value))
            const etag = Preconditions.etagOf(revision)
            return wantsMinimal(request)
              ? { index, status, id, etag }
              : { index, status, id, etag, document: show(yield* jsonOf(value)) }
          })
        )
        const failed = results.filter(Result.isFailure).length
        const done = items.length - failed
        return HttpServerResponse.jsonUnsafe(
          {
            items: outcomes,
            summary: { total: items.length, ...(isCreating ? { created: done } : { done }), failed }
          },
          { status: failed === 0 ? 200 : 207 }
        )
      })
    )

  /** Refuses a document that is named twice: which of the two would be first is nowhere said. */
  const eachOnce = Effect.fnUntraced(function* (items: ReadonlyArray<Json>) {
    const seen = new Set<Json | undefined>()
    for (const [index, item] of items.entries()) {
      const id = isRecord(item) ? item["id"] : undefined
      if (typeof id === "string" && seen.has(id)) {
        return yield* invalid(["items", index, "id"], "Expected each document once in a request")
      }
      seen.add(id)
    }
  })

  /** The document that an item is about, and the revision that it goes by; the other member is what it says of it. */
  const aimOf = Effect.fnUntraced(function* (item: JsonObject, member: "document" | "changes" | undefined) {
    const { id, ifMatch } = item
    const other = Object.keys(item).find((name) => name !== "id" && name !== "ifMatch" && name !== member)
    if (other !== undefined) return yield* invalid([other], "Expected no such member")
    if (typeof id !== "string") return yield* invalid(["id"], "Expected the id of the document")
    if (ifMatch !== undefined && typeof ifMatch !== "string") return yield* invalid(["ifMatch"], "Expected an ETag")
    if (isUnreachable(id)) return yield* unreachable
    const body = member === undefined ? {} : item[member]
    if (body === undefined || !isRecord(body)) return yield* invalid([member ?? ""], "Expected an object")
    const conditions: Preconditions.Conditions = ifMatch === undefined ? {} : { "if-match": ifMatch }
    return { id, body, conditions }
  })

  /** A document by a view, or with what belongs to it. Its tag says nothing about that: no answer with it is 304. */
  const completed = Effect.fnUntraced(function* (
    headers: Preconditions.Conditions,
    id: string,
    include: string | undefined,
    viewName: string | undefined
  ) {
    const view = yield* viewOf(viewName)
    const included = yield* includedBy(include, view)
    const match = yield* Preconditions.read(headers, "if-match")
    const known = yield* Preconditions.read(headers, "if-none-match")
    const document = yield* repository.getDocument(id)
    if (match !== undefined && !Preconditions.isNamed(match, document.revision)) return yield* Preconditions.failed
    if (view?.where !== undefined) {
      const predicate = Query.and(Query.eq([key], id), yield* repository.parseWhere(view.where))
      const found = yield* Stream.runCollect(Stream.take(repository.queryJson({ predicate }), 1))
      if (found.length === 0) return yield* new DbError.NotFound({ resource: name, id })
    }
    const given = { ...headersOf(document), ...namedBy(view) }
    if (included === undefined && known !== undefined && Preconditions.isNamed(known, document.revision))
      return HttpServerResponse.empty({ status: 304, headers: given })
    const form = viewed((yield* sight).show, view)
    const json = yield* jsonOf(document.value, document.id)
    const [whole] = included === undefined ? [form(json)] : yield* included.complete([json], form)
    return HttpServerResponse.jsonUnsafe(whole, { headers: given })
  })

  const places = Places.make(settings.sockets)
  const feed = Feed.make(
    repository,
    database,
    definition,
    (value) => Effect.flatMap(sight, ({ show }) => Effect.map(jsonOf(value), show)),
    Staying.make(authentication, settings.sockets.recheck),
    places,
    stopping
  )

  return {
    answering,
    answeringHere,

    list: (request, query) => pageOf(request, query),

    select: (request, query) =>
      Effect.gen(function* () {
        const fields = query.fields.split(",").map((field) => field.trim())
        yield* (yield* sight).mayAskFor(fields.map((field) => field.split(".")))
        return yield* pageOf(request, query, fields)
      }),

    count: (request, query) =>
      Effect.gen(function* () {
        const count = yield* repository.count(yield* conditionsOf(request, query, "count"))
        return HttpServerResponse.jsonUnsafe({ count })
      }),

    search: (request, query) =>
      // There is no such endpoint without an index.
      answering(
        finders.words === undefined ? Effect.die("a search without an index") : searched(request, query, finders.words)
      ),

    near: (request, query) =>
      answering(
        finders.places === undefined ? Effect.die("places without an index") : located(request, query, finders.places)
      ),

    nearest: (request, view) =>
      answering(
        finders.vectors === undefined
          ? Effect.die("vectors without an index")
          : compared(request, view, finders.vectors)
      ),

    bulk: {
      create: (request, mode) =>
        bulk(
          request,
          mode,
          (document) =>
            Effect.flatMap(createOne(document), (value) =>
              Effect.map(Effect.orDie(repository.documentOf(value)), ({ id }) => ({ status: 201, id, value }))
            ),
          true
        ),
      replace: (request, mode) =>
        bulk(
          request,
          mode,
          Effect.fnUntraced(function* (item) {
            const { body, conditions, id } = yield* aimOf(item, "document")
            const revision = yield* absentFails(hiding(id, revisionFor(conditions, id)))
            const { isCreated, value } = yield* replaceOne(body, id, { isNew: false, revision })
            return { status: isCreated ? 201 : 200, id, value }
          })
        ),
      patch: (request, mode) =>
        bulk(
          request,
          mode,
          Effect.fnUntraced(function* (item) {
            const { body, conditions, id } = yield* aimOf(item, "changes")
            const patched = Effect.flatMap(revisionFor(conditions, id), (revision) => patchOne(body, id, revision))
            return { status: 200, id, value: yield* hiding(id, patched) }
          })
        ),
      delete: (request, mode) =>
        bulk(
          request,
          mode,
          Effect.fnUntraced(function* (item) {
            const { conditions, id } = yield* aimOf(item, undefined)
            yield* hiding(
              id,
              Effect.flatMap(revisionFor(conditions, id), (revision) => deleteOne(id, revision))
            )
            return { status: 204, id, value: undefined }
          })
        )
    },

    create: (request) =>
      Effect.flatMap(read(request), (body) => {
        const idempotencyKey = request.headers["idempotency-key"]
        return Effect.flatMap(
          idempotencyKey === undefined ? createOne(body) : createOnce(idempotencyKey, body),
          (value) => written(request, value, { status: 201, isThere: true })
        )
      }),

    get: (request, id) => {
      const { headers } = request
      if (areAutomatic || (more.length > 0 && request.url.includes("?"))) {
        const parameters = parametersOf(request)
        const [include, view] = ["include", "view"].map((name) =>
          more.includes(name) ? (parameters.get(name) ?? undefined) : undefined
        )
        if (areAutomatic || view !== undefined || (include !== undefined && include !== ""))
          return hiding(id, completed(headers, id, include, view))
      }
      // Who asks without conditions is most who ask: the answer is the document.
      if (headers["if-match"] === undefined && headers["if-none-match"] === undefined)
        return hiding(id, Effect.flatMap(repository.getDocument(id), shownAlone))
      return hiding(
        id,
        Effect.gen(function* () {
          const match = yield* Preconditions.read(headers, "if-match")
          const known = yield* Preconditions.read(headers, "if-none-match")
          const document = yield* repository.getDocument(id)
          if (match !== undefined && !Preconditions.isNamed(match, document.revision))
            return yield* Preconditions.failed
          return known !== undefined && Preconditions.isNamed(known, document.revision)
            ? HttpServerResponse.empty({ status: 304, headers: headersOf(document) })
            : yield* shown(document)
        })
      )
    },

    replace: (request, id) =>
      Effect.gen(function* () {
        const isNew = (yield* Preconditions.read(request.headers, "if-none-match")) === "any"
        // Not there is as good as another revision: there is nothing that the condition could mean.
        const revision = yield* absentFails(hiding(id, revisionFor(request.headers, id, { mayCreate: true })))
        const { isCreated, value } = yield* replaceOne(yield* read(request), id, { isNew, revision })
        return yield* written(request, value, { status: isCreated ? 201 : 200 })
      }),

    patch: (request, id) =>
      hiding(
        id,
        Effect.gen(function* () {
          const revision = yield* revisionFor(request.headers, id)
          return yield* written(request, yield* patchOne(yield* read(request), id, revision))
        })
      ),

    delete: (request, id) =>
      hiding(
        id,
        Effect.gen(function* () {
          yield* deleteOne(id, yield* revisionFor(request.headers, id))
          return HttpServerResponse.empty({ status: 204 })
        })
      ),

    history: ({ limit = settings.defaultLimit }, id) =>
      answering(
        hiding(
          id,
          Effect.gen(function* () {
            const versions = yield* repository.history(id).pipe(Stream.take(limit), Stream.runCollect)
            if (versions.length === 0) return yield* new DbError.NotFound({ resource: name, id })
            const { show } = yield* sight
            const items = yield* Effect.forEach(versions, (version) =>
              Effect.map(jsonOf(version.value), (json) => ({
                version: version.version,
                writtenAt: DateTime.formatIso(version.writtenAt),
                document: show(json)
              }))
            )
            return HttpServerResponse.jsonUnsafe({ items })
          })
        )
      ),

    ndjson: (request, query) =>
      answering(
        Effect.map(rowsOf(request, query), ({ headers, rows }) =>
          HttpServerResponse.stream(Export.ndjson(rows), {
            contentType: "application/x-ndjson",
            headers: { ...headers, "content-disposition": `attachment; filename="${settings.name}.ndjson"` }
          })
        )
      ),

    csv: (request, query) =>
      answering(
        Effect.map(rowsOf(request, query), ({ columns, headers, rows }) =>
          // Somebody is going to open it in a spreadsheet.
          HttpServerResponse.stream(Export.csv(rows, { columns, escapeFormulas: true, onExcessProperty: "ignore" }), {
            contentType: "text/csv; charset=utf-8",
            headers: { ...headers, "content-disposition": `attachment; filename="${settings.name}.csv"` }
          })
        )
      ),

    changes: feed.serverSent,
    socket: SocketOfChanges.make({
      feed,
      places,
      authentication,
      isPublic: settings.isPublic,
      settings: settings.sockets,
      stopping
    }),

    contents: Contents.make(repository, { name, hiding, maxBytes: settings.maxContentBytes })
  }
}

/** A document with a field of another, if that has it. */
const withField = (
  document: JsonObject,
  other: JsonObject,
  [head = "", ...rest]: ReadonlyArray<string>
): JsonObject => {
  const value = Object.hasOwn(other, head) ? other[head] : undefined
  if (value === undefined) return document
  if (rest.length === 0 || !isRecord(value)) return { ...document, [head]: value }
  const here = Object.hasOwn(document, head) ? document[head] : undefined
  return { ...document, [head]: withField(here !== undefined && isRecord(here) ? here : {}, value, rest) }
}
