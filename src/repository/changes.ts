/**
 * What becomes of a write once it is committed: it is told to who listens, and counted.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Change from "../Change.ts"
import * as Id from "../crypto/Id.ts"
import type * as Document from "../Document.ts"
import type { Commit, OnCommit } from "../document/commits.ts"
import type { Documents } from "../document/documents.ts"
import * as forgetting from "../document/forgetting.ts"
import * as Transaction from "../Transaction.ts"
import type { Counts } from "./counts.ts"

/**
 * The steps that follow a commit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changes<A> {
  /** Tells of a write of the fields, and counts it. */
  readonly onCommit: OnCommit<A>
  readonly onCommits: (commits: ReadonlyArray<Commit<A>>) => Effect.Effect<void>
  /** Tells of a change of content; the fields stay as they are. */
  readonly onContent: (tag: "ContentSet" | "ContentDeleted") => OnCommit<A>
}

/**
 * Makes what tells of the writes of a resource. `all` is the feed of the database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { context, reader }: Documents<A>,
  {
    all,
    counts,
    feed
  }: {
    readonly all: Change.Feed<unknown>
    readonly counts: Counts
    readonly feed: Change.Feed<A>
  }
): Changes<A> => {
  /** Tells of a write: now, or when its transaction is committed. */
  const announce = Effect.fnUntraced(function* (
    _tag: Change.Tag,
    { after, id, stored, writeId }: Commit<A>,
    before: Effect.Effect<Option.Option<A>>
  ) {
    if (!feed.isObservedUnsafe() && !all.isObservedUnsafe()) return
    const event: Change.Change<A> = {
      _tag,
      resource: context.name,
      id,
      before: yield* before,
      after: Option.map(Option.fromUndefinedOr(after), (base) => base.value),
      // Of a version that could not be read nobody knows the number.
      version: Option.filter(Option.fromUndefinedOr((after?.stored ?? stored)?.version), (version) => version > 0),
      writeId: after?.stored.writeId ?? writeId ?? (yield* Id.writeId),
      at: DateTime.makeUnsafe(after === undefined ? yield* Transaction.now : after.stored.writtenAt)
    }
    yield* Transaction.onCommit(
      Effect.andThen(
        feed.publish(() => event),
        all.publish(() => event)
      )
    )
  })

  /** What was there, as far as it can be read. It is gone: that it cannot be read is no failure of the write. */
  const valueOf = (id: string, stored: Document.Stored | undefined) =>
    stored === undefined
      ? Effect.succeedNone
      : Effect.option(Effect.map(reader.decode(id, stored), (base) => base.value))

  const forget = (commits: ReadonlyArray<Commit<A>>) =>
    forgetting.forgetOnCommit(context, () => forgetting.writtenOf(context.name, commits))

  /** Whether somebody is told of writes, or they are counted. */
  const isTold = () =>
    context.readThrough() !== undefined ||
    context.settings.counters !== undefined ||
    feed.isObservedUnsafe() ||
    all.isObservedUnsafe()

  const tellAll = Effect.fnUntraced(function* (commits: ReadonlyArray<Commit<A>>) {
    yield* forget(commits)
    for (const commit of commits) {
      const { after, id, isKnown, stored } = commit
      const wasThere = !isKnown || stored !== undefined
      if (after === undefined && !wasThere) continue
      const tag = after === undefined ? "Deleted" : wasThere ? "Updated" : "Inserted"
      yield* announce(tag, commit, valueOf(id, stored))
    }
    yield* counts.count(commits)
  })

  return {
    onCommits: (commits) => (isTold() ? tellAll(commits) : Effect.void),
    onCommit: (commit) => (isTold() ? tellAll([commit]) : Effect.void),
    onContent: (tag) => (commit) =>
      Effect.andThen(
        forget([commit]),
        announce(tag, commit, Effect.succeed(Option.map(Option.fromUndefinedOr(commit.after), ({ value }) => value)))
      )
  }
}
