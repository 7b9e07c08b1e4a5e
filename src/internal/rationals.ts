/** Numbers as exact fractions of integers, and back to the nearest number. */

/** Every finite number is a multiple of 2^-1074, the least there is. */
const leastExponent = -1074

const mantissaBits = 53

/** The integer that 1 is in units of the least number. */
export const unitsInOne = 1n << BigInt(-leastExponent)

const view = new DataView(new ArrayBuffer(8))

/** Returns a finite number as an integer in units of the least one. */
export const inUnits = (value: number): bigint => {
  if (Number.isSafeInteger(value)) return BigInt(value) * unitsInOne
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xf_ffff_ffff_ffffn
  const size = exponent === 0 ? fraction : (fraction | (1n << 52n)) << BigInt(exponent - 1)
  return value < 0 ? -size : size
}

const bitLength = (value: bigint): number => {
  const digits = value.toString(16)
  return (digits.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(digits[0]!, 16)))
}

/**
 * Returns the number nearest to a fraction, of two that are as near the even one (IEEE 754, round to nearest, ties to even);
 * `Infinity` beyond the largest one. The denominator is positive.
 */
export const nearest = (numerator: bigint, denominator: bigint): number => {
  if (numerator === 0n) return 0
  const size = numerator < 0n ? -numerator : numerator
  // The quotient in units of 2^exponent has 53 or 54 bits, fewer only where there are no smaller units.
  const exponent = Math.max(bitLength(size) - bitLength(denominator) - mantissaBits, leastExponent)
  const scaled = exponent < 0 ? size << BigInt(-exponent) : size
  const divisor = exponent > 0 ? denominator << BigInt(exponent) : denominator
  const quotient = scaled / divisor
  const extra = BigInt(Math.max(0, bitLength(quotient) - mantissaBits))
  const value = Number(roundEven(scaled, divisor << extra)) * 2 ** (exponent + Number(extra))
  return numerator < 0n ? -value : value
}

/** The integer nearest to the quotient of two that are not negative. */
const roundEven = (dividend: bigint, divisor: bigint): bigint => {
  const floor = dividend / divisor
  const twice = 2n * (dividend - floor * divisor)
  return twice > divisor || (twice === divisor && floor % 2n === 1n) ? floor + 1n : floor
}
