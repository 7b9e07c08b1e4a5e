/**
 * Sees every request: counts it, measures it, and puts a span around it. Closest to the store, it sees every attempt.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { maxKeysPerRequest, type Metadata, type ObjectHead, ObjectStore, type PutRequest } from "./ObjectStore.ts"
import type { Operation, StoreError } from "./StoreError.ts"

/**
 * The kinds of requests.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = Exclude<Operation, "open">

/**
 * The number of requests of each kind.
 *
 * @category models
 * @since 0.1.0
 */
export type Counts = Readonly<Record<Kind, number>>

/**
 * The number of requests that a store has been asked for, by kind.
 *
 * @category services
 * @since 0.1.0
 */
export class RequestCounter extends Context.Service<
  RequestCounter,
  {
    /** Requests since the start or the last `reset`, failed ones included. */
    readonly counts: Effect.Effect<Counts>
    readonly reset: Effect.Effect<void>
  }
>()("effect-s3db/storage/InstrumentedStore/RequestCounter") {}

/**
 * Requests, by `operation` and `outcome` (`ok`, a reason's name, or `interrupted`).
 *
 * @category constants
 * @since 0.1.0
 */
export const requests = Metric.counter("s3db_store_requests", { incremental: true })

/**
 * The time that requests took, by `operation`, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const duration = Metric.timer("s3db_store_request_duration")

/** What is made once for each kind of value. */
const memoized = <A>(make: (name: string) => A): ((name: string) => A) => {
  const made = new Map<string, A>()
  return (name) => {
    const one = made.get(name) ?? make(name)
    made.set(name, one)
    return one
  }
}

const requestsByOutcome = memoized((operation) =>
  memoized((outcome) => Metric.withAttributes(requests, { operation, outcome }))
)

/** The names of outcomes are those of reasons: few. */
const requestsOf = (operation: Kind, outcome: string) => requestsByOutcome(operation)(outcome)

const durationOf = memoized((operation) => Metric.withAttributes(duration, { operation }))

const nothing: Readonly<Record<string, unknown>> = {}

const none = (): Record<Kind, number> => ({
  put: 0,
  get: 0,
  head: 0,
  delete: 0,
  deleteMany: 0,
  copy: 0,
  list: 0
})

/**
 * Wraps a store. Where a tracer is provided, spans are named `ObjectStore.put` and so on, with the key and sizes as attributes, never metadata or
 * bodies. Of a key below a partition or a unique key only its beginning is shown: the rest is made of values of fields.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  inner: ObjectStore["Service"]
): { readonly store: ObjectStore["Service"]; readonly counter: RequestCounter["Service"] } => {
  let counts = none()
  const spanOf = (operation: Kind, key: string, attributes: Readonly<Record<string, unknown>>) =>
    ({
      kind: "client",
      attributes: { "s3db.operation": operation, "s3db.key": shownKey(key), ...attributes }
    }) as const
  const seen = <A>(
    operation: Kind,
    key: string,
    effect: Effect.Effect<A, StoreError>,
    number = 1,
    attributes: Readonly<Record<string, unknown>> = nothing
  ): Effect.Effect<A, StoreError> =>
    Effect.withFiber((fiber) => {
      counts[operation] += number
      const clock = fiber.getRef(Clock.Clock)
      const start = clock.monotonicTimeNanosUnsafe()
      const measured = Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          requestsOf(operation, outcomeOf(exit)).updateUnsafe(number, fiber.context)
          const took = Duration.nanos(clock.monotonicTimeNanosUnsafe() - start)
          durationOf(operation).updateUnsafe(took, fiber.context)
        })
      )
      // Where nobody traces, nobody would see the span.
      return fiber.cache.tracer === undefined
        ? measured
        : Effect.withSpan(measured, `ObjectStore.${operation}`, spanOf(operation, key, attributes))
    })
  return {
    store: {
      ...inner,
      put: (request) =>
        seen("put", request.key, inner.put(request), 1, { "s3db.body.bytes": request.body?.length ?? 0 }),
      get: (key, options) => seen("get", key, inner.get(key, options)),
      head: (key) => seen("head", key, inner.head(key)),
      delete: (key, options) => seen("delete", key, inner.delete(key, options)),
      deleteMany: (keys, options) =>
        seen("deleteMany", keys[0] ?? "", inner.deleteMany(keys, options), Math.ceil(keys.length / maxKeysPerRequest), {
          "s3db.keys": keys.length
        }),
      copy: (request) => seen("copy", request.from, inner.copy(request)),
      list: (request) => seen("list", request?.prefix ?? "", inner.list(request))
    },
    counter: {
      counts: Effect.sync(() => ({ ...counts })),
      reset: Effect.sync(() => {
        counts = none()
      })
    }
  }
}

const shownKey = (key: string): string => key.replace(/((?:^|\/)(?:partition|unique)=[^/]*\/).+$/, "$1…")

const outcomeOf = <A>(exit: Exit.Exit<A, StoreError>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail") return reason.error.reason._tag
  }
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
}

/**
 * A count of the requests of some work. What is part of other work counts for both.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tally {
  requests: number
  readonly outer: Tally | undefined
}

/**
 * The count that requests of a fiber, and of those it starts, are added to by stores that tally.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentTally = Context.Reference<Tally | undefined>("effect-s3db/storage/InstrumentedStore/CurrentTally", {
  defaultValue: () => undefined
})

/**
 * Begins a count, to be provided as `CurrentTally` to the work whose requests are counted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tally: Effect.Effect<Tally> = Effect.map(CurrentTally, (outer) => ({ requests: 0, outer }))

/**
 * Runs an effect and tells the span that it is in how many requests it has made (`s3db.requests`).
 *
 * @category combinators
 * @since 0.1.0
 */
export const withRequests = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(tally, (counted) =>
    Effect.ensuring(Effect.provideService(effect, CurrentTally, counted), annotateRequests(counted))
  )

/**
 * Tells the current span of a count.
 *
 * @category combinators
 * @since 0.1.0
 */
export const annotateRequests = (counted: Tally): Effect.Effect<void> =>
  Effect.suspend(() => Effect.annotateCurrentSpan("s3db.requests", counted.requests))

// -----------------------------------------------------------------------------
// Observers
// -----------------------------------------------------------------------------

/**
 * The public operation that a fiber is in, as `Resource.insert`; `"Resource"` outside of all.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentOperation = Context.Reference<string>("effect-s3db/storage/InstrumentedStore/CurrentOperation", {
  defaultValue: () => "Resource"
})

/**
 * The slug of the plugin that a fiber works for, where it does.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentPlugin = Context.Reference<string | undefined>(
  "effect-s3db/storage/InstrumentedStore/CurrentPlugin",
  { defaultValue: () => undefined }
)

/**
 * A request that has been answered, or has failed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly kind: Kind
  /** The key, the prefix of a listing, the target of a copy, or the first key of several. */
  readonly key: string
  /** The keys of a DeleteObjects, of one that succeeded those that are gone. */
  readonly keys?: ReadonlyArray<string> | undefined
  /** More than 1 for a DeleteObjects of more than 1,000 keys. */
  readonly requests: number
  /** See `CurrentOperation`. */
  readonly operation: string
  /** See `CurrentPlugin`. */
  readonly plugin: string | undefined
  /** What it failed with. */
  readonly error?: StoreError | undefined
  /** `false`: nobody knows whether it was answered, since it was interrupted, or died. */
  readonly isOver: boolean
  /** Bytes of bodies and metadata. */
  readonly sent: number
  readonly received: number
  /** Of one that succeeded: the bytes of the object, metadata included, where the request tells. */
  readonly size?: number | undefined
  /** Of a PUT that succeeded: that nothing was there before. */
  readonly isNew?: boolean | undefined
}

/**
 * Is told of each request when it is over. It has to be quick, and must not throw.
 *
 * @category models
 * @since 0.1.0
 */
export type Observer = (seen: Seen, context: Context.Context<never>) => void

const metadataBytes = (metadata: Metadata | undefined): number => {
  let bytes = 0
  // What is not ASCII is sent encoded, as ASCII.
  for (const name in metadata) bytes += name.length + metadata[name]!.length
  return bytes
}

type Told = Pick<Seen, "received" | "size" | "keys">

const toldOfObject = (head: ObjectHead): number => head.size + metadataBytes(head.metadata)

/**
 * Wraps a store so that its requests are added to `CurrentTally`, those of `deleteMany` by the thousand keys, and that those who are in
 * `observers` at the time are told of them, one by one. Where there are none it costs next to nothing. A request that is sent again by a store
 * below counts once, and is told once. The store of a database is wrapped so.
 *
 * @category constructors
 * @since 0.1.0
 */
export const observed = (
  inner: ObjectStore["Service"],
  observers: { readonly requests: ReadonlyArray<Observer> }
): ObjectStore["Service"] => {
  const count = (fiber: Fiber.Fiber<unknown, unknown>, requests: number): void => {
    for (let tally = fiber.getRef(CurrentTally); tally !== undefined; tally = tally.outer) tally.requests += requests
  }
  const told = <A>(
    effect: Effect.Effect<A, StoreError>,
    fiber: Fiber.Fiber<unknown, unknown>,
    request: Pick<Seen, "kind" | "key" | "keys" | "requests" | "sent" | "isNew">,
    of: (answer: A) => Told
  ): Effect.Effect<A, StoreError> =>
    Effect.onExit(effect, (exit) =>
      Effect.sync(() => {
        const known = { operation: fiber.getRef(CurrentOperation), plugin: fiber.getRef(CurrentPlugin) }
        const error = Exit.isSuccess(exit) ? undefined : failureOf(exit)
        const seen: Seen = Exit.isSuccess(exit)
          ? { ...request, ...known, isOver: true, ...of(exit.value) }
          : { ...request, ...known, isOver: error !== undefined, error, received: 0 }
        for (const observer of observers.requests) observer(seen, fiber.context)
      })
    )
  const watched = <A>(
    effect: Effect.Effect<A, StoreError>,
    about: Pick<Seen, "kind" | "key"> & Partial<Pick<Seen, "keys" | "requests">>,
    of: (answer: A) => Told
  ): Effect.Effect<A, StoreError> =>
    Effect.withFiber((fiber) => {
      const { requests = 1 } = about
      count(fiber, requests)
      return observers.requests.length === 0 ? effect : told(effect, fiber, { ...about, requests, sent: 0 }, of)
    })
  const nothingBack = () => ({ received: 0 })
  const sentBy = ({ body, metadata }: PutRequest) => (body?.length ?? 0) + metadataBytes(metadata)
  return {
    ...inner,
    put: (request) =>
      Effect.withFiber((fiber) => {
        count(fiber, 1)
        const effect = inner.put(request)
        if (observers.requests.length === 0) return effect
        const { ifNoneMatch, key } = request
        const sent = sentBy(request)
        const about = { kind: "put", key, requests: 1, sent, isNew: ifNoneMatch !== undefined } as const
        return told(effect, fiber, about, () => ({ received: 0, size: sent }))
      }),
    get: (key, options) =>
      Effect.withFiber((fiber) => {
        count(fiber, 1)
        const effect = inner.get(key, options)
        if (observers.requests.length === 0) return effect
        return told(effect, fiber, { kind: "get", key, requests: 1, sent: 0 }, (object) => ({
          received: object.body.length + metadataBytes(object.metadata),
          size: toldOfObject(object)
        }))
      }),
    head: (key) =>
      watched(inner.head(key), { kind: "head", key }, (head) => ({
        received: metadataBytes(head.metadata),
        size: toldOfObject(head)
      })),
    delete: (key, options) => watched(inner.delete(key, options), { kind: "delete", key }, nothingBack),
    deleteMany: (keys, options) => {
      const requests = Math.ceil(keys.length / maxKeysPerRequest)
      const about = { kind: "deleteMany", key: keys[0] ?? "", keys, requests } as const
      return watched(inner.deleteMany(keys, options), about, ({ deleted }) => ({ received: 0, keys: deleted }))
    },
    copy: (request) => watched(inner.copy(request), { kind: "copy", key: request.to }, nothingBack),
    list: (request) => watched(inner.list(request), { kind: "list", key: request?.prefix ?? "" }, nothingBack)
  }
}

const failureOf = <A>(exit: Exit.Failure<A, StoreError>): StoreError | undefined => {
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail") return reason.error
  }
  return undefined
}

/**
 * The store below it with every request counted, measured and put into a span; and the counter.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore | RequestCounter, never, ObjectStore> = Layer.effectContext(
  Effect.map(ObjectStore, (inner) => {
    const { store, counter } = make(inner)
    return Context.make(ObjectStore, store).pipe(Context.add(RequestCounter, counter))
  })
)
