/** Texts, and JSON as text. */
import { type Json, stringifyExact } from "../../Json.ts"
import * as base64url from "../base64url.ts"
import type { Reader, Writer } from "../bytes.ts"
import { Malformed } from "../bytes.ts"
import { hexBytes, toHex } from "../hex.ts"
import * as plainText from "../plainText.ts"
import * as shortText from "../shortText.ts"
import { forText, type ValueCodec } from "./codec.ts"

/** How the bytes of a text are to be read, in the two low bits of their number. */
const utf8Bytes = 0
const packedBytes = 1
const sixBits = 2
const fourBits = 3

const isIdentifier = /^[A-Za-z0-9_-]+$/
const isHex = /^[0-9a-f]+$/
const encoder = new TextEncoder()

/** Writes a text in whichever way takes the fewest bytes; `false` for text that is no valid Unicode. */
export const writeText = (writer: Writer, text: string): boolean => {
  const put = (kind: number, bytes: Uint8Array): boolean => {
    writer.uint(bytes.length * 4 + kind)
    writer.bytes(bytes)
    return true
  }
  const packed = shortText.encode(text)
  const packedSize = packed?.length ?? text.length
  if (text.length > 3 && packedSize > text.length / 2) {
    // Digits of hexadecimal numbers go in pairs, other identifiers four characters to three bytes.
    if (text.length % 2 === 0 && isHex.test(text)) return put(fourBits, hexBytes(text)!)
    if (text.length % 4 !== 1 && packedSize > (text.length * 3) / 4 && isIdentifier.test(text)) {
      const bytes = base64url.decode(text)
      if (bytes !== undefined) return put(sixBits, bytes)
    }
  }
  if (packed !== undefined) return put(packedBytes, packed)
  return text.isWellFormed() && put(utf8Bytes, encoder.encode(text))
}

/** Reads a text that `writeText` wrote. */
export const readText = (reader: Reader): string => {
  const head = reader.uint()
  const bytes = reader.bytes(Math.floor(head / 4))
  const text = readBytes(head % 4, bytes)
  if (text === undefined) throw new Malformed()
  return text
}

const readBytes = (kind: number, bytes: Uint8Array): string | undefined => {
  switch (kind) {
    case packedBytes:
      return shortText.decode(bytes)
    case sixBits:
      return base64url.encode(bytes)
    case fourBits:
      return toHex(bytes)
    default:
      return plainText.fromUtf8(bytes)
  }
}

/** Texts of any kind. */
export const string = forText({
  toText: plainText.encode,
  fromText: plainText.decode,
  write: writeText,
  read: readText
})

/** Parses JSON; `undefined` for what is none. */
export const parseJson = (text: string): Json | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const jsonText = (value: Json): string | undefined => {
  const text = stringifyExact(value)
  return typeof text === "string" ? text : undefined
}

/** Any value, as exact JSON. */
export const json: ValueCodec = {
  toText: (value) => {
    const text = jsonText(value)
    return text === undefined ? undefined : plainText.encode(text)
  },
  fromText: (text) => {
    const plain = plainText.decode(text)
    return plain === undefined ? undefined : parseJson(plain)
  },
  write: (writer, value) => {
    const text = jsonText(value)
    return text !== undefined && writeText(writer, text)
  },
  read: (reader) => {
    const value = parseJson(readText(reader))
    if (value === undefined) throw new Malformed()
    return value
  }
}
