/**
 * The one place where requests are tried again, and where a write whose answer was lost is looked into.
 *
 * **Details**
 *
 * Reads are simply repeated. A write that was certainly not carried out (outcome `"none"`) is repeated too. After an
 * unknown outcome:
 *
 * - A conditional put is repeated under its condition. When the condition no longer holds, the object is read: if it is
 *   what was sent, the write had landed and succeeds; otherwise it fails with `PreconditionFailed` and `afterUnknown`.
 *   So whoever relies on it makes each write distinguishable, with a write id in the body.
 * - A put that says `repeatable: false` is not sent again, conditional or not.
 * - An unconditional put, delete or copy could destroy what somebody else wrote in between, so it is not repeated
 *   unless the request says `repeatable`: the object is read, and the write succeeds if it is as it should be, else it
 *   fails with the error it met, whose outcome is unknown.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as backoff from "../internal/backoff.ts"
import {
  type CopyRequest,
  type DeleteManyResult,
  type DeleteOptions,
  type Metadata,
  ObjectStore,
  type PutRequest,
  type PutResult
} from "./ObjectStore.ts"
import { PreconditionFailed, type Reason, StoreError } from "./StoreError.ts"

/**
 * The number of attempts, the pauses between them, and what is assumed of lost answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How often a request is tried again. Default: 5. */
  readonly retries?: number | undefined
  /** The first pause, doubled each time; the actual pause is a random part of it. Default: 50 ms. */
  readonly baseDelay?: Duration.Input | undefined
  /** The longest pause, unless the store itself asks for more. Default: 5 seconds. */
  readonly maxDelay?: Duration.Input | undefined
  /** No attempt begins later than this after the first. Default: 60 seconds. */
  readonly timeLimit?: Duration.Input | undefined
  /**
   * Whether a request whose answer was lost may still arrive, after somebody else has changed or removed what it is
   * about. `false`, the default: what is seen afterwards is taken to be the end of it. `true`: a create-only put of which
   * nothing is there is not sent again, since it may have landed and been removed; and a delete without a condition whose
   * answer was lost fails although nothing is there, since it may yet remove what is written next. Both fail with the
   * error they met, whose outcome is unknown.
   */
  readonly assumeLateArrivals?: boolean | undefined
}

const lookConcurrency = 16

/**
 * Wraps a store so that requests are tried again, and writes whose answer was lost are looked into.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], options: Options = {}): ObjectStore["Service"] => {
  const { retries = 5, assumeLateArrivals = false } = options
  const millis = (input: Duration.Input) => Duration.toMillis(Duration.fromInputUnsafe(input))
  const baseDelay = millis(options.baseDelay ?? "50 millis")
  const maxDelay = millis(options.maxDelay ?? "5 seconds")
  const timeLimit = millis(options.timeLimit ?? "60 seconds")

  /** Counts the attempts of one request; `again` pauses and tells whether another may begin. */
  const attempts = Effect.map(Clock.currentTimeMillis, (start) => {
    let made = 0
    return {
      again: Effect.fnUntraced(function* (reason: Reason) {
        made += 1
        if (made > retries) return false
        const asked = "retryAfterMillis" in reason ? (reason.retryAfterMillis ?? 0) : 0
        const grown = Math.min(maxDelay, baseDelay * 2 ** (made - 1)) * (yield* Random.next)
        const pause = Math.max(asked, grown)
        if ((yield* Clock.currentTimeMillis) + pause - start > timeLimit) return false
        yield* backoff.pause(pause)
        return true
      })
    }
  })

  /** Repeats what may be repeated: reads, and writes that were certainly not carried out. */
  const repeat = Effect.fnUntraced(function* <A>(
    request: Effect.Effect<A, StoreError>,
    mayRepeat: (error: StoreError) => boolean
  ) {
    const { again } = yield* attempts
    for (;;) {
      const result = yield* Effect.result(request)
      if (Result.isSuccess(result)) return result.success
      const error = result.failure
      if (!error.isRetryable || !mayRepeat(error) || !(yield* again(error.reason))) return yield* error
    }
  })

  const always = () => true
  const notCarriedOut = (error: StoreError) => error.outcome === "none"
  const read = <A>(request: Effect.Effect<A, StoreError>) => repeat(request, always)

  const isAbsent = (key: string) =>
    read(inner.head(key)).pipe(
      Effect.as(false),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(true))
    )

  /** The ETag of the object, if it is exactly what was to be written. */
  const landed = (request: PutRequest) =>
    read(inner.get(request.key)).pipe(
      Effect.map((object) =>
        sameBytes(object.body, request.body) && sameMetadata(object.metadata, request.metadata)
          ? object.etag
          : undefined
      ),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined))
    )

  const put = Effect.fnUntraced(function* (request: PutRequest): Effect.fn.Return<PutResult, StoreError> {
    const conditional = request.ifMatch !== undefined || request.ifNoneMatch !== undefined
    const { again } = yield* attempts
    // The first error after which the write may have been carried out.
    let unknown: StoreError | undefined
    for (;;) {
      const result = yield* Effect.result(inner.put(request))
      if (Result.isSuccess(result)) return result.success
      const error = result.failure
      const { _tag } = error.reason
      if (unknown !== undefined && (_tag === "PreconditionFailed" || _tag === "NoSuchKey")) {
        const etag = yield* landed(request)
        if (etag !== undefined) return { etag }
        const description = "the condition does not hold, and an earlier attempt may have been carried out"
        const reason = new PreconditionFailed({ description, afterUnknown: true })
        return yield* new StoreError({ operation: "put", key: request.key, reason })
      }
      if (error.outcome === "unknown") unknown ??= error
      const isSafe = request.repeatable ?? (conditional && (!assumeLateArrivals || request.ifNoneMatch === undefined))
      const mayRepeat = error.isRetryable && (unknown === undefined || isSafe)
      if (mayRepeat && (yield* again(error.reason))) continue
      if (unknown === undefined) return yield* error
      // Nothing more can be sent; a look may still settle it.
      const etag = yield* Effect.catch(landed(request), () => Effect.succeed(undefined))
      return etag === undefined ? yield* unknown : { etag }
    }
  })

  const remove = Effect.fnUntraced(function* (
    key: string,
    deletion: DeleteOptions = {}
  ): Effect.fn.Return<void, StoreError> {
    const { again } = yield* attempts
    let unknown: StoreError | undefined
    for (;;) {
      const result = yield* Effect.result(inner.delete(key, deletion))
      if (Result.isSuccess(result)) return
      const error = result.failure
      const { _tag } = error.reason
      if (unknown !== undefined && (_tag === "PreconditionFailed" || _tag === "NoSuchKey")) {
        if (yield* isAbsent(key)) return
        const description = "the condition does not hold, and an earlier attempt may have been carried out"
        const reason = new PreconditionFailed({ description, afterUnknown: true })
        return yield* new StoreError({ operation: "delete", key, reason })
      }
      if (error.outcome === "unknown") unknown ??= error
      const harmless = deletion.repeatable === true || deletion.ifMatch !== undefined
      if (error.isRetryable && (error.outcome === "none" || harmless) && (yield* again(error.reason))) continue
      if (unknown === undefined) return yield* error
      const isOver = harmless || !assumeLateArrivals
      if (isOver && (yield* Effect.catch(isAbsent(key), () => Effect.succeed(false)))) return
      return yield* unknown
    }
  })

  const removeMany = Effect.fnUntraced(function* (
    keys: ReadonlyArray<string>,
    deletion: Pick<DeleteOptions, "repeatable"> = {}
  ): Effect.fn.Return<DeleteManyResult, StoreError> {
    const { again } = yield* attempts
    const deleted = new Set<string>()
    const failed = new Map<string, Reason>()
    let pending = keys
    while (pending.length > 0) {
      const result = yield* Effect.result(inner.deleteMany(pending, deletion))
      if (Result.isFailure(result) && !result.failure.isRetryable && failed.size === 0) return yield* result.failure
      const refused = Result.isFailure(result)
        ? pending.map((key) => ({ key, reason: result.failure.reason }))
        : result.success.failed
      if (Result.isSuccess(result)) for (const key of result.success.deleted) deleted.add(key)
      const repeatable: Array<string> = []
      const uncertain: Array<string> = []
      for (const { key, reason } of refused) {
        failed.set(key, reason)
        if (!reason.isRetryable) continue
        if (reason.outcome === "none" || deletion.repeatable === true) repeatable.push(key)
        else uncertain.push(key)
      }
      const gone = assumeLateArrivals
        ? []
        : yield* Effect.forEach(uncertain, isAbsent, { concurrency: lookConcurrency })
      uncertain.forEach((key, i) => gone[i] === true && deleted.add(key))
      pending = repeatable.length > 0 && (yield* again(failed.get(repeatable[0]!)!)) ? repeatable : []
    }
    return {
      deleted: keys.filter((key) => deleted.has(key)),
      failed: keys.flatMap((key) => (deleted.has(key) ? [] : [{ key, reason: failed.get(key)! }]))
    }
  })

  return {
    ...inner,
    put,
    get: (key, get) => read(inner.get(key, get)),
    head: (key) => read(inner.head(key)),
    delete: remove,
    deleteMany: removeMany,
    copy: (request: CopyRequest) => repeat(inner.copy(request), notCarriedOut),
    list: (request) => read(inner.list(request))
  }
}

const sameBytes = (a: Uint8Array, b: Uint8Array | undefined): boolean =>
  a.length === (b?.length ?? 0) && a.every((byte, i) => byte === b![i])

/** Stores may change the case of names, and `_` to `-`. */
const sameMetadata = (a: Metadata, b: Metadata | undefined): boolean => {
  const canonical = (metadata: Metadata) =>
    JSON.stringify(
      Object.entries(metadata)
        .map(([name, value]) => [name.toLowerCase().replaceAll("_", "-"), value])
        .toSorted(([x = ""], [y = ""]) => (x < y ? -1 : 1))
    )
  return canonical(a) === canonical(b ?? {})
}

/**
 * Creates a layer that retries the requests of the store below it, with options. Bind the result to a constant: each call makes a layer of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore, never, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.map(ObjectStore, (inner) => make(inner, options))
  )

/**
 * Creates a layer that retries the requests of the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = layerWith({})
