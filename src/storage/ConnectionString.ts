/**
 * Where the data is, in one line of text.
 *
 * - `s3://KEY:SECRET@bucket/prefix?region=eu-west-1`: a bucket on AWS; without `KEY:SECRET@`, the credentials of the
 *   AWS SDK's default chain. `?endpoint=` for another server.
 * - `http://KEY:SECRET@host:9000/bucket/prefix`, `https://...`: a bucket on a server that speaks S3, the bucket in the
 *   path.
 * - `file:///absolute/folder`, `file://./relative/folder`: the whole path is the folder; `?prefix=` for a part of it.
 * - `memory://bucket/prefix?profile=aws`: in memory, an empty store of its own.
 *
 * `?createBucket=true` with the first two makes a bucket that is not there yet; `?client=sdk` opens them by `S3Store` (the AWS SDK)
 * instead of `S3HttpStore`.
 *
 * Credentials, bucket, prefix and path are percent-encoded: write `/` in a secret as `%2F`. Options come after `?`; one
 * that the scheme does not know, that is given twice or that has a wrong type is an error, which shows nothing of the string.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { hasDots, regionPattern } from "./internal/optionRules.ts"
import type { RequestCounter } from "./InstrumentedStore.ts"
import type { Profile } from "./MemoryStore.ts"
import type { ObjectStore } from "./ObjectStore.ts"
import type * as S3Store from "./S3Store.ts"
import * as StandardStore from "./StandardStore.ts"
import type { StoreError } from "./StoreError.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { nearest } from "../internal/nearest.ts"

/**
 * A connection string that cannot be understood. `option` names the part at fault; neither it nor the description holds
 * anything of the string but the names of options that there are: what looks like another one may be the rest of a secret.
 *
 * @remedy Correct the part that `option` names; `docs/guide/connecting.md` has all parts, and the characters that
 * have to be percent-encoded.
 * @category errors
 * @since 0.1.0
 */
export class InvalidConnectionString extends ExpectedError<InvalidConnectionString>(
  "effect-s3db/storage/ConnectionString/InvalidConnectionString"
)("InvalidConnectionString", { option: Schema.String, description: Schema.String }) {
  override get message(): string {
    return `invalid connection string: ${this.option}: ${this.description}`
  }
}

/**
 * Options of every scheme.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommonOptions {
  /** Everything is kept below this prefix. `""`: none. */
  readonly prefix: string
  /** `timeout`: how long one attempt may take, in milliseconds or with a unit (`30 seconds`). */
  readonly timeout?: Duration.Duration
  /** `retryFor`: how long a request is tried again after it has failed, like `timeout`. `0`: not at all. */
  readonly retryFor?: Duration.Duration
  /** `retries`: how often a request is tried again at most. */
  readonly retries?: number
  /** `concurrency`: requests at once. */
  readonly concurrency?: number
}

/**
 * A bucket on AWS or on a server that speaks S3.
 *
 * @category models
 * @since 0.1.0
 */
export interface S3 {
  readonly _tag: "S3"
  /**
   * Options in the string: `region`, `forcePathStyle`, `sessionToken`, `maxSockets`, `connectTimeout`, `createBucket`, `client`,
   * `transport`; with `s3://` also `endpoint`.
   */
  readonly options: CommonOptions &
    S3Store.Options & {
      /**
       * `client`: who speaks to the store, this library itself (`http`: `S3HttpStore`) or the AWS SDK (`sdk`: `S3Store`). Default:
       * `http`, but `sdk` for a directory bucket.
       */
      readonly client?: "sdk" | "http"
      /** `transport`, not with `client=sdk`: how requests are sent, `node`, `undici` or `fetch`. */
      readonly transport?: "node" | "undici" | "fetch"
    }
}

/**
 * A folder.
 *
 * @category models
 * @since 0.1.0
 */
export interface File {
  readonly _tag: "File"
  readonly options: CommonOptions & {
    readonly path: string
    /** `durability`: `fsync` or `none`. */
    readonly durability?: "fsync" | "none"
    /** `compression`: `none`, `gzip` or `zstd`; `compression.enabled=true` means `gzip`. */
    readonly compression?: "none" | "gzip" | "zstd"
  }
}

/**
 * Memory: an empty store of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Memory {
  readonly _tag: "Memory"
  /** A name for people: two stores in memory share nothing. */
  readonly bucket: string
  readonly options: CommonOptions & {
    readonly profile?: Profile
    /** `maxBytes`: the most bytes of bodies. */
    readonly maxBytes?: number
    /** `persistPath`: a file to load at the start and to save at the end. */
    readonly persistPath?: string
  }
}

/**
 * The meaning of a connection string: the options of the store it names.
 *
 * @category models
 * @since 0.1.0
 */
export type Parsed = S3 | File | Memory

const BooleanText = Schema.Literals(["true", "false"]).pipe(
  Schema.decodeTo(
    Schema.Boolean,
    SchemaTransformation.transform({ decode: (text) => text === "true", encode: (on) => (on ? "true" : "false") })
  )
)

const number = SchemaTransformation.transform({
  decode: (text: string) => Number(text),
  encode: (value: number) => String(value)
})

const CountText = Schema.String.check(Schema.isPattern(/^\d{1,15}$/, { expected: "a whole number" })).pipe(
  Schema.decodeTo(Schema.Int, number)
)

const PositiveText = Schema.String.check(
  Schema.isPattern(/^[1-9]\d{0,14}$/, { expected: "a positive whole number" })
).pipe(Schema.decodeTo(Schema.Int, number))

const durationText = /^\d+(\.\d+)?( (millis|milliseconds?|seconds?|minutes?))?$/

const DurationText = Schema.String.check(
  Schema.isPattern(durationText, { expected: "milliseconds, or a number and a unit such as `30 seconds`" })
).pipe(
  Schema.decodeTo(
    Schema.DurationFromString,
    SchemaTransformation.transform({
      decode: (text) => (text.includes(" ") ? text : `${text} millis`),
      encode: (text) => text
    })
  )
)

const SomeTimeText = DurationText.check(
  Schema.makeFilter((duration) => Duration.toMillis(duration) > 0, { expected: "more than no time" })
)

const NonEmpty = Schema.String.check(Schema.isMinLength(1, { expected: "a value" }))

const Region = Schema.String.check(Schema.isPattern(regionPattern, { expected: "the name of a region" }))

const Compression = Schema.Union([
  Schema.Literals(["none", "gzip", "zstd"]),
  Schema.Struct({ enabled: BooleanText }).pipe(
    Schema.decodeTo(
      Schema.Literals(["none", "gzip"]),
      SchemaTransformation.transform({
        decode: ({ enabled }) => (enabled ? "gzip" : "none"),
        encode: (algorithm) => ({ enabled: algorithm !== "none" })
      })
    )
  )
])

const common = {
  timeout: Schema.optionalKey(SomeTimeText),
  retryFor: Schema.optionalKey(DurationText),
  retries: Schema.optionalKey(CountText),
  concurrency: Schema.optionalKey(PositiveText)
}

const s3Server = {
  ...common,
  region: Schema.optionalKey(Region),
  forcePathStyle: Schema.optionalKey(BooleanText),
  sessionToken: Schema.optionalKey(NonEmpty),
  maxSockets: Schema.optionalKey(PositiveText),
  connectTimeout: Schema.optionalKey(SomeTimeText),
  createBucket: Schema.optionalKey(BooleanText),
  client: Schema.optionalKey(Schema.Literals(["sdk", "http"])),
  transport: Schema.optionalKey(Schema.Literals(["node", "undici", "fetch"]))
}

const HttpOptions = Schema.Struct(s3Server)

const S3Options = Schema.Struct({ ...s3Server, endpoint: Schema.optionalKey(NonEmpty) })

const MemoryOptions = Schema.Struct({
  ...common,
  profile: Schema.optionalKey(Schema.Literals(["aws", "r2", "rgw", "swift", "express", "unconditional"])),
  maxBytes: Schema.optionalKey(PositiveText),
  persistPath: Schema.optionalKey(NonEmpty)
})

const FileOptions = Schema.Struct({
  ...common,
  prefix: Schema.optionalKey(NonEmpty),
  durability: Schema.optionalKey(Schema.Literals(["fsync", "none"])),
  compression: Schema.optionalKey(Compression)
})

const invalid = (option: string, description: string) => new InvalidConnectionString({ option, description })

type Outcome<A> = Result.Result<A, InvalidConnectionString>

const fail = (option: string, description: string): Outcome<never> => Result.fail(invalid(option, description))

interface Tree {
  [name: string]: string | Tree
}

const emptyTree = (): Tree => Object.create(null) as Tree

const reserved = new Set(["__proto__", "constructor", "prototype"])

/** The part of a name that is no part of a secret, since there is such an option. */
const shown = (path: ReadonlyArray<string>, known: ReadonlySet<string>): string => {
  const whole = path.join(".")
  if (known.has(whole)) return whole
  const [head = ""] = path
  return known.has(head) ? head : "options"
}

/** Options as they are written, where `a.b=1` is `{ a: { b: "1" } }`. */
const readOptions = (query: string, known: ReadonlySet<string>): Outcome<Tree> => {
  const tree = emptyTree()
  for (const [name, value] of new URLSearchParams(query)) {
    const path = name.split(".")
    if (path.some((part) => reserved.has(part) || !/^[A-Za-z][A-Za-z0-9]*$/.test(part))) {
      return fail(reserved.has(path[0]!) ? path[0]! : "options", "an option has a name that no option has")
    }
    let place = tree
    for (const part of path.slice(0, -1)) {
      const inner = (place[part] ??= emptyTree())
      if (typeof inner === "string") return fail(shown(path, known), "this option is given twice")
      place = inner
    }
    const last = path.at(-1)!
    if (last in place) return fail(shown(path, known), "this option is given twice")
    place[last] = value
  }
  return Result.succeed(tree)
}

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

/** An option with options of its own. */
const nested = ["compression.enabled"]

const decodeOptions = <A>(
  schema: Schema.Codec<A, unknown> & { readonly fields: Readonly<Record<string, unknown>> },
  query: string
): Outcome<A> => {
  const decode = Schema.decodeUnknownResult(schema)
  const names = Object.keys(schema.fields)
  const known = new Set([...names, ...nested.filter((name) => names.includes(name.split(".")[0]!))])
  return Result.flatMap(readOptions(query, known), (tree) =>
    Result.mapError(decode(tree, { onExcessProperty: "error" }), (error) => {
      const issue = issuesOf(error.issue).issues[0]
      const path = (issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part))
      const unknown = issue?.message === "Expected no excess property"
      // Only the name of an option is said: what looks like another one may be the rest of a secret.
      const meant = unknown ? nearest(path.join("."), known) : undefined
      const perhaps = meant === undefined ? "" : ` (did you mean ${meant}?)`
      const there = `there is no such option here${perhaps}; there are ${[...known].join(", ")}`
      return invalid(shown(path, known), unknown ? there : (issue?.message ?? "it is not what it should be"))
    })
  )
}

const decodeText = (part: string, text: string): Outcome<string> => {
  try {
    const decoded = decodeURIComponent(text)
    return decoded.includes("\0") ? fail(part, "it holds a NUL character") : Result.succeed(decoded)
  } catch {
    return fail(part, "it is not percent-encoded: write % as %25")
  }
}

const bucketName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/

/** `example` is what to write where there is none. */
const readBucket = (text: string, example: string): Outcome<string> => {
  if (text === "") return fail("bucket", `a bucket is missing: write ${example}`)
  return Result.flatMap(decodeText("bucket", text), (bucket) =>
    bucketName.test(bucket) ? Result.succeed(bucket) : fail("bucket", `this is no name of a bucket; ${encodedAs}`)
  )
}

const encodedAs = "are / and @ in the credentials percent-encoded, as %2F and %40?"

const readPrefix = (text: string): Outcome<string> => Result.flatMap(decodeText("prefix", text), checkedPrefix)

const checkedPrefix = (prefix: string): Outcome<string> =>
  hasDots(prefix)
    ? fail("prefix", "it must not have . or .. between slashes: write the place itself")
    : Result.succeed(prefix.replace(/^\/+|\/+$/g, ""))

/** `user:secret@host/path` in its parts, none of them decoded. */
const splitAuthority = (text: string) => {
  const slash = text.indexOf("/")
  const authority = slash < 0 ? text : text.slice(0, slash)
  const at = authority.lastIndexOf("@")
  return {
    user: at < 0 ? undefined : authority.slice(0, at),
    host: authority.slice(at + 1),
    path: slash < 0 ? "" : text.slice(slash + 1)
  }
}

const readCredentials = (
  user: string | undefined,
  sessionToken: string | undefined
): Outcome<{ readonly credentials?: S3Store.Credentials }> => {
  if (user === undefined) {
    return sessionToken === undefined
      ? Result.succeed({})
      : fail("sessionToken", "a session token needs an access key and a secret key")
  }
  const colon = user.indexOf(":")
  if (colon <= 0 || colon === user.length - 1) return fail("credentials", "they are written KEY:SECRET@")
  return Result.gen(function* () {
    const accessKeyId = yield* decodeText("credentials", user.slice(0, colon))
    const secret = yield* decodeText("credentials", user.slice(colon + 1))
    return {
      credentials: {
        accessKeyId,
        secretAccessKey: Redacted.make(secret, { label: "secretAccessKey" }),
        ...(sessionToken === undefined ? {} : { sessionToken: Redacted.make(sessionToken, { label: "sessionToken" }) })
      }
    }
  })
}

/** An option that would do nothing is a mistake. */
const checkTransport = ({ client, transport }: Pick<S3["options"], "client" | "transport">): Outcome<void> =>
  transport === undefined || client !== "sdk"
    ? Result.succeed(undefined)
    : fail("transport", "the AWS SDK has its own: leave it out, or client=sdk")

const parseS3 = (rest: string, query: string): Outcome<S3> =>
  Result.gen(function* () {
    const { host, path, user } = splitAuthority(rest)
    const bucket = yield* readBucket(host, "s3://bucket or s3://bucket/prefix")
    const { endpoint, sessionToken, ...options } = yield* decodeOptions(S3Options, query)
    yield* checkTransport(options)
    const origin = endpoint === undefined ? {} : { endpoint: yield* readOrigin("endpoint", endpoint) }
    const credentials = yield* readCredentials(user, sessionToken)
    const prefix = yield* readPrefix(path)
    return { _tag: "S3" as const, options: { ...options, ...origin, ...credentials, bucket, prefix } }
  })

const parseHttp = (scheme: string, rest: string, query: string): Outcome<S3> =>
  Result.gen(function* () {
    const { host, path, user } = splitAuthority(rest)
    const isCut = user === undefined && path.includes("@")
    const endpoint = yield* Result.mapError(readOrigin("host", `${scheme}://${host}`), (error) =>
      isCut ? invalid("host", `${error.description}; ${encodedAs}`) : error
    )
    const slash = path.indexOf("/")
    const first = slash < 0 ? path : path.slice(0, slash)
    const bucket = yield* readBucket(first, `${scheme}://host/bucket or ${scheme}://host/bucket/prefix`)
    const prefix = slash < 0 ? "" : yield* readPrefix(path.slice(slash + 1))
    const { sessionToken, ...options } = yield* decodeOptions(HttpOptions, query)
    yield* checkTransport(options)
    const credentials = yield* readCredentials(user, sessionToken)
    return {
      _tag: "S3" as const,
      options: { forcePathStyle: true, ...options, ...credentials, endpoint, bucket, prefix }
    }
  })

const readOrigin = (option: string, text: string): Outcome<string> => {
  const wrong = fail(option, "it must be http:// or https://, a host and perhaps a port")
  if (!URL.canParse(text)) return wrong
  const { hash, origin, password, pathname, protocol, search, username } = new URL(text)
  const bare = hash === "" && password === "" && pathname === "/" && search === "" && username === ""
  return bare && (protocol === "http:" || protocol === "https:") ? Result.succeed(origin) : wrong
}

const parseMemory = (rest: string, query: string): Outcome<Memory> =>
  Result.gen(function* () {
    const { host, path, user } = splitAuthority(rest)
    if (user !== undefined) return yield* fail("credentials", "a store in memory has none")
    const bucket = host === "" ? "s3db" : yield* readBucket(host, "memory://name")
    const prefix = yield* readPrefix(path)
    const options = yield* decodeOptions(MemoryOptions, query)
    return { _tag: "Memory" as const, bucket, options: { ...options, prefix } }
  })

const parseFile = (rest: string, query: string): Outcome<File> =>
  Result.gen(function* () {
    if (rest === "") return yield* fail("path", "a folder is missing: file:///absolute or file://./relative")
    if (rest.startsWith("~")) return yield* fail("path", "~ is not expanded here: write the whole path")
    if (!/^(\/|\.\.?(\/|$))/.test(rest)) {
      return yield* fail("path", "a folder on another host cannot be opened: file:///absolute or file://./relative")
    }
    const decoded = yield* decodeText("path", rest)
    // A drive letter comes after the slash that ends the empty host.
    const path = /^\/[A-Za-z]:\//.test(decoded) ? decoded.slice(1) : decoded
    const { prefix = "", ...options } = yield* decodeOptions(FileOptions, query)
    return { _tag: "File" as const, options: { ...options, path, prefix: yield* checkedPrefix(prefix) } }
  })

/**
 * Reads a connection string. Loads no store and makes no request. Fails with `InvalidConnectionString`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const parse = (url: string | Redacted.Redacted<string>): Effect.Effect<Parsed, InvalidConnectionString> =>
  Effect.suspend(() => Effect.fromResult(parseText(typeof url === "string" ? url : Redacted.value(url))))

const parseText = (url: string): Outcome<Parsed> => {
  const scheme = /^([A-Za-z0-9+.-]+):\/\//.exec(url)
  const schemes = "it must begin with s3://, http://, https://, file:// or memory://"
  if (scheme === null) return fail("scheme", schemes)
  if (url.includes("#")) return fail("fragment", "there is none: write # as %23")
  const question = url.indexOf("?")
  const rest = url.slice(scheme[0].length, question < 0 ? undefined : question)
  const query = question < 0 ? "" : url.slice(question + 1)
  // The rest of a secret with a question mark in it, whose parts must not show up as names of options.
  if (query.includes("@")) return fail("options", "write ? in the credentials as %3F, and @ in an option as %40")
  const name = scheme[1]!.toLowerCase()
  switch (name) {
    case "s3":
      return parseS3(rest, query)
    case "http":
    case "https":
      return parseHttp(name, rest, query)
    case "memory":
      return parseMemory(rest, query)
    case "file":
      return parseFile(rest, query)
    default:
      return fail("scheme", schemes)
  }
}

/**
 * Creates the store at a connection string, with retries, a time limit for each attempt, a limit on concurrent requests
 * and a count of requests. Only the store that is needed is loaded. No request is made when it is built.
 *
 * Fails with `InvalidConnectionString`, or with what the store itself reports, such as a folder that cannot be opened.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  url: string | Redacted.Redacted<string>
): Layer.Layer<ObjectStore | RequestCounter, InvalidConnectionString | StoreError> =>
  Layer.unwrap(Effect.flatMap(parse(url), layerOf))

/** Directory buckets take sessions, which only the SDK has. */
const clientOf = ({ bucket, client, endpoint }: S3["options"]): "sdk" | "http" =>
  client ?? (bucket.endsWith("--x-s3") && endpoint === undefined ? "sdk" : "http")

const layerOf = (parsed: Parsed): Effect.Effect<Layer.Layer<ObjectStore | RequestCounter, StoreError>> => {
  switch (parsed._tag) {
    case "S3":
      return clientOf(parsed.options) === "http"
        ? Effect.map(
            Effect.promise(() => import("./S3HttpStore.ts")),
            (S3HttpStore) => S3HttpStore.layer(parsed.options)
          )
        : Effect.map(
            Effect.promise(() => import("./S3Store.ts")),
            (S3Store) => S3Store.layer(parsed.options)
          )
    case "File":
      return Effect.map(
        Effect.promise(() => import("./FileStore.ts")),
        (FileStore) => StandardStore.layerWith(parsed.options).pipe(Layer.provide(FileStore.layer(parsed.options)))
      )
    case "Memory":
      return Effect.map(
        Effect.promise(() => import("./MemoryStore.ts")),
        (MemoryStore) =>
          // It answers at once.
          StandardStore.layerWith({ timeout: "Infinity", ...parsed.options }).pipe(
            Layer.provide(MemoryStore.layerWith(parsed.options))
          )
      )
  }
}

/**
 * Creates `layer` with a connection string from the configuration. Default: `S3DB_URL`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Config<Redacted.Redacted<string>> = Config.Redacted("S3DB_URL")
): Layer.Layer<ObjectStore | RequestCounter, InvalidConnectionString | StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(config, layer))
