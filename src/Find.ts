/**
 * Queries over the documents of a resource: which way to the documents is the shortest, what remains to be looked at, in
 * which order they come.
 *
 * **Details**
 *
 * A query reads documents by their id, by a unique key, or by a partition, whichever its conditions allow and promises
 * the fewest documents. What the way does not settle is checked on each document. A query that would have to read every
 * document is refused unless it says `scan: true`, or the definition does.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Aggregation from "./Aggregation.ts"
import * as DbError from "./DbError.ts"
import type { Base, DocumentStore, Indexes } from "./DocumentStore.ts"
import type { Json, JsonObject } from "./encoding/Json.ts"
import type { Concurrency, Listing, ListError, Page, PageRequest, Verify, Within } from "./Listing.ts"
import * as Partition from "./Partition.ts"
import type * as Pipeline from "./Pipeline.ts"
import * as Query from "./Query.ts"
import type { Attribute } from "./schema/Attributes.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a query asks for. With `partition` it goes by the markers of that partition; otherwise by the shortest way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request<A> extends Within, Concurrency {
  /** Conditions on the fields. Default: none. */
  readonly where?: Query.Where<A> | undefined
  /** Conditions as data, such as `Query.fromJson` makes of untrusted JSON; together with `where`, both. */
  readonly predicate?: Query.Predicate | undefined
  /** `"-age,name"`, or typed. An order that no partition has needs a `limit` of at most 10,000. */
  readonly order?: Query.OrderBy<A> | string | undefined
  /** How many documents at most. Default: all. */
  readonly limit?: number | undefined
  /** Allows a query that reads every document. Default: what the definition says, `false`. */
  readonly scan?: boolean | undefined
}

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
 * What a query is going to do.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  /** `ids`: documents by their ids. `unique`: by a unique key. `partition`: by its markers. `scan`: every document. */
  readonly access: "ids" | "unique" | "partition" | "scan"
  /** The unique key or partition. */
  readonly index: string | undefined
  /** What is asked of it, in words. */
  readonly using: string
  /** What is checked on each document, in words; empty when nothing is. */
  readonly filter: string
  /** `index`: documents come in this order by themselves. `memory`: the best of all that are read are kept. */
  readonly order: "none" | "index" | "memory"
  /**
   * Requests that are known beforehand: of the way to the documents. To those come 1 GET for each document that is read,
   * for partitions and scans, and 1 LIST for each 1,000 after the first.
   */
  readonly requests: number
  readonly isScan: boolean
}

type Access =
  | { readonly _tag: "Ids"; readonly ids: ReadonlyArray<string> }
  | { readonly _tag: "Unique"; readonly name: string; readonly digest: string }
  | { readonly _tag: "Partition"; readonly name: string; readonly within: ReadonlyArray<Within> }
  | { readonly _tag: "Scan" }

/** A request, looked through. */
interface Planned {
  readonly plan: Plan
  readonly access: Access
  readonly matches: (document: JsonObject) => boolean
  readonly order: Query.Order
  readonly compare: (a: JsonObject, b: JsonObject) => number
  readonly canonical: string
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly name: string
  readonly primaryKey: string
  readonly attributes: ReadonlyArray<Attribute>
  /** Whether queries may read every document without saying so. */
  readonly scan: boolean
}

/** What decides which documents are there for a request at all. */
type Filters<A> = ReadonlyArray<Pipeline.Filter<A>>

type FilteredError = ListError | Pipeline.Rejected

/** More than this many are not kept in memory to be put in order. */
const mostInMemory = 10_000

/** More listings than this are not made for one `in`. */
const mostListings = 50

const isDecimal = (codec: string): boolean => /^(?:money|decimal|crypto):/.test(codec)

const isJson = Schema.is(Schema.Json)

// -----------------------------------------------------------------------------
// Planning
// -----------------------------------------------------------------------------

const samePath = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean => a.join(".") === b.join(".")

/** The values of a path that a bound allows, if they are few. */
const valuesOf = (bound: Query.Bound | undefined): ReadonlyArray<Json> | undefined => {
  if (bound?._tag === "Equal") return [bound.value]
  return bound?._tag === "OneOf" && bound.values.length <= mostListings ? bound.values : undefined
}

/** Every way to choose one value of each list. */
const combinations = (lists: ReadonlyArray<ReadonlyArray<Json>>): ReadonlyArray<ReadonlyArray<Json>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<Json>>>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]]
  )

/** Transforms that keep the order of what they transform. */
const keepsOrder = /^(?:date|month|year|hour|bucket:.*)$/

interface Candidate {
  readonly access: Extract<Access, { readonly _tag: "Partition" }>
  /** More is better: fields with one value, then with few, then with bounds. */
  readonly score: number
  readonly isOrderedBy: ReadonlyArray<string> | undefined
}

const candidateOf = (
  partition: Partition.Partition,
  bounds: ReadonlyArray<Query.Bound>,
  kinds: ReadonlyMap<string, string>
): Candidate | undefined => {
  const boundOf = (path: ReadonlyArray<string>) => bounds.find((bound) => samePath(bound.path, path))
  const lists: Array<ReadonlyArray<Json>> = []
  let score = 0
  for (const { path } of partition.definition.fields) {
    const codec = kinds.get(path.join(".")) ?? "string"
    const values = isDecimal(codec) ? undefined : valuesOf(boundOf(path))
    const listings = lists.reduce((product, list) => product * list.length, values?.length ?? 1)
    if (values === undefined || listings > mostListings) break
    lists.push(values)
    score += values.length === 1 ? 10 : 6
  }
  const next = partition.definition.fields[lists.length]
  const bound = next === undefined ? undefined : boundOf(next.path)
  const codec = next === undefined ? "" : (kinds.get(next.path.join(".")) ?? "date")
  const isPlain = next !== undefined && next.transforms.every((transform) => keepsOrder.test(transform))
  const isSorted = isPlain && (codec === "number" || codec === "date" || codec === "dateonly")
  let edges: Partial<Within> = {}
  if (bound?._tag === "Range" && isSorted) {
    edges = { from: bound.from?.value, to: bound.to?.value }
    score += bound.from !== undefined && bound.to !== undefined ? 4 : 2
  } else if (bound?._tag === "Prefix" && next?.transforms.length === 0) {
    edges = { startsWith: bound.prefix }
    score += 3
  }
  if (score === 0 && lists.length === 0) return undefined
  const within = combinations(lists).map((values): Within => ({
    partition: partition.name,
    values: Object.fromEntries(values.map((value, i) => [partition.fields[i]!, value])),
    ...edges
  }))
  const isExact = isSorted && next !== undefined && next.transforms.length === 0 && within.length === 1
  return {
    access: { _tag: "Partition", name: partition.name, within },
    score: score + (partition.definition.fields.length === lists.length ? 1 : 0),
    isOrderedBy: isExact ? next.path : undefined
  }
}

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * @category models
 * @since 0.1.0
 */
export type Finding<A> = ReturnType<typeof make<A>>

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(settings: Settings, isOrdered: boolean, documents: DocumentStore<A>, listing: Listing<A>) => {
  const { name, primaryKey, attributes } = settings
  const { invalid } = documents
  const kinds = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute.codec]))
  const options: Query.Options = {
    orderOf: (path) => (isDecimal(kinds.get(path.join(".")) ?? "") ? "decimal" : undefined)
  }
  const notation: Query.ParseOptions = {
    systemFields: [...Partition.systemFields],
    toJson: (_, value) => Partition.toJson(value) ?? (isJson(value) ? value : undefined)
  }

  const secretPaths = attributes
    .filter(({ codec }) => codec === "secret" || codec === "password")
    .map(({ path }) => path)

  /** A document as conditions see it: without secrets, so that nobody can ask for them bit by bit. */
  const jsonOf = (base: Base<A>): JsonObject => ({
    [primaryKey]: base.id,
    ...secretPaths.reduce(without, base.json),
    $createdAt: new Date(base.stored.createdAt).toISOString(),
    $updatedAt: new Date(base.stored.writtenAt).toISOString(),
    $schemaVersion: base.stored.schemaVersion
  })

  /** Why a path cannot be asked for, if it cannot. */
  const problemOf = (path: ReadonlyArray<string>): string | undefined => {
    if (path.length === 1 && (path[0] === primaryKey || Partition.systemFields.some((field) => field === path[0]))) {
      return undefined
    }
    for (const attribute of attributes) {
      const shared = Math.min(path.length, attribute.path.length)
      if (!samePath(path.slice(0, shared), attribute.path.slice(0, shared))) continue
      const isHidden = attribute.codec === "secret" || attribute.codec === "password"
      // Its fields are attributes of their own.
      if (attribute.codec === "struct" && path.length > attribute.path.length) continue
      if (!isHidden) return undefined
      if (path.length >= attribute.path.length) return "Expected a field that is not secret"
    }
    const names = [primaryKey, ...kinds.keys()].join(", ")
    return `Expected a field of ${name}: ${names}`
  }

  const checkPaths = (paths: ReadonlyArray<ReadonlyArray<string>>) => {
    for (const path of paths) {
      const problem = problemOf(path)
      if (problem !== undefined) return Effect.fail(invalid(path, problem))
    }
    return Effect.void
  }

  const orFail = <X>(result: Result.Result<X, Query.Problem>) =>
    Result.isSuccess(result)
      ? Effect.succeed(result.success)
      : Effect.fail(invalid(result.failure.path, result.failure.message))

  const accessOf = (
    request: Request<A>,
    bounds: ReadonlyArray<Query.Bound>,
    order: Query.Order,
    { partitions, uniques }: Indexes
  ) => {
    if (request.partition !== undefined) {
      const { partition, values, from, to, startsWith } = request
      const within: ReadonlyArray<Within> = [{ partition, values, from, to, startsWith }]
      return { access: { _tag: "Partition", name: partition, within } as const, isOrderedBy: undefined }
    }
    const boundOf = (path: ReadonlyArray<string>) => bounds.find((bound) => samePath(bound.path, path))
    const ids = valuesOf(boundOf([primaryKey]))
    if (ids !== undefined) {
      const texts = [...new Set(ids)].filter((id) => typeof id === "string")
      return { access: { _tag: "Ids", ids: texts } as const, isOrderedBy: undefined }
    }
    for (const unique of uniques.values()) {
      if (!unique.isReady) continue
      const values = unique.definition.fields.map((path) => boundOf(path))
      const isSettled = values.every(
        (bound) => bound?._tag === "Equal" && !isDecimal(kinds.get(bound.path.join(".")) ?? "")
      )
      const digest = isSettled
        ? unique.digest((path) => {
            const bound = boundOf(path)
            return bound?._tag === "Equal" ? bound.value : undefined
          })
        : undefined
      if (digest !== undefined) {
        return { access: { _tag: "Unique", name: unique.name, digest } as const, isOrderedBy: undefined }
      }
    }
    let best: Candidate | undefined
    for (const partition of partitions.values()) {
      const candidate = partition.isReady ? candidateOf(partition, bounds, kinds) : undefined
      if (candidate === undefined) continue
      const [first] = order
      const fits = (one: Candidate) =>
        first !== undefined && one.isOrderedBy !== undefined && samePath(one.isOrderedBy, first.path)
      const isBetter =
        best === undefined ||
        candidate.score > best.score ||
        (candidate.score === best.score && fits(candidate) && !fits(best))
      if (isBetter) best = candidate
    }
    if (best !== undefined) return { access: best.access, isOrderedBy: best.isOrderedBy }
    // The whole of a partition is as good as the whole resource only where every document is in it, which nobody knows.
    return { access: { _tag: "Scan" } as const, isOrderedBy: undefined }
  }

  const plan = Effect.fnUntraced(function* (request: Request<A>): Effect.fn.Return<Planned, ListError> {
    const where = yield* orFail(
      request.where === undefined ? Result.succeed(Query.everything) : Query.fromWhere(request.where, notation)
    )
    const { predicate: given = Query.everything } = request
    const predicate =
      request.predicate === undefined ? where : request.where === undefined ? given : Query.and(where, given)
    const order: Query.Order =
      request.order === undefined
        ? []
        : typeof request.order === "string"
          ? yield* orFail(Query.orderFromText(request.order))
          : yield* orFail(Query.orderFrom(request.order))
    yield* checkPaths([...Query.paths(predicate), ...order.map((one) => one.path)])
    const { limit } = request
    if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) {
      return yield* invalid(["limit"], "Expected an integer from 1")
    }
    const indexes = yield* documents.indexes
    const bounds = Query.bounds(predicate, options).filter(
      // An element of an array may meet each condition by itself.
      (bound) => !(kinds.get(bound.path.join(".")) ?? "string").startsWith("array:")
    )
    const { access, isOrderedBy } = accessOf(request, bounds, order, indexes)
    const [first] = order
    const inIndex =
      isOrdered &&
      order.length === 1 &&
      first?.direction === "asc" &&
      isOrderedBy !== undefined &&
      samePath(isOrderedBy, first.path)
    const ordered = order.length === 0 ? "none" : inIndex ? "index" : "memory"
    if (ordered === "memory" && access._tag !== "Ids" && (limit === undefined || limit > mostInMemory)) {
      const message = `Expected at most ${mostInMemory} with an order that no partition has`
      return yield* invalid(["limit"], message)
    }
    const using =
      access._tag === "Ids"
        ? `${access.ids.length} ids`
        : access._tag === "Unique"
          ? `unique key ${access.name}`
          : access._tag === "Partition"
            ? `partition ${access.name}, ${access.within.length === 1 ? "1 listing" : `${access.within.length} listings`} by ${Object.keys(access.within[0]?.values ?? {}).join(", ") || "bounds"}`
            : "every document"
    const isScan = access._tag === "Scan"
    return {
      access,
      order,
      matches: Query.matches(predicate, options),
      compare: Query.compare(order, { id: (document) => String(document[primaryKey]), ...options }),
      canonical: [Query.canonical(predicate), Query.orderToText(order), request.partition ?? ""].join(" "),
      plan: {
        access: isScan ? "scan" : access._tag === "Ids" ? "ids" : access._tag === "Unique" ? "unique" : "partition",
        index: access._tag === "Unique" || access._tag === "Partition" ? access.name : undefined,
        using,
        filter: isEverything(predicate) ? "" : Query.describe(predicate),
        order: ordered,
        requests:
          access._tag === "Ids"
            ? access.ids.length
            : access._tag === "Unique"
              ? 2
              : access._tag === "Partition"
                ? access.within.length
                : 1,
        isScan
      }
    }
  })

  const isEverything = (predicate: Query.Predicate): boolean => predicate._tag === "And" && predicate.all.length === 0

  /** A query that reads everything says so. A limit alone is no reason to refuse it. */
  const allowed = (request: Request<A>, planned: Planned) => {
    const isFiltered = planned.plan.filter !== "" || planned.plan.order === "memory"
    if (!planned.plan.isScan || !isFiltered || (request.scan ?? settings.scan)) return Effect.succeed(planned)
    const description = `no partition or unique key fits (${planned.plan.filter || Query.orderToText(planned.order)}): declare one, or say scan: true`
    return Effect.fail(new DbError.NotAllowed({ resource: name, operation: "Resource.query", description }))
  }

  const byId = (operation: string, ids: ReadonlyArray<string>, concurrency: number) =>
    Stream.fromArray(ids).pipe(
      Stream.mapEffect((id) => documents.loadIfPresent(operation, id), { concurrency }),
      Stream.flatMap((base) => Stream.fromArray(Option.toArray(base)))
    )

  /** Everything that the way leads to, not yet looked at. */
  const reached = (operation: string, { access }: Planned, request: Concurrency): Stream.Stream<Base<A>, ListError> => {
    const concurrency = request.concurrency ?? 16
    switch (access._tag) {
      case "Ids":
        return byId(operation, access.ids, concurrency)
      case "Unique":
        return Stream.fromEffect(documents.findUnique(operation, access.name, access.digest)).pipe(
          Stream.flatMap((base) => Stream.fromArray(Option.toArray(base)))
        )
      case "Partition":
        return Stream.fromArray(access.within).pipe(
          Stream.flatMap((within) => listing.bases(operation, { ...within, concurrency }))
        )
      case "Scan":
        return listing.bases(operation, { concurrency })
    }
  }

  /** Who may not see a document must not learn of it by a condition either: filters come first. */
  const found = (
    operation: string,
    planned: Planned,
    request: Concurrency,
    filters: Filters<A>
  ): Stream.Stream<Found<A>, FilteredError> =>
    seen(reached(operation, planned, request), filters).pipe(
      Stream.map((base) => ({ base, json: jsonOf(base) })),
      Stream.filter(({ json }) => planned.matches(json))
    )

  const run = (
    operation: string,
    request: Request<A>,
    filters: Filters<A> = []
  ): Stream.Stream<Found<A>, FilteredError | DbError.NotAllowed> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const planned = yield* allowed(request, yield* plan(request))
        const all = found(operation, planned, request, filters)
        if (planned.plan.order !== "memory") return request.limit === undefined ? all : Stream.take(all, request.limit)
        const best = yield* keepBest(all, request.limit ?? mostInMemory, planned)
        return Stream.fromArray(best)
      })
    )

  const keepBest = Effect.fnUntraced(function* <E>(all: Stream.Stream<Found<A>, E>, limit: number, planned: Planned) {
    const top = Query.topK<Found<A>>(limit, (a, b) => planned.compare(a.json, b.json))
    yield* Stream.runForEach(all, (one) => Effect.sync(() => top.add(one)))
    return top.result()
  })

  /** `hides`: whether there are documents that who asks may not learn of, by filters or by conditions. */
  const page = Effect.fnUntraced(function* (
    operation: string,
    request: Request<A> & PageRequest,
    filters: Filters<A> = [],
    hides = filters.length > 0
  ): Effect.fn.Return<Page<Base<A>>, FilteredError | DbError.NotAllowed> {
    const { limit = 100, cursor: _, ...whole } = request
    const isWhole = isPlain({ ...whole, limit: undefined })
    if (isWhole && filters.length === 0) {
      const { bases, cursor } = yield* listing.page(operation, request)
      return { items: bases, cursor }
    }
    const planned = yield* allowed(request, yield* plan({ ...request, limit }))
    const {
      access,
      canonical,
      compare,
      matches,
      plan: { order }
    } = planned
    const edges = [request.values, request.from, request.to, request.startsWith].map(
      (edge) => JSON.stringify(edge) ?? ""
    )
    const query = JSON.stringify([name, canonical, ...edges])
    if (order !== "memory" && (access._tag === "Scan" || (access._tag === "Partition" && access.within.length === 1))) {
      const within = access._tag === "Partition" ? access.within[0]! : {}
      return yield* listing.filteredPage(operation, { ...request, ...within, limit }, isWhole ? "" : canonical, {
        keep: (base) => Effect.map(passes(filters, base), (isSeen) => isSeen && matches(jsonOf(base))),
        hides
      })
    }
    // What is put in order in memory goes on after the last document of the page before.
    const position = yield* listing.readCursor(query, request.cursor)
    const last = position === undefined ? undefined : (JSON.parse(position) as JsonObject)
    const after = (one: Found<A>) => last === undefined || compare(one.json, last) > 0
    const all = found(operation, planned, request, filters)
    const best = yield* keepBest(Stream.filter(all, after), limit + 1, planned)
    const items = best.slice(0, limit)
    const end = items.at(-1)
    const hasMore = best.length > limit && end !== undefined
    const keys = [[primaryKey], ...planned.order.map((one) => one.path)].map((path) => path.join("."))
    const cursor = hasMore ? yield* listing.makeCursor(query, JSON.stringify(Query.project(keys)(end.json))) : undefined
    return { items: items.map(({ base }) => base), cursor }
  })

  const aggregate = Effect.fnUntraced(function* <E, R>(
    aggregation: Aggregation.Notation<A>,
    all: Stream.Stream<JsonObject, E, R>,
    more: Pick<Aggregation.Options, "maxGroups">
  ) {
    const spec = yield* orFail(Aggregation.make<A>(aggregation))
    yield* checkPaths(Aggregation.paths(spec))
    return yield* Aggregation.run(all, spec, { ...options, ...more })
  })

  /** A document without its system fields. */
  const shown = (json: JsonObject): JsonObject => {
    const { $createdAt: _, $updatedAt: __, $schemaVersion: ___, ...rest } = json
    return rest
  }

  /** Whether it asks for no more than a listing by itself gives. */
  const isPlain = ({ where, predicate, order, limit }: Request<A>): boolean =>
    where === undefined && predicate === undefined && order === undefined && limit === undefined

  return {
    shown,
    bases: (
      operation: string,
      request: Request<A>,
      filters: Filters<A> = []
    ): Stream.Stream<Base<A>, FilteredError | DbError.NotAllowed> =>
      isPlain(request)
        ? seen(listing.bases(operation, request), filters)
        : Stream.map(run(operation, request, filters), ({ base }) => base),
    ids: (
      operation: string,
      request: Request<A>,
      filters: Filters<A> = []
    ): Stream.Stream<string, FilteredError | DbError.NotAllowed> =>
      isPlain(request) && filters.length === 0
        ? listing.ids(operation, request)
        : Stream.map(run(operation, request, filters), ({ base }) => base.id),
    count: (
      operation: string,
      request: Request<A> & Verify,
      filters: Filters<A> = []
    ): Effect.Effect<number, FilteredError | DbError.NotAllowed> =>
      isPlain(request) && filters.length === 0
        ? listing.count(operation, request)
        : Stream.runCount(run(operation, { ...request, order: undefined }, filters)),
    /** Whether a document meets the conditions of a request. */
    meets: (request: Request<A>) =>
      Effect.map(
        plan(request),
        ({ matches }) =>
          (base: Base<A>) =>
            matches(jsonOf(base))
      ),
    explain: (request: Request<A>) => Effect.map(plan(request), (planned) => planned.plan),
    run,
    page,
    aggregate,
    jsonOf,
    checkPaths
  }
}

const passes = Effect.fnUntraced(function* <A>(filters: Filters<A>, base: Base<A>) {
  for (const filter of filters) if ((yield* filter(base.value)) !== true) return false
  return true
})

/** The documents that every filter lets through. */
const seen = <A, E>(all: Stream.Stream<Base<A>, E>, filters: Filters<A>) =>
  filters.length === 0
    ? all
    : Stream.filterEffect(all, (base): Effect.Effect<boolean, E | FilteredError> => passes(filters, base))

const without = (json: JsonObject, [name, ...rest]: ReadonlyArray<string>): JsonObject => {
  if (name === undefined || !Object.hasOwn(json, name)) return json
  const { [name]: inner, ...others } = json
  if (rest.length === 0) return others
  return typeof inner === "object" && inner !== null && !Array.isArray(inner)
    ? { ...others, [name]: without(inner as JsonObject, rest) }
    : json
}
