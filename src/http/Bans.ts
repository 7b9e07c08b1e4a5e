/**
 * Clients that keep breaking the rules are shut out for a while: whoever fails to log in, or makes too many requests, again and again. All
 * processes of a database share the bans.
 *
 * ```ts
 * import * as Bans from "effect-s3db/http/Bans"
 *
 * const Banned = Bans.layer({ violations: 10, window: "10 minutes", duration: "1 hour" })
 * ```
 *
 * **Details**
 *
 * Violations are counted by Effect's `RateLimiter`, in memory, in Redis or in the bucket (`persistence/RateLimiter`). Bans are documents of a resource
 * of the plugin's own, `plg_bans_bans`. Each process knows those that are there, and looks again each `refresh`: until then a ban that another
 * process has made, or has lifted, does not count here. A request costs no request to the store; a violation costs one of the limiter's.
 *
 * Merged with the routes it sees what `RateLimit.layer` refuses, wherever that is merged.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as Plugin from "../Plugin.ts"
import type * as Repository from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Around from "./internal/around.ts"
import * as Problem from "./Problem.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An option of the layer, or a ban, that cannot be. Nothing was written.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidBan extends ExpectedError<InvalidBan>("effect-s3db/http/Bans/InvalidBan")(
  "InvalidBan",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `bans, ${this.field}: ${this.problem}`
  }
}

const Stored = Schema.Struct({
  /** Whose requests are refused. */
  id: Schema.String,
  reason: Schema.String,
  since: Schema.Date,
  until: Schema.Date
})

/**
 * A client that is shut out: by its key, which is its address unless the layer says otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export type Ban = typeof Stored.Type

/**
 * What is a violation, and what follows from some.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many violations within `window` lead to a ban. Default 10. */
  readonly violations?: number | undefined
  /** Default: 10 minutes. */
  readonly window?: Duration.Input | undefined
  /** How long a ban lasts. Default: 1 hour. */
  readonly duration?: Duration.Input | undefined
  /** The statuses of answers that are violations. Default: 401 and 429. */
  readonly statuses?: ReadonlyArray<number> | undefined
  /** Keys that are never banned, such as `127.0.0.1`. Default: none. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** How often the bans of others are looked at: 1 LIST and 1 GET for each. Default: 1 minute. */
  readonly refresh?: Duration.Input | undefined
  /**
   * Whose request it is; `undefined`: one that cannot be banned. Default: the address of the connection. Behind a proxy that is the proxy: use
   * `TrustedProxies`. A header that clients set as they like is no key.
   */
  readonly keyOf?: ((request: HttpServerRequest) => string | undefined) | undefined
}

/**
 * The bans of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Bans extends Context.Service<
  Bans,
  {
    /** Shuts a client out, or for another time than it was. Default: as long as the layer says. 1 or 2 requests. */
    readonly ban: (
      key: string,
      options?: { readonly for?: Duration.Input | undefined; readonly reason?: string | undefined }
    ) => Effect.Effect<Ban, InvalidBan | Exclude<Repository.ChangeError, DbError.NotFound>>
    /** Lets a client in again; `false`: it was not shut out. */
    readonly lift: (key: string) => Effect.Effect<boolean, Repository.DeleteError>
    /** The ban of a client, as this process knows it. No request. */
    readonly find: (key: string) => Effect.Effect<Option.Option<Ban>>
    /** All that last. 1 LIST for each 1,000, 1 GET for each. */
    readonly list: Stream.Stream<Ban, Repository.ListError>
  }
>()("effect-s3db/http/Bans") {}

/**
 * The plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("bans", { version: 1 })

// -----------------------------------------------------------------------------
// Layer
// -----------------------------------------------------------------------------

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidBan | Plugin.InvalidPlugin | Repository.ListError

/** The oldest beyond these are forgotten here, and stay in the database. */
const mostKnown = 100_000

/** Keys are ids of documents. */
const mostKeyBytes = 256

const millisOf = (field: string, given: Duration.Input) => {
  const millis = Option.map(Duration.fromInput(given), Duration.toMillis)
  return Option.isSome(millis) && millis.value > 0 && Number.isFinite(millis.value)
    ? Effect.succeed(millis.value)
    : Effect.fail(new InvalidBan({ field, problem: "this is no duration of more than 0" }))
}

const addressOf = ({ remoteAddress }: HttpServerRequest): string | undefined => Option.getOrUndefined(remoteAddress)

const make = Effect.fnUntraced(function* ({
  duration = "1 hour",
  refresh = "1 minute"
}: Options): Effect.fn.Return<Bans["Service"], LayerError, Database | Scope.Scope> {
  const database = yield* Database
  const lastsMillis = yield* millisOf("duration", duration)
  const refreshMillis = yield* millisOf("refresh", refresh)
  const instance = yield* Plugin.open(plugin, {})
  const documents = yield* Resource.make(
    Resource.define(instance.resourceName("bans"), { schema: Stored, primaryKey: "id", scan: true })
  )
  let known = new Map<string, Ban>()

  const note = (ban: Ban, into = known) => {
    into.delete(ban.id)
    into.set(ban.id, ban)
    const [oldest] = into.keys()
    if (into.size > mostKnown) into.delete(oldest!)
  }

  /** What is over is removed by whoever finds it, unless it has been made anew; who cannot leaves it to the next one. */
  const remove = ({ id }: Ban) =>
    database
      .transaction(
        Effect.gen(function* () {
          const again = yield* documents.get(id)
          if (again.until.getTime() <= (yield* Clock.currentTimeMillis)) yield* documents.delete(id)
        })
      )
      .pipe(Effect.catch((error) => Effect.logDebug("a ban that is over could not be removed", error)))

  const lasting = documents.query({ scan: true }).pipe(
    Stream.mapEffect((ban) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        ban.until.getTime() > now ? Effect.succeed(ban) : Effect.as(remove(ban), undefined)
      )
    ),
    Stream.filter((ban) => ban !== undefined)
  )

  /** What was done here, and a listing may not show: bans that are not written yet, or could not be, and those that were lifted. */
  const own = { bans: new Map<string, { readonly ban: Ban; isWritten: boolean }>(), lifted: new Set<string>() }

  const look = Effect.gen(function* () {
    // What was written before it begins it shows.
    for (const [key, { isWritten }] of own.bans) if (isWritten) own.bans.delete(key)
    own.lifted.clear()
    const found = new Map<string, Ban>()
    yield* Stream.runForEach(lasting, (ban) => Effect.sync(() => note(ban, found)))
    const now = yield* Clock.currentTimeMillis
    for (const key of own.lifted) found.delete(key)
    for (const [key, { ban }] of own.bans) {
      if (ban.until.getTime() > now) note(ban, found)
      else own.bans.delete(key)
    }
    known = found
  })

  yield* look
  yield* Effect.sleep(refreshMillis).pipe(
    Effect.andThen(look),
    Effect.catchCause((cause) => Effect.logWarning("the bans could not be looked at; it is tried again", cause)),
    Effect.forever,
    Effect.forkScoped
  )
  yield* instance.running()

  return Bans.of({
    ban: Effect.fn("Bans.ban")(function* (key, { for: lasts, reason = "" } = {}) {
      if (key === "" || new TextEncoder().encode(key).length > mostKeyBytes) {
        return yield* new InvalidBan({ field: "key", problem: `a key has 1 to ${mostKeyBytes} bytes` })
      }
      const millis = lasts === undefined ? lastsMillis : yield* millisOf("for", lasts)
      const now = yield* Clock.currentTimeMillis
      const ban: Ban = { id: key, reason, since: new Date(now), until: new Date(now + millis) }
      // Here it counts at once, whatever becomes of the write.
      note(ban)
      const entry = { ban, isWritten: false }
      own.bans.set(key, entry)
      own.lifted.delete(key)
      return yield* Effect.tap(documents.upsert(ban), () =>
        Effect.sync(() => {
          entry.isWritten = true
        })
      )
    }),
    lift: Effect.fn("Bans.lift")(function* (key) {
      const wasThere = known.delete(key)
      own.bans.delete(key)
      own.lifted.add(key)
      const isGone = yield* documents.delete(key, { mustExist: true }).pipe(
        Effect.as(true),
        Effect.catchTag("NotFound", () => Effect.succeed(false))
      )
      return isGone || wasThere
    }),
    find: (key) =>
      Effect.map(Clock.currentTimeMillis, (now) =>
        Option.filter(Option.fromUndefinedOr(known.get(key)), (ban) => ban.until.getTime() > now)
      ),
    list: lasting
  })
})

const refused = (ban: Ban, now: number) =>
  HttpServerResponse.setHeader(
    Problem.toResponse(
      Problem.make(403, "Banned", "there were too many violations from here: wait as long as Retry-After says")
    ),
    "retry-after",
    String(Math.max(1, Math.ceil((ban.until.getTime() - now) / 1000)))
  )

/**
 * Shuts clients out of all routes: 403 `Banned` with `Retry-After`. While violations cannot be counted, or a ban cannot be written, requests pass, and a
 * warning is logged; a ban counts in this process in any case. 1 LIST when it is opened, and 1 GET for each ban.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Bans, LayerError, HttpRouter.HttpRouter | RateLimiter.RateLimiter | Database> => {
  const { allow = [], keyOf = addressOf, statuses = [401, 429], violations = 10, window = "10 minutes" } = options
  const allowed = new Set(allow)
  const isViolation = new Set(statuses)
  const service = Layer.effect(
    Bans,
    Effect.gen(function* () {
      if (!Number.isSafeInteger(violations) || violations < 1) {
        return yield* new InvalidBan({ field: "violations", problem: "this is no number of 1 or more" })
      }
      yield* millisOf("window", window)
      return yield* make(options)
    })
  )
  const middleware = Around.layer(
    "bans",
    Effect.gen(function* () {
      const bans = yield* Bans
      const limiter = yield* RateLimiter.RateLimiter

      const count = (key: string, status: number) =>
        limiter
          .consume({
            algorithm: "fixed-window",
            limit: violations,
            window,
            key: `violations ${key}`,
            onExceeded: "fail"
          })
          .pipe(
            Effect.map(({ remaining }) => remaining === 0),
            Effect.catch((error) =>
              error.reason._tag === "RateLimitExceeded" ? Effect.succeed(true) : Effect.fail(error)
            ),
            Effect.flatMap((isOver) =>
              isOver ? bans.ban(key, { reason: `${violations} answers with status ${status} or alike` }) : Effect.void
            ),
            Effect.catch((error) => Effect.logWarning("a violation could not be counted, or a ban not written", error))
          )

      return (effect) =>
        Effect.gen(function* () {
          const key = keyOf(yield* HttpServerRequest)
          if (key === undefined || allowed.has(key)) return yield* effect
          const ban = yield* bans.find(key)
          if (Option.isSome(ban)) return refused(ban.value, yield* Clock.currentTimeMillis)
          const response = yield* effect
          if (isViolation.has(response.status)) yield* count(key, response.status)
          return response
        })
    })
  )
  return Layer.provideMerge(middleware, service)
}
