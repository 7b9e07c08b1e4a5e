/** Requests over undici, each of whose clients is one connection here. */
import type * as Undici from "undici"
import { idleLimit } from "./s3Agents.ts"
import type { Origin, Transport, TransportOptions } from "./httpTransport.ts"
import { joined, NoAnswerInTime } from "./httpTransport.ts"

interface Connection {
  readonly client: Undici.Client
  readonly origin: Origin
  idleSince: number
}

/** undici keeps connections for as long as the server says, at most for this; when they are given up earlier is ours to say. */
const keptMillis = 600_000

const textOf = (value: string | Array<string> | undefined): string =>
  Array.isArray(value) ? value.join(", ") : (value ?? "")

/** Makes a transport of undici. */
export const make = (
  { Client }: Pick<typeof Undici, "Client">,
  { connectTimeout, maxSockets, now, requestTimeout }: TransportOptions
): Transport => {
  const limit = idleLimit()
  /** The one that was used last is used first. */
  const free: Array<Connection> = []
  const all = new Set<Connection>()
  const waiting = new Set<(connection: Connection | undefined) => void>()

  const drop = (connection: Connection): void => {
    all.delete(connection)
    connection.client.destroy().catch(() => undefined)
  }

  const dropIdle = (): void => {
    for (const connection of free.splice(0)) drop(connection)
  }

  const connect = (origin: Origin): Connection => {
    const client = new Client(`${origin.protocol}//${origin.host}`, {
      pipelining: 1,
      keepAliveTimeout: keptMillis,
      keepAliveMaxTimeout: keptMillis,
      keepAliveTimeoutThreshold: 0,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: connectTimeout }
    })
    const connection = { client, origin, idleSince: 0 }
    all.add(connection)
    return connection
  }

  /** A connection that nobody uses, or a new one; `undefined`: there are as many as there may be. */
  const take = (origin: Origin): Connection | undefined => {
    const oldest = now() - limit.millis()
    while (free.length > 0 && free[0]!.idleSince <= oldest) drop(free.shift()!)
    for (let connection = free.pop(); connection !== undefined; connection = free.pop()) {
      if (connection.origin.host === origin.host) return connection
      drop(connection)
    }
    return all.size < maxSockets ? connect(origin) : undefined
  }

  const release = (connection: Connection): void => {
    const [next] = waiting
    if (next !== undefined) {
      waiting.delete(next)
      return next(connection)
    }
    connection.idleSince = now()
    free.push(connection)
  }

  /** Its place is free. */
  const lose = (connection: Connection): void => {
    drop(connection)
    const [next] = waiting
    if (next === undefined) return
    waiting.delete(next)
    next(undefined)
  }

  const send: Transport["send"] = ({ body, headers, method, origin, path }, answered, failed) => {
    let isOver = false
    let abort = () => {}
    const begin = (connection: Connection) => {
      const parts: Array<Uint8Array> = []
      let size = 0
      let status = 0
      const answerHeaders: Record<string, string> = Object.create(null)
      const fail = (cause: unknown) => {
        clearTimeout(timer)
        // What broke one connection may have broken those that nobody is using.
        dropIdle()
        lose(connection)
        if (isOver) return
        isOver = true
        failed(cause)
      }
      const timer =
        requestTimeout === undefined
          ? undefined
          : setTimeout(() => {
              connection.client.destroy(new NoAnswerInTime(requestTimeout)).catch(() => undefined)
            }, requestTimeout)
      abort = () => {
        connection.client.destroy(new Error("cancelled")).catch(() => undefined)
      }
      connection.client.dispatch(
        // It closes the connection after HEAD unless it is told not to.
        { method, path, headers: [...headers], body: body ?? null, reset: false },
        {
          onRequestStart: () => {},
          onResponseStart: (_, code, received) => {
            clearTimeout(timer)
            status = code
            for (const name in received) answerHeaders[name] = textOf(received[name])
          },
          onResponseData: (_, part) => {
            parts.push(part)
            size += part.length
          },
          onResponseEnd: () => {
            limit.learn(answerHeaders)
            const answer = { status, headers: answerHeaders, body: joined(parts, size) }
            queueMicrotask(() => {
              release(connection)
              if (isOver) return
              isOver = true
              answered(answer)
            })
          },
          onResponseError: (_, cause) => fail(cause)
        }
      )
    }
    const queued = (connection: Connection | undefined) => begin(connection ?? connect(origin))
    const connection = take(origin)
    if (connection === undefined) waiting.add(queued)
    else begin(connection)
    return () => {
      isOver = true
      waiting.delete(queued)
      abort()
    }
  }

  return {
    send,
    close: () => {
      for (const connection of all) drop(connection)
    },
    isExact: true
  }
}
