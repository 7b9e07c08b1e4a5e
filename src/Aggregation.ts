/**
 * Counts, sums, extremes and averages over a stream of JSON documents, for all of them or by group.
 *
 * ```ts
 * import * as Aggregation from "effect-s3db/Aggregation"
 *
 * const spec = Aggregation.fromJson({
 *   groupBy: ["country"],
 *   values: { total: { sum: "amount" }, latest: { max: "createdAt" }, n: { count: true } }
 * })
 * ```
 *
 * **Details**
 *
 * - `sum` and `avg` take numbers. They are added exactly, and rounded once: a sum is the number nearest to the true one, an
 *   average the number nearest to the true sum divided by the count, in whatever order documents come. `-0` counts as `0`.
 * - Where `orderOf` says `"decimal"`, `sum` and `avg` take decimal texts, and give one: the sum is exact, the average has
 *   up to 20 digits more behind the point than the sum, rounded half to even. Texts of more than 2,000 characters, and
 *   exponents beyond 1,000, are skipped.
 * - `min` and `max` take numbers and texts, texts by code points; where a field has both, the numbers. Decimals by what
 *   `orderOf` says.
 * - Everything else that is at a path is skipped and counted: missing, `null`, of another kind, an array.
 * - A sum of nothing is 0; `min`, `max` and `avg` of nothing are `null`, and so is what exceeds the range of numbers.
 * - Groups are in the order of their keys. A field that is missing and one that is `null` are the same key, `null`, which
 *   comes last. Without `groupBy` there is exactly one group, also when there are no documents.
 *
 * @since 0.1.0
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "./encoding/Json.ts"
import { isRecord } from "./internal/json.ts"
import * as rationals from "./internal/rationals.ts"
import * as Query from "./Query.ts"
import { ExpectedError } from "./internal/expectedError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * One value to work out.
 *
 * @category models
 * @since 0.1.0
 */
export type Measure =
  | { readonly _tag: "Count" }
  | { readonly _tag: "Sum" | "Min" | "Max" | "Avg"; readonly path: ReadonlyArray<string> }

/**
 * The values to work out, and the groups to work them out for. Plain data.
 *
 * @category models
 * @since 0.1.0
 */
export interface Spec {
  readonly groupBy: ReadonlyArray<ReadonlyArray<string>>
  readonly values: Readonly<Record<string, Measure>>
}

/**
 * The notation of one value.
 *
 * @category models
 * @since 0.1.0
 */
export type MeasureNotation<A> =
  | { readonly count: true }
  | { readonly sum: Query.FieldPath<A> }
  | { readonly min: Query.FieldPath<A> }
  | { readonly max: Query.FieldPath<A> }
  | { readonly avg: Query.FieldPath<A> }

/**
 * The notation of an aggregation over documents of type `A`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notation<A> {
  readonly groupBy?: ReadonlyArray<Query.FieldPath<A>> | undefined
  readonly values: Readonly<Record<string, MeasureNotation<A>>>
}

/**
 * The values of one group.
 *
 * @category models
 * @since 0.1.0
 */
export interface Group {
  /** What its documents have in common, in the order of `groupBy`. */
  readonly key: ReadonlyArray<Json>
  readonly values: Readonly<Record<string, number | string | null>>
  /** For each value with a path: how many documents had nothing there that it could take. */
  readonly skipped: Readonly<Record<string, number>>
}

/**
 * Documents by their columns: what some rows have in each field of the first level that is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Columns {
  /** The rows that are documents, by their places. */
  readonly rows: ReadonlyArray<number>
  /** Of each field the value of each row; `undefined` where it has none. A field that is not here is one that no row has. */
  readonly values: ReadonlyMap<string, ReadonlyArray<Json | undefined>>
}

/**
 * Some documents, row by row or by their columns.
 *
 * @category models
 * @since 0.1.0
 */
export type Batch = ReadonlyArray<JsonObject> | Columns

/**
 * The options of an aggregation. `orderOf`: see `Query`. `maxGroups` default: 100,000.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Query.Options {
  readonly maxGroups?: number | undefined
}

/**
 * More groups than may be held in memory.
 *
 * @remedy Group by something with fewer values, or raise `maxGroups`.
 * @category errors
 * @since 0.1.0
 */
export class TooManyGroups extends ExpectedError<TooManyGroups>("effect-s3db/Aggregation/TooManyGroups")(
  "TooManyGroups",
  { limit: Schema.Int },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `the documents fall into more than ${this.limit} groups`
  }
}

// -----------------------------------------------------------------------------
// Specifications
// -----------------------------------------------------------------------------

const measures = ["count", "sum", "min", "max", "avg"] as const

type MeasureName = (typeof measures)[number]

const tags = { sum: "Sum", min: "Min", max: "Max", avg: "Avg" } as const

const measureNames = measures.join(", ")

const maxValues = 100
const maxGroupFields = 32

/**
 * Reads the aggregation that a program wrote down. Fails as `fromJson` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(notation: Notation<A>): Result.Result<Spec, Query.Problem> => fromJson(notation)

/**
 * Reads the aggregation that untrusted JSON asks for: `{ groupBy: ["country"], values: { total: { sum: "amount" } } }`.
 *
 * Fails with the first problem: an unknown key or measure, something that is no path, no values, more than 100 values or
 * 32 fields to group by. Which fields may be asked for is for the caller to check, with `paths`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromJson = (input: unknown): Result.Result<Spec, Query.Problem> => {
  if (!isRecord(input)) return failure([], "Expected an object with values, and groupBy if it is by group")
  const { groupBy = [], values, ...others } = input
  const [other] = Object.keys(others)
  if (other !== undefined) return failure([other], "Expected nothing but values and groupBy")
  return Result.flatMap(parseGroupBy(groupBy), (groupBy) =>
    Result.map(parseValues(values), (values) => ({ groupBy, values }))
  )
}

/**
 * Lists the paths that an aggregation reads, each once.
 *
 * @category getters
 * @since 0.1.0
 */
export const paths = (spec: Spec): ReadonlyArray<ReadonlyArray<string>> => {
  const read = Object.values(spec.values).flatMap((measure) => (measure._tag === "Count" ? [] : [measure.path]))
  return [...new Map([...spec.groupBy, ...read].map((path) => [JSON.stringify(path), path])).values()]
}

const failure = (path: ReadonlyArray<string | number>, message: string): Result.Result<never, Query.Problem> =>
  Result.fail({ path, message })

const parsePath = (value: unknown): ReadonlyArray<string> | undefined => {
  if (typeof value !== "string") return undefined
  const path = Query.segments(value)
  return path.some((name) => name === "" || name === "__proto__") ? undefined : path
}

const parseGroupBy = (input: unknown): Result.Result<Spec["groupBy"], Query.Problem> => {
  if (!Array.isArray(input)) return failure(["groupBy"], "Expected a list of the names of fields")
  if (input.length > maxGroupFields) return failure(["groupBy"], `Expected at most ${maxGroupFields} fields`)
  const found: Array<ReadonlyArray<string>> = []
  for (let i = 0; i < input.length; i++) {
    const path = parsePath(input[i])
    if (path === undefined) return failure(["groupBy", i], "Expected the name of a field")
    found.push(path)
  }
  return Result.succeed(found)
}

const parseValues = (input: unknown): Result.Result<Spec["values"], Query.Problem> => {
  if (!isRecord(input)) return failure(["values"], 'Expected an object such as { "total": { "sum": "amount" } }')
  const names = Object.keys(input)
  if (names.length === 0) return failure(["values"], "Expected at least one value")
  if (names.length > maxValues) return failure(["values"], `Expected at most ${maxValues} values`)
  const found: Record<string, Measure> = {}
  for (const name of names) {
    const at = ["values", name]
    if (name === "__proto__") return failure(at, "Expected a name other than __proto__")
    const measure = input[name]
    const entries = isRecord(measure) ? Object.entries(measure) : []
    const [entry] = entries
    if (entry === undefined || entries.length > 1) return failure(at, `Expected one of ${measureNames}, and its field`)
    const [kind, argument] = entry
    if (!isMeasureName(kind)) return failure([...at, kind], `Expected one of ${measureNames}`)
    if (kind === "count") {
      if (argument !== true) return failure([...at, kind], "Expected true")
      found[name] = { _tag: "Count" }
    } else {
      const path = parsePath(argument)
      if (path === undefined) return failure([...at, kind], "Expected the name of a field")
      found[name] = { _tag: tags[kind], path }
    }
  }
  return Result.succeed(found)
}

const isMeasureName = (name: string): name is MeasureName => measures.some((known) => known === name)

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/**
 * Works out the values of each group of a stream of documents. The documents are not kept: memory is by the number of
 * groups.
 *
 * Fails with `TooManyGroups` when there are more than `maxGroups`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const run = <E, R>(
  stream: Stream.Stream<JsonObject, E, R>,
  spec: Spec,
  options: Options = {}
): Effect.Effect<ReadonlyArray<Group>, E | TooManyGroups, R> => Stream.run(stream, sink(spec, options))

/**
 * Works out the same of documents that come in batches, row by row or by their columns, which are gone through one after the other, without
 * an object for each document.
 *
 * Fails with `TooManyGroups` as `run`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const runBatches = <E, R>(
  batches: Stream.Stream<Batch, E, R>,
  spec: Spec,
  options: Options = {}
): Effect.Effect<ReadonlyArray<Group>, E | TooManyGroups, R> =>
  Effect.suspend(() => {
    const limit = options.maxGroups ?? defaultMaxGroups
    const fold = makeFold(spec, options, limit)
    return Stream.runForEach(batches, (batch) =>
      ("rows" in batch ? fold.addColumns(batch) : batch.every(fold.add)) ? Effect.void : tooMany(limit)
    ).pipe(Effect.map(fold.result))
  })

/**
 * Returns what `run` does as a sink.
 *
 * @category conversions
 * @since 0.1.0
 */
export const sink = (
  spec: Spec,
  options: Options = {}
): Sink.Sink<ReadonlyArray<Group>, JsonObject, never, TooManyGroups> => {
  const limit = options.maxGroups ?? defaultMaxGroups
  return Sink.foldArray<Fold, JsonObject, TooManyGroups>(
    () => makeFold(spec, options, limit),
    () => true,
    (fold, documents) => (documents.every(fold.add) ? Effect.succeed(fold) : tooMany(limit))
  ).pipe(Sink.map((fold) => fold.result()))
}

const defaultMaxGroups = 100_000

const tooMany = (limit: number) => Effect.fail(new TooManyGroups({ limit: Math.floor(limit) }))

interface Fold {
  /** `false`: it would be a group too many. */
  readonly add: (document: JsonObject) => boolean
  /** The same for each row. */
  readonly addColumns: (columns: Columns) => boolean
  readonly result: () => ReadonlyArray<Group>
}

interface OpenGroup {
  readonly key: ReadonlyArray<Json>
  readonly accumulators: ReadonlyArray<Accumulator>
}

const makeFold = (spec: Spec, options: Options, limit: number): Fold => {
  const columns = Object.entries(spec.values).map(([name, measure]) => {
    const path = measure._tag === "Count" ? undefined : measure.path
    return { name, path, open: accumulatorOf(measure, path === undefined ? undefined : options.orderOf?.(path)) }
  })
  const keyKinds = spec.groupBy.map((path) => options.orderOf?.(path))
  const groups = new Map<string, OpenGroup>()
  const open = (id: string, key: ReadonlyArray<Json>): OpenGroup => {
    const group = { key, accumulators: columns.map((column) => column.open()) }
    groups.set(id, group)
    return group
  }
  if (spec.groupBy.length === 0) open("", [])

  /** `undefined`: it would be one too many. */
  const groupOf = (values: ReadonlyArray<Json | undefined>): OpenGroup | undefined => {
    const key = values.map((value, i) => keyValue(value, keyKinds[i]))
    const id = key.map(Query.canonicalValue).join(",")
    const group = groups.get(id)
    if (group !== undefined) return group
    return groups.size + 1 > limit ? undefined : open(id, key)
  }

  /** The groups of rows. Of a single field it is looked up once for each value, unless that is an object. */
  const groupsOf = ({ rows, values }: Columns): ReadonlyArray<OpenGroup> | undefined => {
    const [first, ...others] = spec.groupBy.map((path) => readerOf(values, path))
    const found: Array<OpenGroup> = []
    const known = new Map<Json | undefined, OpenGroup>()
    for (const row of rows) {
      const value = first?.(row)
      const group =
        others.length > 0 || first === undefined
          ? groupOf(first === undefined ? [] : [value, ...others.map((read) => read(row))])
          : (known.get(value) ?? groupOf([value]))
      if (group === undefined) return undefined
      if (others.length === 0 && (typeof value !== "object" || value === null)) known.set(value, group)
      found.push(group)
    }
    return found
  }

  return {
    add: (document) => {
      const group = groupOf(spec.groupBy.map((path) => Query.valueAt(document, path)))
      if (group === undefined) return false
      for (let i = 0; i < columns.length; i++) {
        const { path } = columns[i]!
        group.accumulators[i]!.add(path === undefined ? undefined : Query.valueAt(document, path))
      }
      return true
    },
    addColumns: (all) => {
      const found = groupsOf(all)
      if (found === undefined) return false
      for (const [i, { path }] of columns.entries()) {
        const read = path === undefined ? nothing : readerOf(all.values, path)
        for (let k = 0; k < found.length; k++) found[k]!.accumulators[i]!.add(read(all.rows[k]!))
      }
      return true
    },
    result: () =>
      Array.from(groups.values())
        .toSorted((a, b) => compareKeys(a.key, b.key, keyKinds))
        .map(({ key, accumulators }) => ({
          key,
          values: Object.fromEntries(columns.map(({ name }, i) => [name, accumulators[i]!.value()])),
          skipped: Object.fromEntries(
            columns.flatMap(({ name }, i) => {
              const skipped = accumulators[i]!.skipped()
              return skipped === undefined ? [] : [[name, skipped]]
            })
          )
        }))
  }
}

const nothing = (): undefined => undefined

/** Reads what a row has at a path. */
const readerOf = (values: Columns["values"], [first = "", ...rest]: ReadonlyArray<string>) => {
  const column = values.get(first)
  if (column === undefined) return nothing
  if (rest.length === 0) return (row: number): Json | undefined => column[row]
  return (row: number): Json | undefined => {
    const value = column[row]
    return value === undefined ? undefined : Query.valueAt({ value }, ["value", ...rest])
  }
}

/** Decimals of the same number are one key, and so are `-0` and `0`. */
const keyValue = (value: Json | undefined, kind: Query.Kind | undefined): Json => {
  if (value === undefined) return null
  if (value === 0) return 0
  const decimal = kind === "decimal" ? decimalOf(value) : undefined
  return decimal === undefined ? value : BigDecimal.format(decimal)
}

const compareKeys = (
  a: ReadonlyArray<Json>,
  b: ReadonlyArray<Json>,
  kinds: ReadonlyArray<Query.Kind | undefined>
): number => {
  for (let i = 0; i < kinds.length; i++) {
    const order = Query.compareValues(a[i]!, b[i]!, kinds[i])
    if (order !== 0) return order
  }
  return 0
}

// -----------------------------------------------------------------------------
// Accumulators
// -----------------------------------------------------------------------------

interface Accumulator {
  /** What a document has at the path. */
  readonly add: (value: Json | undefined) => void
  readonly value: () => number | string | null
  /** `undefined`: it takes every document. */
  readonly skipped: () => number | undefined
}

const accumulatorOf = (measure: Measure, kind: Query.Kind | undefined): (() => Accumulator) => {
  switch (measure._tag) {
    case "Count":
      return counting
    case "Min":
      return () => extreme(kind, -1)
    case "Max":
      return () => extreme(kind, 1)
    case "Sum":
    case "Avg": {
      const isAverage = measure._tag === "Avg"
      return kind === "decimal"
        ? () => summing(decimalOf, decimalSum(), isAverage)
        : () => summing(numberOf, numberSum(), isAverage)
    }
  }
}

const counting = (): Accumulator => {
  let count = 0
  return { add: () => void (count += 1), value: () => count, skipped: () => undefined }
}

/** Numbers and texts are followed apart, so that the result does not depend on which one comes first. */
const extreme = (kind: Query.Kind | undefined, sign: 1 | -1): Accumulator => {
  let number: number | string | undefined
  let numbers = 0
  let text: string | undefined
  let texts = 0
  let others = 0
  return {
    add: (value) => {
      if (isNumeric(value, kind)) {
        numbers += 1
        if (number === undefined || Query.compareValues(value, number, kind) * sign > 0) number = value
      } else if (typeof value === "string" && kind !== "number" && kind !== "decimal") {
        texts += 1
        if (text === undefined || Query.compareValues(value, text, kind) * sign > 0) text = value
      } else others += 1
    },
    value: () => number ?? text ?? null,
    skipped: () => others + (numbers > 0 ? texts : 0)
  }
}

const isNumeric = (value: Json | undefined, kind: Query.Kind | undefined): value is number | string =>
  kind === "decimal"
    ? value !== undefined && decimalOf(value) !== undefined
    : kind !== "text" && numberOf(value) !== undefined

const numberOf = (value: Json | undefined): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined

const maxTextLength = 2000
const maxExponent = 1000

/** A sum needs the digits written out: a short text such as `1e999999` must not become a long number. */
const decimalOf = (value: Json | undefined): BigDecimal.BigDecimal | undefined => {
  if (typeof value !== "string" && typeof value !== "number") return undefined
  const text = String(value)
  if (text === "" || text.length > maxTextLength) return undefined
  const exponent = Number(/[eE](.*)$/.exec(text)?.[1] ?? "0")
  if (!(Math.abs(exponent) <= maxExponent)) return undefined
  return Option.getOrUndefined(BigDecimal.fromString(text))
}

interface Sum<A> {
  readonly add: (value: A) => void
  readonly total: () => number | string | null
  readonly average: (count: number) => number | string | null
}

const summing = <A>(read: (value: Json | undefined) => A | undefined, sum: Sum<A>, isAverage: boolean): Accumulator => {
  let count = 0
  let skipped = 0
  return {
    add: (given) => {
      const value = read(given)
      if (value === undefined) skipped += 1
      else {
        count += 1
        sum.add(value)
      }
    },
    value: () => (isAverage ? (count === 0 ? null : sum.average(count)) : sum.total()),
    skipped: () => skipped
  }
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value + 0 : null)

/**
 * An exact sum. Integers are added as such while they are safe; others by the expansions of J. R. Shewchuk ("Adaptive
 * Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", Discrete & Computational Geometry 18, 1997):
 * a few numbers that do not overlap, whose sum is the true one, as in Python's `math.fsum`. Numbers so large that their sum
 * could leave the range go to a big integer.
 */
const numberSum = (): Sum<number> => {
  let small = 0
  const expansion: Array<number> = []
  let large = 0n
  const addToExpansion = (value: number): void => {
    let high = value
    let kept = 0
    for (const part of expansion) {
      const [a, b] = Math.abs(high) < Math.abs(part) ? [part, high] : [high, part]
      high = a + b
      const low = b - (high - a)
      if (low !== 0) expansion[kept++] = low
    }
    expansion[kept++] = high
    expansion.length = kept
  }
  /** In units of the least number. */
  const total = (): bigint =>
    expansion.reduce((sum, part) => sum + rationals.inUnits(part), large + rationals.inUnits(small))
  return {
    add: (value) => {
      const next = small + value
      if (Number.isSafeInteger(value) && Number.isSafeInteger(next)) small = next
      else if (Math.abs(value) < mostInExpansion) addToExpansion(value)
      else large += rationals.inUnits(value)
    },
    total: () => finite(rationals.nearest(total(), rationals.unitsInOne)),
    average: (count) => finite(rationals.nearest(total(), rationals.unitsInOne * BigInt(count)))
  }
}

/** 2^50 of them do not leave the range. */
const mostInExpansion = 2 ** 970

const averageDigits = 20

const decimalSum = (): Sum<BigDecimal.BigDecimal> => {
  let total = BigDecimal.make(0n, 0)
  return {
    add: (value) => {
      total = BigDecimal.sum(total, value)
    },
    total: () => BigDecimal.format(total),
    average: (count) => {
      const scale = Math.max(total.scale, 0) + averageDigits
      const numerator = total.value * 10n ** BigInt(scale - total.scale)
      return BigDecimal.format(BigDecimal.make(divideHalfEven(numerator, BigInt(count)), scale))
    }
  }
}

const divideHalfEven = (numerator: bigint, divisor: bigint): bigint => {
  const quotient = numerator / divisor
  const rest = numerator - quotient * divisor
  const twice = (rest < 0n ? -rest : rest) * 2n
  const isUp = twice > divisor || (twice === divisor && quotient % 2n !== 0n)
  return isUp ? quotient + (numerator < 0n ? -1n : 1n) : quotient
}
