/** What a journaler remembers: which versions are in the log, and which writes their clients have told to be committed. Pure. */
import type { Pending } from "./journalEntry.ts"
import type { Known } from "./journalSettling.ts"

/** Names a version that is in the log. */
export interface Version {
  readonly writeId: string
  readonly previous?: string | undefined
}

export interface Memory extends Known {
  /** Forgets what is in the log, and begins anew with the versions that may still have entries. */
  readonly begin: (versions: ReadonlyArray<Version>) => void
  /** Takes note of what has been appended. */
  readonly appended: (versions: ReadonlyArray<Version>) => void
  /** After a round: the oldest may be forgotten. `isRemoved`: no entry is left of what is in the log. */
  readonly tidy: (isRemoved: boolean) => void
  /** Takes note of what entries tell of other entries. */
  readonly hear: (entries: ReadonlyArray<Pending>) => void
}

/** How many versions are remembered whose entries are gone: so many writes ago an entry may come twice, and is known. */
const mostVersions = 20_000

/** How many clients are remembered, and of each how many numbers. */
const mostClients = 1_000
const mostNumbers = 2_000

/** Removes the oldest keys until there are no more than so many. */
const shorten = <K>(
  map: { readonly size: number; keys(): Iterable<K>; delete(key: K): unknown },
  most: number
): void => {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

/** `isOurs`: whether this process, as a client, knows that a write is committed. */
export const make = (isOurs: (writeId: string) => boolean = () => false): Memory => {
  const versions = new Map<string, string | undefined>()
  const successors = new Map<string, string>()
  const acknowledged = new Map<string, Set<number>>()

  const appended: Memory["appended"] = (more) => {
    for (const { previous, writeId } of more) {
      versions.set(writeId, previous)
      if (previous !== undefined) successors.set(previous, writeId)
    }
  }

  return {
    isJournaled: (writeId) => versions.has(writeId),
    isCommitted: ({ client, number, writeId }) => isOurs(writeId) || acknowledged.get(client)?.has(number) === true,
    successorOf: (identity) => successors.get(identity),
    begin: (first) => {
      versions.clear()
      successors.clear()
      appended(first)
    },
    appended,
    tidy: (isRemoved) => {
      if (isRemoved) {
        shorten(versions, mostVersions)
        shorten(successors, mostVersions)
      }
      shorten(acknowledged, mostClients)
      for (const numbers of acknowledged.values()) shorten(numbers, mostNumbers)
    },
    hear: (entries) => {
      for (const { acknowledged: numbers, client } of entries) {
        if (numbers.length === 0) continue
        const known = acknowledged.get(client) ?? new Set()
        acknowledged.delete(client)
        acknowledged.set(client, known)
        for (const number of numbers) known.add(number)
      }
    }
  }
}
