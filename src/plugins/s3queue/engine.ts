/**
 * Works on a queue for one process: what many fibers want of it at a time is one request, workers say that they go on, and
 * who is silent for too long is noticed.
 *
 * **Details**
 *
 * All that is decided is decided in the object of the queue, by compare-and-set on the version that it is decided by. Clocks
 * say only when somebody may try: whether a worker is silent is measured by who looks at it, by its own steady clock, from when
 * it first saw what is there.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Id from "../../crypto/Id.ts"
import * as backoff from "../../internal/backoff.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import * as StoreClock from "../../kernel/StoreClock.ts"
import * as StoreError from "../../storage/StoreError.ts"
import { digestOf, inlineBytes, inParts, keyOfId, mostInline, retries, sizeOf, staleRetries } from "./bounds.ts"
import { type Claim, type Engine, type Failure, type Offer, type Options, Stale, type World } from "./models.ts"
import * as Parts from "./parts.ts"
import * as State from "./state.ts"
import * as Tidying from "./tidying.ts"
import * as Workers from "./workers.ts"

export { digestOf, hexOf, keyOfId, waitOf } from "./bounds.ts"
export type { Claim, Engine, Offer, Options } from "./models.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/** Something that a fiber wants of the queue. */
interface Wish {
  /** Makes the change; again on another version when others were first. Gives what tells the fiber how it went. */
  readonly apply: (draft: State.Draft, world: World) => Effect.Effect<Effect.Effect<void>, Failure>
  readonly fail: (exit: Exit.Exit<never, StoreError.StoreError>) => Effect.Effect<void>
}

/** A fiber that waits for messages. */
interface Waiting {
  readonly max: number
  readonly given: Deferred.Deferred<ReadonlyArray<State.Flight>, StoreError.StoreError>
}

/** A claim of this process that is in force as far as it knows. */
interface Held {
  readonly flight: State.Flight
  readonly lost: Deferred.Deferred<void>
}

/** What is wrong with the end of a claim, if anything is. */
const problemOfEnd = (message: State.Message, outcome: State.Outcome): StoreError.InvalidArgument | undefined => {
  if (outcome._tag !== "retry" && outcome._tag !== "dead") return undefined
  return State.problemOf([{ ...message, e: outcome.error, ...(outcome._tag === "retry" ? { d: outcome.due } : {}) }])
}

const isPassing = ({ reason }: StoreError.StoreError): boolean =>
  reason.isRetryable || reason._tag === "PreconditionFailed" || reason._tag === "ConditionalRequestConflict"

const isUnknown = ({ outcome }: StoreError.StoreError): boolean => outcome === "unknown"

// -----------------------------------------------------------------------------
// Engine
// -----------------------------------------------------------------------------

/**
 * Makes an engine, that works until the scope closes; afterwards all that changes something is `Unsupported`. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Engine, never, Scope.Scope> {
  const { clock, memory, order, prefix, store } = options
  const visibility = Math.ceil(options.visibility)
  const scope = yield* Effect.scope
  const worker = yield* Id.random
  const key = `${prefix}/queue`
  const cell = CasCell.make(store, key, State.format)
  const parts = Parts.make({ store, prefix, key, scope })
  const { checkAge, keep, reader, unwritable } = parts
  const timeNow = Effect.map(clock.now, Math.floor)

  let known: CasCell.Version<State.State> | undefined
  /** Whether others write between one's own writes, so that what is known is not worth a try. */
  let isContended = false
  let wishes: Array<Wish> = []
  let waiting: Array<Waiting> = []
  const held = new Map<number, Held>()
  /** The tokens of claims that are being ended, and of those that are given back. */
  const settling = new Set<number>()
  const leaving = new Set<number>()
  const workers = Workers.make(worker)
  /** How long ago it was last said that this worker goes on. */
  let sinceBeat: Effect.Effect<number> = Effect.succeed(0)
  let wantsBeat = false
  let isClosed = false
  let trouble: string | undefined
  /** Those who wait for a round that goes well. */
  let hopeful = Deferred.makeUnsafe<void>()

  /** Who uses it afterwards is told so: who waited when it was closed is interrupted, as the whole of the program is. */
  const closed = new StoreError.StoreError({
    operation: "put",
    key,
    reason: new StoreError.Unsupported({
      feature: "using a queue that is closed",
      description: "the queue is closed: the scope of its layer has ended"
    })
  })

  /** Something is to be done; something has been done. */
  const work = yield* Queue.sliding<void>(1)
  const done = yield* Queue.sliding<void>(1)
  const signal = (queue: Queue.Queue<void>) => Queue.offerUnsafe(queue, undefined)

  const generationNow = Effect.suspend(() =>
    known?.value === undefined
      ? Effect.map(readState, ({ generation }) => generation)
      : Effect.succeed(known.value.generation)
  )

  // ---------------------------------------------------------------------------
  // Workers
  // ---------------------------------------------------------------------------

  const lose = Effect.fnUntraced(function* (tokens: ReadonlyArray<number>) {
    for (const token of tokens) {
      const claim = held.get(token)
      held.delete(token)
      if (claim !== undefined) yield* Deferred.succeed(claim.lost, undefined)
    }
  })

  /** Says that this worker goes on, while it has messages; gives them up when it could not for too long. */
  const keeping = Effect.gen(function* () {
    for (;;) {
      const elapsed = yield* sinceBeat
      if (held.size === 0) return
      if (elapsed >= visibility) {
        const claims = [...held.values()]
        yield* lose([...held.keys()])
        yield* Effect.logWarning(`${claims.length} messages of ${key} are given up: the store could not be reached`)
        yield* release(claims.map(({ flight }) => flight))
        return
      }
      if (elapsed >= visibility / 3) {
        wantsBeat = true
        signal(work)
        yield* Effect.sleep(Math.min(visibility / 12, visibility - elapsed))
      } else yield* Effect.sleep(visibility / 3 - elapsed)
    }
  }).pipe(Effect.ensuring(Effect.sync(() => (isKeeping = false))))
  let isKeeping = false

  const keepUp = Effect.suspend(() => {
    if (isKeeping || held.size === 0) return Effect.void
    isKeeping = true
    return Effect.forkIn(keeping, scope)
  })

  /** Lets go of claims that are not worked on any more. */
  const abandon = (flights: ReadonlyArray<State.Flight>) =>
    change((draft, { now }) =>
      Effect.sync(() => {
        for (const { k: token, m } of flights) {
          State.settle(draft, { number: m.s, token, digest: undefined }, { _tag: "release" }, now)
        }
      })
    ).pipe(
      Effect.tapError((error) => (isPassing(error) ? Effect.sleep(Math.min(visibility / 3, 5000)) : Effect.void)),
      Effect.retry({ while: isPassing }),
      Effect.catch((error) => Effect.logWarning(`messages of ${key} could not be given back`, error))
    )

  // ---------------------------------------------------------------------------
  // Changes
  // ---------------------------------------------------------------------------

  interface Round {
    readonly wishes: ReadonlyArray<Wish>
    readonly waiting: ReadonlyArray<Waiting>
    readonly wantsBeat: boolean
  }

  interface Came {
    readonly told: ReadonlyArray<Effect.Effect<void>>
    readonly flights: ReadonlyArray<State.Flight>
    readonly taken: ReadonlyArray<State.Flight>
    /** Why nothing could be claimed, though it may be there. */
    readonly refusal: StoreError.StoreError | undefined
  }

  /** Makes all changes of a round on a state. */
  const applyAll = Effect.fnUntraced(function* (state: State.State, round: Round) {
    const world: World = { now: yield* timeNow, reader }
    const draft = State.draft(state)
    yield* workers.observe(state)
    const told: Array<Effect.Effect<void>> = []
    for (const wish of round.wishes) {
      const applied = yield* Effect.result(wish.apply(draft, world))
      if (Result.isSuccess(applied)) told.push(applied.success)
      else if (applied.failure._tag === "Stale") return yield* Effect.fail(applied.failure)
      else told.push(wish.fail(Exit.fail(applied.failure)))
    }
    let flights: ReadonlyArray<State.Flight> = []
    let taken: ReadonlyArray<State.Flight> = []
    let refusal: StoreError.StoreError | undefined
    if (round.waiting.length > 0) {
      const over = yield* workers.silent(state)
      taken = State.reap(draft, {
        isSilent: ({ w }) => over.has(w),
        maxAttempts: options.maxAttempts(),
        now: world.now
      })
      const max = round.waiting.reduce((sum, one) => sum + one.max, 0)
      const claimed = yield* Effect.result(State.claim(draft, reader, { worker, max, now: world.now, order }))
      if (Result.isSuccess(claimed)) flights = claimed.success
      else if (claimed.failure._tag === "Stale") return yield* Effect.fail(claimed.failure)
      else refusal = claimed.failure
    }
    if (draft.hasChanged || round.wantsBeat) State.beat(draft, worker, visibility)
    const next = State.finish(draft)
    const came: Came = { told, flights, taken, refusal }
    return { next, came }
  })

  /** Makes all changes of a round in one write. */
  const commit = Effect.fnUntraced(function* (round: Round) {
    let from = round.wishes.length > 0 || round.wantsBeat ? (isContended ? undefined : known) : trusted()
    let isFresh = false
    let stale = 0
    for (let lost = 0; ;) {
      const elapsed = yield* StoreClock.stopwatch
      if (from === undefined) {
        from = yield* cell.read
        isFresh = true
        if (from.etag === known?.etag) isContended = false
      }
      const before = from.value ?? State.empty
      let came: Came | undefined
      const attempted = yield* Effect.result(
        cell.attempt(
          Effect.fnUntraced(function* (state) {
            const applied = yield* applyAll(before, round)
            came = applied.came
            if (applied.next !== before) return applied.next
            // Nothing is decided by what may have been over for long.
            return isFresh ? state : yield* Effect.fail(new Stale())
          }),
          from
        )
      )
      if (Result.isFailure(attempted)) {
        const error = attempted.failure
        known = undefined
        if (error._tag !== "Stale") return yield* error
        if (isFresh && ++stale > staleRetries) return yield* error.cause ?? missing
        from = undefined
        continue
      }
      if (CasCell.isLost(attempted.success)) {
        const { error, now } = attempted.success.seen
        isContended = true
        if (lost >= retries) return yield* error
        yield* backoff.after(lost++, backoff.contention)
        from = now
        isFresh = true
        continue
      }
      known = attempted.success
      const after = known.value ?? State.empty
      return { came: came!, before, after, elapsed, hasWritten: after !== before }
    }
  })

  const missing = new StoreError.StoreError({
    operation: "get",
    key,
    reason: new StoreError.Corrupt({ description: "parts of the queue are missing" })
  })

  /** What is known, where it is likely to hold what is waited for. */
  const trusted = () => {
    const state = known?.value
    if (isContended || state === undefined || state.paused) return undefined
    return State.countOn(state.ready) > 0 ? known : undefined
  }

  const own = (state: State.State) => new Map(state.flight.flatMap(({ k, w }) => (w === worker ? [[k, true]] : [])))

  const settleRound = Effect.fnUntraced(function* (
    round: Round,
    { after, before, came, elapsed, hasWritten }: Effect.Success<ReturnType<typeof commit>>
  ) {
    if (hasWritten) {
      if (after.workers.some(({ w }) => w === worker)) {
        sinceBeat = elapsed
        wantsBeat = false
      }
      const names = State.partNames(after)
      const dropped = [...State.partNames(before)].filter((name) => !names.has(name))
      // What has just been claimed may lie in one of them.
      parts.forget(dropped)
      yield* parts.remove(dropped)
    }
    // Whoever was taken for silent finds it here.
    const ours = own(after)
    yield* lose([...held.keys()].filter((token) => !ours.has(token) && !settling.has(token)))
    let rest = came.flights
    yield* hold(rest)
    for (const one of round.waiting) {
      if (rest.length === 0) break
      const given = rest.slice(0, one.max)
      // Who has stopped waiting meanwhile leaves it to the next.
      if (!waiting.includes(one)) continue
      waiting = waiting.filter((other) => other !== one)
      rest = rest.slice(one.max)
      yield* Deferred.succeed(one.given, given)
    }
    if (rest.length > 0) yield* release(rest)
    for (const tell of came.told) yield* tell
    // Claims that nobody has: the answer to them was lost.
    const strays = after.flight.filter(
      ({ k, w }) => w === worker && !held.has(k) && !settling.has(k) && !leaving.has(k)
    )
    if (strays.length > 0) yield* release(strays)
    if (came.taken.length > 0) yield* options.onTaken(came.taken)
    if (came.refusal !== undefined) yield* failWaiting(round, Exit.fail(came.refusal))
    yield* keepUp
  })

  const release = (flights: ReadonlyArray<State.Flight>) => {
    for (const { k } of flights) held.delete(k)
    for (const { k } of flights) leaving.add(k)
    return abandon(flights).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          for (const { k } of flights) leaving.delete(k)
        })
      ),
      Effect.forkIn(scope),
      Effect.asVoid
    )
  }

  const hold = Effect.fnUntraced(function* (flights: ReadonlyArray<State.Flight>) {
    for (const flight of flights) held.set(flight.k, { flight, lost: yield* Deferred.make<void>() })
  })

  const failRound = Effect.fnUntraced(function* (round: Round, exit: Exit.Exit<never, StoreError.StoreError>) {
    for (const wish of round.wishes) yield* wish.fail(exit)
    yield* failWaiting(round, exit)
  })

  /** Who waits goes on waiting, unless that is of no use. */
  const failWaiting = Effect.fnUntraced(function* (round: Round, exit: Exit.Exit<never, StoreError.StoreError>) {
    const error = Exit.findError(exit)
    if (Result.isSuccess(error) && isPassing(error.success)) {
      return yield* Effect.logDebug(`${key} could not be read or written, and is tried again`, error.success)
    }
    for (const one of round.waiting) {
      waiting = waiting.filter((other) => other !== one)
      yield* Deferred.done(one.given, exit)
    }
  })

  const working = Effect.gen(function* () {
    for (;;) {
      yield* Queue.take(work)
      // What others want at the same time goes along.
      yield* Effect.yieldNow
      const round: Round = { wishes, waiting, wantsBeat: wantsBeat && held.size > 0 }
      wishes = []
      if (round.wishes.length + round.waiting.length === 0 && !round.wantsBeat) continue
      const exit = yield* Effect.exit(commit(round))
      trouble = Exit.isSuccess(exit) ? exit.value.came.refusal?.message : Cause.pretty(exit.cause).split("\n")[0]
      if (Exit.isSuccess(exit)) {
        if (trouble === undefined) {
          Deferred.doneUnsafe(hopeful, Exit.void)
          hopeful = Deferred.makeUnsafe()
        }
        yield* settleRound(round, exit.value)
        if (exit.value.hasWritten) yield* tidyUp
      } else yield* failRound(round, Exit.failCause(exit.cause))
      signal(done)
    }
  })
  const committer = yield* Effect.forkIn(Effect.interruptible(working), scope)

  /** `onDone` runs before anything else is done with what has become of the queue. */
  const change = Effect.fnUntraced(function* <A>(
    apply: (draft: State.Draft, world: World) => Effect.Effect<A, Failure>,
    onDone: (value: A) => Effect.Effect<void> = () => Effect.void
  ) {
    const outcome = yield* Deferred.make<A, StoreError.StoreError>()
    const wish: Wish = {
      apply: (draft, world) =>
        Effect.map(apply(draft, world), (value) =>
          Effect.andThen(onDone(value), Effect.asVoid(Deferred.succeed(outcome, value)))
        ),
      fail: (exit) => Effect.asVoid(Deferred.done(outcome, exit))
    }
    if (isClosed) return yield* closed
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        wishes.push(wish)
        signal(work)
        return Effect.onInterrupt(restore(Deferred.await(outcome)), () =>
          // What is not under way is not begun.
          Effect.sync(() => (wishes = wishes.filter((other) => other !== wish)))
        )
      })
    )
  })

  // ---------------------------------------------------------------------------
  // Reading
  // ---------------------------------------------------------------------------

  const readState: Effect.Effect<State.State, StoreError.StoreError> = Effect.map(cell.read, (version) => {
    known = version
    return version.value ?? State.empty
  })

  const look = <A>(
    looking: (state: State.State, world: World) => Effect.Effect<A, Failure>
  ): Effect.Effect<A, StoreError.StoreError> =>
    Effect.gen(function* () {
      for (let stale = 0; ; stale++) {
        const state = yield* readState
        const world: World = { now: yield* timeNow, reader }
        const seen = yield* Effect.result(looking(state, world))
        if (Result.isSuccess(seen)) return seen.success
        const error = seen.failure
        if (error._tag !== "Stale") return yield* error
        if (stale >= staleRetries) return yield* error.cause ?? missing
      }
    })

  const payloadOf = Effect.fnUntraced(function* (draft: State.Draft, { r, x }: State.Message, world: World) {
    if (x !== undefined) return x
    const part = r === undefined ? undefined : State.partOf(draft, r)
    if (r === undefined || part === undefined) return yield* Effect.fail(new Stale())
    const messages = yield* world.reader.open(part)
    return messages[r[1]]?.x ?? "null"
  })

  // ---------------------------------------------------------------------------
  // Offering
  // ---------------------------------------------------------------------------

  const encodeAll = (offers: ReadonlyArray<Offer>, now: number) =>
    offers.map(({ delay, keys, message }): State.Offered => ({
      message: { ...message, o: now, ...(delay > 0 ? { d: now + delay } : {}) },
      digests: keys.map(digestOf)
    }))

  const isKnownIn = (draft: State.Draft, offered: ReadonlyArray<State.Offered>, { now, reader }: World) =>
    offered.every(({ digests }) => digests.length === 0)
      ? Effect.succeed(() => false)
      : State.memoryOf(draft, reader, { memory, now })

  const offerHere = (offers: ReadonlyArray<Offer>) =>
    change(
      Effect.fnUntraced(function* (draft, world) {
        const offered = encodeAll(offers, world.now)
        const isKnown = yield* isKnownIn(draft, offered, world)
        return State.offer(draft, offered, { isKnown, now: world.now })
      })
    )

  /** Puts messages as a part, and names it. */
  const offerPart = Effect.fnUntraced(function* (offers: ReadonlyArray<Offer>) {
    const offered = encodeAll(offers, yield* timeNow)
    const messages = offered.map(({ message }, s): State.Message => ({ ...message, s }))
    for (;;) {
      const bytes = yield* Effect.mapError(Effect.fromResult(State.encodePart(yield* Id.writeId, messages)), unwritable)
      const name = yield* parts.put(yield* generationNow, bytes)
      const outcome = yield* change(
        Effect.fnUntraced(function* (draft, world) {
          if (Result.isFailure(yield* Effect.result(checkAge(draft, name)))) return undefined
          keep(name, messages, bytes.length)
          const isKnown = yield* isKnownIn(draft, offered, world)
          return State.offer(draft, offered, { isKnown, now: world.now, part: { name, messages } })
        })
      )
      if (outcome !== undefined && outcome.includes(true)) return outcome
      // Nothing of it counts.
      parts.forget([name])
      yield* parts.remove([name])
      if (outcome !== undefined) return outcome
      yield* readState
    }
  })

  const offer = Effect.fnUntraced(function* (offers: ReadonlyArray<Offer>) {
    // No part is put that nobody would name.
    if (isClosed) return yield* closed
    const now = yield* timeNow
    // One that is wrong is refused alone: others are written with those that are not.
    const problem = State.problemOf(encodeAll(offers, now).map(({ message }): State.Message => ({ ...message, s: 0 })))
    if (problem !== undefined) return yield* unwritable(problem)
    const sizeOfOffer = ({ message }: Offer) => sizeOf(message)
    const bytes = offers.reduce((sum, one) => sum + sizeOfOffer(one), 0)
    if (bytes <= inlineBytes && offers.length <= mostInline) return yield* offerHere(offers)
    const outcomes = yield* Effect.forEach(inParts(offers, sizeOfOffer), offerPart)
    return outcomes.flat()
  })

  // ---------------------------------------------------------------------------
  // Claiming
  // ---------------------------------------------------------------------------

  const toClaims = (flights: ReadonlyArray<State.Flight>) =>
    Effect.gen(function* () {
      const draft = State.draft(known?.value ?? State.empty)
      const world: World = { now: 0, reader }
      const payloads = yield* Effect.forEach(flights, ({ k, m }) =>
        payloadOf(draft, m, world).pipe(
          Effect.catchTag("Stale", () =>
            // What has been taken away meanwhile has no payload any more.
            look((state, world) =>
              state.flight.some((flight) => flight.k === k)
                ? payloadOf(State.draft(state), m, world)
                : Effect.as(lose([k]), undefined)
            )
          )
        )
      )
      return flights.flatMap((flight, index): ReadonlyArray<Claim> => {
        const payload = payloads[index]
        if (payload === undefined) return []
        const lost = held.get(flight.k)?.lost
        return [
          {
            number: flight.m.s,
            token: flight.k,
            message: flight.m,
            payload,
            lost: lost === undefined ? Effect.void : Deferred.await(lost)
          }
        ]
      })
    }).pipe(Effect.onError(() => release(flights)))

  /** Looks for messages as long as somebody waits for some. */
  const polling = Effect.gen(function* () {
    let pause = options.pollInterval
    for (;;) {
      const count = waiting.length
      if (count === 0) return
      signal(work)
      yield* Queue.take(done)
      const elapsed = yield* StoreClock.steady
      for (;;) {
        if (waiting.length === 0) return
        if (waiting.length < count) pause = options.pollInterval
        const now = yield* timeNow
        const due = known?.value === undefined ? undefined : State.nextDue(known.value, now)
        const rest = Math.min(
          pause - (yield* elapsed),
          due === undefined ? Infinity : Math.max(1, due - now),
          Math.max(1, yield* workers.untilSilent(known?.value ?? State.empty))
        )
        if (rest <= 0) break
        const isWoken = yield* Effect.raceFirst(
          Effect.as(Effect.sleep(Math.ceil(rest)), false),
          Effect.as(Queue.take(done), true)
        )
        // A round has looked for messages as well.
        if (!isWoken) break
      }
      pause = Math.min(options.maxPollInterval, pause * 2)
    }
  }).pipe(Effect.ensuring(Effect.sync(() => (isPolling = false))))
  let isPolling = false

  const startPolling = Effect.suspend(() => {
    signal(work)
    if (isPolling) return Effect.void
    isPolling = true
    return Effect.forkIn(polling, scope)
  })

  const claim: Engine["claim"] = (max, take) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const one: Waiting = { max, given: yield* Deferred.make<ReadonlyArray<State.Flight>, StoreError.StoreError>() }
        if (isClosed) return yield* closed
        waiting.push(one)
        yield* startPolling
        const flights = yield* restore(Deferred.await(one.given)).pipe(
          Effect.onInterrupt(() =>
            Effect.suspend(() => {
              waiting = waiting.filter((other) => other !== one)
              return Effect.flatMap(Deferred.poll(one.given), (given) =>
                Option.isNone(given)
                  ? Effect.void
                  : Effect.flatMap(Effect.exit(given.value), (exit) =>
                      Exit.isSuccess(exit) ? release(exit.value) : Effect.void
                    )
              )
            })
          )
        )
        return yield* take(yield* toClaims(flights))
      })
    )

  const claimNow: Engine["claimNow"] = (max, take) =>
    Effect.uninterruptible(
      Effect.gen(function* () {
        const { flights, taken } = yield* change(
          Effect.fnUntraced(function* (draft, { now, reader }) {
            const over = yield* workers.silent(draft.before)
            const taken = State.reap(draft, {
              isSilent: ({ w }) => over.has(w),
              maxAttempts: options.maxAttempts(),
              now
            })
            return { taken, flights: yield* State.claim(draft, reader, { worker, max, now, order }) }
          }),
          ({ flights }) => hold(flights)
        )
        if (taken.length > 0) yield* options.onTaken(taken)
        return yield* take(yield* toClaims(flights))
      })
    )

  const settle = Effect.fnUntraced(function* (
    { message, number, token }: Pick<Claim, "message" | "number" | "token">,
    outcome: State.Outcome
  ) {
    const problem = problemOfEnd(message, outcome)
    if (problem !== undefined) {
      const claim = held.get(token)
      if (claim !== undefined) yield* release([claim.flight])
      return yield* unwritable(problem)
    }
    const digest = message.c === true ? digestOf(keyOfId(message.i)) : undefined
    let pause = Math.min(200, visibility / 10)
    let unknown: StoreError.StoreError | undefined
    const ending = Effect.gen(function* () {
      for (;;) {
        // Who has given it up already does not write any more.
        if (!held.has(token)) return unknown === undefined ? false : yield* unknown
        const settled = yield* Effect.result(
          change((draft, { now }) => Effect.sync(() => State.settle(draft, { number, token, digest }, outcome, now)))
        )
        if (Result.isSuccess(settled)) {
          const claim = held.get(token)
          held.delete(token)
          if (!settled.success && claim !== undefined) yield* Deferred.succeed(claim.lost, undefined)
          // It may be gone by what was not answered.
          return !settled.success && unknown !== undefined ? yield* unknown : settled.success
        }
        const error = settled.failure
        // Giving one back is a courtesy that nobody waits for.
        if (outcome._tag === "release" || !isPassing(error)) {
          const claim = held.get(token)
          if (claim !== undefined) yield* release([claim.flight])
          return yield* error
        }
        if (isUnknown(error)) unknown = error
        yield* Effect.sleep(pause)
        pause = Math.min(pause * 2, visibility / 3)
      }
    })
    return yield* Effect.acquireUseRelease(
      Effect.sync(() => settling.add(token)),
      () => ending,
      () => Effect.sync(() => settling.delete(token))
    )
  })

  const renew = Effect.fnUntraced(function* ({ number, token }: Pick<Claim, "number" | "token">) {
    let pause = Math.min(200, visibility / 10)
    for (;;) {
      if (!held.has(token)) return false
      const renewed = yield* Effect.result(change((draft) => Effect.sync(() => State.renew(draft, { number, token }))))
      if (Result.isSuccess(renewed)) {
        if (!renewed.success) yield* lose([token])
        return renewed.success
      }
      if (!isPassing(renewed.failure)) return yield* renewed.failure
      yield* Effect.sleep(pause)
      pause = Math.min(pause * 2, visibility / 3)
    }
  })

  // ---------------------------------------------------------------------------
  // Tidying up
  // ---------------------------------------------------------------------------

  const { chore, collect, collectBelowFloor } = Tidying.make({ change, memory, parts, payloadOf, readState, timeNow })

  const remove = Effect.fnUntraced(function* ({ claimed }: { readonly claimed: boolean }) {
    const left = yield* change((draft) =>
      Effect.sync(() => {
        if (draft.flight.size > 0 && !claimed) return draft.flight.size
        // The object stays, and its counters go on: a token or a part of before is none of what comes afterwards.
        if (draft.before !== State.empty) State.reset(draft)
        return 0
      })
    )
    if (left === 0) yield* collectBelowFloor
    return left
  })

  let tidying: Fiber.Fiber<void> | undefined

  /** Tidies up beside the work, one thing at a time. What fails is tried again after the next write. */
  const tidyUp = Effect.suspend(() => {
    const state = known?.value
    if (tidying !== undefined || state === undefined) return Effect.void
    const first = chore(state)
    if (first === undefined) return Effect.void
    const all = first.pipe(
      Effect.catch((error) => Effect.logDebug(`${prefix} could not be tidied up, and is after the next write`, error)),
      Effect.asVoid,
      Effect.ensuring(Effect.sync(() => (tidying = undefined)))
    )
    return Effect.map(Effect.forkIn(all, scope), (fiber) => {
      tidying = fiber
    })
  })

  // What waits for the committer is told that there is none any more.
  yield* Scope.addFinalizer(
    scope,
    Effect.gen(function* () {
      isClosed = true
      yield* Fiber.interrupt(committer)
      for (const wish of wishes) yield* wish.fail(Exit.interrupt())
      for (const { given } of waiting) yield* Deferred.done(given, Exit.interrupt())
    })
  )

  return {
    offer,
    claim,
    claimNow,
    settle,
    renew,
    remove,
    change,
    read: readState,
    look,
    payloadOf,
    collect,
    trouble: Effect.sync(() => trouble),
    worked: Effect.suspend(() => Deferred.await(hopeful)),
    tidied: Effect.suspend(() => (tidying === undefined ? Effect.void : Effect.asVoid(Fiber.await(tidying))))
  }
})
