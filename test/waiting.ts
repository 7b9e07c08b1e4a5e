/** Waiting for what no clock of a test decides: threads, files, sockets, processes. However slow the machine is, it decides nothing. */
import { performance } from "node:perf_hooks"
import * as Effect from "effect/Effect"
import { atWork, isBusy } from "./threads.ts"

/** So long nothing takes on any machine: who waits for more waits in vain. */
const patience = 60_000

/** How many wait for the next turn, each of which would keep the others waiting. */
let waiters = 0

/** Turns of the event loop, until one is reached that will do. */
const turns = (will: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const end = performance.now() + patience
    let isOver = false
    const turn = () => {
      waiters += 1
      setImmediate(() => {
        waiters -= 1
        // What this turn has begun is seen when its callbacks are through.
        queueMicrotask(() => {
          if (isOver) return
          if (will()) return resume(Effect.void)
          if (performance.now() > end) return resume(Effect.die(new Error("it never comes to rest")))
          turn()
        })
      })
    }
    turn()
    return Effect.sync(() => (isOver = true))
  })

/** A turn of the event loop, and as many more as threads are at work: a step, as long for a slow machine as for a fast one. */
export const turn: Effect.Effect<void> = turns(() => !atWork())

/**
 * Lets everything go on that waits for no clock and nobody else, until it has come to its end. Within an effect that is driven through time
 * (`drive` of the fixture) nothing rests: there it is `until`.
 */
export const settled: Effect.Effect<void> = Effect.suspend(() => {
  let quiet = 0
  return turns(() => {
    quiet = isBusy(waiters) ? 0 : quiet + 1
    return quiet > 2
  })
})

/** Real time, also where a test has a clock of its own. */
const pause = (millis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

export interface Patience {
  /** Milliseconds from one look to the next. */
  readonly every?: number
  /** The most milliseconds. */
  readonly within?: number
}

/** Waits in real time until something is there, and gives it. `what` is said of it where that is in vain. */
export const untilSome = Effect.fnUntraced(function* <A, E = never, R = never>(
  what: string,
  look: () => A | undefined | Effect.Effect<A | undefined, E, R>,
  { every = 5, within = patience }: Patience = {}
) {
  const end = performance.now() + within
  for (let looks = 0; ; looks++) {
    const isLast = performance.now() > end
    const found = look()
    const value = Effect.isEffect(found) ? yield* found : found
    if (value !== undefined) return value
    if (isLast) return yield* Effect.die(new Error(`waited ${within} ms in vain until ${what}`))
    // What needs but some turns is found at once.
    yield* looks < 20 ? turn : pause(every)
  }
})

/** Waits in real time until something is so. */
export const until = <E = never, R = never>(
  what: string,
  isSo: () => boolean | Effect.Effect<boolean, E, R>,
  patience?: Patience
): Effect.Effect<void, E, R> => {
  const truth = (is: boolean): true | undefined => (is ? true : undefined)
  const look = () => {
    const found = isSo()
    return Effect.isEffect(found) ? Effect.map(found, truth) : truth(found)
  }
  return Effect.asVoid(untilSome<true, E, R>(what, look, patience))
}
