/**
 * Where the keys of documents lie whose ids are within bounds.
 *
 * **Details**
 *
 * Ids are percent-encoded in keys, so that the order of keys is another than that of ids: what is escaped begins with `%`, which comes before
 * everything else, whatever its byte. But that is all: keys are in the order of the bytes of ids, once those that are escaped are
 * put before the others. So ids from one to another are a few spans of keys: for each byte of the bounds at most two, and as a rule all but one
 * of them are empty.
 *
 * @since 0.1.0
 */
import { compareUtf8, percentEncode } from "../internal/text.ts"

/**
 * Bounds of ids.
 *
 * @category models
 * @since 0.1.0
 */
export type IdBound =
  | { readonly _tag: "Prefix"; readonly prefix: string }
  | { readonly _tag: "Range"; readonly from?: IdEdge | undefined; readonly to?: IdEdge | undefined }

/**
 * One end of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdEdge {
  readonly value: string
  readonly inclusive: boolean
}

/**
 * Keys after one text and before another, without what all of them begin with. Those that are wanted are all within one of the spans; not all
 * that are within one are wanted.
 *
 * @category models
 * @since 0.1.0
 */
export interface Span {
  readonly after: string
  readonly before: string
}

/**
 * What follows the id in a key: nothing, or a slash.
 *
 * @category models
 * @since 0.1.0
 */
export type End = "" | "/"

/**
 * Tells whether an id is within bounds.
 *
 * @category guards
 * @since 0.1.0
 */
export const isWithin = (bound: IdBound, id: string): boolean => {
  if (bound._tag === "Prefix") return id.startsWith(bound.prefix)
  const { from, to } = bound
  return (
    (from === undefined || compareUtf8(id, from.value) >= (from.inclusive ? 0 : 1)) &&
    (to === undefined || compareUtf8(id, to.value) <= (to.inclusive ? 0 : -1))
  )
}

/** From here on bytes of bounds are not looked at: more is listed, and passed over. */
const mostBytes = 48

const encoder = new TextEncoder()

const texts = Array.from({ length: 256 }, (_, byte) => {
  const text = String.fromCharCode(byte)
  return /^[\w.~-]$/.test(text) ? text : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
})

const escaped = texts.flatMap((text, byte) => (text.length > 1 ? [byte] : []))
const plain = texts.flatMap((text, byte) => (text.length === 1 ? [byte] : []))

/** After everything that a key has. */
const last = "\u007f"

interface Run {
  readonly start: string
  readonly before: string
}

/**
 * Returns the spans of the ids within bounds, in the order in which they are gone through: from the lower bound on to the last key, then what lies
 * before it. `undefined`: the bounds are no texts that an id can begin with, and say nothing of keys.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (bound: IdBound, end: End): ReadonlyArray<Span> | undefined => {
  if (bound._tag === "Prefix") {
    if (!bound.prefix.isWellFormed()) return undefined
    const start = percentEncode(bound.prefix)
    return spansOf([{ start, before: `${start}${last}` }])
  }
  const { from, to } = bound
  if (from?.value.isWellFormed() === false || to?.value.isWellFormed() === false) return undefined
  const least = from === undefined ? undefined : encoder.encode(from.value)
  const most = to === undefined ? undefined : encoder.encode(to.value)
  const runs = merged(runsOf(least, most, end))
  const start = from === undefined ? "" : percentEncode(from.value)
  const first = runs.findIndex(({ before }) => before > start)
  const [begin, ...rest] = spansOf(first === -1 ? runs : [...runs.slice(first), ...runs.slice(0, first)])
  if (begin === undefined) return []
  // The id itself comes before all others that begin with it, where nothing follows it.
  const isAfterIt = from?.inclusive === false && end === "" && begin.after < start
  return [isAfterIt ? { ...begin, after: start } : begin, ...rest]
}

const runsOf = (least: Uint8Array | undefined, most: Uint8Array | undefined, end: End): ReadonlyArray<Run> => {
  const runs: Array<Run> = []
  /** Bytes between two others, neither of them included: any that comes after. */
  const between = (prefix: string, low: number, high: number) => {
    for (const bytes of [escaped, plain]) {
      const within = bytes.filter((byte) => byte > low && byte < high)
      const [first] = within
      const final = within.at(-1)
      if (first === undefined || final === undefined) continue
      // From the first of them on nothing lies between them and what they are next to.
      const start = first === escaped[0] ? `${prefix}%` : prefix + texts[first]
      runs.push({ start, before: final === escaped.at(-1) ? prefix + texts[plain[0]!] : prefix + texts[final] + last })
    }
  }
  const walk = (prefix: string, at: number, low: Uint8Array | undefined, high: Uint8Array | undefined): void => {
    const isFromHere = low !== undefined && at >= low.length
    const bound = isFromHere ? undefined : low
    if ((bound === undefined && high === undefined) || at >= mostBytes) {
      runs.push({ start: prefix, before: prefix + last })
      return
    }
    // The id that ends here.
    if (bound === undefined) {
      runs.push(end === "" ? { start: prefix, before: `${prefix}%` } : { start: `${prefix}/`, before: `${prefix}0` })
    }
    if (high !== undefined && at >= high.length) return
    const lowest = bound?.[at]
    const highest = high?.[at]
    if (lowest !== undefined && lowest === highest) return walk(prefix + texts[lowest], at + 1, bound, high)
    if (lowest !== undefined && highest !== undefined && lowest > highest) return
    between(prefix, lowest ?? -1, highest ?? 256)
    if (lowest !== undefined) walk(prefix + texts[lowest], at + 1, bound, undefined)
    if (highest !== undefined) walk(prefix + texts[highest], at + 1, undefined, high)
  }
  walk("", 0, least, most)
  return runs
}

/** In the order of keys, those that meet put together. */
const merged = (runs: ReadonlyArray<Run>): ReadonlyArray<Run> => {
  const all: Array<Run> = []
  for (const run of runs.toSorted((a, b) => (a.start < b.start ? -1 : 1))) {
    const before = all.at(-1)
    if (before === undefined || afterOf(run.start) > before.before) all.push(run)
    else all[all.length - 1] = { start: before.start, before: before.before > run.before ? before.before : run.before }
  }
  return all
}

const spansOf = (runs: ReadonlyArray<Run>): ReadonlyArray<Span> =>
  runs.map(({ before, start }) => ({ after: afterOf(start), before }))

/** A text before another one, with no key that is wanted between them: all that keys have is from `%` to `~`. */
const afterOf = (text: string): string =>
  text === "" ? "" : `${text.slice(0, -1)}${String.fromCharCode(text.charCodeAt(text.length - 1) - 1)}~`
