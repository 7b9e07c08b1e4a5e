/**
 * The engine of a cache: reads go through its tiers, writes through its generations.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { percentEncode } from "../../internal/text.ts"
import * as sha256 from "../../internal/sha256.ts"
import type * as ReadThrough from "../../ReadThrough.ts"
import type { ObjectStore } from "../../storage/ObjectStore.ts"
import * as Generations from "./generations.ts"
import type { Peers } from "./redis.ts"
import { type Entry, type Key, type Tier, TierFailed } from "./tier.ts"

/**
 * How a method is cached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rule {
  readonly isEnabled: boolean
  /** In milliseconds. */
  readonly timeToLive: number
  readonly maxBytes: number
  readonly maxItems: number
  /** How often something is asked for before it is kept. */
  readonly storeFrom: number
}

/**
 * What reads do with a cache: as a rule; not at all; or load anew and keep that.
 *
 * @category models
 * @since 0.1.0
 */
export type Mode = "use" | "bypass" | "refresh"

/**
 * The mode of a fiber.
 *
 * @category references
 * @since 0.1.0
 */
export const CurrentMode: Context.Reference<Mode> = Context.Reference<Mode>("effect-s3db/plugins/Cache/mode", {
  defaultValue: (): Mode => "use"
})

/**
 * What is counted of a tier.
 *
 * @category models
 * @since 0.1.0
 */
export interface TierCounts {
  hits: number
  misses: number
  fills: number
  errors: number
}

/**
 * What is counted of reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  hits: number
  misses: number
  /** Misses that waited for another's load. */
  shared: number
  /** Reads that the cache had nothing to do with. */
  bypassed: number
  /** Loads that came after a write to what they depend on, and were not kept. */
  late: number
  /** Loads that were too large to be kept. */
  oversized: number
}

/**
 * What is counted by the engine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tally {
  readonly tiers: ReadonlyMap<string, TierCounts>
  readonly reads: ReadonlyMap<string, ReadonlyMap<string, Counts>>
  /** Writes that were recorded for other processes; those at the same time are one. */
  invalidations: number
  /** How often the generations could not be read or written. */
  generationErrors: number
  /** How often other processes could not be told by the peers. */
  peerErrors: number
}

/**
 * What happens to a tier: it is left alone for a while since it has failed again and again, or it answers again.
 *
 * @category models
 * @since 0.1.0
 */
export type TierEvent =
  | { readonly _tag: "TierLeft"; readonly tier: string; readonly problem: string; readonly pauseMillis: number }
  | { readonly _tag: "TierBack"; readonly tier: string }

/**
 * The options of an engine.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly store: ObjectStore["Service"]
  /** The key of the cell of a resource. */
  readonly cellKey: (resource: string) => string
  readonly root: string
  /** What keys are hashed with, so that nobody can tell by them what was asked for. */
  readonly salt: Uint8Array
  readonly tiers: ReadonlyArray<Tier>
  readonly peers: Peers | undefined
  readonly rules: ReadonlyMap<ReadThrough.Method, Rule>
  /** In milliseconds. */
  readonly staleness: number
  /** In milliseconds. */
  readonly tierTimeout: number
  readonly promotes: boolean
  /** What happens to a tier. */
  readonly onTier: (event: TierEvent) => Effect.Effect<void>
}

/**
 * A cache at work.
 *
 * @category models
 * @since 0.1.0
 */
export interface Engine {
  readonly readThrough: ReadThrough.ReadThrough
  readonly tally: () => Tally
  readonly reset: () => void
  /** The names of tiers that are left out for a while, since they failed. */
  readonly resting: Effect.Effect<ReadonlyArray<string>>
  /** Resources whose writes are not recorded yet. */
  readonly owing: () => ReadonlyArray<string>
}

/** A load that others wait for. */
interface Flight {
  readonly done: Deferred.Deferred<unknown, unknown>
  /** What was loaded, as it is kept, for those who wait. */
  held: { readonly value: unknown } | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  waiting: number
}

/** How long a tier is left alone after it has failed three times in a row, in milliseconds, and at most. */
const rest = { after: 3, first: 1000, most: 30_000 }

/** How many keys are counted until they are asked for often enough. */
const mostAsked = 10_000

const encoder = new TextEncoder()

const noCounts = (): Counts => ({ hits: 0, misses: 0, shared: 0, bypassed: 0, late: 0, oversized: 0 })

const decodeTold = Schema.decodeUnknownOption(Schema.fromJsonString(Generations.Told))

/** More than that between the clocks of two processes is too much to tell how old something is. In milliseconds. */
const clockTolerance = 2000

/**
 * Makes an engine, which looks after itself until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Engine, never, Scope.Scope> {
  const { cellKey, onTier, peers, promotes, root, rules, salt, staleness, store, tierTimeout, tiers } = options
  const tierCounts = new Map<string, TierCounts>()
  const readCounts = new Map<string, Map<string, Counts>>()
  const tally: Tally = { tiers: tierCounts, reads: readCounts, invalidations: 0, generationErrors: 0, peerErrors: 0 }
  const reset = () => {
    for (const { name } of tiers) tierCounts.set(name, { hits: 0, misses: 0, fills: 0, errors: 0 })
    readCounts.clear()
    tally.invalidations = tally.generationErrors = tally.peerErrors = 0
  }
  reset()

  const countsOf = (resource: string, method: string): Counts => {
    let byMethod = readCounts.get(resource)
    if (byMethod === undefined) readCounts.set(resource, (byMethod = new Map()))
    let counts = byMethod.get(method)
    if (counts === undefined) byMethod.set(method, (counts = noCounts()))
    return counts
  }

  // ---------------------------------------------------------------------------
  // Generations
  // ---------------------------------------------------------------------------

  const byResource = new Map<string, Generations.Generations>()
  const generationsOf = (resource: string): Generations.Generations => {
    const found = byResource.get(resource)
    if (found !== undefined) return found
    const made = Generations.make(store, {
      resource,
      key: cellKey(resource),
      staleness,
      onRecorded: (told) => {
        tally.invalidations += 1
        return peers === undefined
          ? Effect.void
          : peers.publish(JSON.stringify(told)).pipe(
              Effect.timeoutOrElse({
                duration: tierTimeout,
                orElse: () =>
                  Effect.fail(new TierFailed({ tier: "peers", operation: "publish", description: "no answer in time" }))
              }),
              Effect.catch(() => Effect.sync(() => void (tally.peerErrors += 1)))
            )
      },
      onTrouble: (error) => {
        tally.generationErrors += 1
        return Effect.logWarning(`the generations of ${resource} cannot be reached: its cache is left out`, error)
      }
    })
    byResource.set(resource, made)
    return made
  }

  const owing = () => [...byResource].filter(([, one]) => one.isOwing()).map(([resource]) => resource)

  /** What could not be recorded is recorded as soon as it can be. */
  const settle = Effect.forever(
    Effect.andThen(
      Effect.sleep(1000),
      Effect.suspend(() =>
        Effect.forEach(owing(), (resource) => Effect.uninterruptible(generationsOf(resource).record), { discard: true })
      )
    )
  )
  yield* Effect.forkScoped(settle)
  // Who closes leaves nothing owing, if it can.
  yield* Effect.addFinalizer(() =>
    Effect.forEach(owing(), (resource) => generationsOf(resource).record, { discard: true })
  )

  const onMessage = (message: string) => {
    const told = decodeTold(message)
    if (Option.isSome(told)) byResource.get(told.value.resource)?.learn(told.value)
  }
  if (peers !== undefined) {
    const listening = Effect.scoped(peers.subscribe(onMessage)).pipe(
      Effect.catch((error) => {
        tally.peerErrors += 1
        return Effect.logWarning("a cache cannot hear its peers: what they write is noticed later", error)
      }),
      Effect.andThen(Effect.sleep(1000))
    )
    yield* Effect.forkScoped(Effect.forever(listening), { startImmediately: true })
  }

  // ---------------------------------------------------------------------------
  // Tiers
  // ---------------------------------------------------------------------------

  const troubles = new Map<string, { failures: number; until: number }>()

  const isResting = (name: string, now: number): boolean => now < (troubles.get(name)?.until ?? 0)

  /** Asks a tier, unless it has failed often; that it fails is counted, and the same as having nothing. */
  const ask = <X>(tier: Tier, otherwise: X, effect: Effect.Effect<X, TierFailed>): Effect.Effect<X> =>
    tier.isImmediate === true ? Effect.orDie(effect) : watch(tier, otherwise, effect)

  const watch = Effect.fnUntraced(function* <X>(
    { name }: Tier,
    otherwise: X,
    effect: Effect.Effect<X, TierFailed>
  ): Effect.fn.Return<X> {
    const now = yield* Clock.currentTimeMillis
    if (isResting(name, now)) return otherwise
    const result = yield* Effect.result(
      Effect.timeoutOption(effect, tierTimeout).pipe(
        Effect.catchDefect((defect) =>
          Effect.fail(new TierFailed({ tier: name, operation: "any", description: `it died: ${String(defect)}` }))
        )
      )
    )
    if (Result.isSuccess(result) && Option.isSome(result.success)) {
      const isBack = (troubles.get(name)?.failures ?? 0) >= rest.after
      troubles.delete(name)
      if (isBack) yield* onTier({ _tag: "TierBack", tier: name })
      return result.success.value
    }
    tierCounts.get(name)!.errors += 1
    const failures = (troubles.get(name)?.failures ?? 0) + 1
    const pause = failures < rest.after ? 0 : Math.min(rest.most, rest.first * 2 ** (failures - rest.after))
    troubles.set(name, { failures, until: (yield* Clock.currentTimeMillis) + pause })
    if (pause > 0) {
      const problem = Result.isFailure(result) ? result.failure.description : "no answer in time"
      yield* onTier({ _tag: "TierLeft", tier: name, problem, pauseMillis: pause })
    }
    return otherwise
  })

  const keyOf = (read: Pick<ReadThrough.Read<never, never>, "resource" | "method" | "key">): Key => {
    const { key, method, resource } = read
    let path: string | undefined
    return {
      resource,
      text: JSON.stringify([resource, method, key]),
      get path() {
        if (path === undefined) {
          const digest = sha256.sha256(salt, encoder.encode(JSON.stringify([resource, method, key])))
          const hash = Array.from(digest.subarray(0, 20), (byte) => byte.toString(16).padStart(2, "0")).join("")
          path = `${root}resource=${percentEncode(resource)}/method=${method}/${hash}`
        }
        return path
      }
    }
  }

  const put = (key: Key, entry: Entry, into: ReadonlyArray<Tier>) =>
    Effect.forEach(
      into,
      (tier) =>
        Effect.map(ask(tier, false, Effect.as(tier.set(key, entry), true)), (isKept) => {
          if (isKept) tierCounts.get(tier.name)!.fills += 1
        }),
      { concurrency: "unbounded", discard: true }
    )

  const heldIn = <X, Held>({ held, text }: Entry, form: ReadThrough.Form<X, Held>): Held | undefined =>
    // What this very form has made is of its type.
    held !== undefined && held.form === form ? (held.value as Held) : form.fromText(text)

  /** What the first tier has that counts, made ready for the reader; those before it get it, too. */
  const find = Effect.fnUntraced(function* <X, Held>(
    key: Key,
    stamp: string,
    form: ReadThrough.Form<X, Held>,
    timeToLive: number
  ): Effect.fn.Return<Option.Option<X>> {
    for (const [i, tier] of tiers.entries()) {
      const counts = tierCounts.get(tier.name)!
      const found = yield* ask(tier, Option.none<Entry>(), tier.get(key))
      const now = yield* Clock.currentTimeMillis
      const isGood =
        Option.isSome(found) &&
        found.value.stamp === stamp &&
        now - found.value.loadedAt < timeToLive &&
        found.value.loadedAt - now < clockTolerance
      const held = isGood ? heldIn(found.value, form) : undefined
      const shown = held === undefined ? undefined : yield* Effect.exit(form.show(held))
      if (shown !== undefined && Exit.isFailure(shown) && Cause.hasInterrupts(shown.cause))
        return yield* Effect.interrupt
      if (shown === undefined || held === undefined || Option.isNone(found) || Exit.isFailure(shown)) {
        if (isGood) counts.errors += 1
        counts.misses += 1
        continue
      }
      counts.hits += 1
      if (promotes && i > 0) {
        const text = form.toText(held)
        yield* put(key, { ...found.value, text, held: { form, value: held } }, tiers.slice(0, i))
      }
      return Option.some(shown.value)
    }
    return Option.none()
  })

  // ---------------------------------------------------------------------------
  // Reads
  // ---------------------------------------------------------------------------

  const asked = new Map<string, number>()

  /** Whether something has been asked for often enough to be kept. */
  const isWanted = (key: Key, { storeFrom }: Rule): boolean => {
    if (storeFrom <= 1) return true
    const times = (asked.get(key.text) ?? 0) + 1
    asked.delete(key.text)
    if (times >= storeFrom) return true
    asked.set(key.text, times)
    for (const oldest of asked.keys()) {
      if (asked.size <= mostAsked) break
      asked.delete(oldest)
    }
    return false
  }

  /** Keeps what was loaded, unless it is late, too large, or not to be kept. */
  const keep = Effect.fnUntraced(function* <X, Held>(
    read: ReadThrough.Read<X, Held>,
    {
      key,
      loadedAt,
      rule,
      stamp
    }: { readonly key: Key; readonly loadedAt: number; readonly rule: Rule; readonly stamp: string },
    held: Held
  ) {
    const counts = countsOf(read.resource, read.method)
    const text = read.form.toText(held)
    if (text.length > rule.maxBytes) {
      counts.oversized += 1
      return
    }
    if (!generationsOf(read.resource).isCurrent(read.extent, stamp)) {
      counts.late += 1
      return
    }
    yield* put(key, { stamp, loadedAt, text, held: { form: read.form, value: held } }, tiers)
  })

  /** What a read goes by; `undefined`: the cache has nothing to do with it. */
  const plan = Effect.fnUntraced(function* (read: Omit<ReadThrough.Read<never, never>, "form">) {
    const mode = yield* CurrentMode
    const rule = rules.get(read.method)
    const stamp =
      mode === "bypass" || rule?.isEnabled !== true ? undefined : yield* generationsOf(read.resource).stamp(read.extent)
    if (stamp === undefined || rule === undefined) {
      countsOf(read.resource, read.method).bypassed += 1
      return undefined
    }
    return { mode, rule, stamp, key: keyOf(read) }
  })

  const flights = new Map<string, Flight>()

  /** Loads what several ask for at the same time once. It goes on until nobody waits for it any more. */
  const loadOnce = <X, Held, E, R>(
    read: ReadThrough.Read<X, Held>,
    planned: { readonly key: Key; readonly rule: Rule; readonly stamp: string; readonly mode: Mode },
    load: Effect.Effect<X, E, R>
  ): Effect.Effect<X, E, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const { key, stamp } = planned
        const name = `${planned.mode} ${stamp} ${key.text}`
        const counts = countsOf(read.resource, read.method)
        counts.misses += 1
        let flight = flights.get(name)
        const isFirst = flight === undefined
        if (flight === undefined) {
          const made: Flight = { done: Deferred.makeUnsafe(), held: undefined, fiber: undefined, waiting: 0 }
          flight = made
          flights.set(name, made)
          const loading = Effect.gen(function* () {
            const loadedAt = yield* Clock.currentTimeMillis
            const loaded = yield* load
            const held = read.form.hold(loaded)
            if (held !== undefined) {
              made.held = { value: held }
              if (planned.mode === "refresh" || isWanted(key, planned.rule))
                yield* keep(read, { ...planned, loadedAt }, held)
            }
            return loaded
          })
          made.fiber = yield* Effect.forkDetach(
            restore(loading).pipe(
              Effect.onExit((exit) => {
                if (flights.get(name) === made) flights.delete(name)
                return Deferred.done(made.done, exit)
              })
            )
          )
        } else counts.shared += 1
        const mine = flight
        mine.waiting += 1
        const leave = Effect.suspend(() => {
          mine.waiting -= 1
          if (mine.waiting > 0 || mine.fiber === undefined) return Effect.void
          if (flights.get(name) === mine) flights.delete(name)
          return Fiber.interrupt(mine.fiber)
        })
        // What was put there is what this very load has given.
        const waited = Deferred.await(mine.done) as Effect.Effect<X, E>
        const loaded = yield* Effect.onInterrupt(restore(waited), () => leave)
        if (isFirst) return loaded
        // Each reader has a result of his own.
        if (mine.held === undefined) return yield* restore(load)
        const shown = yield* Effect.exit(restore(read.form.show(mine.held.value as Held)))
        return Exit.isSuccess(shown) ? shown.value : yield* restore(load)
      })
    )

  const read: ReadThrough.ReadThrough["read"] = (read, load) =>
    Effect.flatMap(plan(read), (planned) => {
      if (planned === undefined) return load
      const { key, mode, rule, stamp } = planned
      if (mode === "refresh") return loadOnce(read, planned, load)
      return Effect.flatMap(find(key, stamp, read.form, rule.timeToLive), (found) => {
        if (Option.isNone(found)) return loadOnce(read, planned, load)
        countsOf(read.resource, read.method).hits += 1
        return Effect.succeed(found.value)
      })
    })

  const forms = new WeakMap<object, object>()

  /** The form of a list of what a form is for: the same for the same. */
  const listOf = <X, Held>(one: ReadThrough.Form<X, Held>): ReadThrough.Form<ReadonlyArray<X>, ReadonlyArray<Held>> => {
    type Lists = ReadThrough.Form<ReadonlyArray<X>, ReadonlyArray<Held>>
    const known = forms.get(one)
    if (known !== undefined) return known as Lists
    const made: Lists = {
      hold: (all) => {
        const held = all.map(one.hold).filter((item) => item !== undefined)
        return held.length === all.length ? held : undefined
      },
      show: (all) => Effect.forEach(all, one.show),
      toText: (all) => JSON.stringify(all.map(one.toText)),
      fromText: (text) => {
        try {
          const items: unknown = JSON.parse(text)
          if (!Array.isArray(items)) return undefined
          const held = items.map((item) => one.fromText(String(item))).filter((item) => item !== undefined)
          return held.length === items.length ? held : undefined
        } catch {
          return undefined
        }
      }
    }
    forms.set(one, made)
    return made
  }

  /** What goes by is kept when all of it has, as long as it is not too much. */
  const collecting = <X, Held, E, R>(
    given: ReadThrough.ReadMany<X, Held>,
    planned: { readonly key: Key; readonly rule: Rule; readonly stamp: string; readonly mode: Mode },
    load: Stream.Stream<X, E, R>
  ): Stream.Stream<X, E, R> =>
    Stream.unwrap(
      Effect.map(Clock.currentTimeMillis, (loadedAt) => {
        const counts = countsOf(given.resource, given.method)
        counts.misses += 1
        let held: Array<Held> | undefined = []
        const note = (one: X): X => {
          const kept = held === undefined ? undefined : given.form.hold(one)
          if (kept === undefined || held === undefined) held = undefined
          else if (held.length < planned.rule.maxItems) held.push(kept)
          else {
            counts.oversized += 1
            held = undefined
          }
          return one
        }
        const end = Effect.suspend(() =>
          held === undefined || !(planned.mode === "refresh" || isWanted(planned.key, planned.rule))
            ? Effect.void
            : keep({ ...given, form: listOf(given.form) }, { ...planned, loadedAt }, held)
        )
        // Only who has drawn all of it comes to its end.
        return Stream.concat(Stream.map(load, note), Stream.drain(Stream.fromEffect(end)))
      })
    )

  const stream: ReadThrough.ReadThrough["stream"] = (given, load) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const planned = yield* plan(given)
        if (planned === undefined) return load
        const { key, mode, rule, stamp } = planned
        const form = listOf(given.form)
        const found = mode === "refresh" ? Option.none() : yield* find(key, stamp, form, rule.timeToLive)
        if (Option.isNone(found)) return collecting(given, planned, load)
        countsOf(given.resource, given.method).hits += 1
        return Stream.fromArray(found.value)
      })
    )

  return {
    readThrough: {
      read,
      stream,
      forget: (resource, written) => generationsOf(resource).forget(written),
      told: (resource) => generationsOf(resource).record
    },
    tally: () => tally,
    reset,
    resting: Effect.map(Clock.currentTimeMillis, (now) =>
      tiers.map(({ name }) => name).filter((name) => isResting(name, now))
    ),
    owing
  }
})
