/**
 * What writes tell those that stand between reads and documents.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Document from "../Document.ts"
import * as Partition from "../Partition.ts"
import * as ReadThrough from "../ReadThrough.ts"
import * as Transaction from "../Transaction.ts"
import type { Context } from "./context.ts"

type Through = Pick<Context<never>, "name" | "readThrough">

/** What a write has done, as a `Commit` says it. */
interface Done {
  readonly id: string
  readonly isKnown: boolean
  readonly stored: Document.Stored | undefined
  readonly after: { readonly stored: Document.Stored } | undefined
}

/** The parts of partitions that a version is in. */
const prefixesOf = (resource: string, stored: Pick<Document.Stored, "markers"> | undefined): ReadonlyArray<string> =>
  Object.entries(stored?.markers ?? {}).flatMap(([label, marker]) => {
    const [of = "", partition = "", ...segments] = Partition.keyOf(resource, label, "-", marker).split("/")
    const { length } = marker.values.split("/")
    return Array.from({ length: length + 1 }, (_, i) => `${[of, partition, ...segments.slice(0, i)].join("/")}/`)
  })

/**
 * Returns what commits have changed.
 *
 * @category conversions
 * @since 0.1.0
 */
export const writtenOf = (resource: string, commits: ReadonlyArray<Done>): ReadThrough.Written => {
  const isKnown = commits.every((commit) => commit.isKnown)
  const prefixes = commits.flatMap(({ after, stored }) => [
    ...prefixesOf(resource, stored),
    ...prefixesOf(resource, after?.stored)
  ])
  return { ids: commits.map(({ id }) => id), prefixes: isKnown ? [...new Set(prefixes)] : undefined }
}

/**
 * Has what was kept of a resource forgotten, now, and waits until others can know. No request without a `ReadThrough`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const forget = (
  { name, readThrough }: Through,
  written: () => ReadThrough.Written | typeof ReadThrough.everything
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const through = readThrough()
    if (through === undefined) return Effect.void
    through.forget(name, written())
    return Effect.uninterruptible(through.told(name))
  })

/**
 * Does the same, or, within a transaction, when that is committed: it waits once for all that it has written.
 *
 * @category combinators
 * @since 0.1.0
 */
export const forgetOnCommit = (context: Through, written: () => ReadThrough.Written): Effect.Effect<void> =>
  Effect.flatMap(Transaction.Current, (transaction) => {
    if (transaction === undefined) return forget(context, written)
    const { name, readThrough } = context
    transaction.committed.push(Effect.sync(() => readThrough()?.forget(name, written())))
    transaction.ended.set(name, (exit) =>
      Effect.suspend(() => {
        const through = readThrough()
        if (isDoubtful(exit)) through?.forget(name, ReadThrough.everything)
        // What was announced, and taken back, may have been listed by its keys.
        else if (Exit.isFailure(exit) || exit.value !== undefined)
          through?.forget(name, { ids: [], prefixes: undefined })
        return through?.told(name) ?? Effect.void
      })
    )
    return Effect.void
  })

/**
 * Tells whether a write may have been done although it has failed.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDoubtful = (exit: Exit.Exit<unknown, unknown>): boolean => {
  if (Exit.isSuccess(exit)) return false
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  return error === undefined || isUnsure(error)
}

const isUnsure = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "outcome" in error && error.outcome === "unknown"

/**
 * Runs a write; when nobody knows whether it was done, all that was kept of the resource is forgotten.
 *
 * @category combinators
 * @since 0.1.0
 */
export const inDoubt = <X, E, R>(
  context: Through,
  write: Effect.Effect<X, E, R>,
  failedOf: (outcome: X) => ReadonlyArray<unknown> = () => []
): Effect.Effect<X, E, R> =>
  Effect.onExit(write, (exit) => {
    const isForgotten = Exit.isSuccess(exit) ? failedOf(exit.value).some(isUnsure) : isDoubtful(exit)
    return isForgotten ? forget(context, () => ReadThrough.everything) : Effect.void
  })
