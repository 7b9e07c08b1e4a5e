/**
 * The guide of this library, as it ships with the package: its pages, and a search over their sections.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import { compareUtf8 } from "../internal/text.ts"

/**
 * A page of the guide, or an example program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  /** What it is asked for by: the name of its file, without the ending. */
  readonly name: string
  readonly kind: "guide" | "example"
  readonly title: string
  /** Markdown, or TypeScript. */
  readonly text: string
}

/**
 * A section that a search has found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly page: string
  readonly kind: Page["kind"]
  readonly title: string
  /** The headings that lead to it, the outermost first. */
  readonly heading: string
  /** Its beginning. */
  readonly text: string
  readonly score: number
}

/**
 * The pages of the guide, and what finds something in them. No request to the store.
 *
 * @category services
 * @since 0.1.0
 */
export class Documentation extends Context.Service<
  Documentation,
  {
    readonly pages: ReadonlyArray<Page>
    /** The page of a name, `undefined` where there is none. */
    readonly page: (kind: Page["kind"], name: string) => Page | undefined
    /** The sections that say most about the words of a query, the best first. */
    readonly search: (query: string, limit: number) => ReadonlyArray<Found>
  }
>()("effect-s3db/mcp/Documentation") {}

/** Two folders above this module, both in the sources and as built. */
const folders = [
  ["guide", "../../docs/guide/", ".md"],
  ["example", "../../docs/examples/", ".ts"]
] as const

/**
 * Reads the pages that ship with the package.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Documentation, PlatformError, FileSystem.FileSystem | Path.Path> = Layer.effect(
  Documentation,
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const pages: Array<Page> = []
    for (const [kind, folder, ending] of folders) {
      const place = yield* Effect.orDie(path.fromFileUrl(new URL(folder, import.meta.url)))
      const names = (yield* fs.readDirectory(place)).filter((name) => name.endsWith(ending)).toSorted(compareUtf8)
      for (const file of names) {
        const text = yield* fs.readFileString(path.join(place, file))
        const name = file.slice(0, -ending.length)
        pages.push({ name, kind, title: titleOf(text, name), text })
      }
    }
    return make(pages)
  })
)

const titleOf = (text: string, name: string): string =>
  /^# (.+)$/m.exec(text)?.[1]?.trim() ?? /^\s*\/?\*+\s*(.+?)[.:]?$/m.exec(text)?.[1]?.trim() ?? name

/**
 * Makes a documentation of pages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (pages: ReadonlyArray<Page>): Documentation["Service"] => {
  const sections = pages.flatMap(sectionsOf)
  const index = indexOf(sections)
  return {
    pages,
    page: (kind, name) => pages.find((page) => page.kind === kind && page.name === name),
    search: (query, limit) => index(wordsOf(query)).slice(0, limit)
  }
}

interface Section {
  readonly page: Page
  readonly heading: string
  readonly text: string
}

/** A page by its headings; those within code are none. */
const sectionsOf = (page: Page): ReadonlyArray<Section> => {
  const sections: Array<{ readonly heading: string; readonly lines: Array<string> }> = [
    { heading: page.title, lines: [] }
  ]
  if (page.kind === "example") return [{ page, heading: page.title, text: page.text }]
  const above: Array<string> = []
  let inCode = false
  for (const line of page.text.split("\n")) {
    if (/^\s*(```|~~~)/.test(line)) inCode = !inCode
    const [, marks = "", heading] = (inCode ? null : /^(#{1,4}) (.+)$/.exec(line)) ?? []
    if (heading === undefined) sections.at(-1)!.lines.push(line)
    else {
      above.length = Math.min(above.length, marks.length - 1)
      above.push(heading.trim())
      sections.push({ heading: above.join(" > "), lines: [] })
    }
  }
  return sections
    .map(({ heading, lines }) => ({ page, heading, text: lines.join("\n").trim() }))
    .filter(({ text }) => text !== "")
}

/** The words of a text in the form in which they are compared: lower case, parts of names apart, endings off. */
const wordsOf = (text: string): ReadonlyArray<string> =>
  text
    .replaceAll(/(\p{Ll}|\p{N})(\p{Lu})/gu, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}$]+/u)
    .filter((word) => word !== "" && !common.has(word))
    .map(stem)

const common = new Set(
  "a an and are as at be by can do does for from has have how i if in is it its my not of on or so that the then there this to was what when where which who why will with you your".split(
    " "
  )
)

const stem = (word: string): string =>
  word.length < 5 ? word.replace(/(?<=..)s$/, "") : word.replace(/(?:ing|ed|es|s|ions?|ly)$/, "").replace(/e$/, "")

/** Okapi BM25, with the usual constants; words of a heading count several times. */
const [k1, b, headingWeight] = [1.2, 0.75, 4]

const shownLength = 1200

const indexOf = (sections: ReadonlyArray<Section>): ((query: ReadonlyArray<string>) => ReadonlyArray<Found>) => {
  const counted = sections.map(({ heading, page, text }) => {
    const counts = new Map<string, number>()
    const body = wordsOf(text)
    const add = (word: string, weight: number) => counts.set(word, (counts.get(word) ?? 0) + weight)
    for (const word of body) add(word, 1)
    for (const word of wordsOf(`${page.name} ${heading}`)) add(word, headingWeight)
    return { counts, length: body.length }
  })
  const mean = Math.max(1, counted.reduce((sum, { length }) => sum + length, 0) / Math.max(1, counted.length))
  const having = new Map<string, number>()
  for (const { counts } of counted) for (const word of counts.keys()) having.set(word, (having.get(word) ?? 0) + 1)
  const rarity = (word: string): number => {
    const n = having.get(word) ?? 0
    return Math.log(1 + (counted.length - n + 0.5) / (n + 0.5))
  }
  return (query) => {
    const words = [...new Set(query)]
    const scored = counted.map(({ counts, length }, at) => {
      const score = words.reduce((sum, word) => {
        const count = counts.get(word) ?? 0
        return sum + (rarity(word) * count * (k1 + 1)) / (count + k1 * (1 - b + (b * length) / mean))
      }, 0)
      return { at, score }
    })
    return scored
      .filter(({ score }) => score > 0)
      .toSorted((one, two) => two.score - one.score || one.at - two.at)
      .map(({ at, score }) => {
        const { heading, page, text } = sections[at]!
        const shown = text.length > shownLength ? `${text.slice(0, shownLength)}...` : text
        return {
          page: page.name,
          kind: page.kind,
          title: page.title,
          heading,
          text: shown,
          score: Math.round(score * 100) / 100
        }
      })
  }
}
