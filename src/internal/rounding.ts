/** Rounding of values to the precision that their attribute declares. What is rounded is stored without further loss. */

/** Decimals kept, or a machine format. */
export type VectorFormat = number | "int8" | "float16" | "float32"

/** To so many decimals, halves away from zero; `-0` becomes `0`. */
export const toDecimals = (value: number, decimals: number): number => {
  const scale = 10 ** decimals
  const scaled = value * scale
  // Beyond this a number has no such decimals.
  if (Math.abs(scaled) >= 2 ** 52) return value
  const nearest = Math.round(Math.abs(scaled)) / scale
  return nearest === 0 ? 0 : value < 0 ? -nearest : nearest
}

/** The size of a step when the largest number takes 127 of them: a 32-bit number, so that multiples of it are exact. */
export const int8Step = (values: ReadonlyArray<number>): number => {
  let largest = 0
  for (const value of values) largest = Math.max(largest, Math.abs(value))
  return Math.fround(largest / 127)
}

/**
 * Whether a machine format can hold a vector: it has a place for the largest number, and does not lose a vector that is
 * not zero altogether.
 */
export const fits = (values: ReadonlyArray<number>, format: VectorFormat): boolean => {
  if (typeof format === "number") return true
  let largest = 0
  for (const value of values) largest = Math.max(largest, Math.abs(value))
  if (largest === 0) return true
  const kept =
    format === "int8" ? int8Step(values) : format === "float16" ? unboundedFloat16(largest) : Math.fround(largest)
  return kept !== 0 && kept <= (format === "float16" ? largestFloat16 : Number.MAX_VALUE)
}

const largestFloat16 = 65504

/** As `toFloat16` has it, but that what rounds to more than the largest number does so. */
const unboundedFloat16 = (size: number): number =>
  size >= largestFloat16 + 16 ? Number.POSITIVE_INFINITY : fromFloat16(toFloat16(size))

/** The nearest values of the format; those of a vector that does not fit stay as they are. */
export const toFormat = (values: ReadonlyArray<number>, format: VectorFormat): ReadonlyArray<number> => {
  if (!fits(values, format)) return values
  switch (format) {
    case "int8": {
      const step = int8Step(values)
      if (step === 0) return values.map(() => 0)
      return values.map((value) => positiveZero(Math.max(-127, Math.min(127, Math.round(value / step))) * step))
    }
    case "float16":
      return values.map((value) => positiveZero(fromFloat16(toFloat16(value))))
    case "float32":
      return values.map((value) => positiveZero(Math.fround(value)))
    default:
      return values.map((value) => toDecimals(value, format))
  }
}

const positiveZero = (value: number): number => (value === 0 ? 0 : value)

const floatView = new DataView(new ArrayBuffer(8))

/** The 16 bits of the nearest half-precision number (IEEE 754 binary16, ties to even), the largest finite at most. */
export const toFloat16 = (value: number): number => {
  const sign = value < 0 ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= largestFloat16) return sign | 0x7bff
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24)
  floatView.setFloat64(0, size)
  const exponent = ((floatView.getUint32(0) >>> 20) & 0x7ff) - 1023
  const mantissa = roundEven((size / 2 ** exponent - 1) * 1024)
  // A mantissa that rounds up to 1,024 carries into the exponent by itself.
  return Math.min(sign | 0x7bff, sign + ((exponent + 15) << 10) + mantissa)
}

const roundEven = (value: number): number => {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

export const fromFloat16 = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const mantissa = bits & 0x3ff
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15))
}
