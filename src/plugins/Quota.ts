/**
 * Quotas: so much of something for a key and a time, that any number of processes take from, and never more than there is.
 *
 * ```ts
 * import * as Quota from "effect-s3db/plugins/Quota"
 * import { Effect } from "effect"
 *
 * const mails = Quota.budget("mails", { limit: 1000, window: { by: "month", timeZone: "Europe/Berlin" } })
 *
 * const program = Effect.gen(function* () {
 *   const quota = yield* Quota.Quota
 *   yield* quota.take(mails, "ada", 3)
 *   return yield* quota.left(mails, "ada")
 * })
 * ```
 *
 * **Details**
 *
 * Each budget has a bounded counter (`kernel/Escrow`) for each key and window, which begins with its limit, and nothing that is taken is ever more than that. When a window is over
 * the next one has a counter of its own. Windows begin at multiples of their length since 1970, or where a calendar says; which one it is, is told by the store's clock. What is
 * taken belongs to the window in which it was asked for.
 *
 * A process that crashes has used what it has taken, until the window is over; of a budget without a window for good.
 *
 * Requests: taking is 1 PUT, for all of a process at the time, and 1 GET the first time in a window, and where another process has written. A refusal is that, 2 LIST, and 1 GET for each slot that has changed;
 * it is remembered for a second, in which the same is refused without a request. The store's clock is 1 PUT, 1 HEAD and 1 DELETE when it is first needed, and each hour.
 *
 * @see `docs/guide/quotas.md`
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as RcMap from "effect/RcMap"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { percentEncode } from "../internal/text.ts"
import * as Escrow from "../kernel/Escrow.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import { deleteAll } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import * as Cohorts from "./eventual/cohorts.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A budget, a key or an amount that cannot be. Nothing was taken.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidQuota extends ExpectedError<InvalidQuota>("effect-s3db/plugins/Quota/InvalidQuota")(
  "InvalidQuota",
  { budget: Schema.String, field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `the budget ${JSON.stringify(this.budget)}, ${this.field}: ${this.problem}`
  }
}

/**
 * There is less than was asked for. Nothing was taken. `available` is what there was at one moment, not longer ago than a second before it was asked for.
 *
 * @remedy Take less, or wait: `afterMillis` says for how long, where the budget has a window.
 * @category errors
 * @since 0.1.0
 */
export class Exceeded extends ExpectedError<Exceeded>("effect-s3db/plugins/Quota/Exceeded")(
  "Exceeded",
  {
    budget: Schema.String,
    key: Schema.String,
    asked: Schema.Int,
    available: Schema.Int,
    limit: Schema.Int,
    /** When the next window begins, in milliseconds since the epoch by the store's clock. Absent: somebody has to give back. */
    moreAt: Schema.optionalKey(Schema.Finite),
    /** How long that is from when it was refused. */
    afterMillis: Schema.optionalKey(Schema.Finite)
  },
  { httpApiStatus: 429 }
) {
  override get message(): string {
    const more =
      this.moreAt === undefined ? "more is there when it is given back" : `more is there in ${this.afterMillis} ms`
    return `${this.asked} were asked for of ${this.budget} for ${JSON.stringify(this.key)}, where there are ${this.available} of ${this.limit}; ${more}`
  }
}

// -----------------------------------------------------------------------------
// Budgets
// -----------------------------------------------------------------------------

/**
 * A window of the calendar of a time zone. Weeks are those of ISO 8601, from Monday.
 *
 * @category models
 * @since 0.1.0
 */
export interface CalendarWindow {
  readonly by: "hour" | "day" | "week" | "month" | "year"
  /** Default: UTC. */
  readonly timeZone?: string | undefined
}

/**
 * How much there is, and for how long. All processes have to say the same; another limit counts from the next window on.
 *
 * @category models
 * @since 0.1.0
 */
export interface BudgetOptions {
  /** What there is of it in a window, for each key: a whole number from 1. */
  readonly limit: number
  /** After which time there is all of it again: 1 second and more, in whole milliseconds, or a window of the calendar. Default: never; what is taken is given back by `release`. */
  readonly window?: Duration.Input | CalendarWindow | undefined
  /** Over how many objects it is spread, so that processes that take at once seldom meet. 1 to 64; default: 1, which is fewest requests. */
  readonly slots?: number | undefined
}

/** A stretch of time, up to and without its end. */
interface Window {
  readonly from: number
  readonly until: number
}

/** What a budget is by its options. */
interface Rules {
  readonly limit: number
  readonly slots: number
  readonly windowAt: ((at: number) => Window) | undefined
}

/**
 * A budget: see `budget`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Budget {
  readonly name: string
  /** @internal */
  readonly rules: Result.Result<Rules, { readonly field: string; readonly problem: string }>
}

const day = 86_400_000

/** In so much time there is the beginning of the next one. */
const spans = { hour: day / 8, day: 3 * day, week: 15 * day, month: 63 * day, year: 732 * day }

const isCalendar = (window: Duration.Input | CalendarWindow): window is CalendarWindow =>
  typeof window === "object" && window !== null && "by" in window

const longestWindow = 366 * 100 * day

const rulesOf = (name: string, { limit, slots = 1, window }: BudgetOptions): Budget["rules"] => {
  const refuse = (field: string, problem: string) => Result.fail({ field, problem })
  if (typeof name !== "string" || name === "" || !name.isWellFormed()) {
    return refuse("name", "Expected a name of well-formed text")
  }
  if (!Number.isSafeInteger(limit) || limit < 1) return refuse("limit", "Expected a whole number from 1")
  if (!Number.isInteger(slots) || slots < 1 || slots > 64)
    return refuse("slots", "Expected a whole number from 1 to 64")
  const made = (windowAt: Rules["windowAt"]) => Result.succeed({ limit, slots, windowAt })
  if (window === undefined) return made(undefined)
  if (isCalendar(window)) {
    const { by, timeZone = "UTC" } = window
    if (!Object.hasOwn(spans, by)) return refuse("window", "Expected hour, day, week, month or year")
    const zone = DateTime.zoneFromString(timeZone)
    if (Option.isNone(zone)) {
      return refuse("window", `Expected the name of a time zone, not ${JSON.stringify(timeZone)}`)
    }
    const calendar = Cohorts.make(zone.value)
    let last: Window | undefined
    return made((at) => {
      if (last !== undefined && last.from <= at && at < last.until) return last
      const [own, next] = calendar.between(at, at + spans[by], by)
      return (last = { from: own!.at, until: next!.at })
    })
  }
  const length = millisecondsOf(window)
  if (!(Number.isInteger(length) && length >= 1000 && length <= longestWindow))
    return refuse("window", "Expected a duration of whole milliseconds, from 1 second to a century")
  return made((at) => {
    const from = Math.floor(at / length) * length
    return { from, until: from + length }
  })
}

/**
 * Declares a budget. No request, and no check before something is taken from it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const budget = (name: string, options: BudgetOptions): Budget => ({ name, rules: rulesOf(name, options) })

// -----------------------------------------------------------------------------
// Quota
// -----------------------------------------------------------------------------

/**
 * What was taken.
 *
 * @category models
 * @since 0.1.0
 */
export interface Taken {
  readonly amount: number
  /** When the window begins and ends that it was taken from, in milliseconds since the epoch; absent where the budget has none. */
  readonly window: { readonly from: number; readonly until: number } | undefined
  /**
   * Gives back what was not used, by default all, to the window that it was taken from. 1 PUT; none when all was given back. `InvalidQuota`: it is more than is left of it. A `DbError` with
   * the outcome `"unknown"`: it was given back, or not, and is not again.
   */
  readonly release: (amount?: number) => Effect.Effect<void, InvalidQuota | DbError.DbError>
}

/**
 * What there is of a budget.
 *
 * @category models
 * @since 0.1.0
 */
export interface Left {
  readonly available: number
  readonly limit: number
  /** When the next window begins, in milliseconds since the epoch by the store's clock. */
  readonly moreAt: number | undefined
}

/**
 * The errors of taking from a budget. `DbError` with the outcome `"unknown"`: it was taken, or not.
 *
 * @category errors
 * @since 0.1.0
 */
export type TakeError = Exceeded | InvalidQuota | DbError.DbError

/**
 * The quotas of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Quota extends Context.Service<
  Quota,
  {
    /**
     * Takes so much of a budget for a key, by default 1, or nothing. `Exceeded`: there is less, and when there is more. `InvalidQuota`: the budget, the key or the amount is
     * wrong; one that is more than the limit, too. Who is interrupted waits until the write that is under way has come to an end, and gives back what it has taken: 1 PUT.
     */
    readonly take: (budget: Budget, key: string, amount?: number) => Effect.Effect<Taken, TakeError>
    /**
     * Takes as `take`, and where there is less waits for the next window, or, of a budget without one, looks again after 100 ms, then twice as long each time up to 5 seconds. In no order: who asks first need
     * not be the first to get it. Put a time limit on it.
     */
    readonly wait: (
      budget: Budget,
      key: string,
      amount?: number
    ) => Effect.Effect<Taken, InvalidQuota | DbError.DbError>
    /** Takes so much while an effect runs, and gives it back afterwards, whatever comes of it: for budgets without a window. What cannot be given back is logged. */
    readonly hold: <A, E, R>(
      budget: Budget,
      key: string,
      effect: Effect.Effect<A, E, R>,
      amount?: number
    ) => Effect.Effect<A, E | TakeError, R>
    /** What there is of a budget for a key, at one moment. 2 LIST, and 1 GET for each slot that has changed. */
    readonly left: (budget: Budget, key: string) => Effect.Effect<Left, InvalidQuota | DbError.DbError>
    /** Removes what is left of windows that were over a day ago, and gives how many objects that was. 1 LIST for each 1,000 of all windows, and 1 DeleteObjects for each 1,000 that go. */
    readonly sweep: Effect.Effect<number, DbError.DbError>
  }
>()("effect-s3db/plugins/Quota") {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("quota", { version: 1 })

/**
 * What quotas are opened with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Plugin.Options {
  /** How often this process removes what is left of windows that are over: 1 minute and more; `false`: by `sweep` alone. Default: 1 day. */
  readonly sweepEvery?: Duration.Input | false | undefined
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidQuota | Plugin.InvalidPlugin | DbError.DbError

/** Windows stay so long after their end: who has been on his way for half of it has not got what he took. */
const grace = day

/** For so long it is not asked again what was refused. */
const remembered = 1000

/** Of so many refusals it is remembered. */
const mostRemembered = 10_000

const [firstPause, longestPause] = [100, 5000]

const tooLong =
  "Expected a key that is shorter: the store takes no name of an object that has it, and the budget's name, percent-encoded"

/** Times as long as each other, in their order as texts. */
const timeText = (at: number): string => String(at).padStart(15, "0")

/** A window of a budget for a key. */
interface Place {
  readonly rules: Rules
  readonly window: Window | undefined
  readonly key: string
}

/**
 * Opens the quotas of a database until the scope closes. The requests of `Plugin.open`, and those of the store's clock. `InvalidQuota`: `sweepEvery` is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Quota.make")(function* (
  options: Options = {}
): Effect.fn.Return<Quota["Service"], LayerError, Database | Scope.Scope> {
  const { sweepEvery = "1 day" } = options
  const every = sweepEvery === false ? undefined : millisecondsOf(sweepEvery)
  if (every !== undefined && !(every >= 60_000 && every <= 30 * day)) {
    return yield* new InvalidQuota({
      budget: "",
      field: "sweepEvery",
      problem: "Expected a duration from 1 minute to 30 days"
    })
  }
  const { store } = yield* Database
  const named = DbError.named("Quota")
  const self = yield* Plugin.open(plugin, options)
  const now = yield* named(StoreClock.kept(store))
  const untilPrefix = `${self.prefix()}until=`

  const escrows = yield* RcMap.make({
    lookup: (place: string) => {
      // Made by `idOf`.
      const [key, limit, slots] = JSON.parse(place) as [string, number, number]
      return Escrow.make(store, { key, initial: limit, slots })
    },
    idleTimeToLive: "1 minute"
  })
  const idOf = ({ key, rules: { limit, slots } }: Place) => JSON.stringify([key, limit, slots])
  const using = <A, E>(name: string, place: Place, use: (escrow: Escrow.Escrow) => Effect.Effect<A, E>) =>
    Effect.scoped(Effect.flatMap(RcMap.get(escrows, idOf(place)), use)).pipe(
      // That is a mistake of who has chosen the key, and no trouble of the store.
      Effect.mapError((error) =>
        StoreError.isStoreError(error) && error.reason._tag === "KeyTooLong"
          ? new InvalidQuota({ budget: name, field: "key", problem: tooLong })
          : error
      )
    )

  const placeAt = Effect.fnUntraced(function* ({ name, rules }: Budget, key: string, at: number) {
    if (Result.isFailure(rules)) return yield* new InvalidQuota({ budget: name, ...rules.failure })
    if (typeof key !== "string" || !key.isWellFormed()) {
      return yield* new InvalidQuota({ budget: name, field: "key", problem: "Expected a key of well-formed text" })
    }
    const window = rules.success.windowAt?.(at)
    const time = window === undefined ? "always" : `until=${timeText(window.until)}/from=${timeText(window.from)}`
    const place: Place = {
      rules: rules.success,
      window,
      key: `${self.prefix()}${time}/budget=${percentEncode(name)}/key=${percentEncode(key)}`
    }
    return place
  })

  /** What was refused lately, by its place: how much there was, and when. */
  const refusals = new Map<string, { readonly available: number; readonly at: number }>()

  const give = (name: string, place: Place, taken: number): Taken["release"] => {
    let left = taken
    return Effect.fn("Quota.release")(function* (amount = left) {
      if (!Number.isSafeInteger(amount) || amount < 0 || amount > left) {
        return yield* new InvalidQuota({
          budget: name,
          field: "amount",
          problem: `Expected a whole number up to ${left}, which is left of what was taken`
        })
      }
      if (amount === 0) return
      // Whatever comes of it: what was given back twice would be more than there is.
      left -= amount
      yield* Effect.uninterruptible(named(using(name, place, (escrow) => escrow.add(amount))))
      refusals.delete(place.key)
    })
  }

  const returned = (name: string, amount: number, release: Taken["release"]) =>
    Effect.catchCause(release(), (cause) =>
      Effect.logWarning(`${self.slug}: ${amount} of ${name} could not be given back`, cause)
    )

  const takeWith = Effect.fnUntraced(function* (
    of: Budget,
    key: string,
    amount: number,
    restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  ): Effect.fn.Return<Taken, TakeError> {
    for (;;) {
      const at = yield* restore(named(now))
      const place = yield* placeAt(of, key, at)
      const { rules, window } = place
      if (!Number.isSafeInteger(amount) || amount < 1 || amount > rules.limit) {
        const problem = `Expected a whole number from 1 to ${rules.limit}`
        return yield* new InvalidQuota({ budget: of.name, field: "amount", problem })
      }
      const exceeded = (available: number, refusedAt: number) =>
        new Exceeded({
          budget: of.name,
          key,
          asked: amount,
          available,
          limit: rules.limit,
          ...(window === undefined ? {} : { moreAt: window.until, afterMillis: Math.max(0, window.until - refusedAt) })
        })
      const known = refusals.get(place.key)
      if (known !== undefined && at - known.at < remembered && at >= known.at && amount > known.available) {
        yield* self.count("refused")
        return yield* exceeded(known.available, at)
      }
      const asked = yield* Effect.result(using(of.name, place, (escrow) => escrow.take(amount)))
      if (Result.isFailure(asked)) {
        if (asked.failure._tag !== "Insufficient") return yield* named(Effect.fail(asked.failure))
        const { available } = asked.failure
        const after = yield* restore(named(now))
        refusals.delete(place.key)
        refusals.set(place.key, { available, at: after })
        if (refusals.size > mostRemembered) refusals.delete(refusals.keys().next().value!)
        yield* self.count("refused")
        return yield* exceeded(available, after)
      }
      const release = give(of.name, place, amount)
      // Nobody gets to know of what was taken for who has been interrupted meanwhile.
      const after = yield* Effect.onError(restore(named(now)), () => returned(of.name, amount, release))
      // So late that the object of the window may have been removed, and begun anew.
      if (window !== undefined && after >= window.until + grace / 2) continue
      yield* self.count("taken", amount)
      return { amount, window, release }
    }
  })

  /** Who is interrupted waits until it is known what has come of the write, which is under way, and gives it back. */
  const take = (of: Budget, key: string, amount: number): Effect.Effect<Taken, TakeError> =>
    Effect.uninterruptibleMask((restore) => takeWith(of, key, amount, restore))

  const wait = Effect.fnUntraced(function* (
    of: Budget,
    key: string,
    amount: number
  ): Effect.fn.Return<Taken, InvalidQuota | DbError.DbError> {
    for (let pause = firstPause; ; pause = Math.min(pause * 2, longestPause)) {
      const taken = yield* Effect.result(take(of, key, amount))
      if (Result.isSuccess(taken)) return taken.success
      if (taken.failure._tag !== "Exceeded") return yield* Effect.fail(taken.failure)
      const chance = yield* Random.next
      yield* Effect.sleep((taken.failure.afterMillis ?? pause) + chance * firstPause)
    }
  })

  const sweep = Effect.gen(function* () {
    const end = `${untilPrefix}${timeText((yield* now) - grace)}`
    return yield* deleteAll(store, untilPrefix, (key) => key < end)
  })

  let trouble: string | undefined
  if (every !== undefined) {
    const once = Effect.matchCauseEffect(sweep, {
      onSuccess: () => Effect.sync(() => void (trouble = undefined)),
      onFailure: (cause) => {
        trouble = "windows that are over could not be removed"
        return Effect.logWarning(`${self.slug}: ${trouble}; it is tried again`, cause)
      }
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(once, Effect.sleep(every))))
  }
  yield* self.running({
    health: Effect.sync(() => (trouble === undefined ? { level: "up" } : { level: "degraded", detail: trouble }))
  })

  return {
    take: Effect.fn("Quota.take")((of, key, amount = 1) => take(of, key, amount)),
    wait: Effect.fn("Quota.wait")((of, key, amount = 1) => wait(of, key, amount)),
    hold: <A, E, R>(of: Budget, key: string, effect: Effect.Effect<A, E, R>, amount = 1) =>
      Effect.acquireUseRelease(
        take(of, key, amount),
        () => effect,
        ({ release }) => returned(of.name, amount, release)
      ).pipe(Effect.withSpan("Quota.hold")),
    left: Effect.fn("Quota.left")(function* (of, key) {
      const place = yield* placeAt(of, key, yield* named(now))
      const available = yield* named(using(of.name, place, (escrow) => escrow.value))
      return { available, limit: place.rules.limit, moreAt: place.window?.until }
    }),
    sweep: named(sweep).pipe(Effect.withSpan("Quota.sweep"))
  }
})

/**
 * Opens the quotas of a database, with options, until the layer is closed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Quota, LayerError, Database> =>
  Layer.effect(Quota, make(options))

/**
 * Opens the quotas of a database until the layer is closed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Quota, LayerError, Database> = layerWith({})
