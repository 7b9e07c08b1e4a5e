/** Tables and text as a terminal shows them. Pure. */
import * as CliOutput from "effect/cli/CliOutput"

/**
 * Text that cannot do anything to a terminal: controls, and what turns the direction of writing, are written out. Data comes
 * from anybody.
 */
export const harmless = (text: string): string =>
  text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu, (one) => {
    const short = shortEscapes[one]
    return short ?? `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`
  })

/** Text of lines of its own that cannot do anything to a terminal. */
export const harmlessLines = (text: string): string => text.split("\n").map(harmless).join("\n")

const shortEscapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** JSON that cannot do anything to a terminal, and means the same. */
export const harmlessJson = (json: string): string =>
  json.replace(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** The text of a value in a cell. */
export const cellText = (value: unknown): string => {
  if (value === undefined || value === null) return ""
  return harmless(typeof value === "string" ? value : JSON.stringify(value))
}

/** A text in at most so many columns, the last of which shows that something is missing. */
export const clip = (text: string, width: number): string => {
  if (CliOutput.displayWidth(text) <= width) return text
  let shown = ""
  for (const { segment } of segmenter.segment(text)) {
    if (CliOutput.displayWidth(shown + segment) > width - 1) break
    shown += segment
  }
  return `${shown}…`
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" })

const padded = (text: string, width: number): string =>
  text + " ".repeat(Math.max(0, width - CliOutput.displayWidth(text)))

export interface Layout {
  /** The columns that are shown, by their place, and how wide. */
  readonly columns: ReadonlyArray<{ readonly index: number; readonly width: number }>
  /** How many are not. */
  readonly hidden: number
}

const gap = 2
const least = 6

/**
 * Chooses the width of each column so that the table fits: the widest give first, none is narrower than 6 unless its content is;
 * what does not fit then is left out, the last columns first.
 */
export const layout = (
  names: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  terminal: number
): Layout => {
  const natural = names.map((name, index) =>
    rows.reduce((most, row) => Math.max(most, CliOutput.displayWidth(row[index] ?? "")), CliOutput.displayWidth(name))
  )
  let shown = names.length
  const narrowest = (count: number) =>
    natural.slice(0, count).reduce((sum, width) => sum + Math.min(width, least), 0) + gap * (count - 1)
  while (shown > 1 && narrowest(shown) > terminal) shown -= 1
  const widths = natural.slice(0, shown)
  const total = () => widths.reduce((sum, width) => sum + width, 0) + gap * (shown - 1)
  while (total() > terminal) {
    const widest = Math.max(...widths)
    if (widest <= least) break
    const next = Math.max(least, ...widths.filter((width) => width < widest))
    const many = widths.filter((width) => width === widest).length
    const less = Math.max(1, Math.min(widest - next, Math.ceil((total() - terminal) / many)))
    for (let i = 0; i < shown; i++) if (widths[i] === widest) widths[i] = widest - less
  }
  return { columns: widths.map((width, index) => ({ index, width })), hidden: names.length - shown }
}

/** One line of a table. */
export const line = ({ columns }: Layout, cells: ReadonlyArray<string>): string =>
  columns
    .map(({ index, width }) => padded(clip(cells[index] ?? "", width), width))
    .join(" ".repeat(gap))
    .trimEnd()
