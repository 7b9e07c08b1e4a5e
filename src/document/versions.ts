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
import type { Found, Reader, ReadFailure } from "./read.ts"

/**
 * The versions of a document that are past, in their order, and the present one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Past {
  readonly now: Found | undefined
  readonly entries: ReadonlyArray<History.Entry>
  /** Copies of versions that are there twice, and deletions that did not come about. */
  readonly unreal: ReadonlyArray<History.Entry>
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
  /** Keeps the last version of a document that is about to be deleted, and when that was. 2 PUT where there is history. */
  readonly keepLast: (id: string, stored: Document.Stored) => Effect.Effect<void, StoreError.StoreError>
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
  const { codec, name, settings, store } = context

  const keep = (id: string, stored: Document.Stored | undefined) =>
    stored === undefined || !settings.history
      ? Effect.void
      : Effect.asVoid(store.put({ key: History.key(name, id, stored), ...Document.toObject(stored), repeatable: true }))

  const entries = (prefix: string) =>
    listAll(store, { prefix, keysOnly: true }).pipe(
      Stream.map(({ key }) => History.parse(key)),
      Stream.filter((entry) => entry !== undefined)
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
    keepLast: Effect.fnUntraced(function* (id, stored) {
      if (!settings.history) return
      yield* keep(id, stored)
      yield* store.put({ key: History.deletionKey(name, id, stored, yield* Document.now), repeatable: true })
    }),
    past: Effect.fnUntraced(function* (id) {
      yield* context.key(id)
      const now = yield* reader.version(id)
      const found = yield* Stream.runCollect(entries(History.prefix(name, id)))
      // A store may list without order.
      const sorted = found
        .toSorted((a, b) => (a.key < b.key ? -1 : 1))
        .filter((entry) => History.isPast(entry, now?.stored))
      const past = History.real(sorted, now?.stored)
      const isReal = new Set(past)
      return { now, entries: past, unreal: sorted.filter((entry) => !isReal.has(entry)) }
    }),
    all: entries(History.prefix(name)),
    load,
    reseal: Effect.fnUntraced(function* (entry) {
      const base = entry.isDeletion ? undefined : yield* load(entry)
      if (base === undefined || !base.isUnderOldKey) return false
      const { stored, value, carried } = base
      const { tag, fields, truncated, schemaVersion } = yield* codec.encode(value, {
        carried,
        schemaVersion: stored.schemaVersion
      })
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
