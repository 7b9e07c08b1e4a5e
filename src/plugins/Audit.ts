/**
 * An audit trail: who has written which version of which document, when, and what it was before and after. Complete, in order,
 * append-only, and verifiable.
 *
 * ```ts
 * import * as Audit from "effect-s3db/plugins/Audit"
 * import { Console, Effect, Stream } from "effect"
 *
 * const Trail = Audit.layer({ resources: ["orders"] })
 *
 * const program = Effect.gen(function* () {
 *   const audit = yield* Audit.Audit
 *   yield* Stream.runForEach(audit.history("orders", "17"), ({ operation, user }) => Console.log(operation, user))
 *   yield* audit.verify()
 * })
 * ```
 *
 * **Details**
 *
 * The resources have to leave their versions in the journal, `journal: { images: "both", context: true }` for all that a trail can
 * tell, and somebody has to keep that: `plugins/Journaler`. The trail is a log of its own, made of the journal by a
 * consumer: what the journal has is in the trail once, in the same order,
 * whatever crashed when. In one process at a time, by a lease; every process with the layer takes part. A failure of the trail
 * never fails a write; it is waited out, and nothing is left out for it. What is in it cannot be changed without the chain of hashes
 * telling so.
 *
 * Images are as the journal has them: `metadata` and `body` of the object, fields under the ids of their attributes, secrets sealed.
 * `fromImage` of the repository reads one that was not cut as a document.
 *
 * @see `docs/guide/audit.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type { JsonObject } from "../encoding/Json.ts"
import type * as Change from "../Change.ts"
import type * as Repository from "../Repository.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as AppendLog from "../kernel/AppendLog.ts"
import * as Consumer from "../kernel/Consumer.ts"
import * as Journal from "../kernel/Journal.ts"
import type { LeaseLost } from "../kernel/Lease.ts"
import * as Plugin from "../Plugin.ts"
import * as ResourceSelector from "../ResourceSelector.ts"
import * as StoreError from "../storage/StoreError.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import * as keeping from "./journaler/keeping.ts"
import { truncate } from "./audit/truncate.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An option or a filter that cannot be. Nothing was done. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidAudit extends ExpectedError<InvalidAudit>("effect-s3db/plugins/Audit/InvalidAudit")(
  "InvalidAudit",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `audit, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidAudit | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of reading the trail. `Trimmed`: what was about to be read was removed by retention meanwhile: ask again.
 *
 * @category errors
 * @since 0.1.0
 */
export type ReadError = InvalidAudit | AppendLog.Trimmed | StoreError.StoreError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("audit", { version: 1 })

/**
 * What a process does to the trail.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  /** Entries have come into the trail, from a position up to the one before `next`. */
  | { readonly _tag: "Recorded"; readonly from: number; readonly next: number }
  /** Retention has removed the entries before `first`. */
  | { readonly _tag: "Removed"; readonly first: number }
  /** So many segments of the trail were put together with others. */
  | { readonly _tag: "Compacted"; readonly segments: number }
  /** The trail goes on at another position of the journal. */
  | { readonly _tag: "Moved"; readonly journal: number }

const Image = Schema.Record(Schema.String, Schema.Json)

const Kept = Schema.Struct({
  /** Its position in the journal. */
  journal: Schema.Int,
  resource: Schema.String,
  id: Schema.String,
  operation: Journal.Kind,
  writeId: Schema.String,
  time: Schema.Int,
  user: Schema.optionalKey(Schema.String),
  context: Schema.optionalKey(Image),
  before: Schema.optionalKey(Image),
  after: Schema.optionalKey(Image),
  truncated: Schema.optionalKey(Schema.Array(Schema.String))
})

/**
 * One version of one document, as the trail has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  /** In the trail, from 0 without a hole. */
  readonly position: number
  /** In the journal. */
  readonly journal: number
  /** When it came into the trail, in milliseconds since the epoch; never before that of the entry before. */
  readonly recordedAt: number
  readonly resource: string
  readonly id: string
  readonly operation: Journal.Kind
  /** Names the version. */
  readonly writeId: string
  /** When it was written, in milliseconds since the epoch by the clock of the writer. */
  readonly time: number
  /** The id of the `CurrentUser` of the fiber that has written it; none where it had none, or the resource does not tell. */
  readonly user: string | undefined
  /** What else the fiber has told of itself, such as the request. */
  readonly context: JsonObject | undefined
  /** The document before, as it was stored: of updates and deletions, where the resource keeps such images in the journal. */
  readonly before: JsonObject | undefined
  /** The document after, as it was stored: of inserts and updates, where the resource keeps such images in the journal. */
  readonly after: JsonObject | undefined
  /** Paths of what was cut or left out, beginning with `before` or `after`. */
  readonly truncated: ReadonlyArray<string>
}

/**
 * Which resources, and what is kept of each write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Plugin.Options {
  /** The journal that is followed. Default: that of the database. */
  readonly journal?: Pick<Journal.Journal, "position" | "read" | "status"> | undefined
  /** Which resources. Default: all but those of plugins. */
  readonly resources?: ResourceSelector.ResourceSelector | undefined
  /** Which images are kept, of those that the journal has. Default: `"both"`. */
  readonly images?: "none" | "after" | "both" | undefined
  /** The most bytes of an image as JSON; a larger one is cut. 100 or more. Default: 10,000. */
  readonly maxImageBytes?: number | undefined
  /** What is older goes, looked after once an hour, whole segments at a time. Default: nothing goes. */
  readonly retention?: Duration.Input | undefined
  /** Whether this process takes part in making the trail, or only reads it. Default: `true`. */
  readonly records?: boolean | undefined
  /** The pause after the end of the journal was met first; it doubles. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest pause. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** How long the lease lasts without a renewal. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
}

/**
 * Which entries. All that are given have to hold.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filter {
  readonly resource?: string | undefined
  readonly id?: string | undefined
  readonly operation?: Journal.Kind | undefined
  readonly user?: string | undefined
  /** Written at this time or later, by the clock of the writer, in milliseconds since the epoch. */
  readonly since?: number | undefined
  /** Written at this time or earlier. */
  readonly until?: number | undefined
  /** The first position in the trail. */
  readonly from?: number | undefined
}

/**
 * What is in the trail, counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  readonly total: number
  readonly byOperation: Readonly<Record<string, number>>
  readonly byResource: Readonly<Record<string, number>>
  /** Those without a user are not counted here. */
  readonly byUser: Readonly<Record<string, number>>
  /** By day in UTC: `2030-01-31`. */
  readonly byDay: Readonly<Record<string, number>>
}

/**
 * What can tell where in a partition the documents of images are: a repository.
 *
 * @category models
 * @since 0.1.0
 */
export interface Placing<in W> {
  readonly imageWithin: (
    record: Repository.ImageRecord,
    side: "before" | "after",
    within: W
  ) => Effect.Effect<Option.Option<JsonObject>, DbError.NotFound | DbError.InvalidInput | Repository.ReadError>
}

/**
 * Whether a version was in a partition, or in the part of it that was asked for.
 *
 * - `In`: with these values, by path
 * - `Out`: it was not, or there was no version
 * - `Unknown`: the entry does not tell. `noImage`: it has no image of the version; `truncated`: that was cut; `unreadable`: it cannot be
 *   read here: it is damaged, hidden from the caller, or needs another key
 *
 * @category models
 * @since 0.1.0
 */
export type Place =
  | { readonly _tag: "In"; readonly values: JsonObject }
  | { readonly _tag: "Out" }
  | { readonly _tag: "Unknown"; readonly why: "noImage" | "truncated" | "unreadable" }

/**
 * An entry, and where in a partition the document was before and after the write.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlacedEntry {
  readonly entry: Entry
  readonly before: Place
  readonly after: Place
}

/**
 * What has been done in a partition, counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface PartitionStats {
  /** Writes of documents that were in it before or after. */
  readonly total: number
  /** Writes of which the trail does not tell; they are not in `total`. */
  readonly unknown: number
  /** By values, such as `region=eu/tier=1`, each percent-encoded; one that moves a document counts at both places. */
  readonly byValues: Readonly<Record<string, number>>
}

/**
 * The errors of asking for a partition. `InvalidInput`: there is no such partition, a value does not fit, or the repository is of another resource.
 *
 * @category errors
 * @since 0.1.0
 */
export type PartitionError = ReadError | DbError.InvalidInput | Repository.ReadError

/**
 * How far the trail has come.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** The first position that is kept. */
  readonly first: number
  /** The position of the next entry. */
  readonly next: number
  /** The hash of the last append. Keep it with `next` where nobody who can write to the store can reach it, for `verify`. */
  readonly head: string
  /** All entries of the journal before this position are in the trail. */
  readonly journal: number
}

/**
 * An audit trail.
 *
 * @category services
 * @since 0.1.0
 */
export class Audit extends Context.Service<
  Audit,
  {
    /** What has been done with one document, from the beginning on. The requests of `query`. */
    readonly history: (resource: string, id: string) => Stream.Stream<Entry, ReadError>
    /**
     * The entries that fit, from the beginning on. 1 GET, and 1 GET for each segment of the trail, which has what came into it at once, up to
     * 1,000 entries: from `since`, less a day for clocks that differ, or `from` to the end. Segments that have nothing of the `resource`, of
     * the document (`resource` and `id`) or of the `user` are not read, but for about 1 in 100; 1 GET for each 32
     * segments, where there are more than 63, which is not made again for those that were read lately.
     */
    readonly query: (filter?: Filter) => Stream.Stream<Entry, ReadError>
    /**
     * The writes of documents that were in a partition, or in the part of it that the values and bounds of `within` are of, before or after; and
     * those of which the trail does not tell, which say so. By the definition that the partition has now. `resource` is that of the repository. The requests of
     * `query` for a resource, and those of `imageWithin` for each image.
     */
    readonly partitionHistory: <W>(
      resource: string,
      repository: Placing<W>,
      within: NoInfer<W>,
      filter?: Omit<Filter, "resource">
    ) => Stream.Stream<PlacedEntry, PartitionError>
    /** Counts what `partitionHistory` gives. Its requests. */
    readonly partitionStats: <W>(
      resource: string,
      repository: Placing<W>,
      within: NoInfer<W>,
      filter?: Omit<Filter, "resource">
    ) => Effect.Effect<PartitionStats, PartitionError>
    /** Counts the entries that fit. The requests of `query`. */
    readonly stats: (filter?: Filter) => Effect.Effect<Stats, ReadError>
    /**
     * Reads the whole trail and follows the chain of hashes; `Broken` names the first part that does not fit, and the first position
     * that nobody can vouch for. With `through`, what `status` has told before, also that the trail still contains that. 1 GET for each
     * segment.
     */
    readonly verify: (
      through?: Pick<Status, "head" | "next">
    ) => Effect.Effect<AppendLog.Verified, AppendLog.Broken | StoreError.StoreError>
    /** 1 GET. */
    readonly status: Effect.Effect<Status, StoreError.StoreError>
    /** How many entries of the journal have not been looked at; those that wait in `journal.pending` are not in it yet. 2 GET. */
    readonly lag: Effect.Effect<number, StoreError.StoreError>
    /**
     * Waits until all that the journal has now is in the trail, whichever process does that. What waits in `journal.pending` is not in
     * the journal yet, and is not waited for: `journal.catchUp` first brings in all that is committed. 1 GET, and the requests of
     * `Consumer.waitUntil`, which it fails as: with what is in the way of the trail, where that does not pass by itself.
     */
    readonly caughtUp: Effect.Effect<void, Consumer.ConsumeError>
    /**
     * Moves what follows the journal, and gives the position: `"beginning"` goes on at the first entry that the journal still has, where
     * retention has removed what came next, and leaves a hole that `Entry.journal` shows. What is in the trail does not come into it again. The
     * requests of `Consumer.seek`.
     */
    readonly seek: (place: Consumer.Place) => Effect.Effect<number, StoreError.StoreError>
    /**
     * Removes the beginning of the trail, whole segments, and gives the first position that is kept. What is left can be verified as before.
     * The requests of `AppendLog.retain`, and 1 GET.
     */
    readonly retain: (
      retention: Pick<AppendLog.Retention, "age" | "before" | "bytes" | "entries">
    ) => Effect.Effect<number, StoreError.StoreError>
    /**
     * Puts small segments of the trail together, up to 1,000 entries of a day (of a 24th of the option `retention`, if that is less), and gives how many
     * went. Who has recorded something does it by himself an hour later, when nothing comes. Positions and the chain stay. The requests of `AppendLog.compact`, and 1 GET.
     */
    readonly compact: Effect.Effect<number, StoreError.StoreError>
    /** What this process does, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly events: Stream.Stream<Event | Change.Lagged>
  }
>()("effect-s3db/plugins/Audit") {}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

const daysMillis = 86_400_000
const leastImageBytes = 100

/** How many entries come into the trail at once, and a segment of it has at most. */
const mostAtOnce = 1000
const operations: ReadonlyArray<string> = ["insert", "update", "delete"]

/** What a record of the journal is in the trail. */
const keptOf = (
  { position, value }: Journal.Entry,
  { images = "both", maxImageBytes = 10_000 }: Options
): typeof Kept.Type => {
  const { after, before, context, id, kind, resource, time, writeId } = value
  const { user, ...rest } = context ?? {}
  const told: JsonObject = typeof user === "string" ? rest : (context ?? {})
  const paths: Array<string> = []
  const imageOf = (side: "after" | "before", image: JsonObject | undefined) => {
    if (image === undefined) return {}
    const cut = truncate(image, maxImageBytes)
    paths.push(...cut.paths.map((path) => `${side}.${path}`))
    return { [side]: cut.image }
  }
  return {
    journal: position,
    resource,
    id,
    operation: kind,
    writeId,
    time,
    ...(typeof user === "string" ? { user } : {}),
    ...(Object.keys(told).length > 0 ? { context: told } : {}),
    ...(images === "both" ? imageOf("before", before) : {}),
    ...(images === "none" ? {} : imageOf("after", after)),
    ...(paths.length > 0 ? { truncated: paths } : {})
  }
}

/** By what entries are looked for. */
const byResource = (resource: string): string => JSON.stringify([resource])
const byDocument = (resource: string, id: string): string => JSON.stringify([resource, id])
const byUser = (user: string): string => JSON.stringify({ user })

const termsOf = ({ id, resource, user }: typeof Kept.Type): ReadonlyArray<string> => [
  byResource(resource),
  byDocument(resource, id),
  ...(user === undefined ? [] : [byUser(user)])
]

/** The terms that all entries have that fit. */
const termsIn = ({ id, resource, user }: Filter): ReadonlyArray<string> => [
  ...(resource === undefined ? [] : [id === undefined ? byResource(resource) : byDocument(resource, id)]),
  ...(user === undefined ? [] : [byUser(user)])
]

const toEntry = ({ at, position, value }: AppendLog.Entry<typeof Kept.Type>): Entry => ({
  position,
  journal: value.journal,
  recordedAt: at,
  resource: value.resource,
  id: value.id,
  operation: value.operation,
  writeId: value.writeId,
  time: value.time,
  user: value.user,
  context: value.context,
  before: value.before,
  after: value.after,
  truncated: value.truncated ?? []
})

const fits =
  ({ id, operation, resource, since = -Infinity, until = Infinity, user }: Filter) =>
  (entry: Entry): boolean =>
    (resource === undefined || entry.resource === resource) &&
    (id === undefined || entry.id === id) &&
    (operation === undefined || entry.operation === operation) &&
    (user === undefined || entry.user === user) &&
    entry.time >= since &&
    entry.time <= until

const outside: Place = { _tag: "Out" }
const unknown = (why: Extract<Place, { readonly _tag: "Unknown" }>["why"]): Place => ({ _tag: "Unknown", why })

/** Where the document of an entry was on one side of the write. */
const placeOf = <W>(
  entry: Entry,
  side: "after" | "before",
  repository: Placing<W>,
  within: W
): Effect.Effect<Place, DbError.InvalidInput | Repository.ReadError> => {
  if (entry.operation === (side === "before" ? "insert" : "delete")) return Effect.succeed(outside)
  if (entry[side] === undefined) return Effect.succeed(unknown("noImage"))
  if (entry.truncated.some((path) => path.startsWith(`${side}.`))) return Effect.succeed(unknown("truncated"))
  return repository.imageWithin(entry, side, within).pipe(
    Effect.map(Option.match({ onNone: () => outside, onSome: (values): Place => ({ _tag: "In", values }) })),
    Effect.catchTag("NotFound", () => Effect.succeed(unknown("unreadable"))),
    Effect.catchReasons("DbError", {
      Corrupt: () => Effect.succeed(unknown("unreadable")),
      SecretUnreadable: () => Effect.succeed(unknown("unreadable"))
    })
  )
}

const textOf = (values: JsonObject): string =>
  Object.entries(values)
    .map(([path, value]) => `${encodeURIComponent(path)}=${encodeURIComponent(String(value))}`)
    .join("/")

/** What is wrong with a filter. */
const problemOf = (filter: Filter): InvalidAudit | undefined => {
  for (const field of ["since", "until"] as const) {
    const time = filter[field]
    if (time !== undefined && !Number.isFinite(time)) {
      return new InvalidAudit({ field, problem: "Expected a time in milliseconds since the epoch" })
    }
  }
  const { from, operation } = filter
  if (from !== undefined && (!Number.isSafeInteger(from) || from < 0)) {
    return new InvalidAudit({ field: "from", problem: "Expected a position: a whole number from 0" })
  }
  if (operation !== undefined && !operations.includes(operation)) {
    return new InvalidAudit({ field: "operation", problem: `Expected one of ${operations.join(", ")}` })
  }
  return undefined
}

/** The day of a time in UTC; a clock may have told what is no date. */
const dayOf = (time: number): string => {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? "no date" : date.toISOString().slice(0, -14)
}

const leastLeaseMillis = 100

const check = Effect.fnUntraced(function* (options: Options) {
  const { maxImageBytes = 10_000, retention } = options
  if (!Number.isSafeInteger(maxImageBytes) || maxImageBytes < leastImageBytes) {
    const problem = `Expected a whole number from ${leastImageBytes}`
    return yield* new InvalidAudit({ field: "maxImageBytes", problem })
  }
  if (retention !== undefined && !(millisecondsOf(retention) >= 0)) {
    return yield* new InvalidAudit({ field: "retention", problem: "Expected a duration" })
  }
  for (const field of ["firstPause", "longestPause"] as const) {
    const millis = millisecondsOf(options[field] ?? 0)
    if (!(millis >= 0 && millis < Infinity)) {
      return yield* new InvalidAudit({ field, problem: "Expected a duration that comes to an end" })
    }
  }
  const lease = millisecondsOf(options.lease ?? "30 seconds")
  if (!(lease >= leastLeaseMillis && lease <= daysMillis)) {
    const problem = `Expected a duration from ${leastLeaseMillis} ms to 1 day`
    return yield* new InvalidAudit({ field: "lease", problem })
  }
})

/** The state of a process that only reads the trail, as far as its health goes. */
const idle: Pick<Consumer.RunningState, "failing" | "stopped"> = { failing: undefined, stopped: undefined }

/** Why resources that are named are not in the trail: they leave no versions in the journal. No request. */
const silentOf = (
  { upkeep }: Database["Service"],
  selector: ResourceSelector.ResourceSelector | undefined,
  resources: ReadonlyArray<string>
): string | undefined => {
  const named = ResourceSelector.namesOf(selector)
  const silent = resources.filter((name) => named.has(name) && upkeep(name)?.settings?.journal === undefined)
  if (silent.length === 0) return undefined
  const names = silent.map((name) => JSON.stringify(name)).join(", ")
  return `resources: nothing of ${names} comes into the trail: the option journal is missing`
}

/** Warns where there are resources to follow, and none of them leaves its versions in the journal. No request. */
const warnOfSilence = Effect.fnUntraced(function* (
  { listResources, upkeep }: Database["Service"],
  isChosen: (resource: string) => boolean
) {
  const chosen = (yield* listResources).map(({ name }) => name).filter(isChosen)
  if (chosen.length === 0 || chosen.some((name) => upkeep(name)?.settings?.journal !== undefined)) return
  const shown = chosen.slice(0, 10).map((name) => JSON.stringify(name))
  const names = [...shown, ...(chosen.length > 10 ? [`${chosen.length - 10} more`] : [])].join(", ")
  yield* Effect.logWarning(`nothing comes into the audit trail: ${names} do not have the option journal`)
})

/**
 * Opens the trail of a database, and follows the journal until the scope closes. 1 GET and 2 PUT the first time in a database, and the
 * requests of `Consumer.consume`. Warns in the log where no resource that is there and chosen has the option `journal`.
 *
 * Its health in `Plugin.statuses` is `down` while the trail cannot go on, with what to do; it is tried again after `longestPause`. It is `degraded` while something is in the way of the trail, and where entries wait for more than 5 minutes and
 * nobody keeps the journal, and where `resources` names one that is not registered (the nearest is named) or that does not have the option `journal`. 1 LIST of 1 key when it is asked for; 1 HEAD more where an entry waits for so long.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Audit["Service"], LayerError, Database | Scope.Scope> {
  yield* check(options)
  const database = yield* Database
  const { store } = database
  const self = yield* Plugin.open(plugin, options)
  const prefix = self.prefix().replace(/\/$/, "")
  const log = AppendLog.make(store, {
    prefix: `${prefix}/trail`,
    schema: Kept,
    termsOf,
    segmentEntries: mostAtOnce
  })
  const { journal = database.journal } = options
  const { firstPause, lease, longestPause } = options
  const isChosen = ResourceSelector.toPredicate(options.resources)
  const consumer = Consumer.make(store, {
    source: journal,
    schema: Journal.Record,
    prefix,
    name: "trail",
    select: ({ resource }) => isChosen(resource),
    // Nothing is left out of a trail, whatever is wrong with the store.
    isOutage: () => true,
    stops: (error) => (StoreError.isStoreError(error) && !error.isRetryable ? error : undefined),
    batchSize: mostAtOnce,
    firstPause,
    longestPause,
    lease
  })

  /** The log notes down, with each append, how far in the journal it has come: so each record is in it once. */
  const journaled = ({ note = "0" }: AppendLog.Status): number => Number(note)

  const record = Effect.fnUntraced(function* (
    entries: ReadonlyArray<Journal.Entry>,
    { token }: Consumer.Context
  ): Effect.fn.Return<void, AppendLog.PositionConflict | LeaseLost | StoreError.StoreError> {
    const status = yield* log.status
    const next = journaled(status)
    const fresh = entries.filter(({ position }) => position >= next)
    const last = fresh.at(-1)
    if (last === undefined) return
    const appended = yield* log.append(
      fresh.map((entry) => keptOf(entry, options)),
      { expected: status.next, fence: token, id: `journal ${last.position}`, note: String(last.position + 1) }
    )
    mayBeScattered = true
    yield* self.count("recorded", fresh.length)
    yield* self.publish({ _tag: "Recorded", ...appended })
  })

  /** Whether this process has put small segments. */
  let mayBeScattered = false
  /** What is in one segment is from one day at most, and goes little later than it would by itself. */
  const span = Math.min(daysMillis, millisecondsOf(options.retention ?? Infinity) / 24)

  /** Does something to the log as the one who has the lease, whoever that is. */
  const asHolder = <A>(
    work: (at: AppendLog.Status) => Effect.Effect<A, LeaseLost | StoreError.StoreError>
  ): Effect.Effect<A, StoreError.StoreError> =>
    Effect.flatMap(log.status, work).pipe(Effect.catchTag("LeaseLost", () => Effect.suspend(() => asHolder(work))))

  const compact = Effect.gen(function* () {
    mayBeScattered = false
    const segments = yield* Effect.tapError(
      asHolder(({ fence }) => log.compact({ fence, span })),
      () => Effect.sync(() => (mayBeScattered = true))
    )
    if (segments > 0) yield* self.publish({ _tag: "Compacted", segments })
    return segments
  })

  const retain = Effect.fn("Audit.retain")(function* (
    retention: Pick<AppendLog.Retention, "age" | "before" | "bytes" | "entries">
  ) {
    const [before, first] = yield* asHolder((at) =>
      Effect.map(log.retain({ ...retention, fence: at.fence }), (first) => [at.first, first] as const)
    )
    if (first > before) yield* self.publish({ _tag: "Removed", first })
    return first
  })

  const query = (filter: Filter = {}): Stream.Stream<Entry, ReadError> => {
    const problem = problemOf(filter)
    if (problem !== undefined) return Stream.fail(problem)
    const { from, since } = filter
    const reading = {
      terms: termsIn(filter),
      ...(from === undefined ? {} : { from }),
      ...(since === undefined ? {} : { since: since - daysMillis })
    }
    return log.read(reading).pipe(Stream.map(toEntry), Stream.filter(fits(filter)))
  }

  const partitionHistory = <W>(
    resource: string,
    repository: Placing<W>,
    within: W,
    filter: Omit<Filter, "resource"> = {}
  ): Stream.Stream<PlacedEntry, PartitionError> => {
    // What is wrong with the partition is told also where there is no entry.
    const check = repository
      .imageWithin({ resource, id: "any" }, "after", within)
      .pipe(Effect.catchTag("NotFound", () => Effect.succeedNone))
    const placed = Effect.fnUntraced(function* (entry: Entry) {
      const before = yield* placeOf(entry, "before", repository, within)
      const after = yield* placeOf(entry, "after", repository, within)
      return { entry, before, after }
    })
    return Stream.fromEffect(check).pipe(
      Stream.flatMap(() => query({ ...filter, resource })),
      Stream.mapEffect(placed),
      Stream.filter(({ after, before }) => before._tag !== "Out" || after._tag !== "Out")
    )
  }

  if (options.journal === undefined) yield* warnOfSilence(database, isChosen)
  const { records = true, retention } = options
  const running = records ? yield* consumer.consume(record) : undefined
  if (retention !== undefined && records) {
    yield* retain({ age: retention }).pipe(
      Effect.catch((error) => Effect.logWarning("the retention of the audit trail is tried again", error)),
      Effect.andThen(Effect.sleep("1 hour")),
      Effect.forever,
      Effect.forkScoped
    )
  }
  if (running !== undefined) {
    const compactIfIdle = Effect.gen(function* () {
      if (!mayBeScattered) return true
      if ((yield* running.state).lag > 0) return false
      yield* compact
      return true
    }).pipe(
      Effect.catch((error) =>
        Effect.as(Effect.logWarning("the audit trail could not be put together; it is tried again", error), true)
      )
    )
    yield* Effect.sleep("1 hour").pipe(
      Effect.andThen(Effect.repeat(Effect.delay(compactIfIdle, "1 minute"), { until: (isDone) => isDone })),
      Effect.forever,
      Effect.forkScoped
    )
  }
  // Of another journal it is not known where its entries wait.
  const waiting = options.journal === undefined ? keeping.make(store, database.journal.prefix) : Effect.undefined
  const health = Effect.gen(function* (): Effect.fn.Return<PluginRegistry.Health> {
    const { failing, stopped } = running === undefined ? idle : yield* running.state
    if (stopped !== undefined) return { level: "down", detail: `the trail cannot go on; it is tried again. ${stopped}` }
    if (failing !== undefined)
      return { level: "degraded", detail: `the trail waits for what cannot be done: ${failing}` }
    const detail = yield* Effect.catch(waiting, ({ message }) =>
      Effect.succeed(`it cannot be seen whether entries wait for the journal: ${message}`)
    )
    const names = (yield* database.listResources).map(({ name }) => name)
    // A journal of one's own tells of resources elsewhere.
    const strange = options.journal === undefined ? ResourceSelector.problemOf(options.resources, names) : undefined
    const silent = options.journal === undefined ? silentOf(database, options.resources, names) : undefined
    const details = [strange, silent, detail].filter((one) => one !== undefined)
    return details.length === 0 ? { level: "up" } : { level: "degraded", detail: details.join("; ") }
  })
  yield* self.running({
    health,
    ...(running === undefined ? {} : { counters: Effect.map(running.state, ({ lag }) => ({ lag })) })
  })

  return {
    query,
    history: (resource, id) => query({ resource, id }),
    partitionHistory,
    partitionStats: Effect.fn("Audit.partitionStats")(function* (resource, repository, within, filter) {
      let [total, unknown] = [0, 0]
      const byValues = new Map<string, number>()
      yield* Stream.runForEach(partitionHistory(resource, repository, within, filter), ({ after, before }) =>
        Effect.sync(() => {
          const places = [before, after].flatMap((place) => (place._tag === "In" ? [textOf(place.values)] : []))
          if (places.length === 0) unknown += 1
          else total += 1
          for (const place of new Set(places)) byValues.set(place, (byValues.get(place) ?? 0) + 1)
        })
      )
      return { total, unknown, byValues: Object.fromEntries(byValues) }
    }),
    compact,
    events: self.events,
    stats: Effect.fn("Audit.stats")(function* (filter) {
      const counts = { operation: new Map(), resource: new Map(), user: new Map(), day: new Map() } satisfies Record<
        string,
        Map<string, number>
      >
      let total = 0
      const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1)
      yield* Stream.runForEach(query(filter), ({ operation, resource, time, user }) =>
        Effect.sync(() => {
          total += 1
          add(counts.operation, operation)
          add(counts.resource, resource)
          if (user !== undefined) add(counts.user, user)
          add(counts.day, dayOf(time))
        })
      )
      return {
        total,
        byOperation: Object.fromEntries(counts.operation),
        byResource: Object.fromEntries(counts.resource),
        byUser: Object.fromEntries(counts.user),
        byDay: Object.fromEntries(counts.day)
      }
    }),
    verify: log.verify,
    status: Effect.map(log.status, (status) => ({
      first: status.first,
      next: status.next,
      head: status.head,
      journal: journaled(status)
    })),
    lag: consumer.lag,
    seek: (place) => Effect.tap(consumer.seek(place), (position) => self.publish({ _tag: "Moved", journal: position })),
    caughtUp: Effect.flatMap(journal.position, (position) =>
      position === 0 ? Effect.void : Effect.asVoid(consumer.waitUntil(position))
    ),
    retain
  }
})

/**
 * Makes the trail of a database for those who ask for it, and follows the journal as long as it lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Audit, LayerError, Database> =>
  Layer.effect(Audit, make(options))
