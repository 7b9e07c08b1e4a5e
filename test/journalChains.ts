/** What the entries of a journal say of a document, as long as nobody has journaled any of them. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Database } from "effect-s3db/Database"

/**
 * The kinds of the writes that have led to what is there now, the oldest first, by the entries that are in the store: each version,
 * and what each deletion has left, has to have one, down to where there was nothing.
 */
export const chainOf = Effect.fnUntraced(function* (
  { journal, journaled }: Pick<Database["Service"], "journal" | "journaled">,
  resource: string,
  id: string
) {
  const all = yield* Stream.runCollect(journal.pending)
  const entries = new Map(all.map((one) => [one.writeId, one]))
  const problems: Array<string> = []
  if (entries.size < all.length) problems.push("two entries have one write id")
  const kinds: Array<string> = []
  let { identity } = yield* journaled.head(resource, id)
  while (identity !== undefined) {
    const entry = entries.get(identity)
    if (entry === undefined) {
      problems.push(`${identity} has no entry`)
      break
    }
    if (entry.document !== undefined && (entry.document.resource !== resource || entry.document.id !== id)) {
      problems.push(`the entry of ${identity} is of another document`)
    }
    kinds.unshift(entry.kind)
    entries.delete(identity)
    identity = entry.previous
  }
  const others = [...entries.values()].filter(({ document }) => document?.resource === resource && document.id === id)
  return { kinds, problems, others: others.length }
})
