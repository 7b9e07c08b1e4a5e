/** Requests over Node's own client, whose connections are those of `s3Agents`. */
import type { HttpAnswer, Transport, TransportOptions } from "./httpTransport.ts"
import { joined, NoAnswerInTime } from "./httpTransport.ts"
import * as s3Agents from "./s3Agents.ts"

type Http = typeof import("node:http")
type IncomingMessage = InstanceType<Http["IncomingMessage"]>
type Agent = InstanceType<Http["Agent"]>

const noConnection = (millis: number): Error =>
  Object.assign(new Error(`no connection within ${millis} ms`), { code: "ETIMEDOUT", syscall: "connect" })

/** Ends connections that are not there in time. */
const limitConnecting = (agent: Agent, event: "connect" | "secureConnect", millis: number): void => {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, callback)
    if (socket === null || socket === undefined) return socket
    const timer = setTimeout(() => socket.destroy(noConnection(millis)), millis)
    const clear = () => clearTimeout(timer)
    socket.once(event, clear).once("close", clear)
    return socket
  }
}

const headersOf = ({ rawHeaders }: IncomingMessage): HttpAnswer["headers"] => {
  const headers: Record<string, string> = Object.create(null)
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    const before = headers[name]
    headers[name] = before === undefined ? rawHeaders[i + 1]! : `${before}, ${rawHeaders[i + 1]!}`
  }
  return headers
}

/** Makes a transport of Node's modules. */
export const make = (
  modules: NonNullable<ReturnType<typeof s3Agents.nodeModules>>,
  { connectTimeout, maxSockets, now, requestTimeout }: TransportOptions
): Transport => {
  const { http, https } = modules
  const agents = s3Agents.make(modules, maxSockets, now)
  limitConnecting(agents.http, "connect", connectTimeout)
  limitConnecting(agents.https, "secureConnect", connectTimeout)

  const send: Transport["send"] = ({ body, headers, method, origin, path }, answered, failed) => {
    agents.retire()
    const isSecure = origin.protocol === "https:"
    const request = (isSecure ? https : http).request({
      agent: isSecure ? agents.https : agents.http,
      host: origin.hostname,
      port: origin.port,
      method,
      path,
      headers: body === undefined ? headers : [...headers, "content-length", String(body.length)]
    })
    let isOver = false
    let isCancelled = false
    const fail = (cause: unknown) => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      // What broke one connection may have broken those that nobody is using.
      agents.dropIdle()
      failed(cause)
    }
    const timer =
      requestTimeout === undefined
        ? undefined
        : setTimeout(() => {
            fail(new NoAnswerInTime(requestTimeout))
            request.destroy()
          }, requestTimeout)
    request.on("error", fail)
    request.on("response", (message) => {
      clearTimeout(timer)
      const parts: Array<Uint8Array> = []
      let size = 0
      message.on("data", (part: Uint8Array) => {
        parts.push(part)
        size += part.length
      })
      message.on("error", fail)
      message.on("end", () => {
        if (isOver) return
        if (!message.complete) return fail(new Error("aborted"))
        isOver = true
        const answerHeaders = headersOf(message)
        agents.learn(answerHeaders)
        const answer = { status: message.statusCode ?? 0, headers: answerHeaders, body: joined(parts, size) }
        // The connection is free for the next request only when this tick is over. Once all that has come is read, what it leads to is
        // written, many requests at once: that takes the system half of the time that it takes for each by itself.
        setImmediate(() => {
          if (!isCancelled) answered(answer)
        })
      })
    })
    request.end(body)
    return () => {
      isOver = true
      isCancelled = true
      clearTimeout(timer)
      request.destroy()
    }
  }

  return {
    send,
    close: () => {
      agents.http.destroy()
      agents.https.destroy()
    },
    isExact: true
  }
}
