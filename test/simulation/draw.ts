/** Draws from the random numbers of a fiber. */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

export const pick = <A>(all: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, all.length - 1), (i) => all[i]!)
export const chance = (probability: number) => Effect.map(Random.next, (drawn) => drawn < probability)
