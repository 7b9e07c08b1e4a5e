/**
 * The store of Effect's `RateLimiter` in a database: one limit for all processes that share it.
 *
 * ```ts
 * import * as S3RateLimiter from "effect-s3db/persistence/RateLimiter"
 * import { Effect, Layer } from "effect"
 * import { RateLimiter } from "effect/persistence"
 *
 * const program = Effect.gen(function* () {
 *   const limiter = yield* RateLimiter.RateLimiter
 *   yield* limiter.consume({ key: "mail", limit: 10, window: "1 minute" })
 * })
 *
 * const live = Effect.provide(program, RateLimiter.layer.pipe(Layer.provide(S3RateLimiter.layerStore)))
 * ```
 *
 * **Details**
 *
 * What has been consumed of a key is one object, changed by compare-and-set: with any number of processes no token is given twice. Time
 * is the store's, so that clocks that differ do not widen the limit.
 *
 * | operation | requests |
 * |---|---|
 * | consuming | 1 PUT, with 1 GET before it the first time in a process; 1 GET and 1 PUT more for each process that was first |
 * | consuming what is used up | none, or the 1 GET |
 * | adaptive limits: feedback that changes something | as consuming |
 * | the store's clock | 3 at first, and 3 an hour |
 *
 * **Gotchas**
 *
 * A key that many processes consume at once is as fast as the store writes one object again and again: some 10 times a second on S3.
 * Consume more tokens at once then, or split the key. Windows of a few seconds are as exact as the store's clock, which tells whole
 * seconds on S3.
 *
 * A token that was taken by a process that died before it got the answer is taken: a limit is never exceeded, and may be met a
 * little early.
 *
 * @see `docs/guide/effect-ports.md`
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Database } from "../Database.ts"
import { percentEncode } from "../internal/text.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as expiring from "../kernel/internal/expiring.ts"
import * as grouped from "../kernel/internal/grouped.ts"
import * as PluginStore from "../kernel/PluginStore.ts"
import * as StoreClock from "../kernel/StoreClock.ts"
import * as Plugin from "../Plugin.ts"
import type { ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"
import { registering } from "./internal/registering.ts"
import { sweeping } from "./internal/sweeping.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Which limits of a database a store has.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells it from others of the same database: what its keys begin with is `plugin=<name>/`. Default: `rate-limiter`. */
  readonly name?: string | undefined
  /**
   * How often the objects of limits that nobody uses any more are removed, by one of the processes that share the database: 1 minute at
   * least; `false`: never, and `sweep` does it. Default: 1 day.
   */
  readonly sweepEvery?: Duration.Input | false | undefined
}

const Window = Schema.Struct({ count: Schema.Finite })
const Bucket = Schema.Struct({ tokens: Schema.Finite, lastRefill: Schema.Finite })
const Adaptive = Schema.Struct({
  phase: Schema.Literals(["cooldown", "learning", "learned"]),
  epoch: Schema.Int,
  cooldownUntil: Schema.Finite,
  learningStartedAt: Schema.Finite,
  observedTokens: Schema.Finite,
  learnedLimit: Schema.Finite,
  learnedWindowMillis: Schema.Finite
})
type Adaptive = typeof Adaptive.Type

/** A value, and until when it counts. */
interface Kept<S> {
  readonly value: S
  readonly expiresAt: number
}

/** What comes of a value that is there: what whoever asks is told, and what is there next. Nothing: it stays as it is. */
type Step<S, A> = (
  found: Kept<S> | undefined,
  now: number
) => { readonly result: A; readonly next?: Kept<S> | undefined }

/** Of so many keys it is remembered what was last written. */
const mostKnown = 10_000

/** As long as a state is of use after its time is over. */
const grace = 60_000

const longestWindow = 3_600_000

const clamped = (millis: number): number => (millis > 0 ? Math.min(millis, longestWindow) : 1)

// -----------------------------------------------------------------------------
// Steps
// -----------------------------------------------------------------------------

type Service = EffectRateLimiter.RateLimiterStore["Service"]
type Counted = readonly [number, number]

const fixedWindow =
  ({ limit, refillRate, tokens }: Parameters<Service["fixedWindow"]>[0]): Step<typeof Window.Type, Counted> =>
  (found, now) => {
    const { expiresAt, value } = found ?? { value: { count: 0 }, expiresAt: now }
    const count = value.count + tokens
    // A limit of 0 is none, as in Effect's own.
    if (limit && count > limit) return { result: [count, expiresAt - now] }
    const next = { value: { count }, expiresAt: expiresAt + Duration.toMillis(refillRate) * tokens }
    return { result: [count, next.expiresAt - now], next }
  }

const tokenBucket =
  (options: Parameters<Service["tokenBucket"]>[0]): Step<typeof Bucket.Type, Counted> =>
  (found, now) => {
    const { allowOverflow, limit, tokens } = options
    const each = Duration.toMillis(options.refillRate)
    let { lastRefill, tokens: there } = found?.value ?? { tokens: limit, lastRefill: now }
    const refilled = Math.floor((now - lastRefill) / each)
    if (refilled > 0) {
      there = Math.min(limit, there + refilled)
      lastRefill += refilled * each
    }
    if (there >= limit) lastRefill = now
    const left = there - tokens
    const result: Counted = [left, Math.max(0, now - lastRefill)]
    if (left < 0 && !allowOverflow) return { result }
    // When it is full again it is as if it had never been.
    const expiresAt = Math.max(lastRefill + Math.ceil(limit - left) * each, now + 1)
    return { result, next: { value: { tokens: left, lastRefill }, expiresAt } }
  }

const adaptiveConsume =
  (
    options: EffectRateLimiter.AdaptiveConsumeOptions
  ): Step<
    Adaptive,
    { readonly delay: number; readonly epoch: number; readonly phase: EffectRateLimiter.AdaptivePhase }
  > =>
  (found, now) => {
    if (found === undefined) return { result: { delay: 0, epoch: 0, phase: "inactive" } }
    const { expiresAt, value: state } = found
    const told = (next: Adaptive, until: number, delay = 0) => ({
      result: { delay: Math.max(0, delay), epoch: next.epoch, phase: next.phase },
      next: { value: next, expiresAt: until }
    })
    if (state.phase === "learning") {
      return told({ ...state, observedTokens: state.observedTokens + options.tokens }, expiresAt)
    }
    if (state.phase === "cooldown") {
      const delay = state.cooldownUntil - now
      if (delay > 0) return { result: { delay, epoch: state.epoch, phase: "cooldown" } }
      const begun = { learningStartedAt: now, observedTokens: options.tokens }
      const learning: Adaptive = { ...state, ...begun, phase: "learning", epoch: state.epoch + 1 }
      return told(learning, now + Duration.toMillis(options.fallbackWindow) + grace)
    }
    const each = state.learnedWindowMillis / state.learnedLimit
    const isOver = state.cooldownUntil <= now
    const observedTokens = (isOver ? 0 : state.observedTokens) + options.tokens
    const cooldownUntil = (isOver ? now : state.cooldownUntil) + each * options.tokens
    const elapsed = observedTokens * each - (cooldownUntil - now)
    const window = Math.floor((observedTokens - 1) / state.learnedLimit)
    return told({ ...state, observedTokens, cooldownUntil }, expiresAt, window * state.learnedWindowMillis - elapsed)
  }

const adaptiveFeedback =
  (options: EffectRateLimiter.AdaptiveFeedbackOptions, retryAfter: number): Step<Adaptive, void> =>
  (found, now) => {
    const unchanged = { result: undefined }
    const until = now + retryAfter
    const cooling = (epoch: number, cooldownUntil: number) => ({
      result: undefined,
      next: {
        value: {
          phase: "cooldown" as const,
          epoch,
          cooldownUntil,
          learningStartedAt: 0,
          observedTokens: 0,
          learnedLimit: 0,
          learnedWindowMillis: 0
        },
        expiresAt: cooldownUntil + grace
      }
    })
    if (found === undefined) return options.epoch === 0 ? cooling(0, until) : unchanged
    const state = found.value
    if (state.epoch !== options.epoch) return unchanged
    if (state.phase === "cooldown") return cooling(state.epoch, Math.max(state.cooldownUntil, until))
    const accepted = state.observedTokens - options.tokens
    if (state.phase === "learned" || accepted <= 0) return cooling(state.epoch, until)
    const learnedWindowMillis = clamped(now - state.learningStartedAt + retryAfter)
    const value: Adaptive = {
      ...state,
      phase: "learned",
      epoch: state.epoch + 1,
      cooldownUntil: state.learningStartedAt + learnedWindowMillis,
      observedTokens: accepted,
      learnedLimit: accepted,
      learnedWindowMillis
    }
    return { result: undefined, next: { value, expiresAt: now + learnedWindowMillis + grace } }
  }

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

const isCount = (n: unknown): boolean => typeof n === "number" && Number.isFinite(n) && n >= 0
const isTime = (time: Duration.Duration): boolean => isCount(Duration.toMillis(time))

/** What is asked and cannot be: with numbers that are none a limit would be none, silently. */
const refuseUnless = (...checks: ReadonlyArray<readonly [field: string, isFit: boolean, expected: string]>) => {
  const wrong = checks.find(([, isFit]) => !isFit)
  return wrong === undefined ? Effect.void : Effect.fail(invalid(wrong[0], `${wrong[0]} is ${wrong[2]}`))
}

const aNumber = "a finite number from 0"
const aTime = "a finite time from 0"

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

type Version = CasCell.Version<expiring.State>

/** What a step makes of what is there. */
type Apply = (state: expiring.State | undefined) => Effect.Effect<expiring.State | undefined, StoreError.StoreError>

/**
 * Creates the store of Effect's `RateLimiter` on a store that honours conditional writes. What one process consumes of a key
 * while a write of it is under way is written together.
 *
 * Dies with a `RangeError` when `sweepEvery` is less than a minute.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  store: ObjectStore["Service"],
  options: Options = {}
): Effect.fn.Return<Service, never, Scope.Scope> {
  const { name = "rate-limiter", sweepEvery = "1 day" } = options
  const now = yield* StoreClock.kept(store)
  const limits = PluginStore.make(store, { plugin: name, schema: Schema.Json, now })
  yield* sweeping(limits, { every: sweepEvery, turn: "swept", mark: null })
  const format = expiring.format("a limit")
  /** What is there as far as is known, by key. Others can only have taken more of it. */
  const known = new Map<string, Version>()

  const remember = (key: string, version: Version) => {
    known.delete(key)
    known.set(key, version)
    if (known.size > mostKnown) known.delete(known.keys().next().value!)
  }

  const submit = yield* grouped.make(
    Effect.fnUntraced(function* (key: string, batch: ReadonlyArray<Apply>) {
      const from = known.get(key)
      // Until it is known what has come of it.
      known.delete(key)
      const change = (state: expiring.State | undefined) =>
        Effect.reduce(
          batch,
          () => state,
          (before, apply) => apply(before)
        )
      remember(key, yield* CasCell.make(store, key, format).modify(change, from))
    })
  )

  const update = Effect.fnUntraced(function* <S extends Schema.Json, A>(
    kind: string,
    schema: Schema.Codec<S, unknown>,
    id: string,
    step: Step<S, A>
  ) {
    if (typeof id !== "string" || !id.isWellFormed()) return yield* invalid("key", "the key is no valid Unicode")
    const key = `${PluginStore.keyPrefix(name)}${kind}/key=${percentEncode(id)}`
    const decode = Schema.decodeUnknownEffect(schema)
    let outcome: { readonly result: A } | undefined
    const apply = Effect.fnUntraced(function* (state: expiring.State | undefined) {
      const time = yield* now
      const live = yield* expiring.live(state, Effect.succeed(time))
      const value = live && (yield* Effect.mapError(decode(live.value), () => corrupt(key)))
      const stepped = step(value && { value, expiresAt: live?.expiresAt ?? time }, time)
      outcome = stepped
      return stepped.next ?? state
    })
    yield* submit(key, apply)
    return outcome!.result
  })

  const named = (operation: string) =>
    Effect.mapError(
      (cause: StoreError.StoreError) =>
        new EffectRateLimiter.RateLimiterError({
          reason: new EffectRateLimiter.RateLimitStoreError({ message: `${operation} failed: ${cause.message}`, cause })
        })
    )

  return {
    fixedWindow: Effect.fn("RateLimiter.fixedWindow")(function* (asked) {
      const { limit, refillRate, tokens } = asked
      yield* refuseUnless(
        ["tokens", isCount(tokens), aNumber],
        ["limit", limit === undefined || limit === Infinity || isCount(limit), "a number from 0"],
        ["refillRate", isTime(refillRate), aTime]
      ).pipe(named("fixedWindow"))
      return yield* update("window", Window, asked.key, fixedWindow(asked)).pipe(named("fixedWindow"))
    }),
    tokenBucket: Effect.fn("RateLimiter.tokenBucket")(function* (asked) {
      const { limit, refillRate, tokens } = asked
      yield* refuseUnless(
        ["tokens", isCount(tokens), aNumber],
        ["limit", isCount(limit), aNumber],
        ["refillRate", isTime(refillRate), aTime]
      ).pipe(named("tokenBucket"))
      return yield* update("bucket", Bucket, asked.key, tokenBucket(asked)).pipe(named("tokenBucket"))
    }),
    adaptiveConsume: Effect.fn("RateLimiter.adaptiveConsume")(function* (asked) {
      yield* refuseUnless(
        ["tokens", isCount(asked.tokens), aNumber],
        ["fallbackWindow", isTime(asked.fallbackWindow), aTime]
      ).pipe(named("adaptiveConsume"))
      const found = yield* update("adaptive", Adaptive, asked.key, adaptiveConsume(asked)).pipe(
        named("adaptiveConsume")
      )
      return { ...found, delay: Duration.millis(found.delay) }
    }),
    adaptiveFeedback: Effect.fn("RateLimiter.adaptiveFeedback")(function* (asked) {
      if (asked.status !== 429 || asked.retryAfter === undefined) return
      yield* refuseUnless(["tokens", isCount(asked.tokens), aNumber]).pipe(named("adaptiveFeedback"))
      const step = adaptiveFeedback(asked, clamped(Duration.toMillis(asked.retryAfter)))
      yield* update("adaptive", Adaptive, asked.key, step).pipe(named("adaptiveFeedback"))
    })
  }
})

const failed = (operation: "get" | "put", key: string, reason: StoreError.Reason) =>
  new StoreError.StoreError({ operation, key, reason })

const invalid = (argument: string, description: string) =>
  new StoreError.StoreError({ operation: "put", reason: new StoreError.InvalidArgument({ description, argument }) })

const corrupt = (key: string) =>
  failed("get", key, new StoreError.Corrupt({ description: "what is there is no limit" }))

/**
 * Removes the objects of limits that nobody uses any more, and gives their number. 1 LIST for each 1,000 limits, 1 GET for each, and 1
 * request for each that goes; 3 for the store's clock.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sweep = Effect.fn("RateLimiter.sweep")(function* (
  store: ObjectStore["Service"],
  { name = "rate-limiter" }: Pick<Options, "name"> = {}
): Effect.fn.Return<number, StoreError.StoreError> {
  const now = yield* StoreClock.kept(store)
  return yield* PluginStore.make(store, { plugin: name, schema: Schema.Json, now }).sweep
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The port as a plugin: `Plugin.statuses` has an entry for each of its layers, and `Plugin.uninstall` with `purge` removes what it has stored,
 * when none is open. What has another name is removed by that: `Plugin.define("settings", { version: 1 })`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("rate-limiter", { version: 1 })

/**
 * Creates a layer of the store of Effect's `RateLimiter` in a database, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStoreWith = (options: Options): Layer.Layer<EffectRateLimiter.RateLimiterStore, never, Database> =>
  Layer.effect(
    EffectRateLimiter.RateLimiterStore,
    Effect.gen(function* () {
      const { running, store } = yield* registering(plugin, options.name ?? plugin.name)
      const made = yield* make(store, options)
      yield* running()
      return made
    })
  )

/**
 * The layer of the store of Effect's `RateLimiter` in a database.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStore: Layer.Layer<EffectRateLimiter.RateLimiterStore, never, Database> = layerStoreWith({})
