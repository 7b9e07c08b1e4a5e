/**
 * The loading of what is included: level by level, each document once.
 *
 * **Details**
 *
 * One run is one operation of one caller, with a resolver and a memory of its own: requests of different callers, who may see different
 * things, are never put together, and nothing outlives the run. Everything is asked of the targets as queries, so that guards and
 * interceptors of theirs see it, and what they hide is not there.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as Stream from "effect/Stream"
import type * as Definition from "../../Definition.ts"
import type { ListError } from "../../Repository.ts"
import type { Way } from "./declaration.ts"
import { mostOrdered, type Node } from "./include.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A document, or its JSON form.
 *
 * @category models
 * @since 0.1.0
 */
export type Fields = Readonly<Record<string, unknown>>

/**
 * A query of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Query {
  readonly where: object
  readonly order?: unknown
  readonly limit?: number | undefined
  readonly scan?: boolean | undefined
}

/**
 * Where the documents of a resource come from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  readonly definition: Definition.Any
  readonly query: (request: Query) => Stream.Stream<Fields, ListError>
}

/**
 * What a run needs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E> {
  readonly sources: Readonly<Record<string, Source>>
  /** The most documents that a run may load. */
  readonly most: number
  /** The error where there are more. */
  readonly tooMany: (path: string) => E
  /** What is shown of an included document; `undefined`: it is not. Default: all. */
  readonly show?: ((resource: string, document: Fields) => Fields | undefined) | undefined
  /** Told how many documents each query has loaded. */
  readonly count: (documents: number) => Effect.Effect<void>
}

/** What is asked of a resource. `path`: the node whose conditions are part of the question; empty where there are none. */
interface Question {
  readonly target: string
  readonly field: string
  readonly way: Way
  readonly value: unknown
  readonly path: string
}

/** The document of a resource that has a value for itself. */
class One extends Request.TaggedClass("One")<Question, Fields | undefined, unknown> {}

/** The documents of a resource with a value. */
class Several extends Request.TaggedClass("Several")<
  Question & { readonly limit: number | undefined },
  ReadonlyArray<Fields>,
  unknown
> {}

type Asked = One | Several

const concurrency = 16

/** The most ids that are asked for by one query. */
const mostIds = 1000

// -----------------------------------------------------------------------------
// Loading
// -----------------------------------------------------------------------------

/**
 * Gives documents what is to be included: copies of them, in their order, with a field more for each relation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const load = <E>(
  { count, most, show, sources, tooMany }: Options<E>,
  nodes: ReadonlyArray<Node>,
  documents: ReadonlyArray<Fields>
): Effect.Effect<ReadonlyArray<Fields>, ListError | E> => {
  let loaded = 0
  const byPath = new Map(pathsOf(nodes))

  /** What a query gives, as long as it is not more than a run may load. */
  const collect = Effect.fnUntraced(function* (target: string, path: string, request: Query) {
    const found: Array<Fields> = []
    // Those that run at once are counted together.
    const add = (one: Fields) => {
      loaded += 1
      found.push(one)
      return loaded > most ? Effect.fail(tooMany(path)) : Effect.void
    }
    yield* Stream.runForEach(sources[target]!.query(request), add)
    yield* count(found.length)
    return found
  })

  /** The conditions of a node on documents with some values. */
  const queryOf = (
    field: string,
    values: ReadonlyArray<unknown>,
    way: Way,
    node: Node | undefined,
    limit?: number
  ): Query => {
    const by = { [field]: values.length === 1 ? { eq: values[0] } : { in: values } }
    return {
      where: node?.where === undefined ? by : { $and: [by, node.where] },
      ...(node?.order === undefined ? {} : { order: node.order, limit: limit ?? mostOrdered }),
      ...(limit === undefined ? {} : { limit }),
      ...(way === "scan" ? { scan: true } : {})
    }
  }

  const answered = (entry: Request.Entry<Asked>, answer: unknown) =>
    // The request says what it is answered with.
    Effect.sync(() => entry.completeUnsafe(Exit.succeed(answer) as never))

  /** All that one query answers: documents by their ids, or by a read of the whole resource. */
  const together = Effect.fnUntraced(function* (entries: ReadonlyArray<Request.Entry<Asked>>) {
    const { field, path, target, way } = entries[0]!.request
    const values = entries.map(({ request }) => request.value)
    const request = queryOf(field, values, way, byPath.get(path))
    const found = yield* collect(target, path === "" ? target : path, request)
    if (request.order !== undefined && found.length === mostOrdered) return yield* Effect.fail(tooMany(path))
    const byValue = Map.groupBy(found, (one) => one[field])
    for (const entry of entries) {
      const mine = byValue.get(entry.request.value) ?? []
      yield* answered(entry, entry.request._tag === "One" ? mine[0] : mine.slice(0, entry.request.limit))
    }
  })

  const alone = Effect.fnUntraced(function* (entry: Request.Entry<Asked>) {
    const { request } = entry
    const { field, path, target, value, way } = request
    const limit = request._tag === "One" ? 1 : request.limit
    const query = queryOf(field, [value], way, byPath.get(path), limit)
    const found = yield* collect(target, path === "" ? target : path, query)
    if (query.order !== undefined && limit === undefined && found.length === mostOrdered) {
      return yield* Effect.fail(tooMany(path))
    }
    yield* answered(entry, request._tag === "One" ? found[0] : found)
  })

  const program = Effect.gen(function* () {
    const base = RequestResolver.make<Asked>((entries) => {
      const groups: Array<Effect.Effect<void, unknown>> = []
      const joined = new Map<string, Array<Request.Entry<Asked>>>()
      for (const entry of entries) {
        const { _tag, field, path, target, way } = entry.request
        if (way === "scan" || (way === "id" && _tag === "One")) {
          const key = JSON.stringify([_tag, target, field, path])
          const group = joined.get(key)
          if (group === undefined) joined.set(key, [entry])
          else group.push(entry)
        } else groups.push(alone(entry))
      }
      for (const group of joined.values()) {
        // A read of the whole resource answers all of them.
        const size = group[0]!.request.way === "scan" ? group.length : mostIds
        for (let at = 0; at < group.length; at += size) groups.push(together(group.slice(at, at + size)))
      }
      return Effect.forEach(groups, (group) => group, { concurrency, discard: true })
    })
    const resolver = yield* RequestResolver.withCache(base, { capacity: Number.MAX_SAFE_INTEGER })

    const askEach = <K, A>(keys: ReadonlyArray<K>, ask: (key: K) => Effect.Effect<A, unknown>) =>
      Effect.map(
        Effect.forEach(keys, ask, { concurrency: "unbounded" }),
        (answers) => new Map(keys.map((key, i) => [key, answers[i]!]))
      )

    /** The documents by their ids, in the order of the ids, as many as there may be. */
    const byIds = Effect.fnUntraced(function* (node: Node, ids: ReadonlyArray<unknown>) {
      const { foreign, target, way } = node.relation
      const path = node.where === undefined ? "" : node.path
      const found: Array<Fields> = []
      const step = node.limit ?? Math.max(ids.length, 1)
      for (let at = 0; at < ids.length && found.length < (node.limit ?? Number.POSITIVE_INFINITY); at += step) {
        const answers = yield* Effect.forEach(
          ids.slice(at, at + step),
          (value) => Effect.request(new One({ target, field: foreign, way, value, path }), resolver),
          { concurrency: "unbounded" }
        )
        for (const answer of answers) if (answer !== undefined) found.push(answer)
      }
      return node.limit === undefined ? found : found.slice(0, node.limit)
    })

    /** What documents with a value have by a node, without what is below. */
    const related = Effect.fnUntraced(function* (node: Node, value: unknown) {
      const { foreign: field, kind, target, through, way } = node.relation
      if (through !== undefined) {
        const rows = yield* Effect.request(
          new Several({
            target: through.resource,
            field: through.from,
            way: through.way,
            value,
            path: "",
            limit: undefined
          }),
          resolver
        )
        const ids = [...new Set(rows.map((row) => row[through.to]).filter(isKey))]
        if (node.order === undefined || ids.length === 0) return yield* byIds(node, ids)
        return yield* collect(target, node.path, queryOf(field, ids, "id", node, node.limit))
      }
      if (kind === "hasMany") {
        return yield* Effect.request(
          new Several({ target, field, way, value, path: node.path, limit: node.limit }),
          resolver
        )
      }
      const isOrdered = way === "partition" && node.order !== undefined
      const path = node.where === undefined && !isOrdered ? "" : node.path
      const one = yield* Effect.request(new One({ target, field, way, value, path }), resolver)
      return one === undefined ? [] : [one]
    })

    const include = (
      nodes: ReadonlyArray<Node>,
      documents: ReadonlyArray<Fields>
    ): Effect.Effect<ReadonlyArray<Fields>, unknown> =>
      Effect.gen(function* () {
        if (nodes.length === 0 || documents.length === 0) return documents
        const columns = yield* Effect.forEach(nodes, (node) => column(node, documents), { concurrency: "unbounded" })
        return documents.map((document, row) =>
          extend(document, Object.fromEntries(nodes.map(({ relation: { name } }, i) => [name, columns[i]![row]])))
        )
      })

    const column = Effect.fnUntraced(function* (node: Node, documents: ReadonlyArray<Fields>) {
      const { kind, local } = node.relation
      const values = [...new Set(documents.map((document) => document[local]).filter(isKey))]
      const found = yield* askEach(values, (value) => related(node, value))
      // A document that belongs to several is completed once.
      const distinct = [...new Set([...found.values()].flat())]
      const completed = yield* include(node.children, distinct)
      const shown = new Map(distinct.map((document, i) => [document, shownBy(node, document, completed[i]!, show)]))
      const isMany = kind === "hasMany" || kind === "belongsToMany"
      return documents.map((document) => {
        const mine = (found.get(document[local]) ?? []).flatMap((one) => shown.get(one) ?? [])
        return isMany ? mine : (mine[0] ?? null)
      })
    })

    return yield* include(nodes, documents)
  })
  return program as Effect.Effect<ReadonlyArray<Fields>, ListError | E>
}

const pathsOf = (nodes: ReadonlyArray<Node>): ReadonlyArray<readonly [string, Node]> =>
  nodes.flatMap((node) => [[node.path, node] as const, ...pathsOf(node.children)])

const isKey = (value: unknown): boolean => value !== undefined && value !== null

/** A copy of a document with more fields, of the same class. */
const extend = (document: Fields, fields: Fields): Fields =>
  Object.assign(Object.create(Object.getPrototypeOf(document) as object | null), document, fields) as Fields

/**
 * Returns a document with what is included, and the fields that are wanted of it; `undefined` where it is not shown.
 *
 * @category conversions
 * @since 0.1.0
 */
export const shownBy = (
  { children, relation: { target }, select }: Node,
  document: Fields,
  completed: Fields,
  show: Options<never>["show"]
): Fields | undefined => {
  const names = children.map(({ relation }) => relation.name)
  if (show === undefined) return select === undefined ? completed : pick(completed, [...select, ...names])
  const seen = show(target, document)
  if (seen === undefined) return undefined
  return { ...(select === undefined ? seen : pick(seen, select)), ...pick(completed, names) }
}

const pick = (fields: Fields, names: ReadonlyArray<string>): Fields =>
  Object.fromEntries(names.filter((name) => name in fields).map((name) => [name, fields[name]]))
