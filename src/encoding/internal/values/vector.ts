/** Coordinates, and vectors of numbers. */
import { isObject } from "../../../internal/json.ts"
import * as rounding from "../../../internal/rounding.ts"
import type { Json } from "../../Json.ts"
import * as base62 from "../base62.ts"
import { checkedCount, forBytes, unzigzag, type ValueCodec, zigzag } from "./codec.ts"

/** The integer that a number is in units of `1 / scale`, if it is one. */
const unitsOf = (value: Json | undefined, scale: number): number | undefined => {
  if (typeof value !== "number" || Object.is(value, -0)) return undefined
  const units = Math.round(value * scale)
  return units / scale === value && Number.isSafeInteger(units) ? units : undefined
}

/** Creates the codec of a coordinate, moved so that it is never negative: `~` and base 62. */
export const degrees = (bound: number, precision: number): ValueCodec => {
  const offset = bound * 10 ** precision
  const scale = 10 ** precision
  const unitsWithin = (value: Json | undefined): number | undefined => {
    const units = unitsOf(value, scale)
    return units === undefined || Math.abs(units) > offset ? undefined : units + offset
  }
  return {
    toText: (value) => {
      const units = unitsWithin(value)
      return units === undefined ? undefined : `~${base62.encode(units)}`
    },
    fromText: (text) => {
      const units = text.startsWith("~") ? base62.decode(text.slice(1)) : undefined
      return units === undefined || units < 0 || units > 2 * offset ? undefined : (units - offset) / scale
    },
    write: (writer, value) => {
      const units = unitsWithin(value)
      if (units === undefined) return false
      writer.uint(units)
      return true
    },
    read: (reader) => (reader.uint() - offset) / scale
  }
}

/** Creates the codec of points of a latitude and a longitude. */
export const point = (precision: number): ValueCodec => {
  const latitude = degrees(90, precision)
  const longitude = degrees(180, precision)
  const parts = (value: Json): readonly [Json, Json] | undefined => {
    if (!isObject(value)) return undefined
    const { latitude, longitude } = value
    const plain = latitude !== undefined && longitude !== undefined && Object.keys(value).length === 2
    return plain ? [latitude, longitude] : undefined
  }
  return {
    toText: (value) => {
      const both = parts(value)
      const [a, b] = both === undefined ? [] : [latitude.toText(both[0]), longitude.toText(both[1])]
      return a === undefined || b === undefined ? undefined : a + b
    },
    fromText: (text) => {
      const middle = text.indexOf("~", 1)
      const [a, b] = [latitude.fromText(text.slice(0, middle)), longitude.fromText(text.slice(middle))]
      return a === undefined || b === undefined ? undefined : { latitude: a, longitude: b }
    },
    write: (writer, value) => {
      const both = parts(value)
      const start = writer.length
      if (both !== undefined && latitude.write(writer, both[0]) && longitude.write(writer, both[1])) return true
      writer.reset(start)
      return false
    },
    read: (reader) => ({ latitude: latitude.read(reader), longitude: longitude.read(reader) })
  }
}

const isNumbers = (value: Json): value is ReadonlyArray<number> =>
  Array.isArray(value) && value.every((item) => typeof item === "number" && !Object.is(item, -0))

const allUnits = (value: Json, scale: number): ReadonlyArray<number> | undefined => {
  if (!isNumbers(value)) return undefined
  const units: Array<number> = []
  for (const item of value) {
    const unit = unitsOf(item, scale)
    if (unit === undefined) return undefined
    units.push(unit)
  }
  return units
}

/** Creates the codec of vectors of fixed-point numbers: `^[a,b,...]` in base 62. */
export const fixedVector = (precision: number): ValueCodec => {
  const scale = 10 ** precision
  return {
    toText: (value) => {
      const units = allUnits(value, scale)
      return units === undefined ? undefined : `^[${units.map(base62.encode).join(",")}]`
    },
    fromText: (text) => {
      if (!text.startsWith("^[") || !text.endsWith("]")) return undefined
      const inner = text.slice(2, -1)
      const numbers: Array<number> = []
      if (inner === "") return numbers
      for (const part of inner.split(",")) {
        const units = base62.decode(part)
        if (units === undefined) return undefined
        numbers.push(units / scale)
      }
      return numbers
    },
    write: (writer, value) => {
      const units = allUnits(value, scale)
      if (units === undefined || units.some((unit) => Math.abs(unit) > 2 ** 51)) return false
      writer.uint(units.length)
      for (const unit of units) writer.uint(zigzag(unit))
      return true
    },
    read: (reader) => Array.from({ length: checkedCount(reader) }, () => unzigzag(reader.uint()) / scale),
    textInBody: true
  }
}

/** Creates the codec of vectors of numbers of a machine format; `int8` with the size of its step before them. */
export const machineVector = (format: "int8" | "float16" | "float32"): ValueCodec => ({
  ...forBytes({
    toBytes: (value) => {
      if (!isNumbers(value)) return undefined
      if (format !== "int8") {
        const size = format === "float16" ? 2 : 4
        const view = new DataView(new ArrayBuffer(value.length * size))
        for (const [index, item] of value.entries()) {
          if (size === 4) view.setFloat32(index * 4, item)
          else view.setUint16(index * 2, rounding.toFloat16(item))
        }
        const exact = value.every((item, index) =>
          size === 4 ? view.getFloat32(index * 4) === item : rounding.fromFloat16(view.getUint16(index * 2)) === item
        )
        return exact ? new Uint8Array(view.buffer) : undefined
      }
      const step = rounding.int8Step(value)
      const view = new DataView(new ArrayBuffer(4 + value.length))
      view.setFloat32(0, step)
      for (const [index, item] of value.entries()) {
        const steps = step === 0 ? 0 : Math.round(item / step)
        if (steps * step !== item || Math.abs(steps) > 127) return undefined
        view.setInt8(4 + index, steps)
      }
      return new Uint8Array(view.buffer)
    },
    fromBytes: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      if (format === "int8") {
        const step = bytes.length < 4 ? Number.NaN : view.getFloat32(0)
        if (!Number.isFinite(step)) return undefined
        return Array.from({ length: bytes.length - 4 }, (_, index) => view.getInt8(4 + index) * step + 0)
      }
      const size = format === "float16" ? 2 : 4
      if (bytes.length % size !== 0) return undefined
      const values = Array.from({ length: bytes.length / size }, (_, index) =>
        size === 4 ? view.getFloat32(index * 4) : rounding.fromFloat16(view.getUint16(index * 2))
      )
      return values.every(Number.isFinite) ? values : undefined
    }
  }),
  textInBody: true
})
