/**
 * Vectors of texts: a model makes a vector of the texts of each document that is written, and puts it into the document.
 *
 * ```ts
 * import * as Embedding from "effect-s3db/plugins/Embedding"
 * import * as Resource from "effect-s3db/Resource"
 * import * as Attribute from "effect-s3db/schema/Attribute"
 * import { Schema } from "effect"
 *
 * class Articles extends Resource.Service<Articles>()("app/articles", {
 *   schema: Schema.Struct({
 *     id: Schema.String,
 *     title: Schema.String,
 *     embedding: Schema.optionalKey(Attribute.Embedding(384, { format: "int8" })),
 *     embeddedOf: Schema.optionalKey(Schema.String)
 *   }),
 *   primaryKey: "id",
 *   journal: true
 * }) {}
 *
 * class ArticleEmbeddings extends Embedding.Service<ArticleEmbeddings>()("app/ArticleEmbeddings", {
 *   resource: Articles,
 *   from: ["title"],
 *   to: "embedding",
 *   stamp: "embeddedOf"
 * }) {}
 * ```
 *
 * **Details**
 *
 * The model is `EmbeddingModel` of `effect/ai`; none is shipped. It is asked after a write, by a consumer of the journal: writes wait for no model, and of all processes with the layer one works, by a lease, and another goes on where it was.
 *
 * The vector is written together with the `stamp`, which says of which text and which `model` it is: a document whose stamp is that of its text is left alone, so nothing is made twice, whatever crashed when. It is written on the version that was read: one that was changed meanwhile comes again.
 *
 * **Gotchas**
 *
 * Texts go to whoever runs the model: a field that is secret is refused. Somebody has to keep the journal: see `Journaler`.
 *
 * @see `docs/guide/vector.md`
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import * as Guard from "../Guard.ts"
import { encodeBase64 } from "../internal/base64.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { valueAt } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import * as Consumer from "../kernel/Consumer.ts"
import * as Journal from "../kernel/Journal.ts"
import * as Plugin from "../Plugin.ts"
import type * as PluginRegistry from "../PluginRegistry.ts"
import type * as Query from "../Query.ts"
import type { ChangeError, ListError, ReadError } from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attributes from "../schema/Attributes.ts"
import * as StoreError from "../storage/StoreError.ts"
import type { TextField } from "./FullText.ts"
import type { VectorField } from "./Vector.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A declaration of embeddings that cannot be. Nothing was read or written. `field` says which part of it, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidEmbedding extends ExpectedError<InvalidEmbedding>("effect-s3db/plugins/Embedding/InvalidEmbedding")(
  "InvalidEmbedding",
  { resource: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `embeddings of ${JSON.stringify(this.resource)}, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidEmbedding | Plugin.InvalidPlugin | DbError.DbError

/**
 * The errors of making vectors of documents.
 *
 * @category errors
 * @since 0.1.0
 */
export type EmbedError = AiError.AiError | ListError | ReadError | ChangeError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The names of the fields at the top of a document that are texts.
 *
 * @category models
 * @since 0.1.0
 */
export type StampField<A> = {
  readonly [K in keyof A & string]-?: [NonNullable<A[K]>] extends [string] ? K : never
}[keyof A & string]

/**
 * The options of embeddings.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<R extends Resource.Any> extends Plugin.Options {
  /** It has to be declared with the option `journal`. */
  readonly resource: R
  /** The fields whose texts become the vector, one line for each. */
  readonly from: ReadonlyArray<TextField<Resource.DocumentOf<R>>>
  /** The field of the vector. */
  readonly to: VectorField<Resource.DocumentOf<R>>
  /** A field for a text of 24 letters, which says what the vector was made of. Nobody else should write it. */
  readonly stamp: StampField<Resource.DocumentOf<R>>
  /** Names the model: with another name every vector is made anew, by `embedAll` and as documents are written. Default: none. */
  readonly model?: string | undefined
  /** How many texts the model is given at once, 1 to 1,000. Default 100. */
  readonly batchSize?: number | undefined
  /** How often a document is tried that the model refuses. Default 5; then it is in `failed`. */
  readonly attempts?: number | undefined
  /** Whether this process makes vectors when no other one does. Default `true`. */
  readonly embeds?: boolean | undefined
  /** The pause after everything was done; it doubles as long as nothing comes. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest pause. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** The lease under which one process works. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
}

/**
 * What was done with documents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Embedded {
  /** They have a new vector. */
  readonly embedded: number
  /** The model refuses their text, or the resource the vector that it makes: each is told in the log. */
  readonly refused: number
  /** Their vector is that of their text already, they have no text, or they were changed or deleted meanwhile. */
  readonly left: number
}

/**
 * Vectors of texts.
 *
 * @category services
 * @since 0.1.0
 */
export interface Embeddings {
  /** The vector of a text, such as of a question, for a search. No request to the store. */
  readonly vectorOf: (text: string) => Effect.Effect<ReadonlyArray<number>, AiError.AiError>
  /**
   * Waits until all that the journal has now was looked at, whichever process does that. What waits in `journal.pending` is not in the journal yet. `Consumer.waitUntil` tells its requests and errors.
   */
  readonly caughtUp: Effect.Effect<void, Consumer.ConsumeError>
  /**
   * Looks at every document, such as after `model` was changed. 1 LIST for each 1,000, 1 GET for each, and for those without a vector of their text 1 PUT. What it has done stays done: run it again to go on.
   */
  readonly embedAll: Effect.Effect<Embedded, EmbedError>
  /** What was given up: an entry of the journal, with what the model said last. */
  readonly failed: Stream.Stream<Consumer.DeadLetter<Journal.Record>, StoreError.StoreError>
  /** Tries once more what was given up. Requests: those of `Consumer.redrive`. */
  readonly retryFailed: Effect.Effect<Consumer.Redriven, StoreError.StoreError>
}

/**
 * A class that is the service of embeddings and carries its layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<
  in out Self,
  in out Id extends string,
  R extends Resource.Any
> extends Plugin.ServiceClass<
  Self,
  Id,
  Embeddings,
  LayerError,
  Database | EmbeddingModel.EmbeddingModel | Resource.SelfOf<R>
> {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("embedding", { version: 1 })

/**
 * Declares the embeddings of a resource as a service. No check before the layer is built.
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

type Values = Readonly<Record<string, unknown>>
type Read = Document.Document<Values>

interface AnyRepository {
  readonly getDocument: (id: string) => Effect.Effect<Read, DbError.NotFound | ReadError>
  readonly scanDocuments: (options: Query.OnCorrupt) => Stream.Stream<Read, ListError>
  readonly update: (target: Read, change: Values) => Effect.Effect<Values, ChangeError>
}

/** Those that say something of the texts, and not of the model or of who asks it. */
const ofTexts: ReadonlySet<string> = new Set([
  "ContentPolicyError",
  "InvalidRequestError",
  "InvalidUserInputError"
] satisfies ReadonlyArray<AiError.AiError["reason"]["_tag"]>)

const isAiError = (error: unknown): error is AiError.AiError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "AiError"

const isRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "isRetryable" in error && error.isRetryable === true

const textsOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : Array.isArray(value) ? value.filter((one) => typeof one === "string") : []

/**
 * Opens the embeddings of a resource until the scope closes, and makes vectors unless `embeds` is `false`: of all documents that are there the first time, then of those that are written. Requests: those of `Plugin.open` and of
 * `Consumer.consume`; for each document that was written 1 GET, and 1 PUT where it has another text. `InvalidEmbedding`: an option is wrong, a field is secret, or the resource has no journal.
 *
 * What the model says of a text (`ContentPolicyError`, `InvalidRequestError`) is tried `attempts` times, by itself; anything else is waited out, with growing pauses. Its health in `Plugin.statuses` is `degraded` meanwhile, with what the model said.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Embedding.make")(function* <R extends Resource.Any>(
  options: Options<R>
): Effect.fn.Return<
  Embeddings,
  LayerError,
  Database | EmbeddingModel.EmbeddingModel | Scope.Scope | Resource.SelfOf<R>
> {
  const { attempts = 5, batchSize = 100, firstPause, lease, longestPause, model = "", resource, stamp, to } = options
  const from: ReadonlyArray<string> = options.from
  const { attributes, name } = resource.definition
  const invalid = (field: string, problem: string) => new InvalidEmbedding({ resource: name, field, problem })
  if (from.length === 0) return yield* invalid("from", "Expected one field at least")
  for (const [option, fields] of [
    ["from", from],
    ["to", [to]],
    ["stamp", [stamp]]
  ] as const) {
    for (const field of fields) {
      const path = field.split(".")
      const hidden = Attributes.hiddenAt(attributes, path)
      if (hidden !== undefined) {
        const what = `${field}, ${Attributes.describeHidden(hidden)}`
        return yield* invalid(
          option,
          `Expected a field that can be shown, not ${what}: texts go to whoever runs the model`
        )
      }
      if (!attributes.some((one) => one.path[0] === path[0]) && field !== resource.definition.primaryKey) {
        return yield* invalid(option, "Expected a field of the resource")
      }
    }
  }
  for (const [option, value, most] of [
    ["batchSize", batchSize, 1_000],
    ["attempts", attempts, Number.MAX_SAFE_INTEGER]
  ] as const) {
    if (!Number.isSafeInteger(value) || value < 1 || value > most) {
      return yield* invalid(option, `Expected a whole number from 1 to ${most.toLocaleString("en-US")}`)
    }
  }
  for (const [option, value] of Object.entries({ firstPause, lease, longestPause })) {
    if (value !== undefined && !(millisecondsOf(value) >= 1 && millisecondsOf(value) < Infinity)) {
      return yield* invalid(option, "Expected a duration from 1 ms")
    }
  }
  const database = yield* Database
  const { journal, store } = database
  const embedding = yield* EmbeddingModel.EmbeddingModel
  const repository = yield* Resource.keyOf<R, AnyRepository>(resource)
  if (database.upkeep(name)?.settings?.journal === undefined) {
    return yield* invalid("resource", "Expected a resource with the option journal, which says what is to be done")
  }
  const self = yield* Plugin.open(plugin, { namespace: options.namespace, name })
  const consumer = Consumer.make(store, {
    source: journal,
    schema: Journal.Record,
    prefix: self.prefix(name).replace(/\/$/, ""),
    name: to,
    start: "end",
    select: (record) => record.resource === name && record.kind !== "delete",
    batchSize,
    attempts,
    // What the model says of a key, a quota or itself is no fault of a document.
    isOutage: (error) => (isAiError(error) ? !ofTexts.has(error.reason._tag) : isRetryable(error)),
    firstPause,
    longestPause,
    lease
  })

  const textOf = (document: Values): string =>
    from
      .flatMap((field) => textsOf(valueAt(document, field.split("."))))
      .filter((text) => text.trim() !== "")
      .join("\n")
  const stampOf = (text: string): string =>
    encodeBase64(sha256(new TextEncoder().encode(JSON.stringify([model, text]))).subarray(0, 18))

  interface Outcome {
    readonly embedded: number
    readonly refused: number
  }

  /** Makes vectors of those that have none of their text; `refuses`: what a document itself has against its vector is told, and no error. */
  const embed = Effect.fnUntraced(function* (documents: ReadonlyArray<Read>, refuses: boolean) {
    const due = documents.flatMap((document) => {
      const text = textOf(document.value)
      const stamped = stampOf(text)
      const isDone = document.value[stamp] === stamped && document.value[to] != null
      return text === "" || isDone ? [] : [{ document, stamped, text }]
    })
    if (due.length === 0) return { embedded: 0, refused: 0 }
    const { embeddings } = yield* embedding.embedMany(due.map(({ text }) => text)).pipe(
      // Of numbers that are none Effect makes a defect.
      Effect.catchDefect(
        (defect) =>
          new AiError.AiError({
            module: "Embedding",
            method: "embedMany",
            reason: new AiError.InvalidRequestError({ description: `the model gave no vector: ${String(defect)}` })
          })
      )
    )
    const outcomes = yield* Effect.forEach(
      due,
      ({ document, stamped }, i) =>
        repository.update(document, { [to]: embeddings[i]!.vector, [stamp]: stamped }).pipe(
          Effect.as("embedded" as const),
          // It was changed, which the journal tells again, or is gone.
          Effect.catchIf(
            ({ _tag }) => _tag === "Conflict" || _tag === "NotFound",
            () => Effect.succeed("left" as const)
          ),
          Effect.catchIf(
            ({ _tag }) => refuses && _tag !== "DbError",
            (error) => Effect.as(tellRefused(document, error), "refused" as const)
          )
        ),
      { concurrency: 8 }
    )
    const count = (kind: string) => outcomes.filter((outcome) => outcome === kind).length
    const outcome: Outcome = { embedded: count("embedded"), refused: count("refused") }
    yield* self.count("embedded", outcome.embedded)
    return outcome
  })

  const tellRefused = ({ id }: Read, { message }: Error) =>
    Effect.logWarning(`no vector is made of document ${JSON.stringify(id)} of ${name}: ${message}`)

  const handle = (entries: ReadonlyArray<Journal.Entry>) =>
    Guard.trusted(
      Effect.gen(function* () {
        const ids = new Set(entries.map(({ value }) => value.id))
        const found = yield* Effect.forEach(
          ids,
          (id) =>
            repository.getDocument(id).pipe(
              Effect.map((document) => [document]),
              Effect.catchTag("NotFound", () => Effect.succeed([]))
            ),
          { concurrency: 8 }
        )
        yield* embed(found.flat(), false)
      })
    )

  /** A text that the model refuses takes none of the others with it. */
  const embedEach = (documents: ReadonlyArray<Read>): Effect.Effect<Outcome, AiError.AiError | ChangeError> =>
    embed(documents, true).pipe(
      Effect.catchIf(
        (error) => isAiError(error) && ofTexts.has(error.reason._tag),
        Effect.fnUntraced(function* (error): Effect.fn.Return<Outcome, AiError.AiError | ChangeError> {
          if (documents.length === 1) {
            yield* tellRefused(documents[0]!, error)
            return { embedded: 0, refused: 1 }
          }
          const middle = documents.length >> 1
          const one = yield* embedEach(documents.slice(0, middle))
          const other = yield* embedEach(documents.slice(middle))
          return { embedded: one.embedded + other.embedded, refused: one.refused + other.refused }
        })
      )
    )

  const embedAll = Guard.trusted(
    Effect.gen(function* () {
      let embedded = 0
      let refused = 0
      let all = 0
      const onCorrupt = ({ id }: Query.Corrupt) =>
        Effect.logWarning(`no vector is made of document ${JSON.stringify(id)} of ${name}: it cannot be read`)
      yield* repository.scanDocuments({ onCorrupt }).pipe(
        Stream.grouped(batchSize),
        Stream.runForEach((documents) =>
          Effect.map(embedEach(documents), (outcome) => {
            embedded += outcome.embedded
            refused += outcome.refused
            all += documents.length
          })
        )
      )
      return { embedded, refused, left: all - embedded - refused }
    })
  )

  const running =
    options.embeds === false ? undefined : yield* consumer.consume(handle, { snapshot: Effect.asVoid(embedAll) })
  const health = Effect.gen(function* (): Effect.fn.Return<PluginRegistry.Health> {
    if (running === undefined) return { level: "up" }
    const { failing, stopped } = yield* running.state
    if (stopped !== undefined) return { level: "down", detail: stopped }
    return failing === undefined ? { level: "up" } : { level: "degraded", detail: failing }
  })
  yield* self.running({ health })

  return {
    vectorOf: Effect.fn("Embedding.vectorOf")(function* (text) {
      return (yield* embedding.embed(text)).vector
    }),
    caughtUp: Effect.flatMap(journal.status, ({ next }) => Effect.asVoid(consumer.waitUntil(next))),
    embedAll: Effect.withSpan(embedAll, "Embedding.embedAll"),
    failed: consumer.deadLetters,
    retryFailed: consumer.redrive(handle)
  }
})
