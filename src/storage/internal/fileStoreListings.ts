/**
 * What is in the directories of a file store: those with many names are remembered, and kept up by the changes of this process,
 * as long as nobody else can have changed them.
 */
import fs from "node:fs"
import path from "node:path"
import * as Effect from "effect/Effect"
import * as paths from "./fileStorePaths.ts"

export type Entries = ReadonlyArray<paths.PathEntry>

/** Directories with so many names or more are worth remembering. */
const largeDirectory = 1000
const rememberedDirectories = 8

/**
 * A change within the same tick of the file system's clock leaves the modification time of a directory as it was. So that time
 * tells of all changes from now on only if it has stood still for so long.
 */
export const tickMillis = 50

/** Names and whether they are there: changes that are not among the entries yet, or that came while those were read. */
type Changes = Map<string, boolean>

interface Remembered {
  entries: Entries
  /** The modification time that the directory has with all of this. */
  modified: bigint
  changes: Changes
  /**
   * What `alone` gave when it was last changed by this process, or read: without that the modification time had stood still, and
   * tells of every change by itself.
   */
  epoch: bigint | undefined
}

/** Lists directories, and takes part in each change of this process. */
export interface Listings<E> {
  /** The names of a directory in the order of keys; none of one that is not there. */
  readonly entriesOf: (directory: string) => Effect.Effect<Entries, E>
  /** Does what adds a name to a directory, or removes it, in one synchronous step. */
  readonly changing: <A>(directory: string, name: string, isThere: boolean, change: () => A) => A
  /** Creates a directory, and those above it. */
  readonly makeDirectory: (directory: string) => void
}

/** What tells that no other process has the store open, and has had it since it gave the same: see `soleSession`. */
export type Alone = () => bigint | undefined

const modifiedOf = (directory: string): bigint | undefined =>
  fs.statSync(directory, { bigint: true, throwIfNoEntry: false })?.mtimeNs

/**
 * Tells whether a session is the only one, by the folder where each has its file from its opening to its end: by the modification time
 * of that folder, once it has stood still, and the names that it had then.
 */
export const soleSession = (sessions: string, own: string): Alone => {
  let seen: { readonly modified: bigint; readonly since: number; isAlone: boolean | undefined } | undefined
  return () => {
    const modified = modifiedOf(sessions)
    // A monotonic clock: neither a test clock nor a clock that is set has a say.
    const now = performance.now()
    if (modified === undefined) return undefined
    if (seen?.modified !== modified) seen = { modified, since: now, isAlone: undefined }
    if (seen.isAlone === undefined && now - seen.since > tickMillis) {
      seen.isAlone = fs.readdirSync(sessions).every((name) => name.startsWith(own))
    }
    return seen.isAlone === true ? modified : undefined
  }
}

/** The index of the first entry whose part is not less, from one on. */
const lowerBound = (entries: Entries, part: string, from: number): number => {
  let [low, high] = [from, entries.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (entries[middle]!.part < part) low = middle + 1
    else high = middle
  }
  return low
}

const sorted = (names: Iterable<string>): Array<paths.PathEntry> =>
  Array.from(names, (name) => paths.entryOf(name))
    .filter((entry) => entry !== undefined)
    .toSorted((a, b) => (a.part < b.part ? -1 : 1))

/** The entries with some changes made: new ones, what lies between them being copied as it is. */
const withChanges = (entries: Entries, changes: Changes): Entries => {
  if (changes.size === 0) return entries
  const parts: Array<Entries> = []
  let from = 0
  for (const entry of sorted(changes.keys())) {
    const at = lowerBound(entries, entry.part, from)
    parts.push(entries.slice(from, at))
    from = entries[at]?.part === entry.part ? at + 1 : at
    if (changes.get(entry.name) === true) parts.push([entry])
  }
  parts.push(entries.slice(from))
  return parts.flat()
}

export const make = <E>(
  alone: Alone,
  readNames: (directory: string) => Effect.Effect<ReadonlyArray<string>, E>
): Listings<E> => {
  const remembered = new Map<string, Remembered>()
  /** What this process changes while a directory is being read. */
  const readings = new Map<string, Set<Changes>>()
  /** Since when, at least, a large directory has had its modification time. */
  const still = new Map<string, { readonly modified: bigint; readonly since: number }>()

  /** What is remembered of a directory, if it is what is there, or was when others may last have changed it. */
  const known = (directory: string): Remembered | undefined => {
    const one = remembered.get(directory)
    if (one === undefined) return undefined
    const isTrue = modifiedOf(directory) === one.modified && (one.epoch === undefined || alone() === one.epoch)
    if (isTrue) return one
    remembered.delete(directory)
    return undefined
  }

  const changing: Listings<E>["changing"] = (directory, name, isThere, change) => {
    const before = known(directory)
    const epoch = before === undefined ? undefined : alone()
    const result = change()
    for (const changes of readings.get(directory) ?? []) changes.set(name, isThere)
    if (before === undefined) return result
    const modified = modifiedOf(directory)
    // Nobody else has come in between.
    if (epoch !== undefined && modified !== undefined && alone() === epoch) {
      before.changes.set(name, isThere)
      before.modified = modified
      before.epoch = epoch
    } else remembered.delete(directory)
    return result
  }

  const read = Effect.fnUntraced(function* (directory: string) {
    const since = performance.now()
    const [modified, epoch] = [modifiedOf(directory), alone()]
    const changes: Changes = new Map()
    const all = readings.get(directory) ?? new Set()
    readings.set(directory, all.add(changes))
    const names = yield* Effect.ensuring(
      readNames(directory),
      Effect.sync(() => {
        all.delete(changes)
        if (all.size === 0) readings.delete(directory)
      })
    )
    const entries = sorted(names)
    if (entries.length < largeDirectory || modified === undefined) return entries
    const now = modifiedOf(directory)
    if (epoch !== undefined && now !== undefined && alone() === epoch) {
      limited(remembered).set(directory, { entries, modified: now, changes, epoch })
      return entries
    }
    const unchanged = still.get(directory)
    if (unchanged?.modified !== modified) limited(still).set(directory, { modified, since })
    else if (since - unchanged.since > tickMillis) {
      limited(remembered).set(directory, { entries, modified, changes: new Map(), epoch: undefined })
    }
    return entries
  })

  return {
    changing,
    entriesOf: (directory) =>
      Effect.suspend(() => {
        const one = known(directory)
        if (one === undefined) return read(directory)
        one.entries = withChanges(one.entries, one.changes)
        one.changes = new Map()
        return Effect.succeed(one.entries)
      }),
    makeDirectory: (directory) => {
      const missing: Array<string> = []
      for (let at = directory; !fs.existsSync(at); at = path.dirname(at)) missing.push(at)
      for (const at of missing.toReversed()) {
        changing(path.dirname(at), path.basename(at), true, () => fs.mkdirSync(at, { recursive: true }))
      }
    }
  }
}

const limited = <A>(map: Map<string, A>): Map<string, A> => {
  const [oldest] = map.keys()
  if (oldest !== undefined && map.size >= rememberedDirectories) map.delete(oldest)
  return map
}
