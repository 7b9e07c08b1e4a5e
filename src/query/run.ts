/**
 * Queries as they run: documents along the planned way, filtered, in their order, page by page.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as DbError from "../DbError.ts"
import type * as Aggregation from "../Aggregation.ts"
import type { Definition } from "../Definition.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { compareUtf8 } from "../internal/text.ts"
import type * as PackedObjects from "../kernel/PackedObjects.ts"
import type * as Pipeline from "../Pipeline.ts"
import * as Query from "../Query.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import type { PageCursors } from "./cursor.ts"
import type { Fields } from "./fields.ts"
import { mostInMemory } from "./keys.ts"
import type { ListFailure, Listing } from "./listing.ts"
import type { Markers } from "./markers.ts"
import type { Packed } from "./packed.ts"
import * as Tolerance from "./tolerance.ts"
import * as TopK from "./topK.ts"
import type { Planned, Planner } from "./planner.ts"

/**
 * A document that meets the conditions, and its JSON form as conditions see it: without secrets, with system fields.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found<A> {
  readonly base: Base<A>
  readonly json: JsonObject
}

/**
 * What decides which documents are there for a request at all.
 *
 * @category models
 * @since 0.1.0
 */
export type Filters<A> = ReadonlyArray<Pipeline.Filter<A>>

/**
 * What a query may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type QueryFailure = ListFailure | DbError.NotAllowed | Pipeline.Rejected

/**
 * The queries of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Queries<A> {
  /** The documents that meet the conditions and pass the filters. */
  readonly bases: (request: Query.Request<A>, filters: Filters<A>) => Stream.Stream<Base<A>, QueryFailure>
  /** All documents that pass the filters, in the order of their keys, after that of an id. */
  readonly basesAfter: (
    after: string,
    request: Query.Request<A>,
    filters: Filters<A>
  ) => Stream.Stream<Base<A>, QueryFailure>
  /** The same with their JSON form. */
  readonly found: (request: Query.Request<A>, filters: Filters<A>) => Stream.Stream<Found<A>, QueryFailure>
  /**
   * The documents that meet the conditions, by keys alone, in JSON form and with at least the fields that are asked for; `undefined` where
   * keys do not tell them, or the request does not allow it.
   */
  readonly byKeys: (
    request: Query.Request<A>,
    asked: ReadonlyArray<ReadonlyArray<string>>
  ) => Effect.Effect<Stream.Stream<JsonObject, QueryFailure> | undefined, QueryFailure>
  /** One page of that. */
  readonly pageByKeys: (
    request: Query.Request<A> & Query.PageRequest,
    asked: ReadonlyArray<ReadonlyArray<string>>
  ) => Effect.Effect<Query.Page<JsonObject> | undefined, QueryFailure>
  /**
   * The documents that meet the conditions in JSON form, in no order, with at least the fields that are asked for. Where a resource has
   * copies, and all documents are looked at, their columns; where the request allows it, by keys alone.
   */
  readonly batches: (
    request: Query.Request<A>,
    asked: ReadonlyArray<ReadonlyArray<string>>
  ) => Stream.Stream<Aggregation.Batch, QueryFailure>
  readonly ids: (request: Query.Request<A>, filters: Filters<A>) => Stream.Stream<string, QueryFailure>
  readonly count: (request: Query.Request<A> & Query.Verify, filters: Filters<A>) => Effect.Effect<number, QueryFailure>
  /**
   * One page. `hides`: whether there are documents that who asks may not learn of, by filters or by conditions.
   */
  readonly page: (
    request: Query.Request<A> & Query.PageRequest,
    filters: Filters<A>,
    hides: boolean
  ) => Effect.Effect<Query.Page<Base<A>>, QueryFailure>
  /** How a request is going to be answered; `asked`: the fields that are wanted, where not all are. No request. */
  readonly explain: (
    request: Query.Request<A>,
    asked: ReadonlyArray<ReadonlyArray<string>> | undefined
  ) => Effect.Effect<Query.Plan, DbError.InvalidInput>
  /** Whether a document meets the conditions of a request. */
  readonly meets: (request: Query.Request<A>) => Effect.Effect<(base: Base<A>) => boolean, DbError.InvalidInput>
}

const defaultConcurrency = 16

/**
 * Makes what runs the queries of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  { name, primaryKey, scan }: Definition<S>,
  { reader }: Documents<S["Type"]>,
  {
    cursors,
    fields,
    listing,
    markers,
    packed,
    planner
  }: {
    readonly cursors: PageCursors
    readonly fields: Fields<S["Type"]>
    readonly listing: Listing<S["Type"]>
    readonly markers: Markers
    readonly packed: Packed
    readonly planner: Planner<S["Type"]>
  }
): Queries<S["Type"]> => {
  type A = S["Type"]

  /** Everything that the way leads to, not yet looked at. */
  const reached = (
    { access, bounds, matches, paths, plan }: Planned,
    { concurrency = defaultConcurrency, limit, maxStaleness, onCorrupt }: Asking,
    filters: Filters<A>
  ): Stream.Stream<Base<A>, ListFailure> => {
    const options = { concurrency, onCorrupt, maxStaleness }
    const { attempt, tell } = Tolerance.make(name, options)
    const read = <E>(id: string, find: Effect.Effect<Option.Option<Base<A>>, E>) =>
      attempt(id, Effect.map(find, Option.getOrUndefined))
    const unique = Effect.fnUntraced(function* (label: string, digest: string) {
      for (;;) {
        const { all, isCurrent } = yield* reader.claimants(label, digest)
        for (const { find, id } of all) {
          const base = yield* tell(yield* read(id, find))
          if (base !== undefined) return base
        }
        // The value may have gone to another document since.
        if (all.length === 0 || (yield* isCurrent)) return undefined
      }
    })
    switch (access._tag) {
      case "Ids":
        return Stream.fromArray(access.ids).pipe(
          Stream.mapEffect((id) => read(id, reader.find(id)), { concurrency }),
          Stream.mapEffect(tell),
          Stream.filter(isThere)
        )
      case "Unique":
        return Stream.filter(Stream.fromEffect(unique(access.label, access.digest)), isThere)
      case "Partition": {
        const isSorted = plan.order === "index"
        return Stream.flatMap(Stream.fromArray(access.within), (within) =>
          listing.bases({ ...within, ...options, isSorted, most: mostOf(plan, limit) })
        )
      }
      case "Scan": {
        const isEverything = plan.filter === undefined && access.ids === undefined
        return listing.bases({
          ...options,
          // What decides who sees a document is asked about each of them.
          narrow: isEverything || filters.length > 0 ? undefined : { bounds, matches, paths },
          ids: access.ids,
          most: mostOf(plan, limit)
        })
      }
    }
  }

  /** Who may not see a document must not learn of it by a condition either: filters come first. */
  const along = (planned: Planned, request: Asking, filters: Filters<A>): Stream.Stream<Found<A>, QueryFailure> =>
    passing(reached(planned, request, filters), filters).pipe(
      Stream.map((base) => ({ base, json: fields.jsonOf(base) })),
      Stream.filter(({ json }) => planned.matches(json))
    )

  /** The first so many of a stream, in the order of a request. */
  const keepBest = Effect.fnUntraced(function* <One extends Seen, E>(
    all: Stream.Stream<One, E>,
    limit: number,
    { compare }: Planned
  ) {
    const top = TopK.make<One>(limit, (a, b) => compare(a.json, b.json))
    yield* Stream.runForEach(all, (one) => Effect.sync(() => top.add(one)))
    return top.result()
  })

  /** What a way leads to, in the order and the number that are asked for. */
  const ordered = <One extends Seen>(
    all: Stream.Stream<One, QueryFailure>,
    planned: Planned,
    request: Query.Request<A>
  ): Stream.Stream<One, QueryFailure> => {
    if (planned.plan.order !== "memory") return request.limit === undefined ? all : Stream.take(all, request.limit)
    return Stream.unwrap(Effect.map(keepBest(all, request.limit ?? mostInMemory, planned), Stream.fromArray))
  }

  const run = (
    planned: Planned,
    request: Query.Request<A>,
    filters: Filters<A>
  ): Stream.Stream<Found<A>, QueryFailure> => ordered(along(planned, request, filters), planned, request)

  /** What keys tell of the documents that meet the conditions. */
  const told = ({ access, matches, plan }: Planned, request: Asking): Stream.Stream<Seen, ListFailure> => {
    const isSorted = plan.order === "index"
    const within = access._tag === "Partition" ? access.within.map((one) => ({ ...one, isSorted })) : []
    return markers.rows(within, request).pipe(
      Stream.filter(matches),
      Stream.map((json) => ({ json }))
    )
  }

  /** A request as it is planned, if keys may answer it. */
  const plannedByKeys = Effect.fnUntraced(function* (
    request: Query.Request<A>,
    asked: ReadonlyArray<ReadonlyArray<string>>
  ) {
    if (request.allowStale !== true) return undefined
    const planned = yield* planner.fresh(request, asked)
    return planned.plan.reads === "keys" ? planned : undefined
  })

  const byKeys: Queries<A>["byKeys"] = (request, asked) =>
    Effect.map(plannedByKeys(request, asked), (planned) =>
      planned === undefined
        ? undefined
        : Stream.map(ordered(told(planned, request), planned, request), ({ json }) => json)
    )

  const found: Queries<A>["found"] = (request, filters) =>
    Stream.unwrap(Effect.map(planner.allowed(request), (planned) => run(planned, request, filters)))

  /** Documents by the columns of their copies. */
  const byColumns = (
    copies: PackedObjects.PackedObjects,
    planned: Planned,
    request: Query.Request<A>,
    asked: ReadonlyArray<ReadonlyArray<string>>
  ): Stream.Stream<Aggregation.Batch, QueryFailure> => {
    const { matches } = planned
    const tolerance = Tolerance.make(name, request)
    return packed.seen(copies, asked, { narrow: planned, maxStaleness: request.maxStaleness }).pipe(
      Stream.mapEffect(
        Effect.fnUntraced(function* ({ columns, hits }) {
          if (hits.length === 0) return columns
          const documents: Array<JsonObject> = []
          for (const one of yield* listing.read(hits, tolerance, request)) {
            const base = yield* tolerance.tell(one)
            const json = base === undefined ? undefined : fields.jsonOf(base)
            if (json !== undefined && matches(json)) documents.push(json)
          }
          return [...columns, documents]
        })
      ),
      Stream.flatMap(Stream.fromArray)
    )
  }

  /** Of ids it is known before they are read which come next. */
  const idsAfter = (ids: ReadonlyArray<string>, last: JsonObject | undefined): ReadonlyArray<string> => {
    const end = last?.[primaryKey]
    return ids.filter((id) => typeof end !== "string" || compareUtf8(id, end) > 0).toSorted(compareUtf8)
  }

  /** A page of what is put in order in memory, or found by several listings: it goes on after the document before. */
  const pageInMemory = Effect.fnUntraced(function* <One extends Seen>(
    request: Query.PageRequest,
    planned: Planned,
    along: (planned: Planned) => Stream.Stream<One, QueryFailure>,
    limit: number
  ): Effect.fn.Return<Query.Page<One>, QueryFailure> {
    const { access, canonical, compare, order, plan } = planned
    const query = JSON.stringify([name, canonical])
    const position = yield* cursors.read(query, request.cursor)
    const last = position === undefined ? undefined : (JSON.parse(position) as JsonObject)
    const isByIds = access._tag === "Ids" && plan.order === "none"
    const next = isByIds ? { ...planned, access: { ...access, ids: idsAfter(access.ids, last) } } : planned
    const after = (one: One) => last === undefined || compare(one.json, last) > 0
    const all = Stream.filter(along(next), after)
    const best = yield* keepBest(isByIds ? Stream.take(all, limit + 1) : all, limit + 1, planned)
    const items = best.slice(0, limit)
    const end = items.at(-1)
    const paths = [[primaryKey], ...order.map((one) => one.path)].map((path) => path.join("."))
    const cursor =
      best.length > limit && end !== undefined
        ? yield* cursors.make(query, JSON.stringify(Query.project(paths)(end.json)))
        : undefined
    return { items, cursor }
  })

  /** The one listing by which documents come in their order; `undefined`: there are several, or memory has to make it. */
  const oneListing = ({ access, plan }: Planned) => {
    if (plan.order === "memory") return undefined
    const within = access._tag === "Scan" ? {} : access._tag === "Partition" ? access.within[0] : undefined
    const isOne = access._tag !== "Partition" || access.within.length === 1
    return isOne && within !== undefined ? { ...within, isSorted: plan.order === "index" } : undefined
  }

  const pageByKeys: Queries<A>["pageByKeys"] = Effect.fnUntraced(function* (request, asked) {
    const { limit = 100 } = request
    const planned = yield* plannedByKeys({ ...request, limit }, asked)
    if (planned === undefined) return undefined
    const within = oneListing(planned)
    if (within === undefined) {
      const { cursor, items } = yield* pageInMemory(request, planned, (next) => told(next, request), limit)
      return { items: items.map(({ json }) => json), cursor }
    }
    return yield* listing.pageOf({ ...request, ...within, limit }, markers.rowOf, {
      canonical: planned.canonical,
      hides: false,
      keep: (json) => Effect.succeed(planned.matches(json))
    })
  })

  const page: Queries<A>["page"] = Effect.fnUntraced(function* (request, filters, hides) {
    const { limit = 100 } = request
    const isWhole = isPlain({ ...request, limit: undefined })
    if (isWhole && filters.length === 0) return yield* listing.page(request)
    const planned = yield* planner.allowed({ ...request, limit })
    const { canonical, matches } = planned
    const within = oneListing(planned)
    if (within === undefined) {
      const { cursor, items } = yield* pageInMemory(request, planned, (next) => along(next, request, filters), limit)
      return { items: items.map(({ base }) => base), cursor }
    }
    return yield* listing.page(
      { ...request, ...within, limit },
      {
        canonical: isWhole ? "" : canonical,
        hides,
        keep: (base) => Effect.map(passes(filters, base), (isSeen) => isSeen && matches(fields.jsonOf(base)))
      }
    )
  })

  return {
    found,
    byKeys,
    pageByKeys,
    batches: (request, asked) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const told = yield* byKeys(request, asked)
          if (told !== undefined) return Stream.chunks(told)
          const planned = yield* planner.allowed(request)
          const isWhole = planned.access._tag === "Scan" && request.limit === undefined
          const copies = isWhole ? yield* packed.copies : undefined
          return copies === undefined
            ? Stream.chunks(Stream.map(run(planned, request, []), ({ json }) => json))
            : byColumns(copies, planned, request, asked)
        })
      ),
    page,
    bases: (request, filters) =>
      isPlain(request) && (request.partition !== undefined || (request.scan ?? scan))
        ? passing(listing.bases(request), filters)
        : Stream.map(found(request, filters), ({ base }) => base),
    basesAfter: (after, request, filters) => {
      const isWhole = isPlain(request) && request.partition === undefined
      // What is wrong with the rest of the request is told as it is without `after`.
      return Stream.unwrap(
        Effect.as(planner.plan(request), passing(listing.basesAfter(after, request, isWhole), filters))
      )
    },
    ids: (request, filters) => {
      const ids =
        isPlain(request) && filters.length === 0
          ? listing.ids(request)
          : Stream.map(found(named(request), filters), ({ base }) => base.id)
      // The keys of documents tell by themselves which there are.
      const isAll = isPlain(request) && request.partition === undefined
      if (request.allowStale !== true || filters.length > 0 || isAll) return ids
      return Stream.unwrap(
        Effect.map(byKeys(request, [[primaryKey]]), (told) =>
          told === undefined ? ids : Stream.map(told, (json) => String(json[primaryKey]))
        )
      )
    },
    count: Effect.fnUntraced(function* (request, filters) {
      const isWhole = isPlain(request) && filters.length === 0
      const mayBeStale = request.allowStale === true && request.verify !== true && filters.length === 0
      const planned = mayBeStale ? yield* plannedByKeys({ ...request, order: undefined }, []) : undefined
      // The keys alone are counted, not what they say.
      if (isWhole) return yield* listing.count(planned === undefined ? request : { ...request, verify: false })
      return planned === undefined
        ? yield* Stream.runCount(found({ ...named(request), order: undefined }, filters))
        : yield* Stream.runCount(ordered(told(planned, request), planned, request))
    }),
    explain: Effect.fnUntraced(function* (request, asked) {
      const { access, plan } = yield* planner.plan(request, asked)
      const isWhole = access._tag === "Scan" && access.ids === undefined && mostOf(plan, request.limit) === undefined
      const copies = isWhole ? yield* packed.copies : undefined
      return copies === undefined ? plan : { ...plan, reads: "copies", requests: requestsOfCopies }
    }),
    meets: (request) =>
      Effect.map(
        planner.plan(request),
        ({ matches }) =>
          (base) =>
            matches(fields.jsonOf(base))
      )
  }
}

/** A document as conditions see it. */
interface Seen {
  readonly json: JsonObject
}

type Asking = Query.Concurrency & Query.OnCorrupt & Query.Bounded & { readonly limit?: number | undefined }

/** The manifest, a listing and a pack, and a listing for each further thousand. */
const requestsOfCopies: Query.Requests = { fixed: 3, perThousand: 1, perDocument: 0 }

/** How many of the documents a request ends with, before it has seen all. */
const mostOf = ({ filter, order }: Query.Plan, limit: number | undefined): number | undefined =>
  filter === undefined && order !== "memory" ? limit : undefined

type Asked = Readonly<Partial<Record<"where" | "predicate" | "order" | "limit", unknown>>>

/** Who lists or counts all says so by that, also where filters have each document read. */
const named = <R extends Asked & { readonly scan?: boolean | undefined }>(request: R): R =>
  isPlain(request) ? { ...request, scan: true } : request

/** Whether it asks for no more than a listing by itself gives. */
const isPlain = ({ where, predicate, order, limit }: Asked): boolean =>
  where === undefined && predicate === undefined && order === undefined && limit === undefined

const isThere = <A>(one: A | undefined): one is A => one !== undefined

/**
 * Tells whether every filter lets a version through.
 *
 * @category guards
 * @since 0.1.0
 */
export const passes = Effect.fnUntraced(function* <A>(
  filters: Filters<A>,
  { id, stored: { createdAt, writtenAt }, value }: Base<A>
) {
  for (const filter of filters) if ((yield* filter(value, { id, createdAt, writtenAt })) !== true) return false
  return true
})

/** The documents that every filter lets through. */
const passing = <A, E>(all: Stream.Stream<Base<A>, E>, filters: Filters<A>) =>
  filters.length === 0
    ? all
    : Stream.filterEffect(all, (base): Effect.Effect<boolean, E | Pipeline.Rejected | DbError.DbError> =>
        passes(filters, base)
      )
