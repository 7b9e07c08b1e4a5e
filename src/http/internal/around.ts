/**
 * What stands around all routes, in one order: layers are built side by side, and which of them is ready first is nobody's to say.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { unhandled } from "effect/Types"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"

/**
 * From the outside to the inside: who asks is known before anybody is counted or shut out, every answer to a page of another origin says that it
 * may be read, and who is shut out is not counted.
 */
const order = ["stopping", "proxies", "cors", "bans", "limits"] as const

export type Place = (typeof order)[number]

/** What it fails with nobody here answers. */
type Answering = Effect.Effect<HttpServerResponse, unhandled, HttpServerRequest>

/** Stands around an answer. */
export type Around = (answering: Answering) => Answering

/** By what all forms of one router have in common. */
const known = new WeakMap<object, Map<Place, Array<Around>>>()

/** Puts something around all routes of the router, at its place. Of several at one place the one that was ready first is the outer one. */
export const layer = <E, R>(
  place: Place,
  around: Effect.Effect<Around, E, R>
): Layer.Layer<never, E, Exclude<R, Scope.Scope> | HttpRouter.HttpRouter> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const made = yield* around
      const router = yield* HttpRouter.HttpRouter
      const before = known.get(router.addGlobalMiddleware)
      const all = before ?? new Map<Place, Array<Around>>()
      all.set(place, [...(all.get(place) ?? []), made])
      if (before !== undefined) return
      known.set(router.addGlobalMiddleware, all)
      // It is put around the routes when all of them are there.
      yield* router.addGlobalMiddleware((answering) =>
        order.flatMap((one) => all.get(one) ?? []).reduceRight<Answering>((inner, outer) => outer(inner), answering)
      )
    })
  )
