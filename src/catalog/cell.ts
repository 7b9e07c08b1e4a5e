/**
 * The catalog as a cell of the store: read, changed by compare-and-set, copied for recovery.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Semaphore from "effect/Semaphore"
import * as Catalog from "../Catalog.ts"
import type { Failure } from "../DbError.ts"
import * as CasCell from "../kernel/CasCell.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"

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
  /** Reads it again. 1 GET. `Corrupt`: it was damaged, or is gone, since it was opened. */
  readonly refresh: Effect.Effect<void, Failure>
  /**
   * Changes it: 1 PUT, and 1 more for the copy; no request when `change` gives the catalog that it got. Somebody else may
   * write it at the same time: then theirs is read, and changed.
   */
  readonly change: <E>(
    change: (catalog: Catalog.Catalog) => Effect.Effect<Catalog.Catalog, E>
  ) => Effect.Effect<Catalog.Catalog, Failure | E>
}

/**
 * Explains that a catalog was written by a later release.
 *
 * @category constructors
 * @since 0.1.0
 */
export const newerFormat = ({ version }: Catalog.NewerFormat): StoreError.Unsupported =>
  new StoreError.Unsupported({
    feature: `catalog format ${version}`,
    description: `the catalog has format ${version}, written by a later release; upgrade effect-s3db`
  })

const format: CasCell.Format<Catalog.Catalog> = {
  remembered: 1,
  encode: (catalog, [writeId = ""]) => Catalog.toBytes({ ...catalog, writeId }),
  decode: Effect.fnUntraced(function* (bytes) {
    const reading = yield* Effect.mapError(Catalog.read(bytes), newerFormat)
    if (reading._tag === "Healthy") return { value: reading.catalog, writes: [reading.catalog.writeId] }
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
  const written = yield* cell.attempt(() => Effect.succeed(next), { etag, value: undefined, writes: [] })
  if (!CasCell.isLost(written)) yield* copy(store, written)
  return written
})

/** The copy only serves recovery: the catalog itself is written, so a failure of it is told, not raised. */
const copy = Effect.fnUntraced(function* (store: Store, { value, writes }: CasCell.Version<Catalog.Catalog>) {
  if (value === undefined) return
  const body = format.encode(value, writes)
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
  opened: CasCell.Version<Catalog.Catalog>
): Effect.fn.Return<CatalogCell> {
  const cell = CasCell.make(store, Catalog.key, format)
  const version = yield* Ref.make(opened)
  const lock = yield* Semaphore.make(1)

  const present = (catalog: Catalog.Catalog | undefined) =>
    catalog === undefined
      ? Effect.fail(new StoreError.Corrupt({ description: "the catalog was removed since it was opened" }))
      : Effect.succeed(catalog)

  const change = <E>(change: (catalog: Catalog.Catalog) => Effect.Effect<Catalog.Catalog, E>) =>
    Effect.gen(function* () {
      let isChanged = false
      const stamped = Effect.fnUntraced(function* (found: Catalog.Catalog | undefined) {
        const catalog = yield* present(found)
        const next = yield* change(catalog)
        isChanged = next !== catalog
        return isChanged ? { ...next, lastUpdated: DateTime.formatIso(yield* DateTime.now) } : catalog
      })
      const after = yield* keptChanging(cell.modify(stamped, yield* Ref.get(version)))
      yield* Ref.set(version, after)
      if (isChanged) yield* copy(store, after)
      return yield* present(after.value)
    }).pipe(lock.withPermits(1))

  return {
    current: Effect.flatMap(Ref.get(version), ({ value }) => Effect.orDie(present(value))),
    refresh: Effect.gen(function* () {
      const read = yield* cell.read
      yield* present(read.value)
      yield* Ref.set(version, read)
    }),
    change
  }
})

/** That others were first again and again may be otherwise later. */
const keptChanging = <A, E>(effect: Effect.Effect<A, E | StoreError.StoreError>) =>
  Effect.mapError(effect, (error) => {
    if (!StoreError.isStoreError(error) || error.reason._tag !== "PreconditionFailed") return error
    const description = "the catalog kept changing while it was written"
    return new StoreError.Unavailable({ description, sent: false })
  })
