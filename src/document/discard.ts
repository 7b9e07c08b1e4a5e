/**
 * Documents that cannot be read: what removes them, and what puts something else in their place.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import * as Content from "../Content.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import * as CasCell from "../kernel/CasCell.ts"
import { percentEncode } from "../internal/text.ts"
import type { StoreError } from "../storage/StoreError.ts"
import * as Unique from "../Unique.ts"
import { markerGraceMillis } from "./commit.ts"
import type { OnCommit } from "./commits.ts"
import type { Context } from "./context.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"
import type { Indexes } from "./indexes.ts"
import type { Journal } from "./journal.ts"
import * as Leftovers from "./leftovers.ts"
import { ancestorsOf } from "./prepare.ts"
import type { Reader, ReadFailure } from "./read.ts"
import * as remains from "./remains.ts"
import type { Versions } from "./versions.ts"
import { defaultRetries } from "./writer.ts"

/**
 * What is done with documents of a resource that cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Discarding<A> {
  /**
   * Removes a document that cannot be read, on the condition that it is still the same, and what belongs to it; gives the keys
   * that are gone. `undefined`: it can be read, and is left as it is.
   *
   * 2 GET and 1 DELETE, where the body tells what it owns 1 GET and 1 DELETE for each; else all markers and reservations of the
   * resource are listed, and each reservation costs 1 GET. `NotFound`, `Conflict`.
   */
  readonly discard: (
    id: string,
    onCommit: OnCommit<A>
  ) => Effect.Effect<
    ReadonlyArray<string> | undefined,
    DbError.NotFound | DbError.Conflict | DbError.InvalidInput | ReadFailure
  >
  /** Removes what a version owned that could not be read and has been replaced, as far as it told so. It never fails. */
  readonly tidy: (id: string, replaced: Document.Stored, kept: Document.Stored) => Effect.Effect<void>
}

/**
 * Makes what discards documents of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    indexes,
    journal,
    reader,
    versions
  }: {
    readonly indexes: Indexes<A>
    readonly journal: Journal
    readonly reader: Reader<A>
    readonly versions: Versions<A>
  }
): Discarding<A> => {
  const { capabilities, missing, name, place, settings, store } = context
  const leftovers = Leftovers.make(context, reader)

  /** What is there of a document that cannot be read; `undefined` when it can. */
  const find = Effect.fnUntraced(function* (id: string, key: string) {
    const found = yield* remains.settled(place, key, id)
    if (found?._tag === "Remains") return found.remains
    const stored = found?.slot.stored
    if (found === undefined || stored === undefined) return yield* missing(id)
    const decoded = yield* Effect.result(reader.decode(id, stored))
    if (decoded._tag === "Success") return undefined
    const { failure } = decoded
    // That a program lacks the key is no fault of the document.
    const isLocked = failure._tag === "SecretUnreadable" && failure.why === "UnknownKey"
    if (!isDamage(failure) || isLocked) return yield* failure
    return { etag: found.slot.etag, stored, identity: Document.identityOf(stored), isTold: true }
  })

  /** What the history is to say of the end of a document: its last version has no copy, and where it is none was kept. */
  const endOf = Effect.fnUntraced(function* (id: string, { stored }: remains.Remains) {
    const deletedAt = yield* Document.now
    if (!settings.history) return { deletedAt, last: undefined }
    if (stored.version > 0) return { deletedAt, last: stored }
    const newest = (yield* versions.past(id)).entries.at(-1)
    // Where nothing was kept there is no time at which there was something else.
    if (newest === undefined || newest.isDeletion) return { deletedAt, last: undefined }
    const { createdAt, version } = newest
    return { deletedAt, last: { createdAt, version: version + 1, writeId: stored.writeId || (yield* Id.writeId) } }
  })

  /** Removes the object by one request, where its answer can be relied upon; `false` when something has taken its place. */
  const deleteAtOnce = (key: string, etag: string) =>
    store.delete(key, { ifMatch: etag }).pipe(
      Effect.as(true),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(false),
        NoSuchKey: () => Effect.succeed(false)
      })
    )

  /**
   * Removes the object, and nothing that has taken its place; `false` when something has. Like any deletion: on a network an
   * object that says so takes its place first.
   */
  const removeObject = Effect.fnUntraced(function* (id: string, key: string, found: remains.Remains) {
    const { etag, stored } = found
    if (etag === undefined) {
      // What the store itself cannot read has no ETag, and no condition to be met.
      yield* store.delete(key)
      return true
    }
    const deletion = yield* endOf(id, found)
    const isSure = capabilities.sureAnswers === true && capabilities.conditionalDelete
    const writeId = yield* Id.writeId
    const entry = yield* journal.announce(id, {
      writeId,
      previous: found.identity,
      kind: "delete",
      time: deletion.deletedAt
    })
    // It begins anew.
    if (CasCell.isLost(entry)) return false
    if (isSure && deletion.last === undefined && entry === undefined) return yield* deleteAtOnce(key, etag)
    const tombstone = Document.toTombstone(
      { writeId, ancestors: stored.writeId === "" ? [] : ancestorsOf(stored) },
      deletion
    )
    const placed = yield* store.put({ key, ...tombstone, ifMatch: etag }).pipe(
      Effect.map((put): string | undefined => put.etag),
      Effect.catchReasons("StoreError", {
        // It may have been sent twice.
        PreconditionFailed: () =>
          Effect.map(remains.settled(place, key, id), (now) =>
            now?._tag === "Slot" && now.slot.writeId === writeId ? now.slot.etag : undefined
          ),
        NoSuchKey: () => Effect.succeed(undefined)
      })
    )
    if (entry !== undefined) {
      const undo = Effect.andThen(entry.abandoned, documentObject.dropMarkers(place, [entry.key]))
      const keep = Effect.andThen(entry.committed, documentObject.tellDeletion(place, id, deletion))
      yield* placed === undefined ? undo : keep
    } else if (placed !== undefined) {
      yield* documentObject.sweepDeletion(place, key, id, { deletion, etag: placed })
    }
    return placed !== undefined
  })

  /** Frees a reservation that a version has made, if it is still that one: the object may be a copy of another document's. */
  const freeClaim = Effect.fnUntraced(function* (id: string, label: string, claim: Document.Claim) {
    const key = Unique.keyOf(name, label, claim.digest)
    const found = yield* Unique.find(store, key)
    if (found?.owners.includes(id) !== true || found.etag !== Unique.freedAt(claim.etag, false)) return []
    yield* Unique.release(store, capabilities, key, found.etag)
    return [key]
  })

  /** Removes what a version says that it owned, but for its content. */
  const removeOwned = Effect.fnUntraced(function* (
    id: string,
    gone: Document.Stored,
    kept: Document.Stored | undefined
  ) {
    const keys = documentObject.markersBut(name, id, gone, kept)
    const { deleted } = keys.length === 0 ? { deleted: [] } : yield* store.deleteMany(keys, { repeatable: true })
    const claims = Object.entries(gone.claims).filter(([label, { digest }]) => kept?.claims[label]?.digest !== digest)
    const freed = yield* Effect.forEach(claims, ([label, claim]) => freeClaim(id, label, claim))
    return [...deleted, ...freed.flat()]
  })

  /** Removes what was meant for a document and belongs to none, of those that are listed below a prefix. */
  const removeListed = (id: string, kind: Leftovers.Kind) =>
    leftovers.list(kind.prefix).pipe(
      Stream.filter(({ key }) => {
        const parsed = kind.parse(key)
        return parsed !== undefined && (parsed.id === undefined || parsed.id === id)
      }),
      Stream.mapEffect(
        Effect.fnUntraced(function* (listed) {
          const found = yield* kind.find(listed)
          if (found?.id !== id) return undefined
          yield* found.remove
          return listed.key
        }),
        { concurrency: 16 }
      ),
      Stream.filter((key) => key !== undefined),
      Stream.runCollect
    )

  /** Removes what belonged to a document that has been removed. */
  const removeRest = Effect.fnUntraced(function* (id: string, { isTold, stored }: remains.Remains) {
    const { companions, partitions, uniques } = yield* indexes.all
    const removed: Array<string> = []
    if (isTold) removed.push(...(yield* removeOwned(id, stored, undefined)))
    else {
      if (partitions.size > 0) removed.push(...(yield* removeListed(id, leftovers.markers(markerGraceMillis))))
      if (companions.size > 0) removed.push(...(yield* removeListed(id, leftovers.companions(markerGraceMillis))))
      if (uniques.size > 0) removed.push(...(yield* removeListed(id, leftovers.reservations)))
    }
    if (settings.content) {
      const { find, parse, prefix } = leftovers.contents(markerGraceMillis)
      // The name of a content is never used again: nobody is about to own that one.
      const isNamed = (key: string) => stored.content !== undefined && Content.parse(key)?.name === stored.content.name
      const named = (listed: Leftovers.Listed) =>
        isNamed(listed.key)
          ? Effect.succeed({ id, remove: store.delete(listed.key, { repeatable: true }) })
          : find(listed)
      removed.push(...(yield* removeListed(id, { parse, find: named, prefix: `${prefix}id=${percentEncode(id)}/` })))
    }
    return removed
  })

  /** The document is gone: that something of it is left is no failure. */
  const leftBehind = (error: StoreError | DbError.DbError) =>
    Effect.as(
      Effect.logWarning("what belonged to a document was left behind; it does no harm, and repair removes it", error),
      []
    )

  return {
    discard: Effect.fnUntraced(function* (id, onCommit) {
      yield* context.writable
      const key = yield* context.key(id)
      const attempt = Effect.fnUntraced(function* () {
        const found = yield* find(id, key)
        if (found === undefined) return { found }
        const isDone = yield* Effect.uninterruptible(
          Effect.tap(removeObject(id, key, found), (isDone) =>
            isDone ? onCommit({ id, isKnown: true, stored: found.stored, after: undefined }) : Effect.void
          )
        )
        return isDone ? { found } : new CasCell.Lost(found.etag)
      })
      const { found } = yield* CasCell.contend(attempt, {
        retries: defaultRetries,
        exhausted: (revision = "") => Effect.fail(new DbError.Conflict({ resource: name, id, revision }))
      })
      if (found === undefined) return undefined
      return [key, ...(yield* Effect.catch(removeRest(id, found), leftBehind))]
    }),
    tidy: (id, replaced, kept) => Effect.asVoid(Effect.catch(removeOwned(id, replaced, kept), leftBehind))
  }
}
