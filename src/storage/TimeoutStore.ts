/**
 * A time limit for each request, which cancels the request underneath when it is over.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Deadlines from "../internal/deadlines.ts"
import { checkDecorators } from "./internal/optionRules.ts"
import { ObjectStore } from "./ObjectStore.ts"
import { type Operation, StoreError, Timeout } from "./StoreError.ts"

/**
 * The time that one request may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How long one request may take, more than nothing; `"Infinity"`: as long as it wants. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * A limit of so many milliseconds for any number of effects. What is not done in time is interrupted, and when it has ended its
 * place is taken by `late`.
 */
const limitOf = (millis: number) => {
  const deadlines = Deadlines.make(millis)

  return <A, E>(effect: Effect.Effect<A, E>, late: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.withFiber((fiber) => {
      const working = Effect.runForkWith(fiber.context)(effect)
      const exit = working.pollUnsafe()
      if (exit !== undefined) return exit
      return Effect.callback<A, E>((resume) => {
        let isLate = false
        const work = deadlines.add(fiber.getRef(Clock.Clock), () => {
          isLate = true
          working.interruptUnsafe()
        })
        working.addObserver((exit) => {
          deadlines.remove(work)
          resume(isLate ? late() : exit)
        })
        return Effect.suspend(() => {
          deadlines.remove(work)
          return Fiber.interrupt(working)
        })
      })
    })
}

/**
 * Wraps a store so that requests which take longer fail with `Timeout`, whose outcome is unknown, once they have been interrupted.
 * One timer serves all of them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], options: Options = {}): ObjectStore["Service"] => {
  const afterMillis = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "30 seconds"))
  if (afterMillis === Infinity) return inner
  const limit = limitOf(afterMillis)
  const limited = <A>(operation: Operation, key: string, effect: Effect.Effect<A, StoreError>) =>
    limit(effect, () =>
      Effect.fail(
        new StoreError({
          operation,
          key,
          reason: new Timeout({ afterMillis, description: `no answer within ${afterMillis} ms` })
        })
      )
    )
  return {
    ...inner,
    put: (request) => limited("put", request.key, inner.put(request)),
    get: (key, get) => limited("get", key, inner.get(key, get)),
    head: (key) => limited("head", key, inner.head(key)),
    delete: (key, deletion) => limited("delete", key, inner.delete(key, deletion)),
    deleteMany: (keys, deletion) => limited("deleteMany", keys[0] ?? "", inner.deleteMany(keys, deletion)),
    copy: (request) => limited("copy", request.from, inner.copy(request)),
    list: (request) => limited("list", request?.prefix ?? "", inner.list(request))
  }
}

/**
 * Creates a layer that limits the time of each request of the store below it, with options. Bind the result to a constant: each call makes a layer of its own.
 * Fails with `InvalidArgument` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore, StoreError, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.andThen(
      checkDecorators(options),
      Effect.map(ObjectStore, (inner) => make(inner, options))
    )
  )

/**
 * Creates a layer that limits the time of each request of the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = Layer.orDie(layerWith({}))
