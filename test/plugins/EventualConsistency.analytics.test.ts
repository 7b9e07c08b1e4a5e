/** What operations came to over time: what a recomputation from them says, however they were folded, in any zone. */
import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as EventualConsistency from "effect-s3db/plugins/EventualConsistency"
import * as Cohorts from "../../src/plugins/eventual/cohorts.ts"
import { memory } from "../fixture.ts"
import { amount, balance, points, processOn, visits, Wallets } from "./counters.ts"

const at = (text: string) => TestClock.setTime(Date.parse(text))
const zone = (name: string) => Cohorts.make(DateTime.zoneMakeNamedUnsafe(name))
const openNew = Effect.flatMap(memory, (store) => Effect.map(processOn(store), (process) => ({ store, ...process })))

describe("cohorts", () => {
  it("are those of the zone, and of ISO weeks", () => {
    const time = Date.parse("2025-10-15T01:20:00Z")
    const labels = (name: string) => Cohorts.periods.map((period) => zone(name).cohortOf(time, period).label)
    assert.deepStrictEqual(labels("UTC"), ["2025-10-15T01:00+00:00", "2025-10-15", "2025-W42", "2025-10", "2025"])
    assert.deepStrictEqual(labels("America/Sao_Paulo").slice(0, 2), ["2025-10-14T22:00-03:00", "2025-10-14"])
    assert.deepStrictEqual(labels("Asia/Kathmandu").slice(0, 2), ["2025-10-15T07:00+05:45", "2025-10-15"])
    const weeks = ["2024-12-30", "2026-01-01", "2027-01-03", "2020-12-31", "2021-01-03", "2021-01-04"]
    assert.deepStrictEqual(
      weeks.map((day) => zone("UTC").cohortOf(Date.parse(day), "week").label),
      ["2025-W01", "2026-W01", "2026-W53", "2020-W53", "2020-W53", "2021-W01"]
    )
  })

  it("have days of 23 and 25 hours where clocks change, and none twice", () => {
    const hours = (name: string, day: string) => {
      const calendar = zone(name)
      const { at: from } = calendar.cohortOf(Date.parse(`${day}T12:00:00Z`), "day")
      const next = calendar.between(from, from + 30 * 3_600_000, "day")[1]!.at
      const all = calendar.between(from, next, "hour")
      assert.strictEqual(new Set(all.map(({ label }) => label)).size, all.length)
      return all.length
    }
    assert.strictEqual(hours("America/New_York", "2025-03-09"), 23)
    assert.strictEqual(hours("America/New_York", "2025-11-02"), 25)
    assert.strictEqual(hours("America/New_York", "2025-06-01"), 24)
    // There is no midnight on this day.
    assert.strictEqual(hours("America/Sao_Paulo", "2018-11-04"), 23)
    const gap = zone("America/Sao_Paulo").cohortOf(Date.parse("2018-11-04T12:00:00Z"), "day")
    assert.strictEqual(new Date(gap.at).toISOString(), "2018-11-04T03:00:00.000Z")
  })

  it("have each quarter of an hour in the hour that has begun and has not ended, also where clocks change within one", () => {
    const quarter = 900_000
    const days = ["2026-04-04T10:00:00Z", "2026-10-03T10:00:00Z", "2026-09-26T10:00:00Z"]
    for (const name of ["Australia/Lord_Howe", "Pacific/Chatham", "Europe/Berlin", "Asia/Kathmandu"]) {
      const calendar = zone(name)
      for (const from of days.map(Date.parse)) {
        for (let at = from; at < from + 40 * quarter; at += quarter) {
          const [own, next] = calendar.between(at, at + 12 * quarter, "hour")
          assert.isTrue(own!.at <= at && at < next!.at, `${name} ${new Date(at).toISOString()}`)
          const isFirst = calendar.cohortOf(at - quarter, "hour").label !== own!.label
          assert.strictEqual(own!.at === at, isFirst, `${name} ${new Date(at).toISOString()}`)
        }
      }
    }
    const hours = zone("Australia/Lord_Howe").between(
      Date.parse("2026-04-04T14:45Z"),
      Date.parse("2026-04-04T16:00Z"),
      "hour"
    )
    assert.deepStrictEqual(
      hours.map(({ at: begin, label }) => [label, new Date(begin).toISOString().slice(11, 16)]),
      [
        ["2026-04-05T01:00+11:00", "14:00"],
        ["2026-04-05T01:00+10:30", "15:00"],
        ["2026-04-05T02:00+10:30", "15:30"]
      ]
    )
  })

  it("follow one another without a gap", () => {
    for (const name of ["UTC", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]) {
      const calendar = zone(name)
      for (const period of Cohorts.periods) {
        const from = Date.parse("2011-12-20T05:00:00Z")
        const all = calendar.between(from, from + 16 * 86_400_000, period)
        for (const [i, one] of all.entries()) {
          assert.strictEqual(calendar.cohortOf(one.at, period).label, one.label, `${name} ${one.label}`)
          if (i > 0) assert.isAbove(one.at, all[i - 1]!.at, `${name} ${one.label}`)
        }
      }
    }
  })
})

describe("EventualConsistency, analytics", () => {
  it.effect("count operations and sum them, by kind and in all", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* at("2025-10-15T10:05:00Z")
      yield* wallets.insert({ id: "w" })
      yield* counters.add(balance, "w", 100)
      yield* counters.add(balance, "w", 200)
      yield* at("2025-10-15T12:00:00Z")
      yield* counters.add(balance, "w", 50)
      yield* counters.subtract(balance, "w", 10)
      yield* counters.add(balance, "waits", 1000)
      for (let i = 0; i < 3; i++) yield* counters.foldAll
      const day = { from: "2025-10-15T00:00:00Z", to: "2025-10-16T00:00:00Z", id: "w" } as const
      const hours = yield* counters.analytics(balance, { ...day, by: "hour" })
      assert.strictEqual(hours.length, 24)
      assert.deepStrictEqual(
        hours.filter(({ count }) => count > 0).map(({ cohort, count, total }) => [cohort, count, total]),
        [
          ["2025-10-15T10:00+00:00", 2, 300],
          ["2025-10-15T12:00+00:00", 2, 40]
        ]
      )
      const [one] = yield* counters.analytics(balance, { ...day, by: "day" })
      assert.deepInclude(one, { cohort: "2025-10-15", count: 4, total: 340, documents: 1 })
      assert.deepStrictEqual(one?.operations, {
        add: { count: 3, sum: 350, min: 50, max: 200 },
        subtract: { count: 1, sum: 10, min: 10, max: 10 }
      })
      const all = yield* counters.analytics(balance, { from: day.from, to: day.to, by: "month", fillGaps: false })
      assert.deepStrictEqual(
        all.map(({ cohort, count, documents, total }) => [cohort, count, documents, total]),
        [["2025-10", 5, 2, 1340]]
      )
    })
  )

  it.effect("have the least and the greatest of what is added at a time, to the last digit", () =>
    Effect.gen(function* () {
      yield* at("2026-03-01T00:00:00Z")
      const store = yield* memory
      const exact = EventualConsistency.counter(Wallets, "points", { analytics: true })
      const { counters, wallets } = yield* processOn(store, {}, [exact])
      yield* wallets.insert({ id: "a" })
      const amounts = [9007199254740993n, 9007199254740992n, 9007199254740995n, 9007199254740996n, 9007199254740994n]
      yield* Effect.forEach(amounts, (n) => counters.add(exact, "a", n), { concurrency: "unbounded" })
      yield* counters.foldAll
      const [bucket] = yield* counters.analytics(exact, { from: 0, to: 1_800_000_000_000, by: "year", fillGaps: false })
      const { count, max, min } = bucket!.operations.add!
      assert.deepStrictEqual([count, min, max], [5, 9007199254740992n, 9007199254740996n])
    })
  )

  it.effect("fill what nothing was done in", () =>
    Effect.gen(function* () {
      const { counters } = yield* openNew
      const rows = (from: string, to: string, by: Cohorts.Period, timeZone = "America/Sao_Paulo") =>
        Effect.map(counters.analytics(balance, { from, to, by, timeZone }), (all) => all.length)
      assert.strictEqual(yield* rows("2025-10-15T03:00:00Z", "2025-10-16T03:00:00Z", "hour"), 24)
      assert.strictEqual(yield* rows("2025-10-13T03:00:00Z", "2025-10-20T03:00:00Z", "day"), 7)
      assert.strictEqual(yield* rows("2025-10-13T03:00:00Z", "2025-10-20T03:00:00Z", "hour"), 168)
      assert.strictEqual(yield* rows("2025-01-01T03:00:00Z", "2026-01-01T03:00:00Z", "month"), 12)
      assert.strictEqual(yield* rows("2025-01-01T03:00:00Z", "2026-01-01T03:00:00Z", "year"), 1)
      assert.strictEqual(yield* rows("2024-12-30T00:00:00Z", "2025-12-29T00:00:00Z", "week", "UTC"), 52)
      assert.strictEqual(yield* rows("2025-10-16T03:00:00Z", "2025-10-15T03:00:00Z", "hour"), 0)
    })
  )

  it.effect("tell the documents with most operations, and with the greatest total", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insertMany([{ id: "a" }, { id: "b" }, { id: "c" }])
      for (const [id, times, by] of [
        ["a", 1, 100n],
        ["b", 5, 1n],
        ["c", 2, 3n]
      ] as const) {
        for (let i = 0; i < times; i++) yield* counters.add(amount, id, BigDecimal.fromBigInt(by))
      }
      yield* counters.foldAll
      const range = { from: 0, to: "2100-01-01T00:00:00Z" } as const
      const count = yield* counters.top(amount, range)
      assert.deepStrictEqual(
        count.map((one) => [one.id, one.count]),
        [
          ["b", 5],
          ["c", 2],
          ["a", 1]
        ]
      )
      const total = yield* counters.top(amount, { ...range, sortBy: "total", limit: 2 })
      assert.deepStrictEqual(
        total.map((one) => [one.id, BigDecimal.format(one.total)]),
        [
          ["a", "100"],
          ["c", "6"]
        ]
      )
    })
  )

  it.effect("are refused where there are none, or a zone, a time or a period is none", () =>
    Effect.gen(function* () {
      const { counters } = yield* openNew
      const range = { from: 0, by: "day" } as const
      for (const refused of [
        counters.analytics(points, range),
        counters.analytics(balance, { ...range, timeZone: "Mars/Olympus" }),
        counters.analytics(balance, { ...range, from: "yesterday" }),
        counters.analytics(balance, { ...range, by: "decade" as "year" }),
        counters.top(balance, { from: 0, limit: 0 })
      ]) {
        const error = yield* Effect.flip(Effect.asVoid<unknown, { readonly _tag: string }, never>(refused))
        assert.strictEqual(error._tag, "InvalidCounter")
      }
    })
  )

  it.effect("go when nobody wants them any more", () =>
    Effect.gen(function* () {
      const { counters, wallets } = yield* openNew
      yield* wallets.insert({ id: "w" })
      for (const time of ["2025-08-31T23:59:00Z", "2025-09-01T00:00:00Z"]) {
        yield* at(time)
        yield* counters.add(balance, "w", 1)
        yield* counters.foldAll
      }
      const months = Effect.map(
        counters.analytics(balance, { from: 0, by: "month", fillGaps: false, to: "2026-01-01T00:00:00Z" }),
        (all) => all.map(({ cohort }) => cohort)
      )
      assert.deepStrictEqual(yield* months, ["2025-08", "2025-09"])
      assert.strictEqual(yield* counters.prune(balance, "2025-09-15T00:00:00Z"), 1)
      assert.deepStrictEqual(yield* months, ["2025-09"])
    })
  )

  it.effect("equal a recomputation from all operations, however they were folded", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 2; seed++) {
        yield* Effect.gen(function* () {
          const store = yield* memory
          const processes = [yield* processOn(store), yield* processOn(store)]
          const { wallets } = processes[0]!
          yield* wallets.insertMany([{ id: "a" }, { id: "b" }])
          const done: Array<{ readonly at: number; readonly id: string; readonly by: number }> = []
          let time = Date.parse("2025-10-25T20:00:00Z")
          for (let i = 0; i < 40; i++) {
            time += yield* Random.nextIntBetween(0, 7_200_000)
            yield* TestClock.setTime(time)
            const { counters } = processes[yield* Random.nextIntBetween(0, 2, { halfOpen: true })]!
            const batch = yield* Random.nextIntBetween(1, 5)
            const id = ["a", "b", "waits"][yield* Random.nextIntBetween(0, 3, { halfOpen: true })]!
            const by = yield* Random.nextIntBetween(-9, 9)
            yield* Effect.forEach(
              Array.from({ length: batch }, () => by),
              (n) => (n < 0 ? counters.subtract(visits, id, -n) : counters.add(visits, id, n)),
              { concurrency: "unbounded" }
            )
            for (let n = 0; n < batch; n++) done.push({ at: time, id, by })
            if ((yield* Random.nextIntBetween(0, 4)) === 0) {
              yield* Effect.all(
                processes.map((one) => one.counters.foldAll),
                { concurrency: 2 }
              )
            }
            if (id !== "waits" && (yield* Random.nextIntBetween(0, 4)) === 0) yield* counters.fold(visits, id)
          }
          yield* processes[1]!.counters.foldAll
          for (const timeZone of ["Europe/Berlin", "America/Sao_Paulo"]) {
            for (const by of Cohorts.periods) {
              const told = yield* processes[0]!.counters.analytics(visits, {
                from: 0,
                to: time + 1,
                by,
                timeZone,
                fillGaps: false
              })
              const expected = new Map<string, { count: number; total: number; ids: Set<string> }>()
              for (const one of done) {
                const { label } = zone(timeZone).cohortOf(one.at, by)
                const cohort = expected.get(label) ?? { count: 0, total: 0, ids: new Set() }
                expected.set(label, cohort)
                cohort.count += 1
                cohort.total += one.by
                cohort.ids.add(one.id)
              }
              assert.deepStrictEqual(
                told.map(({ cohort, count, documents, total }) => [cohort, count, total, documents]),
                [...expected].map(([label, { count, ids, total }]) => [label, count, total, ids.size])
              )
            }
          }
        }).pipe(Random.withSeed(seed))
      }
    })
  )
})
