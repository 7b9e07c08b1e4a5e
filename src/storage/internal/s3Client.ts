/** What the AWS SDK is told. */
import type { S3ClientConfig } from "@aws-sdk/client-s3"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { Agents } from "./s3Agents.ts"

/** The part of the options of `S3Store` that is the client's. */
export interface ClientOptions {
  readonly endpoint?: string | undefined
  readonly forcePathStyle?: boolean | undefined
  readonly credentials?:
    | {
        readonly accessKeyId: string
        readonly secretAccessKey: Redacted.Redacted<string>
        readonly sessionToken?: Redacted.Redacted<string> | undefined
      }
    | undefined
  readonly maxSockets?: number | undefined
  readonly connectTimeout?: Duration.Input | undefined
  readonly requestTimeout?: Duration.Input | undefined
}

/**
 * An access key and its secret. The secret and the session token never appear in a log, an error or JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted<string>
  /** Of temporary credentials. */
  readonly sessionToken?: Redacted.Redacted<string> | undefined
}

/**
 * Which bucket, where, and how to reach it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly bucket: string
  /**
   * Makes the bucket, in the region, when it is not there: one request more for each store that is opened, two when the
   * bucket is made. Default: `false`.
   */
  readonly createBucket?: boolean | undefined
  /** Default: the variable `AWS_REGION`, else `us-east-1`. */
  readonly region?: string | undefined
  /** An `http` or `https` URL without a path. Default: the endpoint of AWS for the region. */
  readonly endpoint?: string | undefined
  /** The bucket in the path instead of in the name of the host. Default: `true` when there is an endpoint. */
  readonly forcePathStyle?: boolean | undefined
  /** Default: the default chain of the AWS SDK (environment, profiles, roles of containers and machines). */
  readonly credentials?: Credentials | undefined
  /** Connections at once, kept open between requests; further requests wait. Default: 64. */
  readonly maxSockets?: number | undefined
  /** How long connecting may take. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long one attempt may take until the answer begins. Default: no limit here; `layer` sets one by its `timeout`. */
  readonly requestTimeout?: Duration.Input | undefined
}

/** Connections at once, unless the options say otherwise. */
export const defaultMaxSockets = 64

const silent = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const millis = (input: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(input))

const credentialsOf = ({ credentials }: ClientOptions): Pick<S3ClientConfig, "credentials"> =>
  credentials === undefined
    ? {}
    : {
        credentials: {
          accessKeyId: credentials.accessKeyId,
          secretAccessKey: Redacted.value(credentials.secretAccessKey),
          ...(credentials.sessionToken === undefined ? {} : { sessionToken: Redacted.value(credentials.sessionToken) })
        }
      }

export const clientConfig = (options: ClientOptions, region: string, agents: Agents): S3ClientConfig => {
  return {
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
      connectionTimeout: millis(options.connectTimeout ?? "5 seconds"),
      ...(options.requestTimeout === undefined
        ? {}
        : { requestTimeout: millis(options.requestTimeout), throwOnRequestTimeout: true }),
      logger: silent
    }
  }
}
