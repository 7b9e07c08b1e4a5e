/**
 * What plugins are made with: names, storage, events, status, attributes of resources, and their removal.
 *
 * ```ts
 * import { Database } from "effect-s3db/Database"
 * import * as Plugin from "effect-s3db/Plugin"
 * import { Context, Effect, Layer, Schema } from "effect"
 *
 * const plugin = Plugin.define("greeter", { version: 1 })
 *
 * class Greeter extends Context.Service<Greeter, { readonly greet: (name: string) => Effect.Effect<number, unknown> }>()("app/Greeter") {
 *   static readonly layer = (options: Plugin.Options = {}) => Layer.effect(Greeter, Effect.gen(function* () {
 *     const self = yield* Plugin.open(plugin, options)
 *     const store = self.store(Schema.Int)
 *     yield* self.running()
 *     return { greet: (name) => Effect.tap(store.increment(name), () => self.count("greeted")) }
 *   }))
 * }
 * ```
 *
 * **Details**
 *
 * A plugin is a layer; this module has no base class, and nothing is looked up by name. What it depends on is in the input of its layer,
 * so that layers start in the order of their dependencies, and are closed the other way round. `open` gives it a name in this
 * database, a place in the store that is its own, and an entry in `statuses`; `running` says that it has come so far. All of it
 * ends with the scope.
 *
 * An instance is a plugin in a namespace. Instances of different namespaces share nothing; two openings of the same instance, in
 * one process or in several, are the same plugin twice.
 *
 * @see `docs/guide/plugins.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as AST from "effect/SchemaAST"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Catalog from "./Catalog.ts"
import * as Change from "./Change.ts"
import { Database } from "./Database.ts"
import * as DbError from "./DbError.ts"
import type { Json } from "./encoding/Json.ts"
import { satisfies } from "./internal/versionRange.ts"
import { ExpectedError } from "./internal/expectedError.ts"
import { fieldTypes } from "./internal/merge.ts"
import { percentEncode } from "./internal/text.ts"
import * as PluginStore from "./kernel/PluginStore.ts"
import type * as PluginRegistry from "./PluginRegistry.ts"
import * as Attributes from "./schema/Attributes.ts"
import { deleteAll } from "./storage/ObjectStore.ts"
import * as StoreError from "./storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A plugin, a namespace or an option that cannot be. Nothing was written. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct the field.
 * @category errors
 * @since 0.1.0
 */
export class InvalidPlugin extends ExpectedError<InvalidPlugin>("effect-s3db/Plugin/InvalidPlugin")(
  "InvalidPlugin",
  { plugin: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `plugin ${JSON.stringify(this.plugin)}, ${this.field}: ${this.problem}`
  }
}

/**
 * A package that a plugin needs and that is not there, or not in a version that fits.
 *
 * @remedy Run the command in `install`, or use the plugin without what needs the package.
 * @category errors
 * @since 0.1.0
 */
export class DependencyMissing extends ExpectedError<DependencyMissing>("effect-s3db/Plugin/DependencyMissing")(
  "DependencyMissing",
  {
    plugin: Schema.String,
    package: Schema.String,
    /** The versions that fit, as npm writes them. */
    range: Schema.String,
    /** The command that mends it. */
    install: Schema.String,
    problem: Schema.String
  },
  { httpApiStatus: 501 }
) {
  override get message(): string {
    return `plugin ${JSON.stringify(this.plugin)} needs ${this.package} ${this.range}: ${this.problem}. Run: ${this.install}`
  }
}

/**
 * An attribute that belongs to somebody else: the program that declares the resource (`owner` is `undefined`), or another instance of a
 * plugin, also if that is not there any more. Nothing was changed.
 *
 * @remedy Give the attribute another name.
 * @category errors
 * @since 0.1.0
 */
export class AttributeTaken extends ExpectedError<AttributeTaken>("effect-s3db/Plugin/AttributeTaken")(
  "AttributeTaken",
  {
    resource: Schema.String,
    attribute: Schema.String,
    /** The slug of the instance. */
    owner: Schema.UndefinedOr(Schema.String)
  },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    const owner = this.owner === undefined ? "the resource itself" : `plugin ${JSON.stringify(this.owner)}`
    return `attribute ${JSON.stringify(this.attribute)} of ${JSON.stringify(this.resource)} belongs to ${owner}`
  }
}

/**
 * A plugin that is open in this process and was to be uninstalled. Nothing was changed.
 *
 * @remedy Close its layer first, here and in all other processes.
 * @category errors
 * @since 0.1.0
 */
export class PluginOpen extends ExpectedError<PluginOpen>("effect-s3db/Plugin/PluginOpen")(
  "PluginOpen",
  { plugin: Schema.String, namespace: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    const where = this.namespace === "" ? "" : ` in namespace ${JSON.stringify(this.namespace)}`
    return `plugin ${JSON.stringify(this.plugin)}${where} is open: close its layer first`
  }
}

// -----------------------------------------------------------------------------
// Plugins
// -----------------------------------------------------------------------------

/**
 * What tells events apart.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tagged {
  readonly _tag: string
}

/**
 * A plugin, as data: its name, and what it tells.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plugin<in out Event extends Tagged = never> {
  readonly name: string
  readonly version: number
  readonly "~event"?: (event: Event) => Event
}

/**
 * Declares a plugin. `name`: 1 to 50 lower case letters and digits, in parts joined by `-`, and a letter first. `version` is that of
 * what it stores, from 1: raise it when older releases cannot read it any more, and they are refused. No check is made before it is
 * opened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = <Event extends Tagged = never>(
  name: string,
  { version }: { readonly version: number }
): Plugin<Event> => ({ name, version })

/**
 * Which instance of a plugin is meant.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Keeps several instances of a plugin in a database apart: 1 to 50 letters, digits, `-` or `_`; case and `_` for `-` make no
   * difference. Default: none, which `""` is as well.
   */
  readonly namespace?: string | undefined
}

/**
 * How an instance is opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenOptions extends Options {
  /**
   * What `statuses` calls it by, where a plugin is opened several times in a namespace: once for each queue, say. It says nothing of what is
   * stored: openings of the same instance share everything. Default: none.
   */
  readonly name?: string | undefined
}

const pluginName = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/

/**
 * Returns the form of a namespace that counts: lower case, with `-` for `_`.
 *
 * @category keys
 * @since 0.1.0
 */
export const normalizeNamespace = (namespace: string): string => namespace.toLowerCase().replaceAll("_", "-")

/**
 * Returns what the keys of an instance are named by: the name of the plugin, and the namespace after a `.`, which is in neither.
 *
 * @category keys
 * @since 0.1.0
 */
export const slugOf = (plugin: { readonly name: string }, { namespace = "" }: Options = {}): string =>
  namespace === "" ? plugin.name : `${plugin.name}.${normalizeNamespace(namespace)}`

/**
 * Returns the name of a resource that an instance keeps for itself: `plg_PLUGIN_SUFFIX`, or `plg_NAMESPACE_PLUGIN_SUFFIX`. `suffix` is of
 * lower case letters, digits and `-`.
 *
 * @category keys
 * @since 0.1.0
 */
export const resourceName = (
  plugin: { readonly name: string },
  suffix: string,
  { namespace = "" }: Options = {}
): string => ["plg", ...(namespace === "" ? [] : [normalizeNamespace(namespace)]), plugin.name, suffix].join("_")

/** Tells whether a resource is one that an instance keeps for itself. */
const isResourceOf = (resource: string, plugin: { readonly name: string }, namespace: string): boolean => {
  const [mark, ...parts] = resource.split("_")
  const own = namespace === "" ? [plugin.name] : [namespace, plugin.name]
  // No part has `_` in it: with one part more or less it is somebody else's.
  return mark === "plg" && parts.length === own.length + 1 && own.every((part, i) => parts[i] === part)
}

const checked = Effect.fnUntraced(function* (
  plugin: { readonly name: string; readonly version: number },
  { namespace = "" }: Options
): Effect.fn.Return<PluginRegistry.Entry["identity"], InvalidPlugin> {
  const { name, version } = plugin
  const refuse = (field: string, problem: string) => new InvalidPlugin({ plugin: String(name), field, problem })
  if (typeof name !== "string" || name.length > 50 || !pluginName.test(name)) {
    return yield* refuse("name", "Expected 1 to 50 lower case letters and digits, in parts joined by -, a letter first")
  }
  if (!Number.isSafeInteger(version) || version < 1) return yield* refuse("version", "Expected a whole number from 1")
  if (typeof namespace !== "string" || !/^[\w-]{0,50}$/.test(namespace)) {
    return yield* refuse("namespace", "Expected 1 to 50 letters, digits, - or _")
  }
  return { plugin: name, version, namespace: normalizeNamespace(namespace), slug: slugOf(plugin, { namespace }) }
})

// -----------------------------------------------------------------------------
// The catalog
// -----------------------------------------------------------------------------

const Installed = Schema.Struct({
  plugin: Schema.String,
  namespace: Schema.String,
  version: Schema.Int,
  /** Uninstalled instances may have left something. */
  isInstalled: Schema.Boolean
})

/**
 * An instance that the catalog knows, open or not.
 *
 * @category models
 * @since 0.1.0
 */
export interface Installed extends Schema.Schema.Type<typeof Installed> {}

const decodeInstalled = Schema.decodeUnknownResult(Installed)

const Owned = Schema.Struct({ attributes: Schema.Record(Schema.String, Schema.Literals(["owned", "orphaned"])) })
const decodeOwned = Schema.decodeUnknownResult(Owned)

/** What the catalog has beside a resource of the attributes of an instance. */
const attributesKey = (slug: string): string => `attributes:${slug}`

const unreadable = (slug: string) =>
  new StoreError.Corrupt({ description: `what the catalog says of plugin ${JSON.stringify(slug)} cannot be read` })

/** Notes an instance in the catalog, unless a newer release has. */
const install = Effect.fnUntraced(function* (
  database: Database["Service"],
  { namespace, plugin, slug, version }: PluginRegistry.Entry["identity"]
) {
  const note = Effect.fnUntraced(function* (before: Json | undefined): Effect.fn.Return<Json, StoreError.Reason> {
    const known = before === undefined ? undefined : decodeInstalled(before)
    if (known !== undefined && Result.isFailure(known)) return yield* unreadable(slug)
    if (known !== undefined && known.success.version > version) {
      const description = `plugin ${JSON.stringify(slug)} has stored what a newer release writes, version ${known.success.version}; this one knows ${version}`
      return yield* new StoreError.Unsupported({ feature: "a newer version of a plugin", description })
    }
    return { plugin, namespace, version, isInstalled: true }
  })
  yield* database.changePlugin(slug, note)
})

/**
 * Lists the instances that the catalog knows, by slug, also those that are not open. No request.
 *
 * @category getters
 * @since 0.1.0
 */
export const installed: Effect.Effect<ReadonlyArray<Installed>, never, Database> = Effect.gen(function* () {
  const all = yield* (yield* Database).plugins()
  return Object.keys(all)
    .toSorted()
    .flatMap((slug) => {
      const decoded = decodeInstalled(all[slug])
      // Who writes into the catalog without this module is no instance.
      return Result.isSuccess(decoded) && slugOf({ name: decoded.success.plugin }, decoded.success) === slug
        ? [decoded.success]
        : []
    })
})

// -----------------------------------------------------------------------------
// Instances
// -----------------------------------------------------------------------------

/**
 * An instance of a plugin that is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Instance<in out Event extends Tagged = never> {
  readonly plugin: string
  /** As it counts; empty where there is none. */
  readonly namespace: string
  readonly slug: string
  /** What the keys of this instance begin with, of its own or about a resource: for what the kernel keeps. Nothing else may be written. */
  readonly prefix: (resource?: string) => string
  /** Creates the store of this instance, of its own or about a resource. No request. */
  readonly store: <A, I>(
    schema: Schema.Codec<A, I>,
    options?: { readonly resource?: string | undefined }
  ) => PluginStore.PluginStore<A>
  /** Returns the name of a resource of this instance. Removed with it when it is purged. */
  readonly resourceName: (suffix: string) => string
  /** Says that the plugin does its work from now on. Until the scope closes it is `running`, and asked as it says here. */
  readonly running: (report?: PluginRegistry.Report) => Effect.Effect<void, never, Scope.Scope>
  /** Adds to what the plugin has counted, by default 1. */
  readonly count: (name: string, by?: number) => Effect.Effect<void>
  /** Tells an event, to `events` and to `Plugin.events`. Waits for nobody, and never fails. */
  readonly publish: (event: Event) => Effect.Effect<void>
  /** From when the stream is drawn, until the scope closes. Who is more than 1,024 behind is told how many were dropped. */
  readonly events: Stream.Stream<Event | Change.Lagged>
  /**
   * Makes attributes of a resource this instance's own: see `attributes`. The resource is registered if it is not. No request when the
   * catalog says so already; else 1 PUT, and 1 more for the backup, for each that is missing. `AttributeTaken`: the schema has a field of
   * this name that is not of this plugin, or another instance has, or had, it.
   */
  readonly claim: (
    definition: AnyDefinition,
    attributes: AttributesOf<Attributes.DocumentSchema>
  ) => Effect.Effect<void, AttributeTaken | InvalidPlugin | DbError.DbError>
  /**
   * Gives an attribute up: documents keep it, and no other plugin gets it. `false`: it is not there, or nobody's already. Requests as of
   * `claim`.
   */
  readonly release: (resource: string, attribute: string) => Effect.Effect<boolean, AttributeTaken | DbError.DbError>
}

/** Any definition, whatever its names. */
type AnyDefinition = Catalog.Declaration & { readonly schema: Attributes.DocumentSchema }

/**
 * Opens an instance of a plugin, until the scope closes. No request once the catalog has it; before that 1 PUT, and 1 more for the
 * backup. `InvalidPlugin`: its name, version or namespace is wrong. `DbError`: `Unsupported` when a newer release has stored something.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = Effect.fn("Plugin.open")(function* <Event extends Tagged = never>(
  plugin: Plugin<Event>,
  { name, ...options }: OpenOptions = {}
): Effect.fn.Return<Instance<Event>, InvalidPlugin | DbError.DbError, Database | Scope.Scope> {
  const database = yield* Database
  const identity = yield* checked(plugin, options)
  yield* DbError.named("Plugin.open")(install(database, identity))
  const registry = database.pluginRegistry
  const entry = yield* registry.add(name === undefined ? identity : { ...identity, name })
  const { namespace, slug } = identity
  const events = yield* Effect.acquireRelease(
    Change.makeHub<Event, undefined>(() => () => true, { of: slug }),
    (hub) => hub.close
  )
  const of = { plugin: identity.plugin, namespace }

  return {
    ...of,
    slug,
    prefix: (resource) => PluginStore.keyPrefix(slug, resource),
    store: (schema, { resource } = {}) =>
      PluginStore.make(database.store, { plugin: slug, schema, ...(resource === undefined ? {} : { resource }) }),
    resourceName: (suffix) => resourceName(plugin, suffix, { namespace }),
    running: (report = {}) => entry.running(report),
    count: (name, by = 1) => entry.count(name, by),
    publish: Effect.fnUntraced(function* (event: Event) {
      const at = yield* DateTime.now
      yield* events.publish(() => event)
      const name = `plugin.${identity.plugin}.${event._tag}`
      yield* registry.events.publish(() => ({ _tag: "Published", ...of, at, name, event }))
    }),
    events: events.stream(),
    claim: Effect.fn("Plugin.claim")(function* (definition, attributes) {
      yield* claim(database, identity, definition, attributes)
    }),
    release: Effect.fn("Plugin.release")(function* (resource, attribute) {
      return yield* release(database, identity, resource, [attribute])
    })
  }
})

// -----------------------------------------------------------------------------
// Status
// -----------------------------------------------------------------------------

/**
 * Asks the plugins that are open in this process how they fare, all at once; in the order in which they were opened. What that costs is
 * theirs to say.
 *
 * @category getters
 * @since 0.1.0
 */
export const statuses: Effect.Effect<ReadonlyArray<PluginRegistry.Status>, never, Database> = Effect.gen(function* () {
  const entries = yield* (yield* Database).pluginRegistry.entries
  return yield* Effect.forEach(entries, ({ status }) => status, { concurrency: "unbounded" })
}).pipe(Effect.withSpan("Plugin.statuses"))

/**
 * Gives what happens to the plugins of this process, and what they tell: see `PluginRegistry.Event`.
 *
 * @category getters
 * @since 0.1.0
 */
export const events: Effect.Effect<PluginRegistry.PluginRegistry["events"], never, Database> = Effect.map(
  Database,
  ({ pluginRegistry }) => pluginRegistry.events
)

// -----------------------------------------------------------------------------
// Attributes
// -----------------------------------------------------------------------------

/**
 * Fields that a plugin adds to a resource: optional ones, since there are documents without them.
 *
 * @category models
 * @since 0.1.0
 */
export type OwnFields = Readonly<
  Record<
    string,
    Attributes.DocumentSchema & {
      readonly "~type.optionality": "optional"
      readonly "~encoded.optionality": "optional"
    }
  >
>

type AttributesOf<F> = { readonly [K in string]: F }

const annotation = "effect-s3db/plugin"

/**
 * Declares attributes that a plugin adds to resources, as fields to be put among those of a schema.
 *
 * ```ts
 * import * as Plugin from "effect-s3db/Plugin"
 * import { Schema } from "effect"
 *
 * const tracker = Plugin.define("tracker", { version: 1 })
 * const tracked = Plugin.attributes(tracker, { seenAt: Schema.optionalKey(Schema.DateTimeUtc) })
 * const User = Schema.Struct(Plugin.withAttributes({ id: Schema.String, name: Schema.String }, tracked))
 * ```
 *
 * **Details**
 *
 * The fields know whose they are: `Instance.claim` refuses a field of the same name that is the program's own. Ids of attributes in the
 * catalog are for good: those of other fields stay as they are when attributes come and go. A program without them leaves what
 * documents have of them as it is, and gets it back when it declares them again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const attributes = <const F extends OwnFields>(plugin: { readonly name: string }, fields: F): F =>
  Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, field.annotate({ [annotation]: plugin.name })])
  ) as unknown as F

/**
 * Puts attributes of plugins among the fields of a schema. Throws `UnsupportedSchema` where a field has the name of one: that is a
 * mistake in the program, which TypeScript shows as well.
 *
 * @category constructors
 * @since 0.1.0
 */
export const withAttributes = <const F extends Schema.Struct.Fields, const G extends OwnFields>(
  fields: F & { readonly [K in keyof G]?: never },
  own: G
): F & G => {
  const twice = Object.keys(own).find((name) => Object.hasOwn(fields, name))
  if (twice !== undefined)
    throw new Attributes.UnsupportedSchema(
      `${JSON.stringify(twice)} is the name of a field and of an attribute of a plugin`
    )
  return { ...fields, ...own }
}

/**
 * Tells whose attribute a field of a schema is, by the name of the plugin; `undefined` for a field of the program.
 *
 * @category getters
 * @since 0.1.0
 */
export const ownerOf = (schema: Attributes.DocumentSchema, attribute: string): string | undefined => {
  const type = fieldTypes(AST.toType(schema.ast)).get(attribute)
  return type === undefined ? undefined : AST.resolveAt<string>(annotation)(type)
}

/**
 * An attribute of a plugin. `orphaned`: the plugin was uninstalled, or has given it up; documents keep it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attribute {
  readonly attribute: string
  /** The slug of the instance that it belongs to, or did last. */
  readonly owner: string
  readonly state: "owned" | "orphaned"
}

/** Every attribute of plugins, as registrations beside a resource say it. */
const ownedIn = (all: Readonly<Record<string, Json>>): ReadonlyArray<Attribute> =>
  Object.entries(all).flatMap(([key, value]) => {
    const decoded = decodeOwned(value)
    if (!key.startsWith("attributes:") || Result.isFailure(decoded)) return []
    const owner = key.slice("attributes:".length)
    return Object.entries(decoded.success.attributes).map(([attribute, state]) => ({ attribute, owner, state }))
  })

/**
 * Lists the attributes that plugins have, or have had, in a resource, by name. No request.
 *
 * @category getters
 * @since 0.1.0
 */
export const attributesIn = (resource: string): Effect.Effect<ReadonlyArray<Attribute>, never, Database> =>
  Effect.gen(function* () {
    const found = ownedIn(yield* (yield* Database).plugins(resource))
    return found.toSorted((a, b) => (a.attribute < b.attribute ? -1 : 1))
  })

const tell = (database: Database["Service"], { namespace, plugin }: PluginRegistry.Entry["identity"]) =>
  Effect.fnUntraced(function* (
    _tag: "AttributeClaimed" | "AttributeReclaimed" | "AttributeOrphaned",
    resource: string,
    names: ReadonlyArray<string>
  ) {
    const at = yield* DateTime.now
    for (const attribute of names) {
      yield* database.pluginRegistry.events.publish(() => ({ _tag, plugin, namespace, at, resource, attribute }))
    }
  })

const claim = Effect.fnUntraced(function* (
  database: Database["Service"],
  identity: PluginRegistry.Entry["identity"],
  definition: AnyDefinition,
  own: AttributesOf<Attributes.DocumentSchema>
) {
  const { name: resource, schema } = definition
  const types = fieldTypes(AST.toType(schema.ast))
  const names = Object.keys(own)
  for (const attribute of names) {
    if (!types.has(attribute)) {
      const problem = `Expected attribute ${JSON.stringify(attribute)} in the schema of ${JSON.stringify(resource)}: see Plugin.withAttributes`
      return yield* new InvalidPlugin({ plugin: identity.plugin, field: "schema", problem })
    }
    const owner = ownerOf(schema, attribute)
    if (owner !== identity.plugin) return yield* new AttributeTaken({ resource, attribute, owner })
  }
  let before = new Map<string, Attribute["state"]>()
  const change = Effect.fnUntraced(function* (_: Json | undefined, all: Readonly<Record<string, Json>>) {
    const taken = ownedIn(all).find((one) => one.owner !== identity.slug && names.includes(one.attribute))
    if (taken !== undefined)
      return yield* new AttributeTaken({ resource, attribute: taken.attribute, owner: taken.owner })
    const mine = ownedIn(all).filter((one) => one.owner === identity.slug)
    before = new Map(mine.map(({ attribute, state }) => [attribute, state]))
    return { attributes: Object.fromEntries([...before, ...names.map((name) => [name, "owned"] as const)]) }
  })
  // What is taken is told before anything is registered.
  yield* change(undefined, yield* database.plugins(resource))
  yield* database.register(definition)
  yield* DbError.named("Plugin.claim", resource)(database.changePlugin(attributesKey(identity.slug), change, resource))
  const told = tell(database, identity)
  yield* told(
    "AttributeReclaimed",
    resource,
    names.filter((name) => before.get(name) === "orphaned")
  )
  yield* told(
    "AttributeClaimed",
    resource,
    names.filter((name) => !before.has(name))
  )
})

/** Makes attributes nobody's, by default all that an instance has in a resource, and tells whether there were any. */
const release = Effect.fnUntraced(function* (
  database: Database["Service"],
  identity: PluginRegistry.Entry["identity"],
  resource: string,
  only?: ReadonlyArray<string>
) {
  const { slug } = identity
  let released: ReadonlyArray<string> = []
  const all = ownedIn(yield* database.plugins(resource))
  const isMeant = ({ attribute, owner, state }: Attribute) =>
    owner === slug && state === "owned" && (only?.includes(attribute) ?? true)
  const other = all.find((one) => one.owner !== slug && only?.includes(one.attribute) === true)
  if (other !== undefined)
    return yield* new AttributeTaken({ resource, attribute: other.attribute, owner: other.owner })
  if (!all.some(isMeant)) return false
  const change = (_: Json | undefined, now: Readonly<Record<string, Json>>) => {
    const mine = ownedIn(now).filter(({ owner }) => owner === slug)
    released = mine.filter(isMeant).map(({ attribute }) => attribute)
    const after = mine.map((one) => [one.attribute, isMeant(one) ? "orphaned" : one.state] as const)
    return Effect.succeed({ attributes: Object.fromEntries(after) })
  }
  yield* DbError.named("Plugin.release", resource)(database.changePlugin(attributesKey(slug), change, resource))
  yield* tell(database, identity)("AttributeOrphaned", resource, released)
  return released.length > 0
})

// -----------------------------------------------------------------------------
// Removal
// -----------------------------------------------------------------------------

/**
 * What an uninstallation did.
 *
 * @category models
 * @since 0.1.0
 */
export interface Uninstalled {
  /** How many objects were removed. */
  readonly objects: number
  /** How many attributes of resources are nobody's now. */
  readonly orphaned: number
}

/**
 * Uninstalls an instance: its attributes are nobody's, and with `purge: true` everything is removed that it has in the store: its own
 * keys, those about resources, and the resources that it keeps for itself, but for their definitions. Without, it finds all of it when it
 * is opened again. Tokens and numbers that it has given begin anew after a purge. Run it when the instance is closed in all processes; run it again when it was interrupted.
 *
 * Requests: with `purge` 1 LIST for the instance and 1 for each resource in the catalog, and for each 1,000 objects 1 LIST and 1
 * DeleteObjects; 2 PUT for each resource with attributes; 2 PUT.
 *
 * @category constructors
 * @since 0.1.0
 */
export const uninstall = Effect.fn("Plugin.uninstall")(function* (
  plugin: { readonly name: string; readonly version: number },
  { purge = false, ...options }: Options & { readonly purge?: boolean | undefined } = {}
): Effect.fn.Return<Uninstalled, InvalidPlugin | PluginOpen | DbError.DbError, Database> {
  const database = yield* Database
  const identity = yield* checked(plugin, options)
  const { namespace, slug } = identity
  const open = yield* database.pluginRegistry.entries
  if (open.some((entry) => entry.identity.slug === slug))
    return yield* new PluginOpen({ plugin: plugin.name, namespace })
  // Others may have created resources.
  yield* database.refresh
  const resources = (yield* database.listResources).map(({ name }) => name)
  let orphaned = 0
  for (const resource of resources) {
    const mine = ownedIn(yield* database.plugins(resource)).filter((one) => one.owner === slug && one.state === "owned")
    if (mine.length === 0) continue
    // Without names it is about its own alone.
    yield* Effect.catchTag(release(database, identity, resource), "AttributeTaken", Effect.die)
    orphaned += mine.length
  }
  let objects = 0
  if (purge) {
    const prefixes = [
      PluginStore.keyPrefix(slug),
      ...resources.map((resource) =>
        isResourceOf(resource, plugin, namespace)
          ? `resource=${percentEncode(resource)}/`
          : PluginStore.keyPrefix(slug, resource)
      )
    ]
    for (const prefix of prefixes) {
      objects += yield* DbError.named("Plugin.uninstall")(deleteAll(database.store, prefix, () => true))
    }
  }
  const note = (before: Json | undefined): Effect.Effect<Json | undefined> => {
    const known = Option.getOrUndefined(Result.getSuccess(decodeInstalled(before)))
    return Effect.succeed(purge || known === undefined ? undefined : { ...known, isInstalled: false })
  }
  yield* database.changePlugin(slug, note)
  return { objects, orphaned }
})

// -----------------------------------------------------------------------------
// Services
// -----------------------------------------------------------------------------

/**
 * A class that is the service of a plugin and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  in out Shape,
  out E,
  out R
> extends Context.ServiceClass<Self, Id, Shape> {
  /** The same reference each time, so that it is built once. */
  readonly layer: Layer.Layer<Self, E, R>
}

/**
 * Declares a service of a plugin by what opens it, for the class that `extends` it. Nothing happens before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const service =
  <Self>() =>
  <const Id extends string, Shape, E, R>(
    id: Id,
    make: Effect.Effect<Shape, E, R>
  ): ServiceClass<Self, Id, Shape, E, Exclude<R, Scope.Scope>> => {
    const made = Context.Service<Self, Shape>()(id)
    return Object.assign(made, { layer: Layer.effect(made, make) })
  }

// -----------------------------------------------------------------------------
// Packages
// -----------------------------------------------------------------------------

/**
 * An optional package.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dependency<A> {
  /** The name at the registry. */
  readonly package: string
  /** The versions that fit: alternatives by `||` of `^1.2.3`, `~1.2.3`, `>=1.2.3` or `1.2.3`, also with fewer numbers. */
  readonly range: string
  /** Imports it: `() => import("ioredis")`, written out, so that bundlers see it. */
  readonly load: () => PromiseLike<A>
  /** Its version, where the module says it. Default: it is taken to fit. */
  readonly version?: ((module: A) => string | undefined) | undefined
  /** The command that installs it. Default: `npm install PACKAGE@RANGE`. */
  readonly install?: string | undefined
}

/**
 * Imports a package that is there only if somebody has installed it: in the layer of the plugin, so that who does not use the plugin needs
 * no such package.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dependency = <A>(
  plugin: { readonly name: string },
  { install, load, package: name, range, version }: Dependency<A>
): Effect.Effect<A, DependencyMissing> => {
  const missing = (problem: string) =>
    new DependencyMissing({
      plugin: plugin.name,
      package: name,
      range,
      problem,
      install: install ?? `npm install "${name}@${range}"`
    })
  return Effect.flatMap(
    Effect.tryPromise({
      try: () => load(),
      catch: (error) =>
        missing(isNotFound(error, name) ? "it is not installed" : `it could not be loaded (${firstLineOf(error)})`)
    }),
    (module) => {
      const found = version?.(module)
      return found === undefined || satisfies(found, range)
        ? Effect.succeed(module)
        : Effect.fail(missing(`version ${found} is installed`))
    }
  )
}

/** Whether it is this package that is not there, and not one that it needs itself. */
const isNotFound = (error: unknown, name: string): boolean => {
  if (!(error instanceof Error) || !("code" in error)) return false
  const isMissing = error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND"
  return isMissing && error.message.includes(`'${name}'`)
}

const firstLineOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n")[0]!.slice(0, 200)
