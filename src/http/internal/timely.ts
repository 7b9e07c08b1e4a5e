/**
 * Bounds of time at the price of one fiber: most requests end long before, many without having waited for anything.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Deadlines from "../../internal/deadlines.ts"

/** By their milliseconds: programs have few. */
const known = new Map<number, Deadlines.Deadlines>()

const deadlinesOf = (duration: Duration.Duration): Deadlines.Deadlines => {
  const millis = Duration.toMillis(duration)
  const before = known.get(millis)
  if (before !== undefined) return before
  const made = Deadlines.make(millis)
  known.set(millis, made)
  return made
}

/** Does as `Effect.timeoutOrElse`: what takes longer is interrupted, and when it has ended the other runs. */
export const within = <A, E, R, A2, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  orElse: Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> =>
  Effect.withFiber((parent) =>
    Effect.flatMap(Effect.forkChild(effect, { startImmediately: true }), (fiber) => {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return exit
      return Effect.callback<A | A2, E | E2, R | R2>((resume) => {
        const deadlines = deadlinesOf(duration)
        const work = deadlines.add(parent.getRef(Clock.Clock), () =>
          resume(Effect.andThen(Fiber.interrupt(fiber), orElse))
        )
        fiber.addObserver((exit) => {
          deadlines.remove(work)
          resume(exit)
        })
        return Effect.suspend(() => {
          deadlines.remove(work)
          return Fiber.interrupt(fiber)
        })
      })
    })
  )

/**
 * The same without a fiber, for who runs in one where nothing can be interrupted, and answers from there: what takes longer is interrupted in that
 * fiber itself, which goes on with the other. Whatever can be interrupted ends that fiber from then on. What is late and what has failed
 * goes through `otherwise`.
 */
export const withinHere = <A, E, R, A2, E2, R2, A3, E3, R3>(
  fiber: Fiber.Fiber<unknown, unknown>,
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  orElse: Effect.Effect<A2, E2, R2>,
  otherwise: (ended: Effect.Effect<A2, E | E2, R2>) => Effect.Effect<A3, E3, R3>
): Effect.Effect<A | A3, E3, R | R3> => {
  let isLate = false
  const deadlines = deadlinesOf(duration)
  const work = deadlines.add(fiber.getRef(Clock.Clock), () => {
    isLate = true
    fiber.interruptUnsafe(fiber.id)
  })
  return Effect.matchCauseEffect(Effect.interruptible(effect), {
    onSuccess: (value): Effect.Effect<A | A3, E3, R3> => {
      deadlines.remove(work)
      return Effect.succeed(value)
    },
    onFailure: (cause): Effect.Effect<A | A3, E3, R3> => {
      deadlines.remove(work)
      return otherwise(isLate && Cause.hasInterrupts(cause) ? orElse : Effect.failCause(cause))
    }
  })
}
