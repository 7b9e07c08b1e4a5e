/**
 * What the requests of a database cost as they happen, by resource, plugin and operation; what a month of them would cost; and alarms when a
 * budget is used up.
 *
 * ```ts
 * import * as Database from "effect-s3db/Database"
 * import * as Costs from "effect-s3db/plugins/Costs"
 * import * as Prices from "effect-s3db/storage/Prices"
 * import { Layer } from "effect"
 *
 * const Priced = Costs.layer({
 *   prices: Prices.s3Standard["eu-central-1"],
 *   budgets: [{ name: "all", per: "month", dollars: 20 }]
 * }).pipe(Layer.provideMerge(Database.layer))
 * ```
 *
 * **Details**
 *
 * Every request of this process in this database is priced when it is over, by a table of `Prices`: those that the store has answered,
 * also by a refusal; what it could not be reached for costs nothing. Whose it is its key says, and whoever made it. Once in each
 * interval, by default a minute, what has been added is written as an object of its own, compressed, beside those of
 * other processes; `query`, `estimate` and budgets add them up. A crash loses what was counted in the interval under way, and nothing else.
 *
 * Not seen are the few requests of opening the database, what a store sends again by itself, and programs without this layer.
 *
 * Requests: 1 PUT for each interval in which anything was asked for, in each process; once an hour as of `Metrics`. With budgets 1 query by
 * hours every quarter of an hour in each process, and 1 PUT for each alarm. None in an operation.
 *
 * @see `docs/guide/costs.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import type * as Change from "../Change.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { percentEncode } from "../internal/text.ts"
import * as CasCell from "../kernel/CasCell.ts"
import * as CreateOnce from "../kernel/CreateOnce.ts"
import * as Plugin from "../Plugin.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"
import { listAll } from "../storage/ObjectStore.ts"
import * as Prices from "../storage/Prices.ts"
import * as Account from "./costs/account.ts"
import * as Stored from "./costs/stored.ts"
import * as Flusher from "./metrics/flusher.ts"
import * as Ledger from "./metrics/ledger.ts"
import * as Recording from "./metrics/recording.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An option, or a part of a request, that cannot be. Nothing was written. `field` says which one, `problem` what was expected.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidCosts extends ExpectedError<InvalidCosts>("effect-s3db/plugins/Costs/InvalidCosts")(
  "InvalidCosts",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `costs, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidCosts | Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Requests of one kind, by whom they were made, and what they cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cost extends Account.Charge {
  /** Of requests and transfer, at the prices of the time. */
  readonly dollars: number
}

/**
 * The same, from a time on, for as long as the resolution says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Point extends Cost {
  readonly at: DateTime.Utc
}

/**
 * What is stored of a resource and a plugin.
 *
 * @category models
 * @since 0.1.0
 */
export interface Part {
  readonly resource: string
  readonly plugin: string
  readonly objects: number
  readonly bytes: number
  /** How many objects were replaced or removed since then whose size nobody knew: `bytes` does not know of these. */
  readonly unknown: number
}

/**
 * What is stored: as last measured, with what has changed since, as far as it is known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Storage {
  /** `None`: it was never measured, and what was there before is not known. */
  readonly measuredAt: Option.Option<DateTime.Utc>
  readonly parts: ReadonlyArray<Part>
  readonly objects: number
  readonly bytes: number
  readonly unknown: number
  /** For a month of it. */
  readonly dollars: number
}

/**
 * What some days would cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Estimate {
  readonly days: number
  /** What was looked at: so many requests were answered in it. */
  readonly from: DateTime.Utc
  readonly to: DateTime.Utc
  readonly requests: number
  /** Of requests and transfer as in that time, and of what plugins would ask for beyond. */
  readonly dollarsForRequests: number
  readonly dollarsForStorage: number
  readonly dollars: number
  /** Where it comes from, the dearest first, without storage. */
  readonly parts: ReadonlyArray<{ readonly resource: string; readonly plugin: string; readonly dollars: number }>
  /** The table that plugins and storage were priced by: its name and version. */
  readonly prices: string
}

/**
 * A share of a budget that is used up. It is told once for each budget, period and threshold, whichever process sees it first, also across
 * restarts.
 *
 * @category models
 * @since 0.1.0
 */
export interface BudgetReached {
  readonly _tag: "BudgetReached"
  readonly budget: string
  /** `2026-11`, or `2026-11-27`. */
  readonly period: string
  /** The share: 0.8 for four fifths. */
  readonly threshold: number
  /** What had been spent then, and what the budget is, in US dollars. */
  readonly spent: number
  readonly dollars: number
  readonly at: DateTime.Utc
}

/**
 * What the plugin tells.
 *
 * @category models
 * @since 0.1.0
 */
export type Event = BudgetReached

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

/**
 * What may be spent on requests and transfer, by all processes with this plugin. Days and months are those of UTC.
 *
 * @category models
 * @since 0.1.0
 */
export interface Budget {
  /** Tells budgets apart: 1 to 50 characters. */
  readonly name: string
  readonly per: "day" | "month"
  readonly dollars: number
  /** The shares at which it is told. Default: 0.5, 0.8 and 1. */
  readonly thresholds?: ReadonlyArray<number> | undefined
  /** Only what this resource costs. Default: everything. */
  readonly resource?: string | undefined
}

/**
 * By which prices, and how long what was counted is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Plugin.Options, Recording.Options {
  /** The prices of the store: one of `Prices`, or a table of one's own. For a folder: `Prices.none`. */
  readonly prices: Prices.Table
  readonly budgets?: ReadonlyArray<Budget> | undefined
  readonly keep?: Keep | undefined
}

/**
 * How long the past is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keep extends Recording.Keep {}

/**
 * A time from which, and one up to which.
 *
 * @category models
 * @since 0.1.0
 */
export interface RangeOptions {
  /** Default: a day ago. Taken from the beginning of its hour. */
  readonly from?: DateTime.DateTime.Input | undefined
  /** Not included. Default: now. */
  readonly to?: DateTime.DateTime.Input | undefined
}

/**
 * What is asked of the past.
 *
 * @category models
 * @since 0.1.0
 */
export interface QueryOptions extends RangeOptions {
  /** How long each point is: see `Metrics.QueryOptions`. Default: 1 hour. */
  readonly resolution?: Duration.Input | undefined
}

/**
 * What is estimated, and from what.
 *
 * @category models
 * @since 0.1.0
 */
export interface EstimateOptions extends RangeOptions {
  /** Default: 30. */
  readonly days?: number | undefined
  /** How many times as many requests there would be. Default: 1. */
  readonly multiplier?: number | undefined
  /** Other prices: what the same requests would cost elsewhere. Default: those of the plugin, and for what has been, those of the time. */
  readonly prices?: Prices.Table | undefined
}

/**
 * Requests that this database does not see: of another store, or past it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded {
  /** What they were about: up to 200 characters. Choose from few. */
  readonly resource: string
  /** Up to 200 characters. Default: none. */
  readonly operation?: string | undefined
  readonly kind: InstrumentedStore.Kind
  /** Default: 1. */
  readonly requests?: number | undefined
  /** Bytes. Default: 0. */
  readonly sent?: number | undefined
  readonly received?: number | undefined
}

// -----------------------------------------------------------------------------
// Costs
// -----------------------------------------------------------------------------

/**
 * The costs of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Costs extends Context.Service<
  Costs,
  {
    /** What this process has asked for since the layer was opened. No request. */
    readonly totals: Effect.Effect<ReadonlyArray<Cost>>
    /**
     * What all processes have written, in the order of time. What is not written yet is not in it: see `flush`. Requests as of
     * `Metrics.query`. `InvalidCosts`: a time or the resolution is wrong.
     */
    readonly query: (options?: QueryOptions) => Stream.Stream<Point, InvalidCosts | DbError.DbError>
    /**
     * What some days would cost if they were as the time that is looked at, with what is stored now, and what plugins that are open would ask for by
     * themselves where that is more than what was seen of them. Requests as of `query` by hours, and of `storage`. `InvalidCosts`: a time or a
     * number is wrong.
     */
    readonly estimate: (options?: EstimateOptions) => Effect.Effect<Estimate, InvalidCosts | DbError.DbError>
    /**
     * What is stored: as last measured, and what has been written and removed since, as far as sizes are known. Measure again before the hours
     * since then are kept no longer. 1 GET, and those of `query` by hours since then; by days where it was never measured.
     */
    readonly storage: Effect.Effect<Storage, DbError.DbError>
    /**
     * Measures what is stored, by listing everything, and remembers it. `sample` objects of each resource and plugin are asked for their
     * metadata, which listings do not tell: 0 to 1,000, default 16. What others write meanwhile may count twice or not at all. 1 LIST for
     * each 1,000 objects, a HEAD for each of these, 1 GET and 1 PUT, and those of `query` for the hour.
     */
    readonly measure: (options?: {
      readonly sample?: number | undefined
    }) => Effect.Effect<Storage, InvalidCosts | DbError.DbError>
    /** Prices requests that this database does not see. No request. `InvalidCosts`: a name or a number cannot be. */
    readonly record: (recorded: Recorded) => Effect.Effect<void, InvalidCosts>
    /**
     * Writes what was counted, without waiting for the end of the interval, and looks at budgets. 1 PUT, none where nothing was; for
     * budgets a query by hours. What fails is written the next time.
     */
    readonly flush: Effect.Effect<void, DbError.DbError>
    /** Rolls up the hours that are over: see `Metrics`. */
    readonly rollUp: Effect.Effect<Option.Option<{ readonly added: number; readonly removed: number }>, DbError.DbError>
    /** Alarms of this process, from when the stream is drawn; who is more than 1,024 behind is told how many were dropped. */
    readonly alarms: Stream.Stream<Event | Change.Lagged>
    /** Every alarm that was ever raised, by any process. 1 LIST for each 1,000, and 1 GET for each. */
    readonly raised: Stream.Stream<BudgetReached, DbError.DbError>
  }
>()("effect-s3db/plugins/Costs") {}

/**
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin<Event> = Plugin.define<Event>("costs", { version: 1 })

/** How long it is known what other processes have spent. */
const fresh = 15 * 60_000

const invalid = (field: string, problem: string) => new InvalidCosts({ field, problem })

const decodeTable = Schema.decodeUnknownResult(Prices.Table)

const isName = (text: string, least: number, most: number): boolean =>
  text.length >= least && text.length <= most && text.isWellFormed()

const checked = Effect.fnUntraced(function* (options: Options) {
  const { budgets = [], prices } = options
  if (Result.isFailure(decodeTable(prices))) return yield* invalid("prices", "Expected a table of Prices")
  for (const [i, { dollars, name, per, thresholds = [] }] of budgets.entries()) {
    const refuse = (field: string, problem: string) => invalid(`budgets.${i}.${field}`, problem)
    if (!isName(name, 1, 50)) return yield* refuse("name", "Expected 1 to 50 characters of valid Unicode")
    if (budgets.findIndex((one) => one.name === name) !== i) {
      return yield* refuse("name", "Expected another name: there are two budgets of this one")
    }
    if (per !== "day" && per !== "month") return yield* refuse("per", 'Expected "day" or "month"')
    if (!(dollars > 0) || !Number.isFinite(dollars)) return yield* refuse("dollars", "Expected a number above 0")
    if (!thresholds.every((one) => one > 0 && Number.isFinite(one))) {
      return yield* refuse("thresholds", "Expected numbers above 0")
    }
  }
  return { ...(yield* Recording.checked(options, "32 days", invalid)), budgets }
})

const Alarm = Schema.Struct({
  budget: Schema.String,
  period: Schema.String,
  threshold: Schema.Finite,
  spent: Schema.Finite,
  dollars: Schema.Finite,
  at: Schema.Finite
})

const alarmOf = ({ at, ...alarm }: typeof Alarm.Type): BudgetReached => ({
  _tag: "BudgetReached",
  ...alarm,
  at: DateTime.makeUnsafe(at)
})

const startOf = (per: "day" | "month", now: number): number => {
  const date = new Date(now)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), per === "day" ? date.getUTCDate() : 1)
}

const periodOf = (per: "day" | "month", now: number): string =>
  new Date(startOf(per, now)).toISOString().slice(0, per === "day" ? 10 : 7)

const sumOf = (series: ReadonlyArray<Account.Series>, resource: string | undefined): number =>
  series.reduce((sum, one) => (resource === undefined || one.resource === resource ? sum + one.dollars : sum), 0)

/**
 * Makes what prices the requests of a database until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Costs.make")(function* (
  options: Options
): Effect.fn.Return<Costs["Service"], LayerError, Database | Scope.Scope> {
  const { budgets, interval, isAlone, keep } = yield* checked(options)
  const { prices } = options
  const database = yield* Database
  const { store } = database
  const self = yield* Plugin.open(plugin, options)
  const named = DbError.named("Costs")
  const namedStream = <A, E>(stream: Stream.Stream<A, E>) =>
    Stream.catch(stream, (error) => Stream.fromEffect(named(Effect.fail(error))))
  const account = Account.make(prices, (slug) => slug === plugin.name || slug.startsWith(`${plugin.name}.`))
  const ledger = Ledger.make({
    store,
    capabilities: database.capabilities,
    prefix: self.prefix(),
    schema: Account.Delta,
    what: "a sum of costs",
    merge: Account.merge,
    keep
  })
  const alarmPrefix = `${self.prefix()}alarm/`
  const alarms = CreateOnce.make(store, { schema: Alarm, what: "an alarm" })
  const measurement = CasCell.make(
    store,
    `${self.prefix()}stored`,
    CasCell.schemaFormat(Stored.Stored, { what: "what is stored", remembered: 8 })
  )

  const sumSince = (from: number, to: number, unit: Ledger.Unit) =>
    Stream.runFold(
      ledger.read({ from, to }, unit),
      (): Account.Delta => ({ series: [], stock: [] }),
      (sum, { value }) => Account.merge([sum, value])
    )

  // ---------------------------------------------------------------------------
  // Budgets
  // ---------------------------------------------------------------------------

  const raisedHere = new Set<string>()

  interface Known {
    readonly period: string
    readonly readAt: number
    /** What all had written then, and what this process had asked for in all. */
    readonly spent: number
    readonly total: number
  }
  const known = new Map<string, Known>()

  const spentOn = Effect.fnUntraced(function* ({ name, per, resource }: Budget, now: number) {
    const period = periodOf(per, now)
    const before = known.get(name)
    const total = sumOf(account.totals().series, resource)
    if (before !== undefined && before.period === period && now - before.readAt < fresh) {
      return before.spent + (total - before.total)
    }
    const found = yield* sumSince(startOf(per, now), now + 1, "day")
    // What this process has not written yet is in no sum.
    const own = sumOf(account.untaken(), resource)
    const spent = sumOf(found.series, resource)
    known.set(name, { period, readAt: now, spent, total: total - own })
    return spent + own
  })

  /** What an alarm is called by. */
  const alarmKey = (budget: string, period: string, threshold: number) =>
    `${alarmPrefix}${period}/budget=${percentEncode(budget)}/${threshold}`

  const lookAtBudgets = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    for (const budget of budgets) {
      const { dollars, name, per, thresholds = [0.5, 0.8, 1] } = budget
      const period = periodOf(per, now)
      const isOpen = (threshold: number) => !raisedHere.has(alarmKey(name, period, threshold))
      if (!thresholds.some(isOpen)) continue
      const spent = yield* spentOn(budget, now)
      for (const threshold of thresholds.toSorted((a, b) => a - b)) {
        if (spent < threshold * dollars || !isOpen(threshold)) continue
        const key = alarmKey(name, period, threshold)
        const alarm = { budget: name, period, threshold, spent, dollars, at: now }
        const { _tag } = yield* alarms.create(key, alarm)
        raisedHere.add(key)
        if (_tag === "Created") yield* self.publish(alarmOf(alarm))
      }
    }
  }).pipe(Effect.provideService(InstrumentedStore.CurrentPlugin, self.slug))

  // ---------------------------------------------------------------------------
  // Writing
  // ---------------------------------------------------------------------------

  const { flush, start, trouble } = yield* Flusher.make({
    slug: self.slug,
    ledger,
    interval,
    isAlone,
    take: account.take,
    giveBack: account.giveBack,
    ...(budgets.length === 0 ? {} : { afterwards: lookAtBudgets })
  })
  yield* start
  yield* database.observe({ request: account.see })
  yield* self.running({
    health: Effect.sync(() => {
      const detail = trouble()
      return detail === undefined ? { level: "up" } : { level: "degraded", detail }
    }),
    counters: Effect.sync(() => {
      const { series } = account.totals()
      return { requests: series.reduce((sum, { requests }) => sum + requests, 0), dollars: sumOf(series, undefined) }
    }),
    usage: Effect.succeed(Ledger.usageOf(interval))
  })

  // ---------------------------------------------------------------------------
  // Storage
  // ---------------------------------------------------------------------------

  const storageFrom = (
    stored: Stored.Stored | undefined,
    changes: ReadonlyArray<Account.Stock>,
    table: Prices.Table
  ): Storage => {
    const measured = (stored?.parts ?? []).map((part): Account.Stock => ({ ...part, unknown: 0 }))
    const parts = Account.merge([
      { series: [], stock: measured },
      { series: [], stock: changes }
    ]).stock.map((part): Part => ({ ...part, bytes: Math.max(0, part.bytes), objects: Math.max(0, part.objects) }))
    const total = (field: "bytes" | "objects" | "unknown") => parts.reduce((sum, part) => sum + part[field], 0)
    return {
      measuredAt: Option.map(Option.fromUndefinedOr(stored), ({ at }) => DateTime.makeUnsafe(at)),
      parts: parts.toSorted((a, b) => b.bytes - a.bytes),
      objects: total("objects"),
      bytes: total("bytes"),
      unknown: total("unknown"),
      dollars: Prices.ofStorage(table, total("bytes"))
    }
  }

  const storageBy = Effect.fnUntraced(function* (table: Prices.Table) {
    const { value: stored } = yield* measurement.read
    const now = yield* Clock.currentTimeMillis
    if (stored === undefined) return storageFrom(stored, (yield* sumSince(0, now + 1, "day")).stock, table)
    const from = Math.floor(stored.at / Ledger.hour) * Ledger.hour
    const { stock } = yield* sumSince(from, now + 1, "hour")
    // What of its hour was before it is in what was measured.
    const before = stored.before.map(({ bytes, objects, unknown, ...owner }) => ({
      ...owner,
      bytes: -bytes,
      objects: -objects,
      unknown: -unknown
    }))
    return storageFrom(stored, [...stock, ...before], table)
  })

  // ---------------------------------------------------------------------------
  // Estimates
  // ---------------------------------------------------------------------------

  const usages = Effect.gen(function* () {
    const entries = yield* database.pluginRegistry.entries
    const found = new Map<string, { readonly counts: Record<string, number>; bytes: number }>()
    for (const { identity, usage } of entries) {
      const { bytes = 0, requests } = yield* usage
      const sum = found.get(identity.slug) ?? { counts: {}, bytes: 0 }
      for (const [kind, count] of Object.entries(requests)) sum.counts[kind] = (sum.counts[kind] ?? 0) + count
      sum.bytes += bytes
      found.set(identity.slug, sum)
    }
    return found
  })

  const priceOf = (one: Account.Series, table: Prices.Table | undefined): number =>
    table === undefined
      ? one.dollars
      : Prices.ofRequests(table, { [one.kind]: one.requests }) + Prices.ofTransfer(table, one)

  const estimate = Effect.fnUntraced(function* ({
    days,
    from,
    multiplier,
    table,
    to
  }: {
    readonly from: number
    readonly to: number
    readonly days: number
    readonly multiplier: number
    readonly table: Prices.Table | undefined
  }) {
    const { series } = yield* sumSince(from, to, "hour")
    const scale = ((days * Ledger.day) / (to - from)) * multiplier
    const parts = new Map<string, { readonly resource: string; readonly plugin: string; dollars: number }>()
    const seen = new Map<string, number>()
    for (const one of series) {
      const key = `${one.resource}\n${one.plugin}`
      const part = parts.get(key) ?? { resource: one.resource, plugin: one.plugin, dollars: 0 }
      parts.set(key, part)
      part.dollars += priceOf(one, table) * scale
      if (one.plugin !== "") seen.set(one.plugin, (seen.get(one.plugin) ?? 0) + priceOf(one, table) * scale)
    }
    let bytes = 0
    for (const [slug, { bytes: kept, counts }] of yield* usages) {
      bytes += kept
      const more = (Prices.ofRequests(table ?? prices, counts) * days) / 30 - (seen.get(slug) ?? 0)
      if (more <= 0) continue
      const key = `\n${slug}`
      const part = parts.get(key) ?? { resource: "", plugin: slug, dollars: 0 }
      parts.set(key, part)
      part.dollars += more
    }
    const stored = yield* storageBy(table ?? prices)
    const dollarsForStorage = (Prices.ofStorage(table ?? prices, stored.bytes + bytes) * days) / 30
    const all = [...parts.values()].toSorted((a, b) => b.dollars - a.dollars)
    const dollarsForRequests = all.reduce((sum, part) => sum + part.dollars, 0)
    return {
      days,
      from: DateTime.makeUnsafe(from),
      to: DateTime.makeUnsafe(to),
      requests: series.reduce((sum, { requests }) => sum + requests, 0),
      dollarsForRequests,
      dollarsForStorage,
      dollars: dollarsForRequests + dollarsForStorage,
      parts: all,
      prices: `${(table ?? prices).name} ${(table ?? prices).version}`
    } satisfies Estimate
  })

  return {
    totals: Effect.sync(() => account.totals().series),
    query: (asked = {}) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const range = yield* rangeOf(asked)
          const millis = Math.max(interval, millisecondsOf(asked.resolution ?? "1 hour"))
          if (!Number.isFinite(millis)) return yield* invalid("resolution", "Expected a duration, and an end of it")
          const size = Ledger.sizeFor(millis)
          const found = namedStream(ledger.read(Ledger.aligned(range, size), Ledger.unitFor(size)))
          return Ledger.resampled(found, size, Account.merge).pipe(
            Stream.map(({ at, value }) => value.series.map((one): Point => ({ at: DateTime.makeUnsafe(at), ...one }))),
            Stream.flattenIterable
          )
        })
      ).pipe(Stream.withSpan("Costs.query")),
    estimate: Effect.fn("Costs.estimate")(function* ({ days = 30, multiplier = 1, prices: table, ...asked } = {}) {
      const range = yield* rangeOf(asked)
      if (range.to - range.from < 1) return yield* invalid("from", "Expected a time before to")
      const { from } = Ledger.aligned(range, Ledger.hour)
      for (const [field, value] of [
        ["days", days],
        ["multiplier", multiplier]
      ] as const) {
        if (!(value > 0) || !Number.isFinite(value)) return yield* invalid(field, "Expected a number above 0")
      }
      if (table !== undefined && Result.isFailure(decodeTable(table))) {
        return yield* invalid("prices", "Expected a table of Prices")
      }
      return yield* named(estimate({ from, to: range.to, days, multiplier, table }))
    }),
    storage: named(storageBy(prices)).pipe(Effect.withSpan("Costs.storage")),
    measure: Effect.fn("Costs.measure")(function* ({ sample = 16 } = {}) {
      if (!Number.isSafeInteger(sample) || sample < 0 || sample > 1000) {
        return yield* invalid("sample", "Expected a whole number from 0 to 1,000")
      }
      const measuring = Effect.gen(function* () {
        // What was seen so far is in what is measured now.
        yield* flush
        const now = yield* Clock.currentTimeMillis
        const { stock: before } = yield* sumSince(Math.floor(now / Ledger.hour) * Ledger.hour, now + 1, "hour")
        const stored = { ...(yield* Stored.measure(store, { sample })), at: now, before }
        yield* measurement.modify((before) =>
          Effect.succeed(before === undefined || before.at < stored.at ? stored : before)
        )
        return storageFrom(stored, [], prices)
      })
      return yield* named(Effect.provideService(measuring, InstrumentedStore.CurrentPlugin, self.slug))
    }),
    record: Effect.fnUntraced(function* ({ kind, operation = "", received = 0, requests = 1, resource, sent = 0 }) {
      if (!isName(resource, 0, 200)) return yield* invalid("resource", "Expected up to 200 characters of valid Unicode")
      if (!isName(operation, 0, 200))
        return yield* invalid("operation", "Expected up to 200 characters of valid Unicode")
      if (!Object.hasOwn(prices.requests, kind)) return yield* invalid("kind", "Expected a kind of request")
      for (const [field, value] of [
        ["requests", requests],
        ["sent", sent],
        ["received", received]
      ] as const) {
        if (!Number.isSafeInteger(value) || value < 0) return yield* invalid(field, "Expected a whole number from 0")
      }
      const charge = { resource, plugin: "", operation, kind, requests, unanswered: 0, sent, received }
      if (!account.hasRoom(charge)) {
        return yield* invalid("resource", "Expected one of those that are known: there are 10,000")
      }
      yield* Effect.withFiber((fiber) => Effect.sync(() => account.charge(charge, fiber.context)))
    }),
    flush: named(Effect.andThen(flush, lookAtBudgets)).pipe(Effect.withSpan("Costs.flush")),
    rollUp: Effect.flatMap(Clock.currentTimeMillis, (now) => named(ledger.rollUp(now))).pipe(
      Effect.provideService(InstrumentedStore.CurrentPlugin, self.slug),
      Effect.withSpan("Costs.rollUp")
    ),
    alarms: self.events,
    raised: namedStream(
      listAll(store, { prefix: alarmPrefix, keysOnly: true }).pipe(
        Stream.mapEffect(({ key }) => alarms.read(key), { concurrency: 16 }),
        Stream.flatMap(Option.match({ onNone: () => Stream.empty, onSome: (alarm) => Stream.succeed(alarmOf(alarm)) }))
      )
    )
  }
})

const rangeOf = Effect.fnUntraced(function* ({ from, to }: RangeOptions) {
  const now = yield* Clock.currentTimeMillis
  const range = Ledger.rangeOf(from, to, { from: now - Ledger.day, to: now + 1 })
  return typeof range === "string" ? yield* invalid(range, "Expected a time from 1970 on, and from before to") : range
})

/**
 * Prices the requests of a database as long as the layer is there. `InvalidCosts`: an option is wrong; nothing has been written.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Costs, LayerError, Database> => Layer.effect(Costs, make(options))
