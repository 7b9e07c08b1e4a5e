/**
 * One database: a prefix of an object store with a catalog of resources.
 *
 * Provide an `ObjectStore` and this layer, and any number of resources can be opened on it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Change from "./Change.ts"
import * as Catalog from "./Catalog.ts"
import * as Id from "./crypto/Id.ts"
import * as DbError from "./DbError.ts"
import type { Json } from "./encoding/Json.ts"
import type { Attribute } from "./schema/Attributes.ts"
import * as CapabilityProbe from "./storage/CapabilityProbe.ts"
import { decodeBase64, encodeBase64 } from "./internal/base64.ts"
import { type Capabilities, ObjectStore } from "./storage/ObjectStore.ts"
import * as SingleWriterStore from "./storage/SingleWriterStore.ts"
import * as Slot from "./document/documentObject.ts"
import * as StoreError from "./storage/StoreError.ts"
import * as Transaction from "./Transaction.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * `"conditional"`, the default: every mutation is a conditional write, safe with any number of writers; a store that
   * does not honour conditions is refused. `"single-writer"`: such a store is accepted, conditions are then checked by
   * this process alone, at the cost of one HEAD for each conditional write. Never let two processes write to it.
   */
  readonly concurrency?: "conditional" | "single-writer" | undefined
}

/**
 * Something that happened to the catalog since the database was opened.
 *
 * - `ResourceCreated`, `ResourceChanged`: a definition was registered by this process. Paths are joined with `.`.
 * - `CatalogHealed`: the catalog was damaged and could be mended; its bytes are kept under `savedAs`.
 * - `CatalogRestored`: the catalog was missing or beyond repair; the backup was put in its place.
 * - `CatalogReplaced`: it was beyond repair and there was no backup; the database starts with a blank one.
 *
 * @category models
 * @since 0.1.0
 */
export const DefinitionEvent = Schema.TaggedUnion({
  ResourceCreated: { resource: Schema.String, version: Schema.Int },
  ResourceChanged: {
    resource: Schema.String,
    from: Schema.Int,
    to: Schema.Int,
    added: Schema.Array(Schema.String),
    removed: Schema.Array(Schema.String),
    changed: Schema.Array(Schema.String)
  },
  CatalogHealed: { repairs: Schema.Array(Schema.String), savedAs: Schema.String },
  CatalogRestored: { savedAs: Schema.optionalKey(Schema.String) },
  CatalogReplaced: { savedAs: Schema.String }
})

/**
 * @category models
 * @since 0.1.0
 */
export type DefinitionEvent = typeof DefinitionEvent.Type

/**
 * A resource as the catalog lists it.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResourceInfo {
  readonly name: string
  readonly version: number
  readonly versions: number
  readonly primaryKey: string
  readonly hash: string
  readonly attributes: ReadonlyArray<Attribute>
  /** The newest version in portable form, if the program that registered it has given one. */
  readonly definition: Json | undefined
}

/**
 * What the catalog says of the partitions and unique keys of a resource. The same reference as long as it says the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Indexes = Pick<Catalog.Resource, "partitions" | "uniques">

/**
 * How a declaration stands to the catalog: `New`, `Unchanged`, `Changed` (another version would be registered), or
 * `Undeclared` (the catalog has it, no declaration was given).
 *
 * @category models
 * @since 0.1.0
 */
export interface Comparison {
  readonly resource: string
  readonly state: "New" | "Unchanged" | "Changed" | "Undeclared"
}

/**
 * @category services
 * @since 0.1.0
 */
export class Database extends Context.Service<
  Database,
  {
    /** The store that resources read and write. */
    readonly store: ObjectStore["Service"]
    /** What that store honours. */
    readonly capabilities: Capabilities
    /** Every resource in the catalog, by name. No request. */
    readonly listResources: Effect.Effect<ReadonlyArray<ResourceInfo>>
    /** Reads the catalog again, to see what other processes have registered. 1 GET. */
    readonly refresh: Effect.Effect<void, DbError.DbError>
    /**
     * Makes a declaration known: finds the version that fits it, or writes a new one. No request when the catalog has
     * it; else 1 PUT, and 1 more for the backup. Two processes that register at once both succeed.
     */
    readonly register: (declaration: Catalog.Declaration) => Effect.Effect<Catalog.Registered, DbError.DbError>
    /**
     * Random bytes that belong to this database, from which the keys of secret fields and the signatures of cursors are
     * made. No request, but for a catalog without them: 1 PUT, and 1 more for the backup.
     */
    readonly salt: Effect.Effect<Uint8Array, DbError.DbError>
    /** The partitions and unique keys that writers of a resource keep up, by name. No request. */
    readonly indexes: (resource: string) => Effect.Effect<Indexes>
    /**
     * Says that a partition or unique key is complete (`"ready"`) or has to be built (`"building"`), or removes it
     * (`undefined`). 1 PUT, and 1 more for the backup.
     */
    readonly setIndex: (
      resource: string,
      kind: "partitions" | "uniques",
      name: string,
      state: Catalog.IndexState | undefined
    ) => Effect.Effect<void, DbError.DbError>
    /**
     * Runs an effect whose reads and writes of documents, also of several resources, take effect together or not at all.
     * See `Transaction` for the isolation, and `Transaction.run` for errors and requests.
     */
    readonly transaction: <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      options?: Transaction.Options
    ) => Effect.Effect<A, E | DbError.TransactionConflict | DbError.UniqueViolation | DbError.DbError, R>
    /**
     * Finds transactions whose programs came to a sudden end and left their record, finishes their documents, and with
     * `dryRun: false` removes the records. See `Slot.sweep` for requests.
     */
    readonly repairTransactions: (options?: Slot.SweepOptions) => Stream.Stream<Slot.Swept, DbError.DbError>
    /** Compares declarations with the catalog, without registering any. No request. */
    readonly compare: (declarations: ReadonlyArray<Catalog.Declaration>) => Effect.Effect<ReadonlyArray<Comparison>>
    /** What happened to the catalog since it was opened, from the beginning (the last 256 events) and then live. */
    readonly definitionEvents: Stream.Stream<DefinitionEvent>
    /**
     * Tells of resources that are created in the catalog (`resourceCreated`) and opened by this process
     * (`resourceOpened`), and that the layer of the database is closed (`closed`). Handlers never delay or fail what they
     * are told of.
     */
    readonly lifecycle: Change.Lifecycle
  }
>()("effect-s3db/Database") {}

/**
 * Opens the database at the root of a store, reading its catalog or creating it.
 *
 * **Details**
 *
 * Requests: 1 GET for a database that exists; to create one, 2 GET, 1 LIST and 2 PUT. A store whose abilities are not
 * known is probed once, and the result remembered in the catalog. A healthy catalog is never written on opening.
 *
 * Fails with `DbError`: `Unsupported` when the store has no conditional writes (see `Options.concurrency`) or the
 * catalog is of a newer format, `AccessDenied`, `NoSuchBucket`, `Unavailable`, ...
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Database.make")(function* (
  options: Options = {}
): Effect.fn.Return<Database["Service"], DbError.DbError, ObjectStore> {
  const raw = yield* ObjectStore
  const events = yield* PubSub.unbounded<DefinitionEvent>({ replay: 256 })
  const opened = yield* open(raw, options, events)
  const { store, capabilities } = opened
  const current = yield* Ref.make<Versioned>(opened.current)
  const lock = yield* Semaphore.make(1)
  const lifecycle = yield* Change.makeLifecycle()

  const refresh = Effect.gen(function* () {
    const read = yield* store.get(Catalog.key).pipe(Effect.mapError(DbError.fromStore("Database.refresh")))
    const reading = yield* Catalog.read(read.body).pipe(Effect.mapError(newerFormat("Database.refresh")))
    if (reading._tag !== "Healthy") {
      return yield* DbError.make(
        "Database.refresh",
        new StoreError.Corrupt({ description: "the catalog was damaged since it was opened; open the database again" })
      )
    }
    yield* Ref.set(current, { catalog: reading.catalog, etag: read.etag })
  })

  const attempt = Effect.fnUntraced(function* (declaration: Catalog.Declaration, hash: string) {
    const before = yield* Ref.get(current)
    const known = Catalog.find(before.catalog, declaration, hash)
    if (known !== undefined) return known
    const refusal = Catalog.refusal(before.catalog, declaration)
    if (refusal !== undefined) {
      const reason = new StoreError.InvalidArgument({ argument: "version", description: refusal })
      return yield* DbError.make("Database.register", reason, declaration.name)
    }
    const createdAt = DateTime.formatIso(yield* DateTime.now)
    const after = Catalog.register(before.catalog, declaration, hash, createdAt)
    yield* Ref.set(current, yield* commit(store, before.etag, after))
    yield* PubSub.publish(events, eventOf(before.catalog, after, declaration.name))
    if (!Object.hasOwn(before.catalog.resources, declaration.name)) {
      yield* tell(lifecycle, "resourceCreated", declaration.name)
    }
    return yield* Effect.fromNullishOr(Catalog.find(after, declaration, hash)).pipe(Effect.orDie)
  })

  /** Somebody else may write the catalog at the same time: take theirs and add ours. */
  const amending = <A, R>(
    operation: string,
    resource: string | undefined,
    once: Effect.Effect<A, StoreError.StoreError | DbError.DbError, R>
  ): Effect.Effect<A, DbError.DbError, R> =>
    once.pipe(
      Effect.catchReason("StoreError", "PreconditionFailed", () =>
        Effect.andThen(refresh, Effect.fail("changed" as const))
      ),
      Effect.retry({ while: (error) => error === "changed", times: 50 }),
      Effect.mapError((error) => {
        if (error === "changed") {
          const description = "the catalog kept changing while it was written"
          return DbError.make(operation, new StoreError.Unavailable({ description, sent: false }), resource)
        }
        return StoreError.isStoreError(error) ? DbError.fromStore(operation, resource)(error) : error
      }),
      lock.withPermits(1)
    )

  const register = Effect.fn("Database.register")(function* (declaration: Catalog.Declaration) {
    const hash = Catalog.hash(declaration)
    return yield* amending("Database.register", declaration.name, attempt(declaration, hash))
  })

  const saltOnce = Effect.gen(function* () {
    const { catalog, etag } = yield* Ref.get(current)
    if (catalog.salt !== undefined) return catalog.salt
    const salt = yield* newSalt
    yield* Ref.set(current, yield* commit(store, etag, { ...catalog, salt }))
    return salt
  })

  const salt = Effect.gen(function* () {
    const bytes = decodeBase64(yield* amending("Database.salt", undefined, saltOnce))
    if (bytes !== undefined && bytes.length >= leastSaltBytes) return bytes
    const description = `the salt in the catalog is not base 64 of ${leastSaltBytes} bytes or more; restore it from the backup of the catalog`
    return yield* DbError.make("Database.salt", new StoreError.Corrupt({ description }))
  })

  return {
    store,
    capabilities,
    listResources: Effect.map(Ref.get(current), ({ catalog }) => listResources(catalog)),
    refresh,
    register,
    salt,
    indexes: (resource) =>
      Effect.map(Ref.get(current), ({ catalog }) =>
        Object.hasOwn(catalog.resources, resource) ? catalog.resources[resource]! : noIndexes
      ),
    setIndex: Effect.fn("Database.setIndex")(function* (resource, kind, name, state) {
      const once = Effect.gen(function* () {
        const { catalog, etag } = yield* Ref.get(current)
        const next = Catalog.setIndex(catalog, resource, kind, name, state)
        if (next !== catalog) yield* Ref.set(current, yield* commit(store, etag, next))
      })
      yield* amending("Database.setIndex", resource, once)
    }),
    transaction: (effect, options) => Effect.withSpan(Transaction.run(store, effect, options), "Database.transaction"),
    repairTransactions: (options) =>
      Stream.mapError(Slot.sweep(store, capabilities, options), DbError.fromStore("Database.repairTransactions")),
    compare: Effect.fnUntraced(function* (declarations) {
      const { catalog } = yield* Ref.get(current)
      const compared = yield* Effect.forEach(declarations, (declaration) => compare(catalog, declaration))
      const declared = new Set(declarations.map((declaration) => declaration.name))
      const undeclared = Object.keys(catalog.resources).filter((name) => !declared.has(name))
      return [...compared, ...undeclared.map((resource) => ({ resource, state: "Undeclared" as const }))]
    }),
    definitionEvents: Stream.fromPubSub(events),
    lifecycle
  }
})

/**
 * Tells the listeners of a database of an event, now.
 *
 * @category events
 * @since 0.1.0
 */
export const tell = Effect.fnUntraced(function* (
  lifecycle: Change.Lifecycle,
  event: Change.LifecycleEvent["event"],
  resource?: string
) {
  const at = yield* DateTime.now
  yield* lifecycle.publish(() => ({ _tag: "Lifecycle", event, resource: Option.fromUndefinedOr(resource), at }))
})

const scoped = (options: Options) =>
  Effect.acquireRelease(make(options), ({ lifecycle }) => Effect.andThen(tell(lifecycle, "closed"), lifecycle.close))

/**
 * The database at the root of the `ObjectStore`, with default options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Database, DbError.DbError, ObjectStore> = Layer.effect(Database, scoped({}))

/**
 * The same with options. Bind the result to a constant: each call makes a layer of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Database, DbError.DbError, ObjectStore> =>
  Layer.effect(Database, scoped(options))

/** What HKDF and Argon2id want of a salt (RFC 9106, 3.1). */
const leastSaltBytes = 16

const newSalt = Effect.flatMap(Id.Generator, (generator) =>
  Effect.map(generator.randomBytes(leastSaltBytes), encodeBase64)
)

const noIndexes: Indexes = {}

interface Versioned {
  readonly catalog: Catalog.Catalog
  readonly etag: string
}

const newerFormat = (operation: string) => (error: Catalog.NewerFormat) =>
  DbError.make(
    operation,
    new StoreError.Unsupported({
      feature: `catalog format ${error.version}`,
      description: `the catalog has format ${error.version}, written by a later release; upgrade effect-s3db`
    })
  )

/** Reads or creates the catalog, mending it where it is damaged, and settles what the store can do. */
const open = Effect.fnUntraced(
  function* (raw: ObjectStore["Service"], options: Options, events: PubSub.PubSub<DefinitionEvent>) {
    const concurrency = options.concurrency ?? "conditional"
    const found = yield* find(raw)
    const remembered = found.catalog.store?.location === raw.location ? found.catalog.store.capabilities : undefined
    const capabilities = yield* CapabilityProbe.ensure(raw, { concurrency, remembered })
    const store = capabilities.createIfAbsent && capabilities.compareAndSet ? raw : yield* SingleWriterStore.make(raw)
    const probed = raw.capabilities === undefined && remembered === undefined
    const catalog = probed ? { ...found.catalog, store: { location: raw.location, capabilities } } : found.catalog
    const savedAs = found.damaged === undefined ? undefined : yield* putAside(store, found.damaged)
    if (!found.changed && !probed) return { store, capabilities, current: { catalog, etag: found.etag! } }
    // Whatever is written has a salt, so that nobody has to write for its sake later.
    const current = yield* commit(store, found.etag, { ...catalog, salt: catalog.salt ?? (yield* newSalt) })
    const event = found.event?.(savedAs)
    if (event !== undefined) yield* PubSub.publish(events, event)
    return { store, capabilities, current }
  },
  (effect, ...args) =>
    effect.pipe(
      // Another process created or mended it first: look again.
      Effect.retry({
        while: (error) => StoreError.isStoreError(error) && error.reason._tag === "PreconditionFailed",
        times: 20
      }),
      Effect.mapError((error) =>
        StoreError.isStoreError(error) ? DbError.fromStore("Database.open")(error) : newerFormat("Database.open")(error)
      )
    )
)

interface Found {
  readonly catalog: Catalog.Catalog
  /** `undefined` when there is no object yet. */
  readonly etag: string | undefined
  /** The catalog differs from what is stored. */
  readonly changed: boolean
  /** Bytes that are about to be replaced and must be kept. */
  readonly damaged: Uint8Array | undefined
  readonly event: ((savedAs: string | undefined) => DefinitionEvent) | undefined
}

const find = Effect.fnUntraced(function* (
  store: ObjectStore["Service"]
): Effect.fn.Return<Found, StoreError.StoreError | Catalog.NewerFormat> {
  const object = yield* getIfPresent(store, Catalog.key)
  if (object === undefined) {
    const { catalog, restored } = yield* substitute(store)
    return {
      catalog,
      etag: undefined,
      changed: true,
      damaged: undefined,
      event: restored ? () => DefinitionEvent.make({ _tag: "CatalogRestored" }) : undefined
    }
  }
  const reading = yield* Catalog.read(object.body)
  switch (reading._tag) {
    case "Healthy":
      return { catalog: reading.catalog, etag: object.etag, changed: false, damaged: undefined, event: undefined }
    case "Healed": {
      const copy = yield* backup(store)
      return {
        catalog: copy === undefined ? reading.catalog : Catalog.supplement(reading.catalog, copy),
        etag: object.etag,
        changed: true,
        damaged: object.body,
        event: (savedAs) =>
          DefinitionEvent.make({ _tag: "CatalogHealed", repairs: reading.repairs, savedAs: savedAs ?? "" })
      }
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
            ? DefinitionEvent.make({ _tag: "CatalogRestored", savedAs: savedAs ?? "" })
            : DefinitionEvent.make({ _tag: "CatalogReplaced", savedAs: savedAs ?? "" })
      }
    }
  }
})

const getIfPresent = (store: ObjectStore["Service"], key: string) =>
  store.get(key).pipe(Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined)))

const backup = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const object = yield* getIfPresent(store, Catalog.backupKey)
  if (object === undefined) return undefined
  const reading = yield* Catalog.read(object.body)
  return reading._tag === "Irreparable" ? undefined : reading.catalog
})

/** What to use where there is no catalog: the backup, or a blank one. */
const substitute = Effect.fnUntraced(function* (store: ObjectStore["Service"]) {
  const copy = yield* backup(store)
  if (copy !== undefined) return { catalog: Catalog.afterLoss(copy), restored: true }
  const data = yield* store.list({ prefix: "resource=", maxKeys: 1, keysOnly: true })
  return { catalog: data.entries.length === 0 ? Catalog.empty : Catalog.blankOverData, restored: false }
})

const putAside = Effect.fnUntraced(function* (store: ObjectStore["Service"], bytes: Uint8Array) {
  const now = DateTime.formatIso(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
  const key = `${Catalog.key}.corrupted.${now.replaceAll(/[:.]/g, "-")}.backup`
  yield* store.put({ key, body: bytes, contentType: "application/octet-stream", repeatable: true })
  yield* Effect.logWarning(`the catalog ${Catalog.key} was damaged; its bytes are kept as ${key}`)
  return key
})

/** Replaces the catalog that has this ETag, or creates it. `PreconditionFailed`: another process was first. */
const commit = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  etag: string | undefined,
  catalog: Catalog.Catalog
): Effect.fn.Return<Versioned, StoreError.StoreError> {
  const lastUpdated = DateTime.formatIso(yield* DateTime.now)
  const next = { ...catalog, writeId: yield* Id.writeId, lastUpdated }
  const object = { body: Catalog.toBytes(next), contentType: "application/json" }
  // Nobody removes a catalog: one that was created does not come back by being created again.
  const condition = etag === undefined ? { ifNoneMatch: "*" as const, repeatable: true } : { ifMatch: etag }
  const written = yield* store
    .put({ key: Catalog.key, ...object, ...condition })
    .pipe(
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.fail(preconditionFailed("the catalog was removed")))
    )
  // The copy only serves recovery: the catalog itself is written, so its failure is told, not raised.
  yield* store
    .put({ key: Catalog.backupKey, ...object, repeatable: true })
    .pipe(
      Effect.catch((error) => Effect.logWarning(`the backup of the catalog could not be written: ${error.message}`))
    )
  return { catalog: next, etag: written.etag }
})

const preconditionFailed = (description: string): StoreError.StoreError =>
  new StoreError.StoreError({
    operation: "put",
    key: Catalog.key,
    reason: new StoreError.PreconditionFailed({ description })
  })

const versionNumber = (resource: Catalog.Resource): number => Number(resource.currentVersion.slice(1))

const listResources = (catalog: Catalog.Catalog): ReadonlyArray<ResourceInfo> =>
  Object.entries(catalog.resources)
    .map(([name, resource]) => {
      const { hash, primaryKey, attributes, definition } = resource.versions[resource.currentVersion]!
      const versions = Object.keys(resource.versions).length
      return { name, version: versionNumber(resource), versions, primaryKey, hash, attributes, definition }
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))

const compare = Effect.fnUntraced(function* (catalog: Catalog.Catalog, declaration: Catalog.Declaration) {
  const hash = Catalog.hash(declaration)
  const state: Comparison["state"] = !Object.hasOwn(catalog.resources, declaration.name)
    ? "New"
    : Catalog.find(catalog, declaration, hash) === undefined
      ? "Changed"
      : "Unchanged"
  return { resource: declaration.name, state }
})

const eventOf = (before: Catalog.Catalog, after: Catalog.Catalog, name: string): DefinitionEvent => {
  const now = after.resources[name]!
  if (!Object.hasOwn(before.resources, name)) {
    return DefinitionEvent.make({ _tag: "ResourceCreated", resource: name, version: versionNumber(now) })
  }
  const then = before.resources[name]!
  const attributesOf = (resource: Catalog.Resource) =>
    new Map(
      resource.versions[resource.currentVersion]!.attributes.map((attribute) => [
        attribute.path.join("."),
        JSON.stringify(attribute)
      ])
    )
  const old = attributesOf(then)
  const current = attributesOf(now)
  return DefinitionEvent.make({
    _tag: "ResourceChanged",
    resource: name,
    from: versionNumber(then),
    to: versionNumber(now),
    added: [...current.keys()].filter((path) => !old.has(path)),
    removed: [...old.keys()].filter((path) => !current.has(path)),
    changed: [...current].filter(([path, text]) => old.has(path) && old.get(path) !== text).map(([path]) => path)
  })
}
