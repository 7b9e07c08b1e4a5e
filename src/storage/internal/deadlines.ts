/** Time limits of effects that are all the same. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Deadlines from "../../internal/deadlines.ts"

/**
 * Makes a limit of so many milliseconds for any number of effects. What is not done in time is interrupted, and when it has ended its
 * place is taken by `late`.
 */
export const make = (millis: number) => {
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
