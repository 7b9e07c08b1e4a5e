/**
 * Who asks, behind proxies: their headers say it (`X-Forwarded-For`, `-Host`, `-Proto`), and count from those alone that are trusted.
 *
 * ```ts
 * import * as TrustedProxies from "effect-s3db/http/TrustedProxies"
 *
 * const BehindTheBalancer = TrustedProxies.layer({ networks: ["10.0.0.0/8"] })
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import type * as HttpRouter from "effect/http/HttpRouter"
import * as IpNetwork from "effect/net/IpNetwork"
import * as Around from "./internal/around.ts"

/**
 * Which proxies are trusted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where proxies are that put the address that they have seen at the end of `X-Forwarded-For`, such as `10.0.0.0/8` or `192.0.2.1/32`. */
  readonly networks: readonly [string, ...Array<string>]
}

const networkOf = (text: string): IpNetwork.IpNetwork => {
  const found = IpNetwork.fromString(text)
  if (Result.isSuccess(found)) return found.success
  throw new RangeError(`${JSON.stringify(text)} is no network: write it as 10.0.0.0/8, one address as 192.0.2.1/32`)
}

/**
 * Takes the address of a client from what trusted proxies say, for all routes, and for limits, bans and places, wherever they are merged: it is that
 * which the outermost trusted proxy has seen. What a client has written before it counts nowhere, and of others than these proxies nothing does.
 *
 * Throws a `RangeError` for what is no network.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = ({ networks }: Options): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  const trustedProxies = networks.map(networkOf)
  return Around.layer("proxies", Effect.succeed(HttpMiddleware.xForwardedHeaders({ trustedProxies })))
}
