/** The connections of a client, none of which is used again once the server may have closed it. */
import * as http from "node:http"
import * as https from "node:https"
import type { Duplex } from "node:stream"

/** Where a server does not say how long it keeps a connection: less than those that we know of. */
export const defaultIdleMillis = 4000

/** How much earlier than the server itself a connection is given up. */
const marginMillis = 1000

const mostIdleMillis = 600_000

export interface Agents {
  readonly http: http.Agent
  readonly https: https.Agent
  /** Closes the connections that have been idle for too long. After a process stood still, timers would be too late for that. */
  readonly retire: () => void
  /** Closes every idle connection. */
  readonly dropIdle: () => void
  /** Takes in what an answer says of how long the server keeps connections (`Keep-Alive: timeout=5`). */
  readonly learn: (headers: Readonly<Record<string, string>>) => void
}

export const make = (maxSockets: number, now: () => number): Agents => {
  const idleSince = new WeakMap<Duplex, number>()
  let limit = defaultIdleMillis

  const noting = <A extends http.Agent>(agent: A): A => {
    const keep = agent.keepSocketAlive.bind(agent)
    agent.keepSocketAlive = (socket) => {
      idleSince.set(socket, now())
      return keep(socket)
    }
    return agent
  }

  const agents = {
    http: noting(new http.Agent({ keepAlive: true, maxSockets })),
    https: noting(new https.Agent({ keepAlive: true, maxSockets }))
  }

  const close = (isDue: (socket: Duplex) => boolean) => {
    for (const { freeSockets } of [agents.http, agents.https]) {
      for (const sockets of Object.values(freeSockets)) {
        for (const socket of sockets ?? []) if (isDue(socket)) socket.destroy()
      }
    }
  }

  return {
    ...agents,
    retire: () => {
      const time = now()
      close((socket) => time - (idleSince.get(socket) ?? time) >= limit)
    },
    dropIdle: () => close(() => true),
    learn: (headers) => {
      const seconds = /(?:^|,)\s*timeout=(\d{1,9})/i.exec(headers["keep-alive"] ?? "")?.[1]
      if (seconds !== undefined) limit = Math.min(mostIdleMillis, Math.max(0, Number(seconds) * 1000 - marginMillis))
    }
  }
}
