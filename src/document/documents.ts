/**
 * The documents of one resource in the store: reads, and the protocol by which one is written so that it is found
 * through every partition it belongs to, and has its unique values for itself, whatever crashes when.
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
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as Catalog from "../Catalog.ts"
import type { Completion, Times } from "../Completion.ts"
import * as Content from "../Content.ts"
import * as Id from "../crypto/Id.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import type { DocumentCodec } from "./codec.ts"
import type * as Encoding from "../encoding/Encoding.ts"
import * as History from "../History.ts"
import type * as merge from "../internal/merge.ts"
import * as Partition from "../Partition.ts"
import type * as Pipeline from "../Pipeline.ts"
import type { OnProgress, WriteError } from "../Repository.ts"
import * as Slot from "./documentObject.ts"
import { maxKeysPerRequest } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Unique from "../Unique.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A value together with the stored version it was read from, or written as.
 *
 * @category models
 * @since 0.1.0
 */
export interface Base<A> {
  readonly id: string
  readonly key: string
  readonly value: A
  readonly stored: Document.Stored
  /** Stored attributes that the present schema does not know; a change leaves them as they are. */
  readonly carried: Encoding.JsonObject | undefined
  readonly isUnderOldKey: boolean
  /** The value as JSON, without its id; secrets in clear. */
  readonly json: Encoding.JsonObject
  /** `false`: the object holds what a transaction has announced, too, so that its revision is not that of the version. */
  readonly isSettled: boolean
}

/** A new version of a document, ready to be sent but for its reservations. */
interface Prepared<A> extends Omit<Base<A>, "stored"> {
  readonly write: Document.Write
  /** Keys of markers that do not exist yet. */
  readonly newMarkers: ReadonlyArray<string>
  /** Values to be reserved, by the unique key. */
  readonly wanted: ReadonlyArray<{ readonly unique: Unique.Unique; readonly digest: string }>
}

/**
 * Another write was first: the condition of this one does not hold. What is there now, as far as it could be read.
 *
 * @category models
 * @since 0.1.0
 */
export class LostRace {
  readonly slot: Document.Slot | undefined
  constructor(slot: Document.Slot | undefined) {
    this.slot = slot
  }
}

/** A reservation that a write has made. */
interface Reserved {
  readonly unique: Unique.Unique
  readonly claim: Document.Claim
  readonly isShared: boolean
}

/** Another fiber of the same transaction has changed the document since it was looked at. */
class Stale {
  readonly _tag = "Stale"
}

const isLost = (outcome: unknown): outcome is LostRace => outcome instanceof LostRace

/**
 * The partitions and unique keys of a resource, ready for use.
 *
 * @category models
 * @since 0.1.0
 */
export interface Indexes {
  readonly partitions: ReadonlyMap<string, Partition.Partition & { readonly isReady: boolean }>
  readonly uniques: ReadonlyMap<string, Unique.Unique & { readonly isReady: boolean }>
}

/**
 * Conditions on a document that are part of a write.
 *
 * @category models
 * @since 0.1.0
 */
export type Checks<A> = ReadonlyArray<Pipeline.Check<A>>

/**
 * How a change makes the new value, or why it cannot.
 *
 * @category models
 * @since 0.1.0
 */
export type Change<A, E, R> = (current: A) => Effect.Effect<Result.Result<unknown, merge.Problem>, E, R>

/**
 * What a deletion has found: `isKnown` is `false` where nobody looked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removal {
  readonly isKnown: boolean
  readonly stored: Document.Stored | undefined
}

/**
 * What a write has done: what was there, and what is there now, which is nothing after a deletion.
 *
 * @category models
 * @since 0.1.0
 */
export interface Commit<A> extends Removal {
  readonly id: string
  readonly after: Base<A> | undefined
}

/**
 * Runs as soon as the store has a write, or a transaction has taken it up: before what it has left behind is removed, and
 * without being interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export type OnCommit<A> = (commit: Commit<A>) => Effect.Effect<void>

const quiet = () => Effect.void

/**
 * @category models
 * @since 0.1.0
 */
export interface ChangeOptions {
  readonly ifRevision?: Document.Revision | undefined
  readonly retries?: number | undefined
}

const defaultRetries = 20

const unseen: Removal = { isKnown: false, stored: undefined }

/**
 * How old a marker has to be, by the store's clock, before `repair` takes it for a leftover: 15 minutes. Until then the
 * write that made it may still be under way.
 *
 * @category constants
 * @since 0.1.0
 */
export const markerGraceMillis = 900_000

/**
 * The pause before a change that lost its nth race is made again: up to 10 ms, growing to 1 s, at random.
 *
 * @category protocol
 * @since 0.1.0
 */
export const pause = Effect.fnUntraced(function* (lostRaces: number) {
  const most = Math.min(1000, 10 * 1.5 ** lostRaces)
  yield* Effect.sleep(most * (yield* Random.next))
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly name: string
  readonly primaryKey: string
  /** Milliseconds that a reservation protects a write under way. */
  readonly leaseMillis: number
  /** Whether earlier versions are kept. */
  readonly history: boolean
  /** Whether documents may have binary content. */
  readonly content: boolean
  /** Whether documents are counted as they come and go. */
  readonly counters: boolean
  /** What fills in fields before a version is written. */
  readonly completion: Completion | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export type DocumentStore<A> = Effect.Success<ReturnType<typeof make<A>>>

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A>(
  settings: Settings,
  database: Database["Service"],
  codec: DocumentCodec<A>
) {
  const { name, primaryKey } = settings
  const { store, capabilities } = database
  // Values and envelopes that this repository has given out, with the version they stand for.
  const known = new WeakMap<object, Base<A>>()

  const failure = (operation: string, reason: DbError.Reason) => DbError.make(operation, reason, name)
  const fromStore = (operation: string) => DbError.fromStore(operation, name)
  const invalid = (path: ReadonlyArray<string | number>, message: string) => DbError.invalidField(name, path, message)
  const construct = (input: unknown) => DbError.named("Resource.hashPassword", name)(codec.construct(input))
  const missing = (id: string) => new DbError.NotFound({ resource: name, id })

  const keyOf = (id: string) =>
    Effect.fromResult(Document.key(name, id)).pipe(Effect.mapError((message) => invalid([primaryKey], message)))

  // --- indexes ---------------------------------------------------------------

  const compiled = new WeakMap<object, Indexes>()

  const compile = (entries: Pick<Catalog.Resource, "partitions" | "uniques">): Indexes => {
    const known = compiled.get(entries)
    if (known !== undefined) return known
    const indexes: Indexes = {
      partitions: new Map(
        Object.entries(entries.partitions ?? {}).map(([label, { definition, state }]) => [
          label,
          { ...Partition.compile(name, label, definition), isReady: state === "ready" }
        ])
      ),
      uniques: new Map(
        Object.entries(entries.uniques ?? {}).map(([label, { definition, state }]) => [
          label,
          { ...Unique.compile(name, label, definition), isReady: state === "ready" }
        ])
      )
    }
    compiled.set(entries, indexes)
    return indexes
  }

  const indexes = Effect.map(database.indexes(name), compile)

  /** Whether the version before has to be known to replace or delete a document. */
  const ownsMore = Effect.map(
    indexes,
    ({ partitions, uniques }) =>
      partitions.size > 0 ||
      uniques.size > 0 ||
      settings.history ||
      settings.content ||
      settings.counters ||
      settings.completion?.needsBefore === true
  )

  /** Keeps a version that is about to be replaced or deleted. */
  const remember = (operation: string, id: string, old: Document.Stored | undefined) =>
    old === undefined || !settings.history
      ? Effect.void
      : Effect.mapError(
          store.put({ key: History.key(name, id, old), ...Document.toObject(old), repeatable: true }),
          fromStore(operation)
        )

  /** Keeps the last version of a document that is about to be deleted, and when that was. */
  const rememberEnd = Effect.fnUntraced(function* (operation: string, id: string, old: Document.Stored) {
    if (!settings.history) return
    yield* remember(operation, id, old)
    const key = History.deletionKey(name, id, old, yield* Document.now)
    yield* Effect.mapError(store.put({ key, repeatable: true }), fromStore(operation))
  })

  const place: Slot.Place = { store, capabilities, resource: name }
  const markersBut = (id: string, markers: Document.Write["markers"], kept?: Document.Write["markers"]) =>
    Slot.markersBut(name, id, markers, kept)

  // --- reading ---------------------------------------------------------------

  const know = (base: Base<A>): Base<A> => {
    known.set(base.value as object, base)
    return base
  }

  /** The envelope of a version; `shown` is what is handed out of its value. */
  const documentFor = (base: Base<A>, shown: A = base.value): Document.Document<A> => {
    const document = Document.envelope(base.id, shown, base.stored, codec.pathOf)
    known.set(document, base)
    return document
  }

  const slotAt = (operation: string, key: string, id: string) =>
    Effect.mapError(Slot.load(place, key, id), fromStore(operation))

  const settledAt = (operation: string, key: string, id: string) =>
    Effect.mapError(Slot.settled(place, key, id), fromStore(operation))

  /** The stored version that counts, its fields still encoded. */
  const loadVersion = Effect.fnUntraced(function* (operation: string, id: string) {
    const key = Document.key(name, id)
    // An id that cannot be a key has no document.
    if (Result.isFailure(key)) return undefined
    const slot = yield* slotAt(operation, key.success, id)
    if (slot?.intent === undefined)
      return slot?.stored === undefined ? undefined : { stored: slot.stored, isSettled: true }
    const { stored } = yield* Effect.mapError(Slot.current(place, key.success, id, slot), fromStore(operation))
    return stored === undefined ? undefined : { stored, isSettled: false }
  })

  const loadStored = (operation: string, id: string) =>
    Effect.map(loadVersion(operation, id), (version) => version?.stored)

  const decode = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    stored: Document.Stored,
    isSettled = true
  ): Effect.fn.Return<Base<A>, DbError.DbError> {
    const key = yield* Effect.orDie(keyOf(id))
    return know({ id, key, stored, isSettled, ...(yield* DbError.named(operation, name)(codec.decode(id, stored))) })
  })

  const loadIfPresent = Effect.fnUntraced(function* (operation: string, id: string) {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) return Option.fromUndefinedOr((yield* viewOf(transaction, operation, id)).base)
    const version = yield* loadVersion(operation, id)
    return version === undefined
      ? Option.none<Base<A>>()
      : Option.some(yield* decode(operation, id, version.stored, version.isSettled))
  })

  const load = Effect.fnUntraced(function* (operation: string, id: string) {
    const found = yield* loadIfPresent(operation, id)
    return Option.isNone(found) ? yield* missing(id) : found.value
  })

  /** Reads a version in order to change it: no transaction has announced anything in its object. */
  const loadSettled = Effect.fnUntraced(function* (operation: string, id: string) {
    const key = Document.key(name, id)
    if (Result.isFailure(key)) return yield* missing(id)
    const slot = yield* settledAt(operation, key.success, id)
    return slot?.stored === undefined ? yield* missing(id) : yield* decode(operation, id, slot.stored)
  })

  /** The document that has the value of a unique key. */
  const findUnique = Effect.fnUntraced(function* (operation: string, label: string, digest: string) {
    const key = Unique.keyOf(name, label, digest)
    const found = yield* Effect.mapError(Unique.find(store, key), fromStore(operation))
    if (found?.owner === undefined) return Option.none<Base<A>>()
    const version = yield* loadVersion(operation, found.owner)
    if (version?.stored.claims[label]?.digest !== digest) return Option.none<Base<A>>()
    return Option.some(yield* decode(operation, found.owner, version.stored, version.isSettled))
  })

  const conflict = Effect.fnUntraced(function* (operation: string, id: string, key: string) {
    const head = yield* store.head(key).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.fail(missing(id))),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    return yield* new DbError.Conflict({ resource: name, id, revision: head.etag })
  })

  // --- writing ---------------------------------------------------------------

  const valueAtOf = (json: Encoding.JsonObject, write: Document.Write): Partition.ValueAt => {
    const system: Readonly<Record<string, () => Encoding.Json>> = {
      $createdAt: () => new Date(write.createdAt).toISOString(),
      $updatedAt: () => new Date(write.writtenAt).toISOString(),
      $schemaVersion: () => write.schemaVersion
    }
    return (path) => {
      const computed = path.length === 1 && Object.hasOwn(system, path[0]!) ? system[path[0]!] : undefined
      if (computed !== undefined && !Object.hasOwn(json, path[0]!)) return computed()
      let at: Encoding.Json | undefined = json
      for (const part of path) {
        if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined
        at = (at as Encoding.JsonObject)[part]
      }
      return at
    }
  }

  /** Markers and digests that a document is to have; what it has already of them stays as it is. */
  const indexed = Effect.fnUntraced(function* (
    id: string,
    json: Encoding.JsonObject,
    write: Document.Write,
    old: Document.Write | undefined
  ) {
    const { partitions, uniques } = yield* indexes
    const valueAt = valueAtOf(json, write)
    const markers: Record<string, Document.OwnedMarker> = {}
    for (const partition of partitions.values()) {
      const owned = partition.own(id, valueAt, write.writeId)
      if (Result.isFailure(owned)) return yield* invalid(owned.failure.path, owned.failure.message)
      if (owned.success === undefined) continue
      const had = old?.markers[partition.name]
      const isSame = had?.values === owned.success.values && had.covered === owned.success.covered
      markers[partition.name] = isSame ? had : owned.success
    }
    const claims: Record<string, Document.Claim> = {}
    const wanted: Array<Prepared<A>["wanted"][number]> = []
    for (const unique of uniques.values()) {
      const digest = unique.digest(valueAt)
      if (digest === undefined) continue
      const had = old?.claims[unique.name]
      if (had?.digest === digest) claims[unique.name] = had
      else wanted.push({ unique, digest })
    }
    return { markers, claims, wanted }
  })

  /** Whether a document has exactly the markers and reservations that it is to have. */
  const isIndexed = Effect.fnUntraced(function* ({ id, json, stored }: Base<A>) {
    const { markers, wanted, claims } = yield* indexed(id, json, stored, stored)
    const has = (now: object, then: object) => Object.keys(now).length === Object.keys(then).length
    return (
      wanted.length === 0 &&
      markersBut(id, markers, stored.markers).length === 0 &&
      has(markers, stored.markers) &&
      has(claims, stored.claims)
    )
  })

  const complete = Effect.fnUntraced(function* (valid: A, before: A | undefined, times: Times) {
    if (settings.completion === undefined) return valid
    const filled = yield* settings.completion.apply(valid as object, before as object | undefined, times)
    return yield* construct(filled)
  })

  /** Encodes a value as a new version of its document. Nothing is sent. */
  const prepare = Effect.fnUntraced(function* (
    operation: string,
    input: unknown,
    before: Base<A> | undefined,
    /** What goes on of the version before: what the schema does not know is not part of a whole, nor anything of what is new. */
    mode: "change" | "whole" | "anew" = "change"
  ) {
    const continued = mode === "anew" ? undefined : before
    const writtenAt = yield* Document.now
    const createdAt = continued?.stored.createdAt ?? writtenAt
    const valid = yield* complete(yield* construct(input), continued?.value, { createdAt, writtenAt })
    const replaced =
      continued === undefined
        ? undefined
        : {
            carried: mode === "change" ? continued.carried : undefined,
            schemaVersion: continued.stored.schemaVersion
          }
    const { id, value, json, ...encoded } = yield* codec.encode(valid, replaced)
    const key = yield* keyOf(id)
    if (before !== undefined && before.id !== id)
      return yield* invalid([primaryKey], "Expected the id to stay as it is")
    const old = before?.stored
    const plain: Document.Write = {
      writeId: yield* Id.writeId,
      writtenAt,
      createdAt,
      version: (continued?.stored.version ?? 0) + 1,
      ancestors: old === undefined ? [] : [old.writeId, ...old.ancestors],
      ...encoded,
      markers: Document.none,
      claims: Document.none,
      ...(continued?.stored.content === undefined ? {} : { content: continued.stored.content })
    }
    const common = { id, key, value, json, carried: replaced?.carried, isUnderOldKey: false, isSettled: true }
    const { partitions, uniques } = yield* indexes
    if (partitions.size === 0 && uniques.size === 0) {
      const prepared: Prepared<A> = { ...common, write: plain, newMarkers: [], wanted: [] }
      return prepared
    }
    const { markers, claims, wanted } = yield* indexed(id, json, plain, old)
    const prepared: Prepared<A> = {
      ...common,
      write: { ...plain, markers, claims },
      newMarkers: markersBut(id, markers, old?.markers),
      wanted
    }
    return prepared
  })

  /**
   * What became of a write that was refused: its revision when it landed all the same, since something between here and
   * the store may have sent it twice; `LostRace` when another write took its place. When an answer of it was lost before
   * and neither can be told, an `OutcomeUnknown`.
   */
  const settle = Effect.fnUntraced(function* (
    operation: string,
    { id, key, write }: Prepared<A>,
    replaces: string | undefined,
    afterUnknown: boolean
  ) {
    const found = yield* Effect.catchReason(slotAt(operation, key, id), "DbError", "Corrupt", () =>
      Effect.succeed(undefined)
    )
    if (found !== undefined) {
      switch (Document.outcomeOf(found, { writeId: write.writeId, replaces })) {
        case "landed":
          return found.etag
        case "superseded":
          // Later writes have replaced that version: its revision matches nothing any more.
          return `superseded-${write.writeId}`
        case "refused":
          return new LostRace(found)
        case "unknown":
      }
    }
    if (!afterUnknown) return new LostRace(found)
    const description = `an answer was lost, and document ${JSON.stringify(id)} has been changed or removed since, so that the write may have been done`
    return yield* failure(operation, new DbError.OutcomeUnknown({ description }))
  })

  type Condition =
    | { readonly ifMatch: string; readonly replaces: string | undefined }
    | { readonly ifNoneMatch: "*" }
    | undefined

  const violation = (unique: Unique.Unique, id: string, isPending: boolean) =>
    new DbError.UniqueViolation({ resource: name, unique: unique.name, fields: unique.fields, id, isPending })

  /** Whether the document with this id has the value of a unique key. */
  const holds = (operation: string, unique: string, digest: string) => (id: string) =>
    Effect.map(loadStored(operation, id), (stored) => stored?.claims[unique]?.digest === digest)

  /** The same, after every transaction that is about to write the document has come to its end. */
  const holdsForGood = (operation: string, unique: string, digest: string) => (id: string) =>
    Effect.gen(function* () {
      const key = yield* Effect.orDie(keyOf(id))
      const slot = yield* settledAt(operation, key, id)
      return slot?.stored?.claims[unique]?.digest === digest
    })

  const requestFor = (operation: string, id: string, unique: Unique.Unique, digest: string, isNew: boolean) => ({
    unique,
    digest,
    owner: id,
    isNew,
    leaseMillis: settings.leaseMillis,
    isHeld: holds(operation, unique.name, digest),
    isHeldForGood: holdsForGood(operation, unique.name, digest)
  })

  /** Reserves the unique values of a new version, all or none. */
  const reserve = Effect.fnUntraced(function* (operation: string, prepared: Prepared<A>, isNew: boolean) {
    const { id } = prepared
    const got: Array<Reserved> = []
    for (const { unique, digest } of prepared.wanted) {
      const acquired = yield* Unique.acquire(store, requestFor(operation, id, unique, digest, isNew)).pipe(
        Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error))),
        Effect.onError(() => releaseAll(operation, id, got))
      )
      if (acquired._tag === "Acquired") {
        got.push({ unique, claim: acquired.claim, isShared: acquired.isShared })
        continue
      }
      yield* releaseAll(operation, id, got)
      if (acquired.owner === id) return yield* new DbError.AlreadyExists({ resource: name, id })
      return yield* violation(unique, acquired.owner, acquired._tag === "Pending")
    }
    return got
  })

  /** Reserves a value that a document has already; the violation, if another has it. */
  const reclaim = Effect.fnUntraced(function* (operation: string, id: string, unique: Unique.Unique, digest: string) {
    const acquired = yield* Unique.acquire(store, requestFor(operation, id, unique, digest, false)).pipe(
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    return acquired._tag === "Acquired" ? undefined : violation(unique, acquired.owner, acquired._tag === "Pending")
  })

  /** Frees reservations that this write has made and that the document does not hold. */
  const releaseAll = Effect.fnUntraced(function* (operation: string, id: string, all: ReadonlyArray<Reserved>) {
    const got = all.filter(({ isShared }) => !isShared)
    if (got.length === 0) return
    const stored = yield* Effect.option(loadStored(operation, id))
    // What cannot be read may hold them.
    if (Option.isNone(stored)) return
    for (const { unique, claim } of got) {
      if (stored.value?.claims[unique.name]?.digest === claim.digest) continue
      yield* Slot.dropClaim(place, unique.name, claim)
    }
  })

  const removeMarkers = (keys: ReadonlyArray<string>) => Slot.dropMarkers(place, keys)
  const tidy = (id: string, gone: Document.Write, kept: Document.Write | undefined) => Slot.tidy(place, id, gone, kept)

  /** Whether reservations still are what they were when they were made. */
  const stillOurs = Effect.fnUntraced(function* (operation: string, id: string, got: ReadonlyArray<Reserved>) {
    for (const { unique, claim } of got) {
      const found = yield* Effect.mapError(Unique.find(store, unique.key(claim.digest)), fromStore(operation))
      if (found?.owner !== id) return { unique, owner: found?.owner ?? "" }
    }
    return undefined
  })

  /** Puts a version on a condition. */
  const put = Effect.fnUntraced(function* (
    operation: string,
    prepared: Prepared<A>,
    object: ReturnType<typeof Document.toObject>,
    condition: Condition
  ) {
    const { replaces, ...conditions } = { replaces: undefined, ...condition }
    return yield* store.put({ key: prepared.key, ...object, ...conditions }).pipe(
      Effect.map((result): string | LostRace => result.etag),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: (reason) => settle(operation, prepared, replaces, reason.afterUnknown === true),
        NoSuchKey: () => Effect.fail(missing(prepared.id))
      }),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
  })

  const withoutPlan = ({ write: _, newMarkers: __, wanted: ___, ...rest }: Prepared<A>) => rest

  const written = (
    prepared: Prepared<A>,
    write: Document.Write,
    object: ReturnType<typeof Document.toObject>,
    etag: string
  ): Base<A> => know({ ...withoutPlan(prepared), stored: Document.stored(write, object, etag) })

  /** Puts what can be lost to another writer; what follows on success is not interrupted. */
  const thenForSure = <X, E, E2>(
    put: Effect.Effect<string | LostRace, E>,
    follow: (etag: string) => Effect.Effect<X, E2>,
    undo: Effect.Effect<void, E2> = Effect.void
  ): Effect.Effect<X | LostRace, E | E2> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(put), (etag): Effect.Effect<X | LostRace, E2> =>
        isLost(etag) ? Effect.as(undo, etag) : follow(etag)
      )
    )

  /**
   * Sends a version: reservations, markers, the document. That it is there is told; then what the version before owned is
   * removed.
   */
  const send = Effect.fnUntraced(function* (
    operation: string,
    prepared: Prepared<A>,
    condition: Condition,
    before: Base<A> | undefined,
    onCommit: OnCommit<A>
  ) {
    const { id, write, newMarkers, wanted } = prepared
    const old = before?.stored
    yield* remember(operation, id, old)
    const told = (after: Base<A>) => Effect.as(onCommit({ id, isKnown: true, stored: old, after }), after)
    if (newMarkers.length === 0 && wanted.length === 0) {
      const object = Document.toObject(write)
      const sent = yield* thenForSure(put(operation, prepared, object, condition), (etag) =>
        told(written(prepared, write, object, etag))
      )
      if (isLost(sent)) return sent
      if (
        old !== undefined &&
        (old.markers !== Document.none || old.claims !== Document.none || old.content !== undefined)
      ) {
        yield* tidy(id, old, write)
      }
      return sent
    }
    const elapsed = yield* Unique.stopwatch
    const putMarkers = Effect.forEach(newMarkers, (key) => store.put({ key, repeatable: true }), {
      concurrency: 8,
      discard: true
    })
    const reserved = yield* reserve(operation, prepared, before === undefined)
    /** The write was certainly not done, and never will be. */
    const undo = Effect.andThen(removeMarkers(newMarkers), releaseAll(operation, id, reserved))
    const claims = { ...write.claims }
    for (const { unique, claim } of reserved) claims[unique.name] = claim
    const complete = { ...write, claims }
    const object = Document.toObject(complete)
    const commit = putMarkers.pipe(
      Effect.catchTag("StoreError", (error) => Effect.andThen(undo, Effect.fail(fromStore(operation)(error)))),
      Effect.andThen(
        put(operation, prepared, object, condition).pipe(
          Effect.tapError((error) => (error._tag === "NotFound" || error.outcome === "none" ? undo : Effect.void))
        )
      )
    )
    const stand = Effect.fnUntraced(function* (etag: string) {
      // A repair may have taken them for leftovers by now.
      if ((yield* elapsed) > markerGraceMillis / 2) yield* Effect.mapError(putMarkers, fromStore(operation))
      if (reserved.length > 0 && (yield* elapsed) > settings.leaseMillis / 2) {
        const lost = yield* stillOurs(operation, id, reserved)
        if (lost !== undefined) {
          yield* takeBack(operation, prepared, complete, etag, old)
          return yield* violation(lost.unique, lost.owner, false)
        }
      }
      return yield* told(written(prepared, complete, object, etag))
    })
    const sent = yield* thenForSure(commit, stand, undo)
    if (!isLost(sent) && old !== undefined) yield* tidy(id, old, complete)
    return sent
  })

  /** Undoes a version that was written after its reservation had been taken over: the version before comes back. */
  const takeBack = Effect.fnUntraced(function* (
    operation: string,
    { id, key }: Prepared<A>,
    write: Document.Write,
    etag: string,
    old: Document.Stored | undefined
  ) {
    if (old === undefined) {
      const tombstone = {
        writeId: yield* Id.writeId,
        writtenAt: yield* Document.now,
        ancestors: [write.writeId, ...write.ancestors]
      }
      const removing: Effect.Effect<unknown, StoreError.StoreError> = capabilities.conditionalDelete
        ? store.delete(key, { ifMatch: etag })
        : store.put({ key, ...Document.toTombstone(tombstone), ifMatch: etag })
      const isGone = yield* removing.pipe(
        Effect.as(true),
        Effect.catchReasons("StoreError", {
          PreconditionFailed: () => Effect.succeed(false),
          NoSuchKey: () => Effect.succeed(false)
        }),
        Effect.mapError((error) => fromStore(operation)(error))
      )
      // Who has changed it since goes on with its markers.
      if (isGone) yield* removeMarkers(markersBut(id, write.markers))
      return
    }
    const restored: Document.Write = {
      ...old,
      writeId: yield* Id.writeId,
      writtenAt: yield* Document.now,
      version: write.version + 1,
      ancestors: [write.writeId, ...write.ancestors]
    }
    const isBack = yield* store.put({ key, ...Document.toObject(restored), ifMatch: etag }).pipe(
      Effect.as(true),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(false),
        NoSuchKey: () => Effect.succeed(false)
      }),
      Effect.mapError((error) => fromStore(operation)(error))
    )
    if (isBack) yield* removeMarkers(markersBut(id, write.markers, old.markers))
  })

  const passes = (checks: Checks<A>, value: A) =>
    checks.length === 0 ? Effect.void : Effect.forEach(checks, (check) => check(value), { discard: true })

  /** Creates a document, or finds the one that is there. */
  const createOrFind = Effect.fnUntraced(function* (
    operation: string,
    input: unknown,
    checks: Checks<A>,
    onCommit: OnCommit<A>
  ): Effect.fn.Return<
    { readonly created: Base<A> } | { readonly id: string; readonly stored: Document.Stored | undefined },
    WriteError | Pipeline.Rejected
  > {
    for (let condition: Condition = { ifNoneMatch: "*" }; ;) {
      const prepared: Prepared<A> = yield* prepare(operation, input, undefined)
      const { id, key } = prepared
      yield* passes(checks, prepared.value)
      const sent = yield* send(operation, prepared, condition, undefined, onCommit).pipe(
        Effect.catchTags({
          // A reservation tells that it is there.
          AlreadyExists: () => Effect.succeed(undefined),
          // What was there instead of a document is gone.
          NotFound: () => Effect.succeed(new LostRace(undefined))
        })
      )
      if (sent === undefined) return { id, stored: undefined }
      if (!isLost(sent)) return { created: sent }
      const seen = sent.slot
      if (seen !== undefined && seen.intent === undefined && seen.stored !== undefined)
        return { id, stored: seen.stored }
      // What a transaction has announced, or has left, is no document yet, or no more.
      const slot = yield* settledAt(operation, key, id)
      if (slot?.stored !== undefined) return { id, stored: slot.stored }
      condition = slot === undefined ? { ifNoneMatch: "*" } : { ifMatch: slot.etag, replaces: slot.writeId }
    }
  })

  const create = Effect.fnUntraced(function* (
    operation: string,
    input: unknown,
    checks: Checks<A> = [],
    onCommit: OnCommit<A> = quiet
  ) {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) return yield* createWithin(transaction, operation, input, checks, onCommit)
    const outcome = yield* createOrFind(operation, input, checks, onCommit)
    return "created" in outcome ? outcome.created : yield* new DbError.AlreadyExists({ resource: name, id: outcome.id })
  })

  const withoutExisting = <X, E, R>(effect: Effect.Effect<X, E | DbError.AlreadyExists, R>) => effect

  /** Makes a change on exactly the version in hand. */
  const changeFrom = Effect.fnUntraced(function* <E, R>(
    operation: string,
    base: Base<A>,
    apply: Change<A, E, R>,
    onCommit: OnCommit<A> = quiet
  ) {
    const changed = yield* apply(base.value)
    if (Result.isFailure(changed)) return yield* invalid(changed.failure.path, changed.failure.message)
    const prepared = yield* prepare(operation, changed.success, base)
    const condition = { ifMatch: base.stored.revision, replaces: base.stored.writeId }
    return yield* withoutExisting(send(operation, prepared, condition, base, onCommit)).pipe(
      // Only a new document can exist already.
      Effect.catchTag("AlreadyExists", Effect.die)
    )
  })

  /** The version to be changed, if it is the one that is meant. */
  const loadRevision = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    revision: Document.Revision | undefined
  ) {
    const base = yield* loadSettled(operation, id)
    if (revision === undefined || base.stored.revision === revision) return base
    return yield* new DbError.Conflict({ resource: name, id, revision: base.stored.revision })
  })

  /** The version in hand, as it lies in its object by itself. */
  const settleHeld = Effect.fnUntraced(function* (operation: string, held: Base<A>) {
    if (held.isSettled) return held
    const now = yield* loadSettled(operation, held.id)
    // A transaction that was aborted leaves the version, under another write id.
    const isSame = now.stored.writeId === held.stored.writeId || now.stored.ancestors[1] === held.stored.writeId
    if (isSame && now.stored.version === held.stored.version) return now
    return yield* new DbError.Conflict({ resource: name, id: held.id, revision: now.stored.revision })
  })

  /** Changes a version, and, when another was first, the one that took its place. */
  const changeOnwards = Effect.fnUntraced(function* <E, R>(
    operation: string,
    first: Base<A>,
    apply: Change<A, E, R>,
    retries: number,
    onCommit: OnCommit<A>
  ) {
    const { id } = first
    for (let lostRaces = 0, before = first; ; lostRaces++) {
      const after = yield* changeFrom(operation, before, apply, onCommit)
      if (!isLost(after)) return { before, after }
      const { slot } = after
      if (lostRaces >= retries) {
        return yield* slot === undefined
          ? missing(id)
          : new DbError.Conflict({ resource: name, id, revision: slot.etag })
      }
      yield* pause(lostRaces)
      before = yield* loadSettled(operation, id)
    }
  })

  /** Read, change, compare and set: once with a version in hand, else until nobody comes in between. */
  const change = Effect.fnUntraced(function* <E, R>(
    operation: string,
    target: string | Document.Document<A>,
    apply: Change<A, E, R>,
    options: ChangeOptions | undefined,
    onCommit: OnCommit<A> = quiet
  ) {
    const { id, revision } = typeof target === "string" ? { id: target, revision: options?.ifRevision } : target
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) return yield* changeWithin(transaction, operation, id, revision, apply, onCommit)
    // An envelope that was not made here is read again and compared.
    const held = typeof target === "string" ? undefined : known.get(target)
    const retries = revision === undefined ? (options?.retries ?? defaultRetries) : 0
    const first = yield* held === undefined ? loadRevision(operation, id, revision) : settleHeld(operation, held)
    return yield* changeOnwards(operation, first, apply, retries, onCommit)
  })

  /** Puts a whole document in the place of whatever is there, or of the version named. */
  const replace = Effect.fnUntraced(function* (
    operation: string,
    input: unknown,
    ifRevision: Document.Revision | undefined,
    checks: Checks<A> = [],
    onCommit: OnCommit<A> = quiet
  ): Effect.fn.Return<Base<A>, WriteError | Pipeline.Rejected | DbError.NotFound | DbError.Conflict> {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) {
      return yield* replaceWithin(transaction, operation, input, ifRevision, checks, onCommit)
    }
    if (checks.length === 0 && !(yield* ownsMore)) {
      const prepared = yield* prepare(operation, input, undefined)
      const object = Document.toObject(prepared.write)
      const blindly = Effect.map(
        Effect.mapError(store.put({ key: prepared.key, ...object }), fromStore(operation)),
        ({ etag }): string | LostRace => etag
      )
      const sent = yield* thenForSure(
        ifRevision === undefined
          ? blindly
          : put(operation, prepared, object, { ifMatch: ifRevision, replaces: undefined }),
        (etag) => {
          const after = written(prepared, prepared.write, object, etag)
          return Effect.as(onCommit({ id: prepared.id, ...unseen, after }), after)
        }
      )
      return isLost(sent) ? yield* conflict(operation, prepared.id, prepared.key) : sent
    }
    // What the version before owned has to be known.
    const valid = yield* construct(input)
    const id = yield* idOf(valid)
    const key = yield* keyOf(id)
    for (let lostRaces = 0; ; lostRaces++) {
      const slot = yield* settledAt(operation, key, id)
      const stored = slot?.stored
      if (ifRevision !== undefined && stored === undefined) return yield* missing(id)
      if (ifRevision !== undefined && stored?.revision !== ifRevision) {
        return yield* new DbError.Conflict({ resource: name, id, revision: stored?.revision ?? "" })
      }
      // Only what the protocol needs of the version before: unless its fields are asked for, it need not be readable.
      const isAskedFor = checks.length > 0 || settings.completion?.needsBefore === true
      const value = stored !== undefined && isAskedFor ? (yield* decode(operation, id, stored)).value : valid
      const before: Base<A> | undefined =
        stored === undefined
          ? undefined
          : { id, key, value, json: {}, stored, carried: undefined, isUnderOldKey: false, isSettled: true }
      const prepared = yield* prepare(operation, valid, before)
      yield* passes(checks, stored === undefined ? prepared.value : value)
      const condition: Condition =
        slot === undefined ? { ifNoneMatch: "*" } : { ifMatch: slot.etag, replaces: slot.writeId }
      const sent = yield* send(operation, prepared, condition, before, onCommit).pipe(
        Effect.catchTags({
          AlreadyExists: () => Effect.succeed(new LostRace(undefined)),
          NotFound: () => Effect.succeed(new LostRace(undefined))
        })
      )
      if (!isLost(sent)) return sent
      if (lostRaces >= defaultRetries) return yield* conflict(operation, id, key)
      yield* pause(lostRaces)
    }
  })

  /** Inserts a document, or changes the one that is there. */
  const upsert = Effect.fnUntraced(function* <E>(
    operation: string,
    input: unknown,
    apply: Change<A, E, never>,
    retries: number = defaultRetries,
    checks: Checks<A> = [],
    onCommit: OnCommit<A> = quiet
  ): Effect.fn.Return<Base<A>, WriteError | Pipeline.Rejected | DbError.Conflict | E> {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) {
      const valid = yield* construct(input)
      const id = yield* idOf(valid)
      const outcome = yield* untilKept(
        Effect.gen(function* () {
          const view = yield* viewOf(transaction, operation, id)
          const { base } = view
          if (base === undefined) {
            const created = createWithin(transaction, operation, valid, checks, onCommit)
            // Another fiber of the transaction has made it meanwhile.
            return yield* Effect.catchTag(created, "AlreadyExists", () => Effect.succeed(new Stale()))
          }
          const changed = yield* apply(base.value)
          if (Result.isFailure(changed)) return yield* invalid(changed.failure.path, changed.failure.message)
          const prepared = yield* prepare(operation, changed.success, view.original)
          const after = yield* keepOne(transaction, operation, id, view, prepared)
          return after instanceof Stale ? after : { base, after }
        })
      )
      if (!("after" in outcome)) return outcome
      yield* onCommit({ id, isKnown: true, stored: outcome.base.stored, after: outcome.after })
      return outcome.after
    }
    for (let vanished = 0; ; vanished++) {
      const outcome = yield* createOrFind(operation, input, checks, onCommit)
      if ("created" in outcome) return outcome.created
      const { id, stored } = outcome
      const changed = yield* Effect.gen(function* () {
        const first = stored === undefined ? yield* loadSettled(operation, id) : yield* decode(operation, id, stored)
        return (yield* changeOnwards(operation, first, apply, retries, onCommit)).after
      }).pipe(
        // It was deleted in between: then it is inserted after all.
        Effect.catchIf(
          (error): error is DbError.NotFound => error instanceof DbError.NotFound,
          () => Effect.succeed(undefined)
        )
      )
      if (changed !== undefined) return changed
      if (vanished >= retries) return yield* new DbError.Conflict({ resource: name, id, revision: "" })
    }
  })

  // --- deleting --------------------------------------------------------------

  const removed = (stored: Document.Stored | undefined): Removal => ({ isKnown: true, stored })

  const deleteRevision = (operation: string, id: string, key: string, revision: string) =>
    store.delete(key, { ifMatch: revision }).pipe(
      Effect.as(true),
      Effect.catchReasons("StoreError", {
        PreconditionFailed: () => Effect.succeed(false),
        NoSuchKey: () => Effect.fail(missing(id))
      }),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )

  /** Whether a version goes back to another one, with no deletion in between. */
  const isLaterThan = (before: Document.Stored, now: Document.Stored): boolean =>
    now.ancestors.includes(before.writeId) ||
    now.writeId === before.writeId ||
    (now.createdAt === before.createdAt && now.version > before.version)

  /** Deletes, and tells of it if it was done. */
  const gone = <E>(
    deleting: Effect.Effect<boolean | void, E>,
    removal: Omit<Commit<A>, "after">,
    onCommit: OnCommit<A>
  ) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.tap(restore(deleting), (isDone) =>
        isDone === false ? Effect.void : onCommit({ ...removal, after: undefined })
      )
    )

  /** Deletes whatever version there is, and what it owns. */
  const remove = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    checks: Checks<A> = [],
    mustExist = false,
    onCommit: OnCommit<A> = quiet
  ): Effect.fn.Return<
    Removal,
    DbError.NotFound | DbError.InvalidInput | DbError.Conflict | DbError.DbError | Pipeline.Rejected
  > {
    const key = yield* keyOf(id)
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) {
      const removal = yield* removeWithin(transaction, operation, id, checks, onCommit)
      return mustExist && removal.stored === undefined ? yield* missing(id) : removal
    }
    if (checks.length === 0 && !mustExist && !(yield* ownsMore)) {
      yield* gone(Effect.mapError(store.delete(key), fromStore(operation)), { id, ...unseen }, onCommit)
      return unseen
    }
    for (let lostRaces = 0; ; lostRaces++) {
      const stored = (yield* settledAt(operation, key, id))?.stored
      if (stored === undefined) return mustExist ? yield* missing(id) : removed(undefined)
      if (checks.length > 0) yield* passes(checks, (yield* decode(operation, id, stored)).value)
      yield* rememberEnd(operation, id, stored)
      if (!capabilities.conditionalDelete) {
        const deleting = Effect.mapError(store.delete(key), fromStore(operation))
        yield* gone(deleting, { id, ...removed(stored) }, onCommit)
        yield* tidy(id, stored, undefined)
        return removed(stored)
      }
      const deleting = deleteRevision(operation, id, key, stored.revision)
      const deletion = yield* gone(deleting, { id, ...removed(stored) }, onCommit).pipe(
        Effect.map((isDone) => (isDone ? "done" : "lost")),
        Effect.catchTag("NotFound", () => Effect.succeed("gone" as const))
      )
      const now = deletion === "lost" ? (yield* settledAt(operation, key, id))?.stored : undefined
      // Between reading and deleting it was gone, by somebody's deletion: what is there now is another document.
      if (now === undefined || !isLaterThan(stored, now)) {
        yield* tidy(id, stored, now)
        if (deletion === "done") return removed(stored)
        return mustExist ? yield* missing(id) : removed(undefined)
      }
      if (lostRaces >= defaultRetries) {
        return yield* new DbError.Conflict({ resource: name, id, revision: now.revision })
      }
      yield* pause(lostRaces)
    }
  })

  /** Deletes the version in hand. */
  const removeDocument = Effect.fnUntraced(function* (
    operation: string,
    document: Document.Document<A>,
    checks: Checks<A> = [],
    onCommit: OnCommit<A> = quiet
  ): Effect.fn.Return<
    Removal,
    DbError.NotFound | DbError.InvalidInput | DbError.Conflict | DbError.DbError | Pipeline.Rejected
  > {
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) {
      yield* revisionIn(yield* viewOf(transaction, operation, document.id), document.id, document.revision)
      return yield* removeWithin(transaction, operation, document.id, checks, onCommit)
    }
    if (!capabilities.conditionalDelete) {
      const description = "this store ignores conditions on DELETE: delete by id, or choose another store"
      return yield* failure(operation, new StoreError.Unsupported({ feature: "conditional delete", description }))
    }
    const { id } = document
    const key = yield* keyOf(id)
    const owns = checks.length > 0 || (yield* ownsMore)
    const held = known.get(document)
    const base = held === undefined ? undefined : yield* settleHeld(operation, held)
    const stored = base?.stored ?? (owns ? yield* loadStored(operation, id) : undefined)
    const revision = base?.stored.revision ?? document.revision
    if (checks.length > 0 && stored !== undefined) {
      yield* passes(checks, base?.value ?? (yield* decode(operation, id, stored)).value)
    }
    if (stored !== undefined && stored.revision === revision) yield* rememberEnd(operation, id, stored)
    const removal = stored === undefined ? unseen : removed(stored)
    const isGone = yield* gone(deleteRevision(operation, id, key, revision), { id, ...removal }, onCommit)
    if (!isGone) return yield* conflict(operation, id, key)
    if (stored !== undefined) yield* tidy(id, stored, undefined)
    return removal
  })

  /** Deletes many, whatever versions there are, and what they own. */
  const removeMany = Effect.fnUntraced(function* (
    operation: string,
    ids: ReadonlyArray<string>,
    concurrency: number,
    checks: Checks<A> = [],
    onCommit: (commits: ReadonlyArray<Commit<A>>) => Effect.Effect<void> = quiet,
    onProgress: OnProgress = quiet
  ): Effect.fn.Return<
    {
      readonly deleted: ReadonlyArray<string>
      readonly failed: ReadonlyArray<{ readonly id: string; readonly error: DbError.DbError | Pipeline.Rejected }>
    },
    DbError.InvalidInput | DbError.DbError
  > {
    const keys = new Map<string, string>()
    for (const id of ids) keys.set(yield* keyOf(id), id)
    if (checks.length > 0 || (settings.history && (yield* Transaction.Current) === undefined)) {
      // Each as it is when its turn comes, on the condition that it still is: the version that is kept is the one that goes.
      const wanted = [...keys.values()]
      const one = (id: string) =>
        Effect.catchTag(
          remove(operation, id, checks, false, (commit) => onCommit([commit])),
          "NotFound",
          Effect.die
        )
      let done = 0
      const results = yield* Effect.forEach(
        wanted,
        (id) => Effect.tap(Effect.result(one(id)), () => onProgress({ done: (done += 1), total: wanted.length })),
        { concurrency }
      )
      const failed: Array<{ readonly id: string; readonly error: DbError.DbError | Pipeline.Rejected }> = []
      const deleted: Array<string> = []
      for (const [i, result] of results.entries()) {
        const id = wanted[i]!
        if (Result.isSuccess(result)) deleted.push(id)
        else if (result.failure._tag === "InvalidInput") return yield* result.failure
        else if (result.failure._tag === "Conflict") {
          const description = "the document kept changing"
          failed.push({ id, error: failure(operation, new StoreError.Unavailable({ description, sent: false })) })
        } else failed.push({ id, error: result.failure })
      }
      return { deleted, failed }
    }
    const transaction = yield* Transaction.Current
    if (transaction !== undefined) {
      for (const id of keys.values()) {
        const removing = removeWithin(transaction, operation, id, [], (commit) => onCommit([commit]))
        yield* Effect.catchTag(removing, "Rejected", Effect.die)
      }
      return { deleted: [...keys.values()], failed: [] }
    }
    const owns = yield* ownsMore
    const removeBatch = Effect.fnUntraced(function* (batch: ReadonlyArray<readonly [key: string, id: string]>) {
      const owners = new Map(
        owns
          ? yield* Effect.forEach(
              batch,
              ([key, id]) => Effect.map(loadStored(operation, id), (stored) => [key, stored] as const),
              { concurrency }
            )
          : []
      )
      const found = batch.flatMap(([key, id]) => {
        const stored = owners.get(key)
        return stored === undefined ? [] : [{ key, id, stored }]
      })
      yield* Effect.forEach(found, ({ id, stored }) => rememberEnd(operation, id, stored), {
        concurrency,
        discard: true
      })
      const deleting = store.deleteMany(batch.map(([key]) => key))
      const result = yield* Effect.uninterruptibleMask((restore) =>
        Effect.tap(Effect.mapError(restore(deleting), fromStore(operation)), ({ deleted }) =>
          onCommit(
            deleted.map((key) => ({ id: keys.get(key)!, isKnown: owns, stored: owners.get(key), after: undefined }))
          )
        )
      )
      const gone = new Set(result.deleted)
      const owned = found.filter(({ key }) => gone.has(key))
      yield* removeMarkers(owned.flatMap(({ id, stored }) => markersBut(id, stored.markers)))
      yield* Effect.forEach(
        owned.filter(({ stored }) => stored.claims !== Document.none || stored.content !== undefined),
        ({ id, stored }) => tidy(id, { ...stored, markers: Document.none }, undefined),
        { concurrency, discard: true }
      )
      return {
        deleted: result.deleted.map((key) => keys.get(key)!),
        failed: result.failed.map(({ key, reason }) => ({ id: keys.get(key)!, error: failure(operation, reason) }))
      }
    })
    const deleted: Array<string> = []
    const failed: Array<{ readonly id: string; readonly error: DbError.DbError }> = []
    const all = [...keys]
    for (let start = 0; start < all.length; start += maxKeysPerRequest) {
      const batch = all.slice(start, start + maxKeysPerRequest)
      const result = yield* Effect.result(removeBatch(batch))
      if (Result.isSuccess(result)) {
        deleted.push(...result.success.deleted)
        failed.push(...result.success.failed)
      } else if (start === 0) return yield* result.failure
      else failed.push(...batch.map(([, id]) => ({ id, error: result.failure })))
      yield* onProgress({ done: start + batch.length, total: all.length })
    }
    return { deleted, failed }
  })

  // --- within transactions ---------------------------------------------------

  /** What a document looks like from inside a transaction. */
  interface View {
    /** The version in the store, when the transaction began to look at it. */
    readonly original: Base<A> | undefined
    /** What a condition on the object has to say. */
    readonly condition: Exclude<Condition, undefined>
    /** As it is for the transaction. */
    readonly base: Base<A> | undefined
  }

  /** Does what has met a change by another fiber of the transaction once more, with the document as it is now. */
  const untilKept = <X, E, R>(attempt: Effect.Effect<X | Stale, E, R>): Effect.Effect<X, E, R> =>
    Effect.flatMap(attempt, (outcome) => (outcome instanceof Stale ? untilKept(attempt) : Effect.succeed(outcome)))

  const viewOf = Effect.fnUntraced(function* (transaction: Transaction.Transaction, operation: string, id: string) {
    const key = Document.key(name, id)
    const nothing: View = { original: undefined, condition: { ifNoneMatch: "*" }, base: undefined }
    if (Result.isFailure(key)) return nothing
    if (!transaction.isOpen || transaction.store !== store) {
      const description = transaction.isOpen
        ? "a transaction is on the documents of one database: this resource belongs to another"
        : "the transaction is over: what runs in it has to end before it does"
      return yield* failure(operation, new StoreError.Unsupported({ feature: "transaction", description }))
    }
    const seen = transaction.views.get(key.success) as View | undefined
    if (seen !== undefined) return seen
    const slot = yield* settledAt(operation, key.success, id)
    const original = slot?.stored === undefined ? undefined : yield* decode(operation, id, slot.stored)
    // Another fiber of the transaction may have looked at it meanwhile: all of them see the same.
    const meanwhile = transaction.views.get(key.success) as View | undefined
    if (meanwhile !== undefined) return meanwhile
    const view: View =
      slot === undefined
        ? nothing
        : { original, condition: { ifMatch: slot.etag, replaces: slot.writeId }, base: original }
    transaction.views.set(key.success, view)
    const isSame = store.head(key.success).pipe(
      Effect.map((head) => head.etag === slot?.etag),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(slot === undefined)),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    transaction.reads.set(key.success, () => isSame)
    return view
  })

  /**
   * Keeps a new version, or a deletion, back until the transaction is committed. `Stale` when another fiber of the
   * transaction has changed the document since it was looked at.
   */
  const keepBack = (
    transaction: Transaction.Transaction,
    operation: string,
    id: string,
    key: string,
    view: View,
    prepared: Prepared<A> | undefined
  ): Stale | undefined => {
    if (!transaction.isOpen || transaction.views.get(key) !== view) return new Stale()
    if (prepared === undefined && view.original === undefined) {
      // What is made and removed inside was never there.
      transaction.writes.delete(key)
      transaction.views.set(key, { ...view, base: undefined })
      return undefined
    }
    const base = prepared === undefined ? undefined : keptBase(prepared)
    transaction.views.set(key, { ...view, base })
    transaction.writes.set(key, participant(operation, id, key, view, prepared))
    return undefined
  }

  const keptBase = (prepared: Prepared<A>): Base<A> => {
    const { write } = prepared
    const stored = Document.stored(write, Document.toObject(write), `transaction-${write.writeId}`)
    return know({ ...withoutPlan(prepared), isSettled: false, stored })
  }

  /** Keeps a new version back, and gives it. */
  const keepOne = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    operation: string,
    id: string,
    view: View,
    prepared: Prepared<A>
  ) {
    const key = yield* keyOf(id)
    const kept = keepBack(transaction, operation, id, key, view, prepared)
    if (kept !== undefined) return kept
    return (transaction.views.get(key) as View).base!
  })

  const participant = (
    operation: string,
    id: string,
    key: string,
    view: View,
    prepared: Prepared<A> | undefined
  ): Transaction.Participant => {
    const old = view.original?.stored
    const { ifMatch, ifNoneMatch } = {
      ifMatch: undefined,
      ifNoneMatch: undefined,
      ...view.condition
    }
    let elapsed: Effect.Effect<number> | undefined
    let staged: Document.Slot | undefined
    let next: Document.Write | undefined
    // A deletion that was sent twice could not be told from somebody else's: it is announced like the others.
    const alone =
      prepared === undefined
        ? undefined
        : (committed: Effect.Effect<void>) =>
            send(operation, prepared, view.condition, view.original, () => committed).pipe(
              Effect.map((sent) => !isLost(sent)),
              Effect.catchTags({ AlreadyExists: () => Effect.succeed(false), NotFound: () => Effect.succeed(false) })
            )
    return {
      key,
      alone,
      stage: Effect.fnUntraced(function* (transaction) {
        const writeId = yield* Id.writeId
        const writtenAt = yield* Document.now
        const ancestors = old === undefined ? [] : [old.writeId, ...old.ancestors]
        if (prepared !== undefined) {
          next = prepared.write
          if (prepared.wanted.length > 0) {
            elapsed = yield* Unique.stopwatch
            const reserved = yield* reserve(operation, prepared, old === undefined).pipe(
              Effect.catchTag("AlreadyExists", () => Effect.succeed(undefined))
            )
            if (reserved === undefined) return false
            const claims = { ...next.claims }
            for (const { unique, claim, isShared } of reserved) {
              // Whoever takes the intent back must not free what another write relies on.
              claims[unique.name] = isShared ? { ...claim, etag: Unique.sharedEtag } : claim
            }
            next = { ...next, claims }
          }
          yield* Effect.forEach(prepared.newMarkers, (marker) => store.put({ key: marker, repeatable: true }), {
            concurrency: 8,
            discard: true
          }).pipe(Effect.mapError(fromStore(operation)))
        }
        if (old !== undefined)
          yield* prepared === undefined ? rememberEnd(operation, id, old) : remember(operation, id, old)
        const object = Document.toIntentObject(old, { writeId, writtenAt, ancestors }, transaction, next)
        const etag = yield* store.put({ key, ...object, ifMatch, ifNoneMatch }).pipe(
          Effect.map((result): string | undefined => result.etag),
          Effect.catchReasons("StoreError", {
            // It may have been sent twice.
            PreconditionFailed: () =>
              Effect.map(Slot.load(place, key, id), (slot) => (slot?.writeId === writeId ? slot.etag : undefined)),
            NoSuchKey: () => Effect.succeed(undefined)
          }),
          Effect.mapError((error) => fromStore(operation)(error))
        )
        if (etag === undefined) return false
        const parsed = Document.fromObject({ key, etag, ...object, size: object.body.length })
        if (Result.isSuccess(parsed)) staged = parsed.success
        return true
      }),
      finish: Effect.fnUntraced(function* (transaction, outcome) {
        const slot = staged ?? (yield* slotAt(operation, key, id))
        if (slot?.intent?.transaction === transaction) {
          yield* Effect.mapError(Slot.apply(place, key, id, slot, outcome), fromStore(operation))
        } else if (outcome === "aborted" && next !== undefined) {
          const stored = yield* loadStored(operation, id)
          yield* tidy(id, next, stored)
        }
      }),
      lease: Effect.suspend(() =>
        elapsed === undefined
          ? Effect.succeed(undefined)
          : Effect.map(elapsed, (millis) => ({ elapsed: millis, millis: settings.leaseMillis }))
      )
    }
  }

  const createWithin = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    operation: string,
    input: unknown,
    checks: Checks<A>,
    onCommit: OnCommit<A>
  ): Effect.fn.Return<Base<A>, WriteError | Pipeline.Rejected | DbError.AlreadyExists> {
    // The id is known once the input is valid; defaults are made once.
    const valid = yield* construct(input)
    const id = yield* idOf(valid)
    const after = yield* untilKept(
      Effect.gen(function* () {
        const view = yield* viewOf(transaction, operation, id)
        if (view.base !== undefined) return yield* new DbError.AlreadyExists({ resource: name, id })
        const prepared = yield* prepare(operation, valid, view.original, "anew")
        yield* passes(checks, prepared.value)
        return yield* keepOne(transaction, operation, id, view, prepared)
      })
    )
    yield* onCommit({ id, isKnown: true, stored: undefined, after })
    return after
  })

  const revisionIn = Effect.fnUntraced(function* (view: View, id: string, revision: Document.Revision | undefined) {
    if (view.base === undefined) return yield* missing(id)
    const { stored } = view.base
    if (revision !== undefined && stored.revision !== revision && view.original?.stored.revision !== revision) {
      return yield* new DbError.Conflict({ resource: name, id, revision: stored.revision })
    }
    return view.base
  })

  const changeWithin = Effect.fnUntraced(function* <E, R>(
    transaction: Transaction.Transaction,
    operation: string,
    id: string,
    revision: Document.Revision | undefined,
    apply: Change<A, E, R>,
    onCommit: OnCommit<A>
  ) {
    const outcome = yield* untilKept(
      Effect.gen(function* () {
        const view = yield* viewOf(transaction, operation, id)
        const before = yield* revisionIn(view, id, revision)
        const changed = yield* apply(before.value)
        if (Result.isFailure(changed)) return yield* invalid(changed.failure.path, changed.failure.message)
        const { original = before } = view
        const prepared = yield* prepare(operation, changed.success, view.original === undefined ? undefined : original)
        if (prepared.id !== id) return yield* invalid([primaryKey], "Expected the id to stay as it is")
        const after = yield* keepOne(transaction, operation, id, view, prepared)
        return after instanceof Stale ? after : { before, after }
      })
    )
    yield* onCommit({ id, isKnown: true, stored: outcome.before.stored, after: outcome.after })
    return outcome
  })

  const replaceWithin = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    operation: string,
    input: unknown,
    revision: Document.Revision | undefined,
    checks: Checks<A>,
    onCommit: OnCommit<A>
  ) {
    const valid = yield* construct(input)
    const id = yield* idOf(valid)
    const { view, after } = yield* untilKept(
      Effect.gen(function* () {
        const view = yield* viewOf(transaction, operation, id)
        if (revision !== undefined) yield* revisionIn(view, id, revision)
        const prepared = yield* prepare(operation, valid, view.original, view.base === undefined ? "anew" : "whole")
        yield* passes(checks, view.base?.value ?? prepared.value)
        const after = yield* keepOne(transaction, operation, id, view, prepared)
        return after instanceof Stale ? after : { view, after }
      })
    )
    yield* onCommit({ id, isKnown: true, stored: view.base?.stored, after })
    return after
  })

  const removeWithin = Effect.fnUntraced(function* (
    transaction: Transaction.Transaction,
    operation: string,
    id: string,
    checks: Checks<A>,
    onCommit: OnCommit<A>
  ) {
    const base = yield* untilKept(
      Effect.gen(function* () {
        const view = yield* viewOf(transaction, operation, id)
        if (view.base === undefined) return undefined
        yield* passes(checks, view.base.value)
        const kept = keepBack(transaction, operation, id, yield* keyOf(id), view, undefined)
        return kept instanceof Stale ? kept : view.base
      })
    )
    if (base === undefined) return removed(undefined)
    const removal = removed(base.stored)
    yield* onCommit({ id, ...removal, after: undefined })
    return removal
  })

  const idOf = (valid: A) => {
    const id = (valid as Readonly<Record<string, unknown>>)[primaryKey]
    return typeof id === "string" ? Effect.succeed(id) : Effect.fail(invalid([primaryKey], "Expected a string"))
  }

  // --- content and history ---------------------------------------------------

  const needs = (operation: string, what: "content" | "history") => {
    const description = `declare the resource with ${what}: true to use it`
    return settings[what]
      ? Effect.void
      : Effect.fail(new DbError.NotAllowed({ resource: name, operation, description }))
  }

  /** What a transaction has no way to take back is refused in one. */
  const outsideOfTransactions = Effect.fnUntraced(function* (operation: string) {
    if ((yield* Transaction.Current) === undefined) return
    const description = "content is not part of transactions: write it before, or after the commit"
    return yield* new DbError.NotAllowed({ resource: name, operation, description })
  })

  /** Points a document to another content, or to none. */
  const point = Effect.fnUntraced(function* (
    operation: string,
    id: string,
    content: Document.ContentRef | undefined,
    onCommit: OnCommit<A>
  ) {
    for (let lostRaces = 0; ; lostRaces++) {
      const base = yield* loadSettled(operation, id)
      const prepared = yield* prepare(operation, base.value, base)
      const { content: _, ...write } = prepared.write
      const pointed = { ...prepared, write: content === undefined ? write : { ...write, content } }
      const condition = { ifMatch: base.stored.revision, replaces: base.stored.writeId }
      const sending = send(operation, pointed, condition, base, onCommit)
      const sent = yield* Effect.catchTag(sending, "AlreadyExists", Effect.die)
      if (!isLost(sent)) return sent
      if (lostRaces >= defaultRetries) return yield* conflict(operation, id, base.key)
      yield* pause(lostRaces)
    }
  })

  const setContent = Effect.fnUntraced(function* <E, R>(
    operation: string,
    id: string,
    bytes: Stream.Stream<Uint8Array, E, R>,
    contentType: string,
    onCommit: OnCommit<A>
  ) {
    yield* needs(operation, "content")
    yield* outsideOfTransactions(operation)
    const at = yield* keyOf(id)
    // It becomes a header wherever it is served.
    if (!/^[\x20-\x7e]{1,255}$/.test(contentType)) {
      return yield* invalid(["contentType"], "Expected 1 to 255 printable ASCII characters")
    }
    // Nothing is uploaded for a document that is not there.
    yield* loadSettled(operation, id)
    const content = yield* Effect.catchIf(
      Content.write(store, name, id, bytes, contentType),
      StoreError.isStoreError,
      (error) => Effect.fail(fromStore(operation)(error))
    )
    const drop = Slot.dropMarkers(place, Content.keysOf(name, id, content))
    return yield* point(operation, id, content, onCommit).pipe(
      Effect.tapError((error) =>
        "outcome" in error && error.outcome === "unknown" ? Effect.void : Effect.andThen(Effect.void, drop)
      ),
      Effect.annotateSpans({ "s3db.key": at })
    )
  })

  const getContent = Effect.fnUntraced(function* (operation: string, id: string, range: Content.Range | undefined) {
    yield* needs(operation, "content")
    const transaction = yield* Transaction.Current
    const stored =
      transaction === undefined
        ? yield* loadStored(operation, id)
        : (yield* viewOf(transaction, operation, id)).base?.stored
    if (stored === undefined) return yield* missing(id)
    const ref = stored.content
    if (ref === undefined) return Option.none<Content.Content<DbError.DbError>>()
    if (
      range !== undefined &&
      !(Number.isSafeInteger(range.start) && range.start >= 0 && range.start < Math.max(1, ref.size))
    ) {
      return yield* invalid(["range", "start"], `Expected an integer from 0 to below ${ref.size}`)
    }
    if (range?.end !== undefined && !(Number.isSafeInteger(range.end) && range.end >= range.start)) {
      return yield* invalid(["range", "end"], `Expected an integer from ${range.start}, or nothing for all the rest`)
    }
    const bytes = Stream.mapError(Content.read(store, name, id, ref, range), fromStore(operation))
    const { contentType, size, sha256 } = ref
    return Option.some<Content.Content<DbError.DbError>>({ contentType, size, sha256, bytes })
  })

  const removeContent = Effect.fnUntraced(function* (operation: string, id: string, onCommit: OnCommit<A>) {
    yield* needs(operation, "content")
    yield* outsideOfTransactions(operation)
    const stored = yield* loadStored(operation, id)
    if (stored === undefined) return yield* missing(id)
    if (stored.content !== undefined) yield* point(operation, id, undefined, onCommit)
  })

  const entries = (operation: string, prefix: string) =>
    Stream.paginate(undefined as string | undefined, (token) =>
      Effect.map(Effect.mapError(store.list({ prefix, token, keysOnly: true }), fromStore(operation)), (page) => {
        const found = page.entries.flatMap(({ key }) => {
          const entry = History.parse(key)
          return entry === undefined ? [] : [entry]
        })
        return [found, Option.fromUndefinedOr(page.nextToken)] as const
      })
    )

  /** The versions of a document that are past, in their order; on a store that lists without order, put into it here. */
  const past = Effect.fnUntraced(function* (operation: string, id: string) {
    yield* needs(operation, "history")
    yield* keyOf(id)
    const now = yield* loadVersion(operation, id)
    const found = yield* Stream.runCollect(entries(operation, History.prefix(name, id)))
    const sorted = found
      .toSorted((a, b) => (a.key < b.key ? -1 : 1))
      .filter((entry) => History.isPast(entry, now?.stored))
    return { now, entries: History.real(sorted, now?.stored) }
  })

  const loadEntry = Effect.fnUntraced(function* (operation: string, entry: History.Entry) {
    const object = yield* store.get(entry.key).pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined)),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
    if (object === undefined) return undefined
    const slot = Document.fromObject(object)
    if (Result.isSuccess(slot) && slot.success.stored !== undefined) {
      return yield* decode(operation, entry.id, slot.success.stored, false)
    }
    const description = `the version of document ${JSON.stringify(entry.id)} at ${entry.key} cannot be read`
    return yield* failure(operation, new StoreError.Corrupt({ description }))
  })

  /** Writes an earlier version whose secrets are under an older key again, unless it has been pruned by then. */
  const resealEntry = Effect.fnUntraced(function* (operation: string, entry: History.Entry) {
    const base = entry.isDeletion ? undefined : yield* loadEntry(operation, entry)
    if (base === undefined || !base.isUnderOldKey) return false
    const { stored, value, carried } = base
    const { schemaVersion } = stored
    const { tag, fields, truncated, ...encoded } = yield* codec.encode(value, { carried, schemaVersion })
    const write: Document.Write = {
      ...stored,
      tag,
      fields,
      schemaVersion: encoded.schemaVersion,
      truncated: [...new Set([...stored.truncated, ...truncated])]
    }
    const sending = store.put({ key: entry.key, ...Document.toObject(write), ifMatch: stored.revision })
    return yield* sending.pipe(
      Effect.as(true),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(false)),
      Effect.catchReason("StoreError", "PreconditionFailed", () => Effect.succeed(false)),
      Effect.catchTag("StoreError", (error) => Effect.fail(fromStore(operation)(error)))
    )
  })

  return {
    indexes,
    known,
    keyOf,
    missing,
    invalid,
    failure,
    fromStore,
    documentFor,
    loadStored,
    loadVersion,
    loadSettled,
    findUnique,
    decode,
    load,
    loadIfPresent,
    conflict,
    passes,
    create,
    upsert,
    changeFrom,
    change,
    replace,
    remove,
    removeDocument,
    removeMany,
    valueAtOf,
    isIndexed,
    reclaim,
    setContent,
    getContent,
    removeContent,
    past,
    entries,
    loadEntry,
    resealEntry,
    needs,
    /** What an insert of it would store. */
    completed: (valid: A) =>
      Effect.flatMap(Document.now, (now) => complete(valid, undefined, { createdAt: now, writtenAt: now }))
  }
})
