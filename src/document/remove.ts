/**
 * Deletions that take effect at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import * as CasCell from "../kernel/CasCell.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import type { Commit, OnCommit, Removal } from "./commit.ts"
import type { Context } from "./context.ts"
import * as documentObject from "./documentObject.ts"
import type { Indexes } from "./indexes.ts"
import type { Reader } from "./read.ts"
import type { Versions } from "./versions.ts"
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

const removed = (stored: Document.Stored | undefined): Removal => ({ isKnown: true, stored })

/** Whether a version goes back to another one, with no deletion in between. */
const isLaterThan = (before: Document.Stored, now: Document.Stored): boolean =>
  now.ancestors.includes(before.writeId) ||
  now.writeId === before.writeId ||
  (now.createdAt === before.createdAt && now.version > before.version)

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

/** Deletes, and tells of it if it was done. */
const telling = <A, E>(
  deleting: Effect.Effect<boolean | void, E>,
  removal: Omit<Commit<A>, "after">,
  onCommit: OnCommit<A>
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.tap(restore(deleting), (isDone) =>
      isDone === false ? Effect.void : onCommit({ ...removal, after: undefined })
    )
  )

/**
 * Makes the direct deletions of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    indexes,
    reader,
    versions
  }: {
    readonly indexes: Indexes<A>
    readonly reader: Reader<A>
    readonly versions: Versions<A>
  }
): Removing<A> => {
  const { capabilities, missing, name, place, settings, store } = context

  const deleteRevision = Effect.fnUntraced(function* (id: string, revision: string) {
    return yield* store.delete(yield* context.key(id), { ifMatch: revision }).pipe(
      Effect.as(true),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(false),
        NoSuchKey: () => Effect.fail(missing(id))
      })
    )
  })

  /** Deletes a version that was just read; lost when another one has taken its place. */
  const removeRead = Effect.fnUntraced(function* (
    id: string,
    stored: Document.Stored,
    onCommit: OnCommit<A>,
    writeId: string | undefined
  ) {
    const removal = removed(stored)
    const commit = { id, ...removal, writeId }
    if (!capabilities.conditionalDelete) {
      yield* telling(store.delete(yield* context.key(id)), commit, onCommit)
      yield* documentObject.tidy(place, id, stored, undefined)
      return removal
    }
    const deletion = yield* telling(deleteRevision(id, stored.revision), commit, onCommit).pipe(
      Effect.map((isDone) => (isDone ? "done" : "lost")),
      Effect.catchTag("NotFound", () => Effect.succeed("gone" as const))
    )
    const now = deletion === "lost" ? (yield* reader.settled(id))?.stored : undefined
    if (now !== undefined && isLaterThan(stored, now)) return new CasCell.Lost(now)
    // Between reading and deleting it was gone, by somebody's deletion: what is there now is another document.
    yield* documentObject.tidy(place, id, stored, now)
    return deletion === "done" ? removal : removed(undefined)
  })

  const remove: Writer<A>["remove"] = Effect.fnUntraced(function* (id, { beforeCommit, checks, mustExist, onCommit }) {
    const key = yield* context.key(id)
    const asks = checks.length + beforeCommit.length > 0
    if (!asks && !mustExist && !(yield* indexes.ownsMore)) {
      yield* telling(store.delete(key), { id, ...unseen }, onCommit)
      return unseen
    }
    const attempt = Effect.fnUntraced(function* (): Effect.fn.Return<
      Removal | CasCell.Lost<Document.Stored>,
      RemoveFailure
    > {
      const stored = (yield* reader.settled(id))?.stored
      if (stored === undefined) return removed(undefined)
      const writeId = asks
        ? yield* agreed(id, (yield* reader.decode(id, stored)).value, checks, beforeCommit)
        : undefined
      yield* versions.keepLast(id, stored)
      return yield* removeRead(id, stored, onCommit, writeId)
    })
    const removal = yield* CasCell.contend(attempt, {
      retries: defaultRetries,
      exhausted: (now) => Effect.fail(new DbError.Conflict({ resource: name, id, revision: now.revision }))
    })
    return mustExist && removal.stored === undefined ? yield* missing(id) : removal
  })

  const removeVersion: Writer<A>["removeVersion"] = Effect.fnUntraced(function* (
    document,
    { beforeCommit, checks, onCommit }
  ) {
    if (!capabilities.conditionalDelete) {
      const description = "this store ignores conditions on DELETE: delete by id, or choose another store"
      return yield* new StoreError.Unsupported({ feature: "conditional delete", description })
    }
    const { id } = document
    const held = context.known(document)
    const base = held === undefined ? undefined : yield* reader.settleHeld(held)
    const asks = checks.length + beforeCommit.length > 0
    const isNeeded = asks || (yield* indexes.ownsMore)
    const stored = base?.stored ?? (isNeeded ? yield* reader.stored(id) : undefined)
    const revision = base?.stored.revision ?? document.revision
    let writeId: string | undefined
    if (asks && stored !== undefined) {
      const value = base?.value ?? (yield* reader.decode(id, stored)).value
      writeId = yield* agreed(id, value, checks, beforeCommit)
    }
    if (stored !== undefined && stored.revision === revision) yield* versions.keepLast(id, stored)
    const removal = stored === undefined ? unseen : removed(stored)
    const isGone = yield* telling(deleteRevision(id, revision), { id, ...removal, writeId }, onCommit)
    if (!isGone) return yield* reader.conflict(id)
    if (stored !== undefined) yield* documentObject.tidy(place, id, stored, undefined)
    return removal
  })

  /** Each as it is when its turn comes, on the condition that it still is: the version that is kept is the one that goes. */
  const removeOneByOne = Effect.fnUntraced(function* (
    ids: ReadonlyArray<string>,
    { beforeCommit, checks, concurrency, onCommit, onProgress }: RemoveManyOptions<A>
  ) {
    let done = 0
    const one = (id: string) =>
      remove(id, { beforeCommit, checks, mustExist: false, onCommit: (commit) => onCommit([commit]) }).pipe(
        Effect.catchTag("NotFound", Effect.die),
        Effect.result,
        Effect.tap(() => onProgress?.({ done: (done += 1), total: ids.length }) ?? Effect.void)
      )
    const results = yield* Effect.forEach(ids, one, { concurrency })
    const failed: Array<RemovedMany["failed"][number]> = []
    const deleted: Array<string> = []
    for (const [i, result] of results.entries()) {
      const id = ids[i]!
      if (Result.isSuccess(result)) deleted.push(id)
      else if (result.failure._tag === "InvalidInput") return yield* result.failure
      else if (result.failure._tag === "Conflict") {
        const description = "the document kept changing"
        failed.push({ id, error: new StoreError.Unavailable({ description, sent: false }) })
      } else failed.push({ id, error: result.failure })
    }
    return { deleted, failed }
  })

  /** Deletes up to 1,000 documents by one request, after what they own was read. */
  const removeBatch = Effect.fnUntraced(function* (
    batch: ReadonlyArray<readonly [key: string, id: string]>,
    { concurrency, onCommit }: RemoveManyOptions<A>
  ) {
    const isKnown = yield* indexes.ownsMore
    const read = ([key, id]: readonly [key: string, id: string]) =>
      Effect.map(reader.stored(id), (stored) => [key, stored] as const)
    const owners = new Map(isKnown ? yield* Effect.forEach(batch, read, { concurrency }) : [])
    const idOf = new Map(batch)
    const deleting = store.deleteMany(batch.map(([key]) => key))
    const { deleted, failed } = yield* Effect.uninterruptibleMask((restore) =>
      Effect.tap(restore(deleting), ({ deleted }) =>
        onCommit(deleted.map((key) => ({ id: idOf.get(key)!, isKnown, stored: owners.get(key), after: undefined })))
      )
    )
    const owned = deleted.flatMap((key) => {
      const stored = owners.get(key)
      return stored === undefined ? [] : [{ id: idOf.get(key)!, stored }]
    })
    const markers = owned.flatMap(({ id, stored }) => documentObject.markersBut(name, id, stored.markers))
    yield* documentObject.dropMarkers(place, markers)
    yield* Effect.forEach(
      owned.filter(({ stored }) => stored.claims !== Document.none || stored.content !== undefined),
      ({ id, stored }) => documentObject.tidy(place, id, { ...stored, markers: Document.none }, undefined),
      { concurrency, discard: true }
    )
    return {
      deleted: deleted.map((key) => idOf.get(key)!),
      failed: failed.map(({ key, reason }) => ({ id: idOf.get(key)!, error: reason }))
    }
  })

  const removeMany: Writer<A>["removeMany"] = Effect.fnUntraced(function* (ids, options) {
    const keys = new Map<string, string>()
    for (const id of ids) keys.set(yield* context.key(id), id)
    if (options.checks.length + options.beforeCommit.length > 0 || settings.history) {
      return yield* removeOneByOne([...keys.values()], options)
    }
    const deleted: Array<string> = []
    const failed: Array<RemovedMany["failed"][number]> = []
    const all = [...keys]
    for (let start = 0; start < all.length; start += maxKeysPerRequest) {
      const batch = all.slice(start, start + maxKeysPerRequest)
      const result = yield* Effect.result(removeBatch(batch, options))
      if (Result.isSuccess(result)) {
        deleted.push(...result.success.deleted)
        failed.push(...result.success.failed)
      } else if (start === 0) return yield* result.failure
      else failed.push(...batch.map(([, id]) => ({ id, error: result.failure })))
      yield* options.onProgress?.({ done: start + batch.length, total: all.length }) ?? Effect.void
    }
    return { deleted, failed }
  })

  return { remove, removeVersion, removeMany }
}
