/**
 * What writes have done, for those who are told of it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Document from "../Document.ts"
import type { Base } from "./context.ts"

/**
 * What a deletion has found: `isKnown` is `false` where nobody looked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removal {
  readonly isKnown: boolean
  readonly stored: Document.Stored | undefined
}

/**
 * What a write has done: what was there, and what is there now, which is nothing after a deletion.
 *
 * @category models
 * @since 0.1.0
 */
export interface Commit<A> extends Removal {
  readonly id: string
  /** The write id of a deletion that has been given one; that of a version is in `after`. */
  readonly writeId?: string | undefined
  readonly after: Base<A> | undefined
}

/**
 * Runs as soon as the store has a write, or a transaction has taken it up: before what it has left behind is removed, and
 * without being interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export type OnCommit<A> = (commit: Commit<A>) => Effect.Effect<void>
