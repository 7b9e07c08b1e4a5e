/**
 * Work that goes through every document of a resource and writes those again that need it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as building from "../catalog/building.ts"
import * as DbError from "../DbError.ts"
import type { Base } from "../document/context.ts"
import type { ReadFailure } from "../document/read.ts"
import { isOfDocument } from "../document/damage.ts"
import type { Documents } from "../document/documents.ts"
import * as forgetting from "../document/forgetting.ts"
import type { WriteFailure } from "../document/writer.ts"
import type * as History from "../History.ts"
import type { Keys } from "../query/keys.ts"
import type { ListFailure, Listing } from "../query/listing.ts"
import type { Backfilled, RewriteError, RewriteOptions, Rewritten, Rotated } from "../Repository.ts"
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
 * Documents that were left as they are, the first of them by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leaving {
  /** Adds a document. */
  readonly add: (id: string, why: string) => void
  /** The error that says so, if there is any. */
  readonly error: Effect.Effect<void, DbError.Unfinished>
}

/**
 * More documents than this are not named: 100.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostLeft = 100

/**
 * A version that is at hand, out of a copy; `undefined`: the document is to be read.
 *
 * @category models
 * @since 0.1.0
 */
export type Held<A> = Effect.Effect<Base<A>, ReadFailure> | undefined

/**
 * Rewriting of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rewriting<A> {
  /**
   * Does something with each document, in the order of their keys. 1 LIST for each 1,000; where the resource has copies, and it begins with
   * the first document, the requests of a scan by those, and documents come with them. `visited` runs after some of them, with
   * the outcomes, and the id of the last one; on a store that lists without order nobody can tell what comes before it.
   *
   * `InvalidInput`: it is to begin after an id, on such a store.
   */
  readonly each: <X, E, E2 = never>(
    options: RewriteOptions | undefined,
    one: (id: string, held: Held<A>) => Effect.Effect<X, E>,
    visited?: (outcomes: ReadonlyArray<X>, last: string | undefined) => Effect.Effect<void, E2>
  ) => Stream.Stream<X, E | E2 | ListFailure>
  /** Writes a document again as it is, if it needs it, on the condition that it has not changed. */
  readonly one: (
    id: string,
    isOld: (base: Base<A>) => Effect.Effect<boolean, DbError.InvalidInput | Unsupported>,
    options?: { readonly without?: ReadonlySet<string> | undefined; readonly held?: Held<A> }
  ) => Effect.Effect<Rewritten, RewriteFailure>
  /**
   * Gives a document the markers and reservations that it lacks, all that it can have: a value that another document has keeps
   * nothing else from it.
   */
  readonly fill: (id: string, held?: Held<A>) => Effect.Effect<Backfilled, RewriteFailure>
  /** Tells of a document that cannot be read or written again, so that the work goes on with the others. */
  readonly told: <X>(
    id: string,
    rewriting: Effect.Effect<X, RewriteFailure>
  ) => Effect.Effect<X | (Rewritten & { readonly error: RewriteError }), RewriteFailure>
  /** Begins to note which documents are left as they are. */
  readonly leaving: () => Leaving
  /** Writes every document in the present schema version. */
  readonly migrate: (
    options: RewriteOptions | undefined
  ) => Stream.Stream<Rewritten, RewriteFailure | DbError.Unfinished>
  /**
   * Writes every document and earlier version with a secret under an older key again, and moves blind unique keys to the
   * current one.
   */
  readonly rotate: (options: RewriteOptions | undefined) => Stream.Stream<Rotated, RewriteFailure | DbError.Unfinished>
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
  const { capabilities, invalid, name } = context

  /** The key after which to begin. */
  const beginning = Effect.fnUntraced(function* (after: string | undefined) {
    if (after === undefined) return undefined
    if (capabilities.orderedList) return yield* context.key(after)
    return yield* invalid(["after"], "Expected none: the store lists without order, so that nothing comes after an id")
  })

  const each: Rewriting<A>["each"] = (options, one, visited = () => Effect.void) => {
    const concurrency = options?.concurrency ?? defaultConcurrency
    return Stream.unwrap(
      Effect.map(beginning(options?.after), (startAfter) =>
        listing.batches(keys.whole, options, startAfter).pipe(
          Stream.mapEffect(
            Effect.fnUntraced(function* (hits) {
              const there = yield* listing.present(hits)
              const outcomes = yield* Effect.forEach(there, (hit) => one(hit.id, listing.held(hit)), { concurrency })
              yield* visited(outcomes, hits.at(-1)?.id)
              return outcomes
            })
          ),
          Stream.flatMap(Stream.fromArray)
        )
      )
    )
  }

  const one: Rewriting<A>["one"] = (id, isOld, { held, without } = {}) => {
    const next = Effect.fnUntraced(function* (base: Base<A>) {
      return (yield* isOld(base)) ? yield* preparation.prepare(base.value, base, { without }) : undefined
    })
    return writing
      .revise(id, next, (commit) => forgetting.forget(context, () => forgetting.writtenOf(name, [commit])), held)
      .pipe(
        Effect.map((after) => ({ id, rewritten: after !== undefined })),
        // It has been deleted since it was listed.
        Effect.catchTag("NotFound", () => Effect.succeed({ id, rewritten: false }))
      )
  }

  const fill = (
    id: string,
    held: Held<A>,
    violations: Backfilled["violations"] = []
  ): Effect.Effect<Backfilled, RewriteFailure> => {
    const without = new Set(violations.map(({ unique }) => unique))
    const isOld = (base: Base<A>) => Effect.map(indexes.isIndexed(base, without), (isIndexed) => !isIndexed)
    return one(id, isOld, { without, held }).pipe(
      Effect.map((rewritten) => ({ ...rewritten, violations })),
      Effect.catchTag("UniqueViolation", (violation) =>
        without.has(violation.unique) ? Effect.fail(violation) : fill(id, held, [...violations, violation])
      )
    )
  }

  const told: Rewriting<A>["told"] = (id, rewriting) =>
    Effect.catchIf(rewriting, isOfDocument, (failure) =>
      Effect.map(operation.told(failure), (error) => ({ id, rewritten: false, error }))
    )

  const leaving = (): Leaving => {
    const left: Array<building.Left> = []
    let count = 0
    return {
      add: (id, why) => {
        count += 1
        if (left.length < mostLeft) left.push({ id, why })
      },
      error: Effect.gen(function* () {
        if (count === 0) return
        const description = `${building.describeLeft(left, count)}; change or remove what is in their way, and run it again`
        return yield* new DbError.Unfinished({ resource: name, operation: yield* operation.name, left, description })
      })
    }
  }

  /** Ends with an error when a document was left as it is. */
  const whole = <X extends Rewritten, E>(rewritten: Stream.Stream<X, E>): Stream.Stream<X, E | DbError.Unfinished> =>
    Stream.suspend(() => {
      const left = leaving()
      const noted = Stream.tap(rewritten, ({ error, id }) =>
        Effect.sync(() => {
          if (error !== undefined) left.add(id, error.message)
        })
      )
      return Stream.concat(noted, Stream.drain(Stream.fromEffect(left.error)))
    })

  const oneTold = (
    id: string,
    held: Held<A>,
    isOld: Parameters<Rewriting<A>["one"]>[1]
  ): Effect.Effect<Rewritten, RewriteFailure> => told(id, one(id, isOld, { held }))

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
    fill: (id, held) => fill(id, held),
    told,
    leaving,
    migrate: (options) =>
      Stream.unwrap(
        Effect.map(context.codec.version, (version) =>
          whole(
            each(options, (id, held) =>
              oneTold(id, held, (base) => Effect.succeed(base.stored.schemaVersion < version))
            )
          )
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
          const present = each(options, (id, held) => oneTold(id, held, isOld)).pipe(
            Stream.tap(({ error }) =>
              Effect.sync(() => {
                seen.isAll &&= error === undefined
              })
            ),
            Stream.map((rewritten): Rotated => ({ ...rewritten, of: "document" }))
          )
          const finish = Effect.suspend(() => (seen.isAll ? blindKeys.finish(moving) : Effect.void))
          // Then what was replaced, also by that.
          return whole(
            present.pipe(
              Stream.concat(Stream.drain(Stream.fromEffect(finish))),
              Stream.concat(rotatePast(options?.concurrency ?? defaultConcurrency))
            )
          )
        })
      )
  }
}
