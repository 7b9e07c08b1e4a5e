/** Shows a port of Effect among the plugins of its database, for as long as its layer lives. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Database } from "../../Database.ts"
import type * as PluginRegistry from "../../PluginRegistry.ts"
import { maxKeysPerRequest, type ObjectStore } from "../../storage/ObjectStore.ts"
import type { Reason, StoreError } from "../../storage/StoreError.ts"

/** A port that is being built. */
export interface Registering {
  /** The store of the database; what it answers here is what the status goes by. */
  readonly store: ObjectStore["Service"]
  /** Says that it is there. What it says of itself comes before what the store has answered. */
  readonly running: (own?: Effect.Effect<PluginRegistry.Health>) => Effect.Effect<void, never, Scope.Scope>
}

/** The store has answered, though with no. */
const answers: ReadonlySet<Reason["_tag"]> = new Set(["NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict"])

/** The store has not done what was asked of it. Anything else says that the request is wrong, and may never have been made. */
const failures: ReadonlySet<Reason["_tag"]> = new Set([
  "NoSuchBucket",
  "AccessDenied",
  "Throttled",
  "Unavailable",
  "Timeout",
  "Corrupt",
  "Unsupported",
  "Unexpected"
])

/** `slug` is what its keys are named by. No request: unlike a plugin it leaves nothing in the catalog. */
export const registering = Effect.fnUntraced(function* (
  { name, version }: { readonly name: string; readonly version: number },
  slug: string
): Effect.fn.Return<Registering, never, Database | Scope.Scope> {
  const { pluginRegistry, store } = yield* Database
  const entry = yield* pluginRegistry.add({ plugin: name, version, namespace: "", slug })
  let requests = 0
  let failed = 0
  let problem: string | undefined

  const seen = <A>(effect: Effect.Effect<A, StoreError>, number = 1): Effect.Effect<A, StoreError> =>
    Effect.onExit(effect, (exit) =>
      Effect.sync(() => {
        requests += number
        const error = Option.getOrUndefined(Exit.findErrorOption(exit))
        if (error !== undefined && failures.has(error.reason._tag)) {
          failed += 1
          problem = error.message
        } else if (Exit.isSuccess(exit) || (error !== undefined && answers.has(error.reason._tag))) {
          problem = undefined
        }
      })
    )

  const running: Registering["running"] = (own = Effect.succeed({ level: "up" })) =>
    entry.running({
      health: Effect.map(own, (health) =>
        health.level !== "up" || problem === undefined ? health : { level: "degraded", detail: problem }
      ),
      counters: Effect.sync(() => ({ requests, failed }))
    })

  return {
    running,
    store: {
      ...store,
      put: (request) => seen(store.put(request)),
      get: (key, options) => seen(store.get(key, options)),
      head: (key) => seen(store.head(key)),
      delete: (key, options) => seen(store.delete(key, options)),
      deleteMany: (keys, options) => seen(store.deleteMany(keys, options), Math.ceil(keys.length / maxKeysPerRequest)),
      copy: (request) => seen(store.copy(request)),
      list: (request) => seen(store.list(request))
    }
  }
})
