/**
 * A limit of requests for each client, counted by Effect's `RateLimiter`: in memory, in Redis, or in the bucket
 * (`persistence/RateLimiter`), where all processes share it.
 *
 * ```ts
 * import * as RateLimit from "effect-s3db/http/RateLimit"
 *
 * const Limited = RateLimit.layer({ limit: 100, window: "1 minute" })
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Around from "./internal/around.ts"
import * as Problem from "./Problem.ts"

/**
 * How many, for whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Requests in a window. */
  readonly limit: number
  readonly window: Duration.Input
  /** Default: `fixed-window`. */
  readonly algorithm?: "fixed-window" | "token-bucket" | undefined
  /**
   * Whose request it is; `undefined`: one that is not limited. Default: the address of the connection. Behind a proxy that is the proxy: use
   * `TrustedProxies`. A header that clients set as they like is no key.
   */
  readonly keyOf?: ((request: HttpServerRequest) => string | undefined) | undefined
}

const addressOf = ({ remoteAddress }: HttpServerRequest): string => Option.getOrElse(remoteAddress, () => "unknown")

const seconds = (duration: Duration.Duration): string => String(Math.max(1, Math.ceil(Duration.toSeconds(duration))))

/**
 * Limits all routes: 429 with `Retry-After`. Every other answer says what is left (`RateLimit-Limit`, `RateLimit-Remaining`,
 * `RateLimit-Reset`, in seconds). While the counters cannot be reached requests pass, and a warning is logged.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = ({
  algorithm = "fixed-window",
  keyOf = addressOf,
  limit,
  window
}: Options): Layer.Layer<never, never, HttpRouter.HttpRouter | RateLimiter.RateLimiter> =>
  Around.layer(
    "limits",
    Effect.map(
      RateLimiter.RateLimiter,
      (limiter) => (effect) =>
        Effect.gen(function* () {
          const key = keyOf(yield* HttpServerRequest)
          if (key === undefined) return yield* effect
          const counted = yield* Effect.result(
            limiter.consume({ algorithm, limit, window, key: `http ${key}`, onExceeded: "fail" })
          )
          if (counted._tag === "Success") {
            const { remaining, resetAfter } = counted.success
            return HttpServerResponse.setHeaders(yield* effect, {
              "ratelimit-limit": String(limit),
              "ratelimit-remaining": String(remaining),
              "ratelimit-reset": seconds(resetAfter)
            })
          }
          const { reason } = counted.failure
          if (reason._tag !== "RateLimitExceeded") {
            yield* Effect.logWarning("requests cannot be counted, and pass", counted.failure)
            return yield* effect
          }
          return HttpServerResponse.setHeaders(
            Problem.toResponse(
              Problem.make(429, "TooManyRequests", "these were too many requests: wait as long as Retry-After says")
            ),
            {
              "retry-after": seconds(reason.retryAfter),
              "ratelimit-limit": String(limit),
              "ratelimit-remaining": "0",
              "ratelimit-reset": seconds(reason.retryAfter)
            }
          )
        })
    )
  )
