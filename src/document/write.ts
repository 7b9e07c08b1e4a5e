/**
 * Inserts, changes and replacements that take effect at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import { isDone } from "../internal/done.ts"
import { isRecord } from "../internal/json.ts"
import * as CasCell from "../kernel/CasCell.ts"
import type * as Pipeline from "../Pipeline.ts"
import { type Committer, lostToTime, type SendError } from "./commit.ts"
import type { OnCommit } from "./commits.ts"
import { type Base, type Context, isInHand, type LostRace } from "./context.ts"
import { isDamage } from "./damage.ts"
import type { Discarding } from "./discard.ts"
import * as forgetting from "./forgetting.ts"
import type { Indexes } from "./indexes.ts"
import { mostTaken } from "./numbers.ts"
import type { Options as PrepareOptions, Preparation, Prepared } from "./prepare.ts"
import { type Condition, conditionOn, type Reader, type ReadFailure } from "./read.ts"
import * as remains from "./remains.ts"
import {
  type Change,
  defaultRetries,
  type Options,
  type ReplaceOptions,
  passes,
  runBeforeCommit,
  type WriteFailure,
  type Writer
} from "./writer.ts"

/**
 * Writes of a resource that take effect at once, but for deletions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Writing<A> extends Pick<Writer<A>, "create" | "change" | "replace" | "upsert"> {
  /**
   * Writes what `next` makes of a document, again and again until no other writer comes in between; nothing when it makes
   * nothing. 1 GET, then the requests of a write. `NotFound`; `Conflict`: it kept changing. `held`: a version that is at hand, by itself in its
   * object; it is not read as long as it is the present one.
   */
  readonly revise: <E, R>(
    id: string,
    next: (before: Base<A>) => Effect.Effect<Prepared<A> | undefined, E, R>,
    onCommit: OnCommit<A>,
    held?: Effect.Effect<Base<A>, DbError.NotFound | ReadFailure> | undefined
  ) => Effect.Effect<Base<A> | undefined, DbError.NotFound | DbError.Conflict | WriteFailure | E, R>
}

/** A document that is to be put in the place of a version that has to be known. */
interface Replacing<A> {
  readonly id: string
  readonly key: string
  readonly valid: A
}

/** What was there in the place of a document that was to be made; `undefined`: it is not known which version. */
class Found {
  readonly id: string
  readonly stored: Document.Stored | undefined

  constructor(id: string, stored: Document.Stored | undefined) {
    this.id = id
    this.stored = stored
  }
}

/** What is done with what was there. */
type Instead<X, E> = (found: Found) => Effect.Effect<X, E>

/**
 * Makes the direct writes of a resource, but for deletions. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    committer,
    discarding,
    indexes,
    preparation,
    reader
  }: {
    readonly committer: Committer<A>
    readonly discarding: Discarding<A>
    readonly indexes: Indexes<A>
    readonly preparation: Preparation<A>
    readonly reader: Reader<A>
  }
): Writing<A> => {
  const { invalid, missing, name, numbers, primaryKey, settings } = context
  const { prepare } = preparation
  const { send } = committer

  const conflict = (id: string, revision: string | undefined) =>
    new DbError.Conflict({ resource: name, id, revision: revision ?? "" })

  const reviseOnce = <E, R, N extends undefined = never>(
    load: Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | WriteFailure>,
    next: (before: Base<A>) => Effect.Effect<Prepared<A> | N, E, R>,
    onCommit: OnCommit<A>
  ): Effect.Effect<Base<A> | LostRace | N, DbError.NotFound | DbError.Conflict | WriteFailure | E, R> =>
    Effect.flatMap(load, (before) =>
      Effect.flatMapEager(
        next(before),
        (
          prepared
        ): Effect.Effect<Base<A> | LostRace | N, DbError.NotFound | DbError.Conflict | WriteFailure | E, R> => {
          if (prepared === undefined) return Effect.succeed(prepared)
          const { revision: ifMatch, writeId: replaces } = before.stored
          return Effect.matchEffect(send(prepared, { ifMatch, replaces }, before, onCommit), {
            onSuccess: (
              sent
            ): Effect.Effect<Base<A> | LostRace | N, DbError.NotFound | DbError.Conflict | WriteFailure | E, R> =>
              // It took too long, and lost to nobody: the version in hand is still the one that is meant.
              sent === lostToTime ? reviseOnce(load, next, onCommit) : Effect.succeed(sent),
            onFailure: isThereElseFail
          })
        }
      )
    )

  /** Makes the next version of a document, and, when another write was first, of the one that took its place. */
  const reviseFrom = <E, R, N extends undefined = never>(
    id: string,
    first: Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | WriteFailure>,
    next: (before: Base<A>) => Effect.Effect<Prepared<A> | N, E, R>,
    { onCommit, retries }: { readonly onCommit: OnCommit<A>; readonly retries: number }
  ) =>
    CasCell.contendNow(
      (last: LostRace | undefined) => reviseOnce(last === undefined ? first : reader.loadSettled(id), next, onCommit),
      { retries, exhausted: (slot) => Effect.fail(slot === undefined ? missing(id) : conflict(id, slot.etag)) }
    )

  const nextBy =
    <E, R>(apply: Change<A, E, R>) =>
    (before: Base<A>): Effect.Effect<Prepared<A>, WriteFailure | E, R> =>
      Effect.flatMapEager(apply(before.value), (changed) =>
        Result.isFailure(changed)
          ? Effect.fail(invalid(changed.failure.path, changed.failure.message))
          : prepare(changed.success, before)
      )

  const changeFrom = <E, R>(
    id: string,
    first: Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | WriteFailure>,
    apply: Change<A, E, R>,
    { beforeCommit, checks, onCommit }: Options<A>,
    retries: number
  ) => {
    const next = nextBy(apply)
    const checked = (before: Base<A>) => {
      const prepared = checks.length === 0 ? next(before) : Effect.andThen(passes(checks, before.value), next(before))
      return beforeCommit.length === 0
        ? prepared
        : Effect.tap(prepared, (prepared) => announce(beforeCommit, prepared, before.value))
    }
    return reviseFrom<E | Pipeline.Rejected | WriteFailure, R, never>(id, first, checked, { onCommit, retries })
  }

  /** The version to be changed, if it is the one that is meant. */
  const loadRevision = (id: string, revision: Document.Revision | undefined) =>
    revision === undefined
      ? reader.loadSettled(id)
      : Effect.flatMap(reader.loadSettled(id), (base) =>
          base.stored.revision === revision ? Effect.succeed(base) : Effect.fail(conflict(id, base.stored.revision))
        )

  /** A document to be made, also in the place of what has been found there and is none; `instead`: of the one that is there. */
  interface Creating<X, E> {
    readonly input: unknown
    readonly instead: Instead<X, E>
    readonly options: Options<A>
    readonly over: Document.Slot | undefined
  }

  type Created<X, E> = Effect.Effect<Base<A> | X, E | WriteFailure | Pipeline.Rejected>

  const create = <X, E>(creating: Creating<X, E>): Created<X, E> => {
    const { input, over } = creating
    const prepared = prepare(input, undefined, over === undefined ? undefined : { over })
    return isDone(prepared) ? createNow(prepared.value, creating) : createLater(prepared, creating)
  }

  const createLater = <X, E>(preparing: Effect.Effect<Prepared<A>, WriteFailure>, creating: Creating<X, E>) =>
    Effect.flatMapEager(preparing, (prepared) => createNow(prepared, creating))

  const createNow = <X, E>(prepared: Prepared<A>, creating: Creating<X, E>): Created<X, E> => {
    const { beforeCommit, checks } = creating.options
    if (checks.length + beforeCommit.length === 0) return sendNew(prepared, creating)
    return Effect.flatMap(
      Effect.andThen(passes(checks, prepared.value), () => announce(beforeCommit, prepared, undefined)),
      () => sendNew(prepared, creating)
    )
  }

  const sendNew = <X, E>(prepared: Prepared<A>, creating: Creating<X, E>): Created<X, E> =>
    Effect.matchEffect(send(prepared, conditionAt(creating.over), undefined, creating.options.onCommit), {
      onSuccess: (sent): Created<X, E> =>
        CasCell.isLost(sent) ? findInstead(creating, prepared.id, sent.seen) : Effect.succeed(sent),
      onFailure: (error): Created<X, E> => {
        // A reservation tells that it is there.
        if (error instanceof DbError.AlreadyExists) return creating.instead(new Found(prepared.id, undefined))
        // What was there instead of a document is gone.
        return error instanceof DbError.NotFound ? findInstead(creating, prepared.id, undefined) : Effect.fail(error)
      }
    })

  /** What has been found in the place of a new document, or the document after all. */
  const findInstead = <X, E>(creating: Creating<X, E>, id: string, seen: Document.Slot | undefined): Created<X, E> => {
    if (seen !== undefined && seen.intent === undefined && seen.stored !== undefined) {
      return creating.instead(new Found(id, seen.stored))
    }
    // What a transaction has announced, or has left, is no document yet, or no more.
    return Effect.flatMap(reader.settled(id), (slot): Created<X, E> =>
      slot?.stored !== undefined ? creating.instead(new Found(id, slot.stored)) : create({ ...creating, over: slot })
    )
  }

  /** Finds the document that is there, or creates one. */
  const findOrCreate = (
    { id, valid }: { readonly id: string; readonly valid: A },
    options: Options<A>
  ): Created<Found, never> =>
    Effect.flatMap(reader.settled(id), (slot) =>
      slot?.stored === undefined
        ? create({ input: valid, instead: found, options, over: slot })
        : Effect.succeed(new Found(id, slot.stored))
    )

  /** Creates a document, by the next number that is free where the id is one. */
  const createNumbered = <X, E>(input: unknown, options: Options<A>, instead: Instead<X, E>): Created<X, E> =>
    numbers(input) ? createByNumber(input, options, instead) : create({ input, instead, options, over: undefined })

  const createByNumber = Effect.fnUntraced(function* <X, E>(
    input: unknown,
    options: Options<A>,
    instead: Instead<X, E>
  ): Effect.fn.Return<Base<A> | X, E | WriteFailure | Pipeline.Rejected> {
    for (let taken = 1; ; taken++) {
      const outcome = yield* create({ input, instead: found, options, over: undefined })
      if (!(outcome instanceof Found)) return outcome
      if (!numbers(input) || taken === mostTaken) return yield* instead(outcome)
    }
  })

  const itIsAnother = ({ id, stored }: Found) => Effect.fail(conflict(id, stored?.revision))

  const itIsThere = ({ id }: Found) => Effect.fail(new DbError.AlreadyExists({ resource: name, id }))

  /**
   * Puts a document whose version before need not be known; `undefined` when that has changed by now. What is known of the catalog is
   * fresh when it begins, and again when a version has been made ready.
   */
  const replaceBlindly = (
    input: unknown,
    options: ReplaceOptions<A>
  ): Effect.Effect<Base<A>, ReplaceFailure> | undefined => {
    if (indexes.ownsMoreUnsafe()) return undefined
    const { from } = options
    const prepared = prepare(input, undefined, from === undefined ? whole : { mode: "whole", from })
    return isDone(prepared) ? replaceNow(prepared.value, options) : replaceLater(prepared, input, options)
  }

  const replaceLater = (
    preparing: Effect.Effect<Prepared<A>, WriteFailure>,
    input: unknown,
    options: ReplaceOptions<A>
  ): Effect.Effect<Base<A>, ReplaceFailure> =>
    Effect.flatMapEager(preparing, (prepared) => replaceNow(prepared, options) ?? replaceKnown(input, options))

  const replaceNow = (
    prepared: Prepared<A>,
    { ifRevision, onCommit }: ReplaceOptions<A>
  ): Effect.Effect<Base<A>, ReplaceFailure> | undefined => {
    // Others may have declared more, and it may have been learned, while it was made ready.
    if (prepared.newMarkers.length + prepared.wanted.length > 0 || indexes.ownsMoreUnsafe()) return undefined
    return ifRevision === undefined
      ? committer.sendAlone(prepared, onCommit)
      : replaceRevision(prepared, { ifMatch: ifRevision, replaces: undefined }, onCommit)
  }

  const replaceRevision = (
    prepared: Prepared<A>,
    condition: Condition,
    onCommit: OnCommit<A>
  ): Effect.Effect<Base<A>, ReplaceFailure> =>
    Effect.matchEffect(committer.sendAloneIf(prepared, condition, onCommit), {
      onSuccess: (sent): Effect.Effect<Base<A>, ReplaceFailure> =>
        CasCell.isLost(sent) ? reader.conflict(prepared.id) : Effect.succeed(sent),
      onFailure: isThereElseFail
    })

  /** Puts a document in the place of a version that is read before, since what it owns has to be known. */
  const replaceKnown = Effect.fnUntraced(function* (input: unknown, options: ReplaceOptions<A>) {
    const { id, valid } = yield* preparation.given(input)
    const given = { id, key: yield* context.key(id), valid }
    return yield* CasCell.contend(() => tryToReplace(given, options), {
      retries: defaultRetries,
      exhausted: () => reader.conflict(id)
    })
  })

  const tryToReplace = Effect.fnUntraced(function* (
    given: Replacing<A>,
    options: ReplaceOptions<A>
  ): Effect.fn.Return<Base<A> | LostRace, ReplaceFailure> {
    const { id, key, valid } = given
    const { beforeCommit, checks, from, ifRevision, onCommit } = options
    const found = yield* remains.settled(context.place, key, id)
    if (found?._tag === "Remains") return yield* replaceRemains(given, found.remains, found.failure, options)
    const slot = found?.slot
    const stored = slot?.stored
    if (ifRevision !== undefined && stored === undefined) return yield* missing(id)
    if (ifRevision !== undefined && stored?.revision !== ifRevision) return yield* conflict(id, stored?.revision)
    // Only what the protocol needs of the version before: unless its fields are asked for, it need not be readable.
    const isAskedFor = checks.length + beforeCommit.length > 0 || settings.completion?.needsBefore === true
    const decoded = stored !== undefined && isAskedFor ? yield* Effect.result(reader.decode(id, stored)) : undefined
    // Without conditions on it, what cannot be read can be replaced, as nothing that is known.
    const isUnread = decoded !== undefined && Result.isFailure(decoded)
    if (isUnread && (checks.length > 0 || !isDamage(decoded.failure))) return yield* decoded.failure
    const value = decoded === undefined || isUnread ? valid : decoded.success.value
    const before: Base<A> | undefined =
      stored === undefined
        ? undefined
        : {
            id,
            key,
            value,
            json: () => ({}),
            stored,
            carried: undefined,
            former: [],
            isAllKnown: false,
            isUnderOldKey: false,
            isSettled: true
          }
    const mode = isUnread ? "anew" : "whole"
    const prepared = yield* prepare(valid, before, { mode, over: slot, from })
    yield* passes(checks, stored === undefined ? prepared.value : value)
    yield* announce(beforeCommit, prepared, stored === undefined || isUnread ? undefined : value)
    return yield* lostIfGone(send(prepared, conditionAt(slot), before, onCommit))
  })

  /** In the place of one that cannot be read: a new document, on the condition that nobody else has replaced it yet. */
  const replaceRemains = Effect.fnUntraced(function* (
    { id, valid }: Replacing<A>,
    { etag, identity, stored }: remains.Remains,
    failure: ReadFailure,
    { beforeCommit, checks, from, ifRevision, onCommit }: ReplaceOptions<A>
  ): Effect.fn.Return<Base<A> | LostRace, ReplaceFailure> {
    // A condition on what cannot be read is not met, and a store that cannot read it has no condition to offer.
    if (checks.length > 0 || etag === undefined) return yield* Effect.fail(failure)
    if (ifRevision !== undefined && ifRevision !== etag) return yield* conflict(id, etag)
    const prepared = yield* prepare(valid, undefined, { mode: "anew", from })
    yield* announce(beforeCommit, prepared, undefined)
    const condition = { ifMatch: etag, replaces: undefined, over: { identity, isDocument: true } }
    const sent = yield* lostIfGone(send(prepared, condition, undefined, (commit) => onCommit({ ...commit, stored })))
    if (!CasCell.isLost(sent)) {
      yield* discarding.tidy(id, stored, sent.stored)
      // Where it was nobody knew.
      yield* forgetting.forget(context, () => ({ ids: [id], prefixes: undefined }))
    }
    return sent
  })

  const lost = () => Effect.succeed(new CasCell.Lost<Document.Slot | undefined>(undefined))

  /** Whoever was first has made it or deleted it. */
  const lostIfGone = (sending: Effect.Effect<Base<A> | LostRace, SendError>) =>
    Effect.catchTags(sending, { AlreadyExists: lost, NotFound: lost })

  return {
    create: (input, options) => createNumbered(input, options, itIsThere),

    change: (target, apply, options) => {
      const { id, revision } = isInHand(target) ? target : { id: target, revision: options.ifRevision }
      // An envelope that was not made here is read again and compared.
      const held = isInHand(target) ? context.known(target) : undefined
      const first = held === undefined ? loadRevision(id, revision) : reader.settleHeld(held)
      const retries = revision === undefined ? (options.retries ?? defaultRetries) : 0
      return changeFrom(id, first, apply, options, retries)
    },

    replace: (input, options) => {
      const { beforeCommit, checks } = options
      if (numbers(input) && options.ifRevision === undefined) return createNumbered(input, options, itIsAnother)
      const isBlind = checks.length + beforeCommit.length === 0
      return (isBlind ? replaceBlindly(input, options) : undefined) ?? replaceKnown(input, options)
    },

    upsert: Effect.fnUntraced(function* (input, apply, options) {
      const { createFirst = false, retries = defaultRetries } = options
      // Nobody else has an id that is yet to be made.
      const isNamed = !createFirst && isRecord(input) && input[primaryKey] !== undefined
      const given = isNamed ? yield* preparation.given(input) : undefined
      for (let vanished = 0; ; vanished++) {
        const outcome = yield* given === undefined
          ? createNumbered(input, options, found)
          : findOrCreate(given, options)
        if (!(outcome instanceof Found)) return outcome
        const { id, stored } = outcome
        // Nobody meant the document that has the number.
        if (numbers(input)) return yield* conflict(id, stored?.revision)
        const first = stored === undefined ? reader.loadSettled(id) : reader.decode(id, stored)
        const changed = yield* Effect.catchIf(
          changeFrom(id, first, apply, options, retries),
          // It was deleted in between: then it is inserted after all.
          (error): error is DbError.NotFound => error instanceof DbError.NotFound,
          () => Effect.succeed(undefined)
        )
        if (changed !== undefined) return changed
        if (vanished >= retries) return yield* conflict(id, undefined)
      }
    }),

    revise: (id, next, onCommit, held = reader.loadSettled(id)) =>
      reviseFrom(id, held, next, { onCommit, retries: defaultRetries })
  }
}

const found: Instead<Found, never> = Effect.succeed

/** What a replacement fails with. */
type ReplaceFailure = DbError.NotFound | DbError.Conflict | Pipeline.Rejected | WriteFailure

const whole: PrepareOptions<never> = { mode: "whole" }

/** Only a new document can exist already. */
const isThereElseFail = <E>(error: E): Effect.Effect<never, Exclude<E, DbError.AlreadyExists>> =>
  error instanceof DbError.AlreadyExists ? Effect.die(error) : Effect.fail(error as Exclude<E, DbError.AlreadyExists>)

/** The condition that the object at the key of a document is as it was found, or that there is none. */
const conditionAt = (slot: Document.Slot | undefined): Condition =>
  slot === undefined ? { ifNoneMatch: "*" } : conditionOn(slot)

const announce = <A>(
  beforeCommit: Options<A>["beforeCommit"],
  { id, value, write }: Prepared<A>,
  before: A | undefined
) => runBeforeCommit(beforeCommit, { id, writeId: write.writeId, before, after: value })
