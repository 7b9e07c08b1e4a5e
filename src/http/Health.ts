/**
 * Whether a server is up, for what watches over it: `/health/live` says that it answers, `/health/ready` that what it needs does.
 *
 * ```ts
 * import * as Health from "effect-s3db/http/Health"
 *
 * const Checks = Health.layer({ checks: { database: Health.database } })
 * ```
 *
 * Anybody may ask. What is said is the name of each check, and whether it is up; why it is not is in the log.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"

/**
 * What is checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** By name: up where it succeeds. Default: none. */
  readonly checks?: Readonly<Record<string, Effect.Effect<unknown, unknown, Database>>> | undefined
  /** Names of checks that may be down while the server is ready. Default: none. */
  readonly optional?: ReadonlyArray<string> | undefined
  /** How long a check may take. Default 5 seconds. */
  readonly timeout?: Duration.Input | undefined
  /** How long an answer is given again, so that nobody can make the checks run as often as he likes. Default 1 second. */
  readonly remember?: Duration.Input | undefined
  /** Default: `/health`. */
  readonly path?: `/${string}` | undefined
}

/**
 * Reads the catalog: the store can be reached. 1 GET.
 *
 * @category constructors
 * @since 0.1.0
 */
export const database: Effect.Effect<void, DbError.DbError, Database> = Effect.flatMap(
  Database,
  ({ refresh }) => refresh
)

const headers = { "cache-control": "no-store", "x-content-type-options": "nosniff" }

/**
 * Answers at `/health/live` and `/health/ready`: 200, or 503 where a check that is not optional is down.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = ({
  checks = {},
  optional = [],
  path = "/health",
  remember = Duration.seconds(1),
  timeout = Duration.seconds(5)
}: Options = {}): Layer.Layer<never, never, HttpRouter.HttpRouter | Database> =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const run = Effect.fnUntraced(function* (name: string, check: Effect.Effect<unknown, unknown, Database>) {
        const outcome = yield* check.pipe(Effect.timeout(timeout), Effect.exit)
        if (outcome._tag === "Success") return [name, "up"] as const
        yield* Effect.logWarning(`the check ${name} is down`, outcome.cause)
        return [name, "down"] as const
      })
      const all = Effect.forEach(Object.entries(checks), ([name, check]) => run(name, check), {
        concurrency: "unbounded"
      })
      const context = yield* Effect.context<Database>()
      const outcomes = yield* Effect.cachedWithTTL(Effect.provideContext(all, context), remember)
      const ready = Effect.map(outcomes, (found) => {
        const isUp = found.every(([name, state]) => state === "up" || optional.includes(name))
        return HttpServerResponse.jsonUnsafe(
          { status: isUp ? "up" : "down", checks: Object.fromEntries(found) },
          { status: isUp ? 200 : 503, headers }
        )
      })
      yield* router.add("GET", `${path}/live`, HttpServerResponse.jsonUnsafe({ status: "up" }, { headers }))
      yield* router.add("GET", `${path}/ready`, ready)
    })
  )
