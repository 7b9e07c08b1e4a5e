/**
 * Keeps the journal of a database, as a layer: what resources with the option `journal` have committed is brought into one order, and
 * consumers and the audit trail go on.
 *
 * ```ts
 * import * as Database from "effect-s3db/Database"
 * import * as Journaler from "effect-s3db/plugins/Journaler"
 * import { Layer } from "effect"
 *
 * const Db = Journaler.layer.pipe(Layer.provideMerge(Database.layer))
 * ```
 *
 * **Details**
 *
 * Any number of programs may have it; one of them works at a time, by a lease, and another goes on when it is gone.
 *
 * @see `docs/guide/journal.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import type * as Journal from "../kernel/Journal.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import type * as StoreError from "../storage/StoreError.ts"

/**
 * What keeps the journal, as a plugin: see `Plugin`. A database has one journal, and one of these.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("journaler", { version: 1 })

/**
 * When and how long it works.
 *
 * @category models
 * @since 0.1.0
 */
export type Options = Journal.RunOptions

/**
 * Keeps the journal of a database until the scope closes. 1 GET and 2 PUT the first time in a database, and the requests of `Journal.run`.
 *
 * What it cannot get over, such as a damaged entry, is logged with its key, told by `Plugin.statuses` (`down`), and tried again
 * after `longestPause`: what comes after it waits, since nothing may be left out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<void, Plugin.InvalidPlugin | DbError.DbError, Database | Scope.Scope> {
  const { journal, journaled } = yield* Database
  const self = yield* Plugin.open(plugin)
  const { longestPause = "1 minute" } = options
  let health: PluginRegistry.Health = { level: "up" }
  const isWell = Effect.sync(() => {
    health = { level: "up" }
  })
  const failed = (error: StoreError.StoreError) =>
    Effect.andThen(
      self.count("failed"),
      Effect.suspend(() => {
        health = { level: "down", detail: `${error.key ?? "the store"}: ${error.message}` }
        return Effect.logError(`the journal cannot go on; it is tried again. ${health.detail}`)
      })
    )
  // What was not mended fails again at once.
  const wellInTime = Effect.andThen(Effect.delay(isWell, longestPause), Effect.never)
  yield* Effect.raceFirst(journal.run(journaled, options), wellInTime).pipe(
    Effect.catch(failed),
    Effect.andThen(Effect.sleep(longestPause)),
    Effect.forever,
    Effect.forkScoped
  )
  yield* self.running({ health: Effect.sync(() => health) })
})

/**
 * Keeps the journal of a database as long as it lives, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<never, Plugin.InvalidPlugin | DbError.DbError, Database> =>
  Layer.effectDiscard(make(options))

/**
 * Keeps the journal of a database as long as it lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, Plugin.InvalidPlugin | DbError.DbError, Database> = layerWith({})
