/**
 * The way of requests that have nothing to be decoded but an id: from the router through the gate to the handler.
 *
 * **Details**
 *
 * The way of an endpoint of `HttpApi` merges the services that its layer was built with into those of the request, each time, which takes as
 * long as the rest of a read. Handlers of documents need none of them, and read their headers and bodies themselves: their routes are taken
 * for the same without it. What is said of them in the OpenAPI document, and to clients, stays what the endpoint says. An endpoint that
 * somebody has given a middleware more goes the usual way, through all of them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Gate from "./gate.ts"

type Handler = (request: HttpServerRequest, id: string) => Effect.Effect<HttpServerResponse>

/** What matters of an endpoint here. */
interface Endpoint {
  readonly method: string
  readonly path: string
  readonly annotations: Context.Context<never>
  readonly middlewares: ReadonlySet<unknown>
}

export interface Straight {
  /** Takes this handler for an endpoint, if the group has it. */
  readonly add: (gate: ReturnType<typeof Gate.ofEndpoint>, endpoint: Endpoint | undefined, handler: Handler) => void
}

const keyOf = ({ method, path }: { readonly method: string; readonly path: string }) => `${method} ${path}`

/** Endpoints go their usual way. */
export const none: Straight = { add: () => {} }

/** Collects handlers, for the router that `layer` gives to endpoints. */
export const make = (): Straight & {
  readonly layer: Layer.Layer<HttpRouter.HttpRouter, never, HttpRouter.HttpRouter>
} => {
  const handlers = new Map<string, Effect.Effect<HttpServerResponse, never, HttpServerRequest>>()
  return {
    add: (gate, endpoint, handler) => {
      if (endpoint === undefined || endpoint.middlewares.size !== 1 || !endpoint.middlewares.has(Gate.Gate)) return
      const answering = Effect.withFiber<HttpServerResponse>(({ context }) =>
        handler(
          Context.getUnsafe(context, HttpServerRequest),
          Context.getUnsafe(context, HttpRouter.RouteContext).params["id"] ?? ""
        )
      )
      handlers.set(keyOf(endpoint), gate(answering, endpoint.annotations))
    },
    layer: Layer.effect(
      HttpRouter.HttpRouter,
      Effect.map(HttpRouter.HttpRouter, (router) =>
        HttpRouter.HttpRouter.of({
          ...router,
          addAll: (routes) => {
            const taken = routes.map((route) => {
              const handler = handlers.get(keyOf(route))
              if (handler === undefined) return route
              return HttpRouter.route(route.method, route.path, handler, { uninterruptible: route.uninterruptible })
            })
            // Those that are taken for others want and fail with nothing.
            return router.addAll(taken as unknown as typeof routes)
          }
        })
      )
    )
  }
}
