/**
 * Writes what a process has counted, interval by interval, and rolls up once an hour.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Id from "../../crypto/Id.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import * as InstrumentedStore from "../../storage/InstrumentedStore.ts"
import * as Ledger from "./ledger.ts"

/**
 * What a flusher works on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** The plugin that it works for, to whom its requests are put down. */
  readonly slug: string
  readonly ledger: Ledger.Ledger<A>
  /** Takes what has been counted since it was last taken, if anything has, with when the first of it was. */
  readonly take: () => Ledger.Bucket<A> | undefined
  /** Gives back what has not been written. */
  readonly giveBack: (bucket: Ledger.Bucket<A>) => void
  /** Milliseconds. */
  readonly interval: number
  /** Whether it writes by itself, in each interval. */
  readonly isAlone: boolean
  /** Done after each interval of the loop, whether anything was written or not. */
  readonly afterwards?: Effect.Effect<void, StoreError.StoreError> | undefined
}

/**
 * Writes what a process counts, interval by interval.
 *
 * @category models
 * @since 0.1.0
 */
export interface Flusher {
  /** Writes what has been counted. 1 PUT, none where nothing was. */
  readonly flush: Effect.Effect<void, StoreError.StoreError>
  /** Flushes once more when the scope closes; alone, it flushes and rolls up until then. */
  readonly start: Effect.Effect<void, never, Scope.Scope>
  /** Why the last interval could not be written, or the last hour not be rolled up. */
  readonly trouble: () => string | undefined
}

/**
 * Makes a flusher, which does nothing before it is started.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A>(options: Options<A>): Effect.fn.Return<Flusher> {
  const { afterwards = Effect.void, giveBack, interval, isAlone, ledger, slug, take } = options
  const process = yield* Id.writeId
  const oneByOne = yield* Semaphore.make(1)
  let number = 0
  let rolled = Math.floor((yield* Clock.currentTimeMillis) / Ledger.hour)
  let trouble: string | undefined
  /** What was sent, and may or may not have been written: sent again by the same name until that is known. */
  let pending: { readonly name: Ledger.Name; readonly value: A } | undefined

  const send = Effect.suspend(() => {
    if (pending === undefined) return Effect.void
    const { name, value } = pending
    return ledger.append(name, value).pipe(
      Effect.tap(() => Effect.sync(() => (pending = undefined))),
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error.outcome !== "none") return
          pending = undefined
          giveBack({ at: name.at, value })
        })
      )
    )
  })

  const flush = Effect.gen(function* () {
    yield* send
    const taken = take()
    if (taken === undefined) return
    const { at, value } = taken
    pending = { name: { at, process, number: number++ }, value }
    yield* send
  }).pipe(oneByOne.withPermits(1), Effect.provideService(InstrumentedStore.CurrentPlugin, slug))

  const rollUp = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (Math.floor(now / Ledger.hour) === rolled) return
    yield* ledger.rollUp(now)
    rolled = Math.floor(now / Ledger.hour)
  }).pipe(Effect.provideService(InstrumentedStore.CurrentPlugin, slug))

  const troubled = (what: string) => (cause: Cause.Cause<StoreError.StoreError | StoreError.Reason>) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const isNew = trouble === undefined
    trouble = `${what}, and is tried again`
    return isNew ? Effect.logWarning(`${slug}: ${trouble}`, cause) : Effect.void
  }

  const round = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    // Intervals of all processes end together, and at full hours.
    yield* Effect.sleep(interval - (now % interval))
    let isWell = true
    const unwell = (what: string) => (cause: Cause.Cause<StoreError.StoreError | StoreError.Reason>) => {
      isWell = false
      return troubled(what)(cause)
    }
    yield* Effect.catchCause(flush, unwell("an interval could not be written"))
    yield* Effect.catchCause(
      Effect.provideService(afterwards, InstrumentedStore.CurrentPlugin, slug),
      unwell("what is done after an interval failed")
    )
    yield* Effect.catchCause(rollUp, unwell("an hour could not be rolled up"))
    if (isWell) trouble = undefined
  })

  return {
    flush,
    trouble: () => trouble,
    start: Effect.gen(function* () {
      yield* Effect.addFinalizer(() =>
        Effect.timeoutOption(flush, "5 seconds").pipe(
          Effect.catchCause((cause) => Effect.logWarning(`${slug}: the last interval could not be written`, cause))
        )
      )
      if (isAlone) yield* Effect.forkScoped(Effect.forever(round))
    })
  }
})
