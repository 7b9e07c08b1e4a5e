/** What is stored of a field, as the JSON that our schemas take. */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { Json } from "../../encoding/Json.ts"
import { isList, isObject } from "../../internal/json.ts"
import type { Kind } from "./attributes.ts"
import { fixedText, integerOf, numberOf } from "./numbers.ts"
import * as secrets from "./secrets.ts"

/** Why a field could not be read. */
export type Problem =
  | "it is not what its type stores"
  | "it is no JSON: it was cut, or is damaged"
  | "no passphrase was given"
  | "the passphrase does not open it"
  | "it is no hash of a password that is known"

const unfit: Problem = "it is not what its type stores"

const json = (text: string): Result.Result<Json, Problem> => {
  try {
    return Result.succeed(JSON.parse(text) as Json)
  } catch {
    return Result.fail("it is no JSON: it was cut, or is damaged")
  }
}

const orUnfit = <A>(value: A | undefined): Result.Result<A, Problem> =>
  value === undefined ? Result.fail(unfit) : Result.succeed(value)

/** Items between `|`, in which `\` takes the meaning of the next character. */
const splitItems = (text: string): ReadonlyArray<string> => {
  if (text === "") return []
  const items = [""]
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    if (character === "\\" && i + 1 < text.length) items[items.length - 1] += text[++i]!
    else if (character === "|") items.push("")
    else items[items.length - 1] += character
  }
  return items
}

/** Either it is JSON, or its items are between `|`. */
const items = <A extends Json>(text: string, item: (text: string) => A | undefined): Result.Result<Json, Problem> => {
  if (text.startsWith("[") && text.endsWith("]")) {
    const whole = json(text)
    if (Result.isSuccess(whole)) return whole
  }
  const all = splitItems(text).map(item)
  return all.includes(undefined) ? Result.fail(unfit) : Result.succeed(all as ReadonlyArray<A>)
}

const ip4 = (text: string): string | undefined => {
  const bytes = Result.getOrElse(Base64.decode(text), () => new Uint8Array(0))
  return bytes.length === 4 ? bytes.join(".") : /^\d+\.\d+\.\d+\.\d+$/.test(text) ? text : undefined
}

const ip6 = (text: string): string | undefined => {
  if (text.includes(":")) return text
  const bytes = Result.getOrElse(Base64.decode(text), () => new Uint8Array(0))
  if (bytes.length !== 16) return undefined
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16))
  // RFC 5952: the first of the longest runs of zeros is left out, unless it is a single one.
  let run = { start: 0, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (groups[start + length] === "0") length += 1
    if (length > run.length) run = { start, length }
  }
  if (run.length === 1) return groups.join(":")
  return `${groups.slice(0, run.start).join(":")}::${groups.slice(run.start + run.length).join(":")}`
}

/** `~` and a coordinate that was moved above 0, with its places. */
const coordinate = (text: string, places: number, offset: number): number | undefined => {
  const value = integerOf(text)
  if (value === undefined) return undefined
  const moved = value - BigInt(offset) * 10n ** BigInt(places)
  const sign = moved < 0n ? "-" : ""
  const magnitude = String(moved < 0n ? -moved : moved).padStart(places + 1, "0")
  const number = Number(
    `${sign}${magnitude.slice(0, magnitude.length - places)}.${magnitude.slice(magnitude.length - places)}`
  )
  return Number.isFinite(number) && Math.abs(number) <= offset ? number : undefined
}

const point = (text: string, places: number): Json | undefined => {
  const [, first, second] = /^~(-?\w+)~(-?\w+)$/.exec(text) ?? []
  if (first === undefined || second === undefined) return undefined
  const latitude = coordinate(first, places, 90)
  const longitude = coordinate(second, places, 180)
  return latitude === undefined || longitude === undefined ? undefined : { latitude, longitude }
}

const embedding = (text: string): Result.Result<Json, Problem> => {
  const inside = /^\^\[(.*)\]$/.exec(text)?.[1]
  if (inside === undefined) return json(text)
  const places = 6
  // What was no number is empty there.
  const all = inside === "" ? [] : inside.split(",").map((one) => (one === "" ? "0" : fixedText(one, places)))
  return all.includes(undefined) ? Result.fail(unfit) : Result.succeed(all.map(Number))
}

/** 16 bytes as 4 numbers of 32 bits, each of 6 digits in base 62. */
const uuid = (text: string): string | undefined => {
  if (text.includes("-")) return text
  if (text.length !== 24) return undefined
  const parts = [0, 6, 12, 18].map((at) => integerOf(text.slice(at, at + 6)))
  if (parts.some((one) => one === undefined || one < 0n || one > 0xffffffffn)) return undefined
  const hex = parts.map((one) => one!.toString(16).padStart(8, "0")).join("")
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")
}

/** Up to the years that a date can have. */
const maxMillis = 8_640_000_000_000_000

const iso = (text: string, scale: number): string | undefined => {
  const value = integerOf(text)
  if (value === undefined) return undefined
  const millis = Number(value) * scale
  return Math.abs(millis) <= maxMillis ? new Date(millis).toISOString() : undefined
}

const date = (text: string): string | undefined => {
  const inside = /^"(.*)"$/.exec(text)?.[1] ?? text
  const millis = Date.parse(inside)
  return Number.isNaN(millis) ? undefined : new Date(millis).toISOString()
}

const timeOnly = (text: string): string | undefined => {
  if (text.includes(":")) return text
  const millis = integerOf(text)
  return millis !== undefined && millis >= 0n && millis < 86_400_000n
    ? new Date(Number(millis)).toISOString().slice(11, 23)
    : undefined
}

const boolean = (text: string): boolean | undefined =>
  /^(1|true|yes|y)$/.test(text) ? true : /^(0|false|no|n|)$/.test(text) ? false : undefined

const plain = (text: string, kind: Exclude<Kind, { readonly _tag: "Secret" }>): Result.Result<Json, Problem> => {
  switch (kind._tag) {
    case "Text":
      return Result.succeed(text)
    case "Boolean":
      return orUnfit(boolean(text))
    case "Json":
      return json(text)
    case "Number":
      return orUnfit(numberOf(text))
    case "Texts":
      return items(text, (item) => item)
    case "Numbers":
      return items(text, numberOf)
    case "Fixed": {
      if (!text.startsWith(kind.sign)) return Result.fail(unfit)
      return orUnfit(
        kind.sign === "~" ? coordinate(text.slice(1), kind.places, kind.offset) : fixedText(text.slice(1), kind.places)
      )
    }
    case "Points":
      return orUnfit(point(text, kind.places))
    case "Embedding":
      return embedding(text)
    case "Ip4":
      return orUnfit(ip4(text))
    case "Ip6":
      return orUnfit(ip6(text))
    case "Date":
      return orUnfit(date(text))
    case "DateTime":
      return orUnfit(/[-:]/.test(text.slice(1)) ? date(text) : iso(text, 1))
    case "DateOnly":
      return orUnfit(/[-:]/.test(text.slice(1)) ? text : iso(text, 86_400_000)?.slice(0, 10))
    case "TimeOnly":
      return orUnfit(timeOnly(text))
    case "Uuid":
      return orUnfit(uuid(text))
    case "Password": {
      const hash = secrets.hashText(text)
      return hash === undefined ? Result.fail("it is no hash of a password that is known") : Result.succeed(hash)
    }
  }
}

/** A value as the program gave it, which the original keeps in some bodies beside, or in the place of, what it makes of it. */
export const ofProgram = (value: Json, kind: Kind): Json => {
  if (kind._tag === "Fixed" && kind.sign !== "~" && typeof value === "number") {
    return String(Number(value.toFixed(kind.places)))
  }
  if (kind._tag !== "Points") return value
  if (isList(value)) return value.length === 2 ? { latitude: value[0]!, longitude: value[1]! } : value
  if (!isObject(value)) return value
  const { lat, lon, ...rest } = value
  return lat === undefined || lon === undefined ? value : { ...rest, latitude: lat, longitude: lon }
}

const opened = (text: string, of: "text" | "number" | "any"): Result.Result<Json, Problem> => {
  if (of === "text") return Result.succeed(text)
  if (of === "any") return Result.orElse(json(text), () => Result.succeed(text))
  const number = Number(text)
  return text.trim() === "" || !Number.isFinite(number) ? Result.fail(unfit) : Result.succeed(number)
}

/**
 * The value of a stored text; `undefined` is a field that is not there. `null` and `undefined` are what the original writes for nothing, whatever
 * the type; it reads texts of these letters back so itself.
 */
export const decode = (
  text: string,
  kind: Kind,
  passphrase: Redacted.Redacted<string> | undefined
): Effect.Effect<Json | undefined, Problem> => {
  if (text === "null") return Effect.succeed(null)
  if (text === "undefined") return Effect.succeed(undefined)
  if (kind._tag !== "Secret") return Effect.fromResult(plain(text, kind))
  if (passphrase === undefined) return Effect.fail("no passphrase was given")
  return Effect.matchEffect(secrets.open(text, passphrase), {
    onFailure: () => Effect.fail("the passphrase does not open it" as const),
    onSuccess: (clear) =>
      clear === "undefined" ? Effect.succeed(undefined) : Effect.fromResult(opened(clear, kind.of))
  })
}
