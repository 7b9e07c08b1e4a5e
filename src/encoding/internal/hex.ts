/** Bytes as lower-case hexadecimal digits. */

const nibbles = new Int8Array(128).fill(-1)
for (let i = 0; i < 16; i++) nibbles[i.toString(16).charCodeAt(0)] = i

/** The two digits of each byte. */
export const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Reads pairs of digits; a character before a pair that is `mark` is passed over. `undefined`: there are others. */
export const hexBytes = (hex: string, mark = 0): Uint8Array | undefined => {
  const bytes = new Uint8Array(mark === 0 ? hex.length >> 1 : hexDigits(hex, mark) >> 1)
  let at = 0
  for (let i = 0; i < bytes.length; i++) {
    if (hex.charCodeAt(at) === mark) at += 1
    const value = ((nibbles[hex.charCodeAt(at)] ?? -1) << 4) | (nibbles[hex.charCodeAt(at + 1)] ?? -1)
    if (value < 0) return undefined
    bytes[i] = value
    at += 2
  }
  return at === hex.length ? bytes : undefined
}

const hexDigits = (hex: string, mark: number): number => {
  let count = 0
  for (let i = 0; i < hex.length; i++) if (hex.charCodeAt(i) !== mark) count += 1
  return count
}

/** Writes bytes as digits. */
export const toHex = (bytes: Uint8Array): string => {
  let hex = ""
  for (const byte of bytes) hex += hexOfByte[byte]
  return hex
}
