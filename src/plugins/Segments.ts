/**
 * Scans, queries and aggregations of whole resources that do not pay one request for each document: copies of all documents in a few
 * large objects, kept up to date in the background.
 *
 * ```ts
 * import * as Database from "effect-s3db/Database"
 * import * as Resource from "effect-s3db/Resource"
 * import * as Segments from "effect-s3db/plugins/Segments"
 * import { Layer, Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("orders", {
 *   schema: Schema.Struct({ id: Schema.String, country: Schema.String, amount: Schema.Number }),
 *   primaryKey: "id"
 * }) {}
 *
 * const App = Segments.layer({ resources: [Orders] }).pipe(
 *   Layer.provideMerge(Orders.layer),
 *   Layer.provideMerge(Database.layer)
 * )
 * ```
 *
 * **Details**
 *
 * As long as the layer lives, `scan`, `query`, `aggregate` and what else looks at every document goes by copies, in this process. What they give
 * is what they give without: each document as of the start or later. For each 1,000 documents 1 LIST says which copies are as new
 * as the documents; the others are read by themselves.
 *
 * Copies are made by a compaction, every few minutes, in one process at a time, by a lease. Writes pay nothing. A program that only
 * reads says `compact: false`. What is in the store can be removed at any time: `remove`, or `Plugin.uninstall`.
 *
 * **Gotchas**
 *
 * In a transaction documents are read by themselves. On a store that lists in no order nothing is copied.
 *
 * @see `docs/guide/scans.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import * as Document from "../Document.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as Lease from "../kernel/Lease.ts"
import * as PackedObjects from "../kernel/PackedObjects.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import type { Admin } from "../Repository.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An option that cannot be, or a resource that was given twice. Nothing was written.
 *
 * @remedy Correct the option that `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidSegments extends ExpectedError<InvalidSegments>("effect-s3db/plugins/Segments/InvalidSegments")(
  "InvalidSegments",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `segments, ${this.field}: ${this.problem}`
  }
}

/**
 * A resource of which this layer keeps no copies.
 *
 * @remedy Name the resource in `resources` of the layer, and ask for it by its name in the store: `orders` of `app/orders`.
 * @category errors
 * @since 0.1.0
 */
export class NotSegmented extends ExpectedError<NotSegmented>("effect-s3db/plugins/Segments/NotSegmented")(
  "NotSegmented",
  { resource: Schema.String },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    return `no segments are kept of ${JSON.stringify(this.resource)}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A resource as its class gives it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source<out R> extends Effect.Effect<{ readonly admin: Effect.Effect<Pick<Admin, "pack">> }, never, R> {
  readonly definition: { readonly name: string }
}

/**
 * What a compaction has done with a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compacted extends PackedObjects.Summary {
  readonly _tag: "Compacted"
  readonly resource: string
}

/**
 * A compaction that could not come to its end. What it had done by then counts; it is tried again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failed {
  readonly _tag: "Failed"
  readonly resource: string
  readonly why: string
}

/**
 * What this layer tells.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = Compacted | Failed

/**
 * Of which resources copies are kept, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R = unknown>
  extends Plugin.Options, Pick<PackedObjects.Options, "bytesPerPack" | "compression" | "grace" | "leastChanges"> {
  /** The classes of the resources, each once. */
  readonly resources: ReadonlyArray<Source<R>>
  /** `false`: this process reads copies, and makes none but by `compactNow`. Default `true`. */
  readonly compact?: boolean | undefined
  /** The pause after a compaction. 1 second to 1 day; default: 5 minutes. */
  readonly every?: Duration.Input | undefined
  /** How long a process that stands still keeps others from compacting. 3 seconds to 1 day; default: 1 minute. */
  readonly lease?: Duration.Input | undefined
  /** The most documents of a segment. 1 to 65,536. Default: 4,000. */
  readonly documentsPerSegment?: number | undefined
  /**
   * How many bytes of what this process writes are kept, for each resource, until a compaction here has packed it, so that it does not read
   * it: what was written longest ago goes first. Default: 16 MiB; 0 with `compact: false`.
   */
  readonly writtenBytes?: number | undefined
}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("segments", { version: 1 })

/**
 * The copies of some resources of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Segments extends Context.Service<
  Segments,
  {
    /**
     * Brings the copies of a resource, by default of all, up to what is there, in this process: after an import, say. Should another process
     * do so at the same time, both do the work, and no harm. Requests: see `Admin.pack`. `NotSegmented`.
     */
    readonly compactNow: (resource?: string) => Effect.Effect<ReadonlyArray<Compacted>, NotSegmented | DbError.DbError>
    /**
     * Since when the copies of a resource are whole: a read with a `maxStaleness` of that age or more lists nothing. `None`: fewer documents than
     * `leastChanges` have been left out of some, or there are none yet. 1 GET. `NotSegmented`.
     */
    readonly wholeSince: (
      resource: string
    ) => Effect.Effect<Option.Option<DateTime.Utc>, NotSegmented | DbError.DbError>
    /**
     * Removes all copies of a resource. Reads go on with its documents, until the next compaction. Per 1,000 segments 2 LIST and 1 DeleteObjects,
     * and 3 GET and 3 PUT. `NotSegmented`.
     */
    readonly remove: (resource: string) => Effect.Effect<void, NotSegmented | DbError.DbError>
    /** What this process does, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly events: Stream.Stream<Event | Change.Lagged>
  }
>()("effect-s3db/plugins/Segments") {}

/**
 * What the layer may fail with.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidSegments | Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const defaultWrittenBytes = 16 * 1024 * 1024

const check = Effect.fnUntraced(function* ({ every = "5 minutes", lease = "1 minute", resources }: Options) {
  const within = Effect.fnUntraced(function* (field: string, given: Duration.Input, least: number) {
    const duration = Duration.fromInput(given)
    const millis = Option.isNone(duration) ? Number.NaN : Duration.toMillis(duration.value)
    if (millis >= least && millis <= 86_400_000) return Duration.millis(millis)
    return yield* new InvalidSegments({ field, problem: `Expected a duration from ${least} ms to 1 day` })
  })
  // Those that a program without types gives by their names alone.
  const other = resources.findIndex((resource) => !("definition" in Object(resource)))
  if (other >= 0) {
    return yield* new InvalidSegments({
      field: "resources",
      problem: `Expected a resource, such as Orders, at ${other}`
    })
  }
  const names = resources.map(({ definition }) => definition.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) {
    return yield* new InvalidSegments({ field: "resources", problem: `Expected ${JSON.stringify(twice)} once` })
  }
  return { every: yield* within("every", every, 1000), lease: yield* within("lease", lease, 3000) }
})

/**
 * Keeps copies until the scope closes. No request but those of `Plugin.open`; compactions begin at once, in the background.
 *
 * `InvalidSegments`: an option is wrong, or a resource was given twice, or another layer has copies of it. `InvalidPlugin`: the
 * namespace is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Segments.make")(function* <R>(
  options: Options<R>
): Effect.fn.Return<Segments["Service"], LayerError, Database | Scope.Scope | R> {
  const { bytesPerPack, compact = true, compression, documentsPerSegment, grace, leastChanges } = options
  const { writtenBytes = compact ? defaultWrittenBytes : 0 } = options
  const { every, lease } = yield* check(options)
  const { resources, store } = yield* Database
  const self = yield* Plugin.open(plugin, options)

  const kept = yield* Effect.forEach(
    options.resources,
    Effect.fnUntraced(function* (source) {
      const { name } = source.definition
      const { pack } = yield* (yield* source).admin
      const prefix = self.prefix(name)
      const copies = yield* Effect.try({
        try: () =>
          PackedObjects.make(store, {
            listed: Document.keyPrefix(name),
            prefix: `${prefix}packed`,
            select: Document.idTest(name),
            objectsPerPack: documentsPerSegment,
            bytesPerPack,
            compression,
            grace,
            leastChanges,
            writtenBytes
          }),
        catch: (error) => {
          const problem = error instanceof Error ? error.message : String(error)
          return new InvalidSegments({
            field: name,
            problem: problem.replace(/^objectsPerPack(?=:)/, "documentsPerSegment")
          })
        }
      })
      if (resources.packed.has(name)) {
        const problem = `${JSON.stringify(name)} has segments by another layer`
        return yield* new InvalidSegments({ field: "resources", problem })
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => resources.packed.set(name, copies)),
        () => Effect.sync(() => resources.packed.delete(name))
      )
      const compacted = (token?: number) =>
        Effect.tap(
          Effect.map(pack(copies, { token }), (summary): Compacted => ({
            _tag: "Compacted",
            resource: name,
            ...summary
          })),
          (event) => Effect.andThen(self.count("packs", event.packs), self.publish(event))
        )
      const wholeSince = Effect.map(DbError.named("Segments.wholeSince", name)(copies.wholeAt), (at) =>
        Option.map(Option.fromUndefinedOr(at), DateTime.makeUnsafe)
      )
      return { name, compacted, wholeSince, remove: DbError.named("Segments.remove", name)(copies.reset) }
    })
  )

  let health: PluginRegistry.Health = { level: "up" }
  const attempt = (one: (typeof kept)[number], token: number) =>
    Effect.catchIf(
      one.compacted(token),
      (error) => error._tag !== "LeaseLost",
      Effect.fnUntraced(function* (error) {
        health = { level: "degraded", detail: `${one.name}: ${error.message}` }
        yield* self.count("failed")
        yield* self.publish({ _tag: "Failed", resource: one.name, why: error.message })
        yield* Effect.logWarning(
          `the segments of ${one.name} could not be brought up to date; it is tried again`,
          error
        )
      })
    )

  if (compact && kept.length > 0) {
    const election = Lease.make(store, { key: `${self.prefix()}lease`, duration: lease })
    const round = Effect.fnUntraced(function* (token: number) {
      health = { level: "up" }
      for (const one of kept) yield* attempt(one, token)
      yield* Effect.sleep(every)
    })
    yield* election
      .runWhileLeader(({ lost, token }) =>
        // It is interrupted, and waits for the lease anew.
        Effect.catchTag(Effect.forever(round(token)), "LeaseLost", () => Effect.andThen(lost, Effect.never))
      )
      .pipe(
        Effect.catch((error) =>
          Effect.andThen(
            Effect.logWarning("segments: the lease could not be had; it is tried again", error),
            Effect.sleep(every)
          )
        ),
        Effect.forever,
        Effect.forkScoped
      )
  }
  yield* self.running({ health: Effect.sync(() => health) })

  const chosen = (resource: string | undefined) => {
    const found = kept.filter(({ name }) => resource === undefined || name === resource)
    return resource !== undefined && found.length === 0
      ? Effect.fail(new NotSegmented({ resource }))
      : Effect.succeed(found)
  }

  return {
    compactNow: Effect.fn("Segments.compactNow")(function* (resource) {
      return yield* Effect.forEach(yield* chosen(resource), ({ compacted, name }) => byHand(name, compacted))
    }),
    wholeSince: Effect.fn("Segments.wholeSince")(function* (resource) {
      const [one] = yield* chosen(resource)
      return one === undefined ? Option.none() : yield* one.wholeSince
    }),
    remove: Effect.fn("Segments.remove")(function* (resource) {
      yield* Effect.forEach(yield* chosen(resource), ({ remove }) => remove, { discard: true })
    }),
    events: self.events
  }
})

/** Under the highest token that was seen, so that it is not refused for having none. */
const byHand = <A>(
  name: string,
  compacted: (token: number) => Effect.Effect<A, Lease.LeaseLost | DbError.DbError>
): Effect.Effect<A, DbError.DbError> => {
  const at = (token: number): Effect.Effect<A, DbError.DbError> =>
    Effect.catchTag(compacted(token), "LeaseLost", ({ seen = token + 1 }) => at(seen))
  return Effect.withSpan(at(0), "Segments.compact", { attributes: { resource: name } })
}

/**
 * Keeps copies of resources until the layer is closed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <R>(options: Options<R>): Layer.Layer<Segments, LayerError, Database | Exclude<R, Scope.Scope>> =>
  Layer.effect(Segments, make(options))
