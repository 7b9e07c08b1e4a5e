/**
 * What a process counts of operations: for good, as Effect's metrics and as sums since the start, and since the last interval.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import type * as Observation from "../../Observation.ts"

// -----------------------------------------------------------------------------
// Form
// -----------------------------------------------------------------------------

/**
 * Upper bounds in milliseconds; above the last there is one more.
 *
 * @category constants
 * @since 0.1.0
 */
export const boundaries: ReadonlyArray<number> = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000]

/**
 * What was counted of an operation of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export const Series = Schema.Struct({
  resource: Schema.String,
  operation: Schema.String,
  count: Schema.Int,
  /** How many failed, by tag. */
  errors: Schema.Array(Schema.Tuple([Schema.String, Schema.Int])),
  /** The sum of what they took, and the most, in milliseconds. */
  millis: Schema.Finite,
  maxMillis: Schema.Finite,
  buckets: Schema.Array(Schema.Int),
  requests: Schema.Int
})

/**
 * What was counted of an operation of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Series extends Schema.Schema.Type<typeof Series> {}

/**
 * An operation that took longer than it should.
 *
 * @category models
 * @since 0.1.0
 */
export const Slow = Schema.Struct({
  endedAt: Schema.Finite,
  resource: Schema.String,
  operation: Schema.String,
  millis: Schema.Finite,
  requests: Schema.Int,
  error: Schema.optionalKey(Schema.String),
  traceId: Schema.optionalKey(Schema.String)
})

/**
 * An operation that took longer than it should.
 *
 * @category models
 * @since 0.1.0
 */
export interface Slow extends Schema.Schema.Type<typeof Slow> {}

/**
 * What was counted in some time.
 *
 * @category models
 * @since 0.1.0
 */
export const Delta = Schema.Struct({
  series: Schema.Array(Series),
  /** The slowest, the slowest first. */
  slow: Schema.Array(Slow)
})

/**
 * What was counted in some time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delta extends Schema.Schema.Type<typeof Delta> {}

// -----------------------------------------------------------------------------
// Sums
// -----------------------------------------------------------------------------

/** Sums of a series as they grow. */
interface Sums {
  count: number
  errors: Map<string, number>
  millis: number
  maxMillis: number
  buckets: Array<number>
  requests: number
}

const noSums = (): Sums => ({
  count: 0,
  errors: new Map(),
  millis: 0,
  maxMillis: 0,
  buckets: boundaries.concat(0).fill(0),
  requests: 0
})

const increase = (sums: Sums, by: Omit<Series, "resource" | "operation">): void => {
  sums.count += by.count
  for (const [tag, count] of by.errors) sums.errors.set(tag, (sums.errors.get(tag) ?? 0) + count)
  sums.millis += by.millis
  sums.maxMillis = Math.max(sums.maxMillis, by.maxMillis)
  by.buckets.forEach((count, i) => (sums.buckets[i] = (sums.buckets[i] ?? 0) + count))
  sums.requests += by.requests
}

const seriesOf = (resource: string, operation: string, { errors, ...sums }: Sums): Series => ({
  resource,
  operation,
  ...sums,
  buckets: [...sums.buckets],
  errors: [...errors]
})

/** How many slow operations are kept where several intervals are put together. */
const mostSlow = 100

const slowest = (all: ReadonlyArray<Slow>, most: number): ReadonlyArray<Slow> =>
  all.toSorted((a, b) => b.millis - a.millis).slice(0, most)

const keyOf = (resource: string, operation: string): string => `${resource}\n${operation}`

const compare = (a: Series, b: Series): number =>
  a.resource === b.resource ? (a.operation < b.operation ? -1 : 1) : a.resource < b.resource ? -1 : 1

/**
 * Adds what was counted up.
 *
 * @category combinators
 * @since 0.1.0
 */
export const merge = (all: ReadonlyArray<Delta>): Delta => {
  if (all.length === 1) return all[0]!
  const found = new Map<string, { readonly resource: string; readonly operation: string; readonly sums: Sums }>()
  for (const { series } of all) {
    for (const one of series) {
      const key = keyOf(one.resource, one.operation)
      const known = found.get(key) ?? { resource: one.resource, operation: one.operation, sums: noSums() }
      found.set(key, known)
      increase(known.sums, one)
    }
  }
  return {
    series: [...found.values()].map(({ operation, resource, sums }) => seriesOf(resource, operation, sums)),
    slow: slowest(
      all.flatMap(({ slow }) => slow),
      mostSlow
    )
  }
}

// -----------------------------------------------------------------------------
// Metrics
// -----------------------------------------------------------------------------

/**
 * Operations that have ended, by `resource` and `operation`.
 *
 * @category constants
 * @since 0.1.0
 */
export const operations = Metric.counter("s3db_operations", {
  description: "Operations of resources that have ended",
  incremental: true
})

/**
 * Operations that have failed, by `resource`, `operation` and `error`.
 *
 * @category constants
 * @since 0.1.0
 */
export const errors = Metric.counter("s3db_operation_errors", {
  description: "Operations that have failed, by the tag of the error",
  incremental: true
})

/**
 * What operations took in milliseconds, by `resource` and `operation`.
 *
 * @category constants
 * @since 0.1.0
 */
export const duration = Metric.histogram("s3db_operation_duration", {
  description: "What operations took, in milliseconds",
  boundaries
})

/**
 * Requests that operations made, by `resource` and `operation`.
 *
 * @category constants
 * @since 0.1.0
 */
export const requests = Metric.counter("s3db_operation_requests", {
  description: "Requests to the store that operations have made",
  incremental: true
})

/**
 * Operations that took too long, by `resource` and `operation`.
 *
 * @category constants
 * @since 0.1.0
 */
export const slowOperations = Metric.counter("s3db_slow_operations", {
  description: "Operations that took longer than they should",
  incremental: true
})

// -----------------------------------------------------------------------------
// Tally
// -----------------------------------------------------------------------------

/**
 * The most series that are told apart.
 *
 * @category constants
 * @since 0.1.0
 */
export const mostSeries = 10_000
const mostErrors = 100

/** What stands for those beyond. */
const other = "other"

interface Counted {
  readonly resource: string
  readonly operation: string
  readonly total: Sums
  since: Sums
  readonly instruments: {
    readonly operations: typeof operations
    readonly duration: typeof duration
    readonly requests: typeof requests
    readonly slow: typeof slowOperations
    readonly errors: Map<string, typeof errors>
  }
}

/**
 * What a process counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tally {
  readonly add: (measured: Observation.Operation, context: Context.Context<never>) => void
  /** Whether a series is known, or there is room for it. */
  readonly hasRoom: (resource: string, operation: string) => boolean
  /** What was added since it was last taken, with when the first of it ended. */
  readonly take: () => { readonly at: number; readonly value: Delta } | undefined
  readonly giveBack: (taken: { readonly at: number; readonly value: Delta }) => void
  /** Since the start, by resource and operation. */
  readonly totals: () => ReadonlyArray<Series>
}

const bucketOf = (millis: number): number => {
  const found = boundaries.findIndex((bound) => millis <= bound)
  return found === -1 ? boundaries.length : found
}

/**
 * Makes a tally of nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: { readonly slow: number; readonly slowest: number }): Tally => {
  const known = new Map<string, Counted>()
  let slow: Array<Slow> = []
  let since: number | undefined

  const add: Tally["add"] = (measured, context) => {
    const { error, millis, operation, requests: made, resource } = measured
    const found = known.get(keyOf(resource, operation))
    const series = found ?? open(resource, known.size < mostSeries ? operation : other)
    since = Math.min(since ?? measured.endedAt, measured.endedAt)
    const bucket = bucketOf(millis)
    for (const sums of [series.total, series.since]) {
      sums.count++
      sums.millis += millis
      if (millis > sums.maxMillis) sums.maxMillis = millis
      sums.buckets[bucket]!++
      sums.requests += made
    }
    const { instruments } = series
    instruments.operations.updateUnsafe(1, context)
    instruments.duration.updateUnsafe(millis, context)
    if (made > 0) instruments.requests.updateUnsafe(made, context)
    if (error !== undefined) addError(series, error, context)
    if (millis < options.slow) return
    instruments.slow.updateUnsafe(1, context)
    addSlow(measured)
  }

  const open = (resource: string, operation: string): Counted => {
    const key = keyOf(resource, operation)
    const found = known.get(key)
    if (found !== undefined) return found
    const attributes = { resource, operation }
    const series: Counted = {
      resource,
      operation,
      total: noSums(),
      since: noSums(),
      instruments: {
        operations: Metric.withAttributes(operations, attributes),
        duration: Metric.withAttributes(duration, attributes),
        requests: Metric.withAttributes(requests, attributes),
        slow: Metric.withAttributes(slowOperations, attributes),
        errors: new Map()
      }
    }
    known.set(key, series)
    return series
  }

  const addError = (series: Counted, tag: string, context: Context.Context<never>) => {
    const { instruments, operation, resource, since, total } = series
    const told = total.errors.has(tag) || total.errors.size < mostErrors ? tag : other
    for (const sums of [total, since]) sums.errors.set(told, (sums.errors.get(told) ?? 0) + 1)
    let instrument = instruments.errors.get(told)
    if (instrument === undefined) {
      instrument = Metric.withAttributes(errors, { resource, operation, error: told })
      instruments.errors.set(told, instrument)
    }
    instrument.updateUnsafe(1, context)
  }

  const addSlow = ({ endedAt, error, millis, operation, requests: made, resource, traceId }: Observation.Operation) => {
    const last = slow[slow.length - 1]
    if (slow.length >= options.slowest && (last === undefined || last.millis >= millis)) return
    const one = { endedAt, resource, operation, millis, requests: made }
    const more = { ...(error === undefined ? {} : { error }), ...(traceId === undefined ? {} : { traceId }) }
    slow = [...slowest([...slow, { ...one, ...more }], options.slowest)]
  }

  return {
    add,
    hasRoom: (resource, operation) => known.has(keyOf(resource, operation)) || known.size < mostSeries,
    take: () => {
      if (since === undefined) return undefined
      const series: Array<Series> = []
      for (const one of known.values()) {
        if (one.since.count === 0) continue
        series.push(seriesOf(one.resource, one.operation, one.since))
        one.since = noSums()
      }
      const taken = { at: since, value: { series, slow } }
      slow = []
      since = undefined
      return taken
    },
    giveBack: ({ at, value }) => {
      for (const one of value.series) increase(open(one.resource, one.operation).since, one)
      slow = [...slowest([...value.slow, ...slow], options.slowest)]
      since = Math.min(since ?? at, at)
    },
    totals: () =>
      [...known.values()]
        .filter(({ total }) => total.count > 0)
        .map(({ operation, resource, total }) => seriesOf(resource, operation, total))
        .toSorted(compare)
  }
}
