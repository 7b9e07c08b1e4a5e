/** Effects that are done: values that are there already, which hot paths take without a step of the interpreter and without a function for it. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** That of all successes: one look, where asking an effect whether it is an exit, and which, is two. */
const ofSuccess: unknown = Object.getPrototypeOf(Exit.void)

/** Whether an effect is the value that it gives. */
export const isDone = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Success<A, E> =>
  Object.getPrototypeOf(effect) === ofSuccess
