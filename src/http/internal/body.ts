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

const unreadable = Answer.refuse(400, "BrokenBody", "the body cannot be read to its end")

const broken = (_: HttpServerError) => unreadable

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

/** What is used of a request of `node:http`, whose body has not begun to be read. */
interface Incoming {
  readonly readableFlowing: null
  readonly on: (event: string, listener: (chunk: never) => void) => void
  readonly off: (event: string, listener: (chunk: never) => void) => void
  readonly pause: () => void
}

const isIncoming = (source: object): source is Incoming =>
  "readableFlowing" in source &&
  source.readableFlowing === null &&
  "destroyed" in source &&
  source.destroyed === false &&
  ["on", "off", "pause"].every((name) => typeof Reflect.get(source, name) === "function")

/**
 * The body of a request of `node:http` that says how long it is, if it is no longer than that: without the stream of Effect, which takes as long as
 * the rest of a write. Who waits until he is asked for a body (`Expect`) is asked by the stream.
 */
const incomingOf = ({ headers, source }: HttpServerRequest): Incoming | undefined =>
  headers["content-length"] !== undefined &&
  headers["expect"] === undefined &&
  headers["upgrade"] === undefined &&
  isIncoming(source)
    ? source
    : undefined

/** Leaves the source as it is when it is done, also where it is interrupted: the answer goes over the same connection. */
const collected = (source: Incoming, maxBytes: number): Effect.Effect<Uint8Array, Answer.Refused> =>
  Effect.callback((resume) => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const leave = () => {
      source.off("data", onData)
      source.off("end", onEnd)
      source.off("error", onBroken)
      source.off("close", onBroken)
      source.pause()
    }
    const end = (effect: Effect.Effect<Uint8Array, Answer.Refused>) => {
      leave()
      resume(effect)
    }
    const onData = (chunk: Uint8Array) => {
      size += chunk.length
      if (size > maxBytes) end(tooLarge(maxBytes))
      else chunks.push(chunk)
    }
    const onEnd = () => {
      const [only, another] = chunks
      end(Effect.succeed(only !== undefined && another === undefined ? only : joinBytes(chunks)))
    }
    const onBroken = () => end(unreadable)
    source.on("data", onData)
    source.on("end", onEnd)
    source.on("error", onBroken)
    source.on("close", onBroken)
    return Effect.sync(leave)
  })

/** The bytes of a request together. */
const whole = (request: HttpServerRequest, maxBytes: number): Effect.Effect<Uint8Array, Answer.Refused> =>
  Effect.suspend(() => {
    const source = incomingOf(request)
    return source === undefined
      ? Effect.map(Stream.runCollect(bytes(request, maxBytes)), joinBytes)
      : Effect.andThen(declared(request, maxBytes), collected(source, maxBytes))
  })

const mediaType = (header: string | undefined): string => header?.split(";")[0]?.trim().toLowerCase() ?? ""

const isJson = (type: string): boolean => type === "application/json" || /^application\/[\w.!#$&^-]+\+json$/.test(type)

/** Reads JSON. Names that are there twice are what `JSON.parse` makes of them, the last one. */
export const json = (request: HttpServerRequest, maxBytes: number): Effect.Effect<Json, Answer.Refused> => {
  const { headers } = request
  if (!isJson(mediaType(headers["content-type"]))) {
    return Answer.refuse(415, "UnsupportedMediaType", "send the body as application/json")
  }
  const encoding = headers["content-encoding"]
  if (encoding !== undefined && encoding !== "identity") {
    return Answer.refuse(415, "UnsupportedMediaType", "send the body without a content encoding")
  }
  return Effect.flatMap(whole(request, maxBytes), parse)
}

/** Reads a form of names and values. */
export const form = Effect.fnUntraced(function* (
  request: HttpServerRequest,
  maxBytes: number
): Effect.fn.Return<URLSearchParams, Answer.Refused> {
  if (mediaType(request.headers["content-type"]) !== "application/x-www-form-urlencoded") {
    return yield* Answer.refuse(415, "UnsupportedMediaType", "send the body as application/x-www-form-urlencoded")
  }
  return new URLSearchParams(new TextDecoder().decode(yield* whole(request, maxBytes)))
})

const strictly = new TextDecoder("utf-8", { fatal: true })

const parse = (whole: Uint8Array): Effect.Effect<Json, Answer.Refused> => {
  let value: Json
  try {
    value = JSON.parse(strictly.decode(whole)) as Json
  } catch {
    // The message of the parser shows a part of the text.
    return Answer.refuse(400, "InvalidJson", "the body is no JSON in UTF-8")
  }
  return isDeeperThan(value, documentLevels)
    ? Answer.refuse(400, "InvalidJson", `the body is nested deeper than ${documentLevels} levels`)
    : Effect.succeed(value)
}
