/**
 * The ways to the documents of a query: by their ids, by a unique key, by the markers of a partition, or past all of them;
 * and which of them is the shortest.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import type { Compiled } from "../document/indexes.ts"
import type { Json } from "../encoding/Json.ts"
import { samePath } from "../internal/json.ts"
import type * as Partition from "../Partition.ts"
import type * as Query from "../Query.ts"
import type { Bound, Edge } from "./bounds.ts"
import type { Fields } from "./fields.ts"
import type { IdBound } from "./idSpans.ts"
import type { Planned } from "./keys.ts"

/**
 * A way to documents.
 *
 * @category models
 * @since 0.1.0
 */
export type Access =
  | { readonly _tag: "Ids"; readonly ids: ReadonlyArray<string> }
  | { readonly _tag: "Unique"; readonly name: string; readonly label: string; readonly digest: string }
  | { readonly _tag: "Partition"; readonly name: string; readonly within: ReadonlyArray<Planned> }
  | { readonly _tag: "Scan"; readonly ids?: IdBound | undefined }

/**
 * A way, the path by whose values documents come in their order, and the bounds within which every document lies that it
 * leads to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Chosen {
  readonly access: Access
  readonly isOrderedBy: ReadonlyArray<string> | undefined
  readonly settled: ReadonlyArray<Bound>
}

/**
 * What a way has to serve.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly bounds: ReadonlyArray<Bound>
  readonly order: Query.Order
  /** Put in order in memory, no more can be had than are kept there. */
  readonly needsIndex: boolean
  /** Whether a partition tells all that is asked for, so that its keys may answer. Default: none does. */
  readonly answers?: ((partition: Partition.Partition) => boolean) | undefined
  /** Whether documents that do not come in their order could not be put in it. */
  readonly isUnsortable?: boolean | undefined
}

type Known = Pick<Fields<unknown>, "isExact" | "codecOf" | "isAlwaysThere" | "options">

/** Whether it lists in order, and the field that ids are in. */
interface Store {
  readonly isOrdered: boolean
  readonly primaryKey: string
}

interface Candidate extends Chosen {
  /** Whether its keys tell all that is asked for. */
  readonly isTelling?: boolean
  /** More is better: fields with one value, then with few, then with bounds. */
  readonly score: number
}

/** More listings than this are not made for one `in`. */
const mostListings = 50

/** The ids that bounds allow, and the bound that says so. */
interface WithinIds {
  readonly ids: IdBound
  readonly settled: Bound
}

const withinIds = (
  bounds: ReadonlyArray<Bound>,
  { options }: Known,
  { isOrdered, primaryKey }: Store
): WithinIds | undefined => {
  const bound = bounds.find(({ path }) => samePath(path, [primaryKey]))
  const kind = options.orderOf?.([primaryKey]) ?? "text"
  if (!isOrdered || bound === undefined || kind !== "text") return undefined
  if (bound._tag === "Prefix") return { ids: { _tag: "Prefix", prefix: bound.prefix }, settled: bound }
  if (bound._tag !== "Range") return undefined
  const edgeOf = (edge: Edge | undefined) =>
    typeof edge?.value === "string" ? { value: edge.value, inclusive: edge.inclusive } : undefined
  const [from, to] = [edgeOf(bound.from), edgeOf(bound.to)]
  const isTold = (from === undefined) === (bound.from === undefined) && (to === undefined) === (bound.to === undefined)
  return isTold && (from ?? to) !== undefined ? { ids: { _tag: "Range", from, to }, settled: bound } : undefined
}

/** Transforms that keep the order of what they transform. */
const keepsOrder = /^(?:date|month|year|hour|bucket:.*)$/

/** The values of a path that a bound allows. */
const valuesOf = (bound: Bound | undefined): ReadonlyArray<Json> | undefined =>
  bound?._tag === "Equal" ? [bound.value] : bound?._tag === "OneOf" ? bound.values : undefined

/** Every way to choose one value of each list. */
const combinations = (lists: ReadonlyArray<ReadonlyArray<Json>>): ReadonlyArray<ReadonlyArray<Json>> =>
  lists.reduce<ReadonlyArray<ReadonlyArray<Json>>>(
    (all, values) => all.flatMap((chosen) => values.map((value) => [...chosen, value])),
    [[]]
  )

const isSortedField = (field: Partition.Definition["fields"][number], { codecOf }: Known): boolean => {
  const codec = codecOf(field.path) ?? "date"
  const keeps = field.transforms.every((transform) => keepsOrder.test(transform))
  return keeps && (codec === "number" || codec === "date" || codec === "dateonly")
}

/** The path by which the markers lie that have values for so many fields of a partition. */
const orderAfter = (partition: Partition.Partition, count: number, fields: Known) => {
  const next = partition.definition.fields[count]
  return next !== undefined && next.transforms.length === 0 && isSortedField(next, fields) ? next.path : undefined
}

/** What a bound says of the field after those with values: the ends of a listing, and how far they settle it. */
const edgesOf = (
  next: Partition.Definition["fields"][number] | undefined,
  bound: Bound | undefined,
  fields: Known
): { readonly edges: Partial<Planned>; readonly score: number; readonly settled: ReadonlyArray<Bound> } => {
  if (next !== undefined && bound?._tag === "Range" && isSortedField(next, fields)) {
    const { from, to } = bound
    const edges = { from: from?.value, to: to?.value }
    const score = from !== undefined && to !== undefined ? 4 : 2
    if (next.transforms.length > 0) return { edges, score, settled: [] }
    // A listing has both its ends.
    const ends = {
      ...(from && { from: { ...from, inclusive: true } }),
      ...(to && { to: { ...to, inclusive: true } })
    }
    return { edges, score, settled: [{ _tag: "Range", path: bound.path, ...ends }] }
  }
  return bound?._tag === "Prefix" && next?.transforms.length === 0
    ? { edges: { startsWith: bound.prefix }, score: 3, settled: [bound] }
    : { edges: {}, score: 0, settled: [] }
}

/**
 * How a partition leads to every document that meets the bounds: not at all when it lacks some of them, because they
 * have no value for one of its fields.
 */
const candidateOf = (
  partition: Partition.Partition,
  bounds: ReadonlyArray<Bound>,
  fields: Known,
  within: WithinIds | undefined
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
  const edge = edgesOf(next, bound, fields)
  const exact = all
    .slice(0, lists.length)
    .flatMap(({ path, transforms }) => (transforms.length === 0 ? [boundOf(path)!] : []))
  // Different values can be one after a transform. Of a value that is no part of a key there is no document.
  const ways = new Map<string, Planned>()
  // Of the same values documents lie by their ids.
  const byIds = all.length === lists.length ? within : undefined
  for (const values of combinations(lists)) {
    const named = Object.fromEntries(values.map((value, i) => [partition.fields[i]!, value]))
    const selected = partition.select(named, edge.edges)
    // A text that is no date lies somewhere among the dates all the same, half a character at the beginning of a whole one.
    if (Result.isFailure(selected) && Result.isSuccess(partition.select(named))) {
      const others = bounds.filter((one) => one !== bound)
      return candidateOf(partition, others, fields, within)
    }
    if (Result.isSuccess(selected)) {
      const planned: Planned = {
        partition: partition.name,
        values: named,
        ...edge.edges,
        ...(byIds === undefined ? {} : { ids: byIds.ids }),
        isStored: true
      }
      ways.set(JSON.stringify(selected.success), planned)
    }
  }
  return {
    access: { _tag: "Partition", name: partition.name, within: [...ways.values()] },
    score: score + edge.score + (all.length === lists.length ? 1 : 0),
    isOrderedBy: ways.size === 1 ? orderAfter(partition, lists.length, fields) : undefined,
    settled: [...exact, ...edge.settled, ...(byIds === undefined ? [] : [byIds.settled])]
  }
}

const byUnique = (uniques: Compiled["uniques"], bounds: ReadonlyArray<Bound>, fields: Known): Chosen | undefined => {
  const boundOf = (path: ReadonlyArray<string>) => bounds.find((bound) => samePath(bound.path, path))
  for (const unique of uniques.values()) {
    const values = unique.definition.fields.map(boundOf)
    const isSettled = values.every((bound) => bound?._tag === "Equal" && fields.isExact(bound.path))
    if (!unique.isReady || !isSettled) continue
    const digest = unique.digest((path) => {
      const bound = boundOf(path)
      return bound?._tag === "Equal" ? bound.value : undefined
    })
    if (digest === undefined) continue
    const settled = unique.definition.ignoreCase ? [] : values.filter((bound) => bound !== undefined)
    return {
      access: { _tag: "Unique", name: unique.label, label: unique.name, digest },
      isOrderedBy: undefined,
      settled
    }
  }
  return undefined
}

/**
 * Tells whether documents that lie by a path come in an order by themselves.
 *
 * @category getters
 * @since 0.1.0
 */
export const comesIn = (order: Query.Order, path: ReadonlyArray<string> | undefined, isOrdered: boolean): boolean =>
  isOrdered &&
  path !== undefined &&
  order.length === 1 &&
  order[0]!.direction === "asc" &&
  samePath(path, order[0]!.path)

/**
 * Returns the way by the markers of a partition that a request names itself.
 *
 * @category getters
 * @since 0.1.0
 */
export const named = (
  { partition = "", values = {}, from, to, startsWith }: Query.Within,
  { partitions }: Compiled,
  fields: Known
): Chosen => {
  const found = partitions.get(partition)
  const given = Object.values(values).filter((value) => value !== undefined)
  return {
    access: { _tag: "Partition", name: partition, within: [{ partition, values, from, to, startsWith }] },
    isOrderedBy: found === undefined ? undefined : orderAfter(found, given.length, fields),
    settled: []
  }
}

/**
 * Returns the shortest way to all documents that lie within bounds.
 *
 * @category getters
 * @since 0.1.0
 */
export const choose = (
  { answers = () => false, bounds, isUnsortable = false, needsIndex, order }: Wanted,
  { partitions, uniques }: Compiled,
  fields: Known,
  store: Store
): Chosen => {
  const { isOrdered, primaryKey } = store
  const ids = valuesOf(bounds.find((bound) => samePath(bound.path, [primaryKey])))
  if (ids !== undefined) {
    return {
      access: { _tag: "Ids", ids: [...new Set(ids)].filter((id) => typeof id === "string") },
      isOrderedBy: undefined,
      settled: bounds.filter(({ path }) => samePath(path, [primaryKey]))
    }
  }
  const unique = byUnique(uniques, bounds, fields)
  if (unique !== undefined) return unique
  const within = withinIds(bounds, fields, store)
  /** What comes in the order that is asked for need not be put in it; but rather some in memory than all of them. */
  const rank = (one: Candidate): number => {
    const inOrder = comesIn(order, one.isOrderedBy, isOrdered)
    const isTelling = one.isTelling === true && (inOrder || !isUnsortable)
    if (one.score > 0) return (inOrder ? 3 : 1) + (isTelling ? 10 : 0)
    // The keys of all documents are less than all documents, and more than few of them.
    const whole = !inOrder ? -1 : needsIndex ? 2 : 0
    return isTelling && within === undefined ? Math.max(whole, 0) + 0.5 : whole
  }
  let best: Candidate | undefined
  for (const partition of partitions.values()) {
    const found = partition.isReady ? candidateOf(partition, bounds, fields, within) : undefined
    if (found === undefined) continue
    const candidate = { ...found, isTelling: answers(partition) }
    if (rank(candidate) < 0) continue
    const gain = best === undefined ? 1 : rank(candidate) - rank(best) || candidate.score - best.score
    if (gain > 0) best = candidate
  }
  return (
    best ?? {
      access: { _tag: "Scan", ids: within?.ids },
      isOrderedBy: undefined,
      settled: within === undefined ? [] : [within.settled]
    }
  )
}

/**
 * Tells which documents a partition lacks that may meet the bounds, in words.
 *
 * @category getters
 * @since 0.1.0
 */
export const lackedBy = (
  partition: Partition.Partition,
  bounds: ReadonlyArray<Bound>,
  fields: Known
): string | undefined => {
  const isIn = (path: ReadonlyArray<string>) =>
    bounds.some((bound) => samePath(bound.path, path) && valuesOf(bound)?.includes(null) !== true)
  const lacking = partition.definition.fields.find(({ path }) => !fields.isAlwaysThere(path) && !isIn(path))
  return lacking === undefined
    ? undefined
    : `partition ${partition.name} has no documents without ${lacking.path.join(".")}`
}

/**
 * Explains why a partition by the conditions does not lead to the documents, if that is not plain to see.
 *
 * @category getters
 * @since 0.1.0
 */
export const unfitOf = (
  partition: Partition.Partition,
  bounds: ReadonlyArray<Bound>,
  fields: Known
): ReadonlyArray<string> => {
  const [first] = partition.definition.fields
  const boundOf = (path: ReadonlyArray<string>) => bounds.find((one) => samePath(one.path, path))
  const bound = first === undefined ? undefined : boundOf(first.path)
  if (bound === undefined) return []
  const lacked = lackedBy(partition, bounds, fields)
  if (lacked !== undefined) return [lacked]
  const count = valuesOf(bound)?.length ?? 0
  return count <= mostListings
    ? []
    : [`partition ${partition.name} would take ${count} listings, more than the ${mostListings} that a query may take`]
}

/**
 * Returns how many requests a way makes.
 *
 * @category getters
 * @since 0.1.0
 */
export const requestsOf = (access: Access): Query.Requests => {
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
