/**
 * An object store in an S3 bucket, on AWS or on any server that speaks S3, over `@aws-sdk/client-s3`.
 *
 * The SDK is loaded when the first store is made, not when this module is imported. Its own retries are off: they are
 * the business of `RetryingStore`, which `layer` includes.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { RequestCounter } from "./InstrumentedStore.ts"
import { ensureBucket } from "./internal/s3Bucket.ts"
import { checkCredentials, checkOptions, describePlace, type Options, regionOf } from "./internal/s3Options.ts"
import * as s3Port from "./internal/s3Port.ts"
import * as s3Sdk from "./internal/s3Sdk.ts"
import { ObjectStore } from "./ObjectStore.ts"
import * as RetryingStore from "./RetryingStore.ts"
import * as StandardStore from "./StandardStore.ts"
import type { StoreError } from "./StoreError.ts"

export type { Credentials, Options } from "./internal/s3Options.ts"

/**
 * The options of the store and of the decorators around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface LayerOptions extends Options, StandardStore.Options {}

/**
 * Opens a store in a bucket, without retries, time limit or counting: each call is one attempt. The client and its
 * connections are closed with the scope. No request is made unless the bucket is to be created; `capabilities` is
 * `undefined`, so that they are probed.
 *
 * Fails with `InvalidArgument` when an option is wrong, and with what a request reports.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<ObjectStore["Service"], StoreError, Scope.Scope> =>
  open(options, (request) => request)

/** `attempt` is how the requests are made that opening takes. */
const open = Effect.fnUntraced(function* (
  options: Options,
  attempt: <A>(request: Effect.Effect<A, StoreError>, location: string) => Effect.Effect<A, StoreError>
): Effect.fn.Return<ObjectStore["Service"], StoreError, Scope.Scope> {
  const problem = checkOptions(options) ?? checkCredentials(options.credentials)
  if (problem !== undefined) return yield* problem
  const region = yield* regionOf(options)
  const { location } = describePlace(options, region)
  const { bucket, client } = yield* s3Sdk.make(options, region)
  if (options.createBucket === true) yield* attempt(ensureBucket(options.bucket, bucket), location)
  return s3Port.make(location, client)
})

/**
 * Creates the store of `make` as a layer: each call is one attempt.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (options: Options): Layer.Layer<ObjectStore, StoreError> =>
  Layer.effect(ObjectStore, make(options))

/**
 * Creates a store in a bucket with retries, a time limit for each attempt, a limit on concurrent requests
 * (`maxSockets` unless `concurrency` is given) and a count of requests. No request is made when it is built, unless the bucket is to be
 * created.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: LayerOptions): Layer.Layer<ObjectStore | RequestCounter, StoreError> =>
  Layer.effectContext(
    Effect.flatMap(
      open(options, (request, location) => RetryingStore.retry(request, location, options)),
      (raw) => StandardStore.make(raw, { ...options, concurrency: options.concurrency ?? options.maxSockets })
    )
  )

/**
 * Creates `layer` with options from the configuration. Fails with `ConfigError` when one is missing or has a wrong
 * type.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<LayerOptions>
): Layer.Layer<ObjectStore | RequestCounter, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layer))
