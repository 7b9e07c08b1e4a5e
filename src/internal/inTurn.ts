/**
 * Work on many things at once, without a fiber for each of them.
 *
 * **Details**
 *
 * One fiber takes one thing after the other. As long as what it asks answers at once, as a store in memory does, it stays alone; as soon
 * as it has to wait, as many as are allowed help it. So no more is under way than that, and everything is begun in order.
 */
import * as Effect from "effect/Effect"

/** A fiber that gets so far between two looks waits for nothing. */
const quick = 8

/** Gives what is made of each, in their order. The first failure ends it, and interrupts what is under way. */
export const forEach = <A, B, E, R>(
  items: ReadonlyArray<A>,
  make: (item: A) => Effect.Effect<B, E, R>,
  { concurrency }: { readonly concurrency: number }
): Effect.Effect<ReadonlyArray<B>, E, R> => {
  const { length } = items
  if (!(concurrency > 1) || length <= quick) return Effect.forEach(items, make, { concurrency })
  return Effect.suspend(() => {
    const made: Array<B> = []
    made.length = length
    let next = 0
    const work = (): Effect.Effect<void, E, R> => {
      let at = 0
      return Effect.whileLoop({
        while: () => next < length,
        body: () => make(items[(at = next++)]!),
        step: (one) => {
          made[at] = one
        }
      })
    }
    const help = (): Effect.Effect<void, E, R> => {
      if (next >= length) return Effect.void
      const before = next
      return Effect.flatMap(Effect.yieldNow, () => {
        if (next - before >= quick) return help()
        const helpers = Math.min(Math.ceil(concurrency) - 1, length - next)
        return Effect.forEach(Array.from({ length: helpers }), work, { concurrency: "unbounded", discard: true })
      })
    }
    return Effect.as(
      Effect.forEach([work, help], (run) => run(), { concurrency: 2, discard: true }),
      made
    )
  })
}
