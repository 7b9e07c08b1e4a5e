/**
 * Who works on a queue, as one process sees it: how long the others have said nothing, by its own steady clock.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as StoreClock from "../../kernel/StoreClock.ts"
import type * as State from "./state.ts"

type Seen = Pick<State.State, "workers">

/**
 * The workers that a process has seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Workers {
  /** Looks at who goes on. */
  readonly observe: (state: Seen) => Effect.Effect<void>
  /** The workers that have been silent for longer than they may. */
  readonly silent: (state: Seen) => Effect.Effect<ReadonlySet<string>>
  /** Milliseconds until a worker that says nothing more may be taken for silent. */
  readonly untilSilent: (state: Seen) => Effect.Effect<number>
}

/**
 * Creates what a worker knows of the others: nothing yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (worker: string): Workers => {
  const sightings = new Map<string, { readonly beat: number; readonly since: Effect.Effect<number> }>()

  const observe = Effect.fnUntraced(function* ({ workers }: Seen) {
    const there = new Set(workers.map(({ w }) => w))
    for (const w of sightings.keys()) if (!there.has(w)) sightings.delete(w)
    for (const { b, w } of workers) {
      if (w !== worker && sightings.get(w)?.beat !== b) sightings.set(w, { beat: b, since: yield* StoreClock.steady })
    }
  })

  const silent = Effect.fnUntraced(function* ({ workers }: Seen) {
    const found = new Set<string>()
    for (const { l, w } of workers) {
      const sighting = sightings.get(w)
      if (sighting !== undefined && (yield* sighting.since) >= l) found.add(w)
    }
    return found
  })

  const untilSilent = Effect.fnUntraced(function* ({ workers }: Seen) {
    let least = Infinity
    for (const { l, w } of workers) {
      const sighting = sightings.get(w)
      if (sighting !== undefined) least = Math.min(least, l - (yield* sighting.since))
    }
    return least
  })

  return { observe, silent, untilSilent }
}
