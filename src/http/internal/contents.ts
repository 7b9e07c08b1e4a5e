/**
 * Binary content of documents: whole or in ranges (RFC 9110, 14), with the digest of the bytes as entity tag.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Content from "../../Content.ts"
import * as CurrentUser from "../../CurrentUser.ts"
import * as DbError from "../../DbError.ts"
import * as Stream from "effect/Stream"
import * as Answer from "./answer.ts"
import * as Body from "./body.ts"
import { RequestId } from "./gate.ts"
import * as Preconditions from "./preconditions.ts"
import type { Untyped } from "./untyped.ts"

type Answered = Effect.Effect<HttpServerResponse.HttpServerResponse>

export interface Contents {
  readonly get: (request: HttpServerRequest, id: string) => Answered
  readonly set: (request: HttpServerRequest, id: string) => Answered
  readonly remove: (id: string) => Answered
}

/** One range of bytes. Several, and units that nobody knows, are as if there was no such header. */
const rangeOf = (header: string | undefined, size: number): Content.Range | "unsatisfiable" | undefined => {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "") ?? []
  if (first === "" && last === "") return undefined
  if (first === "") {
    const length = Number(last)
    return length === 0 || size === 0 ? "unsatisfiable" : { start: Math.max(0, size - length), end: size - 1 }
  }
  const start = Number(first)
  if (last !== "" && Number(last) < start) return undefined
  return start >= size ? "unsatisfiable" : { start, end: last === "" ? size - 1 : Math.min(Number(last), size - 1) }
}

export const make = (
  repository: Untyped,
  {
    hiding,
    name,
    maxBytes
  }: {
    readonly name: string
    readonly maxBytes: number
    readonly hiding: <A, E extends Answer.Failure>(
      id: string,
      effect: Effect.Effect<A, E>
    ) => Effect.Effect<A, E | DbError.NotFound>
  }
): Contents => {
  const answering = <E extends Answer.Failure>(
    effect: Effect.Effect<HttpServerResponse.HttpServerResponse, E>
  ): Answered => Effect.flatMap(RequestId, (requestId) => Answer.told(effect, requestId))

  const missing = (id: string) => Effect.fail(new DbError.NotFound({ resource: name, id }))

  const read = Effect.fnUntraced(function* (id: string, range?: Content.Range) {
    const found = yield* repository.getContent(id, range)
    return Option.isSome(found) ? found.value : yield* missing(id)
  })

  /** Whoever uploads says what it is: no browser should run it as a page of this origin. */
  const headersOf = ({ sha256 }: Content.Content<unknown>): Record<string, string> => ({
    etag: `"${sha256}"`,
    "accept-ranges": "bytes",
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'"
  })

  /** The bytes, drawn on behalf of whoever asked for them. */
  const stream = Effect.fnUntraced(function* (
    content: Content.Content<DbError.DbError>,
    options: { readonly status: number; readonly length: number; readonly headers: Record<string, string> }
  ) {
    const user = yield* CurrentUser.CurrentUser
    return HttpServerResponse.stream(Stream.provideService(content.bytes, CurrentUser.CurrentUser, user), {
      status: options.status,
      contentType: content.contentType,
      contentLength: options.length,
      headers: { ...headersOf(content), ...options.headers }
    })
  })

  return {
    get: (request, id) =>
      answering(
        hiding(
          id,
          Effect.gen(function* () {
            const known = yield* Preconditions.read(request.headers, "if-none-match")
            const whole = yield* read(id)
            if (known !== undefined && Preconditions.isNamed(known, whole.sha256)) {
              return HttpServerResponse.empty({ status: 304, headers: headersOf(whole) })
            }
            const ifRange = request.headers["if-range"]
            const isSame = ifRange === undefined || ifRange === `"${whole.sha256}"`
            const range = isSame ? rangeOf(request.headers["range"], whole.size) : undefined
            if (range === undefined) return yield* stream(whole, { status: 200, length: whole.size, headers: {} })
            if (range === "unsatisfiable") {
              const requestId = yield* RequestId
              const refused = yield* Answer.told(
                Answer.refuse(416, "RangeNotSatisfiable", "the content is shorter than that"),
                requestId
              )
              return HttpServerResponse.setHeader(refused, "content-range", `bytes */${whole.size}`)
            }
            const part = yield* read(id, range)
            // Another content was set in between: the whole of that is as good an answer.
            if (part.sha256 !== whole.sha256) {
              const other = yield* read(id)
              return yield* stream(other, { status: 200, length: other.size, headers: {} })
            }
            const { end = whole.size - 1, start } = range
            return yield* stream(part, {
              status: 206,
              length: end - start + 1,
              headers: { "content-range": `bytes ${start}-${end}/${whole.size}` }
            })
          })
        )
      ),

    set: (request, id) =>
      answering(
        hiding(
          id,
          Effect.gen(function* () {
            const contentType = request.headers["content-type"]
            const hasBody = request.headers["content-length"] !== "0"
            const bytes = hasBody ? Body.bytes(request, maxBytes) : Stream.empty
            const document = yield* repository.setContent(id, bytes, contentType === undefined ? {} : { contentType })
            const { content } = document
            return HttpServerResponse.empty({
              status: 204,
              headers: content === undefined ? {} : { etag: `"${content.sha256}"` }
            })
          })
        )
      ),

    remove: (id) =>
      answering(hiding(id, Effect.as(repository.deleteContent(id), HttpServerResponse.empty({ status: 204 }))))
  }
}
