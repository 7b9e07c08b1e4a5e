/**
 * Documents that expire: by their age, or at the time in a field; deleted, marked, moved to an archive, or given to a program.
 *
 * ```ts
 * import * as Id from "effect-s3db/crypto/Id"
 * import * as Ttl from "effect-s3db/plugins/Ttl"
 * import * as Resource from "effect-s3db/Resource"
 * import { Layer, Schema } from "effect"
 *
 * class Sessions extends Resource.Service<Sessions>()("app/sessions", {
 *   schema: Schema.Struct({ id: Id.Random, user: Schema.String }),
 *   primaryKey: "id"
 * }) {}
 *
 * const Expiry = Ttl.layer({
 *   policies: [Ttl.policy(Sessions, { after: "30 minutes", since: "$updatedAt", hide: true })]
 * }).pipe(Layer.provideMerge(Sessions.layer))
 * ```
 *
 * **Details**
 *
 * What is due is found by a companion, which holds for each document the time that its age counts from: the write protocol keeps it, so that no
 * document is missed, whatever crashed when. A sweep begins with the earliest that is left; it makes no difference
 * for how long nobody swept. Of the processes with this layer one sweeps at a time, by a lease, which it has for as long as something is due; but nothing relies on that: a
 * document is removed or marked on the condition that it is the version that was looked at, so that one which is refreshed at the same
 * time survives. Time is the store's.
 *
 * Requests: a sweep is 1 LIST for each 1,000 documents that are due, and 1 at least for each policy. A document is 3 more: 1 GET, 1
 * DELETE (`softDelete`: 1 PUT), and 1 DELETE for its key in the index. To archive one is a transaction. Idle: 1 LIST for each policy every
 * minute (`interval`), in each process that sweeps. From when something is due until a sweep finds nothing: 1 GET and 2 PUT to take the lease and give it up, and
 * 1 PUT (of a follower: 1 GET) a minute (a third of `lease`) to keep it. A document that can expire costs 1 PUT more when it is
 * inserted, and 1 PUT and 1 DELETE more when the time changes that its age counts from.
 *
 * @see `docs/guide/ttl.md`
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Change from "../Change.ts"
import type * as Companion from "../Companion.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Document } from "../Document.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { idempotencyKey } from "../internal/idempotencyKey.ts"
import * as Lease from "../kernel/Lease.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import type { Names } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import type { Insert, ListError } from "../Repository.ts"
import type { ServiceClass } from "../Resource.ts"
import type * as Attributes from "../schema/Attributes.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Transaction from "../Transaction.ts"
import * as Due from "./ttl/due.ts"
import * as Bound from "./ttl/policy.ts"
import type { Event, Report, Stats, SweepError } from "./ttl/sweeper.ts"
import * as Sweeper from "./ttl/sweeper.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A policy or an option that cannot be. Nothing was written. `resource` is empty for an option of all policies; `field` says which one,
 * `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidTtl extends ExpectedError<InvalidTtl>("effect-s3db/plugins/Ttl/InvalidTtl")(
  "InvalidTtl",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    const what = this.resource === "" ? "the options of ttl" : `the policy of ${JSON.stringify(this.resource)}`
    return `${what}, ${this.field}: ${this.problem}`
  }
}

/**
 * A resource that no policy of this process is about.
 *
 * @remedy Give the layer a policy for the resource, or name a resource that has one.
 * @category errors
 * @since 0.1.0
 */
export class NoPolicy extends ExpectedError<NoPolicy>("effect-s3db/plugins/Ttl/NoPolicy")(
  "NoPolicy",
  { resource: Schema.String },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    return `no policy is about ${JSON.stringify(this.resource)}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidTtl | Plugin.InvalidPlugin | Plugin.AttributeTaken | DbError.DbError

// -----------------------------------------------------------------------------
// Actions
// -----------------------------------------------------------------------------

/**
 * A document that is due, as programs see it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expired<out A> {
  readonly resource: string
  readonly document: Document<A>
  readonly expiredAt: DateTime.Utc
  /**
   * The same for the same version of the document, and that of no other of the database: for systems that take an idempotency key. The
   * plugin with its namespace, the resource, the id and the revision, each percent-encoded.
   */
  readonly idempotencyKey: string
}

/**
 * What is done with a document that is due.
 *
 * @category models
 * @since 0.1.0
 */
export type OnExpire<A, R = never> =
  | { readonly _tag: "Delete" }
  | { readonly _tag: "SoftDelete"; readonly field: string }
  | { readonly _tag: "Archive"; readonly run: (expired: Expired<A>) => Effect.Effect<unknown, unknown, R> }
  | {
      readonly _tag: "Callback"
      readonly run: (expired: Expired<A>) => Effect.Effect<"delete" | "keep", unknown, R>
    }

/**
 * Deletes documents.
 *
 * @category constants
 * @since 0.1.0
 */
export const hardDelete: OnExpire<unknown> = { _tag: "Delete" }

/**
 * Writes the time into a field of the document, and leaves it. Whoever clears the field puts it under its policy again; with `hide`
 * readers do not see it until then. Default: `deletedAt`, see `attributes`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const softDelete = (field = "deletedAt"): OnExpire<unknown> => ({ _tag: "SoftDelete", field })

/**
 * Inserts what a function makes of a document into another resource of the database, and deletes the document, together or not at all: there is exactly
 * one copy. The id of the copy is the function's to choose: where it is taken the document stays, and is counted as failed. Make it of
 * the id and a time where ids come again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const archive = <A, Self, Id extends string, S extends Attributes.DocumentSchema, N extends Names>(
  target: ServiceClass<Self, Id, S, N>,
  copy: (expired: Expired<A>) => Insert<S, N>
): OnExpire<A, Self> => ({
  _tag: "Archive",
  run: (expired) => Effect.flatMap(target, (repository) => repository.insert(copy(expired)))
})

/**
 * Runs a program, which says whether the document is deleted or kept. One that is kept is asked about again in the next sweep, unless
 * the program has given it another time. At least once: again after a crash, or when the program fails.
 *
 * @category constructors
 * @since 0.1.0
 */
export const callback = <A, R = never>(
  run: (expired: Expired<A>) => Effect.Effect<"delete" | "keep", unknown, R>
): OnExpire<A, R> => ({ _tag: "Callback", run })

// -----------------------------------------------------------------------------
// Policies
// -----------------------------------------------------------------------------

/**
 * When documents expire, and what becomes of them. One of `after` and `at` has to be given.
 *
 * @category models
 * @since 0.1.0
 */
export interface PolicyOptions<A, out R = never> {
  /** How long after the time of `since`. Of any length; it may change without anything being built anew. */
  readonly after?: Duration.Input | undefined
  /** What `after` counts from: `$createdAt`, the default, `$updatedAt`, or the path of a field with a time. */
  readonly since?: Due.Since | undefined
  /**
   * The path of a field with the time at which the document expires. A time is a `DateTime`, a `Date`, a number of milliseconds, or a
   * text in ISO 8601 with an offset. A document without one never expires.
   */
  readonly at?: string | undefined
  /** Default: `hardDelete`. */
  readonly onExpire?: OnExpire<A, R> | undefined
  /**
   * `true`: what has expired is not there for readers of this process, however late the sweeper is: it is `NotFound`, in no listing, and
   * not counted. What `softDelete` has marked stays hidden until the mark is cleared. Lists of ids and counts then read each
   * document. What writes does not look at it: the id is taken until it is swept, and an update or upsert refreshes the document.
   * Default `false`.
   */
  readonly hide?: boolean | undefined
}

/**
 * A policy of a resource: see `policy`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy<out R> {
  readonly resource: string
  /** @internal */
  readonly check: Effect.Effect<void, InvalidTtl>
  /** @internal */
  readonly open: (
    now: Effect.Effect<number, DbError.DbError>,
    self: Plugin.Instance<Event>
  ) => Effect.Effect<Bound.Bound, LayerError, Database | Scope.Scope | R>
}

/** The path of a field is of text, a time of the system has `$` before it. */
const indexOf = ({ at, onExpire, since }: PolicyOptions<never, unknown>): Due.Index => ({
  since: at ?? since ?? "$createdAt",
  unless: onExpire?._tag === "SoftDelete" ? onExpire.field : undefined
})

/**
 * Declares the policy of a resource. No request, and no check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const policy = <Self, Id extends string, S extends Attributes.DocumentSchema, N extends Names, R = never>(
  resource: ServiceClass<Self, Id, S, N>,
  options: PolicyOptions<S["Type"], R>
): Policy<Self | R> => {
  const { definition } = resource
  const { name } = definition
  const index = indexOf(options)
  const after = afterOf(options)
  const { hide = false, onExpire = hardDelete } = options

  return {
    resource: name,
    check: checked(definition, options, index, after),
    open: Effect.fnUntraced(function* (now, self) {
      const database = yield* Database
      const repository = yield* resource
      const services = yield* Effect.context<R>()
      if (index.unless !== undefined && Plugin.ownerOf(definition.schema, index.unless) === plugin.name) {
        yield* self.claim(definition, { [index.unless]: attributes.deletedAt })
      }
      yield* repository.addCompanion(Due.nameOf(index), Due.companion(index))
      const expired = (document: Document<S["Type"]>, at: number): Expired<S["Type"]> => ({
        resource: name,
        document,
        expiredAt: DateTime.makeUnsafe(at),
        idempotencyKey: idempotencyKey(self.slug, name, document.id, document.revision)
      })
      const action: Bound.Action<S["Type"]> =
        onExpire._tag === "Archive"
          ? { ...onExpire, run: (...args) => Effect.provideContext(onExpire.run(expired(...args)), services) }
          : onExpire._tag === "Callback"
            ? { ...onExpire, run: (...args) => Effect.provideContext(onExpire.run(expired(...args)), services) }
            : onExpire
      const bound = Bound.bind(definition, repository, { index, after, action, now, database, slug: self.slug })
      if (hide) yield* bound.hide
      return bound
    })
  }
}

/** Milliseconds; not a number where it is none. */
const afterOf = ({ after, at }: PolicyOptions<never, unknown>): number =>
  after === undefined ? (at === undefined ? Number.NaN : 0) : millisecondsOf(after)

/** The times of the system that an age can count from. */
const systemTimes: ReadonlyArray<string> = ["$createdAt", "$updatedAt"]

const checked = Effect.fnUntraced(function* (
  definition: Bound.Declared,
  { after: given, at, onExpire, since }: PolicyOptions<never, unknown>,
  { since: base }: Due.Index,
  after: number
) {
  const refuse = (field: string, problem: string) => new InvalidTtl({ resource: definition.name, field, problem })
  if (given === undefined && at === undefined) return yield* refuse("after", "Expected after or at")
  if (at !== undefined && (given !== undefined || since !== undefined)) {
    return yield* refuse("at", "Expected it without after and since")
  }
  if (!Number.isFinite(after) || after < 0) return yield* refuse("after", "Expected a duration, and an end of it")
  if (at === undefined && after === 0) return yield* refuse("after", "Expected a duration of more than nothing")
  const isKnown =
    (at === undefined && systemTimes.includes(base)) ||
    definition.attributes.some(({ path }) => path.join(".") === base && Bound.canHoldTime(definition, path))
  if (!isKnown) {
    return yield* refuse(at === undefined ? "since" : "at", `Expected a field with a time, not ${JSON.stringify(base)}`)
  }
  if (onExpire !== undefined && !["Delete", "SoftDelete", "Archive", "Callback"].includes(onExpire._tag)) {
    return yield* refuse("onExpire", "Expected hardDelete, softDelete, archive or callback")
  }
  if (onExpire?._tag === "SoftDelete" && Bound.timeFormOf(definition, onExpire.field) === undefined) {
    const problem = `Expected an optional field that can hold a time, not ${JSON.stringify(onExpire.field)}`
    return yield* refuse("onExpire", problem)
  }
})

/**
 * Returns the due index of a policy with its name, for programs that write the resource without this layer: they declare it as
 * one of the `companions` of the resource.
 *
 * @category getters
 * @since 0.1.0
 */
export const companionOf = (
  options: PolicyOptions<never, unknown>
): { readonly name: string; readonly companion: Companion.Companion } => {
  const index = indexOf(options)
  return { name: Due.nameOf(index), companion: Due.companion(index) }
}

// -----------------------------------------------------------------------------
// Ttl
// -----------------------------------------------------------------------------

export type { Event, Report, Stats, SweepError } from "./ttl/sweeper.ts"

/**
 * The options of a sweep by hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface SweepOptions {
  /** Default: all with a policy. */
  readonly resource?: string | undefined
  /**
   * `true`: tells what would be done, and does nothing but build the index where that is not done; callbacks are not asked, and count as
   * `deleted`. Default `false`.
   */
  readonly dryRun?: boolean | undefined
  /**
   * The most documents of each resource that are deleted, marked or archived, the earliest first. Those that stay, since they fail, are kept or
   * have changed, do not count: ten times the limit are looked at at most, and what stayed comes last the next time, in this
   * process. Default: all.
   */
  readonly limit?: number | undefined
}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("ttl", { version: 1 })

/**
 * The attribute that `softDelete` writes by default, to be put into a schema: see `Plugin.withAttributes`.
 *
 * @category constants
 * @since 0.1.0
 */
export const attributes = Plugin.attributes(plugin, { deletedAt: Schema.optionalKey(Schema.DateTimeUtc) })

/**
 * The documents of a database that expire.
 *
 * @category services
 * @since 0.1.0
 */
export class Ttl extends Context.Service<
  Ttl,
  {
    /**
     * Sweeps now, in this process, also beside a sweep of another, and tells what it did, for each resource. Requests as of a sweep.
     * `NoPolicy`; `InvalidTtl`: a limit is wrong. A document that fails does not stop the others. `DbError` with `Unsupported` within a
     * transaction, which could take back what was told and counted: call it before or after. Where the index has to be
     * built, as the first time, it waits for a `catalogLease` and a tenth more, 5.5 seconds by default.
     */
    readonly runNow: (
      options?: SweepOptions
    ) => Effect.Effect<ReadonlyArray<Report>, NoPolicy | InvalidTtl | SweepError>
    /**
     * The documents of a resource that are due as far as the index says, the earliest first, at most `limit` (default 1,000). 1 LIST for each
     * 1,000. `NoPolicy`; `InvalidTtl`: a limit is wrong; `DbError` with `Incomplete` until a sweep has built the index of documents that
     * were there before it.
     */
    readonly due: (
      resource: string,
      options?: { readonly limit?: number | undefined }
    ) => Effect.Effect<
      ReadonlyArray<{ readonly id: string; readonly expiredAt: DateTime.Utc }>,
      NoPolicy | InvalidTtl | ListError
    >
    /** No request. */
    readonly stats: Effect.Effect<Stats>
    /** What this process does, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly events: Stream.Stream<Event | Change.Lagged>
  }
>()("effect-s3db/plugins/Ttl") {}

/**
 * Any policy.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyPolicy = Policy<unknown>

/**
 * The services that policies need: those of their resources, and of what is done.
 *
 * @category models
 * @since 0.1.0
 */
export type Services<P extends AnyPolicy> = P extends Policy<infer R> ? R : never

/**
 * The policies of a program, and how they are carried out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<P extends AnyPolicy = AnyPolicy> extends Plugin.Options {
  readonly policies: ReadonlyArray<P>
  /** How long after a sweep the next one begins. 1 second to 1 day; default: 1 minute. */
  readonly interval?: Duration.Input | undefined
  /** How many documents are looked at at once. 1 to 1,000; default: 16. */
  readonly concurrency?: number | undefined
  /** How long a process that stands still keeps others from sweeping. 3 seconds to 1 day; default: 3 minutes. */
  readonly lease?: Duration.Input | undefined
  /**
   * `false`: this process keeps the index, and hides what has expired, but sweeps by `runNow` only, and asks for nothing when it is idle. Default
   * `true`.
   */
  readonly sweep?: boolean | undefined
}

/**
 * Makes what expires documents until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Ttl.make")(function* <P extends AnyPolicy>(
  options: Options<P>
): Effect.fn.Return<Ttl["Service"], LayerError, Database | Scope.Scope | Services<P>> {
  const { sweep = true } = options
  // What each of them needs is among what all of them need.
  const policies = options.policies as ReadonlyArray<Policy<Services<P>>>
  const { concurrency, interval, lease } = yield* limitsOf(options)
  for (const [i, { check, resource }] of policies.entries()) {
    yield* check
    if (policies.findIndex((one) => one.resource === resource) === i) continue
    return yield* new InvalidTtl({ resource, field: "policies", problem: "Expected one policy for each resource" })
  }
  const { store } = yield* Database
  const self = yield* Plugin.open(plugin, options)
  const named = DbError.named("Ttl")
  const now = named(yield* StoreClock.kept(store))
  const bound = yield* Effect.forEach(policies, ({ open }) => open(now, self))
  const sweeper = Sweeper.make(bound, { self, concurrency })

  if (sweep && bound.length > 0) {
    const election = Lease.make(store, { key: `${self.prefix()}lease`, duration: lease })
    const sweeping = competing(election, sweeper, interval)
    yield* Effect.forkScoped(Effect.provideService(sweeping, InstrumentedStore.CurrentPlugin, self.slug))
  }
  yield* self.running({
    health: Effect.map(sweeper.stats, ({ troubles }) => {
      const [detail] = Object.entries(troubles).map(([resource, why]) => `${resource}: ${why}`)
      return detail === undefined ? { level: "up" } : { level: "degraded", detail }
    }),
    // What an idle sweeper asks for.
    usage: Effect.succeed({
      requests: { list: sweep ? (bound.length * Duration.toMillis("30 days")) / Duration.toMillis(interval) : 0 }
    })
  })

  const chosen = Effect.fnUntraced(function* (resource: string | undefined, limit: number | undefined) {
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1)) {
      return yield* new InvalidTtl({
        resource: resource ?? "",
        field: "limit",
        problem: "Expected a whole number from 1"
      })
    }
    const found = bound.filter((one) => resource === undefined || one.resource === resource)
    return resource !== undefined && found.length === 0 ? yield* new NoPolicy({ resource }) : found
  })

  return {
    runNow: Effect.fn("Ttl.runNow")(function* ({ dryRun = false, limit, resource } = {}) {
      const which = yield* chosen(resource, limit)
      if ((yield* Transaction.Current) !== undefined) {
        const description = "call runNow before the transaction or after it"
        const reason = new StoreError.Unsupported({ feature: "sweeping within a transaction", description })
        return yield* DbError.make("Ttl.runNow", reason)
      }
      return yield* named(sweeper.sweep(which, { dryRun, limit }))
    }),
    due: Effect.fn("Ttl.due")(function* (resource, { limit = 1000 } = {}) {
      const [one] = yield* chosen(resource, limit)
      const entries = yield* named(sweeper.due(one!, limit))
      return entries.map(({ expiredAt, id }) => ({ id, expiredAt: DateTime.makeUnsafe(expiredAt) }))
    }),
    stats: sweeper.stats,
    events: self.events
  }
})

/**
 * Looks whether anything is due, and sweeps with the lease for as long as something is: who is idle has no lease to keep. What fails is tried
 * again: nobody else may be there.
 */
const competing = (election: Lease.Lease, { look, sweepAll }: Sweeper.Sweeper, interval: Duration.Duration) => {
  const sweepWhileDue = Effect.gen(function* () {
    while (yield* sweepAll) yield* Effect.sleep(interval)
  })
  return Effect.flatMap(look, (isDue) => (isDue ? election.runWhileLeader(() => sweepWhileDue) : Effect.void)).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning("ttl: the lease could not be had; it is tried again", cause)
    ),
    Effect.andThen(Effect.sleep(interval)),
    Effect.forever
  )
}

/**
 * Expires documents until the layer is closed. `InvalidTtl`: a policy or an option is wrong; nothing has been written.
 * `InvalidPlugin`: the namespace is. `AttributeTaken`: the field of a `softDelete` is another plugin's. `DbError`: `Unsupported` where the
 * resource has a due index that this program does not know.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <P extends AnyPolicy>(
  options: Options<P>
): Layer.Layer<Ttl, LayerError, Database | Exclude<Services<P>, Scope.Scope>> => Layer.effect(Ttl, make(options))

const limitsOf = Effect.fnUntraced(function* (options: Omit<Options, "policies">) {
  const { concurrency = 16 } = options
  const refuse = (field: string, problem: string) => new InvalidTtl({ resource: "", field, problem })
  if (!Number.isSafeInteger(concurrency) || concurrency < 1 || concurrency > 1000) {
    return yield* refuse("concurrency", "Expected a whole number from 1 to 1,000")
  }
  const within = Effect.fnUntraced(function* (field: "interval" | "lease", otherwise: number, least: number) {
    const duration = Duration.fromInput(options[field] ?? otherwise)
    const millis = Option.isNone(duration) ? Number.NaN : Duration.toMillis(duration.value)
    if (millis >= least && millis <= 86_400_000) return Duration.millis(millis)
    return yield* refuse(field, `Expected a duration from ${least} ms to 1 day`)
  })
  return {
    concurrency,
    interval: yield* within("interval", 60_000, 1000),
    lease: yield* within("lease", 180_000, 3000)
  }
})
