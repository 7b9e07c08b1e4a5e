/**
 * What becomes of the entries of the pending set, from two listings of it and what is known of documents. Pure.
 *
 * The rules and their proof: `docs/design/journal.md`.
 */
import type { Pending } from "./journalEntry.ts"

/** What is at the key of a document, as one read has found it. */
export interface Head {
  /** Of the version or the tombstone that counts; `undefined` where there is none. */
  readonly identity: string | undefined
  /** Write ids that it was built upon, in any order, beside others that no entry has. */
  readonly ancestors: ReadonlyArray<string>
}

/** By write ids, but for listings. */
export interface Known {
  /** Whether a version is in the log, as far as is known. */
  readonly isJournaled: (writeId: string) => boolean
  /** Whether the writer has told that an entry's write is committed. */
  readonly isCommitted: (entry: Pending) => boolean
  /** A journaled version that has replaced this one, as far as is known. */
  readonly successorOf: (identity: string) => string | undefined
}

/** Heads of documents, by the write ids of entries. */
export interface Heads {
  /** Read after the earlier listing had ended, and before the later one began. */
  readonly between: ReadonlyMap<string, Head>
  /** Read at any other time. */
  readonly now: ReadonlyMap<string, Head>
}

export interface Settled {
  /** In the order of the log. */
  readonly append: ReadonlyArray<Pending>
  /** Never committed. */
  readonly drop: ReadonlyArray<Pending>
  /** In the log already: what is left of them is to be removed. */
  readonly journaled: ReadonlyArray<Pending>
  /** Nobody can tell yet. */
  readonly undecided: ReadonlyArray<Pending>
  /** Committed; one more listing has to tell whether there is something before them. */
  readonly waiting: ReadonlyArray<Pending>
}

const byTime = (a: Pending, b: Pending): number =>
  a.time - b.time || (a.client === b.client ? a.number - b.number : a.client < b.client ? -1 : 1)

/**
 * Settles the entries of the later of two listings; the later one has to begin after the earlier one has ended.
 *
 * **Committed** is a version that its writer tells of, that an entry names as the version before, or that a head is or names.
 * **Dropped** is one that is not committed and whose predecessor has another successor, or was not the head any more between the
 * listings. **Appended** is what is committed and all of whose predecessors are in the log, or go before it now.
 */
export const settle = (
  earlier: ReadonlyArray<Pending>,
  later: ReadonlyArray<Pending>,
  known: Known,
  { between, now }: Heads
): Settled => {
  const entries = new Map<string, Pending>()
  for (const entry of later) if (!entries.has(entry.writeId)) entries.set(entry.writeId, entry)
  const wasThere = new Set(earlier.map(({ writeId }) => writeId))
  const named = new Set<string>()
  for (const { previous } of [...earlier, ...later]) if (previous !== undefined) named.add(previous)
  for (const heads of [between, now]) {
    for (const { ancestors, identity } of heads.values()) {
      if (identity !== undefined) named.add(identity)
      for (const one of ancestors) named.add(one)
    }
  }
  const isCommitted = (entry: Pending) => named.has(entry.writeId) || known.isCommitted(entry)

  const journaled = later.filter(({ writeId }) => known.isJournaled(writeId))
  const open = [...entries.values()].filter(({ writeId }) => !known.isJournaled(writeId)).toSorted(byTime)
  const committed = open.filter(isCommitted)

  /** The committed successor of a version. */
  const successors = new Map<string, string>()
  for (const { previous, writeId } of [...committed, ...journaled]) {
    if (previous !== undefined) successors.set(previous, writeId)
  }

  /** Whether it can be said that an entry's write is not committed, and never will be. */
  const isRefused = ({ previous, writeId }: Pending): boolean => {
    // Whether an insert may yet arrive nobody can tell.
    if (previous === undefined) return false
    const successor = successors.get(previous) ?? known.successorOf(previous)
    if (successor !== undefined) return successor !== writeId
    const head = wasThere.has(writeId) ? between.get(writeId) : undefined
    return head !== undefined && head.identity !== previous
  }

  // An entry that was put before the earlier listing ended, and with it all that it was built upon.
  const previousOf = new Map([...earlier, ...later].map(({ previous, writeId }) => [writeId, previous]))
  const isOld = new Set<string>()
  for (const { writeId } of earlier) {
    for (let at: string | undefined = writeId; at !== undefined && !isOld.has(at); at = previousOf.get(at))
      isOld.add(at)
  }

  const append: Array<Pending> = []
  const waiting: Array<Pending> = []
  /** Whether an entry goes, or has to wait; `undefined` while it is being found out, in which nobody but a forger leads. */
  const goes = new Map<string, boolean | undefined>()

  /** Whether nothing is before an entry that is not in the log, or goes before it. */
  const isNext = ({ previous, writeId }: Pending): boolean => {
    if (previous === undefined || known.isJournaled(previous)) return true
    return entries.has(previous) ? goes.get(previous) === true : isOld.has(writeId)
  }

  for (const entry of committed) {
    const chain: Array<Pending> = []
    for (let one: Pending | undefined = entry; one !== undefined && !goes.has(one.writeId);) {
      goes.set(one.writeId, undefined)
      chain.push(one)
      one = one.previous === undefined || known.isJournaled(one.previous) ? undefined : entries.get(one.previous)
    }
    for (const one of chain.toReversed()) {
      const mayGo = isNext(one)
      goes.set(one.writeId, mayGo)
      ;(mayGo ? append : waiting).push(one)
    }
  }

  const others = open.filter((entry) => !isCommitted(entry))
  const drop = others.filter(isRefused)
  const refused = new Set(drop)
  return { append, drop, journaled, undecided: others.filter((entry) => !refused.has(entry)), waiting }
}
