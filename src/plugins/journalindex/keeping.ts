/**
 * What every index has that is made of the journal: how it is kept, and what can be done with it.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as DbError from "../../DbError.ts"

/**
 * The options of keeping an index that is made of the journal, which `FullText` and `VectorIndex` have alike.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keeping {
  /** Whether this process keeps the index when no other one does. Default `true`. */
  readonly indexes?: boolean | undefined
  /** The pause after the index has caught up with the journal, from 1 ms; it doubles as long as nothing comes. Default: 1 second. */
  readonly firstPause?: Duration.Input | undefined
  /** The longest pause, from 1 ms. Default: 1 minute. */
  readonly longestPause?: Duration.Input | undefined
  /** The lease under which one process keeps the index, from 100 ms to 1 day. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
  /** How old what this process knows of the manifest may be; what it has waited for itself is known at once. Default: 1 second. */
  readonly maxAge?: Duration.Input | undefined
  /** How many bytes of the index are kept in memory for those who ask, from 0. Default: 64 MiB. */
  readonly cacheBytes?: number | undefined
  /**
   * How large objects of the index grow. Of words: 64 MiB, from 1 MiB, of which three times as much is in memory while segments are put together. Of vectors: 32 MiB, from 64 KiB, of which four
   * times as much is in memory while lists are made.
   */
  readonly objectBytes?: number | undefined
}

/**
 * What an index is like.
 *
 * @category models
 * @since 0.1.0
 */
export interface Status {
  /** All records of the journal before this position are in the index. */
  readonly position: number
  /** The position of the next record of the journal. */
  readonly journal: number
  readonly documents: number
  readonly segments: number
  /** Of all segments. */
  readonly bytes: number
  /** What is being built to take its place. */
  readonly building: { readonly documents: number; readonly position: number } | undefined
}

/**
 * A document that the index has not as it is: it is missing, is otherwise there, or is not there any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Finding {
  readonly id: string
  readonly problem: "missing" | "different" | "gone"
}

/**
 * What can be done with an index, whatever it is of.
 *
 * @category services
 * @since 0.1.0
 */
export interface Kept<out S extends Status, out LookupError, out SearchError> {
  /** 2 GET. */
  readonly status: Effect.Effect<S, LookupError>
  /**
   * Waits until all that the journal has now is in the index, whichever process does that. What waits in `journal.pending` is not in the
   * journal yet, and is not waited for. 1 GET, and 1 GET for each look, after pauses from 100 ms to 10 seconds.
   */
  readonly caughtUp: Effect.Effect<void, LookupError>
  /**
   * Puts into the index what the journal has, all documents the first time, and ends; or waits until another process that has the lease has done it. For each step (1,000 documents of words, 4,096 of vectors or 8 MiB
   * of these) 1 PUT of a segment, 1 PUT of the manifest, the requests of reading the journal, and 1 GET for each document.
   */
  readonly update: Effect.Effect<void, SearchError>
  /** Makes all of the index anew from the documents, and waits until that answers. What there is answers meanwhile. It goes on in any process after a crash. */
  readonly rebuild: Effect.Effect<void, SearchError>
  /**
   * Compares the index with the documents, after an `update`: reads all that the index has, and every document. Damage is an error. What changes meanwhile is looked
   * at again.
   */
  readonly verify: Stream.Stream<Finding, SearchError>
  /** Puts all segments together, those of words as far as `objectBytes` allows. Waits for the lease, where another process has it. */
  readonly compact: Effect.Effect<void, SearchError>
  /**
   * Removes the indexes of this resource that were declared otherwise (of words: with other fields or analysers; of vectors: with another field, metric, storage or number of dimensions), and gives the number of objects. Not
   * while programs with such a declaration run. 1 LIST and 1 DeleteObjects for each 1,000 objects.
   */
  readonly removeOthers: Effect.Effect<number, DbError.DbError>
}
