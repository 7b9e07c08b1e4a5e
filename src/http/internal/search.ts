/**
 * Documents by their words, in answers: `q=object storage`. By fields alone that who asks may see; what else he may not see the index does not show.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as FullText from "../../plugins/FullText.ts"
import type * as Query from "../../Query.ts"
import type { ListError } from "../../Repository.ts"
import * as Answer from "./answer.ts"

/** An index of words, whose types nobody knows any more. */
export interface Finder {
  /** The resource of which it is. */
  readonly resource: string
  readonly fields: ReadonlyArray<string>
  readonly search: (request: {
    readonly query: string
    readonly match?: "all" | "any" | undefined
    readonly fields: ReadonlyArray<string>
    readonly predicate?: Query.Predicate | undefined
    readonly within?: Query.Within | undefined
    readonly limit: number
    readonly cursor?: string | undefined
    readonly highlight: boolean
  }) => Effect.Effect<FullText.SearchPage<unknown, string>, FullText.SearchError>
}

/** Runs a search: its errors are those of requests. */
export const told = <A>(effect: Effect.Effect<A, FullText.SearchError>): Effect.Effect<A, Answer.Refused | ListError> =>
  Effect.catchTags(effect, {
    InvalidFullText: ({ field, problem }) =>
      Answer.refuse(400, "InvalidRequest", "the search cannot be: see issues", {
        issues: [{ path: ["query", field === "query" ? "q" : field], message: problem }]
      }),
    IndexIncomplete: () => Answer.refuse(503, "IndexIncomplete", "the index does not know enough yet: try again"),
    IndexDamaged: (error) =>
      Effect.andThen(
        Effect.logError(error.message),
        Answer.refuse(500, "IndexDamaged", "the index cannot answer: see the logs of the server")
      )
  })
