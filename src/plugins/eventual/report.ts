/**
 * Sums over time as they are asked for: by cohorts of a zone, and by documents.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import type { Summed } from "./analytics.ts"
import type { Calendar, Period } from "./cohorts.ts"
import type { Kind } from "./field.ts"

type Decimal = BigDecimal.BigDecimal

const zero = BigDecimal.fromBigInt(0n)

/**
 * What operations of one kind came to.
 *
 * @category models
 * @since 0.1.0
 */
export type Amounts = Pick<Summed, "count" | "sum" | "min" | "max">

/**
 * What operations came to in a cohort.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bucket {
  readonly cohort: string
  readonly at: number
  readonly count: number
  readonly total: Decimal
  readonly documents: number
  readonly operations: ReadonlyMap<Kind, Amounts>
}

/** What operations add to a total: those that set a value add nothing. */
const signed = ({ kind, sum }: Pick<Summed, "kind" | "sum">): Decimal =>
  kind === "add" ? sum : kind === "subtract" ? BigDecimal.negate(sum) : zero

const together = (before: Amounts | undefined, { count, max, min, sum }: Amounts): Amounts =>
  before === undefined
    ? { count, sum, min, max }
    : {
        count: before.count + count,
        sum: BigDecimal.sum(before.sum, sum),
        min: BigDecimal.min(before.min, min),
        max: BigDecimal.max(before.max, max)
      }

/**
 * The cohorts of a range.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly from: number
  readonly to: number
  readonly calendar: Calendar
  readonly period: Period
  readonly fillGaps: boolean
}

/**
 * Returns sums by cohorts, in the order of time.
 *
 * @category conversions
 * @since 0.1.0
 */
export const bucketsOf = (
  rows: ReadonlyArray<Summed>,
  { calendar, fillGaps, from, period, to }: Range
): ReadonlyArray<Bucket> => {
  interface Open {
    readonly at: number
    readonly ids: Set<string>
    readonly operations: Map<Kind, Amounts>
    count: number
    total: Decimal
  }
  const open = new Map<string, Open>()
  const begun = (at: number): Open => ({ at, ids: new Set(), operations: new Map(), count: 0, total: zero })
  if (fillGaps) for (const { at, label } of calendar.between(from, to, period)) open.set(label, begun(at))
  for (const row of rows) {
    const { at, label } = calendar.cohortOf(row.at, period)
    const bucket = open.get(label) ?? begun(at)
    open.set(label, bucket)
    bucket.ids.add(row.id)
    bucket.count += row.count
    bucket.total = BigDecimal.sum(bucket.total, signed(row))
    bucket.operations.set(row.kind, together(bucket.operations.get(row.kind), row))
  }
  return [...open]
    .map(([cohort, { at, count, ids, operations, total }]) => ({
      cohort,
      at,
      count,
      total,
      documents: ids.size,
      operations
    }))
    .toSorted((a, b) => a.at - b.at)
}

/**
 * Returns sums by documents, the greatest first.
 *
 * @category conversions
 * @since 0.1.0
 */
export const recordsOf = (
  rows: ReadonlyArray<Summed>,
  sortBy: "count" | "total"
): ReadonlyArray<{ readonly id: string; readonly count: number; readonly total: Decimal }> => {
  const records = new Map<string, { readonly id: string; readonly count: number; readonly total: Decimal }>()
  for (const row of rows) {
    const { count, total } = records.get(row.id) ?? { count: 0, total: zero }
    records.set(row.id, { id: row.id, count: count + row.count, total: BigDecimal.sum(total, signed(row)) })
  }
  return [...records.values()].toSorted((a, b) =>
    sortBy === "count" ? b.count - a.count : BigDecimal.Order(b.total, a.total)
  )
}
