/**
 * Binary content of a resource's documents, through its interceptors.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Content from "../Content.ts"
import type * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import type { Documents } from "../document/documents.ts"
import { inDoubt } from "../document/forgetting.ts"
import type * as Pipeline from "../Pipeline.ts"
import type { ChangeError, ReadError } from "../Repository.ts"
import * as Transaction from "../Transaction.ts"
import type { Changes } from "./changes.ts"
import type { Operation } from "./operation.ts"
import type { Reading } from "./reading.ts"

/**
 * Binary content of a resource as callers get it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Contents<A> {
  readonly set: <E, R>(
    id: string,
    bytes: Stream.Stream<Uint8Array, E, R>,
    contentType: string
  ) => Effect.Effect<Document.Document<A>, ChangeError | DbError.NotAllowed | E, R>
  readonly get: (
    id: string,
    range: Content.Range | undefined
  ) => Effect.Effect<
    Option.Option<Content.Content<DbError.DbError>>,
    DbError.NotFound | DbError.NotAllowed | DbError.InvalidInput | ReadError
  >
  readonly remove: (id: string) => Effect.Effect<void, ChangeError | DbError.NotAllowed>
}

/**
 * Makes the contents of a resource.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, Insert, Update, Patch>(
  { contents, context }: Documents<A>,
  {
    changes,
    operation,
    pipeline,
    reading
  }: {
    readonly changes: Changes<A>
    readonly operation: Operation
    readonly pipeline: Pipeline.Pipeline<Pipeline.Operations<A, Insert, Update, Patch>>
    readonly reading: Reading<A>
  }
): Contents<A> => {
  const { named, namedStream, refuse } = operation
  const { current, documentOf } = reading

  const isDeclared = context.declared.content
    ? Effect.void
    : refuse("declare the resource with content: true to use it")

  /** What a transaction has no way to take back is refused in one. */
  const isOutside = Effect.flatMap(Transaction.Current, (transaction) =>
    transaction === undefined
      ? Effect.void
      : refuse("content is not part of transactions: write it before, or after the commit")
  )

  return {
    set: Effect.fnUntraced(function* <E, R>(id: string, given: Stream.Stream<Uint8Array, E, R>, contentType: string) {
      const services = yield* Effect.context<R>()
      // Interceptors see a stream that fails in one way; whose error it was is known here.
      const source: { failure: Option.Option<E> } = { failure: Option.none() }
      const bytes = given.pipe(
        Stream.mapError((error) => {
          source.failure = Option.some(error)
          return new Content.SourceFailed()
        }),
        Stream.provideContext(services)
      )
      const input = { id, current: current(id), content: { bytes, contentType } }
      const set = pipeline.run(
        "setContent",
        input,
        Effect.fnUntraced(function* ({ content, id }) {
          yield* isDeclared
          yield* isOutside
          const setting = contents.set(id, content.bytes, content.contentType, changes.onContent("ContentSet"))
          return documentOf(yield* named(inDoubt(context, setting)))
        })
      )
      return yield* Effect.catchTag(set, "SourceFailed", (error) =>
        Option.isSome(source.failure) ? Effect.fail(source.failure.value) : Effect.die(error)
      )
    }),
    get: (id, range) =>
      pipeline.read(
        "getContent",
        { id, current: current(id) },
        Effect.fnUntraced(function* ({ id }) {
          yield* isDeclared
          const name = yield* operation.name
          const found = yield* named(contents.get(id, range))
          return Option.map(found, (content) => ({
            ...content,
            // They are drawn later, and are still of this operation.
            bytes: operation.draw(name)(namedStream(content.bytes))
          }))
        })
      ),
    remove: (id) =>
      pipeline.run(
        "deleteContent",
        { id, current: current(id) },
        Effect.fnUntraced(function* ({ id }) {
          yield* isDeclared
          yield* isOutside
          yield* named(inDoubt(context, contents.remove(id, changes.onContent("ContentDeleted"))))
        })
      )
  }
}
