/**
 * File descriptors, of which a process has few (256 on some machines, shared with its sockets): so many files of stores are
 * open at once at most, and where there is none to be had all the same, because the rest of the program has them, is
 * waited for one.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import * as backoff from "../../internal/backoff.ts"

/** The limit is that of the process, and so is this bound, however many stores it has open. */
const permits = Semaphore.makeUnsafe(64)

/** How long is waited for a descriptor. */
const patienceMillis = 10_000

/** Whether none was to be had. */
export const isScarce = (code: string): boolean => code === "EMFILE" || code === "ENFILE"

/** Carries out again what failed because there was no descriptor, and so has done nothing. */
export const patiently = Effect.fnUntraced(function* <A, E extends { readonly code: string }, R>(
  effect: Effect.Effect<A, E, R>
) {
  const start = yield* Clock.currentTimeMillis
  let waited = 0
  for (let millis = 5; ; millis = Math.min(100, millis * 2)) {
    const result = yield* Effect.result(effect)
    if (result._tag === "Success") return result.success
    // A test's clock may stand still.
    const passed = Math.max(waited, (yield* Clock.currentTimeMillis) - start)
    if (!isScarce(result.failure.code) || passed > patienceMillis) return yield* Effect.fail(result.failure)
    const pause = millis * (0.5 + (yield* Random.next))
    waited += pause
    yield* backoff.pause(pause)
  }
})

/** Runs what opens one file and closes it again, and fails before it has done anything when it cannot open it. */
export const withDescriptor = <A, E extends { readonly code: string }, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => permits.withPermit(patiently(effect))
