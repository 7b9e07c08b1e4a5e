/**
 * Earlier versions that are not wanted any more.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as DbError from "../DbError.ts"
import type { Documents } from "../document/documents.ts"
import type { Past } from "../document/versions.ts"
import type * as History from "../History.ts"

/**
 * Which versions go: all but the newest `keep`, those replaced `before` a time (milliseconds since the epoch), or both.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pruned {
  readonly keep: number | undefined
  readonly before: number | undefined
}

/** The versions of a document that go. */
const goneOf = ({ entries, now }: Past, { before, keep }: Pruned): ReadonlyArray<History.Entry> => {
  const versions = entries.filter((entry) => !entry.isDeletion)
  const tooMany = new Set(versions.slice(0, keep === undefined ? 0 : Math.max(0, versions.length - keep)))
  // A version was replaced when the one after it was written.
  const isOld = (i: number) =>
    before !== undefined && (entries[i + 1]?.writtenAt ?? now?.stored.writtenAt ?? Number.POSITIVE_INFINITY) < before
  const isKept = (entry: History.Entry, i: number) => !entry.isDeletion && !tooMany.has(entry) && !isOld(i)
  const first = entries.findIndex(isKept)
  // When a document was deleted says nothing any more once no version before that is left.
  const isLeft = (entry: History.Entry, i: number) => isKept(entry, i) || (entry.isDeletion && first >= 0 && first < i)
  return entries.filter((entry, i) => !isLeft(entry, i))
}

/**
 * Makes what removes earlier versions, and tells of each document from which something was removed. One LIST for each 1,000,
 * and for each document 1 GET, 1 LIST and 1 DeleteObjects.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>({ context, versions }: Documents<A>) => {
  const { invalid, store } = context
  return (
    pruned: Pruned
  ): Stream.Stream<{ readonly id: string; readonly removed: number }, DbError.InvalidInput | DbError.Failure> => {
    const prune = Effect.fnUntraced(function* (id: string) {
      const keys = goneOf(yield* versions.past(id), pruned).map((entry) => entry.key)
      if (keys.length === 0) return { id, removed: 0 }
      const { failed } = yield* store.deleteMany(keys, { repeatable: true })
      return failed.length > 0 ? yield* Effect.fail(failed[0]!.reason) : { id, removed: keys.length }
    })
    const { before, keep } = pruned
    if (keep !== undefined && !(Number.isSafeInteger(keep) && keep >= 0)) {
      return Stream.fail(invalid(["keep"], "Expected an integer of 0 or more"))
    }
    if (keep === undefined && before === undefined) return Stream.fail(invalid([], "Expected keep, before, or both"))
    return versions.all.pipe(
      Stream.map((entry) => entry.id),
      Stream.changes,
      Stream.mapEffect(prune),
      Stream.filter(({ removed }) => removed > 0)
    )
  }
}
