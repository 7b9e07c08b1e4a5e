/**
 * Binary content of documents: written before the document points to it, read along its reference.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Content from "../Content.ts"
import type * as DbError from "../DbError.ts"
import type * as Document from "../Document.ts"
import type { Failure } from "../DbError.ts"
import type { OnCommit } from "./commits.ts"
import type { Base, Context } from "./context.ts"
import { dropMarkers } from "./documentObject.ts"
import type { Preparation } from "./prepare.ts"
import type { Reader, ReadFailure } from "./read.ts"
import type { Writing } from "./write.ts"
import type { WriteFailure } from "./writer.ts"

/**
 * Binary content of the documents of a resource, outside of transactions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Contents<A> {
  /**
   * Gives a document content in the place of what it had. 1 GET, 1 PUT for each 8 MiB, then 1 GET and 1 PUT. What has been
   * written is removed when the bytes fail. `NotFound`, `Conflict`; `InvalidInput`: the content type.
   */
  readonly set: <E, R>(
    id: string,
    bytes: Stream.Stream<Uint8Array, E, R>,
    contentType: string,
    onCommit: OnCommit<A>
  ) => Effect.Effect<Base<A>, DbError.NotFound | DbError.Conflict | WriteFailure | E, R>
  /**
   * The content of a document, or a range of it, absence being `None`. 1 GET, and 1 for each 8 MiB as it is drawn.
   * `NotFound`; `InvalidInput`: the range begins past the end, or ends before it begins.
   */
  readonly get: (
    id: string,
    range: Content.Range | undefined
  ) => Effect.Effect<Option.Option<Content.Content<Failure>>, DbError.NotFound | DbError.InvalidInput | ReadFailure>
  /** Removes the content of a document, if it has any. 1 GET; 1 GET and 1 PUT more, and what removes it. `NotFound`. */
  readonly remove: (
    id: string,
    onCommit: OnCommit<A>
  ) => Effect.Effect<void, DbError.NotFound | DbError.Conflict | WriteFailure>
}

/**
 * Makes the contents of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(
  context: Context<A>,
  {
    preparation,
    reader,
    writing
  }: {
    readonly preparation: Preparation<A>
    readonly reader: Reader<A>
    readonly writing: Writing<A>
  }
): Contents<A> => {
  const { invalid, missing, name, place, store } = context

  /** Points a document to another content, or to none. */
  const point = Effect.fnUntraced(function* (
    id: string,
    content: Document.ContentRef | undefined,
    onCommit: OnCommit<A>
  ) {
    const next = Effect.fnUntraced(function* (before: Base<A>) {
      const prepared = yield* preparation.prepare(before.value, before)
      const { content: _, ...write } = prepared.write
      return { ...prepared, write: content === undefined ? write : { ...write, content } }
    })
    // There always is a next version.
    return (yield* writing.revise(id, next, onCommit))!
  })

  const check = (range: Content.Range | undefined, size: number) => {
    const { end, start } = range ?? { start: 0 }
    if (range === undefined) return Effect.void
    if (!(Number.isSafeInteger(start) && start >= 0 && start < Math.max(1, size))) {
      return Effect.fail(invalid(["range", "start"], `Expected an integer from 0 to below ${size}`))
    }
    if (end !== undefined && !(Number.isSafeInteger(end) && end >= start)) {
      const message = `Expected an integer from ${start}, or nothing for all the rest`
      return Effect.fail(invalid(["range", "end"], message))
    }
    return Effect.void
  }

  return {
    set: Effect.fnUntraced(function* (id, bytes, contentType, onCommit) {
      yield* context.key(id)
      // It becomes a header wherever it is served.
      if (!/^(?! )[\x20-\x7e]{1,255}(?<! )$/.test(contentType)) {
        return yield* invalid(["contentType"], "Expected 1 to 255 printable ASCII characters without outer spaces")
      }
      // Nothing is uploaded for a document that is not there.
      yield* reader.loadSettled(id)
      const content = yield* Content.write(store, name, id, bytes, contentType)
      const drop = dropMarkers(place, Content.keysOf(name, id, content))
      return yield* Effect.tapError(point(id, content, onCommit), (error) =>
        "outcome" in error && error.outcome === "unknown" ? Effect.void : drop
      )
    }),
    get: Effect.fnUntraced(function* (id, range) {
      const stored = yield* reader.seen(id)
      if (stored === undefined) return yield* missing(id)
      const ref = stored.content
      if (ref === undefined) return Option.none()
      yield* check(range, ref.size)
      const { contentType, size, sha256 } = ref
      return Option.some({ contentType, size, sha256, bytes: Content.read(store, name, id, ref, range) })
    }),
    remove: Effect.fnUntraced(function* (id, onCommit) {
      const stored = yield* reader.stored(id)
      if (stored === undefined) return yield* missing(id)
      if (stored.content !== undefined) yield* point(id, undefined, onCommit)
    })
  }
}
