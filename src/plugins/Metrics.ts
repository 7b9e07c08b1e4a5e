/**
 * How often, how long and with which errors: the operations of resources as metrics for Prometheus and OTLP, and kept in the store,
 * by the minute, hour and day.
 *
 * ```ts
 * import * as Database from "effect-s3db/Database"
 * import * as Metrics from "effect-s3db/plugins/Metrics"
 * import { Layer } from "effect"
 *
 * const Measured = Metrics.layer({ slow: "200 millis" }).pipe(Layer.provideMerge(Database.layer))
 * ```
 *
 * **Details**
 *
 * What a process counts is in two places. Effect's metrics `s3db_operations`, `s3db_operation_errors`, `s3db_operation_duration`,
 * `s3db_operation_requests` and `s3db_slow_operations` only ever grow, whoever reads them: `PrometheusMetrics` and `Otlp` of Effect
 * export them. And once in each interval, by default a minute, what has been added since the last is written as an object of its own, compressed. Any
 * number of processes do so beside each other, and `query` adds them up. Intervals are rolled up into hours and days.
 *
 * A crash loses what was counted in the interval under way, and nothing else; closing the layer writes it.
 *
 * Requests: 1 PUT for each interval in which anything was counted, in each process; once an hour 1 GET in each process, and in one of them
 * 2 PUT, 2 LIST at least, 4 requests for each hour that is rolled up, and 1 GET for each interval in it. None in an operation.
 *
 * Nothing of it is a value of a field, nor an id: names of resources, operations, and tags of errors.
 *
 * @see `docs/guide/metrics.md`
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import * as Plugin from "../Plugin.ts"
import * as ResourceSelector from "../ResourceSelector.ts"
import * as InstrumentedStore from "../storage/InstrumentedStore.ts"
import * as Flusher from "./metrics/flusher.ts"
import * as Ledger from "./metrics/ledger.ts"
import * as Recording from "./metrics/recording.ts"
import * as Tally from "./metrics/tally.ts"

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
export class InvalidMetrics extends ExpectedError<InvalidMetrics>("effect-s3db/plugins/Metrics/InvalidMetrics")(
  "InvalidMetrics",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `metrics, ${this.field}: ${this.problem}`
  }
}

/**
 * The errors of building the layer.
 *
 * @category errors
 * @since 0.1.0
 */
export type LayerError = InvalidMetrics | Plugin.InvalidPlugin | DbError.DbError

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What was counted of an operation of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counted {
  readonly resource: string
  /** As the repository calls it, such as `insert`; what `record` was given. */
  readonly operation: string
  readonly count: number
  /** How many of them failed, by the tag of the error, of a `DbError` that of its reason; `interrupted`, `defect`. */
  readonly errors: ReadonlyMap<string, number>
  /** The sum of what they took. */
  readonly millis: number
  readonly maxMillis: number
  /** How many took no longer than each of `boundaries`, and no less than the one before; the last is for those above. */
  readonly buckets: ReadonlyArray<number>
  /** How many requests they made, those of what they called as well. */
  readonly requests: number
}

/**
 * The same, from a time on, for as long as the resolution says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Point extends Counted {
  readonly at: DateTime.Utc
}

/**
 * An operation that took longer than it should.
 *
 * @category models
 * @since 0.1.0
 */
export interface SlowOperation {
  readonly endedAt: DateTime.Utc
  readonly resource: string
  readonly operation: string
  readonly millis: number
  readonly requests: number
  readonly error: Option.Option<string>
  /** Where somebody traced it. */
  readonly traceId: Option.Option<string>
}

/**
 * The upper bounds of `Counted.buckets`, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const boundaries: ReadonlyArray<number> = Tally.boundaries

/**
 * The names of Effect's metrics that the plugin keeps, as `PrometheusMetrics` and `Otlp` export them.
 *
 * @category constants
 * @since 0.1.0
 */
export const names = {
  operations: Tally.operations.id,
  errors: Tally.errors.id,
  duration: Tally.duration.id,
  requests: Tally.requests.id,
  slow: Tally.slowOperations.id
} as const

/**
 * Returns how long so many of the operations took at most, in milliseconds: `quantile(point, 0.99)`. It is exact to the width of a
 * bucket, and never more than the slowest. Not a number where nothing was counted.
 *
 * @category getters
 * @since 0.1.0
 */
export const quantile = ({ buckets, count, maxMillis }: Counted, part: number): number => {
  if (count === 0) return Number.NaN
  const rank = Math.min(1, Math.max(0, part)) * count
  let before = 0
  for (const [i, inBucket] of buckets.entries()) {
    if (before + inBucket >= rank && inBucket > 0) {
      const low = i === 0 ? 0 : boundaries[i - 1]!
      const high = Math.min(boundaries[i] ?? maxMillis, maxMillis)
      return Math.min(maxMillis, low + ((rank - before) / inBucket) * Math.max(0, high - low))
    }
    before += inBucket
  }
  return maxMillis
}

// -----------------------------------------------------------------------------
// Metrics
// -----------------------------------------------------------------------------

/**
 * A time from which, one up to which, and of what.
 *
 * @category models
 * @since 0.1.0
 */
export interface RangeOptions {
  /** Default: an hour ago. */
  readonly from?: DateTime.DateTime.Input | undefined
  /** Not included. Default: now. */
  readonly to?: DateTime.DateTime.Input | undefined
  /** Default: all. */
  readonly resource?: string | undefined
  /** Default: all. */
  readonly operation?: string | undefined
}

/**
 * What is asked of the past.
 *
 * @category models
 * @since 0.1.0
 */
export interface QueryOptions extends RangeOptions {
  /**
   * How long each point is. From a day on days are read, from an hour on hours, else intervals; what is shorter than what is kept is
   * as long as that. Points begin at multiples of it since 1970, also the first. Default: an interval.
   */
  readonly resolution?: Duration.Input | undefined
}

/**
 * An operation of the program's own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Recorded {
  /** What it is about: 1 to 200 characters. Choose from few: each is a series of its own. */
  readonly resource: string
  /** 1 to 200 characters. */
  readonly operation: string
  readonly duration: Duration.Input
  /** The tag of what it failed with. */
  readonly error?: string | undefined
  /** Default: 0. */
  readonly requests?: number | undefined
}

/**
 * What a roll-up did.
 *
 * @category models
 * @since 0.1.0
 */
export interface RolledUp {
  /** How many intervals came into their hours and days. */
  readonly added: number
  /** How many objects were removed that are kept no longer. */
  readonly removed: number
}

/**
 * The metrics of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class Metrics extends Context.Service<
  Metrics,
  {
    /** What this process has counted since the layer was opened, by resource and operation. No request. */
    readonly totals: Effect.Effect<ReadonlyArray<Counted>>
    /**
     * What all processes have written, in the order of time. What is not written yet is not in it: see `flush`. Intervals: 1 LIST for each
     * 1,000, and 1 GET for each. Hours and days: 1 LIST for each 1,000 intervals that are kept in the range, 1 LIST for each 1,000 hours
     * or days, and 1 GET for each of them and for each interval that is not rolled up yet. `InvalidMetrics`: a time or the resolution is wrong.
     */
    readonly query: (options?: QueryOptions) => Stream.Stream<Point, InvalidMetrics | DbError.DbError>
    /**
     * The slowest operations of a range, the slowest first, at most `limit`, by default 20, of which each interval keeps `Options.slowest`.
     * Requests as of `query` by hours.
     */
    readonly slow: (
      options?: RangeOptions & { readonly limit?: number | undefined }
    ) => Effect.Effect<ReadonlyArray<SlowOperation>, InvalidMetrics | DbError.DbError>
    /**
     * Counts an operation of the program's own. No request. `InvalidMetrics`: a name or a number cannot be, or there are 10,000 series
     * already.
     */
    readonly record: (recorded: Recorded) => Effect.Effect<void, InvalidMetrics>
    /** Writes what was counted, without waiting for the end of the interval. 1 PUT, none where nothing was. What fails is written the next time. */
    readonly flush: Effect.Effect<void, DbError.DbError>
    /**
     * Rolls up the hours that are over, and removes what is kept no longer, as happens once an hour by itself. `None`: another process has, in
     * this hour. Requests: see the head of this module.
     */
    readonly rollUp: Effect.Effect<Option.Option<RolledUp>, DbError.DbError>
  }
>()("effect-s3db/plugins/Metrics") {}

/**
 * What is measured, and how long it is kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Plugin.Options, Recording.Options {
  /** The resources whose operations are counted. Default: all but those of plugins. */
  readonly resources?: ResourceSelector.ResourceSelector | undefined
  /** From when on an operation is slow. Default: 1 second. */
  readonly slow?: Duration.Input | undefined
  /** How many slow operations are kept of each interval. 0 to 100; default: 20. */
  readonly slowest?: number | undefined
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
 * The plugin: see `Plugin`.
 *
 * @category constants
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("metrics", { version: 1 })

const invalid = (field: string, problem: string) => new InvalidMetrics({ field, problem })

const checked = Effect.fnUntraced(function* (options: Options) {
  const { slow, slowest = 20 } = options
  if (!Number.isSafeInteger(slowest) || slowest < 0 || slowest > 100) {
    return yield* invalid("slowest", "Expected a whole number from 0 to 100")
  }
  return {
    ...(yield* Recording.checked(options, "1 day", invalid)),
    slowest,
    slow: yield* Recording.durationOf(invalid, "slow", slow, ["1 second", "0 seconds", "1 day"])
  }
})

const isName = (text: string): boolean => text.length > 0 && text.length <= 200 && text.isWellFormed()

const counted = ({ errors, ...series }: Tally.Series): Counted => ({ ...series, errors: new Map(errors) })

/**
 * Makes what measures the operations of a database until the scope closes. See the head of this module for its requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("Metrics.make")(function* (
  options: Options = {}
): Effect.fn.Return<Metrics["Service"], LayerError, Database | Scope.Scope> {
  const { interval, isAlone, keep, slow, slowest } = yield* checked(options)
  const isMeant = ResourceSelector.toPredicate(options.resources)
  const database = yield* Database
  const self = yield* Plugin.open(plugin, options)
  const named = DbError.named("Metrics")
  const namedStream = <A, E>(stream: Stream.Stream<A, E>) =>
    Stream.catch(stream, (error) => Stream.fromEffect(named(Effect.fail(error))))
  const tally = Tally.make({ slow, slowest })
  const ledger = Ledger.make({
    store: database.store,
    capabilities: database.capabilities,
    prefix: self.prefix(),
    schema: Tally.Delta,
    what: "a sum of metrics",
    merge: Tally.merge,
    keep
  })
  const { flush, start, trouble } = yield* Flusher.make({
    slug: self.slug,
    ledger,
    interval,
    isAlone,
    take: tally.take,
    giveBack: tally.giveBack
  })
  yield* start
  yield* database.observe({
    operation: (seen, context) => {
      if (isMeant(seen.resource)) tally.add(seen, context)
    }
  })
  yield* self.running({
    health: Effect.sync(() => {
      const detail = trouble()
      return detail === undefined ? { level: "up" } : { level: "degraded", detail }
    }),
    counters: Effect.sync(() => {
      const totals = tally.totals()
      return {
        operations: totals.reduce((sum, { count }) => sum + count, 0),
        errors: totals.reduce((sum, { errors }) => sum + errors.reduce((all, [, count]) => all + count, 0), 0)
      }
    }),
    // Intervals that are not empty, at most, and the hours that are rolled up of them.
    usage: Effect.succeed(Ledger.usageOf(interval))
  })

  const read = (range: Ledger.Range, unit: Ledger.Unit) => namedStream(ledger.read(range, unit))

  const isAsked =
    ({ operation, resource }: RangeOptions) =>
    (series: { readonly resource: string; readonly operation: string }) =>
      (resource === undefined || series.resource === resource) &&
      (operation === undefined || series.operation === operation)

  return {
    totals: Effect.sync(() => tally.totals().map(counted)),
    query: (asked = {}) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const range = yield* rangeOf(asked)
          const size = yield* resolutionOf(asked.resolution, interval)
          return Ledger.resampled(read(Ledger.aligned(range, size), Ledger.unitFor(size)), size, Tally.merge).pipe(
            Stream.map(({ at, value }) =>
              value.series
                .filter(isAsked(asked))
                .map((series): Point => ({ at: DateTime.makeUnsafe(at), ...counted(series) }))
            ),
            Stream.flattenIterable
          )
        })
      ).pipe(Stream.withSpan("Metrics.query")),
    slow: Effect.fn("Metrics.slow")(function* ({ limit = 20, ...asked } = {}) {
      const range = yield* rangeOf(asked)
      if (!Number.isSafeInteger(limit) || limit < 1) return yield* invalid("limit", "Expected a whole number from 1")
      const isWithin = ({ endedAt }: Tally.Slow) => endedAt >= range.from && endedAt < range.to
      const all = yield* Stream.runFold(
        // What ended in an interval has been written as of its beginning.
        read({ from: Math.max(0, range.from - Ledger.hour), to: range.to }, "hour"),
        () => [] as ReadonlyArray<Tally.Slow>,
        (found, { value }) =>
          [...found, ...value.slow.filter((one) => isWithin(one) && isAsked(asked)(one))]
            .toSorted((a, b) => b.millis - a.millis)
            .slice(0, limit)
      )
      return all.map(({ endedAt, error, traceId, ...one }) => ({
        ...one,
        endedAt: DateTime.makeUnsafe(endedAt),
        error: Option.fromUndefinedOr(error),
        traceId: Option.fromUndefinedOr(traceId)
      }))
    }),
    record: Effect.fnUntraced(function* ({ duration, error, operation, requests = 0, resource }) {
      if (!isName(resource)) return yield* invalid("resource", "Expected 1 to 200 characters of valid Unicode")
      if (!isName(operation)) return yield* invalid("operation", "Expected 1 to 200 characters of valid Unicode")
      if (error !== undefined && !isName(error)) {
        return yield* invalid("error", "Expected 1 to 200 characters of valid Unicode")
      }
      const millis = millisecondsOf(duration)
      if (!Number.isFinite(millis) || millis < 0)
        return yield* invalid("duration", "Expected a duration, and an end of it")
      if (!Number.isSafeInteger(requests) || requests < 0) {
        return yield* invalid("requests", "Expected a whole number from 0")
      }
      if (!tally.hasRoom(resource, operation)) {
        return yield* invalid("operation", `Expected one of those that are known: there are ${Tally.mostSeries}`)
      }
      const endedAt = yield* Clock.currentTimeMillis
      yield* Effect.withFiber((fiber) =>
        Effect.sync(() => {
          const traceId = fiber.cache.span?.traceId
          tally.add({ resource, operation, millis, requests, error, endedAt, traceId }, fiber.context)
        })
      )
    }),
    flush: named(flush).pipe(Effect.withSpan("Metrics.flush")),
    rollUp: Effect.flatMap(Clock.currentTimeMillis, (now) => named(ledger.rollUp(now))).pipe(
      Effect.provideService(InstrumentedStore.CurrentPlugin, self.slug),
      Effect.withSpan("Metrics.rollUp")
    )
  }
})

const rangeOf = Effect.fnUntraced(function* ({ from, to }: RangeOptions) {
  const now = yield* Clock.currentTimeMillis
  const range = Ledger.rangeOf(from, to, { from: now - Ledger.hour, to: now + 1 })
  return typeof range === "string" ? yield* invalid(range, "Expected a time from 1970 on, and from before to") : range
})

const resolutionOf = Effect.fnUntraced(function* (given: Duration.Input | undefined, interval: number) {
  const millis = Math.max(interval, given === undefined ? 0 : millisecondsOf(given))
  if (Number.isFinite(millis)) return Ledger.sizeFor(millis)
  return yield* invalid("resolution", "Expected a duration, and an end of it")
})

/**
 * Measures the operations of a database as long as the layer is there. `InvalidMetrics`: an option is wrong; nothing has been written.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Metrics, LayerError, Database> =>
  Layer.effect(Metrics, make(options))
