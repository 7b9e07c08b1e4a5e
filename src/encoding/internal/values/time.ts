/** Moments, days, times of day, and durations. */
import * as formats from "../../../internal/formats.ts"
import { isObject } from "../../../internal/json.ts"
import type { Json } from "../../Json.ts"
import * as base62 from "../base62.ts"
import * as isoTime from "../../../internal/isoTime.ts"
import { forInteger, orMalformed, unzigzag, type ValueCodec, writeInteger, zigzag } from "./codec.ts"

const dateText = forInteger(isoTime.millisOf, isoTime.isoOf)

/** Moments. In binary, whole seconds take a byte less. */
export const date: ValueCodec = {
  ...dateText,
  write: (writer, value) => {
    const millis = typeof value === "string" ? isoTime.millisOf(value) : undefined
    if (millis === undefined || Math.abs(millis) > 2 ** 50) return false
    writer.uint(millis % 1000 === 0 ? zigzag(millis / 1000) * 2 : zigzag(millis) * 2 + 1)
    return true
  },
  read: (reader) => {
    const head = reader.uint()
    const units = unzigzag(Math.floor(head / 2))
    return orMalformed(isoTime.isoOf(head % 2 === 1 ? units : units * 1000))
  }
}

const day = 86_400_000

/** Days. */
export const dateonly = forInteger((text) => (text.length === 10 ? isoTime.daysOf(text) : undefined), isoTime.dateOf)

const pad = (value: number, width: number): string => String(value).padStart(width, "0")

/** Times of day. The unit is the last part written: minutes, seconds, or milliseconds; it is in the last of three counts. */
export const timeonly = forInteger(
  (text) => {
    if (!formats.isTimeOnly(text)) return undefined
    const [hours = 0, minutes = 0, seconds] = text.split(":").map(Number)
    const total = hours * 60 + minutes
    if (seconds === undefined) return total * 3
    return text.includes(".") ? Math.round((total * 60 + seconds) * 1000) * 3 + 2 : (total * 60 + seconds) * 3 + 1
  },
  (value) => {
    if (value < 0) return undefined
    const unit = value % 3
    const count = Math.floor(value / 3)
    const millis = unit === 2 ? count : unit === 1 ? count * 1000 : count * 60_000
    if (millis >= day) return undefined
    const text = `${pad(Math.floor(millis / 3_600_000), 2)}:${pad(Math.floor(millis / 60_000) % 60, 2)}`
    if (unit === 0) return text
    const seconds = `${text}:${pad(Math.floor(millis / 1000) % 60, 2)}`
    return unit === 1 ? seconds : `${seconds}.${pad(millis % 1000, 3)}`
  }
)

/** Effect's JSON form of a finite duration of whole milliseconds. */
export const duration: ValueCodec = {
  toText: (value) => {
    const millis = durationMillis(value)
    return millis === undefined ? undefined : base62.encode(millis)
  },
  fromText: (text) => {
    const millis = base62.decode(text)
    return millis === undefined ? undefined : { _tag: "Millis", value: millis }
  },
  write: (writer, value) => writeInteger(writer, durationMillis(value)),
  read: (reader) => ({ _tag: "Millis", value: unzigzag(reader.uint()) })
}

const durationMillis = (value: Json): number | undefined => {
  if (!isObject(value) || value["_tag"] !== "Millis" || Object.keys(value).length !== 2) return undefined
  const millis = value["value"]
  const valid = typeof millis === "number" && Number.isInteger(millis) && Math.abs(millis) < 2 ** 52
  return valid && !Object.is(millis, -0) ? millis : undefined
}
