/**
 * Groups of vectors that lie together.
 *
 * **Details**
 *
 * Lloyd's iterations from centres that are drawn by k-means++ (D. Arthur, S. Vassilvitskii, "k-means++: The advantages of careful seeding", 2007). What
 * a centre is goes by the metric, so that no iteration makes it worse: the mean; the mean direction for `cosine` (I. S. Dhillon, D. S. Modha, "Concept
 * decompositions for large sparse text data using clustering", 2001); the median of each component for `manhattan`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { between, type Metric, norm } from "./metrics.ts"
import { inStretches } from "./stretches.ts"

/**
 * Vectors of one length, one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export interface Points {
  readonly data: Float32Array
  readonly size: number
  readonly dimensions: number
}

/**
 * What a set of vectors can be grouped by: distances.
 *
 * @category models
 * @since 0.1.0
 */
export type Distance = Exclude<Metric, "dot">

/**
 * A grouping.
 *
 * @category models
 * @since 0.1.0
 */
export interface Clustering {
  readonly centroids: Float64Array
  /** The group of each vector. */
  readonly labels: Int32Array
  /** How far each vector is from its centre. */
  readonly distances: Float64Array
  readonly sizes: ReadonlyArray<number>
  /** The sum of what the iterations make least: of the squared distances for `euclidean`, of the distances for the others. */
  readonly inertia: number
  readonly iterations: number
  /** Whether the centres had come to rest. */
  readonly converged: boolean
}

/**
 * How it goes on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly k: number
  readonly metric: Distance
  readonly maxIterations: number
  /** How far centres may still move when it ends, in proportion to the spread of the vectors. */
  readonly tolerance: number
  /** How often it begins anew; the best one is given. */
  readonly runs: number
}

/** The number that the iterations make less. */
const costOf = (metric: Distance, distance: number): number => (metric === "euclidean" ? distance * distance : distance)

/** Assigns each vector to the nearest centre, of those that are as near to the first. */
const assign = (
  { data, dimensions, size }: Points,
  centroids: Float64Array,
  metric: Distance,
  labels: Int32Array,
  distances: Float64Array
): Effect.Effect<void> => {
  const k = centroids.length / dimensions
  return inStretches(size, k * dimensions, (from, to) => {
    for (let i = from; i < to; i++) {
      let nearest = 0
      let least = Infinity
      for (let c = 0; c < k; c++) {
        const distance = between(metric, data, i * dimensions, centroids, c * dimensions, dimensions)
        if (distance < least) {
          least = distance
          nearest = c
        }
      }
      labels[i] = nearest
      distances[i] = least
    }
  })
}

const draw = Effect.fnUntraced(function* (
  { data, dimensions, size }: Points,
  { k, metric }: Options
): Effect.fn.Return<Float64Array> {
  const random = yield* Random.Random
  const centroids = new Float64Array(k * dimensions)
  const costs = new Float64Array(size).fill(Infinity)
  let next = Math.min(size - 1, Math.floor(random.nextDoubleUnsafe() * size))
  for (let c = 0; c < k; c++) {
    const at = next * dimensions
    centroids.set(data.subarray(at, at + dimensions), c * dimensions)
    let total = 0
    yield* inStretches(size, dimensions, (from, to) => {
      for (let i = from; i < to; i++) {
        const distance = between(metric, data, i * dimensions, centroids, c * dimensions, dimensions)
        const cost = costOf(metric, distance)
        if (cost < costs[i]!) costs[i] = cost
        total += costs[i]!
      }
    })
    // Where all that is left lies on a centre, any is as good as another.
    let left = random.nextDoubleUnsafe() * total
    next = size - 1
    for (let i = 0; i < size; i++) {
      left -= costs[i]!
      if (left < 0) {
        next = i
        break
      }
    }
  }
  return centroids
})

const median = (sorted: Float64Array): number => {
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The centres of groups as they are; one without a vector goes to that which lies farthest from its own. */
const centresOf = Effect.fnUntraced(function* (
  { data, dimensions, size }: Points,
  { k, metric }: Options,
  labels: Int32Array,
  distances: Float64Array
): Effect.fn.Return<Float64Array> {
  const centroids = new Float64Array(k * dimensions)
  const sizes = new Int32Array(k)
  for (let i = 0; i < size; i++) sizes[labels[i]!]! += 1
  for (let c = 0; c < k; c++) {
    if (sizes[c] !== 0) continue
    let farthest = 0
    for (let i = 1; i < size; i++) {
      if (sizes[labels[i]!]! > 1 && (distances[i]! > distances[farthest]! || sizes[labels[farthest]!]! < 2))
        farthest = i
    }
    sizes[labels[farthest]!]! -= 1
    labels[farthest] = c
    distances[farthest] = 0
    sizes[c] = 1
  }
  if (metric === "manhattan") {
    const members: Array<Array<number>> = Array.from({ length: k }, () => [])
    for (let i = 0; i < size; i++) members[labels[i]!]!.push(i)
    yield* inStretches(dimensions, size * 10, (from, to) => {
      for (let d = from; d < to; d++) {
        for (let c = 0; c < k; c++) {
          const values = Float64Array.from(members[c]!, (i) => data[i * dimensions + d]!)
          centroids[c * dimensions + d] = median(values.sort())
        }
      }
    })
    return centroids
  }
  yield* inStretches(size, dimensions, (from, to) => {
    for (let i = from; i < to; i++) {
      const at = i * dimensions
      const centre = labels[i]! * dimensions
      // Of directions each counts alike.
      const length = metric === "cosine" ? norm(data, at, dimensions) : 1
      if (length === 0) continue
      for (let d = 0; d < dimensions; d++) centroids[centre + d]! += data[at + d]! / length
    }
  })
  for (let c = 0; c < k; c++) {
    const by = metric === "cosine" ? norm(centroids, c * dimensions, dimensions) : sizes[c]!
    if (by === 0) continue
    for (let d = 0; d < dimensions; d++) centroids[c * dimensions + d]! /= by
  }
  return centroids
})

const sum = (values: Float64Array, of: (value: number) => number): number => {
  let total = 0
  for (const value of values) total += of(value)
  return total
}

const once = Effect.fnUntraced(function* (points: Points, options: Options): Effect.fn.Return<Clustering> {
  const { dimensions, size } = points
  const { k, maxIterations, metric, tolerance } = options
  const labels = new Int32Array(size)
  const distances = new Float64Array(size)
  let centroids = yield* draw(points, options)
  let iterations = 0
  let converged = false
  yield* assign(points, centroids, metric, labels, distances)
  while (!converged && iterations < maxIterations) {
    iterations += 1
    const spread = sum(distances, (distance) => distance) / size
    const next = yield* centresOf(points, options, labels, distances)
    let moved = 0
    for (let c = 0; c < k; c++) {
      moved = Math.max(moved, between(metric, centroids, c * dimensions, next, c * dimensions, dimensions))
    }
    centroids = next
    yield* assign(points, centroids, metric, labels, distances)
    converged = moved <= tolerance * spread
  }
  const sizes = Array.from({ length: k }, () => 0)
  for (const label of labels) sizes[label]! += 1
  const inertia = sum(distances, (distance) => costOf(metric, distance))
  return { centroids, labels, distances, sizes, inertia, iterations, converged }
})

/**
 * Groups vectors, of which there have to be `k` at least. It lets others go on every few milliseconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (points: Points, options: Options): Effect.fn.Return<Clustering> {
  let best = yield* once(points, options)
  for (let run = 1; run < options.runs; run++) {
    const next = yield* once(points, options)
    if (next.inertia < best.inertia) best = next
  }
  return best
})

// -----------------------------------------------------------------------------
// How good a grouping is
// -----------------------------------------------------------------------------

/**
 * Returns how much nearer vectors are to their own group than to the next one, from -1 to 1, the mean over all (P. J. Rousseeuw, "Silhouettes", 1987). One alone in its
 * group counts 0. The time grows with the square of the number of vectors.
 *
 * @category getters
 * @since 0.1.0
 */
export const silhouette = Effect.fnUntraced(function* (
  { data, dimensions, size }: Points,
  { labels, sizes }: Pick<Clustering, "labels" | "sizes">,
  metric: Distance
): Effect.fn.Return<number> {
  let total = 0
  yield* inStretches(size, size * dimensions, (from, to) => {
    for (let i = from; i < to; i++) {
      const own = labels[i]!
      if (sizes[own]! < 2) continue
      const sums = new Float64Array(sizes.length)
      for (let j = 0; j < size; j++) {
        sums[labels[j]!]! += between(metric, data, i * dimensions, data, j * dimensions, dimensions)
      }
      const within = sums[own]! / (sizes[own]! - 1)
      let nearest = Infinity
      for (let c = 0; c < sizes.length; c++) {
        if (c !== own && sizes[c]! > 0) nearest = Math.min(nearest, sums[c]! / sizes[c]!)
      }
      const larger = Math.max(within, nearest)
      if (Number.isFinite(nearest) && larger > 0) total += (nearest - within) / larger
    }
  })
  return total / size
})

/**
 * Returns how wide groups are by how far they are from each other, the mean of the worst pair of each; 0 at best (D. L. Davies, D. W. Bouldin, 1979).
 *
 * @category getters
 * @since 0.1.0
 */
export const daviesBouldin = (
  { dimensions }: Points,
  { centroids, distances, labels, sizes }: Clustering,
  metric: Distance
): number => {
  const k = sizes.length
  const widths = new Float64Array(k)
  for (let i = 0; i < labels.length; i++) widths[labels[i]!]! += distances[i]!
  let total = 0
  for (let a = 0; a < k; a++) {
    let worst = 0
    for (let b = 0; b < k; b++) {
      if (a === b) continue
      const apart = between(metric, centroids, a * dimensions, centroids, b * dimensions, dimensions)
      const both = widths[a]! / Math.max(1, sizes[a]!) + widths[b]! / Math.max(1, sizes[b]!)
      // Two groups in one place are as bad as can be.
      worst = Math.max(worst, apart === 0 ? (both === 0 ? 0 : Infinity) : both / apart)
    }
    total += worst
  }
  return total / k
}

/**
 * Returns the variance between groups by that within them; the more the better, 0 where there is one group, or each vector is one (T. Caliński, J. Harabasz, 1974). By squared
 * distances.
 *
 * @category getters
 * @since 0.1.0
 */
export const calinskiHarabasz = Effect.fnUntraced(function* (
  points: Points,
  { centroids, distances, sizes }: Clustering,
  metric: Distance
): Effect.fn.Return<number> {
  const { dimensions, size } = points
  const k = sizes.length
  if (k < 2 || k >= size) return 0
  const whole = { k: 1, metric, maxIterations: 1, tolerance: 0, runs: 1 }
  const centre = yield* centresOf(points, whole, new Int32Array(size), new Float64Array(size))
  let apart = 0
  for (let c = 0; c < k; c++) {
    apart += sizes[c]! * between(metric, centroids, c * dimensions, centre, 0, dimensions) ** 2
  }
  const within = sum(distances, (distance) => distance * distance)
  if (within === 0) return apart === 0 ? 0 : Infinity
  return apart / (k - 1) / (within / (size - k))
})

const pairs = (count: number): number => (count * (count - 1)) / 2

/**
 * Returns how far two groupings of the same vectors agree, 1 where they are the same, about 0 by chance (L. Hubert, P. Arabie, "Comparing partitions", 1985).
 *
 * @category getters
 * @since 0.1.0
 */
export const adjustedRand = (a: Int32Array, b: Int32Array): number => {
  const both = new Map<string, number>()
  const [ofA, ofB] = [new Map<number, number>(), new Map<number, number>()]
  for (let i = 0; i < a.length; i++) {
    const key = `${a[i]} ${b[i]}`
    both.set(key, (both.get(key) ?? 0) + 1)
    ofA.set(a[i]!, (ofA.get(a[i]!) ?? 0) + 1)
    ofB.set(b[i]!, (ofB.get(b[i]!) ?? 0) + 1)
  }
  const total = (counts: Map<unknown, number>) => Array.from(counts.values(), pairs).reduce((x, y) => x + y, 0)
  const [together, inA, inB, all] = [total(both), total(ofA), total(ofB), pairs(a.length)]
  const expected = all === 0 ? 0 : (inA * inB) / all
  const most = (inA + inB) / 2
  return most === expected ? 1 : (together - expected) / (most - expected)
}

/**
 * What is known of a number of groups.
 *
 * @category models
 * @since 0.1.0
 */
export interface Measures {
  readonly k: number
  readonly inertia: number
  readonly silhouette: number
  readonly daviesBouldin: number
  readonly calinskiHarabasz: number
  /** How much less it is within groups than with vectors that lie anywhere, in logarithms, and how sure that is. */
  readonly gap: number
  readonly gapError: number
  /** How far groupings agree that begin elsewhere, 1 at most. */
  readonly stability: number
}

/**
 * How numbers of groups are compared.
 *
 * @category models
 * @since 0.1.0
 */
export interface CompareOptions {
  readonly from: number
  readonly to: number
  readonly metric: Distance
  readonly maxIterations: number
  readonly tolerance: number
  readonly runs: number
  /** How many sets of vectors that lie anywhere `gap` goes by. */
  readonly references: number
}

/** Vectors that lie anywhere in the box of those that there are. */
const anywhere = Effect.fnUntraced(function* ({ data, dimensions, size }: Points): Effect.fn.Return<Points> {
  const random = yield* Random.Random
  const [least, most] = [new Float64Array(dimensions).fill(Infinity), new Float64Array(dimensions).fill(-Infinity)]
  for (let i = 0; i < size * dimensions; i++) {
    const d = i % dimensions
    least[d] = Math.min(least[d]!, data[i]!)
    most[d] = Math.max(most[d]!, data[i]!)
  }
  const drawn = new Float32Array(size * dimensions)
  for (let i = 0; i < drawn.length; i++) {
    const d = i % dimensions
    drawn[i] = least[d]! + random.nextDoubleUnsafe() * (most[d]! - least[d]!)
  }
  return { data: drawn, dimensions, size }
})

/**
 * Measures each number of groups. `gap`: R. Tibshirani, G. Walther, T. Hastie, "Estimating the number of clusters in a data set via the gap statistic", 2001.
 *
 * @category getters
 * @since 0.1.0
 */
export const compare = Effect.fnUntraced(function* (
  points: Points,
  { from, references, to, ...options }: CompareOptions
): Effect.fn.Return<ReadonlyArray<Measures>> {
  const { metric, runs } = options
  const drawn: Array<Points> = []
  for (let i = 0; i < references; i++) drawn.push(yield* anywhere(points))
  const all: Array<Measures> = []
  for (let k = from; k <= to; k++) {
    const clustering = yield* make(points, { ...options, k })
    const logs: Array<number> = []
    for (const reference of drawn) {
      logs.push(Math.log((yield* make(reference, { ...options, k, runs: 1 })).inertia))
    }
    const mean = logs.reduce((a, b) => a + b, 0) / references
    const deviation = Math.sqrt(logs.reduce((a, b) => a + (b - mean) ** 2, 0) / references)
    let agreement = 0
    for (let run = 0; run < runs; run++) {
      agreement += adjustedRand(clustering.labels, (yield* make(points, { ...options, k, runs: 1 })).labels)
    }
    all.push({
      k,
      inertia: clustering.inertia,
      silhouette: yield* silhouette(points, clustering, metric),
      daviesBouldin: daviesBouldin(points, clustering, metric),
      calinskiHarabasz: yield* calinskiHarabasz(points, clustering, metric),
      gap: mean - Math.log(clustering.inertia),
      gapError: deviation * Math.sqrt(1 + 1 / references),
      stability: agreement / runs
    })
  }
  return all
})

/**
 * For which number of groups each measure speaks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Votes {
  readonly elbow: number
  readonly silhouette: number
  readonly daviesBouldin: number
  readonly calinskiHarabasz: number
  readonly gap: number
  readonly stability: number
}

const best = (all: ReadonlyArray<Measures>, of: (one: Measures) => number): number =>
  all.reduce((found, one) => (of(one) > of(found) ? one : found)).k

/** The number of groups after which more help least: that farthest below the line from the first to the last. */
const elbowOf = (all: ReadonlyArray<Measures>): number => {
  const [first, last] = [all[0]!, all.at(-1)!]
  const [width, height] = [last.k - first.k, first.inertia - last.inertia]
  if (width === 0 || height <= 0) return first.k
  return best(all, ({ inertia, k }) => (first.inertia - inertia) / height - (k - first.k) / width)
}

/**
 * Asks each measure for the number of groups. Of some that agree, the one with the fewest groups.
 *
 * @category getters
 * @since 0.1.0
 */
export const vote = (all: ReadonlyArray<Measures>): Votes => {
  const gap = all.find((one, i) => {
    const next = all[i + 1]
    return next === undefined || one.gap >= next.gap - next.gapError
  })
  return {
    elbow: elbowOf(all),
    silhouette: best(all, (one) => one.silhouette),
    daviesBouldin: best(all, (one) => -one.daviesBouldin),
    calinskiHarabasz: best(all, (one) => one.calinskiHarabasz),
    gap: gap!.k,
    stability: best(all, (one) => one.stability)
  }
}
