/**
 * Objects that are created once: of all who create one at a key, one does, and the others get what it has put there.
 *
 * ```ts
 * import * as CreateOnce from "effect-s3db/kernel/CreateOnce"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Schema } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const answers = CreateOnce.make(yield* ObjectStore, { schema: Schema.String, what: "an answer" })
 *   const outcome = yield* answers.create("plugin=p/request=7", "paid")
 *   // What was answered first is the answer.
 *   return outcome._tag === "Created" ? "paid" : outcome.value
 * })
 * ```
 *
 * **Details**
 *
 * A PUT under the condition that nothing is there. The body holds the id of the write: who is refused, or has no answer,
 * reads it and knows whether it was itself.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { ETag, ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"

/**
 * What the objects hold.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  readonly schema: Schema.Codec<A, I>
  /** What it is, for errors: `an answer`. */
  readonly what: string
}

/**
 * What came of a creation: done, or somebody was first, whose value it is.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<A> =
  | { readonly _tag: "Created"; readonly etag: ETag }
  | { readonly _tag: "AlreadyExists"; readonly value: A; readonly etag: ETag }

/**
 * Objects that are created once, at any keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface CreateOnce<A> {
  /**
   * Creates the object at a key, if none is there. 1 PUT; 1 GET more when one is there, or an answer was lost.
   *
   * `Created` is told to one, also when its answer was lost. When it cannot be told, it fails with what the store said to
   * the PUT: an error with the outcome `"unknown"`. Create it again then: the
   * answer may be `AlreadyExists` with one's own value. `InvalidArgument`: the value is none of the schema's. `Corrupt`,
   * `Unsupported`: what is there cannot be read.
   */
  readonly create: (key: string, value: A) => Effect.Effect<Outcome<A>, StoreError.StoreError>
  /** Reads the object at a key. 1 GET. */
  readonly read: (key: string) => Effect.Effect<Option.Option<A>, StoreError.StoreError>
}

/** How often a creation is made again that was refused by an object that was gone when it was read. */
const retries = 40

/**
 * Creates objects on a store that honours conditional writes. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(store: ObjectStore["Service"], { schema, what }: Options<A, I>): CreateOnce<A> => {
  // An object has one write. Room for a second tells that none has been forgotten.
  const format = CasCell.schemaFormat(schema, { what, remembered: 2 })

  const create = Effect.fnUntraced(function* (key: string, value: A) {
    const cell = CasCell.make(store, key, format)
    const attempt = Effect.fnUntraced(function* (): Effect.fn.Return<
      Outcome<A> | CasCell.Lost<CasCell.Refusal<A>>,
      StoreError.StoreError
    > {
      const written = yield* cell.attempt(() => Effect.succeed(value), CasCell.absent)
      if (!CasCell.isLost(written)) return { _tag: "Created", etag: written.etag ?? "" }
      const { etag, value: there } = written.seen.now
      return etag === undefined || there === undefined ? written : { _tag: "AlreadyExists", value: there, etag }
    })
    return yield* CasCell.contend(attempt, { retries, exhausted: ({ error }) => Effect.fail(error) })
  })

  return {
    create,
    read: (key) => Effect.map(CasCell.make(store, key, format).read, ({ value }) => Option.fromUndefinedOr(value))
  }
}
