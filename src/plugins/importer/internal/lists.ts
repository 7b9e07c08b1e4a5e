/** JSON: the elements of a list at any place of a text, and lines that are documents each. */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as JsonArray from "effect/encoding/JsonArray"
import * as Stream from "effect/Stream"
import type { Json } from "../../../encoding/Json.ts"
import { isObject } from "../../../internal/json.ts"
import { makeLineReader, type Read, whyUnfit } from "../../../internal/jsonLines.ts"
import { Unreadable } from "../errors.ts"
import { type Counter, type Found, originalText } from "./records.ts"
import * as text from "./text.ts"

const fromValue = (value: Json, row: number): Found => {
  const problem = isObject(value) ? whyUnfit(value) : "Expected an object"
  return problem === undefined && isObject(value)
    ? { row, record: value, original: value }
    : { row, record: undefined, fault: { reason: "NotADocument", description: problem ?? "" }, original: value }
}

/** Characters that are parsed at once: what an error of the syntax takes with it of the elements before. */
const pieceLength = 65_536

const maxDepth = 1000

interface Options {
  readonly file: string
  readonly counter: Counter
  readonly maxRowLength: number
}

/** The elements of a list. `pointer`: where it is in the text (RFC 6901), `""` for all of it. */
export const elements = <E, R>(
  pieces: Stream.Stream<string, E, R>,
  { counter, file, maxRowLength, pointer }: Options & { readonly pointer: string }
): Stream.Stream<Found, E | Unreadable, R> =>
  text.inPieces(pieces, pieceLength).pipe(
    Stream.pipeThroughChannel(JsonArray.decodeString<E>({ pointer, maxDepth, maxElementSize: maxRowLength })),
    Stream.mapError((error): E | Unreadable => {
      if (!JsonArray.isJsonArrayError(error)) return error
      const at = error.offset === undefined ? "" : ` from character ${error.offset} on`
      return error.kind === "Limit"
        ? new Unreadable({
            file,
            reason: "TooLarge",
            row: counter.rows + 1,
            description: `a value has more than ${maxRowLength} characters or ${maxDepth} levels${at}`
          })
        : new Unreadable({
            file,
            reason: "Syntax",
            row: counter.rows + 1,
            description:
              error.kind === "Pointer"
                ? `it has no list there: ${error.message}; say by path where the list is`
                : `it is no JSON${at}`
          })
    }),
    Stream.mapArray(
      Arr.map((value) => {
        counter.rows += 1
        // Parsed by `JSON.parse`.
        return fromValue(value as Json, counter.rows)
      })
    )
  )

/** The one document that a text is. */
export const one = <E, R>(
  pieces: Stream.Stream<string, E, R>,
  { counter, file, maxRowLength }: Options
): Stream.Stream<Found, E | Unreadable, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      let whole = ""
      yield* Stream.runForEach(pieces, (piece) => {
        whole += piece
        return whole.length <= maxRowLength
          ? Effect.void
          : Effect.fail(
              new Unreadable({
                file,
                reason: "TooLarge",
                row: 1,
                description: `it is one document of more than ${maxRowLength} characters; say by path where the list is`
              })
            )
      })
      const value = yield* Effect.try({
        try: () => JSON.parse(whole) as Json,
        catch: (error) => {
          const at = /position (\d+)/.exec(error instanceof Error ? error.message : "")?.[1]
          const where = at === undefined ? "" : ` from character ${at} on`
          return new Unreadable({ file, reason: "Syntax", row: 1, description: `it is no JSON${where}` })
        }
      })
      counter.rows += 1
      return Stream.succeed(fromValue(value, counter.rows))
    })
  )

/** The documents of lines, of UTF-8. A line that is none is a record that is none. */
export const lines = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  { counter, maxRowLength }: Options
): Stream.Stream<Found, E, R> => {
  const found = (read: Read): Found => {
    counter.rows += 1
    const row = counter.rows
    if ("document" in read) return { row, line: read.line, record: read.document, original: read.document }
    const { description, line, reason, text } = read
    return { row, line, record: undefined, fault: { reason, description }, original: originalText(text) }
  }
  return Stream.mapAccumArray(
    bytes,
    () => makeLineReader(maxRowLength),
    (reader, some) => [reader, some.flatMap(reader.read).map(found)] as const,
    { onHalt: (reader) => reader.end().map(found) }
  )
}
