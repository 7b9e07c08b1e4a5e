/**
 * Keys by which programs say on whose behalf they ask: random, shown once, and kept as a digest.
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ApiKeys from "effect-s3db/http/ApiKeys"
 *
 * const program = Effect.gen(function* () {
 *   const keys = yield* ApiKeys.ApiKeys
 *   const { key } = yield* keys.issue({ user: "nightly-import", scopes: ["orders:write"] })
 *   return yield* keys.verify(key) // { id: "nightly-import", scopes: ["orders:write"], ... }
 * })
 * ```
 *
 * **Details**
 *
 * A key is `s3db_ID_SECRET`: the id of its document, and 256 random bits. The document has the SHA-256 of the secret; of so many random bits
 * nobody finds them by trying, so that no slow hash is needed (unlike for passwords). Whoever can read the resource learns no key. It is the
 * plugin's own, `plg_apikeys_keys`, and is in no export that does not name it.
 *
 * @since 0.1.0
 */
import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { millisecondsOf } from "../internal/duration.ts"
import * as CurrentUser from "../CurrentUser.ts"
import * as Id from "../crypto/Id.ts"
import type { Database } from "../Database.ts"
import type * as DbError from "../DbError.ts"
import { sameBytes } from "../internal/bytes.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { sha256 } from "../internal/sha256.ts"
import * as Plugin from "../Plugin.ts"
import type * as Repository from "../Repository.ts"
import * as Resource from "../Resource.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * A key that does not count: nobody issued it, or it was revoked, or its time is over.
 *
 * @remedy Ask for a new key. The caller is told no more; `why` is for the program's log.
 * @category errors
 * @since 0.1.0
 */
export class InvalidApiKey extends ExpectedError<InvalidApiKey>("effect-s3db/http/ApiKeys/InvalidApiKey")(
  "InvalidApiKey",
  { why: Schema.Literals(["Malformed", "Unknown", "Revoked", "Expired"]) },
  { httpApiStatus: 401 }
) {
  override get message(): string {
    return `the API key does not count: ${this.why}`
  }
}

/**
 * What cannot be the description of a key, or an option of the layer. Nothing was written.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidApiKeys extends ExpectedError<InvalidApiKeys>("effect-s3db/http/ApiKeys/InvalidApiKeys")(
  "InvalidApiKeys",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `API keys, ${this.field}: ${this.problem}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

const Texts = Schema.Array(Schema.String)

const Stored = Schema.Struct({
  id: Schema.String,
  /** SHA-256 of the secret, hexadecimal. */
  digest: Schema.String,
  user: Schema.NonEmptyString,
  name: Schema.String,
  roles: Texts,
  scopes: Texts,
  expiresAt: Schema.optionalKey(Schema.Date),
  revokedAt: Schema.optionalKey(Schema.Date),
  usedAt: Schema.optionalKey(Schema.Date),
  issuedAt: Schema.Date
})

type Stored = typeof Stored.Type

/**
 * A key, without what it consists of.
 *
 * @category models
 * @since 0.1.0
 */
export type ApiKey = Omit<Stored, "digest">

/**
 * What a key is for.
 *
 * @category models
 * @since 0.1.0
 */
export type IssueOptions = KeyOptions &
  (
    | {
        /** The id of the user that requests by this key are of. */
        readonly user: string
        readonly service?: undefined
      }
    | {
        /** The name of a service account: a program that is no user. Its id is `service:NAME`, which no user can have. */
        readonly service: string
        readonly user?: undefined
      }
  )

/**
 * What a key may have, whoever it is of.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyOptions {
  /** For people, to tell keys apart. Default: empty. */
  readonly name?: string | undefined
  readonly roles?: ReadonlyArray<string> | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Default: it counts until it is revoked. */
  readonly expiresIn?: Duration.Input | undefined
}

const servicePrefix = "service:"

/**
 * Tells whether somebody is a service account: a program with a key of its own, and no user.
 *
 * @category guards
 * @since 0.1.0
 */
export const isServiceAccount = ({ claims }: CurrentUser.User): boolean => claims["serviceAccount"] === true

/**
 * Options of the layer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Tells instances apart that keep keys of their own. Default: none. */
  readonly namespace?: string | undefined
  /**
   * How long a key that counted is taken to count without looking again, in this process: as long a revoked one may go on. Default: 0, so that
   * each `verify` makes 1 GET.
   */
  readonly cacheFor?: Duration.Input | undefined
  /** `usedAt` is written when it is older than that, 1 GET and 1 PUT. Default: 1 hour; `"Infinity"` never writes it. */
  readonly noteUseEach?: Duration.Input | undefined
}

/**
 * The keys of a database.
 *
 * @category services
 * @since 0.1.0
 */
export class ApiKeys extends Context.Service<
  ApiKeys,
  {
    /** Makes a key. `key` is what the caller has to keep: it can be had at no other time. 1 PUT. */
    readonly issue: (
      options: IssueOptions
    ) => Effect.Effect<
      { readonly key: Redacted.Redacted<string>; readonly issued: ApiKey },
      InvalidApiKeys | Repository.InsertError
    >
    /** Returns whom a key is of. 1 GET, unless it is known (`cacheFor`). */
    readonly verify: (
      key: Redacted.Redacted<string>
    ) => Effect.Effect<CurrentUser.User, InvalidApiKey | Repository.ReadError>
    /** Makes a key count no longer; it stays in the list. `false`: there is none of this id. 1 GET and 1 PUT. */
    readonly revoke: (id: string) => Effect.Effect<boolean, Repository.ChangeError>
    /** The keys of a user, or all of them: 1 LIST for each 1,000, 1 GET for each. */
    readonly list: (user?: string) => Stream.Stream<ApiKey, Repository.ListError>
  }
>()("effect-s3db/http/ApiKeys") {}

/**
 * The plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("apikeys", { version: 1 })

// -----------------------------------------------------------------------------
// Layer
// -----------------------------------------------------------------------------

const prefix = "s3db"
const form = /^s3db_([0-9A-Za-z_-]{22})_([0-9A-Za-z_-]{43})$/
const secretLength = 43

const digestOf = (secret: string): Uint8Array => sha256(new TextEncoder().encode(secret))

const apiKeyOf = ({ digest: _, ...rest }: Stored): ApiKey => rest

const millisOf = (field: string, given: Duration.Input) => {
  const millis = millisecondsOf(given)
  return Number.isNaN(millis)
    ? Effect.fail(new InvalidApiKeys({ field, problem: "this is no duration" }))
    : Effect.succeed(millis)
}

const checkTexts = (field: string, texts: ReadonlyArray<string>) =>
  texts.includes("") ? Effect.fail(new InvalidApiKeys({ field, problem: "one of them is empty" })) : Effect.void

const make = Effect.fnUntraced(function* ({ cacheFor = 0, namespace, noteUseEach = "1 hour" }: Options) {
  const cachedMillis = yield* millisOf("cacheFor", cacheFor)
  const notedMillis = yield* millisOf("noteUseEach", noteUseEach)
  const instance = yield* Plugin.open(plugin, namespace === undefined ? {} : { namespace })
  const documents = yield* Resource.make(
    Resource.define(instance.resourceName("keys"), {
      schema: Stored,
      primaryKey: "id",
      scan: true,
      partitions: { byUser: ["user"] }
    })
  )

  const read = Effect.fnUntraced(function* (
    id: string
  ): Effect.fn.Return<Stored, InvalidApiKey | Repository.ReadError> {
    return yield* Effect.catchTag(documents.get(id), "NotFound", () => new InvalidApiKey({ why: "Unknown" }))
  })
  const cache = yield* Cache.makeWith(read, {
    capacity: 10_000,
    timeToLive: (exit) => (exit._tag === "Success" ? cachedMillis : 0)
  })
  const find = cachedMillis > 0 ? (id: string) => Cache.get(cache, id) : read

  /** Who does not get to write it has lost nothing: the next one does. */
  const noteUse = ({ id, usedAt }: Stored, now: number) =>
    now - (usedAt?.getTime() ?? -Infinity) < notedMillis
      ? Effect.void
      : documents.update(id, { usedAt: new Date(now) }, { retries: 0 }).pipe(
          Effect.catchTag(["Conflict", "NotFound"], () => Effect.void),
          Effect.catch((error) => Effect.logWarning("the use of an API key could not be noted", error)),
          Effect.andThen(Cache.invalidate(cache, id))
        )

  yield* instance.running()
  return ApiKeys.of({
    issue: Effect.fn("ApiKeys.issue")(function* ({
      expiresIn,
      name = "",
      roles = [],
      scopes = [],
      service,
      user: person
    }) {
      if (person === "") return yield* new InvalidApiKeys({ field: "user", problem: "it is empty" })
      if (service === "") return yield* new InvalidApiKeys({ field: "service", problem: "it is empty" })
      if (person?.startsWith(servicePrefix) === true) {
        return yield* new InvalidApiKeys({
          field: "user",
          problem: "this is a service account: give its name as service"
        })
      }
      const user = person ?? `${servicePrefix}${service}`
      yield* checkTexts("roles", roles)
      yield* checkTexts("scopes", scopes)
      const now = yield* Clock.currentTimeMillis
      const lifetime = expiresIn === undefined ? Infinity : yield* millisOf("expiresIn", expiresIn)
      if (!(lifetime > 0)) return yield* new InvalidApiKeys({ field: "expiresIn", problem: "it is over already" })
      const id = yield* Id.random
      const secret = yield* Id.randomOf(secretLength)
      const issued = yield* documents.insert({
        id,
        digest: Hex.encode(digestOf(secret)),
        user,
        name,
        roles,
        scopes,
        issuedAt: new Date(now),
        ...(Number.isFinite(lifetime) ? { expiresAt: new Date(now + lifetime) } : {})
      })
      const key = Redacted.make(`${prefix}_${id}_${secret}`, { label: "API key" })
      return { key, issued: apiKeyOf(issued) }
    }),
    verify: Effect.fn("ApiKeys.verify")(function* (key) {
      const [, id, secret] = form.exec(Redacted.value(key)) ?? []
      if (id === undefined || secret === undefined) return yield* new InvalidApiKey({ why: "Malformed" })
      const found = yield* find(id)
      const digest = Result.getOrElse(Hex.decode(found.digest), () => new Uint8Array(0))
      if (!sameBytes(digest, digestOf(secret))) return yield* new InvalidApiKey({ why: "Unknown" })
      if (found.revokedAt !== undefined) return yield* new InvalidApiKey({ why: "Revoked" })
      const now = yield* Clock.currentTimeMillis
      if (found.expiresAt !== undefined && found.expiresAt.getTime() <= now) {
        return yield* new InvalidApiKey({ why: "Expired" })
      }
      yield* noteUse(found, now)
      return CurrentUser.make(found.user, {
        roles: found.roles,
        scopes: found.scopes,
        claims: found.user.startsWith(servicePrefix) ? { serviceAccount: true } : {}
      })
    }),
    revoke: Effect.fn("ApiKeys.revoke")(function* (id) {
      const revokedAt = new Date(yield* Clock.currentTimeMillis)
      yield* Cache.invalidate(cache, id)
      return yield* documents.update(id, { revokedAt }).pipe(
        Effect.as(true),
        Effect.catchTag("NotFound", () => Effect.succeed(false)),
        Effect.ensuring(Cache.invalidate(cache, id))
      )
    }),
    list: (user) =>
      Stream.map(
        user === undefined
          ? documents.query({ scan: true })
          : documents.query({ partition: "byUser", values: { user } }),
        apiKeyOf
      )
  })
})

/**
 * Creates the keys of the database, until the scope closes. No request once the catalog knows the plugin and its resource.
 *
 * Fails with `InvalidApiKeys` when an option is wrong, with what opening a plugin and a resource fails with.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: Options
): Layer.Layer<ApiKeys, InvalidApiKeys | Plugin.InvalidPlugin | DbError.DbError, Database> =>
  Layer.effect(ApiKeys, make(options))

/**
 * The keys of the database as `layerWith` makes them by default.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ApiKeys, InvalidApiKeys | Plugin.InvalidPlugin | DbError.DbError, Database> = layerWith(
  {}
)
