/** Base64 of bytes, and of text as UTF-8: by the platform where it has something for it, which long values are worth, else by Effect. */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"

/** Node's, which other runtimes have as well. */
const { Buffer: NodeBuffer } = globalThis as { readonly Buffer?: typeof Buffer }

/** To call the platform takes longer than this many bytes by hand. */
const fewBytes = 24

const viewOf = (buffer: typeof Buffer, { buffer: memory, byteLength, byteOffset }: Uint8Array): Buffer =>
  buffer.from(memory, byteOffset, byteLength)

export const encodeBase64 = (bytes: Uint8Array): string =>
  NodeBuffer === undefined || bytes.length <= fewBytes
    ? Base64.encode(bytes)
    : viewOf(NodeBuffer, bytes).toString("base64")

/** `undefined` when the text is no base64. */
export const decodeBase64 = (text: string): Uint8Array | undefined => {
  const usual = NodeBuffer === undefined ? undefined : decodeUsual(NodeBuffer, text)
  if (usual !== undefined) return usual
  const result = Base64.decode(text)
  return Result.isSuccess(result) ? result.success : undefined
}

/** The platform passes over what is no base64: what it reads has to be written as the text is. */
const decodeUsual = (buffer: typeof Buffer, text: string): Uint8Array | undefined => {
  const { length } = text
  if (length % 4 !== 0 || (length * 3) / 4 <= fewBytes) return undefined
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0
  const bytes = new Uint8Array((length * 3) / 4 - padding)
  const view = viewOf(buffer, bytes)
  return view.write(text, "base64") === bytes.length && view.toString("base64") === text ? bytes : undefined
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** What is here is read before anything else is put here. */
const scratch = NodeBuffer?.from(new ArrayBuffer(8192))

/** Of text that is valid Unicode. */
export const textToBase64 = (text: string): string => {
  // At most three bytes for each unit of UTF-16.
  if (scratch === undefined || text.length * 3 > scratch.length) return encodeBase64(encoder.encode(text))
  const { written } = encoder.encodeInto(text, scratch)
  return scratch.toString("base64", 0, written)
}

/** `undefined` when it is no base64, or not of UTF-8. */
export const textFromBase64 = (base64: string): string | undefined => {
  const usual = usualText(base64)
  if (usual !== undefined) return usual
  const bytes = decodeBase64(base64)
  try {
    return bytes === undefined ? undefined : decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** The base 64 of a byte order mark, which not every platform leaves at the beginning of a text. */
const mark = "77u/"

const usualText = (base64: string): string | undefined => {
  if (scratch === undefined || base64.length > scratch.length || base64.startsWith(mark)) return undefined
  const size = scratch.write(base64, "base64")
  if (scratch.toString("base64", 0, size) !== base64) return undefined
  const text = scratch.toString("utf8", 0, size)
  // What stands for bytes that are none of UTF-8, or for itself.
  return text.includes("\ufffd") ? undefined : text
}
