/** How passwords are hashed, and the text forms of a hash. Pure: it runs wherever a schema does, with or without Node. */

/** bcrypt, with 2^`cost` rounds. */
export interface Bcrypt {
  readonly _tag: "Bcrypt"
  readonly cost: number
}

/** Argon2id, with `memory` in KiB. */
export interface Argon2id {
  readonly _tag: "Argon2id"
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
}

export type Algorithm = Bcrypt | Argon2id

const inRange = (name: string, value: number, minimum: number, maximum: number): number => {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value
  throw new RangeError(`${name} has to be a whole number from ${minimum} to ${maximum}, not ${value}`)
}

/** The algorithm itself, checked once more because a literal of this type may hold any number. */
export const checked = (algorithm: Algorithm): Algorithm => {
  if (algorithm._tag === "Bcrypt") {
    inRange("cost", algorithm.cost, 10, 31)
    return algorithm
  }
  inRange("parallelism", algorithm.parallelism, 1, 255)
  inRange("memory", algorithm.memory, 8 * algorithm.parallelism, 1_048_576)
  inRange("passes", algorithm.passes, 1, 65_535)
  return algorithm
}

/** A hash taken apart. Salt and digest stay text, as they were written, so that nothing is lost on the way back. */
export type Parsed =
  | (Bcrypt & { readonly variant: string; readonly salt: string; readonly digest: string })
  | (Argon2id & { readonly salt: string; readonly digest: string })

const bcryptPattern = /^\$2([aby])\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/** 8 to 64 bytes of salt and 12 to 64 of digest, as the PHC string format recommends. */
const argon2idPattern =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,7})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,86})$/

const maximum32 = 2 ** 32 - 1
const maximumLanes = 2 ** 24 - 1

export const parse = (text: string): Parsed | undefined => {
  const bcrypt = bcryptPattern.exec(text)
  if (bcrypt !== null) {
    const [, variant = "", digits = "", salt = "", digest = ""] = bcrypt
    const cost = Number(digits)
    return cost < 4 || cost > 31 ? undefined : { _tag: "Bcrypt", cost, variant, salt, digest }
  }
  const argon2id = argon2idPattern.exec(text)
  if (argon2id === null) return undefined
  const [memory = 0, passes = 0, parallelism = 0] = argon2id.slice(1, 4).map(Number)
  const [salt = "", digest = ""] = argon2id.slice(4)
  // The ranges of RFC 9106; a remainder of one is no length that base 64 can have.
  if (memory > maximum32 || passes > maximum32 || parallelism > maximumLanes || memory < 8 * parallelism)
    return undefined
  if (salt.length % 4 === 1 || digest.length % 4 === 1) return undefined
  return { _tag: "Argon2id", memory, passes, parallelism, salt, digest }
}

export const isPasswordHash = (text: string): boolean => parse(text) !== undefined

/** The standard text form. */
export const format = (parsed: Parsed): string =>
  parsed._tag === "Bcrypt"
    ? `$2${parsed.variant}$${String(parsed.cost).padStart(2, "0")}$${parsed.salt}${parsed.digest}`
    : `$argon2id$v=19$m=${parsed.memory},t=${parsed.passes},p=${parsed.parallelism}$${parsed.salt}$${parsed.digest}`

/** The short form, or `undefined` for a text that is no hash. */
export const compact = (hash: string): string | undefined => {
  const parsed = parse(hash)
  if (parsed === undefined) return undefined
  const { salt, digest } = parsed
  return parsed._tag === "Bcrypt"
    ? `${parsed.variant}${parsed.cost.toString(36)}${salt}${digest}`
    : `i${[parsed.memory, parsed.passes, parsed.parallelism].map((n) => n.toString(36)).join(".")}.${salt}.${digest}`
}

const compactBcrypt = /^([aby])([4-9a-v])([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/
const compactArgon2id =
  /^i([1-9a-z][0-9a-z]{0,6})\.([1-9a-z][0-9a-z]{0,6})\.([1-9a-z][0-9a-z]{0,6})\.([A-Za-z0-9+/]+)\.([A-Za-z0-9+/]+)$/

const fromBase36 = (text: string): number => Number.parseInt(text, 36)

/** The hash of a short form. */
export const expand = (text: string): string | undefined => {
  const bcrypt = compactBcrypt.exec(text)
  if (bcrypt !== null) {
    const [, variant = "", cost = "", salt = "", digest = ""] = bcrypt
    return format({ _tag: "Bcrypt", variant, cost: fromBase36(cost), salt, digest })
  }
  const argon2id = compactArgon2id.exec(text)
  if (argon2id === null) return undefined
  const [memory = 0, passes = 0, parallelism = 0] = argon2id.slice(1, 4).map(fromBase36)
  const [salt = "", digest = ""] = argon2id.slice(4)
  const hash = format({ _tag: "Argon2id", memory, passes, parallelism, salt, digest })
  return parse(hash) === undefined ? undefined : hash
}

const standardAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
const alphabetOf = (tag: Parsed["_tag"]): string => (tag === "Bcrypt" ? bcryptAlphabet : standardAlphabet)

/** Base 64 without padding, in the alphabet of the algorithm: bcrypt has its own. */
export const toText = (tag: Parsed["_tag"], bytes: Uint8Array): string => {
  const alphabet = alphabetOf(tag)
  let text = ""
  let [buffer, bits] = [0, 0]
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xffff
    bits += 8
    for (; bits >= 6; bits -= 6) text += alphabet[(buffer >>> (bits - 6)) & 63]
  }
  return bits === 0 ? text : text + alphabet[(buffer << (6 - bits)) & 63]
}

/** The bytes of a text that `parse` let through. Bits left over at its end are ignored. */
export const toBytes = (tag: Parsed["_tag"], text: string): Uint8Array<ArrayBuffer> => {
  const alphabet = alphabetOf(tag)
  const bytes = new Uint8Array((text.length * 6) >> 3)
  let [buffer, bits, at] = [0, 0, 0]
  for (const character of text) {
    buffer = ((buffer << 6) | alphabet.indexOf(character)) & 0xffff
    bits += 6
    if (bits < 8) continue
    bits -= 8
    bytes[at++] = (buffer >>> bits) & 0xff
  }
  return bytes
}
