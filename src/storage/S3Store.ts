/**
 * An object store in an S3 bucket, on AWS or on any server that speaks S3, over `@aws-sdk/client-s3`.
 *
 * The SDK is loaded when the first store is made, not when this module is imported. Its own retries are off: they are
 * the business of `RetryingStore`, which `layer` includes.
 *
 * @since 0.1.0
 */
import type { S3Client } from "@aws-sdk/client-s3"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { checkCount, checkDuration, invalidOption } from "./internal/optionRules.ts"
import { ensureBucket } from "./internal/s3Bucket.ts"
import * as listing from "./internal/listing.ts"
import * as s3Agents from "./internal/s3Agents.ts"
import * as s3Answers from "./internal/s3Answers.ts"
import { clientConfig, defaultMaxSockets, type Options } from "./internal/s3Client.ts"
import * as s3Deletion from "./internal/s3Deletion.ts"
import * as s3Errors from "./internal/s3Errors.ts"
import * as s3Text from "./internal/s3Text.ts"
import * as rules from "./internal/storeRules.ts"
import type { RequestCounter } from "./InstrumentedStore.ts"
import {
  type Capabilities,
  type CopyRequest,
  type DeleteManyResult,
  type DeleteOptions,
  type GetOptions,
  type ListPage,
  type ListRequest,
  maxKeysPerRequest,
  type Metadata,
  ObjectStore,
  type PutRequest,
  type PutResult,
  type StoredObject
} from "./ObjectStore.ts"
import * as RetryingStore from "./RetryingStore.ts"
import * as StandardStore from "./StandardStore.ts"
import {
  InvalidArgument,
  type Operation,
  PreconditionFailed,
  type Reason,
  StoreError,
  Unexpected,
  Unsupported
} from "./StoreError.ts"

export type { Credentials, Options } from "./internal/s3Client.ts"

/**
 * The options of the store and of the decorators around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface LayerOptions extends Options, StandardStore.Options {}

const checkOptions = (options: Options): StoreError | undefined =>
  checkBucket(options) ??
  checkEndpoint(options) ??
  checkCount("maxSockets", options.maxSockets, 1) ??
  checkDuration("connectTimeout", options.connectTimeout, "positive") ??
  checkDuration("requestTimeout", options.requestTimeout, "positive")

const checkBucket = ({ bucket, credentials, region }: Options): StoreError | undefined => {
  if (bucket === "") return invalidOption("bucket", "a bucket is missing")
  if (/[\s/]/.test(bucket)) return invalidOption("bucket", "this is no name of a bucket")
  if (region === "") return invalidOption("region", "the region is empty: leave it out, or name one")
  if (credentials === undefined) return undefined
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const parts = [accessKeyId, Redacted.value(secretAccessKey), sessionToken && Redacted.value(sessionToken)]
  return parts.includes("")
    ? invalidOption("credentials", "a part of the credentials is empty: leave them out for those of the default chain")
    : undefined
}

const checkEndpoint = ({ endpoint }: Options): StoreError | undefined => {
  if (endpoint === undefined) return undefined
  if (!URL.canParse(endpoint)) return invalidOption("endpoint", "the endpoint is not a URL")
  const { hash, password, protocol, search, username } = new URL(endpoint)
  if (protocol !== "http:" && protocol !== "https:") {
    return invalidOption("endpoint", "the endpoint must begin with http:// or https://")
  }
  return username === "" && password === "" && search === "" && hash === ""
    ? undefined
    : invalidOption("endpoint", "the endpoint must not hold credentials, a query or a fragment")
}

const headerText = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** What can be sent as a header. An empty condition would not be sent at all, and `*` is not an ETag. */
const checkHeaders = (headers: Readonly<Record<string, string | undefined>>): Reason | undefined => {
  for (const [argument, value] of Object.entries(headers)) {
    if (value === undefined) continue
    if (!headerText.test(value)) {
      return new InvalidArgument({ argument, description: `${argument} is not printable ASCII` })
    }
    if (argument.startsWith("if") && (value === "*" || value.includes('"'))) {
      return new InvalidArgument({ argument, description: `${argument} is not an ETag` })
    }
  }
  return undefined
}

const checkNames = (metadata: Metadata | undefined): Reason | undefined =>
  metadata !== undefined && Object.keys(rules.lowerCaseNames(metadata)).length < Object.keys(metadata).length
    ? new InvalidArgument({ argument: "metadata", description: "two metadata names are the same in lower case" })
    : undefined

const checkListText = (request: ListRequest): Reason | undefined => {
  for (const argument of ["prefix", "delimiter", "startAfter"] as const) {
    if (request[argument]?.isWellFormed() === false) {
      return new InvalidArgument({ argument, description: `${argument} must be valid Unicode` })
    }
  }
  return undefined
}

/** A condition of `ObjectStore` must never reach the store in a form that it would ignore. */
const written = (form: Capabilities["etagForm"], etag: string | undefined): string | undefined =>
  etag === undefined || form === "unquoted" ? etag : `"${etag}"`

const deleteConcurrency = 4

/** Servers refuse what is signed 5 to 15 minutes off; the client learns the offset from every answer. */
const noticeableSkewMillis = 240_000

const failure = (operation: Operation, key: string, reason: Reason) => new StoreError({ operation, key, reason })

const etagIn = (operation: Operation, key: string, etag: string | undefined) =>
  etag === undefined || etag === ""
    ? Effect.fail(failure(operation, key, new Unexpected({ description: "the store answered without an ETag" })))
    : Effect.succeed(s3Text.bareETag(etag))

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
  const problem = checkOptions(options)
  if (problem !== undefined) return yield* problem
  const region = options.region ?? (yield* Effect.orElseSucceed(Config.String("AWS_REGION"), () => "us-east-1"))
  const { bucket } = options
  const sdk = yield* Effect.tryPromise({
    try: () => import("@aws-sdk/client-s3"),
    catch: (error) => {
      const description = s3Errors.notLoaded(error)
      return new StoreError({
        operation: "open",
        reason: new Unsupported({ feature: "@aws-sdk/client-s3", description })
      })
    }
  })
  const clock = yield* Clock.Clock
  const agents = s3Agents.make(options.maxSockets ?? defaultMaxSockets, () => clock.currentTimeMillisUnsafe())
  const client: S3Client = yield* Effect.acquireRelease(
    Effect.sync(() => new sdk.S3Client(clientConfig(options, region, agents))),
    (client) => Effect.sync(() => client.destroy())
  )
  s3Answers.check(client, agents.learn)
  const known = yield* Ref.make<
    Pick<Capabilities, "etagForm" | "listedKeys"> & Partial<Pick<Capabilities, "orderedList">>
  >({
    etagForm: "quoted"
  })

  const location =
    options.endpoint === undefined ? `s3://${bucket}` : `${options.endpoint.replace(/\/+$/, "")}/${bucket}`
  const place = `bucket ${JSON.stringify(bucket)} ${options.endpoint === undefined ? `on AWS (region ${region})` : `at ${options.endpoint}`}`

  const warnOfClock = yield* Effect.cached(
    Effect.suspend(() => {
      const minutes = Math.round(client.config.systemClockOffset / 60_000)
      const where = `${Math.abs(minutes)} minutes ${minutes > 0 ? "behind" : "ahead of"}`
      return Effect.logWarning(
        `the clock of this machine is ${where} that of ${location}; requests are signed with the time of the store, but what is dated here is wrong: set the clock`
      )
    })
  )

  /**
   * One request; a second one, signed again, when the first was refused and its answer says that the clocks differ.
   * Interruption cancels it on the wire.
   */
  const send = <A>(
    facts: Omit<s3Errors.RequestFacts, "region" | "place">,
    key: string,
    request: (signal: AbortSignal) => Promise<A>
  ): Effect.Effect<A, StoreError> => {
    const sending = Effect.tryPromise({
      try: (signal) => {
        agents.retire()
        return request(signal)
      },
      catch: (cause) => failure(facts.operation, key, s3Errors.reasonOf(cause, { ...facts, region, place }))
    })
    return Effect.suspend(() => {
      const offset = client.config.systemClockOffset
      return sending.pipe(
        Effect.catchReason("StoreError", "AccessDenied", (_, error) =>
          Math.abs(client.config.systemClockOffset - offset) < noticeableSkewMillis
            ? Effect.fail(error)
            : Effect.andThen(warnOfClock, sending)
        ),
        // What broke one connection may have broken those that nobody is using.
        Effect.tapError(({ reason }) =>
          reason._tag === "Unavailable" && reason.status === undefined ? Effect.sync(agents.dropIdle) : Effect.void
        )
      )
    })
  }

  if (options.createBucket === true) {
    const opening = ensureBucket(sdk, bucket, (request) =>
      send({ operation: "open" }, "", (abortSignal) => request(client, { abortSignal }).then(() => undefined))
    )
    yield* attempt(opening, location)
  }

  const condition = (etag: string | undefined) => Effect.map(Ref.get(known), ({ etagForm }) => written(etagForm, etag))

  const put = Effect.fnUntraced(function* (request: PutRequest): Effect.fn.Return<PutResult, StoreError> {
    const { body, contentEncoding, contentType, ifMatch, ifNoneMatch, key, metadata } = request
    const problem = rules.checkPut(request) ?? checkNames(metadata) ?? checkHeaders({ ifMatch })
    if (problem !== undefined) return yield* failure("put", key, problem)
    const command = new sdk.PutObjectCommand({
      Bucket: bucket,
      Key: key,
      Body: body ?? new Uint8Array(),
      Metadata: rules.lowerCaseNames(metadata),
      ContentType: contentType ?? "application/octet-stream",
      ContentEncoding: contentEncoding,
      IfMatch: yield* condition(ifMatch),
      IfNoneMatch: ifNoneMatch
    })
    const facts = {
      operation: "put" as const,
      metadataBytes: rules.metadataBytes(metadata ?? {}),
      conditional: ifMatch !== undefined || ifNoneMatch !== undefined
    }
    const output = yield* send(facts, key, (signal) => client.send(command, { abortSignal: signal }))
    return { etag: yield* etagIn("put", key, output.ETag) }
  })

  const get = Effect.fnUntraced(function* (
    key: string,
    { ifMatch, range }: GetOptions = {}
  ): Effect.fn.Return<StoredObject, StoreError> {
    const problem = rules.checkKey(key) ?? rules.checkRange(range) ?? checkHeaders({ ifMatch })
    if (problem !== undefined) return yield* failure("get", key, problem)
    const command = new sdk.GetObjectCommand({
      Bucket: bucket,
      Key: key,
      Range: range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ""}`,
      IfMatch: yield* condition(ifMatch)
    })
    const facts = { operation: "get" as const, conditional: ifMatch !== undefined }
    const { body: received, output } = yield* send(facts, key, (signal) =>
      client.send(command, { abortSignal: signal }).then((output) => {
        const body = output.Body?.transformToByteArray() ?? Promise.resolve(new Uint8Array())
        return body.then((bytes) => ({ output, body: bytes }))
      })
    )
    const wrong = s3Text.checkRange(range, output.ContentRange, received.length)
    if (wrong !== undefined) return yield* failure("get", key, wrong)
    if (ifMatch !== undefined && output.ETag !== undefined && s3Text.bareETag(output.ETag) !== ifMatch) {
      // It, or what stands before it, does not look at the condition.
      return yield* failure("get", key, new PreconditionFailed({ description: "the condition does not hold" }))
    }
    const size = s3Text.partOf(output.ContentRange)?.size ?? received.length
    let body = received
    if (range !== undefined && output.ContentRange === undefined) {
      // The store has sent all of it.
      const found = rules.resolveRange(range, received.length)
      if (!("start" in found)) return yield* failure("get", key, found)
      body = received.subarray(found.start, found.end + 1)
    }
    return { ...headOf(key, output), etag: yield* etagIn("get", key, output.ETag), size, body }
  })

  const head = Effect.fnUntraced(function* (key: string) {
    const problem = rules.checkKey(key)
    if (problem !== undefined) return yield* failure("head", key, problem)
    const command = new sdk.HeadObjectCommand({ Bucket: bucket, Key: key })
    const output = yield* send({ operation: "head" }, key, (signal) => client.send(command, { abortSignal: signal }))
    return {
      ...headOf(key, output),
      etag: yield* etagIn("head", key, output.ETag),
      size: output.ContentLength ?? 0
    }
  })

  const remove = Effect.fnUntraced(function* (
    key: string,
    { ifMatch }: DeleteOptions = {}
  ): Effect.fn.Return<void, StoreError> {
    const problem = rules.checkKey(key) ?? checkHeaders({ ifMatch })
    if (problem !== undefined) return yield* failure("delete", key, problem)
    const command = new sdk.DeleteObjectCommand({ Bucket: bucket, Key: key, IfMatch: yield* condition(ifMatch) })
    const facts = { operation: "delete" as const, conditional: ifMatch !== undefined }
    const gone = send(facts, key, (signal) => client.send(command, { abortSignal: signal }))
    // Some servers answer 404 where S3 answers 204.
    yield* ifMatch === undefined ? Effect.catchReason(gone, "StoreError", "NoSuchKey", () => Effect.void) : gone
  })

  const removeBatch = yield* s3Deletion.make({
    sdk,
    bucket,
    remove,
    isGone: (key) =>
      Effect.catchReason(Effect.as(head(key), false), "StoreError", "NoSuchKey", () => Effect.succeed(true)),
    send: (command, key) =>
      send({ operation: "deleteMany" }, key, (signal) => client.send(command, { abortSignal: signal }))
  })

  const removeMany = Effect.fnUntraced(function* (
    keys: ReadonlyArray<string>
  ): Effect.fn.Return<DeleteManyResult, StoreError> {
    const refused = new Map<string, Reason>()
    const inXml = new Set<string>()
    const alone = new Set<string>()
    for (const key of keys) {
      const problem = rules.checkKey(key)
      if (problem !== undefined) refused.set(key, problem)
      else if (s3Text.fitsXml(key)) inXml.add(key)
      else alone.add(key)
    }
    const batches: Array<ReadonlyArray<string>> = []
    const listed = [...inXml]
    for (let start = 0; start < listed.length; start += maxKeysPerRequest) {
      batches.push(listed.slice(start, start + maxKeysPerRequest))
    }
    const requests = [
      ...batches.map((batch) => ({ batch, request: removeBatch(batch) })),
      ...Array.from(alone, (key) => ({ batch: [key], request: Effect.as(remove(key), new Map<string, Reason>()) }))
    ]
    let failed: StoreError | undefined
    let succeeded = 0
    yield* Effect.forEach(
      requests,
      ({ batch, request }) =>
        Effect.match(request, {
          onFailure: (error) => {
            failed ??= error
            for (const key of batch) refused.set(key, error.reason)
          },
          onSuccess: (reasons) => {
            succeeded += 1
            for (const [key, reason] of reasons) refused.set(key, reason)
          }
        }),
      { concurrency: deleteConcurrency, discard: true }
    )
    if (failed !== undefined && succeeded === 0) return yield* failure("deleteMany", failed.key ?? "", failed.reason)
    return {
      deleted: keys.filter((key) => !refused.has(key)),
      failed: keys.flatMap((key) => (refused.has(key) ? [{ key, reason: refused.get(key)! }] : []))
    }
  })

  const copy = Effect.fnUntraced(function* (request: CopyRequest): Effect.fn.Return<PutResult, StoreError> {
    const { contentType, from, ifSourceMatch, metadata, to } = request
    const problem = rules.checkCopy(request) ?? checkNames(metadata) ?? checkHeaders({ ifSourceMatch })
    if (problem !== undefined) return yield* failure("copy", from, problem)
    const command = new sdk.CopyObjectCommand({
      Bucket: bucket,
      Key: to,
      CopySource: s3Text.copySource(bucket, from),
      CopySourceIfMatch: yield* condition(ifSourceMatch),
      ...(metadata === undefined
        ? { MetadataDirective: "COPY" as const }
        : {
            MetadataDirective: "REPLACE" as const,
            Metadata: rules.lowerCaseNames(metadata),
            ContentType: contentType ?? "application/octet-stream"
          })
    })
    const facts = {
      operation: "copy" as const,
      metadataBytes: rules.metadataBytes(metadata ?? {}),
      conditional: ifSourceMatch !== undefined
    }
    const output = yield* send(facts, from, (signal) => client.send(command, { abortSignal: signal }))
    return { etag: yield* etagIn("copy", from, output.CopyObjectResult?.ETag) }
  })

  const list = Effect.fnUntraced(function* (request: ListRequest = {}): Effect.fn.Return<ListPage, StoreError> {
    const { delimiter, maxKeys, prefix = "", startAfter } = request
    const problem = rules.checkList(request) ?? checkListText(request)
    if (problem !== undefined) return yield* failure("list", prefix, problem)
    const position = readPosition(request)
    if (position instanceof InvalidArgument) return yield* failure("list", prefix, position)
    const command = new sdk.ListObjectsV2Command({
      Bucket: bucket,
      Prefix: prefix === "" ? undefined : prefix,
      Delimiter: delimiter === "" ? undefined : delimiter,
      StartAfter: position === undefined && startAfter !== "" ? startAfter : undefined,
      ContinuationToken: position?.token,
      MaxKeys: maxKeys ?? maxKeysPerRequest,
      // XML cannot hold every key as it is.
      EncodingType: "url"
    })
    const output = yield* send({ operation: "list" }, prefix, (signal) => client.send(command, { abortSignal: signal }))
    const { listedKeys, orderedList = false } = yield* Ref.get(known)
    const read = s3Text.listedForms[listedKeys ?? (output.EncodingType === "url" ? "form" : "plain")]
    const found = yield* Effect.try({
      try: () => ({
        entries: (output.Contents ?? []).map((object) => ({
          key: read(object.Key ?? ""),
          etag: object.ETag === undefined ? undefined : s3Text.bareETag(object.ETag),
          size: object.Size,
          lastModified: object.LastModified?.getTime()
        })),
        commonPrefixes: (output.CommonPrefixes ?? []).map((group) => read(group.Prefix ?? ""))
      }),
      catch: () =>
        failure("list", prefix, new Unexpected({ description: "the store listed a key that is not encoded" }))
    })
    const wrong =
      listing.checkPage(position === undefined ? request : { prefix }, found) ??
      (orderedList ? listing.checkOrder(position?.progress.last, found) : undefined)
    if (wrong !== undefined) return yield* failure("list", prefix, wrong)
    const next = output.NextContinuationToken ?? ""
    if (output.IsTruncated === true && next === "") {
      const description = "the store says that there is more, but not where to go on"
      return yield* failure("list", prefix, new Unexpected({ description }))
    }
    if (next === "" || output.IsTruncated === false) return { ...found, nextToken: undefined }
    const progress = listing.advance(position?.progress, next, found)
    if (progress instanceof Unexpected) return yield* failure("list", prefix, progress)
    return { ...found, nextToken: rules.makeToken(request, listing.seal(next, progress)) }
  })

  return ObjectStore.of({
    location,
    capabilities: undefined,
    adopt: (capabilities) => Ref.set(known, capabilities),
    put,
    get,
    head,
    delete: remove,
    deleteMany: removeMany,
    copy,
    list
  })
})

const headOf = (
  key: string,
  output: {
    readonly Metadata?: Record<string, string> | undefined
    readonly ContentType?: string | undefined
    readonly ContentEncoding?: string | undefined
    readonly LastModified?: Date | undefined
  }
) => ({
  key,
  metadata: output.Metadata ?? {},
  contentType: output.ContentType ?? "application/octet-stream",
  contentEncoding: output.ContentEncoding,
  lastModified: output.LastModified?.getTime() ?? 0
})

/** Where a token of this store goes on, and how far its listing has come. */
const readPosition = (request: ListRequest): ReturnType<typeof listing.unseal> | InvalidArgument => {
  const sealed = rules.readToken(request)
  if (typeof sealed !== "string") return sealed
  try {
    return listing.unseal(sealed) ?? rules.foreignToken
  } catch {
    return rules.foreignToken
  }
}

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
