/**
 * The centres of lists: k-means of a sample, and how many lists have to be looked at for a part of the nearest, measured on it.
 *
 * A vector goes to the list whose centre is the nearest; by `cosine` all of them have the length 1 before. So in each case it is that with the largest `x · c - |c|² / 2`.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Metrics from "../metrics.ts"
import { inStretches } from "../stretches.ts"

/** Vectors, one after the other. */
export interface Matrix {
  readonly data: Float32Array
  readonly count: number
  readonly dimensions: number
}

/** Centres, and half the square of each one's length. */
export interface Centres extends Matrix {
  readonly halves: Float64Array
}

export const centresOf = ({ count, data, dimensions }: Matrix): Centres => {
  const halves = new Float64Array(count)
  for (let c = 0; c < count; c++) {
    let sum = 0
    for (let i = c * dimensions; i < (c + 1) * dimensions; i++) sum += data[i]! ** 2
    halves[c] = sum / 2
  }
  return { count, data, dimensions, halves }
}

/** Writes a vector as lists go by it. */
export const prepare = (
  metric: Metrics.Metric,
  row: ArrayLike<number>,
  step: number,
  into: Float32Array,
  at: number
): void => {
  const { length } = row
  let by = step
  if (metric === "cosine") {
    let sum = 0
    for (let i = 0; i < length; i++) sum += row[i]! ** 2
    by = sum === 0 ? 0 : 1 / Math.sqrt(sum)
  }
  for (let i = 0; i < length; i++) into[at + i] = row[i]! * by
}

const dot = (a: Float32Array, atA: number, b: Float32Array, atB: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  const end = length - (length % 4)
  for (let i = 0; i < end; i += 4) {
    s0 += a[atA + i]! * b[atB + i]!
    s1 += a[atA + i + 1]! * b[atB + i + 1]!
    s2 += a[atA + i + 2]! * b[atB + i + 2]!
    s3 += a[atA + i + 3]! * b[atB + i + 3]!
  }
  for (let i = end; i < length; i++) s0 += a[atA + i]! * b[atB + i]!
  return s0 + s1 + (s2 + s3)
}

/** How many centres a vector is compared with at once: each of its numbers is read once for all of them. */
const atOnce = 4

/** The list of each of some vectors. */
export const assign = (
  { count, data, dimensions }: Matrix,
  centres: Centres,
  labels: Int32Array
): Effect.Effect<void> =>
  inStretches(count, centres.count * dimensions, (from, to) => {
    const { data: rows, halves } = centres
    const even = centres.count - (centres.count % atOnce)
    for (let i = from; i < to; i++) {
      const at = i * dimensions
      let best = -Infinity
      let label = 0
      for (let c = 0; c < even; c += atOnce) {
        const first = c * dimensions
        const second = first + dimensions
        const third = second + dimensions
        const fourth = third + dimensions
        let s0 = -halves[c]!
        let s1 = -halves[c + 1]!
        let s2 = -halves[c + 2]!
        let s3 = -halves[c + 3]!
        for (let d = 0; d < dimensions; d++) {
          const number = data[at + d]!
          s0 += number * rows[first + d]!
          s1 += number * rows[second + d]!
          s2 += number * rows[third + d]!
          s3 += number * rows[fourth + d]!
        }
        if (s0 > best) [best, label] = [s0, c]
        if (s1 > best) [best, label] = [s1, c + 1]
        if (s2 > best) [best, label] = [s2, c + 2]
        if (s3 > best) [best, label] = [s3, c + 3]
      }
      for (let c = even; c < centres.count; c++) {
        const near = dot(data, at, rows, c * dimensions, dimensions) - halves[c]!
        if (near > best) [best, label] = [near, c]
      }
      labels[i] = label
    }
  })

/** Where lists come in the order in which they are looked at for a vector: the nearest first; by `dot` those with the largest product. */
export const orderOf = (
  metric: Metrics.Metric,
  { count, data, dimensions, halves }: Centres,
  vector: Float32Array,
  at = 0
): Uint32Array => {
  const near = new Float64Array(count)
  for (let c = 0; c < count; c++) {
    near[c] = dot(vector, at, data, c * dimensions, dimensions) - (metric === "dot" ? 0 : halves[c]!)
  }
  return Uint32Array.from(near.keys()).sort((a, b) => near[b]! - near[a]! || a - b)
}

/** Centres that stand beside each other in the lists are near to each other, so that they are often read together. */
const chained = ({ count, data, dimensions }: Matrix): Float32Array => {
  const left = new Set(Array.from({ length: count }, (_, c) => c))
  const order = new Float32Array(data.length)
  let now = 0
  for (let i = 0; i < count; i++) {
    left.delete(now)
    order.set(data.subarray(now * dimensions, (now + 1) * dimensions), i * dimensions)
    let least = Infinity
    let next = now
    for (const c of left) {
      let sum = 0
      for (let d = 0; d < dimensions; d++) sum += (data[now * dimensions + d]! - data[c * dimensions + d]!) ** 2
      if (sum < least) {
        least = sum
        next = c
      }
    }
    now = next
  }
  return order
}

const iterations = 8

/** Finds the centres of so many lists, of a sample that was prepared. */
export const train = Effect.fnUntraced(function* (
  metric: Metrics.Metric,
  sample: Matrix,
  lists: number
): Effect.fn.Return<Centres> {
  const { count, data, dimensions } = sample
  const random = yield* Random.Random
  const drawn = Array.from({ length: count }, (_, i) => i)
  const k = Math.min(lists, count)
  let current = new Float32Array(k * dimensions)
  for (let c = 0; c < k; c++) {
    const at = c + Math.floor(random.nextDoubleUnsafe() * (count - c))
    ;[drawn[c], drawn[at]] = [drawn[at]!, drawn[c]!]
    current.set(data.subarray(drawn[c]! * dimensions, (drawn[c]! + 1) * dimensions), c * dimensions)
  }
  const labels = new Int32Array(count)
  for (let round = 0; round < iterations; round++) {
    yield* assign(sample, centresOf({ data: current, count: k, dimensions }), labels)
    const next = new Float32Array(k * dimensions)
    const sizes = new Int32Array(k)
    for (let i = 0; i < count; i++) {
      const c = labels[i]!
      sizes[c]! += 1
      for (let d = 0; d < dimensions; d++) next[c * dimensions + d]! += data[i * dimensions + d]!
    }
    for (let c = 0; c < k; c++) {
      const centre = next.subarray(c * dimensions, (c + 1) * dimensions)
      if (sizes[c] === 0) {
        // It takes over half of the largest, from a little beside it.
        const largest = sizes.indexOf(sizes.reduce((most, size) => Math.max(most, size), 0))
        const member = labels.indexOf(largest)
        centre.set(data.subarray(member * dimensions, (member + 1) * dimensions))
        labels[member] = c
        sizes[largest]! -= 1
        sizes[c] = 1
        continue
      }
      const by = metric === "cosine" ? Metrics.norm(centre, 0, dimensions) : sizes[c]!
      if (by > 0) for (let d = 0; d < dimensions; d++) centre[d]! /= by
    }
    current = next
    yield* Effect.yieldNow
  }
  return centresOf({ data: chained({ data: current, count: k, dimensions }), count: k, dimensions })
})

const recalls = [0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995] as const
const mostQueries = 400
const mostWork = 8_000_000_000
const nearest = 10
/** What is measured on a sample is by chance: so much of what may be missing is not taken. */
const reserve = 0.25

/**
 * Puts some of a sample to its end, for `calibrate`: centres that were found with them would be nearer to them than to what is looked for
 * later. Gives how many.
 */
export const holdOut = ({ count, data, dimensions }: Matrix): number => {
  const queries = Math.min(mostQueries, Math.ceil(mostWork / (count * dimensions)), Math.floor(count / 10))
  const row = new Float32Array(dimensions)
  for (let q = 0; q < queries; q++) {
    const from = Math.floor((q * (count - queries)) / queries) * dimensions
    const to = (count - queries + q) * dimensions
    row.set(data.subarray(from, from + dimensions))
    data.copyWithin(from, to, to + dimensions)
    data.set(row, to)
  }
  return queries
}

/** How many lists have to be looked at for a part of the 10 nearest: of the last vectors of the sample, among all. */
export const calibrate = Effect.fnUntraced(function* (
  metric: Metrics.Metric,
  sample: Matrix,
  centres: Centres,
  queries: number
): Effect.fn.Return<ReadonlyArray<{ readonly recall: number; readonly lists: number }>> {
  const { count, data, dimensions } = sample
  const labels = new Int32Array(count)
  yield* assign(sample, centres, labels)
  /** How many of the nearest were in the list that came so far behind. */
  const found = new Float64Array(centres.count)
  let all = 0
  yield* inStretches(queries, count * dimensions, (from, to) => {
    for (let q = from; q < to; q++) {
      const query = count - queries + q
      const rank = new Int32Array(centres.count)
      orderOf(metric, centres, data, query * dimensions).forEach((list, i) => (rank[list] = i))
      const least = new Float64Array(nearest).fill(Infinity)
      const which = new Int32Array(nearest).fill(-1)
      const by = metric === "cosine" ? "dot" : metric
      for (let i = 0; i < count; i++) {
        if (i === query) continue
        const distance = Metrics.between(by, data, query * dimensions, data, i * dimensions, dimensions)
        let place = nearest
        while (place > 0 && distance < least[place - 1]!) place -= 1
        if (place === nearest) continue
        least.copyWithin(place + 1, place)
        which.copyWithin(place + 1, place)
        least[place] = distance
        which[place] = i
      }
      for (const i of which) {
        if (i < 0) continue
        found[rank[labels[i]!]!]! += 1
        all += 1
      }
    }
  })
  const probes: Array<{ readonly recall: number; readonly lists: number }> = []
  let sum = 0
  // Where nothing was measured all are looked at.
  let lists = all === 0 ? centres.count : 0
  for (const recall of recalls) {
    const wanted = (recall + (1 - recall) * reserve) * all
    while (lists < centres.count && sum < wanted) sum += found[lists++]!
    probes.push({ recall, lists: Math.min(centres.count, Math.ceil(lists * 1.1)) })
  }
  return probes
})
