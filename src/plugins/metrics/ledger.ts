/**
 * Sums over time that many processes write at once: what each has counted in an interval is an object of its own, written once and never
 * changed, and intervals are rolled up into hours and days.
 *
 * An interval has a name: its hour, its time, the process and a number. An hour and a day know the names of the intervals that are in
 * them, and change by compare-and-set. So an interval counts once, whoever rolls up, how often, and whatever crashes in between; who
 * reads adds the intervals that are not in yet.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as BlobCodec from "../../kernel/BlobCodec.ts"
import * as CasCell from "../../kernel/CasCell.ts"
import type { Capabilities, ObjectStore } from "../../storage/ObjectStore.ts"
import { getOption, listAll } from "../../storage/ObjectStore.ts"
import * as StoreError from "../../storage/StoreError.ts"

/**
 * Milliseconds of an hour.
 *
 * @category constants
 * @since 0.1.0
 */
export const hour = 3_600_000
/**
 * Milliseconds of a day.
 *
 * @category constants
 * @since 0.1.0
 */
export const day = 24 * hour

/**
 * How long each is kept, in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Keep {
  readonly intervals: number
  readonly hours: number
  readonly days: number
}

/**
 * Where sums are, and what they are of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A, I> {
  readonly store: ObjectStore["Service"]
  readonly capabilities: Capabilities
  readonly prefix: string
  readonly schema: Schema.Codec<A, I>
  readonly what: string
  readonly merge: (all: ReadonlyArray<A>) => A
  readonly keep: Keep
}

/**
 * What an interval is called by: no two have the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface Name {
  /** When the interval began, in milliseconds. */
  readonly at: number
  readonly process: string
  readonly number: number
}

/**
 * What was counted from a time on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bucket<out A> {
  readonly at: number
  readonly value: A
}

/**
 * From a time up to another.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly from: number
  /** Not included. */
  readonly to: number
}

/**
 * What a roll-up did: how many intervals it added, and how many objects it removed that are not kept any longer.
 *
 * @category models
 * @since 0.1.0
 */
export interface RolledUp {
  readonly added: number
  readonly removed: number
}

/**
 * What sums are of.
 *
 * @category models
 * @since 0.1.0
 */
export type Unit = "interval" | "hour" | "day"

/**
 * Sums over time, of all processes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ledger<A> {
  /** Writes an interval, once: again with the same name changes nothing. 1 PUT. */
  readonly append: (name: Name, value: A) => Effect.Effect<void, StoreError.StoreError>
  /**
   * The sums of a range, in the order of time. Those of intervals: 1 LIST for each 1,000, and 1 GET for each. Of hours and days: 1 LIST for each 1,000
   * intervals that are kept, 1 LIST for each 1,000 hours or days, and 1 GET for each of these and for each interval that is not in yet.
   */
  readonly read: (range: Range, unit: Unit) => Stream.Stream<Bucket<A>, StoreError.StoreError>
  /**
   * Brings intervals of hours that are over into their hours and days, and removes what is kept no longer. 1 GET where another process has done
   * so in this hour; else 2 PUT, 1 LIST for each 1,000 intervals, 1 GET for each, and 2 GET and 2 PUT for each hour.
   */
  readonly rollUp: (now: number) => Effect.Effect<Option.Option<RolledUp>, StoreError.StoreError | StoreError.Reason>
}

// -----------------------------------------------------------------------------
// Names
// -----------------------------------------------------------------------------

const floorTo = (at: number, size: number): number => Math.floor(at / size) * size

/** `2026-11-27T01`, or `2026-11-27`: sorts as time does, up to the year 9999. */
const textOf = (at: number, unit: "hour" | "day"): string =>
  new Date(at).toISOString().slice(0, unit === "hour" ? 13 : 10)

const timeOf = (text: string, unit: "hour" | "day"): number =>
  Date.parse(unit === "hour" ? `${text}:00:00.000Z` : `${text}T00:00:00.000Z`)

/** Below the prefix of the hour. Thirteen digits are enough until the year 2286, and fourteen sort after them. */
const suffixOf = ({ at, number, process }: Name): string => `${String(at).padStart(15, "0")}-${process}-${number}`

const parseSuffix = (text: string): Name | undefined => {
  const match = /^(\d{15})-([\w-]+)-(\d+)$/.exec(text)
  return match === null ? undefined : { at: Number(match[1]), process: match[2]!, number: Number(match[3]) }
}

// -----------------------------------------------------------------------------
// Ledger
// -----------------------------------------------------------------------------

/** A sum with the intervals that are in it: the numbers of each process. */
interface Sum<A> {
  readonly value: A
  readonly names: ReadonlyMap<string, ReadonlySet<number>>
}

const has = (names: Sum<unknown>["names"] | undefined, { number, process }: Name): boolean =>
  names?.get(process)?.has(number) ?? false

const withNames = (before: Sum<unknown>["names"] | undefined, added: ReadonlyArray<Name>): Sum<unknown>["names"] => {
  const names = new Map(before)
  for (const { number, process } of added) names.set(process, new Set([...(names.get(process) ?? []), number]))
  return names
}

/** How late an interval may be written before only the next removal finds it. */
const lateness = 2 * hour

const concurrency = 16

const Progress = Schema.Struct({
  /** The hour in which somebody has begun to roll up last. */
  claimed: Schema.Finite,
  /** All hours before this one have been rolled up. */
  done: Schema.Finite
})

/**
 * Makes a ledger. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, I>(options: Options<A, I>): Ledger<A> => {
  const { capabilities, keep, merge, prefix, schema, store, what } = options
  const codec = BlobCodec.json(Schema.Struct({ value: schema }))
  const StoredSum = Schema.Struct({
    value: schema,
    names: Schema.Array(Schema.Tuple([Schema.String, Schema.Array(Schema.Int)])),
    writes: Schema.Array(Schema.String)
  })
  const sums = BlobCodec.json(StoredSum)
  const intervals = `${prefix}interval/`
  const folder = (unit: "hour" | "day") => `${prefix}${unit}/`
  const keyOf = (name: Name) => `${intervals}${textOf(name.at, "hour")}/${suffixOf(name)}`
  const nameOf = (key: string): Name | undefined => parseSuffix(key.slice(key.lastIndexOf("/") + 1))

  const format: CasCell.Format<Sum<A>> = {
    contentType: "application/octet-stream",
    remembered: 16,
    // Hours and days are removed when they are kept no longer.
    isForgetful: true,
    encode: ({ names, value }, writes) =>
      sums.encode({ value, names: [...names].map(([process, all]) => [process, [...all]] as const), writes }, what),
    decode: (body) =>
      Effect.map(sums.decode(body, what), ({ names, value, writes }) => ({
        value: { value, names: new Map(names.map(([process, all]) => [process, new Set(all)])) },
        writes
      }))
  }
  const sumAt = (unit: "hour" | "day", at: number) => CasCell.make(store, `${folder(unit)}${textOf(at, unit)}`, format)

  const failed = (operation: "get" | "put", key: string) => (reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })

  const append: Ledger<A>["append"] = Effect.fnUntraced(function* (name, value) {
    const key = keyOf(name)
    const body = yield* Effect.mapError(codec.encode({ value }, what), failed("put", key))
    // Nobody else has this name: what is there is what this has written before.
    yield* Effect.catchIf(
      store.put({ key, body, ifNoneMatch: "*" }),
      ({ reason }) => reason._tag === "PreconditionFailed",
      () => Effect.void
    )
  })

  const load = Effect.fnUntraced(function* (name: Name) {
    const key = keyOf(name)
    const found = yield* getOption(store, key)
    if (Option.isNone(found)) return Option.none<A>()
    return Option.some((yield* Effect.mapError(codec.decode(found.value.body, what), failed("get", key))).value)
  })

  /** The keys below a prefix whose first part is from one text to another, in order. */
  const between = (below: string, from: string, to: string) => {
    const isOrdered = capabilities.orderedList
    const all = listAll(store, {
      prefix: below,
      keysOnly: true,
      // All that is in it sorts after the text itself.
      ...(isOrdered ? { startAfter: `${below}${from}` } : {})
    }).pipe(Stream.map(({ key }) => key))
    const part = (key: string) => key.slice(below.length).split("/")[0]!
    return isOrdered
      ? Stream.takeWhile(all, (key) => part(key) <= to)
      : Stream.filter(all, (key) => part(key) >= from && part(key) <= to)
  }

  const namesIn = ({ from, to }: Range) =>
    between(intervals, textOf(floorTo(from, hour), "hour"), textOf(to - 1, "hour")).pipe(
      Stream.map(nameOf),
      Stream.filter((name) => name !== undefined),
      Stream.filter(({ at }) => at >= from && at < to),
      Stream.runCollect
    )

  const groupBy = (names: ReadonlyArray<Name>, of: (name: Name) => number) => {
    const groups = new Map<number, Array<Name>>()
    for (const name of names) {
      const at = of(name)
      const group = groups.get(at)
      if (group === undefined) groups.set(at, [name])
      else group.push(name)
    }
    return groups
  }

  const readIntervals = (range: Range) =>
    Stream.unwrap(
      Effect.map(namesIn(range), (names) => {
        const groups = [...groupBy(names, ({ at }) => at)].toSorted(([a], [b]) => a - b)
        return Stream.fromIterable(groups).pipe(
          Stream.mapEffect(
            Effect.fnUntraced(function* ([at, group]) {
              const values = yield* Effect.forEach(group, load, { concurrency })
              const there = values.flatMap((value) => (Option.isSome(value) ? [value.value] : []))
              return there.length === 0 ? [] : [{ at, value: merge(there) }]
            })
          ),
          Stream.flattenIterable
        )
      })
    )

  /** What a sum and the intervals that are not in it come to. */
  const readSum = Effect.fnUntraced(function* (unit: "hour" | "day", at: number, names: ReadonlyArray<Name>) {
    for (;;) {
      const { value: sum } = yield* sumAt(unit, at).read
      const missing = names.filter((name) => !has(sum?.names, name))
      const values = yield* Effect.forEach(missing, load, { concurrency })
      // One that was removed meanwhile is in the sum by now.
      if (values.some(Option.isNone) && (yield* hasAll(unit, at, missing))) continue
      const all = [
        ...(sum === undefined ? [] : [sum.value]),
        ...values.flatMap((value) => (Option.isSome(value) ? [value.value] : []))
      ]
      return all.length === 0 ? [] : [{ at, value: merge(all) }]
    }
  })

  const hasAll = (unit: "hour" | "day", at: number, names: ReadonlyArray<Name>) =>
    Effect.map(sumAt(unit, at).read, ({ value }) => names.every((name) => has(value?.names, name)))

  const readSums = (range: Range, unit: "hour" | "day") => {
    const size = unit === "hour" ? hour : day
    const from = floorTo(range.from, size)
    const read = Effect.gen(function* () {
      const names = groupBy(yield* namesIn({ from, to: range.to }), ({ at }) => floorTo(at, size))
      const keys = yield* Stream.runCollect(between(folder(unit), textOf(from - 1, unit), textOf(range.to - 1, unit)))
      const there = keys.map((key) => timeOf(key.slice(folder(unit).length), unit))
      const times = [...new Set([...names.keys(), ...there])].filter((at) => at >= from && at < range.to)
      return Stream.fromIterable(times.toSorted((a, b) => a - b)).pipe(
        Stream.mapEffect((at) => readSum(unit, at, names.get(at) ?? []), { concurrency: 4 }),
        Stream.flattenIterable
      )
    })
    return Stream.unwrap(read)
  }

  /** Adds intervals to a sum, those that are in it already not again. */
  const add = Effect.fnUntraced(function* (unit: "hour" | "day", at: number, loaded: ReadonlyMap<Name, A>) {
    yield* sumAt(unit, at).modify((sum) => {
      const missing = [...loaded].filter(([name]) => !has(sum?.names, name))
      if (missing.length === 0) return Effect.succeed(sum)
      const values = [...(sum === undefined ? [] : [sum.value]), ...missing.map(([, value]) => value)]
      const names = withNames(
        sum?.names,
        missing.map(([name]) => name)
      )
      return Effect.succeed({ value: merge(values), names })
    })
  })

  /** Brings the intervals of an hour into it and its day, and gives how many were not in yet. */
  const rollUpHour = Effect.fnUntraced(function* (at: number, names: ReadonlyArray<Name>) {
    const { value: ofHour } = yield* sumAt("hour", at).read
    const { value: ofDay } = yield* sumAt("day", floorTo(at, day)).read
    const missing = names.filter((name) => !has(ofHour?.names, name) || !has(ofDay?.names, name))
    if (missing.length === 0) return 0
    const loaded = new Map<Name, A>()
    yield* Effect.forEach(
      missing,
      (name) =>
        Effect.map(load(name), (value) => {
          if (Option.isSome(value)) loaded.set(name, value.value)
        }),
      { concurrency, discard: true }
    )
    yield* add("hour", at, loaded)
    yield* add("day", floorTo(at, day), loaded)
    return missing.length
  })

  const rollUpAll = Effect.fnUntraced(function* (range: Range) {
    const hours = [...groupBy(yield* namesIn(range), ({ at }) => floorTo(at, hour))]
    let added = 0
    for (const [at, names] of hours.toSorted(([a], [b]) => a - b)) added += yield* rollUpHour(at, names)
    return { added, names: hours.flatMap(([, names]) => names) }
  })

  /** Removes some objects, and nothing that has come meanwhile. */
  const removeKeys = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    if (keys.length === 0) return 0
    const { deleted, failed: kept } = yield* store.deleteMany(keys, { repeatable: true })
    if (kept[0] !== undefined) return yield* Effect.fail(kept[0].reason)
    return deleted.length
  })

  /** Removes what is kept no longer; intervals that are late are brought in first. */
  const removeOld = Effect.fnUntraced(function* (now: number) {
    const until = floorTo(now - keep.intervals, hour)
    const { added, names } = yield* rollUpAll({ from: 0, to: until })
    let removed = yield* removeKeys(names.map(keyOf))
    for (const unit of ["hour", "day"] as const) {
      const last = now - (unit === "hour" ? keep.hours : keep.days)
      const size = unit === "hour" ? hour : day
      if (last < size) continue
      removed += yield* removeKeys(yield* Stream.runCollect(between(folder(unit), "0", textOf(last - size, unit))))
    }
    return { added, removed }
  })

  const progress = CasCell.make(
    store,
    `${prefix}progress`,
    CasCell.schemaFormat(Progress, { what: "what was rolled up" })
  )

  const rollUp: Ledger<A>["rollUp"] = Effect.fnUntraced(function* (now) {
    const current = floorTo(now, hour)
    let isMine = false
    const claimed = yield* progress.modify((before) => {
      isMine = before === undefined || before.claimed < current
      return Effect.succeed(isMine ? { claimed: current, done: before?.done ?? 0 } : before)
    })
    if (!isMine) return Option.none()
    const from = Math.max(0, (claimed.value?.done ?? 0) - lateness)
    const rolled = yield* rollUpAll({ from, to: current })
    const old = yield* removeOld(now)
    yield* progress.modify((before) =>
      Effect.succeed({ claimed: Math.max(before?.claimed ?? 0, current), done: Math.max(before?.done ?? 0, current) })
    )
    return Option.some({ added: rolled.added + old.added, removed: old.removed })
  })

  return {
    append,
    read: (range, unit) => (unit === "interval" ? readIntervals(range) : readSums(range, unit)),
    rollUp
  }
}

// -----------------------------------------------------------------------------
// Ranges
// -----------------------------------------------------------------------------

/** A time that a key can have: from 1970 to the year 9999. */
const isTime = (millis: number): boolean => millis >= 0 && millis < 253_402_300_800_000

/**
 * Returns a range as it is asked for, or the name of what is wrong with it.
 *
 * @category getters
 * @since 0.1.0
 */
export const rangeOf = (
  from: DateTime.DateTime.Input | undefined,
  to: DateTime.DateTime.Input | undefined,
  otherwise: Range
): Range | "from" | "to" => {
  const millis = (input: DateTime.DateTime.Input | undefined, instead: number) =>
    input === undefined
      ? instead
      : Option.match(DateTime.make(input), { onNone: () => Number.NaN, onSome: DateTime.toEpochMillis })
  const range = {
    from: Math.max(from === undefined ? 0 : -1, millis(from, otherwise.from)),
    to: millis(to, otherwise.to)
  }
  if (!isTime(range.from)) return "from"
  return isTime(range.to) && range.to >= range.from ? range : "to"
}

/**
 * Returns the resolution that a duration means: whole hours from an hour on, whole days from a day on.
 *
 * @category getters
 * @since 0.1.0
 */
export const sizeFor = (millis: number): number =>
  millis >= day ? floorTo(millis, day) : millis >= hour ? floorTo(millis, hour) : Math.max(1, Math.floor(millis))

/**
 * Returns what points of a size are made of.
 *
 * @category getters
 * @since 0.1.0
 */
export const unitFor = (size: number): Unit => (size >= day ? "day" : size >= hour ? "hour" : "interval")

/**
 * Returns a range from where its first point begins.
 *
 * @category getters
 * @since 0.1.0
 */
export const aligned = ({ from, to }: Range, size: number): Range => ({ from: floorTo(from, size), to })

/**
 * Puts what is in the order of time together into points of one size.
 *
 * @category combinators
 * @since 0.1.0
 */
export const resampled = <A, E>(
  buckets: Stream.Stream<Bucket<A>, E>,
  size: number,
  merge: (all: ReadonlyArray<A>) => A
): Stream.Stream<Bucket<A>, E> =>
  Stream.map(
    Stream.groupAdjacentBy(buckets, ({ at }) => floorTo(at, size)),
    ([at, group]) => ({ at, value: merge(group.map(({ value }) => value)) })
  )

/**
 * Returns what a process that writes something in each interval asks of the store in 30 days, with what one of them rolls up.
 *
 * @category getters
 * @since 0.1.0
 */
export const usageOf = (interval: number) => {
  const intervals = (30 * day) / interval
  const hours = 30 * 24
  return { requests: { put: intervals + 4 * hours, get: intervals + 3 * hours, list: 4 * hours, deleteMany: hours } }
}
