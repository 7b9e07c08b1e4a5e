/**
 * Writes of documents that a transaction keeps back until it is committed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import * as CasCell from "../kernel/CasCell.ts"
import type * as Pipeline from "../Pipeline.ts"
import * as Transaction from "../Transaction.ts"
import * as Unique from "../Unique.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { type Committer, patience, withReserved } from "./commit.ts"
import { type Base, type Context, isInHand } from "./context.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"
import type { Announcement, Journal } from "./journal.ts"
import { mostTaken } from "./numbers.ts"
import { ancestorsOf, type Preparation, type Prepared } from "./prepare.ts"
import type { Reader, ReadFailure, View } from "./read.ts"
import type { Reservations } from "./reservations.ts"
import type { Versions } from "./versions.ts"
import {
  type Change,
  type Options,
  passes,
  type RemovedMany,
  runBeforeCommit,
  type WriteFailure,
  type Writer
} from "./writer.ts"

/** Another fiber of the same transaction has changed the document since it was looked at. */
class Stale {
  readonly _tag = "Stale"
}

/** Does what has met a change by another fiber of the transaction once more, with the document as it is now. */
const untilKept = <X, E, R>(attempt: Effect.Effect<X | Stale, E, R>): Effect.Effect<X, E, R> =>
  Effect.flatMap(attempt, (outcome) => (outcome instanceof Stale ? untilKept(attempt) : Effect.succeed(outcome)))

/** A version that is kept back, and the one that it replaces. */
interface Kept<A> {
  readonly before: Base<A> | undefined
  readonly after: Base<A>
}

/**
 * Makes the writers of a resource within transactions. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  parts: {
    readonly committer: Committer<A>
    readonly journal: Journal
    readonly preparation: Preparation<A>
    readonly reader: Reader<A>
    readonly reservations: Reservations
    readonly versions: Versions<A>
  }
): ((transaction: Transaction.Transaction) => Writer<A>) => {
  const { invalid, know, missing, name, numbers, primaryKey } = context
  const { preparation, reader } = parts
  const { prepare } = preparation
  const participant = participantsOf(context, parts)

  /**
   * Keeps a new version, or a deletion, back until the transaction is committed. `Stale` when another fiber of the
   * transaction has changed the document since it was looked at.
   */
  const keepBack = (
    transaction: Transaction.Transaction,
    id: string,
    key: string,
    view: View<A>,
    prepared: Prepared<A> | undefined
  ): Stale | Base<A> | undefined => {
    if (!transaction.isOpen || transaction.views.get(key) !== view) return new Stale()
    if (prepared === undefined && view.original === undefined) {
      // What is made and removed inside was never there.
      transaction.writes.delete(key)
      transaction.views.set(key, { ...view, base: undefined })
      return undefined
    }
    const base = prepared === undefined ? undefined : know(keptBase(prepared))
    transaction.views.set(key, { ...view, base })
    transaction.writes.set(key, participant(id, key, view, prepared, transaction.time))
    return base
  }

  const revisionIn = Effect.fnUntraced(function* (
    view: View<A>,
    id: string,
    revision: Document.Revision | undefined
  ): Effect.fn.Return<Base<A>, DbError.NotFound | DbError.Conflict> {
    if (view.base === undefined) return yield* missing(id)
    const { stored } = view.base
    if (revision !== undefined && stored.revision !== revision && view.original?.stored.revision !== revision) {
      return yield* new DbError.Conflict({ resource: name, id, revision: stored.revision })
    }
    return view.base
  })

  /** One for each transaction: it is made of many functions. */
  const writers = new WeakMap<Transaction.Transaction, Writer<A>>()

  const writerIn = (transaction: Transaction.Transaction): Writer<A> => {
    const keep = Effect.fnUntraced(function* (
      id: string,
      view: View<A>,
      prepared: Prepared<A>,
      { beforeCommit }: Options<A>
    ) {
      const { value: after, write } = prepared
      yield* runBeforeCommit(beforeCommit, { id, writeId: write.writeId, before: view.base?.value, after })
      const kept = keepBack(transaction, id, yield* context.key(id), view, prepared)
      return kept === undefined || kept instanceof Stale ? new Stale() : { before: view.base, after: kept }
    })

    const tell = Effect.fnUntraced(function* (id: string, { after, before }: Kept<A>, { onCommit }: Options<A>) {
      yield* onCommit({ id, isKnown: true, stored: before?.stored, after })
      return after
    })

    const createFrom = Effect.fnUntraced(function* (valid: A, id: string, view: View<A>, options: Options<A>) {
      const prepared = yield* prepare(valid, view.original, { mode: "anew", over: view.over })
      yield* passes(options.checks, prepared.value)
      return yield* keep(id, view, prepared, options)
    })

    /** What an input makes, by the next number that is free where its id is one. */
    const givenBy = Effect.fnUntraced(function* (input: unknown) {
      for (let taken = 1; ; taken++) {
        const made = yield* preparation.given(input)
        if (!numbers(input) || taken === mostTaken) return made
        if ((yield* reader.view(transaction, made.id)).base === undefined) return made
      }
    })

    /** Nobody meant the document that has the number. */
    const unmeant = (input: unknown, { base }: View<A>) =>
      base !== undefined && numbers(input)
        ? Effect.fail(new DbError.Conflict({ resource: name, id: base.id, revision: base.stored.revision }))
        : Effect.void

    const changeFrom = <E, R>(
      id: string,
      view: View<A>,
      before: Base<A>,
      apply: Change<A, E, R>,
      options: Options<A>
    ): Effect.Effect<Kept<A> | Stale, WriteFailure | Pipeline.Rejected | E, R> =>
      Effect.gen(function* () {
        yield* passes(options.checks, before.value)
        const changed = yield* apply(before.value)
        if (Result.isFailure(changed)) return yield* invalid(changed.failure.path, changed.failure.message)
        const prepared = yield* prepare(changed.success, view.original, { over: view.over, from: before })
        if (prepared.id !== id) return yield* invalid([primaryKey], "Expected the id to stay as it is")
        return yield* keep(id, view, prepared, options)
      })

    /** Looks at a document, and keeps back what is made of it, until no other fiber of the transaction is faster. */
    const write = <E, R>(
      id: string,
      options: Options<A>,
      next: (view: View<A>) => Effect.Effect<Kept<A> | Stale, E, R>
    ): Effect.Effect<Base<A>, ReadFailure | E, R> =>
      Effect.flatMap(untilKept(Effect.flatMap(reader.view(transaction, id), next)), (kept) => tell(id, kept, options))

    const remove = Effect.fnUntraced(function* (id: string, { beforeCommit, checks, onCommit }: Options<A>) {
      const key = yield* context.key(id)
      const base = yield* untilKept(
        Effect.gen(function* () {
          const view = yield* reader.view(transaction, id)
          if (view.base === undefined) return undefined
          yield* passes(checks, view.base.value)
          const writeId = yield* Id.writeId
          yield* runBeforeCommit(beforeCommit, { id, writeId, before: view.base.value, after: undefined })
          const kept = keepBack(transaction, id, key, view, undefined)
          return kept instanceof Stale ? kept : { stored: view.base.stored, writeId }
        })
      )
      const removal = { isKnown: true, stored: base?.stored }
      if (base !== undefined) yield* onCommit({ id, ...removal, writeId: base.writeId, after: undefined })
      return removal
    })

    const writer: Writer<A> = {
      create: Effect.fnUntraced(function* (input, options) {
        const { valid, id } = yield* givenBy(input)
        return yield* write(
          id,
          options,
          Effect.fnUntraced(function* (view) {
            if (view.base !== undefined) return yield* new DbError.AlreadyExists({ resource: name, id })
            return yield* createFrom(valid, id, view, options)
          })
        )
      }),

      change: (target, apply, options) => {
        const { id, revision } = isInHand(target) ? target : { id: target, revision: options.ifRevision }
        return write(id, options, (view) =>
          Effect.flatMap(revisionIn(view, id, revision), (before) => changeFrom(id, view, before, apply, options))
        )
      },

      replace: Effect.fnUntraced(function* (input, options) {
        const { valid, id } = yield* givenBy(input)
        return yield* write(
          id,
          options,
          Effect.fnUntraced(function* (view) {
            yield* unmeant(input, view)
            if (options.ifRevision !== undefined) yield* revisionIn(view, id, options.ifRevision)
            const mode = view.base === undefined ? "anew" : "whole"
            const prepared = yield* prepare(valid, view.original, { mode, over: view.over, from: options.from })
            yield* passes(options.checks, view.base?.value ?? prepared.value)
            return yield* keep(id, view, prepared, options)
          })
        )
      }),

      upsert: Effect.fnUntraced(function* (input, apply, options) {
        const { valid, id } = yield* givenBy(input)
        return yield* write(id, options, (view) =>
          view.base === undefined
            ? createFrom(valid, id, view, options)
            : Effect.andThen(unmeant(input, view), changeFrom(id, view, view.base, apply, options))
        )
      }),

      remove: Effect.fnUntraced(function* (id, options) {
        const removal = yield* remove(id, options)
        return options.mustExist && removal.stored === undefined ? yield* missing(id) : removal
      }),

      removeVersion: Effect.fnUntraced(function* (document, options) {
        yield* revisionIn(yield* reader.view(transaction, document.id), document.id, document.revision)
        return yield* remove(document.id, options)
      }),

      removeMany: Effect.fnUntraced(function* (ids, { beforeCommit, checks, onCommit }) {
        const wanted = new Map<string, string>()
        for (const id of ids) wanted.set(yield* context.key(id), id)
        const deleted: Array<string> = []
        const failed: Array<RemovedMany["failed"][number]> = []
        for (const id of wanted.values()) {
          const removing = remove(id, { beforeCommit, checks, onCommit: (commit) => onCommit([commit]) })
          const result = yield* Effect.result(removing)
          if (Result.isSuccess(result)) deleted.push(id)
          else {
            const { failure } = result
            if (failure._tag === "InvalidInput" || (failure._tag !== "Rejected" && !isDamage(failure))) {
              return yield* failure
            }
            failed.push({ id, error: failure })
          }
        }
        return { deleted, failed }
      })
    }
    return writer
  }

  return (transaction) => {
    const known = writers.get(transaction)
    if (known !== undefined) return known
    const made = writerIn(transaction)
    writers.set(transaction, made)
    return made
  }
}

/** A version that is kept back, with a revision that only the transaction knows. */
const keptBase = <A>({
  newMarkers: _,
  isJournaled: ______,
  wanted: __,
  upkeep: ___,
  untold: ____,
  write,
  ...common
}: Prepared<A>): Base<A> => ({
  ...common,
  isSettled: false,
  stored: Document.stored(write, Document.toObject(write), `transaction-${write.writeId}`)
})

/** How one document takes part in the commit of a transaction. */
const participantsOf = <A>(
  { database, name, place, settings, store, writable }: Context<A>,
  {
    committer,
    journal,
    reader,
    reservations,
    versions
  }: {
    readonly committer: Committer<A>
    readonly journal: Journal
    readonly reader: Reader<A>
    readonly reservations: Reservations
    readonly versions: Versions<A>
  }
) => {
  /** A next version with its reservations; `undefined` when one of them tells that the document is there already. */
  const reserve = Effect.fnUntraced(function* (
    { id, wanted, write }: Prepared<A>,
    isNew: boolean,
    claims: Transaction.Claims
  ) {
    if (wanted.length === 0) return write
    const reserving = reservations.reserve(id, wanted, isNew, claims)
    const reserved = yield* Effect.catchTag(reserving, "AlreadyExists", () => Effect.succeed(undefined))
    if (reserved === undefined) return undefined
    // Whoever takes the intent back must not free what another write relies on.
    const owned = reserved.map((one) =>
      one.isShared ? { ...one, claim: { ...one.claim, etag: Unique.shared(one.claim.etag) } } : one
    )
    return { ...write, claims: withReserved(write.claims, owned) }
  })

  return (
    id: string,
    key: string,
    view: View<A>,
    prepared: Prepared<A> | undefined,
    time: number
  ): Transaction.Participant => {
    const old = view.original?.stored
    const { ifMatch, ifNoneMatch } = { ifMatch: undefined, ifNoneMatch: undefined, ...view.condition }
    let staged: Document.Slot | undefined
    let next: Document.Write | undefined
    let entry: Announcement | undefined
    let intentId: string | undefined
    /** The write id of the deletion, where the journal has to name it. */
    let tombstone: string | undefined

    /** The version that it replaces, or what a deletion has left. */
    const replaced = old ?? view.over

    /** Puts the entry of what the commit makes of the document, if there is a journal; `false` when its answer was lost. */
    const enter = Effect.fnUntraced(function* () {
      if (!journal.isKept()) return true
      if (next === undefined) tombstone = yield* Id.writeId
      const announced = yield* journal.announce(id, {
        writeId: next?.writeId ?? tombstone!,
        previous: replaced === undefined ? undefined : Document.identityOf(replaced),
        kind: next === undefined ? "delete" : old === undefined ? "insert" : "update",
        time: next?.writtenAt ?? time,
        before: old,
        after: next
      })
      if (CasCell.isLost(announced)) return false
      entry = announced
      return true
    })

    /** Whether the catalog still wants of the document what it was made ready by. */
    const isCurrent = Effect.map(
      writable,
      () => prepared === undefined || database.upkeep(name)?.text === prepared.upkeep
    )

    /** Puts the intent; `false` when the document has changed. */
    const announce = Effect.fnUntraced(function* (transaction: string) {
      const writeId = yield* Id.writeId
      intentId = writeId
      const writtenAt = yield* Document.now
      const ancestors = ancestorsOf(old ?? view.over)
      const deletedAt = old !== undefined && prepared === undefined && settings.history ? time : undefined
      const over =
        old === undefined && view.over !== undefined && journal.isKept() ? Document.identityOf(view.over) : undefined
      const object = Document.toIntentObject(old, { writeId, writtenAt, ancestors }, transaction, next, {
        deletedAt,
        over,
        tombstone
      })
      const etag = yield* Effect.map(store.put({ key, ...object, ifMatch, ifNoneMatch }), (put) => put.etag).pipe(
        Effect.catchReasons("StoreError", {
          // It may have been sent twice.
          PreconditionFailed: () =>
            Effect.map(documentObject.load(place, key, id), (slot) =>
              slot?.writeId === writeId ? slot.etag : undefined
            ),
          NoSuchKey: () => Effect.succeed(undefined)
        })
      )
      if (etag === undefined) return false
      const parsed = Document.fromObject({ key, etag, ...object, size: object.body.length })
      if (Result.isSuccess(parsed)) staged = parsed.success
      return true
    })

    return {
      key,
      // A deletion that was sent twice could not be told from somebody else's: it is announced like the others.
      alone:
        prepared === undefined
          ? undefined
          : Effect.fnUntraced(function* (committed) {
              if (!(yield* isCurrent)) return false
              return yield* committer
                .send(prepared, view.condition, view.original, () => committed)
                .pipe(
                  Effect.map((sent) => !CasCell.isLost(sent)),
                  Effect.catchTags({
                    AlreadyExists: () => Effect.succeed(false),
                    NotFound: () => Effect.succeed(false)
                  }),
                  Effect.catchTag("InvalidInput", Effect.die)
                )
            }),
      isCurrent,
      stage: Effect.fnUntraced(function* (transaction, claims) {
        if (!(yield* isCurrent)) return false
        const elapsed = yield* StoreClock.stopwatch
        if (prepared !== undefined) {
          const reserving = reserve(prepared, old === undefined, claims)
          next = yield* Effect.catchTag(reserving, "InvalidInput", Effect.die)
          if (next === undefined) return false
        }
        const putting = Effect.all([documentObject.putMarkers(place, prepared?.newMarkers ?? []), enter()], {
          concurrency: "unbounded"
        })
        if (!(yield* putting)[1]) return false
        yield* versions.keep(id, old)
        if (!(yield* announce(transaction))) return false
        // From now on nobody takes for a leftover what belongs to the intent; until now somebody might have.
        return (yield* elapsed) <= patience(settings.uniqueLease, prepared?.wanted ?? [])
      }),
      finish: Effect.fnUntraced(function* (transaction, outcome) {
        const slot = staged ?? (yield* documentObject.load(place, key, id))
        if (slot?.intent?.transaction === transaction) yield* documentObject.apply(place, key, id, slot, outcome)
        else if (outcome === "aborted" && next !== undefined) {
          yield* documentObject.tidy(place, id, next, yield* reader.stored(id), true)
        }
        if (entry !== undefined) {
          const undo = Effect.andThen(entry.abandoned, documentObject.dropMarkers(place, [entry.key]))
          yield* outcome === "committed" ? entry.committed : undo
        }
        if (outcome === "committed" && prepared !== undefined) yield* committer.follow(prepared)
      }),
      fate: Effect.suspend(() => {
        const landed = next?.writeId ?? tombstone
        // Of a deletion that nothing was to tell of, nothing does.
        if (landed === undefined) return Effect.undefined
        return Effect.map(documentObject.load(place, key, id), (slot) => {
          if (slot === undefined) return undefined
          const writes = [slot.writeId, ...slot.ancestors]
          if (writes.includes(landed)) return "committed"
          // What was announced takes the place of the intent, and is forgotten after it.
          return intentId !== undefined && writes.includes(intentId) ? "aborted" : undefined
        })
      }),
      added: prepared === undefined ? [] : [...(old === undefined ? [key] : []), ...prepared.newMarkers],
      claims: (unique, digest) =>
        prepared?.write.claims[unique]?.digest === digest ||
        prepared?.wanted.some((one) => one.unique.name === unique && one.digest === digest) === true
    }
  }
}
