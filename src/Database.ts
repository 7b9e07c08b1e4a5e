/**
 * One database: a prefix of an object store with a catalog of resources.
 *
 * Provide an `ObjectStore` and this layer, and any number of resources can be opened on it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "./internal/duration.ts"
import * as Change from "./Change.ts"
import * as Catalog from "./Catalog.ts"
import * as CatalogCell from "./catalog/cell.ts"
import * as CatalogLease from "./catalog/lease.ts"
import { leastSaltBytes, newSalt, open } from "./catalog/open.ts"
import * as DbError from "./DbError.ts"
import type { Json } from "./encoding/Json.ts"
import * as Observation from "./Observation.ts"
import * as Pipeline from "./Pipeline.ts"
import * as PluginRegistry from "./PluginRegistry.ts"
import * as ReadThrough from "./ReadThrough.ts"
import * as Journal from "./kernel/Journal.ts"
import type * as PackedObjects from "./kernel/PackedObjects.ts"
import * as StoreClock from "./kernel/StoreClock.ts"
import type { Attribute } from "./schema/Attributes.ts"
import { decodeBase64 } from "./internal/base64.ts"
import { type Capabilities, ObjectStore } from "./storage/ObjectStore.ts"
import * as InstrumentedStore from "./storage/InstrumentedStore.ts"
import * as journaling from "./document/journaling.ts"
import * as sweep from "./document/sweep.ts"
import * as StoreError from "./storage/StoreError.ts"
import * as Transaction from "./Transaction.ts"
import type * as Unique from "./Unique.ts"

/**
 * The options of a database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * `false`, the default: every mutation is a conditional write, safe with any number of writers; a store that does not
   * honour conditions is refused. `true`: such a store is accepted, conditions are then checked by this process alone, at
   * the cost of one HEAD for each conditional write. Never let two processes write to it.
   */
  readonly singleWriter?: boolean | undefined
  /**
   * How long this program goes by what it knows of the catalog. Who writes, or reads through a partition or unique key, when
   * that is older looks whether the catalog has changed: 1 HEAD for all who do so at the time. So a program that is open
   * keeps up what a newer one declares. `backfill`, `recount` and what removes an index wait for as long, and a tenth more,
   * so that all programs know. Default 5 seconds; a longer one is noted in the catalog (2 PUT), so that others wait for it.
   *
   * `0`: definitions change only while no other program is open. Nothing is looked at, nor waited for.
   */
  readonly catalogLease?: Duration.Input | undefined
  /**
   * Whether the bodies of documents are compressed in resources that do not say so themselves: see `Definition.Settings`. Default:
   * in those that are new.
   */
  readonly compression?: boolean | undefined
  /** Where the journal lies, and what its log is like. All programs have to say the same. */
  readonly journal?: Journal.Options | undefined
}

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
 * What the catalog says of the partitions, companions and unique keys of a resource, and of the versions that know their fields. The same
 * reference as long as it says the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Indexes = Partial<Pick<Catalog.Upkeep, "partitions" | "companions" | "uniques" | "removals" | "versions">>

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
 * What is open in a database, by the name of the resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenResources {
  /** Held while a resource of this name is opened, so that it is opened once. */
  readonly lockOf: (name: string) => Semaphore.Semaphore
  readonly open: Map<string, unknown>
  /** Interceptors of the whole database. */
  readonly shared: Pipeline.Shared
  /** What stands between reads and documents. */
  readonly readThrough: ReadThrough.Registry
  /** Who is told of operations and requests. */
  readonly observers: Observation.Registry
  /** Copies of all documents of a resource, for reads of all of them, by the name of the resource. */
  readonly packed: Map<string, PackedObjects.PackedObjects>
}

/** A lock for each name. */
const locks = (): OpenResources["lockOf"] => {
  const byName = new Map<string, Semaphore.Semaphore>()
  return (name) => {
    const lock = byName.get(name) ?? Semaphore.makeUnsafe(1)
    byName.set(name, lock)
    return lock
  }
}

/**
 * One open database: its store, its catalog, and what is open in it.
 *
 * @category services
 * @since 0.1.0
 */
export class Database extends Context.Service<
  Database,
  {
    /** Tells this open database from others, also from those of the same store. */
    readonly id: symbol
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
     * it; else 1 PUT, and 1 more for the backup, for all that are registered at the same time, or while another write of the
     * catalog is on its way. Two processes that register at once both succeed. `Unsupported`: a
     * partition or unique key, of this declaration or in the catalog, would write a secret into keys.
     */
    readonly register: (declaration: Catalog.Declaration) => Effect.Effect<Catalog.Registered, DbError.DbError>
    /**
     * Random bytes that belong to this database, from which the keys of secret fields and the signatures of cursors are
     * made. No request, but for a catalog without them: 1 PUT, and 1 more for the backup.
     */
    readonly salt: Effect.Effect<Uint8Array, DbError.DbError>
    /** The partitions and unique keys that writers of a resource keep up, by name. No request. */
    readonly indexes: (resource: string) => Effect.Effect<Indexes>
    /** All that writers of a resource keep up, as the catalog is known now, if it has that resource. No request. */
    readonly upkeep: (resource: string) => Catalog.Upkeep | undefined
    /**
     * Sees to it that what is known of the catalog is no older than `Options.catalogLease`. No request within it; after it 1
     * HEAD for all who ask at the time, and 1 GET if the catalog has changed.
     */
    readonly fresh: Effect.Effect<void, DbError.Failure>
    /** Whether it is, by the clock of the fiber that runs. No request. */
    readonly isFresh: () => boolean
    /**
     * Waits until every program that is open knows what is to be kept up of a resource: a tenth longer than
     * `Options.catalogLease` since this program has seen it. No request.
     */
    readonly known: (resource: string) => Effect.Effect<void>
    /**
     * Makes another version of a resource, by its number, the one that counts: its `history`, `content`, `counters` and
     * `uniqueLease` are what all writers keep up. 1 GET; if another one is current, 1 PUT, and 1 more for the backup.
     */
    readonly makeCurrent: (resource: string, version: number) => Effect.Effect<void, DbError.DbError>
    /**
     * Changes what the catalog says of the indexes of a resource: `change` is given what it says, again when others were
     * first. No request when it leaves that as it is; else 1 PUT, and 1 more for the backup.
     */
    readonly changeIndexes: <E = never>(
      resource: string,
      change: (now: Catalog.Resource) => Effect.Effect<Catalog.Resource, E>
    ) => Effect.Effect<void, DbError.Named<E> | DbError.DbError>
    /**
     * Gives a blind unique key other keys of the ring, as long as it has this definition. No request when `change` gives the
     * same; else 1 PUT, and 1 more for the backup.
     */
    readonly setUniqueKeys: (
      resource: string,
      name: string,
      definition: Unique.Definition,
      change: (keys: ReadonlyArray<Catalog.UniqueKey>) => ReadonlyArray<Catalog.UniqueKey>
    ) => Effect.Effect<void, DbError.DbError>
    /** What plugins have registered in the catalog, for one resource or for the database, by their names. No request. */
    readonly plugins: (resource?: string) => Effect.Effect<Catalog.Registrations>
    /**
     * Registers what a plugin has to say in the catalog, for one resource or for the database; `undefined` forgets it. No
     * request when the catalog says the same; else 1 PUT, and 1 more for the backup. `InvalidArgument`: no such resource.
     */
    readonly setPlugin: (
      plugin: string,
      value: Json | undefined,
      resource?: string
    ) => Effect.Effect<void, DbError.DbError>
    /**
     * Changes what a plugin has registered: `change` is given what it has, and what all plugins have, again when others were
     * first. Requests and errors as of `setPlugin`.
     */
    readonly changePlugin: <E = never>(
      plugin: string,
      change: (before: Json | undefined, all: Catalog.Registrations) => Effect.Effect<Json | undefined, E>,
      resource?: string
    ) => Effect.Effect<void, DbError.Named<E> | DbError.DbError>
    /** The plugins that are open in this process: see `Plugin.open` and `Plugin.statuses`. */
    readonly pluginRegistry: PluginRegistry.PluginRegistry
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
     * `dryRun: false` removes the records. One LIST for each 1,000 records; for each 1 GET, the requests of its documents and 1 DELETE.
     */
    readonly repairTransactions: (options?: sweep.SweepOptions) => Stream.Stream<sweep.Swept, DbError.DbError>
    /** Compares declarations with the catalog, without registering any. No request. */
    readonly compare: (declarations: ReadonlyArray<Catalog.Declaration>) => Effect.Effect<ReadonlyArray<Comparison>>
    /**
     * Adds an interceptor to the resources whose names are selected (`"*"`: to all), also to those that are opened later,
     * until the scope closes. It does not know their types: values are `unknown`.
     */
    readonly intercept: <const K extends Pipeline.OperationName = Pipeline.OperationName>(
      select: "*" | ReadonlyArray<string> | ((resource: string) => boolean),
      interceptor: Pipeline.Interceptor<Pipeline.AnyOperations, K>
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * Puts something between the reads and the documents of the resources whose names are selected (`"*"`: of all), below
     * all interceptors, also of those that are opened later, until the scope closes. See `ReadThrough`.
     */
    readonly readThrough: (
      select: "*" | ReadonlyArray<string> | ((resource: string) => boolean),
      readThrough: ReadThrough.ReadThrough
    ) => Effect.Effect<void, never, Scope.Scope>
    /**
     * Tells an observer of every operation and request of this process in this database when it has ended, until the scope closes. See
     * `Observation`.
     */
    readonly observe: (observer: Observation.Observer) => Effect.Effect<void, never, Scope.Scope>
    /** The changes that this process makes of documents of all resources. See `Change` for what is promised. */
    readonly changes: Change.Feed<unknown>
    /**
     * The journal of the resources that declare one. Writers leave their entries; somebody has to keep it:
     * the layer of `plugins/Journaler`, or `journal.run(journaled)`, in at least one program.
     */
    readonly journal: Journal.Journal
    /** What whoever keeps the journal asks of the documents. */
    readonly journaled: Journal.Documents
    /** What is open: for what opens resources, which are the same for all that open them. */
    readonly resources: OpenResources
    /** What happened to the catalog since it was opened, from the beginning (the last 256 events) and then live. */
    readonly definitionEvents: Stream.Stream<Catalog.Event>
    /**
     * Tells of resources that are created in the catalog (`ResourceCreated`) and opened by this process
     * (`ResourceOpened`), and that the layer of the database is closed (`Closed`). Handlers never delay or fail what they
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
 * known is probed once, and the result remembered in the catalog. A healthy catalog is never written on opening, but to note
 * a `catalogLease` that is longer than any before.
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
  const events = yield* PubSub.unbounded<Catalog.Event>({ replay: 256 })
  const lifecycle = yield* Change.makeLifecycle()
  const changes = yield* Change.makeFeed<unknown>()
  const shared = yield* Pipeline.makeShared
  const readThrough = ReadThrough.makeRegistry()
  const observers = Observation.make()
  const resources: OpenResources = {
    lockOf: locks(),
    open: new Map(),
    shared,
    readThrough,
    observers,
    packed: new Map()
  }
  const leaseMillis = yield* DbError.named("Database.open")(leaseOf(options))
  const age = StoreClock.startUnsafe()
  const opened = yield* open(yield* ObjectStore, {
    singleWriter: options.singleWriter === true,
    onEvent: (event) => PubSub.publish(events, event)
  }).pipe(DbError.named("Database.open"))
  const { capabilities } = opened
  const store = InstrumentedStore.observed(opened.store, observers)
  const sightings = yield* CatalogLease.watch
  const catalog = yield* CatalogCell.make(store, { version: opened.version, age, onSeen: sightings.onSeen })
  const lease = CatalogLease.make(catalog, sightings, leaseMillis)
  // Those who wait until all know something have to know how long.
  const isLonger = (found: Catalog.Catalog) => leaseMillis > (found.lease ?? CatalogLease.defaultMillis)
  if (isLonger(catalog.now())) {
    yield* catalog
      .change((found) => Effect.succeed(isLonger(found) ? { ...found, lease: leaseMillis } : found))
      .pipe(DbError.named("Database.open"))
  }

  const register = Effect.fn("Database.register")(
    function* (declared: Catalog.Declaration) {
      const hash = Catalog.hash(declared)
      const { compression = options.compression } = declared
      const declaration = compression === undefined ? declared : { ...declared, compression }
      const current = yield* catalog.current
      yield* refuseExposed(current, declaration)
      const known = Catalog.find(current, declaration, hash)
      if (known !== undefined) return known
      const createdAt = DateTime.formatIso(yield* DateTime.now)
      let made: { readonly before: Catalog.Catalog; readonly after: Catalog.Catalog } | undefined
      const change = Effect.fnUntraced(function* (found: Catalog.Catalog) {
        made = undefined
        yield* refuseExposed(found, declaration)
        if (Catalog.find(found, declaration, hash) !== undefined) return found
        const [misplaced] = Catalog.misplaced(found, declaration.name)
        // What is stored under that id would be out of reach for good.
        if (misplaced !== undefined) {
          return yield* new StoreError.Corrupt({ description: Catalog.describeMisplaced(misplaced) })
        }
        const refusal = Catalog.refusal(found, declaration)
        if (refusal !== undefined) return yield* new StoreError.InvalidArgument(refusal)
        const next = Catalog.register(found, declaration, hash, createdAt)
        made = { before: found, after: next }
        return next
      })
      const after = yield* catalog.change(change)
      if (made !== undefined) yield* tellOf(declaration.name, made.before, made.after)
      return yield* Effect.fromNullishOr(Catalog.find(after, declaration, hash)).pipe(Effect.orDie)
    },
    (effect, { name }) => DbError.named("Database.register", name)(effect)
  )

  const tellOf = Effect.fnUntraced(function* (resource: string, before: Catalog.Catalog, after: Catalog.Catalog) {
    yield* PubSub.publish(events, Catalog.eventOf(before, after, resource))
    if (!Object.hasOwn(before.resources, resource)) yield* tell(lifecycle, "ResourceCreated", resource)
  })

  const salt = Effect.gen(function* () {
    const salted = Effect.fnUntraced(function* (found: Catalog.Catalog) {
      return found.salt === undefined ? { ...found, salt: yield* newSalt } : found
    })
    const now = yield* catalog.current
    const { salt } = now.salt === undefined ? yield* catalog.change(salted) : now
    const bytes = decodeBase64(salt ?? "")
    if (bytes !== undefined && bytes.length >= leastSaltBytes) return bytes
    const description = `the salt in the catalog is not base 64 of ${leastSaltBytes} bytes or more; restore it from the backup of the catalog`
    return yield* new StoreError.Corrupt({ description })
  }).pipe(DbError.named("Database.salt"))

  const changePlugin = <E>(
    plugin: string,
    change: (before: Json | undefined, all: Catalog.Registrations) => Effect.Effect<Json | undefined, E>,
    resource: string | undefined
  ) =>
    catalog
      .change(
        Effect.fnUntraced(function* (found: Catalog.Catalog) {
          if (resource !== undefined && !Object.hasOwn(found.resources, resource)) {
            const description = `the catalog has no resource called ${JSON.stringify(resource)}`
            return yield* new StoreError.InvalidArgument({ argument: "resource", description })
          }
          const all = Catalog.pluginsOf(found, resource)
          const value = yield* change(Object.hasOwn(all, plugin) ? all[plugin] : undefined, all)
          return Catalog.setPlugin(found, plugin, value, resource)
        })
      )
      .pipe(Effect.asVoid)

  const pluginRegistry = yield* PluginRegistry.make
  const id = Symbol("effect-s3db/Database")

  return {
    id,
    store,
    capabilities,
    listResources: Effect.map(catalog.current, listResources),
    refresh: DbError.named("Database.refresh")(catalog.refresh),
    register,
    salt,
    indexes: (resource) => Effect.map(catalog.current, (found) => Catalog.upkeepOf(found, resource) ?? noIndexes),
    upkeep: keptUp(catalog.now),
    fresh: lease.fresh,
    isFresh: lease.isFresh,
    known: lease.known,
    makeCurrent: Effect.fn("Database.makeCurrent")(function* (resource, version) {
      // Others may have registered newer ones.
      yield* Effect.andThen(
        catalog.refresh,
        catalog.change((found) => Effect.succeed(Catalog.makeCurrent(found, resource, version)))
      ).pipe(DbError.named("Database.makeCurrent", resource))
    }),
    changeIndexes: (resource, change) =>
      catalog
        .change((found) => {
          const now = Object.hasOwn(found.resources, resource) ? found.resources[resource] : undefined
          return now === undefined
            ? Effect.succeed(found)
            : Effect.map(change(now), (after) => Catalog.withResource(found, resource, after))
        })
        .pipe(Effect.asVoid, DbError.named("Database.changeIndexes", resource)),
    setUniqueKeys: Effect.fn("Database.setUniqueKeys")(function* (resource, name, definition, change) {
      yield* catalog
        .change((found) => Effect.succeed(Catalog.setUniqueKeys(found, resource, name, definition, change)))
        .pipe(DbError.named("Database.setUniqueKeys", resource))
    }),
    plugins: (resource) => Effect.map(catalog.current, (found) => Catalog.pluginsOf(found, resource)),
    setPlugin: Effect.fn("Database.setPlugin")(function* (plugin, value, resource) {
      const set = changePlugin(plugin, () => Effect.succeed(value), resource)
      yield* DbError.named("Database.setPlugin", resource)(set)
    }),
    changePlugin: (plugin, change, resource) =>
      DbError.named("Database.changePlugin", resource)(changePlugin(plugin, change, resource)),
    pluginRegistry,
    transaction: (effect, options) =>
      Effect.withSpan(
        InstrumentedStore.withRequests(Transaction.run({ id, store }, effect, options)),
        "Database.transaction"
      ),
    repairTransactions: (options) =>
      Stream.mapError(sweep.sweep(store, capabilities, options), DbError.fromStore("Database.repairTransactions")),
    compare: Effect.fnUntraced(function* (declarations) {
      const now = yield* catalog.current
      const compared = declarations.map((declaration) => compare(now, declaration))
      const declared = new Set(declarations.map((declaration) => declaration.name))
      const undeclared = Object.keys(now.resources).filter((name) => !declared.has(name))
      return [...compared, ...undeclared.map((resource) => ({ resource, state: "Undeclared" as const }))]
    }),
    intercept: (select, interceptor) => shared.add(selecting(select), interceptor),
    readThrough: (select, one) => readThrough.add(selecting(select), one),
    observe: observers.add,
    changes,
    journal: yield* Journal.make(store, options.journal),
    journaled: journaling.make(store, capabilities),
    resources,
    definitionEvents: Stream.fromPubSub(events),
    lifecycle
  }
})

/**
 * Tells the listeners of a database of an event, now.
 *
 * @category combinators
 * @since 0.1.0
 */
export const tell = Effect.fnUntraced(function* (
  lifecycle: Change.Lifecycle,
  tag: Change.LifecycleEvent["_tag"],
  resource?: string
) {
  const at = yield* DateTime.now
  yield* lifecycle.publish(() => ({ _tag: tag, resource: Option.fromUndefinedOr(resource), at }))
})

/** Until it is open there is nothing to close: who waits for a store that does not answer may be interrupted. */
const scoped = (options: Options) =>
  Effect.acquireRelease(
    make(options),
    ({ changes, lifecycle, pluginRegistry }) =>
      tell(lifecycle, "Closed").pipe(
        Effect.andThen(lifecycle.close),
        Effect.andThen(changes.close),
        Effect.andThen(pluginRegistry.events.close)
      ),
    { interruptible: true }
  )

/**
 * The database at the root of the `ObjectStore`, with default options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Database, DbError.DbError, ObjectStore> = Layer.effect(Database, scoped({}))

/**
 * Opens the database at the root of the `ObjectStore`, with options. Bind the result to a constant: each call makes a layer of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Database, DbError.DbError, ObjectStore> =>
  Layer.effect(Database, scoped(options))

const selecting = (select: "*" | ReadonlyArray<string> | ((resource: string) => boolean)) =>
  typeof select === "function" ? select : (name: string) => select === "*" || select.includes(name)

/** What is kept up of each resource by the catalog as it is now, looked for once for each catalog. */
const keptUp = (now: () => Catalog.Catalog) => {
  let of: Catalog.Catalog | undefined
  const found = new Map<string, Catalog.Upkeep | undefined>()
  // A write asks several times for the same.
  const last: { resource: string | undefined; upkeep: Catalog.Upkeep | undefined } = {
    resource: undefined,
    upkeep: undefined
  }
  return (resource: string): Catalog.Upkeep | undefined => {
    const catalog = now()
    if (catalog !== of) {
      found.clear()
      of = catalog
      last.resource = undefined
    }
    if (last.resource === resource) return last.upkeep
    const known = found.get(resource)
    const upkeep = known !== undefined || found.has(resource) ? known : Catalog.upkeepOf(catalog, resource)
    found.set(resource, upkeep)
    last.resource = resource
    last.upkeep = upkeep
    return upkeep
  }
}

const noIndexes: Indexes = {}

/** No index may write into keys what is secret. */
const refuseExposed = (catalog: Catalog.Catalog, declaration: Catalog.Declaration) => {
  const description = Catalog.exposed(catalog, declaration)
  return description === undefined
    ? Effect.void
    : Effect.fail(new StoreError.Unsupported({ feature: "an index by a secret", description }))
}

const leaseOf = ({ catalogLease = CatalogLease.defaultMillis }: Options) => {
  const millis = millisecondsOf(catalogLease)
  const description = "Expected a duration of 0 or more, and an end of it"
  return Number.isFinite(millis) && millis >= 0
    ? Effect.succeed(millis)
    : Effect.fail(new StoreError.InvalidArgument({ argument: "catalogLease", description }))
}

const versionNumber = (resource: Catalog.Resource): number => Number(resource.currentVersion.slice(1))

const listResources = (catalog: Catalog.Catalog): ReadonlyArray<ResourceInfo> =>
  Object.entries(catalog.resources)
    .map(([name, resource]) => {
      const { hash, primaryKey, attributes, definition } = resource.versions[resource.currentVersion]!
      const versions = Object.keys(resource.versions).length
      return { name, version: versionNumber(resource), versions, primaryKey, hash, attributes, definition }
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))

const compare = (catalog: Catalog.Catalog, declaration: Catalog.Declaration): Comparison => {
  const hash = Catalog.hash(declaration)
  const state = !Object.hasOwn(catalog.resources, declaration.name)
    ? "New"
    : Catalog.find(catalog, declaration, hash) === undefined
      ? "Changed"
      : "Unchanged"
  return { resource: declaration.name, state }
}
