/** Deadlines that are equally far away: one timer, for the one that is the next. A timer for each would be the collector's to look after for long. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

export interface Work {
  /** By the clock that the time has been taken from. */
  readonly deadline: number
  readonly expire: () => void
  readonly remove: (work: Work) => void
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

  const remove = (work: Work): void => {
    if (!waiting.delete(work) || waiting.size > 0 || isLeaving) return
    isLeaving = true
    setTimeout(leave, 0)
  }

  return {
    add: (expire: () => void): Work => {
      const work = { deadline: now() + millis, expire, remove }
      waiting.add(work)
      if (watcher === undefined) {
        const begun = Effect.runFork(watch)
        if (begun.pollUnsafe() === undefined) watcher = begun
      }
      return work
    }
  }
}

/** Deadlines of so many milliseconds, by whichever clock. */
export interface Deadlines {
  /** Calls once the time is over, unless the work is removed before. */
  readonly add: (clock: Clock.Clock, expire: () => void) => Work
  readonly remove: (work: Work) => void
}

/** Makes them. */
export const make = (millis: number): Deadlines => {
  const queues = new WeakMap<Clock.Clock, ReturnType<typeof makeQueue>>()
  let last: { readonly clock: Clock.Clock; readonly queue: ReturnType<typeof makeQueue> } | undefined

  const queueOf = (clock: Clock.Clock) => {
    if (last?.clock === clock) return last.queue
    const queue = queues.get(clock) ?? makeQueue(clock, millis)
    queues.set(clock, queue)
    last = { clock, queue }
    return queue
  }

  return {
    add: (clock, expire) => queueOf(clock).add(expire),
    remove: (work) => work.remove(work)
  }
}
