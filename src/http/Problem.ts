/**
 * Problem details (RFC 9457): what the HTTP API answers where it does not do what it was asked for.
 *
 * Every error of the library has a status and a code, which is its name. Inputs are told by the paths of their fields. No problem
 * holds a value of a document, a key of the bucket, or a stack.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ProblemDetails from "effect/http/ProblemDetails"
import type * as Aggregation from "../Aggregation.ts"
import type * as CurrentUser from "../CurrentUser.ts"
import * as DbError from "../DbError.ts"
import type { Json } from "../encoding/Json.ts"
import type * as Pipeline from "../Pipeline.ts"

/**
 * A problem. `code` is for programs; `detail` is a sentence for a person; `issues` are what is wrong with an input, by path.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Problem = Schema.Struct({
  type: Schema.String.annotate({ description: "a name of the kind of problem, of which `code` is the end" }),
  title: Schema.String.annotate({ description: "the kind of problem, for a person" }),
  status: Schema.Int.annotate({ description: "the status of the answer" }),
  code: Schema.String.annotate({ description: "the kind of problem, for programs" }),
  detail: Schema.optionalKey(Schema.String.annotate({ description: "what to do, for a person" })),
  requestId: Schema.optionalKey(
    Schema.String.annotate({ description: "the request, as the logs of the server name it" })
  ),
  issues: Schema.optionalKey(
    Schema.Array(DbError.InputIssue).annotate({ description: "what is wrong with the input, by its path" })
  ),
  index: Schema.optionalKey(Schema.Int.annotate({ description: "the item of a bulk request that ended it, from 0" }))
}).annotate({ identifier: "Problem", title: "A problem (RFC 9457)" })

/**
 * A problem. `code` is for programs; `detail` is a sentence for a person; `issues` are what is wrong with an input, by path.
 *
 * @category models
 * @since 0.1.0
 */
export type Problem = typeof Problem.Type

/**
 * Returns the schema of an answer that tells a problem with this status.
 *
 * @category schemas
 * @since 0.1.0
 */
export const withStatus = (status: number): typeof Problem =>
  Problem.pipe(HttpApiSchema.status(status), HttpApiSchema.asJson({ contentType: ProblemDetails.contentType }))

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  428: "Precondition Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable"
}

/** `NotFound` becomes `not-found`. Interceptors of programs may have any code. */
const nameOf = (code: string): string =>
  code
    .replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `-${letter}`)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")

/**
 * Creates a problem.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  status: number,
  code: string,
  detail?: string,
  more: Pick<Problem, "issues" | "requestId" | "index"> = {}
): Problem => ({
  type: `urn:effect-s3db:problem:${nameOf(code)}`,
  title: titles[status] ?? "Error",
  status,
  code,
  ...(detail === undefined ? {} : { detail }),
  ...more
})

/**
 * The errors that have a problem of their own.
 *
 * @category models
 * @since 0.1.0
 */
export type Known =
  | DbError.NotFound
  | DbError.AlreadyExists
  | DbError.Conflict
  | DbError.UniqueViolation
  | DbError.TransactionConflict
  | DbError.InvalidInput
  | DbError.MetadataLimit
  | DbError.NotAllowed
  | DbError.DbError
  | Pipeline.Rejected
  | Pipeline.AfterFailed
  | CurrentUser.Unauthenticated
  | Aggregation.TooManyGroups

/** The class says which status an error has. */
const statusOf = (error: Known): number => {
  const { constructor } = error
  return (Schema.isSchema(constructor) ? declaredStatus(constructor.ast) : undefined) ?? 500
}

const declaredStatus = AST.resolveAt<number>("httpApiStatus")

const retryLater = "the store cannot do this at the moment: try again"

/** A message to the program may name fields, or guess at one, that whoever asks over HTTP does not get to see. */
const withoutNames = (message: string): string =>
  message.replace(/^(Expected a field of [^:]*): .*$/s, "$1").replace(/; (?:did you mean|perhaps) .*$/s, "")

/**
 * Returns the problem of an error.
 *
 * **Details**
 *
 * The status is the one the error has. A `DbError` is 503 where the same request may succeed later, 501 where the store or the
 * definition cannot do what is asked for, and 500 otherwise; of its reason only the name is told. A rejection of a guard is 401 where
 * nobody is logged in, and 403 otherwise.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromError = (error: Known): Problem => {
  switch (error._tag) {
    case "InvalidInput":
      return make(statusOf(error), error._tag, "the input does not fit: see issues", {
        issues: error.issues.map((issue) => ({ ...issue, message: withoutNames(issue.message) }))
      })
    case "DbError": {
      const { _tag: reason } = error.reason
      if (reason === "Unsupported") return make(501, reason, "the store or the definition cannot do this")
      if (error.isRetryable || reason === "Incomplete") return make(statusOf(error), reason, retryLater)
      return make(500, reason, "this did not work, and would not if it was asked for again: see the logs of the server")
    }
    case "Rejected":
      return error.code === "Unauthenticated"
        ? make(401, "Unauthenticated", "log in first")
        : make(statusOf(error), error.code ?? error._tag, error.reason)
    case "AfterFailed":
      return make(
        statusOf(error),
        error._tag,
        "the write is done, and something that follows it failed: read the document"
      )
    default:
      return make(statusOf(error), error._tag, error.message)
  }
}

/**
 * Returns the answer that tells a problem. Where it may be better later, `Retry-After` says so.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toResponse = (problem: Problem): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(problem satisfies Json, {
    status: problem.status,
    contentType: ProblemDetails.contentType,
    headers: problem.status === 503 ? { "retry-after": "1" } : {}
  })
