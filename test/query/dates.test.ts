/** Dates of any year compare as the times that they are: in conditions, orders, partitions, cursors and aggregations. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Partition from "effect-s3db/Partition"
import * as Query from "effect-s3db/Query"
import * as MemoryStore from "effect-s3db/storage/MemoryStore"
import { random } from "../encoding/random.ts"
import { keysOf, openNew, openOn } from "../fixture.ts"

const Event = Schema.Struct({
  id: Schema.String,
  team: Schema.String,
  at: Schema.Date,
  text: Schema.DateTimeUtcFromString,
  maybe: Schema.NullOr(Schema.Date),
  option: Schema.Option(Schema.Date),
  all: Schema.Array(Schema.Date),
  named: Schema.Record(Schema.String, Schema.Date),
  inner: Schema.Struct({ at: Schema.DateTimeUtc })
})

const partitions = {
  byAt: ["at"],
  byTeam: { fields: ["team", "text"], covering: ["at"] },
  byInner: ["inner.at"],
  byYear: { fields: { at: "year" } },
  byMonth: { fields: { at: "month" } },
  byDay: { fields: { at: "date" } },
  byHour: { fields: { at: "hour" } }
} as const

const most = 8.64e15
/** The ends of what there is, of the years with four digits, and of what lies about them. */
const edges = [
  -most,
  -most + 1,
  Date.UTC(-1, 11, 31, 23, 59, 59, 999),
  Date.UTC(-10_000, 5, 1),
  Date.UTC(-9999, 11, 31),
  -62_167_219_200_001,
  -62_167_219_200_000,
  -1,
  0,
  Date.UTC(2026, 0, 5, 12),
  253_402_300_799_999,
  253_402_300_800_000,
  Date.UTC(10_000, 1, 29),
  Date.UTC(99_999, 11, 31),
  Date.UTC(100_000, 0, 1),
  most - 1,
  most
]

const event = (i: number, time: number): typeof Event.Type => {
  const at = new Date(time)
  const dateTime = DateTime.makeUnsafe(time)
  return {
    id: `e${i}`,
    team: i % 2 === 0 ? "even" : "odd",
    at,
    text: dateTime,
    maybe: i % 5 === 0 ? null : at,
    option: i % 5 === 0 ? Option.none() : Option.some(at),
    all: [at],
    named: { x: at },
    inner: { at: dateTime }
  }
}

const timesFor = (seed: number): ReadonlyArray<number> => {
  const from = random(seed)
  return [...edges, ...Array.from({ length: 3 }, () => Math.floor((from.int(2 ** 31) / 2 ** 31 - 0.5) * 2 * most))]
}

const byTime = (a: typeof Event.Type, b: typeof Event.Type) =>
  a.at.getTime() - b.at.getTime() || Query.compareValues(a.id, b.id)

const idsOf = (events: ReadonlyArray<{ readonly id: string }>) => events.map(({ id }) => id)

const operators = {
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
  lt: (a: number, b: number) => a < b,
  lte: (a: number, b: number) => a <= b,
  gt: (a: number, b: number) => a > b,
  gte: (a: number, b: number) => a >= b
} as const

describe("dates of any year", () => {
  for (const [name, profile] of [
    ["a store that lists in order", "aws"],
    ["a store that does not", "express"]
  ] as const) {
    it.effect(
      `conditions, orders and pages are those of the times, with an index and without: ${name}`,
      () =>
        Effect.gen(function* () {
          const { store } = yield* MemoryStore.make({ profile })
          const { open: openPlain } = yield* openNew
          const { open } = yield* openOn(store)
          const plain = yield* openPlain("events", { schema: Event, primaryKey: "id", scan: true })
          const indexed = yield* open("events", { schema: Event, primaryKey: "id", scan: true, partitions })
          const events = timesFor(1).map((time, i) => event(i, time))
          yield* plain.insertMany(events)
          yield* indexed.insertMany(events)
          const sorted = events.toSorted(byTime)
          for (const repository of profile === "aws" ? [plain, indexed] : [indexed]) {
            const found = (request: Query.Request<typeof Event.Type>) =>
              Effect.map(Stream.runCollect(repository.query({ limit: 1000, ...request })), idsOf)
            // Both ends of each order of texts, and one between.
            for (const operand of [-62_167_219_200_001, 253_402_300_800_000, most, timesFor(1).at(-1)!]) {
              for (const [op, holds] of Object.entries(operators)) {
                const expected = sorted.filter(({ at }) => holds(at.getTime(), operand))
                const [date, dateTime] = [new Date(operand), DateTime.makeUnsafe(operand)]
                for (const where of [
                  { at: { [op]: date } },
                  { text: { [op]: dateTime } },
                  { "inner.at": { [op]: dateTime } },
                  { "named.x": { [op]: date } },
                  { team: { in: ["even", "odd"] }, text: { [op]: dateTime } }
                ]) {
                  const label = `${op} ${date.toISOString()} ${Object.keys(where).join()}`
                  assert.deepStrictEqual(yield* found({ where, order: "at" }), idsOf(expected), label)
                }
                const there = expected.filter(({ maybe }) => maybe !== null)
                if (op === "ne") continue
                for (const where of [{ maybe: { [op]: date } }, { "option.value": { [op]: date } }]) {
                  const all = yield* found({ where: where as object, order: "at" })
                  assert.deepStrictEqual(all, idsOf(there), `${op} ${Object.keys(where).join()}`)
                }
                const within = yield* found({ where: { all: { [op]: date } } as object, order: "at" })
                assert.deepStrictEqual(within, idsOf(expected))
              }
              const to = operand + 1e14
              const between = { at: { between: [new Date(operand), new Date(Math.min(to, most))] as const } }
              const expected = sorted.filter(({ at }) => at.getTime() >= operand && at.getTime() <= to)
              assert.deepStrictEqual(yield* found({ where: between, order: "at" }), idsOf(expected))
              const wanted = [new Date(operand), new Date(0)]
              const chosen = sorted.filter(({ at }) => wanted.some((one) => one.getTime() === at.getTime()))
              assert.deepStrictEqual(yield* found({ where: { at: { in: wanted } }, order: "at" }), idsOf(chosen))
            }
            for (const order of ["at", "text", "inner.at", "all"] as const) {
              assert.deepStrictEqual(yield* found({ order }), idsOf(sorted), order)
              const descending = events.toSorted((a, b) => b.at.getTime() - a.at.getTime() || byTime(a, b))
              assert.deepStrictEqual(yield* found({ order: `-${order}` }), idsOf(descending), order)
              for (const request of [
                { order },
                { order, where: { team: "odd" } },
                { order, where: { at: { lt: new Date(most) } } }
              ]) {
                const pages: Array<string> = []
                let cursor: string | undefined
                do {
                  const page = yield* repository.queryPage({ ...request, limit: 7, cursor })
                  pages.push(...idsOf(page.items))
                  cursor = page.cursor
                } while (cursor !== undefined)
                assert.deepStrictEqual(pages, yield* found(request), JSON.stringify(request))
              }
            }
            const values = { first: { min: "at" }, last: { max: "text" }, n: { count: true } } as const
            const [whole] = yield* repository.aggregate({ values })
            assert.deepStrictEqual(whole?.values, {
              first: new Date(-most).toISOString(),
              last: new Date(most).toISOString(),
              n: events.length
            })
            const groups = yield* repository.aggregate({ groupBy: ["at"], values: { n: { count: true } } })
            assert.deepStrictEqual(
              groups.map(({ key }) => key[0]),
              [...new Set(sorted.map(({ at }) => at.toISOString()))]
            )
          }
        }),
      120_000
    )

    it.effect(`partitions have them in their order, by their bounds and by their parts: ${name}`, () =>
      Effect.gen(function* () {
        const { store } = yield* MemoryStore.make({ profile })
        const isOrdered = profile === "aws"
        const { open } = yield* openOn(store)
        const indexed = yield* open("events", { schema: Event, primaryKey: "id", scan: true, partitions })
        const events = timesFor(2).map((time, i) => event(i, time))
        yield* indexed.insertMany(events)
        const sorted = events.toSorted(byTime)
        const same = (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>, label?: string) =>
          isOrdered ? assert.deepStrictEqual(a, b, label) : assert.deepStrictEqual(new Set(a), new Set(b), label)
        const times = (within: Query.Within) =>
          Effect.map(Stream.runCollect(indexed.scan(within)), (all) => all.map(({ at }) => at.getTime()))
        const all = sorted.map(({ at }) => at.getTime())
        same(yield* times({ partition: "byAt" }), all)
        same(yield* times({ partition: "byInner" }), all)
        for (const edge of edges.filter((_, i) => i % 3 === (profile === "aws" ? 0 : 1))) {
          const date = new Date(edge)
          same(
            yield* times({ partition: "byAt", from: date }),
            all.filter((time) => time >= edge)
          )
          same(
            yield* times({ partition: "byAt", to: date }),
            all.filter((time) => time <= edge)
          )
          same(
            yield* times({ partition: "byAt", values: { at: date } }),
            all.filter((time) => time === edge)
          )
          const team = { partition: "byTeam", values: { team: "odd" } }
          const odd = sorted.filter((one) => one.team === "odd").map(({ at }) => at.getTime())
          same(
            yield* times({ ...team, from: date, to: new Date(most) }),
            odd.filter((time) => time >= edge)
          )
          for (const [partition, length] of [
            ["byYear", -20],
            ["byMonth", -17],
            ["byDay", -14],
            ["byHour", -11]
          ] as const) {
            const part = date.toISOString().slice(0, length)
            const isIn = (time: number) => new Date(time).toISOString().slice(0, length) === part
            for (const at of [date, date.toISOString(), part]) {
              same(yield* times({ partition, values: { at } }), all.filter(isIn), `${partition} ${String(at)}`)
            }
            const since = all.filter((time) => time >= edge || isIn(time))
            const found = yield* times({ partition, from: date })
            assert.deepStrictEqual(
              found.toSorted((a, b) => a - b),
              since,
              `${partition} from ${part}`
            )
          }
          // The beginning of a text is that of a text.
          for (const length of [1, 5, 12]) {
            const startsWith = date.toISOString().slice(0, length)
            const begin = all.filter((time) => new Date(time).toISOString().startsWith(startsWith))
            same(yield* times({ partition: "byAt", startsWith }), begin, startsWith)
            const asked = indexed.query({ where: { at: { startsWith } } as object, limit: 1000 })
            same(
              (yield* Stream.runCollect(asked)).map(({ at }) => at.getTime()).toSorted((a, b) => a - b),
              begin,
              startsWith
            )
          }
        }
        same(
          yield* Stream.runCollect(indexed.distinct({ partition: "byAt" })),
          [...new Set(all)].map((time) => new Date(time).toISOString())
        )
        same(yield* Stream.runCollect(indexed.distinct({ partition: "byYear" })), [
          ...new Set(all.map((time) => new Date(time).toISOString().slice(0, -20)))
        ])
        const covered = yield* Stream.runCollect(indexed.covered({ partition: "byTeam", values: { team: "odd" } }))
        for (const { fields, values } of covered) assert.strictEqual(values["text"], fields["at"])
        // What is changed and removed leaves no marker behind.
        for (const { id } of events.slice(5))
          yield* indexed.update(id, { at: new Date(most), text: DateTime.makeUnsafe(-most) })
        for (const { id } of events) yield* indexed.delete(id)
        assert.deepStrictEqual(yield* keysOf(store, "resource=events/partition="), [])
      })
    )
  }

  it("keys of the years 0 to 9999 are what they were, no other text has those of the others", () => {
    const attributes = [{ path: ["at"], codec: "date", optional: false, nullable: false }]
    const definition = Partition.define("p", ["at"], attributes)
    const keyOf = (text: string, isDate: boolean) => {
      const owned = Partition.compile("r", "p", definition, { isDate: () => isDate }).own("1", () => text, "w")
      return owned._tag === "Success" ? owned.success?.values : undefined
    }
    assert.strictEqual(keyOf("2026-01-05T00:00:00.000Z", true), "at=2026-01-05T00%3A00%3A00.000Z")
    assert.strictEqual(keyOf("+275760-09-13T00:00:00.000Z", true), "at==275760-09-13T00%3A00%3A00.000Z")
    assert.strictEqual(keyOf("-000001-03-01T00:00:00.000Z", true), "at=!-999998-03-01T00%3A00%3A00.000Z")
    // Text is text: telephone numbers have a place of their own.
    assert.strictEqual(keyOf("+5511999887766", false), "at=%2B5511999887766")
    assert.strictEqual(keyOf("-1", false), "at=-1")
    for (const text of ["=1", "!-1", "!t"]) {
      for (const isDate of [true, false]) assert.notInclude(keyOf(text, isDate)!.slice(3), text)
    }
  })
})
