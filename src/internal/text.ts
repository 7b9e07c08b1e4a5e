/** Text as bytes: sizes, order and percent-encoding, without a dependency on a platform. */

/** UTF-8 bytes of a string; a lone surrogate counts as the three bytes of its replacement. */
export const utf8Length = (text: string): number => {
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
 * Orders strings as their UTF-8 bytes are ordered, which is how S3 lists keys. UTF-16 order differs where surrogates
 * meet the code points U+E000 to U+FFFF.
 */
export const compareUtf8 = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000
    }
    return x - y
  }
  return a.length - b.length
}

/** RFC 3986: everything but unreserved characters as `%XX`. Throws `URIError` on a lone surrogate. */
export const percentEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

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
