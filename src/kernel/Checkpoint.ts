/**
 * Checkpoints: how far somebody has come, kept for whoever goes on from there.
 *
 * ```ts
 * import * as Checkpoint from "effect-s3db/kernel/Checkpoint"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect, Option, Order, Schema } from "effect"
 *
 * declare const entriesAfter: (position: number) => Effect.Effect<ReadonlyArray<number>>
 *
 * const program = Effect.gen(function* () {
 *   const checkpoint = yield* Checkpoint.make(yield* ObjectStore, {
 *     key: "plugin=copy/checkpoint",
 *     schema: Schema.Int,
 *     what: "a position",
 *     order: Order.Number
 *   })
 *   const entries = yield* entriesAfter(Option.getOrElse(yield* checkpoint.position, () => 0))
 *   for (const entry of entries) yield* checkpoint.advance(entry)
 * }).pipe(Effect.scoped)
 * ```
 *
 * **Details**
 *
 * A cell that is fenced: with the token of a lease, whoever held the lease before cannot move it any more. Positions that
 * are not behind each other in a known order replace each other; with `order` it never goes back.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Order from "effect/Order"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { millisecondsOf } from "../internal/duration.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as Fenced from "./Fenced.ts"
import type { LeaseLost } from "./Lease.ts"

/**
 * Where a checkpoint is, what a position is, and how often it is written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  readonly key: string
  /** Positions. */
  readonly schema: Schema.Codec<A, I>
  /** What a position is, for errors: `a position`. */
  readonly what: string
  /** The token of a lease: who had it before is shut out. Default: none, and shut out by each who has one. */
  readonly token?: number | undefined
  /** The order of positions: with it the checkpoint never goes back. Default: a position replaces the one before. */
  readonly order?: Order.Order<A> | undefined
  /** `advance` writes after so many positions. 1 to 1,000,000. Default: 1,000. */
  readonly every?: number | undefined
  /** `advance` writes this long after the first position that is not written. 0 to 1 day. Default: 1 second. */
  readonly within?: Duration.Input | undefined
}

/**
 * A checkpoint.
 *
 * Everything that writes fails with `LeaseLost` when somebody with a higher token has claimed it: nothing was written, nor
 * will be. `StoreError`: what the store says; a position that was not written is written with the next. `InvalidArgument`: a
 * position is none of the schema's, and is forgotten.
 *
 * @category models
 * @since 0.1.0
 */
export interface Checkpoint<A> {
  readonly key: string
  /** The newest position that is known to be written; none at the beginning. No request. */
  readonly position: Effect.Effect<Option.Option<A>>
  /** Reads the position, whoever has written it. 1 GET. */
  readonly read: Effect.Effect<Option.Option<A>, StoreError.StoreError>
  /**
   * Writes a position, and gives the one that is there then: this one, or one that is ahead of it. 1 PUT, one for all that
   * come while another is on its way; none when it is not ahead of what is known.
   */
  readonly commit: (position: A) => Effect.Effect<A, LeaseLost | StoreError.StoreError>
  /**
   * Remembers a position, to be written with others: at once when they are `every`, else `within` the time, and when the
   * scope ends. Until then a crash goes back to the one before.
   */
  readonly advance: (position: A) => Effect.Effect<void, LeaseLost | StoreError.StoreError>
  /** Writes what is not written yet. 1 PUT, or none. */
  readonly flush: Effect.Effect<void, LeaseLost | StoreError.StoreError>
}

const maxEvery = 1_000_000
const mostMillis = 86_400_000

/**
 * Opens a checkpoint, and claims it when there is a token. 1 GET, and 1 PUT with a token that is new.
 *
 * Throws a `RangeError` when `every` or `within` is out of its range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* <A, I>(
  store: ObjectStore["Service"],
  options: Options<A, I>
): Effect.fn.Return<Checkpoint<A>, LeaseLost | StoreError.StoreError, Scope.Scope> {
  const { every = 1000, key, order, schema, token = 0, what, within = "1 second" } = options
  const millis = millisecondsOf(within)
  if (!(millis >= 0 && millis <= mostMillis)) {
    throw new RangeError(`within has to be between 0 and 1 day, not ${String(within)}`)
  }
  if (!Number.isInteger(every) || every < 1 || every > maxEvery) {
    throw new RangeError(`every has to be a whole number from 1 to ${maxEvery}, not ${every}`)
  }

  const scope = yield* Effect.scope
  const cell = Fenced.make(store, { key, schema, what })
  const claimed = yield* cell.claim(token)
  const lock = yield* Semaphore.make(1)

  const state: {
    written: Option.Option<A>
    /** What is to be written, and how many positions it stands for. */
    waiting?: { readonly position: A; readonly count: number } | undefined
    /** Whether a write is due after a time. */
    isTimed: boolean
    lost?: LeaseLost
  } = { written: claimed.found, isTimed: false }

  const isAhead = (position: A, of: Option.Option<A>): boolean =>
    order === undefined || Option.isNone(of) || order(of.value, position) < 0

  /** Takes a position in, unless it is not ahead of those that are known. */
  const take = (position: A): void => {
    if (state.waiting !== undefined && !isAhead(position, Option.some(state.waiting.position))) return
    if (state.waiting === undefined && !isAhead(position, state.written)) return
    state.waiting = { position, count: (state.waiting?.count ?? 0) + 1 }
  }

  const flush = Effect.suspend(() => {
    const target = state.waiting
    if (state.lost !== undefined) return Effect.fail(state.lost)
    if (target === undefined) return Effect.void
    const { position } = target
    const done = () => {
      // What came in meanwhile waits for the next write.
      if (state.waiting === target) state.waiting = undefined
      else if (state.waiting !== undefined)
        state.waiting = { ...state.waiting, count: state.waiting.count - target.count }
    }
    return claimed
      .modify((there) => Effect.succeed(isAhead(position, Option.fromUndefinedOr(there)) ? position : there))
      .pipe(
        Effect.tap((now) =>
          Effect.sync(() => {
            state.written = now
            done()
          })
        ),
        Effect.tapError((error) =>
          Effect.sync(() => {
            if (error._tag === "LeaseLost") state.lost = error
            else if (error.reason._tag === "InvalidArgument") done()
          })
        ),
        Effect.asVoid
      )
  }).pipe(lock.withPermits(1))

  /** Writes after a time, again and again while the store cannot be reached. */
  const timed = Effect.gen(function* () {
    while (state.waiting !== undefined && state.lost === undefined) {
      yield* Effect.sleep(millis)
      yield* Effect.catch(flush, (error) => Effect.logWarning(`${key} could not be written`, error))
    }
  }).pipe(Effect.ensuring(Effect.sync(() => (state.isTimed = false))))

  yield* Effect.addFinalizer(() =>
    Effect.catch(flush, (error) => Effect.logWarning(`the last position of ${key} could not be written`, error))
  )

  return {
    key,
    position: Effect.sync(() => state.written),
    read: cell.read,
    commit: Effect.fn("Checkpoint.commit")(function* (position: A) {
      take(position)
      yield* flush
      return Option.getOrElse(state.written, () => position)
    }),
    advance: Effect.fn("Checkpoint.advance")(function* (position: A) {
      if (state.lost !== undefined) return yield* state.lost
      take(position)
      if (state.waiting === undefined) return
      if (state.waiting.count >= every) return yield* flush
      if (state.isTimed) return
      state.isTimed = true
      yield* Effect.forkIn(timed, scope)
    }),
    flush
  }
})
