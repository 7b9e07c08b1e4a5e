/**
 * A store that misbehaves as networks and stores do: it delays, refuses, loses answers, carries a request out late or
 * twice, and lets a client crash. What it does follows from a seed, so that a failing run can be repeated.
 *
 * Wrap the same store once for each client of a simulation:
 *
 * ```ts no-check
 * const trace = FaultyStore.makeTrace()
 * const faults = { delay: { probability: 0.5, maxMillis: 50 }, errorAfter: 0.1 }
 * const a = FaultyStore.make(store, { seed, client: "a", faults, trace })
 * const b = FaultyStore.make(store, { seed, client: "b", faults, trace, crashAt: 7 })
 * ```
 *
 * It uses the `Clock` and a generator of its own, nothing else: under `TestClock` the same seed and the same programs
 * give the same trace.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type DeleteManyResult, maxKeysPerRequest, ObjectStore } from "../storage/ObjectStore.ts"
import { type Operation, type Reason, StoreError, Throttled, Timeout, Unavailable } from "../storage/StoreError.ts"

/**
 * A fault that takes time, from 1 to `maxMillis` milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimedFault {
  /** From 0, never, to 1, always. */
  readonly probability: number
  readonly maxMillis: number
}

/**
 * The likelihood of each fault, from 0, never, to 1, always. Default for each: never.
 *
 * **Details**
 *
 * Each is drawn by itself for each request. A request that is delayed can also suffer one of the others. Of those the
 * first one drawn in the order `throttle`, `errorBefore`, `late` is alone; `duplicate` and `errorAfter` can meet.
 *
 * A lost answer is a `Timeout` or an `Unavailable`, in equal shares.
 *
 * @category models
 * @since 0.1.0
 */
export interface Faults {
  /** Time passes: before the request is carried out, before the answer, and between the two times of a duplicate. */
  readonly delay?: TimedFault | undefined
  /** Refused with `Throttled`: outcome `"none"`. */
  readonly throttle?: number | undefined
  /**
   * Never carried out. Half of these errors say so (outcome `"none"`), half are a lost answer (outcome `"unknown"`): a
   * client cannot tell a lost request from a lost answer.
   */
  readonly errorBefore?: number | undefined
  /** Writes only: the answer is lost at once and the request carried out later, when the client may have gone on. */
  readonly late?: TimedFault | undefined
  /**
   * Writes only: carried out twice in succession, and other clients may act in between. The answer is that of the
   * second, as when a client library repeats a request by itself. Only requests on a condition, and those that say
   * `repeatable`: no library may repeat others.
   */
  readonly duplicate?: number | undefined
  /** Carried out, or refused by the store, but the answer is lost: outcome `"unknown"`. */
  readonly errorAfter?: number | undefined
}

/**
 * The seed of the faults, the client that meets them, and how likely they are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly seed: number
  /** The client's name. Clients of the same seed and different names meet different faults. Default: `client`. */
  readonly client?: string | undefined
  /** Default: none. */
  readonly faults?: Faults | undefined
  /** Crash at this request, counted from 1. It meets no other fault. Default: never. */
  readonly crashAt?: number | undefined
  /** Whether the request at which it crashes is still carried out. Default: `before`, it is not. */
  readonly crashWhen?: "before" | "after" | undefined
  /**
   * What a request after the crash does. `defect`, the default, dies with `Crashed`. `silence` never ends, for programs
   * that recover from defects; something has to interrupt them.
   */
  readonly crashAs?: "defect" | "silence" | undefined
  /** Where to write down what was done. Several clients can share one. Default: nowhere. */
  readonly trace?: Trace | undefined
}

/**
 * The number of requests that were made, failed and dead ones included, and how many met each fault.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  readonly requests: number
  readonly delay: number
  readonly throttle: number
  readonly errorBefore: number
  readonly late: number
  readonly duplicate: number
  readonly errorAfter: number
  /** Requests whose answer the client did not live to see, and those it tried to make after its crash. */
  readonly crash: number
}

/**
 * One request, as it went.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceEntry {
  readonly client: string
  /** Which request of this client it is, from 1. */
  readonly number: number
  readonly operation: Operation
  /** The key, the prefix of a `list`, `from -> to` of a `copy`, or the first key and how many more. */
  readonly key: string
  /** Such as `delay 12` or `errorAfter`. */
  readonly faults: ReadonlyArray<string>
  /** `ok`, a reason with its outcome, `crashed`, `defect`, `interrupted`, or `pending` while there is none yet. */
  readonly outcome: string
}

/**
 * The requests, in the order in which they began.
 *
 * @category models
 * @since 0.1.0
 */
export interface Trace {
  readonly entries: Array<TraceEntry>
  /** One line for each request: client, number, operation, key, faults, outcome. */
  readonly lines: () => ReadonlyArray<string>
}

/**
 * Creates an empty trace.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeTrace = (): Trace => {
  const entries: Array<TraceEntry> = []
  return {
    entries,
    lines: () =>
      entries.map(({ client, faults, key, number, operation, outcome }) => {
        const met = faults.length === 0 ? "" : ` [${faults.join(", ")}]`
        return `${client} ${number} ${operation} ${JSON.stringify(key)}${met}: ${outcome}`
      })
  }
}

/**
 * The defect of every request of a client that has crashed.
 *
 * It is not a `StoreError`, so that no code of the client takes it for an answer: no retry, no compensation. Finalizers
 * run, as Effect always does, but each request they make dies as well and never reaches the store.
 *
 * @remedy Nothing: the test said so. Expect it with `Effect.exit`.
 * @category errors
 * @since 0.1.0
 */
export class Crashed extends Schema.TaggedError<Crashed>("effect-s3db/testing/FaultyStore/Crashed")("Crashed", {
  client: Schema.String
}) {
  override get message(): string {
    return `the client ${this.client} has crashed`
  }
}

/**
 * The means of a simulation to act on a client and learn from it.
 *
 * @category services
 * @since 0.1.0
 */
export class FaultControl extends Context.Service<
  FaultControl,
  {
    readonly stats: Effect.Effect<Stats>
    readonly crashed: Effect.Effect<boolean>
    /**
     * Crashes the client now. What it has sent already may still be carried out, but the answers do not reach it.
     */
    readonly crash: Effect.Effect<void>
    /**
     * Waits until every late request has been carried out. Under `TestClock` somebody has to let the time pass. Do so
     * before the next run in the same test, which is not the same run otherwise.
     */
    readonly settled: Effect.Effect<void>
  }
>()("effect-s3db/testing/FaultyStore/FaultControl") {}

/**
 * A store together with its control.
 *
 * @category models
 * @since 0.1.0
 */
export interface FaultyStore {
  readonly store: ObjectStore["Service"]
  readonly control: FaultControl["Service"]
}

const mix = (value: number): number => {
  let z = value >>> 0
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
  return (z ^ (z >>> 16)) >>> 0
}

/**
 * Numbers from 0 to below 1 that depend on the seed, the client and the number of the request alone: neither the other
 * clients nor the order of concurrent answers can change them.
 *
 * Source of the algorithm: splitmix (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), with
 * the 32-bit finalizer of MurmurHash3 (A. Appleby).
 */
const generator = (seed: number, client: string, number: number): (() => number) => {
  let state = mix(seed)
  for (let i = 0; i < client.length; i++) state = mix(state + 0x9e3779b9 + client.charCodeAt(i))
  state = mix(state ^ Math.imul(number, 0x9e3779b1))
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    return mix(state) / 2 ** 32
  }
}

interface Plan {
  readonly delayBefore: number
  readonly delayBetween: number
  readonly delayAfter: number
  readonly throttle: boolean
  readonly errorBefore: "none" | "unknown" | undefined
  readonly late: number
  readonly duplicate: boolean
  readonly errorAfter: boolean
  readonly timeout: boolean
}

const faultless: Plan = {
  delayBefore: 0,
  delayBetween: 0,
  delayAfter: 0,
  throttle: false,
  errorBefore: undefined,
  late: 0,
  duplicate: false,
  errorAfter: false,
  timeout: false
}

const planOf = (faults: Faults, isWrite: boolean, draw: () => number): Plan => {
  const happens = (probability: number | undefined) => draw() < (probability ?? 0)
  const lasting = (fault: TimedFault | undefined) => {
    const met = happens(fault?.probability)
    const millis = 1 + Math.floor(draw() * (fault?.maxMillis ?? 0))
    return met ? millis : 0
  }
  // Everything is drawn, always and in this order: another probability must not change the faults of other kinds.
  const delay = lasting(faults.delay)
  const delayBefore = Math.round(draw() * delay)
  const throttle = happens(faults.throttle)
  const fails = happens(faults.errorBefore)
  const isKnown = happens(0.5)
  const late = lasting(faults.late)
  const duplicate = happens(faults.duplicate)
  const errorAfter = happens(faults.errorAfter)
  const timeout = happens(0.5)
  const delayed = { ...faultless, delayBefore, delayAfter: delay - delayBefore, timeout }
  if (throttle) return { ...delayed, throttle }
  if (fails) return { ...delayed, errorBefore: isKnown ? "none" : "unknown" }
  if (isWrite && late > 0) return { ...delayed, late }
  if (!isWrite || !duplicate) return { ...delayed, errorAfter }
  const delayBetween = Math.floor(delayed.delayAfter / 2)
  return { ...delayed, delayBetween, delayAfter: delayed.delayAfter - delayBetween, duplicate, errorAfter }
}

const writes: ReadonlySet<Operation> = new Set(["put", "delete", "deleteMany", "copy"])

const throttled = new Throttled({ description: "injected: fewer requests, please", status: 503, code: "SlowDown" })
const refused = new Unavailable({ description: "injected: the connection was refused", sent: false })
const timedOut = new Timeout({ description: "injected: no answer in time", afterMillis: 0 })
const broken = new Unavailable({
  description: "injected: the answer was lost",
  status: 500,
  code: "InternalError",
  sent: true
})

/** The clocks that `withClockSkew` has made, with what they were made from. */
const origins = new WeakMap<Clock.Clock, { readonly clock: Clock.Clock; readonly millis: number }>()

/**
 * Gives an effect a clock that is ahead by so many milliseconds, or behind, when negative. Sleeping takes as long as
 * ever, and monotonic time stays as it is. Skews inside each other add up.
 *
 * The store below a `FaultyStore` keeps the true time: `lastModified` is by its clock, not by the client's.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withClockSkew =
  (millis: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Clock.Clock, (current) => Effect.provideService(effect, Clock.Clock, skewed(current, millis)))

const skewed = (current: Clock.Clock, more: number): Clock.Clock => {
  const { clock, millis: before } = origins.get(current) ?? { clock: current, millis: 0 }
  const millis = before + more
  const nanos = BigInt(Math.round(millis * 1_000_000))
  const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + millis
  const currentTimeNanosUnsafe = () => clock.currentTimeNanosUnsafe() + nanos
  const made: Clock.Clock = {
    // What `TestClock` has beyond a clock.
    ...clock,
    currentTimeMillisUnsafe,
    currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
    currentTimeNanosUnsafe,
    currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
  origins.set(made, { clock, millis })
  return made
}

const onTrueTime = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.clockWith((current) => {
    const origin = origins.get(current)
    return origin === undefined ? effect : Effect.provideService(effect, Clock.Clock, origin.clock)
  })

const isCrash = (reason: { readonly _tag: string; readonly defect?: unknown }): boolean =>
  reason._tag === "Die" && reason.defect instanceof Crashed

/**
 * Runs the program of a client that may crash: `None` when it did. All other failures stay.
 *
 * @category combinators
 * @since 0.1.0
 */
export const untilCrash = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.catchCause(Effect.map(effect, Option.some), (cause) =>
    cause.reasons.some(isCrash) ? Effect.succeed(Option.none<A>()) : Effect.failCause(cause)
  )

const outcomeOf = <A>(exit: Exit.Exit<A, StoreError>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  if (exit.cause.reasons.some(isCrash)) return "crashed"
  for (const reason of exit.cause.reasons) {
    if (reason._tag === "Fail") return `${reason.error.reason._tag} ${reason.error.outcome}`
  }
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
}

/**
 * Creates one client's view of a store. Make one for each client.
 *
 * **Details**
 *
 * `deleteMany` is one request for each 1,000 keys, each with faults of its own.
 *
 * After a crash no request of this client reaches the store any more. Requests that were under way are carried out, if
 * they go on at all, and their answers are not seen.
 *
 * **Gotchas**
 *
 * A late request runs in a fiber of its own, which outlives the program that made it; see `settled`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], options: Options): FaultyStore => {
  const { client = "client", crashAs = "defect", crashAt, crashWhen = "before", faults = {}, seed, trace } = options
  const stats = {
    requests: 0,
    delay: 0,
    throttle: 0,
    errorBefore: 0,
    late: 0,
    duplicate: 0,
    errorAfter: 0,
    crash: 0
  }
  const state = { crashed: false }
  const lateFibers = new Set<Fiber.Fiber<unknown>>()

  const dead = Effect.suspend((): Effect.Effect<never> => {
    stats.crash += 1
    return crashAs === "silence" ? Effect.never : Effect.die(new Crashed({ client }))
  })
  const crash = Effect.sync(() => {
    state.crashed = true
  })

  const late = <A>(millis: number, effect: Effect.Effect<A, StoreError>) =>
    Effect.sleep(millis).pipe(
      Effect.andThen(effect),
      Effect.exit,
      Effect.forkDetach({ startImmediately: true }),
      Effect.tap((fiber) =>
        Effect.sync(() => {
          lateFibers.add(fiber)
          fiber.addObserver(() => lateFibers.delete(fiber))
        })
      )
    )

  const carriedOut = <A>(
    operation: Operation,
    key: string,
    plan: Plan,
    effect: Effect.Effect<A, StoreError>
  ): Effect.Effect<A, StoreError> => {
    const fail = (reason: Reason) => Effect.fail(new StoreError({ operation, key, reason }))
    const lost = fail(plan.timeout ? timedOut : broken)
    if (plan.throttle) return fail(throttled)
    if (plan.errorBefore !== undefined) return plan.errorBefore === "none" ? fail(refused) : lost
    if (plan.late > 0) return Effect.andThen(late(plan.late, effect), lost)
    const done = plan.duplicate
      ? Effect.result(effect).pipe(
          Effect.andThen(pause(plan.delayBetween)),
          Effect.andThen(Effect.yieldNow),
          Effect.andThen(effect)
        )
      : effect
    return plan.errorAfter ? Effect.andThen(Effect.result(done), lost) : done
  }

  const planned = (operation: Operation, mayRepeat: boolean): Plan => {
    const isWrite = writes.has(operation)
    const drawn = planOf(faults, isWrite, generator(seed, client, stats.requests))
    const plan = mayRepeat ? drawn : { ...drawn, duplicate: false }
    if (delayOf(plan) > 0) stats.delay += 1
    if (plan.throttle) stats.throttle += 1
    if (plan.errorBefore !== undefined) stats.errorBefore += 1
    if (plan.late > 0) stats.late += 1
    if (plan.duplicate) stats.duplicate += 1
    if (plan.errorAfter) stats.errorAfter += 1
    return plan
  }

  const begin = (operation: Operation, key: string, met: ReadonlyArray<string>) => {
    if (trace === undefined) return () => {}
    const entry: TraceEntry = { client, number: stats.requests, operation, key, faults: met, outcome: "pending" }
    const place = trace.entries.push(entry) - 1
    return (outcome: string): void => {
      trace.entries[place] = { ...entry, outcome }
    }
  }

  const request = <A>(
    operation: Operation,
    key: string,
    effect: Effect.Effect<A, StoreError>,
    mayRepeat: boolean,
    label: string = key
  ): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      stats.requests += 1
      const atStore = onTrueTime(effect)
      if (state.crashed || stats.requests === crashAt) {
        const last = !state.crashed && crashWhen === "after"
        const end = begin(operation, label, [last ? "crash after" : "crash"])
        const before = last ? Effect.result(atStore) : Effect.void
        return before.pipe(
          Effect.andThen(crash),
          Effect.andThen(dead),
          Effect.onExit((exit) => Effect.sync(() => end(outcomeOf(exit))))
        )
      }
      const plan = planned(operation, mayRepeat)
      const end = begin(operation, label, faultNames(plan))
      return pause(plan.delayBefore).pipe(
        Effect.andThen(Effect.result(carriedOut(operation, key, plan, atStore))),
        // An answer of either kind takes its time, and a client that has crashed meanwhile does not get it.
        Effect.tap(() => pause(plan.delayAfter)),
        Effect.tap(() => (state.crashed ? dead : Effect.void)),
        Effect.flatMap(Effect.fromResult),
        Effect.onExit((exit) => Effect.sync(() => end(outcomeOf(exit))))
      )
    })

  const deleteMany: ObjectStore["Service"]["deleteMany"] = Effect.fnUntraced(function* (keys, deletion) {
    if (keys.length <= maxKeysPerRequest) {
      if (keys.length === 0) return yield* inner.deleteMany(keys, deletion)
      return yield* request(
        "deleteMany",
        keys[0]!,
        inner.deleteMany(keys, deletion),
        deletion?.repeatable === true,
        manyKeys(keys)
      )
    }
    const deleted: Array<string> = []
    const failed: Array<DeleteManyResult["failed"][number]> = []
    const errors: Array<StoreError> = []
    let succeeded = 0
    for (let start = 0; start < keys.length; start += maxKeysPerRequest) {
      const some = keys.slice(start, start + maxKeysPerRequest)
      const result = yield* Effect.result(deleteMany(some, deletion))
      if (result._tag === "Success") {
        succeeded += 1
        deleted.push(...result.success.deleted)
        failed.push(...result.success.failed)
      } else {
        errors.push(result.failure)
        failed.push(...some.map((key) => ({ key, reason: result.failure.reason })))
      }
    }
    if (succeeded === 0 && errors[0] !== undefined) return yield* errors[0]
    return { deleted, failed }
  })

  return {
    store: {
      ...inner,
      capabilities: inner.capabilities === undefined ? undefined : { ...inner.capabilities, sureAnswers: false },
      put: (put) =>
        request("put", put.key, inner.put(put), put.repeatable ?? (put.ifMatch ?? put.ifNoneMatch) !== undefined),
      get: (key, get) => request("get", key, inner.get(key, get), true),
      head: (key) => request("head", key, inner.head(key), true),
      delete: (key, deletion) =>
        request(
          "delete",
          key,
          inner.delete(key, deletion),
          deletion?.repeatable === true || deletion?.ifMatch !== undefined
        ),
      deleteMany,
      copy: (copy) =>
        request("copy", copy.from, inner.copy(copy), copy.ifSourceMatch !== undefined, `${copy.from} -> ${copy.to}`),
      list: (list) => request("list", list?.prefix ?? "", inner.list(list), true)
    },
    control: {
      stats: Effect.sync(() => ({ ...stats })),
      crashed: Effect.sync(() => state.crashed),
      crash,
      settled: Effect.suspend(() => Effect.asVoid(Fiber.awaitAll([...lateFibers])))
    }
  }
}

const pause = (millis: number): Effect.Effect<void> => (millis > 0 ? Effect.sleep(millis) : Effect.void)

const manyKeys = (keys: ReadonlyArray<string>): string =>
  keys.length === 1 ? keys[0]! : `${keys[0]} and ${keys.length - 1} more`

const delayOf = (plan: Plan): number => plan.delayBefore + plan.delayBetween + plan.delayAfter

const faultNames = (plan: Plan): ReadonlyArray<string> => {
  const names: Array<string> = []
  if (delayOf(plan) > 0) names.push(`delay ${delayOf(plan)}`)
  if (plan.throttle) names.push("throttle")
  if (plan.errorBefore !== undefined) names.push("errorBefore")
  if (plan.late > 0) names.push(`late ${plan.late}`)
  if (plan.duplicate) names.push("duplicate")
  if (plan.errorAfter) names.push("errorAfter")
  return names
}

/**
 * Puts faults before the store beneath. Build one for each client: a layer that is shared is one client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<ObjectStore | FaultControl, never, ObjectStore> =>
  Layer.effectContext(
    Effect.map(ObjectStore, (inner) => {
      const { control, store } = make(inner, options)
      return Context.make(ObjectStore, store).pipe(Context.add(FaultControl, control))
    })
  )
