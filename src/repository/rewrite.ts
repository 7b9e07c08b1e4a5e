/**
 * Work that goes through every document of a resource and writes those again that need it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as DbError from "../DbError.ts"
import type { Base } from "../document/context.ts"
import { isOfDocument } from "../document/damage.ts"
import type { Documents } from "../document/documents.ts"
import type { WriteFailure } from "../document/writer.ts"
import type * as History from "../History.ts"
import type { Keys } from "../query/keys.ts"
import type { ListFailure, Listing } from "../query/listing.ts"
import type { RewriteError, RewriteOptions, Rewritten, Rotated } from "../Repository.ts"
import type { Unsupported } from "../storage/StoreError.ts"
import type { Operation } from "./operation.ts"

/**
 * What writing a document again may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type RewriteFailure = WriteFailure | DbError.Conflict

/**
 * Rewriting of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewriting<A> {
  /** Does something with each document, in the order of their keys. 1 LIST for each 1,000. */
  readonly each: <X, E>(
    options: RewriteOptions | undefined,
    one: (id: string) => Effect.Effect<X, E>
  ) => Stream.Stream<X, E | ListFailure>
  /** Writes a document again as it is, if it needs it, on the condition that it has not changed. */
  readonly one: (
    id: string,
    isOld: (base: Base<A>) => Effect.Effect<boolean, DbError.InvalidInput | Unsupported>
  ) => Effect.Effect<Rewritten, RewriteFailure>
  /** Tells of a document that cannot be read or written again, so that the work goes on with the others. */
  readonly told: <X>(
    id: string,
    rewriting: Effect.Effect<X, RewriteFailure>
  ) => Effect.Effect<X | (Rewritten & { readonly error: RewriteError }), RewriteFailure>
  /** Writes every document in the present schema version. */
  readonly migrate: (options: RewriteOptions | undefined) => Stream.Stream<Rewritten, RewriteFailure>
  /**
   * Writes every document and earlier version with a secret under an older key again, and moves blind unique keys to the
   * current one.
   */
  readonly rotate: (options: RewriteOptions | undefined) => Stream.Stream<Rotated, RewriteFailure>
}

const defaultConcurrency = 16

/**
 * Makes the rewriting of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { blindKeys, context, indexes, preparation, versions, writing }: Documents<A>,
  { keys, listing, operation }: { readonly keys: Keys; readonly listing: Listing<A>; readonly operation: Operation }
): Rewriting<A> => {
  const each = <X, E>(
    options: RewriteOptions | undefined,
    one: (id: string) => Effect.Effect<X, E>
  ): Stream.Stream<X, E | ListFailure> => {
    const concurrency = options?.concurrency ?? defaultConcurrency
    const begin: Effect.Effect<string | undefined, ListFailure> =
      options?.after === undefined ? Effect.succeed(undefined) : context.key(options.after)
    return Stream.unwrap(
      Effect.map(begin, (startAfter) =>
        listing.batches(keys.whole, options, startAfter).pipe(
          Stream.mapEffect((hits) => Effect.forEach(hits, ({ id }) => one(id), { concurrency })),
          Stream.flatMap(Stream.fromArray)
        )
      )
    )
  }

  const one: Rewriting<A>["one"] = (id, isOld) => {
    const next = Effect.fnUntraced(function* (base: Base<A>) {
      return (yield* isOld(base)) ? yield* preparation.prepare(base.value, base) : undefined
    })
    return writing
      .revise(id, next, () => Effect.void)
      .pipe(
        Effect.map((after) => ({ id, rewritten: after !== undefined })),
        // It has been deleted since it was listed.
        Effect.catchTag("NotFound", () => Effect.succeed({ id, rewritten: false }))
      )
  }

  const told: Rewriting<A>["told"] = (id, rewriting) =>
    Effect.catchIf(rewriting, isOfDocument, (failure) =>
      Effect.map(operation.told(failure), (error) => ({ id, rewritten: false, error }))
    )

  const oneTold = (id: string, isOld: Parameters<Rewriting<A>["one"]>[1]): Effect.Effect<Rewritten, RewriteFailure> =>
    told(id, one(id, isOld))

  /** Earlier versions, those of a document together. */
  const rotatePast = (concurrency: number): Stream.Stream<Rotated, RewriteFailure> => {
    const reseal = (entry: History.Entry): Effect.Effect<Rewritten, RewriteFailure> =>
      told(
        entry.id,
        Effect.map(versions.reseal(entry), (rewritten) => ({ id: entry.id, rewritten }))
      )
    return versions.all.pipe(
      Stream.mapEffect(reseal, { concurrency }),
      Stream.groupAdjacentBy(({ id }) => id),
      Stream.map(([id, group]) => {
        const error = group.find((one) => one.error !== undefined)?.error
        const rewritten = group.some((one) => one.rewritten)
        return { id, rewritten, ...(error === undefined ? {} : { error }), of: "history" }
      })
    )
  }

  return {
    each,
    one,
    told,
    migrate: (options) =>
      Stream.unwrap(
        Effect.map(context.codec.version, (version) =>
          each(options, (id) => oneTold(id, (base) => Effect.succeed(base.stored.schemaVersion < version)))
        )
      ),
    rotate: (options) =>
      Stream.unwrap(
        Effect.map(blindKeys.begin, (moving) => {
          // Who goes on after a document has not seen those before it.
          const seen = { isAll: options?.after === undefined }
          const isOld = (base: Base<A>) =>
            base.isUnderOldKey || moving.length === 0
              ? Effect.succeed(base.isUnderOldKey)
              : Effect.map(indexes.isIndexed(base), (isIndexed) => !isIndexed)
          const present = each(options, (id) => oneTold(id, isOld)).pipe(
            Stream.tap(({ error }) =>
              Effect.sync(() => {
                seen.isAll &&= error === undefined
              })
            ),
            Stream.map((rewritten): Rotated => ({ ...rewritten, of: "document" }))
          )
          const finish = Effect.suspend(() => (seen.isAll ? blindKeys.finish(moving) : Effect.void))
          // Then what was replaced, also by that.
          return present.pipe(
            Stream.concat(Stream.drain(Stream.fromEffect(finish))),
            Stream.concat(rotatePast(options?.concurrency ?? defaultConcurrency))
          )
        })
      )
  }
}
