/** The words of a line, as a shell has them: quotes, and backslashes before what is meant as it is. Pure. */
export const words = (line: string): ReadonlyArray<string> | undefined => {
  const found: Array<string> = []
  let word: string | undefined
  let quote: string | undefined
  for (let i = 0; i < line.length; i++) {
    const one = line[i]!
    if (quote !== undefined) {
      if (one === quote) quote = undefined
      else if (one === "\\" && quote === '"' && i + 1 < line.length && /["\\]/.test(line[i + 1]!)) word += line[++i]!
      else word += one
    } else if (one === "'" || one === '"') {
      quote = one
      word ??= ""
    } else if (/\s/.test(one)) {
      if (word !== undefined) found.push(word)
      word = undefined
    } else {
      word ??= ""
      word += one === "\\" && i + 1 < line.length ? line[++i]! : one
    }
  }
  if (quote !== undefined) return undefined
  if (word !== undefined) found.push(word)
  return found
}
