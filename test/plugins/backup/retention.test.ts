/** Which backups of a long history a policy keeps. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as fc from "fast-check"
import * as Backup from "effect-s3db/plugins/Backup"

const day = 86_400_000
const at = (text: string) => DateTime.makeUnsafe(text)
const every = (from: string, count: number, step: number) =>
  Array.from({ length: count }, (_, index) => {
    const finishedAt = DateTime.makeUnsafe(Date.parse(from) + index * step)
    return { id: DateTime.formatIso(finishedAt), finishedAt }
  })

const keptIn = (backups: ReadonlyArray<ReturnType<typeof every>[number]>, policy: Backup.Policy) =>
  Backup.retain(backups, policy).keep.map(({ backup, because }) => [backup.id.slice(0, 13), because.join(" ")] as const)

describe("retention", () => {
  it("of 400 days keeps 7 days, 4 weeks, 12 months and 3 years that have any", () => {
    // Noon, from the 1st of January 2025 to the 4th of February 2026.
    const backups = every("2025-01-01T12:00:00Z", 400, day)
    const kept = keptIn(backups, { daily: 7, weekly: 4, monthly: 12, yearly: 3 })
    assert.deepStrictEqual(kept, [
      ["2026-02-04T12", "newest daily weekly monthly yearly"],
      ["2026-02-03T12", "daily"],
      ["2026-02-02T12", "daily"],
      ["2026-02-01T12", "daily weekly"],
      ["2026-01-31T12", "daily monthly"],
      ["2026-01-30T12", "daily"],
      ["2026-01-29T12", "daily"],
      ["2026-01-25T12", "weekly"],
      ["2026-01-18T12", "weekly"],
      ["2025-12-31T12", "monthly yearly"],
      ["2025-11-30T12", "monthly"],
      ["2025-10-31T12", "monthly"],
      ["2025-09-30T12", "monthly"],
      ["2025-08-31T12", "monthly"],
      ["2025-07-31T12", "monthly"],
      ["2025-06-30T12", "monthly"],
      ["2025-05-31T12", "monthly"],
      ["2025-04-30T12", "monthly"],
      ["2025-03-31T12", "monthly"]
    ])
  })

  it("counts weeks as ISO 8601 does, over the end of a year", () => {
    const backups = [
      "2024-12-29",
      "2024-12-30",
      "2025-01-05",
      "2025-01-06",
      "2020-12-31",
      "2021-01-03",
      "2021-01-04"
    ].map((date) => ({ id: date, finishedAt: at(`${date}T00:00:00Z`) }))
    const kept = Backup.retain(backups, { weekly: 10 }).keep.map(({ backup }) => backup.id)
    // 2020-12-31 and 2021-01-03 are of week 53 of 2020, 2024-12-30 and 2025-01-05 of week 1 of 2025.
    assert.deepStrictEqual(kept, ["2025-01-06", "2025-01-05", "2024-12-29", "2021-01-04", "2021-01-03"])
  })

  it("begins days where the time zone says", () => {
    const backups = ["2026-03-01T02:00:00Z", "2026-03-01T04:00:00Z"].map((time) => ({ id: time, finishedAt: at(time) }))
    assert.strictEqual(Backup.retain(backups, { daily: 5 }).keep.length, 1)
    // Midnight in Recife is at 3 o'clock UTC.
    assert.strictEqual(Backup.retain(backups, { daily: 5, timeZone: "America/Recife" }).keep.length, 2)
  })

  it("always keeps the newest, drops and keeps each backup once, and drops nothing new when it is asked again", () => {
    const count = fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined })
    const policies = fc.record({
      last: count,
      hourly: count,
      daily: count,
      weekly: count,
      monthly: count,
      yearly: count
    })
    const times = fc.uniqueArray(fc.integer({ min: 0, max: 4e12 }), { maxLength: 60 })
    fc.assert(
      fc.property(times, policies, (all, policy) => {
        const backups = all.map((millis) => ({ id: String(millis), finishedAt: DateTime.makeUnsafe(millis) }))
        const { drop, keep } = Backup.retain(backups, policy)
        assert.sameMembers([...keep.map(({ backup }) => backup.id), ...drop.map(({ id }) => id)], all.map(String))
        if (all.length > 0) assert.strictEqual(keep[0]!.backup.id, String(Math.max(...all)))
        const again = Backup.retain(
          keep.map(({ backup }) => backup),
          policy
        )
        assert.deepStrictEqual(again.drop, [])
      })
    )
  })
})
