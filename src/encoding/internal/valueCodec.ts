/**
 * The codecs of single values, by name: each has a readable form for a metadata entry and a binary form for the packed
 * encoding.
 *
 * A codec works on the JSON form of a value. It answers `undefined` (or `false`) for a value that its short form cannot
 * carry exactly; such a value is then stored in a general form, so that a codec is a matter of size, never of
 * correctness. `null` never reaches a codec.
 */
import * as BigDecimal from "effect/BigDecimal"
import * as Option from "effect/Option"
import { decodeBase64, encodeBase64 } from "../../internal/base64.ts"
import * as formats from "../../internal/formats.ts"
import { compact, expand } from "../../internal/passwordText.ts"
import * as rounding from "../../internal/rounding.ts"
import { type Json, stringifyExact } from "../Json.ts"
import * as base62 from "./base62.ts"
import * as base64url from "./base64url.ts"
import type { Reader, Writer } from "./bytes.ts"
import { Malformed } from "./bytes.ts"
import * as isoTime from "./isoTime.ts"
import * as plainText from "./plainText.ts"
import * as shortText from "./shortText.ts"

export interface ValueCodec {
  /** ASCII that a header carries unchanged, not empty, and not beginning with `j:`, `s:` or `n:`. */
  readonly toText: (value: Json) => string | undefined
  readonly fromText: (text: string) => Json | undefined
  /** Writes nothing when it answers `false`. */
  readonly write: (writer: Writer, value: Json) => boolean
  /** Throws `Malformed`. */
  readonly read: (reader: Reader) => Json
  /** In the body, the text is shorter than JSON, too. */
  readonly textInBody?: boolean
  /** Its values are booleans only. */
  readonly isBoolean?: boolean
}

/** A codec for values that are texts of a certain form. */
const forText = (codec: {
  readonly toText: (text: string) => string | undefined
  readonly fromText: (text: string) => string | undefined
  readonly write: (writer: Writer, text: string) => boolean
  readonly read: (reader: Reader) => string
}): ValueCodec => ({
  toText: (value) => (typeof value === "string" ? codec.toText(value) : undefined),
  fromText: codec.fromText,
  write: (writer, value) => typeof value === "string" && codec.write(writer, value),
  read: codec.read
})

// --- text --------------------------------------------------------------------

/** How the bytes of a text are to be read, in the two low bits of their number. */
const utf8Bytes = 0
const packedBytes = 1
const sixBits = 2
const fourBits = 3

const isIdentifier = /^[A-Za-z0-9_-]+$/
const isHex = /^[0-9a-f]+$/
const encoder = new TextEncoder()

const nibbles = new Int8Array(128).fill(-1)
for (let i = 0; i < 16; i++) nibbles[i.toString(16).charCodeAt(0)] = i

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** The bytes of pairs of lower-case hexadecimal digits; a character before a pair that is `mark` is passed over. */
const hexBytes = (hex: string, mark = 0): Uint8Array | undefined => {
  const bytes = new Uint8Array(mark === 0 ? hex.length >> 1 : hexDigits(hex, mark) >> 1)
  let at = 0
  for (let i = 0; i < bytes.length; i++) {
    if (hex.charCodeAt(at) === mark) at += 1
    const value = ((nibbles[hex.charCodeAt(at)] ?? -1) << 4) | (nibbles[hex.charCodeAt(at + 1)] ?? -1)
    if (value < 0) return undefined
    bytes[i] = value
    at += 2
  }
  return at === hex.length ? bytes : undefined
}

const hexDigits = (hex: string, mark: number): number => {
  let count = 0
  for (let i = 0; i < hex.length; i++) if (hex.charCodeAt(i) !== mark) count += 1
  return count
}

const toHex = (bytes: Uint8Array): string => {
  let hex = ""
  for (const byte of bytes) hex += hexOfByte[byte]
  return hex
}

/** In whichever way takes the fewest bytes; `false` for text that is no valid Unicode. */
const writeText = (writer: Writer, text: string): boolean => {
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

const readText = (reader: Reader): string => {
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

const string = forText({
  toText: plainText.encode,
  fromText: plainText.decode,
  write: writeText,
  read: readText
})

const parseJson = (text: string): Json | undefined => {
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

const json: ValueCodec = {
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

/** A choice of a few texts, numbers or booleans: in binary, the position in the list. */
const choice = (values: ReadonlyArray<Json>, of: ValueCodec): ValueCodec => {
  const positions = new Map(values.map((value, position) => [value, position]))
  return {
    toText: of.toText,
    fromText: of.fromText,
    write: (writer, value) => {
      const position = positions.get(value)
      if (position === undefined) return false
      writer.uint(position)
      return true
    },
    read: (reader) => {
      const value = values[reader.uint()]
      if (value === undefined) throw new Malformed()
      return value
    }
  }
}

// --- numbers -----------------------------------------------------------------

const notFinite = ["NaN", "Infinity", "-Infinity"]

interface Decimal {
  readonly mantissa: number
  readonly decimals: number
}

/** A number as an integer of 53 bits with so many decimals, if it has no more digits than that. */
const toDecimal = (value: number): Decimal | undefined => {
  const match = /^(-?)(\d+)\.(\d+)$/.exec(String(value))
  if (match === null || match[3]!.length > 22) return undefined
  const mantissa = Number(match[2]! + match[3]!)
  if (mantissa > Number.MAX_SAFE_INTEGER) return undefined
  return { mantissa: match[1] === "-" ? -mantissa : mantissa, decimals: match[3]!.length }
}

/** Decimal text is read as JavaScript reads it, so that the nearest number is found whatever the digits. */
const fromDecimal = ({ mantissa, decimals }: Decimal): number => {
  const digits = String(Math.abs(mantissa)).padStart(decimals + 1, "0")
  const point = digits.length - decimals
  return Number(`${mantissa < 0 ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`)
}

const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value)
const unzigzag = (value: number): number => (value % 2 === 1 ? -(value + 1) / 2 : value / 2)

/** What the two low bits of a number say. */
const integerKind = 0
const decimalKind = 1
const floatKind = 2
const specialKind = 3

const specials: ReadonlyArray<number | string> = [-0, ...notFinite]

// A text of digits and letters alone is base 62; JavaScript's own notation always holds one of `.`, `+` or an inner `-`.
// `mantissa~decimals` is shorter for numbers of many digits.
const number: ValueCodec = {
  toText: (value) => {
    if (typeof value === "string") return notFinite.includes(value) ? `+${value}` : undefined
    if (typeof value !== "number" || !Number.isFinite(value)) return undefined
    if (Number.isSafeInteger(value)) return base62.encode(value)
    const text = String(value)
    const decimal = text.length > 8 ? toDecimal(value) : undefined
    if (decimal !== undefined) {
      const short = `${base62.encode(decimal.mantissa)}~${base62.encode(decimal.decimals)}`
      if (short.length < text.length) return short
    }
    return /[.+]|.-/.test(text) ? text : `+${text}`
  },
  fromText: (text) => {
    const integer = base62.decode(text)
    if (integer !== undefined) return integer
    const mark = text.indexOf("~")
    if (mark >= 0) {
      const mantissa = base62.decode(text.slice(0, mark))
      const decimals = base62.decode(text.slice(mark + 1))
      const valid = mantissa !== undefined && decimals !== undefined && decimals >= 0 && decimals <= 22
      return valid ? fromDecimal({ mantissa, decimals }) : undefined
    }
    const plain = text.startsWith("+") ? text.slice(1) : text
    if (notFinite.includes(plain)) return plain
    const value = Number(plain)
    return plain === "" || !Number.isFinite(value) ? undefined : value
  },
  write: (writer, value) => {
    const special = specials.findIndex((one) => Object.is(one, value))
    if (special >= 0) {
      writer.uint(special * 4 + specialKind)
      return true
    }
    if (typeof value !== "number" || !Number.isFinite(value)) return false
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 49) {
      writer.uint(zigzag(value) * 4 + integerKind)
      return true
    }
    const decimal = toDecimal(value)
    if (decimal !== undefined && Math.abs(decimal.mantissa) < 2 ** 48) {
      writer.uint(decimal.decimals * 4 + decimalKind)
      writer.uint(zigzag(decimal.mantissa))
    } else {
      writer.uint(floatKind)
      writer.float(value)
    }
    return true
  },
  read: (reader) => {
    const head = reader.uint()
    const rest = Math.floor(head / 4)
    switch (head % 4) {
      case integerKind:
        return unzigzag(rest)
      case decimalKind:
        return fromDecimal({ mantissa: unzigzag(reader.uint()), decimals: rest })
      case floatKind:
        return reader.float()
      default: {
        const special = specials[rest]
        if (special === undefined) throw new Malformed()
        return special
      }
    }
  }
}

const boolean: ValueCodec = {
  toText: (value) => (value === true ? "1" : value === false ? "0" : undefined),
  fromText: (text) => (text === "1" ? true : text === "0" ? false : undefined),
  write: (writer, value) => {
    if (typeof value !== "boolean") return false
    writer.byte(value ? 1 : 0)
    return true
  },
  read: (reader) => reader.byte() === 1,
  isBoolean: true
}

const plainDecimal = /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,14})?$/

/** More zeros at the end of a number are left to the exponent, with which it is written. */
const mostZeros = 1000

/** A decimal text as an integer of units of `10 ** -scale`, if it has no more decimals and is written as usual. */
const scaledOf = (text: string, scale: number): number | bigint | undefined => {
  const point = text.indexOf(".")
  const decimals = point < 0 ? 0 : text.length - point - 1
  // Most amounts are small.
  if (text.length - decimals + scale <= 15 && plainDecimal.test(text)) {
    if (decimals > scale || (decimals > 0 && text.endsWith("0")) || text === "-0") return undefined
    return Number(point < 0 ? text : text.slice(0, point) + text.slice(point + 1)) * powersOfTen[scale - decimals]!
  }
  const value = BigDecimal.fromString(text)
  if (Option.isNone(value) || BigDecimal.format(value.value) !== text) return undefined
  const { value: digits, scale: has } = BigDecimal.normalize(value.value)
  return has > scale || scale - has > mostZeros ? undefined : digits * 10n ** BigInt(scale - has)
}

const powersOfTen = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent)

const scaledText = (digits: number | bigint, scale: number): string => {
  if (typeof digits === "bigint") return BigDecimal.format(BigDecimal.make(digits, scale))
  if (scale > 6) return BigDecimal.format(BigDecimal.make(BigInt(digits), scale))
  const text = String(Math.abs(digits)).padStart(scale + 1, "0")
  let end = text.length
  const point = text.length - scale
  while (end > point && text.charCodeAt(end - 1) === 0x30) end -= 1
  return `${digits < 0 ? "-" : ""}${text.slice(0, point)}${end > point ? `.${text.slice(point, end)}` : ""}`
}

/** Exact decimals, marked so that people see that the number is scaled: `$` for money, `^` for others. */
const scaled = (mark: string, scale: number): ValueCodec =>
  forText({
    toText: (text) => {
      const value = scaledOf(text, scale)
      if (value === undefined) return undefined
      const digits = typeof value === "number" ? base62.encode(value) : base62.encodeBig(value)
      return digits === undefined ? undefined : mark + digits
    },
    fromText: (text) => {
      if (!text.startsWith(mark)) return undefined
      const small = base62.decode(text.slice(1))
      const digits = small ?? base62.decodeBig(text.slice(1))
      return digits === undefined || Object.is(digits, -0) ? undefined : scaledText(digits, scale)
    },
    write: (writer, text) => {
      const value = scaledOf(text, scale)
      if (value === undefined) return false
      if (typeof value === "bigint") return writer.bigUint(value < 0n ? -2n * value - 1n : 2n * value)
      writer.uint(zigzag(value))
      return true
    },
    read: (reader) => {
      const digits = reader.bigUint()
      if (digits < 2n ** 52n) return scaledText(unzigzag(Number(digits)), scale)
      return scaledText(digits % 2n === 1n ? -(digits + 1n) / 2n : digits / 2n, scale)
    }
  })

/** The integer that a number is in units of `1 / scale`, if it is one. */
const unitsOf = (value: Json | undefined, scale: number): number | undefined => {
  if (typeof value !== "number" || Object.is(value, -0)) return undefined
  const units = Math.round(value * scale)
  return units / scale === value && Number.isSafeInteger(units) ? units : undefined
}

/** A coordinate, moved so that it is never negative: `~` and base 62. */
const degrees = (bound: number, precision: number): ValueCodec => {
  const offset = bound * 10 ** precision
  const scale = 10 ** precision
  const unitsWithin = (value: Json | undefined): number | undefined => {
    const units = unitsOf(value, scale)
    return units === undefined || Math.abs(units) > offset ? undefined : units + offset
  }
  return {
    toText: (value) => {
      const units = unitsWithin(value)
      return units === undefined ? undefined : `~${base62.encode(units)}`
    },
    fromText: (text) => {
      const units = text.startsWith("~") ? base62.decode(text.slice(1)) : undefined
      return units === undefined || units < 0 || units > 2 * offset ? undefined : (units - offset) / scale
    },
    write: (writer, value) => {
      const units = unitsWithin(value)
      if (units === undefined) return false
      writer.uint(units)
      return true
    },
    read: (reader) => (reader.uint() - offset) / scale
  }
}

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const point = (precision: number): ValueCodec => {
  const latitude = degrees(90, precision)
  const longitude = degrees(180, precision)
  const parts = (value: Json): readonly [Json, Json] | undefined => {
    if (!isObject(value)) return undefined
    const { latitude, longitude } = value
    const plain = latitude !== undefined && longitude !== undefined && Object.keys(value).length === 2
    return plain ? [latitude, longitude] : undefined
  }
  return {
    toText: (value) => {
      const both = parts(value)
      const [a, b] = both === undefined ? [] : [latitude.toText(both[0]), longitude.toText(both[1])]
      return a === undefined || b === undefined ? undefined : a + b
    },
    fromText: (text) => {
      const middle = text.indexOf("~", 1)
      const [a, b] = [latitude.fromText(text.slice(0, middle)), longitude.fromText(text.slice(middle))]
      return a === undefined || b === undefined ? undefined : { latitude: a, longitude: b }
    },
    write: (writer, value) => {
      const both = parts(value)
      const start = writer.length
      if (both !== undefined && latitude.write(writer, both[0]) && longitude.write(writer, both[1])) return true
      writer.reset(start)
      return false
    },
    read: (reader) => ({ latitude: latitude.read(reader), longitude: longitude.read(reader) })
  }
}

const isNumbers = (value: Json): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.every((item) => typeof item === "number" && !Object.is(item, -0))

const allUnits = (value: Json, scale: number): ReadonlyArray<number> | undefined => {
  if (!isNumbers(value)) return undefined
  const units: Array<number> = []
  for (const item of value) {
    const unit = unitsOf(item, scale)
    if (unit === undefined) return undefined
    units.push(unit)
  }
  return units
}

/** Fixed-point numbers: `^[a,b,...]` in base 62. */
const fixedVector = (precision: number): ValueCodec => {
  const scale = 10 ** precision
  return {
    toText: (value) => {
      const units = allUnits(value, scale)
      return units === undefined ? undefined : `^[${units.map(base62.encode).join(",")}]`
    },
    fromText: (text) => {
      if (!text.startsWith("^[") || !text.endsWith("]")) return undefined
      const inner = text.slice(2, -1)
      const numbers: Array<number> = []
      if (inner === "") return numbers
      for (const part of inner.split(",")) {
        const units = base62.decode(part)
        if (units === undefined) return undefined
        numbers.push(units / scale)
      }
      return numbers
    },
    write: (writer, value) => {
      const units = allUnits(value, scale)
      if (units === undefined || units.some((unit) => Math.abs(unit) > 2 ** 51)) return false
      writer.uint(units.length)
      for (const unit of units) writer.uint(zigzag(unit))
      return true
    },
    read: (reader) => Array.from({ length: checkedCount(reader) }, () => unzigzag(reader.uint()) / scale),
    textInBody: true
  }
}

/** A number of items that so few bytes can hold. */
const checkedCount = (reader: Reader): number => {
  const count = reader.uint()
  if (count > 1_000_000) throw new Malformed()
  return count
}

/** A codec whose readable form is the base 64 of its binary form. */
const forBytes = (codec: {
  readonly toBytes: (value: Json) => Uint8Array | undefined
  readonly fromBytes: (bytes: Uint8Array) => Json | undefined
}): ValueCodec => ({
  toText: (value) => {
    const bytes = codec.toBytes(value)
    // A text must not be empty.
    return bytes === undefined ? undefined : bytes.length === 0 ? "=" : encodeBase64(bytes)
  },
  fromText: (text) => {
    const bytes = text === "=" ? new Uint8Array() : decodeBase64(text)
    return bytes === undefined ? undefined : codec.fromBytes(bytes)
  },
  write: (writer, value) => {
    const bytes = codec.toBytes(value)
    if (bytes === undefined) return false
    writer.uint(bytes.length)
    writer.bytes(bytes)
    return true
  },
  read: (reader) => {
    const value = codec.fromBytes(reader.bytes(reader.uint()))
    if (value === undefined) throw new Malformed()
    return value
  }
})

/** Numbers of a machine format; `int8` with the size of its step before them. */
const machineVector = (format: "int8" | "float16" | "float32"): ValueCodec => ({
  ...forBytes({
    toBytes: (value) => {
      if (!isNumbers(value)) return undefined
      if (format !== "int8") {
        const size = format === "float16" ? 2 : 4
        const view = new DataView(new ArrayBuffer(value.length * size))
        for (const [index, item] of value.entries()) {
          if (size === 4) view.setFloat32(index * 4, item)
          else view.setUint16(index * 2, rounding.toFloat16(item))
        }
        const exact = value.every((item, index) =>
          size === 4 ? view.getFloat32(index * 4) === item : rounding.fromFloat16(view.getUint16(index * 2)) === item
        )
        return exact ? new Uint8Array(view.buffer) : undefined
      }
      const step = rounding.int8Step(value)
      const view = new DataView(new ArrayBuffer(4 + value.length))
      view.setFloat32(0, step)
      for (const [index, item] of value.entries()) {
        const steps = step === 0 ? 0 : Math.round(item / step)
        if (steps * step !== item || Math.abs(steps) > 127) return undefined
        view.setInt8(4 + index, steps)
      }
      return new Uint8Array(view.buffer)
    },
    fromBytes: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      if (format === "int8") {
        const step = bytes.length < 4 ? Number.NaN : view.getFloat32(0)
        if (!Number.isFinite(step)) return undefined
        return Array.from({ length: bytes.length - 4 }, (_, index) => view.getInt8(4 + index) * step + 0)
      }
      const size = format === "float16" ? 2 : 4
      if (bytes.length % size !== 0) return undefined
      const values = Array.from({ length: bytes.length / size }, (_, index) =>
        size === 4 ? view.getFloat32(index * 4) : rounding.fromFloat16(view.getUint16(index * 2))
      )
      return values.every(Number.isFinite) ? values : undefined
    }
  }),
  textInBody: true
})

const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Bytes, whose JSON form is base 64 already. */
const bytes = forBytes({
  toBytes: (value) => {
    if (typeof value !== "string" || !isBase64.test(value)) return undefined
    const decoded = decodeBase64(value)
    // The last digit may hold bits that decoding drops.
    return decoded !== undefined && encodeBase64(decoded) === value ? decoded : undefined
  },
  fromBytes: encodeBase64
})

// --- times -------------------------------------------------------------------

const writeInteger = (writer: Writer, value: number | undefined): boolean => {
  if (value === undefined) return false
  writer.uint(zigzag(value))
  return true
}

const orMalformed = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Malformed()
  return value
}

/** A codec for texts that stand for an integer. */
const forInteger = (toInteger: (text: string) => number | undefined, fromInteger: (n: number) => string | undefined) =>
  forText({
    toText: (text) => {
      const value = toInteger(text)
      return value === undefined ? undefined : base62.encode(value)
    },
    fromText: (text) => {
      const value = base62.decode(text)
      return value === undefined ? undefined : fromInteger(value)
    },
    write: (writer, text) => writeInteger(writer, toInteger(text)),
    read: (reader) => orMalformed(fromInteger(unzigzag(reader.uint())))
  })

const dateText = forInteger(isoTime.millisOf, isoTime.isoOf)

/** In binary, whole seconds take a byte less. */
const date: ValueCodec = {
  ...dateText,
  write: (writer, value) => {
    const millis = typeof value === "string" ? isoTime.millisOf(value) : undefined
    if (millis === undefined || Math.abs(millis) > 2 ** 50) return false
    writer.uint(millis % 1000 === 0 ? zigzag(millis / 1000) * 2 : zigzag(millis) * 2 + 1)
    return true
  },
  read: (reader) => {
    const head = reader.uint()
    const units = unzigzag(Math.floor(head / 2))
    return orMalformed(isoTime.isoOf(head % 2 === 1 ? units : units * 1000))
  }
}

const day = 86_400_000

const dateonly = forInteger((text) => (text.length === 10 ? isoTime.daysOf(text) : undefined), isoTime.dateOf)

const pad = (value: number, width: number): string => String(value).padStart(width, "0")

/** The unit is the last part written: minutes, seconds, or milliseconds; it is in the last of three counts. */
const timeonly = forInteger(
  (text) => {
    if (!formats.isTimeOnly(text)) return undefined
    const [hours = 0, minutes = 0, seconds] = text.split(":").map(Number)
    const total = hours * 60 + minutes
    if (seconds === undefined) return total * 3
    return text.includes(".") ? Math.round((total * 60 + seconds) * 1000) * 3 + 2 : (total * 60 + seconds) * 3 + 1
  },
  (value) => {
    if (value < 0) return undefined
    const unit = value % 3
    const count = Math.floor(value / 3)
    const millis = unit === 2 ? count : unit === 1 ? count * 1000 : count * 60_000
    if (millis >= day) return undefined
    const text = `${pad(Math.floor(millis / 3_600_000), 2)}:${pad(Math.floor(millis / 60_000) % 60, 2)}`
    if (unit === 0) return text
    const seconds = `${text}:${pad(Math.floor(millis / 1000) % 60, 2)}`
    return unit === 1 ? seconds : `${seconds}.${pad(millis % 1000, 3)}`
  }
)

/** Effect's JSON form of a finite duration of whole milliseconds. */
const duration: ValueCodec = {
  toText: (value) => {
    const millis = durationMillis(value)
    return millis === undefined ? undefined : base62.encode(millis)
  },
  fromText: (text) => {
    const millis = base62.decode(text)
    return millis === undefined ? undefined : { _tag: "Millis", value: millis }
  },
  write: (writer, value) => writeInteger(writer, durationMillis(value)),
  read: (reader) => ({ _tag: "Millis", value: unzigzag(reader.uint()) })
}

const durationMillis = (value: Json): number | undefined => {
  if (!isObject(value) || value["_tag"] !== "Millis" || Object.keys(value).length !== 2) return undefined
  const millis = value["value"]
  const valid = typeof millis === "number" && Number.isInteger(millis) && Math.abs(millis) < 2 ** 52
  return valid && !Object.is(millis, -0) ? millis : undefined
}

// --- formats -----------------------------------------------------------------

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

const uuid = fixedBytes(
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

const ulid = fixedBytes(
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

// In metadata with the padding that every tool for base 64 knows.
const ip4: ValueCodec = {
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

const ip6: ValueCodec = {
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

const cidr = forText({
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

const mac = fixedBytes(
  6,
  (text) => (/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text) ? hexBytes(text, 0x3a) : undefined),
  (found) => toHex(found).replace(/..(?!$)/g, "$&:")
)

const color = forText({
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

/** The digits as one number: they do not begin with 0. */
const phone = forInteger(
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

/** Three parts in base 62, without points where each is a single digit. */
const semver = forText({
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

/** The check digit follows from the others; how many there are is in the last of four counts. */
const ean = forInteger(
  (text) => (formats.isEan(text) ? Number(text.slice(0, -1)) * 4 + eanLengths.indexOf(text.length) : undefined),
  (value) => {
    if (value < 0) return undefined
    const digits = String(Math.floor(value / 4)).padStart(eanLengths[value % 4]! - 1, "0")
    const text = digits + formats.eanCheckDigit(digits)
    return text.length === eanLengths[value % 4] ? text : undefined
  }
)

const password = forText({
  toText: compact,
  fromText: expand,
  write: (writer, text) => {
    const short = compact(text)
    return short !== undefined && writeText(writer, short)
  },
  read: (reader) => orMalformed(expand(readText(reader)))
})

// --- composites --------------------------------------------------------------

/** The parts of a text between `|`, where `\\` takes away the meaning of what follows it. */
const splitItems = (text: string): ReadonlyArray<string> => {
  if (!text.includes("\\")) return text.split("|")
  const parts: Array<string> = []
  let part = ""
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (character === "|") {
      parts.push(part)
      part = ""
    } else if (character === "\\") part += text[++i] ?? ""
    else part += character
  }
  return [...parts, part]
}

const isSpecial = /[\\|]/

/** Items joined with `|`; `e:` when there are none. An item that begins a text must not look like another form. */
const array = (item: ValueCodec): ValueCodec => ({
  toText: (value) => {
    if (!Array.isArray(value)) return undefined
    if (value.length === 0) return "e:"
    const parts: Array<string> = []
    for (const one of value as ReadonlyArray<Json>) {
      const text = one === null ? undefined : item.toText(one)
      if (text === undefined) return undefined
      parts.push(isSpecial.test(text) ? text.replace(/[\\|]/g, "\\$&") : text)
    }
    const joined = parts.join("|")
    return /^[ejns]:| $|^ | {2}/.test(joined) ? undefined : joined
  },
  fromText: (text) => {
    if (text === "e:") return []
    const values: Array<Json> = []
    for (const part of splitItems(text)) {
      const value = item.fromText(part)
      if (value === undefined) return undefined
      values.push(value)
    }
    return values
  },
  write: (writer, value) => {
    if (!Array.isArray(value)) return false
    const start = writer.length
    writer.uint(value.length)
    for (const one of value as ReadonlyArray<Json>) {
      if (one === null || !item.write(writer, one)) {
        writer.reset(start)
        return false
      }
    }
    return true
  },
  read: (reader) => Array.from({ length: checkedCount(reader) }, () => item.read(reader)),
  ...(item.textInBody === true ? { textInBody: true } : {})
})

/** Effect's JSON form of an `Option`: `o:` when there is nothing. */
const option = (of: ValueCodec): ValueCodec => {
  const inside = (value: Json): Json | undefined =>
    isObject(value) && value["_tag"] === "Some" && Object.keys(value).length === 2 ? value["value"] : undefined
  const isNone = (value: Json): boolean =>
    isObject(value) && value["_tag"] === "None" && Object.keys(value).length === 1
  const some = (value: Json): Json => ({ _tag: "Some", value })
  return {
    toText: (value) => {
      if (isNone(value)) return "o:"
      const inner = inside(value)
      const text = inner === undefined || inner === null ? undefined : of.toText(inner)
      return text === "o:" ? undefined : text
    },
    fromText: (text) => {
      if (text === "o:") return { _tag: "None" }
      const value = of.fromText(text)
      return value === undefined ? undefined : some(value)
    },
    write: (writer, value) => {
      if (isNone(value)) {
        writer.byte(0)
        return true
      }
      const inner = inside(value)
      if (inner === undefined || inner === null) return false
      const start = writer.length
      writer.byte(1)
      if (of.write(writer, inner)) return true
      writer.reset(start)
      return false
    },
    read: (reader) => (reader.byte() === 0 ? { _tag: "None" } : some(of.read(reader))),
    ...(of.textInBody === true ? { textInBody: true } : {})
  }
}

const secret: ValueCodec = bytes

/** Nothing but the fact that there is an empty struct. */
const struct: ValueCodec = {
  toText: (value) => (isObject(value) && Object.keys(value).length === 0 ? "1" : undefined),
  fromText: (text) => (text === "1" ? {} : undefined),
  write: (_, value) => isObject(value) && Object.keys(value).length === 0,
  read: () => ({})
}

// --- by name -----------------------------------------------------------------

const simple: Readonly<Record<string, ValueCodec>> = {
  string,
  number,
  boolean,
  date,
  json,
  struct,
  uuid,
  ulid,
  dateonly,
  timeonly,
  duration,
  ip4,
  ip6,
  cidr,
  mac,
  color,
  phone,
  semver,
  ean,
  bytes,
  password,
  secret
}

/** More decimals than these no attribute has; and no codec holds others deeper than this. */
const mostDecimals = 100
const deepest = 32

/**
 * The codec of this name; an unknown one, which a newer release may have written, is `undefined`. Names come from the
 * catalog, so nothing is taken for granted of them.
 */
export const named = (name: string, depth = 0): ValueCodec | undefined => {
  if (Object.hasOwn(simple, name)) return simple[name]
  if (depth > deepest) return undefined
  const colon = name.indexOf(":")
  const kind = name.slice(0, Math.max(0, colon))
  const rest = name.slice(colon + 1)
  const wrap = (of: (inner: ValueCodec) => ValueCodec): ValueCodec | undefined => {
    const inner = named(rest, depth + 1)
    return inner === undefined ? undefined : of(inner)
  }
  const scale = (of: (decimals: number) => ValueCodec, decimals = rest): ValueCodec | undefined =>
    /^\d{1,3}$/.test(decimals) && Number(decimals) <= mostDecimals ? of(Number(decimals)) : undefined
  switch (kind) {
    case "money":
      return scale((decimals) => scaled("$", decimals))
    case "decimal":
      return scale((decimals) => scaled("^", decimals))
    case "lat":
      return scale((decimals) => degrees(90, decimals))
    case "lon":
      return scale((decimals) => degrees(180, decimals))
    case "point":
      return scale(point)
    case "vector": {
      const format = rest.split(":")[1] ?? ""
      return format === "int8" || format === "float16" || format === "float32"
        ? machineVector(format)
        : scale(fixedVector, format)
    }
    case "choice": {
      const values = parseJson(rest)
      return Array.isArray(values) ? choice(values, choiceOf(values)) : undefined
    }
    case "array":
      return wrap(array)
    case "option":
      return wrap(option)
    default:
      return undefined
  }
}

const choiceOf = (values: ReadonlyArray<Json>): ValueCodec => {
  const kinds = new Set(values.map((value) => typeof value))
  if (kinds.size !== 1) return json
  return kinds.has("string") ? string : kinds.has("number") ? number : kinds.has("boolean") ? boolean : json
}

/** What any value can be stored as, for those that a codec cannot carry. */
export const general: ValueCodec = json

/** A text that is no short form: `n:` is null; `s:` and a text, or `j:` and JSON, where the codec has no short form. */
export const toText = (codec: ValueCodec, value: Json): string | undefined => {
  if (value === null) return "n:"
  const short = codec.toText(value)
  if (short !== undefined) return short
  if (typeof value === "string") return `s:${plainText.encode(value)}`
  const text = json.toText(value)
  return text === undefined ? undefined : `j:${text}`
}

export const fromText = (codec: ValueCodec, text: string): Json | undefined => {
  if (text.charCodeAt(1) === 0x3a /* : */) {
    if (text === "n:") return null
    if (text.startsWith("s:")) return plainText.decode(text.slice(2))
    if (text.startsWith("j:")) return json.fromText(text.slice(2))
  }
  return codec.fromText(text)
}
