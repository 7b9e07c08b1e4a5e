/** Integers in the digits `0-9 a-z A-Z`, with a leading `-` where negative. */

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const values = new Int8Array(128).fill(-1)
for (let i = 0; i < 62; i++) values[digits.charCodeAt(i)] = i

const canonical = /^(?:0|-?[1-9a-zA-Z][0-9a-zA-Z]*|-0)$/

/** For safe integers; `-0` is `-0`. */
export const encode = (value: number): string => {
  if (value < 0 || Object.is(value, -0)) return `-${encode(-value)}`
  let text = ""
  let rest = value
  while (rest >= 3844) {
    const low = rest % 3844
    text = pairs[low]! + text
    rest = (rest - low) / 3844
  }
  return (rest < 62 ? digits[rest]! : pairs[rest]!) + text
}

const pairs = Array.from({ length: 3844 }, (_, value) => digits[Math.floor(value / 62)]! + digits[value % 62]!)

/** `undefined` for text that `encode` does not make. */
export const decode = (text: string): number | undefined => {
  const start = text.charCodeAt(0) === 0x2d /* - */ ? 1 : 0
  const length = text.length - start
  if (length === 0 || length > 9 || (length > 1 && text.charCodeAt(start) === 0x30)) return undefined
  let value = 0
  for (let i = start; i < text.length; i++) {
    const digit = values[text.charCodeAt(i)]
    if (digit === undefined || digit < 0) return undefined
    value = value * 62 + digit
  }
  return value > Number.MAX_SAFE_INTEGER ? undefined : start === 1 ? -value : value
}

/** Longer texts are neither written nor read: the time for both grows with the square of the length. */
const mostDigits = 999
const firstTooBig = 62n ** BigInt(mostDigits)

/** `undefined` for a number of more digits than `decodeBig` reads. */
export const encodeBig = (value: bigint): string | undefined => {
  if (value < 0n) {
    const positive = encodeBig(-value)
    return positive === undefined ? undefined : `-${positive}`
  }
  if (value >= firstTooBig) return undefined
  let text = ""
  let rest = value
  while (rest > 9_007_199_254_740_991n) {
    text = digits[Number(rest % 62n)]! + text
    rest /= 62n
  }
  const head = encode(Number(rest))
  return rest === 0n && text !== "" ? text : head + text
}

export const decodeBig = (text: string): bigint | undefined => {
  const small = decode(text)
  if (small !== undefined) return Object.is(small, -0) ? undefined : BigInt(small)
  if (!canonical.test(text) || text.length > mostDigits + 1) return undefined
  const negative = text.startsWith("-")
  let value = 0n
  for (let i = negative ? 1 : 0; i < text.length; i++) value = value * 62n + BigInt(values[text.charCodeAt(i)]!)
  return negative ? -value : value
}
