/**
 * Logging in by OpenID providers: this program is their relying party, and has the sessions.
 *
 * A browser that logs in gets a cookie with 256 random bits, of which the database has the SHA-256; whose it is, is a document of a small resource, read
 * with each request. So a session that is made at one process counts at all of them, and ends at all of them. Tokens of the provider
 * never reach the browser; they are kept sealed, as secrets are.
 *
 * **Details**
 *
 * - Each attempt to log in has a state, a nonce and a verifier of its own, and a cookie that binds it to the browser: two tabs do not disturb
 *   each other, and none of it can be used twice, from another browser, or with another provider.
 * - A login makes a new session, and ends the one that the browser had: an id that somebody has planted is worth nothing.
 * - What a cookie logs in writes only for pages of `origin`, by `Origin` or `Sec-Fetch-Site`: others get 403.
 * - A provider ends sessions over the back channel, by subject or session; also one whose login is under way.
 *
 * **Gotchas**
 *
 * Clocks of the processes may differ by 5 minutes. What spans have of addresses holds codes unless `layerRedacted` is there.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Hex from "effect/encoding/Hex"
import type * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import type * as HttpClient from "effect/http/HttpClient"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Id from "../crypto/Id.ts"
import type { KeyRing } from "../crypto/KeyRing.ts"
import * as CurrentUser from "../CurrentUser.ts"
import type { Database } from "../Database.ts"
import * as DbError from "../DbError.ts"
import type { Document } from "../Document.ts"
import type { Json, JsonObject } from "../encoding/Json.ts"
import { sameBytes } from "../internal/bytes.ts"
import { millisecondsOf } from "../internal/duration.ts"
import { ExpectedError } from "../internal/expectedError.ts"
import { isObject } from "../internal/json.ts"
import { sha256 } from "../internal/sha256.ts"
import type * as PluginStore from "../kernel/PluginStore.ts"
import { sweeping } from "../persistence/internal/sweeping.ts"
import * as Pipeline from "../Pipeline.ts"
import * as Plugin from "../Plugin.ts"
import type * as Repository from "../Repository.ts"
import * as Resource from "../Resource.ts"
import * as Attribute from "../schema/Attribute.ts"
import type { Authentication } from "./Authentication.ts"
import * as Addresses from "./internal/addresses.ts"
import * as Answer from "./internal/answer.ts"
import * as Body from "./internal/body.ts"
import * as Gate from "./internal/gate.ts"
import type * as Jwt from "./Jwt.ts"
import * as OidcProvider from "./OidcProvider.ts"
import * as Problem from "./Problem.ts"

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * An attempt to log in that does not count. `Unknown`: there is none of this state, or it has been used. `Expired`: it took too long.
 * `OtherBrowser`: it was begun elsewhere. `OtherProvider`: the answer is not of the provider that was asked. `Malformed`: it is no
 * answer of a provider.
 *
 * @remedy Log in again.
 * @category errors
 * @since 0.1.0
 */
export class InvalidAttempt extends ExpectedError<InvalidAttempt>("effect-s3db/http/Oidc/InvalidAttempt")(
  "InvalidAttempt",
  { why: Schema.Literals(["Unknown", "Expired", "OtherBrowser", "OtherProvider", "Malformed"]) },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `the attempt to log in does not count: ${this.why}`
  }
}

/**
 * Somebody whom the provider knows, and whom this program does not let in.
 *
 * @remedy Log in as somebody else. For the program: `user` of the provider, or `current`, gave nobody.
 * @category errors
 * @since 0.1.0
 */
export class NotAdmitted extends ExpectedError<NotAdmitted>("effect-s3db/http/Oidc/NotAdmitted")(
  "NotAdmitted",
  { provider: Schema.String },
  { httpApiStatus: 403 }
) {
  override get message(): string {
    return `this account of ${this.provider} is not let in`
  }
}

/**
 * An option or an argument that is not taken. Nothing was written.
 *
 * @remedy Correct what `field` names.
 * @category errors
 * @since 0.1.0
 */
export class InvalidOidc extends ExpectedError<InvalidOidc>("effect-s3db/http/Oidc/InvalidOidc")(
  "InvalidOidc",
  { field: Schema.String, problem: Schema.String },
  { httpApiStatus: 400 }
) {
  override get message(): string {
    return `oidc, ${this.field}: ${this.problem}`
  }
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * Where in the claims the parts of a user are. A path has dots between its members; what is of another form than expected counts as absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mapping {
  /** A text that the provider gives to nobody else, ever. Default: `NAME:sub`, with the name of the provider, as others may have the same `sub`. */
  readonly id?: string | undefined
  /** Texts, or lists of texts. Default: no roles. */
  readonly roles?: ReadonlyArray<string> | undefined
  /** Texts with spaces between scopes, or lists of texts. Default: no scopes. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Claims that the user is to have, at the top. Default: none but `iss` and `sub`. */
  readonly keep?: ReadonlyArray<string> | undefined
}

/**
 * What a provider says of somebody.
 *
 * @category models
 * @since 0.1.0
 */
export interface Identity {
  readonly provider: string
  /** Of the ID token. */
  readonly claims: JsonObject
  /** Of the userinfo endpoint; empty where it is not asked. */
  readonly userinfo: JsonObject
}

type UserFailure = DbError.DbError | Pipeline.Rejected

/**
 * A provider, and who its users are here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Provider extends OidcProvider.Options {
  /**
   * Who somebody is: where it is in the claims (those of the userinfo endpoint come second), or a function; `undefined` is nobody, who is
   * not let in. Default: `{}`.
   */
  readonly user?:
    | Mapping
    | ((identity: Identity) => Effect.Effect<CurrentUser.User | undefined, UserFailure>)
    | undefined
  /** Whether access and refresh tokens are kept, for `accessToken`. Default: `false`; the ID token is, for the logout. */
  readonly keepTokens?: boolean | undefined
}

/**
 * How logins work.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where browsers find this program, such as `https://app.example.com`. */
  readonly origin: string
  readonly providers: readonly [Provider, ...Array<Provider>]
  /** What the group is prefixed with, if it is: the provider has to know `ORIGIN PREFIX/auth/NAME/callback`. Default: none. */
  readonly prefix?: string | undefined
  /** How long a session lasts that nobody uses. Default: 1 day. */
  readonly idleFor?: Duration.Input | undefined
  /** How long a session lasts. Default: 7 days. */
  readonly sessionFor?: Duration.Input | undefined
  /** How long somebody may take to log in. Default: 10 minutes. */
  readonly attemptFor?: Duration.Input | undefined
  /** Sessions of one user: the oldest end. Default: 20. */
  readonly maxSessions?: number | undefined
  /** A page of this origin that is shown in the place of a problem, with its code as `?error=`. Default: the problem is the answer. */
  readonly errorPage?: string | undefined
  /** Who somebody with a session is by now, asked with each request; `undefined`: nobody, any more. Default: who logged in. */
  readonly current?: ((user: CurrentUser.User) => Effect.Effect<CurrentUser.User | undefined, UserFailure>) | undefined
  /** Tells instances apart that have sessions of their own. Default: none. */
  readonly namespace?: string | undefined
}

/**
 * A cookie that goes to the browser, or, with no value, goes away.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cookie {
  readonly name: string
  readonly value: Redacted.Redacted<string> | undefined
}

/**
 * A session, without what it consists of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly user: CurrentUser.User
  readonly provider: string
  readonly createdAt: Date
  readonly expiresAt: Date
}

type Asking = OidcProvider.ProviderUnavailable | OidcProvider.ProviderRefused
type Storing = Repository.InsertError | Repository.ChangeError | Repository.ListError

/**
 * The logins of a program.
 *
 * @category services
 * @since 0.1.0
 */
export class Oidc extends Context.Service<
  Oidc,
  {
    /** Begins an attempt: where the browser goes, with which cookie. 1 PUT. `InvalidOidc`: there is no such provider, or `returnTo` is no path of the origin. */
    readonly begin: (
      provider: string,
      returnTo?: string
    ) => Effect.Effect<
      { readonly url: string; readonly cookie: Cookie },
      InvalidOidc | OidcProvider.ProviderUnavailable | DbError.DbError
    >
    /**
     * Ends an attempt with what the provider has given to the browser, and begins a session. Beside what the provider is asked: 1 GET and 1 PUT for
     * the attempt; 1 LIST, 1 GET for each session of the user and 2 PUT for the session, with 1 or 2 for its markers; 1 or 2 GET more.
     */
    readonly finish: (
      provider: string,
      parameters: URLSearchParams,
      cookies: Readonly<Record<string, string>>
    ) => Effect.Effect<
      {
        readonly session: Session
        readonly cookies: ReadonlyArray<Cookie>
        readonly returnTo: string
      },
      InvalidAttempt | InvalidOidc | NotAdmitted | OidcProvider.InvalidProviderToken | Asking | UserFailure | Storing
    >
    /** Whose a session is; `undefined`: nobody's. 1 GET; 1 GET and 1 PUT more when its use is noted. */
    readonly session: (
      secret: Redacted.Redacted<string>
    ) => Effect.Effect<Session | undefined, DbError.DbError | Pipeline.Rejected>
    /** Ends a session, and tells where the browser goes to end that of the provider, unless that `isLocal`. 3 GET and 3 DELETE, 1 PUT where there is such an address. */
    readonly logout: (
      secret: Redacted.Redacted<string>,
      options?: {
        readonly returnTo?: string | undefined
        readonly isLocal?: boolean | undefined
        /** Whether all sessions of somebody end here, those of other browsers among them. Default `false`. */
        readonly isEverywhere?: boolean | undefined
      }
    ) => Effect.Effect<
      { readonly url: string | undefined; readonly cookie: Cookie | undefined },
      InvalidOidc | Repository.ChangeError | Repository.ListError
    >
    /** Where somebody goes whom the provider has logged out. */
    readonly loggedOut: (
      provider: string,
      state: string,
      cookies: Readonly<Record<string, string>>
    ) => Effect.Effect<string, InvalidAttempt | InvalidOidc | DbError.DbError>
    /** Ends the sessions that a logout token of a provider is about: that with its `sid`, or all of its `sub` whose ID token is not younger. */
    readonly backChannelLogout: (
      provider: string,
      token: Redacted.Redacted<string>
    ) => Effect.Effect<
      void,
      InvalidOidc | OidcProvider.InvalidProviderToken | OidcProvider.ProviderUnavailable | Storing
    >
    /** Ends all sessions of somebody, by the `sub` that the provider knows. */
    readonly endSessions: (
      provider: string,
      subject: string
    ) => Effect.Effect<void, Repository.ChangeError | Repository.ListError>
    /**
     * The access token of a session, renewed where it is over: by one process, others wait for it. `undefined`: there is none. `ProviderRefused`: it cannot be renewed.
     */
    readonly accessToken: (
      secret: Redacted.Redacted<string>
    ) => Effect.Effect<
      Redacted.Redacted<string> | undefined,
      Asking | OidcProvider.InvalidProviderToken | Repository.ChangeError
    >
    readonly origin: string
    /** The names of the providers. */
    readonly providers: ReadonlyArray<string>
    readonly errorPage: string | undefined
    /** In milliseconds. */
    readonly attemptFor: number
  }
>()("effect-s3db/http/Oidc") {}

/**
 * The plugin.
 *
 * @category models
 * @since 0.1.0
 */
export const plugin: Plugin.Plugin = Plugin.define("oidc", { version: 1 })

/**
 * The name of the cookie with the session.
 *
 * @category constants
 * @since 0.1.0
 */
export const cookieName = "__Host-s3db-session"

// -----------------------------------------------------------------------------
// Layer
// -----------------------------------------------------------------------------

const Texts = Schema.Array(Schema.String)

const StoredSession = Schema.Struct({
  /** SHA-256 of the secret in the cookie, hexadecimal. */
  id: Schema.String,
  provider: Schema.NonEmptyString,
  /** Digests of `sub` and `sid`: they are in keys of markers. */
  subject: Schema.String,
  sid: Schema.optionalKey(Schema.String),
  user: Schema.Struct({
    id: Schema.NonEmptyString,
    roles: Texts,
    scopes: Texts,
    claims: Schema.Record(Schema.String, Schema.Json)
  }),
  /** When its ID token was made, by the clock of the provider. */
  issuedAt: Schema.Date,
  createdAt: Schema.Date,
  usedAt: Schema.Date,
  expiresAt: Schema.Date
})

type StoredSession = typeof StoredSession.Type

const StoredTokens = Schema.Struct({
  id: Schema.String,
  idToken: Attribute.SecretText,
  accessToken: Schema.optionalKey(Attribute.SecretText),
  refreshToken: Schema.optionalKey(Attribute.SecretText),
  /** Until when the access token counts. */
  accessUntil: Schema.optionalKey(Schema.Date),
  /** Since when a process is renewing it. */
  renewingSince: Schema.optionalKey(Schema.Date)
})

const Noted = Schema.Union([
  Schema.Struct({
    kind: Schema.Literals(["login", "logout"]),
    provider: Schema.String,
    /** SHA-256 of the secret in the cookie, hexadecimal. */
    binding: Schema.String,
    returnTo: Schema.String,
    at: Schema.Number
  }),
  /** A logout token that was used, and what it has ended. */
  Schema.Struct({ kind: Schema.Literal("ended"), at: Schema.Number })
])

type Noted = typeof Noted.Type

const secretForm = /^[0-9A-Za-z_-]{43}$/
const stateForm = /^[0-9A-Za-z_-]{22}$/
const secretLength = 43
const skew = 5 * 60_000
const logoutFor = Duration.hours(1)
const attemptPrefix = "__Host-s3db-login-"
const maxAttempts = 8

const digestOf = (...parts: ReadonlyArray<string>): string =>
  Hex.encode(sha256(new TextEncoder().encode(parts.length === 1 ? parts[0] : JSON.stringify(parts))))

const isSecretOf = (secret: string | undefined, digest: string): boolean =>
  secret !== undefined && sameBytes(new TextEncoder().encode(digestOf(secret)), new TextEncoder().encode(digest))

/** What is derived of the secret of an attempt goes to the provider: it says nothing of the others. */
const derived = (secret: string, label: string): string =>
  Base64Url.encode(sha256(new TextEncoder().encode(`${label} ${secret}`)))

const attemptCookie = (state: string): string => attemptPrefix + state.slice(0, 8)

const memberOf = (value: Json | undefined, name: string): Json | undefined =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

const at = (claims: JsonObject, path: string): Json | undefined => {
  // Names of claims may have dots themselves, as addresses have.
  const whole = memberOf(claims, path)
  return whole ?? path.split(".").reduce<Json | undefined>(memberOf, claims)
}

const textsOf = (value: Json | undefined): ReadonlyArray<string> =>
  typeof value === "string"
    ? [value]
    : Array.isArray(value)
      ? value.filter((one): one is string => typeof one === "string")
      : []

/**
 * Makes a user of what a provider says, by a mapping. `undefined`: the id is not there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toUser = (
  { claims, provider, userinfo }: Identity,
  mapping: Mapping = {}
): CurrentUser.User | undefined => {
  const find = (path: string) => at(claims, path) ?? at(userinfo, path)
  const subject = memberOf(claims, "sub")
  const given = mapping.id === undefined ? undefined : find(mapping.id)
  const id = mapping.id === undefined ? `${provider}:${String(subject)}` : given
  // Those are programs, see `ApiKeys`.
  if (typeof id !== "string" || id === "" || typeof subject !== "string" || id.startsWith("service:")) return undefined
  const keep = new Set(["iss", "sub", ...(mapping.keep ?? [])])
  const kept = [...keep].map((name) => [name, memberOf(claims, name) ?? memberOf(userinfo, name)] as const)
  return {
    id,
    roles: [...new Set((mapping.roles ?? []).flatMap((path) => textsOf(find(path))))],
    scopes: [
      ...new Set(
        (mapping.scopes ?? [])
          .flatMap((path) => textsOf(find(path)))
          .flatMap((text) => text.split(" "))
          .filter((text) => text !== "")
      )
    ],
    claims: Object.fromEntries(kept.filter((entry): entry is readonly [string, Json] => entry[1] !== undefined))
  }
}

const positiveMillis = (field: string, given: Duration.Input) => {
  const millis = millisecondsOf(given)
  return millis > 0 && Number.isFinite(millis)
    ? Effect.succeed(millis)
    : Effect.fail(new InvalidOidc({ field, problem: "it is a finite duration of more than 0" }))
}

const make = Effect.fnUntraced(function* (options: Options) {
  const { current = Effect.succeed, errorPage, maxSessions = 20, namespace, prefix = "" } = options
  const check = (isRight: boolean, field: string, problem: string) =>
    isRight ? Effect.void : Effect.fail(new InvalidOidc({ field, problem }))
  const origin = URL.canParse(options.origin) ? new URL(options.origin).origin : ""
  yield* check(
    origin !== "" && Addresses.isSafe(origin) && origin === options.origin.replace(/\/$/, ""),
    "origin",
    "it is https://, a host, and nothing else"
  )
  yield* check(prefix === "" || Addresses.isLocalPath(prefix, origin), "prefix", "it is no path")
  yield* check(
    errorPage === undefined || (Addresses.isLocalPath(errorPage, origin) && !/[?#]/.test(errorPage)),
    "errorPage",
    "it is no path of the origin"
  )
  yield* check(
    Number.isInteger(maxSessions) && maxSessions >= 1 && maxSessions <= 1000,
    "maxSessions",
    "it is 1 to 1,000"
  )
  const idleFor = yield* positiveMillis("idleFor", options.idleFor ?? "1 day")
  const sessionFor = yield* positiveMillis("sessionFor", options.sessionFor ?? "7 days")
  const attemptFor = yield* positiveMillis("attemptFor", options.attemptFor ?? "10 minutes")
  const noteEach = Math.min(idleFor / 10, 5 * 60_000)
  const providers = new Map(
    yield* Effect.forEach(options.providers, (one) =>
      Effect.map(OidcProvider.make(one), (provider) => [one.name, { options: one, provider }] as const)
    )
  )
  yield* check(providers.size === options.providers.length, "providers", "two of them have one name")

  const instance = yield* Plugin.open(plugin, namespace === undefined ? {} : { namespace })
  const sessions = yield* Resource.make(
    Resource.define(instance.resourceName("sessions"), {
      schema: StoredSession,
      primaryKey: "id",
      partitions: { bySubject: ["subject"], bySid: ["sid"] }
    })
  )
  const tokens = yield* Resource.make(
    Resource.define(instance.resourceName("tokens"), { schema: StoredTokens, primaryKey: "id" })
  )
  const notes = instance.store(Noted)
  yield* sweeping(notes, { every: "1 hour", turn: "turn", mark: { kind: "ended", at: 0 } satisfies Noted })

  const named = <A>(effect: Effect.Effect<A, PluginStore.Failure>) =>
    Effect.mapError(effect, (error) =>
      error._tag === "StoreError"
        ? DbError.fromStore("Oidc")(error)
        : DbError.make("Oidc", new DbError.ServiceFailed({ service: "oidc", description: error.description }))
    )

  const providerOf = (name: string) => {
    const found = providers.get(name)
    return found === undefined
      ? Effect.fail(new InvalidOidc({ field: "provider", problem: "there is none of this name" }))
      : Effect.succeed(found)
  }

  const checkReturn = (returnTo: string) =>
    check(Addresses.isLocalPath(returnTo, origin), "returnTo", "it is no path of this origin")

  const addressOf = (provider: string, what: string) => `${origin}${prefix}/auth/${provider}/${what}`

  // Attempts --------------------------------------------------------------------

  const note = Effect.fnUntraced(function* (kind: "login" | "logout", provider: string, returnTo: string) {
    const state = yield* Id.random
    const secret = yield* Id.randomOf(secretLength)
    const now = yield* Clock.currentTimeMillis
    const value: Noted = { kind, provider, binding: digestOf(secret), returnTo, at: now }
    yield* named(notes.set([kind, digestOf(state)], value, { ttl: attemptFor + 2 * skew }))
    const cookie: Cookie = {
      name: attemptCookie(state),
      value: Redacted.make(secret, { label: "attempt" })
    }
    return { state, secret, cookie }
  })

  /** The attempt of a state, which is there no more afterwards: of any number who come with it one gets it. */
  const take = Effect.fnUntraced(function* (
    kind: "login" | "logout",
    provider: string,
    state: string,
    cookies: Readonly<Record<string, string>>
  ): Effect.fn.Return<{ readonly returnTo: string; readonly secret: string }, InvalidAttempt | DbError.DbError> {
    if (!stateForm.test(state)) return yield* new InvalidAttempt({ why: "Malformed" })
    const key = [kind, digestOf(state)]
    const found = Option.getOrUndefined(yield* named(notes.getVersion(key)))
    if (found === undefined || found.value.kind !== kind) return yield* new InvalidAttempt({ why: "Unknown" })
    const { at: begun, binding, provider: asked, returnTo } = found.value
    const secret = cookies[attemptCookie(state)]
    // Nobody else can use it up.
    if (secret === undefined || !isSecretOf(secret, binding)) return yield* new InvalidAttempt({ why: "OtherBrowser" })
    if (!(yield* named(notes.removeIfVersion(key, found.version)))) return yield* new InvalidAttempt({ why: "Unknown" })
    if (asked !== provider) return yield* new InvalidAttempt({ why: "OtherProvider" })
    const age = (yield* Clock.currentTimeMillis) - begun
    if (age > attemptFor || age < -skew) return yield* new InvalidAttempt({ why: "Expired" })
    return { returnTo, secret }
  })

  // Sessions --------------------------------------------------------------------

  const end = Effect.fnUntraced(function* (id: string): Effect.fn.Return<void, Repository.ChangeError> {
    yield* Effect.catchTag(sessions.delete(id), "NotFound", () => Effect.void)
    yield* Effect.catchTag(tokens.delete(id), "NotFound", () => Effect.void)
  })

  const isOver = ({ createdAt, expiresAt, usedAt }: StoredSession, now: number): boolean =>
    expiresAt.getTime() <= now ||
    now - usedAt.getTime() >= idleFor ||
    // A clock that was put back must not make it last longer.
    Math.max(createdAt.getTime(), usedAt.getTime()) > now + skew

  const subjectOf = (provider: string, subject: string) => digestOf(provider, "sub", subject)
  const sidOf = (provider: string, sid: string) => digestOf(provider, "sid", sid)

  const ofSubject = (subject: string) =>
    Stream.runCollect(sessions.query({ partition: "bySubject", values: { subject } }))
  const ofSid = (sid: string) => Stream.runCollect(sessions.query({ partition: "bySid", values: { sid } }))

  const makeRoom = Effect.fnUntraced(function* (subject: string, now: number) {
    const known = (yield* ofSubject(subject)).toSorted((a, b) => b.usedAt.getTime() - a.usedAt.getTime())
    const living = known.filter((session) => !isOver(session, now))
    const over = known.filter((session) => isOver(session, now))
    yield* Effect.forEach([...over, ...living.slice(maxSessions - 1)], ({ id }) => end(id), {
      concurrency: 8,
      discard: true
    })
  })

  const find = Effect.fnUntraced(function* (secret: Redacted.Redacted<string>) {
    const text = Redacted.value(secret)
    if (!secretForm.test(text)) return undefined
    const id = digestOf(text)
    return yield* Effect.catchTag(sessions.getDocument(id), "NotFound", () => Effect.succeed(undefined))
  })

  /** Who does not get to write it has lost nothing: the next one does. */
  const noteUse = (found: Document<StoredSession>, now: number) =>
    now - found.value.usedAt.getTime() < noteEach
      ? Effect.void
      : sessions.update(found, { usedAt: new Date(now) }).pipe(
          Effect.catchTag(["Conflict", "NotFound"], () => Effect.void),
          Effect.catch((error) => Effect.logWarning("the use of a session could not be noted", error)),
          Effect.asVoid
        )

  /** When the provider ended what somebody has just begun, if it did. */
  const endedAt = Effect.fnUntraced(function* (what: string) {
    const found = Option.getOrUndefined(yield* named(notes.get(["ended", what])))
    return found?.kind === "ended" ? found.at : undefined
  })

  const tokenFields = (set: OidcProvider.TokenSet, isKept: boolean, now: number) =>
    isKept
      ? {
          accessToken: set.accessToken,
          ...(set.refreshToken === undefined ? {} : { refreshToken: set.refreshToken }),
          ...(set.expiresIn === undefined ? {} : { accessUntil: new Date(now + set.expiresIn * 1000) })
        }
      : {}

  const identify = Effect.fnUntraced(function* (
    { options: { user }, provider }: { readonly options: Provider; readonly provider: OidcProvider.Provider },
    set: OidcProvider.TokenSet,
    nonce: string
  ) {
    if (set.idToken === undefined) {
      return yield* new OidcProvider.InvalidProviderToken({ provider: provider.name, why: "Missing" })
    }
    const claims = yield* provider.verify(set.idToken, nonce)
    const subject = String(claims["sub"])
    const userinfo = provider.asksUserinfo ? yield* provider.userinfo(set.accessToken, subject) : {}
    const identity: Identity = { provider: provider.name, claims, userinfo }
    const found = typeof user === "function" ? yield* user(identity) : toUser(identity, user)
    const present = found === undefined ? undefined : yield* current(found)
    // Who was found is kept; who it is by now is asked each time.
    if (found === undefined || present === undefined) return yield* new NotAdmitted({ provider: provider.name })
    return { claims, subject, user: found, idToken: set.idToken }
  })

  const finish = Effect.fn("Oidc.finish")(function* (
    name: string,
    parameters: URLSearchParams,
    cookies: Readonly<Record<string, string>>
  ) {
    const known = yield* providerOf(name)
    const { provider } = known
    const one = (parameter: string) => {
      const all = parameters.getAll(parameter)
      return all.length === 1 ? all[0] : undefined
    }
    if ([...new Set(parameters.keys())].some((key) => parameters.getAll(key).length > 1)) {
      return yield* new InvalidAttempt({ why: "Malformed" })
    }
    const state = one("state") ?? ""
    // A provider that is not there uses nothing up.
    const metadata = yield* provider.metadata
    const { returnTo, secret } = yield* take("login", name, state, cookies)
    // RFC 9207: who says that it is another provider is not answered to this one.
    const iss = one("iss")
    if (
      iss === undefined ? metadata.authorization_response_iss_parameter_supported === true : iss !== metadata.issuer
    ) {
      return yield* new InvalidAttempt({ why: "OtherProvider" })
    }
    const error = one("error")
    if (error !== undefined) return yield* OidcProvider.refused(name, error)
    const code = one("code")
    if (code === undefined || code === "") return yield* new InvalidAttempt({ why: "Malformed" })
    const set = yield* provider.exchange({
      code: Redacted.make(code, { label: "code" }),
      redirectUri: addressOf(name, "callback"),
      verifier: Redacted.make(derived(secret, "verifier"), { label: "verifier" })
    })
    const { claims, idToken, subject, user } = yield* identify(known, set, derived(secret, "nonce"))
    const now = yield* Clock.currentTimeMillis
    const issuedAt = typeof claims["iat"] === "number" ? claims["iat"] * 1000 : now
    const subjectDigest = subjectOf(name, subject)
    yield* makeRoom(subjectDigest, now)
    const sessionSecret = yield* Id.randomOf(secretLength)
    const id = digestOf(sessionSecret)
    const sid = typeof claims["sid"] === "string" ? sidOf(name, claims["sid"]) : undefined
    const session = {
      id,
      provider: name,
      subject: subjectDigest,
      ...(sid === undefined ? {} : { sid }),
      user: { ...user, roles: [...user.roles], scopes: [...user.scopes] },
      issuedAt: new Date(issuedAt),
      createdAt: new Date(now),
      usedAt: new Date(now),
      expiresAt: new Date(now + sessionFor)
    }
    yield* sessions.insert(session)
    yield* tokens.insert({ id, idToken, ...tokenFields(set, known.options.keepTokens === true, now) })
    const before = cookies[cookieName]
    if (before !== undefined && secretForm.test(before)) yield* end(digestOf(before))
    // The provider may have ended it in between, and have found nothing to end.
    const gone = yield* endedAt(subjectDigest)
    const isEnded =
      (gone !== undefined && gone >= issuedAt) || (sid !== undefined && (yield* endedAt(sid)) !== undefined)
    if (isEnded) {
      yield* end(id)
      return yield* OidcProvider.refused(name, "logged_out")
    }
    return {
      session: { user, provider: name, createdAt: session.createdAt, expiresAt: session.expiresAt },
      cookies: [
        { name: cookieName, value: Redacted.make(sessionSecret, { label: "session" }) },
        { name: attemptCookie(state), value: undefined }
      ],
      returnTo
    }
  })

  const endAll = (found: ReadonlyArray<StoredSession>) =>
    Effect.forEach(found, ({ id }) => end(id), { concurrency: 8, discard: true })

  // Tokens ----------------------------------------------------------------------

  const renewalFor = 30_000

  /**
   * A write that others were faster than, or whose answer was lost and that others have written after: what it is about is as they have it. Nobody
   * writes after a claim before it is done, or over.
   */
  const unlessChanged = <A>(write: Effect.Effect<A, Repository.ChangeError | DbError.NotFound>) =>
    write.pipe(
      Effect.catchTag(["Conflict", "NotFound"], () => Effect.succeed(undefined)),
      Effect.catchReason("DbError", "OutcomeUnknown", () => Effect.succeed(undefined))
    )

  const accessToken = Effect.fn("Oidc.accessToken")(function* (
    secret: Redacted.Redacted<string>
  ): Effect.fn.Return<
    Redacted.Redacted<string> | undefined,
    Asking | OidcProvider.InvalidProviderToken | Repository.ChangeError
  > {
    for (;;) {
      const session = yield* find(secret)
      const now = yield* Clock.currentTimeMillis
      if (session === undefined || isOver(session.value, now)) return undefined
      const { id, provider: name, subject } = session.value
      const kept = yield* Effect.catchTag(tokens.getDocument(id), "NotFound", () => Effect.succeed(undefined))
      const known = providers.get(name)
      if (kept === undefined || known === undefined) return undefined
      const { accessToken: token, accessUntil, refreshToken, renewingSince } = kept.value
      if (token === undefined) return undefined
      const isFresh = accessUntil === undefined || accessUntil.getTime() - now > 30_000
      if (isFresh) return token
      if (refreshToken === undefined) return accessUntil.getTime() > now ? token : undefined
      const waited = now - (renewingSince?.getTime() ?? -Infinity)
      if (waited >= 0 && waited < renewalFor) {
        yield* Effect.sleep("100 millis")
        continue
      }
      // A refresh token may count once: one of those who want to use it does.
      const mine = yield* unlessChanged(tokens.update(kept, { renewingSince: new Date(now) }))
      if (mine === undefined) continue
      const renewed = Effect.gen(function* () {
        const set = yield* known.provider.refresh(refreshToken)
        if (set.idToken !== undefined) {
          const claims = yield* known.provider.verify(set.idToken, undefined)
          if (subjectOf(name, String(claims["sub"])) !== subject) {
            return yield* new OidcProvider.InvalidProviderToken({ provider: name, why: "Subject" })
          }
        }
        const { accessUntil: _, renewingSince: __, ...rest } = mine
        const next = {
          ...rest,
          ...tokenFields(set, true, yield* Clock.currentTimeMillis),
          ...(set.idToken === undefined ? {} : { idToken: set.idToken })
        }
        // Who has logged out meanwhile does not get it back.
        const document = yield* tokens.documentOf(mine)
        yield* unlessChanged(tokens.replace(next, { ifRevision: document.revision }))
        return set.accessToken
      })
      return yield* Effect.onError(renewed, () =>
        Effect.ignore(tokens.update(id, { renewingSince: new Date(0) }, { retries: 0 }))
      )
    }
  })

  yield* instance.running()
  return Oidc.of({
    begin: Effect.fn("Oidc.begin")(function* (name, returnTo = "/") {
      const { provider } = yield* providerOf(name)
      yield* checkReturn(returnTo)
      // Nothing is written for a provider that is not there.
      yield* provider.metadata
      const { cookie, secret, state } = yield* note("login", name, returnTo)
      const url = yield* provider.authorizationUrl({
        redirectUri: addressOf(name, "callback"),
        state,
        nonce: derived(secret, "nonce"),
        verifier: Redacted.make(derived(secret, "verifier"), { label: "verifier" })
      })
      return { url, cookie }
    }),

    finish,

    session: Effect.fn("Oidc.session")(function* (secret) {
      const found = yield* find(secret)
      if (found === undefined) return undefined
      const { createdAt, expiresAt, provider, user } = found.value
      const now = yield* Clock.currentTimeMillis
      if (isOver(found.value, now) || !providers.has(provider)) return undefined
      const present = yield* current(user)
      if (present === undefined) return undefined
      yield* noteUse(found, now)
      return { user: present, provider, createdAt, expiresAt }
    }),

    logout: Effect.fn("Oidc.logout")(function* (
      secret,
      { isEverywhere = false, isLocal = false, returnTo = "/" } = {}
    ) {
      yield* checkReturn(returnTo)
      const found = yield* find(secret)
      if (found === undefined) return { url: undefined, cookie: undefined }
      const { id, provider: name } = found.value
      const kept = yield* Effect.catch(Effect.asSome(tokens.get(id)), (error) =>
        Effect.as(
          error._tag === "NotFound"
            ? Effect.void
            : Effect.logWarning("the ID token of a session cannot be read", error),
          Option.none()
        )
      )
      // This one first: it ends in any case.
      yield* end(id)
      if (isEverywhere) yield* endAll(yield* ofSubject(found.value.subject))
      const provider = isLocal ? undefined : providers.get(name)?.provider
      // Whoever wants to go is gone, whether the provider answers or not.
      const address =
        provider === undefined
          ? undefined
          : yield* provider.metadata.pipe(
              Effect.map(({ end_session_endpoint }) => end_session_endpoint),
              Effect.catch((error) => Effect.as(Effect.logWarning(error.message), undefined))
            )
      if (provider === undefined || address === undefined) return { url: undefined, cookie: undefined }
      const { cookie, state } = yield* note("logout", name, returnTo)
      const url = new URL(address)
      url.searchParams.set("client_id", provider.clientId)
      url.searchParams.set("post_logout_redirect_uri", addressOf(name, "logged-out"))
      url.searchParams.set("state", state)
      if (Option.isSome(kept)) url.searchParams.set("id_token_hint", Redacted.value(kept.value.idToken))
      return { url: url.href, cookie }
    }),

    loggedOut: Effect.fn("Oidc.loggedOut")(function* (name, state, cookies) {
      yield* providerOf(name)
      return (yield* take("logout", name, state, cookies)).returnTo
    }),

    backChannelLogout: Effect.fn("Oidc.backChannelLogout")(function* (name, token) {
      const { provider } = yield* providerOf(name)
      const { id, issuedAt, sid, subject } = yield* provider.verifyLogout(token)
      const used = ["ended", digestOf(name, "jti", id)]
      if (yield* named(notes.has(used))) {
        return yield* new OidcProvider.InvalidProviderToken({ provider: name, why: "Replayed" })
      }
      // First the note, for logins that are under way and not yet among the sessions.
      const what = sid === undefined ? subjectOf(name, subject ?? "") : sidOf(name, sid)
      yield* named(notes.set(["ended", what], { kind: "ended", at: issuedAt }, { ttl: logoutFor }))
      const found = sid === undefined ? yield* ofSubject(what) : yield* ofSid(what)
      const whose = subject === undefined ? undefined : subjectOf(name, subject)
      yield* endAll(
        found.filter(
          (session) =>
            (whose === undefined || session.subject === whose) &&
            (sid !== undefined || session.issuedAt.getTime() <= issuedAt)
        )
      )
      // Last: what comes to an end in between is asked for again.
      yield* named(notes.set(used, { kind: "ended", at: issuedAt }, { ttl: logoutFor }))
    }),

    endSessions: Effect.fn("Oidc.endSessions")(function* (name, subject) {
      yield* endAll(yield* ofSubject(subjectOf(name, subject)))
    }),

    accessToken,
    origin,
    providers: options.providers.map(({ name }) => name),
    errorPage,
    attemptFor
  })
})

/**
 * Creates the logins of a program. Beside the database it needs a client for requests to providers, and a key ring for their tokens. No
 * provider is asked before somebody logs in. Expired attempts are swept each hour, by one of the processes, until the scope closes.
 *
 * Fails with `InvalidOidc` and `Jwt.InvalidOptions` when an option is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<
  Oidc,
  InvalidOidc | Jwt.InvalidOptions | Plugin.InvalidPlugin | DbError.DbError,
  Database | KeyRing | HttpClient.HttpClient
> =>
  Layer.effect(
    Oidc,
    make(options) satisfies Effect.Effect<
      Oidc["Service"],
      unknown,
      Database | KeyRing | HttpClient.HttpClient | Scope.Scope
    >
  )

/**
 * Keeps codes, states and tokens that are in addresses out of spans. Spans of requests begin before an endpoint is found, so it has to be where
 * the server is: provide it to `HttpRouter.serve(...)`, or merge it with the routes of a `toWebHandler`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRedacted: Layer.Layer<never> = Layer.effect(
  UrlParams.CurrentRedactedNames,
  Effect.map(UrlParams.CurrentRedactedNames, (names) => [
    ...names,
    "code",
    "state",
    "session_state",
    "id_token_hint",
    "error_description"
  ])
)

// -----------------------------------------------------------------------------
// Authentication
// -----------------------------------------------------------------------------

const isReading = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS"

/**
 * Cookies go with whatever page asks. Browsers say which it is by `Origin`, or at least whether it is one of ours: no script can write
 * `Sec-Fetch-Site`. A page that tells nobody where it is has the origin `null` in its forms.
 */
const isOfOrigin = ({ headers }: HttpServerRequest, origin: string): boolean => {
  const given = headers["origin"] ?? "null"
  return given === "null" ? headers["sec-fetch-site"] === "same-origin" : given === origin
}

const secretOf = ({ cookies }: HttpServerRequest) => {
  const text = cookies[cookieName]
  return text === undefined ? undefined : Redacted.make(text, { label: "session" })
}

/**
 * Takes the cookie of a session. A session that is over, or that nobody knows, names nobody: whoever has such a cookie can log in again, and reads
 * what is public. A request that would write, and that comes from a page of another origin, or does not say of which, is 403.
 *
 * @category constructors
 * @since 0.1.0
 */
export const authentication: Effect.Effect<Authentication["Service"], never, Oidc> = Effect.map(
  Oidc,
  ({ origin, session }): Authentication["Service"] => ({
    authenticate: Effect.fnUntraced(function* (request) {
      const secret = secretOf(request)
      if (secret === undefined) return undefined
      if (!isReading(request.method) && !isOfOrigin(request, origin)) {
        return yield* new Pipeline.Rejected({
          resource: "http",
          operation: "request",
          interceptor: "Oidc.authentication",
          reason: "this is for pages of another origin",
          code: "WrongOrigin"
        })
      }
      return (yield* session(secret))?.user
    }),
    challenges: ["Session"],
    schemes: { session: { type: "apiKey", in: "cookie", name: cookieName } }
  })
)

// -----------------------------------------------------------------------------
// HTTP
// -----------------------------------------------------------------------------

const problems = (...statuses: ReadonlyArray<number>) => [400, 401, 403, 500, 503, ...statuses].map(Problem.withStatus)

const described = (summary: string, access: "authenticated" | "public") =>
  Context.merge(Context.make(Gate.Access, access), OpenApi.annotations({ summary }))

const SeeOther = HttpApiSchema.Empty(303)
const Named = { provider: Schema.String }
const Me = Schema.Struct({
  id: Schema.String,
  roles: Texts,
  scopes: Texts
}).annotate({ identifier: "oidc.session" })

/**
 * The endpoints of logins, for an `HttpApi`: `/auth/NAME/login`, `callback`, `logged-out` and `backchannel-logout`, `/auth/logout` and
 * `/auth/session`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = HttpApiGroup.make("oidc")
  .add(
    HttpApiEndpoint.get("login", "/auth/:provider/login", {
      params: Named,
      query: { returnTo: Schema.optionalKey(Schema.String) },
      success: SeeOther,
      error: problems()
    }).annotateMerge(described("Goes to a provider to log in", "public")),
    HttpApiEndpoint.get("callback", "/auth/:provider/callback", {
      params: Named,
      success: SeeOther,
      error: problems(409, 422)
    }).annotateMerge(described("Comes from a provider, logged in", "public")),
    HttpApiEndpoint.get("loggedOut", "/auth/:provider/logged-out", {
      params: Named,
      success: SeeOther,
      error: problems()
    }).annotateMerge(described("Comes from a provider, logged out", "public")),
    HttpApiEndpoint.post("backChannelLogout", "/auth/:provider/backchannel-logout", {
      params: Named,
      success: HttpApiSchema.Empty(200),
      error: problems(409, 413, 415)
    }).annotateMerge(described("A provider ends sessions", "public")),
    HttpApiEndpoint.post("logout", "/auth/logout", {
      query: {
        returnTo: Schema.optionalKey(Schema.String),
        local: Schema.optionalKey(Schema.Literals(["true", "false"])),
        everywhere: Schema.optionalKey(
          Schema.Literals(["true", "false"]).annotate({
            description: "whether the sessions of other browsers end, too"
          })
        )
      },
      success: SeeOther,
      error: problems(409)
    }).annotateMerge(described("Ends the session, and goes to the provider to end that", "public")),
    HttpApiEndpoint.get("session", "/auth/session", {
      success: Me,
      error: problems()
    }).annotateMerge(described("Who is logged in", "authenticated"))
  )
  .middleware(Gate.Gate)
  .annotate(OpenApi.Description, "Logging in by a provider")

const uncached = { "cache-control": "no-store", pragma: "no-cache" }
const maxBodyBytes = 32 * 1024
const cookieOptions = { path: "/", httpOnly: true, secure: true, sameSite: "lax" } as const

const queryOf = ({ originalUrl }: HttpServerRequest): URLSearchParams => {
  const start = originalUrl.indexOf("?")
  return new URLSearchParams(start < 0 ? "" : originalUrl.slice(start + 1).split("#")[0])
}

type Failure =
  | Answer.Failure
  | InvalidAttempt
  | InvalidOidc
  | NotAdmitted
  | OidcProvider.ProviderUnavailable
  | OidcProvider.ProviderRefused
  | OidcProvider.InvalidProviderToken

/** The answer says what the browser may know; the log says why. */
const told = <E extends Failure>(error: E): Effect.Effect<never, Answer.Failure> => {
  const log = Effect.logInfo(error.message)
  switch (error._tag) {
    case "InvalidAttempt":
      return Effect.andThen(
        log,
        Answer.refuse(400, "InvalidAttempt", "this login does not count any more: log in again")
      )
    case "InvalidOidc":
      return error.field === "provider"
        ? Answer.refuse(400, "UnknownProvider", "there is no provider of this name")
        : Answer.refuse(400, "InvalidRequest", `${error.field}: ${error.problem}`)
    case "NotAdmitted":
      return Effect.andThen(log, Answer.refuse(403, "NotAdmitted", "this account is not let in"))
    case "ProviderUnavailable":
      return Effect.andThen(
        Effect.logError(error.message),
        Answer.refuse(503, "ProviderUnavailable", "the provider does not answer: try again")
      )
    case "ProviderRefused":
      return Effect.andThen(log, Answer.refuse(401, "ProviderRefused", "the provider did not log you in"))
    case "InvalidProviderToken":
      return Effect.andThen(
        log,
        Answer.refuse(401, "InvalidProviderToken", "what the provider said does not count: log in again")
      )
    default:
      return Effect.fail(error as Answer.Failure)
  }
}

const redirect = (to: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.empty({ status: 303, headers: { location: to } })

const withCookie = (
  response: HttpServerResponse.HttpServerResponse,
  { name, value }: Cookie,
  maxAge: number
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.setCookieUnsafe(response, name, value === undefined ? "" : Redacted.value(value), {
    ...cookieOptions,
    maxAge: value === undefined ? 0 : Math.max(0, maxAge)
  })

/** Attempts that were left behind go when there are many: a header has its limits. */
const withoutOld = (response: HttpServerResponse.HttpServerResponse, { cookies }: HttpServerRequest) => {
  const names = Object.keys(cookies).filter((name) => name.startsWith(attemptPrefix))
  return names
    .slice(0, Math.max(0, names.length - maxAttempts + 1))
    .reduce((answer, name) => withCookie(answer, { name, value: undefined }, 0), response)
}

/**
 * Implements the endpoints in an API that `group` is part of.
 *
 * @category layers
 * @since 0.1.0
 */
export const handlers = <ApiId extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<ApiId, Groups>
): Layer.Layer<HttpApiGroup.Service<ApiId, "oidc">, never, Oidc | Authentication> => {
  // The same group, which may have a prefix: the name is the key by which both find it.
  const erased = api as unknown as HttpApi.HttpApi<ApiId, typeof group>
  const made = HttpApiBuilder.group(
    erased,
    "oidc",
    Effect.fnUntraced(function* (handlers) {
      const oidc = yield* Oidc
      const { attemptFor, errorPage, origin } = oidc

      const answering = (effect: Effect.Effect<HttpServerResponse.HttpServerResponse, Failure>) =>
        Effect.flatMap(Gate.RequestId, (requestId) =>
          Effect.map(Answer.told(Effect.catch(effect, told), requestId), HttpServerResponse.setHeaders(uncached))
        )

      /** For requests that a person sees the answer of. */
      const paging = (effect: Effect.Effect<HttpServerResponse.HttpServerResponse, Failure>) =>
        answering(
          errorPage === undefined
            ? effect
            : Effect.catch(Effect.catch(effect, told), (error) => {
                const problem = Answer.problemOf(error)
                const page = redirect(`${errorPage}?error=${encodeURIComponent(problem.code)}`)
                return problem.status >= 500
                  ? Effect.as(Effect.logError(problem.detail ?? problem.code), page)
                  : Effect.succeed(page)
              })
        )

      return handlers
        .handleRaw("login", ({ params, query, request }) =>
          paging(
            Effect.gen(function* () {
              const { cookie, url } = yield* oidc.begin(params.provider, query.returnTo)
              return withCookie(withoutOld(redirect(url), request), cookie, attemptFor)
            })
          )
        )
        .handleRaw("callback", ({ params, request }) =>
          paging(
            Effect.gen(function* () {
              const { cookies, returnTo, session } = yield* oidc.finish(
                params.provider,
                queryOf(request),
                request.cookies
              )
              const left = session.expiresAt.getTime() - (yield* Clock.currentTimeMillis)
              return cookies.reduce((answer, cookie) => withCookie(answer, cookie, left), redirect(returnTo))
            })
          )
        )
        .handleRaw("loggedOut", ({ params, request }) =>
          paging(
            Effect.gen(function* () {
              const state = queryOf(request).getAll("state")
              const only = state.length === 1 ? state[0]! : ""
              const to = yield* oidc.loggedOut(params.provider, only, request.cookies)
              return withCookie(redirect(to), { name: attemptCookie(only), value: undefined }, 0)
            })
          )
        )
        .handleRaw("backChannelLogout", ({ params, request }) =>
          answering(
            Effect.gen(function* () {
              const all = (yield* Body.form(request, maxBodyBytes)).getAll("logout_token")
              if (all.length !== 1) return yield* Answer.refuse(400, "InvalidRequest", "send one logout_token")
              yield* Effect.catchTag(
                oidc.backChannelLogout(params.provider, Redacted.make(all[0]!, { label: "logout token" })),
                "InvalidProviderToken",
                (error) =>
                  Effect.andThen(
                    Effect.logInfo(error.message),
                    Answer.refuse(400, "InvalidProviderToken", "the logout token does not count")
                  )
              )
              return HttpServerResponse.empty({ status: 200 })
            })
          )
        )
        .handleRaw("logout", ({ query, request }) =>
          answering(
            Effect.gen(function* () {
              if (!isOfOrigin(request, origin)) {
                return yield* Answer.refuse(403, "WrongOrigin", "this is for pages of another origin")
              }
              const secret = secretOf(request)
              const returnTo = query.returnTo ?? "/"
              const { cookie, url } = yield* oidc.logout(secret ?? Redacted.make(""), {
                returnTo,
                isLocal: query.local === "true",
                isEverywhere: query.everywhere === "true"
              })
              const answer = withCookie(redirect(url ?? returnTo), { name: cookieName, value: undefined }, 0)
              return cookie === undefined ? answer : withCookie(answer, cookie, attemptFor)
            })
          )
        )
        .handleRaw("session", () =>
          answering(
            Effect.map(CurrentUser.required, ({ id, roles, scopes }) =>
              HttpServerResponse.jsonUnsafe({ id, roles, scopes })
            )
          )
        )
    })
  )
  return Layer.provide(made, Gate.layer)
}
