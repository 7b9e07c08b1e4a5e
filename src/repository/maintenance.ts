/**
 * Work over whole resources that brings what is stored in line with the definition: older schema versions, older keys,
 * partitions and unique keys that are new, and what crashes have left behind.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type { Base, DocumentStore } from "../document/documents.ts"
import { LostRace, markerGraceMillis, pause } from "../document/documents.ts"
import { percentEncode } from "../internal/text.ts"
import * as Content from "../Content.ts"
import * as History from "../History.ts"
import type {
  Backfilled,
  Finding,
  RepairOptions,
  RewriteOptions,
  Rewritten,
  Rotated,
  WriteError
} from "../Repository.ts"
import type { Listing } from "../query/listing.ts"
import * as Partition from "../Partition.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as Unique from "../Unique.ts"

type RewriteError = WriteError | DbError.NotFound | DbError.Conflict

const defaultConcurrency = 16
const defaultRetries = 20

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  name: string,
  leaseMillis: number,
  database: Database["Service"],
  documents: DocumentStore<A>,
  listing: Listing<A>
) => {
  const { store, capabilities } = database
  const { fromStore } = documents

  const loadIfPresent = (operation: string, id: string) =>
    documents.loadSettled(operation, id).pipe(
      Effect.map((base) => Option.some(base)),
      Effect.catchTag("NotFound", () => Effect.succeed(Option.none<Base<A>>()))
    )

  /** Writes a document again as it is, if it needs it, on the condition that it has not changed. */
  const rewriteOne = Effect.fnUntraced(function* <E>(
    operation: string,
    id: string,
    isOld: (base: Base<A>) => Effect.Effect<boolean, E>
  ) {
    for (let lostRaces = 0; ; lostRaces++) {
      const base = yield* loadIfPresent(operation, id)
      if (Option.isNone(base) || !(yield* isOld(base.value))) return { id, rewritten: false }
      const same = Effect.succeed(Result.succeed<unknown>(base.value.value))
      const after = yield* Effect.catchTag(
        documents.changeFrom(operation, base.value, () => same),
        "NotFound",
        () => Effect.succeed(undefined)
      )
      if (!(after instanceof LostRace)) return { id, rewritten: after !== undefined }
      if (lostRaces >= defaultRetries) return yield* documents.conflict(operation, id, base.value.key)
      yield* pause(lostRaces)
    }
  })

  const each = <X, E>(
    operation: string,
    options: RewriteOptions | undefined,
    one: (id: string) => Effect.Effect<X, E>
  ): Stream.Stream<X, E | DbError.InvalidInput | DbError.DbError> => {
    const concurrency = options?.concurrency ?? defaultConcurrency
    const begin = options?.after === undefined ? Effect.succeed(undefined) : documents.keyOf(options.after)
    return Stream.unwrap(
      Effect.map(begin, (startAfter) =>
        listing.batches(operation, listing.whole, options, startAfter).pipe(
          Stream.mapEffect((hits) => Effect.forEach(hits, ({ id }) => one(id), { concurrency })),
          Stream.flatMap(Stream.fromArray)
        )
      )
    )
  }

  const rewrite = <E = never>(
    operation: string,
    options: RewriteOptions | undefined,
    isOld: (base: Base<A>) => Effect.Effect<boolean, E>
  ): Stream.Stream<Rewritten, RewriteError | E> => each(operation, options, (id) => rewriteOne(operation, id, isOld))

  /**
   * Puts what a document says it owns of some indexes once more: they may have been removed, with all their objects, and
   * declared again.
   */
  const reassert = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    building: {
      readonly partitions: ReadonlyArray<Partition.Partition>
      readonly uniques: ReadonlyArray<Unique.Unique>
    }
  ) {
    if (building.partitions.length === 0 && building.uniques.length === 0) return
    const stored = yield* documents.loadStored(operation, id)
    if (stored === undefined) return
    for (const partition of building.partitions) {
      const owned = stored.markers[partition.name]
      if (owned === undefined) continue
      const key = partition.key(id, owned)
      yield* Effect.mapError(store.put({ key, repeatable: true }), fromStore(operation))
    }
    for (const unique of building.uniques) {
      const claim = stored.claims[unique.name]
      if (claim === undefined) continue
      const found = yield* Effect.mapError(Unique.find(store, unique.key(claim.digest)), fromStore(operation))
      if (found?.owner === id) continue
      const lost = yield* documents.reclaim(operation, id, unique, claim.digest)
      if (lost !== undefined) return yield* lost
    }
  })

  const backfill = (options: RewriteOptions | undefined): Stream.Stream<Backfilled, RewriteError> => {
    const operation = "Resource.backfill"
    const isOld = (base: Base<A>) => Effect.map(documents.isIndexed(base), (isIndexed) => !isIndexed)
    return Stream.unwrap(
      Effect.map(documents.indexes, ({ partitions, uniques }) => {
        const violated = new Set<string>()
        const building = {
          partitions: [...partitions.values()].filter((partition) => !partition.isReady),
          uniques: [...uniques.values()].filter((unique) => !unique.isReady)
        }
        const one = (id: string): Effect.Effect<Backfilled, Exclude<RewriteError, DbError.UniqueViolation>> =>
          rewriteOne(operation, id, isOld).pipe(
            Effect.tap(() => reassert(operation, id, building)),
            Effect.map((rewritten) => ({ ...rewritten, violation: undefined })),
            Effect.catchTag("UniqueViolation", (violation) => {
              violated.add(violation.unique)
              return Effect.succeed({ id, rewritten: false, violation })
            })
          )
        const finish = Effect.gen(function* () {
          for (const partition of building.partitions) {
            yield* database.setIndex(name, "partitions", partition.name, "ready")
          }
          for (const unique of building.uniques) {
            if (!violated.has(unique.name)) yield* database.setIndex(name, "uniques", unique.name, "ready")
          }
        })
        return Stream.concat(each(operation, options, one), Stream.drain(Stream.fromEffect(finish)))
      })
    )
  }

  // --- repair ----------------------------------------------------------------

  const entries = (operation: string, prefix: string) =>
    Stream.paginate(undefined as string | undefined, (token) =>
      Effect.map(
        Effect.mapError(store.list({ prefix, token, maxKeys: maxKeysPerRequest }), fromStore(operation)),
        (page) => [page.entries, Option.fromUndefinedOr(page.nextToken)] as const
      )
    )

  const repair = (options: RepairOptions | undefined): Stream.Stream<Finding, RewriteError> => {
    const operation = "Resource.repair"
    const { dryRun = true, concurrency = defaultConcurrency } = options ?? {}
    const grace = options?.markerGraceMillis ?? markerGraceMillis
    const resource = percentEncode(name)
    const perform = <X, E>(effect: Effect.Effect<X, E>) => (dryRun ? Effect.void : Effect.asVoid(effect))
    const find = (kind: Finding["kind"], key: string, id: string, repaired = !dryRun): Finding => ({
      kind,
      key,
      id,
      repaired
    })

    /** A key below `partition=`, whatever partitions there are now. */
    const marker = Effect.fnUntraced(function* (now: number, key: string, lastModified: number) {
      const match = /^resource=[^/]+\/partition=([^/]+)\//.exec(key)
      if (match === null || now - lastModified <= grace) return undefined
      const label = decodeURIComponent(match[1]!)
      const parsed = Partition.compile(name, label, { fields: [] }).parse(key)
      if (parsed === undefined) return undefined
      const stored = yield* documents.loadStored(operation, parsed.id)
      const owned = stored !== undefined && Object.hasOwn(stored.markers, label) ? stored.markers[label] : undefined
      if (owned?.values === parsed.values && owned.writeId === parsed.writeId) return undefined
      yield* perform(Effect.mapError(store.delete(key, { repeatable: true }), fromStore(operation)))
      return find("LeftoverMarker", key, parsed.id)
    })

    const document = Effect.fnUntraced(function* (id: string): Effect.fn.Return<ReadonlyArray<Finding>, RewriteError> {
      const base = yield* loadIfPresent(operation, id)
      if (Option.isNone(base)) return []
      const { key, stored } = base.value
      const findings: Array<Finding> = []
      for (const [label, owned] of Object.entries(stored.markers)) {
        const at = Partition.keyOf(name, label, id, owned)
        const isThere = yield* store.head(at).pipe(
          Effect.as(true),
          Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false)),
          Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
        )
        if (isThere) continue
        // It may have moved since it was read.
        const now = yield* documents.loadStored(operation, id)
        if (now?.markers[label]?.writeId !== owned.writeId) continue
        yield* perform(Effect.mapError(store.put({ key: at, repeatable: true }), fromStore(operation)))
        findings.push(find("MissingMarker", at, id))
      }
      const { uniques } = yield* documents.indexes
      for (const [label, claim] of Object.entries(stored.claims)) {
        const unique = uniques.get(label)
        if (unique === undefined) continue
        const at = unique.key(claim.digest)
        const found = yield* Effect.mapError(Unique.find(store, at), fromStore(operation))
        if (found?.owner === id) continue
        const now = yield* documents.loadStored(operation, id)
        if (now?.claims[label]?.digest !== claim.digest) continue
        if (found?.owner !== undefined) {
          const other = yield* documents.loadStored(operation, found.owner)
          if (other?.claims[label]?.digest === claim.digest) {
            findings.push(find("Duplicate", at, id, false))
            continue
          }
        }
        yield* perform(documents.reclaim(operation, id, unique, claim.digest))
        findings.push(find("Unindexed", at, id))
      }
      if (!(yield* documents.isIndexed(base.value))) {
        const isOld = (now: Base<A>) => Effect.map(documents.isIndexed(now), (isIndexed) => !isIndexed)
        const duplicate = yield* perform(rewriteOne(operation, id, isOld)).pipe(
          Effect.as(false),
          Effect.catchTag("UniqueViolation", () => Effect.succeed(true))
        )
        findings.push(duplicate ? find("Duplicate", key, id, false) : find("Unindexed", key, id))
      }
      return findings
    })

    const reservation = Effect.fnUntraced(function* (now: number, key: string, lastModified: number) {
      const match = /^resource=[^/]+\/unique=([^/]+)\/([^/]+)$/.exec(key)
      if (match === null || now - lastModified <= leaseMillis) return undefined
      const label = decodeURIComponent(match[1]!)
      const found = yield* Effect.mapError(Unique.find(store, key), fromStore(operation))
      // It may have been made anew since it was listed.
      if (found?.owner === undefined || now - found.lastModified <= leaseMillis) return undefined
      const stored = yield* documents.loadStored(operation, found.owner)
      if (stored?.claims[label]?.digest === match[2]) return undefined
      yield* perform(Effect.mapError(Unique.release(store, capabilities, key, found.etag), fromStore(operation)))
      return find("LeftoverReservation", key, found.owner)
    })

    const content = Effect.fnUntraced(function* (now: number, key: string, lastModified: number) {
      const parsed = Content.parse(key)
      if (parsed === undefined || now - lastModified <= grace) return undefined
      const stored = yield* documents.loadStored(operation, parsed.id)
      if (stored?.content?.name === parsed.name) return undefined
      yield* perform(Effect.mapError(store.delete(key, { repeatable: true }), fromStore(operation)))
      return find("LeftoverContent", key, parsed.id)
    })

    const over = (
      prefix: string,
      one: (now: number, key: string, lastModified: number) => Effect.Effect<Finding | undefined, DbError.DbError>
    ) =>
      Stream.unwrap(
        Effect.map(Effect.mapError(Unique.storeTime(store), fromStore(operation)), (now) =>
          entries(operation, prefix).pipe(
            Stream.mapEffect((entry) => one(now, entry.key, entry.lastModified ?? now), { concurrency }),
            Stream.filter((finding) => finding !== undefined)
          )
        )
      )

    return Stream.suspend(() => {
      const documentFindings = each(operation, { concurrency }, document).pipe(Stream.flatMap(Stream.fromArray))
      return documentFindings.pipe(
        Stream.concat(over(`resource=${resource}/partition=`, marker)),
        Stream.concat(over(`resource=${resource}/unique=`, reservation)),
        Stream.concat(over(`resource=${resource}/content/`, content))
      )
    })
  }

  /** Removes every marker, or reservation, of an index that the catalog has no more. */
  const drop = (operation: string, prefix: string): Stream.Stream<number, DbError.DbError> =>
    entries(operation, prefix).pipe(
      Stream.grouped(maxKeysPerRequest),
      Stream.mapEffect((some) =>
        Effect.gen(function* () {
          const keys = some.map((entry) => entry.key)
          const { failed } = yield* Effect.mapError(store.deleteMany(keys, { repeatable: true }), fromStore(operation))
          return failed.length > 0 ? yield* documents.failure(operation, failed[0]!.reason) : keys.length
        })
      )
    )

  const remove = Effect.fnUntraced(function* (operation: string, kind: "partitions" | "uniques", label: string) {
    const indexes = yield* documents.indexes
    const index = indexes[kind].get(label)
    if (index === undefined) {
      const names = [...indexes[kind].keys()].join(", ")
      const what = kind === "partitions" ? "partition" : "unique key"
      return yield* documents.invalid([what], `Expected a ${what} of ${name}: ${names === "" ? "it has none" : names}`)
    }
    // First nobody makes new ones.
    yield* database.setIndex(name, kind, label, undefined)
    return yield* Stream.runFold(
      drop(operation, index.prefix),
      () => 0,
      (total, some) => total + some
    )
  })

  const pruneHistory = (keep: number | undefined, before: number | undefined) => {
    const operation = "Resource.pruneHistory"
    const prune = Effect.fnUntraced(function* (id: string) {
      const { entries: found, now } = yield* documents.past(operation, id)
      const versions = found.filter((entry) => !entry.isDeletion)
      const tooMany = new Set(versions.slice(0, keep === undefined ? 0 : Math.max(0, versions.length - keep)))
      // A version was replaced when the one after it was written.
      const isOld = (i: number) =>
        before !== undefined && (found[i + 1]?.writtenAt ?? now?.stored.writtenAt ?? Number.POSITIVE_INFINITY) < before
      const isKept = (entry: History.Entry, i: number) => !entry.isDeletion && !tooMany.has(entry) && !isOld(i)
      const first = found.findIndex(isKept)
      // When a document was deleted says nothing any more once no version before that is left.
      const isLeft = (entry: History.Entry, i: number) =>
        isKept(entry, i) || (entry.isDeletion && first >= 0 && first < i)
      const gone = found.filter((entry, i) => !isLeft(entry, i))
      if (gone.length === 0) return { id, removed: 0 }
      const keys = gone.map((entry) => entry.key)
      const { failed } = yield* Effect.mapError(store.deleteMany(keys, { repeatable: true }), fromStore(operation))
      return failed.length > 0 ? yield* documents.failure(operation, failed[0]!.reason) : { id, removed: keys.length }
    })
    const everything = documents.entries(operation, History.prefix(name)).pipe(
      Stream.map((entry) => entry.id),
      Stream.changes,
      Stream.mapEffect(prune),
      Stream.filter(({ removed }) => removed > 0)
    )
    return Stream.unwrap(
      Effect.gen(function* () {
        yield* documents.needs(operation, "history")
        if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 0)) {
          return yield* documents.invalid(["keep"], "Expected an integer of 0 or more")
        }
        if (keep === undefined && before === undefined) {
          return yield* documents.invalid([], "Expected keep, before, or both")
        }
        return everything
      })
    )
  }

  const rotate = (options: RewriteOptions | undefined): Stream.Stream<Rotated, RewriteError> => {
    const operation = "Resource.rotate"
    const concurrency = options?.concurrency ?? defaultConcurrency
    const present = rewrite(operation, options, (base) => Effect.succeed(base.isUnderOldKey))
    const documentsFirst = Stream.map(present, (rewritten): Rotated => ({ ...rewritten, of: "document" }))
    // Then what was replaced, also by that.
    const one = (entry: History.Entry) =>
      Effect.map(documents.resealEntry(operation, entry), (rewritten) => ({ id: entry.id, rewritten }))
    const past = documents.entries(operation, History.prefix(name)).pipe(
      Stream.mapEffect(one, { concurrency }),
      Stream.groupAdjacentBy(({ id }) => id),
      Stream.map(([id, versions]): Rotated => ({
        id,
        rewritten: versions.some(({ rewritten }) => rewritten),
        of: "history"
      }))
    )
    return Stream.concat(documentsFirst, past)
  }

  return { rewrite, rotate, backfill, repair, remove, pruneHistory }
}
