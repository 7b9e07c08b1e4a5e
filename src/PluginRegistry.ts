/**
 * The plugins that are open in a database of this process: what they are, how they fare, and what they tell.
 *
 * **Details**
 *
 * `Database` has one. Plugins come into it by `Plugin.open`, and leave it when their scope closes; `Plugin.statuses` reads it. Nothing
 * is looked up in it to be called: what a plugin depends on is in the input of its layer.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Change from "./Change.ts"
import type * as InstrumentedStore from "./storage/InstrumentedStore.ts"

// -----------------------------------------------------------------------------
// Status
// -----------------------------------------------------------------------------

/**
 * How far a plugin has come: it is being built, does its work, or is being closed.
 *
 * @category models
 * @since 0.1.0
 */
export const State = Schema.Literals(["starting", "running", "stopping"])

/**
 * How far a plugin has come.
 *
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

/**
 * How a plugin fares: `up`; `degraded`, it does its work in part, or late; `down`, it does not. `detail` says why, for people.
 *
 * @category models
 * @since 0.1.0
 */
export const Health = Schema.Struct({
  level: Schema.Literals(["up", "degraded", "down"]),
  detail: Schema.optionalKey(Schema.String)
})

/**
 * How a plugin fares.
 *
 * @category models
 * @since 0.1.0
 */
export type Health = typeof Health.Type

/**
 * All there is to say of a plugin that is open.
 *
 * @category models
 * @since 0.1.0
 */
export const Status = Schema.Struct({
  plugin: Schema.String,
  /** The version of what it stores. */
  version: Schema.Int,
  /** Empty where it has none. */
  namespace: Schema.String,
  /** What its keys in the store are named by: see `Plugin.slugOf`. */
  slug: Schema.String,
  /** What it goes by where several are open beside each other: a queue has its own. Missing where there is one only. */
  name: Schema.optionalKey(Schema.String),
  state: State,
  /** When it came into this state. */
  since: Schema.DateTimeUtc,
  health: Health,
  /** What it has counted since it was opened, by name. */
  counters: Schema.Record(Schema.String, Schema.Finite)
})

/**
 * All there is to say of a plugin that is open.
 *
 * @category models
 * @since 0.1.0
 */
export type Status = typeof Status.Type

// -----------------------------------------------------------------------------
// Events
// -----------------------------------------------------------------------------

interface Of {
  readonly plugin: string
  readonly namespace: string
  readonly at: DateTime.Utc
}

/**
 * What is told of plugins: that one has come to another state (`undefined`: it is closed), that an attribute of a resource is
 * another's, or nobody's any more, and whatever a plugin itself tells, under the name `plugin.NAME.TAG`. For observation: nothing
 * may depend on it.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | (Of & { readonly _tag: "StateChanged"; readonly state: State | undefined })
  | (Of & {
      readonly _tag: "AttributeClaimed" | "AttributeReclaimed" | "AttributeOrphaned"
      readonly resource: string
      readonly attribute: string
    })
  | (Of & { readonly _tag: "Published"; readonly name: string; readonly event: { readonly _tag: string } })

/**
 * The events that are meant: all that meet every part that is given. In short: the tag of an event.
 *
 * @category models
 * @since 0.1.0
 */
export type Filter =
  | Event["_tag"]
  | {
      readonly tag?: Event["_tag"] | undefined
      readonly plugin?: string | undefined
      readonly namespace?: string | undefined
    }

const matches = (filter: Filter): ((event: Event) => boolean) => {
  const { namespace, plugin, tag } = typeof filter === "string" ? { tag: filter } : filter
  return (event) =>
    (tag === undefined || event._tag === tag) &&
    (plugin === undefined || event.plugin === plugin) &&
    (namespace === undefined || event.namespace === namespace)
}

// -----------------------------------------------------------------------------
// Registry
// -----------------------------------------------------------------------------

/**
 * What a plugin asks of the store in 30 days if nothing happens that it has work of: see `plugins/Costs`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Usage {
  readonly requests: Partial<InstrumentedStore.Counts>
  /** How many bytes it keeps in the store in the end. Default: 0. */
  readonly bytes?: number | undefined
}

/**
 * What a plugin says of itself as it starts its work.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** Asked for each status, for 5 seconds at most. A defect counts as `down`. Default: `up`. */
  readonly health?: Effect.Effect<Health> | undefined
  /** Asked for each status, beside what the plugin counts by `Instance.count`. */
  readonly counters?: Effect.Effect<Readonly<Record<string, number>>> | undefined
  /** Asked for each estimate of costs. Default: nothing. */
  readonly usage?: Effect.Effect<Usage> | undefined
}

/**
 * A plugin that is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly identity: Pick<Status, "plugin" | "version" | "namespace" | "slug" | "name">
  /** Says that it does its work from now on, until the scope closes. */
  readonly running: (report: Report) => Effect.Effect<void, never, Scope.Scope>
  /** Adds to what it has counted. */
  readonly count: (name: string, by: number) => Effect.Effect<void>
  readonly status: Effect.Effect<Status>
  /** What it asks of the store by itself. */
  readonly usage: Effect.Effect<Usage>
}

/**
 * The plugins that are open in a database.
 *
 * @category models
 * @since 0.1.0
 */
export interface PluginRegistry {
  /** Adds a plugin that is being built, until the scope closes. */
  readonly add: (identity: Entry["identity"]) => Effect.Effect<Entry, never, Scope.Scope>
  /** In the order in which they were opened. */
  readonly entries: Effect.Effect<ReadonlyArray<Entry>>
  readonly events: Change.Hub<Event, Filter>
}

/**
 * Creates the registry of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<PluginRegistry> = Effect.gen(function* () {
  const events = yield* Change.makeHub<Event, Filter>(matches, { of: "plugins" })
  const entries = new Set<Entry>()

  const opened = Effect.fnUntraced(function* (identity: Entry["identity"]) {
    const { namespace, plugin } = identity
    let state: State = "starting"
    let since = yield* DateTime.now
    let report: Report = {}
    const counts = new Map<string, number>()

    const enter = Effect.fnUntraced(function* (next: State | undefined) {
      const at = yield* DateTime.now
      since = at
      if (next !== undefined) state = next
      yield* events.publish(() => ({ _tag: "StateChanged", plugin, namespace, at, state: next }))
    })

    const entry: Entry = {
      identity,
      running: (given) =>
        Effect.asVoid(
          Effect.acquireRelease(
            Effect.suspend(() => {
              report = given
              return enter("running")
            }),
            () => enter("stopping")
          )
        ),
      count: (name, by) => Effect.sync(() => void counts.set(name, (counts.get(name) ?? 0) + by)),
      status: Effect.gen(function* () {
        const asked = yield* Effect.all(
          [asking(report.health ?? up, down), asking(report.counters ?? none, () => ({}))],
          {
            concurrency: 2
          }
        )
        const [health, counters] = asked
        return { ...identity, state, since, health, counters: { ...Object.fromEntries(counts), ...counters } }
      }),
      usage: Effect.suspend(() => asking(report.usage ?? noUsage, () => ({ requests: {} })))
    }
    yield* enter("starting")
    entries.add(entry)
    return {
      entry,
      close: Effect.andThen(
        Effect.sync(() => void entries.delete(entry)),
        enter(undefined)
      )
    }
  })

  return {
    add: (identity) =>
      Effect.map(
        Effect.acquireRelease(opened(identity), ({ close }) => close),
        ({ entry }) => entry
      ),
    entries: Effect.sync(() => [...entries]),
    events
  }
})

const up: Effect.Effect<Health> = Effect.succeed({ level: "up" })
const noUsage: Effect.Effect<Usage> = Effect.succeed({ requests: {} })
const none: Effect.Effect<Readonly<Record<string, number>>> = Effect.succeed({})

const down = (detail: string): Health => ({ level: "down", detail })

/** What a plugin answers, or what stands for that it did not. */
const asking = <A>(effect: Effect.Effect<A>, otherwise: (why: string) => A): Effect.Effect<A> =>
  effect.pipe(
    Effect.timeoutOption("5 seconds"),
    Effect.map(Option.getOrElse(() => otherwise("it did not answer within 5 seconds"))),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.as(
            Effect.logError("a plugin could not say how it fares", cause),
            otherwise("it could not say how it fares")
          )
    )
  )
