/**
 * The usual decorators in their usual order around a store: instrumented (each attempt is seen), limited in time (each
 * attempt), retried, bounded in number, and perhaps below a prefix.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BoundedStore from "./BoundedStore.ts"
import * as InstrumentedStore from "./InstrumentedStore.ts"
import { checkDecorators } from "./internal/optionRules.ts"
import { ObjectStore } from "./ObjectStore.ts"
import * as PrefixedStore from "./PrefixedStore.ts"
import * as RetryingStore from "./RetryingStore.ts"
import type { StoreError } from "./StoreError.ts"
import * as TimeoutStore from "./TimeoutStore.ts"

/**
 * The options of all decorators, and the prefix.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends TimeoutStore.Options, RetryingStore.Options, BoundedStore.Options {
  /** Everything is kept below this prefix. Default: none. */
  readonly prefix?: string | undefined
}

/**
 * Wraps a store with the usual decorators, and counts its requests. Fails with `InvalidArgument` when an option is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  raw: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<Context.Context<ObjectStore | InstrumentedStore.RequestCounter>, StoreError> {
  yield* checkDecorators(options)
  const { store, counter } = InstrumentedStore.make(raw)
  const bounded = yield* BoundedStore.make(RetryingStore.make(TimeoutStore.make(store, options), options), options)
  return Context.make(ObjectStore, PrefixedStore.make(bounded, options.prefix ?? "")).pipe(
    Context.add(InstrumentedStore.RequestCounter, counter)
  )
})

/**
 * Creates a layer that puts the usual decorators around the store below it, with options. Bind the result to a constant: each call makes a layer of its own.
 * Fails with `InvalidArgument` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: Options
): Layer.Layer<ObjectStore | InstrumentedStore.RequestCounter, StoreError, ObjectStore> =>
  Layer.effectContext(Effect.flatMap(ObjectStore, (raw) => make(raw, options)))

/**
 * Creates a layer that puts the usual decorators around the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore | InstrumentedStore.RequestCounter, never, ObjectStore> = Layer.orDie(
  layerWith({})
)
