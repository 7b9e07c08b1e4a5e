/**
 * Which terms a segment of a log has: a filter that says no for certain, and yes perhaps. It has about 10 bits for each term, so that 1
 * in 100 of those that are not there seems to be, and at most 1,280 bytes: with more than 1,024 terms it is wrong more often.
 *
 * The first byte is the number of bits that a term sets.
 */
import * as Result from "effect/Result"
import * as Base64Url from "effect/encoding/Base64Url"
import { sha256 } from "../../internal/sha256.ts"

const bitsOfTerm = 10
const mostBytes = 1280
const mostSet = 7

const encoder = new TextEncoder()

/** Two numbers of 32 bits, of which all places of a term are made. */
const numbersOf = (term: string): readonly [first: number, second: number] => {
  const hash = sha256(encoder.encode(term))
  const view = new DataView(hash.buffer, hash.byteOffset)
  return [view.getUint32(0), (view.getUint32(4) | 1) >>> 0]
}

const placesOf = (term: string, set: number, bits: number): ReadonlyArray<number> => {
  const [first, second] = numbersOf(term)
  return Array.from({ length: set }, (_, i) => (first + i * second) % bits)
}

/** The filter of some terms. */
export const write = (terms: ReadonlySet<string>): string => {
  const size = Math.min(mostBytes, Math.max(1, Math.ceil((terms.size * bitsOfTerm) / 8)))
  const bits = size * 8
  const set = Math.max(1, Math.min(mostSet, Math.round((Math.LN2 * bits) / Math.max(1, terms.size))))
  const bytes = new Uint8Array(1 + size)
  bytes[0] = set
  for (const term of terms) {
    for (const place of placesOf(term, set, bits)) bytes[1 + (place >>> 3)]! |= 1 << (place & 7)
  }
  return Base64Url.encode(bytes)
}

/** Whether all of some terms may be among those of a filter. What is no filter has everything. */
export const mayHave = (filter: string | undefined, terms: ReadonlyArray<string>): boolean => {
  if (filter === undefined || terms.length === 0) return true
  const decoded = Base64Url.decode(filter)
  if (Result.isFailure(decoded)) return true
  const bytes = decoded.success
  const [set = 0] = bytes
  const bits = (bytes.length - 1) * 8
  if (bits < 8 || set < 1) return true
  return terms.every((term) =>
    placesOf(term, set, bits).every((place) => (bytes[1 + (place >>> 3)]! & (1 << (place & 7))) !== 0)
  )
}
