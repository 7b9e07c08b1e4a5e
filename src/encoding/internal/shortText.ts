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

/** Fragments as a tree of characters: of each node, its children by character, and the fragment that ends there. */
const width = 128
const children: Array<Int32Array> = [new Int32Array(width)]
const ends: Array<Code | undefined> = [undefined]
for (const code of codes) {
  if (code.symbol === rawSymbol || code.symbol === endSymbol) continue
  let node = 0
  for (let i = 0; i < code.symbol.length; i++) {
    const unit = code.symbol.charCodeAt(i)
    let next = children[node]![unit]!
    if (next === 0) {
      next = children.length
      children[node]![unit] = next
      children.push(new Int32Array(width))
      ends.push(undefined)
    }
    node = next
  }
  ends[node] = code
}

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

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const beyondAscii = /[^\0-\x7f]/

/** The UTF-8 bytes of a text as characters. */
const asBytes = (text: string): string => {
  let bytes = ""
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte)
  return bytes
}

const fromBytes = (bytes: string): string | undefined => {
  try {
    return decoder.decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)))
  } catch {
    return undefined
  }
}

/** The packed bytes of a text, or `undefined` when they would not be fewer than in UTF-8. */
export const encode = (text: string): Uint8Array | undefined => {
  if (!beyondAscii.test(text)) return pack(text)
  return text.isWellFormed() ? pack(asBytes(text)) : undefined
}

let cost = new Uint32Array(256)
let choice: Array<Code | undefined> = []

const pack = (text: string): Uint8Array | undefined => {
  const size = text.length
  if (size === 0 || size > longestText) return undefined
  if (cost.length <= size) {
    cost = new Uint32Array(size * 2)
    choice = []
  }
  cost[size] = 0
  // From the end, so that the choices can be followed from the beginning.
  for (let i = size - 1; i >= 0; i--) {
    let best = raw.bits + 8 + cost[i + 1]!
    let chosen: Code | undefined
    for (let node = 0, at = i; at < size;) {
      const unit = text.charCodeAt(at++)
      node = unit < width ? children[node]![unit]! : 0
      if (node === 0) break
      const end = ends[node]
      if (end === undefined) continue
      const bits = end.bits + cost[at]!
      if (bits < best) {
        best = bits
        chosen = end
      }
    }
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
  const text = unpack(bytes)
  return text !== undefined && beyondAscii.test(text) ? fromBytes(text) : text
}

const unpack = (bytes: Uint8Array): string | undefined => {
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
