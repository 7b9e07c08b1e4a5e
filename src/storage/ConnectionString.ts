/**
 * A store named by one text, such as `s3://bucket/prefix` or `file:///var/data`, for configuration and command lines.
 *
 * | form | store |
 * |---|---|
 * | `s3://KEY:SECRET@bucket/prefix?region=eu-west-1` | Amazon S3; without credentials, the SDK's default chain |
 * | `https://KEY:SECRET@host:port/bucket/prefix` | a compatible store, bucket in the path (default `s3db`) |
 * | `file:///folder`, `file://./folder` | a folder; `?prefix=` puts everything below a prefix |
 * | `memory://name/prefix` | memory |
 *
 * Parts are percent-encoded as in every URL. Options are strict: one that is unknown, given twice or of the wrong type
 * is an error that names it.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as FileStore from "./FileStore.ts"
import type { RequestCounter } from "./InstrumentedStore.ts"
import type * as MemoryStore from "./MemoryStore.ts"
import type { ObjectStore } from "./ObjectStore.ts"
import type * as S3Store from "./S3Store.ts"
import * as StandardStore from "./StandardStore.ts"
import type { StoreError } from "./StoreError.ts"

/**
 * The text is no connection string. The message names the part or option at fault and never holds the text itself.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidConnectionString extends Schema.TaggedError<InvalidConnectionString>(
  "effect-s3db/storage/ConnectionString/InvalidConnectionString"
)("InvalidConnectionString", { problem: Schema.String }) {
  override get message(): string {
    return `invalid connection string: ${this.problem}`
  }
}

/**
 * What a connection string says.
 *
 * @category models
 * @since 0.1.0
 */
export type Parsed =
  | { readonly store: "s3"; readonly options: S3Store.Options }
  | { readonly store: "file"; readonly options: FileStore.Options & StandardStore.Options }
  | { readonly store: "memory"; readonly options: MemoryStore.Options & StandardStore.Options }

const BooleanText = Schema.Literals(["true", "false"])
const PositiveText = Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0))
const CountText = Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))

const standard = {
  /** Milliseconds for one request. */
  timeout: Schema.optionalKey(PositiveText),
  retries: Schema.optionalKey(CountText),
  /** Requests at once. */
  concurrency: Schema.optionalKey(PositiveText)
}

const S3Query = Schema.Struct({
  ...standard,
  region: Schema.optionalKey(Schema.NonEmptyString),
  endpoint: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^https?:\/\/./))),
  forcePathStyle: Schema.optionalKey(BooleanText),
  sessionToken: Schema.optionalKey(Schema.NonEmptyString),
  maxSockets: Schema.optionalKey(PositiveText)
})

const FileQuery = Schema.Struct({
  ...standard,
  prefix: Schema.optionalKey(Schema.String),
  durability: Schema.optionalKey(Schema.Literals(["fsync", "none"])),
  compression: Schema.optionalKey(Schema.Literals(["none", "gzip", "zstd"])),
  "compression.enabled": Schema.optionalKey(BooleanText)
})

const MemoryQuery = Schema.Struct({
  ...standard,
  profile: Schema.optionalKey(Schema.Literals(["aws", "r2", "rgw", "swift", "express", "unconditional"])),
  maxBytes: Schema.optionalKey(PositiveText),
  persistPath: Schema.optionalKey(Schema.NonEmptyString)
})

const invalid = (problem: string) => new InvalidConnectionString({ problem })

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** The options of a query, each once and of its type. */
const decodeQuery = Effect.fnUntraced(function* <T, E>(
  schema: Schema.Codec<T, E>,
  parameters: URLSearchParams
): Effect.fn.Return<T, InvalidConnectionString> {
  const options = new Map<string, string>()
  for (const [name, value] of parameters) {
    if (options.has(name)) return yield* invalid(`option ${JSON.stringify(name)} is given twice`)
    options.set(name, value)
  }
  const decoded = Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(
    Object.fromEntries(options)
  )
  if (Result.isSuccess(decoded)) return decoded.success
  const problems = formatIssue(decoded.failure.issue).issues.map((issue) => {
    const name = (issue.path ?? []).map((segment) => (typeof segment === "object" ? segment.key : segment)).join(".")
    return `option ${JSON.stringify(name)}: ${issue.message}`
  })
  return yield* invalid(problems.join("; "))
})

const decodePart = Effect.fnUntraced(function* (what: string, text: string) {
  return yield* Effect.try({
    try: () => decodeURIComponent(text),
    catch: () => invalid(`the ${what} is not percent-encoded as in a URL`)
  })
})

const credentialsOf = Effect.fnUntraced(function* (url: URL, sessionToken: string | undefined) {
  if (url.username === "" && url.password === "") {
    if (sessionToken === undefined) return {}
    return yield* invalid(`option "sessionToken" needs an access key and a secret`)
  }
  if (url.username === "" || url.password === "") return yield* invalid("an access key and a secret belong together")
  return {
    credentials: {
      accessKeyId: yield* decodePart("access key", url.username),
      secretAccessKey: Redacted.make(yield* decodePart("secret", url.password)),
      ...(sessionToken === undefined ? {} : { sessionToken: Redacted.make(sessionToken) })
    }
  }
})

const standardOptions = (
  { timeout, retries, concurrency }: { timeout?: number; retries?: number; concurrency?: number },
  prefix: string | undefined
): StandardStore.Options => ({
  ...(timeout === undefined ? {} : { timeout }),
  ...(retries === undefined ? {} : { retries }),
  ...(concurrency === undefined ? {} : { concurrency }),
  ...(prefix === undefined || prefix === "" ? {} : { prefix })
})

const parseS3 = Effect.fnUntraced(function* (
  url: URL,
  compatible: boolean
): Effect.fn.Return<Parsed, InvalidConnectionString> {
  const query = yield* decodeQuery(S3Query, url.searchParams)
  if (compatible && query.endpoint !== undefined) {
    return yield* invalid(`option "endpoint" belongs to s3://, the endpoint is in the URL already`)
  }
  const path = yield* Effect.forEach(
    url.pathname.split("/").filter((segment) => segment !== ""),
    (segment) => decodePart("path", segment)
  )
  const host = yield* decodePart("bucket", url.hostname)
  if (!compatible && host === "") return yield* invalid("a bucket is missing: s3://bucket/prefix")
  const [bucket = "s3db", ...rest] = compatible ? path : [host, ...path]
  const endpoint = compatible ? url.origin : query.endpoint
  const { forcePathStyle, region, maxSockets } = query
  return {
    store: "s3",
    options: {
      bucket,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(forcePathStyle === undefined ? {} : { forcePathStyle: forcePathStyle === "true" }),
      ...(maxSockets === undefined ? {} : { maxSockets }),
      ...(yield* credentialsOf(url, query.sessionToken)),
      ...standardOptions(query, rest.join("/"))
    }
  }
})

const parseFile = Effect.fnUntraced(function* (text: string): Effect.fn.Return<Parsed, InvalidConnectionString> {
  // Not a URL to the letter: `file://./folder` is relative.
  const [location = "", query = ""] = text.slice("file://".length).split(/\?(.*)/s)
  const path = yield* decodePart("path", location)
  if (path === "" || path.includes("\0"))
    return yield* invalid("a folder is missing: file:///folder or file://./folder")
  if (!/^(\/|\.\.?(\/|$))/.test(path)) {
    return yield* invalid("a folder is absolute, as in file:///folder, or begins with a dot, as in file://./folder")
  }
  const options = yield* decodeQuery(FileQuery, new URLSearchParams(query))
  const { "compression.enabled": enabled, durability } = options
  const compression = options.compression ?? (enabled === "true" ? "gzip" : undefined)
  return {
    store: "file",
    options: {
      path,
      ...(durability === undefined ? {} : { durability }),
      ...(compression === undefined ? {} : { compression }),
      ...standardOptions(options, options.prefix)
    }
  }
})

const parseMemory = Effect.fnUntraced(function* (url: URL): Effect.fn.Return<Parsed, InvalidConnectionString> {
  const options = yield* decodeQuery(MemoryQuery, url.searchParams)
  const { profile, maxBytes, persistPath } = options
  const prefix = yield* decodePart("path", url.pathname.replace(/^\/+|\/+$/g, ""))
  return {
    store: "memory",
    options: {
      ...(profile === undefined ? {} : { profile }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(persistPath === undefined ? {} : { persistPath }),
      ...standardOptions(options, prefix)
    }
  }
})

/**
 * Reads a connection string. No request, and no store is loaded.
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = Effect.fnUntraced(function* (
  connection: string | Redacted.Redacted
): Effect.fn.Return<Parsed, InvalidConnectionString> {
  const text = Redacted.isRedacted(connection) ? Redacted.value(connection) : connection
  if (text.startsWith("file://")) return yield* parseFile(text)
  const url = URL.parse(text)
  if (url === null) return yield* invalid("it is no URL; write s3://, https://, http://, file:// or memory://")
  if (url.hash !== "") return yield* invalid("a # in a part of it must be written as %23")
  switch (url.protocol) {
    case "s3:":
      return yield* parseS3(url, false)
    case "http:":
    case "https:":
      return yield* parseS3(url, true)
    case "memory:":
      return yield* parseMemory(url)
    default:
      return yield* invalid(
        `${JSON.stringify(url.protocol)} is no kind of store; write s3://, https://, http://, file:// or memory://`
      )
  }
})

/** Loads the module of the store, and no other. */
const layerOf = (parsed: Parsed): Effect.Effect<Layer.Layer<ObjectStore | RequestCounter, StoreError>> => {
  switch (parsed.store) {
    case "s3":
      return Effect.map(
        Effect.promise(() => import("./S3Store.ts")),
        (module) => module.layer(parsed.options)
      )
    case "file":
      return Effect.map(
        Effect.promise(() => import("./FileStore.ts")),
        (module) => StandardStore.layer(parsed.options).pipe(Layer.provide(module.layer(parsed.options)))
      )
    case "memory":
      return Effect.map(
        Effect.promise(() => import("./MemoryStore.ts")),
        (module) => StandardStore.layer(parsed.options).pipe(Layer.provide(module.layerWith(parsed.options)))
      )
  }
}

/**
 * The store that a connection string names, with the usual decorators. Bind the result to a constant.
 *
 * Fails with `InvalidConnectionString`, or `StoreError` when the store cannot be opened.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  connection: string | Redacted.Redacted
): Layer.Layer<ObjectStore | RequestCounter, InvalidConnectionString | StoreError> =>
  Layer.unwrap(Effect.flatMap(parse(connection), layerOf))

/**
 * The store that a configuration value names. Default: `S3DB_URL`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Config<Redacted.Redacted> = Config.Redacted("S3DB_URL")
): Layer.Layer<ObjectStore | RequestCounter, InvalidConnectionString | StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(config, layer))
