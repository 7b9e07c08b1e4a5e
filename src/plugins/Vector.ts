/**
 * Documents by what they are like: the nearest to a vector, and groups of those that lie together.
 *
 * ```ts
 * import * as Vector from "effect-s3db/plugins/Vector"
 * import * as Resource from "effect-s3db/Resource"
 * import * as Attribute from "effect-s3db/schema/Attribute"
 * import { Schema } from "effect"
 *
 * class Articles extends Resource.Service<Articles>()("app/articles", {
 *   schema: Schema.Struct({ id: Schema.String, title: Schema.String, embedding: Attribute.Embedding(384, { format: "int8" }) }),
 *   primaryKey: "id"
 * }) {}
 *
 * class SimilarArticles extends Vector.Service<SimilarArticles>()("app/SimilarArticles", {
 *   resource: Articles,
 *   field: "embedding"
 * }) {}
 * ```
 *
 * **Details**
 *
 * Every search compares all documents that are asked for, and so is exact, also right after a write. It reads them as a query does: through a
 * partition, or, with `scan: true`, all of them, by the copies that `plugins/Segments` keeps where a program has it. Memory is that of the documents given.
 *
 * Requests: those of `Repository.query`: without copies 1 LIST for each 1,000 documents and 1 GET for each; with copies 1 GET for each
 * few thousand.
 *
 * @see `docs/guide/vector.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { encodeBase64 } from "../internal/base64.ts"
import * as rounding from "../internal/rounding.ts"
import { sha256 } from "../internal/sha256.ts"
import * as Plugin from "../Plugin.ts"
import * as Query from "../Query.ts"
import * as TopK from "../query/topK.ts"
import type { ListError } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as Clusters from "./vector/clusters.ts"
import * as Metrics from "./vector/metrics.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A field, an option or a vector that cannot be. Nothing was read or written, but where `problem` counts documents. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidVector extends ExpectedError<InvalidVector>("effect-s3db/plugins/Vector/InvalidVector")(
  "InvalidVector",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `vectors of ${JSON.stringify(this.resource)}, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidVector | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of searches and groupings.
 *
 * @category errors
 * @since 0.1.0
 */
export type FindError = InvalidVector | ListError

// -----------------------------------------------------------------------------
// Vectors
// -----------------------------------------------------------------------------

export type { Metric } from "./vector/metrics.ts"
export type { Distance, Measures, Votes } from "./vector/clusters.ts"

/**
 * Returns how far two vectors are from each other, `undefined` where they are not of one length. Default metric: `cosine`.
 *
 * @category getters
 * @since 0.1.0
 */
export const distance = (
  a: ReadonlyArray<number>,
  b: ReadonlyArray<number>,
  metric: Metrics.Metric = "cosine"
): number | undefined => (a.length === b.length ? Metrics.between(metric, a, 0, b, 0, a.length) : undefined)

/**
 * Returns a vector of the same direction whose length is 1; of a zero vector, that.
 *
 * @category getters
 * @since 0.1.0
 */
export const normalize = (vector: ReadonlyArray<number>): ReadonlyArray<number> => {
  const length = Metrics.norm(vector, 0, vector.length)
  return length === 0 ? [...vector] : vector.map((x) => x / length)
}

/**
 * A thing that several rankings have, and what they have made of it together.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fused<out A> {
  readonly item: A
  /** The sum of `weight / (60 + rank)` over the rankings, of which the first rank is 1. */
  readonly score: number
}

/**
 * Puts rankings together, such as those of a search by words and of one by vectors, whose scores cannot be compared: by reciprocal ranks (G. V. Cormack, C. L. A. Clarke,
 * S. Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", 2009). What is the same is told by `by`; the first one is given. Weights default to 1.
 * Of equal ones those come first that an earlier ranking has first.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fuse = <A>(
  rankings: ReadonlyArray<ReadonlyArray<A>>,
  options: { readonly by: (item: A) => string; readonly weights?: ReadonlyArray<number> | undefined }
): ReadonlyArray<Fused<A>> => {
  const found = new Map<string, { readonly item: A; score: number }>()
  for (const [i, ranking] of rankings.entries()) {
    const weight = options.weights?.[i] ?? 1
    const own = new Set<string>()
    for (const item of ranking) {
      const key = options.by(item)
      // One that is there twice has the better rank.
      if (own.has(key)) continue
      own.add(key)
      const fused = found.get(key) ?? { item, score: 0 }
      fused.score += weight / (60 + own.size)
      found.set(key, fused)
    }
  }
  return Array.from(found.values()).sort((a, b) => b.score - a.score)
}

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

/** What vectors need of a repository. */
interface AnyRepository {
  readonly query: (request: object) => Stream.Stream<Readonly<Record<string, unknown>>, ListError>
  readonly get: (
    id: string
  ) => Effect.Effect<Readonly<Record<string, unknown>>, DbError.NotFound | DbError.InvalidInput | ListError>
}

/**
 * The names of the fields at the top of a document that are vectors.
 *
 * @category models
 * @since 0.1.0
 */
export type VectorField<A> = {
  readonly [K in keyof A & string]-?: [NonNullable<A[K]>] extends [ReadonlyArray<number>] ? K : never
}[keyof A & string]

/**
 * The options of the vectors of a field.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R extends Resource.Any> extends Plugin.Options {
  readonly resource: R
  /** The field with the vector. */
  readonly field: VectorField<Resource.DocumentOf<R>>
  /** How vectors are compared. Default `cosine`. */
  readonly metric?: Metrics.Metric | undefined
  /** How many numbers a vector has. Default: as many as the one that is asked about. */
  readonly dimensions?: number | undefined
}

/**
 * The documents that are compared.
 *
 * @category models
 * @since 0.1.0
 */
export interface Among<A> extends Query.Within, Query.OnCorrupt {
  /** Conditions that they meet. Default: none. */
  readonly where?: Query.Where<Query.Queryable<A>> | undefined
  /** The same as data, such as `parseWhere` makes of untrusted JSON; together with `where`, both. */
  readonly predicate?: Query.Predicate | undefined
  /** Allows that every document is read. Default: what the definition says, `false`. */
  readonly scan?: boolean | undefined
  /** Of those of the options another one. */
  readonly metric?: Metrics.Metric | undefined
}

/**
 * What is asked of a search.
 *
 * @category models
 * @since 0.1.0
 */
export interface Nearest<A> extends Among<A> {
  /** The most documents, from 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  /** The greatest distance. Default: any. */
  readonly threshold?: number | undefined
}

/**
 * A search for one vector. `cursor` is that of the page before, which has to be about the same vector.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchRequest<A> extends Nearest<A> {
  readonly vector: ReadonlyArray<number>
  readonly cursor?: string | undefined
}

/**
 * A document, and how far its vector is from the one that was asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Match<out A> {
  readonly document: A
  readonly distance: number
}

/**
 * A page of documents, the nearest first, those as near as each other by their ids. `cursor` is there when there may be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page<out A> {
  readonly items: ReadonlyArray<Match<A>>
  readonly cursor: string | undefined
  /** How many vectors were compared. */
  readonly compared: number
  /** How many documents had a vector of another length, and were left out. */
  readonly skipped: number
}

/**
 * What is asked of a grouping.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClusterRequest<A> extends Among<A> {
  /** Default: that of the options; `dot` is no distance, and refused. */
  readonly metric?: Clusters.Distance | undefined
  /** Groups are the same for the same vectors and the same seed. Default: others each time. */
  readonly seed?: string | number | undefined
  /** Default 100. */
  readonly maxIterations?: number | undefined
  /** How far centres may still move when it ends, in proportion to the mean distance from them. Default 0.0001. */
  readonly tolerance?: number | undefined
  /** How often it begins anew with other centres; the best one is given. Default 3. */
  readonly runs?: number | undefined
}

/**
 * Groups of documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grouping {
  /** The centre of each group, how many documents it has, and the mean of their distances from it. */
  readonly clusters: ReadonlyArray<{
    readonly centroid: ReadonlyArray<number>
    readonly size: number
    readonly meanDistance: number
  }>
  /** Each document by its id: the group that it is in, by its place in `clusters`, and how far it is from its centre. */
  readonly members: ReadonlyMap<string, { readonly cluster: number; readonly distance: number }>
  /** The sum of the squared distances for `euclidean`, of the distances for the others. */
  readonly inertia: number
  readonly iterations: number
  /** Whether the centres had come to rest within `maxIterations`. */
  readonly converged: boolean
  /** How many documents had a vector of another length, or one that 32 bits for each number cannot hold, and were left out. */
  readonly skipped: number
}

/**
 * What is asked about numbers of groups.
 *
 * @category models
 * @since 0.1.0
 */
export interface OptimalRequest<A> extends ClusterRequest<A> {
  /** The least number of groups. Default 2. */
  readonly min?: number | undefined
  /** The greatest. Default 10, or the square root of half the number of vectors, if that is less. */
  readonly max?: number | undefined
  /** How many vectors it goes by, drawn from all of them: its time grows with the square of this number. Default 1,000. */
  readonly sample?: number | undefined
  /** How many sets of vectors that lie anywhere `gap` goes by. Default 10. */
  readonly references?: number | undefined
}

/**
 * How many groups there are, and what speaks for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Optimal {
  /** What most measures speak for; of several the one that is the best by the silhouette. */
  readonly k: number
  /** The part of the six measures that speak for it. */
  readonly confidence: number
  readonly votes: Clusters.Votes
  readonly measures: ReadonlyArray<Clusters.Measures>
}

/**
 * The vectors of a resource.
 *
 * @category services
 * @since 0.1.0
 */
export interface Vectors<in out A> {
  /** The name of the resource, and the field with the vector. */
  readonly resource: string
  readonly field: string
  /**
   * The nearest documents to a vector. Each page compares all of them again. `InvalidVector`: the vector or an option cannot be; `NotAllowed`: it would read every
   * document, and does not say `scan: true`.
   */
  readonly search: (request: SearchRequest<A>) => Effect.Effect<Page<A>, FindError>

  /** The nearest documents to each of several vectors of one length, 1 to 1,000, in their order, by one reading of the documents. */
  readonly searchMany: (
    vectors: ReadonlyArray<ReadonlyArray<number>>,
    request?: Nearest<A>
  ) => Effect.Effect<ReadonlyArray<Page<A>>, FindError>

  /** The nearest documents to another one, without that. 1 GET more than `search`. `NotFound`; `InvalidVector`: it has no vector. */
  readonly similarTo: (
    id: string,
    request?: Nearest<A> & { readonly cursor?: string | undefined }
  ) => Effect.Effect<Page<A>, FindError | DbError.NotFound | DbError.InvalidInput>

  /**
   * Groups all documents that are asked for, however many there are: 4 bytes for each number are in memory, and 80 or so for each document. Others go on meanwhile. `InvalidVector`: there are fewer than `k`, or an option
   * cannot be.
   */
  readonly cluster: (request: ClusterRequest<A> & { readonly k: number }) => Effect.Effect<Grouping, FindError>

  /** The number of groups that most measures speak for, of a sample of the documents. `InvalidVector`: there are too few vectors, or an option cannot be. */
  readonly optimalClusters: (request?: OptimalRequest<A>) => Effect.Effect<Optimal, FindError>
}

/**
 * A class that is the service of vectors and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  R extends Resource.Any
> extends Plugin.ServiceClass<Self, Id, Vectors<Resource.DocumentOf<R>>, LayerError, Database | Resource.SelfOf<R>> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("vector", { version: 1 })

/**
 * Declares the vectors of a resource as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, R extends Resource.Any>(id: Id, options: Options<R>): ServiceClass<Self, Id, R> =>
    Plugin.service<Self>()(id, make<R>(options))

const Cursor = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.String]))

/** Tells the searches that a cursor is of from others. */
const tagOf = (metric: Metrics.Metric, vector: ReadonlyArray<number>): string =>
  encodeBase64(
    sha256(new TextEncoder().encode(metric), new Uint8Array(Float64Array.from(vector).buffer)).subarray(0, 9)
  )

const isVector = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number" && Number.isFinite(item))

interface Candidate<A> {
  readonly id: string
  readonly distance: number
  readonly document: A
}

const byDistance = (a: Candidate<unknown>, b: Candidate<unknown>): number =>
  a.distance - b.distance || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** Where a page begins: after this candidate. */
interface After {
  readonly distance: number
  readonly id: string
}

/**
 * Opens the vectors of a resource until the scope closes. No request beside those of `Plugin.open`. `InvalidVector`: an option is wrong, or the field is secret.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Vector.make")(function* <R extends Resource.Any>(
  options: Options<R>
): Effect.fn.Return<Vectors<Resource.DocumentOf<R>>, LayerError, Database | Scope.Scope | Resource.SelfOf<R>> {
  type A = Resource.DocumentOf<R>
  const { resource } = options
  const { name, primaryKey } = resource.definition
  const field: string = options.field
  const invalid = (at: string, problem: string) => new InvalidVector({ resource: name, field: at, problem })

  const whole = (at: string, value: number, from: number, to: number) =>
    Number.isSafeInteger(value) && value >= from && value <= to
      ? Effect.void
      : invalid(at, `Expected a whole number from ${from} to ${to}`)
  const metricOf = (metric: string): Effect.Effect<Metrics.Metric, InvalidVector> =>
    metric === "cosine" || metric === "euclidean" || metric === "manhattan" || metric === "dot"
      ? Effect.succeed(metric)
      : Effect.fail(invalid("metric", "Expected cosine, euclidean, manhattan or dot"))

  const own = yield* metricOf(options.metric ?? "cosine")
  if (options.dimensions !== undefined) yield* whole("dimensions", options.dimensions, 1, 65_536)
  const hidden = Attributes.hiddenAt(resource.definition.attributes, [field])
  if (hidden !== undefined) {
    return yield* invalid("field", `Expected a field that can be shown, not one ${Attributes.describeHidden(hidden)}`)
  }
  const repository: AnyRepository = yield* Resource.keyOf<R, AnyRepository>(resource)
  const self = yield* Plugin.open(plugin, options)
  yield* self.running()

  /** The documents that have a vector, with it. Asked for by the field, so that nobody finds by what may not be asked for. */
  const having = ({
    metric: _,
    predicate,
    ...among
  }: Among<A>): Stream.Stream<readonly [A, unknown, string], ListError> => {
    const exists = Query.exists([field])
    const request = { ...among, predicate: predicate === undefined ? exists : Query.and(predicate, exists) }
    return Stream.map(repository.query(request), (document) => [
      document as A,
      document[field],
      String(document[primaryKey])
    ])
  }

  const amongOf = <X extends Among<A>>({
    from,
    metric,
    onCorrupt,
    partition,
    predicate,
    scan,
    startsWith,
    to,
    values,
    where
  }: X): Among<A> => ({
    from,
    metric,
    onCorrupt,
    partition,
    predicate,
    scan,
    startsWith,
    to,
    values,
    where
  })

  const nearest = Effect.fnUntraced(function* (
    vectors: ReadonlyArray<ReadonlyArray<number>>,
    request: Nearest<A>,
    { after, without }: { readonly after?: After | undefined; readonly without?: string | undefined }
  ): Effect.fn.Return<ReadonlyArray<Page<A>>, FindError> {
    const { limit = 10, threshold = Infinity } = request
    const metric = yield* metricOf(request.metric ?? own)
    yield* whole("limit", limit, 1, 1_000)
    if (typeof threshold !== "number" || Number.isNaN(threshold))
      return yield* invalid("threshold", "Expected a number")
    if (!Array.isArray(vectors) || vectors.length < 1 || vectors.length > 1_000) {
      return yield* invalid("vectors", "Expected 1 to 1,000 vectors")
    }
    const length = options.dimensions ?? vectors[0]?.length
    for (const vector of vectors) {
      if (!isVector(vector)) return yield* invalid("vector", "Expected finite numbers, one at least")
      if (vector.length !== length) return yield* invalid("vector", `Expected ${length} numbers`)
    }
    const searches = vectors.map((vector) => ({
      tag: tagOf(metric, vector),
      distanceTo: Metrics.from(metric, vector),
      // One more tells whether there is another page.
      found: TopK.make<Candidate<A>>(limit + 1, byDistance)
    }))
    let compared = 0
    let skipped = 0
    yield* Stream.runForEach(having(amongOf(request)), ([document, vector, id]) =>
      Effect.sync(() => {
        if (id === without) return
        if (!isVector(vector) || vector.length !== length) {
          skipped += 1
          return
        }
        compared += 1
        for (const { distanceTo, found } of searches) {
          const candidate = { id, document, distance: distanceTo(vector) }
          if (candidate.distance > threshold) continue
          if (after !== undefined && byDistance(candidate, { ...after, document: undefined }) <= 0) continue
          found.add(candidate)
        }
      })
    )
    return searches.map(({ found, tag }) => {
      const all = found.result()
      const some = all.slice(0, limit)
      const last = all.length > limit ? some.at(-1) : undefined
      return {
        items: some.map(({ distance, document }) => ({ document, distance })),
        cursor: last && JSON.stringify([tag, String(last.distance), last.id]),
        compared,
        skipped
      }
    })
  })

  const afterOf = Effect.fnUntraced(function* (cursor: string, metric: Metrics.Metric, vector: ReadonlyArray<number>) {
    const wrong = invalid("cursor", "Expected the cursor of a page about the same vector")
    const [tag, text, id] = yield* Effect.mapError(Schema.decodeUnknownEffect(Cursor)(cursor), () => wrong)
    const distance = Number(text)
    if (!isVector(vector) || tag !== tagOf(metric, vector) || text === "" || Number.isNaN(distance)) return yield* wrong
    return { distance, id }
  })

  const search = Effect.fnUntraced(function* (
    { cursor, vector, ...request }: SearchRequest<A>,
    without?: string
  ): Effect.fn.Return<Page<A>, FindError> {
    const after =
      cursor === undefined ? undefined : yield* afterOf(cursor, yield* metricOf(request.metric ?? own), vector)
    return (yield* nearest([vector], request, { after, without }))[0]!
  })

  /** The vectors of all documents that are asked for, one after the other. */
  const gather = Effect.fnUntraced(function* (request: Among<A>, most: number) {
    const random = yield* Random.Random
    const ids: Array<string> = []
    let data = new Float32Array(0)
    let dimensions = options.dimensions
    let skipped = 0
    let seen = 0
    yield* Stream.runForEach(having(amongOf(request)), ([, vector, id]) =>
      Effect.sync(() => {
        dimensions ??= isVector(vector) ? vector.length : undefined
        if (!isVector(vector) || vector.length !== dimensions || !rounding.fits(vector, "float32")) {
          skipped += 1
          return
        }
        seen += 1
        // A reservoir: each of all has the same chance (J. S. Vitter, "Random sampling with a reservoir", 1985, algorithm R).
        const at = ids.length < most ? ids.length : Math.floor(random.nextDoubleUnsafe() * seen)
        if (at >= most) return
        if ((at + 1) * dimensions > data.length) {
          const larger = new Float32Array(Math.max(1_024, data.length * 2, (at + 1) * dimensions))
          larger.set(data)
          data = larger
        }
        data.set(vector, at * dimensions)
        ids[at] = id
      })
    )
    const points: Clusters.Points = { data, size: ids.length, dimensions: dimensions ?? 0 }
    return { ids, points, skipped }
  })

  const settingsOf = Effect.fnUntraced(function* (request: ClusterRequest<A>) {
    const { maxIterations = 100, runs = 3, tolerance = 1e-4 } = request
    const metric = yield* metricOf(request.metric ?? own)
    if (metric === "dot") return yield* invalid("metric", "Expected cosine, euclidean or manhattan: dot is no distance")
    yield* whole("maxIterations", maxIterations, 1, 100_000)
    yield* whole("runs", runs, 1, 1_000)
    if (!(Number.isFinite(tolerance) && tolerance >= 0)) return yield* invalid("tolerance", "Expected a number from 0")
    return { maxIterations, metric, runs, tolerance }
  })

  const seeded = <X, E>(effect: Effect.Effect<X, E>, seed: string | number | undefined): Effect.Effect<X, E> =>
    seed === undefined ? effect : Random.withSeed(effect, seed)

  const cluster = Effect.fnUntraced(function* (
    request: ClusterRequest<A> & { readonly k: number }
  ): Effect.fn.Return<Grouping, FindError> {
    const { k } = request
    const settings = yield* settingsOf(request)
    yield* whole("k", k, 1, 65_536)
    const { ids, points, skipped } = yield* gather(request, Infinity)
    if (points.size < k) return yield* invalid("k", `Expected at most ${points.size}, the number of vectors`)
    const { centroids, converged, distances, inertia, iterations, labels, sizes } = yield* Clusters.make(points, {
      ...settings,
      k
    })
    const sums = sizes.map(() => 0)
    for (const [i, label] of labels.entries()) sums[label]! += distances[i]!
    return {
      clusters: sizes.map((size, c) => ({
        centroid: Array.from(centroids.subarray(c * points.dimensions, (c + 1) * points.dimensions)),
        size,
        meanDistance: size === 0 ? 0 : sums[c]! / size
      })),
      members: new Map(ids.map((id, i) => [id, { cluster: labels[i]!, distance: distances[i]! }])),
      inertia,
      iterations,
      converged,
      skipped
    }
  })

  const optimalClusters = Effect.fnUntraced(function* (
    request: OptimalRequest<A>
  ): Effect.fn.Return<Optimal, FindError> {
    const { max, min = 2, references = 10, sample = 1_000 } = request
    const settings = yield* settingsOf(request)
    yield* whole("sample", sample, 4, 100_000)
    yield* whole("references", references, 1, 1_000)
    yield* whole("min", min, 2, 1_000)
    if (max !== undefined) yield* whole("max", max, min, 1_000)
    const { points } = yield* gather(request, sample)
    const to = max ?? Math.max(min, Math.min(10, Math.floor(Math.sqrt(points.size / 2))))
    if (points.size <= to) return yield* invalid("max", `Expected less than ${points.size}, the number of vectors`)
    const measures = yield* Clusters.compare(points, { ...settings, from: min, to, references })
    const votes = Clusters.vote(measures)
    const all: ReadonlyArray<number> = Object.values(votes)
    const count = (k: number) => all.filter((vote) => vote === k).length
    const { k } = measures.reduce((best, one) =>
      count(one.k) > count(best.k) || (count(one.k) === count(best.k) && one.silhouette > best.silhouette) ? one : best
    )
    return { k, confidence: count(k) / all.length, votes, measures }
  })

  return {
    resource: name,
    field,
    search: Effect.fn("Vector.search")(function* (request) {
      return yield* search(request)
    }),
    searchMany: Effect.fn("Vector.searchMany")(function* (vectors, request = {}) {
      return yield* nearest(vectors, request, {})
    }),
    similarTo: Effect.fn("Vector.similarTo")(function* (id, request = {}) {
      const vector = (yield* repository.get(id))[field]
      if (!isVector(vector)) return yield* invalid(field, `Expected a vector in document ${JSON.stringify(id)}`)
      return yield* search({ ...request, vector }, id)
    }),
    cluster: Effect.fn("Vector.cluster")(function* (request) {
      return yield* seeded(cluster(request), request.seed)
    }),
    optimalClusters: Effect.fn("Vector.optimalClusters")(function* (request = {}) {
      return yield* seeded(optimalClusters(request), request.seed)
    })
  }
})
