/** What the answers of S3 and the failures of the SDK mean, as reasons of the port. */
import {
  AccessDenied,
  ConditionalRequestConflict,
  EntityTooLarge,
  InvalidArgument,
  InvalidRange,
  KeyTooLong,
  MetadataTooLarge,
  NoSuchBucket,
  NoSuchKey,
  type Operation,
  PreconditionFailed,
  type Reason,
  Throttled,
  Timeout,
  Unavailable,
  Unexpected,
  Unsupported
} from "../storage/StoreError.ts"

interface Details {
  readonly code: string
  readonly status?: number
  readonly requestId?: string
  readonly retryAfterMillis?: number
}

const property = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && name in value ? (value as Record<string, unknown>)[name] : undefined

const detailsOf = (error: unknown): Details => {
  const metadata = property(error, "$metadata")
  const status = property(metadata, "httpStatusCode") ?? property(property(error, "$response"), "statusCode")
  const requestId = property(metadata, "requestId")
  const headers = property(property(error, "$response"), "headers")
  const retryAfter = Number(property(headers, "retry-after"))
  // A failure of the connection has its errno in `code`, an answer of the store its own code in `name`.
  const code = property(error, "Code") ?? (status === undefined ? property(error, "code") : undefined)
  return {
    code: String(code ?? property(error, "name") ?? "Unknown"),
    ...(typeof status === "number" ? { status } : {}),
    ...(typeof requestId === "string" ? { requestId } : {}),
    ...(Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterMillis: retryAfter * 1000 } : {})
  }
}

/** Failures before anything was sent. */
const unreachable = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN"])

export const reasonOf = (error: unknown, operation: Operation): Reason => {
  const details = detailsOf(error)
  const { code, status } = details
  const message = property(error, "message")
  const text = typeof message === "string" && message !== "" && message !== "UnknownError" ? message : code
  if (status === undefined) return withoutAnswer(code, text, error)
  // HEAD has no body, and so no code.
  if (status === 404 && (code === "NotFound" || code === "Unknown" || code === "404")) {
    return new NoSuchKey({ description: "there is no such object", ...plain(details) })
  }
  if (status === 412) return new PreconditionFailed({ description: "the condition does not hold", ...plain(details) })
  if (status === 304) return new PreconditionFailed({ description: "the object is unchanged", ...plain(details) })
  if (status === 416) return new InvalidRange({ description: "the range lies outside the object", ...plain(details) })
  return byCode(details, text, operation)
}

/** The reason behind the code of one key of a bulk deletion. */
export const reasonOfCode = (code: string, message: string): Reason => byCode({ code }, message || code, "deleteMany")

const plain = ({ retryAfterMillis: _, ...details }: Details) => details

const withoutAnswer = (code: string, text: string, error: unknown): Reason => {
  const cause = String(property(error, "code") ?? property(property(error, "cause"), "code") ?? code)
  if (unreachable.has(cause)) {
    return new Unavailable({ description: `the store cannot be reached: ${cause}`, code: cause, sent: false })
  }
  if (code === "CredentialsProviderError" || code === "TokenProviderError") {
    return new AccessDenied({ description: "no credentials were found, in the options or in the default chain", code })
  }
  if (code === "AbortError" || code === "TimeoutError" || cause === "ETIMEDOUT") {
    return /connection/i.test(text)
      ? new Unavailable({ description: "the connection could not be made in time", code, sent: false })
      : new Timeout({ description: "the request was given up", code, afterMillis: 0 })
  }
  if (
    /^E[A-Z]+$|^UND_|ERR_(STREAM|SSL|TLS|HTTP|SOCKET)/.test(cause) ||
    /socket|aborted|hang up|terminated/i.test(text)
  ) {
    return new Unavailable({ description: `the connection broke: ${cause}`, code: cause, sent: true })
  }
  if (/deserialization|parse/i.test(text)) {
    return new Unavailable({ description: "the answer could not be read", code, sent: true })
  }
  return new Unexpected({ description: text, code })
}

const byCode = (details: Details, text: string, operation: Operation): Reason => {
  const { code, status = 0 } = details
  const common = { description: text, ...plain(details) }
  switch (code) {
    case "NoSuchKey":
      return new NoSuchKey(common)
    case "NoSuchBucket":
      return new NoSuchBucket(common)
    case "PreconditionFailed":
      return new PreconditionFailed(common)
    case "ConditionalRequestConflict":
    case "OperationAborted":
      return new ConditionalRequestConflict(common)
    case "MetadataTooLarge":
    case "RequestHeaderSectionTooLarge":
      return new MetadataTooLarge({ ...common, size: 0, limit: 0 })
    case "KeyTooLongError":
    case "KeyTooLong":
      return new KeyTooLong(common)
    case "EntityTooLarge":
    case "MaxMessageLengthExceeded":
      return new EntityTooLarge(common)
    case "InvalidRange":
      return new InvalidRange(common)
    case "NotImplemented":
    case "MethodNotAllowed":
      return new Unsupported({ ...common, feature: operation })
    case "PermanentRedirect":
    case "TemporaryRedirect":
    case "AuthorizationHeaderMalformed":
    case "IllegalLocationConstraintException":
      return new InvalidArgument({
        ...common,
        argument: "region",
        description: "the bucket is in another region than the one given"
      })
    case "SlowDown":
    case "Throttling":
    case "ThrottlingException":
    case "TooManyRequests":
    case "TooManyRequestsException":
    case "RequestLimitExceeded":
    case "ServiceUnavailable":
      if (code !== "ServiceUnavailable") return new Throttled({ ...common, ...retryAfter(details) })
      break
    case "RequestTimeout":
      return new Unavailable({ ...common, sent: true })
  }
  if (status === 401 || status === 403) return new AccessDenied(common)
  if (code === "AccessDenied" || code === "InvalidAccessKeyId" || code === "SignatureDoesNotMatch") {
    return new AccessDenied(common)
  }
  if (status === 429) return new Throttled({ ...common, ...retryAfter(details) })
  if (status === 409) return new ConditionalRequestConflict(common)
  if (status === 501) return new Unsupported({ ...common, feature: operation })
  if (status >= 500 || code === "InternalError" || code === "ServiceUnavailable") {
    return new Unavailable({ ...common, sent: true, ...retryAfter(details) })
  }
  if (status === 301 || status === 307) {
    const description = "the bucket is in another region than the one given"
    return new InvalidArgument({ ...common, argument: "region", description })
  }
  if (status === 400) return new InvalidArgument({ ...common, argument: code })
  return new Unexpected(common)
}

const retryAfter = ({ retryAfterMillis }: Details): { readonly retryAfterMillis?: number } =>
  retryAfterMillis === undefined ? {} : { retryAfterMillis }
