/**
 * The keys of companions, and the documents that own them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Companion from "../Companion.ts"
import * as DbError from "../DbError.ts"
import type { Documents } from "../document/documents.ts"
import type * as Pipeline from "../Pipeline.ts"
import { byASecret } from "../document/indexes.ts"
import { compareUtf8 } from "../internal/text.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import { type Hit, type Keys, mostInMemory, type Range } from "./keys.ts"
import type { ListFailure, Listing } from "./listing.ts"
import { passes } from "./run.ts"
import * as Tolerance from "./tolerance.ts"
import * as TopK from "./topK.ts"

/**
 * Listings of the keys of companions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Companions<A> {
  /**
   * The keys of a companion in their order, of the documents that pass the filters, which takes that they are looked at. 1 LIST for each
   * 1,000, and, unless told otherwise, 1 GET for each; on a store that lists without order all are listed for each 10,000.
   * `InvalidInput`; `Incomplete`.
   */
  readonly read: (
    name: string,
    request: Companion.Request,
    filters: ReadonlyArray<Pipeline.Filter<A>>
  ) => Stream.Stream<Companion.Hit, ListFailure | Pipeline.Rejected>
}

const defaultConcurrency = 16

const byKey = (a: Hit, b: Hit): number => compareUtf8(a.key, b.key)

/**
 * Makes what reads the companions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes, reader }: Documents<A>,
  { keys, listing }: { readonly keys: Keys; readonly listing: Listing<A> }
): Companions<A> => {
  const { capabilities, invalid, name } = context

  const rangeOf = Effect.fnUntraced(function* (
    label: string,
    request: Companion.Request
  ): Effect.fn.Return<Range & { readonly companion: Companion.Compiled }, DbError.InvalidInput | DbError.Failure> {
    const { companions, exposed } = yield* indexes.fresh
    const companion = companions.get(label)
    if (companion === undefined) {
      const names = [...companions.keys()].join(", ")
      return yield* invalid(["companion"], `Expected a companion of ${name}: ${names === "" ? "it has none" : names}`)
    }
    const { limit } = request
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1)) {
      return yield* invalid(["limit"], "Expected an integer from 1")
    }
    const selection = companion.select(request)
    if (Result.isFailure(selection)) return yield* invalid(selection.failure.path, selection.failure.message)
    if (label === exposed) return yield* byASecret(name, label)
    if (!companion.isReady) {
      const index = `companion ${label}`
      const description = companion.lack ?? `${index} of ${name} is by a field that is secret here`
      return yield* new DbError.Incomplete({ index, description })
    }
    const { least, most, prefix } = selection.success
    const query = JSON.stringify([prefix, least, most])
    return { ...selection.success, partition: undefined, companion, given: 0, query, isSorted: false }
  })

  /** Everything that is listed, so many at a time as are asked for. */
  const inOrder = (range: Range, limit: number) =>
    Stream.paginate(undefined as string | undefined, (after) =>
      Effect.map(
        keys.page(range, Math.min(limit, maxKeysPerRequest), after),
        ({ hits, next }) => [[hits], Option.fromUndefinedOr(next)] as const
      )
    )

  /** The same where the store has no order: the next ones of all, again and again. */
  const put = (range: Range, most: number) =>
    Stream.paginate(
      undefined as string | undefined,
      Effect.fnUntraced(function* (last) {
        const next = TopK.make(most, byKey)
        let count = 0
        yield* Stream.runForEach(keys.pages(range), (hits) =>
          Effect.sync(() => {
            for (const hit of hits) {
              if (last !== undefined && compareUtf8(hit.key, last) <= 0) continue
              count += 1
              next.add(hit)
            }
          })
        )
        const hits = next.result()
        return [[hits], count > hits.length ? Option.fromUndefinedOr(hits.at(-1)?.key) : Option.none()] as const
      })
    )

  /** Whether the document of a key counts, and may be seen. */
  const isSeen = Effect.fnUntraced(function* (range: Range, hit: Hit, filters: ReadonlyArray<Pipeline.Filter<A>>) {
    const found = yield* listing.storedOf(range, hit)
    if (found === undefined || filters.length === 0) return found !== undefined
    return yield* passes(filters, yield* reader.decode(found.id, found.stored, found.isSettled))
  })

  const read: Companions<A>["read"] = (label, request, filters) => {
    const { limit, verify = true, concurrency = defaultConcurrency } = request
    const { attempt, inOrder: told } = Tolerance.make(name, request)
    const some = limit ?? Number.POSITIVE_INFINITY
    const hitsOf = ({ companion, ...range }: Range & { readonly companion: Companion.Compiled }) => {
      const given = { ...range, companion }
      const pages = capabilities.orderedList
        ? inOrder(given, some)
        : put(given, verify ? mostInMemory : Math.min(mostInMemory, some))
      const shown = ({ id, key }: Hit): Companion.Hit | undefined => {
        const parsed = companion.parse(key)
        if (parsed === undefined) return undefined
        const suffix = companion.segments(parsed.suffix)
        if (!companion.isLongEnough(request, suffix)) return undefined
        return { id, key: suffix, writeId: parsed.writeId }
      }
      const all = pages.pipe(
        Stream.flatMap(Stream.fromArray),
        Stream.map((hit) => ({ hit, shown: shown(hit) })),
        Stream.filter((one) => one.shown !== undefined)
      )
      const limited = <X, E>(stream: Stream.Stream<X, E>) => (limit === undefined ? stream : Stream.take(stream, limit))
      if (!verify) return limited(Stream.map(all, ({ shown }) => shown!))
      const verified = ({ hit, shown }: { readonly hit: Hit; readonly shown: Companion.Hit | undefined }) =>
        attempt(
          hit.id,
          Effect.map(isSeen(given, hit, filters), (is) => (is ? shown : undefined))
        )
      return limited(
        all.pipe(
          Stream.grouped(Math.min(concurrency * 4, some)),
          Stream.mapEffect((group) => Effect.forEach(group, verified, { concurrency })),
          Stream.flatMap(told)
        )
      )
    }
    return Stream.unwrap(Effect.map(rangeOf(label, request), hitsOf))
  }

  return { read }
}
