/** Pauses between attempts: how long they are, and what they wait for. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** Waits by the timers of the machine, whatever `Clock` a program has. */
const byTimer = (millis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/**
 * What a pause waits for. By default the time of the machine, so that a program under a test's clock goes on by itself;
 * `Effect.sleep` where time is simulated.
 */
export const Pause: Context.Reference<(millis: number) => Effect.Effect<void>> = Context.Reference<
  (millis: number) => Effect.Effect<void>
>("effect-s3db/internal/backoff/Pause", { defaultValue: () => byTimer })

/** Waits for some milliseconds. */
export const pause = (millis: number): Effect.Effect<void> => Effect.flatMap(Pause, (wait) => wait(millis))

/** How pauses grow, from attempt to attempt. */
export interface Policy {
  /** Milliseconds of the first pause, before chance has its part. */
  readonly first: number
  readonly factor: number
  /** No pause is longer, but for chance. */
  readonly most: number
  /** The least and the most of that which a pause takes, at random. */
  readonly share: readonly [least: number, most: number]
}

/** After a lost race: anything up to a limit that grows ("full jitter"), so that those who lost do not meet again. */
export const contention: Policy = { first: 10, factor: 1.5, most: 1000, share: [0, 1] }

/** While something of somebody else is under way: about as long as it may take. */
export const waiting: Policy = { first: 10, factor: 1.7, most: 1000, share: [0.5, 1.5] }

/** The milliseconds of the pause after so many attempts, from 0. */
export const millisAfter = (attempts: number, { factor, first, most, share }: Policy): Effect.Effect<number> =>
  Effect.map(Random.next, (chance) => {
    const [least, greatest] = share
    return Math.min(most, first * factor ** attempts) * (least + chance * (greatest - least))
  })

/** Pauses after so many attempts, from 0. */
export const after = (attempts: number, policy: Policy): Effect.Effect<void> =>
  Effect.flatMap(millisAfter(attempts, policy), pause)
