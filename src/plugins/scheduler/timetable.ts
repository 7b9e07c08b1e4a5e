/**
 * Schedules as data, and the moments that they stand for. No I/O, and no clock.
 *
 * @since 0.1.0
 */
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { isRecord } from "../../internal/json.ts"

/**
 * A schedule in portable form, as it is stored: a cron expression in a time zone, an interval counted from a moment, or one
 * moment. Times are milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export const Definition = Schema.Union([
  Schema.Struct({
    cron: Schema.String,
    timeZone: Schema.String,
    whenRepeated: Schema.Literals(["earlier", "later", "both"])
  }),
  Schema.Struct({ every: Schema.Int, from: Schema.Int }),
  Schema.Struct({ at: Schema.Int })
])

/**
 * A schedule in portable form.
 *
 * @category models
 * @since 0.1.0
 */
export type Definition = typeof Definition.Type

/**
 * A schedule as a program says it.
 *
 * - a cron expression of 5 fields, or 6 with seconds first, or a shortcut (`@hourly`, `@daily`, `@midnight`, `@weekly`,
 *   `@monthly`, `@yearly`, `@annually`), in UTC; with `timeZone` in that zone
 * - `every`: an interval of at least a second, counted from `from`, by default from when the job is first known
 * - `at`: once
 *
 * `whenRepeated` says what happens to a local time that comes twice, as clocks are set back: by default both hours count where
 * the hour is not named, and only the earlier time where it is. A local time that does not exist, as clocks are set
 * forward, is made up for right after the gap.
 *
 * @category models
 * @since 0.1.0
 */
export type Schedule =
  | string
  | {
      readonly cron: string
      /** A name of the IANA database, such as `America/Sao_Paulo`, or an offset, such as `+03:00`. Default: `UTC`. */
      readonly timeZone?: string | undefined
      readonly whenRepeated?: Cron.DstOverlapPolicy | undefined
    }
  | { readonly every: Duration.Input; readonly from?: DateTime.DateTime.Input | undefined }
  | { readonly at: DateTime.DateTime.Input }

/**
 * The moments of a schedule, in milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timetable {
  readonly definition: Definition
  /** The first moment after this one. */
  readonly next: (after: number) => number | undefined
  /** The last moment that is after the first and not after the second of these. */
  readonly last: (after: number, until: number) => number | undefined
}

const shortcuts: ReadonlyMap<string, string> = new Map([
  ["@yearly", "0 0 1 1 *"],
  ["@annually", "0 0 1 1 *"],
  ["@monthly", "0 0 1 * *"],
  ["@weekly", "0 0 * * 0"],
  ["@daily", "0 0 * * *"],
  ["@midnight", "0 0 * * *"],
  ["@hourly", "0 * * * *"]
])

/** The last moment that a date can have. */
const latestMoment = 8.64e15

/** The shortest interval: 1 second. */
const leastInterval = 1000

/** The fields of an expression, shortcuts written out, `?` for any day as `*`. */
const fieldsOf = (text: string): ReadonlyArray<string> => {
  const trimmed = text.trim()
  const fields = (shortcuts.get(trimmed.toLowerCase()) ?? trimmed).split(/\s+/)
  const days = new Set([fields.length - 3, fields.length - 1])
  return fields.map((field, index) => (field === "?" && days.has(index) ? "*" : field))
}

const zoneOf = (name: string): DateTime.TimeZone | undefined => Option.getOrUndefined(DateTime.zoneFromString(name))

/** An error says what it expects; a search for a date that never comes ends with one. */
const attempt = <A>(search: () => A): A | undefined => {
  try {
    return search()
  } catch {
    return undefined
  }
}

/**
 * Returns the cron expression of a stored schedule in its zone, or what is wrong with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cronOf = (
  definition: Extract<Definition, { readonly cron: string }>
): Result.Result<Cron.Cron, string> => {
  const { cron: text, timeZone, whenRepeated } = definition
  const zone = zoneOf(timeZone)
  if (zone === undefined) {
    return Result.fail(`Expected the name of a time zone, such as Europe/Berlin, not ${JSON.stringify(timeZone)}`)
  }
  const parsed = Cron.parse(fieldsOf(text).join(" "), zone, { onDstOverlap: whenRepeated })
  if (Result.isFailure(parsed)) {
    const known = [...shortcuts.keys()].join(", ")
    return Result.fail(`Expected a cron expression of 5 or 6 fields, or one of ${known}: ${parsed.failure.message}`)
  }
  return Result.succeed(parsed.success)
}

const cronTable = (definition: Extract<Definition, { readonly cron: string }>): Result.Result<Timetable, string> => {
  const found = cronOf(definition)
  if (Result.isFailure(found)) return Result.fail(found.failure)
  const cron = found.success
  const next = (after: number) => attempt(() => Cron.next(cron, new Date(after)).getTime())
  return Result.succeed({
    definition,
    next,
    last: (after, until) => {
      // What is before the moment after `until`, so that `until` counts.
      const found = attempt(() => Cron.prev(cron, new Date(until + 1)).getTime())
      // Looking back does not see what is made up for after a gap: then one goes forward.
      const from = found === undefined || found <= after ? after : found
      let latest = from > after ? from : undefined
      for (let at = next(from); at !== undefined && at <= until; at = next(at)) latest = at
      return latest
    }
  })
}

const intervalTable = (definition: Extract<Definition, { readonly every: number }>): Timetable => {
  const { every, from } = definition
  const next = (after: number) => {
    const at = Math.max(from, from + (Math.floor((after - from) / every) + 1) * every)
    return at <= latestMoment ? at : undefined
  }
  return {
    definition,
    next,
    last: (after, until) => {
      const latest = from + Math.floor((until - from) / every) * every
      return latest >= from && latest > after ? latest : undefined
    }
  }
}

/**
 * Returns the timetable of a stored schedule, or what is wrong with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromDefinition = (definition: Definition): Result.Result<Timetable, string> => {
  if ("cron" in definition) return cronTable(definition)
  if ("every" in definition) return Result.succeed(intervalTable(definition))
  const { at } = definition
  return Result.succeed({
    definition,
    next: (after) => (at > after ? at : undefined),
    last: (after, until) => (at > after && at <= until ? at : undefined)
  })
}

const momentOf = (input: DateTime.DateTime.Input): number | undefined => {
  const millis = Option.getOrUndefined(DateTime.make(input))?.epochMilliseconds
  return millis === undefined || !Number.isSafeInteger(millis) ? undefined : millis
}

const notASchedule = "Expected a cron expression, { cron }, { every } or { at }"

/**
 * Returns the portable form of a schedule, or what is wrong with it. `now`: what an interval without `from` counts from.
 *
 * @category constructors
 * @since 0.1.0
 */
export const define = (schedule: Schedule, now: number): Result.Result<Definition, string> => {
  if (typeof schedule === "string") return define({ cron: schedule }, now)
  // Out of a configuration it may be anything.
  if (!isRecord(schedule)) return Result.fail(notASchedule)
  if ("at" in schedule) {
    const at = momentOf(schedule.at)
    return at === undefined ? Result.fail("Expected a date for at") : Result.succeed({ at })
  }
  if ("every" in schedule) {
    const every = Option.match(Duration.fromInput(schedule.every), { onNone: () => 0, onSome: Duration.toMillis })
    const from = schedule.from === undefined ? now : momentOf(schedule.from)
    if (from === undefined) return Result.fail("Expected a date for from")
    return Number.isSafeInteger(every) && every >= leastInterval && every <= latestMoment - now
      ? Result.succeed({ every, from })
      : Result.fail("Expected an interval of whole milliseconds, a second or more, for every")
  }
  const { cron, timeZone = "UTC" } = schedule
  if (typeof cron !== "string") return Result.fail(notASchedule)
  if (typeof timeZone !== "string") return Result.fail("Expected the name of a time zone, such as Europe/Berlin")
  const fields = fieldsOf(cron)
  const { whenRepeated = namesHours(fields) ? "earlier" : "both" } = schedule
  if (!policies.includes(whenRepeated)) return Result.fail(`Expected one of ${policies.join(", ")} for whenRepeated`)
  const definition: Definition = { cron: cron.trim(), timeZone, whenRepeated }
  return Result.flatMap(cronTable(definition), (table) =>
    table.next(now) === undefined
      ? Result.fail(`Expected a cron expression that comes to pass, not ${JSON.stringify(cron)}`)
      : Result.succeed(definition)
  )
}

const policies: ReadonlyArray<Cron.DstOverlapPolicy> = ["earlier", "later", "both"]

/** Whether an expression is about certain hours, rather than about every so many of them. */
const namesHours = (fields: ReadonlyArray<string>): boolean => fields.at(-4)?.startsWith("*") !== true
