/** The client of S3 that the AWS SDK is. */
import { createHash } from "node:crypto"
import * as http from "node:http"
import * as https from "node:https"
import { buffer } from "node:stream/consumers"
import type * as S3 from "@aws-sdk/client-s3"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type Operation, StoreError, Unsupported } from "../StoreError.ts"
import * as s3Agents from "./s3Agents.ts"
import { answersTo, kindOf, NotOfS3, statusOfLateError } from "./s3Answers.ts"
import type { Requests } from "./s3Bucket.ts"
import * as s3Errors from "./s3Errors.ts"
import {
  defaultConnectTimeout,
  defaultMaxSockets,
  describePlace,
  noticeableSkewMillis,
  type Options,
  warnOfClock
} from "./s3Options.ts"
import type { Client, Found } from "./s3Port.ts"
import * as s3Text from "./s3Text.ts"

const silent = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const credentialsOf = ({ credentials }: Options): Pick<S3.S3ClientConfig, "credentials"> =>
  credentials === undefined
    ? {}
    : {
        credentials: {
          accessKeyId: credentials.accessKeyId,
          secretAccessKey: Redacted.value(credentials.secretAccessKey),
          ...(credentials.sessionToken === undefined ? {} : { sessionToken: Redacted.value(credentials.sessionToken) })
        }
      }

/** What the SDK is told. */
export const clientConfig = (options: Options, region: string, agents: s3Agents.Agents): S3.S3ClientConfig => ({
  region,
  ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
  forcePathStyle: options.forcePathStyle ?? options.endpoint !== undefined,
  ...credentialsOf(options),
  maxAttempts: 1,
  // Many servers refuse, or answer wrongly, what the SDK sends since it computes checksums by default.
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
  // Waiting for "100 Continue" opens a connection of its own and stalls on servers that do not know it.
  expectContinueHeader: false,
  cacheMiddleware: true,
  requestHandler: {
    httpAgent: agents.http,
    httpsAgent: agents.https,
    connectionTimeout: millis(options.connectTimeout ?? defaultConnectTimeout),
    ...(options.requestTimeout === undefined
      ? {}
      : { requestTimeout: millis(options.requestTimeout), throwOnRequestTimeout: true }),
    logger: silent
  }
})

const operationOf: Readonly<Record<string, Operation>> = {
  ListObjectsV2Command: "list",
  DeleteObjectsCommand: "deleteMany",
  CopyObjectCommand: "copy",
  DeleteObjectCommand: "delete",
  PutObjectCommand: "put"
}

interface Answer {
  statusCode: number
  headers: Record<string, string>
  body?: unknown
}

const isAnswer = (response: unknown): response is Answer =>
  typeof response === "object" && response !== null && "statusCode" in response && "headers" in response

const isStream = (body: unknown): body is NodeJS.ReadableStream =>
  typeof body === "object" && body !== null && Symbol.asyncIterator in body

/**
 * Has the client look at each successful answer that is XML, or empty, by its own rules, before the SDK reads it, which takes
 * anything for an empty answer; and tell of every answer what it says of connections.
 */
const checkAnswers = (client: S3.S3Client, onHeaders: (headers: Readonly<Record<string, string>>) => void): void => {
  client.middlewareStack.add(
    (next, context) => (args) =>
      next(args).then((result) => {
        const { response } = result
        if (!isAnswer(response)) return result
        onHeaders(response.headers)
        const operation = operationOf[String(context["commandName"])]
        const expected = operation === undefined ? undefined : answersTo[operation]
        const { body, statusCode } = response
        if (expected === undefined || statusCode < 200 || statusCode >= 300 || !isStream(body)) return result
        return buffer(body).then((bytes) => {
          const kind = kindOf(bytes.toString(), expected.root)
          if (kind === "error") response.statusCode = statusOfLateError
          if (kind === "foreign") throw new NotOfS3(statusCode, response.headers["content-type"], expected.to)
          response.body = new Uint8Array(bytes)
          return result
        })
      }),
    // Next to the network: before the SDK reads the body.
    { step: "deserialize", priority: "low", name: "effect-s3db-answers" }
  )
}

/** Replaces the checksums of the SDK by the one that S3 had first. */
const withMd5 = (command: S3.DeleteObjectsCommand): S3.DeleteObjectsCommand => {
  command.middlewareStack.add(
    (next) => (args) => {
      const { request } = args
      if (!isRequest(request)) return next(args)
      for (const name of Object.keys(request.headers)) {
        if (/^x-amz-(checksum-|sdk-checksum-)/i.test(name)) delete request.headers[name]
      }
      request.headers["content-md5"] = createHash("md5").update(request.body).digest("base64")
      return next(args)
    },
    { step: "build", priority: "low", name: "effect-s3db-md5" }
  )
  return command
}

const isRequest = (
  request: unknown
): request is { readonly headers: Record<string, string>; readonly body: string | Uint8Array } =>
  typeof request === "object" &&
  request !== null &&
  "headers" in request &&
  "body" in request &&
  (typeof request.body === "string" || request.body instanceof Uint8Array)

const load: Effect.Effect<typeof S3, StoreError> = Effect.tryPromise({
  try: () => import("@aws-sdk/client-s3"),
  catch: (error) => {
    const description = s3Errors.notLoaded("@aws-sdk/client-s3", error)
    return new StoreError({
      operation: "open",
      reason: new Unsupported({ feature: "@aws-sdk/client-s3", description })
    })
  }
})

/** Loads the SDK and makes a client, whose connections are closed with the scope. It makes no request. */
export const make = Effect.fnUntraced(function* (
  options: Options,
  region: string
): Effect.fn.Return<{ readonly client: Client; readonly bucket: Requests }, StoreError, Scope.Scope> {
  const { bucket } = options
  const { location, place } = describePlace(options, region)
  const sdk = yield* load
  const clock = yield* Clock.Clock
  const agents = s3Agents.make({ http, https }, options.maxSockets ?? defaultMaxSockets, () =>
    clock.currentTimeMillisUnsafe()
  )
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new sdk.S3Client(clientConfig(options, region, agents))),
    (client) => Effect.sync(() => client.destroy())
  )
  checkAnswers(client, agents.learn)
  const warn = yield* Effect.cached(Effect.suspend(() => warnOfClock(location, client.config.systemClockOffset)))

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
      catch: (cause) => {
        const reason = s3Errors.reasonOf(cause, { ...facts, region, place })
        return new StoreError({ operation: facts.operation, key, reason })
      }
    })
    return Effect.suspend(() => {
      const offset = client.config.systemClockOffset
      return sending.pipe(
        Effect.catchReason("StoreError", "AccessDenied", (_, error) =>
          Math.abs(client.config.systemClockOffset - offset) < noticeableSkewMillis
            ? Effect.fail(error)
            : Effect.andThen(warn, sending)
        ),
        // What broke one connection may have broken those that nobody is using.
        Effect.tapError(({ reason }) =>
          reason._tag === "Unavailable" && reason.status === undefined ? Effect.sync(agents.dropIdle) : Effect.void
        )
      )
    })
  }

  const asked = (request: (signal: AbortSignal) => Promise<unknown>) =>
    send({ operation: "open" }, "", (signal) => request(signal).then(() => undefined))

  return {
    client: {
      put: ({ body, contentEncoding, contentType, ifMatch, ifNoneMatch, key, metadata, metadataBytes }) => {
        const command = new sdk.PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: body,
          Metadata: metadata,
          ContentType: contentType,
          ContentEncoding: contentEncoding,
          IfMatch: ifMatch,
          IfNoneMatch: ifNoneMatch
        })
        const conditional = ifMatch !== undefined || ifNoneMatch !== undefined
        return send({ operation: "put", metadataBytes, conditional }, key, (abortSignal) =>
          client.send(command, { abortSignal }).then(({ ETag }) => ({ etag: ETag }))
        )
      },
      get: (key, { ifMatch, range }) => {
        const command = new sdk.GetObjectCommand({ Bucket: bucket, Key: key, Range: range, IfMatch: ifMatch })
        return send({ operation: "get", conditional: ifMatch !== undefined }, key, (abortSignal) =>
          client.send(command, { abortSignal }).then((output) => {
            const body = output.Body?.transformToByteArray() ?? Promise.resolve(new Uint8Array())
            return body.then((bytes) => ({
              found: foundIn(output),
              contentRange: output.ContentRange,
              body: bytes
            }))
          })
        )
      },
      head: (key) => {
        const command = new sdk.HeadObjectCommand({ Bucket: bucket, Key: key })
        return send({ operation: "head" }, key, (abortSignal) =>
          client
            .send(command, { abortSignal })
            .then((output) => ({ found: foundIn(output), size: output.ContentLength }))
        )
      },
      delete: (key, ifMatch) => {
        const command = new sdk.DeleteObjectCommand({ Bucket: bucket, Key: key, IfMatch: ifMatch })
        return send({ operation: "delete", conditional: ifMatch !== undefined }, key, (abortSignal) =>
          client.send(command, { abortSignal }).then(() => undefined)
        )
      },
      deleteMany: (keys, form) => {
        const command = new sdk.DeleteObjectsCommand({
          Bucket: bucket,
          Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: false }
        })
        const vouched = form === "md5" ? withMd5(command) : command
        return send({ operation: "deleteMany" }, keys[0]!, (abortSignal) =>
          client.send(vouched, { abortSignal }).then(({ Deleted = [], Errors = [] }) => ({
            deleted: Deleted.map(({ Key = "" }) => Key),
            errors: Errors.map(({ Code, Key = "" }) => ({ key: Key, code: Code }))
          }))
        )
      },
      copy: ({ contentType, from, ifSourceMatch, metadata, metadataBytes, to }) => {
        const command = new sdk.CopyObjectCommand({
          Bucket: bucket,
          Key: to,
          CopySource: s3Text.copySource(bucket, from),
          CopySourceIfMatch: ifSourceMatch,
          ...(metadata === undefined
            ? { MetadataDirective: "COPY" as const }
            : { MetadataDirective: "REPLACE" as const, Metadata: metadata, ContentType: contentType })
        })
        const conditional = ifSourceMatch !== undefined
        return send({ operation: "copy", metadataBytes, conditional }, from, (abortSignal) =>
          client.send(command, { abortSignal }).then(({ CopyObjectResult }) => ({ etag: CopyObjectResult?.ETag }))
        )
      },
      list: ({ delimiter, maxKeys, prefix, startAfter, token }) => {
        const command = new sdk.ListObjectsV2Command({
          Bucket: bucket,
          Prefix: prefix,
          Delimiter: delimiter,
          StartAfter: startAfter,
          ContinuationToken: token,
          MaxKeys: maxKeys,
          // XML cannot hold every key as it is.
          EncodingType: "url"
        })
        return send({ operation: "list" }, prefix ?? "", (abortSignal) =>
          client.send(command, { abortSignal }).then((output) => ({
            entries: (output.Contents ?? []).map(({ ETag, Key = "", LastModified, Size }) => ({
              key: Key,
              etag: ETag,
              size: Size,
              lastModified: LastModified?.getTime()
            })),
            commonPrefixes: (output.CommonPrefixes ?? []).map(({ Prefix = "" }) => Prefix),
            encodingType: output.EncodingType,
            isTruncated: output.IsTruncated,
            nextToken: output.NextContinuationToken
          }))
        )
      }
    },
    bucket: {
      find: asked((abortSignal) => client.send(new sdk.HeadBucketCommand({ Bucket: bucket }), { abortSignal })),
      // The SDK writes the region as the location.
      create: asked((abortSignal) => client.send(new sdk.CreateBucketCommand({ Bucket: bucket }), { abortSignal })),
      createAnywhere: asked((abortSignal) => {
        const command = new sdk.CreateBucketCommand({ Bucket: bucket })
        command.middlewareStack.add((next) => (args) => next({ ...args, input: { Bucket: bucket } }), {
          step: "serialize",
          priority: "high"
        })
        return client.send(command, { abortSignal })
      })
    }
  }
})

const foundIn = (output: {
  readonly ETag?: string | undefined
  readonly Metadata?: Record<string, string> | undefined
  readonly ContentType?: string | undefined
  readonly ContentEncoding?: string | undefined
  readonly LastModified?: Date | undefined
}): Found => ({
  etag: output.ETag,
  metadata: output.Metadata ?? {},
  contentType: output.ContentType,
  contentEncoding: output.ContentEncoding,
  lastModified: output.LastModified?.getTime()
})
