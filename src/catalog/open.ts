/**
 * Opens the catalog of a database: reads or creates it, mends it where it is damaged, and settles what the store can do.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Catalog from "../Catalog.ts"
import * as Id from "../crypto/Id.ts"
import type { Failure } from "../DbError.ts"
import { encodeBase64 } from "../internal/base64.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as CapabilityProbe from "../storage/CapabilityProbe.ts"
import { type Capabilities, getOption, listSome, type ObjectStore, type StoredObject } from "../storage/ObjectStore.ts"
import * as SingleWriterStore from "../storage/SingleWriterStore.ts"
import * as CatalogCell from "./cell.ts"

type Store = ObjectStore["Service"]

/**
 * The options of opening a catalog.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Whether a store without conditional writes is accepted, for this process alone. */
  readonly singleWriter: boolean
  /** Told of what had to be mended. */
  readonly onEvent: (event: Catalog.Event) => Effect.Effect<unknown>
}

/**
 * What opening a catalog gives: the store to be used from then on, what it honours, and the catalog in it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened {
  readonly store: Store
  readonly capabilities: Capabilities
  readonly version: CasCell.Version<Catalog.Catalog>
}

/**
 * The bytes that HKDF and Argon2id want of a salt (RFC 9106, 3.1): 16.
 *
 * @category constants
 * @since 0.1.0
 */
export const leastSaltBytes = 16

/**
 * Makes the salt of a new catalog, in base 64.
 *
 * @category constructors
 * @since 0.1.0
 */
export const newSalt: Effect.Effect<string> = Effect.flatMap(Id.Generator, (generator) =>
  Effect.map(generator.randomBytes(leastSaltBytes), encodeBase64)
)

/** How often it is opened anew when another process creates or mends it at the same time. */
const retries = 20

/**
 * Opens the catalog at the root of a store. 1 GET for one that is there; to create one, 2 GET, 1 LIST and 2 PUT; a store
 * whose abilities are not known is probed. A healthy catalog is never written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (raw: Store, options: Options): Effect.Effect<Opened, Failure> =>
  CasCell.contend(() => attempt(raw, options), { retries, exhausted: ({ error }) => Effect.fail(error) })

const attempt = Effect.fnUntraced(function* (
  raw: Store,
  { onEvent, singleWriter }: Options
): Effect.fn.Return<Opened | CasCell.Lost<CasCell.Refusal<Catalog.Catalog>>, Failure> {
  const found = yield* find(raw)
  const remembered = found.catalog.store?.location === raw.location ? found.catalog.store.capabilities : undefined
  const capabilities = yield* CapabilityProbe.ensure(raw, { singleWriter, remembered })
  const store = capabilities.createIfAbsent && capabilities.compareAndSet ? raw : yield* SingleWriterStore.make(raw)
  const probed = raw.capabilities === undefined && remembered === undefined
  const catalog = probed ? { ...found.catalog, store: { location: raw.location, capabilities } } : found.catalog
  const savedAs = found.damaged === undefined ? undefined : yield* putAside(store, found.damaged)
  if (!found.changed && !probed) {
    return { store, capabilities, version: { value: catalog, etag: found.etag, writes: CatalogCell.writesOf(catalog) } }
  }
  // Whatever is written has a salt, so that nobody has to write for its sake later.
  const salted = { ...catalog, salt: catalog.salt ?? (yield* newSalt) }
  const version = yield* CatalogCell.write(store, found.etag, salted)
  if (CasCell.isLost(version)) return version
  if (found.event !== undefined) yield* onEvent(found.event(savedAs))
  return { store, capabilities, version }
})

interface Found {
  readonly catalog: Catalog.Catalog
  /** `undefined` when there is no object yet. */
  readonly etag: string | undefined
  /** The catalog differs from what is stored. */
  readonly changed: boolean
  /** Bytes that are about to be replaced and must be kept. */
  readonly damaged: Uint8Array | undefined
  readonly event: ((savedAs: string | undefined) => Catalog.Event) | undefined
}

const find = Effect.fnUntraced(function* (store: Store): Effect.fn.Return<Found, Failure> {
  const object = Option.getOrUndefined(yield* getOption(store, Catalog.key))
  if (object === undefined) {
    const { catalog, restored } = yield* substitute(store)
    return {
      catalog,
      etag: undefined,
      changed: true,
      damaged: undefined,
      event: restored ? () => Catalog.Event.make({ _tag: "CatalogRestored" }) : undefined
    }
  }
  const reading = yield* Effect.mapError(Catalog.read(object.body), CatalogCell.otherFormat)
  switch (reading._tag) {
    case "Healthy": {
      const isPlaced = Catalog.misplaced(reading.catalog).length === 0
      const copy = isPlaced ? undefined : yield* backup(store)
      const { catalog, repairs } =
        copy === undefined ? { catalog: reading.catalog, repairs: [] } : Catalog.putBack(reading.catalog, copy)
      if (repairs.length > 0) return healed(catalog, repairs, object)
      return { catalog, etag: object.etag, changed: false, damaged: undefined, event: undefined }
    }
    case "Healed": {
      const copy = yield* backup(store)
      if (copy === undefined) return healed(reading.catalog, reading.repairs, object)
      const { catalog, repairs } = Catalog.putBack(Catalog.supplement(reading.catalog, copy), copy)
      return healed(catalog, [...reading.repairs, ...repairs], object)
    }
    case "Irreparable": {
      const { catalog, restored } = yield* substitute(store)
      return {
        catalog,
        etag: object.etag,
        changed: true,
        damaged: object.body,
        event: (savedAs) =>
          restored
            ? Catalog.Event.make({ _tag: "CatalogRestored", savedAs: savedAs ?? "" })
            : Catalog.Event.make({ _tag: "CatalogReplaced", savedAs: savedAs ?? "" })
      }
    }
  }
})

const healed = (catalog: Catalog.Catalog, repairs: ReadonlyArray<string>, object: StoredObject): Found => ({
  catalog,
  etag: object.etag,
  changed: true,
  damaged: object.body,
  event: (savedAs) => Catalog.Event.make({ _tag: "CatalogHealed", repairs, savedAs: savedAs ?? "" })
})

const backup = Effect.fnUntraced(function* (store: Store) {
  const object = yield* getOption(store, Catalog.backupKey)
  if (Option.isNone(object)) return undefined
  const reading = yield* Effect.mapError(Catalog.read(object.value.body), CatalogCell.otherFormat)
  return reading._tag === "Irreparable" ? undefined : reading.catalog
})

/** What to use where there is no catalog: the backup, or a blank one. */
const substitute = Effect.fnUntraced(function* (store: Store) {
  const copy = yield* backup(store)
  if (copy !== undefined) return { catalog: Catalog.afterLoss(copy), restored: true }
  const data = yield* listSome(store, { prefix: "resource=", maxKeys: 1, keysOnly: true })
  return { catalog: data.entries.length === 0 ? Catalog.empty : Catalog.blankOverData, restored: false }
})

const putAside = Effect.fnUntraced(function* (store: Store, bytes: Uint8Array) {
  const now = DateTime.formatIso(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
  const key = `${Catalog.key}.corrupted.${now.replaceAll(/[:.]/g, "-")}.backup`
  yield* store.put({ key, body: bytes, contentType: "application/octet-stream", repeatable: true })
  yield* Effect.logWarning(`the catalog ${Catalog.key} was damaged; its bytes are kept as ${key}`)
  return key
})
