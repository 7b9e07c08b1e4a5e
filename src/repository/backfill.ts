/**
 * Partitions and unique keys that were declared after documents were written, and those that are removed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as DbError from "../DbError.ts"
import type { Base } from "../document/context.ts"
import type { Documents } from "../document/documents.ts"
import type { KeptUnique } from "../document/indexes.ts"
import type { ReadFailure } from "../document/read.ts"
import type { Partition } from "../Partition.ts"
import type { Backfilled, RewriteOptions } from "../Repository.ts"
import { deleteAll } from "../storage/ObjectStore.ts"
import * as Unique from "../Unique.ts"
import type { RewriteFailure, Rewriting } from "./rewrite.ts"

/**
 * Work on partitions and unique keys that are not, or no more, complete.
 *
 * @category models
 * @since 0.1.0
 */
export interface Backfilling {
  /** Gives every document the markers and reservations that it lacks, and says in the catalog when it has come to its end. */
  readonly backfill: (options: RewriteOptions | undefined) => Stream.Stream<Backfilled, RewriteFailure>
  /** Forgets a partition or unique key, and removes its markers or reservations, whose number it gives. */
  readonly remove: (
    kind: "partitions" | "uniques",
    name: string
  ) => Effect.Effect<number, DbError.InvalidInput | ReadFailure>
}

/** Indexes that are not complete. */
interface Building {
  readonly partitions: ReadonlyArray<Partition>
  readonly uniques: ReadonlyArray<KeptUnique>
}

/**
 * Makes the backfilling of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, indexes, reader, reservations }: Documents<A>,
  { rewriting }: { readonly rewriting: Rewriting<A> }
): Backfilling => {
  const { database, invalid, name, store } = context

  const isOld = (base: Base<A>) => Effect.map(indexes.isIndexed(base), (isIndexed) => !isIndexed)

  /**
   * Puts what a document says it owns of some indexes once more: they may have been removed, with all their objects, and
   * declared again.
   */
  const reassert = Effect.fnUntraced(function* (id: string, { partitions, uniques }: Building) {
    if (partitions.length === 0 && uniques.length === 0) return
    const stored = yield* reader.stored(id)
    if (stored === undefined) return
    for (const partition of partitions) {
      const owned = stored.markers[partition.name]
      if (owned !== undefined) yield* store.put({ key: partition.key(id, owned), repeatable: true })
    }
    for (const unique of uniques) {
      const claim = stored.claims[unique.name]
      if (claim === undefined) continue
      const found = yield* Unique.find(store, unique.key(claim.digest))
      if (found?.owners.includes(id) === true) continue
      const lost = yield* reservations.reclaim(id, unique, claim.digest)
      if (lost !== undefined) return yield* lost
    }
  })

  /** Says in the catalog what is complete now, unless it was declared otherwise meanwhile. */
  const finish = Effect.fnUntraced(function* ({ partitions, uniques }: Building) {
    for (const { definition, name: label } of partitions) {
      yield* database.setIndex(name, "partitions", label, "ready", definition)
    }
    for (const { definition, label } of uniques) {
      yield* database.setIndex(name, "uniques", label, "ready", definition)
    }
  })

  const isBuilding = Effect.map(indexes.all, ({ partitions, uniques }) =>
    [
      ...[...partitions.values()].map(({ isReady }) => isReady),
      ...[...uniques.values()].map(({ isBuilt }) => isBuilt)
    ].includes(false)
  )

  /** First all writers have to know what is to be kept up: a document that lacks something is there by then, and is met. */
  const known = Effect.andThen(context.fresh, Effect.when(database.known(name), isBuilding))

  return {
    backfill: (options) =>
      Stream.unwrap(
        Effect.map(Effect.andThen(known, indexes.all), ({ partitions, uniques }) => {
          const seen = { isIncomplete: false }
          const building: Building = {
            partitions: [...partitions.values()].filter((partition) => !partition.isReady),
            uniques: [...uniques.values()].filter((unique) => !unique.isBuilt && unique.isTold)
          }
          const one = (id: string): Effect.Effect<Backfilled, RewriteFailure> => {
            const filled = rewriting.one(id, isOld).pipe(
              Effect.tap(() => reassert(id, building)),
              Effect.map((rewritten) => ({ ...rewritten, violation: undefined })),
              Effect.catchTag("UniqueViolation", (violation) => Effect.succeed({ id, rewritten: false, violation }))
            )
            return rewriting.told(id, filled).pipe(
              Effect.map((outcome): Backfilled => ({ violation: undefined, ...outcome })),
              Effect.tap(({ error, violation }) =>
                Effect.sync(() => {
                  seen.isIncomplete ||= error !== undefined || violation !== undefined
                })
              )
            )
          }
          return Stream.concat(
            rewriting.each(options, one),
            // A document that could not be written is in none of them.
            Stream.drain(Stream.fromEffect(Effect.suspend(() => (seen.isIncomplete ? Effect.void : finish(building)))))
          )
        })
      ),
    remove: Effect.fnUntraced(function* (kind, label) {
      const { partitions, uniques } = yield* indexes.all
      const partition = partitions.get(label)
      // A blind one has several for a time.
      const found =
        kind === "uniques"
          ? [...uniques.values()].filter((unique) => unique.label === label)
          : partition === undefined
            ? []
            : [partition]
      if (found.length === 0) {
        const known = kind === "uniques" ? [...uniques.values()].map((unique) => unique.label) : [...partitions.keys()]
        const names = [...new Set(known)].join(", ")
        const what = kind === "partitions" ? "partition" : "unique key"
        return yield* invalid([what], `Expected a ${what} of ${name}: ${names === "" ? "it has none" : names}`)
      }
      // First nobody makes new ones, nor looks for any.
      yield* database.setIndex(name, kind, label, undefined)
      yield* database.known(name)
      let removed = 0
      for (const index of found) {
        // A key that is none of its own is not touched.
        const isOwn = (key: string) =>
          "parse" in index ? index.parse(key) !== undefined : Unique.isOf(index.prefix, key)
        removed += yield* deleteAll(store, index.prefix, isOwn)
      }
      return removed
    })
  }
}
