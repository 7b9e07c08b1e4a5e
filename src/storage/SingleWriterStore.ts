/**
 * Conditions for a store that has none, checked by this process: right as long as one process writes.
 *
 * Each conditional request costs one HEAD more. Writes of one key are done one after another. A second process that
 * writes to the same keys breaks the conditions without anybody noticing: that is why it has to be asked for.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import { fullCapabilities, ObjectStore } from "./ObjectStore.ts"
import { type Operation, PreconditionFailed, type Reason, StoreError } from "./StoreError.ts"

const stripes = 64

const stripeOf = (key: string): number => {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0
  return (hash >>> 0) % stripes
}

/**
 * Wraps a store so that every condition is honoured, by this process alone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  inner: ObjectStore["Service"]
): Effect.fn.Return<ObjectStore["Service"]> {
  const locks = yield* Effect.all(Array.from({ length: stripes }, () => Semaphore.make(1)))
  const exclusively = (key: string) => locks[stripeOf(key)]!.withPermits(1)

  const failure = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })

  const etagOf = (key: string) =>
    inner.head(key).pipe(
      Effect.map((head) => head.etag as string | undefined),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined))
    )

  const require = Effect.fnUntraced(function* (operation: Operation, key: string, expected: string | undefined) {
    const found = yield* etagOf(key)
    if (found === expected) return
    const description =
      expected === undefined
        ? "the object exists"
        : found === undefined
          ? "there is no object"
          : "the object has another ETag"
    return yield* failure(operation, key, new PreconditionFailed({ description }))
  })

  return {
    ...inner,
    capabilities: { ...(inner.capabilities ?? fullCapabilities), ...conditions },
    put: (request) => {
      const { ifMatch, ifNoneMatch, ...unconditional } = request
      // Not together on S3 either: let the store itself refuse it.
      if (ifMatch !== undefined && ifNoneMatch !== undefined) return inner.put(request)
      const write = inner.put(unconditional)
      return exclusively(request.key)(
        ifMatch === undefined && ifNoneMatch === undefined
          ? write
          : Effect.andThen(require("put", request.key, ifMatch), write)
      )
    },
    delete: (key, options) =>
      exclusively(key)(
        options?.ifMatch === undefined
          ? inner.delete(key, options)
          : Effect.andThen(
              require("delete", key, options.ifMatch),
              inner.delete(key, { repeatable: options.repeatable })
            )
      ),
    copy: (request) => {
      const { ifSourceMatch, ...unconditional } = request
      const checked =
        ifSourceMatch === undefined
          ? inner.copy(unconditional)
          : Effect.andThen(require("copy", request.from, ifSourceMatch), inner.copy(unconditional))
      // Both keys are held, in one order everywhere, so that the source cannot change while it is copied.
      const held = new Set([stripeOf(request.from), stripeOf(request.to)])
      return [...held]
        .toSorted((a, b) => b - a)
        .reduce((effect, stripe) => locks[stripe]!.withPermits(1)(effect), checked)
    }
  }
})

const conditions = {
  createIfAbsent: true,
  compareAndSet: true,
  conditionalDelete: true,
  conditionalCopy: true
}

/**
 * The store below it with every condition honoured, by this process alone.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = Layer.effect(
  ObjectStore,
  Effect.flatMap(ObjectStore, make)
)
