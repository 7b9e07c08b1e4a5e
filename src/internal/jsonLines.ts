/** Lines of JSON, as bytes come. */
import type * as Schema from "effect/Schema"
import { joinBytes } from "./bytes.ts"
import { isList, isObject } from "./json.ts"

type Json = Schema.Json

type JsonObject = { readonly [name: string]: Json }

export type Reason = "InvalidJson" | "InvalidUtf8" | "TooLong" | "NotADocument"

/** A document, or why the line is none, and what it says as far as that is known. */
export type Read =
  | { readonly line: number; readonly document: JsonObject }
  | { readonly line: number; readonly reason: Reason; readonly description: string; readonly text: string }

export interface LineReader {
  readonly read: (bytes: Uint8Array) => ReadonlyArray<Read>
  readonly end: () => ReadonlyArray<Read>
}

const lineFeed = 0x0a

/** Reads documents line by line. No more than `maxLineBytes` of a line are held. */
export const makeLineReader = (maxLineBytes: number): LineReader => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  let pending: Array<Uint8Array> = []
  let length = 0
  let isTooLong = false
  let line = 0

  const hold = (part: Uint8Array): void => {
    length += part.length
    // Without its carriage return it may still fit.
    isTooLong ||= length > maxLineBytes + 1
    if (isTooLong) pending = []
    // A copy, as the source may use its buffer again.
    else if (part.length > 0) pending.push(part.slice())
  }

  const finish = (part: Uint8Array): Read | undefined => {
    line += 1
    const total = length + part.length
    const whole =
      isTooLong || total > maxLineBytes + 1 ? undefined : pending.length === 0 ? part : joinBytes([...pending, part])
    pending = []
    length = 0
    isTooLong = false
    if (whole === undefined) return tooLong()
    const bytes = whole[total - 1] === 0x0d ? whole.subarray(0, -1) : whole
    return bytes.length > maxLineBytes ? tooLong() : parseLine(bytes)
  }

  const refuse = (reason: Reason, description: string, text = ""): Read => ({ line, reason, description, text })

  const tooLong = () => refuse("TooLong", `Expected at most ${maxLineBytes} bytes`)

  const parseLine = (bytes: Uint8Array): Read | undefined => {
    let text: string
    try {
      text = decoder.decode(bytes)
    } catch {
      return refuse("InvalidUtf8", "Expected UTF-8")
    }
    if (line === 1 && text.startsWith("\uFEFF")) text = text.slice(1)
    if (/^[\t\r ]*$/.test(text)) return undefined
    let value: Json
    try {
      value = JSON.parse(text)
    } catch {
      return refuse("InvalidJson", "Expected JSON", text)
    }
    if (!isObject(value)) return refuse("NotADocument", "Expected an object", text)
    const problem = whyUnfit(value)
    return problem === undefined ? { line, document: value } : refuse("NotADocument", problem, text)
  }

  return {
    read: (bytes) => {
      const found: Array<Read> = []
      let start = 0
      for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, start)) {
        const result = finish(bytes.subarray(start, end))
        if (result !== undefined) found.push(result)
        start = end + 1
      }
      hold(bytes.subarray(start))
      return found
    },
    end: () => {
      if (length === 0) return []
      const result = finish(new Uint8Array(0))
      return result === undefined ? [] : [result]
    }
  }
}

const maxLevels = 256

/** Why a value is nothing that can be stored. Level by level and without recursion, for a line can be as deep as it is long. */
export const whyUnfit = (document: JsonObject): string | undefined => {
  let level: Array<Json> = [document]
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > maxLevels) return `Expected at most ${maxLevels} levels`
    const below: Array<Json> = []
    for (const node of level) {
      if (isObject(node) && Object.hasOwn(node, "__proto__")) return "Expected keys other than __proto__"
      for (const value of isList(node) ? node : Object.values(node as JsonObject)) {
        if (typeof value === "number" && !Number.isFinite(value)) return "Expected finite numbers"
        if (typeof value === "object" && value !== null) below.push(value)
      }
    }
    level = below
  }
  return undefined
}
