/**
 * Reads of single documents: the version that counts, whatever transactions are about to make of it, and what a document
 * looks like from inside a transaction.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Failure } from "../DbError.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { ambient } from "../internal/ambient.ts"
import { isDone } from "../internal/done.ts"
import { headOption } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Unique from "../Unique.ts"
import type { Decoded } from "./codec.ts"
import type { Base, Context } from "./context.ts"
import * as documentObject from "./documentObject.ts"

/**
 * What reading may fail with: the engine's failures, and those of the database that the codec asks.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadFailure = Failure | DbError.DbError

/**
 * A stored version, its fields still encoded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly stored: Document.Stored
  readonly isSettled: boolean
}

/**
 * A document that may have the value of a unique key.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimant<A> {
  readonly id: string
  /** The document, if it has the value, absence being `None`. */
  readonly find: Effect.Effect<Option.Option<Base<A>>, ReadFailure>
}

/**
 * The documents of which one may have the value of a unique key, as its reservation names them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claimants<A> {
  readonly all: ReadonlyArray<Claimant<A>>
  /** Whether it still names them: if none of them has the value, it may have gone to another since. 1 GET. */
  readonly isCurrent: Effect.Effect<boolean, StoreError.StoreError>
}

/**
 * What a document looks like from inside a transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface View<A> {
  /** The version in the store, when the transaction began to look at it. */
  readonly original: Base<A> | undefined
  /** What a condition on the object has to say. */
  readonly condition: Condition
  /** The object in the place of a version, if there is one. */
  readonly over: Document.Slot | undefined
  /** As it is for the transaction. */
  readonly base: Base<A> | undefined
}

/**
 * What a version takes the place of that is no version: what a deletion has left, or a document that cannot be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Over {
  /** The write id under which it was first written, as far as it tells. */
  readonly identity: string | undefined
  readonly isDocument: boolean
}

/**
 * A condition on the object at the key of a document; `replaces` is the write id of the version that is to be replaced,
 * `over` is given where that cannot be read, or is none.
 *
 * @category models
 * @since 0.1.0
 */
export type Condition =
  | { readonly ifMatch: string; readonly replaces: string | undefined; readonly over?: Over | undefined }
  | { readonly ifNoneMatch: "*" }

/**
 * Returns the condition that the object at the key of a document is as it was found.
 *
 * @category constructors
 * @since 0.1.0
 */
export const conditionOn = (slot: Document.Slot): Condition => {
  const condition = { ifMatch: slot.etag, replaces: slot.writeId }
  return slot.stored !== undefined
    ? condition
    : { ...condition, over: { identity: Document.identityOf(slot), isDocument: false } }
}

/**
 * Reads of single documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reader<A> {
  /** The document, as the transaction sees it in which the fiber is, absence being `None`. 1 GET. */
  readonly find: (id: string) => Effect.Effect<Option.Option<Base<A>>, ReadFailure>
  /** The same; `NotFound` when there is none. */
  readonly load: (id: string) => Effect.Effect<Base<A>, DbError.NotFound | ReadFailure>
  /** The same, to be called where it is run. */
  readonly loadNow: Reader<A>["load"]
  /** Whether there is a document, as the transaction sees it. 1 HEAD; 1 GET in a transaction. */
  readonly exists: (id: string) => Effect.Effect<boolean, ReadFailure>
  /** The stored version, as the transaction sees it in which the fiber is. 1 GET. */
  readonly seen: (id: string) => Effect.Effect<Document.Stored | undefined, ReadFailure>
  /** The committed version, its fields still encoded. 1 GET. */
  readonly version: (id: string) => Effect.Effect<Found | undefined, StoreError.StoreError>
  /** The version that counts for a listing: the committed one, or, in a transaction whose listings are, what it sees. */
  readonly listed: (id: string) => Effect.Effect<Found | undefined, ReadFailure>
  /** The same, decoded, of a document whose key has been listed. To be called where it is run. 1 GET. */
  readonly listedAt: (key: string, id: string) => Effect.Effect<Base<A> | undefined, ReadFailure>
  /** The committed version without more. */
  readonly stored: (id: string) => Effect.Effect<Document.Stored | undefined, StoreError.StoreError>
  /** Every version in the object of a document, also one that is only announced. 1 GET. */
  readonly held: (id: string) => Effect.Effect<ReadonlyArray<Document.Stored>, StoreError.StoreError>
  /** The object at the key of a document, with what is announced in it. 1 GET. */
  readonly slot: (id: string) => Effect.Effect<Document.Slot | undefined, DbError.InvalidInput | StoreError.StoreError>
  /** The object once no transaction has announced anything in it. 1 GET; more while there is one. */
  readonly settled: (
    id: string
  ) => Effect.Effect<Document.Slot | undefined, DbError.InvalidInput | StoreError.StoreError>
  /** The version in such an object. `NotFound`. */
  readonly loadSettled: (id: string) => Effect.Effect<Base<A>, DbError.NotFound | ReadFailure>
  /** The version in hand as it lies in its object by itself. No request, or those of `loadSettled`. `Conflict`. */
  readonly settleHeld: (held: Base<A>) => Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | ReadFailure>
  /** A stored version with its value. No request, but for an attribute that is not known yet. */
  readonly decode: (id: string, stored: Document.Stored, isSettled?: boolean) => Effect.Effect<Base<A>, ReadFailure>
  /** The same of one whose key is at hand. */
  readonly decodeAt: (
    key: string,
    id: string,
    stored: Document.Stored,
    isSettled: boolean
  ) => Effect.Effect<Base<A>, ReadFailure>
  /**
   * The document that has the value of a unique key, absence being `None`. 2 GET; 1 GET more where the document that
   * reserved it does not have it; in a transaction 1 HEAD more.
   */
  readonly byUnique: (unique: string, digest: string) => Effect.Effect<Option.Option<Base<A>>, ReadFailure>
  /** The documents of which one may have the value of a unique key. 1 GET, and 1 to read each; in a transaction 1 HEAD more. */
  readonly claimants: (unique: string, digest: string) => Effect.Effect<Claimants<A>, ReadFailure>
  /** What a document looks like from inside a transaction; remembered by it. 1 GET the first time. */
  readonly view: (transaction: Transaction.Transaction, id: string) => Effect.Effect<View<A>, ReadFailure>
  /** That a document has changed since it was read, or is gone: 1 HEAD finds the present revision. */
  readonly conflict: (id: string) => Effect.Effect<never, DbError.Conflict | DbError.NotFound | StoreError.StoreError>
}

/**
 * Makes the reader of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(context: Context<A>): Reader<A> => {
  const { codec, database, know, missing, name, place, store } = context
  const mostIdBytes = Document.mostIdBytes(name, store.keyBytes)

  const slot = Effect.fnUntraced(function* (id: string) {
    return yield* documentObject.load(place, yield* context.key(id), id)
  })

  const settled = Effect.fnUntraced(function* (id: string) {
    return yield* documentObject.settled(place, yield* context.key(id), id)
  })

  /** The version in an object, or what the transactions say that have announced something in it. */
  const versionIn = (
    key: string,
    id: string,
    slot: Document.Slot | undefined
  ): Effect.Effect<Found | undefined, StoreError.StoreError> => {
    if (slot?.intent === undefined) {
      return Effect.succeed(slot?.stored === undefined ? undefined : { stored: slot.stored, isSettled: true })
    }
    return Effect.map(documentObject.current(place, key, id, slot), ({ stored }) =>
      stored === undefined ? undefined : { stored, isSettled: false }
    )
  }

  const version = (id: string): Effect.Effect<Found | undefined, StoreError.StoreError> => {
    const key = Document.key(name, id, mostIdBytes)
    // An id that cannot be a key has no document.
    if (Result.isFailure(key)) return Effect.undefined
    const at = key.success
    return documentObject.loadThen(place, { id, key: at }, (slot) => versionIn(at, id, slot))
  }

  const decodeAt: Reader<A>["decodeAt"] = (key, id, stored, isSettled) => {
    const decoded = codec.decode(id, stored)
    return isDone(decoded)
      ? Effect.succeed(known({ id, key, stored, isSettled }, decoded.value))
      : decodeLater({ id, key, stored, isSettled }, decoded)
  }

  type Place = Pick<Base<A>, "id" | "isSettled" | "key" | "stored">

  const known = (
    { id, isSettled, key, stored }: Place,
    { carried, former, isAllKnown, isUnderOldKey, json, value }: Decoded<A>
  ): Base<A> => know({ id, key, value, stored, carried, former, isAllKnown, isUnderOldKey, json, isSettled })

  const decodeLater = <E>(at: Place, decoding: Effect.Effect<Decoded<A>, E>) =>
    Effect.mapEager(decoding, (decoded) => known(at, decoded))

  const decode = (id: string, stored: Document.Stored, isSettled = true) =>
    Effect.flatMapEager(Effect.orDie(context.key(id)), (key) => decodeAt(key, id, stored, isSettled))

  const view = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    id: string
  ): Effect.fn.Return<View<A>, ReadFailure> {
    const key = Document.key(name, id, mostIdBytes)
    if (Result.isFailure(key)) return unwritten
    if (!transaction.isOpen || transaction.database !== database.id) {
      const description = transaction.isOpen
        ? "a transaction is on the documents of one database: this resource belongs to another"
        : "the transaction is over: what runs in it has to end before it does"
      return yield* new StoreError.Unsupported({ feature: "transaction", description })
    }
    const seen = () => transaction.views.get(key.success) as View<A> | undefined
    const before = seen()
    if (before !== undefined) return before
    const slot = yield* documentObject.settled(place, key.success, id)
    const original = slot?.stored === undefined ? undefined : yield* decode(id, slot.stored)
    // Another fiber of the transaction may have looked at it meanwhile: all of them see the same.
    const meanwhile = seen()
    if (meanwhile !== undefined) return meanwhile
    const view: View<A> =
      slot === undefined ? unwritten : { original, condition: conditionOn(slot), over: slot, base: original }
    transaction.views.set(key.success, view)
    const isSame = Effect.map(
      headOption(store, key.success),
      (head) => Option.getOrUndefined(head)?.etag === slot?.etag
    )
    transaction.reads.set(key.success, () => isSame)
    return view
  })

  const absent = (_id: string): Effect.Effect<undefined> => Effect.undefined

  const isAbsent = (id: string): Effect.Effect<never, DbError.NotFound> => Effect.fail(missing(id))

  /** The version that there is, decoded, or what is done where there is none; outside of transactions. */
  const present = <X, E>(
    id: string,
    otherwise: (id: string) => Effect.Effect<X, E>
  ): Effect.Effect<Base<A> | X, E | ReadFailure> => {
    const key = Document.key(name, id, mostIdBytes)
    // An id that cannot be a key has no document.
    return Result.isFailure(key) ? otherwise(id) : presentAt(key.success, id, otherwise)
  }

  const presentAt = <X, E>(at: string, id: string, otherwise: (id: string) => Effect.Effect<X, E>) =>
    documentObject.loadThen(
      place,
      { key: at, id },
      (slot: Document.Slot | undefined): Effect.Effect<Base<A> | X, E | ReadFailure> => {
        if (slot === undefined) return otherwise(id)
        if (slot.intent !== undefined) return announcedAt(at, id, slot, otherwise)
        return slot.stored === undefined ? otherwise(id) : decodeAt(at, id, slot.stored, true)
      }
    )

  const announcedAt = <X, E>(
    at: string,
    id: string,
    slot: Document.Slot,
    otherwise: (id: string) => Effect.Effect<X, E>
  ) =>
    Effect.flatMapEager(versionIn(at, id, slot), (found): Effect.Effect<Base<A> | X, E | ReadFailure> =>
      found === undefined ? otherwise(id) : decodeAt(at, id, found.stored, found.isSettled)
    )

  const seenOr = <X, E>(
    id: string,
    otherwise: (id: string) => Effect.Effect<X, E>
  ): Effect.Effect<Base<A> | X, E | ReadFailure> => {
    const transaction = ambient(Transaction.Current)
    return transaction === undefined ? present(id, otherwise) : viewedOr(transaction, id, otherwise)
  }

  const viewedOr = <X, E>(
    transaction: Transaction.Transaction,
    id: string,
    otherwise: (id: string) => Effect.Effect<X, E>
  ) =>
    Effect.flatMap(view(transaction, id), ({ base }): Effect.Effect<Base<A> | X, E> =>
      base === undefined ? otherwise(id) : Effect.succeed(base)
    )

  const loadNow = (id: string) => seenOr(id, isAbsent)

  const seenNow = (id: string): Effect.Effect<Base<A> | undefined, ReadFailure> => seenOr(id, absent)

  const find = (id: string) => Effect.suspend(() => Effect.map(seenNow(id), (base) => Option.fromUndefinedOr(base)))

  const loadSettled = (id: string): Effect.Effect<Base<A>, DbError.NotFound | ReadFailure> => {
    const key = Document.key(name, id, mostIdBytes)
    if (Result.isFailure(key)) return Effect.fail(missing(id))
    const at = key.success
    return documentObject.loadThen(place, { id, key: at }, (found) =>
      Effect.flatMapEager(
        documentObject.settle(place, at, id, found),
        (slot): Effect.Effect<Base<A>, DbError.NotFound | ReadFailure> =>
          slot?.stored === undefined ? Effect.fail(missing(id)) : decodeAt(at, id, slot.stored, true)
      )
    )
  }

  /** Whether a version has the value of a unique key. */
  const holds = (label: string, digest: string, stored: Document.Stored | undefined) =>
    stored?.claims[label]?.digest === digest

  /**
   * As a transaction sees it: one of its own writes, or the document that holds the value, which is read by its id. That the
   * reservation stays as it is, or is not made, is looked at again before the commit.
   */
  const claimantsWithin = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    label: string,
    digest: string
  ): Effect.fn.Return<Claimants<A>, ReadFailure> {
    const documents = Document.keyPrefix(name)
    const inside = [...transaction.writes].find(
      ([key, participant]) => key.startsWith(documents) && participant.claims(label, digest)
    )
    const own = inside === undefined ? undefined : (transaction.views.get(inside[0]) as View<A> | undefined)?.base
    const isCurrent = Effect.succeed(true)
    if (own !== undefined) return { all: [{ id: own.id, find: Effect.succeedSome(own) }], isCurrent }
    const key = Unique.keyOf(name, label, digest)
    const reservation = yield* Unique.find(store, key)
    const isFree = (found: Unique.Reservation | undefined) => found === undefined || found.owners.length === 0
    const isSame = Effect.gen(function* () {
      const head = yield* headOption(store, key)
      if (Option.getOrUndefined(head)?.etag === reservation?.etag) return true
      // Where the store ignores conditions on DELETE, one that was freed stays, and says that it is free.
      return isFree(reservation) && isFree(yield* Unique.find(store, key))
    })
    transaction.reads.set(key, (writes) => {
      const isTaken = [...writes].some(([at, one]) => at.startsWith(documents) && one.claims(label, digest))
      // Where the transaction takes the value itself, nobody else has it.
      return isTaken ? Effect.succeed(true) : isSame
    })
    const all = (reservation?.owners ?? []).map((id) => ({
      id,
      find: Effect.map(view(transaction, id), ({ base }) =>
        Option.filter(Option.fromUndefinedOr(base), ({ stored }) => holds(label, digest, stored))
      )
    }))
    return { all, isCurrent }
  })

  const claimants: Reader<A>["claimants"] = Effect.fnUntraced(function* (label, digest) {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) return yield* claimantsWithin(transaction, label, digest)
    const key = Unique.keyOf(name, label, digest)
    const reservation = yield* Unique.find(store, key)
    const isCurrent = Effect.map(Unique.find(store, key), (now) => now?.etag === reservation?.etag)
    const find = Effect.fnUntraced(function* (id: string) {
      const found = yield* version(id)
      if (found === undefined || !holds(label, digest, found.stored)) return Option.none()
      return Option.some(yield* decode(id, found.stored, found.isSettled))
    })
    return { all: (reservation?.owners ?? []).map((id) => ({ id, find: find(id) })), isCurrent }
  })

  return {
    find,
    load: (id) => Effect.suspend(() => loadNow(id)),
    loadNow,
    exists: (id) =>
      Effect.suspend((): Effect.Effect<boolean, ReadFailure> => {
        const key = Document.key(name, id, mostIdBytes)
        if (Result.isFailure(key)) return Effect.succeed(false)
        if (ambient(Transaction.Current) !== undefined) return Effect.map(seenNow(id), (base) => base !== undefined)
        return Effect.flatMap(headOption(store, key.success), (head): Effect.Effect<boolean, ReadFailure> => {
          if (Option.isNone(head)) return Effect.succeed(false)
          // A transaction is about to change it: the object itself tells more.
          return Document.isSettled(head.value.metadata)
            ? Effect.succeed(true)
            : Effect.map(version(id), (found) => found !== undefined)
        })
      }),
    seen: Effect.fnUntraced(function* (id) {
      const transaction = yield* Transaction.Current
      if (transaction === undefined) return (yield* version(id))?.stored
      return (yield* view(transaction, id)).base?.stored
    }),
    version,
    listed: (id) =>
      Effect.suspend(() => {
        const transaction = ambient(Transaction.Current)
        if (transaction?.listings !== "serializable") return version(id)
        return Effect.map(view(transaction, id), ({ base }) =>
          base === undefined ? undefined : { stored: base.stored, isSettled: true }
        )
      }),
    listedAt: (key, id) => {
      const transaction = ambient(Transaction.Current)
      return transaction?.listings === "serializable"
        ? Effect.flatMap(view(transaction, id), ({ base }) =>
            base === undefined ? Effect.undefined : decodeAt(key, id, base.stored, true)
          )
        : presentAt(key, id, absent)
    },
    stored: (id) => Effect.map(version(id), (found) => found?.stored),
    held: Effect.fnUntraced(function* (id) {
      const key = Document.key(name, id)
      if (Result.isFailure(key)) return []
      return yield* documentObject.held(key.success, id, yield* documentObject.load(place, key.success, id))
    }),
    slot,
    settled,
    loadSettled,
    settleHeld: Effect.fnUntraced(function* (held) {
      if (held.isSettled) return held
      const now = yield* loadSettled(held.id)
      // A transaction that was aborted leaves the version, under another write id.
      const isSame = now.stored.writeId === held.stored.writeId || now.stored.ancestors[1] === held.stored.writeId
      if (isSame && now.stored.version === held.stored.version) return now
      return yield* new DbError.Conflict({ resource: name, id: held.id, revision: now.stored.revision })
    }),
    decode,
    decodeAt,
    claimants,
    byUnique: Effect.fnUntraced(function* (label, digest) {
      for (;;) {
        const { all, isCurrent } = yield* claimants(label, digest)
        for (const { find } of all) {
          const found = yield* find
          if (Option.isSome(found)) return found
        }
        // The value may have gone to another document since.
        if (all.length === 0 || (yield* isCurrent)) return Option.none()
      }
    }),
    view,
    conflict: Effect.fnUntraced(function* (id) {
      const head = yield* headOption(store, yield* Effect.orDie(context.key(id)))
      if (Option.isNone(head)) return yield* missing(id)
      return yield* new DbError.Conflict({ resource: name, id, revision: head.value.etag })
    })
  }
}

const unwritten: View<never> = {
  original: undefined,
  condition: { ifNoneMatch: "*" },
  over: undefined,
  base: undefined
}
