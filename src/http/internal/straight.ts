/**
 * The way of the requests that are most: from the router through the gate to the handler.
 *
 * **Details**
 *
 * The way of an endpoint of `HttpApi` merges the services that its layer was built with into those of the request, each time, which takes as
 * long as the rest of a read. These handlers need none of them, and read their headers and bodies themselves: their routes are taken for the same
 * without it. What is said of them in the OpenAPI document, and to clients, stays what the endpoint says, and so does what its query may be. An
 * endpoint that somebody has given a middleware more goes the usual way, through all of them.
 *
 * The routes are uninterruptible: what a handler does is interruptible again, and ends with an answer in any case.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest, ParsedSearchParams } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Recent from "../../internal/recent.ts"
import * as Gate from "./gate.ts"

/** What matters of an endpoint here. */
interface Endpoint {
  readonly method: string
  readonly path: string
  readonly annotations: Context.Context<never>
  readonly middlewares: ReadonlySet<unknown>
}

/** One with a query. */
interface Asking<Q extends Schema.Constraint> extends Endpoint {
  readonly "~Query": Q
  readonly query: Schema.Top | undefined
}

type Gates = ReturnType<typeof Gate.ofEndpoint>

/** The fiber of a request. */
type Running = Fiber.Fiber<unknown, unknown>

export interface Straight {
  /** Takes this handler for an endpoint, if the group has it. */
  readonly add: (
    gate: Gates,
    endpoint: Endpoint | undefined,
    handler: (fiber: Running, request: HttpServerRequest, id: string) => Effect.Effect<HttpServerResponse>
  ) => void
  /** The same of one with a query, which is decoded as `HttpApi` does it. */
  readonly addAsking: <Q extends Schema.Constraint>(
    gate: Gates,
    endpoint: Asking<Q> | undefined,
    handler: (fiber: Running, request: HttpServerRequest, query: Q["Type"]) => Effect.Effect<HttpServerResponse>,
    options: AST.ParseOptions | undefined
  ) => void
}

const keyOf = ({ method, path }: { readonly method: string; readonly path: string }) => `${method} ${path}`

/** The parameters of a request, by name. */
type Asked = ParsedSearchParams["Service"]

const isSame = (one: Asked, other: Asked): boolean => {
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => {
      const [value, there] = [one[name], other[name]]
      return (
        value === there ||
        (Array.isArray(value) &&
          Array.isArray(there) &&
          value.length === there.length &&
          value.every((text, at) => text === there[at]))
      )
    })
  )
}

/** Endpoints go their usual way. */
export const none: Straight = { add: () => {}, addAsking: () => {} }

const isUsual = (endpoint: Endpoint | undefined): endpoint is Endpoint =>
  endpoint !== undefined && endpoint.middlewares.size === 1 && endpoint.middlewares.has(Gate.Gate)

/** Collects handlers, for the router that `layer` gives to endpoints. */
export const make = (): Straight & {
  readonly layer: Layer.Layer<HttpRouter.HttpRouter, never, HttpRouter.HttpRouter>
} => {
  const handlers = new Map<string, Effect.Effect<HttpServerResponse, never, HttpServerRequest>>()
  const take = (
    gate: Gates,
    endpoint: Endpoint,
    answering: (fiber: Running) => Effect.Effect<HttpServerResponse, unknown>
  ) => {
    const answer = Effect.withFiber<HttpServerResponse, unknown>(answering)
    handlers.set(keyOf(endpoint), gate(answer, endpoint.annotations))
  }
  return {
    add: (gate, endpoint, handler) => {
      if (!isUsual(endpoint)) return
      take(gate, endpoint, (fiber) =>
        handler(
          fiber,
          Context.getUnsafe(fiber.context, HttpServerRequest),
          Context.getUnsafe(fiber.context, HttpRouter.RouteContext).params["id"] ?? ""
        )
      )
    },
    addAsking: (gate, endpoint, handler, options) => {
      if (!isUsual(endpoint) || endpoint.query === undefined) return
      // The endpoint says what it is decoded to; those of resources need nothing for it.
      const query = endpoint.query as Schema.Codec<(typeof endpoint)["~Query"]["Type"], unknown>
      const decode = Schema.decodeUnknownEffect(Schema.toCodecArrayFromSingle(query), options)
      // The same URL asks for the same, unless a middleware has something else asked for.
      const decoded = Recent.make<{ readonly asked: Asked; readonly query: (typeof endpoint)["~Query"]["Type"] }>()
      take(gate, endpoint, (fiber) => {
        const request = Context.getUnsafe(fiber.context, HttpServerRequest)
        const asked = Context.getUnsafe(fiber.context, ParsedSearchParams)
        const known = decoded.get(request.url)
        return known !== undefined && isSame(known.asked, asked)
          ? handler(fiber, request, known.query)
          : Effect.flatMapEager(HttpApiSchemaError.wrap("Query", decode(asked)), (query) =>
              handler(fiber, request, decoded.keep(request.url, { asked, query }).query)
            )
      })
    },
    layer: Layer.effect(
      HttpRouter.HttpRouter,
      Effect.map(HttpRouter.HttpRouter, (router) =>
        HttpRouter.HttpRouter.of({
          ...router,
          addAll: (routes) => {
            const taken = routes.map((route) => {
              const handler = handlers.get(keyOf(route))
              return handler === undefined
                ? route
                : HttpRouter.route(route.method, route.path, handler, { uninterruptible: true })
            })
            // Those that are taken for others want and fail with nothing.
            return router.addAll(taken as unknown as typeof routes)
          }
        })
      )
    )
  }
}
