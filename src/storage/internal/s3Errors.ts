/** What goes wrong between a client of S3 and the store, as reasons of a `StoreError`. */
import { maxMetadataBytes } from "../ObjectStore.ts"
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
} from "../StoreError.ts"
import { answersTo, describeForeign, NotOfS3 } from "./s3Answers.ts"

/** What the reason needs to know of the request. */
export interface RequestFacts {
  readonly operation: Operation
  readonly region: string
  /** The bucket, and where it should be, for people. */
  readonly place: string
  /** Bytes of the user metadata that was sent. */
  readonly metadataBytes?: number | undefined
  /** Whether the request carried a condition. */
  readonly conditional?: boolean | undefined
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const textField = (value: unknown, name: string): string | undefined => {
  const found = field(value, name)
  return typeof found === "string" && found !== "" ? found : undefined
}

const numberField = (value: unknown, name: string): number | undefined => {
  const found = field(value, name)
  return typeof found === "number" ? found : undefined
}

/** Names that JavaScript and the SDK give to errors that came without a code of the store. */
const namesWithoutMeaning = new Set(["Error", "TypeError", "SyntaxError", "RangeError", "Unknown", "UnknownError"])

/** An answer that is no success, whatever client it came through. */
export interface Refusal {
  readonly status: number
  /** The code that the store gives, in XML. */
  readonly code: string | undefined
  readonly requestId: string | undefined
  /** The region that the bucket is in, as the body names it. */
  readonly region: string | undefined
  /** The argument that is wrong, as the body names it. */
  readonly argument: string | undefined
  readonly header: (name: string) => string | undefined
}

/** A code of the store, and no name that JavaScript gives to errors. */
const meaningful = (code: string | undefined): string | undefined =>
  code === undefined || namesWithoutMeaning.has(code) ? undefined : code

/** `Retry-After` in milliseconds: seconds, or a date that is compared with the store's own clock. */
const retryAfterOf = ({ header }: Refusal): number | undefined => {
  const text = header("retry-after")
  if (text === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000)
  const millis = Date.parse(text) - Date.parse(header("date") ?? "")
  return Number.isNaN(millis) ? undefined : Math.max(0, millis)
}

/** The request never left: nobody was there, or nobody who could be trusted. */
const neverSent =
  /^(ECONNREFUSED|ENOTFOUND|EAI_[A-Z]+|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|ERR_TLS_CERT_.*|CERT_.*|UND_ERR_CONNECT_TIMEOUT|UNABLE_TO_.*|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|ERR_SSL_.*)$/

const noTls = "the server does not speak TLS: if it is meant to be asked without, write http://"
const unknownAuthority =
  "nobody who is known here has signed the server's certificate: name the file of who has in NODE_EXTRA_CA_CERTS"

/** What to do about what the layers below the request say by a code. */
const remedies: ReadonlyArray<readonly [codes: RegExp, text: string]> = [
  [/^ECONNREFUSED$/, "nobody listens there: does the server run, and is it this port?"],
  [/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/, noTls],
  [/^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*)$/, unknownAuthority],
  [/^CERT_HAS_EXPIRED$/, "the server's certificate has expired"],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, "the server's certificate is for other names than this"]
]

const withRemedy = (code: string): string => {
  const remedy = remedies.find(([codes]) => codes.test(code))?.[1]
  return remedy === undefined ? code : `${remedy} (${code})`
}

const connectionOf = (cause: unknown): Reason | undefined => {
  const name = textField(cause, "name")
  const code = textField(cause, "code")
  const message = textField(cause, "message") ?? ""
  const unreachable = (why: string) =>
    new Unavailable({
      description: `the store could not be reached: ${why}`,
      sent: false,
      ...(code === undefined ? {} : { code })
    })
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    const description =
      "no credentials were found: give them in the options or the connection string, or set up the default chain of the AWS SDK"
    return new AccessDenied({ description, code: name })
  }
  if (code === "ENOTFOUND") {
    const host = textField(cause, "hostname") ?? /ENOTFOUND (\S+)/.exec(message)?.[1]
    return unreachable(
      host === undefined ? code : `no host has the name ${JSON.stringify(host)} (${code}): is it spelt right?`
    )
  }
  if (code !== undefined && neverSent.test(code)) return unreachable(withRemedy(code))
  const connecting = field(cause, "syscall") === "connect" || Array.isArray(field(cause, "errors"))
  if (connecting && code !== undefined) return unreachable(withRemedy(code))
  if (message.includes("did not establish a connection")) return unreachable("no connection in time")
  if (name === "AbortError" || code === "ETIMEDOUT" || (name === "TimeoutError" && code === undefined)) {
    const afterMillis = Number(/(\d+) ms/.exec(message)?.[1] ?? 0)
    const description = name === "AbortError" ? "the request was cancelled" : "the store did not answer in time"
    return new Timeout({ afterMillis, description, ...(code === undefined ? {} : { code }) })
  }
  const broken = /^(ECONN|EPIPE|HPE_|ERR_STREAM_|EPROTO|ERR_HTTP|UND_ERR_)/
  if ((code !== undefined && broken.test(code)) || message === "aborted" || message === "socket hang up") {
    const description =
      code === "EPROTO" && message.includes("wrong version number")
        ? noTls
        : "the connection broke before the answer was complete"
    return new Unavailable({ description, sent: true, ...(code === undefined ? {} : { code }) })
  }
  return undefined
}

/** Codes that say on their own what happened, whatever the status. */
const throttlingCodes = new Set([
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "ThrottledException",
  "RequestThrottled",
  "RequestThrottledException",
  "RequestLimitExceeded",
  "BandwidthLimitExceeded",
  "TooManyRequests",
  "TooManyRequestsException"
])

const accessCodes = new Set([
  "AccessDenied",
  "AccountProblem",
  "AllAccessDisabled",
  "CredentialsNotSupported",
  "ExpiredToken",
  "Forbidden",
  "InvalidAccessKeyId",
  "InvalidPayer",
  "InvalidSecurity",
  "InvalidToken",
  "MissingSecurityHeader",
  "NotSignedUp",
  "RequestExpired",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch",
  "TokenRefreshRequired",
  "UnauthorizedAccess"
])

const accessDescription = (code: string | undefined): string => {
  switch (code) {
    case "ExpiredToken":
    case "RequestExpired":
    case "TokenRefreshRequired":
      return "the credentials have expired"
    case "InvalidAccessKeyId":
      return "the store does not know this access key"
    case "RequestTimeTooSkewed":
      return "the clock of this machine differs too much from the store's"
    case "SignatureDoesNotMatch":
      return "the secret key is wrong, or a proxy altered the request"
    case "InvalidToken":
      return "the session token is not valid"
    default:
      return "the credentials do not allow this"
  }
}

/** Any failure of a request through the SDK. */
export const reasonOf = (cause: unknown, request: RequestFacts): Reason => {
  const metadata = field(cause, "$metadata")
  const response = field(cause, "$response")
  const status = numberField(metadata, "httpStatusCode") ?? numberField(response, "statusCode")
  if (status === undefined || cause instanceof NotOfS3) return reasonWithoutAnswer(cause)
  const refusal = {
    status,
    code: textField(cause, "Code") ?? textField(cause, "name"),
    requestId: textField(metadata, "requestId"),
    region: textField(cause, "Region"),
    argument: textField(cause, "ArgumentName"),
    header: (name: string) => textField(field(response, "headers"), name)
  }
  return reasonOfRefusal(refusal, request)
}

/** No answer came, or none of S3. */
export const reasonWithoutAnswer = (cause: unknown): Reason =>
  cause instanceof NotOfS3
    ? new Unexpected({ description: cause.description, status: cause.status })
    : (connectionOf(cause) ?? localOf(cause))

/** The store, or somebody before it, has answered, and not with a success. */
export const reasonOfRefusal = (refusal: Refusal, request: RequestFacts): Reason => {
  const { requestId, status } = refusal
  const code = meaningful(refusal.code)
  const facts = {
    status,
    ...(code === undefined ? {} : { code }),
    ...(requestId === undefined ? {} : { requestId })
  }
  return byCode(refusal, code, facts, request) ?? byStatus(refusal, status, facts, request)
}

/** The region that an answer sends us to. */
export const regionIn = (refusal: Refusal): string | undefined =>
  refusal.header("x-amz-bucket-region") ?? refusal.region

/** Nothing was sent: what was given to the SDK does not make a request. */
const localOf = (cause: unknown): Reason => {
  const code = textField(cause, "code")
  if (code === "ERR_INVALID_URL") {
    return new InvalidArgument({ argument: "endpoint", description: "the endpoint is not a URL", code })
  }
  if (code === "ERR_INVALID_CHAR") {
    return new InvalidArgument({ argument: "header", description: "a header holds a character it must not", code })
  }
  const name = textField(cause, "name")
  return new Unexpected({
    description: `the request failed before an answer came: ${code ?? name ?? "no error was given"}`,
    ...(code === undefined ? {} : { code })
  })
}

interface AnswerFacts {
  readonly status: number
  readonly code?: string
  readonly requestId?: string
}

const unavailable = (refusal: Refusal, facts: AnswerFacts): Reason => {
  const retryAfterMillis = retryAfterOf(refusal)
  return new Unavailable({
    description: `the store answered with an error of its own${facts.code === undefined ? "" : `, ${facts.code}`}`,
    sent: true,
    ...facts,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
  })
}

const throttled = (refusal: Refusal, facts: AnswerFacts): Reason => {
  const retryAfterMillis = retryAfterOf(refusal)
  return new Throttled({
    description: "the store asks for fewer requests",
    ...facts,
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
  })
}

const wrongRegion = (refusal: Refusal, facts: AnswerFacts, request: RequestFacts): Reason => {
  const region = regionIn(refusal)
  const description =
    region === undefined
      ? `the bucket is not in region ${request.region}, or not at this endpoint`
      : `the bucket is in region ${region}, not in ${request.region}`
  return new InvalidArgument({ argument: "region", description, ...facts })
}

const noSuchBucket = (facts: AnswerFacts, { place }: RequestFacts): Reason => {
  const description = `there is no ${place}: create it, or let it be created by createBucket: true (createBucket=true in a connection string)`
  return new NoSuchBucket({ description, ...facts })
}

const metadataTooLarge = (facts: AnswerFacts, { metadataBytes = 0 }: RequestFacts): Reason =>
  new MetadataTooLarge({
    size: metadataBytes,
    limit: maxMetadataBytes,
    description: `the store does not take ${metadataBytes} bytes of user metadata in this form`,
    ...facts
  })

const byCode = (
  refusal: Refusal,
  code: string | undefined,
  facts: AnswerFacts,
  request: RequestFacts
): Reason | undefined => {
  if (code === undefined) return undefined
  if (throttlingCodes.has(code)) return throttled(refusal, facts)
  if (accessCodes.has(code)) return new AccessDenied({ description: accessDescription(code), ...facts })
  switch (code) {
    case "NoSuchKey":
      return new NoSuchKey({ description: "there is no such object", ...facts })
    case "NoSuchBucket":
      return noSuchBucket(facts, request)
    case "PreconditionFailed":
      return new PreconditionFailed({ description: "the condition does not hold", ...facts })
    case "ConditionalRequestConflict":
    case "OperationAborted":
    case "ConcurrentModification":
      return new ConditionalRequestConflict({ description: "another request on this key was under way", ...facts })
    case "MetadataTooLarge":
      return metadataTooLarge(facts, request)
    case "KeyTooLongError":
    case "KeyTooLong":
      return new KeyTooLong({ description: "the store does not take a key as long as this", ...facts })
    case "EntityTooLarge":
    case "MaxMessageLengthExceeded":
      return new EntityTooLarge({ description: "the body is larger than the store takes in one request", ...facts })
    case "InvalidRange":
      return new InvalidRange({ description: "the range lies outside the object", ...facts })
    case "NotImplemented":
    case "XNotImplemented":
    case "MethodNotAllowed":
      return new Unsupported({ feature: request.operation, description: "the store cannot do this", ...facts })
    case "InvalidObjectState":
      return new Unsupported({
        feature: "archived objects",
        description: "the object is archived and has to be restored first",
        ...facts
      })
    case "PermanentRedirect":
    case "TemporaryRedirect":
    case "Redirect":
    case "IllegalLocationConstraintException":
      return wrongRegion(refusal, facts, request)
    case "AuthorizationHeaderMalformed":
      return refusal.region === undefined
        ? new AccessDenied({ description: "the store does not understand how the request is signed", ...facts })
        : wrongRegion(refusal, facts, request)
    case "InvalidBucketName":
      return new InvalidArgument({ argument: "bucket", description: "this is no name of a bucket", ...facts })
    case "BadDigest":
    case "IncompleteBody":
    case "InternalError":
    case "InvalidDigest":
    case "RequestTimeout":
    case "ServiceUnavailable":
    case "XAmzContentSHA256Mismatch":
      return unavailable(refusal, facts)
  }
  return undefined
}

/**
 * Whether it is somebody else who says that there is nothing, such as a proxy whose server is being restarted. S3 names what is
 * missing, in XML, but for HEAD.
 */
const isForeign = (refusal: Refusal, { code }: AnswerFacts, { operation }: RequestFacts): boolean => {
  const type = refusal.header("content-type")
  return code === undefined && operation !== "head" && operation !== "open" && type !== undefined && !/xml/i.test(type)
}

const byStatus = (refusal: Refusal, status: number, facts: AnswerFacts, request: RequestFacts): Reason => {
  switch (status) {
    case 301:
    case 302:
    case 307:
    case 308:
      return wrongRegion(refusal, facts, request)
    case 304:
    case 412:
      return new PreconditionFailed({ description: "the condition does not hold", ...facts })
    case 400:
    case 411:
    case 414:
      return new InvalidArgument({
        argument: refusal.argument ?? "request",
        description: `the store refused the request${facts.code === undefined ? "" : `: ${facts.code}`}`,
        ...facts
      })
    case 401:
    case 403:
      return new AccessDenied({ description: accessDescription(facts.code), ...facts })
    case 404:
      if (isForeign(refusal, facts, request)) {
        const description = describeForeign(
          status,
          refusal.header("content-type"),
          answersTo[request.operation]?.to ?? "a read"
        )
        return new Unexpected({ description, ...facts })
      }
      // The answer to HEAD has no body that could tell a missing object from a missing bucket.
      return request.operation === "list" || request.operation === "deleteMany" || request.operation === "open"
        ? noSuchBucket(facts, request)
        : new NoSuchKey({ description: "there is no such object", ...facts })
    case 405:
    case 501:
      return new Unsupported({ feature: request.operation, description: "the store cannot do this", ...facts })
    case 409:
      return request.conditional === true
        ? new ConditionalRequestConflict({ description: "another request on this key was under way", ...facts })
        : new Unexpected({ description: "the store reports a conflict", ...facts })
    case 413:
      return new EntityTooLarge({ description: "the body is larger than the store takes in one request", ...facts })
    case 416:
      return new InvalidRange({ description: "the range lies outside the object", ...facts })
    case 429:
      return throttled(refusal, facts)
    case 431:
      return metadataTooLarge(facts, request)
  }
  if (status === 408 || status >= 500) return unavailable(refusal, facts)
  return new Unexpected({ description: `the answer, status ${status}, could not be understood`, ...facts })
}

/** The reason for a key that a DeleteObjects request did not delete. */
export const reasonOfDeletion = (code: string | undefined): Reason => {
  const facts = code === undefined ? {} : { code }
  if (code !== undefined && throttlingCodes.has(code)) {
    return new Throttled({ description: "the store asks for fewer requests", ...facts })
  }
  if (code !== undefined && accessCodes.has(code)) {
    return new AccessDenied({ description: accessDescription(code), ...facts })
  }
  if (code === "InternalError" || code === "ServiceUnavailable") {
    const description = `the store answered with an error of its own, ${code}`
    return new Unavailable({ description, sent: true, ...facts })
  }
  return new Unexpected({ description: "the store did not delete the object", ...facts })
}

/** What is said when a package of the SDK cannot be loaded: it is not there, or not as it can be loaded. */
export const notLoaded = (name: string, error: unknown): string =>
  error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
    ? `the package ${name} is missing: install it`
    : `the package ${name} could not be loaded (${error instanceof Error ? error.message : String(error)}): a bundler has to take its ES modules (esbuild: mainFields ["module", "main"]) or leave it external`
