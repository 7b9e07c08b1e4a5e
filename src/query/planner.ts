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
import type { Partition } from "../Partition.ts"
import type { DocumentSchema } from "../schema/Attributes.ts"
import * as Transaction from "../Transaction.ts"
import * as access from "./access.ts"
import { type Bound, find as boundsOf, remainder } from "./bounds.ts"
import type { Fields } from "./fields.ts"
import { type Keys, mostInMemory } from "./keys.ts"
import { tells } from "./markers.ts"
import * as staleness from "./staleness.ts"

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
  /**
   * Looks a request through. No request. `shown`: all of the fields that are made use of beside conditions and order; default: every field,
   * which keys do not tell. `InvalidInput`: conditions, an order or a limit that cannot be.
   */
  readonly plan: (
    request: Query.Request<A>,
    shown?: ReadonlyArray<ReadonlyArray<string>>
  ) => Effect.Effect<Planned, DbError.InvalidInput>
  /** The same, to be run by keys: what is known of indexes has to be fresh. */
  readonly fresh: (
    request: Query.Request<A>,
    shown: ReadonlyArray<ReadonlyArray<string>>
  ) => Effect.Effect<Planned, DbError.InvalidInput | DbError.Failure>
  /**
   * The same, to be run: what is known of indexes has to be fresh. `NotAllowed` when it would read every document and does
   * not say so.
   */
  readonly allowed: (
    request: Query.Request<A>,
    shown?: ReadonlyArray<ReadonlyArray<string>>
  ) => Effect.Effect<Planned, DbError.InvalidInput | DbError.NotAllowed | DbError.Failure>
}

/**
 * Makes the planner of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <S extends DocumentSchema>(
  { name, primaryKey, scan }: Definition<S>,
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
    compiled: Compiled,
    needed: ReadonlyArray<Path> | undefined
  ): access.Chosen => {
    if (request.partition !== undefined) return access.named(request, compiled, fields)
    const isUnsortable = order.length > 0 && !fitsInMemory(request.limit)
    const needsIndex = !fitsInMemory(request.limit) && (request.scan ?? scan)
    const answers = (partition: Partition) => needed?.every(tells(partition, primaryKey)) === true
    const wanted = { answers, bounds, isUnsortable, needsIndex, order }
    return access.choose(wanted, compiled, fields, { isOrdered, primaryKey })
  }

  /** Why keys do not tell what is asked for, along a way; `undefined` where they do. */
  const untoldOf = (
    way: access.Access,
    needed: ReadonlyArray<Path> | undefined,
    bounds: ReadonlyArray<Bound>,
    { partitions }: Compiled
  ): string | undefined => {
    if (needed === undefined) return "every field is asked for: name those that are wanted by select"
    const lacking = (partition: Partition) => [
      ...new Set(needed.filter((path) => !tells(partition, primaryKey)(path)).map((path) => path.join(".")))
    ]
    switch (way._tag) {
      case "Ids":
        return "documents are found by their ids"
      case "Unique":
        return `documents are found by unique key ${way.label}`
      case "Partition": {
        const partition = partitions.get(way.name)
        const fields = partition === undefined ? [] : lacking(partition)
        return fields.length === 0 ? undefined : `the keys of partition ${way.name} do not tell ${fields.join(", ")}`
      }
      case "Scan": {
        const reasons = [...partitions.values()].map((partition) => {
          const paths = lacking(partition)
          if (paths.length > 0) return `those of ${partition.name} do not tell ${paths.join(", ")}`
          if (partition.lack !== undefined) return partition.lack
          return access.lackedBy(partition, bounds, fields) ?? `those of ${partition.name} are in another order`
        })
        const why = reasons.length === 0 ? `${name} has no partition` : reasons.slice(0, mostReasons).join("; ")
        return `no partition has all documents and tells what is asked for by its keys: ${why}`
      }
    }
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
    request: Query.Request<A>,
    shown?: ReadonlyArray<Path>
  ): Effect.fn.Return<Planned, DbError.InvalidInput> {
    const predicate = yield* fields.predicateOf(request)
    const order = yield* fields.orderOf(request)
    const { limit } = request
    if (limit !== undefined && (!Number.isInteger(limit) || limit < 1)) {
      return yield* invalid(["limit"], "Expected an integer from 1")
    }
    const unbounded = staleness.problemOf(request)
    if (unbounded !== undefined) return yield* invalid(["maxStaleness"], unbounded)
    const compiled = yield* indexes.all
    const bounds = boundsOf(predicate, fields.options).filter(
      // An element of an array may meet each condition by itself.
      (bound) => !(fields.codecOf(bound.path) ?? "string").startsWith("array:")
    )
    const isAsked = request.allowStale === true
    // A transaction has to know what it has read.
    const isInTransaction = isAsked && (yield* Transaction.Current) !== undefined
    const needed =
      !isAsked || isInTransaction || shown === undefined
        ? undefined
        : [...shown, ...Query.paths(predicate), ...order.map(({ path }) => path)]
    const way = chosen(request, bounds, order, compiled, needed)
    const fallback = !isAsked
      ? undefined
      : isInTransaction
        ? "a transaction has to know which documents it has read"
        : untoldOf(way.access, needed, bounds, compiled)
    const isByKeys = isAsked && fallback === undefined
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
    const isScan = !isByKeys && (isAll || isWhole(request, way.access))
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
        requests: { ...access.requestsOf(way.access), ...(isByKeys ? { perDocument: 0 } : {}) },
        isScan,
        reads: isByKeys ? "keys" : "documents",
        fallback
      }
    }
  })

  return {
    plan,
    fresh: (request, shown) => Effect.andThen(indexes.fresh, plan(request, shown)),
    allowed: Effect.fnUntraced(function* (request, shown) {
      yield* indexes.fresh
      const planned = yield* plan(request, shown)
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

type Path = ReadonlyArray<string>

/** More are not told of why partitions cannot answer. */
const mostReasons = 5

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
