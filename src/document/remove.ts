/**
 * Deletions that take effect at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import * as Document from "../Document.ts"
import * as CasCell from "../kernel/CasCell.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import { type Committer, lostToTime } from "./commit.ts"
import type { Commit, OnCommit, Removal } from "./commits.ts"
import type { Context, LostRace } from "./context.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"
import type { Indexes } from "./indexes.ts"
import type { Reader } from "./read.ts"
import {
  defaultRetries,
  type Options,
  passes,
  type RemovedMany,
  type RemoveFailure,
  type RemoveManyOptions,
  runBeforeCommit,
  type Writer
} from "./writer.ts"

/**
 * Deletions of a resource that take effect at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removing<A> extends Pick<Writer<A>, "remove" | "removeVersion" | "removeMany"> {}

const unseen: Removal = { isKnown: false, stored: undefined }

const absent: Removal = { isKnown: true, stored: undefined }

/** Asks those who take part in a deletion, and gives it a write id. */
const agreed = Effect.fnUntraced(function* <A>(
  id: string,
  value: A,
  checks: Options<A>["checks"],
  beforeCommit: Options<A>["beforeCommit"]
) {
  const writeId = yield* Id.writeId
  yield* passes(checks, value)
  yield* runBeforeCommit(beforeCommit, { id, writeId, before: value, after: undefined })
  return writeId
})

/** Deletes, and tells of it: neither is interrupted. */
const telling = <A, X, E>(deleting: Effect.Effect<X, E>, removal: Omit<Commit<A>, "after">, onCommit: OnCommit<A>) =>
  Effect.uninterruptible(Effect.tap(deleting, () => onCommit({ ...removal, after: undefined })))

/** Failures in the order of the ids. */
const inOrderOf = (batch: ReadonlyArray<readonly [key: string, id: string]>, failed: RemovedMany["failed"]) => {
  const errors = new Map(failed.map((one) => [one.id, one]))
  return errors.size < 2 ? failed : batch.flatMap(([, id]) => errors.get(id) ?? [])
}

/**
 * Makes the direct deletions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    committer,
    indexes,
    reader
  }: {
    readonly committer: Committer<A>
    readonly indexes: Indexes<A>
    readonly reader: Reader<A>
  }
): Removing<A> => {
  const { missing, name, place, settings, store } = context

  /** Deletes whatever version there is; what it owned is left to be tidied. */
  const removePresent = (id: string, options: Options<A>): Effect.Effect<Removal, RemoveFailure> =>
    CasCell.contend(() => tryToRemove(id, options), {
      retries: defaultRetries,
      exhausted: () => reader.conflict(id)
    })

  const tryToRemove = Effect.fnUntraced(function* (
    id: string,
    { beforeCommit, checks, onCommit }: Options<A>
  ): Effect.fn.Return<Removal | LostRace, RemoveFailure> {
    const stored = (yield* reader.settled(id))?.stored
    if (stored === undefined) return absent
    const asks = checks.length + beforeCommit.length > 0
    const writeId = asks ? yield* agreed(id, (yield* reader.decode(id, stored)).value, checks, beforeCommit) : undefined
    return yield* Effect.catchTags(committer.remove(id, stored, onCommit, writeId), {
      AlreadyExists: Effect.die,
      UniqueViolation: Effect.die,
      // Somebody else has deleted it.
      NotFound: () => Effect.succeed(new CasCell.Lost<Document.Slot | undefined>(undefined))
    })
  })

  const tidyAfter = (id: string, { stored }: Removal) =>
    stored === undefined ? Effect.void : documentObject.tidy(place, id, stored, undefined)

  const remove: Writer<A>["remove"] = Effect.fnUntraced(function* (id, options) {
    const { beforeCommit, checks, mustExist, onCommit } = options
    const key = yield* context.key(id)
    if (checks.length + beforeCommit.length === 0 && !mustExist && !(yield* indexes.ownsMore)) {
      yield* telling(store.delete(key), { id, ...unseen }, onCommit)
      return unseen
    }
    const removal = yield* removePresent(id, options)
    yield* tidyAfter(id, removal)
    return mustExist && removal.stored === undefined ? yield* missing(id) : removal
  })

  const removeVersion: Writer<A>["removeVersion"] = Effect.fnUntraced(function* (
    document,
    { beforeCommit, checks, onCommit }
  ) {
    const { id } = document
    const held = context.known(document)
    const base = held === undefined ? undefined : yield* reader.settleHeld(held)
    const stored = base?.stored ?? (yield* reader.stored(id))
    if (stored === undefined) return yield* missing(id)
    if (stored.revision !== (base?.stored.revision ?? document.revision)) return yield* reader.conflict(id)
    const asks = checks.length + beforeCommit.length > 0
    const value = asks ? (base ?? (yield* reader.decode(id, stored))).value : undefined
    const agreeing = value === undefined ? Effect.undefined : agreed(id, value, checks, beforeCommit)
    const attempt = Effect.flatMap(agreeing, (writeId) =>
      Effect.catchTags(committer.remove(id, stored, onCommit, writeId), {
        AlreadyExists: Effect.die,
        UniqueViolation: Effect.die
      })
    )
    let removal = yield* attempt
    // It has lost to nobody: the version in hand is still the one that is meant.
    while (removal === lostToTime) removal = yield* attempt
    if (CasCell.isLost(removal)) return yield* reader.conflict(id)
    yield* tidyAfter(id, removal)
    return removal
  })

  /** Removes what deleted versions owned, their markers together. */
  const tidyMany = Effect.fnUntraced(function* (
    owned: ReadonlyArray<{ readonly id: string; readonly stored: Document.Stored }>,
    concurrency: number
  ) {
    const markers = owned.flatMap(({ id, stored }) => documentObject.markersOf(name, id, stored))
    yield* documentObject.dropMarkers(place, markers)
    yield* Effect.forEach(
      owned.filter(({ stored }) => stored.claims !== Document.none || stored.content !== undefined),
      ({ id, stored }) =>
        documentObject.tidy(place, id, { ...stored, markers: Document.none, companions: Document.none }, undefined),
      { concurrency, discard: true }
    )
  })

  /** Each as it is when its turn comes, on the condition that it still is: the version that is kept is the one that goes. */
  const removeOneByOne = Effect.fnUntraced(function* (
    batch: ReadonlyArray<string>,
    options: RemoveManyOptions<A>,
    progress: Effect.Effect<void>
  ) {
    const { beforeCommit, checks, concurrency } = options
    const onCommit: OnCommit<A> = (commit) => options.onCommit([commit])
    const one = (id: string) =>
      Effect.tap(Effect.result(removePresent(id, { beforeCommit, checks, onCommit })), () => progress)
    const results = yield* Effect.forEach(batch, one, { concurrency })
    const failed: Array<RemovedMany["failed"][number]> = []
    const deleted: Array<string> = []
    const owned: Array<{ readonly id: string; readonly stored: Document.Stored }> = []
    for (const [i, result] of results.entries()) {
      const id = batch[i]!
      if (Result.isSuccess(result)) {
        deleted.push(id)
        const { stored } = result.success
        if (stored !== undefined) owned.push({ id, stored })
      } else if (result.failure._tag === "InvalidInput" || result.failure._tag === "NotFound") {
        return yield* Effect.die(result.failure)
      } else if (result.failure._tag === "Conflict") {
        const description = "the document kept changing"
        failed.push({ id, error: new StoreError.Unavailable({ description, sent: false }) })
      } else failed.push({ id, error: result.failure })
    }
    yield* tidyMany(owned, concurrency)
    return { deleted, failed }
  })

  /** Deletes up to 1,000 documents by one request, after what they own was read. */
  const removeBatch = Effect.fnUntraced(function* (
    batch: ReadonlyArray<readonly [key: string, id: string]>,
    { concurrency, onCommit }: RemoveManyOptions<A>
  ) {
    const isKnown = yield* indexes.ownsMore
    const unread: Array<RemovedMany["failed"][number]> = []
    const read = ([key, id]: readonly [key: string, id: string]) =>
      Effect.map(reader.stored(id), (stored) => [[key, stored] as const]).pipe(
        // What it owns nobody knows: it stays, and the others go.
        Effect.catchIf(isDamage, (error) => Effect.sync(() => (unread.push({ id, error }), [])))
      )
    const owners = new Map(isKnown ? (yield* Effect.forEach(batch, read, { concurrency })).flat() : [])
    const idOf = new Map(batch)
    const deleting = store.deleteMany(batch.flatMap(([key]) => (isKnown && !owners.has(key) ? [] : [key])))
    const { deleted, failed } = yield* Effect.uninterruptible(
      Effect.tap(deleting, ({ deleted }) =>
        onCommit(deleted.map((key) => ({ id: idOf.get(key)!, isKnown, stored: owners.get(key), after: undefined })))
      )
    )
    const owned = deleted.flatMap((key) => {
      const stored = owners.get(key)
      return stored === undefined ? [] : [{ id: idOf.get(key)!, stored }]
    })
    yield* tidyMany(owned, concurrency)
    return {
      deleted: deleted.map((key) => idOf.get(key)!),
      failed: inOrderOf(batch, [...unread, ...failed.map(({ key, reason }) => ({ id: idOf.get(key)!, error: reason }))])
    }
  })

  const removeMany: Writer<A>["removeMany"] = Effect.fnUntraced(function* (ids, options) {
    const keys = new Map<string, string>()
    for (const id of ids) keys.set(yield* context.key(id), id)
    const isExact =
      options.checks.length + options.beforeCommit.length > 0 ||
      settings.history ||
      settings.journal !== undefined ||
      settings.counters !== undefined
    const deleted: Array<string> = []
    const failed: Array<RemovedMany["failed"][number]> = []
    const all = [...keys]
    let done = 0
    const progress = (more: number) => options.onProgress?.({ done: (done += more), total: all.length }) ?? Effect.void
    const one = Effect.suspend(() => progress(1))
    for (let start = 0; start < all.length; start += maxKeysPerRequest) {
      const batch = all.slice(start, start + maxKeysPerRequest)
      const removing = isExact
        ? removeOneByOne(
            batch.map(([, id]) => id),
            options,
            one
          )
        : Effect.tap(removeBatch(batch, options), () => progress(batch.length))
      const result = yield* Effect.result(removing)
      if (Result.isSuccess(result)) {
        deleted.push(...result.success.deleted)
        failed.push(...result.success.failed)
      } else if (start === 0) return yield* result.failure
      else failed.push(...batch.map(([, id]) => ({ id, error: result.failure })))
    }
    return { deleted, failed }
  })

  return { remove, removeVersion, removeMany }
}
