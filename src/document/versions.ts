/**
 * Earlier versions of documents, where a resource keeps them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import * as History from "../History.ts"
import { getOption, listAll } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import type { Base, Context } from "./context.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"
import type { Found, Reader, ReadFailure } from "./read.ts"

/**
 * The versions of a document that are past, in their order, and the present one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Past {
  readonly now: Found | undefined
  /** Why the present version cannot be read, if there is one that cannot. */
  readonly damage: StoreError.StoreError | undefined
  readonly entries: ReadonlyArray<History.Entry>
}

/**
 * Earlier versions of the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Versions<A> {
  /** Keeps a version that is about to be replaced. 1 PUT where the resource has history. */
  readonly keep: (id: string, stored: Document.Stored | undefined) => Effect.Effect<void, StoreError.StoreError>
  /** What a deletion of a version, now, is to tell. No request. */
  readonly deletionOf: (stored: Document.Stored) => Effect.Effect<Document.Deletion>
  /** The versions that are past. 1 GET, and 1 LIST for each 1,000. */
  readonly past: (id: string) => Effect.Effect<Past, DbError.InvalidInput | StoreError.StoreError>
  /** Everything that is kept of all documents, as it is listed. 1 LIST for each 1,000. */
  readonly all: Stream.Stream<History.Entry, StoreError.StoreError>
  /** A version that is past; `undefined` when it has been pruned since it was listed. 1 GET. */
  readonly load: (entry: History.Entry) => Effect.Effect<Base<A> | undefined, ReadFailure>
  /**
   * Writes a version whose secrets are under an older key again, unless it has been pruned by then; tells whether it has
   * done so. 1 GET and 1 PUT.
   */
  readonly reseal: (
    entry: History.Entry
  ) => Effect.Effect<boolean, DbError.InvalidInput | DbError.MetadataLimit | ReadFailure>
}

/**
 * Makes the history of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(context: Context<A>, reader: Reader<A>): Versions<A> => {
  const { codec, name, place, settings, store } = context

  const keep = (id: string, stored: Document.Stored | undefined) =>
    stored === undefined || !settings.history
      ? Effect.void
      : Effect.asVoid(store.put({ key: History.key(name, id, stored), ...Document.toObject(stored), repeatable: true }))

  const entries = (prefix: string) =>
    listAll(store, { prefix, keysOnly: true }).pipe(
      Stream.map(({ key }) => History.parse(key)),
      Stream.filter((entry) => entry !== undefined)
    )

  /** The same, with the time at which the store has received each. */
  const entriesStored = (prefix: string) =>
    listAll(store, { prefix }).pipe(
      Stream.map(({ key, lastModified = 0 }) => {
        const entry = History.parse(key)
        return entry === undefined ? undefined : { ...entry, storedAt: lastModified }
      }),
      Stream.filter((entry) => entry !== undefined)
    )

  /** The entry of a deletion that is not in the history yet. */
  const deletionEntry = (
    id: string,
    { deletedAt, last }: Document.Deletion,
    listed: ReadonlyArray<{ readonly key: string }>
  ) => {
    const key = last === undefined ? "" : History.deletionKey(name, id, last, deletedAt)
    const entry = History.parse(key)
    const isThere = listed.some((one) => one.key === key)
    return entry === undefined || isThere ? [] : [{ ...entry, storedAt: Number.MAX_SAFE_INTEGER }]
  }

  /** What is there now, or why it cannot be read. */
  const present = (key: string, id: string) =>
    Effect.gen(function* () {
      const slot = yield* documentObject.load(place, key, id)
      return { damage: undefined, slot, ...(yield* documentObject.current(place, key, id, slot)) }
    }).pipe(
      Effect.catchIf(isDamage, (damage) =>
        Effect.succeed({ damage, slot: undefined, stored: undefined, isSettled: true })
      )
    )

  const load = Effect.fnUntraced(function* (entry: History.Entry) {
    const object = yield* getOption(store, entry.key)
    if (Option.isNone(object)) return undefined
    const slot = Document.fromObject(object.value)
    if (Result.isSuccess(slot) && slot.success.stored !== undefined) {
      return yield* reader.decode(entry.id, slot.success.stored, false)
    }
    const description = `the version of document ${JSON.stringify(entry.id)} at ${entry.key} cannot be read`
    return yield* new StoreError.Corrupt({ description })
  })

  return {
    keep,
    deletionOf: (stored) =>
      Effect.map(Document.now, (deletedAt) => ({ deletedAt, last: settings.history ? stored : undefined })),
    past: Effect.fnUntraced(function* (id) {
      const key = yield* context.key(id)
      // What is listed first was there before the version that is read then.
      const listed = yield* Stream.runCollect(entriesStored(History.prefix(name, id)))
      // What is past can be read all the same, and restored.
      const { damage, isSettled, slot, stored } = yield* present(key, id)
      const now = stored === undefined ? undefined : { stored, isSettled }
      const deletion = stored === undefined ? documentObject.deletionIn(slot) : undefined
      const found = deletion === undefined ? listed : [...listed, ...deletionEntry(id, deletion, listed)]
      const past = History.inOrder(found, stored).filter((entry) => History.isPast(entry, stored))
      return { now, damage, entries: past }
    }),
    all: entries(History.prefix(name)),
    load,
    reseal: Effect.fnUntraced(function* (entry) {
      const base = entry.isDeletion ? undefined : yield* load(entry)
      if (base === undefined || !base.isUnderOldKey) return false
      const { stored, value } = base
      const before = { ...base, schemaVersion: stored.schemaVersion }
      const { tag, fields, truncated, schemaVersion } = yield* codec.encode(value, before)
      const write: Document.Write = {
        ...stored,
        tag,
        fields,
        schemaVersion,
        truncated: [...new Set([...stored.truncated, ...truncated])]
      }
      const sending = store.put({ key: entry.key, ...Document.toObject(write), ifMatch: stored.revision })
      return yield* sending.pipe(
        Effect.as(true),
        Effect.catchReasons("StoreError", {
          NoSuchKey: () => Effect.succeed(false),
          PreconditionFailed: () => Effect.succeed(false)
        })
      )
    })
  }
}
