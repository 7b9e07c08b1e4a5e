/**
 * What handlers fail with, and what becomes of that: an answer in any case, in the form of RFC 9457.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as SchemaIssue from "effect/SchemaIssue"
import { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Problem from "../Problem.ts"

/** A request that is refused before anything is done. */
export class Refused extends Data.TaggedError("Refused")<{ readonly problem: Problem.Problem }> {}

export const refuse = (
  status: number,
  code: string,
  detail: string,
  more: Pick<Problem.Problem, "issues"> = {}
): Effect.Effect<never, Refused> => Effect.fail(new Refused({ problem: Problem.make(status, code, detail, more) }))

/** What a handler may fail with. */
export type Failure = Refused | Problem.Known

export const problemOf = (error: Failure): Problem.Problem =>
  error._tag === "Refused" ? error.problem : Problem.fromError(error)

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** A part of the request that does not have the form that the API has for it. */
const malformed = (error: HttpApiSchemaError): Problem.Problem =>
  error.kind === "Body" || error.kind === "ResponseHeaders"
    ? internal
    : Problem.make(400, "InvalidRequest", "the request does not have the form that the API describes: see issues", {
        issues: formatIssues(error.cause.issue).issues.map((found) => ({
          path: [
            error.kind.toLowerCase(),
            ...(found.path ?? []).map((segment) => {
              const key = typeof segment === "object" ? segment.key : segment
              return typeof key === "number" ? key : String(key)
            })
          ],
          message: found.message
        }))
      })

const internal = Problem.make(500, "InternalError", "this is a mistake of the server: its logs know the request id")

/**
 * Makes an answer of what a request ended with otherwise. What is a mistake of the program is logged with its cause, and told to nobody; an
 * interruption goes on.
 */
export const ofCause = (
  cause: Cause.Cause<unknown>,
  requestId: string
): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  if (Cause.hasInterrupts(cause)) return Effect.interrupt
  const told = cause.reasons.flatMap((reason) =>
    Cause.isFailReason(reason) ? [reason.error] : Cause.isDieReason(reason) ? [reason.defect] : []
  )
  const problem = told.every(HttpApiSchemaError.is) && told[0] !== undefined ? malformed(told[0]) : internal
  const answer = Problem.toResponse({ ...problem, requestId })
  return problem === internal
    ? Effect.as(Effect.logError("a request ended with a defect", cause), answer)
    : Effect.succeed(answer)
}

/** Runs a handler, its errors becoming answers. Those of the infrastructure are logged as they are. */
export const told = <R>(
  effect: Effect.Effect<HttpServerResponse.HttpServerResponse, Failure, R>,
  requestId: string
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.catch(effect, (error) => {
    const problem = problemOf(error)
    const answer = Problem.toResponse({ ...problem, requestId })
    const message = error._tag === "Refused" ? (problem.detail ?? problem.code) : error.message
    return problem.status >= 500 ? Effect.as(Effect.logError(message), answer) : Effect.succeed(answer)
  })
