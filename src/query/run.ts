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
import * as Aggregation from "../Aggregation.ts"
import * as DbError from "../DbError.ts"
import type { Base, DocumentStore, Indexes } from "../document/documents.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { compareUtf8 } from "../internal/text.ts"
import type { ListError } from "../Repository.ts"
import type { Listing, Planned as PlannedWithin } from "./listing.ts"
import * as Partition from "../Partition.ts"
import type * as Pipeline from "../Pipeline.ts"
import * as Query from "../Query.ts"
import type { Attribute } from "../schema/Attributes.ts"
import * as Bounds from "./bounds.ts"
import type * as Operands from "./operandCodecs.ts"
import * as Parse from "./parse.ts"
import * as TopK from "./topK.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

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

type Access =
  | { readonly _tag: "Ids"; readonly ids: ReadonlyArray<string> }
  | { readonly _tag: "Unique"; readonly name: string; readonly digest: string }
  | { readonly _tag: "Partition"; readonly name: string; readonly within: ReadonlyArray<PlannedWithin> }
  | { readonly _tag: "Scan" }

/** A request, looked through. */
interface Planned {
  readonly plan: Query.Plan
  readonly access: Access
  readonly matches: (document: JsonObject) => boolean
  readonly order: Query.Order
  readonly compare: (a: JsonObject, b: JsonObject) => number
  readonly canonical: string
  /** Why partitions that have to do with the conditions are not used. */
  readonly unfit: ReadonlyArray<string>
}

/**
 * What the system fields hold, as conditions see them.
 *
 * @category constants
 * @since 0.1.0
 */
export const systemSchemas = {
  $createdAt: Schema.DateTimeUtcFromString,
  $updatedAt: Schema.DateTimeUtcFromString,
  $schemaVersion: Schema.Int
} as const satisfies Record<(typeof Partition.systemFields)[number], Schema.Top>

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

// -----------------------------------------------------------------------------
// Planning
// -----------------------------------------------------------------------------

const samePath = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean => a.join(".") === b.join(".")

/** The values of a path that a bound allows. */
const valuesOf = (bound: Bounds.Bound | undefined): ReadonlyArray<Json> | undefined =>
  bound?._tag === "Equal" ? [bound.value] : bound?._tag === "OneOf" ? bound.values : undefined

/** Every way to choose one value of each list. */
const combinations = (lists: ReadonlyArray<ReadonlyArray<Json>>): ReadonlyArray<ReadonlyArray<Json>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<Json>>>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]]
  )

const requestsOf = (access: Access): Query.Requests => {
  switch (access._tag) {
    case "Ids":
      return { fixed: access.ids.length, perThousand: 0, perDocument: 0 }
    case "Unique":
      return { fixed: 2, perThousand: 0, perDocument: 0 }
    case "Partition":
      return { fixed: access.within.length, perThousand: 1, perDocument: 1 }
    case "Scan":
      return { fixed: 1, perThousand: 1, perDocument: 1 }
  }
}

/** Transforms that keep the order of what they transform. */
const keepsOrder = /^(?:date|month|year|hour|bucket:.*)$/

interface Candidate {
  readonly access: Extract<Access, { readonly _tag: "Partition" }>
  /** More is better: fields with one value, then with few, then with bounds. */
  readonly score: number
  readonly isOrderedBy: ReadonlyArray<string> | undefined
  /** The bounds within which every document lies that it leads to. */
  readonly settled: ReadonlyArray<Bounds.Bound>
}

/** What is known of the fields of a resource. */
interface Fields {
  /** Whether equal values are stored in one way only, so that they can be looked up. */
  readonly isExact: (path: ReadonlyArray<string>) => boolean
  readonly codecOf: (path: ReadonlyArray<string>) => string | undefined
  /** Whether every document has a value there, and so a place in a partition by it. */
  readonly isAlwaysThere: (path: ReadonlyArray<string>) => boolean
}

const isSortedField = (field: Partition.Definition["fields"][number], { codecOf }: Fields): boolean => {
  const codec = codecOf(field.path) ?? "date"
  const keeps = field.transforms.every((transform) => keepsOrder.test(transform))
  return keeps && (codec === "number" || codec === "date" || codec === "dateonly")
}

/** The path by which the markers lie that have values for so many fields of a partition. */
const orderAfter = (partition: Partition.Partition, count: number, fields: Fields) => {
  const next = partition.definition.fields[count]
  return next !== undefined && next.transforms.length === 0 && isSortedField(next, fields) ? next.path : undefined
}

/**
 * How a partition leads to every document that meets the bounds: not at all when it lacks some of them, because they
 * have no value for one of its fields.
 */
const candidateOf = (
  partition: Partition.Partition,
  bounds: ReadonlyArray<Bounds.Bound>,
  fields: Fields
): Candidate | undefined => {
  // What may be null, or missing, is in no partition.
  const boundOf = (path: ReadonlyArray<string>) =>
    bounds.find((bound) => samePath(bound.path, path) && valuesOf(bound)?.includes(null) !== true)
  const all = partition.definition.fields
  if (!all.every(({ path }) => fields.isAlwaysThere(path) || boundOf(path) !== undefined)) return undefined
  const lists: Array<ReadonlyArray<Json>> = []
  let score = 0
  for (const { path } of all) {
    const values = fields.isExact(path) ? valuesOf(boundOf(path)) : undefined
    const listings = lists.reduce((product, list) => product * list.length, values?.length ?? 1)
    if (values === undefined || listings > mostListings) break
    lists.push(values)
    score += values.length <= 1 ? 10 : 6
  }
  const next = all[lists.length]
  const bound = next === undefined ? undefined : boundOf(next.path)
  const settled = all
    .slice(0, lists.length)
    .flatMap(({ path, transforms }) => (transforms.length === 0 ? [boundOf(path)!] : []))
  let edges: Partial<Query.Within> = {}
  if (next !== undefined && bound?._tag === "Range" && isSortedField(next, fields)) {
    edges = { from: bound.from?.value, to: bound.to?.value }
    score += bound.from !== undefined && bound.to !== undefined ? 4 : 2
    if (next.transforms.length === 0) {
      // A listing has both its ends.
      const { from, to } = bound
      const ends = {
        ...(from && { from: { ...from, inclusive: true } }),
        ...(to && { to: { ...to, inclusive: true } })
      }
      settled.push({ _tag: "Range", path: bound.path, ...ends })
    }
  } else if (bound?._tag === "Prefix" && next?.transforms.length === 0) {
    edges = { startsWith: bound.prefix }
    score += 3
    settled.push(bound)
  }
  // Different values can be one after a transform. Of a value that is no part of a key there is no document.
  const within = new Map<string, PlannedWithin>()
  for (const values of combinations(lists)) {
    const named = Object.fromEntries(values.map((value, i) => [partition.fields[i]!, value]))
    const selected = partition.select(named, edges)
    // A text that is no date lies somewhere among the dates all the same, half a character at the beginning of a whole one.
    if (Result.isFailure(selected) && Result.isSuccess(partition.select(named)))
      return candidateOf(
        partition,
        bounds.filter((one) => one !== bound),
        fields
      )
    if (Result.isSuccess(selected)) {
      within.set(JSON.stringify(selected.success), {
        partition: partition.name,
        values: named,
        ...edges,
        isStored: true
      })
    }
  }
  return {
    access: { _tag: "Partition", name: partition.name, within: [...within.values()] },
    score: score + (all.length === lists.length ? 1 : 0),
    isOrderedBy: within.size === 1 ? orderAfter(partition, lists.length, fields) : undefined,
    settled
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
export const make = <A>(
  settings: Settings,
  isOrdered: boolean,
  documents: DocumentStore<A>,
  listing: Listing<A>,
  operands: Operands.Operands
) => {
  const { name, primaryKey, attributes } = settings
  const { invalid } = documents
  const kinds = new Map(attributes.map((attribute) => [attribute.path.join("."), attribute.codec]))
  const fields: Fields = {
    isExact: (path) => !isDecimal(kinds.get(path.join(".")) ?? "") && operands.kindOf(path) !== "moment",
    codecOf: (path) => kinds.get(path.join(".")),
    isAlwaysThere: (path) =>
      isSystem(path) ||
      path.every((_, i) => {
        const at = path.slice(0, i + 1)
        const found = attributes.find((attribute) => samePath(attribute.path, at))
        return found !== undefined && !found.optional && !found.nullable && !found.codec.startsWith("option:")
      })
  }
  const options: Query.Options = {
    orderOf: (path) => (isDecimal(kinds.get(path.join(".")) ?? "") ? "decimal" : operands.kindOf(path))
  }
  const systemFields = [...Partition.systemFields]

  const isSystem = (path: ReadonlyArray<string>): boolean =>
    path.length === 1 && (path[0] === primaryKey || Partition.systemFields.some((field) => field === path[0]))

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
    if (isSystem(path)) return undefined
    for (const attribute of attributes) {
      const shared = Math.min(path.length, attribute.path.length)
      if (!samePath(path.slice(0, shared), attribute.path.slice(0, shared))) continue
      const isHidden = attribute.codec === "secret" || attribute.codec === "password"
      // Its fields are attributes of their own.
      if (attribute.codec === "struct" && path.length > attribute.path.length) continue
      if (!isHidden && operands.has(path)) return undefined
      if (isHidden && path.length >= attribute.path.length) return "Expected a field that is not secret"
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
    request: Query.Request<A>,
    bounds: ReadonlyArray<Bounds.Bound>,
    order: Query.Order,
    { partitions, uniques }: Indexes
  ): {
    readonly access: Access
    readonly isOrderedBy?: Candidate["isOrderedBy"]
    readonly settled?: Candidate["settled"]
  } => {
    if (request.partition !== undefined) {
      const { partition, values = {}, from, to, startsWith } = request
      const found = partitions.get(partition)
      const given = Object.values(values).filter((value) => value !== undefined)
      return {
        access: { _tag: "Partition", name: partition, within: [{ partition, values, from, to, startsWith }] },
        isOrderedBy: found === undefined ? undefined : orderAfter(found, given.length, fields)
      }
    }
    const boundOf = (path: ReadonlyArray<string>) => bounds.find((bound) => samePath(bound.path, path))
    const ids = valuesOf(boundOf([primaryKey]))
    if (ids !== undefined) {
      const texts = [...new Set(ids)].filter((id) => typeof id === "string")
      return { access: { _tag: "Ids", ids: texts }, settled: bounds.filter(({ path }) => samePath(path, [primaryKey])) }
    }
    for (const unique of uniques.values()) {
      if (!unique.isReady) continue
      const values = unique.definition.fields.map((path) => boundOf(path))
      const isSettled = values.every((bound) => bound?._tag === "Equal" && fields.isExact(bound.path))
      const digest = isSettled
        ? unique.digest((path) => {
            const bound = boundOf(path)
            return bound?._tag === "Equal" ? bound.value : undefined
          })
        : undefined
      if (digest !== undefined) {
        const settled = unique.definition.ignoreCase ? [] : values.filter((bound) => bound !== undefined)
        return { access: { _tag: "Unique", name: unique.name, digest }, settled }
      }
    }
    // Put in order in memory, no more can be had than are kept there.
    const needsIndex = !fitsInMemory(request.limit) && (request.scan ?? settings.scan)
    /** What comes in the order that is asked for need not be put in it; but rather some in memory than all of them. */
    const rank = (one: Candidate): number => {
      const inOrder = comesIn(order, one.isOrderedBy)
      if (one.score > 0) return inOrder ? 3 : 1
      return !inOrder ? -1 : needsIndex ? 2 : 0
    }
    let best: Candidate | undefined
    for (const partition of partitions.values()) {
      const candidate = partition.isReady ? candidateOf(partition, bounds, fields) : undefined
      if (candidate === undefined || rank(candidate) < 0) continue
      const gain = best === undefined ? 1 : rank(candidate) - rank(best) || candidate.score - best.score
      if (gain > 0) best = candidate
    }
    return best ?? { access: { _tag: "Scan" } }
  }

  /** Why a partition by the conditions does not lead to the documents, if that is not plain to see. */
  const unfitOf = (partition: Partition.Partition, bounds: ReadonlyArray<Bounds.Bound>): ReadonlyArray<string> => {
    const [first] = partition.definition.fields
    const boundOf = (path: ReadonlyArray<string>) => bounds.find((one) => samePath(one.path, path))
    const bound = first === undefined ? undefined : boundOf(first.path)
    if (bound === undefined) return []
    const isIn = (one: Bounds.Bound | undefined) => one !== undefined && valuesOf(one)?.includes(null) !== true
    const lacking = partition.definition.fields.find(({ path }) => !fields.isAlwaysThere(path) && !isIn(boundOf(path)))
    if (lacking !== undefined) return [`partition ${partition.name} has no documents without ${lacking.path.join(".")}`]
    const count = valuesOf(bound)?.length ?? 0
    return count <= mostListings
      ? []
      : [
          `partition ${partition.name} would take ${count} listings, more than the ${mostListings} that a query may take`
        ]
  }

  const fitsInMemory = (count: number | undefined): boolean => count !== undefined && count <= mostInMemory

  /** Whether documents that lie by this path come in the order by themselves. */
  const comesIn = (order: Query.Order, path: ReadonlyArray<string> | undefined): boolean =>
    isOrdered &&
    path !== undefined &&
    order.length === 1 &&
    order[0]!.direction === "asc" &&
    samePath(path, order[0]!.path)

  /** The conditions of a request, their operands in the form in which the fields are stored. */
  const predicateOf = Effect.fnUntraced(function* ({ where, predicate }: Query.Request<A>) {
    const given = predicate === undefined ? undefined : yield* fitted(predicate)
    if (where === undefined) return given ?? Query.everything
    const typed = yield* orFail(Parse.fromWhere(where, { systemFields, toJson: ofField(operands.fromValue) }))
    yield* checkPaths(Query.paths(typed))
    return given === undefined ? typed : Query.and(typed, given)
  })

  const fitted = Effect.fnUntraced(function* (predicate: Query.Predicate) {
    const found = yield* orFail(Parse.mapOperands(predicate, ofField(operands.fromJson)))
    yield* checkPaths(Query.paths(found))
    return found
  })

  /** Nothing is told of the operands of a field that may not be asked for. */
  const ofField =
    (fit: Operands.Operands["fromValue"]): Operands.Operands["fromValue"] =>
    (path, value, use) => {
      const problem = problemOf(path)
      return problem === undefined ? fit(path, value, use) : Result.fail(problem)
    }

  /** What untrusted JSON asks for: the predicate, ready for a request. */
  const parseWhere = Effect.fnUntraced(function* (input: unknown) {
    const predicate = yield* orFail(Parse.fromJson(input, { systemFields, toJson: ofField(operands.fromJson) }))
    yield* checkPaths(Query.paths(predicate))
    return predicate
  })

  const parseOrder = Effect.fnUntraced(function* (text: string) {
    const order = yield* orFail(Parse.orderFromText(text))
    yield* checkPaths(order.map((one) => one.path))
    return order
  })

  const plan = Effect.fnUntraced(function* (request: Query.Request<A>): Effect.fn.Return<Planned, ListError> {
    const predicate = yield* predicateOf(request)
    const order: Query.Order =
      request.order === undefined
        ? []
        : typeof request.order === "string"
          ? yield* orFail(Parse.orderFromText(request.order))
          : yield* orFail(Parse.orderFrom(request.order))
    yield* checkPaths(order.map((one) => one.path))
    const { limit } = request
    if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) {
      return yield* invalid(["limit"], "Expected an integer from 1")
    }
    const indexes = yield* documents.indexes
    const bounds = Bounds.find(predicate, options).filter(
      // An element of an array may meet each condition by itself.
      (bound) => !(kinds.get(bound.path.join(".")) ?? "string").startsWith("array:")
    )
    const { access, isOrderedBy, settled = [] } = accessOf(request, bounds, order, indexes)
    const rest = Bounds.remainder(predicate, settled, options)
    const ordered = order.length === 0 ? "none" : comesIn(order, isOrderedBy) ? "index" : "memory"
    const isWhole =
      access._tag === "Partition" &&
      request.partition === undefined &&
      access.within.some(({ values = {}, from, to, startsWith }) =>
        [...Object.values(values), from, to, startsWith].every((edge) => edge === undefined)
      )
    const using =
      access._tag === "Ids"
        ? `${access.ids.length} ids`
        : access._tag === "Unique"
          ? `unique key ${access.name}`
          : access._tag === "Partition"
            ? `partition ${access.name}, ${access.within.length === 1 ? "1 listing" : `${access.within.length} listings`} by ${Object.keys(access.within[0]?.values ?? {}).join(", ") || (isWhole ? "nothing" : "bounds")}`
            : "every document"
    const most = access._tag === "Unique" ? 1 : access._tag === "Ids" ? access.ids.length : undefined
    if (ordered === "memory" && !fitsInMemory(limit) && !fitsInMemory(most)) {
      const message = `Expected at most ${mostInMemory}: documents are found by ${using}, and put in this order in memory`
      return yield* invalid(["limit"], message)
    }
    const isScan = access._tag === "Scan" || isWhole
    return {
      access,
      order,
      unfit: isScan ? [...indexes.partitions.values()].flatMap((partition) => unfitOf(partition, bounds)) : [],
      matches: Query.matches(predicate, options),
      compare: Query.compare(order, { id: (document) => String(document[primaryKey]), ...options }),
      canonical: [Query.canonical(predicate), Query.orderToText(order), named(request, indexes)].join(" "),
      plan: {
        access:
          access._tag === "Scan"
            ? "scan"
            : access._tag === "Ids"
              ? "ids"
              : access._tag === "Unique"
                ? "unique"
                : "partition",
        index: access._tag === "Unique" || access._tag === "Partition" ? access.name : undefined,
        using,
        filter: isEverything(rest) ? undefined : Query.describe(rest),
        order: ordered,
        requests: requestsOf(access),
        isScan
      }
    }
  })

  /** The part of a partition that a request names, in one text. */
  const named = (request: Query.Request<A>, { partitions }: Indexes): string => {
    const { partition = "" } = request
    const found = partitions.get(partition)
    const selected = found === undefined ? undefined : Result.getSuccess(listing.select(found, request))
    return JSON.stringify([partition, selected === undefined ? null : Option.getOrNull(selected)])
  }

  const isEverything = (predicate: Query.Predicate): boolean => predicate._tag === "And" && predicate.all.length === 0

  /** A query that reads everything says so. A limit alone is no reason to refuse it. */
  const allowed = (request: Query.Request<A>, planned: Planned) => {
    const isFiltered = planned.plan.filter !== undefined || planned.plan.order === "memory"
    if (!planned.plan.isScan || !isFiltered || (request.scan ?? settings.scan)) return Effect.succeed(planned)
    const asked = planned.plan.filter ?? Query.orderToText(planned.order)
    const why = planned.unfit.map((reason) => `; ${reason}`).join("")
    const description = `no partition or unique key leads to few of the documents (${asked})${why}: declare one, or say scan: true`
    return Effect.fail(new DbError.NotAllowed({ resource: name, operation: "Resource.query", description }))
  }

  const byId = (operation: string, ids: ReadonlyArray<string>, concurrency: number) =>
    Stream.fromArray(ids).pipe(
      Stream.mapEffect((id) => documents.loadIfPresent(operation, id), { concurrency }),
      Stream.flatMap((base) => Stream.fromArray(Option.toArray(base)))
    )

  /** Everything that the way leads to, not yet looked at. */
  const reached = (
    operation: string,
    { access }: Planned,
    request: Query.Concurrency
  ): Stream.Stream<Base<A>, ListError> => {
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
    request: Query.Concurrency,
    filters: Filters<A>
  ): Stream.Stream<Found<A>, FilteredError> =>
    seen(reached(operation, planned, request), filters).pipe(
      Stream.map((base) => ({ base, json: jsonOf(base) })),
      Stream.filter(({ json }) => planned.matches(json))
    )

  const run = (
    operation: string,
    request: Query.Request<A>,
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
    const top = TopK.make<Found<A>>(limit, (a, b) => planned.compare(a.json, b.json))
    yield* Stream.runForEach(all, (one) => Effect.sync(() => top.add(one)))
    return top.result()
  })

  const idsAfter = (ids: ReadonlyArray<string>, last: JsonObject | undefined): ReadonlyArray<string> => {
    const end = last?.[primaryKey]
    return ids.filter((id) => typeof end !== "string" || compareUtf8(id, end) > 0).toSorted(compareUtf8)
  }

  /** `hides`: whether there are documents that who asks may not learn of, by filters or by conditions. */
  const page = Effect.fnUntraced(function* (
    operation: string,
    request: Query.Request<A> & Query.PageRequest,
    filters: Filters<A> = [],
    hides = filters.length > 0
  ): Effect.fn.Return<Query.Page<Base<A>>, FilteredError | DbError.NotAllowed> {
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
    const query = JSON.stringify([name, canonical])
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
    // Of ids it is known before they are read which come next.
    const isByIds = access._tag === "Ids" && order === "none"
    const next = isByIds ? { ...planned, access: { ...access, ids: idsAfter(access.ids, last) } } : planned
    const all = Stream.filter(found(operation, next, request, filters), after)
    const best = yield* keepBest(isByIds ? Stream.take(all, limit + 1) : all, limit + 1, planned)
    const items = best.slice(0, limit)
    const end = items.at(-1)
    const hasMore = best.length > limit && end !== undefined
    const keys = [[primaryKey], ...planned.order.map((one) => one.path)].map((path) => path.join("."))
    const cursor = hasMore ? yield* listing.makeCursor(query, JSON.stringify(Query.project(keys)(end.json))) : undefined
    return { items: items.map(({ base }) => base), cursor }
  })

  const aggregate = Effect.fnUntraced(function* <E, R>(
    aggregation: Aggregation.Notation<Query.Queryable<A>>,
    all: Stream.Stream<JsonObject, E, R>,
    more: Pick<Aggregation.Options, "maxGroups">
  ) {
    const spec = yield* orFail(Aggregation.make(aggregation))
    yield* checkPaths(Aggregation.paths(spec))
    return yield* Aggregation.run(all, spec, { ...options, ...more })
  })

  /** A document without its system fields. */
  const shown = (json: JsonObject): JsonObject => {
    const { $createdAt: _, $updatedAt: __, $schemaVersion: ___, ...rest } = json
    return rest
  }

  /** Whether it asks for no more than a listing by itself gives. */
  const isPlain = ({ where, predicate, order, limit }: Query.Request<A>): boolean =>
    where === undefined && predicate === undefined && order === undefined && limit === undefined

  return {
    shown,
    bases: (
      operation: string,
      request: Query.Request<A>,
      filters: Filters<A> = []
    ): Stream.Stream<Base<A>, FilteredError | DbError.NotAllowed> =>
      isPlain(request)
        ? seen(listing.bases(operation, request), filters)
        : Stream.map(run(operation, request, filters), ({ base }) => base),
    ids: (
      operation: string,
      request: Query.Request<A>,
      filters: Filters<A> = []
    ): Stream.Stream<string, FilteredError | DbError.NotAllowed> =>
      isPlain(request) && filters.length === 0
        ? listing.ids(operation, request)
        : Stream.map(run(operation, request, filters), ({ base }) => base.id),
    count: (
      operation: string,
      request: Query.Request<A> & Query.Verify,
      filters: Filters<A> = []
    ): Effect.Effect<number, FilteredError | DbError.NotAllowed> =>
      isPlain(request) && filters.length === 0
        ? listing.count(operation, request)
        : Stream.runCount(run(operation, { ...request, order: undefined }, filters)),
    /** Whether a document meets the conditions of a request. */
    meets: (request: Query.Request<A>) =>
      Effect.map(
        plan(request),
        ({ matches }) =>
          (base: Base<A>) =>
            matches(jsonOf(base))
      ),
    parseWhere,
    parseOrder,
    explain: (request: Query.Request<A>) => Effect.map(plan(request), (planned) => planned.plan),
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
