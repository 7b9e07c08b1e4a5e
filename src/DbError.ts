/**
 * The errors of the document layer.
 *
 * What a caller handles differently is an error of its own: `NotFound`, `AlreadyExists`, `Conflict`, `UniqueViolation`,
 * `TransactionConflict`, `InvalidInput`, `MetadataLimit`, `NotAllowed`, `Unfinished`. Everything that concerns the infrastructure is one `DbError` whose `reason` says what happened; catch
 * one with `Effect.catchReason("DbError", "AccessDenied", ...)`. None carries field values or secrets.
 *
 * Their encoded forms are for strangers: they name no other document than the one that was asked for. What a program needs
 * beyond that, the owner of a unique value and the description of a reason, stays in the process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as StoreError from "./storage/StoreError.ts"
import { ExpectedError } from "./internal/expectedError.ts"

const untold = "the program that was asked knows more"

/**
 * A missing document: none has this `id`, or the values that were looked up by a unique key (`unique` is its name, and there
 * is no `id`). Of `getAt` and `restore` it has the `version`, or the `time`, that was
 * asked for: there may be a document now. Of `fromImage` it has the `image` that a record does not have. Of `documentOf`, which has none of these: the value was not read or written
 * by this repository.
 *
 * @remedy Treat it as absence, as `getOption` does. Where the document should be there: look at the id, and at the
 * connection and its prefix.
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends ExpectedError<NotFound>("effect-s3db/DbError/NotFound")(
  "NotFound",
  {
    resource: Schema.String,
    id: Schema.optionalKey(Schema.String),
    unique: Schema.optionalKey(Schema.String),
    version: Schema.optionalKey(Schema.Number),
    time: Schema.optionalKey(Schema.String),
    image: Schema.optionalKey(Schema.Literals(["before", "after"]))
  },
  { httpApiStatus: 404 }
) {
  override get message(): string {
    if (this.image !== undefined)
      return `${this.resource} has no image of document ${JSON.stringify(this.id)} ${this.image} this write: an insert has none before it, a deletion none after it, and the option journal of the resource says which are kept`
    if (this.version !== undefined)
      return `${this.resource} has no version ${this.version} of a document with id ${JSON.stringify(this.id)}`
    if (this.time !== undefined)
      return `${this.resource} had no document with id ${JSON.stringify(this.id)} at ${this.time}`
    if (this.unique !== undefined)
      return `${this.resource} has no document with these values of unique key ${this.unique}`
    return this.id === undefined
      ? `${this.resource} has neither read nor written this value here: give documentOf what an operation has returned`
      : `${this.resource} has no document with id ${JSON.stringify(this.id)}`
  }
}

/**
 * A document with this id that exists already; it was left as it is.
 *
 * @remedy Choose another id, or use `upsert` or `replace`.
 * @category errors
 * @since 0.1.0
 */
export class AlreadyExists extends ExpectedError<AlreadyExists>("effect-s3db/DbError/AlreadyExists")(
  "AlreadyExists",
  { resource: Schema.String, id: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `${this.resource} already has a document with id ${JSON.stringify(this.id)}`
  }
}

/**
 * A change by somebody else since the document was read; nothing was written. `revision` is the present one.
 *
 * @remedy Read it again and decide; or give `update` a function, which is run again on what is there by then.
 * @category errors
 * @since 0.1.0
 */
export class Conflict extends ExpectedError<Conflict>("effect-s3db/DbError/Conflict")(
  "Conflict",
  { resource: Schema.String, id: Schema.String, revision: Schema.String },
  { httpApiStatus: 409 }
) {
  override get message(): string {
    return `${this.resource} document ${JSON.stringify(this.id)} was changed by somebody else`
  }
}

/** Of which it is not told who are strangers. */
const inProcess = <S extends Schema.Constraint>(schema: S) =>
  Schema.optionalKey(schema).pipe(
    Schema.encodeTo(Schema.optionalKey(Schema.toEncoded(schema)), {
      decode: SchemaGetter.omit(),
      encode: SchemaGetter.omit()
    })
  )

/**
 * A value that the unique key wants for itself, and that another document has; nothing was changed.
 *
 * `isPending`: it is claimed by a write that may be under way, or may have come to a sudden end. Try again: at the latest
 * when the lease of that write is over (60 seconds by default), the value is held, or free.
 *
 * `id` is for the program alone: it is in no JSON, neither encoded nor by `JSON.stringify`, and so missing where the error
 * was decoded.
 *
 * @remedy Choose another value. Where `isPending` is true, try again first: at the latest when the lease of the other
 * write is over.
 * @category errors
 * @since 0.1.0
 */
export class UniqueViolation extends ExpectedError<UniqueViolation>("effect-s3db/DbError/UniqueViolation")(
  "UniqueViolation",
  {
    resource: Schema.String,
    unique: Schema.String,
    fields: Schema.Array(Schema.String),
    /** The document that has the value. */
    id: inProcess(Schema.String),
    isPending: Schema.Boolean
  },
  { httpApiStatus: 409 }
) {
  override toJSON() {
    const { _tag, fields, isPending, resource, unique } = this
    return { _tag, resource, unique, fields, isPending }
  }

  override get message(): string {
    const value = `${this.resource}: the value of ${this.fields.join(", ")}`
    return this.isPending
      ? `${value} is being claimed by another write (unique key ${this.unique}): try again, at the latest when the lease of that write is over it is held, or free`
      : `${value} is taken (unique key ${this.unique})`
  }
}

const Left = Schema.Array(Schema.Struct({ id: Schema.String, why: Schema.String }))

/**
 * Work on all documents that has come to its end and is not done: what it could do is done, and stays. `left` are documents
 * that it had to leave as they are, up to 100 of them, and why; `description` says what to do about it.
 *
 * `left` and `description` are for the program alone: they are in no JSON.
 *
 * @remedy Do what `description` says about the documents in `left`, and run it again.
 * @category errors
 * @since 0.1.0
 */
export class Unfinished extends ExpectedError<Unfinished>("effect-s3db/DbError/Unfinished")(
  "Unfinished",
  {
    resource: Schema.String,
    operation: Schema.String,
    left: Left.pipe(
      Schema.encodeTo(Left, {
        decode: SchemaGetter.passthrough(),
        encode: SchemaGetter.transform((): typeof Left.Encoded => [])
      })
    ),
    description: Schema.String.pipe(
      Schema.encodeTo(Schema.String, {
        decode: SchemaGetter.passthrough(),
        encode: SchemaGetter.transform(() => untold)
      })
    )
  },
  { httpApiStatus: 409 }
) {
  override toJSON() {
    const { _tag, operation, resource } = this
    return { _tag, resource, operation, left: [], description: untold }
  }

  override get message(): string {
    return `${this.operation} of ${this.resource} is not done: ${this.description}`
  }
}

/**
 * Changes by others that kept meeting what a transaction had read; nothing of it was done. `met`, for the program alone, is what it met last, such as `users "ana"` or `a listing of users`.
 *
 * @remedy Run it again later, or let it do less at once.
 * @category errors
 * @since 0.1.0
 */
export class TransactionConflict extends ExpectedError<TransactionConflict>("effect-s3db/DbError/TransactionConflict")(
  "TransactionConflict",
  { attempts: Schema.Int, met: inProcess(Schema.Array(Schema.String)) },
  { httpApiStatus: 409 }
) {
  override toJSON() {
    const { _tag, attempts } = this
    return { _tag, attempts }
  }

  override get message(): string {
    const { attempts, met = [] } = this
    const last = met.length === 0 ? "" : `, the last time of ${met.slice(0, mostTold).join(", ")}`
    const more = met.length > mostTold ? ` and ${met.length - mostTold} more` : ""
    return `the transaction met changes by others, ${attempts} times${last}${more}: run it again later, or let it do less at once`
  }
}

const mostTold = 5

/**
 * One thing that is wrong with an input: where, and what was expected. It never holds the value.
 *
 * @category models
 * @since 0.1.0
 */
export const InputIssue = Schema.Struct({
  path: Schema.Array(Schema.Union([Schema.String, Schema.Finite])),
  message: Schema.String
})

/**
 * An input that does not fit the schema, an id that cannot be a key, or an option that is wrong. Nothing was changed.
 * Every problem is listed with its path.
 *
 * @remedy Correct what `issues` name. Where the input came from a person or a client, show it to them: it holds no
 * values.
 * @category errors
 * @since 0.1.0
 */
export class InvalidInput extends ExpectedError<InvalidInput>("effect-s3db/DbError/InvalidInput")(
  "InvalidInput",
  { resource: Schema.String, issues: Schema.Array(InputIssue) },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    const lines = this.issues.map(
      (issue) => `${issue.path.length > 0 ? `${issue.path.join(".")}: ` : ""}${issue.message}`
    )
    return `invalid input for ${this.resource}: ${lines.join("; ")}`
  }
}

/**
 * An operation that the definition does not allow, such as `deleteAll` on a resource that has not been declared with
 * `allowDeleteAll: true`.
 *
 * @remedy Do what `description` says: declare the option, index or `scan: true` that it names, or ask for something
 * else.
 * @category errors
 * @since 0.1.0
 */
export class NotAllowed extends ExpectedError<NotAllowed>("effect-s3db/DbError/NotAllowed")(
  "NotAllowed",
  { resource: Schema.String, operation: Schema.String, description: Schema.String },
  { httpApiStatus: 403 }
) {
  override get message(): string {
    return `${this.operation} is not allowed on ${this.resource}: ${this.description}`
  }
}

/**
 * A document that does not fit into the metadata of an object, and that the behavior of the resource does not let go
 * anywhere else. Nothing was sent. Sizes are bytes of metadata,
 * names and values, unless `measure` says otherwise (see `Behavior.Overflow`); `limitBytes` is what there is for fields.
 *
 * @remedy Shorten the document, or choose the behavior `body-overflow` for the resource.
 * @category errors
 * @since 0.1.0
 */
export class MetadataLimit extends ExpectedError<MetadataLimit>("effect-s3db/DbError/MetadataLimit")(
  "MetadataLimit",
  {
    resource: Schema.String,
    id: Schema.String,
    /** The limit that is exceeded. */
    measure: Schema.Literals(["metadata", "headers", "entry", "entries"]),
    totalBytes: Schema.Int,
    limitBytes: Schema.Int,
    excessBytes: Schema.Int
  },
  { httpApiStatus: 413 }
) {
  override get message(): string {
    const what = measured[this.measure]
    return `${this.resource} document ${JSON.stringify(this.id)} takes ${this.totalBytes} ${what}, ${this.excessBytes} more than the ${this.limitBytes} there are`
  }
}

const measured: Record<MetadataLimit["measure"], string> = {
  metadata: "bytes of metadata",
  headers: "bytes of request headers for its metadata",
  entry: "bytes in one entry of metadata",
  entries: "entries of metadata"
}

/**
 * A secret field that cannot be read; `why` says what is wrong.
 *
 * - `UnknownKey`: its key is not in the ring. Add the key.
 * - `Altered`: the ciphertext was altered or moved from elsewhere. Restore the document from a backup.
 * - `InClear`: what is stored is not encrypted. If the field was no secret when the document was written, give the schema
 *   a version and a migration from that one, if only one that changes nothing; else restore the document.
 *
 * @remedy By `why`: add the key that is missing to the ring; restore the document from a backup; or declare a
 * migration of the documents that were written before the field was a secret.
 * @category errors
 * @since 0.1.0
 */
export class SecretUnreadable extends ExpectedError<SecretUnreadable>("effect-s3db/DbError/SecretUnreadable")(
  "SecretUnreadable",
  {
    description: Schema.String,
    why: Schema.Literals(["UnknownKey", "Altered", "InClear"]),
    path: Schema.Array(Schema.String)
  }
) {
  readonly isRetryable: boolean = false
  readonly outcome: StoreError.Outcome = "none"
}

/**
 * A service that the resource needs and that failed or is missing: the key ring for secret fields, the hasher for
 * passwords.
 *
 * @remedy Provide the service that `service` names in the layer of the program (`KeyRing.layerConfig`,
 * `PasswordHasher.layer`), or correct what it says of itself.
 * @category errors
 * @since 0.1.0
 */
export class ServiceFailed extends ExpectedError<ServiceFailed>("effect-s3db/DbError/ServiceFailed")("ServiceFailed", {
  service: Schema.String,
  description: Schema.String
}) {
  readonly isRetryable: boolean = false
  readonly outcome: StoreError.Outcome = "none"
}

/**
 * A write that was answered with an error and may have been carried out, while later writes have hidden the traces that
 * would tell.
 *
 * @remedy Read the document and decide. Do not send the write again without a look.
 * @category errors
 * @since 0.1.0
 */
export class OutcomeUnknown extends ExpectedError<OutcomeUnknown>("effect-s3db/DbError/OutcomeUnknown")(
  "OutcomeUnknown",
  { description: Schema.String }
) {
  readonly isRetryable: boolean = false
  readonly outcome: StoreError.Outcome = "unknown"
}

/**
 * A partition, unique key or count that does not have every document yet, or does not any more. `index` names it.
 *
 * @remedy Run what the description says, mostly `backfill` or `recount` of `repository.admin`, to its end; until then
 * read by other ways.
 * @category errors
 * @since 0.1.0
 */
export class Incomplete extends ExpectedError<Incomplete>("effect-s3db/DbError/Incomplete")("Incomplete", {
  index: Schema.String,
  description: Schema.String
}) {
  readonly isRetryable: boolean = false
  readonly outcome: StoreError.Outcome = "none"
}

/**
 * The reasons for which the infrastructure fails: every reason of a store, `OutcomeUnknown`, `SecretUnreadable`,
 * `ServiceFailed` and `Incomplete`.
 *
 * @category errors
 * @since 0.1.0
 */
export const Reason = Schema.Union([
  ...StoreError.Reason.members,
  OutcomeUnknown,
  SecretUnreadable,
  ServiceFailed,
  Incomplete
])

/**
 * One of the reasons for which the infrastructure fails.
 *
 * @category errors
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/**
 * A failure of the engine before the public operation is named: a failed request, or the bare reason.
 *
 * @category errors
 * @since 0.1.0
 */
export type Failure = StoreError.StoreError | Reason

/**
 * Tells whether a value is a failure of the engine that has no operation yet.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFailure = (u: unknown): u is Failure =>
  StoreError.isStoreError(u) || Reason.members.some((member) => u instanceof member)

/** What a description names (keys, ids of documents, folders) is for the program: strangers are told the kind alone. */
const EncodedReason = Reason.pipe(
  Schema.encodeTo(Schema.toEncoded(Reason), {
    decode: SchemaGetter.passthrough(),
    encode: SchemaGetter.transform((reason): typeof Reason.Encoded => ({ ...reason, description: untold }))
  })
)

/**
 * A failure of the infrastructure: the store, the network, the catalog, or what is stored.
 *
 * `isRetryable` says whether the same call may succeed later; `outcome` whether a write may have been carried out all
 * the same. Encoded, the reason has no description: that may name keys and documents of others. Log the error where it
 * happens.
 *
 * @remedy See its `reason` below. Where `isRetryable`, the same call may succeed later; where `outcome` is
 * `"unknown"`, read before writing again.
 * @category errors
 * @since 0.1.0
 */
export class DbError extends ExpectedError<DbError>("effect-s3db/DbError")(
  "DbError",
  {
    /** The public operation, such as `Resource.insert`. */
    operation: Schema.String,
    resource: Schema.optionalKey(Schema.String),
    reason: EncodedReason,
    /** How often the request that failed was sent, where it was tried again. */
    attempts: Schema.optionalKey(Schema.Int)
  },
  { httpApiStatus: 503 }
) {
  override get message(): string {
    const where = this.resource === undefined ? this.operation : `${this.operation} on ${this.resource}`
    return `${where} failed: ${StoreError.describe(this.reason, this.attempts)}`
  }

  get isRetryable(): boolean {
    return this.reason.isRetryable
  }

  get outcome(): StoreError.Outcome {
    return this.reason.outcome
  }
}

/**
 * Creates a `DbError` for a reason, under the name of the public operation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (operation: string, reason: Reason, resource?: string): DbError =>
  new DbError(resource === undefined ? { operation, reason } : { operation, resource, reason })

/**
 * Carries a store's error over to the operation that met it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromStore =
  (operation: string, resource?: string) =>
  (error: StoreError.StoreError): DbError =>
    fromFailure(operation, resource)(error)

/**
 * The message of a key that is no field, whoever finds it. Where a field has nearly that name, `; did you mean NAME?` follows.
 *
 * @category constants
 * @since 0.1.0
 */
export const noSuchField = "Expected no such field"

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => (issue._tag === "UnexpectedKey" ? noSuchField : SchemaIssue.defaultLeafHook(issue))
})

/**
 * Turns the issues of a schema into an `InvalidInput`, each with its path below `at`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalidInput = (
  resource: string,
  issue: SchemaIssue.Issue,
  at: ReadonlyArray<string | number> = []
): InvalidInput =>
  new InvalidInput({
    resource,
    issues: formatIssue(issue).issues.map((found) => ({
      path: [
        ...at,
        ...(found.path ?? []).map((segment) => {
          const key = typeof segment === "object" ? segment.key : segment
          return typeof key === "symbol" ? String(key) : key
        })
      ],
      message: found.message
    }))
  })

/**
 * Creates an `InvalidInput` with one issue at a path.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalidField = (resource: string, path: ReadonlyArray<string | number>, message: string): InvalidInput =>
  new InvalidInput({ resource, issues: [{ path, message }] })

/**
 * Turns failures of the engine into `DbError`, under the name of the public operation. Every other error, defect and
 * interruption stays as it is.
 *
 * @category combinators
 * @since 0.1.0
 */
export const named =
  (operation: string, resource?: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Named<E>, R> =>
    // A type parameter is not narrowed by what has been ruled out.
    Effect.mapError(effect, (error) =>
      isFailure(error) ? fromFailure(operation, resource)(error) : (error as Exclude<E, Failure>)
    )

/**
 * Errors of the engine as `named` leaves them.
 *
 * @category models
 * @since 0.1.0
 */
export type Named<E> = Exclude<E, Failure> | DbError

/**
 * Gives a failure of the engine the name of the public operation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFailure =
  (operation: string, resource?: string) =>
  (failure: Failure): DbError =>
    StoreError.isStoreError(failure)
      ? new DbError({
          operation,
          reason: StoreError.located(failure.reason, failure.key),
          ...(resource === undefined ? {} : { resource }),
          ...(failure.attempts === undefined ? {} : { attempts: failure.attempts })
        })
      : make(operation, failure, resource)
