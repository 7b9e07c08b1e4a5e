/**
 * Hours, days, ISO weeks, months and years of a time zone.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"

/**
 * How long what is counted together lasts.
 *
 * @category models
 * @since 0.1.0
 */
export type Period = "hour" | "day" | "week" | "month" | "year"

/**
 * All periods, the shortest first.
 *
 * @category constants
 * @since 0.1.0
 */
export const periods: ReadonlyArray<Period> = ["hour", "day", "week", "month", "year"]

/**
 * What is counted together: `2025-10-15T07:00-03:00`, `2025-10-15`, `2025-W42`, `2025-10` or `2025`, and when it begins.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cohort {
  readonly label: string
  /** Milliseconds since 1970. */
  readonly at: number
}

/**
 * Milliseconds of what is kept apart at least: offsets of zones are multiples of it.
 *
 * @category constants
 * @since 0.1.0
 */
export const quarter = 900_000

const hour = 3_600_000
const day = 86_400_000

/**
 * The cohorts of a time zone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Calendar {
  /** The cohort that a time is in. */
  readonly cohortOf: (at: number, period: Period) => Cohort
  /** The cohorts from the one that a time is in up to another time, which is not included, in their order. */
  readonly between: (from: number, to: number, period: Period) => ReadonlyArray<Cohort>
}

const two = (n: number): string => String(n).padStart(2, "0")

const offsetText = (offset: number): string => {
  const minutes = Math.abs(Math.round(offset / 60_000))
  return `${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
}

/** A date as milliseconds of its midnight in UTC: arithmetic with days, without a zone. */
const monday = (civil: number): number => civil - ((new Date(civil).getUTCDay() + 6) % 7) * day

const startOf = (civil: number, period: Exclude<Period, "hour">): number => {
  const date = new Date(civil)
  switch (period) {
    case "day":
      return civil
    case "week":
      return monday(civil)
    case "month":
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
    case "year":
      return Date.UTC(date.getUTCFullYear(), 0, 1)
  }
}

/** The first date of the period after one that begins on a date. */
const nextOf = (civil: number, period: Exclude<Period, "hour">): number => {
  const date = new Date(civil)
  switch (period) {
    case "day":
      return civil + day
    case "week":
      return civil + 7 * day
    case "month":
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
    case "year":
      return Date.UTC(date.getUTCFullYear() + 1, 0, 1)
  }
}

const labelOf = (civil: number, period: Exclude<Period, "hour">): string => {
  const text = new Date(civil).toISOString()
  switch (period) {
    case "day":
      return text.slice(0, 10)
    case "week": {
      // The year of a week is that of its Thursday.
      const thursday = civil + 3 * day
      const year = new Date(thursday).getUTCFullYear()
      const week = Math.floor((thursday - Date.UTC(year, 0, 1)) / (7 * day)) + 1
      return `${year}-W${two(week)}`
    }
    case "month":
      return text.slice(0, 7)
    case "year":
      return text.slice(0, 4)
  }
}

/**
 * Creates the calendar of a time zone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (zone: DateTime.TimeZone): Calendar => {
  const offsets = new Map<number, number>()
  /** Clocks change at quarters of an hour. */
  const offsetAt = (at: number): number => {
    const which = Math.floor(at / quarter)
    const known = offsets.get(which)
    if (known !== undefined) return known
    const offset = DateTime.zonedOffset(DateTime.makeZonedUnsafe(which * quarter, { timeZone: zone }))
    offsets.set(which, offset)
    return offset
  }

  const starts = new Map<number, number>()
  /** When a date begins: where midnight is left out, right after it. */
  const begins = (civil: number): number => {
    const known = starts.get(civil)
    if (known !== undefined) return known
    let at = civil - offsetAt(civil - offsetAt(civil))
    while (at + offsetAt(at) < civil) at += quarter
    while (at - quarter + offsetAt(at - quarter) >= civil) at -= quarter
    starts.set(civil, at)
    return at
  }

  const hourAt = (time: number): Cohort => {
    const offset = offsetAt(time)
    const local = Math.floor((time + offset) / hour) * hour
    let at = local - offset
    // Where clocks change within an hour of theirs, the one after the change begins with it.
    while (offsetAt(at) !== offset) at = (Math.floor(at / quarter) + 1) * quarter
    return { label: `${new Date(local).toISOString().slice(0, 13)}:00${offsetText(offset)}`, at }
  }

  const civilOf = (at: number): number => Math.floor((at + offsetAt(at)) / day) * day

  const cohort = (civil: number, period: Exclude<Period, "hour">): Cohort => ({
    label: labelOf(civil, period),
    at: begins(civil)
  })

  return {
    cohortOf: (at, period) => (period === "hour" ? hourAt(at) : cohort(startOf(civilOf(at), period), period)),
    between: (from, to, period) => {
      const found = new Map<string, Cohort>()
      if (from >= to) return []
      if (period === "hour") {
        for (let at = hourAt(from).at; at < to; at += quarter) {
          const one = hourAt(at)
          if (!found.has(one.label)) found.set(one.label, one)
        }
        return [...found.values()]
      }
      for (let civil = startOf(civilOf(from), period); begins(civil) < to; civil = nextOf(civil, period)) {
        const one = cohort(civil, period)
        // A zone that moves across the date line leaves a day out.
        if (labelOf(startOf(civilOf(one.at), period), period) === one.label) found.set(one.label, one)
      }
      return [...found.values()]
    }
  }
}
