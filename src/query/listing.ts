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
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Companion from "../Companion.ts"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { Base } from "../document/context.ts"
import { isDamage } from "../document/damage.ts"
import type { Documents } from "../document/documents.ts"
import type { Found, ReadFailure } from "../document/read.ts"
import { forEach as concurrently } from "../internal/inTurn.ts"
import type * as Partition from "../Partition.ts"
import type * as Query from "../Query.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import type { PageCursors } from "./cursor.ts"
import type { Hit, Keys, Planned, Range } from "./keys.ts"
import type { Packed } from "./packed.ts"
import * as Tolerance from "./tolerance.ts"

/**
 * What a listing may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type ListFailure = DbError.InvalidInput | ReadFailure

/**
 * Which documents a page has.
 *
 * @category models
 * @since 0.1.0
 */
export interface PageCondition<in X, out E> {
  readonly keep: (one: X) => Effect.Effect<boolean, E>
  /** Whether it hides documents from who asks, so that the cursor must not tell of them. */
  readonly hides: boolean
  /** What tells it from others. */
  readonly canonical: string
}

/**
 * Documents of a resource in the order of their keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listing<A> {
  /**
   * The documents of a request, in the order of their keys. 1 LIST for each 1,000, 1 GET for each; where a resource has copies, and
   * all documents are wanted, those of `Packed` in place of them.
   */
  readonly bases: (
    request: (Planned & Query.Concurrency & Query.OnCorrupt) | undefined
  ) => Stream.Stream<Base<A>, ListFailure>
  /**
   * All documents whose keys come after that of an id. `InvalidInput`: the store lists without order, or `isWhole` says that not all are
   * asked for.
   */
  readonly basesAfter: (
    after: string,
    options: Query.Concurrency & Query.OnCorrupt,
    isWhole: boolean
  ) => Stream.Stream<Base<A>, ListFailure>
  /** The same, a document that cannot be read being told in its place. */
  readonly results: (
    request: (Query.Within & Query.Concurrency & Query.Bounded) | undefined
  ) => Stream.Stream<{ readonly id: string; readonly result: Result.Result<Base<A>, ReadFailure> }, ListFailure>
  /** The stored version of every document, its fields still encoded; `None` for one that cannot be read. */
  readonly versions: Stream.Stream<Option.Option<Document.Stored>, ListFailure>
  /** Ids: of the whole resource the keys alone tell; those of a partition are checked. */
  readonly ids: (
    request: (Query.Within & Query.Concurrency & Query.OnCorrupt) | undefined
  ) => Stream.Stream<string, ListFailure>
  /** How many there are: of the whole resource, or with `verify: false`, the keys alone tell. */
  readonly count: (
    request: (Query.Within & Query.Concurrency & Query.Verify & Query.OnCorrupt) | undefined
  ) => Effect.Effect<number, ListFailure>
  /** One page, of those that meet a condition if there is one. 1 LIST and 1 GET for each document, more with a condition. */
  readonly page: <E = never>(
    request: (Planned & Query.PageRequest & Query.Concurrency & Query.OnCorrupt) | undefined,
    condition?: PageCondition<Base<A>, E>
  ) => Effect.Effect<Query.Page<Base<A>>, ListFailure | E>
  /** One page of what is made of hits. 1 LIST, more with a condition, and what making takes. */
  readonly pageOf: <X, E = never>(
    request: (Planned & Query.PageRequest & Query.Concurrency & Query.OnCorrupt) | undefined,
    make: (range: Range, hit: Hit) => Effect.Effect<X | undefined, ReadFailure>,
    condition?: PageCondition<X, E>
  ) => Effect.Effect<Query.Page<X>, ListFailure | E>
  /** The document, if it belongs to a partition and has those values there; otherwise `NotFound`. 1 GET. */
  readonly getFrom: (id: string, request: Query.Within) => Effect.Effect<Base<A>, DbError.NotFound | ListFailure>
  /** The version that a hit points to, if it counts. 1 GET. */
  readonly storedOf: (
    range: Range,
    hit: Hit
  ) => Effect.Effect<(Found & { readonly id: string }) | undefined, ReadFailure>
  /** The versions that hits of all documents point to, in their order. No request for those with a copy. 1 GET for each other. */
  readonly read: (
    hits: ReadonlyArray<Hit>,
    tolerance: Tolerance.Tolerance,
    options: Query.Concurrency | undefined
  ) => Effect.Effect<ReadonlyArray<Base<A> | Tolerance.Unread | undefined>, ReadFailure>
  /** Hits without those that are what deletions have left. 1 GET for each that has the size of that. */
  readonly present: (hits: ReadonlyArray<Hit>) => Effect.Effect<ReadonlyArray<Hit>, ReadFailure>
  /**
   * Hits, enough at a time to keep every request slot busy, few enough to be read soon after they were listed. Of a whole resource that has
   * copies, from its first key on, with those.
   */
  readonly batches: (
    range: Range,
    options: (Query.Concurrency & Query.Bounded & Pick<Planned, "narrow" | "most">) | undefined,
    startAfter?: string
  ) => Stream.Stream<ReadonlyArray<Hit>, ListFailure>
  /** The version in the copy of a hit, decoded; `undefined` where it has none. No request. */
  readonly held: (hit: Hit) => Effect.Effect<Base<A>, ReadFailure> | undefined
  /**
   * What `read` makes of each hit, in their order; what it makes nothing of is left out, and what cannot be read as the options
   * say.
   */
  readonly through: <X>(
    range: Range,
    options: (Query.Concurrency & Query.OnCorrupt & Query.Bounded & Pick<Planned, "narrow" | "most">) | undefined,
    read: (hit: Hit) => Effect.Effect<X | undefined, ReadFailure>,
    startAfter?: string
  ) => Stream.Stream<X, ListFailure>
}

const defaultConcurrency = 16

/** A page that looks at more documents than this goes by copies: a few requests in the place of one for each. */
const mostByThemselves = 32

/** A page that hides documents looks at no more than this many: it ends, shorter than its limit, with a cursor. */
const mostExamined = 1_000

/** Where a page ended: after a key; on a store that lists without order, after so many entries of one of its pages. */
interface Position {
  readonly after: string | undefined
  readonly skip: number
}

/**
 * Makes what lists the documents of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, reader }: Documents<A>,
  { cursors, keys, packed }: { readonly cursors: PageCursors; readonly keys: Keys; readonly packed: Packed }
): Listing<A> => {
  const { capabilities, invalid, missing, name } = context
  const { rangeOf } = keys

  const owns = (stored: Document.Stored, partition: Partition.Partition, marker: Partition.Marker): boolean => {
    const owned = Object.hasOwn(stored.markers, partition.label) ? stored.markers[partition.label] : undefined
    return owned?.values === marker.values && owned.writeId === marker.writeId
  }

  const ownsKey = ({ companions }: Document.Stored, { label, parse }: Companion.Compiled, key: string): boolean => {
    const parsed = parse(key)
    const owned = Object.hasOwn(companions, label) ? companions[label] : undefined
    return parsed !== undefined && Companion.isOwned(owned, parsed)
  }

  const counts = ({ companion, partition }: Range, { key, marker }: Hit, stored: Document.Stored): boolean => {
    if (companion !== undefined) return ownsKey(stored, companion, key)
    return marker === undefined || partition === undefined || owns(stored, partition, marker)
  }

  type StoredHit = { readonly id: string; readonly stored: Document.Stored; readonly isSettled: boolean }

  /** The version in a copy, if it counts without more. */
  const copiedIn = ({ object }: Hit): Document.Stored | undefined => {
    const copied = object === undefined ? undefined : Result.getOrUndefined(Document.fromObject(object))
    return copied?.intent === undefined ? copied?.stored : undefined
  }

  const storedOf = (range: Range, hit: Hit): Effect.Effect<StoredHit | undefined, ReadFailure> => {
    const copied = copiedIn(hit)
    if (copied !== undefined) return Effect.succeed({ id: hit.id, stored: copied, isSettled: true })
    return Effect.map(reader.listed(hit.id), (found) =>
      found !== undefined && counts(range, hit, found.stored) ? { id: hit.id, ...found } : undefined
    )
  }

  // What is whole and needs no service is decoded at once.
  const held: Listing<A>["held"] = (hit) => {
    const copied = copiedIn(hit)
    return copied === undefined ? undefined : reader.decodeAt(hit.key, hit.id, copied, true)
  }

  const isOfDocuments = ({ companion, partition }: Range): boolean => partition === undefined && companion === undefined

  const baseOf = (range: Range, hit: Hit): Effect.Effect<Base<A> | undefined, ReadFailure> => {
    const base = held(hit)
    if (base !== undefined) return base
    // The keys of such a range are those of the documents.
    if (isOfDocuments(range)) return reader.listedAt(hit.key, hit.id)
    return Effect.flatMapEager(storedOf(range, hit), (found): Effect.Effect<Base<A> | undefined, ReadFailure> =>
      found === undefined ? Effect.undefined : reader.decode(found.id, found.stored, found.isSettled)
    )
  }

  const plainBatches: Listing<A>["batches"] = (
    range,
    { concurrency = defaultConcurrency, most = maxKeysPerRequest } = {},
    startAfter
  ) =>
    keys
      .pages(range, startAfter, Math.min(most, maxKeysPerRequest))
      .pipe(inTurn(Math.max(1, Math.min(most, concurrency * 4))))

  /** What comes after a key, with its copies. */
  const attachedAfter = (copies: NonNullable<Effect.Success<Packed["copies"]>>, range: Range, startAfter: string) =>
    Stream.unwrap(
      Effect.map(packed.attaching(copies), (attach) =>
        Stream.mapEffect(keys.pages({ ...range, withEtags: true }, startAfter, maxKeysPerRequest), attach)
      )
    )

  const batches: Listing<A>["batches"] = (range, options, startAfter) => {
    const plain = plainBatches(range, options, startAfter)
    if (!isOfDocuments(range) || options?.most !== undefined) return plain
    return Stream.unwrap(
      Effect.map(packed.copies, (copies) => {
        if (copies === undefined) return plain
        return inTurn(mostInTurn)(
          startAfter === undefined ? packed.hits(copies, options) : attachedAfter(copies, range, startAfter)
        )
      })
    )
  }

  const present: Listing<A>["present"] = (hits) =>
    hits.some(({ isFlagged }) => isFlagged)
      ? Effect.filter(
          hits,
          ({ id, isFlagged }) =>
            isFlagged
              ? reader.stored(id).pipe(
                  Effect.map((stored) => stored !== undefined),
                  Effect.catchIf(isDamage, () => Effect.succeed(true))
                )
              : Effect.succeed(true),
          { concurrency: defaultConcurrency }
        )
      : Effect.succeed(hits)

  /** What is made of hits, in their order: at once where it takes no request. */
  const each = Effect.fnUntraced(function* <X>(
    hits: ReadonlyArray<Hit>,
    read: (hit: Hit) => Effect.Effect<X, ReadFailure>,
    { attempt }: Tolerance.Tolerance,
    concurrency = defaultConcurrency
  ) {
    const apart = hits.filter(({ object }) => object === undefined)
    const found = yield* concurrently(apart, (hit) => attempt(hit.id, read(hit)), { concurrency })
    if (apart.length === hits.length) return found
    const all: Array<X | Tolerance.Unread> = []
    let next = 0
    for (const hit of hits) {
      if (hit.object === undefined) all.push(found[next++]!)
      else {
        const reading = read(hit)
        const done = Exit.isExit(reading) ? (reading as Exit.Exit<X, ReadFailure>) : undefined
        all.push(done !== undefined && Exit.isSuccess(done) ? done.value : yield* attempt(hit.id, reading))
      }
    }
    return all
  })

  const through: Listing<A>["through"] = (range, options, read, startAfter) => {
    const tolerance = Tolerance.make(name, options)
    return batches(range, options, startAfter).pipe(
      Stream.mapEffect((hits) => each(hits, read, tolerance, options?.concurrency)),
      Stream.flatMap(tolerance.inOrder)
    )
  }

  const streamed = <X>(
    request: Planned | undefined,
    use: (range: Range) => Stream.Stream<X, ListFailure>
  ): Stream.Stream<X, ListFailure> => Stream.unwrap(Effect.map(rangeOf(request), use))

  /** Looks at hits until a page is full: those it keeps, and how many it has looked at. */
  const examine = Effect.fnUntraced(function* <X, E>(
    hits: ReadonlyArray<Hit>,
    make: (hit: Hit) => Effect.Effect<X | undefined, ReadFailure>,
    {
      attach,
      before,
      concurrency,
      left,
      room,
      tolerance: { attempt, tell }
    }: {
      readonly attach: Effect.Success<ReturnType<Packed["attaching"]>> | undefined
      /** How many the page has looked at. */
      readonly before: number
      readonly concurrency: number
      readonly left: number
      readonly room: number
      readonly tolerance: Tolerance.Tolerance
    },
    condition: PageCondition<X, E> | undefined
  ): Effect.fn.Return<{ readonly found: ReadonlyArray<X>; readonly examined: number }, ListFailure | E> {
    const found: Array<X> = []
    let examined = 0
    while (examined < hits.length && found.length < room && examined < left) {
      const size = Math.min(left - examined, Math.max(room - found.length, concurrency))
      const next = hits.slice(examined, examined + size)
      const isMany = before + examined + next.length > mostByThemselves
      const some = attach !== undefined && isMany ? yield* attach(next) : next
      const made = yield* concurrently(some, (hit) => attempt(hit.id, make(hit)), { concurrency })
      for (const unsure of made) {
        if (found.length === room) break
        examined += 1
        const one = Tolerance.isRead<X | undefined>(unsure) ? unsure : yield* tell<X | undefined>(unsure)
        if (one !== undefined && (condition === undefined || (yield* condition.keep(one)))) found.push(one)
      }
    }
    return { found, examined }
  })

  const pageOf = Effect.fnUntraced(function* <X, E = never>(
    request: (Planned & Query.PageRequest & Query.Concurrency & Query.OnCorrupt) | undefined,
    make: (range: Range, hit: Hit) => Effect.Effect<X | undefined, ReadFailure>,
    condition?: PageCondition<X, E>
  ): Effect.fn.Return<Query.Page<X>, ListFailure | E> {
    const found = yield* rangeOf(request)
    const { limit = 100, concurrency = defaultConcurrency } = request ?? {}
    if (!Number.isInteger(limit) || limit < 1 || limit > maxKeysPerRequest) {
      return yield* invalid(["limit"], `Expected an integer from 1 to ${maxKeysPerRequest}`)
    }
    const copies = isOfDocuments(found) ? yield* packed.copies : undefined
    const range = copies === undefined ? found : { ...found, withEtags: true }
    const attaching = copies === undefined ? undefined : yield* Effect.cached(packed.attaching(copies))
    const attach =
      attaching === undefined
        ? undefined
        : (hits: ReadonlyArray<Hit>) => Effect.flatMap(attaching, (attach) => attach(hits))
    let before = 0
    const hides = condition?.hides === true
    const tolerance = Tolerance.make(name, request)
    const query = range.query + (condition?.canonical ?? "")
    const text = yield* cursors.read(query, request?.cursor)
    let { after, skip }: Position = text === undefined ? { after: undefined, skip: 0 } : JSON.parse(text)
    let left = hides ? mostExamined : Number.POSITIVE_INFINITY
    const items: Array<X> = []
    for (;;) {
      // Without a condition most keys count; with one, few may.
      const size = capabilities.orderedList && condition === undefined ? limit - items.length : maxKeysPerRequest
      const { hits, isThinned, next } = yield* keys.page(range, size, after)
      const room = limit - items.length
      const options = { attach, before, concurrency, left, room, tolerance }
      const { found, examined } = yield* examine(hits.slice(skip), (hit) => make(range, hit), options, condition)
      items.push(...found)
      left -= examined
      before += examined
      const end = skip + examined
      const isWhole = end >= hits.length
      const isFull = items.length >= limit
      if (isWhole && next !== undefined) {
        after = next
        skip = 0
      } else if (capabilities.orderedList) {
        after = hits[end - 1]?.key ?? after
        skip = 0
      } else skip = end
      // Whether hidden documents come after a full page is not to be told: the next page may be empty.
      const isOver = isWhole && next === undefined && !(hides && isFull)
      // Documents of the whole resource that are gone by now leave a page short, as they always did.
      const mayBeShort = range.partition === undefined && condition === undefined && !isThinned
      if (isOver || isFull || left <= 0 || mayBeShort) {
        const end = hides ? cursors.make : cursors.again
        const cursor = isOver ? undefined : yield* end(query, JSON.stringify({ after, skip }))
        return { items, cursor }
      }
    }
  })

  return {
    bases: (request) => streamed(request, (range) => through(range, request, (hit) => baseOf(range, hit))),
    basesAfter: (after, options, isWhole) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const problem = isWhole
            ? "the store lists without order, so that nothing comes after an id"
            : "it is for all documents, without a partition or conditions"
          if (!isWhole || !capabilities.orderedList) return yield* invalid(["after"], `Expected none: ${problem}`)
          const startAfter = yield* context.key(after)
          return through(keys.whole, options, (hit) => baseOf(keys.whole, hit), startAfter)
        })
      ),
    results: (request) =>
      streamed(request, (range) =>
        through(range, request, (hit) =>
          Effect.map(Effect.result(baseOf(range, hit)), (result) => {
            if (Result.isFailure(result)) return { id: hit.id, result: Result.fail(result.failure) }
            return result.success === undefined ? undefined : { id: hit.id, result: Result.succeed(result.success) }
          })
        )
      ),
    versions: through(keys.whole, undefined, (hit) =>
      storedOf(keys.whole, hit).pipe(
        Effect.map((found) => (found === undefined ? undefined : Option.some(found.stored))),
        Effect.catchIf(isDamage, () => Effect.succeedNone)
      )
    ),
    ids: (request) =>
      streamed(request, (range) =>
        range.partition === undefined
          ? keys.ids
          : through(range, request, (hit) => Effect.map(storedOf(range, hit), (found) => found?.id))
      ),
    count: Effect.fnUntraced(function* (request) {
      const range = yield* rangeOf(request)
      if (range.partition !== undefined && request?.verify !== false) {
        return yield* Stream.runCount(through(range, request, (hit) => storedOf(range, hit)))
      }
      return yield* keys.count(range)
    }),
    page: (request, condition) => pageOf(request, baseOf, condition),
    pageOf,
    getFrom: Effect.fnUntraced(function* (id, request) {
      const range = yield* rangeOf(request)
      const { partition } = range
      if (partition === undefined) return yield* invalid(["partition"], "Expected the name of a partition")
      const stored = yield* reader.stored(id)
      const owned =
        stored !== undefined && Object.hasOwn(stored.markers, partition.label)
          ? stored.markers[partition.label]
          : undefined
      const key = owned === undefined ? "" : partition.key(id, owned)
      if (stored === undefined || !key.startsWith(range.prefix) || !keys.isWithin(range, key)) return yield* missing(id)
      return yield* reader.decode(id, stored)
    }),
    storedOf,
    read: (hits, tolerance, options) => each(hits, (hit) => baseOf(keys.whole, hit), tolerance, options?.concurrency),
    present,
    batches,
    held,
    through
  }
}

/** Not so many at a time that others have to wait. */
const inTurn =
  (most: number) =>
  <E>(all: Stream.Stream<ReadonlyArray<Hit>, E>): Stream.Stream<ReadonlyArray<Hit>, E> =>
    Stream.flatMap(all, (hits) =>
      Stream.rechunk(
        Stream.fromIterable(
          Array.from({ length: Math.ceil(hits.length / most) }, (_, i) => hits.slice(i * most, (i + 1) * most))
        ),
        1
      )
    )

const mostInTurn = 256

/**
 * Returns the hits that are documents as far as keys and sizes tell: one that cannot be read and has by chance the size of what
 * deletions leave is not among them.
 *
 * @category getters
 * @since 0.1.0
 */
export const byKeys = (hits: ReadonlyArray<Hit>): ReadonlyArray<Hit> =>
  hits.some(({ isFlagged }) => isFlagged) ? hits.filter(({ isFlagged }) => !isFlagged) : hits
