/**
 * What the writes of a fiber are about, for those who read the journal: a request, a job, a reason.
 *
 * ```ts
 * import * as WriteContext from "effect-s3db/WriteContext"
 * import { Effect } from "effect"
 *
 * const handled = <A, E, R>(request: string, effect: Effect.Effect<A, E, R>) =>
 *   Effect.provideService(effect, WriteContext.WriteContext, { request })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { JsonObject } from "./encoding/Json.ts"

/**
 * What the entries of writes say of them, in resources whose journal has `context: true`; they have the id of the `CurrentUser`
 * beside it, under `user`, a name that counts for nothing here. It is in clear in the store. Default: nothing.
 *
 * @category references
 * @since 0.1.0
 */
export const WriteContext: Context.Reference<JsonObject | undefined> = Context.Reference("effect-s3db/WriteContext", {
  defaultValue: (): JsonObject | undefined => undefined
})
