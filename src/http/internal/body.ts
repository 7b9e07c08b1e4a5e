/**
 * The body of a request: read up to a limit while it comes in, and no JSON that would hurt.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpServerError } from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import { joinBytes } from "../../internal/bytes.ts"
import { documentLevels, isDeeperThan, type Json } from "../../encoding/Json.ts"
import * as Answer from "./answer.ts"

/** Cuts a stream off with 413 as soon as it is longer than that. */
export const limited = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  maxBytes: number
): Stream.Stream<Uint8Array, E | Answer.Refused, R> =>
  Stream.suspend(() => {
    let size = 0
    return Stream.mapEffect(bytes, (chunk) => {
      size += chunk.length
      return size > maxBytes ? tooLarge(maxBytes) : Effect.succeed(chunk)
    })
  })

const tooLarge = (maxBytes: number) =>
  Answer.refuse(413, "BodyTooLarge", `the body has more than the ${maxBytes} bytes that are allowed`)

/** What is said of the length is not believed, but a request that says too much is not read at all. */
const declared = (request: HttpServerRequest, maxBytes: number): Effect.Effect<void, Answer.Refused> => {
  const length = request.headers["content-length"]
  return length !== undefined && Number(length) > maxBytes ? tooLarge(maxBytes) : Effect.void
}

const broken = (_: HttpServerError) => Answer.refuse(400, "BrokenBody", "the body cannot be read to its end")

/** The bytes of a request, as they come in. */
export const bytes = (request: HttpServerRequest, maxBytes: number): Stream.Stream<Uint8Array, Answer.Refused> =>
  Stream.unwrap(
    Effect.as(
      declared(request, maxBytes),
      limited(
        Stream.catch(request.stream, (error) => Stream.fromEffect(broken(error))),
        maxBytes
      )
    )
  )

const mediaType = (header: string | undefined): string => header?.split(";")[0]?.trim().toLowerCase() ?? ""

const isJson = (type: string): boolean => type === "application/json" || /^application\/[\w.!#$&^-]+\+json$/.test(type)

/** Reads JSON. Names that are there twice are what `JSON.parse` makes of them, the last one. */
export const json = Effect.fnUntraced(function* (
  request: HttpServerRequest,
  maxBytes: number
): Effect.fn.Return<Json, Answer.Refused> {
  if (!isJson(mediaType(request.headers["content-type"]))) {
    return yield* Answer.refuse(415, "UnsupportedMediaType", "send the body as application/json")
  }
  const encoding = request.headers["content-encoding"]
  if (encoding !== undefined && encoding !== "identity") {
    return yield* Answer.refuse(415, "UnsupportedMediaType", "send the body without a content encoding")
  }
  const whole = joinBytes(yield* Stream.runCollect(bytes(request, maxBytes)))
  return yield* parse(whole)
})

/** Reads a form of names and values. */
export const form = Effect.fnUntraced(function* (
  request: HttpServerRequest,
  maxBytes: number
): Effect.fn.Return<URLSearchParams, Answer.Refused> {
  if (mediaType(request.headers["content-type"]) !== "application/x-www-form-urlencoded") {
    return yield* Answer.refuse(415, "UnsupportedMediaType", "send the body as application/x-www-form-urlencoded")
  }
  return new URLSearchParams(new TextDecoder().decode(joinBytes(yield* Stream.runCollect(bytes(request, maxBytes)))))
})

const parse = (whole: Uint8Array): Effect.Effect<Json, Answer.Refused> =>
  Effect.suspend(() => {
    let value: Json
    try {
      value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(whole)) as Json
    } catch {
      // The message of the parser shows a part of the text.
      return Answer.refuse(400, "InvalidJson", "the body is no JSON in UTF-8")
    }
    return isDeeperThan(value, documentLevels)
      ? Answer.refuse(400, "InvalidJson", `the body is nested deeper than ${documentLevels} levels`)
      : Effect.succeed(value)
  })
