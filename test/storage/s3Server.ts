/** A server that answers S3 requests as a test says. */
import http from "node:http"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

export interface Seen {
  readonly method: string
  /** Path and query, as sent. */
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export type Answer = (response: http.ServerResponse, request: Seen) => void

/** Answers the first request with the first answer and so on; the last one serves all that follow. */
export const serve = Effect.fnUntraced(function* (...answers: ReadonlyArray<Answer>) {
  const seen: Array<Seen> = []
  const state = { connections: 0, open: 0, active: 0, mostActive: 0, brokenOff: 0 }
  const server = http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    state.active += 1
    state.mostActive = Math.max(state.mostActive, state.active)
    response.on("close", () => {
      state.active -= 1
      if (!response.writableFinished) state.brokenOff += 1
    })
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const one = {
        method: request.method ?? "",
        path: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString()
      }
      seen.push(one)
      answers[Math.min(seen.length, answers.length) - 1]!(response, one)
    })
  })
  server.on("connection", (socket) => {
    state.connections += 1
    state.open += 1
    socket.on("close", () => {
      state.open -= 1
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.promise(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      })
  )
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { endpoint, seen, state, options: { ...client, endpoint } }
})

export const client = {
  bucket: "bkt",
  credentials: { accessKeyId: "ACCESSKEY", secretAccessKey: Redacted.make("hush-hush") }
}

const xml = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** An answer with these headers and this body. */
export const reply =
  (status: number, headers: http.OutgoingHttpHeaders = {}, body = ""): Answer =>
  (response) => {
    response.writeHead(status, headers).end(body)
  }

/** An error as S3 writes it. */
export const error = (status: number, code: string, headers: http.OutgoingHttpHeaders = {}, more = ""): Answer =>
  reply(
    status,
    { "content-type": "application/xml", "x-amz-request-id": "REQ1", ...headers },
    `${xml}<Error><Code>${code}</Code><Message>what hush-hush says</Message>${more}</Error>`
  )

export const document = (body: string): Answer => reply(200, { "content-type": "application/xml" }, xml + body)

/** No answer at all; the connection is left open. */
export const silence: Answer = () => {}

/** Breaks the connection instead of answering. */
export const hangUp: Answer = (response) => {
  response.socket?.destroy()
}

export const object = (body: string, headers: http.OutgoingHttpHeaders = {}): Answer =>
  reply(
    200,
    {
      etag: '"e1"',
      "content-length": Buffer.byteLength(body),
      "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT",
      ...headers
    },
    body
  )
