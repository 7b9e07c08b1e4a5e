/** The connections of a client, none of which is used again once the server may have closed it. */
type Http = typeof import("node:http")
type Https = typeof import("node:https")
type Duplex = InstanceType<(typeof import("node:stream"))["Duplex"]>
type Socket = InstanceType<(typeof import("node:net"))["Socket"]>

/** Those of this runtime, which may have none: they are not imported. */
export const nodeModules = (): { readonly http: Http; readonly https: Https } | undefined => {
  const http = globalThis.process?.getBuiltinModule?.("node:http")
  const https = globalThis.process?.getBuiltinModule?.("node:https")
  return http === undefined || https === undefined ? undefined : { http, https }
}

/** Where a server does not say how long it keeps a connection: less than those that we know of. */
export const defaultIdleMillis = 4000

/** How much earlier than the server itself a connection is given up. */
const marginMillis = 1000

const mostIdleMillis = 600_000

/** When the system begins to look whether the other side of an idle connection is there: Node's default. */
const probeMillis = 1000

const isSocket = (connection: Duplex): connection is Socket => "setKeepAlive" in connection && "unref" in connection

export interface Agents {
  readonly http: InstanceType<Http["Agent"]>
  readonly https: InstanceType<Https["Agent"]>
  /** Closes the connections that have been idle for too long. After a process stood still, timers would be too late for that. */
  readonly retire: () => void
  /** Closes every idle connection. */
  readonly dropIdle: () => void
  /** Takes in what an answer says of how long the server keeps connections (`Keep-Alive: timeout=5`). */
  readonly learn: (headers: Readonly<Record<string, string | undefined>>) => void
}

export const make = (
  { http, https }: { readonly http: Http; readonly https: Https },
  maxSockets: number,
  now: () => number
): Agents => {
  const idleSince = new WeakMap<Duplex, number>()
  const limit = idleLimit()
  // No connection has been idle for too long before this time: what becomes idle later is due later.
  let nextDue = 0

  const noting = <A extends InstanceType<Http["Agent"]>>(agent: A): A => {
    // What Node does, without reading all headers once more for how long the server keeps it: `learn` knows.
    agent.keepSocketAlive = (socket) => {
      idleSince.set(socket, now())
      if (isSocket(socket)) socket.setKeepAlive(true, probeMillis).unref()
      return true
    }
    return agent
  }

  const agents = {
    http: noting(new http.Agent({ keepAlive: true, maxSockets })),
    https: noting(new https.Agent({ keepAlive: true, maxSockets }))
  }

  /** Closes idle connections that have been so for some time, and gives the earliest time since when another one is. */
  const close = (millis: number, time: number): number => {
    let earliest = time
    for (const { freeSockets } of [agents.http, agents.https]) {
      for (const sockets of Object.values(freeSockets)) {
        for (const socket of sockets ?? []) {
          const since = idleSince.get(socket) ?? time
          if (time - since >= millis) socket.destroy()
          else earliest = Math.min(earliest, since)
        }
      }
    }
    return earliest
  }

  return {
    ...agents,
    retire: () => {
      const time = now()
      if (time >= nextDue) nextDue = close(limit.millis(), time) + limit.millis()
    },
    dropIdle: () => {
      close(0, now())
    },
    learn: (headers) => {
      if (limit.learn(headers)) nextDue = 0
    }
  }
}

/** How long connections are used again: as long as the server says that it keeps them, less a margin. */
export const idleLimit = () => {
  let limit = defaultIdleMillis
  return {
    millis: (): number => limit,
    /** Takes in what an answer says of it (`Keep-Alive: timeout=5`), and tells whether that is new. */
    learn: (headers: Readonly<Record<string, string | undefined>>): boolean => {
      const seconds = /(?:^|,)\s*timeout=(\d{1,9})/i.exec(headers["keep-alive"] ?? "")?.[1]
      if (seconds === undefined) return false
      const before = limit
      limit = Math.min(mostIdleMillis, Math.max(0, Number(seconds) * 1000 - marginMillis))
      return limit !== before
    }
  }
}
