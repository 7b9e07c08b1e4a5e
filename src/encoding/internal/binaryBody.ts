/**
 * The binary form of the body of a document: its system parts in few bytes, and, compressed, its fields.
 *
 * | bytes | what |
 * |---|---|
 * | 1 | the version of this form, 1; JSON begins with `{` |
 * | 1 | which of the following parts there are: the sum of their numbers |
 * | 12 | the write id, `w`; missing together with the next three where one of them is unusual (16) |
 * | 6 | `t`, signed, most significant byte first |
 * | | 4: `t - c` in zigzag order, and `n`, both in groups of 7 bits |
 * | | 8: how many write ids `p` has, and 12 bytes for each |
 * | | 1: the length of the other members as JSON, and that |
 * | | 2: the length of the fields as JSON, and to the end that, compressed (RFC 1950) |
 *
 * It always has 20 bytes or more, so that none has the 16 of a deletion.
 */
import type { Json } from "../Json.ts"
import { Malformed, Reader, Writer } from "./bytes.ts"

/** Fields of a document, compressed. */
export interface Compressed {
  /** The bytes of their JSON. */
  readonly size: number
  readonly bytes: Uint8Array
}

/** The first byte. */
export const version = 1

const hasRest = 1
const hasFields = 2
const hasBefore = 4
const hasAncestors = 8
/** All members are among the others. */
const isUnusual = 16

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const idLength = 16
const idBytes = 12

/** By the unit of a character; what is none of the alphabet has 255. */
const numbers = new Uint8Array(128).fill(255)
for (let i = 0; i < alphabet.length; i++) numbers[alphabet.charCodeAt(i)] = i

const units = Uint8Array.from(alphabet, (character) => character.charCodeAt(0))

/** The least time before 1970, and the most after it, that is not unusual: some 2,200 years. */
const mostMillis = 2 ** 46

const isTime = (value: Json | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && Math.abs(value) <= mostMillis && !Object.is(value, -0)

const isId = (value: Json | undefined): value is string => {
  if (typeof value !== "string" || value.length !== idLength) return false
  for (let i = 0; i < idLength; i++) {
    const unit = value.charCodeAt(i)
    if (unit >= 128 || numbers[unit] === 255) return false
  }
  return true
}

const isIds = (value: Json | undefined): value is ReadonlyArray<string> => Array.isArray(value) && value.every(isId)

const isCount = (value: Json | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const writeId = (writer: Writer, id: string): void => {
  let to = writer.room(idBytes)
  const { buffer } = writer
  for (let at = 0; at < idLength; at += 4) {
    const bits =
      (numbers[id.charCodeAt(at)]! << 18) |
      (numbers[id.charCodeAt(at + 1)]! << 12) |
      (numbers[id.charCodeAt(at + 2)]! << 6) |
      numbers[id.charCodeAt(at + 3)]!
    buffer[to++] = bits >> 16
    buffer[to++] = (bits >> 8) & 255
    buffer[to++] = bits & 255
  }
}

const readId = (reader: Reader): string => {
  const from = reader.pass(idBytes)
  const { buffer } = reader
  const first = (buffer[from]! << 16) | (buffer[from + 1]! << 8) | buffer[from + 2]!
  const second = (buffer[from + 3]! << 16) | (buffer[from + 4]! << 8) | buffer[from + 5]!
  const third = (buffer[from + 6]! << 16) | (buffer[from + 7]! << 8) | buffer[from + 8]!
  const fourth = (buffer[from + 9]! << 16) | (buffer[from + 10]! << 8) | buffer[from + 11]!
  // One flat text: it is compared, and kept, more often than it is read.
  return String.fromCharCode(
    units[first >> 18]!,
    units[(first >> 12) & 63]!,
    units[(first >> 6) & 63]!,
    units[first & 63]!,
    units[second >> 18]!,
    units[(second >> 12) & 63]!,
    units[(second >> 6) & 63]!,
    units[second & 63]!,
    units[third >> 18]!,
    units[(third >> 12) & 63]!,
    units[(third >> 6) & 63]!,
    units[third & 63]!,
    units[fourth >> 18]!,
    units[(fourth >> 12) & 63]!,
    units[(fourth >> 6) & 63]!,
    units[fourth & 63]!
  )
}

const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value)
const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2)

const writeTime = (writer: Writer, millis: number): void => {
  const to = writer.room(6)
  const { buffer } = writer
  const high = Math.floor(millis / 2 ** 32)
  const low = millis - high * 2 ** 32
  buffer[to] = (high >> 8) & 255
  buffer[to + 1] = high & 255
  buffer[to + 2] = Math.floor(low / 2 ** 24)
  buffer[to + 3] = (low >> 16) & 255
  buffer[to + 4] = (low >> 8) & 255
  buffer[to + 5] = low & 255
}

const readTime = (reader: Reader): number => {
  const from = reader.pass(6)
  const { buffer } = reader
  const high = (((buffer[from]! << 8) | buffer[from + 1]!) << 16) >> 16
  const low = buffer[from + 2]! * 2 ** 24 + ((buffer[from + 3]! << 16) | (buffer[from + 4]! << 8) | buffer[from + 5]!)
  return high * 2 ** 32 + low
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Used by one call at a time, from its beginning to its end. */
const writer = new Writer()

/** The members without a form of their own, if there are some. */
const othersOf = (members: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> | undefined => {
  let others: Record<string, Json> | undefined
  for (const name in members) {
    if (name !== "w" && name !== "t" && name !== "c" && name !== "n" && name !== "p") {
      others ??= {}
      others[name] = members[name]!
    }
  }
  return others
}

/** What has more is not looked at character by character. */
const fewCharacters = 256

const isShortAscii = (text: string): boolean => {
  if (text.length > fewCharacters) return false
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}

/** The length in UTF-8, and that. */
const writeText = (text: string): void => {
  if (isShortAscii(text)) {
    writer.uint(text.length)
    for (let i = 0; i < text.length; i++) writer.byte(text.charCodeAt(i))
    return
  }
  const bytes = encoder.encode(text)
  writer.uint(bytes.length)
  writer.bytes(bytes)
}

/** Writes a body, of its members as they are in JSON. `stringify` writes those that have no form of their own. */
export const write = (
  members: Readonly<Record<string, Json>>,
  compressed: Compressed | undefined,
  stringify: (members: Readonly<Record<string, Json>>) => string
): Uint8Array => {
  const { c, n, p, t, w } = members
  const isUsual =
    isId(w) &&
    isTime(t) &&
    (c === undefined || isTime(c)) &&
    (n === undefined || isCount(n)) &&
    (p === undefined || (isIds(p) && p.length < 128))
  const rest = isUsual ? othersOf(members) : members
  const hasOthers = rest !== undefined
  const changed = isUsual && (c !== undefined || n !== undefined)
  writer.reset()
  writer.byte(version)
  writer.byte(
    (isUsual ? 0 : isUnusual) |
      (hasOthers ? hasRest : 0) |
      (compressed === undefined ? 0 : hasFields) |
      (changed ? hasBefore : 0) |
      (isUsual && p !== undefined ? hasAncestors : 0)
  )
  if (isUsual) {
    writeId(writer, w)
    writeTime(writer, t)
    if (changed) {
      writer.uint(zigzag(t - (c ?? t)))
      writer.uint(n ?? 1)
    }
    if (p !== undefined) {
      writer.uint(p.length)
      for (const id of p) writeId(writer, id)
    }
  }
  if (hasOthers) {
    writeText(stringify(rest))
  }
  if (compressed !== undefined) {
    writer.uint(compressed.size)
    writer.bytes(compressed.bytes)
  }
  return writer.copy()
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The members of a body as they are in JSON, unchecked, and its fields; `undefined` for what is no such body. */
export const read = (
  bytes: Uint8Array
): { readonly members: Readonly<Record<string, unknown>>; readonly compressed: Compressed | undefined } | undefined => {
  const reader = new Reader(bytes)
  try {
    if (reader.byte() !== version) return undefined
    const parts = reader.byte()
    if (parts > 31) return undefined
    let members: Record<string, unknown> = {}
    if ((parts & isUnusual) === 0) {
      members["w"] = readId(reader)
      const time = readTime(reader)
      members["t"] = time
      if ((parts & hasBefore) !== 0) {
        const since = unzigzag(reader.uint())
        const count = reader.uint()
        if (since !== 0) members["c"] = time - since
        if (count !== 1) members["n"] = count
      }
      if ((parts & hasAncestors) !== 0) {
        const ids: Array<string> = []
        for (let left = reader.uint(); left > 0; left--) ids.push(readId(reader))
        members["p"] = ids
      }
    }
    if ((parts & hasRest) !== 0) {
      const rest: unknown = JSON.parse(decoder.decode(reader.bytes(reader.uint())))
      if (!isObject(rest) || Object.hasOwn(rest, "__proto__")) return undefined
      for (const name in members) {
        if (Object.hasOwn(rest, name)) return undefined
        rest[name] = members[name]
      }
      members = rest
    }
    if ((parts & hasFields) === 0) return reader.done ? { members, compressed: undefined } : undefined
    const size = reader.uint()
    return { members, compressed: { size, bytes: bytes.subarray(reader.at) } }
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError) return undefined
    throw error
  }
}
