/** From a text to its words as they are indexed, by an analyser that is data. */

/** How the texts of a field become words. It is a part of the index: with another one the index is another one. */
export interface Analyser {
  /** A BCP 47 tag, for the boundaries of words. Default: `en`. */
  readonly language?: string | undefined
  /** Words that are not indexed, in any case and with or without marks. They count as positions, so that phrases keep their distances. */
  readonly stopWords?: ReadonlyArray<string> | undefined
  /** Groups of single words that mean the same. */
  readonly synonyms?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** What takes the endings of words away, by the name of its language. It needs the package `@orama/stemmers`. */
  readonly stemmer?: Stemmer | undefined
}

/** The languages whose words have a stemmer. */
export const stemmers = [
  "arabic",
  "armenian",
  "bulgarian",
  "danish",
  "dutch",
  "english",
  "finnish",
  "french",
  "german",
  "greek",
  "hungarian",
  "indian",
  "indonesian",
  "irish",
  "italian",
  "lithuanian",
  "nepali",
  "norwegian",
  "portuguese",
  "romanian",
  "russian",
  "sanskrit",
  "serbian",
  "spanish",
  "swedish",
  "tamil",
  "turkish",
  "ukrainian"
] as const

/** A language whose words have a stemmer. */
export type Stemmer = (typeof stemmers)[number]

/** Takes the ending of a word in lower case away. */
export type Stem = (word: string) => string

/** A word at its place in a text. */
export interface Token {
  /** What it is indexed as and found by, each of them. */
  readonly terms: ReadonlyArray<string>
  /** The word itself, folded. */
  readonly word: string
  /** The number of the word in the text, stop words included. */
  readonly position: number
  /** Where it stands in the text that was given, in UTF-16 units. */
  readonly start: number
  readonly end: number
}

/** A text in words, and where stop words were left out. */
export interface Analysed {
  readonly tokens: ReadonlyArray<Token>
  /** Where stop words begin. */
  readonly stops: ReadonlyArray<number>
}

/** Makes words of texts. */
export type Analyse = (text: string) => Analysed

/** What follows the first so many UTF-16 units of a word is not looked at. */
const longestWord = 128

const apostrophes = /[\u2018\u2019\u02BC]/g

/**
 * NFKC without case, and without the marks on letters of scripts where these tell little of a word: in others a mark is a vowel or a
 * letter.
 */
export const fold = (text: string): string =>
  text
    .toWellFormed()
    .normalize("NFKD")
    .replace(
      /([\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Arabic}\p{Script=Hebrew}])[\p{M}\u0640]+/gu,
      "$1"
    )
    .toLowerCase()
    .replace(/ß/g, "ss")
    .replace(/ς/g, "σ")
    .replace(/[\uFE0E\uFE0F]/g, "")
    // As they are set, and as they are typed.
    .replace(apostrophes, "'")
    .normalize("NFKC")

/** Pictures are words, too. */
const pictograph = /\p{Extended_Pictographic}/u

/** The beginning of a word, without half a character at its end. */
const cut = (word: string): string =>
  word.length <= longestWord
    ? word
    : word.slice(0, /[\uD800-\uDBFF]/.test(word[longestWord - 1]!) ? longestWord - 1 : longestWord)

/** A word as it is compared: folded, and no longer than words are. */
export const wordOf = (text: string): string => cut(fold(text.slice(0, 8 * longestWord)))

const elision = /^(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu|dell|nell|sull|all|dall|un)['’](?=.)/i
const possessive = /(?<=.)['’]s$/i

/** What a language hangs on its words, at their beginning and at their end. */
const hung: { readonly [S in Stemmer]?: RegExp } = { english: possessive, french: elision, italian: elision }

/** The stem of a word; a stemmer may be anything, and a word that it cannot take stays as it is. */
const stemOf = (stem: Stem, word: string): string => {
  try {
    const found: unknown = stem(word)
    return typeof found === "string" ? found : word
  } catch {
    return word
  }
}

/** Whether a text is a language tag that words can be told by. */
export const isLanguage = (tag: string): boolean => {
  try {
    return Intl.Segmenter.supportedLocalesOf(tag).length >= 0
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return false
    throw error
  }
}

/**
 * Prepares an analyser, with its stemmer where it has one. `RangeError`: the language is no tag.
 *
 * A stemmer knows its words by their marks, and who searches leaves these out: so a word is indexed by the stem that it has with
 * them, and by the one that it has without.
 */
export const analyser = (
  { language = "en", stemmer, stopWords = [], synonyms = [] }: Analyser,
  stem?: Stem | undefined
): Analyse => {
  const hanging = stemmer === undefined ? undefined : hung[stemmer]
  const stemsOf = (word: string, spelled: string): ReadonlyArray<string> => {
    if (stem === undefined) return [word]
    const both = [spelled, word].map((one) => wordOf(stemOf(stem, one)) || word)
    return both[0] === both[1] ? [both[0]!] : both
  }
  const segmenter = new Intl.Segmenter(language, { granularity: "word" })
  const stops = new Set(stopWords.map(wordOf))
  const meaning = new Map<string, string>()
  for (const [first, ...others] of synonyms) {
    if (first === undefined) continue
    const word = wordOf(first)
    const canonical = meaning.get(word) ?? word
    for (const other of [first, ...others]) meaning.set(wordOf(other), canonical)
  }
  return (text) => {
    const tokens: Array<Token> = []
    const left: Array<number> = []
    let position = 0
    for (const { index, isWordLike, segment } of segmenter.segment(text)) {
      if (isWordLike !== true && !pictograph.test(segment)) continue
      const beside = hanging === undefined ? null : hanging.exec(segment)
      const at = beside?.index === 0 ? beside[0].length : 0
      const end = beside === null || at > 0 ? segment.length : beside.index
      const own = at === 0 && end === segment.length ? segment : segment.slice(at, end)
      const word = wordOf(own)
      if (stops.has(word)) left.push(index + at)
      else if (word !== "") {
        const meant = meaning.get(word)
        const spelled =
          meant ??
          own
            .slice(0, 8 * longestWord)
            .toWellFormed()
            .normalize("NFC")
            .toLowerCase()
            .replace(apostrophes, "'")
        const terms = stemsOf(meant ?? word, cut(spelled))
        tokens.push({ terms, word, position, start: index + at, end: index + end })
      }
      position += 1
    }
    return { tokens, stops: left }
  }
}
