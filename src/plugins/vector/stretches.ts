/**
 * Long computations that let others go on.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/** Multiplications between two looks at whether somebody else wants the thread: a few milliseconds. */
const stint = 4_000_000

/**
 * Does something for each of so many vectors, in stretches that take no longer than a few milliseconds.
 *
 * @category combinators
 * @since 0.1.0
 */
export const inStretches = (
  size: number,
  costOfOne: number,
  work: (from: number, to: number) => void
): Effect.Effect<void> => {
  const stretch = Math.max(1, Math.floor(stint / Math.max(1, costOfOne)))
  let from = 0
  return Effect.whileLoop({
    while: () => from < size,
    body: () => {
      work(from, Math.min(size, from + stretch))
      from += stretch
      return from < size ? Effect.yieldNow : Effect.void
    },
    step: () => {}
  })
}
