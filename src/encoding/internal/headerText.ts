/**
 * Bytes as text of 91 printable characters, 13 bits in each two of them: 1.23 characters for a byte.
 *
 * The characters are all of printable ASCII but the space (which headers trim), `"`, `\` and `=` (which quoting and
 * encoded words of RFC 2047 use). The scheme is that of basE91 (J. Henke) with a fixed 13 bits, so that the size
 * follows from the number of bytes alone.
 */
import { lazy } from "../../internal/lazily.ts"

const alphabet = Array.from({ length: 94 }, (_, index) => String.fromCharCode(index + 33))
  .filter((character) => !'"\\='.includes(character))
  .join("")

const values = new Int8Array(128).fill(-1)
for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i

/** The two characters of each 13 bits. */
const pairs = lazy(() => Array.from({ length: 8192 }, (_, i) => alphabet[Math.floor(i / 91)]! + alphabet[i % 91]!))

/** Characters that so many bytes take. */
export const sizeOf = (bytes: number): number => {
  const bits = bytes * 8
  const rest = bits % 13
  return Math.floor(bits / 13) * 2 + (rest === 0 ? 0 : rest <= 6 ? 1 : 2)
}

/** How many bytes fit into so many characters. */
export const capacityOf = (characters: number): number => {
  let bytes = Math.floor((characters * 13) / 16) + 1
  while (bytes > 0 && sizeOf(bytes) > characters) bytes -= 1
  return bytes
}

export const encode = (bytes: Uint8Array): string => {
  const first = pairs()
  let text = ""
  let pending = 0
  let bits = 0
  for (let i = 0; i < bytes.length; i++) {
    pending |= bytes[i]! << bits
    bits += 8
    if (bits >= 13) {
      text += first[pending & 8191]
      pending >>= 13
      bits -= 13
    }
  }
  if (bits === 0) return text
  return text + (bits <= 6 ? alphabet[pending]! : first[pending]!)
}

/** `undefined` for text that `encode` does not make. */
export const decode = (text: string): Uint8Array | undefined => {
  const pairs = Math.floor(text.length / 2)
  const single = text.length % 2
  const bits = pairs * 13 + single * 6
  const size = Math.floor(bits / 8)
  const bytes = new Uint8Array(size)
  let at = 0
  let pending = 0
  let held = 0
  for (let i = 0; i < text.length; i += 2) {
    const low = values[text.charCodeAt(i)] ?? -1
    const last = i + 1 === text.length
    const high = last ? 0 : (values[text.charCodeAt(i + 1)] ?? -1)
    const value = last ? low : low * 91 + high
    if (low < 0 || high < 0 || value >= (last ? 64 : 8192)) return undefined
    pending |= value << held
    held += last ? 6 : 13
    while (held >= 8 && at < size) {
      bytes[at++] = pending & 0xff
      pending >>= 8
      held -= 8
    }
  }
  return pending === 0 && sizeOf(size) === text.length ? bytes : undefined
}
