/**
 * Writes of single documents: one interface, for those that take effect at once and for those that a transaction keeps
 * back until it is committed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import { ambient } from "../internal/ambient.ts"
import type { Problem } from "../internal/merge.ts"
import type * as Pipeline from "../Pipeline.ts"
import type { OnProgress } from "../Repository.ts"
import * as Transaction from "../Transaction.ts"
import type { Commit, OnCommit, Removal } from "./commits.ts"
import type { Base, Context } from "./context.ts"
import * as forgetting from "./forgetting.ts"
import type { ReadFailure } from "./read.ts"

/**
 * How often a change is made again when others were first: 20 times.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultRetries = 20

/**
 * What writing one version may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type WriteFailure = DbError.InvalidInput | DbError.MetadataLimit | DbError.UniqueViolation | ReadFailure

/**
 * How a change makes the new value, or why it cannot.
 *
 * @category models
 * @since 0.1.0
 */
export type Change<A, E, R> = (current: A) => Effect.Effect<Result.Result<unknown, Problem>, E, R>

/**
 * What is part of every write: conditions on the document, and who is told of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** Conditions on the version that is changed, replaced or removed, or, where there is none, on the new one. */
  readonly checks: ReadonlyArray<Pipeline.Check<A>>
  /** What is done when the new version is ready, right before anything of it is sent. */
  readonly beforeCommit: ReadonlyArray<Pipeline.BeforeCommit<A>>
  readonly onCommit: OnCommit<A>
}

/**
 * The options of a change.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChangeOptions<A> extends Options<A> {
  /** Go on only if the document still has this revision. */
  readonly ifRevision?: Document.Revision | undefined
  /** How often it is made again when others were first. Default 20; with a revision or a document in hand 0. */
  readonly retries?: number | undefined
}

/**
 * The options of a change of what may not be there.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpsertOptions<A> extends Options<A> {
  /** How often the change is made again when others were first. Default 20. */
  readonly retries?: number | undefined
  /** Whether it is created without being looked for first. Default: only where it has no id yet. */
  readonly createFirst?: boolean | undefined
}

/**
 * The options of a replacement.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplaceOptions<A> extends ChangeOptions<A> {
  /** The version that the input was made of: what the schema does not know of it goes on. Default: nothing does. */
  readonly from?: Base<A> | undefined
}

/**
 * The options of many deletions.
 *
 * @category models
 * @since 0.1.0
 */
export interface RemoveManyOptions<A> extends Pick<Options<A>, "checks" | "beforeCommit"> {
  readonly concurrency: number
  readonly onCommit: (commits: ReadonlyArray<Commit<A>>) => Effect.Effect<void>
  readonly onProgress?: OnProgress | undefined
}

/**
 * What became of many deletions, in input order.
 *
 * @category models
 * @since 0.1.0
 */
export interface RemovedMany {
  readonly deleted: ReadonlyArray<string>
  readonly failed: ReadonlyArray<{ readonly id: string; readonly error: ReadFailure | Pipeline.Rejected }>
}

/**
 * Writes of the documents of one resource. `docs/design/write-path.md` has the requests of each.
 *
 * @category models
 * @since 0.1.0
 */
export interface Writer<A> {
  /** Creates a document. `AlreadyExists`. */
  readonly create: (
    input: unknown,
    options: Options<A>
  ) => Effect.Effect<Base<A>, DbError.AlreadyExists | Pipeline.Rejected | WriteFailure>
  /** Changes a document, or the version in hand. `NotFound`; `Conflict`: it is another version, or kept changing. */
  readonly change: <E, R>(
    target: string | Document.Document<A>,
    apply: Change<A, E, R>,
    options: ChangeOptions<A>
  ) => Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | Pipeline.Rejected | WriteFailure | E, R>
  /** Puts a whole document in the place of whatever is there, or of the version named. `NotFound`, `Conflict`. */
  readonly replace: (
    input: unknown,
    options: ReplaceOptions<A>
  ) => Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | Pipeline.Rejected | WriteFailure>
  /** Creates a document, or changes the one that is there. `Conflict`: it kept changing. */
  readonly upsert: <E>(
    input: unknown,
    apply: Change<A, E, never>,
    options: UpsertOptions<A>
  ) => Effect.Effect<Base<A>, DbError.Conflict | Pipeline.Rejected | WriteFailure | E>
  /** Deletes whatever version there is. `NotFound` with `mustExist`; `Conflict`: it kept changing. */
  readonly remove: (
    id: string,
    options: Options<A> & { readonly mustExist: boolean }
  ) => Effect.Effect<Removal, RemoveFailure>
  /** Deletes the version in hand. `NotFound`, `Conflict`. */
  readonly removeVersion: (document: Document.Document<A>, options: Options<A>) => Effect.Effect<Removal, RemoveFailure>
  /** Deletes many, whatever versions there are. */
  readonly removeMany: (
    ids: ReadonlyArray<string>,
    options: RemoveManyOptions<A>
  ) => Effect.Effect<RemovedMany, DbError.InvalidInput | ReadFailure>
}

/**
 * What deleting a document may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type RemoveFailure = DbError.NotFound | DbError.Conflict | DbError.InvalidInput | Pipeline.Rejected | ReadFailure

/**
 * Makes the writer that chooses, at each call, between the two: `transactional` within a transaction, else `direct`. What is
 * known of the catalog is fresh when they begin, or when they have made a version ready. Each is to be called where it is run: what it
 * does until its first request is done then.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  direct: Writer<A>,
  transactional: (transaction: Transaction.Transaction) => Writer<A>
): Writer<A> => {
  const use = <X, E, R>(
    write: (writer: Writer<A>) => Effect.Effect<X, E, R>,
    failedOf?: (outcome: X) => ReadonlyArray<unknown>
  ): Effect.Effect<X, E | DbError.Failure, R> =>
    Effect.flatMapEager(context.writableEager(), () => {
      const transaction = ambient(Transaction.Current)
      if (transaction !== undefined) return write(transactional(transaction))
      const writing = write(direct)
      return context.readThrough() === undefined ? writing : forgetting.inDoubt(context, writing, failedOf)
    })
  /** The writer of a write that needs nothing before it or after it: a version that is made ready at once sees itself to what is fresh. */
  const atOnce = (): Writer<A> | undefined =>
    context.seemsWritable() && ambient(Transaction.Current) === undefined && context.readThrough() === undefined
      ? direct
      : undefined
  const create: Writer<A>["create"] = (input, options) => use((writer) => writer.create(input, options))
  const replace: Writer<A>["replace"] = (input, options) => use((writer) => writer.replace(input, options))
  return {
    create: (input, options) => atOnce()?.create(input, options) ?? create(input, options),
    change: (target, apply, options) => use((writer) => writer.change(target, apply, options)),
    replace: (input, options) => atOnce()?.replace(input, options) ?? replace(input, options),
    upsert: (input, apply, options) => use((writer) => writer.upsert(input, apply, options)),
    remove: (id, options) => use((writer) => writer.remove(id, options)),
    removeVersion: (document, options) => use((writer) => writer.removeVersion(document, options)),
    removeMany: (ids, options) =>
      use(
        (writer) => writer.removeMany(ids, options),
        (removed) => removed.failed.map(({ error }) => error)
      )
  }
}

/**
 * Runs the conditions of a write on the document that they are about.
 *
 * @category combinators
 * @since 0.1.0
 */
export const passes = <A>(
  checks: ReadonlyArray<Pipeline.Check<A>>,
  value: A
): Effect.Effect<void, Pipeline.Rejected | DbError.DbError> =>
  checks.length === 0 ? Effect.void : Effect.forEach(checks, (check) => check(value), { discard: true })

/**
 * Runs what has to be done right before a write is sent.
 *
 * @category combinators
 * @since 0.1.0
 */
export const runBeforeCommit = <A>(
  all: ReadonlyArray<Pipeline.BeforeCommit<A>>,
  write: {
    readonly id: string
    readonly writeId: string
    readonly before: A | undefined
    readonly after: A | undefined
  }
): Effect.Effect<void, Pipeline.Rejected | DbError.DbError> => {
  if (all.length === 0) return Effect.void
  const { id, writeId } = write
  const before = Option.fromUndefinedOr(write.before)
  const after = Option.fromUndefinedOr(write.after)
  return Effect.forEach(all, (one) => one({ id, writeId, before, after }), { discard: true })
}
