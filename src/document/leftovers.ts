/**
 * Objects that belong to documents and that no document owns: what a crash has left behind, or a document that is gone.
 *
 * **Details**
 *
 * Nothing here is younger than a write under way can be, by the store's clock: until then somebody may be about to own it. What
 * a document owns that cannot be read, nobody knows: it is left alone.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { labelOf } from "../Catalog.ts"
import * as Companion from "../Companion.ts"
import * as Content from "../Content.ts"
import type { DbError } from "../DbError.ts"
import * as Document from "../Document.ts"
import { percentDecode, percentEncode } from "../internal/text.ts"
import * as Partition from "../Partition.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import { listAll } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import * as Unique from "../Unique.ts"
import type { Context } from "./context.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"
import type { Reader } from "./read.ts"

/**
 * A key that was listed, and how old it is by the store's clock.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed {
  readonly key: string
  readonly now: number
  readonly age: number
  /** Bytes; `undefined` where the store cannot tell. */
  readonly size: number | undefined
}

/**
 * An object that no document owns.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leftover {
  /** The document that it was meant for. */
  readonly id: string
  /** Removes it. 1 request. */
  readonly remove: Effect.Effect<void, StoreError>
}

/**
 * A kind of objects that belong to documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kind {
  /** What their keys begin with. */
  readonly prefix: string
  /** What a key tells; `undefined` for one that is not of this kind. `id` is `undefined` where only the object tells it. */
  readonly parse: (key: string) => { readonly id: string | undefined } | undefined
  /** The object, if nobody owns it. 1 GET, for a reservation 2, for one of a former key of a blind unique key 1 more. */
  readonly find: (listed: Listed) => Effect.Effect<Leftover | undefined, StoreError | DbError>
}

/**
 * What belongs to the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leftovers {
  readonly markers: (graceMillis: number) => Kind
  readonly companions: (graceMillis: number) => Kind
  readonly reservations: Kind
  readonly contents: (graceMillis: number) => Kind
  /**
   * What deletions have left. Where the store ignores conditions on DELETE that is all of them, which are swept only if it is
   * said that nobody writes.
   */
  readonly deletions: (graceMillis: number, sweeps: boolean) => Kind
  /** The keys of a kind, in their order, with their age. 1 LIST for each 1,000, and what tells the store's time. */
  readonly list: (prefix: string) => Stream.Stream<Listed, StoreError>
}

/** What a key tells that is named in the document which owns it. */
interface Keyed {
  readonly id: string
  readonly isOwned: (stored: Document.Stored) => boolean
}

/**
 * Makes what finds leftovers of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  { capabilities, database, mayBeJournaled, name, place, settings, store }: Context<A>,
  reader: Reader<A>
): Leftovers => {
  const prefix = `resource=${percentEncode(name)}/`

  const isListed = (label: string) =>
    Effect.map(database.indexes(name), ({ uniques = {} }) =>
      Object.entries(uniques).some(([unique, { build, keys = [] }]) =>
        keys.some(({ id }) => Unique.nameUnder(labelOf(unique, build), id) === label)
      )
    )

  /** Whether reservations are under a key from which a blind unique key has moved. One that is new may not be known yet. */
  const isFormer = Effect.fnUntraced(function* (label: string) {
    if (Unique.labelOf(label) === undefined || (yield* isListed(label))) return false
    yield* database.refresh
    return !(yield* isListed(label))
  })

  /** Removes what nobody will ever write again. */
  const remove = (key: string) => store.delete(key, { repeatable: true })

  /** Whether what a document says of itself, and of what is announced in it, makes an object a leftover. */
  const isLeft = (id: string, isOwned: (stored: Document.Stored) => boolean) =>
    reader.held(id).pipe(
      Effect.map((all) => !all.some(isOwned)),
      Effect.catchIf(isDamage, () => Effect.succeed(false))
    )

  /** A key below `partition=`, whatever partitions there are now. */
  const parseMarker = (key: string): Keyed | undefined => {
    const match = /^resource=[^/]+\/partition=([^/]+)\//.exec(key)
    const label = percentDecode(match?.[1] ?? "")
    if (match === null || label === undefined) return undefined
    const marker = Partition.compile(name, label, { fields: [] }).parse(key)
    if (marker === undefined) return undefined
    const isOwned = ({ markers }: Document.Stored) => {
      const owned = Object.hasOwn(markers, label) ? markers[label] : undefined
      return owned?.values === marker.values && owned.writeId === marker.writeId
    }
    return { id: marker.id, isOwned }
  }

  /** The same of one below `companion=`. */
  const parseCompanion = (key: string): Keyed | undefined => {
    const match = /^resource=[^/]+\/companion=([^/]+)\//.exec(key)
    const label = percentDecode(match?.[1] ?? "")
    if (match === null || label === undefined) return undefined
    const parsed = Companion.compile(name, label, { version: 1, fields: [] }).parse(key)
    if (parsed === undefined) return undefined
    const isOwned = ({ companions }: Document.Stored) =>
      Companion.isOwned(Object.hasOwn(companions, label) ? companions[label] : undefined, parsed)
    return { id: parsed.id, isOwned }
  }

  /** What lies beside documents under keys that say whose they are. */
  const keyed =
    (below: string, parse: (key: string) => Keyed | undefined) =>
    (graceMillis: number): Kind => ({
      prefix: `${prefix}${below}=`,
      parse,
      find: Effect.fnUntraced(function* ({ age, key }) {
        const parsed = parse(key)
        if (parsed === undefined || age <= graceMillis) return undefined
        const { id, isOwned } = parsed
        return (yield* isLeft(id, isOwned)) ? { id, remove: remove(key) } : undefined
      })
    })

  const parseReservation = (key: string) => {
    const match = /^resource=[^/]+\/unique=([^/]+)\/([\w-]+)$/.exec(key)
    const label = percentDecode(match?.[1] ?? "")
    return match === null || label === undefined ? undefined : { id: undefined, label, digest: match[2]! }
  }

  return {
    markers: keyed("partition", parseMarker),
    companions: keyed("companion", parseCompanion),
    reservations: {
      prefix: `${prefix}unique=`,
      parse: parseReservation,
      find: Effect.fnUntraced(function* ({ age, key, now }) {
        const parsed = parseReservation(key)
        if (parsed === undefined || age <= settings.uniqueLease) return undefined
        const found = yield* Unique.find(store, key)
        // It may have been made anew since it was listed.
        const [id] = found?.owners ?? []
        if (found === undefined || id === undefined) return undefined
        if (now - found.lastModified <= settings.uniqueLease) return undefined
        const { etag, owners } = found
        const { digest, label } = parsed
        const left = { id, remove: Unique.release(store, capabilities, key, etag) }
        // What a document says of a former key counts for nothing.
        if (yield* isFormer(label)) return left
        const isOwned = ({ claims }: Document.Stored) => claims[label]?.digest === digest
        for (const owner of owners) if (!(yield* isLeft(owner, isOwned))) return undefined
        return left
      })
    },
    contents: (graceMillis) => ({
      prefix: `${prefix}content/`,
      parse: Content.parse,
      find: Effect.fnUntraced(function* ({ age, key }) {
        const parsed = Content.parse(key)
        if (parsed === undefined || age <= graceMillis) return undefined
        const isOwned = ({ content }: Document.Stored) => content?.name === parsed.name
        return (yield* isLeft(parsed.id, isOwned)) ? { id: parsed.id, remove: remove(key) } : undefined
      })
    }),
    deletions: (graceMillis, sweeps) => ({
      prefix: Document.keyPrefix(name),
      parse: (key) => Option.getOrUndefined(Option.map(Document.idOf(name, key), (id) => ({ id }))),
      find: Effect.fnUntraced(function* ({ age, key, size }) {
        const id = Option.getOrUndefined(Document.idOf(name, key))
        // Who keeps the journal removes it.
        if (id === undefined || size !== Document.deletionBytes || mayBeJournaled()) return undefined
        const slot = yield* documentObject.load(place, key, id)
        if (slot?.deletion === undefined || age <= graceMillis) return undefined
        const swept = documentObject.sweepDeletion(place, key, id, slot)
        if (capabilities.conditionalDelete) return { id, remove: swept }
        return sweeps ? { id, remove: Effect.andThen(swept, store.delete(key)) } : undefined
      })
    }),
    list: (prefix) =>
      Stream.unwrap(
        Effect.map(StoreClock.now(store), (now) =>
          Stream.map(listAll(store, { prefix }), ({ key, lastModified = now, size }) => ({
            key,
            now,
            age: now - lastModified,
            size
          }))
        )
      )
  }
}
