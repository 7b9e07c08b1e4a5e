/**
 * The object at the key of a document, with what transactions have announced in it.
 *
 * Nothing here knows schemas: versions stay encoded.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Id from "../crypto/Id.ts"
import * as Companion from "../Companion.ts"
import * as Content from "../Content.ts"
import * as Document from "../Document.ts"
import * as History from "../History.ts"
import * as backoff from "../internal/backoff.ts"
import * as Partition from "../Partition.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import type { WrittenObject } from "../kernel/PackedObjects.ts"
import type { Capabilities, ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Unique from "../Unique.ts"

/**
 * Where documents of a resource are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly store: ObjectStore["Service"]
  readonly capabilities: Capabilities
  readonly resource: string
  /** Is told of an object that has taken the place of a document, and its ETag. */
  readonly hand?: ((object: WrittenObject) => void) | undefined
}

/**
 * How long a transaction may stand between its intents and its end before it counts as crashed, as whoever meets it
 * measures: 10 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const patienceMillis = 10_000

/**
 * Creates the failure of reading a document that cannot be read.
 *
 * @category errors
 * @since 0.1.0
 */
export const corrupt = (key: string, id: string, problem: string): StoreError.StoreError => {
  const reason = new StoreError.Corrupt({
    description: `document ${JSON.stringify(id)}: ${problem}; restore it, or remove it with admin.discard`
  })
  return new StoreError.StoreError({ operation: "get", key, reason })
}

/**
 * Reads the object at the key of a document. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const load = (
  place: Place,
  key: string,
  id: string
): Effect.Effect<Document.Slot | undefined, StoreError.StoreError> => loadThen(place, { key, id }, Effect.succeed)

/**
 * Reads it, and goes on with it. 1 GET.
 *
 * @category protocol
 * @since 0.1.0
 */
export const loadThen = <X, E>(
  { store }: Place,
  { id, key }: { readonly id: string; readonly key: string },
  follow: (slot: Document.Slot | undefined) => Effect.Effect<X, E>
): Effect.Effect<X, StoreError.StoreError | E> =>
  Effect.matchEffect(store.get(key), {
    onSuccess: (object): Effect.Effect<X, StoreError.StoreError | E> => {
      const slot = Document.fromObject(object)
      return Result.isSuccess(slot) ? follow(slot.success) : Effect.fail(corrupt(key, id, slot.failure))
    },
    onFailure: (error): Effect.Effect<X, StoreError.StoreError | E> => {
      switch (error.reason._tag) {
        case "NoSuchKey":
          return follow(undefined)
        case "Corrupt":
          return Effect.fail(corrupt(key, id, error.reason.description))
        default:
          return Effect.fail(error)
      }
    }
  })

const announced = (key: string, id: string, slot: Document.Slot) => {
  if (slot.intent === undefined) return Effect.succeed(slot.stored)
  const next = Document.fromIntent(key, slot.etag, slot.intent)
  return Result.isSuccess(next) ? Effect.succeed(next.success) : Effect.fail(corrupt(key, id, next.failure))
}

/**
 * Returns the version that counts now, and whether a transaction may be about to change it. No request, or, where there is an
 * intent, 1 GET for its transaction, and 1 GET more if that has been aborted.
 *
 * @category protocol
 * @since 0.1.0
 */
export const current = Effect.fnUntraced(function* (
  place: Place,
  key: string,
  id: string,
  slot: Document.Slot | undefined
): Effect.fn.Return<
  { readonly stored: Document.Stored | undefined; readonly isPending: boolean; readonly isSettled: boolean },
  StoreError.StoreError
> {
  let at = slot
  for (;;) {
    if (at?.intent === undefined) return { stored: at?.stored, isPending: false, isSettled: true }
    const outcome = yield* Transaction.outcomeOf(place.store, at.intent.transaction)
    if (outcome === "committed") {
      return { stored: unsettled(yield* announced(key, id, at)), isPending: false, isSettled: false }
    }
    if (outcome === "pending") return { stored: unsettled(at.stored), isPending: true, isSettled: false }
    // Its record may be gone because it is over, and committed: then its intent is gone, too.
    const again: Document.Slot | undefined = yield* load(place, key, id)
    if (again?.etag === at.etag) return { stored: unsettled(at.stored), isPending: false, isSettled: false }
    at = again
  }
})

/**
 * Returns every version that the object at a key holds: the one there is, and what a transaction has announced, whatever has
 * become of it. What any of them owns is no leftover.
 *
 * @category getters
 * @since 0.1.0
 */
export const held = (
  key: string,
  id: string,
  slot: Document.Slot | undefined
): Effect.Effect<ReadonlyArray<Document.Stored>, StoreError.StoreError> =>
  slot === undefined
    ? Effect.succeed([])
    : Effect.map(slot.intent === undefined ? Effect.succeed(undefined) : announced(key, id, slot), (next) =>
        [slot.stored, next].filter((one) => one !== undefined)
      )

/** A version with a revision that no write can be conditional on: the object is that of an intent, which must not be lost. */
const unsettled = (stored: Document.Stored | undefined): Document.Stored | undefined =>
  stored === undefined ? undefined : { ...stored, revision: `unsettled-${stored.writeId}` as Document.Revision }

/** Removes markers that nobody will ever make again. */
const removeMarkers = Effect.fnUntraced(function* ({ store }: Place, keys: ReadonlyArray<string>) {
  if (keys.length === 0) return
  const { failed } = yield* store.deleteMany(keys, { repeatable: true })
  if (failed.length > 0) return yield* new StoreError.StoreError({ operation: "deleteMany", reason: failed[0]!.reason })
})

/**
 * A part of a version: what it owns beside its object, each with a key that holds the write that made it.
 *
 * @category models
 * @since 0.1.0
 */
export type Owner = Pick<Document.Write, "markers" | "companions">

/**
 * Returns the keys of all markers that a version owns: those of partitions, and those of companions.
 *
 * @category protocol
 * @since 0.1.0
 */
export const markersOf = (resource: string, id: string, { companions, markers }: Owner): ReadonlyArray<string> => [
  ...Object.entries(markers).map(([label, marker]) => Partition.keyOf(resource, label, id, marker)),
  ...Object.entries(companions).flatMap(([label, keys]) => keys.map((key) => Companion.keyOf(resource, label, id, key)))
]

/**
 * Returns the keys of the markers of one version that another does not own.
 *
 * @category protocol
 * @since 0.1.0
 */
export const markersBut = (
  resource: string,
  id: string,
  owner: Owner,
  kept: Owner | undefined
): ReadonlyArray<string> => {
  const keys = markersOf(resource, id, owner)
  if (kept === undefined || keys.length === 0) return keys
  const others = new Set(markersOf(resource, id, kept))
  return keys.filter((key) => !others.has(key))
}

/**
 * Puts the markers of a version. 1 PUT for each.
 *
 * @category protocol
 * @since 0.1.0
 */
export const putMarkers = (
  { store }: Place,
  keys: ReadonlyArray<string>
): Effect.Effect<void, StoreError.StoreError> => {
  const [key] = keys
  // One takes no fiber of its own.
  return keys.length === 1
    ? Effect.asVoid(store.put({ key: key!, repeatable: true }))
    : Effect.forEach(keys, (key) => store.put({ key, repeatable: true }), { concurrency: 8, discard: true })
}

/** What is left behind does no harm; that it is left is told, and `repair` removes it. */
const leftover = <X, E, R>(effect: Effect.Effect<X, E, R>): Effect.Effect<void, never, R> =>
  Effect.catch(Effect.asVoid(effect), (error) =>
    Effect.logWarning("markers or reservations were left behind; they do no harm, and repair removes them", error)
  )

/**
 * Removes objects that nobody will ever write again, such as markers, without failing.
 *
 * @category protocol
 * @since 0.1.0
 */
export const dropMarkers = (place: Place, keys: ReadonlyArray<string>): Effect.Effect<void> =>
  keys.length === 0 ? Effect.void : leftover(removeMarkers(place, keys))

/**
 * Frees a reservation that nobody has taken anew, without failing; `isGivenUp`: the write that made it was not done.
 *
 * @category protocol
 * @since 0.1.0
 */
export const dropClaim = (
  place: Place,
  unique: string,
  claim: Document.Claim,
  isGivenUp: boolean
): Effect.Effect<void> => {
  const etag = Unique.freedAt(claim.etag, isGivenUp)
  return etag === undefined
    ? Effect.void
    : leftover(
        Unique.release(place.store, place.capabilities, Unique.keyOf(place.resource, unique, claim.digest), etag)
      )
}

/**
 * Removes what one version owns and another does not: after a write, what the version before had; after a write that was
 * not done, what it would have had. It never fails.
 *
 * @category protocol
 * @since 0.1.0
 */
export const tidy = Effect.fnUntraced(function* (
  place: Place,
  id: string,
  gone: Document.Write,
  kept: Document.Write | undefined,
  isGivenUp = false
) {
  yield* dropMarkers(place, markersBut(place.resource, id, gone, kept))
  if (gone.content !== undefined && gone.content.name !== kept?.content?.name) {
    yield* dropMarkers(place, Content.keysOf(place.resource, id, gone.content))
  }
  for (const [label, claim] of Object.entries(gone.claims)) {
    if (kept?.claims[label]?.digest !== claim.digest) yield* dropClaim(place, label, claim, isGivenUp)
  }
})

/**
 * Keeps in the history, where there is one, that a document has been deleted. No request, or 1 PUT; it may be made again.
 *
 * @category protocol
 * @since 0.1.0
 */
export const keepDeletion = (
  { resource, store }: Place,
  id: string,
  { deletedAt, last }: Document.Deletion
): Effect.Effect<void, StoreError.StoreError> =>
  last === undefined
    ? Effect.void
    : Effect.asVoid(store.put({ key: History.deletionKey(resource, id, last, deletedAt), repeatable: true }))

/**
 * Keeps a deletion like `keepDeletion` where nothing else follows: it never fails, and whoever meets what is left of the
 * document does it.
 *
 * @category protocol
 * @since 0.1.0
 */
export const tellDeletion = (place: Place, id: string, deletion: Document.Deletion): Effect.Effect<void> =>
  leftover(keepDeletion(place, id, deletion))

/**
 * Removes what has taken the place of a document that is deleted, after its history says so. 1 DELETE, and 1 PUT with
 * history; where the store ignores conditions on DELETE it stays, until the id is used again. It never fails.
 *
 * @category protocol
 * @since 0.1.0
 */
export const sweepDeletion = (
  place: Place,
  key: string,
  id: string,
  { deletion, etag }: Pick<Document.Slot, "deletion" | "etag">
): Effect.Effect<void> => {
  if (deletion === undefined) return Effect.void
  const removing = place.capabilities.conditionalDelete ? place.store.delete(key, { ifMatch: etag }) : Effect.void
  return Effect.andThen(keepDeletion(place, id, deletion), removing).pipe(
    Effect.catchReasons("StoreError", {
      // The id is in use again.
      PreconditionFailed: () => Effect.void,
      NoSuchKey: () => Effect.void
    }),
    Effect.catch((error) =>
      Effect.logWarning(
        "the object of a deleted document was left behind; it does no harm, and repair removes it",
        error
      )
    )
  )
}

/** The deletion that an intent has announced, where earlier versions are kept. */
const deletionOf = ({ intent, stored }: Document.Slot): Document.Deletion | undefined =>
  intent?.deletedAt === undefined || stored === undefined ? undefined : { deletedAt: intent.deletedAt, last: stored }

/**
 * Returns the deletion that an object tells of, once there is no version any more.
 *
 * @category getters
 * @since 0.1.0
 */
export const deletionIn = (slot: Document.Slot | undefined): Document.Deletion | undefined =>
  slot === undefined ? undefined : (slot.deletion ?? deletionOf(slot))

/**
 * Writes what an intent has announced, or takes the announcement back. 1 PUT or DELETE, and those that remove what nobody
 * owns any more; 1 PUT more for a deletion that the history tells of. `false`: somebody else has done so.
 *
 * @category protocol
 * @since 0.1.0
 */
export const apply = Effect.fnUntraced(function* (
  place: Place,
  key: string,
  id: string,
  slot: Document.Slot,
  outcome: "committed" | "aborted"
): Effect.fn.Return<boolean, StoreError.StoreError> {
  const { store, capabilities } = place
  const { intent } = slot
  if (intent === undefined) return true
  const next = yield* announced(key, id, slot)
  const [kept, gone] = outcome === "committed" ? [next, slot.stored] : [slot.stored, next]
  const ancestors = [slot.writeId, ...slot.ancestors]
  const write = { writeId: yield* Id.writeId, writtenAt: yield* Document.now, ancestors }
  const deletion = outcome === "committed" ? deletionOf(slot) : undefined
  if (deletion !== undefined) yield* keepDeletion(place, id, deletion)
  const put = (object: ReturnType<typeof Document.toObject>) =>
    Effect.tap(store.put({ key, ...object, ifMatch: slot.etag }), ({ etag }) =>
      Effect.sync(() => place.hand?.({ key, etag, metadata: object.metadata, body: object.body }))
    )
  // What is left of a deletion in a resource with a journal is the journal's to remove.
  const left =
    kept !== undefined
      ? undefined
      : outcome === "committed"
        ? intent.tombstone === undefined
          ? undefined
          : { writeId: intent.tombstone, ancestors }
        : intent.over === undefined
          ? undefined
          : // Like a version: what it was before the intent must not come back.
            { ...write, origin: intent.over }
  const deletedAt = intent.deletedAt ?? write.writtenAt
  const settled: Effect.Effect<unknown, StoreError.StoreError> =
    left !== undefined
      ? put(Document.toTombstone(left, { deletedAt, last: deletion?.last }))
      : kept === undefined
        ? capabilities.conditionalDelete
          ? store.delete(key, { ifMatch: slot.etag })
          : put(Document.toTombstone(write, { deletedAt: write.writtenAt, last: undefined }))
        : outcome === "committed"
          ? put(Document.toObject({ ...kept, ancestors: [slot.writeId, ...kept.ancestors] }))
          : // With a write id of its own: the revision from before the intent must not come back.
            put(Document.toObject({ ...kept, writeId: write.writeId, origin: kept.origin ?? kept.writeId, ancestors }))
  const isSettled = yield* settled.pipe(
    Effect.as(true),
    Effect.catchReasons("StoreError", {
      PreconditionFailed: () => Effect.succeed(false),
      NoSuchKey: () => Effect.succeed(false)
    })
  )
  if (isSettled && gone !== undefined) yield* tidy(place, id, gone, kept, outcome === "aborted")
  return isSettled
})

/**
 * Waits for, and returns, the object at the key of a document once no transaction has announced anything in it. 1 GET; more
 * where one has: it is waited for, finished if it is committed, and aborted after `patienceMillis`. 1 PUT more where the
 * document has been deleted and the history may not say so yet.
 *
 * @category protocol
 * @since 0.1.0
 */
export const settled = (
  place: Place,
  key: string,
  id: string
): Effect.Effect<Document.Slot | undefined, StoreError.StoreError> =>
  loadThen(place, { id, key }, (slot) => settle(place, key, id, slot))

/**
 * Reads what has been found on until it is settled; at once where no transaction has announced anything in it, nor a deletion left it.
 *
 * @category protocol
 * @since 0.1.0
 */
export const settle = (
  place: Place,
  key: string,
  id: string,
  slot: Document.Slot | undefined
): Effect.Effect<Document.Slot | undefined, StoreError.StoreError> =>
  slot === undefined || (slot.intent === undefined && slot.deletion === undefined)
    ? Effect.succeed(slot)
    : settling(place, key, id, slot)

/** The same, from what has been found first. */
const settling = Effect.fnUntraced(function* (
  place: Place,
  key: string,
  id: string,
  found: Document.Slot
): Effect.fn.Return<Document.Slot | undefined, StoreError.StoreError> {
  let first: Document.Slot | undefined = found
  let waitingFor: string | undefined
  let waited: Effect.Effect<number> = Effect.succeed(0)
  for (let waits = 0; ;) {
    const slot: Document.Slot | undefined = first ?? (yield* load(place, key, id))
    first = undefined
    if (slot?.intent === undefined) {
      if (slot?.deletion !== undefined) yield* keepDeletion(place, id, slot.deletion)
      return slot
    }
    const { transaction } = slot.intent
    const record = yield* Transaction.read(place.store, Transaction.key(transaction))
    let outcome = record?.outcome ?? "aborted"
    if (record !== undefined && outcome === "pending") {
      if (waitingFor !== transaction) {
        waitingFor = transaction
        waited = yield* StoreClock.stopwatch
        waits = 0
      }
      if ((yield* waited) < patienceMillis) {
        waits += 1
        yield* backoff.after(waits, backoff.waiting)
        continue
      }
      outcome = yield* Transaction.decide(place.store, record, "aborted")
    }
    if (outcome !== "pending") yield* apply(place, key, id, slot, outcome)
  }
})
