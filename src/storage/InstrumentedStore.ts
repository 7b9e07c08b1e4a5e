/**
 * Sees every request: counts it, measures it, and puts a span around it. Closest to the store, it sees every attempt.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { maxKeysPerRequest, ObjectStore } from "./ObjectStore.ts"
import type { Operation, StoreError } from "./StoreError.ts"

/**
 * The number of requests of each kind.
 *
 * @category models
 * @since 0.1.0
 */
export type Counts = Readonly<Record<Operation, number>>

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

const none = (): Record<Operation, number> => ({
  put: 0,
  get: 0,
  head: 0,
  delete: 0,
  deleteMany: 0,
  copy: 0,
  list: 0
})

/**
 * Wraps a store. Spans are named `ObjectStore.put` and so on, with the key and sizes as attributes, never metadata or
 * bodies.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  inner: ObjectStore["Service"]
): { readonly store: ObjectStore["Service"]; readonly counter: RequestCounter["Service"] } => {
  let counts = none()
  const seen = <A>(
    operation: Operation,
    key: string,
    effect: Effect.Effect<A, StoreError>,
    number = 1,
    attributes: Readonly<Record<string, unknown>> = {}
  ): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      counts[operation] += number
      return effect
    }).pipe(
      Effect.onExit((exit) =>
        Metric.update(Metric.withAttributes(requests, { operation, outcome: outcomeOf(exit) }), number)
      ),
      Effect.trackDuration(Metric.withAttributes(duration, { operation })),
      Effect.withSpan(`ObjectStore.${operation}`, {
        kind: "client",
        attributes: { "s3db.operation": operation, "s3db.key": key, ...attributes }
      })
    )
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

const outcomeOf = <A>(exit: Exit.Exit<A, StoreError>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail") return reason.error.reason._tag
  }
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
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
