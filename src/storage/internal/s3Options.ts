/** Which bucket, where, and how to reach it: what the clients of S3 have in common. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { StoreError } from "../StoreError.ts"
import * as awsProfile from "./awsProfile.ts"
import { variable } from "./awsProfile.ts"
import { checkCount, checkDuration, invalidOption, regionPattern } from "./optionRules.ts"

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
  /** Default: the variable `AWS_REGION`, else that of the profile by which requests are made, else `us-east-1`. */
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

/** Which of AWS's hosts are meant. */
export interface Variants {
  /** Those that have addresses of IPv6 as well. */
  readonly isDualStack?: boolean
  /** Those with validated cryptography. */
  readonly isFips?: boolean
}

/** Connections at once, unless the options say otherwise. */
export const defaultMaxSockets = 64

/** How long connecting may take, unless the options say otherwise. */
export const defaultConnectTimeout: Duration.Input = "5 seconds"

/** The options but for the credentials, which a client may take in other forms as well. */
type Place = Omit<Options, "credentials">

interface WithCredentials {
  readonly credentials?: unknown
}

/** The first option that cannot be. */
export const checkOptions = (options: Place): StoreError | undefined =>
  checkBucket(options) ??
  checkEndpoint(options) ??
  checkCount("maxSockets", options.maxSockets, 1) ??
  checkDuration("connectTimeout", options.connectTimeout, "positive") ??
  checkDuration("requestTimeout", options.requestTimeout, "positive")

// Variables that are not set give options that TypeScript takes for texts.
const isMissing = (text: string | undefined): boolean => text === undefined || text === ""

const checkBucket = ({ bucket }: Place): StoreError | undefined => {
  if (isMissing(bucket)) return invalidOption("bucket", "a bucket is missing")
  return /[\s/]/.test(bucket) ? invalidOption("bucket", "this is no name of a bucket") : undefined
}

const checkRegion = (region: string): StoreError | undefined => {
  if (region === "") return invalidOption("region", "the region is empty: leave it out, or name one")
  return regionPattern.test(region)
    ? undefined
    : invalidOption("region", `${JSON.stringify(region)} is no name of a region, such as eu-west-1`)
}

/**
 * Names that no bucket of AWS has but those of before March 2018 in us-east-1, which are asked for in the path. Other stores have rules of
 * their own.
 */
export const checkNameOnAws = ({ bucket, endpoint }: Place, region: string): StoreError | undefined =>
  endpoint === undefined && region !== "us-east-1" && /[A-Z_]/.test(bucket)
    ? invalidOption(
        "bucket",
        `no bucket of AWS in ${region} has capitals or _ in its name: correct it, or name the endpoint of another store`
      )
    : undefined

/** Whether each part of the credentials is there. */
export const checkCredentials = (credentials: Credentials | undefined): StoreError | undefined => {
  if (credentials === undefined) return undefined
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const secrets = [secretAccessKey, ...(sessionToken === undefined ? [] : [sessionToken])]
  if (!secrets.every(Redacted.isRedacted)) {
    return invalidOption("credentials", "the secret key and the session token have to be redacted, as by Redacted.make")
  }
  return isMissing(accessKeyId) || secrets.some((secret) => isMissing(Redacted.value(secret)))
    ? invalidOption("credentials", "a part of the credentials is empty: leave them out for those of the default chain")
    : undefined
}

const checkEndpoint = ({ endpoint }: Place): StoreError | undefined => {
  if (endpoint === undefined) return undefined
  if (!URL.canParse(endpoint))
    return invalidOption("endpoint", "the endpoint is not a URL: write http:// or https://, a host and perhaps a port")
  const { hash, password, protocol, search, username } = new URL(endpoint)
  if (protocol !== "http:" && protocol !== "https:") {
    return invalidOption("endpoint", "the endpoint must begin with http:// or https://")
  }
  return username === "" && password === "" && search === "" && hash === ""
    ? undefined
    : invalidOption("endpoint", "the endpoint must not hold credentials, a query or a fragment")
}

type FindProfile = Effect.Effect<awsProfile.Profile | undefined, StoreError>

/** Whether the options leave it to the environment who makes the requests: then a profile says where as well. */
const profileOf = ({ credentials }: Place & WithCredentials): FindProfile =>
  credentials === undefined ? awsProfile.profile : Effect.undefined

const regionBy = ({ region }: Place, profile: FindProfile): Effect.Effect<string, StoreError> =>
  Effect.gen(function* () {
    const named = region ?? (yield* variable("AWS_REGION"))
    const found = named ?? (yield* profile)?.settings["region"] ?? "us-east-1"
    return yield* checkRegion(found) ?? Effect.succeed(found)
  })

/** The region of the options, else that of the environment or its profile, else the first of AWS. */
export const regionOf = (options: Place & WithCredentials): Effect.Effect<string, StoreError> =>
  regionBy(options, profileOf(options))

/** Where the environment, or its profile, sends requests whose options name no endpoint, as it does with the SDK. */
const placeBy = <A extends Place>(options: A, profile: FindProfile): Effect.Effect<A & Variants, StoreError> =>
  Effect.gen(function* () {
    if (options.endpoint !== undefined) return options
    const named = (yield* variable("AWS_ENDPOINT_URL_S3")) ?? (yield* variable("AWS_ENDPOINT_URL"))
    const { s3, settings } = (yield* profile) ?? { s3: {}, settings: {} }
    const isSwitchedOn = (name: string, setting: string): Effect.Effect<boolean> =>
      Effect.map(variable(name), (value) => (value ?? settings[setting]) === "true")
    const endpoint = (yield* isSwitchedOn("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls"))
      ? undefined
      : (named ?? s3["endpoint_url"] ?? settings["endpoint_url"])
    if (endpoint !== undefined) return { ...options, endpoint, forcePathStyle: options.forcePathStyle ?? false }
    const isDualStack = yield* isSwitchedOn("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
    const isFips = yield* isSwitchedOn("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
    return isDualStack || isFips ? { ...options, isDualStack, isFips } : options
  })

/** The options with the place that the environment names, and the region. A profile is read once, if it is needed. */
export const withEnvironment = Effect.fnUntraced(function* <A extends Place & WithCredentials>(given: A) {
  const profile = yield* Effect.cached(profileOf(given))
  const options = yield* placeBy(given, profile)
  return { options, region: yield* regionBy(options, profile) }
})

/** Where the bucket is, as a location of a store and in a sentence. Neither holds credentials. */
export const describePlace = (
  { bucket, endpoint }: Place,
  region: string
): { readonly location: string; readonly place: string } =>
  endpoint === undefined
    ? { location: `s3://${bucket}`, place: `bucket ${JSON.stringify(bucket)} on AWS (region ${region})` }
    : {
        location: `${endpoint.replace(/\/+$/, "")}/${bucket}`,
        place: `bucket ${JSON.stringify(bucket)} at ${endpoint}`
      }

/** Servers refuse what is signed 5 to 15 minutes off; a client learns the offset from every answer. */
export const noticeableSkewMillis = 240_000

/** What is said, once for each store, of a clock that goes wrong. `offset`: how much the store is ahead. */
export const warnOfClock = (location: string, offset: number): Effect.Effect<void> => {
  const minutes = Math.round(offset / 60_000)
  const where = `${Math.abs(minutes)} minutes ${minutes > 0 ? "behind" : "ahead of"}`
  return Effect.logWarning(
    `the clock of this machine is ${where} that of ${location}; requests are signed with the time of the store, but what is dated here is wrong: set the clock`
  )
}
