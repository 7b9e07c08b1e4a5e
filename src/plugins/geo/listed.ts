/**
 * What has been listed of an index of places, so that a wider cover lists only what is new.
 *
 * @since 0.1.0
 */
import { after, type Span } from "./shapes.ts"

/**
 * Cells that have been listed, and how many keys there were in them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed extends Span {
  readonly keys: number
}

/**
 * How many keys a LIST has.
 *
 * @category constants
 * @since 0.1.0
 */
export const pageKeys = 1_000

/** The number before that of a cell. */
const before = (cell: string): string => {
  const kept = cell.replace(/0+$/, "")
  return kept === "" ? "" : (kept.slice(0, -1) + String(Number(kept.at(-1)) - 1)).padEnd(cell.length, "3")
}

/**
 * Returns what is left of spans without those that have been listed. One in the middle of a span cuts it in two, which takes a LIST more: it is left in, and
 * listed again, where that takes less than another one.
 *
 * @category getters
 * @since 0.1.0
 */
export const without = (spans: ReadonlyArray<Span>, listed: ReadonlyArray<Listed>): ReadonlyArray<Span> => {
  const known = listed.toSorted((a, b) => (a.from < b.from ? -1 : 1))
  return spans.flatMap((span) => {
    let { from, to } = span
    const inside = known.filter((one) => one.from <= to && one.to >= from)
    // At its ends, which is for nothing.
    while (inside.length > 0 && inside[0]!.from <= from) {
      const { to: end } = inside.shift()!
      if (end >= to) return []
      if (end >= from) from = after(end)
    }
    while (inside.length > 0 && inside.at(-1)!.to >= to) to = before(inside.pop()!.from)
    const left: Array<Span> = []
    for (const one of inside) {
      if (one.keys < pageKeys) continue
      left.push({ from, to: before(one.from) })
      from = after(one.to)
    }
    return [...left, { from, to }]
  })
}
