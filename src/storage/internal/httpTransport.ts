/** How requests of HTTP are sent: what a store needs of the runtime's network. */

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: string
  readonly origin: Origin
  /** Percent-encoded, with the query. */
  readonly path: string
  /** Lower-case names, each with its value behind it, `host` among them. */
  readonly headers: ReadonlyArray<string>
  readonly body: Uint8Array | undefined
}

/** Where requests go. */
export interface Origin {
  readonly protocol: "http:" | "https:"
  readonly hostname: string
  readonly port: number
  /** As the header `host` has it. */
  readonly host: string
}

/** An answer, its body read to the end. */
export interface HttpAnswer {
  readonly status: number
  /** By their lower-case names; without a prototype. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
}

/** No answer within the time that one attempt may take. */
export class NoAnswerInTime extends Error {
  override readonly name = "TimeoutError"
  readonly millis: number

  constructor(millis: number) {
    super(`no answer within ${millis} ms`)
    this.millis = millis
  }
}

/** A way to send requests. Its connections are kept open between them. */
export interface Transport {
  /**
   * Sends a request once. Exactly one of the two is called, later, unless the request is cancelled by what is returned, which
   * closes its connection.
   */
  readonly send: (
    request: HttpRequest,
    answered: (answer: HttpAnswer) => void,
    failed: (cause: unknown) => void
  ) => () => void
  /** Closes all connections. */
  readonly close: () => void
  /**
   * `false`: paths are rewritten where they hold `.` or `..`, and bodies with a content encoding are decoded, whatever they are
   * signed and stored as.
   */
  readonly isExact: boolean
}

/** What a transport is told. Times in milliseconds. */
export interface TransportOptions {
  readonly maxSockets: number
  readonly connectTimeout: number
  readonly requestTimeout: number | undefined
  readonly now: () => number
}

/** One body of its parts, in memory of its own. */
export const joined = (parts: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const body = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    body.set(part, at)
    at += part.length
  }
  return body
}
