/**
 * Companions that are added to a resource which is open.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Catalog from "../Catalog.ts"
import * as Companion from "../Companion.ts"
import type { DbError } from "../DbError.ts"
import type { Documents } from "../document/documents.ts"
import * as StoreError from "../storage/StoreError.ts"

/**
 * The adding of companions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Adding {
  /**
   * Has the writers of this program keep a companion up, and registers it where the catalog does not have it. No request, or 2 PUT.
   * `InvalidArgument`.
   */
  readonly add: (
    name: string,
    companion: Companion.Companion
  ) => Effect.Effect<void, StoreError.InvalidArgument | DbError>
}

/**
 * Makes what adds companions to a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ context }: Documents<A>): Adding => {
  const { companions, database, declared, name } = context

  const invalid = (description: string) => new StoreError.InvalidArgument({ argument: "companion", description })

  return {
    add: Effect.fnUntraced(function* (label, companion) {
      const defined = Result.try({
        try: () => Companion.define(label, companion, declared.attributes),
        catch: (error) => invalid(error instanceof Error ? error.message : String(error))
      })
      if (Result.isFailure(defined)) return yield* defined.failure
      const definition = defined.success
      const before = companions.get(label)
      if (before !== undefined && !Catalog.isSameDefinition(before, definition)) {
        return yield* invalid(`there is another companion called ${JSON.stringify(label)} in ${name}`)
      }
      const register = Effect.fnUntraced(function* (now: Catalog.Resource) {
        const refusal =
          Catalog.companionRefusal(now, name, { [label]: definition }) ?? Catalog.companionExposed(now, definition)
        return refusal === undefined ? Catalog.withCompanion(now, label, definition) : yield* invalid(refusal)
      })
      // First this program knows it: what it writes from then on has its keys.
      if (before === undefined) companions.add(label, definition, companion.keys)
      yield* Effect.onError(database.changeIndexes(name, register), () =>
        Effect.sync(() => {
          if (before === undefined) companions.remove(label)
        })
      )
    })
  }
}
