/**
 * What can go wrong between this library and an object store, under the names S3 uses.
 *
 * A store fails with one error, `StoreError`, whose `reason` says what happened. Catch a single reason with
 * `Effect.catchReason("StoreError", "PreconditionFailed", ...)`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { ExpectedError } from "../internal/expectedError.ts"

const TypeId = "~effect-s3db/storage/StoreError" as const

/**
 * The operations of the `ObjectStore` port, and `open`: making a store ready for them.
 *
 * @category models
 * @since 0.1.0
 */
export const Operation = Schema.Literals(["put", "get", "head", "delete", "deleteMany", "copy", "list", "open"])

/**
 * One of the operations of the `ObjectStore` port.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = typeof Operation.Type

/**
 * The knowledge about the effect of a request that failed.
 *
 * `"none"`: the store refused it before doing anything. `"unknown"`: it may or may not have been carried out (a lost
 * response, a timeout, an internal error of the store), and only a read can tell.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "none" | "unknown"

const reasonFields = {
  /** One sentence for a person. Never holds credentials, metadata values or bodies. */
  description: Schema.String,
  /** The store's own error code, such as `SlowDown`. */
  code: Schema.optionalKey(Schema.String),
  /** The HTTP status, where there was one. */
  status: Schema.optionalKey(Schema.Number),
  /** The store's request id, to quote to its support. */
  requestId: Schema.optionalKey(Schema.String)
}

/**
 * A missing object: none has this key. Not retried.
 *
 * @remedy Treat it as absence.
 * @category errors
 * @since 0.1.0
 */
export class NoSuchKey extends ExpectedError<NoSuchKey>("effect-s3db/storage/StoreError/NoSuchKey")(
  "NoSuchKey",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A bucket that does not exist.
 *
 * @remedy Create it (`s3db create bucket`, `createBucket: true`), or correct the name in the connection.
 * @category errors
 * @since 0.1.0
 */
export class NoSuchBucket extends ExpectedError<NoSuchBucket>("effect-s3db/storage/StoreError/NoSuchBucket")(
  "NoSuchBucket",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A condition of the request (`ifMatch`, `ifNoneMatch`) that does not hold (HTTP 412).
 *
 * `afterUnknown` is true when an earlier attempt of the same request had an unknown outcome: the object found there may
 * be the one that this very request wrote. The retrying store sets it after it has looked and found other content. Then, and
 * only then, its outcome is `"unknown"`.
 *
 * @remedy Read the object again and decide. Above the port this is `Conflict` or `AlreadyExists`.
 * @category errors
 * @since 0.1.0
 */
export class PreconditionFailed extends ExpectedError<PreconditionFailed>(
  "effect-s3db/storage/StoreError/PreconditionFailed"
)("PreconditionFailed", { ...reasonFields, afterUnknown: Schema.optionalKey(Schema.Boolean) }) {
  readonly isRetryable: boolean = false
  get outcome(): Outcome {
    return this.afterUnknown === true ? "unknown" : "none"
  }
}

/**
 * A conflict with another conditional request on the same key that was in flight (HTTP 409). Nothing was written.
 *
 * @remedy Send the same request again. `RetryingStore` does; where it gives up, let fewer writers work on the same
 * object at once.
 * @category errors
 * @since 0.1.0
 */
export class ConditionalRequestConflict extends ExpectedError<ConditionalRequestConflict>(
  "effect-s3db/storage/StoreError/ConditionalRequestConflict"
)("ConditionalRequestConflict", reasonFields) {
  readonly isRetryable: boolean = true
  readonly outcome: Outcome = "none"
}

/**
 * User metadata larger than the store takes (2,048 bytes on AWS).
 *
 * @remedy Put less there. Documents do not meet it: their behavior decides what goes to the body, or `MetadataLimit`
 * says so before anything is sent.
 * @category errors
 * @since 0.1.0
 */
export class MetadataTooLarge extends ExpectedError<MetadataTooLarge>(
  "effect-s3db/storage/StoreError/MetadataTooLarge"
)("MetadataTooLarge", { ...reasonFields, size: Schema.Number, limit: Schema.Number }) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A key longer than 1,024 UTF-8 bytes.
 *
 * @remedy Use shorter ids, shorter values in partitions and companions, or a shorter prefix.
 * @category errors
 * @since 0.1.0
 */
export class KeyTooLong extends ExpectedError<KeyTooLong>("effect-s3db/storage/StoreError/KeyTooLong")(
  "KeyTooLong",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A body larger than one request may carry.
 *
 * @remedy Store less in one object: shorten the document, or put large bytes into its content, which is kept in parts.
 * @category errors
 * @since 0.1.0
 */
export class EntityTooLarge extends ExpectedError<EntityTooLarge>("effect-s3db/storage/StoreError/EntityTooLarge")(
  "EntityTooLarge",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A requested byte range outside the object (HTTP 416).
 *
 * @remedy Ask for bytes that are there: `head` tells the size.
 * @category errors
 * @since 0.1.0
 */
export class InvalidRange extends ExpectedError<InvalidRange>("effect-s3db/storage/StoreError/InvalidRange")(
  "InvalidRange",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A request that is wrong in itself: an empty key, a metadata value that is not printable ASCII, a foreign continuation
 * token, more than 1,000 keys asked for. `argument` names the part at fault.
 *
 * @remedy Correct what `argument` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidArgument extends ExpectedError<InvalidArgument>("effect-s3db/storage/StoreError/InvalidArgument")(
  "InvalidArgument",
  { ...reasonFields, argument: Schema.String }
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * Credentials that are missing, wrong, or do not allow the operation (HTTP 401, 403; EACCES on disk).
 *
 * @remedy Correct the credentials, or allow what is missing: `s3db doctor` tries each permission by itself, and
 * `docs/guide/connecting.md#the-fewest-rights` has the policy.
 * @category errors
 * @since 0.1.0
 */
export class AccessDenied extends ExpectedError<AccessDenied>("effect-s3db/storage/StoreError/AccessDenied")(
  "AccessDenied",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A wish of the store for fewer requests (429, `SlowDown`). Nothing was done. `retryAfterMillis` is the store's own
 * wish, in milliseconds.
 *
 * @remedy Retried by itself for `retryFor`. Where it gives up: let fewer requests go at once (`concurrency`), or
 * spread the keys over more prefixes or time.
 * @category errors
 * @since 0.1.0
 */
export class Throttled extends ExpectedError<Throttled>("effect-s3db/storage/StoreError/Throttled")("Throttled", {
  ...reasonFields,
  retryAfterMillis: Schema.optionalKey(Schema.Number)
}) {
  readonly isRetryable: boolean = true
  readonly outcome: Outcome = "none"
}

/**
 * A store that could not be reached, or answered with an error of its own (5xx, a broken connection, a full disk).
 * `sent` is false when the request certainly never reached the store; then its outcome is `"none"`.
 *
 * @remedy Retried by itself for `retryFor`. Where it gives up: look at network, endpoint and disk (`s3db doctor`), and
 * try again later. A write whose outcome is unknown is resolved by the library, or ends with `OutcomeUnknown`.
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends ExpectedError<Unavailable>("effect-s3db/storage/StoreError/Unavailable")(
  "Unavailable",
  {
    ...reasonFields,
    sent: Schema.Boolean,
    retryAfterMillis: Schema.optionalKey(Schema.Number)
  }
) {
  readonly isRetryable: boolean = true
  get outcome(): Outcome {
    return this.sent ? "unknown" : "none"
  }
}

/**
 * No answer within the time allowed; the request underneath was cancelled, its outcome is unknown.
 *
 * @remedy Retried by itself for `retryFor`. Where it gives up: raise `timeout`, look at the latency (`s3db doctor`),
 * or try again later.
 * @category errors
 * @since 0.1.0
 */
export class Timeout extends ExpectedError<Timeout>("effect-s3db/storage/StoreError/Timeout")("Timeout", {
  ...reasonFields,
  afterMillis: Schema.Number
}) {
  readonly isRetryable: boolean = true
  readonly outcome: Outcome = "unknown"
}

/**
 * Stored bytes that cannot be what was written: a torn or altered object, a checksum that does not fit.
 *
 * @remedy `s3db repair` lists what is damaged. Restore the object from a backup, or an earlier version of the
 * document; see `docs/guide/finding-and-changing-documents.md#when-an-object-is-damaged`.
 * @category errors
 * @since 0.1.0
 */
export class Corrupt extends ExpectedError<Corrupt>("effect-s3db/storage/StoreError/Corrupt")("Corrupt", reasonFields) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * A request that the store cannot carry out, such as a conditional write. `feature` names it.
 *
 * @remedy Choose another store, or a mode that does without it, such as `singleWriter`; where a definition is the
 * reason, open the resource by the program that declares it.
 * @category errors
 * @since 0.1.0
 */
export class Unsupported extends ExpectedError<Unsupported>("effect-s3db/storage/StoreError/Unsupported")(
  "Unsupported",
  {
    ...reasonFields,
    feature: Schema.String
  }
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "none"
}

/**
 * An answer that fits no other reason. Not retried. Its `code` and `status` are the store's.
 *
 * @remedy Look up `code` in the manual of the store, and report it to this project. Read before writing again: the
 * outcome is unknown.
 * @category errors
 * @since 0.1.0
 */
export class Unexpected extends ExpectedError<Unexpected>("effect-s3db/storage/StoreError/Unexpected")(
  "Unexpected",
  reasonFields
) {
  readonly isRetryable: boolean = false
  readonly outcome: Outcome = "unknown"
}

/**
 * Every reason a store operation can fail for.
 *
 * @category errors
 * @since 0.1.0
 */
export const Reason = Schema.Union([
  NoSuchKey,
  NoSuchBucket,
  PreconditionFailed,
  ConditionalRequestConflict,
  MetadataTooLarge,
  KeyTooLong,
  EntityTooLarge,
  InvalidRange,
  InvalidArgument,
  AccessDenied,
  Throttled,
  Unavailable,
  Timeout,
  Corrupt,
  Unsupported,
  Unexpected
])

/**
 * One of the reasons a store operation can fail for.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/**
 * Tells whether a value is one of the reasons of this module.
 *
 * @category guards
 * @since 0.1.0
 */
export const isReason = (u: unknown): u is Reason => Reason.members.some((member) => u instanceof member)

/**
 * Returns what a reason says, for people: its name and description, the status of the answer, and how often the request
 * was sent.
 *
 * @category getters
 * @since 0.1.0
 */
export const describe = (
  reason: { readonly _tag: string; readonly description: string; readonly status?: number },
  attempts: number | undefined
): string => {
  const details = [
    reason.status === undefined ? [] : `status ${reason.status}`,
    attempts === undefined ? [] : `${attempts} attempts`
  ].flat()
  return `${reason._tag}: ${reason.description}${details.length === 0 ? "" : ` (${details.join(", ")})`}`
}

/**
 * Returns a reason that says of what is damaged which object it is, and what to do; any other reason as it is.
 *
 * @category getters
 * @since 0.1.0
 */
export const located = (reason: Reason, key: string | undefined): Reason => {
  if (reason._tag !== "Corrupt" || key === undefined) return reason
  const { code, description, requestId, status } = reason
  // A description that says what to do has said of what.
  if (description.includes("restore")) return reason
  const where = description.includes(key) ? "" : ` (object ${key})`
  return new Corrupt({
    description: `${description}${where}: restore it from a backup`,
    ...(code === undefined ? {} : { code }),
    ...(status === undefined ? {} : { status }),
    ...(requestId === undefined ? {} : { requestId })
  })
}

/**
 * The one error of the `ObjectStore` port.
 *
 * @remedy See its `reason`. Above the port it comes as a `DbError` with the same reason.
 * @category errors
 * @since 0.1.0
 */
export class StoreError extends ExpectedError<StoreError>("effect-s3db/storage/StoreError")("StoreError", {
  operation: Operation,
  /** The key (or the prefix, for `list`) that the operation was about. */
  key: Schema.optionalKey(Schema.String),
  reason: Reason,
  /** How often the request was sent, where it was tried again. */
  attempts: Schema.optionalKey(Schema.Int)
}) {
  readonly [TypeId] = TypeId

  override get message(): string {
    return `${this.operation} failed: ${describe(located(this.reason, this.key), this.attempts)}`
  }

  /** True when the same request may succeed later. */
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  /** Whether the request may have been carried out all the same. */
  get outcome(): Outcome {
    return this.reason.outcome
  }
}

/**
 * Returns the fields of an error, to make another one of them.
 *
 * @category getters
 * @since 0.1.0
 */
export const fieldsOf = (error: StoreError): ConstructorParameters<typeof StoreError>[0] => ({
  operation: error.operation,
  reason: error.reason,
  ...(error.key === undefined ? {} : { key: error.key }),
  ...(error.attempts === undefined ? {} : { attempts: error.attempts })
})

/**
 * Tells whether a value is a `StoreError`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStoreError = (u: unknown): u is StoreError => typeof u === "object" && u !== null && TypeId in u
