/** Which backups are kept: grandfathers, fathers and sons. */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"

export interface Policy {
  /** The newest so many. */
  readonly last?: number | undefined
  readonly hourly?: number | undefined
  readonly daily?: number | undefined
  readonly weekly?: number | undefined
  readonly monthly?: number | undefined
  readonly yearly?: number | undefined
  /** Where days begin. Default: UTC. */
  readonly timeZone?: string | undefined
}

/** What the years of a week and the weeks of a year are: ISO 8601. */
const weekOf = ({ day, month, year }: { readonly year: number; readonly month: number; readonly day: number }) => {
  const thursday = new Date(Date.UTC(year, month - 1, day))
  thursday.setUTCDate(thursday.getUTCDate() + 4 - (thursday.getUTCDay() || 7))
  const weekYear = thursday.getUTCFullYear()
  const days = (thursday.getTime() - Date.UTC(weekYear, 0, 1)) / 86_400_000
  return `${weekYear}-W${Math.floor(days / 7) + 1}`
}

type Parts = { readonly year: number; readonly month: number; readonly day: number; readonly hour: number }

const rules: ReadonlyArray<readonly [keyof Omit<Policy, "timeZone" | "last">, (parts: Parts) => string]> = [
  ["hourly", ({ day, hour, month, year }) => `${year}-${month}-${day} ${hour}`],
  ["daily", ({ day, month, year }) => `${year}-${month}-${day}`],
  ["weekly", weekOf],
  ["monthly", ({ month, year }) => `${year}-${month}`],
  ["yearly", ({ year }) => `${year}`]
]

export interface Retained<Kept> {
  readonly keep: ReadonlyArray<{ readonly backup: Kept; readonly because: ReadonlyArray<string> }>
  readonly drop: ReadonlyArray<Kept>
}

/** What is wrong with a policy: a member of it, and why. */
export const check = (policy: Policy): readonly [string, string] | undefined => {
  for (const name of ["last", "hourly", "daily", "weekly", "monthly", "yearly"] as const) {
    const value = policy[name]
    if (value !== undefined && !(Number.isInteger(value) && value >= 0)) return [name, "expected an integer from 0"]
  }
  const { timeZone } = policy
  const isKnown = timeZone === undefined || Option.isSome(DateTime.zoneMakeNamed(timeZone))
  return isKnown ? undefined : ["timeZone", `there is no time zone ${JSON.stringify(timeZone)}`]
}

export const retain = <Kept extends { readonly id: string; readonly finishedAt: DateTime.Utc }>(
  backups: ReadonlyArray<Kept>,
  policy: Policy
): Retained<Kept> => {
  const newest = backups.toSorted(
    (a, b) => b.finishedAt.epochMilliseconds - a.finishedAt.epochMilliseconds || (a.id < b.id ? 1 : -1)
  )
  const zone = DateTime.zoneMakeNamedUnsafe(policy.timeZone ?? "UTC")
  const reasons = new Map<string, Array<string>>()
  const give = (one: Kept, reason: string) => {
    const given = reasons.get(one.id)
    if (given === undefined) reasons.set(one.id, [reason])
    else given.push(reason)
  }
  if (newest[0] !== undefined) give(newest[0], "newest")
  for (const one of newest.slice(0, policy.last ?? 0)) give(one, "last")
  for (const [name, of] of rules) {
    let left = policy[name] ?? 0
    const seen = new Set<string>()
    for (const one of newest) {
      if (left === 0) break
      const bucket = of(DateTime.toParts(DateTime.setZone(one.finishedAt, zone)))
      if (seen.has(bucket)) continue
      seen.add(bucket)
      left -= 1
      give(one, name)
    }
  }
  return {
    keep: newest.flatMap((backup) => {
      const because = reasons.get(backup.id)
      return because === undefined ? [] : [{ backup, because }]
    }),
    drop: newest.filter(({ id }) => !reasons.has(id))
  }
}
