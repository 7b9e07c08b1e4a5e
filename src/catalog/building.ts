/**
 * The building of partitions, companions and unique keys that were declared after documents were written: how far it has come, when it is
 * done, and what is in its way, as the catalog keeps it.
 *
 * **Details**
 *
 * An index is complete when every document has been visited since all programs know of it, by one run or by several, and none
 * was left as it is. Each run adds the documents that it has visited by compare-and-set; who adds the last ones says that it is
 * complete. So it does not matter how many there are, where they begin, and where they end.
 *
 * @since 0.1.0
 */
import * as Catalog from "../Catalog.ts"
import { compareUtf8, percentEncode } from "../internal/text.ts"

/**
 * The documents after an id, `null` for the beginning, up to another one, `null` for the end, in the order of their keys.
 *
 * @category models
 * @since 0.1.0
 */
export type Run = Catalog.Progress["seen"][number]

/**
 * A document that was left as it is, and why.
 *
 * @category models
 * @since 0.1.0
 */
export type Left = Catalog.Progress["left"][number]

/**
 * A partition, companion or unique key, and which of those of its name it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Index {
  readonly kind: Catalog.IndexKind
  readonly name: string
  readonly build: number | undefined
}

/**
 * What a run has visited.
 *
 * @category models
 * @since 0.1.0
 */
export interface Visit {
  readonly run: Run | undefined
  /** For each document why it was left as it is, `undefined` for one that was not. */
  readonly documents: ReadonlyMap<string, string | undefined>
}

/**
 * What the catalog says of an index.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = NonNullable<
  Catalog.Resource["partitions"] | Catalog.Resource["companions"] | Catalog.Resource["uniques"]
>[string]

const none: Catalog.Progress = { seen: [], left: [] }

/**
 * Compares ids by the order in which the keys of their documents are listed.
 *
 * @category getters
 * @since 0.1.0
 */
export const compareIds = (a: string, b: string): number => compareUtf8(percentEncode(a), percentEncode(b))

/** Whether a position, where a run begins, comes no later than one where a run ends. */
const isWithin = (begin: string | null, end: string | null): boolean =>
  begin === null || end === null || compareIds(begin, end) <= 0

/** Runs in their order, with those that touch each other made one. */
const joined = (runs: ReadonlyArray<Run>): ReadonlyArray<Run> => {
  const compare = ([a]: Run, [b]: Run): number => (a === null ? -1 : b === null ? 1 : compareIds(a, b))
  const result: Array<Run> = []
  for (const [begin, end] of runs.toSorted(compare)) {
    const last = result.at(-1)
    if (last === undefined || !isWithin(begin, last[1])) result.push([begin, end])
    else if (last[1] !== null && isWithin(last[1], end)) result[result.length - 1] = [last[0], end]
  }
  return result
}

/**
 * Returns the id after which nobody has visited the documents: `null` for the beginning, `undefined` when all of them have been.
 *
 * @category getters
 * @since 0.1.0
 */
export const unseenAfter = ({ seen }: Catalog.Progress = none): string | null | undefined => {
  const [first] = seen
  if (first === undefined || first[0] !== null) return null
  return first[1] ?? undefined
}

/** The entry of an index, if it still is the one that is meant. */
const entryOf = (resource: Catalog.Resource, { build, kind, name }: Index): Entry | undefined => {
  const entries = resource[kind]
  const entry = entries !== undefined && Object.hasOwn(entries, name) ? entries[name] : undefined
  return entry?.build === build && entry?.state === "building" ? entry : undefined
}

/**
 * Returns a resource with what was visited for an index; the same reference when it is complete, or is not that one any more.
 *
 * @category combinators
 * @since 0.1.0
 */
export const visited = (resource: Catalog.Resource, index: Index, { documents, run }: Visit): Catalog.Resource => {
  const entry = entryOf(resource, index)
  if (entry === undefined) return resource
  const { progress = none, ...rest } = entry
  const left = [
    ...progress.left.filter(({ id }) => !documents.has(id)),
    ...[...documents].flatMap(([id, why]) => (why === undefined ? [] : [{ id, why }]))
  ].toSorted((a, b) => compareIds(a.id, b.id))
  const seen = run === undefined ? progress.seen : joined([...progress.seen, run])
  const isComplete = left.length === 0 && unseenAfter({ seen, left }) === undefined
  const after = isComplete ? { ...rest, state: "ready" } : { ...rest, progress: { seen, left } }
  return { ...resource, [index.kind]: { ...resource[index.kind], [index.name]: after } }
}

const nouns = { partitions: "partition", companions: "companion", uniques: "unique key" } as const

/**
 * Returns what an index is called in a message.
 *
 * @category conversions
 * @since 0.1.0
 */
export const nounOf = (kind: Catalog.IndexKind): string => nouns[kind]

/** What nobody has visited yet, in words. */
const unseen = ({ seen }: Catalog.Progress): string | undefined => {
  if (seen.length === 0) return "its documents have not been visited"
  const quoted = (id: string) => JSON.stringify(id)
  const gaps: Array<string> = []
  for (const [i, [begin]] of seen.entries()) {
    const before = seen[i - 1]?.[1]
    if (begin !== null && (i === 0 || before !== null)) {
      gaps.push(i === 0 ? `up to ${quoted(begin)}` : `after ${quoted(before ?? "")} up to ${quoted(begin)}`)
    }
  }
  const end = seen.at(-1)?.[1]
  if (end !== null && end !== undefined) gaps.push(`after ${quoted(end)}`)
  return gaps.length === 0 ? undefined : `the documents ${gaps.join(" and ")} have not been visited`
}

const mostNamed = 3

/**
 * Explains which documents were left as they are, the first of them by name.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describeLeft = (left: ReadonlyArray<Left>, count = left.length): string => {
  const named = left.slice(0, mostNamed).map(({ id, why }) => `document ${JSON.stringify(id)} (${why})`)
  const others = count - named.length
  return `${[...named, ...(others > 0 ? [`${others} more`] : [])].join(", ")} could not be written`
}

/**
 * Explains what an index lacks that is not complete, and what to do about it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const describe = (
  resource: string,
  kind: Catalog.IndexKind,
  name: string,
  { progress = none }: Entry
): string => {
  const { left } = progress
  const missing = unseen(progress)
  const problems = [...(missing === undefined ? [] : [missing]), ...(left.length === 0 ? [] : [describeLeft(left)])]
  const remedy =
    left.length === 0 ? "run backfill to its end" : "change or remove what is in its way, and run backfill again"
  return `${nouns[kind]} ${name} of ${resource} is not complete: ${problems.join("; ")}; ${remedy}`
}
