/** Text as bytes: sizes, order and percent-encoding, without a dependency on a platform. */

const encoder = new TextEncoder()

/** What is encoded here is counted alone. */
const scratch = new Uint8Array(8192)

/** A longer text is counted faster by the engine than unit by unit. */
const shortText = 24

/** UTF-8 bytes of a string; a lone surrogate counts as the three bytes of its replacement. */
export const utf8Length = (text: string): number => {
  if (text.length <= shortText) return unitByUnit(text)
  let bytes = 0
  for (let rest = text; ;) {
    const { read, written } = encoder.encodeInto(rest, scratch)
    bytes += written
    if (read === rest.length) return bytes
    rest = rest.slice(read)
  }
}

const unitByUnit = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (unit >= 0xd800 && unit <= 0xdbff && i + 1 < text.length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2
      i += 1
    } else bytes += 2
  }
  return bytes
}

/**
 * Orders strings by code points, which is how their UTF-8 bytes are ordered, and how S3 lists keys. A lone surrogate, which
 * UTF-8 has not, is the code point of its number: after U+D7FF, before U+E000. UTF-16 order differs where surrogates meet
 * the code points U+E000 to U+FFFF.
 */
export const compareUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    if (x < 0xd800 || y < 0xd800) return x - y
    // The second half of a pair on one side at least: the first half is the same on both, and alone on the other.
    const isSecond = (isLow(x) || isLow(y)) && i > 0 && isHigh(a.charCodeAt(i - 1))
    const at = isSecond ? i - 1 : i
    return a.codePointAt(at)! - b.codePointAt(at)!
  }
  return a.length - b.length
}

const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800

const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00

/** RFC 3986: everything but unreserved characters as `%XX`. Throws `URIError` on a lone surrogate. */
export const percentEncode = (text: string): string =>
  unreserved.test(text)
    ? text
    : encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** The text that `percentEncode` makes this of; `undefined` when it makes it of none, as of `%zz`, `%61` or `a b`. */
export const percentDecode = (encoded: string): string | undefined => {
  if (unreserved.test(encoded)) return encoded
  try {
    const text = decodeURIComponent(encoded)
    return percentEncode(text) === encoded ? text : undefined
  } catch {
    return undefined
  }
}

const unreserved = /^[\w.~-]*$/
