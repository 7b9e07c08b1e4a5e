/**
 * Vectors as an index has them, and lists of them: what a list is read by is laid out for loops over typed arrays, so that reading one makes no copy.
 *
 * A list: the lengths of its vectors, 8 bytes each; the vectors; for `int8` the size of each one's step; where its ids begin; the ids; and in the last 12 bytes
 * how many there are, the number of the list and how many numbers a vector has. Little-endian.
 */
import * as Result from "effect/Result"
import { sameBytes } from "../../../internal/bytes.ts"
import * as rounding from "../../../internal/rounding.ts"
import { sha256 } from "../../../internal/sha256.ts"
import type * as StoreError from "../../../storage/StoreError.ts"
import { corrupt } from "../../journalindex/internal/blocks.ts"
import * as Metrics from "../metrics.ts"

/** What an index keeps of each number. */
export type Storage = "float32" | "float16" | "int8"

/** What a row is computed with: `float16` as `float32`, which has all of it. */
export type Row = Float32Array | Int8Array

/** The vector of a document as an index has it. */
export interface Packed {
  readonly row: Row
  /** What a number of `int8` stands for; 1 otherwise. */
  readonly step: number
  /** The length of what is kept. */
  readonly norm: number
  /** How far, by the metric, what is kept may be from what was given. */
  readonly error: number
  /** 8 bytes of the SHA-256 of what is kept. */
  readonly fingerprint: Uint8Array
}

const bytesOf = ({ buffer, byteLength, byteOffset }: Row): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength)

const unrounded = (row: Row, step: number, at: number, length: number): Float64Array => {
  const numbers = new Float64Array(length)
  for (let i = 0; i < length; i++) numbers[i] = row[at + i]! * step + 0
  return numbers
}

/** How far apart a vector and what is kept of it are, as far as distances by the metric go: by `dot` for a query of length 1. */
const errorOf = (metric: Metrics.Metric, given: ReadonlyArray<number>, kept: Float64Array): number => {
  if (given.every((value, i) => value === kept[i])) return 0
  if (metric === "manhattan") return Metrics.between("manhattan", given, 0, kept, 0, given.length)
  if (metric !== "cosine") return Metrics.between("euclidean", given, 0, kept, 0, given.length)
  const [a, b] = [Metrics.norm(given, 0, given.length), Metrics.norm(kept, 0, kept.length)]
  // What is kept of it may have no direction.
  if (a === 0 || b === 0) return 2
  let sum = 0
  for (let i = 0; i < kept.length; i++) sum += (given[i]! / a - kept[i]! / b) ** 2
  return Math.sqrt(sum)
}

/** A vector as it is kept; `undefined`: the storage has no place for it. */
export const pack = (storage: Storage, metric: Metrics.Metric, vector: ReadonlyArray<number>): Packed | undefined => {
  if (!rounding.fits(vector, storage)) return undefined
  const step = storage === "int8" ? rounding.int8Step(vector) : 1
  const row =
    storage === "int8"
      ? Int8Array.from(vector, (value) => (step === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(value / step)))))
      : Float32Array.from(storage === "float16" ? rounding.toFormat(vector, "float16") : vector)
  const kept = unrounded(row, step, 0, row.length)
  if (!kept.every(Number.isFinite)) return undefined
  return {
    row,
    step,
    norm: Metrics.norm(kept, 0, kept.length),
    error: errorOf(metric, vector, kept),
    fingerprint: sha256(bytesOf(row), new Uint8Array(Float32Array.of(step).buffer)).slice(0, 8)
  }
}

/** A list, as views of its bytes. */
export interface List {
  readonly count: number
  readonly norms: Float64Array
  /** One after the other. */
  readonly rows: Row
  /** None where all are 1. */
  readonly steps: Float32Array | undefined
  readonly id: (index: number) => string
}

/** What goes into a list. */
export interface Entry extends Pick<Packed, "row" | "step" | "norm"> {
  readonly id: string
}

const footerBytes = 12
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

const aligned = (size: number, to: number): number => Math.ceil(size / to) * to

const layoutOf = (storage: Storage | "wide", count: number, dimensions: number) => {
  const size = storage === "int8" ? 1 : storage === "float16" ? 2 : 4
  const rows = count * 8
  const steps = aligned(rows + count * dimensions * size, 4)
  const offsets = steps + (storage === "int8" ? count * 4 : 0)
  return { rows, steps, offsets, ids: offsets + (count + 1) * 4 }
}

/** The bytes of a list. */
export const encodeList = (
  storage: Storage,
  dimensions: number,
  list: number,
  entries: ReadonlyArray<Entry>
): Uint8Array => {
  const ids = entries.map(({ id }) => encoder.encode(id))
  const layout = layoutOf(storage, entries.length, dimensions)
  const idBytes = ids.reduce((sum, { length }) => sum + length, 0)
  const all = new Uint8Array(layout.ids + idBytes + footerBytes)
  const view = new DataView(all.buffer)
  let at = layout.ids
  entries.forEach(({ norm, row, step }, i) => {
    view.setFloat64(i * 8, norm, true)
    const begin = layout.rows + i * dimensions * (storage === "int8" ? 1 : storage === "float16" ? 2 : 4)
    if (storage === "float16") {
      for (let d = 0; d < dimensions; d++) view.setUint16(begin + d * 2, rounding.toFloat16(row[d]!), true)
    } else all.set(bytesOf(row), begin)
    if (storage === "int8") view.setFloat32(layout.steps + i * 4, step, true)
    view.setUint32(layout.offsets + i * 4, at - layout.ids, true)
    all.set(ids[i]!, at)
    at += ids[i]!.length
  })
  view.setUint32(layout.offsets + entries.length * 4, at - layout.ids, true)
  view.setUint32(at, entries.length, true)
  view.setUint32(at + 4, list, true)
  view.setUint32(at + 8, dimensions, true)
  return all
}

/** What is kept in memory of the bytes of a list: such that views of it can be computed with. */
export const unpackList = (storage: Storage, payload: Uint8Array): Uint8Array => {
  if (storage !== "float16") return payload.byteOffset % 8 === 0 ? payload : new Uint8Array(payload)
  if (payload.length < footerBytes) return payload
  const from = new DataView(payload.buffer, payload.byteOffset, payload.length)
  const footer = payload.length - footerBytes
  const count = from.getUint32(footer, true)
  const dimensions = from.getUint32(footer + 8, true)
  const narrow = layoutOf("float16", count, dimensions)
  if (narrow.ids > footer) return payload
  const wide = layoutOf("wide", count, dimensions)
  const all = new Uint8Array(wide.ids + payload.length - narrow.ids)
  all.set(payload.subarray(0, narrow.rows))
  const rows = new Float32Array(all.buffer, wide.rows, count * dimensions)
  for (let i = 0; i < rows.length; i++) rows[i] = rounding.fromFloat16(from.getUint16(narrow.rows + i * 2, true))
  all.set(payload.subarray(narrow.offsets), wide.offsets)
  return all
}

/** A list of what is in memory of it, if it is this one. */
export const listOf = (
  storage: Storage,
  dimensions: number,
  wanted: { readonly list: number; readonly count: number },
  unpacked: Uint8Array
): Result.Result<List, StoreError.Corrupt> => {
  const { buffer, byteOffset, length } = unpacked
  const another = "a list of vectors is another one"
  if (length < footerBytes) return corrupt(another)
  const view = new DataView(buffer, byteOffset, length)
  const footer = length - footerBytes
  const count = view.getUint32(footer, true)
  const layout = layoutOf(storage === "int8" ? "int8" : "wide", count, dimensions)
  if (
    count !== wanted.count ||
    view.getUint32(footer + 4, true) !== wanted.list ||
    view.getUint32(footer + 8, true) !== dimensions ||
    layout.ids > footer
  ) {
    return corrupt(another)
  }
  const offset = (i: number) => layout.ids + view.getUint32(layout.offsets + i * 4, true)
  return Result.succeed({
    count,
    norms: new Float64Array(buffer, byteOffset, count),
    rows:
      storage === "int8"
        ? new Int8Array(buffer, byteOffset + layout.rows, count * dimensions)
        : new Float32Array(buffer, byteOffset + layout.rows, count * dimensions),
    steps: storage === "int8" ? new Float32Array(buffer, byteOffset + layout.steps, count) : undefined,
    id: (i) => decoder.decode(unpacked.subarray(offset(i), offset(i + 1)))
  })
}

/** An entry of a list, for another one. */
export const entryOf = (list: List, dimensions: number, index: number): Entry => ({
  id: list.id(index),
  row: list.rows.subarray(index * dimensions, (index + 1) * dimensions),
  step: list.steps?.[index] ?? 1,
  norm: list.norms[index]!
})

export const sameFingerprint = (a: Packed, b: Uint8Array): boolean => sameBytes(a.fingerprint, b)

// -----------------------------------------------------------------------------
// Kernels
// -----------------------------------------------------------------------------

// One function for each kind of array, so that each is compiled for its own. The sums are those of `Metrics.dot`, in its order: where nothing was lost, a distance is the same to
// the last bit.

const dotOfFloats = (query: Float64Array, rows: Float32Array, at: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  const end = length - (length % 4)
  for (let i = 0; i < end; i += 4) {
    s0 += query[i]! * rows[at + i]!
    s1 += query[i + 1]! * rows[at + i + 1]!
    s2 += query[i + 2]! * rows[at + i + 2]!
    s3 += query[i + 3]! * rows[at + i + 3]!
  }
  for (let i = end; i < length; i++) s0 += query[i]! * rows[at + i]!
  return s0 + s1 + (s2 + s3)
}

const dotOfBytes = (query: Float64Array, rows: Int8Array, at: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  const end = length - (length % 4)
  for (let i = 0; i < end; i += 4) {
    s0 += query[i]! * rows[at + i]!
    s1 += query[i + 1]! * rows[at + i + 1]!
    s2 += query[i + 2]! * rows[at + i + 2]!
    s3 += query[i + 3]! * rows[at + i + 3]!
  }
  for (let i = end; i < length; i++) s0 += query[i]! * rows[at + i]!
  return s0 + s1 + (s2 + s3)
}

const squaredOfFloats = (query: Float64Array, rows: Float32Array, at: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  const end = length - (length % 2)
  for (let i = 0; i < end; i += 2) {
    const d0 = query[i]! - rows[at + i]!
    const d1 = query[i + 1]! - rows[at + i + 1]!
    s0 += d0 * d0
    s1 += d1 * d1
  }
  for (let i = end; i < length; i++) s0 += (query[i]! - rows[at + i]!) ** 2
  return s0 + s1
}

const squaredOfBytes = (query: Float64Array, rows: Int8Array, step: number, at: number, length: number): number => {
  let s0 = 0
  let s1 = 0
  const end = length - (length % 2)
  for (let i = 0; i < end; i += 2) {
    const d0 = query[i]! - rows[at + i]! * step
    const d1 = query[i + 1]! - rows[at + i + 1]! * step
    s0 += d0 * d0
    s1 += d1 * d1
  }
  for (let i = end; i < length; i++) s0 += (query[i]! - rows[at + i]! * step) ** 2
  return s0 + s1
}

const absoluteOfFloats = (query: Float64Array, rows: Float32Array, at: number, length: number): number => {
  let sum = 0
  for (let i = 0; i < length; i++) sum += Math.abs(query[i]! - rows[at + i]!)
  return sum
}

const isUsual = (length: number): boolean => length > 1e-140 && length < 1e140

/** How far a vector is from those of lists. */
export interface Scorer {
  /** Nearly, for `int8`: the last digits may be others. */
  readonly distance: (list: List, index: number) => number
  /** To the last bit that of the vector that is kept. */
  readonly exact: (list: List, index: number) => number
  /** How far the two may be apart. */
  readonly slack: (distance: number) => number
}

/** Looks at a vector once, for its distance from many. */
export const scorerOf = (metric: Metrics.Metric, storage: Storage, vector: ReadonlyArray<number>): Scorer => {
  const query = Float64Array.from(vector)
  const { length } = query
  const own = Metrics.norm(query, 0, length)
  const precise = Metrics.from(metric, query)
  const exact = ({ rows, steps }: List, i: number) => precise(unrounded(rows, steps?.[i] ?? 1, i * length, length))
  const cosine = (dot: number, list: List, i: number): number => {
    const norm = list.norms[i]!
    if (own === 0 || norm === 0) return own === norm ? 0 : 1
    if (!isUsual(own) || !isUsual(norm)) return exact(list, i)
    return 1 - Math.max(-1, Math.min(1, dot / (own * norm)))
  }
  const ofFloats = (list: List, i: number): number => {
    const rows = list.rows as Float32Array
    const at = i * length
    switch (metric) {
      case "cosine":
        return cosine(dotOfFloats(query, rows, at, length), list, i)
      case "euclidean":
        return Math.sqrt(squaredOfFloats(query, rows, at, length))
      case "manhattan":
        return absoluteOfFloats(query, rows, at, length)
      case "dot":
        return -dotOfFloats(query, rows, at, length)
    }
  }
  const ofBytes = (list: List, i: number): number => {
    const rows = list.rows as Int8Array
    const step = list.steps![i]!
    const at = i * length
    switch (metric) {
      case "cosine":
        return cosine(step * dotOfBytes(query, rows, at, length), list, i)
      case "euclidean":
        return Math.sqrt(squaredOfBytes(query, rows, step, at, length))
      case "manhattan":
        return exact(list, i)
      case "dot":
        return -step * dotOfBytes(query, rows, at, length)
    }
  }
  return storage === "int8"
    ? { distance: ofBytes, exact, slack: (distance) => 1e-9 * Math.max(1, own, Math.abs(distance)) }
    : { distance: ofFloats, exact: ofFloats, slack: () => 0 }
}

/** How far, by the metric, a kept vector may be nearer or farther than the one that was given, for a query. */
export const boundOf = (metric: Metrics.Metric, vector: ReadonlyArray<number>, error: number): number => {
  if (error === 0) return 0
  // What adding up loses is far less than this.
  const usual = error * (1 + 1e-9)
  return metric === "dot" ? usual * Metrics.norm(vector, 0, vector.length) : usual
}
