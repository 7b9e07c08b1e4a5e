/** Time limits that are all the same: one timer, for the work that has been under way for longest. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

interface Work {
  /** By the clock that the time has been taken from. */
  readonly deadline: number
  readonly expire: () => void
}

/** The most that a timer can wait. */
const longestSleep = 2 ** 31 - 1

/** Work in the order in which it began, which is that of its deadlines, under one clock. */
const makeQueue = (clock: Clock.Clock, millis: number) => {
  const waiting = new Set<Work>()
  let watcher: Fiber.Fiber<void> | undefined
  let isLeaving = false

  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const watch: Effect.Effect<void> = Effect.suspend(() => {
    for (const work of waiting) {
      const left = work.deadline - now()
      if (left > 0) {
        return Effect.flatMap(clock.sleep(Duration.millis(Math.min(Math.ceil(left), longestSleep))), () => watch)
      }
      waiting.delete(work)
      work.expire()
    }
    watcher = undefined
    return Effect.void
  })

  /** A timer keeps a process alive. Who has one request after the other begins the next before this. */
  const leave = () => {
    isLeaving = false
    if (waiting.size > 0 || watcher === undefined) return
    watcher.interruptUnsafe()
    watcher = undefined
  }

  return {
    add: (expire: () => void): Work => {
      const work = { deadline: now() + millis, expire }
      waiting.add(work)
      watcher ??= Effect.runFork(watch)
      return work
    },
    remove: (work: Work): void => {
      if (!waiting.delete(work) || waiting.size > 0 || isLeaving) return
      isLeaving = true
      setTimeout(leave, 0)
    }
  }
}

/**
 * Makes a limit of so many milliseconds for any number of effects. What is not done in time is interrupted, and when it has ended its
 * place is taken by `late`.
 */
export const make = (millis: number) => {
  const queues = new WeakMap<Clock.Clock, ReturnType<typeof makeQueue>>()

  const queueOf = (clock: Clock.Clock) => {
    const found = queues.get(clock)
    if (found !== undefined) return found
    const made = makeQueue(clock, millis)
    queues.set(clock, made)
    return made
  }

  return <A, E>(effect: Effect.Effect<A, E>, late: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.withFiber((fiber) => {
      const working = Effect.runForkWith(fiber.context)(effect)
      const exit = working.pollUnsafe()
      if (exit !== undefined) return exit
      const queue = queueOf(fiber.getRef(Clock.Clock))
      return Effect.callback<A, E>((resume) => {
        let isLate = false
        const work = queue.add(() => {
          isLate = true
          working.interruptUnsafe()
        })
        working.addObserver((exit) => {
          queue.remove(work)
          resume(isLate ? late() : exit)
        })
        return Effect.suspend(() => {
          queue.remove(work)
          return Fiber.interrupt(working)
        })
      })
    })
}
