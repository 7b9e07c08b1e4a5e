/** Numbers, booleans, and exact decimals. */
import * as BigDecimal from "effect/BigDecimal"
import * as Option from "effect/Option"
import * as base62 from "../base62.ts"
import { Malformed } from "../bytes.ts"
import { forText, unzigzag, type ValueCodec, zigzag } from "./codec.ts"

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

/** What the two low bits of a number say. */
const integerKind = 0
const decimalKind = 1
const floatKind = 2
const specialKind = 3

const specials: ReadonlyArray<number | string> = [-0, ...notFinite]

/**
 * Numbers. A text of digits and letters alone is base 62; JavaScript's own notation always holds one of `.`, `+` or an
 * inner `-`. `mantissa~decimals` is shorter for numbers of many digits.
 */
export const number: ValueCodec = {
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

/** Booleans. */
export const boolean: ValueCodec = {
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

/** Creates the codec of exact decimals, marked so that people see that the number is scaled: `$` for money, `^` for others. */
export const scaled = (mark: string, scale: number): ValueCodec =>
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
