import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Timetable from "../../src/plugins/scheduler/timetable.ts"

const at = (text: string) => Date.parse(text)

const tableOf = (schedule: Timetable.Schedule, now = at("2018-01-01T00:00:00Z")) =>
  Result.getOrThrow(Result.flatMap(Timetable.define(schedule, now), Timetable.fromDefinition))

const problemOf = (schedule: Timetable.Schedule) => {
  const defined = Timetable.define(schedule, at("2026-11-26T00:00:00Z"))
  return Result.isFailure(defined) ? defined.failure : ""
}

const nextOf = (schedule: Timetable.Schedule, from: string, count: number) => {
  const { next } = tableOf(schedule)
  const found: Array<string> = []
  for (let time = at(from); found.length < count;) {
    const following = next(time)
    if (following === undefined) break
    found.push(new Date(following).toISOString().replace(":00.000Z", "Z"))
    time = following
  }
  return found
}

describe("Scheduler's timetable", () => {
  it("makes up for a midnight that does not exist", () => {
    const midnight = { cron: "0 0 * * *", timeZone: "America/Sao_Paulo" }
    assert.deepStrictEqual(nextOf(midnight, "2018-11-03T12:00:00Z", 2), ["2018-11-04T03:00Z", "2018-11-05T02:00Z"])
  })

  it("runs at a named time that comes twice once, and every half hour in both hours", () => {
    const timeZone = "Europe/Berlin"
    const named = { cron: "30 2 * * *", timeZone }
    assert.deepStrictEqual(nextOf(named, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30Z", "2026-10-26T01:30Z"])
    assert.deepStrictEqual(nextOf({ ...named, whenRepeated: "later" }, "2026-10-24T12:00:00Z", 1), [
      "2026-10-25T01:30Z"
    ])
    const halves = nextOf({ cron: "*/30 * * * *", timeZone }, "2026-10-25T00:00:00Z", 4)
    assert.deepStrictEqual(halves, ["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"])
  })

  it("takes 7 for Sunday, ? for any day, names, seconds, and shortcuts in their zone", () => {
    const from = "2026-11-26T00:00:00Z"
    assert.deepStrictEqual(nextOf("0 0 * * 7", from, 1), ["2026-11-29T00:00Z"])
    assert.deepStrictEqual(nextOf("0 0 ? * 7", from, 1), ["2026-11-29T00:00Z"])
    assert.deepStrictEqual(nextOf("0 0 1 jan,mar *", from, 2), ["2027-01-01T00:00Z", "2027-03-01T00:00Z"])
    assert.deepStrictEqual(nextOf("*/20 * * * * *", from, 3), [
      "2026-11-26T00:00:20.000Z",
      "2026-11-26T00:00:40.000Z",
      "2026-11-26T00:01Z"
    ])
    assert.deepStrictEqual(nextOf({ cron: "@daily", timeZone: "Asia/Tokyo" }, from, 1), ["2026-11-26T15:00Z"])
    // Both day fields: either fits.
    assert.deepStrictEqual(nextOf("0 0 13 * 5", "2026-12-08T00:00:00Z", 2), ["2026-12-11T00:00Z", "2026-12-13T00:00Z"])
  })

  it("counts intervals from their beginning, whatever fits into an hour", () => {
    const from = "2026-11-26T00:00:10Z"
    assert.deepStrictEqual(nextOf({ every: "90 seconds", from: at(from) }, "2026-11-26T00:00:00Z", 3), [
      "2026-11-26T00:00:10.000Z",
      "2026-11-26T00:01:40.000Z",
      "2026-11-26T00:03:10.000Z"
    ])
    assert.deepStrictEqual(nextOf({ every: "7 hours", from: at("2026-11-26T00:00:00Z") }, "2026-11-26T20:00:00Z", 2), [
      "2026-11-26T21:00Z",
      "2026-11-27T04:00Z"
    ])
  })

  it("comes once", () => {
    assert.deepStrictEqual(nextOf({ at: new Date("2100-01-01T00:00:00Z") }, "2026-11-26T00:00:00Z", 3), [
      "2100-01-01T00:00Z"
    ])
  })

  it("finds the last moment of an outage, also one that is made up for", () => {
    const hourly = tableOf("@hourly")
    assert.strictEqual(hourly.last(at("2026-10-26T00:00:00Z"), at("2026-11-26T00:00:00Z")), at("2026-11-26T00:00:00Z"))
    assert.strictEqual(hourly.last(at("2026-11-26T00:00:00Z"), at("2026-11-26T00:59:00Z")), undefined)
    const midnight = tableOf({ cron: "0 0 * * *", timeZone: "America/Sao_Paulo" })
    assert.strictEqual(
      midnight.last(at("2018-11-01T12:00:00Z"), at("2018-11-04T12:00:00Z")),
      at("2018-11-04T03:00:00Z")
    )
    const seconds = tableOf({ every: "1 second", from: 0 })
    assert.strictEqual(seconds.last(0, at("2026-11-26T00:00:00.500Z")), at("2026-11-26T00:00:00Z"))
    assert.strictEqual(tableOf({ at: 5 }).last(5, 10), undefined)
  })

  it("tells what is wrong with a schedule", () => {
    assert.match(problemOf("* * *"), /5 or 6 fields/)
    assert.match(problemOf("61 * * * *"), /cron expression/)
    assert.match(problemOf("0 0 30 2 *"), /comes to pass/)
    assert.match(problemOf({ cron: "@daily", timeZone: "Mars/Olympus" }), /time zone.*Mars\/Olympus/)
    assert.match(problemOf({ every: "10 millis" }), /a second or more/)
    assert.match(problemOf({ every: Number.NaN }), /a second or more/)
    assert.match(problemOf({ at: new Date(Number.NaN) }), /Expected a date/)
    assert.match(problemOf({ every: "1 hour", from: new Date(Number.NaN) }), /Expected a date/)
  })
})
