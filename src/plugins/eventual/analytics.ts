/**
 * What operations came to over time: sums for each document and quarter of an hour, in an object for each field, month and lane.
 *
 * **Details**
 *
 * An object knows how far its lane has come into it: sums and mark are one conditional write, as with documents. What is counted of a
 * version of a lane is what is above the mark; a fold counts before anything leaves the lane. So each operation counts
 * once, whoever folds, how often, and whatever crashes in between, and the sums are those of the operations, in any order.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { percentEncode } from "../../internal/text.ts"
import * as BlobCodec from "../../kernel/BlobCodec.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import { listAll, type ObjectStore } from "../../storage/ObjectStore.ts"
import type * as StoreError from "../../storage/StoreError.ts"
import { quarter } from "./cohorts.ts"
import { decimalOf, type Kind } from "./field.ts"
import type { Entry, Lane } from "./lanes.ts"

const kinds = ["add", "subtract", "set", "reduce"] as const

/** Which quarter of an hour since 1970, the place of the kind, how many, their sum, the least and the greatest. */
const Row = Schema.Tuple([Schema.Int, Schema.Int, Schema.Int, Schema.String, Schema.String, Schema.String])
type Row = typeof Row.Type

const Stored = Schema.Struct({
  marks: Schema.Array(Schema.Tuple([Schema.String, Schema.Int])),
  records: Schema.Array(Schema.Tuple([Schema.String, Schema.Array(Row)])),
  writes: Schema.Array(Schema.String)
})

/** Sums of one month and lane, with how far lanes have come into them. */
interface Sums {
  readonly marks: ReadonlyMap<string, number>
  readonly records: ReadonlyMap<string, ReadonlyArray<Row>>
}

/**
 * What the operations of one kind on a document came to in a quarter of an hour.
 *
 * @category models
 * @since 0.1.0
 */
export interface Summed {
  readonly id: string
  /** When the quarter began, in milliseconds since 1970. */
  readonly at: number
  readonly kind: Kind
  readonly count: number
  readonly sum: BigDecimal.BigDecimal
  readonly min: BigDecimal.BigDecimal
  readonly max: BigDecimal.BigDecimal
}

/**
 * The analytics of a resource.
 *
 * @category models
 * @since 0.1.0
 */
export interface Analytics {
  /** Counts what is new in a version of a lane. 1 GET and 1 PUT for each field and month that has something new. */
  readonly account: (key: string, lane: Lane) => Effect.Effect<void, StoreError.StoreError>
  /** What operations on a field came to from one time up to another. 1 LIST for each 1,000 objects, and 1 GET for each of these months. */
  readonly read: (
    field: string,
    from: number,
    to: number
  ) => Effect.Effect<ReadonlyArray<Summed>, StoreError.StoreError>
  /** Removes the months of a field that were over before a time, and gives how many objects that was. 1 LIST, 1 DeleteObjects. */
  readonly prune: (field: string, before: number) => Effect.Effect<number, StoreError.StoreError | StoreError.Reason>
}

const textOf = (value: BigDecimal.BigDecimal): string => BigDecimal.format(BigDecimal.normalize(value))

/** A row of one entry. */
const rowOf = ({ a, c = 1, k, r = [a, a], t }: Entry): Row => [
  Math.floor(t / quarter),
  kinds.indexOf(k),
  c,
  textOf(decimalOf(a)),
  textOf(decimalOf(r[0])),
  textOf(decimalOf(r[1]))
]

const merged = (before: Row, row: Row): Row => {
  const least = BigDecimal.min(decimalOf(before[4]), decimalOf(row[4]))
  const greatest = BigDecimal.max(decimalOf(before[5]), decimalOf(row[5]))
  const sum = BigDecimal.sum(decimalOf(before[3]), decimalOf(row[3]))
  return [before[0], before[1], before[2] + row[2], textOf(sum), textOf(least), textOf(greatest)]
}

const withEntries = (sums: Sums | undefined, lane: string, entries: ReadonlyArray<Entry>): Sums => {
  const records = new Map(sums?.records)
  for (const entry of entries) {
    const row = rowOf(entry)
    const rows = records.get(entry.i) ?? []
    const at = rows.findLastIndex((one) => one[0] === row[0] && one[1] === row[1])
    records.set(entry.i, at < 0 ? [...rows, row] : rows.with(at, merged(rows[at]!, row)))
  }
  return { records, marks: new Map(sums?.marks).set(lane, entries.at(-1)!.s) }
}

/** What is this short is not worth being compressed. */
const few = 8

const monthOf = (at: number): string => new Date(at).toISOString().slice(0, 7)

/**
 * Makes the analytics of a resource. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (store: ObjectStore["Service"], prefix: string): Analytics => {
  const what = "sums of operations over time"
  const codec = BlobCodec.json(Stored)
  const plain = BlobCodec.json(Stored, { compression: "none" })
  const format: CasCell.Format<Sums> = {
    contentType: "application/octet-stream",
    remembered: 16,
    // Months are removed when nobody wants them any more.
    isForgetful: true,
    encode: ({ marks, records }, writes) =>
      (records.size < few ? plain : codec).encode({ marks: [...marks], records: [...records], writes }, what),
    decode: (body) =>
      Effect.map(codec.decode(body, what), ({ marks, records, writes }) => ({
        value: { marks: new Map(marks), records: new Map(records) },
        writes
      }))
  }
  const folder = (field: string) => `${prefix}analytics/field=${percentEncode(field)}/`
  /** How far this process has seen lanes counted, by their names. */
  const counted = new Map<string, number>()

  const monthsOf = (field: string) =>
    Effect.map(Stream.runCollect(listAll(store, { prefix: folder(field), keysOnly: true })), (all) =>
      all.map(({ key }) => ({ key, month: key.slice(folder(field).length).split("/")[0]! }))
    )

  return {
    account: Effect.fnUntraced(function* (key, lane) {
      const part = key.slice(key.lastIndexOf("/") + 1)
      const groups = new Map<string, Array<Entry>>()
      const from = counted.get(lane.name) ?? 0
      for (const entry of lane.entries) {
        if (entry.z !== true || entry.s <= from) continue
        const at = `${folder(entry.f)}${monthOf(entry.t)}/${part}`
        const entries = groups.get(at)
        if (entries === undefined) groups.set(at, [entry])
        else entries.push(entry)
      }
      yield* Effect.forEach(
        groups,
        ([at, entries]) =>
          CasCell.make(store, at, format).modify((sums) => {
            const mark = sums?.marks.get(lane.name) ?? 0
            const fresh = entries.filter(({ s }) => s > mark)
            return Effect.succeed(fresh.length === 0 ? sums : withEntries(sums, lane.name, fresh))
          }),
        { concurrency: 8, discard: true }
      )
      counted.set(lane.name, Math.max(from, lane.next - 1))
    }),
    read: Effect.fnUntraced(function* (field, from, to) {
      const months = (yield* monthsOf(field)).filter(({ month }) => month >= monthOf(from) && month <= monthOf(to - 1))
      const found = yield* Effect.forEach(months, ({ key }) => CasCell.make(store, key, format).read, {
        concurrency: 16
      })
      return found.flatMap(({ value }) =>
        [...(value?.records ?? [])].flatMap(([id, rows]) =>
          rows
            .map(([which, kind, count, sum, min, max]): Summed => ({
              id,
              at: which * quarter,
              kind: kinds[kind] ?? "add",
              count,
              sum: decimalOf(sum),
              min: decimalOf(min),
              max: decimalOf(max)
            }))
            .filter(({ at }) => at >= from && at < to)
        )
      )
    }),
    prune: Effect.fnUntraced(function* (field, before) {
      const old = (yield* monthsOf(field)).filter(({ month }) => month < monthOf(before)).map(({ key }) => key)
      if (old.length === 0) return 0
      const { deleted, failed } = yield* store.deleteMany(old, { repeatable: true })
      if (failed[0] !== undefined) return yield* Effect.fail(failed[0].reason)
      return deleted.length
    })
  }
}
