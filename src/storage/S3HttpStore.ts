/**
 * An object store in an S3 bucket, on AWS or on any server that speaks S3, without the AWS SDK: requests are signed and sent, and
 * answers read, by the library itself, for a fraction of the SDK's time of the processor.
 *
 * It is `S3Store` in all that the port promises. What it does besides: a bucket in another region than the one that was given is
 * found there, credentials can be an effect of the program, and it runs without Node, over `fetch`. What it does not: directory
 * buckets (S3 Express) and access points, which are refused; take `S3Store` for those.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { RequestCounter } from "./InstrumentedStore.ts"
import { checkChoice } from "./internal/optionRules.ts"
import { ensureBucket } from "./internal/s3Bucket.ts"
import * as s3Http from "./internal/s3Http.ts"
import type { TemporaryCredentials } from "./internal/s3Keys.ts"
import {
  checkCredentials,
  checkNameOnAws,
  checkOptions,
  type Credentials,
  describePlace,
  type Options as SharedOptions,
  withEnvironment
} from "./internal/s3Options.ts"
import * as s3Port from "./internal/s3Port.ts"
import { ObjectStore } from "./ObjectStore.ts"
import * as RetryingStore from "./RetryingStore.ts"
import * as StandardStore from "./StandardStore.ts"
import { StoreError, Unsupported } from "./StoreError.ts"

export type { TemporaryCredentials } from "./internal/s3Keys.ts"
export type { Credentials } from "./internal/s3Options.ts"

/**
 * Which bucket, where, and how to reach it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends Omit<SharedOptions, "credentials"> {
  /**
   * Credentials, or an effect that gives them: it is run when the first request needs them and again before they expire, once for
   * all requests that wait. When it fails with a `StoreError`, requests fail with its reason; with anything else, with
   * `AccessDenied`, whose `code` is the tag of the failure.
   *
   * Default: the default chain of the AWS SDK: the environment, else profiles and roles of containers and machines, for which the package
   * `@aws-sdk/credential-provider-node` is loaded when the first request needs it.
   */
  readonly credentials?: Credentials | Effect.Effect<TemporaryCredentials, unknown> | undefined
  /**
   * Whether the signature covers the bodies of writes. `"unsigned"` saves hashing them, and is for connections over TLS, which
   * protect them as well. Default: `"signed"`.
   */
  readonly payload?: "signed" | "unsigned" | undefined
  /**
   * How requests are sent. `"undici"` takes a third of the time of the processor off each request, and needs the package of that
   * name, which takes 50 to 100 ms to load: for programs that run for long. `"fetch"` runs everywhere; it cannot read what is stored with a content encoding, nor keys with `.` or
   * `..` between slashes, and its connections are the runtime's: `connectTimeout` does nothing there, and idle connections are not
   * looked after. Default: `"node"` where there is such a client (Node, Bun, Deno), else `"fetch"`.
   */
  readonly transport?: "node" | "undici" | "fetch" | undefined
}

/**
 * The options of the store and of the decorators around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface LayerOptions extends Options, StandardStore.Options {}

/** The first option that cannot be. */
const checkAll = (options: Options): StoreError | undefined =>
  checkOptions(options) ??
  (Effect.isEffect(options.credentials) ? undefined : checkCredentials(options.credentials)) ??
  checkChoice("payload", options.payload, { signed: true, unsigned: true }) ??
  checkChoice("transport", options.transport, { node: true, undici: true, fetch: true }) ??
  checkKind(options)

const checkKind = ({ bucket, endpoint }: Options): StoreError | undefined => {
  const feature = bucket.startsWith("arn:")
    ? "access points"
    : bucket.endsWith("--x-s3") && endpoint === undefined
      ? "directory buckets"
      : undefined
  if (feature === undefined) return undefined
  const description = `this store does not speak to ${feature}: take S3Store`
  return new StoreError({ operation: "open", reason: new Unsupported({ feature, description }) })
}

/**
 * Opens a store in a bucket, without retries, time limit or counting: each call is one attempt. Connections are closed with the
 * scope. No request is made unless the bucket is to be created; `capabilities` is `undefined`, so that they are probed.
 *
 * A request that is refused is made once more, signed again, when its answer says that the clocks differ, that the bucket is in
 * another region, or that the credentials have expired and there may be others.
 *
 * Fails with `InvalidArgument` when an option is wrong, with `Unsupported` for a directory bucket or an access point, and with what
 * a request reports.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<ObjectStore["Service"], StoreError, Scope.Scope> =>
  open(options, (request) => request)

/** `attempt` is how the requests are made that opening takes. */
const open = Effect.fnUntraced(function* (
  given: Options,
  attempt: <A>(request: Effect.Effect<A, StoreError>, location: string) => Effect.Effect<A, StoreError>
): Effect.fn.Return<ObjectStore["Service"], StoreError, Scope.Scope> {
  const { options, region } = yield* withEnvironment(given)
  const problem = checkAll(options)
  if (problem !== undefined) return yield* problem
  const misnamed = checkNameOnAws(options, region)
  if (misnamed !== undefined) return yield* misnamed
  const { location } = describePlace(options, region)
  const { bucket, client } = yield* s3Http.make(options, region)
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
  config: Config.Wrap<Omit<LayerOptions, "credentials"> & { readonly credentials?: Credentials | undefined }>
): Layer.Layer<ObjectStore | RequestCounter, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layer))
