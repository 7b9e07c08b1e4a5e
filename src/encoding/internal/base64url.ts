/** Base64 without padding (RFC 4648), for values of a few bytes: with the URL-safe alphabet, or the standard one. */

interface Base64 {
  readonly encode: (bytes: Uint8Array) => string
  /** `undefined` for text that `encode` does not make. */
  readonly decode: (text: string) => Uint8Array | undefined
}

const make = (alphabet: string): Base64 => {
  // Two characters for each twelve bits.
  const pairs = Array.from({ length: 4096 }, (_, bits) => alphabet[bits >> 6]! + alphabet[bits & 63]!)
  const values = new Int8Array(128).fill(-1)
  for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i
  const valueAt = (text: string, at: number): number => values[text.charCodeAt(at)] ?? -1
  return {
    encode(bytes) {
      const { length } = bytes
      let text = ""
      let i = 0
      for (; i + 2 < length; i += 3) {
        const bits = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!
        text += pairs[bits >> 12]! + pairs[bits & 4095]!
      }
      if (length - i === 1) return text + pairs[bytes[i]! << 4]!
      if (length - i === 2) {
        const bits = (bytes[i]! << 10) | (bytes[i + 1]! << 2)
        return text + pairs[bits >> 6]! + alphabet[bits & 63]!
      }
      return text
    },
    decode(text) {
      const { length } = text
      const rest = length % 4
      if (rest === 1) return undefined
      const bytes = new Uint8Array((length * 3) >> 2)
      let at = 0
      let i = 0
      for (; i + 3 < length; i += 4) {
        const bits =
          (valueAt(text, i) << 18) | (valueAt(text, i + 1) << 12) | (valueAt(text, i + 2) << 6) | valueAt(text, i + 3)
        if (bits < 0) return undefined
        bytes[at++] = bits >> 16
        bytes[at++] = (bits >> 8) & 0xff
        bytes[at++] = bits & 0xff
      }
      if (rest === 0) return bytes
      // Bits that are left over have to be 0.
      const bits = (valueAt(text, i) << 12) | (valueAt(text, i + 1) << 6) | (rest === 3 ? valueAt(text, i + 2) : 0)
      if (bits < 0 || (bits & (rest === 2 ? 0x3ff : 3)) !== 0) return undefined
      bytes[at++] = bits >> 10
      if (rest === 3) bytes[at] = (bits >> 2) & 0xff
      return bytes
    }
  }
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

export const { encode, decode } = make(`${letters}-_`)

export const standard = make(`${letters}+/`)
