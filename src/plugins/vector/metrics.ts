/**
 * How far apart two vectors are.
 *
 * @since 0.1.0
 */

/**
 * A way to compare vectors. The nearer two are, the smaller the number.
 *
 * - `cosine`: 1 less the cosine of the angle, from 0 to 2. Two zero vectors are at 0 from each other, a zero vector and another at 1.
 * - `euclidean`: the length of the difference.
 * - `manhattan`: the sum of the differences of all components.
 * - `dot`: the scalar product with its sign turned, so that the largest product comes first. It is no distance: a vector need not be the nearest to itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Metric = "cosine" | "euclidean" | "manhattan" | "dot"

/**
 * Numbers in a row.
 *
 * @category models
 * @since 0.1.0
 */
export type Numbers = ReadonlyArray<number> | Float32Array | Float64Array

/**
 * Returns the scalar product of the vectors of one length that begin at these places.
 *
 * @category getters
 * @since 0.1.0
 */
export const dot = (a: Numbers, atA: number, b: Numbers, atB: number, length: number): number => {
  // Four sums that do not wait for each other.
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

const squared = (a: Numbers, atA: number, b: Numbers, atB: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  const end = length - (length % 2)
  for (let i = 0; i < end; i += 2) {
    const d0 = a[atA + i]! - b[atB + i]!
    const d1 = a[atA + i + 1]! - b[atB + i + 1]!
    s0 += d0 * d0
    s1 += d1 * d1
  }
  for (let i = end; i < length; i++) s0 += (a[atA + i]! - b[atB + i]!) ** 2
  return s0 + s1
}

const absolute = (a: Numbers, atA: number, b: Numbers, atB: number, length: number): number => {
  let sum = 0
  for (let i = 0; i < length; i++) sum += Math.abs(a[atA + i]! - b[atB + i]!)
  return sum
}

/** Whether products of numbers of this size are numbers. */
const isUsual = (length: number): boolean => length > 1e-140 && length < 1e140

/**
 * Returns the length of a vector, without overflow where its square would have one.
 *
 * @category getters
 * @since 0.1.0
 */
export const norm = (a: Numbers, at: number, length: number): number => {
  const plain = Math.sqrt(dot(a, at, a, at, length))
  if (isUsual(plain)) return plain
  let largest = 0
  for (let i = 0; i < length; i++) largest = Math.max(largest, Math.abs(a[at + i]!))
  if (largest === 0 || !Number.isFinite(largest)) return largest
  let sum = 0
  for (let i = 0; i < length; i++) sum += (a[at + i]! / largest) ** 2
  return largest * Math.sqrt(sum)
}

/** The scalar product of vectors whose parts of it are beyond all numbers, with either sign. */
const dotOfLarge = (a: Numbers, atA: number, b: Numbers, atB: number, length: number): number => {
  const [normA, normB] = [norm(a, atA, length), norm(b, atB, length)]
  let sum = 0
  for (let i = 0; i < length; i++) sum += (a[atA + i]! / normA) * (b[atB + i]! / normB)
  return sum * normA * normB
}

const cosine = (a: Numbers, atA: number, normA: number, b: Numbers, atB: number, length: number): number => {
  const normB = norm(b, atB, length)
  if (normA === 0 || normB === 0) return normA === normB ? 0 : 1
  let cosine = 0
  if (isUsual(normA) && isUsual(normB)) cosine = dot(a, atA, b, atB, length) / (normA * normB)
  else for (let i = 0; i < length; i++) cosine += (a[atA + i]! / normA) * (b[atB + i]! / normB)
  return 1 - Math.max(-1, Math.min(1, cosine))
}

/**
 * Returns how far the vectors are from each other that begin at these places.
 *
 * @category getters
 * @since 0.1.0
 */
export const between = (metric: Metric, a: Numbers, atA: number, b: Numbers, atB: number, length: number): number => {
  switch (metric) {
    case "cosine":
      return cosine(a, atA, norm(a, atA, length), b, atB, length)
    case "euclidean":
      return Math.sqrt(squared(a, atA, b, atB, length))
    case "manhattan":
      return absolute(a, atA, b, atB, length)
    case "dot": {
      const product = dot(a, atA, b, atB, length)
      return -(Number.isNaN(product) ? dotOfLarge(a, atA, b, atB, length) : product)
    }
  }
}

/**
 * Returns what tells how far a vector is from one that is asked about, which is looked at once.
 *
 * @category getters
 * @since 0.1.0
 */
export const from = (metric: Metric, query: Numbers): ((vector: Numbers) => number) => {
  const { length } = query
  if (metric !== "cosine") return (vector) => between(metric, query, 0, vector, 0, length)
  const own = norm(query, 0, length)
  return (vector) => cosine(query, 0, own, vector, 0, length)
}
