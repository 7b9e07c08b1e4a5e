/**
 * A change of JSON by who does not know all of it: what was there (`raw`), what of it was known (`base`), and what is wanted
 * instead of that (`next`), become what is to be there. What the change does not touch stays as it was, at any depth.
 */
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { isList, isObject } from "./json.ts"

type Json = Schema.Json

type JsonObject = { readonly [name: string]: Json }

type List = ReadonlyArray<Json>

/** Tells whether two values are the same JSON, whatever the order of members; `-0` is not `0`. */
export const isSame = (a: Json | undefined, b: Json | undefined): boolean => {
  if (Object.is(a, b)) return true
  if (isList(a)) return isList(b) && a.length === b.length && a.every((item, i) => isSame(item, b[i]))
  if (!isObject(a) || !isObject(b)) return false
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isSame(a[name], b[name]))
  )
}

/**
 * Returns what a change of the known part makes of a whole. `stored` is the schema of the known part, as it is stored: it
 * tells the members of unions apart, of which one that takes the place of another inherits nothing.
 */
export const merge = (stored: AST.AST | undefined, raw: Json, base: Json, next: Json): Json => {
  if (isSame(base, next)) return raw
  if (isSame(raw, base)) return next
  const schema = memberOf(stored, base)
  if (schema !== memberOf(stored, next)) return next
  if (isList(raw) && isList(base) && isList(next)) return mergeLists(schema, raw, base, next)
  if (!isObject(raw) || !isObject(base) || !isObject(next)) return next
  return isSame(tagOf(base), tagOf(next)) ? mergeObjects(schema, raw, base, next) : next
}

const tagOf = (value: JsonObject): Json | undefined => (Object.hasOwn(value, "_tag") ? value["_tag"] : undefined)

// -----------------------------------------------------------------------------
// Schemas
// -----------------------------------------------------------------------------

const members = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  const one = AST.isSuspend(ast) ? ast.thunk() : ast
  return AST.isUnion(one) ? one.types.flatMap(members) : [one]
}

const guards = new WeakMap<AST.AST, (value: unknown) => boolean>()

/** Tells whether a value is of a schema, whose guard is made once. */
export const fits = (ast: AST.AST, value: unknown): boolean => {
  let guard = guards.get(ast)
  if (guard === undefined) guards.set(ast, (guard = Schema.is(Schema.make(ast))))
  return guard(value)
}

/** The member of a union that a value is of; any other schema is the only one of itself. */
const memberOf = (stored: AST.AST | undefined, value: Json): AST.AST | undefined => {
  if (stored === undefined) return undefined
  const all = members(stored)
  return all.length === 1 ? all[0] : all.find((member) => fits(member, value))
}

const fieldOf = (schema: AST.AST | undefined, name: string): AST.AST | undefined => {
  if (schema === undefined || !AST.isObjects(schema)) return undefined
  const property = schema.propertySignatures.find((one) => one.name === name)
  return property === undefined ? schema.indexSignatures[0]?.type : property.type
}

/** How many places at the beginning of a list have a meaning of their own. */
const placesOf = (schema: AST.AST | undefined): number =>
  schema !== undefined && AST.isArrays(schema) ? schema.elements.length : 0

const itemOf = (schema: AST.AST | undefined, index: number): AST.AST | undefined =>
  schema !== undefined && AST.isArrays(schema) ? (schema.elements[index] ?? schema.rest[0]) : undefined

// -----------------------------------------------------------------------------
// Objects
// -----------------------------------------------------------------------------

const mergeObjects = (schema: AST.AST | undefined, raw: JsonObject, base: JsonObject, next: JsonObject): JsonObject => {
  const merged: Array<readonly [string, Json]> = []
  for (const [name, value] of Object.entries(raw)) {
    if (!Object.hasOwn(next, name)) {
      if (!Object.hasOwn(base, name)) merged.push([name, value])
    } else {
      const wanted = next[name]!
      merged.push([name, Object.hasOwn(base, name) ? merge(fieldOf(schema, name), value, base[name]!, wanted) : wanted])
    }
  }
  for (const [name, value] of Object.entries(next)) {
    // What reading alone has added is not there, and need not be.
    const isAdded = Object.hasOwn(base, name) && isSame(base[name], value)
    if (!Object.hasOwn(raw, name) && !isAdded) merged.push([name, value])
  }
  return Object.fromEntries(merged)
}

// -----------------------------------------------------------------------------
// Lists
// -----------------------------------------------------------------------------

const mergeLists = (schema: AST.AST | undefined, raw: List, base: List, next: List): List => {
  const places = placesOf(schema)
  const first = next
    .slice(0, places)
    .map((item, i) => (i < raw.length && i < base.length ? merge(itemOf(schema, i), raw[i]!, base[i]!, item) : item))
  const rest = { raw: raw.slice(places), base: base.slice(places), next: next.slice(places) }
  return [...first, ...mergeItems(itemOf(schema, places), rest.raw, rest.base, rest.next)]
}

const mergeItems = (schema: AST.AST | undefined, raw: List, base: List, next: List): List => {
  const sources = sourcesOf(raw, base)
  const partners = partnersOf(base, next)
  const merged: Array<Json> = sources.head.map((i) => raw[i]!)
  const left = new Map(sources.unseen)
  const emit = (items: ReadonlyArray<number> | undefined) => merged.push(...(items ?? []).map((i) => raw[i]!))
  next.forEach((item, k) => {
    const j = partners[k]
    const [source, ...twins] = j === undefined ? [] : sources.of[j]!
    if (j === undefined || source === undefined) merged.push(item)
    else merged.push(merge(schema, raw[source]!, base[j]!, item))
    if (j === undefined) return
    // Reading made one of several.
    if (isSame(base[j], item)) emit(twins)
    emit(left.get(j))
    left.delete(j)
  })
  // What was not seen stays, also behind what has been removed.
  for (const items of left.values()) emit(items)
  return merged
}

/** More pairs than these are not looked at: what is left is told apart by its place. */
const mostPairs = 250_000

/** Where the items of a list that was read came from. */
interface Sources {
  /** For each item the one that it was read from, and those that reading takes for the same. */
  readonly of: ReadonlyArray<ReadonlyArray<number>>
  /** Those that reading has passed over, by the item that they follow; `head` before all others. */
  readonly unseen: ReadonlyMap<number, ReadonlyArray<number>>
  readonly head: ReadonlyArray<number>
}

const sourcesOf = (raw: List, base: List): Sources => {
  const of: Array<Array<number>> = base.map(() => [])
  const free = new Set(raw.keys())
  const take = (j: number, i: number) => {
    free.delete(i)
    of[j]!.push(i)
  }
  const mayCompare = raw.length * base.length <= mostPairs
  base.forEach((item, j) => {
    const covers = (i: number) => free.has(i) && isCovered(item, raw[i])
    const i = covers(j) ? j : mayCompare ? [...free].find(covers) : undefined
    if (i !== undefined) take(j, i)
  })
  // Reading has made another value of it: then its place tells.
  if (raw.length === base.length) of.forEach((found, j) => found.length === 0 && free.has(j) && take(j, j))
  const unseen = new Map<number, Array<number>>()
  const head: Array<number> = []
  const ownerOf = (i: number) => of.findIndex((found) => found.includes(i))
  for (const i of free) {
    const twin = mayCompare ? base.findIndex((item) => isCovered(item, raw[i])) : -1
    if (twin >= 0) of[twin]!.push(i)
    else {
      let before = i - 1
      while (before >= 0 && ownerOf(before) < 0) before -= 1
      const owner = before < 0 ? -1 : ownerOf(before)
      if (owner < 0) head.push(i)
      else unseen.set(owner, [...(unseen.get(owner) ?? []), i])
    }
  }
  return { of, unseen, head }
}

/** Whether a value has all that is known of it. */
const isCovered = (known: Json, value: Json | undefined): boolean => {
  if (isList(known)) {
    return isList(value) && known.length === value.length && known.every((item, i) => isCovered(item, value[i]))
  }
  if (!isObject(known)) return Object.is(known, value)
  return (
    isObject(value) &&
    Object.entries(known).every(([name, one]) => Object.hasOwn(value, name) && isCovered(one, value[name]))
  )
}

/** For each item that is wanted the one that it was before, if any. */
const partnersOf = (base: List, next: List): ReadonlyArray<number | undefined> => {
  const partners: Array<number | undefined> = next.map(() => undefined)
  const free = new Set(base.keys())
  const pair = (k: number, j: number) => {
    partners[k] = j
    free.delete(j)
  }
  for (const [k, j] of inOrder(base, next)) pair(k, j)
  const anchors = partners.map((j) => j ?? -1)
  // What has only moved.
  const open = () => [...partners.keys()].filter((k) => partners[k] === undefined)
  const byText = Map.groupBy(free, (j) => textOf(base[j]!))
  for (const k of open()) {
    const j = byText.get(textOf(next[k]!))?.shift()
    if (j !== undefined) pair(k, j)
  }
  // What says itself which one it is.
  const byIdentity = new Map([...free].map((j) => [identityOf(base[j]!), j]))
  for (const k of open()) {
    const identity = identityOf(next[k]!)
    const j = identity === undefined ? undefined : byIdentity.get(identity)
    if (j !== undefined && free.has(j)) pair(k, j)
  }
  pairWithin(base, next, { anchors, free, open: open(), pair })
  return partners
}

/** Pairs what stands between the same neighbours: by place, or, where their numbers differ, by what they have in common. */
const pairWithin = (
  base: List,
  next: List,
  {
    anchors,
    free,
    open,
    pair
  }: {
    readonly anchors: ReadonlyArray<number>
    readonly free: ReadonlySet<number>
    readonly open: ReadonlyArray<number>
    readonly pair: (k: number, j: number) => void
  }
): void => {
  const anchored = new Set(anchors)
  const gapsBefore = countsBefore(base.length, (j) => anchored.has(j))
  const gapsOf = countsBefore(next.length, (k) => anchors[k]! >= 0)
  const gaps = Map.groupBy(free, (j) => gapsBefore[j]!)
  for (const [gap, wanted] of Map.groupBy(open, (k) => gapsOf[k]!)) {
    const there = gaps.get(gap) ?? []
    const byPlace = there.length === wanted.length || there.length * wanted.length > mostPairs
    wanted.forEach((k, at) => {
      const best = byPlace
        ? there[at]
        : there
            .filter((j) => free.has(j) && mayBeSame(base[j]!, next[k]!))
            .reduce<number | undefined>(
              (most, j) =>
                most === undefined || inCommon(base[j]!, next[k]!) > inCommon(base[most]!, next[k]!) ? j : most,
              undefined
            )
      if (best !== undefined && mayBeSame(base[best]!, next[k]!)) pair(k, best)
    })
  }
}

/** For each place how many before it are of some kind. */
const countsBefore = (length: number, isCounted: (at: number) => boolean): ReadonlyArray<number> => {
  let count = 0
  return Array.from({ length }, (_, at) => (isCounted(at) ? count++ : count))
}

const mayBeSame = (a: Json, b: Json): boolean => {
  const [one, other] = [identityOf(a), identityOf(b)]
  return one === undefined || other === undefined || one === other
}

const inCommon = (a: Json, b: Json): number =>
  isObject(a) && isObject(b)
    ? Object.keys(a).filter((name) => Object.hasOwn(b, name) && isSame(a[name], b[name])).length
    : 0

/** The same for the same JSON, whatever the order of members. */
const textOf = (value: Json): string => {
  if (isList(value)) return `[${value.map(textOf).join()}]`
  if (!isObject(value)) return Object.is(value, -0) ? "-0" : JSON.stringify(value)
  const names = Object.keys(value).toSorted()
  return `{${names.map((name) => `${JSON.stringify(name)}:${textOf(value[name]!)}`).join()}}`
}

const identities = ["id", "_id", "key"]

/** What tells an item from others, if it says so: a member called `id`, or the key of an entry of a map. */
const identityOf = (value: Json): string | undefined => {
  if (isList(value)) return value.length === 2 && typeof value[0] === "string" ? JSON.stringify(value[0]) : undefined
  if (!isObject(value)) return undefined
  const name = identities.find((one) => Object.hasOwn(value, one))
  const identity = name === undefined ? undefined : value[name]
  return typeof identity === "string" || typeof identity === "number" ? JSON.stringify([name, identity]) : undefined
}

/** The items that are the same in both, in the same order, as many as there are: pairs of their places in `next` and `base`. */
const inOrder = (base: List, next: List): ReadonlyArray<readonly [number, number]> => {
  const a = base.map(textOf)
  const b = next.map(textOf)
  const pairs: Array<readonly [number, number]> = []
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) pairs.push([start, start++])
  let [endA, endB] = [a.length, b.length]
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) pairs.push([--endB, --endA])
  const [rows, columns] = [endA - start, endB - start]
  if (rows === 0 || columns === 0 || rows * columns > mostPairs) return pairs
  // The longest common subsequence of what is left.
  const lengths = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1))
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      lengths[i]![j] =
        a[start + i] === b[start + j] ? lengths[i + 1]![j + 1]! + 1 : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!)
    }
  }
  for (let i = 0, j = 0; i < rows && j < columns;) {
    if (a[start + i] === b[start + j]) pairs.push([start + j++, start + i++])
    else if (lengths[i + 1]![j]! >= lengths[i]![j + 1]!) i += 1
    else j += 1
  }
  return pairs
}
