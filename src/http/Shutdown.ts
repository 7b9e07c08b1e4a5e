/**
 * How a server stops without cutting anybody off who would have come to an end.
 *
 * ```ts
 * import { createServer } from "node:http"
 * import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
 * import * as Shutdown from "effect-s3db/http/Shutdown"
 * import type { Layer as Layers } from "effect"
 * import { Layer } from "effect"
 * import * as HttpRouter from "effect/http/HttpRouter"
 *
 * const launch = (Routes: Layers.Layer<never, never, HttpRouter.HttpRouter>) =>
 *   NodeRuntime.runMain(
 *     Layer.launch(
 *       Shutdown.gracefully(HttpRouter.serve(Routes)).pipe(
 *         Layer.provide(NodeHttpServer.layer(createServer, { port: 3000, gracefulShutdownTimeout: "20 seconds" }))
 *       )
 *     )
 *   )
 * ```
 *
 * **Details**
 *
 * A server of Effect that stops takes no more connections, and waits for requests that are under way, `gracefulShutdownTimeout` at most; then it interrupts
 * them. Two things make it wait that long in vain: streams that end never, and connections that stay open, on which one request follows the other.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stopping from "./internal/stopping.ts"

/**
 * Makes a server stop as soon as what is under way has ended. When the layer is to close, before the server is:
 *
 * - streams of changes end, and a browser asks again elsewhere, from where it was; WebSockets are closed with 1001
 * - every answer of a router with `HttpResources.layer` has `Connection: close`, so that its connection gets no further request
 *
 * Requests that are under way are answered, exports and content among them, within the time that the server gives them. Exports and streams of changes have
 * `Connection: close` from the beginning. The connection of content, or of a stream of your own, that ends while the server stops is waited for until its client, or
 * `keepAliveTimeout` of `createServer` (5 seconds), ends it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const gracefully = <A, E, R>(served: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.unwrap(
    Effect.sync(() => {
      const { begin, ...stopping } = Stopping.make()
      // What is built last is closed first.
      return Layer.effectDiscard(Effect.addFinalizer(() => begin)).pipe(
        Layer.provideMerge(served),
        Layer.provide(Layer.succeed(Stopping.Stopping, stopping))
      )
    })
  )
