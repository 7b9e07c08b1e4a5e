/**
 * What is left of a document that cannot be read: the object that has to go, and what it says that it owns.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Document from "../Document.ts"
import { mapValues } from "../internal/json.ts"
import { getOption, headOption, type StoredObject } from "../storage/ObjectStore.ts"
import type { StoreError } from "../storage/StoreError.ts"
import { isDamage } from "./damage.ts"
import * as documentObject from "./documentObject.ts"

/**
 * An object at the key of a document that is none, or none that can be read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Remains {
  /** What a condition on the object has to say. `undefined`: the store itself cannot read it. */
  readonly etag: string | undefined
  /** What it says that it owns. Its fields are empty where it tells of none. */
  readonly stored: Document.Stored
  /** The write id under which it was first written; `undefined` where it tells of none. */
  readonly identity: string | undefined
  /** Whether it tells what it owns. */
  readonly isTold: boolean
}

/**
 * An object at the key of a document, as far as it can be read.
 *
 * @category models
 * @since 0.1.0
 */
export type Found =
  | { readonly _tag: "Slot"; readonly slot: Document.Slot }
  | { readonly _tag: "Remains"; readonly remains: Remains; readonly failure: StoreError }

const nothing: Document.Stored = {
  revision: "" as Document.Revision,
  writeId: "",
  writtenAt: 0,
  createdAt: 0,
  version: 0,
  ancestors: [],
  tag: "",
  schemaVersion: 0,
  fields: { metadata: {}, spilled: undefined, spilledText: undefined },
  truncated: [],
  markers: Document.none,
  companions: Document.none,
  claims: Document.none,
  bodyBytes: 0
}

/** What the body of a document says that it owns, whatever else is wrong with the object. */
const System = Schema.Struct({
  w: Schema.String,
  o: Schema.optionalKey(Schema.String),
  t: Schema.Int,
  m: Schema.optionalKey(
    Schema.Record(Schema.String, Schema.Tuple([Schema.String, Schema.String, Schema.optionalKey(Schema.String)]))
  ),
  k: Schema.optionalKey(Document.CompanionKeys),
  u: Schema.optionalKey(Schema.Record(Schema.String, Schema.Tuple([Schema.String, Schema.String])))
})

/** Without names that no key can have. */
const named = <A>(record: Readonly<Record<string, A>>): Readonly<Record<string, A>> =>
  Object.fromEntries(Object.entries(record).filter(([name]) => name.isWellFormed()))

const decodeSystem = Schema.decodeUnknownOption(System)

const remainsOf = ({ body, etag }: StoredObject): Remains => {
  const system = decodeSystem(Document.membersIn(body)?.members)
  if (Option.isNone(system)) return { etag, stored: nothing, identity: undefined, isTold: false }
  const { k = {}, m = {}, o, u = {}, w: writeId } = system.value
  const stored = {
    ...nothing,
    writeId,
    markers: mapValues(named(m), ([values, made, covered]) => ({ values, covered, writeId: made || writeId })),
    companions: Document.companionsOf(named(k), writeId),
    claims: mapValues(named(u), ([digest, etag]) => ({ digest, etag }))
  }
  return { etag, stored, identity: o ?? writeId, isTold: true }
}

/** What is there instead of a document; `undefined` when nothing is by now. */
const lookAt = Effect.fnUntraced(function* (
  place: documentObject.Place,
  key: string,
  id: string,
  failure: StoreError
): Effect.fn.Return<Found | undefined, StoreError> {
  const found = yield* getOption(place.store, key).pipe(
    Effect.map(Option.map(remainsIn)),
    // The store cannot read it as a whole: the head of it may do.
    Effect.catchIf(isDamage, () =>
      headOption(place.store, key).pipe(
        Effect.map(
          Option.map(({ etag }): Remains | undefined => ({
            etag,
            stored: nothing,
            identity: undefined,
            isTold: false
          }))
        ),
        Effect.catchIf(isDamage, () =>
          Effect.succeedSome({ etag: undefined, stored: nothing, identity: undefined, isTold: false })
        )
      )
    )
  )
  if (Option.isNone(found)) return undefined
  // Somebody has put something that can be read in its place.
  if (found.value === undefined) return yield* settled(place, key, id)
  return { _tag: "Remains", remains: found.value, failure }
})

/** What is left of a document in an object; `undefined`: it can be read. */
const remainsIn = (object: StoredObject): Remains | undefined => {
  const slot = Document.fromObject(object)
  if (Result.isFailure(slot)) return remainsOf(object)
  const { etag, intent, stored = nothing } = slot.success
  const next = intent === undefined ? undefined : Document.fromIntent(object.key, etag, intent)
  return next !== undefined && Result.isFailure(next)
    ? { etag, stored, identity: stored === nothing ? undefined : Document.identityOf(stored), isTold: true }
    : undefined
}

/**
 * Returns the object at the key of a document once no transaction has announced anything in it, or what is left there of one
 * that cannot be read. The requests of `documentObject.settled`; 1 GET more for what cannot be read, and 1 HEAD where the store
 * cannot read it either.
 *
 * @category protocol
 * @since 0.1.0
 */
export const settled = (
  place: documentObject.Place,
  key: string,
  id: string
): Effect.Effect<Found | undefined, StoreError> =>
  documentObject.settled(place, key, id).pipe(
    Effect.map((slot): Found | undefined => (slot === undefined ? undefined : { _tag: "Slot", slot })),
    // The record of a transaction that cannot be read says nothing against its documents.
    Effect.catchIf(
      (error) => isDamage(error) && error.key === key,
      (failure) => lookAt(place, key, id, failure)
    )
  )
