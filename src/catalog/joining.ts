/**
 * Changes that are asked for while others are on their way, and are then made together.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/**
 * Hands in a change, and waits for `outcome`, which is that of the change. It is made with all that were handed in before the
 * writing began. Who is interrupted before that takes the change back; who is interrupted later waits no longer. The writing
 * itself is interrupted when nobody waits for it any more.
 *
 * @category models
 * @since 0.1.0
 */
export type Join<in X> = <A, E>(change: X, outcome: Effect.Effect<A, E>) => Effect.Effect<A, E>

interface Batch<X> {
  readonly changes: Set<X>
  waiting: number
  fiber: Fiber.Fiber<void> | undefined
}

/**
 * Makes what joins changes. `write` makes those that it takes, and settles each of them; it takes them when it is ready to, and
 * until then others join. It runs in a fiber of its own, which begins when all that can go on at the time have done so.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <X>(write: (take: () => Iterable<X>) => Effect.Effect<void>): Join<X> => {
  /** The one that is still to be written. */
  let next: Batch<X> | undefined

  const close = (batch: Batch<X>) => {
    if (next === batch) next = undefined
  }

  const writing = (batch: Batch<X>) =>
    Effect.andThen(
      Effect.yieldNow,
      write(() => {
        close(batch)
        return batch.changes
      })
    )

  const leave = (batch: Batch<X>, change: X) =>
    Effect.suspend(() => {
      batch.changes.delete(change)
      batch.waiting -= 1
      if (batch.waiting > 0 || batch.fiber === undefined) return Effect.void
      close(batch)
      return Effect.asVoid(Fiber.interrupt(batch.fiber))
    })

  const enter = (change: X) =>
    Effect.gen(function* () {
      const batch: Batch<X> = next ?? { changes: new Set(), waiting: 0, fiber: undefined }
      const isFirst = batch.waiting === 0
      next = batch
      batch.changes.add(change)
      batch.waiting += 1
      if (isFirst) batch.fiber = yield* Effect.forkDetach(writing(batch), { startImmediately: true })
      return batch
    })

  return (change, outcome) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(enter(change), (batch) => Effect.onInterrupt(restore(outcome), () => leave(batch, change)))
    )
}
