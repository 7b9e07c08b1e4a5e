/**
 * What the codec of a value is, and what several of them are made of.
 *
 * A codec works on the JSON form of a value. It answers `undefined` (or `false`) for a value that its short form cannot
 * carry exactly; such a value is then stored in a general form, so that a codec is a matter of size, never of
 * correctness. `null` never reaches a codec.
 */
import { decodeBase64, encodeBase64 } from "../../../internal/base64.ts"
import type { Json } from "../../Json.ts"
import * as base62 from "../base62.ts"
import type { Reader, Writer } from "../bytes.ts"
import { Malformed } from "../bytes.ts"

/** A codec of values: a readable form for a metadata entry, and a binary form for the packed encoding. */
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

/** Creates a codec for values that are texts of a certain form. */
export const forText = (codec: {
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

/** Creates a codec whose readable form is the base 64 of its binary form. */
export const forBytes = (codec: {
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

/** Returns a number that is not negative for each integer: small ones for those near 0. */
export const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value)

/** Returns the integer that `zigzag` made a number of. */
export const unzigzag = (value: number): number => (value % 2 === 1 ? -(value + 1) / 2 : value / 2)

/** Writes an integer; nothing where there is none. */
export const writeInteger = (writer: Writer, value: number | undefined): boolean => {
  if (value === undefined) return false
  writer.uint(zigzag(value))
  return true
}

/** Returns a value; throws `Malformed` where there is none. */
export const orMalformed = <A>(value: A | undefined): A => {
  if (value === undefined) throw new Malformed()
  return value
}

/** Creates a codec for texts that stand for an integer. */
export const forInteger = (
  toInteger: (text: string) => number | undefined,
  fromInteger: (n: number) => string | undefined
) =>
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

/** Reads a number of items that so few bytes can hold. */
export const checkedCount = (reader: Reader): number => {
  const count = reader.uint()
  if (count > 1_000_000) throw new Malformed()
  return count
}
