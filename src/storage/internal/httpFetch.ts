/** Requests over `fetch`, on runtimes that have no client of Node. */
import type { HttpAnswer, Transport, TransportOptions } from "./httpTransport.ts"
import { NoAnswerInTime } from "./httpTransport.ts"

/** What `fetch` sets by itself, and refuses to be told. */
const own = new Set(["host", "content-length"])

/** The failure underneath, which alone tells what happened; one that tells nothing is a broken connection. */
const causeOf = (failure: unknown): unknown => {
  const cause = failure instanceof Error && failure.cause !== undefined ? failure.cause : failure
  const isTold = cause instanceof Error && ("code" in cause || "errors" in cause)
  return isTold ? cause : Object.assign(new Error("fetch failed", { cause: failure }), { code: "ERR_HTTP_FETCH" })
}

const pairsOf = (headers: ReadonlyArray<string>): Array<[string, string]> => {
  const pairs: Array<[string, string]> = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (!own.has(headers[i]!)) pairs.push([headers[i]!, headers[i + 1]!])
  }
  return pairs
}

const headersOf = (response: Response): HttpAnswer["headers"] => {
  const headers: Record<string, string> = Object.create(null)
  response.headers.forEach((value, name) => {
    headers[name] = value
  })
  return headers
}

/** Makes a transport of `fetch`. Connections are the runtime's own; how many requests there are at once is ours. */
export const make = (
  fetch: typeof globalThis.fetch,
  { maxSockets, requestTimeout }: Pick<TransportOptions, "maxSockets" | "requestTimeout">
): Transport => {
  let active = 0
  const waiting = new Set<() => void>()
  const running = new Set<AbortController>()

  const release = () => {
    active -= 1
    const [next] = waiting
    if (next === undefined) return
    waiting.delete(next)
    next()
  }

  const send: Transport["send"] = ({ body, headers, method, origin, path }, answered, failed) => {
    const controller = new AbortController()
    let isOver = false
    const begin = () => {
      active += 1
      running.add(controller)
      const timer =
        requestTimeout === undefined
          ? undefined
          : setTimeout(() => controller.abort(new NoAnswerInTime(requestTimeout)), requestTimeout)
      const settle = (tell: () => void) => {
        clearTimeout(timer)
        running.delete(controller)
        release()
        if (isOver) return
        isOver = true
        tell()
      }
      fetch(`${origin.protocol}//${origin.host}${path}`, {
        method,
        headers: pairsOf(headers),
        // A view of shared memory cannot be sent.
        body: body === undefined ? null : new Uint8Array(body),
        redirect: "manual",
        signal: controller.signal
      })
        .then((response) => {
          clearTimeout(timer)
          return response.arrayBuffer().then((bytes) => ({
            status: response.status,
            headers: headersOf(response),
            body: new Uint8Array(bytes)
          }))
        })
        .then(
          (answer) => settle(() => answered(answer)),
          (failure: unknown) => settle(() => failed(failure instanceof NoAnswerInTime ? failure : causeOf(failure)))
        )
    }
    if (active < maxSockets) begin()
    else waiting.add(begin)
    return () => {
      isOver = true
      waiting.delete(begin)
      controller.abort()
    }
  }

  return {
    send,
    close: () => {
      for (const controller of running) controller.abort()
    },
    isExact: false
  }
}
