/** Bytes put together and compared. */

export const concatBytes = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => joinBytes(parts)

/** The same of any number of parts. */
export const joinBytes = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index])
