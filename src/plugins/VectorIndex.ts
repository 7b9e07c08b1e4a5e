/**
 * The nearest of many documents to a vector, by an index: a few lists of vectors are read instead of every document.
 *
 * ```ts
 * import * as VectorIndex from "effect-s3db/plugins/VectorIndex"
 * import * as Resource from "effect-s3db/Resource"
 * import * as Attribute from "effect-s3db/schema/Attribute"
 * import { Effect, Schema } from "effect"
 *
 * class Articles extends Resource.Service<Articles>()("app/articles", {
 *   schema: Schema.Struct({ id: Schema.String, title: Schema.String, embedding: Attribute.Embedding(384, { format: "float16" }) }),
 *   primaryKey: "id",
 *   journal: true
 * }) {}
 *
 * class ArticleVectors extends VectorIndex.Service<ArticleVectors>()("app/ArticleVectors", {
 *   resource: Articles,
 *   field: "embedding"
 * }) {}
 *
 * const program = (vector: ReadonlyArray<number>) =>
 *   Effect.gen(function* () {
 *     const vectors = yield* ArticleVectors
 *     const { items } = yield* vectors.search({ vector, limit: 5 })
 *     return items.map(({ distance, document }) => [document.title, distance])
 *   })
 * ```
 *
 * **Details**
 *
 * The index is made of the journal, as that of `FullText` is: immutable segments, and a manifest that says which of them count and up to which position of the
 * journal they know. Of all processes with the layer one keeps it, by a lease, and another goes on when that is gone.
 *
 * With less than `exactUntil` documents all vectors are compared, and the answer is exact. With more they lie in lists around centres (an inverted file: H. Jégou, M. Douze,
 * C. Schmid, "Product quantization for nearest neighbor search", 2011), and a search looks at the lists whose centres are the nearest: as many as had the part
 * `recall` of the nearest when the centres were found.
 *
 * Each document that is given was read first, as the one who asks may see it, and its distance is that of the vector that it has then. `consistent: true` also looks
 * at what the index does not know yet.
 *
 * **Gotchas**
 *
 * Vectors lie in the index in clear: a field that is secret is refused. Somebody has to keep the journal: see `Journaler`.
 *
 * @see `docs/guide/vector.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as rounding from "../internal/rounding.ts"
import { sha256 } from "../internal/sha256.ts"
import * as AppendLog from "../kernel/AppendLog.ts"
import * as Fenced from "../kernel/Fenced.ts"
import type { Stored, Within } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import * as Cursor from "../query/cursor.ts"
import * as Query from "../Query.ts"
import type { ListError } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import { deleteAll } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as blocksOf from "./journalindex/internal/blocks.ts"
import * as indexerOf from "./journalindex/internal/indexer.ts"
import { schemaOf } from "./journalindex/internal/manifest.ts"
import * as reading from "./journalindex/internal/reading.ts"
import * as verifying from "./journalindex/internal/verifying.ts"
import type * as keeping from "./journalindex/keeping.ts"
import type { Match, VectorField } from "./Vector.ts"
import * as growthOf from "./vector/internal/growth.ts"
import * as lookups from "./vector/internal/lookup.ts"
import * as packing from "./vector/internal/packing.ts"
import * as parts from "./vector/internal/parts.ts"
import * as Metrics from "./vector/metrics.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A declaration of an index, or a request, that cannot be. Nothing was read or written. `field` says which part of it, `problem` what was
 * expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidVectorIndex extends ExpectedError<InvalidVectorIndex>(
  "effect-s3db/plugins/VectorIndex/InvalidVectorIndex"
)(
  "InvalidVectorIndex",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `index of vectors of ${JSON.stringify(this.resource)}, ${this.field}: ${this.problem}`
  }
}

/**
 * An index of vectors of which an object is damaged or gone. `key` names it.
 *
 * @remedy Run `rebuild` of the index: it makes all of it anew from the documents. Answers come from what is left until then, or not at all.
 * @category errors
 * @since 0.1.0
 */
export class VectorIndexDamaged extends ExpectedError<VectorIndexDamaged>(
  "effect-s3db/plugins/VectorIndex/VectorIndexDamaged"
)(
  "VectorIndexDamaged",
  { resource: Schema.String, key: Schema.String, description: Schema.String },
  { httpApiStatus: 500 }
) {
  override get message(): string {
    return `the index of vectors of ${JSON.stringify(this.resource)} is damaged: ${this.description}; run its rebuild`
  }
}

/**
 * An index of vectors that does not know enough yet: it was never built to its end, or, of a consistent answer, it is too far behind the journal to look at
 * all that is newer.
 *
 * @remedy Let a process with the layer run, or `update` the index; keep records of the journal until the index has taken them.
 * @category errors
 * @since 0.1.0
 */
export class VectorIndexIncomplete extends ExpectedError<VectorIndexIncomplete>(
  "effect-s3db/plugins/VectorIndex/VectorIndexIncomplete"
)("VectorIndexIncomplete", { resource: Schema.String, description: Schema.String }, { httpApiStatus: 503 }) {
  override get message(): string {
    return `the index of vectors of ${JSON.stringify(this.resource)} does not know enough yet: ${this.description}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidVectorIndex | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of asking an index without its documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type LookupError = InvalidVectorIndex | VectorIndexDamaged | VectorIndexIncomplete | DbError.DbError

/**
 * The errors of finding documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type SearchError = LookupError | ListError

// -----------------------------------------------------------------------------
// Declarations
// -----------------------------------------------------------------------------

export type { Finding, Keeping } from "./journalindex/keeping.ts"

/**
 * The options of an index.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R extends Resource.Any> extends Plugin.Options, keeping.Keeping {
  /** It has to be declared with the option `journal`. */
  readonly resource: R
  /** The field with the vector. */
  readonly field: VectorField<Resource.DocumentOf<R>>
  /** How vectors are compared. Default `cosine`. */
  readonly metric?: Metrics.Metric | undefined
  /** How many numbers a vector has, 1 to 65,536. Documents whose vector has others are not in the index. Default: those of `Attribute.Embedding`. */
  readonly dimensions?: number | undefined
  /**
   * What the index keeps of each number. Where that is less than documents have, a few more of these are read. Vectors that it cannot hold are not in the index: for `float16` those with numbers beyond
   * 65,504 or with none above 3e-8, for `float32` and `int8` those beyond 3.4e38. Default: what `Attribute.Embedding` has, else `float32`.
   */
  readonly storage?: packing.Storage | undefined
  /** Which part of the nearest documents a search is to find, above 0, at most 1. Default 0.95. */
  readonly recall?: number | undefined
  /** With fewer documents all vectors are compared, from 0. Default 10,000. */
  readonly exactUntil?: number | undefined
  /** How many lists there are, 1 to 65,536, from the next `rebuild` on. Default: by the number of documents. */
  readonly lists?: number | undefined
}

/**
 * How much is looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Effort {
  /** Of the options another one. */
  readonly recall?: number | undefined
  /** How many lists are looked at, from 1, instead of what `recall` asks for. */
  readonly probes?: number | undefined
}

/**
 * What is asked of a search.
 *
 * @category models
 * @since 0.1.0
 */
export interface Nearest<R extends Resource.Any> extends Effort {
  /** The most documents, from 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  /** The greatest distance. Default: any. */
  readonly threshold?: number | undefined
  /**
   * Conditions on fields, as those of `query`. They are judged as documents are read, the nearest first. Where too few of the first 32 pass, and ids, unique keys or a partition answer
   * all of the conditions, the documents that meet them are read instead, unless these are more than would be looked at otherwise: then all of them are compared, and the answer is exact.
   */
  readonly where?: Query.Where<Query.Queryable<Stored<Resource.SchemaOf<R>>>> | undefined
  /** Conditions as data, such as `parseWhere` makes of untrusted JSON. */
  readonly predicate?: Query.Predicate | undefined
  /**
   * The partition in which they are. Its ids are read first. If there are few, all of their documents are compared, and the answer is exact; otherwise the fewer there are, the more
   * lists are looked at.
   */
  readonly within?: Within<Resource.SchemaOf<R>, Resource.NamesOf<R>> | undefined
  /**
   * Whether documents are looked at that the index does not know yet: every one that was committed before the request. Default `false`: as of
   * `position` of the answer.
   */
  readonly consistent?: boolean | undefined
}

/**
 * A search for one vector. `cursor` is that of the page before, of the same request.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchRequest<R extends Resource.Any> extends Nearest<R> {
  readonly vector: ReadonlyArray<number>
  readonly cursor?: string | undefined
}

/**
 * A page of documents, the nearest first, those as near as each other by their ids. `cursor` is there when there may be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchPage<out A> {
  readonly items: ReadonlyArray<Match<A>>
  readonly cursor: string | undefined
  /** All records of the journal before this position are in the answer. */
  readonly position: number
  /** Whether every vector was looked at, or all that the conditions leave, and so nothing nearer was missed. */
  readonly isExact: boolean
}

/**
 * What is asked of an index alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface LookupRequest extends Effort {
  readonly vector: ReadonlyArray<number>
  /** From 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  readonly threshold?: number | undefined
}

/**
 * What an index knows of a document, and how far what it keeps of its vector is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hit {
  readonly id: string
  readonly distance: number
}

/**
 * What an index finds by itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface LookupPage {
  readonly items: ReadonlyArray<Hit>
  /** How many lists were looked at, and how many vectors. */
  readonly lists: number
  readonly vectors: number
  /** All records of the journal before this position are in the answer. */
  readonly position: number
}

/**
 * What an index is like.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status extends keeping.Status {
  /** How many lists there are; none: all vectors are compared. */
  readonly lists: number
  /** How many lists are looked at for the recall of the options. */
  readonly probes: number
}

/**
 * An index of vectors.
 *
 * **Details**
 *
 * Requests of a search on an index of one segment: 1 GET for the manifest where it was not read within `maxAge`, 1 GET for the centres, once, and 1 GET for each list, fewer where lists lie
 * beside each other or are in memory: 2 and one for each list at most. Each further segment that is larger than a megabyte takes as many for its lists, a smaller one 1.
 *
 * @category services
 * @since 0.1.0
 */
export interface VectorIndex<R extends Resource.Any> extends keeping.Kept<Status, LookupError, SearchError> {
  /** The name of the resource, and the field with the vector. */
  readonly resource: string
  readonly field: string
  /**
   * The nearest documents to a vector. The requests of the index, and 1 GET for each document that is looked at: those that are given, and those that turn out to be hidden,
   * changed or left out by the filters, and where the index keeps less than documents have, those that may be as near. A page is filled, if need be from all lists, unless there are no more, or 1,000 documents were looked at: then it is short and has a cursor.
   *
   * `consistent`: 1 LIST for each 1,000 writes that wait for the journal, the requests of reading the journal from `position` on, and 1 GET for each document that
   * was written since. `within`: 1 LIST for each 1,000 documents of the partition.
   *
   * `InvalidVectorIndex`: the vector, an option or a cursor cannot be; `VectorIndexIncomplete`: the index is not built yet, or 10,000 documents behind;
   * `VectorIndexDamaged`. Errors of `query` otherwise.
   */
  readonly search: (request: SearchRequest<R>) => Effect.Effect<SearchPage<Resource.DocumentOf<R>>, SearchError>
  /** The nearest documents to each of several vectors, 1 to 1,000, in their order. A list that several of them ask for is read once, and so is a document. */
  readonly searchMany: (
    vectors: ReadonlyArray<ReadonlyArray<number>>,
    request?: Nearest<R>
  ) => Effect.Effect<ReadonlyArray<SearchPage<Resource.DocumentOf<R>>>, SearchError>
  /** The nearest documents to another one, without that. 1 GET more than `search`. `NotFound`; `InvalidVectorIndex`: it has no vector. */
  readonly similarTo: (
    id: string,
    request?: Nearest<R> & { readonly cursor?: string | undefined }
  ) => Effect.Effect<SearchPage<Resource.DocumentOf<R>>, SearchError | DbError.NotFound | DbError.InvalidInput>
  /**
   * What the index finds by itself, without reading a document. No guard looks at it, and documents may have changed: it is for the program's own
   * work, never for what a user asks.
   */
  readonly lookup: (request: LookupRequest) => Effect.Effect<LookupPage, LookupError>
}

/**
 * A class that is the service of an index and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  R extends Resource.Any
> extends Plugin.ServiceClass<Self, Id, VectorIndex<R>, LayerError, Database | Resource.SelfOf<R>> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("vectorindex", { version: 1 })

/**
 * Declares an index of vectors of a resource as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, R extends Resource.Any>(id: Id, options: Options<R>): ServiceClass<Self, Id, R> =>
    Plugin.service<Self>()(id, make<R>(options))

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

type Values = reading.Values

interface AnyRepository extends reading.AnyRepository {
  readonly get: (id: string) => Effect.Effect<Values, DbError.NotFound | DbError.InvalidInput | ListError>
  readonly query: (request: {
    readonly where?: Values | undefined
    readonly predicate?: Query.Predicate | undefined
    readonly onCorrupt: (found: Query.Corrupt) => Effect.Effect<void>
  }) => Stream.Stream<Values, ListError>
  readonly explainQuery: (request: {
    readonly where?: Values | undefined
    readonly predicate?: Query.Predicate | undefined
  }) => Effect.Effect<Query.Plan, ListError>
}

const { step } = reading
/** How many documents are looked at for one page. */
const mostLookedAt = 1_000
/** So many documents of a partition are compared one by one. */
const fewWithin = 200
/** After so many documents have been judged, it is asked whether too few of them pass. */
const firstJudged = 32
/** How many times as many lists are looked at where few documents are left by a filter. */
const mostTimes = 16
/** The form of what is stored, in the names of the objects. */
const format = 1

const Position = Schema.fromJsonString(Schema.Struct({ distance: Schema.Finite, id: Schema.String }))
const readPosition = Schema.decodeUnknownEffect(Position)
const writePosition = Schema.encodeSync(Position)

const isWhole = (value: unknown, from: number, to: number): boolean =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= from && value <= to

const isVector = (value: unknown): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "number" && Number.isFinite(item))

const largestFloat32 = 2 ** 128 - 2 ** 104

const metrics: ReadonlyArray<string> = [
  "cosine",
  "euclidean",
  "manhattan",
  "dot"
] satisfies ReadonlyArray<Metrics.Metric>
const storages: ReadonlyArray<string> = ["float32", "float16", "int8"] satisfies ReadonlyArray<packing.Storage>

/** What the codec of a field says of its vectors. */
const declaredOf = (codec: string | undefined) => {
  const [kind, length, form] = codec?.split(":") ?? []
  if (kind !== "vector") return {}
  const storage: packing.Storage = form === "int8" || form === "float16" ? form : "float32"
  return { dimensions: Number(length), storage }
}

/** As many lists as there are vectors in one, nearly: both are read. */
const usualLists = (documents: number): number => Math.min(65_536, Math.max(1, Math.round(Math.sqrt(documents))))

/**
 * Opens the index of a resource until the scope closes, and keeps it unless `indexes` is `false`. No request beside those of `Plugin.open`.
 * `InvalidVectorIndex`: an option is wrong, the field is secret, or the resource has no journal.
 *
 * Its health in `Plugin.statuses` is `down` while this process keeps the index and cannot go on, with what to do, and `degraded` while it waits for the store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("VectorIndex.make")(function* <R extends Resource.Any>(
  options: Options<R>
): Effect.fn.Return<VectorIndex<R>, LayerError, Database | Scope.Scope | Resource.SelfOf<R>> {
  type A = Resource.DocumentOf<R>
  const { resource } = options
  const { attributes, name, primaryKey } = resource.definition
  const field: string = options.field
  const invalid = (at: string, problem: string) => new InvalidVectorIndex({ resource: name, field: at, problem })

  const hidden = Attributes.hiddenAt(attributes, [field])
  if (hidden !== undefined) {
    return yield* invalid(
      "field",
      `Expected a field that can be shown, not one ${Attributes.describeHidden(hidden)}: vectors lie in the index in clear`
    )
  }
  const attribute = attributes.find(({ path }) => path.length === 1 && path[0] === field)
  if (attribute === undefined) return yield* invalid("field", "Expected a field of the resource")
  const declared = declaredOf(attribute.codec)
  const {
    dimensions = declared.dimensions,
    exactUntil = 10_000,
    lists,
    metric = "cosine",
    objectBytes = 32 * 1024 * 1024,
    recall: usualRecall = 0.95,
    storage = declared.storage ?? "float32"
  } = options
  if (!metrics.includes(metric)) return yield* invalid("metric", "Expected cosine, euclidean, manhattan or dot")
  if (!storages.includes(storage)) return yield* invalid("storage", "Expected float32, float16 or int8")
  if (dimensions === undefined || !isWhole(dimensions, 1, 65_536)) {
    return yield* invalid("dimensions", "Expected a whole number from 1 to 65,536")
  }
  const isRecall = (value: unknown): boolean => typeof value === "number" && value > 0 && value <= 1
  const notRecall = "Expected a number above 0, at most 1"
  if (!isRecall(usualRecall)) return yield* invalid("recall", notRecall)
  if (!isWhole(exactUntil, 0, Number.MAX_SAFE_INTEGER))
    return yield* invalid("exactUntil", "Expected a whole number from 0")
  if (lists !== undefined && !isWhole(lists, 1, 65_536)) {
    return yield* invalid("lists", "Expected a whole number from 1 to 65,536")
  }
  if (!isWhole(objectBytes, 64 * 1024, Number.MAX_SAFE_INTEGER)) {
    return yield* invalid("objectBytes", "Expected a whole number from 65,536")
  }
  const settings = reading.settingsOf(options)
  if ("problem" in settings) return yield* invalid(settings.field, settings.problem)
  const { cacheBytes, firstMillis, leaseMillis, longestMillis, maxAgeMillis } = settings

  const database = yield* Database
  const { journal, store } = database
  const repository = yield* Resource.keyOf<R, AnyRepository>(resource)
  if (database.upkeep(name)?.settings?.journal === undefined) {
    return yield* invalid("resource", "Expected a resource with the option journal, which the index is made of")
  }
  const self = yield* Plugin.open(plugin, { namespace: options.namespace, name })
  const folder = `${self.prefix(name)}index=`
  const digest = sha256(new TextEncoder().encode(JSON.stringify([format, field, metric, storage, dimensions])))
  const prefix = `${folder}${Array.from(digest.subarray(0, 10), (byte) => byte.toString(16).padStart(2, "0")).join("")}`
  const manifest = Fenced.make(store, {
    key: `${prefix}/manifest`,
    schema: schemaOf(parts.Part),
    what: "the manifest of an index of vectors"
  })
  const cursors = Cursor.make(yield* database.salt)

  // ---------------------------------------------------------------------------
  // Documents
  // ---------------------------------------------------------------------------

  const tellCorrupt = ({ id }: Query.Corrupt) =>
    Effect.andThen(
      self.count("unreadable"),
      Effect.logWarning(`the index of vectors of ${name} leaves out document ${JSON.stringify(id)}: it cannot be read`)
    )
  /** Whether the index has the vector of a document. */
  const isHeld = (value: unknown): value is ReadonlyArray<number> =>
    isVector(value) && value.length === dimensions && rounding.fits(value, storage)
  /** Whether it can be asked about one: with such numbers no distance is beyond all numbers. */
  const isAskable = (value: unknown): value is ReadonlyArray<number> =>
    isVector(value) && value.length === dimensions && value.every((one) => Math.abs(one) <= largestFloat32)

  const { idOf, read, source: sourceOf } = reading.documentsOf(repository, primaryKey, tellCorrupt)
  const source = sourceOf(
    (document) => {
      const vector = document[field]
      return isHeld(vector) ? packing.pack(storage, metric, vector) : undefined
    },
    ({ row }) => row.byteLength
  )

  // ---------------------------------------------------------------------------
  // Keeping
  // ---------------------------------------------------------------------------

  const growing = {
    prefix,
    metric,
    storage,
    dimensions,
    exactUntil,
    listsFor: lists === undefined ? usualLists : () => lists,
    objectBytes
  }
  const growth = growthOf.make(store, blocksOf.make(store, 8 * 1024 * 1024), growing)
  /** For searches, which keep more in memory. */
  const asked = growthOf.make(store, blocksOf.make(store, cacheBytes), growing)
  const indexer = indexerOf.make(store, {
    prefix,
    resource: name,
    what: "index of vectors",
    form: parts.form,
    manifest,
    journal,
    growth,
    source,
    stepDocuments: 4_096,
    stepWeight: 8 * 1024 * 1024,
    lease: leaseMillis,
    firstMillis,
    longestMillis
  })

  const behind = (description: string) => new VectorIndexIncomplete({ resource: name, description })

  type Inner = reading.Inner

  const toldOf = <E>(error: E | Inner): Exclude<E, Inner> | LookupError => {
    if (StoreError.isStoreError(error)) {
      return reading.isDamaged(error, prefix)
        ? new VectorIndexDamaged({ resource: name, key: error.key ?? prefix, description: error.message })
        : DbError.fromStore("VectorIndex", name)(error)
    }
    return error instanceof AppendLog.Trimmed ? behind(error.message) : (error as Exclude<E, Inner>)
  }
  const kept = <X, E>(effect: Effect.Effect<X, E | Inner>) => Effect.mapError(effect, toldOf<E>)

  if (options.indexes !== false) yield* Effect.forkScoped(indexer.run)
  yield* self.running({ health: reading.healthOf(indexer) })

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  const { caughtUp, current, newerThan, rebuilt, updated, withLive } = reading.make({
    resource: name,
    database,
    form: parts.form,
    manifest,
    indexer,
    maxAgeMillis,
    behind
  })

  const effortOf = Effect.fnUntraced(function* ({ probes, recall = usualRecall }: Effort) {
    if (!isRecall(recall)) return yield* invalid("recall", notRecall)
    if (probes !== undefined && !isWhole(probes, 1, Number.MAX_SAFE_INTEGER)) {
      return yield* invalid("probes", "Expected a whole number from 1")
    }
    return { probes, recall }
  })

  const checked = Effect.fnUntraced(function* (
    vectors: ReadonlyArray<unknown>,
    { limit = 10, threshold = Infinity, ...effort }: Omit<LookupRequest, "vector">
  ) {
    if (!isWhole(limit, 1, 1_000)) return yield* invalid("limit", "Expected a whole number from 1 to 1,000")
    if (typeof threshold !== "number" || Number.isNaN(threshold))
      return yield* invalid("threshold", "Expected a number")
    for (const vector of vectors) {
      if (!isAskable(vector)) {
        return yield* invalid("vector", `Expected ${dimensions} finite numbers that float32 can hold`)
      }
    }
    return { limit, threshold, effort: yield* effortOf(effort) }
  })

  const lookup: VectorIndex<R>["lookup"] = Effect.fn("VectorIndex.lookup")(function* ({ vector, ...request }) {
    const { effort, limit, threshold } = yield* checked([vector], request)
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const wanted = { vector, from: -Infinity, enough: limit }
          const found = yield* lookups.make(asked, { dimensions, metric, storage }, part, [wanted], effort)
          yield* found.widen(1)
          const hits = found.hits[0]!
          const items: Array<Hit> = []
          while (items.length < limit) {
            const hit = yield* hits.peek
            if (hit === undefined || hit.distance > threshold) break
            hits.take()
            items.push(hit)
          }
          return { items, ...found.looked(), position: part.position }
        })
      )
    )
  })

  interface Seen extends Hit {
    readonly document: Values
  }

  /** A vector that is asked about, and where its page begins. */
  interface Asked {
    readonly vector: ReadonlyArray<number>
    readonly after?: Hit | undefined
    readonly without?: string | undefined
  }

  /** How many times as many lists are looked at, where so many of all documents are left. */
  const timesFor = (left: number, all: number): number =>
    left >= all ? 1 : Math.min(mostTimes, Math.sqrt(all / Math.max(1, left)))

  const looking = Effect.fnUntraced(function* (
    part: parts.Part,
    all: ReadonlyArray<Asked>,
    { limit, threshold, effort }: Effect.Success<ReturnType<typeof checked>>,
    { consistent, predicate: given, where, within }: Nearest<R>
  ) {
    // Asked for by the field, so that nobody finds by what may not be asked for.
    const exists = Query.exists([field])
    const predicate = given === undefined ? exists : Query.and(given, exists)
    const isFiltered = given !== undefined || where !== undefined
    const documents = new Map<string, Values | undefined>()
    const readAll = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
      const missing = ids.filter((id) => !documents.has(id))
      for (let at = 0; at < missing.length; at += step) {
        const some = missing.slice(at, at + step)
        for (const id of some) documents.set(id, undefined)
        for (const one of yield* read(some, { where, predicate })) documents.set(idOf(one), one)
      }
    })
    // He who may not ask at all is told so, whatever the index has.
    yield* read([], { where, predicate })
    const newer = consistent === true ? yield* newerThan(part) : { ids: new Set<string>(), position: part.position }
    const allowed = within === undefined ? undefined : new Set(yield* Stream.runCollect(repository.listIds(within)))
    const isFew = allowed !== undefined && allowed.size <= Math.max(fewWithin, 2 * limit)
    const direct = [...(isFew ? new Set([...allowed, ...newer.ids]) : newer.ids)].filter(
      (id) => allowed?.has(id) !== false
    )
    yield* readAll(direct)
    const error = part.segments.reduce((most, segment) => Math.max(most, segment.error), 0)
    const accepts = (id: string) => !newer.ids.has(id) && allowed?.has(id) !== false
    const bounds = all.map(({ vector }) => packing.boundOf(metric, vector, error))
    const found = yield* lookups.make(
      asked,
      { dimensions, metric, storage },
      isFew ? { ...part, segments: [] } : part,
      all.map(({ after, vector }, i) => ({
        vector,
        accepts: newer.ids.size === 0 && allowed === undefined ? undefined : accepts,
        from: after === undefined ? -Infinity : after.distance - bounds[i]!,
        // Where nothing was lost, what is as near as the last one of the page before need not be read again.
        after: bounds[i] === 0 ? after : undefined,
        enough: limit + 8
      })),
      effort
    )
    /** All that meet the conditions, where they were read before anything is looked for. */
    let matching: ReadonlyArray<Seen["document"]> | undefined
    let mayTurn = isFiltered && !isFew
    /** Reads what meets the conditions, if it is no more than so many and an index leads to nothing else. */
    const turned = Effect.fnUntraced(function* (most: number) {
      mayTurn = false
      const { access, filter } = yield* repository.explainQuery({ where, predicate: given })
      if (access === "scan" || (filter !== undefined && access === "partition")) return
      const found = yield* Stream.runCollect(
        Stream.take(repository.query({ where, predicate, onCorrupt: tellCorrupt }), most + 1)
      )
      for (const one of found) documents.set(idOf(one), one)
      if (found.length <= most) matching = found.filter((one) => allowed?.has(idOf(one)) !== false)
    })
    let times = allowed === undefined ? 1 : timesFor(allowed.size, part.documents)
    let isWider = yield* found.widen(times)

    const pageOf = Effect.fnUntraced(function* ({ after, vector, without }: Asked, i: number) {
      const { peek, take } = found.hits[i]!
      const bound = bounds[i]!
      const distanceTo = Metrics.from(metric, vector)
      const done = new Set<string>()
      const seen: Array<Seen> = []
      const whole = (all: ReadonlyArray<Values>) => {
        seen.length = 0
        judge(all.map(idOf))
        seen.sort(lookups.byRank)
        const items = seen.slice(0, limit)
        return { items, last: seen.length > limit ? items.at(-1) : undefined, isWhole: true }
      }
      const judge = (ids: ReadonlyArray<string>) => {
        for (const id of ids) {
          const document = documents.get(id)
          const its = document?.[field]
          if (document === undefined || id === without || !isHeld(its)) continue
          const one = { id, document, distance: distanceTo(its) }
          if (one.distance > threshold || (after !== undefined && lookups.byRank(one, after) <= 0)) continue
          seen.push(one)
        }
      }
      if (matching !== undefined) return whole(matching)
      judge(direct)
      let looked = 0
      let passed = 0
      /** The next one that was not looked at, if it can be near enough. */
      const next = Effect.gen(function* () {
        for (;;) {
          const hit = yield* peek
          if (hit === undefined || hit.distance - bound > threshold) return undefined
          if (!done.has(hit.id)) return hit
          take()
        }
      })
      for (;;) {
        const batch: Array<string> = []
        for (let hit = yield* next; hit !== undefined; hit = yield* next) {
          if (batch.length >= Math.min(step, Math.max(1, limit - seen.length))) break
          take()
          done.add(hit.id)
          batch.push(hit.id)
        }
        yield* readAll(batch)
        judge(batch)
        looked += batch.length
        passed += batch.filter((id) => documents.get(id) !== undefined).length
        if (mayTurn && looked >= firstJudged && seen.length < limit) {
          // As many would be looked at, if as few of them pass.
          const more = Math.min(
            mostLookedAt - looked,
            Math.ceil(((limit - seen.length) * (looked + 1)) / (passed + 0.5))
          )
          if (more > looked) yield* turned(more)
          if (matching !== undefined) return whole(matching)
        }
        seen.sort(lookups.byRank)
        const hit = yield* next
        // What is not looked at may be as near as this.
        const border = hit === undefined ? undefined : bound === 0 ? hit : { id: "", distance: hit.distance - bound }
        const given = border === undefined ? seen : seen.filter((one) => lookups.byRank(one, border) < 0)
        const isFull = given.length >= limit
        if (isFull || looked >= mostLookedAt) {
          const wanted = isFiltered ? timesFor(seen.length, looked) : 1
          if (isWider && wanted > times) {
            times = wanted
            isWider = yield* found.widen(times)
            continue
          }
          const items = given.slice(0, limit)
          const isMore = hit !== undefined || isWider || seen.length > limit
          const last = !isMore ? undefined : isFull ? items.at(-1) : (border ?? given.at(-1))
          return { items, last, isWhole: false }
        }
        if (hit !== undefined) continue
        const isBeyond = (yield* peek) !== undefined
        if (isBeyond || !isWider) return { items: given, last: undefined, isWhole: false }
        times *= 4
        isWider = yield* found.widen(times)
      }
    })

    const pages: Array<Effect.Success<ReturnType<typeof pageOf>>> = []
    for (const [i, one] of all.entries()) pages.push(yield* pageOf(one, i))
    const isAll = isFew || !isWider
    return {
      position: newer.position,
      pages: pages.map(({ isWhole, ...page }) => ({ ...page, isExact: isWhole || isAll }))
    }
  })

  const shown = (items: ReadonlyArray<Seen>): ReadonlyArray<Match<A>> =>
    items.map(({ distance, document }) => ({ distance, document: document as A }))

  const searched = Effect.fnUntraced(function* (
    { cursor, vector, ...request }: SearchRequest<R>,
    without: string | undefined
  ) {
    const settings = yield* checked([vector], request)
    const { consistent, predicate, recall, probes, threshold, where, within } = request
    const identity = Cursor.identityOf([
      prefix,
      vector,
      consistent === true,
      predicate,
      recall,
      probes,
      threshold,
      where,
      within,
      without
    ])
    let after: Hit | undefined
    if (cursor !== undefined) {
      const wrong = invalid("cursor", "Expected the cursor of a page of the same request")
      const text = typeof cursor === "string" ? yield* cursors.read(identity, cursor) : undefined
      if (text === undefined) return yield* wrong
      after = yield* Effect.mapError(readPosition(text), () => wrong)
    }
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const { pages, position } = yield* looking(part, [{ vector, after, without }], settings, request)
          const { isExact, items, last } = pages[0]!
          return {
            items: shown(items),
            cursor: last && (yield* cursors.make(identity, writePosition({ distance: last.distance, id: last.id }))),
            position,
            isExact
          }
        })
      )
    )
  })

  const search: VectorIndex<R>["search"] = Effect.fn("VectorIndex.search")(function* (request) {
    return yield* searched(request, undefined)
  })

  const searchMany: VectorIndex<R>["searchMany"] = Effect.fn("VectorIndex.searchMany")(function* (
    vectors,
    request = {}
  ) {
    if (!Array.isArray(vectors) || vectors.length < 1 || vectors.length > 1_000) {
      return yield* invalid("vectors", "Expected 1 to 1,000 vectors")
    }
    const settings = yield* checked(vectors, request)
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const all = vectors.map((vector) => ({ vector }))
          const { pages, position } = yield* looking(part, all, settings, request)
          return pages.map(({ isExact, items }) => ({ items: shown(items), cursor: undefined, position, isExact }))
        })
      )
    )
  })

  const similarTo: VectorIndex<R>["similarTo"] = Effect.fn("VectorIndex.similarTo")(function* (id, request = {}) {
    const vector = (yield* repository.get(id))[field]
    if (!isAskable(vector)) {
      return yield* invalid(field, `Expected ${dimensions} numbers in document ${JSON.stringify(id)}`)
    }
    return yield* searched({ ...request, vector }, id)
  })

  const status: VectorIndex<R>["status"] = kept(
    Effect.gen(function* () {
      const { building, live } = yield* current(true)
      const { next } = yield* journal.status
      const segments = live?.segments ?? []
      const centroids = live?.centroids.at(-1)
      return {
        position: live?.position ?? 0,
        journal: next,
        documents: live?.documents ?? 0,
        segments: segments.length,
        bytes: segments.reduce((sum, segment) => sum + parts.sizeOf(segment), 0),
        lists: centroids?.count ?? 0,
        probes: centroids === undefined ? 0 : lookups.probesFor(centroids, { probes: undefined, recall: usualRecall }),
        building: building && { documents: building.documents, position: building.position }
      }
    })
  )

  const verify: VectorIndex<R>["verify"] = verifying
    .verify<parts.Part, packing.Packed, ListError, LookupError | ListError | Inner>({
      source,
      updated,
      withLive,
      newerThan,
      locate: growth.locate,
      idsOf: ({ segments }) =>
        Stream.fromIterable(segments).pipe(
          Stream.flatMap((segment) =>
            Stream.mapEffect(Stream.fromIterable(segment.ids.keys()), (block) =>
              Effect.map(growth.idsAt(segment, block), (found) => found.map(({ id }) => id))
            )
          ),
          Stream.flattenIterable
        ),
      check: Effect.fnUntraced(function* ({ centroids, segments }) {
        for (const one of centroids) yield* growth.centresAt(one)
        for (const segment of segments) for (const place of parts.placesOf(segment)) yield* growth.listsAt([place])
      })
    })
    .pipe(Stream.mapError(toldOf))

  return {
    resource: name,
    field,
    search,
    searchMany,
    similarTo,
    lookup,
    status,
    caughtUp: kept(caughtUp),
    update: kept(updated),
    rebuild: kept(rebuilt),
    verify,
    compact: kept(indexer.compact),
    removeOthers: DbError.named(
      "VectorIndex.removeOthers",
      name
    )(deleteAll(store, folder, (key) => !key.startsWith(`${prefix}/`)))
  }
})
