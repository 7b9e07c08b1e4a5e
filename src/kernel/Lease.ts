/**
 * Leases: of the processes that compete for a key of a store, one at a time has the lease, and all can tell who came later.
 *
 * ```ts
 * import * as Lease from "effect-s3db/kernel/Lease"
 * import { ObjectStore } from "effect-s3db/storage/ObjectStore"
 * import { Effect } from "effect"
 *
 * declare const sweep: (token: number) => Effect.Effect<void>
 *
 * const program = Effect.gen(function* () {
 *   const lease = Lease.make(yield* ObjectStore, { key: "plugin=ttl/lease", duration: "30 seconds" })
 *   yield* lease.runWhileLeader(({ token }) => sweep(token))
 * })
 * ```
 *
 * **Details**
 *
 * A lease is a cell that holds a token, who has it, and for how long without a renewal. Whoever takes it raises the token
 * by one. It is never deleted: giving it up leaves the token, so that no token is given twice.
 *
 * A lease that is not renewed for its duration may be taken. Whether that long has passed is judged by the store's clock
 * when a lease is first looked at, and by one's own steady clock from then on; the holder counts from before it asked,
 * so that it gives up first. But no clock is proof: a process that stands still finds out late. Two may believe that they
 * have the lease, and so what must be done by one alone is guarded by the token: see `Fenced`.
 *
 * **Gotchas**
 *
 * Who removes the object begins anew with token 1, which everything refuses that has seen higher ones. Give
 * `tokensAbove` then.
 *
 * @see `docs/design/kernel.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import * as Id from "../crypto/Id.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import type * as StoreError from "../storage/StoreError.ts"
import * as CasCell from "./CasCell.ts"
import * as StoreClock from "./StoreClock.ts"
import { ExpectedError } from "../internal/expectedError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A lease that somebody else has by now, or may have: what was about to be done was not done.
 *
 * `seen`: the higher token that was found; none when one's own time is over without a renewal.
 *
 * @remedy Stop what the lease was for, and compete for it again.
 * @category errors
 * @since 0.1.0
 */
export class LeaseLost extends ExpectedError<LeaseLost>("effect-s3db/kernel/Lease/LeaseLost")("LeaseLost", {
  key: Schema.String,
  token: Schema.Int,
  seen: Schema.optionalKey(Schema.Int)
}) {
  override get message(): string {
    const why = this.seen === undefined ? "it was not renewed in time" : `token ${this.seen} has been seen`
    return `${this.key}: token ${this.token} holds no longer: ${why}`
  }
}

/**
 * A lease as it lies in the store.
 *
 * @category models
 * @since 0.1.0
 */
export const State = Schema.Struct({
  /** Rises with each change of holder. */
  token: Schema.Int,
  /** Random, new each time it is taken; none when it was given up. */
  holder: Schema.optionalKey(Schema.String),
  /** Milliseconds from the last renewal after which it may be taken. */
  millis: Schema.Int
})

/**
 * A lease as it lies in the store.
 *
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

/**
 * Where a lease is, and how long it lasts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly key: string
  /** How long it lasts without a renewal: 100 ms to 1 day. Default: 30 seconds. Each holder may have its own. */
  readonly duration?: Duration.Input | undefined
  /** Tokens are above this number: what guarded cells have seen of a lease whose object was removed. Default: 0. */
  readonly tokensAbove?: number | undefined
}

/**
 * A lease that one has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Held {
  /** Higher than that of each holder before. */
  readonly token: number
  /** Random, new each time. */
  readonly holder: string
  /** Waits until it is lost, or given up. */
  readonly lost: Effect.Effect<void>
  /**
   * Fails when it is lost, as far as one knows. No request. A `LeaseLost` is certain, a success is not: guard by the token
   * what must not be done twice.
   */
  readonly ensure: Effect.Effect<void, LeaseLost>
  /** Gives it up, so that others need not wait. 1 PUT. It never fails: what could not be told is over after its time. */
  readonly release: Effect.Effect<void>
}

/**
 * Whether one leads.
 *
 * @category models
 * @since 0.1.0
 */
export type Leadership = { readonly _tag: "Leader"; readonly token: number } | { readonly _tag: "Follower" }

/**
 * A lease that several processes compete for.
 *
 * **Details**
 *
 * While it has the lease, a process makes 1 PUT for each third of the duration, while it waits for it 1 GET: with 30
 * seconds each about 6 requests a minute, with 3 minutes about 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  readonly key: string
  /** What is there, whether somebody still has it or not. 1 GET. */
  readonly state: Effect.Effect<Option.Option<State>, StoreError.StoreError>
  /**
   * Takes the lease if nobody has it. It is renewed until the scope ends, and given up then. 1 GET and 1 PUT; when somebody
   * has it, or has not given it up, 1 PUT, 1 HEAD and 1 DELETE more to read the store's clock, and no PUT if it is not
   * over.
   *
   * Fails with what the store says. When it said nothing certain, the lease may be taken all the same, by nobody, until its
   * time is over.
   */
  readonly tryAcquire: Effect.Effect<Option.Option<Held>, StoreError.StoreError, Scope.Scope>
  /**
   * Waits for the lease and takes it. The requests of `tryAcquire` at first, then 1 GET for each third of the holder's
   * duration, and 1 PUT once it is over. Errors that may pass are waited out; others end it: `AccessDenied`, `Corrupt`, ...
   */
  readonly acquire: Effect.Effect<Held, StoreError.StoreError, Scope.Scope>
  /**
   * Waits for the lease, and does something while it has it. When the lease is lost it is interrupted, and once it has
   * ended it waits for the lease anew and begins again; when it ends by itself that is the result, and the lease is given
   * up.
   */
  readonly runWhileLeader: <A, E, R>(
    effect: (held: Held) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | StoreError.StoreError, R>
  /**
   * Competes for the lease as long as it is read, and tells whether one leads: first that one follows. A slow reader is told
   * the newest only. It fails where `acquire` does.
   */
  readonly leadership: Stream.Stream<Leadership, StoreError.StoreError>
}

// -----------------------------------------------------------------------------
// Time
// -----------------------------------------------------------------------------

/**
 * How long a lease lasts unless the options say otherwise: 30 seconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultDuration: Duration.Duration = Duration.seconds(30)

const leastMillis = 100
const mostMillis = 86_400_000

/** The store's clock tells whole seconds: an age by it may be wrong by one. */
const clockSlack = 1000

/** A part of some milliseconds, a tenth of which is left to chance, so that processes that began together do not meet. */
const jittered = (millis: number): Effect.Effect<number> =>
  Effect.map(Random.next, (chance) => millis * (0.9 + 0.1 * chance))

const elapsedSince = (start: bigint): Effect.Effect<number> =>
  Effect.map(Clock.monotonicTimeNanos, (now) => Number(now - start) / 1e6)

// -----------------------------------------------------------------------------
// Lease
// -----------------------------------------------------------------------------

type Cell = CasCell.CasCell<State>
type Version = CasCell.Version<State>

const format = CasCell.schemaFormat(State, { what: "a lease" })

/** A version that a process has seen somebody else have, for how long, and how old it was then. */
interface Watch {
  readonly etag: string | undefined
  readonly since: bigint
  readonly ageMillis: number
}

/**
 * Creates a lease on a store that honours conditional writes. No request.
 *
 * Throws a `RangeError` when the duration is not between 100 ms and 1 day, or `tokensAbove` is no whole number from 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], options: Options): Lease => {
  const { duration = defaultDuration, key, tokensAbove = 0 } = options
  const millis = millisecondsOf(duration)
  if (!(millis >= leastMillis && millis <= mostMillis)) {
    throw new RangeError(`duration has to be between ${leastMillis} ms and 1 day, not ${String(duration)}`)
  }
  if (!Number.isSafeInteger(tokensAbove) || tokensAbove < 0) {
    throw new RangeError(`tokensAbove has to be a whole number from 0, not ${tokensAbove}`)
  }
  const cell = CasCell.make(store, key, format)

  /** Takes a version that is to be had. `Lost`: somebody else was first. It is not interrupted: what is taken is kept. */
  const take = Effect.fnUntraced(function* (
    version: Version,
    holder: string
  ): Effect.fn.Return<Held | CasCell.Lost<unknown>, StoreError.StoreError, Scope.Scope> {
    const elapsed = yield* StoreClock.stopwatch
    const taken = yield* cell.attempt((state) => {
      const isOurs = state?.holder === holder
      const token = isOurs ? state.token : Math.max(state?.token ?? 0, tokensAbove) + 1
      return Effect.succeed({ token, holder, millis: Math.ceil(millis) })
    }, version)
    if (CasCell.isLost(taken)) return taken
    // It was one's own for a while, and is somebody else's by now.
    return taken.value?.holder === holder ? yield* hold(cell, taken, elapsed) : new CasCell.Lost(taken)
  }, Effect.uninterruptible)

  /** Begins to watch a version that somebody has. */
  const watch = Effect.fnUntraced(function* (version: Version, last: Watch | undefined) {
    if (last !== undefined && last.etag === version.etag) return last
    const { etag, lastModified } = version
    // One that comes after another is no older than the last look at that.
    const isFirst = last === undefined && lastModified !== undefined
    const ageMillis = isFirst ? (yield* StoreClock.now(store)) - lastModified - clockSlack : 0
    // After the store has told its time: what the request took is not counted twice.
    return { etag, since: yield* Clock.monotonicTimeNanos, ageMillis }
  })

  /** Looks once, and takes the lease if it is to be had; else what there is to watch, and for how long. */
  const look = Effect.fnUntraced(function* (holder: string, last: Watch | undefined) {
    const version = yield* cell.read
    const state = version.value
    if (state?.holder === undefined || state.holder === holder) {
      const taken = yield* take(version, holder)
      return CasCell.isLost(taken) ? { watch: last, left: 0, millis } : taken
    }
    const watching = yield* watch(version, last)
    const left = state.millis - watching.ageMillis - (yield* elapsedSince(watching.since))
    if (left > 0) return { watch: watching, left, millis: state.millis }
    const taken = yield* take(version, holder)
    return CasCell.isLost(taken) ? { watch: watching, left: 0, millis } : taken
  })

  const tryAcquire = Effect.gen(function* () {
    const outcome = yield* look(yield* Id.random, undefined)
    return "token" in outcome ? Option.some(outcome) : Option.none()
  })

  const acquire = Effect.gen(function* () {
    const holder = yield* Id.random
    let last: Watch | undefined
    for (;;) {
      const outcome = yield* Effect.result(look(holder, last))
      let pause = millis / 3
      if (Result.isSuccess(outcome)) {
        const found = outcome.success
        if ("token" in found) return found
        last = found.watch
        // To the moment when it is over, if that comes first; some a little later, so that not all are there at once.
        pause = Math.min(found.millis / 3, found.left + (yield* Random.next) * (found.millis / 20))
      } else if (!mayPass(outcome.failure)) return yield* outcome.failure
      yield* Effect.sleep(yield* jittered(pause))
    }
  })

  const runWhileLeader = Effect.fn("Lease.runWhileLeader")(function* <A, E, R>(
    effect: (held: Held) => Effect.Effect<A, E, R>
  ): Effect.fn.Return<A, E | StoreError.StoreError, R> {
    for (;;) {
      const ended = yield* Effect.scopedWith((scope) =>
        Effect.flatMap(Scope.provide(acquire, scope), (held) =>
          Effect.raceFirst(Effect.map(effect(held), Option.some), Effect.as(held.lost, Option.none<A>()))
        )
      )
      if (Option.isSome(ended)) return ended.value
    }
  })

  const leadership = Stream.callback<Leadership, StoreError.StoreError>(
    (queue) => {
      const term = Effect.gen(function* () {
        yield* Queue.offer(queue, { _tag: "Follower" })
        const { lost, token } = yield* acquire
        yield* Queue.offer(queue, { _tag: "Leader", token })
        yield* lost
      })
      return Effect.forever(Effect.scoped(term))
    },
    { bufferSize: 1, strategy: "sliding" }
  )

  return {
    key,
    state: Effect.map(cell.read, ({ value }) => Option.fromUndefinedOr(value)),
    tryAcquire,
    acquire,
    runWhileLeader,
    leadership
  }
}

/** Whether the same request may succeed later, or has been carried out. */
const mayPass = (error: StoreError.StoreError): boolean =>
  error.isRetryable || error.reason._tag === "PreconditionFailed"

/** Keeps a version that was just taken: renews it until the scope ends, and gives it up then. */
const hold = Effect.fnUntraced(function* (
  cell: Cell,
  taken: Version,
  takenFor: Effect.Effect<number>
): Effect.fn.Return<Held, never, Scope.Scope> {
  const { holder = "", millis = 0, token = 0 } = taken.value ?? {}
  const gone = yield* Deferred.make<void>()
  /** The newest version that is known to be ours, none when that cannot be told, and the time since it was asked for. */
  const known: { version: Version | undefined; elapsed: Effect.Effect<number> } = { version: taken, elapsed: takenFor }
  const isOurs = (state: State | undefined): state is State => state?.holder === holder && state.token === token
  const left = Effect.map(
    Effect.suspend(() => known.elapsed),
    (elapsed) => millis - elapsed
  )
  const lose = Deferred.succeed(gone, undefined)

  /** It has been given up, or is somebody else's: there is nothing to give up. */
  let isOver = false
  /** The token of who has it by now. */
  let seen: number | undefined
  const lostNow = () => new LeaseLost({ key: cell.key, token, ...(seen === undefined ? {} : { seen }) })
  const lostTo = (state: State | undefined) => {
    seen = state?.token
    isOver = true
    return lostNow()
  }

  /** Writes a state in the place of ours. Fails with `LeaseLost` when it is ours no longer. */
  const replace = Effect.fnUntraced(function* (next: (state: State) => State) {
    const elapsed = yield* StoreClock.stopwatch
    const from = known.version
    known.version = undefined
    const outcome = yield* cell.attempt(
      (state) => (isOurs(state) ? Effect.succeed(next(state)) : Effect.fail(lostTo(state))),
      from
    )
    if (!CasCell.isLost(outcome)) {
      if (!isOurs(outcome.value)) return yield* lostTo(outcome.value)
      known.version = outcome
      known.elapsed = elapsed
      return
    }
    const { now } = outcome.seen
    if (!isOurs(now.value)) return yield* lostTo(now.value)
    // One of ours before has arrived late. It does not tell since when it counts.
    known.version = now
  })

  const renewing = Effect.gen(function* () {
    // The first renewal is due a third after it was taken.
    let pause = millis / 3 - (yield* known.elapsed)
    for (;;) {
      yield* Effect.sleep(Math.max(0, yield* jittered(pause)))
      const renewed = yield* Effect.result(replace((state) => ({ ...state })))
      if (Result.isFailure(renewed) && renewed.failure._tag === "LeaseLost") return
      if (Result.isFailure(renewed)) {
        yield* Effect.logWarning(`${cell.key} could not be renewed`, renewed.failure)
      }
      pause = Result.isSuccess(renewed) ? millis / 3 - (yield* known.elapsed) : millis / 12
    }
  })

  /** Until its time is over without a renewal. */
  const expiring = Effect.gen(function* () {
    for (let rest = yield* left; rest > 0; rest = yield* left) yield* Effect.sleep(rest)
  })

  const keeping = yield* Effect.raceFirst(renewing, expiring).pipe(Effect.andThen(lose), Effect.forkScoped)

  const release = Effect.gen(function* () {
    if (isOver) return
    isOver = true
    yield* Fiber.interrupt(keeping)
    yield* lose
    // As it is when it is somebody else's by now.
    const givenUp = (state: State | undefined) =>
      Effect.succeed(isOurs(state) ? { token: state.token, millis: state.millis } : state)
    yield* Effect.catch(cell.modify(givenUp, known.version), (error) =>
      Effect.logWarning(`${cell.key} could not be given up, and is over after its time`, error)
    )
  }).pipe(Effect.uninterruptible)
  yield* Effect.addFinalizer(() => release)

  return {
    token,
    holder,
    lost: Deferred.await(gone),
    ensure: Effect.gen(function* () {
      if ((yield* Deferred.isDone(gone)) || (yield* left) <= 0) {
        return yield* lostNow()
      }
    }),
    release
  }
})
