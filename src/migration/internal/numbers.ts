/** The numbers of s3db.js: base 62, with decimals, and of a fixed number of them. */

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
const digits = new Map(Array.from(alphabet, (character, i) => [character, BigInt(i)]))

/** The code of a position, in base 62. */
export const base62 = (position: number): string => {
  let text = alphabet[position % 62]!
  for (let rest = Math.floor(position / 62); rest > 0; rest = Math.floor(rest / 62)) text = alphabet[rest % 62]! + text
  return text
}

/** `undefined`: it is no number in base 62. */
export const integerOf = (text: string): bigint | undefined => {
  const [, sign, body] = /^(-?)([0-9a-zA-Z]+)$/.exec(text) ?? []
  if (body === undefined || body.length > 64) return undefined
  let value = 0n
  for (const character of body) value = value * 62n + digits.get(character)!
  return sign === "-" ? -value : value
}

const safe = (value: bigint | undefined): number | undefined => {
  const number = Number(value)
  return value !== undefined && Number.isFinite(number) ? number : undefined
}

/** The integer in base 62, behind a point the decimals in base 10. */
export const numberOf = (text: string): number | undefined => {
  const [whole = "", decimals, ...more] = text.split(".")
  if (more.length > 0) return undefined
  const integer = integerOf(whole)
  if (integer === undefined || decimals === undefined) return safe(integer)
  if (!/^\d+$/.test(decimals)) return undefined
  // The sign of -0.5 is that of its text.
  const value = Number(`${whole.startsWith("-") ? "-" : ""}${integer < 0n ? -integer : integer}.${decimals}`)
  return Number.isFinite(value) ? value : undefined
}

/** A multiple of 1 / 10^places in base 62, as a decimal number without zeros at its end. */
export const fixedText = (text: string, places: number): string | undefined => {
  const value = integerOf(text)
  if (value === undefined) return undefined
  if (places === 0) return String(value)
  const magnitude = String(value < 0n ? -value : value).padStart(places + 1, "0")
  const decimals = magnitude.slice(-places).replace(/0+$/, "")
  return `${value < 0n ? "-" : ""}${magnitude.slice(0, -places)}${decimals === "" ? "" : `.${decimals}`}`
}

export const fixedOf = (text: string, places: number): number | undefined => {
  const decimal = fixedText(text, places)
  return decimal === undefined ? undefined : Number(decimal)
}
