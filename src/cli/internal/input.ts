/** JSON that comes in: as an argument, from a file, or from standard input. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type { Json, JsonObject } from "../../encoding/Json.ts"
import { isList, isObject } from "../../internal/json.ts"
import { fileFailure, Unreadable, Usage } from "./failure.ts"

/** The bytes of a file; `-` is standard input. */
export const bytesOf = (file: string): Stream.Stream<Uint8Array, Unreadable, FileSystem.FileSystem | Stdio.Stdio> => {
  const failed = fileFailure(file === "-" ? "standard input" : file, "read")
  return file === "-"
    ? Stream.mapError(Stream.unwrap(Effect.map(Stdio.Stdio, ({ stdin }) => stdin)), failed)
    : Stream.mapError(Stream.unwrap(Effect.map(FileSystem.FileSystem, (fs) => fs.stream(file))), failed)
}

/** The same as text. What is no UTF-8 is refused: in the place of each such byte there would be another text. */
export const pieces = (file: string): Stream.Stream<string, Unreadable, FileSystem.FileSystem | Stdio.Stdio> => {
  const name = file === "-" ? "standard input" : file
  const decoding = (decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array | undefined) =>
    Effect.try({
      try: () => decoder.decode(bytes, { stream: bytes !== undefined }),
      catch: () => new Unreadable({ description: `${name} is no UTF-8: write it in that encoding` })
    })
  return Stream.suspend(() => {
    const decoder = new TextDecoder("utf-8", { fatal: true })
    return Stream.concat(
      Stream.mapEffect(bytesOf(file), (bytes) => decoding(decoder, bytes)),
      Stream.fromEffect(Effect.suspend(() => decoding(decoder, undefined)))
    )
  })
}

export const textOf = (file: string) => Stream.mkString(pieces(file))

/** Reads JSON. `what` names it in the error, which says where it breaks off, and shows nothing of it. */
export const parse = (text: string, what: string): Effect.Effect<Json, Unreadable> =>
  Effect.try({
    try: () => JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text) as Json,
    catch: (error) => {
      const at = /position (\d+)/.exec(error instanceof Error ? error.message : "")?.[1]
      const where = at === undefined ? "" : ` from character ${at} on`
      return new Unreadable({
        description: `${what} is no JSON${where}: write {"name": "Ana"}, in quotes for the shell`
      })
    }
  })

/**
 * A value that is given as an argument, with `--file`, or on standard input: an argument of `-`, or none where standard input is
 * no terminal. `ways` are others of the command, for the error.
 */
export const json = Effect.fnUntraced(function* (
  argument: Option.Option<string>,
  file: Option.Option<string>,
  what: string,
  ways = ""
) {
  if (Option.isSome(argument) && Option.isSome(file)) {
    return yield* new Usage({ description: `${what} is given as an argument and with --file: give one of them` })
  }
  if (Option.isSome(file)) return yield* parse(yield* textOf(file.value), file.value)
  if (Option.isSome(argument) && argument.value !== "-") return yield* parse(argument.value, what)
  const { stdinIsTerminal } = yield* Stdio.Stdio
  if (Option.isNone(argument) && (yield* stdinIsTerminal)) {
    return yield* new Usage({
      description: `nothing was given: give ${what} as an argument, with ${ways}--file, or on standard input`
    })
  }
  const text = yield* textOf("-")
  if (text.trim() === "") {
    return yield* new Usage({
      description: `nothing was given: give ${what} as an argument, with ${ways}--file, or on standard input, which is empty`
    })
  }
  return yield* parse(text, "standard input")
})

/** The same, which has to be an object. */
export const object = Effect.fnUntraced(function* (
  argument: Option.Option<string>,
  file: Option.Option<string>,
  what: string,
  ways = ""
): Effect.fn.Return<JsonObject, Usage | Unreadable, FileSystem.FileSystem | Stdio.Stdio> {
  const value = yield* json(argument, file, what, ways)
  return isObject(value) ? value : yield* new Unreadable({ description: `${what} has to be a JSON object` })
})

/** One object or several. */
export const objects = Effect.fnUntraced(function* (
  argument: Option.Option<string>,
  file: Option.Option<string>,
  what: string
): Effect.fn.Return<ReadonlyArray<JsonObject>, Usage | Unreadable, FileSystem.FileSystem | Stdio.Stdio> {
  const value = yield* json(argument, file, what)
  const all: ReadonlyArray<Json> = isList(value) ? value : [value]
  const found = all.filter(isObject)
  return found.length === all.length
    ? found
    : yield* new Unreadable({ description: `${what} has to be a JSON object, or an array of them` })
})
