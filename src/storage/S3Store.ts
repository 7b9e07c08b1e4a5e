/**
 * An object store on Amazon S3 or any store that speaks its protocol, through the AWS SDK, which is loaded only when a
 * store is opened.
 *
 * @since 0.1.0
 */
import type * as S3 from "@aws-sdk/client-s3"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as classify from "../internal/s3Errors.ts"
import * as rules from "../internal/storeRules.ts"
import type { RequestCounter } from "./InstrumentedStore.ts"
import {
  type Capabilities,
  type CopyRequest,
  type DeleteOptions,
  type GetOptions,
  type ListRequest,
  maxKeysPerRequest,
  type ObjectHead,
  ObjectStore,
  type PutRequest
} from "./ObjectStore.ts"
import * as StandardStore from "./StandardStore.ts"
import { Corrupt, type Operation, type Reason, StoreError, Unavailable } from "./StoreError.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface ClientOptions {
  readonly bucket: string
  /** Default: `AWS_REGION` or what the SDK finds in its configuration, else `us-east-1`. */
  readonly region?: string | undefined
  /** Default: Amazon's own for the region. */
  readonly endpoint?: string | undefined
  /** The bucket in the path instead of the host name. Default: `true` with an `endpoint`, else `false`. */
  readonly forcePathStyle?: boolean | undefined
  /** Default: the SDK's default chain (environment, configuration files, container, instance). */
  readonly credentials?:
    | {
        readonly accessKeyId: string
        readonly secretAccessKey: Redacted.Redacted
        readonly sessionToken?: Redacted.Redacted | undefined
      }
    | undefined
  /** Connections that are kept open. Default: 64. */
  readonly maxSockets?: number | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends ClientOptions, StandardStore.Options {}

/**
 * The bare port: one request of the SDK for each operation, nothing retried, bounded or measured.
 *
 * Fails with `Unexpected` when the SDK cannot be loaded. No request is made on opening.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: ClientOptions
): Effect.fn.Return<ObjectStore["Service"], StoreError, Scope.Scope> {
  const sdk = yield* Effect.promise(() => import("@aws-sdk/client-s3"))
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new sdk.S3Client(clientConfig(options))),
    (opened) => Effect.sync(() => opened.destroy())
  )
  const { bucket: Bucket } = options
  let etagForm: Capabilities["etagForm"] = "quoted"
  const matching = (etag: string): string => (etagForm === "quoted" ? `"${etag}"` : etag)

  const fail = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })

  /** Sends one command; an interruption aborts it. The SDK's own answer or the reason it stands for. */
  const send = <A>(operation: Operation, key: string, run: (signal: AbortSignal) => Promise<A>) =>
    Effect.tryPromise({
      try: (signal) => run(signal),
      catch: (error) => fail(operation, key, classify.reasonOf(error, operation))
    })

  const checked = <A>(
    operation: Operation,
    key: string,
    problem: Reason | undefined,
    request: Effect.Effect<A, StoreError>
  ) => (problem === undefined ? request : Effect.fail(fail(operation, key, problem)))

  const etagOf = (operation: Operation, key: string, etag: string | undefined) =>
    etag === undefined
      ? Effect.fail(fail(operation, key, new Corrupt({ description: "the store answered without an ETag" })))
      : Effect.succeed({ etag: bareETag(etag) })

  const headOf = (
    key: string,
    output: Pick<
      S3.HeadObjectCommandOutput,
      "ETag" | "Metadata" | "ContentType" | "ContentEncoding" | "LastModified" | "ContentLength"
    >,
    size: number
  ): ObjectHead => ({
    key,
    etag: bareETag(output.ETag ?? ""),
    size,
    metadata: output.Metadata ?? {},
    contentType: output.ContentType ?? "application/octet-stream",
    contentEncoding: output.ContentEncoding === "" ? undefined : output.ContentEncoding,
    lastModified: output.LastModified?.getTime() ?? 0
  })

  const put = (request: PutRequest) => {
    const { key } = request
    const input: S3.PutObjectCommandInput = {
      Bucket,
      Key: key,
      Body: request.body ?? new Uint8Array(),
      Metadata: { ...rules.lowerCaseNames(request.metadata) },
      ContentType: request.contentType ?? "application/octet-stream",
      ContentEncoding: request.contentEncoding,
      IfMatch: request.ifMatch === undefined ? undefined : matching(request.ifMatch),
      IfNoneMatch: request.ifNoneMatch
    }
    return checked(
      "put",
      key,
      rules.checkPut(request),
      send("put", key, (abortSignal) => client.send(new sdk.PutObjectCommand(input), { abortSignal })).pipe(
        Effect.flatMap((output) => etagOf("put", key, output.ETag))
      )
    )
  }

  const get = (key: string, { range, ifMatch }: GetOptions = {}) => {
    const input: S3.GetObjectCommandInput = {
      Bucket,
      Key: key,
      Range: range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ""}`,
      IfMatch: ifMatch === undefined ? undefined : matching(ifMatch)
    }
    return checked(
      "get",
      key,
      rules.checkKey(key) ?? rules.checkRange(range),
      send("get", key, (abortSignal) =>
        client
          .send(new sdk.GetObjectCommand(input), { abortSignal })
          .then((output) =>
            Promise.resolve(output.Body?.transformToByteArray() ?? new Uint8Array()).then((body) => ({ output, body }))
          )
      ).pipe(
        Effect.flatMap(({ output, body }) => {
          if (output.ContentLength !== undefined && body.length !== output.ContentLength) {
            const description = `the body broke off after ${body.length} of ${output.ContentLength} bytes`
            return Effect.fail(fail("get", key, new Unavailable({ description, sent: true })))
          }
          const total = /\/(\d+)$/.exec(output.ContentRange ?? "")?.[1]
          return Effect.succeed({
            ...headOf(key, output, total === undefined ? body.length : Number(total)),
            body
          })
        })
      )
    )
  }

  const remove = (key: string, { ifMatch }: DeleteOptions = {}) => {
    const input = { Bucket, Key: key, IfMatch: ifMatch === undefined ? undefined : matching(ifMatch) }
    return checked(
      "delete",
      key,
      rules.checkKey(key),
      send("delete", key, (abortSignal) => client.send(new sdk.DeleteObjectCommand(input), { abortSignal })).pipe(
        Effect.asVoid
      )
    )
  }

  const removeBatch = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const valid = keys.filter((key) => rules.checkKey(key) === undefined)
    const failed = new Map<string, Reason>()
    for (const key of keys) {
      const problem = rules.checkKey(key)
      if (problem !== undefined) failed.set(key, problem)
    }
    if (valid.length > 0) {
      const Delete = { Objects: valid.map((Key) => ({ Key })), Quiet: true }
      const output = yield* send("deleteMany", valid[0]!, (abortSignal) =>
        client.send(new sdk.DeleteObjectsCommand({ Bucket, Delete }), { abortSignal })
      )
      for (const error of output.Errors ?? []) {
        // Some stores report what is not there as an error.
        if (error.Key === undefined || error.Code === "NoSuchKey") continue
        failed.set(error.Key, classify.reasonOfCode(error.Code ?? "InternalError", error.Message ?? ""))
      }
    }
    return failed
  })

  const removeMany = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const failed = new Map<string, Reason>()
    for (let start = 0; start < keys.length; start += maxKeysPerRequest) {
      const batch = keys.slice(start, start + maxKeysPerRequest)
      const outcome = yield* Effect.result(removeBatch(batch))
      if (outcome._tag === "Success") for (const [key, reason] of outcome.success) failed.set(key, reason)
      // What earlier batches have done is known: only this one failed.
      else if (start === 0 && keys.length <= maxKeysPerRequest) return yield* outcome.failure
      else for (const key of batch) failed.set(key, outcome.failure.reason)
    }
    return {
      deleted: keys.filter((key) => !failed.has(key)),
      failed: keys.flatMap((key) => (failed.has(key) ? [{ key, reason: failed.get(key)! }] : []))
    }
  })

  const copy = (request: CopyRequest) => {
    const input: S3.CopyObjectCommandInput = {
      Bucket,
      Key: request.to,
      CopySource: [Bucket, ...request.from.split("/")].map(encodeURIComponent).join("/"),
      CopySourceIfMatch: request.ifSourceMatch === undefined ? undefined : matching(request.ifSourceMatch),
      ...(request.metadata === undefined
        ? { MetadataDirective: "COPY" as const }
        : {
            MetadataDirective: "REPLACE" as const,
            Metadata: { ...rules.lowerCaseNames(request.metadata) },
            ContentType: request.contentType ?? "application/octet-stream"
          })
    }
    return checked(
      "copy",
      request.from,
      rules.checkCopy(request),
      send("copy", request.from, (abortSignal) => client.send(new sdk.CopyObjectCommand(input), { abortSignal })).pipe(
        Effect.flatMap((output) => etagOf("copy", request.to, output.CopyObjectResult?.ETag))
      )
    )
  }

  const list = (request: ListRequest = {}) => {
    const prefix = request.prefix ?? ""
    const token = rules.readToken(request)
    const problem = rules.checkList(request) ?? (typeof token === "object" ? token : undefined)
    const input: S3.ListObjectsV2CommandInput = {
      Bucket,
      Prefix: request.prefix,
      Delimiter: request.delimiter,
      StartAfter: request.startAfter,
      ContinuationToken: typeof token === "string" ? token : undefined,
      MaxKeys: request.maxKeys,
      // Keys may hold what XML cannot.
      EncodingType: "url"
    }
    return checked(
      "list",
      prefix,
      problem,
      Effect.map(
        send("list", prefix, (abortSignal) => client.send(new sdk.ListObjectsV2Command(input), { abortSignal })),
        (output) => {
          // A store that does not know this encoding sends keys as they are.
          const decode = output.EncodingType === "url" ? decodeListed : (text: string) => text
          return {
            entries: (output.Contents ?? []).map((object) => ({
              key: decode(object.Key ?? ""),
              etag: bareETag(object.ETag ?? ""),
              size: object.Size ?? 0,
              lastModified: object.LastModified?.getTime() ?? 0
            })),
            commonPrefixes: (output.CommonPrefixes ?? []).map((group) => decode(group.Prefix ?? "")),
            nextToken:
              output.IsTruncated === true && output.NextContinuationToken !== undefined
                ? rules.makeToken(request, output.NextContinuationToken)
                : undefined
          }
        }
      )
    )
  }

  return {
    location: locationOf(options),
    // Amazon's general purpose buckets and its directory buckets differ too: every store is probed once.
    capabilities: undefined,
    adopt: (capabilities) =>
      Effect.sync(() => {
        etagForm = capabilities.etagForm
      }),
    put,
    get,
    head: (key) =>
      checked(
        "head",
        key,
        rules.checkKey(key),
        Effect.map(
          send("head", key, (abortSignal) =>
            client.send(new sdk.HeadObjectCommand({ Bucket, Key: key }), { abortSignal })
          ),
          (output) => headOf(key, output, output.ContentLength ?? 0)
        )
      ),
    delete: remove,
    deleteMany: removeMany,
    copy,
    list
  }
})

const bareETag = (etag: string): string => etag.replace(/^W\//, "").replaceAll('"', "")

/** `encoding-type=url` is that of forms: a space is `+`. */
const decodeListed = (text: string): string => decodeURIComponent(text.replaceAll("+", "%20"))

const locationOf = (options: ClientOptions): string =>
  options.endpoint === undefined
    ? `s3://${options.bucket}`
    : `${options.endpoint.replace(/\/+$/, "")}/${options.bucket}`

const clientConfig = (options: ClientOptions): S3.S3ClientConfig => {
  const { credentials, endpoint, region } = options
  const maxSockets = options.maxSockets ?? 64
  const agent = { keepAlive: true, maxSockets }
  return {
    ...(region === undefined ? defaultRegion(endpoint) : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: Redacted.value(credentials.secretAccessKey),
            ...(credentials.sessionToken === undefined
              ? {}
              : { sessionToken: Redacted.value(credentials.sessionToken) })
          }
        }),
    // Retries and time limits are the business of the decorators.
    maxAttempts: 1,
    requestHandler: { httpAgent: agent, httpsAgent: agent, connectionTimeout: 10_000, throwOnRequestTimeout: true },
    // Checksums that S3 does not require break many compatible stores.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    cacheMiddleware: true
  }
}

/** A store of its own endpoint does not care about the region, but the signature needs one. */
const defaultRegion = (endpoint: string | undefined): { readonly region?: string } =>
  endpoint !== undefined || (process.env["AWS_REGION"] === undefined && process.env["AWS_PROFILE"] === undefined)
    ? { region: process.env["AWS_REGION"] ?? "us-east-1" }
    : {}

/**
 * The bare port as a layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient = (options: ClientOptions): Layer.Layer<ObjectStore, StoreError> =>
  Layer.effect(ObjectStore, make(options))

/**
 * A store on S3 with the usual decorators: measured, limited in time, retried and bounded, below `prefix` if one is
 * given. Bind the result to a constant: each call opens a client of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<ObjectStore | RequestCounter, StoreError> =>
  StandardStore.layer(options).pipe(Layer.provide(layerClient(options)))

/**
 * The same with options from Effect's `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<ObjectStore | RequestCounter, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))
