/** Texts that match a regular expression. Pure. */

/** A character that a class may have is looked for among these. */
const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))

/** Ends the reading of what is not known here, such as a look-ahead. */
class Unknown extends Error {
  override readonly name = "Unknown"
}

/** Most repetitions beyond those that have to be. */
const more = 3

/**
 * Makes a text that a pattern is likely to match, from `least` to `most` characters long where repetitions allow it; `undefined`: it has
 * parts that are not known here. Whoever asks tests the text.
 */
export const matching = (
  pattern: RegExp,
  draw: (below: number) => number,
  least = 0,
  most = Number.POSITIVE_INFINITY
): string | undefined => {
  const { flags, source } = pattern
  let at = 0
  const alphabet = (part: string) => {
    const one = new RegExp(`^(?:${part})$`, flags)
    const all = printable.filter((character) => one.test(character))
    // What reads well, where it is allowed.
    const plain = all.filter((character) => /[A-Za-z0-9]/.test(character))
    const chosen = plain.length > 0 ? plain : all
    if (chosen.length === 0) throw new Unknown()
    return () => chosen[draw(chosen.length)]!
  }
  type Make = () => string
  const alternatives = (): Make => {
    const all: Array<Make> = [sequence()]
    while (source[at] === "|") {
      at += 1
      all.push(sequence())
    }
    return () => all[draw(all.length)]!()
  }
  const sequence = (): Make => {
    const parts: Array<Make> = []
    while (at < source.length && source[at] !== "|" && source[at] !== ")") parts.push(quantified())
    return () => parts.map((part) => part()).join("")
  }
  const quantified = (): Make => {
    const part = atom()
    const [written, low, comma, high] = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(source.slice(at)) ?? [""]
    at += written.length
    if (written === "") return part
    const first = low === undefined ? (written.startsWith("+") ? 1 : 0) : Number(low)
    const isOpen = /^[*+]/.test(written) || (comma === "," && high === "")
    const last = isOpen
      ? Math.max(first, Math.min(Math.max(first, least) + more, most))
      : written.startsWith("?")
        ? 1
        : comma === ""
          ? first
          : Number(high)
    const from = isOpen ? Math.min(Math.max(first, least), last) : first
    return () => Array.from({ length: from + draw(Math.min(last - from, more * 4) + 1) }, part).join("")
  }
  const atom = (): Make => {
    const rest = source.slice(at)
    const taken = (length: number) => {
      at += length
      return rest.slice(0, length)
    }
    if (rest[0] === "^" || rest[0] === "$") {
      at += 1
      return () => ""
    }
    if (rest[0] === "(") {
      const opened = /^\((?:\?:|\?<[A-Za-z_]\w*>|(?!\?))/.exec(rest)
      if (opened === null) throw new Unknown()
      at += opened[0].length
      const inner = alternatives()
      at += 1
      return inner
    }
    const group = /^\[(?:\\.|[^\]\\])*\]/.exec(rest)
    if (group !== null) return alphabet(taken(group[0].length))
    if (rest[0] === "\\") {
      const escaped = /^\\(?:u\{[\da-f]+\}|u[\da-f]{4}|x[\da-f]{2}|[pP]\{[^}]*\}|.)/i.exec(rest)
      if (escaped === null || /^\\[bBk1-9]/.test(rest)) throw new Unknown()
      return alphabet(taken(escaped[0].length))
    }
    if (rest[0] === ".") return alphabet(taken(1))
    const [character] = rest
    if (character === undefined || /[*+?{]/.test(character)) throw new Unknown()
    at += 1
    return () => character
  }
  try {
    return alternatives()()
  } catch (error) {
    if (error instanceof Unknown) return undefined
    throw error
  }
}
