/** BM25 (Robertson and Zaragoza, 2009) by field. */
import type { Occurrences } from "./segmentFile.ts"

export interface Field {
  readonly weight: number
  /** Of all live documents that have words in the field. */
  readonly meanLength: number
}

const k1 = 1.2
const b = 0.75

/** How rare a word is: never negative. */
export const rarity = (documents: number, having: number): number =>
  Math.log(1 + (Math.max(documents, having) - having + 0.5) / (having + 0.5))

/** What a word adds to the score of a document by the fields that it occurs in. */
export const score = (occurrences: ReadonlyArray<Occurrences>, all: ReadonlyArray<Field>, idf: number): number => {
  let sum = 0
  for (const { count, field, length } of occurrences) {
    const { meanLength, weight } = all[field] ?? { meanLength: 0, weight: 0 }
    const norm = meanLength > 0 ? 1 - b + (b * length) / meanLength : 1
    sum += (weight * idf * count * (k1 + 1)) / (count + k1 * norm)
  }
  return sum
}
