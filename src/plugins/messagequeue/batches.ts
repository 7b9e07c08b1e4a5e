/**
 * Messages in batches of so many bytes, and what becomes of a batch that is refused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * Sends items in their order, in batches that are not above a size; each item is not by itself. A batch that is refused is halved until the item is found that the other side does
 * not take: `refuse` says what that is. What comes after it is not sent.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sendAll = <A, E, E2, R>(
  items: ReadonlyArray<A>,
  {
    mostBytes,
    refuse,
    send,
    sizeOf
  }: {
    readonly mostBytes: number
    readonly sizeOf: (item: A) => number
    /** Gives why a batch is refused, if it is. */
    readonly send: (items: ReadonlyArray<A>) => Effect.Effect<string | undefined, E, R>
    readonly refuse: (index: number, why: string) => E2
  }
): Effect.Effect<void, E | E2, R> => {
  const attempt = (from: number, to: number): Effect.Effect<void, E | E2, R> =>
    Effect.flatMap(send(items.slice(from, to)), (why) => {
      if (why === undefined) return Effect.void
      if (to - from === 1) return Effect.fail(refuse(from, why))
      const middle = from + ((to - from) >> 1)
      return Effect.andThen(attempt(from, middle), attempt(middle, to))
    })
  return Effect.gen(function* () {
    let from = 0
    let size = 0
    for (const [index, item] of items.entries()) {
      const bytes = sizeOf(item)
      if (index > from && size + bytes > mostBytes) {
        yield* attempt(from, index)
        from = index
        size = 0
      }
      size += bytes
    }
    if (from < items.length) yield* attempt(from, items.length)
  })
}
