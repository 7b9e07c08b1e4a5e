/**
 * What a store in memory keeps of a body. An array of bytes takes 200 bytes beside its own, so that a short body, such as the system parts of
 * a document, is kept as a text of one byte for each character.
 */

export type MemoryBody = Uint8Array | string

/** Bodies of at most so many bytes become texts: longer ones are not made and read in the time that a copy takes. */
const longestText = 64

/** A copy, which nobody else holds. */
export const keep = (bytes: Uint8Array | undefined): MemoryBody => {
  if (bytes === undefined || bytes.length === 0) return ""
  // Spread, they would be taken one by one through an iterator.
  return bytes.length > longestText ? new Uint8Array(bytes) : Reflect.apply(String.fromCharCode, undefined, bytes)
}

/** A copy of it, or of the bytes from one to before another. */
export const copyOf = (body: MemoryBody, start = 0, end: number = body.length): Uint8Array<ArrayBuffer> => {
  if (typeof body !== "string") return new Uint8Array(body.subarray(start, end))
  const bytes = new Uint8Array(end - start)
  for (let i = 0; i < bytes.length; i++) bytes[i] = body.charCodeAt(start + i)
  return bytes
}
