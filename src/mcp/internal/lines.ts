/** Standard input as lines that are messages: what is none is answered here, and does not take its neighbours with it. */
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { isRecord } from "../../internal/json.ts"

/** The most bytes of a line. */
const most = 4_194_304

const newline = 0x0a

/** A line, or the answer to what is none. */
type Line = { readonly _tag: "Message"; readonly text: string } | { readonly _tag: "Answer"; readonly text: string }

const answer = (code: number, message: string): Line => ({
  _tag: "Answer",
  text: `${JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } })}\n`
})

/** The most levels of a message: what reads it further on goes down by calls of functions. */
const mostLevels = 500

/** Whether brackets go deeper, told of the text: without a call for each level. */
const isTooDeep = (text: string): boolean => {
  let level = 0
  let isQuoted = false
  for (let i = 0; i < text.length; i++) {
    const unit = text[i]
    if (isQuoted) {
      if (unit === "\\") i += 1
      else if (unit === '"') isQuoted = false
    } else if (unit === '"') isQuoted = true
    else if (unit === "[" || unit === "{") {
      level += 1
      if (level > mostLevels) return true
    } else if (unit === "]" || unit === "}") level -= 1
  }
  return false
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const lineOf = (bytes: ReadonlyArray<Uint8Array>): Line | undefined => {
  const text = new TextDecoder().decode(Buffer.concat(bytes)).trim()
  if (text === "") return undefined
  if (isTooDeep(text)) return answer(-32_600, `Invalid request: Expected at most ${mostLevels} levels`)
  const value = parsed(text)
  if (value === undefined) return answer(-32_700, "Parse error: Expected a line of JSON")
  const isMessage = isRecord(value) ? value["jsonrpc"] === "2.0" : Array.isArray(value)
  return isMessage ? { _tag: "Message", text: `${text}\n` } : answer(-32_600, "Invalid request: Expected JSON-RPC 2.0")
}

const lines = (input: Stream.Stream<Uint8Array, PlatformError>): Stream.Stream<Line, PlatformError> =>
  Stream.suspend(() => {
    let kept: Array<Uint8Array> = []
    let size = 0
    const add = (bytes: Uint8Array) => {
      size += bytes.length
      if (size > most) kept = []
      else kept.push(bytes)
    }
    const end = (): ReadonlyArray<Line> => {
      const line = size > most ? answer(-32_600, `Expected no more than ${most} bytes`) : lineOf(kept)
      kept = []
      size = 0
      return line === undefined ? [] : [line]
    }
    const whole = Stream.map(input, (chunk) => {
      const found: Array<Line> = []
      let at = 0
      for (;;) {
        const next = chunk.indexOf(newline, at)
        if (next === -1) break
        add(chunk.subarray(at, next))
        found.push(...end())
        at = next + 1
      }
      add(chunk.subarray(at))
      return found
    })
    return Stream.flattenIterable(Stream.concat(whole, Stream.sync(end)))
  })

/** The same standard input and output, of which only messages are read. */
export const messagesOnly = (stdio: Stdio.Stdio): Stdio.Stdio => ({
  ...stdio,
  stdin: lines(stdio.stdin).pipe(
    Stream.mapEffect((line) =>
      line._tag === "Message"
        ? Effect.succeed([new TextEncoder().encode(line.text)])
        : Effect.as(Effect.ignore(Stream.run(Stream.succeed(line.text), stdio.stdout())), [])
    ),
    Stream.flattenIterable
  )
})
