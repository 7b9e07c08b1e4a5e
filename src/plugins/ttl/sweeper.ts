/**
 * Sweeps: what is due of each resource, in its order, so many at a time.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type * as DbError from "../../DbError.ts"
import type { Instance } from "../../Plugin.ts"
import type { ChangeError, ListError } from "../../Repository.ts"
import * as StoreClock from "../../kernel/StoreClock.ts"
import { type Bound, type Entry, type Outcome, sweeping } from "./policy.ts"

/**
 * The errors of a sweep: of listing what is due, and of building the index of documents that were there before it.
 *
 * @category errors
 * @since 0.1.0
 */
export type SweepError = ListError | ChangeError | DbError.Unfinished

/**
 * What a sweep did with the documents of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly resource: string
  /** How many were due, as far as the index said. */
  readonly due: number
  readonly deleted: number
  readonly softDeleted: number
  readonly archived: number
  /** By a callback. */
  readonly kept: number
  /** That were not due any more, or changed just then. */
  readonly refreshed: number
  /** Keys of the index without a document: somebody else was first, or a crash left them for `repair`. */
  readonly gone: number
  /** That stay, and are tried again in the next sweep: see `Failed` of the events. */
  readonly failed: number
}

/**
 * What is told of documents that were due.
 *
 * @category models
 * @since 0.1.0
 */
export type Event =
  | {
      readonly _tag: "Expired"
      readonly resource: string
      readonly id: string
      readonly outcome: "deleted" | "softDeleted" | "archived" | "kept"
    }
  | { readonly _tag: "Failed"; readonly resource: string; readonly id: string; readonly error: string }
  | { readonly _tag: "Swept"; readonly reports: ReadonlyArray<Report>; readonly duration: Duration.Duration }

/**
 * What this process has swept so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats extends Omit<Report, "resource"> {
  readonly sweeps: number
  readonly lastSweep: Option.Option<{ readonly at: DateTime.Utc; readonly duration: Duration.Duration }>
  /** What the last sweep of all could not do, by resource, for people. */
  readonly troubles: Readonly<Record<string, string>>
}

/**
 * What is done in a sweep.
 *
 * @category models
 * @since 0.1.0
 */
export interface SweepOptions {
  readonly dryRun: boolean
  readonly limit: number | undefined
}

/**
 * The sweeps of a process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sweeper {
  /** Sweeps resources, one after the other. */
  readonly sweep: (
    bound: ReadonlyArray<Bound>,
    options: SweepOptions
  ) => Effect.Effect<ReadonlyArray<Report>, SweepError>
  /** Sweeps all resources, and gives whether anything was due; what fails is noted, and does not keep the others. */
  readonly sweepAll: Effect.Effect<boolean>
  /**
   * Gives whether there is something to sweep: a document that is due, or an index to be built. Where there is not, that was a sweep, and is
   * told and counted as one. What fails is noted. 1 LIST for each resource.
   */
  readonly look: Effect.Effect<boolean>
  readonly due: (bound: Bound, limit: number) => Effect.Effect<ReadonlyArray<Entry>, ListError>
  readonly stats: Effect.Effect<Stats>
}

const empty: Omit<Report, "resource"> = {
  due: 0,
  deleted: 0,
  softDeleted: 0,
  archived: 0,
  kept: 0,
  refreshed: 0,
  gone: 0,
  failed: 0
}

/**
 * Makes the sweeps of a process. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  all: ReadonlyArray<Bound>,
  { concurrency, self }: { readonly concurrency: number; readonly self: Instance<Event> }
): Sweeper => {
  const totals = { ...empty }
  let sweeps = 0
  let lastSweep: Stats["lastSweep"] = Option.none()
  const troubles = new Map<string, string>()

  /** What has become of a document. */
  const one = Effect.fnUntraced(function* (
    { expire, resource }: Bound,
    { id }: Entry,
    dryRun: boolean
  ): Effect.fn.Return<Outcome | "failed"> {
    const exit = yield* Effect.exit(expire(id, dryRun))
    if (Exit.isFailure(exit)) {
      // It is this sweep that is interrupted, unless a program interrupts itself.
      yield* Effect.yieldNow
      yield* Effect.logWarning(
        `ttl: ${JSON.stringify(id)} of ${resource} could not be expired; it is tried again`,
        exit.cause
      )
      yield* self.publish({ _tag: "Failed", resource, id, error: messageOf(exit.cause) })
      return "failed"
    }
    const outcome = exit.value
    const isDone = outcome !== "refreshed" && outcome !== "gone" && !dryRun
    if (isDone) yield* self.publish({ _tag: "Expired", resource, id, outcome })
    return outcome
  })

  /** By resource, the ids of documents that stayed due when they were last looked at, the longest ago first. */
  const stayed = new Map<string, Set<string>>()
  const stayedOf = (resource: string) => {
    const known = stayed.get(resource) ?? new Set<string>()
    stayed.set(resource, known)
    return known
  }

  /**
   * Goes on until so many documents have gone. Those that stay do not count, or a few of them would be in the way of all others for ever; but
   * no more than ten times as many are looked at, and the next time those come last.
   */
  const some = Effect.fnUntraced(function* (
    bound: Bound,
    note: (entry: Entry) => Effect.Effect<Outcome | "failed">,
    { dryRun, limit }: { readonly dryRun: boolean; readonly limit: number }
  ) {
    const before = stayedOf(bound.resource)
    const behind = new Map<string, Entry>()
    let gone = 0
    let looked = 0
    /** As many as may be looked at at once: a page of the listing at most. */
    const room = () => Math.min(limit - gone, limit * mostLooked - looked, 1000)
    const look = Effect.fnUntraced(function* (entries: ReadonlyArray<Entry>) {
      looked += entries.length
      yield* Effect.forEach(
        entries,
        (entry) =>
          Effect.map(note(entry), (outcome) => {
            const stays = !leaving.has(outcome)
            if (!stays) gone += 1
            if (dryRun) return
            before.delete(entry.id)
            if (stays) before.add(entry.id)
            const [first] = before
            if (before.size > mostRemembered) before.delete(first!)
          }),
        { concurrency, discard: true }
      )
    })

    const isBehind = new Set(before)
    const pull = yield* Stream.toPull(once(bound.due(undefined)))
    let ahead: ReadonlyArray<Entry> = []
    let isOver = false
    while (room() > 0 && (!isOver || ahead.length > 0)) {
      while (!isOver && ahead.length < room()) {
        const page = yield* Pull.catchDone(pull, () => Effect.succeed(undefined))
        if (page === undefined) isOver = true
        for (const entry of page ?? []) if (isBehind.has(entry.id)) behind.set(entry.id, entry)
        ahead = [...ahead, ...(page ?? []).filter(({ id }) => !isBehind.has(id))]
      }
      const [now, later] = [ahead.slice(0, room()), ahead.slice(room())]
      ahead = later
      yield* look(now)
    }
    if (!isOver) return
    // What is not in the index any more is nobody's.
    for (const id of isBehind) if (!behind.has(id)) before.delete(id)
    let again = [...isBehind].flatMap((id) => behind.get(id) ?? [])
    while (room() > 0 && again.length > 0) {
      const [now, later] = [again.slice(0, room()), again.slice(room())]
      again = later
      yield* look(now)
    }
  }, Effect.scoped)

  const sweepOne = Effect.fnUntraced(function* (bound: Bound, { dryRun, limit }: SweepOptions) {
    const report = { ...empty }
    const note = Effect.fnUntraced(function* (entry: Entry) {
      const outcome = yield* one(bound, entry, dryRun)
      const names = ["due", outcome] as const
      for (const name of names) report[name] += 1
      if (dryRun) return outcome
      for (const name of names) {
        totals[name] += 1
        yield* self.count(name)
      }
      return outcome
    })
    const noteAll = Stream.mapEffect(once(bound.due(undefined)), note, { concurrency, unordered: true })
    const pass = limit === undefined ? Stream.runDrain(noteAll) : some(bound, note, { dryRun, limit })
    // Of documents that were there before the index.
    yield* sweeping(Effect.catchReason(pass, "DbError", "Incomplete", () => Effect.andThen(bound.build, pass)))
    return { resource: bound.resource, ...report }
  })

  const tell = Effect.fnUntraced(function* (reports: ReadonlyArray<Report>, millis: Effect.Effect<number>) {
    const duration = Duration.millis(yield* millis)
    sweeps += 1
    lastSweep = Option.some({ at: yield* DateTime.now, duration })
    yield* self.publish({ _tag: "Swept", reports, duration })
  })

  const told = Effect.fnUntraced(function* <E>(reports: Effect.Effect<ReadonlyArray<Report>, E>) {
    const watch = yield* StoreClock.steady
    const done = yield* reports
    yield* tell(done, watch)
    return done
  })

  const failed = (resource: string, cause: Cause.Cause<unknown>) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    troubles.set(resource, messageOf(cause))
    return Effect.logWarning(`ttl: ${resource} could not be swept; it is tried again`, cause)
  }

  const tolerant = Effect.forEach(all, (bound) =>
    Effect.matchCauseEffect(sweepOne(bound, { dryRun: false, limit: undefined }), {
      onSuccess: (report) =>
        Effect.sync(() => {
          if (report.failed === 0) troubles.delete(bound.resource)
          else troubles.set(bound.resource, `documents that could not be expired: ${report.failed}`)
          return [report]
        }),
      onFailure: (cause) => Effect.as(failed(bound.resource, cause), [] as ReadonlyArray<Report>)
    })
  )

  const due = (bound: Bound, limit: number) => sweeping(Stream.runCollect(once(bound.due(limit))))

  /** What a sweep of a resource would tell, as far as it can be told without one; `undefined` where there is something to do. */
  const lookAt = (bound: Bound): Effect.Effect<ReadonlyArray<Report> | undefined> =>
    due(bound, 1).pipe(
      Effect.map(({ length }) => length > 0),
      Effect.catchReason("DbError", "Incomplete", () => Effect.succeed(true)),
      Effect.matchCauseEffect({
        onSuccess: (isDue) =>
          Effect.sync(() => {
            if (isDue) return undefined
            troubles.delete(bound.resource)
            return [{ resource: bound.resource, ...empty }]
          }),
        onFailure: (cause) => Effect.as(failed(bound.resource, cause), [])
      })
    )

  const look = Effect.gen(function* () {
    const watch = yield* StoreClock.steady
    const reports: Array<Report> = []
    for (const bound of all) {
      const seen = yield* lookAt(bound)
      if (seen === undefined) return true
      reports.push(...seen)
    }
    yield* tell(reports, watch)
    return false
  })

  return {
    sweep: (bound, options) => {
      const swept = Effect.forEach(bound, (one) => sweepOne(one, options))
      return options.dryRun ? swept : told(swept)
    },
    sweepAll: Effect.map(told(Effect.map(tolerant, (reports) => reports.flat())), (reports) =>
      reports.some(({ due }) => due > 0)
    ),
    look,
    due,
    stats: Effect.sync(() => ({ ...totals, sweeps, lastSweep, troubles: Object.fromEntries(troubles) }))
  }
}

/** What takes a document out of the index. */
const leaving: ReadonlySet<Outcome | "failed"> = new Set(["deleted", "softDeleted", "archived"])

/** No more documents than these times a limit are looked at. */
const mostLooked = 10

/** No more ids than these are remembered of a listing. */
const mostRemembered = 10_000

/** The entries of a listing, a document once: what a write has left that came to a sudden end is a key of it, too. */
const once = <E>(entries: Stream.Stream<Entry, E>): Stream.Stream<Entry, E> =>
  Stream.suspend(() => {
    const seen = new Set<string>()
    return Stream.filter(entries, ({ id }) => {
      if (seen.has(id)) return false
      seen.add(id)
      const [oldest] = seen
      if (seen.size > mostRemembered) seen.delete(oldest!)
      return true
    })
  })

const messageOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.hasInterruptsOnly(cause)) return "it was interrupted"
  const error = Cause.squash(cause)
  const text = error instanceof Error ? String(error.message || error.name) : String(error)
  return text.split("\n")[0]!.slice(0, 500)
}
