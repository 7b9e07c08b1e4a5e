/** Which words of a sorted dictionary are at most some edits away from one: rows of the table are shared by words that begin alike. */

export interface Near {
  readonly term: string
  readonly edits: number
}

/** Levenshtein distance over code points. `terms` that stand beside each other and begin alike are cheap. */
export const near = (word: string, most: number, terms: Iterable<string>): ReadonlyArray<Near> => {
  const wanted = Array.from(word)
  const rows: Array<ReadonlyArray<number>> = [Array.from({ length: wanted.length + 1 }, (_, i) => i)]
  const found: Array<Near> = []
  let before: ReadonlyArray<string> = []
  for (const term of terms) {
    const letters = Array.from(term)
    let depth = 0
    while (depth < letters.length && depth < rows.length - 1 && letters[depth] === before[depth]) depth += 1
    rows.length = depth + 1
    before = letters
    // A row whose least number is too large: nothing that begins so is near.
    while (rows.length <= letters.length && Math.min(...rows.at(-1)!) <= most) {
      const above = rows.at(-1)!
      const letter = letters[rows.length - 1]
      const row = [rows.length]
      for (let i = 1; i <= wanted.length; i++) {
        row.push(Math.min(row[i - 1]! + 1, above[i]! + 1, above[i - 1]! + (wanted[i - 1] === letter ? 0 : 1)))
      }
      rows.push(row)
    }
    const edits = rows.length === letters.length + 1 ? rows.at(-1)!.at(-1)! : Number.POSITIVE_INFINITY
    if (edits <= most) found.push({ term, edits })
  }
  return found
}
