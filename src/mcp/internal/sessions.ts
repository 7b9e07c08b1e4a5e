/**
 * What `McpServer` leaves to others over HTTP: subscriptions to resources, and the stream by which their updates reach a client.
 */
import type { ServerResponse } from "node:http"
import { isRecord } from "../../internal/json.ts"

/** What of an answer the stream of a session is. */
export type Stream = Pick<
  ServerResponse,
  "writeHead" | "write" | "end" | "destroy" | "on" | "once" | "writableNeedDrain"
>

/** A client that listens, and what it is to be told of. */
interface Listener {
  readonly tell: (uri: string) => void
  readonly end: () => void
}

interface Session {
  readonly uris: Set<string>
  /** Where updates go, while a client listens. */
  listener: Listener | undefined
}

/** The sessions that are kept: more are no more told of updates, the oldest first. */
const mostSessions = 1000

/** The pages that one session may subscribe to. */
const mostUris = 1000

const keepAliveMillis = 15_000

const messageOf = (uri: string): string => {
  const message = { jsonrpc: "2.0", method: "notifications/resources/updated", params: { uri } }
  return `data: ${JSON.stringify(message)}\n\n`
}

/**
 * Tells a client of updates as fast as it reads. What it has not been told yet waits as the names of pages, each once: that one has changed
 * is all that there is to be told, however often it has. Who has read nothing from one sign of life to the next is cut off.
 */
const listenerOf = (stream: Stream, millis: number): Listener => {
  const waiting = new Set<string>()
  let isBehind = false
  const flush = () => {
    isBehind = stream.writableNeedDrain
    for (const uri of waiting) {
      if (isBehind) return
      waiting.delete(uri)
      isBehind = !stream.write(messageOf(uri))
    }
  }
  stream.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" })
  stream.write(": listening\n\n")
  stream.on("drain", flush)
  let wasBehind = false
  const alive = setInterval(() => {
    // Between the two it has taken something, where it is not the same that it has to read.
    if (wasBehind && isBehind) return stream.destroy()
    wasBehind = isBehind
    if (!isBehind) isBehind = !stream.write(": keepalive\n\n")
  }, millis)
  stream.once("close", () => clearInterval(alive))
  stream.on("drain", () => (wasBehind = false))
  return {
    tell: (uri) => {
      waiting.add(uri)
      if (!isBehind) flush()
    },
    end: () => void stream.end()
  }
}

/** What a request asks of a session. */
export type Asked =
  | { readonly _tag: "Subscribe" | "Unsubscribe"; readonly id: string | number; readonly uri: string }
  | { readonly _tag: "Initialize" | "Other" }
  | { readonly _tag: "Invalid"; readonly code: number; readonly message: string }

const parsed = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

/** Reads the body of a request. */
export const askedOf = (text: string): Asked => {
  const found = parsed(text)
  if (found === undefined) return { _tag: "Invalid", code: -32_700, message: "Parse error: Expected JSON" }
  const { value } = found
  if (Array.isArray(value)) return { _tag: "Other" }
  if (!isRecord(value) || value["jsonrpc"] !== "2.0") {
    return { _tag: "Invalid", code: -32_600, message: "Invalid request: Expected JSON-RPC 2.0" }
  }
  const { id, method, params } = value
  if (method === "initialize") return { _tag: "Initialize" }
  const tag =
    method === "resources/subscribe" ? "Subscribe" : method === "resources/unsubscribe" ? "Unsubscribe" : undefined
  const uri = isRecord(params) ? params["uri"] : undefined
  if (tag === undefined || (typeof id !== "string" && typeof id !== "number") || typeof uri !== "string") {
    return { _tag: "Other" }
  }
  return { _tag: tag, id, uri }
}

/** The answer to `initialize`, which says that resources can be subscribed to. */
export const withSubscriptions = (text: string): string => {
  const found = parsed(text)?.value
  if (!isRecord(found) || !isRecord(found["result"])) return text
  const { capabilities } = found["result"]
  if (!isRecord(capabilities) || !isRecord(capabilities["resources"])) return text
  const resources = { ...capabilities["resources"], subscribe: true }
  return JSON.stringify({ ...found, result: { ...found["result"], capabilities: { ...capabilities, resources } } })
}

export interface Sessions {
  readonly open: (id: string) => void
  readonly has: (id: string) => boolean
  readonly subscribe: (id: string, uri: string) => boolean
  readonly unsubscribe: (id: string, uri: string) => void
  /** Sends updates to a client until it leaves, or does not read; `false`: another one listens already. */
  readonly listen: (id: string, stream: Stream) => boolean
  readonly tell: (uri: string) => void
  readonly close: (id: string) => void
}

export interface Options {
  /** How often a client gets a sign of life. Who reads nothing from one to the next is cut off. */
  readonly keepAliveMillis?: number | undefined
}

export const make = (options: Options = {}): Sessions => {
  const millis = options.keepAliveMillis ?? keepAliveMillis
  const sessions = new Map<string, Session>()
  const close = (id: string) => {
    sessions.get(id)?.listener?.end()
    sessions.delete(id)
  }
  return {
    open: (id) => {
      sessions.set(id, { uris: new Set(), listener: undefined })
      const [oldest] = sessions.keys()
      if (sessions.size > mostSessions && oldest !== undefined) close(oldest)
    },
    has: (id) => sessions.has(id),
    subscribe: (id, uri) => {
      const session = sessions.get(id)
      if (session === undefined || (session.uris.size >= mostUris && !session.uris.has(uri))) return false
      session.uris.add(uri)
      return true
    },
    unsubscribe: (id, uri) => void sessions.get(id)?.uris.delete(uri),
    listen: (id, stream) => {
      const session = sessions.get(id)
      if (session === undefined || session.listener !== undefined) return false
      session.listener = listenerOf(stream, millis)
      stream.once("close", () => {
        session.listener = undefined
      })
      return true
    },
    tell: (uri) => {
      for (const { listener, uris } of sessions.values()) if (uris.has(uri)) listener?.tell(uri)
    },
    close
  }
}
