/**
 * Text as a value that any HTTP header carries unchanged, still readable: printable ASCII stays as it is, a few common
 * texts have short names, everything else is escaped.
 */
import { decodeBase64, encodeBase64 } from "../../internal/base64.ts"

// Text that a header would change (outer or doubled spaces, RFC 2047 words), that is not printable ASCII, or that looks
// like one of the marked forms, has to be escaped.
const unsafeText = /[^\x20-\x7e]|^ | $| {2}|^[a-z]:|^=\?|^$/

const contentTypes: ReadonlyArray<readonly [text: string, code: string]> = [
  ["application/json", "j"],
  ["application/xml", "X"],
  ["application/ld+json", "J"],
  ["text/html", "H"],
  ["text/plain", "T"],
  ["text/css", "C"],
  ["text/javascript", "V"],
  ["text/csv", "v"],
  ["image/png", "P"],
  ["image/jpeg", "I"],
  ["image/gif", "G"],
  ["image/svg+xml", "S"],
  ["image/webp", "W"],
  ["application/pdf", "Q"],
  ["application/zip", "z"],
  ["application/octet-stream", "o"],
  ["application/x-www-form-urlencoded", "u"],
  ["multipart/form-data", "F"],
  ["font/woff", "w"],
  ["font/woff2", "2"]
]

const states: ReadonlyArray<readonly [text: string, code: string]> = [
  ["processing", "p"],
  ["completed", "c"],
  ["succeeded", "s"],
  ["failed", "f"],
  ["cancelled", "x"],
  ["timeout", "t"],
  ["retrying", "r"],
  ["authorized", "a"],
  ["captured", "K"],
  ["refunded", "R"],
  ["declined", "d"],
  ["shipped", "h"],
  ["delivered", "D"],
  ["returned", "e"],
  ["in_transit", "i"],
  ["initialized", "n"],
  ["terminated", "m"]
]

/** Longest first, so that the first that fits saves the most. */
const prefixes: ReadonlyArray<readonly [text: string, code: string]> = [
  ["https://api.example.com/", "A"],
  ["https://s3.amazonaws.com/", "s"],
  ["http://localhost:", "L"],
  ["https://www.", "W"],
  ["https://api.", "H"],
  ["http://localhost", "l"],
  ["https://s3-", "S"],
  ["/products/", "p"],
  ["https://", "h"],
  ["/api/v1/", "1"],
  ["/api/v2/", "2"],
  ["/api/v3/", "3"],
  ["http://", "t"],
  ["/users/", "u"],
  ["/api/", "a"],
  ["/v1/", "v"]
]

const codeOf = new Map([...contentTypes, ...states])
const textOf = new Map([...contentTypes, ...states].map(([text, code]) => [code, text]))
const prefixOf = new Map(prefixes.map(([text, code]) => [code, text]))

const shortened = (text: string): string | undefined => {
  const code = codeOf.get(text)
  if (code !== undefined) return `d:${code}`
  const first = text.charCodeAt(0)
  if (first !== 0x2f /* / */ && first !== 0x68 /* h */) return undefined
  for (const [prefix, mark] of prefixes) {
    if (prefix.length > 4 && text.startsWith(prefix)) return `d:@${mark}${text.slice(prefix.length)}`
  }
  return undefined
}

export const encode = (text: string): string => {
  if (!unsafeText.test(text)) return shortened(text) ?? text
  if (!text.isWellFormed()) return `w:${encodeBase64(utf16(text))}`
  const base64 = `b:${encodeBase64(new TextEncoder().encode(text))}`
  const percent = `u:${percentEscape(text)}`
  // Readable text is worth a few bytes, not many.
  return percent.length <= base64.length * 1.25 ? percent : base64
}

const percentEscape = (text: string): string =>
  text.replace(/[^\x21-\x24\x26-\x7e]+/g, (run) => (run === " " ? run : encodeURIComponent(run))).replace(/ $/, "%20")

/** `undefined` for text that `encode` does not make. */
export const decode = (text: string): string | undefined => {
  if (text.charCodeAt(1) !== 0x3a /* : */ || !/^[a-z]/.test(text)) return text
  const rest = text.slice(2)
  switch (text[0]) {
    case "d": {
      if (!rest.startsWith("@")) return textOf.get(rest)
      const prefix = prefixOf.get(rest[1] ?? "")
      return prefix === undefined ? undefined : prefix + rest.slice(2)
    }
    case "u":
      try {
        return decodeURIComponent(rest)
      } catch {
        return undefined
      }
    case "b": {
      const bytes = decodeBase64(rest)
      return bytes === undefined ? undefined : fromUtf8(bytes)
    }
    case "w": {
      const bytes = decodeBase64(rest)
      return bytes === undefined || bytes.length % 2 !== 0 ? undefined : fromUtf16(bytes)
    }
    default:
      return undefined
  }
}

export const fromUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
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
