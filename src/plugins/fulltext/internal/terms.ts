/** The words of a document as they are indexed. */
import { sha256 } from "../../../internal/sha256.ts"
import type { Analyse, Token } from "./analysis.ts"
import { fingerprintBytes, type Occurrences } from "./segmentFile.ts"

/** A field of an index. */
export interface Field {
  readonly name: string
  readonly path: ReadonlyArray<string>
  readonly weight: number
  readonly analyse: Analyse
  /** Which fields have the same analyser. */
  readonly group: number
  /** Whether words are indexed as something else than they are, so that their beginnings are kept apart. */
  readonly isStemmed: boolean
}

/** What a word is indexed as. */
export const termKey = (term: string): string => `s${term}`

/** The word itself, where it is indexed as something else. */
export const wordKey = (word: string): string => `w${word}`

/** Between the texts of a list there is so much room that no phrase goes across. */
const gap = 100

/** The texts of a field: itself, or those of a list. */
export const textsOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : Array.isArray(value) ? value.filter((one) => typeof one === "string") : []

/** What stands between the texts of a list where they are shown as one. */
export const separator = "\n"

/** The words of the texts of a field, as if they were one. */
export const tokensOf = (analyse: Analyse, texts: ReadonlyArray<string>): ReadonlyArray<Token> => {
  const [only] = texts
  if (only !== undefined && texts.length === 1) return analyse(only).tokens
  const all: Array<Token> = []
  let offset = 0
  let position = 0
  for (const text of texts) {
    for (const token of analyse(text).tokens) {
      all.push({
        ...token,
        position: token.position + position,
        start: token.start + offset,
        end: token.end + offset
      })
    }
    offset += text.length + separator.length
    position = (all.at(-1)?.position ?? position) + gap
  }
  return all
}

/** A document in words. */
export interface Worded {
  /** How many words each field has, by its number. */
  readonly lengths: ReadonlyArray<number>
  readonly fingerprint: Uint8Array
  /** Where each term occurs, by field, ascending. */
  readonly terms: ReadonlyMap<string, ReadonlyArray<Occurrences>>
}

const encoder = new TextEncoder()

/** Puts the words of the fields of a document, by number, in the form in which they are indexed. */
export const worded = (
  fields: ReadonlyArray<Pick<Field, "isStemmed">>,
  tokens: ReadonlyArray<ReadonlyArray<Token>>
): Worded => {
  const terms = new Map<string, Array<Occurrences>>()
  const seen: Array<unknown> = []
  fields.forEach(({ isStemmed }, field) => {
    const all = tokens[field] ?? []
    const positions = new Map<string, Array<number>>()
    const words = new Map<string, number>()
    for (const { position, terms, word } of all) {
      for (const term of terms) {
        const at = positions.get(term)
        if (at === undefined) positions.set(term, [position])
        else at.push(position)
      }
      if (isStemmed) words.set(word, (words.get(word) ?? 0) + 1)
    }
    const add = (key: string, occurrences: Occurrences) => {
      const before = terms.get(key)
      if (before === undefined) terms.set(key, [occurrences])
      else before.push(occurrences)
    }
    for (const [term, at] of positions) {
      add(termKey(term), { field, length: all.length, count: at.length, positions: at })
    }
    for (const [word, count] of words) add(wordKey(word), { field, length: all.length, count, positions: [] })
    seen.push(all.map(({ position, terms, word }) => [position, word, ...terms]))
  })
  return {
    lengths: fields.map((_, field) => tokens[field]?.length ?? 0),
    fingerprint: sha256(encoder.encode(JSON.stringify(seen))).subarray(0, fingerprintBytes),
    terms
  }
}
