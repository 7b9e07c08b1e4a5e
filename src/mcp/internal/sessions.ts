/**
 * What `McpServer` leaves to others over HTTP: subscriptions to resources, and the stream by which their updates reach a client.
 */
import type { ServerResponse } from "node:http"
import { isRecord } from "../../internal/json.ts"

interface Session {
  readonly uris: Set<string>
  /** Where updates go, while a client listens. */
  stream: ServerResponse | undefined
}

/** The sessions that are kept: more are no more told of updates, the oldest first. */
const mostSessions = 1000

/** The pages that one session may subscribe to. */
const mostUris = 1000

const keepAliveMillis = 15_000

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
  /** Sends updates to a client until it leaves; `false`: another one listens already. */
  readonly listen: (id: string, response: ServerResponse) => boolean
  readonly tell: (uri: string) => void
  readonly close: (id: string) => void
}

export const make = (): Sessions => {
  const sessions = new Map<string, Session>()
  return {
    open: (id) => {
      sessions.set(id, { uris: new Set(), stream: undefined })
      const [oldest] = sessions.keys()
      if (sessions.size > mostSessions && oldest !== undefined) sessions.delete(oldest)
    },
    has: (id) => sessions.has(id),
    subscribe: (id, uri) => {
      const session = sessions.get(id)
      if (session === undefined || (session.uris.size >= mostUris && !session.uris.has(uri))) return false
      session.uris.add(uri)
      return true
    },
    unsubscribe: (id, uri) => void sessions.get(id)?.uris.delete(uri),
    listen: (id, response) => {
      const session = sessions.get(id)
      if (session === undefined || session.stream !== undefined) return false
      session.stream = response
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" })
      response.write(": listening\n\n")
      const alive = setInterval(() => response.write(": keepalive\n\n"), keepAliveMillis)
      response.once("close", () => {
        clearInterval(alive)
        session.stream = undefined
      })
      return true
    },
    tell: (uri) => {
      const message = JSON.stringify({ jsonrpc: "2.0", method: "notifications/resources/updated", params: { uri } })
      for (const { stream, uris } of sessions.values()) if (uris.has(uri)) stream?.write(`data: ${message}\n\n`)
    },
    close: (id) => {
      sessions.get(id)?.stream?.end()
      sessions.delete(id)
    }
  }
}
