/** Decimal numbers of any size, compared without being written out. */

/** `0.d1d2d3... * 10^magnitude`, without zeros at either end of the digits. Zero has no digits. */
export interface Decimal {
  readonly sign: -1 | 0 | 1
  readonly digits: string
  readonly magnitude: number
}

const decimalPattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,9}))?$/

/** Reads a number, or a text that is one. A `BigDecimal` would write out all the zeros that `1e999999999` stands for. */
export const fromValue = (value: unknown): Decimal | undefined => {
  if (typeof value !== "string" && typeof value !== "number") return undefined
  const match = decimalPattern.exec(String(value))
  if (match === null) return undefined
  const [, sign, whole = "", fraction = "", exponent = "0"] = match
  const all = whole + fraction
  if (all === "") return undefined
  const start = leadingZeros(all)
  if (start === all.length) return { sign: 0, digits: "", magnitude: 0 }
  let end = all.length
  while (all.charCodeAt(end - 1) === 0x30) end -= 1
  return {
    sign: sign === "-" ? -1 : 1,
    digits: all.slice(start, end),
    magnitude: whole.length - start + Number(exponent)
  }
}

const leadingZeros = (digits: string): number => {
  let count = 0
  while (digits.charCodeAt(count) === 0x30) count += 1
  return count
}

/** Compares two by their digits. */
export const compare = (a: Decimal, b: Decimal): number => {
  if (a.sign !== b.sign) return a.sign - b.sign
  if (a.magnitude !== b.magnitude) return a.magnitude < b.magnitude ? -a.sign : a.sign
  return a.digits === b.digits ? 0 : a.digits < b.digits ? -a.sign : a.sign
}

/** Returns one text for all decimals that are the same. */
export const key = (decimal: Decimal): string => `${decimal.sign}${decimal.digits}e${decimal.magnitude}`
