/**
 * What somebody else publishes, such as keys or a description of himself, kept for a while: asked for by one for all, again when it is too old, and taken
 * for some time longer where it cannot be had.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** What was published, and when it was asked for. */
export interface Known<out A> {
  readonly value: A
  readonly at: number
}

export interface Published<A, E> {
  /** What is known, as long as it is not too old. */
  readonly current: Effect.Effect<Known<A>, E>
  /** What is published now, unless that which one has seen is no longer the latest: then somebody else has asked meanwhile. */
  readonly renewed: (seen: Known<A> | undefined) => Effect.Effect<Known<A>, E>
  /** The latest that is known, however old. */
  readonly latest: () => Known<A> | undefined
  /** When it was asked for last, with an answer or not. */
  readonly askedAt: () => number
}

/** `ask` is given what was known before. Milliseconds. */
export const make = Effect.fnUntraced(function* <A, E>(
  ask: (before: A | undefined) => Effect.Effect<A, E>,
  { cacheFor, staleFor }: { readonly cacheFor: number; readonly staleFor: number }
): Effect.fn.Return<Published<A, E>> {
  const semaphore = yield* Semaphore.make(1)
  let known: Known<A> | undefined
  let askedAt = -Infinity

  const renewed: Published<A, E>["renewed"] = (seen) =>
    semaphore.withPermit(
      Effect.gen(function* () {
        if (known !== undefined && known !== seen) return known
        const now = yield* Clock.currentTimeMillis
        askedAt = now
        known = { value: yield* ask(known?.value), at: now }
        return known
      })
    )

  return {
    renewed,
    latest: () => known,
    askedAt: () => askedAt,
    current: Effect.gen(function* () {
      const seen = known
      const age = (yield* Clock.currentTimeMillis) - (seen?.at ?? -Infinity)
      // A clock that was put back must not make it live longer.
      if (seen !== undefined && age >= 0 && age < cacheFor) return seen
      if (seen === undefined || age < 0 || age >= cacheFor + staleFor) return yield* renewed(seen)
      return yield* Effect.catch(renewed(seen), () => Effect.succeed(seen))
    })
  }
})
