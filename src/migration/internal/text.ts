/** The texts of s3db.js in metadata: as they are, percent-encoded, in base 64, or by the code of a common one. */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"

const words: Readonly<Record<string, string>> = {
  j: "application/json",
  X: "application/xml",
  J: "application/ld+json",
  H: "text/html",
  T: "text/plain",
  C: "text/css",
  V: "application/javascript",
  v: "text/csv",
  P: "image/png",
  I: "image/jpeg",
  G: "image/gif",
  S: "image/svg+xml",
  W: "image/webp",
  Q: "application/pdf",
  z: "application/zip",
  o: "application/octet-stream",
  u: "application/x-www-form-urlencoded",
  F: "multipart/form-data",
  w: "font/woff",
  p: "processing",
  c: "completed",
  s: "succeeded",
  // It stands for `font/woff2` as well: the original itself reads it as this.
  f: "failed",
  x: "cancelled",
  t: "timeout",
  r: "retrying",
  a: "authorized",
  K: "captured",
  R: "refunded",
  d: "declined",
  h: "shipped",
  D: "delivered",
  e: "returned",
  i: "in_transit",
  n: "initialized",
  m: "terminated"
}

const prefixes: Readonly<Record<string, string>> = {
  "@1": "/api/v1/",
  "@2": "/api/v2/",
  "@3": "/api/v3/",
  "@a": "/api/",
  "@A": "https://api.example.com/",
  "@H": "https://api.",
  "@W": "https://www.",
  "@h": "https://",
  "@t": "http://",
  "@s": "https://s3.amazonaws.com/",
  "@S": "https://s3-",
  "@L": "http://localhost:",
  "@l": "http://localhost",
  "@v": "/v1/",
  "@u": "/users/",
  "@p": "/products/"
}

const own = (table: Readonly<Record<string, string>>, key: string): string | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The text that the bytes are, in UTF-8 or, as nothing else is left, in Latin-1. */
const ofBytes = (bytes: Uint8Array): string => {
  try {
    return strict.decode(bytes)
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")
  }
}

/** The text that a value of metadata stands for; `undefined` where it stands for none. */
export const decodeText = (stored: string): string | undefined => {
  const rest = stored.slice(2)
  if (stored.startsWith("u:")) {
    try {
      return decodeURIComponent(rest)
    } catch {
      return undefined
    }
  }
  if (stored.startsWith("b:")) {
    return Result.getOrElse(Result.map(Base64.decode(rest), ofBytes), () => undefined)
  }
  if (!stored.startsWith("d:")) return stored
  const prefix = own(prefixes, rest.slice(0, 2))
  return own(words, rest) ?? (prefix === undefined ? undefined : prefix + rest.slice(2))
}
