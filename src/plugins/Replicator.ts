/**
 * Replicas: the documents of resources, kept at another place as they are written. Another database of this kind, a table of SQL, a
 * webhook, a queue.
 *
 * ```ts
 * import * as Replicator from "effect-s3db/plugins/Replicator"
 * import * as ReplicaSql from "effect-s3db/plugins/ReplicaSql"
 * import * as Resource from "effect-s3db/Resource"
 * import { Schema } from "effect"
 *
 * class Orders extends Resource.Service<Orders>()("app/orders", {
 *   schema: Schema.Struct({ id: Schema.String, total: Schema.Int }),
 *   primaryKey: "id",
 *   journal: { images: "after" }
 * }) {}
 *
 * class Warehouse extends Replicator.Service<Warehouse>()("app/Warehouse", {
 *   name: "warehouse",
 *   target: ReplicaSql.sqlite({ filename: "warehouse.db" }),
 *   resources: [Replicator.resource(Orders)]
 * }) {}
 * ```
 *
 * **Details**
 *
 * Each resource of a replica is followed by itself: all that is there first, then the journal from where it was when that began, without a
 * gap. Of a resource without the option `journal` listings are compared instead. Of all processes with the layer one works, by a lease, and
 * another goes on where it was. Each version has a number that rises, by which the target knows what is old: an old change never takes
 * the place of a newer one, whoever was late.
 *
 * What cannot be reached is waited for, with growing pauses. What the target does not take becomes a dead letter, after `attempts`, and the rest
 * goes on; `replay` tries it once more.
 *
 * **Gotchas**
 *
 * Writes wait for no target: a replica is behind by what `lag` says. Somebody has to keep the journal: see `Journaler`. Secrets and
 * passwords are left out, unless `secrets` names them.
 *
 * @see `docs/guide/replicating.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import type { Definition } from "../Definition.ts"
import * as Id from "../crypto/Id.ts"
import * as DbError from "../DbError.ts"
import * as Differences from "../Differences.ts"
import type * as Document from "../Document.ts"
import * as Guard from "../Guard.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as AppendLog from "../kernel/AppendLog.ts"
import * as Consumer from "../kernel/Consumer.ts"
import * as Journal from "../kernel/Journal.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import type * as Query from "../Query.ts"
import type { ImageRecord, ListError, ReadError } from "../Repository.ts"
import type { DynamicSchema } from "../Portable.ts"
import * as Resource from "../Resource.ts"
import type * as Attributes from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as ReplicaTarget from "./ReplicaTarget.ts"
import * as delivery from "./replicator/internal/delivery.ts"
import * as documents from "./replicator/internal/documents.ts"
import * as snapshotProgress from "./replicator/internal/progress.ts"
import * as unsentLetters from "./replicator/internal/unsent.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A declaration of a replica that cannot be. Nothing was read or written. `field` says which part of it, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidReplicator extends ExpectedError<InvalidReplicator>(
  "effect-s3db/plugins/Replicator/InvalidReplicator"
)(
  "InvalidReplicator",
  { replica: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `the replica ${JSON.stringify(this.replica)}, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer, beside those of making the target.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidReplicator | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of bringing a whole resource to a target.
 *
 * @category errors
 * @since 0.1.0
 */
export type SyncError = InvalidReplicator | ReplicaTarget.TargetError | ListError | ReadError | StoreError.StoreError

// -----------------------------------------------------------------------------
// Resources
// -----------------------------------------------------------------------------

/**
 * Which documents of a resource go to a target, and in what form.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResourceOptions<R extends Resource.Any, S extends Attributes.DocumentSchema> {
  /** What the target calls it: a table, a resource, a topic. Default: the name of the resource. */
  readonly as?: string | undefined
  /** A document that it is false of is not at the target: one that comes to be so is removed there. It has to be pure. Default: all. */
  readonly filter?: ((document: Resource.DocumentOf<R>) => boolean) | undefined
  /** What is sent in the place of a document: its schema, with a field called as the primary key, and a pure function. The id stays. */
  readonly map?: { readonly schema: S; readonly document: (document: Resource.DocumentOf<R>) => S["Type"] } | undefined
  /** Whether fields of nested structs are columns of their own, `address_city`, or the struct is one column of JSON. Default: `columns`. */
  readonly nested?: "columns" | "json" | undefined
  /** Names of columns, by the path of the field: `{ "address.city": "city" }`. Default: the names of the path, joined with `_`. */
  readonly columns?: Readonly<Record<string, string>> | undefined
  /** The secrets and passwords that are sent, in clear and as hashes, by path; `"all"`. Default: none. */
  readonly secrets?: ReadonlyArray<string> | "all" | undefined
}

type Values = Readonly<Record<string, unknown>>
type Read = Document.Document<Values>

interface AnyRepository {
  readonly getDocument: (id: string) => Effect.Effect<Read, DbError.NotFound | ReadError>
  readonly scanDocuments: (
    options: Query.OnCorrupt & Query.Concurrency & { readonly after?: string | undefined }
  ) => Stream.Stream<Read, ListError>
  readonly fromImage: (
    record: ImageRecord,
    side: "before" | "after"
  ) => Effect.Effect<Values, DbError.NotFound | DbError.InvalidInput | ReadError>
}

/**
 * A resource of a replica, made by `resource`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replicated<out Self> {
  readonly name: string
  /** Its repository, and how its documents are sent. */
  readonly opened: Effect.Effect<
    { readonly repository: AnyRepository; readonly declared: documents.Declared },
    readonly [field: string, problem: string],
    Self
  >
}

/**
 * Says that a resource belongs to a replica. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resource = <R extends Resource.Any, S extends Attributes.DocumentSchema = Attributes.DocumentSchema>(
  resource: R,
  options: ResourceOptions<R, S> = {}
): Replicated<Resource.SelfOf<R>> => {
  const { as, columns = {}, filter, map, nested = "columns", secrets = [] } = options
  const { definition } = resource
  const primaryKey = String(definition.primaryKey)
  return {
    name: definition.name,
    opened: Effect.gen(function* () {
      const sent = yield* Effect.try({
        try: (): Definition<DynamicSchema> =>
          map === undefined
            ? (definition as unknown as Definition<DynamicSchema>)
            : // Of a schema that is not known here.
              (Resource.from(definition.name, {
                schema: map.schema,
                primaryKey
              } as never) as unknown as Definition<DynamicSchema>),
        catch: (error): readonly [string, string] => [
          "map",
          error instanceof Error ? error.message : "Expected a schema"
        ]
      })
      const declared: documents.Declared = {
        name: definition.name,
        as: as ?? definition.name,
        primaryKey,
        definition: sent,
        filter: filter as documents.Declared["filter"],
        map: map?.document as documents.Declared["map"],
        nested,
        columns,
        secrets
      }
      const problem = documents.problemOf(declared)
      if (problem !== undefined) return yield* Effect.fail(problem)
      return { repository: yield* Resource.keyOf<R, AnyRepository>(resource), declared }
    })
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What is needed of a resource of a replica: its service, or those of several.
 *
 * @category models
 * @since 0.1.0
 */
export type SelfOf<One> = One extends Replicated<infer Self> ? Self : never

/**
 * A replica: what it is called, where it is, and what goes there.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<out E, out R, out Self, out One extends Replicated<unknown> = Replicated<Self>>
  extends Plugin.Options {
  /** Names it in this database: under another name all begins anew. 1 to 50 letters, digits, `-` or `_`. */
  readonly name: string
  readonly target: Effect.Effect<ReplicaTarget.Target, E, R>
  readonly resources: ReadonlyArray<One & Replicated<Self>>
  /** Whether what the target lacks is made, `apply`, or somebody has to run the plan, `wait`. Nothing is ever dropped or changed. Default: `apply`. */
  readonly schema?: "apply" | "wait" | undefined
  /** Whether a new replica gets what is there. Default: `true`; else only what is written from then on. */
  readonly snapshot?: boolean | undefined
  /** The most changes that the target is given at once. 1 to 10,000. Default: 500. */
  readonly batchSize?: number | undefined
  /** How often a change is tried that the target refuses. 1 or more. Default: 3; then it is a dead letter. */
  readonly attempts?: number | undefined
  /** The pause after the first time that the target could not be reached; it doubles, by chance shorter by up to a half. Default: 1 second. */
  readonly pause?: Duration.Input | undefined
  /** The longest of these pauses. Default: 1 minute. */
  readonly longestTargetPause?: Duration.Input | undefined
  /** After so many such failures in a row the circuit is open: the target is left alone for half the longest pause at least. Default: 5. */
  readonly failures?: number | undefined
  /** How often listings of resources without a journal are compared. Default: 1 minute. */
  readonly every?: Duration.Input | undefined
  /** Whether this process replicates when no other one does. Default: `true`. */
  readonly replicates?: boolean | undefined
  /** The pause after all was done; it doubles as long as nothing comes. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest of these. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** The lease under which one process works. A process that stands still for longer loses it, and begins its snapshot anew. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
}

/**
 * What a replica does in this process.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  /** So many changes of a resource are at the target. */
  | { readonly _tag: "Replicated"; readonly replica: string; readonly resource: string; readonly changes: number }
  /** The target could not be reached so often that it is left alone for a while. */
  | { readonly _tag: "CircuitOpened"; readonly replica: string; readonly failures: number; readonly problem: string }
  /** The target can be reached again. */
  | { readonly _tag: "CircuitClosed"; readonly replica: string }

/**
 * What has come of bringing a whole resource to a target.
 *
 * @category models
 * @since 0.1.0
 */
export interface Synced {
  readonly resource: string
  readonly documents: number
  /** Documents that were at the target, and not here; `undefined` where the target cannot tell, or nothing was removed since a document could not be read. */
  readonly removed: number | undefined
  /** Documents that cannot be read: they are as they were at the target, and dead letters. */
  readonly unreadable: number
  /** Documents that the target refuses: the same. */
  readonly refused: number
}

/**
 * How a resource of a replica is doing.
 *
 * @category models
 * @since 0.1.0
 */
export interface LaneStatus {
  readonly resource: string
  /** Where changes come from. */
  readonly source: "journal" | "listing"
  /** All records before it are at the target, or dead letters; none when nothing was done yet. */
  readonly position: number | undefined
  /** How many records wait, of whatever resource. */
  readonly lag: number
  /** Of this process, where it works. */
  readonly state: Consumer.RunningState | undefined
}

/**
 * How a replica is doing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  readonly replica: string
  readonly target: string
  readonly circuit: "closed" | "open"
  readonly resources: ReadonlyArray<LaneStatus>
}

/**
 * A change that the target has refused, or a document that a snapshot or `sync` could not send: then `position` is that of the last record before it began, and
 * `attempts` 1. Another `sync` that comes to its end removes the latter, or notes them anew.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeadLetter extends Consumer.DeadLetter<Journal.Record> {
  readonly resource: string
}

/**
 * A replica.
 *
 * @category services
 * @since 0.1.0
 */
export interface Replicator {
  readonly name: string
  /** What has to be done at the target, and what is in the way, without doing it. No request to the store. */
  readonly plan: Effect.Effect<ReplicaTarget.Plan, ReplicaTarget.TargetError>
  /** Does what a plan says. What waits for it goes on after its pause. */
  readonly apply: (plan: ReplicaTarget.Plan) => Effect.Effect<void, ReplicaTarget.TargetError>
  /**
   * Brings a whole resource, by default each, to the target once more, while the replica goes on: repairs what somebody else has changed there, and removes
   * what is not here. What cannot be sent is a dead letter. 1 LIST for each 1,000, 1 GET for each document, 1 PUT for each that cannot be sent. `InvalidReplicator`: it is no resource of this replica.
   */
  readonly sync: (resource?: string) => Effect.Effect<ReadonlyArray<Synced>, SyncError>
  /** How far it is. 3 GET for each resource. */
  readonly status: Effect.Effect<Status, StoreError.StoreError>
  /**
   * Waits until all that the journal has now is at the target, or a dead letter. Of a resource without a journal: what the last comparison has found.
   * `Consumer.waitUntil` tells its requests and errors.
   */
  readonly caughtUp: Effect.Effect<void, Consumer.ConsumeError>
  /** What the target has refused, by resource and position. */
  readonly deadLetters: Stream.Stream<DeadLetter, StoreError.StoreError>
  /** Tries dead letters once more. Requests: those of `Consumer.redrive`. */
  readonly replay: (options?: {
    readonly select?: ((letter: DeadLetter) => boolean) | undefined
  }) => Effect.Effect<Consumer.Redriven, StoreError.StoreError>
  /** Gives dead letters up. */
  readonly discard: (letters: ReadonlyArray<DeadLetter>) => Effect.Effect<void, StoreError.StoreError>
  /** From when the stream is drawn, until the scope closes. */
  readonly events: Plugin.Instance<Event>["events"]
}

/**
 * A class that is the service of a replica and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<in out Self, in out Id extends string, E, R> extends Plugin.ServiceClass<
  Self,
  Id,
  Replicator,
  E,
  R
> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("replicator", { version: 1 })

/**
 * Declares a replica as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, E, R, One extends Replicated<unknown>, Replicas = SelfOf<One>>(
    id: Id,
    // One of several resources is not one of the first.
    options: Options<E, R, NoInfer<Replicas>, One>
  ): ServiceClass<Self, Id, E | LayerError, Exclude<R | Replicas | Database, Scope.Scope>> =>
    Plugin.service<Self>()(id, make<E, R, One, Replicas>(options))

// -----------------------------------------------------------------------------
// Metrics
// -----------------------------------------------------------------------------

/**
 * Changes that have come to a target, by `replica` and `resource`. How far it is behind: `s3db_consumer_lag`, whose `consumer` is the name of the
 * replica, the resource and the source.
 *
 * @category constants
 * @since 0.1.0
 */
export const changesCounter: Metric.Counter<number> = Metric.counter("s3db_replica_changes", { incremental: true })

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

/** Where the changes of a resource come from, and how often that has become another: positions of each are numbers of their own. */
const Source = Schema.Struct({ kind: Schema.Literals(["journal", "listing"]), generation: Schema.Int })
type Source = typeof Source.Type

/** The versions of a generation are above all of the one before. */
const generationVersions = 2 ** 40
const mostGenerations = 2 ** 12

/** How many changes that listings have found are kept for replicas that are behind. */
const keptChanges = 1_000_000

const versionOf = ({ generation }: Source, position: number): number => generation * generationVersions + position + 1

const check = Effect.fnUntraced(function* (options: Options<unknown, unknown, unknown>) {
  const { attempts = 3, batchSize = 500, failures = 5, name, resources } = options
  const invalid = (field: string, problem: string) => new InvalidReplicator({ replica: String(name), field, problem })
  if (typeof name !== "string" || !/^[\w-]{1,50}$/.test(name)) {
    return yield* invalid("name", "Expected 1 to 50 letters, digits, - or _")
  }
  if (resources.length === 0) return yield* invalid("resources", "Expected one resource at least")
  const twice = resources.find((one, i) => resources.findIndex((other) => other.name === one.name) !== i)
  if (twice !== undefined) {
    return yield* invalid("resources", `Expected each resource once, not ${JSON.stringify(twice.name)} again`)
  }
  for (const [field, value, most] of [
    ["batchSize", batchSize, 10_000],
    ["attempts", attempts, Number.MAX_SAFE_INTEGER],
    ["failures", failures, Number.MAX_SAFE_INTEGER]
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1 || value > most) {
      return yield* invalid(field, `Expected a whole number from 1 to ${most.toLocaleString("en-US")}`)
    }
  }
  for (const field of ["every", "firstPause", "lease", "longestPause", "longestTargetPause", "pause"] as const) {
    const value = options[field]
    if (value !== undefined && !(millisecondsOf(value) >= 1 && millisecondsOf(value) < Infinity)) {
      return yield* invalid(field, "Expected a duration from 1 ms")
    }
  }
  return invalid
})

/**
 * Opens a replica until the scope closes, and replicates unless `replicates` is `false`. Requests: those of `Plugin.open`; for each resource 1 GET, 1 PUT the
 * first time, and those of `Consumer.consume`; for each document that was written 1 GET where the journal has no image of it. Of a resource without a
 * journal those of `Differences.run`, and 2 PUT for each 500 that were written.
 *
 * It does not wait for the target. Its health in `Plugin.statuses` is `degraded` while the target cannot be reached, has not what it needs, or something is
 * tried again, and `down` where a resource cannot go on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Replicator.make")(function* <E, R, One extends Replicated<unknown>, Self = SelfOf<One>>(
  options: Options<E, R, NoInfer<Self>, One>
): Effect.fn.Return<Replicator, E | LayerError, Database | R | Self | Scope.Scope> {
  const invalid = yield* check(options)
  const { attempts = 3, batchSize = 500, every = "1 minute", firstPause, lease, longestPause, name } = options
  const resources: ReadonlyArray<Replicated<Self>> = options.resources
  const opened = yield* Effect.forEach(resources, ({ name: of, opened }) =>
    Effect.mapError(opened, ([field, problem]) => invalid(`resources, ${of}, ${field}`, problem))
  )
  const names = opened.map(({ declared }) => declared.as)
  const twice = names.find((one, i) => names.indexOf(one) !== i)
  if (twice !== undefined)
    return yield* invalid("resources", `Expected another name in as for ${JSON.stringify(twice)}`)
  const target = yield* options.target
  const database = yield* Database
  const { journal, store, upkeep } = database
  const self = yield* Plugin.open(plugin, { namespace: options.namespace, name })
  const lanesDocuments = opened.map((one) => ({ ...one, documents: documents.make(one.declared) }))

  const deliver = delivery.make({
    target,
    shapes: lanesDocuments.map((one) => one.documents.shape),
    applies: (options.schema ?? "apply") === "apply",
    pauseMillis: millisecondsOf(options.pause ?? "1 second"),
    longestPauseMillis: millisecondsOf(options.longestTargetPause ?? "1 minute"),
    threshold: options.failures ?? 5,
    onChange: (circuit) =>
      circuit._tag === "Closed"
        ? Effect.andThen(
            Effect.logInfo(`the replica ${name} goes on: its target can be reached`),
            self.publish({ _tag: "CircuitClosed", replica: name })
          )
        : Effect.andThen(
            Effect.logWarning(`the replica ${name} waits for its target: ${circuit.problem}`),
            self.publish({
              _tag: "CircuitOpened",
              replica: name,
              failures: circuit.failures,
              problem: circuit.problem
            })
          )
  })

  /** Which source a resource has, for all replicas of this instance. Another one begins a new generation. */
  const sourceOf = Effect.fnUntraced(function* (resource: string): Effect.fn.Return<Source, DbError.DbError> {
    const kind = upkeep(resource)?.settings?.journal === undefined ? "listing" : "journal"
    const sources = self.store(Source, { resource })
    return yield* Effect.gen(function* () {
      for (;;) {
        const now = Option.getOrUndefined(yield* sources.getVersion("source"))
        if (now?.value.kind === kind) return now.value
        const next: Source = {
          kind,
          generation: now === undefined ? 0 : (now.value.generation + 1) % mostGenerations
        }
        const isFirst =
          now === undefined
            ? yield* sources.setIfAbsent("source", next)
            : Option.isSome(yield* sources.setIfVersion("source", next, now.version))
        if (isFirst) return next
      }
    }).pipe(
      DbError.named("Replicator.make", resource),
      // A key of one word is one.
      Effect.catchTag("InvalidKey", Effect.die)
    )
  })

  const lane = Effect.fnUntraced(function* ({
    declared,
    documents: { jsonOf, shape },
    repository
  }: (typeof lanesDocuments)[number]) {
    const resource = declared.name
    const source = yield* sourceOf(resource)
    const prefix = self.prefix(resource).replace(/\/$/, "")
    const changes = AppendLog.make(store, { prefix: `${prefix}/changes`, schema: Journal.Record })
    const from: Consumer.Source<Journal.Record> = source.kind === "journal" ? journal : changes
    const started =
      source.kind === "journal" ? undefined : yield* DbError.named("Replicator.make", resource)(changes.status)
    const consumer = Consumer.make(store, {
      source: from,
      schema: Journal.Record,
      prefix,
      name: `${name} ${resource} ${source.kind} ${source.generation}`,
      // What listings have found from the beginning is all there is.
      start: source.kind === "listing" && started?.first === 0 ? "beginning" : "end",
      select: (record) => record.resource === resource,
      batchSize,
      attempts,
      firstPause,
      longestPause,
      lease
    })
    const ofLane = [name, source.kind, String(source.generation)]
    const unsent = unsentLetters.make(self.store(unsentLetters.Letter, { resource }), shape, ofLane)
    const progress = snapshotProgress.make(self.store(snapshotProgress.Progress, { resource }), ofLane)
    const attributes = { replica: name, resource }
    const images = source.kind === "journal" ? (upkeep(resource)?.settings?.journal?.images ?? "none") : "none"

    const count = Effect.fnUntraced(function* (changes: number) {
      yield* Metric.update(Metric.withAttributes(changesCounter, attributes), changes)
      yield* self.count("replicated", changes)
      yield* self.publish({ _tag: "Replicated", replica: name, resource, changes })
    })

    /** The document as it is now. */
    const present = Effect.fnUntraced(function* (id: string) {
      const found = yield* repository.getDocument(id).pipe(
        Effect.map((document) => Option.some(document.value)),
        Effect.catchTag("NotFound", () => Effect.succeedNone)
      )
      return Option.isNone(found) ? undefined : yield* jsonOf(id, found.value)
    })

    /** The document as a record shows it, or as it is now where it does not. */
    const shown = Effect.fnUntraced(function* (
      entry: Journal.Entry
    ): Effect.fn.Return<
      ReplicaTarget.Change["document"],
      ReplicaTarget.TargetError | DbError.InvalidInput | ReadError
    > {
      const { value } = entry
      if (value.after === undefined) return yield* present(value.id)
      const document = yield* repository
        .fromImage(value, "after")
        .pipe(Effect.catchTag("NotFound", () => Effect.undefined))
      return document === undefined ? undefined : yield* jsonOf(value.id, document)
    })

    const before = Effect.fnUntraced(function* ({ value }: Journal.Entry) {
      if (target.keeps === "state" || value.before === undefined) return undefined
      const document = yield* repository
        .fromImage(value, "before")
        .pipe(Effect.catchTag("NotFound", () => Effect.undefined))
      return document === undefined ? undefined : yield* jsonOf(value.id, document)
    })

    const changeOf = Effect.fnUntraced(function* (entry: Journal.Entry) {
      const { position, value } = entry
      // Without images a document is read after what the entry tells: it is at least as new.
      const isGone = images !== "none" && value.kind === "delete"
      const document = isGone ? undefined : yield* shown(entry)
      return {
        id: value.id,
        version: versionOf(source, position),
        operation: document === undefined ? "delete" : value.kind === "delete" ? "update" : value.kind,
        document,
        before: yield* before(entry),
        time: value.time
      } satisfies ReplicaTarget.Change
    })

    /** The last entry of each document, in the order of these. */
    const lastOf = (entries: ReadonlyArray<Journal.Entry>): ReadonlyArray<Journal.Entry> => {
      const last = new Map(entries.map((entry) => [entry.value.id, entry.position]))
      return entries.filter(({ position, value }) => last.get(value.id) === position)
    }

    const handle = (entries: ReadonlyArray<Journal.Entry>) =>
      Guard.trusted(
        Effect.gen(function* () {
          // What was read now is the last version of all entries of a document.
          const wanted = target.keeps === "state" || images === "none" ? lastOf(entries) : entries
          const changes = yield* Effect.forEach(wanted, changeOf, { concurrency: 8 })
          yield* deliver.apply({ shape, changes, isRepair: false })
          yield* count(changes.length)
        })
      )

    /** What a process has left of a first snapshot, if what was written since then can still be read. */
    const leftOf = Effect.gen(function* () {
      const found = yield* progress.get
      return found === undefined || found.next < (yield* from.status).first ? undefined : found
    })

    const noted = (
      begun: snapshotProgress.Progress | undefined,
      note: (progress: snapshotProgress.Progress) => Effect.Effect<void, StoreError.StoreError>
    ) =>
      Effect.gen(function* () {
        // Whatever is read from here on has all entries before it.
        const next = begun?.next ?? (yield* from.status).next
        const version = versionOf(source, next - 1)
        const run = begun?.run ?? (yield* Id.random)
        let { documents, refused, unreadable } = begun ?? { documents: 0, refused: 0, unreadable: 0 }
        const corrupt: Array<Query.Corrupt> = []
        const onCorrupt = (one: Query.Corrupt) => Effect.sync(() => void corrupt.push(one))
        const noteUnsent = Effect.fnUntraced(function* (id: string, error: string, message: string) {
          yield* unsent.note({ id, position: next - 1, error, message, run })
          yield* Effect.logError(
            `document ${JSON.stringify(id)} of ${resource} is not in the replica ${name}: ${message}`
          )
        })
        const noteCorrupt = Effect.gen(function* () {
          for (const { id, reason } of corrupt.splice(0)) {
            unreadable += 1
            yield* noteUnsent(id, reason._tag, "it cannot be read")
          }
        })
        const put = Effect.fnUntraced(function* (
          found: ReadonlyArray<Read>
        ): Effect.fn.Return<void, ReplicaTarget.TargetError | StoreError.StoreError> {
          const attempt = Effect.gen(function* () {
            const time = yield* Clock.currentTimeMillis
            const all = yield* Effect.forEach(found, ({ id, value }) =>
              Effect.map(jsonOf(id, value), (document): ReadonlyArray<ReplicaTarget.Change> =>
                document === undefined
                  ? []
                  : [{ id, version, operation: "snapshot", document, before: undefined, time }]
              )
            )
            const changes = all.flat()
            yield* deliver.apply({ shape, changes, isRepair: true })
            documents += changes.length
            if (changes.length > 0) yield* count(changes.length)
          })
          const outcome = yield* Effect.exit(attempt)
          if (Exit.isSuccess(outcome)) return
          const failure = Exit.findErrorOption(outcome)
          if (Option.isNone(failure)) return yield* outcome as Exit.Exit<never, never>
          if (found.length === 1) {
            refused += 1
            return yield* noteUnsent(found[0]!.id, failure.value._tag, failure.value.message)
          }
          // One that is refused takes none of the others with it.
          const middle = found.length >> 1
          yield* put(found.slice(0, middle))
          yield* put(found.slice(middle))
        })
        const progressed = (after: string | undefined, isDone: boolean) =>
          note({ run, next, ...(after === undefined ? {} : { after }), isDone, documents, refused, unreadable })
        const after = begun?.after
        yield* repository.scanDocuments({ onCorrupt, ...(after === undefined ? {} : { after }) }).pipe(
          Stream.grouped(batchSize),
          Stream.runForEach((some) =>
            put(some).pipe(
              Effect.andThen(noteCorrupt),
              Effect.andThen(Effect.suspend(() => progressed(some.at(-1)?.id, false)))
            )
          )
        )
        yield* noteCorrupt
        yield* unsent.keepOnly(run)
        // What cannot be read is not gone.
        const removed = unreadable > 0 || refused > 0 ? undefined : yield* deliver.sweep(shape, version)
        yield* progressed(undefined, true)
        return { next, synced: { resource, documents, removed, unreadable, refused } satisfies Synced }
      })

    const sync = Guard.trusted(
      Effect.map(
        noted(undefined, () => Effect.void),
        ({ synced }) => synced
      )
    )

    /** Goes on in the place of a process that has died, and gives the position at which the snapshot began. */
    const snapshot = Guard.trusted(
      Effect.gen(function* () {
        // Without order nothing comes after what was sent.
        const isOrdered = store.capabilities?.orderedList !== false
        const begun = isOrdered ? yield* leftOf : undefined
        if (begun?.isDone === true) return begun.next
        return (yield* noted(begun, isOrdered ? progress.set : () => Effect.void)).next
      })
    )

    let running: Consumer.Running<unknown> | undefined
    if (options.replicates !== false) {
      const isSnapshot = (options.snapshot ?? true) && !(source.kind === "listing" && started?.first === 0)
      running = yield* consumer.consume(handle, isSnapshot ? { snapshot } : {})
      if (source.kind === "listing") yield* compare(resource, changes)
    }

    return { resource, source, consumer, running, from, handle, sync, unsent }
  })

  /** Compares listings, and notes down what has changed. */
  const compare = Effect.fnUntraced(function* (resource: string, changes: AppendLog.AppendLog<Journal.Record>) {
    let noted = 0
    const differences = yield* Effect.mapError(
      Differences.make({ resource, name: self.slug, batchSize: 500 }),
      ({ message }) => invalid("resources", message)
    )
    const note = Effect.fnUntraced(function* (found: ReadonlyArray<Differences.Difference>) {
      // A clock may tell parts of a millisecond, which a record does not have.
      const time = Math.floor(yield* Clock.currentTimeMillis)
      yield* changes.append(
        found.map(({ _tag, id }) => ({
          resource,
          id,
          kind: _tag === "Gone" ? "delete" : "update",
          writeId: "listing",
          time
        }))
      )
      noted += found.length
      if (noted < keptChanges / 100) return
      noted = 0
      // Other replicas may be behind this one.
      yield* changes.retain({ entries: keptChanges })
    })
    yield* differences.run(note, { every, ...(lease === undefined ? {} : { lease }) }).pipe(
      Effect.catch((error) =>
        Effect.logWarning(`the replica ${name} cannot compare the listings of ${resource}; it tries again`, error)
      ),
      Effect.andThen(Effect.sleep(every)),
      Effect.forever,
      Effect.forkScoped
    )
  })

  const lanes = yield* Effect.forEach(lanesDocuments, lane)

  const health = Effect.gen(function* (): Effect.fn.Return<PluginRegistry.Health> {
    const circuit = deliver.circuit()
    const states = yield* Effect.forEach(lanes, ({ resource, running }) =>
      running === undefined ? Effect.succeed([]) : Effect.map(running.state, (state) => [{ resource, ...state }])
    )
    const stopped = states.flat().find((state) => state.stopped !== undefined)
    if (stopped !== undefined) return { level: "down", detail: `${stopped.resource}: ${stopped.stopped}` }
    if (circuit._tag === "Open") return { level: "degraded", detail: circuit.problem }
    const failing = states.flat().find((state) => state.failing !== undefined)
    return failing === undefined
      ? { level: "up" }
      : { level: "degraded", detail: `${failing.resource}: ${failing.failing}` }
  })
  const lag = Effect.map(
    Effect.forEach(lanes, ({ running }) =>
      running === undefined ? Effect.succeed(0) : Effect.map(running.state, ({ lag }) => lag)
    ),
    (all) => ({ lag: Math.max(0, ...all) })
  )
  yield* self.running({ health, counters: lag })

  const ofResource =
    (resource: string) =>
    (letter: Consumer.DeadLetter<Journal.Record>): DeadLetter => ({ ...letter, resource })

  return {
    name,
    plan: deliver.plan,
    apply: deliver.run,
    sync: Effect.fn("Replicator.sync")(function* (resource) {
      const chosen = lanes.filter((one) => resource === undefined || one.resource === resource)
      if (chosen.length === 0) {
        return yield* invalid("resource", `Expected one of ${lanes.map((one) => one.resource).join(", ")}`)
      }
      return yield* Effect.forEach(chosen, ({ sync }) => sync)
    }),
    status: Effect.gen(function* () {
      const resources = yield* Effect.forEach(
        lanes,
        Effect.fnUntraced(function* ({ consumer, resource, running, source }) {
          return {
            resource,
            source: source.kind,
            position: Option.getOrUndefined(yield* consumer.position),
            lag: yield* consumer.lag,
            state: running === undefined ? undefined : yield* running.state
          } satisfies LaneStatus
        })
      )
      return {
        replica: name,
        target: target.kind,
        circuit: deliver.circuit()._tag === "Open" ? "open" : "closed",
        resources
      } satisfies Status
    }),
    caughtUp: Effect.forEach(
      lanes,
      Effect.fnUntraced(function* ({ consumer, from }) {
        const { next } = yield* from.status
        yield* consumer.waitUntil(next)
      }),
      { discard: true, concurrency: "unbounded" }
    ),
    deadLetters: Stream.fromIterable(lanes).pipe(
      Stream.flatMap(({ consumer, resource, unsent }) =>
        Stream.map(Stream.concat(unsent.letters, consumer.deadLetters), ofResource(resource))
      )
    ),
    replay: Effect.fn("Replicator.replay")(function* ({ select } = {}) {
      const all = yield* Effect.forEach(
        lanes,
        Effect.fnUntraced(function* ({ consumer, handle, resource, unsent }) {
          const selects = (letter: Consumer.DeadLetter<Journal.Record>) =>
            select === undefined || select(ofResource(resource)(letter))
          // These are older.
          const first = yield* unsent.redrive(handle, selects)
          const then = yield* consumer.redrive(handle, { select: selects })
          return { handled: first.handled + then.handled, failed: first.failed + then.failed }
        })
      )
      return {
        handled: all.reduce((sum, one) => sum + one.handled, 0),
        failed: all.reduce((sum, one) => sum + one.failed, 0)
      }
    }),
    discard: Effect.fn("Replicator.discard")(function* (letters) {
      yield* Effect.forEach(
        lanes,
        Effect.fnUntraced(function* ({ consumer, resource, unsent }) {
          const left = yield* unsent.discard(letters.filter((one) => one.resource === resource))
          yield* consumer.discard(left.map(({ position }) => position))
        }),
        { discard: true }
      )
    }),
    events: self.events
  }
})
