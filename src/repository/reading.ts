/**
 * Reads of a resource as they run: through its interceptors, to its documents.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type { JsonObject } from "../encoding/Json.ts"
import type * as Pipeline from "../Pipeline.ts"
import type * as Query from "../Query.ts"
import type { Fields } from "../query/fields.ts"
import type { ListFailure } from "../query/listing.ts"
import { passes } from "../query/run.ts"
import * as staleness from "../query/staleness.ts"
import type { ListError, ReadError } from "../Repository.ts"
import type { Counts } from "./counts.ts"
import type { Operation } from "./operation.ts"
import type { Source } from "./source.ts"

/**
 * A document as interceptors have left it: its envelope, where one was made, and the version that it stands for, as far as
 * it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shown<A> {
  readonly value: A
  readonly document: Document.Document<A> | undefined
  readonly base: Base<A> | undefined
}

type Load<A, E> = (id: string) => Effect.Effect<Base<A>, E>

/** What a version is read for by itself; `undefined` where others take part. */
type Alone<A, X> = <E>(id: string, load: Load<A, E>) => Effect.Effect<X, DbError.Named<E>> | undefined

/**
 * Reads of a resource as callers get them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reading<A> {
  /** The envelope of a version. No request. */
  readonly documentOf: (base: Base<A>) => Document.Document<A>
  /** The envelope of what was shown. No request. */
  readonly envelopeOf: (shown: Shown<A>) => Document.Document<A>
  /** What interceptors have made of a document: whatever it is, it has this envelope. */
  readonly shownAs: (document: Document.Document<A>) => Shown<A>
  /** The document as it is now, for interceptors to ask for. */
  readonly current: (id: string) => Effect.Effect<Option.Option<Document.Document<A>>, DbError.DbError>
  /** Reads a version as `get`, by whatever way. */
  readonly get: <E>(id: string, load: Load<A, E>) => Effect.Effect<Shown<A>, DbError.Named<E> | ReadError>
  /** Reads the present version as `get`: who may not see it is told that there is none, by default of this id. */
  readonly present: <E>(
    id: string,
    load: Load<A, E>,
    missing?: DbError.NotFound
  ) => Effect.Effect<Shown<A>, DbError.Named<E> | DbError.NotFound | ReadError>
  /** The value of the present version, as `present` reads it. To be called where it is run. */
  readonly valueNow: <E>(
    id: string,
    load: Load<A, E>
  ) => Effect.Effect<A, DbError.Named<E> | DbError.NotFound | ReadError>
  /** The envelope of the present version. */
  readonly document: <E>(
    id: string,
    load: Load<A, E>
  ) => Effect.Effect<Document.Document<A>, DbError.Named<E> | DbError.NotFound | ReadError>
  /**
   * Makes what gives the same where nothing else takes part, and fails in the name of an operation that is given. To be called where it is run.
   */
  readonly documentAlone: (name: string) => Alone<A, Document.Document<A>>
  /** The same of the value. */
  readonly valueAlone: (name: string) => Alone<A, A>
  readonly exists: (id: string) => Effect.Effect<boolean, ReadError>
  /** The same where nothing else takes part, as `documentAlone` does it. */
  readonly existsAlone: (name: string) => (id: string) => Effect.Effect<boolean, ReadError> | undefined
  /** Reads as `query`; all after an id, in the order of keys. */
  readonly query: (request: Query.Request<A>, after?: string) => Stream.Stream<Shown<A>, ListError>
  /** The same in JSON form, with the system fields and without secrets. */
  readonly queryJson: (
    request: Query.Request<A>,
    /** The fields that are made use of. Default: all. */
    shown?: ReadonlyArray<ReadonlyArray<string>>
  ) => Stream.Stream<JsonObject, ListError>
  /** A document in JSON form, with the system fields and without secrets. `NotAllowed`: interceptors have made something else of it. */
  readonly jsonOf: (shown: Shown<A>) => Effect.Effect<JsonObject, DbError.DbError | DbError.NotAllowed>
  readonly list: (
    request: Query.Request<A> & Query.PageRequest & Query.Total
  ) => Effect.Effect<Query.Page<A> & { readonly total?: number | undefined }, ListError>
  /** The same in JSON form, with the system fields where some fields are asked for. */
  readonly listJson: (
    request: Query.Request<A> & Query.PageRequest & Query.Total,
    /** The fields that are made use of; `undefined`: all but those of the system. */
    shown: ReadonlyArray<ReadonlyArray<string>> | undefined
  ) => Effect.Effect<Query.Page<JsonObject> & { readonly total: number | undefined }, ListError>
  readonly listIds: (request: Query.Request<A>) => Stream.Stream<string, ListError>
  readonly count: (request: Query.Request<A> & Query.Verify) => Effect.Effect<number, ListError>
  /** What the counter says, unless the interceptors of `count` want something else to be counted. */
  readonly estimatedCount: (within: Query.Within) => Effect.Effect<number, ListError>
  /**
   * A listing that shows something else than documents or ids: for those who have every right that it takes, and to whom
   * interceptors show everything as it is.
   */
  readonly whole: <Request extends Query.Request<A>, X>(
    rights: ReadonlyArray<"listIds" | "query">,
    given: Request,
    use: (request: Request) => Stream.Stream<X, ListFailure>
  ) => Stream.Stream<X, ListError>
  /**
   * A listing of keys: for those who may list ids and query. It is given the filters of both where it looks at the documents; where
   * it does not, interceptors must not have any.
   */
  readonly keys: <X>(
    request: Query.Verify,
    use: (filters: ReadonlyArray<Pipeline.Filter<A>>) => Stream.Stream<X, ListFailure | Pipeline.Rejected>
  ) => Stream.Stream<X, ListError>
}

/**
 * Makes the reads of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, Insert, Update, Patch>(
  { context, reader }: Documents<A>,
  {
    counts,
    fields,
    operation,
    pipeline,
    source
  }: {
    readonly counts: Counts
    readonly fields: Fields<A>
    readonly operation: Operation
    readonly pipeline: Pipeline.Pipeline<Pipeline.Operations<A, Insert, Update, Patch>>
    readonly source: Source<A>
  }
): Reading<A> => {
  const { codec, know, known } = context
  const { named, namedStream, refuse } = operation
  const { queries } = source

  const documentOf = (base: Base<A>): Document.Document<A> => {
    const document = Document.envelope(base.id, base.value, base.stored, codec.pathOf)
    know(base, document)
    return document
  }

  const shownOf = (base: Base<A>): Shown<A> => ({ value: base.value, document: undefined, base })

  const valueOf = ({ value }: Base<A>): Effect.Effect<A> => Effect.succeed(value)

  const valued = operation.following(valueOf)

  const alone = <X>(name: string, next: (base: Base<A>) => Effect.Effect<X>): Alone<A, X> => {
    const read = operation.following(next, name)
    return (id, load) => (pipeline.concerns("get") || context.readThrough() !== undefined ? undefined : read(load(id)))
  }

  const shownAs = (document: Document.Document<A>): Shown<A> => ({
    value: document.value,
    document,
    base: known(document)
  })

  const jsonOfMade = Effect.fnUntraced(function* ({ base, document, value }: Shown<A>) {
    const encoded = yield* Effect.result(codec.encode(value, undefined))
    if (Result.isFailure(encoded) || document === undefined) {
      const id = document?.id ?? base?.id ?? ""
      return yield* refuse(`what an interceptor made of ${JSON.stringify(id)} is no document of ${context.name}`)
    }
    const { id, json } = encoded.success
    return fields.jsonWith(id, json(), {
      createdAt: document.createdAt.epochMilliseconds,
      writtenAt: document.writtenAt.epochMilliseconds,
      schemaVersion: document.schemaVersion
    })
  })

  const jsonOf: Reading<A>["jsonOf"] = (shown) => {
    const { base, value } = shown
    return base !== undefined && base.value === value ? Effect.succeed(fields.jsonOf(base)) : jsonOfMade(shown)
  }

  const query: Reading<A>["query"] = (request, after) =>
    Stream.suspend((): Stream.Stream<Shown<A>, ListError> => {
      const bases = (request: Query.Request<A>, filters: ReadonlyArray<Pipeline.Filter<A>> = []) =>
        namedStream(after === undefined ? queries.bases(request, filters) : queries.basesAfter(after, request, filters))
      if (!pipeline.concerns("query")) return Stream.map(bases(request), shownOf)
      const read = pipeline.read("query", { request, filters: [] }, (input) =>
        Effect.succeed(Stream.map(bases(input.request, input.filters), documentOf))
      )
      return Stream.map(Stream.unwrap(read), shownAs)
    })

  /** Says who narrows what may be seen, as far as it is known, and what shows that. */
  const narrowed = (as: "listIds" | "query", instead: string) => {
    const names = pipeline.names(as).map((name) => JSON.stringify(name))
    const who =
      names.length === 1 ? `the interceptor ${names[0]} of ${as}` : `an interceptor of ${as} (${names.join(", ")})`
    return refuse(`${who} narrows or changes what may be seen; use ${instead}, which shows that`)
  }

  /** What is asked for, after interceptors have let it pass but for filters; what they change otherwise is refused. */
  const filtered = Effect.fnUntraced(function* <Request extends Query.Request<A>>(
    as: "listIds" | "query",
    request: Request,
    instead: string
  ) {
    if (!pipeline.concerns(as)) return { request, filters: [] }
    const seen: { input?: { readonly request: Query.Request<A> } & Pipeline.Filtered<A> } = {}
    // An `after` that leaves out or changes something gives another stream than this one.
    const nothing = Stream.suspend((): Stream.Stream<never> => Stream.empty)
    const given = { request, filters: [] }
    const execute = (input: NonNullable<typeof seen.input>) => {
      seen.input = input
      return Effect.succeed(nothing)
    }
    const shown: Stream.Stream<unknown, ListError> =
      as === "listIds" ? yield* pipeline.read("listIds", given, execute) : yield* pipeline.read("query", given, execute)
    const { request: left, filters = [] } = seen.input ?? {}
    const isChanged =
      left === undefined ||
      shown !== nothing ||
      [left.where, left.predicate, left.limit].some((part) => part !== undefined)
    return isChanged ? yield* narrowed(as, instead) : { request: { ...request, ...left }, filters }
  })

  /** What is asked for, after interceptors have let it pass as it is; what they narrow or change is refused. */
  const untouched = Effect.fnUntraced(function* <Request extends Query.Request<A>>(
    as: "listIds" | "query",
    given: Request
  ) {
    const { filters, request } = yield* filtered(as, given, "query")
    return filters.length === 0 ? request : yield* narrowed(as, "query")
  })

  const count: Reading<A>["count"] = (request) =>
    pipeline.read("count", { request, filters: [] }, (input) =>
      named(queries.count(input.request, input.filters ?? []))
    )

  /** A page of documents, as interceptors have left it. */
  const listed = (given: Query.Request<A> & Query.PageRequest & Query.Total) =>
    pipeline.read(
      "list",
      { request: given, filters: [] },
      Effect.fnUntraced(function* ({ request, filters = [] }) {
        const hides = filters.length > 0 || request.where !== given.where || request.predicate !== given.predicate
        const { items, cursor } = yield* named(queries.page(request, filters, hides))
        const page = { items: items.map(documentOf), cursor }
        if (request.total !== true) return page
        const { limit: _, cursor: __, ...whole } = request
        // Whoever may see all pages may know how many documents they have: no more than those.
        return { ...page, total: yield* named(queries.count({ ...whole, allowStale: false }, filters)) }
      })
    )

  /**
   * What interceptors of `query` let pass: by keys where they leave it at that and the request allows it, else as documents in JSON form.
   * They run once.
   */
  const throughKeys = Effect.fnUntraced(function* (
    given: Query.Request<A>,
    shown: ReadonlyArray<ReadonlyArray<string>>
  ): Effect.fn.Return<Stream.Stream<JsonObject, ListError>, ListError> {
    const admitted: { input?: { readonly request: Query.Request<A> } & Pipeline.Filtered<A> } = {}
    const documents = Stream.suspend(() => {
      const { request = given, filters = [] } = admitted.input ?? {}
      return Stream.map(namedStream(queries.bases(request, filters)), documentOf)
    })
    const left = yield* pipeline.read("query", { request: given, filters: [] }, (input) => {
      admitted.input = input
      return Effect.succeed(documents)
    })
    const { filters = [], request } = admitted.input ?? {}
    const isUntouched = left === documents && request !== undefined && filters.length === 0
    const told = isUntouched ? yield* named(queries.byKeys(request, shown)) : undefined
    return told === undefined ? Stream.mapEffect(Stream.map(left, shownAs), jsonOf) : namedStream(told)
  })

  const current: Reading<A>["current"] = (id) => Effect.map(named(reader.find(id)), Option.map(documentOf))

  const present: Reading<A>["present"] = <E>(id: string, load: Load<A, E>, missing?: DbError.NotFound) =>
    Effect.suspend((): Effect.Effect<Shown<A>, DbError.Named<E> | DbError.NotFound | ReadError> => {
      if (!pipeline.concerns("get")) return Effect.map(named(load(id)), shownOf)
      const read = pipeline.read(
        "get",
        { id, filters: [] },
        Effect.fnUntraced(function* ({ filters = [], id }) {
          const base = yield* named(load(id))
          return (yield* passes(filters, base)) ? documentOf(base) : yield* missing ?? context.missing(id)
        })
      )
      return Effect.map(read, shownAs)
    })

  const presentValue = <E>(id: string, load: Load<A, E>) => Effect.map(present(id, load), ({ value }) => value)

  const envelopeOf: Reading<A>["envelopeOf"] = ({ base, document }) => document ?? documentOf(base!)

  return {
    documentOf,
    shownAs,
    envelopeOf,
    current,
    get: <E>(id: string, load: Load<A, E>) =>
      Effect.suspend((): Effect.Effect<Shown<A>, DbError.Named<E> | ReadError> => {
        if (!pipeline.concerns("get")) return Effect.map(named(load(id)), shownOf)
        const read = pipeline.read("get", { id }, (input) => Effect.map(named(load(input.id)), documentOf))
        return Effect.map(read, shownAs)
      }),
    present,
    document: (id, load) => Effect.map(present(id, load), envelopeOf),
    documentAlone: (name) => alone(name, (base) => Effect.succeed(documentOf(base))),
    valueAlone: (name) => alone(name, valueOf),
    valueNow: (id, load) => (pipeline.concerns("get") ? presentValue(id, load) : valued(load(id))),
    exists: (id) =>
      Effect.suspend(() =>
        pipeline.concerns("exists")
          ? pipeline.read("exists", { id, current: current(id) }, (input) => named(source.reader.exists(input.id)))
          : named(source.reader.exists(id))
      ),
    existsAlone: (name) => {
      const read = operation.following((isThere: boolean) => Effect.succeed(isThere), name)
      return (id) =>
        pipeline.concerns("exists") || context.readThrough() !== undefined ? undefined : read(source.reader.exists(id))
    },
    query,
    jsonOf,
    queryJson: (request, shown) =>
      Stream.suspend((): Stream.Stream<JsonObject, ListError> => {
        if (request.allowStale === true && shown !== undefined) return Stream.unwrap(throughKeys(request, shown))
        return pipeline.concerns("query")
          ? Stream.mapEffect(query(request), jsonOf)
          : Stream.map(namedStream(queries.found(request, [])), ({ json }) => json)
      }),
    list: Effect.fnUntraced(function* (given) {
      const page = yield* listed(staleness.exact(given))
      return { ...page, items: page.items.map((document) => document.value) }
    }),
    listJson: Effect.fnUntraced(function* (asked, shown) {
      const given = staleness.exact(asked)
      // An interceptor is given documents, and makes the page of them.
      const mayBeStale = given.allowStale === true && shown !== undefined && !pipeline.concerns("list")
      const { total: isCounted, ...request } = given
      const told = mayBeStale ? yield* named(queries.pageByKeys(request, shown)) : undefined
      if (told !== undefined) {
        const { limit: _, cursor: __, ...whole } = request
        const total = isCounted === true ? yield* named(queries.count(whole, [])) : undefined
        return { ...told, total }
      }
      if (!pipeline.concerns("list")) {
        // Nobody else is given the documents, and so they need no envelopes.
        const { cursor, items } = yield* named(queries.page(given, [], false))
        const { limit: _, cursor: __, ...whole } = request
        const total = isCounted === true ? yield* named(queries.count({ ...whole, allowStale: false }, [])) : undefined
        return { items: items.map(shown === undefined ? fields.bareOf : fields.jsonOf), cursor, total }
      }
      const page = yield* listed(given)
      const whole = yield* Effect.forEach(page.items, (document) => jsonOf(shownAs(document)))
      const items = shown === undefined ? whole.map(fields.shown) : whole
      return { items, cursor: page.cursor, total: page.total }
    }),
    listIds: (request) =>
      Stream.unwrap(
        pipeline.read("listIds", { request, filters: [] }, (input) =>
          Effect.succeed(namedStream(queries.ids(input.request, input.filters ?? [])))
        )
      ),
    count,
    estimatedCount: Effect.fnUntraced(function* (within) {
      if (context.declared.counters === undefined)
        return yield* refuse("declare the resource with counters: true to use it")
      return yield* pipeline.read("count", { request: within, filters: [] }, ({ request, filters = [] }) =>
        request.where === undefined && request.predicate === undefined && filters.length === 0
          ? named(counts.read(request))
          : named(queries.count(request, filters))
      )
    }),
    whole: (rights, given, use) =>
      Stream.unwrap(
        Effect.gen(function* () {
          let request = given
          for (const right of rights) request = yield* untouched(right, request)
          return namedStream(use(request))
        })
      ),
    keys: ({ verify = true }, use) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const all: Array<Pipeline.Filter<A>> = []
          for (const right of ["listIds", "query"] as const) {
            const asked: Query.Request<A> = {}
            const { filters, request } = yield* filtered(right, asked, "query")
            // There is no part of a listing of keys.
            if (request.partition !== undefined) return yield* narrowed(right, "query")
            if (!verify && filters.length > 0) return yield* narrowed(right, "verify: true")
            all.push(...filters)
          }
          return namedStream(use(all))
        })
      )
  }
}
