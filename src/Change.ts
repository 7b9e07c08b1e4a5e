/**
 * What has changed, told after the commit: typed events to as many subscribers as there are.
 *
 * **Details**
 *
 * A feed tells of the writes of this process from the moment of subscription, each as soon as the store has answered. Two
 * writes at the same time may be answered in another order than they were done: `version` says which is the later one. It
 * is for observation: what must not be missed, also when the process ends, belongs into an outbox.
 *
 * A write never waits for a subscriber and never fails because of one. Each subscriber may be 1,024 events behind (`capacity`)
 * what it has drawn; of one that is slower the oldest are dropped, and it is told how many in their place, by `Lagged`. Read the resource
 * again then, or go on, as you need.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

// -----------------------------------------------------------------------------
// Events
// -----------------------------------------------------------------------------

/**
 * The kind of a change. A write that does not look at what is there tells what it is meant to do: a `replace` is `Updated`, a
 * deletion `Deleted`, although there may have been nothing. Where partitions, unique keys, history, content, counters,
 * userstamps or checks make them look, a `replace` of nothing is `Inserted`, and a deletion of nothing is not told.
 *
 * @category models
 * @since 0.1.0
 */
export type Tag = "Inserted" | "Updated" | "Deleted" | "ContentSet" | "ContentDeleted"

/**
 * One committed change of one document.
 *
 * @category models
 * @since 0.1.0
 */
export interface Change<out A, out Id extends string = string> {
  readonly _tag: Tag
  readonly resource: string
  readonly id: Id
  /** `None` for an insert, and where the write did not need to read the document. */
  readonly before: Option.Option<A>
  /** `None` for a deletion. A change of content leaves the fields as they were. */
  readonly after: Option.Option<A>
  /**
   * How many versions there have been since the document was inserted: of a deletion those that there were, `None` where
   * nobody looked. Of two changes of a document the one with the higher number is the later one.
   */
  readonly version: Option.Option<number>
  /** The same for the same write, however often it is told. */
  readonly writeId: string
  readonly at: DateTime.Utc
}

/**
 * A gap where events were dropped, because the subscriber was too far behind. It counts all of them, also those that
 * its filter would not have let pass.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lagged {
  readonly _tag: "Lagged"
  readonly missed: number
}

/**
 * Tells whether an item of a subscription stands for events that were dropped.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLagged = <Event extends { readonly _tag: string }>(event: Event | Lagged): event is Lagged =>
  event._tag === "Lagged"

/**
 * The changes that are meant: all that meet every part that is given. In short: `"Inserted"`, or `"Inserted:ID"`.
 *
 * @category models
 * @since 0.1.0
 */
export type Filter =
  | Tag
  | `${Tag}:${string}`
  | {
      readonly tag?: Tag | ReadonlyArray<Tag> | undefined
      readonly id?: string | ReadonlyArray<string> | undefined
      /** For the changes of a whole database. */
      readonly resource?: string | ReadonlyArray<string> | undefined
    }

/**
 * Returns the test that a filter stands for.
 *
 * @category conversions
 * @since 0.1.0
 */
export const matches = (
  filter: Filter
): ((change: Pick<Change<unknown>, "_tag" | "id"> & { readonly resource?: string }) => boolean) => {
  if (typeof filter === "string") {
    const colon = filter.indexOf(":")
    const name = colon < 0 ? filter : filter.slice(0, colon)
    const wanted = colon < 0 ? undefined : filter.slice(colon + 1)
    return ({ _tag, id }) => _tag === name && (wanted === undefined || id === wanted)
  }
  const tags = setOf(filter.tag)
  const ids = setOf(filter.id)
  const resources = setOf(filter.resource)
  return ({ _tag, id, resource = "" }) =>
    (tags?.has(_tag) ?? true) && (ids?.has(id) ?? true) && (resources?.has(resource) ?? true)
}

const setOf = (names: string | ReadonlyArray<string> | undefined): ReadonlySet<string> | undefined =>
  names === undefined ? undefined : new Set(typeof names === "string" ? [names] : names)

/**
 * Something that happened to the database itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface LifecycleEvent {
  readonly _tag: "ResourceOpened" | "ResourceCreated" | "Closed"
  /** `None` for `Closed`. */
  readonly resource: Option.Option<string>
  readonly at: DateTime.Utc
}

/**
 * The events of the database that are meant: all that meet every part that is given. In short: the tag of an event.
 *
 * @category models
 * @since 0.1.0
 */
export type LifecycleFilter =
  | LifecycleEvent["_tag"]
  | {
      readonly tag?: LifecycleEvent["_tag"] | ReadonlyArray<LifecycleEvent["_tag"]> | undefined
      readonly resource?: string | ReadonlyArray<string> | undefined
    }

const matchesLifecycle = (filter: LifecycleFilter): ((event: LifecycleEvent) => boolean) => {
  const { tag, resource } = typeof filter === "string" ? { tag: filter, resource: undefined } : filter
  const tags = setOf(tag)
  const resources = setOf(resource)
  return (found) =>
    (tags?.has(found._tag) ?? true) &&
    (resources === undefined || (found.resource._tag === "Some" && resources.has(found.resource.value)))
}

// -----------------------------------------------------------------------------
// Hub
// -----------------------------------------------------------------------------

/**
 * The treatment of events that a handler missed.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandlerOptions<out R = never> {
  /** What to do about events that were dropped. Default: a warning in the log. */
  readonly onLagged?: ((lagged: Lagged) => Effect.Effect<unknown, unknown, R>) | undefined
}

/**
 * The way of events from publishers to subscribers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hub<in out Event, in Filter> {
  /** Whether anybody listens now: ask before doing work that only an event needs, such as reading what is deleted. */
  readonly isObserved: Effect.Effect<boolean>
  /** The same, at once. */
  readonly isObservedUnsafe: () => boolean

  /**
   * Tells everybody who listens, without waiting for them. `make` is called only if somebody does. Never fails; a `make`
   * that throws is logged.
   */
  readonly publish: (make: () => Event) => Effect.Effect<void>

  /**
   * Subscribes at once, until the scope closes: the stream misses nothing that is published from now on. Without a
   * filter it gives every event. It ends when the hub is closed.
   */
  readonly subscribe: (filter?: Filter) => Effect.Effect<Stream.Stream<Event | Lagged>, never, Scope.Scope>

  /** Like `subscribe`, beginning when the stream is first drawn from, and as long as that. */
  readonly stream: (filter?: Filter) => Stream.Stream<Event | Lagged>

  /**
   * Runs a handler for each event, one after the other, in a fiber that ends with the scope, or with the hub when all
   * is handled. It is subscribed when this returns. A handler that fails or dies is logged, and gets the next event.
   */
  readonly on: <R = never, R2 = never>(
    filter: Filter,
    handler: (event: Event) => Effect.Effect<unknown, unknown, R>,
    options?: HandlerOptions<R2>
  ) => Effect.Effect<void, never, Scope.Scope | R | R2>

  /** Subscribers get what was published before, then their streams end. Later events go nowhere. */
  readonly close: Effect.Effect<void>
}

/**
 * The changes of one resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Feed<in out A> extends Hub<Change<A>, Filter> {}

/**
 * The events of one database.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lifecycle extends Hub<LifecycleEvent, LifecycleFilter> {}

/**
 * The room for events that wait for a subscriber.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many events may wait for a subscriber, beside those it has drawn. Default 1,024, at least 1. */
  readonly capacity?: number | undefined
  /** Whose events they are, for the log. */
  readonly of?: string | undefined
}

/**
 * Creates a feed for the changes of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeFeed = <A>(options?: Options): Effect.Effect<Feed<A>> => makeHub<Change<A>, Filter>(matches, options)

/**
 * Creates a hub for the events of a database.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeLifecycle = (options?: Options): Effect.Effect<Lifecycle> =>
  makeHub<LifecycleEvent, LifecycleFilter>(matchesLifecycle, options)

/** An event with its place in the order, from 1; without an event it is the end. */
interface Entry<out Event> {
  readonly place: number
  readonly event: Event | undefined
}

/**
 * Creates a hub for events of any kind. `test` makes of a filter the test that it stands for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeHub = <Event extends { readonly _tag: string }, Filter>(
  test: (filter: Filter) => (event: Event) => boolean,
  options?: Options
): Effect.Effect<Hub<Event, Filter>> => Effect.sync(() => hubOf<Event, Filter>(test, options))

const hubOf = <Event extends { readonly _tag: string }, Filter>(
  test: (filter: Filter) => (event: Event) => boolean,
  { capacity = 1024, of = "the database" }: Options = {}
): Hub<Event, Filter> => {
  // Sliding: whoever is too far behind loses the oldest, and sees it by the places that are missing. Its room is taken when
  // somebody subscribes: most resources have nobody who does.
  const size = Math.max(1, Math.trunc(capacity))
  let made: PubSub.PubSub<Entry<Event>> | undefined
  const pubsub = Effect.suspend(() =>
    made === undefined ? Effect.map(PubSub.sliding<Entry<Event>>(size), (one) => (made ??= one)) : Effect.succeed(made)
  )
  let subscribers = 0
  let last = 0
  let isClosed = false

  const subscription = Effect.gen(function* () {
    yield* Effect.acquireRelease(
      Effect.sync(() => (subscribers += 1)),
      () => Effect.sync(() => (subscribers -= 1))
    )
    const mine = yield* Effect.flatMap(pubsub, PubSub.subscribe)
    return { mine, next: last + 1 }
  })

  const eventsOf = (
    { mine, next }: { readonly mine: PubSub.Subscription<Entry<Event>>; readonly next: number },
    filter: Filter | undefined
  ): Stream.Stream<Event | Lagged> => {
    const isMeant = filter === undefined ? undefined : test(filter)
    return Stream.fromSubscription(mine).pipe(
      Stream.takeWhile((entry) => entry.event !== undefined),
      Stream.mapAccum(
        () => next,
        (expected, { place, event }) => {
          const isWanted = event !== undefined && (isMeant?.(event) ?? true)
          const found: Array<Event | Lagged> = isWanted ? [event] : []
          if (place > expected) found.unshift({ _tag: "Lagged", missed: place - expected })
          return [place + 1, found] as const
        }
      )
    )
  }

  const subscribe = (filter?: Filter) => Effect.map(subscription, (mine) => eventsOf(mine, filter))

  const isObservedUnsafe = () => subscribers > 0 && !isClosed

  return {
    isObserved: Effect.sync(isObservedUnsafe),
    isObservedUnsafe,

    publish: (make) =>
      Effect.suspend(() => {
        if (subscribers === 0 || isClosed) return Effect.void
        const event = make()
        const entry = { place: (last += 1), event }
        return Effect.flatMap(pubsub, (one) => PubSub.publish(one, entry))
      }).pipe(
        Effect.catchDefect((defect) => Effect.logError("an event could not be published", defect)),
        Effect.asVoid
      ),

    subscribe,

    stream: (filter) => Stream.unwrap(subscribe(filter)),

    on: <R = never, R2 = never>(
      filter: Filter,
      handler: (event: Event) => Effect.Effect<unknown, unknown, R>,
      options?: HandlerOptions<R2>
    ) =>
      Effect.gen(function* () {
        const events = yield* subscribe(filter)
        const onLagged = options?.onLagged ?? warn(of)
        const handle = (event: Event | Lagged) =>
          Effect.suspend((): Effect.Effect<unknown, unknown, R | R2> =>
            isLagged(event) ? onLagged(event) : handler(event)
          ).pipe(Effect.catchCause((cause) => toLog(event, cause)))
        yield* Effect.forkScoped(Stream.runForEach(events, handle))
      }),

    close: Effect.suspend(() => {
      if (isClosed) return Effect.void
      isClosed = true
      const end = { place: last + 1, event: undefined }
      return Effect.asVoid(Effect.flatMap(pubsub, (one) => PubSub.end(one, end)))
    })
  }
}

const warn =
  (of: string) =>
  ({ missed }: Lagged) =>
    Effect.logWarning(`a handler of events of ${of} is too slow: it missed ${missed}`)

const toLog = (event: object, cause: Cause.Cause<unknown>) =>
  Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(`a handler of ${nameOf(event)} failed`, cause)

/** What an event is, and of which document: `Updated of users "ana"`. */
const nameOf = (event: object): string => {
  const { _tag, id, resource } = event as { readonly _tag: string; readonly id?: unknown; readonly resource?: unknown }
  const name = Option.isOption(resource) ? Option.getOrUndefined(resource) : resource
  const of = typeof name === "string" ? ` of ${name}` : ""
  return `${_tag}${of}${typeof id === "string" ? ` ${JSON.stringify(id)}` : ""}`
}
