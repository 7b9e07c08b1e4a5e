/**
 * Plans of queries: which way to the documents is the shortest, what remains to be looked at, in which order they come.
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
import * as DbError from "../DbError.ts"
import type { Definition } from "../Definition.ts"
import type { Documents } from "../document/documents.ts"
import type { Compiled, Readiness } from "../document/indexes.ts"
import type { JsonObject } from "../encoding/Json.ts"
import * as Query from "../Query.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as access from "./access.ts"
import { type Bound, find as boundsOf, remainder } from "./bounds.ts"
import type { Fields } from "./fields.ts"
import { type Keys, mostInMemory } from "./keys.ts"

/**
 * A request, looked through.
 *
 * @category models
 * @since 0.1.0
 */
export interface Planned {
  readonly plan: Query.Plan
  readonly access: access.Access
  readonly matches: (document: JsonObject) => boolean
  readonly order: Query.Order
  readonly compare: (a: JsonObject, b: JsonObject) => number
  /** What the result depends on, as text. */
  readonly canonical: string
  /** What an index lacks that would lead to the documents, if it were complete. */
  readonly lacks: ReadonlyArray<string>
  /** Why partitions that have to do with the conditions are not used. */
  readonly unfit: ReadonlyArray<string>
  /** The fields that the way to the documents does not settle, or that make the order. */
  readonly asked: ReadonlyArray<string>
  /** What else to ask for, where a field is called like a time that the database keeps, and a partition is by that. */
  readonly elsewhere: ReadonlyArray<string>
  /** Within which a document is that meets the conditions. */
  readonly bounds: ReadonlyArray<Bound>
  /** The fields that the conditions are about. */
  readonly paths: ReadonlyArray<ReadonlyArray<string>>
}

/**
 * The planner of the queries of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Planner<A> {
  /** Looks a request through. No request. `InvalidInput`: conditions, an order or a limit that cannot be. */
  readonly plan: (request: Query.Request<A>) => Effect.Effect<Planned, DbError.InvalidInput>
  /**
   * The same, to be run: what is known of indexes has to be fresh. `NotAllowed` when it would read every document and does
   * not say so.
   */
  readonly allowed: (
    request: Query.Request<A>
  ) => Effect.Effect<Planned, DbError.InvalidInput | DbError.NotAllowed | DbError.Failure>
}

/**
 * Makes the planner of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  { primaryKey, scan }: Definition<S>,
  { context, indexes }: Documents<S["Type"]>,
  {
    fields,
    keys,
    refuse
  }: {
    readonly fields: Fields<S["Type"]>
    readonly keys: Keys
    /** `NotAllowed`, in the name of the operation that the query is a part of. */
    readonly refuse: (description: string) => Effect.Effect<never, DbError.NotAllowed>
  }
): Planner<S["Type"]> => {
  type A = S["Type"]
  const { invalid } = context
  const isOrdered = context.capabilities.orderedList

  const fitsInMemory = (count: number | undefined): boolean => count !== undefined && count <= mostInMemory

  /** The part of a partition that a request names, in one text. */
  const namedPart = (request: Query.Request<A>, { partitions }: Compiled): string => {
    const { partition = "" } = request
    const found = partitions.get(partition)
    const selected = found === undefined ? undefined : Result.getSuccess(keys.select(found, request))
    return JSON.stringify([partition, selected === undefined ? null : Option.getOrNull(selected)])
  }

  const chosen = (
    request: Query.Request<A>,
    bounds: ReadonlyArray<Bound>,
    order: Query.Order,
    compiled: Compiled
  ): access.Chosen => {
    if (request.partition !== undefined) return access.named(request, compiled, fields)
    const needsIndex = !fitsInMemory(request.limit) && (request.scan ?? scan)
    return access.choose({ bounds, needsIndex, order }, compiled, fields, { isOrdered, primaryKey })
  }

  /** What keeps an index that would lead to the documents from doing so, if it is not complete. */
  const lacksOf = (wanted: access.Wanted, compiled: Compiled): ReadonlyArray<string> => {
    const { partitions, uniques } = compiled
    const complete = <X extends Readiness>(all: ReadonlyMap<string, X>) =>
      new Map(
        [...all].filter(([, { lack }]) => lack !== undefined).map(([label, one]) => [label, { ...one, isReady: true }])
      )
    const unready: Compiled = { ...compiled, partitions: complete(partitions), uniques: complete(uniques) }
    const { access: way } = access.choose(wanted, unready, fields, { isOrdered, primaryKey })
    const found =
      way._tag === "Partition" ? partitions.get(way.name) : way._tag === "Unique" ? uniques.get(way.label) : undefined
    return found?.lack === undefined ? [] : [found.lack]
  }

  const plan = Effect.fnUntraced(function* (
    request: Query.Request<A>
  ): Effect.fn.Return<Planned, DbError.InvalidInput> {
    const predicate = yield* fields.predicateOf(request)
    const order = yield* fields.orderOf(request)
    const { limit } = request
    if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) {
      return yield* invalid(["limit"], "Expected an integer from 1")
    }
    const compiled = yield* indexes.all
    const bounds = boundsOf(predicate, fields.options).filter(
      // An element of an array may meet each condition by itself.
      (bound) => !(fields.codecOf(bound.path) ?? "string").startsWith("array:")
    )
    const way = chosen(request, bounds, order, compiled)
    const using = describe(way.access, isWhole(request, way.access))
    const inOrder = access.comesIn(order, way.isOrderedBy, isOrdered)
    const ordered = order.length === 0 ? "none" : inOrder ? "index" : "memory"
    if (ordered === "memory" && !fitsInMemory(limit) && !fitsInMemory(mostOf(way.access))) {
      const isDescending = order.some(({ direction }) => direction === "desc")
      const kept = isDescending ? "keys are in ascending order only" : "no partition is in this order"
      const message = `Expected a limit of at most ${mostInMemory}: documents are found by ${using}, and put in order in memory, as ${kept}`
      return yield* invalid(["limit"], message)
    }
    const isAll = way.access._tag === "Scan" && way.access.ids === undefined
    const isScan = isAll || isWhole(request, way.access)
    const rest = remainder(predicate, way.settled, fields.options)
    return {
      access: way.access,
      order,
      bounds,
      paths: Query.paths(predicate),
      unfit: isScan
        ? [...compiled.partitions.values()].flatMap((partition) => access.unfitOf(partition, bounds, fields))
        : [],
      lacks: isScan ? lacksOf({ bounds, needsIndex: false, order }, compiled) : [],
      asked: [...new Set([...Query.paths(rest), ...order.map(({ path }) => path)].map((path) => path.join(".")))],
      elsewhere: isScan ? elsewhere(compiled, bounds) : [],
      matches: Query.matches(predicate, fields.options),
      compare: Query.compare(order, { id: (document) => String(document[primaryKey]), ...fields.options }),
      canonical: [Query.canonical(predicate), Query.orderToText(order), namedPart(request, compiled)].join(" "),
      plan: {
        access: tags[way.access._tag],
        index: "name" in way.access ? way.access.name : undefined,
        using,
        filter: isEverything(rest) ? undefined : Query.describe(rest),
        order: ordered,
        requests: access.requestsOf(way.access),
        isScan
      }
    }
  })

  return {
    plan,
    allowed: Effect.fnUntraced(function* (request) {
      yield* indexes.fresh
      const planned = yield* plan(request)
      // With a limit alone no more is read than that.
      const isFiltered = planned.plan.filter !== undefined || planned.plan.order === "memory"
      const isBounded = request.limit !== undefined && !isFiltered
      if (!planned.plan.isScan || isBounded || (request.scan ?? scan)) return planned
      const [lack] = planned.lacks
      if (lack !== undefined) {
        const description = `${lack}, or say scan: true, which reads every document`
        return yield* refuse(description)
      }
      if (!isFiltered) {
        const description = "nothing is asked of the documents, so that every one is read: say scan: true, or a limit"
        return yield* refuse(description)
      }
      const asked = planned.asked.join(", ")
      const why = planned.unfit.map((reason) => `; ${reason}`).join("")
      const others = planned.elsewhere.map((other) => `, or ${other}`).join("")
      const description = `no partition or unique key leads to few of the documents (${asked})${why}: declare one, or say scan: true${others}`
      return yield* refuse(description)
    })
  }
}

/** A field that is called like a time of the database, and a partition by that. */
const elsewhere = ({ partitions }: Compiled, bounds: ReadonlyArray<Bound>): ReadonlyArray<string> =>
  [...partitions].flatMap(([label, { definition }]) => {
    const [first] = definition.fields
    const system = first?.path.join(".") ?? ""
    const isAsked = system.startsWith("$") && bounds.some(({ path }) => `$${path.join(".")}` === system)
    return isAsked ? [`ask for ${system}, the time that the database keeps and partition ${label} is by`] : []
  })

const tags = { Ids: "ids", Unique: "unique", Partition: "partition", Scan: "scan" } as const

const isEverything = (predicate: Query.Predicate): boolean => predicate._tag === "And" && predicate.all.length === 0

/** How many documents a way leads to at most, where it tells. */
const mostOf = (way: access.Access): number | undefined =>
  way._tag === "Unique" ? 1 : way._tag === "Ids" ? way.ids.length : undefined

/** Whether a partition that was chosen is gone through from end to end. */
const isWhole = (request: Query.Within, way: access.Access): boolean =>
  way._tag === "Partition" &&
  request.partition === undefined &&
  way.within.some(({ values = {}, from, to, startsWith }) =>
    [...Object.values(values), from, to, startsWith].every((edge) => edge === undefined)
  )

const describe = (way: access.Access, isWhole: boolean): string => {
  switch (way._tag) {
    case "Ids":
      return `${way.ids.length} ids`
    case "Unique":
      return `unique key ${way.name}`
    case "Partition": {
      const listings = way.within.length === 1 ? "1 listing" : `${way.within.length} listings`
      const by = Object.keys(way.within[0]?.values ?? {}).join(", ") || (isWhole ? "nothing" : "bounds")
      return `partition ${way.name}, ${listings} by ${by}`
    }
    case "Scan":
      return way.ids === undefined ? "every document" : "the keys of ids within bounds"
  }
}
