/** What a fiber carries, for hot paths: read where it is needed, without a step of the interpreter. */
import * as Context from "effect/Context"
import * as Fiber from "effect/Fiber"

/** The value of a reference in the fiber that runs; its default where none does. */
export const ambient = <A>(reference: Context.Reference<A>): A => {
  const fiber = Fiber.getCurrent()
  return fiber === undefined ? Context.get(Context.empty(), reference) : fiber.getRef(reference)
}
