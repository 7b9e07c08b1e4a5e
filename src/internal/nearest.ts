/** Which of the names that there are somebody may have meant. */

const letters = (name: string): string => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "")

/** The number of letters to insert, remove, replace or swap with the next. */
const distance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row.push(Math.min(last[j]! + 1, row[j - 1]! + 1, replaced, isSwapped ? before[j - 2]! + 1 : replaced))
    }
    before = last
    last = row
  }
  return last[b.length]!
}

/** Longer names are no misspellings of a field. */
const longest = 64

/**
 * The name that is nearest to one that is not there, case and signs aside: by one letter of three at most; `undefined` when
 * none is near.
 */
export const nearest = (name: string, names: Iterable<string>): string | undefined => {
  const wanted = letters(name)
  if (wanted === "" || wanted.length > longest) return undefined
  let best: { readonly name: string; readonly off: number } | undefined
  for (const one of names) {
    const known = letters(one)
    const allowed = Math.floor(Math.max(wanted.length, known.length) / 3)
    if (known.length > longest || Math.abs(known.length - wanted.length) > allowed) continue
    const off = distance(wanted, known)
    if (off <= allowed && (best === undefined || off < best.off)) best = { name: one, off }
  }
  return best?.name
}

/** `; perhaps NAME is meant`, or nothing. */
export const perhaps = (name: string | undefined): string => (name === undefined ? "" : `; perhaps ${name} is meant`)

/** `; did you mean NAME?`, or nothing. */
export const didYouMean = (name: string, names: Iterable<string>): string => {
  const near = nearest(name, names)
  return near === undefined ? "" : `; did you mean ${near}?`
}
