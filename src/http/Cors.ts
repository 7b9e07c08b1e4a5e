/**
 * Cross-origin requests: which pages of other origins may use the API from a browser.
 *
 * ```ts
 * import * as Cors from "effect-s3db/http/Cors"
 *
 * const Shop = Cors.layer({ allowedOrigins: ["https://shop.example.com"], credentials: true })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as Around from "./internal/around.ts"

/**
 * Who may ask, and for what.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Origins, such as `https://shop.example.com`, or `"*"` for all. */
  readonly allowedOrigins: "*" | readonly [string, ...Array<string>]
  /** Whether browsers send what they know of the user, such as cookies. Not for all origins. Default `false`. */
  readonly credentials?: boolean | undefined
  /** Seconds that a browser remembers the answer. Default 600. */
  readonly maxAge?: number | undefined
}

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

const sent = ["authorization", "content-type", "if-match", "if-none-match", "if-range", "range", "prefer"]

const seen = ["etag", "last-modified", "location", "link", "content-range", "accept-ranges", "www-authenticate"]

const isOrigin = (text: string): boolean => {
  try {
    return new URL(text).origin === text
  } catch {
    return false
  }
}

/**
 * Answers preflight requests, and names the allowed origins to browsers, for all routes.
 *
 * Throws a `RangeError` for all origins with credentials, by which any page could act as the user, and for what is no origin.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = ({
  allowedOrigins,
  credentials = false,
  maxAge = 600
}: Options): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  if (allowedOrigins === "*" && credentials) {
    throw new RangeError("with credentials, name the origins: any page could act as the user otherwise")
  }
  const wrong = allowedOrigins === "*" ? undefined : allowedOrigins.find((origin) => !isOrigin(origin))
  if (wrong !== undefined || allowedOrigins.length === 0) {
    throw new RangeError(`${JSON.stringify(wrong ?? "")} is no origin: write it as https://shop.example.com`)
  }
  const cors = HttpMiddleware.cors({
    // No list is all of them, there.
    allowedOrigins: allowedOrigins === "*" ? [] : [...allowedOrigins],
    allowedMethods: methods,
    allowedHeaders: [...sent, "idempotency-key", "last-event-id", "x-request-id"],
    exposedHeaders: [
      ...seen,
      "x-total-count",
      "x-view",
      "x-request-id",
      "preference-applied",
      "retry-after",
      "ratelimit-limit",
      "ratelimit-remaining",
      "ratelimit-reset",
      "deprecation",
      "sunset"
    ],
    credentials,
    maxAge
  })
  return Around.layer("cors", Effect.succeed(cors))
}
