/**
 * The catalog as a cell of the store: read, changed by compare-and-set, copied for recovery.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Catalog from "../Catalog.ts"
import type { Failure } from "../DbError.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { headOption, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Joining from "./joining.ts"

type Store = ObjectStore["Service"]

/**
 * The catalog of an open database.
 *
 * @category models
 * @since 0.1.0
 */
export interface CatalogCell {
  /** The catalog as it was last read or written. No request. */
  readonly current: Effect.Effect<Catalog.Catalog>
  /** The same, for what cannot wait. */
  readonly now: () => Catalog.Catalog
  /**
   * Milliseconds since the beginning of the request that found it to be as it is known, by whichever clock says more. Whatever
   * was written before that is known.
   */
  readonly age: () => number
  /** Reads it again. 1 GET. `Corrupt`: it was damaged, or is gone, since it was opened. */
  readonly refresh: Effect.Effect<void, Failure>
  /** Reads it again if it has changed. 1 HEAD, and 1 GET if it has. */
  readonly renew: Effect.Effect<void, Failure>
  /**
   * Changes it: 1 PUT, and 1 more for the copy, for all changes that are asked for at the same time, or while another write is on
   * its way; no request when `change` gives the catalog that it got. Somebody else may write it at the same time: then theirs is
   * read, and changed. So `change` may be called more than once, with a catalog that other changes are made in that are not
   * written yet. If the write fails so do all of them.
   */
  readonly change: <E>(
    change: (catalog: Catalog.Catalog) => Effect.Effect<Catalog.Catalog, E>
  ) => Effect.Effect<Catalog.Catalog, Failure | E>
}

/**
 * A catalog that has been opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly version: CasCell.Version<Catalog.Catalog>
  /** Milliseconds since before it was read. */
  readonly age: () => number
  /** Told of each catalog that is another one than was known, when it is known. */
  readonly onSeen: (before: Catalog.Catalog, after: Catalog.Catalog) => Effect.Effect<void>
}

/**
 * Explains that a catalog was written by a later release, or by s3db.js.
 *
 * @category constructors
 * @since 0.1.0
 */
export const otherFormat = (error: Catalog.NewerFormat | Catalog.OfS3dbJs): StoreError.Unsupported =>
  new StoreError.Unsupported({
    feature: error._tag === "NewerFormat" ? `catalog format ${error.version}` : "catalog of s3db.js",
    description: error.message
  })

/**
 * The ids of the last writes are in the one text that has always been there: a release that knows of one id only takes them for one,
 * and writes its own in their place.
 */
const separator = " "

/**
 * Returns the ids of the writes that led to a catalog, newest first.
 *
 * @category getters
 * @since 0.1.0
 */
export const writesOf = ({ writeId }: Catalog.Catalog): ReadonlyArray<string> =>
  writeId.split(separator).filter((id) => id !== "")

const format: CasCell.Format<Catalog.Catalog> = {
  remembered: 16,
  encode: (catalog, writes) => Effect.succeed(Catalog.toBytes({ ...catalog, writeId: writes.join(separator) })),
  decode: Effect.fnUntraced(function* (bytes) {
    const reading = yield* Effect.mapError(Catalog.read(bytes), otherFormat)
    if (reading._tag === "Healthy") return { value: reading.catalog, writes: writesOf(reading.catalog) }
    const description = "the catalog was damaged since it was opened; open the database again"
    return yield* new StoreError.Corrupt({ description })
  })
}

/**
 * Writes a catalog in the place of the one that has this ETag, or creates it, and then its copy. 1 PUT, and 1 more for the
 * copy. `Lost`: another process was first.
 *
 * @category protocol
 * @since 0.1.0
 */
export const write = Effect.fnUntraced(function* (store: Store, etag: string | undefined, catalog: Catalog.Catalog) {
  const next = { ...catalog, lastUpdated: DateTime.formatIso(yield* DateTime.now) }
  const cell = CasCell.make(store, Catalog.key, format)
  const written = yield* cell.attempt(() => Effect.succeed(next), { ...CasCell.absent, etag })
  if (!CasCell.isLost(written)) yield* copy(store, written)
  return written
})

/** The copy only serves recovery: the catalog itself is written, so a failure of it is told, not raised. */
const copy = Effect.fnUntraced(function* (store: Store, { value, writes }: CasCell.Version<Catalog.Catalog>) {
  if (value === undefined) return
  const body = yield* Effect.orDie(format.encode(value, writes))
  yield* Effect.catch(
    store.put({ key: Catalog.backupKey, body, contentType: "application/json", repeatable: true }),
    (error) => Effect.logWarning(`the backup of the catalog could not be written: ${error.message}`)
  )
})

/**
 * Makes the cell of a catalog that has been opened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: Store,
  { age: openedFor, onSeen, version: opened }: Opened
): Effect.fn.Return<CatalogCell> {
  const cell = CasCell.make(store, Catalog.key, format)
  const lock = yield* Semaphore.make(1)
  const known = { version: opened, age: openedFor }

  const present = (catalog: Catalog.Catalog | undefined) =>
    catalog === undefined
      ? Effect.fail(new StoreError.Corrupt({ description: "the catalog was removed since it was opened" }))
      : Effect.succeed(catalog)

  const now = (): Catalog.Catalog => known.version.value ?? Catalog.empty

  /** Goes by what was found by a request that began when `age` did. */
  const know = Effect.fnUntraced(function* (version: CasCell.Version<Catalog.Catalog>, age: () => number) {
    const after = yield* present(version.value)
    const before = now()
    known.version = version
    known.age = age
    if (after !== before) yield* onSeen(before, after)
  })

  /** Makes changes one on top of the other. One that fails is left out. */
  const applied = Effect.fnUntraced(function* (changes: Iterable<Waiting>, found: Catalog.Catalog) {
    let catalog = found
    for (const { apply } of changes) catalog = yield* apply(catalog, catalog !== found)
    return catalog === found ? found : { ...catalog, lastUpdated: DateTime.formatIso(yield* DateTime.now) }
  })

  const write = Effect.fnUntraced(function* (changes: Iterable<Waiting>) {
    let isChanged = false
    const changed = Effect.fnUntraced(function* (found: Catalog.Catalog | undefined) {
      const catalog = yield* present(found)
      const next = yield* applied(changes, catalog)
      isChanged = next !== catalog
      return next
    })
    const age = StoreClock.startUnsafe()
    const after = yield* keptChanging(cell.modify(changed, known.version))
    // Where there was no request nothing new is known.
    if (after !== known.version) yield* know(after, age)
    if (isChanged) yield* copy(store, after)
  })

  const join = Joining.make<Waiting>((take) =>
    Effect.suspend(() => {
      const changes = [...take()]
      return Effect.flatMap(Effect.exit(write(changes)), (exit) =>
        Effect.forEach(changes, ({ settle }) => settle(exit), { discard: true })
      )
    }).pipe(lock.withPermits(1))
  )

  const change = Effect.fnUntraced(function* <E>(
    change: (catalog: Catalog.Catalog) => Effect.Effect<Catalog.Catalog, E>
  ): Effect.fn.Return<Catalog.Catalog, Failure | E> {
    // What is so already, or refused, needs no write.
    const isWanted = Effect.suspend(() => {
      const found = now()
      return Effect.map(change(found), (next) => next !== found)
    })
    if (!(yield* lock.withPermits(1)(isWanted))) return now()
    const { outcome, waiting } = yield* waitingFor(change)
    yield* join(waiting, outcome)
    return now()
  })

  const read = Effect.gen(function* () {
    const age = StoreClock.startUnsafe()
    yield* know(yield* cell.read, age)
  })

  return {
    current: Effect.sync(now),
    now,
    age: () => known.age(),
    refresh: lock.withPermits(1)(read),
    renew: Effect.gen(function* () {
      const age = StoreClock.startUnsafe()
      const head = yield* headOption(store, Catalog.key)
      if (Option.isNone(head)) return yield* Effect.asVoid(present(undefined))
      if (head.value.etag === known.version.etag) known.age = age
      else yield* read
    }).pipe(lock.withPermits(1)),
    change
  }
})

/** A change that waits for the next write. */
interface Waiting {
  /** What becomes of a catalog; the same if the change leaves it as it is, or fails. `isPending`: it has other changes that are not written yet. */
  readonly apply: (found: Catalog.Catalog, isPending: boolean) => Effect.Effect<Catalog.Catalog>
  /** Told how the write has ended. */
  readonly settle: (exit: Exit.Exit<void, Failure>) => Effect.Effect<unknown>
}

const waitingFor = Effect.fnUntraced(function* <E>(
  change: (catalog: Catalog.Catalog) => Effect.Effect<Catalog.Catalog, E>
) {
  // Whoever writes does so for others, too.
  const context = yield* Effect.context<never>()
  const done = yield* Deferred.make<void, Failure | E>()
  let own: Exit.Exit<Catalog.Catalog, Failure | E> | undefined
  let isOfTheWrite = true
  const checked = Effect.fnUntraced(function* (found: Catalog.Catalog): Effect.fn.Return<Catalog.Catalog, Failure | E> {
    const next = yield* change(found)
    const unknown = next === found ? undefined : Catalog.unknownMember(found)
    return unknown === undefined ? next : yield* laterMember(unknown)
  })
  const waiting: Waiting = {
    apply: (found, isPending) =>
      Effect.map(Effect.exit(Effect.provideContext(checked(found), context)), (exit) => {
        own = exit
        const next = Exit.isSuccess(exit) ? exit.value : found
        isOfTheWrite = isPending || next !== found
        return next
      }),
    // What was found on top of changes that have not been written was not so.
    settle: (exit) =>
      Deferred.done(done, own === undefined || (Exit.isFailure(exit) && isOfTheWrite) ? exit : Exit.asVoid(own))
  }
  return { waiting, outcome: Deferred.await(done) }
})

const laterMember = (path: string) => {
  const description = `the catalog has what this release does not know (${path}), which would be lost if it were written; upgrade effect-s3db`
  return Effect.fail(new StoreError.Unsupported({ feature: "catalog of a later release", description }))
}

/** That others were first again and again may be otherwise later. */
const keptChanging = <A, E>(effect: Effect.Effect<A, E | StoreError.StoreError>) =>
  Effect.mapError(effect, (error) => {
    if (!StoreError.isStoreError(error) || error.reason._tag !== "PreconditionFailed") return error
    const { afterUnknown = false } = error.reason
    const description = "the catalog kept changing while it was written"
    return new StoreError.Unavailable({
      description: afterUnknown
        ? `${description}, and the answer to a write of it was lost: the change may have been carried out; make it again`
        : description,
      sent: afterUnknown
    })
  })
