/**
 * What the markers of a partition tell by themselves: its different values, and the fields that they cover.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Documents } from "../document/documents.ts"
import { valueAtOf } from "../document/foreign.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import type * as Partition from "../Partition.ts"
import type * as Query from "../Query.ts"
import type { Hit, Keys, Range } from "./keys.ts"
import type { ListFailure, Listing } from "./listing.ts"
import * as Tolerance from "./tolerance.ts"

/**
 * Listings that show markers rather than documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Partitions {
  /**
   * The different values of the field that follows those given, each with at least one document. For each value 1 LIST
   * and, as a rule, 1 GET; on a store that lists without order, those of a listing.
   */
  readonly distinct: (request: Query.Within & Query.OnCorrupt) => Stream.Stream<Json, ListFailure>
  /** What the markers cover. 1 LIST for each 1,000; with `verify`, or where a key had no room, 1 GET for each. */
  readonly covered: (
    request: Query.Within & Query.Concurrency & Query.Verify & Query.OnCorrupt
  ) => Stream.Stream<Query.Covered, ListFailure>
}

/**
 * Makes what reads the markers of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, reader }: Documents<A>,
  { keys, listing }: { readonly keys: Keys; readonly listing: Listing<A> }
): Partitions => {
  const { capabilities, codec, invalid, name } = context
  const { storedOf, through } = listing

  /** A request on a partition, which has to be named. */
  const within = <X>(
    request: Query.Within,
    use: (range: Range, partition: Partition.Partition) => Stream.Stream<X, ListFailure>
  ): Stream.Stream<X, ListFailure> =>
    Stream.unwrap(
      Effect.map(keys.rangeOf(request), (range) =>
        range.partition === undefined
          ? Stream.fail(invalid(["partition"], "Expected the name of a partition"))
          : use(range, range.partition)
      )
    )

  const distinctWithoutOrder = (
    range: Range,
    valueOf: (hit: Hit) => Json,
    { onCorrupt }: Query.OnCorrupt
  ): Stream.Stream<Json, ListFailure> => {
    const seen = new Set<Json>()
    const values = through(range, { onCorrupt }, (hit) =>
      seen.has(valueOf(hit))
        ? Effect.succeed(undefined)
        : Effect.map(storedOf(range, hit), (found) => {
            if (found === undefined || seen.has(valueOf(hit))) return undefined
            seen.add(valueOf(hit))
            return { value: valueOf(hit) }
          })
    )
    return Stream.map(values, ({ value }) => value)
  }

  const distinct = (
    range: Range,
    partition: Partition.Partition,
    options: Query.OnCorrupt
  ): Stream.Stream<Json, ListFailure> => {
    const { attempt, tell } = Tolerance.make(name, options)
    const field = partition.fields[range.given]
    if (field === undefined) {
      return Stream.fail(invalid([], `Expected fewer values: every field of partition ${partition.name} has one`))
    }
    const valueOf = ({ marker }: Hit): Json => partition.valuesOf(marker?.values ?? "")[field] ?? null
    if (!capabilities.orderedList) return distinctWithoutOrder(range, valueOf, options)
    const depth = partition.prefix.split("/").length + range.given
    /** The next value that some document has, and a key after all of its markers. */
    const next = Effect.fnUntraced(function* (from: string | undefined) {
      for (let after = from; ;) {
        const { hits, next } = yield* keys.page(range, 10, after)
        for (const hit of hits) {
          if ((yield* tell(yield* attempt(hit.id, storedOf(range, hit)))) === undefined) continue
          // `0` follows `/`: what comes after every key that goes on with `/`.
          const end = `${hit.key.split("/").slice(0, depth).join("/")}0`
          return [[valueOf(hit)], Option.some(end)] as const
        }
        if (next === undefined) return [[], Option.none<string>()] as const
        after = next
      }
    })
    return Stream.paginate(undefined as string | undefined, next)
  }

  const covered = (
    range: Range,
    partition: Partition.Partition,
    options: Query.Concurrency & Query.Verify & Query.OnCorrupt
  ): Stream.Stream<Query.Covered, ListFailure> => {
    const { covering } = partition.definition
    if (covering === undefined) {
      return Stream.fail(invalid(["partition"], `Expected a partition with covered fields; ${partition.name} has none`))
    }
    const read = Effect.fnUntraced(function* (hit: Hit) {
      const marker = hit.marker!
      const { id } = hit
      const values = partition.valuesOf(marker.values)
      const fields = partition.covered(marker)
      if (fields !== undefined && options.verify !== true) return { id, values, fields }
      const found = yield* storedOf(range, hit)
      if (found === undefined) return undefined
      if (fields !== undefined) return { id, values, fields }
      const { json } = codec.indexed(yield* reader.decode(id, found.stored))
      const valueAt = valueAtOf(json, found.stored)
      const entries = covering.flatMap((path) => {
        const value = valueAt(path)
        return value === undefined ? [] : [[path.join("."), value] as const]
      })
      return { id, values, fields: Object.fromEntries(entries) as JsonObject }
    })
    return through(range, options, read)
  }

  return {
    distinct: (request) => within(request, (range, partition) => distinct(range, partition, request)),
    covered: (request) => within(request, (range, partition) => covered(range, partition, request))
  }
}
