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
 * How long this goes on is a matter of time, not of numbers: a gateway that is restarted answers again within seconds,
 * however often it was asked. A host whose name nobody knows (`ENOTFOUND`) is asked for twice more at most. While it lasts, a warning tells every half minute that a store does not answer.
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
import { checkDecorators } from "./internal/optionRules.ts"
import {
  type CopyRequest,
  type DeleteManyResult,
  type DeleteOptions,
  type Metadata,
  ObjectStore,
  type PutRequest,
  type PutResult
} from "./ObjectStore.ts"
import { describe, fieldsOf, PreconditionFailed, type Reason, StoreError } from "./StoreError.ts"

/**
 * How long a request is tried again, and the pauses.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  /** How long a request is tried again, from its first failure on. `0`: it is not. Default: 30 seconds. */
  readonly retryFor?: Duration.Input | undefined
  /** How often a request is tried again at most. Default: as often as `retryFor` allows. */
  readonly retries?: number | undefined
  /** The first pause, doubled each time; the actual pause is a random part of it. Default: 50 ms. */
  readonly baseDelay?: Duration.Input | undefined
  /** The longest pause, unless the store itself asks for more. Default: 5 seconds. */
  readonly maxDelay?: Duration.Input | undefined
}

/**
 * How long a request is tried again, the pauses, and what is assumed of lost answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Policy {
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

/** A name that nobody has is misspelt. What may be known in a moment is `EAI_AGAIN`. */
const isUnknownHost = ({ reason }: StoreError): boolean => reason.code === "ENOTFOUND"
const retriesOfNames = 2

/** A store that does not answer is told of when it has not for so long, and not again for as long as this. */
const silence = { first: 5000, again: 30_000 }

interface Attempts {
  /** Counts one that begins. */
  readonly begin: () => void
  /** Pauses, and tells whether another attempt may begin. */
  readonly again: (error: StoreError) => Effect.Effect<boolean>
  /** The error with the number of attempts, where there was more than one. */
  readonly counted: (error: StoreError) => StoreError
  /** Those of a look into what has become of the request, within what is left of the time. */
  readonly rest: () => Attempts
}

const policyOf = (options: Policy, location: string) => {
  const { retries = Infinity } = options
  const millis = (input: Duration.Input) => Duration.toMillis(Duration.fromInputUnsafe(input))
  const baseDelay = millis(options.baseDelay ?? "50 millis")
  const maxDelay = millis(options.maxDelay ?? "5 seconds")
  const retryFor = millis(options.retryFor ?? "30 seconds")
  let toldAt = -Infinity

  const tell = (error: StoreError, now: number, passed: number) =>
    Effect.suspend(() => {
      if (passed < silence.first || now - toldAt < silence.again) return Effect.void
      toldAt = now
      const left = Math.round((retryFor - passed) / 1000)
      return Effect.logWarning(
        `${location} has failed for ${Math.round(passed / 1000)} s, ${left} s are left to try: ${describe(error.reason, undefined)}`
      )
    })

  const begin = (state: { failedAt: number | undefined; waited: number }): Attempts => {
    let made = 0
    return {
      begin: () => {
        made += 1
      },
      again: Effect.fnUntraced(function* (error) {
        if (made > retries || retryFor === 0 || (isUnknownHost(error) && made > retriesOfNames)) return false
        const now = yield* Clock.currentTimeMillis
        state.failedAt ??= now
        // Pauses may be those of the machine while the clock is a test's, which stands still.
        const passed = Math.max(now - state.failedAt, state.waited)
        const left = retryFor - passed
        const asked = "retryAfterMillis" in error.reason ? (error.reason.retryAfterMillis ?? 0) : 0
        if (left <= 0 || asked > left) return false
        yield* tell(error, now, passed)
        const grown = Math.min(maxDelay, baseDelay * 2 ** (made - 1)) * (yield* Random.next)
        const pause = Math.ceil(Math.max(asked, Math.min(grown, left)))
        state.waited += pause
        yield* backoff.pause(pause)
        return true
      }),
      counted: (error) => (made < 2 ? error : new StoreError({ ...fieldsOf(error), attempts: made })),
      rest: () => begin(state)
    }
  }
  return Effect.sync(() => begin({ failedAt: undefined, waited: 0 }))
}

/** Repeats what may be repeated: reads, and writes that were certainly not carried out. */
const repeating = <A>(
  attempts: Effect.Effect<Attempts>,
  request: Effect.Effect<A, StoreError>,
  mayRepeat: (error: StoreError) => boolean
): Effect.Effect<A, StoreError> =>
  // What succeeds, as most does, takes one step.
  Effect.catch(request, (error) => Effect.flatMap(attempts, (made) => repeatingAfter(error, made, request, mayRepeat)))

const repeatingAfter = Effect.fnUntraced(function* <A>(
  first: StoreError,
  attempts: Attempts,
  request: Effect.Effect<A, StoreError>,
  mayRepeat: (error: StoreError) => boolean
): Effect.fn.Return<A, StoreError> {
  for (let error = first; ;) {
    attempts.begin()
    if (!error.isRetryable || !mayRepeat(error) || !(yield* attempts.again(error))) {
      return yield* attempts.counted(error)
    }
    const result = yield* Effect.result(request)
    if (Result.isSuccess(result)) return result.success
    error = result.failure
  }
})

const always = () => true

/**
 * Tries an effect again, as the requests of a store are, whatever its outcome: it must do no harm when it is carried out
 * twice. `location` is for the warning that it does not come to an end.
 *
 * @category combinators
 * @since 0.1.0
 */
export const retry = <A>(
  effect: Effect.Effect<A, StoreError>,
  location: string,
  options: Policy = {}
): Effect.Effect<A, StoreError> => repeating(policyOf(options, location), effect, always)

/**
 * Wraps a store so that requests are tried again, and writes whose answer was lost are looked into. Options are taken as
 * they are; `layerWith` checks them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (inner: ObjectStore["Service"], options: Options = {}): ObjectStore["Service"] => {
  const { assumeLateArrivals = false } = options
  const attempts = policyOf(options, inner.location)

  const repeat = <A>(request: Effect.Effect<A, StoreError>, mayRepeat: (error: StoreError) => boolean) =>
    repeating(attempts, request, mayRepeat)
  const notCarriedOut = (error: StoreError) => error.outcome === "none"
  const read = <A>(request: Effect.Effect<A, StoreError>) => repeat(request, always)

  const isAbsent = (key: string, made: Attempts) =>
    repeating(Effect.sync(made.rest), inner.head(key), always).pipe(
      Effect.as(false),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(true))
    )

  /** The ETag of the object, if it is exactly what was to be written. */
  const landed = (request: PutRequest, made: Attempts) =>
    repeating(Effect.sync(made.rest), inner.get(request.key), always).pipe(
      Effect.map((object) =>
        sameBytes(object.body, request.body) && sameMetadata(object.metadata, request.metadata)
          ? object.etag
          : undefined
      ),
      Effect.catchReason("StoreError", "NoSuchKey", () => Effect.succeed(undefined))
    )

  const put = (request: PutRequest): Effect.Effect<PutResult, StoreError> =>
    Effect.catch(inner.put(request), (error) => putAfter(error, request))

  const putAfter = Effect.fnUntraced(function* (
    first: StoreError,
    request: PutRequest
  ): Effect.fn.Return<PutResult, StoreError> {
    const conditional = request.ifMatch !== undefined || request.ifNoneMatch !== undefined
    const made = yield* attempts
    // The first error after which the write may have been carried out.
    let unknown: StoreError | undefined
    let result: Result.Result<PutResult, StoreError> = Result.fail(first)
    for (; ; result = yield* Effect.result(inner.put(request))) {
      made.begin()
      if (Result.isSuccess(result)) return result.success
      const error = result.failure
      const { _tag } = error.reason
      if (unknown !== undefined && (_tag === "PreconditionFailed" || _tag === "NoSuchKey")) {
        const unsure = unknown
        // A look that fails says nothing of the write, whatever the outcome of the look is.
        const etag = yield* Effect.catch(landed(request, made), () => Effect.fail(made.counted(unsure)))
        if (etag !== undefined) return { etag }
        const description = "the condition does not hold, and an earlier attempt may have been carried out"
        const reason = new PreconditionFailed({ description, afterUnknown: true })
        return yield* new StoreError({ operation: "put", key: request.key, reason })
      }
      if (error.outcome === "unknown") unknown ??= error
      const isSafe = request.repeatable ?? (conditional && (!assumeLateArrivals || request.ifNoneMatch === undefined))
      const mayRepeat = error.isRetryable && (unknown === undefined || isSafe)
      if (mayRepeat && (yield* made.again(error))) continue
      if (unknown === undefined) return yield* made.counted(error)
      // Nothing more can be sent; a look may still settle it.
      const etag = yield* Effect.catch(landed(request, made), () => Effect.succeed(undefined))
      return etag === undefined ? yield* made.counted(unknown) : { etag }
    }
  })

  const remove = Effect.fnUntraced(function* (
    key: string,
    deletion: DeleteOptions = {}
  ): Effect.fn.Return<void, StoreError> {
    const made = yield* attempts
    let unknown: StoreError | undefined
    for (;;) {
      made.begin()
      const result = yield* Effect.result(inner.delete(key, deletion))
      if (Result.isSuccess(result)) return
      const error = result.failure
      const { _tag } = error.reason
      if (unknown !== undefined && (_tag === "PreconditionFailed" || _tag === "NoSuchKey")) {
        const unsure = unknown
        if (yield* Effect.catch(isAbsent(key, made), () => Effect.fail(made.counted(unsure)))) return
        const description = "the condition does not hold, and an earlier attempt may have been carried out"
        const reason = new PreconditionFailed({ description, afterUnknown: true })
        return yield* new StoreError({ operation: "delete", key, reason })
      }
      if (error.outcome === "unknown") unknown ??= error
      const harmless = deletion.repeatable === true || deletion.ifMatch !== undefined
      if (error.isRetryable && (error.outcome === "none" || harmless) && (yield* made.again(error))) continue
      if (unknown === undefined) return yield* made.counted(error)
      const isOver = harmless || !assumeLateArrivals
      if (isOver && (yield* Effect.catch(isAbsent(key, made), () => Effect.succeed(false)))) return
      return yield* made.counted(unknown)
    }
  })

  const removeMany = Effect.fnUntraced(function* (
    keys: ReadonlyArray<string>,
    deletion: Pick<DeleteOptions, "repeatable"> = {}
  ): Effect.fn.Return<DeleteManyResult, StoreError> {
    const made = yield* attempts
    const deleted = new Set<string>()
    const failed = new Map<string, Reason>()
    let pending = keys
    while (pending.length > 0) {
      made.begin()
      const result = yield* Effect.result(inner.deleteMany(pending, deletion))
      if (Result.isFailure(result) && !result.failure.isRetryable && failed.size === 0) {
        return yield* made.counted(result.failure)
      }
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
        : yield* Effect.forEach(uncertain, (key) => Effect.catch(isAbsent(key, made), () => Effect.succeed(false)), {
            concurrency: lookConcurrency
          })
      uncertain.forEach((key, i) => gone[i] === true && deleted.add(key))
      const [key] = repeatable
      if (key === undefined) break
      const refusal = new StoreError({ operation: "deleteMany", key, reason: failed.get(key)! })
      pending = (yield* made.again(refusal)) ? repeatable : []
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
 * Fails with `InvalidArgument` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ObjectStore, StoreError, ObjectStore> =>
  Layer.effect(
    ObjectStore,
    Effect.andThen(
      checkDecorators(options),
      Effect.map(ObjectStore, (inner) => make(inner, options))
    )
  )

/**
 * Creates a layer that retries the requests of the store below it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ObjectStore, never, ObjectStore> = Layer.orDie(layerWith({}))
