/** Texts of a certain form: ids, addresses, colours, hashes of passwords, bytes as base 64. */
import { decodeBase64, encodeBase64 } from "../../../internal/base64.ts"
import * as formats from "../../../internal/formats.ts"
import { compact, expand } from "../../../internal/passwordText.ts"
import * as base62 from "../base62.ts"
import * as base64url from "../base64url.ts"
import { Malformed } from "../bytes.ts"
import { hexBytes, hexOfByte, toHex } from "../hex.ts"
import { forBytes, forInteger, forText, orMalformed, type ValueCodec } from "./codec.ts"
import { readText, writeText } from "./text.ts"

const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Bytes, whose JSON form is base 64 already. */
export const bytes = forBytes({
  toBytes: (value) => {
    if (typeof value !== "string" || !isBase64.test(value)) return undefined
    const decoded = decodeBase64(value)
    // The last digit may hold bits that decoding drops.
    return decoded !== undefined && encodeBase64(decoded) === value ? decoded : undefined
  },
  fromBytes: encodeBase64
})

/** Texts that stand for a fixed number of bytes: base 64 for URLs, or the text itself where that is not longer. */
const fixedBytes = (
  size: number,
  toBytes: (text: string) => Uint8Array | undefined,
  fromBytes: (b: Uint8Array) => string
) =>
  forText({
    toText: (text) => {
      const found = toBytes(text)
      return found === undefined ? undefined : base64url.encode(found)
    },
    fromText: (text) => {
      const found = base64url.decode(text)
      return found === undefined || found.length !== size ? undefined : fromBytes(found)
    },
    write: (writer, text) => {
      const found = toBytes(text)
      if (found === undefined) return false
      writer.bytes(found)
      return true
    },
    read: (reader) => fromBytes(reader.bytes(size))
  })

/** UUIDs in lower case. */
export const uuid = fixedBytes(
  16,
  (text) => {
    const isUuid = text.length === 36 && text[8] === "-" && text[13] === "-" && text[18] === "-" && text[23] === "-"
    const found = isUuid ? hexBytes(text, 0x2d) : undefined
    return found?.length === 16 ? found : undefined
  },
  (found) => {
    let text = ""
    for (let i = 0; i < 16; i++) text += (i === 4 || i === 6 || i === 8 || i === 10 ? "-" : "") + hexOfByte[found[i]!]
    return text
  }
)

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** ULIDs in upper case. */
export const ulid = fixedBytes(
  16,
  (text) => {
    if (!formats.isUlid(text)) return undefined
    let value = 0n
    for (const character of text) value = value * 32n + BigInt(crockford.indexOf(character))
    return hexBytes(value.toString(16).padStart(32, "0"))!
  },
  (found) => {
    let value = BigInt(`0x${toHex(found)}`)
    let text = ""
    for (let i = 0; i < 26; i++) {
      text = crockford[Number(value % 32n)]! + text
      value /= 32n
    }
    return text
  }
)

const ip4Bytes = fixedBytes(4, formats.ip4Bytes, formats.ip4Text)

/** IPv4 addresses: in metadata with the padding that every tool for base 64 knows. */
export const ip4: ValueCodec = {
  ...ip4Bytes,
  toText: (value) => {
    const found = typeof value === "string" ? formats.ip4Bytes(value) : undefined
    if (typeof value !== "string" || found === undefined) return undefined
    return value.length > 8 ? `${base64url.standard.encode(found)}==` : value
  },
  fromText: (text) => {
    if (text.includes(".")) return formats.isIp4(text) ? text : undefined
    const isPadded = text.length === 8 && text.endsWith("==")
    const found = isPadded ? base64url.standard.decode(text.slice(0, 6)) : undefined
    return found === undefined ? undefined : formats.ip4Text(found)
  }
}

const canonicalIp6 = (text: string): Uint8Array | undefined => {
  const found = formats.ip6Bytes(text)
  return found !== undefined && formats.ip6Text(found) === text ? found : undefined
}

const ip6Bytes = fixedBytes(16, canonicalIp6, formats.ip6Text)

/** IPv6 addresses in their canonical form. */
export const ip6: ValueCodec = {
  ...ip6Bytes,
  toText: (value) =>
    typeof value === "string" && value.length <= 22 && canonicalIp6(value) !== undefined && !/^[a-z]:/.test(value)
      ? value
      : ip6Bytes.toText(value),
  fromText: (text) =>
    text.includes(":") ? (canonicalIp6(text) === undefined ? undefined : text) : ip6Bytes.fromText(text)
}

const cidrBytes = (text: string): Uint8Array | undefined => {
  const [address = "", prefix = ""] = text.split("/")
  if (!formats.isCidr(text)) return undefined
  const found = formats.ip4Bytes(address) ?? canonicalIp6(address)
  return found === undefined ? undefined : Uint8Array.of(...found, Number(prefix))
}

const cidrText = (found: Uint8Array): string | undefined => {
  const address = found.subarray(0, -1)
  const text = `${address.length === 4 ? formats.ip4Text(address) : formats.ip6Text(address)}/${found.at(-1)}`
  return formats.isCidr(text) ? text : undefined
}

/** Blocks of addresses. */
export const cidr = forText({
  toText: (text) => {
    const found = cidrBytes(text)
    return found === undefined ? undefined : base64url.encode(found)
  },
  fromText: (text) => {
    const found = base64url.decode(text)
    return found?.length === 5 || found?.length === 17 ? cidrText(found) : undefined
  },
  write: (writer, text) => {
    const found = cidrBytes(text)
    if (found === undefined) return false
    writer.byte(found.length)
    writer.bytes(found)
    return true
  },
  read: (reader) => {
    const size = reader.byte()
    if (size !== 5 && size !== 17) throw new Malformed()
    return orMalformed(cidrText(reader.bytes(size)))
  }
})

/** MAC addresses in lower case, with colons. */
export const mac = fixedBytes(
  6,
  (text) => (/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text) ? hexBytes(text, 0x3a) : undefined),
  (found) => toHex(found).replace(/..(?!$)/g, "$&:")
)

/** Colours such as `#ff8800`, also with transparency. */
export const color = forText({
  toText: (text) =>
    isLongColor.test(text) ? base64url.encode(hexBytes(text.slice(1))!) : isShortColor.test(text) ? text : undefined,
  fromText: (text) => {
    if (text.startsWith("#")) return isShortColor.test(text) ? text : undefined
    const found = base64url.decode(text)
    return found?.length === 3 || found?.length === 4 ? `#${toHex(found)}` : undefined
  },
  write: (writer, text) => {
    if (!isLongColor.test(text)) return false
    writer.byte((text.length - 1) / 2)
    writer.bytes(hexBytes(text.slice(1))!)
    return true
  },
  read: (reader) => {
    const size = reader.byte()
    if (size !== 3 && size !== 4) throw new Malformed()
    return `#${toHex(reader.bytes(size))}`
  }
})

const isLongColor = /^#(?:[0-9a-f]{6}|[0-9a-f]{8})$/
const isShortColor = /^#[0-9a-f]{3,4}$/

const leastPhone = 1_000_000
const mostPhone = 999_999_999_999_999

/** Telephone numbers: the digits as one number, as they do not begin with 0. */
export const phone = forInteger(
  (text) => {
    if (text.charCodeAt(0) !== 0x2b || text.length > 16) return undefined
    let value = 0
    for (let i = 1; i < text.length; i++) {
      const digit = text.charCodeAt(i) - 48
      if (!(digit >= 0 && digit <= 9) || (i === 1 && digit === 0)) return undefined
      value = value * 10 + digit
    }
    return value >= leastPhone ? value : undefined
  },
  (value) => (value >= leastPhone && value <= mostPhone ? `+${value}` : undefined)
)

const versionParts = (text: string): ReadonlyArray<number> | undefined => {
  if (!/^(?:(?:0|[1-9]\d{0,9})(?:\.(?!$)|$)){3}$/.test(text)) return undefined
  return text.split(".").map(Number)
}

/** Versions: three parts in base 62, without points where each is a single digit. */
export const semver = forText({
  toText: (text) => {
    const parts = versionParts(text)?.map(base62.encode)
    return parts === undefined ? undefined : parts.join(parts.every((part) => part.length === 1) ? "" : ".")
  },
  fromText: (text) => {
    const parts = (text.includes(".") ? text.split(".") : [...text]).map(base62.decode)
    const version = parts.join(".")
    return parts.length === 3 && versionParts(version) !== undefined ? version : undefined
  },
  write: (writer, text) => {
    const parts = versionParts(text)
    for (const part of parts ?? []) writer.uint(part)
    return parts !== undefined
  },
  read: (reader) => `${reader.uint()}.${reader.uint()}.${reader.uint()}`
})

const eanLengths = [8, 12, 13, 14]

/** Article numbers: the check digit follows from the others; how many there are is in the last of four counts. */
export const ean = forInteger(
  (text) => (formats.isEan(text) ? Number(text.slice(0, -1)) * 4 + eanLengths.indexOf(text.length) : undefined),
  (value) => {
    if (value < 0) return undefined
    const digits = String(Math.floor(value / 4)).padStart(eanLengths[value % 4]! - 1, "0")
    const text = digits + formats.eanCheckDigit(digits)
    return text.length === eanLengths[value % 4] ? text : undefined
  }
)

/** Hashes of passwords. */
export const password = forText({
  toText: compact,
  fromText: expand,
  write: (writer, text) => {
    const short = compact(text)
    return short !== undefined && writeText(writer, short)
  },
  read: (reader) => orMalformed(expand(readText(reader)))
})
