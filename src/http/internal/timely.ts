/**
 * Bounds of time at the price of one fiber: most requests end long before, many without having waited for anything.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** The clock of fibers that have none of their own: it sleeps by the timers of the platform. */
const platform = Context.get(Context.empty(), Clock.Clock)

/** Calls once when the time is over, unless it is called back. */
const after = (fiber: Fiber.Fiber<unknown, unknown>, duration: Duration.Duration, call: () => void): (() => void) => {
  const clock = fiber.getRef(Clock.Clock)
  const millis = Duration.toMillis(duration)
  // What a timer of the platform can count up to.
  if (clock === platform && millis < 2 ** 31) {
    const timer = setTimeout(call, millis)
    return () => clearTimeout(timer)
  }
  const sleeping = Effect.runForkWith(fiber.context)(clock.sleep(duration))
  sleeping.addObserver((exit) => {
    if (exit._tag === "Success") call()
  })
  return () => sleeping.interruptUnsafe()
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
        const giveBack = after(parent, duration, () => resume(Effect.andThen(Fiber.interrupt(fiber), orElse)))
        fiber.addObserver((exit) => {
          giveBack()
          resume(exit)
        })
        return Effect.suspend(() => {
          giveBack()
          return Fiber.interrupt(fiber)
        })
      })
    })
  )

/**
 * The same without a fiber, for who runs where nothing can be interrupted, and answers from there: what takes longer is interrupted in the fiber
 * itself, which goes on with the other. Whatever can be interrupted ends that fiber from then on.
 */
export const withinHere = <A, E, R, A2, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  orElse: Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> =>
  Effect.withFiber((fiber) => {
    let isLate = false
    const giveBack = after(fiber, duration, () => {
      isLate = true
      fiber.interruptUnsafe(fiber.id)
    })
    return Effect.matchCauseEffect(Effect.interruptible(effect), {
      onSuccess: (value): Effect.Effect<A | A2, E | E2, R2> => {
        giveBack()
        return Effect.succeed(value)
      },
      onFailure: (cause): Effect.Effect<A | A2, E | E2, R2> => {
        giveBack()
        return isLate && Cause.hasInterrupts(cause) ? orElse : Effect.failCause(cause)
      }
    })
  })
