/**
 * A limit on how many requests are under way at once; further ones wait their turn.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import { checkDecorators } from "./internal/optionRules.ts"
import { ObjectStore } from "./ObjectStore.ts"
import type { StoreError } from "./StoreError.ts"

/**
 * The number of requests that may be under way at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Requests at once, at least 1. Default: 64. */
  readonly concurrency?: number | undefined
}

/**
 * Wraps a store so that only so many requests are under way at once. Fails with `InvalidArgument` when that is no number
 * of requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  inner: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<ObjectStore["Service"], StoreError> {
  yield* checkDecorators(options)
  const semaphore = yield* Semaphore.make(options.concurrency ?? 64)
  const bounded = semaphore.withPermits(1)
  return {
    ...inner,
    put: (request) => bounded(inner.put(request)),
    get: (key, get) => bounded(inner.get(key, get)),
    head: (key) => bounded(inner.head(key)),
    delete: (key, deletion) => bounded(inner.delete(key, deletion)),
    deleteMany: (keys, deletion) => bounded(inner.deleteMany(keys, deletion)),
    copy: (request) => bounded(inner.copy(request)),
    list: (request) => bounded(inner.list(request))
  }
})

/**
 * Creates a layer that limits the requests of the store below it, with options. Bind the result to a constant: each call makes a layer of its own.
 * Fails with `InvalidArgument` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore, StoreError, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.flatMap(ObjectStore, (inner) => make(inner, options))
  )

/**
 * Creates a layer that limits the requests of the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = Layer.orDie(layerWith({}))
