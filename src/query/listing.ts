/**
 * Finding documents by listing keys: all of a resource, or those of a partition.
 *
 * **Details**
 *
 * A marker is a hint. What it points to is read, and counts only if that document owns this very marker, so that what a
 * crash has left behind is passed over. A document that moves from one value to another while a stream runs may be met at
 * both or at neither of them; one that does not move is met once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Cursor from "./cursor.ts"
import type { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Base, DocumentStore } from "../document/documents.ts"
import type { FieldProblem, Json, JsonObject } from "../encoding/Json.ts"
import type * as Partition from "../Partition.ts"
import type * as Query from "../Query.ts"
import type { ListError } from "../Repository.ts"
import type * as Operands from "./operandCodecs.ts"
import { type ListPage, maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"

/**
 * What a planner asks for: the values and bounds are in stored form already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Planned extends Query.Within {
  readonly isStored?: true | undefined
}

const defaultConcurrency = 16

/** A page that hides documents looks at no more than this many: it ends, shorter than its limit, with a cursor. */
const mostExamined = 1_000

/** Which documents a page has. */
interface PageCondition<A, E> {
  readonly keep: (base: Base<A>) => Effect.Effect<boolean, E>
  /** Whether it hides documents from who asks, so that the cursor must not tell of them. */
  readonly hides: boolean
}

/**
 * @category models
 * @since 0.1.0
 */
export type Listing<A> = Effect.Success<ReturnType<typeof make<A>>>

/** A key that a listing has found, and the marker that it is, in a partition. */
interface Hit {
  readonly key: string
  readonly id: string
  readonly marker: Partition.Marker | undefined
}

/** Which keys a listing goes through. */
interface Range extends Partition.Selection {
  readonly partition: Partition.Partition | undefined
  /** How many of its fields have a value. */
  readonly given: number
  /** What tells this request from others. */
  readonly query: string
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A>(
  name: string,
  database: Database["Service"],
  documents: DocumentStore<A>,
  operands: Operands.Operands
) {
  const { store, capabilities } = database
  const { fromStore, failure, invalid, missing } = documents
  const whole: Range = {
    prefix: Document.keyPrefix(name),
    least: undefined,
    most: undefined,
    partition: undefined,
    given: 0,
    query: JSON.stringify([name])
  }

  // --- keys ------------------------------------------------------------------

  const rest = (range: Range, key: string): string => key.slice(range.prefix.length)

  const isWithin = (range: Range, key: string): boolean => {
    if (range.least === undefined && range.most === undefined) return true
    const segment = range.partition?.segment(rest(range, key)) ?? ""
    return (range.least === undefined || segment >= range.least) && (range.most === undefined || segment <= range.most)
  }

  const hitOf = (range: Range, key: string): Option.Option<Hit> => {
    if (range.partition === undefined) {
      return Option.map(Document.idOf(name, key), (id) => ({ key, id, marker: undefined }))
    }
    const marker = range.partition.parse(key)
    return marker === undefined ? Option.none() : Option.some({ key, id: marker.id, marker })
  }

  /** One LIST: the hits, and where to go on. `after` is a key, or the store's token where it lists without order. */
  const pageOf = Effect.fnUntraced(function* (operation: string, range: Range, maxKeys: number, after?: string) {
    const { prefix, least, most } = range
    const from = least === undefined ? undefined : prefix + least
    const position = capabilities.orderedList
      ? { startAfter: after ?? from, token: undefined }
      : { startAfter: undefined, token: after }
    const page: ListPage = yield* Effect.mapError(
      store.list({ prefix, maxKeys, keysOnly: true, ...position }),
      fromStore(operation)
    )
    const keys = page.entries.map((entry) => entry.key)
    const last = keys.at(-1)
    const isPast =
      capabilities.orderedList &&
      most !== undefined &&
      last !== undefined &&
      !isWithin({ ...range, least: undefined }, last)
    const next = page.nextToken === undefined || isPast ? undefined : capabilities.orderedList ? last : page.nextToken
    const hits = keys.filter((key) => isWithin(range, key)).flatMap((key) => Option.toArray(hitOf(range, key)))
    return { hits, next }
  })

  const pages = (operation: string, range: Range, startAfter?: string) =>
    Stream.paginate(startAfter, (after) =>
      Effect.map(
        pageOf(operation, range, maxKeysPerRequest, after),
        ({ hits, next }) => [[hits], Option.fromUndefinedOr(next)] as const
      )
    )

  // --- documents -------------------------------------------------------------

  const owns = (stored: Document.Stored, partition: Partition.Partition, marker: Partition.Marker): boolean => {
    const owned = Object.hasOwn(stored.markers, partition.name) ? stored.markers[partition.name] : undefined
    return owned?.values === marker.values && owned.writeId === marker.writeId
  }

  const storedOf = Effect.fnUntraced(function* (operation: string, range: Range, { id, marker }: Hit) {
    const version = yield* documents.loadVersion(operation, id)
    const counts =
      version !== undefined &&
      (marker === undefined || range.partition === undefined || owns(version.stored, range.partition, marker))
    return counts ? { id, ...version } : undefined
  })

  const baseOf = Effect.fnUntraced(function* (operation: string, range: Range, hit: Hit) {
    const found = yield* storedOf(operation, range, hit)
    return found === undefined ? undefined : yield* documents.decode(operation, found.id, found.stored, found.isSettled)
  })

  /** Hits, enough at a time to keep every request slot busy, few enough to be read soon after they were listed. */
  const batches = (operation: string, range: Range, options: Query.Concurrency | undefined, startAfter?: string) =>
    pages(operation, range, startAfter).pipe(
      Stream.flatMap(Stream.fromArray),
      Stream.grouped((options?.concurrency ?? defaultConcurrency) * 4)
    )

  const through = <X>(
    operation: string,
    range: Range,
    options: Query.Concurrency | undefined,
    read: (hit: Hit) => Effect.Effect<X | undefined, DbError.DbError>
  ): Stream.Stream<X, DbError.DbError> =>
    batches(operation, range, options).pipe(
      Stream.mapEffect((hits) =>
        Effect.forEach(hits, read, { concurrency: options?.concurrency ?? defaultConcurrency })
      ),
      Stream.flatMap((found) => Stream.fromArray(found.filter((one) => one !== undefined)))
    )

  const bases = (
    operation: string,
    range: Range,
    options: Query.Concurrency | undefined
  ): Stream.Stream<Base<A>, DbError.DbError> =>
    through(operation, range, options, (hit) => baseOf(operation, range, hit))

  const cursors = yield* Effect.cached(Effect.map(database.salt, Cursor.make))

  const readCursor = Effect.fnUntraced(function* (query: string, given: string | undefined) {
    if (given === undefined) return undefined
    const position = yield* (yield* cursors).read(query, given)
    return position ?? (yield* invalid(["cursor"], "Expected the cursor of the page before, of the same request"))
  })

  const makeCursor = (query: string, position: string) => Effect.flatMap(cursors, ({ make }) => make(query, position))

  /** Where a page ended: after a key; on a store that lists without order, after so many entries of one of its pages. */
  interface Position {
    readonly after: string | undefined
    readonly skip: number
  }

  const page = Effect.fnUntraced(function* <E = never>(
    operation: string,
    range: Range,
    request: (Query.PageRequest & Query.Concurrency) | undefined,
    more = "",
    condition?: PageCondition<A, E>
  ) {
    const keep = condition?.keep
    const hides = condition?.hides === true
    const limit = request?.limit ?? 100
    if (!Number.isInteger(limit) || limit < 1 || limit > maxKeysPerRequest) {
      return yield* invalid(["limit"], `Expected an integer from 1 to ${maxKeysPerRequest}`)
    }
    const query = range.query + more
    const text = yield* readCursor(query, request?.cursor)
    const begin: Position = text === undefined ? { after: undefined, skip: 0 } : JSON.parse(text)
    const concurrency = request?.concurrency ?? defaultConcurrency
    const found: Array<Base<A>> = []
    let { after, skip } = begin
    let left = hides ? mostExamined : Number.POSITIVE_INFINITY
    for (;;) {
      // Without a condition most keys count; with one, few may.
      const size = capabilities.orderedList && keep === undefined ? limit - found.length : maxKeysPerRequest
      const { hits, next } = yield* pageOf(operation, range, size, after)
      let examined = skip
      while (examined < hits.length && found.length < limit && left > 0) {
        const size = Math.min(left, Math.max(limit - found.length, concurrency))
        const some = hits.slice(examined, examined + size)
        const bases = yield* Effect.forEach(some, (hit) => baseOf(operation, range, hit), { concurrency })
        for (const base of bases) {
          if (found.length === limit) break
          examined += 1
          left -= 1
          if (base !== undefined && (keep === undefined || (yield* keep(base)))) found.push(base)
        }
      }
      const isWhole = examined >= hits.length
      const isFull = found.length >= limit
      if (isWhole && next !== undefined) {
        after = next
        skip = 0
      } else if (capabilities.orderedList) {
        after = hits[examined - 1]?.key ?? after
        skip = 0
      } else skip = examined
      // Whether hidden documents come after a full page is not to be told: the next page may be empty.
      const isOver = isWhole && next === undefined && !(hides && isFull)
      // Documents of the whole resource that are gone by now leave a page short, as they always did.
      if (isOver || isFull || left <= 0 || (range.partition === undefined && keep === undefined)) {
        const cursor = isOver ? undefined : yield* makeCursor(query, JSON.stringify({ after, skip }))
        return { bases: found, cursor }
      }
    }
  })

  // --- partitions ------------------------------------------------------------

  /** What a request goes through of a partition, its values and bounds brought into stored form. */
  const select = (
    partition: Partition.Partition,
    { values = {}, from, to, startsWith, isStored }: Planned
  ): Result.Result<Partition.Selection, FieldProblem> => {
    if (isStored === true) return partition.select(values, { from, to, startsWith })
    const { fields } = partition.definition
    const stored: Record<string, unknown> = { ...values }
    const bounds: { from?: unknown; to?: unknown; startsWith: string | undefined } = { startsWith }
    const next = fields.find((_, i) => values[partition.fields[i]!] === undefined)
    for (const [i, { path, transforms }] of fields.entries()) {
      const name = partition.fields[i]!
      if (!Object.hasOwn(values, name) || values[name] === undefined) continue
      const fitted = operands.forKey(path, transforms, values[name])
      if (Result.isFailure(fitted)) return Result.fail({ path, message: fitted.failure })
      stored[name] = fitted.success
    }
    for (const [edge, value] of [["from", from] as const, ["to", to] as const]) {
      if (value === undefined) continue
      bounds[edge] = value
      if (next === undefined) continue
      const fitted = operands.forKey(next.path, next.transforms, value)
      if (Result.isFailure(fitted)) {
        const message = `Expected bounds that are numbers or dates; of ${next.path.join(".")}: ${fitted.failure}`
        return Result.fail({ path: next.path, message })
      }
      bounds[edge] = fitted.success
    }
    return partition.select(stored, bounds)
  }

  /** The keys that a request goes through, or what is wrong with it. */
  const rangeOf = Effect.fnUntraced(function* (
    operation: string,
    request: Planned | undefined
  ): Effect.fn.Return<Range, ListError> {
    const { partition: label, values = {}, from, to, startsWith } = request ?? {}
    if (label === undefined) {
      const given = [Object.keys(values).length > 0 && "values", from !== undefined && "from", to !== undefined && "to"]
      const alone = [...given, startsWith !== undefined && "startsWith"].find((one) => one !== false)
      return alone === undefined ? whole : yield* invalid([alone], "Expected a partition beside it")
    }
    const { partitions } = yield* documents.indexes
    const partition = partitions.get(label)
    if (partition === undefined) {
      const names = [...partitions.keys()].join(", ")
      return yield* invalid(["partition"], `Expected a partition of ${name}: ${names === "" ? "it has none" : names}`)
    }
    const selection = select(partition, request ?? {})
    if (Result.isFailure(selection)) return yield* invalid(selection.failure.path, selection.failure.message)
    if (!partition.isReady) {
      const description = `partition ${label} of ${name} is not complete: run backfill to its end`
      return yield* failure(operation, new StoreError.Unsupported({ feature: "partition", description }))
    }
    const { prefix, least, most } = selection.success
    const given = Object.values(values).filter((value) => value !== undefined).length
    return { ...selection.success, partition, given, query: JSON.stringify([prefix, least, most]) }
  })

  const streamed = <X>(
    operation: string,
    request: Planned | undefined,
    use: (range: Range) => Stream.Stream<X, ListError>
  ): Stream.Stream<X, ListError> => Stream.unwrap(Effect.map(rangeOf(operation, request), use))

  const needsPartition = invalid(["partition"], "Expected the name of a partition")

  const distinctIn = (operation: string, range: Range): Stream.Stream<Json, ListError> => {
    const { partition, given } = range
    if (partition === undefined) return Stream.fail(needsPartition)
    const field = partition.fields[given]
    if (field === undefined) {
      return Stream.fail(invalid([], `Expected fewer values: every field of partition ${partition.name} has one`))
    }
    const valueOf = ({ marker }: Hit): Json => partition.valuesOf(marker?.values ?? "")[field] ?? null
    const segmentOf = (key: string): string => key.split("/")[partition.prefix.split("/").length - 1 + given] ?? ""
    if (!capabilities.orderedList) {
      const seen = new Set<Json>()
      return through(operation, range, undefined, (hit) =>
        seen.has(valueOf(hit))
          ? Effect.succeed(undefined)
          : Effect.map(storedOf(operation, range, hit), (found) => {
              if (found === undefined || seen.has(valueOf(hit))) return undefined
              seen.add(valueOf(hit))
              return { value: valueOf(hit) }
            })
      ).pipe(Stream.map(({ value }) => value))
    }
    /** The next value that some document has, and a key after all of its markers. */
    const next = Effect.fnUntraced(function* (from: string | undefined) {
      let after = from
      for (;;) {
        const { hits, next } = yield* pageOf(operation, range, 10, after)
        for (const hit of hits) {
          if ((yield* storedOf(operation, range, hit)) === undefined) continue
          const at = hit.key.split("/").slice(0, partition.prefix.split("/").length - 1 + given)
          // `0` follows `/`: what comes after every key that goes on with `/`.
          return [[valueOf(hit)], Option.some(`${[...at, segmentOf(hit.key)].join("/")}0`)] as const
        }
        if (next === undefined) return [[], Option.none<string>()] as const
        after = next
      }
    })
    return Stream.paginate(undefined as string | undefined, next)
  }

  const coveredIn = (
    operation: string,
    range: Range,
    options: (Query.Concurrency & Query.Verify) | undefined
  ): Stream.Stream<Query.Covered, ListError> => {
    const { partition } = range
    if (partition === undefined) return Stream.fail(needsPartition)
    const { covering } = partition.definition
    if (covering === undefined) {
      return Stream.fail(invalid(["partition"], `Expected a partition with covered fields; ${partition.name} has none`))
    }
    const read = Effect.fnUntraced(function* (hit: Hit) {
      const marker = hit.marker!
      const { id } = hit
      const values = partition.valuesOf(marker.values)
      const fields = partition.covered(marker)
      if (fields !== undefined && options?.verify !== true) return { id, values, fields }
      const found = yield* storedOf(operation, range, hit)
      if (found === undefined) return undefined
      if (fields !== undefined) return { id, values, fields }
      const { json } = yield* documents.decode(operation, id, found.stored)
      const valueAt = documents.valueAtOf(json, found.stored)
      const entries = covering.flatMap((path) => {
        const value = valueAt(path)
        return value === undefined ? [] : [[path.join("."), value] as const]
      })
      return { id, values, fields: Object.fromEntries(entries) as JsonObject }
    })
    return through(operation, range, options, read)
  }

  return {
    whole,
    select,
    pages,
    batches,
    /** The stored version of every document, its fields still encoded. */
    versions: (operation: string) =>
      Stream.map(
        through(operation, whole, undefined, (hit) => storedOf(operation, whole, hit)),
        ({ stored }) => stored
      ),
    bases: (operation: string, options: (Planned & Query.Concurrency) | undefined) =>
      streamed(operation, options, (range) => bases(operation, range, options)),
    page: Effect.fnUntraced(function* (
      operation: string,
      request: (Query.Within & Query.PageRequest & Query.Concurrency) | undefined
    ) {
      return yield* page(operation, yield* rangeOf(operation, request), request)
    }),
    /** Like `bases`, but a document that cannot be read is told in its place. */
    results: (operation: string, options: (Query.Within & Query.Concurrency) | undefined) =>
      streamed(operation, options, (range) =>
        through(operation, range, options, (hit) =>
          Effect.map(Effect.result(baseOf(operation, range, hit)), (result) => {
            if (Result.isFailure(result)) return { id: hit.id, result: Result.fail(result.failure) }
            return result.success === undefined ? undefined : { id: hit.id, result: Result.succeed(result.success) }
          })
        )
      ),
    /** A page of the documents that meet a condition; `more` tells it from others. */
    filteredPage: Effect.fnUntraced(function* <E>(
      operation: string,
      request: Planned & Query.PageRequest & Query.Concurrency,
      more: string,
      condition: PageCondition<A, E>
    ) {
      const { bases, cursor } = yield* page(operation, yield* rangeOf(operation, request), request, more, condition)
      return { items: bases, cursor }
    }),
    readCursor,
    makeCursor,
    /** Of the whole resource the keys alone tell; those of a partition are checked. */
    ids: (operation: string, options: (Query.Within & Query.Concurrency) | undefined) =>
      streamed(operation, options, (range) =>
        range.partition === undefined
          ? Stream.flatMap(pages(operation, range), (hits) => Stream.fromArray(hits.map((hit) => hit.id)))
          : through(operation, range, options, (hit) =>
              Effect.map(storedOf(operation, range, hit), (found) => found?.id)
            )
      ),
    count: Effect.fnUntraced(function* (
      operation: string,
      options: (Query.Within & Query.Concurrency & Query.Verify) | undefined
    ) {
      const range = yield* rangeOf(operation, options)
      if (range.partition !== undefined && options?.verify !== false) {
        return yield* Stream.runCount(through(operation, range, options, (hit) => storedOf(operation, range, hit)))
      }
      return yield* Stream.runFold(
        pages(operation, range),
        () => 0,
        (total, hits) => total + hits.length
      )
    }),
    getFrom: Effect.fnUntraced(function* (operation: string, id: string, request: Query.Within) {
      const range = yield* rangeOf(operation, request)
      const { partition } = range
      if (partition === undefined) return yield* needsPartition
      const stored = yield* documents.loadStored(operation, id)
      const owned =
        stored !== undefined && Object.hasOwn(stored.markers, partition.name)
          ? stored.markers[partition.name]
          : undefined
      const key = owned === undefined ? "" : partition.key(id, owned)
      if (stored === undefined || !key.startsWith(range.prefix) || !isWithin(range, key)) return yield* missing(id)
      return yield* documents.decode(operation, id, stored)
    }),
    distinct: (operation: string, request: Query.Within) =>
      streamed(operation, request, (range) => distinctIn(operation, range)),
    covered: (operation: string, request: Query.Within & Query.Concurrency & Query.Verify) =>
      streamed(operation, request, (range) => coveredIn(operation, range, request))
  }
})
