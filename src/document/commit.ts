/**
 * The protocol by which one version of a document is written so that it is found through every partition it belongs to,
 * and has its unique values for itself, whatever crashes when.
 *
 * **Details**
 *
 * A write reserves unique values, puts the markers of partitions, and then the document: that is the commit. Afterwards it
 * removes the markers and reservations that the version before had and this one has not. What a crash leaves behind is
 * never more than markers and reservations that no document owns: readers pass them over, `repair` removes them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Id from "../crypto/Id.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { isDone } from "../internal/done.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import type * as StoreError from "../storage/StoreError.ts"
import type { OnCommit, Removal } from "./commits.ts"
import type { Base, Context, LostRace } from "./context.ts"
import * as documentObject from "./documentObject.ts"
import type { Announcement, Entry, Journal } from "./journal.ts"
import * as Following from "./following.ts"
import type { Replaced } from "./following.ts"
import * as forgetting from "./forgetting.ts"
import type { Indexes } from "./indexes.ts"
import type { Preparation, Prepared } from "./prepare.ts"
import type { Condition, Reader, ReadFailure } from "./read.ts"
import type { Reservations, Reserved } from "./reservations.ts"
import type { Versions } from "./versions.ts"

/**
 * How old a marker has to be, by the store's clock, before `repair` takes it for a leftover: 15 minutes. Until then the
 * write that made it may still be under way.
 *
 * @category constants
 * @since 0.1.0
 */
export const markerGraceMillis = 900_000

/**
 * What sending a version may fail with. `AlreadyExists`: a reservation tells that a new document is there; `NotFound`: the
 * version that was to be replaced is gone.
 *
 * @category errors
 * @since 0.1.0
 */
export type SendError =
  | DbError.AlreadyExists
  | DbError.NotFound
  | DbError.UniqueViolation
  | DbError.InvalidInput
  | ReadFailure

/**
 * The last step of every write: a version that is ready is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Committer<A> {
  /**
   * Sends a version: reservations, markers, the document. To be called where it is run. That it is there is told; then what the version before owned is
   * removed. Lost: another write was first, and nothing is left of this one.
   */
  readonly send: (
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ) => Effect.Effect<Base<A> | LostRace, SendError>
  /** Sends a version that owns nothing beside its object. What was there before is not known, and owns nothing either. */
  readonly sendAlone: (
    prepared: Prepared<A>,
    onCommit: OnCommit<A>
  ) => Effect.Effect<Base<A>, StoreError.StoreError | Following.FollowError>
  /** The same on a condition. */
  readonly sendAloneIf: (
    prepared: Prepared<A>,
    condition: Condition,
    onCommit: OnCommit<A>
  ) => Effect.Effect<Base<A> | LostRace, SendError>
  /**
   * Sees to it that a version that a transaction has written is what the catalog wants by now. That it could not is told as
   * a warning: the transaction is committed. No request within the lease of the catalog.
   */
  readonly follow: (prepared: Prepared<A>) => Effect.Effect<void>
  /**
   * Deletes a version, and tells of it; what it owned is left to be tidied. Lost: it is not the present one any more, and
   * nothing has been done.
   *
   * Where an answer can be lost, where a DELETE carries no condition, and where earlier versions are kept, an object that says
   * so takes the place of the document first, on the condition that it is still this version: a deletion is recognised like any
   * other write. Then the object is removed.
   */
  readonly remove: (
    id: string,
    stored: Document.Stored,
    onCommit: OnCommit<A>,
    writeId: string | undefined
  ) => Effect.Effect<Removal | LostRace, SendError>
}

/** A write of the object of a document. */
interface Sent {
  readonly id: string
  readonly key: string
  readonly write: Pick<Document.Write, "writeId">
}

/** A deletion that is done. */
interface Removed {
  readonly id: string
  readonly key: string
  readonly stored: Document.Stored
  readonly deletion: Document.Deletion
  readonly entry: Announcement | undefined
  readonly writeId: string | undefined
  /** By one request, so that nothing is left of it. */
  readonly atOnce: boolean
}

/** What may be interrupted again. */
type Restore = <X, E>(effect: Effect.Effect<X, E>) => Effect.Effect<X, E>

/** Whether a version owns something beside its object. */
const ownsSomething = (stored: Document.Stored): boolean =>
  stored.markers !== Document.none ||
  stored.companions !== Document.none ||
  stored.claims !== Document.none ||
  stored.content !== undefined

/**
 * Makes what commits the versions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    indexes,
    journal,
    preparation,
    reader,
    reservations,
    versions
  }: {
    readonly indexes: Indexes<A>
    readonly journal: Journal
    readonly preparation: Preparation<A>
    readonly reader: Reader<A>
    readonly reservations: Reservations
    readonly versions: Versions<A>
  }
): Committer<A> => {
  const { capabilities, know, missing, name, place, settings, store } = context

  /**
   * What became of a write that was refused: its revision when it landed all the same, since something between here and
   * the store may have sent it twice; lost when another write took its place. When an answer of it was lost before and
   * neither can be told, an `OutcomeUnknown`.
   */
  const settle = Effect.fnUntraced(function* (
    { id, key, write: { writeId } }: Sent,
    replaces: string | undefined,
    afterUnknown: boolean
  ): Effect.fn.Return<string | LostRace, StoreError.StoreError | DbError.OutcomeUnknown> {
    const found = yield* Effect.catchReason(documentObject.load(place, key, id), "StoreError", "Corrupt", () =>
      Effect.succeed(undefined)
    ).pipe(
      Effect.mapError((error) => {
        // Nothing sends a request twice on the way to such a store.
        if (!afterUnknown && capabilities.sureAnswers === true) return error
        // That it cannot be read now says nothing of the write: who undid it would take away what it has.
        const description = `document ${JSON.stringify(id)} cannot be read, so that it is not known whether the write has been done: ${error.message}`
        return new DbError.OutcomeUnknown({ description })
      })
    )
    if (found !== undefined) {
      switch (Document.outcomeOf(found, { writeId, replaces })) {
        case "landed":
          return found.etag
        case "superseded":
          // Later writes have replaced that version: its revision matches nothing any more.
          return `superseded-${writeId}`
        case "refused":
          context.contention.lostAt = Document.nowUnsafe()
          return new CasCell.Lost(found)
        case "unknown":
      }
    }
    if (!afterUnknown) return new CasCell.Lost(found)
    const description = `an answer was lost, and document ${JSON.stringify(id)} has been changed or removed since, so that the write may have been done`
    return yield* new DbError.OutcomeUnknown({ description })
  })

  /** Puts the object of a document, and goes on with its revision. */
  const put = <X, E>(
    sent: Sent,
    { body, contentType, metadata }: ReturnType<typeof Document.toObject>,
    condition: Condition,
    follow: (etag: string) => Effect.Effect<X, E>
  ): Effect.Effect<X | LostRace, PutError | E> => {
    const { key } = sent
    const ifMatch = "ifMatch" in condition ? condition.ifMatch : undefined
    const ifNoneMatch = "ifMatch" in condition ? undefined : condition.ifNoneMatch
    return Effect.matchEffect(store.put({ key, body, contentType, metadata, ifMatch, ifNoneMatch }), {
      onSuccess: ({ etag }): Effect.Effect<X | LostRace, PutError | E> => follow(etag),
      onFailure: (error): Effect.Effect<X | LostRace, PutError | E> => {
        const { reason } = error
        if (reason._tag === "PreconditionFailed") {
          const replaces = "ifMatch" in condition ? condition.replaces : undefined
          const settled = settle(sent, replaces, reason.afterUnknown === true)
          return Effect.flatMap(settled, (etag): Effect.Effect<X | LostRace, E> =>
            CasCell.isLost(etag) ? Effect.succeed(etag) : follow(etag)
          )
        }
        return Effect.fail(reason._tag === "NoSuchKey" ? missing(sent.id) : error)
      }
    })
  }

  const written = (
    { carried, former, id, isAllKnown, isSettled, isUnderOldKey, json, key, value }: Prepared<A>,
    write: Document.Write,
    object: ReturnType<typeof Document.toObject>,
    etag: string
  ): Base<A> => {
    const stored = Document.stored(write, object, etag)
    place.hand?.({ key, etag, metadata: object.metadata, body: object.body })
    return know({ id, key, value, stored, carried, former, isAllKnown, isUnderOldKey, json, isSettled })
  }

  /**
   * Puts what can be lost to another writer. Neither the request nor what follows is interrupted: whoever gives up waiting
   * leaves nothing, or all of it. The time limit of the store is the longest that it takes.
   */
  const thenForSure = <X, E, E2>(
    put: Effect.Effect<string | LostRace, E>,
    follow: (etag: string) => Effect.Effect<X, E2>,
    undo: Effect.Effect<void> = Effect.void
  ): Effect.Effect<X | LostRace, E | E2> =>
    Effect.uninterruptible(
      Effect.flatMap(put, (etag): Effect.Effect<X | LostRace, E2> =>
        CasCell.isLost(etag) ? Effect.as(undo, etag) : follow(etag)
      )
    )

  /** Puts a version that has all that it owns, and tells of it. */
  const putAndTell = (
    prepared: Prepared<A>,
    condition: Condition,
    replaced: Replaced | undefined,
    onCommit: OnCommit<A>
  ) => {
    const object = Document.toObject(prepared.write)
    return Effect.uninterruptible(
      put(prepared, object, condition, (etag) =>
        following.afterCommit(prepared, written(prepared, prepared.write, object, etag), replaced, onCommit)
      )
    )
  }

  /** The entry of a version in the journal. */
  const entryOf = (condition: Condition, before: Base<A> | undefined, after: Document.Write): Entry => {
    const { over } = { over: undefined, ...condition }
    return {
      writeId: after.writeId,
      previous: before === undefined ? over?.identity : Document.identityOf(before.stored),
      kind: before === undefined && over?.isDocument !== true ? "insert" : "update",
      time: after.writtenAt,
      before: before?.stored,
      after
    }
  }

  /**
   * Reserves what a version is to have for itself, and puts its markers and its entry in the journal; interrupted, it leaves
   * nothing. Lost: the answer to the entry was.
   */
  const makeReady = Effect.fnUntraced(function* (
    { id, newMarkers, wanted, write }: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    restore: Restore
  ) {
    const reserved =
      wanted.length === 0 ? noneReserved : yield* restore(reservations.reserve(id, wanted, before === undefined))
    const owned = { ...write, claims: withReserved(write.claims, reserved) }
    let entry: Announcement | LostRace | undefined
    const undo = Effect.suspend(() => {
      const made = entry === undefined || CasCell.isLost(entry) ? undefined : entry
      const keys = made === undefined ? newMarkers : [...newMarkers, made.key]
      const dropped = Effect.andThen(documentObject.dropMarkers(place, keys), reservations.release(id, reserved))
      return made === undefined ? dropped : Effect.andThen(made.abandoned, dropped)
    })
    const announcing = () =>
      Effect.tap(journal.announce(id, entryOf(condition, before, owned)), (announced) =>
        Effect.sync(() => void (entry = announced))
      )
    const marking = documentObject.putMarkers(place, newMarkers)
    const putting = journal.isKept()
      ? Effect.all([marking, announcing()], { concurrency: "unbounded", discard: true })
      : marking
    yield* Effect.onError(restore(putting), () => undo)
    return { entry, owned, reserved, undo }
  })

  /** The reservations and markers of a version, then the version. */
  const sendOwning = (
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ) => Effect.uninterruptibleMask((restore) => sendOwningWithin(restore, prepared, condition, before, onCommit))

  /** `restore`: of what may be interrupted; all else is not. */
  const sendOwningWithin = Effect.fnUntraced(function* (
    restore: Restore,
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ): Effect.fn.Return<Base<A> | LostRace, SendError> {
    const elapsed = yield* StoreClock.stopwatch
    const { entry, owned: write, reserved, undo } = yield* makeReady(prepared, condition, before, restore)
    // By now others may have taken for leftovers what was made, or nobody knows of the entry: it is done again.
    const isLate = (yield* elapsed) > patience(settings.uniqueLease, reserved)
    if (isLate || CasCell.isLost(entry)) return yield* Effect.as(undo, lostToTime)
    const object = Document.toObject(write)
    // Undone only if the write was certainly not done, and never will be.
    const etag = yield* Effect.tapError(put(prepared, object, condition, itsRevision), (error) =>
      error._tag === "NotFound" || error.outcome === "none" ? undo : Effect.void
    )
    if (CasCell.isLost(etag)) return yield* Effect.as(undo, etag)
    if (entry !== undefined) yield* entry.committed
    // A repair may have taken them for leftovers by now.
    if ((yield* elapsed) > markerGraceMillis / 2) yield* documentObject.putMarkers(place, prepared.newMarkers)
    if (reserved.length > 0 && (yield* elapsed) > settings.uniqueLease / 2) {
      const violation = yield* reservations.lost(prepared.id, reserved)
      if (violation !== undefined) {
        yield* takeBack(prepared.id, write, etag, before?.stored)
        return yield* violation
      }
    }
    const replaced = { before: before?.stored }
    return yield* following.afterCommit(prepared, written(prepared, write, object, etag), replaced, onCommit)
  })

  /** Undoes a version that was written after its reservation had been taken over: the version before comes back. */
  const takeBack = Effect.fnUntraced(function* (
    id: string,
    write: Document.Write,
    etag: string,
    old: Document.Stored | undefined
  ) {
    const key = yield* context.key(id)
    const attempt = Effect.gen(function* () {
      const next = {
        writeId: yield* Id.writeId,
        writtenAt: yield* Document.now,
        ancestors: [write.writeId, ...write.ancestors]
      }
      const back = old === undefined ? undefined : { ...old, ...next, origin: undefined, version: write.version + 1 }
      const entry = yield* journal.announce(id, {
        writeId: next.writeId,
        previous: Document.identityOf(write),
        kind: old === undefined ? "delete" : "update",
        time: next.writtenAt,
        before: write,
        after: back
      })
      if (CasCell.isLost(entry)) return undefined
      const undoing: Effect.Effect<unknown, StoreError.StoreError> =
        back !== undefined
          ? store.put({ key, ...Document.toObject(back), ifMatch: etag })
          : capabilities.conditionalDelete && entry === undefined
            ? store.delete(key, { ifMatch: etag })
            : store.put({
                key,
                ...Document.toTombstone(next, { deletedAt: next.writtenAt, last: undefined }),
                ifMatch: etag
              })
      const isDone = yield* undoing.pipe(
        Effect.as(true),
        Effect.catchReasons("StoreError", {
          PreconditionFailed: () => Effect.succeed(false),
          NoSuchKey: () => Effect.succeed(false)
        })
      )
      if (entry !== undefined && isDone) yield* entry.committed
      return isDone
    })
    let isDone: boolean | undefined
    // An entry whose answer was lost begins anew.
    while (isDone === undefined) isDone = yield* attempt
    // Somebody may have read it meanwhile.
    yield* forgetting.forget(context, () => ({ ids: [id], prefixes: undefined }))
    // Who has changed it since goes on with its markers.
    if (isDone) yield* documentObject.dropMarkers(place, documentObject.markersBut(name, id, write, old))
    return isDone
  })

  /** Deletes the version by one request, where its answer can be relied upon. */
  const deleteAtOnce = (
    key: string,
    id: string,
    { revision }: Document.Stored
  ): Effect.Effect<string | LostRace, StoreError.StoreError | DbError.NotFound> =>
    store.delete(key, { ifMatch: revision }).pipe(
      Effect.as<string | LostRace>(revision),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(new CasCell.Lost<Document.Slot | undefined>(undefined)),
        NoSuchKey: () => Effect.fail(missing(id))
      })
    )

  const remove: Committer<A>["remove"] = Effect.fnUntraced(function* (id, stored, onCommit, given) {
    const key = yield* Effect.orDie(context.key(id))
    const isSure = capabilities.sureAnswers === true && capabilities.conditionalDelete
    const writeId = given ?? (yield* Id.writeId)
    const deletion = yield* versions.deletionOf(stored)
    yield* versions.keep(id, stored)
    const tombstone = Document.toTombstone({ writeId, ancestors: [stored.writeId, ...stored.ancestors] }, deletion)
    const entry = yield* journal.announce(id, {
      writeId,
      previous: Document.identityOf(stored),
      kind: "delete",
      time: deletion.deletedAt,
      before: stored
    })
    if (CasCell.isLost(entry)) return lostToTime
    const undo =
      entry === undefined
        ? Effect.void
        : Effect.andThen(entry.abandoned, documentObject.dropMarkers(place, [entry.key]))
    const atOnce = isSure && deletion.last === undefined && entry === undefined
    const deleting: Effect.Effect<string | LostRace, SendError> = atOnce
      ? deleteAtOnce(key, id, stored)
      : Effect.tapError(
          put(
            { id, key, write: { writeId } },
            tombstone,
            { ifMatch: stored.revision, replaces: stored.writeId },
            itsRevision
          ),
          (error) => (error._tag === "NotFound" || error.outcome === "none" ? undo : Effect.void)
        )
    const removed = { atOnce, deletion, entry, id, key, stored, writeId: given }
    return yield* thenForSure(deleting, (etag) => afterRemoval(removed, etag, onCommit), undo)
  })

  const afterRemoval = Effect.fnUntraced(function* (
    { atOnce, deletion, entry, id, key, stored, writeId }: Removed,
    etag: string,
    onCommit: OnCommit<A>
  ) {
    const removal: Removal = { isKnown: true, stored }
    if (entry !== undefined) yield* entry.committed
    yield* onCommit({ id, ...removal, writeId, after: undefined })
    // Who keeps the journal removes it.
    if (entry !== undefined) yield* documentObject.tellDeletion(place, id, deletion)
    else if (!atOnce) yield* documentObject.sweepDeletion(place, key, id, { deletion, etag })
    return removal
  })

  /** Sends a version after the one before has been kept. */
  const sendKept = (
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ): Effect.Effect<Base<A> | LostRace, SendError> =>
    prepared.newMarkers.length > 0 || prepared.wanted.length > 0 || journal.isKept()
      ? sendOwning(prepared, condition, before, onCommit)
      : putAndTell(prepared, condition, { before: before?.stored }, onCommit)

  const sendLater = <E>(
    keeping: Effect.Effect<void, E>,
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ) => Effect.flatMapEager(keeping, () => sendKept(prepared, condition, before, onCommit))

  /** Removes what the version before owned, after another has taken its place. */
  const tidied = (sent: Effect.Effect<Base<A> | LostRace, SendError>, id: string, old: Document.Stored) =>
    Effect.tap(sent, (sent) => (CasCell.isLost(sent) ? Effect.void : documentObject.tidy(place, id, old, sent.stored)))

  const committer: Committer<A> = {
    follow: (prepared) => following.afterTransaction(prepared),
    remove,
    sendAlone: (prepared, onCommit) => {
      const object = Document.toObject(prepared.write)
      const { body, contentType, metadata } = object
      return Effect.uninterruptible(
        Effect.flatMap(store.put({ key: prepared.key, body, contentType, metadata }), ({ etag }) =>
          following.afterCommit(prepared, written(prepared, prepared.write, object, etag), undefined, onCommit)
        )
      )
    },
    sendAloneIf: (prepared, condition, onCommit) => putAndTell(prepared, condition, undefined, onCommit),
    send: (prepared, condition, before, onCommit) => {
      const old = before?.stored
      const keeping = versions.keep(prepared.id, old)
      const sent = isDone(keeping)
        ? sendKept(prepared, condition, before, onCommit)
        : sendLater(keeping, prepared, condition, before, onCommit)
      return old === undefined || !ownsSomething(old) ? sent : tidied(sent, prepared.id, old)
    }
  }
  const following = Following.make(context, { indexes, preparation, reader, send: committer.send, takeBack, versions })
  return committer
}

const noneReserved: ReadonlyArray<Reserved> = []

/** What putting the object of a document may fail with. */
type PutError = StoreError.StoreError | DbError.OutcomeUnknown | DbError.NotFound

/** Goes on with nothing. */
const itsRevision = (etag: string): Effect.Effect<string> => Effect.succeed(etag)

/**
 * A write that took too long: what was made for the version may have been taken for a leftover before it was sent. Nothing is
 * left of it.
 *
 * @category constants
 * @since 0.1.0
 */
export const lostToTime: LostRace = new CasCell.Lost<Document.Slot | undefined>(undefined)

/**
 * Returns the milliseconds in which a version has to be in its place after its reservations and markers were made: half of
 * what they last.
 *
 * @category getters
 * @since 0.1.0
 */
export const patience = (uniqueLease: number, reserved: ReadonlyArray<unknown>): number =>
  // A lease that no write could keep would have it made again for ever: then it is only looked into afterwards.
  (reserved.length === 0 || uniqueLease < leastLease ? markerGraceMillis : Math.min(markerGraceMillis, uniqueLease)) / 2

const leastLease = 2_000

/**
 * Returns the claims of a version with those that have just been reserved.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withReserved = (
  claims: Document.Write["claims"],
  reserved: ReadonlyArray<Reserved>
): Document.Write["claims"] =>
  reserved.length === 0
    ? claims
    : { ...claims, ...Object.fromEntries(reserved.map(({ claim, unique }) => [unique.name, claim])) }
