/**
 * What follows the commit of a version: that it is what the catalog wanted of it, also when the catalog has changed while the
 * write was under way.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import { isDone } from "../internal/done.ts"
import * as CasCell from "../kernel/CasCell.ts"
import type { StoreError } from "../storage/StoreError.ts"
import type { Commit, OnCommit } from "./commits.ts"
import type { Base, Context, LostRace } from "./context.ts"
import * as documentObject from "./documentObject.ts"
import * as forgetting from "./forgetting.ts"
import type { Indexes } from "./indexes.ts"
import type { Preparation, Prepared } from "./prepare.ts"
import type { Condition, Reader, ReadFailure } from "./read.ts"
import type { Versions } from "./versions.ts"

/**
 * What following a commit may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type FollowError = DbError.UniqueViolation | ReadFailure

/**
 * The step between the commit of a version and its acknowledgement.
 *
 * @category models
 * @since 0.1.0
 */
export interface Following<A> {
  /**
   * Looks whether the catalog still wants what a version was made ready by, if what is known of it is not fresh; if it wants
   * more, writes the version again. Then tells of it. `replaced` is the version before, where it is known. No request within
   * the lease of the catalog.
   *
   * `UniqueViolation`: another document has a value that has become unique; the version has been taken back.
   * `OutcomeUnknown`: it is written, and may lack what the catalog wants; `repair` finds it.
   */
  readonly afterCommit: (
    prepared: Prepared<A>,
    sent: Base<A>,
    replaced: Replaced | undefined,
    onCommit: OnCommit<A>
  ) => Effect.Effect<Base<A>, FollowError>
  /** The same for a version that a transaction has written. What goes wrong is told as a warning. */
  readonly afterTransaction: (prepared: Prepared<A>) => Effect.Effect<void>
}

/** How often a version is written again when others were first. */
const retries = 20

/**
 * What a version has replaced, where that is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replaced {
  readonly before: Document.Stored | undefined
}

/**
 * Makes what follows the commits of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, E>(
  context: Context<A>,
  {
    indexes,
    preparation,
    reader,
    send,
    takeBack,
    versions
  }: {
    readonly indexes: Indexes<A>
    readonly preparation: Preparation<A>
    readonly reader: Reader<A>
    readonly send: (
      prepared: Prepared<A>,
      condition: Condition,
      before: Base<A>,
      onCommit: () => Effect.Effect<void>
    ) => Effect.Effect<Base<A> | LostRace, E>
    readonly takeBack: (
      id: string,
      write: Document.Write,
      etag: string,
      old: Document.Stored | undefined
    ) => Effect.Effect<boolean, DbError.InvalidInput | StoreError>
    readonly versions: Versions<A>
  }
): Following<A> => {
  const { fresh, database, name, place, settings } = context
  const isSame = (prepared: Prepared<A>) => {
    const upkeep = database.upkeep(name)
    return upkeep?.text === prepared.upkeep && upkeep?.beyond === undefined
  }

  /** Whether the catalog wants nothing that this program cannot tell, but for what it knew of when the version was made ready. */
  const isTold = (prepared: Prepared<A>) =>
    Effect.map(
      indexes.untold,
      (untold) =>
        database.upkeep(name)?.beyond === undefined && untold.every((label) => prepared.untold.includes(label))
    )

  /** Whether the journal has no entry of a version, since it was declared meanwhile: another version will have one. */
  const misses = ({ isJournaled }: Prepared<A>) => settings.journal !== undefined && !isJournaled

  /** Writes a version again with what it lacks, unless another write has taken its place: that one sees to it itself. */
  const complete = (sent: Base<A>, isMissed: boolean) =>
    CasCell.contend(
      Effect.fnUntraced(function* (last: CasCell.Lost<unknown> | undefined) {
        const base = last === undefined ? sent : yield* reader.loadSettled(sent.id)
        // The intent of a transaction that was aborted leaves the version, under another write id.
        const { ancestors, version, writeId } = base.stored
        const isOurs = [writeId, ancestors[1]].includes(sent.stored.writeId) && version === sent.stored.version
        if (!isOurs || (!isMissed && (yield* indexes.isIndexed(base)))) return base
        const { revision: ifMatch, writeId: replaces } = base.stored
        const prepared = yield* preparation.prepare(base.value, base)
        return yield* send(prepared, { ifMatch, replaces }, base, () => Effect.void)
      }),
      { retries, exhausted: () => Effect.fail(unfinished(sent.id)) }
    ).pipe(
      // It has been deleted since.
      Effect.catchIf(
        (error) => error instanceof DbError.NotFound,
        () => Effect.succeed(sent)
      )
    )

  /** Makes up for what a version was written without. */
  const makeUp = Effect.fnUntraced(function* (prepared: Prepared<A>, sent: Base<A>, replaced: Replaced | undefined) {
    if (!(yield* isTold(prepared))) return yield* unfinished(sent.id)
    yield* versions.keep(sent.id, replaced?.before)
    const isMissed = misses(prepared)
    const isComplete = !isMissed && (yield* indexes.isIndexed(sent))
    const completed = yield* Effect.result(isComplete ? Effect.succeed(sent) : complete(sent, isMissed))
    if (Result.isSuccess(completed)) return completed.success
    const { failure } = completed
    // What was replaced without a look cannot be brought back.
    if (!(failure instanceof DbError.UniqueViolation) || replaced === undefined) return yield* unfinished(sent.id)
    const { revision } = sent.stored
    if (!(yield* takeBack(sent.id, sent.stored, revision, replaced.before))) return yield* unfinished(sent.id)
    yield* documentObject.tidy(place, sent.id, sent.stored, replaced.before)
    return yield* failure
  })

  const commitOf = (id: string, replaced: Replaced | undefined, after: Base<A>): Commit<A> => ({
    id,
    isKnown: replaced !== undefined,
    stored: replaced?.before,
    after
  })

  const lookAfterCommit: Following<A>["afterCommit"] = Effect.fnUntraced(
    function* (prepared, sent, replaced, onCommit) {
      const tell = (after: Base<A>) => onCommit(commitOf(prepared.id, replaced, after))
      const looked = yield* Effect.result(fresh)
      if (Result.isSuccess(looked) && isSame(prepared)) return yield* Effect.as(tell(sent), sent)
      const after = yield* Effect.result(
        Result.isSuccess(looked) ? makeUp(prepared, sent, replaced) : unfinished(sent.id)
      )
      if (Result.isSuccess(after)) return yield* Effect.as(tell(after.success), after.success)
      if (after.failure instanceof DbError.UniqueViolation) return yield* after.failure
      // It is there all the same.
      yield* tell(sent)
      return yield* unfinished(sent.id)
    }
  )

  return {
    afterCommit: (prepared, sent, replaced, onCommit) => {
      if (!database.isFresh() || !isSame(prepared)) return lookAfterCommit(prepared, sent, replaced, onCommit)
      const told = onCommit(commitOf(prepared.id, replaced, sent))
      return isDone(told) ? Effect.succeed(sent) : Effect.as(told, sent)
    },
    afterTransaction: (prepared) =>
      Effect.gen(function* () {
        yield* fresh
        if (isSame(prepared)) return
        if (!(yield* isTold(prepared))) return yield* unfinished(prepared.id)
        const found = yield* Effect.option(reader.loadSettled(prepared.id))
        const isMissed = misses(prepared)
        if (Option.isNone(found) || (!isMissed && (yield* indexes.isIndexed(found.value)))) return
        yield* complete(found.value, isMissed)
        yield* forgetting.forget(context, () => ({ ids: [prepared.id], prefixes: undefined }))
      }).pipe(
        Effect.catch((error) =>
          Effect.logWarning(
            `document ${JSON.stringify(prepared.id)} of a transaction may lack what the catalog wants: repair finds it`,
            error
          )
        )
      )
  }
}

const unfinished = (id: string) => {
  const description = `document ${JSON.stringify(id)} is written, and the catalog wants, or may want, more of it: repair finds what is missing`
  return new DbError.OutcomeUnknown({ description })
}
