/**
 * What every request of the API passes: it gets an id, somebody says who sends it, and it ends with an answer.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Headers from "effect/http/Headers"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Id from "../../crypto/Id.ts"
import * as CurrentUser from "../../CurrentUser.ts"
import { Authentication } from "../Authentication.ts"
import * as Problem from "../Problem.ts"
import * as Answer from "./answer.ts"

/** Who may use an endpoint: somebody who is logged in, or anybody. */
export const Access = Context.Reference<"authenticated" | "public">("effect-s3db/http/Access", {
  defaultValue: () => "authenticated"
})

/** Whether the handler of an endpoint asks who is there, since it can be told otherwise than by a header. */
export const AsksItself = Context.Reference<boolean>("effect-s3db/http/AsksItself", { defaultValue: () => false })

/** Headers that every answer of an endpoint has. */
export const Notice = Context.Reference<Readonly<Record<string, string>>>("effect-s3db/http/Notice", {
  defaultValue: () => ({})
})

/** The middleware of all endpoints. */
export class Gate extends HttpApiMiddleware.Service<Gate>()("effect-s3db/http/Gate") {}

/** The id of the request that a fiber works on: what its logs are annotated with. */
export const RequestId: Effect.Effect<string> = Effect.withFiber((fiber) => Effect.succeed(requestIdOf(fiber)))

/** The same of the fiber that runs. */
export const requestIdHere = (): string => {
  const fiber = Fiber.getCurrent()
  return fiber === undefined ? "" : requestIdOf(fiber)
}

/** The same of a fiber at hand. */
export const requestIdOf = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const { requestId } = fiber.getRef(References.CurrentLogAnnotations)
  return typeof requestId === "string" ? requestId : ""
}

type Response = HttpServerResponse.HttpServerResponse

const header = "x-request-id"
const sensible = /^[\w.:-]{1,128}$/

/** Answers hold documents: no browser should take them for a page, no cache should keep them for others. */
const always = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin"
}

const usual = { vary: "Authorization", "cache-control": "private, no-cache", ...always }

/**
 * By which headers somebody is told from others: a browser that has kept the answer to one of them asks with its tag for the other, who may see less
 * of the same version.
 */
export const varyOf = (schemes: Authentication["Service"]["schemes"]): string => {
  const names = Object.values(schemes).flatMap((scheme) => {
    if (scheme.type !== "apiKey" || scheme.in === "query") return []
    return [scheme.in === "cookie" ? "Cookie" : scheme.name]
  })
  return [...new Set([usual.vary, ...names])].join(", ")
}

/**
 * An answer of JSON with the headers that all have; those that are given have the last word, their names in lower case. The headers of an answer that
 * was made a moment ago are nobody else's: they are filled in, where those of another one would be read and copied again.
 */
export const jsonAnswer = (
  requestId: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
  status = 200
): Response => {
  const response = HttpServerResponse.jsonUnsafe(body, { status })
  if (response.headers === Headers.empty) {
    return HttpServerResponse.setHeaders(response, { ...usual, [header]: requestId, ...headers })
  }
  // Set one by one: an object that is filled from others takes several times as long.
  const own = response.headers as Record<string, string>
  for (const name in usual) own[name] = usual[name as keyof typeof usual]
  for (const name in headers) own[name] = headers[name]!
  own[header] = requestId
  return response
}

const withHeaders = (response: HttpServerResponse.HttpServerResponse, requestId: string, vary: string) => {
  const { headers } = response
  // Those that a handler has made by `jsonAnswer` are made once.
  if (headers[header] === requestId) return response
  const added: Record<string, string> = { [header]: requestId }
  for (const name in usual) if (headers[name] === undefined) added[name] = usual[name as keyof typeof usual]
  if (headers["vary"] === undefined) added["vary"] = vary
  return HttpServerResponse.setHeaders(response, added)
}

/**
 * Whether a path has what the router takes for its end, where clients take it for a part of it: to delete `/books/a;b` would delete the book `a`.
 */
const isCut = (url: string): boolean => {
  if (!url.includes(";") && !url.includes("#")) return false
  const query = url.indexOf("?")
  return /[;#]/.test(query < 0 ? url : url.slice(0, query))
}

const cut = Answer.refuse(400, "InvalidRequest", "a path has no ; or # as it is: percent-encode it, as %3B or %23")

/** Whether anybody may use an endpoint with these annotations. */
export const isOpen = (annotations: Context.Context<never>): boolean => Context.get(annotations, Access) === "public"

/** The answer to somebody who has to log in first. */
export const refused = (challenges: ReadonlyArray<string>, requestId: string): Response =>
  HttpServerResponse.setHeader(
    Problem.toResponse(Problem.make(401, "Unauthenticated", "log in first", { requestId })),
    "www-authenticate",
    challenges.join(", ")
  )

/** Lets a request in, or does not. What comes of it is an answer in any case. */
export const make =
  ({ authenticate, challenges, schemes }: Authentication["Service"], vary = varyOf(schemes)) =>
  <R>(
    effect: Effect.Effect<Response, unknown, R>,
    { asksItself = false, isOpen }: { readonly isOpen: boolean; readonly asksItself?: boolean }
  ): Effect.Effect<Response, never, R | HttpServerRequest> => {
    const unauthenticated = (requestId: string) => refused(challenges, requestId)

    /** The user, then what the endpoint does: nothing here is a step of the interpreter that need not be one, as every request pays for it. */
    const asked = (
      fiber: Fiber.Fiber<unknown, unknown>,
      request: HttpServerRequest,
      requestId: string
    ): Effect.Effect<Response, unknown, R> =>
      Effect.matchCauseEffectEager(whoOf(authenticate(request)), {
        onFailure: (cause): Effect.Effect<Response, unknown, R> => {
          const failure = Cause.findError(cause)
          if (Result.isFailure(failure)) return Effect.failCause(failure.failure)
          const error = failure.success
          return error._tag === "Unauthenticated"
            ? Effect.succeed(unauthenticated(requestId))
            : Answer.told(Effect.fail(error), requestId)
        },
        onSuccess: (user) => {
          if (user === undefined && !isOpen) return Effect.succeed(unauthenticated(requestId))
          fiber.setContext(Context.add(fiber.context, CurrentUser.CurrentUser, user))
          return effect
        }
      })

    const enter = (
      fiber: Fiber.Fiber<unknown, unknown>,
      request: HttpServerRequest,
      requestId: string
    ): Effect.Effect<Response, never, R> => {
      const before = fiber.context
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      fiber.setContext(Context.add(before, References.CurrentLogAnnotations, { ...annotations, requestId }))
      const answered = (response: Response): Response => {
        fiber.setContext(before)
        return withHeaders(response, requestId, vary)
      }
      const answering = isCut(request.url)
        ? Answer.told(cut, requestId)
        : asksItself
          ? effect
          : asked(fiber, request, requestId)
      return Effect.matchCauseEffect(answering, {
        onFailure: (cause) => Effect.map(Answer.ofCause(cause, requestId), answered),
        onSuccess: (response) => Effect.succeed(answered(response))
      })
    }

    return Effect.withFiber((fiber) => {
      const request = Context.getUnsafe(fiber.context, HttpServerRequest)
      const given = request.headers[header]
      return given !== undefined && sensible.test(given)
        ? enter(fiber, request, given)
        : Effect.flatMapEager(Id.randomEager(), (requestId) => enter(fiber, request, requestId))
    })
  }

/** Who is asked for elsewhere may be given up by who asks. */
const whoOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Exit.isExit(effect) ? effect : Effect.interruptible(effect)

/** The gate of an endpoint, by its annotations. */
export const ofEndpoint = (authentication: Authentication["Service"]) => {
  const gate = make(authentication)
  return <R>(
    effect: Effect.Effect<Response, unknown, R>,
    annotations: Context.Context<never>
  ): Effect.Effect<Response, never, R | HttpServerRequest> => {
    const notice = Context.get(annotations, Notice)
    const answer = gate(effect, { isOpen: isOpen(annotations), asksItself: Context.get(annotations, AsksItself) })
    return Object.keys(notice).length === 0
      ? answer
      : Effect.map(answer, (response) => HttpServerResponse.setHeaders(response, notice))
  }
}

export const layer: Layer.Layer<Gate, never, Authentication> = Layer.effect(
  Gate,
  Effect.map(Authentication, (authentication) => {
    const gate = ofEndpoint(authentication)
    return (effect, { endpoint }) => gate(effect, endpoint.annotations)
  })
)
