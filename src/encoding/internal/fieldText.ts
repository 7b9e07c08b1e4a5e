/** The readable form of a single value: ASCII that any HTTP header carries unchanged. */
import { decodeBase64, encodeBase64 } from "../../internal/base64.ts"
import type { Codec } from "../../schema/Attributes.ts"
import * as base62 from "./base62.ts"
import { type FieldProblem, type Json, type JsonObject, stringifyExact } from "../Json.ts"

const nullText = "n:"
const emptyStruct = "1"

/** The text of a value, or what is wrong with it. `undefined` never reaches this. */
export const encode = (codec: Codec, value: Json): string | FieldProblem => {
  if (value === null) return nullText
  switch (codec) {
    case "string":
      return typeof value === "string" ? encodeString(value) : mismatch(codec)
    case "number":
      if (typeof value === "number") return encodeNumber(value)
      return typeof value === "string" && notFinite.has(value) ? `+${value}` : mismatch(codec)
    case "boolean":
      return typeof value === "boolean" ? (value ? "1" : "0") : mismatch(codec)
    case "date":
      return typeof value === "string" ? encodeDate(value) : mismatch(codec)
    case "struct":
      return emptyStruct
    case "json": {
      const json = stringifyExact(value)
      return typeof json === "string" ? encodeString(json) : json
    }
  }
}

/** The value of a text, or `undefined` when no value of this codec has such a text. */
export const decode = (codec: Codec, text: string): Json | undefined => {
  if (text === nullText) return null
  switch (codec) {
    case "string":
      return decodeString(text)
    case "number":
      return decodeNumber(text)
    case "boolean":
      return text === "1" ? true : text === "0" ? false : undefined
    case "date":
      return decodeDate(text)
    case "struct":
      return text === emptyStruct ? ({} as JsonObject) : undefined
    case "json": {
      const json = decodeString(text)
      return json === undefined ? undefined : parseJson(json)
    }
  }
}

const mismatch = (codec: Codec): FieldProblem => ({ path: [], message: `Expected the encoded form of a ${codec}` })

const parseJson = (text: string): Json | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Text that a header would change (outer or doubled spaces, RFC 2047 words), that is not printable ASCII, or that looks
// like one of the escaped forms, has to be escaped.
const unsafeText = /[^\x20-\x7e]|^ | $| {2}|^[a-z]:|^=\?|^$/

const encodeString = (text: string): string => {
  if (!unsafeText.test(text)) return text
  if (!text.isWellFormed()) return `w:${encodeBase64(utf16(text))}`
  const base64 = `b:${encodeBase64(new TextEncoder().encode(text))}`
  const percent = `u:${percentEscape(text)}`
  // Readable text is worth a few bytes, not many.
  return percent.length <= base64.length * 1.25 ? percent : base64
}

const percentEscape = (text: string): string =>
  text.replace(/[^\x21-\x24\x26-\x7e]+/g, (run) => (run === " " ? run : encodeURIComponent(run))).replace(/ $/, "%20")

const decodeString = (text: string): string | undefined => {
  if (text.charCodeAt(1) !== 0x3a /* : */ || !/^[a-z]/.test(text)) return text
  const rest = text.slice(2)
  switch (text[0]) {
    case "u":
      try {
        return decodeURIComponent(rest)
      } catch {
        return undefined
      }
    case "b": {
      const bytes = decodeBase64(rest)
      if (bytes === undefined) return undefined
      try {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
      } catch {
        return undefined
      }
    }
    case "w": {
      const bytes = decodeBase64(rest)
      return bytes === undefined || bytes.length % 2 !== 0 ? undefined : fromUtf16(bytes)
    }
    default:
      return undefined
  }
}

const utf16 = (text: string): Uint8Array => {
  const bytes = new Uint8Array(text.length * 2)
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    bytes[i * 2] = unit & 0xff
    bytes[i * 2 + 1] = unit >> 8
  }
  return bytes
}

const fromUtf16 = (bytes: Uint8Array): string => {
  let text = ""
  for (let i = 0; i < bytes.length; i += 2) text += String.fromCharCode(bytes[i]! | (bytes[i + 1]! << 8))
  return text
}

const notFinite = new Set(["NaN", "Infinity", "-Infinity"])

// A text of digits and letters alone is base 62; JavaScript's own notation always holds one of `.`, `+` or an inner `-`.
const encodeNumber = (value: number): string => {
  if (Number.isSafeInteger(value)) return base62.encode(value)
  const text = String(value)
  return /[.+]|.-/.test(text) ? text : `+${text}`
}

const decodeNumber = (text: string): Json | undefined => {
  if (base62.pattern.test(text)) return base62.decode(text)
  const plain = text.startsWith("+") ? text.slice(1) : text
  if (notFinite.has(plain)) return plain
  const value = Number(plain)
  return plain === "" || !Number.isFinite(value) ? undefined : value
}

const encodeDate = (iso: string): string => {
  const millis = Date.parse(iso)
  if (Number.isNaN(millis) || new Date(millis).toISOString() !== iso) return `s:${encodeString(iso)}`
  return base62.encode(millis)
}

const decodeDate = (text: string): string | undefined => {
  if (text.startsWith("s:")) return decodeString(text.slice(2))
  if (!base62.pattern.test(text)) return undefined
  const date = new Date(base62.decode(text))
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString()
}
