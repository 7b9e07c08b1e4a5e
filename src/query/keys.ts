/**
 * The keys that a request goes through: those of all documents of a resource, the markers of a partition, or the keys of a
 * companion.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Companion from "../Companion.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Documents } from "../document/documents.ts"
import { byASecret } from "../document/indexes.ts"
import type { FieldProblem, JsonObject } from "../encoding/Json.ts"
import type * as Partition from "../Partition.ts"
import { ambient } from "../internal/ambient.ts"
import { compareUtf8 } from "../internal/text.ts"
import type * as Query from "../Query.ts"
import { type ListEntry, type ListPage, type ListRequest, listSome, maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import type { Bound } from "./bounds.ts"
import * as idSpans from "./idSpans.ts"
import type { OperandCodecs } from "./operandCodecs.ts"
import * as staleness from "./staleness.ts"
import * as TopK from "./topK.ts"

/**
 * What a planner asks for: the values and bounds are in stored form already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Planned extends Query.Within, Query.Bounded {
  readonly isStored?: true | undefined
  /** Whether documents with the same value in the field after those given come by their ids, as a sort has them. */
  readonly isSorted?: boolean | undefined
  /** What all documents meet that are wanted; those that do not may be left out. */
  readonly narrow?: Narrow | undefined
  /** How many will do, whichever they are. */
  readonly most?: number | undefined
  /** Within which the ids lie. Of a partition, all fields of which have values; on a store that lists in order. */
  readonly ids?: idSpans.IdBound | undefined
}

/**
 * Conditions: the fields that they are about, within which bounds a document is that meets them, and whether one does.
 *
 * @category models
 * @since 0.1.0
 */
export interface Narrow {
  readonly paths: ReadonlyArray<ReadonlyArray<string>>
  readonly bounds: ReadonlyArray<Bound>
  readonly matches: (document: JsonObject) => boolean
}

/**
 * A key that a listing has found, and the marker that it is, in a partition.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hit {
  readonly key: string
  readonly id: string
  readonly marker: Partition.Marker | undefined
  /** Whether it has the size of what deletions leave: it is that, or a document that cannot be read. */
  readonly isFlagged: boolean
  /** A copy of the object, as it was when it was listed. */
  readonly object?: Copy | undefined
  /** The ETag that was listed, where the range asks for it. */
  readonly etag?: string | undefined
}

/**
 * The object of a document, as far as it is read.
 *
 * @category models
 * @since 0.1.0
 */
export type Copy = Parameters<typeof Document.fromObject>[0]

/**
 * Which keys a listing goes through.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range extends Partition.Selection {
  readonly partition: Partition.Partition | undefined
  readonly companion?: Companion.Compiled | undefined
  /** How many of its fields have a value. */
  readonly given: number
  /** What tells this request from others. */
  readonly query: string
  /** Whether hits with the same value in the field after those given come by their ids. */
  readonly isSorted: boolean
  /** Whether hits are to have their ETags. */
  readonly withEtags?: boolean | undefined
  /** Within which the ids lie, and where keys of such ids are, in the order in which they are gone through. */
  readonly ids?: { readonly bound: idSpans.IdBound; readonly spans: ReadonlyArray<idSpans.Span> } | undefined
}

/**
 * What one LIST has found, and where to go on: after a key, or, on a store that lists without order, with its token.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyPage {
  readonly hits: ReadonlyArray<Hit>
  readonly next: string | undefined
  /** Whether it has met what may be left of deletions. */
  readonly isThinned: boolean
}

/** The entries of one LIST, and where to go on. */
interface EntryPage {
  readonly entries: ReadonlyArray<ListEntry>
  readonly next: string | undefined
}

/**
 * Listings of the keys of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keys {
  /** All documents of the resource. */
  readonly whole: Range
  /**
   * The keys that a request goes through. `InvalidInput`: no such partition, values or bounds that do not fit;
   * `Incomplete`: the partition is. What is known of a partition has to be fresh.
   */
  readonly rangeOf: (request: Planned | undefined) => Effect.Effect<Range, DbError.InvalidInput | DbError.Failure>
  /** What a request goes through of a partition, its values and bounds brought into stored form. */
  readonly select: (
    partition: Partition.Partition,
    request: Planned
  ) => Result.Result<Partition.Selection, FieldProblem>
  /** Whether a key with the prefix of a range lies within its bounds. */
  readonly isWithin: (range: Range, key: string) => boolean
  /**
   * One LIST; one more before the commit in a transaction that is told so. Of a range that is sorted, as many as it takes to
   * come to the end of a run of hits with the same value; `maxKeys` of them are held at most.
   */
  readonly page: (
    range: Range,
    maxKeys: number,
    after: string | undefined
  ) => Effect.Effect<KeyPage, StoreError.StoreError | StoreError.Unsupported>
  /** How many hits a range has, as far as their keys and sizes tell. 1 LIST for each 1,000. */
  readonly count: (range: Range) => Effect.Effect<number, StoreError.StoreError | StoreError.Unsupported>
  /** The ids of all documents of the resource, as far as keys and sizes tell, as they are drawn. 1 LIST for each 1,000. */
  readonly ids: Stream.Stream<string, StoreError.StoreError | StoreError.Unsupported>
  /** Every page of a range, as it is drawn. 1 LIST for each 1,000; the first one may be of fewer. */
  readonly pages: (
    range: Range,
    startAfter?: string,
    firstKeys?: number
  ) => Stream.Stream<ReadonlyArray<Hit>, StoreError.StoreError | StoreError.Unsupported>
}

/**
 * More than this many documents are not kept in memory to be put in order: 10,000.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostInMemory = 10_000

const byId = (a: Hit, b: Hit): number => compareUtf8(a.id, b.id) || compareUtf8(a.key, b.key)

/** Where a listing begins. */
type Position = Pick<ListRequest, "startAfter" | "token">

/**
 * Makes what lists the keys of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ context, indexes }: Documents<A>, operands: OperandCodecs): Keys => {
  const { capabilities, invalid, name, store } = context
  const whole: Range = {
    prefix: Document.keyPrefix(name),
    least: undefined,
    most: undefined,
    partition: undefined,
    given: 0,
    query: JSON.stringify([name]),
    isSorted: false
  }

  /** Whether a deletion never leaves an object behind, not even in a crash: then sizes need not be known. */
  const leavesNothing = () =>
    capabilities.sureAnswers === true &&
    capabilities.conditionalDelete &&
    !context.settings.history &&
    !context.mayBeJournaled()

  const idOf = Document.idReader(name)
  const hasId = Document.idTest(name)

  const isThere = ({ size }: ListEntry): boolean => size !== Document.deletionBytes

  const isWithin = (range: Range, key: string): boolean => {
    if (range.least === undefined && range.most === undefined) return true
    const segment = segmentOf(range, key)
    return (range.least === undefined || segment >= range.least) && (range.most === undefined || segment <= range.most)
  }

  const hitOf = (range: Range, key: string, isFlagged = false, etag?: string): Option.Option<Hit> => {
    if (range.companion !== undefined) {
      const parsed = range.companion.parse(key)
      return Option.map(Option.fromUndefinedOr(parsed), ({ id }) => ({ key, id, marker: undefined, isFlagged: false }))
    }
    if (range.partition === undefined) {
      const id = idOf(key)
      return id === undefined ? Option.none() : Option.some({ key, id, marker: undefined, isFlagged, etag })
    }
    const marker = range.partition.parse(key)
    return marker === undefined ? Option.none() : Option.some({ key, id: marker.id, marker, isFlagged: false })
  }

  const segmentOf = ({ companion, partition, prefix }: Range, key: string): string =>
    (companion ?? partition)?.segment(key.slice(prefix.length)) ?? ""

  const isOfDocuments = ({ companion, partition }: Range) => partition === undefined && companion === undefined

  const listed = (
    range: Range,
    maxKeys: number,
    position: Position
  ): Effect.Effect<ListPage, StoreError.StoreError> => {
    const keysOnly = !isOfDocuments(range) || (range.withEtags !== true && leavesNothing())
    return listSome(store, { prefix: range.prefix, maxKeys, keysOnly, ...position })
  }

  /** The keys of a page, but for what deletions have left. */
  const keysIn = (range: Range, { entries }: ListPage): ReadonlyArray<string> =>
    (isOfDocuments(range) ? entries.filter(isThere) : entries).map(({ key }) => key)

  /** Whether a listing finds the same again, but for keys that the transaction itself has added. 1 LIST, more for many of them. */
  const isListedAgain = (
    range: Range,
    { keys, nextToken }: { readonly keys: ReadonlyArray<string>; readonly nextToken: string | undefined },
    maxKeys: number,
    position: Position
  ) =>
    Effect.fnUntraced(function* (added: ReadonlySet<string>): Effect.fn.Return<boolean, StoreError.StoreError> {
      const now: Array<string> = []
      for (let at = position; ;) {
        const page = yield* listed(range, maxKeys, at)
        now.push(...keysIn(range, page).filter((key) => !added.has(key)))
        const isOver = page.nextToken === undefined
        // Of a page that was followed by others, only as much as it had.
        const isEnough = nextToken !== undefined && now.length >= keys.length
        if (isOver || isEnough) {
          const same = nextToken === undefined ? now : now.slice(0, keys.length)
          return same.length === keys.length && same.every((key, i) => key === keys[i])
        }
        at = capabilities.orderedList
          ? { startAfter: page.entries.at(-1)?.key, token: undefined }
          : { startAfter: undefined, token: page.nextToken }
      }
    })

  /** Has a listing made again before a transaction is committed, or refuses it, as its options say. */
  const noted = Effect.fnUntraced(function* (range: Range, page: ListPage, maxKeys: number, position: Position) {
    const transaction = yield* Transaction.Current
    if (transaction === undefined || transaction.listings === "committed") return
    const found = { keys: keysIn(range, page), nextToken: page.nextToken }
    const again = isListedAgain(range, found, maxKeys, position)
    const label = JSON.stringify([maxKeys, position])
    const documents = Document.keyPrefix(name)
    const hasWritten = [...transaction.writes.keys()].some((key) => key.startsWith(documents))
    if (transaction.listings === "refuse" || hasWritten) {
      const description = hasWritten
        ? `the transaction has written documents of ${name}, which a listing does not show: list first`
        : "the transaction was told to refuse listings, which are not looked at again before the commit"
      return yield* new StoreError.Unsupported({ feature: "listing in a transaction", description })
    }
    transaction.reads.set(`list ${range.prefix} ${label}`, (writes) =>
      again(new Set([...writes.values()].flatMap(({ added }) => added)))
    )
  })

  /**
   * The same of a range of ids. A LIST goes on past the end of a span, and what it finds there of the next ones is taken, so that spans
   * without keys cost one only where there are more than a thousand others between them. Where a span begins is in place of a key.
   */
  const spanned = Effect.fnUntraced(function* (
    range: Range,
    spans: ReadonlyArray<idSpans.Span>,
    maxKeys: number,
    after: string | undefined
  ): Effect.fn.Return<EntryPage, StoreError.StoreError | StoreError.Unsupported> {
    const begun = spans.findIndex((span) => after !== undefined && span.after <= after && after < span.before)
    const first = Math.max(0, begun)
    const start = spans[first]
    if (start === undefined) return { entries: [], next: undefined }
    const from = begun === -1 ? start.after : (after ?? start.after)
    const position: Position = { startAfter: from, token: undefined }
    const page = yield* listed(range, maxKeys, position)
    yield* noted(range, page, maxKeys, position)
    const isAfterThat = (i: number) => i + 1 < spans.length && spans[i + 1]!.after > spans[i]!.after
    const entries: Array<ListEntry> = []
    let at: number | undefined = first
    for (const entry of page.entries) {
      while (at !== undefined && entry.key >= spans[at]!.before) at = isAfterThat(at) ? at + 1 : undefined
      if (at === undefined) break
      if (entry.key > spans[at]!.after) entries.push(entry)
    }
    if (at !== undefined && page.nextToken !== undefined) {
      const last = page.entries.at(-1)?.key ?? from
      return { entries, next: last > spans[at]!.after ? last : spans[at]!.after }
    }
    let end = first
    while (isAfterThat(end)) end += 1
    return { entries, next: spans[end + 1]?.after }
  })

  /** The entries of one LIST, and where it goes on. */
  const entriesOf = Effect.fnUntraced(function* (
    range: Range,
    maxKeys: number,
    after: string | undefined
  ): Effect.fn.Return<EntryPage, StoreError.StoreError | StoreError.Unsupported> {
    if (range.ids !== undefined) return yield* spanned(range, range.ids.spans, maxKeys, after)
    const { prefix, least, most } = range
    const from = least === undefined ? undefined : prefix + least
    const position: Position = capabilities.orderedList
      ? { startAfter: after ?? from, token: undefined }
      : { startAfter: undefined, token: after }
    const page = yield* listed(range, maxKeys, position)
    const { entries, nextToken } = page
    if (ambient(Transaction.Current) !== undefined) yield* noted(range, page, maxKeys, position)
    const last = entries.at(-1)?.key
    const isPast =
      capabilities.orderedList &&
      most !== undefined &&
      last !== undefined &&
      !isWithin({ ...range, least: undefined }, last)
    const isOver = nextToken === undefined || isPast
    return { entries, next: isOver ? undefined : capabilities.orderedList ? last : nextToken }
  })

  const byKey = Effect.fnUntraced(function* (
    range: Range,
    maxKeys: number,
    after: string | undefined
  ): Effect.fn.Return<KeyPage, StoreError.StoreError | StoreError.Unsupported> {
    const { entries, next } = yield* entriesOf(range, maxKeys, after)
    const hits: Array<Hit> = []
    for (const entry of entries) {
      if (!isWithin(range, entry.key)) continue
      const hit = Option.getOrUndefined(hitOf(range, entry.key, !isThere(entry), entry.etag))
      if (hit === undefined) continue
      if (range.ids === undefined || idSpans.isWithin(range.ids.bound, hit.id)) hits.push(hit)
    }
    return { hits, next, isThinned: isOfDocuments(range) && !entries.every(isThere) }
  })

  /** Whether an entry of a listing is a hit that is there, as far as its key and size tell. */
  const isHit = (range: Range, entry: ListEntry): boolean =>
    isOfDocuments(range)
      ? isThere(entry) && hasId(entry.key)
      : isWithin(range, entry.key) && Option.isSome(hitOf(range, entry.key))

  const count: Keys["count"] = Effect.fnUntraced(function* (range) {
    let total = 0
    for (let after: string | undefined; ;) {
      const { entries, next } = yield* entriesOf(range, maxKeysPerRequest, after)
      for (const entry of entries) if (isHit(range, entry)) total += 1
      if (next === undefined) return total
      after = next
    }
  })

  const idsIn = (entries: ReadonlyArray<ListEntry>): ReadonlyArray<string> => {
    const ids: Array<string> = []
    for (const entry of entries) {
      const id = isThere(entry) ? idOf(entry.key) : undefined
      if (id !== undefined) ids.push(id)
    }
    return ids
  }

  /**
   * The next hits of a range that is sorted, after one of them: its runs of the same value, each by id. Keys have the ids of a
   * run in another order, and the values of later fields before them. So a run is listed to its end, and again for what there
   * was no room for; only as many hits are held as are asked for.
   */
  const sorted = Effect.fnUntraced(function* (
    range: Range,
    size: number,
    after: string | undefined
  ): Effect.fn.Return<KeyPage, StoreError.StoreError | StoreError.Unsupported> {
    const last = after === undefined ? undefined : Option.getOrUndefined(hitOf(range, after))
    const found: Array<Hit> = []
    // From the beginning of the run in which it went on before: what comes after `/` is longer than that.
    let from = last === undefined ? undefined : `${range.prefix}${segmentOf(range, last.key)}/`
    let run = { segment: last === undefined ? "" : segmentOf(range, last.key), count: 0, hits: TopK.make(size, byId) }
    const pageOf = (next: string | undefined): KeyPage => ({ hits: found, next, isThinned: false })
    const finish = (segment: string) => {
      const hits = run.hits.result()
      const isCut = run.count > hits.length
      found.push(...hits)
      run = { segment, count: 0, hits: TopK.make(size - found.length, byId) }
      return isCut
    }
    for (;;) {
      const { hits, next } = yield* byKey(range, maxKeysPerRequest, from)
      for (const hit of hits) {
        const segment = segmentOf(range, hit.key)
        if (segment !== run.segment && (finish(segment) || found.length >= size)) {
          return pageOf(found.at(-1)?.key)
        }
        if (last !== undefined && segment === segmentOf(range, last.key) && byId(hit, last) <= 0) continue
        run.count += 1
        run.hits.add(hit)
      }
      if (next === undefined) {
        const isCut = finish("")
        return pageOf(isCut ? found.at(-1)?.key : undefined)
      }
      if (found.length > 0) return pageOf(found.at(-1)?.key)
      from = next
    }
  })

  const page: Keys["page"] = (range, maxKeys, after) =>
    range.isSorted ? sorted(range, maxKeys, after) : byKey(range, maxKeys, after)

  const select: Keys["select"] = (partition, { values = {}, from, to, startsWith, isStored }) => {
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

  /** A part of a request that makes no sense without a partition. */
  const needsPartition = ({ values = {}, from, to, startsWith }: Planned): string | undefined =>
    [
      Object.keys(values).length > 0 && "values",
      from !== undefined && "from",
      to !== undefined && "to",
      startsWith !== undefined && "startsWith"
    ].find((one) => typeof one === "string")

  /** With the spans of the ids that are asked for, where the keys of a range tell ids apart by their beginning. */
  const withIds = (range: Range, bound: idSpans.IdBound | undefined): Range => {
    const isByIds = range.partition === undefined || range.given === range.partition.fields.length
    if (bound === undefined || !isByIds || !capabilities.orderedList) return range
    const spans = idSpans.of(bound, range.partition === undefined ? "" : "/")
    if (spans === undefined) return range
    const start = `${range.prefix}id=`
    return {
      ...range,
      query: JSON.stringify([range.query, "by id"]),
      ids: { bound, spans: spans.map(({ after, before }) => ({ after: start + after, before: start + before })) }
    }
  }

  const rangeOf = Effect.fnUntraced(function* (
    request: Planned = {}
  ): Effect.fn.Return<Range, DbError.InvalidInput | DbError.Failure> {
    const { partition: label, values = {} } = request
    const unbounded = staleness.problemOf(request)
    if (unbounded !== undefined) return yield* invalid(["maxStaleness"], unbounded)
    if (label === undefined) {
      const alone = needsPartition(request)
      return alone === undefined
        ? withIds(whole, request.ids)
        : yield* invalid([alone], "Expected a partition beside it")
    }
    const { exposed, partitions } = yield* indexes.fresh
    const partition = partitions.get(label)
    if (partition === undefined) {
      const names = [...partitions.keys()].join(", ")
      return yield* invalid(["partition"], `Expected a partition of ${name}: ${names === "" ? "it has none" : names}`)
    }
    const selection = select(partition, request)
    if (Result.isFailure(selection)) return yield* invalid(selection.failure.path, selection.failure.message)
    if (label === exposed) return yield* byASecret(name, label)
    if (!partition.isReady) {
      const index = `partition ${label}`
      const description = partition.lack ?? `${index} of ${name} is by a field that is secret here`
      return yield* new DbError.Incomplete({ index, description })
    }
    const { prefix, least, most } = selection.success
    const given = Object.values(values).filter((value) => value !== undefined).length
    const isSorted = request.isSorted === true && capabilities.orderedList
    const range = { ...selection.success, partition, given, query: JSON.stringify([prefix, least, most]), isSorted }
    return withIds(range, request.ids)
  })

  return {
    whole,
    rangeOf,
    select,
    isWithin,
    page,
    count,
    ids: Stream.paginate(undefined as string | undefined, (after) =>
      Effect.map(
        entriesOf(whole, maxKeysPerRequest, after),
        ({ entries, next }) => [idsIn(entries), Option.fromUndefinedOr(next)] as const
      )
    ),
    pages: (range, startAfter, firstKeys = maxKeysPerRequest) =>
      Stream.paginate({ after: startAfter, maxKeys: firstKeys }, ({ after, maxKeys }) =>
        Effect.map(page(range, range.isSorted ? mostInMemory : maxKeys, after), ({ hits, next }) => [
          [hits],
          next === undefined ? Option.none() : Option.some({ after: next, maxKeys: maxKeysPerRequest })
        ])
      )
  }
}
