/**
 * What a predicate says of the values of single paths, for a planner that has indexes on them.
 *
 * @since 0.1.0
 */
import type { Json } from "../encoding/Json.ts"
import { samePath } from "../internal/json.ts"
import * as kinds from "../internal/kinds.ts"
import * as Query from "../Query.ts"

/**
 * One end of a range.
 *
 * @category models
 * @since 0.1.0
 */
export interface Edge {
  readonly value: Json
  readonly inclusive: boolean
}

/**
 * The value that there has to be at a path so that a predicate can match at all. A `OneOf` without values: nothing
 * matches.
 *
 * @category models
 * @since 0.1.0
 */
export type Bound =
  | { readonly _tag: "Equal"; readonly path: ReadonlyArray<string>; readonly value: Json }
  | { readonly _tag: "OneOf"; readonly path: ReadonlyArray<string>; readonly values: ReadonlyArray<Json> }
  | {
      readonly _tag: "Range"
      readonly path: ReadonlyArray<string>
      readonly from?: Edge
      readonly to?: Edge
    }
  | { readonly _tag: "Prefix"; readonly path: ReadonlyArray<string>; readonly prefix: string }

/**
 * Returns what the conditions of a conjunction say of each path, at most one bound for each, in the order of the
 * predicate.
 *
 * Conditions on one path are combined: the values of an `in` that lie in the range, the narrower of two ranges. What
 * stands below `$or` or `$not`, and `ne`, `contains`, `exists` and prefixes that ignore case, yield nothing. Where there
 * are both a prefix and a range, the bound is the prefix.
 *
 * A bound holds for a path whose values are not arrays; a planner must not use it for one whose values can be, as elements
 * may meet each condition on their own. Values are as the predicate has them: with `"decimal"`, `"1.0"` may stand for a
 * stored `"1"`.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (predicate: Query.Predicate, options: Query.Options = {}): ReadonlyArray<Bound> => {
  const byPath = new Map<string, Array<Query.FieldPredicate>>()
  for (const member of Query.conjuncts(predicate)) {
    if (!isBounding(member)) continue
    const key = JSON.stringify(member.path)
    const found = byPath.get(key)
    if (found === undefined) byPath.set(key, [member])
    else found.push(member)
  }
  return Array.from(byPath.values(), (members) => boundOf(members, options))
}

const isBounding = (predicate: Query.Predicate): predicate is Query.FieldPredicate => {
  switch (predicate._tag) {
    case "Compare":
      return predicate.op !== "ne"
    case "In":
    case "Between":
      return true
    case "StartsWith":
      return predicate.ignoreCase !== true
    default:
      return false
  }
}

const boundOf = (members: ReadonlyArray<Query.FieldPredicate>, options: Query.Options): Bound => {
  const path = members[0]!.path
  const kind = options.orderOf?.(path)
  const impossible: Bound = { _tag: "OneOf", path, values: [] }
  let values: ReadonlyArray<Json> | undefined
  let from: Edge | undefined
  let to: Edge | undefined
  let prefix: string | undefined
  for (const member of members) {
    if (member._tag === "StartsWith") {
      if (prefix === undefined || member.prefix.startsWith(prefix)) prefix = member.prefix
      else if (!prefix.startsWith(member.prefix)) return impossible
    } else if (member._tag === "In") values ??= distinct(member.values)
    else if (member._tag === "Between") {
      from = narrower(from, { value: member.from, inclusive: true }, kind, 1)
      to = narrower(to, { value: member.to, inclusive: true }, kind, -1)
    } else if (member._tag === "Compare") {
      const { op, value } = member
      if (op === "eq") values = [value]
      else if (op === "gt" || op === "gte") from = narrower(from, { value, inclusive: op === "gte" }, kind, 1)
      else to = narrower(to, { value, inclusive: op === "lte" }, kind, -1)
    }
  }
  if (values !== undefined) {
    // Another text of the same number may have the prefix.
    const telling = members.filter((member) => !kinds.isMeasured(kind) || member._tag !== "StartsWith")
    const tests = telling.map((member) => testOf(member, kind))
    const possible = values.filter((value) => tests.every((test) => test(value)))
    return possible.length === 1
      ? { _tag: "Equal", path, value: possible[0]! }
      : { _tag: "OneOf", path, values: possible }
  }
  for (const edge of [from, to]) {
    if (edge !== undefined && kinds.orderAgainst(edge.value, kind)(edge.value) === undefined) return impossible
  }
  if (from !== undefined && to !== undefined) {
    const order = kinds.orderAgainst(to.value, kind)(from.value)
    if (order === undefined || order > 0) return impossible
    if (order === 0 && !(from.inclusive && to.inclusive)) return impossible
  }
  if (prefix !== undefined) return { _tag: "Prefix", path, prefix }
  return {
    _tag: "Range",
    path,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to })
  }
}

/** The test that a condition makes of the value of its field. */
const testOf = (member: Query.FieldPredicate, kind: Query.Kind | undefined): ((value: Json) => boolean) => {
  const test = Query.matches({ ...member, path: ["value"] }, { orderOf: () => kind })
  return (value) => test({ value })
}

const distinct = (values: ReadonlyArray<Json>): ReadonlyArray<Json> => [
  ...new Map(values.map((value) => [Query.canonicalValue(value), value])).values()
]

/** `sign` 1: the higher one, -1: the lower one. What has no order with the other one is kept, for it matches nothing. */
const narrower = (a: Edge | undefined, b: Edge, kind: Query.Kind | undefined, sign: 1 | -1): Edge => {
  if (a === undefined) return b
  const order = kinds.orderAgainst(b.value, kind)(a.value)
  if (order === undefined) return { value: null, inclusive: false }
  if (order === 0) return a.inclusive ? b : a
  return order * sign > 0 ? a : b
}

/**
 * Returns what is left to test of documents that were found by these bounds: the predicate without the conditions that
 * the bounds imply. Of a path whose values can be arrays, use no bounds.
 *
 * @category getters
 * @since 0.1.0
 */
export const remainder = (
  predicate: Query.Predicate,
  used: ReadonlyArray<Bound>,
  options: Query.Options = {}
): Query.Predicate => {
  const left = Query.conjuncts(predicate).filter(
    (member) => !isBounding(member) || !used.some((bound) => isImplied(member, bound, options))
  )
  return left.length === 1 ? left[0]! : { _tag: "And", all: left }
}

const isImplied = (member: Query.FieldPredicate, bound: Bound, options: Query.Options): boolean => {
  if (!samePath(member.path, bound.path)) return false
  const kind = options.orderOf?.(bound.path)
  if (member._tag === "StartsWith" && bound._tag !== "Prefix" && kinds.isMeasured(kind)) return false
  const test = testOf(member, kind)
  switch (bound._tag) {
    case "Equal":
      return test(bound.value)
    case "OneOf":
      return bound.values.every(test)
    case "Prefix":
      return member._tag === "StartsWith" && bound.prefix.startsWith(member.prefix)
    case "Range":
      switch (member._tag) {
        case "Between":
          return (
            reaches(bound.from, { value: member.from, inclusive: true }, kind, 1) &&
            reaches(bound.to, { value: member.to, inclusive: true }, kind, -1)
          )
        case "Compare": {
          const edge = { value: member.value, inclusive: member.op === "gte" || member.op === "lte" }
          if (member.op === "gt" || member.op === "gte") return reaches(bound.from, edge, kind, 1)
          return (member.op === "lt" || member.op === "lte") && reaches(bound.to, edge, kind, -1)
        }
        default:
          return false
      }
  }
}

/** Whether the edge of a range lies at the wanted one, or further inside. */
const reaches = (edge: Edge | undefined, wantedEdge: Edge, kind: Query.Kind | undefined, sign: 1 | -1): boolean => {
  if (edge === undefined) return false
  const order = kinds.orderAgainst(wantedEdge.value, kind)(edge.value)
  if (order === undefined) return false
  return order === 0 ? wantedEdge.inclusive || !edge.inclusive : order * sign > 0
}
