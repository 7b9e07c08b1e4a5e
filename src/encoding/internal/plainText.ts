/**
 * Text as a value that any HTTP header carries unchanged, still readable: printable ASCII stays as it is, a few common
 * texts have short names, everything else is escaped.
 */
import { decodeBase64, encodeBase64, textFromBase64, textToBase64 } from "../../internal/base64.ts"

/**
 * Text that needs no escape. Text that a header would change (outer or doubled spaces, encoded words of RFC 2047), that is
 * not printable ASCII, or that looks like one of the marked forms, needs one.
 */
const isPlain = (text: string): boolean => {
  const { length } = text
  if (length === 0) return false
  let previous = 0x20
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || unit > 0x7e || (unit === 0x20 && previous === 0x20)) return false
    previous = unit
  }
  if (previous === 0x20) return false
  const first = text.charCodeAt(0)
  if (text.charCodeAt(1) === 0x3a /* : */) return first < 0x61 || first > 0x7a
  return first !== 0x3d /* = */ || text.charCodeAt(1) !== 0x3f /* ? */
}

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
  if (isPlain(text)) return shortened(text) ?? text
  const { percent: percentBytes, utf8 } = sizesOf(text)
  if (percentBytes === undefined) return `w:${encodeBase64(utf16(text))}`
  // Readable text is worth a few bytes, not many.
  const base64Bytes = Math.ceil(utf8 / 3) * 4
  if (2 + percentBytes <= (2 + base64Bytes) * 1.25) return `u:${percentEscape(text)}`
  return `b:${textToBase64(text)}`
}

/** Characters that stay as they are under `u:`: printable ASCII but the percent sign; spaces inside, one at a time. */
const isKept = (text: string, at: number): boolean => {
  const unit = text.charCodeAt(at)
  if (unit !== 0x20) return unit > 0x20 && unit < 0x7f && unit !== 0x25
  return at < text.length - 1 && text.charCodeAt(at + 1) !== 0x20 && (at === 0 || text.charCodeAt(at - 1) !== 0x20)
}

/** The bytes of a text: escaped, which is `undefined` for what is no valid Unicode, and in UTF-8. */
const sizesOf = (text: string): { readonly percent: number | undefined; readonly utf8: number } => {
  let percent = 0
  let utf8 = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) {
      percent += isKept(text, i) ? 1 : 3
      utf8 += 1
    } else if (unit < 0x800) {
      percent += 6
      utf8 += 2
    } else if (unit < 0xd800 || unit > 0xdfff) {
      percent += 9
      utf8 += 3
    } else {
      const next = text.charCodeAt(i + 1)
      if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return { percent: undefined, utf8: 0 }
      percent += 12
      utf8 += 4
      i += 1
    }
  }
  return { percent, utf8 }
}

/** Of text that is valid Unicode. */
const percentEscape = (text: string): string => {
  let escaped = ""
  let from = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80 && isKept(text, i)) continue
    escaped += text.slice(from, i)
    if (unit < 0x80) escaped += percentOf[unit]!
    else if (unit < 0x800) escaped += percentOf[0xc0 | (unit >> 6)]! + percentOf[0x80 | (unit & 63)]!
    else if (unit < 0xd800 || unit > 0xdfff) {
      escaped +=
        percentOf[0xe0 | (unit >> 12)]! + percentOf[0x80 | ((unit >> 6) & 63)]! + percentOf[0x80 | (unit & 63)]!
    } else {
      escaped += encodeURIComponent(text.slice(i, i + 2))
      i += 1
    }
    from = i + 1
  }
  return escaped + text.slice(from)
}

/** Of each byte. */
const percentOf = Array.from({ length: 256 }, (_, unit) => `%${unit.toString(16).toUpperCase().padStart(2, "0")}`)

/** `undefined` for text that `encode` does not make. */
export const decode = (text: string): string | undefined => {
  if (text.charCodeAt(1) !== 0x3a /* : */) return text
  const first = text.charCodeAt(0)
  if (first < 0x61 || first > 0x7a) return text
  const rest = text.slice(2)
  switch (text[0]) {
    case "d": {
      if (!rest.startsWith("@")) return textOf.get(rest)
      const prefix = prefixOf.get(rest[1] ?? "")
      return prefix === undefined ? undefined : prefix + rest.slice(2)
    }
    case "u":
      return percentUnescape(rest)
    case "b":
      return textFromBase64(rest)
    case "w": {
      const bytes = decodeBase64(rest)
      return bytes === undefined || bytes.length % 2 !== 0 ? undefined : fromUtf16(bytes)
    }
    default:
      return undefined
  }
}

const hexDigit = (text: string, at: number): number => {
  const unit = text.charCodeAt(at)
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30
  return unit >= 0x41 && unit <= 0x46 ? unit - 0x37 : -0x1000
}

const byteAt = (text: string, at: number): number =>
  text.charCodeAt(at) === 0x25 ? hexDigit(text, at + 1) * 16 + hexDigit(text, at + 2) : -1

/** Characters of one and two bytes by hand, the rest by the platform, which takes longer to begin with. */
const percentUnescape = (text: string): string | undefined => {
  let plain = ""
  let from = 0
  for (let i = text.indexOf("%"); i >= 0; i = text.indexOf("%", from)) {
    plain += text.slice(from, i)
    const lead = byteAt(text, i)
    if (lead >= 0 && lead < 0x80) {
      plain += String.fromCharCode(lead)
      from = i + 3
    } else {
      const next = lead >= 0xc2 && lead < 0xe0 ? byteAt(text, i + 3) : -1
      if (next < 0x80 || next > 0xbf) return percentUnescapeAll(text)
      plain += String.fromCharCode(((lead & 0x1f) << 6) | (next & 0x3f))
      from = i + 6
    }
  }
  return plain + text.slice(from)
}

const percentUnescapeAll = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export const fromUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
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
