/**
 * Documents by words: ranked by BM25, with phrases, beginnings and words with mistakes in them, highlights, facets and suggestions.
 *
 * ```ts
 * import * as FullText from "effect-s3db/plugins/FullText"
 * import * as Resource from "effect-s3db/Resource"
 * import { Effect, Schema } from "effect"
 *
 * class Articles extends Resource.Service<Articles>()("app/articles", {
 *   schema: Schema.Struct({ id: Schema.String, title: Schema.String, body: Schema.String }),
 *   primaryKey: "id",
 *   journal: true
 * }) {}
 *
 * class ArticleSearch extends FullText.Service<ArticleSearch>()("app/ArticleSearch", {
 *   resource: Articles,
 *   fields: { title: { weight: 3 }, body: {} }
 * }) {}
 *
 * const program = Effect.gen(function* () {
 *   const search = yield* ArticleSearch
 *   const { items } = yield* search.search({ query: { all: ["object storage", { not: "tape" }] } })
 *   return items.map(({ document, score }) => [document.title, score])
 * })
 * ```
 *
 * **Details**
 *
 * The index is made of the journal: immutable segments, and a manifest that says which of them count and up to which position of the journal
 * they know. Of all processes with the layer one keeps it, by a lease, and another goes on when that is gone. Readers fetch the blocks that
 * hold the words of a query, by ranges, and keep them in memory.
 *
 * Each document that is given was read first, as the one who asks may see it, and found again in what he sees: it is there, and has the
 * words now. `consistent: true` also looks at what the index does not know yet.
 *
 * **Gotchas**
 *
 * Words of the fields lie in the index in clear: a field that is secret is refused. Somebody has to keep the journal: see `Journaler`.
 *
 * @see `docs/guide/full-text.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import type { Definition } from "../Definition.ts"
import * as DbError from "../DbError.ts"
import type { JsonObject } from "../encoding/Json.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { samePath, valueAt } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import { compareUtf8 } from "../internal/text.ts"
import * as AppendLog from "../kernel/AppendLog.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import type { Stored, Within } from "../Names.ts"
import * as Plugin from "../Plugin.ts"
import type { DynamicSchema } from "../Portable.ts"
import * as Cursor from "../query/cursor.ts"
import type * as Query from "../Query.ts"
import type { ListError, Repository } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import { deleteAll } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as analysis from "./fulltext/internal/analysis.ts"
import * as buildingOf from "./fulltext/internal/building.ts"
import * as languagesOf from "./fulltext/internal/languages.ts"
import * as stemmers from "./fulltext/internal/stemmers.ts"
import * as lookup from "./fulltext/internal/lookup.ts"
import * as manifests from "./fulltext/internal/manifest.ts"
import * as queries from "./fulltext/internal/query.ts"
import * as segmentFile from "./fulltext/internal/segmentFile.ts"
import * as terms from "./fulltext/internal/terms.ts"
import * as blocksOf from "./journalindex/internal/blocks.ts"
import * as indexerOf from "./journalindex/internal/indexer.ts"
import * as reading from "./journalindex/internal/reading.ts"
import * as verifying from "./journalindex/internal/verifying.ts"
import type { Keeping, Kept, Status } from "./journalindex/keeping.ts"

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
export class InvalidFullText extends ExpectedError<InvalidFullText>("effect-s3db/plugins/FullText/InvalidFullText")(
  "InvalidFullText",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `full text of ${JSON.stringify(this.resource)}, ${this.field}: ${this.problem}`
  }
}

/**
 * An index of which an object is damaged or gone. `key` names it.
 *
 * @remedy Run `rebuild` of the index: it makes all of it anew from the documents. Answers come from what is left until then, or not at all.
 * @category errors
 * @since 0.1.0
 */
export class IndexDamaged extends ExpectedError<IndexDamaged>("effect-s3db/plugins/FullText/IndexDamaged")(
  "IndexDamaged",
  { resource: Schema.String, key: Schema.String, description: Schema.String },
  { httpApiStatus: 500 }
) {
  override get message(): string {
    return `the full-text index of ${JSON.stringify(this.resource)} is damaged: ${this.description}; run its rebuild`
  }
}

/**
 * An index that does not know enough yet: it was never built to its end, or, of a consistent answer, it is too far behind the journal to look at
 * all that is newer.
 *
 * @remedy Let a process with the layer run, or `update` the index; keep records of the journal until the index has taken them.
 * @category errors
 * @since 0.1.0
 */
export class IndexIncomplete extends ExpectedError<IndexIncomplete>("effect-s3db/plugins/FullText/IndexIncomplete")(
  "IndexIncomplete",
  { resource: Schema.String, description: Schema.String },
  { httpApiStatus: 503 }
) {
  override get message(): string {
    return `the full-text index of ${JSON.stringify(this.resource)} does not know enough yet: ${this.description}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidFullText | Plugin.DependencyMissing | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of asking an index without its documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type LookupError = InvalidFullText | IndexDamaged | IndexIncomplete | DbError.DbError

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

export type { Analyser, Stemmer } from "./fulltext/internal/analysis.ts"
export type { Finding, Keeping, Status } from "./journalindex/keeping.ts"

/**
 * Analysers of languages, with their stop words and stemmers, for the option `analyser` of fields. They need the package
 * `@orama/stemmers`.
 *
 * ```ts
 * import * as FullText from "effect-s3db/plugins/FullText"
 *
 * const fields = {
 *   title: { weight: 3, analyser: FullText.languages.english },
 *   resumo: { analyser: { ...FullText.languages.portuguese, synonyms: [["carro", "automóvel"]] } }
 * }
 * ```
 *
 * @category constants
 * @since 0.1.0
 */
export const languages: Readonly<
  Record<"english" | "french" | "german" | "portuguese" | "spanish", analysis.Analyser>
> = languagesOf

/**
 * The fields of a document that are texts or lists of texts: those at the top, and those of objects in it, by dotted names.
 *
 * @category models
 * @since 0.1.0
 */
export type TextField<A> = {
  readonly [K in keyof A & string]-?: [NonNullable<A[K]>] extends [string | ReadonlyArray<string>]
    ? K
    : [NonNullable<A[K]>] extends [{ readonly [name: string]: unknown }]
      ? `${K}.${TextsIn<NonNullable<A[K]>>}`
      : never
}[keyof A & string]

type TextsIn<A> = {
  readonly [K in keyof A & string]-?: [NonNullable<A[K]>] extends [string | ReadonlyArray<string>] ? K : never
}[keyof A & string]

/**
 * How a field is indexed.
 *
 * @category models
 * @since 0.1.0
 */
export interface FieldOptions {
  /** How much a word counts in this field, above 0. It can be changed at any time. Default: 1. */
  readonly weight?: number | undefined
  /** How its texts become words. Default: words of any language, as they are. */
  readonly analyser?: analysis.Analyser | undefined
}

/**
 * The options of an index.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R extends Resource.Any, Field extends string = string> extends Plugin.Options, Keeping {
  /** It has to be declared with the option `journal`. */
  readonly resource: R
  readonly fields: Readonly<Record<Field, FieldOptions>>
}

// -----------------------------------------------------------------------------
// Requests
// -----------------------------------------------------------------------------

/**
 * What is looked for. A text is its words: any of them, or all of them by `match` of the request.
 *
 * - `all`: each of these; those that are `not` leave out what they find
 * - `any`: at least one of these
 * - `phrase`: the words beside each other, in this order, in one field
 * - `prefix`: words that begin so; of several words the last one does, and the others are all there
 * - `fuzzy`: words that differ by `edits` letters at most, 1 or 2, by default 1: each put in, left out, or another one
 * - `in`: in these fields only
 *
 * @category models
 * @since 0.1.0
 */
export type TextQuery<Field extends string = string> = queries.Query<Field>

/**
 * What is asked of an index.
 *
 * @category models
 * @since 0.1.0
 */
export interface LookupRequest<out Field extends string> {
  readonly query: TextQuery<Field>
  /** Whether a text is found by any of its words or by all of them. Default `"any"`: those with more of them come first. */
  readonly match?: "any" | "all" | undefined
  /** In which fields. Default: all. */
  readonly fields?: ReadonlyArray<Field> | undefined
  /** The most documents, from 1 to 1,000. Default 10. */
  readonly limit?: number | undefined
  /** The cursor of the page before, of the same request. */
  readonly cursor?: string | undefined
}

/**
 * The conditions that documents have to meet beside their words.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filters<R extends Resource.Any> {
  /** Conditions on fields, as those of `query`. */
  readonly where?: Query.Where<Query.Queryable<Stored<Resource.SchemaOf<R>>>> | undefined
  /** Conditions as data, such as `parseWhere` makes of untrusted JSON. */
  readonly predicate?: Query.Predicate | undefined
  /**
   * The partition in which they are. Its ids are read first, so that no other document is: for partitions that are small beside what the
   * words find. Otherwise use `where`.
   */
  readonly within?: Within<Resource.SchemaOf<R>, Resource.NamesOf<R>> | undefined
}

/**
 * What is asked of `search`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchRequest<R extends Resource.Any, out Field extends string>
  extends LookupRequest<Field>, Filters<R> {
  /**
   * Whether documents are found that the index does not know yet: every one that was committed before the request. Default `false`: as of
   * `position` of the answer.
   */
  readonly consistent?: boolean | undefined
  /** Whether each document says where its words are. Default `false`. */
  readonly highlight?: boolean | undefined
}

/**
 * Where the words of a query are in a field.
 *
 * @category models
 * @since 0.1.0
 */
export interface Highlight {
  /** A part of the text around them, 200 characters or so; of a list its texts, in lines. */
  readonly text: string
  /** Where they begin and end in `text`. It is the text of the field: escape it before it becomes markup. */
  readonly ranges: ReadonlyArray<{ readonly start: number; readonly end: number }>
}

/**
 * A document that was found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found<out A, Field extends string> {
  readonly document: A
  /** By what he who asks may see of it. Scores of one answer compare with each other, and with nothing else. */
  readonly score: number
  /** By the name of the field; empty without `highlight`. */
  readonly highlights: { readonly [K in Field]?: Highlight }
}

/**
 * A page of documents, the best first. `cursor` is there when there may be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchPage<out A, Field extends string> {
  readonly items: ReadonlyArray<Found<A, Field>>
  readonly cursor: string | undefined
  /** All records of the journal before this position are in the answer. */
  readonly position: number
}

/**
 * What an index knows of a document that was found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hit {
  readonly id: string
  readonly score: number
}

/**
 * A page of what an index finds by itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface LookupPage {
  readonly items: ReadonlyArray<Hit>
  readonly cursor: string | undefined
  /** How many documents there are on all pages, as of `position`. */
  readonly total: number
  /** All records of the journal before this position are in the answer. */
  readonly position: number
}

/**
 * How many of the documents that were found have each value of some fields.
 *
 * @category models
 * @since 0.1.0
 */
export interface Facets<Path extends string> {
  /** By field, the most frequent value first. Of a list each of its values counts. */
  readonly fields: {
    readonly [K in Path]: ReadonlyArray<{ readonly value: string | number | boolean; readonly count: number }>
  }
  /** How many documents were found. */
  readonly count: number
  /** Whether these are all that there are, and not only the best of them. */
  readonly isComplete: boolean
  readonly position: number
}

/**
 * An index of words.
 *
 * **Details**
 *
 * Requests of a query on an index of S segments: 1 GET for the manifest where it was not read within `maxAge`; for each segment 1 GET for each
 * run of blocks with its words, and 1 GET for each run of blocks with the ids of what is given. A single word in an index of one segment: 3, and
 * none where all is in memory. Fuzzy words take 1 GET more for each segment and run of its list of words. Blocks have 64 KiB, and those
 * that are less than 1 MiB apart are read at once.
 *
 * @category services
 * @since 0.1.0
 */
export interface FullText<R extends Resource.Any, Field extends string> extends Kept<Status, LookupError, SearchError> {
  /** The name of the resource, and the fields of the index. */
  readonly resource: string
  readonly fields: ReadonlyArray<Field>
  /**
   * The documents that a query finds, the best first. The requests of the index, and 1 GET for each document that is looked at: those that are
   * given, and those that turn out to be hidden, changed or left out by the filters. A page is filled, unless there are no more, or 1,000
   * documents were looked at: then it is short and has a cursor.
   *
   * `consistent`: 1 LIST for each 1,000 writes that wait for the journal, the requests of reading the journal from `position` on, and 1 GET for each
   * document that was written since.
   *
   * `InvalidFullText`: the query, or a cursor, cannot be; `IndexIncomplete`: the index is not built yet, or 10,000 documents
   * behind; `IndexDamaged`. Errors of `query` otherwise.
   */
  readonly search: (
    request: SearchRequest<R, Field>
  ) => Effect.Effect<SearchPage<Resource.DocumentOf<R>, Field>, SearchError>
  /**
   * Counts the documents that a query finds, and the values of some of their fields. Each document is read, 1 GET: the best
   * `most`, by default 1,000. The requests of `search` otherwise. With no `fields` it only counts.
   */
  readonly facets: <const Path extends keyof Resource.DocumentOf<R> & string = never>(
    request: Omit<SearchRequest<R, Field>, "cursor" | "highlight" | "limit"> & {
      readonly facets?: ReadonlyArray<Path> | undefined
      readonly most?: number | undefined
    }
  ) => Effect.Effect<Facets<Path>, SearchError>
  /**
   * Words that begin with the last word of a text, the most frequent first, as documents have them that he who asks may see, in lower case. With `edits` words
   * that differ from it. The requests of the index, and for each word 1 GET for each document until one is found that
   * shows it, 30 at most, and 1,000 for all words: who may see few documents is shown fewer words then. `limit`: 1 to 100, by default 10.
   */
  readonly suggest: (
    text: string,
    options?: {
      readonly limit?: number | undefined
      readonly edits?: 1 | 2 | undefined
      readonly fields?: ReadonlyArray<Field> | undefined
    }
  ) => Effect.Effect<ReadonlyArray<string>, SearchError>
  /**
   * What the index finds by itself, without reading a document. No guard looks at it, and documents may have changed: it is for the program's own
   * work, never for what a user asks.
   */
  readonly lookup: (request: LookupRequest<Field>) => Effect.Effect<LookupPage, LookupError>
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
  R extends Resource.Any,
  Field extends string
> extends Plugin.ServiceClass<Self, Id, FullText<R, Field>, LayerError, Database | Resource.SelfOf<R>> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("fulltext", { version: 1 })

/**
 * Declares an index of words of a resource as a service. No check before the layer is built.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, R extends Resource.Any, const Field extends TextField<Resource.DocumentOf<R>>>(
    id: Id,
    options: Options<R, Field>
  ): ServiceClass<Self, Id, R, Field> =>
    Plugin.service<Self>()(id, make<R, Field>(options))

// -----------------------------------------------------------------------------
// By the bucket alone
// -----------------------------------------------------------------------------

/**
 * An index as it lies in the bucket.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declared {
  /** As they were declared when the index was begun; weights that were changed since are in it after a `rebuild`. */
  readonly fields: Readonly<Record<string, FieldOptions>>
  /** All records of the journal before this position are in it. */
  readonly position: number
  readonly documents: number
}

/**
 * What is asked of an index by who knows no types.
 *
 * @category models
 * @since 0.1.0
 */
export interface UntypedRequest extends LookupRequest<string> {
  readonly predicate?: Query.Predicate | undefined
  readonly within?: Query.Within | undefined
  readonly consistent?: boolean | undefined
  readonly highlight?: boolean | undefined
}

/**
 * An index of a resource of which a program knows no types: documents are JSON, without secrets, as of `queryJson`.
 *
 * @category services
 * @since 0.1.0
 */
export interface Untyped extends Pick<
  FullText<UntypedResource, string>,
  "fields" | "lookup" | "resource" | "status" | "suggest"
> {
  readonly search: (request: UntypedRequest) => Effect.Effect<SearchPage<JsonObject, string>, SearchError>
}

/** All that matters of it here are its texts. */
interface UntypedResource extends Resource.Any {
  readonly definition: Definition<Schema.Codec<Readonly<Record<string, string>>, JsonObject>>
}

/**
 * Returns the indexes of a resource that were built to their end, the one that knows most first: for programs that know no declaration of them, such as the command line. 1 LIST,
 * and 1 GET for each; none where nobody has opened the plugin.
 *
 * @category getters
 * @since 0.1.0
 */
export const declared = Effect.fn("FullText.declared")(function* (
  resource: string,
  options: Plugin.Options = {}
): Effect.fn.Return<ReadonlyArray<Declared>, DbError.DbError, Database> {
  const { store } = yield* Database
  const slug = Plugin.slugOf(plugin, options)
  const installed = yield* Plugin.installed
  if (!installed.some((one) => Plugin.slugOf({ name: one.plugin }, one) === slug)) return []
  const folder = folderOf(slug, resource)
  const prefixes = Stream.paginate(undefined as string | undefined, (token) =>
    Effect.map(
      store.list({ prefix: folder, delimiter: "/", token }),
      ({ commonPrefixes, nextToken }) => [commonPrefixes, Option.fromUndefinedOr(nextToken)] as const
    )
  )
  const found = yield* Stream.runCollect(prefixes).pipe(
    Effect.flatMap(Effect.forEach((prefix) => manifests.at(store, `${prefix}manifest`).read)),
    DbError.named("FullText.declared", resource)
  )
  return found
    .flatMap((one) => (Option.isSome(one) ? [one.value.live] : []))
    .flatMap((live) => (live?.declared === undefined ? [] : [{ ...live, fields: live.declared }]))
    .map(({ documents, fields, position }): Declared => ({ fields, position, documents }))
    .sort((a, b) => b.position - a.position || b.documents - a.documents)
})

/**
 * Opens the index that knows most of a resource, or the one with the given fields, for a program that declares none: it asks, and keeps nothing. Requests as of `declared`. `InvalidFullText`: there is none;
 * `DependencyMissing`: it has stems, and the package is not there. Its fields are those that were declared: whoever may not see one of them must not ask by it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromCatalog = Effect.fn("FullText.fromCatalog")(function* (
  {
    definition,
    repository
  }: { readonly definition: Definition<DynamicSchema>; readonly repository: Repository<DynamicSchema> },
  options: Plugin.Options = {}
): Effect.fn.Return<Untyped, LayerError, Database | Scope.Scope> {
  const { name } = definition
  const [newest] = yield* declared(name, options)
  if (newest === undefined) {
    const problem = "Expected a resource with an index of words, which a program with the layer of FullText builds"
    return yield* new InvalidFullText({ resource: name, field: "resource", problem })
  }
  const key = Object.assign(
    Context.Service<UntypedResource, reading.AnyRepository>()("effect-s3db/plugins/FullText/Untyped"),
    { definition: definition as unknown as UntypedResource["definition"] }
  )
  const asJson: reading.AnyRepository = {
    query: (request) => repository.queryJson(request),
    list: (request) => repository.queryPageJson(request),
    listIds: (request) => repository.listIds(request)
  }
  const opened = make({ ...options, resource: key, fields: newest.fields, indexes: false })
  return yield* Effect.provideService(opened, key, asJson)
})

// -----------------------------------------------------------------------------
// Implementation
// -----------------------------------------------------------------------------

type Values = reading.Values

const { step } = reading
/** How many are looked at for one page. */
const mostLookedAt = 1_000
/** The form of what is stored, in the names of the objects. */
const format = 3

const Position = Schema.fromJsonString(
  Schema.Struct({ score: Schema.Finite, id: Schema.String, basis: Schema.optionalKey(lookup.Basis) })
)
const readPosition = Schema.decodeUnknownEffect(Position)
const writePosition = Schema.encodeSync(Position)
/** More words than these are counted anew on each page. */
const mostInCursor = 100

const isCount = (value: unknown, most: number): boolean =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= most

/** What the indexes of a resource begin with. */
const folderOf = (slug: string, resource: string): string => `${PluginStore.keyPrefix(slug, resource)}index=`

/** What is wrong with the options, else the fields worked out. */
const fieldsOf = (
  options: Options<Resource.Any>,
  stems: ReadonlyMap<analysis.Stemmer, analysis.Stem>
): ReadonlyArray<terms.Field> | { readonly field: string; readonly problem: string } => {
  const { attributes } = options.resource.definition
  const names = Object.keys(options.fields)
  if (names.length === 0 || names.length > 100) return { field: "fields", problem: "Expected 1 to 100 fields" }
  const groups: Array<string> = []
  const fields: Array<terms.Field> = []
  for (const name of names) {
    const { analyser = {}, weight = 1 } = options.fields[name]!
    const path = name.split(".")
    const field = `fields.${name}`
    const hidden = Attributes.hiddenAt(attributes, path)
    if (hidden !== undefined) {
      return {
        field,
        problem: `Expected a field that can be shown, not one ${Attributes.describeHidden(hidden)}: words lie in the index in clear`
      }
    }
    const isThere = attributes.some((one) => samePath(one.path, path) || samePath(one.path, path.slice(0, 1)))
    if (!isThere && name !== options.resource.definition.primaryKey) {
      return { field, problem: "Expected a field of the resource" }
    }
    if (!(Number.isFinite(weight) && weight > 0)) {
      return { field: `${field}.weight`, problem: "Expected a number above 0" }
    }
    const { language = "en", stemmer, stopWords = [], synonyms = [] } = analyser
    if (stemmer !== undefined && !analysis.stemmers.includes(stemmer)) {
      return { field: `${field}.analyser.stemmer`, problem: `Expected one of ${analysis.stemmers.join(", ")}` }
    }
    if (!analysis.isLanguage(language)) {
      return { field: `${field}.analyser.language`, problem: "Expected a BCP 47 language tag, such as pt-BR" }
    }
    const group = JSON.stringify([language, stopWords, synonyms, stemmer])
    if (!groups.includes(group)) groups.push(group)
    fields.push({
      name,
      path,
      weight,
      analyse: analysis.analyser(analyser, stemmer === undefined ? undefined : stems.get(stemmer)),
      group: groups.indexOf(group),
      isStemmed: synonyms.length > 0 || stemmer !== undefined
    })
  }
  return fields
}

/** The same fields as data. */
const declaredBy = (fields: Readonly<Record<string, FieldOptions>>): manifests.Declared =>
  Object.fromEntries(
    Object.entries(fields).map(([name, { analyser = {}, weight = 1 }]) => {
      const { language, stemmer, stopWords, synonyms } = analyser
      return [
        name,
        {
          weight,
          analyser: {
            ...(language === undefined ? {} : { language }),
            ...(stopWords === undefined ? {} : { stopWords }),
            ...(synonyms === undefined ? {} : { synonyms }),
            ...(stemmer === undefined ? {} : { stemmer })
          }
        }
      ]
    })
  )

/** Names what an index is made of: with something else it is another one. */
const nameOf = (options: Options<Resource.Any>): string => {
  const parts = Object.entries(options.fields).map(([name, { analyser = {} }]) => {
    const { language = "en", stemmer, stopWords = [], synonyms = [] } = analyser
    return [name, language, stopWords, synonyms, stemmer]
  })
  const digest = sha256(new TextEncoder().encode(JSON.stringify([format, parts])))
  return Array.from(digest.subarray(0, 10), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/**
 * Opens the index of a resource until the scope closes, and keeps it unless `indexes` is `false`. No request beside those of `Plugin.open`.
 * `InvalidFullText`: an option is wrong, a field is secret, or the resource has no journal; `DependencyMissing`: an analyser has a stemmer, and the package is not there.
 *
 * Its health in `Plugin.statuses` is `down` while this process keeps the index and cannot go on, with what to do, and `degraded` while it waits for the store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("FullText.make")(function* <
  R extends Resource.Any,
  const Field extends TextField<Resource.DocumentOf<R>>
>(
  options: Options<R, Field>
): Effect.fn.Return<FullText<R, Field>, LayerError, Database | Scope.Scope | Resource.SelfOf<R>> {
  const { resource } = options
  const { name, primaryKey } = resource.definition
  const invalid = (field: string, problem: string) => new InvalidFullText({ resource: name, field, problem })
  const stems = new Map<analysis.Stemmer, analysis.Stem>()
  for (const { analyser } of Object.values<FieldOptions>(options.fields)) {
    const stemmer = analyser?.stemmer
    if (stemmer === undefined || stems.has(stemmer) || !analysis.stemmers.includes(stemmer)) continue
    stems.set(stemmer, (yield* stemmers.load(plugin, stemmer)).stemmer)
  }
  const fields = fieldsOf(options, stems)
  if ("problem" in fields) return yield* invalid(fields.field, fields.problem)
  const settings = reading.settingsOf(options)
  if ("problem" in settings) return yield* invalid(settings.field, settings.problem)
  const { cacheBytes, firstMillis, leaseMillis, longestMillis, maxAgeMillis } = settings
  const { objectBytes = 64 * 1024 * 1024 } = options
  if (!(Number.isSafeInteger(objectBytes) && objectBytes >= 1024 * 1024)) {
    return yield* invalid("objectBytes", "Expected a whole number from 1,048,576")
  }

  const database = yield* Database
  const { journal, store } = database
  const repository = yield* Resource.keyOf<R, reading.AnyRepository>(resource)
  if (database.upkeep(name)?.settings?.journal === undefined) {
    return yield* invalid("resource", "Expected a resource with the option journal, which the index is made of")
  }
  const self = yield* Plugin.open(plugin, { namespace: options.namespace, name })
  const folder = folderOf(self.slug, name)
  const prefix = `${folder}${nameOf(options)}`
  const manifest = manifests.at(store, `${prefix}/manifest`)
  const cursors = Cursor.make(yield* database.salt)
  const blocks = blocksOf.make(store, cacheBytes)
  const weights = fields.map(({ weight }) => weight)

  // ---------------------------------------------------------------------------
  // Documents
  // ---------------------------------------------------------------------------

  const tokensOf = (document: Values) =>
    fields.map(({ analyse, path }) => terms.tokensOf(analyse, terms.textsOf(valueAt(document, path))))
  const wordedOf = (document: Values) => terms.worded(fields, tokensOf(document))

  const tellCorrupt = ({ id }: Query.Corrupt) =>
    Effect.andThen(
      self.count("unreadable"),
      Effect.logWarning(`the full-text index of ${name} leaves out document ${JSON.stringify(id)}: it cannot be read`)
    )

  const { idOf, read, source: sourceOf } = reading.documentsOf(repository, primaryKey, tellCorrupt)
  const source = sourceOf(wordedOf, ({ lengths }) => lengths.reduce((sum, length) => sum + length, 0))

  // ---------------------------------------------------------------------------
  // Keeping
  // ---------------------------------------------------------------------------

  const form = manifests.formOf(fields.length, declaredBy(options.fields))
  const growth = buildingOf.make(store, blocksOf.make(store, 8 * 1024 * 1024), { prefix, objectBytes })
  const indexer = indexerOf.make(store, {
    prefix,
    resource: name,
    what: "full-text index",
    form,
    manifest,
    journal,
    growth,
    source,
    stepDocuments: 1_000,
    stepWeight: 200_000,
    lease: leaseMillis,
    firstMillis,
    longestMillis
  })

  /** What the store says of an object of the index. */
  const told = (error: StoreError.StoreError): IndexDamaged | DbError.DbError =>
    reading.isDamaged(error, prefix)
      ? new IndexDamaged({ resource: name, key: error.key ?? prefix, description: error.message })
      : DbError.fromStore("FullText", name)(error)

  const behind = (description: string) => new IndexIncomplete({ resource: name, description })

  type Inner = reading.Inner

  const toldOf = <E>(error: E | Inner): Exclude<E, Inner> | LookupError => {
    if (StoreError.isStoreError(error)) return told(error)
    return error instanceof AppendLog.Trimmed ? behind(error.message) : (error as Exclude<E, Inner>)
  }

  const kept = <A, E>(effect: Effect.Effect<A, E | Inner>) => Effect.mapError(effect, toldOf<E>)

  if (options.indexes !== false) yield* Effect.forkScoped(indexer.run)
  yield* self.running({ health: reading.healthOf(indexer) })

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  const { caughtUp, current, newerThan, rebuilt, updated, withLive } = reading.make({
    resource: name,
    database,
    form,
    manifest,
    indexer,
    maxAgeMillis,
    behind
  })

  interface Prepared {
    readonly node: queries.Node
    readonly leaves: ReadonlyArray<queries.Leaf>
    readonly identity: string
    readonly limit: number
    readonly after: typeof Position.Type | undefined
  }

  const chosenFields = (given: ReadonlyArray<string> | undefined): ReadonlyArray<number> | InvalidFullText => {
    if (given === undefined) return fields.map((_, i) => i)
    const numbers = Array.isArray(given) ? given.map((one) => fields.findIndex((field) => field.name === one)) : []
    return numbers.length === 0 || numbers.includes(-1)
      ? invalid("fields", `Expected fields of the index: ${fields.map((field) => field.name).join(", ")}`)
      : [...new Set(numbers)].sort((a, b) => a - b)
  }

  const prepare = Effect.fnUntraced(function* (
    { cursor, fields: given, limit = 10, match = "any", query }: LookupRequest<string>,
    more: unknown = undefined
  ): Effect.fn.Return<Prepared, InvalidFullText> {
    if (!isCount(limit, 1_000)) return yield* invalid("limit", "Expected a whole number from 1 to 1,000")
    if (match !== "any" && match !== "all") return yield* invalid("match", "Expected any or all")
    const numbers = chosenFields(given)
    if (numbers instanceof InvalidFullText) return yield* numbers
    const node = queries.compile(query, fields, match, numbers)
    if (node instanceof queries.Problem) return yield* invalid(node.path, node.problem)
    const identity = Cursor.identityOf([prefix, query, match, numbers, more])
    let after: typeof Position.Type | undefined
    if (cursor !== undefined) {
      const wrong = invalid("cursor", "Expected the cursor of a page of the same request")
      const text = typeof cursor === "string" ? yield* cursors.read(identity, cursor) : undefined
      if (text === undefined) return yield* wrong
      after = yield* Effect.mapError(readPosition(text), () => wrong)
    }
    return { node, leaves: queries.leavesOf(node), identity, limit, after }
  })

  const cursorOf = (identity: string, { id, score }: Hit, basis: lookup.Basis) =>
    cursors.make(identity, writePosition({ id, score, ...(basis.having.length <= mostInCursor ? { basis } : {}) }))

  const ranked = Effect.fnUntraced(function* (part: manifests.Part, { after, node }: Prepared) {
    const found = yield* lookup.rank(blocks, part, node, weights, { after, basis: after?.basis })
    return found instanceof queries.Problem ? yield* invalid(found.path, found.problem) : found
  })

  const lookedUp: FullText<R, Field>["lookup"] = Effect.fn("FullText.lookup")(function* (request) {
    const prepared = yield* prepare(request)
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const { basis, next, total } = yield* ranked(part, prepared)
          const items: Array<Hit> = []
          while (items.length < prepared.limit) {
            const more = yield* next(prepared.limit - items.length)
            if (more.length === 0) break
            items.push(...more)
          }
          const isMore = items.length >= prepared.limit
          items.length = Math.min(items.length, prepared.limit)
          const last = isMore ? items.at(-1) : undefined
          const cursor = last === undefined ? undefined : yield* cursorOf(prepared.identity, last, basis)
          return { items, cursor, total, position: part.position }
        })
      )
    )
  })

  interface Seen extends Hit {
    readonly document: Values
    readonly tokens: ReadonlyArray<ReadonlyArray<analysis.Token>>
  }

  /** What a query comes to for documents as they are seen. */
  const judged = (documents: ReadonlyArray<Values>, { leaves, node }: Prepared, statistics: queries.Statistics) =>
    documents.flatMap((document): ReadonlyArray<Seen> => {
      const tokens = tokensOf(document)
      const found = queries.lookupIn(leaves, terms.worded(fields, tokens))
      const score = queries.evaluate(node, found, statistics, () => true).get(0)
      return score === undefined ? [] : [{ id: idOf(document), document, tokens, score }]
    })

  const byRank = (a: Hit, b: Hit): number => b.score - a.score || compareUtf8(a.id, b.id)

  /**
   * Documents that a query finds, looked at in order, until enough are found or looked at. `last` is the last one that was looked at, if
   * there may be more.
   */
  const looking = Effect.fnUntraced(function* (
    part: manifests.Part,
    prepared: Prepared,
    {
      consistent,
      predicate,
      where,
      within
    }: Pick<SearchRequest<R, Field>, "consistent" | "predicate" | "where" | "within">,
    enough: number,
    most: number
  ) {
    const { after } = prepared
    // He who may not ask at all is told so, whatever the index has.
    yield* read([], { where, predicate })
    const isAfter = (hit: Hit) => after === undefined || byRank(after, hit) < 0
    const newer = consistent === true ? yield* newerThan(part) : { ids: new Set<string>(), position: part.position }
    const allowed = within === undefined ? undefined : new Set(yield* Stream.runCollect(repository.listIds(within)))
    const { basis, next, statistics } = yield* ranked(part, prepared)
    const extra: Array<Seen> = []
    const touched = [...newer.ids].filter((id) => allowed?.has(id) !== false)
    for (let at = 0; at < touched.length; at += step) {
      const found = yield* read(touched.slice(at, at + step), { where, predicate })
      extra.push(...judged(found, prepared, statistics).filter(isAfter))
    }
    extra.sort(byRank)
    const items: Array<Seen> = []
    let waiting: Array<Hit> = []
    let isEnd = false
    let looked = 0
    let last: Hit | undefined
    for (;;) {
      const wanted = Math.min(step, Math.max(enough - items.length, 1))
      while (!isEnd && waiting.length < wanted) {
        const more = yield* next(wanted)
        if (more.length === 0) isEnd = true
        waiting.push(...more.filter(({ id }) => !newer.ids.has(id) && allowed?.has(id) !== false))
      }
      const hits = waiting.slice(0, wanted)
      waiting = waiting.slice(hits.length)
      // What is newer comes in between.
      const border = isEnd && waiting.length === 0 ? undefined : hits.at(-1)
      const between = extra.filter((one) => border === undefined || byRank(one, border) < 0)
      extra.splice(0, between.length)
      if (hits.length === 0 && between.length === 0) break
      looked += hits.length
      const documents =
        hits.length === 0
          ? []
          : yield* read(
              hits.map(({ id }) => id),
              { where, predicate }
            )
      const found = new Map(judged(documents, prepared, statistics).map((one) => [one.id, one]))
      const order = [...hits, ...between].sort(byRank)
      let isFull = false
      for (const [i, hit] of order.entries()) {
        const one = between.find((other) => other === hit) ?? found.get(hit.id)
        last = hit
        if (one !== undefined) items.push(one)
        if (items.length >= enough) {
          isFull = i < order.length - 1 || !isEnd || waiting.length > 0 || extra.length > 0
          break
        }
      }
      if (items.length >= enough) {
        return { items, last: isFull ? last : undefined, looked, basis, position: newer.position }
      }
      if (looked >= most) return { items, last, looked, basis, position: newer.position }
    }
    return { items, last: undefined, looked, basis, position: newer.position }
  })

  const excerptOf = (tokens: ReadonlyArray<analysis.Token>, text: string): Highlight => {
    const around = 80
    const most = 200
    const first = tokens[0]!
    const start = first.start <= around ? 0 : Math.max(0, boundary(text, first.start - around))
    const end = boundary(text, Math.min(text.length, start + most))
    const ranges = tokens
      .filter((token) => token.start < end)
      .map((token) => ({ start: token.start - start, end: Math.min(token.end, end) - start }))
    return { text: text.slice(start, end), ranges }
  }

  const highlightsOf = ({ document, tokens }: Seen, { node }: Prepared): { readonly [K in Field]?: Highlight } => {
    const leaves = queries.findingIn(node)
    const all = fields.flatMap(({ name, path }, i) => {
      const meant = tokens[i]!.filter(queries.meantIn(leaves, i))
      if (meant.length === 0) return []
      return [[name, excerptOf(meant, terms.textsOf(valueAt(document, path)).join(terms.separator))] as const]
    })
    return Object.fromEntries(all) as { readonly [K in Field]?: Highlight }
  }

  const identityOf = ({ consistent, predicate, where, within }: Partial<SearchRequest<R, Field>>) => [
    consistent === true,
    predicate,
    where,
    within
  ]

  const search: FullText<R, Field>["search"] = Effect.fn("FullText.search")(function* (request) {
    const prepared = yield* prepare(request, identityOf(request))
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const { basis, items, last, position } = yield* looking(part, prepared, request, prepared.limit, mostLookedAt)
          return {
            items: items.sort(byRank).map((one) => ({
              document: one.document as Resource.DocumentOf<R>,
              score: one.score,
              highlights: request.highlight === true ? highlightsOf(one, prepared) : {}
            })),
            cursor: last === undefined ? undefined : yield* cursorOf(prepared.identity, last, basis),
            position
          }
        })
      )
    )
  })

  const facets: FullText<R, Field>["facets"] = Effect.fn("FullText.facets")(function* <
    const Path extends keyof Resource.DocumentOf<R> & string = never
  >({
    facets: paths = [],
    most = 1_000,
    ...request
  }: Omit<SearchRequest<R, Field>, "cursor" | "highlight" | "limit"> & {
    readonly facets?: ReadonlyArray<Path> | undefined
    readonly most?: number | undefined
  }) {
    if (!isCount(most, 1_000_000)) return yield* invalid("most", "Expected a whole number from 1 to 1,000,000")
    if (!Array.isArray(paths) || paths.some((path) => typeof path !== "string")) {
      return yield* invalid("facets", "Expected names of fields")
    }
    const prepared = yield* prepare(request, identityOf(request))
    // He who may not ask by a field may not count by it.
    const conditions = paths.map((path) => ({ $or: [{ [path]: { exists: true } }, { [path]: { exists: false } }] }))
    const where = [...(request.where === undefined ? [] : [request.where]), ...conditions]
    const asked = { ...request, where: (where.length === 0 ? undefined : { $and: where }) as typeof request.where }
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const { items, last, position } = yield* looking(part, prepared, asked, most, most)
          const counted = paths.map((path) => {
            const counts = new Map<string | number | boolean, number>()
            for (const { document } of items) {
              const value = document[path]
              for (const one of new Set<unknown>(Array.isArray(value) ? value : [value])) {
                if (typeof one === "string" || typeof one === "number" || typeof one === "boolean") {
                  counts.set(one, (counts.get(one) ?? 0) + 1)
                }
              }
            }
            const sorted = [...counts]
              .map(([value, count]) => ({ value, count }))
              .sort((a, b) => b.count - a.count || compareUtf8(String(a.value), String(b.value)))
            return [path, sorted] as const
          })
          return {
            fields: Object.fromEntries(counted) as unknown as Facets<Path>["fields"],
            count: items.length,
            isComplete: last === undefined,
            position
          }
        })
      )
    )
  })

  const suggest: FullText<R, Field>["suggest"] = Effect.fn("FullText.suggest")(function* (
    text,
    { edits, fields: given, limit = 10 } = {}
  ) {
    if (!isCount(limit, 100)) return yield* invalid("limit", "Expected a whole number from 1 to 100")
    const numbers = chosenFields(given)
    if (numbers instanceof InvalidFullText) return yield* numbers
    const query = edits === undefined ? { prefix: text } : { fuzzy: text, edits }
    const compiled = queries.compile(query, fields, "any", numbers)
    if (compiled instanceof queries.Problem) return yield* invalid("text", compiled.problem)
    // The last word is the one that is completed.
    const leaf = queries.leavesOf(compiled).findLast(({ _tag }) => _tag === "Prefix" || _tag === "Fuzzy")
    yield* read([])
    if (leaf === undefined) return []
    return yield* kept(
      withLive(
        Effect.fnUntraced(function* (part) {
          const words = yield* lookup.wordsLike(blocks, part, leaf)
          const shown: Array<string> = []
          // He who may see few of the documents is no reason to read all of them.
          let left = mostLookedAt
          for (const { fields: own, key } of words) {
            if (shown.length >= limit || left <= 0) break
            const node: queries.Node = { _tag: "Leaf", leaf: { _tag: "Term", wanted: [{ key, fields: own }] } }
            const prepared = { node, leaves: [node.leaf], identity: "", limit, after: undefined }
            const { items, looked } = yield* looking(part, prepared, {}, 1, Math.min(left, mostForWord))
            left -= looked
            const [one] = items
            if (one === undefined) continue
            const spelled = own
              .flatMap((field) => one.tokens[field]!.map((token) => ({ field, token })))
              .find(({ token }) => (key.startsWith("w") ? [token.word] : token.terms).includes(key.slice(1)))
            if (spelled === undefined) continue
            const value = terms.textsOf(valueAt(one.document, fields[spelled.field]!.path)).join(terms.separator)
            const word = value.slice(spelled.token.start, spelled.token.end).toLowerCase()
            if (!shown.includes(word)) shown.push(word)
          }
          return shown
        })
      )
    )
  })

  const status: FullText<R, Field>["status"] = kept(
    Effect.gen(function* () {
      const { building, live } = yield* current(true)
      const { next } = yield* journal.status
      const segments = live?.segments ?? []
      return {
        position: live?.position ?? 0,
        journal: next,
        documents: live?.documents ?? 0,
        segments: segments.length,
        bytes: segments.reduce((sum, { size }) => sum + size, 0),
        building: building && { documents: building.documents, position: building.position }
      }
    })
  )

  const update = kept(updated)

  const verify: FullText<R, Field>["verify"] = verifying
    .verify<manifests.Part, terms.Worded, ListError, LookupError | ListError | Inner>({
      source,
      updated,
      withLive,
      newerThan,
      locate: growth.locate,
      idsOf: ({ segments }) =>
        Stream.fromIterable(segments).pipe(
          Stream.flatMap(({ documents, key }) =>
            Stream.mapEffect(Stream.fromIterable(documents), (block) =>
              Effect.map(blocks.read(key, [block], segmentFile.documentsOf), (found) =>
                found.flat().map(({ id }) => id)
              )
            )
          ),
          Stream.flattenIterable
        ),
      check: Effect.fnUntraced(function* ({ segments }) {
        for (const { key, list, terms } of segments) {
          for (const block of terms) {
            yield* blocks.read(key, [block], (one, payload) => segmentFile.termsOf(one, payload))
          }
          for (const block of list) yield* blocks.read(key, [block], segmentFile.listOf)
        }
      })
    })
    .pipe(Stream.mapError(toldOf))

  return {
    resource: name,
    fields: fields.map((one) => one.name as Field),
    search,
    facets,
    suggest,
    lookup: lookedUp,
    status,
    caughtUp: kept(caughtUp),
    update,
    rebuild: kept(rebuilt),
    verify,
    compact: kept(indexer.compact),
    removeOthers: DbError.named(
      "FullText.removeOthers",
      name
    )(deleteAll(store, folder, (key) => !key.startsWith(`${prefix}/`)))
  }
})

/** How many documents are looked at to show a word. */
const mostForWord = 30

/** The end of the word that is at a place, or the place itself where none ends nearby. */
const boundary = (text: string, at: number): number => {
  const most = Math.min(text.length, at + 20)
  for (let i = Math.max(0, at); i < most; i++) if (/\s/u.test(text[i]!)) return i
  // Not within a character.
  return at < text.length && /[\uDC00-\uDFFF]/.test(text[at]!) ? at - 1 : at
}
