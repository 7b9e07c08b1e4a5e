/**
 * Objects that several writers change by compare-and-set, and the loop that all such changes go through.
 *
 * **Details**
 *
 * Every version of a cell holds the ids of the last writes, newest first. They make every version another one, so that an
 * ETag never comes back, and they tell whether a write whose answer was lost has landed. What a body looks like beside
 * them is up to the cell's format.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Id from "../crypto/Id.ts"
import * as backoff from "../internal/backoff.ts"
import * as JsonCodec from "../schema/internal/jsonCodec.ts"
import { type ETag, getOption, type ObjectStore } from "../storage/ObjectStore.ts"
import * as StoreError from "../storage/StoreError.ts"

// -----------------------------------------------------------------------------
// Contention
// -----------------------------------------------------------------------------

/**
 * An attempt that another writer was ahead of: what it gives in the place of its result. `seen` is what was found
 * there, as far as anything was.
 *
 * @category models
 * @since 0.1.0
 */
export class Lost<out Seen> {
  readonly seen: Seen
  constructor(seen: Seen) {
    this.seen = seen
  }
}

/**
 * Tells whether an attempt was lost to another writer.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLost = <A, Seen>(outcome: A | Lost<Seen>): outcome is Lost<Seen> => outcome instanceof Lost

/**
 * The number of attempts, and the outcome when all of them are lost.
 *
 * @category models
 * @since 0.1.0
 */
export interface ContendOptions<in Seen, out E, out R = never> {
  /** How often a lost attempt is made again. */
  readonly retries: number
  /** What it comes to when the last attempt is lost as well. */
  readonly exhausted: (seen: Seen) => Effect.Effect<never, E, R>
}

/**
 * Makes an attempt again until no other writer comes in between, with random pauses that grow from 10 ms to 1 s ("full
 * jitter": M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015). The attempt gets what the lost one
 * before has seen.
 *
 * @category combinators
 * @since 0.1.0
 */
export const contend = <A, Seen, E, R, E2, R2 = never>(
  attempt: (last: Lost<Seen> | undefined) => Effect.Effect<A | Lost<Seen>, E, R>,
  options: ContendOptions<Seen, E2, R2>
): Effect.Effect<A, E | E2, R | R2> => Effect.suspend(() => contendNow(attempt, options))

/**
 * Does the same where it is called by an effect that runs: the first attempt is begun at once.
 *
 * @category combinators
 * @since 0.1.0
 */
export const contendNow = <A, Seen, E, R, E2, R2 = never>(
  attempt: (last: Lost<Seen> | undefined) => Effect.Effect<A | Lost<Seen>, E, R>,
  options: ContendOptions<Seen, E2, R2>
): Effect.Effect<A, E | E2, R | R2> =>
  Effect.flatMap(attempt(undefined), (outcome): Effect.Effect<A, E | E2, R | R2> =>
    outcome instanceof Lost ? contendAgain(outcome, attempt, options) : Effect.succeed(outcome)
  )

const contendAgain = Effect.fnUntraced(function* <A, Seen, E, R, E2, R2>(
  first: Lost<Seen>,
  attempt: (last: Lost<Seen> | undefined) => Effect.Effect<A | Lost<Seen>, E, R>,
  { exhausted, retries }: ContendOptions<Seen, E2, R2>
): Effect.fn.Return<A, E | E2, R | R2> {
  let last = first
  for (let lost = 0; ; lost++) {
    if (lost >= retries) return yield* exhausted(last.seen)
    yield* backoff.after(lost, backoff.contention)
    const outcome = yield* attempt(last)
    if (!(outcome instanceof Lost)) return outcome
    last = outcome
  }
})

// -----------------------------------------------------------------------------
// Cells
// -----------------------------------------------------------------------------

/**
 * A state that was read from a cell; where there is nothing, it has no ETag, nor anything else.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version<out A> {
  readonly etag: ETag | undefined
  readonly value: A | undefined
  /** Ids of the writes that led to it, newest first. */
  readonly writes: ReadonlyArray<string>
  /** When it was written, in milliseconds by the store's clock, of a version that was read. */
  readonly lastModified?: number | undefined
  /**
   * `true` of what a write gives whose answer was lost, and that others have written upon since: it has landed, and this is what they
   * have made of it.
   */
  readonly isLater?: boolean | undefined
}

/**
 * The state that an attempt has met which was lost to another writer: what is there now, and how the store refused.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal<out A> {
  readonly now: Version<A>
  readonly error: StoreError.StoreError
}

/**
 * The encoding of a value and the ids of writes as the body of an object.
 *
 * @category models
 * @since 0.1.0
 */
export interface Format<A> {
  /** Default: `application/json`. */
  readonly contentType?: string | undefined
  /** How many ids of writes are kept. A write whose answer was lost is recognised until so many others have been made. */
  readonly remembered: number
  /**
   * Whether the object is also written or removed in other ways, so that a version does not tell all that came before it. A
   * lost answer to the write that was to create it is then an error more often. Default `false`.
   */
  readonly isForgetful?: boolean | undefined
  /** Fails with `InvalidArgument` for a value that has no stored form: nothing is written then. */
  readonly encode: (value: A, writes: ReadonlyArray<string>) => Effect.Effect<Uint8Array, StoreError.Reason>
  readonly decode: (
    body: Uint8Array
  ) => Effect.Effect<{ readonly value: A; readonly writes: ReadonlyArray<string> }, StoreError.Reason>
}

/**
 * What a format by a schema has to know beside it.
 *
 * @category models
 * @since 0.1.0
 */
export interface FormatOptions {
  /** What it is that is stored, for errors: `a lease`. */
  readonly what: string
  /** As of `Format`. Default: 64. */
  readonly remembered?: number | undefined
}

/**
 * The number of write ids that a cell remembers unless its format says otherwise: 64.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultRemembered = 64

const decoder = new TextDecoder()
const encoder = new TextEncoder()

const describe = ({ issue }: Schema.SchemaError): string => SchemaIssue.makeFormatterDefault()(issue)

/**
 * Creates the format of values of a schema: JSON with `v`, the version of this format; `d`, the value as the JSON codec of
 * the schema has it; `w`, the ids of the last writes.
 *
 * A value that is none of the schema's is an `InvalidArgument` that says where; a body that cannot be read is `Corrupt`, one
 * of a later version `Unsupported`. None of them shows a value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const schemaFormat = <A, I>(schema: Schema.Codec<A, I>, options: FormatOptions): Format<A> => {
  const { remembered = defaultRemembered, what } = options
  const codec = JsonCodec.make(Schema.Struct({ v: Schema.Literal(1), d: schema, w: Schema.Array(Schema.String) }))
  return {
    remembered,
    encode: (d, w) =>
      Effect.mapBothEager(codec.encode({ v: 1, d, w }), {
        onSuccess: (json) => encoder.encode(JSON.stringify(json)),
        onFailure: (error) =>
          new StoreError.InvalidArgument({
            description: `the value is not ${what}: ${describe(error)}`,
            argument: "body"
          })
      }),
    decode: (bytes) => {
      const text = decoder.decode(bytes)
      return Effect.mapBothEager(codec.decodeText(text), {
        onSuccess: ({ d, w }) => ({ value: d, writes: w }),
        onFailure: (error) =>
          isLater(text)
            ? new StoreError.Unsupported({
                feature: `a later format of ${what}`,
                description: "it was written by a later release; upgrade effect-s3db"
              })
            : new StoreError.Corrupt({ description: `${what} cannot be read: ${describe(error)}` })
      })
    }
  }
}

const decodeVersion = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Struct({ v: Schema.Int })))

const isLater = (text: string): boolean =>
  Result.match(decodeVersion(text), { onFailure: () => false, onSuccess: ({ v }) => v > 1 })

/**
 * The version of a cell in which nothing is. An attempt on it creates the cell by 1 PUT, without a GET.
 *
 * @category constants
 * @since 0.1.0
 */
export const absent: Version<never> = { etag: undefined, value: undefined, writes: [] }

/**
 * A cell at one key of a store that honours conditional writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface CasCell<A> {
  readonly key: string
  /** Reads it. 1 GET. Fails with the reason of the format when the body cannot be read. */
  readonly read: Effect.Effect<Version<A>, StoreError.StoreError>
  /**
   * Changes it once: 1 GET, none with a version at hand (`from`), and 1 PUT. `change` gives the value that it got to leave
   * it as it is: no PUT. `Lost` when another writer was first: what is there now, by 1 GET more.
   *
   * When an answer was lost the cell is read: the write has landed if its id is there. When it cannot be told, it fails
   * with what the store said to the PUT: an error with the outcome `"unknown"`. With any other error it has not been done.
   */
  readonly attempt: <E, R>(
    change: (value: A | undefined) => Effect.Effect<A | undefined, E, R>,
    from?: Version<A>
  ) => Effect.Effect<Version<A> | Lost<Refusal<A>>, StoreError.StoreError | E, R>
  /** Changes it as `attempt` does, again and again until no other writer comes in between, 40 times at most. */
  readonly modify: <E, R>(
    change: (value: A | undefined) => Effect.Effect<A | undefined, E, R>,
    from?: Version<A>
  ) => Effect.Effect<Version<A>, StoreError.StoreError | E, R>
}

const retries = 40

const isUnreadable = ({ reason }: StoreError.StoreError): boolean =>
  reason._tag === "Corrupt" || reason._tag === "Unsupported"

/**
 * Creates the cell at a key. No request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A>(store: ObjectStore["Service"], key: string, format: Format<A>): CasCell<A> => {
  const { contentType = "application/json", isForgetful = false, remembered } = format
  const failed = (operation: "get" | "put", reason: StoreError.Reason) =>
    new StoreError.StoreError({ operation, key, reason })

  const read: Effect.Effect<Version<A>, StoreError.StoreError> = Effect.gen(function* () {
    const found = yield* getOption(store, key)
    if (Option.isNone(found)) return absent
    const { body, etag, lastModified } = found.value
    const decoded = yield* Effect.mapError(format.decode(body), (reason) => failed("get", reason))
    return { etag, lastModified, ...decoded }
  })

  /**
   * Whether the write of a version on top of `before` has not landed and never will, judged by a version that does not
   * remember it: there is another one by now, and all writes since `before` are remembered.
   */
  const isRuledOut = (before: Version<A>, now: Version<A>): boolean => {
    if (now.etag === undefined || now.etag === before.etag) return false
    const [replaced] = before.writes
    return replaced === undefined ? !isForgetful && now.writes.length < remembered : now.writes.includes(replaced)
  }

  /** What became of a write that the store has not confirmed. */
  const settle = Effect.fnUntraced(function* (error: StoreError.StoreError, before: Version<A>, writeId: string) {
    const { reason } = error
    const isRefused =
      reason._tag === "PreconditionFailed" ||
      reason._tag === "NoSuchKey" ||
      reason._tag === "ConditionalRequestConflict"
    if (!isRefused && error.outcome === "none") return yield* error
    // A client library may have sent it twice: even a plain refusal may be that of the second, the first having landed.
    const isPlain = isRefused && error.outcome === "none"
    // What is there instead, and cannot be read, is why it was refused; whether that is one's own nobody can tell while it cannot be got.
    const now = yield* Effect.mapError(read, (failure) => {
      if (!isPlain) return error
      if (isUnreadable(failure)) return failure
      return failed("put", new StoreError.PreconditionFailed({ description: reason.description, afterUnknown: true }))
    })
    if (now.writes.includes(writeId)) return now.writes[0] === writeId ? now : { ...now, isLater: true }
    return isPlain || isRuledOut(before, now) ? new Lost<Refusal<A>>({ now, error }) : yield* error
  })

  const attempt = Effect.fnUntraced(function* <E, R>(
    change: (value: A | undefined) => Effect.Effect<A | undefined, E, R>,
    from?: Version<A>
  ): Effect.fn.Return<Version<A> | Lost<Refusal<A>>, StoreError.StoreError | E, R> {
    const before = from ?? (yield* read)
    const value = yield* change(before.value)
    if (value === before.value || value === undefined) return before
    const writeId = yield* Id.writeId
    const writes = [writeId, ...before.writes].slice(0, remembered)
    const condition = before.etag === undefined ? { ifNoneMatch: "*" as const } : { ifMatch: before.etag }
    const body = yield* Effect.mapError(format.encode(value, writes), (reason) => failed("put", reason))
    const sent = yield* Effect.result(store.put({ key, body, contentType, ...condition }))
    if (Result.isSuccess(sent)) return { etag: sent.success.etag, value, writes }
    return yield* settle(sent.failure, before, writeId)
  })

  return {
    key,
    read,
    attempt,
    modify: (change, from) =>
      contend((last: Lost<Refusal<A>> | undefined) => attempt(change, last === undefined ? from : last.seen.now), {
        retries,
        exhausted: ({ error }) => Effect.fail(error)
      })
  }
}
