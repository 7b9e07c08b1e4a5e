/** Writing and reading of binary values. Integers are little-endian in groups of seven bits (LEB128). */

/** Larger numbers are neither written nor read: the time for both grows with the square of the length. */
const mostBits = 4096
const firstTooBig = 1n << BigInt(mostBits)

export class Writer {
  /** What was written, and room for more. It is another one when that has run out. */
  buffer = new Uint8Array(256)
  length = 0

  private reserve(size: number): void {
    if (this.length + size <= this.buffer.length) return
    const larger = new Uint8Array(Math.max(this.buffer.length * 2, this.length + size))
    larger.set(this.buffer)
    this.buffer = larger
  }

  /** Leaves room for so many bytes, to be put into the buffer from where it says on. */
  room(size: number): number {
    this.reserve(size)
    this.length += size
    return this.length - size
  }

  byte(value: number): void {
    this.reserve(1)
    this.buffer[this.length++] = value
  }

  bytes(values: Uint8Array): void {
    this.reserve(values.length)
    this.buffer.set(values, this.length)
    this.length += values.length
  }

  /** A safe integer from 0. */
  uint(value: number): void {
    this.reserve(8)
    let rest = value
    while (rest >= 128) {
      this.buffer[this.length++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    this.buffer[this.length++] = rest
  }

  /** Writes nothing, and answers `false`, for a number of more bits than `Reader.bigUint` takes. */
  bigUint(value: bigint): boolean {
    if (value >= firstTooBig) return false
    let rest = value
    while (rest >= 128n) {
      this.byte(Number(rest & 127n) | 128)
      rest >>= 7n
    }
    this.byte(Number(rest))
    return true
  }

  /** Eight bytes. */
  float(value: number): void {
    this.reserve(8)
    new DataView(this.buffer.buffer).setFloat64(this.length, value)
    this.length += 8
  }

  /** A copy of what was written. */
  copy(): Uint8Array<ArrayBuffer> {
    return this.buffer.slice(0, this.length)
  }

  /** What was written, valid until more is written. */
  view(from = 0): Uint8Array {
    return this.buffer.subarray(from, this.length)
  }

  reset(length = 0): void {
    this.length = length
  }
}

/** The bytes ended, or hold a number that is too large. */
export class Malformed extends Error {
  override readonly name = "Malformed"
}

export class Reader {
  at = 0
  readonly buffer: Uint8Array

  constructor(buffer: Uint8Array) {
    this.buffer = buffer
  }

  get done(): boolean {
    return this.at >= this.buffer.length
  }

  byte(): number {
    if (this.at >= this.buffer.length) throw new Malformed()
    return this.buffer[this.at++]!
  }

  bytes(size: number): Uint8Array {
    if (this.at + size > this.buffer.length) throw new Malformed()
    this.at += size
    return this.buffer.subarray(this.at - size, this.at)
  }

  /** Passes over so many bytes, and says where they begin in the buffer. */
  pass(size: number): number {
    if (this.at + size > this.buffer.length) throw new Malformed()
    this.at += size
    return this.at - size
  }

  uint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.byte()
      value += (byte & 127) * factor
      if (value > Number.MAX_SAFE_INTEGER) throw new Malformed()
      if (byte < 128) return value
    }
  }

  bigUint(): bigint {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
      if (shift > mostBits) throw new Malformed()
    }
  }

  float(): number {
    const bytes = this.bytes(8)
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0)
  }
}
