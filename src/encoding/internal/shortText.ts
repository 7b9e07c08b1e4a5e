/**
 * Short text in few bits: a fixed prefix code over characters and common fragments, so that a name or an address needs
 * no dictionary of its own. Fragments are chosen so that the text as a whole takes the fewest bits.
 *
 * The code is canonical (D. A. Huffman 1952, E. S. Schwartz and B. Kallick 1964); the last one, all ones, never occurs,
 * so that ones can fill the last byte, as in HPACK (RFC 7541, section 5.2).
 */
import { symbolsByLength } from "./shortTextTable.ts"

interface Code {
  readonly symbol: string
  readonly bits: number
  readonly code: number
}

const rawSymbol = "\0raw"
const endSymbol = "\0end"

const codes: ReadonlyArray<Code> = (() => {
  const all: Array<Code> = []
  let code = 0
  let previous = 0
  for (const [bits, symbols] of symbolsByLength) {
    for (const symbol of symbols) {
      code <<= bits - previous
      previous = bits
      all.push({ symbol, bits, code })
      code += 1
    }
  }
  return all
})()

const bySymbol = new Map(codes.map((code) => [code.symbol, code]))
const raw = bySymbol.get(rawSymbol)!
const longestCode = 15

/** Fragments by their first character, the longest first. */
const fragments = new Map<string, Array<Code>>()
for (const code of codes) {
  if (code.symbol === rawSymbol || code.symbol === endSymbol) continue
  const first = code.symbol[0]!
  fragments.set(first, [...(fragments.get(first) ?? []), code])
}
for (const list of fragments.values()) list.sort((a, b) => b.symbol.length - a.symbol.length)

/** Symbols by the first bits of what follows, as many as the longest code has. */
const bySuffix: Array<Code> = (() => {
  const table: Array<Code> = []
  for (const code of codes) {
    const free = longestCode - code.bits
    for (let i = 0; i < 1 << free; i++) table[(code.code << free) | i] = code
  }
  return table
})()

/** Longer texts are better served by saying it plainly: the search for the best parts takes time for each character. */
const longestText = 16_384

/** The packed bytes of a text of ASCII, or `undefined` when they would not be fewer. */
export const encode = (text: string): Uint8Array | undefined => {
  const size = text.length
  if (size === 0 || size > longestText) return undefined
  const cost = new Uint32Array(size + 1)
  const choice: Array<Code | undefined> = []
  // From the end, so that the choices can be followed from the beginning.
  for (let i = size - 1; i >= 0; i--) {
    let best = raw.bits + 8 + cost[i + 1]!
    let chosen: Code | undefined
    const candidates = fragments.get(text[i]!)
    if (candidates !== undefined) {
      for (const candidate of candidates) {
        const length = candidate.symbol.length
        if (length > 1 && !text.startsWith(candidate.symbol, i)) continue
        const bits = candidate.bits + cost[i + length]!
        if (bits < best) {
          best = bits
          chosen = candidate
        }
      }
    } else if (text.charCodeAt(i) > 127) return undefined
    cost[i] = best
    choice[i] = chosen
  }
  const length = Math.ceil(cost[0]! / 8)
  if (length >= size) return undefined
  const bytes = new Uint8Array(length)
  let at = 0
  let pending = 0
  let held = 0
  const put = (value: number, bits: number): void => {
    pending = (pending << bits) | value
    held += bits
    while (held >= 8) {
      held -= 8
      bytes[at++] = (pending >> held) & 0xff
    }
    pending &= (1 << held) - 1
  }
  for (let i = 0; i < size;) {
    const chosen = choice[i]
    if (chosen === undefined) {
      put(raw.code, raw.bits)
      put(text.charCodeAt(i), 8)
      i += 1
    } else {
      put(chosen.code, chosen.bits)
      i += chosen.symbol.length
    }
  }
  if (held > 0) bytes[at] = ((pending << (8 - held)) | ((1 << (8 - held)) - 1)) & 0xff
  return bytes
}

/** `undefined` for bytes that `encode` does not make. */
export const decode = (bytes: Uint8Array): string | undefined => {
  const total = bytes.length * 8
  let text = ""
  let position = 0
  const peek = (bits: number): number => {
    let value = 0
    const start = position >> 3
    // Four bytes hold fifteen bits at any offset; beyond the end are ones.
    for (let i = 0; i < 4; i++) value = (value << 8) | (bytes[start + i] ?? 0xff)
    return (value >>> (32 - bits - (position & 7))) & ((1 << bits) - 1)
  }
  while (position < total) {
    const found = bySuffix[peek(longestCode)]!
    if (found.symbol === endSymbol || position + found.bits > total) {
      const rest = total - position
      return rest < 8 && peek(rest) === (1 << rest) - 1 ? text : undefined
    }
    position += found.bits
    if (found.symbol === rawSymbol) {
      if (position + 8 > total) return undefined
      text += String.fromCharCode(peek(8))
      position += 8
    } else text += found.symbol
  }
  return text
}
