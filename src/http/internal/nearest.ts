/**
 * The nearest documents, in answers: by the place of a point (`near`), and by what they are like (`nearest`). By a field alone that who asks may see,
 * since distances tell of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as DbError from "../../DbError.ts"
import type { JsonObject } from "../../encoding/Json.ts"
import type * as Geo from "../../plugins/Geo.ts"
import type * as Vector from "../../plugins/Vector.ts"
import type * as VectorIndex from "../../plugins/VectorIndex.ts"
import type * as Query from "../../Query.ts"
import type { ListError } from "../../Repository.ts"
import * as Answer from "./answer.ts"

/** What an index is of. */
interface OfField {
  readonly resource: string
  readonly field: string
}

/** An index of places, whose types nobody knows any more. */
export interface Places extends OfField {
  readonly parseShape: (json: unknown) => Effect.Effect<Geo.Shape, Geo.InvalidGeo>
  readonly nearest: (request: {
    readonly from: { readonly latitude: number; readonly longitude: number }
    readonly within: Geo.Shape | undefined
    readonly radius: number | undefined
    readonly limit: number
    readonly predicate: Query.Predicate | undefined
    readonly cursor: string | undefined
  }) => Effect.Effect<Geo.NearestPage<unknown>, Geo.FindError>
}

interface Asked extends Query.Within {
  readonly predicate: Query.Predicate | undefined
  readonly threshold: number | undefined
  readonly limit: number
  readonly cursor: string | undefined
  /** What compares documents themselves goes by the first, an index by the second. */
  readonly scan: boolean
  readonly within: Query.Within | undefined
}

interface Found {
  readonly items: ReadonlyArray<{ readonly document: unknown; readonly distance: number }>
  readonly cursor: string | undefined
  readonly position?: number
  readonly isExact?: boolean
}

type VectorError = Vector.FindError | VectorIndex.SearchError

/** Vectors, in an index or of the documents themselves. */
export interface Vectors extends OfField {
  readonly search: (request: Asked & { readonly vector: ReadonlyArray<number> }) => Effect.Effect<Found, VectorError>
  readonly similarTo: (
    id: string,
    request: Asked
  ) => Effect.Effect<Found, VectorError | DbError.NotFound | DbError.InvalidInput>
}

/** The nearest to what is asked for: to a vector, or to the document with an id. */
export const similar = (
  vectors: Vectors,
  to: string | ReadonlyArray<number>,
  { partition, values, ...asked }: Omit<Asked, "within"> & { readonly partition?: string; readonly values?: JsonObject }
) => {
  const place = { ...(partition === undefined ? {} : { partition }), ...(values === undefined ? {} : { values }) }
  const request = { ...asked, ...place, within: partition === undefined ? undefined : place }
  return typeof to === "string" ? vectors.similarTo(to, request) : vectors.search({ ...request, vector: to })
}

const invalid = (part: "query" | "body", field: string, message: string) =>
  Answer.refuse(400, "InvalidRequest", "the search cannot be: see issues", {
    issues: [{ path: [part, ...field.split(".")], message }]
  })

/** Names of parameters in the place of those of the program. */
const parameters: Readonly<Record<string, string>> = {
  "from.latitude": "latitude",
  "from.longitude": "longitude",
  vector: "to"
}

const nameOf = (field: string): string => parameters[field] ?? field

/** Runs a search by place: its errors are those of requests. */
export const byPlace = <A>(effect: Effect.Effect<A, Geo.FindError>): Effect.Effect<A, Answer.Refused | ListError> =>
  Effect.catchTag(effect, "InvalidGeo", ({ field, problem }) => invalid("query", nameOf(field), problem))

/** Runs a search by vector. */
export const byVector = <A>(
  effect: Effect.Effect<A, VectorError | DbError.NotFound | DbError.InvalidInput>
): Effect.Effect<A, Answer.Refused | ListError | DbError.NotFound | DbError.InvalidInput> =>
  Effect.catchTags(effect, {
    InvalidVector: ({ field, problem }) => invalid("body", nameOf(field), problem),
    InvalidVectorIndex: ({ field, problem }) => invalid("body", nameOf(field), problem),
    VectorIndexIncomplete: () => Answer.refuse(503, "IndexIncomplete", "the index does not know enough yet: try again"),
    VectorIndexDamaged: (error) =>
      Effect.andThen(
        Effect.logError(error.message),
        Answer.refuse(500, "IndexDamaged", "the index cannot answer: see the logs of the server")
      )
  })
