/**
 * Listens for an MCP server on this machine: by default on the loopback interface alone, for those who have the token, and for no web page.
 *
 * @since 0.1.0
 */
import { createHash, timingSafeEqual } from "node:crypto"
import * as http from "node:http"
import { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Database } from "../Database.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import type { Documentation } from "./Documentation.ts"
import * as sessions from "./internal/sessions.ts"
import * as updates from "./internal/updates.ts"

/**
 * Where a server listens, and for whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What every request has to have as `Authorization: Bearer ...`: 16 characters or more. */
  readonly token: Redacted.Redacted<string>
  /** Default: `127.0.0.1`, this machine alone. */
  readonly host?: string | undefined
  /** Default 17500. 0: one that is free. */
  readonly port?: number | undefined
  /**
   * Names by which the server may be asked for, beside those of this machine: without them a name of somebody else that leads here is none.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /** Origins of web pages that may ask, beside the server's own. */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /** The most bytes of a request. Default: 4 MiB. */
  readonly maxRequestBytes?: number | undefined
  /** The most connections at once. Default 64. */
  readonly maxConnections?: number | undefined
}

/**
 * Where a server listens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listening {
  readonly url: string
  readonly port: number
}

/**
 * A server that cannot listen: its port is taken, its address is none of this machine, or its token is too short.
 *
 * @remedy Choose another port or address (`--port`, `--host`), or a longer token without spaces.
 * @category errors
 * @since 0.1.0
 */
export class CannotListen extends ExpectedError<CannotListen>("effect-s3db/mcp/HttpListener/CannotListen")(
  "CannotListen",
  { description: Schema.String }
) {}

/**
 * The least length of a token.
 *
 * @category constants
 * @since 0.1.0
 */
export const leastTokenLength = 16

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Tells whether a request has the token, in a time that says nothing of where it differs. */
const bearing = (token: Redacted.Redacted<string>): ((header: string | undefined) => boolean) => {
  const expected = digest(Redacted.value(token))
  return (header = "") => {
    const [, given] = /^Bearer +(\S+)\s*$/i.exec(header) ?? []
    const same = timingSafeEqual(digest(given ?? ""), expected)
    return same && given !== undefined
  }
}

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host)

const loopback = ["localhost", "127.0.0.1", "[::1]"]

/** The names without a port, in lower case. */
const hostOf = (header: string | undefined): string | undefined =>
  /^(\[[^\]]*\]|[^:]+)(?::\d+)?$/.exec(header ?? "")?.[1]?.toLowerCase()

const refused = (status: number, message: string, headers: http.OutgoingHttpHeaders = {}, code = -32_000) => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } })
})

type Refusal = ReturnType<typeof refused>

/** Reads a body that is not too large. */
const bodyOf = (request: http.IncomingMessage, most: number) =>
  Effect.callback<Buffer, Refusal>((resume) => {
    const tooLarge = refused(413, `Expected a request of no more than ${most} bytes`, { connection: "close" })
    if (Number(request.headers["content-length"] ?? 0) > most) return resume(Effect.fail(tooLarge))
    const chunks: Array<Buffer> = []
    let size = 0
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size > most) {
        end()
        return resume(Effect.fail(tooLarge))
      }
      chunks.push(chunk)
    }
    const onEnd = () => resume(Effect.succeed(Buffer.concat(chunks)))
    const onError = () => resume(Effect.interrupt)
    const end = () => {
      request.off("data", onData)
      request.off("end", onEnd)
      request.off("error", onError)
    }
    request.on("data", onData)
    request.on("end", onEnd)
    request.on("error", onError)
    return Effect.sync(end)
  })

const sessionVersions: ReadonlySet<string> = new Set(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])

const headersOf = (request: http.IncomingMessage): Headers => {
  const headers = new Headers()
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value)
  }
  // Whoever answers needs it no more, and nobody can write it down.
  headers.delete("authorization")
  // A session has the version that was agreed on, whichever of those known here a request names.
  const version = headers.get("mcp-protocol-version")
  if (headers.has("mcp-session-id") && version !== null && sessionVersions.has(version)) {
    headers.delete("mcp-protocol-version")
  }
  return headers
}

/** Writes an answer, as fast as it is read. */
const send = (response: http.ServerResponse, answer: Response) =>
  Effect.callback<void>((resume) => {
    response.writeHead(
      answer.status,
      Object.fromEntries([...answer.headers].filter(([name]) => name !== "content-length"))
    )
    const end = () => resume(Effect.void)
    response.once("close", end)
    if (answer.body === null) response.end()
    else {
      // The types of Node's streams and of the web's are those of different libraries.
      Readable.fromWeb(answer.body as import("node:stream/web").ReadableStream)
        .once("error", () => response.destroy())
        .pipe(response)
    }
    return Effect.sync(() => response.off("close", end))
  })

const listen = (server: http.Server, host: string, port: number) =>
  Effect.callback<number, CannotListen>((resume) => {
    const onError = (error: NodeJS.ErrnoException) =>
      resume(
        Effect.fail(
          new CannotListen({
            description:
              error.code === "EADDRINUSE"
                ? `port ${port} of ${host} is taken: choose another one`
                : `nothing can listen on port ${port} of ${host}: ${error.code ?? error.message}`
          })
        )
      )
    server.once("error", onError)
    server.listen({ host, port }, () => {
      server.off("error", onError)
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : port))
    })
  })

/**
 * Listens until the scope closes, and answers with the routes of a layer, as `Server.layerHttp` has them. The layer is made for the origins
 * that may ask.
 *
 * **Details**
 *
 * Before a request reaches a route: its `Host` has to be a name of this machine or an allowed one (403), which keeps names out that somebody
 * leads here; its `Origin`, where it has one, has to be an allowed one (403); it needs the token (401), which is compared in constant time;
 * its body may not be too large (413). A request ends when its client leaves.
 *
 * `CannotListen`, and the errors of the layer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const serve = Effect.fn("HttpListener.serve")(function* <E>(
  routes: (origins: ReadonlyArray<string>) => Layer.Layer<never, E, HttpRouter.HttpRouter | Database | Documentation>,
  options: Options
): Effect.fn.Return<Listening, CannotListen | HttpRouter.Request.Without<E>, Scope.Scope | Database | Documentation> {
  const { host = "127.0.0.1", maxConnections = 64, maxRequestBytes = 4_194_304, port = 17_500, token } = options
  if (Redacted.value(token).length < leastTokenLength || /\s/.test(Redacted.value(token))) {
    return yield* new CannotListen({
      description: `the token has to have ${leastTokenLength} characters or more, and no spaces`
    })
  }
  const server = http.createServer({ requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16_384 })
  server.maxConnections = maxConnections
  const fork = yield* FiberSet.makeRuntime<never, void>()
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
  )
  const actual = yield* listen(server, host, port)
  const names = [...new Set([...loopback, bracketed(host).toLowerCase()])]
  const hosts = new Set([...names, ...(options.allowedHosts ?? []).map((name) => name.toLowerCase())])
  const origins = [...names.map((name) => `http://${name}:${actual}`), ...(options.allowedOrigins ?? [])]
  const isBearing = bearing(token)

  const admitted = (request: http.IncomingMessage): Refusal | undefined => {
    const { authorization, host, origin } = request.headers
    const named = hostOf(host)
    if (named === undefined || !hosts.has(named)) return refused(403, "This server is not asked for by this name")
    if (origin !== undefined && !origins.includes(origin)) return refused(403, "This origin may not ask")
    if (!isBearing(authorization)) {
      return refused(401, "Expected the token of this server", { "www-authenticate": 'Bearer realm="s3db"' })
    }
    return undefined
  }

  const handler = HttpEffect.toWebHandler(yield* HttpRouter.toHttpEffect(routes(origins)))
  const known = sessions.make()
  const stop = updates.listen(yield* Database, known.tell)
  yield* Effect.addFinalizer(() => Effect.sync(stop))

  /** Passes a request on; whoever leaves ends it. */
  const passed = (request: http.IncomingMessage, response: http.ServerResponse, body: Buffer | string) =>
    Effect.callback<Response>((resume) => {
      const leaving = new AbortController()
      response.once("close", () => leaving.abort())
      const method = request.method ?? "GET"
      const path = request.url?.startsWith("/") === true ? request.url : "/"
      const web = new Request(`http://${bracketed(host)}:${actual}${path}`, {
        method,
        headers: headersOf(request),
        signal: leaving.signal,
        ...(method === "GET" || method === "HEAD"
          ? {}
          : { body: typeof body === "string" ? body : new Uint8Array(body) })
      })
      handler(web).then(
        (found) => resume(Effect.succeed(found)),
        (error: unknown) => resume(Effect.die(error))
      )
    })

  const textOf = (answer: Response) => Effect.promise(() => answer.text())

  const again = (answer: Response, text: string) =>
    new Response(text, { status: answer.status, headers: answer.headers })

  const posted = Effect.fnUntraced(function* (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    session: string
  ) {
    const body = yield* bodyOf(request, maxRequestBytes)
    const isJson = request.headers["content-type"]?.toLowerCase().startsWith("application/json") === true
    const asked: sessions.Asked = isJson ? sessions.askedOf(body.toString("utf8")) : { _tag: "Other" }
    switch (asked._tag) {
      case "Invalid":
        return yield* Effect.fail(refused(400, asked.message, {}, asked.code))
      case "Initialize": {
        const answer = yield* passed(request, response, body)
        const opened = answer.headers.get("mcp-session-id")
        if (opened === null) return answer
        known.open(opened)
        return again(answer, sessions.withSubscriptions(yield* textOf(answer)))
      }
      case "Subscribe":
      case "Unsubscribe": {
        if (!known.has(session)) return yield* passed(request, response, body)
        // A ping has the same answer, and is refused where the session is none any more.
        const ping = JSON.stringify({ jsonrpc: "2.0", id: asked.id, method: "ping" })
        const answer = yield* passed(request, response, ping)
        const text = yield* textOf(answer)
        if (answer.status !== 200 || !text.includes('"result"')) return again(answer, text)
        if (asked._tag === "Unsubscribe") known.unsubscribe(session, asked.uri)
        else if (!known.subscribe(session, asked.uri)) {
          return yield* Effect.fail(refused(429, "There are too many subscriptions: end some"))
        }
        return again(answer, text)
      }
      case "Other":
        return yield* passed(request, response, body)
    }
  })

  const answered = Effect.fnUntraced(function* (request: http.IncomingMessage, response: http.ServerResponse) {
    const refusal = admitted(request)
    if (refusal !== undefined) return yield* Effect.fail(refusal)
    const given = request.headers["mcp-session-id"]
    const session = typeof given === "string" ? given : ""
    switch (request.method) {
      case "GET": {
        const wantsStream = request.headers.accept?.includes("text/event-stream") === true
        if (wantsStream && known.has(session)) {
          if (!known.listen(session, response)) return yield* Effect.fail(refused(409, "Somebody listens already"))
          return
        }
        return yield* send(response, yield* passed(request, response, ""))
      }
      case "POST":
        return yield* send(response, yield* posted(request, response, session))
      default: {
        const answer = yield* passed(request, response, yield* bodyOf(request, maxRequestBytes))
        if (request.method === "DELETE" && answer.status === 204) known.close(session)
        return yield* send(response, answer)
      }
    }
  })

  server.on("request", (request, response) => {
    fork(
      answered(request, response).pipe(
        Effect.catch((refusal) =>
          Effect.sync(() => {
            response.writeHead(refusal.status, refusal.headers).end(refusal.body)
            request.resume()
          })
        ),
        Effect.catchDefect((defect) =>
          Effect.andThen(
            Effect.logError("mcp: a request could not be answered", defect),
            Effect.sync(() => (response.headersSent ? response.destroy() : response.writeHead(500).end()))
          )
        ),
        Effect.asVoid
      )
    )
  })
  return { url: `http://${bracketed(host)}:${actual}`, port: actual }
})
