/** Integers in the digits `0-9 a-z A-Z`, with a leading `-` where negative. */

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const values = new Map(Array.from(digits, (digit, value) => [digit, value]))

export const pattern = /^-?[0-9a-zA-Z]+$/

/** For safe integers; `-0` is `-0`. */
export const encode = (value: number): string => {
  if (value < 0 || Object.is(value, -0)) return `-${encode(-value)}`
  let text = ""
  let rest = value
  do {
    text = digits[rest % 62]! + text
    rest = Math.floor(rest / 62)
  } while (rest > 0)
  return text
}

/** For text that fits `pattern`. */
export const decode = (text: string): number => {
  if (text.startsWith("-")) return -decode(text.slice(1))
  let value = 0
  for (const digit of text) value = value * 62 + values.get(digit)!
  return value
}
